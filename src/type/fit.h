/* SPDX-License-Identifier: Apache-2.0 */
/* Does a pod fit a node, as far as taints and tolerations, node selectors and node affinity go. Pure, over
 * values. */
#pragma once

#include "wire/value.h"

/* The first taint with one of the effects that no toleration tolerates; NULL when all are. */
enum taint_effects { EFFECT_NO_SCHEDULE = 1, EFFECT_NO_EXECUTE = 2, EFFECT_PREFER_NO_SCHEDULE = 4 };
const struct val *match_untolerated(const struct val *taints, const struct val *tolerations,
                                    unsigned effects);
size_t match_count_untolerated(const struct val *taints, const struct val *tolerations, unsigned effects);
bool match_tolerates(const struct val *tolerations, const struct val *taint);

/* spec.nodeSelector and the required node affinity. */
bool match_node(const struct val *pod_spec, const struct val *node_labels, struct str node_name);
/* One NodeSelectorTerm (or a preference): an empty one matches nothing. */
bool match_node_term(const struct val *term, const struct val *node_labels, struct str node_name);
