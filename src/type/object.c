/* SPDX-License-Identifier: Apache-2.0 */
#include "type/object.h"

#include <stdatomic.h>
#include <stdio.h>

#include "names.h"
#include "type/meta.h"
#include "type/shared.h"
#include "type/structural.h"
#include "types.h"
#include "wire/json.h"
#include "wire/proto.h"
#include "wire/schema-internal.h"
#include "wire/value-internal.h"

/* The block: struct object, then all struct val, pointers to shared texts, then all text. */

/* ---- measuring ----------------------------------------------------------------------------------------- */

struct need {
    size_t vals, text, shared;
};

/* Field sets of managers are many and alike. */
static bool is_shared(const struct val *v)
{
    enum { SHARED_MIN = 64 };
    return v->name == N_fieldsV1 && v->kind == VAL_RAW && v->n >= SHARED_MIN;
}

static void measure(struct need *n, const struct val *v)
{
    if (is_shared(v)) {
        n->shared++;
    } else if (val_is_text(v)) {
        n->text += (size_t)v->n + 1;
    } else if (val_is_container(v)) {
        size_t count = (size_t)v->n * val_stride(v);
        n->vals += count;
        for (size_t i = 0; i < count; i++)
            measure(n, &v->items[i]);
    }
}

/* ---- copying ------------------------------------------------------------------------------------------- */

struct room {
    struct val *vals;
    char *text;
    const char **shared;
    const struct val *roomy; /* the metadata, which gets room for one more member: its resourceVersion */
};

static void freeze(struct room *r, const struct type *t, struct val *to, const struct val *v);

static const struct type *field_child_type(const struct field *f)
{
    return f ? field_object_type(f) : NULL;
}

/* v stands in field f; items of a list and values of a map are of the field's type. */
static void freeze_field(struct room *r, const struct field *f, struct val *to, const struct val *v)
{
    freeze(r, field_child_type(f), to, v);
}

/* Declared order, members the type does not know behind it. */
static void freeze_members(struct room *r, const struct type *t, struct val *to, const struct val *v)
{
    unsigned hint = 0;
    struct val *out = to->items;
    if (v->flags & VAL_ORDERED || !t) {
        for (uint32_t i = 0; i < v->n; i++)
            if (v->items[i].kind != VAL_NULL)
                freeze_field(r, t ? type_field(t, v->items[i].name, &hint) : NULL, out++, &v->items[i]);
    } else {
        for (unsigned f = 0; f < t->n_fields; f++) {
            const struct val *m = val_get(v, t->fields[f].name);
            if (m && m->kind != VAL_NULL)
                freeze_field(r, &t->fields[f], out++, m);
        }
        for (uint32_t i = 0; i < v->n; i++)
            if (v->items[i].kind != VAL_NULL && !type_field(t, v->items[i].name, &hint))
                freeze(r, NULL, out++, &v->items[i]);
    }
    to->n = (uint32_t)(out - to->items);
    to->flags = t ? VAL_ORDERED : 0;
}

static void freeze_children(struct room *r, const struct type *t, struct val *to, const struct val *v)
{
    size_t count = (size_t)v->n * val_stride(v);
    to->items = r->vals;
    r->vals += count + (v == r->roomy ? val_stride(v) : 0);
    if (v->kind == VAL_OBJ) {
        freeze_members(r, t, to, v);
        return;
    }
    bool open = t && t->flags & TYPE_OPEN;
    for (size_t i = 0; i < count; i++) {
        const struct field *f = open && i % 2 ? type_field_str(t, val_str(&v->items[i - 1]), NULL) : NULL;
        freeze(r, open ? field_child_type(f) : t, &to->items[i], &v->items[i]);
    }
    if (v->kind == VAL_MAP)
        to->n = val_sort_pairs(to->items, to->n, NULL, NULL);
    to->flags = v->kind == VAL_MAP ? VAL_ORDERED : 0;
}

static void freeze(struct room *r, const struct type *t, struct val *to, const struct val *v)
{
    *to = *v;
    to->flags = 0;
    if (is_shared(v)) {
        to->s = *r->shared++ = shared_text(val_text(v));
    } else if (val_is_text(v)) {
        memcpy(r->text, v->s, v->n);
        r->text[v->n] = 0;
        to->s = r->text;
        r->text += (size_t)v->n + 1;
    } else if (val_is_container(v)) {
        freeze_children(r, t, to, v);
    }
}

/* ---- the root: what every object has ------------------------------------------------------------------- */

/* Another version of the kind than res; where that is possible it stays what it is until somebody asks for it. */
static bool of_other_version(const struct resource *res, const struct val *v)
{
    struct str version = val_getstr(v, N_apiVersion), group, rest;
    return res->type && res->type->flags & TYPE_VERSIONS && str_cut(version, '/', &group, &rest) && str_is(group, res->group) &&
           !str_is(rest, res->version);
}

static bool root_is_whole(const struct resource *res, const char *api_version, const struct val *v)
{
    return obj_meta(v) && str_is(val_getstr(v, N_kind), res->kind) &&
           (of_other_version(res, v) || str_is(val_getstr(v, N_apiVersion), api_version));
}

/* v with kind, apiVersion and metadata: v itself when it has them. */
static const struct val *whole_root(struct arena *a, const struct resource *res, const struct val *v)
{
    char buf[256];
    const char *api_version = resource_api_version(res, buf, sizeof(buf));
    if (root_is_whole(res, api_version, v))
        return v;
    struct val *root = val_copy_shallow(a, v);
    val_set(a, root, N_kind, val_of_str(str_of(res->kind)));
    if (!of_other_version(res, v))
        val_set(a, root, N_apiVersion, val_of_str(arena_str(a, str_of(api_version))));
    if (!val_is_container(obj_meta(root) ?: &(struct val){0}))
        val_set(a, root, N_metadata, (struct val){.kind = VAL_OBJ});
    return root;
}

struct object *object_new(const struct resource *res, const struct val *v)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct val *from = whole_root(&a, res, v);
    const struct val *meta = obj_meta(from);
    struct need need = {.vals = 1 + val_stride(meta)};
    measure(&need, from);
    size_t size = sizeof(struct object) + need.vals * sizeof(struct val) + need.shared * sizeof(char *) + need.text;
    struct object *o = xmalloc(size);
    *o = (struct object){.refs = 1, .size = (uint32_t)MIN(size, (size_t)UINT32_MAX), .res = res};
    struct room r = {.vals = (struct val *)(void *)(o + 1), .roomy = meta};
    r.shared = o->shared = (const char **)(void *)(r.vals + need.vals);
    r.text = (char *)(r.shared + need.shared);
    struct val *root = r.vals++;
    freeze(&r, res->type, root, from);
    o->n_shared = (uint32_t)(r.shared - o->shared);
    o->val = root;
    o->meta = obj_meta(root);
    o->name = val_getstr(o->meta, N_name);
    o->namespace_ = val_getstr(o->meta, N_namespace);
    o->uid = val_getstr(o->meta, N_uid);
    o->revision = obj_revision(root);
    return o;
}

/* ---- the revision -------------------------------------------------------------------------------------- */

/* Where resourceVersion belongs among the members or keys there are. */
static size_t revision_place(const struct val *meta)
{
    const struct type *t = type_at(T_meta_v1_ObjectMeta);
    const struct field *rv = type_field(t, N_resourceVersion, NULL);
    for (size_t i = 0; i < meta->n; i++) {
        if (meta->kind == VAL_MAP) {
            if (str_cmp(val_text(&meta->items[2 * i]), STR("resourceVersion")) > 0)
                return i;
        } else {
            const struct field *f = type_field(t, meta->items[i].name, NULL);
            if (!f || f > rv)
                return i;
        }
    }
    return meta->n;
}

static struct val *revision_slot(struct val *meta)
{
    struct val *slot = val_mut(meta, N_resourceVersion);
    if (slot)
        return slot;
    size_t stride = val_stride(meta), at = revision_place(meta);
    struct val *p = &meta->items[at * stride];
    memmove(p + stride, p, (meta->n - at) * stride * sizeof(*p));
    meta->n++;
    if (meta->kind == VAL_MAP)
        *p = val_of_str(STR("resourceVersion"));
    return p + stride - 1;
}

void object_stamp(struct object *o, int64_t revision)
{
    struct val *meta = (struct val *)(uintptr_t)o->meta;
    struct val *slot = revision_slot(meta);
    int n = snprintf(o->revision_text, sizeof(o->revision_text), "%lld", (long long)revision);
    *slot = val_of_str(str_n(o->revision_text, (size_t)n));
    slot->name = meta->kind == VAL_OBJ ? N_resourceVersion : 0;
    o->revision = revision;
}

/* ---- lifetime and encodings ---------------------------------------------------------------------------- */

struct encoding {
    size_t n;
    char bytes[];
};

void object_drop_encodings(struct object *o)
{
    for (unsigned i = 0; i < ARRAY_SIZE(o->encodings); i++)
        free(atomic_exchange_explicit(&o->encodings[i], NULL, memory_order_acq_rel));
}

struct object *object_ref(const struct object *o)
{
    struct object *own = (struct object *)(uintptr_t)o;
    if (own)
        atomic_fetch_add_explicit(&own->refs, 1, memory_order_relaxed);
    return own;
}

struct object *object_unref(struct object *o)
{
    if (o && atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) == 1) {
        object_drop_encodings(o);
        for (uint32_t i = 0; i < o->n_shared; i++)
            shared_text_unref(o->shared[i]);
        free(o);
    }
    return NULL;
}

static void encode_as(struct buf *b, const struct resource *res, const struct val *v, enum encoding_kind kind)
{
    if (kind == ENC_JSON)
        json_encode(b, res->type, v, 0);
    else
        proto_encode_object(b, res->type, v);
}

static struct encoding *encoding_make(const struct object *o, enum encoding_kind kind)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    encode_as(&b, o->res, o->val, kind);
    struct encoding *e = xmalloc(sizeof(*e) + b.n + 1);
    e->n = b.n;
    memcpy(e->bytes, b.p ? b.p : "", b.n);
    e->bytes[b.n] = 0;
    return e;
}

struct str object_encoded(const struct object *o, enum encoding_kind kind)
{
    _Atomic(struct encoding *) *slot = &((struct object *)(uintptr_t)o)->encodings[kind];
    struct encoding *e = atomic_load_explicit(slot, memory_order_acquire);
    if (!e) {
        struct encoding *made = encoding_make(o, kind);
        if (atomic_compare_exchange_strong_explicit(slot, &e, made, memory_order_acq_rel,
                                                    memory_order_acquire))
            e = made;
        else
            free(made); /* another thread was first: e is its encoding */
    }
    return str_n(e->bytes, e->n);
}

void object_encode(const struct object *o, enum encoding_kind kind, struct buf *b)
{
    const struct encoding *e = atomic_load_explicit(&((struct object *)(uintptr_t)o)->encodings[kind], memory_order_acquire);
    if (e)
        buf_put(b, e->bytes, e->n);
    else
        encode_as(b, o->res, o->val, kind);
}

/* ---- stored bytes -------------------------------------------------------------------------------------- */

static bool stored_as_json(const struct resource *res)
{
    return res->index >= n_resources || !res->type;
}

int object_decode(const struct resource *res, struct str bytes, int64_t revision, struct object **ret,
                  struct err *e)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct val *v = NULL;
    int r = stored_as_json(res) ? json_decode(&a, res->type, bytes, JSON_DECODE_DEFAULT, NULL, &v, e)
                                : proto_decode_object(&a, res->type, bytes, &v, e);
    if (r < 0)
        return r;
    if (!val_is(v, VAL_OBJ) && !val_is(v, VAL_MAP))
        return err_set(e, -EINVAL, "stored object is no JSON object");
    if (type_schema(res->type) && !of_other_version(res, v)) { /* what the schema has come to say holds for what is old, too */
        structural_prune(&a, type_schema(res->type), v, true, NULL);
        structural_default(&a, type_schema(res->type), v);
    }
    struct object *o = object_new(res, v);
    object_stamp(o, revision);
    *ret = o;
    return 0;
}

void object_store_bytes(const struct resource *res, const struct val *v, struct buf *ret)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    const struct val *from = whole_root(&a, res, v);
    if (val_get(obj_meta(from), N_resourceVersion)) {
        struct val *root = val_copy_shallow(&a, from), *meta = val_copy_shallow(&a, obj_meta(from));
        val_del(meta, N_resourceVersion);
        val_set(&a, root, N_metadata, *meta);
        from = root;
    }
    encode_as(ret, res, from, stored_as_json(res) ? ENC_JSON : ENC_PROTO);
}
