/* SPDX-License-Identifier: Apache-2.0 */
/* What makes pods. */
#include "cli/describe.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/selector.h"

static int64_t number(const struct val *v, name_id part, name_id name)
{
    return val_int(val_at(v, part, name), 0);
}

/* ---- deployments ---------------------------------------------------------------------------------------------- */

static const struct desc_row deployment_rows[] = {
    {0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
    {0, "Namespace:", ROW_TEXT, AT(N_metadata, N_namespace), ""},
    {0, "CreationTimestamp:", ROW_TIME, AT(N_metadata, N_creationTimestamp), ""},
    {0, "Labels", ROW_LABELS, AT(N_metadata, N_labels), NULL},
    {0, "Annotations", ROW_ANNOTATIONS, AT(N_metadata, N_annotations), NULL},
    {0, "Selector:", ROW_SELECTOR, AT(N_spec, N_selector), ""},
    {0},
};

struct replica_sets {
    struct buf old, new_;
};

/* The newest is the one whose template is the deployment's: it bears the highest revision. */
static void sort_replica_sets(struct desc *d, const struct info *i, struct replica_sets *ret)
{
    struct val *list = NULL;
    struct status s;
    struct str query = query_with(d->c, STR_NULL, "labelSelector", desc_selector(d, val_at(i->v, N_spec, N_selector)));
    struct str current = obj_annotation(i->v, STR("deployment.kubernetes.io/revision"));
    if (request_list(d->c, kind_at(d->c, RES_REPLICASETS), i->ns, query, &list, &s))
        return;
    VAL_EACH(val_get(list, N_items), rs)
    {
        if (!obj_controlled_by(rs, obj_uid(i->v)))
            continue;
        bool is_new = str_eq(obj_annotation(rs, STR("deployment.kubernetes.io/revision")), current);
        int64_t have = number(rs, N_status, N_replicas), want = number(rs, N_spec, N_replicas);
        struct buf *b = is_new ? &ret->new_ : &ret->old;
        buf_printf(b, "%s" STR_FMT " (%lld/%lld replicas created)", b->n ? ", " : "", STR_ARG(obj_name(rs)), (long long)have,
                   (long long)want);
    }
}

static void describe_deployment(struct desc *d, const struct info *i)
{
    const struct val *v = i->v, *ru = val_at(v, N_spec, N_strategy, N_rollingUpdate);
    struct replica_sets sets = {BUF_INIT, BUF_INIT};
    desc_rows(d, v, deployment_rows);
    desc_put(d, 0, "Replicas:\t%lld desired | %lld updated | %lld total | %lld available | %lld unavailable\n",
             (long long)number(v, N_spec, N_replicas), (long long)number(v, N_status, N_updatedReplicas),
             (long long)number(v, N_status, N_replicas), (long long)number(v, N_status, N_availableReplicas),
             (long long)number(v, N_status, N_unavailableReplicas));
    desc_put(d, 0, "StrategyType:\t" STR_FMT "\n", STR_ARG(val_str(val_at(v, N_spec, N_strategy, N_type))));
    desc_put(d, 0, "MinReadySeconds:\t%lld\n", (long long)number(v, N_spec, N_minReadySeconds));
    if (ru)
        desc_put(d, 0, "RollingUpdateStrategy:\t" STR_FMT " max unavailable, " STR_FMT " max surge\n",
                 STR_ARG(desc_text(d, val_get(ru, N_maxUnavailable))), STR_ARG(desc_text(d, val_get(ru, N_maxSurge))));
    desc_pod_template(d, val_at(v, N_spec, N_template));
    desc_conditions(d, val_at(v, N_status, N_conditions));
    sort_replica_sets(d, i, &sets);
    if (sets.old.n || sets.new_.n) {
        desc_put(d, 0, "OldReplicaSets:\t%s\n", sets.old.n ? sets.old.p : "<none>");
        desc_put(d, 0, "NewReplicaSet:\t%s\n", sets.new_.n ? sets.new_.p : "<none>");
    }
    buf_done(&sets.old);
    buf_done(&sets.new_);
    desc_events(d, i);
}

/* ---- replica sets and controllers --------------------------------------------------------------------------------- */

static void describe_replicas(struct desc *d, const struct info *i, struct str selector)
{
    const struct val *v = i->v;
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_put(d, 0, "Namespace:\t" STR_FMT "\n", STR_ARG(i->ns));
    desc_put(d, 0, "Selector:\t" STR_FMT "\n", STR_ARG(selector));
    desc_labels(d, "", "Labels", obj_labels(v));
    desc_annotations(d, "Annotations", val_at(v, N_metadata, N_annotations));
    static const struct desc_row control[] = {{0, "Controlled By:", ROW_CONTROLLER, AT(0), NULL}, {0}};
    desc_rows(d, v, control);
    desc_put(d, 0, "Replicas:\t%lld current / %lld desired\n", (long long)number(v, N_status, N_replicas),
             (long long)number(v, N_spec, N_replicas));
    desc_put(d, 0, "Pods Status:\t" STR_FMT "\n", STR_ARG(desc_pods_status(d, i)));
    desc_pod_template(d, val_at(v, N_spec, N_template));
    desc_conditions(d, val_at(v, N_status, N_conditions));
    desc_events(d, i);
}

static void describe_replica_set(struct desc *d, const struct info *i)
{
    describe_replicas(d, i, desc_selector(d, val_at(i->v, N_spec, N_selector)));
}

static void describe_rc(struct desc *d, const struct info *i)
{
    describe_replicas(d, i, desc_pairs(d, val_at(i->v, N_spec, N_selector)));
}

/* ---- daemon sets --------------------------------------------------------------------------------------------------- */

static void describe_daemon_set(struct desc *d, const struct info *i)
{
    static const struct {
        const char *title;
        name_id name;
    } counts[] = {{"Desired Number of Nodes Scheduled", N_desiredNumberScheduled},
                  {"Current Number of Nodes Scheduled", N_currentNumberScheduled},
                  {"Number of Nodes Scheduled with Up-to-date Pods", N_updatedNumberScheduled},
                  {"Number of Nodes Scheduled with Available Pods", N_numberAvailable},
                  {"Number of Nodes Misscheduled", N_numberMisscheduled}};
    const struct val *v = i->v;
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_put(d, 0, "Namespace:\t" STR_FMT "\n", STR_ARG(i->ns));
    desc_put(d, 0, "Selector:\t" STR_FMT "\n", STR_ARG(desc_selector(d, val_at(v, N_spec, N_selector))));
    desc_put(d, 0, "Node-Selector:\t" STR_FMT "\n", STR_ARG(desc_pairs(d, val_at(v, N_spec, N_template, N_spec, N_nodeSelector))));
    desc_labels(d, "", "Labels", obj_labels(v));
    desc_annotations(d, "Annotations", val_at(v, N_metadata, N_annotations));
    for (size_t k = 0; k < ARRAY_SIZE(counts); k++)
        desc_put(d, 0, "%s: %lld\n", counts[k].title, (long long)number(v, N_status, counts[k].name));
    desc_put(d, 0, "Pods Status:\t" STR_FMT "\n", STR_ARG(desc_pods_status(d, i)));
    desc_pod_template(d, val_at(v, N_spec, N_template));
    desc_events(d, i);
}

/* ---- stateful sets ---------------------------------------------------------------------------------------------------- */

static const struct desc_row stateful_rows[] = {
    {0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
    {0, "Namespace:", ROW_TEXT, AT(N_metadata, N_namespace), ""},
    {0, "CreationTimestamp:", ROW_TIME, AT(N_metadata, N_creationTimestamp), ""},
    {0, "Selector:", ROW_SELECTOR, AT(N_spec, N_selector), ""},
    {0, "Labels", ROW_LABELS, AT(N_metadata, N_labels), NULL},
    {0, "Annotations", ROW_ANNOTATIONS, AT(N_metadata, N_annotations), NULL},
    {0, "Service Name:", ROW_TEXT, AT(N_spec, N_serviceName), NULL},
    {0, "Pod Management Policy:", ROW_TEXT, AT(N_spec, N_podManagementPolicy), NULL},
    {0},
};
static const struct desc_row update_rows[] = {
    {0, "Update Strategy:", ROW_TEXT, AT(N_spec, N_updateStrategy, N_type), ""},
    {1, "Partition:", ROW_TEXT, AT(N_spec, N_updateStrategy, N_rollingUpdate, N_partition), NULL},
    {1, "MaxUnavailable:", ROW_TEXT, AT(N_spec, N_updateStrategy, N_rollingUpdate, N_maxUnavailable), NULL},
    {0, "Persistent Volume Claim Retention Policy:", ROW_TITLE, AT(N_spec, N_persistentVolumeClaimRetentionPolicy), NULL},
    {1, "WhenDeleted:", ROW_TEXT, AT(N_spec, N_persistentVolumeClaimRetentionPolicy, N_whenDeleted), NULL},
    {1, "WhenScaled:", ROW_TEXT, AT(N_spec, N_persistentVolumeClaimRetentionPolicy, N_whenScaled), NULL},
    {0},
};

static void put_claims(struct desc *d, const struct val *claims)
{
    desc_put(d, 0, "Volume Claims:%s\n", val_len(claims) ? "" : "\t<none>");
    VAL_EACH(claims, v)
    {
        struct str size = val_str(val_key(val_at(v, N_spec, N_resources, N_requests), STR("storage")));
        desc_put(d, 1, "Name:\t" STR_FMT "\n", STR_ARG(obj_name(v)));
        desc_put(d, 1, "StorageClass:\t" STR_FMT "\n", STR_ARG(val_str(val_at(v, N_spec, N_storageClassName))));
        desc_labels(d, "  ", "Labels", obj_labels(v));
        desc_labels(d, "  ", "Annotations", val_at(v, N_metadata, N_annotations));
        desc_put(d, 1, "Capacity:\t" STR_FMT "\n", STR_ARG(size.n ? size : STR("<default>")));
        desc_put(d, 1, "Access Modes:\t[" STR_FMT "]\n", STR_ARG(desc_join(d, val_at(v, N_spec, N_accessModes), " ")));
    }
}

static void describe_stateful_set(struct desc *d, const struct info *i)
{
    const struct val *v = i->v;
    desc_rows(d, v, stateful_rows);
    desc_put(d, 0, "Replicas:\t%lld desired | %lld total\n", (long long)number(v, N_spec, N_replicas),
             (long long)number(v, N_status, N_replicas));
    desc_rows(d, v, update_rows);
    desc_put(d, 0, "Pods Status:\t" STR_FMT "\n", STR_ARG(desc_pods_status(d, i)));
    desc_pod_template(d, val_at(v, N_spec, N_template));
    put_claims(d, val_at(v, N_spec, N_volumeClaimTemplates));
    desc_events(d, i);
}

/* ---- jobs ------------------------------------------------------------------------------------------------------------- */

static const struct desc_row job_rows[] = {
    {0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
    {0, "Namespace:", ROW_TEXT, AT(N_metadata, N_namespace), ""},
    {0, "Selector:", ROW_SELECTOR, AT(N_spec, N_selector), ""},
    {0, "Labels", ROW_LABELS, AT(N_metadata, N_labels), NULL},
    {0, "Annotations", ROW_ANNOTATIONS, AT(N_metadata, N_annotations), NULL},
    {0, "Controlled By:", ROW_CONTROLLER, AT(0), NULL},
    {0, "Parallelism:", ROW_TEXT, AT(N_spec, N_parallelism), NULL},
    {0, "Completions:", ROW_TEXT, AT(N_spec, N_completions), "<unset>"},
    {0, "Completion Mode:", ROW_TEXT, AT(N_spec, N_completionMode), NULL},
    {0, "Suspend:", ROW_TEXT, AT(N_spec, N_suspend), NULL},
    {0, "Backoff Limit:", ROW_TEXT, AT(N_spec, N_backoffLimit), NULL},
    {0, "TTL Seconds After Finished:", ROW_TEXT, AT(N_spec, N_ttlSecondsAfterFinished), NULL},
    {0, "Start Time:", ROW_TIME, AT(N_status, N_startTime), NULL},
    {0, "Completed At:", ROW_TIME, AT(N_status, N_completionTime), NULL},
    {0},
};
static const struct desc_row job_deadline[] = {
    {0, "Active Deadline Seconds:", ROW_SECONDS, AT(N_spec, N_activeDeadlineSeconds), NULL}, {0}};

enum { INDEXES_SHOWN = 50 };

static struct str shown_indexes(struct desc *d, struct str indexes)
{
    size_t at = INDEXES_SHOWN;
    while (at < indexes.n && indexes.p[at] != ',')
        at++;
    if (!indexes.n)
        return STR("<none>");
    return at >= indexes.n ? indexes : cli_printf(d->c, STR_FMT "...", STR_ARG(str_slice(indexes, 0, at + 1)));
}

static void describe_job(struct desc *d, const struct info *i)
{
    const struct val *v = i->v, *status = val_get(v, N_status), *start = val_get(status, N_startTime);
    const struct val *end = val_get(status, N_completionTime), *ready = val_get(status, N_ready);
    char text[TIME_TEXT_MAX];
    desc_rows(d, v, job_rows);
    if (start && end)
        desc_put(d, 0, "Duration:\t%s\n", duration_human(val_time(end).ns - val_time(start).ns, text));
    desc_rows(d, v, job_deadline);
    desc_put(d, 0, "Pods Statuses:\t%lld Active", (long long)number(v, N_status, N_active));
    if (ready)
        desc_put(d, 0, " (%lld Ready)", (long long)val_int(ready, 0));
    desc_put(d, 0, " / %lld Succeeded / %lld Failed\n", (long long)number(v, N_status, N_succeeded),
             (long long)number(v, N_status, N_failed));
    if (str_is(val_str(val_at(v, N_spec, N_completionMode)), "Indexed"))
        desc_put(d, 0, "Completed Indexes:\t" STR_FMT "\n", STR_ARG(shown_indexes(d, val_getstr(status, N_completedIndexes))));
    desc_pod_template(d, val_at(v, N_spec, N_template));
    desc_events(d, i);
}

static const struct desc_row cron_rows[] = {
    {0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
    {0, "Namespace:", ROW_TEXT, AT(N_metadata, N_namespace), ""},
    {0, "Labels", ROW_LABELS, AT(N_metadata, N_labels), NULL},
    {0, "Annotations", ROW_ANNOTATIONS, AT(N_metadata, N_annotations), NULL},
    {0, "Schedule:", ROW_TEXT, AT(N_spec, N_schedule), ""},
    {0, "Concurrency Policy:", ROW_TEXT, AT(N_spec, N_concurrencyPolicy), ""},
    {0, "Suspend:", ROW_BOOL, AT(N_spec, N_suspend), "<unset>"},
    {0, "Time Zone:", ROW_TEXT, AT(N_spec, N_timeZone), "<unset>"},
    {0, "Successful Job History Limit:", ROW_TEXT, AT(N_spec, N_successfulJobsHistoryLimit), "<unset>"},
    {0, "Failed Job History Limit:", ROW_TEXT, AT(N_spec, N_failedJobsHistoryLimit), "<unset>"},
    {0, "Starting Deadline Seconds:", ROW_SECONDS, AT(N_spec, N_startingDeadlineSeconds), "<unset>"},
    {0, "Selector:", ROW_SELECTOR, AT(N_spec, N_jobTemplate, N_spec, N_selector), "<unset>"},
    {0, "Parallelism:", ROW_TEXT, AT(N_spec, N_jobTemplate, N_spec, N_parallelism), "<unset>"},
    {0, "Completions:", ROW_TEXT, AT(N_spec, N_jobTemplate, N_spec, N_completions), "<unset>"},
    {0, "Active Deadline Seconds:", ROW_SECONDS, AT(N_spec, N_jobTemplate, N_spec, N_activeDeadlineSeconds), NULL},
    {0},
};
static const struct desc_row cron_last[] = {
    {0, "Last Schedule Time:", ROW_TIME, AT(N_status, N_lastScheduleTime), "<unset>"}, {0}};

static void describe_cron_job(struct desc *d, const struct info *i)
{
    const struct val *active = val_at(i->v, N_status, N_active);
    bool first = true;
    desc_rows(d, i->v, cron_rows);
    desc_pod_template(d, val_at(i->v, N_spec, N_jobTemplate, N_spec, N_template));
    desc_rows(d, i->v, cron_last);
    desc_put(d, 0, "Active Jobs:\t%s", val_len(active) ? "" : "<none>");
    VAL_EACH(active, v)
    {
        desc_put(d, 0, "%s" STR_FMT, first ? "" : ", ", STR_ARG(val_getstr(v, N_name)));
        first = false;
    }
    desc_put(d, 0, "\n");
    desc_events(d, i);
}

/* ---- autoscalers ------------------------------------------------------------------------------------------------------- */

static struct str metric_current(struct desc *d, const struct val *hpa, size_t at, name_id source, bool utilization)
{
    const struct val *now = val_at(val_item(val_at(hpa, N_status, N_currentMetrics), at), source, N_current);
    const struct val *percent = val_get(now, N_averageUtilization), *average = val_get(now, N_averageValue);
    if (utilization && percent)
        return cli_printf(d->c, "%lld%% (" STR_FMT ")", (long long)val_int(percent, 0), STR_ARG(desc_text(d, average)));
    const struct val *any = average ? average : val_get(now, N_value);
    return any && !utilization ? desc_text(d, any) : STR("<unknown>");
}

static void put_resource_metric(struct desc *d, const struct val *hpa, size_t at, const struct val *metric, name_id source)
{
    const struct val *res = val_get(metric, source), *target = val_get(res, N_target), *average = val_get(target, N_averageValue);
    struct str container = val_getstr(res, N_container);
    desc_put(d, 1, "resource " STR_FMT, STR_ARG(val_getstr(res, N_name)));
    if (container.n)
        desc_put(d, 0, " of container \"" STR_FMT "\"", STR_ARG(container));
    desc_put(d, 0, " on pods");
    if (average) {
        desc_put(d, 0, ":\t" STR_FMT " / " STR_FMT "\n", STR_ARG(metric_current(d, hpa, at, source, false)),
                 STR_ARG(desc_text(d, average)));
        return;
    }
    const struct val *percent = val_get(target, N_averageUtilization);
    desc_put(d, 1, "(as a percentage of request):\t" STR_FMT " / ", STR_ARG(metric_current(d, hpa, at, source, true)));
    if (percent)
        desc_put(d, 0, "%lld%%\n", (long long)val_int(percent, 0));
    else
        desc_put(d, 0, "<auto>\n");
}

static void put_metric(struct desc *d, const struct val *hpa, size_t at, const struct val *metric)
{
    static const struct {
        const char *type;
        name_id source;
    } kinds[] = {{"Resource", N_resource}, {"ContainerResource", N_containerResource}, {"Pods", N_pods}, {"External", N_external},
                 {"Object", N_object}};
    struct str type = val_getstr(metric, N_type);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!str_is(type, kinds[i].type))
            continue;
        const struct val *source = val_get(metric, kinds[i].source), *target = val_get(source, N_target);
        const struct val *average = val_get(target, N_averageValue), *about = val_get(source, N_describedObject);
        if (i < 2) {
            put_resource_metric(d, hpa, at, metric, kinds[i].source);
            return;
        }
        desc_put(d, 1, "\"" STR_FMT "\"", STR_ARG(val_str(val_at(source, N_metric, N_name))));
        if (about)
            desc_put(d, 0, " on " STR_FMT "/" STR_FMT, STR_ARG(val_getstr(about, N_kind)), STR_ARG(val_getstr(about, N_name)));
        desc_put(d, 0, "%s:\t" STR_FMT " / " STR_FMT "\n",
                 kinds[i].source == N_pods ? " on pods" : average ? " (target average value)" : " (target value)",
                 STR_ARG(metric_current(d, hpa, at, kinds[i].source, false)),
                 STR_ARG(desc_text(d, average ? average : val_get(target, N_value))));
        return;
    }
    desc_put(d, 1, "<unknown metric type \"" STR_FMT "\">\n", STR_ARG(type));
}

static void put_behavior(struct desc *d, const char *title, const struct val *rules)
{
    const struct val *window = val_get(rules, N_stabilizationWindowSeconds), *policies = val_get(rules, N_policies);
    struct str select = val_getstr(rules, N_selectPolicy);
    if (!rules)
        return;
    desc_put(d, 1, "%s:\n", title);
    if (window)
        desc_put(d, 2, "Stabilization Window: %lld seconds\n", (long long)val_int(window, 0));
    if (!val_len(policies))
        return;
    desc_put(d, 2, "Select Policy: " STR_FMT "\n", STR_ARG(select.n ? select : STR("Max")));
    desc_put(d, 2, "Policies:\n");
    VAL_EACH(policies, p)
    {
        desc_put(d, 3, "- Type: " STR_FMT "\tValue: %lld\tPeriod: %lld seconds\n", STR_ARG(val_getstr(p, N_type)),
                 (long long)val_int(val_get(p, N_value), 0), (long long)val_int(val_get(p, N_periodSeconds), 0));
    }
}

static void describe_hpa(struct desc *d, const struct info *i)
{
    const struct val *v = i->v, *target = val_at(v, N_spec, N_scaleTargetRef), *min = val_at(v, N_spec, N_minReplicas);
    const struct val *behavior = val_at(v, N_spec, N_behavior), *conditions = val_at(v, N_status, N_conditions);
    size_t at = 0;
    desc_rows(d, v, desc_meta_rows);
    desc_put(d, 0, "CreationTimestamp:\t" STR_FMT "\n", STR_ARG(desc_time(d, val_at(v, N_metadata, N_creationTimestamp))));
    desc_put(d, 0, "Reference:\t" STR_FMT "/" STR_FMT "\n", STR_ARG(val_getstr(target, N_kind)), STR_ARG(val_getstr(target, N_name)));
    desc_put(d, 0, "Metrics:\t( current / target )\n");
    VAL_EACH(val_at(v, N_spec, N_metrics), m)
    {
        put_metric(d, v, at++, m);
    }
    desc_put(d, 0, "Min replicas:\t" STR_FMT "\n", STR_ARG(min ? desc_text(d, min) : STR("<unset>")));
    desc_put(d, 0, "Max replicas:\t%lld\n", (long long)number(v, N_spec, N_maxReplicas));
    if (behavior) {
        desc_put(d, 0, "Behavior:\n");
        put_behavior(d, "Scale Up", val_get(behavior, N_scaleUp));
        put_behavior(d, "Scale Down", val_get(behavior, N_scaleDown));
    }
    desc_put(d, 0, STR_FMT " pods:\t%lld current / %lld desired\n", STR_ARG(val_getstr(target, N_kind)),
             (long long)number(v, N_status, N_currentReplicas), (long long)number(v, N_status, N_desiredReplicas));
    if (val_len(conditions)) {
        desc_put(d, 0, "Conditions:\n");
        desc_put(d, 1, "Type\tStatus\tReason\tMessage\n");
        desc_put(d, 1, "----\t------\t------\t-------\n");
    }
    VAL_EACH(conditions, k)
    {
        desc_put(d, 1, STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", STR_ARG(val_getstr(k, N_type)),
                 STR_ARG(val_getstr(k, N_status)), STR_ARG(val_getstr(k, N_reason)), STR_ARG(val_getstr(k, N_message)));
    }
    desc_events(d, i);
}

const struct describer describe_workloads[] = {
    {RES_DEPLOYMENTS, describe_deployment},
    {RES_REPLICASETS, describe_replica_set},
    {RES_REPLICATIONCONTROLLERS, describe_rc},
    {RES_DAEMONSETS, describe_daemon_set},
    {RES_STATEFULSETS, describe_stateful_set},
    {RES_JOBS, describe_job},
    {RES_CRONJOBS, describe_cron_job},
    {RES_HORIZONTALPODAUTOSCALERS, describe_hpa},
    {0},
};
