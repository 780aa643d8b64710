/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceQuota: what would be used after the request must fit into every quota of the namespace; the new
 * usage is written to the quota's status before the object is stored, so that a burst cannot overrun it. The
 * quota controller corrects what requests that failed later have taken too much.
 */
#include "apiserver/admit.h"
#include "apiserver/limits.h"
#include "apiserver/state.h"
#include "apiserver/write.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/qos.h"

enum { TRIES = 8 };

static struct quantity one(void)
{
    return quantity_of(1, QUANTITY_DECIMAL_SI);
}

/* ---- what an object uses ----------------------------------------------------------------------------- */

static const struct {
    uint16_t res;
    const char *name;
} counted[] = {
    {RES_PODS, "pods"}, {RES_SERVICES, "services"}, {RES_REPLICATIONCONTROLLERS, "replicationcontrollers"},
    {RES_RESOURCEQUOTAS, "resourcequotas"}, {RES_SECRETS, "secrets"}, {RES_CONFIGMAPS, "configmaps"},
    {RES_PERSISTENTVOLUMECLAIMS, "persistentvolumeclaims"},
};

static bool pod_is_over(const struct val *pod)
{
    struct str phase = val_str(val_at(pod, N_status, N_phase));
    return str_is(phase, "Failed") || str_is(phase, "Succeeded");
}

static void use_pod(struct arena *a, const struct val *pod, struct amounts *u)
{
    struct amounts requests, limits;
    pod_amounts(a, val_get(pod, N_spec), N_requests, &requests);
    pod_amounts(a, val_get(pod, N_spec), N_limits, &limits);
    for (size_t i = 0; i < requests.n; i++) {
        struct str name = requests.items[i].name;
        bool basic = str_is(name, "cpu") || str_is(name, "memory") || str_is(name, "ephemeral-storage");
        if (basic)
            amounts_add(a, u, name, requests.items[i].q);
        amounts_add(a, u, arena_printf(a, "requests.%.*s", STR_ARG(name)), requests.items[i].q);
    }
    for (size_t i = 0; i < limits.n; i++)
        amounts_add(a, u, arena_printf(a, "limits.%.*s", STR_ARG(limits.items[i].name)), limits.items[i].q);
}

static void use_service(struct arena *a, const struct val *svc, struct amounts *u)
{
    struct str type = val_str(val_at(svc, N_spec, N_type));
    size_t ports = val_len(val_at(svc, N_spec, N_ports));
    bool balanced = str_is(type, "LoadBalancer");
    if (balanced)
        amounts_add(a, u, STR("services.loadbalancers"), one());
    if (str_is(type, "NodePort") ||
        (balanced && val_bool(val_at(svc, N_spec, N_allocateLoadBalancerNodePorts), true)))
        amounts_add(a, u, STR("services.nodeports"), quantity_of((int64_t)ports, QUANTITY_DECIMAL_SI));
}

static void use_claim(struct arena *a, const struct val *claim, struct amounts *u)
{
    struct quantity q =
        quantity_or_zero(val_str(val_key(val_at(claim, N_spec, N_resources, N_requests), STR("storage"))));
    struct str class = val_str(val_at(claim, N_spec, N_storageClassName));
    amounts_add(a, u, STR("requests.storage"), q);
    if (class.n) {
        amounts_add(a, u,
                    arena_printf(a, "%.*s.storageclass.storage.k8s.io/requests.storage", STR_ARG(class)), q);
        amounts_add(
            a, u, arena_printf(a, "%.*s.storageclass.storage.k8s.io/persistentvolumeclaims", STR_ARG(class)),
            one());
    }
}

static void use_object(struct arena *a, const struct resource *res, const struct val *v, struct amounts *u)
{
    amounts_add(a, u, arena_printf(a, "count/%s%s%s", res->name, res->group[0] ? "." : "", res->group),
                one());
    bool over = res->index == RES_PODS && pod_is_over(v);
    for (size_t i = 0; i < ARRAY_SIZE(counted) && !over; i++)
        if (counted[i].res == res->index)
            amounts_add(a, u, str_of(counted[i].name), one());
    if (res->index == RES_PODS && !over)
        use_pod(a, v, u);
    else if (res->index == RES_SERVICES)
        use_service(a, v, u);
    else if (res->index == RES_PERSISTENTVOLUMECLAIMS)
        use_claim(a, v, u);
}

/* ---- scopes ------------------------------------------------------------------------------------------ */

static bool in_set(const struct val *list, struct str s)
{
    VAL_EACH(list, i)
        if (str_eq(val_str(i), s))
            return true;
    return false;
}

static bool has_cross_affinity(const struct val *spec)
{
    static const name_id kinds[] = {N_podAffinity, N_podAntiAffinity};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct val *k = val_at(spec, N_affinity, kinds[i]);
        VAL_EACH(val_get(k, N_requiredDuringSchedulingIgnoredDuringExecution), t)
            if (val_len(val_get(t, N_namespaces)) || val_get(t, N_namespaceSelector))
                return true;
        VAL_EACH(val_get(k, N_preferredDuringSchedulingIgnoredDuringExecution), t)
            if (val_len(val_at(t, N_podAffinityTerm, N_namespaces)) ||
                val_at(t, N_podAffinityTerm, N_namespaceSelector))
                return true;
    }
    return false;
}

static bool in_scope(const struct val *pod, struct str scope, struct str op, const struct val *values)
{
    const struct val *spec = val_get(pod, N_spec);
    bool terminating = val_get(spec, N_activeDeadlineSeconds) != NULL;
    if (str_is(scope, "Terminating"))
        return terminating;
    if (str_is(scope, "NotTerminating"))
        return !terminating;
    if (str_is(scope, "BestEffort"))
        return strcmp(pod_qos_class(spec), "BestEffort") == 0;
    if (str_is(scope, "NotBestEffort"))
        return strcmp(pod_qos_class(spec), "BestEffort") != 0;
    if (str_is(scope, "CrossNamespacePodAffinity"))
        return has_cross_affinity(spec);
    struct str class = val_getstr(spec, N_priorityClassName);
    if (str_is(op, "In"))
        return in_set(values, class);
    if (str_is(op, "NotIn"))
        return !in_set(values, class);
    return str_is(op, "DoesNotExist") ? !class.n : class.n > 0;
}

static bool quota_concerns(const struct val *quota, const struct resource *res, const struct val *v)
{
    const struct val *scopes = val_at(quota, N_spec, N_scopes);
    const struct val *exprs = val_at(quota, N_spec, N_scopeSelector, N_matchExpressions);
    if (!val_len(scopes) && !val_len(exprs))
        return true;
    if (res->index != RES_PODS)
        return false;
    VAL_EACH(scopes, s)
        if (!in_scope(v, val_str(s), STR("Exists"), NULL))
            return false;
    VAL_EACH(exprs, e)
        if (!in_scope(v, val_getstr(e, N_scopeName), val_getstr(e, N_operator), val_get(e, N_values)))
            return false;
    return true;
}

/* ---- judging ----------------------------------------------------------------------------------------- */

static struct quantity minus(const struct amounts *now, const struct amounts *before, struct str name)
{
    struct quantity none = {0};
    const struct quantity *a = amounts_find(now, name), *b = before ? amounts_find(before, name) : NULL;
    return quantity_sub(a ? *a : none, b ? *b : none);
}

static struct str text(struct arena *a, struct quantity q)
{
    char t[QUANTITY_TEXT_MAX];
    return arena_str(a, str_of(quantity_text(q, t)));
}

/* Compute resources under quota must be said for every container. */
static int must_specify(struct admission *a, const struct object *quota, const struct amounts *use)
{
    static const char *const compute[] = {
        "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory", NULL};
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (!admit_is(a, RES_PODS, NULL) || a->op != ADMIT_CREATE)
        return 0;
    for (size_t i = 0; compute[i]; i++)
        if (val_key(val_at(quota->val, N_status, N_hard), str_of(compute[i])) &&
            !amounts_find(use, str_of(compute[i])))
            buf_printf(&b, "%s%s", b.n ? "," : "", compute[i]);
    if (!b.n)
        return 0;
    return admit_forbid(a, "failed quota: %.*s: must specify %.*s", STR_ARG(quota->name),
                        STR_ARG(buf_str(&b)));
}

/* The quota's status with the new usage in *ret; NULL when nothing of it is concerned. */
static int fit(struct admission *a, const struct object *quota, const struct amounts *use,
               const struct amounts *before, struct val **ret)
{
    struct arena *mem = a->r->arena;
    const struct val *hard = val_at(quota->val, N_status, N_hard),
                     *used = val_at(quota->val, N_status, N_used);
    CLEANUP_BUF struct buf asked = BUF_INIT;
    CLEANUP_BUF struct buf taken = BUF_INIT;
    CLEANUP_BUF struct buf limited = BUF_INIT;
    struct val *v = NULL;
    VAL_EACH_ENTRY(hard, k, limit) {
        struct str name = val_str(k);
        struct quantity delta = minus(use, before, name),
                        had = quantity_or_zero(val_str(val_key(used, name)));
        struct quantity now = quantity_add(had, delta), most = quantity_or_zero(val_str(limit));
        if (quantity_is_zero(delta))
            continue;
        if (quantity_cmp(now, most) > 0 && delta.nano > 0) {
            const char *comma = asked.n ? "," : "";
            buf_printf(&asked, "%s%.*s=%.*s", comma, STR_ARG(name), STR_ARG(text(mem, delta)));
            buf_printf(&taken, "%s%.*s=%.*s", comma, STR_ARG(name), STR_ARG(text(mem, had)));
            buf_printf(&limited, "%s%.*s=%.*s", comma, STR_ARG(name), STR_ARG(text(mem, most)));
        }
        if (!v)
            v = val_copy(mem, quota->val);
        val_put_str(mem, val_sub_map(mem, val_sub_obj(mem, v, N_status), N_used), name, text(mem, now));
    }
    if (asked.n)
        return admit_forbid(a, "exceeded quota: %.*s, requested: %.*s, used: %.*s, limited: %.*s",
                            STR_ARG(quota->name), STR_ARG(buf_str(&asked)), STR_ARG(buf_str(&taken)),
                            STR_ARG(buf_str(&limited)));
    *ret = v;
    return 0;
}

static int charge(struct admission *a, struct str name, const struct amounts *use,
                  const struct amounts *before)
{
    struct cache_kind *k = state_kind(a->r->server, RES_RESOURCEQUOTAS);
    for (int i = 0; i < TRIES; i++) {
        struct val *v = NULL;
        const struct object *stored = NULL, *quota = request_hold(a->r, cache_get(k, a->ns, name));
        if (!quota || !quota_concerns(quota->val, a->res, a->v))
            return 0;
        int e = must_specify(a, quota, use);
        if (!e)
            e = fit(a, quota, use, before, &v);
        if (e || !v || a->dry_run)
            return e;
        e = store_object(a->r, k, quota, v, &stored);
        if (e != STORE_CONFLICT)
            return e;
        if ((e = cache_fresh(a->r->server->cache)) < 0)
            return e;
    }
    return admit_forbid(a, "status unknown for quota: %.*s", STR_ARG(name));
}

int admit_resource_quota(struct admission *a)
{
    struct cache_kind *k = state_kind(a->r->server, RES_RESOURCEQUOTAS);
    struct amounts use = {.n = 0}, before = {.n = 0};
    if (a->sub || !a->ns.n || a->res->index == RES_RESOURCEQUOTAS)
        return 0;
    struct tree *quotas = tree_ref(k->root);
    use_object(a->r->arena, a->res, a->v, &use);
    if (a->old)
        use_object(a->r->arena, a->res, a->old, &before);
    int e = 0;
    for (struct tree_iter it = tree_begin_ns(quotas, a->ns); !e && tree_in_ns(&it, a->ns); tree_next(&it))
        e = charge(a, it.object->name, &use, a->old ? &before : NULL);
    tree_unref(quotas);
    return e;
}
