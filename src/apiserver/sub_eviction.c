/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pods/eviction: a deletion that asks the pod's disruption budget first (KEP-85). A pod that has ended, has
 * not begun or is being deleted disrupts nobody any more; one that is not ready may go as
 * unhealthyPodEvictionPolicy says (KEP-3017). Who is evicted learns why by its condition DisruptionTarget
 * (KEP-3329).
 */
#include "apiserver/admit.h"
#include "apiserver/select.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

enum {
    TOO_MANY_WAITING = 2000, /* pods in disruptedPods: the controller cannot keep up */
    TRIES = 20,
    AGAIN_SECONDS = 10,
};

/* ---- the budget -------------------------------------------------------------------------------------- */

static bool covers(struct request *r, const struct val *pdb, const struct object *pod)
{
    struct selector s;
    const struct val *sel = val_at(pdb, N_spec, N_selector);
    return sel && selector_from_val(r->arena, sel, &s, NULL) == 0 &&
           selector_matches(&s, obj_labels(pod->val));
}

static const struct object *budget_of(struct request *r, const struct object *pod, size_t *ret_n)
{
    const struct object *found = NULL;
    *ret_n = 0;
    TREE_EACH (state_kind(r->server, RES_PODDISRUPTIONBUDGETS)->root, pod->namespace_, it)
        if (covers(r, it.object->val, pod)) {
            found = it.object;
            ++*ret_n;
        }
    return found;
}

static void add_cause(struct request *r, const struct object *pdb, const char *fmt, ...) PRINTF(3, 4);
static void add_cause(struct request *r, const struct object *pdb, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    cause_add(&r->status, "DisruptionBudget", STR(""), "The disruption budget " STR_FMT " " STR_FMT,
              STR_ARG(pdb->name), STR_ARG(buf_str(&b)));
}

static int too_many(struct request *r, int retry_after)
{
    r->status.retry_after = retry_after;
    return status_set(&r->status, 429, "TooManyRequests",
                      "Cannot evict pod as it would violate the pod's disruption budget.");
}

static int still_processed(struct request *r, const struct object *pdb)
{
    int e = too_many(r, AGAIN_SECONDS);
    add_cause(r, pdb, "is still being processed by the server.");
    return e;
}

static int none_allowed(struct request *r, const struct object *pdb)
{
    const struct val *status = val_get(pdb->val, N_status);
    const struct val *c = condition_find(val_get(status, N_conditions), STR("DisruptionAllowed"));
    int64_t desired = val_int(val_get(status, N_desiredHealthy), 0);
    int64_t healthy = val_int(val_get(status, N_currentHealthy), 0);
    struct str reason = val_getstr(c, N_reason), message = val_getstr(c, N_message);
    bool explained = str_is(val_getstr(c, N_status), "False") && message.n;
    int e = too_many(r, 0);
    if (explained && str_is(reason, "SyncFailed")) /* the numbers are not to be trusted then */
        add_cause(r, pdb, "does not allow evicting pods currently because it failed sync: " STR_FMT,
                  STR_ARG(message));
    else if (healthy <= desired)
        add_cause(r, pdb, "needs %lld healthy pods and has %lld currently", (long long)desired,
                  (long long)healthy);
    else if (explained)
        add_cause(r, pdb, "does not allow evicting pods currently (" STR_FMT "): " STR_FMT, STR_ARG(reason),
                  STR_ARG(message));
    else
        add_cause(r, pdb, "does not allow evicting pods currently");
    return e;
}

static int out_of_order(struct request *r, const struct object *pdb, const char *why, const char *cause)
{
    int e = status_forbidden(&r->status, pdb->res, pdb->name, why);
    add_cause(r, pdb, "does not allow evicting pods currently: %s", cause);
    return e;
}

/* One disruption less, and a note of the pod: until it is seen to go, it does not count as healthy. */
static struct val *with_one_less(struct request *r, const struct object *pod, const struct object *pdb)
{
    char text[TIME_TEXT_MAX];
    struct val *v = val_copy(r->arena, pdb->val), *s = val_sub_obj(r->arena, v, N_status);
    int64_t allowed = val_int(val_get(s, N_disruptionsAllowed), 0) - 1;
    if (allowed > 0)
        val_set_int(r->arena, s, N_disruptionsAllowed, allowed);
    else
        val_del(s, N_disruptionsAllowed);
    val_put_str(r->arena, val_sub_map(r->arena, s, N_disruptedPods), pod->name,
                str_of(time_format(r->now, text)));
    if (allowed == 0)
        condition_set(r->arena, val_sub_list(r->arena, s, N_conditions), STR("DisruptionAllowed"), "False",
                      "InsufficientPods", STR(""), r->now);
    return v;
}

/* Takes one disruption of the budget. 0, a refusal, or STORE_CONFLICT: somebody else changed it meanwhile. */
static int take_disruption(struct request *r, const struct object *pod, const struct object *pdb)
{
    const struct val *status = val_get(pdb->val, N_status);
    int64_t allowed = val_int(val_get(status, N_disruptionsAllowed), 0);
    if (val_int(val_get(status, N_observedGeneration), 0) < val_int(val_get(pdb->meta, N_generation), 0))
        return still_processed(r, pdb);
    if (allowed < 0)
        return out_of_order(r, pdb, "pdb disruptions allowed is negative",
                            "pdb disruptions allowed is negative");
    if (val_len(val_get(status, N_disruptedPods)) > TOO_MANY_WAITING)
        return out_of_order(r, pdb,
                            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
                            "too many pending evictions not confirmed by PDB controller");
    if (allowed == 0)
        return none_allowed(r, pdb);
    if (r->opt.dry_run)
        return 0;
    const struct object *stored = NULL;
    return store_object(r, state_kind(r->server, RES_PODDISRUPTIONBUDGETS), pdb, with_one_less(r, pod, pdb),
                        &stored);
}

/* Pods that are not ready are not what a budget guards, unless all that it guards are not enough as it is. */
static bool spares_unhealthy(const struct object *pod, const struct object *pdb)
{
    if (condition_is(val_at(pod->val, N_status, N_conditions), STR("Ready"), "True"))
        return false;
    if (str_is(val_str(val_at(pdb->val, N_spec, N_unhealthyPodEvictionPolicy)), "AlwaysAllow"))
        return true;
    const struct val *status = val_get(pdb->val, N_status);
    int64_t desired = val_int(val_get(status, N_desiredHealthy), 0);
    return desired > 0 && val_int(val_get(status, N_currentHealthy), 0) >= desired;
}

/* *ret_pdb: the budget, if the pod was let go because it is not ready: it must not have become so before it
 * is deleted. */
static int ask_budget(struct request *r, const struct object *pod, const struct object **ret_pdb)
{
    for (int i = 0; i < TRIES; i++) {
        size_t n;
        const struct object *pdb = request_hold(r, budget_of(r, pod, &n));
        if (n > 1)
            return status_set(
                &r->status, 500, NULL,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
                "support.");
        if (!pdb)
            return 0;
        if (spares_unhealthy(pod, pdb)) {
            *ret_pdb = pdb;
            return 0;
        }
        int e = take_disruption(r, pod, pdb);
        if (e != STORE_CONFLICT)
            return e;
        if ((e = cache_fresh(r->server->cache)) < 0)
            return e;
    }
    return too_many(r, AGAIN_SECONDS);
}

/* ---- the pod ----------------------------------------------------------------------------------------- */

static bool disrupts_nobody(const struct object *pod)
{
    struct str phase = val_str(val_at(pod->val, N_status, N_phase));
    return str_is(phase, "Succeeded") || str_is(phase, "Failed") || str_is(phase, "Pending") ||
           obj_deleting(pod->val);
}

static int check_preconditions(struct request *r, const struct object *now, const struct delete_options *o)
{
    struct str why = delete_precondition_fault(r->arena, now, o);
    return why.n ? status_conflict(&r->status, now->res, now->name, why.p) : 0;
}

static int add_condition(struct request *r, const struct object *now, void *arg, struct val **ret)
{
    int e = check_preconditions(r, now, arg);
    if (e)
        return e;
    struct val *v = val_copy(r->arena, now->val), *status = val_sub_obj(r->arena, v, N_status);
    condition_set(r->arena, val_sub_list(r->arena, status, N_conditions), STR("DisruptionTarget"), "True",
                  "EvictionByEvictionAPI", STR("Eviction API: evicting"), r->now);
    *ret = v;
    return 0;
}

/* as_of: a resourceVersion since when the pod must not have changed; empty: as the client says. */
static int delete_pod(struct request *r, const struct delete_options *wanted, struct str as_of)
{
    struct delete_options o = *wanted;
    const struct object *now = NULL;
    bool gone = false;
    if (as_of.n && !o.resource_version.n)
        o.resource_version = as_of;
    int e = o.dry_run ? 0 : write_update(r, add_condition, &o, WRITE_NO_CHECKS | WRITE_NO_ADMIT, &now, NULL);
    if (e)
        return e;
    if (now && o.resource_version.n) /* that change was ours */
        o.resource_version = arena_printf(r->arena, "%lld", (long long)now->revision);
    return write_delete(r, r->ns, r->info.name, &o, &now, &gone);
}

/* Nobody is disrupted, though a pod that has not begun might do so this very moment. */
static int delete_at_once(struct request *r, const struct object *pod, const struct delete_options *o)
{
    bool pending = str_is(val_str(val_at(pod->val, N_status, N_phase)), "Pending") && !obj_deleting(pod->val);
    return delete_pod(r, o, pending ? val_getstr(pod->meta, N_resourceVersion) : STR_NULL);
}

static int evict(struct request *r, const struct delete_options *o)
{
    const struct object *pod = NULL, *pdb = NULL;
    int e = 0;
    for (int i = 0; i < TRIES; i++) {
        if ((e = find_named(r, &pod)))
            return e;
        if (!disrupts_nobody(pod))
            break;
        e = delete_at_once(r, pod, o);
        if (e != 409 || o->resource_version.n)
            return e;
        status_init(&r->status, r->arena);
        pod = NULL;
    }
    if (!pod)
        return status_conflict(&r->status, r->kind->res, r->info.name, NULL);
    if ((e = ask_budget(r, pod, &pdb)))
        return e;
    e = delete_pod(r, o, pdb ? val_getstr(pod->meta, N_resourceVersion) : STR_NULL);
    if (e != 409 || !pdb || o->resource_version.n)
        return e;
    status_init(&r->status, r->arena);
    return still_processed(r, pdb);
}

/* ---- the request ------------------------------------------------------------------------------------- */

static void options_of(const struct val *eviction, struct request *r, struct delete_options *o)
{
    const struct val *d = val_get(eviction, N_deleteOptions), *grace = val_get(d, N_gracePeriodSeconds);
    const struct val *orphan = val_get(d, N_orphanDependents);
    *o = (struct delete_options){.grace = grace ? val_int(grace, 0) : -1,
                                 .orphan = orphan ? val_bool(orphan, false) : -1,
                                 .dry_run = r->opt.dry_run,
                                 .propagation = val_getstr(d, N_propagationPolicy),
                                 .uid = val_str(val_at(d, N_preconditions, N_uid)),
                                 .resource_version = val_str(val_at(d, N_preconditions, N_resourceVersion))};
    VAL_EACH (val_get(d, N_dryRun), item)
        o->dry_run |= str_is(val_str(item), "All");
    r->opt.dry_run = o->dry_run;
}

static int check(struct request *r, const struct val *eviction)
{
    const struct val *reckless =
        val_at(eviction, N_deleteOptions, N_ignoreStoreReadErrorWithClusterBreakingPotential);
    if (!str_eq(obj_name(eviction), r->info.name))
        return status_bad_request(&r->status, "name in URL does not match name in Eviction object");
    if (!val_bool(reckless, false))
        return 0;
    cause_invalid(&r->status, STR("deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential"), reckless,
                  "can not be set for pod eviction, try after removing the option");
    return status_invalid(&r->status, STR("policy"), STR("Eviction"), r->info.name);
}

static const struct admit_body eviction_body = {&types[T_policy_v1_Eviction], "policy", "v1", "Eviction"};

int sub_eviction(struct request *r)
{
    struct val *eviction = NULL;
    struct delete_options o;
    int e = decode_body(r, &types[T_policy_v1_Eviction], "policy/v1", "Eviction", &eviction);
    if (!e)
        e = check(r, eviction);
    if (!e)
        e = admit_subresource(r, ADMIT_CREATE, &eviction_body, eviction);
    if (e)
        return e;
    options_of(eviction, r, &o);
    e = evict(r, &o);
    if (!e)
        answer_success(r, 201, NULL, STR(""), STR(""));
    return e;
}
