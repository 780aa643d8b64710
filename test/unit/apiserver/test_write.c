/* SPDX-License-Identifier: Apache-2.0 */
/* create, update, patch, delete and their subresources. */
#include "fixture.h"

#define MAPS "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define DEPLOYMENTS "/apis/apps/v1/namespaces/default/deployments"

static const char pod[] =
    "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}";
static const char deployment[] = "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":2,\"selector\":{"
                                 "\"matchLabels\":{\"a\":\"b\"}},\"template\":"
                                 "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{"
                                 "\"name\":\"c\",\"image\":\"i\"}]}}}}";

static void start(struct fixture *f)
{
    fixture_start(f, NULL);
    assert_code(
        post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}"), 201);
}

FIBER_TEST(creates_once)
{
    struct fixture f;
    start(&f);
    make_config_map(&f, "a", NULL);
    struct reply r = post(&f, MAPS, "{\"metadata\":{\"name\":\"a\"}}");
    assert_code(r, 409);
    assert_at(&f, r, "reason", "AlreadyExists");
    assert_code(post(&f, MAPS, "{\"metadata\":{\"name\":\"b\",\"namespace\":\"other\"}}"), 400);
    assert_code(post(&f, MAPS, "{\"metadata\":{\"name\":\"b\",\"resourceVersion\":\"5\"}}"), 400);
    assert_code(post(&f, MAPS, "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"b\"}}"),
                400);
    assert_code(post(&f, MAPS, ""), 400);
    assert_code(post(&f, "/api/v1/namespaces/none/configmaps", "{\"metadata\":{\"name\":\"b\"}}"), 404);
    fixture_stop(&f);
}

FIBER_TEST(generates_names)
{
    struct fixture f;
    start(&f);
    struct reply r = post(&f, MAPS, "{\"metadata\":{\"generateName\":\"x-\"}}");
    assert_code(r, 201);
    assert_int_equal(strlen(at(&f, r.v, "metadata.name")), 7);
    assert_memory_equal(at(&f, r.v, "metadata.name"), "x-", 2);
    fixture_stop(&f);
}

FIBER_TEST(dry_run_leaves_nothing)
{
    struct fixture f;
    start(&f);
    struct reply r = post(&f, MAPS "?dryRun=All", "{\"metadata\":{\"name\":\"a\"}}");
    assert_code(r, 201);
    assert_true(*at(&f, r.v, "metadata.uid"));
    assert_at(&f, r, "metadata.resourceVersion", "");
    assert_code(get(&f, MAPS "/a"), 404);
    make_config_map(&f, "a", NULL);
    assert_code(ask(&f, "DELETE", MAPS "/a?dryRun=All", NULL, NULL), 200);
    assert_code(get(&f, MAPS "/a"), 200);
    assert_code(post(&f, MAPS "?dryRun=Some", "{\"metadata\":{\"name\":\"c\"}}"), 422);
    fixture_stop(&f);
}

FIBER_TEST(updates_need_the_present_revision)
{
    struct fixture f;
    start(&f);
    make_config_map(&f, "a", NULL);
    const char *rv = at(&f, get(&f, MAPS "/a").v, "metadata.resourceVersion");
    struct str body = arena_printf(
        &f.arena, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%s\"},\"data\":{\"k\":\"w\"}}", rv);
    struct reply r = ask(&f, "PUT", MAPS "/a", body.p, NULL);
    assert_code(r, 200);
    assert_at(&f, r, "data.k", "w");
    r = ask(&f, "PUT", MAPS "/a", body.p, NULL);
    assert_code(r, 409);
    assert_at(&f, r, "reason", "Conflict");
    r = ask(&f, "PUT", MAPS "/a", "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"z\"}}", NULL);
    assert_code(r, 200); /* unconditional */
    assert_code(ask(&f, "PUT", MAPS "/a", "{\"metadata\":{\"name\":\"b\"}}", NULL), 400);
    assert_code(ask(&f, "PUT", MAPS "/a", "{\"metadata\":{\"name\":\"a\",\"uid\":\"1\"}}", NULL), 409);
    assert_code(ask(&f, "PUT", MAPS "/none", "{\"metadata\":{\"name\":\"none\"}}", NULL), 404);
    fixture_stop(&f);
}

FIBER_TEST(nothing_changed_writes_nothing)
{
    struct fixture f;
    start(&f);
    make_config_map(&f, "a", NULL);
    const char *rv = at(&f, get(&f, MAPS "/a").v, "metadata.resourceVersion");
    struct reply r = patch(&f, MAPS "/a", "merge-patch+json", "{\"data\":{\"k\":\"v\"}}");
    assert_at(&f, r, "metadata.resourceVersion", rv);
    fixture_stop(&f);
}

FIBER_TEST(patches_of_three_kinds)
{
    struct fixture f;
    start(&f);
    make_config_map(&f, "a", NULL);
    struct reply r =
        patch(&f, MAPS "/a", "json-patch+json", "[{\"op\":\"add\",\"path\":\"/data/x\",\"value\":\"1\"}]");
    assert_at(&f, r, "data.x", "1");
    r = patch(&f, MAPS "/a", "merge-patch+json", "{\"data\":{\"x\":null,\"y\":\"2\"}}");
    assert_at(&f, r, "data.x", "");
    assert_at(&f, r, "data.y", "2");
    assert_code(post(&f, DEPLOYMENTS, deployment), 201);
    r = patch(&f, DEPLOYMENTS "/d", "strategic-merge-patch+json",
              "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"e\",\"image\":\"j\"}]}}}}");
    assert_code(r, 200);
    assert_at(&f, r, "spec.template.spec.containers.1.name", "c");
    assert_at(&f, r, "metadata.generation", "2");
    assert_code(patch(&f, MAPS "/a", "apply-patch+yaml", "{}"), 422); /* who applies says who they are */
    assert_code(patch(&f, MAPS "/a", "nothing", "{}"), 415);
    fixture_stop(&f);
}

FIBER_TEST(field_validation)
{
    struct fixture f;
    start(&f);
    struct reply r = post(&f, MAPS "?fieldValidation=Strict", "{\"metadata\":{\"name\":\"a\"},\"zz\":1}");
    assert_code(r, 400);
    assert_true(str_contains(str_of(at(&f, r.v, "message")), STR("unknown field \"zz\"")));
    r = post(&f, MAPS "?fieldValidation=Warn", "{\"metadata\":{\"name\":\"a\"},\"zz\":1}");
    assert_code(r, 201);
    assert_str(http_header(&r.headers, "warning"), "299 - \"unknown field \\\"zz\\\"\"");
    fixture_stop(&f);
}

FIBER_TEST(status_is_apart)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, DEPLOYMENTS, deployment), 201);
    struct reply r = patch(&f, DEPLOYMENTS "/d/status", "merge-patch+json",
                           "{\"spec\":{\"replicas\":9},\"status\":{\"replicas\":1}}");
    assert_at(&f, r, "spec.replicas", "2");
    assert_at(&f, r, "status.replicas", "1");
    r = patch(&f, DEPLOYMENTS "/d", "merge-patch+json",
              "{\"spec\":{\"replicas\":3},\"status\":{\"replicas\":7}}");
    assert_at(&f, r, "spec.replicas", "3");
    assert_at(&f, r, "status.replicas", "1");
    fixture_stop(&f);
}

FIBER_TEST(scale_is_a_view)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, DEPLOYMENTS, deployment), 201);
    struct reply r = get(&f, DEPLOYMENTS "/d/scale");
    assert_at(&f, r, "kind", "Scale");
    assert_at(&f, r, "spec.replicas", "2");
    assert_at(&f, r, "status.selector", "a=b");
    r = patch(&f, DEPLOYMENTS "/d/scale", "merge-patch+json", "{\"spec\":{\"replicas\":5}}");
    assert_code(r, 200);
    assert_at(&f, get(&f, DEPLOYMENTS "/d"), "spec.replicas", "5");
    assert_at(&f, get(&f, DEPLOYMENTS "/d"), "metadata.generation", "2");
    assert_code(patch(&f, DEPLOYMENTS "/d/scale", "merge-patch+json", "{\"spec\":{\"replicas\":-1}}"), 422);
    fixture_stop(&f);
}

FIBER_TEST(binding_gives_a_node_once)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, PODS, pod), 201);
    assert_code(post(&f, PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}"), 201);
    struct reply r = get(&f, PODS "/p");
    assert_at(&f, r, "spec.nodeName", "n");
    assert_at(&f, r, "status.conditions.0.type", "PodScheduled");
    assert_code(post(&f, PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"m\"}}"), 409);
    assert_code(post(&f, PODS "/none/binding", "{\"target\":{\"name\":\"m\"}}"), 404);
    assert_code(post(&f, PODS "/p/binding", "{\"target\":{}}"), 422);
    fixture_stop(&f);
}

FIBER_TEST(deletes_with_preconditions)
{
    struct fixture f;
    start(&f);
    make_config_map(&f, "a", NULL);
    assert_code(ask(&f, "DELETE", MAPS "/a", "{\"preconditions\":{\"uid\":\"other\"}}", NULL), 409);
    assert_code(ask(&f, "DELETE", MAPS "/a", "{\"preconditions\":{\"resourceVersion\":\"1\"}}", NULL), 409);
    assert_code(ask(&f, "DELETE", MAPS "/a", "{\"propagationPolicy\":\"Bogus\"}", NULL), 422);
    struct reply r = ask(&f, "DELETE", MAPS "/a", NULL, NULL);
    assert_code(r, 200);
    assert_at(&f, r, "kind", "Status");
    assert_at(&f, r, "status", "Success");
    assert_at(&f, r, "details.kind", "configmaps");
    assert_code(ask(&f, "DELETE", MAPS "/a", NULL, NULL), 404);
    fixture_stop(&f);
}

FIBER_TEST(finalizers_hold_a_deletion)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, MAPS, "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.io/y\"]}}"), 201);
    struct reply r = ask(&f, "DELETE", MAPS "/a", NULL, NULL);
    assert_at(&f, r, "kind", "ConfigMap");
    assert_true(*at(&f, r.v, "metadata.deletionTimestamp"));
    assert_code(get(&f, MAPS "/a"), 200);
    assert_code(patch(&f, MAPS "/a", "merge-patch+json", "{\"metadata\":{\"finalizers\":null}}"), 200);
    assert_code(get(&f, MAPS "/a"), 404);
    fixture_stop(&f);
}

FIBER_TEST(propagation_becomes_a_finalizer)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, DEPLOYMENTS, deployment), 201);
    struct reply r = ask(&f, "DELETE", DEPLOYMENTS "/d", "{\"propagationPolicy\":\"Foreground\"}", NULL);
    assert_at(&f, r, "metadata.finalizers.0", "foregroundDeletion");
    r = ask(&f, "DELETE", DEPLOYMENTS "/d", "{\"propagationPolicy\":\"Orphan\"}", NULL);
    assert_at(&f, r, "metadata.finalizers.0", "orphan");
    assert_code(ask(&f, "DELETE", DEPLOYMENTS "/d", "{\"propagationPolicy\":\"Background\"}", NULL), 200);
    assert_code(get(&f, DEPLOYMENTS "/d"), 404);
    fixture_stop(&f);
}

FIBER_TEST(pods_go_gracefully)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, PODS, pod), 201);
    assert_code(post(&f, PODS "/p/binding", "{\"target\":{\"name\":\"n\"}}"), 201);
    struct reply r = ask(&f, "DELETE", PODS "/p", NULL, NULL);
    assert_at(&f, r, "metadata.deletionGracePeriodSeconds", "30");
    r = ask(&f, "DELETE", PODS "/p", "{\"gracePeriodSeconds\":5}", NULL);
    assert_at(&f, r, "metadata.deletionGracePeriodSeconds", "5");
    r = ask(&f, "DELETE", PODS "/p", "{\"gracePeriodSeconds\":60}", NULL); /* only shorter */
    assert_at(&f, r, "metadata.deletionGracePeriodSeconds", "5");
    assert_code(ask(&f, "DELETE", PODS "/p?gracePeriodSeconds=0", NULL, NULL), 200);
    assert_code(get(&f, PODS "/p"), 404);
    assert_code(post(&f, PODS, pod), 201); /* nobody runs this one: it goes at once */
    assert_code(ask(&f, "DELETE", PODS "/p", NULL, NULL), 200);
    assert_code(get(&f, PODS "/p"), 404);
    fixture_stop(&f);
}

FIBER_TEST(namespaces_end_when_finalized)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"x\"}}"), 201);
    struct reply r = ask(&f, "DELETE", "/api/v1/namespaces/x", NULL, NULL);
    assert_at(&f, r, "status.phase", "Terminating");
    r = post(&f, "/api/v1/namespaces/x/configmaps", "{\"metadata\":{\"name\":\"a\"}}");
    assert_code(r, 403);
    assert_at(&f, r, "details.causes.0.reason", "NamespaceTerminating");
    assert_code(
        ask(&f, "PUT", "/api/v1/namespaces/x/finalize", "{\"metadata\":{\"name\":\"x\"},\"spec\":{}}", NULL),
        200);
    assert_code(get(&f, "/api/v1/namespaces/x"), 404);
    assert_code(ask(&f, "DELETE", "/api/v1/namespaces/default", NULL, NULL), 403);
    fixture_stop(&f);
}

FIBER_TEST(deletes_collections)
{
    struct fixture f;
    start(&f);
    make_config_map(&f, "a", "{\"t\":\"x\"}");
    make_config_map(&f, "b", "{\"t\":\"x\"}");
    make_config_map(&f, "c", "{\"t\":\"y\"}");
    struct reply r = ask(&f, "DELETE", MAPS "?labelSelector=t%3Dx", NULL, NULL);
    assert_code(r, 200);
    assert_at(&f, r, "kind", "ConfigMapList");
    assert_code(get(&f, MAPS "/a"), 404);
    assert_code(get(&f, MAPS "/c"), 200);
    fixture_stop(&f);
}

#define BUDGETS "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
#define EVICTION "{\"kind\":\"Eviction\",\"apiVersion\":\"policy/v1\",\"metadata\":{\"name\":\"p\"}"

/* A pod "p" on a node, so that it takes its time to go; ready: its condition. */
static void make_evictable(struct fixture *f, const char *ready)
{
    struct str status = arena_printf(&f->arena,
                                     "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":"
                                     "\"%s\"}]}}",
                                     ready);
    assert_code(post(f, PODS,
                     "{\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"nodeName\":\"n\",\"containers\":"
                     "[{\"name\":\"c\",\"image\":\"i\"}]}}"),
                201);
    assert_code(patch(f, PODS "/p/status", "merge-patch+json", status.p), 200);
}

static void make_budget(struct fixture *f, const char *name, const char *policy)
{
    struct str body = arena_printf(&f->arena,
                                   "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"minAvailable\":1%s,\"selector\":"
                                   "{\"matchLabels\":{\"a\":\"b\"}}}}",
                                   name, policy);
    assert_code(post(f, BUDGETS, body.p), 201);
}

static void set_budget(struct fixture *f, const char *status)
{
    struct str body = arena_printf(&f->arena, "{\"status\":{\"observedGeneration\":1,%s}}", status);
    assert_code(patch(f, BUDGETS "/b/status", "merge-patch+json", body.p), 200);
}

FIBER_TEST(evictions_ask_the_budget)
{
    struct fixture f;
    start(&f);
    make_evictable(&f, "True");
    make_budget(&f, "b", "");
    struct reply r = post(&f, PODS "/p/eviction", EVICTION "}");
    assert_code(r, 429);
    assert_at(&f, r, "message", "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_at(&f, r, "details.causes.0.reason", "DisruptionBudget");
    assert_at(&f, r, "details.causes.0.message", "The disruption budget b is still being processed by the server.");
    assert_at(&f, r, "details.retryAfterSeconds", "10");
    set_budget(&f, "\"currentHealthy\":1,\"desiredHealthy\":1,\"expectedPods\":1,\"disruptionsAllowed\":0");
    r = post(&f, PODS "/p/eviction", EVICTION "}");
    assert_code(r, 429);
    assert_at(&f, r, "details.causes.0.message", "The disruption budget b needs 1 healthy pods and has 1 currently");
    set_budget(&f, "\"currentHealthy\":9,\"desiredHealthy\":1,\"expectedPods\":1,\"disruptionsAllowed\":0,\"conditions\":"
                   "[{\"type\":\"DisruptionAllowed\",\"status\":\"False\",\"reason\":\"SyncFailed\",\"message\":\"why\","
                   "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]");
    r = post(&f, PODS "/p/eviction", EVICTION "}");
    assert_at(&f, r, "details.causes.0.message",
              "The disruption budget b does not allow evicting pods currently because it failed sync: why");
    set_budget(&f, "\"currentHealthy\":2,\"desiredHealthy\":1,\"expectedPods\":2,\"disruptionsAllowed\":1");
    assert_code(post(&f, PODS "/p/eviction?dryRun=All", EVICTION "}"), 201);
    assert_at(&f, get(&f, BUDGETS "/b"), "status.disruptionsAllowed", "1");
    assert_code(post(&f, PODS "/p/eviction", EVICTION "}"), 201);
    r = get(&f, PODS "/p");
    assert_code(r, 200);
    assert_at(&f, r, "metadata.deletionGracePeriodSeconds", "30");
    assert_at(&f, r, "status.conditions.1.type", "DisruptionTarget");
    assert_at(&f, r, "status.conditions.1.reason", "EvictionByEvictionAPI");
    assert_at(&f, r, "status.conditions.1.message", "Eviction API: evicting");
    r = get(&f, BUDGETS "/b");
    assert_at(&f, r, "status.disruptionsAllowed", "0");
    assert_at(&f, r, "status.conditions.0.reason", "InsufficientPods");
    assert_code(post(&f, PODS "/p/eviction", EVICTION "}"), 201); /* it goes already */
    fixture_stop(&f);
}

FIBER_TEST(pods_that_are_not_ready_may_be_evicted)
{
    struct fixture f;
    start(&f);
    make_evictable(&f, "False");
    make_budget(&f, "b", "");
    assert_code(post(&f, PODS "/p/eviction", EVICTION "}"), 429);
    set_budget(&f, "\"currentHealthy\":0,\"desiredHealthy\":1,\"expectedPods\":1,\"disruptionsAllowed\":0");
    assert_code(post(&f, PODS "/p/eviction", EVICTION "}"), 429); /* not while too few are healthy */
    set_budget(&f, "\"currentHealthy\":1,\"desiredHealthy\":1,\"expectedPods\":2,\"disruptionsAllowed\":0");
    assert_code(post(&f, PODS "/p/eviction", EVICTION "}"), 201);
    assert_code(ask(&f, "DELETE", PODS "/p?gracePeriodSeconds=0", NULL, NULL), 200);
    assert_code(ask(&f, "DELETE", BUDGETS "/b", NULL, NULL), 200);
    make_evictable(&f, "False");
    make_budget(&f, "b", ",\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\"");
    assert_code(post(&f, PODS "/p/eviction", EVICTION "}"), 201);
    fixture_stop(&f);
}

FIBER_TEST(evictions_are_checked)
{
    struct fixture f;
    start(&f);
    make_evictable(&f, "True");
    assert_code(post(&f, PODS "/q/eviction", EVICTION "}"), 400);
    assert_code(post(&f, PODS "/p/eviction",
                     EVICTION ",\"deleteOptions\":{\"preconditions\":{\"uid\":\"another\"}}}"),
                409);
    assert_code(post(&f, PODS "/p/eviction",
                     EVICTION ",\"deleteOptions\":{\"preconditions\":{\"resourceVersion\":\"1\"}}}"),
                409);
    assert_code(post(&f, PODS "/p/eviction",
                     EVICTION ",\"deleteOptions\":{\"ignoreStoreReadErrorWithClusterBreakingPotential\":true}}"),
                422);
    make_budget(&f, "b", "");
    make_budget(&f, "c", "");
    struct reply r = post(&f, PODS "/p/eviction", EVICTION "}");
    assert_code(r, 500);
    assert_at(&f, r, "message",
              "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    assert_code(ask(&f, "DELETE", BUDGETS, NULL, NULL), 200);
    assert_code(post(&f, PODS "/p/eviction", EVICTION ",\"deleteOptions\":{\"gracePeriodSeconds\":3}}"), 201);
    assert_at(&f, get(&f, PODS "/p"), "metadata.deletionGracePeriodSeconds", "3");
    fixture_stop(&f);
}

FIBER_TEST(bodies_are_limited)
{
    struct fixture f;
    struct apiserver_config c = {.authorization = "AlwaysAllow", .max_body = 1000};
    fixture_start(&f, &c);
    char *big = arena_bytes(&f.arena, 3000);
    memset(big, ' ', 2999);
    big[2999] = '\0';
    assert_code(post(&f, MAPS, big), 413);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creates_once),
        cmocka_unit_test(generates_names),
        cmocka_unit_test(dry_run_leaves_nothing),
        cmocka_unit_test(updates_need_the_present_revision),
        cmocka_unit_test(nothing_changed_writes_nothing),
        cmocka_unit_test(patches_of_three_kinds),
        cmocka_unit_test(field_validation),
        cmocka_unit_test(status_is_apart),
        cmocka_unit_test(scale_is_a_view),
        cmocka_unit_test(binding_gives_a_node_once),
        cmocka_unit_test(deletes_with_preconditions),
        cmocka_unit_test(finalizers_hold_a_deletion),
        cmocka_unit_test(propagation_becomes_a_finalizer),
        cmocka_unit_test(pods_go_gracefully),
        cmocka_unit_test(namespaces_end_when_finalized),
        cmocka_unit_test(deletes_collections),
        cmocka_unit_test(evictions_ask_the_budget),
        cmocka_unit_test(pods_that_are_not_ready_may_be_evicted),
        cmocka_unit_test(evictions_are_checked),
        cmocka_unit_test(bodies_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
