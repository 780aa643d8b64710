/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of field paths, as managedFields hold them (FieldsV1): a trie whose elements are kept in the very text they have
 * there: "f:name" of a field or map entry, `k:{"name":"c"}` of an item found by its keys, `v:"x"` of an item that is its
 * own key. An element may be a member of the set itself, and may have more below it.
 *
 * Everything lives in an arena; a set that was returned shares parts with those it was made of and is not changed again.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include "base/err.h"

struct fieldset;

struct fieldset_item {
    struct str elem;
    bool member;
    struct fieldset *below; /* NULL: nothing */
};
struct fieldset {
    struct fieldset_item *items; /* by elem */
    uint32_t n, cap;
};

struct fieldset *fieldset_new(struct arena *a);
/* The set below an element, made when there is none. */
struct fieldset *fieldset_into(struct arena *a, struct fieldset *s, struct str elem);
/* Puts a path into the set; elements are not copied. */
void fieldset_add(struct arena *a, struct fieldset *s, const struct str *path, size_t n);

/* All readers accept NULL for the empty set. */
bool fieldset_empty(const struct fieldset *s);
bool fieldset_has(const struct fieldset *s, struct str elem);
bool fieldset_has_path(const struct fieldset *s, const struct str *path, size_t n);
const struct fieldset *fieldset_below(const struct fieldset *s, struct str elem);
bool fieldset_equal(const struct fieldset *a, const struct fieldset *b);

struct fieldset *fieldset_union(struct arena *a, const struct fieldset *x, const struct fieldset *y);
/* Paths of x that are not in y; what lies below a path of y stays. */
struct fieldset *fieldset_minus(struct arena *a, const struct fieldset *x, const struct fieldset *y);
/* The same, but what lies below goes as well. */
struct fieldset *fieldset_without(struct arena *a, const struct fieldset *x, const struct fieldset *y);
struct fieldset *fieldset_common(struct arena *a, const struct fieldset *x, const struct fieldset *y);

/* Calls visit with each path as people read it: .spec.containers[name="c"].image */
typedef void fieldset_visit(void *arg, const struct str *path, size_t n);
void fieldset_each(const struct fieldset *s, fieldset_visit *visit, void *arg);
void fieldset_path_text(struct buf *b, const struct str *path, size_t n);

/* FieldsV1 text and back. -EINVAL with a sentence for what is no set. */
int fieldset_decode(struct arena *a, struct str json, struct fieldset **ret, struct err *e);
void fieldset_encode(struct buf *b, const struct fieldset *s);

enum { FIELDSET_DEPTH = 128 };
