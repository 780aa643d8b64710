/* SPDX-License-Identifier: Apache-2.0 */
/* Quantities and semantic versions (k8s.io/apiserver/pkg/cel/library: quantity, semver). */
#include "cel/cel-internal.h"

#include "wire/quantity.h"

#include <limits.h>

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

/* ---- quantities ------------------------------------------------------------------------------------------------ */

/* Whether it is an integer, upstream sees from the way it holds it: a number and a power of ten, or (NO_SCALE) neither, when it has
 * too many digits for that or is a fraction of a binary unit. */
enum { NO_SCALE = INT_MIN };

struct quantity_val {
    struct cel_opaque o;
    struct quantity q;
    int scale;
};

static struct quantity quantity_in(struct cel_val v)
{
    return CEL_OPAQUE_AS(v, struct quantity_val)->q;
}

static int scale_in(struct cel_val v)
{
    return CEL_OPAQUE_AS(v, struct quantity_val)->scale;
}

static bool quantity_equal(const struct cel_opaque *x, const struct cel_opaque *y)
{
    return quantity_cmp(((const struct quantity_val *)x)->q, ((const struct quantity_val *)y)->q) == 0;
}

static struct str quantity_to_text(struct arena *a, const struct cel_opaque *o)
{
    char text[QUANTITY_TEXT_MAX];
    return arena_str(a, str_of(quantity_text(((const struct quantity_val *)o)->q, text)));
}

static struct cel_val of_quantity(struct arena *a, struct quantity q, int scale)
{
    struct quantity_val *x = ARENA_NEW(a, struct quantity_val);
    x->o = (struct cel_opaque){&cel_quantity, quantity_equal, quantity_to_text, 1};
    x->q = q;
    x->scale = scale;
    return cel_of_opaque(&x->o);
}

static size_t digits_at(struct str s, size_t at)
{
    size_t n = at;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n - at;
}

static int decimal_exponent(struct str unit)
{
    static const char small[] = "num", large[] = "kMGTPE";
    int64_t n;
    const char *at = unit.n == 1 ? strchr(small, unit.p[0]) : NULL;
    if (at)
        return -9 + 3 * (int)(at - small);
    at = unit.n == 1 ? strchr(large, unit.p[0]) : NULL;
    if (at)
        return 3 * (int)(at - large + 1);
    return unit.n > 1 && str_to_i64(str_from(unit, unit.p[1] == '+' ? 2 : 1), &n) == 0 ? (int)MIN(MAX(n, (int64_t)-100), (int64_t)100) : 0;
}

/* Of a text that is a quantity. */
static int scale_of(struct str s)
{
    static const char binary[] = "KMGTPE";
    size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+'), denominator = 0;
    while (at + 1 < s.n && s.p[at] == '0' && s.p[at + 1] >= '0' && s.p[at + 1] <= '9')
        at++;
    size_t number = digits_at(s, at);
    at += number;
    if (at < s.n && s.p[at] == '.') {
        denominator = digits_at(s, at + 1);
        at += 1 + denominator;
    }
    struct str unit = str_from(s, at);
    const char *power = unit.n == 2 && unit.p[1] == 'i' ? strchr(binary, unit.p[0]) : NULL;
    if (power) {
        int exponent = 10 * (int)(power - binary + 1);
        return denominator || 15 - (int)number - exponent * 3 / 10 - 1 < 0 ? NO_SCALE : 0;
    }
    int scale = decimal_exponent(unit) - (int)denominator;
    return number + denominator > 18 || scale < -9 ? NO_SCALE : scale;
}

/* Of a sum. */
static int scale_with(struct cel_val x, int other)
{
    int own = scale_in(x);
    return own == NO_SCALE || other == NO_SCALE ? NO_SCALE : MIN(own, other);
}

struct cel_val cel_quantity_of(struct arena *a, struct str s)
{
    struct quantity q;
    struct err e = {0};
    int err = quantity_parse(s, &q, &e);
    return err < 0 ? cel_fail(a, "%s", err_text(&e, err)) : of_quantity(a, q, scale_of(s));
}

FN(quantity_from)
{
    return cel_quantity_of(r->arena, cel_str(v[0]));
}

FN(is_quantity)
{
    struct quantity q;
    return cel_of_bool(quantity_parse(cel_str(v[0]), &q, NULL) == 0);
}

FN(quantity_sign)
{
    __int128 nano = quantity_in(v[0]).nano;
    return cel_of_int((nano > 0) - (nano < 0));
}

FN(quantity_compare)
{
    return cel_of_int(quantity_cmp(quantity_in(v[0]), quantity_in(v[1])));
}

FN(quantity_greater)
{
    return cel_of_bool(quantity_cmp(quantity_in(v[0]), quantity_in(v[1])) > 0);
}

FN(quantity_less)
{
    return cel_of_bool(quantity_cmp(quantity_in(v[0]), quantity_in(v[1])) < 0);
}

FN(quantity_to_float)
{
    return (struct cel_val){.kind = CEL_DOUBLE, .d = quantity_float(quantity_in(v[0]))};
}

static bool whole(struct cel_val v, int64_t *ret)
{
    struct quantity q = quantity_in(v);
    __int128 units = q.nano / 1000000000;
    if (scale_in(v) < 0 || q.nano % 1000000000 || units > INT64_MAX || units < INT64_MIN)
        return false;
    *ret = (int64_t)units;
    return true;
}

FN(quantity_is_int)
{
    int64_t i;
    return cel_of_bool(whole(v[0], &i));
}

FN(quantity_to_int)
{
    int64_t i;
    return whole(v[0], &i) ? cel_of_int(i) : cel_fail(r->arena, "cannot convert value to integer");
}

FN(quantity_plus)
{
    return of_quantity(r->arena, quantity_add(quantity_in(v[0]), quantity_in(v[1])), scale_with(v[0], scale_in(v[1])));
}

FN(quantity_plus_int)
{
    return of_quantity(r->arena, quantity_add(quantity_in(v[0]), quantity_of(v[1].i, QUANTITY_DECIMAL_SI)), scale_with(v[0], 0));
}

FN(quantity_minus)
{
    return of_quantity(r->arena, quantity_sub(quantity_in(v[0]), quantity_in(v[1])), scale_with(v[0], scale_in(v[1])));
}

FN(quantity_minus_int)
{
    return of_quantity(r->arena, quantity_sub(quantity_in(v[0]), quantity_of(v[1].i, QUANTITY_DECIMAL_SI)), scale_with(v[0], 0));
}

/* ---- semantic versions (semver.org 2.0.0) -------------------------------------------------------------------------- */

struct semver_val {
    struct cel_opaque o;
    uint64_t part[3];
    struct str pre, text;
};

static bool semver_number(struct str s, uint64_t *ret)
{
    return s.n && (s.n == 1 || s.p[0] != '0') && s.p[0] != '+' && !str_to_u64(s, ret);
}

static bool is_number(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

/* Dotted identifiers of a pre-release (numbers without leading zeros) or of build metadata. */
static bool identifiers(struct str s, bool pre, struct err *e)
{
    static const char known[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-";
    struct str rest = s, id = s;
    do {
        str_cut(rest, '.', &id, &rest);
        if (!id.n)
            return err_set(e, 0, "%s is empty", pre ? "Prerelease" : "Build meta data"), false;
        for (size_t i = 0; i < id.n; i++)
            if (!memchr(known, id.p[i], sizeof(known) - 1))
                return err_set(e, 0, "Invalid character(s) found in %s \"" STR_FMT "\"", pre ? "prerelease" : "build meta data",
                               STR_ARG(id)), false;
        if (pre && is_number(id) && id.n > 1 && id.p[0] == '0')
            return err_set(e, 0, "Numeric PreRelease version must not contain leading zeroes \"" STR_FMT "\"", STR_ARG(id)), false;
    } while (id.p + id.n < s.p + s.n);
    return true;
}

/* The first of major.minor.patch up to its dot, moved past. */
static bool next_part(struct str *s, bool last, struct str *ret)
{
    size_t n = 0;
    while (n < s->n && (last ? s->p[n] != '-' && s->p[n] != '+' : s->p[n] != '.'))
        n++;
    if (!last && n == s->n)
        return false;
    *ret = str_n(s->p, n);
    *s = str_from(*s, last ? n : n + 1);
    return true;
}

static bool semver_parse(struct str s, struct semver_val *ret, struct err *e)
{
    static const char *const names[] = {"major", "minor", "patch"};
    struct str part, rest = s, build = STR_NULL;
    if (!s.n)
        return err_set(e, 0, "Version string empty"), false;
    for (int i = 0; i < 3; i++) {
        if (!next_part(&rest, i == 2, &part))
            return err_set(e, 0, "No Major.Minor.Patch elements found"), false;
        if (is_number(part) && part.n > 1 && part.p[0] == '0')
            return err_set(e, 0, "%c%s number must not contain leading zeroes \"" STR_FMT "\"", names[i][0] - 32, names[i] + 1,
                           STR_ARG(part)), false;
        if (!semver_number(part, &ret->part[i]) && is_number(part))
            return err_set(e, 0, "strconv.ParseUint: parsing \"" STR_FMT "\": value out of range", STR_ARG(part)), false;
        if (!is_number(part))
            return err_set(e, 0, "Invalid character(s) found in %s number \"" STR_FMT "\"", names[i], STR_ARG(part)), false;
    }
    bool has_build = str_cut(rest, '+', &rest, &build);
    if ((rest.n && !identifiers(str_from(rest, 1), true, e)) || (has_build && !identifiers(build, false, e)))
        return false;
    ret->pre = rest.n ? str_from(rest, 1) : STR_NULL;
    ret->text = s;
    return true;
}

static int cmp_u64(uint64_t x, uint64_t y)
{
    return (x > y) - (x < y);
}

static int cmp_identifier(struct str x, struct str y)
{
    bool nx = is_number(x), ny = is_number(y);
    if (nx != ny)
        return nx ? -1 : 1;
    if (nx && x.n != y.n)
        return x.n < y.n ? -1 : 1;
    int c = str_cmp(x, y);
    return (c > 0) - (c < 0);
}

static int semver_cmp(const struct semver_val *x, const struct semver_val *y)
{
    for (int i = 0; i < 3; i++)
        if (x->part[i] != y->part[i])
            return cmp_u64(x->part[i], y->part[i]);
    if (!x->pre.n || !y->pre.n)
        return (y->pre.n > 0) - (x->pre.n > 0);
    struct str p = x->pre, q = y->pre, a, b;
    for (;;) {
        bool more = str_next(&p, '.', &a), other = str_next(&q, '.', &b);
        if (!more || !other)
            return more - other;
        int c = cmp_identifier(a, b);
        if (c)
            return c;
    }
}

static bool semver_equal(const struct cel_opaque *x, const struct cel_opaque *y)
{
    return semver_cmp((const struct semver_val *)x, (const struct semver_val *)y) == 0;
}

static struct str semver_to_text(struct arena *a, const struct cel_opaque *o)
{
    return ((const struct semver_val *)o)->text;
}

struct cel_val cel_semver_of(struct arena *a, struct str s)
{
    struct semver_val *x = ARENA_NEW(a, struct semver_val);
    struct err e = {0};
    x->o = (struct cel_opaque){&cel_semver, semver_equal, semver_to_text, 1};
    return semver_parse(arena_str(a, s), x, &e) ? cel_of_opaque(&x->o) : cel_fail(a, "%s", e.text);
}

/* Without leading zeros; a part of digits keeps one before what is no digit. */
static struct str trim_zeros(struct str s)
{
    size_t n = 0;
    while (n + 1 < s.n && s.p[n] == '0' && s.p[n + 1] >= '0' && s.p[n + 1] <= '9')
        n++;
    return str_from(s, n);
}

/* "v1.02" as 1.2.0: without v and leading zeros, filled up to three numbers. False for a short one with a suffix. */
static bool semver_normalize(struct arena *a, struct str s, struct str *ret)
{
    struct str parts[3], head, rest = str_starts(s, STR("v")) ? str_from(s, 1) : s;
    int n = 0;
    while (n < 2 && str_find(rest, '.') >= 0) {
        str_cut(rest, '.', &head, &rest);
        parts[n++] = head;
    }
    parts[n++] = rest;
    if (n < 3 && (str_find(parts[n - 1], '+') >= 0 || str_find(parts[n - 1], '-') >= 0))
        return false;
    for (int i = 0; i < 3; i++)
        parts[i] = i < n ? trim_zeros(parts[i]) : STR("0");
    *ret = arena_join(a, parts, 3, STR("."));
    return true;
}

static struct cel_val semver_from(struct cel_run *r, struct cel_val s, bool normalize)
{
    struct str text = cel_str(s);
    if (normalize && !semver_normalize(r->arena, text, &text))
        return cel_fail(r->arena, "short version cannot contain PreRelease/Build meta data");
    return cel_semver_of(r->arena, text);
}

FN(semver_make)
{
    return semver_from(r, v[0], n > 1 && v[1].b);
}

FN(is_semver)
{
    return cel_of_bool(!cel_failed(semver_from(r, v[0], n > 1 && v[1].b)));
}

static int cmp_semvers(const struct cel_val *v)
{
    return semver_cmp(CEL_OPAQUE_AS(v[0], struct semver_val), CEL_OPAQUE_AS(v[1], struct semver_val));
}

FN(semver_compare)
{
    return cel_of_int(cmp_semvers(v));
}

FN(semver_greater)
{
    return cel_of_bool(cmp_semvers(v) > 0);
}

FN(semver_less)
{
    return cel_of_bool(cmp_semvers(v) < 0);
}

FN(semver_major)
{
    return cel_of_int((int64_t)CEL_OPAQUE_AS(v[0], struct semver_val)->part[0]);
}

FN(semver_minor)
{
    return cel_of_int((int64_t)CEL_OPAQUE_AS(v[0], struct semver_val)->part[1]);
}

FN(semver_patch)
{
    return cel_of_int((int64_t)CEL_OPAQUE_AS(v[0], struct semver_val)->part[2]);
}

#define Q "kubernetes.Quantity"
#define S "kubernetes.Semver"
#define LIB CEL_LIB_KUBERNETES

const struct cel_fn cel_fns_amount[] = {
    {"quantity", "string_to_quantity", "(string) " Q, quantity_from, COST_ARG0, LIB, 28},
    {"isQuantity", "is_quantity_string", "(string) bool", is_quantity, COST_ARG0, LIB, 28},
    {"sign", "quantity_sign", "(" Q ") int", quantity_sign, COST_ONE, LIB, 28},
    {"isGreaterThan", "quantity_is_greater_than", Q ".(" Q ") bool", quantity_greater, COST_ONE, LIB, 28},
    {"isLessThan", "quantity_is_less_than", Q ".(" Q ") bool", quantity_less, COST_ONE, LIB, 28},
    {"compareTo", "quantity_compare_to", Q ".(" Q ") int", quantity_compare, COST_ONE, LIB, 28},
    {"asApproximateFloat", "quantity_get_float", Q ".() double", quantity_to_float, COST_ONE, LIB, 28},
    {"asInteger", "quantity_get_int", Q ".() int", quantity_to_int, COST_ONE, LIB, 28},
    {"isInteger", "quantity_is_integer", Q ".() bool", quantity_is_int, COST_ONE, LIB, 28},
    {"add", "quantity_add", Q ".(" Q ") " Q, quantity_plus, COST_ONE, LIB, 28},
    {"add", "quantity_add_int", Q ".(int) " Q, quantity_plus_int, COST_ONE, LIB, 28},
    {"sub", "quantity_sub", Q ".(" Q ") " Q, quantity_minus, COST_ONE, LIB, 28},
    {"sub", "quantity_sub_int", Q ".(int) " Q, quantity_minus_int, COST_ONE, LIB, 28},

    {"semver", "string_to_semver", "(string) " S, semver_make, COST_ARG0, LIB, 33},
    {"semver", "string_bool_to_semver", "(string, bool) " S, semver_make, COST_ARG0, LIB, 33},
    {"isSemver", "is_semver_string", "(string) bool", is_semver, COST_ARG0, LIB, 33},
    {"isSemver", "is_semver_string_bool", "(string, bool) bool", is_semver, COST_ARG0, LIB, 33},
    {"isGreaterThan", "semver_is_greater_than", S ".(" S ") bool", semver_greater, COST_ONE, LIB, 33},
    {"isLessThan", "semver_is_less_than", S ".(" S ") bool", semver_less, COST_ONE, LIB, 33},
    {"compareTo", "semver_compare_to", S ".(" S ") int", semver_compare, COST_ONE, LIB, 33},
    {"major", "semver_major", S ".() int", semver_major, COST_ONE, LIB, 33},
    {"minor", "semver_minor", S ".() int", semver_minor, COST_ONE, LIB, 33},
    {"patch", "semver_patch", S ".() int", semver_patch, COST_ONE, LIB, 33},
};
const size_t n_cel_fns_amount = ARRAY_SIZE(cel_fns_amount);
