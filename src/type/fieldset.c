/* SPDX-License-Identifier: Apache-2.0 */
#include "type/fieldset.h"

#include "wire/json.h"

struct fieldset *fieldset_new(struct arena *a)
{
    return ARENA_NEW(a, struct fieldset);
}

/* ---- finding and putting --------------------------------------------------------------------------------- */

/* Where elem is, or would be. */
static uint32_t place(const struct fieldset *s, struct str elem, bool *ret_found)
{
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = str_cmp(s->items[mid].elem, elem);
        if (c == 0) {
            *ret_found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_found = false;
    return lo;
}

static void make_room(struct arena *a, struct fieldset *s)
{
    if (s->n < s->cap)
        return;
    struct fieldset_item *more = ARENA_ARRAY(a, struct fieldset_item, s->cap = s->cap ? s->cap * 2 : 4);
    if (s->n)
        memcpy(more, s->items, s->n * sizeof(*more));
    s->items = more;
}

static struct fieldset_item *put(struct arena *a, struct fieldset *s, struct str elem)
{
    bool found;
    uint32_t at = place(s, elem, &found);
    if (found)
        return &s->items[at];
    make_room(a, s);
    memmove(s->items + at + 1, s->items + at, (s->n - at) * sizeof(*s->items));
    s->n++;
    s->items[at] = (struct fieldset_item){.elem = elem};
    return &s->items[at];
}

/* For sets that are made in order. */
static void append(struct arena *a, struct fieldset *s, struct fieldset_item item)
{
    if (!item.member && fieldset_empty(item.below))
        return;
    make_room(a, s);
    s->items[s->n++] = item;
}

struct fieldset *fieldset_into(struct arena *a, struct fieldset *s, struct str elem)
{
    struct fieldset_item *item = put(a, s, elem);
    if (!item->below)
        item->below = fieldset_new(a);
    return item->below;
}

void fieldset_add(struct arena *a, struct fieldset *s, const struct str *path, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        s = fieldset_into(a, s, path[i]);
    if (n)
        put(a, s, path[n - 1])->member = true;
}

static const struct fieldset_item *find(const struct fieldset *s, struct str elem)
{
    bool found = false;
    uint32_t at = s ? place(s, elem, &found) : 0;
    return found ? &s->items[at] : NULL;
}

bool fieldset_empty(const struct fieldset *s)
{
    for (uint32_t i = 0; s && i < s->n; i++)
        if (s->items[i].member || !fieldset_empty(s->items[i].below))
            return false;
    return true;
}

bool fieldset_has(const struct fieldset *s, struct str elem)
{
    const struct fieldset_item *item = find(s, elem);
    return item && item->member;
}

bool fieldset_has_path(const struct fieldset *s, const struct str *path, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        s = fieldset_below(s, path[i]);
    return n && fieldset_has(s, path[n - 1]);
}

const struct fieldset *fieldset_below(const struct fieldset *s, struct str elem)
{
    const struct fieldset_item *item = find(s, elem);
    return item ? item->below : NULL;
}

/* ---- algebra ----------------------------------------------------------------------------------------------- */

bool fieldset_equal(const struct fieldset *x, const struct fieldset *y)
{
    if (!x || !y || x->n != y->n)
        return fieldset_empty(x) && fieldset_empty(y);
    for (uint32_t i = 0; i < x->n; i++)
        if (!str_eq(x->items[i].elem, y->items[i].elem) || x->items[i].member != y->items[i].member ||
            !fieldset_equal(x->items[i].below, y->items[i].below))
            return false;
    return true;
}

struct fieldset *fieldset_union(struct arena *a, const struct fieldset *x, const struct fieldset *y)
{
    struct fieldset *s = fieldset_new(a);
    uint32_t i = 0, j = 0, xn = x ? x->n : 0, yn = y ? y->n : 0;
    while (i < xn || j < yn) {
        int c = i == xn ? 1 : j == yn ? -1 : str_cmp(x->items[i].elem, y->items[j].elem);
        struct fieldset_item item = c <= 0 ? x->items[i] : y->items[j];
        if (c == 0) {
            item.member |= y->items[j].member;
            if (item.below && y->items[j].below)
                item.below = fieldset_union(a, item.below, y->items[j].below);
            else if (!item.below)
                item.below = y->items[j].below;
        }
        i += c <= 0;
        j += c >= 0;
        append(a, s, item);
    }
    return s;
}

struct fieldset *fieldset_minus(struct arena *a, const struct fieldset *x, const struct fieldset *y)
{
    struct fieldset *s = fieldset_new(a);
    for (uint32_t i = 0; x && i < x->n; i++) {
        struct fieldset_item item = x->items[i];
        const struct fieldset_item *other = find(y, item.elem);
        if (other) {
            item.member = item.member && !other->member;
            if (item.below && other->below)
                item.below = fieldset_minus(a, item.below, other->below);
        }
        append(a, s, item);
    }
    return s;
}

struct fieldset *fieldset_without(struct arena *a, const struct fieldset *x, const struct fieldset *y)
{
    struct fieldset *s = fieldset_new(a);
    for (uint32_t i = 0; x && i < x->n; i++) {
        struct fieldset_item item = x->items[i];
        const struct fieldset_item *other = find(y, item.elem);
        if (other && other->member)
            continue;
        if (other && item.below && other->below)
            item.below = fieldset_without(a, item.below, other->below);
        append(a, s, item);
    }
    return s;
}

struct fieldset *fieldset_common(struct arena *a, const struct fieldset *x, const struct fieldset *y)
{
    struct fieldset *s = fieldset_new(a);
    for (uint32_t i = 0; x && i < x->n; i++) {
        struct fieldset_item item = x->items[i];
        const struct fieldset_item *other = find(y, item.elem);
        if (!other)
            continue;
        item.member = item.member && other->member;
        item.below = item.below && other->below ? fieldset_common(a, item.below, other->below) : NULL;
        append(a, s, item);
    }
    return s;
}

/* ---- paths for people ---------------------------------------------------------------------------------------- */

static void each(const struct fieldset *s, struct str *path, size_t n, fieldset_visit *visit, void *arg)
{
    for (uint32_t i = 0; s && n < FIELDSET_DEPTH && i < s->n; i++) {
        path[n] = s->items[i].elem;
        if (s->items[i].member)
            visit(arg, path, n + 1);
        each(s->items[i].below, path, n + 1, visit, arg);
    }
}

void fieldset_each(const struct fieldset *s, fieldset_visit *visit, void *arg)
{
    struct str path[FIELDSET_DEPTH];
    each(s, path, 0, visit, arg);
}

static void put_keys(struct buf *b, struct str json)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *keys;
    const char *between = "";
    buf_puts(b, "[");
    if (json_decode(&a, NULL, json, 0, NULL, &keys, NULL) == 0)
        VAL_EACH_ENTRY (keys, k, v) {
            buf_printf(b, "%s" STR_FMT "=", between, STR_ARG(val_str(k)));
            json_encode(b, NULL, v, 0);
            between = ",";
        }
    buf_puts(b, "]");
}

void fieldset_path_text(struct buf *b, const struct str *path, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str rest = str_from(path[i], 2);
        switch (path[i].p[0]) {
        case 'f':
            buf_printf(b, "." STR_FMT, STR_ARG(rest));
            break;
        case 'k':
            put_keys(b, rest);
            break;
        case 'v':
            buf_printf(b, "[=" STR_FMT "]", STR_ARG(rest));
            break;
        default:
            buf_printf(b, "[" STR_FMT "]", STR_ARG(rest));
        }
    }
}

/* ---- FieldsV1 --------------------------------------------------------------------------------------------------- */

static int compare_names(const void *x, const void *y)
{
    return str_cmp(val_str(x), val_str(y));
}

/* Keys of an item in the order and the form that we give them, however they were sent. .p NULL: it is none. */
static struct str canonical(struct arena *a, struct str elem)
{
    struct val *v;
    struct buf b CLEANUP_BUF = BUF_INIT;
    int64_t at;
    if (elem.p[0] == 'f')
        return elem;
    if (elem.p[0] == 'i')
        return str_to_i64(str_from(elem, 2), &at) == 0 ? elem : STR_NULL;
    if (json_decode(a, NULL, str_from(elem, 2), 0, NULL, &v, NULL) < 0 || (elem.p[0] == 'k' && v->kind != VAL_MAP))
        return STR_NULL;
    if (v->kind == VAL_MAP && v->n > 1)
        qsort(v->items, v->n, 2 * sizeof(*v->items), compare_names);
    buf_printf(&b, "%c:", elem.p[0]);
    json_encode(&b, NULL, v, JSON_NO_HTML);
    return arena_str(a, buf_str(&b));
}

static int from_val(struct arena *a, const struct val *v, unsigned depth, struct fieldset **ret, struct err *e);

static int put_from(struct arena *a, struct fieldset *s, struct str elem, const struct val *sub, unsigned depth, struct err *e)
{
    if (elem.n < 2 || elem.p[1] != ':')
        return err_set(e, -EINVAL, "fieldsV1: \"" STR_FMT "\" is no field", STR_ARG(elem));
    if (!elem.p[0] || !strchr("fkvi", elem.p[0])) /* of a later version: not kept (structured merge, serialize-pe) */
        return 0;
    if (!(elem = canonical(a, elem)).p)
        return err_set(e, -EINVAL, "fieldsV1: an element has no keys or value that can be read");
    if (sub->kind != VAL_NULL && sub->kind != VAL_MAP)
        return err_set(e, -EINVAL, "fieldsV1: \"" STR_FMT "\" is followed by no set", STR_ARG(elem));
    make_room(a, s);
    struct fieldset_item *item = &s->items[s->n++];
    *item = (struct fieldset_item){.elem = elem, .member = val_len(sub) == 0 || val_key(sub, STR("."))};
    return val_len(sub) ? from_val(a, sub, depth + 1, &item->below, e) : 0;
}

static int compare_items(const void *x, const void *y)
{
    return str_cmp(((const struct fieldset_item *)x)->elem, ((const struct fieldset_item *)y)->elem);
}

/* Elements in canonical form may stand in another order than they were sent in, and be the same. */
static void settle(struct fieldset *s)
{
    uint32_t i = 1, kept = 0;
    while (i < s->n && str_cmp(s->items[i - 1].elem, s->items[i].elem) < 0)
        i++;
    if (i >= s->n)
        return;
    qsort(s->items, s->n, sizeof(*s->items), compare_items);
    for (i = 0; i < s->n; i++)
        if (!kept || !str_eq(s->items[kept - 1].elem, s->items[i].elem))
            s->items[kept++] = s->items[i];
    s->n = kept;
}

static int from_val(struct arena *a, const struct val *v, unsigned depth, struct fieldset **ret, struct err *e)
{
    struct fieldset *s = fieldset_new(a);
    if (!val_is(v, VAL_MAP) || depth >= FIELDSET_DEPTH)
        return err_set(e, -EINVAL, "fieldsV1 is no set of fields");
    VAL_EACH_ENTRY (v, k, sub) {
        int r = str_is(val_str(k), ".") ? 0 : put_from(a, s, val_str(k), sub, depth, e);
        if (r < 0)
            return r;
    }
    settle(s);
    *ret = s;
    return 0;
}

int fieldset_decode(struct arena *a, struct str json, struct fieldset **ret, struct err *e)
{
    struct val *v;
    int r = json_decode(a, NULL, json, 0, NULL, &v, e);
    return r < 0 ? r : from_val(a, v, 0, ret, e);
}

static void encode(struct buf *b, const struct fieldset *s, bool member)
{
    const char *between = member && !fieldset_empty(s) ? "\".\":{}," : "";
    buf_puts(b, "{");
    for (uint32_t i = 0; s && i < s->n; i++) {
        if (!s->items[i].member && fieldset_empty(s->items[i].below))
            continue;
        buf_puts(b, between);
        json_encode_str(b, s->items[i].elem, JSON_NO_HTML);
        buf_puts(b, ":");
        encode(b, s->items[i].below, s->items[i].member);
        between = ",";
    }
    buf_puts(b, "}");
}

void fieldset_encode(struct buf *b, const struct fieldset *s)
{
    encode(b, s, false);
}
