/* SPDX-License-Identifier: Apache-2.0 */
/* What others have suffered at their API servers, tried against ours; each names its CVE (docs/security.md). */
#include "fixture.h"

#define NS "/api/v1/namespaces/default"
#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define NODE "Impersonate-User: system:node:n\nImpersonate-Group: system:nodes\nImpersonate-Group: system:authenticated\n"

static void define(struct fixture *f, const char *plural, const char *kind, const char *scope)
{
    struct str crd = arena_printf(&f->arena,
                                  "{\"metadata\":{\"name\":\"%s.x.example.com\"},\"spec\":{\"group\":\"x.example.com\",\"scope\":\"%s\",\"names\":{\"plural\":"
                                  "\"%s\",\"kind\":\"%s\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":"
                                  "{\"type\":\"object\"}}}]}}",
                                  plural, scope, plural, kind);
    assert_code(post(f, CRDS, crd.p), 201);
    struct str path = arena_printf(&f->arena, "/apis/x.example.com/v1/%s", plural);
    for (int i = 0; i < 500 && get(f, path.p).code != 200; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_code(get(f, path.p), 200);
}

/* CVE-2019-11247: a custom object of the cluster by the path of a namespace, where a Role may say more. */
FIBER_TEST(cluster_objects_by_a_namespace)
{
    struct fixture f;
    fixture_start(&f, NULL);
    define(&f, "things", "Thing", "Cluster");
    assert_code(post(&f, "/apis/x.example.com/v1/things", "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"a\"}}"), 201);
    assert_code(get(&f, "/apis/x.example.com/v1/things/a"), 200);
    assert_code(get(&f, "/apis/x.example.com/v1/namespaces/default/things/a"), 404);
    assert_code(get(&f, "/apis/x.example.com/v1/namespaces/default/things"), 404);
    assert_code(ask(&f, "DELETE", "/apis/x.example.com/v1/namespaces/default/things/a", NULL, NULL), 404);
    assert_code(get(&f, "/apis/x.example.com/v1/things/a"), 200);
    fixture_stop(&f);
}

/* CVE-2022-3162, CVE-2015-5305: names that walk to another kind or namespace. */
FIBER_TEST(names_that_walk)
{
    static const char *const paths[] = {"/apis/x.example.com/v1/namespaces/..%2F..%2Fothers/things", "/apis/x.example.com/v1/things%2F..%2Fothers",
                                        NS "/secrets/..%2F..%2Fdefault%2Fsecrets%2Fs", "/api/v1/namespaces/default%2F..%2Fdefault/secrets/s",
                                        "/api/v1/namespaces/../namespaces/default/secrets/s", NS "/configmaps/../secrets/s", NS "/configmaps/%2e%2e"};
    struct fixture f;
    fixture_start(&f, NULL);
    define(&f, "things", "Thing", "Namespaced");
    define(&f, "others", "Other", "Namespaced");
    assert_code(post(&f, NS "/secrets", "{\"metadata\":{\"name\":\"s\"}}"), 201);
    assert_code(post(&f, "/apis/x.example.com/v1/namespaces/default/others", "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Other\",\"metadata\":{\"name\":\"o\"}}"), 201);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct reply r = get(&f, paths[i]);
        if (r.code < 300 && str_contains(r.text, STR("\"name\":")))
            fail_msg("%s answers %d: %.*s", paths[i], r.code, STR_ARG(r.text));
    }
    fixture_stop(&f);
}

static struct reply make_pod(struct fixture *f, const char *container, const char *rest)
{
    return post(f, NS "/pods",
                arena_printf(&f->arena, "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"%s}]%s}}", container, rest).p);
}

/* CVE-2023-2728 (ephemeral containers), CVE-2024-3177 (envFrom): secrets that the account may not mount. */
FIBER_TEST(secrets_beyond_the_account)
{
    static const char *const from = "\"envFrom\":[{\"secretRef\":{\"name\":\"hidden\"}}]";
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(post(&f, NS "/serviceaccounts",
                     "{\"metadata\":{\"name\":\"default\",\"annotations\":{\"kubernetes.io/enforce-mountable-secrets\":\"true\"}},\"secrets\":[{\"name\":\"open\"}]}"), 201);
    const char *want = "pods \"p\" is forbidden: container c with envFrom referencing secret.secretName=\"hidden\" is not allowed because service account "
                       "default does not reference that secret";
    struct reply r = make_pod(&f, arena_printf(&f.arena, ",%s", from).p, "");
    assert_code(r, 403);
    assert_at(&f, r, "message", want);
    assert_code(make_pod(&f, ",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"hidden\",\"key\":\"k\"}}}]", ""), 403);
    assert_code(make_pod(&f, "", arena_printf(&f.arena, ",\"initContainers\":[{\"name\":\"i\",\"image\":\"i\",%s}]", from).p), 403);
    assert_code(make_pod(&f, "", ",\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"hidden\"}}]"), 403);
    assert_code(make_pod(&f, "", ",\"imagePullSecrets\":[{\"name\":\"hidden\"}]"), 403);
    assert_code(make_pod(&f, ",\"envFrom\":[{\"secretRef\":{\"name\":\"open\"}}]", ""), 201);
    r = patch(&f, NS "/pods/p/ephemeralcontainers", "strategic-merge-patch+json",
              arena_printf(&f.arena, "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"e\",\"image\":\"i\",%s}]}}", from).p);
    assert_code(r, 403);
    r = patch(&f, NS "/pods/p/ephemeralcontainers", "strategic-merge-patch+json", "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"e\",\"image\":\"i\"}]}}");
    assert_code(r, 200);
    fixture_stop(&f);
}

/* CVE-2025-5187: a node gives itself an owner, and the garbage collector deletes it. CVE-2025-4563: a mirror pod with claims. */
FIBER_TEST(nodes_beyond_themselves)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(post(&f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n\"}}"), 201);
    assert_code(ask(&f, "PATCH", "/api/v1/nodes/n",
                    "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"none\",\"uid\":\"u\"}]}}",
                    NODE "Content-Type: application/merge-patch+json"), 403);
    assert_code(ask(&f, "PATCH", "/api/v1/nodes/n", "{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}", NODE "Content-Type: application/merge-patch+json"), 200);
    struct str uid = str_of(at(&f, get(&f, "/api/v1/nodes/n").v, "metadata.uid"));
    static const char *const claims[] = {"", "\"resourceClaims\":[{\"name\":\"r\",\"resourceClaimName\":\"x\"}],"};
    for (size_t i = 0; i < ARRAY_SIZE(claims); i++) {
        struct str mirror = arena_printf(&f.arena,
                                         "{\"metadata\":{\"name\":\"m%zu\",\"annotations\":{\"kubernetes.io/config.mirror\":\"h\"},\"ownerReferences\":[{\"apiVersion\":"
                                         "\"v1\",\"kind\":\"Node\",\"name\":\"n\",\"uid\":\"%.*s\",\"controller\":true}]},\"spec\":{%s\"nodeName\":\"n\",\"containers\":"
                                         "[{\"name\":\"c\",\"image\":\"i\"}]}}",
                                         i, STR_ARG(uid), claims[i]);
        assert_code(ask(&f, "POST", NS "/pods", mirror.p, NODE "Content-Type: application/json"), i ? 403 : 201);
    }
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cluster_objects_by_a_namespace),
        cmocka_unit_test(names_that_walk),
        cmocka_unit_test(secrets_beyond_the_account),
        cmocka_unit_test(nodes_beyond_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
