/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of a Pod that ends while others look at them. */
#include "node/podcerts.h"

#include "client/fake_client.h"
#include "node/kubelet-internal.h"
#include "testing.h"

static struct arena arena;
static struct worker *seen_worker;
static bool freeing, watching;
static int seen_before, seen_while;

static void visit(void *arg UNUSED, const char *signer, const char *state)
{
    assert_string_equal(signer, "s.x/y");
    assert_string_equal(state, "not_yet_issued");
    *(freeing ? &seen_while : &seen_before) += 1;
}

/* Somebody who reads metrics all the time. */
static void look(void *arg UNUSED)
{
    while (watching) {
        pod_certs_each(seen_worker, os_wall(), visit, NULL);
        fiber_yield();
    }
}

FIBER_TEST(test_end_is_not_seen)
{
    struct kubelet *k = NEW(struct kubelet);
    struct fake_client *f = fake_client_new();
    struct group g = {0};
    struct err e = {{0}};
    struct str key, chain;
    struct object *pod = object_relaxed(RES_PODS, "{metadata: {namespace: ns, name: p, uid: u}, spec: {containers: [{name: c}]}}");
    const struct val *source = val_relaxed(&arena, NULL, "{signerName: 's.x/y', keyType: ED25519}");
    struct val *own = val_new(&arena, VAL_OBJ);
    val_set_str(&arena, own, N_signerName, val_str(val_key(source, STR("signerName"))));
    k->client = fake_client_as(f); /* the Node is not known: they ask again later */
    struct worker *w = seen_worker = worker_new(k, pod->uid, pod->namespace_, pod->name);
    w->pod = pod;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pod_cert_get(w, pod->val, STR("v"), i, own, &arena, &key, &chain, &e), -EAGAIN);
    watching = true;
    group_spawn(&g, "look", look, NULL);
    for (int i = 0; i < 4; i++)
        fiber_yield();
    assert_true(seen_before >= 3);
    freeing = true;
    pod_certs_free(w);
    for (int i = 0; i < 4; i++)
        fiber_yield();
    watching = false;
    group_wait(&g, MONO_NEVER);
    assert_int_equal(seen_while, 0);
    map_del(&k->workers, STR("u"));
    worker_free(w);
    map_done(&k->workers);
    fake_client_free(f);
    free(k);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_end_is_not_seen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
