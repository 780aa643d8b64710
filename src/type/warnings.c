/* SPDX-License-Identifier: Apache-2.0 */
#include "type/warnings-internal.h"

#include <arpa/inet.h>

#include "resources.h"
#include "type/service.h"
#include "type/text.h"
#include "wire/quantity.h"

void warn_at(struct warner *w, const struct vpath *p, const char *fmt, ...)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (p) {
        vpath_print(&b, p);
        buf_puts(&b, ": ");
    }
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    w->fn(w->arg, buf_str(&b));
}

/* ---- addresses ----------------------------------------------------------------------------------------- */

struct address {
    int family;
    unsigned char bytes[16];
    char text[INET6_ADDRSTRLEN]; /* as it should be written */
    bool mapped;                 /* an IPv4 address in the clothes of IPv6: text is the former */
};

static bool address_parse(struct str s, struct address *ret)
{
    char text[INET6_ADDRSTRLEN];
    struct address a = {.family = str_find(s, ':') >= 0 ? AF_INET6 : AF_INET};
    if (!s.n || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (inet_pton(a.family, text, a.bytes) != 1)
        return false;
    a.mapped = a.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)a.bytes);
    if (a.mapped)
        inet_ntop(AF_INET, a.bytes + 12, a.text, sizeof(a.text));
    else
        inet_ntop(a.family, a.bytes, a.text, sizeof(a.text));
    *ret = a;
    return true;
}

void warn_ip(struct warner *w, const struct vpath *p, struct str ip)
{
    struct address a;
    if (!address_parse(ip, &a))
        return;
    if (a.mapped)
        warn_at(w, p, "non-standard IP address \"" STR_FMT "\" is invalid: use \"%s\"", STR_ARG(ip), a.text);
    else if (a.family == AF_INET6 && !str_is(ip, a.text))
        warn_at(w, p, "IPv6 address \"" STR_FMT "\" should be in RFC 5952 canonical format (\"%s\")",
                STR_ARG(ip), a.text);
}

static void clear_host_bits(struct address *a, int64_t bits)
{
    for (int64_t i = bits; i < (a->family == AF_INET ? 32 : 128); i++)
        a->bytes[i / 8] &= (unsigned char)~(0x80u >> (i % 8));
}

void warn_cidr(struct warner *w, const struct vpath *p, struct str cidr)
{
    struct str ip, bits_text;
    struct address a, net;
    int64_t bits;
    if (!str_cut(cidr, '/', &ip, &bits_text) || str_to_i64(bits_text, &bits) || !address_parse(ip, &a) ||
        a.mapped)
        return;
    net = a;
    clear_host_bits(&net, bits);
    inet_ntop(net.family, net.bytes, net.text, sizeof(net.text));
    if (memcmp(net.bytes, a.bytes, sizeof(net.bytes)) != 0)
        warn_at(w, p,
                "CIDR value \"" STR_FMT "\" is ambiguous in this context (should be \"%s/%d\" or \"%s/%d\"?)",
                STR_ARG(cidr), net.text, (int)bits, a.text, a.family == AF_INET ? 32 : 128);
    else if (a.family == AF_INET6 && !str_is(ip, a.text))
        warn_at(w, p, "IPv6 CIDR value \"" STR_FMT "\" should be in RFC 5952 canonical format (\"%s/%d\")",
                STR_ARG(cidr), a.text, (int)bits);
}

/* ---- shared -------------------------------------------------------------------------------------------- */

const char *deprecated_node_label(struct str key)
{
    static const struct {
        const char *key, *text;
    } labels[] = {
        {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
        {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
        {"failure-domain.beta.kubernetes.io/region",
         "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
        {"failure-domain.beta.kubernetes.io/zone",
         "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
        {"beta.kubernetes.io/instance-type",
         "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
        {"app.kubernetes.io/created-by", "deprecated since v1.9"},
        {"scheduler.alpha.kubernetes.io/preferAvoidPods",
         "deprecated since v1.22; use Taints and Tolerations instead"},
        {"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
        if (str_is(key, labels[i].key))
            return labels[i].text;
    return NULL;
}

static void warn_label_expressions(struct warner *w, const struct vpath *p, const struct val *list)
{
    size_t i = 0;
    VAL_EACH (list, e) {
        const char *text = deprecated_node_label(val_getstr(e, N_key));
        if (text)
            warn_at(w, AT(ITEM(p, i), N_key), STR_FMT " is %s", STR_ARG(val_getstr(e, N_key)), text);
        i++;
    }
}

/* A preferred term with an impossible value never matches; a required one is refused. */
static void warn_label_values(struct warner *w, const struct vpath *p, const struct val *values)
{
    size_t i = 0;
    VAL_EACH (values, v) {
        struct check c = {0};
        check_label_text(&c, val_str(v));
        for (unsigned j = 0; j < c.n; j++)
            warn_at(w, ITEM(p, i), STR_FMT " is invalid, %s", STR_ARG(val_str(v)), c.texts[j]);
        i++;
    }
}

void warn_node_term(struct warner *w, const struct vpath *p, const struct val *term, bool check_values)
{
    const struct vpath *at = AT(p, N_matchExpressions);
    size_t i = 0;
    warn_label_expressions(w, at, val_get(term, N_matchExpressions));
    if (check_values)
        VAL_EACH (val_get(term, N_matchExpressions), e)
            warn_label_values(w, AT(ITEM(at, i++), N_values), val_get(e, N_values));
}

void warn_fraction(struct warner *w, const struct vpath *p, const struct val *resources_at, const char *name)
{
    const struct val *q = val_key(resources_at, str_of(name));
    if (q && quantity_milli(quantity_or_zero(val_str(q))) % 1000)
        warn_at(w, KEY(p, str_of(name)),
                "fractional byte value \"" STR_FMT "\" is invalid, must be an integer", STR_ARG(val_str(q)));
}

void warn_claim_spec(struct warner *w, const struct vpath *p, const struct val *spec)
{
    const struct val *r = val_get(spec, N_resources);
    warn_fraction(w, AT(AT(p, N_resources), N_requests), val_get(r, N_requests), "storage");
    warn_fraction(w, AT(AT(p, N_resources), N_limits), val_get(r, N_limits), "storage");
}

static void warn_name(struct warner *w, const struct val *v, const char *where)
{
    struct check c = {0};
    CLEANUP_BUF struct buf b = BUF_INIT;
    check_label_of_dns(&c, obj_name(v));
    if (!c.n || w->old)
        return;
    for (unsigned i = 0; i < c.n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", c.texts[i]);
    warn_at(w, NULL,
            "metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is "
            "recommended: "
            "[" STR_FMT "]",
            where, STR_ARG(buf_str(&b)));
}

static void warn_annotation(struct warner *w, const struct val *v, const char *key, const char *text)
{
    if (val_key(val_get(obj_meta(v), N_annotations), str_of(key)))
        warn_at(w, NULL, "metadata.annotations[%s]: %s", key, text);
}

/* ---- one function a kind ------------------------------------------------------------------------------- */

#define ROOT (&(const struct vpath){0})

/* Warnings about a template are given when it is new, and when the object's spec changed. */
static bool spec_is_new(const struct warner *w, const struct val *v)
{
    return !w->old ||
           !val_equal(val_at(v, N_metadata, N_generation), val_at(w->old, N_metadata, N_generation));
}

static void of_pod(struct warner *w, const struct val *v)
{
    if (w->old)
        return; /* people hardly ever update Pods, and machines do it often */
    warn_name(w, v, "the Pod's hostname");
    warn_pod(w, NULL, v);
}

static void warn_template(struct warner *w, const struct val *v)
{
    if (spec_is_new(w, v))
        warn_pod(w, AT(AT(ROOT, N_spec), N_template), val_at(v, N_spec, N_template));
}

static void of_workload(struct warner *w, const struct val *v)
{
    warn_name(w, v, "Pod names and hostnames");
    warn_template(w, v);
}

static void of_stateful_set(struct warner *w, const struct val *v)
{
    size_t i = 0;
    const struct vpath *at = AT(AT(ROOT, N_spec), N_volumeClaimTemplates);
    warn_template(w, v);
    VAL_EACH (val_at(v, N_spec, N_volumeClaimTemplates), claim)
        warn_claim_spec(w, ITEM(at, i++), val_get(claim, N_spec));
    if (val_int(val_at(v, N_spec, N_revisionHistoryLimit), 0) < 0)
        warn_at(
            w, NULL,
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
            "recommended");
}

static void of_pod_template(struct warner *w, const struct val *v)
{
    if (spec_is_new(w, v))
        warn_pod(w, AT(ROOT, N_template), val_get(v, N_template));
}

static void warn_job_spec(struct warner *w, const struct vpath *p, const struct val *spec)
{
    if (str_is(val_getstr(spec, N_completionMode), "Indexed") &&
        val_int(val_get(spec, N_completions), 0) > 100000 && val_int(val_get(spec, N_parallelism), 0) > 10000)
        warn_at(w, p,
                "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
                "10^4, "
                "Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
    warn_pod(w, AT(p, N_template), val_get(spec, N_template));
}

static void of_job(struct warner *w, const struct val *v)
{
    warn_name(w, v, "Pod names and hostnames");
    if (spec_is_new(w, v))
        warn_job_spec(w, AT(ROOT, N_spec), val_get(v, N_spec));
}

static void of_cron_job(struct warner *w, const struct val *v)
{
    warn_name(w, v, "Pod names and hostnames");
    if (spec_is_new(w, v))
        warn_job_spec(w, AT(AT(AT(ROOT, N_spec), N_jobTemplate), N_spec),
                      val_at(v, N_spec, N_jobTemplate, N_spec));
    if (w->old && str_contains(val_str(val_at(v, N_spec, N_schedule)), STR("TZ")))
        warn_at(w, NULL,
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
                "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
}

static void warn_ips(struct warner *w, name_id list, const struct val *spec)
{
    size_t i = 0;
    VAL_EACH (val_get(spec, list), ip)
        warn_ip(w, ITEM(AT(AT(ROOT, N_spec), list), i++), val_str(ip));
}

static void warn_headless(struct warner *w, const struct val *spec)
{
    if (val_getstr(spec, N_loadBalancerIP).n)
        warn_at(w, NULL, "spec.loadBalancerIP is ignored for headless services");
    if (val_len(val_get(spec, N_externalIPs)))
        warn_at(w, NULL, "spec.externalIPs is ignored for headless services");
    if (!str_is(val_getstr(spec, N_sessionAffinity), "None"))
        warn_at(w, NULL, "spec.SessionAffinity is ignored for headless services");
}

static void of_service(struct warner *w, const struct val *v)
{
    const struct val *spec = val_get(v, N_spec);
    bool external = str_is(val_getstr(spec, N_type), "ExternalName");
    bool headless =
        str_is(val_getstr(spec, N_type), "ClusterIP") && str_is(val_getstr(spec, N_clusterIP), "None");
    bool has_external_ips = val_len(val_get(spec, N_externalIPs)) > 0;
    size_t i = 0;
    if (val_key(val_get(obj_meta(v), N_annotations), STR("service.kubernetes.io/topology-aware-hints")))
        warn_at(w, NULL,
                "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
                "service.kubernetes.io/topology-mode instead");
    if (!external && !headless)
        warn_ips(w, N_clusterIPs, spec);
    if (headless)
        warn_headless(w, spec);
    warn_ips(w, N_externalIPs, spec);
    if (has_external_ips && !headless && !external)
        warn_at(w, NULL, "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    warn_ip(w, AT(AT(ROOT, N_spec), N_loadBalancerIP), val_getstr(spec, N_loadBalancerIP));
    VAL_EACH (val_get(spec, N_loadBalancerSourceRanges), range)
        warn_cidr(w, ITEM(AT(AT(ROOT, N_spec), N_loadBalancerSourceRanges), i++), val_str(range));
    if (external && has_external_ips)
        warn_at(w, NULL, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    if (!external && val_getstr(spec, N_externalName).n)
        warn_at(w, NULL, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
    if (str_is(val_getstr(spec, N_trafficDistribution), "PreferClose"))
        warn_at(w, NULL, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

static void of_endpoints(struct warner *w, const struct val *v)
{
    static const name_id lists[] = {N_addresses, N_notReadyAddresses};
    if (str_is(obj_label(v, STR("endpoints.kubernetes.io/managed-by")), "endpoint-controller"))
        return;
    size_t i = 0;
    VAL_EACH (val_get(v, N_subsets), subset) {
        const struct vpath *at = ITEM(AT(ROOT, N_subsets), i++);
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
            for (size_t j = 0; j < val_len(val_get(subset, lists[l])); j++)
                warn_ip(w, AT(ITEM(AT(at, lists[l]), j), N_ip),
                        val_getstr(val_item(val_get(subset, lists[l]), j), N_ip));
    }
}

static void of_endpoint_slice(struct warner *w, const struct val *v)
{
    struct str by = obj_label(v, STR("endpointslice.kubernetes.io/managed-by"));
    if (!w->old && str_is(val_getstr(v, N_addressType), "FQDN"))
        warn_at(w, NULL, "spec.addressType: FQDN endpoints are deprecated");
    if (str_starts(by, STR("endpointslice-controller.k8s.io")) ||
        str_starts(by, STR("endpointslicemirroring-controller")))
        return;
    size_t i = 0;
    VAL_EACH (val_get(v, N_endpoints), e) {
        const struct vpath *at = AT(ITEM(AT(ROOT, N_endpoints), i++), N_addresses);
        for (size_t j = 0; j < val_len(val_get(e, N_addresses)); j++)
            warn_ip(w, ITEM(at, j), val_str(val_item(val_get(e, N_addresses), j)));
    }
}

static void of_node(struct warner *w, const struct val *v)
{
    const struct val *spec = val_get(v, N_spec);
    size_t i = 0;
    if (val_get(spec, N_configSource))
        warn_at(w, NULL, "spec.configSource: the feature is removed");
    if (val_getstr(spec, N_externalID).n)
        warn_at(w, NULL, "spec.externalID: this field is deprecated, and is unused by Kubernetes");
    VAL_EACH (val_get(spec, N_podCIDRs), cidr)
        warn_cidr(w, ITEM(AT(AT(ROOT, N_spec), N_podCIDRs), i++), val_str(cidr));
}

static void of_volume(struct warner *w, const struct val *v)
{
    static const struct {
        name_id field;
        const char *text;
    } plugins[] = {
        {N_cephfs, "deprecated in v1.28, non-functional in v1.31+"},
        {N_photonPersistentDisk, "deprecated in v1.11, non-functional in v1.16+"},
        {N_scaleIO, "deprecated in v1.16, non-functional in v1.22+"},
        {N_storageos, "deprecated in v1.22, non-functional in v1.25+"},
        {N_glusterfs, "deprecated in v1.25, non-functional in v1.26+"},
        {N_rbd, "deprecated in v1.28, non-functional in v1.31+"},
    };
    const struct vpath *at = AT(ROOT, N_spec),
                       *terms = AT(AT(AT(at, N_nodeAffinity), N_required), N_nodeSelectorTerms);
    const struct val *spec = val_get(v, N_spec);
    size_t n = 0;
    warn_annotation(w, v, "volume.beta.kubernetes.io/storage-class",
                    "deprecated since v1.8; use \"storageClassName\" attribute instead");
    warn_annotation(w, v, "volume.beta.kubernetes.io/mount-options",
                    "deprecated since v1.31; use \"mountOptions\" attribute instead");
    if (str_is(val_getstr(spec, N_persistentVolumeReclaimPolicy), "Recycle"))
        warn_at(
            w, AT(at, N_persistentVolumeReclaimPolicy),
            "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic "
            "provisioning.");
    VAL_EACH (val_at(spec, N_nodeAffinity, N_required, N_nodeSelectorTerms), term)
        warn_node_term(w, ITEM(terms, n++), term, false);
    for (size_t i = 0; i < ARRAY_SIZE(plugins); i++)
        if (val_get(spec, plugins[i].field))
            warn_at(w, plugins[i].field == N_storageos ? AT_TEXT(at, "storageOS") : AT(at, plugins[i].field),
                    "%s", plugins[i].text);
}

static void of_claim(struct warner *w, const struct val *v)
{
    warn_annotation(w, v, "volume.beta.kubernetes.io/storage-class",
                    "deprecated since v1.8; use \"storageClassName\" attribute instead");
    warn_claim_spec(w, AT(ROOT, N_spec), val_get(v, N_spec));
}

static void of_storage_class(struct warner *w, const struct val *v)
{
    size_t i = 0;
    VAL_EACH (val_get(v, N_allowedTopologies), t) {
        const struct vpath *at = AT(ITEM(AT(ROOT, N_allowedTopologies), i++), N_matchLabelExpressions);
        for (size_t j = 0; j < val_len(val_get(t, N_matchLabelExpressions)); j++) {
            const char *text =
                deprecated_node_label(val_getstr(val_item(val_get(t, N_matchLabelExpressions), j), N_key));
            if (text)
                warn_at(w, AT(ITEM(at, j), N_key), "%s", text);
        }
    }
}

static void of_storage_capacity(struct warner *w, const struct val *v)
{
    const struct vpath *at = AT(ROOT, N_nodeTopology);
    const struct val *selector = val_get(v, N_nodeTopology);
    warn_label_expressions(w, AT(at, N_matchExpressions), val_get(selector, N_matchExpressions));
    EACH_KEY (val_get(selector, N_matchLabels), k) {
        const char *text = deprecated_node_label(val_str(k));
        if (text)
            warn_at(w, AT_TEXT(AT(at, N_matchLabels), val_cstr(k)), "%s", text);
    }
}

static void of_runtime_class(struct warner *w, const struct val *v)
{
    EACH_KEY (val_at(v, N_scheduling, N_nodeSelector), k) {
        const char *text = deprecated_node_label(val_str(k));
        if (text)
            warn_at(w, NULL, "scheduling.nodeSelector: %s", text);
    }
}

static void of_csi_driver(struct warner *w, const struct val *v)
{
    const struct val *spec = val_get(v, N_spec);
    if (val_len(val_get(spec, N_tokenRequests)) && !val_get(spec, N_serviceAccountTokenInSecrets))
        warn_at(w, NULL,
                "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to "
                "prevent "
                "possible logging of tokens in volume attributes");
}

static void of_ingress(struct warner *w, const struct val *v)
{
    if (!w->old && !val_at(v, N_spec, N_ingressClassName) &&
        val_key(val_get(obj_meta(v), N_annotations), STR("kubernetes.io/ingress.class")))
        warn_at(w, NULL,
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use "
                "'spec.ingressClassName' instead");
}

static void warn_ip_block(struct warner *w, const struct vpath *p, const struct val *block)
{
    size_t i = 0;
    warn_cidr(w, AT(p, N_cidr), val_getstr(block, N_cidr));
    VAL_EACH (val_get(block, N_except), e)
        warn_cidr(w, ITEM(AT(p, N_except), i++), val_str(e));
}

static void warn_peers(struct warner *w, const struct val *v, name_id direction, name_id peers)
{
    size_t i = 0;
    VAL_EACH (val_at(v, N_spec, direction), rule) {
        const struct vpath *at = AT(ITEM(AT(AT(ROOT, N_spec), direction), i++), peers);
        for (size_t j = 0; j < val_len(val_get(rule, peers)); j++)
            warn_ip_block(w, AT(ITEM(at, j), N_ipBlock),
                          val_get(val_item(val_get(rule, peers), j), N_ipBlock));
    }
}

static void of_network_policy(struct warner *w, const struct val *v)
{
    warn_peers(w, v, N_ingress, N_from);
    warn_peers(w, v, N_egress, N_to);
}

static void of_service_account(struct warner *w, const struct val *v)
{
    const char *key = "kubernetes.io/enforce-mountable-secrets";
    if (!val_key(val_get(obj_meta(w->old), N_annotations), str_of(key)))
        warn_annotation(
            w, v, key,
            "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets");
}

static void of_resource_slice(struct warner *w, const struct val *v)
{
    struct str driver = val_str(val_at(v, N_spec, N_driver));
    for (size_t i = 0; i < driver.n; i++)
        if (driver.p[i] >= 'A' && driver.p[i] <= 'Z') {
            warn_at(w, NULL,
                    "spec.driver: driver names should be lowercase; \"" STR_FMT
                    "\" contains uppercase characters",
                    STR_ARG(driver));
            return;
        }
}

/* By group and plural: versions of a resource have the same warnings. */
static const struct {
    const char *group, *name;
    void (*fn)(struct warner *w, const struct val *v);
} kinds[] = {
    {"", "pods", of_pod},
    {"", "podtemplates", of_pod_template},
    {"", "replicationcontrollers", of_workload},
    {"", "services", of_service},
    {"", "endpoints", of_endpoints},
    {"", "nodes", of_node},
    {"", "persistentvolumes", of_volume},
    {"", "persistentvolumeclaims", of_claim},
    {"", "serviceaccounts", of_service_account},
    {"apps", "deployments", of_workload},
    {"apps", "replicasets", of_workload},
    {"apps", "statefulsets", of_stateful_set},
    {"apps", "daemonsets", warn_template},
    {"batch", "jobs", of_job},
    {"batch", "cronjobs", of_cron_job},
    {"discovery.k8s.io", "endpointslices", of_endpoint_slice},
    {"networking.k8s.io", "ingresses", of_ingress},
    {"networking.k8s.io", "networkpolicies", of_network_policy},
    {"node.k8s.io", "runtimeclasses", of_runtime_class},
    {"resource.k8s.io", "resourceslices", of_resource_slice},
    {"storage.k8s.io", "storageclasses", of_storage_class},
    {"storage.k8s.io", "csidrivers", of_csi_driver},
    {"storage.k8s.io", "csistoragecapacities", of_storage_capacity},
};

void object_warnings(const struct resource *r, const struct val *v, const struct val *old, warn_fn *warn,
                     void *arg)
{
    struct warner w = {.fn = warn, .arg = arg, .arena = ARENA_INIT, .old = old};
    for (size_t i = 0; r->type && i < ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].name, r->name) == 0 && strcmp(kinds[i].group, r->group) == 0)
            kinds[i].fn(&w, v);
    arena_done(&w.arena);
}
