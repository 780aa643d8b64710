/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/yaml.h"

#include "wire/leaf.h"
#include "wire/value-internal.h"
#include "wire/yaml-internal.h"

#include <stdio.h>
#include <yaml.h>

/* ---- go-yaml's order of keys: letters by code, digits as numbers, other characters before letters - */

static unsigned char at(struct str s, size_t i)
{
    return (unsigned char)s.p[i];
}

static bool is_letter(unsigned char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* The number that starts at i; *ret_end behind its digits. */
static uint64_t number_at(struct str s, size_t i, uint64_t x, size_t *ret_end)
{
    for (; i < s.n && is_digit(at(s, i)); i++)
        x = 10 * x + (at(s, i) - '0');
    *ret_end = i;
    return x;
}

/* A zero that differs from another digit weighs only when a digit other than zero stands before it. */
static uint64_t weight_of_zeros(struct str a, struct str b, size_t i)
{
    if (at(a, i) != '0' && at(b, i) != '0')
        return 0;
    for (size_t j = i; j > 0 && is_digit(at(a, j - 1)); j--)
        if (at(a, j - 1) != '0')
            return 1;
    return 0;
}

/* Byte i is the first that differs. Bytes beyond ASCII count as letters. */
static bool differs_less(struct str a, struct str b, size_t i)
{
    unsigned char x = at(a, i), y = at(b, i);
    bool xl = is_letter(x) || x >= 0x80, yl = is_letter(y) || y >= 0x80;
    size_t xe, ye;
    if (xl && yl)
        return x < y;
    if (xl || yl)
        return yl;
    uint64_t weight = weight_of_zeros(a, b, i);
    uint64_t xn = number_at(a, i, weight, &xe), yn = number_at(b, i, weight, &ye);
    if (xn != yn)
        return (int64_t)xn < (int64_t)yn; /* Go's wrap around, too */
    return xe != ye ? xe < ye : x < y;
}

static bool key_less(struct str a, struct str b)
{
    for (size_t i = 0; i < a.n && i < b.n; i++)
        if (at(a, i) != at(b, i))
            return differs_less(a, b, i);
    return a.n < b.n;
}

static int key_cmp(const void *a, const void *b)
{
    struct str x = val_text(*(const struct val *const *)a), y = val_text(*(const struct val *const *)b);
    return key_less(x, y) ? -1 : key_less(y, x);
}

/* ---- scalars -------------------------------------------------------------------------------------- */

struct writer {
    yaml_emitter_t emitter;
    struct buf *b;
};

static int write_out(void *arg, unsigned char *p, size_t n)
{
    struct writer *w = arg;
    buf_put(w->b, p, n);
    return 1;
}

static void emit(struct writer *w, yaml_event_t *event)
{
    yaml_emitter_emit(&w->emitter, event); /* cannot fail: the events are in order and the output takes all */
}

static void put_scalar(struct writer *w, struct str s, yaml_scalar_style_t style)
{
    yaml_event_t event;
    yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)(s.p ? s.p : ""), (int)s.n, 1, 1,
                                 style);
    emit(w, &event);
}

/* Line ends other than \n and byte order marks, which only escapes bring over. */
static bool has_odd_breaks(struct str s)
{
    return str_contains(s, STR("\xc2\x85")) || str_contains(s, STR("\xe2\x80\xa8")) ||
           str_contains(s, STR("\xe2\x80\xa9")) || str_contains(s, STR("\xef\xbb\xbf"));
}

static void put_text(struct writer *w, struct str s)
{
    struct val v;
    bool plain = yaml_resolve(s, &v) == YAML_STR && !yaml_is_base60(s) && !has_odd_breaks(s);
    plain &= !str_is(s, "<<"); /* go-yaml writes it plain and then takes it for a merge */
    if (str_find(s, '\n') >= 0)
        put_scalar(w, s, YAML_LITERAL_SCALAR_STYLE);
    else
        put_scalar(w, s, plain ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

/* Go's %g with the shortest digits; a whole number that 64 bits can hold as such. */
static void put_float(struct writer *w, double f)
{
    char text[FLOAT_TEXT_MAX];
    bool whole = f > -9.3e18 && f < 18446744073709551616.0 && f == __builtin_trunc(f);
    put_scalar(w, float_text(f, -4, whole ? 21 : 6, false, text), YAML_PLAIN_SCALAR_STYLE);
}

/* ---- values --------------------------------------------------------------------------------------- */

static void put_value(struct writer *w, const struct val *v);

static void put_map(struct writer *w, const struct val *v)
{
    yaml_event_t event;
    yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE);
    emit(w, &event);
    const struct val **keys = xcalloc((size_t)v->n + 1, sizeof(struct val *));
    for (size_t i = 0; i < v->n; i++)
        keys[i] = &v->items[2 * i];
    qsort(keys, v->n, sizeof(*keys), key_cmp);
    for (size_t i = 0; i < v->n; i++) {
        put_text(w, val_text(keys[i]));
        put_value(w, keys[i] + 1);
    }
    free(keys);
    yaml_mapping_end_event_initialize(&event);
    emit(w, &event);
}

static void put_list(struct writer *w, const struct val *v)
{
    yaml_event_t event;
    yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);
    emit(w, &event);
    for (size_t i = 0; i < v->n; i++)
        put_value(w, &v->items[i]);
    yaml_sequence_end_event_initialize(&event);
    emit(w, &event);
}

static void put_value(struct writer *w, const struct val *v)
{
    char text[24];
    switch ((enum val_kind)v->kind) {
    case VAL_BOOL:
        put_scalar(w, v->b ? STR("true") : STR("false"), YAML_PLAIN_SCALAR_STYLE);
        return;
    case VAL_INT:
        snprintf(text, sizeof(text), "%lld", (long long)v->i);
        put_scalar(w, str_of(text), YAML_PLAIN_SCALAR_STYLE);
        return;
    case VAL_FLOAT:
        put_float(w, v->f);
        return;
    case VAL_STR:
        put_text(w, val_text(v));
        return;
    case VAL_LIST:
        put_list(w, v);
        return;
    case VAL_MAP:
        put_map(w, v);
        return;
    case VAL_NULL:
    case VAL_BYTES: /* the value went through JSON: none of these is left */
    case VAL_RAW:
    case VAL_OBJ:
        put_scalar(w, STR("null"), YAML_PLAIN_SCALAR_STYLE);
        return;
    }
}

static void put_document(struct writer *w, const struct val *v)
{
    yaml_event_t event;
    yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
    emit(w, &event);
    yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1);
    emit(w, &event);
    put_value(w, v);
    yaml_document_end_event_initialize(&event, 1);
    emit(w, &event);
    yaml_stream_end_event_initialize(&event);
    emit(w, &event);
}

void yaml_encode(struct buf *b, const struct type *type, const struct val *v)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    CLEANUP_BUF struct buf json = BUF_INIT;
    struct writer w = {.b = b};
    struct val *plain;
    struct err e;
    json_encode(&json, type, v, JSON_NO_HTML);
    if (json_decode(&a, NULL, buf_str(&json), 0, NULL, &plain, &e) < 0)
        plain = val_new(&a, VAL_NULL);           /* a value deeper than any that came from outside */
    ASSERT(yaml_emitter_initialize(&w.emitter)); /* fails only for want of memory */
    yaml_emitter_set_output(&w.emitter, write_out, &w);
    yaml_emitter_set_unicode(&w.emitter, 1);
    put_document(&w, plain);
    yaml_emitter_delete(&w.emitter);
    if (str_ends(buf_str(b),
                 STR("\n...\n"))) { /* libyaml ends a document so that ends in a text with empty lines */
        b->n -= 4;
        b->p[b->n] = '\0';
    }
}
