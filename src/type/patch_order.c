/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of merged lists: the patch decides among its items, the server among the others, and both are
 * interleaved. */
#include "type/patch-internal.h"

ssize_t list_find(const struct val *list, struct str merge_key, const struct val *value)
{
    for (size_t i = 0; i < val_len(list); i++) {
        const struct val *item = val_item(list, i);
        const struct val *have = merge_key.n ? val_key(item, merge_key) : item;
        if (have && val_same(have, value))
            return (ssize_t)i;
    }
    return -1;
}

static ssize_t place_in(const struct val *order, const struct val *item, struct str merge_key)
{
    return list_find(order, merge_key, merge_key.n ? val_key(item, merge_key) : item);
}

/* Insertion sort with a rule that is no order when an item is unknown: such an item goes to the front, as it
 * does in upstream, whose sort is given the same rule. */
static void sort_by(struct val *list, const struct val *order, struct str merge_key)
{
    for (size_t i = 1; i < list->n; i++) {
        for (size_t j = i; j > 0; j--) {
            ssize_t here = place_in(order, &list->items[j], merge_key);
            ssize_t before = place_in(order, &list->items[j - 1], merge_key);
            if (here >= 0 && before >= 0 && here >= before)
                break;
            struct val t = list->items[j];
            list->items[j] = list->items[j - 1];
            list->items[j - 1] = t;
        }
    }
}

static struct val *interleave(struct arena *a, const struct val *left, const struct val *right,
                              const struct val *server_order, struct str merge_key)
{
    struct val *out = val_new(a, VAL_LIST);
    size_t i = 0, j = 0;
    while (i < left->n || j < right->n) {
        bool take_left = j >= right->n;
        if (i < left->n && j < right->n) {
            ssize_t l = place_in(server_order, &left->items[i], merge_key);
            ssize_t r = place_in(server_order, &right->items[j], merge_key);
            take_left = l >= 0 && r >= 0 && l < r;
        }
        val_add(a, out, take_left ? left->items[i++] : right->items[j++]);
    }
    return out;
}

struct val *order_merged(struct arena *a, const struct val *merged, const struct val *patch_order,
                         const struct val *server_order, struct str merge_key)
{
    struct val *in_patch = val_new(a, VAL_LIST), *server_only = val_new(a, VAL_LIST);
    VAL_EACH (merged, item)
        val_add(a, place_in(patch_order, item, merge_key) >= 0 ? in_patch : server_only, *item);
    sort_by(in_patch, patch_order, merge_key);
    sort_by(server_only, server_order, merge_key);
    return interleave(a, server_only, in_patch, server_order, merge_key);
}
