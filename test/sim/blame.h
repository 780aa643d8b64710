/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulated suites say when something is wrong. */
#pragma once

#include <stddef.h>

#include "base/base.h"

/* The first thing that went wrong in a run, with its place in the trace; -1, always. */
int blame(char *why, size_t size, const char *fmt, ...) PRINTF(3, 4);
