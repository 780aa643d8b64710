/* SPDX-License-Identifier: Apache-2.0 */
/* pods/eviction: a deletion that asks the pod's disruption budget first (KEP-85). */
#include "apiserver/select.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

#define TOO_MANY_WAITING 2000 /* pods in disruptedPods: the controller cannot keep up */

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
    TREE_EACH(state_kind(r->server, RES_PODDISRUPTIONBUDGETS)->root, pod->namespace_, it)
        if (covers(r, it.object->val, pod)) {
            found = it.object;
            ++*ret_n;
        }
    return found;
}

static int too_many(struct request *r, const char *text)
{
    int e = status_set(&r->status, 429, "TooManyRequests",
                       "Cannot evict pod as it would violate the pod's disruption "
                       "budget.");
    cause_add(&r->status, "DisruptionBudget", STR(""), "%s", text);
    return e;
}

/* Takes one disruption of the budget and notes the pod. */
static int take_disruption(struct request *r, const struct object *pod, const struct object *pdb)
{
    const struct val *status = val_get(pdb->val, N_status);
    int64_t allowed = val_int(val_get(status, N_disruptionsAllowed), 0);
    if (val_int(val_get(status, N_observedGeneration), 0) < val_int(val_get(pdb->meta, N_generation), 0)) {
        r->status.retry_after = 10;
        return too_many(r, arena_printf(r->arena,
                                        "The disruption budget %.*s is still being processed by the server.",
                                        STR_ARG(pdb->name))
                               .p);
    }
    if (val_len(val_get(status, N_disruptedPods)) > TOO_MANY_WAITING)
        return status_forbidden(&r->status, pdb->res, pdb->name,
                                "DisruptedPods map too big - too many evictions not "
                                "confirmed by PDB controller");
    if (allowed <= 0)
        return too_many(
            r, arena_printf(r->arena,
                            "The disruption budget %.*s needs %lld healthy pods and has %lld currently",
                            STR_ARG(pdb->name), (long long)val_int(val_get(status, N_desiredHealthy), 0),
                            (long long)val_int(val_get(status, N_currentHealthy), 0))
                   .p);
    if (r->opt.dry_run)
        return 0;
    struct val *v = val_copy(r->arena, pdb->val);
    struct val *s = val_sub_obj(r->arena, v, N_status);
    char text[TIME_TEXT_MAX];
    val_set_int(r->arena, s, N_disruptionsAllowed, allowed - 1);
    val_put_str(r->arena, val_sub_map(r->arena, s, N_disruptedPods), pod->name,
                str_of(time_format(r->now, text)));
    if (allowed == 1)
        condition_set(r->arena, val_sub_list(r->arena, s, N_conditions), STR("DisruptionAllowed"), "False",
                      "InsufficientPods", STR(""), r->now);
    const struct object *stored = NULL;
    return store_object(r, state_kind(r->server, RES_PODDISRUPTIONBUDGETS), pdb, v, &stored);
}

static bool never_ran(const struct object *pod)
{
    struct str phase = val_str(val_at(pod->val, N_status, N_phase));
    return str_is(phase, "Succeeded") || str_is(phase, "Failed") || str_is(phase, "Pending") ||
           obj_deleting(pod->val);
}

/* Pods that are not ready do not count; a budget may let them go (unhealthyPodEvictionPolicy). */
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

static int ask_budget(struct request *r, const struct object *pod)
{
    for (int i = 0; i < 10; i++) {
        size_t n;
        const struct object *pdb = request_hold(r, budget_of(r, pod, &n));
        if (n > 1)
            return status_internal(&r->status,
                                   "This pod has more than one PodDisruptionBudget, which the eviction "
                                   "subresource does not support.");
        if (!pdb || spares_unhealthy(pod, pdb))
            return 0;
        int e = take_disruption(r, pod, pdb);
        if (e != STORE_CONFLICT)
            return e;
        if ((e = cache_fresh(r->server->cache)) < 0)
            return e;
    }
    return too_many(r, "the disruption budget is being changed by too many");
}

static void options_of(const struct val *eviction, struct request *r, struct delete_options *o)
{
    const struct val *d = val_get(eviction, N_deleteOptions), *grace = val_get(d, N_gracePeriodSeconds);
    *o = (struct delete_options){.grace = grace ? val_int(grace, 0) : -1,
                                 .orphan = -1,
                                 .dry_run = r->opt.dry_run,
                                 .propagation = val_getstr(d, N_propagationPolicy),
                                 .uid = val_str(val_at(d, N_preconditions, N_uid)),
                                 .resource_version = val_str(val_at(d, N_preconditions, N_resourceVersion))};
    VAL_EACH(val_get(d, N_dryRun), item)
        o->dry_run |= str_is(val_str(item), "All");
    r->opt.dry_run = o->dry_run;
}

int sub_eviction(struct request *r)
{
    struct val *eviction = NULL;
    struct delete_options o;
    const struct object *pod = NULL, *deleted = NULL;
    bool gone = false;
    int e = decode_body(r, &types[T_policy_v1_Eviction], "policy/v1", "Eviction", &eviction);
    if (e)
        return e;
    if (obj_name(eviction).n && !str_eq(obj_name(eviction), r->info.name))
        return status_bad_request(&r->status, "name in URL does not match name in Eviction object");
    options_of(eviction, r, &o);
    if ((e = find_named(r, &pod)))
        return e;
    if (!never_ran(pod) && (e = ask_budget(r, pod)))
        return e;
    e = write_delete(r, r->ns, r->info.name, &o, &deleted, &gone);
    if (!e)
        answer_success(r, 201, NULL, STR(""), STR(""));
    return e;
}
