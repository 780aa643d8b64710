/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/proto.h"

#include "wire/leaf.h"
#include "wire/proto-internal.h"
#include "wire/schema-internal.h"
#include "wire/value-internal.h"

#include "base/time.h"

/*
 * Messages are written from their end to their start: the length of a part is known when its head is written,
 * and nothing is measured or moved.
 */
struct rev {
    char *p; /* start of the memory */
    size_t cap;
    size_t at; /* what is written is p[at..cap) */
};

enum { FIRST = 7 << 10 }; /* room that most objects need */

static void put_message(struct rev *r, const struct type *t, const struct val *v);

/* ---- bytes ---------------------------------------------------------------------------------------- */

static void grow(struct rev *r, size_t n)
{
    size_t used = r->cap - r->at, cap = MAX(2 * r->cap, used + n + 1024);
    char *p = xmalloc(cap);
    if (used)
        memcpy(p + cap - used, r->p + r->at, used);
    free(r->p);
    *r = (struct rev){p, cap, cap - used};
}

static inline char *room(struct rev *r, size_t n)
{
    if (r->at < n)
        grow(r, n);
    r->at -= n;
    return r->p + r->at;
}

static inline void put_varint(struct rev *r, uint64_t x)
{
    if (x < 0x80) {
        *room(r, 1) = (char)x;
        return;
    }
    char bytes[10];
    size_t n = 0;
    for (; x >= 0x80; x >>= 7)
        bytes[n++] = (char)(x | 0x80);
    bytes[n++] = (char)x;
    memcpy(room(r, n), bytes, n);
}

static inline void put_tag(struct rev *r, unsigned number, enum wire_type wire)
{
    put_varint(r, (uint64_t)number << 3 | wire);
}

static inline size_t mark(const struct rev *r)
{
    return r->cap - r->at;
}

/* The head of what was written since the mark. */
static void put_head(struct rev *r, unsigned number, size_t since)
{
    put_varint(r, mark(r) - since);
    put_tag(r, number, WIRE_BYTES);
}

static void put_text(struct rev *r, unsigned number, struct str s)
{
    char *to = room(r, s.n);
    if (s.n)
        memcpy(to, s.p, s.n);
    put_varint(r, s.n);
    put_tag(r, number, WIRE_BYTES);
}

static void put_number(struct rev *r, unsigned number, uint64_t x)
{
    put_varint(r, x);
    put_tag(r, number, WIRE_VARINT);
}

static void put_fixed64(struct rev *r, double f)
{
    uint64_t bits;
    memcpy(&bits, &f, sizeof(bits));
    char *to = room(r, 8);
    for (int i = 0; i < 8; i++)
        to[i] = (char)(bits >> 8 * i);
}

/* ---- leaves that are messages --------------------------------------------------------------------- */

static void put_moment(struct rev *r, struct str text, bool micro)
{
    struct moment m;
    if (moment_parse(text, &m) < 0)
        return; /* the zero time is an empty message */
    put_number(r, 2, micro ? (uint64_t)(m.nanos / 1000 * 1000) : 0);
    put_number(r, 1, (uint64_t)m.seconds);
}

static void put_duration(struct rev *r, struct str text)
{
    int64_t ns = 0;
    duration_parse(text, &ns);
    put_number(r, 1, (uint64_t)ns);
}

static void put_intorstring(struct rev *r, const struct val *v)
{
    bool text = val_is(v, VAL_STR);
    put_text(r, 3, val_str(v));
    put_number(r, 2, (uint64_t)val_int(v, 0));
    put_number(r, 1, text);
}

static void put_strings(struct rev *r, const struct val *v)
{
    for (size_t i = val_len(v); i-- > 0;)
        put_text(r, 1, val_str(val_item(v, i)));
}

static void put_value(struct rev *r, const struct field *f, const struct val *v);

/* A list of one of the alternatives: its items. */
static void put_items(struct rev *r, const struct field *f, const struct val *v)
{
    for (size_t i = val_len(v); i-- > 0;)
        put_value(r, f, val_item(v, i));
}

/* The alternative that v is, and the bool that is always there. */
static void put_alternatives(struct rev *r, const struct field *f, const struct val *v)
{
    const struct type *t = field_type(f);
    for (unsigned i = t ? t->n_proto_fields : 0; i-- > 0;) {
        const struct field *alt = &t->proto_fields[i];
        if (alt->kind == K_BOOL)
            put_number(r, alt->number, val_bool(v, val_is(v, VAL_OBJ)));
        else if (alt->card == CARD_LIST && val_is(v, VAL_LIST))
            put_items(r, alt, v);
        else if (alt->card == CARD_ONE && val_is(v, VAL_OBJ))
            put_value(r, alt, v);
    }
}

/* ---- fields --------------------------------------------------------------------------------------- */

/* What stands inside of the length of a field of such a kind. */
static void put_inside(struct rev *r, const struct field *f, const struct val *v)
{
    switch (f->kind) {
    case K_MESSAGE:
        put_message(r, field_type(f), v);
        return;
    case K_STRINGS:
        put_strings(r, v);
        return;
    case K_QUANTITY:
        put_text(r, 1, val_is(v, VAL_STR) ? val_str(v) : STR("0"));
        return;
    case K_TIME:
    case K_MICROTIME:
        put_moment(r, val_str(v), f->kind == K_MICROTIME);
        return;
    case K_DURATION:
        put_duration(r, val_str(v));
        return;
    case K_INTORSTRING:
        put_intorstring(r, v);
        return;
    case K_RAW:
        if (val_str(v).n && !str_is(val_str(v), "null")) /* Go's decoders take null for nothing */
            put_text(r, 1, val_str(v));
        return;
    case K_JSON_OR:
        put_alternatives(r, f, v);
        return;
    default:
        return;
    }
}

/* A number as it stands in a varint: 32 bits are extended with their sign. */
static uint64_t varint_of(const struct val *v)
{
    if (val_is(v, VAL_BOOL))
        return v->b;
    return (uint64_t)val_int(v, 0);
}

/* A field with one value (v may be NULL: the zero value). */
static void put_value(struct rev *r, const struct field *f, const struct val *v)
{
    size_t since = mark(r);
    switch (f->kind) {
    case K_BOOL:
    case K_INT32:
    case K_INT64:
    case K_UINT32:
    case K_UINT64:
    case K_ENUM:
        put_number(r, f->number, varint_of(v));
        return;
    case K_FLOAT64:
        put_fixed64(r, val_float(v, 0));
        put_tag(r, f->number, WIRE_FIXED64);
        return;
    case K_STRING:
    case K_BYTES:
        put_text(r, f->number, val_str(v));
        return;
    default:
        put_inside(r, f, v);
        put_head(r, f->number, since);
    }
}

static bool packable(const struct field *f)
{
    return f->flags & FIELD_PROTO3 && wire_type_of(f) != WIRE_BYTES;
}

static void put_packed(struct rev *r, const struct field *f, const struct val *list)
{
    size_t since = mark(r);
    for (size_t i = val_len(list); i-- > 0;) {
        const struct val *v = val_item(list, i);
        if (f->kind == K_FLOAT64)
            put_fixed64(r, val_float(v, 0));
        else
            put_varint(r, varint_of(v));
    }
    put_head(r, f->number, since);
}

static void put_pairs(struct rev *r, const struct field *f, const struct val *pairs, size_t n)
{
    struct field value = *f;
    value.number = 2;
    for (size_t i = n; i-- > 0;) {
        size_t since = mark(r);
        put_value(r, &value, &pairs[2 * i + 1]);
        put_text(r, 1, val_text(&pairs[2 * i]));
        put_head(r, f->number, since);
    }
}

static bool keys_ascend(const struct val *map)
{
    for (size_t i = 1; i < map->n; i++)
        if (str_cmp(val_text(&map->items[2 * i - 2]), val_text(&map->items[2 * i])) >= 0)
            return false;
    return true;
}

static void put_map(struct rev *r, const struct field *f, const struct val *map)
{
    if (!val_is(map, VAL_MAP))
        return;
    if (map->flags & VAL_ORDERED || keys_ascend(map)) {
        put_pairs(r, f, map->items, map->n);
        return;
    }
    size_t size = 2 * (size_t)map->n * sizeof(*map->items);
    struct val *pairs = xmalloc(size);
    memcpy(pairs, map->items, size);
    put_pairs(r, f, pairs, val_sort_pairs(pairs, map->n, NULL, NULL));
    free(pairs);
}

/* Whether a field that may have one value has to be there at all. */
static bool is_written(const struct field *f, const struct val *v)
{
    if (f->flags & FIELD_PROTO3)
        return v && !field_is_zero(f, v);
    if (f->kind == K_BYTES)
        return v;
    return v || !(f->flags & FIELD_PTR);
}

static void put_field(struct rev *r, const struct field *f, const struct val *v)
{
    if (val_is(v, VAL_NULL))
        v = NULL;
    if (f->card == CARD_MAP)
        put_map(r, f, v);
    else if (f->card == CARD_LIST && packable(f) && val_len(v))
        put_packed(r, f, v);
    else if (f->card == CARD_LIST)
        put_items(r, f, v);
    else if (is_written(f, v))
        put_value(r, f, v);
}

/* Which members may be there: a bit for each of their names, modulo 64. Most fields are absent. */
static uint64_t names_of(const struct val *obj)
{
    uint64_t names = 0;
    for (uint32_t i = 0; val_is(obj, VAL_OBJ) && i < obj->n; i++)
        names |= UINT64_C(1) << (obj->items[i].name & 63);
    return names;
}

/* v may be an OBJ, or anything else for an empty message. */
static void put_message(struct rev *r, const struct type *t, const struct val *v)
{
    uint64_t names = names_of(v);
    for (unsigned i = t->n_proto_fields; i-- > 0;) {
        const struct field *f = &t->proto_fields[i];
        if (f->flags & FIELD_INLINE)
            put_value(r, f, v); /* the members of the inner message are members of v */
        else
            put_field(r, f, names >> (f->name & 63) & 1 ? val_get(v, f->name) : NULL);
    }
}

/* ---- entry points --------------------------------------------------------------------------------- */

static void rev_done(struct rev *r, struct buf *b)
{
    size_t n = mark(r);
    if (n)
        buf_put(b, r->p + r->at, n);
    free(r->p);
}

void proto_encode(struct buf *b, const struct type *type, const struct val *v)
{
    struct rev r = {0};
    grow(&r, FIRST);
    put_message(&r, type, v);
    rev_done(&r, b);
}

/* The fields of runtime.Unknown around its raw bytes, and the magic before them. */
static void put_envelope_tail(struct rev *r)
{
    put_text(r, 4, STR(""));
    put_text(r, 3, STR(""));
}

static void put_envelope_head(struct rev *r, struct str api_version, struct str kind)
{
    size_t since = mark(r);
    put_text(r, 2, kind);
    put_text(r, 1, api_version);
    put_head(r, 1, since);
    memcpy(room(r, 4), "k8s", 4);
}

void proto_encode_envelope(struct buf *b, struct str api_version, struct str kind, struct str raw)
{
    struct rev r = {0};
    grow(&r, raw.n + api_version.n + kind.n);
    put_envelope_tail(&r);
    put_text(&r, 2, raw);
    put_envelope_head(&r, api_version, kind);
    rev_done(&r, b);
}

static struct str own_or(const struct val *v, struct str otherwise)
{
    struct str s = val_str(v);
    return s.n ? s : otherwise;
}

void proto_encode_object(struct buf *b, const struct type *type, const struct val *v)
{
    struct str type_name = str_of(type->name);
    struct str type_kind = str_from(type_name, (size_t)(str_rfind(type_name, '.') + 1));
    struct rev r = {0};
    grow(&r, FIRST);
    put_envelope_tail(&r);
    size_t since = mark(&r);
    put_message(&r, type, v);
    put_head(&r, 2, since);
    put_envelope_head(&r, own_or(val_key(v, STR("apiVersion")), str_of(type->api_version)),
                      own_or(val_key(v, STR("kind")), type_kind));
    rev_done(&r, b);
}
