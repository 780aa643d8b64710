/* SPDX-License-Identifier: Apache-2.0 */
#include "blame.h"

#include <stdarg.h>
#include <stdio.h>

#include "sim/world.h"

int blame(char *why, size_t size, const char *fmt, ...)
{
    va_list ap;
    if (why[0])
        return -1;
    va_start(ap, fmt);
    vsnprintf(why, size, fmt, ap);
    va_end(ap);
    sim_trace("FAILED %s", why);
    return -1;
}
