/* SPDX-License-Identifier: Apache-2.0 */
#include "ingress/ingress.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "ingress/metrics.h"
#include "net/http.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

#include <fcntl.h>

#define LOG "ingress"

enum { CALM_MS = 20, RETRY_S = 5 };

struct ingress {
    const struct ingress_config *config;
    struct prefixes trusted;
    struct arena arena;
    struct replica *replica;
    struct service_index services;
    struct maker *maker;
    struct plane *plane;
    struct map secrets;    /* "ns/name" -> struct replica *: one watch for each that is named */
    struct map endpoints;  /* "ns/name" of Services whose endpoints have changed */
    struct map told;       /* problems that have their event */
    struct map published;  /* "ns/name" of Ingresses that have our address */
    struct event_recorder *events;
    struct waitq changed, status_changed;
    bool dirty, status_dirty;
    size_t ours;
    int access_log;
};

/* ---- following ----------------------------------------------------------------------------------------- */

static void mark(struct ingress *g)
{
    g->dirty = true;
    waitq_wake_all(&g->changed);
}

static void touched(void *arg, struct str ns, struct str name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct ingress *g = arg;
    map_put(&g->endpoints, obj_key(&a, ns, name), g);
    waitq_wake_all(&g->changed);
}

static void follow(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct ingress *g = arg;
    if (res->index == RES_SERVICES || res->index == RES_ENDPOINTSLICES)
        service_index_changed(&g->services, res, old, new_, touched, g);
    if (res->index == RES_INGRESSES && old && new_ && val_equal(val_get(old->val, N_spec), val_get(new_->val, N_spec)) &&
        val_equal(val_get(obj_meta(old->val), N_annotations), val_get(obj_meta(new_->val), N_annotations)) &&
        obj_deleting(old->val) == obj_deleting(new_->val))
        return; /* its status, which is mostly our own doing */
    if (res->index != RES_ENDPOINTSLICES)
        mark(g);
}

static void secret_changed(void *arg, const struct resource *res UNUSED, const struct object *old UNUSED,
                           const struct object *new_ UNUSED)
{
    mark(arg);
}

/* ---- Secrets: those that are named, each by itself ----------------------------------------------------- */

static const struct object *find_secret(void *ctx, struct str ns, struct str name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct ingress *g = ctx;
    struct replica *r = map_get(&g->secrets, obj_key(&a, ns, name));
    return r ? replica_get(r, &resources[RES_SECRETS], ns, name) : NULL;
}

static struct replica *watch_secret(struct ingress *g, struct str key)
{
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    struct replica_kind kind = {.res = &resources[RES_SECRETS],
                                .ns = arena_str(&g->arena, ns),
                                .field_selector = arena_printf(&g->arena, "metadata.name=" STR_FMT, STR_ARG(name))};
    struct replica *r = replica_new(g->config->client, &kind, 1);
    replica_on_change(r, secret_changed, g);
    replica_start(r);
    return r;
}

static void sync_secrets(struct ingress *g, const struct map *wanted)
{
    MAP_EACH(wanted, e)
    {
        if (!map_has(&g->secrets, e->key))
            map_put(&g->secrets, e->key, watch_secret(g, e->key));
    }
    MAP_EACH(&g->secrets, e)
    {
        if (!map_has(wanted, e->key))
            replica_free(map_del(&g->secrets, e->key));
    }
}

/* ---- serving ------------------------------------------------------------------------------------------- */

/* Each problem is told once while it lasts. */
static void tell_problems(struct ingress *g, const struct problem *list, size_t n)
{
    struct map now = MAP_INIT;
    for (size_t i = 0; i < n; i++) {
        struct buf key CLEANUP_BUF = BUF_INIT;
        buf_printf(&key, STR_FMT " %s " STR_FMT, STR_ARG(list[i].ingress->uid), list[i].reason, STR_ARG(list[i].message));
        if (!map_has(&g->told, buf_str(&key)) && !map_has(&now, buf_str(&key)))
            event_record(g->events, &resources[RES_INGRESSES], list[i].ingress->val, true, list[i].reason, STR_FMT, STR_ARG(list[i].message));
        map_put(&now, buf_str(&key), g);
    }
    map_done(&g->told);
    g->told = now;
}

static int start_plane(struct ingress *g, struct table *t)
{
    const struct ingress_config *c = g->config;
    struct plane_config p = {.http = c->http, .https = c->https, .public_https_port = c->public_https_port, .threads = (unsigned)c->threads, .header_timeout = c->header_timeout,
                             .trusted = g->trusted, .access_log = g->access_log, .no_rule = maker_no_rule(g->maker)};
    struct err e = {0};
    int http, https, r = plane_start(&p, t, &g->plane, &e);
    if (r < 0) {
        log_error(LOG, "%s; it is tried again in %d s", e.text, RETRY_S);
        return r;
    }
    plane_ports(g->plane, &http, &https);
    log_info(LOG, "serving HTTP on port %d, HTTPS on port %d", http, https);
    return 0;
}

static int remake(struct ingress *g)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct problem *problems;
    struct map secrets = MAP_INIT;
    size_t n;
    const struct table_input in = {.ingresses = replica_tree(g->replica, &resources[RES_INGRESSES]),
                                   .classes = replica_tree(g->replica, &resources[RES_INGRESSCLASSES]),
                                   .services = &g->services,
                                   .secret = find_secret,
                                   .ctx = g};
    int r = 0;
    g->dirty = false;
    struct table *t = table_make(g->maker, &in, &a, &problems, &n, &secrets, &g->ours);
    if (g->plane)
        plane_set(g->plane, t);
    else if (g->ours)
        r = start_plane(g, t);
    if (!g->ours && g->plane)
        plane_stop(TAKE_PTR(g->plane));
    table_unref(t);
    /* Before the Secrets are read, that they are missing is no news. */
    bool all_read = true;
    MAP_EACH(&secrets, e)
    {
        struct replica *s = map_get(&g->secrets, e->key);
        all_read = all_read && s && replica_synced(s);
    }
    if (all_read)
        tell_problems(g, problems, n);
    sync_secrets(g, &secrets);
    map_done(&secrets);
    g->status_dirty = true;
    waitq_wake_all(&g->status_changed);
    return r;
}

static void refresh_endpoints(struct ingress *g)
{
    MAP_EACH(&g->endpoints, e)
    {
        struct str ns, name;
        str_cut(e->key, '/', &ns, &name);
        maker_endpoints(g->maker, &g->services, ns, name);
    }
    map_done(&g->endpoints);
}

static int serve(struct ingress *g)
{
    int r = replica_wait_synced(g->replica, MONO_NEVER); /* half a list would be 404 for the other half */
    bool failing = false;
    g->dirty = true;
    while (r == 0) {
        struct mono retry = failing ? mono_add(os_mono(), SECONDS(RETRY_S)) : MONO_NEVER;
        while (r == 0 && !g->dirty && !g->endpoints.n)
            r = waitq_wait(&g->changed, retry);
        if (r == -ETIMEDOUT) {
            g->dirty = true;
            r = 0;
        }
        if (r == 0 && g->dirty)
            r = fiber_sleep(MILLISECONDS(CALM_MS)); /* what comes together is done together */
        if (r < 0)
            break;
        refresh_endpoints(g);
        if (g->dirty)
            failing = remake(g) < 0;
    }
    return r;
}

/* ---- status -------------------------------------------------------------------------------------------- */

static struct val *wanted_addresses(struct ingress *g, struct arena *a)
{
    struct val *list = val_new(a, VAL_LIST);
    for (const char *const *p = g->config->publish; g->plane && p && *p; p++) {
        struct ip ip;
        struct val *one = val_add_obj(a, list);
        val_set_str(a, one, ip_parse(str_of(*p), &ip) ? N_ip : N_hostname, str_of(*p));
    }
    return list;
}

static int write_status(struct ingress *g, struct arena *a, const struct object *o, const struct val *addresses)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct status s;
    status_init(&s, a);
    buf_puts(&b, "{\"status\":{\"loadBalancer\":{\"ingress\":");
    if (val_len(addresses))
        json_encode(&b, NULL, addresses, 0);
    else
        buf_puts(&b, "null");
    buf_puts(&b, "}}}");
    int r = client_patch(g->config->client, CALL(.res = &resources[RES_INGRESSES], .ns = o->namespace_, .name = o->name, .subresource = "status"),
                         PATCH_MERGE, buf_str(&b), a, NULL, &s);
    if (r > 0 && r != 404)
        log_warn(LOG, "status of " STR_FMT "/" STR_FMT ": " STR_FMT, STR_ARG(o->namespace_), STR_ARG(o->name), STR_ARG(s.message));
    return r;
}

/* What we have published before is taken back when the Ingress goes to somebody else. */
static int publish(struct ingress *g, const struct object *o, bool is_ours)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str key = obj_key(&a, o->namespace_, o->name);
    const struct val *is = val_at(o->val, N_status, N_loadBalancer, N_ingress);
    struct val *want = is_ours ? wanted_addresses(g, &a) : val_new(&a, VAL_LIST);
    if (!is_ours && !map_del(&g->published, key))
        return 0;
    if (is_ours)
        map_put(&g->published, key, g);
    return val_equal(is, want) || (!val_len(is) && !val_len(want)) ? 0 : write_status(g, &a, o, want);
}

static void publish_all(void *arg)
{
    struct ingress *g = arg;
    for (int r = 0; r == 0 || r > 0;) {
        while (!g->status_dirty)
            if (waitq_wait(&g->status_changed, MONO_NEVER) < 0)
                return;
        g->status_dirty = false;
        struct tree *all = tree_ref(replica_tree(g->replica, &resources[RES_INGRESSES]));
        struct tree *classes = tree_ref(replica_tree(g->replica, &resources[RES_INGRESSCLASSES]));
        r = 0;
        TREE_EACH(all, STR_NULL, it)
        {
            int one = publish(g, it.object, ingress_is_ours(classes, it.object));
            r = one < 0 ? one : r;
        }
        tree_unref(all);
        tree_unref(classes);
        if (r < 0 && r != -ECANCELED) {
            g->status_dirty = true;
            r = fiber_sleep(SECONDS(RETRY_S)) < 0 ? -ECANCELED : 0;
        }
    }
}

/* ---- metrics ------------------------------------------------------------------------------------------- */

static void metrics_request(void *ctx, struct http_exchange *x)
{
    struct ingress *g = ctx;
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (str_is(x->path, "/metrics")) {
        metrics_page(g->maker, g->plane, g->ours, &b);
        http_respond(x, 200, "text/plain; version=0.0.4", buf_str(&b));
    } else if (str_is(x->path, "/healthz") || (str_is(x->path, "/readyz") && (g->plane || !g->ours))) {
        http_respond(x, 200, "text/plain", STR("ok"));
    } else if (str_is(x->path, "/readyz")) {
        http_respond(x, 503, "text/plain", STR("not listening"));
    } else {
        http_respond(x, 404, "text/plain", STR("not found\n"));
    }
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static int open_log(const char *path, int *ret, struct err *e)
{
    *ret = -1;
    if (!path)
        return 0;
    int fd = os_open(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (fd < 0)
        return err_set(e, fd, "cannot write the access log %s: %s", path, strerror(-fd));
    *ret = fd;
    return 0;
}

static int run(struct ingress *g, struct http_server *metrics, struct err *e)
{
    const struct replica_kind kinds[] = {{.res = &resources[RES_INGRESSES]},
                                         {.res = &resources[RES_INGRESSCLASSES]},
                                         {.res = &resources[RES_SERVICES]},
                                         {.res = &resources[RES_ENDPOINTSLICES]}};
    struct group fibers = {0};
    int r = g->config->metrics ? http_server_listen(metrics, g->config->metrics, e) : 0;
    if (r < 0)
        return r;
    g->replica = replica_new(g->config->client, kinds, ARRAY_SIZE(kinds));
    replica_on_change(g->replica, follow, g);
    replica_start(g->replica);
    group_spawn(&fibers, "ingress-status", publish_all, g);
    r = serve(g);
    group_stop(&fibers);
    fiber_shield(true);
    plane_stop(TAKE_PTR(g->plane));
    fiber_shield(false);
    MAP_EACH(&g->secrets, it)
    {
        replica_free(it->value);
    }
    replica_free(g->replica);
    return r;
}

int ingress_run(const struct ingress_config *c, struct err *e)
{
    struct ingress g = {.config = c, .maker = maker_new(), .access_log = -1};
    struct http_server_config m = {.handler = metrics_request, .ctx = &g, .max_connections = 32};
    struct http_server *metrics = http_server_new(&m);
    g.events = event_recorder_new(c->client, "cube-ingress", c->node_name ? c->node_name : "");
    int r = prefixes_parse(&g.arena, c->trusted_proxies, &g.trusted, e);
    if (r == 0)
        r = open_log(c->access_log, &g.access_log, e);
    if (r == 0)
        r = run(&g, metrics, e);
    http_server_free(metrics);
    event_recorder_free(g.events);
    os_close(g.access_log);
    struct map *maps[] = {&g.secrets, &g.endpoints, &g.told, &g.published};
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
        map_done(maps[i]);
    service_index_done(&g.services);
    maker_free(g.maker);
    arena_done(&g.arena);
    return r;
}
