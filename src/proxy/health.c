/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/health.h"

#include "client/zpages.h"
#include "base/log.h"
#include "base/os.h"
#include "net/http.h"
#include "wire/json.h"

#include <stdio.h>

struct health_port {
    struct health *health;
    struct str ns, name; /* one allocation, at ns.p */
    uint16_t port;
    size_t endpoints;
    struct http_server *server;
    bool deaf; /* not all addresses could be listened on: to be tried again */
};

/* ---- what is answered ----------------------------------------------------------------------------------- */

void health_queued(struct health *h, int side, struct mono now)
{
    if (h->sides[side].queued)
        return;
    h->sides[side].queued = true;
    h->sides[side].queued_at = now;
}

void health_updated(struct health *h, int side, struct wall now, bool more, struct mono since)
{
    h->sides[side].queued = more;
    h->sides[side].queued_at = since;
    h->sides[side].updated = now;
}

static bool side_alive(const struct health *h, const struct health_side *s, struct mono now)
{
    return !s->queued || now.ns - s->queued_at.ns < h->timeout_ns;
}

bool health_alive(const struct health *h, struct mono now)
{
    for (int i = 0; i < 2; i++)
        if (h->sides[i].family && !side_alive(h, &h->sides[i], now))
            return false;
    return true;
}

int health_answer(const struct health *h, bool whole, struct mono now, struct wall wall, struct buf *b)
{
    char text[TIME_TEXT_MAX], now_text[TIME_TEXT_MAX];
    bool eligible = h->node_known && !h->node_going, alive = health_alive(h, now), good = alive && (!whole || eligible);
    struct wall last = {0};
    for (int i = 0; i < 2; i++)
        if (h->sides[i].family && h->sides[i].updated.ns > last.ns)
            last = h->sides[i].updated;
    buf_printf(b, "{\"lastUpdated\":\"%s\",\"currentTime\":\"%s\",", time_format_nano(good ? wall : last, text),
               time_format_nano(wall, now_text));
    if (whole)
        buf_printf(b, "\"nodeEligible\":%s,", eligible ? "true" : "false");
    buf_printf(b, "\"healthy\":%s,\"status\":{", alive ? "true" : "false");
    for (int i = 0, n = 0; i < 2; i++)
        if (h->sides[i].family)
            buf_printf(b, "%s\"%s\":{\"lastUpdated\":\"%s\",\"healthy\":%s}", n++ ? "," : "", h->sides[i].family,
                       time_format_nano(h->sides[i].updated, text), side_alive(h, &h->sides[i], now) ? "true" : "false");
    buf_puts(b, "}}");
    return good ? 200 : 503;
}

int health_port_answer(struct str ns, struct str name, size_t endpoints, bool alive, struct buf *b)
{
    buf_puts(b, "{\n\t\"service\": {\n\t\t\"namespace\": ");
    json_encode_str(b, ns, 0);
    buf_puts(b, ",\n\t\t\"name\": ");
    json_encode_str(b, name, 0);
    buf_printf(b, "\n\t},\n\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": %s\n}", endpoints, alive ? "true" : "false");
    return endpoints && alive ? 200 : 503;
}

/* ---- servers -------------------------------------------------------------------------------------------- */

static void answer_json(struct http_exchange *x, int status, struct buf *b)
{
    http_add_header(x, "X-Content-Type-Options", STR("nosniff"));
    http_respond(x, status, "application/json", buf_str(b));
}

static void handle_healthz(void *ctx, struct http_exchange *x)
{
    struct health *h = ctx;
    struct buf b CLEANUP_BUF = BUF_INIT;
    bool whole = str_is(x->path, "/healthz");
    if (!whole && !str_is(x->path, "/livez")) {
        http_respond(x, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
        return;
    }
    int status = health_answer(h, whole, os_mono(), os_wall(), &b);
    (whole ? h->metrics->healthz : h->metrics->livez)[status == 503]++;
    answer_json(x, status, &b);
}

static void handle_port(void *ctx, struct http_exchange *x)
{
    struct health_port *p = ctx;
    struct buf b CLEANUP_BUF = BUF_INIT;
    char weight[24];
    int n = snprintf(weight, sizeof(weight), "%zu", p->endpoints);
    int status = health_port_answer(p->ns, p->name, p->endpoints, health_alive(p->health, os_mono()), &b);
    http_add_header(x, "X-Load-Balancing-Endpoint-Weight", str_n(weight, (size_t)n));
    answer_json(x, status, &b);
}

static void handle_page(void *ctx, struct http_exchange *x)
{
    static const char *const paths[] = {"/configz", "/flagz", "/healthz", "/metrics", "/proxyMode", "/statusz", NULL};
    struct health *h = ctx;
    struct zpages z = {.component = "kube-proxy", .flags = h->flags, .started = h->started, .paths = paths, .no_debug = true};
    struct buf b CLEANUP_BUF = BUF_INIT;
    const char *type = "text/plain; charset=utf-8";
    if (zpages_answer(&z, x))
        return;
    if (str_is(x->path, "/metrics")) {
        proxy_metrics_write(h->metrics, &b);
        type = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    } else if (str_is(x->path, "/proxyMode")) {
        http_add_header(x, "X-Content-Type-Options", STR("nosniff"));
        buf_puts(&b, h->mode);
    } else if (str_is(x->path, "/configz")) {
        buf_printf(&b, "{\"kubeproxy.config.k8s.io\":" STR_FMT "}", STR_ARG(h->configz.n ? h->configz : STR("{}")));
        type = "application/json";
    } else if (str_is(x->path, "/healthz") || str_starts(x->path, STR("/healthz/"))) {
        buf_puts(&b, "ok");
    } else {
        http_respond(x, 404, type, STR("404 page not found\n"));
        return;
    }
    http_respond(x, 200, type, buf_str(&b));
}

static int open_one(struct http_server **ret, const char *address, http_handler *handler, struct health *h, bool hard,
                    const char *what, struct err *e)
{
    struct err why = {0};
    if (!address || !address[0])
        return 0;
    *ret = http_server_new(&(struct http_server_config){.handler = handler, .ctx = h});
    int r = http_server_listen(*ret, address, &why);
    if (r >= 0)
        return 0;
    http_server_free(*ret);
    *ret = NULL;
    if (hard)
        return err_set(e, r, "%s: %s", what, err_text(&why, r));
    log_error("proxy", "%s: %s", what, err_text(&why, r));
    return 0;
}

int health_open(struct health *h, const struct proxy_config *c, struct err *e)
{
    int r = open_one(&h->healthz, c->healthz_address, handle_healthz, h, c->bind_hard_fail, "healthz", e);
    return r < 0 ? r : open_one(&h->pages, c->metrics_address, handle_page, h, c->bind_hard_fail, "metrics", e);
}

/* ---- health-check node ports ---------------------------------------------------------------------------- */

static void port_free(void *arg)
{
    struct health_port *p = arg;
    if (p->server)
        http_server_free(p->server);
    free((char *)p->ns.p);
    free(p);
}

static void listen_on(struct health_port *p, const char *host)
{
    char address[80];
    struct err why = {0};
    snprintf(address, sizeof(address), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, p->port);
    int r = http_server_listen(p->server, address, &why);
    p->deaf |= r < 0;
    if (r < 0)
        log_error("proxy", "health-check port of " STR_FMT "/" STR_FMT ": %s", STR_ARG(p->ns), STR_ARG(p->name), err_text(&why, r));
}

static struct health_port *port_new(struct health *h, int side, struct str key, uint16_t port, const struct ips *ips)
{
    struct health_port *p = NEW(struct health_port);
    char text[IP_TEXT_MAX];
    struct str copy = {str_dup(key), key.n};
    p->health = h;
    p->port = port;
    if (!str_cut(copy, '/', &p->ns, &p->name))
        p->ns = copy;
    p->server = http_server_new(&(struct http_server_config){.handler = handle_port, .ctx = p, .max_connections = 256});
    for (size_t i = 0; i < ips->n; i++)
        listen_on(p, ip_format(&ips->list[i], text));
    if (!ips->n)
        listen_on(p, side ? "::" : "0.0.0.0");
    return p;
}

void health_port_set(struct health *h, int side, struct str key, uint16_t port, size_t endpoints, const struct ips *ips)
{
    struct health_port *p = map_get(&h->ports[side], key);
    if (p && (p->port != port || p->deaf)) {
        map_del(&h->ports[side], key);
        port_free(p);
        p = NULL;
    }
    if (!p && port)
        map_put(&h->ports[side], key, p = port_new(h, side, key, port, ips));
    if (p)
        p->endpoints = endpoints;
}

void health_each_deaf(const struct health *h, int side, void (*fn)(void *arg, struct str key, uint16_t port, size_t endpoints), void *arg)
{
    MAP_EACH(&h->ports[side], k)
    {
        const struct health_port *p = k->value;
        if (p->deaf)
            fn(arg, k->key, p->port, p->endpoints);
    }
}

void health_close(struct health *h)
{
    struct http_server **servers[] = {&h->healthz, &h->pages};
    for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
        if (*servers[i])
            http_server_free(*servers[i]);
        *servers[i] = NULL;
    }
    for (int side = 0; side < 2; side++)
        map_done_with(&h->ports[side], port_free);
}
