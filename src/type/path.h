/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths into values: "spec.containers.name" (a list on the way visits each item), and the simple JSONPath of
 * custom resource columns: .spec.items[0].name, ['a.b'], [*], [?(@.type=="Ready")]. kubectl's full JSONPath
 * is in cli/.
 */
#pragma once

#include "wire/value.h"

struct path_hits {
    const struct val **items;
    size_t n;
};

/* Everything the path leads to, in order. A path that is wrong leads nowhere. */
void path_find(struct arena *a, const struct val *v, struct str path, struct path_hits *ret);
