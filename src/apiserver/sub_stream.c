/* SPDX-License-Identifier: Apache-2.0 */
/* pods/log, exec, attach, portforward: on to the pod's kubelet. */
#include "apiserver/admit.h"
#include "apiserver/auth.h"
#include "apiserver/backend.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "base/base64.h"
#include "base/os.h"
#include "names.h"
#include "net/remotecommand.h"
#include "net/url.h"
#include "net/websocket.h"
#include "type/meta.h"

static const name_id container_lists[] = {N_containers, N_initContainers, N_ephemeralContainers};

static bool has_container(const struct val *pod, struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(container_lists); i++)
        VAL_EACH(val_at(pod, N_spec, container_lists[i]), c)
            if (str_eq(val_getstr(c, N_name), name))
                return true;
    return false;
}

static struct str container_names(struct request *r, const struct val *pod)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    VAL_EACH(val_at(pod, N_spec, N_containers), c)
        buf_printf(&b, "%s%.*s", b.n ? " " : "", STR_ARG(val_getstr(c, N_name)));
    return arena_str(r->arena, buf_str(&b));
}

/* Which container: the named one, or the only one. */
static int choose_container(struct request *r, const struct object *pod, struct str *ret)
{
    const struct val *list = val_at(pod->val, N_spec, N_containers);
    struct str name = STR_NULL;
    query_get(r->arena, r->query, "container", &name);
    if (name.n && !has_container(pod->val, name))
        return status_bad_request(&r->status, "container %.*s is not valid for pod %.*s", STR_ARG(name),
                                  STR_ARG(pod->name));
    if (!name.n && val_len(list) != 1)
        return status_bad_request(&r->status,
                                  "a container name must be specified for pod %.*s, choose one of: [%.*s]",
                                  STR_ARG(pod->name), STR_ARG(container_names(r, pod->val)));
    *ret = name.n ? name : val_getstr(val_item(list, 0), N_name);
    return 0;
}

static int pod_base(struct request *r, const struct object *pod, struct str *ret)
{
    struct str node = val_str(val_at(pod->val, N_spec, N_nodeName));
    if (!node.n)
        return status_bad_request(&r->status, "pod %.*s does not have a host assigned", STR_ARG(pod->name));
    return backend_kubelet(r, node, ret);
}

static void put_segment(struct buf *b, struct str s)
{
    buf_putc(b, '/');
    url_encode_segment(b, s);
}

/* <kubelet>/<what>/<namespace>/<pod>[/<container>]? */
static int pod_url(struct request *r, const struct object *pod, const char *what, bool container,
                   struct buf *b)
{
    struct str base, name = STR_NULL;
    int e = container ? choose_container(r, pod, &name) : 0;
    if (!e)
        e = pod_base(r, pod, &base);
    if (e)
        return e;
    buf_putstr(b, base);
    buf_printf(b, "/%s", what);
    put_segment(b, pod->namespace_);
    put_segment(b, pod->name);
    if (container)
        put_segment(b, name);
    buf_putc(b, '?');
    return 0;
}

/* ---- log --------------------------------------------------------------------------------------------- */

static const char *const log_params[] = {"follow",     "previous",  "sinceSeconds", "sinceTime",
                                         "timestamps", "tailLines", "limitBytes",   "stream"};

static int check_number(struct request *r, const char *key, int64_t min)
{
    struct str v;
    int64_t n;
    if (!query_get(r->arena, r->query, key, &v) || !v.n)
        return 0;
    if (str_to_i64(v, &n))
        return status_bad_request(&r->status, "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
                                  STR_ARG(v));
    struct val bad = val_of_int(n);
    if (n < min)
        cause_invalid(&r->status, str_of(key), &bad,
                      min ? "must be greater than 0" : "must be greater than or equal to 0");
    return status_invalid(&r->status, STR(""), STR("PodLogOptions"), r->info.name);
}

static int check_log_options(struct request *r)
{
    struct str since_seconds = STR_NULL, since_time = STR_NULL;
    int e = check_number(r, "tailLines", 0);
    if (!e)
        e = check_number(r, "limitBytes", 1);
    if (!e)
        e = check_number(r, "sinceSeconds", 1);
    query_get(r->arena, r->query, "sinceSeconds", &since_seconds);
    query_get(r->arena, r->query, "sinceTime", &since_time);
    if (e || !since_seconds.n || !since_time.n)
        return e;
    cause_forbidden(&r->status, STR(""), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    return status_invalid(&r->status, STR(""), STR("PodLogOptions"), r->info.name);
}

/* The kubelet refused: its answer is the client's. */
static int pass_answer(struct request *r, struct http_call *call)
{
    struct str body = STR_NULL;
    http_call_read_all(call, 1 << 20, mono_add(os_mono(), SECONDS(10)), &body);
    struct str type = http_header(&call->headers, "content-type");
    answer_text(r, call->status, arena_cstr(r->arena, type.n ? type : STR("text/plain")),
                arena_str(r->arena, body));
    return 0;
}

/* ---- logs as messages -------------------------------------------------------------------------------------
 * A WebSocket client gets the log in messages of the protocol it chose, plain by default; what it sends is ignored. */

enum { LOG_PIECE = 32768 };
static const char *const log_protocols[] = {"binary.k8s.io", "base64.binary.k8s.io", "", NULL};

struct log_socket {
    struct websocket *w;
    struct http_call *call;
};

/* A log that is followed may be silent for long: the client's end is its own news. */
static void watch_client(void *arg)
{
    struct log_socket *s = arg;
    struct websocket_message ignored;
    while (websocket_read(s->w, &ignored, MONO_NEVER) == 0)
        ;
    http_call_abort(s->call);
}

static void send_log(struct arena *a, struct log_socket *s)
{
    CLEANUP_BUF struct buf text = BUF_INIT;
    char *piece = arena_alloc(a, LOG_PIECE);
    bool encoded = !strcmp(websocket_protocol(s->w), "base64.binary.k8s.io");
    ssize_t n;
    int e = 0;
    while (!e && (n = http_call_read(s->call, piece, LOG_PIECE, MONO_NEVER)) > 0) {
        text.n = 0;
        if (encoded)
            base64_put(&text, str_n(piece, (size_t)n));
        e = websocket_write(s->w, encoded ? WS_TEXT : WS_BINARY, encoded ? buf_str(&text) : str_n(piece, (size_t)n),
                            mono_add(os_mono(), SECONDS(60)));
    }
    if (!e)
        websocket_close(s->w, n < 0 ? 1011 : 1000, "", mono_add(os_mono(), SECONDS(5)));
}

static int log_messages(struct request *r, struct str url)
{
    struct err e = {0};
    struct log_socket s = {0};
    struct http_request q = {.url = arena_cstr(r->arena, url), .peer_cn = r->kubelet_cn};
    int x = http_do(r->server->kubelet, &q, mono_add(os_mono(), SECONDS(30)), &s.call, &e);
    if (x < 0)
        return status_set(&r->status, 503, "ServiceUnavailable", "error trying to reach service: %s", err_text(&e, x));
    if (s.call->status != 200) {
        pass_answer(r, s.call);
    } else {
        r->answer.kind = ANSWER_SENT;
        r->answer.code = 101;
        if (websocket_accept(r->x, log_protocols, &s.w, &e) == 0) {
            struct group g = {0};
            group_spawn(&g, "log client", watch_client, &s);
            send_log(r->arena, &s);
            group_stop(&g);
        } else {
            r->answer.code = r->x->status;
        }
    }
    websocket_free(s.w);
    http_call_free(s.call);
    return 0;
}

int sub_log(struct request *r)
{
    CLEANUP_BUF struct buf url = BUF_INIT;
    const struct object *pod = NULL;
    int e = find_named(r, &pod);
    if (!e)
        e = check_log_options(r);
    if (!e)
        e = pod_url(r, pod, "containerLogs", true, &url);
    if (e)
        return e;
    for (size_t i = 0; i < ARRAY_SIZE(log_params); i++) {
        struct str v;
        if (query_get(r->arena, r->query, log_params[i], &v))
            query_add(&url, log_params[i], v);
    }
    if (websocket_wanted(r->x))
        return log_messages(r, buf_str(&url));
    return backend_proxy(r, r->server->kubelet, buf_str(&url), STR(""));
}

/* ---- exec and attach --------------------------------------------------------------------------------- */

static void exec_query(struct request *r, struct buf *url)
{
    static const struct {
        const char *ours, *kubelets;
    } params[] = {{"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}};
    struct str rest = r->query, k, v;
    while (query_next(r->arena, &rest, &k, &v))
        if (str_is(k, "command"))
            query_add(url, "command", v);
    for (size_t i = 0; i < ARRAY_SIZE(params); i++)
        if (query_bool(r->arena, r->query, params[i].ours, false))
            query_add(url, params[i].kubelets, STR("1"));
}

static int unreachable(struct request *r, const struct err *e, int error)
{
    return status_internal(&r->status, "error dialing backend: %s", err_text(e, error));
}

/* A WebSocket client and a kubelet that speaks SPDY (KEP-4006): the channels are carried over. */
static int translate(struct request *r, struct str url)
{
    struct rc_options o;
    struct err e = {0};
    struct rc_session *backend = NULL, *client = NULL;
    struct http_call *call = NULL;
    struct mono deadline = mono_add(os_mono(), SECONDS(30));
    if (rc_options_parse(r->arena, r->query, &o, &e) < 0)
        return status_bad_request(&r->status, "%s", err_text(&e, -EINVAL));
    struct http_request q = {.method = "POST", .url = arena_cstr(r->arena, url), .peer_cn = r->kubelet_cn};
    int x = rc_connect(r->server->kubelet, &q, &o, false, deadline, &backend, &call, &e);
    if (x == HTTP_NO_UPGRADE)
        pass_answer(r, call);
    else if (x < 0)
        unreachable(r, &e, x);
    if (x == 0) {
        r->answer.kind = ANSWER_SENT;
        r->answer.code = 101;
        if (rc_accept(r->x, &o, deadline, &client, &e) == 0)
            rc_bridge(client, backend);
        rc_free(client);
        rc_free(backend);
    }
    http_call_free(call);
    return r->status.code;
}

int sub_exec(struct request *r)
{
    CLEANUP_BUF struct buf url = BUF_INIT;
    const struct object *pod = NULL;
    int e = require_verb(r, STR("create"));
    if (!e)
        e = find_named(r, &pod);
    if (!e)
        e = admit_connect(r);
    if (!e)
        e = pod_url(r, pod, r->sub->name, true, &url);
    if (e)
        return e;
    exec_query(r, &url);
    if (websocket_wanted(r->x))
        return translate(r, buf_str(&url));
    return backend_proxy(r, r->server->kubelet, buf_str(&url), STR(""));
}

/* ---- portforward ------------------------------------------------------------------------------------- */

int sub_portforward(struct request *r)
{
    CLEANUP_BUF struct buf url = BUF_INIT;
    const struct object *pod = NULL;
    struct err err = {0};
    int e = require_verb(r, STR("create"));
    if (!e)
        e = find_named(r, &pod);
    if (!e)
        e = admit_connect(r);
    if (!e)
        e = pod_url(r, pod, "portForward", false, &url);
    if (e)
        return e;
    struct str rest = r->query, k, v;
    while (query_next(r->arena, &rest, &k, &v))
        if (str_is(k, "ports"))
            query_add(&url, "port", v);
    if (url.p[url.n - 1] == '?')
        url.n--;
    if (!pf_tunnel_wanted(r->x))
        return backend_proxy(r, r->server->kubelet, buf_str(&url), STR(""));
    struct http_request q = {.method = "POST", .url = arena_cstr(r->arena, buf_str(&url)), .peer_cn = r->kubelet_cn};
    int x = pf_tunnel(r->x, r->server->kubelet, &q, &err);
    if (x < 0)
        return unreachable(r, &err, x);
    r->answer.kind = ANSWER_SENT;
    r->answer.code = 101;
    return 0;
}
