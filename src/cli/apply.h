/* SPDX-License-Identifier: Apache-2.0 */
/* What apply and diff share. */
#pragma once

#include "cli/select.h"

/* The patch that makes the server's object (current) be as the file says (modified), with what the file said the last
 * time (the annotation of current) telling what to remove. "{}": nothing to do. 0 or 1. */
int apply_make_patch(struct cli *c, const struct info *i, const struct val *modified, const struct val *current, struct str *ret);
/* A file's nulls mean "not there". */
void apply_drop_nulls(struct val *v);
