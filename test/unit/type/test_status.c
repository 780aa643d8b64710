/* SPDX-License-Identifier: Apache-2.0 */
#include "type/status.h"

#include "cases.h"
#include "names.h"
#include "resources.h"
#include "type/resource.h"
#include "type/text.h"
#include "types.h"

static struct arena arena;

static struct status fresh(void)
{
    struct status s;
    status_init(&s, &arena);
    return s;
}

static const struct resource *pods, *deployments;

static void test_messages(void **state)
{
    (void)state;
    struct status s = fresh();
    assert_int_equal(status_not_found(&s, pods, STR("x")), 404);
    assert_str(s.message, "pods \"x\" not found");
    assert_string_equal(s.reason, "NotFound");
    assert_str(s.kind, "pods");
    s = fresh();
    assert_int_equal(status_already_exists(&s, deployments, STR("x")), 409);
    assert_str(s.message, "deployments.apps \"x\" already exists");
    assert_string_equal(s.reason, "AlreadyExists");
    assert_str(s.group, "apps");
    s = fresh();
    assert_int_equal(status_conflict(&s, pods, STR("x"), NULL), 409);
    assert_str(s.message,
               "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your "
               "changes to the latest version and try again");
    assert_string_equal(s.reason, "Conflict");
    s = fresh();
    assert_int_equal(status_forbidden(&s, deployments, STR("x"), "why"), 403);
    assert_str(s.message, "deployments.apps \"x\" is forbidden: why");
    s = fresh();
    status_forbidden(&s, pods, STR(""), "why");
    assert_str(s.message, "pods is forbidden: why");
    s = fresh();
    status_forbidden(&s, NULL, STR(""), "why");
    assert_str(s.message, "forbidden: why");
    s = fresh();
    assert_int_equal(status_method_not_supported(&s, deployments, "create"), 405);
    assert_str(s.message, "create is not supported on resources of kind \"deployments.apps\"");
    s = fresh();
    assert_int_equal(status_gone(&s, "too old resource version: %d (%d)", 1, 2), 410);
    assert_str(s.message, "too old resource version: 1 (2)");
    assert_string_equal(s.reason, "Expired");
    s = fresh();
    assert_int_equal(status_internal(&s, "broken"), 500);
    assert_str(s.message, "Internal error occurred: broken");
    assert_int_equal(s.n_causes, 1);
    assert_str(s.causes[0].message, "broken");
    s = fresh();
    assert_int_equal(status_set(&s, 429, NULL, "x"), 429);
    assert_string_equal(s.reason, "TooManyRequests");
}

static void test_invalid(void **state)
{
    (void)state;
    struct status s = fresh();
    assert_int_equal(status_invalid(&s, STR(""), STR("Pod"), STR("x")), 0);
    cause_required(&s, STR("spec.containers"), NULL);
    assert_int_equal(status_invalid(&s, STR(""), STR("Pod"), STR("x")), 422);
    assert_str(s.message, "Pod \"x\" is invalid: spec.containers: Required value");
    cause_invalid(&s, STR("spec.a"), &(struct val){.kind = VAL_INT, .i = -1},
                  "must be greater than or equal to 0");
    cause_required(&s, STR("spec.containers"), NULL); /* said before: once is enough */
    assert_int_equal(status_invalid(&s, STR("apps"), STR("Deployment"), STR("x")), 422);
    assert_str(
        s.message,
        "Deployment.apps \"x\" is invalid: [spec.containers: Required value, spec.a: Invalid value: -1: "
        "must be greater than or equal to 0]");
    assert_int_equal(s.n_causes, 2);
    assert_str(s.kind, "Deployment");
}

static void test_cause_texts(void **state)
{
    (void)state;
    struct status s = fresh();
    struct val text = val_of_str(STR("a\"b"));
    cause_required(&s, STR("p"), "because");
    cause_invalid(&s, STR("p"), &text, "is wrong");
    cause_not_supported(&s, STR("p"), &text, (const char *const[]){"A", "B", NULL});
    cause_duplicate(&s, STR("p"), &text);
    cause_forbidden(&s, STR("p"), "no");
    cause_too_long(&s, STR("p"), 63);
    cause_too_many(&s, STR("p"), 3, 2);
    cause_not_found(&s, STR("p"), &text);
    cause_invalid(&s, STR(""), case_val(&arena, NULL, "{'a':[1,true]}"), "");
    const char *want[][2] = {
        {"FieldValueRequired", "Required value: because"},
        {"FieldValueInvalid", "Invalid value: \"a\\\"b\": is wrong"},
        {"FieldValueNotSupported", "Unsupported value: \"a\\\"b\": supported values: \"A\", \"B\""},
        {"FieldValueDuplicate", "Duplicate value: \"a\\\"b\""},
        {"FieldValueForbidden", "Forbidden: no"},
        {"FieldValueTooLong", "Too long: may not be more than 63 bytes"},
        {"FieldValueTooMany", "Too many: 3: must have at most 2 items"},
        {"FieldValueNotFound", "Not found: \"a\\\"b\""},
        {"FieldValueInvalid", "Invalid value: {\"a\":[1,true]}"},
    };
    assert_int_equal(s.n_causes, ARRAY_SIZE(want));
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        assert_string_equal(s.causes[i].reason, want[i][0]);
        assert_str(s.causes[i].message, want[i][1]);
    }
    assert_str(s.causes[8].field, "<nil>");
}

static void test_status_object_and_back(void **state)
{
    (void)state;
    struct status s = fresh();
    cause_required(&s, STR("spec.x"), NULL);
    status_invalid(&s, STR("apps"), STR("Deployment"), STR("d"));
    struct val *v = status_to_val(&s, &arena);
    assert_json(
        &arena, type_at(T_meta_v1_Status), v,
        "{'kind':'Status','apiVersion':'v1','metadata':{},'status':'Failure','message':'Deployment.apps "
        "\\'d\\' is "
        "invalid: spec.x: Required value','reason':'Invalid','details':{'name':'d','group':'apps','kind':"
        "'Deployment','causes':[{'reason':'FieldValueRequired','message':'Required "
        "value','field':'spec.x'}]},"
        "'code':422}");
    struct status t = fresh();
    status_from_val(&t, v);
    assert_int_equal(t.code, 422);
    assert_string_equal(t.reason, "Invalid");
    assert_int_equal(t.n_causes, 1);
    assert_str(t.causes[0].field, "spec.x");
    assert_true(val_equal(v, status_to_val(&t, &arena)));
}

static void test_quoting(void **state)
{
    (void)state;
    assert_str(text_quote(&arena, STR("a\tb\n\x01\x7f\\ \xc3\xa9\xff\xe2\x80\x8b")),
               "\"a\\tb\\n\\x01\\x7f\\\\ \xc3\xa9\\xff\\u200b\"");
}

static int setup(void **state)
{
    (void)state;
    pods = &resources[RES_PODS];
    deployments = &resources[RES_DEPLOYMENTS];
    return 0;
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
        cmocka_unit_test(test_messages),    cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_cause_texts), cmocka_unit_test(test_status_object_and_back),
        cmocka_unit_test(test_quoting),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
