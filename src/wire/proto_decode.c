/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/proto.h"

#include "wire/json.h"
#include "wire/leaf.h"
#include "wire/proto-internal.h"
#include "wire/quantity.h"
#include "wire/schema-internal.h"
#include "wire/value-internal.h"

#include "base/time.h"

/*
 * As in json_decode.c: a stack of open containers and a stack of finished values, no recursion. A list or map
 * stays open while the same field number follows; when one is interrupted by other fields, its parts are
 * joined.
 */

/* What a container is in its parent. */
struct place {
    const struct field *field; /* NULL for the root */
    name_id name;              /* member of an OBJ; 0 for an item or a pair's value */
};

struct frame {
    const struct type *type;   /* OBJ, INLINE: whose fields come */
    const struct field *child; /* LIST, MAP: what its items are; its number is the one that goes on */
    struct place self;
    const uint8_t *end;    /* of the bytes it may take */
    const uint8_t *resume; /* where the parent goes on */
    uint32_t base;         /* first slot */
    unsigned hint;         /* OBJ: declared index behind the last member; INLINE, OBJ: see last */
    uint16_t last;         /* highest field number so far: a lower one may come twice */
    uint16_t next_field;   /* index into proto_fields to try first */
    uint8_t kind;          /* VAL_OBJ, VAL_LIST, VAL_MAP, or FRAME_INLINE */
    bool disorder;         /* OBJ: members are to be sorted */
    uint8_t obj;           /* OBJ, INLINE: the frame that collects the members */
};

enum { FRAME_INLINE = 100 };

struct decoder {
    const uint8_t *p;
    struct arena *a;
    struct err *e;
    struct val *slots;
    uint32_t n_slots, cap_slots;
    unsigned depth;
    struct frame frames[WIRE_MAX_DEPTH];
};

/* One field as it stands on the wire: a number, or bytes. */
struct wire {
    unsigned number;
    enum wire_type type;
    uint64_t x;
    struct str bytes;
};

/* ---- bytes ---------------------------------------------------------------------------------------- */

static int cut_short(struct err *e)
{
    return err_set(e, -EINVAL, "proto: unexpected end of the message");
}

static inline int take_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret, struct err *e)
{
    const uint8_t *q = *p;
    uint64_t x = 0;
    if (q < end && *q < 0x80) {
        *ret = *q;
        *p = q + 1;
        return 0;
    }
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (q == end)
            return cut_short(e);
        x |= (uint64_t)(*q & 0x7f) << shift;
        if (*q++ < 0x80) {
            *p = q;
            *ret = x;
            return 0;
        }
    }
    return err_set(e, -EINVAL, "proto: integer overflow");
}

static uint64_t little_endian(const uint8_t *p, unsigned n)
{
    uint64_t x = 0;
    while (n)
        x = x << 8 | p[--n];
    return x;
}

static int take_fixed(const uint8_t **p, const uint8_t *end, unsigned n, uint64_t *ret, struct err *e)
{
    if ((size_t)(end - *p) < n)
        return cut_short(e);
    *ret = little_endian(*p, n);
    *p += n;
    return 0;
}

static int take_bytes(const uint8_t **p, const uint8_t *end, struct str *ret, struct err *e)
{
    uint64_t n = 0;
    int r = take_varint(p, end, &n, e);
    if (r < 0)
        return r;
    if ((uint64_t)(end - *p) < n)
        return cut_short(e);
    *ret = str_n((const char *)*p, n);
    *p += n;
    return 0;
}

static int take_wire(const uint8_t **p, const uint8_t *end, struct wire *ret, struct err *e)
{
    uint64_t tag = 0;
    int r = take_varint(p, end, &tag, e);
    if (r < 0)
        return r;
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return err_set(e, -EINVAL, "proto: illegal tag %llu", (unsigned long long)(tag >> 3));
    ret->number = (unsigned)(tag >> 3);
    ret->type = (enum wire_type)(tag & 7);
    switch (ret->type) {
    case WIRE_VARINT:
        return take_varint(p, end, &ret->x, e);
    case WIRE_FIXED64:
        return take_fixed(p, end, 8, &ret->x, e);
    case WIRE_FIXED32:
        return take_fixed(p, end, 4, &ret->x, e);
    case WIRE_BYTES:
        return take_bytes(p, end, &ret->bytes, e);
    case WIRE_GROUP:
    case WIRE_GROUP_END:
        break;
    }
    return err_set(e, -EINVAL, "proto: illegal wireType %u", (unsigned)(tag & 7));
}

static const uint8_t *start_of(struct str s)
{
    return (const uint8_t *)s.p;
}

static const uint8_t *end_of(struct str s)
{
    return (const uint8_t *)s.p + s.n;
}

/* ---- small messages ------------------------------------------------------------------------------- */

/* The numbers 1 and 2 of a message, and its text 1 or 3: enough for all leaves that are messages. */
struct small {
    uint64_t x[3];
    struct str text;
    bool has_text;
};

static int take_small(struct str bytes, struct small *ret, struct err *e)
{
    const uint8_t *p = start_of(bytes), *end = end_of(bytes);
    *ret = (struct small){.text = STR("")};
    while (p < end) {
        struct wire w;
        int r = take_wire(&p, end, &w, e);
        if (r < 0)
            return r;
        if (w.type == WIRE_BYTES && (w.number == 1 || w.number == 3)) {
            ret->text = w.bytes;
            ret->has_text = true;
        } else if (w.type == WIRE_VARINT && w.number < 3) {
            ret->x[w.number] = w.x;
        }
    }
    return 0;
}

static struct val time_of(struct arena *a, const struct small *s, bool micro)
{
    char text[MOMENT_TEXT_MAX];
    struct moment m = {(int64_t)s->x[1], (int32_t)s->x[2]};
    if (m.nanos < 0 || m.nanos > 999999999 || !micro)
        m.nanos = 0;
    return moment_is_zero(m) ? (struct val){0} : val_of_str(arena_str(a, moment_text(m, micro, text)));
}

static int quantity_of_text(struct decoder *d, struct str s, struct val *ret)
{
    char canonical[QUANTITY_TEXT_MAX];
    struct str text;
    int r = quantity_canonical(s, canonical, &text, d->e);
    if (r == 0)
        *ret = val_of_str(arena_str(d->a, text));
    return r;
}

static struct val strings_of(struct decoder *d, struct str bytes, int *ret_error)
{
    struct val list = {.kind = VAL_LIST};
    const uint8_t *p = start_of(bytes), *end = end_of(bytes);
    while (p < end) {
        struct wire w;
        *ret_error = take_wire(&p, end, &w, d->e);
        if (*ret_error < 0)
            break;
        if (w.number == 1 && w.type == WIRE_BYTES)
            val_add_str(d->a, &list, w.bytes);
    }
    return list;
}

static int leaf_message(struct decoder *d, const struct field *f, struct str bytes, struct val *ret)
{
    struct small s;
    char text[TIME_TEXT_MAX];
    struct str raw = STR("null");
    int r = take_small(bytes, &s, d->e);
    if (r < 0)
        return r;
    switch (f->kind) {
    case K_QUANTITY:
        return quantity_of_text(d, s.has_text ? s.text : STR("0"), ret);
    case K_TIME:
    case K_MICROTIME:
        *ret = bytes.n ? time_of(d->a, &s, f->kind == K_MICROTIME) : (struct val){0};
        return 0;
    case K_DURATION:
        *ret = val_of_str(arena_str(d->a, str_of(duration_format((int64_t)s.x[1], text))));
        return 0;
    case K_INTORSTRING:
        *ret = s.x[1] ? val_of_str(arena_str(d->a, s.text)) : val_of_int((int32_t)s.x[2]);
        return 0;
    case K_RAW:
        if (s.text.n)
            r = json_compact(d->a, s.text, &raw, d->e);
        *ret = val_of_raw(raw);
        return r;
    case K_STRINGS:
        *ret = strings_of(d, bytes, &r);
        return r;
    default:
        return 0;
    }
}

/* ---- slots ---------------------------------------------------------------------------------------- */

static struct frame *top(struct decoder *d)
{
    return &d->frames[d->depth - 1];
}

static void push(struct decoder *d, struct val v)
{
    if (d->n_slots == d->cap_slots) {
        d->cap_slots *= 2;
        d->slots = xrealloc(d->slots, d->cap_slots * sizeof(*d->slots));
    }
    d->slots[d->n_slots++] = v;
}

static struct val *member_at(struct decoder *d, const struct frame *obj, name_id name)
{
    for (uint32_t i = obj->base; i < d->n_slots; i++)
        if (d->slots[i].name == name)
            return &d->slots[i];
    return NULL;
}

/* Both parts of a list or map that came in two runs. */
static struct val joined(struct arena *a, struct val first, struct val second)
{
    size_t stride = val_stride(&first), n = first.n * stride, m = second.n * stride;
    struct val *items = ARENA_ARRAY(a, struct val, n + m);
    memcpy(items, first.items, n * sizeof(*items));
    memcpy(items + n, second.items, m * sizeof(*items));
    first.items = items;
    first.n += second.n;
    if (first.kind == VAL_MAP)
        first.n = val_sort_pairs(items, first.n, NULL, NULL);
    return first;
}

/* A value of a member: notes whether it came in declared order; a later one replaces an earlier one. */
static void push_member(struct decoder *d, struct frame *obj, const struct field *f, struct val v, bool twice)
{
    struct val *old = twice ? member_at(d, obj, f->name) : NULL;
    if (old && old->kind == v.kind && f->card != CARD_ONE)
        v = joined(d->a, *old, v);
    v.name = f->name;
    bool absent = v.kind == VAL_NULL || field_is_zero(f, &v) ||
                  (f->kind == K_RAW && f->card == CARD_ONE && str_is(val_text(&v), "null"));
    if (old && absent)
        *old = d->slots[--d->n_slots];
    else if (old)
        *old = v;
    obj->disorder |= old != NULL;
    if (old || absent)
        return;
    unsigned before = obj->hint;
    const struct field *declared = type_field(obj->type, f->name, &obj->hint);
    if (!declared)
        return; /* a table with a protobuf field that JSON lacks */
    if (declared < obj->type->fields + before) {
        obj->disorder = true;
        obj->hint = before;
    }
    push(d, v);
}

/* A container or value is done: to the frame on top. */
static void done(struct decoder *d, const struct place *at, struct val v)
{
    if (!at->name) {
        push(d, v);
        return;
    }
    struct frame *f = top(d);
    push_member(d, &d->frames[f->obj], at->field, v, at->field->number <= f->last || f->obj != d->depth - 1);
    f->last = MAX(f->last, at->field->number);
}

/* ---- containers ----------------------------------------------------------------------------------- */

static struct frame *open_frame(struct decoder *d, uint8_t kind, const struct place *at, const uint8_t *end)
{
    if (d->depth == WIRE_MAX_DEPTH) {
        err_set(d->e, -EINVAL, "proto: exceeded max depth");
        return NULL;
    }
    struct frame *f = &d->frames[d->depth++];
    *f = (struct frame){
        .kind = kind, .self = *at, .end = end, .base = d->n_slots, .obj = (uint8_t)(d->depth - 1)};
    return f;
}

static int open_message(struct decoder *d, const struct type *t, const struct place *at, struct str bytes,
                        const uint8_t *resume)
{
    struct frame *f = open_frame(d, VAL_OBJ, at, end_of(bytes));
    if (!f || !t)
        return -EINVAL;
    f->type = t;
    f->resume = resume;
    d->p = start_of(bytes);
    return 0;
}

/* A message whose fields are members of the open one. */
static int open_inline(struct decoder *d, const struct field *f, struct str bytes)
{
    uint8_t obj = top(d)->obj;
    struct frame *in = open_frame(d, FRAME_INLINE, &(struct place){0}, end_of(bytes));
    if (!in)
        return -EINVAL;
    in->type = field_type(f);
    in->resume = d->p;
    in->obj = obj;
    d->p = start_of(bytes);
    return 0;
}

static void close_frame(struct decoder *d)
{
    struct frame *f = top(d);
    struct val v = {.kind = f->kind, .flags = f->kind == VAL_LIST ? 0 : VAL_ORDERED};
    uint32_t n = d->n_slots - f->base;
    if (f->resume)
        d->p = f->resume;
    d->depth--;
    if (f->kind == FRAME_INLINE)
        return;
    if (f->kind == VAL_OBJ && f->disorder)
        sort_declared(f->type, &d->slots[f->base], n);
    if (f->kind == VAL_MAP)
        n = 2 * val_sort_pairs(&d->slots[f->base], n / 2, NULL, NULL);
    v.n = f->kind == VAL_MAP ? n / 2 : n;
    if (n) {
        v.items = ARENA_ARRAY(d->a, struct val, n);
        memcpy(v.items, &d->slots[f->base], n * sizeof(*v.items));
    }
    d->n_slots = f->base;
    done(d, &f->self, v);
}

/* ---- values --------------------------------------------------------------------------------------- */

static int wrong_type(struct decoder *d, const struct field *f, enum wire_type got)
{
    struct str name = name_str(f->name);
    return err_set(d->e, -EINVAL, "proto: wrong wireType = %u for field " STR_FMT, (unsigned)got,
                   STR_ARG(name));
}

static struct val number_of(const struct field *f, uint64_t x)
{
    double d;
    switch (f->kind) {
    case K_BOOL:
        return val_of_bool(x != 0);
    case K_INT32:
    case K_ENUM:
        return val_of_int((int32_t)x);
    case K_UINT32:
        return val_of_int((uint32_t)x);
    case K_FLOAT64:
        memcpy(&d, &x, sizeof(d));
        return val_of_float(d);
    default:
        return val_of_int((int64_t)x);
    }
}

/* The bytes of each alternative that is there. */
struct alternatives {
    const struct field *message, *list;
    struct str message_bytes;
    const uint8_t *list_start;
    bool has_bool, b;
};

static int find_alternatives(struct decoder *d, const struct field *f, struct str bytes,
                             struct alternatives *ret)
{
    const struct type *t = field_type(f);
    const uint8_t *p = start_of(bytes), *end = end_of(bytes);
    *ret = (struct alternatives){0};
    while (p < end) {
        const uint8_t *start = p;
        struct wire w;
        int r = take_wire(&p, end, &w, d->e);
        if (r < 0)
            return r;
        for (unsigned i = 0; t && i < t->n_proto_fields; i++) {
            const struct field *alt = &t->proto_fields[i];
            if (alt->number != w.number || wire_type_of(alt) != w.type)
                continue;
            if (alt->kind == K_BOOL) {
                ret->has_bool = true;
                ret->b = w.x != 0;
            } else if (alt->card == CARD_LIST && !ret->list) {
                ret->list = alt;
                ret->list_start = start;
            } else if (alt->card == CARD_ONE) {
                ret->message = alt;
                ret->message_bytes = w.bytes;
            }
        }
    }
    return 0;
}

static int alternative_value(struct decoder *d, const struct field *f, const struct place *at,
                             struct str bytes)
{
    struct alternatives alt;
    int r = find_alternatives(d, f, bytes, &alt);
    if (r < 0)
        return r;
    if (alt.message)
        return open_message(d, field_type(alt.message), at, alt.message_bytes, d->p);
    if (alt.list) {
        struct frame *list = open_frame(d, VAL_LIST, at, end_of(bytes));
        if (!list)
            return -EINVAL;
        list->child = alt.list;
        list->resume = d->p;
        d->p = alt.list_start;
        return 0;
    }
    done(d, at, alt.has_bool ? val_of_bool(alt.b) : (struct val){0});
    return 0;
}

/* One value of a field, already taken from the wire; d->p is where its parent goes on. */
static int value(struct decoder *d, const struct field *f, const struct place *at, const struct wire *w)
{
    struct val v = {0};
    if (w->type != wire_type_of(f))
        return wrong_type(d, f, w->type);
    if (w->type != WIRE_BYTES) {
        done(d, at, number_of(f, w->x));
        return 0;
    }
    switch (f->kind) {
    case K_STRING:
        v = val_of_str(arena_str(d->a, w->bytes));
        break;
    case K_BYTES:
        v = val_of_bytes(arena_str(d->a, w->bytes));
        break;
    case K_MESSAGE:
        return open_message(d, field_type(f), at, w->bytes, d->p);
    case K_JSON_OR:
        return alternative_value(d, f, at, w->bytes);
    default: {
        int r = leaf_message(d, f, w->bytes, &v);
        if (r < 0)
            return r;
    }
    }
    done(d, at, v);
    return 0;
}

static int packed(struct decoder *d, const struct field *f, struct str bytes)
{
    const uint8_t *p = start_of(bytes), *end = end_of(bytes);
    while (p < end) {
        uint64_t x = 0;
        int r = f->kind == K_FLOAT64 ? take_fixed(&p, end, 8, &x, d->e) : take_varint(&p, end, &x, d->e);
        if (r < 0)
            return r;
        push(d, number_of(f, x));
    }
    return 0;
}

/* A pair of a map: key = 1, value = 2; either may be missing and then is zero. */
static int pair(struct decoder *d, const struct field *f, struct str bytes)
{
    const uint8_t *p = start_of(bytes), *end = end_of(bytes);
    struct wire w, v = {.type = wire_type_of(f), .bytes = STR("")};
    struct str key = STR("");
    while (p < end) {
        int r = take_wire(&p, end, &w, d->e);
        if (r < 0)
            return r;
        if (w.number == 1 && w.type == WIRE_BYTES)
            key = w.bytes;
        else if (w.number == 2)
            v = w;
    }
    push(d, val_of_str(arena_str(d->a, key)));
    return value(d, f, &(struct place){.field = f}, &v);
}

/* ---- the walk ------------------------------------------------------------------------------------- */

static const struct field *field_numbered(struct frame *f, unsigned number)
{
    const struct type *t = f->type;
    for (unsigned i = 0, at = f->next_field; i < t->n_proto_fields; i++, at++) {
        if (at >= t->n_proto_fields)
            at = 0;
        if (t->proto_fields[at].number == number) {
            f->next_field = (uint16_t)at;
            return &t->proto_fields[at];
        }
    }
    return NULL;
}

static int step_message(struct decoder *d, struct frame *f)
{
    const uint8_t *start = d->p;
    struct wire w;
    int r = take_wire(&d->p, f->end, &w, d->e);
    if (r < 0)
        return r;
    const struct field *field = field_numbered(f, w.number);
    if (!field)
        return 0;
    if (field->flags & FIELD_INLINE)
        return w.type == WIRE_BYTES ? open_inline(d, field, w.bytes) : wrong_type(d, field, w.type);
    struct place at = {field, field->name};
    if (field->card == CARD_ONE)
        return value(d, field, &at, &w);
    struct frame *list = open_frame(d, field->card == CARD_LIST ? VAL_LIST : VAL_MAP, &at, f->end);
    if (!list)
        return -EINVAL;
    list->child = field;
    d->p = start;
    return 0;
}

/* The next item of a list or map, or its end when another field follows. */
static int step_items(struct decoder *d, struct frame *f)
{
    const uint8_t *start = d->p;
    const struct field *child = f->child;
    struct wire w;
    int r = take_wire(&d->p, f->end, &w, d->e);
    if (r < 0)
        return r;
    if (w.number != child->number) {
        d->p = start;
        close_frame(d);
        return 0;
    }
    if (f->kind == VAL_MAP)
        return w.type == WIRE_BYTES ? pair(d, child, w.bytes) : wrong_type(d, child, w.type);
    if (w.type == WIRE_BYTES && wire_type_of(child) != WIRE_BYTES)
        return packed(d, child, w.bytes);
    return value(d, child, &(struct place){.field = child}, &w);
}

static int decode(struct decoder *d, const struct type *type, struct str data)
{
    int r = open_message(d, type, &(struct place){0}, data, NULL);
    while (r == 0 && d->depth) {
        struct frame *f = top(d);
        if (d->p == f->end)
            close_frame(d);
        else
            r = f->child ? step_items(d, f) : step_message(d, f);
    }
    return r;
}

int proto_decode(struct arena *a, const struct type *type, struct str data, struct val **ret, struct err *e)
{
    if (data.n >= UINT32_MAX)
        return err_set(e, -E2BIG, "the message is too large");
    struct decoder *d = xmalloc(sizeof(*d));
    memset(d, 0, offsetof(struct decoder, frames));
    d->a = a;
    d->e = e;
    d->cap_slots = 64;
    d->slots = xmalloc(d->cap_slots * sizeof(*d->slots));
    int r = decode(d, type, data.p ? data : STR(""));
    if (r == 0) {
        *ret = ARENA_NEW(a, struct val);
        **ret = d->slots[0];
    }
    free(d->slots);
    free(d);
    return r;
}

/* ---- envelopes ------------------------------------------------------------------------------------ */

bool proto_is_envelope(struct str data)
{
    return data.n >= 4 && memcmp(data.p, "k8s", 4) == 0;
}

static int open_type_meta(struct str bytes, struct proto_envelope *env, struct err *e)
{
    const uint8_t *p = start_of(bytes), *end = end_of(bytes);
    while (p < end) {
        struct wire w;
        int r = take_wire(&p, end, &w, e);
        if (r < 0)
            return r;
        if (w.type == WIRE_BYTES && w.number == 1)
            env->api_version = w.bytes;
        else if (w.type == WIRE_BYTES && w.number == 2)
            env->kind = w.bytes;
    }
    return 0;
}

int proto_open(struct str data, struct proto_envelope *ret, struct err *e)
{
    if (!proto_is_envelope(data))
        return err_set(
            e, -EINVAL,
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    struct proto_envelope env = {STR(""), STR(""), STR(""), STR(""), STR("")};
    struct str *const texts[] = {NULL, NULL, &env.raw, &env.content_encoding, &env.content_type};
    const uint8_t *p = start_of(data) + 4, *end = end_of(data);
    while (p < end) {
        struct wire w;
        int r = take_wire(&p, end, &w, e);
        if (r == 0 && w.type == WIRE_BYTES && w.number == 1)
            r = open_type_meta(w.bytes, &env, e);
        else if (r == 0 && w.type == WIRE_BYTES && w.number < ARRAY_SIZE(texts))
            *texts[w.number] = w.bytes;
        if (r < 0)
            return r;
    }
    *ret = env;
    return 0;
}

/* kind and apiVersion come first among the members of a root type. */
static void put_type_first(struct arena *a, const struct type *type, struct val *v,
                           const struct proto_envelope *env)
{
    struct val *items = ARENA_ARRAY(a, struct val, v->n + 2);
    uint32_t n = 0;
    struct str kind = env->kind, api_version = env->api_version;
    if (kind.n) {
        items[n] = val_of_str(arena_str(a, kind));
        items[n++].name = type->fields[0].name;
    }
    if (api_version.n) {
        items[n] = val_of_str(arena_str(a, api_version));
        items[n++].name = type->fields[1].name;
    }
    if (v->n)
        memcpy(items + n, v->items, v->n * sizeof(*items));
    v->items = items;
    v->n += n;
}

int proto_decode_object(struct arena *a, const struct type *type, struct str data, struct val **ret,
                        struct err *e)
{
    struct proto_envelope env;
    struct val *v;
    int r = proto_open(data, &env, e);
    if (r == 0)
        r = proto_decode(a, type, env.raw, &v, e);
    if (r < 0)
        return r;
    if (type->flags & TYPE_ROOT && type->n_fields >= 2)
        put_type_first(a, type, v, &env);
    *ret = v;
    return 0;
}
