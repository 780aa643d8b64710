/* SPDX-License-Identifier: Apache-2.0 */
/* What was served, as Prometheus reads it. */
#pragma once

#include "ingress/plane.h"

/* plane NULL: none runs. */
void metrics_page(struct maker *m, const struct plane *plane, size_t ingresses, struct buf *b);
