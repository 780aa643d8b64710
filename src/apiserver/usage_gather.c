/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the kubelets what they measured, when somebody wants to know. */
#include "apiserver/backend.h"
#include "apiserver/state.h"
#include "apiserver/usage.h"
#include "base/log.h"
#include "base/os.h"
#include "resources.h"

enum {
    FRESH_SECONDS = 8,    /* so old numbers are good enough */
    STALE_SECONDS = 60,   /* from so old ones no rate is made */
    PAUSE_MS = 1000,      /* between the two looks that make one */
    PATIENCE_SECONDS = 3, /* how long who asks waits for nodes that are slow to answer */
    ASK_SECONDS = 10,     /* how long a node may take */
    AT_ONCE = 16,         /* nodes that are asked at the same time */
    PAGE_MAX = 8 << 20,   /* some ten thousand containers */
};

struct usage_state {
    struct apiserver *server;
    struct map nodes; /* struct usage_node by name */
    bool running;     /* a round is on its way */
    unsigned rounds;  /* there have been */
    struct mono done; /* when the last one ended */
    struct waitq moved;
};

/* One pass over all nodes. */
struct round {
    struct usage_state *u;
    struct arena arena;
    struct str *names;
    size_t n, next;
};

/* ---- one node ---------------------------------------------------------------------------------------- */

static int fetch(struct request *r, struct str base, struct http_call **ret, struct err *e)
{
    struct http_header accept = {STR("accept"), STR("text/plain;version=0.0.4")};
    struct mono until = mono_add(os_mono(), SECONDS(ASK_SECONDS));
    struct str page;
    struct http_request q = {.url = arena_printf(r->arena, "%.*s/metrics/resource", STR_ARG(base)).p,
                             .peer_cn = r->kubelet_cn,
                             .headers = &accept,
                             .n_headers = 1};
    int x = http_do(r->server->kubelet, &q, until, ret, e);
    if (x == 0)
        x = http_call_read_all(*ret, PAGE_MAX, until, &page);
    if (x == 0 && (*ret)->status != 200)
        x = err_set(e, -EPROTO, "it answered %d: %.*s", (*ret)->status, (int)MIN(page.n, (size_t)200),
                    page.p);
    if (x == 0)
        r->body = page;
    return x;
}

static void replace(struct usage_state *u, struct str name, struct usage_node *n)
{
    usage_node_free(n ? map_put(&u->nodes, name, n) : map_del(&u->nodes, name));
}

static void ask_node(struct usage_state *u, struct str name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct request r;
    struct str base;
    struct http_call *call = NULL;
    struct err e = {0};
    request_init(&r, u->server, &a, NULL);
    if (backend_kubelet(&r, name, &base) == 0) {
        int x = fetch(&r, base, &call, &e);
        if (x == 0) /* what was known is looked up only now: nobody waits from here on */
            replace(u, name, usage_node_next(map_get(&u->nodes, name), r.body, os_wall()));
        else if (x != -ECANCELED)
            log_debug("apiserver", "metrics of node %.*s: %s", STR_ARG(name), err_text(&e, x));
        http_call_free(call);
    }
    request_done(&r);
}

/* ---- all nodes --------------------------------------------------------------------------------------- */

static void ask_some(void *arg)
{
    struct round *r = arg;
    while (r->next < r->n && !fiber_cancelled())
        ask_node(r->u, r->names[r->next++]);
}

static void forget_absent(struct usage_state *u)
{
    struct cache_kind *nodes = state_kind(u->server, RES_NODES);
    MAP_EACH (&u->nodes, m)
        if (!cache_get(nodes, STR(""), m->key)) {
            struct arena a CLEANUP_ARENA = ARENA_INIT;
            replace(u, arena_str(&a, m->key), NULL);
        }
}

static void run_round(struct usage_state *u)
{
    struct round r = {.u = u};
    struct group g = {0};
    struct cache_kind *nodes = state_kind(u->server, RES_NODES);
    r.names = ARENA_ARRAY(&r.arena, struct str, tree_count(nodes->root));
    TREE_EACH (nodes->root, STR(""), it)
        r.names[r.n++] = arena_str(&r.arena, it.object->name);
    for (size_t i = 0; i < MIN(r.n, (size_t)AT_ONCE); i++)
        group_spawn(&g, "usage", ask_some, &r);
    if (group_wait(&g, MONO_NEVER) < 0)
        group_stop(&g);
    forget_absent(u);
    arena_done(&r.arena);
}

static bool stale(const struct usage_state *u)
{
    return !u->rounds || os_mono().ns - u->done.ns > SECONDS(STALE_SECONDS);
}

static void gather(void *arg)
{
    struct usage_state *u = arg;
    bool twice = stale(u);
    run_round(u);
    if (twice && fiber_sleep(MILLISECONDS(PAUSE_MS)) == 0)
        run_round(u);
    u->rounds++;
    u->done = os_mono();
    u->running = false;
    waitq_wake_all(&u->moved);
}

/* ---- from outside ------------------------------------------------------------------------------------ */

static struct usage_state *state(struct apiserver *s)
{
    if (!s->usage) {
        s->usage = NEW(struct usage_state);
        s->usage->server = s;
    }
    return s->usage;
}

int usage_refresh(struct apiserver *s)
{
    struct usage_state *u = state(s);
    bool fresh = u->rounds && os_mono().ns - u->done.ns < SECONDS(FRESH_SECONDS);
    struct mono until = mono_add(os_mono(), SECONDS(PATIENCE_SECONDS));
    if (!fresh && !u->running && !s->stopping) {
        u->running = true;
        group_spawn(&s->fibers, "usage", gather, u);
    }
    while (u->running && !fresh) {
        int e = waitq_wait(&u->moved, until);
        if (e)
            return e == -ETIMEDOUT ? 0 : e;
    }
    return 0;
}

const struct usage_node *usage_find(struct apiserver *s, struct str node)
{
    return map_get(&state(s)->nodes, node);
}

static void free_node(void *n)
{
    usage_node_free(n);
}

void usage_free(struct apiserver *s)
{
    if (s->usage)
        map_done_with(&s->usage->nodes, free_node);
    free(s->usage);
    s->usage = NULL;
}
