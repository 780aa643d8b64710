/* SPDX-License-Identifier: Apache-2.0 */
/* Admission of what comes from NUMA nodes: CPUs, memory and devices, by the topology manager's policy (KEP-693). */
#pragma once

#include "base/arena.h"
#include "wire/value.h"

struct kubelet;
struct worker;

/* Hands out to each of the Pod's containers what it is to have of its own. NULL, or upstream's reason with a message; then
 * nothing is kept of it. Does not wait. */
const char *align_admit(struct kubelet *k, struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message);
