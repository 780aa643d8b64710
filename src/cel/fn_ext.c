/* SPDX-License-Identifier: Apache-2.0 */
#include "cel/cel-internal.h"

const struct cel_fn cel_fns_ext[] = {};
const size_t n_cel_fns_ext = ARRAY_SIZE(cel_fns_ext);
