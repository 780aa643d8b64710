/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A weight-balanced binary tree with path copying (Hirai and Yamamoto's balance, delta 3 and ratio 2). A node
 * that nobody else holds is changed in place, so filling a tree copies nothing.
 */
#include "type/tree.h"

#include <stdatomic.h>

struct tree {
    _Atomic uint32_t refs;
    uint32_t count; /* entries of the subtree */
    struct tree *left, *right;
    const struct object *object;
    uint32_t key_n;
    char key[];
};

enum { DELTA = 3, RATIO = 2 };

static struct str node_key(const struct tree *t)
{
    return str_n(t->key, t->key_n);
}

size_t tree_count(const struct tree *t)
{
    return t ? t->count : 0;
}

struct tree *tree_ref(const struct tree *t)
{
    struct tree *own = (struct tree *)(uintptr_t)t;
    if (own)
        atomic_fetch_add_explicit(&own->refs, 1, memory_order_relaxed);
    return own;
}

struct tree *tree_unref(struct tree *t)
{
    while (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
        struct tree *right = t->right;
        tree_unref(t->left);
        object_unref((struct object *)(uintptr_t)t->object);
        free(t);
        t = right;
    }
    return NULL;
}

static void recount(struct tree *t)
{
    t->count = (uint32_t)(tree_count(t->left) + tree_count(t->right) + 1);
}

static struct tree *node_new(struct str key, const struct object *o)
{
    struct tree *t = xmalloc(sizeof(*t) + key.n + 1);
    *t = (struct tree){.refs = 1, .count = 1, .object = object_ref(o), .key_n = (uint32_t)key.n};
    if (key.n)
        memcpy(t->key, key.p, key.n);
    t->key[key.n] = 0;
    return t;
}

/* The node itself when it is ours alone, else a copy of it; takes the reference of t. */
static struct tree *own(struct tree *t)
{
    if (atomic_load_explicit(&t->refs, memory_order_acquire) == 1)
        return t;
    struct tree *copy = node_new(node_key(t), t->object);
    copy->left = tree_ref(t->left);
    copy->right = tree_ref(t->right);
    copy->count = t->count;
    tree_unref(t);
    return copy;
}

/* ---- balance: all nodes given are ours ----------------------------------------------------------------- */

static struct tree *rotate_left(struct tree *t)
{
    struct tree *r = t->right = own(t->right);
    t->right = r->left;
    r->left = t;
    recount(t);
    recount(r);
    return r;
}

static struct tree *rotate_right(struct tree *t)
{
    struct tree *l = t->left = own(t->left);
    t->left = l->right;
    l->right = t;
    recount(t);
    recount(l);
    return l;
}

static size_t weight(const struct tree *t)
{
    return tree_count(t) + 1;
}

static struct tree *balance(struct tree *t)
{
    if (weight(t->right) > DELTA * weight(t->left)) {
        t->right = own(t->right);
        if (weight(t->right->left) >= RATIO * weight(t->right->right))
            t->right = rotate_right(t->right);
        return rotate_left(t);
    }
    if (weight(t->left) > DELTA * weight(t->right)) {
        t->left = own(t->left);
        if (weight(t->left->right) >= RATIO * weight(t->left->left))
            t->left = rotate_left(t->left);
        return rotate_right(t);
    }
    recount(t);
    return t;
}

/* ---- changing ------------------------------------------------------------------------------------------ */

struct tree *tree_put(struct tree *t, struct str key, const struct object *o)
{
    if (!t)
        return node_new(key, o);
    t = own(t);
    int c = str_cmp(key, node_key(t));
    if (c == 0) {
        const struct object *old = t->object;
        t->object = object_ref(o);
        object_unref((struct object *)(uintptr_t)old);
        return t;
    }
    if (c < 0)
        t->left = tree_put(t->left, key, o);
    else
        t->right = tree_put(t->right, key, o);
    return balance(t);
}

/* Takes the first node out of t: *ret_first, ours, without children. */
static struct tree *take_first(struct tree *t, struct tree **ret_first)
{
    t = own(t);
    if (!t->left) {
        struct tree *rest = TAKE_PTR(t->right);
        recount(t);
        *ret_first = t;
        return rest;
    }
    t->left = take_first(t->left, ret_first);
    return balance(t);
}

static struct tree *del_here(struct tree *t)
{
    struct tree *left = TAKE_PTR(t->left), *right = TAKE_PTR(t->right);
    tree_unref(t);
    if (!left || !right)
        return left ? left : right;
    struct tree *first = NULL;
    right = take_first(right, &first);
    first->left = left;
    first->right = right;
    return balance(first);
}

static struct tree *del(struct tree *t, struct str key)
{
    t = own(t);
    int c = str_cmp(key, node_key(t));
    if (c == 0)
        return del_here(t);
    if (c < 0)
        t->left = del(t->left, key);
    else
        t->right = del(t->right, key);
    return balance(t);
}

struct tree *tree_del(struct tree *t, struct str key)
{
    return tree_get(t, key) ? del(t, key) : t;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

const struct object *tree_get(const struct tree *t, struct str key)
{
    while (t) {
        int c = str_cmp(key, node_key(t));
        if (c == 0)
            return t->object;
        t = c < 0 ? t->left : t->right;
    }
    return NULL;
}

size_t tree_count_from(const struct tree *t, struct str from)
{
    size_t n = 0;
    while (t) {
        if (str_cmp(from, node_key(t)) <= 0) {
            n += tree_count(t->right) + 1;
            t = t->left;
        } else {
            t = t->right;
        }
    }
    return n;
}

/* The stack holds the nodes that are still to come, the next one on top. */
static void iter_top(struct tree_iter *it)
{
    const struct tree *t = it->depth ? it->stack[it->depth - 1] : NULL;
    it->key = t ? node_key(t) : STR_NULL;
    it->object = t ? t->object : NULL;
}

/* As str_cmp(from + "/", key). */
static int cmp_with_slash(struct str from, struct str key)
{
    int c = str_cmp(from, str_slice(key, 0, from.n));
    if (c || key.n <= from.n)
        return c ? c : 1;
    c = '/' - (unsigned char)key.p[from.n];
    return c ? c : -(key.n > from.n + 1);
}

static void seek(struct tree_iter *it, const struct tree *t, struct str from,
                 int (*cmp)(struct str, struct str))
{
    it->depth = 0;
    while (t) {
        if (cmp(from, node_key(t)) <= 0) {
            it->stack[it->depth++] = t;
            t = t->left;
        } else {
            t = t->right;
        }
    }
    iter_top(it);
}

void tree_seek(struct tree_iter *it, const struct tree *t, struct str from)
{
    seek(it, t, from, str_cmp);
}

void tree_next(struct tree_iter *it)
{
    if (it->depth) {
        const struct tree *t = it->stack[--it->depth]->right;
        for (; t; t = t->left)
            it->stack[it->depth++] = t;
    }
    iter_top(it);
}

static bool key_in_ns(struct str key, struct str ns)
{
    return !ns.n || (key.n > ns.n && key.p[ns.n] == '/' && str_starts(key, ns));
}

/* Straight to "ns/": the entries of "ns-x" sort before it and may be many. */
struct tree_iter tree_begin_ns(const struct tree *t, struct str ns)
{
    struct tree_iter it;
    seek(&it, t, ns, ns.n ? cmp_with_slash : str_cmp);
    return it;
}

bool tree_in_ns(const struct tree_iter *it, struct str ns)
{
    return it->object && key_in_ns(it->key, ns);
}
