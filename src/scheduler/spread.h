/* SPDX-License-Identifier: Apache-2.0 */
/* PodTopologySpread and InterPodAffinity: what depends on where other pods are. Counted once a pod, read once a node. */
#pragma once

#include "scheduler/decide.h"

struct spread;
struct spread *spread_new(const struct world *w, struct needs *pod, struct arena *a);
void spread_done(struct spread *s);
bool spread_hard(const struct spread *s);          /* has constraints that filter */
bool spread_soft(const struct spread *s);          /* has constraints that score */
struct str spread_filter(const struct spread *s, int node, bool *ret_resolvable); /* STR_NULL: fits */
void spread_score(const struct spread *s, const int *nodes, size_t n, int64_t *ret); /* normalised, 0 to 100 */

struct affinity;
struct affinity *affinity_new(const struct world *w, struct needs *pod, struct arena *a);
void affinity_done(struct affinity *f);
bool affinity_filters(const struct affinity *f);
bool affinity_scores(const struct affinity *f);
struct str affinity_filter(const struct affinity *f, int node, bool *ret_resolvable);
void affinity_score(const struct affinity *f, const int *nodes, size_t n, int64_t *ret);
