/* SPDX-License-Identifier: Apache-2.0 */
/* Resources of a Pod as a whole: what its containers add up to (KEP-753), and the Pod's own (KEP-2837). */
#pragma once

#include "wire/value.h"

/* list: N_requests or N_limits. A MAP of quantities in the arena: the most that the containers of a PodSpec
 * ask for at any time, with its sidecars, and its init containers one after the other. */
const struct val *pod_resources_sum(struct arena *a, const struct val *pod_spec, name_id list);
/* Fills in spec.resources of a Pod that has any, from its containers. */
void pod_resources_default(struct arena *a, struct val *pod);
