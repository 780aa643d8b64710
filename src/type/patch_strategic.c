/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strategic merge patch: as a merge patch, but lists whose field has a merge key (or merges as a set) are
 * merged item by item, and directives ($patch, $retainKeys, $setElementOrder/x, $deleteFromPrimitiveList/x)
 * say what merging alone cannot. The contract is the API conventions' "strategic merge patch" and what
 * apimachinery/pkg/util/strategicpatch does where that is silent.
 */
#include "type/patch-internal.h"

#include "type/text.h"

/* ---- the types along the way --------------------------------------------------------------------------- */

struct place place_of_field(const struct field *f)
{
    if (!f || (f->kind != K_MESSAGE && f->card != CARD_MAP))
        return (struct place){0};
    if (f->card == CARD_MAP)
        return (struct place){.map = f};
    return (struct place){.t = field_type(f)};
}

const struct field *place_step(struct place p, struct str key, struct place *ret_below)
{
    if (p.map) { /* a key of a map: below it stands one of its values */
        *ret_below = (struct place){.t = p.map->kind == K_MESSAGE ? field_type(p.map) : NULL};
        return NULL;
    }
    const struct field *f = p.t ? type_field_str(p.t, key, NULL) : NULL;
    *ret_below = place_of_field(f);
    return f;
}

struct str field_merge_key(const struct field *f)
{
    const struct field_extra *x = f && f->flags & FIELD_PATCH_MERGE ? field_extra(f) : NULL;
    return x && x->patch_key ? str_of(x->patch_key) : STR_NULL;
}

static bool field_merges(const struct field *f)
{
    return f && f->flags & FIELD_PATCH_MERGE;
}

/* ---- small changes to maps ----------------------------------------------------------------------------- */

struct job {
    struct arena *arena;
    struct status *s;
};

static int merge_map(struct job *j, struct val *doc, struct val *patch, struct place p);

static struct val *mut_key(struct val *map, struct str key)
{
    return (struct val *)(uintptr_t)val_key(map, key);
}

/* Nulls in what is added mean nothing; they go, in lists' items as well, though not as items. */
static void discard_nulls(struct val *v)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; v->kind == VAL_MAP && i < v->n; i++) {
        struct val *pair = &v->items[2 * (size_t)i];
        if (pair[1].kind == VAL_NULL)
            continue;
        discard_nulls(&pair[1]);
        memmove(&v->items[2 * (size_t)kept++], pair, 2 * sizeof(*pair));
    }
    if (v->kind == VAL_MAP)
        v->n = kept;
    for (uint32_t i = 0; v->kind == VAL_LIST && i < v->n; i++)
        discard_nulls(&v->items[i]);
}

/* Takes out everything that carries $patch; false when v itself does. */
static bool remove_directives(struct val *v)
{
    uint32_t kept = 0;
    if (v->kind == VAL_MAP && val_key(v, DIRECTIVE))
        return false;
    for (uint32_t i = 0; v->kind == VAL_MAP && i < v->n; i++) {
        struct val *pair = &v->items[2 * (size_t)i];
        if (remove_directives(&pair[1]))
            memmove(&v->items[2 * (size_t)kept++], pair, 2 * sizeof(*pair));
    }
    for (uint32_t i = 0; v->kind == VAL_LIST && i < v->n; i++)
        if (remove_directives(&v->items[i]))
            v->items[kept++] = v->items[i];
    if (v->kind == VAL_MAP || v->kind == VAL_LIST)
        v->n = kept;
    return true;
}

static void put_new(struct job *j, struct val *doc, struct str key, struct val *v)
{
    discard_nulls(v);
    if (remove_directives(v))
        val_put(j->arena, doc, key, *v);
    else
        val_unput(doc, key);
}

/* ---- lists --------------------------------------------------------------------------------------------- */

static int no_merge_key(struct job *j, const struct val *item, struct str merge_key)
{
    return status_bad_request(j->s, "map: " STR_FMT " does not contain declared merge key: " STR_FMT,
                              STR_ARG(text_value(j->arena, item)), STR_ARG(merge_key));
}

/* All items are of one kind, and none is a list: *ret_maps tells whether they are maps. */
static int check_items(struct job *j, const struct val *one, const struct val *other, bool *ret_maps)
{
    const struct val *first = val_item(one, 0) ?: val_item(other, 0);
    const struct val *lists[] = {one, other};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        VAL_EACH (lists[l], item) {
            if (item->kind == VAL_LIST)
                return patch_refused(j->s);
            if (item->kind != first->kind)
                return status_bad_request(j->s, "list element types are not identical");
        }
    *ret_maps = first && first->kind == VAL_MAP;
    return 0;
}

static void delete_matching(struct val *list, struct str merge_key, const struct val *value)
{
    for (ssize_t i; (i = list_find(list, merge_key, value)) >= 0;)
        val_remove(list, (size_t)i);
}

/* Obeys the items that carry $patch and takes them out of the patch. */
static int special_items(struct job *j, struct val **doc, struct val *patch, struct str merge_key)
{
    bool replace = false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < patch->n; i++) {
        struct val *item = &patch->items[i];
        const struct val *directive = val_key(item, DIRECTIVE);
        struct str word = val_str(directive);
        if (!directive) {
            patch->items[kept++] = *item;
        } else if (str_is(word, "delete")) {
            if (!val_key(item, merge_key))
                return no_merge_key(j, item, merge_key);
            delete_matching(*doc, merge_key, val_key(item, merge_key));
        } else if (str_is(word, "replace")) {
            replace = true;
        } else {
            return status_bad_request(j->s, "unknown patch type " STR_FMT " in a list",
                                      STR_ARG(text_quote(j->arena, word)));
        }
    }
    patch->n = kept;
    if (replace) {
        *doc = val_copy_shallow(j->arena, patch);
        patch->n = 0;
    }
    return 0;
}

static int merge_items(struct job *j, struct val *doc, struct val *patch, struct str merge_key,
                       struct place items)
{
    for (uint32_t i = 0; i < patch->n; i++) {
        struct val *item = &patch->items[i];
        const struct val *key = val_key(item, merge_key);
        if (!key)
            return no_merge_key(j, item, merge_key);
        ssize_t at = list_find(doc, merge_key, key);
        int r = 0;
        if (at >= 0)
            r = merge_map(j, &doc->items[at], item, items);
        else
            val_add(j->arena, doc, *item);
        if (r)
            return r;
    }
    return 0;
}

/* Each item of the document has the merge key. */
static int check_merge_keys(struct job *j, const struct val *list, struct str merge_key)
{
    VAL_EACH (list, item)
        if (!val_key(item, merge_key))
            return no_merge_key(j, item, merge_key);
    return 0;
}

static void merge_scalars(struct job *j, struct val *doc, const struct val *patch)
{
    VAL_EACH (patch, item)
        if (list_find(doc, STR_NULL, item) < 0)
            val_add(j->arena, doc, *item);
}

/* Merges patch into the list doc; *doc may become another list. Its order is not settled. */
static int merge_unordered(struct job *j, struct val **doc, struct val *patch, const struct field *f,
                           struct place items)
{
    bool maps = false;
    struct str merge_key = field_merge_key(f);
    int r = check_items(j, *doc, patch, &maps);
    if (r || !maps) {
        if (!r)
            merge_scalars(j, *doc, patch);
        return r;
    }
    if (!merge_key.n)
        return status_bad_request(j->s, "cannot merge lists without merge key");
    r = special_items(j, doc, patch, merge_key);
    if (!r)
        r = merge_items(j, *doc, patch, merge_key, items);
    return r ? r : check_merge_keys(j, *doc, merge_key);
}

static int merge_list(struct job *j, struct val *doc, struct val *patch, const struct field *f,
                      struct place items)
{
    if (!field_merges(f)) {
        *doc = *patch;
        return 0;
    }
    if (!doc->n && !patch->n)
        return 0;
    struct val *server_order = val_copy_shallow(j->arena, doc), *merged = doc;
    int r = merge_unordered(j, &merged, patch, f, items);
    if (r)
        return r;
    *doc = *order_merged(j->arena, merged, patch, merged == doc ? server_order : merged, field_merge_key(f));
    return 0;
}

/* $deleteFromPrimitiveList/x: values to take out of the list x. */
static void delete_scalars(struct val *list, const struct val *unwanted)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->n; i++)
        if (list_find(unwanted, STR_NULL, &list->items[i]) < 0)
            list->items[kept++] = list->items[i];
    list->n = kept;
}

/* ---- $retainKeys --------------------------------------------------------------------------------------- */

static bool is_order_directive(struct str key)
{
    return str_starts(key, ELEMENT_ORDER) || str_starts(key, DELETE_FROM);
}

static int bad_retain_keys(struct job *j)
{
    return status_bad_request(j->s, "invalid patch format of retainKeys");
}

static int apply_retain_keys(struct job *j, struct val *doc, struct val *patch)
{
    const struct val *found = val_key(patch, RETAIN_KEYS);
    if (!found)
        return 0;
    struct val keys = *found;
    val_unput(patch, RETAIN_KEYS);
    if (keys.kind != VAL_LIST)
        return bad_retain_keys(j);
    VAL_EACH_ENTRY (patch, k, v)
        if (v->kind != VAL_NULL && !is_order_directive(val_str(k)) && list_find(&keys, STR_NULL, k) < 0)
            return bad_retain_keys(j);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < doc->n; i++) {
        struct val *pair = &doc->items[2 * (size_t)i];
        if (list_find(&keys, STR_NULL, pair) >= 0)
            memmove(&doc->items[2 * (size_t)kept++], pair, 2 * sizeof(*pair));
    }
    doc->n = kept;
    return 0;
}

/* ---- $setElementOrder ---------------------------------------------------------------------------------- */

/* The items of the patch have to come in the order that the directive gives. */
static int check_order(struct job *j, const struct val *patch, const struct val *order, struct str merge_key)
{
    size_t at = 0;
    if (!val_len(patch) || !val_len(order))
        return 0;
    VAL_EACH (patch, item) {
        if (val_key(item, DIRECTIVE))
            continue;
        const struct val *key = merge_key.n ? val_key(item, merge_key) : item;
        if (!key)
            return no_merge_key(j, item, merge_key);
        for (;; at++) {
            const struct val *here = val_item(order, at);
            if (!here)
                return status_bad_request(j->s,
                                          "The order in patch list doesn't match $setElementOrder list");
            const struct val *here_key = merge_key.n ? val_key(here, merge_key) : here;
            if (!here_key)
                return no_merge_key(j, here, merge_key);
            if (val_same(key, here_key))
                break;
        }
        at++;
    }
    return 0;
}

static int set_order(struct job *j, struct val *doc, struct val *patch, struct str key,
                     const struct val *order, struct place p)
{
    struct place items;
    const struct field *f = place_step(p, key, &items);
    struct val *have = mut_key(doc, key), *want = mut_key(patch, key);
    struct str merge_key = field_merge_key(f);
    if (order->kind != VAL_LIST || (have && have->kind != VAL_LIST) || (want && want->kind != VAL_LIST))
        return status_bad_request(j->s, "invalid patch format of setElementOrder list");
    if (!have && !want)
        return 0;
    int r = check_order(j, want, order, merge_key);
    if (r)
        return r;
    struct val *server_order = val_copy_shallow(j->arena, have), *merged = have;
    if (have && want && field_merges(f)) {
        r = merge_unordered(j, &merged, want, f, items);
    } else if (want) {
        remove_directives(want);
        merged = want;
    }
    if (!r && merge_key.n)
        r = check_merge_keys(j, merged, merge_key);
    if (r)
        return r;
    val_put(j->arena, doc, key, *order_merged(j->arena, merged, order, server_order, merge_key));
    val_unput(patch, key);
    return 0;
}

static int apply_orders(struct job *j, struct val *doc, struct val *patch, struct place p)
{
    for (uint32_t i = 0; i < patch->n;) {
        struct str directive = val_str(&patch->items[2 * (size_t)i]);
        if (!str_starts(directive, ELEMENT_ORDER)) {
            i++;
            continue;
        }
        struct val order = patch->items[2 * (size_t)i + 1];
        val_unput(patch, directive);
        int r = set_order(j, doc, patch, str_from(directive, ELEMENT_ORDER.n), &order, p);
        if (r)
            return r;
        i = 0; /* the patch has lost pairs */
    }
    return 0;
}

/* ---- maps ---------------------------------------------------------------------------------------------- */

static int merge_member(struct job *j, struct val *doc, struct str key, struct val *want, struct place p)
{
    struct place below;
    const struct field *f = place_step(p, key, &below);
    struct val *have = mut_key(doc, key);
    if (want->kind == VAL_NULL) {
        val_unput(doc, key);
        return 0;
    }
    if (have && have->kind == VAL_MAP && want->kind == VAL_MAP)
        return merge_map(j, have, want, below);
    if (have && have->kind == VAL_LIST && want->kind == VAL_LIST)
        return merge_list(j, have, want, f, below);
    put_new(j, doc, key, want);
    return 0;
}

static int merge_entry(struct job *j, struct val *doc, struct val *pair, struct place p)
{
    struct str key = val_str(&pair[0]);
    if (!str_starts(key, DELETE_FROM))
        return merge_member(j, doc, key, &pair[1], p);
    struct val *have = mut_key(doc, str_from(key, DELETE_FROM.n));
    if (pair[1].kind != VAL_LIST)
        return status_bad_request(j->s, "invalid patch format of primitive list");
    if (val_is(have, VAL_LIST))
        delete_scalars(have, &pair[1]);
    return 0;
}

/* $patch in a map: "replace" takes the patch for the whole, "delete" leaves nothing. */
static int obey_directive(struct job *j, struct val *doc, struct val *patch, struct str word)
{
    if (str_is(word, "delete")) {
        *doc = (struct val){.kind = VAL_MAP, .name = doc->name};
        return 0;
    }
    if (!str_is(word, "replace"))
        return status_bad_request(j->s, "unknown patch type " STR_FMT " in a map",
                                  STR_ARG(text_quote(j->arena, word)));
    val_unput(patch, DIRECTIVE);
    *doc = *patch;
    return 0;
}

static int merge_map(struct job *j, struct val *doc, struct val *patch, struct place p)
{
    const struct val *directive = val_key(patch, DIRECTIVE);
    if (directive)
        return obey_directive(j, doc, patch, val_str(directive));
    int r = apply_retain_keys(j, doc, patch);
    if (r == 0)
        r = apply_orders(j, doc, patch, p);
    for (uint32_t i = 0; r == 0 && i < patch->n; i++)
        r = merge_entry(j, doc, &patch->items[2 * (size_t)i], p);
    return r;
}

int patch_strategic_untyped(struct arena *a, const struct type *t, struct val *doc, struct val *patch,
                            struct val **ret, struct status *s)
{
    struct job j = {.arena = a, .s = s};
    if (!t)
        return status_set(
            s, 415, "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
    if (patch->kind != VAL_MAP)
        return status_bad_request(s, "error decoding patch: json: cannot unmarshal into Go value of type "
                                     "map[string]interface {}");
    int r = merge_map(&j, doc, patch, (struct place){.t = t});
    if (r == 0)
        *ret = doc;
    return r;
}
