/* SPDX-License-Identifier: Apache-2.0 */
/* The patches proper, on untyped values (MAP, LIST, scalars) that are theirs to change, and what they share.
 */
#pragma once

#include "type/patch.h"

typedef int patch_fn(struct arena *a, const struct type *t, struct val *doc, struct val *patch,
                     struct val **ret, struct status *s);
patch_fn patch_json_untyped, patch_merge_untyped, patch_strategic_untyped;

/* The server's answer to a patch that cannot be applied: 422 that, as upstream's, does not say more. */
int patch_refused(struct status *s);

/* Where a strategic merge stands in the types. t NULL: nothing is known, lists are atomic and maps merge. */
struct place {
    const struct type *t;
    const struct field *map; /* the value is a map of that field's items */
};
struct place place_of_field(const struct field *f);
/* The field behind a member of an object there, NULL when unknown. *ret_below: the place of its value or
 * items. */
const struct field *place_step(struct place p, struct str key, struct place *ret_below);
struct str field_merge_key(const struct field *f); /* empty when it merges by value or not at all */

/* The words of strategic merge patches (the `$patch` family of the API's documentation). */
#define DIRECTIVE STR("$patch")
#define RETAIN_KEYS STR("$retainKeys")
#define ELEMENT_ORDER STR("$setElementOrder/")
#define DELETE_FROM STR("$deleteFromPrimitiveList/")

/* The item of a list of maps whose merge key has that value: its index, or -1. */
ssize_t list_find(const struct val *list, struct str merge_key, const struct val *value);
/* Orders items as a strategic merge leaves them: see patch_order.c. All lists are untyped. */
struct val *order_merged(struct arena *a, const struct val *merged, const struct val *patch_order,
                         const struct val *server_order, struct str merge_key);
