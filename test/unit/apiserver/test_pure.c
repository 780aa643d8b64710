/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that need no server: request info, sums of pods, pod levels, references, indentation. */
#include "../testing.h"

#include "apiserver/indent.h"
#include "type/amounts.h"
#include "apiserver/podlevels.h"
#include "apiserver/podrefs.h"
#include "apiserver/request.h"
#include "names.h"
#include "resources.h"
#include "types.h"
#include "wire/json.h"

static void request_info(void **state)
{
    static const struct {
        const char *method, *path, *query;
        bool resource;
        const char *verb, *group, *version, *ns, *res, *sub, *name, *rest;
    } cases[] = {
        {"GET", "/api/v1/namespaces", "", true, "list", "", "v1", "", "namespaces", "", "", ""},
        {"GET", "/api/v1/namespaces/x", "", true, "get", "", "v1", "x", "namespaces", "", "x", ""},
        {"PUT", "/api/v1/namespaces/x/finalize", "", true, "update", "", "v1", "x", "namespaces", "finalize",
         "x", ""},
        {"GET", "/api/v1/namespaces/x/pods", "", true, "list", "", "v1", "x", "pods", "", "", ""},
        {"GET", "/api/v1/namespaces/x/pods", "watch=1", true, "watch", "", "v1", "x", "pods", "", "", ""},
        {"GET", "/api/v1/watch/namespaces/x/pods", "", true, "watch", "", "v1", "x", "pods", "", "", ""},
        {"DELETE", "/api/v1/namespaces/x/pods", "", true, "deletecollection", "", "v1", "x", "pods", "", "",
         ""},
        {"GET", "/api/v1/namespaces/x/pods", "fieldSelector=metadata.name%3Dy", true, "list", "", "v1", "x",
         "pods", "", "y", ""},
        {"POST", "/apis/apps/v1/namespaces/x/deployments", "", true, "create", "apps", "v1", "x",
         "deployments", "", "", ""},
        {"PATCH", "/apis/apps/v1/namespaces/x/deployments/d/status", "", true, "patch", "apps", "v1", "x",
         "deployments", "status", "d", ""},
        {"GET", "/api/v1/nodes/n/proxy/a/b%20c", "", true, "get", "", "v1", "", "nodes", "proxy", "n",
         "/a/b%20c"},
        {"GET", "/api/v1/nodes/n/proxy/a/", "", true, "get", "", "v1", "", "nodes", "proxy", "n", "/a/"},
        {"GET", "/api/v1", "", false, "get", "", "", "", "", "", "", ""},
        {"GET", "/apis/apps/v1", "", false, "get", "", "", "", "", "", "", ""},
        {"POST", "/healthz", "", false, "post", "", "", "", "", "", "", ""},
        {"GET", "/api/v1/namespaces/a%2Fb/pods", "", true, "list", "", "v1", "a/b", "pods", "", "", ""},
    };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct request_info in;
        assert_int_equal(
            info_parse(&a, str_of(cases[i].method), str_of(cases[i].path), str_of(cases[i].query), &in), 0);
        assert_int_equal(in.is_resource, cases[i].resource);
        assert_str(in.verb, cases[i].verb);
        assert_str(in.group, cases[i].group);
        assert_str(in.version, cases[i].version);
        assert_str(in.ns, cases[i].ns);
        assert_str(in.resource, cases[i].res);
        assert_str(in.subresource, cases[i].sub);
        assert_str(in.name, cases[i].name);
        assert_str(in.rest, cases[i].rest);
    }
    struct request_info in;
    assert_int_equal(info_parse(&a, STR("GET"), STR("/api/v1/%zz"), STR(""), &in), -EINVAL);
}

static const struct val *parse(struct arena *a, const struct type *t, const char *json)
{
    struct val *v = NULL;
    assert_int_equal(json_decode(a, t, str_of(json), 0, NULL, &v, NULL), 0);
    return v;
}

static void expect_amount(const struct amounts *s, const char *name, const char *want)
{
    char text[QUANTITY_TEXT_MAX];
    const struct quantity *q = amounts_find(s, str_of(name));
    assert_non_null(q);
    assert_string_equal(quantity_text(*q, text), want);
}

static void sums_of_pods(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct amounts s;
    const struct val *spec =
        parse(&a, &types[T_core_v1_PodSpec],
              "{\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"100m\"}}},"
              "{\"name\":\"b\",\"resources\":{\"requests\":{\"cpu\":\"200m\",\"memory\":\"1Mi\"}}}],"
              "\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\",\"resources\":{"
              "\"requests\":{\"cpu\":\"50m\"}}},{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":"
              "\"500m\"}}}],\"overhead\":{\"cpu\":\"10m\"}}");
    pod_amounts(&a, spec, N_requests, &s);
    expect_amount(&s, "cpu", "550m"); /* init beside its sidecar */
    struct val *pod = val_new(&a, VAL_OBJ);
    val_set_ref(&a, pod, N_spec, spec);
    pod_amounts_held(&a, pod, N_requests, &s);
    expect_amount(&s, "cpu", "560m"); /* and overhead */
    expect_amount(&s, "memory", "1Mi");
    pod_amounts(&a, spec, N_limits, &s);
    assert_int_equal(s.n, 0);
}

static void pod_levels(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    static const struct {
        enum pod_level level;
        const char *spec, *want;
    } cases[] = {
        {LEVEL_BASELINE, "{\"containers\":[{\"name\":\"c\"}]}", NULL},
        {LEVEL_BASELINE, "{\"hostPID\":true}", "host namespaces"},
        {LEVEL_BASELINE, "{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/\"}}]}",
         "hostPath volumes"},
        {LEVEL_BASELINE,
         "{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":1,\"hostPort\":2}]}]}", "hostPort"},
        {LEVEL_BASELINE,
         "{\"containers\":[{\"name\":\"c\",\"securityContext\":{\"capabilities\":{\"add\":[\"SYS_TIME\"]}}}]"
         "}",
         "non-default capabilities"},
        {LEVEL_BASELINE, "{\"securityContext\":{\"sysctls\":[{\"name\":\"kernel.sem\",\"value\":\"1\"}]}}",
         "forbidden sysctls"},
        {LEVEL_PRIVILEGED, "{\"hostPID\":true}", NULL},
        {LEVEL_RESTRICTED, "{\"containers\":[{\"name\":\"c\"}]}", "runAsNonRoot != true"},
        {LEVEL_RESTRICTED, "{\"volumes\":[{\"name\":\"v\",\"nfs\":{\"server\":\"s\",\"path\":\"/\"}}]}",
         "restricted volume types"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        pod_level_violations(cases[i].level, NULL, parse(&a, &types[T_core_v1_PodSpec], cases[i].spec), &b);
        if (cases[i].want)
            assert_true(str_contains(buf_str(&b), str_of(cases[i].want)));
        else
            assert_int_equal(b.n, 0);
    }
}

static void references_of_pods(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *pod =
        parse(&a, &types[T_core_v1_Pod],
              "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"serviceAccountName\":\"sa\",\"imagePullSecrets\":[{"
              "\"name\":\"pull\"}],"
              "\"volumes\":[{\"name\":\"e\",\"ephemeral\":{}},{\"name\":\"v\",\"projected\":{\"sources\":[{"
              "\"configMap\":{\"name\":"
              "\"cm\"}}]}},{\"name\":\"w\",\"secret\":{\"secretName\":\"sec\"}}],\"containers\":[{\"name\":"
              "\"c\",\"env\":[{\"name\":"
              "\"E\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"env\",\"key\":\"k\"}}}]}]}}");
    const struct val *with_claims = parse(&a, &types[T_core_v1_Pod], "{\"spec\":{\"resourceClaims\":[{\"name\":\"g\",\"resourceClaimName\":\"own\"}]},\"status\":{\"resourceClaimStatuses\":["
                                                   "{\"name\":\"t\",\"resourceClaimName\":\"made\"}],\"extendedResourceClaimStatus\":{\"resourceClaimName\":\"for-gpu\"}}}");
    assert_true(pod_refers(with_claims, RES_RESOURCECLAIMS, STR("own")));
    assert_true(pod_refers(with_claims, RES_RESOURCECLAIMS, STR("made")));
    assert_true(pod_refers(with_claims, RES_RESOURCECLAIMS, STR("for-gpu")));
    assert_false(pod_refers(with_claims, RES_RESOURCECLAIMS, STR("other")));
    assert_true(pod_refers(pod, RES_SECRETS, STR("pull")));
    assert_true(pod_refers(pod, RES_SECRETS, STR("sec")));
    assert_true(pod_refers(pod, RES_SECRETS, STR("env")));
    assert_false(pod_refers(pod, RES_SECRETS, STR("cm")));
    assert_true(pod_refers(pod, RES_CONFIGMAPS, STR("cm")));
    assert_true(pod_refers(pod, RES_SERVICEACCOUNTS, STR("sa")));
    assert_true(pod_refers(pod, RES_PERSISTENTVOLUMECLAIMS, STR("p-e")));
    assert_false(pod_refers(pod, RES_PERSISTENTVOLUMECLAIMS, STR("p-v")));
}

static void indentation(void **state)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    json_indent(&b, STR("{\"a\":[1,{\"b\":\"x,{\\\"}\"}],\"c\":{},\"d\":[]}"));
    assert_str(buf_str(&b), "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x,{\\\"}\"\n    }\n  ],\n  \"c\": "
                            "{},\n  \"d\": []\n}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_info),      cmocka_unit_test(sums_of_pods), cmocka_unit_test(pod_levels),
        cmocka_unit_test(references_of_pods), cmocka_unit_test(indentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
