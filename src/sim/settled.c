/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/settled.h"

#include "resources.h"
#include "type/meta.h"

/* One look at the cluster. Sentences about what is wrong go to why; the first counts. */
struct look {
    struct cluster_world *world;
    const struct rollout *rollout;
    struct arena *arena;
    struct str why;
    struct map ready; /* address -> pod (struct val), of the ready pods */
};

static int wrong(struct look *l, struct str what)
{
    l->why = what;
    return 1;
}
#define WRONG(l, ...) wrong((l), arena_printf((l)->arena, __VA_ARGS__))

static const struct val *list(struct look *l, uint16_t res, const char *ns)
{
    const struct val *v = NULL;
    struct status s;
    status_init(&s, l->arena);
    int r = client_list(l->world->client, CALL(.res = &resources[res], .ns = str_of(ns)), l->arena, &v, &s);
    if (r)
        WRONG(l, "%s cannot be listed: %d " STR_FMT, resources[res].name, r, STR_ARG(s.message));
    return r ? NULL : val_get(v, N_items);
}

static const struct val *get(struct look *l, uint16_t res)
{
    const struct val *v = NULL;
    struct status s;
    status_init(&s, l->arena);
    int r = client_get(l->world->client,
                       CALL(.res = &resources[res], .ns = str_of(l->rollout->ns), .name = str_of(l->rollout->name)),
                       l->arena, &v, &s);
    if (r)
        WRONG(l, "%s %s: %d " STR_FMT, resources[res].name, l->rollout->name, r, STR_ARG(s.message));
    return r ? NULL : v;
}

/* ---- nodes ----------------------------------------------------------------------------------------------------------- */

static struct world_node *node_named(struct cluster_world *w, struct str name)
{
    for (unsigned i = 0; i < w->config.nodes; i++)
        if (str_is(name, w->nodes[i].name))
            return &w->nodes[i];
    return NULL;
}

static int look_at_nodes(struct look *l)
{
    const struct val *nodes = list(l, RES_NODES, NULL);
    unsigned ready = 0, up = 0;
    VAL_EACH(nodes, n)
        ready += condition_is(val_at(n, N_status, N_conditions), STR("Ready"), "True");
    for (unsigned i = 0; i < l->world->config.nodes; i++)
        up += l->world->nodes[i].up;
    return ready == up ? 0 : WRONG(l, "%u nodes are ready, %u are up", ready, up);
}

/* ---- the Deployment ---------------------------------------------------------------------------------------------------- */

static int look_at_deployment(struct look *l)
{
    static const name_id counts[] = {N_replicas, N_updatedReplicas, N_readyReplicas, N_availableReplicas};
    const struct val *d = l->rollout->replicas ? get(l, RES_DEPLOYMENTS) : NULL, *status = val_get(d, N_status);
    if (!d)
        return 1;
    int64_t generation = val_int(val_at(d, N_metadata, N_generation), 0);
    if (val_int(val_get(status, N_observedGeneration), 0) != generation)
        return WRONG(l, "the Deployment's generation %lld is not observed", (long long)generation);
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        int64_t n = val_int(val_get(status, counts[i]), 0);
        if (n != (int64_t)l->rollout->replicas)
            return WRONG(l, "the Deployment has %lld " STR_FMT " of %zu", (long long)n, STR_ARG(name_str(counts[i])),
                         l->rollout->replicas);
    }
    return condition_is(val_get(status, N_conditions), STR("Available"), "True") ? 0
        : WRONG(l, "the Deployment is not available");
}

/* The uid of the one ReplicaSet that has replicas. */
static int the_replicaset(struct look *l, struct str *ret)
{
    const struct val *sets = list(l, RES_REPLICASETS, l->rollout->ns);
    size_t n = 0;
    VAL_EACH(sets, s)
        if (val_int(val_at(s, N_spec, N_replicas), 1) > 0) {
            *ret = obj_uid(s);
            n++;
        }
    return n == 1 ? 0 : WRONG(l, "%zu ReplicaSets have replicas", n);
}

static int look_at_pod(struct look *l, const struct val *pod, struct str owner)
{
    struct str name = obj_name(pod), ip = val_str(val_at(pod, N_status, N_podIP));
    struct str node = val_str(val_at(pod, N_spec, N_nodeName));
    struct world_node *n = node_named(l->world, node);
    if (!obj_controlled_by(pod, owner))
        return WRONG(l, "pod " STR_FMT " is not of the ReplicaSet", STR_ARG(name));
    if (obj_deleting(pod) || !condition_is(val_at(pod, N_status, N_conditions), STR("Ready"), "True"))
        return WRONG(l, "pod " STR_FMT " on " STR_FMT " is not ready", STR_ARG(name), STR_ARG(node));
    if (!str_is(val_getstr(val_item(val_at(pod, N_spec, N_containers), 0), N_image), l->rollout->image))
        return WRONG(l, "pod " STR_FMT " has the wrong image", STR_ARG(name));
    if (!n || !n->up)
        return WRONG(l, "pod " STR_FMT " is on " STR_FMT ", which is down", STR_ARG(name), STR_ARG(node));
    if (map_put(&l->ready, ip, (void *)pod))
        return WRONG(l, "two pods have the address " STR_FMT, STR_ARG(ip));
    return 0;
}

static int look_at_pods(struct look *l)
{
    struct str owner = STR_NULL;
    const struct val *pods = list(l, RES_PODS, l->rollout->ns);
    if (!pods || the_replicaset(l, &owner))
        return 1;
    if (val_len(pods) != l->rollout->replicas)
        return WRONG(l, "%zu pods are there instead of %zu", val_len(pods), l->rollout->replicas);
    VAL_EACH(pods, p)
        if (look_at_pod(l, p, owner))
            return 1;
    return 0;
}

/* ---- endpoints ----------------------------------------------------------------------------------------------------------- */

static int compare_addresses(struct look *l, const char *what, struct map *found)
{
    MAP_EACH(found, e)
        if (!map_has(&l->ready, e->key))
            return WRONG(l, "%s have " STR_FMT ", which is no ready pod's", what, STR_ARG(e->key));
    return found->n == l->ready.n ? 0 : WRONG(l, "%s have %zu addresses of %zu", what, found->n, l->ready.n);
}

static bool of_service(struct look *l, const struct val *slice)
{
    return str_is(obj_label(slice, STR("kubernetes.io/service-name")), l->rollout->name);
}

static int look_at_slices(struct look *l, struct map *found)
{
    const struct val *slices = list(l, RES_ENDPOINTSLICES, l->rollout->ns);
    VAL_EACH(slices, s)
        if (of_service(l, s))
            VAL_EACH(val_get(s, N_endpoints), e)
            {
                struct str ip = val_str(val_item(val_get(e, N_addresses), 0));
                if (!val_bool(val_at(e, N_conditions, N_ready), true))
                    return WRONG(l, "EndpointSlices have " STR_FMT " as not ready", STR_ARG(ip));
                if (map_put(found, ip, l))
                    return WRONG(l, "EndpointSlices have " STR_FMT " twice", STR_ARG(ip));
            }
    return compare_addresses(l, "EndpointSlices", found);
}

static int look_at_endpoints(struct look *l, struct map *found)
{
    const struct val *e = get(l, RES_ENDPOINTS);
    if (!e)
        return 1;
    VAL_EACH(val_get(e, N_subsets), s)
    {
        if (val_len(val_get(s, N_notReadyAddresses)))
            return WRONG(l, "Endpoints have addresses that are not ready");
        VAL_EACH(val_get(s, N_addresses), x)
            map_put(found, val_getstr(x, N_ip), l);
    }
    return compare_addresses(l, "Endpoints", found);
}

/* ---- the machines ---------------------------------------------------------------------------------------------------------- */

static size_t running_containers(const struct cluster_world *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->config.nodes; i++)
        n += hollow_containers(w->nodes[i].machine);
    return n;
}

static int look_at_truth(struct look *l)
{
    struct truth *t = &l->world->truth;
    size_t containers = 0, running = running_containers(l->world);
    MAP_EACH(&l->ready, e)
    {
        const struct val *pod = e->value;
        containers += val_len(val_at(pod, N_spec, N_containers));
        const struct living *real = map_get(&t->by_uid, obj_uid(pod));
        if (!real || !str_eq(e->key, str_of(real->ip)) || !str_is(val_str(val_at(pod, N_spec, N_nodeName)), real->machine))
            return WRONG(l, "pod " STR_FMT " does not live where the API says", STR_ARG(obj_name(pod)));
    }
    if (containers != running)
        return WRONG(l, "%zu containers run instead of %zu", running, containers);
    return t->by_uid.n == l->ready.n ? 0 : WRONG(l, "%zu pods live, %zu should", t->by_uid.n, l->ready.n);
}

int world_settled(struct cluster_world *w, const struct rollout *r, struct arena *a, struct str *ret_why)
{
    struct map slices CLEANUP(map_done) = MAP_INIT, endpoints CLEANUP(map_done) = MAP_INIT;
    struct look l = {.world = w, .rollout = r, .arena = a, .why = STR("something is missing")};
    bool bad = look_at_deployment(&l) || look_at_nodes(&l) || look_at_pods(&l) || look_at_slices(&l, &slices) ||
               look_at_endpoints(&l, &endpoints) || look_at_truth(&l);
    map_done(&l.ready);
    if (bad)
        *ret_why = l.why;
    return bad;
}
