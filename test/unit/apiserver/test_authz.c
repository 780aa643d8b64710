/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of authorizers, impersonation, reviews, and the keys of service account tokens. */
#include "hookserver.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/jwt.h"
#include "auth/x509.h"
#include "base/os.h"

struct world {
    struct fixture f;
    struct hookserver h;
    char dir[64];
};

#define RBAC "/apis/rbac.authorization.k8s.io/v1/"
#define SAR "/apis/authorization.k8s.io/v1/subjectaccessreviews"

static const char *write_file(struct world *w, const char *name, const char *text)
{
    const char *path = arena_printf(&w->h.arena, "%s/%s", w->dir, name).p;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return path;
}

static const char tokens[] = "admin,admin,1,system:masters\njane,jane,2,dev\nbob,bob,3\nnode,system:node:n1,4,system:nodes\n";

/* Decides by who asks for what. */
static struct str decide(struct hookserver *h, struct str path, const struct val *review)
{
    const struct val *spec = val_key(review, STR("spec")), *res = val_key(spec, STR("resourceAttributes"));
    struct str user = val_str(val_key(spec, STR("user"))), resource = val_str(val_key(res, STR("resource")));
    const char *status = str_is(user, "jane") && str_is(resource, "secrets")      ? "{\"allowed\":true,\"reason\":\"hers\"}"
                         : str_is(user, "jane") && str_is(resource, "nodes")      ? "{\"allowed\":false,\"denied\":true,\"reason\":\"never\"}"
                         : str_is(user, "jane") && str_is(resource, "configmaps") ? "{\"allowed\":true,\"denied\":true}"
                                                                                  : "{\"allowed\":false}";
    if (str_is(resource, "pods"))
        return STR_NULL; /* 500 */
    return arena_printf(&h->arena, "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"%s\",\"status\":%s}",
                        val_cstr(val_key(review, STR("apiVersion"))), status);
}

static void begin(struct world *w)
{
    *w = (struct world){.dir = "/tmp/cube-authz-XXXXXX"};
    assert_non_null(mkdtemp(w->dir));
    hookserver_start(&w->h, NULL, decide);
}

static void start(struct world *w, struct apiserver_config c)
{
    c.token_file = write_file(w, "tokens.csv", tokens);
    fixture_start(&w->f, &c);
}

static void end(struct world *w)
{
    char command[128];
    fixture_stop(&w->f);
    hookserver_stop(&w->h);
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
}

static struct reply as(struct world *w, const char *user, const char *method, const char *path, const char *body)
{
    return ask(&w->f, method, path, body, arena_printf(&w->f.arena, "Authorization: Bearer %s", user).p);
}

static const char *fault_of(struct world *w, struct apiserver_config c)
{
    struct err e = {0};
    struct apiserver *s = NULL;
    struct store *store = NULL;
    assert_int_equal(store_open_memory(&(struct store_options){.durable = false}, &store), 0);
    c.store = store;
    int r = apiserver_start(&c, &s, &e);
    if (r == 0)
        apiserver_stop(s, 0);
    store_close(store);
    return r == 0 ? "" : arena_cstr(&w->h.arena, str_of(err_text(&e, r)));
}

static const char *kubeconfig(struct world *w)
{
    return write_file(w, "hook.conf", arena_printf(&w->h.arena,
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'https://%s/authorize', certificate-authority-data: %s}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: mine}}]\n", w->h.address, w->h.ca.p).p);
}

/* A chain: a webhook of that failure policy with these conditions, then RBAC. */
static const char *chain(struct world *w, const char *policy, const char *conditions)
{
    return write_file(w, "authz.yaml", arena_printf(&w->h.arena,
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- type: Webhook\n  name: mine\n  webhook:\n"
        "    timeout: 3s\n    subjectAccessReviewVersion: v1\n    matchConditionSubjectAccessReviewVersion: v1\n    failurePolicy: %s\n"
        "    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}\n    matchConditions: [%s]\n- {type: RBAC, name: rbac}\n",
        policy, kubeconfig(w), conditions).p);
}

static void allow(struct world *w, const char *name, const char *user, const char *rules)
{
    struct arena *a = &w->f.arena;
    assert_code(as(w, "admin", "POST", RBAC "clusterroles", arena_printf(a, "{\"metadata\":{\"name\":\"%s\"},\"rules\":[%s]}", name, rules).p), 201);
    assert_code(as(w, "admin", "POST", RBAC "clusterrolebindings",
                   arena_printf(a, "{\"metadata\":{\"name\":\"%s\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
                                   "\"name\":\"%s\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"%s\"}]}",
                                name, name, user).p), 201);
}

/* ---- modes ---------------------------------------------------------------------------------------------- */

FIBER_TEST(modes)
{
    struct world w;
    begin(&w);
    const char *policy = write_file(&w, "policy.jsonl",
        "# who may what\n"
        "{\"apiVersion\":\"abac.authorization.kubernetes.io/v1beta1\",\"kind\":\"Policy\",\"spec\":{\"user\":\"jane\",\"namespace\":\"default\",\"resource\":\"configmaps\",\"apiGroup\":\"\"}}\n"
        "{\"apiVersion\":\"abac.authorization.kubernetes.io/v1beta1\",\"kind\":\"Policy\",\"spec\":{\"group\":\"dev\",\"readonly\":true,\"namespace\":\"*\",\"resource\":\"secrets\",\"apiGroup\":\"*\"}}\n"
        "{\"apiVersion\":\"abac.authorization.kubernetes.io/v1beta1\",\"kind\":\"Policy\",\"spec\":{\"user\":\"*\",\"readonly\":true,\"nonResourcePath\":\"/version*\"}}\n");
    start(&w, (struct apiserver_config){.authorization = "ABAC", .authz_policy = policy});
    assert_code(as(&w, "jane", "POST", "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"x\"}}"), 201);
    assert_code(as(&w, "jane", "GET", "/api/v1/namespaces/kube-system/configmaps", NULL), 403);
    assert_code(as(&w, "jane", "GET", "/api/v1/namespaces/kube-system/secrets", NULL), 200);
    assert_code(as(&w, "jane", "POST", "/api/v1/namespaces/default/secrets", "{}"), 403);
    assert_code(as(&w, "bob", "GET", "/api/v1/namespaces/default/secrets", NULL), 403);
    assert_code(as(&w, "bob", "GET", "/version", NULL), 200);
    assert_code(get(&w.f, "/version"), 403); /* nobody is not somebody */
    assert_code(as(&w, "admin", "GET", "/api/v1/nodes", NULL), 200);
    fixture_restart(&w.f, &(struct apiserver_config){.authorization = "AlwaysDeny", .token_file = write_file(&w, "tokens.csv", tokens)});
    struct reply r = as(&w, "jane", "GET", "/version", NULL);
    assert_code(r, 403);
    assert_true(str_contains(r.text, STR("Everything is forbidden.")));
    assert_code(as(&w, "admin", "GET", "/api/v1/nodes", NULL), 200);
    end(&w);
}

FIBER_TEST(chains_that_are_refused)
{
    static const struct {
        const char *text, *fault;
    } files[] = {
        {"authorizers: []", "at least one authorization mode must be defined"},
        {"authorizers: [{type: Nonsense, name: x}]", "authorizers[0].type: Unsupported value"},
        {"authorizers: [{type: RBAC, name: other}]", "expected name rbac"},
        {"authorizers: [{type: RBAC, name: rbac}, {type: RBAC, name: rbac}]", "authorizers[1].type: Duplicate value"},
        {"authorizers: [{type: Webhook, name: x}]", "required when type=Webhook"},
        {"authorizers: [{type: RBAC, name: rbac, webhook: {timeout: 1s}}]", "may only be specified when type=Webhook"},
        {"authorizers: [{type: Webhook, name: x, webhook: {timeout: 40s}}]", "must be > 0s and <= 30s"},
        {"authorizers: [{type: Webhook, name: x, webhook: {timeout: 1s, subjectAccessReviewVersion: v2}}]", "subjectAccessReviewVersion: Unsupported value"},
        {"authorizers: [{type: Webhook, name: x, webhook: {timeout: 1s, failurePolicy: Maybe}}]", "failurePolicy: Unsupported value"},
        {"authorizers: [{type: Webhook, name: x, webhook: {connectionInfo: {type: KubeConfigFile, kubeConfigFile: here}}}]", "must be an absolute path"},
        {"authorizers: [{type: Webhook, name: x, webhook: {connectionInfo: {type: InClusterConfig}}}]", "name a kubeconfig file"},
        {"authorizers: [{type: Webhook, name: x, webhook: {matchConditions: [{expression: 'true'}]}}]", "required if match conditions are specified"},
    };
    static const struct {
        struct apiserver_config c;
        const char *fault;
    } flags[] = {
        {{.authorization = "RBAC,Nonsense"}, "\"Nonsense\" is not a valid mode"},
        {{.authorization = "RBAC,RBAC"}, "Duplicate value"},
        {{.authorization = "Webhook"}, "Webhook's authorization config file not passed"},
        {{.authorization = "ABAC"}, "ABAC's authorization policy file not passed"},
        {{.authorization = "RBAC", .authz_policy = "x"}, "without mode ABAC"},
        {{.authorization = "RBAC", .authz_config = "x"}, "can not be specified when --authorization-mode"},
    };
    struct world w;
    begin(&w);
    start(&w, (struct apiserver_config){.authorization = "RBAC"});
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const char *text = arena_printf(&w.h.arena, "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n%s\n", files[i].text).p;
        const char *fault = fault_of(&w, (struct apiserver_config){.authz_config = write_file(&w, "bad.yaml", text)});
        if (!strstr(fault, files[i].fault))
            fail_msg("file %zu: wanted \"%s\", got \"%s\"", i, files[i].fault, fault);
    }
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (!strstr(fault_of(&w, flags[i].c), flags[i].fault))
            fail_msg("flags %zu: wanted \"%s\", got \"%s\"", i, flags[i].fault, fault_of(&w, flags[i].c));
    assert_non_null(strstr(fault_of(&w, (struct apiserver_config){.authz_config = chain(&w, "Deny", "{expression: 'request.nonsense == 1'}")}), "compilation failed"));
    assert_non_null(strstr(fault_of(&w, (struct apiserver_config){.authz_config = chain(&w, "Deny", "{expression: request.user}")}), "must evaluate to bool but got string"));
    end(&w);
}

/* ---- webhooks ------------------------------------------------------------------------------------------- */

FIBER_TEST(a_webhook_decides_before_rbac)
{
    struct world w;
    begin(&w);
    start(&w, (struct apiserver_config){.authz_config = chain(&w, "NoOpinion", "{expression: 'has(request.resourceAttributes)'}, {expression: 'request.user == \"jane\"'}")});
    allow(&w, "reads", "jane", "{\"apiGroups\":[\"\"],\"resources\":[\"nodes\",\"services\",\"pods\"],\"verbs\":[\"get\",\"list\"]}");
    unsigned calls = w.h.calls;
    struct reply r = as(&w, "jane", "GET", "/api/v1/namespaces/default/secrets?labelSelector=a%3Db,c&fieldSelector=metadata.name%3Dx", NULL);
    assert_code(r, 200);
    assert_int_equal(w.h.calls, calls + 1);
    const struct val *spec = val_key(w.h.asked, STR("spec"));
    assert_at(&w.f, ((struct reply){.v = spec}), "groups.0", "dev");
    assert_at(&w.f, ((struct reply){.v = spec}), "uid", "2");
    assert_at(&w.f, ((struct reply){.v = spec}), "resourceAttributes.verb", "list");
    assert_at(&w.f, ((struct reply){.v = spec}), "resourceAttributes.labelSelector.requirements.1.operator", "Exists");
    assert_at(&w.f, ((struct reply){.v = spec}), "resourceAttributes.fieldSelector.requirements.0.values.0", "x");
    assert_code(as(&w, "jane", "GET", "/api/v1/namespaces/default/secrets?labelSelector=a%3Db,c&fieldSelector=metadata.name%3Dx", NULL), 200);
    assert_int_equal(w.h.calls, calls + 1); /* it is remembered */
    r = as(&w, "jane", "GET", "/api/v1/nodes", NULL); /* RBAC is not asked any more */
    assert_code(r, 403);
    assert_true(str_contains(r.text, STR("never")));
    assert_code(as(&w, "jane", "GET", "/api/v1/namespaces/default/services", NULL), 200); /* no opinion: RBAC's */
    r = as(&w, "jane", "GET", "/api/v1/namespaces/default/configmaps", NULL);
    assert_code(r, 500);
    assert_true(str_contains(r.text, STR("returned both allow and deny response")));
    calls = w.h.calls;
    assert_code(as(&w, "jane", "GET", "/api", NULL), 200); /* conditions: only resources, only jane */
    assert_code(as(&w, "bob", "GET", "/api/v1/namespaces/default/secrets", NULL), 403);
    assert_int_equal(w.h.calls, calls);
    r = as(&w, "admin", "POST", SAR, "{\"spec\":{\"user\":\"jane\",\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"nodes\"}}}");
    assert_at(&w.f, r, "status.denied", "true");
    assert_at(&w.f, r, "status.reason", "never");
    r = as(&w, "jane", "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "{\"spec\":{\"namespace\":\"default\"}}");
    assert_at(&w.f, r, "status.incomplete", "true");
    assert_at(&w.f, r, "status.evaluationError", "webhook authorizer does not support user rule resolution");
    r = as(&w, "admin", "GET", "/metrics", NULL);
    assert_true(str_contains(r.text, STR("apiserver_authorization_webhook_evaluations_total{name=\"mine\",result=\"success\"}")));
    assert_true(str_contains(r.text, STR("apiserver_authorization_decisions_total{decision=\"denied\",name=\"mine\",type=\"Webhook\"} 3")));
    assert_true(str_contains(r.text, STR("apiserver_authorization_match_condition_exclusions_total{name=\"mine\",type=\"Webhook\"}")));
    end(&w);
}

FIBER_TEST(a_webhook_that_fails)
{
    struct world w;
    begin(&w);
    start(&w, (struct apiserver_config){.authz_config = chain(&w, "NoOpinion", "{expression: 'request.resourceAttributes.resource == \"pods\"'}")});
    allow(&w, "reads", "jane", "{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"nodes\"],\"verbs\":[\"list\"]}");
    assert_code(as(&w, "jane", "GET", "/api/v1/namespaces/default/pods", NULL), 200); /* RBAC's, although it could not be asked */
    struct reply r = as(&w, "bob", "GET", "/api/v1/namespaces/default/pods", NULL);
    assert_code(r, 500); /* nobody said no */
    assert_true(str_contains(r.text, STR("Internal Server Error: \"/api/v1/namespaces/default/pods\": authorization webhook mine")));
    struct err e = {0};
    chain(&w, "Deny", "{expression: 'request.resourceAttributes.resource == \"pods\"'}"); /* fails closed, once it is read again */
    assert_int_equal(apiserver_reload(w.f.server, &e), 0);
    assert_code(as(&w, "jane", "GET", "/api/v1/namespaces/default/pods", NULL), 500);
    assert_code(as(&w, "jane", "GET", "/api/v1/nodes", NULL), 200);
    assert_code(as(&w, "jane", "GET", "/api", NULL), 500); /* a condition that cannot be evaluated: there is no resource */
    write_file(&w, "authz.yaml", "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: [{type: AlwaysAllow, name: alwaysallow}]\n");
    assert_int_equal(apiserver_reload(w.f.server, &e), -EINVAL); /* RBAC was there at the start and has to stay */
    assert_non_null(strstr(e.text, "missing required types: [RBAC]"));
    assert_code(as(&w, "jane", "GET", "/api/v1/namespaces/default/pods", NULL), 500);
    r = as(&w, "admin", "GET", "/metrics", NULL);
    assert_true(str_contains(r.text, STR("apiserver_authorization_config_controller_automatic_reloads_total{")));
    end(&w);
}

FIBER_TEST(the_old_review_has_groups_under_another_name)
{
    struct world w;
    begin(&w);
    start(&w, (struct apiserver_config){.authorization = "Webhook,RBAC", .authz_webhook = {.kubeconfig = kubeconfig(&w)}});
    assert_code(as(&w, "jane", "GET", "/api/v1/namespaces/default/secrets/x", NULL), 404);
    assert_string_equal(val_cstr(val_key(w.h.asked, STR("apiVersion"))), "authorization.k8s.io/v1beta1");
    const struct val *spec = val_key(w.h.asked, STR("spec"));
    assert_at(&w.f, ((struct reply){.v = spec}), "group.0", "dev");
    assert_null(val_key(spec, STR("groups")));
    end(&w);
}

/* ---- impersonation -------------------------------------------------------------------------------------- */

static struct reply act(struct world *w, const char *user, const char *path, const char *headers)
{
    return ask(&w->f, "GET", path, NULL, arena_printf(&w->f.arena, "Authorization: Bearer %s\n%s", user, headers).p);
}

FIBER_TEST(impersonation_can_be_constrained)
{
    struct world w;
    begin(&w);
    start(&w, (struct apiserver_config){.authorization = "Node,RBAC"});
    allow(&w, "pods", "alice", "{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"secrets\"],\"verbs\":[\"list\"]}");
    allow(&w, "as", "jane", "{\"apiGroups\":[\"authentication.k8s.io\"],\"resources\":[\"users\"],\"resourceNames\":[\"alice\"],\"verbs\":[\"impersonate:user-info\"]},"
                            "{\"apiGroups\":[\"authentication.k8s.io\"],\"resources\":[\"groups\"],\"verbs\":[\"impersonate:user-info\"]},"
                            "{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"nodes\"],\"verbs\":[\"impersonate-on:user-info:list\"]}");
    assert_code(act(&w, "jane", "/api/v1/namespaces/default/pods", "Impersonate-User: alice"), 200);
    struct reply r = act(&w, "jane", "/api/v1/namespaces/default/secrets", "Impersonate-User: alice"); /* alice may, jane as alice may not */
    assert_code(r, 403);
    assert_true(str_contains(r.text, STR("cannot impersonate-on:user-info:list resource \\\"secrets\\\"")));
    assert_code(act(&w, "jane", "/api/v1/nodes", "Impersonate-User: alice"), 403); /* jane as alice may, alice may not */
    assert_code(act(&w, "jane", "/api/v1/namespaces/default/pods", "Impersonate-User: carol"), 403);
    r = act(&w, "jane", "/api/v1/namespaces/default/pods", "Impersonate-User: alice\nImpersonate-Group: system:masters");
    assert_code(r, 403); /* any group but that one */
    assert_true(str_contains(r.text, STR("impersonating the system:masters group is not allowed")));
    assert_code(act(&w, "jane", "/api/v1/namespaces/default/pods", "Impersonate-User: alice\nImpersonate-Group: x"), 200);
    assert_code(act(&w, "jane", "/api/v1/namespaces/default/pods", "Impersonate-Group: x"), 400);
    r = as(&w, "admin", "GET", "/metrics", NULL);
    assert_true(str_contains(r.text, STR("apiserver_impersonation_attempts_total{decision=\"allowed\",mode=\"user-info\"} 3")));
    end(&w);
}

FIBER_TEST(nodes_and_accounts_are_impersonated_by_rights_of_their_own)
{
    struct world w;
    begin(&w);
    start(&w, (struct apiserver_config){.authorization = "Node,RBAC"});
    allow(&w, "as", "jane", "{\"apiGroups\":[\"authentication.k8s.io\"],\"resources\":[\"nodes\"],\"resourceNames\":[\"n1\"],\"verbs\":[\"impersonate:arbitrary-node\"]},"
                            "{\"apiGroups\":[\"authentication.k8s.io\"],\"resources\":[\"serviceaccounts\"],\"verbs\":[\"impersonate:serviceaccount\"]},"
                            "{\"apiGroups\":[\"authentication.k8s.io\"],\"resources\":[\"users\",\"groups\"],\"verbs\":[\"impersonate:user-info\"]},"
                            "{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"impersonate-on:user-info:get\",\"impersonate-on:arbitrary-node:get\",\"impersonate-on:serviceaccount:create\"]}");
    assert_code(as(&w, "admin", "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}"), 201);
    assert_code(act(&w, "jane", "/api/v1/nodes/n1", "Impersonate-User: system:node:n1"), 200); /* in the group of nodes by itself */
    assert_code(act(&w, "jane", "/api/v1/nodes/n1", "Impersonate-User: system:node:n2"), 403);
    /* by the right to be any user one is no node, not even with its group */
    assert_code(act(&w, "jane", "/api/v1/nodes/n1", "Impersonate-User: system:node:n1\nImpersonate-Group: system:nodes"), 403);
    struct reply r = ask(&w.f, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", "Authorization: Bearer jane\nImpersonate-User: system:serviceaccount:default:x");
    assert_code(r, 201);
    assert_at(&w.f, r, "status.userInfo.groups.1", "system:serviceaccounts:default");
    assert_code(act(&w, "jane", "/api/v1/nodes/n1", "Impersonate-User: system:serviceaccount:default:x"), 403);
    end(&w);
}

/* ---- reviews -------------------------------------------------------------------------------------------- */

FIBER_TEST(reviews_are_checked)
{
    static const struct {
        const char *spec;
        int code;
        const char *field;
    } cases[] = {
        {"{}", 422, "spec"},
        {"{\"user\":\"x\",\"resourceAttributes\":{\"verb\":\"get\"},\"nonResourceAttributes\":{\"path\":\"/\"}}", 422, "spec"},
        {"{\"resourceAttributes\":{\"verb\":\"get\"}}", 422, "spec.user"},
        {"{\"user\":\"x\",\"resourceAttributes\":{\"fieldSelector\":{}}}", 422, "spec.resourceAttributes.fieldSelector.requirements"},
        {"{\"user\":\"x\",\"resourceAttributes\":{\"labelSelector\":{\"rawSelector\":\"a=b\",\"requirements\":[{\"key\":\"a\",\"operator\":\"Exists\"}]}}}", 422,
         "spec.resourceAttributes.labelSelector.rawSelector"},
        {"{\"user\":\"x\",\"resourceAttributes\":{\"labelSelector\":{\"requirements\":[{\"key\":\"a\",\"operator\":\"In\"}]}}}", 422,
         "spec.resourceAttributes.labelSelector.requirements[0].values"},
        {"{\"user\":\"x\",\"resourceAttributes\":{\"labelSelector\":{\"requirements\":[{\"key\":\"a b\",\"operator\":\"Exists\"}]}}}", 422,
         "spec.resourceAttributes.labelSelector.requirements[0].key"},
        {"{\"user\":\"x\",\"resourceAttributes\":{\"fieldSelector\":{\"requirements\":[{\"key\":\"a\",\"operator\":\"Sounds\"}]}}}", 201, ""},
    };
    struct world w;
    begin(&w);
    start(&w, (struct apiserver_config){.authorization = "Node,RBAC"});
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reply r = as(&w, "admin", "POST", SAR, arena_printf(&w.f.arena, "{\"spec\":%s}", cases[i].spec).p);
        if (r.code != cases[i].code || strcmp(at(&w.f, r.v, "details.causes.0.field"), cases[i].field))
            fail_msg("case %zu: %d " STR_FMT, i, r.code, STR_ARG(r.text));
    }
    assert_code(as(&w, "admin", "POST", SAR, "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"user\":\"x\",\"resourceAttributes\":{}}}"), 422);
    assert_code(as(&w, "admin", "POST", "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
                   "{\"spec\":{\"user\":\"x\",\"resourceAttributes\":{\"namespace\":\"kube-system\",\"verb\":\"get\"}}}"), 422);
    /* what a node may list depends on what the review says that it is restricted to, not on the review's own query */
    static const char *const specs[] = {"\"fieldSelector\":{\"rawSelector\":\"spec.nodeName=n1\"},", "\"fieldSelector\":{\"requirements\":[{\"key\":\"spec.nodeName\",\"operator\":\"In\",\"values\":[\"n1\"]}]},", ""};
    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        struct reply r = as(&w, "admin", "POST", SAR "?fieldSelector=spec.nodeName%3Dn1",
                            arena_printf(&w.f.arena, "{\"spec\":{\"user\":\"system:node:n1\",\"groups\":[\"system:nodes\"],\"resourceAttributes\":{%s\"verb\":\"list\",\"resource\":\"pods\"}}}", specs[i]).p);
        assert_at(&w.f, r, "status.allowed", *specs[i] ? "true" : "false");
    }
    end(&w);
}

/* ---- service accounts ----------------------------------------------------------------------------------- */

static void make_key(struct world *w, const char *name)
{
    CLEANUP_BUF struct buf pem = BUF_INIT;
    struct x509_key *key = NULL;
    assert_int_equal(x509_key_generate(&key), 0);
    x509_key_pem(key, &pem);
    write_file(w, name, pem.p);
    x509_key_unref(key);
}

static const char *account_token(struct world *w)
{
    struct reply r = as(w, "admin", "POST", "/api/v1/namespaces/default/serviceaccounts/x/token", "{}");
    assert_code(r, 201);
    return at(&w->f, r.v, "status.token");
}

FIBER_TEST(issuers_and_keys_of_accounts_change)
{
    struct world w;
    struct err e = {0};
    begin(&w);
    make_key(&w, "a.key");
    make_key(&w, "b.key");
    const char *a = arena_printf(&w.h.arena, "%s/a.key", w.dir).p, *b = arena_printf(&w.h.arena, "%s/b.key", w.dir).p;
    const char *both = arena_printf(&w.h.arena, "%s,%s", a, b).p, *list = write_file(&w, "tokens.csv", tokens);
    start(&w, (struct apiserver_config){.authorization = "RBAC", .sa_signing_key = a, .sa_issuer = "https://old"});
    assert_code(as(&w, "admin", "POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"x\"}}"), 201);
    const char *old = arena_cstr(&w.h.arena, str_of(account_token(&w)));
    assert_code(as(&w, old, "GET", "/api", NULL), 200);
    fixture_restart(&w.f, &(struct apiserver_config){.authorization = "RBAC", .token_file = list, .sa_signing_key = b, .sa_keys = both, .sa_issuer = "https://new"});
    assert_code(as(&w, old, "GET", "/api", NULL), 401); /* from an issuer that is none of ours */
    fixture_restart(&w.f, &(struct apiserver_config){.authorization = "RBAC", .token_file = list, .sa_signing_key = b, .sa_keys = both,
                                                     .sa_issuer = "https://new", .sa_more_issuers = "https://other,https://old"});
    assert_code(as(&w, old, "GET", "/api", NULL), 200);
    const char *now = account_token(&w);
    assert_code(as(&w, now, "GET", "/api", NULL), 200);
    struct reply r = as(&w, "admin", "GET", "/.well-known/openid-configuration", NULL);
    assert_at(&w.f, r, "issuer", "https://new");
    assert_true(val_len(val_key(as(&w, "admin", "GET", "/openid/v1/jwks", NULL).v, STR("keys"))) == 2);
    make_key(&w, "a.key"); /* turned: what it signed is worth nothing any more */
    assert_int_equal(apiserver_reload(w.f.server, &e), 0);
    assert_code(as(&w, old, "GET", "/api", NULL), 401);
    assert_code(as(&w, now, "GET", "/api", NULL), 200);
    write_file(&w, "a.key", "nonsense");
    assert_true(apiserver_reload(w.f.server, &e) < 0);
    assert_code(as(&w, now, "GET", "/api", NULL), 200);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modes),
        cmocka_unit_test(chains_that_are_refused),
        cmocka_unit_test(a_webhook_decides_before_rbac),
        cmocka_unit_test(a_webhook_that_fails),
        cmocka_unit_test(the_old_review_has_groups_under_another_name),
        cmocka_unit_test(impersonation_can_be_constrained),
        cmocka_unit_test(nodes_and_accounts_are_impersonated_by_rights_of_their_own),
        cmocka_unit_test(reviews_are_checked),
        cmocka_unit_test(issuers_and_keys_of_accounts_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
