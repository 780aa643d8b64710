/* SPDX-License-Identifier: Apache-2.0 */
/* Objects in files, folders, stdin ("-") and URLs, as YAML or JSON; lists are taken apart. */
#pragma once

#include "cli/cli.h"

struct manifest {
    const char *source; /* the path, URL or "STDIN" */
    struct val *v;      /* untyped MAP with kind and apiVersion */
};

struct manifests {
    struct manifest *items; /* malloc'd, lives as long as the run */
    size_t n, cap;
    bool several; /* a folder, a stream or more than one source was named: output is a list even of one */
};

/* Appends what the files hold. What cannot be read is said and makes the result 1; the rest is appended all the same. */
int manifest_read(struct cli *c, const struct flag_list *files, bool recursive, struct manifests *ret);
/* The objects of one text. 0 or 1. */
int manifest_parse(struct cli *c, const char *source, struct str text, struct manifests *ret);
/* All of stdin, in the arena; 0 or 1. */
int manifest_stdin(struct cli *c, struct str *ret);
