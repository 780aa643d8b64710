/* SPDX-License-Identifier: Apache-2.0 */
#include "type/strategy.h"

#include "resources.h"

#define COUNTED (STRATEGY_GENERATION | STRATEGY_COUNT_SPEC)
#define COUNTED_BODY (STRATEGY_GENERATION | STRATEGY_COUNT_BODY)
#define VERSIONED STRATEGY_VERSIONED
#define UPSERT STRATEGY_CREATE_ON_UPDATE

static const struct strategy common = {0, check_subdomain};
/* Custom resources: their status is dealt with by whether they have the subresource. */
static const struct strategy custom = {VERSIONED | COUNTED_BODY, check_subdomain};

static const struct {
    uint16_t resource;
    struct strategy strategy;
} strategies[] = {
    {RES_APISERVICES, {VERSIONED, NULL}},
    {RES_CERTIFICATESIGNINGREQUESTS, {0, check_path_segment}},
    {RES_CLUSTERROLEBINDINGS, {UPSERT, check_path_segment}},
    {RES_CLUSTERROLES, {UPSERT, check_path_segment}},
    {RES_CLUSTERTRUSTBUNDLES, {VERSIONED, NULL}},
    {RES_CRONJOBS, {COUNTED, check_subdomain}},
    {RES_CSIDRIVERS, {VERSIONED, check_subdomain}},
    {RES_CSINODES, {VERSIONED, check_subdomain}},
    {RES_CSISTORAGECAPACITIES, {VERSIONED, check_subdomain}},
    {RES_CUSTOMRESOURCEDEFINITIONS, {VERSIONED | COUNTED, check_subdomain}},
    {RES_DAEMONSETS, {COUNTED, check_subdomain}},
    {RES_DEPLOYMENTS, {COUNTED | STRATEGY_COUNT_ANNOTATIONS, check_subdomain}},
    {RES_DEVICECLASSES, {COUNTED, check_subdomain}},
    {RES_DEVICETAINTRULES, {COUNTED, check_subdomain}},
    {RES_ENDPOINTS, {UPSERT, check_subdomain}},
    {RES_ENDPOINTSLICES, {COUNTED_BODY | STRATEGY_COUNT_LABELS, check_subdomain}},
    {RES_EVENTS, {UPSERT, check_path_segment}},
    {RES_EVENTS_EVENTS_K8S_IO, {UPSERT, check_subdomain}},
    {RES_FLOWSCHEMAS, {COUNTED, check_subdomain}},
    {RES_HORIZONTALPODAUTOSCALERS, {COUNTED, check_subdomain}},
    {RES_HORIZONTALPODAUTOSCALERS_V1, {COUNTED, check_subdomain}},
    {RES_INGRESSCLASSES, {COUNTED, check_subdomain}},
    {RES_INGRESSES, {COUNTED, check_subdomain}},
    {RES_IPADDRESSES, {0, check_ip}},
    {RES_JOBS, {COUNTED, check_subdomain}},
    {RES_LEASES, {VERSIONED | UPSERT, check_subdomain}},
    {RES_LIMITRANGES, {UPSERT, check_subdomain}},
    {RES_MUTATINGADMISSIONPOLICIES, {VERSIONED | COUNTED, check_subdomain}},
    {RES_MUTATINGADMISSIONPOLICYBINDINGS, {VERSIONED | COUNTED, check_subdomain}},
    {RES_MUTATINGWEBHOOKCONFIGURATIONS, {VERSIONED | COUNTED_BODY, check_subdomain}},
    {RES_NAMESPACES, {0, check_label_of_dns}},
    {RES_NETWORKPOLICIES, {COUNTED, check_subdomain}},
    {RES_NODES, {STRATEGY_KEEP_STATUS, check_subdomain}},
    {RES_PODCERTIFICATEREQUESTS, {VERSIONED, check_subdomain}},
    {RES_PODDISRUPTIONBUDGETS, {VERSIONED | COUNTED, check_path_segment}},
    {RES_PODS, {COUNTED, check_subdomain}},
    {RES_PODTEMPLATES, {COUNTED_BODY, check_subdomain}},
    {RES_PRIORITYCLASSES, {STRATEGY_GENERATION, check_subdomain}},
    {RES_PRIORITYLEVELCONFIGURATIONS, {COUNTED, check_subdomain}},
    {RES_REPLICASETS, {COUNTED, check_subdomain}},
    {RES_REPLICATIONCONTROLLERS, {COUNTED, check_subdomain}},
    {RES_RESOURCESLICES, {COUNTED, check_subdomain}},
    {RES_ROLEBINDINGS, {UPSERT, check_path_segment}},
    {RES_ROLES, {UPSERT, check_path_segment}},
    {RES_RUNTIMECLASSES, {VERSIONED | UPSERT, check_subdomain}},
    {RES_SERVICES, {UPSERT, check_label_of_dns}},
    {RES_STATEFULSETS, {COUNTED, check_label_of_dns}},
    {RES_STORAGEVERSIONMIGRATIONS, {VERSIONED, check_subdomain}},
    {RES_VALIDATINGADMISSIONPOLICIES, {VERSIONED | COUNTED, check_subdomain}},
    {RES_VALIDATINGADMISSIONPOLICYBINDINGS, {VERSIONED | COUNTED, check_subdomain}},
    {RES_VALIDATINGWEBHOOKCONFIGURATIONS, {VERSIONED | COUNTED_BODY, check_subdomain}},
    {RES_VOLUMEATTACHMENTS, {VERSIONED, check_subdomain}},
};

const struct strategy *resource_strategy(const struct resource *r)
{
    if (r->index >= n_resources)
        return &custom;
    for (size_t i = 0; i < ARRAY_SIZE(strategies); i++)
        if (strategies[i].resource == r->index)
            return &strategies[i].strategy;
    return &common;
}
