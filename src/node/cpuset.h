/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of CPUs, as the kernel writes them. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum { CPUS_MAX = 1024 };

struct cpuset {
    uint64_t bits[CPUS_MAX / 64];
};

static inline bool cpuset_has(const struct cpuset *s, int cpu)
{
    return cpu >= 0 && cpu < CPUS_MAX && (s->bits[cpu / 64] >> (cpu % 64) & 1);
}
static inline void cpuset_add(struct cpuset *s, int cpu)
{
    if (cpu >= 0 && cpu < CPUS_MAX)
        s->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}
size_t cpuset_count(const struct cpuset *s);
struct cpuset cpuset_without(const struct cpuset *a, const struct cpuset *b);
struct cpuset cpuset_with(const struct cpuset *a, const struct cpuset *b);
struct cpuset cpuset_both(const struct cpuset *a, const struct cpuset *b); /* what is in each */
bool cpuset_equal(const struct cpuset *a, const struct cpuset *b);
/* "0-3,5" and back. 0 or -EINVAL. */
int cpuset_parse(struct str s, struct cpuset *ret);
struct str cpuset_text(struct arena *a, const struct cpuset *s);
