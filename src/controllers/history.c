/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/history.h"

#include <stdio.h>

#include "controllers/own.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

#define SET_HASH_LABEL "controller.kubernetes.io/hash"
#define DAEMON_HASH_LABEL "controller-revision-hash"

enum { NAME_PREFIX_MAX = 223, COLLISIONS_AT_ONCE = 1000 };

/* ---- data -------------------------------------------------------------------------------------------- */

struct str history_data(struct arena *a, const struct val *template)
{
    struct buf b CLEANUP_BUF = BUF_INIT, t CLEANUP_BUF = BUF_INIT;
    json_encode(&t, &types[T_core_v1_PodTemplateSpec], template, JSON_SORTED);
    buf_puts(&b, "{\"spec\":{\"template\":{\"$patch\":\"replace\""); /* '$' sorts before every letter */
    if (t.n > 2)
        buf_putc(&b, ',');
    buf_putstr(&b, str_from(buf_str(&t), 1));
    buf_puts(&b, "}}");
    return arena_str(a, buf_str(&b));
}

/* defaulted: with defaults that were not known when it was written. */
static const struct val *template_of(const struct history *h, const struct revision *r, bool defaulted)
{
    struct val *v = NULL;
    if (json_decode(h->w->arena, h->owner->res->type, r->data, 0, NULL, &v, NULL) < 0)
        return NULL;
    if (defaulted)
        defaults_apply(h->w->arena, h->owner->res->type, v);
    return val_at(v, N_spec, N_template);
}

const struct val *history_template(const struct history *h, const struct revision *r)
{
    return template_of(h, r, false);
}

/* ---- names ------------------------------------------------------------------------------------------- */

/* FNV-1, which is what upstream hashes a StatefulSet's data with, of the data and the count of collisions. */
static uint32_t fnv1(struct str data, int64_t collisions)
{
    char digits[24];
    uint32_t h = UINT32_C(2166136261);
    snprintf(digits, sizeof(digits), "%lld", (long long)collisions);
    for (size_t i = 0; i < data.n; i++)
        h = (h * UINT32_C(16777619)) ^ (unsigned char)data.p[i];
    for (const char *p = digits; *p; p++)
        h = (h * UINT32_C(16777619)) ^ (unsigned char)*p;
    return h;
}

static struct str hash_of(const struct history *h, struct str data)
{
    if (!h->counts_always)
        return short_hash(h->w->arena, data, h->collisions);
    return safe_digits(h->w->arena, fnv1(data, h->collisions));
}

static struct str name_of(const struct history *h, struct str hash)
{
    return arena_printf(h->w->arena, STR_FMT "-" STR_FMT,
                        STR_ARG(str_slice(h->owner->name, 0, NAME_PREFIX_MAX)), STR_ARG(hash));
}

/* ---- seeing what is there ---------------------------------------------------------------------------- */

static struct revision revision_of(const struct object *o)
{
    struct str hash = obj_label(o->val, STR(DAEMON_HASH_LABEL));
    return (struct revision){.object = o,
                             .name = o->name,
                             .hash = str_empty(hash) ? o->name : hash,
                             .data = val_getstr(o->val, N_data),
                             .number = val_int(val_get(o->val, N_revision), 0),
                             .created = val_time(val_get(o->meta, N_creationTimestamp)),
                             .going = obj_deleting(o->val)};
}

static int by_number(const void *pa, const void *pb)
{
    const struct revision *a = pa, *b = pb;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    if (a->created.ns != b->created.ns)
        return a->created.ns < b->created.ns ? -1 : 1;
    return str_cmp(a->name, b->name);
}

void history_load(struct history *h, const struct snapshot *world, const struct object *owner,
                  const struct selector *selector, struct writes *w)
{
    struct objects found = {0};
    bool is_set = owner->res == &resources[RES_STATEFULSETS];
    int64_t none = is_set ? 0 : -1;
    *h = (struct history){.world = world, .owner = owner, .w = w, .counts_always = is_set};
    h->collisions = val_int(val_at(owner->val, N_status, N_collisionCount), none);
    claim_children(world, &resources[RES_CONTROLLERREVISIONS], owner, selector, false, w, &found);
    h->items = ARENA_ARRAY(w->arena, struct revision, found.n + 1);
    for (size_t i = 0; i < found.n; i++)
        h->items[h->n++] = revision_of(found.items[i]);
    qsort(h->items, h->n, sizeof(*h->items), by_number);
}

struct revision *history_find(const struct history *h, struct str name)
{
    for (size_t i = 0; i < h->n; i++)
        if (str_eq(h->items[i].name, name))
            return &h->items[i];
    return NULL;
}

struct revision *history_of(const struct history *h, const struct val *template)
{
    struct str data = history_data(h->w->arena, template);
    for (size_t i = h->n; i-- > 0;)
        if (str_eq(h->items[i].data, data))
            return &h->items[i];
    struct revision *newest = h->n ? &h->items[h->n - 1] : NULL;
    const struct val *meant = newest ? template_of(h, newest, true) : NULL;
    return meant && str_eq(history_data(h->w->arena, meant), data) ? newest : NULL;
}

int64_t history_next_number(const struct history *h)
{
    return h->n ? h->items[h->n - 1].number + 1 : 1;
}

/* ---- changing ---------------------------------------------------------------------------------------- */

static const struct val *body_of(const struct history *h, const struct revision *r)
{
    struct arena *a = h->w->arena;
    const struct object *owner = h->owner;
    const struct val *labels = val_at(owner->val, N_spec, N_template, N_metadata, N_labels);
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_name, r->name);
    val_set_str(a, meta, N_namespace, owner->namespace_);
    struct val *own =
        val_set(a, meta, N_labels, labels ? *val_copy_shallow(a, labels) : *val_new(a, VAL_MAP));
    val_put_str(a, own, h->counts_always ? STR(SET_HASH_LABEL) : STR(DAEMON_HASH_LABEL), r->hash);
    val_set_ref(a, meta, N_annotations, val_get(owner->meta, N_annotations));
    val_add(a, val_sub_list(a, meta, N_ownerReferences),
            obj_owner_ref(a, api_version(a, owner->res).p, owner->res->kind, owner->val));
    val_set(a, v, N_data, val_of_raw(r->data));
    val_set_int(a, v, N_revision, r->number);
    return v;
}

struct revision *history_make(struct history *h, struct str data, int64_t number)
{
    const struct resource *res = &resources[RES_CONTROLLERREVISIONS];
    struct revision *r = &h->items[h->n];
    *r = (struct revision){.data = data, .number = number};
    for (int i = 0; i < COLLISIONS_AT_ONCE; i++, h->collisions = MAX(h->collisions, (int64_t)0) + 1) {
        r->hash = hash_of(h, data);
        r->name = name_of(h, r->hash);
        const struct object *there = snapshot_get(h->world, res, h->owner->namespace_, r->name);
        if (there && !str_eq(val_getstr(there->val, N_data), data))
            continue;
        if (there)
            *r = revision_of(there);
        else
            writes_add(h->w, WRITE_CREATE, res, h->owner->namespace_, STR_NULL)->body = body_of(h, r);
        break;
    }
    h->n++;
    return r;
}

void history_renumber(struct history *h, struct revision *r, int64_t number)
{
    if (r->number == number || !r->object)
        return;
    struct val *v = val_copy_shallow(h->w->arena, r->object->val);
    val_set_int(h->w->arena, v, N_revision, number);
    writes_update(h->w, r->object->res, v);
    r->number = number;
}

void history_truncate(struct history *h, int64_t limit, revision_is_live *is_live, void *arg)
{
    int64_t dead = 0;
    for (size_t i = 0; i < h->n; i++)
        dead += !h->items[i].going && !is_live(arg, &h->items[i]);
    for (size_t i = 0; i < h->n && limit >= 0 && dead > limit; i++) {
        const struct revision *r = &h->items[i];
        if (!r->object || r->going || is_live(arg, r))
            continue;
        writes_delete(h->w, r->object);
        dead--;
    }
}
