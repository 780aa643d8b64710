/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults, and what creating and updating do to an object before it is stored. */
#include "cases.h"
#include "names.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/path.h"
#include "types.h"

static struct arena arena;

/* What a path finds, as JSON with members in any order; "" for nothing. */
static void assert_at(const struct val *v, const char *path, const char *want)
{
    struct path_hits hits;
    path_find(&arena, v, str_of(path), &hits);
    struct str got = hits.n ? case_json(&arena, NULL, hits.items[0]) : STR("");
    if (want[0] ? !hits.n || !val_same(case_val(&arena, NULL, got.p), case_val(&arena, NULL, want))
                : hits.n > 0)
        fail_msg("%s: want %s, got " STR_FMT, path, want, STR_ARG(got));
}

struct default_case {
    uint16_t type;
    const char *in, *path, *want;
};

static void test_defaults(void **state)
{
    (void)state;
#define CONTAINER(c) "{'spec':{'containers':[{'name':'c'," c "}]}}"
    static const struct default_case cases[] = {
        {T_core_v1_Pod, CONTAINER("'image':'a'"), "spec.containers[0].imagePullPolicy", "'Always'"},
        {T_core_v1_Pod, CONTAINER("'image':'a:latest'"), "spec.containers[0].imagePullPolicy", "'Always'"},
        {T_core_v1_Pod, CONTAINER("'image':'a:1'"), "spec.containers[0].imagePullPolicy", "'IfNotPresent'"},
        {T_core_v1_Pod, CONTAINER("'image':'a:1','imagePullPolicy':'Never'"),
         "spec.containers[0].imagePullPolicy", "'Never'"},
        {T_core_v1_Pod,
         CONTAINER("'resources':{'limits':{'cpu':'1','memory':'2'},'requests':{'cpu':'500m'}}"),
         "spec.containers[0].resources.requests", "{'cpu':'500m','memory':'2'}"},
        {T_core_v1_Pod, CONTAINER("'ports':[{'containerPort':1}]"), "spec.containers[0].ports[0].protocol",
         "'TCP'"},
        {T_core_v1_Pod, CONTAINER("'livenessProbe':{'httpGet':{'port':1}}"),
         "spec.containers[0].livenessProbe",
         "{'failureThreshold':3,'httpGet':{'path':'/"
         "','port':1,'scheme':'HTTP'},'periodSeconds':10,'successThreshold':1,"
         "'timeoutSeconds':1}"},
        {T_core_v1_Pod,
         "{'spec':{'hostNetwork':true,'containers':[{'name':'c','ports':[{'containerPort':7}]}]}}",
         "spec.containers[0].ports[0].hostPort", "7"},
        {T_core_v1_Pod, "{'spec':{'containers':[]}}", "spec.securityContext", "{}"},
        {T_core_v1_Pod, "{'spec':{'containers':[]}}", "spec.terminationGracePeriodSeconds", "30"},
        {T_core_v1_Pod, "{'spec':{'volumes':[{'name':'v'}]}}", "spec.volumes[0].emptyDir", "{}"},
        {T_core_v1_Pod, "{'spec':{'volumes':[{'name':'v','secret':{}}]}}",
         "spec.volumes[0].secret.defaultMode", "420"},
        {T_core_v1_Pod,
         "{'spec':{'volumes':[{'name':'v','projected':{'sources':[{'serviceAccountToken':{'path':'t'}}]}}]}}",
         "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds", "3600"},
        {T_core_v1_Service, "{'spec':{'ports':[{'port':80}]}}", "spec.ports[0]",
         "{'port':80,'protocol':'TCP','targetPort':80}"},
        {T_core_v1_Service, "{'spec':{'type':'NodePort'}}", "spec.externalTrafficPolicy", "'Cluster'"},
        {T_core_v1_Service, "{'spec':{'type':'LoadBalancer'}}", "spec.allocateLoadBalancerNodePorts", "true"},
        {T_core_v1_Service, "{'spec':{'sessionAffinity':'ClientIP'}}",
         "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "10800"},
        {T_apps_v1_Deployment, "{'spec':{}}", "spec.strategy",
         "{'rollingUpdate':{'maxSurge':'25%','maxUnavailable':'25%'},'type':'RollingUpdate'}"},
        {T_apps_v1_Deployment, "{'spec':{'strategy':{'type':'Recreate'}}}", "spec.strategy",
         "{'type':'Recreate'}"},
        {T_apps_v1_Deployment, "{'spec':{}}", "spec.replicas", "1"},
        {T_apps_v1_Deployment, "{'spec':{'replicas':0}}", "spec.replicas", "0"},
        {T_apps_v1_DaemonSet, "{'spec':{}}", "spec.updateStrategy.rollingUpdate",
         "{'maxSurge':0,'maxUnavailable':1}"},
        {T_apps_v1_StatefulSet, "{'spec':{}}", "spec.podManagementPolicy", "'OrderedReady'"},
        {T_batch_v1_Job, "{'spec':{}}", "spec.completions", "1"},
        {T_batch_v1_Job, "{'spec':{'parallelism':3}}", "spec.completions", ""},
        {T_batch_v1_Job, "{'spec':{}}", "spec.backoffLimit", "6"},
        {T_batch_v1_CronJob, "{'spec':{}}", "spec.successfulJobsHistoryLimit", "3"},
        {T_core_v1_ReplicationController, "{'spec':{'template':{'metadata':{'labels':{'a':'b'}}}}}",
         "spec.selector", "{'a':'b'}"},
        {T_rbac_v1_ClusterRoleBinding,
         "{'subjects':[{'kind':'User','name':'u'}],'roleRef':{'kind':'ClusterRole'}}", "subjects[0].apiGroup",
         "'rbac.authorization.k8s.io'"},
        {T_core_v1_Secret, "{'stringData':{'a':'b'}}", "data", "{'a':'Yg=='}"},
        {T_core_v1_Namespace, "{'metadata':{'name':'n'}}", "metadata.labels",
         "{'kubernetes.io/metadata.name':'n'}"},
        {T_core_v1_PersistentVolumeClaim, "{'spec':{}}", "spec.volumeMode", "'Filesystem'"},
        {T_networking_v1_NetworkPolicy, "{'spec':{'egress':[{}]}}", "spec.policyTypes",
         "['Ingress','Egress']"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct type *t = type_at(cases[i].type);
        struct val *v = case_val(&arena, t, cases[i].in);
        defaults_apply(&arena, t, v);
        assert_at(v, cases[i].path, cases[i].want);
        struct val *again = val_copy(&arena, v);
        defaults_apply(&arena, t, again);
        if (!val_equal(v, again))
            fail_msg("%s: defaults are not settled after one go", cases[i].in);
    }
}

static struct val *created(unsigned res, const char *json)
{
    struct val *v = case_val(&arena, resources[res].type, json);
    defaults_apply(&arena, resources[res].type, v);
    prepare_create(&arena, &resources[res], v);
    return v;
}

static struct val *updated(unsigned res, const char *sub, const char *json, const struct val *old)
{
    struct val *v = case_val(&arena, resources[res].type, json);
    defaults_apply(&arena, resources[res].type, v);
    prepare_update(&arena, &resources[res], sub, v, old);
    return v;
}

static void test_create(void **state)
{
    (void)state;
    const struct val *v = created(
        RES_DEPLOYMENTS, "{'metadata':{'name':'x','generation':9},'spec':{},'status':{'replicas':3}}");
    assert_at(v, "metadata.generation", "1");
    assert_at(v, "status.replicas", "");

    v = created(
        RES_PODS,
        "{'metadata':{'name':'x'},'spec':{'containers':[{'name':'c'}]},'status':{'phase':'Running'}}");
    assert_at(v, "status", "{'phase':'Pending','qosClass':'BestEffort'}");

    v = created(RES_JOBS,
                "{'metadata':{'name':'x','uid':'u1'},'spec':{'template':{'metadata':{'labels':{'a':'b'}}}}}");
    assert_at(v, "spec.selector.matchLabels", "{'batch.kubernetes.io/controller-uid':'u1'}");
    assert_at(v, "spec.template.metadata.labels",
              "{'a':'b','batch.kubernetes.io/controller-uid':'u1','batch.kubernetes.io/"
              "job-name':'x','controller-uid':'u1',"
              "'job-name':'x'}");

    v = created(RES_NAMESPACES, "{'metadata':{'name':'x'}}");
    assert_at(v, "spec.finalizers", "['kubernetes']");
    assert_at(v, "status.phase", "'Active'");

    v = created(
        RES_PERSISTENTVOLUMECLAIMS,
        "{'metadata':{'name':'x'},'spec':{'dataSource':{'kind':'PersistentVolumeClaim','name':'a'}}}");
    assert_at(v, "spec.dataSourceRef.name", "'a'");
    assert_at(v, "status.phase", "'Pending'");
}

static void test_update(void **state)
{
    (void)state;
    const struct val *old =
        created(RES_DEPLOYMENTS, "{'metadata':{'name':'x','uid':'u'},'spec':{'replicas':1}}");
    const struct val *v =
        updated(RES_DEPLOYMENTS, NULL, "{'metadata':{'name':'x'},'spec':{'replicas':2}}", old);
    assert_at(v, "metadata.generation", "2");
    v = updated(RES_DEPLOYMENTS, NULL, "{'metadata':{'name':'x','labels':{'a':'b'}},'spec':{'replicas':1}}",
                old);
    assert_at(v, "metadata.generation", "1");
    v = updated(RES_DEPLOYMENTS, NULL,
                "{'metadata':{'name':'x'},'spec':{'replicas':1},'status':{'replicas':5}}", old);
    assert_at(v, "status.replicas", "");

    v = updated(RES_DEPLOYMENTS, "status",
                "{'metadata':{'name':'x','labels':{'a':'b'}},'spec':{'replicas':7},'status':{'replicas':5}}",
                old);
    assert_at(v, "spec.replicas", "1");
    assert_at(v, "status.replicas", "5");
    assert_at(v, "metadata.generation", "1");

    old = created(RES_DAEMONSETS, "{'metadata':{'name':'x'},'spec':{}}");
    v = updated(RES_DAEMONSETS, NULL, "{'metadata':{'name':'x'},'spec':{'minReadySeconds':5}}", old);
    assert_at(v, "metadata.generation", "2");
}

/* Metadata of Pods can be changed together with their status, labels of Deployments cannot. */
static void test_update_of_pod_status(void **state)
{
    (void)state;
    const struct val *old =
        created(RES_PODS, "{'metadata':{'name':'x'},'spec':{'containers':[{'name':'c','image':'a'}]}}");
    const struct val *v = updated(RES_PODS, "status",
                                  "{'metadata':{'name':'x'},'spec':{'containers':[{'name':'c','image':'b'}]},"
                                  "'status':{'phase':'Running'}}",
                                  old);
    assert_at(v, "spec.containers[0].image", "'a'");
    assert_at(v, "status.phase", "'Running'");
    assert_at(v, "status.qosClass", "'BestEffort'");
}

static void test_deletion_stays(void **state)
{
    (void)state;
    struct val *old = created(RES_CONFIGMAPS, "{'metadata':{'name':'x'}}");
    val_set_str(&arena, val_mut(old, N_metadata), N_deletionTimestamp, STR("2024-01-01T00:00:00Z"));
    const struct val *v = updated(RES_CONFIGMAPS, NULL, "{'metadata':{'name':'x'}}", old);
    assert_true(obj_deleting(v));
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
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_create),
        cmocka_unit_test(test_update),         cmocka_unit_test(test_update_of_pod_status),
        cmocka_unit_test(test_deletion_stays),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
