/* SPDX-License-Identifier: Apache-2.0 */
/* What people see of the server: counters, log lines, health, readiness. */
#include "base/log.h"
#include "base/os.h"
#include "dns/serving.h"
#include "net/http.h"
#include "wire/prom.h"

#include <stdio.h>

/* ---- counters ------------------------------------------------------------------------------------------------------ */

static const uint16_t counted_types[] = {DNS_A,  DNS_AAAA, DNS_SRV, DNS_PTR, DNS_TXT, DNS_NS,
                                         DNS_SOA, DNS_MX, DNS_CNAME, DNS_ANY, 65};

static size_t type_index(uint16_t type)
{
    size_t i = 0;
    while (i < ARRAY_SIZE(counted_types) && counted_types[i] != type)
        i++;
    return i; /* behind the last: other */
}

void tally_answer(const struct server *s, struct tally *t, const struct answered *a)
{
    static const int64_t first_bucket = 250 * NSEC_PER_USEC;
    const struct config *c = s->chain.config;
    const struct block *b = config_block(c, a->port, str_of(a->q->name));
    size_t i = b ? (size_t)(b - c->blocks) : MAX_BLOCKS - 1, bucket = 0;
    i = MIN(i, (size_t)MAX_BLOCKS - 1);
    TALLY_ADD(t->requests[i][a->tcp][a->v6][type_index(a->q->type)], 1);
    if (!a->answer.n) {
        TALLY_ADD(t->dropped, 1);
        return;
    }
    TALLY_ADD(t->responses[i][a->answer.p[3] & 15], 1);
    for (int64_t limit = first_bucket; bucket < BUCKETS && a->nanoseconds > limit; limit *= 2)
        bucket++;
    TALLY_ADD(t->buckets[i][bucket], 1);
    TALLY_ADD(t->nanoseconds[i], (uint64_t)a->nanoseconds);
}

static uint64_t sum_of(const struct server *s, size_t offset)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ARRAY_SIZE(s->tallies); i++)
        sum += __atomic_load_n((const uint64_t *)((const char *)&s->tallies[i] + offset), __ATOMIC_RELAXED);
    return sum;
}

#define SUM(s, field) sum_of((s), (size_t)((const char *)&(s)->tallies[0].field - (const char *)&(s)->tallies[0]))

static void write_labels(const struct block *b, struct buf *out)
{
    buf_printf(out, "server=\"%s://:%u\",zone=\"", b->over_tls ? "tls" : "dns", b->port);
    prom_escape(out, b->key);
    buf_puts(out, "\",view=\"\"");
}

static void write_requests(const struct server *s, size_t i, struct buf *out)
{
    const struct block *b = &s->chain.config->blocks[i];
    char text[16];
    for (int tcp = 0; tcp < 2; tcp++)
        for (int v6 = 0; v6 < 2; v6++)
            for (size_t t = 0; t <= ARRAY_SIZE(counted_types); t++) {
                uint64_t n = SUM(s, requests[i][tcp][v6][t]);
                if (!n)
                    continue;
                buf_puts(out, "coredns_dns_requests_total{");
                write_labels(b, out);
                buf_printf(out, ",proto=\"%s\",family=\"%d\",type=\"%s\"} %llu\n", tcp ? "tcp" : "udp", v6 + 1,
                           t < ARRAY_SIZE(counted_types) ? dns_type_text(counted_types[t], text) : "other",
                           (unsigned long long)n);
            }
}

static void write_responses(const struct server *s, size_t i, struct buf *out)
{
    for (unsigned code = 0; code < CODES; code++) {
        uint64_t n = SUM(s, responses[i][code]);
        if (!n)
            continue;
        buf_puts(out, "coredns_dns_responses_total{");
        write_labels(&s->chain.config->blocks[i], out);
        buf_printf(out, ",rcode=\"%s\",plugin=\"\"} %llu\n", dns_code_text(code), (unsigned long long)n);
    }
}

static void write_durations(const struct server *s, size_t i, struct buf *out)
{
    const struct block *b = &s->chain.config->blocks[i];
    uint64_t sum = 0;
    double limit = 0.00025;
    for (size_t k = 0; k <= BUCKETS; k++, limit *= 2) {
        sum += SUM(s, buckets[i][k]);
        buf_puts(out, "coredns_dns_request_duration_seconds_bucket{");
        write_labels(b, out);
        if (k < BUCKETS)
            buf_printf(out, ",le=\"%g\"} %llu\n", limit, (unsigned long long)sum);
        else
            buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)sum);
    }
    buf_puts(out, "coredns_dns_request_duration_seconds_sum{");
    write_labels(b, out);
    buf_printf(out, "} %g\ncoredns_dns_request_duration_seconds_count{", (double)SUM(s, nanoseconds[i]) / 1e9);
    write_labels(b, out);
    buf_printf(out, "} %llu\n", (unsigned long long)sum);
}

static void write_cache(const struct block *b, struct buf *out)
{
    struct dns_cache_figures f;
    dns_cache_figures(b->cache, &f);
    const struct {
        const char *name, *type;
        uint64_t n;
    } rows[] = {
        {"hits_total", "success", f.hits_success}, {"hits_total", "denial", f.hits_denial},
        {"entries", "success", f.entries_success}, {"entries", "denial", f.entries_denial},
        {"misses_total", NULL, f.misses},          {"served_stale_total", NULL, f.stale},
        {"prefetch_total", NULL, f.prefetches},    {"requests_total", NULL, f.hits_success + f.hits_denial + f.misses},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        buf_printf(out, "coredns_cache_%s{server=\"dns://:%u\"", rows[i].name, b->port);
        if (rows[i].type)
            buf_printf(out, ",type=\"%s\"", rows[i].type);
        buf_printf(out, ",zones=\"" STR_FMT "\",view=\"\"} %llu\n", STR_ARG(b->key), (unsigned long long)rows[i].n);
    }
    buf_printf(out, "coredns_cache_evictions_total{server=\"dns://:%u\",zones=\"" STR_FMT "\",view=\"\"} %llu\n", b->port,
               STR_ARG(b->key), (unsigned long long)f.evictions);
}

static void write_forward(const struct forwarder *f, struct buf *out)
{
    struct forward_figures figures[16];
    size_t n = forwarder_figures(f, figures, ARRAY_SIZE(figures));
    for (size_t i = 0; i < n; i++) {
        for (unsigned code = 0; code < CODES; code++)
            if (figures[i].requests[code])
                buf_printf(out, "coredns_proxy_request_duration_seconds_count{proxy_name=\"forward\",to=\"%s\",rcode=\"%s\"} %llu\n",
                           figures[i].server, code < 16 ? dns_code_text(code) : "ERROR",
                           (unsigned long long)figures[i].requests[code]);
        buf_printf(out, "coredns_proxy_healthcheck_failures_total{proxy_name=\"forward\",to=\"%s\"} %llu\n", figures[i].server,
                   (unsigned long long)figures[i].failed_checks);
    }
    buf_printf(out, "coredns_forward_max_concurrent_rejects_total %llu\n", (unsigned long long)forwarder_rejected(f));
}

static void write_counts(const struct block *b, struct buf *out)
{
    if (b->autopath)
        buf_printf(out, "coredns_autopath_success_total{server=\"dns://:%u\"} %llu\n", b->port, (unsigned long long)b->autopath->found);
    if (b->dns64)
        buf_printf(out, "coredns_dns64_requests_translated_total{server=\"dns://:%u\"} %llu\n", b->port, (unsigned long long)b->dns64->translated);
}

void dns_metrics(const struct server *s, struct buf *b)
{
    const struct config *c = s->chain.config;
    buf_printf(b, "# TYPE coredns_build_info gauge\ncoredns_build_info{goversion=\"\",revision=\"\",version=\"cube-%s\"} 1\n", CUBE_VERSION);
    buf_puts(b, "# TYPE coredns_dns_requests_total counter\n");
    for (size_t i = 0; i < MIN(c->n, (size_t)MAX_BLOCKS); i++)
        write_requests(s, i, b);
    buf_puts(b, "# TYPE coredns_dns_responses_total counter\n");
    for (size_t i = 0; i < MIN(c->n, (size_t)MAX_BLOCKS); i++)
        write_responses(s, i, b);
    buf_puts(b, "# TYPE coredns_dns_request_duration_seconds histogram\n");
    for (size_t i = 0; i < MIN(c->n, (size_t)MAX_BLOCKS); i++)
        write_durations(s, i, b);
    for (size_t i = 0; i < c->n; i++) {
        write_counts(&c->blocks[i], b);
        if (c->blocks[i].cache)
            write_cache(&c->blocks[i], b);
        for (size_t j = 0; j < c->blocks[i].n_forwards; j++)
            write_forward(c->blocks[i].forwards[j], b);
    }
    buf_printf(b, "# TYPE coredns_panics_total counter\ncoredns_panics_total 0\n"
                  "# TYPE coredns_reload_failed_total counter\ncoredns_reload_failed_total %llu\n",
               (unsigned long long)s->reloads_failed);
}

/* ---- log lines ------------------------------------------------------------------------------------------------------ */

static void put_flags(const struct answered *a, struct buf *out)
{
    static const struct {
        uint16_t bit;
        const char *name;
    } flags[] = {{0x8000, "qr"}, {0x0400, "aa"}, {0x0200, "tc"}, {0x0100, "rd"}, {0x0080, "ra"}, {0x0020, "ad"}, {0x0010, "cd"}};
    uint16_t bits = a->answer.n ? dns_get16(a->answer.p + 2) : 0;
    const char *comma = "";
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (bits & flags[i].bit) {
            buf_printf(out, "%s%s", comma, flags[i].name);
            comma = ",";
        }
}

static void put_placeholder(const struct answered *a, struct str name, struct buf *out)
{
    char type[16];
    if (str_is(name, "remote"))
        buf_printf(out, strchr(a->peer, ':') ? "[%s]" : "%s", a->peer);
    else if (str_is(name, "port"))
        buf_printf(out, "%u", a->peer_port);
    else if (str_is(name, ">id"))
        buf_printf(out, "%u", a->q->id);
    else if (str_is(name, ">opcode"))
        buf_printf(out, "%u", a->q->flags >> 11 & 15);
    else if (str_is(name, "type"))
        buf_puts(out, dns_type_text(a->q->type, type));
    else if (str_is(name, "class"))
        buf_puts(out, dns_class_text(a->q->class_));
    else if (str_is(name, "name"))
        buf_printf(out, "%s.", a->q->name);
    else if (str_is(name, "proto"))
        buf_puts(out, a->tcp ? "tcp" : "udp");
    else if (str_is(name, "size"))
        buf_printf(out, "%zu", a->question_bytes);
    else if (str_is(name, ">do"))
        buf_puts(out, a->q->dnssec_ok ? "true" : "false");
    else if (str_is(name, ">bufsize"))
        buf_printf(out, "%u", a->q->udp_size);
    else if (str_is(name, "rcode"))
        buf_puts(out, a->answer.n ? dns_code_text(a->answer.p[3] & 15) : "-");
    else if (str_is(name, ">rflags"))
        put_flags(a, out);
    else if (str_is(name, "rsize"))
        buf_printf(out, "%zu", a->answer.n);
    else if (str_is(name, "duration"))
        buf_printf(out, "%.9fs", (double)a->nanoseconds / 1e9);
    else
        buf_printf(out, "{" STR_FMT "}", STR_ARG(name));
}

static void write_line(const struct answered *a, const char *format)
{
    struct buf out CLEANUP_BUF = BUF_INIT;
    struct str rest = str_of(format);
    while (rest.n) {
        const char *end = rest.p[0] == '{' ? memchr(rest.p, '}', rest.n) : NULL;
        if (end) {
            put_placeholder(a, str_slice(rest, 1, (size_t)(end - rest.p) - 1), &out);
            rest = str_from(rest, (size_t)(end - rest.p) + 1);
        } else {
            buf_putc(&out, rest.p[0]);
            rest = str_from(rest, 1);
        }
    }
    for (size_t i = 0; i < out.n; i++) /* a name may hold anything: a line stays one line */
        if ((unsigned char)out.p[i] < ' ' || out.p[i] == 0x7f)
            out.p[i] = '?';
    log_info("dns", STR_FMT, STR_ARG(buf_str(&out)));
}

static void log_failure(struct server *s, const struct answered *a)
{
    struct mono now = os_mono();
    char type[16];
    if (s->last_error.ns && now.ns - s->last_error.ns < NSEC_PER_SEC) { /* a dead upstream must not fill the log */
        s->errors_unsaid++;
        return;
    }
    log_error("dns", "no answer for %s. %s (and for %llu more before)", a->q->name, dns_type_text(a->q->type, type),
              (unsigned long long)s->errors_unsaid);
    s->last_error = now;
    s->errors_unsaid = 0;
}

void log_answer(struct server *s, const struct answered *a)
{
    const struct block *b = config_block(s->chain.config, a->port, str_of(a->q->name));
    unsigned code = a->answer.n ? a->answer.p[3] & 15 : DNS_SERVFAIL;
    bool denial = code == DNS_NXDOMAIN || (code == DNS_NOERROR && a->answer.n && !dns_get16(a->answer.p + 6));
    for (size_t i = 0; b && i < b->n_logs; i++) {
        const struct log_rule *rule = &b->logs[i];
        bool wanted = denial ? rule->denial : code == DNS_NOERROR ? rule->success : rule->error;
        if (wanted && dns_within(str_of(a->q->name), str_of(rule->zone)))
            write_line(a, rule->format);
    }
    if (b && b->errors && code == DNS_SERVFAIL)
        log_failure(s, a);
}

/* ---- over HTTP -------------------------------------------------------------------------------------------------------- */

struct http_service {
    struct http_server *servers[3 * MAX_LISTEN];
    size_t n;
};

static void answer_health(void *ctx, struct http_exchange *x)
{
    const struct server *s = ctx;
    bool path = str_is(x->path, "/health");
    http_respond(x, !path ? 404 : s->stopping ? 503 : 200, "text/plain", path && !s->stopping ? STR("OK") : STR(""));
}

static bool wants_zone(const struct config *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->blocks[i].kubernetes)
            return true;
    return false;
}

static void answer_ready(void *ctx, struct http_exchange *x)
{
    const struct server *s = ctx;
    bool path = str_is(x->path, "/ready"), ready = !s->stopping && (s->chain.ready || !wants_zone(s->chain.config));
    http_respond(x, !path ? 404 : ready ? 200 : 503, "text/plain", path ? (ready ? STR("OK") : STR("kubernetes")) : STR(""));
}

static void answer_metrics(void *ctx, struct http_exchange *x)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!str_is(x->path, "/metrics")) {
        http_respond(x, 404, "text/plain", STR(""));
        return;
    }
    dns_metrics(ctx, &b);
    http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
}

static void start_at(struct server *s, const char *address, http_handler *handler)
{
    struct http_service *h = s->http;
    struct err e = {0};
    if (h->n == ARRAY_SIZE(h->servers))
        return;
    struct http_server *server = http_server_new(&(struct http_server_config){.handler = handler, .ctx = s});
    if (http_server_listen(server, address, &e) < 0) {
        log_warn("dns", "health, readiness or metrics cannot be had at %s: %s", address, e.text);
        http_server_free(server);
        return;
    }
    h->servers[h->n++] = server;
}

/* ":8080" is that port at our own addresses: the node has its own use for the others. */
static void start_service(struct server *s, const char *address, http_handler *handler)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (!address)
        return;
    if (str_starts(str_of(address), STR("localhost:")))
        address = arena_printf(&a, "127.0.0.1%s", address + 9).p;
    if (address[0] != ':') {
        start_at(s, address, handler);
        return;
    }
    for (size_t i = 0; i < s->n_hosts; i++) {
        bool v6 = str_find(s->hosts[i], ':') >= 0;
        start_at(s, arena_printf(&a, v6 ? "[" STR_FMT "]%s" : STR_FMT "%s", STR_ARG(s->hosts[i]), address).p, handler);
    }
}

void http_services_start(struct server *s)
{
    const struct config *c = s->chain.config;
    s->http = NEW(struct http_service);
    start_service(s, c->health, answer_health);
    start_service(s, c->ready, answer_ready);
    start_service(s, c->prometheus, answer_metrics);
}

void http_services_stop(struct server *s)
{
    for (size_t i = 0; s->http && i < s->http->n; i++)
        http_server_free(s->http->servers[i]);
    free(s->http);
    s->http = NULL;
}
