/* SPDX-License-Identifier: Apache-2.0 */
/* Status of Jobs, that controllers outside of the cluster may write (KEP-4368): what clients rely on must
 * hold. */
#include "type/validate-internal.h"

/* ---- lists of indexes ---------------------------------------------------------------------------------- */

static const char *sentence(struct arena *a, const char *fmt, struct str s)
{
    return arena_printf(a, "%s: \"" STR_FMT "\"", fmt, STR_ARG(s)).p;
}

static const char *interval(struct arena *a, struct str part, int64_t completions, int64_t *ret_lo,
                            int64_t *ret_hi)
{
    struct str from, to;
    bool span = str_cut(part, '-', &from, &to);
    if (span && str_find(to, '-') >= 0)
        return arena_printf(a,
                            "the fragment \"" STR_FMT "\" violates the requirement that an index interval "
                            "can have at most two parts separated by '-'",
                            STR_ARG(part))
            .p;
    if (str_to_i64(from, ret_lo))
        return sentence(a, "cannot convert string to integer for index", from);
    if (*ret_lo >= completions)
        return sentence(a, "too large index", from);
    *ret_hi = *ret_lo;
    if (!span)
        return NULL;
    if (str_to_i64(to, ret_hi))
        return sentence(a, "cannot convert string to integer for index", to);
    if (*ret_hi >= completions)
        return sentence(a, "too large index", to);
    if (*ret_lo >= *ret_hi)
        return arena_printf(a, "non-increasing order, previous: %lld, current: %lld", (long long)*ret_lo,
                            (long long)*ret_hi)
            .p;
    return NULL;
}

int64_t indexes_count(struct arena *a, struct str s, int64_t completions, const char **ret_fault)
{
    struct str rest = s, part;
    int64_t total = 0, last = -1, lo, hi;
    while (s.n && str_next(&rest, ',', &part)) {
        const char *fault = interval(a, part, completions, &lo, &hi);
        if (!fault && lo <= last)
            fault = arena_printf(a, "non-increasing order, previous: %lld, current: %lld", (long long)last,
                                 (long long)lo)
                        .p;
        if (fault) {
            *ret_fault = fault;
            return -1;
        }
        total += hi - lo + 1;
        last = hi;
    }
    return total;
}

/* The first index in both lists, -1 for none. What cannot be read is complained about elsewhere. */
static int64_t common_index(struct arena *a, struct str one, struct str other, int64_t completions)
{
    struct str rest = one, part;
    while (one.n && str_next(&rest, ',', &part)) {
        struct str rest2 = other, part2;
        int64_t lo, hi, lo2, hi2;
        if (interval(a, part, completions, &lo, &hi))
            continue;
        while (other.n && str_next(&rest2, ',', &part2))
            if (!interval(a, part2, completions, &lo2, &hi2) && lo <= hi2 && lo2 <= hi)
                return MAX(lo, lo2);
    }
    return -1;
}

/* ---- one fact at a time -------------------------------------------------------------------------------- */

/* Most rules hold only for what has changed: a Job whose spec has just moved may break them until it is
 * synced. */
struct job {
    struct validation *x;
    const struct vpath *p;
    const struct val *spec, *status, *old;
    bool complete, failed, failing, met; /* conditions: Complete, Failed, FailureTarget, SuccessCriteriaMet */
    bool was_complete, was_failed, was_failing, was_met;
};

static bool is_true(const struct val *status, const char *type)
{
    return condition_is(val_get(status, N_conditions), str_of(type), "True");
}

static bool changed(const struct job *j, name_id field)
{
    return !val_equal(val_get(j->status, field), val_get(j->old, field));
}

static int64_t number(const struct val *status, name_id field)
{
    return val_int(val_get(status, field), 0);
}

static void say(struct job *j, name_id field, const char *detail)
{
    say_invalid(j->x, AT(j->p, field), field == N_conditions ? NULL : val_get(j->status, field), detail);
}

static void check_uncounted(struct job *j)
{
    static const name_id lists[] = {N_succeeded, N_failed};
    const struct val *all = val_get(j->status, N_uncountedTerminatedPods);
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        for (size_t i = 0; i < val_len(val_get(all, lists[l])); i++) {
            const struct val *uid = val_item(val_get(all, lists[l]), i);
            const struct vpath *at = ITEM(AT(AT(j->p, N_uncountedTerminatedPods), lists[l]), i);
            bool seen = false;
            for (size_t m = 0; m <= l; m++)
                for (size_t k = 0; k < (m == l ? i : val_len(val_get(all, lists[m]))); k++)
                    seen = seen || val_equal(val_item(val_get(all, lists[m]), k), uid);
            if (!val_str(uid).n)
                say_invalid(j->x, at, uid, "must not be empty");
            else if (seen)
                say_duplicate(j->x, at, uid);
        }
}

static void check_conditions(struct job *j)
{
    if (j->complete && j->failed && (!j->was_complete || !j->was_failed))
        say(j, N_conditions, "cannot set Complete=True and Failed=true conditions");
    if (j->complete && j->failing && (!j->was_complete || !j->was_failing))
        say(j, N_conditions, "cannot set Complete=True and FailureTarget=true conditions");
    if (j->failed && !j->failing && (!j->was_failed || changed(j, N_failedIndexes)))
        say(j, N_conditions, "cannot set Failed=True condition without the FailureTarget=true condition");
    if (j->complete && !j->met && (!j->was_complete || j->was_met))
        say(j, N_conditions,
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    if (j->met && j->failed)
        say(j, N_conditions, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    if (j->met && j->failing)
        say(j, N_conditions, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    if (val_get(j->spec, N_successPolicy) && !j->met && j->complete)
        say(j, N_conditions,
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
}

static void check_times(struct job *j)
{
    const struct val *start = val_get(j->status, N_startTime), *end = val_get(j->status, N_completionTime);
    bool end_moved = changed(j, N_completionTime), complete_moved = j->complete != j->was_complete;
    if ((complete_moved || end_moved) && end && !j->complete)
        say(j, N_completionTime, "cannot set completionTime when there is no Complete=True condition");
    if ((complete_moved || end_moved) && !end && j->complete)
        say_required(j->x, AT(j->p, N_completionTime), "completionTime is required for Complete jobs");
    if ((changed(j, N_startTime) || end_moved) && start && end && val_time(end).ns < val_time(start).ns)
        say(j, N_completionTime, "must be equal to or after `startTime`");
}

static void check_finished(struct job *j)
{
    bool finished = j->complete || j->failed, moved = finished != (j->was_complete || j->was_failed);
    bool nothing_to_do = val_bool(val_get(j->spec, N_suspend), false) && val_get(j->spec, N_completions) &&
                         number(j->spec, N_completions) == 0;
    const struct val *uncounted = val_get(j->status, N_uncountedTerminatedPods);
    if (!finished)
        return;
    if ((moved || changed(j, N_active)) && number(j->status, N_active) > 0)
        say(j, N_active, "active>0 is invalid for finished job");
    if ((moved || changed(j, N_startTime)) && !nothing_to_do && !val_get(j->status, N_startTime))
        say_required(j->x, AT(j->p, N_startTime), "startTime is required for finished job");
    if ((moved || changed(j, N_uncountedTerminatedPods)) &&
        val_len(val_get(uncounted, N_failed)) + val_len(val_get(uncounted, N_succeeded)) > 0)
        say(j, N_uncountedTerminatedPods, "must be empty for finished job");
    if ((moved || changed(j, N_terminating)) && number(j->status, N_terminating) > 0)
        say(j, N_terminating, "terminating>0 is invalid for finished job");
}

static void check_index_list(struct job *j, name_id field, const char *prefix)
{
    const struct val *completions = val_get(j->spec, N_completions);
    struct arena *a = j->x->s->arena;
    const char *fault;
    if (completions && indexes_count(a, val_getstr(j->status, field), completions->i, &fault) < 0)
        say(j, field, arena_printf(a, "%s: %s", prefix, fault).p);
}

static void check_indexes(struct job *j)
{
    const struct val *completions = val_get(j->spec, N_completions),
                     *failed = val_get(j->status, N_failedIndexes);
    const struct val *per_index = val_get(j->spec, N_backoffLimitPerIndex);
    struct str done = val_getstr(j->status, N_completedIndexes);
    bool done_moved = changed(j, N_completedIndexes), failed_moved = changed(j, N_failedIndexes);
    struct arena *a = j->x->s->arena;
    if (done_moved)
        check_index_list(j, N_completedIndexes, "error parsing completedIndexes");
    if (failed_moved && failed && per_index)
        check_index_list(j, N_failedIndexes, "error parsing failedIndexes");
    if (done_moved && done.n && !str_is(val_getstr(j->spec, N_completionMode), "Indexed"))
        say(j, N_completedIndexes, "cannot set non-empty completedIndexes when non-indexed completion mode");
    if (failed_moved && failed && !per_index)
        say(j, N_failedIndexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    if ((done_moved || failed_moved) && failed && completions) {
        int64_t both = common_index(a, done, val_str(failed), completions->i);
        if (both >= 0)
            say(j, N_failedIndexes,
                arena_printf(a, "failedIndexes and completedIndexes overlap at index: %lld", (long long)both)
                    .p);
    }
}

/* What may not be taken back. */
static void check_progress(struct job *j)
{
    static const char *const terminal[] = {"Failed", "Complete", "FailureTarget"};
    bool indexed = str_is(val_getstr(j->spec, N_completionMode), "Indexed");
    bool elastic = indexed && val_equal(val_get(j->spec, N_completions), val_get(j->spec, N_parallelism));
    bool resuming = is_true(j->old, "Suspended") &&
                    condition_is(val_get(j->status, N_conditions), STR("Suspended"), "False");
    for (size_t i = 0; i < ARRAY_SIZE(terminal); i++)
        if (is_true(j->old, terminal[i]) && !is_true(j->status, terminal[i]))
            say(j, N_conditions,
                arena_printf(j->x->s->arena, "cannot disable the terminal %s=True condition", terminal[i]).p);
    if (number(j->status, N_failed) < number(j->old, N_failed))
        say(j, N_failed, "cannot decrease the failed counter");
    if (!elastic && number(j->status, N_succeeded) < number(j->old, N_succeeded))
        say(j, N_succeeded, "cannot decrease the succeeded counter");
    if (val_get(j->status, N_completionTime) && val_get(j->old, N_completionTime) &&
        changed(j, N_completionTime))
        say(j, N_completionTime, "field is immutable");
    if (!resuming && val_get(j->old, N_startTime) && changed(j, N_startTime) &&
        !val_bool(val_get(j->spec, N_suspend), false))
        say(j, N_startTime, "field is immutable for unsuspended job once set");
    if (j->was_met && !j->met)
        say(j, N_conditions, "cannot disable the SuccessCriteriaMet=True condition");
    if (j->was_complete && !j->was_met && j->met)
        say(j, N_conditions,
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
}

void check_job_status(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    static const name_id counts[] = {N_active, N_succeeded, N_failed, N_ready, N_terminating};
    const struct val *s = val_get(v, N_status), *was = val_get(old, N_status);
    struct job j = {
        .x = x,
        .p = p,
        .spec = val_get(v, N_spec),
        .status = s,
        .old = was,
        .complete = is_true(s, "Complete"),
        .failed = is_true(s, "Failed"),
        .failing = is_true(s, "FailureTarget"),
        .met = is_true(s, "SuccessCriteriaMet"),
        .was_complete = is_true(was, "Complete"),
        .was_failed = is_true(was, "Failed"),
        .was_failing = is_true(was, "FailureTarget"),
        .was_met = is_true(was, "SuccessCriteriaMet"),
    };
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        check_range(x, AT(p, counts[i]), val_get(s, counts[i]), 0, INT64_MAX);
    check_uncounted(&j);
    check_conditions(&j);
    check_times(&j);
    check_finished(&j);
    check_indexes(&j);
    if ((changed(&j, N_ready) || changed(&j, N_active)) && number(s, N_ready) > number(s, N_active))
        say(&j, N_ready, "cannot set more ready pods than active");
    check_progress(&j);
}
