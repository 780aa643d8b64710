/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams in bulk: threads with sockets of their own at the same addresses (SO_REUSEPORT), which take and send many at
 * a time. What they answer from must not change meanwhile: udp_lock() stops them between two batches, so that the loop
 * may change it. A question that must wait is handed to the loop. The real world only (base/os.h).
 */
#pragma once

#include "base/err.h"
#include "dns/message.h"
#include "base/time.h"

struct udp_server;

enum udp_verdict { UDP_SEND, UDP_DROP, UDP_DEFER };

struct udp_question {
    struct str wire;
    unsigned worker;
    uint16_t port; /* it came to */
    bool v6;
    uint64_t random;
    struct mono now;
};
/* In a thread of ours, under its lock. The answer is reply->out. */
typedef enum udp_verdict udp_answer(void *ctx, const struct udp_question *q, struct dns_reply *reply);

struct udp_config {
    const char *const *addresses; /* "10.96.0.10:53", "[::1]:53" */
    size_t n;
    unsigned threads;
    udp_answer *answer;
    void *ctx;
};

/* One reference, the caller's. */
int udp_start(const struct udp_config *c, struct udp_server **ret, struct err *e);
void udp_stop(struct udp_server *s); /* ends the threads; waits for the batch at hand */
void udp_unref(struct udp_server *s); /* the last closes the sockets; NULL is fine */

void udp_lock(struct udp_server *s);
void udp_unlock(struct udp_server *s);

/* A question that the loop has to answer. It holds a reference of the server. */
struct udp_deferred {
    struct udp_deferred *next;
    struct udp_server *server;
    char peer[64], local[64]; /* "10.0.0.1"; local: what was asked */
    uint16_t peer_port, port;
    struct buf wire;
    struct udp_way *way; /* back: private */
};
/* Waits for the next, to be freed with udp_deferred_free; -ECANCELED. */
int udp_next_deferred(struct udp_server *s, struct udp_deferred **ret);
void udp_send(const struct udp_deferred *d, struct str wire);
void udp_deferred_free(struct udp_deferred *d);
