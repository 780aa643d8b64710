/* SPDX-License-Identifier: Apache-2.0 */
#include "type/typed.h"

#include <stdio.h>

#include "names.h"
#include "type/structural.h"
#include "wire/json.h"
#include "wire/schema-internal.h"

/* ---- what a place in the tree is --------------------------------------------------------------------------- */

/* Of which type a value is: of a field as a whole, or of one of its items; or, within a custom resource, of which schema. */
struct place {
    const struct type *type; /* of a struct */
    const struct field *f;   /* NULL: the root */
    bool item;
    bool custom;                     /* then, below the root, schema says what it is */
    const struct structural *schema; /* NULL: nothing is known of it */
};

enum shape { LEAF, STRUCT, MAP, KEYED, SET };

static enum shape shape_of_list(const struct field *f)
{
    const struct field_extra *x = field_extra(f);
    if (f->flags & FIELD_ATOMIC)
        return LEAF;
    if (f->flags & FIELD_LISTMAP)
        return KEYED;
    if (f->flags & FIELD_LISTSET)
        return SET;
    if (f->flags & FIELD_PATCH_MERGE)
        return x && x->patch_key ? KEYED : SET;
    return LEAF;
}

/* What nobody described is merged as what it is, lists as one. */
static enum shape shape_of_custom(const struct structural *s, const struct val *v)
{
    enum structural_type is = v ? (v->kind == VAL_LIST ? STRUCTURAL_ARRAY : v->kind == VAL_MAP || v->kind == VAL_OBJ ? STRUCTURAL_OBJECT : STRUCTURAL_STRING)
                                : s ? (enum structural_type)s->type : STRUCTURAL_ANY;
    if (is == STRUCTURAL_OBJECT)
        return s && s->atomic_map ? LEAF : MAP;
    if (is != STRUCTURAL_ARRAY || !s || s->list == STRUCTURAL_ATOMIC)
        return LEAF;
    return s->list == STRUCTURAL_SET ? SET : KEYED;
}

static struct place place_of_root(const struct type *t)
{
    return (struct place){.type = t, .custom = t && t->flags & TYPE_OPEN, .schema = type_schema(t)};
}

/* v: for what has no type, the value itself decides. */
static enum shape shape_of(struct place p, const struct val *v)
{
    if (p.custom)
        return shape_of_custom(p.schema, v);
    if (p.f && !p.item && p.f->card == CARD_LIST)
        return shape_of_list(p.f);
    if (p.f && !p.item && p.f->card == CARD_MAP)
        return p.f->flags & FIELD_ATOMIC ? LEAF : MAP;
    if (p.f && p.f->kind == K_ANY)
        return val_is(v, VAL_MAP) ? MAP : LEAF;
    bool atomic = p.type && p.type->flags & TYPE_ATOMIC && !(p.f && p.f->flags & FIELD_GRANULAR);
    if (!p.type || atomic || (p.f && p.f->kind != K_MESSAGE) ||
        (p.f && p.f->card == CARD_ONE && p.f->flags & FIELD_ATOMIC))
        return LEAF;
    return STRUCT;
}

static struct place place_of_field(const struct field *f)
{
    return (struct place){.type = field_type(f), .f = f};
}

static struct place place_of_item(struct place p)
{
    if (p.custom)
        return (struct place){.custom = true, .schema = p.schema ? p.schema->items : NULL};
    return (struct place){.type = p.type, .f = p.f, .item = true};
}

/* Of the entry of a map. */
static struct place place_of_entry(struct place p, struct str key)
{
    const struct field *f = p.custom && p.type ? type_field_str(p.type, key, NULL) : NULL;
    if (f)
        return place_of_field(f);
    if (p.custom)
        return (struct place){.custom = true, .schema = p.schema ? structural_member(p.schema, key) : NULL};
    return place_of_item(p);
}

/* A declared field of a struct, or of an object of a custom resource; not any entry of a map. */
static bool is_declared(struct place p, struct str key)
{
    if (p.type && type_field_str(p.type, key, NULL))
        return true;
    return p.custom && p.schema && structural_property(p.schema, key);
}

static struct place place_of_child(struct place p, enum shape shape, struct str elem)
{
    return shape == MAP ? place_of_entry(p, str_from(elem, 2)) : place_of_item(p);
}

/* ---- members of structs --------------------------------------------------------------------------------------- */

static const struct val null_val = {.kind = VAL_NULL}, empty_obj = {.kind = VAL_OBJ}, zero_int = {.kind = VAL_INT},
                        zero_bool = {.kind = VAL_BOOL}, zero_float = {.kind = VAL_FLOAT},
                        zero_str = {.kind = VAL_STR, .s = ""}, zero_quantity = {.kind = VAL_STR, .n = 1, .s = "0"},
                        zero_duration = {.kind = VAL_STR, .n = 2, .s = "0s"};

/* What JSON has for a field that Go cannot leave out. */
static const struct val *zero_of(const struct field *f)
{
    static const struct val *const zeros[] = {
        [K_BOOL] = &zero_bool,   [K_INT32] = &zero_int,       [K_INT64] = &zero_int,    [K_UINT32] = &zero_int,
        [K_UINT64] = &zero_int,  [K_FLOAT64] = &zero_float,   [K_STRING] = &zero_str,   [K_INTORSTRING] = &zero_int,
        [K_MESSAGE] = &empty_obj, [K_QUANTITY] = &zero_quantity, [K_DURATION] = &zero_duration,
    };
    bool nil = f->card != CARD_ONE || f->flags & FIELD_PTR;
    return !nil && f->kind < ARRAY_SIZE(zeros) && zeros[f->kind] ? zeros[f->kind] : &null_val;
}

static const struct val *member(const struct field *f, const struct val *v)
{
    if (val_is(v, VAL_MAP))
        return val_key(v, name_str(f->name));
    if (!val_is(v, VAL_OBJ))
        return NULL;
    const struct val *m = val_get(v, f->name);
    if (f->flags & (FIELD_OMITEMPTY | FIELD_PROTO3))
        return m && m->kind != VAL_NULL && !field_is_zero(f, m) ? m : NULL;
    return m && m->kind != VAL_NULL ? m : zero_of(f);
}

/* A bit for each name of a member, modulo 64: most fields of a struct are absent. */
static uint64_t names_of(const struct val *v)
{
    uint64_t names = 0;
    for (uint32_t i = 0; val_is(v, VAL_OBJ) && i < v->n; i++)
        names |= UINT64_C(1) << (v->items[i].name & 63);
    return val_is(v, VAL_MAP) ? UINT64_MAX : names;
}

static bool is_absent(const struct field *f, uint64_t names)
{
    return f->flags & (FIELD_OMITEMPTY | FIELD_PROTO3) && !(names >> (f->name & 63) & 1);
}

static bool is_empty(const struct val *v)
{
    return !v || v->kind == VAL_NULL || ((v->kind == VAL_MAP || v->kind == VAL_LIST) && v->n == 0);
}

/* A struct that has no field at all. */
static bool is_empty_struct(const struct type *t, const struct val *v)
{
    if (!val_is(v, VAL_OBJ))
        return is_empty(v);
    uint64_t names = names_of(v);
    for (unsigned i = 0; i < t->n_fields; i++)
        if (!is_absent(&t->fields[i], names) && member(&t->fields[i], v))
            return false;
    return true;
}

static bool is_empty_at(struct place p, enum shape shape, const struct val *v)
{
    return shape == STRUCT ? is_empty_struct(p.type, v) : is_empty(v);
}

/* ---- names of children -------------------------------------------------------------------------------------------- */

static struct str field_elem(struct arena *a, struct str name)
{
    char *text = arena_bytes(a, name.n + 3);
    text[0] = 'f';
    text[1] = ':';
    memcpy(text + 2, name.p, name.n);
    text[name.n + 2] = 0;
    return str_n(text, name.n + 2);
}

static int compare_texts(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* The constant default of a key, which a plain value may leave out. */
static const struct val *key_default(struct arena *a, const struct type *t, const char *key)
{
    const struct field *f = t ? type_field_str(t, str_of(key), NULL) : NULL;
    const struct field_extra *x = f ? field_extra(f) : NULL;
    struct val *v = NULL;
    if (!x || !x->default_json || json_decode(a, NULL, str_of(x->default_json), 0, NULL, &v, NULL) < 0)
        return NULL;
    return v;
}

static struct str custom_keys_elem(struct arena *a, const struct structural *s, const struct val *item)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t n = 0, had = 0;
    struct str *keys = ARENA_ARRAY(a, struct str, val_len(s->list_keys) + 1);
    VAL_EACH (s->list_keys, k)
        keys[n++] = val_str(k);
    str_sort(keys, n);
    buf_puts(&b, "k:{");
    for (size_t i = 0; i < n; i++) {
        const struct structural *m = s->items ? structural_member(s->items, keys[i]) : NULL;
        const struct val *v = val_key(item, keys[i]);
        if (!v && (!m || !(v = m->default_value)))
            continue;
        buf_puts(&b, had++ ? "," : "");
        json_encode_str(&b, keys[i], JSON_NO_HTML);
        buf_puts(&b, ":");
        json_encode(&b, NULL, v, JSON_NO_HTML);
    }
    buf_puts(&b, "}");
    return had ? arena_str(a, buf_str(&b)) : STR_NULL;
}

static struct str keys_elem(struct arena *a, struct place p, const struct val *item)
{
    if (p.custom)
        return custom_keys_elem(a, p.schema, item);
    const struct field_extra *x = field_extra(p.f);
    const char *one[] = {x ? x->patch_key : NULL, NULL}, *sorted[8];
    const char *const *keys = x && x->list_keys ? x->list_keys : one;
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t n = 0, had = 0;
    while (keys[n] && n < ARRAY_SIZE(sorted)) {
        sorted[n] = keys[n];
        n++;
    }
    if (n > 1)
        qsort(sorted, n, sizeof(*sorted), compare_texts);
    buf_grow(&b, 126);
    buf_puts(&b, "k:{");
    for (size_t i = 0; i < n; i++) {
        const struct field *f = p.type ? type_field_str(p.type, str_of(sorted[i]), NULL) : NULL;
        const struct val *v = f ? member(f, item) : val_key(item, str_of(sorted[i]));
        if (!v && !(v = key_default(a, p.type, sorted[i])))
            continue;
        buf_puts(&b, had++ ? ",\"" : "\"");
        buf_puts(&b, sorted[i]);
        buf_puts(&b, "\":");
        json_encode(&b, NULL, v, JSON_NO_HTML);
    }
    buf_puts(&b, "}");
    return had ? arena_str(a, buf_str(&b)) : STR_NULL;
}

/* .p NULL for what cannot be told apart. */
static struct str item_elem(struct arena *a, struct place p, enum shape shape, const struct val *item)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (shape == KEYED)
        return val_is(item, VAL_OBJ) || val_is(item, VAL_MAP) ? keys_elem(a, p, item) : STR_NULL;
    if (!item || item->kind == VAL_NULL || item->kind == VAL_OBJ || item->kind == VAL_MAP || item->kind == VAL_LIST)
        return STR_NULL;
    buf_puts(&b, "v:");
    json_encode(&b, NULL, item, JSON_NO_HTML);
    return arena_str(a, buf_str(&b));
}

/* The entries of a map or the items of a list with their elements. */
struct item {
    struct str elem;
    const struct val *v;
    size_t at;
};
struct items {
    struct item *listed, *sorted; /* as they stand there; by element, of those that are there twice the first */
    size_t n_listed, n;
    size_t nameless, twice; /* the first of a list that cannot be told apart, SIZE_MAX: none */
};

static int by_elem(const void *px, const void *py)
{
    const struct item *x = px, *y = py;
    int c = str_cmp(x->elem, y->elem);
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

static bool in_order(const struct item *l, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (str_cmp(l[i - 1].elem, l[i].elem) >= 0)
            return false;
    return true;
}

static void sort_items(struct arena *a, struct items *l)
{
    l->sorted = l->listed;
    l->n = l->n_listed;
    if (l->nameless == SIZE_MAX && in_order(l->listed, l->n))
        return;
    l->sorted = ARENA_ARRAY(a, struct item, l->n);
    l->n = 0;
    for (size_t i = 0; i < l->n_listed; i++)
        if (l->listed[i].elem.p)
            l->sorted[l->n++] = l->listed[i];
    qsort(l->sorted, l->n, sizeof(*l->sorted), by_elem);
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (!kept || !str_eq(l->sorted[kept - 1].elem, l->sorted[i].elem))
            l->sorted[kept++] = l->sorted[i];
        else
            l->twice = MIN(l->twice, l->sorted[i].at);
    l->n = kept;
}

static struct items items_of(struct arena *a, struct place p, enum shape shape, const struct val *v)
{
    struct items l = {.nameless = SIZE_MAX, .twice = SIZE_MAX, .listed = ARENA_ARRAY(a, struct item, val_len(v) + 1)};
    VAL_EACH_ENTRY (v, k, m) {
        l.listed[l.n_listed] = (struct item){field_elem(a, val_str(k)), m, l.n_listed};
        l.n_listed++;
    }
    VAL_EACH (v, m) {
        l.listed[l.n_listed] = (struct item){item_elem(a, p, shape, m), m, l.n_listed};
        if (!l.listed[l.n_listed].elem.p)
            l.nameless = MIN(l.nameless, l.n_listed);
        l.n_listed++;
    }
    sort_items(a, &l);
    return l;
}

static const struct item *items_find(const struct items *l, struct str elem)
{
    size_t lo = 0, hi = elem.p ? l->n : 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = str_cmp(l->sorted[mid].elem, elem);
        if (c == 0)
            return &l->sorted[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* ---- walking ----------------------------------------------------------------------------------------------------------- */

struct walk {
    struct arena *a;
    struct str path[FIELDSET_DEPTH];
    size_t depth;
    struct fieldset *sets[3]; /* of typed_fields the first; of typed_compare added, modified, removed */
    struct fieldset *below[3][FIELDSET_DEPTH]; /* in each of them what is below the path's first elements, */
    size_t known[3];                           /* as far as it was looked up */
    bool lenient; /* items that cannot be told apart are left out */
    struct err *e;
};

static void add(struct walk *w, int which)
{
    struct fieldset **below = w->below[which];
    below[0] = w->sets[which];
    for (; w->known[which] + 1 < w->depth; w->known[which]++)
        below[w->known[which] + 1] = fieldset_into(w->a, below[w->known[which]], w->path[w->known[which]]);
    if (w->depth)
        fieldset_add(w->a, below[w->depth - 1], &w->path[w->depth - 1], 1);
}

static bool enter(struct walk *w, struct str elem)
{
    if (w->depth == FIELDSET_DEPTH)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(w->known); i++)
        w->known[i] = MIN(w->known[i], w->depth);
    w->path[w->depth++] = elem;
    return true;
}

static bool skipped(const struct walk *w, const struct field *f)
{
    return f->name == N_managedFields && w->depth == 1;
}

/* ---- the fields of a value ------------------------------------------------------------------------------------------------ */

static int fields_of(struct walk *w, struct place p, const struct val *v);

static int fields_below(struct walk *w, struct place p, struct str elem, const struct val *v, bool counts)
{
    if (!enter(w, elem))
        return err_set(w->e, -EINVAL, "nested too deeply");
    int r = fields_of(w, p, v);
    if (r == 0 && counts)
        add(w, 0);
    w->depth--;
    return r;
}

static int fields_of_struct(struct walk *w, struct place p, const struct val *v)
{
    uint64_t names = names_of(v);
    for (unsigned i = 0; i < p.type->n_fields; i++) {
        const struct field *f = &p.type->fields[i];
        const struct val *m = skipped(w, f) || is_absent(f, names) ? NULL : member(f, v);
        if (!m)
            continue;
        struct place sub = place_of_field(f);
        bool counts = m->kind == VAL_NULL || ((m->kind == VAL_MAP || m->kind == VAL_OBJ) && is_empty_at(sub, shape_of(sub, m), m));
        int r = fields_below(w, sub, field_elem(w->a, name_str(f->name)), m, counts);
        if (r < 0)
            return r;
    }
    return 0;
}

static int refuse_item(struct walk *w, struct place p, enum shape shape, const struct items *l)
{
    struct buf at CLEANUP_BUF = BUF_INIT;
    fieldset_path_text(&at, w->path, w->depth);
    if (l->twice < l->nameless)
        return err_set(w->e, -EINVAL, STR_FMT ": duplicate entries for key " STR_FMT, STR_ARG(buf_str(&at)),
                       STR_ARG(str_from(item_elem(w->a, p, shape, l->listed[l->twice].v), 2)));
    return err_set(w->e, -EINVAL, STR_FMT ": element %zu: associative list %s", STR_ARG(buf_str(&at)), l->nameless,
                   shape == SET ? "without keys has an element that is no scalar"
                                : "with keys has an element that omits all key fields");
}

static int fields_of_items(struct walk *w, struct place p, enum shape shape, const struct val *v)
{
    struct items l = items_of(w->a, p, shape, v);
    int r = 0;
    if (!w->lenient && MIN(l.nameless, l.twice) != SIZE_MAX)
        return refuse_item(w, p, shape, &l);
    for (size_t i = 0; i < l.n && r == 0; i++) {
        const struct item *it = &l.sorted[i];
        bool member = shape == MAP && p.custom && is_declared(p, str_from(it->elem, 2));
        bool counts = !member || (it->v->kind != VAL_LIST && is_empty(it->v));
        r = fields_below(w, place_of_child(p, shape, it->elem), it->elem, it->v, counts);
    }
    return r;
}

static int fields_of(struct walk *w, struct place p, const struct val *v)
{
    enum shape shape = shape_of(p, v);
    switch (shape) {
    case STRUCT:
        return fields_of_struct(w, p, v);
    case MAP:
    case KEYED:
    case SET:
        return fields_of_items(w, p, shape, v);
    case LEAF:
        break;
    }
    add(w, 0);
    return 0;
}

int typed_fields(struct arena *a, const struct type *t, const struct val *v, struct fieldset **ret, struct err *e)
{
    struct walk w = {.a = a, .sets = {fieldset_new(a)}, .e = e};
    int r = fields_of(&w, place_of_root(t), v);
    if (r == 0)
        *ret = w.sets[0];
    return r;
}

struct fieldset *typed_fields_there(struct arena *a, const struct type *t, const struct val *v)
{
    struct walk w = {.a = a, .sets = {fieldset_new(a)}, .lenient = true};
    if (v)
        fields_of(&w, place_of_root(t), v);
    return w.sets[0];
}

/* ---- differences ------------------------------------------------------------------------------------------------------------ */

enum { ADDED, MODIFIED, REMOVED };

static void compare(struct walk *w, struct place p, const struct val *l, const struct val *r);

static void compare_below(struct walk *w, struct place p, struct str elem, const struct val *l, const struct val *r)
{
    if ((!l && !r) || (l && r && val_same(l, r)) || !enter(w, elem))
        return; /* most of what is written stays as it was: no need to name its parts */
    compare(w, p, l, r);
    w->depth--;
}

static void compare_items(struct walk *w, struct place p, enum shape shape, const struct val *l, const struct val *r)
{
    struct items left = items_of(w->a, p, shape, l), right = items_of(w->a, p, shape, r);
    size_t i = 0, j = 0;
    while (i < left.n || j < right.n) {
        const struct item *x = left.sorted + i, *y = right.sorted + j;
        int c = i == left.n ? 1 : j == right.n ? -1 : str_cmp(x->elem, y->elem);
        struct str elem = c <= 0 ? x->elem : y->elem;
        compare_below(w, place_of_child(p, shape, elem), elem, c <= 0 ? x->v : NULL, c >= 0 ? y->v : NULL);
        i += c <= 0;
        j += c >= 0;
    }
}

static void compare_structs(struct walk *w, struct place p, const struct val *l, const struct val *r)
{
    uint64_t names = names_of(l) | names_of(r);
    for (unsigned i = 0; i < p.type->n_fields; i++) {
        const struct field *f = &p.type->fields[i];
        if (skipped(w, f) || is_absent(f, names))
            continue;
        const struct val *lm = member(f, l), *rm = member(f, r);
        if ((lm || rm) && lm != rm)
            compare_below(w, place_of_field(f), field_elem(w->a, name_str(f->name)), lm, rm);
    }
}

static void compare(struct walk *w, struct place p, const struct val *l, const struct val *r)
{
    enum shape shape = shape_of(p, r ? r : l);
    bool leaf = shape == LEAF || shape_of(p, l ? l : r) != shape || (is_empty_at(p, shape, l) && is_empty_at(p, shape, r));
    if (leaf && l && r && !val_same(l, r) && !(is_empty(l) && is_empty(r) && shape != LEAF))
        add(w, MODIFIED);
    else if (!leaf && shape == STRUCT)
        compare_structs(w, p, l, r);
    else if (!leaf)
        compare_items(w, p, shape, l, r);
    if (!l)
        add(w, ADDED);
    else if (!r)
        add(w, REMOVED);
}

void typed_compare(struct arena *a, const struct type *t, const struct val *from, const struct val *to, struct typed_diff *ret)
{
    struct walk w = {.a = a, .sets = {fieldset_new(a), fieldset_new(a), fieldset_new(a)}};
    from = from ? from : &empty_obj;
    if (from != to)
        compare(&w, place_of_root(t), from, to);
    *ret = (struct typed_diff){w.sets[ADDED], w.sets[MODIFIED], w.sets[REMOVED]};
}

/* ---- merging ------------------------------------------------------------------------------------------------------------------ */

static const struct val *merge(struct arena *a, struct place p, const struct val *l, const struct val *r);

static struct place place_of_key(struct place p, enum shape shape, struct str key)
{
    if (shape == MAP)
        return place_of_entry(p, key);
    const struct field *f = type_field_str(p.type, key, NULL);
    return f ? place_of_field(f) : (struct place){.type = NULL};
}

/* A map to be filled by entries that come once each. */
static struct val *map_for(struct arena *a, size_t n)
{
    struct val *map = val_new(a, VAL_MAP);
    map->items = ARENA_ARRAY(a, struct val, 2 * n + 1);
    return map;
}

static void map_add(struct val *map, struct str elem, const struct val *v)
{
    struct val *pair = map->items + 2 * (size_t)map->n++;
    pair[0] = val_of_str(str_from(elem, 2));
    pair[1] = *v;
}

static const struct val *merge_maps(struct arena *a, struct place p, enum shape shape, const struct val *l, const struct val *r)
{
    struct items left = items_of(a, p, MAP, l), right = items_of(a, p, MAP, r);
    struct val *out = map_for(a, left.n + right.n);
    size_t i = 0, j = 0;
    while (i < left.n || j < right.n) {
        const struct item *x = left.sorted + i, *y = right.sorted + j;
        int c = i == left.n ? 1 : j == right.n ? -1 : str_cmp(x->elem, y->elem);
        struct str elem = c <= 0 ? x->elem : y->elem;
        const struct val *v = c < 0 ? x->v : c > 0 ? y->v : merge(a, place_of_key(p, shape, str_from(elem, 2)), x->v, y->v);
        if (v)
            map_add(out, elem, v);
        i += c <= 0;
        j += c >= 0;
    }
    return val_len(out) ? out : NULL;
}

/* Items that only the left has keep their place among those that both have; the right says in which order these are. */
struct interleave {
    struct arena *a;
    struct place item;
    struct items l, r;
    bool *done;        /* of the right: merged already */
    size_t shared;     /* of the right, the next that the left has, too */
    struct val *out;
};

static void take(struct interleave *x, const struct val *l, const struct val *r)
{
    const struct val *v = merge(x->a, x->item, l, r);
    if (v)
        val_add(x->a, x->out, *v);
}

static void take_right(struct interleave *x, size_t i)
{
    const struct item *l = items_find(&x->l, x->r.listed[i].elem);
    x->done[i] = true;
    take(x, l ? l->v : NULL, x->r.listed[i].v);
}

static size_t next_shared(struct interleave *x, size_t i)
{
    x->shared = MAX(x->shared, i);
    while (x->shared < x->r.n_listed && !items_find(&x->l, x->r.listed[x->shared].elem))
        x->shared++;
    return x->shared;
}

static void interleave(struct interleave *x)
{
    size_t li = 0, ri = 0, ln = x->l.n_listed, rn = x->r.n_listed;
    while (li < ln || ri < rn) {
        const struct item *found = li < ln ? items_find(&x->r, x->l.listed[li].elem) : NULL;
        if (li < ln && !found) {
            take(x, x->l.listed[li++].v, NULL);
        } else if (found && found->at == ri) {
            take_right(x, ri++);
            li++;
        } else if (found && (x->done[found->at] || (ri < rn && found->at != next_shared(x, ri)))) {
            li++; /* shared, and not the one whose turn it is */
        } else {
            take_right(x, ri++);
        }
    }
}

static const struct val *merge_lists(struct arena *a, struct place p, enum shape shape, const struct val *l, const struct val *r)
{
    struct interleave x = {.a = a, .item = place_of_item(p), .l = items_of(a, p, shape, l), .r = items_of(a, p, shape, r),
                           .out = val_new(a, VAL_LIST)};
    x.done = ARENA_ARRAY(a, bool, x.r.n_listed + 1);
    interleave(&x);
    return val_len(x.out) ? x.out : NULL;
}

static const struct val *merge(struct arena *a, struct place p, const struct val *l, const struct val *r)
{
    enum shape shape = shape_of(p, r ? r : l);
    if (!l || !r || shape == LEAF || (is_empty(l) && is_empty(r)))
        return r ? r : l;
    return shape == KEYED || shape == SET ? merge_lists(a, p, shape, l, r) : merge_maps(a, p, shape, l, r);
}

const struct val *typed_merge(struct arena *a, const struct type *t, const struct val *left, const struct val *right)
{
    return merge(a, place_of_root(t), left, right);
}

/* ---- removing -------------------------------------------------------------------------------------------------------------------- */

static const struct val *remove_from(struct arena *a, struct place p, const struct val *v, const struct fieldset *gone)
{
    enum shape shape = shape_of(p, v);
    if (fieldset_empty(gone) || shape == LEAF)
        return shape == LEAF && (val_is(v, VAL_MAP) || val_is(v, VAL_LIST)) && !fieldset_empty(gone) ? NULL : v;
    struct val *out = shape == KEYED || shape == SET ? val_new(a, VAL_LIST) : map_for(a, val_len(v));
    VAL_EACH_ENTRY (v, k, m) {
        struct str elem = field_elem(a, val_str(k));
        if (fieldset_has(gone, elem))
            continue;
        const struct val *left = remove_from(a, place_of_key(p, shape, val_str(k)), m, fieldset_below(gone, elem));
        map_add(out, elem, left ? left : &null_val);
    }
    VAL_EACH (v, m) {
        struct str elem = item_elem(a, p, shape, m);
        if (elem.p && fieldset_has(gone, elem))
            continue;
        const struct val *left = remove_from(a, place_of_item(p), m, elem.p ? fieldset_below(gone, elem) : NULL);
        if (left)
            val_add(a, out, *left);
    }
    return val_len(out) ? out : NULL;
}

const struct val *typed_remove(struct arena *a, const struct type *t, const struct val *v, const struct fieldset *gone)
{
    return remove_from(a, place_of_root(t), v, gone);
}

/* ---- sets and types ---------------------------------------------------------------------------------------------------------------- */

static struct fieldset *with_parents(struct arena *a, struct place p, const struct fieldset *s)
{
    struct fieldset *out = fieldset_new(a);
    enum shape shape = shape_of(p, NULL);
    if (!s)
        return out;
    out->n = out->cap = s->n;
    out->items = ARENA_ARRAY(a, struct fieldset_item, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        struct fieldset_item *item = &out->items[i];
        *item = s->items[i];
        bool named = (shape == STRUCT || shape == MAP) && item->elem.p[0] == 'f';
        struct str key = str_from(item->elem, 2);
        struct place sub = named ? place_of_key(p, shape, key) : place_of_item(p);
        if (named && (shape == STRUCT || p.custom) && is_declared(p, key) && item->below)
            item->member = true;
        if (item->below)
            item->below = with_parents(a, sub, item->below);
    }
    return out;
}

struct fieldset *typed_with_parents(struct arena *a, const struct type *t, const struct fieldset *s)
{
    return with_parents(a, place_of_root(t), s);
}

/* ---- does a plain value fit its type? ------------------------------------------------------------------------------------------------- */

static int unfit(const struct walk *w, const char *want, const struct val *v)
{
    struct buf at CLEANUP_BUF = BUF_INIT, is CLEANUP_BUF = BUF_INIT;
    fieldset_path_text(&at, w->path, w->depth);
    json_encode(&is, NULL, v, JSON_NO_HTML);
    return err_set(w->e, -EINVAL, STR_FMT ": expected %s, got " STR_FMT, STR_ARG(buf_str(&at)), want, STR_ARG(buf_str(&is)));
}

static int check_scalar(const struct walk *w, const struct field *f, const struct val *v)
{
    bool list = v->kind == VAL_LIST, map = v->kind == VAL_MAP, number = v->kind == VAL_INT || v->kind == VAL_FLOAT;
    switch (f->kind) {
    case K_BOOL:
        return v->kind == VAL_BOOL ? 0 : unfit(w, "boolean", v);
    case K_INT32:
    case K_INT64:
    case K_UINT32:
    case K_UINT64:
    case K_FLOAT64:
        return number ? 0 : unfit(w, "numeric (int or float)", v);
    case K_STRING:
    case K_BYTES:
    case K_TIME:
    case K_MICROTIME:
    case K_DURATION:
        return v->kind == VAL_STR ? 0 : unfit(w, "string", v);
    case K_QUANTITY:
    case K_INTORSTRING:
        return list || map ? unfit(w, "any scalar", v) : 0;
    default:
        return 0;
    }
}

static int check(struct walk *w, struct place p, const struct val *v);

static int check_below(struct walk *w, struct place p, struct str elem, const struct val *v)
{
    if (!enter(w, elem))
        return err_set(w->e, -EINVAL, "nested too deeply");
    int r = check(w, p, v);
    w->depth--;
    return r;
}

static int check_list(struct walk *w, struct place p, const struct val *v)
{
    struct place item = place_of_item(p);
    char at[32];
    size_t i = 0;
    VAL_EACH (v, m) {
        struct str elem = {at, (size_t)snprintf(at, sizeof(at), "i:%zu", i++)};
        int r = check_below(w, item, elem, m);
        if (r < 0)
            return r;
    }
    return 0;
}

static int undeclared(const struct walk *w, struct str elem)
{
    struct buf at CLEANUP_BUF = BUF_INIT;
    fieldset_path_text(&at, w->path, w->depth);
    fieldset_path_text(&at, &elem, 1);
    return err_set(w->e, -EINVAL, STR_FMT ": field not declared in schema", STR_ARG(buf_str(&at)));
}

static int check_entries(struct walk *w, struct place p, bool map, const struct val *v)
{
    VAL_EACH_ENTRY (v, k, m) {
        struct str elem = field_elem(w->a, val_str(k));
        const struct field *f = map ? NULL : type_field_str(p.type, val_str(k), NULL);
        if (!map && !f)
            return undeclared(w, elem);
        int r = check_below(w, f ? place_of_field(f) : place_of_item(p), elem, m);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What a schema wants where a value stands, in the words of errors; NULL: it fits. */
static const char *custom_misfit(const struct structural *s, const struct val *v)
{
    bool map = v->kind == VAL_MAP || v->kind == VAL_OBJ, list = v->kind == VAL_LIST;
    if (s->int_or_string)
        return list || map ? "any scalar" : NULL;
    switch ((enum structural_type)s->type) {
    case STRUCTURAL_OBJECT:
        return map ? NULL : "map";
    case STRUCTURAL_ARRAY:
        return list ? NULL : "list";
    case STRUCTURAL_STRING:
        return v->kind == VAL_STR ? NULL : "string";
    case STRUCTURAL_INTEGER:
    case STRUCTURAL_NUMBER:
        return v->kind == VAL_INT || v->kind == VAL_FLOAT ? NULL : "numeric (int or float)";
    case STRUCTURAL_BOOLEAN:
        return v->kind == VAL_BOOL ? NULL : "boolean";
    case STRUCTURAL_ANY:
        break;
    }
    return NULL;
}

static int check_custom(struct walk *w, struct place p, const struct val *v)
{
    const struct structural *s = p.schema;
    const char *want = s && !p.type ? custom_misfit(s, v) : NULL;
    int r = want ? unfit(w, want, v) : 0;
    VAL_EACH_ENTRY (v, k, m) {
        struct str elem = field_elem(w->a, val_str(k));
        bool known = !s || s->keep_unknown || s->any_additional || s->embedded || s->additional || is_declared(p, val_str(k));
        if (r == 0)
            r = known ? check_below(w, place_of_entry(p, val_str(k)), elem, m) : undeclared(w, elem);
    }
    return r == 0 && v->kind == VAL_LIST ? check_list(w, p, v) : r;
}

static int check(struct walk *w, struct place p, const struct val *v)
{
    bool whole = p.f && !p.item;
    if (v->kind == VAL_NULL)
        return 0;
    if (p.custom)
        return check_custom(w, p, v);
    if (whole && p.f->card == CARD_LIST)
        return v->kind == VAL_LIST ? check_list(w, p, v) : unfit(w, "list", v);
    if (whole && p.f->card == CARD_MAP)
        return v->kind == VAL_MAP ? check_entries(w, p, true, v) : unfit(w, "map", v);
    if (p.f && p.f->kind != K_MESSAGE)
        return check_scalar(w, p.f, v);
    if (!p.type || !p.type->n_fields)
        return 0;
    return v->kind == VAL_MAP ? check_entries(w, p, false, v) : unfit(w, "map", v);
}

int typed_check(struct arena *a, const struct type *t, const struct val *v, struct err *e)
{
    struct walk w = {.a = a, .e = e};
    return check(&w, place_of_root(t), v);
}

/* ---- what is replaced as a whole ------------------------------------------------------------------------------ */

static void find_atomics(struct buf *ret, struct place p, const struct val *v, struct buf *path)
{
    size_t at = path->n, i = 0;
    bool list = val_is(v, VAL_LIST);
    if (!list && !val_is(v, VAL_MAP))
        return;
    enum shape shape = shape_of(p, v);
    if (shape == LEAF) {
        buf_printf(ret, "%s" STR_FMT, ret->n ? ", " : "", STR_ARG(buf_str(path)));
        return;
    }
    VAL_EACH_ENTRY (v, k, m) {
        if (!is_declared(p, val_str(k)))
            continue;
        const struct field *f = p.type ? type_field_str(p.type, val_str(k), NULL) : NULL;
        buf_printf(path, "." STR_FMT, STR_ARG(val_str(k)));
        find_atomics(ret, f ? place_of_field(f) : place_of_entry(p, val_str(k)), m, path);
        path->n = at;
    }
    VAL_EACH (v, item) {
        buf_printf(path, "[%zu]", i++);
        find_atomics(ret, place_of_item(p), item, path);
        path->n = at;
    }
}

struct str typed_atomics(struct arena *a, const struct type *t, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT, path CLEANUP_BUF = BUF_INIT;
    find_atomics(&b, place_of_root(t), v, &path);
    return arena_str(a, buf_str(&b));
}
