/* SPDX-License-Identifier: Apache-2.0 */
/* What controllers ask about pods, and how they make them. All pure. */
#pragma once

#include "controllers/engine.h"
#include "base/time.h"

/* A growing array in an arena: what was found in the world. */
struct objects {
    const struct object **items;
    size_t n, cap;
};
void objects_add(struct arena *a, struct objects *o, const struct object *x);

struct str pod_phase(const struct val *pod);
bool pod_finished(const struct val *pod); /* Succeeded or Failed */
/* Finished, or on its way out with nothing of it running any more. */
bool pod_is_over(const struct val *pod);
bool pod_active(const struct val *pod);   /* neither finished nor being deleted */
bool pod_ready(const struct val *pod);
/* Ready for at least so many seconds. */
bool pod_available(const struct val *pod, int64_t min_ready_seconds, struct wall now);
/* How long until the next of the ready pods becomes available; 0 when there is none to wait for. */
int64_t pods_next_available(const struct objects *pods, int64_t min_ready_seconds, struct wall now);

/* Is there nothing new about a pod for those who count pods: labels, owner, node, phase, readiness, being
 * deleted? Either may be NULL. */
bool pods_alike(const struct object *old, const struct object *new_);

/* The order in which superfluous pods go: the first is the first to be deleted. related: pods whose being on
 * the same node makes a pod more dispensable (those of all replica sets of one deployment). */
void pods_rank_for_deletion(struct objects *pods, const struct objects *related, struct wall now,
                            struct arena *a);

/* A pod from a template (PodTemplateSpec) for a controlling owner. */
struct val *pod_from_template(struct arena *a, const struct val *template, const struct resource *owner_res,
                              const struct object *owner);
/* Events about pods made and deleted on behalf of an owner. */
extern const struct telling pod_create_telling, pod_delete_telling;
void writes_create_pod(struct writes *w, const struct val *template, const struct object *owner);
void writes_delete_pod(struct writes *w, const struct object *pod, const struct object *owner);
