/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out whether Services and what they took still agree: an IPAddress for every cluster IP and none without
 * (KEP-1880), addresses and node ports within their ranges and of one Service each. The API server keeps it so in its
 * transactions; what breaks it comes from elsewhere: objects deleted by hand, backups put back, ranges made smaller.
 *
 * A round over everything now and then, as nothing here is urgent. The kinds are watched apart, so that a replica may
 * show one half of a transaction: trouble counts when it is still there some seconds later.
 */
#include "base/map.h"
#include "controllers/cidr.h"
#include "controllers/cluster.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define ALLOCATOR "ipallocator.k8s.io"
#define FAMILY_LABEL "ipaddress.kubernetes.io/ip-family"
#define MANAGED_LABEL "ipaddress.kubernetes.io/managed-by"

enum { ROUND_SECONDS = 180, CONFIRM_SECONDS = 5, LEAK_SECONDS = 60 /* the longest that a request may take */ };

struct suspect {
    struct wall since;
    bool seen; /* in this round */
};

struct memory {
    struct map suspects; /* struct suspect by what is wrong with whom */
};

struct round {
    const struct snapshot *world;
    struct wall now;
    struct writes *w;
    struct cidr *ranges; /* of all ServiceCIDRs */
    size_t n_ranges;
    int64_t first_port, last_port; /* 0: unknown */
    struct map ports;              /* "30001/TCP" -> anything */
};

/* ---- saying it ------------------------------------------------------------------------------------------- */

/* True when it was wrong before; else it is looked at again soon. */
static bool confirmed(struct round *r, const char *reason, const struct object *o, struct str what)
{
    struct memory *m = r->w->state;
    struct str key = arena_printf(r->w->arena, "%s " STR_FMT " " STR_FMT, reason, STR_ARG(o->uid), STR_ARG(what));
    struct suspect *s = map_get(&m->suspects, key);
    if (!s) {
        s = NEW(struct suspect);
        s->since = r->now;
        map_put(&m->suspects, key, s);
    }
    s->seen = true;
    int64_t left = s->since.ns + SECONDS(CONFIRM_SECONDS) - r->now.ns;
    if (left > SECONDS(CONFIRM_SECONDS)) { /* the clock went back */
        s->since = r->now;
        left = SECONDS(CONFIRM_SECONDS);
    }
    if (left > 0)
        writes_again(r->w, left);
    return left <= 0;
}

static void forget_mended(struct memory *m)
{
    MAP_EACH (&m->suspects, e) {
        struct suspect *s = e->value;
        if (!s->seen)
            free(map_del(&m->suspects, e->key));
        else
            s->seen = false;
    }
}

#define TELL(r, o, reason, ...) writes_event((r)->w, (o)->res, (o)->val, true, reason, __VA_ARGS__)

/* ---- cluster IPs: from Services to IPAddresses ---------------------------------------------------------------- */

static const char *family_of(struct cidr ip)
{
    return ip.ipv6 ? "IPv6" : "IPv4";
}

/* By value: people may write an address in other ways than its IPAddress is named. */
static bool lists_ip(const struct object *service, struct str name)
{
    struct cidr ip, other;
    if (cidr_parse_ip(name, &ip) < 0)
        return false;
    VAL_EACH (val_at(service->val, N_spec, N_clusterIPs), x)
        if (cidr_parse_ip(val_str(x), &other) == 0 && other.ipv6 == ip.ipv6 && other.base == ip.base)
            return true;
    return false;
}

/* The Service that an IPAddress names; NULL when there is none. *ret_ref: whether it names a Service at all. */
static const struct object *parent_of(const struct round *r, const struct object *address, bool *ret_ref)
{
    const struct val *ref = val_at(address->val, N_spec, N_parentRef);
    *ret_ref = str_empty(val_getstr(ref, N_group)) && str_is(val_getstr(ref, N_resource), "services");
    return *ret_ref ? snapshot_get(r->world, &resources[RES_SERVICES], val_getstr(ref, N_namespace), val_getstr(ref, N_name))
                    : NULL;
}

static void create_address(struct round *r, const struct object *service, struct str name, struct cidr ip)
{
    struct arena *a = r->w->arena;
    const struct resource *res = &resources[RES_IPADDRESSES];
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata), *labels = val_sub_map(a, meta, N_labels);
    struct val *ref = val_sub_obj(a, val_sub_obj(a, v, N_spec), N_parentRef);
    val_set_str(a, meta, N_name, name);
    val_put_str(a, labels, STR(FAMILY_LABEL), str_of(family_of(ip)));
    val_put_str(a, labels, STR(MANAGED_LABEL), STR(ALLOCATOR));
    val_set_str(a, ref, N_resource, STR("services"));
    val_set_str(a, ref, N_namespace, service->namespace_);
    val_set_str(a, ref, N_name, service->name);
    struct write *x = writes_add(r->w, WRITE_CREATE, res, STR_NULL, name);
    x->body = v;
    x->may_fail = 409;
}

static bool is_managed(const struct object *address)
{
    return str_is(obj_label(address->val, STR(MANAGED_LABEL)), ALLOCATOR);
}

static void check_address_of(struct round *r, const struct object *service, const struct object *address, struct str name,
                             struct cidr ip)
{
    bool is_ref;
    const struct object *parent = parent_of(r, address, &is_ref);
    if (parent == service) {
        if (is_managed(address) && str_is(obj_label(address->val, STR(FAMILY_LABEL)), family_of(ip)))
            return;
        if (confirmed(r, "labels", service, name)) {
            writes_delete(r->w, address);
            create_address(r, service, name, ip);
        }
    } else if (!parent) {
        if (confirmed(r, "reference", service, name)) {
            writes_delete(r->w, address);
            TELL(r, service, "ClusterIPNotAllocated",
                 "the ClusterIP [%s]: " STR_FMT " for Service " STR_FMT "/" STR_FMT " has a wrong reference; repairing",
                 family_of(ip), STR_ARG(name), STR_ARG(service->namespace_), STR_ARG(service->name));
            create_address(r, service, name, ip);
        }
    } else if (lists_ip(parent, name) && confirmed(r, "twice", service, name)) {
        TELL(r, service, "ClusterIPAlreadyAllocated",
             "Cluster IP [%s]:" STR_FMT " was assigned to multiple services; please recreate service", family_of(ip),
             STR_ARG(name));
    } /* else the IPAddress is wrong, which check_address sees */
}

static void check_cluster_ip(struct round *r, const struct object *service, struct str text)
{
    struct cidr ip;
    bool in_range = false;
    if (cidr_parse_ip(text, &ip) < 0) {
        if (confirmed(r, "invalid", service, text))
            TELL(r, service, "ClusterIPNotValid", "Cluster IP " STR_FMT " is not a valid IP; please recreate Service",
                 STR_ARG(text));
        return;
    }
    for (size_t i = 0; i < r->n_ranges; i++)
        in_range |= cidr_overlap(r->ranges[i], ip);
    struct str name = cidr_ip_text(r->w->arena, ip);
    const struct object *address = snapshot_get(r->world, &resources[RES_IPADDRESSES], STR_NULL, name);
    if (!in_range) {
        if (confirmed(r, "range", service, text))
            TELL(r, service, "ClusterIPOutOfRange",
                 "Cluster IP [%s]: " STR_FMT " is not within any configured Service CIDR; please recreate service",
                 family_of(ip), STR_ARG(text));
    } else if (address) {
        check_address_of(r, service, address, name, ip);
    } else if (confirmed(r, "missing", service, text)) {
        TELL(r, service, "ClusterIPNotAllocated", "Cluster IP [%s]: " STR_FMT " is not allocated; repairing", family_of(ip),
             STR_ARG(text));
        create_address(r, service, name, ip);
    }
}

/* ---- cluster IPs: from IPAddresses to Services ---------------------------------------------------------------- */

/* The Service may come after its IPAddress for as long as a request takes. */
static bool is_young(struct round *r, const struct object *o, int64_t seconds)
{
    int64_t age = r->now.ns - val_time(val_get(o->meta, N_creationTimestamp)).ns;
    if (age < 0 || age >= SECONDS(seconds))
        return false;
    writes_again(r->w, SECONDS(seconds) - age);
    return true;
}

static void check_address(struct round *r, const struct object *o)
{
    bool is_ref;
    const struct object *parent = parent_of(r, o, &is_ref);
    const struct val *ref = val_at(o->val, N_spec, N_parentRef);
    struct str ns = val_getstr(ref, N_namespace), name = val_getstr(ref, N_name);
    if (!is_managed(o) || (parent && lists_ip(parent, o->name)))
        return;
    if (is_ref && is_young(r, o, LEAK_SECONDS))
        return;
    if (!confirmed(r, "leak", o, o->name))
        return;
    if (!is_ref) {
        TELL(r, o, "IPAddressNotAllocated",
             "IPAddress " STR_FMT " appears to have been modified, not referencing a Service: cleaning up", STR_ARG(o->name));
    } else if (!parent) {
        writes_add(r->w, WRITE_CHECK_ABSENT, &resources[RES_SERVICES], ns, name);
        TELL(r, o, "IPAddressNotAllocated",
             "IPAddress: " STR_FMT " for Service " STR_FMT "/" STR_FMT " appears to have leaked: cleaning up",
             STR_ARG(o->name), STR_ARG(ns), STR_ARG(name));
    } else {
        TELL(r, o, "IPAddressWrongReference",
             "IPAddress: " STR_FMT " for Service " STR_FMT "/" STR_FMT " has a wrong reference; cleaning up", STR_ARG(o->name),
             STR_ARG(ns), STR_ARG(name));
    }
    writes_delete(r->w, o);
}

/* ---- node ports ----------------------------------------------------------------------------------------------- */

/* Of several Services the first by name has the port. */
static void check_port(struct round *r, const struct object *service, int64_t port, struct str protocol)
{
    struct str key = arena_printf(r->w->arena, "%lld/" STR_FMT, (long long)port, STR_ARG(protocol));
    if (port == 0)
        return;
    if (r->last_port && (port < r->first_port || port > r->last_port)) {
        if (confirmed(r, "port range", service, key))
            TELL(r, service, "PortOutOfRange", "Port %lld is not within the port range %lld-%lld; please recreate service",
                 (long long)port, (long long)r->first_port, (long long)r->last_port);
    } else if (!map_has(&r->ports, key)) {
        map_put(&r->ports, key, r);
    } else if (confirmed(r, "port twice", service, key)) {
        TELL(r, service, "PortAlreadyAllocated", "Port %lld was assigned to multiple services; please recreate service",
             (long long)port);
    }
}

static void check_service(struct round *r, const struct object *o)
{
    const struct val *spec = val_get(o->val, N_spec);
    VAL_EACH (val_get(spec, N_clusterIPs), ip)
        if (!str_is(val_str(ip), "None") && !str_empty(val_str(ip)) && !str_is(val_getstr(spec, N_type), "ExternalName"))
            check_cluster_ip(r, o, val_str(ip));
    VAL_EACH (val_get(spec, N_ports), p) {
        struct str protocol = val_getstr(p, N_protocol);
        check_port(r, o, val_int(val_get(p, N_nodePort), 0), str_empty(protocol) ? STR("TCP") : protocol);
    }
    check_port(r, o, val_int(val_get(spec, N_healthCheckNodePort), 0), STR("TCP"));
}

/* ---- the controller ------------------------------------------------------------------------------------------- */

static void read_ranges(struct round *r)
{
    const struct tree *all = snapshot_tree(r->world, &resources[RES_SERVICECIDRS]);
    size_t most = 0;
    TREE_EACH (all, STR(""), it)
        most += val_len(val_at(it.object->val, N_spec, N_cidrs));
    r->ranges = ARENA_ARRAY(r->w->arena, struct cidr, most + 1);
    TREE_EACH (all, STR(""), it)
        VAL_EACH (val_at(it.object->val, N_spec, N_cidrs), text)
            if (cidr_parse(val_str(text), &r->ranges[r->n_ranges]) == 0)
                r->n_ranges++;
}

static void read_ports(struct round *r)
{
    struct str first, last;
    if (!r->w->config->service_node_ports || !str_cut(str_of(r->w->config->service_node_ports), '-', &first, &last) ||
        str_to_i64(first, &r->first_port) < 0 || str_to_i64(last, &r->last_port) < 0)
        r->first_port = r->last_port = 0;
}

static int reconcile(const struct snapshot *world, struct key key UNUSED, struct wall now, struct writes *w)
{
    struct round r = {.world = world, .now = now, .w = w};
    read_ranges(&r);
    read_ports(&r);
    TREE_EACH (snapshot_tree(world, &resources[RES_SERVICES]), STR(""), it)
        check_service(&r, it.object);
    TREE_EACH (snapshot_tree(world, &resources[RES_IPADDRESSES]), STR(""), it)
        check_address(&r, it.object);
    forget_mended(w->state);
    map_done(&r.ports);
    return 0;
}

static void *state_new(const struct controllers_config *config UNUSED)
{
    return NEW(struct memory);
}

static void state_free(void *state)
{
    map_done_with(&((struct memory *)state)->suspects, free);
    free(state);
}

const struct controller service_repair_controller = {
    .name = "service-repair-controller",
    .source = "ipallocator-repair-controller",
    .reads = (const uint16_t[]){RES_SERVICES, RES_SERVICECIDRS, RES_IPADDRESSES, 0},
    .reconcile = reconcile,
    .resync_ns = SECONDS(ROUND_SECONDS),
    .state_new = state_new,
    .state_free = state_free,
    .off = true, /* upstream's API server repairs by itself; where ours serves, --controllers=*,service-repair-controller */
};
