/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints, the old form: one object a service, at most a thousand addresses. */
#include "controllers/endpoints.h"

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"
#define MANAGED_BY_LABEL "endpoints.kubernetes.io/managed-by"

enum { CAPACITY = 1000 };

/* Addresses with the same ports. */
struct subset {
    struct val *ports, *ready, *not_ready;
};

struct sync {
    const struct object *service;
    struct writes *w;
    struct subset *subsets;
    size_t n_subsets, n_addresses;
    bool ipv6, publish_all, truncated;
};

static struct val *ports_of(struct sync *s, const struct val *pod)
{
    struct arena *a = s->w->arena;
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (val_at(s->service->val, N_spec, N_ports), p) {
        int64_t number = service_target_port(p, pod);
        if (!number)
            continue;
        struct str protocol = val_getstr(p, N_protocol);
        struct val *port = val_add_obj(a, list);
        set_text(a, port, N_name, val_getstr(p, N_name));
        val_set_int(a, port, N_port, number);
        val_set_str(a, port, N_protocol, str_empty(protocol) ? STR("TCP") : protocol);
        val_set_ref(a, port, N_appProtocol, val_get(p, N_appProtocol));
    }
    return list;
}

static struct subset *subset_of(struct sync *s, struct val *ports)
{
    for (size_t i = 0; i < s->n_subsets; i++)
        if (val_equal(s->subsets[i].ports, ports))
            return &s->subsets[i];
    struct arena *a = s->w->arena;
    struct subset *x = &s->subsets[s->n_subsets++];
    *x = (struct subset){ports, val_new(a, VAL_LIST), val_new(a, VAL_LIST)};
    return x;
}

static struct val make_address(struct sync *s, const struct object *pod, struct str ip)
{
    struct arena *a = s->w->arena;
    struct val *x = val_new(a, VAL_OBJ);
    struct str node = index_pod_node(pod);
    val_set_str(a, x, N_ip, ip);
    set_text(a, x, N_hostname, service_hostname(s->service->val, pod->val));
    if (!str_empty(node))
        val_set_str(a, x, N_nodeName, node);
    val_set_ref(a, x, N_targetRef, pod_target_ref(a, pod));
    return *x;
}

/* Ready ones first, so that the limit hits the others. */
static void add_pod(struct sync *s, const struct object *pod, bool ready)
{
    const struct val *ip = val_item(pod_addresses(s->w->arena, pod->val, s->ipv6), 0);
    struct val *ports = ports_of(s, pod->val);
    bool headless_without_ports =
        val_len(val_at(s->service->val, N_spec, N_ports)) == 0 && service_is_headless(s->service->val);
    if (!ip || (s->publish_all || pod_ready(pod->val)) != ready ||
        (val_len(ports) == 0 && !headless_without_ports))
        return;
    if (s->n_addresses >= CAPACITY) {
        s->truncated = true;
        return;
    }
    struct subset *x = subset_of(s, ports);
    val_add(s->w->arena, ready ? x->ready : x->not_ready, make_address(s, pod, val_str(ip)));
    s->n_addresses++;
}

static int by_address(const void *pa, const void *pb)
{
    const struct val *a = pa, *b = pb;
    int r = str_cmp(val_getstr(a, N_ip), val_getstr(b, N_ip));
    return r ? r : str_cmp(val_str(val_at(a, N_targetRef, N_uid)), val_str(val_at(b, N_targetRef, N_uid)));
}

static struct val *sorted(struct val *list)
{
    if (list->n > 0)
        qsort(list->items, list->n, sizeof(*list->items), by_address);
    return list;
}

static struct val *make_subsets(struct sync *s)
{
    struct arena *a = s->w->arena;
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < s->n_subsets; i++) {
        struct val *x = val_add_obj(a, list);
        if (s->subsets[i].ready->n)
            val_set_ref(a, x, N_addresses, sorted(s->subsets[i].ready));
        if (s->subsets[i].not_ready->n)
            val_set_ref(a, x, N_notReadyAddresses, sorted(s->subsets[i].not_ready));
        if (s->subsets[i].ports->n)
            val_set_ref(a, x, N_ports, s->subsets[i].ports);
    }
    return list;
}

static struct val *make_labels(struct sync *s)
{
    struct val *labels = service_labels(s->w->arena, s->service->val);
    val_put_str(s->w->arena, labels, STR(MANAGED_BY_LABEL), STR("endpoint-controller"));
    return labels;
}

static struct val *make_endpoints(struct sync *s, const struct object *old)
{
    struct arena *a = s->w->arena;
    struct val *v = old ? val_copy_shallow(a, old->val) : val_new(a, VAL_OBJ);
    struct val *meta =
        val_set(a, v, N_metadata, old ? *val_copy_shallow(a, old->meta) : *val_new(a, VAL_OBJ));
    if (!old) {
        val_set_str(a, meta, N_name, s->service->name);
        val_set_str(a, meta, N_namespace, s->service->namespace_);
    }
    val_set_ref(a, meta, N_labels, make_labels(s));
    struct val *notes = own_map(a, meta, N_annotations);
    if (s->truncated)
        val_put_str(a, notes, STR(OVER_CAPACITY), STR("truncated"));
    else
        val_unput(notes, STR(OVER_CAPACITY));
    struct val *subsets = make_subsets(s);
    val_set_ref(a, v, N_subsets, val_len(subsets) ? subsets : NULL);
    return v;
}

static bool is_ipv6(const struct val *service)
{
    struct str family = val_str(val_item(val_at(service, N_spec, N_ipFamilies), 0));
    struct str ip = val_str(val_at(service, N_spec, N_clusterIP));
    return str_empty(family) ? str_find(ip, ':') >= 0 : str_is(family, "IPv6");
}

/* The service is gone: so are its endpoints, unless somebody else made them. */
static void forget(const struct object *old, struct writes *w)
{
    if (old)
        writes_delete(w, old);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *service = snapshot_get(world, &resources[RES_SERVICES], key.ns, key.name);
    const struct object *old = snapshot_get(world, &resources[RES_ENDPOINTS], key.ns, key.name);
    if (!service) {
        forget(old, w);
        return 0;
    }
    if (!service_has_selector(service->val))
        return 0;
    struct sync s = {.service = service,
                     .w = w,
                     .ipv6 = is_ipv6(service->val),
                     .publish_all =
                         val_bool(val_at(service->val, N_spec, N_publishNotReadyAddresses), false)};
    struct objects pods = {0};
    service_pods(world, service, s.publish_all, w->arena, &pods);
    s.subsets = ARENA_ARRAY(w->arena, struct subset, pods.n);
    for (size_t i = 0; i < pods.n; i++)
        add_pod(&s, pods.items[i], true);
    for (size_t i = 0; i < pods.n; i++)
        add_pod(&s, pods.items[i], false);
    struct val *v = make_endpoints(&s, old);
    if (!old)
        writes_add(w, WRITE_CREATE, &resources[RES_ENDPOINTS], key.ns, STR_NULL)->body = v;
    else if (!val_equal(v, old->val))
        writes_update(w, old->res, v);
    return 0;
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_PODS])
        keys_of_service_pod(world, old, new_, sink, arg);
    else if (res == &resources[RES_SERVICES] ||
             snapshot_get(world, &resources[RES_SERVICES], o->namespace_, o->name))
        sink(arg, (struct key){o->namespace_, o->name});
}

const struct controller endpoints_controller = {
    .name = "endpoints-controller",
    .account = "endpoint-controller",
    .alias = "endpoint",
    .source = "endpoint-controller",
    .reads = (const uint16_t[]){RES_SERVICES, RES_PODS, RES_ENDPOINTS, 0},
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
