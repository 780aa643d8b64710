/* SPDX-License-Identifier: Apache-2.0 */
/* Small plugins about pods: Priority, DefaultTolerationSeconds, RuntimeClass. */
#include "apiserver/admit.h"
#include "apiserver/state.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/quantity.h"

static bool is_pod_create(const struct admission *a)
{
    return admit_is(a, RES_PODS, NULL) && a->op == ADMIT_CREATE;
}

/* ---- Priority ---------------------------------------------------------------------------------------- */

/* The class that counts when a pod names none: of several the one with the lowest value. */
static const struct val *default_class(const struct admission *a)
{
    const struct val *best = NULL;
    TREE_EACH(state_kind(a->r->server, RES_PRIORITYCLASSES)->root, STR(""), it) {
        const struct val *v = it.object->val;
        if (val_bool(val_get(v, N_globalDefault), false) &&
            (!best || val_int(val_get(v, N_value), 0) < val_int(val_get(best, N_value), 0)))
            best = v;
    }
    return best;
}

static int one_default_only(struct admission *a)
{
    if (a->res->index != RES_PRIORITYCLASSES || !val_bool(val_get(a->v, N_globalDefault), false))
        return 0;
    const struct val *other = default_class(a);
    if (other && !str_eq(obj_name(other), a->name))
        return admit_forbid(a, "PriorityClass %.*s is already marked as default. Only one default can exist",
                            STR_ARG(obj_name(other)));
    return 0;
}

int admit_priority(struct admission *a)
{
    struct arena *mem = a->r->arena;
    if (!admit_is(a, RES_PODS, NULL))
        return one_default_only(a);
    struct val *spec = val_sub_obj(mem, a->v, N_spec);
    if (a->op == ADMIT_UPDATE) {
        const struct val *was = val_get(val_get(a->old, N_spec), N_priority);
        if (was && !val_get(spec, N_priority))
            val_set_ref(mem, spec, N_priority, was);
        return 0;
    }
    struct str name = val_getstr(spec, N_priorityClassName);
    const struct val *class = name.n ? admit_find(a, RES_PRIORITYCLASSES, STR(""), name) : default_class(a);
    if (name.n && !class)
        return admit_forbid(a, "no PriorityClass with name %.*s was found", STR_ARG(name));
    int64_t value = val_int(val_get(class, N_value), 0);
    const struct val *given = val_get(spec, N_priority);
    if (given && val_int(given, 0) != value)
        return admit_forbid(
            a,
            "the integer value of priority (%lld) must not be provided in pod spec; priority admission "
            "controller computed %lld from the given PriorityClass name",
            (long long)val_int(given, 0), (long long)value);
    if (class)
        val_set_str(mem, spec, N_priorityClassName, obj_name(class));
    val_set_int(mem, spec, N_priority, value);
    struct str policy = val_getstr(class, N_preemptionPolicy);
    struct str own = val_getstr(spec, N_preemptionPolicy);
    if (!policy.n)
        policy = STR("PreemptLowerPriority");
    if (own.n && !str_eq(own, policy))
        return admit_forbid(
            a,
            "the string value of PreemptionPolicy (%.*s) must not be provided in pod spec; priority "
            "admission controller computed %.*s from the given PriorityClass name",
            STR_ARG(own), STR_ARG(policy));
    val_set_str(mem, spec, N_preemptionPolicy, policy);
    return 0;
}

/* ---- DefaultTolerationSeconds ------------------------------------------------------------------------ */

enum { TOLERATION_SECONDS = 300 };
static const char *const lost_node_taints[] = {"node.kubernetes.io/not-ready",
                                               "node.kubernetes.io/unreachable"};

static int64_t seconds_for(const struct apiserver *s, size_t taint)
{
    int64_t set = taint == 0 ? s->config.tolerate_not_ready : s->config.tolerate_unreachable;
    return set > 0 ? set : set < 0 ? 0 : TOLERATION_SECONDS;
}

static bool tolerates(const struct val *spec, const char *key)
{
    VAL_EACH(val_get(spec, N_tolerations), t) {
        struct str k = val_getstr(t, N_key), effect = val_getstr(t, N_effect);
        if ((!k.n || str_is(k, key)) && (!effect.n || str_is(effect, "NoExecute")))
            return true;
    }
    return false;
}

int admit_default_toleration_seconds(struct admission *a)
{
    if (!admit_is(a, RES_PODS, NULL))
        return 0;
    struct arena *mem = a->r->arena;
    struct val *spec = val_sub_obj(mem, a->v, N_spec);
    for (size_t i = 0; i < ARRAY_SIZE(lost_node_taints); i++) {
        if (tolerates(spec, lost_node_taints[i]))
            continue;
        struct val *t = val_add_obj(mem, val_sub_list(mem, spec, N_tolerations));
        val_set_str(mem, t, N_key, str_of(lost_node_taints[i]));
        val_set_str(mem, t, N_operator, STR("Exists"));
        val_set_str(mem, t, N_effect, STR("NoExecute"));
        val_set_int(mem, t, N_tolerationSeconds, seconds_for(a->r->server, i));
    }
    return 0;
}

/* ---- RuntimeClass (KEP-688) -------------------------------------------------------------------------- */

static int find_class(struct admission *a, const struct val **ret)
{
    struct str name = val_str(val_at(a->v, N_spec, N_runtimeClassName));
    *ret = name.n ? admit_find(a, RES_RUNTIMECLASSES, STR(""), name) : NULL;
    if (name.n && !*ret)
        return admit_forbid(a, "pod rejected: RuntimeClass \"%.*s\" not found", STR_ARG(name));
    return 0;
}

static int merge_node_selector(struct admission *a, struct val *spec, const struct val *scheduling)
{
    VAL_EACH_ENTRY(val_get(scheduling, N_nodeSelector), k, v) {
        struct val *map = val_sub_map(a->r->arena, spec, N_nodeSelector);
        const struct val *own = val_key(map, val_str(k));
        if (own && !str_eq(val_str(own), val_str(v)))
            return admit_forbid(
                a,
                "conflict: runtimeClass.scheduling.nodeSelector[%.*s] = %.*s; pod.spec.nodeSelector[%.*s] "
                "= %.*s",
                STR_ARG(val_str(k)), STR_ARG(val_str(v)), STR_ARG(val_str(k)), STR_ARG(val_str(own)));
        val_put_str(a->r->arena, map, val_str(k), val_str(v));
    }
    return 0;
}

int admit_runtime_class(struct admission *a)
{
    const struct val *class = NULL;
    int e = is_pod_create(a) ? find_class(a, &class) : 0;
    if (e || !class)
        return e;
    struct arena *mem = a->r->arena;
    struct val *spec = val_sub_obj(mem, a->v, N_spec);
    const struct val *overhead = val_at(class, N_overhead, N_podFixed);
    if (overhead && val_get(spec, N_overhead) && !val_equal(val_get(spec, N_overhead), overhead))
        return admit_forbid(a, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    if (overhead)
        val_set_ref(mem, spec, N_overhead, val_copy(mem, overhead));
    const struct val *scheduling = val_get(class, N_scheduling);
    if ((e = merge_node_selector(a, spec, scheduling)))
        return e;
    VAL_EACH(val_get(scheduling, N_tolerations), t)
        val_add(mem, val_sub_list(mem, spec, N_tolerations), *val_copy(mem, t));
    return 0;
}

int admit_runtime_class_check(struct admission *a)
{
    const struct val *class = NULL;
    int e = is_pod_create(a) ? find_class(a, &class) : 0;
    if (e || class || !is_pod_create(a) || !val_len(val_at(a->v, N_spec, N_overhead)))
        return e;
    return admit_forbid(a,
                        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
}
