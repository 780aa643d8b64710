/* SPDX-License-Identifier: Apache-2.0 */
/* podFailurePolicy (KEP-3329) and successPolicy (KEP-3998). */
#include "controllers/job.h"

#include "type/meta.h"

/* ---- failure ----------------------------------------------------------------------------------------- */

static bool has_code(const struct val *values, int64_t code)
{
    VAL_EACH (values, v)
        if (val_int(v, 0) == code)
            return true;
    return false;
}

/* The first container that ended with a code the requirement means. A code of zero is never a failure. */
static const struct val *match_codes_in(const struct val *statuses, const struct val *wanted)
{
    struct str name = val_getstr(wanted, N_containerName);
    bool among = str_is(val_getstr(wanted, N_operator), "In");
    VAL_EACH (statuses, c) {
        const struct val *ended = val_at(c, N_state, N_terminated);
        int64_t code = val_int(val_get(ended, N_exitCode), 0);
        if (ended && code != 0 && (!name.n || str_eq(name, val_getstr(c, N_name))) &&
            has_code(val_get(wanted, N_values), code) == among)
            return c;
    }
    return NULL;
}

static const struct val *match_codes(const struct val *pod, const struct val *wanted)
{
    return match_codes_in(val_at(pod, N_status, N_containerStatuses), wanted)
               ?: match_codes_in(val_at(pod, N_status, N_initContainerStatuses), wanted);
}

static const struct val *match_conditions(const struct val *pod, const struct val *patterns)
{
    VAL_EACH (val_at(pod, N_status, N_conditions), c)
        VAL_EACH (patterns, p)
            if (str_eq(val_getstr(c, N_type), val_getstr(p, N_type)) &&
                str_eq(val_getstr(c, N_status), val_getstr(p, N_status)))
                return c;
    return NULL;
}

static enum failure_action action_of(struct str s)
{
    static const struct {
        const char *name;
        enum failure_action action;
    } actions[] = {{"Count", FAILURE_COUNT},
                   {"Ignore", FAILURE_IGNORE},
                   {"FailIndex", FAILURE_INDEX},
                   {"FailJob", FAILURE_JOB}};
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (str_is(s, actions[i].name))
            return actions[i].action;
    return FAILURE_UNMATCHED;
}

static struct str failure_message(struct arena *a, const struct val *pod, const struct val *container,
                                  const struct val *condition, int rule)
{
    struct str ns = obj_namespace(pod), name = obj_name(pod);
    if (container)
        return arena_printf(a,
                            "Container " STR_FMT " for pod " STR_FMT "/" STR_FMT
                            " failed with exit code %lld matching FailJob rule at index %d",
                            STR_ARG(val_getstr(container, N_name)), STR_ARG(ns), STR_ARG(name),
                            (long long)val_int(val_at(container, N_state, N_terminated, N_exitCode), 0), rule);
    return arena_printf(a, "Pod " STR_FMT "/" STR_FMT " has condition " STR_FMT " matching FailJob rule at index %d",
                        STR_ARG(ns), STR_ARG(name), STR_ARG(val_getstr(condition, N_type)), rule);
}

enum failure_action failure_policy(struct arena *a, const struct val *policy, const struct val *pod,
                                   struct str *ret_message)
{
    int i = 0;
    VAL_EACH (val_get(policy, N_rules), rule) {
        const struct val *codes = val_get(rule, N_onExitCodes);
        const struct val *container = codes ? match_codes(pod, codes) : NULL;
        const struct val *condition = codes ? NULL : match_conditions(pod, val_get(rule, N_onPodConditions));
        enum failure_action action = action_of(val_getstr(rule, N_action));
        if ((container || condition) && action != FAILURE_UNMATCHED) {
            if (action == FAILURE_JOB && ret_message)
                *ret_message = failure_message(a, pod, container, condition, i);
            return action;
        }
        i++;
    }
    return FAILURE_UNMATCHED;
}

/* ---- success ----------------------------------------------------------------------------------------- */

static bool rule_is_met(struct arena *a, const struct val *rule, int64_t completions, struct spans succeeded)
{
    const struct val *indexes = val_get(rule, N_succeededIndexes), *count = val_get(rule, N_succeededCount);
    if (!indexes)
        return count && spans_total(succeeded) >= val_int(count, 0);
    struct spans wanted = spans_parse(a, val_str(indexes), completions);
    int64_t have = spans_common(wanted, succeeded);
    return wanted.n && (have == spans_total(wanted) || (count && have >= val_int(count, 0)));
}

struct str success_policy(struct arena *a, const struct val *policy, int64_t completions, struct spans succeeded)
{
    int i = 0;
    if (!succeeded.n)
        return STR_NULL;
    VAL_EACH (val_get(policy, N_rules), rule) {
        if (rule_is_met(a, rule, completions, succeeded))
            return arena_printf(a, "Matched rules at index %d", i);
        i++;
    }
    return STR_NULL;
}
