/* SPDX-License-Identifier: Apache-2.0 */
/* base64 (RFC 4648) into buffers: the standard alphabet with padding, and the URL alphabet without. */
#pragma once

#include "base/str.h"

void base64_put(struct buf *b, struct str s);
/* Appends the bytes: 0 or -EINVAL. Line ends are skipped; else canonical only (padding, unused bits zero), so that
 * no two texts mean the same bytes. */
int base64_take(struct buf *b, struct str s);
void base64url_put(struct buf *b, struct str s);
int base64url_take(struct buf *b, struct str s); /* no line ends */
