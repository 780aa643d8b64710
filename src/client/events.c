/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events the way client-go's correlator sends them: the same event again only counts up; more than ten texts
 * of one reason about one object in ten minutes become one; an object gets 25 events at once and then one
 * every five minutes.
 */
#include <stdio.h>

#include "base/fiber.h"
#include "base/map.h"
#include "base/os.h"
#include "client/client.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

enum {
    QUEUE_MAX = 1000,      /* events not yet sent; further ones are lost */
    MEMORY_MAX = 4096,     /* entries of each memory; beyond it starts anew */
    SIMILAR_MAX = 10,      /* texts of one reason before they are combined */
    SIMILAR_SECONDS = 600, /* that long apart they are no longer similar */
    BURST = 25,            /* events about one object at once */
    REFILL_SECONDS = 300,  /* and then one in so long */
    TRIES = 5,
};

struct pending {
    struct list link;
    struct arena arena;
    struct val *event;
    struct str similar_key, key, spam_key;
};

struct similar {
    struct map texts; /* values are not NULL */
    int64_t last_ns;
};

struct sent {
    char *ns, *name;
    int64_t count;
    char first[TIME_TEXT_MAX];
};

struct bucket {
    double tokens;
    int64_t last_ns;
};

struct event_recorder {
    struct client *client;
    char *component, *host;
    struct group fibers;
    struct list pending;
    size_t n_pending;
    struct waitq more;
    struct map similar, sent, buckets;
};

/* ---- memories ---------------------------------------------------------------------------------------- */

static void similar_free(void *p)
{
    struct similar *s = p;
    map_done(&s->texts);
    free(s);
}

static void sent_free(void *p)
{
    struct sent *s = p;
    free(s->ns);
    free(s->name);
    free(s);
}

/* The entry of a key, made (zeroed) when missing. */
static void *remember(struct map *m, struct str key, size_t size, void (*free_value)(void *))
{
    void *v = map_get(m, key);
    if (v)
        return v;
    if (m->n >= MEMORY_MAX)
        map_done_with(m, free_value);
    v = xcalloc(1, size);
    map_put(m, key, v);
    return v;
}

/* ---- correlation ------------------------------------------------------------------------------------- */

static bool spends_token(struct event_recorder *r, const struct pending *p, int64_t now)
{
    struct bucket *b = remember(&r->buckets, p->spam_key, sizeof(*b), free);
    if (b->last_ns == 0)
        b->tokens = BURST;
    else
        b->tokens =
            MIN((double)BURST, b->tokens + (double)(now - b->last_ns) / (double)SECONDS(REFILL_SECONDS));
    b->last_ns = now;
    if (b->tokens < 1)
        return false;
    b->tokens -= 1;
    return true;
}

/* Under which key the event is counted; a combined one gets its text changed. */
static struct str counted_as(struct event_recorder *r, struct pending *p, int64_t now)
{
    struct similar *s = remember(&r->similar, p->similar_key, sizeof(*s), similar_free);
    if (now - s->last_ns > SECONDS(SIMILAR_SECONDS))
        map_done(&s->texts);
    s->last_ns = now;
    struct str text = val_getstr(p->event, N_message);
    if (!map_has(&s->texts, text)) {
        if (s->texts.n + 1 >= SIMILAR_MAX) {
            val_set_str(&p->arena, p->event, N_message,
                        arena_printf(&p->arena, "(combined from similar events): " STR_FMT, STR_ARG(text)));
            return p->similar_key;
        }
        map_put(&s->texts, text, s);
    }
    return p->key;
}

/* ---- sending ----------------------------------------------------------------------------------------- */

static int send_new(struct event_recorder *r, struct pending *p, struct sent *sent, struct status *s)
{
    const struct call *call =
        CALL(.res = &resources[RES_EVENTS], .ns = obj_namespace(p->event), .name = obj_name(p->event));
    struct call create = *call;
    create.name = STR_NULL;
    int q = client_create(r->client, &create, p->event, &p->arena, NULL, s);
    if (q != 0)
        return q;
    free(sent->ns);
    free(sent->name);
    sent->ns = str_dup(obj_namespace(p->event));
    sent->name = str_dup(obj_name(p->event));
    return 0;
}

static int send_again(struct event_recorder *r, struct pending *p, struct sent *sent, struct status *s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "{\"count\":%lld,\"lastTimestamp\":", (long long)sent->count);
    json_encode_str(&b, val_getstr(p->event, N_lastTimestamp), 0);
    buf_puts(&b, ",\"message\":");
    json_encode_str(&b, val_getstr(p->event, N_message), 0);
    buf_putc(&b, '}');
    return client_patch(
        r->client, CALL(.res = &resources[RES_EVENTS], .ns = str_of(sent->ns), .name = str_of(sent->name)),
        PATCH_MERGE, buf_str(&b), &p->arena, NULL, s);
}

static int send_once(struct event_recorder *r, struct pending *p, struct sent *sent)
{
    struct status s;
    status_init(&s, &p->arena);
    int q = sent->name ? send_again(r, p, sent, &s) : send_new(r, p, sent, &s);
    if (q != 404 || !sent->name)
        return q;
    status_init(&s, &p->arena); /* it has expired meanwhile */
    return send_new(r, p, sent, &s);
}

static void send_event(struct event_recorder *r, struct pending *p)
{
    int64_t now = os_mono().ns + 1;
    struct str key = counted_as(r, p, now);
    if (!spends_token(r, p, now))
        return;
    struct sent *sent = remember(&r->sent, key, sizeof(*sent), sent_free);
    if (sent->count++ == 0)
        snprintf(sent->first, sizeof(sent->first), STR_FMT, STR_ARG(val_getstr(p->event, N_firstTimestamp)));
    val_set_int(&p->arena, p->event, N_count, sent->count);
    val_set_str(&p->arena, p->event, N_firstTimestamp, str_of(sent->first));
    for (int i = 0; i < TRIES && send_once(r, p, sent) < 0; i++)
        if (fiber_sleep(SECONDS(1) + (int64_t)os_random_below((uint64_t)SECONDS(1))) < 0)
            return;
}

static void pending_free(struct pending *p)
{
    arena_done(&p->arena);
    free(p);
}

static void sender(void *arg)
{
    struct event_recorder *r = arg;
    for (;;) {
        struct list *l = list_pop_front(&r->pending);
        if (!l && waitq_wait(&r->more, MONO_NEVER) < 0)
            return;
        if (!l)
            continue;
        r->n_pending--;
        struct pending *p = LIST_ENTRY(l, struct pending, link);
        send_event(r, p);
        pending_free(p);
        if (fiber_cancelled())
            return;
    }
}

/* ---- recording --------------------------------------------------------------------------------------- */

struct event_recorder *event_recorder_new(struct client *c, const char *component, const char *host)
{
    struct event_recorder *r = NEW(struct event_recorder);
    r->client = c;
    r->component = xstrdup(component);
    r->host = xstrdup(host ? host : "");
    list_init(&r->pending);
    group_spawn(&r->fibers, "events", sender, r);
    return r;
}

void event_recorder_free(struct event_recorder *r)
{
    if (!r)
        return;
    group_stop(&r->fibers);
    LIST_EACH_SAFE (&r->pending, l)
        pending_free(LIST_ENTRY(l, struct pending, link));
    map_done_with(&r->similar, similar_free);
    map_done_with(&r->sent, sent_free);
    map_done_with(&r->buckets, free);
    free(r->component);
    free(r->host);
    free(r);
}

/* core/v1 ObjectReference to what the event is about. */
static struct val *reference(struct arena *a, const struct resource *res, const struct val *about)
{
    const struct val *meta = obj_meta(about);
    if (!meta)
        return val_copy(a, about);
    char buf[256];
    struct val *ref = val_new(a, VAL_OBJ);
    val_set_str(a, ref, N_kind, str_of(res->kind));
    static const name_id names[] = {N_namespace, N_name, N_uid};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!str_empty(val_getstr(meta, names[i])))
            val_set_str(a, ref, names[i], val_getstr(meta, names[i]));
    val_set_str(a, ref, N_apiVersion, str_of(resource_api_version(res, buf, sizeof(buf))));
    if (!str_empty(val_getstr(meta, N_resourceVersion)))
        val_set_str(a, ref, N_resourceVersion, val_getstr(meta, N_resourceVersion));
    return ref;
}

static struct val *make_event(struct event_recorder *r, struct arena *a, struct val *ref, const struct val *annotations,
                              bool warning, const char *reason, struct str message)
{
    struct wall now = os_wall();
    struct val *e = val_new(a, VAL_OBJ);
    struct val *meta = val_sub_obj(a, e, N_metadata);
    struct str ns = val_getstr(ref, N_namespace);
    val_set_str(
        a, meta, N_name,
        arena_printf(a, STR_FMT ".%llx", STR_ARG(val_getstr(ref, N_name)), (unsigned long long)now.ns));
    val_set_str(a, meta, N_namespace, str_empty(ns) ? STR("default") : ns);
    if (val_len(annotations))
        val_set(a, meta, N_annotations, *val_copy(a, annotations));
    val_set_ref(a, e, N_involvedObject, ref);
    val_set_str(a, e, N_reason, str_of(reason));
    val_set_str(a, e, N_message, message);
    struct val *source = val_sub_obj(a, e, N_source);
    val_set_str(a, source, N_component, str_of(r->component));
    if (r->host[0])
        val_set_str(a, source, N_host, str_of(r->host));
    val_set_time(a, e, N_firstTimestamp, now);
    val_set_time(a, e, N_lastTimestamp, now);
    val_set_int(a, e, N_count, 1);
    val_set_str(a, e, N_type, warning ? STR("Warning") : STR("Normal"));
    val_set_str(a, e, N_reportingComponent, str_of(r->component));
    if (r->host[0])
        val_set_str(a, e, N_reportingInstance, str_of(r->host));
    return e;
}

static void make_keys(struct pending *p, const struct val *ref)
{
    struct arena *a = &p->arena;
    struct str parts[] = {val_getstr(ref, N_kind),       val_getstr(ref, N_namespace),
                          val_getstr(ref, N_name),       val_getstr(ref, N_uid),
                          val_getstr(ref, N_apiVersion), val_getstr(ref, N_fieldPath)};
    p->spam_key = arena_join(a, parts, 5, STR("|"));
    struct str similar[] = {p->spam_key, parts[5], val_getstr(p->event, N_type),
                            val_getstr(p->event, N_reason)};
    p->similar_key = arena_join(a, similar, 4, STR("|"));
    struct str exact[] = {p->similar_key, val_getstr(p->event, N_message)};
    p->key = arena_join(a, exact, 2, STR("|"));
}

static PRINTF(7, 0) void record(struct event_recorder *r, const struct resource *res, const struct val *about,
                                const struct val *annotations, bool warning, const char *reason, const char *fmt, va_list ap)
{
    if (!r || r->n_pending >= QUEUE_MAX)
        return;
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_vprintf(&b, fmt, ap);
    struct pending *p = NEW(struct pending);
    struct str text = str_slice(buf_str(&b), 0, 1024); /* the API takes no more */
    struct val *ref = reference(&p->arena, res, about);
    p->event = make_event(r, &p->arena, ref, annotations, warning, reason, text);
    make_keys(p, ref);
    list_push_back(&r->pending, &p->link);
    r->n_pending++;
    waitq_wake_one(&r->more);
}

void event_record(struct event_recorder *r, const struct resource *res, const struct val *about, bool warning,
                  const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    record(r, res, about, NULL, warning, reason, fmt, ap);
    va_end(ap);
}

void event_record_noted(struct event_recorder *r, const struct resource *res, const struct val *about,
                        const struct val *annotations, bool warning, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    record(r, res, about, annotations, warning, reason, fmt, ap);
    va_end(ap);
}
