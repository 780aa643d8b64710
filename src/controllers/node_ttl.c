/* SPDX-License-Identifier: Apache-2.0 */
/* How long kubelets may keep what they have read of Secrets and ConfigMaps: the longer the more nodes there are. */
#include "controllers/nodes.h"

#include "resources.h"
#include "type/meta.h"

#define TTL "node.alpha.kubernetes.io/ttl"

/* Each step begins below where the one before ends, so that a node more or less does not change it to and fro. */
static const struct {
    size_t least, most;
    int seconds;
} steps[] = {{0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, SIZE_MAX, 300}};

static void *state_new(const struct controllers_config *config)
{
    return NEW(size_t); /* the step we are on */
}

static void state_free(void *state)
{
    free(state);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *node = snapshot_get(world, &resources[RES_NODES], STR_NULL, key.name);
    size_t n = tree_count(snapshot_tree(world, &resources[RES_NODES])), *step = w->state;
    while (n > steps[*step].most)
        ++*step;
    while (n < steps[*step].least)
        --*step;
    struct str wanted = arena_printf(w->arena, "%d", steps[*step].seconds);
    if (!node || str_eq(obj_annotation(node->val, STR(TTL)), wanted))
        return 0;
    struct write *x = writes_add(w, WRITE_PATCH, node->res, STR_NULL, node->name);
    x->may_fail = 404;
    x->patch = arena_printf(w->arena, "{\"metadata\":{\"annotations\":{\"" TTL "\":\"" STR_FMT "\"}}}", STR_ARG(wanted));
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (new_)
        sink(arg, (struct key){STR_NULL, new_->name});
}

const struct controller ttl_controller = {
    .name = "ttl-controller",
    .alias = "ttl",
    .reads = (const uint16_t[]){RES_NODES, 0},
    .keys_of = keys_of,
    .reconcile = reconcile,
    .state_new = state_new,
    .state_free = state_free,
};
