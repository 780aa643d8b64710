/* SPDX-License-Identifier: Apache-2.0 */
/* Private to dns/: the server's parts among themselves. */
#pragma once

#include "base/fiber.h"
#include "dns/chain.h"
#include "dns/dns.h"
#include "dns/udp.h"

enum { MAX_BLOCKS = 16, MAX_LISTEN = 16, MAX_TYPES = 12, MAX_THREADS = 4, CODES = 17, BUCKETS = 16 };

/* Counters of one thread; others only read them. */
struct tally {
    uint64_t requests[MAX_BLOCKS][2][2][MAX_TYPES]; /* block, TCP, IPv6, type */
    uint64_t responses[MAX_BLOCKS][CODES];
    uint64_t buckets[MAX_BLOCKS][BUCKETS + 1], nanoseconds[MAX_BLOCKS];
    uint64_t dropped;
};
#define TALLY_ADD(counter, by) __atomic_store_n(&(counter), (counter) + (by), __ATOMIC_RELAXED)

/* Where questions may come. */
struct place {
    const char *address; /* "10.96.0.10:53" */
    uint16_t port;
    bool over_tls;
};

struct server {
    const struct dns_config *conf;
    struct chain chain;
    struct zone *zone;
    struct group fibers, deferred; /* deferred: those that take questions from the threads */
    struct udp_server *udp;
    struct tcp_listener {
        struct server *server;
        int fd;
        uint16_t port;
        bool over_tls;
    } tcp[MAX_LISTEN];
    size_t n_tcp;
    struct group accepting;
    unsigned tcp_connections;
    struct map tcp_peers; /* address -> how many of them */
    struct str hosts[MAX_LISTEN], own[MAX_LISTEN]; /* where we listen; of these, addresses that are only ours */
    size_t n_hosts, n_own;
    uint16_t port;
    struct replica *objects, *pods, *maps; /* NULL: not followed */
    struct waitq map_changed;
    struct mono last_error; /* said by `errors` */
    uint64_t errors_unsaid;
    char *listening; /* what udp and tcp listen on, to see whether a new Corefile changes it */
    struct http_service *http;
    struct tally tallies[MAX_THREADS + 1]; /* the last is the loop's */
    uint64_t reloads_failed, tried; /* tried: the hash of the text that was last put to use, or could not be */
    unsigned refreshes; /* under way */
    bool stopping;
    struct arena arena;
};

/* One answered question, for metrics and log. */
struct answered {
    const struct dns_query *q;
    uint16_t port;
    bool tcp, v6;
    size_t question_bytes;
    struct str answer; /* empty: none was sent */
    int64_t nanoseconds;
    const char *peer;
    uint16_t peer_port;
};
void tally_answer(const struct server *s, struct tally *t, const struct answered *a);
/* `log` and `errors` of its block. The loop only. */
void log_answer(struct server *s, const struct answered *a);

void dns_metrics(const struct server *s, struct buf *b);

/* health, ready and prometheus, at the addresses that the configuration names. What cannot be had is logged. */
void http_services_start(struct server *s);
void http_services_stop(struct server *s);

/* TCP, or TLS; -errno with a sentence. */
int tcp_start(struct server *s, const struct place *at, struct err *e);
/* Answers where waiting is allowed, with metrics and log; false: nothing shall be sent. */
bool answer_on_loop(struct server *s, const struct chain_ask *a, size_t question_bytes, struct dns_reply *ret);

/* A Corefile's text put to use; what was used before stays on failure. */
int config_load(struct server *s, const char *name, struct str text, struct err *e);
/* Finds the first Corefile, and with that one follows its source; waits until cancelled. */
int config_first(struct server *s, struct err *e);
int config_follow(struct server *s, struct err *e);
