/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/csr.h"

#include "auth/x509.h"
#include "testing.h"
#include "type/meta.h"
#include "wire/json.h"
#include "world.h"

static struct buf ca_cert, ca_key;

static int make_ca(void **state)
{
    struct x509_key *key;
    struct x509_cert *cert;
    struct x509_spec spec = {.names = {.cn = "ca"},
                             .is_ca = true,
                             .not_before = {world_now.ns - SECONDS(3600)},
                             .not_after = {world_now.ns + SECONDS(3600) * 24 * 3650}};
    assert_int_equal(x509_key_generate(&key), 0);
    assert_int_equal(x509_issue(&spec, key, NULL, NULL, &cert, NULL), 0);
    x509_cert_pem(cert, &ca_cert);
    x509_key_pem(key, &ca_key);
    x509_cert_unref(cert);
    x509_key_unref(key);
    return 0;
}

static int drop_ca(void **state)
{
    buf_done(&ca_cert);
    buf_done(&ca_key);
    return 0;
}

struct request {
    const char *cn, *org, *dns, *signer, *usages, *username, *status, *more;
};

static void add_request(struct world *w, const struct request *r)
{
    struct x509_key *key;
    struct buf pem CLEANUP_BUF = BUF_INIT, json CLEANUP_BUF = BUF_INIT;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *orgs[] = {r->org, NULL}, *dns[] = {r->dns, NULL};
    struct x509_names names = {.cn = r->cn, .orgs = orgs, .dns = r->dns ? dns : NULL};
    assert_int_equal(x509_key_generate(&key), 0);
    assert_int_equal(x509_csr_make(&names, key, &pem, NULL), 0);
    x509_key_unref(key);
    struct val *v = val_relaxed(
        &a, resources[RES_CERTIFICATESIGNINGREQUESTS].type,
        arena_cstr(
            &a, arena_printf(
                    &a,
                    "{metadata: {name: r, creationTimestamp: '2026-01-01T00:00:00Z'}, "
                    "spec: {signerName: 'kubernetes.io/%s', usages: [%s], username: '%s', %s}, status: {%s}}",
                    r->signer, r->usages, r->username ? r->username : "someone", r->more ? r->more : "",
                    r->status ? r->status : "")));
    val_set(&a, val_mut(v, N_spec), N_request, val_of_bytes(arena_str(&a, buf_str(&pem))));
    json_encode(&json, resources[RES_CERTIFICATESIGNINGREQUESTS].type, v, 0);
    world_add(w, RES_CERTIFICATESIGNINGREQUESTS, json.p);
}

#define CLIENT_USAGES "'digital signature', 'client auth'"
#define NODE_CLIENT                                                                                          \
    .cn = "system:node:n1", .org = "system:nodes", .signer = "kube-apiserver-client-kubelet",                \
    .usages = CLIENT_USAGES
#define APPROVED "conditions: [{type: Approved, status: 'True', lastUpdateTime: '2026-01-01T00:00:00Z'}]"

static void kubelets_requests_are_approved_when_allowed(void **state)
{
    struct world *w = world_new();
    const char *allowed =
        "check-allowed subjectaccessreviews r\nupdate certificatesigningrequests r approval\n";
    add_request(w, &(struct request){NODE_CLIENT, .username = "system:node:n1"});
    assert_string_equal(world_reconcile(w, &csr_approving_controller, "r"), allowed);
    const struct val *attributes = val_at(world_write(w, 0)->body, N_spec, N_resourceAttributes);
    assert_str(val_getstr(attributes, N_subresource), "selfnodeclient");
    assert_str(val_str(val_at(world_write(w, 0)->body, N_spec, N_user)), "system:node:n1");
    assert_string_equal(world_refuse(w, &csr_approving_controller, "r", 0, 403, "no"), allowed);
    assert_str(val_str(val_at(world_write(w, 0)->body, N_spec, N_resourceAttributes, N_subresource)),
               "nodeclient");
    add_request(w, &(struct request){NODE_CLIENT, .username = "system:bootstrap:x"});
    assert_string_equal(world_reconcile(w, &csr_approving_controller, "r"), allowed);
    assert_str(val_str(val_at(world_write(w, 0)->body, N_spec, N_resourceAttributes, N_subresource)),
               "nodeclient");
    assert_string_equal(world_refuse(w, &csr_approving_controller, "r", 0, 403, "no"), "");
    world_free(w);
}

static void others_requests_wait_for_people(void **state)
{
    static const struct request cases[] = {
        {NODE_CLIENT, .status = APPROVED},
        {.cn = "system:node:n1",
         .org = "system:masters",
         .signer = "kube-apiserver-client-kubelet",
         .usages = CLIENT_USAGES},
        {.cn = "alice",
         .org = "system:nodes",
         .signer = "kube-apiserver-client-kubelet",
         .usages = CLIENT_USAGES},
        {.cn = "system:node:n1",
         .org = "system:nodes",
         .dns = "n1",
         .signer = "kube-apiserver-client-kubelet",
         .usages = CLIENT_USAGES},
        {.cn = "system:node:n1",
         .org = "system:nodes",
         .signer = "kube-apiserver-client",
         .usages = CLIENT_USAGES},
        {.cn = "system:node:n1",
         .org = "system:nodes",
         .signer = "kube-apiserver-client-kubelet",
         .usages = "'server auth'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        add_request(w, &cases[i]);
        assert_string_equal(world_reconcile(w, &csr_approving_controller, "r"), "");
        world_free(w);
    }
}

static const char *sign(struct world *w)
{
    world_config(w)->signing_cert = buf_str(&ca_cert);
    world_config(w)->signing_key = buf_str(&ca_key);
    return world_reconcile(w, &csr_signing_controller, "r");
}

static void approved_requests_are_signed(void **state)
{
    struct world *w = world_new();
    add_request(w, &(struct request){NODE_CLIENT, .status = APPROVED, .more = "expirationSeconds: 86400"});
    assert_non_null(strstr(sign(w), "status certificatesigningrequests r "));
    struct x509_cert *cert, *ca;
    struct x509_names names;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    assert_int_equal(
        x509_cert_parse(val_str(val_at(world_write(w, 0)->body, N_status, N_certificate)), &cert, NULL), 0);
    assert_int_equal(x509_cert_parse(buf_str(&ca_cert), &ca, NULL), 0);
    x509_cert_names(cert, &a, &names);
    assert_string_equal(names.cn, "system:node:n1");
    assert_string_equal(names.orgs[0], "system:nodes");
    assert_true(x509_cert_signed_by(cert, ca));
    assert_false(x509_cert_is_ca(cert));
    assert_int_equal(x509_cert_usages(cert) & (X509_CLIENT_AUTH | X509_SERVER_AUTH), X509_CLIENT_AUTH);
    assert_int_equal(x509_cert_not_after(cert).ns, world_now.ns + SECONDS(86400 - 300));
    assert_int_equal(x509_cert_not_before(cert).ns, world_now.ns - SECONDS(300));
    x509_cert_unref(cert);
    x509_cert_unref(ca);
    world_apply(w);
    assert_string_equal(sign(w), "");
    world_free(w);
}

static void requests_against_the_rules_fail(void **state)
{
    struct world *w = world_new();
    add_request(w, &(struct request){.cn = "system:node:n1",
                                     .org = "system:nodes",
                                     .signer = "kubelet-serving",
                                     .usages = "'digital signature', 'server auth'",
                                     .status = APPROVED});
    assert_non_null(strstr(sign(w), "\"reason\":\"SignerValidationFailure\""));
    add_request(w, &(struct request){NODE_CLIENT}); /* nobody approved it */
    assert_string_equal(sign(w), "");
    add_request(w,
                &(struct request){
                    .cn = "x", .org = "y", .signer = "other", .usages = CLIENT_USAGES, .status = APPROVED});
    assert_string_equal(sign(w), "");
    world_free(w);
}

static void old_requests_are_cleared_away(void **state)
{
    struct world *w = world_new();
    struct wall start = world_now;
    add_request(w, &(struct request){NODE_CLIENT, .status = APPROVED});
    assert_string_equal(world_reconcile(w, &csr_cleaner_controller, "r"), "again 1h0m0s\n");
    world_now.ns += SECONDS(3600);
    assert_string_equal(world_reconcile(w, &csr_cleaner_controller, "r"),
                        "delete certificatesigningrequests r\n");
    add_request(w, &(struct request){NODE_CLIENT});
    assert_string_equal(world_reconcile(w, &csr_cleaner_controller, "r"), "again 23h0m0s\n");
    world_now = start;
    world_free(w);
}

static void old_requests_of_pods_are_cleared_away(void **state)
{
    struct world *w = world_new();
    struct wall start = world_now;
    world_add(w, RES_PODCERTIFICATEREQUESTS, "{metadata: {name: r, namespace: ns, creationTimestamp: '2026-01-01T00:00:00Z'}}");
    assert_string_equal(world_reconcile(w, &pod_certificate_cleaner_controller, "ns/r"), "again 15m0s\n");
    world_now.ns += SECONDS(900);
    assert_string_equal(world_reconcile(w, &pod_certificate_cleaner_controller, "ns/r"), "delete podcertificaterequests ns/r\n");
    world_now = start;
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kubelets_requests_are_approved_when_allowed),
        cmocka_unit_test(others_requests_wait_for_people),
        cmocka_unit_test(approved_requests_are_signed),
        cmocka_unit_test(requests_against_the_rules_fail),
        cmocka_unit_test(old_requests_are_cleared_away),
        cmocka_unit_test(old_requests_of_pods_are_cleared_away),
    };
    return cmocka_run_group_tests(tests, make_ca, drop_ca);
}
