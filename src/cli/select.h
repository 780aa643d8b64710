/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the arguments of a command mean: "pods", "pod web", "deploy/web svc/web", "pods,services", -l, --all, -f.
 * The result is a list of objects to act on.
 */
#pragma once

#include "cli/kinds.h"
#include "cli/manifest.h"

struct file_flags {
    struct flag_list names;
    const char *kustomize;
    bool recursive;
};
#define FILE_FLAGS(f, what)                                                                                  \
    {"filename", 'f', FLAG_STRINGS, &(f)->names, "Files, folders or URLs " what},                            \
        {"kustomize", 'k', FLAG_STRING, &(f)->kustomize, "Not supported: use kustomize build DIR | kubectl ... -f -"}, \
        {"recursive", 'R', FLAG_BOOL, &(f)->recursive, "Go into the folders below those of -f"}

struct query {
    int argc;    /* operands are argv[1] to argv[argc - 1]; 0: none */
    char **argv;
    const struct file_flags *files;
    const char *labels, *fields; /* selectors; NULL: none */
    const char *subresource;
    bool all;             /* --all: every object of the types */
    bool all_namespaces;
    bool list_types;      /* types without names mean all their objects */
    bool single_type;
    bool fetch;           /* objects that are named are got from the server, those in files are as the files say */
    bool latest;          /* those in files are got from the server, too */
    bool ignore_missing;  /* "not found" is no failure */
    bool typed;           /* decode kinds that are compiled in by their types */
    bool table;           /* ask for a Table of what is not decoded by its type */
    int64_t chunk;        /* objects a request of a list; 0: all at once */
    const char *ns;       /* instead of the context's namespace; NULL */
};

struct info {
    const struct kind *kind;
    struct str ns, name; /* ns is empty for cluster-wide kinds */
    struct val *v;       /* untyped (MAP), or as struct query says; NULL: not fetched */
    const char *source;  /* of an object in a file; NULL otherwise */
};

struct selection {
    struct info *items; /* malloc'd, lives as long as the run */
    size_t n, cap;
    bool single;        /* one object was asked for by name: output is not a list */
    bool lists;         /* types were listed */
    bool all_namespaced; /* every kind that was listed is namespaced */
    bool many_kinds;     /* objects of more than one kind were asked for */
    struct str revision; /* of the last list */
    int code;           /* 1: something could not be had, and that was said */
};

/* 0 with what could be had (look at ret->code), or 1 when the arguments make no sense. */
int select_objects(struct cli *c, const struct query *q, struct selection *ret);
/* Only kinds and names of the operands, nothing asked: for watches and the like. */
int select_names(struct cli *c, const struct query *q, struct selection *ret);
/* As select_objects, for commands that want exactly one object, said to be `what`. */
int select_one(struct cli *c, const struct query *q, const char *what, struct info *ret);

/* Gets an object again. 0 or the status' code. */
int info_get(struct cli *c, struct info *i, struct status *s);
/* "pod/web", "deployment.apps/web" */
struct str info_label(struct cli *c, const struct info *i);
/* Sets the namespace that a file's object belongs to, in it and in the info; checks it against --namespace. 0 or 1. */
int info_of_manifest(struct cli *c, const struct manifest *m, struct info *ret);
