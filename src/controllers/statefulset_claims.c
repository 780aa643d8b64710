/* SPDX-License-Identifier: Apache-2.0 */
/* The claims of a StatefulSet's pods: made from templates, and owned by whoever takes them along when it goes
 * (KEP-1847). */
#include "controllers/statefulset.h"

#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define SET_API "apps/v1"
#define SET_KIND "StatefulSet"

struct str claim_name(struct stateful *s, const struct val *claim_template, int64_t ordinal)
{
    return arena_printf(s->w->arena, STR_FMT "-" STR_FMT "-%lld", STR_ARG(obj_name(claim_template)),
                        STR_ARG(s->set->name), (long long)ordinal);
}

static const struct object *claim_of(struct stateful *s, const struct val *claim_template, int64_t ordinal)
{
    return snapshot_get(s->world, &resources[RES_PERSISTENTVOLUMECLAIMS], s->set->namespace_,
                        claim_name(s, claim_template, ordinal));
}

static const struct val *templates(const struct stateful *s)
{
    return val_get(s->spec, N_volumeClaimTemplates);
}

/* ---- making ------------------------------------------------------------------------------------------ */

/* What the policy wants: the set as owner, so that the claim goes with it, or the pod, once it is one too
 * many. */
struct owners {
    bool set, pod;
};

static bool policy_deletes(const struct stateful *s, name_id when)
{
    return str_is(val_str(val_at(s->spec, N_persistentVolumeClaimRetentionPolicy, when)), "Delete");
}

static struct owners wanted_owners(const struct stateful *s, const struct place *p)
{
    bool deleted = policy_deletes(s, N_whenDeleted), scaled = policy_deletes(s, N_whenScaled);
    bool condemned = p->ordinal < s->start || p->ordinal >= s->start + s->wanted;
    return (struct owners){.set = deleted && !(scaled && condemned), .pod = scaled && condemned};
}

static void add_owner(struct arena *a, struct val *refs, const char *api_version, const char *kind,
                      const struct val *owner)
{
    val_add(a, refs, obj_owner_ref(a, api_version, kind, owner));
}

static struct val *new_claim(struct stateful *s, const struct val *template, const struct place *p)
{
    struct arena *a = s->w->arena;
    struct val *v = val_copy(a, template), *meta = val_sub_obj(a, v, N_metadata);
    val_del(v, N_status);
    val_set_str(a, meta, N_name, claim_name(s, template, p->ordinal));
    val_set_str(a, meta, N_namespace, s->set->namespace_);
    VAL_EACH_ENTRY (val_at(s->spec, N_selector, N_matchLabels), k, label)
        val_put(a, val_sub_map(a, meta, N_labels), val_str(k), *label);
    if (wanted_owners(s, p).set)
        add_owner(a, val_sub_list(a, meta, N_ownerReferences), SET_API, SET_KIND, s->set->val);
    return v;
}

static const struct telling *claim_telling(struct stateful *s, const struct val *claim, const struct place *p)
{
    struct arena *a = s->w->arena;
    struct str pod = p->name, set = s->set->name;
    struct telling *t = ARENA_NEW(a, struct telling);
    *t = (struct telling){
        .reason = "SuccessfulCreate",
        .text = "Create Claim ",
        .tail =
            arena_printf(a, " Pod " STR_FMT " in StatefulSet " STR_FMT " success", STR_ARG(pod), STR_ARG(set))
                .p,
        .failed_reason = "FailedCreate",
        .failed_text = arena_printf(a,
                                    "Create Claim " STR_FMT " for Pod " STR_FMT " in StatefulSet " STR_FMT
                                    " failed error: ",
                                    STR_ARG(obj_name(claim)), STR_ARG(pod), STR_ARG(set))
                           .p,
    };
    return t;
}

int claims_make(struct stateful *s, const struct place *p, struct str *ret_going)
{
    int made = 0;
    VAL_EACH (templates(s), t) {
        const struct object *there = claim_of(s, t, p->ordinal);
        if (there && obj_deleting(there->val)) {
            *ret_going = there->name;
            return -1;
        }
    }
    VAL_EACH (templates(s), t) {
        if (claim_of(s, t, p->ordinal))
            continue;
        struct write *x = writes_add(s->w, WRITE_CREATE, &resources[RES_PERSISTENTVOLUMECLAIMS],
                                     s->set->namespace_, STR_NULL);
        x->body = new_claim(s, t, p);
        x->telling = claim_telling(s, x->body, p);
        x->about_res = s->set->res;
        x->about = s->set->val;
        made++;
    }
    return made;
}

/* ---- owners ------------------------------------------------------------------------------------------ */

static bool is_ref_to(const struct val *ref, const char *api_version, const char *kind, struct str name)
{
    return str_is(val_getstr(ref, N_apiVersion), api_version) && str_is(val_getstr(ref, N_kind), kind) &&
           str_eq(val_getstr(ref, N_name), name);
}

static bool is_ref_to_set(const struct stateful *s, const struct val *ref)
{
    return is_ref_to(ref, SET_API, SET_KIND, s->set->name);
}

static bool is_ref_to_pod(const struct place *p, const struct val *ref)
{
    return is_ref_to(ref, "v1", "Pod", p->name);
}

static struct str uid_of(const struct place *p)
{
    return p->pod ? p->pod->uid : STR_NULL;
}

static bool owned_by(const struct object *claim, struct str uid)
{
    VAL_EACH (val_get(claim->meta, N_ownerReferences), ref)
        if (!str_empty(uid) && str_eq(val_getstr(ref, N_uid), uid))
            return true;
    return false;
}

/* The first reference to somebody of the set's (the pod's) name is to another one: that is for the garbage
 * collector. */
static bool has_stale_owner(const struct stateful *s, const struct object *claim, const struct place *p)
{
    bool set_seen = false, pod_seen = false, stale = false;
    VAL_EACH (val_get(claim->meta, N_ownerReferences), ref) {
        struct str uid = val_getstr(ref, N_uid);
        if (!set_seen && is_ref_to_set(s, ref)) {
            set_seen = true;
            stale |= !str_eq(uid, s->set->uid);
        } else if (!pod_seen && is_ref_to_pod(p, ref)) {
            pod_seen = true;
            stale |= !str_eq(uid, uid_of(p));
        }
    }
    return stale;
}

static bool has_other_controller(const struct stateful *s, const struct object *claim, const struct place *p)
{
    if (!policy_deletes(s, N_whenDeleted) && !policy_deletes(s, N_whenScaled))
        return false; /* whoever else looks after it may */
    VAL_EACH (val_get(claim->meta, N_ownerReferences), ref)
        if (!is_ref_to_set(s, ref) && !is_ref_to_pod(p, ref) && val_bool(val_get(ref, N_controller), false))
            return true;
    return false;
}

static bool has_powerless_owner(const struct stateful *s, const struct object *claim, const struct place *p)
{
    VAL_EACH (val_get(claim->meta, N_ownerReferences), ref) {
        struct str uid = val_getstr(ref, N_uid);
        if ((str_eq(uid, s->set->uid) || (p->pod && str_eq(uid, p->pod->uid))) &&
            !val_bool(val_get(ref, N_controller), false))
            return true;
    }
    return false;
}

static bool owners_are_right(const struct stateful *s, const struct object *claim, const struct place *p)
{
    bool by_set = owned_by(claim, s->set->uid), by_pod = owned_by(claim, uid_of(p));
    if (has_stale_owner(s, claim, p))
        return true;
    if (has_other_controller(s, claim, p))
        return !by_set && !by_pod;
    if (has_powerless_owner(s, claim, p))
        return false;
    struct owners want = wanted_owners(s, p);
    return by_set == want.set && by_pod == want.pod;
}

static struct val *with_owners(struct stateful *s, const struct object *claim, const struct place *p)
{
    struct arena *a = s->w->arena;
    struct val *meta, *v = with_meta(a, claim, &meta), *refs = val_new(a, VAL_LIST);
    VAL_EACH (val_get(claim->meta, N_ownerReferences), ref)
        if (!is_ref_to_set(s, ref) && !is_ref_to_pod(p, ref))
            val_add(a, refs, *ref);
    if (!has_other_controller(s, claim, p)) {
        struct owners want = wanted_owners(s, p);
        if (want.pod && p->pod)
            add_owner(a, refs, "v1", "Pod", p->pod->val);
        if (want.set)
            add_owner(a, refs, SET_API, SET_KIND, s->set->val);
    }
    val_set_ref(a, meta, N_ownerReferences, refs->n ? refs : NULL);
    return v;
}

static const struct telling *owners_telling(struct stateful *s, const struct object *claim,
                                            const struct place *p)
{
    struct telling *t = ARENA_NEW(s->w->arena, struct telling);
    *t = (struct telling){
        .failed_reason = "FailedUpdate",
        .failed_text =
            arena_printf(s->w->arena,
                         "Update Pod " STR_FMT " in StatefulSet " STR_FMT
                         " failed error: could not update claim " STR_FMT " for delete policy ownerRefs: ",
                         STR_ARG(p->name), STR_ARG(s->set->name), STR_ARG(claim->name))
                .p,
    };
    return t;
}

bool claims_mend_owners(struct stateful *s, const struct place *p)
{
    bool changed = false;
    VAL_EACH (templates(s), t) {
        const struct object *claim = claim_of(s, t, p->ordinal);
        if (!claim || owners_are_right(s, claim, p))
            continue;
        if (has_other_controller(s, claim, p))
            writes_event(s->w, s->set->res, s->set->val, true, "ConflictingController",
                         "PersistentVolumeClaim " STR_FMT " has a conflicting OwnerReference that acts as a "
                         "managing controller, the retention policy is ignored for this claim",
                         STR_ARG(claim->name));
        struct write *x = writes_update(s->w, claim->res, with_owners(s, claim, p));
        x->telling = owners_telling(s, claim, p);
        x->about_res = s->set->res;
        x->about = s->set->val;
        changed = true;
    }
    return changed;
}

bool claims_stale(struct stateful *s, const struct place *p)
{
    if (!policy_deletes(s, N_whenScaled))
        return false;
    VAL_EACH (templates(s), t) {
        const struct object *claim = claim_of(s, t, p->ordinal);
        VAL_EACH (claim ? val_get(claim->meta, N_ownerReferences) : NULL, ref)
            if (is_ref_to_pod(p, ref) && !str_eq(val_getstr(ref, N_uid), uid_of(p)))
                return true;
    }
    return false;
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static bool has_template(const struct object *set, struct str name)
{
    VAL_EACH (val_at(set->val, N_spec, N_volumeClaimTemplates), t)
        if (str_eq(obj_name(t), name))
            return true;
    return false;
}

/* A claim's name says whose it is, though not where the parts of "data-my-set-0" begin: every set is looked
 * for. */
void keys_of_claim(const struct snapshot *world, const struct object *old, const struct object *new_,
                   key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    ssize_t end = str_rfind(o->name, '-');
    if (!old || end < 0 ||
        (new_ && val_equal(val_get(old->meta, N_ownerReferences), val_get(new_->meta, N_ownerReferences))))
        return;
    struct str stem = str_slice(o->name, 0, (size_t)end);
    for (size_t i = 1; i + 1 < stem.n; i++) {
        if (stem.p[i] != '-')
            continue;
        const struct object *set =
            snapshot_get(world, &resources[RES_STATEFULSETS], o->namespace_, str_from(stem, i + 1));
        if (set && has_template(set, str_slice(stem, 0, i)))
            sink(arg, (struct key){set->namespace_, set->name});
    }
}
