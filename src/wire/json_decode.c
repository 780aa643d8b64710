/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json.h"

#include "wire/json_scan.h"
#include "wire/leaf.h"
#include "wire/quantity.h"
#include "wire/schema-internal.h"
#include "wire/value-internal.h"

/*
 * The decoder keeps two stacks: frames, one for each container that is open, and slots, the values that are
 * done but whose container is still open. When a container ends, its slots move to the arena and become one
 * slot of the container around it. No recursion, so the depth costs no stack.
 */

/* What the next value has to be. */
struct want {
    const struct field *field; /* NULL: anything */
    const struct type *type;   /* of the root; else found by field */
    name_id name;              /* it becomes this member of an OBJ */
    bool item;                 /* an item of the field's list or a value of its map, not the field itself */
};

struct frame {
    const struct type *type; /* OBJ: what it is; MAP: NULL or a TYPE_OPEN */
    struct want self, child; /* the container, and what its items are (LIST, MAP) */
    uint32_t base;           /* its first slot */
    uint32_t n;              /* values begun */
    uint32_t nulls;          /* OBJ: slots that are no members after all */
    unsigned hint;           /* OBJ: the field after the last one */
    uint8_t kind;
    bool disorder; /* OBJ: members did not come in declared order */
};

struct decoder {
    struct json_scan s;
    struct arena *a;
    struct json_report *report;
    struct err *e;
    bool type_failed; /* e has the first type error; what follows is only checked */
    struct val *slots;
    uint32_t n_slots, cap_slots;
    unsigned depth;
    struct frame frames[WIRE_MAX_DEPTH];
};

static const struct field text_field = {.kind = K_STRING}, float_field = {.kind = K_FLOAT64};

/* The field kind of a scalar that is wanted here; K_ANY when anything goes, 0 when a container is wanted. */
static unsigned wanted_kind(const struct want *w)
{
    if (!w->field)
        return w->type ? 0 : K_ANY;
    return w->item || w->field->card == CARD_ONE ? w->field->kind : 0;
}

/* ---- paths and problems --------------------------------------------------------------------------- */

static struct frame *top(struct decoder *d)
{
    return &d->frames[d->depth - 1];
}

/* What stands in frame i just now: ".spec", "[3]" or ".key". The frame above, or the slots, tell. */
static void path_step(const struct decoder *d, unsigned i, struct buf *path)
{
    const struct frame *f = &d->frames[i], *inner = &d->frames[i + 1];
    if (f->kind == VAL_LIST) {
        buf_printf(path, "[%u]", inner->base - f->base);
        return;
    }
    if (path->n)
        buf_putc(path, '.');
    if (f->kind == VAL_OBJ)
        buf_putstr(path, name_str(inner->self.name));
    else
        buf_putstr(path, val_text(&d->slots[inner->base - 1]));
}

/* Upstream reads the alternatives of a K_JSON_OR with a decoder that is not strict: nothing in there is a
 * problem. */
static bool within_alternative(const struct decoder *d)
{
    for (unsigned i = 0; i < d->depth; i++) {
        const struct want *w = &d->frames[i].self;
        if (w->field && w->field->kind == K_JSON_OR && (w->item || w->field->card == CARD_ONE))
            return true;
    }
    return false;
}

/* `<what> "<path of the open container>.<key>"`, once. */
static void complain(struct decoder *d, const char *what, struct str key)
{
    struct json_report *report = d->report;
    if (!report || report->n == JSON_REPORT_MAX || within_alternative(d))
        return;
    CLEANUP_BUF struct buf path = BUF_INIT, text = BUF_INIT;
    for (unsigned i = 0; i + 1 < d->depth; i++)
        path_step(d, i, &path);
    if (path.n)
        buf_putc(&path, '.');
    buf_putstr(&path, key);
    buf_puts(&text, what);
    buf_putc(&text, ' ');
    json_encode_str(&text, buf_str(&path), JSON_NO_HTML);
    for (unsigned i = 0; i < report->n; i++)
        if (str_eq(report->problems[i], buf_str(&text)))
            return;
    if (!report->n)
        report->problems = ARENA_ARRAY(d->a, struct str, JSON_REPORT_MAX);
    report->problems[report->n++] = arena_str(d->a, buf_str(&text));
}

static void complain_twice(void *arg, struct str key)
{
    complain(arg, "duplicate field", key);
}

static struct str short_type_name(const struct type *t)
{
    struct str name = str_of(t->name);
    return str_from(name, (size_t)(str_rfind(name, '.') + 1));
}

/* "v1.PodSpec" of "core.v1.PodSpec". */
static struct str go_type_name(const struct type *t)
{
    struct str name = str_of(t->name);
    ssize_t last = str_rfind(name, '.');
    return last < 0 ? name : str_from(name, (size_t)(str_rfind(str_slice(name, 0, (size_t)last), '.') + 1));
}

static const char *go_kind_name(const struct field *f)
{
    static const char *const names[] = {
        [K_BOOL] = "bool",
        [K_INT32] = "int32",
        [K_INT64] = "int64",
        [K_UINT32] = "uint32",
        [K_UINT64] = "uint64",
        [K_FLOAT64] = "float64",
        [K_STRING] = "string",
        [K_BYTES] = "[]uint8",
        [K_ENUM] = "int32",
        [K_STRINGS] = "[]string",
        [K_TIME] = "string",
        [K_MICROTIME] = "string",
        [K_DURATION] = "string",
        [K_QUANTITY] = "resource.Quantity",
        [K_INTORSTRING] = "intstr.IntOrString",
    };
    return f->kind < ARRAY_SIZE(names) && names[f->kind] ? names[f->kind] : "interface {}";
}

static void put_go_type(struct buf *b, const struct want *w)
{
    if (!w->field) {
        buf_putstr(b, w->type ? go_type_name(w->type) : STR("interface {}"));
        return;
    }
    if (!w->item && w->field->card != CARD_ONE)
        buf_puts(b, w->field->card == CARD_LIST ? "[]" : "map[string]");
    if (w->field->type)
        buf_putstr(b, go_type_name(field_type(w->field)));
    else
        buf_puts(b, go_kind_name(w->field));
}

/* The names of members on the way to where we are: Go's path in type errors has no indices and no keys. */
static void put_members(const struct decoder *d, struct buf *b, name_id name)
{
    for (unsigned i = 1; i < d->depth; i++)
        if (d->frames[i].self.name) {
            buf_putstr(b, name_str(d->frames[i].self.name));
            buf_putc(b, '.');
        }
    if (name)
        buf_putstr(b, name_str(name));
    else if (b->n)
        b->p[--b->n] = '\0';
}

/* Remembers the first value of a wrong type. Decoding goes on, because a syntax error behind it counts for
 * more. */
static void type_error(struct decoder *d, struct str what, const struct want *w)
{
    if (d->type_failed)
        return;
    d->type_failed = true;
    if (wanted_kind(w) == K_QUANTITY) { /* upstream parses whatever text stands there */
        quantity_parse(STR(""), &(struct quantity){0}, d->e);
        return;
    }
    CLEANUP_BUF struct buf path = BUF_INIT, go = BUF_INIT;
    const struct type *owner = NULL;
    for (unsigned i = 0; i < d->depth; i++)
        if (d->frames[i].type)
            owner = d->frames[i].type;
    put_go_type(&go, w);
    put_members(d, &path, w->name);
    if (owner)
        err_set(d->e, 0,
                "json: cannot unmarshal " STR_FMT " into Go struct field " STR_FMT "." STR_FMT
                " of type " STR_FMT,
                STR_ARG(what), STR_ARG(short_type_name(owner)), STR_ARG(buf_str(&path)),
                STR_ARG(buf_str(&go)));
    else
        err_set(d->e, 0, "json: cannot unmarshal " STR_FMT " into Go value of type " STR_FMT, STR_ARG(what),
                STR_ARG(buf_str(&go)));
}

/* ---- slots ---------------------------------------------------------------------------------------- */

static void push(struct decoder *d, struct val v)
{
    if (d->n_slots == d->cap_slots) {
        d->cap_slots *= 2;
        d->slots = xrealloc(d->slots, d->cap_slots * sizeof(*d->slots));
    }
    d->slots[d->n_slots++] = v;
}

/* In a type without protobuf (configuration files) Go's nil and empty lists stay apart. */
static bool keeps_empty(const struct frame *f, const struct val *v)
{
    return v->kind == VAL_LIST && !f->type->n_proto_fields;
}

/* A value is done: it becomes a slot of the open container, or the root. */
static void done(struct decoder *d, const struct want *w, struct val v)
{
    v.name = w->name;
    if (v.kind == VAL_LIST && !v.n && wanted_kind(w) == K_JSON_OR)
        v.kind = VAL_NULL; /* an empty list is none of the alternatives: protobuf would lose it */
    if (w->name) {
        const struct field *f = w->field;
        if (v.kind == VAL_NULL || (field_is_zero(f, &v) && !keeps_empty(top(d), &v))) {
            v.kind = VAL_NULL;
            top(d)->nulls++;
        }
    }
    push(d, v);
}

/* ---- scalars -------------------------------------------------------------------------------------- */

/* What null means as an item of a list or a value of a map: Go's zero value. */
static struct val zero_of(const struct want *w)
{
    static const uint8_t kinds[] = {
        [K_BOOL] = VAL_BOOL,    [K_INT32] = VAL_INT,       [K_INT64] = VAL_INT,     [K_UINT32] = VAL_INT,
        [K_UINT64] = VAL_INT,   [K_ENUM] = VAL_INT,        [K_FLOAT64] = VAL_FLOAT, [K_STRING] = VAL_STR,
        [K_BYTES] = VAL_BYTES,  [K_MESSAGE] = VAL_OBJ,     [K_STRINGS] = VAL_LIST,  [K_QUANTITY] = VAL_STR,
        [K_DURATION] = VAL_STR, [K_INTORSTRING] = VAL_INT, [K_RAW] = VAL_RAW,       [K_ANY] = VAL_NULL,
    };
    struct val v = {0};
    if (!w->field || !w->item)
        return v;
    v.kind = w->field->kind < ARRAY_SIZE(kinds) ? kinds[w->field->kind] : VAL_NULL;
    switch (w->field->kind) {
    case K_QUANTITY:
        return val_of_str(STR("0"));
    case K_DURATION:
        return val_of_str(STR("0s"));
    case K_RAW:
        return val_of_raw(STR("null"));
    default:
        if (val_is_text(&v))
            v.s = "";
        return v;
    }
}

static int leaf_text(struct decoder *d, unsigned kind, struct str s, struct val *ret)
{
    struct str text = s;
    char canonical[QUANTITY_TEXT_MAX];
    int r = 0;
    switch (kind) {
    case K_BYTES:
        r = base64_decode(d->a, s, &text);
        if (r < 0)
            return err_set(d->e, r, "illegal base64 data");
        *ret = val_of_bytes(text);
        return 0;
    case K_TIME:
    case K_MICROTIME:
        r = time_canonical(d->a, s, kind == K_MICROTIME, &text, d->e);
        break;
    case K_DURATION:
        r = duration_canonical(d->a, s, &text, d->e);
        break;
    case K_QUANTITY:
        s = str_trim(s);
        r = quantity_canonical(s, canonical, &text, d->e);
        if (r == 0 && (text.p == canonical || s.p[s.n] != '\0'))
            text = arena_str(d->a, text);
        break;
    default:
        break;
    }
    if (r < 0)
        return r;
    *ret = val_of_str(text);
    if ((kind == K_TIME || kind == K_MICROTIME) && !text.n)
        ret->kind = VAL_NULL; /* the zero time */
    return 0;
}

static int string_value(struct decoder *d, const struct want *w)
{
    struct str s;
    int r = json_take_string(&d->s, &s, d->e);
    if (r < 0)
        return r;
    struct val v = val_of_str(s);
    unsigned kind = wanted_kind(w);
    switch (kind) {
    case K_STRING:
    case K_ANY:
    case K_INTORSTRING:
        break;
    case K_BYTES:
    case K_TIME:
    case K_MICROTIME:
    case K_DURATION:
    case K_QUANTITY:
        /* Go stops at what a type's own decoder refuses; so does this, unless something was wrong before */
        if (d->type_failed)
            break;
        r = leaf_text(d, kind, s, &v);
        if (r < 0)
            d->type_failed = true;
        break;
    default:
        type_error(d, STR("string"), w);
    }
    done(d, w, v);
    return 0;
}

/* Digits that were checked, with their sign. */
static bool int_of(struct str s, int64_t *ret)
{
    if (s.n <= 18) {
        bool negative = s.p[0] == '-';
        int64_t x = 0;
        for (size_t i = negative; i < s.n; i++)
            x = 10 * x + (s.p[i] - '0');
        *ret = negative ? -x : x;
        return true;
    }
    return str_to_i64(s, ret) == 0;
}

static bool int_fits(unsigned kind, int64_t i)
{
    switch (kind) {
    case K_INT32:
    case K_ENUM:
    case K_INTORSTRING:
        return i >= INT32_MIN && i <= INT32_MAX;
    case K_UINT32:
        return i >= 0 && i <= UINT32_MAX;
    default:
        return true;
    }
}

static bool float_number(const struct json_number *n, struct val *ret)
{
    double f = json_number_float(n->text);
    *ret = val_of_float(f);
    return f - f == 0; /* finite */
}

static bool number_as(unsigned kind, const struct json_number *n, struct val *ret)
{
    int64_t i;
    uint64_t u;
    switch (kind) {
    case K_INT32:
    case K_INT64:
    case K_UINT32:
    case K_ENUM:
    case K_INTORSTRING:
        if (!n->whole || !int_of(n->text, &i) || !int_fits(kind, i))
            return false;
        *ret = val_of_int(i);
        return true;
    case K_UINT64:
        if (!n->whole || str_to_u64(n->text, &u) < 0)
            return false;
        *ret = val_of_int((int64_t)u);
        return true;
    case K_ANY:
        if (n->whole && int_of(n->text, &i)) {
            *ret = val_of_int(i);
            return true;
        }
        return float_number(n, ret);
    default:
        return float_number(n, ret);
    }
}

static int number_value(struct decoder *d, const struct want *w)
{
    struct json_number n;
    struct val v = {0};
    int r = json_scan_number(&d->s, &n, d->e);
    if (r < 0)
        return r;
    unsigned kind = wanted_kind(w);
    bool numeric = kind == K_INT32 || kind == K_INT64 || kind == K_UINT32 || kind == K_UINT64 ||
                   kind == K_ENUM || kind == K_INTORSTRING || kind == K_ANY || kind == K_FLOAT64;
    if (kind == K_QUANTITY) {
        if (!d->type_failed && leaf_text(d, kind, n.text, &v) < 0)
            d->type_failed = true;
    } else if (!numeric) {
        type_error(d, STR("number"), w);
    } else if (!number_as(kind, &n, &v)) {
        const struct want number = {
            .field = w->field ? w->field : &float_field, .name = w->name, .item = true};
        type_error(d, arena_printf(d->a, "number " STR_FMT, STR_ARG(n.text)), &number);
    }
    done(d, w, v);
    return 0;
}

static bool may_be_bool(const struct field *f)
{
    const struct type *t = field_type(f);
    for (unsigned i = 0; t && i < t->n_proto_fields; i++)
        if (t->proto_fields[i].kind == K_BOOL)
            return true;
    return false;
}

static int bool_value(struct decoder *d, const struct want *w)
{
    bool b = *d->s.p == 't';
    int r = json_scan_word(&d->s, b ? STR("true") : STR("false"), d->e);
    if (r < 0)
        return r;
    unsigned kind = wanted_kind(w);
    if (kind != K_BOOL && kind != K_ANY && !(kind == K_JSON_OR && may_be_bool(w->field)))
        type_error(d, STR("bool"), w);
    done(d, w, val_of_bool(b));
    return 0;
}

/* ---- containers ----------------------------------------------------------------------------------- */

/* Fills in what an object is here: OBJ of a type, or MAP. False when none is wanted. */
static bool frame_object(struct frame *f, const struct want *w)
{
    const struct field *field = w->field;
    unsigned kind = wanted_kind(w);
    f->kind = VAL_MAP;
    f->child = (struct want){0};
    if (!field || kind == K_ANY) {
        f->type = field ? NULL : w->type;
    } else if (kind == K_MESSAGE) {
        f->type = field_type(field);
    } else if (kind == K_JSON_OR) {
        const struct field *message = field_alternative(field, CARD_ONE);
        f->type = message ? field_type(message) : NULL;
    } else if (!kind && field->card == CARD_MAP) {
        f->child = (struct want){.field = field, .item = true};
        return true;
    } else {
        return false;
    }
    if (f->type && !(f->type->flags & TYPE_OPEN))
        f->kind = VAL_OBJ;
    return f->type || !kind || kind == K_ANY;
}

static bool frame_list(struct frame *f, const struct want *w)
{
    const struct field *field = w->field;
    unsigned kind = wanted_kind(w);
    f->kind = VAL_LIST;
    f->child = (struct want){0};
    if (kind == K_ANY)
        return true;
    if (kind == K_STRINGS)
        field = &text_field;
    else if (kind == K_JSON_OR)
        field = field_alternative(field, CARD_LIST);
    else if (kind || !field || field->card != CARD_LIST)
        return false;
    f->child = (struct want){.field = field, .item = true};
    return field != NULL;
}

static int open_container(struct decoder *d, const struct want *w)
{
    bool object = *d->s.p == '{';
    if (d->depth == WIRE_MAX_DEPTH)
        return err_set(d->e, -EINVAL, "exceeded max depth");
    struct frame *f = &d->frames[d->depth];
    f->type = NULL;
    f->self = *w;
    f->base = d->n_slots;
    f->n = f->nulls = 0;
    f->hint = 0;
    f->disorder = false;
    if (object ? frame_object(f, w) : frame_list(f, w)) {
        d->s.p++;
        d->depth++;
        return 0;
    }
    type_error(d, object ? STR("object") : STR("array"), w);
    done(d, w, (struct val){0});
    return json_scan_skip(&d->s, d->e);
}

static uint32_t drop_nulls(struct val *m, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (m[i].kind != VAL_NULL)
            m[kept++] = m[i];
    return kept;
}

/* The innermost container ends here: its slots become one. */
static void close_container(struct decoder *d)
{
    struct frame *f = top(d);
    struct val *slots = &d->slots[f->base];
    uint32_t n = d->n_slots - f->base;
    struct val v = {.kind = f->kind};
    if (f->kind == VAL_OBJ) {
        if (f->nulls)
            n = drop_nulls(slots, n);
        if (f->disorder)
            sort_declared(f->type, slots, n);
    } else if (f->kind == VAL_MAP) {
        n = 2 * val_sort_pairs(slots, n / 2, complain_twice, d);
    }
    v.n = f->kind == VAL_MAP ? n / 2 : n;
    v.flags = f->kind == VAL_LIST ? 0 : VAL_ORDERED;
    if (n) {
        v.items = ARENA_ARRAY(d->a, struct val, n);
        memcpy(v.items, slots, n * sizeof(*slots));
    }
    d->n_slots = f->base;
    d->depth--;
    done(d, &f->self, v);
}

/* ---- the walk ------------------------------------------------------------------------------------- */

static int raw_value(struct decoder *d, const struct want *w)
{
    struct str raw;
    int r = json_scan_raw(&d->s, d->a, &raw, d->e);
    if (r < 0)
        return r;
    struct val v = val_of_raw(raw);
    if (w->name && str_is(raw, "null"))
        v.kind = VAL_NULL;
    done(d, w, v);
    return 0;
}

static int null_value(struct decoder *d, const struct want *w)
{
    int r = json_scan_word(&d->s, STR("null"), d->e);
    if (r == 0)
        done(d, w, zero_of(w));
    return r;
}

/* One value: a scalar is done then, a container open. */
static int begin_value(struct decoder *d, const struct want *w)
{
    json_scan_space(&d->s);
    if (wanted_kind(w) == K_RAW)
        return raw_value(d, w);
    if (wanted_kind(w) == K_JSON_OR && field_alternative(w->field, CARD_LIST) && !strchr("{[n", *d->s.p)) {
        done(d, w, (struct val){.kind = VAL_NULL, .name = w->name}); /* upstream's readers of an object or a list ignore the rest */
        return json_scan_skip(&d->s, d->e);
    }
    switch (*d->s.p) {
    case '{':
    case '[':
        return open_container(d, w);
    case '"':
        return string_value(d, w);
    case 't':
    case 'f':
        return bool_value(d, w);
    case 'n':
        return null_value(d, w);
    default:
        if (*d->s.p != '-' && (*d->s.p < '0' || *d->s.p > '9'))
            return json_scan_bad(&d->s, "looking for beginning of value", d->e);
        return number_value(d, w);
    }
}

static int take_key(struct decoder *d, struct str *ret)
{
    if (*d->s.p != '"')
        return json_scan_bad(&d->s, "looking for beginning of object key string", d->e);
    int r = json_take_string(&d->s, ret, d->e);
    if (r < 0)
        return r;
    json_scan_space(&d->s);
    if (*d->s.p != ':')
        return json_scan_bad(&d->s, "after object key", d->e);
    d->s.p++;
    return 0;
}

/* A field that comes again: the last one counts. Returns what was forgotten. */
static struct val forget_earlier(struct decoder *d, struct frame *f, const struct field *field)
{
    struct val earlier = {.kind = VAL_NULL};
    for (uint32_t i = f->base; i < d->n_slots; i++) {
        struct val *v = &d->slots[i];
        if (v->name != field->name)
            continue;
        complain(d, "duplicate field", name_str(field->name));
        earlier = v->kind == VAL_NULL ? earlier : *v;
        v->kind = VAL_NULL;
        f->nulls++;
    }
    return earlier;
}

/* Go decodes a map that comes again into the one that there is. */
static void put_back(struct decoder *d, const struct val *map)
{
    for (uint32_t i = 0; i < 2 * map->n; i++)
        push(d, map->items[i]);
}

static int member(struct decoder *d, struct frame *f)
{
    struct str key;
    int r = take_key(d, &key);
    if (r < 0)
        return r;
    unsigned expected = f->hint;
    struct val earlier = {.kind = VAL_NULL};
    const struct field *field = type_field_str(f->type, key, &f->hint);
    if (!field) {
        complain(d, "unknown field", key);
        json_scan_space(&d->s);
        return json_scan_skip(&d->s, d->e);
    }
    if (field < f->type->fields + expected) {
        f->disorder = true;
        earlier = forget_earlier(d, f, field);
        f->hint = expected; /* stays behind the highest so far */
    }
    unsigned depth = d->depth;
    r = begin_value(d, &(struct want){.field = field, .name = field->name});
    if (r == 0 && earlier.kind == VAL_MAP && d->depth > depth && top(d)->kind == VAL_MAP)
        put_back(d, &earlier);
    return r;
}

static int pair(struct decoder *d, struct frame *f)
{
    struct str key;
    int r = take_key(d, &key);
    if (r < 0)
        return r;
    const struct field *field = f->type ? type_field_str(f->type, key, NULL) : NULL;
    push(d, val_of_str(key));
    return begin_value(d, field ? &(struct want){.field = field} : &f->child);
}

static const char *where_after(const struct frame *f)
{
    return f->kind == VAL_LIST ? "after array element" : "after object key:value pair";
}

/* The next value of the innermost container, or its end. */
static int step(struct decoder *d)
{
    struct frame *f = top(d);
    json_scan_space(&d->s);
    if (*d->s.p == (f->kind == VAL_LIST ? ']' : '}')) {
        d->s.p++;
        close_container(d);
        return 0;
    }
    if (f->n++) {
        if (*d->s.p != ',')
            return json_scan_bad(&d->s, where_after(f), d->e);
        d->s.p++;
        json_scan_space(&d->s);
    }
    if (f->kind == VAL_OBJ)
        return member(d, f);
    return f->kind == VAL_MAP ? pair(d, f) : begin_value(d, &f->child);
}

static int decode(struct decoder *d, const struct type *type)
{
    int r = begin_value(d, &(struct want){.type = type});
    while (r == 0 && d->depth)
        r = step(d);
    if (r < 0)
        return r;
    json_scan_space(&d->s);
    if (d->s.p < d->s.end)
        return json_scan_bad(&d->s, "after top-level value", d->e);
    return d->type_failed ? -EINVAL : 0;
}

int json_decode(struct arena *a, const struct type *type, struct str text, unsigned flags,
                struct json_report *report, struct val **ret, struct err *e)
{
    (void)flags;
    if (text.n >= UINT32_MAX)
        return err_set(e, -E2BIG, "the text is too large");
    struct decoder *d = xmalloc(sizeof(*d));
    memset(d, 0, offsetof(struct decoder, frames));
    d->s = json_scan_start(a, text);
    d->a = a;
    d->report = report;
    d->e = e;
    d->cap_slots = 64;
    d->slots = xmalloc(d->cap_slots * sizeof(*d->slots));
    int r = decode(d, type);
    if (r == 0) {
        *ret = ARENA_NEW(a, struct val);
        **ret = d->slots[0];
        if (type && (*ret)->kind == VAL_NULL)
            (*ret)->kind = type->flags & TYPE_OPEN ? VAL_MAP : VAL_OBJ;
    }
    free(d->slots);
    free(d);
    return r;
}

/* ---- parts ---------------------------------------------------------------------------------------- */

/* The value of one top-level pair, when it is one of the two wanted ones. */
static int meta_pair(struct json_scan *s, struct str key, struct str *ret_api_version, struct str *ret_kind,
                     struct err *e)
{
    struct str *to = str_is(key, "kind") ? ret_kind : str_is(key, "apiVersion") ? ret_api_version : NULL;
    json_scan_space(s);
    if (!to || *s->p != '"')
        return json_scan_skip(s, e);
    return json_take_string(s, to, e);
}

int json_type_meta(struct arena *a, struct str text, struct str *ret_api_version, struct str *ret_kind,
                   struct err *e)
{
    struct json_scan s = json_scan_start(a, text);
    struct str api_version = STR(""), kind = STR(""), key;
    int r = 0;
    json_scan_space(&s);
    if (*s.p != '{') {
        r = json_scan_skip(&s, e);
        return r < 0 ? r : err_set(e, -EINVAL, "json: the text is no object");
    }
    s.p++;
    for (unsigned n = 0;; n++) {
        json_scan_space(&s);
        if (*s.p == '}')
            break;
        if (n && *s.p != ',')
            return json_scan_bad(&s, "after object key:value pair", e);
        s.p += n != 0;
        json_scan_space(&s);
        if (*s.p != '"')
            return json_scan_bad(&s, "looking for beginning of object key string", e);
        r = json_take_string(&s, &key, e);
        json_scan_space(&s);
        if (r == 0 && *s.p != ':')
            r = json_scan_bad(&s, "after object key", e);
        s.p += r == 0;
        if (r == 0)
            r = meta_pair(&s, key, &api_version, &kind, e);
        if (r < 0)
            return r;
    }
    *ret_api_version = api_version;
    *ret_kind = kind;
    return 0;
}

int json_compact(struct arena *a, struct str text, struct str *ret, struct err *e)
{
    struct json_scan s = json_scan_start(a, text);
    struct str raw;
    json_scan_space(&s);
    int r = json_scan_raw(&s, a, &raw, e);
    if (r < 0)
        return r;
    json_scan_space(&s);
    if (s.p < s.end)
        return json_scan_bad(&s, "after top-level value", e);
    *ret = raw;
    return 0;
}

struct str json_cut(struct str *text)
{
    struct str s = *text;
    size_t depth = 0, i = 0;
    for (bool quoted = false; i < s.n; i++) {
        char c = s.p[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && depth && --depth == 0) {
            i++;
            break;
        }
    }
    i = MIN(i, s.n);
    *text = str_from(s, i);
    return str_slice(s, 0, i);
}
