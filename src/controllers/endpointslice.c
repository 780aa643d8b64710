/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EndpointSlices (KEP-752): the endpoints of a service in pieces of at most a hundred, so that a change of
 * one pod moves one small object. Slices that stand are changed as little as possible: an endpoint stays in
 * its slice, new ones fill slices that change anyway, then one that has room for all of them, then new
 * slices.
 */
#include "controllers/endpoints.h"

#include "base/map.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

#define MANAGED_BY "endpointslice-controller.k8s.io"
#define SERVICE_NAME "kubernetes.io/service-name"
#define MANAGED_BY_LABEL "endpointslice.kubernetes.io/managed-by"

/* An endpoint that shall be. */
struct wanted {
    struct val *endpoint;
    struct str id;
    bool placed;
};

/* A slice that is there, or is being made. */
struct slice {
    const struct object *object; /* NULL: new */
    struct val *endpoints;       /* what shall be in it */
    bool changed, dropped;
};

/* Endpoints with the same ports, of one address family. */
struct ports_group {
    struct val *ports;
    struct str id;
    struct wanted *wanted;
    size_t n_wanted, cap_wanted, left;
    struct slice *slices;
    size_t n_slices, cap_slices;
};

struct sync {
    const struct snapshot *world;
    const struct object *service;
    struct writes *w;
    struct val *labels;
    bool ipv6, missing_node, publish_all;
    struct ports_group *groups;
    size_t n_groups, cap_groups;
    int64_t max;
    size_t kept; /* slices that are there and stay, or are new */
};

#define GROW(arena, items, n, cap)                                                                           \
    do {                                                                                                     \
        if ((n) == (cap)) {                                                                                  \
            size_t grow_cap_ = (cap) ? (cap)*2 : 8;                                                          \
            __typeof__(items) grow_new_ = arena_alloc((arena), grow_cap_ * sizeof(*(items)));                \
            if (n)                                                                                           \
                memcpy(grow_new_, (items), (n) * sizeof(*(items)));                                          \
            (items) = grow_new_;                                                                             \
            (cap) = grow_cap_;                                                                               \
        }                                                                                                    \
    } while (0)

/* ---- what shall be ----------------------------------------------------------------------------------- */

static struct val *ports_of(struct sync *s, const struct val *pod)
{
    struct arena *a = s->w->arena;
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (val_at(s->service->val, N_spec, N_ports), p) {
        int64_t number = service_target_port(p, pod);
        if (!number)
            continue;
        struct val *port = val_add_obj(a, list);
        struct str protocol = val_getstr(p, N_protocol);
        val_set_str(a, port, N_name, val_getstr(p, N_name));
        val_set_str(a, port, N_protocol, str_empty(protocol) ? STR("TCP") : protocol);
        val_set_int(a, port, N_port, number);
        val_set_ref(a, port, N_appProtocol, val_get(p, N_appProtocol));
    }
    return list;
}

/* The same text for the same set of ports, in whatever order. */
static struct str ports_id(struct arena *a, const struct val *ports)
{
    struct str *parts = ARENA_ARRAY(a, struct str, val_len(ports));
    size_t n = 0;
    VAL_EACH (ports, p)
        parts[n++] =
            arena_printf(a, STR_FMT ":" STR_FMT ":%lld:" STR_FMT, STR_ARG(val_getstr(p, N_name)),
                         STR_ARG(val_getstr(p, N_protocol)), (long long)val_int(val_get(p, N_port), 0),
                         STR_ARG(val_getstr(p, N_appProtocol)));
    str_sort(parts, n);
    return arena_join(a, parts, n, STR(","));
}

static struct ports_group *group_of(struct sync *s, const struct val *ports)
{
    struct str id = ports_id(s->w->arena, ports);
    for (size_t i = 0; i < s->n_groups; i++)
        if (str_eq(s->groups[i].id, id))
            return &s->groups[i];
    GROW(s->w->arena, s->groups, s->n_groups, s->cap_groups);
    s->groups[s->n_groups] = (struct ports_group){.id = id, .ports = val_copy(s->w->arena, ports)};
    return &s->groups[s->n_groups++];
}

/* Two endpoints are the same when pod, addresses and host name are. */
static struct str endpoint_id(struct arena *a, const struct val *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH (val_get(e, N_addresses), ip) {
        buf_putstr(&b, val_str(ip));
        buf_putc(&b, ',');
    }
    buf_printf(&b, "|" STR_FMT "|" STR_FMT, STR_ARG(val_getstr(e, N_hostname)),
               STR_ARG(val_str(val_at(e, N_targetRef, N_name))));
    return arena_str(a, buf_str(&b));
}

/* KEP-4444: endpoints are for their own zone (or node) first. */
static void set_hints(struct sync *s, struct val *e, struct str zone, struct str node, bool ready)
{
    struct arena *a = s->w->arena;
    struct str how = val_str(val_at(s->service->val, N_spec, N_trafficDistribution));
    bool same_node = str_is(how, "PreferSameNode");
    if (!ready || str_empty(zone) ||
        !(same_node || str_is(how, "PreferClose") || str_is(how, "PreferSameZone")))
        return;
    struct val *hints = val_sub_obj(a, e, N_hints);
    val_set_str(a, val_add_obj(a, val_sub_list(a, hints, N_forZones)), N_name, zone);
    if (same_node)
        val_set_str(a, val_add_obj(a, val_sub_list(a, hints, N_forNodes)), N_name, node);
}

static struct val *make_endpoint(struct sync *s, const struct object *pod, const struct object *node,
                                 const struct val *addresses)
{
    struct arena *a = s->w->arena;
    bool serving = pod_ready(pod->val), terminating = obj_deleting(pod->val);
    bool ready = s->publish_all || (serving && !terminating);
    struct val *e = val_new(a, VAL_OBJ);
    val_set_ref(a, e, N_addresses, addresses);
    struct val *c = val_sub_obj(a, e, N_conditions);
    val_set_bool(a, c, N_ready, ready);
    val_set_bool(a, c, N_serving, serving);
    val_set_bool(a, c, N_terminating, terminating);
    struct str hostname = service_hostname(s->service->val, pod->val), zone = STR_NULL;
    if (!str_empty(hostname))
        val_set_str(a, e, N_hostname, hostname);
    val_set_ref(a, e, N_targetRef, pod_target_ref(a, pod));
    struct str node_name = index_pod_node(pod);
    if (!str_empty(node_name))
        val_set_str(a, e, N_nodeName, node_name);
    if (node)
        zone = obj_label(node->val, STR("topology.kubernetes.io/zone"));
    if (!str_empty(zone))
        val_set_str(a, e, N_zone, zone);
    set_hints(s, e, zone, node_name, ready);
    return e;
}

static void want_pod(struct sync *s, const struct object *pod)
{
    struct arena *a = s->w->arena;
    struct val *addresses = pod_addresses(a, pod->val, s->ipv6);
    struct ports_group *g = group_of(s, ports_of(s, pod->val));
    const struct object *node = snapshot_get(s->world, &resources[RES_NODES], STR_NULL, index_pod_node(pod));
    if (!node && !s->publish_all) {
        s->missing_node = true; /* it may be on its way to us */
        return;
    }
    if (val_len(addresses) == 0)
        return;
    GROW(a, g->wanted, g->n_wanted, g->cap_wanted);
    struct val *e = make_endpoint(s, pod, node, addresses);
    g->wanted[g->n_wanted++] = (struct wanted){.endpoint = e, .id = endpoint_id(a, e)};
    g->left++;
}

/* ---- what is ----------------------------------------------------------------------------------------- */

static bool is_managed(const struct object *slice, const struct object *service)
{
    return str_eq(obj_label(slice->val, STR(SERVICE_NAME)), service->name) &&
           str_is(obj_label(slice->val, STR(MANAGED_BY_LABEL)), MANAGED_BY);
}

static bool is_owned(const struct object *slice, const struct object *service)
{
    VAL_EACH (val_get(slice->meta, N_ownerReferences), o)
        if (str_eq(val_getstr(o, N_uid), service->uid) && str_is(val_getstr(o, N_kind), "Service"))
            return true;
    return false;
}

static struct slice *add_slice(struct sync *s, struct ports_group *g, const struct object *o)
{
    GROW(s->w->arena, g->slices, g->n_slices, g->cap_slices);
    struct slice *x = &g->slices[g->n_slices++];
    *x = (struct slice){.object = o, .endpoints = val_new(s->w->arena, VAL_LIST)};
    return x;
}

static struct val *fill_labels(struct sync *s)
{
    struct val *labels = service_labels(s->w->arena, s->service->val);
    val_put_str(s->w->arena, labels, STR(SERVICE_NAME), s->service->name);
    val_put_str(s->w->arena, labels, STR(MANAGED_BY_LABEL), STR(MANAGED_BY));
    return labels;
}

/* ---- from one to the other --------------------------------------------------------------------------- */

/* Endpoints of the slice that are still wanted stay in it, in their new form. */
static void keep_wanted(struct sync *s, struct map *by_id, struct ports_group *g, struct slice *x)
{
    const struct val *old = val_get(x->object->val, N_endpoints);
    VAL_EACH (old, e) {
        struct wanted *w = map_get(by_id, endpoint_id(s->w->arena, e));
        if (!w || w->placed)
            continue;
        val_add(s->w->arena, x->endpoints, *w->endpoint);
        w->placed = true;
        g->left--;
        x->changed |= !val_equal(w->endpoint, e);
    }
    x->changed |= val_len(x->endpoints) != val_len(old);
    x->changed |= !val_equal(obj_labels(x->object->val), s->labels);
}

static void fill(struct sync *s, struct ports_group *g, struct slice *x, size_t *next)
{
    for (; *next < g->n_wanted && (int64_t)val_len(x->endpoints) < s->max; (*next)++) {
        if (g->wanted[*next].placed)
            continue;
        val_add(s->w->arena, x->endpoints, *g->wanted[*next].endpoint);
        g->wanted[*next].placed = true;
        x->changed = true;
        g->left--;
    }
}

static int fullest_first(const void *a, const void *b)
{
    return (int)val_len(((const struct slice *)b)->endpoints) -
           (int)val_len(((const struct slice *)a)->endpoints);
}

/* An unchanged slice that takes all that is left and is then as full as can be. */
static struct slice *best_fit(struct sync *s, struct ports_group *g)
{
    struct slice *best = NULL;
    for (size_t i = 0; i < g->n_slices; i++) {
        struct slice *x = &g->slices[i];
        size_t n = val_len(x->endpoints);
        if (!x->changed && (int64_t)(n + g->left) <= s->max && (!best || n > val_len(best->endpoints)))
            best = x;
    }
    return best;
}

static void arrange(struct sync *s, struct ports_group *g)
{
    struct map by_id = MAP_INIT;
    size_t next = 0;
    for (size_t i = 0; i < g->n_wanted; i++)
        map_put(&by_id, g->wanted[i].id, &g->wanted[i]);
    for (size_t i = 0; i < g->n_slices; i++)
        keep_wanted(s, &by_id, g, &g->slices[i]);
    map_done(&by_id);
    if (g->n_slices > 0)
        qsort(g->slices, g->n_slices, sizeof(*g->slices), fullest_first);
    for (size_t i = 0; i < g->n_slices; i++) {
        struct slice *x = &g->slices[i];
        if (x->changed && val_len(x->endpoints) > 0)
            fill(s, g, x, &next);
    }
    while (g->left > 0) {
        struct slice *x = (int64_t)g->left < s->max ? best_fit(s, g) : NULL;
        fill(s, g, x ? x : add_slice(s, g, NULL), &next);
    }
    for (size_t i = 0; i < g->n_slices; i++) {
        g->slices[i].dropped = g->slices[i].object && val_len(g->slices[i].endpoints) == 0;
        s->kept += !g->slices[i].dropped;
    }
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static struct val *make_slice(struct sync *s, const struct val *ports)
{
    struct arena *a = s->w->arena;
    struct val *v = val_new(a, VAL_OBJ);
    struct val *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_generateName, arena_printf(a, STR_FMT "-", STR_ARG(s->service->name)));
    val_set_str(a, meta, N_namespace, s->service->namespace_);
    val_add(a, val_sub_list(a, meta, N_ownerReferences), obj_owner_ref(a, "v1", "Service", s->service->val));
    val_set_str(a, v, N_addressType, s->ipv6 ? STR("IPv6") : STR("IPv4"));
    val_set_ref(a, v, N_ports, ports);
    return v;
}

static void write_slice(struct sync *s, const struct ports_group *g, const struct slice *x)
{
    struct arena *a = s->w->arena;
    struct val *v = x->object ? val_copy_shallow(a, x->object->val) : make_slice(s, g->ports);
    val_set_ref(a, v, N_endpoints, x->endpoints);
    val_set_ref(a, v, N_ports, g->ports);
    struct val *meta = val_set(a, v, N_metadata, *val_copy_shallow(a, obj_meta(v)));
    val_set_ref(a, meta, N_labels, s->labels);
    if (x->object)
        writes_update(s->w, x->object->res, v);
    else if (!obj_deleting(s->service->val))
        writes_add(s->w, WRITE_CREATE, &resources[RES_ENDPOINTSLICES], s->service->namespace_, STR_NULL)
            ->body = v;
}

/* A slice that is to go takes the place of one that is to come. */
static struct slice *reusable(struct sync *s)
{
    for (size_t i = 0; i < s->n_groups; i++)
        for (size_t j = 0; j < s->groups[i].n_slices; j++)
            if (s->groups[i].slices[j].dropped)
                return &s->groups[i].slices[j];
    return NULL;
}

static void write_group(struct sync *s, struct ports_group *g)
{
    for (size_t i = 0; i < g->n_slices; i++) {
        struct slice *x = &g->slices[i];
        if (!x->endpoints)
            continue; /* its object was taken over below */
        struct slice *old = x->object ? NULL : reusable(s);
        if (old) {
            x->object = old->object;
            *old = (struct slice){0};
        }
        if (!x->dropped && (x->changed || old))
            write_slice(s, g, x);
    }
}

static bool is_placeholder(const struct sync *s, const struct slice *x)
{
    return val_len(val_get(x->object->val, N_endpoints)) == 0 &&
           val_len(val_get(x->object->val, N_ports)) == 0 && val_equal(obj_labels(x->object->val), s->labels);
}

/* A service without endpoints has one empty slice: others see that it was looked at. */
static void keep_placeholder(struct sync *s)
{
    struct ports_group *g = group_of(s, val_new(s->w->arena, VAL_LIST));
    size_t dropped = 0;
    struct slice *only = NULL;
    for (size_t i = 0; i < s->n_groups; i++)
        for (size_t j = 0; j < s->groups[i].n_slices; j++) {
            only = &s->groups[i].slices[j];
            dropped++;
        }
    if (dropped == 1 && is_placeholder(s, only))
        only->dropped = false;
    else
        add_slice(s, g, NULL)->changed = true;
}

static void write_all(struct sync *s)
{
    if (s->kept == 0)
        keep_placeholder(s);
    for (size_t i = 0; i < s->n_groups; i++)
        write_group(s, &s->groups[i]);
    for (size_t i = 0; i < s->n_groups; i++)
        for (size_t j = 0; j < s->groups[i].n_slices; j++)
            if (s->groups[i].slices[j].dropped)
                writes_delete(s->w, s->groups[i].slices[j].object);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static void look_at_slice(struct sync *s, const struct object *o)
{
    struct slice *x = add_slice(s, group_of(s, val_get(o->val, N_ports)), o);
    x->changed = false;
}

static void sync_family(struct sync *s, const struct objects *slices, const struct objects *pods)
{
    s->groups = NULL;
    s->n_groups = s->cap_groups = s->kept = 0;
    for (size_t i = 0; i < slices->n; i++)
        if (str_is(val_getstr(slices->items[i]->val, N_addressType), s->ipv6 ? "IPv6" : "IPv4")) {
            if (is_owned(slices->items[i], s->service))
                look_at_slice(s, slices->items[i]);
            else
                writes_delete(s->w, slices->items[i]);
        }
    for (size_t i = 0; i < pods->n; i++)
        want_pod(s, pods->items[i]);
    for (size_t i = 0; i < s->n_groups; i++)
        arrange(s, &s->groups[i]);
    write_all(s);
}

static bool has_family(const struct val *service, bool ipv6)
{
    const struct val *families = val_at(service, N_spec, N_ipFamilies);
    struct str ip = val_str(val_at(service, N_spec, N_clusterIP));
    VAL_EACH (families, f)
        if (str_is(val_str(f), ipv6 ? "IPv6" : "IPv4"))
            return true;
    if (val_len(families) > 0)
        return false;
    return service_is_headless(service) ? !ipv6 : (str_find(ip, ':') >= 0) == ipv6;
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *service = snapshot_get(world, &resources[RES_SERVICES], key.ns, key.name);
    if (!service || !service_has_selector(service->val))
        return 0; /* slices of a service that is gone are the garbage collector's */
    struct sync s = {.world = world,
                     .service = service,
                     .w = w,
                     .max = w->config->endpoints_per_slice ? w->config->endpoints_per_slice : 100,
                     .publish_all =
                         val_bool(val_at(service->val, N_spec, N_publishNotReadyAddresses), false)};
    struct objects slices = {0}, pods = {0};
    s.labels = fill_labels(&s);
    TREE_EACH (snapshot_tree(world, &resources[RES_ENDPOINTSLICES]), key.ns, it)
        if (is_managed(it.object, service) && !obj_deleting(it.object->val))
            objects_add(w->arena, &slices, it.object);
    service_pods(world, service, true, w->arena, &pods);
    for (int v6 = 0; v6 <= 1; v6++) {
        s.ipv6 = v6;
        if (has_family(service->val, v6))
            sync_family(&s, &slices, &pods);
        else
            for (size_t i = 0; i < slices.n; i++)
                if (str_is(val_getstr(slices.items[i]->val, N_addressType), v6 ? "IPv6" : "IPv4"))
                    writes_delete(w, slices.items[i]);
    }
    return s.missing_node ? -EAGAIN : 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_SERVICES])
        sink(arg, (struct key){o->namespace_, o->name});
    else if (res == &resources[RES_PODS])
        keys_of_service_pod(world, old, new_, sink, arg);
    else if (res == &resources[RES_ENDPOINTSLICES] &&
             str_is(obj_label(o->val, STR(MANAGED_BY_LABEL)), MANAGED_BY))
        sink(arg, (struct key){o->namespace_, obj_label(o->val, STR(SERVICE_NAME))});
}

const struct controller endpointslice_controller = {
    .name = "endpointslice-controller",
    .alias = "endpointslice",
    .source = "endpoint-slice-controller",
    .reads = (const uint16_t[]){RES_SERVICES, RES_PODS, RES_NODES, RES_ENDPOINTSLICES, 0},
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
