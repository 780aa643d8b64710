/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The patch of `kubectl apply`: what has to be done to `current` so that it has all that `modified` says and
 * nothing that only `original` said. With a type the patch is a strategic merge patch, without one a JSON
 * merge patch. Upstream makes two patches and merges them; here one walk over the three makes the same patch,
 * without deletions of what is gone.
 */
#include "names.h"
#include "type/patch-internal.h"
#include "type/text.h"

struct job {
    struct arena *arena;
    struct err *e;
    bool strategic;
};

static int diff_map(struct job *j, const struct val *original, const struct val *modified,
                    const struct val *current, struct place p, const struct field *f, struct val *patch);

static const struct val *map_or_null(const struct val *v)
{
    return val_is(v, VAL_MAP) ? v : NULL;
}

static void put_directive(struct job *j, struct val *patch, struct str prefix, struct str key, struct val v)
{
    val_put(j->arena, patch, arena_printf(j->arena, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(key)), v);
}

/* ---- lists --------------------------------------------------------------------------------------------- */

/* Items of both lists, as they stand in each, come in the same order. */
static bool same_order(const struct val *modified, const struct val *current, struct str merge_key)
{
    ssize_t last = -1;
    VAL_EACH (modified, item) {
        ssize_t at = list_find(current, merge_key, merge_key.n ? val_key(item, merge_key) : item);
        if (at >= 0 && at < last)
            return false;
        last = at >= 0 ? at : last;
    }
    return true;
}

static void diff_scalars(struct job *j, struct str key, const struct val *original,
                         const struct val *modified, const struct val *current, struct val *patch)
{
    struct val *added = val_new(j->arena, VAL_LIST), *deleted = val_new(j->arena, VAL_LIST);
    VAL_EACH (modified, item)
        if (list_find(current, STR_NULL, item) < 0)
            val_add(j->arena, added, *item);
    VAL_EACH (original, item)
        if (list_find(modified, STR_NULL, item) < 0 && list_find(current, STR_NULL, item) >= 0)
            val_add(j->arena, deleted, *item);
    if (added->n || deleted->n || !same_order(modified, current, STR_NULL))
        put_directive(j, patch, ELEMENT_ORDER, key, *modified);
    if (deleted->n)
        put_directive(j, patch, DELETE_FROM, key, *deleted);
    if (added->n)
        val_put(j->arena, patch, key, *added);
}

static struct val *keyed_item(struct job *j, struct str merge_key, const struct val *value)
{
    struct val *item = val_new(j->arena, VAL_MAP);
    val_put(j->arena, item, merge_key, *value);
    return item;
}

static int no_merge_key(struct job *j, struct str merge_key)
{
    return err_set(j->e, -EINVAL, "map does not contain declared merge key: " STR_FMT, STR_ARG(merge_key));
}

static int diff_item(struct job *j, const struct val *item, const struct val *original,
                     const struct val *current, const struct field *f, struct place items, struct val *list)
{
    struct str merge_key = field_merge_key(f);
    const struct val *value = val_key(item, merge_key);
    if (!value)
        return no_merge_key(j, merge_key);
    ssize_t at = list_find(current, merge_key, value), was = list_find(original, merge_key, value);
    if (at < 0) {
        val_add(j->arena, list, *item);
        return 0;
    }
    struct val *sub = val_new(j->arena, VAL_MAP);
    int r = diff_map(j, was >= 0 ? val_item(original, (size_t)was) : NULL, item,
                     val_item(current, (size_t)at), items, f, sub);
    if (r == 0 && sub->n) {
        val_put(j->arena, sub, merge_key, *value);
        val_add(j->arena, list, *sub);
    }
    return r;
}

static int diff_items(struct job *j, struct str key, const struct val *original, const struct val *modified,
                      const struct val *current, const struct field *f, struct place items, struct val *patch)
{
    struct str merge_key = field_merge_key(f);
    struct val *list = val_new(j->arena, VAL_LIST), *order = val_new(j->arena, VAL_LIST);
    VAL_EACH (modified, item) {
        int r = diff_item(j, item, original, current, f, items, list);
        if (r < 0)
            return r;
        val_add(j->arena, order, *keyed_item(j, merge_key, val_key(item, merge_key)));
    }
    VAL_EACH (original, item) {
        const struct val *value = val_key(item, merge_key);
        if (!value)
            return no_merge_key(j, merge_key);
        if (list_find(modified, merge_key, value) >= 0 || list_find(current, merge_key, value) < 0)
            continue;
        struct val *gone = keyed_item(j, merge_key, value);
        val_put_str(j->arena, gone, DIRECTIVE, STR("delete"));
        val_add(j->arena, list, *gone);
    }
    if (list->n || !same_order(modified, current, merge_key))
        put_directive(j, patch, ELEMENT_ORDER, key, *order);
    if (list->n)
        val_put(j->arena, patch, key, *list);
    return 0;
}

static bool merges_as(const struct job *j, const struct field *f)
{
    return j->strategic && f && f->flags & FIELD_PATCH_MERGE;
}

static int diff_list(struct job *j, struct str key, const struct val *original, const struct val *modified,
                     const struct val *current, const struct field *f, struct place items, struct val *patch)
{
    if (!val_is(original, VAL_LIST))
        original = NULL;
    if (!merges_as(j, f)) {
        if (!val_same(modified, current))
            val_put(j->arena, patch, key, *modified);
        return 0;
    }
    if (field_merge_key(f).n)
        return diff_items(j, key, original, modified, current, f, items, patch);
    diff_scalars(j, key, original, modified, current, patch);
    return 0;
}

/* ---- maps ---------------------------------------------------------------------------------------------- */

static int diff_member(struct job *j, struct str key, const struct val *original, const struct val *modified,
                       const struct val *current, struct place p, struct val *patch)
{
    struct place below;
    const struct field *f = place_step(p, key, &below);
    if (!current || current->kind != modified->kind) {
        if (modified->kind != VAL_NULL || current)
            val_put(j->arena, patch, key, *modified);
        return 0;
    }
    if (modified->kind == VAL_LIST)
        return diff_list(j, key, original, modified, current, f, below, patch);
    if (modified->kind != VAL_MAP) {
        if (!val_same(modified, current))
            val_put(j->arena, patch, key, *modified);
        return 0;
    }
    struct val *sub = val_new(j->arena, VAL_MAP);
    int r = diff_map(j, map_or_null(original), modified, current, below, f, sub);
    if (r == 0 && sub->n)
        val_put(j->arena, patch, key, *sub);
    return r;
}

/* Of a union-like struct, the members it may keep are named: the others go. */
static void put_retain_keys(struct job *j, const struct val *modified, struct val *patch)
{
    struct val *keys = val_new(j->arena, VAL_LIST);
    VAL_EACH_ENTRY (modified, k, v)
        if (v->kind != VAL_NULL)
            val_add_str(j->arena, keys, val_str(k));
    val_put(j->arena, patch, RETAIN_KEYS, *keys);
}

static int diff_map(struct job *j, const struct val *original, const struct val *modified,
                    const struct val *current, struct place p, const struct field *f, struct val *patch)
{
    VAL_EACH_ENTRY (modified, k, v) {
        struct str key = val_str(k);
        int r = diff_member(j, key, val_key(original, key), v, val_key(current, key), p, patch);
        if (r < 0)
            return r;
    }
    VAL_EACH_ENTRY (original, k, v)
        if (v->kind != VAL_NULL && !val_key(modified, val_str(k)) && val_key(current, val_str(k)))
            val_put(j->arena, patch, val_str(k), (struct val){.kind = VAL_NULL});
    if (patch->n && j->strategic && f && f->flags & FIELD_PATCH_RETAINKEYS)
        put_retain_keys(j, modified, patch);
    return 0;
}

static const struct val *to_untyped(struct arena *a, const struct type *t, const struct val *v)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct val *plain = NULL;
    if (!val_is(v, VAL_OBJ))
        return map_or_null(v);
    json_encode(&b, t, v, 0);
    return json_decode(a, NULL, buf_str(&b), 0, NULL, &plain, NULL) == 0 ? plain : NULL;
}

int patch_three_way(struct arena *a, const struct type *t, const struct val *original,
                    const struct val *modified, const struct val *current, struct str *ret_patch,
                    struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct job j = {.arena = a, .e = e, .strategic = t != NULL};
    struct val *patch = val_new(a, VAL_MAP);
    int r = diff_map(&j, to_untyped(a, t, original), to_untyped(a, t, modified), to_untyped(a, t, current),
                     (struct place){.t = t}, NULL, patch);
    if (r < 0)
        return r;
    json_encode(&b, NULL, patch, JSON_NO_HTML);
    *ret_patch = arena_str(a, buf_str(&b));
    return 0;
}
