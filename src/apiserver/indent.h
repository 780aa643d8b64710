/* SPDX-License-Identifier: Apache-2.0 */
/* Compact JSON text with two spaces a level, members in their order (Go's json.Indent). Appends, with a line
 * end. */
#pragma once

#include "base/str.h"

void json_indent(struct buf *b, struct str json);
