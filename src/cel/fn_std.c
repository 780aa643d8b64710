/* SPDX-License-Identifier: Apache-2.0 */
/* The standard functions of cel-spec: arithmetic, comparison, conversions, sizes, text, optionals. Times: fn_time.c. */
#include "cel/cel-internal.h"

#include "base/time.h"

#include <ctype.h>
#include <math.h>

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

static struct cel_val of_uint(uint64_t u)
{
    return (struct cel_val){.kind = CEL_UINT, .u = u};
}

static struct cel_val of_double(double d)
{
    return (struct cel_val){.kind = CEL_DOUBLE, .d = d};
}

static struct cel_val of_duration(int64_t ns)
{
    return (struct cel_val){.kind = CEL_DURATION, .i = ns};
}

static struct cel_val constant_error(const char *text)
{
    return (struct cel_val){.kind = CEL_ERROR, .n = (uint32_t)strlen(text), .s = text};
}

static const char int_overflow[] = "integer overflow", uint_overflow[] = "unsigned integer overflow";

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

#define CHECKED(name, op)                                                                                    \
    FN(name##_int)                                                                                           \
    {                                                                                                        \
        int64_t i;                                                                                           \
        return op(v[0].i, v[1].i, &i) ? constant_error(int_overflow) : cel_of_int(i);                        \
    }                                                                                                        \
    FN(name##_uint)                                                                                          \
    {                                                                                                        \
        uint64_t u;                                                                                          \
        return op(v[0].u, v[1].u, &u) ? constant_error(uint_overflow) : of_uint(u);                          \
    }
CHECKED(add, __builtin_add_overflow)
CHECKED(sub, __builtin_sub_overflow)
CHECKED(mul, __builtin_mul_overflow)

FN(add_double)
{
    return of_double(v[0].d + v[1].d);
}

FN(sub_double)
{
    return of_double(v[0].d - v[1].d);
}

FN(mul_double)
{
    return of_double(v[0].d * v[1].d);
}

FN(div_double)
{
    return of_double(v[0].d / v[1].d);
}

FN(div_int)
{
    if (!v[1].i)
        return constant_error("division by zero");
    return v[0].i == INT64_MIN && v[1].i == -1 ? constant_error(int_overflow) : cel_of_int(v[0].i / v[1].i);
}

FN(div_uint)
{
    return v[1].u ? of_uint(v[0].u / v[1].u) : constant_error("division by zero");
}

FN(mod_int)
{
    if (!v[1].i)
        return constant_error("modulus by zero");
    return v[0].i == INT64_MIN && v[1].i == -1 ? constant_error(int_overflow) : cel_of_int(v[0].i % v[1].i);
}

FN(mod_uint)
{
    return v[1].u ? of_uint(v[0].u % v[1].u) : constant_error("modulus by zero");
}

FN(negate_int)
{
    return v[0].i == INT64_MIN ? constant_error(int_overflow) : cel_of_int(-v[0].i);
}

FN(negate_double)
{
    return of_double(-v[0].d);
}

FN(add_text)
{
    if ((uint64_t)v[0].n + v[1].n > INT32_MAX)
        return constant_error("string too long");
    char *p = arena_bytes(r->arena, (size_t)v[0].n + v[1].n + 1);
    memcpy(p, v[0].s, v[0].n);
    memcpy(p + v[0].n, v[1].s, v[1].n);
    p[v[0].n + v[1].n] = 0;
    return (struct cel_val){.kind = v[0].kind, .n = v[0].n + v[1].n, .s = p};
}

FN(add_list)
{
    return cel_list_concat(r->arena, v[0], v[1]);
}

FN(add_duration)
{
    int64_t i;
    return __builtin_add_overflow(v[0].i, v[1].i, &i) ? constant_error(int_overflow) : of_duration(i);
}

FN(sub_duration)
{
    int64_t i;
    return __builtin_sub_overflow(v[0].i, v[1].i, &i) ? constant_error(int_overflow) : of_duration(i);
}

static struct cel_val move(struct cel_val t, int64_t ns, int sign)
{
    struct cel_val moved = cel_timestamp_of(t.i + sign * (ns / NSEC_PER_SEC), (int64_t)t.n + sign * (ns % NSEC_PER_SEC));
    if (!cel_failed(moved))
        moved.of = t.of;
    return moved;
}

FN(add_timestamp)
{
    return v[0].kind == CEL_TIMESTAMP ? move(v[0], v[1].i, 1) : move(v[1], v[0].i, 1);
}

FN(sub_timestamp)
{
    return move(v[0], v[1].i, -1);
}

FN(sub_timestamps)
{
    __int128 ns = (__int128)(v[0].i - v[1].i) * NSEC_PER_SEC + ((int64_t)v[0].n - (int64_t)v[1].n);
    return ns > INT64_MAX || ns < INT64_MIN ? constant_error(int_overflow) : of_duration((int64_t)ns);
}

/* ---- comparison -------------------------------------------------------------------------------------------------- */

/* Does x stand to y as it has to? least, most: what the comparison may give. */
static struct cel_val ordered(const struct cel_val *v, int least, int most)
{
    int c = cel_compare(v[0], v[1]);
    return c == 2 ? cel_not_a_number() : cel_of_bool(c >= least && c <= most);
}

FN(less)
{
    return ordered(v, -1, -1);
}

FN(less_equal)
{
    return ordered(v, -1, 0);
}

FN(greater)
{
    return ordered(v, 1, 1);
}

FN(greater_equal)
{
    return ordered(v, 0, 1);
}

FN(not)
{
    return cel_of_bool(!v[0].b);
}

FN(in_list)
{
    return cel_of_bool(cel_contains(r->arena, v[1], v[0]));
}

FN(in_map)
{
    if (v[1].form == FORM_OWN && v[1].map->absent) { /* a map with a default has every key */
        return cel_of_bool(true);
    }
    return cel_of_bool(!cel_absent(cel_lookup(r->arena, v[1], v[0])));
}

FN(size)
{
    return cel_of_int((int64_t)cel_size(v[0]));
}

/* ---- conversions ------------------------------------------------------------------------------------------------- */

FN(same)
{
    return v[0];
}

FN(type_of)
{
    return (struct cel_val){.kind = CEL_TYPE, .type = cel_type_of(v[0])};
}

FN(int_of_double)
{
    return v[0].d > -9223372036854775808.0 && v[0].d < 9223372036854775808.0 ? cel_of_int((int64_t)v[0].d)
                                                                            : constant_error(int_overflow);
}

FN(int_of_uint)
{
    return v[0].u > INT64_MAX ? constant_error(int_overflow) : cel_of_int((int64_t)v[0].u);
}

FN(int_of_string)
{
    int64_t i;
    struct str s = cel_str(v[0]);
    if (s.n > 1 && s.p[0] == '+' && s.p[1] != '-' && s.p[1] != '+')
        s = str_from(s, 1);
    return str_to_i64(s, &i) ? constant_error("type conversion error from 'string' to 'int'") : cel_of_int(i);
}

FN(int_of_duration)
{
    return cel_of_int(v[0].i);
}

FN(int_of_timestamp)
{
    return cel_of_int(v[0].i);
}

FN(uint_of_int)
{
    return v[0].i < 0 ? constant_error(uint_overflow) : of_uint((uint64_t)v[0].i);
}

FN(uint_of_double)
{
    return v[0].d >= 0 && v[0].d < 18446744073709551616.0 ? of_uint((uint64_t)v[0].d) : constant_error(uint_overflow);
}

FN(uint_of_string)
{
    uint64_t u;
    return str_to_u64(cel_str(v[0]), &u) ? constant_error("type conversion error from 'string' to 'uint'") : of_uint(u);
}

FN(double_of_int)
{
    return of_double((double)v[0].i);
}

FN(double_of_uint)
{
    return of_double((double)v[0].u);
}

/* As Go reads numbers: one between two digits at a time. */
static bool drop_underscores(char *text)
{
    char *to = text;
    for (char *p = text; *p; p++) {
        if (*p != '_')
            *to++ = *p;
        else if (p == text || !isxdigit((unsigned char)p[-1]) || !isxdigit((unsigned char)p[1]))
            return false;
    }
    *to = 0;
    return true;
}

FN(double_of_string)
{
    char *text = arena_cstr(r->arena, cel_str(v[0])), *end;
    bool start = *text && (strchr("+-.", *text) || (*text >= '0' && *text <= '9') || strchr("iInN", *text));
    bool hex = strpbrk(text, "xX") != NULL;
    bool right = strlen(text) == v[0].n && start && drop_underscores(text) && (!hex || strpbrk(text, "pP"));
    double d = right ? strtod(text, &end) : 0;
    if (!right || *end || end == text || (isinf(d) && !strpbrk(text, "iI"))) /* too large */
        return constant_error("type conversion error from 'string' to 'double'");
    return of_double(d);
}

FN(bool_of_string)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"}, *const no[] = {"0", "f", "F", "false", "FALSE",
                                                                                              "False"};
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (str_is(cel_str(v[0]), yes[i]))
            return cel_of_bool(true);
        if (str_is(cel_str(v[0]), no[i]))
            return cel_of_bool(false);
    }
    return cel_fail(r->arena, "type conversion error from 'string' to 'bool'");
}

FN(string_of_bool)
{
    return cel_of_str(v[0].b ? STR("true") : STR("false"));
}

FN(string_of_int)
{
    return cel_of_str(arena_printf(r->arena, "%lld", (long long)v[0].i));
}

FN(string_of_uint)
{
    return cel_of_str(arena_printf(r->arena, "%llu", (unsigned long long)v[0].u));
}

FN(string_of_double)
{
    return cel_of_str(cel_double_text(r->arena, v[0].d));
}

static bool is_utf8(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        uint32_t rune;
        size_t n = cel_rune(str_from(s, i), &rune);
        if (n == 1 && (unsigned char)s.p[i] >= 0x80)
            return false;
        i += n;
    }
    return true;
}

FN(string_of_bytes)
{
    return is_utf8(cel_str(v[0])) ? cel_of_str(cel_str(v[0])) : constant_error("invalid UTF-8 in bytes, cannot convert to string");
}

FN(string_of_timestamp)
{
    return cel_of_str(cel_timestamp_text(r->arena, v[0]));
}

FN(string_of_duration)
{
    return cel_of_str(cel_duration_text(r->arena, v[0].i));
}

FN(bytes_of_string)
{
    struct cel_val b = v[0];
    b.kind = CEL_BYTES;
    return b;
}

FN(duration_of_string)
{
    int64_t ns;
    return cel_duration_parse(cel_str(v[0]), &ns)
               ? of_duration(ns)
               : constant_error("type conversion error from 'string' to 'google.protobuf.Duration'");
}

FN(timestamp_of_string)
{
    struct cel_val t;
    return cel_timestamp_parse(cel_str(v[0]), &t)
               ? t
               : constant_error("type conversion error from 'string' to 'google.protobuf.Timestamp'");
}

FN(timestamp_of_int)
{
    return cel_timestamp_of(v[0].i, 0);
}

/* ---- text ---------------------------------------------------------------------------------------------------------- */

FN(starts_with)
{
    return cel_of_bool(str_starts(cel_str(v[0]), cel_str(v[1])));
}

FN(ends_with)
{
    return cel_of_bool(str_ends(cel_str(v[0]), cel_str(v[1])));
}

FN(contains)
{
    return cel_of_bool(str_contains(cel_str(v[0]), cel_str(v[1])));
}

FN(matches)
{
    char fault[CEL_REGEX_FAULT];
    struct cel_regex *own;
    const struct cel_regex *re = cel_regex_of(r, v[1], &own, fault);
    size_t start, end;
    if (!re)
        return cel_fail(r->arena, "%s", fault);
    bool found = cel_regex_find(re, cel_str(v[0]), 0, &start, &end);
    cel_regex_free(own);
    return cel_of_bool(found);
}

/* ---- optionals ------------------------------------------------------------------------------------------------------- */

static struct cel_val some(struct cel_run *r, struct cel_val v)
{
    struct cel_val *inner = ARENA_NEW(r->arena, struct cel_val);
    *inner = v;
    return (struct cel_val){.kind = CEL_OPTIONAL, .inner = inner};
}

FN(optional_of)
{
    return some(r, v[0]);
}

FN(optional_of_non_zero)
{
    return cel_zero_value(v[0]) ? (struct cel_val){.kind = CEL_OPTIONAL} : some(r, v[0]);
}

FN(optional_none)
{
    return (struct cel_val){.kind = CEL_OPTIONAL};
}

FN(optional_value)
{
    return v[0].inner ? *v[0].inner : constant_error("optional.none() dereference");
}

FN(optional_has_value)
{
    return cel_of_bool(v[0].inner != NULL);
}

FN(list_first)
{
    return v[0].n ? some(r, cel_item(r->arena, v[0], 0)) : (struct cel_val){.kind = CEL_OPTIONAL};
}

FN(list_last)
{
    return v[0].n ? some(r, cel_item(r->arena, v[0], v[0].n - 1)) : (struct cel_val){.kind = CEL_OPTIONAL};
}

FN(unwrap_list)
{
    struct cel_val out = cel_new_list(r->arena, NULL, 0);
    for (size_t i = 0; i < v[0].n; i++) {
        struct cel_val x = cel_item(r->arena, v[0], i);
        if (x.kind != CEL_OPTIONAL)
            return cel_fail(r->arena, "value is not optional");
        if (x.inner)
            out = cel_list_append(r->arena, out, *x.inner);
    }
    return out;
}

FN(map_insert)
{
    return cel_map_insert(r->arena, v[0], v[1], v[2]);
}

FN(map_insert_all)
{
    struct cel_val out = v[0], k, x;
    for (size_t pos = 0; !cel_failed(out) && cel_next(r->arena, v[1], &pos, &k, &x);)
        out = cel_map_insert(r->arena, out, k, x);
    return out;
}

/* ---- the table --------------------------------------------------------------------------------------------------------- */

/* Comparison of two kinds of number: cel-go's cross-type overloads. */
#define COMPARE(op, id, fn)                                                                                  \
    {op, id "_bool", "(bool, bool) bool", fn, COST_ONE, 0, 0},                                               \
        {op, id "_int64", "(int, int) bool", fn, COST_ONE, 0, 0},                                            \
        {op, id "_int64_double", "(int, double) bool", fn, COST_ONE, 0, 0},                                  \
        {op, id "_int64_uint64", "(int, uint) bool", fn, COST_ONE, 0, 0},                                    \
        {op, id "_uint64", "(uint, uint) bool", fn, COST_ONE, 0, 0},                                         \
        {op, id "_uint64_double", "(uint, double) bool", fn, COST_ONE, 0, 0},                                \
        {op, id "_uint64_int64", "(uint, int) bool", fn, COST_ONE, 0, 0},                                    \
        {op, id "_double", "(double, double) bool", fn, COST_ONE, 0, 0},                                     \
        {op, id "_double_int64", "(double, int) bool", fn, COST_ONE, 0, 0},                                  \
        {op, id "_double_uint64", "(double, uint) bool", fn, COST_ONE, 0, 0},                                \
        {op, id "_string", "(string, string) bool", fn, COST_LESS, 0, 0},                                    \
        {op, id "_bytes", "(bytes, bytes) bool", fn, COST_LESS, 0, 0},                                       \
        {op, id "_timestamp", "(timestamp, timestamp) bool", fn, COST_ONE, 0, 0},                            \
        {op, id "_duration", "(duration, duration) bool", fn, COST_ONE, 0, 0}

#define OPT CEL_LIB_KUBERNETES

const struct cel_fn cel_fns_std[] = {
    /* Without a function: the evaluator does them, the table has their types. */
    {"_?_:_", "conditional", "(bool, T, T) T", NULL, COST_NONE, 0, 0},
    {"_==_", "equals", "(T, T) bool", NULL, COST_NONE, 0, 0},
    {"_!=_", "not_equals", "(T, T) bool", NULL, COST_NONE, 0, 0},
    {"_[_]", "index_list", "(list(T), int) T", NULL, COST_NONE, 0, 0},
    {"_[_]", "index_map", "(map(K, V), K) V", NULL, COST_NONE, 0, 0},
    {"_[_]", "optional_list_index_int", "(optional_type(list(V)), int) optional_type(V)", NULL, COST_NONE, OPT, 28},
    {"_[_]", "optional_map_index_value", "(optional_type(map(K, V)), K) optional_type(V)", NULL, COST_NONE, OPT, 28},
    {"_[?_]", "list_optindex_optional_int", "(list(V), int) optional_type(V)", NULL, COST_NONE, OPT, 28},
    {"_[?_]", "optional_list_optindex_optional_int", "(optional_type(list(V)), int) optional_type(V)", NULL, COST_NONE, OPT,
     28},
    {"_[?_]", "map_optindex_optional_value", "(map(K, V), K) optional_type(V)", NULL, COST_NONE, OPT, 28},
    {"_[?_]", "optional_map_optindex_optional_value", "(optional_type(map(K, V)), K) optional_type(V)", NULL, COST_NONE, OPT,
     28},
    {"@not_strictly_false", "not_strictly_false", "(bool) bool", NULL, COST_NONE, 0, 0},
    {"or", "optional_or_optional", "optional_type(V).(optional_type(V)) optional_type(V)", NULL, COST_NONE, OPT, 28},
    {"orValue", "optional_orValue_value", "optional_type(V).(V) V", NULL, COST_NONE, OPT, 28},

    {"!_", "logical_not", "(bool) bool", not, COST_ONE, 0, 0},
    {"-_", "negate_int64", "(int) int", negate_int, COST_ONE, 0, 0},
    {"-_", "negate_double", "(double) double", negate_double, COST_ONE, 0, 0},
    {"_+_", "add_int64", "(int, int) int", add_int, COST_ONE, 0, 0},
    {"_+_", "add_uint64", "(uint, uint) uint", add_uint, COST_ONE, 0, 0},
    {"_+_", "add_double", "(double, double) double", add_double, COST_ONE, 0, 0},
    {"_+_", "add_string", "(string, string) string", add_text, COST_SUM, 0, 0},
    {"_+_", "add_bytes", "(bytes, bytes) bytes", add_text, COST_SUM, 0, 0},
    {"_+_", "add_list", "(list(T), list(T)) list(T)", add_list, COST_ONE, 0, 0},
    {"_+_", "add_timestamp_duration", "(timestamp, duration) timestamp", add_timestamp, COST_ONE, 0, 0},
    {"_+_", "add_duration_timestamp", "(duration, timestamp) timestamp", add_timestamp, COST_ONE, 0, 0},
    {"_+_", "add_duration_duration", "(duration, duration) duration", add_duration, COST_ONE, 0, 0},
    {"_-_", "subtract_int64", "(int, int) int", sub_int, COST_ONE, 0, 0},
    {"_-_", "subtract_uint64", "(uint, uint) uint", sub_uint, COST_ONE, 0, 0},
    {"_-_", "subtract_double", "(double, double) double", sub_double, COST_ONE, 0, 0},
    {"_-_", "subtract_timestamp_timestamp", "(timestamp, timestamp) duration", sub_timestamps, COST_ONE, 0, 0},
    {"_-_", "subtract_timestamp_duration", "(timestamp, duration) timestamp", sub_timestamp, COST_ONE, 0, 0},
    {"_-_", "subtract_duration_duration", "(duration, duration) duration", sub_duration, COST_ONE, 0, 0},
    {"_*_", "multiply_int64", "(int, int) int", mul_int, COST_ONE, 0, 0},
    {"_*_", "multiply_uint64", "(uint, uint) uint", mul_uint, COST_ONE, 0, 0},
    {"_*_", "multiply_double", "(double, double) double", mul_double, COST_ONE, 0, 0},
    {"_/_", "divide_int64", "(int, int) int", div_int, COST_ONE, 0, 0},
    {"_/_", "divide_uint64", "(uint, uint) uint", div_uint, COST_ONE, 0, 0},
    {"_/_", "divide_double", "(double, double) double", div_double, COST_ONE, 0, 0},
    {"_%_", "modulo_int64", "(int, int) int", mod_int, COST_ONE, 0, 0},
    {"_%_", "modulo_uint64", "(uint, uint) uint", mod_uint, COST_ONE, 0, 0},
    COMPARE("_<_", "less", less),
    COMPARE("_<=_", "less_equals", less_equal),
    COMPARE("_>_", "greater", greater),
    COMPARE("_>=_", "greater_equals", greater_equal),
    {"@in", "in_list", "(T, list(T)) bool", in_list, COST_IN_LIST, 0, 0},
    {"@in", "in_map", "(K, map(K, V)) bool", in_map, COST_ONE, 0, 0},

    {"size", "size_bytes", "(bytes) int", size, COST_ONE, 0, 0},
    {"size", "size_list", "(list(T)) int", size, COST_ONE, 0, 0},
    {"size", "size_map", "(map(K, V)) int", size, COST_ONE, 0, 0},
    {"size", "size_string", "(string) int", size, COST_ONE, 0, 0},
    {"size", "bytes_size", "bytes.() int", size, COST_ONE, 0, 0},
    {"size", "list_size", "list(T).() int", size, COST_ONE, 0, 0},
    {"size", "map_size", "map(K, V).() int", size, COST_ONE, 0, 0},
    {"size", "string_size", "string.() int", size, COST_ONE, 0, 0},

    {"type", "type", "(T) type(T)", type_of, COST_ONE, 0, 0},
    {"dyn", "to_dyn", "(T) dyn", same, COST_ONE, 0, 0},
    {"bool", "bool_to_bool", "(bool) bool", same, COST_ONE, 0, 0},
    {"bool", "string_to_bool", "(string) bool", bool_of_string, COST_ONE, 0, 0},
    {"bytes", "bytes_to_bytes", "(bytes) bytes", same, COST_ONE, 0, 0},
    {"bytes", "string_to_bytes", "(string) bytes", bytes_of_string, COST_ARG0_ONLY, 0, 0},
    {"double", "double_to_double", "(double) double", same, COST_ONE, 0, 0},
    {"double", "int64_to_double", "(int) double", double_of_int, COST_ONE, 0, 0},
    {"double", "uint64_to_double", "(uint) double", double_of_uint, COST_ONE, 0, 0},
    {"double", "string_to_double", "(string) double", double_of_string, COST_ONE, 0, 0},
    {"duration", "duration_to_duration", "(duration) duration", same, COST_ONE, 0, 0},
    {"duration", "string_to_duration", "(string) duration", duration_of_string, COST_ONE, 0, 0},
    {"int", "int64_to_int64", "(int) int", same, COST_ONE, 0, 0},
    {"int", "double_to_int64", "(double) int", int_of_double, COST_ONE, 0, 0},
    {"int", "duration_to_int64", "(duration) int", int_of_duration, COST_ONE, 0, 0},
    {"int", "string_to_int64", "(string) int", int_of_string, COST_ONE, 0, 0},
    {"int", "timestamp_to_int64", "(timestamp) int", int_of_timestamp, COST_ONE, 0, 0},
    {"int", "uint64_to_int64", "(uint) int", int_of_uint, COST_ONE, 0, 0},
    {"string", "string_to_string", "(string) string", same, COST_ONE, 0, 0},
    {"string", "bool_to_string", "(bool) string", string_of_bool, COST_ONE, 0, 0},
    {"string", "bytes_to_string", "(bytes) string", string_of_bytes, COST_ARG0_ONLY, 0, 0},
    {"string", "double_to_string", "(double) string", string_of_double, COST_ONE, 0, 0},
    {"string", "duration_to_string", "(duration) string", string_of_duration, COST_ONE, 0, 0},
    {"string", "int64_to_string", "(int) string", string_of_int, COST_ONE, 0, 0},
    {"string", "timestamp_to_string", "(timestamp) string", string_of_timestamp, COST_ONE, 0, 0},
    {"string", "uint64_to_string", "(uint) string", string_of_uint, COST_ONE, 0, 0},
    {"timestamp", "timestamp_to_timestamp", "(timestamp) timestamp", same, COST_ONE, 0, 0},
    {"timestamp", "int64_to_timestamp", "(int) timestamp", timestamp_of_int, COST_ONE, 0, 0},
    {"timestamp", "string_to_timestamp", "(string) timestamp", timestamp_of_string, COST_ONE, 0, 0},
    {"uint", "uint64_to_uint64", "(uint) uint", same, COST_ONE, 0, 0},
    {"uint", "double_to_uint64", "(double) uint", uint_of_double, COST_ONE, 0, 0},
    {"uint", "int64_to_uint64", "(int) uint", uint_of_int, COST_ONE, 0, 0},
    {"uint", "string_to_uint64", "(string) uint", uint_of_string, COST_ONE, 0, 0},

    {"contains", "contains_string", "string.(string) bool", contains, COST_CONTAINS, 0, 0},
    {"endsWith", "ends_with_string", "string.(string) bool", ends_with, COST_ARG1, 0, 0},
    {"startsWith", "starts_with_string", "string.(string) bool", starts_with, COST_ARG1, 0, 0},
    {"matches", "matches", "(string, string) bool", matches, COST_REGEX, 0, 0},
    {"matches", "matches_string", "string.(string) bool", matches, COST_REGEX, 0, 0},

    {"optional.of", "optional_of", "(V) optional_type(V)", optional_of, COST_ONE, OPT, 28},
    {"optional.ofNonZeroValue", "optional_ofNonZeroValue", "(V) optional_type(V)", optional_of_non_zero, COST_ONE, OPT, 28},
    {"optional.none", "optional_none", "() optional_type(V)", optional_none, COST_ONE, OPT, 28},
    {"value", "optional_value", "optional_type(V).() V", optional_value, COST_ONE, OPT, 28},
    {"hasValue", "optional_hasValue", "optional_type(V).() bool", optional_has_value, COST_ONE, OPT, 28},
    {"first", "list_first", "list(V).() optional_type(V)", list_first, COST_ONE, OPT, 28},
    {"last", "list_last", "list(V).() optional_type(V)", list_last, COST_ONE, OPT, 28},
    {"optional.unwrap", "optional_unwrap", "(list(optional_type(V))) list(V)", unwrap_list, COST_ONE, OPT, 28},
    {"unwrapOpt", "optional_unwrapOpt", "list(optional_type(V)).() list(V)", unwrap_list, COST_ONE, OPT, 28},
    {"cel.@mapInsert", "@mapInsert_map_key_value", "(map(K, V), K, V) map(K, V)", map_insert, COST_ONE, OPT, 32},
    {"cel.@mapInsert", "@mapInsert_map_map", "(map(K, V), map(K, V)) map(K, V)", map_insert_all, COST_ONE, OPT, 32},
};
const size_t n_cel_fns_std = ARRAY_SIZE(cel_fns_std);
