/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every node gets a network for its pods, one of each cluster network (--cluster-cidr): the first that no
 * node has and that does not touch the service network. One node at a time, and what was given out is
 * remembered until it is seen, so that two nodes never get the same.
 */
#include "base/map.h"
#include "controllers/cidr.h"
#include "controllers/nodes.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

enum { MASK_IPV4 = 24, MASK_IPV6 = 64, NETWORKS_MAX = 2 };

struct memory {
    struct map
        given; /* network -> name of the node it was given to (malloc'd), until the node is seen with it */
};

struct taken {
    struct cidr *items; /* of nodes, sorted; they do not overlap */
    size_t n;
    struct cidr services[NETWORKS_MAX];
    size_t n_services;
};

static const struct val *networks_of(const struct object *node)
{
    return val_at(node->val, N_spec, N_podCIDRs);
}

static int by_base(const void *pa, const void *pb)
{
    const struct cidr *a = pa, *b = pb;
    if (a->ipv6 != b->ipv6)
        return a->ipv6 ? 1 : -1;
    return (a->base > b->base) - (a->base < b->base);
}

/* What nodes have, what was promised to them, and the services' own. */
static void find_taken(const struct snapshot *world, struct writes *w, struct taken *ret)
{
    struct memory *m = w->state;
    const struct tree *nodes = snapshot_tree(world, &resources[RES_NODES]);
    struct tree_iter it;
    struct cidr c;
    ret->items =
        ARENA_ARRAY(w->arena, struct cidr, NETWORKS_MAX * tree_count(nodes) + m->given.n + NETWORKS_MAX);
    for (tree_seek(&it, nodes, STR_NULL); it.object; tree_next(&it)) {
        size_t n = 0;
        VAL_EACH (networks_of(it.object), x)
            if (n++ < NETWORKS_MAX && cidr_parse(val_str(x), &c) == 0)
                ret->items[ret->n++] = c;
    }
    MAP_EACH (&m->given, e)
        if (cidr_parse(e->key, &c) == 0)
            ret->items[ret->n++] = c;
    if (ret->n > 0)
        qsort(ret->items, ret->n, sizeof(*ret->items), by_base);
    struct str rest = str_of(w->config->service_cidr), item;
    while (rest.p && ret->n_services < NETWORKS_MAX && str_next(&rest, ',', &item))
        if (cidr_parse(str_trim(item), &c) == 0)
            ret->services[ret->n_services++] = c;
}

/* Only the neighbours in order can touch it. */
static bool is_free(const struct taken *t, struct cidr c)
{
    size_t low = 0, high = t->n;
    for (size_t i = 0; i < t->n_services; i++)
        if (cidr_overlap(t->services[i], c))
            return false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (by_base(&t->items[middle], &c) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return !(low < t->n && cidr_overlap(t->items[low], c)) &&
           !(low > 0 && cidr_overlap(t->items[low - 1], c));
}

static unsigned prefix_for(const struct controllers_config *config, bool ipv6)
{
    unsigned want = ipv6 ? config->node_mask_ipv6 : config->node_mask_ipv4;
    return want ? want : ipv6 ? MASK_IPV6 : MASK_IPV4;
}

static bool find_free(const struct taken *t, struct cidr cluster, unsigned prefix, struct cidr *ret)
{
    uint64_t n = cidr_count(cluster, prefix);
    for (uint64_t i = 0; i < n; i++) {
        struct cidr c = cidr_sub(cluster, prefix, i);
        if (is_free(t, c)) {
            *ret = c;
            return true;
        }
    }
    return false;
}

/* What was given and is seen, or given to this node by a write that failed, is forgotten. */
static void forget_seen(const struct snapshot *world, struct memory *m, struct str name)
{
    MAP_EACH (&m->given, e) {
        const struct object *node = snapshot_get(world, &resources[RES_NODES], STR_NULL, str_of(e->value));
        if (!node || val_len(networks_of(node)) > 0 || str_eq(node->name, name)) {
            free(e->value);
            map_del(&m->given, e->key);
        }
    }
}

/* Nodes that were made by hand, or before there was a cluster network, keep what they have. */
static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *node = snapshot_get(world, &resources[RES_NODES], STR_NULL, key.name);
    if (!node || val_len(networks_of(node)) > 0 || !str_empty(val_str(val_at(node->val, N_spec, N_podCIDR))))
        return 0;
    struct taken taken = {0};
    struct memory *m = w->state;
    struct str got[NETWORKS_MAX], rest = str_of(w->config->cluster_cidr), item;
    size_t n = 0;
    forget_seen(world, m, node->name);
    find_taken(world, w, &taken);
    while (n < NETWORKS_MAX && str_next(&rest, ',', &item)) {
        struct cidr cluster, c;
        if (cidr_parse(str_trim(item), &cluster) < 0)
            return -EINVAL;
        if (!find_free(&taken, cluster, prefix_for(w->config, cluster.ipv6), &c)) {
            writes_event(w, node->res, node->val, false, "CIDRNotAvailable",
                         "Node " STR_FMT " status is now: CIDRNotAvailable", STR_ARG(node->name));
            return -ENOSPC;
        }
        got[n++] = cidr_text(w->arena, c);
    }
    for (size_t i = 0; i < n; i++)
        free(map_put(&m->given, got[i], str_dup(node->name)));
    struct write *x = writes_add(w, WRITE_PATCH, node->res, STR_NULL, node->name);
    x->strategic = true;
    x->patch = n == 1
                   ? arena_printf(w->arena,
                                  "{\"spec\":{\"podCIDR\":\"" STR_FMT "\",\"podCIDRs\":[\"" STR_FMT "\"]}}",
                                  STR_ARG(got[0]), STR_ARG(got[0]))
                   : arena_printf(w->arena,
                                  "{\"spec\":{\"podCIDR\":\"" STR_FMT "\",\"podCIDRs\":[\"" STR_FMT
                                  "\",\"" STR_FMT "\"]}}",
                                  STR_ARG(got[0]), STR_ARG(got[0]), STR_ARG(got[1]));
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (new_ && val_len(networks_of(new_)) == 0)
        sink(arg, (struct key){STR_NULL, new_->name});
}

static bool enabled(const struct controllers_config *config)
{
    return config->cluster_cidr && *config->cluster_cidr;
}

static void *state_new(const struct controllers_config *config)
{
    return NEW(struct memory);
}

static void state_free(void *state)
{
    map_done_with(&((struct memory *)state)->given, free);
    free(state);
}

const struct controller node_ipam_controller = {
    .name = "node-ipam-controller",
    .account = "node-controller",
    .alias = "nodeipam",
    .source = "cidrAllocator",
    .reads = (const uint16_t[]){RES_NODES, 0},
    .keys_of = keys_of,
    .reconcile = reconcile,
    .state_new = state_new,
    .state_free = state_free,
    .enabled = enabled,
};
