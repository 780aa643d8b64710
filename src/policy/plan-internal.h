/* SPDX-License-Identifier: Apache-2.0 */
/* Between plan.c (who belongs where), plan_rules.c (chains) and plan_text.c (what the kernel is told). */
#pragma once

#include "base/map.h"
#include "policy/plan.h"

/* ---- what the kernel holds ----------------------------------------------------------------------------- */

/* An element of a set or map. Wanted and held apart, so that what goes and comes back costs nothing. */
struct elem {
    struct kset *set;
    struct str key;       /* the map's copy */
    unsigned to, held_to; /* maps: number of the stack it leads to; sets: 0 */
    bool wanted, held, dirty;
};

struct kset {
    char name[24];
    const char *type; /* "ipv4_addr" */
    bool is_map, held;
    struct map elems; /* key -> struct elem * */
    struct elem **dirty;
    size_t n_dirty, cap_dirty;
};

struct chain {
    char name[24];
    char *body; /* rules, a line each */
    bool held, dirty;
};

/* ---- what it is made of -------------------------------------------------------------------------------- */

/* A set that policies name: of a selection of pods, or of a named port. */
struct members {
    struct arena arena;
    struct str id;
    unsigned number, users; /* policies */
    bool is_port;
    struct selection pods;
    struct str port_name;
    const char *protocol;
    struct kset sets[FAMILIES];
};

struct policy {
    unsigned number;
    const struct object *object;
    struct arena arena; /* of spec */
    struct policy_spec spec;
    struct members **uses;
    size_t n_uses;
    struct chain chains[DIRECTIONS];
};

/* The chain of all pods that are under the same policies. */
struct stack {
    struct str id; /* "0:3,17": direction and numbers */
    unsigned number, users;
    struct chain chain;
};

struct space {
    struct str name;
    const struct object *object; /* NULL: no Namespace of that name */
    struct map pods, policies;   /* by name */
};

struct pod {
    struct str key; /* "ns/name" */
    struct space *space;
    const struct object *object;
    struct str placed; /* addresses that the runtime gave; malloc'd */
    struct address **addresses;
    size_t n_addresses;
    struct elem **elems; /* those that are wanted for its sake */
    size_t n_elems, cap_elems;
    struct stack *stacks[DIRECTIONS];
};

/* Who has an address: a pod that is going and one that has come may both say so for a moment. */
struct address {
    struct str text;
    enum family family;
    struct pod **claims;
    size_t n_claims;
    struct pod *owner;
};

struct plan {
    char *node_name;
    struct map spaces, pods, addresses, members, stacks;
    size_t n_policies;
    unsigned next_number;
    struct kset known[FAMILIES], self[FAMILIES], maps[DIRECTIONS][FAMILIES];
    struct chain guard;
    const struct object *node;
    bool held; /* the kernel has the table */
    struct buf dead_chains, dead_sets; /* names that the kernel still has, a line each */
    bool dirty;
    bool closing;
};

/* plan_text.c */
void kset_init(struct kset *s, const char *type, bool is_map, const char *fmt, ...) PRINTF(4, 5);
void kset_drop(struct plan *p, struct kset *s); /* frees; the kernel is told when it has it */
struct elem *kset_want(struct plan *p, struct kset *s, struct str key, unsigned to);
void elem_unwant(struct plan *p, struct elem *e);
void chain_set(struct plan *p, struct chain *c, struct buf *body); /* takes the text */
void chain_drop(struct plan *p, struct chain *c);

/* plan_rules.c */
/* Sets are named by number for the kernel, by what they mean (plain) for people and tests. */
void policy_rules(const struct plan *p, const struct policy_spec *s, enum direction d, bool plain, struct buf *b);
void guard_rules(const struct plan *p, struct buf *b);
struct str members_id(struct arena *a, const struct peer *peer);
struct str port_id(struct arena *a, const char *protocol, struct str name);
