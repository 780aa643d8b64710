/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/job.h"

/* Room for that many more must be there. */
static void append(struct spans *s, struct span x)
{
    struct span *last = s->n ? &s->items[s->n - 1] : NULL;
    if (!last || x.first > last->last + 1)
        s->items[s->n++] = x;
    else
        last->last = MAX(last->last, x.last);
}

struct spans spans_parse(struct arena *a, struct str s, int64_t completions)
{
    struct spans ret = {.items = ARENA_ARRAY(a, struct span, s.n / 2 + 1)};
    struct str rest = s, part, from, to;
    while (s.n && str_next(&rest, ',', &part)) {
        struct span x;
        bool range = str_cut(part, '-', &from, &to);
        if (str_to_i64(from, &x.first) < 0 || x.first < 0)
            continue;
        if (x.first >= completions)
            break;
        x.last = x.first;
        if (range && str_to_i64(to, &x.last) < 0)
            continue;
        x.last = MIN(x.last, completions - 1);
        if (x.last >= x.first)
            append(&ret, x);
    }
    return ret;
}

struct str spans_text(struct arena *a, struct spans s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < s.n; i++) {
        const struct span *x = &s.items[i];
        buf_printf(&b, "%s%lld", i ? "," : "", (long long)x->first);
        if (x->last > x->first)
            buf_printf(&b, "%c%lld", x->last == x->first + 1 ? ',' : '-', (long long)x->last);
    }
    return b.n ? arena_str(a, buf_str(&b)) : STR("");
}

struct spans spans_merge(struct arena *a, struct spans x, struct spans y)
{
    struct spans ret = {.items = ARENA_ARRAY(a, struct span, x.n + y.n)};
    size_t i = 0, j = 0;
    while (i < x.n || j < y.n)
        if (j == y.n || (i < x.n && x.items[i].first < y.items[j].first))
            append(&ret, x.items[i++]);
        else
            append(&ret, y.items[j++]);
    return ret;
}

struct spans spans_with(struct arena *a, struct spans s, const int64_t *indexes, size_t n)
{
    struct spans more = {.items = ARENA_ARRAY(a, struct span, n)};
    for (size_t i = 0; i < n; i++)
        append(&more, (struct span){indexes[i], indexes[i]});
    return spans_merge(a, s, more);
}

int64_t spans_total(struct spans s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.items[i].last - s.items[i].first + 1;
    return n;
}

int64_t spans_common(struct spans x, struct spans y)
{
    int64_t n = 0;
    for (size_t i = 0, j = 0; i < x.n && j < y.n;) {
        int64_t first = MAX(x.items[i].first, y.items[j].first), last = MIN(x.items[i].last, y.items[j].last);
        n += MAX(last - first + 1, (int64_t)0);
        if (x.items[i].last < y.items[j].last)
            i++;
        else
            j++;
    }
    return n;
}

bool spans_has(struct spans s, int64_t index)
{
    size_t lo = 0, hi = s.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s.items[mid].last >= index)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo < s.n && s.items[lo].first <= index;
}
