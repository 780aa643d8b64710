/* SPDX-License-Identifier: Apache-2.0 */
/* Getting a pod the volumes that were planned for it: volumes are bound to claims, claims told their node,
 * and then waited for until whoever makes volumes has made them and the binder has bound them. */
#pragma once

#include "base/fiber.h"
#include "client/replica.h"
#include "scheduler/volumes.h"

struct volume_work {
    struct client *client;
    struct replica *replica;
    struct waitq *moved; /* woken when a claim or volume changed */
    const struct object *pod;
    struct str node;
    int64_t timeout_ns;
};

/* 0: all are bound. Positive: it failed, with a sentence; the pod is to be scheduled anew. -ECANCELED. */
int volumes_bind(const struct volume_work *w, const struct volume_plan *plan, struct arena *a, struct err *e);
