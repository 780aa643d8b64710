/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/overlay.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "overlay/rtnl.h"
#include "resources.h"

#define LOG "overlay"

enum { CALM_MS = 50, WATCH_CALM_S = 2, RETRY_S = 10 };

struct overlay;

/* A back end brings the kernel to what the other nodes want. again: the kernel may have lost something, look
 * first. */
struct backend {
    const char *name;
    int (*sync)(struct overlay *o, const struct peer *peers, size_t n, bool again, struct err *e);
};

struct overlay {
    const struct overlay_config *config;
    const struct backend *backend;
    struct replica *replica;
    struct prefixes within;
    struct arena arena;
    struct waitq changed;
    bool dirty; /* a Node has changed */
    bool again; /* the kernel may have lost what it had */
    bool failing;
    struct arena have_arena;
    struct routes have; /* what the kernel has of ours */
    struct str told;    /* troubles that were logged; in have_arena */
    int watch;
};

/* ---- host-gw -------------------------------------------------------------------------------------- */

static void keep(struct routes *to, const struct routes *from, const int *results)
{
    for (size_t i = 0; i < from->n; i++)
        if (results[i] < 0)
            to->list[to->n++] = from->list[i];
}

/* Each trouble is said once, not at each retry. */
static void tell_troubles(struct overlay *o, const struct routes *set, const int *results, struct str told)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < set->n; i++) {
        char text[ROUTE_TEXT_MAX];
        if (results[i] == 0)
            continue;
        size_t start = b.n;
        buf_printf(&b, "[%s: %s]", route_text(&set->list[i], text),
                   results[i] == -ENETUNREACH || results[i] == -EHOSTUNREACH
                       ? "that address is on no network of this machine, which host-gw needs"
                   : results[i] == -EEXIST ? "somebody else's route leads there"
                                           : strerror(-results[i]));
        if (!str_contains(told, str_from(buf_str(&b), start)))
            log_warn(LOG, "pods cannot be reached: route " STR_FMT, STR_ARG(str_from(buf_str(&b), start)));
    }
    o->told = arena_str(&o->have_arena, buf_str(&b));
}

/* The kernel has what was wanted but for what failed. */
static void remember(struct overlay *o, struct arena *a, const struct routes *want,
                     const struct route_changes *c, const int *results)
{
    struct routes failed = {ARENA_ARRAY(a, struct route, c->set.n + 1), 0}, now = {0};
    struct str told = arena_str(a, o->told);
    arena_reset(&o->have_arena);
    now.list = ARENA_ARRAY(&o->have_arena, struct route, want->n + c->drop.n + 1);
    keep(&failed, &c->set, results);
    struct route_changes rest;
    routes_compare(a, &failed, want, &rest);
    for (size_t i = 0; i < rest.set.n; i++)
        now.list[now.n++] = rest.set.list[i];
    keep(&now, &c->drop, results + c->set.n);
    routes_sort(&now);
    o->have = now;
    o->failing = failed.n > 0;
    tell_troubles(o, &c->set, results, told);
}

static int host_gw_sync(struct overlay *o, const struct peer *peers, size_t n, bool again, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct routes want, have = o->have;
    struct route_changes c;
    int r = again ? rtnl_read(&a, &o->within, &have, e) : 0;
    if (r < 0)
        return r;
    routes_wanted(&a, peers, n, &o->within, &want);
    routes_compare(&a, &have, &want, &c);
    int *results = ARENA_ARRAY(&a, int, c.set.n + c.drop.n + 1);
    r = rtnl_apply(&c, results, e);
    if (r == 0)
        remember(o, &a, &want, &c, results);
    return r;
}

static const struct backend backends[] = {
    {"host-gw", host_gw_sync},
};

/* ---- following ------------------------------------------------------------------------------------ */

static void node_changed(void *arg, const struct resource *res UNUSED, const struct object *old,
                         const struct object *new_)
{
    struct overlay *o = arg;
    if (!peer_differs(old, new_))
        return;
    o->dirty = true;
    waitq_wake_all(&o->changed);
}

/* What others do to the kernel's routes; a machine with many pods sees links come and go, so not more often
 * than that. */
static void watch_kernel(void *arg)
{
    struct overlay *o = arg;
    bool matters;
    while (rtnl_wait(o->watch, &matters, MONO_NEVER) == 0)
        if (matters) {
            o->again = true;
            waitq_wake_all(&o->changed);
            if (fiber_sleep(SECONDS(WATCH_CALM_S)) < 0)
                break;
        }
}

static int wait_for_work(struct overlay *o)
{
    struct mono retry = o->failing ? mono_add(os_mono(), SECONDS(RETRY_S)) : MONO_NEVER;
    while (!o->dirty && !o->again) {
        int r = waitq_wait(&o->changed, retry);
        if (r == -ETIMEDOUT)
            o->again = true;
        else if (r < 0)
            return r;
    }
    return fiber_sleep(MILLISECONDS(CALM_MS)); /* what comes together is done together */
}

static int serve(struct overlay *o)
{
    int r;
    o->again = true;
    while ((r = wait_for_work(o)) == 0) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct peer *peers;
        struct err e = {0};
        bool again = o->again;
        o->dirty = o->again = false;
        size_t n = peers_of_nodes(&a, replica_tree(o->replica, &resources[RES_NODES]),
                                  str_of(o->config->node_name), &peers);
        r = o->backend->sync(o, peers, n, again, &e);
        if (r < 0) {
            log_error(LOG, "%s", err_text(&e, r));
            o->failing = true;
        }
    }
    return r;
}

static const struct backend *find_backend(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
        if (!name || !strcmp(backends[i].name, name))
            return &backends[i];
    return NULL;
}

int overlay_run(const struct overlay_config *c, struct err *e)
{
    const struct replica_kind kind = {.res = &resources[RES_NODES]};
    struct overlay o = {.config = c, .backend = find_backend(c->backend)};
    struct group g = {0};
    if (!o.backend)
        return err_set(e, -EINVAL, "there is no overlay back end \"%s\"; there is: host-gw", c->backend);
    int r = prefixes_parse(&o.arena, c->cluster_cidr, &o.within, e);
    if (r == 0)
        r = rtnl_watch(&o.watch, e);
    if (r < 0)
        goto out;
    o.replica = replica_new(c->client, &kind, 1);
    replica_on_change(o.replica, node_changed, &o);
    replica_start(o.replica);
    r = replica_wait_synced(o.replica, MONO_NEVER); /* half a list would cost routes */
    group_spawn(&g, "routes", watch_kernel, &o);
    if (r == 0)
        r = serve(&o);
    group_stop(&g);
    replica_free(o.replica);
    rtnl_unwatch(o.watch);
out:
    arena_done(&o.have_arena);
    arena_done(&o.arena);
    return r;
}

int overlay_cleanup(const char *cluster_cidr, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct prefixes within;
    struct route_changes c = {0};
    int r = prefixes_parse(&a, cluster_cidr, &within, e);
    if (r == 0)
        r = rtnl_read(&a, &within, &c.drop, e);
    if (r < 0 || !c.drop.n)
        return r;
    return rtnl_apply(&c, ARENA_ARRAY(&a, int, c.drop.n), e);
}
