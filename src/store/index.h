/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store knows in memory: every key in order, with the versions that are still kept and where in the
 * log each of them lies. Values stay on disk. Pure: no file, no clock.
 *
 * A key lives in one of two trees. `live` has every key with a version somebody may still read. `graves` has
 * keys that are deleted and forgotten while a put of theirs still lies in some segment: their tombstone must
 * stay in the log, or the next start would bring the key back. `copies` counts those puts exactly, so
 * tombstones go when, and only when, nothing needs them.
 */
#pragma once

#include "base/str.h"

struct item {
    int64_t modified, created;
    uint32_t version; /* 0: this is a deletion */
    uint32_t off;     /* of the operation in its segment */
    uint32_t len;     /* of the value */
    uint16_t slot;    /* of the segment */
    uint16_t sub;     /* place in its transaction */
};

struct node {
    struct item *older; /* ascending; all but the newest */
    uint32_t n_older, cap_older;
    uint32_t copies; /* puts of this key in the log, needed or not */
    uint32_t key_len;
    struct item last; /* the newest */
    char key[];
};

static inline struct str node_key(const struct node *n)
{
    return (struct str){n->key, n->key_len};
}

/* ---- an ordered set of nodes: a sorted array of sorted leaves ----------------------------------------- */

enum { LEAF_NODES = 128 };
struct leaf {
    uint32_t n;
    struct node *nodes[LEAF_NODES];
};
struct tree {
    struct leaf **leaves;
    size_t n_leaves, cap_leaves;
    size_t n;         /* nodes */
    uint64_t changes; /* of the set of nodes; a cursor is good while this stays the same */
};
struct cursor {
    size_t leaf, at;
};

struct node *btree_find(const struct tree *t, struct str key);
void btree_insert(struct tree *t, struct node *n); /* the key is not there */
void btree_remove(struct tree *t, const struct node *n);
struct cursor btree_seek(const struct tree *t, struct str from,
                         bool after);                         /* at the first key >= from, or > from */
struct node *btree_at(const struct tree *t, struct cursor c); /* NULL at the end */
struct cursor btree_next(const struct tree *t, struct cursor c);

/* ---- the index ---------------------------------------------------------------------------------------- */

struct index {
    struct tree live, graves;
    uint64_t *used; /* by slot: bytes of operations that are needed */
    size_t n_slots;
    size_t keys;  /* not deleted, newest version (durable or not) */
    size_t bytes; /* of memory, roughly */
};

void index_done(struct index *ix);
uint64_t index_used(const struct index *ix, uint16_t slot);

/* The version of a key at a revision, or NULL; deletions are versions too. */
const struct item *node_at(const struct node *n, int64_t revision);
/* The version made by exactly this revision, or NULL; *ret_before (may be NULL) the one before it, or NULL.
 */
const struct item *node_exact(const struct node *n, int64_t revision, const struct item **ret_before);
/* The newest version if it is not a deletion. */
static inline const struct item *node_current(const struct node *n)
{
    return n && n->last.version ? &n->last : NULL;
}

/* A new newest version. The item's version number and creation are filled in by the caller. */
struct node *index_push(struct index *ix, struct str key, const struct item *it);
/* Takes the newest version back. */
void index_pop(struct index *ix, struct str key, int64_t compacted);
/* A version found while opening, in any order; the later found of two equal ones counts. */
void index_replay(struct index *ix, struct str key, const struct item *it, int64_t compacted);
void index_replay_end(struct index *ix);
/* Drops what no reader after `compacted` can see. The node may be gone afterwards. */
void index_prune(struct index *ix, struct node *n, int64_t compacted);
/* Whether the version at this place is needed: by readers, or as a tombstone. */
bool index_needs(const struct index *ix, struct str key, int64_t modified, uint16_t slot, uint32_t off);
/* It lies elsewhere now. Counts a further copy (added true) or takes that back. */
void index_move(struct index *ix, struct str key, int64_t modified, uint16_t slot, uint32_t off, bool added);
/* A put of this key is about to vanish with its segment. */
void index_forget_copy(struct index *ix, struct str key);
