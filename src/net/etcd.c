/* SPDX-License-Identifier: Apache-2.0 */
#include "net/etcd.h"

#include "base/os.h"
#include "names.h"
#include "net/tls.h"
#include "net/url.h"

#include <grpc.h> /* of the methods' numbers; in quotes it would be our neighbour */

enum { FILE_MAX = 1 << 20 };

struct endpoint {
    const char *address;
    bool tls;
    struct grpc_client *client; /* with the token, when there is one; NULL: none yet */
};

struct etcd {
    struct arena arena;
    struct endpoint *list;
    size_t n, at;
    struct tls_client *tls;
    struct str user, password;
    char *token; /* NULL: not asked for yet */
    int64_t timeout;
    size_t max_message;
};

/* ---- configuration -------------------------------------------------------------------------------------- */

static int read_endpoint(struct etcd *c, struct str text, struct endpoint *ret, struct err *e)
{
    struct url u = {0};
    bool has_scheme = str_find(text, ':') >= 0 && str_contains(text, STR("://"));
    const char *whole = has_scheme ? arena_cstr(&c->arena, text) : arena_printf(&c->arena, "http://" STR_FMT, STR_ARG(text)).p;
    if (url_parse(str_of(whole), &u) < 0 || !u.host.n || (!str_is(u.scheme, "http") && !str_is(u.scheme, "https")))
        return err_set(e, -EINVAL, "\"" STR_FMT "\" is no endpoint of etcd like http://127.0.0.1:2379", STR_ARG(text));
    bool six = str_find(u.host, ':') >= 0;
    ret->address = arena_printf(&c->arena, "%s" STR_FMT "%s:%u", six ? "[" : "", STR_ARG(u.host), six ? "]" : "",
                                u.port ? u.port : 2379u).p;
    ret->tls = str_is(u.scheme, "https");
    return 0;
}

static int read_endpoints(struct etcd *c, const char *list, struct err *e)
{
    struct str rest = str_of(list), one;
    c->list = ARENA_ARRAY(&c->arena, struct endpoint, rest.n / 2 + 1);
    while (rest.n && str_next(&rest, ',', &one)) {
        one = str_trim(one);
        int r = one.n ? read_endpoint(c, one, &c->list[c->n], e) : 0;
        if (r < 0)
            return r;
        c->n += one.n > 0;
    }
    return c->n ? 0 : err_set(e, -EINVAL, "no endpoints of etcd are named");
}

static int read_pem(struct arena *a, const char *path, struct str *ret, struct err *e)
{
    int r = path && *path ? os_read_file(a, path, FILE_MAX, ret) : 0;
    return r < 0 ? err_set(e, r, "cannot read %s: %s", path, strerror(-r)) : 0;
}

static int make_tls(struct etcd *c, const struct etcd_config *config, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct tls_client_config t = {.h2_only = true};
    bool any = false;
    for (size_t i = 0; i < c->n; i++)
        any = any || c->list[i].tls;
    if (!any)
        return 0;
    int r = read_pem(&a, config->ca_file, &t.ca, e);
    r = r ? r : read_pem(&a, config->cert_file, &t.key.cert_pem, e);
    r = r ? r : read_pem(&a, config->key_file, &t.key.key_pem, e);
    return r ? r : tls_client_new(&t, &c->tls, e);
}

int etcd_new(const struct etcd_config *config, struct etcd **ret, struct err *e)
{
    struct etcd *c = NEW(struct etcd);
    c->timeout = config->timeout ? config->timeout : SECONDS(5);
    c->max_message = config->max_message;
    int r = read_endpoints(c, config->endpoints ? config->endpoints : "", e);
    r = r ? r : make_tls(c, config, e);
    if (r < 0) {
        etcd_free(c);
        return r;
    }
    if (config->user) {
        c->user = arena_str(&c->arena, str_of(config->user));
        c->password = arena_str(&c->arena, str_of(config->password ? config->password : ""));
    }
    *ret = c;
    return 0;
}

static void drop_clients(struct etcd *c)
{
    for (size_t i = 0; i < c->n; i++) {
        grpc_client_free(c->list[i].client);
        c->list[i].client = NULL;
    }
}

void etcd_free(struct etcd *c)
{
    if (!c)
        return;
    drop_clients(c);
    tls_client_unref(c->tls);
    free(c->token);
    arena_done(&c->arena);
    free(c);
}

/* ---- calls ------------------------------------------------------------------------------------------------- */

static struct grpc_client *new_client(const struct etcd *c, const struct endpoint *at)
{
    struct http_header token = {STR("token"), str_of(c->token)};
    return grpc_client_new(&(const struct grpc_client_config){.address = at->address,
                                                              .tls = at->tls ? c->tls : NULL,
                                                              .max_message = c->max_message,
                                                              .metadata = &token,
                                                              .n_metadata = c->token ? 1 : 0});
}

/* The token is good at each endpoint; it ends with its time, or with etcd's leader (then UNAUTHENTICATED). */
static int sign_in(struct etcd *c, const struct endpoint *at, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set_str(&a, request, N_name, c->user);
    val_set_str(&a, request, N_password, c->password);
    free(TAKE_PTR(c->token));
    struct grpc_client *g = new_client(c, at);
    int r = grpc_call(g, &grpc_methods[G_etcdserverpb_Auth_Authenticate], request, mono_add(os_mono(), c->timeout), &a,
                      &answer, e);
    grpc_client_free(g);
    if (r == 0)
        c->token = str_dup(val_getstr(answer, N_token));
    return r;
}

static int client_of(struct etcd *c, struct grpc_client **ret, struct err *e)
{
    struct endpoint *at = &c->list[c->at];
    if (c->user.n && !c->token) {
        drop_clients(c);
        int r = sign_in(c, at, e);
        if (r)
            return r;
    }
    if (!at->client)
        at->client = new_client(c, at);
    *ret = at->client;
    return 0;
}

void etcd_pass_over(struct etcd *c)
{
    c->at = (c->at + 1) % c->n;
}

/* One attempt; told apart by open, which asks one endpoint. */
typedef int attempt(struct etcd *c, struct grpc_client *g, void *arg, struct err *e);
static int try_each(struct etcd *c, attempt *fn, void *arg, struct err *e)
{
    bool renewed = false;
    int r = GRPC_UNAVAILABLE;
    for (size_t tries = 0; tries < c->n;) {
        struct grpc_client *g;
        r = client_of(c, &g, e);
        r = r ? r : fn(c, g, arg, e);
        if (r == GRPC_UNAUTHENTICATED && c->token && !renewed) {
            free(TAKE_PTR(c->token));
            renewed = true;
            continue;
        }
        if (r != GRPC_UNAVAILABLE && r != GRPC_DEADLINE_EXCEEDED)
            break;
        etcd_pass_over(c);
        tries++;
    }
    return r;
}

struct call {
    const struct grpc_method *m;
    const struct val *request;
    struct arena *a;
    const struct val **ret;
    struct grpc_stream **stream;
};

static int call_once(struct etcd *c, struct grpc_client *g, void *arg, struct err *e)
{
    struct call *x = arg;
    return grpc_call(g, x->m, x->request, mono_add(os_mono(), c->timeout), x->a, x->ret, e);
}

static int open_once(struct etcd *c UNUSED, struct grpc_client *g, void *arg, struct err *e)
{
    struct call *x = arg;
    return grpc_stream_open(g, x->m, x->request, MONO_NEVER, x->stream, e);
}

int etcd_call(struct etcd *c, const struct grpc_method *m, const struct val *request, struct arena *a,
              const struct val **ret, struct err *e)
{
    return try_each(c, call_once, &(struct call){.m = m, .request = request, .a = a, .ret = ret}, e);
}

int etcd_stream(struct etcd *c, const struct grpc_method *m, const struct val *request, struct grpc_stream **ret,
                struct err *e)
{
    return try_each(c, open_once, &(struct call){.m = m, .request = request, .stream = ret}, e);
}

struct str etcd_range_end(struct arena *a, struct str prefix)
{
    struct str end = arena_str(a, prefix);
    for (size_t n = end.n; n > 0; n--)
        if ((unsigned char)end.p[n - 1] != 0xff) {
            ((char *)end.p)[n - 1]++;
            return str_slice(end, 0, n);
        }
    return (struct str){"\0", 1};
}
