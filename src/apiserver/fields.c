/* SPDX-License-Identifier: Apache-2.0 */
/* The fields one may select by, a line each. */
#include "apiserver/select.h"

#include <stdio.h>

#include "apiserver/custom.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

enum field_form { TEXT, BOOLEAN, NUMBER, EVENT_SOURCE };

struct selectable {
    uint16_t res; /* 0: every kind */
    uint8_t form;
    const char *label;
    name_id path[4];
};

#define REF(res, label, ref)                                                                             \
    {res, TEXT, label ".kind", {ref, N_kind}}, {res, TEXT, label ".namespace", {ref, N_namespace}},      \
        {res, TEXT, label ".name", {ref, N_name}}, {res, TEXT, label ".uid", {ref, N_uid}},              \
        {res, TEXT, label ".apiVersion", {ref, N_apiVersion}},                                           \
        {res, TEXT, label ".resourceVersion", {ref, N_resourceVersion}},                                 \
        {res, TEXT, label ".fieldPath", {ref, N_fieldPath}}

/* Paths are those of the stored form. */
static const struct selectable table[] = {
    {0, TEXT, "metadata.name", {N_metadata, N_name}},
    {0, TEXT, "metadata.namespace", {N_metadata, N_namespace}},
    {RES_PODS, TEXT, "spec.nodeName", {N_spec, N_nodeName}},
    {RES_PODS, TEXT, "spec.host", {N_spec, N_nodeName}},
    {RES_PODS, TEXT, "spec.restartPolicy", {N_spec, N_restartPolicy}},
    {RES_PODS, TEXT, "spec.schedulerName", {N_spec, N_schedulerName}},
    {RES_PODS, TEXT, "spec.serviceAccountName", {N_spec, N_serviceAccountName}},
    {RES_PODS, BOOLEAN, "spec.hostNetwork", {N_spec, N_hostNetwork}},
    {RES_PODS, TEXT, "status.phase", {N_status, N_phase}},
    {RES_PODS, TEXT, "status.podIP", {N_status, N_podIP}},
    {RES_PODS, TEXT, "status.podIPs", {N_status, N_podIP}},
    {RES_PODS, TEXT, "status.nominatedNodeName", {N_status, N_nominatedNodeName}},
    {RES_NODES, BOOLEAN, "spec.unschedulable", {N_spec, N_unschedulable}},
    {RES_NAMESPACES, TEXT, "status.phase", {N_status, N_phase}},
    {RES_NAMESPACES, TEXT, "name", {N_metadata, N_name}},
    {RES_SECRETS, TEXT, "type", {N_type}},
    {RES_SERVICES, TEXT, "spec.clusterIP", {N_spec, N_clusterIP}},
    {RES_SERVICES, TEXT, "spec.type", {N_spec, N_type}},
    {RES_REPLICATIONCONTROLLERS, NUMBER, "status.replicas", {N_status, N_replicas}},
    {RES_JOBS, NUMBER, "status.successful", {N_status, N_succeeded}},
    {RES_CERTIFICATESIGNINGREQUESTS, TEXT, "spec.signerName", {N_spec, N_signerName}},
    {RES_CLUSTERTRUSTBUNDLES, TEXT, "spec.signerName", {N_spec, N_signerName}},
    {RES_PODCERTIFICATEREQUESTS, TEXT, "spec.signerName", {N_spec, N_signerName}},
    {RES_PODCERTIFICATEREQUESTS, TEXT, "spec.podName", {N_spec, N_podName}},
    {RES_PODCERTIFICATEREQUESTS, TEXT, "spec.nodeName", {N_spec, N_nodeName}},
    {RES_RESOURCESLICES, TEXT, "spec.nodeName", {N_spec, N_nodeName}},
    {RES_RESOURCESLICES, TEXT, "spec.driver", {N_spec, N_driver}},
    REF(RES_EVENTS, "involvedObject", N_involvedObject),
    {RES_EVENTS, TEXT, "reason", {N_reason}},
    {RES_EVENTS, TEXT, "reportingComponent", {N_reportingComponent}},
    {RES_EVENTS, EVENT_SOURCE, "source", {N_source, N_component}},
    {RES_EVENTS, TEXT, "type", {N_type}},
    REF(RES_EVENTS_EVENTS_K8S_IO, "regarding", N_involvedObject),
    {RES_EVENTS_EVENTS_K8S_IO, TEXT, "reason", {N_reason}},
    {RES_EVENTS_EVENTS_K8S_IO, TEXT, "reportingController", {N_reportingComponent}},
    {RES_EVENTS_EVENTS_K8S_IO, TEXT, "type", {N_type}},
};

static const struct selectable *find(const struct resource *res, struct str path)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if ((!table[i].res || table[i].res == res->index) && str_is(path, table[i].label))
            return &table[i];
    return NULL;
}

bool field_selectable(const struct resource *res, struct str path)
{
    return find(res, path) != NULL || custom_selectable(res, path);
}

/* "spec.size" of a custom resource, as text. */
static struct str custom_field(const struct val *v, struct str path, char text[static 32])
{
    struct str name;
    while (str_next(&path, '.', &name))
        v = val_key(v, name);
    if (val_is(v, VAL_INT))
        snprintf(text, 32, "%lld", (long long)v->i);
    if (val_is(v, VAL_INT))
        return str_of(text);
    if (val_is(v, VAL_BOOL))
        return v->b ? STR("true") : STR("false");
    return val_str(v).p ? val_str(v) : STR("");
}

struct str field_value(const struct resource *res, const struct val *v, struct str path, char text[static 32])
{
    const struct selectable *f = find(res, path);
    if (!f)
        return custom_selectable(res, path) ? custom_field(v, path, text) : STR_NULL;
    const struct val *m = val_path(v, f->path);
    switch ((enum field_form)f->form) {
    case TEXT:
        break;
    case BOOLEAN:
        return val_bool(m, false) ? STR("true") : STR("false");
    case NUMBER:
        snprintf(text, 32, "%lld", (long long)val_int(m, 0));
        return str_of(text);
    case EVENT_SOURCE:
        return val_str(m).n ? val_str(m) : val_getstr(v, N_reportingComponent);
    }
    struct str s = val_str(m);
    return s.p ? s : STR("");
}
