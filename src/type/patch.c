/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three patches have in common. A patch is defined on JSON, so the object goes through its JSON form
 * both ways: what a client may see is what a client may patch, and the result is decoded with all the checks
 * of a body.
 */
#include "type/patch-internal.h"

#include "names.h"
#include "type/text.h"

int patch_refused(struct status *s)
{
    return status_set(s, 422, "Invalid", "the server rejected our request due to an error in our request");
}

static int decode_patch(struct arena *a, struct str patch, struct json_report *report, struct val **ret,
                        struct status *s)
{
    struct err e = {0};
    if (json_decode(a, NULL, patch, JSON_DECODE_DEFAULT, report, ret, &e) < 0)
        return status_bad_request(s, "error decoding patch: %s", e.text);
    return 0;
}

static struct val *to_untyped(struct arena *a, const struct type *t, const struct val *doc)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct val *v = NULL;
    json_encode(&b, t, doc, 0);
    if (json_decode(a, NULL, buf_str(&b), JSON_DECODE_DEFAULT, NULL, &v, NULL) < 0)
        return val_new(a, VAL_MAP);
    return v;
}

static int bad_result(struct status *s, struct str text, const char *why)
{
    struct val v = val_of_str(arena_str(s->arena, text));
    cause_invalid(s, STR("patch"), &v, why);
    return status_invalid(s, STR(""), STR(""), STR(""));
}

/* A patch must not make another kind of object; one that drops the words keeps what it was. Strategic patches
 * are applied to the fields only, and the words are not among them. */
static bool same_kind(const struct val *doc, const struct val *result, name_id name)
{
    struct str have = val_getstr(result, name);
    return !have.n || !val_getstr(doc, name).n || str_eq(have, val_getstr(doc, name));
}

static void keep_word(struct arena *a, const struct val *doc, struct val *result, name_id name)
{
    if (!val_getstr(doc, name).n)
        return;
    if (result->kind == VAL_MAP)
        val_put_str(a, result, name_str(name), val_getstr(doc, name));
    else
        val_set_str(a, result, name, val_getstr(doc, name));
}

static void report_add(struct arena *a, struct json_report *to, const struct json_report *from)
{
    if (!to || !from->n)
        return;
    struct str *all = ARENA_ARRAY(a, struct str, to->n + from->n);
    if (to->n)
        memcpy(all, to->problems, to->n * sizeof(*all));
    memcpy(all + to->n, from->problems, from->n * sizeof(*all));
    to->problems = all;
    to->n = MIN(to->n + from->n, (unsigned)JSON_REPORT_MAX);
}

static int to_typed(struct arena *a, enum patch_kind kind, const struct type *t, const struct val *doc,
                    const struct val *patched, struct json_report *report, struct val **ret, struct status *s)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct err e = {0};
    struct val *v = NULL;
    struct json_report own = {0};
    json_encode(&b, NULL, patched, 0);
    if (json_decode(a, t, buf_str(&b), JSON_DECODE_DEFAULT, report ? &own : NULL, &v, &e) < 0)
        return bad_result(s, buf_str(&b), e.text);
    report_add(a, report, &own);
    if (!val_is(v, VAL_OBJ) && !val_is(v, VAL_MAP))
        return bad_result(s, buf_str(&b), "json: cannot unmarshal into Go value of an object");
    if (kind != PATCH_STRATEGIC && (!same_kind(doc, v, N_kind) || !same_kind(doc, v, N_apiVersion)))
        return bad_result(s, buf_str(&b), "the kind and apiVersion of an object cannot be patched");
    keep_word(a, doc, v, N_kind);
    keep_word(a, doc, v, N_apiVersion);
    *ret = v;
    return 0;
}

/* ---- what it costs ------------------------------------------------------------------------------------ */

/* Members and items are looked for one after the other, so that what a patch costs grows with the square of its
 * width: a body of full size could keep the server from everything else for minutes. */
#define MOST_LOOKS UINT64_C(1000000000)
enum { ITEM_WEIGHT = 8 }; /* of a list: compared by a key in it */

static uint32_t widest(const struct val *v)
{
    uint32_t most = 0;
    if (v->kind != VAL_MAP && v->kind != VAL_LIST)
        return 0;
    for (uint32_t i = 0; i < v->n; i++)
        most = MAX(most, widest(&v->items[v->kind == VAL_MAP ? 2 * (size_t)i + 1 : i]));
    return MAX(most, v->n);
}

static uint64_t looks(const struct val *patch, uint32_t width, unsigned item_weight)
{
    unsigned weight = patch->kind == VAL_MAP ? 1 : patch->kind == VAL_LIST ? item_weight : 0;
    uint64_t sum = weight * (uint64_t)patch->n * ((uint64_t)patch->n + width);
    for (uint32_t i = 0; weight && i < patch->n && sum <= MOST_LOOKS; i++)
        sum += looks(&patch->items[patch->kind == VAL_MAP ? 2 * (size_t)i + 1 : i], width, item_weight);
    return sum;
}

static int check_cost(enum patch_kind kind, const struct val *doc, const struct val *patch, struct status *s)
{
    unsigned item_weight = kind == PATCH_STRATEGIC ? ITEM_WEIGHT : 0; /* a merge patch replaces lists whole */
    if (kind == PATCH_JSON || looks(patch, widest(doc), item_weight) <= MOST_LOOKS)
        return 0;
    return status_set(s, 413, "RequestEntityTooLarge",
                      "the patch has too many members for an object with so many: replace the object instead");
}

static int apply_untyped(struct arena *a, enum patch_kind kind, const struct type *t, struct val *doc,
                         struct val *patch, struct val **ret, struct status *s)
{
    static patch_fn *const kinds[] = {
        [PATCH_JSON] = patch_json_untyped,
        [PATCH_MERGE] = patch_merge_untyped,
        [PATCH_STRATEGIC] = patch_strategic_untyped,
    };
    int r = check_cost(kind, doc, patch, s);
    return r == 0 ? kinds[kind](a, t, doc, patch, ret, s) : r;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

int patch_apply(struct arena *a, enum patch_kind kind, const struct type *t, const struct val *doc,
                struct str patch, struct json_report *report, struct val **ret, struct status *s)
{
    struct val *p = NULL, *patched = NULL;
    int r = decode_patch(a, patch, report, &p, s);
    if (r == 0 && kind != PATCH_MERGE && val_is(p, VAL_NULL))
        patched = to_untyped(a, t, doc); /* to Go, an empty patch */
    else if (r == 0)
        r = apply_untyped(a, kind, t, to_untyped(a, t, doc), p, &patched, s);
    return r == 0 ? to_typed(a, kind, t, doc, patched, report, ret, s) : r;
}

int patch_json(struct arena *a, const struct type *t, const struct val *doc, struct str patch,
               struct val **ret, struct status *s)
{
    return patch_apply(a, PATCH_JSON, t, doc, patch, NULL, ret, s);
}

int patch_merge(struct arena *a, const struct type *t, const struct val *doc, struct str patch,
                struct val **ret, struct status *s)
{
    return patch_apply(a, PATCH_MERGE, t, doc, patch, NULL, ret, s);
}

int patch_strategic(struct arena *a, const struct type *t, const struct val *doc, struct str patch,
                    struct val **ret, struct status *s)
{
    return patch_apply(a, PATCH_STRATEGIC, t, doc, patch, NULL, ret, s);
}
