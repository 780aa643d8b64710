/* SPDX-License-Identifier: Apache-2.0 */
/* Admission: a behaviour of each plugin. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "apiserver/admit_config.h"

#define NS "/api/v1/namespaces/default"
#define PODS NS "/pods"

static void start(struct fixture *f)
{
    fixture_start(f, NULL);
    assert_code(post(f, NS "/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}"), 201);
}

static struct reply pod(struct fixture *f, const char *spec, const char *container)
{
    return post(
        f, PODS "?dryRun=All",
        arena_printf(&f->arena,
                     "{\"metadata\":{\"name\":\"p\"},\"spec\":{%s\"containers\":[{\"name\":\"c\",\"image\":"
                     "\"i\"%s}]}}",
                     spec, container)
            .p);
}

FIBER_TEST(pods_get_an_account_and_its_token)
{
    struct fixture f;
    start(&f);
    struct reply r = pod(&f, "", "");
    assert_at(&f, r, "spec.serviceAccountName", "default");
    assert_at(&f, r, "spec.containers.0.volumeMounts.0.mountPath",
              "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_at(&f, r, "spec.volumes.0.projected.sources.0.serviceAccountToken.path", "token");
    r = pod(&f, "\"automountServiceAccountToken\":false,", "");
    assert_at(&f, r, "spec.volumes.0.name", "");
    assert_code(pod(&f, "\"serviceAccountName\":\"none\",", ""), 403);
    fixture_stop(&f);
}

FIBER_TEST(priority_comes_from_classes)
{
    struct fixture f;
    start(&f);
    assert_at(&f, pod(&f, "", ""), "spec.priority", "0");
    assert_at(&f, pod(&f, "\"priorityClassName\":\"system-node-critical\",", ""), "spec.priority",
              "2000001000");
    assert_code(pod(&f, "\"priorityClassName\":\"none\",", ""), 403);
    assert_code(pod(&f, "\"priority\":7,", ""), 403);
    assert_code(post(&f, "/apis/scheduling.k8s.io/v1/priorityclasses",
                     "{\"metadata\":{\"name\":\"d\"},\"value\":5,\"globalDefault\":true}"), 201);
    struct reply r = pod(&f, "", "");
    assert_at(&f, r, "spec.priority", "5");
    assert_at(&f, r, "spec.priorityClassName", "d");
    assert_code(post(&f, "/apis/scheduling.k8s.io/v1/priorityclasses",
                     "{\"metadata\":{\"name\":\"e\"},\"value\":6,\"globalDefault\":true}"), 403);
    fixture_stop(&f);
}

FIBER_TEST(pods_tolerate_a_lost_node_for_a_while)
{
    struct fixture f;
    start(&f);
    struct reply r = pod(&f, "", "");
    assert_at(&f, r, "spec.tolerations.0.key", "node.kubernetes.io/not-ready");
    assert_at(&f, r, "spec.tolerations.1.tolerationSeconds", "300");
    fixture_stop(&f);
}

FIBER_TEST(limits_default_and_bound)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, NS "/limitranges",
                     "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"limits\":[{\"type\":\"Container\","
                     "\"default\":{\"cpu\":"
                     "\"500m\"},\"defaultRequest\":{\"cpu\":\"100m\"},\"max\":{\"cpu\":\"2\"},\"min\":{"
                     "\"cpu\":\"50m\"}}]}}"),
                201);
    struct reply r = pod(&f, "", "");
    assert_at(&f, r, "spec.containers.0.resources.limits.cpu", "500m");
    assert_at(&f, r, "spec.containers.0.resources.requests.cpu", "100m");
    assert_str(val_str(val_key(val_key(val_key(r.v, STR("metadata")), STR("annotations")),
                               STR("kubernetes.io/limit-ranger"))),
               "LimitRanger plugin set: cpu request for container c; cpu limit for container c");
    assert_code(pod(&f, "", ",\"resources\":{\"limits\":{\"cpu\":\"3\"}}"), 403);
    assert_code(pod(&f, "", ",\"resources\":{\"limits\":{\"cpu\":\"10m\"}}"), 403);
    fixture_stop(&f);
}

FIBER_TEST(quotas_count)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, NS "/resourcequotas",
                     "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"hard\":{\"count/configmaps\":"
                     "\"1\",\"requests.cpu\":\"1\"}}}"),
                201);
    assert_code(patch(&f, NS "/resourcequotas/q/status", "merge-patch+json",
                      "{\"status\":{\"hard\":{\"count/configmaps\":\"1\",\"requests.cpu\":\"1\"},\"used\":{"
                      "\"count/configmaps\":\"0\",\"requests.cpu\":\"0\"}}}"), 200);
    make_config_map(&f, "a", NULL);
    struct reply r = post(&f, NS "/configmaps", "{\"metadata\":{\"name\":\"b\"}}");
    assert_code(r, 403);
    assert_at(&f, r, "message",
              "configmaps \"b\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: "
              "count/configmaps=1, limited: count/configmaps=1");
    r = get(&f, NS "/resourcequotas/q");
    assert_str(val_str(val_key(val_key(val_key(r.v, STR("status")), STR("used")), STR("count/configmaps"))),
               "1");
    assert_code(pod(&f, "", ""), 403); /* must specify */
    assert_code(pod(&f, "", ",\"resources\":{\"requests\":{\"cpu\":\"500m\"}}"), 201);
    assert_code(pod(&f, "", ",\"resources\":{\"requests\":{\"cpu\":\"1500m\"}}"), 403);
    fixture_stop(&f);
}

static const char *used(struct fixture *f, const char *quota, const char *name)
{
    struct reply r = get(f, arena_printf(&f->arena, NS "/resourcequotas/%s", quota).p);
    return val_cstr(val_key(val_key(val_key(r.v, STR("status")), STR("used")), str_of(name)));
}

static void make_quota(struct fixture *f, const char *spec, const char *hard, const char *zeros)
{
    assert_code(post(f, NS "/resourcequotas",
                     arena_printf(&f->arena, "{\"metadata\":{\"name\":\"q\"},\"spec\":{%s\"hard\":{%s}}}", spec, hard).p), 201);
    assert_code(patch(f, NS "/resourcequotas/q/status", "merge-patch+json",
                      arena_printf(&f->arena, "{\"status\":{\"hard\":{%s},\"used\":{%s}}}", hard, zeros).p), 200);
}

FIBER_TEST(quotas_say_why)
{
    struct fixture f;
    start(&f);
    make_quota(&f, "", "\"limits.memory\":\"1Gi\",\"cpu\":\"1\",\"pods\":\"1\"",
               "\"limits.memory\":\"0\",\"cpu\":\"0\",\"pods\":\"0\"");
    assert_at(&f, pod(&f, "", ""), "message",
              "pods \"p\" is forbidden: failed quota: q: must specify cpu for: c; limits.memory for: c");
    assert_at(&f, pod(&f, "\"initContainers\":[{\"name\":\"b\",\"image\":\"i\"}],", ",\"resources\":{\"limits\":{\"memory\":\"1\"}}"),
              "message", "pods \"p\" is forbidden: failed quota: q: must specify cpu for: b,c; limits.memory for: b");
    assert_code(pod(&f, "\"resources\":{\"requests\":{\"cpu\":\"1m\"}},", ""), 201); /* for the pod as a whole */
    assert_at(&f, pod(&f, "", ",\"resources\":{\"limits\":{\"memory\":\"2Gi\",\"cpu\":\"1500m\"}}"), "message",
              "pods \"p\" is forbidden: exceeded quota: q, requested: cpu=1500m,limits.memory=2Gi, used: cpu=0,limits.memory=0, "
              "limited: cpu=1,limits.memory=1Gi");
    /* Nobody has counted yet. */
    assert_code(patch(&f, NS "/resourcequotas/q/status", "merge-patch+json", "{\"status\":{\"used\":{\"pods\":null}}}"), 200);
    assert_at(&f, pod(&f, "", ",\"resources\":{\"limits\":{\"memory\":\"1\",\"cpu\":\"1m\"}}"), "message",
              "pods \"p\" is forbidden: status unknown for quota: q, resources: cpu,limits.memory,pods");
    fixture_stop(&f);
}

FIBER_TEST(quotas_of_scopes)
{
    struct fixture f;
    start(&f);
    make_quota(&f, "\"scopes\":[\"BestEffort\"],", "\"pods\":\"0\"", "\"pods\":\"0\"");
    assert_code(pod(&f, "", ""), 403);
    assert_code(pod(&f, "", ",\"resources\":{\"requests\":{\"cpu\":\"1m\"}}"), 201);
    make_config_map(&f, "a", NULL); /* lies in no scope */
    fixture_stop(&f);
}

/* What is charged and what is stored are one: nobody overruns a quota, nothing is charged for what was refused. */
struct burst {
    struct fixture *f;
    unsigned made, refused, other;
    int next;
};

static void make_one(void *arg)
{
    struct burst *b = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    struct val *v = val_new(&a, VAL_OBJ);
    status_init(&s, &a);
    val_set_str(&a, val_sub_obj(&a, v, N_metadata), N_name, arena_printf(&a, "m%d", b->next++ / 2)); /* each name twice */
    int r = client_create(b->f->local, CALL(.res = &resources[RES_CONFIGMAPS], .ns = STR("default")), v, &a, NULL, &s);
    b->made += r == 0;
    b->refused += r == 403;
    b->other += r != 0 && r != 403;
}

FIBER_TEST(quotas_are_exact_in_a_burst)
{
    struct fixture f;
    struct burst b = {.f = &f};
    struct group g = {0};
    start(&f);
    make_quota(&f, "", "\"configmaps\":\"20\"", "\"configmaps\":\"0\"");
    for (int i = 0; i < 60; i++)
        group_spawn(&g, "make", make_one, &b);
    assert_int_equal(group_wait(&g, MONO_NEVER), 0);
    assert_int_equal(b.made, 20);
    assert_string_equal(used(&f, "q", "configmaps"), "20");
    assert_int_equal(b.made + b.refused + b.other, 60);
    /* What failed for another reason was not charged. */
    assert_code(ask(&f, "DELETE", NS "/configmaps/m0", NULL, NULL), 200);
    assert_code(patch(&f, NS "/resourcequotas/q/status", "merge-patch+json", "{\"status\":{\"used\":{\"configmaps\":\"19\"}}}"), 200);
    assert_code(post(&f, NS "/configmaps", "{\"metadata\":{\"name\":\"m1\"}}"), 409);
    assert_string_equal(used(&f, "q", "configmaps"), "19");
    assert_code(post(&f, NS "/configmaps?dryRun=All", "{\"metadata\":{\"name\":\"new\"}}"), 201);
    assert_string_equal(used(&f, "q", "configmaps"), "19");
    fixture_stop(&f);
}

FIBER_TEST(quotas_of_changes)
{
    struct fixture f;
    start(&f);
    make_quota(&f, "", "\"services.nodeports\":\"2\",\"services\":\"5\",\"resourcequotas\":\"1\"",
               "\"services.nodeports\":\"0\",\"services\":\"0\",\"resourcequotas\":\"1\"");
    assert_code(post(&f, NS "/services", "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}]}}"), 201);
    assert_string_equal(used(&f, "q", "services.nodeports"), "0");
    assert_code(patch(&f, NS "/services/s", "merge-patch+json", "{\"spec\":{\"type\":\"NodePort\"}}"), 200);
    assert_string_equal(used(&f, "q", "services.nodeports"), "1");
    assert_string_equal(used(&f, "q", "services"), "1");
    assert_code(patch(&f, NS "/services/s", "merge-patch+json",
                      "{\"spec\":{\"ports\":[{\"port\":80,\"name\":\"a\"},{\"port\":81,\"name\":\"b\"},{\"port\":82,\"name\":\"c\"}]}}"), 403);
    assert_code(patch(&f, NS "/services/s", "merge-patch+json", "{\"spec\":{\"type\":\"ClusterIP\"}}"), 200);
    assert_string_equal(used(&f, "q", "services.nodeports"), "1"); /* what is freed is the controller's to find */
    assert_code(post(&f, NS "/resourcequotas", "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"hard\":{\"pods\":\"1\"}}}"), 403);
    fixture_stop(&f);
}

FIBER_TEST(limits_say_why)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, NS "/limitranges",
                     "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"limits\":[{\"type\":\"Pod\",\"max\":{\"memory\":\"1Gi\"}},"
                     "{\"type\":\"Container\",\"maxLimitRequestRatio\":{\"cpu\":\"2\"},\"defaultRequest\":{\"cpu\":\"1m\",\"memory\":\"1Mi\"}},"
                     "{\"type\":\"PersistentVolumeClaim\",\"min\":{\"storage\":\"1Gi\"},\"max\":{\"storage\":\"2Gi\"}}]}}"), 201);
    assert_at(&f, pod(&f, "", ",\"resources\":{\"requests\":{\"cpu\":\"1m\"},\"limits\":{\"cpu\":\"5m\",\"memory\":\"2Gi\"}}"), "message",
              "pods \"p\" is forbidden: [maximum memory usage per Pod is 1Gi, but limit is 2Gi, cpu max limit to request ratio per "
              "Container is 2, but provided ratio is 5.000000]");
    struct reply r = pod(&f, "\"initContainers\":[{\"name\":\"i\",\"image\":\"i\",\"resources\":{\"limits\":{\"cpu\":\"2m\",\"memory\":\"1Mi\"}}}],",
                         ",\"resources\":{\"limits\":{\"cpu\":\"2m\",\"memory\":\"1Mi\"}}");
    assert_code(r, 201);
    assert_at(&f, pod(&f, "", ""), "message",
              "pods \"p\" is forbidden: [maximum memory usage per Pod is 1Gi.  No limit is specified, cpu max limit to request ratio per "
              "Container is 2, but no limit is specified or limit is 0]");
    static const char claim[] = "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":"
                                "{\"storage\":\"%s\"}}}}";
    r = post(&f, NS "/persistentvolumeclaims?dryRun=All", arena_printf(&f.arena, claim, "3Gi").p);
    assert_at(&f, r, "message",
              "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi");
    r = post(&f, NS "/persistentvolumeclaims?dryRun=All", arena_printf(&f.arena, claim, "1Mi").p);
    assert_at(&f, r, "message",
              "persistentvolumeclaims \"c\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi");
    assert_code(post(&f, NS "/persistentvolumeclaims?dryRun=All", arena_printf(&f.arena, claim, "2Gi").p), 201);
    fixture_stop(&f);
}

FIBER_TEST(pod_security_levels)
{
    struct fixture f;
    start(&f);
    assert_code(patch(&f, NS, "merge-patch+json",
                      "{\"metadata\":{\"labels\":{\"pod-security.kubernetes.io/enforce\":\"baseline\","
                      "\"pod-security.kubernetes.io/warn\":\"restricted\"}}}"), 200);
    assert_code(pod(&f, "\"hostNetwork\":true,", ""), 403);
    assert_code(pod(&f, "", ",\"securityContext\":{\"privileged\":true}"), 403);
    struct reply r = pod(&f, "", "");
    assert_code(r, 201);
    assert_true(str_contains(http_header(&r.headers, "warning"), STR("would violate PodSecurity")));
    r = pod(
        &f, "\"securityContext\":{\"runAsNonRoot\":true,\"seccompProfile\":{\"type\":\"RuntimeDefault\"}},",
        ",\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]}}");
    assert_code(r, 201);
    assert_null(http_header(&r.headers, "warning").p);
    fixture_stop(&f);
}

/* The file's text goes to a file of its own. */
static void with_settings(struct fixture *f, const char *text, char path[static 64])
{
    struct apiserver_config c = {.authorization = "AlwaysAllow", .admission_config = path};
    snprintf(path, 64, "/tmp/cube-admission-XXXXXX");
    close(mkstemp(path));
    assert_int_equal(os_write_file(path, str_of(text), 0600), 0);
    fixture_start(f, &c);
    assert_code(post(f, NS "/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}"), 201);
}

#define ADMISSION "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
#define POD_SECURITY "{apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, "

FIBER_TEST(pod_security_by_file)
{
    struct fixture f;
    char path[64];
    with_settings(&f, ADMISSION "- {name: PodSecurity, configuration: " POD_SECURITY "defaults: {enforce: baseline}, exemptions: {runtimeClasses: [fast], usernames: [ann]}}}\n", path);
    assert_code(post(&f, "/apis/node.k8s.io/v1/runtimeclasses", "{\"metadata\":{\"name\":\"fast\"},\"handler\":\"h\"}"), 201);
    assert_code(pod(&f, "\"hostNetwork\":true,", ""), 403);
    assert_code(pod(&f, "\"hostNetwork\":true,\"runtimeClassName\":\"fast\",", ""), 201);
    assert_code(ask(&f, "POST", PODS "?dryRun=All", "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}",
                    "Impersonate-User: ann\nContent-Type: application/json"), 201);
    assert_code(patch(&f, NS, "merge-patch+json", "{\"metadata\":{\"labels\":{\"pod-security.kubernetes.io/enforce\":\"privileged\"}}}"), 200);
    assert_code(pod(&f, "\"hostNetwork\":true,", ""), 201); /* what the namespace says goes before */
    fixture_stop(&f);
    unlink(path);
}

FIBER_TEST(settings_that_are_refused)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"kind: X", "AdmissionConfiguration"},
        {ADMISSION "- {name: PodSecurity, configuration: {kind: X}}", "expected a pod-security.admission.config.k8s.io/v1"},
        {ADMISSION "- {name: PodSecurity, configuration: " POD_SECURITY "defaults: {enforce: strict}}}", "\"strict\" is not one of"},
        {ADMISSION "- {name: PodSecurity, configuration: " POD_SECURITY "defaults: {warn-version: v1.20}}}", "the rules are those of v1.37"},
        {ADMISSION "- {name: EventRateLimit, configuration: {a: b}}", "plugin \"EventRateLimit\": the plugin is not there"},
        {ADMISSION "- {name: PodSecurity, path: /none}", "/none: "},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char path[] = "/tmp/cube-admission-XXXXXX";
        struct admit_settings *c = NULL;
        struct err e = {0};
        close(mkstemp(path));
        assert_int_equal(os_write_file(path, str_of(cases[i].text), 0600), 0);
        assert_true(admit_config_load(path, &c, &e) < 0);
        unlink(path);
        if (!strstr(e.text, cases[i].says))
            fail_msg("case %zu says: %s", i, e.text);
    }
}

FIBER_TEST(runtime_classes)
{
    struct fixture f;
    start(&f);
    assert_code(pod(&f, "\"runtimeClassName\":\"r\",", ""), 403);
    assert_code(
        post(&f, "/apis/node.k8s.io/v1/runtimeclasses",
             "{\"metadata\":{\"name\":\"r\"},\"handler\":\"h\",\"overhead\":{\"podFixed\":{\"cpu\":\"10m\"}},"
             "\"scheduling\":{\"nodeSelector\":{\"x\":\"y\"}}}"),
        201);
    struct reply r = pod(&f, "\"runtimeClassName\":\"r\",", "");
    assert_at(&f, r, "spec.overhead.cpu", "10m");
    assert_at(&f, r, "spec.nodeSelector.x", "y");
    fixture_stop(&f);
}

FIBER_TEST(defaults_of_classes)
{
    struct fixture f;
    start(&f);
    assert_code(
        post(&f, "/apis/storage.k8s.io/v1/storageclasses",
             "{\"metadata\":{\"name\":\"s\",\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":"
             "\"true\"}},\"provisioner\":\"p\"}"),
        201);
    struct reply r =
        post(&f, NS "/persistentvolumeclaims",
             "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{"
             "\"requests\":{\"storage\":\"1Gi\"}}}}");
    assert_at(&f, r, "spec.storageClassName", "s");
    assert_at(&f, r, "metadata.finalizers.0", "kubernetes.io/pvc-protection");
    fixture_stop(&f);
}

FIBER_TEST(external_ips_are_refused)
{
    struct fixture f;
    start(&f);
    const char *svc =
        "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}],\"externalIPs\":[\"1.2.3.4\"]}}";
    assert_code(post(&f, NS "/services", svc), 403);
    fixture_restart(&f, &(struct apiserver_config){.authorization = "AlwaysAllow",
                            .admission_off = "DenyServiceExternalIPs"});
    assert_code(post(&f, NS "/services", svc), 201);
    fixture_stop(&f);
}

FIBER_TEST(new_nodes_are_tainted)
{
    struct fixture f;
    start(&f);
    struct reply r = post(&f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n\"}}");
    assert_at(&f, r, "spec.taints.0.key", "node.kubernetes.io/not-ready");
    fixture_stop(&f);
}

FIBER_TEST(signing_requests_are_read)
{
    struct fixture f;
    start(&f);
    struct reply r = post(&f, "/apis/certificates.k8s.io/v1/certificatesigningrequests",
                          "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"request\":\"bm9uc2Vuc2U=\",\"signerName\":\"a.b/c\","
                          "\"usages\":[\"client auth\"]}}");
    assert_code(r, 422);
    assert_at(&f, r, "details.causes.0.field", "spec.request");
    fixture_stop(&f);
}

FIBER_TEST(unknown_plugins_are_an_error)
{
    struct store *store;
    struct apiserver *s = NULL;
    struct err e = {0};
    assert_int_equal(store_open_memory(&(struct store_options){.durable = false}, &store), 0);
    struct apiserver_config c = {.store = store, .admission_on = "PodSecurity,Nonsense"};
    assert_int_equal(apiserver_start(&c, &s, &e), -EINVAL);
    assert_non_null(strstr(e.text, "\"Nonsense\" is no admission plugin"));
    store_close(store);
}

/* KEP-1287: what the node can never grant, or does not know, is refused at once. */
FIBER_TEST(resizes_that_cannot_be)
{
    struct fixture f;
    start(&f);
    assert_code(post(&f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\"}}"), 201);
    assert_code(patch(&f, "/api/v1/nodes/n1/status", "merge-patch+json",
                      "{\"status\":{\"allocatable\":{\"cpu\":\"2\",\"memory\":\"1Gi\"}}}"), 200);
    assert_code(post(&f, NS "/pods",
                     "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"nodeName\":\"n1\",\"initContainers\":[{\"name\":\"i\",\"image\":\"x\"}],"
                     "\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}"), 201);
    struct reply r = patch(&f, NS "/pods/r/resize", "strategic-merge-patch+json",
                           "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"3\",\"memory\":\"2Gi\"}}}]}}");
    assert_code(r, 403);
    assert_at(&f, r, "message",
              "pods \"r\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000; memory, "
              "requested: 2147483648, allocatable: 1073741824");
    assert_code(patch(&f, NS "/pods/r/resize", "strategic-merge-patch+json",
                      "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]}}"), 200);
    static const char init[] = "{\"spec\":{\"initContainers\":[{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}";
    r = patch(&f, NS "/pods/r/resize", "strategic-merge-patch+json", init);
    assert_code(r, 403);
    assert_at(&f, r, "message",
              "pods \"r\" is forbidden: pod update requires features InPlacePodVerticalScalingInitContainers which are not available on node "
              "\"n1\"");
    assert_code(patch(&f, "/api/v1/nodes/n1/status", "merge-patch+json",
                      "{\"status\":{\"declaredFeatures\":[\"InPlacePodVerticalScalingInitContainers\"]}}"), 200);
    assert_code(patch(&f, NS "/pods/r/resize", "strategic-merge-patch+json", init), 200);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizes_that_cannot_be),
        cmocka_unit_test(pods_get_an_account_and_its_token),
        cmocka_unit_test(priority_comes_from_classes),
        cmocka_unit_test(pods_tolerate_a_lost_node_for_a_while),
        cmocka_unit_test(limits_default_and_bound),
        cmocka_unit_test(quotas_count),
        cmocka_unit_test(quotas_say_why),
        cmocka_unit_test(quotas_of_scopes),
        cmocka_unit_test(quotas_are_exact_in_a_burst),
        cmocka_unit_test(quotas_of_changes),
        cmocka_unit_test(limits_say_why),
        cmocka_unit_test(pod_security_levels),
        cmocka_unit_test(pod_security_by_file),
        cmocka_unit_test(settings_that_are_refused),
        cmocka_unit_test(runtime_classes),
        cmocka_unit_test(defaults_of_classes),
        cmocka_unit_test(external_ips_are_refused),
        cmocka_unit_test(new_nodes_are_tainted),
        cmocka_unit_test(signing_requests_are_read),
        cmocka_unit_test(unknown_plugins_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
