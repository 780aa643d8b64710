/* SPDX-License-Identifier: Apache-2.0 */
/* What pods and claims ask for, summed up as LimitRange and ResourceQuota count it. Pure. */
#pragma once

#include "base/map.h"
#include "wire/quantity.h"
#include "wire/value.h"

/* Amounts by resource name, in the arena. */
struct amounts {
    struct amount {
        struct str name;
        struct quantity q;
    } *items;
    size_t n;
};

struct quantity *amounts_find(const struct amounts *a, struct str name); /* NULL when there is none */
void amounts_add(struct arena *a, struct amounts *to, struct str name, struct quantity q);
void amounts_add_list(struct arena *a, struct amounts *to, const struct val *list); /* a map of quantities */
/* What a pod asks for: containers together, or the largest init container when that is more, sidecars
 * throughout, and overhead (KEP-753). which: N_requests or N_limits. */
void pod_amounts(struct arena *a, const struct val *spec, name_id which, struct amounts *ret);
