/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index.h"

#include "store/frame.h"

/* ---- tree --------------------------------------------------------------------------------------------- */

/* The last leaf whose first key is <= key, or the first leaf. */
static size_t find_leaf(const struct tree *t, struct str key)
{
    size_t low = 0, high = t->n_leaves;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(node_key(t->leaves[middle]->nodes[0]), key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The place of the first node >= key in a leaf. */
static size_t find_in_leaf(const struct leaf *l, struct str key, bool *ret_equal)
{
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = str_cmp(node_key(l->nodes[middle]), key);
        if (c == 0) {
            *ret_equal = true;
            return middle;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_equal = false;
    return low;
}

struct node *btree_find(const struct tree *t, struct str key)
{
    if (!t->n_leaves)
        return NULL;
    const struct leaf *l = t->leaves[find_leaf(t, key)];
    bool equal;
    size_t i = find_in_leaf(l, key, &equal);
    return equal ? l->nodes[i] : NULL;
}

static struct leaf *leaf_insert_after(struct tree *t, size_t place)
{
    if (t->n_leaves == t->cap_leaves) {
        t->cap_leaves = MAX(t->cap_leaves * 2, (size_t)16);
        t->leaves = xrealloc(t->leaves, t->cap_leaves * sizeof(*t->leaves));
    }
    memmove(t->leaves + place + 1, t->leaves + place, (t->n_leaves - place) * sizeof(*t->leaves));
    t->n_leaves++;
    return t->leaves[place] = NEW(struct leaf);
}

/* Halves a full leaf; keys that arrive in order leave full leaves behind instead. */
static void leaf_split(struct tree *t, size_t at, bool appending)
{
    struct leaf *left = t->leaves[at], *right = leaf_insert_after(t, at + 1);
    uint32_t keep = appending ? LEAF_NODES - 1 : LEAF_NODES / 2;
    right->n = left->n - keep;
    memcpy(right->nodes, left->nodes + keep, right->n * sizeof(right->nodes[0]));
    left->n = keep;
}

void btree_insert(struct tree *t, struct node *n)
{
    t->changes++;
    t->n++;
    if (!t->n_leaves)
        leaf_insert_after(t, 0);
    size_t leaf = find_leaf(t, node_key(n));
    bool equal;
    size_t at = find_in_leaf(t->leaves[leaf], node_key(n), &equal);
    if (t->leaves[leaf]->n == LEAF_NODES) {
        leaf_split(t, leaf, at == LEAF_NODES);
        if (at > t->leaves[leaf]->n) {
            at -= t->leaves[leaf]->n;
            leaf++;
        }
    }
    struct leaf *l = t->leaves[leaf];
    memmove(l->nodes + at + 1, l->nodes + at, (l->n - at) * sizeof(l->nodes[0]));
    l->nodes[at] = n;
    l->n++;
}

static void leaf_remove(struct tree *t, size_t at)
{
    free(t->leaves[at]);
    t->n_leaves--;
    memmove(t->leaves + at, t->leaves + at + 1, (t->n_leaves - at) * sizeof(*t->leaves));
}

/* Keeps leaves from staying nearly empty: joins one with the next when both fit well into one. */
static void leaf_join(struct tree *t, size_t at)
{
    if (at + 1 >= t->n_leaves)
        return;
    struct leaf *l = t->leaves[at], *next = t->leaves[at + 1];
    if (l->n + next->n > LEAF_NODES / 2)
        return;
    memcpy(l->nodes + l->n, next->nodes, next->n * sizeof(l->nodes[0]));
    l->n += next->n;
    leaf_remove(t, at + 1);
}

void btree_remove(struct tree *t, const struct node *n)
{
    size_t leaf = find_leaf(t, node_key(n));
    struct leaf *l = t->leaves[leaf];
    bool equal;
    size_t at = find_in_leaf(l, node_key(n), &equal);
    ASSERT(equal && l->nodes[at] == n);
    t->changes++;
    t->n--;
    l->n--;
    memmove(l->nodes + at, l->nodes + at + 1, (l->n - at) * sizeof(l->nodes[0]));
    if (!l->n)
        leaf_remove(t, leaf);
    else if (l->n < LEAF_NODES / 4) {
        leaf_join(t, leaf);
        if (leaf)
            leaf_join(t, leaf - 1);
    }
}

struct cursor btree_seek(const struct tree *t, struct str from, bool after)
{
    if (!t->n_leaves)
        return (struct cursor){0, 0};
    struct cursor c = {.leaf = find_leaf(t, from)};
    bool equal;
    c.at = find_in_leaf(t->leaves[c.leaf], from, &equal) + (equal && after);
    if (c.at == t->leaves[c.leaf]->n)
        c = (struct cursor){c.leaf + 1, 0};
    return c;
}

struct node *btree_at(const struct tree *t, struct cursor c)
{
    return c.leaf < t->n_leaves ? t->leaves[c.leaf]->nodes[c.at] : NULL;
}

struct cursor btree_next(const struct tree *t, struct cursor c)
{
    if (++c.at == t->leaves[c.leaf]->n)
        c = (struct cursor){c.leaf + 1, 0};
    return c;
}

/* ---- versions of a key -------------------------------------------------------------------------------- */

/* How many older versions are at or before a revision. */
static uint32_t older_until(const struct node *n, int64_t revision)
{
    uint32_t low = 0, high = n->n_older;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (n->older[middle].modified <= revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct item *node_at(const struct node *n, int64_t revision)
{
    if (n->last.modified <= revision)
        return &n->last;
    uint32_t k = older_until(n, revision);
    return k ? &n->older[k - 1] : NULL;
}

const struct item *node_exact(const struct node *n, int64_t revision, const struct item **ret_before)
{
    uint32_t k = n->n_older;
    const struct item *it = &n->last;
    if (it->modified != revision) {
        k = older_until(n, revision);
        if (!k || n->older[k - 1].modified != revision)
            return NULL;
        it = &n->older[--k];
    }
    if (ret_before)
        *ret_before = k ? &n->older[k - 1] : NULL;
    return it;
}

/* ---- accounts ----------------------------------------------------------------------------------------- */

static void account(struct index *ix, const struct node *n, const struct item *it, bool add)
{
    if (it->slot >= ix->n_slots) {
        size_t want = it->slot + 16u;
        ix->used = xrealloc(ix->used, want * sizeof(*ix->used));
        memset(ix->used + ix->n_slots, 0, (want - ix->n_slots) * sizeof(*ix->used));
        ix->n_slots = want;
    }
    uint64_t size = op_size(n->key_len, it->len);
    ix->used[it->slot] += add ? size : -size;
}

uint64_t index_used(const struct index *ix, uint16_t slot)
{
    return slot < ix->n_slots ? ix->used[slot] : 0;
}

static struct node *node_new(struct index *ix, struct str key)
{
    struct node *n = xmalloc(sizeof(*n) + key.n);
    memset(n, 0, sizeof(*n));
    n->key_len = (uint32_t)key.n;
    memcpy(n->key, key.p, key.n);
    ix->bytes += sizeof(*n) + key.n + 24; /* with its place in a leaf and malloc's own */
    return n;
}

static void node_free(struct index *ix, struct node *n)
{
    ix->bytes -= sizeof(*n) + n->key_len + 24 + n->cap_older * sizeof(struct item);
    free(n->older);
    free(n);
}

static void older_reserve(struct index *ix, struct node *n)
{
    if (n->n_older < n->cap_older)
        return;
    uint32_t cap = MAX(n->cap_older * 2, 2u);
    ix->bytes += (cap - n->cap_older) * sizeof(struct item);
    n->older = xrealloc(n->older, cap * sizeof(struct item));
    n->cap_older = cap;
}

/* Forgets the oldest k versions. */
static void older_drop(struct index *ix, struct node *n, uint32_t k)
{
    if (!k)
        return;
    for (uint32_t i = 0; i < k; i++)
        account(ix, n, &n->older[i], false);
    n->n_older -= k;
    memmove(n->older, n->older + k, n->n_older * sizeof(struct item));
    if (!n->n_older) {
        ix->bytes -= n->cap_older * sizeof(struct item);
        free(n->older);
        n->older = NULL;
        n->cap_older = 0;
    }
}

static struct node *find_any(const struct index *ix, struct str key, bool *ret_grave)
{
    struct node *n = btree_find(&ix->live, key);
    *ret_grave = false;
    if (!n && (n = btree_find(&ix->graves, key)))
        *ret_grave = true;
    return n;
}

static void bury(struct index *ix, struct node *n, bool keep)
{
    btree_remove(&ix->live, n);
    if (keep) {
        btree_insert(&ix->graves, n);
        return;
    }
    account(ix, n, &n->last, false);
    node_free(ix, n);
}

static void prune(struct index *ix, struct node *n, int64_t compacted, bool opening)
{
    if (n->last.modified > compacted) {
        uint32_t k = older_until(n, compacted);
        older_drop(ix, n, k ? k - 1 : 0);
        return;
    }
    older_drop(ix, n, n->n_older);
    if (!n->last.version)
        bury(ix, n, n->copies > 0 || opening);
}

void index_prune(struct index *ix, struct node *n, int64_t compacted)
{
    prune(ix, n, compacted, false);
}

/* ---- writing ------------------------------------------------------------------------------------------ */

/* The key's node in `live`, dug up from its grave or made anew (then without any version). */
static struct node *node_for(struct index *ix, struct str key, bool *ret_new)
{
    bool grave;
    struct node *n = find_any(ix, key, &grave);
    *ret_new = !n;
    if (!n)
        n = node_new(ix, key);
    else if (!grave)
        return n;
    else
        btree_remove(&ix->graves, n);
    btree_insert(&ix->live, n);
    return n;
}

struct node *index_push(struct index *ix, struct str key, const struct item *it)
{
    bool fresh;
    struct node *n = node_for(ix, key, &fresh);
    ix->keys += (it->version != 0) - (!fresh && n->last.version != 0);
    if (!fresh) {
        older_reserve(ix, n);
        n->older[n->n_older++] = n->last;
    }
    n->last = *it;
    n->copies += it->version != 0;
    account(ix, n, it, true);
    return n;
}

void index_pop(struct index *ix, struct str key, int64_t compacted)
{
    struct node *n = btree_find(&ix->live, key);
    ASSERT(n);
    account(ix, n, &n->last, false);
    n->copies -= n->last.version != 0;
    ix->keys -= n->last.version != 0;
    if (!n->n_older) {
        btree_remove(&ix->live, n);
        node_free(ix, n);
        return;
    }
    n->last = n->older[--n->n_older];
    ix->keys += n->last.version != 0;
    index_prune(ix, n, compacted);
}

void index_replay(struct index *ix, struct str key, const struct item *it, int64_t compacted)
{
    bool fresh;
    struct node *n = node_for(ix, key, &fresh);
    n->copies += it->version != 0;
    account(ix, n, it, true);
    struct item *same = fresh ? NULL : (struct item *)node_exact(n, it->modified, NULL);
    if (fresh) {
        n->last = *it;
    } else if (same) {
        account(ix, n, same, false);
        *same = *it;
    } else {
        older_reserve(ix, n);
        uint32_t at = n->last.modified < it->modified ? n->n_older : older_until(n, it->modified);
        memmove(n->older + at + 1, n->older + at, (n->n_older - at) * sizeof(struct item));
        n->n_older++;
        n->older[at] = *it;
        if (at == n->n_older - 1 && n->last.modified < it->modified) {
            n->older[at] = n->last;
            n->last = *it;
        }
    }
    prune(ix, n, compacted, true);
}

static void count_keys(struct index *ix)
{
    struct node *n;
    ix->keys = 0;
    for (struct cursor c = {0}; (n = btree_at(&ix->live, c)); c = btree_next(&ix->live, c))
        ix->keys += n->last.version != 0;
}

/* Tombstones were kept for puts that might have come later in the log; now it is known whether any did. */
void index_replay_end(struct index *ix)
{
    struct tree old = ix->graves;
    ix->graves = (struct tree){0};
    for (size_t i = 0; i < old.n_leaves; i++) {
        for (uint32_t k = 0; k < old.leaves[i]->n; k++) {
            struct node *n = old.leaves[i]->nodes[k];
            if (n->copies) {
                btree_insert(&ix->graves, n);
                continue;
            }
            account(ix, n, &n->last, false);
            node_free(ix, n);
        }
        free(old.leaves[i]);
    }
    free(old.leaves);
    count_keys(ix);
}

/* ---- cleaning ----------------------------------------------------------------------------------------- */

static struct item *find_item(const struct index *ix, struct str key, int64_t modified, struct node **ret)
{
    bool grave;
    struct node *n = find_any(ix, key, &grave);
    *ret = n;
    return n ? (struct item *)node_exact(n, modified, NULL) : NULL;
}

bool index_needs(const struct index *ix, struct str key, int64_t modified, uint16_t slot, uint32_t off)
{
    struct node *n;
    const struct item *it = find_item(ix, key, modified, &n);
    return it && it->slot == slot && it->off == off;
}

void index_move(struct index *ix, struct str key, int64_t modified, uint16_t slot, uint32_t off, bool added)
{
    struct node *n;
    struct item *it = find_item(ix, key, modified, &n);
    if (!it)
        return; /* pruned meanwhile */
    account(ix, n, it, false);
    it->slot = slot;
    it->off = off;
    account(ix, n, it, true);
    if (it->version)
        n->copies += added ? 1 : -1u;
}

void index_forget_copy(struct index *ix, struct str key)
{
    bool grave;
    struct node *n = find_any(ix, key, &grave);
    if (!n || !n->copies || --n->copies || !grave)
        return;
    btree_remove(&ix->graves, n);
    account(ix, n, &n->last, false);
    node_free(ix, n);
}

static void btree_done(struct index *ix, struct tree *t)
{
    for (size_t i = 0; i < t->n_leaves; i++) {
        for (uint32_t k = 0; k < t->leaves[i]->n; k++)
            node_free(ix, t->leaves[i]->nodes[k]);
        free(t->leaves[i]);
    }
    free(t->leaves);
    *t = (struct tree){0};
}

void index_done(struct index *ix)
{
    btree_done(ix, &ix->live);
    btree_done(ix, &ix->graves);
    free(ix->used);
    *ix = (struct index){0};
}
