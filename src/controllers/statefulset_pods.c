/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/pods.h"
#include "controllers/statefulset.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define NAME_LABEL "statefulset.kubernetes.io/pod-name"
#define INDEX_LABEL "apps.kubernetes.io/pod-index"
#define REVISION_LABEL "controller-revision-hash"

/* ---- identity ---------------------------------------------------------------------------------------- */

int64_t stateful_ordinal(const struct object *set, struct str pod_name)
{
    ssize_t dash = str_rfind(pod_name, '-');
    uint64_t n;
    if (dash < 0 || !str_eq(str_slice(pod_name, 0, (size_t)dash), set->name) ||
        str_to_u64(str_from(pod_name, (size_t)dash + 1), &n) < 0 || n > INT32_MAX)
        return -1;
    return (int64_t)n;
}

struct str stateful_revision(const struct object *pod)
{
    return obj_label(pod->val, STR(REVISION_LABEL));
}

/* Below the partition pods are made as they were; so are, without one, the first that have not been updated.
 */
static bool is_made_as_it_was(const struct stateful *s, int64_t ordinal)
{
    const struct val *strategy = val_get(s->spec, N_updateStrategy),
                     *rolling = val_get(strategy, N_rollingUpdate);
    if (rolling)
        return ordinal < s->start + val_int(val_get(rolling, N_partition), 0);
    return str_is(val_getstr(strategy, N_type), "RollingUpdate") &&
           ordinal < s->start + val_int(val_at(s->set->val, N_status, N_currentReplicas), 0);
}

void stateful_plan(struct stateful *s, struct place *p)
{
    bool old = is_made_as_it_was(s, p->ordinal);
    p->name = arena_printf(s->w->arena, STR_FMT "-%lld", STR_ARG(s->set->name), (long long)p->ordinal);
    p->revision = old ? s->current->name : s->update->name;
    p->template = old ? s->current_template : val_get(s->spec, N_template);
}

static void set_labels(struct stateful *s, struct val *meta, const struct place *p)
{
    struct arena *a = s->w->arena;
    struct val *labels = own_map(a, meta, N_labels);
    val_put_str(a, labels, STR(NAME_LABEL), p->name);
    val_put_str(a, labels, STR(INDEX_LABEL), arena_printf(a, "%lld", (long long)p->ordinal));
}

static bool has_identity(const struct place *p)
{
    return str_eq(obj_label(p->pod->val, STR(NAME_LABEL)), p->name);
}

/* ---- volumes ----------------------------------------------------------------------------------------- */

static const struct val *named(const struct val *list, struct str name)
{
    VAL_EACH (list, v)
        if (str_eq(val_getstr(v, N_name), name))
            return v;
    return NULL;
}

static bool has_claim_template(const struct stateful *s, struct str name)
{
    VAL_EACH (val_get(s->spec, N_volumeClaimTemplates), t)
        if (str_eq(obj_name(t), name))
            return true;
    return false;
}

static bool has_storage(struct stateful *s, const struct place *p)
{
    const struct val *volumes = val_at(p->pod->val, N_spec, N_volumes);
    VAL_EACH (val_get(s->spec, N_volumeClaimTemplates), t) {
        const struct val *source = val_get(named(volumes, obj_name(t)), N_persistentVolumeClaim);
        if (!str_eq(val_getstr(source, N_claimName), claim_name(s, t, p->ordinal)))
            return false;
    }
    return true;
}

/* The pod's spec with its claims in place of what has their names. */
static void set_storage(struct stateful *s, struct val *pod, const struct place *p)
{
    struct arena *a = s->w->arena;
    struct val *spec = val_set(a, pod, N_spec, *val_copy_shallow(a, val_get(pod, N_spec)));
    const struct val *others = val_get(spec, N_volumes);
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (val_get(s->spec, N_volumeClaimTemplates), t) {
        struct val *volume = val_add_obj(a, list);
        val_set_str(a, volume, N_name, obj_name(t));
        val_set_str(a, val_sub_obj(a, volume, N_persistentVolumeClaim), N_claimName,
                    claim_name(s, t, p->ordinal));
    }
    VAL_EACH (others, v)
        if (!has_claim_template(s, val_getstr(v, N_name)))
            val_add(a, list, *v);
    val_set_ref(a, spec, N_volumes, list->n ? list : NULL);
}

/* ---- what is told ------------------------------------------------------------------------------------ */

static void tell_about(struct stateful *s, struct write *x, const struct place *p, const char *verb)
{
    struct arena *a = s->w->arena;
    struct telling *t = ARENA_NEW(a, struct telling);
    struct str set = s->set->name;
    *t = (struct telling){
        .reason = arena_printf(a, "Successful%s", verb).p,
        .text = arena_printf(a, "%s Pod ", verb).p,
        .tail = arena_printf(a, " in StatefulSet " STR_FMT " successful", STR_ARG(set)).p,
        .failed_reason = arena_printf(a, "Failed%s", verb).p,
        .failed_text = arena_printf(a, "%s Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: ", verb,
                                    STR_ARG(p->name), STR_ARG(set))
                           .p,
    };
    x->telling = t;
    x->about_res = s->set->res;
    x->about = s->set->val;
}

/* ---- making, mending, deleting ------------------------------------------------------------------------ */

static const struct val *new_pod(struct stateful *s, const struct place *p)
{
    struct arena *a = s->w->arena;
    struct val *pod = pod_from_template(a, p->template, s->set->res, s->set),
               *meta = val_mut(pod, N_metadata);
    val_set_str(a, meta, N_name, p->name);
    set_labels(s, meta, p);
    val_put_str(a, val_mut(meta, N_labels), STR(REVISION_LABEL), p->revision);
    set_storage(s, pod, p);
    val_set_str(a, val_mut(pod, N_spec), N_hostname, p->name);
    set_text(a, val_mut(pod, N_spec), N_subdomain, val_getstr(s->spec, N_serviceName));
    return pod;
}

bool stateful_make(struct stateful *s, const struct place *p)
{
    struct str going;
    int made = claims_make(s, p, &going);
    if (made < 0) {
        writes_event(s->w, s->set->res, s->set->val, true, "FailedCreate",
                     "Create Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: pvc " STR_FMT
                     " is being deleted",
                     STR_ARG(p->name), STR_ARG(s->set->name), STR_ARG(going));
        return false;
    }
    claims_mend_owners(s, p);
    struct writes *w = made ? &s->with_claims : s->w;
    struct write *x = writes_add(w, WRITE_CREATE, &resources[RES_PODS], s->set->namespace_, STR_NULL);
    x->body = new_pod(s, p);
    tell_about(s, x, p, "Create");
    return true;
}

void stateful_mend(struct stateful *s, const struct place *p)
{
    bool owners = claims_mend_owners(s, p), identity = has_identity(p), storage = has_storage(s, p);
    struct str going;
    if (owners && identity && storage) {
        writes_event(s->w, s->set->res, s->set->val, false, "SuccessfulUpdate",
                     "Update Pod " STR_FMT " in StatefulSet " STR_FMT " successful", STR_ARG(p->name),
                     STR_ARG(s->set->name));
        return;
    }
    if (identity && storage)
        return;
    struct val *meta, *v = with_meta(s->w->arena, p->pod, &meta);
    set_labels(s, meta, p);
    if (!storage) {
        set_storage(s, v, p);
        claims_make(s, p, &going);
    }
    tell_about(s, writes_update(s->w, p->pod->res, v), p, "Update");
}

void stateful_delete(struct stateful *s, const struct place *p)
{
    tell_about(s, writes_delete(s->w, p->pod), p, "Delete");
}
