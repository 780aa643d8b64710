/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/zone.h"

#include "client/services.h"
#include "resources.h"
#include "type/meta.h"

#include <arpa/inet.h>
#include <stdio.h>

static const struct str service_name_label = {"kubernetes.io/service-name", 26};

struct zone {
    char domain[DNS_NAME_MAX];
    uint32_t ttl, serial;
    struct service_index services;
    struct map by_ip;      /* cluster IP -> the Service, referenced by the index */
    struct map endpoints;  /* endpoint IP -> xstrdup'd "ns/name" of a headless Service that names it */
    struct map namespaces; /* name -> the namespace object, referenced */
};

/* ---- the index ---------------------------------------------------------------------------------------- */

struct zone *zone_new(const char *domain, uint32_t ttl)
{
    struct zone *z = NEW(struct zone);
    snprintf(z->domain, sizeof(z->domain), "%s", domain);
    z->ttl = ttl;
    z->serial = 1;
    return z;
}

static void unref_any(void *p)
{
    object_unref(p);
}

void zone_free(struct zone *z)
{
    if (!z)
        return;
    map_done(&z->by_ip);
    map_done_with(&z->endpoints, free);
    service_index_done(&z->services);
    map_done_with(&z->namespaces, unref_any);
    free(z);
}

static bool is_headless(const struct val *service)
{
    return str_is(val_getstr(val_get(service, N_spec), N_clusterIP), "None");
}

static bool same_object(const struct object *a, const struct object *b)
{
    return a && str_eq(a->uid, b->uid);
}

static void index_cluster_ips(struct zone *z, const struct object *service, bool add)
{
    VAL_EACH(val_at(service->val, N_spec, N_clusterIPs), ip)
    {
        struct str text = val_str(ip);
        if (str_is(text, "None") || !text.n)
            continue;
        if (add)
            map_put(&z->by_ip, text, (void *)service);
        else if (same_object(map_get(&z->by_ip, text), service))
            map_del(&z->by_ip, text);
    }
}

static void index_endpoints(struct zone *z, const struct object *slice, struct str service, bool add)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str key = obj_key(&a, slice->namespace_, service);
    VAL_EACH(val_get(slice->val, N_endpoints), ep)
    {
        struct str ip = val_str(val_item(val_get(ep, N_addresses), 0));
        const char *owner = map_get(&z->endpoints, ip);
        if (!ip.n)
            continue;
        if (add)
            free(map_put(&z->endpoints, ip, str_dup(key)));
        else if (owner && str_is(key, owner))
            free(map_del(&z->endpoints, ip));
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
    z->serial++;
    bool service = res->index == RES_SERVICES, slice = res->index == RES_ENDPOINTSLICES;
    if (res->index == RES_NAMESPACES)
        namespace_changed(z, old, new_);
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
    const struct dns_query *q;
    struct dns_reply *reply;
    uint64_t shuffle;
    const char *name;  /* what is looked for: the question's name, or what an alias stands for */
    const char *owner; /* of the records; NULL: the question's name, as it was written */
    unsigned aliases;  /* followed so far */
    struct str labels[8];
    size_t n;
};

static bool wants(const struct ask *k, enum dns_type t)
{
    return k->q->type == t || k->q->type == DNS_ANY;
}

/* An address record when its family is the one asked for. */
static void put_address(const struct ask *k, enum dns_section s, const char *name, struct str ip, bool any_family)
{
    char text[64];
    uint8_t bytes[16];
    name = name ? name : k->owner;
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(ip));
    if ((any_family || wants(k, DNS_A)) && inet_pton(AF_INET, text, bytes) == 1)
        dns_put_a(k->reply, s, name, k->z->ttl, bytes);
    else if ((any_family || wants(k, DNS_AAAA)) && inet_pton(AF_INET6, text, bytes) == 1)
        dns_put_aaaa(k->reply, s, name, k->z->ttl, bytes);
}

/* The first label of an endpoint's own name: its hostname, or its address with dashes (as CoreDNS does). */
static struct str endpoint_label(const struct val *ep, struct str ip, char buf[static 64])
{
    struct str hostname = val_getstr(ep, N_hostname);
    if (hostname.n)
        return hostname;
    size_t n = MIN(ip.n, (size_t)63);
    for (size_t i = 0; i < n; i++)
        buf[i] = ip.p[i] == '.' || ip.p[i] == ':' ? '-' : ip.p[i];
    return str_n(buf, n);
}

/* <hostname>.<service>.<ns>.svc.<domain> */
static void endpoint_name(const struct ask *k, struct str ns, struct str service, const struct val *ep, struct str ip,
                          char ret[static DNS_NAME_MAX])
{
    char label[64];
    struct str first = endpoint_label(ep, ip, label);
    snprintf(ret, DNS_NAME_MAX, STR_FMT "." STR_FMT "." STR_FMT ".svc.%s", STR_ARG(first), STR_ARG(service), STR_ARG(ns),
             k->z->domain);
}

static bool endpoint_ready(const struct val *ep)
{
    return val_bool(val_at(ep, N_conditions, N_ready), true);
}

typedef void endpoint_visit(const struct ask *k, const struct val *slice, const struct val *ep, struct str ip, void *arg);

static size_t each_endpoint(const struct ask *k, const struct service_entry *e, struct str only_label, endpoint_visit *fn,
                            void *arg)
{
    size_t found = 0;
    for (size_t s = 0; s < e->n_slices; s++) {
        const struct val *slice = e->slices[(s + k->shuffle) % e->n_slices]->val, *list = val_get(slice, N_endpoints);
        size_t n = val_len(list);
        for (size_t i = 0; i < n; i++) {
            const struct val *ep = val_item(list, (i + k->shuffle) % n);
            struct str ip = val_str(val_item(val_get(ep, N_addresses), 0));
            char label[64];
            if (!endpoint_ready(ep) || !ip.n)
                continue;
            if (only_label.p && !str_eq(endpoint_label(ep, ip, label), only_label))
                continue;
            fn(k, slice, ep, ip, arg);
            found++;
        }
    }
    return found;
}

static void visit_address(const struct ask *k, const struct val *slice UNUSED, const struct val *ep UNUSED, struct str ip,
                          void *arg UNUSED)
{
    put_address(k, DNS_ANSWER, NULL, ip, false);
}

struct srv_ask {
    struct str port, protocol; /* .p NULL: every port */
    struct str ns, service;
};

static bool port_matches(const struct val *port, const struct srv_ask *w)
{
    struct str protocol = val_getstr(port, N_protocol);
    char lower[8] = {0};
    if (!w->port.p)
        return val_getstr(port, N_name).n > 0;
    for (size_t i = 0; i < protocol.n && i < sizeof(lower) - 1; i++)
        lower[i] = (char)(protocol.p[i] | 0x20);
    return str_eq(val_getstr(port, N_name), w->port) && str_is(w->protocol, lower[0] ? lower : "tcp");
}

static void visit_srv(const struct ask *k, const struct val *slice, const struct val *ep, struct str ip, void *arg)
{
    const struct srv_ask *w = arg;
    char target[DNS_NAME_MAX];
    endpoint_name(k, w->ns, w->service, ep, ip, target);
    VAL_EACH(val_get(slice, N_ports), port)
    {
        if (port_matches(port, w))
            dns_put_srv(k->reply, DNS_ANSWER, NULL, k->z->ttl, 100, (uint16_t)val_int(val_get(port, N_port), 0), target);
    }
}

static void visit_srv_address(const struct ask *k, const struct val *slice UNUSED, const struct val *ep, struct str ip,
                              void *arg)
{
    const struct srv_ask *w = arg;
    char target[DNS_NAME_MAX];
    endpoint_name(k, w->ns, w->service, ep, ip, target);
    put_address(k, DNS_ADDITIONAL, target, ip, true);
}

static void put_service_srv(const struct ask *k, const struct val *service, const struct srv_ask *w)
{
    char target[DNS_NAME_MAX];
    snprintf(target, sizeof(target), STR_FMT "." STR_FMT ".svc.%s", STR_ARG(w->service), STR_ARG(w->ns), k->z->domain);
    VAL_EACH(val_at(service, N_spec, N_ports), port)
    {
        if (port_matches(port, w))
            dns_put_srv(k->reply, DNS_ANSWER, NULL, k->z->ttl, 100, (uint16_t)val_int(val_get(port, N_port), 0), target);
    }
    if (k->reply->counts[DNS_ANSWER])
        VAL_EACH(val_at(service, N_spec, N_clusterIPs), ip)
            put_address(k, DNS_ADDITIONAL, target, val_str(ip), true);
}

static void put_srv(const struct ask *k, const struct service_entry *e, struct srv_ask *w)
{
    if (!is_headless(e->service->val)) {
        put_service_srv(k, e->service->val, w);
        return;
    }
    each_endpoint(k, e, STR_NULL, visit_srv, w);
    if (k->reply->counts[DNS_ANSWER])
        each_endpoint(k, e, STR_NULL, visit_srv_address, w);
}

static int answer_in_zone(const struct ask *k, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX]);
static bool split_labels(struct ask *k);

/* The CNAME of an ExternalName, and what follows it when its target is a name of this zone, too. */
static int answer_alias(const struct ask *k, struct str target, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    enum { MAX_ALIASES = 8 };
    char name[DNS_NAME_MAX];
    if (str_ends(target, STR(".")))
        target.n--;
    snprintf(name, sizeof(name), STR_FMT, STR_ARG(target));
    dns_put_name(k->reply, DNS_ANSWER, k->owner, DNS_CNAME, k->z->ttl, name);
    if (!wants(k, DNS_A) && !wants(k, DNS_AAAA))
        return ZONE_ANSWERED;
    struct ask next = {.z = k->z, .q = k->q, .reply = k->reply, .shuffle = k->shuffle, .name = name, .owner = name,
                       .aliases = k->aliases + 1};
    if (split_labels(&next))
        return next.aliases < MAX_ALIASES ? answer_in_zone(&next, ret_code, ret_alias) : ZONE_ANSWERED;
    snprintf(ret_alias, DNS_NAME_MAX, "%s", name);
    return ZONE_ALIAS;
}

/* <service>.<ns>.svc and the names before it; k->labels ends with "svc". */
static int answer_service(const struct ask *k, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    struct str ns = k->labels[k->n - 2], name = k->labels[k->n - 3];
    const struct service_entry *e = service_index_get(&k->z->services, ns, name);
    struct srv_ask w = {.ns = ns, .service = name};
    if (!e || !e->service)
        return *ret_code = DNS_NXDOMAIN, ZONE_ANSWERED;
    const struct val *spec = val_get(e->service->val, N_spec);
    if (str_is(val_getstr(spec, N_type), "ExternalName")) {
        if (k->n != 3)
            return *ret_code = DNS_NXDOMAIN, ZONE_ANSWERED;
        return answer_alias(k, val_getstr(spec, N_externalName), ret_code, ret_alias);
    }
    bool headless = is_headless(e->service->val);
    if (k->n == 3) {
        if (headless)
            each_endpoint(k, e, STR_NULL, visit_address, NULL);
        else
            VAL_EACH(val_get(spec, N_clusterIPs), ip)
                put_address(k, DNS_ANSWER, NULL, val_str(ip), false);
        if (wants(k, DNS_SRV))
            put_srv(k, e, &w);
        return ZONE_ANSWERED;
    }
    if (k->n == 4 && headless) { /* <hostname>.<service>.<ns>.svc */
        if (!each_endpoint(k, e, k->labels[0], visit_address, NULL))
            *ret_code = DNS_NXDOMAIN;
        return ZONE_ANSWERED;
    }
    if (k->n == 5 && str_starts(k->labels[0], STR("_")) && str_starts(k->labels[1], STR("_"))) {
        w.port = str_from(k->labels[0], 1);
        w.protocol = str_from(k->labels[1], 1);
        put_srv(k, e, &w);
        if (!k->reply->counts[DNS_ANSWER])
            *ret_code = DNS_NXDOMAIN;
        return ZONE_ANSWERED;
    }
    return *ret_code = DNS_NXDOMAIN, ZONE_ANSWERED;
}

/* <a-b-c-d>.<ns>.pod: the address itself, for any namespace that exists (CoreDNS' "pods insecure"). */
static void answer_pod(const struct ask *k, enum dns_code *ret_code)
{
    char ip[64];
    uint8_t bytes[16];
    struct str label = k->labels[0];
    snprintf(ip, sizeof(ip), STR_FMT, STR_ARG(label));
    if (k->n != 3 || label.n >= sizeof(ip) || !map_has(&k->z->namespaces, k->labels[1])) {
        *ret_code = DNS_NXDOMAIN;
        return;
    }
    for (char *p = ip; *p; p++)
        *p = *p == '-' ? '.' : *p;
    bool four = inet_pton(AF_INET, ip, bytes) == 1;
    for (char *p = ip; !four && *p; p++)
        *p = *p == '.' ? ':' : *p;
    if (!four && inet_pton(AF_INET6, ip, bytes) != 1)
        *ret_code = DNS_NXDOMAIN;
    else
        put_address(k, DNS_ANSWER, NULL, str_of(ip), false);
}

static int answer_in_zone(const struct ask *k, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    struct str last = k->n ? k->labels[k->n - 1] : STR_NULL;
    if (k->n == 0) {
        if (wants(k, DNS_SOA))
            dns_put_soa(k->reply, DNS_ANSWER, k->z->domain, k->z->ttl, k->z->serial);
        char ns[DNS_NAME_MAX + 16];
        snprintf(ns, sizeof(ns), "ns.dns.%s", k->z->domain);
        if (wants(k, DNS_NS))
            dns_put_name(k->reply, DNS_ANSWER, NULL, DNS_NS, k->z->ttl, ns);
    } else if (k->n == 1 && str_is(last, "dns-version")) {
        if (wants(k, DNS_TXT))
            dns_put_txt(k->reply, DNS_ANSWER, NULL, k->z->ttl, STR("1.1.0"));
    } else if (str_is(last, "svc") && k->n >= 3) {
        return answer_service(k, ret_code, ret_alias);
    } else if (str_is(last, "pod") && k->n >= 3) {
        answer_pod(k, ret_code);
    } else if ((str_is(last, "svc") || str_is(last, "pod")) && k->n == 2) {
        *ret_code = map_has(&k->z->namespaces, k->labels[0]) ? DNS_NOERROR : DNS_NXDOMAIN;
    } else if (!(k->n == 1 && (str_is(last, "svc") || str_is(last, "pod")))) {
        *ret_code = DNS_NXDOMAIN;
    }
    return ZONE_ANSWERED;
}

static void answer_negative(const struct ask *k)
{
    if (!k->reply->counts[DNS_ANSWER])
        dns_put_soa(k->reply, DNS_AUTHORITY, k->z->domain, k->z->ttl, k->z->serial);
}

/* The labels before ".domain", up to 8; false when the name is not in the zone. */
static bool split_labels(struct ask *k)
{
    struct str name = str_of(k->name), domain = str_of(k->z->domain), label;
    if (str_eq(name, domain))
        return true;
    if (!str_ends(name, domain) || name.p[name.n - domain.n - 1] != '.')
        return false;
    name.n -= domain.n + 1;
    while (k->n < ARRAY_SIZE(k->labels) && str_next(&name, '.', &label))
        k->labels[k->n++] = label;
    if (name.p) /* longer than any name of ours: it has no answer */
        k->n = 1, k->labels[0] = STR("?");
    return true;
}

/* ---- addresses to names --------------------------------------------------------------------------------- */

/* "4.3.2.1.in-addr.arpa" -> "1.2.3.4"; ip6.arpa likewise. */
static bool reverse_address(const char *name, char ret[static 64])
{
    struct str s = str_of(name);
    uint8_t b[16] = {0};
    unsigned v[4];
    char end;
    if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arp%c", &v[3], &v[2], &v[1], &v[0], &end) == 5 &&
        str_ends(s, STR(".in-addr.arpa"))) {
        snprintf(ret, 64, "%u.%u.%u.%u", v[0], v[1], v[2], v[3]);
        return true;
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

struct reverse {
    struct str ip, ns, service;
};

static void visit_reverse(const struct ask *k, const struct val *slice UNUSED, const struct val *ep, struct str ip,
                          void *arg)
{
    const struct reverse *w = arg;
    char target[DNS_NAME_MAX];
    if (!str_eq(ip, w->ip))
        return;
    endpoint_name(k, w->ns, w->service, ep, ip, target);
    dns_put_name(k->reply, DNS_ANSWER, NULL, DNS_PTR, k->z->ttl, target);
}

static int answer_reverse(const struct ask *k, const char *ip)
{
    const struct object *service = map_get(&k->z->by_ip, str_of(ip));
    const char *owner = map_get(&k->z->endpoints, str_of(ip));
    char target[DNS_NAME_MAX];
    if (service) {
        snprintf(target, sizeof(target), STR_FMT "." STR_FMT ".svc.%s", STR_ARG(service->name),
                 STR_ARG(service->namespace_), k->z->domain);
        if (wants(k, DNS_PTR))
            dns_put_name(k->reply, DNS_ANSWER, NULL, DNS_PTR, k->z->ttl, target);
        return ZONE_ANSWERED;
    }
    if (!owner)
        return ZONE_NOT_OURS;
    struct reverse w = {.ip = str_of(ip)};
    str_cut(str_of(owner), '/', &w.ns, &w.service);
    const struct service_entry *e = service_index_get(&k->z->services, w.ns, w.service);
    if (e && wants(k, DNS_PTR))
        each_endpoint(k, e, STR_NULL, visit_reverse, &w);
    return ZONE_ANSWERED;
}

int zone_answer(const struct zone *z, const struct dns_query *q, uint64_t shuffle, struct dns_reply *reply,
                enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX])
{
    struct ask k = {.z = z, .q = q, .reply = reply, .shuffle = shuffle, .name = q->name};
    char ip[64];
    *ret_code = DNS_NOERROR;
    if (reverse_address(q->name, ip))
        return answer_reverse(&k, ip);
    if (!split_labels(&k))
        return ZONE_NOT_OURS;
    int r = answer_in_zone(&k, ret_code, ret_alias);
    if (r == ZONE_ANSWERED)
        answer_negative(&k);
    return r;
}
