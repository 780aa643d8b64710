/* SPDX-License-Identifier: Apache-2.0 */
/* gzip (RFC 1952) of whole bodies: what the API server does to large responses and clients undo. */
#pragma once

#include "base/str.h"

/* Appends the compressed form. level 1 (fast) to 9. */
void gzip_deflate(struct buf *b, struct str s, int level);
/* Appends the plain form, at most max bytes of it: 0, -EINVAL (not gzip, cut short, bad checksum), -EFBIG. */
int gzip_inflate(struct buf *b, struct str s, size_t max);
