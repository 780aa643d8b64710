/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kinds there are. Those compiled in are known without asking; the server is asked (discovery.c, once a run)
 * only for a name that is none of them, for categories, and by `kubectl api-resources`.
 */
#pragma once

#include "cli/cli.h"

struct kind {
    struct str group, version; /* "" and "v1" */
    struct str plural, singular, kind;
    struct str api_version; /* "v1", "apps/v1" */
    struct str qualified;   /* "pods", "deployments.apps": as sentences name it */
    const char *const *short_names; /* NULL-terminated */
    const char *const *categories;
    const char *const *verbs; /* of discovery; NULL for a kind that is compiled in */
    bool namespaced;
    const struct resource *res; /* NULL: not compiled in */
    const struct type *type;    /* the same */
};

/* The kind that a person means by "pods", "po", "deploy.apps", "deployments.v1.apps" or "Pod", or NULL. */
const struct kind *kind_by_name(struct cli *c, struct str name);
/* As kind_by_name, but says that there is none: 0 or 1. */
int kind_wanted(struct cli *c, struct str name, const struct kind **ret);
/* The kind of an object with these words, or NULL. */
const struct kind *kind_of(struct cli *c, struct str api_version, struct str kind);
const struct kind *kind_of_object(struct cli *c, const struct val *v);
/* A kind that is compiled in: kind_at(c, RES_PODS). */
const struct kind *kind_at(struct cli *c, unsigned res);
/* All kinds of a category ("all"), in the order of their groups. 0 when it is none. */
size_t kinds_of_category(struct cli *c, struct str category, const struct kind ***ret);

/* "pod" or "deployment.apps": the kind in lower case with its group, as in "deployment.apps/x". */
struct str kind_label(struct cli *c, const struct kind *k);
struct str object_label(struct cli *c, const struct val *v); /* the same of an object, from its words alone */

/* ---- discovery ---------------------------------------------------------------------------------------------- */

struct discovery_group {
    struct str group;
    struct str *versions; /* preferred first */
    size_t n_versions;
};
struct discovery {
    const struct kind **kinds; /* every version; those of the preferred version of a group come first in it */
    size_t n;
    struct discovery_group *groups;
    size_t n_groups;
    int code; /* 0, or what the server answered instead */
    struct status refused;
};
/* Never NULL; asks the server at the first call. */
const struct discovery *discover(struct cli *c);
