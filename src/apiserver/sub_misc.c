/* SPDX-License-Identifier: Apache-2.0 */
/* namespaces/finalize and certificatesigningrequests/approval: each changes one part of its object. */
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "names.h"
#include "type/defaults.h"
#include "type/meta.h"

/* ---- finalize ---------------------------------------------------------------------------------------- */

static int put_finalizers(struct request *r, const struct object *now, void *arg UNUSED, struct val **ret)
{
    struct val *body = NULL;
    int e = decode_object(r, &body);
    if (e)
        return e;
    struct val *v = val_copy(r->arena, now->val);
    val_set_ref(r->arena, val_sub_obj(r->arena, v, N_spec), N_finalizers, val_at(body, N_spec, N_finalizers));
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    val_set_ref(r->arena, meta, N_resourceVersion, val_get(obj_meta(body), N_resourceVersion));
    if (obj_uid(body).n)
        val_set_str(r->arena, meta, N_uid, obj_uid(body));
    *ret = v;
    return 0;
}

int sub_finalize(struct request *r)
{
    const struct object *o = NULL;
    int e = write_update(r, put_finalizers, NULL, WRITE_NO_CHECKS, &o, NULL);
    if (!e)
        answer_object(r, 200, o);
    return e;
}

/* ---- approval ---------------------------------------------------------------------------------------- */

/* Of the status only the conditions are taken over; metadata is changed as by any update. */
static struct val *with_conditions(struct request *r, const struct object *now, const struct val *from)
{
    struct val *v = val_copy(r->arena, now->val);
    struct val *status = val_sub_obj(r->arena, v, N_status);
    struct val *list = val_new(r->arena, VAL_LIST);
    VAL_EACH(val_at(from, N_status, N_conditions), c) {
        struct val *item = val_add(r->arena, list, *val_copy(r->arena, c));
        const struct val *was =
            condition_find(val_at(now->val, N_status, N_conditions), val_getstr(c, N_type));
        if (!val_get(item, N_lastUpdateTime))
            val_set_time(r->arena, item, N_lastUpdateTime, r->now);
        if (was)
            val_set_ref(r->arena, item, N_lastTransitionTime, val_get(was, N_lastTransitionTime));
        else if (!val_get(item, N_lastTransitionTime))
            val_set_time(r->arena, item, N_lastTransitionTime, r->now);
    }
    val_set_ref(r->arena, status, N_conditions, list->n ? list : NULL);
    val_set_ref(r->arena, v, N_metadata, obj_meta(from));
    return v;
}

static int put_approval(struct request *r, const struct object *now, void *arg UNUSED, struct val **ret)
{
    struct val *body = NULL;
    int e = decode_object(r, &body);
    if (!e)
        *ret = with_conditions(r, now, body);
    return e;
}

static int patch_approval(struct request *r, const struct object *now, void *arg UNUSED, struct val **ret)
{
    struct val *body = NULL;
    int e = patch_value(r, r->res->type, now->val, &body);
    if (!e)
        *ret = with_conditions(r, now, body);
    return e;
}

static int approve(struct request *r, change_fn *fn)
{
    const struct object *o = NULL;
    int e = write_update(r, fn, NULL, 0, &o, NULL);
    if (!e)
        answer_object(r, 200, o);
    return e;
}

int sub_approval_update(struct request *r)
{
    return approve(r, put_approval);
}

int sub_approval_patch(struct request *r)
{
    enum media media;
    int e = decode_media(r, &media);
    return e ? e : approve(r, patch_approval);
}
