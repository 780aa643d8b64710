/* SPDX-License-Identifier: Apache-2.0 */
/* create, update, delete, deletecollection: what is left when write.h has done the work. */
#include "apiserver/conversion.h"
#include "apiserver/select.h"
#include "apiserver/removal.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/strategy.h"

/* The body in the stored version, with defaults. */
int decode_object(struct request *r, struct val **ret)
{
    char version[128];
    struct val *v = NULL;
    int e = decode_body(r, r->res->type, resource_api_version(r->res, version, sizeof(version)), r->res->kind,
                        &v);
    if (e)
        return e;
    defaults_apply(r->arena, r->res->type, v);
    return conversion_of_body(r, v, ret);
}

int verb_create(struct request *r)
{
    struct val *v = NULL;
    const struct object *o = NULL;
    int e = decode_object(r, &v);
    if (!e)
        e = write_create(r, v, &o);
    if (!e)
        answer_object(r, 201, o);
    return e;
}

static int put_body(struct request *r, const struct object *now, void *arg UNUSED, struct val **ret)
{
    return decode_object(r, ret);
}

int verb_update(struct request *r)
{
    const struct object *o = NULL;
    bool created = false;
    unsigned flags =
        !r->sub && (resource_strategy(r->kind->res)->flags & STRATEGY_CREATE_ON_UPDATE) ? WRITE_CREATES : 0;
    int e = write_update(r, put_body, NULL, flags, &o, &created);
    if (!e)
        answer_object(r, created ? 201 : 200, o);
    return e;
}

int verb_delete(struct request *r)
{
    struct delete_options d;
    const struct object *o = NULL;
    bool deleted = false;
    int e = delete_options_parse(r, &d);
    if (!e && d.unreadable && cache_get(r->kind, r->ns, r->info.name)) /* what we serve we can read */
        e = status_conflict(&r->status, r->kind->res, r->info.name, "the object can be read, so there is no need to ignore read errors");
    if (!e)
        e = write_delete(r, r->ns, r->info.name, &d, &o, &deleted);
    if (e)
        return e;
    if (deleted && !(removal_flags(r->kind->res) & RETURNS_DELETED))
        answer_success(r, 200, r->kind->res, o->name, o->uid);
    else
        answer_object(r, 200, o);
    if (!deleted && d.orphan == 0)
        r->answer.code = 202;
    return 0;
}

static int delete_each(struct request *r, const struct delete_options *d)
{
    for (size_t i = 0; i < r->answer.n_items; i++) {
        const struct object *now = r->answer.items[i], *o = NULL;
        bool deleted = false;
        int e = write_delete(r, now->namespace_, now->name, d, &o, &deleted);
        if (e == 404) {
            status_init(&r->status, r->arena);
            continue;
        }
        if (e)
            return e;
        r->answer.items[i] = o;
    }
    return 0;
}

int verb_deletecollection(struct request *r)
{
    struct delete_options d;
    struct selection s;
    int e = delete_options_parse(r, &d);
    if (!e)
        e = selection_parse(r, &s);
    if (!e)
        e = list_selected(r, &s, 0);
    return e ? e : delete_each(r, &d);
}
