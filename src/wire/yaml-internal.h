/* SPDX-License-Identifier: Apache-2.0 */
/* How plain scalars are understood; reading and writing both ask. */
#pragma once

#include "wire/value.h"

enum yaml_scalar { YAML_STR, YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_TIME };

/* What a plain scalar is. Sets ret for NULL, BOOL, INT and FLOAT (an integer beyond int64 is a VAL_FLOAT). */
enum yaml_scalar yaml_resolve(struct str s, struct val *ret);
/* "1:30", which YAML 1.1 takes for a number of base 60: not read as such, but quoted when written. */
bool yaml_is_base60(struct str s);
