/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question through the plug-ins of its server block, in CoreDNS' order: dns64, any, chaos, rewrite, autopath, acl,
 * template, hosts, kubernetes, loop, cache, forward, whoami. Several threads may ask at once as long as nobody may wait.
 */
#pragma once

#include "dns/config.h"

struct chain {
    struct config *config;
    const struct zone *zone;
    bool ready;           /* the zone is whole: before that nothing of it is answered */
    char loop_name[64];   /* what `loop` sends around; empty: nothing */
    unsigned loop_seen;
    bool looped;          /* questions to the world come back to us: nothing is forwarded */
    /* Asks the world for what the cache holds, for later. NULL: nobody does. */
    void (*refresh)(void *ctx, const struct block *b, const struct dns_query *q);
    void *ctx;
};

struct chain_ask {
    const struct dns_query *q;
    uint16_t port;        /* that it came to */
    const char *peer;     /* who asks: "10.0.0.1"; only when it may wait */
    uint16_t peer_port;
    const char *local;    /* the address that was asked; NULL: not known. Only when it may wait */
    bool tcp, v6, may_wait;
    size_t limit;         /* bytes that the asker takes */
    uint64_t random;
    struct mono now;
};

enum chain_outcome {
    CHAIN_ANSWERED, /* the message is ret->out */
    CHAIN_WAIT,     /* ask again where waiting is allowed */
    CHAIN_DROP,     /* no answer at all */
};
int chain_answer(struct chain *c, const struct chain_ask *a, struct dns_reply *ret);
/* An answer without records. */
void chain_fail(const struct dns_query *q, size_t limit, enum dns_code code, struct dns_reply *ret);
/* Asks the world and keeps the answer: what `refresh` is to have done, in a fiber. */
void chain_fetch(struct chain *c, const struct block *b, const struct dns_query *q);
