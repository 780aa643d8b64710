/* SPDX-License-Identifier: Apache-2.0 */
/* CustomResourceDefinitions: from the definition to objects of the kind, and to the end of both. */
#include "apiserver/custom.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "fixture.h"

#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define WIDGETS "/apis/x.example.com/v1/namespaces/default/widgets"

#define SPEC_SCHEMA \
    "{\"type\":\"object\",\"required\":[\"size\"],\"properties\":{" \
    "\"size\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9}," \
    "\"color\":{\"type\":\"string\",\"default\":\"red\",\"enum\":[\"red\",\"blue\"]}," \
    "\"name\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"maxLength\":5}," \
    "\"free\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}," \
    "\"port\":{\"x-kubernetes-int-or-string\":true}," \
    "\"maybe\":{\"type\":\"string\",\"nullable\":true}," \
    "\"any\":{\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}],\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\"}}}," \
    "\"items\":{\"type\":\"array\",\"maxItems\":3,\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"]," \
    "\"items\":{\"type\":\"object\",\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\"},\"v\":{\"type\":\"string\",\"default\":\"dv\"}}}}," \
    "\"replicas\":{\"type\":\"integer\"},\"fixed\":{\"type\":\"string\",\"x-kubernetes-validations\":[{\"rule\":\"self == oldSelf\",\"message\":\"is fixed\"}]}}," \
    "\"x-kubernetes-validations\":[{\"rule\":\"!has(self.replicas) || self.replicas <= self.size\",\"messageExpression\":\"'at most ' + (self.size == 1 ? '1' : 'many')\"}]}"

#define STATUS_SCHEMA "{\"type\":\"object\",\"properties\":{\"replicas\":{\"type\":\"integer\"},\"sel\":{\"type\":\"string\"}}}"

#define HEAD "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\""

static const char definition[] =
    "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\",\"metadata\":{\"name\":\"widgets.x.example.com\"},"
    "\"spec\":{\"group\":\"x.example.com\",\"scope\":\"Namespaced\",\"names\":{\"plural\":\"widgets\",\"singular\":\"widget\",\"kind\":\"Widget\","
    "\"shortNames\":[\"wd\"]},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"subresources\":{\"status\":{},"
    "\"scale\":{\"specReplicasPath\":\".spec.replicas\",\"statusReplicasPath\":\".status.replicas\",\"labelSelectorPath\":\".status.sel\"}},"
    "\"additionalPrinterColumns\":[{\"name\":\"Size\",\"type\":\"integer\",\"jsonPath\":\".spec.size\"}],"
    "\"selectableFields\":[{\"jsonPath\":\".spec.color\"}],"
    "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":" SPEC_SCHEMA ",\"status\":" STATUS_SCHEMA "}}}},"
    "{\"name\":\"v2beta1\",\"served\":true,\"storage\":false,\"deprecated\":true,"
    "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{"
    "\"size\":{\"type\":\"integer\"}}}}}}}]}}";

/* Until the path answers with that code: definitions are taken up a moment after they were made. */
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

static void start(struct fixture *f)
{
    fixture_start(f, NULL);
    assert_code(get(f, WIDGETS), 404);
    assert_code(post(f, CRDS, definition), 201);
    wait_for(f, WIDGETS, 200);
}

static const char *widget(struct fixture *f, const char *name, const char *spec)
{
    return arena_printf(&f->arena, "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"%s\"},\"spec\":%s}",
                        name, spec).p;
}

static struct reply make(struct fixture *f, const char *name, const char *spec)
{
    return post(f, WIDGETS, widget(f, name, spec));
}

FIBER_TEST(a_definition_is_served)
{
    struct fixture f;
    start(&f);
    struct reply r = get(&f, CRDS "/widgets.x.example.com");
    assert_at(&f, r, "status.acceptedNames.listKind", "WidgetList");
    assert_at(&f, r, "status.conditions.0.type", "NamesAccepted");
    assert_at(&f, r, "status.conditions.1.reason", "InitialNamesAccepted");
    r = get(&f, "/apis/x.example.com/v1");
    assert_at(&f, r, "resources.0.shortNames.0", "wd");
    assert_at(&f, r, "resources.1.name", "widgets/status");
    r = get(&f, "/apis/x.example.com");
    assert_at(&f, r, "preferredVersion.version", "v1");
    assert_at(&f, r, "versions.1.version", "v2beta1");
    r = get(&f, "/openapi/v3/apis/x.example.com/v1");
    assert_code(r, 200);
    assert_true(str_contains(r.text, STR("\"maximum\":9")));
    assert_code(get(&f, "/apis/x.example.com/v3"), 404);
    r = get(&f, WIDGETS);
    assert_at(&f, r, "kind", "WidgetList");
    fixture_stop(&f);
}

FIBER_TEST(objects_are_pruned_and_defaulted)
{
    struct fixture f;
    start(&f);
    struct reply r = make(&f, "a", "{\"size\":2,\"pruned\":1,\"free\":{\"x\":[1,{\"y\":null}]},\"items\":[{\"k\":\"x\"}],\"maybe\":null,\"name\":null}");
    assert_code(r, 201);
    assert_at(&f, r, "spec.pruned", "");
    assert_at(&f, r, "spec.color", "red");
    assert_at(&f, r, "spec.items.0.v", "dv");
    assert_at(&f, r, "metadata.generation", "1");
    assert_true(str_contains(r.text, STR("\"free\":{\"x\":[1,{\"y\":null}]}")));
    assert_true(str_contains(r.text, STR("\"maybe\":null")));
    assert_false(str_contains(r.text, STR("\"name\":null")));
    r = post(&f, WIDGETS "?fieldValidation=Strict", widget(&f, "b", "{\"size\":2,\"pruned\":1}"));
    assert_code(r, 400);
    assert_true(str_contains(r.text, STR("unknown field \\\"spec.pruned\\\"")));
    fixture_restart(&f, NULL);
    r = get(&f, WIDGETS "/a");
    assert_at(&f, r, "spec.items.0.v", "dv");
    fixture_stop(&f);
}

FIBER_TEST(values_are_judged)
{
    static const struct {
        const char *spec, *field, *reason;
    } cases[] = {
        {"{}", "spec.size", "FieldValueRequired"},
        {"{\"size\":0}", "spec.size", "FieldValueInvalid"},
        {"{\"size\":10}", "spec.size", "FieldValueInvalid"},
        {"{\"size\":\"x\"}", "spec.size", "FieldValueTypeInvalid"},
        {"{\"size\":1.5}", "spec.size", "FieldValueTypeInvalid"},
        {"{\"size\":1,\"color\":\"green\"}", "spec.color", "FieldValueNotSupported"},
        {"{\"size\":1,\"name\":\"A\"}", "spec.name", "FieldValueInvalid"},
        {"{\"size\":1,\"name\":\"abcdef\"}", "spec.name", "FieldValueTooLong"},
        {"{\"size\":1,\"port\":true}", "spec.port", "FieldValueTypeInvalid"},
        {"{\"size\":1,\"any\":{}}", "<nil>", "FieldValueInvalid"},
        {"{\"size\":1,\"items\":[{\"k\":\"a\"},{\"k\":\"a\"}]}", "spec.items[1]", "FieldValueDuplicate"},
        {"{\"size\":1,\"items\":[{\"k\":\"a\"},{\"k\":\"b\"},{\"k\":\"c\"},{\"k\":\"d\"}]}", "spec.items", "FieldValueTooMany"},
        {"{\"size\":1,\"items\":[{}]}", "spec.items[0].k", "FieldValueRequired"},
        {"{\"size\":1,\"replicas\":2}", "spec", "FieldValueInvalid"},
    };
    struct fixture f;
    start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reply r = make(&f, "w", cases[i].spec);
        assert_code(r, 422);
        assert_at(&f, r, "details.causes.0.field", cases[i].field);
        assert_at(&f, r, "details.causes.0.reason", cases[i].reason);
    }
    struct reply r = make(&f, "w", "{\"size\":1,\"replicas\":2}");
    assert_at(&f, r, "details.causes.0.message", "Invalid value: at most 1");
    assert_code(make(&f, "w", "{\"size\":9,\"port\":\"http\",\"any\":{\"b\":\"\"},\"name\":\"abc\",\"fixed\":\"x\"}"), 201);
    r = patch(&f, WIDGETS "/w", "merge-patch+json", "{\"spec\":{\"fixed\":\"y\"}}");
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.message", "Invalid value: \"y\": is fixed");
    assert_code(patch(&f, WIDGETS "/w", "merge-patch+json", "{\"spec\":{\"fixed\":\"x\",\"size\":8}}"), 200);
    fixture_stop(&f);
}

/* What was right when it was made may stay when the definition becomes stricter (KEP-4008). */
FIBER_TEST(what_does_not_change_is_not_judged)
{
    struct fixture f;
    start(&f);
    assert_code(make(&f, "w", "{\"size\":9}"), 201);
    const char *at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum";
    assert_code(patch(&f, CRDS "/widgets.x.example.com", "json-patch+json",
                      arena_printf(&f.arena, "[{\"op\":\"replace\",\"path\":\"%s\",\"value\":5}]", at).p), 200);
    struct reply r = make(&f, "other", "{\"size\":9}");
    for (int i = 0; i < 200 && r.code == 201; i++) {
        fiber_sleep(MILLISECONDS(10));
        ask(&f, "DELETE", WIDGETS "/other", NULL, NULL);
        r = make(&f, "other", "{\"size\":9}");
    }
    assert_code(r, 422);
    assert_code(patch(&f, WIDGETS "/w", "merge-patch+json", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"), 200);
    assert_code(patch(&f, WIDGETS "/w", "merge-patch+json", "{\"spec\":{\"size\":8}}"), 422);
    fixture_stop(&f);
}

FIBER_TEST(status_scale_and_selection)
{
    struct fixture f;
    start(&f);
    assert_code(make(&f, "a", "{\"size\":5,\"replicas\":1}"), 201);
    assert_code(make(&f, "b", "{\"size\":5,\"color\":\"blue\"}"), 201);
    struct reply r = patch(&f, WIDGETS "/a/status", "merge-patch+json", "{\"status\":{\"replicas\":3,\"sel\":\"x=y\"},\"spec\":{\"size\":1}}");
    assert_code(r, 200);
    assert_at(&f, r, "spec.size", "5");
    assert_at(&f, r, "metadata.generation", "1");
    r = get(&f, WIDGETS "/a/scale");
    assert_at(&f, r, "spec.replicas", "1");
    assert_at(&f, r, "status.replicas", "3");
    assert_at(&f, r, "status.selector", "x=y");
    assert_code(patch(&f, WIDGETS "/a/scale", "merge-patch+json", "{\"spec\":{\"replicas\":4}}"), 200);
    r = get(&f, WIDGETS "/a");
    assert_at(&f, r, "spec.replicas", "4");
    assert_at(&f, r, "metadata.generation", "2");
    r = get(&f, WIDGETS "?fieldSelector=spec.color%3Dblue");
    assert_at(&f, r, "items.0.metadata.name", "b");
    assert_at(&f, r, "items.1.metadata.name", "");
    assert_code(get(&f, WIDGETS "?fieldSelector=spec.size%3D5"), 400);
    r = ask(&f, "GET", WIDGETS, NULL, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\n");
    assert_at(&f, r, "columnDefinitions.1.name", "Size");
    assert_at(&f, r, "rows.0.cells.1", "5");
    assert_code(patch(&f, WIDGETS "/a", "strategic-merge-patch+json", "{}"), 415);
    fixture_stop(&f);
}

FIBER_TEST(versions_are_one_object)
{
    struct fixture f;
    start(&f);
    assert_code(make(&f, "a", "{\"size\":5}"), 201);
    struct reply r = get(&f, "/apis/x.example.com/v2beta1/namespaces/default/widgets/a");
    assert_at(&f, r, "apiVersion", "x.example.com/v2beta1");
    assert_at(&f, r, "spec.size", "5");
    assert_at(&f, r, "spec.color", "");
    assert_true(str_contains(http_header(&r.headers, "warning"), STR("v2beta1 Widget is deprecated")));
    fixture_stop(&f);
}

FIBER_TEST(apply_merges_by_the_schema)
{
    struct fixture f;
    start(&f);
    assert_code(patch(&f, WIDGETS "/a?fieldManager=m1", "apply-patch+yaml", widget(&f, "a", "{\"size\":1,\"items\":[{\"k\":\"x\",\"v\":\"1\"}]}")), 201);
    struct reply r = patch(&f, WIDGETS "/a?fieldManager=m2", "apply-patch+yaml", widget(&f, "a", "{\"items\":[{\"k\":\"y\",\"v\":\"2\"}]}"));
    assert_code(r, 200);
    assert_at(&f, r, "spec.items.1.v", "2");
    r = patch(&f, WIDGETS "/a?fieldManager=m2", "apply-patch+yaml", widget(&f, "a", "{\"size\":2}"));
    assert_code(r, 409);
    assert_at(&f, r, "details.causes.0.field", ".spec.size");
    r = patch(&f, WIDGETS "/a?fieldManager=m1", "apply-patch+yaml", widget(&f, "a", "{\"size\":1}"));
    assert_at(&f, r, "spec.items.0.k", "y");
    r = patch(&f, WIDGETS "/a?fieldManager=m1", "apply-patch+yaml", widget(&f, "a", "{\"size\":1,\"nope\":1}"));
    assert_code(r, 500);
    fixture_stop(&f);
}

FIBER_TEST(names_that_are_taken_wait)
{
    struct fixture f;
    start(&f);
    static const char second[] =
        "{\"metadata\":{\"name\":\"gadgets.x.example.com\"},\"spec\":{\"group\":\"x.example.com\",\"scope\":\"Cluster\",\"names\":{"
        "\"plural\":\"gadgets\",\"kind\":\"Widget\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
        "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}";
    assert_code(post(&f, CRDS, second), 201);
    struct reply r = get(&f, CRDS "/gadgets.x.example.com");
    for (int i = 0; i < 200 && strcmp(at(&f, r.v, "status.conditions.0.reason"), "ListKindConflict") != 0; i++) {
        fiber_sleep(MILLISECONDS(10));
        r = get(&f, CRDS "/gadgets.x.example.com");
    }
    assert_at(&f, r, "status.conditions.0.status", "False");
    assert_code(get(&f, "/apis/x.example.com/v1/gadgets"), 404);
    assert_code(ask(&f, "DELETE", CRDS "/widgets.x.example.com", NULL, NULL), 200);
    wait_for(&f, "/apis/x.example.com/v1/gadgets", 200);
    fixture_stop(&f);
}

FIBER_TEST(objects_go_before_their_definition)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, WIDGETS, "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.example.com/f\"]},\"spec\":{\"size\":1}}"), 201);
    assert_code(make(&f, "b", "{\"size\":1}"), 201);
    struct reply r = ask(&f, "DELETE", CRDS "/widgets.x.example.com", NULL, NULL);
    assert_code(r, 200);
    wait_for(&f, WIDGETS "/b", 404);
    assert_code(get(&f, WIDGETS "/a"), 200);
    assert_code(make(&f, "c", "{\"size\":1}"), 405);
    assert_code(patch(&f, WIDGETS "/a", "merge-patch+json", "{\"metadata\":{\"finalizers\":null}}"), 200);
    wait_for(&f, CRDS "/widgets.x.example.com", 404);
    wait_for(&f, WIDGETS, 404);
    assert_code(post(&f, CRDS, definition), 201); /* and once more */
    wait_for(&f, WIDGETS, 200);
    assert_code(make(&f, "a", "{\"size\":1}"), 201);
    fixture_stop(&f);
}

FIBER_TEST(a_watch_sees_them)
{
    struct fixture f;
    struct watching w;
    const char *type;
    const struct val *v;
    start(&f);
    assert_int_equal(watch_begin(&f, &w, WIDGETS "?watch=1"), 200);
    assert_code(make(&f, "a", "{\"size\":1}"), 201);
    assert_true(watch_event(&w, 2000, &type, &v));
    assert_string_equal(type, "ADDED");
    assert_string_equal(at(&f, v, "spec.color"), "red");
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(rules_that_do_not_compile_are_refused)
{
    struct fixture f;
    fixture_start(&f, NULL);
    struct reply r = post(&f, CRDS,
        "{\"metadata\":{\"name\":\"bads.x.example.com\"},\"spec\":{\"group\":\"x.example.com\",\"scope\":\"Cluster\",\"names\":{"
        "\"plural\":\"bads\",\"kind\":\"Bad\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
        "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"x-kubernetes-validations\":[{\"rule\":\"self.nope == 1\"}]}}}]}}");
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.field", "spec.validation.openAPIV3Schema.x-kubernetes-validations[0].rule");
    fixture_stop(&f);
}

FIBER_TEST(rules_that_may_cost_too_much_are_refused)
{
    struct fixture f;
    fixture_start(&f, NULL);
#define COSTLY(limits)                                                                                       \
    "{\"metadata\":{\"name\":\"dears.x.example.com\"},\"spec\":{\"group\":\"x.example.com\",\"scope\":\"Cluster\",\"names\":{" \
    "\"plural\":\"dears\",\"kind\":\"Dear\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true," \
    "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"list\":{\"type\":\"array\"," limits  \
    "\"x-kubernetes-validations\":[{\"rule\":\"self.all(x, self.exists_one(y, x == y))\"}]}}}}}]}}"
    struct reply r = post(&f, CRDS, COSTLY("\"items\":{\"type\":\"string\"},"));
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.reason", "FieldValueForbidden");
    assert_at(&f, r, "details.causes.0.field",
              "spec.validation.openAPIV3Schema.properties[list].x-kubernetes-validations[0].rule");
    assert_at(&f, r, "details.causes.0.message",
              "Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, "
              "maxProperties, and maxLength where arrays, maps, and strings are declared)");
    assert_code(post(&f, CRDS, COSTLY("\"maxItems\":20,\"items\":{\"type\":\"string\",\"maxLength\":20},")), 201);
    fixture_stop(&f);
}

static const char *simple(struct fixture *f, const char *plural, const char *kind, const char *group, const char *more)
{
    return arena_printf(&f->arena,
                        "{\"metadata\":{\"name\":\"%s.%s\"%s},\"spec\":{\"group\":\"%s\",\"scope\":\"Cluster\",\"names\":{\"plural\":\"%s\","
                        "\"kind\":\"%s\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
                        "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}", plural, group, more, group, plural, kind).p;
}

/* All definitions that changed before have been looked at when this one is served: they are taken in their order. */
static void pass_by(struct fixture *f, const char *plural)
{
    assert_code(post(f, CRDS, simple(f, plural, arena_printf(&f->arena, "K%s", plural).p, "z.example.com", "")), 201);
    wait_for(f, arena_printf(&f->arena, "/apis/z.example.com/v1/%s", plural).p, 200);
}

/* Watches that began with a version outlive it, and what the definition said when it had it. */
FIBER_TEST(a_version_that_is_dropped_can_still_be_watched)
{
    struct fixture f;
    struct watching w;
    const char *type;
    const struct val *v;
    start(&f);
    assert_int_equal(watch_begin(&f, &w, "/apis/x.example.com/v2beta1/namespaces/default/widgets?watch=1"), 200);
    assert_code(patch(&f, CRDS "/widgets.x.example.com", "json-patch+json", "[{\"op\":\"remove\",\"path\":\"/spec/versions/1\"}]"), 200);
    wait_for(&f, "/apis/x.example.com/v2beta1/namespaces/default/widgets", 404);
    custom_end_retired(f.server, mono_add(os_mono(), SECONDS(3600)));
    assert_code(patch(&f, CRDS "/widgets.x.example.com", "json-patch+json",
                      "[{\"op\":\"add\",\"path\":\"/spec/versions/0/schema/openAPIV3Schema/properties/more\",\"value\":{\"type\":\"string\"}}]"), 200);
    pass_by(&f, "as");
    custom_end_retired(f.server, mono_add(os_mono(), SECONDS(3600)));
    assert_code(make(&f, "a", "{\"size\":1}"), 201);
    assert_true(watch_event(&w, 2000, &type, &v));
    assert_string_equal(at(&f, v, "apiVersion"), "x.example.com/v2beta1");
    assert_string_equal(at(&f, v, "spec.size"), "1");
    watch_end(&w);
    fixture_stop(&f);
}

/* Labels and conditions come and go often; what is served stays as it is. */
FIBER_TEST(only_what_a_definition_says_is_taken_up_anew)
{
    struct fixture f;
    start(&f);
    pass_by(&f, "as");
    const char *name = served_find(f.server, STR("x.example.com"), STR("v1"), STR("widgets"))->name;
    assert_code(patch(&f, CRDS "/widgets.x.example.com", "merge-patch+json", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"), 200);
    pass_by(&f, "bs");
    assert_ptr_equal(served_find(f.server, STR("x.example.com"), STR("v1"), STR("widgets"))->name, name);
    assert_code(patch(&f, CRDS "/widgets.x.example.com", "merge-patch+json", "{\"spec\":{\"names\":{\"shortNames\":[\"wx\"]}}}"), 200);
    pass_by(&f, "cs");
    assert_string_equal(served_find(f.server, STR("x.example.com"), STR("v1"), STR("widgets"))->short_names[0], "wx");
    fixture_stop(&f);
}

/* One definition at the place of another kind in the store would take over its objects, and end them with itself. */
FIBER_TEST(the_place_of_definitions_is_taken)
{
    struct fixture f;
    fixture_start(&f, NULL);
    const char *approved = ",\"annotations\":{\"api-approved.kubernetes.io\":\"unapproved, a test\"}";
    assert_code(post(&f, CRDS, simple(&f, "customresourcedefinitions", "CustomResourceDefinition", "apiextensions.k8s.io", approved)), 201);
    pass_by(&f, "as");
    assert_code(ask(&f, "DELETE", CRDS "/customresourcedefinitions.apiextensions.k8s.io", NULL, NULL), 200);
    wait_for(&f, CRDS "/customresourcedefinitions.apiextensions.k8s.io", 404);
    assert_code(get(&f, CRDS "/as.z.example.com"), 200);
    fixture_stop(&f);
}

FIBER_TEST(an_object_that_cannot_be_read_does_not_keep_the_server_down)
{
    struct fixture f;
    start(&f);
    pass_by(&f, "as");
    struct store_op op = {.kind = STORE_PUT, .key = STR("/registry/x.example.com/widgets/default/bad"), .value = STR("{]"),
                          .expect = STORE_ABSENT};
    assert_int_equal(store_txn(f.store, &op, 1, NULL, NULL), 0);
    fixture_restart(&f, NULL);
    assert_code(get(&f, "/apis/z.example.com/v1/as"), 200);
    assert_code(get(&f, WIDGETS), 404);
    fixture_stop(&f);
}

/* Two that wait for the same name when it is given back. */
FIBER_TEST(a_name_is_given_once)
{
    static const char *const both[] = {CRDS "/as.x.example.com", CRDS "/bs.x.example.com"};
    struct fixture f;
    start(&f);
    assert_code(post(&f, CRDS, simple(&f, "as", "Widget", "x.example.com", "")), 201);
    assert_code(post(&f, CRDS, simple(&f, "bs", "Widget", "x.example.com", "")), 201);
    pass_by(&f, "ys");
    assert_code(ask(&f, "DELETE", CRDS "/widgets.x.example.com", NULL, NULL), 200);
    wait_for(&f, CRDS "/widgets.x.example.com", 404);
    wait_for(&f, "/apis/x.example.com/v1/as", 200);
    for (size_t i = 0; i < ARRAY_SIZE(both); i++)
        assert_code(patch(&f, both[i], "merge-patch+json", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"), 200);
    pass_by(&f, "zs");
    assert_at(&f, get(&f, both[0]), "status.conditions.0.status", "True");
    assert_at(&f, get(&f, both[1]), "status.conditions.0.status", "False");
    fixture_stop(&f);
}

/* Whatever is sent, there is an answer, and the server goes on. */
FIBER_TEST(odd_objects_are_answered)
{
    static const char *const bodies[] = {
        "null", "[]", "7", "{}", "{\"apiVersion\":null,\"kind\":null,\"metadata\":null,\"spec\":null,\"status\":null}",
        HEAD "}", HEAD ",\"metadata\":null}", HEAD ",\"metadata\":[]}", HEAD ",\"metadata\":\"x\"}", HEAD ",\"metadata\":{}}",
        HEAD ",\"metadata\":{\"name\":7}}", HEAD ",\"metadata\":{\"name\":\"o1\",\"labels\":7},\"spec\":{\"size\":1}}",
        HEAD ",\"metadata\":{\"name\":\"o2\",\"finalizers\":null,\"managedFields\":null,\"ownerReferences\":[null]},\"spec\":{\"size\":1}}",
        HEAD ",\"metadata\":{\"name\":\"o3\",\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Apply\",\"apiVersion\":\"x.example.com/v9\","
             "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:spec\":{\"f:items\":{\"k:{}\":{},\"v:{\":{},\"i:-1\":{}}}}}]},\"spec\":{\"size\":1}}",
        HEAD ",\"metadata\":{\"name\":\"o4\"},\"spec\":[]}", HEAD ",\"metadata\":{\"name\":\"o5\"},\"spec\":{\"size\":1,\"items\":{}}}",
        HEAD ",\"metadata\":{\"name\":\"o6\"},\"spec\":{\"size\":1,\"items\":[null,7,[],{\"k\":null},{\"k\":{}}]}}",
        HEAD ",\"metadata\":{\"name\":\"o7\"},\"spec\":{\"size\":1e400}}", HEAD ",\"metadata\":{\"name\":\"o8\"},\"spec\":{\"size\":1,\"replicas\":\"x\"}}",
        HEAD ",\"metadata\":{\"name\":\"o9\"},\"spec\":{\"size\":1},\"status\":{\"replicas\":1e300,\"sel\":{}}}",
    };
    static const char *const patches[] = {"null", "7", "{\"metadata\":null}", "{\"metadata\":7}", "{\"spec\":null}", "{\"spec\":{\"items\":7}}",
                                          "{\"apiVersion\":null,\"kind\":null}", "{\"metadata\":{\"name\":null,\"uid\":null}}",
                                          "{\"metadata\":{\"managedFields\":7}}", "{\"spec\":{\"free\":{\"a\":null}}}"};
    static const char *const kinds[] = {"merge-patch+json", "apply-patch+yaml", "json-patch+json"};
    static const char *const below[] = {"", "/status", "/scale"};
    struct fixture f;
    start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
        assert_in_range(post(&f, WIDGETS, bodies[i]).code, 200, 499);
    assert_code(make(&f, "w", "{\"size\":1}"), 201);
    for (size_t i = 0; i < ARRAY_SIZE(patches); i++)
        for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
            for (size_t l = 0; l < ARRAY_SIZE(below); l++)
                assert_in_range(patch(&f, arena_printf(&f.arena, WIDGETS "/w%s?fieldManager=m", below[l]).p, kinds[k], patches[i]).code, 200, 500);
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
        for (size_t l = 0; l < ARRAY_SIZE(below); l++)
            assert_in_range(ask(&f, "PUT", arena_printf(&f.arena, WIDGETS "/w%s", below[l]).p, bodies[i], NULL).code, 200, 499);
    struct reply r = get(&f, WIDGETS);
    assert_code(r, 200);
    fixture_restart(&f, NULL);
    assert_string_equal(arena_cstr(&f.arena, arena_printf(&f.arena, "%zu", val_len(val_get(get(&f, WIDGETS).v, N_items)))),
                        arena_printf(&f.arena, "%zu", val_len(val_get(r.v, N_items))).p);
    fixture_stop(&f);
}

/* A body of many small members that nobody knows: the work is not their square. */
FIBER_TEST(wide_objects_do_not_hold_up_the_others)
{
    enum { WIDE = 150000 };
    static const char *const members[] = {"x", "maybe"};
    struct fixture f;
    start(&f);
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        buf_puts(&b, "{");
        for (int k = 0; k < WIDE; k++)
            buf_printf(&b, "\"%s%d\":%s,", members[i], k, i ? "null" : "0");
        buf_puts(&b, "\"size\":1}");
        struct reply r = make(&f, i ? "b" : "a", arena_cstr(&f.arena, buf_str(&b)));
        assert_code(r, 201);
        assert_at(&f, r, "spec.size", "1");
        assert_at(&f, r, "spec.x7", "");
    }
    fixture_stop(&f);
}

/* %s: the schema, what else the version has. */
#define ODD                                                                                                  \
    "{\"metadata\":{\"name\":\"odds.o%zu.example.com\"},\"spec\":{\"group\":\"o%zu.example.com\",\"scope\":\"Cluster\",\"names\":{" \
    "\"plural\":\"odds\",\"kind\":\"Odd%zu\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,%s," \
    "\"schema\":{\"openAPIV3Schema\":%s}}]}}"
#define SPEC(spec) "{\"type\":\"object\",\"properties\":{\"spec\":" spec "}}"
#define PLAIN SPEC("{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}")

/* Objects of whatever definition gets through are answered, too: in all forms. */
static void use_odd(struct fixture *f, size_t i)
{
    static const char *const specs[] = {"null", "7", "[]", "[null]", "{}", "{\"a\":null,\"replicas\":null}", "{\"a\":[],\"b\":{}}", "{\"a\":{\"a\":{\"a\":[{}]}}}",
                                        "[[{\"a\":1}],{\"a\":1},{\"a\":1}]", "\"x\"", "{\"kind\":7,\"apiVersion\":{},\"metadata\":[]}"};
    const char *all = arena_printf(&f->arena, "/apis/o%zu.example.com/v1/odds", i).p;
    for (size_t k = 0; k < ARRAY_SIZE(specs); k++) {
        const char *one = arena_printf(&f->arena, "%s/x%zu", all, k).p;
        const char *v = arena_printf(&f->arena, "{\"apiVersion\":\"o%zu.example.com/v1\",\"kind\":\"Odd%zu\",\"metadata\":{\"name\":\"x%zu\"},\"spec\":%s}",
                                     i, i, k, specs[k]).p;
        assert_in_range(post(f, all, v).code, 200, 499);
        assert_in_range(patch(f, arena_printf(&f->arena, "%s?fieldManager=m&force=true", one).p, "apply-patch+yaml", v).code, 200, 500);
        assert_in_range(patch(f, one, "merge-patch+json", "{\"spec\":{\"a\":[1,1,{}],\"c\":null}}").code, 200, 499);
        assert_in_range(get(f, arena_printf(&f->arena, "%s/scale", one).p).code, 200, 500);
        assert_in_range(patch(f, arena_printf(&f->arena, "%s/scale", one).p, "merge-patch+json", "{\"spec\":{\"replicas\":2}}").code, 200, 500);
    }
    assert_code(get(f, all), 200);
    assert_code(ask(f, "GET", all, NULL, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\n"), 200);
    assert_code(ask(f, "GET", all, NULL, "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io\n"), 200);
    assert_in_range(get(f, arena_printf(&f->arena, "%s?fieldSelector=spec.a%%3Dx", all).p).code, 200, 499);
    assert_in_range(get(f, arena_printf(&f->arena, "%s?fieldSelector=%%3Dx", all).p).code, 200, 499);
}

FIBER_TEST(defaults_are_what_their_schema_allows)
{
    static const struct {
        const char *spec, *field, *reason;
    } cases[] = {
        {SPEC("{\"type\":\"object\",\"default\":[7]}"), "default", "FieldValueTypeInvalid"},
        {SPEC("{\"type\":\"object\",\"default\":{\"a\":1}}"), "default", "FieldValueInvalid"},
        {SPEC("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"default\":{\"a\":\"x\"}}"), "default.a", "FieldValueTypeInvalid"},
        {SPEC("{\"type\":\"string\",\"pattern\":\"^a\",\"default\":\"b\"}"), "default", "FieldValueInvalid"},
        {SPEC("{\"type\":\"integer\",\"enum\":[1,2],\"default\":3}"), "default", "FieldValueNotSupported"},
        {SPEC("{\"type\":\"string\",\"pattern\":\"^a\",\"default\":\"ab\"}"), NULL, NULL},
        {SPEC("{\"type\":\"integer\",\"default\":3,\"x-kubernetes-validations\":[{\"rule\":\"self < 3\"}]}"), "default", "FieldValueInvalid"},
        {SPEC("{\"type\":\"integer\",\"default\":2,\"x-kubernetes-validations\":[{\"rule\":\"self < 3\"},{\"rule\":\"self == oldSelf\"}]}"), NULL, NULL},
        {SPEC("{\"type\":\"integer\",\"default\":2,\"x-kubernetes-validations\":[{\"rule\":\"self > oldSelf\"}]}"), "default", "FieldValueInvalid"},
        {SPEC("{\"type\":\"integer\",\"default\":2,\"x-kubernetes-validations\":[{\"rule\":\"oldSelf.hasValue()\",\"optionalOldSelf\":true}]}"), "default",
         "FieldValueInvalid"},
        {SPEC("{\"type\":\"array\",\"maxItems\":2,\"default\":[1,5],\"items\":{\"type\":\"integer\",\"x-kubernetes-validations\":[{\"rule\":\"self < 3\"}]}}"),
         "default[1]", "FieldValueInvalid"},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reply r = post(&f, CRDS, arena_printf(&f.arena, ODD, i, i, i, "\"deprecated\":false", cases[i].spec).p);
        assert_code(r, cases[i].field ? 422 : 201);
        if (!cases[i].field)
            continue;
        assert_at(&f, r, "details.causes.0.field",
                  arena_printf(&f.arena, "spec.validation.openAPIV3Schema.properties[spec].%s", cases[i].field).p);
        assert_at(&f, r, "details.causes.0.reason", cases[i].reason);
    }
    fixture_stop(&f);
}

#define EMBEDDED "\"x-kubernetes-embedded-resource\":true,\"x-kubernetes-preserve-unknown-fields\":true"

/* A resource within a resource has metadata as any object has. */
FIBER_TEST(embedded_resources_are_objects)
{
    static const struct {
        const char *in, *field; /* field NULL: accepted; "": cannot be read */
    } cases[] = {
        {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"labels\":{\"a\":\"b\"},\"nope\":1},\"spec\":{\"x\":1}}", NULL},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"generateName\":\"a-\"}}", NULL},
        {"{\"kind\":\"Pod\"}", "spec.apiVersion"},
        {"{\"apiVersion\":\"v1\"}", "spec.kind"},
        {"{\"apiVersion\":\"\",\"kind\":\"Pod\"}", "spec.apiVersion"},
        {"{\"apiVersion\":\"a/b/c\",\"kind\":\"Pod\"}", "spec.apiVersion"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"P.d\"}", "spec.kind"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a/b\"}}", "spec.metadata.name"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"labels\":{\"a\":\"-\"}}}", "spec.metadata.labels"},
        {"{\"apiVersion\":7,\"kind\":\"Pod\"}", ""},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"labels\":7}}", ""},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":[]}", ""},
    };
    static const char form[] = "{\"apiVersion\":\"o0.example.com/v1\",\"kind\":\"Odd0\",\"metadata\":{\"name\":\"n%zu\"},\"spec\":%s}";
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(post(&f, CRDS, arena_printf(&f.arena, ODD, (size_t)0, (size_t)0, (size_t)0, "\"deprecated\":false",
                                            SPEC("{\"type\":\"object\"," EMBEDDED "}")).p), 201);
    wait_for(&f, "/apis/o0.example.com/v1/odds", 200);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *field = cases[i].field;
        struct reply r = post(&f, "/apis/o0.example.com/v1/odds", arena_printf(&f.arena, form, i, cases[i].in).p);
        assert_code(r, !field ? 201 : *field ? 422 : 400);
        if (field && *field)
            assert_at(&f, r, "details.causes.0.field", field);
    }
    struct reply r = get(&f, "/apis/o0.example.com/v1/odds/n0");
    assert_at(&f, r, "spec.metadata.labels.a", "b");
    assert_at(&f, r, "spec.metadata.nope", "");
    assert_at(&f, r, "spec.spec.x", "1");
    r = post(&f, "/apis/o0.example.com/v1/odds?fieldValidation=Strict", arena_printf(&f.arena, form, (size_t)99, cases[0].in).p);
    assert_code(r, 400);
    assert_true(str_contains(r.text, STR("unknown field \\\"spec.metadata.nope\\\"")));
    assert_code(patch(&f, "/apis/o0.example.com/v1/odds/n0", "merge-patch+json", "{\"spec\":{\"metadata\":{\"labels\":7}}}"), 400);
    fixture_stop(&f);
}

FIBER_TEST(patterns_that_are_none_are_refused)
{
    static const struct {
        const char *spec, *field, *what;
    } cases[] = {
        {SPEC("{\"type\":\"string\",\"pattern\":\"(((\"}"), "properties[spec].pattern", "missing closing ): `(((`"},
        {SPEC("{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"a**\"}}"), "properties[spec].items.pattern",
         "invalid nested repetition operator: `**`"},
        {SPEC("{\"type\":\"string\",\"anyOf\":[{\"pattern\":\"a\"},{\"pattern\":\"[b\"}]}"), "properties[spec].anyOf[1].pattern",
         "missing closing ]: `[b`"},
        {SPEC("{\"type\":\"string\",\"not\":{\"pattern\":\"(?=a)\"}}"), "properties[spec].not.pattern",
         "invalid or unsupported Perl syntax: `(?=`"},
        {SPEC("{\"type\":\"string\",\"pattern\":\"^(?<year>[0-9]{4})[(?<)]\\\\p{L}{1,253}$\"}"), NULL, NULL},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reply r = post(&f, CRDS, arena_printf(&f.arena, ODD, i, i, i, "\"deprecated\":false", cases[i].spec).p);
        assert_code(r, cases[i].field ? 422 : 201);
        if (!cases[i].field)
            continue;
        assert_at(&f, r, "details.causes.0.field", arena_printf(&f.arena, "spec.validation.openAPIV3Schema.%s", cases[i].field).p);
        struct str message = str_of(at(&f, r.v, "details.causes.0.message"));
        assert_true(str_ends(message, arena_printf(&f.arena, "must be a valid regular expression, but isn't: error parsing regexp: %s",
                                                   cases[i].what)));
    }
    fixture_stop(&f);
}

FIBER_TEST(a_scale_needs_a_number)
{
    struct fixture f;
    start(&f);
    assert_code(make(&f, "a", "{\"size\":5}"), 201);
    struct reply r = get(&f, WIDGETS "/a/scale");
    assert_code(r, 500);
    assert_at(&f, r, "message", "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist");
    r = ask(&f, "PUT", WIDGETS "/a/scale", "{\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{\"replicas\":4}}", NULL);
    assert_code(r, 200);
    assert_at(&f, get(&f, WIDGETS "/a/scale"), "spec.replicas", "4");
    fixture_stop(&f);
}

/* Who still holds an object finds its kind's names; schema and programs are gone. */
FIBER_TEST(objects_outlive_their_definition)
{
    struct fixture f;
    start(&f);
    assert_code(make(&f, "a", "{\"size\":5}"), 201);
    const struct resource *res = served_find(f.server, STR("x.example.com"), STR("v1"), STR("widgets"));
    struct object *o = object_ref(cache_get(cache_kind(f.server->cache, res), STR("default"), STR("a")));
    assert_code(ask(&f, "DELETE", CRDS "/widgets.x.example.com", NULL, NULL), 200);
    wait_for(&f, CRDS "/widgets.x.example.com", 404);
    wait_for(&f, WIDGETS, 404);
    assert_null(type_schema(o->res->type));
    assert_null(served_find(f.server, STR("x.example.com"), STR("v1"), STR("widgets")));
    assert_code(get(&f, "/apis/x.example.com/v1"), 404);
    custom_end_retired(f.server, mono_add(os_mono(), SECONDS(3600)));
    assert_string_equal(o->res->kind, "Widget");
    assert_true(str_contains(object_encoded(o, ENC_JSON), STR("\"apiVersion\":\"x.example.com/v1\"")));
    object_unref(o);
    fixture_stop(&f);
}

FIBER_TEST(a_schema_may_narrow_names)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(post(&f, CRDS, arena_printf(&f.arena, ODD, (size_t)0, (size_t)0, (size_t)0, "\"deprecated\":false",
                                            "{\"type\":\"object\",\"properties\":{\"metadata\":{\"type\":\"object\",\"properties\":{"
                                            "\"name\":{\"type\":\"string\",\"pattern\":\"^y\"}}}}}").p), 201);
    wait_for(&f, "/apis/o0.example.com/v1/odds", 200);
    static const char form[] = "{\"apiVersion\":\"o0.example.com/v1\",\"kind\":\"Odd0\",\"metadata\":{\"name\":\"%s\"}}";
    struct reply r = post(&f, "/apis/o0.example.com/v1/odds", arena_printf(&f.arena, form, "x").p);
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.field", "metadata.name");
    assert_code(post(&f, "/apis/o0.example.com/v1/odds", arena_printf(&f.arena, form, "y").p), 201);
    fixture_stop(&f);
}

FIBER_TEST(odd_definitions_are_answered)
{
    static const char *const schemas[] = {
        "null", "7", "{}", "{\"type\":\"object\",\"properties\":null,\"required\":null,\"enum\":null,\"allOf\":null,\"x-kubernetes-validations\":null}",
        "{\"type\":\"object\",\"properties\":{\"metadata\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}",
        "{\"type\":\"object\",\"properties\":{\"metadata\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"pattern\":\"^y\"}}}}}",
        "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}", SPEC("null"), SPEC("{\"type\":\"object\",\"properties\":{\"a\":null,\"\":{}}}"),
        SPEC("{\"type\":\"object\",\"additionalProperties\":false}"), SPEC("{\"type\":\"object\",\"additionalProperties\":null}"),
        SPEC("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true},"
             "\"x-kubernetes-list-type\":\"set\"}}"),
        SPEC("{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"a\"],\"items\":{\"type\":\"object\",\"required\":[\"a\"],"
             "\"properties\":{\"a\":{\"type\":\"integer\"}}}}"),
        SPEC("{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"items\":{\"type\":\"object\"}}"),
        SPEC("{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[null,7,\"\"],\"items\":null}"),
        SPEC("{\"x-kubernetes-int-or-string\":true,\"enum\":[null,{},7]}"), SPEC("{\"type\":\"object\",\"default\":null}"),
        SPEC("{\"type\":\"object\",\"nullable\":true,\"default\":null,\"enum\":[null]}"), SPEC("{\"type\":\"object\",\"default\":[7]}"),
        SPEC("{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,\"x-kubernetes-preserve-unknown-fields\":true}"),
        SPEC("{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,\"x-kubernetes-preserve-unknown-fields\":true,"
             "\"x-kubernetes-validations\":[{\"rule\":\"self.metadata.name == self.kind\"},null,{},{\"rule\":null},{\"rule\":\"self == oldSelf\",\"optionalOldSelf\":true}]}"),
        SPEC("{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,\"x-kubernetes-preserve-unknown-fields\":true,"
             "\"x-kubernetes-validations\":[{\"rule\":\"self.metadata.name == self.kind\"}]}"),
        SPEC("{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"not\":{\"required\":[\"b\"]},\"oneOf\":[{},null,{\"required\":[null,7,\"a\"]}]}"),
        SPEC("{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"minProperties\":-1,\"maxProperties\":-9}"),
        SPEC("{\"type\":\"string\",\"pattern\":\"(((\",\"format\":\"rgbcolor\",\"maxLength\":-1}"),
        SPEC("{\"type\":\"number\",\"multipleOf\":0,\"minimum\":1e308,\"maximum\":-1e308}"),
        SPEC("{\"$ref\":\"#/x\",\"definitions\":{\"a\":null},\"dependencies\":{\"a\":null},\"patternProperties\":{\"(\":null}}"),
    };
    static const char *const more[] = {
        "\"subresources\":null", "\"subresources\":{\"status\":null,\"scale\":null}", "\"subresources\":{\"scale\":{}}",
        "\"subresources\":{\"scale\":{\"specReplicasPath\":\".spec.a.b\",\"statusReplicasPath\":\".status.a\",\"labelSelectorPath\":\".status.b\"}}",
        "\"subresources\":{\"scale\":{\"specReplicasPath\":\"...\",\"statusReplicasPath\":\".\",\"labelSelectorPath\":\"\"}}",
        "\"additionalPrinterColumns\":[null]", "\"additionalPrinterColumns\":[{\"name\":\"\",\"type\":\"\",\"jsonPath\":\"\"}]",
        "\"additionalPrinterColumns\":[{\"name\":\"A\",\"type\":\"date\",\"jsonPath\":\".spec.a\"},{\"name\":\"B\",\"type\":\"integer\",\"priority\":-7,\"jsonPath\":\".spec\"},"
        "{\"name\":\"C\",\"type\":\"string\",\"jsonPath\":\".spec[0][0]['a']..b[?(@.a==1)]\"}]",
        "\"selectableFields\":[null]", "\"selectableFields\":[{\"jsonPath\":\"\"}]", "\"selectableFields\":[{\"jsonPath\":\".spec.a\"}]",
        "\"deprecated\":true,\"deprecationWarning\":\"\"",
    };
    struct fixture f;
    start(&f);
    size_t i = 0, served = 0;
    for (; i < ARRAY_SIZE(schemas) + ARRAY_SIZE(more); i++) {
        bool of_schema = i < ARRAY_SIZE(schemas);
        struct reply r = post(&f, CRDS, arena_printf(&f.arena, ODD, i, i, i, of_schema ? "\"deprecated\":false" : more[i - ARRAY_SIZE(schemas)],
                                                     of_schema ? schemas[i] : PLAIN).p);
        assert_in_range(r.code, 200, 499);
        if (r.code != 201)
            continue;
        pass_by(&f, arena_printf(&f.arena, "p%zus", i).p);
        use_odd(&f, i);
        served++;
    }
    assert_true(served > 5);
    assert_code(get(&f, "/openapi/v2"), 200);
    fixture_restart(&f, NULL);
    assert_code(get(&f, WIDGETS), 200);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_that_may_cost_too_much_are_refused),
        cmocka_unit_test(a_definition_is_served),
        cmocka_unit_test(objects_are_pruned_and_defaulted),
        cmocka_unit_test(values_are_judged),
        cmocka_unit_test(what_does_not_change_is_not_judged),
        cmocka_unit_test(status_scale_and_selection),
        cmocka_unit_test(versions_are_one_object),
        cmocka_unit_test(apply_merges_by_the_schema),
        cmocka_unit_test(names_that_are_taken_wait),
        cmocka_unit_test(objects_go_before_their_definition),
        cmocka_unit_test(a_watch_sees_them),
        cmocka_unit_test(rules_that_do_not_compile_are_refused),
        cmocka_unit_test(a_version_that_is_dropped_can_still_be_watched),
        cmocka_unit_test(only_what_a_definition_says_is_taken_up_anew),
        cmocka_unit_test(the_place_of_definitions_is_taken),
        cmocka_unit_test(an_object_that_cannot_be_read_does_not_keep_the_server_down),
        cmocka_unit_test(a_name_is_given_once),
        cmocka_unit_test(odd_objects_are_answered),
        cmocka_unit_test(odd_definitions_are_answered),
        cmocka_unit_test(embedded_resources_are_objects),
        cmocka_unit_test(patterns_that_are_none_are_refused),
        cmocka_unit_test(a_scale_needs_a_number),
        cmocka_unit_test(objects_outlive_their_definition),
        cmocka_unit_test(a_schema_may_narrow_names),
        cmocka_unit_test(defaults_are_what_their_schema_allows),
        cmocka_unit_test(wide_objects_do_not_hold_up_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
