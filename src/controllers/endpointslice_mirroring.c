/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints that somebody writes for a service without selector, as EndpointSlices (KEP-752): one slice for each set of
 * ports and address family, so that whoever reads slices alone misses nothing.
 */
#include "base/map.h"
#include "controllers/endpoints.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define MANAGED_BY "endpointslicemirroring-controller.k8s.io"
#define SERVICE_NAME "kubernetes.io/service-name"
#define MANAGED_BY_LABEL "endpointslice.kubernetes.io/managed-by"
#define SKIP_LABEL "endpointslice.kubernetes.io/skip-mirror"
#define LEADER "control-plane.alpha.kubernetes.io/leader" /* a lock of old clients, whose addresses are none */

enum { SUBSET_MAX = 1000 };

/* A slice that shall be. */
struct mirror {
    struct str id; /* family and ports */
    bool ipv6;
    const struct val *ports;
    struct val *endpoints;
    struct map addresses;        /* those it has */
    const struct object *object; /* the slice that is there; NULL: none yet */
};

struct sync {
    const struct object *endpoints;
    struct writes *w;
    struct mirror *mirrors;
    size_t n, cap;
    struct objects slices, spare; /* that are there; those for which there is nothing left */
    size_t invalid, skipped;
};

/* ---- what shall be ----------------------------------------------------------------------------------- */

static struct val *slice_ports(struct arena *a, const struct val *ports)
{
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (ports, p) {
        struct val *port = val_add_obj(a, list);
        val_set_str(a, port, N_name, val_getstr(p, N_name));
        val_set_str(a, port, N_protocol, val_getstr(p, N_protocol).n ? val_getstr(p, N_protocol) : STR("TCP"));
        val_set_int(a, port, N_port, val_int(val_get(p, N_port), 0));
        val_set_ref(a, port, N_appProtocol, val_get(p, N_appProtocol));
    }
    return list;
}

/* The same for the same ports in any order. */
static struct str mirror_id(struct arena *a, bool ipv6, const struct val *ports)
{
    struct str *parts = ARENA_ARRAY(a, struct str, val_len(ports) + 1);
    size_t n = 0;
    VAL_EACH (ports, p)
        parts[n++] = arena_printf(a, STR_FMT ":" STR_FMT ":%lld:" STR_FMT, STR_ARG(val_getstr(p, N_name)),
                                  STR_ARG(val_getstr(p, N_protocol)), (long long)val_int(val_get(p, N_port), 0),
                                  STR_ARG(val_getstr(p, N_appProtocol)));
    str_sort(parts, n);
    parts[n++] = ipv6 ? STR("IPv6") : STR("IPv4");
    return arena_join(a, parts, n, STR(","));
}

static struct mirror *find_mirror(struct sync *s, struct str id)
{
    for (size_t i = 0; i < s->n; i++)
        if (str_eq(s->mirrors[i].id, id))
            return &s->mirrors[i];
    return NULL;
}

static struct mirror *mirror_of(struct sync *s, bool ipv6, const struct val *ports)
{
    struct arena *a = s->w->arena;
    struct str id = mirror_id(a, ipv6, ports);
    struct mirror *m = find_mirror(s, id);
    if (m)
        return m;
    if (s->n == s->cap) {
        struct mirror *more = ARENA_ARRAY(a, struct mirror, s->cap = MAX(2 * s->cap, (size_t)8));
        if (s->n)
            memcpy(more, s->mirrors, s->n * sizeof(*more));
        s->mirrors = more;
    }
    s->mirrors[s->n] = (struct mirror){.id = id, .ipv6 = ipv6, .ports = ports, .endpoints = val_new(a, VAL_LIST)};
    return &s->mirrors[s->n++];
}

static void add_endpoint(struct sync *s, struct mirror *m, const struct val *address, bool ready)
{
    struct arena *a = s->w->arena;
    struct str ip = val_getstr(address, N_ip);
    if (map_has(&m->addresses, ip))
        return;
    map_put(&m->addresses, ip, s);
    struct val *e = val_add_obj(a, m->endpoints);
    val_add_str(a, val_sub_list(a, e, N_addresses), ip);
    val_set_bool(a, val_sub_obj(a, e, N_conditions), N_ready, ready);
    static const name_id copied[] = {N_hostname, N_targetRef, N_nodeName};
    for (size_t i = 0; i < ARRAY_SIZE(copied); i++)
        val_set_ref(a, e, copied[i], val_get(address, copied[i]));
}

static void add_addresses(struct sync *s, const struct val *ports, const struct val *addresses, bool ready, size_t *room)
{
    VAL_EACH (addresses, x) {
        struct str ip = val_getstr(x, N_ip);
        if (!ip.n) {
            s->invalid++;
        } else if (*room == 0) {
            s->skipped++;
        } else {
            add_endpoint(s, mirror_of(s, str_find(ip, ':') >= 0, ports), x, ready);
            --*room;
        }
    }
}

static void want_all(struct sync *s)
{
    VAL_EACH (val_get(s->endpoints->val, N_subsets), subset) {
        const struct val *ports = slice_ports(s->w->arena, val_get(subset, N_ports));
        size_t room = SUBSET_MAX;
        add_addresses(s, ports, val_get(subset, N_addresses), true, &room);
        add_addresses(s, ports, val_get(subset, N_notReadyAddresses), false, &room);
    }
}

static void sync_done(struct sync *s)
{
    for (size_t i = 0; i < s->n; i++)
        map_done(&s->mirrors[i].addresses);
}

/* ---- what is there ----------------------------------------------------------------------------------- */

static bool is_ipv6(const struct object *slice)
{
    return str_is(val_getstr(slice->val, N_addressType), "IPv6");
}

static bool is_managed(const struct object *slice, struct str name)
{
    return str_is(obj_label(slice->val, STR(MANAGED_BY_LABEL)), MANAGED_BY) &&
           str_eq(obj_label(slice->val, STR(SERVICE_NAME)), name);
}

static void find_slices(struct sync *s, const struct snapshot *world, struct key key)
{
    TREE_EACH (snapshot_tree(world, &resources[RES_ENDPOINTSLICES]), key.ns, it)
        if (is_managed(it.object, key.name) && !obj_deleting(it.object->val))
            objects_add(s->w->arena, &s->slices, it.object);
}

/* A slice keeps its ports and family if they are still wanted; otherwise it may become another of its family. */
static void match_slices(struct sync *s)
{
    struct arena *a = s->w->arena;
    for (size_t i = 0; i < s->slices.n; i++) {
        const struct object *o = s->slices.items[i];
        struct mirror *m = find_mirror(s, mirror_id(a, is_ipv6(o), val_get(o->val, N_ports)));
        if (m && !m->object)
            m->object = o;
        else
            objects_add(a, &s->spare, o);
    }
}

static const struct object *take_spare(struct sync *s, bool ipv6)
{
    for (size_t i = 0; i < s->spare.n; i++) {
        const struct object *o = s->spare.items[i];
        if (is_ipv6(o) != ipv6)
            continue;
        s->spare.items[i] = s->spare.items[--s->spare.n];
        return o;
    }
    return NULL;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static struct val *labels_of(struct sync *s)
{
    struct arena *a = s->w->arena;
    struct val *labels = val_copy(a, obj_labels(s->endpoints->val)) ?: val_new(a, VAL_MAP);
    val_put_str(a, labels, STR(SERVICE_NAME), s->endpoints->name);
    val_put_str(a, labels, STR(MANAGED_BY_LABEL), STR(MANAGED_BY));
    return labels;
}

static struct val *annotations_of(struct sync *s)
{
    struct val *annotations = val_copy(s->w->arena, val_get(s->endpoints->meta, N_annotations));
    if (annotations) {
        val_unput(annotations, STR("endpoints.kubernetes.io/last-change-trigger-time"));
        val_unput(annotations, STR("kubectl.kubernetes.io/last-applied-configuration"));
    }
    return annotations;
}

static void write_mirror(struct sync *s, struct mirror *m)
{
    struct arena *a = s->w->arena;
    const struct resource *res = &resources[RES_ENDPOINTSLICES];
    if (!m->object)
        m->object = take_spare(s, m->ipv6);
    struct val *v = m->object ? val_copy_shallow(a, m->object->val) : val_new(a, VAL_OBJ);
    struct val *meta = val_set(a, v, N_metadata, m->object ? *val_copy_shallow(a, m->object->meta) : *val_new(a, VAL_OBJ));
    struct val *owners = val_new(a, VAL_LIST);
    val_add(a, owners, obj_owner_ref(a, "v1", "Endpoints", s->endpoints->val));
    val_set_ref(a, meta, N_labels, labels_of(s));
    val_set_ref(a, meta, N_annotations, annotations_of(s));
    val_set_ref(a, meta, N_ownerReferences, owners);
    val_set_str(a, v, N_addressType, m->ipv6 ? STR("IPv6") : STR("IPv4"));
    val_set_ref(a, v, N_endpoints, m->endpoints);
    val_set_ref(a, v, N_ports, m->ports);
    if (m->object) {
        if (!val_equal(v, m->object->val))
            writes_update(s->w, res, v);
    } else if (!obj_deleting(s->endpoints->val)) {
        val_set_str(a, meta, N_namespace, s->endpoints->namespace_);
        val_set_str(a, meta, N_generateName, arena_printf(a, STR_FMT "-", STR_ARG(s->endpoints->name)));
        writes_add(s->w, WRITE_CREATE, res, s->endpoints->namespace_, STR_NULL)->body = v;
    }
}

static void tell(struct sync *s)
{
    if (s->invalid)
        writes_event(s->w, s->endpoints->res, s->endpoints->val, true, "InvalidIPAddress",
                     "Skipped %zu invalid IP addresses when mirroring to EndpointSlices", s->invalid);
    if (s->skipped)
        writes_event(s->w, s->endpoints->res, s->endpoints->val, true, "TooManyAddressesToMirror",
                     "A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %zu addresses were "
                     "skipped",
                     SUBSET_MAX, s->skipped);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static bool is_mirrored(const struct object *endpoints, const struct object *service)
{
    return endpoints && service && !val_len(val_at(service->val, N_spec, N_selector)) &&
           !str_is(obj_label(endpoints->val, STR(SKIP_LABEL)), "true") &&
           !val_key(val_get(endpoints->meta, N_annotations), STR(LEADER));
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    struct sync s = {.endpoints = snapshot_get(world, &resources[RES_ENDPOINTS], key.ns, key.name), .w = w};
    find_slices(&s, world, key);
    if (is_mirrored(s.endpoints, snapshot_get(world, &resources[RES_SERVICES], key.ns, key.name))) {
        want_all(&s);
        tell(&s);
    }
    match_slices(&s);
    for (size_t i = 0; i < s.n; i++)
        write_mirror(&s, &s.mirrors[i]);
    for (size_t i = 0; i < s.spare.n; i++)
        writes_delete(w, s.spare.items[i]);
    sync_done(&s);
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *both[] = {old, new_};
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        const struct object *o = both[i];
        if (!o)
            continue;
        if (res != &resources[RES_ENDPOINTSLICES])
            sink(arg, (struct key){o->namespace_, o->name});
        else if (str_is(obj_label(o->val, STR(MANAGED_BY_LABEL)), MANAGED_BY))
            sink(arg, (struct key){o->namespace_, obj_label(o->val, STR(SERVICE_NAME))});
    }
}

const struct controller endpointslice_mirroring_controller = {
    .name = "endpointslice-mirroring-controller",
    .alias = "endpointslicemirroring",
    .source = "endpoint-slice-mirroring-controller",
    .account = "endpointslicemirroring-controller",
    .reads = (const uint16_t[]){RES_ENDPOINTS, RES_SERVICES, RES_ENDPOINTSLICES, 0},
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
