/* SPDX-License-Identifier: Apache-2.0 */
/* What the kubelet answers over HTTPS: logs, exec and the like for the API server, state and numbers for others. */
#include "client/serving.h"
#include "client/zpages.h"
#include "net/http.h"

#include "net/resolve.h"
#include "net/tls.h"
#include "net/url.h"
#include "node/configz.h"
#include "node/kubelet-internal.h"
#include "types.h"
#include "wire/json.h"

enum { PARTS_MAX = 8, COMMAND_MAX = 256 };

#define TEXT "text/plain; charset=utf-8"

static void refuse(struct http_exchange *x, int code, const char *fmt, ...) PRINTF(3, 4);
static void refuse(struct http_exchange *x, int code, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    http_respond(x, code, TEXT, buf_str(&b));
    buf_done(&b);
}

/* ---- Pods ---------------------------------------------------------------------------------------------------- */

struct worker *server_find(struct kubelet *k, struct str ns, struct str name, struct str uid)
{
    struct worker *found = NULL;
    MAP_EACH (&k->workers, e) {
        struct worker *w = e->value;
        if (!w->pod || !str_is(ns, w->ns) || !str_is(name, w->name) || (uid.n && !str_is(uid, w->uid)))
            continue;
        if (!found || found->stage > w->stage)
            found = w;
    }
    return found;
}

static void serve_pods(struct kubelet *k, struct http_exchange *x)
{
    struct arena *a = &x->arena;
    struct val *list = val_new(a, VAL_OBJ), *items;
    struct buf b = BUF_INIT;
    val_set_str(a, list, N_kind, STR("PodList"));
    val_set_str(a, list, N_apiVersion, STR("v1"));
    items = val_sub_list(a, list, N_items);
    MAP_EACH (&k->workers, e) {
        const struct worker *w = e->value;
        struct val *pod = w->api ? val_copy_shallow(a, w->api->val) : NULL;
        if (!pod)
            continue;
        if (w->status)
            val_set(a, pod, N_status, *val_copy(a, w->status));
        val_add(a, items, *pod);
    }
    json_encode(&b, type_at(T_core_v1_PodList), list, 0);
    http_respond(x, 200, "application/json", buf_str(&b));
    buf_done(&b);
}

/* ---- streams -------------------------------------------------------------------------------------------------- */

static struct str find_container_id(struct worker *w, struct str name)
{
    const struct rt_container *c = podstate_find(w->state, name);
    return c && c->state == RT_RUNNING ? c->id : STR_NULL;
}

/* The runtime answers upgrades itself, on a port of this machine. */
static void proxy_to(struct kubelet *k, struct http_exchange *x, struct str url)
{
    struct http_proxy p = {.client = k->http, .url = arena_cstr(&x->arena, url)};
    struct err e = {{0}};
    if (http_proxy(x, &p, &e) < 0)
        refuse(x, 502, "cannot reach the container runtime's streaming server: %s", e.text);
}

static struct runtime_streams streams_of(struct http_exchange *x)
{
    struct arena *a = &x->arena;
    return (struct runtime_streams){
        .stdin_ = query_bool(a, x->query, "input", false) || query_bool(a, x->query, "stdin", false),
        .stdout_ = query_bool(a, x->query, "output", false) || query_bool(a, x->query, "stdout", false),
        .stderr_ = query_bool(a, x->query, "error", false) || query_bool(a, x->query, "stderr", false),
        .tty = query_bool(a, x->query, "tty", false),
    };
}

static size_t command_of(struct http_exchange *x, struct str *ret)
{
    struct str rest = x->query, key, value;
    size_t n = 0;
    while (query_next(&x->arena, &rest, &key, &value))
        if (str_is(key, "command") && n < COMMAND_MAX)
            ret[n++] = value;
    return n;
}

static void serve_exec(struct kubelet *k, struct http_exchange *x, struct worker *w, struct str container, bool attach)
{
    struct str *command = ARENA_ARRAY(&x->arena, struct str, COMMAND_MAX), url;
    struct runtime_streams s = streams_of(x);
    struct str id = find_container_id(w, container);
    struct err e = {{0}};
    if (!s.stdin_ && !s.stdout_ && !s.stderr_) {
        refuse(x, 400, "you must specify at least 1 of stdin, stdout, stderr");
        return;
    }
    if (!id.n) {
        refuse(x, 404, "container not found (\"" STR_FMT "\")", STR_ARG(container));
        return;
    }
    id = arena_str(&x->arena, id);
    int rc = attach ? runtime_attach_url(k->rt, id, &s, &x->arena, &url, &e)
                    : runtime_exec_url(k->rt, id, command, command_of(x, command), &s, &x->arena, &url, &e);
    if (rc != 0)
        refuse(x, 500, "%s", err_text(&e, rc));
    else
        proxy_to(k, x, url);
}

static void serve_port_forward(struct kubelet *k, struct http_exchange *x, struct worker *w)
{
    const struct rt_sandbox *box = podstate_active_sandbox(w->state);
    struct str url;
    struct err e = {{0}};
    if (!box) {
        refuse(x, 404, "pod sandbox not found");
        return;
    }
    int rc = runtime_port_forward_url(k->rt, arena_str(&x->arena, box->id), &x->arena, &url, &e);
    if (rc != 0)
        refuse(x, 500, "%s", err_text(&e, rc));
    else
        proxy_to(k, x, url);
}

/* One command to its end, its output as the answer. */
static void serve_run(struct kubelet *k, struct http_exchange *x, struct worker *w, struct str container)
{
    struct arena *a = &x->arena;
    struct str id = arena_str(a, find_container_id(w, container)), text, word;
    struct val *command = val_new(a, VAL_LIST);
    struct runtime_exec out;
    struct err e = {{0}};
    if (!query_get(a, x->query, "cmd", &text) || !id.n) {
        refuse(x, id.n ? 400 : 404, id.n ? "cmd is missing" : "container not found");
        return;
    }
    while (str_next(&text, ' ', &word))
        if (word.n)
            val_add_str(a, command, word);
    int rc = runtime_exec_sync(k->rt, id, command, 0, a, &out, &e);
    struct str parts[] = {out.out, out.err};
    if (rc != 0)
        refuse(x, 500, "%s", err_text(&e, rc));
    else
        http_respond(x, out.exit_code ? 500 : 200, TEXT, arena_join(a, parts, 2, STR("")));
}

/* ---- routes --------------------------------------------------------------------------------------------------- */

/* Decoded parts of the path after its first one. */
static size_t split_path(struct http_exchange *x, struct str *ret_first, struct str *ret)
{
    struct str rest = str_from(x->path, 1), part;
    size_t n = 0;
    *ret_first = STR("");
    if (str_next(&rest, '/', &part))
        *ret_first = part;
    while (n < PARTS_MAX && str_next(&rest, '/', &part))
        if (url_decode(&x->arena, part, false, &ret[n]) == 0)
            n++;
    if (n && !ret[n - 1].n) /* a slash at the end */
        n--;
    return n;
}

/* /first/namespace/pod[/uid]/container or, without containers, /first/namespace/pod[/uid] */
static struct worker *find_pod(struct kubelet *k, struct http_exchange *x, const struct str *p, size_t n,
                               bool has_container, struct str *ret_container)
{
    size_t rest = has_container ? 1 : 0;
    if (n != 2 + rest && n != 3 + rest) {
        refuse(x, 404, "404 page not found\n");
        return NULL;
    }
    struct worker *w = server_find(k, p[0], p[1], n == 3 + rest ? p[2] : STR_NULL);
    if (!w) {
        refuse(x, 404, "pod \"" STR_FMT "\" does not exist\n", STR_ARG(p[1]));
        return NULL;
    }
    if (has_container) {
        *ret_container = p[n - 1];
        if (!pod_find_container(worker_pod(w), p[n - 1], NULL)) {
            refuse(x, 404, "container \"" STR_FMT "\" not found in pod \"" STR_FMT "\"\n", STR_ARG(p[n - 1]), STR_ARG(p[1]));
            return NULL;
        }
    }
    return w;
}

static void serve_config(struct kubelet *k, struct http_exchange *x)
{
    struct buf b = BUF_INIT;
    configz_encode(&b, &k->cfg);
    http_respond(x, 200, "application/json", buf_str(&b));
    buf_done(&b);
}

static void route_pod(struct kubelet *k, struct http_exchange *x, struct str first, const struct str *p, size_t n)
{
    struct str container = STR_NULL;
    struct worker *w;
    if (str_is(first, "portForward")) {
        if ((w = find_pod(k, x, p, n, false, &container)))
            serve_port_forward(k, x, w);
        return;
    }
    if (!(w = find_pod(k, x, p, n, true, &container)))
        return;
    if (str_is(first, "containerLogs"))
        serve_logs(k, x, w, container);
    else if (str_is(first, "run"))
        serve_run(k, x, w, container);
    else
        serve_exec(k, x, w, container, str_is(first, "attach"));
}

static bool route_zpages(struct kubelet *k, struct http_exchange *x)
{
    static const char *const paths[] = {"/configz", "/debug", "/flagz", "/healthz", "/metrics", "/pods", "/statusz", NULL};
    return zpages_answer(&(struct zpages){.component = "kubelet", .flags = k->cfg.flags, .started = k->started, .paths = paths}, x);
}

static void route(struct kubelet *k, struct http_exchange *x)
{
    static const char *const of_pods[] = {"containerLogs", "exec", "attach", "portForward", "run"};
    struct str first, parts[PARTS_MAX];
    size_t n = split_path(x, &first, parts);
    for (size_t i = 0; i < ARRAY_SIZE(of_pods); i++)
        if (str_is(first, of_pods[i])) {
            route_pod(k, x, first, parts, n);
            return;
        }
    if (route_zpages(k, x))
        return;
    if (str_is(first, "healthz"))
        http_respond(x, 200, TEXT, STR("ok"));
    else if (str_is(first, "pods") || str_is(first, "runningpods"))
        serve_pods(k, x);
    else if (str_is(first, "stats") && n == 1 && str_is(parts[0], "summary"))
        serve_stats(k, x);
    else if (str_is(first, "metrics") && n <= 1)
        serve_metrics(k, x, n ? parts[0] : STR(""));
    else if (str_is(first, "configz"))
        serve_config(k, x);
    else if (str_is(first, "logs"))
        serve_system_logs(k, x);
    else if (str_is(first, "shutdown") && n == 0)
        serve_shutdown(k, x);
    else
        refuse(x, 404, "404 page not found\n");
}

static void handle(void *ctx, struct http_exchange *x)
{
    struct kubelet *k = ctx;
    if (x->path.n && x->path.p[0] == '/' && server_allows(k, x))
        route(k, x);
}

/* ---- starting -------------------------------------------------------------------------------------------------- */

static int make_tls(struct kubelet *k, struct tls_server **ret, struct err *e)
{
    struct buf cert CLEANUP_BUF = BUF_INIT, key CLEANUP_BUF = BUF_INIT;
    struct tls_keypair pair = {k->cfg.tls_cert, k->cfg.tls_key};
    if (!pair.cert_pem.n) {
        const char **ips = ARENA_ARRAY(&k->arena, const char *, k->n_ips + 1);
        for (size_t i = 0; i < k->n_ips; i++)
            ips[i] = arena_cstr(&k->arena, k->ips[i]);
        int r = serving_certificate(k->cfg.hostname, ips, &cert, &key, e);
        if (r < 0)
            return err_wrap(e, r, "the kubelet's certificate");
        pair = (struct tls_keypair){buf_str(&cert), buf_str(&key)};
    }
    struct tls_server_config c = {.keys = &pair, .n_keys = 1, .client_ca = k->cfg.client_ca,
                                  .client_auth = k->cfg.client_ca.n ? TLS_CLIENT_REQUEST : TLS_CLIENT_NONE};
    return tls_server_new(&c, ret, e);
}

static void handle_healthz(void *ctx, struct http_exchange *x)
{
    http_respond(x, str_starts(x->path, STR("/healthz")) ? 200 : 404, TEXT,
                 str_starts(x->path, STR("/healthz")) ? STR("ok") : STR("404 page not found\n"));
}

int server_start(struct kubelet *k, struct err *e)
{
    struct tls_server *tls;
    char address[128];
    int r = make_tls(k, &tls, e);
    if (r < 0)
        return r;
    k->server = http_server_new(&(const struct http_server_config){.handler = handle, .ctx = k, .tls = tls});
    tls_server_unref(tls);
    r = http_server_listen(k->server, k->cfg.listen, e);
    if (r == 0 && http_server_address(k->server, address, sizeof(address)) == 0) {
        struct arena a = ARENA_INIT;
        char *host;
        uint16_t port = 0;
        if (net_split(&a, str_of(address), &host, &port) == 0)
            k->server_port = port;
        arena_done(&a);
    }
    if (r == 0 && k->cfg.healthz_listen) {
        k->healthz = http_server_new(&(const struct http_server_config){.handler = handle_healthz, .ctx = k});
        r = http_server_listen(k->healthz, k->cfg.healthz_listen, e);
    }
    return r;
}

void server_stop(struct kubelet *k)
{
    if (k->server) {
        http_server_stop(k->server, os_mono());
        http_server_free(k->server);
    }
    if (k->healthz) {
        http_server_stop(k->healthz, os_mono());
        http_server_free(k->healthz);
    }
    k->server = k->healthz = NULL;
    server_auth_forget(k);
}
