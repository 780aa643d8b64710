/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RBAC: pure evaluation of rbac.authorization.k8s.io/v1 objects. What is asked is a struct rbac_request;
 * where roles and bindings come from is the caller's (a snapshot of the watch cache) through struct
 * rbac_world.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "wire/value.h"

struct rbac_user {
    struct str name;
    const struct str *groups;
    size_t n_groups;
};

struct rbac_request {
    struct rbac_user user;
    struct str verb;
    bool resource_request;
    struct str group, resource, subresource, name, namespace; /* resource requests */
    struct str path;                                          /* others */
};

/* Called for each binding that might matter; returns false to stop. */
typedef bool rbac_visit(void *arg, const struct val *binding);

struct rbac_world {
    void *ctx;
    void (*cluster_role_bindings)(void *ctx, rbac_visit *visit, void *arg);
    void (*role_bindings)(void *ctx, struct str namespace, rbac_visit *visit, void *arg);
    const struct val *(*cluster_role)(void *ctx, struct str name); /* NULL: none */
    const struct val *(*role)(void *ctx, struct str namespace, struct str name);
};

/* Does one PolicyRule allow it? */
bool rbac_rule_allows(const struct val *rule, const struct rbac_request *r);
bool rbac_rules_allow(const struct val *rules, const struct rbac_request *r);
/* Allowed? The reason (upstream's words: RBAC: allowed by ClusterRoleBinding "x" of ClusterRole "y" to User
 * "z") goes to e when it is not NULL. */
bool rbac_authorize(const struct rbac_world *w, const struct rbac_request *r, struct err *e);
/* All rules of a user in a namespace ("": cluster-wide only), as a LIST of PolicyRules in the arena: for
 * SelfSubjectRulesReview and the escalation check. */
struct val *rbac_user_rules(const struct rbac_world *w, struct arena *a, const struct rbac_user *u,
                            struct str namespace);

/* Escalation: is every right that `wanted` grants also granted by `owned`? Rules that are not covered, broken
 * down to single rights, are listed in *ret_missing (in the arena, may be NULL). */
bool rbac_rules_cover(struct arena *a, const struct val *owned, const struct val *wanted,
                      struct val **ret_missing);
/* One rule as upstream prints it in "is attempting to grant" errors: {APIGroups:["apps"], Resources:["x"],
 * Verbs:["y"]} */
void rbac_rule_text(struct buf *b, const struct val *rule);
