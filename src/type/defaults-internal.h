/* SPDX-License-Identifier: Apache-2.0 */
/* What defaults.c calls: defaults that depend on other fields, by type. */
#pragma once

#include "type/defaults.h"

/* v is an OBJ of that type whose own constant defaults are set; those of its children are not yet. */
typedef void default_fn(struct arena *a, struct val *v);

struct default_rule {
    uint16_t type; /* T_xxx; 0 ends a table */
    default_fn *fn;
};

extern const struct default_rule defaults_core[];
extern const struct default_rule defaults_other[];
