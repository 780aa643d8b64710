/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 6902, with what clients of upstream's server are used to: negative indices count from the end, and
 * `replace` of a member that is not there adds it.
 */
#include "type/patch-internal.h"

#include "wire/value-internal.h"

struct job {
    struct arena *arena;
    struct val *doc;
    size_t copied;
};

/* ---- paths (RFC 6901) ---------------------------------------------------------------------------------- */

static struct str unescape(struct arena *a, struct str part)
{
    if (str_find(part, '~') < 0)
        return part;
    char *text = arena_bytes(a, part.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < part.n; i++) {
        char c = part.p[i];
        if (c == '~' && i + 1 < part.n && (part.p[i + 1] == '0' || part.p[i + 1] == '1'))
            c = part.p[++i] == '1' ? '/' : '~';
        text[n++] = c;
    }
    return str_n(text, n);
}

/* An index of an array of n items, or -1. */
static ssize_t index_of(struct str key, size_t n)
{
    int64_t i;
    if (str_to_i64(key, &i) != 0)
        return -1;
    if (i < 0)
        i += (int64_t)n;
    return i >= 0 && i < (int64_t)n ? (ssize_t)i : -1;
}

static struct val *child(struct val *v, struct str key)
{
    if (v->kind == VAL_MAP)
        return (struct val *)(uintptr_t)val_key(v, key);
    ssize_t i = v->kind == VAL_LIST ? index_of(key, v->n) : -1;
    return i >= 0 ? &v->items[i] : NULL;
}

struct spot {
    struct val *parent; /* MAP or LIST */
    struct str key;
    unsigned depth; /* of what stands there */
};

static bool find(struct job *j, struct str path, struct spot *ret)
{
    struct spot at = {.parent = j->doc, .depth = 1};
    struct str rest, part;
    if (!path.n || !str_cut(path, '/', &part, &rest))
        return false;
    for (;;) {
        bool more = str_cut(rest, '/', &part, &rest);
        at.key = unescape(j->arena, part);
        if (!more)
            break;
        at.parent = child(at.parent, at.key);
        if (!at.parent || !val_is_container(at.parent))
            return false;
        at.depth++;
    }
    *ret = at;
    return val_is_container(at.parent);
}

/* ---- changing what is at a spot ------------------------------------------------------------------------ */

static unsigned depth_of(const struct val *v)
{
    unsigned deepest = 0;
    size_t n = val_is_container(v) ? (size_t)v->n * val_stride(v) : 0;
    for (size_t i = 0; i < n; i++)
        deepest = MAX(deepest, depth_of(&v->items[i]));
    return deepest + 1;
}

static bool insert(struct job *j, struct val *list, struct str key, struct val v)
{
    ssize_t i = str_is(key, "-") ? (ssize_t)list->n : index_of(key, (size_t)list->n + 1);
    if (i < 0)
        return false;
    val_add(j->arena, list, v);
    memmove(&list->items[i + 1], &list->items[i], (list->n - 1 - (size_t)i) * sizeof(v));
    list->items[i] = v;
    return true;
}

/* Moves can stack what each was small: the whole must not become deeper than what a decoder takes. */
static bool add(struct job *j, const struct spot *at, struct val v)
{
    if (at->depth + depth_of(&v) > WIRE_MAX_DEPTH)
        return false;
    v.flags &= (uint8_t)~VAL_GROWABLE;
    if (at->parent->kind == VAL_LIST)
        return insert(j, at->parent, at->key, v);
    val_put(j->arena, at->parent, at->key, v);
    return true;
}

static bool remove_at(const struct spot *at)
{
    if (at->parent->kind == VAL_MAP)
        return val_unput(at->parent, at->key);
    ssize_t i = index_of(at->key, at->parent->n);
    if (i >= 0)
        val_remove(at->parent, (size_t)i);
    return i >= 0;
}

/* ---- operations ---------------------------------------------------------------------------------------- */

static struct val value_of(const struct val *op)
{
    const struct val *v = val_key(op, STR("value"));
    return v ? *v : (struct val){.kind = VAL_NULL};
}

static bool text_of(const struct val *op, struct str name, struct str *ret)
{
    const struct val *v = val_key(op, name);
    if (!val_is(v, VAL_STR))
        return false;
    *ret = val_str(v);
    return true;
}

static bool op_add(struct job *j, const struct val *op, struct str path)
{
    struct spot at;
    return find(j, path, &at) && add(j, &at, value_of(op));
}

static bool op_remove(struct job *j, const struct val *op, struct str path)
{
    struct spot at;
    return find(j, path, &at) && remove_at(&at);
}

static bool op_replace(struct job *j, const struct val *op, struct str path)
{
    struct spot at;
    struct val v = value_of(op);
    if (!path.n) {
        *j->doc = v;
        return val_is_container(&v);
    }
    if (!find(j, path, &at) || at.depth + depth_of(&v) > WIRE_MAX_DEPTH)
        return false;
    if (at.parent->kind == VAL_MAP)
        return add(j, &at, v);
    struct val *there = child(at.parent, at.key);
    if (there)
        *there = v;
    return there != NULL;
}

static bool op_move(struct job *j, const struct val *op, struct str path)
{
    struct spot from, to;
    struct str from_path;
    if (!text_of(op, STR("from"), &from_path) || !find(j, from_path, &from))
        return false;
    const struct val *there = child(from.parent, from.key);
    if (!there)
        return false;
    struct val v = *there;
    return remove_at(&from) && find(j, path, &to) && add(j, &to, v);
}

static size_t json_size(const struct val *v)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    json_encode(&b, NULL, v, 0);
    return b.n;
}

static bool op_copy(struct job *j, const struct val *op, struct str path)
{
    struct spot from, to;
    struct str from_path;
    if (!text_of(op, STR("from"), &from_path) || !find(j, from_path, &from) || !find(j, path, &to))
        return false;
    const struct val *there = child(from.parent, from.key);
    if (!there)
        return from.parent->kind == VAL_MAP && add(j, &to, (struct val){.kind = VAL_NULL});
    j->copied += json_size(there);
    return j->copied <= PATCH_MAX_COPIED && add(j, &to, *val_copy(j->arena, there));
}

static bool op_test(struct job *j, const struct val *op, struct str path)
{
    struct spot at;
    struct val want = value_of(op);
    if (!path.n)
        return val_same(j->doc, &want);
    if (!find(j, path, &at))
        return false;
    const struct val *have = child(at.parent, at.key);
    if (!have && at.parent->kind == VAL_LIST)
        return false;
    return val_same(have, &want);
}

static const struct {
    const char *name;
    bool (*run)(struct job *j, const struct val *op, struct str path);
} operations[] = {
    {"add", op_add},   {"remove", op_remove}, {"replace", op_replace},
    {"move", op_move}, {"copy", op_copy},     {"test", op_test},
};

static bool run(struct job *j, const struct val *op)
{
    struct str name, path;
    if (!text_of(op, STR("op"), &name) || !text_of(op, STR("path"), &path))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
        if (str_is(name, operations[i].name))
            return operations[i].run(j, op, path);
    return false;
}

int patch_json_untyped(struct arena *a, const struct type *t, struct val *doc, struct val *patch,
                       struct val **ret, struct status *s)
{
    struct job j = {.arena = a, .doc = doc};
    if (patch->kind != VAL_LIST)
        return status_bad_request(
            s, "error decoding patch: json: cannot unmarshal into Go value of type jsonpatch.Patch");
    VAL_EACH (patch, op)
        if (op->kind != VAL_MAP)
            return status_bad_request(s, "error decoding patch: json: cannot unmarshal into Go value of type "
                                         "jsonpatch.Operation");
    if (patch->n > PATCH_MAX_OPERATIONS)
        return status_set(s, 413, "RequestEntityTooLarge",
                          "The allowed maximum operations in a JSON patch is %d, got %u",
                          PATCH_MAX_OPERATIONS, patch->n);
    VAL_EACH (patch, op)
        if (!run(&j, op))
            return patch_refused(s);
    *ret = j.doc;
    return 0;
}
