/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the parts that stages, reviews and admission share. */
#pragma once

#include "apiserver/request.h"
#include "auth/rbac.h"

/* ---- who (authn.c, token.c) -------------------------------------------------------------------------- */

/* A token as a WebSocket subprotocol begins so. */
#define WEBSOCKET_TOKEN "base64url.bearer.authorization.k8s.io."

struct token_claims {
    struct str issuer;
};

/* A bearer token's user: 0, or -EACCES with a sentence when it is none of ours or not valid. audiences: NULL
 * for the server's own; *ret_audience (may be NULL) the one that matched. */
int token_authenticate(struct request *r, struct str token, const struct str *audiences, size_t n_audiences,
                       struct user *ret, struct str *ret_audience, struct err *e);
/* Bootstrap tokens ("abcdef.0123456789abcdef"): secrets of kube-system. */
int bootstrap_token_authenticate(struct request *r, struct str token, struct user *ret, struct err *e);
bool is_service_account(struct str user, struct str *ret_ns, struct str *ret_name);
void user_add_group(struct arena *a, struct user *u, struct str group);
void user_add_extra(struct arena *a, struct user *u, struct str key, struct str value);
/* authentication.v1.UserInfo and back. */
struct val *user_to_val(struct arena *a, const struct user *u);
struct user user_from_val(struct arena *a, const struct val *v);

/* ---- may they (authz.c, node_authz.c) ---------------------------------------------------------------- */

struct attributes {
    const struct user *user;
    struct str verb;
    bool resource_request;
    struct str ns, group, version, resource, subresource, name;
    struct str path;
};
enum decision { DECISION_NONE, DECISION_ALLOW, DECISION_DENY };
enum decision authorize(struct request *r, const struct attributes *at, struct err *ret_reason);
enum decision node_authorize(struct request *r, const struct attributes *at, struct err *ret_reason);
/* The built-in Ingress controller and the Secrets that Ingresses of its classes name. */
enum decision ingress_authorize(struct request *r, const struct attributes *at);
/* Sets 403 in the words of upstream. */
int forbid(struct request *r, const struct attributes *at, const char *reason);
/* May they do that, too, where the request goes to? Who may update may not therefore create; an upgrade that comes as GET is
 * no reading. */
int require_verb(struct request *r, struct str verb);
/* The name of the node whose kubelet this is (system:node:x in system:nodes); empty for others. */
struct str node_of_user(const struct user *u);
/* The signer itself, or all signers of its domain: "example.com/" followed by a star. */
bool may_with_signer(struct request *r, const char *verb, struct str signer);
/* Every rule of a user, for SelfSubjectRulesReview and escalation checks. */
struct val *rules_of_user(struct request *r, const struct user *u, struct str ns);

struct rbac_index *rbac_index_new(struct cache *c);
void rbac_index_free(struct rbac_index *x);
bool rbac_allowed(struct rbac_index *x, const struct attributes *at, struct err *e);
struct val *rbac_rules(struct rbac_index *x, struct arena *a, const struct user *u, struct str ns);
/* Roles and bindings may only grant what their writer has (escalate and bind verbs apart): 0 or 403. */
int rbac_check_escalation(struct request *r, const struct val *v, const struct val *old);
