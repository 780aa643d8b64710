/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/engine.h"

#include "type/meta.h"

struct write *writes_add(struct writes *w, enum write_verb verb, const struct resource *res, struct str ns,
                         struct str name)
{
    struct write *x = ARENA_NEW(w->arena, struct write);
    *x = (struct write){.verb = verb, .res = res, .ns = ns, .name = name, .grace_seconds = -1};
    list_push_back(&w->list, &x->link);
    return x;
}

struct write *writes_update(struct writes *w, const struct resource *res, const struct val *v)
{
    struct write *x = writes_add(w, WRITE_UPDATE, res, obj_namespace(v), obj_name(v));
    x->body = v;
    return x;
}

struct write *writes_update_status(struct writes *w, const struct resource *res, const struct val *v)
{
    struct write *x = writes_add(w, WRITE_UPDATE_STATUS, res, obj_namespace(v), obj_name(v));
    x->body = v;
    return x;
}

struct write *writes_delete(struct writes *w, const struct object *o)
{
    struct write *x = writes_add(w, WRITE_DELETE, o->res, o->namespace_, o->name);
    x->uid = o->uid;
    x->may_fail = 404;
    return x;
}

void writes_event(struct writes *w, const struct resource *res, const struct val *about, bool warning,
                  const char *reason, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    struct write *x = writes_add(w, WRITE_EVENT, res, obj_namespace(about), obj_name(about));
    x->body = about;
    x->warning = warning;
    x->reason = reason;
    x->message = arena_str(w->arena, buf_str(&b));
}

void writes_again(struct writes *w, int64_t ns)
{
    ns = MAX(ns, (int64_t)1);
    w->again_ns = w->again_ns ? MIN(w->again_ns, ns) : ns;
}

void writes_keep_status(struct writes *w)
{
    struct list all = {0};
    list_init(&all);
    for (struct list *l; (l = list_pop_front(&w->list));)
        list_push_back(&all, l);
    for (struct list *l; (l = list_pop_front(&all));)
        if (LIST_ENTRY(l, struct write, link)->verb == WRITE_UPDATE_STATUS)
            list_push_back(&w->list, l);
}
