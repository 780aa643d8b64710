/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/engine.h"

#include <pthread.h>

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/https.h"
#include "controllers/accounts.h"
#include "controllers/address_pool.h"
#include "controllers/customs.h"
#include "controllers/workq.h"
#include "resources.h"
#include "type/meta.h"

enum {
    BATCH_MAX = 64,          /* creates or deletes in flight at once for one key */
    OWN_WRITE_SECONDS = 300, /* how long to wait for one's own writes to come back; upstream's expectations */
    REST_FACTOR =
        10, /* a key that cost much to decide rests so many times as long: changes gather meanwhile */
    REST_FROM_US = 200, /* what is much */
    REST_MAX_MS = 100,
    CUSTOMS_REST_MS = 100, /* definitions that come at once are looked at at once */
    DOUBT_SECONDS = 1, /* how long to wait for what was perhaps made to show up, before it is made again */
};

struct engine {
    struct client *client;
    struct replica *replica;
    struct customs *customs;  /* NULL: nobody reads every kind */
    struct waitq definitions; /* some changed */
    bool look;
    struct group fibers;
    struct accounts *accounts; /* NULL: all write as who we are */
    const struct controllers_config *config;
    struct runner *runners;
    size_t n_runners;
};

/* One controller at work. */
struct runner {
    struct engine *engine;
    const struct controller *controller;
    struct client *client; /* what it writes with */
    struct workq queue;
    struct waitq more;
    struct group fibers;
    struct event_recorder *events;
    struct snapshot live; /* borrowed trees, refreshed for every change */
    void *state;
};

/* ---- own writes not yet seen in the replica, by key -------------------------------------------------- */

struct unseen {
    const struct resource *res;
    int64_t revision;      /* the replica must have come so far ... */
    char *ns, *name, *uid; /* ... or this object must be gone or going (revision 0) */
};

struct unseen_list {
    struct unseen *items;
    size_t n;
};

static void unseen_free(void *p)
{
    struct unseen_list *l = p;
    for (size_t i = 0; i < l->n; i++) {
        free(l->items[i].ns);
        free(l->items[i].name);
        free(l->items[i].uid);
    }
    free(l->items);
    free(l);
}

static struct unseen *unseen_add(struct workq_item *item, const struct resource *res)
{
    struct unseen_list *l = item->user ? item->user : NEW(struct unseen_list);
    item->user = l;
    l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
    l->items[l->n] = (struct unseen){.res = res};
    return &l->items[l->n++];
}

static void unseen_revision(struct workq_item *item, const struct resource *res, int64_t revision)
{
    struct unseen_list *l = item->user;
    for (size_t i = 0; l && i < l->n; i++)
        if (l->items[i].res == res && l->items[i].revision) {
            l->items[i].revision = MAX(l->items[i].revision, revision);
            return;
        }
    unseen_add(item, res)->revision = revision;
}

static bool is_seen(const struct replica *r, const struct unseen *u)
{
    if (!replica_follows(r, u->res))
        return true;
    if (u->revision)
        return replica_revision(r, u->res) >= u->revision;
    const struct object *o = replica_get(r, u->res, str_of(u->ns), str_of(u->name));
    return !o || obj_deleting(o->val) || (u->uid[0] && !str_is(o->uid, u->uid));
}

static bool all_seen(const struct replica *r, const struct unseen_list *l)
{
    for (size_t i = 0; l && i < l->n; i++)
        if (!is_seen(r, &l->items[i]))
            return false;
    return true;
}

/* Read your own writes: 0, or -ECANCELED. A replica that never sees them is no reason to stop for ever. */
static int wait_for_own_writes(struct runner *r, struct workq_item *item)
{
    struct mono until = mono_add(os_mono(), SECONDS(OWN_WRITE_SECONDS));
    while (!all_seen(r->engine->replica, item->user)) {
        int w = replica_wait_moved(r->engine->replica, until);
        if (w == -ETIMEDOUT)
            break;
        if (w < 0)
            return w;
    }
    if (item->user)
        unseen_free(item->user);
    item->user = NULL;
    return 0;
}

/* ---- carrying out writes ----------------------------------------------------------------------------- */

/* What all parts of one reconcile share. */
struct job {
    struct runner *runner;
    struct workq_item *item;
    struct snapshot world;
    struct key key;
    struct writes writes;
    struct arena arena;
    int64_t cost;             /* of deciding, ns */
    bool doubt;   /* something was perhaps made: there was no answer */
    int64_t refused_again_ns; /* what the refused function says about trying again; 0: nothing */
};

/* 409 when it is there after all. */
static int check_absent(struct client *c, const struct write *w, struct arena *a, struct status *s)
{
    const struct val *got = NULL;
    int r = client_get(c, CALL(.res = w->res, .ns = w->ns, .name = w->name), a, &got, s);
    if (r == 404)
        return 0;
    if (r == 0 && (str_empty(w->uid) || str_eq(obj_uid(got), w->uid)))
        return status_conflict(s, w->res, w->name, "it is still there");
    return r;
}

static int check_allowed(struct client *c, const struct write *w, struct arena *a, struct status *s)
{
    const struct val *got = NULL;
    int r = client_create(c, CALL(.res = w->res), w->body, a, &got, s);
    if (r == 0 && !val_bool(val_at(got, N_status, N_allowed), false))
        return status_set(s, 403, NULL, "not allowed: " STR_FMT,
                          STR_ARG(val_str(val_at(got, N_status, N_reason))));
    return r;
}

static int call_for(struct client *c, const struct write *w, struct arena *a, const struct val **ret,
                    struct status *s)
{
    struct call call = {.res = w->res,
                        .ns = w->ns,
                        .name = w->name,
                        .subresource = w->subresource,
                        .grace_seconds = w->grace_seconds,
                        .propagation = w->propagation,
                        .uid = w->uid,
                        .resource_version = w->revision};
    switch (w->verb) {
    case WRITE_CREATE:
        if (!w->subresource)
            call.name = STR_NULL; /* a create goes to the collection */
        return client_create(c, &call, w->body, a, ret, s);
    case WRITE_UPDATE_STATUS:
        call.subresource = "status";
        return client_update(c, &call, w->body, a, ret, s);
    case WRITE_UPDATE:
        return client_update(c, &call, w->body, a, ret, s);
    case WRITE_PATCH_STATUS:
        call.subresource = "status";
        return client_patch(c, &call, w->strategic ? PATCH_STRATEGIC : PATCH_MERGE, w->patch, a, ret, s);
    case WRITE_PATCH:
        return client_patch(c, &call, w->strategic ? PATCH_STRATEGIC : PATCH_MERGE, w->patch, a, ret, s);
    case WRITE_DELETE:
        return str_empty(w->name) ? client_delete_collection(c, &call, a, ret, s)
                                  : client_delete(c, &call, a, ret, s);
    case WRITE_CHECK_ABSENT:
        return check_absent(c, w, a, s);
    case WRITE_CHECK_ALLOWED:
        return check_allowed(c, w, a, s);
    case WRITE_EVENT:
        return 0;
    }
    return -EINVAL;
}

static void remember_write(struct job *j, const struct write *w, const struct val *got)
{
    if (w->verb == WRITE_CHECK_ABSENT || w->verb == WRITE_CHECK_ALLOWED)
        return;
    int64_t revision = str_eq(obj_name(got), w->name) || w->verb == WRITE_CREATE ? obj_revision(got) : 0;
    if (w->verb != WRITE_DELETE && revision) {
        unseen_revision(j->item, w->res, revision);
    } else if (w->verb == WRITE_DELETE && !str_empty(w->name)) {
        struct unseen *u = unseen_add(j->item, w->res);
        u->ns = str_dup(w->ns);
        u->name = str_dup(w->name);
        u->uid = str_dup(w->uid);
    }
}

static void tell(struct job *j, const struct write *w, const struct val *got, const struct status *s)
{
    const struct telling *t = w->telling;
    if (!t)
        return;
    struct str name = str_empty(w->name) ? obj_name(got) : w->name;
    struct event_recorder *events = j->runner->events;
    if (!s)
        event_record(events, w->about_res, w->about, false, t->reason, "%s" STR_FMT "%s", t->text, STR_ARG(name),
                     t->tail ? t->tail : "");
    else if (t->failed_reason && s->code && !(w->verb == WRITE_CREATE && s->code == 409))
        event_record(events, w->about_res, w->about, true, t->failed_reason, "%s" STR_FMT, t->failed_text,
                     STR_ARG(s->message));
}

/* One write: 0 when it is done, else the code or -errno, with s. */
static int carry_out(struct job *j, const struct write *w, struct arena *a, struct status *s)
{
    if (w->verb == WRITE_EVENT) {
        event_record(j->runner->events, w->res, w->body, w->warning, w->reason, STR_FMT, STR_ARG(w->message));
        return 0;
    }
    const struct val *got = NULL;
    int r = call_for(j->runner->client, w, a, &got, s);
    if (r != 0 && r == w->may_fail)
        return 0;
    if (r == 401 && j->runner->engine->accounts)
        accounts_refused(j->runner->engine->accounts, j->runner->client);
    if (r == 0)
        remember_write(j, w, got);
    tell(j, w, got, r ? s : NULL);
    return r;
}

/* A write in a fiber of its own. */
struct flight {
    struct job *job;
    const struct write *write;
    struct arena arena;
    struct status status;
    int result;
};

static void fly(void *arg)
{
    struct flight *f = arg;
    f->result = carry_out(f->job, f->write, &f->arena, &f->status);
}

/* A patch is of an object of its own, so that the order of several does not matter either. */
static bool in_company(const struct write *w)
{
    return w->verb == WRITE_CREATE || w->verb == WRITE_DELETE || w->verb == WRITE_PATCH;
}

static bool go_together(const struct write *a, const struct write *b)
{
    return a->verb == b->verb && a->res == b->res && in_company(a);
}

/* The failure that counts (the first) is copied to s, its write to *ret_failed. */
static int fly_batch(struct job *j, const struct write **batch, size_t n, struct status *s,
                     const struct write **ret_failed)
{
    struct flight *flights = ARENA_ARRAY(&j->arena, struct flight, n);
    struct group g = {0};
    int result = 0;
    for (size_t i = 0; i < n; i++) {
        flights[i] = (struct flight){.job = j, .write = batch[i]};
        status_init(&flights[i].status, &flights[i].arena);
        if (n > 1)
            group_spawn(&g, "write", fly, &flights[i]);
        else
            fly(&flights[i]);
    }
    if (group_wait(&g, MONO_NEVER) < 0)
        group_stop(&g);
    for (size_t i = 0; i < n; i++) {
        struct flight *f = &flights[i];
        if (f->result && !result) {
            result = f->result;
            *ret_failed = f->write;
            *s = f->status;
            s->message = arena_str(&j->arena, f->status.message);
            s->causes = NULL;
            s->n_causes = 0;
        }
        arena_done(&f->arena);
    }
    return result;
}

/* How many writes from l on (at most max) may go at once. */
static size_t gather(const struct list *head, const struct list *l, const struct write **batch, size_t max)
{
    size_t n = 0;
    for (; l != head && n < max; l = l->next) {
        const struct write *w = LIST_ENTRY(l, struct write, link);
        if (n > 0 && !go_together(batch[0], w))
            break;
        batch[n++] = w;
        if (!in_company(w))
            break;
    }
    return n;
}

/* Carries out a list. 0, or the failure that stopped it with s and its write. */
static int carry_out_all(struct job *j, struct list *list, struct status *s, const struct write **ret_failed)
{
    const struct write *batch[BATCH_MAX];
    const struct write *last = NULL;
    size_t room = 1;
    struct list *l = list->next;
    while (l && l != list) {
        const struct write *w = LIST_ENTRY(l, struct write, link);
        room = last && go_together(last, w) ? MIN(room * 2, (size_t)BATCH_MAX) : 1;
        size_t n = gather(list, l, batch, room);
        int r = fly_batch(j, batch, n, s, ret_failed);
        if (r)
            return r;
        last = batch[n - 1];
        l = last->link.next;
    }
    return 0;
}

/* ---- reconciling ------------------------------------------------------------------------------------- */

static void tell_refusal(struct job *j, const struct write *failed, const struct status *s)
{
    const struct controller *c = j->runner->controller;
    if (!c->refused || s->code == 0)
        return;
    struct writes w = {.arena = &j->arena, .config = j->writes.config, .state = j->writes.state,
                       .gathered = j->writes.gathered};
    list_init(&w.list);
    c->refused(&j->world, j->key, failed, s, os_wall(), &w);
    struct status ignored;
    status_init(&ignored, &j->arena);
    const struct write *which;
    carry_out_all(j, &w.list, &ignored, &which);
    j->refused_again_ns = w.again_ns;
}

bool refused_by_terminating_namespace(const struct status *s)
{
    return s->code == 403 && str_contains(s->message, STR("because it is being terminated"));
}

static void log_failure(const struct job *j, const struct write *w, int r, const struct status *s)
{
    const char *name = j->runner->controller->name;
    if (r == 409 || r == 404 || r == -ECANCELED || refused_by_terminating_namespace(s)) /* the world moved on */
        log_debug(name, "%s: %s " STR_FMT ": " STR_FMT, j->item->text, w->res->name, STR_ARG(w->name),
                  STR_ARG(s->message));
    else
        log_warn(name, "%s: cannot write %s " STR_FMT ": " STR_FMT " (%d)", j->item->text, w->res->name,
                 STR_ARG(w->name), STR_ARG(s->message), r);
}

static struct key key_parse(const struct workq_item *item)
{
    struct str text = str_n(item->text, item->n), head, tail;
    if (str_cut(text, '/', &head, &tail))
        return (struct key){head, tail};
    return (struct key){STR_NULL, text};
}

/* Asking takes time: what is decided then is decided over the world as it is after it. */
static void ask_around(struct job *j)
{
    struct runner *r = j->runner;
    if (!r->controller->gather)
        return;
    j->writes.gathered = r->controller->gather(r->client, &j->world, j->key, &j->arena);
    snapshot_release(&j->world);
    snapshot_take_kinds(r->engine->replica, r->controller->reads, &j->world);
}

/* Whether the key is done with for now. */
static bool reconcile(struct job *j)
{
    const struct controller *c = j->runner->controller;
    struct mono begun = os_mono();
    int r = c->reconcile(&j->world, j->key, os_wall(), &j->writes);
    j->cost = os_mono().ns - begun.ns;
    if (r < 0)
        log_debug(c->name, "%s: %s", j->item->text, strerror(-r));
    struct status s;
    status_init(&s, &j->arena);
    const struct write *failed = NULL;
    int w = carry_out_all(j, &j->writes.list, &s, &failed);
    if (w) {
        j->doubt = w < 0 && failed->verb == WRITE_CREATE;
        log_failure(j, failed, w, &s);
        tell_refusal(j, failed, &s);
    }
    return r == 0 && (w == 0 || refused_by_terminating_namespace(&s));
}

/* A key whose reconcile is costly (a service with a thousand pods) and whose world changes all the time would
 * otherwise be decided again for every single change. */
struct resting {
    struct runner *runner;
    struct workq_item *item;
    int64_t ns;
    bool well;
};

static void rest(void *arg)
{
    struct resting *s = arg;
    if (fiber_sleep(s->ns) == 0) {
        workq_finish(&s->runner->queue, s->item, s->well, os_mono());
        waitq_wake_one(&s->runner->more);
    }
    free(s);
}

static void finish(const struct job *j, bool well)
{
    struct runner *r = j->runner;
    int64_t ns = j->cost < REST_FROM_US * NSEC_PER_USEC ? 0 : MIN(j->cost * REST_FACTOR, MILLISECONDS(REST_MAX_MS));
    if (j->doubt)
        ns = SECONDS(DOUBT_SECONDS);
    if (!ns) {
        workq_finish(&r->queue, j->item, well, os_mono());
        return;
    }
    struct resting *s = NEW(struct resting);
    *s = (struct resting){r, j->item, ns, well};
    group_spawn(&r->fibers, "rest", rest, s);
}

static void work_on(struct runner *r, struct workq_item *item)
{
    struct job j = {.runner = r, .item = item, .key = key_parse(item)};
    if (wait_for_own_writes(r, item) < 0)
        return;
    snapshot_take_kinds(r->engine->replica, r->controller->reads, &j.world);
    j.writes = (struct writes){.arena = &j.arena, .config = r->engine->config, .state = r->state};
    list_init(&j.writes.list);
    ask_around(&j);
    bool well = reconcile(&j);
    int64_t again_ns = well ? j.writes.again_ns : j.refused_again_ns;
    if (again_ns)
        workq_add_at(&r->queue, str_n(item->text, item->n), mono_add(os_mono(), again_ns));
    snapshot_release(&j.world);
    arena_done(&j.arena);
    finish(&j, well);
}

static void worker(void *arg)
{
    struct runner *r = arg;
    while (!fiber_cancelled()) {
        struct workq_item *item = workq_get(&r->queue, os_mono());
        if (item) {
            work_on(r, item);
            fiber_yield();
        } else if (waitq_wait(&r->more, workq_due(&r->queue)) == -ECANCELED) {
            break;
        }
    }
}

/* ---- changes to keys --------------------------------------------------------------------------------- */

static void add_key(void *arg, struct key key)
{
    struct runner *r = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    workq_add(&r->queue, obj_key(&a, key.ns, key.name));
    waitq_wake_one(&r->more);
}

static uint16_t every_kind[256];
static pthread_once_t every_kind_once = PTHREAD_ONCE_INIT;

static void find_every_kind(void)
{
    size_t n = 0;
    for (unsigned i = 1; i < n_resources && n + 1 < ARRAY_SIZE(every_kind); i++) {
        const struct resource *r = &resources[i];
        if (r->stored && r->storage == i && (r->verbs & VERB_WATCH) && i != RES_EVENTS &&
            i != RES_EVENTS_EVENTS_K8S_IO)
            every_kind[n++] = (uint16_t)i;
    }
}

const uint16_t *controller_reads(const struct controller *c)
{
    pthread_once(&every_kind_once, find_every_kind);
    return c->reads ? c->reads : every_kind;
}

static bool reads(const struct controller *c, const struct resource *res)
{
    for (const uint16_t *k = c->reads; k && *k; k++)
        if (&resources[*k] == res)
            return true;
    return !c->reads;
}

static void on_change(void *arg, const struct resource *res, const struct object *old,
                      const struct object *new_)
{
    struct engine *e = arg;
    if (res == &resources[RES_CUSTOMRESOURCEDEFINITIONS]) {
        e->look = true;
        waitq_wake_all(&e->definitions);
    }
    for (size_t i = 0; i < e->n_runners; i++) {
        struct runner *r = &e->runners[i];
        if (!reads(r->controller, res))
            continue;
        if (r->controller->changed)
            r->controller->changed(r->state, res, old, new_, add_key, r);
        if (!r->controller->keys_of)
            continue;
        snapshot_borrow(e->replica, r->controller->reads, &r->live);
        r->controller->keys_of(&r->live, res, old, new_, add_key, r);
    }
}

static int64_t resync_period(const struct runner *r)
{
    return r->controller->resync_of ? r->controller->resync_of(r->engine->config) : r->controller->resync_ns;
}

/* What could not be counted before can be now. */
static void on_listed(void *arg, const struct resource *res)
{
    struct engine *e = arg;
    for (size_t i = 0; is_custom(res) && i < e->n_runners; i++)
        if (!e->runners[i].controller->reads && resync_period(&e->runners[i]))
            add_key(&e->runners[i], (struct key){STR_NULL, STR_NULL});
}

static void follow_definitions(void *arg)
{
    struct engine *e = arg;
    for (;;) {
        while (!e->look)
            if (waitq_wait(&e->definitions, MONO_NEVER) == -ECANCELED)
                return;
        e->look = false;
        customs_look(e->customs, os_mono());
        if (fiber_sleep(MILLISECONDS(CUSTOMS_REST_MS)) < 0)
            return;
    }
}

static void resync(void *arg)
{
    struct runner *r = arg;
    do
        add_key(r, (struct key){STR_NULL, STR_NULL});
    while (fiber_sleep(resync_period(r)) == 0);
}

/* ---- running ----------------------------------------------------------------------------------------- */

static void runner_start(struct runner *r)
{
    const struct controller *c = r->controller;
    if (r->engine->accounts)
        r->client = accounts_client(r->engine->accounts, c->account ? c->account : c->name);
    r->events = event_recorder_new(r->client, c->source ? c->source : c->name, NULL);
    for (unsigned i = 0; i < MAX(r->controller->workers, 1u); i++)
        group_spawn(&r->fibers, r->controller->name, worker, r);
    if (resync_period(r))
        group_spawn(&r->fibers, r->controller->name, resync, r);
}

static void runner_init(struct engine *e, struct runner *r, const struct controller *c)
{
    *r = (struct runner){.engine = e, .controller = c, .client = e->client};
    workq_init(&r->queue, unseen_free);
    r->queue.backoff_max = c->retry_max_ns;
    if (c->state_new)
        r->state = c->state_new(e->config);
}

static void runner_done(struct runner *r)
{
    group_stop(&r->fibers);
    event_recorder_free(r->events);
    workq_done(&r->queue);
    snapshot_return(&r->live);
    if (r->controller->state_free)
        r->controller->state_free(r->state);
}

/* The kinds that the chosen controllers read, each once. */
static struct replica *make_replica(struct engine *e)
{
    bool wanted[256] = {false};
    struct replica_kind kinds[256];
    size_t n = 0;
    for (size_t i = 0; i < e->n_runners; i++)
        for (const uint16_t *k = controller_reads(e->runners[i].controller); *k; k++)
            if (!wanted[*k]) {
                wanted[*k] = true;
                kinds[n++] = (struct replica_kind){.res = &resources[*k]};
            }
    struct replica *r = replica_new(e->client, kinds, n);
    static const uint16_t owned[] = {RES_PODS, RES_REPLICASETS, RES_JOBS, RES_CONTROLLERREVISIONS, RES_RESOURCECLAIMS};
    for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
        replica_add_index(r, &resources[owned[i]], index_controller_uid);
    replica_add_index(r, &resources[RES_PODS], index_pod_node);
    return r;
}

/* Runs what is in e->runners until the fiber is cancelled. */
static int run(struct engine *e)
{
    e->replica = make_replica(e);
    replica_on_change(e->replica, on_change, e);
    replica_on_listed(e->replica, on_listed, e);
    replica_start(e->replica);
    if (e->config->service_accounts && client_is_https(e->client))
        e->accounts = accounts_new(e->client);
    int r = replica_wait_synced(e->replica, MONO_NEVER);
    for (size_t i = 0; r == 0 && i < e->n_runners; i++) {
        runner_start(&e->runners[i]);
        if (!e->runners[i].controller->reads && !e->customs)
            e->customs = customs_new(e->replica);
    }
    if (e->customs)
        group_spawn(&e->fibers, "definitions", follow_definitions, e);
    while (r == 0)
        r = fiber_sleep(SECONDS(3600));
    group_stop(&e->fibers);
    for (size_t i = 0; i < e->n_runners; i++)
        group_stop(&e->runners[i].fibers);
    replica_free(e->replica);
    customs_free(e->customs);
    for (size_t i = 0; i < e->n_runners; i++)
        runner_done(&e->runners[i]);
    accounts_free(e->accounts);
    free(e->runners);
    return r;
}

static bool is_name(struct str s, const struct controller *c)
{
    return str_is(s, c->name) || (c->alias && str_is(s, c->alias));
}

/* As --controllers is read upstream: named beats "-name" beats "*". */
static bool chosen(const char *names, const struct controller *c)
{
    struct str rest = str_of(names && *names ? names : "*"), item;
    bool star = false;
    while (str_next(&rest, ',', &item)) {
        item = str_trim(item);
        if (is_name(item, c))
            return true;
        if (item.n > 1 && item.p[0] == '-' && is_name(str_from(item, 1), c))
            return false;
        star |= str_is(item, "*");
    }
    return star && !c->off;
}

static int check_names(const char *names, struct err *e)
{
    struct str rest = str_of(names ? names : "*"), item;
    while (str_next(&rest, ',', &item)) {
        item = str_trim(item);
        struct str bare = item.n > 0 && item.p[0] == '-' ? str_from(item, 1) : item;
        bool known = str_empty(item) || str_is(item, "*");
        for (size_t i = 0; !known && controllers[i]; i++)
            known = is_name(bare, controllers[i]);
        for (size_t i = 0; !known && controllers_elsewhere[i]; i++)
            known = str_is(bare, controllers_elsewhere[i]);
        if (!known)
            return err_set(e, -EINVAL, "\"" STR_FMT "\" is not in the list of known controllers",
                           STR_ARG(bare));
    }
    return 0;
}

static int check_cidrs(const char *list, const char *what, struct err *e)
{
    struct str rest = str_of(list), item;
    struct cidr c;
    while (rest.p && str_next(&rest, ',', &item))
        if (cidr_parse(str_trim(item), &c) < 0)
            return err_set(e, -EINVAL, "%s: \"" STR_FMT "\" is not a network (as 10.244.0.0/16)", what,
                           STR_ARG(item));
    return 0;
}

static int check_apart(const struct address_pool *p, const char *list, const char *whose, struct err *e)
{
    struct str rest = str_of(list), item;
    struct cidr c;
    while (rest.p && str_next(&rest, ',', &item))
        if (cidr_parse(str_trim(item), &c) == 0 && address_pool_overlaps(p, c))
            return err_set(e, -EINVAL, "--load-balancer-pool has addresses of the %s " STR_FMT, whose, STR_ARG(item));
    return 0;
}

static int check_pool(const struct controllers_config *config, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct address_pool p;
    if (!config->load_balancer_pool || !*config->load_balancer_pool)
        return 0;
    int r = address_pool_parse(&a, config->load_balancer_pool, &p, e);
    if (r < 0)
        return err_wrap(e, r, "--load-balancer-pool");
    r = check_apart(&p, config->cluster_cidr, "pods' network", e);
    return r == 0 ? check_apart(&p, config->service_cidr, "network of cluster IPs", e) : r;
}

int controllers_check(const struct controllers_config *config, struct err *e)
{
    int r = check_names(config->names, e);
    if (r == 0)
        r = check_cidrs(config->cluster_cidr, "--cluster-cidr", e);
    if (r == 0)
        r = check_cidrs(config->service_cidr, "--service-cluster-ip-range", e);
    return r == 0 ? check_pool(config, e) : r;
}

int controllers_run_with(struct client *c, const struct controllers_config *config, struct err *e)
{
    int r = controllers_check(config, e);
    if (r < 0)
        return r;
    struct engine engine = {.client = c, .config = config};
    size_t n = 0;
    while (controllers[n])
        n++;
    engine.runners = xcalloc(n + 1, sizeof(*engine.runners));
    for (size_t i = 0; i < n; i++)
        if (chosen(config->names, controllers[i]) &&
            (!controllers[i]->enabled || controllers[i]->enabled(config)))
            runner_init(&engine, &engine.runners[engine.n_runners++], controllers[i]);
    return run(&engine);
}

int controllers_run(struct client *c, const char *names, struct err *e)
{
    struct controllers_config config = {.names = names};
    return controllers_run_with(c, &config, e);
}

int controller_run(struct client *c, const struct controller *controller,
                   const struct controllers_config *config, struct err *e)
{
    static const struct controllers_config none;
    struct engine engine = {.client = c, .config = config ? config : &none, .n_runners = 1};
    engine.runners = xcalloc(1, sizeof(*engine.runners));
    runner_init(&engine, &engine.runners[0], controller);
    return run(&engine);
}
