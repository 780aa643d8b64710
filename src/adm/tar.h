/* SPDX-License-Identifier: Apache-2.0 */
/* Writes ustar archives (POSIX.1-1988), as much as images need. */
#pragma once

#include "base/str.h"

void tar_dir(struct buf *b, const char *name, unsigned mode);
void tar_file(struct buf *b, const char *name, unsigned mode, struct str content);
void tar_end(struct buf *b);
