/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/value-internal.h"

/* ---- reading -------------------------------------------------------------------------------------- */

static struct val *member_of(const struct val *obj, name_id name)
{
    for (uint32_t i = 0; i < obj->n; i++)
        if (obj->items[i].name == name)
            return &obj->items[i];
    return NULL;
}

static struct val *pair_of_ordered(const struct val *map, struct str key)
{
    size_t lo = 0, hi = map->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = str_cmp(val_text(&map->items[2 * mid]), key);
        if (c == 0)
            return &map->items[2 * mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* The key's place; its value stands behind it. */
static struct val *pair_of(const struct val *map, struct str key)
{
    enum { FEW = 16 };
    if (map->n > FEW && map->flags & VAL_ORDERED)
        return pair_of_ordered(map, key);
    for (uint32_t i = 0; i < map->n; i++)
        if (str_eq(val_text(&map->items[2 * (size_t)i]), key))
            return &map->items[2 * (size_t)i];
    return NULL;
}

const struct val *val_get(const struct val *v, name_id name)
{
    if (!v || !name)
        return NULL;
    if (v->kind == VAL_OBJ)
        return member_of(v, name);
    return v->kind == VAL_MAP ? val_key(v, name_str(name)) : NULL;
}

const struct val *val_key(const struct val *v, struct str key)
{
    if (!v)
        return NULL;
    if (v->kind == VAL_MAP) {
        struct val *k = pair_of(v, key);
        return k ? k + 1 : NULL;
    }
    name_id name = v->kind == VAL_OBJ ? name_find(key) : 0;
    return name ? member_of(v, name) : NULL;
}

const struct val *val_path(const struct val *v, const name_id *path)
{
    for (; v && *path; path++)
        v = val_get(v, *path);
    return v;
}

struct str val_str(const struct val *v)
{
    return v && val_is_text(v) ? val_text(v) : STR_NULL;
}

const char *val_cstr(const struct val *v)
{
    return v && val_is_text(v) ? v->s : "";
}

int64_t val_int(const struct val *v, int64_t absent)
{
    if (val_is(v, VAL_INT))
        return v->i;
    if (!val_is(v, VAL_FLOAT) || v->f != v->f)
        return absent;
    if (v->f >= 9223372036854775808.0)
        return INT64_MAX;
    return v->f < -9223372036854775808.0 ? INT64_MIN : (int64_t)v->f;
}

double val_float(const struct val *v, double absent)
{
    if (val_is(v, VAL_FLOAT))
        return v->f;
    return val_is(v, VAL_INT) ? (double)v->i : absent;
}

bool val_bool(const struct val *v, bool absent)
{
    return val_is(v, VAL_BOOL) ? v->b : absent;
}

size_t val_len(const struct val *v)
{
    return v && val_is_container(v) ? v->n : 0;
}

const struct val *val_item(const struct val *v, size_t i)
{
    return val_is(v, VAL_LIST) && i < v->n ? &v->items[i] : NULL;
}

/* ---- comparing ------------------------------------------------------------------------------------ */

/* How much of nothing counts as nothing. */
enum sameness {
    SAME_LOOSE,  /* an absent member equals an empty container */
    SAME_STRICT, /* an absent member equals null alone */
};

static bool is_nothing(const struct val *v, enum sameness how)
{
    if (!v || v->kind == VAL_NULL)
        return true;
    if (how == SAME_STRICT || !val_is_container(v))
        return false;
    if (v->kind != VAL_OBJ)
        return v->n == 0;
    for (uint32_t i = 0; i < v->n; i++)
        if (!is_nothing(&v->items[i], how))
            return false;
    return true;
}

static bool same(const struct val *a, const struct val *b, enum sameness how);

/* Every member of a that is something has its like in b. */
static bool covers(const struct val *a, const struct val *b, enum sameness how)
{
    for (uint32_t i = 0; i < a->n; i++) {
        const struct val *m = &a->items[i];
        const struct val *o = i < b->n && b->items[i].name == m->name ? &b->items[i] : member_of(b, m->name);
        if (!same(m, o, how))
            return false;
    }
    return true;
}

/* Every member of b that a lacks is nothing. */
static bool lacks_nothing(const struct val *a, const struct val *b, enum sameness how)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const struct val *m = &b->items[i];
        if (!(i < a->n && a->items[i].name == m->name) && !member_of(a, m->name) && !is_nothing(m, how))
            return false;
    }
    return true;
}

/* As pair_of, but looks from `at` on first: the keys of two maps mostly stand in the same order. */
static const struct val *pair_near(const struct val *map, uint32_t at, struct str key)
{
    for (uint32_t i = 0; i < map->n; i++, at++) {
        const struct val *k = &map->items[2 * (size_t)(at < map->n ? at : at - map->n)];
        if (str_eq(val_text(k), key))
            return k;
    }
    return NULL;
}

static bool same_pairs(const struct val *a, const struct val *b, enum sameness how)
{
    uint32_t at = 0;
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct val *k = &a->items[2 * (size_t)i], *o = pair_near(b, at, val_text(k));
        if (!o || !same(k + 1, o + 1, how))
            return false;
        at = (uint32_t)((o - b->items) / 2 + 1) % b->n;
    }
    return true;
}

static bool same_items(const struct val *a, const struct val *b, enum sameness how)
{
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!same(&a->items[i], &b->items[i], how))
            return false;
    return true;
}

static bool same(const struct val *a, const struct val *b, enum sameness how)
{
    if (a == b)
        return true;
    bool nothing = is_nothing(a, how);
    if (nothing != is_nothing(b, how))
        return false;
    if (nothing)
        return true;
    if (a->kind != b->kind)
        return false;
    switch ((enum val_kind)a->kind) {
    case VAL_NULL:
        return true;
    case VAL_BOOL:
        return a->b == b->b;
    case VAL_INT:
        return a->i == b->i;
    case VAL_FLOAT:
        return a->f == b->f || (a->f != a->f && b->f != b->f);
    case VAL_STR:
    case VAL_BYTES:
    case VAL_RAW:
        return str_eq(val_text(a), val_text(b));
    case VAL_LIST:
        return same_items(a, b, how);
    case VAL_OBJ:
        return covers(a, b, how) && lacks_nothing(a, b, how);
    case VAL_MAP:
        return same_pairs(a, b, how);
    }
    return false;
}

bool val_equal(const struct val *a, const struct val *b)
{
    return same(a, b, SAME_LOOSE);
}

bool val_same(const struct val *a, const struct val *b)
{
    return same(a, b, SAME_STRICT);
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

static uint64_t hash_children(const struct val *v)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->kind == VAL_LIST)
            h = mix(h + 1, val_hash(&v->items[i]));
        else if (v->kind == VAL_MAP) /* sums, since the order does not count */
            h += mix(str_hash(val_text(&v->items[2 * (size_t)i])), val_hash(&v->items[2 * (size_t)i + 1]));
        else if (!is_nothing(&v->items[i], SAME_LOOSE))
            h += mix(v->items[i].name, val_hash(&v->items[i]));
    }
    return h;
}

uint64_t val_hash(const struct val *v)
{
    if (is_nothing(v, SAME_LOOSE))
        return 1;
    switch ((enum val_kind)v->kind) {
    case VAL_NULL:
        break;
    case VAL_BOOL:
        return mix(VAL_BOOL, v->b);
    case VAL_INT:
        return mix(VAL_INT, (uint64_t)v->i);
    case VAL_FLOAT: {
        double f = v->f == 0 ? 0 : v->f; /* -0 equals 0 */
        uint64_t bits = 0;
        if (f == f) /* all NaNs are alike */
            memcpy(&bits, &f, sizeof(bits));
        return mix(VAL_FLOAT, bits);
    }
    case VAL_STR:
    case VAL_BYTES:
    case VAL_RAW:
        return mix(v->kind, str_hash(val_text(v)));
    case VAL_LIST:
    case VAL_OBJ:
    case VAL_MAP:
        return mix(v->kind, hash_children(v));
    }
    return 1;
}

/* ---- making --------------------------------------------------------------------------------------- */

struct val *val_new(struct arena *a, enum val_kind kind)
{
    struct val *v = ARENA_NEW(a, struct val);
    v->kind = (uint8_t)kind;
    if (val_is_text(v))
        v->s = "";
    return v;
}

struct val *val_new_str(struct arena *a, struct str s)
{
    struct val *v = ARENA_NEW(a, struct val);
    *v = val_of_str(arena_str(a, s));
    return v;
}

static void copy_into(struct arena *a, struct val *to, const struct val *v)
{
    *to = *v;
    to->flags &= (uint8_t)~VAL_GROWABLE;
    if (val_is_text(v)) {
        to->s = arena_str(a, val_text(v)).p;
    } else if (val_is_container(v)) {
        size_t n = (size_t)v->n * val_stride(v);
        to->items = n ? ARENA_ARRAY(a, struct val, n) : NULL;
        for (size_t i = 0; i < n; i++)
            copy_into(a, &to->items[i], &v->items[i]);
    }
}

struct val *val_copy(struct arena *a, const struct val *v)
{
    if (!v)
        return NULL;
    struct val *to = ARENA_NEW(a, struct val);
    copy_into(a, to, v);
    return to;
}

struct val *val_copy_shallow(struct arena *a, const struct val *v)
{
    if (!v)
        return NULL;
    struct val *to = ARENA_NEW(a, struct val);
    *to = *v;
    to->flags &= (uint8_t)~VAL_GROWABLE;
    if (val_is_container(v) && v->n) {
        size_t n = (size_t)v->n * val_stride(v);
        to->items = ARENA_ARRAY(a, struct val, n);
        memcpy(to->items, v->items, n * sizeof(*v));
        for (size_t i = 0; i < n;
             i++) /* an append to a child must not write into the original's spare room */
            to->items[i].flags &= (uint8_t)~VAL_GROWABLE;
    }
    return to;
}

static size_t room_for(size_t n)
{
    size_t room = 4;
    while (room < n)
        room *= 2;
    return room;
}

/* Room for one more item, member or pair at the end; counts it and returns where it goes. */
static struct val *append(struct arena *a, struct val *v)
{
    unsigned stride = val_stride(v);
    bool full = !(v->flags & VAL_GROWABLE) || v->n == room_for(v->n) || !v->n;
    if (full) {
        struct val *items = ARENA_ARRAY(a, struct val, room_for((size_t)v->n + 1) * stride);
        if (v->n)
            memcpy(items, v->items, (size_t)v->n * stride * sizeof(*items));
        v->items = items;
        v->flags |= VAL_GROWABLE;
    }
    v->flags &= (uint8_t)~VAL_ORDERED;
    return &v->items[(size_t)v->n++ * stride];
}

static void drop(struct val *v, size_t i)
{
    unsigned stride = val_stride(v);
    memmove(&v->items[i * stride], &v->items[(i + 1) * stride], (v->n - i - 1) * stride * sizeof(*v->items));
    v->n--;
}

/* A value as it is stored in another: a copy of its head does not own the spare room behind the items. */
static struct val stored(struct val v, name_id name)
{
    v.flags &= (uint8_t)~VAL_GROWABLE;
    v.name = name;
    return v;
}

struct val *val_set(struct arena *a, struct val *obj, name_id name, struct val v)
{
    ASSERT((obj->kind == VAL_OBJ || obj->kind == VAL_MAP) && name);
    if (v.kind == VAL_NULL) {
        val_del(obj, name);
        return NULL;
    }
    if (obj->kind == VAL_MAP)
        return val_put(a, obj, name_str(name), v);
    struct val *m = member_of(obj, name);
    if (!m)
        m = append(a, obj);
    *m = stored(v, name);
    return m;
}

struct val *val_set_ref(struct arena *a, struct val *obj, name_id name, const struct val *v)
{
    return val_set(a, obj, name, v ? *v : (struct val){.kind = VAL_NULL});
}

struct val *val_set_str(struct arena *a, struct val *obj, name_id name, struct str s)
{
    return val_set(a, obj, name, val_of_str(arena_str(a, s)));
}

struct val *val_set_int(struct arena *a, struct val *obj, name_id name, int64_t i)
{
    return val_set(a, obj, name, val_of_int(i));
}

struct val *val_set_bool(struct arena *a, struct val *obj, name_id name, bool b)
{
    return val_set(a, obj, name, val_of_bool(b));
}

static struct val *sub(struct arena *a, struct val *obj, name_id name, enum val_kind kind)
{
    struct val *m = val_mut(obj, name);
    if (m && m->kind == kind)
        return m;
    return val_set(a, obj, name, (struct val){.kind = (uint8_t)kind});
}

struct val *val_sub_obj(struct arena *a, struct val *obj, name_id name)
{
    return sub(a, obj, name, VAL_OBJ);
}

struct val *val_sub_map(struct arena *a, struct val *obj, name_id name)
{
    return sub(a, obj, name, VAL_MAP);
}

struct val *val_sub_list(struct arena *a, struct val *obj, name_id name)
{
    return sub(a, obj, name, VAL_LIST);
}

bool val_del(struct val *obj, name_id name)
{
    if (val_is(obj, VAL_MAP))
        return val_unput(obj, name_str(name));
    struct val *m = val_is(obj, VAL_OBJ) ? member_of(obj, name) : NULL;
    if (!m)
        return false;
    drop(obj, (size_t)(m - obj->items));
    return true;
}

struct val *val_add(struct arena *a, struct val *list, struct val v)
{
    ASSERT(list->kind == VAL_LIST);
    struct val *item = append(a, list);
    *item = stored(v, 0);
    return item;
}

struct val *val_add_obj(struct arena *a, struct val *list)
{
    return val_add(a, list, (struct val){.kind = VAL_OBJ});
}

struct val *val_add_str(struct arena *a, struct val *list, struct str s)
{
    return val_add(a, list, val_of_str(arena_str(a, s)));
}

void val_remove(struct val *list, size_t i)
{
    if (val_is(list, VAL_LIST) && i < list->n)
        drop(list, i);
}

struct val *val_put(struct arena *a, struct val *map, struct str key, struct val v)
{
    ASSERT(map->kind == VAL_MAP);
    struct val *k = pair_of(map, key);
    if (!k) {
        k = append(a, map);
        *k = val_of_str(arena_str(a, key));
    }
    k[1] = stored(v, 0);
    return k + 1;
}

struct val *val_put_str(struct arena *a, struct val *map, struct str key, struct str s)
{
    return val_put(a, map, key, val_of_str(arena_str(a, s)));
}

bool val_unput(struct val *map, struct str key)
{
    struct val *k = val_is(map, VAL_MAP) ? pair_of(map, key) : NULL;
    if (!k)
        return false;
    drop(map, (size_t)(k - map->items) / 2);
    return true;
}

struct val *val_mut(struct val *v, name_id name)
{
    if (!v || !name)
        return NULL;
    if (v->kind == VAL_OBJ)
        return member_of(v, name);
    struct val *k = v->kind == VAL_MAP ? pair_of(v, name_str(name)) : NULL;
    return k ? k + 1 : NULL;
}

/* ---- order of maps -------------------------------------------------------------------------------- */

struct pair {
    struct val key, value;
};

static int pair_cmp(const void *a, const void *b)
{
    return str_cmp(val_text(&((const struct pair *)a)->key), val_text(&((const struct pair *)b)->key));
}

/* Merge sort from the bottom up: stable, so that the last of equal keys stays last. */
static void sort_pairs(struct pair *p, uint32_t n)
{
    CLEANUP_FREE char *room = xmalloc((size_t)n * sizeof(*p));
    struct pair *from = p, *to = (struct pair *)(void *)room;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * run) {
            size_t mid = MIN(lo + run, (size_t)n), hi = MIN(lo + 2 * run, (size_t)n), i = lo, j = mid;
            for (size_t k = lo; k < hi; k++)
                to[k] = i < mid && (j == hi || pair_cmp(&from[i], &from[j]) <= 0) ? from[i++] : from[j++];
        }
        struct pair *other = from;
        from = to;
        to = other;
    }
    if (from != p)
        memcpy(p, from, (size_t)n * sizeof(*p));
}

static bool ascending(const struct pair *p, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (pair_cmp(&p[i - 1], &p[i]) >= 0)
            return false;
    return true;
}

uint32_t val_sort_pairs(struct val *pairs, uint32_t n, void (*twice)(void *arg, struct str key), void *arg)
{
    struct pair *p = (struct pair *)pairs;
    if (ascending(p, n))
        return n;
    sort_pairs(p, n);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i + 1 < n && pair_cmp(&p[i], &p[i + 1]) == 0) {
            if (twice)
                twice(arg, val_text(&p[i].key));
            continue;
        }
        p[kept++] = p[i];
    }
    return kept;
}
