/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the parts that stages, reviews and admission share. */
#pragma once

#include "apiserver/request.h"
#include "auth/rbac.h"
#include "type/selector.h"

struct auth_histogram;

/* ---- who (authn.c, token.c) -------------------------------------------------------------------------- */

/* A token as a WebSocket subprotocol begins so. */
#define WEBSOCKET_TOKEN "base64url.bearer.authorization.k8s.io."

/* Who is behind a token, and for which audiences was it asked? */
struct token_question {
    struct str token;
    const struct str *audiences; /* never empty */
    size_t n;
};
struct token_answer {
    struct user user;
    struct str *audiences; /* those of the question that it is good for */
    size_t n;
};
/* 0, or -EACCES with a sentence: not a token of its kind, or not valid. May wait. */
typedef int token_authenticator(struct request *r, const struct token_question *q, struct token_answer *ret, struct err *e);
token_authenticator token_authenticate;           /* by all that follow, in upstream's order */
token_authenticator static_token_authenticate;    /* --token-auth-file */
token_authenticator account_token_authenticate;   /* token.c: service accounts */
token_authenticator bootstrap_token_authenticate; /* "abcdef.0123456789abcdef": Secrets of kube-system */
token_authenticator issued_token_authenticate;    /* JSON Web Tokens of others */
token_authenticator webhook_token_authenticate;
/* The audiences that are this server's own. */
void server_audiences(struct request *r, struct token_question *q);
/* Those of the question that are this server's go to the answer: for tokens that have none of their own. */
int token_for_server(struct request *r, const struct token_question *q, struct token_answer *ret, struct err *e);
bool is_service_account(struct str user, struct str *ret_ns, struct str *ret_name);
void user_add_group(struct arena *a, struct user *u, struct str group);
void user_add_extra(struct arena *a, struct user *u, struct str key, struct str value);
/* What is wrong with the key of an extra, "example.com/path" in lower case; NULL: nothing. */
const char *extra_key_fault(struct str key);
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
    const struct selector *fields, *labels; /* what a list is restricted to; NULL: nothing, or nobody asks */
};
enum decision { DECISION_NONE, DECISION_ALLOW, DECISION_DENY };
/* By all authorizers in their order. ret_reason may be NULL. Waits where there are webhooks. */
enum decision authorize(struct request *r, const struct attributes *at, struct err *ret_reason);
/* The same, also telling who could not be asked. */
struct authorization {
    enum decision decision;
    struct err reason, fault;
};
struct attributes request_attributes(struct request *r); /* what the request itself wants to do */
void authorize_told(struct request *r, const struct attributes *at, struct authorization *ret);
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
/* Every rule of a user that RBAC knows: escalation checks. */
struct val *rules_of_user(struct request *r, const struct user *u, struct str ns);
/* Every rule that any authorizer knows, for SelfSubjectRulesReview; ret_missing says which ones do not tell theirs, if any. */
struct val *rules_told(struct request *r, const struct user *u, struct str ns, struct err *ret_missing);

struct rbac_index *rbac_index_new(struct cache *c);
void rbac_index_free(struct rbac_index *x);
bool rbac_allowed(struct rbac_index *x, const struct attributes *at, struct err *e);
struct val *rbac_rules(struct rbac_index *x, struct arena *a, const struct user *u, struct str ns);
/* Roles and bindings may only grant what their writer has (escalate and bind verbs apart): 0 or 403. */
int rbac_check_escalation(struct request *r, const struct val *v, const struct val *old);
