/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment of a container, and everything else that is text made from a Pod: $(VAR) references in command
 * and args, downward API fields and resources, service links. Pure: ConfigMaps, Secrets and Services come in
 * through callbacks that only read.
 */
#pragma once

#include "node/pod.h"
#include "base/err.h"

/* What a Pod may ask for beyond itself. Both give 0 with *ret NULL when it does not exist, or negative with a
 * sentence when nobody knows yet. */
struct env_world {
    int (*config_map)(void *ctx, struct str ns, struct str name, const struct val **ret, struct err *e);
    int (*secret)(void *ctx, struct str ns, struct str name, const struct val **ret, struct err *e);
    /* Calls visit for every Service. */
    void (*services)(void *ctx, void (*visit)(void *arg, const struct val *service), void *arg);
    /* A file of a mounted volume, by volume name and path within (KEP-3721); NULL: not supported. */
    int (*file)(void *ctx, struct arena *a, struct str volume, struct str path, struct str *ret, struct err *e);
    void *ctx;
    const struct str *host_ips, *pod_ips;
    size_t n_host_ips, n_pod_ips;
    int64_t node_milli_cpu, node_memory, node_storage; /* allocatable: what an absent limit means */
};

struct env_var {
    struct str name, value;
};
struct env_list {
    struct env_var *items;
    size_t n, cap;
    uint32_t *slots; /* by name: places from 1; NULL: none were made (not many) */
    size_t n_slots;  /* a power of two */
};

/* The whole environment, in a stable order. -ENOENT when something it names does not exist (the caller's waiting
 * reason is CreateContainerConfigError). */
int env_make(struct arena *a, const struct val *pod, const struct val *container, const struct env_world *w,
             struct env_list *ret, struct err *e);
const struct str *env_find(const struct env_list *l, struct str name);

/* Expands $(NAME) by the list; $$ is a dollar sign; names that are not there stay as they are. */
struct str env_expand(struct arena *a, struct str s, const struct env_list *vars);

/* The value of a downward API fieldRef path. -EINVAL for paths that do not exist. */
int env_field_value(struct arena *a, const struct val *pod, struct str path, const struct env_world *w, struct str *ret,
                struct err *e);
/* The value of a resourceFieldRef for that container (its containerName is looked up first). */
int resource_value(struct arena *a, const struct val *pod, const struct val *container, const struct val *ref,
                   const struct env_world *w, struct str *ret, struct err *e);
/* A map as the downward API prints it: key="value" lines, sorted, values quoted as Go's strconv.Quote. */
struct str field_map_text(struct arena *a, const struct val *map);
/* The value of a key in KEY=VALUE lines (an env file); .p NULL when it has none. -EINVAL with a sentence. */
int env_file_value(struct arena *a, struct str text, struct str key, struct str *ret, struct err *e);
