/* SPDX-License-Identifier: Apache-2.0 */
/* Back ends, their endpoints, and counts: shared by threads, so with counted references. */
#include "ingress/table-internal.h"

#include "names.h"
#include "type/meta.h"

#include <stdio.h>

/* ---- references ---------------------------------------------------------------------------------------- */

struct endpoints *endpoints_unref(struct endpoints *e)
{
    if (e && --e->refs == 0)
        free(e);
    return NULL;
}

struct backend *backend_ref(struct backend *b)
{
    b->refs++;
    return b;
}

struct backend *backend_unref(struct backend *b)
{
    if (b && --b->refs == 0) {
        endpoints_unref(b->now);
        pthread_mutex_destroy(&b->lock);
        free(b);
    }
    return NULL;
}

struct endpoints *backend_endpoints(struct backend *b)
{
    pthread_mutex_lock(&b->lock);
    struct endpoints *e = b->now;
    e->refs++;
    pthread_mutex_unlock(&b->lock);
    return e;
}

struct backend *backend_new(struct str key)
{
    struct backend *b = xcalloc(1, sizeof(*b) + key.n + 1);
    b->refs = 1;
    pthread_mutex_init(&b->lock, NULL);
    memcpy(b->key, key.p, key.n);
    b->now = xcalloc(1, sizeof(*b->now));
    b->now->refs = 1;
    return b;
}

/* ---- endpoints ----------------------------------------------------------------------------------------- */

const struct val *service_port(const struct object *service, const struct val *wanted)
{
    struct str name = val_getstr(wanted, N_name);
    int64_t number = val_int(val_get(wanted, N_number), 0);
    VAL_EACH(val_at(service ? service->val : NULL, N_spec, N_ports), it)
    {
        struct str protocol = val_getstr(it, N_protocol);
        bool is_it = name.n ? str_eq(val_getstr(it, N_name), name) : val_int(val_get(it, N_port), 0) == number;
        if (is_it && (!protocol.n || str_is(protocol, "TCP")))
            return it;
    }
    return NULL;
}

/* The machine's own services are not for pods' Ingresses: the API refuses such endpoints, and so do we. */
static bool is_fit(struct str text, struct ip *ip)
{
    static const struct prefix unfit[] = {
        {{AF_INET, {127}}, 8},  {{AF_INET, {169, 254}}, 16},      {{AF_INET, {0}}, 8},      {{AF_INET, {224}}, 4},
        {{AF_INET6, {0}}, 127}, {{AF_INET6, {0xfe, 0x80}}, 10},   {{AF_INET6, {0xff}}, 8},
        {{AF_INET6, {[10] = 0xff, [11] = 0xff}}, 96}, /* IPv4 in disguise */
    };
    if (!ip_parse(text, ip))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(unfit); i++)
        if (prefix_has(&unfit[i], ip))
            return false;
    return true;
}

struct gathering {
    struct endpoints *to;
    size_t cap;
    bool terminating;
};

static void gather(struct gathering *g, struct str address, int64_t port)
{
    char text[IP_TEXT_MAX];
    struct endpoint *e;
    struct ip ip;
    if (!is_fit(address, &ip) || port < 1 || port > 65535)
        return;
    if (g->to->n == g->cap)
        g->to = xrealloc(g->to, sizeof(*g->to) + (g->cap = MAX(g->cap * 2, (size_t)8)) * sizeof(*e));
    e = &g->to->list[g->to->n++];
    ip_format(&ip, text);
    snprintf(e->address, sizeof(e->address), ip.family == AF_INET6 ? "[%s]:%d" : "%s:%d", text, (int)port);
}

static bool is_wanted(const struct val *endpoint, bool terminating)
{
    const struct val *c = val_get(endpoint, N_conditions);
    bool ready = val_bool(val_get(c, N_ready), true);
    return terminating ? val_bool(val_get(c, N_serving), ready) && val_bool(val_get(c, N_terminating), false) : ready;
}

static void gather_slice(struct gathering *g, const struct val *slice, struct str port_name)
{
    VAL_EACH(val_get(slice, N_ports), port)
    {
        if (!str_eq(val_getstr(port, N_name), port_name))
            continue;
        VAL_EACH(val_get(slice, N_endpoints), it)
        {
            if (is_wanted(it, g->terminating))
                gather(g, val_str(val_item(val_get(it, N_addresses), 0)), val_int(val_get(port, N_port), 0));
        }
    }
}

static int by_address(const void *a, const void *b)
{
    return strcmp(((const struct endpoint *)a)->address, ((const struct endpoint *)b)->address);
}

/* Those that are ready; when there is none, those that end but still serve (KEP-1669). */
static struct endpoints *endpoints_of(const struct service_entry *e, struct str port_name)
{
    struct gathering g = {.to = xcalloc(1, sizeof(*g.to))};
    for (int round = 0; round < 2 && !g.to->n; round++) {
        g.terminating = round == 1;
        for (size_t i = 0; e && i < e->n_slices; i++)
            if (!str_is(val_getstr(e->slices[i]->val, N_addressType), "FQDN"))
                gather_slice(&g, e->slices[i]->val, port_name);
    }
    size_t kept = 0;
    qsort(g.to->list, g.to->n, sizeof(g.to->list[0]), by_address);
    for (size_t i = 0; i < g.to->n; i++) /* slices may name one twice while they are rearranged */
        if (!kept || by_address(&g.to->list[kept - 1], &g.to->list[i]))
            g.to->list[kept++] = g.to->list[i];
    g.to->n = kept;
    g.to->refs = 1;
    return g.to;
}

void backend_fill(struct backend *b, const struct service_entry *e, struct str port_name)
{
    struct endpoints *now = endpoints_of(e, port_name);
    pthread_mutex_lock(&b->lock);
    struct endpoints *old = b->now;
    b->now = now;
    pthread_mutex_unlock(&b->lock);
    endpoints_unref(old);
}

enum protocol port_protocol(const struct val *port)
{
    static const struct {
        const char *name;
        enum protocol protocol;
    } known[] = {{"kubernetes.io/h2c", PROTOCOL_H2C}, {"grpc", PROTOCOL_H2C}, {"https", PROTOCOL_HTTPS}};
    struct str name = val_getstr(port, N_appProtocol);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_is(name, known[i].name))
            return known[i].protocol;
    return PROTOCOL_HTTP;
}

/* ---- counts -------------------------------------------------------------------------------------------- */

const double count_bounds[COUNT_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10};
const int count_statuses[COUNT_STATUSES] = {200, 201, 202, 204, 206, 301, 302, 304, 307, 308, 400, 401,
                                            403, 404, 405, 409, 413, 429, 499, 500, 502, 503, 504, 0};

void counts_add(struct counts *c, int status, int64_t ns, uint64_t bytes_in, uint64_t bytes_out)
{
    size_t i = 0, bucket = 0;
    while (count_statuses[i] && count_statuses[i] != status)
        i++;
    while (bucket < COUNT_BUCKETS && (double)ns / 1e9 > count_bounds[bucket])
        bucket++;
    c->statuses[i]++;
    c->buckets[bucket]++;
    c->nanoseconds += (unsigned long)ns;
    c->bytes_in += bytes_in;
    c->bytes_out += bytes_out;
}

struct counts *counts_new(struct str ns, struct str ingress, struct str host)
{
    struct counts *c = NEW(struct counts);
    c->refs = 1;
    c->ns = str_dup(ns);
    c->ingress = str_dup(ingress);
    c->host = str_dup(host);
    return c;
}

struct counts *counts_unref(struct counts *c)
{
    if (c && --c->refs == 0) {
        free(c->ns);
        free(c->ingress);
        free(c->host);
        free(c);
    }
    return NULL;
}
