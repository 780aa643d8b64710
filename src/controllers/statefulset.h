/* SPDX-License-Identifier: Apache-2.0 */
/*
 * StatefulSets: pods with a number, and so with a name, a host name and claims that outlive them.
 * statefulset.c decides what becomes of which pod and in what order, statefulset_pods.c makes and mends pods,
 * statefulset_claims.c their claims.
 */
#pragma once

#include "controllers/engine.h"

extern const struct controller statefulset_controller;

/* ---- between the files of this controller ------------------------------------------------------------ */

#include "controllers/history.h"

/* One of the set's pods, there or to be made. */
struct place {
    const struct object *pod; /* NULL: to be made */
    int64_t ordinal;
    struct str name, revision;
    const struct val *template; /* of one to be made */
};

struct stateful {
    const struct snapshot *world;
    const struct object *set;
    const struct val *spec;
    struct wall now;
    struct writes *w;
    struct writes with_claims; /* pods whose claims are made in this reconcile: they come last */
    struct history history;
    struct revision *current, *update;
    const struct val *current_template;
    struct objects pods;     /* all that are its own */
    struct place *places;    /* those wanted, by ordinal */
    struct place *condemned; /* those too many, the highest ordinal first */
    size_t n_places, n_condemned;
    const struct object *first_unavailable;
    int64_t start, wanted, min_ready;
    int64_t updating; /* deleted in this reconcile to be made anew */
    bool ordered;     /* one after another */
};

/* statefulset_pods.c */
/* The number at the end of the name of a pod of the set; -1: it is none of its pods. */
int64_t stateful_ordinal(const struct object *set, struct str pod_name);
struct str stateful_revision(const struct object *pod);
/* A place made for an ordinal without a pod: by which revision it will be made. */
void stateful_plan(struct stateful *s, struct place *p);
/* Makes the pod and what is missing of its claims. False when a claim is in its way. */
bool stateful_make(struct stateful *s, const struct place *p);
void stateful_delete(struct stateful *s, const struct place *p);
/* Gives a pod its identity and its claims their owners back. */
void stateful_mend(struct stateful *s, const struct place *p);

/* statefulset_claims.c */
struct str claim_name(struct stateful *s, const struct val *claim_template, int64_t ordinal);
/* One of them is still another pod's and will go. */
bool claims_stale(struct stateful *s, const struct place *p);
/* Makes the missing ones. Returns how many; -1 with a name when one is being deleted. */
int claims_make(struct stateful *s, const struct place *p, struct str *ret_going);
/* Sets who owns the claims, as persistentVolumeClaimRetentionPolicy says. Returns whether anything was
 * written. */
bool claims_mend_owners(struct stateful *s, const struct place *p);
void keys_of_claim(const struct snapshot *world, const struct object *old, const struct object *new_,
                   key_sink *sink, void *arg);
