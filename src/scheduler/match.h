/* SPDX-License-Identifier: Apache-2.0 */
/* Does this fit that: pod affinity terms. Pure, over values. Taints and node selectors are in type/fit.h. */
#pragma once

#include "scheduler/table.h"
#include "type/fit.h"
#include "type/selector.h"

/* A PodAffinityTerm, read once. */
struct pod_term {
    struct selector selector, namespace_selector;
    const struct val *namespaces; /* LIST; empty and no selector: the owner's own namespace */
    bool any_namespace;           /* an empty namespaceSelector */
    bool has_namespace_selector;
    struct str own_namespace, topology_key;
    int64_t weight;
};
/* Labels of a namespace, for namespaceSelectors; NULL when it is not known. */
typedef const struct val *namespace_labels(void *ctx, struct str ns);
void match_read_term(struct arena *a, const struct val *term, const struct object *owner, int64_t weight,
                     struct pod_term *ret);
bool match_term(const struct pod_term *t, const struct object *pod, namespace_labels *labels_of, void *ctx);
