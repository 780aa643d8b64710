/* SPDX-License-Identifier: Apache-2.0 */
/* Writing down what claims of devices were given, before their pod is bound, and waiting for devices that are
 * attached to a node first (KEP-5007). */
#pragma once

#include "base/fiber.h"
#include "scheduler/claims.h"

struct client;
struct replica;
struct status;

struct claim_work {
    struct client *client;
    struct replica *replica;
    struct waitq *moved; /* woken when a claim changed */
    const struct object *pod;
};

/* 0: made, allocated and reserved for the pod, and seen by the replica. Positive: it failed, with a sentence. -ECANCELED.
 * Claims that were made are noted in the plan. */
int claims_bind(const struct claim_work *w, struct claim_plan *plan, struct arena *a, struct err *e);
/* Waits until the devices' conditions are met. Likewise. */
int claims_wait_ready(const struct claim_work *w, const struct claim_plan *plan, struct err *e);
/* The pod goes elsewhere: its reservations are taken back. */
void claims_unreserve(const struct claim_work *w, const struct claim_plan *plan, struct arena *a);
/* A claim that nobody uses gives its devices back; one that was made for extended resources goes. 0, or what the server
 * said. */
int claim_deallocate(struct client *client, const struct object *claim, struct arena *a, struct status *s);
