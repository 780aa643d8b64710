/* SPDX-License-Identifier: Apache-2.0 */
/* The smaller kinds; and the fallback, which tells whatever an object holds. */
#include "cli/describe.h"

#include "auth/x509.h"
#include "base/base64.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"


/* ---- namespaces, quotas, limits -------------------------------------------------------------------------------- */

static const struct {
    const char *scope, *help;
} scope_helps[] = {
    {"Terminating", "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being "
                    "actively terminated by the system."},
    {"NotTerminating", "Matches all pods that do not have an active deadline. These pods usually include long running pods whose "
                       "container command is not expected to terminate."},
    {"BestEffort", "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service."},
    {"NotBestEffort", "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed "
                      "quality of service."},
};

static void put_quota(struct desc *d, unsigned level, const struct val *v, const char *bullet, const char *dashes)
{
    const struct val *scopes = val_at(v, N_spec, N_scopes), *used = val_at(v, N_status, N_used);
    if (val_len(scopes))
        desc_put(d, level, "Scopes:\t" STR_FMT "\n", STR_ARG(desc_join(d, scopes, ", ")));
    VAL_EACH(scopes, s)
    for (size_t i = 0; i < ARRAY_SIZE(scope_helps); i++)
        if (str_is(val_str(s), scope_helps[i].scope))
            desc_put(d, level, "%s%s\n", bullet, scope_helps[i].help);
    desc_put(d, level, "Resource\tUsed\tHard\n");
    desc_put(d, level, "--------\t%s\t%s\n", dashes, dashes);
    VAL_EACH_ENTRY(val_at(v, N_status, N_hard), k, hard)
    {
        struct str have = val_str(val_key(used, val_str(k)));
        desc_put(d, level, STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", STR_ARG(val_str(k)), STR_ARG(have.n ? have : STR("0")),
                 STR_ARG(val_str(hard)));
    }
}

static void describe_quota(struct desc *d, const struct info *i)
{
    desc_put(d, 0, "Name:\t" STR_FMT "\nNamespace:\t" STR_FMT "\n", STR_ARG(i->name), STR_ARG(i->ns));
    put_quota(d, 0, i->v, " * ", "----");
}

static void put_limits(struct desc *d, const struct val *limits, const char *prefix)
{
    static const name_id columns[] = {N_min, N_max, N_defaultRequest, N_default, N_maxLimitRequestRatio};
    VAL_EACH(limits, item)
    {
        struct map seen = MAP_INIT;
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
            DESC_EACH_KEY(val_get(item, columns[i]), k)
                map_put(&seen, val_str(k), d);
        MAP_EACH(&seen, e)
        {
            desc_put(d, 0, "%s" STR_FMT "\t" STR_FMT, prefix, STR_ARG(val_getstr(item, N_type)), STR_ARG(e->key));
            for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
                struct str text = val_str(val_key(val_get(item, columns[i]), e->key));
                desc_put(d, 0, "\t" STR_FMT, STR_ARG(text.n ? text : STR("-")));
            }
            desc_put(d, 0, "\n");
        }
        map_done(&seen);
    }
}

static void put_limit_titles(struct desc *d, const char *prefix)
{
    desc_put(d, 0, "%sType\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio\n", prefix);
    desc_put(d, 0, "%s----\t--------\t---\t---\t---------------\t-------------\t-----------------------\n", prefix);
}

static void describe_limits(struct desc *d, const struct info *i)
{
    desc_put(d, 0, "Name:\t" STR_FMT "\nNamespace:\t" STR_FMT "\n", STR_ARG(i->name), STR_ARG(i->ns));
    put_limit_titles(d, "");
    put_limits(d, val_at(i->v, N_spec, N_limits), "");
}

static void put_timed_conditions(struct desc *d, const struct val *conditions)
{
    if (!val_len(conditions))
        return;
    desc_put(d, 0, "Conditions:\n");
    desc_put(d, 1, "Type\tStatus\tLastTransitionTime\tReason\tMessage\n");
    desc_put(d, 1, "----\t------\t------------------\t------\t-------\n");
    VAL_EACH(conditions, c)
    {
        desc_put(d, 1, STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", STR_ARG(val_getstr(c, N_type)),
                 STR_ARG(val_getstr(c, N_status)), STR_ARG(desc_time(d, val_get(c, N_lastTransitionTime))),
                 STR_ARG(val_getstr(c, N_reason)), STR_ARG(val_getstr(c, N_message)));
    }
}

static void describe_namespace(struct desc *d, const struct info *i)
{
    struct status s;
    struct val *quotas = NULL, *limits = NULL;
    desc_rows(d, i->v, desc_meta_rows);
    desc_put(d, 0, "Status:\t" STR_FMT "\n", STR_ARG(val_str(val_at(i->v, N_status, N_phase))));
    put_timed_conditions(d, val_at(i->v, N_status, N_conditions));
    if (request_list(d->c, kind_at(d->c, RES_RESOURCEQUOTAS), i->name, STR_NULL, &quotas, &s) == 0) {
        desc_put(d, 0, "\n%s\n", val_len(val_get(quotas, N_items)) ? "Resource Quotas" : "No resource quota.");
        VAL_EACH(val_get(quotas, N_items), q)
        {
            desc_put(d, 1, "Name:\t" STR_FMT "\n", STR_ARG(obj_name(q)));
            put_quota(d, 1, q, "* ", "---");
        }
    }
    if (request_list(d->c, kind_at(d->c, RES_LIMITRANGES), i->name, STR_NULL, &limits, &s) == 0) {
        bool any = val_len(val_get(limits, N_items)) > 0;
        desc_put(d, 0, "\n%s\n", any ? "Resource Limits" : "No LimitRange resource.");
        if (any)
            put_limit_titles(d, " ");
        VAL_EACH(val_get(limits, N_items), l)
        {
            put_limits(d, val_at(l, N_spec, N_limits), " ");
        }
    }
}

/* ---- configuration ------------------------------------------------------------------------------------------------ */

static void describe_config_map(struct desc *d, const struct info *i)
{
    struct str bytes;
    desc_rows(d, i->v, desc_meta_rows);
    desc_put(d, 0, "\nData\n====\n");
    VAL_EACH_ENTRY(val_get(i->v, N_data), k, v)
    {
        desc_put(d, 0, STR_FMT ":\n----\n" STR_FMT "\n\n", STR_ARG(val_str(k)), STR_ARG(val_str(v)));
    }
    desc_put(d, 0, "\nBinaryData\n====\n");
    VAL_EACH_ENTRY(val_get(i->v, N_binaryData), k, v)
    {
        struct buf b CLEANUP_BUF = BUF_INIT;
        base64_take(&b, val_str(v));
        bytes = buf_str(&b);
        desc_put(d, 0, STR_FMT ": %zu bytes\n", STR_ARG(val_str(k)), bytes.n);
    }
    desc_put(d, 0, "\n");
    desc_events(d, i);
}

static void describe_secret(struct desc *d, const struct info *i)
{
    bool token = str_is(val_getstr(i->v, N_type), "kubernetes.io/service-account-token");
    desc_rows(d, i->v, desc_meta_rows);
    desc_put(d, 0, "\nType:\t" STR_FMT "\n", STR_ARG(val_getstr(i->v, N_type)));
    desc_put(d, 0, "\nData\n====\n");
    VAL_EACH_ENTRY(val_get(i->v, N_data), k, v)
    {
        struct buf b CLEANUP_BUF = BUF_INIT;
        base64_take(&b, val_str(v));
        if (token && str_is(val_str(k), "token"))
            desc_put(d, 0, STR_FMT ":\t" STR_FMT "\n", STR_ARG(val_str(k)), STR_ARG(buf_str(&b)));
        else
            desc_put(d, 0, STR_FMT ":\t%zu bytes\n", STR_ARG(val_str(k)), b.n);
    }
}

static void describe_service_account(struct desc *d, const struct info *i)
{
    const struct val *pulls = val_get(i->v, N_imagePullSecrets);
    const char *title = "Image pull secrets:";
    desc_rows(d, i->v, desc_meta_rows);
    if (!val_len(pulls))
        desc_put(d, 0, "%s\t<none>\n", title);
    VAL_EACH(pulls, v)
    {
        desc_put(d, 0, "%s\t" STR_FMT "\n", title, STR_ARG(val_getstr(v, N_name)));
        title = "                   ";
    }
    desc_events(d, i);
}

/* ---- storage ------------------------------------------------------------------------------------------------------- */

static void put_users(struct desc *d, const struct info *i)
{
    struct status s;
    struct val *list = NULL;
    bool first = true;
    desc_put(d, 0, "Used By:\t");
    if (request_list(d->c, kind_at(d->c, RES_PODS), i->ns, STR_NULL, &list, &s) == 0)
        VAL_EACH(val_get(list, N_items), pod)
            VAL_EACH(val_at(pod, N_spec, N_volumes), v)
            {
                if (!str_eq(val_str(val_at(v, N_persistentVolumeClaim, N_claimName)), i->name))
                    continue;
                desc_put(d, 0, "%s" STR_FMT "\n", first ? "" : "\t", STR_ARG(obj_name(pod)));
                first = false;
            }
    if (first)
        desc_put(d, 0, "<none>\n");
}

static void describe_claim(struct desc *d, const struct info *i)
{
    desc_claim(d, i->v, true, 0);
    put_users(d, i);
    put_timed_conditions(d, val_at(i->v, N_status, N_conditions));
    desc_events(d, i);
}

static void put_terms(struct desc *d, const struct val *terms, name_id expressions, unsigned level)
{
    size_t at = 0;
    VAL_EACH(terms, t)
    {
        bool first = true;
        desc_put(d, level, "Term %zu:\t%s", at++, val_len(val_get(t, expressions)) ? "" : "<none>\n");
        VAL_EACH(val_get(t, expressions), e)
        {
            struct str op = val_getstr(e, N_operator), values = desc_join(d, val_get(e, N_values), ", ");
            if (!first)
                desc_put(d, level, "\t");
            first = false;
            desc_put(d, 0, STR_FMT " " STR_FMT, STR_ARG(val_getstr(e, N_key)), STR_ARG(op.n ? desc_lower(d, op) : STR("in")));
            desc_put(d, 0, values.n ? " [" STR_FMT "]\n" : STR_FMT "\n", STR_ARG(values));
        }
    }
}

static void describe_volume(struct desc *d, const struct info *i)
{
    const struct val *v = i->v, *spec = val_get(v, N_spec), *claim = val_get(spec, N_claimRef);
    const struct val *terms = val_at(spec, N_nodeAffinity, N_required, N_nodeSelectorTerms);
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_labels(d, "", "Labels", obj_labels(v));
    desc_annotations(d, "Annotations", val_at(v, N_metadata, N_annotations));
    desc_put(d, 0, "Finalizers:\t[" STR_FMT "]\n", STR_ARG(desc_join(d, val_at(v, N_metadata, N_finalizers), " ")));
    desc_put(d, 0, "StorageClass:\t" STR_FMT "\n", STR_ARG(val_getstr(spec, N_storageClassName)));
    if (obj_deleting(v))
        desc_put(d, 0, "Status:\tTerminating (lasts " STR_FMT ")\n",
                 STR_ARG(desc_age(d, val_at(v, N_metadata, N_deletionTimestamp))));
    else
        desc_put(d, 0, "Status:\t" STR_FMT "\n", STR_ARG(val_str(val_at(v, N_status, N_phase))));
    desc_put(d, 0, "Claim:\t" STR_FMT "%s" STR_FMT "\n", STR_ARG(val_getstr(claim, N_namespace)), claim ? "/" : "",
             STR_ARG(val_getstr(claim, N_name)));
    desc_put(d, 0, "Reclaim Policy:\t" STR_FMT "\n", STR_ARG(val_getstr(spec, N_persistentVolumeReclaimPolicy)));
    desc_put(d, 0, "Access Modes:\t" STR_FMT "\n", STR_ARG(access_modes(d, val_get(spec, N_accessModes))));
    if (val_get(spec, N_volumeMode))
        desc_put(d, 0, "VolumeMode:\t" STR_FMT "\n", STR_ARG(val_getstr(spec, N_volumeMode)));
    desc_put(d, 0, "Capacity:\t" STR_FMT "\n", STR_ARG(val_str(val_key(val_get(spec, N_capacity), STR("storage")))));
    desc_put(d, 0, "Node Affinity:\t%s\n", terms ? "" : "<none>");
    if (terms) {
        desc_put(d, 1, "Required Terms:\t%s\n", val_len(terms) ? "" : "<none>");
        put_terms(d, terms, N_matchExpressions, 2);
    }
    desc_put(d, 0, "Message:\t" STR_FMT "\n", STR_ARG(val_str(val_at(v, N_status, N_message))));
    desc_put(d, 0, "Source:\n");
    desc_volume_source(d, spec, true);
    desc_events(d, i);
}

static void describe_storage_class(struct desc *d, const struct info *i)
{
    static const struct desc_row rows[] = {{0, "Annotations:", ROW_PAIRS, AT(N_metadata, N_annotations), "<none>"},
                                           {0, "Provisioner:", ROW_TEXT, AT(N_provisioner), ""},
                                           {0, "Parameters:", ROW_PAIRS, AT(N_parameters), "<none>"},
                                           {0, "AllowVolumeExpansion:", ROW_BOOL, AT(N_allowVolumeExpansion), "<unset>"},
                                           {0}};
    static const struct desc_row more[] = {{0, "ReclaimPolicy:", ROW_TEXT, AT(N_reclaimPolicy), NULL},
                                           {0, "VolumeBindingMode:", ROW_TEXT, AT(N_volumeBindingMode), NULL},
                                           {0}};
    const struct val *mounts = val_get(i->v, N_mountOptions), *topologies = val_get(i->v, N_allowedTopologies);
    bool def = str_is(obj_annotation(i->v, STR("storageclass.kubernetes.io/is-default-class")), "true");
    desc_put(d, 0, "Name:\t" STR_FMT "\nIsDefaultClass:\t%s\n", STR_ARG(i->name), def ? "Yes" : "No");
    desc_rows(d, i->v, rows);
    desc_put(d, 0, "MountOptions:%s\n", val_len(mounts) ? "" : "\t<none>");
    VAL_EACH(mounts, m)
    {
        desc_put(d, 1, STR_FMT "\n", STR_ARG(val_str(m)));
    }
    desc_rows(d, i->v, more);
    if (topologies) {
        desc_put(d, 0, "AllowedTopologies:\t\n");
        put_terms(d, topologies, N_matchLabelExpressions, 1);
    }
    desc_events(d, i);
}

/* ---- policy and priority ------------------------------------------------------------------------------------------- */

static void describe_budget(struct desc *d, const struct info *i)
{
    const struct val *spec = val_get(i->v, N_spec), *min = val_get(spec, N_minAvailable), *max = val_get(spec, N_maxUnavailable);
    static const struct desc_row rows[] = {{0, "Selector:", ROW_SELECTOR, AT(N_spec, N_selector), "<unset>"},
                                           {0, "Status:", ROW_TITLE, AT(N_metadata), ""},
                                           {2, "Allowed disruptions:", ROW_TEXT, AT(N_status, N_disruptionsAllowed), "0"},
                                           {2, "Current:", ROW_TEXT, AT(N_status, N_currentHealthy), "0"},
                                           {2, "Desired:", ROW_TEXT, AT(N_status, N_desiredHealthy), "0"},
                                           {2, "Total:", ROW_TEXT, AT(N_status, N_expectedPods), "0"},
                                           {0}};
    desc_put(d, 0, "Name:\t" STR_FMT "\nNamespace:\t" STR_FMT "\n", STR_ARG(i->name), STR_ARG(i->ns));
    if (min || max)
        desc_put(d, 0, "%s:\t" STR_FMT "\n", min ? "Min available" : "Max unavailable", STR_ARG(desc_text(d, min ? min : max)));
    desc_rows(d, i->v, rows);
    desc_events(d, i);
}

static void describe_priority(struct desc *d, const struct info *i)
{
    static const struct desc_row rows[] = {{0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
                                           {0, "Value:", ROW_TEXT, AT(N_value), "0"},
                                           {0, "GlobalDefault:", ROW_TEXT, AT(N_globalDefault), "false"},
                                           {0, "PreemptionPolicy:", ROW_TEXT, AT(N_preemptionPolicy), ""},
                                           {0, "Description:", ROW_TEXT, AT(N_description), ""},
                                           {0, "Annotations:", ROW_PAIRS, AT(N_metadata, N_annotations), "<none>"},
                                           {0}};
    desc_rows(d, i->v, rows);
    desc_events(d, i);
}

/* ---- signing requests --------------------------------------------------------------------------------------------- */

static void put_names(struct desc *d, const char *title, const char *const *names)
{
    for (bool first = true; names && *names; names++, first = false)
        desc_put(d, 0, "\t%s\t%s\n", first ? title : "", *names);
}

static const char *csr_state(const struct val *v)
{
    const struct val *conditions = val_at(v, N_status, N_conditions);
    bool issued = val_str(val_at(v, N_status, N_certificate)).n > 0, failed = condition_find(conditions, STR("Failed")) != NULL;
    if (condition_find(conditions, STR("Denied")))
        return "Denied";
    if (condition_find(conditions, STR("Approved")))
        return failed ? "Approved,Failed" : issued ? "Approved,Issued" : "Approved";
    return failed ? "Pending,Failed" : "Pending";
}

static void describe_csr(struct desc *d, const struct info *i)
{
    struct buf pem CLEANUP_BUF = BUF_INIT;
    struct x509_csr csr = {0};
    struct err e = {0};
    static const struct desc_row rows[] = {{0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
                                           {0, "Labels:", ROW_PAIRS, AT(N_metadata, N_labels), "<none>"},
                                           {0, "Annotations:", ROW_PAIRS, AT(N_metadata, N_annotations), "<none>"},
                                           {0, "CreationTimestamp:", ROW_TIME, AT(N_metadata, N_creationTimestamp), ""},
                                           {0, "Requesting User:", ROW_TEXT, AT(N_spec, N_username), ""},
                                           {0, "Signer:", ROW_TEXT, AT(N_spec, N_signerName), NULL},
                                           {0, "Requested Duration:", ROW_SECONDS, AT(N_spec, N_expirationSeconds), NULL},
                                           {0}};
    desc_rows(d, i->v, rows);
    desc_put(d, 0, "Status:\t%s\n", csr_state(i->v));
    base64_take(&pem, val_str(val_at(i->v, N_spec, N_request)));
    if (x509_csr_parse(&d->c->a, buf_str(&pem), &csr, &e) < 0) {
        desc_put(d, 0, "Subject:\t<error: %s>\n", e.text);
        return;
    }
    desc_put(d, 0, "Subject:\n\tCommon Name:\t%s\n\tSerial Number:\t\n", csr.names.cn ? csr.names.cn : "");
    put_names(d, "Organization:", csr.names.orgs);
    if ((csr.names.dns && *csr.names.dns) || (csr.names.ips && *csr.names.ips) || (csr.names.uris && *csr.names.uris))
        desc_put(d, 0, "Subject Alternative Names:\n");
    put_names(d, "DNS Names:", csr.names.dns);
    put_names(d, "Email Addresses:", csr.names.emails);
    put_names(d, "URIs:", csr.names.uris);
    put_names(d, "IP Addresses:", csr.names.ips);
    x509_csr_done(&csr);
    desc_events(d, i);
}

const struct describer describe_other[] = {
    {RES_NAMESPACES, describe_namespace},
    {RES_RESOURCEQUOTAS, describe_quota},
    {RES_LIMITRANGES, describe_limits},
    {RES_CONFIGMAPS, describe_config_map},
    {RES_SECRETS, describe_secret},
    {RES_SERVICEACCOUNTS, describe_service_account},
    {RES_PERSISTENTVOLUMECLAIMS, describe_claim},
    {RES_PERSISTENTVOLUMES, describe_volume},
    {RES_STORAGECLASSES, describe_storage_class},
    {RES_PODDISRUPTIONBUDGETS, describe_budget},
    {RES_PRIORITYCLASSES, describe_priority},
    {RES_CERTIFICATESIGNINGREQUESTS, describe_csr},
    {0},
};
