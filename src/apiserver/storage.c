/* SPDX-License-Identifier: Apache-2.0 */
/* One object into the store or out of it, handed to the watch cache as it is. */
#include "apiserver/encryption.h"

#include <stdio.h>
#include "apiserver/service.h"
#include "apiserver/state.h"
#include "apiserver/write.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"

static int failed(struct request *r, int e)
{
    if (e == STORE_FULL)
        return status_set(&r->status, 507, "InsufficientStorage",
                          "the store is full: delete something first");
    return e;
}

/* A renewal that only moves renewTime may lag behind the disk (design D8). */
static bool only_renews(struct request *r, const struct cache_kind *k, const struct object *now,
                        const struct val *v)
{
    if (k->res->index != RES_LEASES || !now)
        return false;
    const struct val *was = val_get(now->val, N_spec), *is = val_get(v, N_spec);
    struct val *a = val_copy_shallow(r->arena, was ? was : val_new(r->arena, VAL_OBJ));
    struct val *b = val_copy_shallow(r->arena, is ? is : val_new(r->arena, VAL_OBJ));
    val_del(a, N_renewTime);
    val_del(b, N_renewTime);
    return val_equal(a, b) && val_equal(obj_labels(now->val), obj_labels(v));
}

static bool is_quota(const struct store_op *op)
{
    const struct object *o = op->cookie;
    return o && o->res->index == RES_RESOURCEQUOTAS;
}

/* Told of under the names that upstream's dashboards know, though the store is no etcd. */
static int transact(struct request *r, struct store_op *ops, size_t n, size_t *conflict)
{
    struct mono begun = os_mono();
    char text[200];
    const struct object *o = ops[0].cookie;
    const char *operation = ops[0].kind == STORE_DELETE ? "delete" : ops[0].expect == STORE_ABSENT ? "create" : "update";
    int len = snprintf(text, sizeof(text), "group=\"%s\",operation=\"%s\",resource=\"%s\"", o->res->group, operation, o->res->name);
    struct str labels = str_n(text, MIN((size_t)len, sizeof(text) - 1));
    int e = store_txn(r->server->store, ops, n, NULL, conflict);
    metric_observe(&r->server->metrics.set, METRIC_STORE_SECONDS, labels, (double)(os_mono().ns - begun.ns) / 1e9);
    return e;
}

/* The object's own op and those that go with it; cookies are let go of unless all were committed. */
static int commit(struct request *r, struct store_op own, struct object *o, const struct object **ret)
{
    size_t n = 1 + r->n_extra_ops;
    struct store_op *ops = ARENA_ARRAY(r->arena, struct store_op, n);
    ops[0] = own;
    if (r->n_extra_ops)
        memcpy(ops + 1, r->extra_ops, r->n_extra_ops * sizeof(*ops));
    r->n_extra_ops = 0;
    size_t conflict = 0;
    struct err why = {0};
    int e = encryption_seal(r->server, r->arena, ops, n, &why);
    if (e == 0)
        e = transact(r, ops, n, &conflict);
    r->quota_lost = e == STORE_CONFLICT && conflict && is_quota(&ops[conflict]);
    for (size_t i = 1; i < n; i++)
        object_unref(ops[i].cookie);
    if (e) {
        object_unref(o);
        return failed(r, e);
    }
    request_hold_taken(r, o);
    *ret = o;
    return 0;
}

void storage_add_op(struct request *r, struct store_op op)
{
    struct store_op *ops = ARENA_ARRAY(r->arena, struct store_op, r->n_extra_ops + 1);
    if (r->n_extra_ops)
        memcpy(ops, r->extra_ops, r->n_extra_ops * sizeof(*ops));
    ops[r->n_extra_ops++] = op;
    r->extra_ops = ops;
}

void storage_add_put(struct request *r, struct cache_kind *k, const struct object *now, struct val *v)
{
    CLEANUP_BUF struct buf bytes = BUF_INIT;
    struct object *o = object_new(k->res, v);
    object_store_bytes(k->res, o->val, &bytes);
    storage_add_op(r, (struct store_op){.kind = STORE_PUT, .key = cache_key(r->arena, k, o->namespace_, o->name),
        .value = arena_str(r->arena, buf_str(&bytes)), .expect = now->revision, .cookie = o,
        .committing = cache_committing});
}

void storage_drop_ops(struct request *r)
{
    for (size_t i = 0; i < r->n_extra_ops; i++)
        object_unref(r->extra_ops[i].cookie);
    r->n_extra_ops = 0;
}

int store_object(struct request *r, struct cache_kind *k, const struct object *now, struct val *v,
                 const struct object **ret)
{
    CLEANUP_BUF struct buf bytes = BUF_INIT;
    struct object *o = object_new(k->res, v);
    object_store_bytes(k->res, o->val, &bytes);
    struct store_op op = {.kind = STORE_PUT, .key = cache_key(r->arena, k, o->namespace_, o->name),
        .value = buf_str(&bytes), .expect = now ? now->revision : STORE_ABSENT, .cookie = o,
        .lazy = only_renews(r, k, now, v), .committing = cache_committing};
    return commit(r, op, o, ret);
}

int remove_object(struct request *r, struct cache_kind *k, const struct object *now, const struct val *last,
                  const struct object **ret)
{
    struct object *gone = object_new(now->res, last);
    struct store_op op = {.kind = STORE_DELETE, .key = cache_key(r->arena, k, now->namespace_, now->name),
        .expect = now->revision, .cookie = gone, .committing = cache_committing};
    if (k->res->index == RES_SERVICES)
        service_forget(r, last);
    return commit(r, op, gone, ret);
}
