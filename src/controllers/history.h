/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The past and present templates of a StatefulSet or DaemonSet, kept as ControllerRevisions: each holds a
 * strategic merge patch that puts its template back. Names, labels and data are upstream's (those of a
 * DaemonSet's names are a hash of ours), so that either controller goes on with the other's. All pure.
 */
#pragma once

#include "controllers/pods.h"
#include "type/selector.h"

struct revision {
    const struct object *object; /* NULL: made or renumbered in this reconcile and not seen yet */
    struct str name, hash;       /* hash: of the label that tells a DaemonSet's pods apart */
    struct str data;             /* the patch, compact JSON */
    int64_t number;
    struct wall created;
    bool going; /* being deleted */
};

struct history {
    const struct snapshot *world;
    const struct object *owner;
    struct writes *w;
    struct revision *items; /* oldest first; room for one more */
    size_t n;
    int64_t collisions; /* of names; -1: none counted yet */
    bool counts_always; /* the count is part of the hash even when there is none (StatefulSet) */
};

/* {"spec":{"template":{"$patch":"replace",...}}}, members sorted. */
struct str history_data(struct arena *a, const struct val *template);
/* The owner's revisions: adopts what the selector takes. */
void history_load(struct history *h, const struct snapshot *world, const struct object *owner,
                  const struct selector *selector, struct writes *w);
struct revision *history_find(const struct history *h, struct str name);
/* The youngest one that stands for that template; NULL: none. The newest may have been written with other
 * defaults. */
struct revision *history_of(const struct history *h, const struct val *template);
int64_t history_next_number(const struct history *h);
/* Makes one, under a name that nobody has; or takes the one of that name when it says the same. */
struct revision *history_make(struct history *h, struct str data, int64_t number);
/* It is the newest again (rollback). */
void history_renumber(struct history *h, struct revision *r, int64_t number);
/* The template that a revision puts back; NULL when its data makes no sense. */
const struct val *history_template(const struct history *h, const struct revision *r);
/* Deletes the oldest of those that nobody needs until `limit` of them are left. */
typedef bool revision_is_live(void *arg, const struct revision *r);
void history_truncate(struct history *h, int64_t limit, revision_is_live *is_live, void *arg);
