/* SPDX-License-Identifier: Apache-2.0 */
/*
 * string.format() and jsonpatch.escapeKey(). Kubernetes has format() as version 2 of cel-go's strings prints it: lists
 * with quoted strings, %f with commas between thousands, %e with a raised exponent. Version 4 (CEL_LIB_EXTENSIONS) is
 * what the language's conformance cases want.
 */
#include "cel/cel-internal.h"

#include "type/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

struct printer {
    struct cel_run *r;
    struct buf *b;
    bool old; /* version 2 */
    struct cel_val error;
};

static bool fail_kind(struct printer *p, const char *what, struct cel_val v)
{
    p->error = cel_fail(p->r->arena, "error during formatting: %s, was given " STR_FMT, what, STR_ARG(cel_type_of(v)->name));
    return false;
}

static bool put_plain(struct printer *p, struct cel_val v, bool inner, unsigned depth);

static void put_grouped(struct buf *b, const char *digits)
{
    size_t whole = strspn(digits + (*digits == '-'), "0123456789"), start = *digits == '-';
    buf_put(b, digits, start);
    for (size_t i = 0; i < whole; i++) {
        if (i && (whole - i) % 3 == 0)
            buf_putc(b, ',');
        buf_putc(b, digits[start + i]);
    }
    buf_puts(b, digits + start + whole);
}

static void put_special(struct printer *p, double d)
{
    if (p->old)
        buf_puts(p->b, isnan(d) ? "NaN" : d > 0 ? "∞" : "-∞");
    else
        buf_puts(p->b, isnan(d) ? "NaN" : d > 0 ? "Infinity" : "-Infinity");
}

static void put_fixed(struct printer *p, double d, int precision)
{
    char text[512];
    if (isnan(d) || isinf(d)) {
        put_special(p, d);
        return;
    }
    snprintf(text, sizeof(text), "%.*f", precision, d);
    if (p->old)
        put_grouped(p->b, text);
    else
        buf_puts(p->b, text);
}

static void put_raised(struct buf *b, double d)
{
    static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    char text[64];
    snprintf(text, sizeof(text), "%.6e", d);
    char *e = strchr(text, 'e');
    buf_put(b, text, (size_t)(e - text));
    buf_puts(b, "×10");
    for (e++; *e; e++)
        if (*e == '-')
            buf_puts(b, "⁻");
        else if (*e != '+')
            buf_puts(b, raised[*e - '0']);
}

/* What version 2 takes for the precision is the width. */
static void put_scientific(struct printer *p, double d, int precision)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct buf *out = p->b;
    p->b = &b;
    if (isnan(d) || isinf(d))
        put_special(p, d);
    else if (p->old)
        put_raised(&b, d);
    else
        buf_printf(&b, "%.*e", precision, d);
    p->b = out;
    for (size_t n = cel_runes(buf_str(&b)); p->old && n < (size_t)precision; n++)
        buf_putc(out, ' ');
    buf_putstr(out, buf_str(&b));
}

static bool put_list(struct printer *p, struct cel_val v, unsigned depth)
{
    buf_putc(p->b, '[');
    for (size_t i = 0; i < v.n; i++) {
        buf_puts(p->b, i ? ", " : "");
        if (!put_plain(p, cel_item(p->r->arena, v, i), true, depth))
            return false;
    }
    buf_putc(p->b, ']');
    return true;
}

static int cmp_text(const void *x, const void *y)
{
    const struct str *a = x, *b = y;
    return str_cmp(a[0], b[0]);
}

/* Entries by the text of their keys. */
static bool put_map(struct printer *p, struct cel_val v, unsigned depth)
{
    size_t n = cel_size(v), pos = 0, i = 0;
    struct str *entries = ARENA_ARRAY(p->r->arena, struct str, 2 * n);
    struct cel_val k, x;
    struct buf *out = p->b;
    bool ok = true;
    while (ok && i < n && cel_next(p->r->arena, v, &pos, &k, &x)) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        p->b = &b;
        if (k.kind != CEL_STRING && k.kind != CEL_BOOL && k.kind != CEL_INT && k.kind != CEL_UINT)
            ok = fail_kind(p, "no formatting function for map key", k);
        ok = ok && put_plain(p, k, true, depth);
        entries[2 * i] = arena_str(p->r->arena, buf_str(&b));
        buf_clear(&b);
        ok = ok && put_plain(p, x, true, depth);
        entries[2 * i++ + 1] = arena_str(p->r->arena, buf_str(&b));
    }
    p->b = out;
    if (!ok)
        return false;
    qsort(entries, i, 2 * sizeof(*entries), cmp_text);
    buf_putc(p->b, '{');
    for (size_t k2 = 0; k2 < i; k2++)
        buf_printf(p->b, "%s" STR_FMT "%s" STR_FMT, k2 ? ", " : "", STR_ARG(entries[2 * k2]), p->old ? ":" : ": ",
                   STR_ARG(entries[2 * k2 + 1]));
    buf_putc(p->b, '}');
    return true;
}

static void put_double_text(struct printer *p, double d, bool inner)
{
    if (p->old && inner && !isnan(d) && !isinf(d)) {
        put_fixed(p, d, 6);
    } else if (p->old) {
        buf_printf(p->b, inner ? "\"" STR_FMT "\"" : STR_FMT, STR_ARG(cel_double_text(p->r->arena, d)));
    } else if (isnan(d) || isinf(d)) {
        put_special(p, d);
    } else {
        buf_putstr(p->b, cel_double_text(p->r->arena, d));
    }
}

/* %s. inner: within a list or map. */
static bool put_plain(struct printer *p, struct cel_val v, bool inner, unsigned depth)
{
    struct arena *a = p->r->arena;
    bool quote = p->old && inner;
    switch ((enum cel_kind)v.kind) {
    case CEL_STRING:
        buf_putstr(p->b, quote ? text_quote(a, cel_str(v)) : cel_str(v));
        return true;
    case CEL_BYTES:
        buf_printf(p->b, quote ? "b\"" STR_FMT "\"" : STR_FMT, STR_ARG(cel_str(v)));
        return true;
    case CEL_NULL:
    case CEL_BOOL:
    case CEL_INT:
    case CEL_TYPE:
        buf_putstr(p->b, cel_text(a, v));
        return true;
    case CEL_UINT:
        buf_printf(p->b, "%" PRIu64, v.u);
        return true;
    case CEL_DOUBLE:
        put_double_text(p, v.d, inner);
        return true;
    case CEL_TIMESTAMP:
        buf_putstr(p->b, cel_timestamp_text(a, v));
        return true;
    case CEL_DURATION:
        buf_putstr(p->b, cel_duration_text(a, v.i));
        return true;
    case CEL_LIST:
    case CEL_MAP:
        if (depth < 64)
            return v.kind == CEL_LIST ? put_list(p, v, depth + 1) : put_map(p, v, depth + 1);
        break;
    default:
        break;
    }
    return fail_kind(p, "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, "
                        "durations, and timestamps", v);
}

static bool put_decimal(struct printer *p, struct cel_val v)
{
    if (v.kind == CEL_INT)
        buf_printf(p->b, "%" PRId64, v.i);
    else if (v.kind == CEL_UINT)
        buf_printf(p->b, "%" PRIu64, v.u);
    else if (v.kind == CEL_DOUBLE && !p->old && (isnan(v.d) || isinf(v.d)))
        put_special(p, v.d);
    else if (v.kind == CEL_DOUBLE && !p->old)
        buf_putstr(p->b, cel_double_text(p->r->arena, v.d));
    else
        return fail_kind(p, "decimal clause can only be used on integers", v);
    return true;
}

static bool put_base(struct printer *p, struct cel_val v, int bits, bool upper, const char *what)
{
    char digits[72];
    size_t n = sizeof(digits);
    if (bits == 4 && (v.kind == CEL_STRING || v.kind == CEL_BYTES)) {
        for (uint32_t i = 0; i < v.n; i++)
            buf_printf(p->b, upper ? "%02X" : "%02x", (unsigned char)v.s[i]);
        return true;
    }
    if (v.kind != CEL_INT && v.kind != CEL_UINT && !(v.kind == CEL_BOOL && bits == 1))
        return fail_kind(p, what, v);
    bool negative = v.kind == CEL_INT && v.i < 0;
    uint64_t u = v.kind == CEL_BOOL ? v.b : negative ? 0 - v.u : v.u;
    do {
        unsigned d = (unsigned)(u & ((1u << bits) - 1));
        digits[--n] = (char)(d < 10 ? '0' + d : (upper ? 'A' : 'a') + d - 10);
        u >>= bits;
    } while (u);
    if (negative)
        digits[--n] = '-';
    buf_put(p->b, digits + n, sizeof(digits) - n);
    return true;
}

static bool float_of(struct printer *p, struct cel_val v, const char *what, double *ret)
{
    static const char *const special[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; v.kind == CEL_STRING && i < ARRAY_SIZE(special); i++)
        if (str_is(cel_str(v), special[i])) {
            *ret = strtod(special[i], NULL);
            return true;
        }
    *ret = v.kind == CEL_DOUBLE ? v.d : v.kind == CEL_INT ? (double)v.i : (double)v.u;
    if (v.kind == CEL_DOUBLE || (!p->old && (v.kind == CEL_INT || v.kind == CEL_UINT)))
        return true;
    return fail_kind(p, what, v);
}

static bool put_clause(struct printer *p, char clause, int precision, struct cel_val v)
{
    double d;
    switch (clause) {
    case 's':
        return put_plain(p, v, false, 0);
    case 'd':
        return put_decimal(p, v);
    case 'f':
        if (!float_of(p, v, "fixed-point clause can only be used on doubles", &d))
            return false;
        put_fixed(p, d, precision);
        return true;
    case 'e':
        if (!float_of(p, v, "scientific clause can only be used on doubles", &d))
            return false;
        put_scientific(p, d, precision);
        return true;
    case 'b':
        return put_base(p, v, 1, false, "only integers and bools can be formatted as binary");
    case 'o':
        return put_base(p, v, 3, false, "octal clause can only be used on integers");
    case 'x':
    case 'X':
        return put_base(p, v, 4, clause == 'X', "only integers, byte buffers, and strings can be formatted as hex");
    default:
        p->error = cel_fail(p->r->arena, "could not parse formatting clause: unrecognized formatting clause \"%c\"", clause);
        return false;
    }
}

/* ".N" at *i; false when it is no number that makes sense. */
static bool read_precision(struct str s, size_t *i, int *ret)
{
    if (*i >= s.n || s.p[*i] != '.')
        return true;
    int64_t n = 0;
    size_t start = ++*i;
    for (; *i < s.n && s.p[*i] >= '0' && s.p[*i] <= '9' && n < 10000; ++*i)
        n = 10 * n + s.p[*i] - '0';
    *ret = (int)n;
    return *i > start && n <= 100;
}

FN(format)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct printer p = {.r = r, .b = &b, .old = !(r->program->env->libs & CEL_LIB_EXTENSIONS)};
    struct str s = cel_str(v[0]);
    size_t arg = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            buf_putc(&b, s.p[i]);
            continue;
        }
        int precision = 6;
        if (++i < s.n && s.p[i] == '%') {
            buf_putc(&b, '%');
            continue;
        }
        if (!read_precision(s, &i, &precision))
            return cel_fail(r->arena, "could not parse formatting clause: error while parsing precision");
        if (i >= s.n)
            return cel_fail(r->arena, "unexpected end of string");
        if (arg >= v[1].n)
            return cel_fail(r->arena, "index %zu out of range", arg);
        if (!put_clause(&p, s.p[i], precision, cel_item(r->arena, v[1], arg++)))
            return p.error;
    }
    return cel_of_text(r->arena, buf_str(&b));
}

/* ---- what can be said of a call before it runs ------------------------------------------------------------------- */

static const struct clause {
    char c;
    uint32_t kinds; /* of values that it takes */
    const char *otherwise;
} clauses[] = {
#define K(k) (1u << CEL_##k)
    {'s', UINT32_MAX & ~(K(OPTIONAL) | K(OPAQUE) | K(OBJECT)),
     "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"},
    {'d', K(INT) | K(UINT) | K(DYN), "decimal clause can only be used on integers"},
    {'f', K(DOUBLE) | K(STRING) | K(DYN), "fixed-point clause can only be used on doubles"},
    {'e', K(DOUBLE) | K(STRING) | K(DYN), "scientific clause can only be used on doubles"},
    {'b', K(INT) | K(UINT) | K(BOOL) | K(DYN), "only integers and bools can be formatted as binary"},
    {'o', K(INT) | K(UINT) | K(DYN), "octal clause can only be used on integers"},
    {'x', K(INT) | K(UINT) | K(STRING) | K(BYTES) | K(DYN), "only integers, byte buffers, and strings can be formatted as hex"},
    {'X', K(INT) | K(UINT) | K(STRING) | K(BYTES) | K(DYN), "only integers, byte buffers, and strings can be formatted as hex"},
#undef K
};

static const struct clause *clause_of(char c)
{
    for (size_t i = 0; i < ARRAY_SIZE(clauses); i++)
        if (clauses[i].c == c)
            return &clauses[i];
    return NULL;
}

void cel_format_check(struct cel_report *report, const struct cel_node *x)
{
    const struct cel_node *list = x->n == 1 ? x->args[0] : NULL;
    if (!list || list->kind != X_LIST || !x->target || x->target->kind != X_LITERAL || x->target->literal.kind != CEL_STRING)
        return;
    struct str s = cel_str(x->target->literal);
    uint32_t used = 0;
    for (size_t i = 0; i < s.n; i++) {
        int precision;
        if (s.p[i] != '%' || (++i < s.n && s.p[i] == '%'))
            continue;
        if (!read_precision(s, &i, &precision) || i >= s.n) {
            cel_issue_add(report, x->pos, "could not parse formatting clause: error while parsing precision");
            return;
        }
        if (used >= list->n) {
            cel_issue_add(report, x->pos, "index %u out of range", used);
            return;
        }
        const struct clause *c = clause_of(s.p[i]);
        const struct cel_node *arg = list->args[used++];
        if (!c) {
            cel_issue_add(report, x->pos, "could not parse formatting clause: unrecognized formatting clause \"%c\"", s.p[i]);
            return;
        }
        if (!(c->kinds >> arg->type->kind & 1)) {
            cel_issue_add(report, arg->pos, "error during formatting: %s, was given " STR_FMT, c->otherwise,
                          STR_ARG(arg->type->name));
            return;
        }
    }
    if (used < list->n)
        cel_issue_add(report, x->pos, "too many arguments supplied to string.format (expected %u, got %u)", used, list->n);
}

/* RFC 6901: ~ as ~0, / as ~1. */
FN(escape_key)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (uint32_t i = 0; i < v[0].n; i++)
        if (v[0].s[i] == '~' || v[0].s[i] == '/')
            buf_puts(&b, v[0].s[i] == '~' ? "~0" : "~1");
        else
            buf_putc(&b, v[0].s[i]);
    return cel_of_text(r->arena, buf_str(&b));
}

const struct cel_fn cel_fns_ext[] = {
    {"format", "string_format", "string.(list(dyn)) string", format, COST_ARG0_ONLY, CEL_LIB_KUBERNETES, 29},
    {"jsonpatch.escapeKey", "string_jsonpatch_escapeKey_string", "(string) string", escape_key, COST_ARG0, CEL_LIB_JSONPATCH,
     0},
};
const size_t n_cel_fns_ext = ARRAY_SIZE(cel_fns_ext);
