/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and sets: Kubernetes' own (isSorted, sum, min ...), cel-go's lists (slice, flatten, sort ...) and sets. */
#include "cel/cel-internal.h"

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

FN(is_sorted)
{
    for (size_t i = 1; i < v[0].n; i++) {
        int c = cel_compare(cel_item(r->arena, v[0], i - 1), cel_item(r->arena, v[0], i));
        if (c == 2)
            return cel_no_overload();
        if (c == 1)
            return cel_of_bool(false);
    }
    return cel_of_bool(true);
}

static bool add_to(struct cel_val *sum, struct cel_val x)
{
    if (sum->kind == CEL_DOUBLE)
        sum->d += x.d;
    else if (sum->kind == CEL_UINT)
        return !__builtin_add_overflow(sum->u, x.u, &sum->u);
    else
        return !__builtin_add_overflow(sum->i, x.i, &sum->i);
    return true;
}

static struct cel_val sum_of(struct cel_run *r, struct cel_val list, enum cel_kind kind)
{
    struct cel_val sum = {.kind = (uint8_t)kind};
    for (size_t i = 0; i < list.n; i++) {
        struct cel_val x = cel_item(r->arena, list, i);
        if (x.kind != kind)
            return cel_no_overload();
        if (!add_to(&sum, x))
            return cel_fail(r->arena, kind == CEL_UINT ? "unsigned integer overflow" : "integer overflow");
    }
    return sum;
}

FN(sum_int)
{
    return sum_of(r, v[0], CEL_INT);
}

FN(sum_uint)
{
    return sum_of(r, v[0], CEL_UINT);
}

FN(sum_double)
{
    return sum_of(r, v[0], CEL_DOUBLE);
}

FN(sum_duration)
{
    return sum_of(r, v[0], CEL_DURATION);
}

/* The first of those that no other is beyond, by `worse`: what compares so is replaced. */
static struct cel_val best(struct cel_run *r, struct cel_val list, int worse, const char *name)
{
    if (!list.n)
        return cel_fail(r->arena, "%s called on empty list", name);
    struct cel_val b = cel_item(r->arena, list, 0);
    for (size_t i = 1; i < list.n; i++) {
        struct cel_val x = cel_item(r->arena, list, i);
        int c = cel_compare(b, x);
        if (c == worse)
            b = x;
    }
    return b;
}

FN(min)
{
    return best(r, v[0], 1, "min");
}

FN(max)
{
    return best(r, v[0], -1, "max");
}

FN(index_of)
{
    for (size_t i = 0; i < v[0].n; i++)
        if (cel_equal(r->arena, cel_item(r->arena, v[0], i), v[1]))
            return cel_of_int((int64_t)i);
    return cel_of_int(-1);
}

FN(last_index_of)
{
    for (size_t i = v[0].n; i > 0; i--)
        if (cel_equal(r->arena, cel_item(r->arena, v[0], i - 1), v[1]))
            return cel_of_int((int64_t)i - 1);
    return cel_of_int(-1);
}

/* A value that is no list is taken as a list of itself. */
FN(includes)
{
    return cel_of_bool(v[0].kind == CEL_LIST ? cel_contains(r->arena, v[0], v[1]) : cel_equal(r->arena, v[0], v[1]));
}

/* ---- cel-go's lists ------------------------------------------------------------------------------------------------ */

FN(slice)
{
    long long start = v[1].i, end = v[2].i;
    if (start < 0 || end < 0)
        return cel_fail(r->arena, "cannot slice(%lld, %lld), negative indexes not supported", start, end);
    if (start > end)
        return cel_fail(r->arena, "cannot slice(%lld, %lld), start index must be less than or equal to end index", start, end);
    if (end > v[0].n)
        return cel_fail(r->arena, "cannot slice(%lld, %lld), list is length %u", start, end, v[0].n);
    struct cel_val out = cel_new_list(r->arena, NULL, 0);
    for (long long i = start; i < end; i++)
        out = cel_list_append(r->arena, out, cel_item(r->arena, v[0], (size_t)i));
    return out;
}

static struct cel_val flatten_into(struct cel_run *r, struct cel_val out, struct cel_val list, int64_t depth)
{
    for (size_t i = 0; i < list.n; i++) {
        struct cel_val x = cel_item(r->arena, list, i);
        out = x.kind == CEL_LIST && depth > 0 ? flatten_into(r, out, x, depth - 1) : cel_list_append(r->arena, out, x);
    }
    return out;
}

FN(flatten)
{
    int64_t depth = n > 1 ? v[1].i : 1;
    if (depth < 0)
        return cel_fail(r->arena, "level must be non-negative");
    return flatten_into(r, cel_new_list(r->arena, NULL, 0), v[0], depth);
}

enum { MAX_RANGE = 1000000 };

FN(range)
{
    if (v[0].i < 0)
        return cel_fail(r->arena, "lists.range: size must be non-negative, got %lld", (long long)v[0].i);
    if (v[0].i > MAX_RANGE)
        return cel_fail(r->arena, "lists.range: size %lld exceeds maximum allowed (%d)", (long long)v[0].i, MAX_RANGE);
    struct cel_val out = cel_new_list(r->arena, NULL, 0);
    for (int64_t i = 0; i < v[0].i; i++)
        out = cel_list_append(r->arena, out, cel_of_int(i));
    return out;
}

FN(reverse)
{
    struct cel_val out = cel_new_list(r->arena, NULL, 0);
    for (size_t i = v[0].n; i > 0; i--)
        out = cel_list_append(r->arena, out, cel_item(r->arena, v[0], i - 1));
    return out;
}

FN(distinct)
{
    struct cel_val out = cel_new_list(r->arena, NULL, 0);
    for (size_t i = 0; i < v[0].n; i++) {
        struct cel_val x = cel_item(r->arena, v[0], i);
        if (!cel_contains(r->arena, out, x))
            out = cel_list_append(r->arena, out, x);
    }
    return out;
}

struct sort_item {
    struct cel_val key, value;
};

/* Merges runs of `width`, so that equal keys keep their order. */
static void merge_runs(const struct sort_item *from, struct sort_item *to, size_t n, size_t width)
{
    for (size_t start = 0; start < n; start += 2 * width) {
        size_t i = start, mid = MIN(start + width, n), j = mid, end = MIN(start + 2 * width, n);
        for (size_t k = start; k < end; k++)
            to[k] = j >= end || (i < mid && cel_compare(from[j].key, from[i].key) != -1) ? from[i++] : from[j++];
    }
}

static struct cel_val sort_by(struct cel_run *r, struct cel_val list, struct cel_val keys)
{
    size_t n = list.n;
    struct sort_item *from = ARENA_ARRAY(r->arena, struct sort_item, n), *to = ARENA_ARRAY(r->arena, struct sort_item, n);
    if (keys.n != n)
        return cel_fail(r->arena, "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but "
                        "got %u and %u elements respectively", list.n, keys.n);
    for (size_t i = 0; i < n; i++) {
        from[i] = (struct sort_item){cel_item(r->arena, keys, i), cel_item(r->arena, list, i)};
        if (cel_compare(from[i].key, from[i].key) == 2 && from[i].key.kind != CEL_DOUBLE)
            return cel_fail(r->arena, "list elements must be comparable");
        if (from[i].key.kind != from[0].key.kind)
            return cel_fail(r->arena, "list elements must have the same type");
    }
    for (size_t width = 1; width < n; width *= 2) {
        struct sort_item *t = from;
        merge_runs(from, to, n, width);
        from = to;
        to = t;
    }
    struct cel_val out = cel_new_list(r->arena, NULL, 0);
    for (size_t i = 0; i < n; i++)
        out = cel_list_append(r->arena, out, from[i].value);
    return out;
}

FN(sort)
{
    return sort_by(r, v[0], v[0]);
}

FN(sort_by_keys)
{
    return sort_by(r, v[0], v[1]);
}

/* ---- sets ------------------------------------------------------------------------------------------------------------ */

static bool contains_all(struct cel_run *r, struct cel_val list, struct cel_val sub)
{
    for (size_t i = 0; i < sub.n; i++)
        if (!cel_contains(r->arena, list, cel_item(r->arena, sub, i)))
            return false;
    return true;
}

FN(sets_contains)
{
    return cel_of_bool(contains_all(r, v[0], v[1]));
}

FN(sets_equivalent)
{
    return cel_of_bool(contains_all(r, v[0], v[1]) && contains_all(r, v[1], v[0]));
}

FN(sets_intersects)
{
    for (size_t i = 0; i < v[0].n; i++)
        if (cel_contains(r->arena, v[1], cel_item(r->arena, v[0], i)))
            return cel_of_bool(true);
    return cel_of_bool(false);
}

#define LIB CEL_LIB_KUBERNETES
/* One overload for each type that has an order. */
#define COMPARABLE(name, head, tail, result, fn, cost, since)                                                \
    {name, "list_int" tail, head "(int)" result, fn, cost, LIB, since},                                      \
        {name, "list_uint" tail, head "(uint)" result, fn, cost, LIB, since},                                \
        {name, "list_double" tail, head "(double)" result, fn, cost, LIB, since},                            \
        {name, "list_bool" tail, head "(bool)" result, fn, cost, LIB, since},                                \
        {name, "list_duration" tail, head "(duration)" result, fn, cost, LIB, since},                        \
        {name, "list_timestamp" tail, head "(timestamp)" result, fn, cost, LIB, since},                      \
        {name, "list_string" tail, head "(string)" result, fn, cost, LIB, since},                            \
        {name, "list_bytes" tail, head "(bytes)" result, fn, cost, LIB, since}
#define BEST(name, fn)                                                                                       \
    {name, "list_int_" name "_int", "list(int).() int", fn, COST_TRAVERSE, LIB, 0},                          \
        {name, "list_uint_" name "_uint", "list(uint).() uint", fn, COST_TRAVERSE, LIB, 0},                  \
        {name, "list_double_" name "_double", "list(double).() double", fn, COST_TRAVERSE, LIB, 0},          \
        {name, "list_bool_" name "_bool", "list(bool).() bool", fn, COST_TRAVERSE, LIB, 0},                  \
        {name, "list_duration_" name "_duration", "list(duration).() duration", fn, COST_TRAVERSE, LIB, 0},  \
        {name, "list_timestamp_" name "_timestamp", "list(timestamp).() timestamp", fn, COST_TRAVERSE, LIB, 0}, \
        {name, "list_string_" name "_string", "list(string).() string", fn, COST_TRAVERSE, LIB, 0},          \
        {name, "list_bytes_" name "_bytes", "list(bytes).() bytes", fn, COST_TRAVERSE, LIB, 0}

const struct cel_fn cel_fns_list[] = {
    COMPARABLE("isSorted", "list", "_is_sorted_bool", ".() bool", is_sorted, COST_TRAVERSE, 0),
    {"sum", "list_int_sum_int", "list(int).() int", sum_int, COST_TRAVERSE, LIB, 0},
    {"sum", "list_uint_sum_uint", "list(uint).() uint", sum_uint, COST_TRAVERSE, LIB, 0},
    {"sum", "list_double_sum_double", "list(double).() double", sum_double, COST_TRAVERSE, LIB, 0},
    {"sum", "list_duration_sum_duration", "list(duration).() duration", sum_duration, COST_TRAVERSE, LIB, 0},
    BEST("min", min),
    BEST("max", max),
    {"indexOf", "list_a_index_of_int", "list(T).(T) int", index_of, COST_TRAVERSE, LIB, 0},
    {"lastIndexOf", "list_a_last_index_of_int", "list(T).(T) int", last_index_of, COST_TRAVERSE, LIB, 0},
    {"includes", "list_includes_dyn_dyn", "dyn.(dyn) bool", includes, COST_TRAVERSE, LIB, 37},
    {"slice", "list_slice", "list(T).(int, int) list(T)", slice, COST_LIST_RESULT, LIB, 34},
    {"flatten", "list_flatten", "list(list(T)).() list(T)", flatten, COST_FLATTEN, LIB, 34},
    {"flatten", "list_flatten_int", "list(dyn).(int) list(dyn)", flatten, COST_FLATTEN, LIB, 34},
    {"lists.range", "lists_range", "(int) list(int)", range, COST_LIST_RESULT, LIB, 34},
    {"reverse", "list_reverse", "list(T).() list(T)", reverse, COST_LIST_RESULT, LIB, 34},
    {"distinct", "list_distinct", "list(T).() list(T)", distinct, COST_SORT, LIB, 34},
    {"sort", "list_int_sort", "list(int).() list(int)", sort, COST_SORT, LIB, 34},
    {"sort", "list_uint_sort", "list(uint).() list(uint)", sort, COST_SORT, LIB, 34},
    {"sort", "list_double_sort", "list(double).() list(double)", sort, COST_SORT, LIB, 34},
    {"sort", "list_bool_sort", "list(bool).() list(bool)", sort, COST_SORT, LIB, 34},
    {"sort", "list_duration_sort", "list(duration).() list(duration)", sort, COST_SORT, LIB, 34},
    {"sort", "list_timestamp_sort", "list(timestamp).() list(timestamp)", sort, COST_SORT, LIB, 34},
    {"sort", "list_string_sort", "list(string).() list(string)", sort, COST_SORT, LIB, 34},
    {"sort", "list_bytes_sort", "list(bytes).() list(bytes)", sort, COST_SORT, LIB, 34},
    COMPARABLE("@sortByAssociatedKeys", "list(T).(list", "_sortByAssociatedKeys", ") list(T)", sort_by_keys, COST_SORT_BY, 34),
    {"sets.contains", "list_sets_contains_list", "(list(T), list(T)) bool", sets_contains, COST_SETS, LIB, 29},
    {"sets.equivalent", "list_sets_equivalent_list", "(list(T), list(T)) bool", sets_equivalent, COST_SETS_TWICE, LIB, 29},
    {"sets.intersects", "list_sets_intersects_list", "(list(T), list(T)) bool", sets_intersects, COST_SETS, LIB, 29},
};
const size_t n_cel_fns_list = ARRAY_SIZE(cel_fns_list);
