/* SPDX-License-Identifier: Apache-2.0 */
/* pods/proxy, services/proxy, nodes/proxy: [scheme:]name[:port] and a path, carried to where it leads. */
#include "apiserver/admit.h"
#include "apiserver/backend.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "base/os.h"
#include "names.h"
#include "net/resolve.h"
#include "resources.h"
#include "type/meta.h"

#include <arpa/inet.h>

struct target {
    struct str scheme, name, port;
};

static int split_target(struct request *r, struct target *ret)
{
    struct str parts[3], rest = r->info.name;
    size_t n = 0;
    while (n < 3 && str_next(&rest, ':', &parts[n]))
        n++;
    if (rest.p)
        return status_bad_request(&r->status, "invalid name \"%.*s\"", STR_ARG(r->info.name));
    struct target t = {.scheme = STR("http"), .name = parts[0]};
    if (n == 3) {
        t = (struct target){
            .scheme = parts[0].n ? parts[0] : STR("http"), .name = parts[1], .port = parts[2]};
    } else if (n == 2) {
        t.port = parts[1];
    }
    if (!str_is(t.scheme, "http") && !str_is(t.scheme, "https"))
        return status_bad_request(&r->status, "invalid scheme \"%.*s\"", STR_ARG(t.scheme));
    *ret = t;
    return 0;
}

/* The path of the proxy itself needs its slash, or relative links go astray. */
static bool redirect(struct request *r)
{
    struct str path = r->x->path;
    bool reads = str_is(r->x->method, "GET") || str_is(r->x->method, "HEAD");
    if (r->info.rest.n || !reads || path.p[path.n - 1] == '/' || http_wants_upgrade(r->x, NULL))
        return false;
    http_add_header(
        r->x, "Location",
        arena_printf(r->arena, "%.*s/%s%.*s", STR_ARG(path), r->query.n ? "?" : "", STR_ARG(r->query)));
    answer_text(r, 301, NULL, STR(""));
    return true;
}

static struct str own_prefix(struct request *r)
{
    struct str path = r->x->path;
    size_t rest = r->info.rest.n;
    if (!rest && path.n && path.p[path.n - 1] == '/')
        rest = 1;
    return str_n(path.p, path.n - rest);
}

static int forward(struct request *r, struct http_client *c, struct str base)
{
    struct str rest = r->info.rest.n ? r->info.rest : STR("/");
    return backend_proxy(r, c,
                         arena_printf(r->arena, "%.*s%.*s%s%.*s", STR_ARG(base), STR_ARG(rest),
                                      r->query.n ? "?" : "", STR_ARG(r->query)),
                         own_prefix(r));
}

static int forward_to(struct request *r, struct str scheme, struct str host, int64_t port)
{
    if (!backend_address_allowed(r->server, arena_cstr(r->arena, host)))
        return status_set(&r->status, 503, "ServiceUnavailable", "address not allowed");
    const char *at = net_join(r->arena, arena_cstr(r->arena, host), (uint16_t)port);
    return forward(r, r->server->outside, arena_printf(r->arena, "%.*s://%s", STR_ARG(scheme), at));
}

/* ---- pods -------------------------------------------------------------------------------------------- */

static int64_t first_port(const struct val *pod)
{
    VAL_EACH(val_at(pod, N_spec, N_containers), c)
        VAL_EACH(val_get(c, N_ports), p)
            return val_int(val_get(p, N_containerPort), 0);
    return 80;
}

int sub_pod_proxy(struct request *r)
{
    struct target t;
    int64_t port = 0;
    int e = split_target(r, &t);
    if (e || redirect(r))
        return e;
    if ((e = admit_connect(r)) || (e = cache_fresh(r->server->cache)) < 0)
        return e;
    const struct object *pod = cache_get(r->kind, r->info.ns, t.name);
    if (!pod)
        return status_not_found(&r->status, r->res, t.name);
    request_hold(r, pod);
    struct str ip = val_str(val_at(pod->val, N_status, N_podIP));
    if (!ip.n)
        return status_set(&r->status, 503, "ServiceUnavailable", "address not allowed");
    if (!t.port.n)
        port = first_port(pod->val);
    else if (str_to_i64(t.port, &port) || port < 1 || port > 65535)
        return status_bad_request(&r->status, "invalid port \"%.*s\"", STR_ARG(t.port));
    return forward_to(r, t.scheme, ip, port);
}

/* ---- services ---------------------------------------------------------------------------------------- */

int sub_service_proxy(struct request *r)
{
    struct target t;
    struct str ip;
    int64_t port;
    int e = split_target(r, &t);
    if (e || redirect(r))
        return e;
    if ((e = admit_connect(r)) || (e = cache_fresh(r->server->cache)) < 0)
        return e;
    const struct object *svc = cache_get(r->kind, r->info.ns, t.name);
    if (!svc)
        return status_not_found(&r->status, r->res, t.name);
    if (!backend_endpoint(r->server, svc, backend_service_port(svc->val, t.port), &ip, &port))
        return status_set(&r->status, 503, "ServiceUnavailable",
                          "no endpoints available for service \"%.*s\"", STR_ARG(t.name));
    return forward_to(r, t.scheme, arena_str(r->arena, ip), port);
}

/* ---- nodes ------------------------------------------------------------------------------------------- */

int sub_node_proxy(struct request *r)
{
    struct target t;
    struct str base;
    int e = split_target(r, &t);
    if (e || redirect(r))
        return e;
    if ((e = admit_connect(r)) || (e = cache_fresh(r->server->cache)) < 0)
        return e;
    if ((e = backend_kubelet(r, t.name, &base)))
        return e;
    return forward(r, r->server->kubelet, base);
}
