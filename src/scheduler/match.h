/* SPDX-License-Identifier: Apache-2.0 */
/* Does this fit that: tolerations and taints, node selectors, pod affinity terms. Pure, over values. */
#pragma once

#include "scheduler/table.h"
#include "type/selector.h"

/* The first taint with one of the effects that no toleration tolerates; NULL when all are. */
enum taint_effects { EFFECT_NO_SCHEDULE = 1, EFFECT_NO_EXECUTE = 2, EFFECT_PREFER_NO_SCHEDULE = 4 };
const struct val *match_untolerated(const struct val *taints, const struct val *tolerations, unsigned effects);
size_t match_count_untolerated(const struct val *taints, const struct val *tolerations, unsigned effects);
bool match_tolerates(const struct val *tolerations, const struct val *taint);

/* spec.nodeSelector and the required node affinity. */
bool match_node(const struct val *pod_spec, const struct val *node_labels, struct str node_name);
/* One NodeSelectorTerm (or a preference): an empty one matches nothing. */
bool match_node_term(const struct val *term, const struct val *node_labels, struct str node_name);

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
