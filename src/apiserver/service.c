/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/service.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "apiserver/state.h"
#include "apiserver/uuid.h"
#include "apiserver/write.h"
#include "base/map.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/service.h"

enum { RANGES_MAX = 2 };

struct range {
    bool v6;
    uint8_t base[16];  /* first address, network order */
    uint64_t size;     /* addresses, at most 2^20 are used */
    const char *family; /* "IPv4" */
};

struct service_alloc {
    struct range ranges[RANGES_MAX];
    size_t n_ranges;
    int port_first, port_last;
    struct map taken;   /* by stored Services: key to a count */
    struct map pending; /* by requests in flight */
    struct cache_hook hook;
};

/* ---- addresses --------------------------------------------------------------------------------------- */

static int parse_ip(struct str s, uint8_t ret[static 16], bool *ret_v6)
{
    char text[64];
    if (s.n >= sizeof(text))
        return -EINVAL;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    *ret_v6 = strchr(text, ':') != NULL;
    return inet_pton(*ret_v6 ? AF_INET6 : AF_INET, text, ret) == 1 ? 0 : -EINVAL;
}

static int parse_range(struct str text, struct range *ret)
{
    struct str ip, bits_text;
    int64_t bits;
    struct range r = {.v6 = false};
    if (!str_cut(str_trim(text), '/', &ip, &bits_text) || str_to_i64(bits_text, &bits) ||
        parse_ip(ip, r.base, &r.v6) < 0)
        return -EINVAL;
    int width = r.v6 ? 128 : 32;
    if (bits < 1 || bits > width - 2)
        return -EINVAL;
    for (int i = (int)bits; i < width; i++)
        r.base[i / 8] &= (uint8_t)~(0x80 >> (i % 8));
    r.size = width - bits > 20 ? (uint64_t)1 << 20 : (uint64_t)1 << (width - bits);
    r.family = r.v6 ? "IPv6" : "IPv4";
    *ret = r;
    return 0;
}

static struct str address_at(struct arena *a, const struct range *r, uint64_t offset)
{
    uint8_t ip[16];
    char text[64];
    int width = r->v6 ? 16 : 4;
    memcpy(ip, r->base, sizeof(ip));
    for (int i = width - 1; i >= 0 && offset; i--) {
        offset += ip[i];
        ip[i] = (uint8_t)offset;
        offset >>= 8;
    }
    inet_ntop(r->v6 ? AF_INET6 : AF_INET, ip, text, sizeof(text));
    return arena_str(a, str_of(text));
}

static bool in_range(const struct range *r, struct str text)
{
    uint8_t ip[16];
    bool v6;
    if (parse_ip(text, ip, &v6) < 0 || v6 != r->v6)
        return false;
    uint64_t offset = 0;
    int width = v6 ? 16 : 4;
    for (int i = 0; i < width; i++) {
        if (offset > 1 << 24)
            return false;
        offset = offset * 256 + ip[i] - r->base[i];
    }
    return offset > 0 && offset < r->size - (v6 ? 0 : 1);
}

static const struct range *range_of_family(const struct service_alloc *s, struct str family)
{
    for (size_t i = 0; i < s->n_ranges; i++)
        if (str_is(family, s->ranges[i].family))
            return &s->ranges[i];
    return NULL;
}

static bool same_range(const struct range *a, const struct range *b)
{
    return a->v6 == b->v6 && a->size == b->size && memcmp(a->base, b->base, sizeof(a->base)) == 0;
}

/* A ServiceCIDR that gives out addresses. Without a controller nobody says that it is ready: it is. */
static bool gives_addresses(const struct val *cidr)
{
    const struct val *ready = condition_find(val_at(cidr, N_status, N_conditions), STR("Ready"));
    return !obj_deleting(cidr) && (!ready || str_is(val_getstr(ready, N_status), "True"));
}

/* The ranges of a family: the server's own first, then those of ServiceCIDRs (KEP-1880). Empty: the cluster has not that family. */
static size_t ranges_of_family(struct request *r, struct str family, struct range **ret)
{
    struct cache_kind *k = state_kind(r->server, RES_SERVICECIDRS);
    const struct range *own = range_of_family(r->server->services, family);
    struct range *list = ARENA_ARRAY(r->arena, struct range, RANGES_MAX * tree_count(k->root) + 1);
    size_t n = 0;
    *ret = list;
    if (!own)
        return 0;
    list[n++] = *own;
    TREE_EACH(k->root, STR(""), it)
        if (gives_addresses(it.object->val))
            VAL_EACH(val_at(it.object->val, N_spec, N_cidrs), text)
                if (parse_range(val_str(text), &list[n]) == 0 && str_is(family, list[n].family) && !same_range(&list[n], own))
                    n++;
    return n;
}

/* ---- what is taken ----------------------------------------------------------------------------------- */

static void count(struct map *m, struct str key, int by)
{
    intptr_t n = (intptr_t)map_get(m, key) + by;
    if (n > 0)
        map_put(m, key, (void *)n);
    else
        map_del(m, key);
}

static struct str port_key(char buf[static 32], int64_t port, struct str protocol)
{
    snprintf(buf, 32, "p%lld/%.*s", (long long)port, protocol.n ? (int)protocol.n : 3,
             protocol.n ? protocol.p : "TCP");
    return str_of(buf);
}

static void count_service(struct service_alloc *s, const struct object *o, int by)
{
    char buf[32];
    const struct val *spec = val_get(o->val, N_spec);
    VAL_EACH(val_get(spec, N_clusterIPs), ip)
        if (!str_is(val_str(ip), "None"))
            count(&s->taken, val_str(ip), by);
    VAL_EACH(val_get(spec, N_ports), p)
        if (val_int(val_get(p, N_nodePort), 0))
            count(&s->taken, port_key(buf, val_int(val_get(p, N_nodePort), 0), val_getstr(p, N_protocol)),
                  by);
    int64_t health = val_int(val_get(spec, N_healthCheckNodePort), 0);
    if (health)
        count(&s->taken, port_key(buf, health, STR("TCP")), by);
}

static void service_changed(void *arg, const struct object *old, const struct object *now)
{
    if (old)
        count_service(arg, old, -1);
    if (now)
        count_service(arg, now, 1);
}

static bool is_free(const struct service_alloc *s, struct str key)
{
    return !map_has(&s->taken, key) && !map_has(&s->pending, key);
}

static void reserve(struct request *r, struct service_claim *c, struct str key)
{
    struct service_alloc *s = r->server->services;
    if (c->n == CLAIM_MAX)
        return;
    c->keys[c->n++] = arena_str(r->arena, key);
    count(&s->pending, key, 1);
}

/* ---- life -------------------------------------------------------------------------------------------- */

int service_alloc_new(struct apiserver *srv, struct err *e)
{
    const char *text = srv->config.service_cidr ? srv->config.service_cidr : "10.96.0.0/12";
    struct service_alloc *s = NEW(struct service_alloc);
    struct str rest = str_of(text), one;
    srv->services = s;
    while (str_next(&rest, ',', &one)) {
        if (s->n_ranges == RANGES_MAX || parse_range(one, &s->ranges[s->n_ranges]) < 0)
            return err_set(e, -EINVAL, "--service-cluster-ip-range: \"%s\" is not a range like 10.96.0.0/12",
                           text);
        s->n_ranges++;
    }
    s->port_first = srv->config.node_port_first ? srv->config.node_port_first : 30000;
    s->port_last = srv->config.node_port_last ? srv->config.node_port_last : 32767;
    struct cache_kind *k = state_kind(srv, RES_SERVICES);
    TREE_EACH(k->root, STR(""), it)
        count_service(s, it.object, 1);
    cache_on_change(k, &s->hook, service_changed, s);
    return 0;
}

void service_alloc_free(struct apiserver *srv)
{
    struct service_alloc *s = srv->services;
    if (!s)
        return;
    cache_off_change(&s->hook);
    map_done(&s->taken);
    map_done(&s->pending);
    free(s);
    srv->services = NULL;
}

struct str service_first_ip(struct apiserver *s, struct arena *a)
{
    return address_at(a, &s->services->ranges[0], 1);
}

/* ---- before validation ------------------------------------------------------------------------------- */

static const struct val *same_port(const struct val *old, const struct val *port)
{
    VAL_EACH(val_get(old, N_ports), p)
        if (val_int(val_get(p, N_port), 0) == val_int(val_get(port, N_port), 0) &&
            str_eq(val_getstr(p, N_protocol), val_getstr(port, N_protocol)))
            return p;
    return NULL;
}

/* What an update leaves out stays as it was (patchAllocatedValues). */
static void take_over(struct arena *a, struct val *spec, const struct val *old)
{
    if (service_needs_cluster_ip(spec) && service_needs_cluster_ip(old)) {
        if (!val_getstr(spec, N_clusterIP).n && !val_len(val_get(spec, N_clusterIPs))) {
            val_set_ref(a, spec, N_clusterIP, val_get(old, N_clusterIP));
            val_set_ref(a, spec, N_clusterIPs, val_get(old, N_clusterIPs));
        }
    }
    if (service_needs_node_ports(spec) && service_needs_node_ports(old)) {
        struct val *ports = val_mut(spec, N_ports);
        for (size_t i = 0; i < val_len(ports); i++) {
            const struct val *was = same_port(old, &ports->items[i]);
            if (was && !val_get(&ports->items[i], N_nodePort))
                val_set_ref(a, &ports->items[i], N_nodePort, val_get(was, N_nodePort));
        }
    }
    if (val_get(old, N_healthCheckNodePort) && !val_get(spec, N_healthCheckNodePort) &&
        service_needs_health_port(spec))
        val_set_ref(a, spec, N_healthCheckNodePort, val_get(old, N_healthCheckNodePort));
}

static struct str family_of(struct str ip)
{
    return str_find(ip, ':') >= 0 ? STR("IPv6") : STR("IPv4");
}

static struct str other_family(struct str family)
{
    return str_is(family, "IPv4") ? STR("IPv6") : STR("IPv4");
}

static bool same_member(const struct val *spec, const struct val *old, name_id name)
{
    return val_equal(val_get(spec, name), val_get(old, name));
}

static bool headless_by_hand(const struct val *spec)
{
    return service_headless(spec) && !val_len(val_get(spec, N_selector));
}

/* A cluster that gets another family gives no Service more addresses, and takes none, until somebody asks. */
static bool stays_as_it_is(const struct val *spec, const struct val *old)
{
    struct str was = val_getstr(old, N_ipFamilyPolicy);
    return old && str_is(val_getstr(spec, N_ipFamilyPolicy), "PreferDualStack") && same_member(spec, old, N_type) &&
           (!was.n || str_is(was, "PreferDualStack")) && same_member(spec, old, N_clusterIPs) && same_member(spec, old, N_ipFamilies);
}

static struct str policy_of(struct request *r, struct val *spec, const struct val *old)
{
    struct str policy = val_getstr(spec, N_ipFamilyPolicy);
    if (policy.n)
        return policy;
    policy = val_getstr(old, N_ipFamilyPolicy);
    if (!policy.n)
        policy = headless_by_hand(spec) ? STR("RequireDualStack") : STR("SingleStack");
    val_set_str(r->arena, spec, N_ipFamilyPolicy, policy);
    return policy;
}

/* SingleStack alone gives the second address and family back; who takes them away must also say that. */
static void release_second(struct request *r, struct val *spec, const struct val *old, bool single)
{
    static const struct {
        name_id name;
        const char *many, *released;
    } lists[] = {
        {N_clusterIPs, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
         "must be 'SingleStack' to release the secondary cluster IP"},
        {N_ipFamilies, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
         "must be 'SingleStack' to release the secondary IP family"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct val *list = val_mut(spec, lists[i].name);
        size_t had = val_len(val_get(old, lists[i].name));
        if (single && had > 1 && same_member(spec, old, lists[i].name))
            list->n = 1;
        if (single && val_len(list) > 1)
            cause_invalid(&r->status, STR("spec.ipFamilyPolicy"), val_get(spec, N_ipFamilyPolicy), lists[i].many);
        if (!single && had > 1 && val_len(list) == 1)
            cause_invalid(&r->status, STR("spec.ipFamilyPolicy"), val_get(spec, N_ipFamilyPolicy), lists[i].released);
    }
}

/* Each address says of which family it is. */
static void infer_families(struct request *r, struct val *spec)
{
    const struct val *ips = val_get(spec, N_clusterIPs);
    struct val *list = val_sub_list(r->arena, spec, N_ipFamilies);
    for (size_t i = list->n; !service_headless(spec) && i < val_len(ips); i++) {
        struct str family = family_of(val_str(val_item(ips, i)));
        if (range_of_family(r->server->services, family))
            val_add_str(r->arena, list, family);
        else
            cause_invalid(&r->status, arena_printf(r->arena, "spec.clusterIPs[%zu]", i), ips,
                          arena_printf(r->arena, STR_FMT " is not configured on this cluster", STR_ARG(family)).p);
    }
}

static void check_configured(struct request *r, const struct val *spec, struct str policy)
{
    const struct service_alloc *s = r->server->services;
    size_t i = 0;
    if (str_is(policy, "RequireDualStack") && s->n_ranges < 2)
        cause_invalid(&r->status, STR("spec.ipFamilyPolicy"), val_get(spec, N_ipFamilyPolicy),
                      "this cluster is not configured for dual-stack services");
    VAL_EACH(val_get(spec, N_ipFamilies), family) {
        if (!range_of_family(s, val_str(family)))
            cause_invalid(&r->status, arena_printf(r->arena, "spec.ipFamilies[%zu]", i), family, "not configured on this cluster");
        i++;
    }
}

/* Policy and families from each other, from the addresses asked for and from what the cluster has (KEP-563). */
static int choose_families(struct request *r, const struct val *v, struct val *spec, const struct val *old)
{
    const struct service_alloc *s = r->server->services;
    if (stays_as_it_is(spec, old))
        return 0;
    struct str policy = policy_of(r, spec, old);
    bool single = str_is(policy, "SingleStack"), by_hand = headless_by_hand(spec);
    release_second(r, spec, old, single);
    infer_families(r, spec);
    if (!r->status.n_causes && !by_hand)
        check_configured(r, spec, policy);
    if (r->status.n_causes)
        return status_invalid(&r->status, STR(""), STR("Service"), obj_name(v));
    struct val *list = val_sub_list(r->arena, spec, N_ipFamilies);
    if (!list->n)
        val_add_str(r->arena, list, str_of(s->ranges[0].family));
    if (list->n == 1 && !single && (s->n_ranges > 1 || by_hand))
        val_add_str(r->arena, list, other_family(val_str(&list->items[0])));
    return 0;
}

void service_prepare(struct request *r, struct val *v, const struct val *old)
{
    if (old)
        take_over(r->arena, val_sub_obj(r->arena, v, N_spec), val_get(old, N_spec));
    service_normalize(r->arena, v, old);
}

/* ---- choosing ---------------------------------------------------------------------------------------- */

/* The upper part of a range first, so that addresses people choose by hand stay free below (KEP-3070). */
static struct str choose_ip(struct request *r, const struct range *range)
{
    const struct service_alloc *s = r->server->services;
    uint64_t last = range->size - (range->v6 ? 1 : 2), low = range->size / 16;
    low = MIN(MAX(low, (uint64_t)16), (uint64_t)256);
    low = MIN(low, last);
    for (int part = 0; part < 2; part++) {
        uint64_t from = part ? 1 : low, n = part ? low : last - low + 1,
                 start = os_random_below(MAX(n, (uint64_t)1));
        for (uint64_t i = 0; i < n; i++) {
            struct str ip = address_at(r->arena, range, from + (start + i) % n);
            if (is_free(s, ip))
                return ip;
        }
    }
    return STR_NULL;
}

static struct str choose_ip_of(struct request *r, const struct range *ranges, size_t n)
{
    struct str ip = STR_NULL;
    for (size_t i = 0; i < n && !ip.n; i++)
        ip = choose_ip(r, &ranges[i]);
    return ip;
}

static bool in_some_range(const struct range *ranges, size_t n, struct str ip)
{
    for (size_t i = 0; i < n; i++)
        if (in_range(&ranges[i], ip))
            return true;
    return false;
}

static bool had_ip(const struct val *old, struct str ip)
{
    VAL_EACH(val_at(old, N_spec, N_clusterIPs), o)
        if (str_eq(val_str(o), ip))
            return true;
    return false;
}

static void add_ip_object(struct request *r, const struct val *v, struct str ip)
{
    struct arena *a = r->arena;
    struct cache_kind *k = state_kind(r->server, RES_IPADDRESSES);
    struct val *o = val_new(a, VAL_OBJ);
    char uid[UUID_TEXT];
    struct val *meta = val_sub_obj(a, o, N_metadata);
    val_set_str(a, meta, N_name, ip);
    val_set_str(a, meta, N_uid, str_of(uuid_new(uid)));
    val_set_time(a, meta, N_creationTimestamp, r->now);
    val_set_int(a, meta, N_generation, 1);
    struct val *labels = val_sub_map(a, meta, N_labels);
    val_put_str(a, labels, STR("ipaddress.kubernetes.io/ip-family"), family_of(ip));
    val_put_str(a, labels, STR("ipaddress.kubernetes.io/managed-by"), STR("ipallocator.k8s.io"));
    struct val *ref = val_sub_obj(a, val_sub_obj(a, o, N_spec), N_parentRef);
    val_set_str(a, ref, N_resource, STR("services"));
    val_set_str(a, ref, N_namespace, obj_namespace(v));
    val_set_str(a, ref, N_name, obj_name(v));
    struct buf bytes = BUF_INIT;
    struct object *obj = object_new(k->res, o);
    object_store_bytes(k->res, obj->val, &bytes);
    storage_add_op(r, (struct store_op){.kind = STORE_PUT, .key = cache_key(a, k, STR(""), ip),
                          .value = arena_str(a, buf_str(&bytes)), .expect = STORE_ANY, .cookie = obj,
                          .committing = cache_committing});
    buf_done(&bytes);
}

static void remove_ip_object(struct request *r, struct str ip)
{
    struct cache_kind *k = state_kind(r->server, RES_IPADDRESSES);
    const struct object *now = cache_get(k, STR(""), ip);
    if (!now)
        return;
    storage_add_op(r, (struct store_op){.kind = STORE_DELETE, .key = cache_key(r->arena, k, STR(""), ip),
                          .expect = now->revision, .cookie = object_new(now->res, now->val),
                          .committing = cache_committing});
}

void service_forget(struct request *r, const struct val *v)
{
    VAL_EACH(val_at(v, N_spec, N_clusterIPs), ip)
        remove_ip_object(r, val_str(ip));
}

static int refuse_ip(struct request *r, const struct val *v, struct str ip, const char *why)
{
    struct val bad = val_of_str(arena_str(r->arena, ip));
    struct val list = {.kind = VAL_LIST, .n = 1, .items = &bad};
    cause_invalid(&r->status, arena_printf(r->arena, "spec.clusterIPs"), &list,
                  arena_printf(r->arena, "failed to allocate IP %.*s: %s", STR_ARG(ip), why).p);
    return status_invalid(&r->status, STR(""), STR("Service"), obj_name(v));
}

static int claim_ip(struct request *r, struct val *v, const struct val *old, size_t i,
                    struct service_claim *c)
{
    const struct service_alloc *s = r->server->services;
    struct val *spec = val_mut(v, N_spec);
    struct str family = val_str(val_item(val_get(spec, N_ipFamilies), i));
    struct str ip = val_str(val_item(val_get(spec, N_clusterIPs), i));
    struct range *ranges;
    if (ip.n && had_ip(old, ip))
        return 0;
    size_t n = ranges_of_family(r, family, &ranges);
    if (!n)
        return refuse_ip(r, v, family, "not configured on this cluster");
    if (ip.n && !in_some_range(ranges, n, ip))
        return refuse_ip(r, v, ip, "the provided network does not match the current range");
    if (ip.n && !is_free(s, ip))
        return refuse_ip(r, v, ip, "provided IP is already allocated");
    if (!ip.n && !(ip = choose_ip_of(r, ranges, n)).n)
        return status_internal(&r->status, "failed to allocate a serviceIP: range is full");
    reserve(r, c, ip);
    struct val *ips = val_sub_list(r->arena, spec, N_clusterIPs);
    if (i >= ips->n)
        val_add_str(r->arena, ips, ip);
    if (i == 0)
        val_set_str(r->arena, spec, N_clusterIP, ip);
    if (!r->opt.dry_run)
        add_ip_object(r, v, ip);
    return 0;
}

static int claim_ips(struct request *r, struct val *v, const struct val *old, struct service_claim *c)
{
    const struct val *spec = val_get(v, N_spec);
    if (!service_needs_cluster_ip(spec) || service_headless(spec))
        return 0;
    size_t n = MAX(val_len(val_get(spec, N_ipFamilies)), (size_t)1);
    for (size_t i = 0; i < n; i++) {
        int e = claim_ip(r, v, old, i, c);
        if (e)
            return e;
    }
    return 0;
}

/* ---- node ports -------------------------------------------------------------------------------------- */

static int64_t choose_port(struct request *r, struct str protocol)
{
    const struct service_alloc *s = r->server->services;
    char buf[32];
    int n = s->port_last - s->port_first + 1, low = MIN(MAX(16, n / 32), 128);
    if (n <= low)
        low = 0;
    for (int part = 0; part < 2; part++) {
        int from = part ? 0 : low, size = part ? low : n - low;
        int start = size ? (int)os_random_below((uint64_t)size) : 0;
        for (int i = 0; i < size; i++) {
            int port = s->port_first + from + (start + i) % size;
            if (is_free(s, port_key(buf, port, protocol)))
                return port;
        }
    }
    return 0;
}

static bool had_port(const struct val *old, int64_t port, struct str protocol)
{
    VAL_EACH(val_at(old, N_spec, N_ports), p)
        if (val_int(val_get(p, N_nodePort), 0) == port && str_eq(val_getstr(p, N_protocol), protocol))
            return true;
    return val_int(val_at(old, N_spec, N_healthCheckNodePort), 0) == port;
}

static int refuse_port(struct request *r, const struct val *v, struct str path, int64_t port, const char *why)
{
    struct val bad = val_of_int(port);
    cause_invalid(&r->status, path, &bad, why);
    return status_invalid(&r->status, STR(""), STR("Service"), obj_name(v));
}

/* The port that this Service has for the same number under another protocol: the two may share it. */
static int64_t sibling_port(const struct val *spec, const struct val *port)
{
    VAL_EACH(val_get(spec, N_ports), p) {
        if (p == port)
            break;
        if (val_int(val_get(p, N_port), 0) == val_int(val_get(port, N_port), 0) &&
            !str_eq(val_getstr(p, N_protocol), val_getstr(port, N_protocol)))
            return val_int(val_get(p, N_nodePort), 0);
    }
    return 0;
}

static int claim_number(struct request *r, struct val *v, const struct val *old, struct str path,
                        struct str protocol, int64_t want, int64_t *ret, struct service_claim *c)
{
    const struct service_alloc *s = r->server->services;
    char buf[32];
    if (want && had_port(old, want, protocol)) {
        *ret = want;
        return 0;
    }
    if (want && (want < s->port_first || want > s->port_last))
        return refuse_port(r, v, path, want,
                           arena_printf(r->arena,
                                        "provided port is not in the valid range. The range of "
                                        "valid ports is %d-%d",
                                        s->port_first, s->port_last)
                               .p);
    if (want && !is_free(s, port_key(buf, want, protocol)))
        return refuse_port(r, v, path, want, "provided port is already allocated");
    int64_t port = want ? want : choose_port(r, protocol);
    if (!port)
        return status_internal(&r->status, "failed to allocate a nodePort: range is full");
    reserve(r, c, port_key(buf, port, protocol));
    *ret = port;
    return 0;
}

static int claim_ports(struct request *r, struct val *v, const struct val *old, struct service_claim *c)
{
    struct val *spec = val_mut(v, N_spec), *ports = val_mut(spec, N_ports);
    char buf[32];
    bool wanted = str_is(val_getstr(spec, N_type), "NodePort") ||
                  (str_is(val_getstr(spec, N_type), "LoadBalancer") &&
                   val_bool(val_get(spec, N_allocateLoadBalancerNodePorts), true));
    for (size_t i = 0; service_needs_node_ports(spec) && i < val_len(ports); i++) {
        struct val *p = &ports->items[i];
        int64_t port = val_int(val_get(p, N_nodePort), 0);
        struct str protocol = val_getstr(p, N_protocol);
        if (!port && !wanted)
            continue;
        int64_t sibling = port ? 0 : sibling_port(spec, p);
        if (sibling && is_free(r->server->services, port_key(buf, sibling, protocol)))
            port = sibling;
        int e = claim_number(r, v, old, arena_printf(r->arena, "spec.ports[%zu].nodePort", i), protocol, port,
                             &port, c);
        if (e)
            return e;
        val_set_int(r->arena, p, N_nodePort, port);
    }
    return 0;
}

static int claim_health_port(struct request *r, struct val *v, const struct val *old, struct service_claim *c)
{
    struct val *spec = val_mut(v, N_spec);
    int64_t port = val_int(val_get(spec, N_healthCheckNodePort), 0);
    if (!service_needs_health_port(spec))
        return 0;
    int e = claim_number(r, v, old, STR("spec.healthCheckNodePort"), STR("TCP"), port, &port, c);
    if (!e)
        val_set_int(r->arena, spec, N_healthCheckNodePort, port);
    return e;
}

static void forget_dropped(struct request *r, const struct val *v, const struct val *old)
{
    VAL_EACH(val_at(old, N_spec, N_clusterIPs), ip)
        if (!had_ip(v, val_str(ip)))
            remove_ip_object(r, val_str(ip));
}

int service_claim(struct request *r, struct val *v, const struct val *old, struct service_claim *ret)
{
    *ret = (struct service_claim){.n = 0};
    struct val *spec = val_sub_obj(r->arena, v, N_spec);
    int e = service_needs_cluster_ip(spec) ? choose_families(r, v, spec, val_get(old, N_spec)) : 0;
    if (!e)
        e = claim_ips(r, v, old, ret);
    if (!e)
        e = claim_ports(r, v, old, ret);
    if (!e)
        e = claim_health_port(r, v, old, ret);
    if (!e && old && !r->opt.dry_run)
        forget_dropped(r, v, old);
    if (e)
        service_settle(r, ret, false);
    return e;
}

void service_settle(struct request *r, struct service_claim *c, bool stored)
{
    storage_drop_ops(r);
    if (!c->n)
        return;
    if (stored)
        cache_fresh(r->server->cache);
    for (size_t i = 0; i < c->n; i++)
        count(&r->server->services->pending, c->keys[i], -1);
    c->n = 0;
}
