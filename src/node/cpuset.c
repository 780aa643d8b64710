/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cpuset.h"

size_t cpuset_count(const struct cpuset *s)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(s->bits); i++)
        n += (size_t)__builtin_popcountll(s->bits[i]);
    return n;
}

struct cpuset cpuset_without(const struct cpuset *a, const struct cpuset *b)
{
    struct cpuset s = *a;
    for (size_t i = 0; i < ARRAY_SIZE(s.bits); i++)
        s.bits[i] &= ~b->bits[i];
    return s;
}

struct cpuset cpuset_with(const struct cpuset *a, const struct cpuset *b)
{
    struct cpuset s = *a;
    for (size_t i = 0; i < ARRAY_SIZE(s.bits); i++)
        s.bits[i] |= b->bits[i];
    return s;
}

struct cpuset cpuset_both(const struct cpuset *a, const struct cpuset *b)
{
    struct cpuset s = *a;
    for (size_t i = 0; i < ARRAY_SIZE(s.bits); i++)
        s.bits[i] &= b->bits[i];
    return s;
}

bool cpuset_equal(const struct cpuset *a, const struct cpuset *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

int cpuset_parse(struct str s, struct cpuset *ret)
{
    struct cpuset out = {{0}};
    struct str part, from, to;
    s = str_trim(s);
    while (s.n && str_next(&s, ',', &part)) {
        int64_t a, b;
        if (!str_cut(part, '-', &from, &to))
            from = to = part;
        if (str_to_i64(from, &a) < 0 || str_to_i64(to, &b) < 0 || a < 0 || b < a || b >= CPUS_MAX)
            return -EINVAL;
        for (; a <= b; a++)
            cpuset_add(&out, (int)a);
    }
    *ret = out;
    return 0;
}

struct str cpuset_text(struct arena *a, const struct cpuset *s)
{
    struct buf b = BUF_INIT;
    for (int i = 0, end; i < CPUS_MAX; i = end + 1) {
        end = i;
        if (!cpuset_has(s, i))
            continue;
        while (cpuset_has(s, end + 1))
            end++;
        buf_printf(&b, end > i ? "%s%d-%d" : "%s%d", b.n ? "," : "", i, end);
    }
    struct str r = arena_str(a, buf_str(&b));
    buf_done(&b);
    return r;
}
