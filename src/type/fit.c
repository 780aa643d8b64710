/* SPDX-License-Identifier: Apache-2.0 */
#include "type/fit.h"

#include "type/meta.h"

/* ---- taints
 * ------------------------------------------------------------------------------------------------------- */

static bool tolerates(const struct val *toleration, const struct val *taint)
{
    struct str effect = val_getstr(toleration, N_effect), key = val_getstr(toleration, N_key);
    struct str op = val_getstr(toleration, N_operator);
    if (effect.n && !str_eq(effect, val_getstr(taint, N_effect)))
        return false;
    if (key.n && !str_eq(key, val_getstr(taint, N_key)))
        return false;
    if (str_is(op, "Exists"))
        return true;
    return (!op.n || str_is(op, "Equal")) && key.n &&
           str_eq(val_getstr(toleration, N_value), val_getstr(taint, N_value));
}

bool match_tolerates(const struct val *tolerations, const struct val *taint)
{
    VAL_EACH (tolerations, v) {
        if (tolerates(v, taint))
            return true;
    }
    return false;
}

static unsigned effect_of(const struct val *taint)
{
    struct str e = val_getstr(taint, N_effect);
    return str_is(e, "NoSchedule")  ? EFFECT_NO_SCHEDULE
           : str_is(e, "NoExecute") ? EFFECT_NO_EXECUTE
                                    : EFFECT_PREFER_NO_SCHEDULE;
}

const struct val *match_untolerated(const struct val *taints, const struct val *tolerations, unsigned effects)
{
    VAL_EACH (taints, v) {
        if ((effect_of(v) & effects) && !match_tolerates(tolerations, v))
            return v;
    }
    return NULL;
}

size_t match_count_untolerated(const struct val *taints, const struct val *tolerations, unsigned effects)
{
    size_t n = 0;
    VAL_EACH (taints, v) {
        n += (effect_of(v) & effects) && !match_tolerates(tolerations, v);
    }
    return n;
}

/* ---- node selectors
 * ------------------------------------------------------------------------------------------------- */

static bool in_values(const struct val *values, struct str s)
{
    VAL_EACH (values, v) {
        if (str_eq(val_str(v), s))
            return true;
    }
    return false;
}

/* have.p is NULL when the label or field is absent. */
static bool match_requirement(const struct val *r, struct str have)
{
    struct str op = val_getstr(r, N_operator);
    const struct val *values = val_get(r, N_values);
    int64_t a, b;
    if (str_is(op, "In"))
        return have.p && in_values(values, have);
    if (str_is(op, "NotIn"))
        return !have.p || !in_values(values, have);
    if (str_is(op, "Exists"))
        return have.p;
    if (str_is(op, "DoesNotExist"))
        return !have.p;
    if (!have.p || str_to_i64(have, &a) < 0 || str_to_i64(val_str(val_item(values, 0)), &b) < 0)
        return false;
    return str_is(op, "Gt") ? a > b : str_is(op, "Lt") && a < b;
}

static struct str label_of(const struct val *labels, struct str key)
{
    const struct val *v = val_key(labels, key);
    return v ? str_n(val_cstr(v), v->n) : STR_NULL;
}

bool match_node_term(const struct val *term, const struct val *node_labels, struct str node_name)
{
    const struct val *expressions = val_get(term, N_matchExpressions), *fields = val_get(term, N_matchFields);
    if (!val_len(expressions) && !val_len(fields))
        return false;
    VAL_EACH (expressions, r) {
        if (!match_requirement(r, label_of(node_labels, val_getstr(r, N_key))))
            return false;
    }
    VAL_EACH (fields, r) {
        if (!str_is(val_getstr(r, N_key), "metadata.name") || !match_requirement(r, node_name))
            return false;
    }
    return true;
}

bool match_node(const struct val *pod_spec, const struct val *node_labels, struct str node_name)
{
    VAL_EACH_ENTRY (val_get(pod_spec, N_nodeSelector), k, v) {
        struct str have = label_of(node_labels, val_str(k));
        if (!have.p || !str_eq(have, val_str(v)))
            return false;
    }
    const struct val *required =
        val_at(pod_spec, N_affinity, N_nodeAffinity, N_requiredDuringSchedulingIgnoredDuringExecution);
    if (!required)
        return true;
    VAL_EACH (val_get(required, N_nodeSelectorTerms), term) {
        if (match_node_term(term, node_labels, node_name))
            return true;
    }
    return false;
}
