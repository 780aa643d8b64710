/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, times and numbers as text, values as literals and as JSON has them. */
#include "cel/cel-internal.h"

#include "base/time.h"
#include "base/tz.h"
#include "type/text.h"
#include "wire/leaf.h"

#include <math.h>
#include <stdio.h>

size_t cel_rune(struct str s, uint32_t *ret)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    *ret = 0xfffd;
    if (!n || n > s.n)
        return 1;
    uint32_t v = n == 1 ? c : c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s.p[i] & 0xc0) != 0x80)
            return 1;
        v = v << 6 | ((unsigned char)s.p[i] & 0x3f);
    }
    if ((n == 3 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) || (n == 4 && (v < 0x10000 || v > 0x10ffff)))
        return 1;
    *ret = v;
    return n;
}

size_t cel_runes(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; n++) {
        uint32_t rune;
        i += (unsigned char)s.p[i] < 0x80 ? 1 : cel_rune(str_from(s, i), &rune);
    }
    return n;
}

size_t cel_put_rune(char *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

/* ---- times --------------------------------------------------------------------------------------------------- */

/* Minutes east of UTC at the end of an RFC 3339 time. */
static intptr_t zone_minutes(struct str s)
{
    const char *z = s.p + s.n - 6; /* +hh:mm */
    if (s.n < 6 || (z[0] != '+' && z[0] != '-'))
        return 0;
    intptr_t n = ((z[1] - '0') * 10 + z[2] - '0') * 60 + (z[4] - '0') * 10 + z[5] - '0';
    return z[0] == '-' ? -n : n;
}

bool cel_timestamp_parse(struct str s, struct cel_val *ret)
{
    struct moment m;
    if (moment_parse(s, &m) < 0)
        return false;
    struct cel_val v = cel_timestamp_of(m.seconds, m.nanos);
    if (cel_failed(v))
        return false;
    v.of = (const void *)zone_minutes(s);
    *ret = v;
    return true;
}

bool cel_duration_parse(struct str s, int64_t *ret)
{
    return duration_parse(s, ret) == 0;
}

/* Whole seconds and nine digits, without trailing zeros. */
static struct str put_fraction(struct arena *a, const char *head, uint32_t nanos, const char *tail)
{
    char digits[16];
    int n = 9;
    if (!nanos)
        return arena_printf(a, "%s%s", head, tail);
    snprintf(digits, sizeof(digits), "%09u", nanos);
    while (digits[n - 1] == '0')
        n--;
    return arena_printf(a, "%s.%.*s%s", head, n, digits, tail);
}

/* cel-go goes through a double: of long durations the last digits are lost. */
struct str cel_duration_text(struct arena *a, int64_t ns)
{
    char text[64];
    double d = (double)(ns / 1000000000) + (double)(ns % 1000000000) / 1e9;
    for (int digits = 0; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*f", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    return arena_printf(a, "%ss", str_is(str_of(text), "-0") ? "0" : text);
}

struct str cel_timestamp_text(struct arena *a, struct cel_val v)
{
    char head[64], zone[16] = "Z";
    int minutes = (int)(intptr_t)v.of; /* Go's times keep the zone they were written in */
    struct civil c = tz_civil(NULL, v.i + minutes * 60);
    if (minutes)
        snprintf(zone, sizeof(zone), "%c%02d:%02d", minutes < 0 ? '-' : '+', abs(minutes) / 60, abs(minutes) % 60);
    snprintf(head, sizeof(head), "%04d-%02d-%02dT%02d:%02d:%02d", (int)c.year, c.month, c.day, c.hour, c.minute, c.second);
    return put_fraction(a, head, v.n, zone);
}

struct str cel_double_text(struct arena *a, double d)
{
    char text[FLOAT_TEXT_MAX];
    if (isnan(d))
        return STR("NaN");
    if (isinf(d))
        return d > 0 ? STR("+Inf") : STR("-Inf");
    return arena_str(a, float_text(d, -4, 6, false, text));
}

/* ---- literals -------------------------------------------------------------------------------------------------- */

static void put_value(struct arena *a, struct buf *b, struct cel_val v, unsigned depth);

static void put_entries(struct arena *a, struct buf *b, struct cel_val v, unsigned depth)
{
    size_t pos = 0;
    struct cel_val k, x;
    bool list = v.kind == CEL_LIST;
    buf_putc(b, list ? '[' : '{');
    for (bool first = true; cel_next(a, v, &pos, &k, &x); first = false) {
        buf_puts(b, first ? "" : ", ");
        if (!list) {
            put_value(a, b, k, depth);
            buf_puts(b, ": ");
        }
        put_value(a, b, x, depth);
    }
    buf_putc(b, list ? ']' : '}');
}

static void put_object(struct arena *a, struct buf *b, struct cel_val v, unsigned depth)
{
    const struct cel_type *t = v.of;
    bool first = true;
    buf_putstr(b, t->name);
    buf_putc(b, '{');
    for (uint32_t i = 0; i < t->n_fields; i++) {
        struct cel_val e;
        if (!cel_has_field(a, v, t->fields[i].name, &e))
            continue;
        buf_printf(b, "%s" STR_FMT ": ", first ? "" : ", ", STR_ARG(t->fields[i].name));
        put_value(a, b, cel_field_of(a, v, t->fields[i].name), depth);
        first = false;
    }
    buf_putc(b, '}');
}

static void put_bytes(struct buf *b, struct str s)
{
    buf_puts(b, "b\"");
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 32 && s.p[i] < 127 && s.p[i] != '"' && s.p[i] != '\\')
            buf_putc(b, s.p[i]);
        else
            buf_printf(b, "\\x%02x", (unsigned char)s.p[i]);
    buf_putc(b, '"');
}

static void put_double(struct arena *a, struct buf *b, double d)
{
    struct str s = cel_double_text(a, d);
    buf_putstr(b, s);
    if (!strpbrk(s.p, ".eNI"))
        buf_puts(b, ".0");
}

static void put_value(struct arena *a, struct buf *b, struct cel_val v, unsigned depth)
{
    if (depth > 64) {
        buf_puts(b, "...");
        return;
    }
    switch ((enum cel_kind)v.kind) {
    case CEL_NULL:
        buf_puts(b, "null");
        break;
    case CEL_BOOL:
        buf_puts(b, v.b ? "true" : "false");
        break;
    case CEL_INT:
        buf_printf(b, "%lld", (long long)v.i);
        break;
    case CEL_UINT:
        buf_printf(b, "%lluu", (unsigned long long)v.u);
        break;
    case CEL_DOUBLE:
        put_double(a, b, v.d);
        break;
    case CEL_STRING:
        buf_putstr(b, text_quote(a, cel_str(v)));
        break;
    case CEL_BYTES:
        put_bytes(b, cel_str(v));
        break;
    case CEL_TIMESTAMP:
        buf_printf(b, "timestamp(\"" STR_FMT "\")", STR_ARG(cel_timestamp_text(a, v)));
        break;
    case CEL_DURATION:
        buf_printf(b, "duration(\"" STR_FMT "\")", STR_ARG(cel_duration_text(a, v.i)));
        break;
    case CEL_LIST:
    case CEL_MAP:
        put_entries(a, b, v, depth + 1);
        break;
    case CEL_OBJECT:
        put_object(a, b, v, depth + 1);
        break;
    case CEL_TYPE:
        buf_putstr(b, v.type->name);
        break;
    case CEL_OPTIONAL:
        buf_puts(b, v.inner ? "optional.of(" : "optional.none()");
        if (v.inner) {
            put_value(a, b, *v.inner, depth + 1);
            buf_putc(b, ')');
        }
        break;
    case CEL_OPAQUE:
        buf_printf(b, STR_FMT "(", STR_ARG(v.opaque->type->name));
        if (v.opaque->text)
            buf_putstr(b, v.opaque->text(a, v.opaque));
        buf_putc(b, ')');
        break;
    default:
        buf_printf(b, "error(" STR_FMT ")", STR_ARG(cel_str(v)));
    }
}

struct str cel_text(struct arena *a, struct cel_val v)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    put_value(a, &b, v, 0);
    return arena_str(a, buf_str(&b));
}

/* ---- as JSON has it ---------------------------------------------------------------------------------------------- */

static int to_val(struct arena *a, struct cel_val v, unsigned depth, struct val *ret, struct err *e);

static int key_text(struct arena *a, struct cel_val k, struct str *ret, struct err *e)
{
    if (k.kind == CEL_STRING)
        *ret = cel_str(k);
    else if (k.kind == CEL_INT || k.kind == CEL_BOOL)
        *ret = cel_text(a, k);
    else if (k.kind == CEL_UINT)
        *ret = arena_printf(a, "%llu", (unsigned long long)k.u);
    else
        return err_set(e, -EINVAL, "a map key that JSON cannot hold");
    return 0;
}

static int entries_to_val(struct arena *a, struct cel_val v, unsigned depth, struct val *ret, struct err *e)
{
    struct val *r = val_new(a, v.kind == CEL_LIST ? VAL_LIST : VAL_MAP);
    size_t pos = 0;
    struct cel_val k, x;
    while (cel_next(a, v, &pos, &k, &x)) {
        struct val item;
        struct str key;
        int err = to_val(a, x, depth, &item, e);
        if (!err && v.kind == CEL_MAP)
            err = key_text(a, k, &key, e);
        if (err)
            return err;
        if (v.kind == CEL_LIST)
            val_add(a, r, item);
        else
            val_put(a, r, key, item);
    }
    *ret = *r;
    return 0;
}

static int object_to_val(struct arena *a, struct cel_val v, unsigned depth, struct val *ret, struct err *e)
{
    const struct cel_type *t = v.of;
    if (v.form == FORM_VIEW) {
        *ret = *v.val;
        ret->name = 0;
        return 0;
    }
    struct val *r = val_new(a, VAL_MAP);
    for (uint32_t i = 0; i < t->n_fields; i++) {
        struct val item;
        if (cel_absent(v.object->values[i]))
            continue;
        int err = to_val(a, v.object->values[i], depth, &item, e);
        if (err)
            return err;
        val_put(a, r, t->fields[i].json, item);
    }
    *ret = *r;
    return 0;
}

static int check_names(struct arena *a, struct cel_val v, struct str path, unsigned depth, struct err *e)
{
    struct cel_val key, item;
    size_t pos = 0;
    int r = 0;
    if (depth > 64)
        return err_set(e, -EINVAL, "nested too deeply");
    if (v.kind == CEL_OBJECT && v.form == FORM_OWN) {
        const struct cel_type *t = v.of;
        if (!str_eq(t->name, path))
            return err_set(e, -EINVAL, "unexpected type name \"" STR_FMT "\", expected \"" STR_FMT
                           "\", which matches field name path from root Object type", STR_ARG(t->name), STR_ARG(path));
        for (uint32_t i = 0; i < t->n_fields && !r; i++)
            if (!cel_absent(v.object->values[i]))
                r = check_names(a, v.object->values[i],
                                arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(t->fields[i].name)), depth + 1, e);
    } else if ((v.kind == CEL_LIST || v.kind == CEL_MAP) && v.form == FORM_OWN) {
        while (!r && cel_next(a, v, &pos, &key, &item))
            r = check_names(a, item, path, depth + 1, e);
    }
    return r;
}

int cel_check_type_names(struct arena *a, struct cel_val v, struct err *e)
{
    const struct cel_type *t = v.of;
    struct cel_val key, item;
    size_t pos = 0;
    int r = 0;
    if (v.kind == CEL_LIST && v.form == FORM_OWN)
        while (!r && cel_next(a, v, &pos, &key, &item))
            r = cel_check_type_names(a, item, e);
    if (v.kind != CEL_OBJECT || v.form != FORM_OWN)
        return r;
    if (t->flags & CEL_OPEN)
        return check_names(a, v, t->name, 0, e);
    for (uint32_t i = 0; i < t->n_fields && !r; i++)
        if (v.object->values[i].kind == CEL_OBJECT)
            r = cel_check_type_names(a, v.object->values[i], e);
    return r;
}

static int to_val(struct arena *a, struct cel_val v, unsigned depth, struct val *ret, struct err *e)
{
    struct val none = {.kind = VAL_NULL};
    if (depth > 64)
        return err_set(e, -EINVAL, "nested too deeply");
    switch ((enum cel_kind)v.kind) {
    case CEL_NULL:
        *ret = none;
        return 0;
    case CEL_BOOL:
        *ret = val_of_bool(v.b);
        return 0;
    case CEL_UINT:
        if (v.u > INT64_MAX)
            return err_set(e, -EINVAL, "unsigned integer out of range");
        *ret = val_of_int(v.i);
        return 0;
    case CEL_INT:
        *ret = val_of_int(v.i);
        return 0;
    case CEL_DOUBLE:
        if (isnan(v.d) || isinf(v.d))
            return err_set(e, -EINVAL, "a number that JSON cannot hold");
        *ret = val_of_float(v.d);
        return 0;
    case CEL_STRING:
        *ret = val_of_str(arena_str(a, cel_str(v)));
        return 0;
    case CEL_BYTES: {
        size_t n = base64_size(v.n);
        char *to = arena_bytes(a, n + 1);
        base64_encode(cel_str(v), to);
        to[n] = 0;
        *ret = val_of_str(str_n(to, n));
        return 0;
    }
    case CEL_TIMESTAMP:
        *ret = val_of_str(cel_timestamp_text(a, v));
        return 0;
    case CEL_DURATION:
        *ret = val_of_str(cel_duration_text(a, v.i));
        return 0;
    case CEL_LIST:
    case CEL_MAP:
        return entries_to_val(a, v, depth + 1, ret, e);
    case CEL_OBJECT:
        return object_to_val(a, v, depth + 1, ret, e);
    case CEL_OPTIONAL:
        *ret = none;
        return v.inner ? to_val(a, *v.inner, depth + 1, ret, e) : 0;
    default:
        return err_set(e, -EINVAL, "unsupported type conversion from '" STR_FMT "' to JSON", STR_ARG(cel_type_of(v)->name));
    }
}

int cel_to_val(struct arena *a, struct cel_val v, struct val *ret, struct err *e)
{
    return to_val(a, v, 0, ret, e);
}
