/* SPDX-License-Identifier: Apache-2.0 */
/* Our annotations of an Ingress. Pure. */
#pragma once

#include "ingress/table.h"

/* What is not understood has its default and calls fault (may be NULL) with a sentence. */
typedef void annotation_fault(void *ctx, struct str message);
void annotations_read(struct arena *a, const struct val *ingress, struct ingress_options *ret, annotation_fault *fault,
                      void *ctx);
