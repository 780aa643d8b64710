/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/backend.h"

#include "apiserver/auth.h"
#include "apiserver/html_links.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "names.h"
#include "net/gzip.h"
#include "net/resolve.h"
#include "resources.h"
#include "type/meta.h"

#include <arpa/inet.h>

enum { KUBELET_PORT = 10250, FILE_MAX = 1 << 20 };

static int read_optional(struct arena *a, const char *path, struct str *ret, struct err *e)
{
    *ret = STR_NULL;
    int r = path ? os_read_file(a, path, FILE_MAX, ret) : 0;
    return r < 0 ? err_set(e, r, "%s: %s", path, strerror(-r)) : 0;
}

static bool may_connect(const void *ctx, const char *address)
{
    return backend_address_allowed(ctx, address);
}

int backend_setup(struct apiserver *s, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct apiserver_config *c = &s->config;
    struct tls_client_config t = {.insecure = c->kubelet_insecure};
    int r = read_optional(&a, c->kubelet_ca ? c->kubelet_ca : c->client_ca, &t.ca, e);
    if (!r)
        r = read_optional(&a, c->kubelet_cert, &t.key.cert_pem, e);
    if (!r)
        r = read_optional(&a, c->kubelet_key, &t.key.key_pem, e);
    if (!r)
        r = tls_client_new(&t, &s->kubelet_tls, e);
    if (r < 0)
        return r;
    struct tls_client *open = NULL;
    r = tls_client_new(&(struct tls_client_config){.insecure = true}, &open, e);
    if (r < 0)
        return r;
    struct net_gate gate = {may_connect, s};
    s->kubelet = http_client_new(&(struct http_client_config){.tls = s->kubelet_tls, .gate = gate});
    s->outside = http_client_new(&(struct http_client_config){.tls = open, .gate = gate});
    tls_client_unref(open);
    return 0;
}

void backend_free(struct apiserver *s)
{
    if (s->kubelet)
        http_client_free(s->kubelet);
    if (s->outside)
        http_client_free(s->outside);
    if (s->kubelet_tls)
        tls_client_unref(s->kubelet_tls);
}

/* kubeadm's order of --kubelet-preferred-address-types. */
static struct str address_of(const struct val *node)
{
    static const char *const order[] = {"InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        VAL_EACH(val_at(node, N_status, N_addresses), a)
            if (str_is(val_getstr(a, N_type), order[i]))
                return val_getstr(a, N_address);
    return STR_NULL;
}

/* What a name leads to is judged when it is known (the clients' gate). */
static bool is_ip(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

int backend_kubelet(struct request *r, struct str name, struct str *ret_base)
{
    const struct object *node = cache_get(state_kind(r->server, RES_NODES), STR(""), name);
    if (!node)
        return status_not_found(&r->status, &resources[RES_NODES], name);
    struct str host = address_of(node->val);
    if (!host.n)
        return status_set(&r->status, 503, "ServiceUnavailable",
                          "no preferred addresses found for node \"%.*s\"", STR_ARG(name));
    const char *address = arena_cstr(r->arena, host);
    if (is_ip(address) && !backend_address_allowed(r->server, address))
        return status_set(&r->status, 503, "ServiceUnavailable", "node \"%.*s\": address %s is not allowed", STR_ARG(name), address);
    if (!r->server->config.kubelet_insecure)
        r->kubelet_cn = arena_printf(r->arena, "system:node:%.*s", STR_ARG(name)).p;
    int64_t port =
        val_int(val_at(node->val, N_status, N_daemonEndpoints, N_kubeletEndpoint, N_Port), KUBELET_PORT);
    *ret_base =
        arena_printf(r->arena, "https://%s", net_join(r->arena, address, (uint16_t)port));
    return 0;
}

bool backend_address_allowed(const struct apiserver *s, const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) != 1) {
        if (inet_pton(AF_INET6, host, &v6) != 1)
            return false;
        if (!IN6_IS_ADDR_V4MAPPED(&v6))
            return s->config.proxy_local ||
                   !(IN6_IS_ADDR_UNSPECIFIED(&v6) || IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6) ||
                     IN6_IS_ADDR_MULTICAST(&v6));
        memcpy(&v4, v6.s6_addr + 12, sizeof(v4));
    }
    uint32_t a = ntohl(v4.s_addr);
    return s->config.proxy_local ||
           !(a >> 24 == 0 || a >> 24 == 127 || a >> 16 == 0xa9fe || a >> 28 == 0xe || a == UINT32_MAX);
}

/* ---- services ------------------------------------------------------------------------------------------- */

const struct val *backend_service_port(const struct val *svc, struct str port)
{
    const struct val *ports = val_at(svc, N_spec, N_ports);
    int64_t n;
    if (!port.n)
        return val_item(ports, 0);
    VAL_EACH(ports, p)
        if (str_eq(val_getstr(p, N_name), port) ||
            (!str_to_i64(port, &n) && val_int(val_get(p, N_port), 0) == n))
            return p;
    return NULL;
}

static bool of_service(const struct val *slice, struct str name)
{
    return str_eq(obj_label(slice, STR("kubernetes.io/service-name")), name);
}

struct pick {
    struct str ip;
    int64_t port;
    uint64_t seen;
};

static void pick_from(const struct val *slice, struct str port_name, struct pick *p)
{
    VAL_EACH(val_get(slice, N_ports), port) {
        if (!str_eq(val_getstr(port, N_name), port_name))
            continue;
        VAL_EACH(val_get(slice, N_endpoints), ep)
            if (val_bool(val_at(ep, N_conditions, N_ready), true) && os_random_below(++p->seen) == 0) {
                p->ip = val_str(val_item(val_get(ep, N_addresses), 0));
                p->port = val_int(val_get(port, N_port), 0);
            }
    }
}

bool backend_endpoint(const struct apiserver *s, const struct object *svc, const struct val *port, struct str *ret_ip,
                      int64_t *ret_port)
{
    struct pick p = {.ip = STR_NULL};
    TREE_EACH (state_kind(s, RES_ENDPOINTSLICES)->root, svc->namespace_, it)
        if (port && of_service(it.object->val, svc->name))
            pick_from(it.object->val, val_getstr(port, N_name), &p);
    if (!p.ip.n)
        return false;
    *ret_ip = p.ip;
    *ret_port = p.port;
    return true;
}

/* A Service that is no more than a name for somebody else's host. */
static int external(const struct val *svc, struct arena *a, int64_t port, struct str *ret)
{
    struct str host = val_str(val_at(svc, N_spec, N_externalName));
    *ret = arena_printf(a, STR_FMT ":%lld", STR_ARG(host), (long long)port);
    return 0;
}

int backend_service(struct apiserver *s, struct arena *a, struct str ns, struct str name, int64_t number, struct str *ret,
                    struct err *e)
{
    int r = cache_fresh(s->cache);
    if (r < 0)
        return err_set(e, r, "%s", strerror(-r));
    const struct object *svc = cache_get(state_kind(s, RES_SERVICES), ns, name);
    struct str ip;
    int64_t at;
    if (!svc)
        return err_set(e, -ENOENT, "service \"" STR_FMT "\" not found", STR_ARG(name));
    if (str_is(val_str(val_at(svc->val, N_spec, N_type)), "ExternalName"))
        return external(svc->val, a, number, ret);
    const struct val *port = backend_service_port(svc->val, arena_printf(a, "%lld", (long long)number));
    if (!port)
        return err_set(e, -ENOENT, "no service port %lld found for service \"" STR_FMT "\"", (long long)number, STR_ARG(name));
    if (!backend_endpoint(s, svc, port, &ip, &at))
        return err_set(e, -ENOENT, "no endpoints available for service \"" STR_FMT "\"", STR_ARG(name));
    const char *host = arena_cstr(a, ip);
    if (!backend_address_allowed(s, host))
        return err_set(e, -EACCES, "address %s of service \"" STR_FMT "\" is not allowed", host, STR_ARG(name));
    *ret = str_of(net_join(a, host, (uint16_t)at));
    return 0;
}

/* What of an answer is rewritten: addresses in its Location and in a page's links (apimachinery's util/proxy). Packed
 * pages are unpacked whole, up to a bound; larger ones pass as they are. */
enum { PACKED_MAX = 4 << 20, UNPACKED_MAX = 32 << 20 };

struct rewrite {
    struct link_base base;
    struct html_links links;
    bool packed;
    struct buf whole; /* of a packed page */
};

static bool is_cors(struct str name)
{
    return str_is(name, "access-control-allow-credentials") || str_is(name, "access-control-allow-headers") ||
           str_is(name, "access-control-allow-methods") || str_is(name, "access-control-allow-origin");
}

static struct str rewrite_header(void *ctx, struct arena *a, struct str name, struct str value)
{
    const struct rewrite *w = ctx;
    if (is_cors(name)) /* whom a backend trusts must not read the API server's answers for it */
        return STR_NULL;
    if (!str_is(name, "location") || !w->base.prefix.n)
        return value;
    return link_rewrite(&w->base, a, value);
}

static bool wants_rewriting(void *ctx, const struct http_call *call)
{
    struct rewrite *w = ctx;
    struct str type, rest, encoding = http_header(&call->headers, "content-encoding");
    str_cut(http_header(&call->headers, "content-type"), ';', &type, &rest);
    if (!w->base.prefix.n || !str_is(str_trim(type), "text/html") || http_header(&call->headers, "location").n)
        return false;
    w->packed = str_is(encoding, "gzip");
    return w->packed ? call->content_length <= PACKED_MAX : !encoding.n;
}

static void repack(struct rewrite *w, struct buf *ret)
{
    struct buf plain CLEANUP_BUF = BUF_INIT, page CLEANUP_BUF = BUF_INIT;
    if (gzip_inflate(&plain, buf_str(&w->whole), UNPACKED_MAX) < 0) {
        buf_putstr(ret, buf_str(&w->whole));
        return;
    }
    html_links_feed(&w->links, buf_str(&plain), true, &page);
    gzip_deflate(ret, buf_str(&page), 1);
}

static void rewrite_piece(void *ctx, struct str piece, bool end, struct buf *ret)
{
    struct rewrite *w = ctx;
    if (!w->packed) {
        html_links_feed(&w->links, piece, end, ret);
        return;
    }
    buf_putstr(&w->whole, piece);
    if (w->whole.n > PACKED_MAX) { /* its length was not said, and it is too much */
        buf_putstr(ret, buf_str(&w->whole));
        buf_clear(&w->whole);
        w->packed = false;
        w->links.base = NULL;
    } else if (end) {
        repack(w, ret);
    }
}

static struct str authority_of(struct str url)
{
    ssize_t at = str_find(url, '/');
    struct str rest = at < 0 ? url : str_from(url, (size_t)at + 2), host, path;
    str_cut(rest, '/', &host, &path);
    return host;
}

/* The protocols that are asked for, but not the token that came among them (authn.c). */
static struct str without_token(struct arena *a, struct str protocols)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str one;
    while (str_next(&protocols, ',', &one))
        if (!str_starts(str_trim(one), STR(WEBSOCKET_TOKEN)))
            buf_printf(&b, "%s%.*s", b.n ? ", " : "", STR_ARG(str_trim(one)));
    return arena_str(a, buf_str(&b));
}

/* Who the client is concerns this server alone: headers that do not go on, with an empty value. room: for the caller's. */
static size_t no_credentials(struct request *r, size_t room, struct http_header **ret)
{
    static const char *const secret[] = {"authorization", "impersonate-", "x-remote-"};
    const struct http_headers *h = &r->x->headers;
    struct http_header *list = ARENA_ARRAY(r->arena, struct http_header, h->n + room);
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        for (size_t j = 0; j < ARRAY_SIZE(secret); j++)
            if (str_starts(h->items[i].name, str_of(secret[j])))
                list[n++] = (struct http_header){h->items[i].name, STR("")};
        if (str_is(h->items[i].name, "sec-websocket-protocol"))
            list[n++] = (struct http_header){h->items[i].name, without_token(r->arena, h->items[i].value)};
    }
    *ret = list;
    return n;
}

int backend_proxy(struct request *r, struct http_client *c, struct str url, struct str prefix)
{
    struct rewrite w = {.base = {.prefix = prefix, .backend = authority_of(url), .host = r->x->host}};
    w.links.base = &w.base;
    struct http_header *headers;
    size_t n = no_credentials(r, 1, &headers);
    if (prefix.n)
        headers[n++] = (struct http_header){STR("x-forwarded-uri"), r->x->path};
    struct http_proxy p = {.client = c, .peer_cn = c == r->server->kubelet ? r->kubelet_cn : NULL, .url = arena_cstr(r->arena, url), .headers = headers,
        .n_headers = n, .response_header = rewrite_header, .response_filter = wants_rewriting, .response_piece = rewrite_piece,
        .ctx = &w};
    struct err e = {0};
    int x = http_proxy(r->x, &p, &e);
    html_links_done(&w.links);
    buf_done(&w.whole);
    if (x < 0)
        return status_set(&r->status, 503, "ServiceUnavailable", "error trying to reach service: %s",
                          err_text(&e, x));
    r->answer.kind = ANSWER_SENT;
    r->answer.code = r->x->status;
    return 0;
}

int backend_forward(struct request *r, struct http_client *c, struct str url, const struct http_header *add, size_t n_add, struct err *e)
{
    struct rewrite w = {.base = {.prefix = STR("")}};
    struct http_header *headers;
    size_t n = no_credentials(r, n_add, &headers);
    memcpy(headers + n, add, n_add * sizeof(*add));
    struct http_proxy p = {.client = c, .url = arena_cstr(r->arena, url), .headers = headers, .n_headers = n + n_add,
                           .response_header = rewrite_header, .ctx = &w};
    int x = http_proxy(r->x, &p, e);
    if (x < 0)
        return x;
    r->answer.kind = ANSWER_SENT;
    r->answer.code = r->x->status;
    return 0;
}
