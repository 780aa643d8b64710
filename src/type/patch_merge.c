/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 7386: a null removes, an object merges, anything else replaces. */
#include "type/patch-internal.h"

/* What a patch adds has no nulls in its objects; in lists they stay. */
static void prune_nulls(struct val *v)
{
    if (v->kind == VAL_MAP) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < v->n; i++) {
            struct val *pair = &v->items[2 * (size_t)i];
            if (pair[1].kind == VAL_NULL)
                continue;
            prune_nulls(&pair[1]);
            memmove(&v->items[2 * (size_t)kept++], pair, 2 * sizeof(*pair));
        }
        v->n = kept;
    }
    for (uint32_t i = 0; v->kind == VAL_LIST && i < v->n; i++)
        prune_nulls(&v->items[i]);
}

static void merge(struct arena *a, struct val *doc, struct val *patch)
{
    for (uint32_t i = 0; i < patch->n; i++) {
        struct str key = val_str(&patch->items[2 * (size_t)i]);
        struct val *want = &patch->items[2 * (size_t)i + 1];
        struct val *have = (struct val *)(uintptr_t)val_key(doc, key);
        if (want->kind == VAL_NULL) {
            val_unput(doc, key);
        } else if (have && have->kind == VAL_MAP && want->kind == VAL_MAP) {
            merge(a, have, want);
        } else {
            prune_nulls(want);
            val_put(a, doc, key, *want);
        }
    }
}

int patch_merge_untyped(struct arena *a, const struct type *t, struct val *doc, struct val *patch,
                        struct val **ret, struct status *s)
{
    if (patch->kind != VAL_MAP)
        return status_bad_request(s, "error decoding patch: json: cannot unmarshal into Go value of type "
                                     "map[string]interface {}");
    merge(a, doc, patch);
    *ret = doc;
    return 0;
}
