/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deployments: replica sets of successive templates, scaled against each other within maxSurge and
 * maxUnavailable. deployment.c decides what happens, deployment_sets.c handles its replica sets (revision,
 * scale, history), deployment_status.c says how far it has come.
 */
#pragma once

#include "controllers/engine.h"

extern const struct controller deployment_controller;

/* ---- between the files of this controller ------------------------------------------------------------ */

/* A replica set of the deployment, and what becomes of it in this reconcile. */
struct depset {
    const struct object *object; /* NULL when it is being made */
    struct str name;
    struct val *edit; /* its new form once something changed; NULL */
    int64_t replicas; /* wanted, as of now in this reconcile */
    int64_t stored;   /* wanted, as stored; 0 for a new one */
    int64_t actual, ready, available, observed, generation;
    const struct val *status;
    struct wall created;
};

struct rollout {
    const struct snapshot *world;
    const struct object *deployment;
    const struct val *spec;
    struct writes *w;
    struct wall now;
    struct depset *sets; /* all, oldest first; the new one among them */
    size_t n_sets;
    struct depset *newest; /* the one with the deployment's template; NULL: none */
    int64_t wanted, max_surge, max_unavailable;
    bool rolling;
    struct val *conditions; /* of the status to be, ours */
    struct str revision;    /* annotation to be; empty: as it is */
    int64_t collisions;     /* -1: none counted yet */
};

/* deployment_sets.c */
bool same_template(const struct val *a, const struct val *b); /* but for the hash label */
void rollout_find_newest(struct rollout *r);
/* Brings revision and annotations of the newest set up to date, or makes it (when create). */
void rollout_sync_newest(struct rollout *r, bool create);
/* Wants n replicas of the set. force: also when only its annotations are old. Returns whether the number
 * changed. */
bool rollout_scale_set(struct rollout *r, struct depset *s, int64_t n, bool force);
/* The deployment's own number changed (or it is paused): all its sets follow in proportion. */
void rollout_scale_in_proportion(struct rollout *r);
bool rollout_is_scaling(const struct rollout *r);
int64_t rollout_new_replicas(const struct rollout *r, int64_t newest_now);
void rollout_clean_up_history(struct rollout *r);
void rollout_write_sets(struct rollout *r); /* what was changed above, with its events */
int64_t rollout_total(const struct rollout *r);
int64_t rollout_available(const struct rollout *r);
bool rollout_is_old(const struct rollout *r, const struct depset *s);
/* Its create was refused: takes notice of collisions and errors. */
void rollout_create_refused(struct rollout *r, const struct write *w, const struct status *why);

/* deployment_status.c */
void rollout_set_condition(struct rollout *r, const char *type, const char *status, const char *reason,
                           const char *fmt, ...) PRINTF(5, 6);
const struct val *rollout_condition(const struct rollout *r, const char *type);
bool rollout_has_deadline(const struct rollout *r);
/* estimate: also judge progress (Progressing condition). Written when it differs from what is stored. */
void rollout_write_status(struct rollout *r, bool estimate);
bool rollout_was_complete(const struct rollout *r); /* by the stored status */
