/* SPDX-License-Identifier: Apache-2.0 */
/* What probes and lifecycle hooks do: run a command, fetch a URL, connect, ask for health, sleep. */
#include "grpc.h"
#include "net/grpc.h"
#include "net/http.h"
#include "net/resolve.h"
#include "net/url.h"
#include "node/kubelet-internal.h"

enum { OUTPUT_MAX = 10 << 10, BODY_MAX = 10 << 10, REDIRECTS_MAX = 10, HEADERS_MAX = 64 };

static struct str cut(struct str s)
{
    return str_slice(s, 0, OUTPUT_MAX);
}

static struct mono within(int64_t seconds)
{
    return seconds > 0 ? mono_add(os_mono(), SECONDS(seconds)) : MONO_NEVER;
}

/* ---- exec -------------------------------------------------------------------------------------------------- */

/* $(NAME) in a probe's command, by what the container's env says literally. */
static const struct val *probe_command(struct arena *a, const struct val *container, const struct val *command)
{
    const struct val *env = val_get(container, N_env);
    struct env_list list = {ARENA_ARRAY(a, struct env_var, val_len(env)), 0, 0};
    struct val *out = val_new(a, VAL_LIST);
    VAL_EACH (env, v)
        if (!val_get(v, N_valueFrom))
            list.items[list.n++] = (struct env_var){val_getstr(v, N_name), val_getstr(v, N_value)};
    VAL_EACH (command, word)
        val_add(a, out, val_of_str(env_expand(a, val_str(word), &list)));
    return out;
}

static int run_exec(const struct action_target *t, const struct val *exec, int64_t timeout, struct arena *a,
                    struct str *out)
{
    struct runtime_exec result;
    struct err e = {{0}};
    const struct val *command = val_get(exec, N_command);
    if (!t->hook)
        command = probe_command(a, t->container, command);
    int rc = runtime_exec_sync(t->k->rt, t->container_id, command, timeout, a, &result, &e);
    if (rc == -ECANCELED)
        return rc;
    if (rc == GRPC_DEADLINE_EXCEEDED) {
        *out = arena_printf(a, "command timed out after %llds", (long long)timeout);
        return 1;
    }
    if (rc != 0) {
        *out = arena_str(a, str_of(err_text(&e, rc)));
        return -EIO;
    }
    struct str parts[] = {result.out, result.err};
    *out = cut(arena_join(a, parts, 2, STR("")));
    return result.exit_code == 0 ? 0 : 1;
}

/* ---- addresses ---------------------------------------------------------------------------------------------- */

/* A port by number or by its name among the container's; 0 when there is none. */
static uint16_t port_of(const struct val *container, const struct val *port)
{
    if (val_is(port, VAL_INT))
        return (uint16_t)val_int(port, 0);
    VAL_EACH (val_get(container, N_ports), p)
        if (str_eq(val_getstr(p, N_name), val_str(port)))
            return (uint16_t)val_int(val_get(p, N_containerPort), 0);
    uint64_t n;
    return str_to_u64(val_str(port), &n) == 0 && n < 65536 ? (uint16_t)n : 0;
}

static const char *host_of(struct arena *a, const struct action_target *t, const struct val *spec)
{
    struct str host = val_getstr(spec, N_host);
    return arena_cstr(a, host.n ? host : t->ip);
}

/* ---- httpGet ------------------------------------------------------------------------------------------------ */

struct fetch {
    const struct action_target *t;
    struct arena *arena;
    struct http_header headers[HEADERS_MAX];
    size_t n_headers;
    struct mono deadline;
    struct str host; /* of the first URL */
};

static bool has_header(const struct fetch *f, const char *name)
{
    for (size_t i = 0; i < f->n_headers; i++)
        if (f->headers[i].name.n == strlen(name) && !strncasecmp(f->headers[i].name.p, name, f->headers[i].name.n))
            return true;
    return false;
}

static void default_header(struct fetch *f, const char *name, struct str value)
{
    if (!has_header(f, name) && f->n_headers < HEADERS_MAX)
        f->headers[f->n_headers++] = (struct http_header){str_of(name), value};
}

static struct str fetch_url(struct arena *a, const struct action_target *t, const struct val *get, uint16_t port)
{
    struct str scheme = val_getstr(get, N_scheme), path = val_getstr(get, N_path);
    bool https = scheme.n == 5;
    return arena_printf(a, "%s://%s%s" STR_FMT, https ? "https" : "http", net_join(a, host_of(a, t, get), port),
                        path.n && path.p[0] == '/' ? "" : "/", STR_ARG(path));
}

/* Where a redirect leads; empty when it is to another host (which is not followed: it says nothing about this one). */
static struct str redirect_target(struct fetch *f, struct str from, const struct http_call *call)
{
    struct str to = http_header(&call->headers, "location");
    struct url here, there;
    if (!to.n || url_parse(from, &here) < 0)
        return STR_NULL;
    if (to.p[0] == '/')
        return arena_printf(f->arena, STR_FMT "://%s" STR_FMT, STR_ARG(here.scheme),
                            net_join(f->arena, arena_cstr(f->arena, here.host), url_port(&here)), STR_ARG(to));
    if (url_parse(to, &there) < 0 || !str_eq(there.host, f->host))
        return STR_NULL;
    return arena_str(f->arena, to);
}

static int fetch_once(struct fetch *f, struct str *url, struct str *out)
{
    struct http_request q = {.method = "GET", .url = url->p, .headers = f->headers, .n_headers = f->n_headers};
    struct http_call *call;
    struct err e = {{0}};
    int rc = http_do(f->t->k->http, &q, f->deadline, &call, &e);
    if (rc == -ECANCELED)
        return rc;
    if (rc != 0) {
        *out = arena_printf(f->arena, "Get \"" STR_FMT "\": %s", STR_ARG(*url), err_text(&e, rc));
        return 1;
    }
    int status = call->status;
    struct str body = STR(""), next = STR_NULL;
    if (status >= 300 && status < 400)
        next = redirect_target(f, *url, call);
    if (!next.n && http_call_read_all(call, BODY_MAX, f->deadline, &body) == 0)
        body = arena_str(f->arena, body);
    else
        body = STR("");
    http_call_free(call);
    if (next.n) {
        *url = next;
        return 2;
    }
    bool good = status >= 200 && status < 400;
    *out = good ? body : arena_printf(f->arena, "HTTP probe failed with statuscode: %d", status);
    return good || f->t->hook ? 0 : 1;
}

static int run_http(const struct action_target *t, const struct val *get, int64_t timeout, struct arena *a,
                    struct str *out)
{
    struct fetch f = {.t = t, .arena = a, .deadline = within(timeout)};
    uint16_t port = port_of(t->container, val_get(get, N_port));
    if (!port) {
        *out = STR("couldn't find port");
        return -EINVAL;
    }
    VAL_EACH (val_get(get, N_httpHeaders), h)
        if (f.n_headers < HEADERS_MAX - 4)
            f.headers[f.n_headers++] = (struct http_header){val_getstr(h, N_name), val_getstr(h, N_value)};
    default_header(&f, "User-Agent", t->hook ? STR("kube-lifecycle/1.37") : STR("kube-probe/1.37"));
    default_header(&f, "Accept", STR("*/*"));
    default_header(&f, "Connection", STR("close"));
    f.host = str_of(host_of(a, t, get));
    struct str url = fetch_url(a, t, get, port);
    for (int i = 0; i <= REDIRECTS_MAX; i++) {
        int rc = fetch_once(&f, &url, out);
        if (rc != 2)
            return rc;
    }
    *out = STR("stopped after 10 redirects");
    return 1;
}

/* ---- tcpSocket ---------------------------------------------------------------------------------------------- */

/* In the words that people search for. */
static const char *dial_problem(const struct err *e, int rc)
{
    return rc == -ECONNREFUSED ? "connect: connection refused"
           : rc == -EHOSTUNREACH ? "connect: no route to host"
           : rc == -ETIMEDOUT    ? "i/o timeout"
                                 : err_text(e, rc);
}

static int run_tcp(const struct action_target *t, const struct val *tcp, int64_t timeout, struct arena *a,
                   struct str *out)
{
    uint16_t port = port_of(t->container, val_get(tcp, N_port));
    const char *host = host_of(a, t, tcp);
    struct err e = {{0}};
    int fd;
    if (!port) {
        *out = STR("couldn't find port");
        return -EINVAL;
    }
    int rc = net_dial(host, port, within(timeout), &fd, &e);
    if (rc == -ECANCELED)
        return rc;
    if (rc < 0) {
        *out = arena_printf(a, "dial tcp %s: %s", net_join(a, host, port), dial_problem(&e, rc));
        return 1;
    }
    os_close(fd);
    return 0;
}

/* ---- grpc (KEP-2727) ----------------------------------------------------------------------------------------- */

static int run_grpc(const struct action_target *t, const struct val *spec, int64_t timeout, struct arena *a,
                    struct str *out)
{
    uint16_t port = (uint16_t)val_int(val_get(spec, N_port), 0);
    const char *address = net_join(a, arena_cstr(a, t->ip), port);
    struct grpc_client *c = grpc_client_new(&(const struct grpc_client_config){.address = address});
    struct val *q = val_new(a, VAL_OBJ);
    const struct val *v;
    struct err e = {{0}};
    val_set_str(a, q, N_service, val_getstr(spec, N_service));
    int rc = grpc_call(c, &grpc_methods[G_grpc_health_v1_Health_Check], q, within(timeout), a, &v, &e);
    grpc_client_free(c);
    if (rc == -ECANCELED)
        return rc;
    int64_t serving = rc == 0 ? val_int(val_get(v, N_status), 0) : 0;
    if (rc == 0 && serving == 1)
        return 0;
    if (rc == 0)
        *out = arena_printf(a, "service unhealthy (responded with \"%s\")", serving == 2 ? "NOT_SERVING" : "UNKNOWN");
    else if (rc == GRPC_UNIMPLEMENTED)
        *out = STR("error: this server does not implement the grpc health protocol (grpc.health.v1.Health)");
    else if (rc == GRPC_DEADLINE_EXCEEDED)
        *out = arena_printf(a, "timeout: health rpc did not complete within %llds", (long long)timeout);
    else
        *out = arena_printf(a, "error: health rpc probe failed: %s", err_text(&e, rc));
    return 1;
}

/* ---- all ------------------------------------------------------------------------------------------------------ */

int action_run(const struct action_target *t, const struct val *handler, int64_t timeout_seconds, struct arena *a,
               struct str *ret_output)
{
    const struct val *h;
    if ((h = val_get(handler, N_exec)))
        return run_exec(t, h, timeout_seconds, a, ret_output);
    if ((h = val_get(handler, N_httpGet)))
        return run_http(t, h, timeout_seconds, a, ret_output);
    if ((h = val_get(handler, N_tcpSocket)))
        return run_tcp(t, h, timeout_seconds, a, ret_output);
    if ((h = val_get(handler, N_grpc)))
        return run_grpc(t, h, timeout_seconds, a, ret_output);
    if ((h = val_get(handler, N_sleep)))
        return fiber_sleep(SECONDS(val_int(val_get(h, N_seconds), 0)));
    *ret_output = STR("missing probe handler");
    return -EINVAL;
}
