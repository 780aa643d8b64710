/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provisioner of directories (docs/storage.md): a volume is a folder of the node that the scheduler
 * chose. This side only writes what shall be; the kubelet of the node makes the folder and removes it. Keys
 * are "ns/name" of claims and "name" of volumes. To the rest of the cluster it is an external provisioner
 * like any other.
 */
#include "auth/crypto.h"
#include "controllers/util.h"
#include "controllers/volumes.h"
#include "resources.h"
#include "type/meta.h"

static bool is_ours(const struct val *volume)
{
    return str_is(obj_annotation(volume, STR(ANN_PROVISIONED_BY)), LOCAL_PATH_PROVISIONER);
}

static bool asks_us(const struct val *claim)
{
    return str_is(obj_annotation(claim, STR(ANN_STORAGE_PROVISIONER)), LOCAL_PATH_PROVISIONER);
}

/* ---- where ------------------------------------------------------------------------------------------- */

/* An absolute path without ways back. */
static bool is_plain_folder(struct str path)
{
    struct str rest = path, part;
    if (path.n < 2 || path.p[0] != '/')
        return false;
    while (str_next(&rest, '/', &part))
        if (str_is(part, "..") || str_is(part, "."))
            return false;
    return true;
}

static bool is_below(struct str path, struct str folder)
{
    return str_starts(path, folder) && (path.n == folder.n || path.p[folder.n] == '/');
}

/* The folder of the node's volumes: what its kubelet says, within the directory of the class where that names one (a node's
 * word does not lead Pods to other places than the administrator has set apart); else the class's. */
static struct str folder_on(const struct object *node, const struct val *class)
{
    struct str folder = obj_annotation(node->val, STR(ANN_LOCAL_PATH_FOLDER));
    struct str directory = val_str(val_key(val_get(class, N_parameters), STR("directory")));
    bool fits = is_plain_folder(folder) && (!directory.n || is_below(folder, directory));
    return fits ? folder : directory;
}

static size_t volumes_on(const struct snapshot *world, struct str node)
{
    size_t n = 0;
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, &resources[RES_PERSISTENTVOLUMES]), STR_NULL); it.object;
         tree_next(&it))
        n +=
            is_ours(it.object->val) && str_eq(obj_annotation(it.object->val, STR(ANN_LOCAL_PATH_NODE)), node);
    return n;
}

static bool can_host(const struct object *node, const struct val *class)
{
    return folder_on(node, class).n && class_allows_node(class, obj_labels(node->val)) &&
           !val_bool(val_at(node->val, N_spec, N_unschedulable), false) && !obj_deleting(node->val) &&
           condition_is(val_at(node->val, N_status, N_conditions), STR("Ready"), "True");
}

/* For classes that bind at once: the node with the fewest volumes. */
static const struct object *any_node(const struct snapshot *world, const struct val *class)
{
    const struct object *best = NULL;
    size_t fewest = SIZE_MAX;
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, &resources[RES_NODES]), STR_NULL); it.object; tree_next(&it)) {
        size_t n = can_host(it.object, class) ? volumes_on(world, it.object->name) : SIZE_MAX;
        if (n < fewest) {
            fewest = n;
            best = it.object;
        }
    }
    return best;
}

/* ---- making a volume --------------------------------------------------------------------------------- */

struct order {
    const struct object *claim, *node;
    const struct val *class;
    struct str name, folder;
};

static const char *impossible(const struct val *claim)
{
    const struct val *spec = val_get(claim, N_spec);
    if (!str_is(volume_mode(spec), "Filesystem"))
        return "directories cannot be block devices (volumeMode)";
    if (has_access_mode(spec, "ReadWriteMany") || has_access_mode(spec, "ReadOnlyMany"))
        return "a directory of one node is only for ReadWriteOnce and ReadWriteOncePod";
    if (val_get(spec, N_selector))
        return "claim.spec.selector is not supported for provisioned volumes";
    if (val_get(spec, N_dataSource) || val_get(spec, N_dataSourceRef))
        return "volumes cannot be made from data sources";
    return val_getstr(spec, N_volumeAttributesClassName).n
               ? "there are no volume attributes classes of directories"
               : NULL;
}

static struct str node_label(struct arena *a, struct str node)
{
    char hash[65];
    return node.n <= 63 ? node : arena_str(a, str_n(sha256_hex(node, hash), 32));
}

static void add_affinity(struct arena *a, struct val *spec, const struct object *node)
{
    struct str host = obj_label(node->val, STR("kubernetes.io/hostname"));
    struct val *required = val_sub_obj(a, val_sub_obj(a, spec, N_nodeAffinity), N_required);
    struct val *term = val_add_obj(a, val_sub_list(a, required, N_nodeSelectorTerms));
    struct val *e = val_add_obj(a, val_sub_list(a, term, N_matchExpressions));
    val_set_str(a, e, N_key, STR("kubernetes.io/hostname"));
    val_set_str(a, e, N_operator, STR("In"));
    val_add_str(a, val_sub_list(a, e, N_values), host.n ? host : node->name);
}

static void add_claim(struct arena *a, struct val *spec, const struct object *claim)
{
    struct val *ref = val_sub_obj(a, spec, N_claimRef);
    val_set_str(a, ref, N_kind, STR("PersistentVolumeClaim"));
    val_set_str(a, ref, N_apiVersion, STR("v1"));
    val_set_str(a, ref, N_namespace, claim->namespace_);
    val_set_str(a, ref, N_name, claim->name);
    val_set_str(a, ref, N_uid, claim->uid);
    val_set_ref(a, ref, N_resourceVersion, val_get(claim->meta, N_resourceVersion));
}

static struct val *make_volume(struct arena *a, const struct order *o)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata),
               *spec = val_sub_obj(a, v, N_spec);
    struct val *notes = val_sub_map(a, meta, N_annotations);
    struct str policy = val_getstr(o->class, N_reclaimPolicy);
    val_set_str(a, meta, N_name, o->name);
    val_put_str(a, notes, STR(ANN_PROVISIONED_BY), STR(LOCAL_PATH_PROVISIONER));
    val_put_str(a, notes, STR(ANN_LOCAL_PATH_NODE), o->node->name);
    val_put_str(a, val_sub_map(a, meta, N_labels), STR(LABEL_LOCAL_PATH_NODE), node_label(a, o->node->name));
    val_add_str(a, val_sub_list(a, meta, N_finalizers), STR(LOCAL_PATH_FINALIZER));
    val_put_str(a, val_sub_map(a, spec, N_capacity), STR("storage"),
                val_str(val_key(val_at(o->claim->val, N_spec, N_resources, N_requests), STR("storage"))));
    val_set_ref(a, spec, N_accessModes, val_at(o->claim->val, N_spec, N_accessModes));
    val_set_str(a, spec, N_persistentVolumeReclaimPolicy, policy.n ? policy : STR("Delete"));
    val_set_str(a, spec, N_storageClassName, obj_name(o->class));
    val_set_str(a, spec, N_volumeMode, STR("Filesystem"));
    val_set_str(a, val_sub_obj(a, spec, N_local), N_path,
                arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(o->folder), STR_ARG(o->name)));
    add_affinity(a, spec, o->node);
    add_claim(a, spec, o->claim);
    return v;
}

static int fail(struct writes *w, const struct object *claim, const struct val *class, const char *why)
{
    writes_event(w, claim->res, claim->val, true, "ProvisioningFailed",
                 "failed to provision volume with StorageClass \"" STR_FMT "\": %s", STR_ARG(obj_name(class)),
                 why);
    return 0;
}

/* The scheduler shall look again: its choice can have no volume. */
static int choose_again(struct writes *w, const struct object *claim, const struct val *class,
                        const char *why)
{
    struct val *meta, *v = with_meta(w->arena, claim, &meta);
    val_unput(own_map(w->arena, meta, N_annotations), STR(ANN_SELECTED_NODE));
    fail(w, claim, class, why);
    writes_update(w, claim->res, v);
    return 0;
}

static int provision(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    const struct object *class =
        snapshot_get(world, &resources[RES_STORAGECLASSES], STR_NULL, claim_class(claim->val));
    struct str selected = obj_annotation(claim->val, STR(ANN_SELECTED_NODE));
    struct order o = {.claim = claim, .name = arena_printf(w->arena, "pvc-" STR_FMT, STR_ARG(claim->uid))};
    if (!class || !str_is(val_getstr(class->val, N_provisioner), LOCAL_PATH_PROVISIONER) ||
        snapshot_get(world, &resources[RES_PERSISTENTVOLUMES], STR_NULL, o.name))
        return 0;
    o.class = class->val;
    if (!selected.n && str_is(val_getstr(o.class, N_volumeBindingMode), "WaitForFirstConsumer"))
        return 0;
    const char *why = impossible(claim->val);
    if (why)
        return fail(w, claim, o.class, why);
    o.node = selected.n ? snapshot_get(world, &resources[RES_NODES], STR_NULL, selected)
                        : any_node(world, o.class);
    if (!o.node)
        return selected.n ? choose_again(w, claim, o.class, "the selected node is gone")
                          : fail(w, claim, o.class, "no node offers a folder for volumes");
    o.folder = folder_on(o.node, o.class);
    if (!o.folder.n)
        return choose_again(w, claim, o.class, "the selected node offers no folder for volumes");
    struct write *x = writes_add(w, WRITE_CREATE, &resources[RES_PERSISTENTVOLUMES], STR_NULL, STR_NULL);
    x->body = make_volume(w->arena, &o);
    x->may_fail = 409;
    writes_event(w, claim->res, claim->val, false, "ProvisioningSucceeded",
                 "Successfully provisioned volume " STR_FMT, STR_ARG(o.name));
    return 0;
}

/* ---- growing: only the record changes ------------------------------------------------------------------ */

static int expand(const struct snapshot *world, const struct object *claim, struct writes *w)
{
    struct arena *a = w->arena;
    const struct val *wanted = val_key(val_at(claim->val, N_spec, N_resources, N_requests), STR("storage"));
    const struct val *has = val_key(val_at(claim->val, N_status, N_capacity), STR("storage"));
    const struct object *volume = snapshot_get(world, &resources[RES_PERSISTENTVOLUMES], STR_NULL,
                                               val_str(val_at(claim->val, N_spec, N_volumeName)));
    if (!volume || !is_ours(volume->val) || !volume_is_for(volume->val, claim->val) || !wanted || !has ||
        quantity_cmp(claim_size(claim->val), quantity_or_zero(val_str(has))) <= 0)
        return 0;
    if (quantity_cmp(volume_size(volume->val), claim_size(claim->val)) < 0) {
        struct val *v = val_copy_shallow(a, volume->val);
        struct val *spec = val_set(a, v, N_spec, *val_copy_shallow(a, val_get(volume->val, N_spec)));
        val_put(a, own_map(a, spec, N_capacity), STR("storage"), *wanted);
        writes_update(w, volume->res, v);
        return 0; /* the claim when that was seen */
    }
    struct val *status, *v = with_status(a, claim, &status);
    val_put(a, own_map(a, status, N_capacity), STR("storage"), *wanted);
    writes_update_status(w, claim->res, v);
    writes_event(w, claim->res, claim->val, false, "VolumeResizeSuccessful", "Resize volume succeeded");
    return 0;
}

/* ---- ending ------------------------------------------------------------------------------------------ */

static void drop_finalizer(struct writes *w, const struct object *volume, struct str node)
{
    struct val *meta, *v = with_meta(w->arena, volume, &meta);
    put_finalizer(w->arena, meta, STR(LOCAL_PATH_FINALIZER), false);
    writes_add(w, WRITE_CHECK_ABSENT, &resources[RES_NODES], STR_NULL, node);
    writes_update(w, volume->res, v)->may_fail = 404;
}

static int sync_volume(const struct snapshot *world, const struct object *volume, struct writes *w)
{
    const struct val *spec = val_get(volume->val, N_spec);
    struct str phase = val_str(val_at(volume->val, N_status, N_phase)),
               node = obj_annotation(volume->val, STR(ANN_LOCAL_PATH_NODE));
    if (!is_ours(volume->val))
        return 0;
    if (!obj_deleting(volume->val)) {
        if (str_is(phase, "Released") && str_is(val_getstr(spec, N_persistentVolumeReclaimPolicy), "Delete"))
            writes_delete(w, volume)->revision = val_getstr(volume->meta, N_resourceVersion);
        return 0;
    }
    if (!str_is(phase, "Bound") && obj_has_finalizer(volume->val, STR(LOCAL_PATH_FINALIZER)) &&
        !snapshot_get(world, &resources[RES_NODES], STR_NULL, node))
        drop_finalizer(w, volume, node);
    return 0;
}

/* ---- the controller ---------------------------------------------------------------------------------- */

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *o = snapshot_get(
        world, &resources[key.ns.n ? RES_PERSISTENTVOLUMECLAIMS : RES_PERSISTENTVOLUMES], key.ns, key.name);
    if (!o)
        return 0;
    if (!key.ns.n)
        return sync_volume(world, o, w);
    if (val_str(val_at(o->val, N_spec, N_volumeName)).n)
        return claim_bound(o->val) ? expand(world, o, w) : 0;
    return asks_us(o->val) && !obj_deleting(o->val) ? provision(world, o, w) : 0;
}

static void sink_all(const struct snapshot *world, uint16_t res, bool (*which)(const struct val *v),
                     key_sink *sink, void *arg)
{
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, &resources[res]), STR_NULL); it.object; tree_next(&it))
        if (which(it.object->val))
            sink(arg, (struct key){it.object->namespace_, it.object->name});
}

static bool waits_for_us(const struct val *claim)
{
    return asks_us(claim) && !claim_bound(claim);
}

static bool is_going(const struct val *volume)
{
    return is_ours(volume) && obj_deleting(volume);
}

static bool node_is_news(const struct object *a, const struct object *b)
{
    return !str_eq(obj_annotation(a->val, STR(ANN_LOCAL_PATH_FOLDER)),
                   obj_annotation(b->val, STR(ANN_LOCAL_PATH_FOLDER))) ||
           condition_is(val_at(a->val, N_status, N_conditions), STR("Ready"), "True") !=
               condition_is(val_at(b->val, N_status, N_conditions), STR("Ready"), "True");
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *any = new_ ? new_ : old;
    if (res == &resources[RES_NODES]) {
        if (!new_)
            sink_all(world, RES_PERSISTENTVOLUMES, is_going, sink, arg);
        else if (!old || node_is_news(old, new_))
            sink_all(world, RES_PERSISTENTVOLUMECLAIMS, waits_for_us, sink, arg);
    } else if (res == &resources[RES_PERSISTENTVOLUMES]) {
        const struct object *claim = is_ours(any->val) ? claim_of_volume(world, any->val) : NULL;
        if (new_ && is_ours(new_->val))
            sink(arg, (struct key){STR_NULL, new_->name});
        if (claim)
            sink(arg, (struct key){claim->namespace_, claim->name});
    } else if (res == &resources[RES_PERSISTENTVOLUMECLAIMS] && new_ && asks_us(new_->val)) {
        sink(arg, (struct key){new_->namespace_, new_->name});
    }
}

const struct controller local_path_controller = {
    .name = "local-path-provisioner-controller",
    .account = "persistent-volume-binder",
    .source = LOCAL_PATH_PROVISIONER,
    .reads = (const uint16_t[]){RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES, RES_STORAGECLASSES,
                                RES_NODES, 0},
    .workers = 4,
    .keys_of = keys_of,
    .reconcile = reconcile,
};
