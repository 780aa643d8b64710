/* SPDX-License-Identifier: Apache-2.0 */
/* ValidatingAdmissionPolicy and MutatingAdmissionPolicy: what they are for, what they say, what they change. */
#include "fixture.h"

#include <string.h>

#define MAPS "/api/v1/namespaces/default/configmaps"
#define GROUP "/apis/admissionregistration.k8s.io/v1/"
#define ON_MAPS "\"matchConstraints\":{\"resourceRules\":[{\"operations\":[\"CREATE\",\"UPDATE\"],\"apiGroups\":[\"\"],\"apiVersions\":[\"v1\"],\"resources\":[\"configmaps\"]}]}"

static struct reply make(struct fixture *f, const char *plural, const char *kind, const char *name, const char *spec)
{
    return post(f, arena_printf(&f->arena, GROUP "%s", plural).p,
                arena_printf(&f->arena, "{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":\"%s\",\"metadata\":{\"name\":\"%s\"},\"spec\":{%s}}", kind, name, spec).p);
}

static struct reply policy(struct fixture *f, const char *name, const char *spec)
{
    return make(f, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", name, arena_printf(&f->arena, ON_MAPS ",%s", spec).p);
}

static struct reply bind(struct fixture *f, const char *name, const char *more)
{
    return make(f, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", name,
                arena_printf(&f->arena, "\"policyName\":\"%s\",%s", name, more).p);
}

static struct reply mutation(struct fixture *f, const char *name, const char *spec)
{
    struct reply r = make(f, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", name,
                          arena_printf(&f->arena, ON_MAPS ",\"reinvocationPolicy\":\"Never\",%s", spec).p);
    if (r.code == 201)
        assert_code(make(f, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", name,
                         arena_printf(&f->arena, "\"policyName\":\"%s\"", name).p), 201);
    return r;
}

#define DENY "\"validationActions\":[\"Deny\"]"

static struct reply make_map(struct fixture *f, const char *name, const char *data)
{
    return post(f, MAPS, arena_printf(&f->arena, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"},\"data\":{%s}}", name, data).p);
}

FIBER_TEST(a_check_that_fails_denies)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "p", "\"validations\":[{\"expression\":\"object.data.n == 'good'\"}]"), 201);
    assert_code(make_map(&f, "early", "\"n\":\"bad\""), 201); /* not bound yet */
    assert_code(bind(&f, "p", DENY), 201);
    assert_code(make_map(&f, "one", "\"n\":\"good\""), 201);
    struct reply r = make_map(&f, "two", "\"n\":\"bad\"");
    assert_code(r, 422);
    assert_at(&f, r, "reason", "Invalid");
    assert_at(&f, r, "message", "configmaps \"two\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: failed expression: object.data.n == 'good'");
    assert_at(&f, r, "details.causes.0.message", "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: failed expression: object.data.n == 'good'");
    fixture_stop(&f);
}

FIBER_TEST(messages_and_reasons_are_the_policys)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "p", "\"validations\":[{\"expression\":\"!has(object.data.a)\",\"message\":\"no a\",\"reason\":\"Forbidden\"},"
                                "{\"expression\":\"!has(object.data.b)\",\"messageExpression\":\"'b is ' + object.data.b\",\"message\":\"fallback\"},"
                                "{\"expression\":\"!has(object.data.c)\",\"messageExpression\":\"object.data.nothing\",\"message\":\"fallback\"}]"), 422);
    assert_code(policy(&f, "p", "\"validations\":[{\"expression\":\"!has(object.data.a)\",\"message\":\"no a\",\"reason\":\"Forbidden\"},"
                                "{\"expression\":\"!has(object.data.b)\",\"messageExpression\":\"'b is ' + string(object.data.b)\",\"message\":\"fallback\"},"
                                "{\"expression\":\"!has(object.data.c)\",\"messageExpression\":\"string(object.data.nothing)\",\"message\":\"fallback\"}]"), 201);
    assert_code(bind(&f, "p", DENY), 201);
    struct reply r = make_map(&f, "x", "\"a\":\"1\"");
    assert_code(r, 403);
    assert_true(str_ends(val_str(val_key(r.v, STR("message"))), STR("denied request: no a")));
    r = make_map(&f, "x", "\"b\":\"1\"");
    assert_true(str_ends(val_str(val_key(r.v, STR("message"))), STR("denied request: b is 1")));
    r = make_map(&f, "x", "\"c\":\"1\"");
    assert_true(str_ends(val_str(val_key(r.v, STR("message"))), STR("denied request: fallback")));
    fixture_stop(&f);
}

FIBER_TEST(bindings_may_only_warn)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "p", "\"validations\":[{\"expression\":\"false\",\"message\":\"never\"}]"), 201);
    assert_code(bind(&f, "p", "\"validationActions\":[\"Warn\",\"Audit\"]"), 201);
    struct reply r = make_map(&f, "one", "");
    assert_code(r, 201);
    assert_true(str_contains(http_header(&r.headers, "warning"), STR("Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': never")));
    fixture_stop(&f);
}

FIBER_TEST(variables_build_on_each_other)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "p", "\"variables\":[{\"name\":\"n\",\"expression\":\"int(object.data.n)\"},{\"name\":\"twice\",\"expression\":\"variables.n * 2\"},"
                                "{\"name\":\"broken\",\"expression\":\"object.data.nothing\"}],"
                                "\"validations\":[{\"expression\":\"variables.twice < 10\",\"messageExpression\":\"'twice is ' + string(variables.twice)\"},"
                                "{\"expression\":\"variables.n > 1 || variables.broken == 'x'\"}]"), 201);
    assert_code(bind(&f, "p", DENY), 201);
    assert_code(make_map(&f, "one", "\"n\":\"4\""), 201);
    struct reply r = make_map(&f, "two", "\"n\":\"5\"");
    assert_code(r, 422);
    assert_true(str_ends(val_str(val_key(r.v, STR("message"))), STR("twice is 10")));
    r = make_map(&f, "two", "\"n\":\"1\"");
    assert_code(r, 422);
    assert_true(str_contains(r.text, STR("composited variable \\\"broken\\\" fails to evaluate: no such key: nothing")));
    fixture_stop(&f);
}

FIBER_TEST(parameters_come_from_the_binding)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "p", "\"paramKind\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"},\"matchConditions\":[{\"name\":\"x\",\"expression\":\"!request.name.startsWith('limit')\"}],"
                                "\"validations\":[{\"expression\":\"int(object.data.n) <= int(params.data.max)\"}]"), 201);
    assert_code(bind(&f, "p", DENY ",\"paramRef\":{\"name\":\"limit\",\"parameterNotFoundAction\":\"Deny\"}"), 201);
    struct reply r = make_map(&f, "one", "\"n\":\"1\"");
    assert_code(r, 422);
    assert_true(str_contains(r.text, STR("failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction")));
    fixture_restart(&f, NULL);
    assert_code(ask(&f, "DELETE", GROUP "validatingadmissionpolicybindings/p", NULL, NULL), 200);
    assert_code(make_map(&f, "limit", "\"max\":\"3\""), 201);
    assert_code(make_map(&f, "limit-b", "\"max\":\"2\""), 201);
    assert_code(bind(&f, "p", DENY ",\"paramRef\":{\"name\":\"limit\",\"parameterNotFoundAction\":\"Deny\"}"), 201);
    assert_code(make_map(&f, "one", "\"n\":\"3\""), 201);
    assert_code(make_map(&f, "two", "\"n\":\"4\""), 422);
    assert_code(patch(&f, MAPS "/limit", "merge-patch+json", "{\"data\":{\"max\":\"9\"},\"metadata\":{\"labels\":{\"l\":\"1\"}}}"), 200);
    assert_code(make_map(&f, "two", "\"n\":\"4\""), 201);
    fixture_stop(&f);
}

FIBER_TEST(an_unknown_kind_of_parameters_is_the_policys_fault)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "p", "\"paramKind\":{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Limit\"},\"validations\":[{\"expression\":\"true\"}]"), 201);
    assert_code(bind(&f, "p", DENY ",\"paramRef\":{\"name\":\"limit\",\"parameterNotFoundAction\":\"Allow\"}"), 201);
    struct reply r = make_map(&f, "one", "");
    assert_code(r, 422);
    assert_true(str_contains(r.text, STR("ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'x.example.com/v1, Kind=Limit'")));
    fixture_stop(&f);
}

FIBER_TEST(failures_follow_the_policy)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "open", "\"failurePolicy\":\"Ignore\",\"validations\":[{\"expression\":\"object.data.nothing == 'x'\"}]"), 201);
    assert_code(bind(&f, "open", DENY), 201);
    assert_code(make_map(&f, "one", ""), 201);
    assert_code(policy(&f, "shut", "\"validations\":[{\"expression\":\"object.data.nothing == 'x'\"}]"), 201);
    assert_code(bind(&f, "shut", DENY), 201);
    struct reply r = make_map(&f, "two", "\"a\":\"b\"");
    assert_code(r, 422);
    assert_true(str_contains(r.text, STR("expression 'object.data.nothing == 'x'' resulted in error: no such key: nothing")));
    fixture_stop(&f);
}

FIBER_TEST(the_authorizer_and_the_namespace_can_be_asked)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "p", "\"validations\":[{\"expression\":\"authorizer.group('').resource('pods').namespace('default').check('create').allowed()\"},"
                                "{\"expression\":\"authorizer.requestResource.check('create').allowed()\"},"
                                "{\"expression\":\"namespaceObject.metadata.name == request.namespace\"},"
                                "{\"expression\":\"request.userInfo.username == 'system:anonymous' && request.resource.resource == 'configmaps' && request.operation == 'CREATE'\"},"
                                "{\"expression\":\"oldObject == null\"}]"), 201);
    assert_code(bind(&f, "p", DENY), 201);
    assert_code(make_map(&f, "one", ""), 201);
    fixture_stop(&f);
}

FIBER_TEST(expressions_are_checked_when_they_are_written)
{
    struct fixture f;
    fixture_start(&f, NULL);
    struct reply r = policy(&f, "p", "\"validations\":[{\"expression\":\"object.\"}]");
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.field", "spec.validations[0].expression");
    assert_true(str_contains(r.text, STR("compilation failed: ERROR: ")));
    r = policy(&f, "p", "\"validations\":[{\"expression\":\"1\"}]");
    assert_true(str_contains(r.text, STR("must evaluate to bool but got int")));
    r = policy(&f, "p", "\"validations\":[{\"expression\":\"params.x == 1\"}]");
    assert_true(str_contains(r.text, STR("undeclared reference to 'params'")));
    r = policy(&f, "p", "\"validations\":[{\"expression\":\"true\",\"messageExpression\":\"authorizer.path('/x').check('get').reason()\"}]");
    assert_true(str_contains(r.text, STR("undeclared reference to 'authorizer'")));
    r = policy(&f, "p", "\"variables\":[{\"name\":\"a\",\"expression\":\"variables.b\"}],\"validations\":[{\"expression\":\"true\"}]");
    assert_true(str_contains(r.text, STR("undefined field 'b'")));
    r = mutation(&f, "m", "\"mutations\":[{\"patchType\":\"JSONPatch\",\"jsonPatch\":{\"expression\":\"[1]\"}}]");
    assert_code(r, 422);
    assert_true(str_contains(r.text, STR("must evaluate to list(JSONPatch) but got list(int)")));
    fixture_stop(&f);
}

FIBER_TEST(configurations_are_applied)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(mutation(&f, "m", "\"mutations\":[{\"patchType\":\"ApplyConfiguration\",\"applyConfiguration\":{\"expression\":\"Object{metadata: Object.metadata{labels: {'env': 'test'}}, data: {'added': string(size(object.data)), 'a': 'b'}}\"}}]"), 201);
    struct reply r = make_map(&f, "one", "\"k\":\"v\"");
    assert_code(r, 201);
    assert_at(&f, r, "metadata.labels.env", "test");
    assert_at(&f, r, "data.added", "1");
    assert_at(&f, r, "data.a", "b");
    assert_at(&f, r, "data.k", "v");
    fixture_stop(&f);
}

FIBER_TEST(names_of_types_follow_the_path)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(mutation(&f, "m", "\"mutations\":[{\"patchType\":\"ApplyConfiguration\",\"applyConfiguration\":{\"expression\":\"Object{metadata: Object.spec{labels: {'env': 'test'}}}\"}}]"), 201);
    struct reply r = make_map(&f, "one", "\"k\":\"v\"");
    assert_code(r, 403);
    assert_at(&f, r, "reason", "Invalid");
    assert_true(str_contains(r.text, STR("policy 'm' with binding 'm' denied request: type mismatch: unexpected type name \\\"Object.spec\\\", expected \\\"Object.metadata\\\"")));
    fixture_stop(&f);
}

FIBER_TEST(json_patches_are_applied)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(mutation(&f, "m", "\"variables\":[{\"name\":\"k\",\"expression\":\"'x.y'\"}],\"mutations\":[{\"patchType\":\"JSONPatch\",\"jsonPatch\":{\"expression\":\"[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey(variables.k), value: 'z'}]\"}},"
                                  "{\"patchType\":\"JSONPatch\",\"jsonPatch\":{\"expression\":\"[JSONPatch{op: 'test', path: '/data/k', value: 'other'}, JSONPatch{op: 'remove', path: '/data/k'}]\"}},"
                                  "{\"patchType\":\"JSONPatch\",\"jsonPatch\":{\"expression\":\"[JSONPatch{op: 'add', path: '/metadata/labels', value: {'seen': string('x.y' in object.data)}}]\"}}]"), 201);
    struct reply r = make_map(&f, "one", "\"k\":\"v\"");
    assert_code(r, 201);
    assert_string_equal(val_cstr(val_key(val_key(r.v, STR("data")), STR("x.y"))), "z");
    assert_at(&f, r, "data.k", "v");
    assert_at(&f, r, "metadata.labels.seen", "true");
    fixture_stop(&f);
}

FIBER_TEST(what_is_replaced_whole_cannot_be_applied)
{
    struct fixture f;
    static const char spec[] = "\"reinvocationPolicy\":\"Never\",\"matchConstraints\":{\"resourceRules\":[{\"operations\":[\"CREATE\"],\"apiGroups\":[\"apps\"],\"apiVersions\":[\"v1\"],\"resources\":[\"deployments\"]}]},"
        "\"mutations\":[{\"patchType\":\"ApplyConfiguration\",\"applyConfiguration\":{\"expression\":\"Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'a': 'c'}}}}\"}}]";
    fixture_start(&f, NULL);
    assert_code(make(&f, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", "m", spec), 201);
    assert_code(make(&f, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", "m", "\"policyName\":\"m\""), 201);
    struct reply r = post(&f, "/apis/apps/v1/namespaces/default/deployments", "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}");
    assert_code(r, 403);
    assert_true(str_contains(r.text, STR("may not mutate atomic arrays, maps or structs: .spec.selector")));
    fixture_stop(&f);
}

FIBER_TEST(policies_are_not_subject_to_policies)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(make(&f, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", "all",
                     "\"matchConstraints\":{\"resourceRules\":[{\"operations\":[\"*\"],\"apiGroups\":[\"*\"],\"apiVersions\":[\"*\"],\"resources\":[\"*\"]}]},\"validations\":[{\"expression\":\"false\"}]"), 201);
    assert_code(bind(&f, "all", DENY), 201);
    assert_code(make_map(&f, "one", ""), 422);
    assert_code(ask(&f, "DELETE", GROUP "validatingadmissionpolicies/all", NULL, NULL), 200);
    assert_code(make_map(&f, "one", ""), 201);
    fixture_stop(&f);
}

/* Each variable reads the one before: deeper than a stack holds at once, which must not be the end of the server. */
FIBER_TEST(long_chains_of_variables_end_well)
{
    struct fixture f;
    struct buf b CLEANUP_BUF = BUF_INIT;
    fixture_start(&f, NULL);
    buf_puts(&b, "\"variables\":[{\"name\":\"v0\",\"expression\":\"1\"}");
    for (int i = 1; i < 400; i++)
        buf_printf(&b, ",{\"name\":\"v%d\",\"expression\":\"[[[variables.v%d]]][0][0][0] + 1\"}", i, i - 1);
    buf_puts(&b, "],\"validations\":[{\"expression\":\"variables.v399 == 400\"},{\"expression\":\"variables.v3 == 4\"}]");
    assert_code(policy(&f, "p", b.p), 201);
    assert_code(bind(&f, "p", DENY), 201);
    struct reply r = make_map(&f, "one", "");
    assert_true(r.code == 201 || (r.code == 422 && str_contains(r.text, STR("fails to evaluate"))));
    fixture_stop(&f);
}

/* Until the policy's generation was looked at. */
static struct reply checked(struct fixture *f, const char *name)
{
    const char *path = arena_printf(&f->arena, GROUP "validatingadmissionpolicies/%s", name).p;
    struct reply r = get(f, path);
    for (int i = 0; i < 200 && strcmp(at(f, r.v, "status.observedGeneration"), at(f, r.v, "metadata.generation")) != 0; i++) {
        fiber_sleep(MILLISECONDS(10));
        r = get(f, path);
    }
    assert_string_equal(at(f, r.v, "status.observedGeneration"), at(f, r.v, "metadata.generation"));
    return r;
}

FIBER_TEST(types_are_checked_and_told)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(policy(&f, "good", "\"validations\":[{\"expression\":\"object.data['a'] == 'x' && object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')\"}]"), 201);
    assert_code(policy(&f, "bad", "\"variables\":[{\"name\":\"d\",\"expression\":\"object.dada\"}],\"validations\":[{\"expression\":\"object.data == 1\"},{\"expression\":\"variables.d == 1\"}]"), 201);
    struct reply r = checked(&f, "good");
    assert_non_null(val_key(val_key(r.v, STR("status")), STR("typeChecking")));
    assert_at(&f, r, "status.typeChecking.expressionWarnings.0.warning", "");
    r = checked(&f, "bad");
    assert_at(&f, r, "status.typeChecking.expressionWarnings.0.fieldRef", "spec.validations[0].expression");
    assert_true(str_contains(r.text, STR("/v1, Kind=ConfigMap: compilation failed: ERROR: ")));
    assert_true(str_contains(r.text, STR("found no matching overload for '_==_' applied to '(map(string, string), int)'")));
    assert_at(&f, r, "metadata.generation", "1");
    fixture_stop(&f);
}

FIBER_TEST(policies_are_validated)
{
    static const struct {
        const char *spec, *cause;
    } cases[] = {
        {"\"validations\":[]", "spec.validations"},
        {"\"variables\":[{\"name\":\"in\",\"expression\":\"1\"}],\"validations\":[{\"expression\":\"true\"}]", "spec.variables[0].name"},
        {"\"validations\":[{\"expression\":\"true\",\"message\":\"a\\nb\"}]", "spec.validations[0].message"},
        {"\"validations\":[{\"expression\":\"true\",\"messageExpression\":\" \"}]", "spec.validations[0].messageExpression"},
        {"\"paramKind\":{\"apiVersion\":\"a/b/c\",\"kind\":\"X\"},\"validations\":[{\"expression\":\"true\"}]", "spec.paramKind.apiVersion"},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reply r = policy(&f, "p", cases[i].spec);
        assert_code(r, 422);
        assert_at(&f, r, "details.causes.0.field", cases[i].cause);
    }
    struct reply r = bind(&f, "p", "\"validationActions\":[\"Deny\",\"Warn\"]");
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.field", "spec.validationActions");
    r = make(&f, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", "m",
             "\"reinvocationPolicy\":\"Never\",\"matchConstraints\":{\"resourceRules\":[{\"operations\":[\"DELETE\"],\"apiGroups\":[\"\"],\"apiVersions\":[\"v1\"],\"resources\":[\"pods\"]}]},"
             "\"mutations\":[{\"patchType\":\"JSONPatch\",\"jsonPatch\":{\"expression\":\"[]\"}}]");
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.field", "spec.matchConstraints.resourceRules.operations");
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_that_fails_denies),
        cmocka_unit_test(messages_and_reasons_are_the_policys),
        cmocka_unit_test(bindings_may_only_warn),
        cmocka_unit_test(variables_build_on_each_other),
        cmocka_unit_test(parameters_come_from_the_binding),
        cmocka_unit_test(an_unknown_kind_of_parameters_is_the_policys_fault),
        cmocka_unit_test(failures_follow_the_policy),
        cmocka_unit_test(the_authorizer_and_the_namespace_can_be_asked),
        cmocka_unit_test(expressions_are_checked_when_they_are_written),
        cmocka_unit_test(configurations_are_applied),
        cmocka_unit_test(names_of_types_follow_the_path),
        cmocka_unit_test(json_patches_are_applied),
        cmocka_unit_test(what_is_replaced_whole_cannot_be_applied),
        cmocka_unit_test(policies_are_not_subject_to_policies),
        cmocka_unit_test(types_are_checked_and_told),
        cmocka_unit_test(policies_are_validated),
        cmocka_unit_test(long_chains_of_variables_end_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
