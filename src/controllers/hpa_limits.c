/* SPDX-License-Identifier: Apache-2.0 */
/* How fast and how far: stabilisation windows, policies of spec.behavior, and the bounds (KEP-853). Pure. */
#include "controllers/hpa.h"

#include <math.h>

#include "names.h"

enum {
    DEFAULT_SCALE_UP_FACTOR = 2, /* without a behaviour: at most doubled at a time ... */
    DEFAULT_SCALE_UP_LEAST = 4,  /* ... but to four at once */
};

static const char
    within_range[] = "DesiredWithinRange",
    in_range_text[] = "the desired count is within the acceptable range", scale_up_limit[] = "ScaleUpLimit",
    scale_up_text[] = "the desired replica count is increasing faster than the maximum scale rate",
    scale_down_limit[] = "ScaleDownLimit",
    scale_down_text[] = "the desired replica count is decreasing faster than the maximum scale rate",
    too_many[] = "TooManyReplicas",
    too_many_text[] = "the desired replica count is more than the maximum replica count",
    too_few[] = "TooFewReplicas",
    too_few_text[] = "the desired replica count is less than the minimum replica count",
    ups_stabilized[] = "ScaleUpStabilized",
    ups_stabilized_text[] =
        "recent recommendations were lower than current one, applying the lowest recent recommendation",
    downs_stabilized[] = "ScaleDownStabilized",
    downs_stabilized_text[] =
        "recent recommendations were higher than current one, applying the highest recent recommendation";

/* ---- memory ------------------------------------------------------------------------------------------ */

/* Adds a mark, in the place of one that is older than `keep` if there is any. */
static void mark(struct hpa_marks *m, int64_t n, struct wall now, int64_t keep)
{
    struct hpa_mark *old = NULL;
    for (size_t i = 0; i < m->n; i++)
        if (m->items[i].at.ns < now.ns - keep)
            old = &m->items[i];
    if (!old) {
        m->items = xrealloc(m->items, (m->n + 1) * sizeof(*m->items));
        old = &m->items[m->n++];
    }
    *old = (struct hpa_mark){now, n};
}

void hpa_memory_free(void *memory)
{
    struct hpa_memory *m = memory;
    if (!m)
        return;
    free(m->proposals.items);
    free(m->ups.items);
    free(m->downs.items);
    free(m->selector);
    free(m);
}

void hpa_first_look(struct hpa_memory *m, int64_t replicas, struct wall now)
{
    if (!m->proposals.n)
        mark(&m->proposals, replicas, now, INT64_MAX / 2);
}

static const struct val *rules_of(const struct val *hpa, name_id direction)
{
    return val_at(hpa, N_spec, N_behavior, direction);
}

static int64_t longest_period(const struct val *rules)
{
    int64_t longest = 0;
    VAL_EACH (val_get(rules, N_policies), p)
        longest = MAX(longest, val_int(val_get(p, N_periodSeconds), 0));
    return SECONDS(longest);
}

void hpa_note_change(const struct val *hpa, struct hpa_memory *m, int64_t from, int64_t to, struct wall now)
{
    bool up = to > from;
    m->from = from;
    m->to = to;
    if (!val_at(hpa, N_spec, N_behavior))
        return;
    mark(up ? &m->ups : &m->downs, up ? to - from : from - to, now,
         longest_period(rules_of(hpa, up ? N_scaleUp : N_scaleDown)));
}

void hpa_unnote_change(struct hpa_memory *m)
{
    struct hpa_marks *list = m->to > m->from ? &m->ups : &m->downs;
    struct hpa_mark *last = NULL;
    for (size_t i = 0; i < list->n; i++)
        if (!last || list->items[i].at.ns > last->at.ns)
            last = &list->items[i];
    if (last && m->to != m->from)
        last->n = 0;
    m->from = m->to = 0;
}

/* ---- without a behaviour ----------------------------------------------------------------------------- */

static void limit_plain(const struct val *hpa, const struct hpa_settings *s, struct hpa_memory *m,
                        int64_t current, int64_t wanted, struct wall now, struct hpa_limited *ret)
{
    int64_t min = hpa_min_replicas(hpa), max = val_int(val_at(hpa, N_spec, N_maxReplicas), 0), calm = wanted;
    int64_t fastest = MAX(current * DEFAULT_SCALE_UP_FACTOR, (int64_t)DEFAULT_SCALE_UP_LEAST);
    for (size_t i = 0; i < m->proposals.n; i++)
        if (m->proposals.items[i].at.ns >= now.ns - s->downscale_window)
            calm = MAX(calm, m->proposals.items[i].n);
    mark(&m->proposals, wanted, now, s->downscale_window);
    if (calm != wanted) {
        ret->able_reason = downs_stabilized;
        ret->able_message = downs_stabilized_text;
    }
    ret->replicas = calm;
    if (calm < min) {
        *ret = (struct hpa_limited){min, ret->able_reason, ret->able_message, true, too_few, too_few_text};
    } else if (calm > MIN(max, fastest)) {
        bool rate = max > fastest;
        *ret = (struct hpa_limited){MIN(max, fastest),
                                    ret->able_reason,
                                    ret->able_message,
                                    true,
                                    rate ? scale_up_limit : too_many,
                                    rate ? scale_up_text : too_many_text};
    }
}

/* ---- with one ---------------------------------------------------------------------------------------- */

static int64_t window_of(const struct val *rules, int64_t absent)
{
    const struct val *v = val_get(rules, N_stabilizationWindowSeconds);
    return v ? SECONDS(val_int(v, 0)) : absent;
}

static int64_t stabilized(const struct val *hpa, const struct hpa_settings *s, struct hpa_memory *m,
                          int64_t current, int64_t wanted, struct wall now)
{
    int64_t up_window = window_of(rules_of(hpa, N_scaleUp), 0),
            down_window = window_of(rules_of(hpa, N_scaleDown), s->downscale_window);
    int64_t lowest = wanted, highest = wanted;
    for (size_t i = 0; i < m->proposals.n; i++) {
        const struct hpa_mark *p = &m->proposals.items[i];
        if (p->at.ns > now.ns - up_window)
            lowest = MIN(lowest, p->n);
        if (p->at.ns > now.ns - down_window)
            highest = MAX(highest, p->n);
    }
    mark(&m->proposals, wanted, now, MAX(up_window, down_window));
    return MIN(MAX(current, lowest), highest);
}

static int64_t changed_within(const struct hpa_marks *m, int64_t seconds, struct wall now)
{
    int64_t sum = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->items[i].at.ns > now.ns - SECONDS(seconds))
            sum += m->items[i].n;
    return sum;
}

/* Where one policy ends, counted from the size at the beginning of its period. */
static int64_t policy_end(const struct val *policy, const struct hpa_memory *m, int64_t current, bool up,
                          struct wall now)
{
    int64_t seconds = val_int(val_get(policy, N_periodSeconds), 0),
            value = val_int(val_get(policy, N_value), 0);
    int64_t from = current - changed_within(&m->ups, seconds, now) + changed_within(&m->downs, seconds, now);
    if (str_is(val_getstr(policy, N_type), "Pods"))
        return up ? from + value : from - value;
    double share = (double)value / 100;
    return up ? (int64_t)ceil((double)from * (1 + share)) : (int64_t)((double)from * (1 - share));
}

static int64_t rate_limit(const struct val *hpa, const struct hpa_memory *m, int64_t current, bool up,
                          struct wall now)
{
    const struct val *rules = rules_of(hpa, up ? N_scaleUp : N_scaleDown);
    struct str select = val_getstr(rules, N_selectPolicy);
    if (str_is(select, "Disabled"))
        return current;
    bool highest = up != str_is(select, "Min"); /* the largest change, or the smallest */
    int64_t limit = highest ? INT64_MIN : INT64_MAX;
    VAL_EACH (val_get(rules, N_policies), p) {
        int64_t end = policy_end(p, m, current, up, now);
        limit = highest ? MAX(limit, end) : MIN(limit, end);
    }
    return up ? MAX(limit, current) : MIN(limit, current);
}

static void limit_by_rules(const struct val *hpa, const struct hpa_settings *s, struct hpa_memory *m,
                           int64_t current, int64_t wanted, struct wall now, struct hpa_limited *ret)
{
    int64_t min = hpa_min_replicas(hpa), max = val_int(val_at(hpa, N_spec, N_maxReplicas), 0);
    int64_t calm = stabilized(hpa, s, m, current, wanted, now);
    if (calm != wanted) {
        ret->able_reason = wanted >= current ? ups_stabilized : downs_stabilized;
        ret->able_message = wanted >= current ? ups_stabilized_text : downs_stabilized_text;
    }
    ret->replicas = calm;
    if (calm == current)
        return;
    int64_t rate = rate_limit(hpa, m, current, calm > current, now);
    if (calm > current && calm > MIN(max, rate)) {
        bool by_rate = max > rate;
        *ret = (struct hpa_limited){MIN(max, rate),
                                    ret->able_reason,
                                    ret->able_message,
                                    true,
                                    by_rate ? scale_up_limit : too_many,
                                    by_rate ? scale_up_text : too_many_text};
    } else if (calm < current && calm < MAX(min, rate)) {
        bool by_rate = min < rate;
        *ret = (struct hpa_limited){MAX(min, rate),
                                    ret->able_reason,
                                    ret->able_message,
                                    true,
                                    by_rate ? scale_down_limit : too_few,
                                    by_rate ? scale_down_text : too_few_text};
    }
}

void hpa_limit(const struct val *hpa, const struct hpa_settings *s, struct hpa_memory *m, int64_t current,
               int64_t wanted, struct wall now, struct hpa_limited *ret)
{
    *ret = (struct hpa_limited){.replicas = wanted,
                                .able_reason = "ReadyForNewScale",
                                .able_message = "recommended size matches current size",
                                .limit_reason = within_range,
                                .limit_message = in_range_text};
    if (val_at(hpa, N_spec, N_behavior))
        limit_by_rules(hpa, s, m, current, wanted, now, ret);
    else
        limit_plain(hpa, s, m, current, wanted, now, ret);
}
