/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/local.h"

#include "apiserver/audit.h"
#include "apiserver/auth.h"
#include "apiserver/custom.h"
#include "apiserver/follow.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "names.h"

struct local {
    struct client base;
    struct apiserver *server;
    struct arena arena; /* the user's texts */
    struct user user;
    bool trusted;
};

static const struct client_ops local_ops;

static struct local *local_of(struct client *c)
{
    return CONTAINER_OF(c, struct local, base);
}

/* ---- requests made by hand --------------------------------------------------------------------------- */

static const struct {
    uint16_t bit;
    const char *name;
} verb_names[] = {
    {VERB_GET, "get"},       {VERB_LIST, "list"},
    {VERB_WATCH, "watch"},   {VERB_CREATE, "create"},
    {VERB_UPDATE, "update"}, {VERB_PATCH, "patch"},
    {VERB_DELETE, "delete"}, {VERB_DELETECOLLECTION, "deletecollection"},
};

static const enum media patch_medias[] = {
    [PATCH_JSON] = MEDIA_JSON_PATCH,
    [PATCH_MERGE] = MEDIA_MERGE_PATCH,
    [PATCH_STRATEGIC] = MEDIA_STRATEGIC_PATCH,
    [PATCH_APPLY] = MEDIA_APPLY_PATCH,
};

static void fill_info(struct request *r, uint16_t verb, const struct call *call)
{
    struct request_info *in = &r->info;
    for (size_t i = 0; i < ARRAY_SIZE(verb_names); i++)
        if (verb_names[i].bit == verb)
            in->verb = str_of(verb_names[i].name);
    in->is_resource = true;
    in->group = str_of(call->res->group);
    in->version = str_of(call->res->version);
    in->resource = str_of(call->res->name);
    in->subresource = call->subresource ? str_of(call->subresource) : STR("");
    in->ns = call->res->namespaced ? call->ns : STR("");
    in->name = call->name;
    if (!in->name.n && (verb & (VERB_LIST | VERB_WATCH)))
        in->name = name_in_selector(r->arena, call->field_selector);
    r->ns = in->ns;
    r->res = custom_resolve(r->server, call->res);
    r->sub = r->res && call->subresource ? resource_subresource(r->res, str_of(call->subresource)) : NULL;
    r->kind = r->res && r->res->stored ? cache_kind(r->server->cache, r->res) : NULL;
}

static void fill_options(struct request *r, const struct call *call)
{
    struct request_options *o = &r->opt;
    o->dry_run = call->dry_run;
    o->field_manager = str_of(call->field_manager);
    o->field_validation = STR("Ignore");
    o->uid = call->uid;
    o->delete_revision = call->resource_version;
    o->propagation = str_of(call->propagation);
    o->grace = call->grace_seconds;
    o->label_selector = call->label_selector;
    o->field_selector = call->field_selector;
    o->limit = call->limit;
    o->continue_token = call->continue_token;
    o->force = call->force;
}

/* 404 for a custom kind that is not served. */
static int begin(struct request *r, struct local *l, struct arena *a, uint16_t verb, const struct call *call)
{
    request_init(r, l->server, a, NULL);
    r->user = l->user;
    r->trusted = l->trusted;
    fill_info(r, verb, call);
    fill_options(r, call);
    return r->res ? 0 : status_set(&r->status, 404, "NotFound", "the server could not find the requested resource");
}

static const struct val *answer_val(struct request *r)
{
    const struct answer *a = &r->answer;
    switch (a->kind) {
    case ANSWER_OBJECT: {
        struct val *v = ARENA_NEW(r->arena, struct val);
        *v = answer_item(r, a->object, false);
        return v;
    }
    case ANSWER_LIST:
        return answer_list_val(r);
    case ANSWER_VALUE:
        return a->val;
    case ANSWER_NONE:
    case ANSWER_TEXT:
    case ANSWER_SENT:
        break;
    }
    return NULL;
}

static int refused(struct status *s, const struct status *from, int code)
{
    status_from_val(s, val_copy(s->arena, status_to_val(from, s->arena)));
    if (!s->code)
        s->code = code;
    return s->code;
}

static int local_call(struct client *c, uint16_t verb, const struct call *call, const struct val *body,
                      enum patch_kind kind, struct str patch, struct arena *a, const struct val **ret,
                      struct status *s)
{
    struct arena own CLEANUP_ARENA = ARENA_INIT;
    struct request r;
    int e = begin(&r, local_of(c), &own, verb, call);
    r.body_val = body;
    if (verb == VERB_PATCH) {
        r.body_media = patch_medias[kind];
        r.body = patch;
    }
    if (!e)
        e = audit_begin_local(&r, c->name);
    if (!e)
        e = request_authorize(&r);
    if (!e)
        e = request_route(&r);
    audit_done(&r);
    if (e == 0 && r.answer.kind == ANSWER_TEXT && r.answer.code >= 400)
        e = status_set(&r.status, r.answer.code, NULL, "%.*s", STR_ARG(r.answer.text));
    if (e > 0)
        e = refused(s, &r.status, e);
    else if (e == 0 && ret)
        *ret = val_copy(a, answer_val(&r));
    request_done(&r);
    return e;
}

/* ---- watches ----------------------------------------------------------------------------------------- */

struct local_watch {
    struct client_watch base;
    struct local *local;
    struct arena arena; /* the selection's texts */
    struct selection sel;
    struct follow follow;
    const struct resource *res;
    bool waiting, closed;
};

static int select_for(struct local *l, const struct call *call, struct local_watch *w,
                      struct cache_kind **ret, struct status *s)
{
    struct request r;
    struct call *copy = ARENA_NEW(&w->arena, struct call);
    *copy = *call;
    copy->ns = arena_str(&w->arena, call->ns);
    copy->name = arena_str(&w->arena, call->name);
    copy->label_selector = arena_str(&w->arena, call->label_selector);
    copy->field_selector = arena_str(&w->arena, call->field_selector);
    int e = begin(&r, l, &w->arena, VERB_WATCH, copy);
    r.opt.watch = true;
    if (!e)
        e = request_authorize(&r);
    if (!e && !r.kind)
        e = status_method_not_supported(&r.status, call->res, "watch");
    if (!e)
        e = selection_parse(&r, &w->sel);
    if (e > 0)
        e = refused(s, &r.status, e);
    *ret = r.kind;
    request_done(&r);
    return e;
}

static void watch_free(struct local_watch *w)
{
    follow_end(&w->follow);
    arena_done(&w->arena);
    free(w);
}

static int local_watch(struct client *c, const struct call *call, int64_t rev, struct client_watch **ret,
                       struct status *s)
{
    struct local *l = local_of(c);
    struct local_watch *w = NEW(struct local_watch);
    struct cache_kind *k = NULL;
    w->base.ops = &local_ops;
    w->local = l;
    w->res = call->res;
    int e = select_for(l, call, w, &k, s);
    if (!e && !rev)
        e = cache_fresh(l->server->cache);
    if (!e)
        e = follow_begin(&w->follow, k, &w->sel, rev, rev == 0);
    if (e == STORE_COMPACTED)
        e = status_gone(s, "too old resource version: %lld", (long long)rev);
    if (e) {
        watch_free(w);
        return e;
    }
    *ret = &w->base;
    return 0;
}

static void take(const struct local_watch *w, enum watch_event_kind kind, const struct object *o,
                 struct watch_event *ret)
{
    ret->kind = kind;
    ret->object = o ? object_ref(o) : watch_bookmark(w->res, w->follow.initial_revision);
}

static int local_watch_next(struct client_watch *base, struct mono deadline, struct watch_event *ret,
                            struct status *s)
{
    struct local_watch *w = CONTAINER_OF(base, struct local_watch, base);
    enum watch_event_kind kind;
    const struct object *o;
    for (;;) {
        int e = follow_next(&w->follow, &kind, &o);
        if (e == STORE_COMPACTED)
            return status_gone(s, "the watch fell too far behind");
        if (e) {
            take(w, kind, o, ret);
            return 0;
        }
        w->waiting = true;
        e = waitq_wait(&w->follow.waiter.q, deadline);
        w->waiting = false;
        if (w->closed) {
            watch_free(w);
            return -EPIPE;
        }
        if (e < 0)
            return e;
        if (w->local->server->stopping)
            return -EPIPE;
    }
}

/* A fiber that waits in next frees it when it wakes. */
static void local_watch_close(struct client_watch *base)
{
    struct local_watch *w = CONTAINER_OF(base, struct local_watch, base);
    if (!w->waiting) {
        watch_free(w);
        return;
    }
    w->closed = true;
    waitq_wake_all(&w->follow.waiter.q);
}

/* ---- making ------------------------------------------------------------------------------------------ */

static void local_free(struct client *c)
{
    struct local *l = local_of(c);
    arena_done(&l->arena);
    free(l);
}

static const struct client_ops local_ops = {
    .call = local_call,
    .watch = local_watch,
    .watch_next = local_watch_next,
    .watch_close = local_watch_close,
    .free = local_free,
};

struct client *local_client_new(struct apiserver *s, const char *name, const char *user,
                                const char *const *groups)
{
    struct local *l = NEW(struct local);
    l->base = (struct client){.ops = &local_ops, .name = name};
    l->server = s;
    l->trusted = !user;
    l->user = (struct user){.name = str_of(user ? user : "system:apiserver")};
    for (size_t i = 0; groups && groups[i]; i++)
        user_add_group(&l->arena, &l->user, str_of(groups[i]));
    user_add_group(&l->arena, &l->user, user ? STR("system:authenticated") : STR("system:masters"));
    return &l->base;
}

const struct tree *local_tree(struct client *c, const struct resource *res)
{
    struct cache_kind *k = cache_kind(local_of(c)->server->cache, res);
    return k ? k->root : NULL;
}

int64_t local_revision(struct client *c)
{
    return cache_revision(local_of(c)->server->cache);
}
