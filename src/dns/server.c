/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that answer what they can at once, fibers that answer what must wait, and what starts and ends them. */
#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "dns/serving.h"
#include "net/resolve.h"
#include "resources.h"

#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>

enum { MAX_REFRESHES = 100, ZONE_PATIENCE = 5 };

/* ---- one question --------------------------------------------------------------------------------------------------- */

static size_t udp_limit(const struct config *c, uint16_t port, const struct dns_query *q)
{
    const struct block *b = config_block(c, port, str_of(q->name));
    size_t most = b && b->bufsize ? b->bufsize : DNS_UDP_SIZE; /* larger datagrams are lost in pieces */
    return MIN((size_t)q->udp_size, most);
}

/* In a thread: nothing here may wait, allocate for long, or touch what only the loop may. */
static enum udp_verdict answer_in_thread(void *ctx, const struct udp_question *u, struct dns_reply *reply)
{
    struct server *s = ctx;
    struct dns_query q;
    int r = dns_parse(u->wire, &q);
    if (r < 0)
        return UDP_DROP;
    struct chain_ask a = {.q = &q, .port = u->port, .limit = udp_limit(s->chain.config, u->port, &q), .v6 = u->v6,
                          .random = u->random, .now = u->now};
    if (r > 0)
        chain_fail(&q, a.limit, (enum dns_code)r, reply);
    else if ((r = chain_answer(&s->chain, &a, reply)) != CHAIN_ANSWERED)
        return r == CHAIN_WAIT ? UDP_DEFER : UDP_DROP;
    struct answered done = {.q = &q, .port = u->port, .v6 = u->v6, .answer = buf_str(&reply->out)};
    tally_answer(s, &s->tallies[u->worker], &done);
    return UDP_SEND;
}

bool answer_on_loop(struct server *s, const struct chain_ask *a, size_t question_bytes, struct dns_reply *ret)
{
    struct config *held = config_ref(s->chain.config); /* it may be replaced while we wait */
    int r = chain_answer(&s->chain, a, ret);
    struct answered done = {.q = a->q, .port = a->port, .tcp = a->tcp, .v6 = a->v6,
                            .question_bytes = question_bytes, .nanoseconds = os_mono().ns - a->now.ns, .peer = a->peer,
                            .peer_port = a->peer_port, .answer = r == CHAIN_ANSWERED ? buf_str(&ret->out) : STR_NULL};
    tally_answer(s, &s->tallies[MAX_THREADS], &done);
    log_answer(s, &done);
    config_unref(held);
    return r == CHAIN_ANSWERED;
}

struct deferred_job {
    struct server *s;
    struct udp_deferred *d;
};

static void answer_deferred(void *arg)
{
    struct deferred_job j = *(struct deferred_job *)arg;
    struct dns_reply reply = {0};
    struct dns_query q;
    free(arg);
    if (dns_parse(buf_str(&j.d->wire), &q) == 0) {
        struct chain_ask a = {.q = &q, .port = j.d->port, .peer = j.d->peer, .peer_port = j.d->peer_port, .local = j.d->local,
                              .v6 = strchr(j.d->peer, ':') != NULL, .may_wait = true,
                              .limit = udp_limit(j.s->chain.config, j.d->port, &q), .random = os_random_u64(), .now = os_mono()};
        if (answer_on_loop(j.s, &a, j.d->wire.n, &reply))
            udp_send(j.d, buf_str(&reply.out));
    }
    dns_reply_done(&reply);
    udp_deferred_free(j.d);
}

static void take_deferred(void *arg)
{
    struct server *s = arg;
    struct udp_server *udp = s->udp;
    struct udp_deferred *d;
    while (udp_next_deferred(udp, &d) == 0) {
        struct deferred_job *j = NEW(struct deferred_job);
        *j = (struct deferred_job){s, d};
        group_spawn(&s->fibers, "dns-wait", answer_deferred, j);
    }
}

/* ---- what the cache wants anew ---------------------------------------------------------------------------------------- */

struct refresh_job {
    struct server *s;
    struct config *held;
    const struct block *b;
    struct dns_query q;
    struct buf question;
};

static void refresh_main(void *arg)
{
    struct refresh_job *j = arg;
    chain_fetch(&j->s->chain, j->b, &j->q);
    j->s->refreshes--;
    config_unref(j->held);
    buf_done(&j->question);
    free(j);
}

static void refresh(void *ctx, const struct block *b, const struct dns_query *q)
{
    struct server *s = ctx;
    bool ours = b >= s->chain.config->blocks && b < s->chain.config->blocks + s->chain.config->n;
    if (s->refreshes >= MAX_REFRESHES || !ours)
        return;
    struct refresh_job *j = NEW(struct refresh_job);
    *j = (struct refresh_job){.s = s, .held = config_ref(s->chain.config), .b = b, .q = *q};
    buf_putstr(&j->question, q->question);
    j->q.question = buf_str(&j->question);
    s->refreshes++;
    group_spawn(&s->fibers, "dns-refresh", refresh_main, j);
}

/* ---- listening --------------------------------------------------------------------------------------------------------- */

struct places {
    struct place items[MAX_LISTEN];
    size_t n;
};

static void add_place(struct arena *a, struct str host, const struct block *b, struct places *to)
{
    const char *at = net_join(a, arena_cstr(a, host), b->port);
    for (size_t i = 0; i < to->n; i++)
        if (!strcmp(to->items[i].address, at))
            return;
    if (to->n < MAX_LISTEN)
        to->items[to->n++] = (struct place){at, b->port, b->over_tls};
}

/* Where a configuration wants to be: its blocks' ports at their own addresses, or at ours. */
static struct places places_of(const struct server *s, const struct config *c, struct arena *a)
{
    struct places out = {.n = 0};
    for (size_t i = 0; c && i < c->n; i++) {
        const struct block *b = &c->blocks[i];
        for (size_t j = 0; j < (b->n_binds ? b->n_binds : s->n_hosts); j++)
            add_place(a, b->n_binds ? b->binds[j] : s->hosts[j], b, &out);
    }
    return out;
}

static void stop_listening_tcp(struct server *s)
{
    group_stop(&s->accepting);
    for (size_t i = 0; i < s->n_tcp; i++)
        os_close(s->tcp[i].fd);
    s->n_tcp = 0;
}

static int start_tcp(struct server *s, const struct places *at, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < at->n; i++)
        r = tcp_start(s, &at->items[i], e);
    if (r < 0)
        stop_listening_tcp(s);
    return r;
}

static unsigned thread_count(const struct server *s)
{
    long n = s->conf->threads ? (long)s->conf->threads : sysconf(_SC_NPROCESSORS_ONLN);
    return (unsigned)MIN(MAX(n, 1L), (long)MAX_THREADS);
}

static void replace_udp(struct server *s, struct udp_server *fresh)
{
    struct udp_server *old = s->udp;
    group_stop(&s->deferred);
    s->udp = fresh;
    if (fresh)
        group_spawn(&s->deferred, "dns-defer", take_deferred, s);
    if (old) {
        udp_stop(old);
        udp_unref(old);
    }
}

/* TCP first: unlike our datagram sockets it does not share an address with another server, and so tells of one. */
static int listen_at(struct server *s, const struct places *at, struct err *e)
{
    const char *datagrams[MAX_LISTEN];
    struct udp_config u = {.addresses = datagrams, .threads = thread_count(s), .answer = answer_in_thread, .ctx = s};
    struct udp_server *fresh;
    for (size_t i = 0; i < at->n; i++)
        if (!at->items[i].over_tls)
            datagrams[u.n++] = at->items[i].address;
    stop_listening_tcp(s);
    int r = start_tcp(s, at, e);
    if (r == 0 && (r = udp_start(&u, &fresh, e)) < 0)
        stop_listening_tcp(s);
    if (r == 0)
        replace_udp(s, fresh);
    return r;
}

static void set_config(struct server *s, struct config *c)
{
    struct config *old = s->chain.config;
    udp_lock(s->udp);
    s->chain.config = c;
    udp_unlock(s->udp);
    config_unref(old);
}

/* Moves to where c wants to be; back to where we were when that cannot be had. */
static int move_to(struct server *s, struct config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct places at = places_of(s, c, &a), before = places_of(s, s->listening ? s->chain.config : NULL, &a);
    struct buf text CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < at.n; i++)
        buf_printf(&text, "%s%s ", at.items[i].over_tls ? "tls:" : "", at.items[i].address);
    buf_putc(&text, '\0');
    if (s->listening && !strcmp(s->listening, text.p))
        return 0;
    bool first = !s->chain.config;
    if (first) /* the threads need one from their first question on; set_config drops this reference */
        s->chain.config = config_ref(c);
    int r = listen_at(s, &at, e);
    if (r < 0 && first) {
        s->chain.config = NULL;
        config_unref(c);
    } else if (r < 0) {
        start_tcp(s, &before, NULL);
    }
    if (r < 0)
        return r;
    free(s->listening);
    s->listening = xstrdup(text.p);
    return 0;
}

/* ---- configurations ------------------------------------------------------------------------------------------------------ */

/* The environment and the files of a node are not for whoever may write a ConfigMap: only a Corefile that is a file itself
 * reaches them. */
static struct str variable(void *ctx, struct arena *a, struct str name)
{
    const struct server *s = ctx;
    return s->conf->corefile ? str_of(getenv(arena_cstr(a, name))) : STR_NULL;
}

static struct str read_file(void *ctx, struct arena *a, const char *path)
{
    const struct server *s = ctx;
    struct str text;
    if (!s->conf->corefile && strcmp(path, "/etc/resolv.conf") != 0 && strcmp(path, "/etc/hosts") != 0)
        return STR_NULL;
    if (!strcmp(path, "/etc/resolv.conf") && s->conf->resolv_conf)
        path = s->conf->resolv_conf;
    return os_read_file(a, path, 16 << 20, &text) < 0 ? STR_NULL : text.p ? text : STR("");
}

/* Relative to the Corefile. */
static const char *beside_corefile(const struct server *s, struct arena *a, const char *path)
{
    struct str own = str_of(s->conf->corefile);
    ssize_t slash = str_rfind(own, '/');
    return path[0] == '/' || slash < 0 ? path : arena_printf(a, STR_FMT "/%s", STR_ARG(str_slice(own, 0, (size_t)slash)), path).p;
}

static int add_import(struct arena *a, const char *path, struct str **list, size_t *n)
{
    *list = arena_grow(a, *list, *n, sizeof(**list));
    int r = os_read_file(a, path, 1 << 20, &(*list)[*n]);
    *n += r == 0;
    return r;
}

/* Files that `import` names; a pattern may be for none. */
static int import_files(void *ctx, struct arena *a, const char *pattern, struct str **ret, size_t *ret_n)
{
    const struct server *s = ctx;
    struct str *list = NULL;
    size_t n = 0;
    char **names;
    if (!s->conf->corefile)
        return -EPERM;
    const char *path = beside_corefile(s, a, pattern);
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    bool many = strpbrk(last, "*?[") != NULL;
    const char *dir = slash ? arena_cstr(a, str_n(path, (size_t)(slash - path) + 1)) : "./";
    int r = many ? os_list_dir(a, dir, &names) : add_import(a, path, &list, &n);
    for (; many && r == 0 && *names; names++)
        if (fnmatch(last, *names, FNM_PERIOD) == 0)
            r = add_import(a, arena_printf(a, "%s%s", dir, *names).p, &list, &n);
    if (r < 0)
        return r;
    *ret = list;
    *ret_n = n;
    return 0;
}

/* Whether questions to the world come back: one is sent that nobody else asks. */
static void look_for_loop(void *arg)
{
    struct server *s = arg;
    struct config *held = config_ref(s->chain.config);
    struct buf question CLEANUP_BUF = BUF_INIT;
    struct dns_query q = {.type = DNS_HINFO, .class_ = DNS_IN, .recursion_desired = true, .udp_size = 512};
    memcpy(q.name, s->chain.loop_name, sizeof(s->chain.loop_name));
    dns_write_question(&question, q.name, q.type, q.class_);
    q.question = buf_str(&question);
    for (size_t i = 0; i < held->n; i++)
        if (held->blocks[i].loop && held->blocks[i].n_forwards)
            chain_fetch(&s->chain, &held->blocks[i], &q);
    if (s->chain.looped)
        log_error("dns", "questions for names of the world come back to this server: none are forwarded until its configuration changes");
    config_unref(held);
}

static void start_loop_check(struct server *s)
{
    s->chain.loop_seen = 0;
    s->chain.looped = false;
    snprintf(s->chain.loop_name, sizeof(s->chain.loop_name), "%llu.%llu", (unsigned long long)(os_random_u64() >> 4),
             (unsigned long long)(os_random_u64() >> 4));
    group_spawn(&s->fibers, "dns-loop", look_for_loop, s);
}

static void follow_pods(struct server *s);

int config_load(struct server *s, const char *name, struct str text, struct err *e)
{
    struct config_world w = {.corefile = {variable, import_files, s}, .file = read_file, .ctx = s, .own = s->own,
                             .n_own = s->n_own, .port = s->port};
    struct config *c;
    int r = config_parse(name, text, &w, &c, e);
    if (r < 0)
        return r;
    if (c->pods_verified)
        follow_pods(s);
    r = move_to(s, c, e);
    if (r < 0) {
        config_unref(c);
        return r;
    }
    http_services_stop(s);
    set_config(s, c);
    http_services_start(s);
    start_loop_check(s);
    return 0;
}

/* ---- the cluster's objects -------------------------------------------------------------------------------------------------- */

static void follow_change(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct server *s = arg;
    udp_lock(s->udp);
    zone_changed(s->zone, res, old, new_);
    udp_unlock(s->udp);
}

static struct replica *follow(struct server *s, const struct replica_kind *kinds, size_t n)
{
    struct replica *r = replica_new(s->conf->client, kinds, n);
    replica_on_change(r, follow_change, s);
    replica_start(r);
    return r;
}

static void follow_pods(struct server *s)
{
    const struct replica_kind kinds[] = {{.res = &resources[RES_PODS]}};
    if (s->pods || !s->conf->client)
        return;
    s->pods = follow(s, kinds, ARRAY_SIZE(kinds));
    replica_wait_synced(s->pods, mono_add(os_mono(), SECONDS(ZONE_PATIENCE)));
}

static void watch_ready(void *arg)
{
    struct server *s = arg;
    if (replica_wait_synced(s->objects, MONO_NEVER) < 0)
        return;
    udp_lock(s->udp);
    s->chain.ready = true;
    udp_unlock(s->udp);
}

/* Names of the world can be answered without the API server, so it is not waited for for long. */
static int follow_objects(struct server *s)
{
    const struct replica_kind kinds[] = {
        {.res = &resources[RES_NAMESPACES]}, {.res = &resources[RES_SERVICES]}, {.res = &resources[RES_ENDPOINTSLICES]}};
    if (!s->conf->client)
        return 0;
    s->objects = follow(s, kinds, ARRAY_SIZE(kinds));
    int r = replica_wait_synced(s->objects, mono_add(os_mono(), SECONDS(ZONE_PATIENCE)));
    s->chain.ready = r == 0;
    if (r == -ETIMEDOUT)
        group_spawn(&s->fibers, "dns-ready", watch_ready, s);
    return r == -ETIMEDOUT ? 0 : r;
}

/* ---- putting it together --------------------------------------------------------------------------------------------------- */

static void read_listen(struct server *s)
{
    for (size_t i = 0; s->conf->listen[i] && i < MAX_LISTEN; i++) {
        struct str text = str_of(s->conf->listen[i]), host = text;
        ssize_t colon = str_rfind(text, ':'), bracket = str_find(text, ']');
        bool v6 = text.n && text.p[0] == '[', port = colon >= 0 && (v6 ? colon > bracket : str_find(text, ':') == colon);
        int64_t n = 0;
        if (port && str_to_i64(str_from(text, (size_t)colon + 1), &n) == 0 && i == 0 && n > 0 && n < 65536)
            s->port = (uint16_t)n;
        if (port)
            host.n = (size_t)colon;
        if (v6)
            host = str_slice(host, 1, (size_t)bracket - 1);
        s->hosts[s->n_hosts++] = host;
        if (!str_is(host, "0.0.0.0") && !str_is(host, "::") && host.n)
            s->own[s->n_own++] = host;
    }
}

static void lame_duck(struct server *s)
{
    int64_t ns = s->conf->lame_duck && s->chain.config ? s->chain.config->lameduck : 0;
    s->stopping = true;
    if (!ns)
        return;
    fiber_shield(true);
    fiber_sleep(ns);
    fiber_shield(false);
}

static void stop_all(struct server *s)
{
    fiber_shield(true);
    http_services_stop(s);
    stop_listening_tcp(s);
    replace_udp(s, NULL);
    group_stop(&s->fibers);
    if (s->objects)
        replica_free(s->objects);
    if (s->pods)
        replica_free(s->pods);
    if (s->maps)
        replica_free(s->maps);
    config_unref(s->chain.config);
    zone_free(s->zone);
    map_done(&s->tcp_peers);
    free(s->listening);
    arena_done(&s->arena);
    free(s);
    fiber_shield(false);
}

int dns_run(const struct dns_config *c, struct err *e)
{
    struct server *s = NEW(struct server);
    s->conf = c;
    s->zone = zone_new();
    s->chain = (struct chain){.zone = s->zone, .refresh = refresh, .ctx = s};
    read_listen(s);
    int r = follow_objects(s);
    if (r == 0)
        r = config_first(s, e);
    if (r == 0)
        r = config_follow(s, e);
    if (r == -ECANCELED)
        lame_duck(s);
    stop_all(s);
    return r;
}
