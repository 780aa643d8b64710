/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "wire/json.h"
#include "wire/value-internal.h"

#include "names.h"
#include "types.h"

#include <math.h>
#include <stdio.h>

static const struct type *type_named(const char *name)
{
    const struct type *t = name ? type_find(str_of(name)) : NULL;
    assert_true(!name || t);
    return t;
}

static struct val *decode(struct arena *a, const char *type, const char *text)
{
    struct val *v = NULL;
    struct err e = {0};
    if (json_decode(a, type_named(type), str_of(text), 0, NULL, &v, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    return v;
}

/* Text to value and back. */
static struct str again(struct arena *a, const char *type, const char *text, unsigned flags)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, type_named(type), decode(a, type, text), flags);
    return arena_str(a, buf_str(&b));
}

struct again_case {
    const char *type, *text, *want;
};

static void check_again(const struct again_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str got = again(&a, cases[i].type, cases[i].text, 0);
        if (!str_is(got, cases[i].want))
            fail_msg("%s\n  gives " STR_FMT "\n  not   %s", cases[i].text, STR_ARG(got), cases[i].want);
    }
}

static void untyped_values(void **state UNUSED)
{
    static const struct again_case cases[] = {
        {NULL, " { \"b\" : 1 , \"a\" : [ true , false , null ] } ", "{\"a\":[true,false,null],\"b\":1}"},
        {NULL, "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
        {NULL, "[]", "[]"},
        {NULL, "{}", "{}"},
        {NULL, "\"\"", "\"\""},
        {NULL, "\"\\u00e9\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\u0001\"",
         "\"\xc3\xa9\xf0\x9f\x98\x80/\\b\\f\\n\\r\\t\\u0001\""},
        {NULL, "\"\\ud800x\\udc00\\ud800\\u0041\"",
         "\"\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd"
         "A\""},
        {NULL, "\"<a href='x'>&\\u2028\\u2029\x7f\"",
         "\"\\u003ca href='x'\\u003e\\u0026\\u2028\\u2029\x7f\""},
        {NULL, "[0,-0,1,-1,9223372036854775807,-9223372036854775808]",
         "[0,0,1,-1,9223372036854775807,-9223372036854775808]"},
        {NULL, "[9223372036854775808,1.0,1e3,1.5,-0.0,1e21,1e-7,123456789.125]",
         "[9223372036854776000,1,1000,1.5,-0,1e+21,1e-7,123456789.125]"},
        {NULL, "[5e-324,1.7976931348623157e308,0.1,1e20,0.000001,100]",
         "[5e-324,1.7976931348623157e+308,0.1,100000000000000000000,0.000001,100]"},
    };
    check_again(cases, ARRAY_SIZE(cases));
}

static void numbers_of_untyped_data_keep_their_kind(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = decode(&a, NULL, "[1,1.0,1e1,9223372036854775808]");
    assert_true(val_is(val_item(v, 0), VAL_INT));
    assert_true(val_is(val_item(v, 1), VAL_FLOAT));
    assert_true(val_is(val_item(v, 2), VAL_FLOAT));
    assert_true(val_is(val_item(v, 3), VAL_FLOAT));
}

/* What a Go client could not tell from absent is gone, the rest stays; fields without omitempty come back. */
static void typed_values_are_normal(void **state UNUSED)
{
    static const struct again_case cases[] = {
        {"core.v1.ConfigMap",
         "{\"data\":{},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"\",\"labels\":null}}",
         "{\"kind\":\"ConfigMap\",\"metadata\":{}}"},
        {"core.v1.ConfigMap", "{\"immutable\":false,\"binaryData\":{\"b\":\"\",\"a\":\"aGk=\"}}",
         "{\"metadata\":{},\"immutable\":false,\"binaryData\":{\"a\":\"aGk=\",\"b\":\"\"}}"},
        {"apps.v1.Deployment", "{\"spec\":{\"replicas\":0,\"paused\":false,\"minReadySeconds\":0}}",
         "{\"metadata\":{},\"spec\":{\"replicas\":0,\"selector\":null,\"template\":{\"metadata\":{},\"spec\":"
         "{\"containers\":null}},"
         "\"strategy\":{}},\"status\":{}}"},
        {"core.v1.Volume", "{\"emptyDir\":{},\"name\":\"v\"}", "{\"name\":\"v\",\"emptyDir\":{}}"},
        {"core.v1.Volume", "{\"name\":\"v\",\"emptyDir\":{\"sizeLimit\":\"1024Mi\",\"medium\":\"\"}}",
         "{\"name\":\"v\",\"emptyDir\":{\"sizeLimit\":\"1Gi\"}}"},
        {"core.v1.ResourceRequirements",
         "{\"limits\":{\"cpu\":0.5,\"memory\":\" 1024Ki \",\"x\":null,\"y\":2}}",
         "{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Mi\",\"x\":\"0\",\"y\":\"2\"}}"},
        {"core.v1.ServicePort", "{\"port\":80}", "{\"port\":80,\"targetPort\":0}"},
        {"core.v1.ServicePort", "{\"port\":80,\"targetPort\":\"http\"}",
         "{\"port\":80,\"targetPort\":\"http\"}"},
        {"core.v1.ServicePort", "{\"port\":80,\"targetPort\":\"\"}", "{\"port\":80,\"targetPort\":\"\"}"},
        {"meta.v1.ObjectMeta",
         "{\"creationTimestamp\":null,\"deletionTimestamp\":\"2024-02-29T23:30:00.9-01:30\"}",
         "{\"deletionTimestamp\":\"2024-03-01T01:00:00Z\"}"},
        {"meta.v1.ObjectMeta", "{\"creationTimestamp\":\"0001-01-01T00:00:00Z\"}", "{}"},
        {"coordination.v1.LeaseSpec", "{\"renewTime\":\"2024-01-01T00:00:00.123456+02:00\"}",
         "{\"renewTime\":\"2023-12-31T22:00:00.123456Z\"}"},
        {"meta.v1.ManagedFieldsEntry", "{\"fieldsV1\": { \"f:a\" : { } , \"f:<\" : [ 1 , \"a b\" ] } }",
         "{\"fieldsV1\":{\"f:a\":{},\"f:\\u003c\":[1,\"a b\"]}}"},
        {"apps.v1.ControllerRevision", "{\"revision\":1}", "{\"metadata\":{},\"data\":null,\"revision\":1}"},
        {"core.v1.PodSpec", "{\"containers\":[null,{\"name\":\"a\",\"resources\":{}}]}",
         "{\"containers\":[{\"name\":\"\",\"resources\":{}},{\"name\":\"a\",\"resources\":{}}]}"},
        {"authentication.v1.UserInfo", "{\"extra\":{\"k\":[\"v\",null],\"n\":null}}",
         "{\"extra\":{\"k\":[\"v\",\"\"],\"n\":[]}}"},
        {"apiextensions.v1.JSONSchemaProps",
         "{\"items\":{\"type\":\"string\"},\"additionalProperties\":false,\"dependencies\":{\"a\":[\"b\"],"
         "\"c\":{}}}",
         "{\"items\":{\"type\":\"string\"},\"additionalProperties\":false,\"dependencies\":{\"a\":[\"b\"],"
         "\"c\":{}}}"},
        {"apiextensions.v1.JSONSchemaProps",
         "{\"items\":[{\"type\":\"string\"}],\"default\":null,\"enum\":[null,1]}",
         "{\"enum\":[null,1],\"items\":[{\"type\":\"string\"}]}"},
        {"apiextensions.v1.JSONSchemaProps", "{\"minimum\":0,\"maximum\":2}",
         "{\"maximum\":2,\"minimum\":0}"},
    };
    check_again(cases, ARRAY_SIZE(cases));
}

static void members_stand_in_declared_order(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = decode(
        &a, "core.v1.Container",
        "{\"image\":\"i\",\"args\":[\"x\"],\"name\":\"n\",\"image\":\"j\",\"tty\":true,\"command\":[\"c\"]}");
    static const name_id order[] = {N_name, N_image, N_command, N_args, N_tty};
    assert_int_equal(v->n, ARRAY_SIZE(order));
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        assert_int_equal(v->items[i].name, order[i]);
    assert_str(val_getstr(v, N_image), "j");
}

/* Values that code has put together, not in order and with zeros. */
static void built_values_are_written_like_decoded_ones(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v = val_new(&a, VAL_OBJ);
    val_set_str(&a, v, N_image, STR("i"));
    val_set_bool(&a, v, N_tty, false);
    val_set_str(&a, v, N_name, STR("n"));
    val_put_str(&a, val_sub_map(&a, val_sub_obj(&a, v, N_resources), N_limits), STR("b"), STR("1"));
    val_put_str(&a, val_sub_map(&a, val_sub_obj(&a, v, N_resources), N_limits), STR("a"), STR("2"));
    json_encode(&b, type_at(T_core_v1_Container), v, 0);
    assert_str(buf_str(&b),
               "{\"name\":\"n\",\"image\":\"i\",\"resources\":{\"limits\":{\"a\":\"2\",\"b\":\"1\"}}}");
    buf_clear(&b);
    json_encode(&b, NULL, NULL, 0);
    assert_str(buf_str(&b), "null");
}

static void configuration_keeps_empty_lists(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = decode(&a, "kubelet.v1beta1.KubeletConfiguration", "{\"enforceNodeAllocatable\":[]}");
    assert_true(val_is(val_get(v, N_enforceNodeAllocatable), VAL_LIST));
    v = decode(&a, "core.v1.Container", "{\"command\":[]}");
    assert_null(val_get(v, N_command));
}

static void layouts(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *text =
        "{\"metadata\":{\"name\":\"a<b\",\"managedFields\":[{\"fieldsV1\":{\"f:x\":{},\"l\":[1,[]]}}]},"
        "\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"data\":{\"k\":\"v\"}}";
    assert_str(
        again(&a, "core.v1.ConfigMap", text, JSON_PRETTY),
        "{\n    \"kind\": \"ConfigMap\",\n    \"apiVersion\": \"v1\",\n    \"metadata\": {\n"
        "        \"name\": \"a\\u003cb\",\n        \"managedFields\": [\n            {\n"
        "                \"fieldsV1\": {\n                    \"f:x\": {},\n                    \"l\": [\n"
        "                        1,\n                        []\n                    ]\n                }\n"
        "            }\n        ]\n    },\n    \"data\": {\n        \"k\": \"v\"\n    }\n}");
    text = "{\"kind\":\"ConfigMap\",\"data\":{\"k\":\"<\"},\"apiVersion\":\"v1\"}";
    assert_str(again(&a, "core.v1.ConfigMap", text, JSON_SORTED | JSON_NO_HTML),
               "{\"apiVersion\":\"v1\",\"data\":{\"k\":\"<\"},\"kind\":\"ConfigMap\",\"metadata\":{}}");
    assert_str(again(&a, "core.v1.ConfigMap", text, JSON_NO_TYPE),
               "{\"metadata\":{},\"data\":{\"k\":\"\\u003c\"}}");
    assert_str(again(&a, NULL, "{\"a\":[]}", JSON_PRETTY2), "{\n  \"a\": []\n}");
}

struct error_case {
    const char *type, *text, *error;
};

static const struct error_case broken[] = {
    {NULL, "", "unexpected end of JSON input"},
    {NULL, "  ", "unexpected end of JSON input"},
    {NULL, "{\"a\":1", "unexpected end of JSON input"},
    {NULL, "{\"a\"}", "invalid character '}' after object key"},
    {NULL, "{\"a\":1,}", "invalid character '}' looking for beginning of object key string"},
    {NULL, "{a:1}", "invalid character 'a' looking for beginning of object key string"},
    {NULL, "{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"},
    {NULL, "[1 2]", "invalid character '2' after array element"},
    {NULL, "[1,]", "invalid character ']' looking for beginning of value"},
    {NULL, "1 x", "invalid character 'x' after top-level value"},
    {NULL, "01", "invalid character '1' after top-level value"},
    {NULL, "-x", "invalid character 'x' in numeric literal"},
    {NULL, "1.x", "invalid character 'x' after decimal point in numeric literal"},
    {NULL, "1ex", "invalid character 'x' in exponent of numeric literal"},
    {NULL, "nulx", "invalid character 'x' in literal null (expecting 'l')"},
    {NULL, "trux", "invalid character 'x' in literal true (expecting 'e')"},
    {NULL, "\"\\x\"", "invalid character 'x' in string escape code"},
    {NULL, "\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"},
    {NULL, "\"a\nb\"", "invalid character '\\n' in string literal"},
    {NULL, "\\", "invalid character '\\\\' looking for beginning of value"},
    {NULL, "\xff", "invalid character '\xc3\xbf' looking for beginning of value"},
    {NULL, "\"\xff\"", "invalid UTF-8 in string literal"},
    {NULL, "\"\xc0\x80\"", "invalid UTF-8 in string literal"},         /* a long form */
    {NULL, "\"\xed\xa0\x80\"", "invalid UTF-8 in string literal"},     /* a surrogate */
    {NULL, "\"\xf4\x90\x80\x80\"", "invalid UTF-8 in string literal"}, /* beyond the last character */
    {NULL, "\"\xe2\x82\"", "invalid UTF-8 in string literal"},
    {NULL, "1e999", "json: cannot unmarshal number 1e999 into Go value of type float64"},
    {"apps.v1.Deployment", "{\"spec\":{\"replicas\":\"1\"}}",
     "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"},
    {"apps.v1.Deployment", "{\"spec\":{\"replicas\":1.0}}",
     "json: cannot unmarshal number 1.0 into Go struct field DeploymentSpec.spec.replicas of type int32"},
    {"apps.v1.Deployment", "{\"spec\":{\"replicas\":1e3}}",
     "json: cannot unmarshal number 1e3 into Go struct field DeploymentSpec.spec.replicas of type int32"},
    {"apps.v1.Deployment", "{\"spec\":{\"replicas\":2147483648}}",
     "json: cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type "
     "int32"},
    {"apps.v1.Deployment", "{\"spec\":{\"template\":{\"spec\":{\"containers\":{}}}}}",
     "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type "
     "[]v1.Container"},
    {"apps.v1.Deployment", "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":1}]}}}}",
     "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.name of "
     "type string"},
    {"core.v1.Pod", "[]", "json: cannot unmarshal array into Go value of type v1.Pod"},
    {"core.v1.Pod", "{\"metadata\":{\"labels\":{\"a\":true}}}",
     "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"},
    {"core.v1.ResourceRequirements", "{\"limits\":{\"cpu\":\"x\"}}",
     "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
    {"core.v1.ResourceRequirements", "{\"limits\":{\"cpu\":{}}}",
     "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
    {"meta.v1.ObjectMeta", "{\"creationTimestamp\":\"x\"}",
     "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""},
    {"meta.v1.ObjectMeta", "{\"creationTimestamp\":\"2023-02-29T00:00:00Z\"}",
     "parsing time \"2023-02-29T00:00:00Z\""},
    {"core.v1.Secret", "{\"data\":{\"a\":\"b\"}}", "illegal base64 data"},
    {"core.v1.Secret", "{\"data\":{\"a\":\"YQ=\"}}", "illegal base64 data"},
    /* a syntax error behind an error of type is the one that counts */
    {"apps.v1.Deployment", "{\"spec\":{\"replicas\":\"1\"}", "unexpected end of JSON input"},
};

static void errors_are_gos(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val *v = NULL;
        struct err e = {0};
        if (json_decode(&a, type_named(broken[i].type), str_of(broken[i].text), 0, NULL, &v, &e) != -EINVAL)
            fail_msg("%s is accepted", broken[i].text);
        if (!str_starts(str_of(e.text), str_of(broken[i].error)))
            fail_msg("%s\n  says %s\n  not  %s", broken[i].text, e.text, broken[i].error);
        assert_null(v);
    }
}

/* Long ones are looked at many bytes at a time: what is to be escaped is found wherever it stands. */
static void raw_json_is_escaped_wherever_it_has_to_be(void **state UNUSED)
{
    static const struct {
        const char *in, *out;
    } cases[] = {{"x", "x"}, {"<", "\\u003c"}, {">", "\\u003e"}, {"&", "\\u0026"}, {" ", " "}, {"\xe2\x80\xa8", "\\u2028"}, {"\xc3\xa9", "\xc3\xa9"}, {"\\\"", "\\\""}};
    for (size_t c = 0; c < ARRAY_SIZE(cases); c++)
        for (size_t at = 0; at < 40; at++) {
            struct buf in CLEANUP_BUF = BUF_INIT, out CLEANUP_BUF = BUF_INIT, want CLEANUP_BUF = BUF_INIT;
            static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
            buf_printf(&in, "{\"%.*s%s%s\":1}", (int)at, a, cases[c].in, a + at);
            buf_printf(&want, "{\"%.*s%s%s\":1}", (int)at, a, cases[c].out, a + at);
            struct val v = val_of_raw(buf_str(&in));
            json_encode(&out, NULL, &v, 0);
            assert_string_equal(out.p, want.p);
        }
}

static void nesting_ends_somewhere(void **state UNUSED)
{
    for (int depth = WIRE_MAX_DEPTH - 1; depth <= WIRE_MAX_DEPTH + 1; depth++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct buf b CLEANUP_BUF = BUF_INIT;
        struct val *v;
        struct str raw;
        for (int i = 0; i < depth; i++)
            buf_puts(&b, i % 2 ? "{\"a\":" : "[");
        buf_puts(&b, "1");
        for (int i = depth; i-- > 0;)
            buf_puts(&b, i % 2 ? "}" : "]");
        int want = depth <= WIRE_MAX_DEPTH ? 0 : -EINVAL;
        assert_int_equal(json_decode(&a, NULL, buf_str(&b), 0, NULL, &v, NULL), want);
        assert_int_equal(json_compact(&a, buf_str(&b), &raw, NULL), want);
    }
}

static void problems_are_reported_once_with_their_paths(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    struct json_report report = {0};
    struct err e;
    const char *text =
        "{\"Spec\":1,\"spec\":{\"replicas\":1,\"replicas\":2,\"foo\":{\"bar\":1},\"foo\":1,"
        "\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"nam\\\"e\":\"b\",\"env\":[{\"x\":1}]}]}}"
        "},"
        "\"metadata\":{\"labels\":{\"b\":\"1\",\"a\":\"2\",\"b\":\"3\"}},\"metadata\":{\"name\":\"n\"}}";
    static const char *const want[] = {
        "unknown field \"Spec\"",
        "duplicate field \"spec.replicas\"",
        "unknown field \"spec.foo\"",
        "unknown field \"spec.template.spec.containers[1].nam\\\"e\"",
        "unknown field \"spec.template.spec.containers[1].env[0].x\"",
        "duplicate field \"metadata.labels.b\"",
        "duplicate field \"metadata\"",
    };
    assert_int_equal(json_decode(&a, type_named("apps.v1.Deployment"), str_of(text), 0, &report, &v, &e), 0);
    assert_int_equal(report.n, ARRAY_SIZE(want));
    for (unsigned i = 0; i < report.n; i++)
        assert_str(report.problems[i], want[i]);
    assert_int_equal(val_int(val_at(v, N_spec, N_replicas), 0), 2);
    assert_str(val_str(val_at(v, N_metadata, N_name)), "n");

    report = (struct json_report){0};
    assert_int_equal(json_decode(&a, NULL, STR("{\"a\":{\"b\":1,\"b\":2}}"), 0, &report, &v, &e), 0);
    assert_int_equal(report.n, 1);
    assert_str(report.problems[0], "duplicate field \"a.b\"");

    report = (struct json_report){0};
    text = "{\"items\":{\"foo\":1,\"type\":\"a\",\"type\":\"b\"},\"foo\":1}"; /* upstream is not strict in
                                                                                 alternatives */
    assert_int_equal(
        json_decode(&a, type_named("apiextensions.v1.JSONSchemaProps"), str_of(text), 0, &report, &v, &e), 0);
    assert_int_equal(report.n, 1);
    assert_str(report.problems[0], "unknown field \"foo\"");
}

static void reports_are_bounded(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v;
    struct json_report report = {0};
    buf_puts(&b, "{\"x\":1");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, ",\"x%d\":1", i);
    buf_puts(&b, "}");
    assert_int_equal(json_decode(&a, type_named("core.v1.Pod"), buf_str(&b), 0, &report, &v, NULL), 0);
    assert_int_equal(report.n, JSON_REPORT_MAX);
}

static void type_meta_alone(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str version, kind;
    struct err e;
    const char *text =
        " {\"metadata\":{\"kind\":\"x\"},\"kind\":\"Pod\", \"spec\": [1, {}], \"apiVersion\" : \"v1\" }";
    assert_int_equal(json_type_meta(&a, str_of(text), &version, &kind, &e), 0);
    assert_str(version, "v1");
    assert_str(kind, "Pod");
    assert_int_equal(json_type_meta(&a, STR("{}"), &version, &kind, &e), 0);
    assert_str(version, "");
    assert_str(kind, "");
    assert_int_equal(json_type_meta(&a, STR("{\"kind\":1}"), &version, &kind, &e), 0);
    assert_str(kind, "");
    assert_int_equal(json_type_meta(&a, STR("[]"), &version, &kind, &e), -EINVAL);
    assert_int_equal(json_type_meta(&a, STR("{\"kind\""), &version, &kind, &e), -EINVAL);
    assert_int_equal(json_type_meta(&a, STR("{\"kind\":}"), &version, &kind, &e), -EINVAL);
}

static void compact_text(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str raw;
    assert_int_equal(json_compact(&a, STR(" { \"a b\\\" \" : [ 1 , \"\\\\\" ] }\n"), &raw, NULL), 0);
    assert_str(raw, "{\"a b\\\" \":[1,\"\\\\\"]}");
    assert_int_equal(json_compact(&a, STR("1 2"), &raw, NULL), -EINVAL);
    assert_int_equal(json_compact(&a, STR("{"), &raw, NULL), -EINVAL);
}

static void text_that_is_no_utf8_is_written_as_such(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode_str(&b, STR("a\xff\xe2\x82"), 0);
    assert_str(buf_str(&b), "\"a\\ufffd\\ufffd\\ufffd\"");
    buf_clear(&b);
    json_encode_float(&b, NAN);
    assert_str(buf_str(&b), "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(untyped_values),
        cmocka_unit_test(numbers_of_untyped_data_keep_their_kind),
        cmocka_unit_test(typed_values_are_normal),
        cmocka_unit_test(members_stand_in_declared_order),
        cmocka_unit_test(built_values_are_written_like_decoded_ones),
        cmocka_unit_test(configuration_keeps_empty_lists),
        cmocka_unit_test(layouts),
        cmocka_unit_test(errors_are_gos),
        cmocka_unit_test(raw_json_is_escaped_wherever_it_has_to_be),
        cmocka_unit_test(nesting_ends_somewhere),
        cmocka_unit_test(problems_are_reported_once_with_their_paths),
        cmocka_unit_test(reports_are_bounded),
        cmocka_unit_test(type_meta_alone),
        cmocka_unit_test(compact_text),
        cmocka_unit_test(text_that_is_no_utf8_is_written_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
