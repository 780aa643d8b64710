/* SPDX-License-Identifier: Apache-2.0 */
/* Equality, order and emptiness. Numbers compare by what they are worth, whatever their kind. */
#include "cel/cel-internal.h"

#include <math.h>

const struct cel_type *cel_type_of(struct cel_val v)
{
    static const struct cel_type *const kinds[] = {
        [CEL_ERROR] = &cel_error_type, [CEL_NULL] = &cel_null,           [CEL_BOOL] = &cel_bool,
        [CEL_INT] = &cel_int,          [CEL_UINT] = &cel_uint,           [CEL_DOUBLE] = &cel_double,
        [CEL_STRING] = &cel_string,    [CEL_BYTES] = &cel_bytes,         [CEL_TIMESTAMP] = &cel_timestamp,
        [CEL_DURATION] = &cel_duration, [CEL_LIST] = &cel_list_dyn,      [CEL_MAP] = &cel_map_dyn,
        [CEL_TYPE] = &cel_type_type,   [CEL_OPTIONAL] = &cel_optional_dyn,
    };
    if (v.kind == CEL_OBJECT || v.kind == CEL_OPAQUE)
        return v.of;
    return kinds[v.kind];
}

static int cmp_double(double x, double y)
{
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

/* As doubles, like cel-go: beyond 2^53 neighbours are the same. */
static int cmp_int_double(int64_t i, double d)
{
    return cmp_double((double)i, d);
}

static int cmp_uint_double(uint64_t u, double d)
{
    return cmp_double((double)u, d);
}

static int cmp_int_uint(int64_t i, uint64_t u)
{
    return i < 0 ? -1 : ((uint64_t)i > u) - ((uint64_t)i < u);
}

static int flip(int c)
{
    return c == 2 ? 2 : -c;
}

static int cmp_number(struct cel_val x, struct cel_val y)
{
    if (x.kind == y.kind)
        return x.kind == CEL_INT    ? (x.i > y.i) - (x.i < y.i)
               : x.kind == CEL_UINT ? (x.u > y.u) - (x.u < y.u)
                                    : cmp_double(x.d, y.d);
    if (x.kind == CEL_INT)
        return y.kind == CEL_UINT ? cmp_int_uint(x.i, y.u) : cmp_int_double(x.i, y.d);
    if (x.kind == CEL_UINT)
        return y.kind == CEL_INT ? flip(cmp_int_uint(y.i, x.u)) : cmp_uint_double(x.u, y.d);
    return flip(cmp_number(y, x));
}

static bool is_number(struct cel_val v)
{
    return v.kind == CEL_INT || v.kind == CEL_UINT || v.kind == CEL_DOUBLE;
}

static int sign(int c)
{
    return (c > 0) - (c < 0);
}

int cel_compare(struct cel_val x, struct cel_val y)
{
    if (is_number(x) && is_number(y))
        return cmp_number(x, y);
    if (x.kind != y.kind)
        return 2;
    switch ((enum cel_kind)x.kind) {
    case CEL_BOOL:
        return x.b - y.b;
    case CEL_STRING:
    case CEL_BYTES:
        return sign(str_cmp(cel_str(x), cel_str(y)));
    case CEL_DURATION:
        return (x.i > y.i) - (x.i < y.i);
    case CEL_TIMESTAMP:
        return x.i != y.i ? (x.i > y.i) - (x.i < y.i) : (x.n > y.n) - (x.n < y.n);
    default:
        return 2;
    }
}

/* ---- equality ------------------------------------------------------------------------------------------------ */

static bool lists_equal(struct arena *a, struct cel_val x, struct cel_val y)
{
    if (x.n != y.n)
        return false;
    unsigned flags = x.form == FORM_VIEW ? ((const struct cel_type *)x.of)->flags : 0;
    for (size_t i = 0; i < x.n; i++) {
        struct cel_val v = cel_item(a, x, i);
        if (flags & (CEL_LIST_SET | CEL_LIST_MAP) ? !cel_contains(a, y, v) : !cel_equal(a, v, cel_item(a, y, i)))
            return false;
    }
    return true;
}

static bool maps_equal(struct arena *a, struct cel_val x, struct cel_val y)
{
    size_t pos = 0;
    struct cel_val k, v;
    if (cel_size(x) != cel_size(y))
        return false;
    while (cel_next(a, x, &pos, &k, &v)) {
        struct cel_val w = cel_lookup(a, y, k);
        if (cel_absent(w) || !cel_equal(a, v, w))
            return false;
    }
    return true;
}

static bool objects_equal(struct arena *a, struct cel_val x, struct cel_val y)
{
    const struct cel_type *t = x.of, *u = y.of;
    if (!str_eq(t->name, u->name))
        return false;
    for (uint32_t i = 0; i < t->n_fields; i++) {
        struct cel_val e;
        struct str name = t->fields[i].name;
        bool in_x = cel_has_field(a, x, name, &e), in_y = cel_has_field(a, y, name, &e);
        if (!in_x && !in_y)
            continue;
        if (in_x != in_y && !t->fields[i].absent)
            return false;
        if (!cel_equal(a, cel_field_of(a, x, name), cel_field_of(a, y, name)))
            return false;
    }
    return x.form != FORM_VIEW || y.form != FORM_VIEW || !(t->flags & CEL_OPEN) || val_equal(x.val, y.val);
}

static bool types_equal(const struct cel_type *x, const struct cel_type *y)
{
    return x->kind == y->kind && str_eq(x->name, y->name);
}

bool cel_equal(struct arena *a, struct cel_val x, struct cel_val y)
{
    if (x.kind != y.kind)
        return is_number(x) && is_number(y) && cmp_number(x, y) == 0;
    switch ((enum cel_kind)x.kind) {
    case CEL_NULL:
        return true;
    case CEL_LIST:
        return lists_equal(a, x, y);
    case CEL_MAP:
        return maps_equal(a, x, y);
    case CEL_OBJECT:
        return objects_equal(a, x, y);
    case CEL_TYPE:
        return types_equal(x.type, y.type);
    case CEL_OPTIONAL:
        return !x.inner || !y.inner ? x.inner == y.inner : cel_equal(a, *x.inner, *y.inner);
    case CEL_OPAQUE: {
        const struct cel_opaque *p = x.opaque, *q = y.opaque;
        return p == q || (str_eq(p->type->name, q->type->name) && p->equal && p->equal(p, q));
    }
    default:
        return cel_compare(x, y) == 0;
    }
}

bool cel_zero_value(struct cel_val v)
{
    switch ((enum cel_kind)v.kind) {
    case CEL_NULL:
        return true;
    case CEL_BOOL:
        return !v.b;
    case CEL_INT:
    case CEL_UINT:
    case CEL_DURATION:
        return v.i == 0;
    case CEL_DOUBLE:
        return v.d == 0;
    case CEL_STRING:
    case CEL_BYTES:
    case CEL_LIST:
    case CEL_MAP:
        return cel_size(v) == 0;
    case CEL_TIMESTAMP:
        return v.i == -62135596800 && v.n == 0;
    case CEL_OPTIONAL:
        return !v.inner;
    case CEL_OBJECT:
        for (uint32_t i = 0; v.form == FORM_OWN && i < ((const struct cel_type *)v.of)->n_fields; i++)
            if (!cel_absent(v.object->values[i]) && !cel_zero_value(v.object->values[i]))
                return false;
        return v.form == FORM_OWN || v.n == 0;
    default:
        return false;
    }
}
