/* SPDX-License-Identifier: Apache-2.0 */
/* What the server keeps between requests. Private to this folder. */
#pragma once

#include "apiserver/cache.h"
#include "apiserver/metrics.h"
#include "apiserver/request.h"
#include "apiserver/server.h"
#include "auth/jwt.h"
#include "auth/x509.h"
#include "base/map.h"
#include "net/http.h"

struct admit_plugin;
struct admit_settings;
struct service_alloc;
struct rbac_index;
struct auth_state;
struct usage_state;
struct custom_state;
struct peers;
struct aggregate;
struct dynamic_state;
struct audit;
struct flow_control;
struct encryption;

enum { IN_FLIGHT_READ, IN_FLIGHT_WRITE, IN_FLIGHT_KINDS };

enum { HEALTH_CHECKS = 16, HEALTH_KINDS = 3 };
struct health_row {
    uint64_t looks[2]; /* failed, passed */
    bool last;
};

struct apiserver {
    struct apiserver_config config;
    struct store *store;
    struct cache *cache;
    struct http_server *http;
    struct tls_server *tls;
    struct group fibers;
    bool ready, stopping;
    bool winding_down; /* no longer ready: the end has begun */
    bool refusing;     /* new requests are told to come back */
    struct mono started;

    /* who */
    struct x509_pool *front_proxy_ca;
    struct jwt_keys sa_keys;
    struct jwt_key *sa_sign;
    const char *sa_issuer; /* whose tokens are made; the first of those that are taken */
    struct flag_texts {
        char **items; /* malloc'd, NULL-terminated */
    } sa_issuers, sa_audiences, front_proxy_names;
    struct auth_state *auth; /* auth_state.h */
    struct rbac_index *rbac;
    struct custom_state *custom; /* custom.h */
    struct client *self;         /* the server's own requests */

    /* towards nodes */
    struct tls_client *kubelet_tls;
    struct http_client *kubelet;
    struct http_client *outside; /* pods and services */
    struct usage_state *usage;   /* usage.h; NULL until somebody asks */
    struct peers *peers;         /* peers.h; NULL until one is called */
    struct str proxy_cert, proxy_key; /* PEM, malloc'd: who we are to extension servers; empty for nobody */
    struct aggregate *aggregate; /* aggregate.h */
    struct dynamic_state *dynamic;    /* dynamic.h */

    struct admit_settings *admit_config;   /* admit_config.h; NULL: no file */
    const struct admit_plugin **plugins; /* those that are on, in order; NULL-terminated */
    struct service_alloc *services;
    struct map quota_locks; /* quota_lock.h, by namespace */

    unsigned in_flight[IN_FLIGHT_KINDS], in_queue[IN_FLIGHT_KINDS];
    unsigned watches;
    bool trimming; /* of stacks; verb_watch.c */
    struct waitq idle_q; /* woken when a request has ended */
    struct metrics metrics;
    struct health_row checks[HEALTH_CHECKS][HEALTH_KINDS];
    struct encryption *encryption; /* encryption.h; NULL: everything is stored plain */
    struct flow_control *flow; /* flow.h; NULL: no priority and fairness */
    struct audit *audit; /* audit.h; NULL: none */
    char instance[40]; /* uid of this process, for discovery and the identity lease */

    /* texts made once, at the first request for them */
    struct arena pages_arena;
    struct map pages;
};

void flag_texts_set(struct flag_texts *t, const char *list); /* by commas; NULL: none */
void flag_texts_done(struct flag_texts *t);

static inline struct cache_kind *state_kind(const struct apiserver *s, uint16_t res)
{
    return cache_kind(s->cache, &resources[res]);
}
