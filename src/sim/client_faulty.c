/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/client_faulty.h"

#include "apiserver/local.h"
#include "base/os.h"
#include "sim/internal.h"
#include "type/meta.h"

enum { MILLION = 1000000 };

/* The server's client, shared by a part and those of its requests that outlive it. */
struct inner {
    struct client *client;
    unsigned refs;
};

struct faulty {
    struct client base;
    struct server_slot *slot;
    struct road *road;
    const char *user;
    const char *const *groups;
    struct list link;      /* on slot->clients */
    struct inner *inner;   /* towards the present server; NULL when there is none yet */
};

static const struct client_ops faulty_ops;

static struct faulty *faulty_of(struct client *c)
{
    return CONTAINER_OF(c, struct faulty, base);
}

static void inner_unref(struct inner *i)
{
    if (!i || --i->refs)
        return;
    client_free(i->client);
    free(i);
}

/* The way to the server that is up now. */
static struct client *inner_of(struct faulty *f)
{
    if (!f->inner) {
        f->inner = NEW(struct inner);
        f->inner->refs = 1;
        f->inner->client = local_client_new(f->slot->server, f->base.name, f->user, f->groups);
    }
    return f->inner->client;
}

/* ---- the road -------------------------------------------------------------------------------------------------- */

void road_set_cut(struct road *r, bool cut)
{
    r->cut = cut;
    if (!cut)
        waitq_wake_all(&r->mended);
}

static bool lost(const struct road *r)
{
    return r && r->loss && sim_below(MILLION) < r->loss;
}

static int travel(const struct road *r)
{
    return r && r->delay_max_ns ? fiber_sleep(sim_between(r->delay_min_ns, r->delay_max_ns)) : 0;
}

static int wait_mended(struct road *r, struct mono deadline)
{
    int e = 0;
    while (r && r->cut && e == 0)
        e = waitq_wait(&r->mended, deadline);
    return e;
}

/* One way along the road for a part of a call. */
static int cross(struct road *r, struct mono deadline)
{
    int e = travel(r);
    if (e == 0)
        e = wait_mended(r, deadline);
    if (e == 0 && lost(r))
        e = -ECONNRESET;
    return e;
}

/* ---- calls: handled by fibers of the server, which do not end with their callers ----------------------------------- */

struct request {
    struct inner *inner;
    uint16_t verb;
    struct call call;
    const struct val *body;
    enum patch_kind kind;
    struct str patch;
    struct arena arena;
    struct status status;
    const struct val *answer;
    int result;
    bool done, abandoned;
    struct waitq answered;
};

static void request_free(struct request *q)
{
    inner_unref(q->inner);
    arena_done(&q->arena);
    free(q);
}

static struct request *request_new(struct inner *inner, uint16_t verb, const struct call *call, const struct val *body,
                                   enum patch_kind kind, struct str patch)
{
    struct request *q = NEW(struct request);
    struct arena *a = &q->arena;
    *q = (struct request){.inner = inner, .verb = verb, .call = *call, .kind = kind};
    inner->refs++;
    status_init(&q->status, a);
    struct str *texts[] = {&q->call.ns, &q->call.name, &q->call.uid, &q->call.resource_version, &q->call.label_selector,
                           &q->call.field_selector, &q->call.continue_token};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i]->p)
            *texts[i] = arena_str(a, *texts[i]);
    q->patch = arena_str(a, patch);
    q->body = val_copy(a, body);
    return q;
}

static void handle(void *arg)
{
    struct request *q = arg;
    struct client *c = q->inner->client;
    q->result = c->ops->call(c, q->verb, &q->call, q->body, q->kind, q->patch, &q->arena, &q->answer, &q->status);
    q->done = true;
    waitq_wake_all(&q->answered);
    if (q->abandoned)
        request_free(q);
}

/* The caller's part: until the server has answered or is no more. */
static int await(struct faulty *f, struct request *q, unsigned generation)
{
    while (!q->done) {
        int e = waitq_wait(&q->answered, MONO_NEVER);
        if (e < 0)
            return e;
    }
    return f->slot->generation == generation && f->slot->server ? 0 : -ECONNRESET;
}

static int hand_over(struct request *q, struct arena *a, const struct val **ret, struct status *s)
{
    if (q->result > 0) {
        status_from_val(s, val_copy(s->arena, status_to_val(&q->status, s->arena)));
        s->code = q->result;
    } else if (q->result == 0 && ret) {
        *ret = val_copy(a, q->answer);
    }
    return q->result;
}

static bool writes(uint16_t verb)
{
    return verb & (VERB_CREATE | VERB_UPDATE | VERB_PATCH | VERB_DELETE | VERB_DELETECOLLECTION);
}

static void tell_acknowledged(struct faulty *f, uint16_t verb, const struct call *call, const struct val *answer)
{
    if (f->slot->acknowledged && writes(verb) && !call->dry_run)
        f->slot->acknowledged(f->slot->arg, verb, call, answer);
}

static int call_over_road(struct faulty *f, struct request *q, unsigned generation)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(ROAD_TIMEOUT_SECONDS));
    group_spawn(&f->slot->requests, "request", handle, q);
    int e = await(f, q, generation);
    if (e == 0)
        e = cross(f->road, deadline);
    return e == 0 && f->slot->generation != generation ? -ECONNRESET : e;
}

static int call_here(struct faulty *f, uint16_t verb, const struct call *call, const struct val *body,
                     enum patch_kind kind, struct str patch, struct arena *a, const struct val **ret, struct status *s)
{
    const struct val *answer = NULL;
    struct client *inner = inner_of(f);
    int e = inner->ops->call(inner, verb, call, body, kind, patch, a, &answer, s);
    if (e == 0)
        tell_acknowledged(f, verb, call, answer);
    if (e == 0 && ret)
        *ret = answer;
    return e;
}

static int faulty_call(struct client *c, uint16_t verb, const struct call *call, const struct val *body,
                       enum patch_kind kind, struct str patch, struct arena *a, const struct val **ret, struct status *s)
{
    struct faulty *f = faulty_of(c);
    if (!f->road)
        return f->slot->server ? call_here(f, verb, call, body, kind, patch, a, ret, s) : -ECONNREFUSED;
    int e = cross(f->road, mono_add(os_mono(), SECONDS(ROAD_TIMEOUT_SECONDS)));
    if (e < 0)
        return e;
    if (!f->slot->server)
        return -ECONNREFUSED;
    inner_of(f);
    struct request *q = request_new(f->inner, verb, call, body, kind, patch);
    e = call_over_road(f, q, f->slot->generation);
    if (e == 0)
        e = hand_over(q, a, ret, s);
    if (e == 0)
        tell_acknowledged(f, verb, call, q->answer);
    if (q->done)
        request_free(q);
    else
        q->abandoned = true;
    return e;
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

struct faulty_watch {
    struct client_watch base;
    struct faulty *owner;
    struct client_watch *inner; /* NULL: broken */
    struct list link;           /* on slot->watches */
    bool busy, closed;          /* a fiber is in next; the caller has no more use for it */
};

static int faulty_watch(struct client *c, const struct call *call, int64_t revision, struct client_watch **ret,
                        struct status *s)
{
    struct faulty *f = faulty_of(c);
    struct client_watch *inner = NULL;
    int e = f->road ? cross(f->road, mono_add(os_mono(), SECONDS(ROAD_TIMEOUT_SECONDS))) : 0;
    if (e < 0)
        return e;
    if (!f->slot->server)
        return -ECONNREFUSED;
    unsigned generation = f->slot->generation;
    f->slot->inside++;
    e = client_watch(inner_of(f), call, revision, &inner, s);
    f->slot->inside--;
    waitq_wake_all(&f->slot->left);
    if (e == 0 && (f->slot->generation != generation || !f->slot->server)) {
        client_watch_close(inner);
        return -ECONNRESET;
    }
    if (e != 0)
        return e;
    struct faulty_watch *w = NEW(struct faulty_watch);
    *w = (struct faulty_watch){.base.ops = &faulty_ops, .owner = f, .inner = inner};
    list_push_back(&f->slot->watches, &w->link);
    *ret = &w->base;
    return 0;
}

static void break_watch(struct faulty_watch *w)
{
    struct client_watch *inner = TAKE_PTR(w->inner);
    list_remove(&w->link);
    client_watch_close(inner);
}

static int next_inside(struct faulty_watch *w, struct mono deadline, struct watch_event *ret, struct status *s)
{
    struct server_slot *slot = w->owner->slot;
    slot->inside++;
    int e = client_watch_next(w->inner, deadline, ret, s);
    slot->inside--;
    waitq_wake_all(&slot->left);
    return e;
}

/* The event is there at the server; now to the client. */
static int deliver(struct faulty_watch *w, struct mono asked)
{
    struct road *road = w->owner->road;
    int e = os_mono().ns > asked.ns ? travel(road) : 0; /* what came in one go travels in one go */
    if (e == 0)
        e = wait_mended(road, MONO_NEVER);
    if (e == 0 && lost(road) && w->inner)
        break_watch(w);
    return e == 0 && !w->inner ? -EPIPE : e;
}

static int next(struct faulty_watch *w, struct mono deadline, struct watch_event *ret, struct status *s)
{
    struct watch_event got = {0};
    struct mono asked = os_mono();
    int e = wait_mended(w->owner->road, deadline);
    if (e < 0)
        return e;
    if (!w->inner)
        return -EPIPE;
    e = next_inside(w, deadline, &got, s);
    if (e == 0)
        e = w->closed ? -EPIPE : deliver(w, asked);
    if (e == 0)
        *ret = got;
    else
        object_unref(got.object);
    return e;
}

static int faulty_watch_next(struct client_watch *base, struct mono deadline, struct watch_event *ret, struct status *s)
{
    struct faulty_watch *w = CONTAINER_OF(base, struct faulty_watch, base);
    w->busy = true;
    int e = next(w, deadline, ret, s);
    w->busy = false;
    if (!w->closed)
        return e;
    if (e == 0)
        object_unref(ret->object);
    if (w->inner)
        break_watch(w);
    free(w);
    return -EPIPE;
}

static void faulty_watch_close(struct client_watch *base)
{
    struct faulty_watch *w = CONTAINER_OF(base, struct faulty_watch, base);
    if (w->inner)
        break_watch(w);
    w->closed = true;
    if (!w->busy)
        free(w);
}

/* ---- a server comes and goes --------------------------------------------------------------------------------------- */

void slot_up(struct server_slot *slot, struct apiserver *server)
{
    slot->server = server;
    slot->generation++;
}

void slot_down(struct server_slot *slot)
{
    if (!slot->server)
        return;
    slot->server = NULL;
    group_stop(&slot->requests);
    LIST_EACH_SAFE(&slot->watches, l)
        break_watch(LIST_ENTRY(l, struct faulty_watch, link));
    fiber_shield(true);
    while (slot->inside)
        waitq_wait(&slot->left, MONO_NEVER);
    fiber_shield(false);
    LIST_EACH(&slot->clients, l)
    {
        struct faulty *f = LIST_ENTRY(l, struct faulty, link);
        inner_unref(TAKE_PTR(f->inner));
    }
}

/* ---- making ---------------------------------------------------------------------------------------------------------- */

static void faulty_free(struct client *c)
{
    struct faulty *f = faulty_of(c);
    list_remove(&f->link);
    inner_unref(f->inner);
    free(f);
}

static const struct client_ops faulty_ops = {
    .call = faulty_call,
    .watch = faulty_watch,
    .watch_next = faulty_watch_next,
    .watch_close = faulty_watch_close,
    .free = faulty_free,
};

struct client *client_faulty_new(struct server_slot *slot, struct road *road, const char *name, const char *user,
                                 const char *const *groups)
{
    struct faulty *f = NEW(struct faulty);
    *f = (struct faulty){.base = {&faulty_ops, name}, .slot = slot, .road = road, .user = user, .groups = groups};
    list_push_back(&slot->clients, &f->link);
    return &f->base;
}
