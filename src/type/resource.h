/* SPDX-License-Identifier: Apache-2.0 */
/* The table of served resources: what gen/ makes of the `kind` blocks of api/, plus custom resources at run
 * time. */
#pragma once

#include "wire/schema.h"

enum verb {
    VERB_GET = 1 << 0,
    VERB_LIST = 1 << 1,
    VERB_WATCH = 1 << 2,
    VERB_CREATE = 1 << 3,
    VERB_UPDATE = 1 << 4,
    VERB_PATCH = 1 << 5,
    VERB_DELETE = 1 << 6,
    VERB_DELETECOLLECTION = 1 << 7,
};

struct subresource {
    const char *name;            /* "status", "scale", "log" ... */
    const char *kind;            /* kind of its body, e.g. "Scale", "Pod" */
    const char *group, *version; /* of that kind */
    const struct type *type;
    uint16_t verbs;
};

struct column {
    const char *name, *type, *format; /* type: string, integer, number, boolean, date; format "" or "name" */
    const char *path; /* a column expression (api/README.md), NULL: computed by type/print.c */
    const char *doc;
    uint8_t priority; /* 1: only in wide output */
};

struct resource {
    const char *group;    /* "" for core */
    const char *version;  /* "v1" */
    const char *name;     /* plural: "pods" */
    const char *singular; /* "pod" */
    const char *kind;     /* "Pod" */
    const char *list_kind;
    const char *const *short_names; /* NULL-terminated */
    const char *const *categories;
    const struct type *type, *list_type;
    const struct subresource *subresources;
    const struct column *columns;
    uint16_t n_subresources, n_columns;
    uint16_t verbs; /* enum verb bits */
    uint16_t index; /* RES_xxx for compiled-in ones; unique at run time for custom ones */
    bool namespaced;
    bool stored;      /* false: a review or the like, never in the store */
    uint16_t storage; /* index of the resource whose stored form this serves (autoscaling/v1 -> v2); own index
                         else */
};

/* Compiled in; index 0 is unused. RES_xxx constants are in resources.h (made by gen/). */
extern const struct resource resources[];
extern const unsigned n_resources;

/* Served group versions in the order of discovery; the priorities are those of the APIService made for each.
 */
struct group_version {
    const char *group, *version;
    unsigned group_priority, version_priority;
};
extern const struct group_version group_versions[];
extern const unsigned n_group_versions;

const struct resource *resource_find(struct str group, struct str version, struct str plural);
const struct resource *resource_find_kind(struct str group, struct str version, struct str kind);
const struct subresource *resource_subresource(const struct resource *r, struct str name);
/* "v1", "apps/v1" */
const char *resource_api_version(const struct resource *r, char *buf, size_t size);
