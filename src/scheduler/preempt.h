/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pods of lower priority must go so that this one fits (upstream's DefaultPreemption). Pure, though it lifts pods
 * from the table while it tries; the table is as it was when it returns.
 */
#pragma once

#include "scheduler/decide.h"

struct preemption {
    int node;               /* -1: no node */
    struct needs **victims; /* in the arena */
    size_t n_victims, n_violations; /* PodDisruptionBudgets that would be violated */
    size_t n_unhelpful, n_no_victims; /* nodes by why not, for the message */
};

/* budgets: PodDisruptionBudget values. */
void preempt_find(const struct world *w, struct needs *pod, const struct val *const *budgets, size_t n_budgets,
                  struct arena *a, struct preemption *ret);
/* "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, ..." */
struct str preemption_message(struct arena *a, const struct preemption *p, size_t n_nodes);
/* May it take others' places at all? */
bool preempt_allowed(const struct world *w, const struct needs *pod);
