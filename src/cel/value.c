/* SPDX-License-Identifier: Apache-2.0 */
/* Making values, lists, maps and objects; looking into them. Equality and order are in compare.c, text in text.c. */
#include "cel/cel-internal.h"

#include "base/time.h"
#include "wire/json.h"
#include "wire/leaf.h"

#include <stdarg.h>

struct cel_val cel_fail(struct arena *a, const char *fmt, ...)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    struct str s = arena_str(a, buf_str(&b));
    return (struct cel_val){.kind = CEL_ERROR, .n = (uint32_t)s.n, .s = s.p};
}

struct cel_val cel_no_overload(void)
{
    return (struct cel_val){.kind = CEL_ERROR, .n = 16, .s = "no such overload"};
}

struct cel_val cel_not_a_number(void)
{
    static const char text[] = "NaN values cannot be ordered";
    return (struct cel_val){.kind = CEL_ERROR, .n = sizeof(text) - 1, .s = text};
}

struct cel_val cel_of_text(struct arena *a, struct str s)
{
    return cel_of_str(arena_str(a, s));
}

struct cel_val cel_of_opaque(const struct cel_opaque *o)
{
    return (struct cel_val){.kind = CEL_OPAQUE, .opaque = o, .of = o->type};
}

struct cel_val cel_timestamp_of(int64_t seconds, int64_t nanos)
{
    seconds += nanos / NSEC_PER_SEC;
    nanos %= NSEC_PER_SEC;
    if (nanos < 0) {
        nanos += NSEC_PER_SEC;
        seconds--;
    }
    if (seconds < -62135596800 || seconds > 253402300799)
        return (struct cel_val){.kind = CEL_ERROR, .n = 18, .s = "timestamp overflow"};
    return (struct cel_val){.kind = CEL_TIMESTAMP, .i = seconds, .n = (uint32_t)nanos};
}

/* ---- views of API values --------------------------------------------------------------------------------------- */

static struct cel_val view_raw(struct arena *a, const struct val *v)
{
    struct val *parsed;
    struct err e = {0};
    if (json_decode(a, NULL, val_str(v), 0, NULL, &parsed, &e) < 0)
        return cel_fail(a, "%s", e.text);
    return cel_view(a, parsed, NULL);
}

static struct cel_val view_base64(struct arena *a, const struct val *v)
{
    struct str s = val_str(v);
    size_t n = base64_size(s.n);
    char *to = arena_bytes(a, n + 1);
    base64_encode(s, to);
    to[n] = 0;
    return cel_of_str(str_n(to, n));
}

static struct cel_val view_of(const struct val *v, enum cel_kind kind, enum cel_form form, const void *of)
{
    return (struct cel_val){.kind = (uint8_t)kind, .form = (uint8_t)form, .n = v->n, .val = v, .of = of};
}

static struct cel_val view_plain(struct arena *a, const struct val *v)
{
    switch ((enum val_kind)v->kind) {
    case VAL_NULL:
        break;
    case VAL_BOOL:
        return cel_of_bool(v->b);
    case VAL_INT:
        return cel_of_int(v->i);
    case VAL_FLOAT:
        return (struct cel_val){.kind = CEL_DOUBLE, .d = v->f};
    case VAL_STR:
        return cel_of_str(val_str(v));
    case VAL_BYTES:
        return view_base64(a, v);
    case VAL_RAW:
        return view_raw(a, v);
    case VAL_LIST:
        return view_of(v, CEL_LIST, FORM_VIEW, &cel_list_dyn);
    case VAL_OBJ:
    case VAL_MAP:
        return view_of(v, CEL_MAP, FORM_VIEW, &cel_map_dyn);
    }
    return (struct cel_val){.kind = CEL_NULL};
}

static struct cel_val view_date(struct arena *a, struct str s)
{
    struct cel_val r;
    if (cel_timestamp_parse(s, &r))
        return r;
    if (s.n == 10 && cel_timestamp_parse(arena_printf(a, STR_FMT "T00:00:00Z", STR_ARG(s)), &r))
        return r;
    return cel_fail(a, "parsing time \"" STR_FMT "\": not a date-time", STR_ARG(s));
}

static struct cel_val view_text_as(struct arena *a, const struct val *v, const struct cel_type *t)
{
    struct str s = val_str(v), decoded;
    int64_t ns;
    if (t->kind == CEL_TIMESTAMP)
        return view_date(a, s);
    if (t->kind == CEL_DURATION)
        return cel_duration_parse(s, &ns) ? (struct cel_val){.kind = CEL_DURATION, .i = ns}
                                          : cel_fail(a, "invalid duration \"" STR_FMT "\"", STR_ARG(s));
    if (t->kind == CEL_BYTES) {
        if (base64_decode(a, s, &decoded) < 0)
            return cel_fail(a, "illegal base64 data");
        struct cel_val r = cel_of_str(decoded);
        r.kind = CEL_BYTES;
        return r;
    }
    if (t->kind == CEL_OPAQUE && str_eq(t->name, cel_quantity.name))
        return cel_quantity_of(a, s);
    if (t->kind == CEL_OPAQUE && str_eq(t->name, cel_semver.name))
        return cel_semver_of(a, s);
    return cel_of_str(s);
}

struct cel_val cel_view(struct arena *a, const struct val *v, const struct cel_type *t)
{
    if (!v || v->kind == VAL_NULL)
        return (struct cel_val){.kind = CEL_NULL};
    if (t && t->kind == CEL_WRAPPER)
        t = t->params[0];
    bool fields = v->kind == VAL_OBJ || v->kind == VAL_MAP;
    if (t && t->kind == CEL_DYN && t->flags & CEL_ESCAPED && (fields || v->kind == VAL_LIST))
        t = fields ? &cel_map_escaped : &cel_list_escaped;
    if (!t || t->kind == CEL_DYN || v->kind == VAL_RAW)
        return view_plain(a, v);
    if (v->kind == VAL_LIST && t->kind == CEL_LIST)
        return view_of(v, CEL_LIST, FORM_VIEW, t);
    if (fields && t->kind == CEL_MAP)
        return view_of(v, CEL_MAP, FORM_VIEW, t);
    if (fields && t->kind == CEL_OBJECT)
        return view_of(v, CEL_OBJECT, FORM_VIEW, t);
    if (v->kind == VAL_STR)
        return view_text_as(a, v, t);
    if (v->kind == VAL_INT && t->kind == CEL_DOUBLE)
        return (struct cel_val){.kind = CEL_DOUBLE, .d = (double)v->i};
    if (v->kind == VAL_INT && t->kind == CEL_UINT && v->i >= 0)
        return (struct cel_val){.kind = CEL_UINT, .u = (uint64_t)v->i};
    if (v->kind == VAL_FLOAT && t->kind == CEL_INT && v->f == (double)(int64_t)v->f)
        return cel_of_int((int64_t)v->f);
    if (v->kind == VAL_BYTES && t->kind == CEL_BYTES) {
        struct cel_val r = cel_of_str(val_str(v));
        r.kind = CEL_BYTES;
        return r;
    }
    return view_plain(a, v);
}

/* A field of a built-in type that the object may lack: what JSON has for it; CEL_ABSENT when it leaves it out. */
static struct cel_val table_field(struct arena *a, const struct val *v, const struct field *f)
{
    const struct val *m = val_get(v, f->name);
    const struct type *t = f->kind == K_MESSAGE ? field_type(f) : NULL;
    if (m && m->kind != VAL_NULL) {
        if (m->kind == VAL_LIST)
            return view_of(m, CEL_LIST, FORM_TABLE, t);
        if (m->kind == VAL_OBJ || m->kind == VAL_MAP)
            return view_of(m, CEL_MAP, FORM_TABLE, t);
        return view_plain(a, m);
    }
    if (f->flags & FIELD_OMITEMPTY)
        return CEL_ABSENT;
    if (f->card != CARD_ONE || (f->flags & FIELD_PTR))
        return (struct cel_val){.kind = CEL_NULL};
    static const struct val nothing = {.kind = VAL_OBJ};
    switch ((enum field_kind)f->kind) {
    case K_BOOL:
        return cel_of_bool(false);
    case K_INT32:
    case K_INT64:
    case K_UINT32:
    case K_UINT64:
    case K_INTORSTRING:
        return cel_of_int(0);
    case K_FLOAT64:
        return (struct cel_val){.kind = CEL_DOUBLE};
    case K_STRING:
        return cel_of_str(STR(""));
    case K_QUANTITY:
        return cel_of_str(STR("0"));
    case K_DURATION:
        return cel_of_str(STR("0s"));
    case K_MESSAGE:
        return view_of(&nothing, CEL_MAP, FORM_TABLE, t);
    default:
        return (struct cel_val){.kind = CEL_NULL};
    }
}

struct cel_val cel_view_table(struct arena *a, const struct val *v, const struct type *type)
{
    if (v && v->kind == VAL_OBJ && type)
        return view_of(v, CEL_MAP, FORM_TABLE, type);
    if (v && v->kind == VAL_LIST && type)
        return view_of(v, CEL_LIST, FORM_TABLE, type);
    return cel_view(a, v, NULL);
}

/* An item or value within a container of form FORM_TABLE. */
static struct cel_val table_child(struct arena *a, const struct val *v, const struct type *t)
{
    if (v && (v->kind == VAL_OBJ || v->kind == VAL_MAP))
        return view_of(v, CEL_MAP, FORM_TABLE, t);
    if (v && v->kind == VAL_LIST)
        return view_of(v, CEL_LIST, FORM_TABLE, t);
    return cel_view(a, v, NULL);
}

static bool is_table_object(struct cel_val v)
{
    return v.form == FORM_TABLE && v.val->kind == VAL_OBJ && v.of;
}

static size_t table_size(struct cel_val v)
{
    const struct type *t = v.of;
    size_t n = 0;
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct val *m = val_get(v.val, t->fields[i].name);
        n += (m && m->kind != VAL_NULL) || !(t->fields[i].flags & FIELD_OMITEMPTY);
    }
    return n;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static struct cel_val own_list(struct cel_list *l, uint32_t n)
{
    return (struct cel_val){.kind = CEL_LIST, .form = FORM_OWN, .n = n, .list = l};
}

static struct cel_list *new_list(struct arena *a, size_t cap)
{
    struct cel_list *l = ARENA_NEW(a, struct cel_list);
    l->cap = (uint32_t)cap;
    l->items = ARENA_ARRAY(a, struct cel_val, cap);
    return l;
}

struct cel_val cel_new_list(struct arena *a, const struct cel_val *items, size_t n)
{
    struct cel_list *l = new_list(a, n);
    if (n)
        memcpy(l->items, items, n * sizeof(*items));
    l->used = (uint32_t)n;
    return own_list(l, l->used);
}

size_t cel_size(struct cel_val v)
{
    if (v.kind == CEL_STRING)
        return cel_runes(cel_str(v));
    if (v.kind == CEL_MAP && is_table_object(v))
        return table_size(v);
    return v.n;
}

struct cel_val cel_item(struct arena *a, struct cel_val list, size_t i)
{
    if (list.form == FORM_OWN)
        return list.list->items[i];
    const struct val *v = val_item(list.val, i);
    return list.form == FORM_TABLE ? table_child(a, v, list.of)
                                   : cel_view(a, v, ((const struct cel_type *)list.of)->params[0]);
}

/* A list of one's own with these items and room for `more`. */
static struct cel_val copy_list(struct arena *a, struct cel_val v, size_t more)
{
    struct cel_list *l = new_list(a, v.n + more);
    for (size_t i = 0; i < v.n; i++)
        l->items[i] = cel_item(a, v, i);
    l->used = v.n;
    return own_list(l, v.n);
}

struct cel_val cel_list_append(struct arena *a, struct cel_val list, struct cel_val item)
{
    if (list.form != FORM_OWN || list.n != list.list->used || list.list->used == list.list->cap)
        list = copy_list(a, list, list.n + 4);
    list.list->items[list.list->used++] = item;
    list.n++;
    return list;
}

static unsigned list_flags(struct cel_val v)
{
    return v.form == FORM_VIEW ? ((const struct cel_type *)v.of)->flags : 0;
}

/* Do two items of a list of type map have the same keys? */
static bool same_keys(struct arena *a, struct cel_val x, struct cel_val y, const char *const *keys)
{
    for (; keys && *keys; keys++) {
        struct cel_val p = cel_field_of(a, x, str_of(*keys)), q = cel_field_of(a, y, str_of(*keys));
        if (cel_failed(p) != cel_failed(q) || (!cel_failed(p) && !cel_equal(a, p, q)))
            return false;
    }
    return true;
}

/* Lists with an identity of items: a set takes in what it lacks; in a map, a later item replaces the one of its keys. */
static struct cel_val merge_lists(struct arena *a, struct cel_val x, struct cel_val y, const struct cel_type *t)
{
    struct cel_val r = copy_list(a, x, y.n);
    for (size_t i = 0; i < y.n; i++) {
        struct cel_val item = cel_item(a, y, i);
        size_t k = 0;
        while (k < r.n && !(t->flags & CEL_LIST_SET ? cel_equal(a, r.list->items[k], item)
                                                    : same_keys(a, r.list->items[k], item, t->keys)))
            k++;
        if (k < r.n)
            r.list->items[k] = item;
        else
            r = cel_list_append(a, r, item);
    }
    return r;
}

struct cel_val cel_list_concat(struct arena *a, struct cel_val x, struct cel_val y)
{
    if (list_flags(x) & (CEL_LIST_SET | CEL_LIST_MAP))
        return merge_lists(a, x, y, x.of);
    for (size_t i = 0; i < y.n; i++)
        x = cel_list_append(a, x, cel_item(a, y, i));
    return x;
}

bool cel_contains(struct arena *a, struct cel_val list, struct cel_val item)
{
    for (size_t i = 0; i < list.n; i++)
        if (cel_equal(a, cel_item(a, list, i), item))
            return true;
    return false;
}

/* ---- maps -------------------------------------------------------------------------------------------------------- */

enum { INDEX_FROM = 8 }; /* pairs: fewer are found by looking at each */

/* Numbers that are equal hash alike, whatever their kind. */
static uint64_t hash_key(struct cel_val k)
{
    if (k.kind == CEL_STRING)
        return str_hash(cel_str(k));
    if (k.kind == CEL_DOUBLE)
        k.i = k.d >= -9.2e18 && k.d <= 9.2e18 ? (int64_t)k.d : 0;
    if (k.kind == CEL_BOOL)
        k.i = k.b ? 3 : 5;
    return (uint64_t)k.i * UINT64_C(0x9e3779b97f4a7c15) >> 7;
}

static bool same_key(struct cel_val x, struct cel_val y)
{
    if (x.kind == CEL_STRING && y.kind == CEL_STRING)
        return str_eq(cel_str(x), cel_str(y));
    if (x.kind == CEL_INT && y.kind == CEL_INT)
        return x.i == y.i;
    return cel_compare(x, y) == 0;
}

static void index_pair(struct cel_map *m, uint32_t i)
{
    uint64_t h = hash_key(m->pairs[2 * (size_t)i]);
    for (;; h++) {
        uint32_t *slot = &m->slots[h & (m->n_slots - 1)];
        if (!*slot) {
            *slot = i + 1;
            return;
        }
    }
}

static void index_all(struct arena *a, struct cel_map *m)
{
    for (m->n_slots = 16; m->n_slots < 2 * m->cap;)
        m->n_slots *= 2;
    m->slots = ARENA_ARRAY(a, uint32_t, m->n_slots);
    for (uint32_t i = 0; i < m->used; i++)
        index_pair(m, i);
}

/* The number of the pair with that key among the first n, or -1. */
static ssize_t find_pair(const struct cel_map *m, uint32_t n, struct cel_val key)
{
    if (!m->slots) {
        for (uint32_t i = 0; i < n; i++)
            if (same_key(m->pairs[2 * (size_t)i], key))
                return i;
        return -1;
    }
    for (uint64_t h = hash_key(key);; h++) {
        uint32_t slot = m->slots[h & (m->n_slots - 1)];
        if (!slot)
            return -1;
        if (same_key(m->pairs[2 * (size_t)(slot - 1)], key))
            return slot - 1 < n ? (ssize_t)slot - 1 : -1;
    }
}

static struct cel_map *new_map(struct arena *a, size_t cap)
{
    struct cel_map *m = ARENA_NEW(a, struct cel_map);
    m->cap = (uint32_t)cap;
    m->pairs = ARENA_ARRAY(a, struct cel_val, 2 * cap);
    return m;
}

static struct cel_val own_map(struct cel_map *m, uint32_t n)
{
    return (struct cel_val){.kind = CEL_MAP, .form = FORM_OWN, .n = n, .map = m};
}

struct cel_val cel_new_map_default(struct arena *a, const struct cel_val *pairs, size_t n, const struct cel_val *absent)
{
    struct cel_map *m = new_map(a, n);
    if (n)
        memcpy(m->pairs, pairs, 2 * n * sizeof(*pairs));
    m->used = (uint32_t)n;
    m->absent = absent;
    if (n >= INDEX_FROM)
        index_all(a, m);
    return own_map(m, m->used);
}

struct cel_val cel_new_map(struct arena *a, const struct cel_val *pairs, size_t n)
{
    return cel_new_map_default(a, pairs, n, NULL);
}

static struct cel_val copy_map(struct arena *a, struct cel_val v, size_t more)
{
    size_t n = cel_size(v), pos = 0;
    struct cel_map *m = new_map(a, n + more);
    struct cel_val k, x;
    while (m->used < n && cel_next(a, v, &pos, &k, &x)) {
        m->pairs[2 * (size_t)m->used] = k;
        m->pairs[2 * (size_t)m->used++ + 1] = x;
    }
    if (m->cap >= INDEX_FROM)
        index_all(a, m);
    return own_map(m, m->used);
}

static struct cel_val append_pair(struct arena *a, struct cel_val map, struct cel_val key, struct cel_val value)
{
    if (map.form != FORM_OWN || map.n != map.map->used || map.map->used == map.map->cap)
        map = copy_map(a, map, cel_size(map) + 4);
    struct cel_map *m = map.map;
    m->pairs[2 * (size_t)m->used] = key;
    m->pairs[2 * (size_t)m->used++ + 1] = value;
    if (m->slots)
        index_pair(m, m->used - 1);
    map.n++;
    return map;
}

struct cel_val cel_map_put(struct arena *a, struct cel_val map, struct cel_val key, struct cel_val value)
{
    ssize_t i = find_pair(map.map, map.n, key);
    if (i < 0)
        return append_pair(a, map, key, value);
    map.map->pairs[2 * i] = key;
    map.map->pairs[2 * i + 1] = value;
    return map;
}

struct cel_val cel_map_insert(struct arena *a, struct cel_val map, struct cel_val key, struct cel_val value)
{
    if (key.kind != CEL_STRING && key.kind != CEL_BOOL && key.kind != CEL_INT && key.kind != CEL_UINT)
        return cel_fail(a, "unsupported key type: " STR_FMT, STR_ARG(cel_type_of(key)->name));
    if (!cel_absent(cel_lookup(a, map, key))) {
        struct str k = cel_text(a, key);
        return cel_fail(a, "insert failed: key " STR_FMT " already exists", STR_ARG(k));
    }
    return append_pair(a, map, key, value);
}

static struct cel_val table_lookup(struct arena *a, struct cel_val map, struct str key)
{
    const struct type *t = map.of;
    const struct field *f = is_table_object(map) ? type_field_str(t, key, NULL) : NULL;
    if (f)
        return table_field(a, map.val, f);
    const struct val *v = val_key(map.val, key);
    return v ? table_child(a, v, map.val->kind == VAL_MAP ? t : NULL) : CEL_ABSENT;
}

struct cel_val cel_lookup(struct arena *a, struct cel_val map, struct cel_val key)
{
    if (map.form == FORM_OWN) {
        ssize_t i = find_pair(map.map, map.n, key);
        if (i >= 0)
            return map.map->pairs[2 * i + 1];
        return map.map->absent ? *map.map->absent : CEL_ABSENT;
    }
    if (key.kind != CEL_STRING)
        return CEL_ABSENT;
    if (map.form == FORM_TABLE)
        return table_lookup(a, map, cel_str(key));
    const struct cel_type *t = map.of;
    struct str name = t->flags & CEL_ESCAPED ? cel_unescape_name(a, cel_str(key)) : cel_str(key);
    const struct val *v = val_key(map.val, name);
    return v ? cel_view(a, v, t->params[1]) : CEL_ABSENT;
}

/* ---- objects ------------------------------------------------------------------------------------------------------ */

struct cel_val cel_new_object(struct arena *a, const struct cel_type *type, const struct cel_val *values)
{
    struct cel_object *o = ARENA_NEW(a, struct cel_object);
    o->values = ARENA_ARRAY(a, struct cel_val, type->n_fields);
    if (type->n_fields)
        memcpy(o->values, values, type->n_fields * sizeof(*values));
    return (struct cel_val){.kind = CEL_OBJECT, .form = FORM_OWN, .object = o, .of = type};
}

struct cel_val cel_new_lazy_object(struct arena *a, const struct cel_type *type,
                                   struct cel_val (*field)(void *user, unsigned i, struct arena *a), void *user)
{
    struct cel_object *o = ARENA_NEW(a, struct cel_object);
    *o = (struct cel_object){.values = ARENA_ARRAY(a, struct cel_val, type->n_fields), .field = field, .user = user};
    return (struct cel_val){.kind = CEL_OBJECT, .form = FORM_OWN, .object = o, .of = type};
}

static struct cel_val own_field(struct arena *a, struct cel_object *o, unsigned i)
{
    if (o->field && cel_absent(o->values[i]))
        o->values[i] = o->field(o->user, i, a);
    return o->values[i];
}

/* The field as it is there; CEL_ABSENT when it is not. */
static struct cel_val object_field(struct arena *a, struct cel_val v, struct str name, const struct cel_field **ret_field)
{
    const struct cel_type *t = v.of;
    const struct cel_field *f = *ret_field = cel_type_field(t, name);
    if (v.form == FORM_OWN)
        return f ? own_field(a, v.object, (unsigned)(f - t->fields)) : CEL_ABSENT;
    const struct val *m = f ? val_key(v.val, f->json) : t->flags & CEL_OPEN ? val_key(v.val, name) : NULL;
    if (!m || (m->kind == VAL_NULL && f && f->type->kind != CEL_WRAPPER && f->type->kind != CEL_DYN))
        return CEL_ABSENT;
    return cel_view(a, m, f ? f->type : NULL);
}

struct cel_val cel_field_of(struct arena *a, struct cel_val v, struct str name)
{
    if (v.kind == CEL_MAP) {
        struct cel_val r = cel_lookup(a, v, cel_of_str(name));
        return cel_absent(r) ? cel_fail(a, "no such key: " STR_FMT, STR_ARG(name)) : r;
    }
    if (v.kind == CEL_LIST)
        return cel_fail(a, "unsupported index type 'string' in list");
    if (v.kind != CEL_OBJECT)
        return cel_fail(a, "no such key: " STR_FMT, STR_ARG(name));
    const struct cel_field *f;
    struct cel_val r = object_field(a, v, name, &f);
    if (!cel_absent(r))
        return r;
    if (f && f->absent)
        return cel_view(a, f->absent, f->type);
    return f ? cel_fail(a, "no such key: " STR_FMT, STR_ARG(name)) : cel_fail(a, "no such field '" STR_FMT "'", STR_ARG(name));
}

bool cel_has_field(struct arena *a, struct cel_val v, struct str name, struct cel_val *ret_error)
{
    const struct cel_field *f;
    *ret_error = CEL_ABSENT;
    if (v.kind == CEL_MAP)
        return !cel_absent(cel_lookup(a, v, cel_of_str(name)));
    if (v.kind != CEL_OBJECT)
        return false;
    struct cel_val r = object_field(a, v, name, &f);
    if (cel_absent(r) && !f && !(((const struct cel_type *)v.of)->flags & CEL_OPEN))
        *ret_error = cel_fail(a, "no such field '" STR_FMT "'", STR_ARG(name));
    return !cel_absent(r);
}

/* ---- walking ------------------------------------------------------------------------------------------------------- */

static bool next_table_field(struct arena *a, struct cel_val v, size_t *pos, struct cel_val *ret_key,
                             struct cel_val *ret_value)
{
    const struct type *t = v.of;
    while (*pos < t->n_fields) {
        const struct field *f = &t->fields[(*pos)++];
        *ret_value = table_field(a, v.val, f);
        if (!cel_absent(*ret_value)) {
            *ret_key = cel_of_str(name_str(f->name));
            return true;
        }
    }
    return false;
}

static bool next_member(struct arena *a, struct cel_val v, size_t *pos, struct cel_val *ret_key, struct cel_val *ret_value)
{
    if (*pos >= v.val->n)
        return false;
    size_t i = (*pos)++;
    const struct val *x = v.val->kind == VAL_MAP ? &v.val->items[2 * i + 1] : &v.val->items[i];
    *ret_key = cel_of_str(v.val->kind == VAL_MAP ? val_str(&v.val->items[2 * i]) : name_str(x->name));
    *ret_value = v.form == FORM_TABLE ? table_child(a, x, v.val->kind == VAL_MAP ? v.of : NULL)
                                      : cel_view(a, x, ((const struct cel_type *)v.of)->params[1]);
    return true;
}

bool cel_next(struct arena *a, struct cel_val v, size_t *pos, struct cel_val *ret_key, struct cel_val *ret_value)
{
    if (v.kind == CEL_LIST) {
        if (*pos >= v.n)
            return false;
        *ret_key = cel_of_int((int64_t)*pos);
        *ret_value = cel_item(a, v, (*pos)++);
        return true;
    }
    if (v.form == FORM_OWN) {
        if (*pos >= v.n)
            return false;
        size_t i = (*pos)++;
        *ret_key = v.map->pairs[2 * i];
        *ret_value = v.map->pairs[2 * i + 1];
        return true;
    }
    return is_table_object(v) ? next_table_field(a, v, pos, ret_key, ret_value)
                              : next_member(a, v, pos, ret_key, ret_value);
}
