/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network between parts and the API server, as clients feel it: calls and watches of a part go over a road that
 * delays, loses and cuts them, to whichever incarnation of the server is up. Behind it stands the server's in-process
 * client (apiserver/local.h), so nothing is encoded; everything else is as over a network: a lost answer leaves the
 * caller in doubt, the server goes on with a request whose caller has vanished, and a server that dies takes its
 * requests and watches with it.
 */
#pragma once

#include "base/fiber.h"
#include "client/client.h"

struct apiserver;

/* Where a server is reached. At most one incarnation is up at a time. Zero-initialised is down. */
struct server_slot {
    struct apiserver *server; /* NULL: down */
    unsigned generation;      /* of the server; counts up with each */
    struct list clients, watches;
    struct group requests;    /* being handled by the server */
    unsigned inside;          /* fibers within the server's own code on behalf of a watch */
    struct waitq left;
    /* Told of every write that a caller was told of as done. May be NULL. */
    void (*acknowledged)(void *arg, uint16_t verb, const struct call *call, const struct val *answer);
    void *arg;
};
void slot_up(struct server_slot *slot, struct apiserver *server);
/* Nothing of this server's is in use any more when it returns: requests are cancelled, watches are broken. What uses a
 * client without a road must have ended before. */
void slot_down(struct server_slot *slot);

/* Between one machine and the server. All fields may change at any time; call road_changed after mending. */
struct road {
    bool cut;                   /* nothing gets through, in either direction; nobody is told */
    unsigned loss;              /* of requests, of answers, and of watches at each event: per million */
    int64_t delay_min_ns, delay_max_ns;
    struct waitq mended;
};
void road_set_cut(struct road *r, bool cut);

enum { ROAD_TIMEOUT_SECONDS = 10 }; /* how long a call waits on a cut road before it gives up */

/* road NULL: the same process as the server; nothing is delayed or lost, the callers die with the server. user and groups
 * as for local_client_new; all texts must outlive the client. */
struct client *client_faulty_new(struct server_slot *slot, struct road *road, const char *name, const char *user,
                                 const char *const *groups);
