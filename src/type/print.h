/* SPDX-License-Identifier: Apache-2.0 */
/* Tables (metav1.Table) of objects: what `kubectl get` shows. The same code serves the API server and
 * kubectl. */
#pragma once

#include "type/resource.h"
#include "base/time.h"

/* The cells of one object, in the order of r->columns (custom resources: their additionalPrinterColumns), as
 * scalars. now: for ages. cells has room for r->n_columns. */
void print_cells(const struct resource *r, const struct val *v, struct wall now, struct arena *a,
                 struct val *cells);
