/* SPDX-License-Identifier: Apache-2.0 */
#include "node/configz.h"

#include <stddef.h>

#include "base/time.h"
#include "wire/json.h"

enum kind { TEXT, LIST, MAP, TAINTS, MEMORY, PRIORITIES, OPTIONS, INT, LONG, SIZE, BOOL, NOT, DURATION, WHOLE_SECONDS };

#define AT(field) offsetof(struct kubelet_config, field)

/* In upstream's order. */
static const struct {
    const char *name;
    size_t at;
    enum kind kind;
} fields[] = {
    {"enableServer", AT(no_server), NOT},
    {"staticPodPath", AT(static_pod_path), TEXT},
    {"podLogsDir", AT(pod_logs_dir), TEXT},
    {"syncFrequency", AT(sync_period), DURATION},
    {"fileCheckFrequency", AT(file_check_period), DURATION},
    {"clusterDomain", AT(cluster_domain), TEXT},
    {"clusterDNS", AT(cluster_dns), LIST},
    {"nodeStatusUpdateFrequency", AT(status_period), DURATION},
    {"nodeStatusReportFrequency", AT(status_report_period), DURATION},
    {"nodeLeaseDurationSeconds", AT(lease_duration), WHOLE_SECONDS},
    {"imageMinimumGCAge", AT(image_min_age), DURATION},
    {"imageGCHighThresholdPercent", AT(image_gc_high), INT},
    {"imageGCLowThresholdPercent", AT(image_gc_low), INT},
    {"cgroupRoot", AT(cgroup_root), TEXT},
    {"cgroupsPerQOS", AT(no_cgroups), NOT},
    {"cpuManagerPolicy", AT(cpu_policy), TEXT},
    {"cpuManagerPolicyOptions", AT(cpu_options), OPTIONS},
    {"memoryManagerPolicy", AT(memory_policy), TEXT},
    {"topologyManagerPolicy", AT(topology_policy), TEXT},
    {"topologyManagerScope", AT(topology_scope), TEXT},
    {"topologyManagerPolicyOptions", AT(topology_options), OPTIONS},
    {"maxPods", AT(max_pods), INT},
    {"podCIDR", AT(pod_cidr), TEXT},
    {"podPidsLimit", AT(pod_pids), LONG},
    {"resolvConf", AT(resolv_conf), TEXT},
    {"cpuCFSQuota", AT(no_cpu_quota), NOT},
    {"cpuCFSQuotaPeriod", AT(cpu_quota_period), DURATION},
    {"nodeStatusMaxImages", AT(max_images_reported), INT},
    {"serializeImagePulls", AT(serial_pulls), BOOL},
    {"maxParallelImagePulls", AT(max_parallel_pulls), INT},
    {"evictionHard", AT(eviction_hard), MAP},
    {"evictionSoft", AT(eviction_soft), MAP},
    {"evictionSoftGracePeriod", AT(eviction_soft_grace), MAP},
    {"evictionPressureTransitionPeriod", AT(eviction_transition), DURATION},
    {"evictionMaxPodGracePeriod", AT(eviction_max_grace), LONG},
    {"evictionMinimumReclaim", AT(eviction_reclaim), MAP},
    {"podsPerCore", AT(pods_per_core), INT},
    {"containerLogMaxSize", AT(log_max_size), SIZE},
    {"containerLogMaxFiles", AT(log_max_files), INT},
    {"systemReserved", AT(system_reserved), MAP},
    {"kubeReserved", AT(kube_reserved), MAP},
    {"reservedSystemCPUs", AT(reserved_cpus), TEXT},
    {"allowedUnsafeSysctls", AT(allowed_sysctls), LIST},
    {"providerID", AT(provider_id), TEXT},
    {"shutdownGracePeriod", AT(shutdown_grace), DURATION},
    {"shutdownGracePeriodCriticalPods", AT(shutdown_critical), DURATION},
    {"shutdownGracePeriodByPodPriority", AT(shutdown_by_priority), PRIORITIES},
    {"reservedMemory", AT(reserved_memory), MEMORY},
    {"seccompDefault", AT(seccomp_default), BOOL},
    {"registerWithTaints", AT(taints), TAINTS},
    {"registerNode", AT(no_register), NOT},
    {"containerRuntimeEndpoint", AT(cri_socket), TEXT},
    {"imageServiceEndpoint", AT(image_socket), TEXT},
};

static void put_text(struct buf *b, struct str s)
{
    json_encode_str(b, s, 0);
}

static void put_pair(struct buf *b, bool first, struct str key, struct str value)
{
    buf_puts(b, first ? "" : ",");
    put_text(b, key);
    buf_puts(b, ":");
    put_text(b, value);
}

/* "memory.available<100Mi" or "memory.available=100Mi" */
static void put_entry(struct buf *b, bool first, struct str entry)
{
    struct str key = entry, value = STR("");
    if (!str_cut(entry, '=', &key, &value))
        str_cut(entry, '<', &key, &value);
    put_pair(b, first, key, value);
}

static void put_list(struct buf *b, const char *const *list)
{
    buf_puts(b, "[");
    for (size_t i = 0; list && list[i]; i++) {
        buf_puts(b, i ? "," : "");
        put_text(b, str_of(list[i]));
    }
    buf_puts(b, "]");
}

static void put_map(struct buf *b, const char *const *list)
{
    buf_puts(b, "{");
    for (size_t i = 0; list && list[i]; i++)
        put_entry(b, i == 0, str_of(list[i]));
    buf_puts(b, "}");
}

/* "a=true,b=false" */
static void put_options(struct buf *b, const char *text)
{
    struct str rest = str_of(text), part;
    bool first = true;
    buf_puts(b, "{");
    while (rest.n && str_next(&rest, ',', &part)) {
        put_entry(b, first, str_trim(part));
        first = false;
    }
    buf_puts(b, "}");
}

/* "key=value:Effect" */
static void put_taints(struct buf *b, const char *const *list)
{
    buf_puts(b, "[");
    for (size_t i = 0; list && list[i]; i++) {
        struct str head = str_of(list[i]), effect = STR(""), key, value = STR("");
        str_cut(head, ':', &head, &effect);
        key = head;
        str_cut(head, '=', &key, &value);
        buf_puts(b, i ? ",{" : "{");
        put_pair(b, true, STR("key"), key);
        if (value.n)
            put_pair(b, false, STR("value"), value);
        put_pair(b, false, STR("effect"), effect);
        buf_puts(b, "}");
    }
    buf_puts(b, "]");
}

/* "priority=seconds" */
static void put_priorities(struct buf *b, const char *const *list)
{
    buf_puts(b, "[");
    for (size_t i = 0; list && list[i]; i++) {
        struct str priority = str_of(list[i]), seconds = STR("0");
        str_cut(priority, '=', &priority, &seconds);
        buf_printf(b, "%s{\"priority\":" STR_FMT ",\"shutdownGracePeriodSeconds\":" STR_FMT "}", i ? "," : "",
                   STR_ARG(priority), STR_ARG(seconds));
    }
    buf_puts(b, "]");
}

/* "0:memory=1Gi,hugepages-2Mi=64Mi,1:memory=1Gi" */
static void put_memory(struct buf *b, const char *text)
{
    struct str rest = str_of(text), part, node, entry;
    bool any = false;
    buf_puts(b, "[");
    while (rest.n && str_next(&rest, ',', &part)) {
        bool begins = str_cut(str_trim(part), ':', &node, &entry);
        if (begins)
            buf_printf(b, "%s{\"numaNode\":" STR_FMT ",\"limits\":{", any ? "}}," : "", STR_ARG(node));
        if (begins || any)
            put_entry(b, begins, begins ? entry : str_trim(part));
        any = any || begins;
    }
    buf_puts(b, any ? "}}]" : "]");
}

static void put_size(struct buf *b, int64_t bytes)
{
    bool whole = bytes % (1 << 20) == 0;
    buf_printf(b, "\"%lld%s\"", (long long)(whole ? bytes >> 20 : bytes), whole ? "Mi" : "");
}

static void put_field(struct buf *b, enum kind kind, const void *at)
{
    char text[TIME_TEXT_MAX];
    switch (kind) {
    case TEXT:
        put_text(b, str_of(*(const char *const *)at));
        break;
    case LIST:
        put_list(b, *(const char *const *const *)at);
        break;
    case MAP:
        put_map(b, *(const char *const *const *)at);
        break;
    case TAINTS:
        put_taints(b, *(const char *const *const *)at);
        break;
    case PRIORITIES:
        put_priorities(b, *(const char *const *const *)at);
        break;
    case MEMORY:
        put_memory(b, *(const char *const *)at);
        break;
    case OPTIONS:
        put_options(b, *(const char *const *)at);
        break;
    case INT:
        buf_printf(b, "%d", *(const int *)at);
        break;
    case LONG:
        buf_printf(b, "%lld", (long long)*(const int64_t *)at);
        break;
    case SIZE:
        put_size(b, *(const int64_t *)at);
        break;
    case BOOL:
    case NOT:
        buf_puts(b, *(const bool *)at == (kind == BOOL) ? "true" : "false");
        break;
    case DURATION:
        buf_printf(b, "\"%s\"", duration_format(*(const int64_t *)at, text));
        break;
    case WHOLE_SECONDS:
        buf_printf(b, "%lld", (long long)(*(const int64_t *)at / SECONDS(1)));
        break;
    }
}

/* Where the two faces listen: "0.0.0.0:10250", "[::]:10250". */
static void put_address(struct buf *b, const char *address, const char *port, const char *listen)
{
    struct str text = str_of(listen);
    size_t colon = text.n;
    while (colon && text.p[colon - 1] != ':')
        colon--;
    struct str host = str_slice(text, 0, colon ? colon - 1 : 0);
    if (host.n > 1 && host.p[0] == '[')
        host = str_slice(host, 1, host.n - 2);
    buf_printf(b, ",\"%s\":", address);
    put_text(b, host);
    buf_printf(b, ",\"%s\":" STR_FMT, port, STR_ARG(colon < text.n ? str_from(text, colon) : STR("0")));
}

void configz_encode(struct buf *b, const struct kubelet_config *c)
{
    buf_puts(b, "{\"kubeletconfig\":{");
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        buf_printf(b, "\"%s\":", fields[i].name);
        put_field(b, fields[i].kind, (const char *)c + fields[i].at);
        buf_puts(b, ",");
    }
    buf_printf(b, "\"authentication\":{\"anonymous\":{\"enabled\":%s},\"webhook\":{\"enabled\":%s}},\"authorization\":{\"mode\":\"%s\"}",
               c->anonymous ? "true" : "false", c->token_webhook ? "true" : "false", c->authorize_always ? "AlwaysAllow" : "Webhook");
    put_address(b, "address", "port", c->listen);
    if (c->healthz_listen)
        put_address(b, "healthzBindAddress", "healthzPort", c->healthz_listen);
    buf_printf(b, ",\"crashLoopBackOff\":{\"maxContainerRestartPeriod\":");
    put_field(b, DURATION, &c->max_crash_backoff);
    buf_puts(b, "},\"cgroupDriver\":\"cgroupfs\",\"failSwapOn\":false,\"kind\":\"KubeletConfiguration\","
                "\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\"}}");
}
