/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json.h"

#include "wire/json_scan.h"
#include "wire/leaf.h"
#include "wire/schema-internal.h"
#include "wire/value-internal.h"

struct writer {
    struct buf *b;
    unsigned flags;
    unsigned level;            /* of indentation, and of nesting */
    name_id kind, api_version; /* of the root, what JSON_NO_TYPE leaves out */
};

static void put_field(struct writer *w, const struct field *f, const struct val *v);
static void put_any(struct writer *w, const struct field *f, const struct val *v);
static void put_object(struct writer *w, const struct type *t, const struct val *v);

/* ---- text ----------------------------------------------------------------------------------------- */

/* Where n bytes (and a NUL) can go; the caller counts them. */
static inline char *room(struct buf *b, size_t n)
{
    return b->cap - b->n > n ? b->p + b->n : buf_grow(b, n);
}

static inline void put(struct buf *b, const char *p, size_t n)
{
    char *to = room(b, n);
    if (n)
        memcpy(to, p, n);
    b->n += n;
}

static inline void putch(struct buf *b, char c)
{
    *room(b, 1) = c;
    b->n++;
}

#define PUT(b, lit) put((b), "" lit, sizeof(lit) - 1)
#define BYTES(c) (UINT64_C(0x0101010101010101) * (c))

/* High bits where a byte may need more than copying: " \ < > & controls and what is not ASCII. Bytes behind
 * the first such one may be marked in error. */
static inline uint64_t special(uint64_t w)
{
    uint64_t quote = w ^ BYTES('"'), slash = w ^ BYTES('\\'), angle = (w | BYTES(2)) ^ BYTES('>'),
             amp = w ^ BYTES('&');
    return (((quote - BYTES(1)) & ~quote) | ((slash - BYTES(1)) & ~slash) | ((angle - BYTES(1)) & ~angle) |
            ((amp - BYTES(1)) & ~amp) | (w - BYTES(0x20)) | w) &
           BYTES(0x80);
}

/* Copies the bytes at p up to the first that cannot stay as it is, and says how many. There is room for n. */
static inline size_t put_plain(char *to, const char *p, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        if (special(w))
            break;
        memcpy(to + i, &w, 8);
    }
    for (; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')
            break;
        to[i] = (char)c;
    }
    return i;
}

static void put_u(struct buf *b, unsigned c)
{
    static const char hex[] = "0123456789abcdef";
    char *to = room(b, 6);
    to[0] = '\\';
    to[1] = 'u';
    for (int i = 0; i < 4; i++)
        to[2 + i] = hex[c >> (12 - 4 * i) & 15];
    b->n += 6;
}

/* An ASCII character that put_plain() stopped at. */
static void put_ascii(struct buf *b, char c, unsigned flags)
{
    static const char letters[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
    const char *at = c ? strchr(letters, c) : NULL;
    if (at) {
        putch(b, '\\');
        putch(b, escapes[at - letters]);
    } else if ((unsigned char)c < 0x20 || !(flags & JSON_NO_HTML)) {
        put_u(b, (unsigned char)c);
    } else {
        putch(b, c);
    }
}

/* One character beyond ASCII: as it is, but for the line ends that JavaScript knows and what is no UTF-8.
 * p[0..n) is NUL-terminated or ends in its text's last byte. Returns how many bytes it was. */
static size_t put_wide(struct buf *b, const char *p, size_t n)
{
    char c[4] = {0};
    memcpy(c, p, MIN(n, sizeof(c)));
    size_t len = utf8_len((const unsigned char *)c);
    if (!len) {
        PUT(b, "\\ufffd");
        return 1;
    }
    if (len == 3 && memcmp(c, "\xe2\x80", 2) == 0 && ((unsigned char)c[2] & 0xfe) == 0xa8)
        put_u(b, c[2] & 1 ? 0x2029 : 0x2028);
    else
        put(b, c, len);
    return len;
}

void json_encode_str(struct buf *b, struct str s, unsigned flags)
{
    putch(b, '"');
    while (s.n) {
        size_t n = put_plain(room(b, s.n), s.p, s.n);
        b->n += n;
        s = str_from(s, n);
        if (!s.n)
            break;
        n = 1;
        if ((unsigned char)*s.p < 0x80)
            put_ascii(b, *s.p, flags);
        else
            n = put_wide(b, s.p, s.n);
        s = str_from(s, n);
    }
    putch(b, '"');
    *room(b, 0) = '\0';
}

static void put_uint(struct buf *b, uint64_t u)
{
    char digits[20];
    size_t n = sizeof(digits);
    do
        digits[--n] = (char)('0' + u % 10);
    while (u /= 10);
    put(b, digits + n, sizeof(digits) - n);
}

static void put_int(struct buf *b, int64_t i)
{
    if (i < 0)
        putch(b, '-');
    put_uint(b, i < 0 ? 0 - (uint64_t)i : (uint64_t)i);
}

/* ECMAScript's form, as Go: digits unless the exponent is below -6 or at least 21; no leading zero in
 * exponents. */
void json_encode_float(struct buf *b, double f)
{
    char text[FLOAT_TEXT_MAX];
    if (f - f != 0) {
        PUT(b, "null");
        return;
    }
    struct str s = float_text(f, -6, 21, false, text);
    bool zero = s.n > 4 && s.p[s.n - 4] == 'e' && s.p[s.n - 3] == '-' && s.p[s.n - 2] == '0';
    put(b, s.p, zero ? s.n - 2 : s.n);
    if (zero)
        putch(b, s.p[s.n - 1]);
    *room(b, 0) = '\0';
}

static void put_bytes(struct buf *b, struct str s)
{
    size_t n = base64_size(s.n);
    char *to = room(b, n + 2);
    to[0] = '"';
    base64_encode(s, to + 1);
    to[n + 1] = '"';
    b->n += n + 2;
}

/* ---- layout --------------------------------------------------------------------------------------- */

static bool pretty(const struct writer *w)
{
    return w->flags & (JSON_PRETTY | JSON_PRETTY2);
}

static void new_line(struct writer *w)
{
    size_t n = (size_t)w->level * (w->flags & JSON_PRETTY2 ? 2 : 4);
    char *to = room(w->b, n + 1);
    to[0] = '\n';
    memset(to + 1, ' ', n);
    w->b->n += n + 1;
}

static void open_with(struct writer *w, char c)
{
    putch(w->b, c);
    w->level++;
}

/* Before an item: the comma but for the first, the line. */
static void next(struct writer *w, bool *first)
{
    if (!*first)
        putch(w->b, ',');
    *first = false;
    if (pretty(w))
        new_line(w);
}

static void close_with(struct writer *w, char c, bool empty)
{
    w->level--;
    if (pretty(w) && !empty)
        new_line(w);
    putch(w->b, c);
}

static void colon(struct writer *w)
{
    putch(w->b, ':');
    if (pretty(w))
        putch(w->b, ' ');
}

static void put_name(struct writer *w, name_id id, bool *first)
{
    struct str name = name_str(id);
    next(w, first);
    char *to = room(w->b, name.n + 4);
    to[0] = '"';
    memcpy(to + 1, name.p, name.n);
    to[name.n + 1] = '"';
    w->b->n += name.n + 2;
    colon(w);
}

/* ---- raw JSON ------------------------------------------------------------------------------------- */

/* Over a string of checked JSON, s on its opening quote. */
static size_t raw_string_len(struct str s)
{
    size_t i = 1;
    while (i < s.n && s.p[i] != '"')
        i += s.p[i] == '\\' ? 2 : 1;
    return MIN(i + 1, s.n);
}

/* The characters that Go escapes also in what was JSON before. */
static void put_raw_string(struct writer *w, struct str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t n = 1;
        if (s.p[i] == '\\' || s.p[i] == '"')
            putch(w->b, s.p[i]);
        else if ((unsigned char)s.p[i] < 0x80)
            (s.p[i] == '<' || s.p[i] == '>' || s.p[i] == '&') ? put_ascii(w->b, s.p[i], w->flags)
                                                              : putch(w->b, s.p[i]);
        else
            n = put_wide(w->b, s.p + i, s.n - i);
        i += n;
    }
}

static bool raw_closes_at_once(struct str s)
{
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] > ' ')
            return s.p[i] == '}' || s.p[i] == ']';
    return false;
}

static void put_raw_char(struct writer *w, struct str s)
{
    bool first = true;
    switch (*s.p) {
    case '{':
    case '[':
        open_with(w, *s.p);
        if (pretty(w) && !raw_closes_at_once(s))
            new_line(w);
        break;
    case '}':
    case ']':
        close_with(w, *s.p, w->b->p[w->b->n - 1] == *s.p - 2); /* '{' and '[' are two before their ends */
        break;
    case ',':
        first = false;
        next(w, &first);
        break;
    case ':':
        colon(w);
        break;
    case ' ':
    case '\t':
    case '\n':
    case '\r':
        break;
    default:
        putch(w->b, *s.p);
    }
}

typedef uint8_t lanes __attribute__((vector_size(16)));

/* Nothing in it that would be written in another way: no spaces, no controls, only ASCII, nothing that HTML knows. */
static bool raw_stays(struct str s)
{
    size_t i = 0;
    lanes found = {0};
    for (; i + sizeof(lanes) <= s.n; i += sizeof(lanes)) {
        lanes c;
        memcpy(&c, s.p + i, sizeof(c));
        found |= (lanes)(c - 0x21 >= 0x80 - 0x21) | (lanes)((c | 2) == '>') | (lanes)(c == '&');
    }
    uint64_t any[2];
    memcpy(any, &found, sizeof(any));
    bool odd = any[0] | any[1];
    for (; i < s.n && !odd; i++) {
        unsigned char c = (unsigned char)s.p[i];
        odd = c <= ' ' || c >= 0x80 || c == '<' || c == '>' || c == '&';
    }
    return !odd;
}

static void put_raw(struct writer *w, struct str s)
{
    if (!s.n)
        PUT(w->b, "null");
    if (!pretty(w) && raw_stays(s)) {
        put(w->b, s.p, s.n);
        return;
    }
    while (s.n) {
        size_t n = 1;
        if (*s.p == '"') {
            n = raw_string_len(s);
            put_raw_string(w, str_slice(s, 0, n));
        } else {
            put_raw_char(w, s);
        }
        s = str_from(s, n);
    }
}

/* ---- values --------------------------------------------------------------------------------------- */

/* Go's zero value of a field that is not left out. */
static void put_zero(struct writer *w, const struct field *f)
{
    static const char *const zeros[] = {
        [K_BOOL] = "false",     [K_INT32] = "0",         [K_INT64] = "0",       [K_UINT32] = "0",
        [K_UINT64] = "0",       [K_FLOAT64] = "0",       [K_STRING] = "\"\"",   [K_ENUM] = "0",
        [K_QUANTITY] = "\"0\"", [K_DURATION] = "\"0s\"", [K_INTORSTRING] = "0",
    };
    bool nil = f->card != CARD_ONE || f->flags & FIELD_PTR;
    if (!nil && f->kind == K_MESSAGE)
        put_object(w, field_type(f), &(struct val){.kind = VAL_OBJ});
    else if (!nil && f->kind < ARRAY_SIZE(zeros) && zeros[f->kind])
        put(w->b, zeros[f->kind], strlen(zeros[f->kind]));
    else
        PUT(w->b, "null");
}

static void put_list(struct writer *w, const struct field *f, const struct val *v)
{
    bool first = true;
    open_with(w, '[');
    for (uint32_t i = 0; i < v->n; i++) {
        next(w, &first);
        put_any(w, f, &v->items[i]);
    }
    close_with(w, ']', first);
}

/* The values are of field f, or of the fields of t that their keys name. */
static void put_pairs(struct writer *w, const struct type *t, const struct field *f, const struct val *items, uint32_t n)
{
    bool first = true;
    open_with(w, '{');
    for (size_t i = 0; i < n; i++) {
        next(w, &first);
        json_encode_str(w->b, val_text(&items[2 * i]), w->flags);
        colon(w);
        put_any(w, t ? type_field_str(t, val_text(&items[2 * i]), NULL) : f, &items[2 * i + 1]);
    }
    close_with(w, '}', first);
}

static bool keys_ascend(const struct val *v)
{
    for (size_t i = 1; i < v->n; i++)
        if (str_cmp(val_text(&v->items[2 * i - 2]), val_text(&v->items[2 * i])) >= 0)
            return false;
    return true;
}

static void put_map(struct writer *w, const struct type *t, const struct field *f, const struct val *v)
{
    if (v->flags & VAL_ORDERED || keys_ascend(v)) {
        put_pairs(w, t, f, v->items, v->n);
        return;
    }
    size_t size = 2 * (size_t)v->n * sizeof(*v->items);
    struct val *items = xmalloc(size);
    memcpy(items, v->items, size);
    put_pairs(w, t, f, items, val_sort_pairs(items, v->n, NULL, NULL));
    free(items);
}

/* A value by its own kind; f (may be NULL) is the field it stands in, as an item or whole. */
static void put_any(struct writer *w, const struct field *f, const struct val *v)
{
    switch ((enum val_kind)v->kind) {
    case VAL_NULL:
        PUT(w->b, "null");
        return;
    case VAL_BOOL:
        v->b ? PUT(w->b, "true") : PUT(w->b, "false");
        return;
    case VAL_INT:
        f && f->kind == K_UINT64 ? put_uint(w->b, (uint64_t)v->i) : put_int(w->b, v->i);
        return;
    case VAL_FLOAT:
        json_encode_float(w->b, v->f);
        return;
    case VAL_STR:
        json_encode_str(w->b, val_text(v), w->flags);
        return;
    case VAL_BYTES:
        put_bytes(w->b, val_text(v));
        return;
    case VAL_RAW:
        put_raw(w, val_text(v));
        return;
    case VAL_LIST:
        put_list(w, f && f->kind == K_JSON_OR ? field_alternative(f, CARD_LIST) : f, v);
        return;
    case VAL_OBJ:
        put_object(w, field_object_type(f), v);
        return;
    case VAL_MAP:
        put_map(w, NULL, f, v);
        return;
    }
}

/* ---- members -------------------------------------------------------------------------------------- */

/* gRPC messages have no JSON form of their own here: theirs leaves out what is absent. */
enum { MAY_BE_ABSENT = FIELD_OMITEMPTY | FIELD_PROTO3 };

/* A field with its value, or the zero value, or nothing. */
static void put_member(struct writer *w, const struct field *f, const struct val *v, bool *first)
{
    if (f->flags & MAY_BE_ABSENT && (!v || field_is_zero(f, v)))
        return;
    if (w->flags & JSON_NO_TYPE && w->level == 1 && (f->name == w->kind || f->name == w->api_version))
        return;
    put_name(w, f->name, first);
    put_field(w, f, v);
}

static void put_field(struct writer *w, const struct field *f, const struct val *v)
{
    if (!v || v->kind == VAL_NULL)
        put_zero(w, f);
    else
        put_any(w, f, v);
}

static bool in_order(const struct type *t, const struct val *v)
{
    unsigned at = 0;
    if (v->flags & VAL_ORDERED)
        return true;
    for (uint32_t i = 0; i < v->n; i++, at++) {
        while (at < t->n_fields && t->fields[at].name != v->items[i].name)
            at++;
        if (at == t->n_fields)
            return false;
    }
    return true;
}

/* Fields and members side by side. False when some members were of no field that was still to come. */
static bool put_members_in_order(struct writer *w, const struct type *t, const struct val *v, bool *first)
{
    uint32_t at = 0;
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct field *f = &t->fields[i];
        if (at < v->n && v->items[at].name == f->name)
            put_member(w, f, &v->items[at++], first);
        else if (!(f->flags & MAY_BE_ABSENT))
            put_member(w, f, NULL, first);
    }
    return at == v->n;
}

static void put_members_by_name(struct writer *w, const struct type *t, const struct val *v, bool *first)
{
    name_id last = 0;
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct field *next_field = NULL; /* name ids ascend as their texts do */
        for (unsigned j = 0; j < t->n_fields; j++) {
            const struct field *f = &t->fields[j];
            if (f->name > last && (!next_field || f->name < next_field->name))
                next_field = f;
        }
        last = next_field->name;
        put_member(w, next_field, val_get(v, last), first);
    }
}

static void put_members(struct writer *w, const struct type *t, const struct val *v, bool *first)
{
    size_t start = w->b->n;
    if (w->flags & JSON_SORTED) {
        put_members_by_name(w, t, v, first);
        return;
    }
    if (in_order(t, v) && put_members_in_order(w, t, v, first))
        return;
    w->b->n = start;
    *first = true;
    for (unsigned i = 0; i < t->n_fields; i++)
        put_member(w, &t->fields[i], val_get(v, t->fields[i].name), first);
}

static void put_object(struct writer *w, const struct type *t, const struct val *v)
{
    bool first = true;
    open_with(w, '{');
    if (t)
        put_members(w, t, v, &first);
    else
        for (uint32_t i = 0; i < v->n; i++) {
            put_name(w, v->items[i].name, &first);
            put_any(w, NULL, &v->items[i]);
        }
    close_with(w, '}', first);
}

void json_encode(struct buf *b, const struct type *type, const struct val *v, unsigned flags)
{
    struct writer w = {.b = b, .flags = flags};
    if (type && type->flags & TYPE_ROOT && type->n_fields >= 2) {
        w.kind = type->fields[0].name;
        w.api_version = type->fields[1].name;
    }
    if (!v)
        PUT(b, "null");
    else if (v->kind == VAL_OBJ)
        put_object(&w, type, v);
    else if (v->kind == VAL_MAP && type && type->flags & TYPE_OPEN)
        put_map(&w, type, NULL, v);
    else
        put_any(&w, NULL, v);
    *room(b, 0) = '\0';
}
