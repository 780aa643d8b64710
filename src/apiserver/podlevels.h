/* SPDX-License-Identifier: Apache-2.0 */
/* The Pod Security Standards (KEP-2579): what a pod does that a level does not allow. Pure. */
#pragma once

#include "wire/value.h"

enum pod_level { LEVEL_PRIVILEGED, LEVEL_BASELINE, LEVEL_RESTRICTED };

bool pod_level_parse(struct str s, enum pod_level *ret);
/* Appends "name (detail), name (detail)" for each violated rule; nothing when the pod is fine. spec: a
 * PodSpec; annotations: the pod's. */
void pod_level_violations(enum pod_level level, const struct val *annotations, const struct val *spec,
                          struct buf *b);
