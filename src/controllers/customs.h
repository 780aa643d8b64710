/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The custom kinds that the cluster has, for controllers that read every kind: what CustomResourceDefinitions say becomes
 * resources that the replica follows, each in one served version. Kinds come and go; one that went is kept for a while
 * without objects, so that what its objects owned can be looked at.
 */
#pragma once

#include "client/replica.h"
#include "resources.h"

struct customs;

struct customs *customs_new(struct replica *r);
void customs_free(struct customs *c); /* after the replica; NULL is fine */
/* Follows what the definitions in the replica ask for, and no more. Waits. */
void customs_look(struct customs *c, struct mono now);

/* What of a definition is followed; pure. NULL: nothing (yet). */
const struct val *customs_version(const struct val *crd);

static inline bool is_custom(const struct resource *res)
{
    return res->index >= n_resources;
}
/* Custom kinds of a snapshot: `slot` is a `const struct snapshot_slot *`. */
#define EACH_CUSTOM(world, slot)                                                                             \
    for (const struct snapshot_slot *slot = (world)->slots; slot < (world)->slots + (world)->n; slot++)      \
        if (is_custom(slot->res))
/* The custom kind of a snapshot, in whatever version it is followed; one that went when there is no other; or NULL. */
const struct resource *customs_find(const struct snapshot *world, struct str group, struct str kind);
const struct resource *customs_at(const struct snapshot *world, uint64_t index);
