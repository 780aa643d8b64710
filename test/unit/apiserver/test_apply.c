/* SPDX-License-Identifier: Apache-2.0 */
/* Who manages what after each kind of write, and server-side apply through the doors of the API. */
#include "fixture.h"

#include "wire/json.h"

#define MAPS "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define APPS "/apis/apps/v1/namespaces/default/"
#define DEPLOYMENT APPS "deployments/d"
#define TEMPLATE \
    "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}," \
    "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

static void start(struct fixture *f)
{
    fixture_start(f, NULL);
    assert_code(post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}"), 201);
}

/* "manager operation version/subresource {fields}" of each entry, a line each. */
static const char *managers(struct fixture *f, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH (val_key(val_key(v, STR("metadata")), STR("managedFields")), e) {
        buf_printf(&b, "%s %s %s/%s ", val_cstr(val_key(e, STR("manager"))), val_cstr(val_key(e, STR("operation"))),
                   val_cstr(val_key(e, STR("apiVersion"))), val_cstr(val_key(e, STR("subresource"))));
        json_encode(&b, NULL, val_key(e, STR("fieldsV1")), 0);
        buf_puts(&b, "\n");
    }
    return arena_str(&f->arena, buf_str(&b)).p;
}

#define assert_has(text, want) \
    do { \
        const char *text_ = (text); \
        if (!strstr(text_, (want))) \
            fail_msg("no %s in\n%s", (want), text_); \
    } while (0)
#define assert_has_no(text, what) \
    do { \
        const char *text_ = (text); \
        if (strstr(text_, (what))) \
            fail_msg("%s in\n%s", (what), text_); \
    } while (0)

static struct reply apply(struct fixture *f, const char *path, const char *body)
{
    return patch(f, path, "apply-patch+yaml", body);
}

FIBER_TEST(apply_makes_and_changes)
{
    struct fixture f;
    start(&f);
    static const char first[] = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"1\"}}";
    assert_code(apply(&f, MAPS "/m?fieldManager=a&dryRun=All", first), 201);
    assert_code(get(&f, MAPS "/m"), 404);
    assert_code(apply(&f, MAPS "/m?fieldManager=a", first), 201);
    struct reply r = apply(&f, MAPS "/m?fieldManager=a", first);
    assert_code(r, 200);
    assert_string_equal(managers(&f, r.v), "a Apply v1/ {\"f:data\":{\"f:x\":{}}}\n");
    r = apply(&f, MAPS "/m?fieldManager=b", "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"2\"}}");
    assert_code(r, 409);
    assert_at(&f, r, "details.causes.0.field", ".data.x");
    assert_code(apply(&f, MAPS "/m?fieldManager=a", "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":[]}"), 500);
    assert_code(apply(&f, MAPS "/m?fieldManager=a", "[]"), 400);
    assert_code(apply(&f, MAPS "/m?fieldManager=a", "{\"apiVersion\":\"v1\",\"kind\":[]}"), 400);
    fixture_stop(&f);
}

FIBER_TEST(managers_stay_through_other_writes)
{
    struct fixture f;
    start(&f);
    struct reply r = post(&f, PODS "?fieldManager=a", "{\"metadata\":{\"generateName\":\"p-\",\"finalizers\":[\"x/y\"]},\"spec\":{"
                          "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
    assert_code(r, 201);
    const char *name = at(&f, r.v, "metadata.name"), *path = arena_printf(&f.arena, PODS "/%s", name).p;
    const char *was = managers(&f, r.v);
    assert_has(was, "a Update v1/ ");
    assert_code(post(&f, arena_printf(&f.arena, "%s/binding", path).p, "{\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}"), 201);
    assert_string_equal(managers(&f, get(&f, path).v), was);
    assert_code(ask(&f, "DELETE", path, NULL, NULL), 200);
    r = get(&f, path);
    assert_true(at(&f, r.v, "metadata.deletionTimestamp")[0]);
    assert_string_equal(managers(&f, r.v), was);
    r = patch(&f, arena_printf(&f.arena, "%s/status?fieldManager=k", path).p, "merge-patch+json",
              "{\"status\":{\"phase\":\"Running\"},\"spec\":{\"nodeName\":\"z\"}}");
    assert_code(r, 200);
    assert_has(managers(&f, r.v), "k Update v1/status {\"f:status\":{\"f:phase\":{}}}\n");
    fixture_stop(&f);
}

FIBER_TEST(sent_managers_count)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, MAPS "?fieldManager=a", "{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"1\"}}"), 201);
    static const char *const bad[] = {"[{\"manager\":\"z\"}]", "[{},{}]", "null",
        "[{\"manager\":\"z\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:a\":[]}}]"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct reply r = ask(&f, "PUT", MAPS "/m?fieldManager=a", arena_printf(&f.arena,
            "{\"metadata\":{\"name\":\"m\",\"managedFields\":%s},\"data\":{\"x\":\"1\"}}", bad[i]).p, NULL);
        assert_code(r, 200);
        assert_string_equal(managers(&f, r.v), "a Update v1/ {\"f:data\":{\".\":{},\"f:x\":{}}}\n");
    }
    struct reply r = ask(&f, "PUT", MAPS "/m?fieldManager=a", "{\"metadata\":{\"name\":\"m\",\"managedFields\":[{\"manager\":\"z\","
        "\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:x\":{}}}}]},\"data\":{\"x\":\"1\"}}", NULL);
    assert_string_equal(managers(&f, r.v), "z Update v1/ {\"f:data\":{\"f:x\":{}}}\n");
    r = patch(&f, MAPS "/m?fieldManager=a", "merge-patch+json", "{\"metadata\":{\"managedFields\":[{}]}}");
    assert_string_equal(managers(&f, r.v), "");
    r = patch(&f, MAPS "/m?fieldManager=a", "merge-patch+json", "{\"data\":{\"x\":\"2\"}}");
    assert_string_equal(managers(&f, r.v), ""); /* nobody keeps count any more */
    r = apply(&f, MAPS "/m?fieldManager=b", "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"y\":\"1\"}}");
    assert_has(managers(&f, r.v), "before-first-apply Update v1/ {\"f:data\":{\".\":{},\"f:x\":{}}}\n");
    fixture_stop(&f);
}

FIBER_TEST(a_scale_is_managed_in_its_object)
{
    struct fixture f;
    start(&f);
    assert_code(apply(&f, DEPLOYMENT "?fieldManager=m", "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\"},"
                      "\"spec\":{\"replicas\":2," TEMPLATE "}}"), 201);
    static const char scale[] = "{\"apiVersion\":\"autoscaling/v1\",\"kind\":\"Scale\",\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":4}}";
    struct reply r = apply(&f, DEPLOYMENT "/scale?fieldManager=h", scale);
    assert_code(r, 409);
    assert_at(&f, r, "details.causes.0.field", ".spec.replicas");
    r = apply(&f, DEPLOYMENT "/scale?fieldManager=h&force=true", scale);
    assert_code(r, 200);
    assert_at(&f, r, "spec.replicas", "4");
    assert_string_equal(managers(&f, r.v), "");
    const char *now = managers(&f, get(&f, DEPLOYMENT).v);
    assert_has(now, "h Apply apps/v1/scale {\"f:spec\":{\"f:replicas\":{}}}\n");
    assert_has_no(strstr(now, "m Apply"), "f:replicas");
    assert_code(patch(&f, DEPLOYMENT "/scale?fieldManager=u", "merge-patch+json", "{\"spec\":{\"replicas\":5}}"), 200);
    now = managers(&f, get(&f, DEPLOYMENT).v);
    assert_has(now, "u Update apps/v1/scale {\"f:spec\":{\"f:replicas\":{}}}\n");
    assert_has_no(now, "h Apply");
    assert_code(apply(&f, DEPLOYMENT "/scale?fieldManager=h", "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"}"), 400);
    assert_code(apply(&f, DEPLOYMENT "/scale?fieldManager=h", "{\"apiVersion\":\"autoscaling/v1\",\"kind\":\"Scale\",\"spec\":[]}"), 500);
    fixture_stop(&f);
}

FIBER_TEST(each_door_leaves_something_alone)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, APPS "deployments?fieldManager=a", "{\"metadata\":{\"name\":\"d\"},\"spec\":{" TEMPLATE "}}"), 201);
    struct reply r = patch(&f, DEPLOYMENT "/status?fieldManager=s", "merge-patch+json",
                           "{\"metadata\":{\"labels\":{\"l\":\"1\"},\"annotations\":{\"n\":\"1\"}},\"status\":{\"observedGeneration\":1}}");
    assert_code(r, 200);
    assert_has(managers(&f, r.v), "s Update apps/v1/status {\"f:metadata\":{\"f:annotations\":{\".\":{},\"f:n\":{}}},"
                                  "\"f:status\":{\"f:observedGeneration\":{}}}\n");
    r = post(&f, APPS "daemonsets?fieldManager=a", "{\"metadata\":{\"name\":\"s\"},\"spec\":{" TEMPLATE "}}");
    assert_has(managers(&f, r.v), "{\"f:metadata\":{\"f:annotations\":{\".\":{},\"f:deprecated.daemonset.template.generation\":{}}}");
    fixture_stop(&f);
}

/* What one version calls targetCPUUtilizationPercentage is among the metrics of the other. */
FIBER_TEST(versions_see_each_others_changes)
{
    struct fixture f;
    start(&f);
    static const char v1[] = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
                      v2[] = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h?fieldManager=b";
    struct reply r = post(&f, arena_printf(&f.arena, "%s?fieldManager=a", v1).p,
        "{\"metadata\":{\"name\":\"h\"},\"spec\":{\"maxReplicas\":3,\"targetCPUUtilizationPercentage\":50,"
        "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\",\"apiVersion\":\"apps/v1\"}}}");
    assert_code(r, 201);
    assert_has(managers(&f, r.v), "f:targetCPUUtilizationPercentage");
    r = patch(&f, v2, "merge-patch+json", "{\"spec\":{\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{"
              "\"type\":\"Utilization\",\"averageUtilization\":70}}}]}}");
    assert_code(r, 200);
    assert_has_no(managers(&f, r.v), "f:targetCPUUtilizationPercentage");
    assert_has(managers(&f, r.v), "b Update autoscaling/v2/ {\"f:spec\":{\"f:metrics\":{}}}\n");
    fixture_stop(&f);
}

struct racer {
    struct fixture *f;
    int i, code;
};

static void race(void *arg)
{
    struct racer *x = arg;
    x->code = apply(x->f, arena_printf(&x->f->arena, MAPS "/r?fieldManager=m%d", x->i).p,
                    arena_printf(&x->f->arena, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"r\"},\"data\":{\"k%d\":\"v\"}}", x->i).p).code;
}

/* Who is second to make an object changes it, and both are its managers. */
FIBER_TEST(appliers_that_race_all_win)
{
    enum { RACERS = 8 };
    struct fixture f;
    struct racer racers[RACERS];
    struct group group = {0};
    int created = 0;
    start(&f);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){&f, i, 0};
        group_spawn(&group, "racer", race, &racers[i]);
    }
    group_wait(&group, MONO_NEVER);
    for (int i = 0; i < RACERS; i++) {
        created += racers[i].code == 201;
        if (racers[i].code != 201)
            assert_int_equal(racers[i].code, 200);
    }
    assert_int_equal(created, 1);
    struct reply r = get(&f, MAPS "/r");
    assert_int_equal(val_len(val_key(r.v, STR("data"))), RACERS);
    assert_int_equal(val_len(val_key(val_key(r.v, STR("metadata")), STR("managedFields"))), RACERS);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apply_makes_and_changes),
        cmocka_unit_test(managers_stay_through_other_writes),
        cmocka_unit_test(sent_managers_count),
        cmocka_unit_test(a_scale_is_managed_in_its_object),
        cmocka_unit_test(each_door_leaves_something_alone),
        cmocka_unit_test(versions_see_each_others_changes),
        cmocka_unit_test(appliers_that_race_all_win),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
