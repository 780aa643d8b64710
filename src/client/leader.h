/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leader election by a Lease (client-go's leaderelection, KEP-589 leases): of several programs that want to
 * do the same work one does it. How old a claim is is measured by one's own clock from when it was last seen
 * to change, so clocks of different machines need not agree.
 */
#pragma once

#include "base/fiber.h"
#include "client/client.h"

struct leader_config {
    struct client *client;
    const char *ns, *name; /* of the Lease: "kube-system", "kube-scheduler" */
    const char *identity;  /* who we are; NULL: host name and a random part */
    int64_t lease_ns;      /* 0: 15 s; how long a claim holds without being renewed */
    int64_t renew_ns;      /* 0: 10 s; how long we try to renew before we stop */
    int64_t retry_ns;      /* 0: 2 s */
    const char *component; /* of the events; NULL: name */
};

/* Waits for leadership, then runs work until it returns, leadership is lost (-EPIPE with a sentence: end the
 * program) or this fiber is cancelled (the claim is then given up at once). Returns what work returned. */
int leader_run(const struct leader_config *config, int (*work)(void *arg, struct err *e), void *arg,
               struct err *e);

/* ---- the decision, pure ------------------------------------------------------------------------------ */

enum leader_step { LEADER_CREATE, LEADER_TAKE, LEADER_RENEW, LEADER_WAIT };
/* lease: what is there (NULL: nothing); seen: when it was last seen to change. */
enum leader_step leader_decide(const struct val *lease, struct str identity, struct mono seen,
                               int64_t lease_ns, struct mono now);
/* The Lease as it shall be after the step. */
struct val *leader_claim(struct arena *a, enum leader_step step, const struct val *lease,
                         const struct leader_config *c, struct str identity, struct wall now);

/* on: a bool; l: a struct leader_config. */
#define LEADER_FLAGS(on, l)                                                                                  \
    {"leader-elect", 0, FLAG_BOOL, (on), "of several, only one works (true)"},                               \
        {"leader-elect-lease-duration", 0, FLAG_DURATION, &(l)->lease_ns,                                    \
         "how long a leader holds without renewing (15s)"},                                                  \
        {"leader-elect-renew-deadline", 0, FLAG_DURATION, &(l)->renew_ns, "how long it tries to renew (10s)"}, \
        {"leader-elect-retry-period", 0, FLAG_DURATION, &(l)->retry_ns, "time between tries (2s)"},          \
        {"leader-elect-resource-name", 0, FLAG_STRING, &(l)->name, "name of the lease"},                     \
        {"leader-elect-resource-namespace", 0, FLAG_STRING, &(l)->ns, "its namespace"},                      \
        {"leader-elect-resource-lock", 0, FLAG_IGNORED, NULL, NULL}
