/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says it has. Private to kinds.c and discovery.c; kinds.h is for the others. */
#pragma once

#include "cli/kinds.h"

/* Fills api_version and qualified. */
void kind_finish(struct cli *c, struct kind *k);
