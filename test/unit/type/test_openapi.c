/* SPDX-License-Identifier: Apache-2.0 */
#include "type/openapi.h"

#include <stdio.h>
#include <stdlib.h>

#include "cases.h"

static struct arena arena;

static const struct val *dig(const struct val *v, const char *const *path)
{
    for (; v && *path; path++)
        v = val_key(v, str_of(*path));
    return v;
}
#define DIG(v, ...) dig((v), (const char *const[]){__VA_ARGS__, NULL})

static struct val *v3(const char *group, const char *version)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct openapi_group g = openapi_compiled_in(&arena, group, version);
    struct val *doc = NULL;
    struct err e = {0};
    openapi_v3(&g, NULL, NULL, &b);
    if (getenv("OPENAPI_OUT")) {
        FILE *f = fopen(getenv("OPENAPI_OUT"), "w");
        fwrite(b.p, 1, b.n, f);
        fclose(f);
    }
    if (json_decode(&arena, NULL, buf_str(&b), 0, NULL, &doc, &e) < 0)
        fail_msg("%s", e.text);
    return doc;
}

/* What kubectl explain and apply look for. */
static void test_v3_of_apps(void **state)
{
    (void)state;
    const struct val *doc = v3("apps", "v1");
    const struct val *item = DIG(doc, "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    assert_str(val_str(DIG(item, "get", "operationId")), "readAppsV1NamespacedDeployment");
    assert_json(&arena, NULL, DIG(item, "patch", "x-kubernetes-group-version-kind"),
                "{'group':'apps','kind':'Deployment','version':'v1'}");
    bool validates = false;
    VAL_EACH (DIG(item, "patch", "parameters"), p)
        validates = validates || str_is(val_str(DIG(p, "name")), "fieldValidation");
    assert_true(validates);
    assert_non_null(DIG(doc, "paths", "/apis/apps/v1/deployments", "get"));
    assert_null(DIG(doc, "paths", "/apis/apps/v1/deployments", "post"));
    assert_str(val_str(DIG(doc, "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
                           "get", "x-kubernetes-group-version-kind", "kind")),
               "Scale");
    const struct val *schemas = DIG(doc, "components", "schemas");
    assert_json(&arena, NULL,
                DIG(schemas, "io.k8s.api.apps.v1.Deployment", "x-kubernetes-group-version-kind"),
                "[{'group':'apps','kind':'Deployment','version':'v1'}]");
    const struct val *containers = DIG(schemas, "io.k8s.api.core.v1.PodSpec", "properties", "containers");
    assert_str(val_str(DIG(containers, "x-kubernetes-patch-merge-key")), "name");
    assert_str(val_str(DIG(containers, "x-kubernetes-patch-strategy")), "merge");
    assert_str(val_str(DIG(containers, "x-kubernetes-list-type")), "map");
    assert_json(&arena, NULL, DIG(containers, "items"),
                "{'allOf':[{'$ref':'#/components/schemas/io.k8s.api.core.v1.Container'}],'default':{}}");
    assert_non_null(DIG(schemas, "io.k8s.apimachinery.pkg.api.resource.Quantity"));
}

static void check_refs(const struct val *v, const struct val *schemas)
{
    const struct val *ref = val_key(v, STR("$ref"));
    if (val_is(ref, VAL_STR)) {
        ssize_t slash = str_rfind(val_str(ref), '/');
        if (!val_key(schemas, str_from(val_str(ref), (size_t)slash + 1)))
            fail_msg("dangling " STR_FMT, STR_ARG(val_str(ref)));
    }
    VAL_EACH (v, item)
        check_refs(item, schemas);
    VAL_EACH_ENTRY (v, k, item) {
        (void)k;
        check_refs(item, schemas);
    }
}

static void test_no_reference_dangles(void **state)
{
    (void)state;
    for (unsigned i = 0; i < n_group_versions; i++) {
        const struct val *doc = v3(group_versions[i].group, group_versions[i].version);
        check_refs(doc, DIG(doc, "components", "schemas"));
    }
}

static void test_v2_of_all(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct openapi_group groups[32];
    struct val *doc = NULL;
    for (unsigned i = 0; i < n_group_versions; i++)
        groups[i] = openapi_compiled_in(&arena, group_versions[i].group, group_versions[i].version);
    openapi_v2(groups, n_group_versions, NULL, NULL, &b);
    assert_int_equal(json_decode(&arena, NULL, buf_str(&b), 0, NULL, &doc, NULL), 0);
    check_refs(doc, DIG(doc, "definitions"));
    assert_json(&arena, NULL, DIG(doc, "definitions", "io.k8s.api.core.v1.Pod", "properties", "spec", "$ref"),
                "'#/definitions/io.k8s.api.core.v1.PodSpec'");
    assert_non_null(DIG(doc, "paths", "/api/v1/namespaces/{namespace}/pods/{name}/status", "patch"));
}

/* What gnostic makes of the same JSON, but that ours is in the order of keys. */
static void test_v2_as_protobuf(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        {"{'swagger':'2.0','info':{'title':'K','version':'v'}}",
         "12060a014b1201760a03322e30"},
        {"{'definitions':{'a':{'type':'object','required':['b'],'x-k':[1]}}}",
         "4a260a240a0161121f9a010162b201080a066f626a656374fa010d0a03782d6b120612045b315d0a"},
        {"{'definitions':{'a':{'additionalProperties':true}}}",
         "4a0c0a0a0a01611205aa01021001"},
        {"{'definitions':{'a':{'items':{'$ref':'x'}}}}",
         "4a0f0a0d0a01611208ba01050a030a0178"},
        {"{'paths':{'/a':{'get':{'responses':{'200':{'description':'o'}}}}}}",
         "421a12180a022f61121212104a0e0a0c0a0332303012050a030a016f"},
        {"{'paths':{'/a':{'parameters':[{'in':'query','name':'q'},{'in':'path','name':'p'},{'in':'body','name':'b'}]}}}",
         "423a12380a022f6112324a100a0e120c1a0a120571756572792201714a0f0a0d120b2209120470617468220170"
         "4a0d0a0b0a091a04626f6479120162"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_BUF struct buf b = BUF_INIT, json = BUF_INIT, hex = BUF_INIT;
        for (const char *c = cases[i].json; *c; c++)
            buf_putc(&json, *c == '\'' ? '"' : *c);
        assert_int_equal(openapi_v2_proto(buf_str(&json), &b, NULL), 0);
        for (size_t k = 0; k < b.n; k++)
            buf_printf(&hex, "%02x", (unsigned char)b.p[k]);
        if (!str_is(buf_str(&hex), cases[i].want))
            fail_msg("case %zu", i);
    }
}

static struct str widget_schema(void *arg, const struct resource *r)
{
    return STR("{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\"}}}");
}

static void test_custom_resources(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct resource widget = {.group = "example.com",
                              .version = "v1",
                              .name = "widgets",
                              .singular = "widget",
                              .kind = "Widget",
                              .list_kind = "WidgetList",
                              .verbs = 255,
                              .namespaced = true,
                              .index = (uint16_t)n_resources};
    const struct resource *list[] = {&widget};
    struct openapi_group g = {"example.com", "v1", list, 1};
    struct val *doc = NULL;
    openapi_v3(&g, widget_schema, NULL, &b);
    assert_int_equal(json_decode(&arena, NULL, buf_str(&b), 0, NULL, &doc, NULL), 0);
    const struct val *schemas = DIG(doc, "components", "schemas");
    check_refs(doc, schemas);
    assert_non_null(DIG(schemas, "com.example.v1.Widget", "properties", "spec"));
    assert_json(&arena, NULL, DIG(schemas, "com.example.v1.Widget", "x-kubernetes-group-version-kind"),
                "[{'group':'example.com','kind':'Widget','version':'v1'}]");
    assert_non_null(DIG(doc, "paths", "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}", "patch"));
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v3_of_apps),
        cmocka_unit_test(test_v2_as_protobuf),
        cmocka_unit_test(test_no_reference_dangles),
        cmocka_unit_test(test_v2_of_all),
        cmocka_unit_test(test_custom_resources),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
