/* SPDX-License-Identifier: Apache-2.0 */
/* The store as a naive list of everything that ever happened, to compare the real one with; and random work
 * for both. */
#pragma once

#include "store/store.h"

struct model_event {
    int64_t modified, created, version; /* version 0: deleted */
    char *key, *value;
};
struct model {
    struct model_event *events; /* by revision */
    size_t n, cap;
    int64_t revision; /* the latest that anybody has seen */
    int64_t compacted;
    uint64_t random;
    bool lazy;    /* work includes lazy writes */
    bool uniform; /* all writes look the same: leftovers of lost ones fit exactly behind later ones */
};

uint64_t model_random(struct model *m, uint64_t below);
void model_done(struct model *m);
struct model model_copy(const struct model *m);
/* The last event of a key at a revision, or NULL. */
const struct model_event *model_at(const struct model *m, const char *key, int64_t rev);
void model_add(struct model *m, const char *key, const char *value, int64_t rev);
void model_truncate(struct model *m, int64_t rev); /* later events never happened */

/* A random transaction. Keys and values live until the next call with the same t. */
enum { MODEL_OPS = 4, MODEL_KEYS = 40 };
struct model_txn {
    struct store_op ops[MODEL_OPS];
    size_t n;
    char keys[MODEL_OPS][32];
    char values[MODEL_OPS][4000];
};
void model_txn_make(struct model *m, struct model_txn *t);
/* What the store should answer, and what then is: 0 or STORE_CONFLICT. effect: whether it makes a revision.
 */
int model_txn_expect(const struct model *m, const struct model_txn *t, bool *ret_effect);
void model_txn_apply(struct model *m, const struct model_txn *t, int64_t rev);

/* Whether the store at a revision is what the model was at `rev`; why not, in words, in b. */
bool model_same(const struct model *m, struct store *s, int64_t at, int64_t rev, struct buf *b);
/* Whether the store's events after a revision are the model's up to `rev`. */
bool model_same_events(const struct model *m, struct store *s, int64_t after, int64_t rev, struct buf *b);
