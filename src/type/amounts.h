/* SPDX-License-Identifier: Apache-2.0 */
/* Amounts of resources, summed up: what pods and claims ask for, as LimitRange and ResourceQuota count it.
 * Pure. */
#pragma once

#include "base/arena.h"
#include "wire/quantity.h"
#include "wire/value.h"

/* Amounts by resource name, in the arena. */
struct amounts {
    struct amount {
        struct str name;
        struct quantity q;
    } * items;
    size_t n, cap;
};

struct quantity *amounts_find(const struct amounts *a, struct str name); /* NULL when there is none */
void amounts_add(struct arena *a, struct amounts *to, struct str name, struct quantity q);
void amounts_add_all(struct arena *a, struct amounts *to, const struct amounts *more);
void amounts_add_list(struct arena *a, struct amounts *to, const struct val *list); /* a map of quantities */

/* What a pod asks for: containers together, or the largest init container when that is more, sidecars
 * throughout (KEP-753), or what is said for the pod as a whole (KEP-2837). which: N_requests or N_limits. */
void pod_amounts(struct arena *a, const struct val *spec, name_id which, struct amounts *ret);
/* The same with the overhead of the sandbox, and with what containers hold while a resize is on its way
 * (KEP-1287). */
void pod_amounts_held(struct arena *a, const struct val *pod, name_id which, struct amounts *ret);
/* Are there requests or limits for the pod as a whole? */
bool pod_level_resources(const struct val *spec);
