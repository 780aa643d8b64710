/* SPDX-License-Identifier: Apache-2.0 */
/* How each resource is created and updated, beyond what resource.h says: upstream's registry strategies as a
 * table. */
#pragma once

#include "type/check.h"
#include "type/resource.h"

enum strategy_flags {
    STRATEGY_VERSIONED = 1 << 0,        /* an update has to name its resourceVersion */
    STRATEGY_CREATE_ON_UPDATE = 1 << 1, /* a PUT of what is not there creates it */
    STRATEGY_GENERATION = 1 << 2,       /* metadata.generation starts at 1 ... */
    STRATEGY_COUNT_SPEC = 1 << 3,       /* ... and grows with each change of spec */
    STRATEGY_COUNT_BODY = 1 << 4,       /* ... or of anything beside metadata and status */
    STRATEGY_COUNT_LABELS = 1 << 5,     /* ... and of the labels */
    STRATEGY_COUNT_ANNOTATIONS = 1 << 6,
    STRATEGY_KEEP_STATUS = 1 << 7, /* a new object may bring its status */
};

struct strategy {
    uint16_t flags;
    check_fn *name; /* what is wrong with a name; NULL: nothing ever */
};

const struct strategy *resource_strategy(const struct resource *r);
