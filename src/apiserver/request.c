/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a request: a list of stages that reads as the sentence people know. */
#include "apiserver/request.h"

#include "apiserver/audit.h"
#include "apiserver/flow.h"
#include "apiserver/quota_lock.h"
#include "apiserver/state.h"
#include "apiserver/uuid.h"
#include "apiserver/write.h"
#include "base/log.h"
#include "base/os.h"

struct held {
    struct held *next;
    struct object *object;
    struct tree *tree;
};

static request_stage *const stages[] = {
    request_parse, request_bound, request_authenticate, audit_begin,       request_impersonate,
    request_limit, request_authorize,    request_negotiate, request_route,
};

void request_init(struct request *r, struct apiserver *s, struct arena *a, struct http_exchange *x)
{
    *r = (struct request){.server = s, .arena = a, .x = x, .media = MEDIA_JSON};
    status_init(&r->status, a);
    r->now = os_wall();
    r->begun = os_mono();
    r->deadline = MONO_NEVER;
    r->opt.grace = -1;
    r->opt.send_initial = r->opt.orphan = -1;
}

void request_done(struct request *r)
{
    storage_drop_ops(r);
    quota_lock_release(r);
    for (struct held *h = r->held; h; h = h->next) {
        object_unref(h->object);
        tree_unref(h->tree);
    }
    r->held = NULL;
    if (r->seat)
        flow_leave(r->seat);
    r->seat = NULL;
    if (r->in_flight)
        --*r->in_flight;
    r->in_flight = NULL;
    if (r->server->winding_down)
        waitq_wake_all(&r->server->idle_q);
}

static void hold(struct request *r, struct object *o, struct tree *t)
{
    struct held *h = ARENA_NEW(r->arena, struct held);
    *h = (struct held){.next = r->held, .object = o, .tree = t};
    r->held = h;
}

const struct object *request_hold(struct request *r, const struct object *o)
{
    if (o)
        hold(r, object_ref(o), NULL);
    return o;
}

void request_hold_taken(struct request *r, struct object *o)
{
    hold(r, o, NULL);
}

void request_hold_tree(struct request *r, struct tree *t)
{
    hold(r, NULL, t);
}

void request_warn(struct request *r, struct str text)
{
    enum { WARNINGS_MAX = 64 };
    for (size_t i = 0; i < r->n_warnings; i++)
        if (str_eq(r->warnings[i], text))
            return;
    if (!r->warnings)
        r->warnings = ARENA_ARRAY(r->arena, struct str, WARNINGS_MAX);
    if (r->n_warnings < WARNINGS_MAX)
        r->warnings[r->n_warnings++] = arena_str(r->arena, text);
}

bool user_in_group(const struct user *u, const char *group)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (str_is(u->groups[i], group))
            return true;
    return false;
}

int request_read_body(struct request *r)
{
    if (r->body_read || !r->x)
        return 0;
    size_t max = r->server->config.max_body;
    int e = http_read_all(r->x, max, r->deadline, &r->body);
    if (e == -ETIMEDOUT)
        return status_set(&r->status, 504, "Timeout", "Timeout: request did not complete within the allotted timeout");
    if (e == -EFBIG)
        return status_set(&r->status, 413, "RequestEntityTooLarge",
                          "Request entity too large: limit is %zu", max);
    if (e < 0)
        return status_bad_request(&r->status, "the request body could not be read");
    r->body_read = true;
    return 0;
}

static void set_audit_id(struct request *r)
{
    struct str sent = http_header(&r->x->headers, "audit-id");
    if (sent.n && sent.n <= 64) {
        r->audit_id = sent;
    } else {
        char text[UUID_TEXT];
        uuid_new(text);
        r->audit_id = arena_str(r->arena, str_of(text));
    }
    http_add_header(r->x, "Audit-Id", r->audit_id);
}

static void fail_fatal(struct request *r, int e)
{
    if (e == -ECANCELED || e == -EPIPE)
        status_set(&r->status, 503, "ServiceUnavailable", "the server is stopping");
    else
        status_internal(&r->status, "%s", strerror(-e));
}

/* Some are told of by metrics. */
static int run_stage(struct request *r, request_stage *stage)
{
    static const struct {
        request_stage *stage;
        enum metrics_stage as;
    } told[] = {{request_authenticate, METRICS_AUTHENTICATION}, {request_impersonate, METRICS_IMPERSONATION},
                {request_limit, METRICS_FAIRNESS}, {request_authorize, METRICS_AUTHORIZATION}};
    for (size_t i = 0; r->x && i < ARRAY_SIZE(told); i++)
        if (told[i].stage == stage) {
            struct mono begun = os_mono();
            int e = stage(r);
            metrics_stage(&r->server->metrics, r, told[i].as, e, begun);
            return e;
        }
    return stage(r);
}

static void run(struct request *r, size_t first)
{
    for (size_t i = first; i < ARRAY_SIZE(stages); i++) {
        int e = run_stage(r, stages[i]);
        if (e < 0)
            fail_fatal(r, e);
        if (e || r->answer.kind)
            break;
    }
    if (!r->status.code && !r->answer.kind && !r->info.is_resource)
        answer_text(r, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
    else if (!r->status.code && !r->answer.kind)
        status_set(&r->status, 404, "NotFound", "the server could not find the requested resource");
}

void request_serve(void *server, struct http_exchange *x)
{
    struct apiserver *s = server;
    struct request r;
    request_init(&r, s, &x->arena, x);
    set_audit_id(&r);
    run(&r, 0);
    answer_send(&r);
    audit_done(&r);
    metrics_request(&s->metrics, &r);
    request_done(&r);
}
