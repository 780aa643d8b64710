/* SPDX-License-Identifier: Apache-2.0 */
/* Custom kinds whose versions a webhook turns into each other: v1 has spec.hostPort "a:1", v2 spec.host and spec.port. */
#include "hookserver.h"

#include <string.h>

#include "apiserver/conversion.h"
#include "wire/json.h"

#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define V1 "/apis/x.example.com/v1/namespaces/default/ends"
#define V2 "/apis/x.example.com/v2/namespaces/default/ends"

static bool broken;

static void convert_one(struct arena *a, struct val *o, bool to_v2)
{
    struct val *spec = (struct val *)(uintptr_t)val_key(o, STR("spec"));
    struct str both = val_str(val_key(spec, STR("hostPort"))), host, port;
    if (to_v2) {
        str_cut(both, ':', &host, &port);
        val_put_str(a, spec, STR("host"), host);
        val_put_str(a, spec, STR("port"), port);
        val_unput(spec, STR("hostPort"));
    } else {
        val_put_str(a, spec, STR("hostPort"), arena_printf(a, "%s:%s", val_cstr(val_key(spec, STR("host"))), val_cstr(val_key(spec, STR("port")))));
        val_unput(spec, STR("host"));
        val_unput(spec, STR("port"));
    }
}

static struct str answer(struct hookserver *h, struct str path UNUSED, const struct val *review)
{
    struct arena *a = &h->arena;
    const struct val *request = val_key(review, STR("request"));
    struct str desired = val_str(val_key(request, STR("desiredAPIVersion")));
    struct val *list = val_copy(a, val_key(request, STR("objects")));
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (broken)
        return arena_printf(a, "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"response\":{\"uid\":\"%s\",\"result\":{\"status\":\"Failure\",\"message\":\"no idea\"}}}",
                            val_cstr(val_key(request, STR("uid"))));
    for (size_t i = 0; i < val_len(list); i++) {
        struct val *o = &list->items[i];
        convert_one(a, o, str_ends(desired, STR("/v2")));
        val_put_str(a, o, STR("apiVersion"), desired);
    }
    json_encode(&b, NULL, list, 0);
    return arena_printf(a, "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"response\":{\"uid\":\"%s\",\"result\":{\"status\":\"Success\"},\"convertedObjects\":%.*s}}",
                        val_cstr(val_key(request, STR("uid"))), STR_ARG(buf_str(&b)));
}

static struct reply wait_for(struct fixture *f, const char *path, int code)
{
    struct reply r = get(f, path);
    for (int i = 0; i < 200 && r.code != code; i++) {
        fiber_sleep(MILLISECONDS(10));
        r = get(f, path);
    }
    assert_code(r, code);
    return r;
}

static void start(struct fixture *f, struct hookserver *h)
{
    static const char definition[] =
        "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\",\"metadata\":{\"name\":\"ends.x.example.com\"},\"spec\":{\"group\":\"x.example.com\",\"scope\":\"Namespaced\","
        "\"names\":{\"plural\":\"ends\",\"kind\":\"End\"},\"conversion\":{\"strategy\":\"Webhook\",\"webhook\":{\"conversionReviewVersions\":[\"v1\"],\"clientConfig\":%s}},\"versions\":["
        "{\"name\":\"v1\",\"served\":true,\"storage\":true,\"selectableFields\":[{\"jsonPath\":\".spec.hostPort\"}],\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"hostPort\"],\"properties\":{\"hostPort\":{\"type\":\"string\"}}}}}}},"
        "{\"name\":\"v2\",\"served\":true,\"storage\":false,\"selectableFields\":[{\"jsonPath\":\".spec.host\"},{\"jsonPath\":\".spec.port\"}],\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"host\"],\"properties\":{\"host\":{\"type\":\"string\"},\"port\":{\"type\":\"string\"}}}}}}}]}}";
    broken = false;
    fixture_start(f, NULL);
    hookserver_start(h, NULL, answer);
    assert_code(post(f, CRDS, arena_printf(&f->arena, definition, hookserver_config(h, "/convert")).p), 201);
    wait_for(f, V1, 200);
}

static void stop(struct fixture *f, struct hookserver *h)
{
    fixture_stop(f);
    hookserver_stop(h);
}

static struct reply make(struct fixture *f, const char *version, const char *name, const char *spec)
{
    return post(f, arena_printf(&f->arena, "/apis/x.example.com/%s/namespaces/default/ends", version).p,
                arena_printf(&f->arena, "{\"apiVersion\":\"x.example.com/%s\",\"kind\":\"End\",\"metadata\":{\"name\":\"%s\"},\"spec\":{%s}}", version, name, spec).p);
}

FIBER_TEST(read_in_the_other_version)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(make(&f, "v1", "one", "\"hostPort\":\"a:1\""), 201);
    assert_int_equal(h.calls, 0);
    struct reply r = get(&f, V2 "/one");
    assert_code(r, 200);
    assert_at(&f, r, "apiVersion", "x.example.com/v2");
    assert_at(&f, r, "spec.host", "a");
    assert_at(&f, r, "spec.port", "1");
    assert_at(&f, r, "spec.hostPort", "");
    assert_true(strlen(at(&f, r.v, "metadata.uid")) > 0);
    assert_int_equal(h.calls, 1);
    get(&f, V2 "/one");
    assert_int_equal(h.calls, 1); /* it is known by now */
    assert_at(&f, get(&f, V1 "/one"), "spec.hostPort", "a:1");
    stop(&f, &h);
}

FIBER_TEST(written_in_the_other_version)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    struct reply r = make(&f, "v2", "two", "\"host\":\"b\",\"port\":\"2\"");
    assert_code(r, 201);
    assert_at(&f, r, "spec.host", "b");
    assert_at(&f, get(&f, V1 "/two"), "spec.hostPort", "b:2");
    r = make(&f, "v2", "bad", "\"port\":\"2\"");
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.field", "spec.host");
    r = patch(&f, V2 "/two", "merge-patch+json", "{\"spec\":{\"port\":\"9\"}}");
    assert_code(r, 200);
    assert_at(&f, r, "spec.port", "9");
    assert_at(&f, get(&f, V1 "/two"), "spec.hostPort", "b:9");
    r = patch(&f, V2 "/two?fieldManager=m&force=true", "apply-patch+yaml", "{\"apiVersion\":\"x.example.com/v2\",\"kind\":\"End\",\"metadata\":{\"name\":\"two\"},\"spec\":{\"port\":\"10\"}}");
    assert_code(r, 200);
    assert_at(&f, get(&f, V1 "/two"), "spec.hostPort", "b:10");
    stop(&f, &h);
}

FIBER_TEST(selected_by_fields_of_the_other_version)
{
    struct fixture f;
    struct hookserver h;
    struct watching w;
    const char *type;
    const struct val *o;
    start(&f, &h);
    make(&f, "v1", "one", "\"hostPort\":\"a:1\"");
    make(&f, "v2", "two", "\"host\":\"a\",\"port\":\"2\"");
    make(&f, "v2", "three", "\"host\":\"b\",\"port\":\"1\"");
    unsigned before = h.calls;
    struct reply r = get(&f, V2 "?fieldSelector=spec.host%3Da");
    assert_code(r, 200);
    assert_at(&f, r, "items.0.metadata.name", "one");
    assert_at(&f, r, "items.1.metadata.name", "two");
    assert_at(&f, r, "items.2.metadata.name", "");
    assert_true(h.calls <= before + 1); /* all at once */
    assert_at(&f, get(&f, V2 "?fieldSelector=spec.host%3Da,spec.port%3D2"), "items.0.metadata.name", "two");
    assert_at(&f, get(&f, V1 "?fieldSelector=spec.hostPort%3Db:1"), "items.0.metadata.name", "three");
    assert_code(get(&f, V1 "?fieldSelector=spec.host%3Da"), 400);
    assert_int_equal(watch_begin(&f, &w, V2 "?watch=1&fieldSelector=spec.host%3Da,spec.port%3D1"), 200);
    assert_true(watch_event(&w, 3000, &type, &o));
    assert_string_equal(at(&f, o, "metadata.name"), "one");
    make(&f, "v1", "four", "\"hostPort\":\"b:1\"");
    make(&f, "v1", "five", "\"hostPort\":\"a:1\"");
    assert_true(watch_event(&w, 3000, &type, &o));
    assert_string_equal(at(&f, o, "metadata.name"), "five");
    assert_string_equal(at(&f, o, "spec.host"), "a");
    patch(&f, V2 "/one", "merge-patch+json", "{\"spec\":{\"host\":\"c\"}}");
    assert_true(watch_event(&w, 3000, &type, &o));
    assert_string_equal(type, "DELETED");
    assert_string_equal(at(&f, o, "metadata.name"), "one");
    watch_end(&w);
    broken = true;
    make(&f, "v1", "six", "\"hostPort\":\"d:1\"");
    assert_code(get(&f, V2 "?fieldSelector=spec.host%3Da"), 500);
    stop(&f, &h);
}

FIBER_TEST(lists_of_objects_stored_in_several_versions)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(make(&f, "v1", "one", "\"hostPort\":\"a:1\""), 201);
    assert_code(patch(&f, CRDS "/ends.x.example.com", "json-patch+json", "[{\"op\":\"replace\",\"path\":\"/spec/versions/0/storage\",\"value\":false},{\"op\":\"replace\",\"path\":\"/spec/versions/1/storage\",\"value\":true}]"), 200);
    for (int i = 0; i < 200 && strcmp(at(&f, get(&f, CRDS "/ends.x.example.com").v, "status.storedVersions.1"), "v2") != 0; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_code(make(&f, "v2", "two", "\"host\":\"b\",\"port\":\"2\""), 201);
    struct reply r = get(&f, V1);
    assert_code(r, 200);
    assert_at(&f, r, "items.0.spec.hostPort", "a:1");
    assert_at(&f, r, "items.1.spec.hostPort", "b:2");
    r = get(&f, V2);
    assert_at(&f, r, "items.0.spec.host", "a");
    assert_at(&f, r, "items.1.spec.host", "b");
    fixture_restart(&f, NULL);
    wait_for(&f, V1, 200);
    r = get(&f, V2);
    assert_at(&f, r, "items.0.spec.host", "a");
    assert_at(&f, r, "items.1.spec.port", "2");
    stop(&f, &h);
}

FIBER_TEST(watches_show_the_version_that_is_watched)
{
    struct fixture f;
    struct hookserver h;
    struct watching w;
    const char *type;
    const struct val *o;
    start(&f, &h);
    assert_code(make(&f, "v1", "one", "\"hostPort\":\"a:1\""), 201);
    assert_int_equal(watch_begin(&f, &w, V2 "?watch=true"), 200);
    assert_true(watch_event(&w, 5000, &type, &o));
    assert_string_equal(type, "ADDED");
    assert_string_equal(at(&f, o, "spec.host"), "a");
    assert_code(patch(&f, V1 "/one", "merge-patch+json", "{\"spec\":{\"hostPort\":\"c:3\"}}"), 200);
    assert_true(watch_event(&w, 5000, &type, &o));
    assert_string_equal(at(&f, o, "spec.host"), "c");
    watch_end(&w);
    stop(&f, &h);
}

FIBER_TEST(a_webhook_that_fails_fails_the_request)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(make(&f, "v1", "one", "\"hostPort\":\"a:1\""), 201);
    broken = true;
    struct reply r = get(&f, V2 "/one");
    assert_code(r, 500);
    assert_true(str_contains(r.text, STR("conversion webhook for x.example.com/v1, Kind=End failed: no idea")));
    assert_code(get(&f, V2), 500);
    assert_code(make(&f, "v2", "two", "\"host\":\"b\""), 500);
    assert_code(get(&f, V1 "/one"), 200);
    broken = false;
    assert_code(get(&f, V2 "/one"), 200);
    stop(&f, &h);
}

static void answers_are_read(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = NULL;
    struct err e = {0};
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"{}", "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got , Kind="},
        {"{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\"}", "no response provided"},
        {"{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"response\":{\"uid\":\"u\"}}", "response.result.status was '', not 'Success'"},
        {"{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"response\":{\"uid\":\"x\"}}", "expected response.uid=\"u\", got \"x\""},
        {"{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"response\":{\"uid\":\"u\",\"result\":{\"status\":\"Success\"}}}", "returned 0 objects, expected 1"},
        {"[", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(conversion_review_read(&a, STR("v1"), STR("u"), str_of(cases[i].text), 1, &v, &e), -EINVAL);
        if (cases[i].fault)
            assert_string_equal(e.text, cases[i].fault);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_in_the_other_version),
        cmocka_unit_test(written_in_the_other_version),
        cmocka_unit_test(selected_by_fields_of_the_other_version),
        cmocka_unit_test(lists_of_objects_stored_in_several_versions),
        cmocka_unit_test(watches_show_the_version_that_is_watched),
        cmocka_unit_test(a_webhook_that_fails_fails_the_request),
        cmocka_unit_test(answers_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
