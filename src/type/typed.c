/* SPDX-License-Identifier: Apache-2.0 */
#include "type/typed.h"

#include "names.h"
#include "wire/json.h"
#include "wire/schema-internal.h"

/* ---- what a place in the tree is --------------------------------------------------------------------------- */

/* Of which type a value is: of a field as a whole, or of one of its items. */
struct place {
    const struct type *type; /* of a struct */
    const struct field *f;   /* NULL: the root */
    bool item;
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

/* v: for what has no type, the value itself decides. */
static enum shape shape_of(struct place p, const struct val *v)
{
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
    return (struct place){.type = p.type, .f = p.f, .item = true};
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

static bool is_empty(const struct val *v)
{
    return !v || v->kind == VAL_NULL || ((v->kind == VAL_MAP || v->kind == VAL_LIST) && v->n == 0);
}

/* A struct that has no field at all. */
static bool is_empty_struct(const struct type *t, const struct val *v)
{
    if (!val_is(v, VAL_OBJ))
        return is_empty(v);
    for (unsigned i = 0; i < t->n_fields; i++)
        if (member(&t->fields[i], v))
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
    return arena_printf(a, "f:" STR_FMT, STR_ARG(name));
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

static struct str keys_elem(struct arena *a, struct place p, const struct val *item)
{
    const struct field_extra *x = field_extra(p.f);
    const char *one[] = {x ? x->patch_key : NULL, NULL}, *sorted[8];
    const char *const *keys = x && x->list_keys ? x->list_keys : one;
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t n = 0, had = 0;
    while (keys[n] && n < ARRAY_SIZE(sorted)) {
        sorted[n] = keys[n];
        n++;
    }
    qsort(sorted, n, sizeof(*sorted), compare_texts);
    buf_puts(&b, "k:{");
    for (size_t i = 0; i < n; i++) {
        const struct field *f = p.type ? type_field_str(p.type, str_of(sorted[i]), NULL) : NULL;
        const struct val *v = f ? member(f, item) : val_key(item, str_of(sorted[i]));
        if (!v && !(v = key_default(a, p.type, sorted[i])))
            continue;
        buf_printf(&b, "%s\"%s\":", had++ ? "," : "", sorted[i]);
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
    if (!item || item->kind == VAL_OBJ || item->kind == VAL_MAP || item->kind == VAL_LIST)
        return STR_NULL;
    buf_puts(&b, "v:");
    json_encode(&b, NULL, item, JSON_NO_HTML);
    return arena_str(a, buf_str(&b));
}

/* The items of a list with their elements; of those that are there twice the first counts. */
struct items {
    struct str *elems;
    const struct val **vals;
    size_t n;
};

static size_t items_find(const struct items *l, struct str elem)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->elems[i], elem))
            return i;
    return SIZE_MAX;
}

static const struct val *items_get(const struct items *l, struct str elem)
{
    size_t i = items_find(l, elem);
    return i == SIZE_MAX ? NULL : l->vals[i];
}

static struct items items_of(struct arena *a, struct place p, enum shape shape, const struct val *list)
{
    struct items l = {ARENA_ARRAY(a, struct str, val_len(list) + 1), ARENA_ARRAY(a, const struct val *, val_len(list) + 1), 0};
    VAL_EACH (list, v) {
        struct str elem = item_elem(a, p, shape, v);
        if (!elem.p || items_find(&l, elem) != SIZE_MAX)
            continue;
        l.elems[l.n] = elem;
        l.vals[l.n++] = v;
    }
    return l;
}

/* ---- walking ----------------------------------------------------------------------------------------------------------- */

struct walk {
    struct arena *a;
    struct str path[FIELDSET_DEPTH];
    size_t depth;
    struct fieldset *sets[3]; /* of typed_fields the first; of typed_compare added, modified, removed */
    struct err *e;
};

static void add(struct walk *w, int which)
{
    struct str *path = ARENA_ARRAY(w->a, struct str, w->depth);
    memcpy(path, w->path, w->depth * sizeof(*path));
    fieldset_add(w->a, w->sets[which], path, w->depth);
}

static bool enter(struct walk *w, struct str elem)
{
    if (w->depth == FIELDSET_DEPTH)
        return false;
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
    for (unsigned i = 0; i < p.type->n_fields; i++) {
        const struct field *f = &p.type->fields[i];
        const struct val *m = skipped(w, f) ? NULL : member(f, v);
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

static int fields_of_map(struct walk *w, struct place p, const struct val *v)
{
    VAL_EACH_ENTRY (v, k, m) {
        int r = fields_below(w, place_of_item(p), field_elem(w->a, val_str(k)), m, true);
        if (r < 0)
            return r;
    }
    return 0;
}

static int fields_of_list(struct walk *w, struct place p, enum shape shape, const struct val *v)
{
    size_t i = 0;
    VAL_EACH (v, item) {
        struct str elem = item_elem(w->a, p, shape, item);
        struct buf at CLEANUP_BUF = BUF_INIT;
        if (!elem.p) {
            fieldset_path_text(&at, w->path, w->depth);
            return err_set(w->e, -EINVAL, STR_FMT ": element %zu: associative list with keys has an element that omits all key fields",
                           STR_ARG(buf_str(&at)), i);
        }
        if (enter(w, elem)) {
            bool twice = fieldset_has_path(w->sets[0], w->path, w->depth);
            w->depth--;
            if (twice) {
                fieldset_path_text(&at, w->path, w->depth);
                return err_set(w->e, -EINVAL, STR_FMT ": duplicate entries for key " STR_FMT, STR_ARG(buf_str(&at)),
                               STR_ARG(str_from(elem, 2)));
            }
        }
        int r = fields_below(w, place_of_item(p), elem, item, true);
        if (r < 0)
            return r;
        i++;
    }
    return 0;
}

static int fields_of(struct walk *w, struct place p, const struct val *v)
{
    enum shape shape = shape_of(p, v);
    switch (shape) {
    case STRUCT:
        return fields_of_struct(w, p, v);
    case MAP:
        return fields_of_map(w, p, v);
    case KEYED:
    case SET:
        return fields_of_list(w, p, shape, v);
    case LEAF:
        break;
    }
    add(w, 0);
    return 0;
}

int typed_fields(struct arena *a, const struct type *t, const struct val *v, struct fieldset **ret, struct err *e)
{
    struct walk w = {.a = a, .sets = {fieldset_new(a)}, .e = e};
    int r = fields_of(&w, (struct place){.type = t}, v);
    if (r == 0)
        *ret = w.sets[0];
    return r;
}

/* ---- differences ------------------------------------------------------------------------------------------------------------ */

enum { ADDED, MODIFIED, REMOVED };

static void compare(struct walk *w, struct place p, const struct val *l, const struct val *r);

static void compare_below(struct walk *w, struct place p, struct str elem, const struct val *l, const struct val *r)
{
    if ((!l && !r) || !enter(w, elem))
        return;
    compare(w, p, l, r);
    w->depth--;
}

static void compare_maps(struct walk *w, struct place p, const struct val *l, const struct val *r)
{
    struct place item = place_of_item(p);
    VAL_EACH_ENTRY (l, k, m)
        compare_below(w, item, field_elem(w->a, val_str(k)), m, val_key(r, val_str(k)));
    VAL_EACH_ENTRY (r, k, m)
        if (!val_key(l, val_str(k)))
            compare_below(w, item, field_elem(w->a, val_str(k)), NULL, m);
}

static void compare_lists(struct walk *w, struct place p, enum shape shape, const struct val *l, const struct val *r)
{
    struct place item = place_of_item(p);
    struct items left = items_of(w->a, p, shape, l), right = items_of(w->a, p, shape, r);
    for (size_t i = 0; i < left.n; i++)
        compare_below(w, item, left.elems[i], left.vals[i], items_get(&right, left.elems[i]));
    for (size_t i = 0; i < right.n; i++)
        if (items_find(&left, right.elems[i]) == SIZE_MAX)
            compare_below(w, item, right.elems[i], NULL, right.vals[i]);
}

static void compare_structs(struct walk *w, struct place p, const struct val *l, const struct val *r)
{
    for (unsigned i = 0; i < p.type->n_fields; i++) {
        const struct field *f = &p.type->fields[i];
        if (skipped(w, f))
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
    else if (!leaf && shape == MAP)
        compare_maps(w, p, l, r);
    else if (!leaf)
        compare_lists(w, p, shape, l, r);
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
        compare(&w, (struct place){.type = t}, from, to);
    *ret = (struct typed_diff){w.sets[ADDED], w.sets[MODIFIED], w.sets[REMOVED]};
}

/* ---- merging ------------------------------------------------------------------------------------------------------------------ */

static const struct val *merge(struct arena *a, struct place p, const struct val *l, const struct val *r);

static struct place place_of_key(struct place p, enum shape shape, struct str key)
{
    if (shape == MAP)
        return place_of_item(p);
    const struct field *f = type_field_str(p.type, key, NULL);
    return f ? place_of_field(f) : (struct place){.type = NULL};
}

static const struct val *merge_maps(struct arena *a, struct place p, enum shape shape, const struct val *l, const struct val *r)
{
    struct val *out = val_new(a, VAL_MAP);
    VAL_EACH_ENTRY (l, k, m) {
        const struct val *v = merge(a, place_of_key(p, shape, val_str(k)), m, val_key(r, val_str(k)));
        if (v)
            val_put(a, out, val_str(k), *v);
    }
    VAL_EACH_ENTRY (r, k, m)
        if (!val_key(l, val_str(k)))
            val_put(a, out, val_str(k), *m);
    return val_len(out) ? out : NULL;
}

/* Items that only the left has keep their place among those that both have; the right says in which order these are. */
struct interleave {
    struct arena *a;
    struct place item;
    struct items l, r;
    bool *done; /* of the right: merged already */
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
    x->done[i] = true;
    take(x, items_get(&x->l, x->r.elems[i]), x->r.vals[i]);
}

/* The next item of the right, from i on, that the left has, too. */
static size_t next_shared(const struct interleave *x, size_t i)
{
    while (i < x->r.n && items_find(&x->l, x->r.elems[i]) == SIZE_MAX)
        i++;
    return i;
}

static void interleave(struct interleave *x)
{
    size_t li = 0, ri = 0;
    while (li < x->l.n || ri < x->r.n) {
        size_t at = li < x->l.n ? items_find(&x->r, x->l.elems[li]) : SIZE_MAX;
        if (li < x->l.n && at == SIZE_MAX) {
            take(x, x->l.vals[li++], NULL);
        } else if (li < x->l.n && at == ri) {
            take_right(x, ri++);
            li++;
        } else if (li < x->l.n && (x->done[at] || (ri < x->r.n && at != next_shared(x, ri)))) {
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
    x.done = ARENA_ARRAY(a, bool, x.r.n + 1);
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
    return merge(a, (struct place){.type = t}, left, right);
}

/* ---- removing -------------------------------------------------------------------------------------------------------------------- */

static const struct val *remove_from(struct arena *a, struct place p, const struct val *v, const struct fieldset *gone)
{
    enum shape shape = shape_of(p, v);
    if (fieldset_empty(gone) || shape == LEAF)
        return shape == LEAF && (val_is(v, VAL_MAP) || val_is(v, VAL_LIST)) && !fieldset_empty(gone) ? NULL : v;
    struct val *out = val_new(a, shape == KEYED || shape == SET ? VAL_LIST : VAL_MAP);
    VAL_EACH_ENTRY (v, k, m) {
        struct str elem = field_elem(a, val_str(k));
        if (fieldset_has(gone, elem))
            continue;
        const struct val *left = remove_from(a, place_of_key(p, shape, val_str(k)), m, fieldset_below(gone, elem));
        val_put(a, out, val_str(k), left ? *left : null_val);
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
    return remove_from(a, (struct place){.type = t}, v, gone);
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
        struct place sub = place_of_item(p);
        const struct field *f = shape == STRUCT && item->elem.p[0] == 'f' ? type_field_str(p.type, str_from(item->elem, 2), NULL) : NULL;
        if (f)
            sub = place_of_field(f);
        if (f && item->below)
            item->member = true;
        if (item->below)
            item->below = with_parents(a, sub, item->below);
    }
    return out;
}

struct fieldset *typed_with_parents(struct arena *a, const struct type *t, const struct fieldset *s)
{
    return with_parents(a, (struct place){.type = t}, s);
}

static bool find_unknown(struct walk *w, struct place p, const struct val *v)
{
    enum shape shape = shape_of(p, v);
    bool list = p.f && !p.item && p.f->card == CARD_LIST;
    if (!list && shape == LEAF && !(p.type && p.type->n_fields && p.f && p.f->kind == K_MESSAGE && p.f->card == CARD_ONE))
        return false;
    size_t i = 0;
    VAL_EACH (v, m) {
        struct str elem = item_elem(w->a, p, shape, m);
        if (!enter(w, elem.p ? elem : arena_printf(w->a, "i:%zu", i++)) || find_unknown(w, place_of_item(p), m))
            return true;
        w->depth--;
    }
    VAL_EACH_ENTRY (v, k, m) {
        bool map = shape == MAP;
        const struct field *f = map ? NULL : type_field_str(p.type, val_str(k), NULL);
        if (!enter(w, field_elem(w->a, val_str(k))) || (!map && !f) ||
            find_unknown(w, f ? place_of_field(f) : place_of_item(p), m))
            return true;
        w->depth--;
    }
    return false;
}

struct str typed_unknown(struct arena *a, const struct type *t, const struct val *v)
{
    struct walk w = {.a = a};
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (find_unknown(&w, (struct place){.type = t}, v))
        fieldset_path_text(&b, w.path, w.depth);
    return arena_str(a, buf_str(&b));
}
