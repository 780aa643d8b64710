/* SPDX-License-Identifier: Apache-2.0 */
/* Who says whether a device matches a CEL selector: expressions are compiled once and kept. */
#pragma once

#include "scheduler/devices.h"

struct selector_cache {
    struct map compiled; /* expression -> struct compiled * */
};
void selector_cache_done(struct selector_cache *c);
struct device_judge selector_judge(struct selector_cache *c);
