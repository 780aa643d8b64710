/* SPDX-License-Identifier: Apache-2.0 */
/* /configz is a KubeletConfiguration that the kubelet itself would take, and says what is in force. */
#include "testing.h"

#include "node/configz.h"
#include "types.h"
#include "wire/json.h"

static const struct kubelet_config sample = {
    .cluster_dns = (const char *const[]){"10.96.0.10", "fd00::a", NULL},
    .cluster_domain = "cluster.local",
    .eviction_hard = (const char *const[]){"memory.available=100Mi", "nodefs.available<5%", NULL},
    .taints = (const char *const[]){"only=me:NoSchedule", "gone:NoExecute", NULL},
    .shutdown_by_priority = (const char *const[]){"100=10", "0=30", NULL},
    .cpu_options = "full-pcpus-only=true,distribute-cpus-across-numa=false",
    .reserved_memory = "0:memory=1Gi,hugepages-2Mi=64Mi,1:memory=2Gi",
    .listen = "[::1]:10250",
    .healthz_listen = "127.0.0.1:10248",
    .log_max_size = INT64_C(10) << 20,
    .no_cgroups = true,
    .lease_duration = SECONDS(40),
    .max_crash_backoff = SECONDS(300),
    .image_gc_high = 93,
    .token_webhook = true,
};

static struct val *config_of(struct arena *a, const struct kubelet_config *c)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct json_report report = {0};
    struct str text, head = STR("{\"kubeletconfig\":");
    struct val *v;
    configz_encode(&b, c);
    text = arena_str(a, buf_str(&b));
    assert_true(str_starts(text, head));
    text = str_slice(text, head.n, text.n - head.n - 1);
    assert_int_equal(json_decode(a, type_at(T_kubelet_v1beta1_KubeletConfiguration), text, 0, &report, &v, NULL), 0);
    for (size_t i = 0; i < report.n; i++)
        print_error(STR_FMT "\n", STR_ARG(report.problems[i]));
    assert_int_equal(report.n, 0);
    return v;
}

static void same(const struct val *v, const char *want)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, type_at(T_kubelet_v1beta1_KubeletConfiguration), v, 0);
    if (!str_contains(buf_str(&b), str_of(want)))
        fail_msg("%s is not in " STR_FMT, want, STR_ARG(buf_str(&b)));
}

static void says_what_is_in_force(void **state)
{
    struct arena a = ARENA_INIT;
    struct val *v = config_of(&a, &sample);
    (void)state;
    same(v, "\"clusterDNS\":[\"10.96.0.10\",\"fd00::a\"]");
    same(v, "\"evictionHard\":{\"memory.available\":\"100Mi\",\"nodefs.available\":\"5%\"}");
    same(v, "\"registerWithTaints\":[{\"key\":\"only\",\"value\":\"me\",\"effect\":\"NoSchedule\"},{\"key\":\"gone\",\"effect\":\"NoExecute\"}]");
    same(v, "\"shutdownGracePeriodByPodPriority\":[{\"priority\":100,\"shutdownGracePeriodSeconds\":10},{\"priority\":0,\"shutdownGracePeriodSeconds\":30}]");
    same(v, "\"cpuManagerPolicyOptions\":{\"distribute-cpus-across-numa\":\"false\",\"full-pcpus-only\":\"true\"}");
    same(v, "\"address\":\"::1\"");
    same(v, "\"port\":10250");
    same(v, "\"healthzBindAddress\":\"127.0.0.1\"");
    same(v, "\"containerLogMaxSize\":\"10Mi\"");
    same(v, "\"cgroupsPerQOS\":false");
    same(v, "\"nodeLeaseDurationSeconds\":40");
    same(v, "\"crashLoopBackOff\":{\"maxContainerRestartPeriod\":\"5m0s\"}");
    same(v, "\"imageGCHighThresholdPercent\":93");
    same(v, "\"authorization\":{\"mode\":\"Webhook\"");
    same(v, "\"reservedMemory\":[{\"numaNode\":0,\"limits\":{\"hugepages-2Mi\":\"64Mi\",\"memory\":\"1Gi\"}},{\"numaNode\":1,\"limits\":{\"memory\":\"2Gi\"}}]");
    arena_done(&a);
}

/* Fields that nobody set are empty, not missing commas. */
static void empty(void **state)
{
    struct arena a = ARENA_INIT;
    (void)state;
    same(config_of(&a, &(const struct kubelet_config){.listen = "0.0.0.0:10250"}), "\"port\":10250");
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(says_what_is_in_force), cmocka_unit_test(empty)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
