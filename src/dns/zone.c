/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/zone.h"

#include "client/services.h"
#include "resources.h"
#include "type/meta.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

enum { MOST_LOOKED_AT = 512, MAX_ALIASES = 8, VERSION_TTL = 28800, MAX_SOA_TTL = 300 };

static const struct str service_name_label = {"kubernetes.io/service-name", 26};

/* The Services ("ns/name") whose slices name an address, each as often as they do. */
struct owners {
    char **keys;
    size_t n;
};

struct zone {
    uint32_t serial;
    struct service_index services;
    struct map by_ip;      /* cluster IP -> the Service, referenced by the index */
    struct map endpoints;  /* endpoint IP -> struct owners */
    struct map namespaces; /* name -> the namespace object, referenced */
    struct map pods;       /* "ns/ip" -> how many pods have it */
    struct map pod_by_ip;  /* IP -> the pod that has it by itself, referenced */
};

/* ---- the index ---------------------------------------------------------------------------------------- */

struct zone *zone_new(void)
{
    struct zone *z = NEW(struct zone);
    z->serial = 1;
    return z;
}

static void unref_any(void *p)
{
    object_unref(p);
}

static void owners_free(void *p)
{
    struct owners *o = p;
    for (size_t i = 0; i < o->n; i++)
        free(o->keys[i]);
    free(o->keys);
    free(o);
}

void zone_free(struct zone *z)
{
    if (!z)
        return;
    map_done(&z->by_ip);
    map_done(&z->pods);
    map_done_with(&z->pod_by_ip, unref_any);
    map_done_with(&z->endpoints, owners_free);
    service_index_done(&z->services);
    map_done_with(&z->namespaces, unref_any);
    free(z);
}

static bool is_headless(const struct val *service)
{
    return str_is(val_getstr(val_get(service, N_spec), N_clusterIP), "None");
}

static void index_cluster_ips(struct zone *z, const struct object *service, bool add)
{
    VAL_EACH(val_at(service->val, N_spec, N_clusterIPs), ip)
    {
        const struct object *there = map_get(&z->by_ip, val_str(ip));
        if (str_is(val_str(ip), "None") || !val_str(ip).n)
            continue;
        if (add)
            map_put(&z->by_ip, val_str(ip), (void *)service);
        else if (there && str_eq(there->uid, service->uid))
            map_del(&z->by_ip, val_str(ip));
    }
}

static void add_owner(struct zone *z, struct str ip, struct str key)
{
    struct owners *o = map_get(&z->endpoints, ip);
    if (!o)
        map_put(&z->endpoints, ip, o = NEW(struct owners));
    o->keys = xrealloc(o->keys, (o->n + 1) * sizeof(*o->keys));
    o->keys[o->n++] = str_dup(key);
}

static void drop_owner(struct zone *z, struct str ip, struct str key)
{
    struct owners *o = map_get(&z->endpoints, ip);
    for (size_t i = 0; o && i < o->n; i++) {
        if (!str_is(key, o->keys[i]))
            continue;
        free(o->keys[i]);
        o->keys[i] = o->keys[--o->n];
        if (!o->n)
            owners_free(map_del(&z->endpoints, ip));
        return;
    }
}

static void index_endpoints(struct zone *z, const struct object *slice, struct str service, bool add)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str key = obj_key(&a, slice->namespace_, service);
    VAL_EACH(val_get(slice->val, N_endpoints), ep)
        VAL_EACH(val_get(ep, N_addresses), ip)
            if (val_str(ip).n && add)
                add_owner(z, val_str(ip), key);
            else if (val_str(ip).n)
                drop_owner(z, val_str(ip), key);
}

/* Pods that have ended, and those that have their node's address, are no owners of one. */
static bool has_own_address(const struct object *pod)
{
    struct str phase = val_getstr(val_get(pod->val, N_status), N_phase);
    return !str_is(phase, "Succeeded") && !str_is(phase, "Failed") && !val_bool(val_at(pod->val, N_spec, N_hostNetwork), false);
}

static void index_owner(struct zone *z, const struct object *pod, struct str ip, bool add)
{
    const struct object *there = map_get(&z->pod_by_ip, ip);
    if (add && ip.n && has_own_address(pod))
        object_unref(map_put(&z->pod_by_ip, ip, object_ref(pod)));
    else if (!add && there && str_eq(there->uid, pod->uid))
        object_unref(map_del(&z->pod_by_ip, ip));
}

struct str zone_namespace_of(const struct zone *z, struct str ip)
{
    const struct object *pod = map_get(&z->pod_by_ip, ip);
    return pod ? pod->namespace_ : STR_NULL;
}

static void index_pod(struct zone *z, const struct object *pod, int by)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    VAL_EACH(val_at(pod->val, N_status, N_podIPs), ip)
    {
        struct str key = obj_key(&a, pod->namespace_, val_getstr(ip, N_ip));
        index_owner(z, pod, val_getstr(ip, N_ip), by > 0);
        intptr_t n = (intptr_t)map_get(&z->pods, key) + by;
        if (n > 0)
            map_put(&z->pods, key, (void *)n);
        else
            map_del(&z->pods, key);
    }
}

static void namespace_changed(struct zone *z, const struct object *old, const struct object *new_)
{
    const struct object *any = new_ ? new_ : old;
    object_unref(new_ ? map_put(&z->namespaces, any->name, object_ref(new_)) : map_del(&z->namespaces, any->name));
}

void zone_changed(void *zone, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct zone *z = zone;
    bool service = res->index == RES_SERVICES, slice = res->index == RES_ENDPOINTSLICES, pod = res->index == RES_PODS;
    z->serial++;
    if (res->index == RES_NAMESPACES)
        namespace_changed(z, old, new_);
    if (pod && old)
        index_pod(z, old, -1);
    if (pod && new_)
        index_pod(z, new_, 1);
    if (service && old)
        index_cluster_ips(z, old, false);
    if (slice && old)
        index_endpoints(z, old, obj_label(old->val, service_name_label), false);
    service_index_changed(&z->services, res, old, new_, NULL, NULL);
    if (service && new_)
        index_cluster_ips(z, new_, true);
    if (slice && new_)
        index_endpoints(z, new_, obj_label(new_->val, service_name_label), true);
}

/* ---- answering ---------------------------------------------------------------------------------------- */

/* One query on its way. labels are those before the zone, from the left. */
struct ask {
    const struct zone *z;
    const struct zone_options *o;
    const struct dns_query *q;
    struct dns_reply *reply;
    uint64_t shuffle;
    const char *zone;  /* the one the name is in */
    const char *name;  /* what is looked for: the question's name, or what an alias stands for */
    const char *owner; /* of the records; NULL: the question's name, as it was written */
    unsigned aliases;  /* followed so far */
    struct str labels[8];
    size_t n;
};

/* What is looked for within a Service. Empty texts: any. */
struct wanted {
    struct str ns, service, endpoint, port, protocol;
    unsigned weight; /* of each SRV record */
};

static bool wants(const struct ask *k, enum dns_type t)
{
    return k->q->type == t || k->q->type == DNS_ANY;
}

static bool same_text(struct str a, struct str b)
{
    return a.n == b.n && !strncasecmp(a.p, b.p, a.n);
}

static bool text_in(const struct str *list, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], s))
            return true;
    return false;
}

static bool namespace_shown(const struct ask *k, struct str ns)
{
    const struct object *o = map_get(&k->z->namespaces, ns);
    if (!o || (k->o->n_namespaces && !text_in(k->o->namespaces, k->o->n_namespaces, ns)))
        return false;
    return !k->o->namespace_labels || selector_matches(k->o->namespace_labels, obj_labels(o->val));
}

static const struct service_entry *service_shown(const struct ask *k, struct str ns, struct str name)
{
    const struct service_entry *e = service_index_get(&k->z->services, ns, name);
    if (!e || !e->service)
        return NULL;
    return !k->o->labels || selector_matches(k->o->labels, obj_labels(e->service->val)) ? e : NULL;
}

static bool address_bytes(struct str ip, uint8_t ret[static 16], bool *ret_v6)
{
    char text[64];
    if (ip.n >= sizeof(text))
        return false;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = '\0';
    *ret_v6 = str_find(ip, ':') >= 0;
    return inet_pton(*ret_v6 ? AF_INET6 : AF_INET, text, ret) == 1;
}

/* An address record when its family is the one asked for. */
static void put_address(const struct ask *k, enum dns_section s, const char *name, struct str ip, bool any_family)
{
    uint8_t bytes[16];
    bool v6;
    if (!address_bytes(ip, bytes, &v6))
        return;
    name = name ? name : k->owner;
    if (!v6 && (any_family || wants(k, DNS_A)))
        dns_put_a(k->reply, s, name, k->o->ttl, bytes);
    else if (v6 && (any_family || wants(k, DNS_AAAA)))
        dns_put_aaaa(k->reply, s, name, k->o->ttl, bytes);
}

/* The first label of an endpoint's own name: its hostname, its pod's name when that is wanted, or its address with
 * dashes; one that would end with a dash gets a zero, as no label may. */
static struct str endpoint_label(const struct ask *k, const struct val *ep, struct str ip, char buf[static 64])
{
    struct str hostname = val_getstr(ep, N_hostname), pod = val_at(ep, N_targetRef, N_name) ? val_str(val_at(ep, N_targetRef, N_name)) : STR_NULL;
    if (hostname.n)
        return hostname;
    if (k->o->endpoint_pod_names && pod.n)
        return pod;
    size_t n = MIN(ip.n, (size_t)62);
    for (size_t i = 0; i < n; i++)
        buf[i] = ip.p[i] == '.' || ip.p[i] == ':' ? '-' : ip.p[i];
    if (n && buf[n - 1] == '-')
        buf[n++] = '0';
    return str_n(buf, n);
}

/* <hostname>.<service>.<ns>.svc.<zone> */
static void endpoint_name(const struct ask *k, const struct wanted *w, const struct val *ep, struct str ip, const char *zone,
                          char ret[static DNS_NAME_MAX])
{
    char label[64];
    struct str first = endpoint_label(k, ep, ip, label);
    snprintf(ret, DNS_NAME_MAX, STR_FMT "." STR_FMT "." STR_FMT ".svc.%s", STR_ARG(first), STR_ARG(w->service),
             STR_ARG(w->ns), zone);
}

/* A port without a name matches only when none is asked for. */
static bool port_matches(const struct val *port, const struct wanted *w)
{
    struct str protocol = val_getstr(port, N_protocol);
    return (!w->port.n || same_text(w->port, val_getstr(port, N_name))) &&
           (!w->protocol.n || same_text(w->protocol, protocol.n ? protocol : STR("TCP")));
}

static size_t ports_that_match(const struct val *ports, const struct wanted *w)
{
    size_t n = 0;
    VAL_EACH(ports, port)
        n += port_matches(port, w);
    return n ? n : !val_len(ports) && !w->port.n && !w->protocol.n; /* no ports at all: one that is never shown */
}

typedef void endpoint_visit(const struct ask *k, const struct val *slice, const struct val *ep, struct str ip,
                            const struct wanted *w);

/* Calls fn (may be NULL) with each ready address that is wanted; returns how many pairs of address and port there are. */
static size_t each_endpoint(const struct ask *k, const struct service_entry *e, const struct wanted *w, endpoint_visit *fn)
{
    size_t found = 0;
    for (size_t s = 0; !k->o->no_endpoints && s < e->n_slices; s++) {
        const struct val *slice = e->slices[(s + k->shuffle) % e->n_slices]->val, *list = val_get(slice, N_endpoints);
        size_t n = val_len(list), ports = ports_that_match(val_get(slice, N_ports), w);
        for (size_t i = 0; ports && i < n && !(fn && k->reply->truncated); i++) { /* full: the rest has no room */
            const struct val *ep = val_item(list, (i + k->shuffle) % n);
            char label[64];
            if (!val_bool(val_at(ep, N_conditions, N_ready), true))
                continue;
            VAL_EACH(val_get(ep, N_addresses), ip)
            {
                if (w->endpoint.n && !same_text(w->endpoint, endpoint_label(k, ep, val_str(ip), label)))
                    continue;
                found += ports;
                if (fn)
                    fn(k, slice, ep, val_str(ip), w);
            }
        }
    }
    return found;
}

/* Whether the very same address record stands in the answer: an address may be in several slices. All records before it
 * are of the question's name and so of one size. Only so many are looked at that a large Service does not take quadratic time. */
static bool has_record(const struct ask *k, size_t start, size_t size)
{
    const struct buf *out = &k->reply->out;
    if ((out->n - start) / size > MOST_LOOKED_AT)
        start = out->n - size * MOST_LOOKED_AT;
    for (size_t at = start; at + size < out->n; at += size)
        if (!memcmp(out->p + at, out->p + out->n - size, size))
            return true;
    return false;
}

static void visit_address(const struct ask *k, const struct val *slice UNUSED, const struct val *ep UNUSED, struct str ip,
                          const struct wanted *w UNUSED)
{
    unsigned before = k->reply->counts[DNS_ANSWER];
    size_t start = DNS_HEADER + k->q->question.n, was = k->reply->out.n;
    put_address(k, DNS_ANSWER, NULL, ip, false);
    if (k->owner || k->q->type == DNS_ANY || k->reply->counts[DNS_ANSWER] == before)
        return;
    if (has_record(k, start, k->reply->out.n - was)) {
        k->reply->out.n = was;
        k->reply->counts[DNS_ANSWER]--;
    }
}

static void visit_srv(const struct ask *k, const struct val *slice, const struct val *ep, struct str ip, const struct wanted *w)
{
    char target[DNS_NAME_MAX];
    endpoint_name(k, w, ep, ip, k->zone, target);
    VAL_EACH(val_get(slice, N_ports), port)
        if (port_matches(port, w))
            dns_put_srv(k->reply, DNS_ANSWER, k->owner, k->o->ttl, (uint16_t)w->weight,
                        (uint16_t)val_int(val_get(port, N_port), 0), target);
}

static void visit_srv_address(const struct ask *k, const struct val *slice, const struct val *ep, struct str ip,
                              const struct wanted *w)
{
    char target[DNS_NAME_MAX];
    if (!val_len(val_get(slice, N_ports))) /* it has no SRV record that this would belong to */
        return;
    endpoint_name(k, w, ep, ip, k->zone, target);
    put_address(k, DNS_ADDITIONAL, target, ip, true);
}

/* ---- Services ------------------------------------------------------------------------------------------- */

static unsigned weight_of(size_t records)
{
    return records ? (unsigned)MAX(100 / records, (size_t)1) : 100;
}

static bool answer_endpoints(const struct ask *k, const struct service_entry *e, struct wanted *w)
{
    size_t n = each_endpoint(k, e, w, NULL);
    if (!n)
        return false;
    w->weight = weight_of(n);
    if (wants(k, DNS_A) || wants(k, DNS_AAAA))
        each_endpoint(k, e, w, visit_address);
    if (wants(k, DNS_SRV)) {
        each_endpoint(k, e, w, visit_srv);
        each_endpoint(k, e, w, visit_srv_address);
    }
    return true;
}

static void put_service_srv(const struct ask *k, const struct val *spec, const struct wanted *w)
{
    char target[DNS_NAME_MAX];
    snprintf(target, sizeof(target), STR_FMT "." STR_FMT ".svc.%s", STR_ARG(w->service), STR_ARG(w->ns), k->zone);
    VAL_EACH(val_get(spec, N_ports), port)
        if (port_matches(port, w))
            dns_put_srv(k->reply, DNS_ANSWER, k->owner, k->o->ttl, (uint16_t)w->weight,
                        (uint16_t)val_int(val_get(port, N_port), 0), target);
    VAL_EACH(val_get(spec, N_clusterIPs), ip)
        put_address(k, DNS_ADDITIONAL, target, val_str(ip), true);
}

static bool answer_cluster_ips(const struct ask *k, const struct service_entry *e, struct wanted *w)
{
    const struct val *spec = val_get(e->service->val, N_spec), *ips = val_get(spec, N_clusterIPs);
    size_t ports = ports_that_match(val_get(spec, N_ports), w);
    if (!ports || (k->o->ignore_empty && !each_endpoint(k, e, &(struct wanted){.ns = w->ns}, NULL)))
        return false;
    w->weight = weight_of(ports * val_len(ips));
    for (size_t i = 0; i < val_len(ips); i++)
        put_address(k, DNS_ANSWER, NULL, val_str(val_item(ips, i)), false);
    if (wants(k, DNS_SRV))
        put_service_srv(k, spec, w);
    return true;
}

static int answer_in_zone(const struct ask *k, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX]);
static bool split_labels(struct ask *k);

/* The CNAME of an ExternalName, and what follows it when its target is a name of this zone, too. */
static int answer_alias(const struct ask *k, struct str target, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    char name[DNS_NAME_MAX];
    uint8_t bytes[16];
    bool v6;
    if (str_ends(target, STR(".")))
        target.n--;
    if (!target.n || address_bytes(target, bytes, &v6))
        return *ret_code = DNS_NXDOMAIN, ZONE_ANSWERED;
    snprintf(name, sizeof(name), STR_FMT, STR_ARG(target));
    dns_put_name(k->reply, DNS_ANSWER, k->owner, DNS_CNAME, k->o->ttl, name);
    if (!wants(k, DNS_A) && !wants(k, DNS_AAAA))
        return ZONE_ANSWERED;
    struct ask next = *k;
    next.name = next.owner = name;
    next.aliases++;
    next.n = 0;
    if (split_labels(&next))
        return next.aliases < MAX_ALIASES ? answer_in_zone(&next, ret_code, ret_alias) : ZONE_ANSWERED;
    snprintf(ret_alias, DNS_NAME_MAX, "%s", name);
    return ZONE_ALIAS;
}

static struct str without_underscore(struct str s)
{
    return str_starts(s, STR("_")) ? str_from(s, 1) : s;
}

/* <service>.<ns>.svc and the names before it; k->labels ends with "svc". */
static int answer_service(const struct ask *k, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    struct wanted w = {.ns = k->labels[k->n - 2], .service = k->labels[k->n - 3]};
    const struct service_entry *e = namespace_shown(k, w.ns) ? service_shown(k, w.ns, w.service) : NULL;
    if (!e || k->n > 5)
        return *ret_code = DNS_NXDOMAIN, ZONE_ANSWERED;
    const struct val *spec = val_get(e->service->val, N_spec);
    if (str_is(val_getstr(spec, N_type), "ExternalName")) {
        if (k->n == 3)
            return answer_alias(k, val_getstr(spec, N_externalName), ret_code, ret_alias);
        return *ret_code = DNS_NXDOMAIN, ZONE_ANSWERED;
    }
    if (k->n == 4)
        w.endpoint = k->labels[0];
    if (k->n == 5) {
        w.port = without_underscore(k->labels[0]);
        w.protocol = without_underscore(k->labels[1]);
    }
    bool there = is_headless(e->service->val) || w.endpoint.n ? answer_endpoints(k, e, &w) : answer_cluster_ips(k, e, &w);
    *ret_code = there ? DNS_NOERROR : DNS_NXDOMAIN;
    return ZONE_ANSWERED;
}

/* ---- pods, and the zone's own names ------------------------------------------------------------------------ */

/* <a-b-c-d>.<ns>.pod: the address itself, for any namespace that exists, or only for addresses that pods have. */
static bool answer_pod(const struct ask *k)
{
    char ip[64];
    uint8_t bytes[16];
    bool v6;
    struct str label = k->labels[0];
    size_t dashes = 0;
    if (k->o->pods == ZONE_PODS_DISABLED || k->n != 3 || label.n >= sizeof(ip) || !namespace_shown(k, k->labels[1]))
        return false;
    for (size_t i = 0; i < label.n; i++)
        dashes += label.p[i] == '-';
    char to = dashes == 3 && !str_contains(label, STR("--")) ? '.' : ':';
    for (size_t i = 0; i < label.n; i++)
        ip[i] = label.p[i] == '-' ? to : label.p[i];
    struct str text = str_n(ip, label.n);
    if (!address_bytes(text, bytes, &v6))
        return false;
    if (k->o->pods == ZONE_PODS_VERIFIED) {
        char key[DNS_NAME_MAX + 64];
        int n = snprintf(key, sizeof(key), STR_FMT "/" STR_FMT, STR_ARG(k->labels[1]), STR_ARG(text));
        if (!map_has(&k->z->pods, str_n(key, (size_t)n)))
            return false;
    }
    put_address(k, DNS_ANSWER, NULL, text, false);
    return true;
}

/* Who answers for the zone: the Service whose address ours is, else ourselves under a name made for it. */
static void name_server(const struct ask *k, struct str address, char ret[static DNS_NAME_MAX])
{
    const struct object *s = map_get(&k->z->by_ip, address);
    if (s)
        snprintf(ret, DNS_NAME_MAX, STR_FMT "." STR_FMT ".svc.%s", STR_ARG(s->name), STR_ARG(s->namespace_), k->zone);
    else
        snprintf(ret, DNS_NAME_MAX, "ns.dns.%s", k->zone);
}

static void answer_ns(const struct ask *k)
{
    char name[DNS_NAME_MAX], before[DNS_NAME_MAX] = "";
    for (size_t i = 0; i < k->o->n_addresses; i++) {
        name_server(k, k->o->addresses[i], name);
        if (strcmp(name, before) != 0)
            dns_put_name(k->reply, DNS_ANSWER, k->owner, DNS_NS, k->o->ttl, name);
        memcpy(before, name, sizeof(before));
    }
    for (size_t i = 0; i < k->o->n_addresses; i++) {
        name_server(k, k->o->addresses[i], name);
        put_address(k, DNS_ADDITIONAL, name, k->o->addresses[i], true);
    }
}

static void put_soa(const struct ask *k, enum dns_section s)
{
    dns_put_soa(k->reply, s, k->zone, MIN(k->o->ttl, (uint32_t)MAX_SOA_TTL), k->o->ttl, k->z->serial);
}

static void answer_apex(const struct ask *k)
{
    if (wants(k, DNS_SOA))
        put_soa(k, DNS_ANSWER);
    if (wants(k, DNS_NS))
        answer_ns(k);
}

static bool is_branch(struct str label)
{
    return str_is(label, "svc") || str_is(label, "pod");
}

static int answer_in_zone(const struct ask *k, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    struct str last = k->n ? k->labels[k->n - 1] : STR_NULL;
    if (k->n == 0) {
        answer_apex(k);
    } else if (k->n == 1 && str_is(last, "dns-version")) {
        if (wants(k, DNS_TXT))
            dns_put_txt(k->reply, DNS_ANSWER, NULL, VERSION_TTL, STR("1.1.0"));
    } else if (k->n == 2 && str_is(k->labels[0], "ns") && str_is(last, "dns")) {
        for (size_t i = 0; i < k->o->n_addresses; i++)
            put_address(k, DNS_ANSWER, NULL, k->o->addresses[i], false);
    } else if (str_is(last, "svc") && k->n >= 3) {
        return answer_service(k, ret_code, ret_alias);
    } else if (str_is(last, "pod") && k->n >= 3) {
        *ret_code = answer_pod(k) ? DNS_NOERROR : DNS_NXDOMAIN;
    } else if (is_branch(last) && k->n == 2) {
        *ret_code = namespace_shown(k, k->labels[0]) ? DNS_NOERROR : DNS_NXDOMAIN;
    } else if (!(k->n == 1 && (is_branch(last) || str_is(last, "dns")))) {
        *ret_code = DNS_NXDOMAIN;
    }
    return ZONE_ANSWERED;
}

bool dns_within(struct str name, struct str zone)
{
    return !zone.n || (str_ends(name, zone) && (name.n == zone.n || name.p[name.n - zone.n - 1] == '.'));
}

const char *dns_zone_of(const char *const *zones, size_t n, struct str name)
{
    const char *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (dns_within(name, str_of(zones[i])) && (!best || strlen(zones[i]) > strlen(best)))
            best = zones[i];
    return best;
}

bool dns_is_reverse(const char *zone)
{
    return dns_within(str_of(zone), STR("in-addr.arpa")) || dns_within(str_of(zone), STR("ip6.arpa"));
}

/* The labels before the zone, up to 8; false when the name is in none of ours. */
static bool split_labels(struct ask *k)
{
    char lower[DNS_NAME_MAX];
    struct str name = str_of(k->name), label;
    memcpy(lower, k->name, name.n + 1); /* an alias may be written as it likes */
    k->zone = dns_zone_of(k->o->zones, k->o->n_zones, str_of(dns_lower(lower)));
    if (!k->zone)
        return false;
    size_t zone = strlen(k->zone);
    if (name.n <= zone)
        return true;
    name.n -= zone + (zone ? 1 : 0);
    while (k->n < ARRAY_SIZE(k->labels) && str_next(&name, '.', &label))
        k->labels[k->n++] = label;
    if (name.p) /* longer than any name of ours: it has no answer */
        k->n = 1, k->labels[0] = STR("?");
    return true;
}

/* ---- addresses to names --------------------------------------------------------------------------------- */

/* "4.3.2.1.in-addr.arpa" -> "1.2.3.4"; ip6.arpa likewise, as the API writes addresses. */
static bool reverse_address(const char *name, char ret[static 64])
{
    struct str s = str_of(name);
    uint8_t b[16] = {0};
    unsigned v[4];
    char end;
    if (str_ends(s, STR(".in-addr.arpa"))) {
        if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arp%c", &v[3], &v[2], &v[1], &v[0], &end) != 5)
            return false;
        return snprintf(ret, 64, "%u.%u.%u.%u", v[0], v[1], v[2], v[3]) > 0;
    }
    if (s.n != 72 || !str_ends(s, STR(".ip6.arpa")))
        return false;
    for (size_t i = 0; i < 32; i++) {
        char c = name[62 - 2 * i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0)
            return false;
        b[i / 2] = (uint8_t)(b[i / 2] << 4 | d);
    }
    return inet_ntop(AF_INET6, b, ret, 64) != NULL;
}

static bool was_put(const struct dns_reply *r, size_t start, const char *target)
{
    struct buf name CLEANUP_BUF = BUF_INIT;
    dns_write_name(&name, target);
    return r->out.n > start && memmem(r->out.p + start, r->out.n - start, name.p, name.n);
}

static void put_owner_names(const struct ask *k, const char *owner, struct str ip)
{
    struct wanted w = {0};
    char target[DNS_NAME_MAX];
    size_t start = DNS_HEADER + k->q->question.n;
    str_cut(str_of(owner), '/', &w.ns, &w.service);
    const struct service_entry *e = k->o->n_namespaces && !namespace_shown(k, w.ns)
                                        ? NULL
                                        : service_index_get(&k->z->services, w.ns, w.service);
    for (size_t s = 0; e && s < e->n_slices; s++)
        VAL_EACH(val_get(e->slices[s]->val, N_endpoints), ep)
            VAL_EACH(val_get(ep, N_addresses), address)
            {
                if (!str_eq(val_str(address), ip) || !val_bool(val_at(ep, N_conditions, N_ready), true))
                    continue;
                endpoint_name(k, &w, ep, ip, k->o->primary, target);
                if (!was_put(k->reply, start, target))
                    dns_put_name(k->reply, DNS_ANSWER, NULL, DNS_PTR, k->o->ttl, target);
            }
}

/* False: nobody here has that address. */
static bool answer_reverse(const struct ask *k, const char *ip)
{
    const struct object *service = map_get(&k->z->by_ip, str_of(ip));
    const struct owners *o = k->o->no_endpoints ? NULL : map_get(&k->z->endpoints, str_of(ip));
    char target[DNS_NAME_MAX];
    if (service && (!k->o->n_namespaces || namespace_shown(k, service->namespace_))) {
        snprintf(target, sizeof(target), STR_FMT "." STR_FMT ".svc.%s", STR_ARG(service->name),
                 STR_ARG(service->namespace_), k->o->primary);
        if (wants(k, DNS_PTR))
            dns_put_name(k->reply, DNS_ANSWER, NULL, DNS_PTR, k->o->ttl, target);
        return true;
    }
    if (!o)
        return false;
    if (!wants(k, DNS_PTR))
        return true;
    for (size_t i = 0; i < o->n && !k->reply->truncated; i++)
        put_owner_names(k, o->keys[i], str_of(ip));
    return k->reply->counts[DNS_ANSWER] > 0 || k->reply->truncated;
}

static int answer_in_reverse_zone(const struct ask *k, enum dns_code *ret_code)
{
    char ip[64];
    if (k->n == 0)
        answer_apex(k);
    else if (!reverse_address(k->name, ip) || !answer_reverse(k, ip))
        *ret_code = DNS_NXDOMAIN;
    return ZONE_ANSWERED;
}

int zone_answer(const struct zone *z, const struct zone_options *o, const struct dns_query *q, uint64_t shuffle,
                struct dns_reply *reply, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    struct ask k = {.z = z, .o = o, .q = q, .reply = reply, .shuffle = shuffle, .name = q->name};
    enum dns_code code = DNS_NOERROR;
    if (!split_labels(&k))
        return ZONE_NOT_OURS;
    if (q->type == DNS_AXFR || q->type == DNS_IXFR)
        return *ret_code = DNS_REFUSED, ZONE_ANSWERED;
    int r = dns_is_reverse(k.zone) ? answer_in_reverse_zone(&k, &code) : answer_in_zone(&k, &code, ret_alias);
    if (r == ZONE_ANSWERED && code == DNS_NXDOMAIN && !reply->counts[DNS_ANSWER] &&
        dns_zone_of(o->fall, o->n_fall, str_of(q->name)))
        return ZONE_NOT_OURS;
    if (r == ZONE_ANSWERED && !reply->counts[DNS_ANSWER] && !reply->truncated)
        put_soa(&k, DNS_AUTHORITY);
    *ret_code = code;
    return r;
}
