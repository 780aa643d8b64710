/* SPDX-License-Identifier: Apache-2.0 */
/* Job and CronJob. */
#include <strings.h>

#include "type/cron.h"
#include "type/validate-internal.h"

enum {
    MANAGED_BY_MAX = 63,
    INDEXED_PARALLELISM_MAX = 100000,
    FAILED_INDEXES_MAX = 100000,
    COMPLETIONS_SOFT_MAX = 100000,
    HIGH_PARALLELISM_MAX = 10000,
    HIGH_FAILED_INDEXES_MAX = 10000,
    CRON_NAME_MAX = 52, /* 63 less the suffix of its Jobs */
};

/* ---- policies ------------------------------------------------------------------------------------------ */

static void check_exit_codes(struct validation *x, const struct vpath *p, const struct val *v,
                             const struct val *spec)
{
    static const char *const operators[] = {"In", "NotIn", NULL};
    const struct val *op = val_get(v, N_operator), *values = val_get(v, N_values),
                     *name = val_get(v, N_containerName);
    bool ordered = true, known = !name;
    if (!val_str(op).n)
        say_required(x, AT(p, N_operator), "valid values: [\"In\" \"NotIn\"]");
    else if (!str_in(val_str(op), operators))
        say_unsupported(x, AT(p, N_operator), op, operators);
    static const name_id lists[] = {N_containers, N_initContainers};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        VAL_EACH (val_at(spec, N_template, N_spec, lists[l]), c)
            known = known || str_eq(val_getstr(c, N_name), val_str(name));
    if (!known)
        say_invalid(x, AT(p, N_containerName), name,
                    "must be one of the container or initContainer names in the pod template");
    if (!val_len(values))
        say_invalid(x, AT(p, N_values), values ?: &(struct val){.kind = VAL_LIST},
                    "at least one value is required");
    if (val_len(values) > 255)
        say_too_many(x, AT(p, N_values), val_len(values), 255);
    for (size_t i = 0; i < val_len(values); i++) {
        const struct val *code = val_item(values, i);
        if (str_is(val_str(op), "In") && code->i == 0)
            say_invalid(x, ITEM(AT(p, N_values), i), code, "must not be 0 for the In operator");
        for (size_t j = 0; j < i; j++)
            if (val_item(values, j)->i == code->i) {
                say_duplicate(x, ITEM(AT(p, N_values), i), code);
                break;
            }
        ordered = ordered && (i == 0 || val_item(values, i - 1)->i <= code->i);
    }
    if (!ordered)
        say_invalid(x, AT(p, N_values), values, "must be ordered");
}

static void check_failure_rule(struct validation *x, const struct vpath *p, const struct val *rule,
                               const struct val *spec)
{
    static const char *const actions[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL};
    const struct val *action = val_get(rule, N_action), *codes = val_get(rule, N_onExitCodes);
    const struct val *conditions = val_get(rule, N_onPodConditions);
    size_t i = 0;
    if (!val_str(action).n)
        say_required(x, AT(p, N_action), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
    else if (!str_in(val_str(action), actions))
        say_unsupported(x, AT(p, N_action), action, actions);
    else if (str_is(val_str(action), "FailIndex") && !val_get(spec, N_backoffLimitPerIndex))
        say_invalid(x, AT(p, N_action), action, "requires the backoffLimitPerIndex to be set");
    if (codes)
        check_exit_codes(x, AT(p, N_onExitCodes), codes, spec);
    if (val_len(conditions) > 20)
        say_too_many(x, AT(p, N_onPodConditions), val_len(conditions), 20);
    VAL_EACH (conditions, c) {
        static const char *const statuses[] = {"False", "True", "Unknown", NULL};
        const struct vpath *at = ITEM(AT(p, N_onPodConditions), i++);
        check_text(x, AT(at, N_type), val_getstr(c, N_type), check_label_key);
        if (!str_in(val_getstr(c, N_status), statuses))
            say_unsupported(x, AT(at, N_status), val_get(c, N_status), statuses);
    }
    if (codes && val_len(conditions))
        say_invalid(x, p, rule, "specifying both OnExitCodes and OnPodConditions is not supported");
    if (!codes && !val_len(conditions))
        say_invalid(x, p, rule, "specifying one of OnExitCodes and OnPodConditions is required");
}

static void check_success_rule(struct validation *x, const struct vpath *p, const struct val *rule,
                               int64_t completions)
{
    const struct val *count = val_get(rule, N_succeededCount), *indexes = val_get(rule, N_succeededIndexes);
    const char *fault;
    int64_t total = indexes ? indexes_count(x->s->arena, val_str(indexes), completions, &fault) : 0;
    if (!count && !indexes)
        say_required(x, p, "at least one of succeededCount or succeededIndexes must be specified");
    if (total < 0)
        say_invalid(x, AT(p, N_succeededIndexes), indexes,
                    arena_printf(x->s->arena, "error parsing succeededIndexes: %s", fault).p);
    if (!count)
        return;
    check_range(x, AT(p, N_succeededCount), count, 0, INT32_MAX);
    if (count->i > completions)
        say_invalid(x, AT(p, N_succeededCount), count,
                    "must be less than or equal to the number of specified completions");
    if (indexes && count->i > MAX(total, 0))
        say_invalid(x, AT(p, N_succeededCount), count, "must be less than or equal to the number of indexes");
}

static void check_policies(struct validation *x, const struct vpath *p, const struct val *v, bool indexed)
{
    const struct val *failure = val_get(v, N_podFailurePolicy), *success = val_get(v, N_successPolicy);
    const struct val *replacement = val_get(v, N_podReplacementPolicy), *rules = val_get(failure, N_rules);
    static const char *const both[] = {"Failed", "TerminatingOrFailed", NULL}, *const failed[] = {"Failed",
                                                                                                  NULL};
    size_t i = 0, j = 0;
    if (val_len(rules) > 20)
        say_too_many(x, AT(AT(p, N_podFailurePolicy), N_rules), val_len(rules), 20);
    VAL_EACH (rules, rule)
        check_failure_rule(x, ITEM(AT(AT(p, N_podFailurePolicy), N_rules), i++), rule, v);
    if (replacement && !str_in(val_str(replacement), failure ? failed : both))
        say_unsupported(x, AT(p, N_podReplacementPolicy), replacement, failure ? failed : both);
    if (success && !indexed) {
        say_invalid(x, AT(p, N_successPolicy), success, "requires indexed completion mode");
        return;
    }
    rules = val_get(success, N_rules);
    if (success && !val_len(rules))
        say_required(x, AT(AT(p, N_successPolicy), N_rules), "at least one rules must be specified");
    VAL_EACH (rules, rule)
        check_success_rule(x, ITEM(AT(AT(p, N_successPolicy), N_rules), j++), rule,
                           val_int(val_get(v, N_completions), 0));
}

/* ---- Job ----------------------------------------------------------------------------------------------- */

static void check_indexed(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *completions = val_get(v, N_completions), *parallelism = val_get(v, N_parallelism);
    const struct val *failed = val_get(v, N_maxFailedIndexes);
    int64_t n = val_int(completions, 0), pods = val_int(parallelism, 0);
    if (!completions)
        say_required(x, AT(p, N_completions), "when completion mode is Indexed");
    if (pods > INDEXED_PARALLELISM_MAX)
        say_invalid(x, AT(p, N_parallelism), parallelism,
                    "must be less than or equal to 100000 when completion mode is Indexed");
    if (completions && failed && failed->i > n)
        say_invalid(x, AT(p, N_maxFailedIndexes), failed, "must be less than or equal to completions");
    if (failed && failed->i > FAILED_INDEXES_MAX)
        say_invalid(x, AT(p, N_maxFailedIndexes), failed, "must be less than or equal to 100000");
    if (n <= COMPLETIONS_SOFT_MAX || !val_get(v, N_backoffLimitPerIndex))
        return;
    if (!failed)
        say_required(x, AT(p, N_maxFailedIndexes), "must be specified when completions is above 100000");
    if (pods > HIGH_PARALLELISM_MAX)
        say_invalid(x, AT(p, N_parallelism), parallelism,
                    "must be less than or equal to 10000 when completions are above 100000");
    if (failed && failed->i > HIGH_FAILED_INDEXES_MAX)
        say_invalid(x, AT(p, N_maxFailedIndexes), failed,
                    "must be less than or equal to 10000 when completions are above 100000");
}

static void check_restart(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const policies[] = {"OnFailure", "Never", NULL};
    const struct val *policy = val_at(v, N_template, N_spec, N_restartPolicy);
    const struct vpath *at = AT(AT(AT(p, N_template), N_spec), N_restartPolicy);
    if (!policy || str_is(val_str(policy), "Always"))
        say_required(x, at, "valid values: \"OnFailure\", \"Never\"");
    else if (!str_in(val_str(policy), policies))
        say_unsupported(x, at, policy, policies);
    else if (val_get(v, N_podFailurePolicy) && !str_is(val_str(policy), "Never"))
        say_invalid(x, at, policy, "only \"Never\" is supported when podFailurePolicy is specified");
}

static void check_managed_by(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str s = val_str(v), host, path;
    if (!v)
        return;
    if (!s.n)
        say_required(x, p, NULL);
    else if (!str_cut(s, '/', &host, &path) || !host.n || !path.n)
        say_invalid(x, p, v, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    else
        check_text(x, p, host, check_subdomain);
    if (s.n > MANAGED_BY_MAX)
        say_too_long(x, p, MANAGED_BY_MAX);
}

static void rule_job_spec(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    static const name_id counts[] = {N_parallelism,
                                     N_completions,
                                     N_activeDeadlineSeconds,
                                     N_backoffLimit,
                                     N_ttlSecondsAfterFinished,
                                     N_backoffLimitPerIndex,
                                     N_maxFailedIndexes};
    static const char *const modes[] = {"NonIndexed", "Indexed", NULL};
    const struct val *mode = val_get(v, N_completionMode);
    bool indexed = str_is(val_str(mode), "Indexed");
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        check_range(x, AT(p, counts[i]), val_get(v, counts[i]), 0, INT64_MAX);
    if (val_get(v, N_maxFailedIndexes) && !val_get(v, N_backoffLimitPerIndex))
        say_required(x, AT(p, N_backoffLimitPerIndex), "when maxFailedIndexes is specified");
    check_managed_by(x, AT(p, N_managedBy), val_get(v, N_managedBy));
    if (mode && !str_in(val_str(mode), modes))
        say_unsupported(x, AT(p, N_completionMode), mode, modes);
    if (indexed)
        check_indexed(x, p, v);
    static const name_id of_indexed[] = {N_backoffLimitPerIndex, N_maxFailedIndexes};
    for (size_t i = 0; i < ARRAY_SIZE(of_indexed); i++)
        if (val_get(v, of_indexed[i]) && (!mode || str_is(val_str(mode), "NonIndexed")))
            say_invalid(x, AT(p, of_indexed[i]), val_get(v, of_indexed[i]),
                        "requires indexed completion mode");
    check_policies(x, p, v, indexed);
    check_restart(x, p, v);
}

/* The selector that the server makes: by uid and name. */
static void check_generated(struct validation *x, const struct vpath *p, const struct val *job)
{
    const struct val *labels = val_at(job, N_spec, N_template, N_metadata, N_labels);
    const struct vpath *at = AT(AT(p, N_template), N_metadata);
    const struct {
        struct str key, value;
    } wanted[] = {{STR("controller-uid"), obj_uid(job)},
                  {STR("job-name"), obj_name(job)},
                  {STR("batch.kubernetes.io/controller-uid"), obj_uid(job)},
                  {STR("batch.kubernetes.io/job-name"), obj_name(job)}};
    struct val *expected = val_new(x->s->arena, VAL_MAP);
    if (val_bool(val_at(job, N_spec, N_manualSelector), false) || !val_at(job, N_spec, N_selector))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        const struct val *have = val_key(labels, wanted[i].key);
        val_put_str(x->s->arena, expected, wanted[i].key, wanted[i].value);
        if (!have)
            say_required(x, KEY(AT(at, N_labels), wanted[i].key), "must be the generated one");
        else if (!str_eq(val_str(have), wanted[i].value))
            say_invalid(x, KEY(AT(at, N_labels), wanted[i].key), have, "must be the generated one");
    }
    const struct val *by = val_at(job, N_spec, N_selector, N_matchLabels);
    VAL_EACH_ENTRY (by, k, v)
        if (!str_eq(val_str(val_key(expected, val_str(k))), val_str(v))) {
            say_invalid(x, AT(p, N_selector), val_at(job, N_spec, N_selector),
                        "`selector` not auto-generated");
            return;
        }
}

/* Of a Job that waits with no pods, what decides where and with how much they run may still change (KEP-2926, KEP-5440). */
static bool template_may_change(const struct val *job)
{
    const struct val *status = val_get(job, N_status);
    return val_bool(val_at(job, N_spec, N_suspend), false) && val_int(val_get(status, N_active), 0) == 0 &&
           (!val_get(status, N_startTime) || condition_is(val_get(status, N_conditions), STR("Suspended"), "True"));
}

static void take_node_affinity(struct arena *a, struct val *spec, const struct val *from)
{
    const struct val *wanted = val_at(from, N_affinity, N_nodeAffinity);
    if (!wanted && !val_get(spec, N_affinity))
        return;
    struct val *affinity = val_sub_obj(a, spec, N_affinity);
    val_set_ref(a, affinity, N_nodeAffinity, wanted);
    if (!val_len(affinity) && !val_get(from, N_affinity))
        val_del(spec, N_affinity);
}

static void take_resources(struct arena *a, struct val *containers, const struct val *from)
{
    if (val_len(containers) != val_len(from))
        return;
    for (size_t i = 0; i < val_len(containers); i++)
        if (str_eq(val_getstr(&containers->items[i], N_name), val_getstr(val_item(from, i), N_name)))
            val_set_ref(a, &containers->items[i], N_resources, val_get(val_item(from, i), N_resources));
}

/* The old pod spec with everything that may change as it is in the new one. */
static const struct val *with_changes(struct validation *x, const struct val *old, const struct val *v)
{
    static const name_id free_to_change[] = {N_nodeSelector, N_tolerations, N_schedulingGates};
    struct arena *a = x->s->arena;
    struct val *spec = val_copy(a, old);
    if (!spec)
        return NULL;
    take_node_affinity(a, spec, v);
    for (size_t i = 0; i < ARRAY_SIZE(free_to_change); i++)
        val_set_ref(a, spec, free_to_change[i], val_get(v, free_to_change[i]));
    take_resources(a, val_mut(spec, N_containers), val_get(v, N_containers));
    take_resources(a, val_mut(spec, N_initContainers), val_get(v, N_initContainers));
    return spec;
}

static void check_job_update(struct validation *x, const struct vpath *p, const struct val *v,
                             const struct val *old)
{
    const struct val *template = val_get(v, N_template), *was = val_get(old, N_template);
    const struct val *completions = val_get(v, N_completions);
    bool indexed = str_is(val_getstr(v, N_completionMode), "Indexed");
    static const name_id fixed[] = {N_selector,  N_completionMode, N_podFailurePolicy, N_backoffLimitPerIndex,
                                    N_managedBy, N_successPolicy};
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        check_same(x, AT(p, fixed[i]), val_get(v, fixed[i]), val_get(old, fixed[i]));
    if (!val_equal(completions, val_get(old, N_completions)) &&
        !(indexed && val_equal(completions, val_get(v, N_parallelism)) &&
          val_equal(val_get(old, N_completions), val_get(old, N_parallelism)) && completions &&
          val_get(old, N_completions)))
        say_invalid(x, AT(p, N_completions), completions, "field is immutable");
    const struct vpath *at = AT(p, N_template);
    if (template_may_change(x->old))
        check_same(x, AT(at, N_spec), val_get(template, N_spec),
                   with_changes(x, val_get(was, N_spec), val_get(template, N_spec)));
    else
        check_same(x, at, template, was);
}

static void rule_job(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *spec = val_get(v, N_spec), *completions = val_get(spec, N_completions);
    const struct vpath *at = AT(p, N_spec);
    if (!val_get(spec, N_selector))
        say_required(x, AT(at, N_selector), NULL);
    if (!has_faults(x, AT(at, N_selector)) || !val_get(spec, N_selector))
        check_selector_matches(x, AT(at, N_selector), val_get(spec, N_selector),
                               AT(AT(AT(at, N_template), N_metadata), N_labels),
                               val_at(spec, N_template, N_metadata, N_labels));
    if (old) {
        check_job_update(x, at, spec, val_get(old, N_spec));
        return;
    }
    check_generated(x, at, v);
    if (str_is(val_getstr(spec, N_completionMode), "Indexed") && val_int(completions, 0) > 0) {
        struct str host =
            arena_printf(x->s->arena, STR_FMT "-%lld", STR_ARG(obj_name(v)), (long long)(completions->i - 1));
        if (check_dns_label(host))
            say_invalid_str(x, AT(AT(p, N_metadata), N_name), obj_name(v),
                            "will not able to create pod with invalid DNS label");
    }
}

/* ---- CronJob ------------------------------------------------------------------------------------------- */

static bool zone_exists(struct str name)
{
    struct tz *z = NULL;
    bool found = tz_load(name, &z) == 0;
    tz_free(z);
    return found;
}

static void check_zone(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str s = val_str(v);
    if (!v)
        return;
    if (!s.n)
        say_invalid(x, p, v, "timeZone must be nil or non-empty string");
    else if (!zone_exists(s))
        say_invalid(x, p, v, "unknown time zone");
    if (s.n == 5 && strncasecmp(s.p, "local", 5) == 0)
        say_invalid(x, p, v,
                    "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
}

static struct str without_zone(struct str s)
{
    struct str head, tail;
    if ((str_starts(s, STR("TZ=")) || str_starts(s, STR("CRON_TZ="))) && str_cut(s, ' ', &head, &tail))
        return tail;
    return s;
}

static void rule_cron_spec(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    const struct val *schedule = val_get(v, N_schedule);
    struct cron cron;
    struct err e = {0};
    if (val_str(schedule).n) {
        bool zone = str_contains(val_str(schedule), STR("TZ"));
        if (cron_parse(without_zone(val_str(schedule)), &cron, &e) < 0)
            say_invalid(x, AT(p, N_schedule), schedule, e.text);
        if (zone && !str_contains(val_getstr(old, N_schedule), STR("TZ")))
            say_invalid(x, AT(p, N_schedule), schedule,
                        "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        else if (zone && val_get(v, N_timeZone))
            say_invalid(x, AT(p, N_schedule), schedule,
                        "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    }
    if (!old || !val_equal(val_get(v, N_timeZone), val_get(old, N_timeZone)))
        check_zone(x, AT(p, N_timeZone), val_get(v, N_timeZone));
    const struct val *template = val_at(v, N_jobTemplate, N_spec);
    const struct vpath *at = AT(AT(p, N_jobTemplate), N_spec);
    if (val_get(template, N_selector))
        say_invalid(x, AT(at, N_selector), val_get(template, N_selector),
                    "`selector` will be auto-generated");
    if (val_bool(val_get(template, N_manualSelector), false))
        say_unsupported(x, AT(at, N_manualSelector), val_get(template, N_manualSelector),
                        (const char *const[]){"nil", "false", NULL});
}

static void rule_cron_job(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    if (!old && obj_name(v).n > CRON_NAME_MAX)
        say_invalid_str(x, AT(AT(p, N_metadata), N_name), obj_name(v), "must be no more than 52 characters");
}

const struct rule rules_batch[] = {
    {T_batch_v1_CronJob, 0, rule_cron_job},
    {T_batch_v1_CronJobSpec, 0, rule_cron_spec},
    {T_batch_v1_Job, 0, rule_job},
    {T_batch_v1_JobSpec, RULE_OWN, rule_job_spec},
    {T_batch_v1_PodFailurePolicy, RULE_OWN, NULL},
    {T_batch_v1_PodFailurePolicyOnExitCodesRequirement, RULE_OWN, NULL},
    {T_batch_v1_PodFailurePolicyOnPodConditionsPattern, RULE_OWN, NULL},
    {T_batch_v1_PodFailurePolicyRule, RULE_OWN, NULL},
    {T_batch_v1_SuccessPolicy, RULE_OWN, NULL},
    {T_batch_v1_SuccessPolicyRule, RULE_OWN, NULL},
    {0, 0, NULL},
};
