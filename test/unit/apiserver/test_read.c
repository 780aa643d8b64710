/* SPDX-License-Identifier: Apache-2.0 */
/* get, list, their forms and their options. */
#include "fixture.h"

#include "wire/json.h"
#include "wire/proto.h"

#define MAPS "/api/v1/namespaces/default/configmaps"

FIBER_TEST(gets_what_was_made)
{
    struct fixture f;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", "{\"n\":\"1\"}");
    struct reply r = get(&f, MAPS "/a");
    assert_code(r, 200);
    assert_at(&f, r, "kind", "ConfigMap");
    assert_at(&f, r, "apiVersion", "v1");
    assert_at(&f, r, "data.k", "v");
    assert_at(&f, r, "metadata.namespace", "default");
    assert_true(strlen(at(&f, r.v, "metadata.uid")) == 36);
    r = get(&f, MAPS "/none");
    assert_code(r, 404);
    assert_at(&f, r, "reason", "NotFound");
    assert_at(&f, r, "message", "configmaps \"none\" not found");
    fixture_stop(&f);
}

FIBER_TEST(unknown_paths_and_methods)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(get(&f, "/nothing"), 404);
    assert_code(get(&f, "/api/v1/nothing"), 404);
    assert_code(get(&f, "/apis/apps/v1/namespaces/default/nothing"), 404);
    assert_code(ask(&f, "PUT", MAPS, "{}", NULL), 405);
    assert_code(ask(&f, "POST", MAPS "/a", "{}", NULL), 405);
    assert_code(get(&f, "/api/v1/namespaces/default/nodes/x"), 404);
    /* What a role allows in a namespace ends there. */
    assert_code(get(&f, "/api/v1/namespaces/default/nodes"), 404);
    assert_code(get(&f, "/api/v1/watch/namespaces/default/nodes?timeoutSeconds=1"), 404);
    assert_code(get(&f, "/api/v1/namespaces/default/namespaces"), 404);
    assert_code(get(&f, "/api/v1/namespaces/default/namespaces/kube-system"), 404);
    assert_code(ask(&f, "DELETE", "/api/v1/namespaces/default/namespaces/kube-system", NULL, NULL), 404);
    assert_code(get(&f, "/api/v1/namespaces/kube-system"), 200);
    fixture_stop(&f);
}

FIBER_TEST(lists_with_selectors)
{
    struct fixture f;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", "{\"n\":\"1\",\"t\":\"x\"}");
    make_config_map(&f, "b", "{\"n\":\"2\",\"t\":\"x\"}");
    struct reply r = get(&f, MAPS "?labelSelector=t%3Dx");
    assert_at(&f, r, "kind", "ConfigMapList");
    assert_at(&f, r, "items.1.metadata.name", "b");
    assert_at(&f, r, "items.0.kind", ""); /* items of lists carry no kind */
    r = get(&f, MAPS "?labelSelector=n%20in%20(2,3)");
    assert_at(&f, r, "items.0.metadata.name", "b");
    assert_at(&f, r, "items.1.metadata.name", "");
    r = get(&f, MAPS "?fieldSelector=metadata.name%3Da");
    assert_at(&f, r, "items.0.metadata.name", "a");
    assert_code(get(&f, MAPS "?fieldSelector=spec.x%3Da"), 400);
    assert_code(get(&f, MAPS "?labelSelector=%3D%3D"), 400);
    fixture_stop(&f);
}

FIBER_TEST(pages_show_one_moment)
{
    struct fixture f;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    make_config_map(&f, "b", NULL);
    make_config_map(&f, "c", NULL);
    struct reply r = get(&f, MAPS "?limit=2");
    assert_at(&f, r, "items.1.metadata.name", "b");
    assert_at(&f, r, "metadata.remainingItemCount", "1");
    const char *token = at(&f, r.v, "metadata.continue"), *rv = at(&f, r.v, "metadata.resourceVersion");
    assert_true(*token);
    make_config_map(&f, "bb", NULL);
    assert_code(ask(&f, "DELETE", MAPS "/c", NULL, NULL), 200);
    r = get(&f, arena_printf(&f.arena, MAPS "?limit=2&continue=%s", token).p);
    assert_at(&f, r, "items.0.metadata.name", "c"); /* as it was when the list began */
    assert_at(&f, r, "items.1.metadata.name", "");
    assert_at(&f, r, "metadata.resourceVersion", rv);
    assert_at(&f, r, "metadata.continue", "");
    assert_code(get(&f, MAPS "?limit=2&continue=xyz"), 400);
    fixture_stop(&f);
}

/* Eighty of more than a kilobyte: two pieces, but not enough to be compressed. */
static void make_many(struct fixture *f)
{
    char long_text[1025] = {0};
    memset(long_text, 'x', sizeof(long_text) - 1);
    for (int i = 0; i < 80; i++)
        assert_code(post(f, MAPS, arena_printf(&f->arena, "{\"metadata\":{\"name\":\"m%02d\"},\"data\":{\"k\":\"%s\"}}", i, long_text).p), 201);
}

/* Who takes gzip gets the list whole, with its length. */
static struct reply list_both_ways(struct fixture *f, const char *accept)
{
    struct reply whole = ask(f, "GET", MAPS, NULL, arena_printf(&f->arena, "Accept: %s\nAccept-Encoding: gzip", accept).p);
    struct reply pieces = ask(f, "GET", MAPS, NULL, arena_printf(&f->arena, "Accept: %s", accept).p);
    assert_code(whole, 200);
    assert_code(pieces, 200);
    assert_true(http_header(&whole.headers, "content-length").n > 0);
    assert_int_equal(http_header(&pieces.headers, "content-length").n, 0);
    assert_true(str_eq(http_header(&whole.headers, "content-type"), http_header(&pieces.headers, "content-type")));
    return pieces.text.n == whole.text.n && !memcmp(pieces.text.p, whole.text.p, whole.text.n) ? pieces : (struct reply){0};
}

FIBER_TEST(long_lists_go_out_in_pieces)
{
    struct fixture f;
    fixture_start(&f, NULL);
    make_many(&f);
    struct reply json = list_both_ways(&f, "application/json");
    assert_at(&f, json, "kind", "ConfigMapList");
    assert_at(&f, json, "items.79.metadata.name", "m79");
    assert_at(&f, json, "items.80.metadata.name", "");
    struct reply partial = list_both_ways(&f, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    assert_at(&f, partial, "items.79.metadata.name", "m79");
    assert_int_equal(list_both_ways(&f, "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").code, 200);
    struct reply table = ask(&f, "GET", MAPS, NULL, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io");
    assert_at(&f, table, "rows.79.object.metadata.name", "m79");
    struct reply proto = list_both_ways(&f, "application/vnd.kubernetes.protobuf");
    const struct type *t = resources[RES_CONFIGMAPS].list_type;
    struct val *v = NULL;
    struct buf b CLEANUP_BUF = BUF_INIT;
    assert_int_equal(proto_decode_object(&f.arena, t, proto.text, &v, NULL), 0);
    json_encode(&b, t, v, 0);
    buf_putc(&b, '\n');
    assert_true(str_eq(buf_str(&b), json.text));
    fixture_stop(&f);
}

FIBER_TEST(lists_at_a_revision)
{
    struct fixture f;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    struct reply r = get(&f, MAPS);
    const char *rv = at(&f, r.v, "metadata.resourceVersion");
    make_config_map(&f, "b", NULL);
    r = get(&f, arena_printf(&f.arena, MAPS "?resourceVersion=%s&resourceVersionMatch=Exact", rv).p);
    assert_at(&f, r, "items.0.metadata.name", "a");
    assert_at(&f, r, "items.1.metadata.name", "");
    r = get(&f, arena_printf(&f.arena, MAPS "?resourceVersion=%s&resourceVersionMatch=NotOlderThan", rv).p);
    assert_at(&f, r, "items.1.metadata.name", "b");
    assert_code(get(&f, MAPS "?resourceVersionMatch=Exact"), 422);
    assert_code(get(&f, MAPS "?resourceVersion=0&resourceVersionMatch=Exact"), 422);
    assert_code(get(&f, MAPS "?resourceVersion=x"), 400);
    fixture_restart(&f, NULL); /* what was before is not remembered */
    assert_code(get(&f, MAPS "?resourceVersion=2&resourceVersionMatch=Exact"), 410);
    fixture_stop(&f);
}

FIBER_TEST(answers_in_other_forms)
{
    struct fixture f;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    struct reply r =
        ask(&f, "GET", MAPS, NULL, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    assert_at(&f, r, "kind", "Table");
    assert_at(&f, r, "columnDefinitions.0.name", "Name");
    assert_at(&f, r, "rows.0.object.kind", "PartialObjectMetadata");
    r = ask(&f, "GET", MAPS, NULL,
            "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    assert_at(&f, r, "kind", "PartialObjectMetadataList");
    assert_at(&f, r, "items.0.metadata.name", "a");
    assert_at(&f, r, "items.0.data.k", "");
    r = ask(&f, "GET", MAPS "/a", NULL, "Accept: application/yaml");
    assert_true(str_contains(r.text, STR("kind: ConfigMap\n")));
    r = ask(&f, "GET", MAPS "/a", NULL, "Accept: application/vnd.kubernetes.protobuf");
    assert_memory_equal(r.text.p, "k8s\0", 4);
    assert_code(ask(&f, "GET", MAPS "/a", NULL, "Accept: text/html"), 406);
    static const char reviews[] = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    static const char review[] = "{\"kind\":\"SelfSubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"spec\":{\"nonResourceAttributes\":{\"path\":\"/\",\"verb\":\"get\"}}}";
    assert_code(ask(&f, "POST", reviews, review, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"), 406);
    assert_code(ask(&f, "POST", reviews, review, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), 201);
    r = get(&f, MAPS "/a?pretty=true");
    assert_true(str_contains(r.text, STR("\n  \"kind\": \"ConfigMap\",\n")));
    fixture_stop(&f);
}

FIBER_TEST(discovery_and_pages)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_at(&f, get(&f, "/version"), "minor", "37");
    assert_str(get(&f, "/readyz").text, "ok");
    assert_true(str_contains(get(&f, "/livez?verbose").text, STR("[+]ping ok")));
    assert_str(get(&f, "/readyz/ping").text, "ok");
    assert_code(get(&f, "/readyz/nothing"), 404);
    assert_at(&f, get(&f, "/api"), "versions.0", "v1");
    assert_at(&f, get(&f, "/apis/apps"), "preferredVersion.groupVersion", "apps/v1");
    assert_at(&f, get(&f, "/apis/apps/v1"), "groupVersion", "apps/v1");
    assert_code(get(&f, "/apis/none"), 404);
    const char *accept = "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    struct reply r = ask(&f, "GET", "/apis", NULL, accept);
    assert_at(&f, r, "kind", "APIGroupDiscoveryList");
    struct str tag = http_header(&r.headers, "etag");
    assert_true(tag.n > 10);
    r = ask(&f, "GET", "/apis", NULL,
            arena_printf(&f.arena, "%s\nIf-None-Match: %.*s", accept, STR_ARG(tag)).p);
    assert_code(r, 304);
    assert_true(str_contains(get(&f, "/metrics").text, STR("apiserver_request_total{")));
    fixture_stop(&f);
}

FIBER_TEST(openapi_documents_are_found_from_the_index)
{
    struct fixture f;
    fixture_start(&f, NULL);
    struct reply r = get(&f, "/openapi/v3");
    assert_code(r, 200);
    assert_true(str_contains(
        r.text, STR("\"apis/apps/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/apps/v1?hash=")));
    r = get(&f, "/openapi/v3/apis/apps/v1?hash=any");
    assert_at(&f, r, "openapi", "3.0.0");
    struct str tag = http_header(&r.headers, "etag");
    assert_code(ask(&f, "GET", "/openapi/v3/apis/apps/v1", NULL,
                    arena_printf(&f.arena, "If-None-Match: %.*s", STR_ARG(tag)).p), 304);
    assert_code(get(&f, "/openapi/v3/apis/nonsense/v1"), 404);
    assert_at(&f, get(&f, "/openapi/v2"), "swagger", "2.0");
    r = ask(&f, "GET", "/openapi/v2", NULL, "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
    assert_int_equal(r.code, 200);
    assert_true(str_contains(r.text, STR("\x0a\x03" "2.0"))); /* swagger, field 1 */
    assert_true(str_contains(r.text, STR("\x0a\x16" "io.k8s.api.core.v1.Pod"))); /* a name, field 1 */
    assert_code(ask(&f, "GET", "/openapi/v2", NULL, "Accept: text/html"), 406);
    assert_at(&f, ask(&f, "GET", "/openapi/v2", NULL, "Accept: application/json;q=0.9, application/com.github.proto-openapi.spec.v2@v1.0+protobuf;q=0.5"),
              "swagger", "2.0");
    fixture_stop(&f);
}

FIBER_TEST(events_have_two_faces)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(post(&f, "/apis/events.k8s.io/v1/namespaces/default/events",
                     "{\"metadata\":{\"name\":\"e\"},\"reason\":\"R\",\"note\":\"N\",\"type\":\"Normal\","
                     "\"action\":\"A\","
                     "\"eventTime\":\"2026-01-01T00:00:00.000000Z\",\"reportingController\":\"c\","
                     "\"reportingInstance\":\"i\",\"regarding\":{\"kind\":\"Pod\",\"name\":\"p\","
                     "\"namespace\":\"default\"}}"),
                201);
    struct reply r = get(&f, "/api/v1/namespaces/default/events/e");
    assert_at(&f, r, "message", "N");
    assert_at(&f, r, "involvedObject.name", "p");
    assert_at(&f, r, "reportingComponent", "c");
    r = get(&f, "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dp");
    assert_at(&f, r, "items.0.note", "N");
    assert_at(&f, r, "kind", "EventList");
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gets_what_was_made),  cmocka_unit_test(unknown_paths_and_methods),
        cmocka_unit_test(lists_with_selectors), cmocka_unit_test(pages_show_one_moment),
        cmocka_unit_test(long_lists_go_out_in_pieces),
        cmocka_unit_test(lists_at_a_revision),  cmocka_unit_test(answers_in_other_forms),
        cmocka_unit_test(discovery_and_pages),  cmocka_unit_test(events_have_two_faces),
        cmocka_unit_test(openapi_documents_are_found_from_the_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
