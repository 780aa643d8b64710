/* SPDX-License-Identifier: Apache-2.0 */
/*
 * persistentvolume-binder, the claims' half: a claim gets the volume that fits it best, or a provisioner is
 * asked for one. The volume is written first, so that two claims never get the same: whoever comes second is
 * refused with a conflict and looks again.
 */
#include "controllers/pods.h"
#include "controllers/util.h"
#include "controllers/volumes.h"
#include "resources.h"
#include "type/meta.h"

/* Claims that wait are looked at again so often, to tell anew why; upstream looks every 15 s. */
#define RETELL SECONDS(60)

static const struct resource *claims(void)
{
    return &resources[RES_PERSISTENTVOLUMECLAIMS];
}

static const struct resource *volumes(void)
{
    return &resources[RES_PERSISTENTVOLUMES];
}

const struct object *claim_of_volume(const struct snapshot *world, const struct val *volume)
{
    const struct val *ref = val_at(volume, N_spec, N_claimRef);
    return ref ? snapshot_get(world, claims(), val_getstr(ref, N_namespace), val_getstr(ref, N_name)) : NULL;
}

static const struct val *class_of(const struct snapshot *world, const struct val *claim)
{
    struct str name = claim_class(claim);
    const struct object *o =
        name.n ? snapshot_get(world, &resources[RES_STORAGECLASSES], STR_NULL, name) : NULL;
    return o ? o->val : NULL;
}

static bool waits_for_consumer(const struct val *class)
{
    return str_is(val_getstr(class, N_volumeBindingMode), "WaitForFirstConsumer");
}

/* ---- statuses ---------------------------------------------------------------------------------------- */

void pv_write_phase(struct writes *w, const struct object *volume, const char *phase, struct str message)
{
    if (str_is(val_str(val_at(volume->val, N_status, N_phase)), phase))
        return;
    struct val *status, *v = with_status(w->arena, volume, &status);
    val_set_str(w->arena, status, N_phase, str_of(phase));
    set_text(w->arena, status, N_message, message);
    writes_update_status(w, volume->res, v);
}

/* Without a volume: what the status says about one is taken back. True when there was something to write. */
static bool write_unbound(struct writes *w, const struct object *claim, const char *phase)
{
    static const name_id gone[] = {N_accessModes, N_capacity, N_currentVolumeAttributesClassName};
    struct val *status, *v = with_status(w->arena, claim, &status);
    bool dirty = !str_is(val_getstr(status, N_phase), phase);
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
        dirty |= val_del(status, gone[i]);
    val_set_str(w->arena, status, N_phase, str_of(phase));
    if (dirty)
        writes_update_status(w, claim->res, v);
    return dirty;
}

/* The claim's status once it is bound. The capacity is taken over only with the phase: later it is the
 * business of whoever grows the volume. */
static void write_bound(struct writes *w, const struct object *claim, const struct object *volume)
{
    const struct val *was = val_get(claim->val, N_status),
                     *modes = val_at(volume->val, N_spec, N_accessModes);
    const struct val *attributes = val_at(volume->val, N_spec, N_volumeAttributesClassName);
    bool becoming = !str_is(val_getstr(was, N_phase), "Bound");
    if (!becoming && val_equal(val_get(was, N_accessModes), modes))
        return;
    struct val *status, *v = with_status(w->arena, claim, &status);
    val_set_str(w->arena, status, N_phase, STR("Bound"));
    val_set_ref(w->arena, status, N_accessModes, modes);
    if (becoming)
        val_set_ref(w->arena, status, N_capacity, val_at(volume->val, N_spec, N_capacity));
    if (becoming && attributes)
        val_set_ref(w->arena, status, N_currentVolumeAttributesClassName, attributes);
    writes_update_status(w, claim->res, v);
}

/* ---- binding ----------------------------------------------------------------------------------------- */

static struct val *own_annotations(struct arena *a, struct val *meta)
{
    return own_map(a, meta, N_annotations);
}

static struct val *reference_to(struct arena *a, const struct object *claim)
{
    struct val *ref = val_new(a, VAL_OBJ);
    val_set_str(a, ref, N_kind, STR("PersistentVolumeClaim"));
    val_set_str(a, ref, N_namespace, claim->namespace_);
    val_set_str(a, ref, N_name, claim->name);
    val_set_str(a, ref, N_uid, claim->uid);
    val_set_str(a, ref, N_apiVersion, STR("v1"));
    val_set_ref(a, ref, N_resourceVersion, val_get(claim->meta, N_resourceVersion));
    return ref;
}

/* True when it was written. */
static bool bind_volume(struct writes *w, const struct object *volume, const struct object *claim)
{
    const struct val *ref = val_at(volume->val, N_spec, N_claimRef);
    bool ours = volume_is_for(volume->val, claim->val);
    if (ours && str_eq(val_getstr(ref, N_uid), claim->uid))
        return false;
    struct val *meta, *v = with_meta(w->arena, volume, &meta);
    struct val *spec =
        val_set(w->arena, v, N_spec, *val_copy_shallow(w->arena, val_get(volume->val, N_spec)));
    val_set_ref(w->arena, spec, N_claimRef, reference_to(w->arena, claim));
    if (!ours)
        val_put_str(w->arena, own_annotations(w->arena, meta), STR(ANN_BOUND_BY_CONTROLLER), STR("yes"));
    writes_update(w, volume->res, v);
    return true;
}

static bool bind_claim(struct writes *w, const struct object *claim, const struct object *volume)
{
    bool named = str_eq(val_str(val_at(claim->val, N_spec, N_volumeName)), volume->name);
    if (named && obj_annotation(claim->val, STR(ANN_BIND_COMPLETED)).p)
        return false;
    struct val *meta, *v = with_meta(w->arena, claim, &meta), *notes = own_annotations(w->arena, meta);
    struct val *spec = val_set(w->arena, v, N_spec, *val_copy_shallow(w->arena, val_get(claim->val, N_spec)));
    val_set_str(w->arena, spec, N_volumeName, volume->name);
    if (!named)
        val_put_str(w->arena, notes, STR(ANN_BOUND_BY_CONTROLLER), STR("yes"));
    val_put_str(w->arena, notes, STR(ANN_BIND_COMPLETED), STR("yes"));
    writes_update(w, claim->res, v);
    return true;
}

/* First what both say of each other, then, when that was seen, the statuses: a status is written with the
 * version that the other write makes (controllers may update volumes and claims, not patch them). */
static void bind(struct writes *w, const struct object *volume, const struct object *claim)
{
    bool wrote = bind_volume(w, volume, claim);
    wrote |= bind_claim(w, claim, volume);
    if (wrote)
        return;
    pv_write_phase(w, volume, "Bound", STR(""));
    write_bound(w, claim, volume);
}

/* ---- choosing ---------------------------------------------------------------------------------------- */

/* Fewer access modes than others are closer to what was asked for; then the smaller volume. */
static bool is_closer(const struct object *a, const struct object *b)
{
    size_t x = val_len(val_at(a->val, N_spec, N_accessModes)),
           y = val_len(val_at(b->val, N_spec, N_accessModes));
    return x != y ? x < y : quantity_cmp(volume_size(a->val), volume_size(b->val)) < 0;
}

/* only_reserved: the claim waits for its consumer, and the scheduler chooses among the free ones. */
static const struct object *find_best(const struct snapshot *world, struct arena *a,
                                      const struct object *claim, bool only_reserved)
{
    const struct object *best = NULL;
    struct selector selector;
    struct tree_iter it;
    claim_selector(a, claim->val, &selector);
    for (tree_seek(&it, snapshot_tree(world, volumes()), STR_NULL); it.object; tree_next(&it)) {
        enum volume_fit fit = volume_fit(it.object->val, claim->val, &selector);
        if (fit == VOLUME_RESERVED)
            return it.object;
        if (fit == VOLUME_FITS && !only_reserved && (!best || is_closer(it.object, best)))
            best = it.object;
    }
    return best;
}

/* ---- a claim without a volume ------------------------------------------------------------------------ */

static bool take_default_class(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    const struct val *best = NULL;
    struct tree_iter it;
    if (claim_has_class(claim->val))
        return false;
    for (tree_seek(&it, snapshot_tree(world, &resources[RES_STORAGECLASSES]), STR_NULL); it.object;
         tree_next(&it))
        if (class_is_default(it.object->val))
            best = class_better_default(best, it.object->val);
    if (!best)
        return false;
    struct val *v = val_copy_shallow(w->arena, claim->val);
    struct val *spec = val_set(w->arena, v, N_spec, *val_copy_shallow(w->arena, val_get(claim->val, N_spec)));
    val_set_str(w->arena, spec, N_storageClassName, obj_name(best));
    writes_update(w, claim->res, v);
    return true;
}

static void say_what_it_waits_for(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    struct buf names CLEANUP_BUF = BUF_INIT;
    size_t n = 0;
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), claim->namespace_, it) {
        if (index_pod_node(it.object).n || pod_finished(it.object->val))
            continue;
        VAL_EACH (val_at(it.object->val, N_spec, N_volumes), v)
            if (str_eq(pod_claim_name(w->arena, it.object->name, v), claim->name)) {
                buf_printf(&names, "%s" STR_FMT, n++ ? "," : "", STR_ARG(it.object->name));
                break;
            }
    }
    if (n)
        writes_event(w, claim->res, claim->val, false, "WaitForPodScheduled",
                     "waiting for pod%s %s to be scheduled", n > 1 ? "s" : "", names.p);
    else
        writes_event(w, claim->res, claim->val, false, "WaitForFirstConsumer",
                     "waiting for first consumer to be created before binding");
}

/* The annotation tells provisioners whose turn it is; both its names, as upstream still writes them. */
static void ask_provisioner(const struct object *claim, const struct val *class, struct writes *w)
{
    struct str name = val_getstr(class, N_provisioner);
    if (str_starts(name, STR("kubernetes.io/"))) {
        writes_event(w, claim->res, claim->val, true, "ProvisioningFailed",
                     "no volume plugin matched name: " STR_FMT, STR_ARG(name));
        return;
    }
    if (!str_eq(obj_annotation(claim->val, STR(ANN_STORAGE_PROVISIONER)), name)) {
        struct val *meta, *v = with_meta(w->arena, claim, &meta), *notes = own_annotations(w->arena, meta);
        val_put_str(w->arena, notes, STR(ANN_BETA_STORAGE_PROVISIONER), name);
        val_put_str(w->arena, notes, STR(ANN_STORAGE_PROVISIONER), name);
        writes_update(w, claim->res, v);
    }
    writes_event(
        w, claim->res, claim->val, false, "ExternalProvisioning",
        "Waiting for a volume to be created either by the external provisioner '" STR_FMT
        "' or manually by the system administrator. If volume creation is delayed, please verify that the "
        "provisioner is running and correctly registered.",
        STR_ARG(name));
}

static void provision(const struct object *claim, const struct val *class, struct writes *w)
{
    if (w->config->no_dynamic_provisioning)
        return;
    if (class)
        ask_provisioner(claim, class, w);
    else
        writes_event(w, claim->res, claim->val, true, "ProvisioningFailed",
                     "storageclass.storage.k8s.io \"" STR_FMT "\" not found",
                     STR_ARG(claim_class(claim->val)));
    writes_again(w, RETELL);
}

static int sync_unasked(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    const struct val *class = class_of(world, claim->val);
    bool delay = waits_for_consumer(class);
    const struct object *volume = find_best(world, w->arena, claim, delay);
    if (volume) {
        bind(w, volume, claim);
        return 0;
    }
    if (take_default_class(world, claim, w))
        return 0;
    if (claim_class(claim->val).n && (!delay || obj_annotation(claim->val, STR(ANN_SELECTED_NODE)).p)) {
        provision(claim, class, w);
        return 0;
    }
    if (delay)
        say_what_it_waits_for(world, claim, w);
    else
        writes_event(w, claim->res, claim->val, false, "FailedBinding",
                     "no persistent volumes available for this claim and no storage class is set");
    write_unbound(w, claim, "Pending");
    writes_again(w, RETELL);
    return 0;
}

/* The user named the volume. */
static int sync_asked(const struct snapshot *world, const struct object *claim, struct str name,
                      struct writes *w)
{
    const struct object *volume = snapshot_get(world, volumes(), STR_NULL, name);
    if (!volume) {
        write_unbound(w, claim, "Pending");
        return 0;
    }
    bool ours = volume_is_for(volume->val, claim->val),
         taken = val_at(volume->val, N_spec, N_claimRef) && !ours;
    const char *why = ours || taken ? NULL : volume_mismatch(volume->val, claim->val);
    if (!taken && !why) {
        bind(w, volume, claim);
        return 0;
    }
    if (taken)
        writes_event(w, claim->res, claim->val, true, "FailedBinding",
                     "volume \"" STR_FMT "\" already bound to a different claim.", STR_ARG(name));
    else
        writes_event(w, claim->res, claim->val, true, "VolumeMismatch",
                     "Cannot bind to requested volume \"" STR_FMT "\": %s", STR_ARG(name), why);
    write_unbound(w, claim, "Pending");
    writes_again(w, RETELL);
    return 0;
}

/* ---- a claim that was bound -------------------------------------------------------------------------- */

static int lose(struct writes *w, const struct object *claim, const char *reason, const char *message)
{
    if (!str_is(val_str(val_at(claim->val, N_status, N_phase)), "Lost") && write_unbound(w, claim, "Lost"))
        writes_event(w, claim->res, claim->val, true, reason, "%s", message);
    return 0;
}

static int sync_bound(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    struct str name = val_str(val_at(claim->val, N_spec, N_volumeName));
    const struct object *volume = name.n ? snapshot_get(world, volumes(), STR_NULL, name) : NULL;
    bool lost = str_is(val_str(val_at(claim->val, N_status, N_phase)), "Lost");
    if (!name.n)
        return lose(w, claim, "ClaimLost",
                    "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    if (!volume && lost)
        return 0;
    if (!volume) {
        writes_add(w, WRITE_CHECK_ABSENT, volumes(), STR_NULL, name);
        return lose(w, claim, "ClaimLost",
                    "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    }
    const struct val *ref = val_at(volume->val, N_spec, N_claimRef);
    if (ref && !str_eq(val_getstr(ref, N_uid), claim->uid))
        return lose(w, claim, "ClaimMisbound",
                    "Two claims are bound to the same volume, this one is bound incorrectly");
    bind(w, volume, claim);
    return 0;
}

int pv_sync_claim(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    struct str name = val_str(val_at(claim->val, N_spec, N_volumeName));
    if (obj_annotation(claim->val, STR(ANN_BIND_COMPLETED)).p)
        return sync_bound(world, claim, w);
    return name.n ? sync_asked(world, claim, name, w) : sync_unasked(world, claim, w);
}

/* ---- the controller ---------------------------------------------------------------------------------- */

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *o = snapshot_get(world, key.ns.n ? claims() : volumes(), key.ns, key.name);
    if (!o)
        return 0;
    return key.ns.n ? pv_sync_claim(world, o, w) : pv_sync_volume(world, o, w);
}

static void sink_claim(const struct object *claim, key_sink *sink, void *arg)
{
    sink(arg, (struct key){claim->namespace_, claim->name});
}

static void sink_volume(struct str name, key_sink *sink, void *arg)
{
    if (name.n)
        sink(arg, (struct key){STR_NULL, name});
}

/* Claims without a volume for which something of that class may matter. no_class: those that asked for none,
 * too. */
static void sink_waiting(const struct snapshot *world, struct str class, bool no_class, key_sink *sink,
                         void *arg)
{
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, claims()), STR_NULL); it.object; tree_next(&it)) {
        const struct val *v = it.object->val;
        if (claim_bound(v) || val_str(val_at(v, N_spec, N_volumeName)).n)
            continue;
        if (str_eq(claim_class(v), class) || (no_class && !claim_has_class(v)))
            sink_claim(it.object, sink, arg);
    }
}

static void sink_asking(const struct snapshot *world, struct str volume, key_sink *sink, void *arg)
{
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, claims()), STR_NULL); it.object; tree_next(&it))
        if (str_eq(val_str(val_at(it.object->val, N_spec, N_volumeName)), volume))
            sink_claim(it.object, sink, arg);
}

static void volume_changed(const struct snapshot *world, const struct object *old, const struct object *new_,
                           key_sink *sink, void *arg)
{
    const struct object *any = new_ ? new_ : old;
    const struct object *claim = claim_of_volume(world, any->val);
    if (new_)
        sink_volume(new_->name, sink, arg);
    if (claim)
        sink_claim(claim, sink, arg);
    if (!new_ || !val_at(new_->val, N_spec, N_claimRef)) {
        sink_asking(world, any->name, sink, arg);
        if (new_ && str_is(val_str(val_at(new_->val, N_status, N_phase)), "Available"))
            sink_waiting(world, volume_class(new_->val), false, sink, arg);
    }
}

/* A claim went before its own spec said which volume it had. */
static void sink_kept_for(const struct snapshot *world, const struct object *claim, key_sink *sink, void *arg)
{
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, volumes()), STR_NULL); it.object; tree_next(&it))
        if (volume_is_for(it.object->val, claim->val))
            sink_volume(it.object->name, sink, arg);
}

static void claim_changed(const struct snapshot *world, const struct object *old, const struct object *new_,
                          key_sink *sink, void *arg)
{
    const struct object *any = new_ ? new_ : old;
    struct str name = val_str(val_at(any->val, N_spec, N_volumeName));
    if (new_)
        sink_claim(new_, sink, arg);
    if (!new_ || !old || !str_eq(val_str(val_at(old->val, N_spec, N_volumeName)), name))
        sink_volume(name, sink, arg);
    if (!new_ && !name.n)
        sink_kept_for(world, old, sink, arg);
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    static const char recycler[] = "recycler-for-";
    const struct object *any = new_ ? new_ : old;
    if (res == claims())
        claim_changed(world, old, new_, sink, arg);
    else if (res == volumes())
        volume_changed(world, old, new_, sink, arg);
    else if (res == &resources[RES_STORAGECLASSES])
        sink_waiting(world, any->name, class_is_default(any->val), sink, arg);
    else if (str_starts(any->name, str_of(recycler)))
        sink_volume(str_from(any->name, sizeof(recycler) - 1), sink, arg);
}

const struct controller pv_binder_controller = {
    .name = "persistentvolume-binder-controller",
    .alias = "persistentvolume-binder",
    .account = "persistent-volume-binder",
    .source = "persistentvolume-controller",
    .reads = (const uint16_t[]){RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES, RES_STORAGECLASSES,
                                RES_PODS, 0},
    .workers = 4,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
