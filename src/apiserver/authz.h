/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The authorizers in their order (KEP-3221), by --authorization-mode or --authorization-config. A chain is immutable and
 * counted: a request that waits for a webhook keeps the one that it began with.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

struct apiserver;
struct apiserver_config;
struct authz_webhook;
struct abac;

enum authz_kind { AUTHZ_NODE, AUTHZ_RBAC, AUTHZ_ALWAYS_ALLOW, AUTHZ_ALWAYS_DENY, AUTHZ_ABAC, AUTHZ_WEBHOOK, AUTHZ_KINDS };

struct authorizer {
    enum authz_kind kind;
    const char *name; /* in the arena of the chain; metrics and explanations have it */
    struct authz_webhook *webhook; /* AUTHZ_WEBHOOK */
    uint64_t allowed, denied;
};

struct authz_chain {
    unsigned refs;
    struct arena arena;
    struct authorizer *items;
    size_t n;
    struct abac *abac;
    bool selectors; /* somebody looks at what a list is restricted to */
};

extern const char *const authz_kind_names[AUTHZ_KINDS];

/* was: the chain whose kinds must all be there again, but for webhooks; NULL at the start. */
int authz_load(const struct apiserver_config *c, const struct authz_chain *was, struct authz_chain **ret, struct err *e);
struct authz_chain *authz_ref(struct authz_chain *c);
void authz_unref(struct authz_chain *c); /* NULL is fine */
bool authz_chain_has(const struct authz_chain *c, enum authz_kind kind);
/* Is it among the server's? */
bool authz_has(const struct apiserver *s, enum authz_kind kind);
