/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/webhook.h"

#include "apiserver/backend.h"
#include "apiserver/peers.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "names.h"
#include "net/url.h"
#include "wire/json.h"

enum { DEFAULT_SECONDS = 30, SERVICE_PORT = 443 };

/* ---- where to ------------------------------------------------------------------------------------------- */

struct target {
    struct str url;         /* what to connect to */
    struct str named;       /* the same as the configuration names it: for people */
    struct str host;        /* Host header; empty: that of the URL */
    struct str server_name; /* to verify; empty: that of the URL */
};

static int service_target(struct apiserver *s, struct arena *a, const struct val *service, struct str query, struct target *ret,
                          struct err *e)
{
    struct str ns = val_getstr(service, N_namespace), name = val_getstr(service, N_name), path = val_getstr(service, N_path), at;
    int64_t port = val_int(val_get(service, N_port), SERVICE_PORT);
    const char *slash = path.n && path.p[0] == '/' ? "" : "/";
    struct target t = {.server_name = arena_printf(a, STR_FMT "." STR_FMT ".svc", STR_ARG(name), STR_ARG(ns))};
    t.host = arena_printf(a, STR_FMT ":%lld", STR_ARG(t.server_name), (long long)port);
    t.named = arena_printf(a, "https://" STR_FMT "%s" STR_FMT "?" STR_FMT, STR_ARG(t.host), slash, STR_ARG(path), STR_ARG(query));
    *ret = t;
    int r = backend_service(s, a, ns, name, port, &at, e);
    if (r < 0)
        return r;
    ret->url = arena_printf(a, "https://" STR_FMT "%s" STR_FMT "?" STR_FMT, STR_ARG(at), slash, STR_ARG(path), STR_ARG(query));
    return 0;
}

static int target_of(struct apiserver *s, struct arena *a, const struct val *config, int64_t timeout, struct target *ret, struct err *e)
{
    struct str url = val_getstr(config, N_url), query = STR("");
    const struct val *service = val_get(config, N_service);
    query = arena_printf(a, "timeout=%llds", (long long)((timeout + SECONDS(1) - 1) / SECONDS(1)));
    if (service)
        return service_target(s, a, service, query, ret, e);
    if (!url.n)
        return err_set(e, -EINVAL, "webhook configuration must have either service or URL");
    ret->url = ret->named = arena_printf(a, STR_FMT "%c" STR_FMT, STR_ARG(url), str_find(url, '?') < 0 ? '?' : '&', STR_ARG(query));
    return 0;
}

/* ---- answers -------------------------------------------------------------------------------------------- */

/* What client-go makes of an answer that is no Status. */
static const struct {
    int code;
    const char *text;
} code_texts[] = {
    {400, "the server rejected our request for an unknown reason"},
    {401, "the server has asked for the client to provide credentials"},
    {403, "the server does not allow access to the requested resource"},
    {404, "the server could not find the requested resource"},
    {405, "the server does not allow this method on the requested resource"},
    {409, "the server reported a conflict"},
    {429, "the server has received too many requests and has asked us to try again later"},
    {503, "the server is currently unable to handle the request"},
    {504, "the server was unable to return a response in the time allotted, but may still be processing the request"},
};

static int refused(struct arena *a, int code, struct str text, struct err *e)
{
    enum { SHOWN = 300 };
    struct val *v = NULL;
    struct buf quoted CLEANUP_BUF = BUF_INIT;
    if (json_decode(a, NULL, text, 0, NULL, &v, NULL) == 0 && str_is(val_str(val_key(v, STR("kind"))), "Status"))
        return err_set(e, -EREMOTEIO, STR_FMT, STR_ARG(val_str(val_key(v, STR("message")))));
    for (size_t i = 0; i < ARRAY_SIZE(code_texts); i++)
        if (code_texts[i].code == code)
            return err_set(e, -EREMOTEIO, "%s", code_texts[i].text);
    if (code < 500)
        return err_set(e, -EREMOTEIO, "the server responded with the status code %d but did not return more details", code);
    json_encode_str(&quoted, str_slice(str_trim(text), 0, SHOWN), JSON_NO_HTML);
    return err_set(e, -EREMOTEIO, "an error on the server (" STR_FMT ") has prevented the request from succeeding",
                   STR_ARG(buf_str(&quoted)));
}

static int post(struct http_client *http, const struct webhook_call *call, const struct target *t, struct mono deadline,
                struct arena *a, struct str *ret, int *ret_code, struct err *e)
{
    struct http_header headers[] = {{STR("content-type"), STR("application/json")},
                                    {STR("accept"), STR("application/json, */*")},
                                    {STR("user-agent"), STR("kube-apiserver-admission")},
                                    {STR("host"), t->host}};
    struct http_request q = {.method = "POST", .url = t->url.p, .body = call->body, .headers = headers,
                             .n_headers = ARRAY_SIZE(headers) - (t->host.n ? 0 : 1)};
    struct http_call *c = NULL;
    struct str text = STR("");
    int r = http_do(http, &q, deadline, &c, e);
    if (r == 0 && (r = http_call_read_all(c, call->max_answer, deadline, &text)) < 0)
        err_set(e, r, r == -EFBIG ? "the answer is too large" : "%s", strerror(-r));
    if (r == 0) {
        *ret = arena_str(a, text);
        *ret_code = c->status;
    }
    http_call_free(c);
    return r;
}

static int wrapped(struct err *e, int r, const struct target *t)
{
    if (r == -ETIMEDOUT)
        err_set(e, r, "context deadline exceeded");
    return err_wrap(e, r, "Post \"" STR_FMT "\"", STR_ARG(t->named));
}

int webhook_post(struct apiserver *s, const struct webhook_call *call, struct arena *a, struct str *ret, struct err *e)
{
    int64_t timeout = call->timeout_ns ? call->timeout_ns : SECONDS(DEFAULT_SECONDS);
    struct mono deadline = mono_add(os_mono(), timeout);
    struct target t = {.url = STR_NULL};
    struct peer_client *c = NULL;
    struct str text = STR("");
    int code = 0, r = target_of(s, a, call->config, timeout, &t, e);
    if (r < 0)
        return t.named.n ? wrapped(e, r, &t) : r;
    struct peer peer = {.ca = val_getstr(call->config, N_caBundle), .server_name = t.server_name, .spread = true};
    if ((r = peer_take(s, &peer, &c, e)) < 0)
        return wrapped(e, r, &t);
    r = post(peer_http(c), call, &t, deadline, a, &text, &code, e);
    peer_give_back(c);
    if (r < 0)
        return wrapped(e, r, &t);
    if (code < 200 || code > 206)
        return refused(a, code, text, e);
    *ret = text;
    return 0;
}
