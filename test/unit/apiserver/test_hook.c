/* SPDX-License-Identifier: Apache-2.0 */
/* Admission webhooks: which are called, what they see, and what comes of their answers. */
#include "hookserver.h"

#include <string.h>

#define MAPS "/api/v1/namespaces/default/configmaps"
#define HOOKS "/apis/admissionregistration.k8s.io/v1/"
#define ON_MAPS "[{\"operations\":[\"*\"],\"apiGroups\":[\"\"],\"apiVersions\":[\"v1\"],\"resources\":[\"configmaps\"]}]"

/* A JSON patch in base64, as reviews carry it. */
#define PATCH_A "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2RhdGEvYSIsInZhbHVlIjoiMSJ9XQ=="         /* add /data/a 1 */
#define PATCH_B "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2RhdGEvYiIsInZhbHVlIjoiMiJ9XQ=="         /* add /data/b 2 */

static struct str answer(struct hookserver *h, struct str path, const struct val *v)
{
    if (str_is(path, "/deny"))
        return hookserver_review(h, v, "\"allowed\":false,\"status\":{\"message\":\"not that\",\"code\":403,\"reason\":\"Forbidden\"}");
    if (str_is(path, "/deny-bare"))
        return hookserver_review(h, v, "\"allowed\":false");
    if (str_is(path, "/warn"))
        return hookserver_review(h, v, "\"allowed\":true,\"warnings\":[\"mind the gap\"],\"auditAnnotations\":{\"k\":\"v\"}");
    if (str_is(path, "/patch-a"))
        return hookserver_review(h, v, "\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"" PATCH_A "\"");
    if (str_is(path, "/patch-b"))
        return hookserver_review(h, v, "\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"" PATCH_B "\"");
    if (str_is(path, "/slow"))
        fiber_sleep(SECONDS(5));
    if (str_is(path, "/wrong-uid"))
        return STR("{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"response\":{\"uid\":\"x\",\"allowed\":true}}");
    if (str_is(path, "/broken"))
        return STR_NULL;
    return hookserver_review(h, v, "\"allowed\":true");
}

static void start(struct fixture *f, struct hookserver *h)
{
    fixture_start(f, NULL);
    hookserver_start(h, "hook.default.svc", answer);
}

static void stop(struct fixture *f, struct hookserver *h)
{
    fixture_stop(f);
    hookserver_stop(h);
}

/* A webhook of that kind at a path; more: members besides. */
static const char *webhook(struct hookserver *h, const char *name, const char *path, const char *rules, const char *more)
{
    return arena_printf(&h->arena, "{\"name\":\"%s.example.com\",\"clientConfig\":%s,\"rules\":%s,\"sideEffects\":\"None\",\"admissionReviewVersions\":[\"v1\"]%s%s}",
                        name, hookserver_config(h, path), rules, *more ? "," : "", more).p;
}

static struct reply configure(struct fixture *f, const char *kind, const char *name, const char *hooks)
{
    bool mutating = strcmp(kind, "Mutating") == 0;
    return post(f, mutating ? HOOKS "mutatingwebhookconfigurations" : HOOKS "validatingwebhookconfigurations",
                arena_printf(&f->arena, "{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":\"%sWebhookConfiguration\",\"metadata\":{\"name\":\"%s\"},\"webhooks\":[%s]}",
                             kind, name, hooks).p);
}

static struct reply make_map(struct fixture *f, const char *name, const char *query)
{
    return post(f, arena_printf(&f->arena, MAPS "%s", query).p,
                arena_printf(&f->arena, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"%s\"}},\"data\":{\"k\":\"v\"}}", name, name).p);
}

FIBER_TEST(a_denial_is_the_answer)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "deny", "/deny", ON_MAPS, "")), 201);
    struct reply r = make_map(&f, "one", "");
    assert_code(r, 403);
    assert_at(&f, r, "message", "admission webhook \"deny.example.com\" denied the request: not that");
    assert_at(&f, r, "reason", "Forbidden");
    assert_true(str_contains(get(&f, "/metrics").text, STR("apiserver_admission_webhook_rejection_count{error_type=\"no_error\",name=\"deny.example.com\",operation=\"CREATE\",rejection_code=\"403\",type=\"validating\"} 1\n")));
    assert_code(get(&f, MAPS "/one"), 404);
    assert_code(post(&f, "/api/v1/namespaces/default/secrets", "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"}}"), 201);
    assert_int_equal(h.calls, 1);
    stop(&f, &h);
}

FIBER_TEST(a_denial_without_a_word_is_400)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Mutating", "m", webhook(&h, "bare", "/deny-bare", ON_MAPS, "")), 201);
    struct reply r = make_map(&f, "one", "");
    assert_code(r, 400);
    assert_at(&f, r, "message", "admission webhook \"bare.example.com\" denied the request without explanation");
    stop(&f, &h);
}

FIBER_TEST(a_review_says_what_is_asked)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "ok", "/ok", ON_MAPS, "")), 201);
    assert_code(make_map(&f, "one", "?fieldManager=me"), 201);
    struct reply asked = {.v = h.asked};
    assert_at(&f, asked, "apiVersion", "admission.k8s.io/v1");
    assert_at(&f, asked, "request.operation", "CREATE");
    assert_at(&f, asked, "request.name", "one");
    assert_at(&f, asked, "request.namespace", "default");
    assert_at(&f, asked, "request.kind.kind", "ConfigMap");
    assert_at(&f, asked, "request.resource.resource", "configmaps");
    assert_at(&f, asked, "request.requestKind.version", "v1");
    assert_at(&f, asked, "request.userInfo.username", "system:anonymous");
    assert_at(&f, asked, "request.object.kind", "ConfigMap");
    assert_at(&f, asked, "request.object.data.k", "v");
    assert_at(&f, asked, "request.options.kind", "CreateOptions");
    assert_at(&f, asked, "request.options.fieldManager", "me");
    assert_at(&f, asked, "request.dryRun", "false");
    assert_true(val_is(val_key(val_key(h.asked, STR("request")), STR("oldObject")), VAL_NULL));
    assert_code(patch(&f, MAPS "/one", "merge-patch+json", "{\"data\":{\"k\":\"w\"}}"), 200);
    asked.v = h.asked;
    assert_at(&f, asked, "request.operation", "UPDATE");
    assert_at(&f, asked, "request.object.data.k", "w");
    assert_at(&f, asked, "request.oldObject.data.k", "v");
    assert_at(&f, asked, "request.options.kind", "UpdateOptions");
    assert_code(ask(&f, "DELETE", MAPS "/one", NULL, NULL), 200);
    asked.v = h.asked;
    assert_at(&f, asked, "request.operation", "DELETE");
    assert_at(&f, asked, "request.oldObject.data.k", "w");
    assert_at(&f, asked, "request.options.kind", "DeleteOptions");
    assert_true(val_is(val_key(val_key(h.asked, STR("request")), STR("object")), VAL_NULL));
    stop(&f, &h);
}

FIBER_TEST(patches_are_applied_in_order_and_seen_by_those_who_validate)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Mutating", "m", arena_printf(&f.arena, "%s,%s", webhook(&h, "a", "/patch-a", ON_MAPS, ""), webhook(&h, "b", "/patch-b", ON_MAPS, "")).p), 201);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "ok", "/ok", ON_MAPS, "")), 201);
    struct reply r = make_map(&f, "one", "");
    assert_code(r, 201);
    assert_at(&f, r, "data.a", "1");
    assert_at(&f, r, "data.b", "2");
    assert_at(&f, r, "data.k", "v");
    struct reply asked = {.v = h.asked};
    assert_at(&f, asked, "request.object.data.b", "2");
    assert_at(&f, get(&f, MAPS "/one"), "data.a", "1");
    assert_code(ask(&f, "DELETE", MAPS "/one", NULL, NULL), 500); /* there is nothing to be patched */
    stop(&f, &h);
}

FIBER_TEST(who_wants_to_is_asked_again_after_others)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Mutating", "m", arena_printf(&f.arena, "%s,%s", webhook(&h, "a", "/ok", ON_MAPS, "\"reinvocationPolicy\":\"IfNeeded\""), webhook(&h, "b", "/patch-b", ON_MAPS, "")).p), 201);
    assert_code(make_map(&f, "one", ""), 201);
    assert_int_equal(h.calls, 3);
    struct reply asked = {.v = h.asked};
    assert_at(&f, asked, "request.object.data.b", "2");
    stop(&f, &h);
}

FIBER_TEST(failures_close_or_open)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "broken", "/broken", ON_MAPS, "\"failurePolicy\":\"Ignore\"")), 201);
    assert_code(make_map(&f, "one", ""), 201);
    assert_code(configure(&f, "Validating", "w", webhook(&h, "uid", "/wrong-uid", ON_MAPS, "")), 201);
    struct reply r = make_map(&f, "two", "");
    assert_code(r, 500);
    assert_at(&f, r, "reason", "InternalError");
    assert_true(str_contains(r.text, STR("Internal error occurred: failed calling webhook \\\"uid.example.com\\\": received invalid webhook response: expected response.uid=")));
    assert_code(ask(&f, "DELETE", HOOKS "validatingwebhookconfigurations/w", NULL, NULL), 200);
    assert_code(configure(&f, "Validating", "x", webhook(&h, "slow", "/slow", ON_MAPS, "\"timeoutSeconds\":1")), 201);
    r = make_map(&f, "three", "");
    assert_code(r, 500);
    assert_true(str_contains(r.text, STR("timeout=1s\\\": context deadline exceeded")));
    struct str metrics = get(&f, "/metrics").text;
    static const char *const lines[] = {
        "apiserver_admission_webhook_request_total{code=\"503\",name=\"broken.example.com\",operation=\"CREATE\",rejected=\"false\",type=\"validating\"} 3\n",
        "apiserver_admission_webhook_fail_open_count{name=\"broken.example.com\",type=\"validating\"} 3\n",
        "apiserver_admission_webhook_rejection_count{error_type=\"calling_webhook_error\",name=\"uid.example.com\",operation=\"CREATE\",rejection_code=\"503\",type=\"validating\"} 1\n",
        "apiserver_admission_webhook_admission_duration_seconds_bucket{name=\"slow.example.com\",operation=\"CREATE\",rejected=\"true\",type=\"validating\",le=\"0.5\"} 0\n",
        "apiserver_admission_webhook_admission_duration_seconds_count{name=\"slow.example.com\",operation=\"CREATE\",rejected=\"true\",type=\"validating\"} 1\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        if (!str_contains(metrics, str_of(lines[i])))
            fail_msg("no %s", lines[i]);
    stop(&f, &h);
}

FIBER_TEST(a_server_that_cannot_be_verified_is_not_asked)
{
    struct fixture f;
    struct hookserver h, other;
    start(&f, &h);
    hookserver_start(&other, NULL, answer);
    h.ca = other.ca;
    assert_code(configure(&f, "Validating", "v", webhook(&h, "ok", "/ok", ON_MAPS, "")), 201);
    assert_code(make_map(&f, "one", ""), 500);
    assert_int_equal(h.calls, 0);
    hookserver_stop(&other);
    stop(&f, &h);
}

FIBER_TEST(warnings_reach_the_client)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "warn", "/warn", ON_MAPS, "")), 201);
    struct reply r = make_map(&f, "one", "");
    assert_code(r, 201);
    assert_true(str_contains(http_header(&r.headers, "warning"), STR("mind the gap")));
    stop(&f, &h);
}

FIBER_TEST(dry_runs_need_webhooks_without_side_effects)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "ok", "/ok", ON_MAPS, "")), 201);
    assert_code(make_map(&f, "one", "?dryRun=All"), 201);
    struct reply asked = {.v = h.asked};
    assert_at(&f, asked, "request.dryRun", "true");
    stop(&f, &h);
}

FIBER_TEST(selectors_and_conditions_choose)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Validating", "label", webhook(&h, "l", "/deny", ON_MAPS, "\"objectSelector\":{\"matchLabels\":{\"app\":\"bad\"}}")), 201);
    assert_code(configure(&f, "Validating", "ns", webhook(&h, "n", "/deny", ON_MAPS, "\"namespaceSelector\":{\"matchLabels\":{\"team\":\"x\"}}")), 201);
    assert_code(configure(&f, "Validating", "cond", webhook(&h, "c", "/deny", ON_MAPS, "\"matchConditions\":[{\"name\":\"n\",\"expression\":\"request.operation == 'CREATE' && object.metadata.name.startsWith('x-')\"}]")), 201);
    assert_code(make_map(&f, "good", ""), 201);
    assert_int_equal(h.calls, 0);
    assert_code(make_map(&f, "bad", ""), 403);
    assert_code(make_map(&f, "x-1", ""), 403);
    assert_int_equal(h.calls, 2);
    assert_code(patch(&f, "/api/v1/namespaces/default", "merge-patch+json", "{\"metadata\":{\"labels\":{\"team\":\"x\"}}}"), 200);
    assert_code(make_map(&f, "good2", ""), 403);
    stop(&f, &h);
}

FIBER_TEST(a_condition_that_fails_closes)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "c", "/ok", ON_MAPS, "\"matchConditions\":[{\"name\":\"n\",\"expression\":\"object.nothing == 1\"}]")), 201);
    struct reply r = make_map(&f, "one", "");
    assert_code(r, 403);
    assert_true(str_contains(r.text, STR("no such key: nothing")));
    assert_int_equal(h.calls, 0);
    stop(&f, &h);
}

FIBER_TEST(another_version_of_the_kind_matches_where_wanted)
{
    struct fixture f;
    struct hookserver h;
    static const char rules[] = "[{\"operations\":[\"CREATE\"],\"apiGroups\":[\"autoscaling\"],\"apiVersions\":[\"v1\"],\"resources\":[\"horizontalpodautoscalers\"]}]";
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "c", "/ok", rules, "")), 201);
    assert_code(configure(&f, "Validating", "w", webhook(&h, "d", "/deny", rules, "\"matchPolicy\":\"Exact\"")), 201);
    assert_code(post(&f, "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", "{\"apiVersion\":\"autoscaling/v2\",\"kind\":\"HorizontalPodAutoscaler\",\"metadata\":{\"name\":\"h\"},\"spec\":{\"maxReplicas\":3,\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\",\"apiVersion\":\"apps/v1\"}}}"), 201);
    struct reply asked = {.v = h.asked};
    assert_int_equal(h.calls, 1);
    assert_at(&f, asked, "request.kind.version", "v1");
    assert_at(&f, asked, "request.requestKind.version", "v2");
    assert_at(&f, asked, "request.object.apiVersion", "autoscaling/v1");
    stop(&f, &h);
}

FIBER_TEST(a_scale_is_seen_as_a_scale)
{
    struct fixture f;
    struct hookserver h;
    static const char rules[] = "[{\"operations\":[\"UPDATE\"],\"apiGroups\":[\"apps\"],\"apiVersions\":[\"v1\"],\"resources\":[\"deployments/scale\"]}]";
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "c", "/ok", rules, "")), 201);
    assert_code(post(&f, "/apis/apps/v1/namespaces/default/deployments", "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}"), 201);
    assert_int_equal(h.calls, 0);
    assert_code(patch(&f, "/apis/apps/v1/namespaces/default/deployments/d/scale", "merge-patch+json", "{\"spec\":{\"replicas\":4}}"), 200);
    struct reply asked = {.v = h.asked};
    assert_at(&f, asked, "request.kind.kind", "Scale");
    assert_at(&f, asked, "request.resource.resource", "deployments");
    assert_at(&f, asked, "request.subResource", "scale");
    assert_at(&f, asked, "request.object.spec.replicas", "4");
    assert_at(&f, asked, "request.oldObject.spec.replicas", "1");
    stop(&f, &h);
}

FIBER_TEST(configurations_themselves_are_exempt)
{
    struct fixture f;
    struct hookserver h;
    static const char rules[] = "[{\"operations\":[\"*\"],\"apiGroups\":[\"*\"],\"apiVersions\":[\"*\"],\"resources\":[\"*/*\"]}]";
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "c", "/deny", rules, "")), 201);
    assert_code(make_map(&f, "one", ""), 403);
    assert_code(ask(&f, "DELETE", HOOKS "validatingwebhookconfigurations/v", NULL, NULL), 200);
    assert_code(make_map(&f, "one", ""), 201);
    stop(&f, &h);
}

FIBER_TEST(a_service_is_called_at_an_endpoint_by_its_name)
{
    struct fixture f;
    struct hookserver h;
    start(&f, &h);
    const char *hook = arena_printf(&f.arena, "{\"name\":\"s.example.com\",\"clientConfig\":{\"caBundle\":\"%s\",\"service\":{\"namespace\":\"default\",\"name\":\"hook\",\"path\":\"/deny\",\"port\":%d}},\"rules\":" ON_MAPS ",\"sideEffects\":\"None\",\"admissionReviewVersions\":[\"v1\"]}", h.ca.p, h.port).p;
    assert_code(configure(&f, "Validating", "v", hook), 201);
    struct reply r = make_map(&f, "one", "");
    assert_code(r, 500);
    assert_true(str_contains(r.text, STR("/deny?timeout=10s\\\": service \\\"hook\\\" not found")));
    assert_code(post(&f, "/api/v1/namespaces/default/services", arena_printf(&f.arena, "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"hook\"},\"spec\":{\"ports\":[{\"port\":%d,\"name\":\"w\"}]}}", h.port).p), 201);
    r = make_map(&f, "one", "");
    assert_code(r, 500);
    assert_true(str_contains(r.text, STR("no endpoints available for service \\\"hook\\\"")));
    assert_code(ask(&f, "DELETE", "/api/v1/namespaces/default/services/hook", NULL, NULL), 200);
    assert_code(post(&f, "/api/v1/namespaces/default/services", "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"hook\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"localhost\"}}"), 201);
    assert_code(make_map(&f, "one", ""), 403); /* its certificate is for hook.default.svc */
    assert_int_equal(h.calls, 1);
    stop(&f, &h);
}

FIBER_TEST(exec_is_a_connection)
{
    struct fixture f;
    struct hookserver h;
    static const char rules[] = "[{\"operations\":[\"CONNECT\"],\"apiGroups\":[\"*\"],\"apiVersions\":[\"*\"],\"resources\":[\"pods/exec\"]}]";
    start(&f, &h);
    assert_code(configure(&f, "Validating", "v", webhook(&h, "c", "/deny", rules, "")), 201);
    assert_code(post(&f, "/api/v1/namespaces/default/serviceaccounts", "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"default\"}}"), 201);
    assert_code(post(&f, "/api/v1/namespaces/default/pods", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"), 201);
    assert_code(post(&f, "/api/v1/namespaces/default/pods/p/exec?command=ls&command=-l&stdin=true", ""), 403);
    struct reply asked = {.v = h.asked};
    assert_at(&f, asked, "request.operation", "CONNECT");
    assert_at(&f, asked, "request.kind.kind", "PodExecOptions");
    assert_at(&f, asked, "request.object.command.1", "-l");
    assert_at(&f, asked, "request.object.stdin", "true");
    stop(&f, &h);
}

/* "field reason" of each cause, in order. */
static const char *causes(struct fixture *f, struct reply r)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct val *list = val_key(val_key(r.v, STR("details")), STR("causes"));
    VAL_EACH (list, c)
        buf_printf(&b, "%s%s %s", b.n ? ", " : "", val_cstr(val_key(c, STR("field"))), val_cstr(val_key(c, STR("reason"))));
    return arena_str(&f->arena, buf_str(&b)).p;
}

FIBER_TEST(configurations_are_validated)
{
#define HOOK(name, client, rules, effects, versions) \
    "{\"name\":\"" name "\",\"clientConfig\":{" client "},\"rules\":[" rules "],\"sideEffects\":\"" effects "\",\"admissionReviewVersions\":[" versions "]}"
#define URL "\"url\":\"https://a.example.com/x\""
#define RULE(ops, groups, versions, resources) "{\"operations\":[" ops "],\"apiGroups\":[" groups "],\"apiVersions\":[" versions "],\"resources\":[" resources "]}"
#define GOOD RULE("\"CREATE\"", "\"\"", "\"v1\"", "\"pods\"")
    static const struct {
        const char *hook, *causes;
    } cases[] = {
        {HOOK("a.b.c", URL, GOOD, "None", "\"v1\""), ""},
        {HOOK("a.b", URL, GOOD, "None", "\"v1\""), "webhooks[0].name FieldValueInvalid"},
        {HOOK("a.b.c", "", GOOD, "None", "\"v1\""), "webhooks[0].clientConfig FieldValueRequired"},
        {HOOK("a.b.c", "\"url\":\"http://u@h/x?q=1#f\"", GOOD, "None", "\"v1\""),
         "webhooks[0].clientConfig.url FieldValueInvalid, webhooks[0].clientConfig.url FieldValueInvalid, webhooks[0].clientConfig.url FieldValueInvalid, webhooks[0].clientConfig.url FieldValueInvalid"},
        {HOOK("a.b.c", URL, GOOD, "Some", "\"v1\""), "webhooks[0].sideEffects FieldValueNotSupported"},
        {HOOK("a.b.c", URL, GOOD, "None", "\"v9\""), "webhooks[0].admissionReviewVersions FieldValueInvalid"},
        {HOOK("a.b.c", URL, GOOD, "None", "\"v1\",\"v1\""), "webhooks[0].admissionReviewVersions[1] FieldValueInvalid"},
        {HOOK("a.b.c", URL, RULE("\"*\",\"CREATE\"", "\"*\",\"a\"", "\"*\",\"v1\"", "\"pods\""), "None", "\"v1\""),
         "webhooks[0].rules[0].operations FieldValueInvalid, webhooks[0].rules[0].apiGroups FieldValueInvalid, webhooks[0].rules[0].apiVersions FieldValueInvalid"},
        {HOOK("a.b.c", URL, RULE("\"CREATE\"", "\"\"", "\"v1\"", "\"pods/*\",\"pods/status\",\"*\",\"x\""), "None", "\"v1\""),
         "webhooks[0].rules[0].resources[1] FieldValueInvalid, webhooks[0].rules[0].resources FieldValueInvalid"},
        {HOOK("a.b.c", URL, GOOD, "None", "\"v1\"") "," HOOK("a.b.c", URL, GOOD, "None", "\"v1\""), "webhooks[1].name FieldValueDuplicate"},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reply r = configure(&f, "Validating", "v", cases[i].hook);
        assert_string_equal(causes(&f, r), cases[i].causes);
        assert_code(r, *cases[i].causes ? 422 : 201);
    }
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_denial_is_the_answer),
        cmocka_unit_test(a_denial_without_a_word_is_400),
        cmocka_unit_test(a_review_says_what_is_asked),
        cmocka_unit_test(patches_are_applied_in_order_and_seen_by_those_who_validate),
        cmocka_unit_test(who_wants_to_is_asked_again_after_others),
        cmocka_unit_test(failures_close_or_open),
        cmocka_unit_test(a_server_that_cannot_be_verified_is_not_asked),
        cmocka_unit_test(warnings_reach_the_client),
        cmocka_unit_test(dry_runs_need_webhooks_without_side_effects),
        cmocka_unit_test(selectors_and_conditions_choose),
        cmocka_unit_test(a_condition_that_fails_closes),
        cmocka_unit_test(another_version_of_the_kind_matches_where_wanted),
        cmocka_unit_test(a_scale_is_seen_as_a_scale),
        cmocka_unit_test(configurations_themselves_are_exempt),
        cmocka_unit_test(a_service_is_called_at_an_endpoint_by_its_name),
        cmocka_unit_test(exec_is_a_connection),
        cmocka_unit_test(configurations_are_validated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
