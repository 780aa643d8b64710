/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/backend.h"

#include "apiserver/auth.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "names.h"
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
    s->kubelet = http_client_new(&(struct http_client_config){.tls = s->kubelet_tls});
    s->outside = http_client_new(&(struct http_client_config){.tls = open});
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

/* Names are for those who run the cluster's DNS to answer for; addresses we can judge ourselves. */
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

struct rewrite {
    struct str prefix;
};

static struct str rewrite_header(void *ctx, struct arena *a, struct str name, struct str value)
{
    const struct rewrite *w = ctx;
    if (!str_is(name, "location") || !w->prefix.n || !value.n || value.p[0] != '/')
        return value;
    return arena_printf(a, "%.*s%.*s", STR_ARG(w->prefix), STR_ARG(value));
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

/* Who the client is concerns this server alone: headers that do not go on, with an empty value. */
static size_t no_credentials(struct request *r, struct http_header **ret)
{
    static const char *const secret[] = {"authorization", "impersonate-", "x-remote-"};
    const struct http_headers *h = &r->x->headers;
    struct http_header *list = ARENA_ARRAY(r->arena, struct http_header, h->n + 1);
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
    struct rewrite w = {.prefix = prefix};
    struct http_header *headers;
    size_t n = no_credentials(r, &headers);
    struct http_proxy p = {.client = c, .peer_cn = c == r->server->kubelet ? r->kubelet_cn : NULL, .url = arena_cstr(r->arena, url), .headers = headers,
        .n_headers = n, .response_header = rewrite_header, .ctx = &w};
    struct err e = {0};
    int x = http_proxy(r->x, &p, &e);
    if (x < 0)
        return status_set(&r->status, 503, "ServiceUnavailable", "error trying to reach service: %s",
                          err_text(&e, x));
    r->answer.kind = ANSWER_SENT;
    r->answer.code = r->x->status;
    return 0;
}
