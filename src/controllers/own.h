/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership by controller references: who owns what, adoption of orphans that the selector matches, release
 * of what it no longer matches (controllerRef design). All pure. */
#pragma once

#include "controllers/pods.h"
#include "type/selector.h"

/* The selector of a workload: a LabelSelector, or the plain map of a ReplicationController. 0 or -EINVAL. */
int owner_selector(struct arena *a, const struct object *owner, struct selector *ret);

/* The children of that kind that the owner has after adoption and release, which are added to w. active_only:
 * pods that have finished or are being deleted are left out (and alone). */
void claim_children(const struct snapshot *world, const struct resource *child_res,
                    const struct object *owner, const struct selector *selector, bool active_only,
                    struct writes *w, struct objects *ret);
/* The same where belonging takes more than labels (a StatefulSet's pods have its name): who is no member is
 * neither taken nor kept. */
typedef bool is_member_fn(const struct object *owner, const struct object *child);
void claim_members(const struct snapshot *world, const struct resource *child_res, const struct object *owner,
                   const struct selector *selector, is_member_fn *is_member, struct writes *w,
                   struct objects *ret);
/* The same for pods of any state, which get a finalizer with the reference and lose it on release. */
void claim_tracked_pods(const struct snapshot *world, const struct object *owner,
                        const struct selector *selector, const char *finalizer, struct writes *w,
                        struct objects *ret);
/* Those it has by reference now and the selector matches; nothing is written. */
void owned_children(const struct snapshot *world, const struct resource *child_res, struct arena *a,
                    struct str ns, struct str uid, struct objects *ret);

/* keys_of for children: the owner they had, the owner they have; of an orphan, every owner that would take
 * it. */
void keys_of_owners(const struct snapshot *world, const struct resource *owner_res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg);
/* The owner (of that kind, with that uid) that controls the object; NULL when there is none. */
const struct object *controlling_owner(const struct snapshot *world, const struct resource *owner_res,
                                       const struct object *o);
