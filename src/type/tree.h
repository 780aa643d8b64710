/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A persistent ordered map from keys ("ns/name") to objects: a new version shares all but the changed path
 * with the old one, so a snapshot is a pointer (D9). Nodes and objects are reference-counted; a tree may be
 * read and released by any thread.
 */
#pragma once

#include "type/object.h"

struct tree; /* NULL is the empty tree */

struct tree *tree_ref(const struct tree *t);
struct tree *tree_unref(struct tree *t);
/* Takes the reference of t, gives a reference to the new version. o is referenced by the tree. */
struct tree *tree_put(struct tree *t, struct str key, const struct object *o);
struct tree *tree_del(struct tree *t, struct str key);
const struct object *tree_get(const struct tree *t, struct str key);
size_t tree_count(const struct tree *t);
size_t tree_count_from(const struct tree *t, struct str from); /* entries with key >= from */

/* Walks keys >= from, in order: for (tree_seek(&it, t, from); it.object; tree_next(&it)). The tree must stay
 * referenced while the iterator is in use. */
struct tree_iter {
    const struct tree *stack[64];
    int depth;
    struct str key;
    const struct object *object;
};
void tree_seek(struct tree_iter *it, const struct tree *t, struct str from);
void tree_next(struct tree_iter *it);
/* All entries of a namespace (keys "ns/..."); ns empty: all. */
#define TREE_EACH(t, ns, it)                                                                                 \
    for (struct tree_iter it = tree_begin_ns((t), (ns)); tree_in_ns(&it, (ns)); tree_next(&it))
struct tree_iter tree_begin_ns(const struct tree *t, struct str ns);
bool tree_in_ns(const struct tree_iter *it, struct str ns);
