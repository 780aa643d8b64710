/* SPDX-License-Identifier: Apache-2.0 */
/* Attacks on authentication and authorisation that others have suffered, each tried (docs/security.md). */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/x509.h"
#include "base/os.h"
#include "wire/json.h"

#define RBAC "/apis/rbac.authorization.k8s.io/v1/"

struct world {
    struct fixture f;
    char file[64];
};

static void begin(struct world *w)
{
    static const char tokens[] = "admin,admin,1,system:masters\njane,jane,2\nnode,system:node:n1,3,system:nodes\n";
    *w = (struct world){.file = "/tmp/cube-attacks-XXXXXX"};
    int fd = mkstemp(w->file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, tokens, sizeof(tokens) - 1), sizeof(tokens) - 1);
    close(fd);
    fixture_start(&w->f, &(struct apiserver_config){.authorization = "Node,RBAC", .token_file = w->file});
}

static void end(struct world *w)
{
    fixture_stop(&w->f);
    unlink(w->file);
}

static struct reply as(struct world *w, const char *user, const char *method, const char *path, const char *body)
{
    const char *patch = strcmp(method, "PATCH") ? "" : "\nContent-Type: application/merge-patch+json";
    return ask(&w->f, method, path, body, arena_printf(&w->f.arena, "Authorization: Bearer %s%s", user, patch).p);
}

/* jane may do that in default. */
static void allow(struct world *w, const char *rules)
{
    struct arena *a = &w->f.arena;
    assert_code(as(w, "admin", "POST", RBAC "namespaces/default/roles", arena_printf(a, "{\"metadata\":{\"name\":\"r\"},\"rules\":[%s]}", rules).p), 201);
    assert_code(as(w, "admin", "POST", RBAC "namespaces/default/rolebindings",
                   "{\"metadata\":{\"name\":\"r\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"r\"},"
                   "\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"jane\"}]}"), 201);
}

static void define(struct world *w, const char *plural, const char *kind, const char *scope)
{
    struct arena *a = &w->f.arena;
    assert_code(as(w, "admin", "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                   arena_printf(a, "{\"metadata\":{\"name\":\"%s.x.example.com\"},\"spec\":{\"group\":\"x.example.com\",\"scope\":\"%s\",\"names\":{\"plural\":\"%s\",\"kind\":\"%s\"},"
                                   "\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}",
                                plural, scope, plural, kind).p), 201);
    const char *path = arena_printf(a, "/apis/x.example.com/v1/%s", plural).p;
    for (int i = 0; i < 200 && as(w, "admin", "GET", path, NULL).code != 200; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_code(as(w, "admin", "GET", path, NULL), 200);
}

/* CVE-2019-11247 (kubernetes#80983): a right in one namespace reached cluster-wide custom objects by a path with a namespace. */
FIBER_TEST(cluster_wide_objects_have_no_namespaced_path)
{
    struct world w;
    begin(&w);
    define(&w, "wides", "Wide", "Cluster");
    assert_code(as(&w, "admin", "POST", "/apis/x.example.com/v1/wides", "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Wide\",\"metadata\":{\"name\":\"w\"}}"), 201);
    allow(&w, "{\"apiGroups\":[\"x.example.com\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}");
    static const char *const methods[] = {"GET", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        assert_code(as(&w, "jane", methods[i], "/apis/x.example.com/v1/namespaces/default/wides/w", i % 3 ? "{\"metadata\":{\"name\":\"w\"}}" : NULL), 404);
    assert_code(as(&w, "jane", "GET", "/apis/x.example.com/v1/namespaces/default/wides", NULL), 404);
    assert_code(as(&w, "jane", "GET", "/apis/x.example.com/v1/wides/w", NULL), 403);
    assert_code(as(&w, "admin", "GET", "/apis/x.example.com/v1/wides/w", NULL), 200);
    end(&w);
}

/* CVE-2022-3162 (kubernetes#113756), CVE-2015-5305, and the audit of 2022 (kubernetes#118980): parts of a path that lead elsewhere in
 * the store: to other kinds, other namespaces, other names. */
FIBER_TEST(parts_of_paths_lead_nowhere_else)
{
    static const char *const paths[] = {
        "/apis/x.example.com/v1/namespaces/..%2fothers%2fdefault/ones",
        "/apis/x.example.com/v1/namespaces/..%2F..%2Fx.example.com%2Fothers/ones",
        "/apis/x.example.com/v1/namespaces/default%2f..%2f..%2fothers/ones",
        "/apis/x.example.com/v1/namespaces/../others/default",
        "/apis/x.example.com/v1/namespaces/default/ones/..%2f..%2fothers%2fdefault%2fsecret-one",
        "/apis/x.example.com/v1/namespaces/default/ones/%2e%2e%2f%2e%2e%2fothers%2fdefault%2fsecret-one",
        "/apis/x.example.com/v1/namespaces/default/..%2fothers/secret-one",
        "/apis/x.example.com/v1/namespaces/default%00/ones",
        "/apis/x.example.com/v1/namespaces//ones",
        "/apis/x.example.com/v1/namespaces/default/ones/../others/secret-one",
        "/apis/x.example.com/v1/namespaces/default//others/secret-one",
        "/apis/x.example.com/v1/namespaces/default/ones?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi9vdGhlcnMvZGVmYXVsdC8ifQ",
    };
    struct world w;
    begin(&w);
    define(&w, "ones", "One", "Namespaced");
    define(&w, "others", "Other", "Namespaced");
    assert_code(as(&w, "admin", "POST", "/apis/x.example.com/v1/namespaces/default/others",
                   "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Other\",\"metadata\":{\"name\":\"secret-one\"}}"), 201);
    allow(&w, "{\"apiGroups\":[\"x.example.com\"],\"resources\":[\"ones\"],\"verbs\":[\"*\"]}");
    assert_code(as(&w, "jane", "GET", "/apis/x.example.com/v1/namespaces/default/ones", NULL), 200);
    assert_code(as(&w, "jane", "GET", "/apis/x.example.com/v1/namespaces/default/others/secret-one", NULL), 403);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct reply r = as(&w, "jane", "GET", paths[i], NULL);
        if (r.code == 200 && str_contains(r.text, STR("secret-one")))
            fail_msg("%s: " STR_FMT, paths[i], STR_ARG(r.text));
        if (r.code != 200 && (r.code < 300 || r.code > 499))
            fail_msg("%s: %d", paths[i], r.code);
    }
    end(&w);
}

/* CVE-2016-1905 (kubernetes#23860): what admission and escalation checks refuse may not be had by a patch instead. */
FIBER_TEST(patches_are_checked_as_updates)
{
    struct world w;
    begin(&w);
    allow(&w, "{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":[\"roles\",\"rolebindings\"],\"verbs\":[\"get\",\"patch\",\"update\"]},"
              "{\"apiGroups\":[\"\"],\"resources\":[\"services\"],\"verbs\":[\"get\",\"patch\",\"create\"]}");
    struct reply r = as(&w, "jane", "PATCH", RBAC "namespaces/default/roles/r", "{\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}]}");
    assert_code(r, 403);
    assert_true(str_contains(r.text, STR("attempting to grant RBAC permissions not currently held")));
    assert_code(as(&w, "jane", "PATCH", RBAC "namespaces/default/roles/r", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"), 200); /* (control: a patch that grants nothing) */
    r = ask(&w.f, "PATCH", RBAC "namespaces/default/roles/r?fieldManager=x&force=true",
            "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"Role\",\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}]}",
            "Authorization: Bearer jane\nContent-Type: application/apply-patch+yaml");
    assert_code(r, 403);
    assert_code(as(&w, "jane", "POST", "/api/v1/namespaces/default/services", "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}]}}"), 201);
    assert_code(as(&w, "jane", "PATCH", "/api/v1/namespaces/default/services/s", "{\"spec\":{\"externalIPs\":[\"192.0.2.1\"]}}"), 403);
    end(&w);
}

/* CVE-2025-5187 (kubernetes#133471): a node gave itself an owner that does not exist, and was deleted for it: its taints with it. */
FIBER_TEST(nodes_do_not_own_themselves_away)
{
    struct world w;
    begin(&w);
    assert_code(as(&w, "node", "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}"), 201);
    static const char owner[] = "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"gone\",\"uid\":\"1\"}]}}";
    assert_code(as(&w, "node", "PATCH", "/api/v1/nodes/n1", owner), 403);
    assert_code(as(&w, "node", "PATCH", "/api/v1/nodes/n1/status", owner), 403);
    assert_code(as(&w, "node", "DELETE", "/api/v1/nodes/n1", NULL), 403);
    assert_code(as(&w, "node", "PATCH", "/api/v1/nodes/n1", "{\"spec\":{\"taints\":[]},\"metadata\":{\"labels\":{\"node-restriction.kubernetes.io/a\":\"b\"}}}"), 403);
    assert_code(as(&w, "admin", "PATCH", "/api/v1/nodes/n1", owner), 200); /* (control: the reference itself is one) */
    end(&w);
}

/* CVE-2025-4563 (kubernetes#132151): a mirror pod that names resource claims reached devices that were never given to the node. */
FIBER_TEST(mirror_pods_claim_nothing)
{
    static const char pod[] = "{\"metadata\":{\"name\":\"m\",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"},\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\","
                              "\"name\":\"n1\",\"uid\":\"%s\",\"controller\":true}]},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]%s}}";
    struct world w;
    begin(&w);
    struct arena *a = &w.f.arena;
    struct reply r = as(&w, "node", "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}");
    assert_code(r, 201);
    const char *uid = at(&w.f, r.v, "metadata.uid");
    static const char *const bad[] = {",\"resourceClaims\":[{\"name\":\"c\",\"resourceClaimName\":\"theirs\"}]", ",\"serviceAccountName\":\"default\"",
                                      ",\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}]", ",\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"s\"}}]",
                                      ",\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"s\"}}]"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if ((r = as(&w, "node", "POST", "/api/v1/namespaces/default/pods", arena_printf(a, pod, uid, bad[i]).p)).code != 403)
            fail_msg("%s: %d " STR_FMT, bad[i], r.code, STR_ARG(r.text));
    assert_code(as(&w, "node", "POST", "/api/v1/namespaces/default/pods", arena_printf(a, pod, uid, "").p), 201); /* (control) */
    end(&w);
}

/* Audit of 2022: who may read a node's proxy may not thereby run things on it; an upgrade that comes as GET is no reading. */
FIBER_TEST(reading_is_not_running)
{
    static const char upgrade[] = "Authorization: Bearer jane\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: v5.channel.k8s.io";
    struct world w;
    begin(&w);
    allow(&w, "{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"pods/exec\",\"pods/attach\",\"pods/portforward\",\"pods/log\"],\"verbs\":[\"get\",\"list\"]}");
    static const char *const subs[] = {"exec?command=id&stdout=true", "attach?stdout=true", "portforward?ports=80"};
    for (size_t i = 0; i < ARRAY_SIZE(subs); i++) {
        struct reply r = ask(&w.f, "GET", arena_printf(&w.f.arena, "/api/v1/namespaces/default/pods/p/%s", subs[i]).p, NULL, upgrade);
        assert_code(r, 403);
        assert_true(str_contains(r.text, STR("cannot create resource")));
    }
    end(&w);
}

/* A root's certificate as it stands within JSON. */
static const char *root(struct world *w)
{
    struct x509_key *key = NULL;
    struct x509_cert *cert = NULL;
    struct err e = {0};
    CLEANUP_BUF struct buf pem = BUF_INIT, text = BUF_INIT;
    struct x509_spec spec = {.names = {.cn = "root"}, .is_ca = true, .not_before = os_wall(), .not_after = {os_wall().ns + SECONDS(3600)}};
    assert_int_equal(x509_key_generate(&key), 0);
    assert_int_equal(x509_issue(&spec, key, NULL, NULL, &cert, &e), 0);
    x509_cert_pem(cert, &pem);
    json_encode_str(&text, buf_str(&pem), 0);
    x509_cert_unref(cert);
    x509_key_unref(key);
    return arena_cstr(&w->f.arena, buf_str(&text));
}

/* Who says what the roots of a signer are would make every workload trust them. */
FIBER_TEST(roots_of_a_signer_are_attested)
{
    static const char path[] = "/apis/certificates.k8s.io/v1/clustertrustbundles", roles[] = RBAC "clusterroles";
    static const char bundles[] = "{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":[\"clustertrustbundles\"],\"verbs\":[\"*\"]}";
    struct world w;
    begin(&w);
    struct arena *a = &w.f.arena;
    const char *bundle = arena_printf(a, "{\"metadata\":{\"name\":\"example.com:x:a\"},\"spec\":{\"signerName\":\"example.com/x\",\"trustBundle\":%s}}", root(&w)).p;
    assert_code(as(&w, "admin", "POST", roles, arena_printf(a, "{\"metadata\":{\"name\":\"b\"},\"rules\":[%s]}", bundles).p), 201);
    assert_code(as(&w, "admin", "POST", RBAC "clusterrolebindings", "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"b\"},"
                   "\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"jane\"}]}"), 201);
    struct reply r = as(&w, "jane", "POST", path, bundle);
    assert_code(r, 403);
    assert_true(str_contains(r.text, STR("user not permitted to attest for signerName")));
    assert_code(as(&w, "jane", "POST", path, arena_printf(a, "{\"metadata\":{\"name\":\"own\"},\"spec\":{\"trustBundle\":%s}}", root(&w)).p), 201); /* of no signer */
    assert_code(as(&w, "admin", "PATCH", RBAC "clusterroles/b",
                   arena_printf(a, "{\"rules\":[%s,{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":[\"signers\"],\"resourceNames\":[\"example.com/*\"],\"verbs\":[\"attest\"]}]}", bundles).p), 200);
    assert_code(as(&w, "jane", "POST", path, bundle), 201);
    assert_code(as(&w, "admin", "PATCH", RBAC "clusterroles/b", arena_printf(a, "{\"rules\":[%s]}", bundles).p), 200);
    assert_code(as(&w, "jane", "PATCH", arena_printf(a, "%s/example.com:x:a", path).p, "{\"metadata\":{\"finalizers\":[\"example.com/x\"]}}"), 200); /* as garbage collection does */
    assert_code(as(&w, "jane", "PATCH", arena_printf(a, "%s/example.com:x:a", path).p, arena_printf(a, "{\"spec\":{\"trustBundle\":%s}}", root(&w)).p), 403);
    end(&w);
}

/* An authenticated name is no more than a name: groups and namespaces within it are not believed. */
FIBER_TEST(names_are_only_names)
{
    static const char *const users[] = {"system:serviceaccount:kube-system:admin:x", "system:serviceaccount:Kube_System:x", "system:serviceaccount::x", "system:node:",
                                        "system:node:N1", "system:masters"};
    struct world w;
    begin(&w);
    assert_code(as(&w, "admin", "POST", RBAC "clusterrolebindings",
                   "{\"metadata\":{\"name\":\"x\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"view\"},"
                   "\"subjects\":[{\"kind\":\"ServiceAccount\",\"namespace\":\"kube-system\",\"name\":\"admin\"}]}"), 201);
    for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
        struct reply r = as(&w, "admin", "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                            arena_printf(&w.f.arena, "{\"spec\":{\"user\":\"%s\",\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"pods\"}}}", users[i]).p);
        assert_at(&w.f, r, "status.allowed", "false");
    }
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cluster_wide_objects_have_no_namespaced_path), cmocka_unit_test(parts_of_paths_lead_nowhere_else),
        cmocka_unit_test(patches_are_checked_as_updates),               cmocka_unit_test(nodes_do_not_own_themselves_away),
        cmocka_unit_test(mirror_pods_claim_nothing),                    cmocka_unit_test(reading_is_not_running),
        cmocka_unit_test(roots_of_a_signer_are_attested),               cmocka_unit_test(names_are_only_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
