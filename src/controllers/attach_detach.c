/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching for CSI drivers that want it (attachRequired): what the pods of a node need becomes
 * VolumeAttachments, which the driver's attacher serves; what is attached is told in
 * node.status.volumesAttached, where the kubelet waits for it. Keys are nodes.
 *
 * A volume is detached in two steps, so that the kubelet is never surprised: first the node's status no
 * longer lists it; when that has been seen and the node (volumesInUse) still does not use it, the attachment
 * is deleted. A node that is down is waited for six minutes, one with the out-of-service taint not at all.
 */
#include "auth/crypto.h"
#include "base/map.h"
#include "controllers/pods.h"
#include "controllers/util.h"
#include "controllers/volumes.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

#define FORCE_AFTER SECONDS(360)
#define ANN_MANAGED "volumes.kubernetes.io/controller-managed-attach-detach"
#define ANN_KEEP_TERMINATED "volumes.kubernetes.io/keep-terminated-pod-volumes"

/* ---- what it remembers: per attachment, only to be patient and not to repeat itself ------------- */

struct note {
    int64_t unwanted_ns; /* when it was first seen to be needless; 0: it is needed */
    bool told_busy;      /* the volume is on another node */
    uint64_t told_error; /* hash of the attacher's last complaint */
};

static void *state_new(const struct controllers_config *config)
{
    return NEW(struct map);
}

static void state_free(void *state)
{
    map_done_with(state, free);
    free(state);
}

static struct note *note_of(struct writes *w, struct str id)
{
    struct note *n = map_get(w->state, id);
    if (!n) {
        n = NEW(struct note);
        map_put(w->state, id, n);
    }
    return n;
}

/* ---- what pods need ---------------------------------------------------------------------------------- */

struct wanted {
    const struct object *volume;
    struct str id; /* of its attachment to this node */
    struct objects pods;
};

struct look {
    const struct snapshot *world;
    struct writes *w;
    struct wall now;
    const struct object *node; /* NULL: it is gone */
    struct str name;
    struct wanted *wanted;
    size_t n, cap;
};

static const struct object *find(const struct look *l, uint16_t res, struct str ns, struct str name)
{
    return name.n ? snapshot_get(l->world, &resources[res], ns, name) : NULL;
}

static struct str attachment_id(struct arena *a, const struct object *volume, struct str node)
{
    const struct val *csi = val_at(volume->val, N_spec, N_csi);
    char hash[65];
    return arena_printf(
        a, "csi-%s",
        sha256_hex(arena_printf(a, STR_FMT STR_FMT STR_FMT, STR_ARG(val_getstr(csi, N_volumeHandle)),
                                STR_ARG(val_getstr(csi, N_driver)), STR_ARG(node)),
                   hash));
}

static struct str unique_name(struct arena *a, const struct object *volume)
{
    const struct val *csi = val_at(volume->val, N_spec, N_csi);
    return arena_printf(a, "kubernetes.io/csi/" STR_FMT "^" STR_FMT, STR_ARG(val_getstr(csi, N_driver)),
                        STR_ARG(val_getstr(csi, N_volumeHandle)));
}

/* A driver that nobody registered wants attaching: better too much than a disk on two nodes. */
static bool wants_attaching(const struct look *l, const struct object *volume)
{
    const struct val *csi = val_at(volume->val, N_spec, N_csi);
    const struct object *driver = find(l, RES_CSIDRIVERS, STR_NULL, val_getstr(csi, N_driver));
    return csi && (!driver || val_bool(val_at(driver->val, N_spec, N_attachRequired), true));
}

static void add_wanted(struct look *l, const struct object *volume, const struct object *pod)
{
    struct arena *a = l->w->arena;
    struct str id = attachment_id(a, volume, l->name);
    size_t i = 0;
    while (i < l->n && !str_eq(l->wanted[i].id, id))
        i++;
    if (i == l->cap) {
        struct wanted *more = ARENA_ARRAY(a, struct wanted, l->cap = MAX(2 * l->cap, (size_t)8));
        if (l->n)
            memcpy(more, l->wanted, l->n * sizeof(*more));
        l->wanted = more;
    }
    if (i == l->n)
        l->wanted[l->n++] = (struct wanted){.volume = volume, .id = id};
    objects_add(a, &l->wanted[i].pods, pod);
}

static void read_pod(struct look *l, const struct object *pod)
{
    VAL_EACH (val_at(pod->val, N_spec, N_volumes), v) {
        struct str name = pod_claim_name(l->w->arena, pod->name, v);
        const struct object *claim = find(l, RES_PERSISTENTVOLUMECLAIMS, pod->namespace_, name);
        if (!claim || !str_is(val_str(val_at(claim->val, N_status, N_phase)), "Bound") ||
            (val_get(v, N_ephemeral) && !claim_is_of_pod(claim->val, pod->uid)))
            continue;
        const struct object *volume =
            find(l, RES_PERSISTENTVOLUMES, STR_NULL, val_str(val_at(claim->val, N_spec, N_volumeName)));
        if (volume && str_eq(val_str(val_at(volume->val, N_spec, N_claimRef, N_uid)), claim->uid) &&
            wants_attaching(l, volume))
            add_wanted(l, volume, pod);
    }
}

static void read_pods(struct look *l)
{
    bool keep = l->node && str_is(obj_annotation(l->node->val, STR(ANN_KEEP_TERMINATED)), "true");
    TREE_EACH (snapshot_index(l->world, &resources[RES_PODS], index_pod_node), l->name, it)
        if (keep || !pod_is_over(it.object->val))
            read_pod(l, it.object);
}

static struct wanted *is_wanted(const struct look *l, struct str id)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->wanted[i].id, id))
            return &l->wanted[i];
    return NULL;
}

/* ---- attaching --------------------------------------------------------------------------------------- */

static bool may_be_shared(const struct object *volume)
{
    const struct val *spec = val_get(volume->val, N_spec);
    return !val_len(val_get(spec, N_accessModes)) || has_access_mode(spec, "ReadOnlyMany") ||
           has_access_mode(spec, "ReadWriteMany");
}

static struct str volume_of(const struct object *attachment)
{
    return val_str(val_at(attachment->val, N_spec, N_source, N_persistentVolumeName));
}

static struct str node_of(const struct object *attachment)
{
    return val_str(val_at(attachment->val, N_spec, N_nodeName));
}

/* The volume's attachment to another node; NULL when there is none. */
static const struct object *attached_elsewhere(const struct look *l, const struct object *volume)
{
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(l->world, &resources[RES_VOLUMEATTACHMENTS]), STR_NULL); it.object;
         tree_next(&it))
        if (str_eq(volume_of(it.object), volume->name) && !str_eq(node_of(it.object), l->name))
            return it.object;
    return NULL;
}

static void tell_pods(struct look *l, const struct wanted *x, bool warning, const char *what, struct str more)
{
    for (size_t i = 0; i < x->pods.n; i++)
        writes_event(l->w, x->pods.items[i]->res, x->pods.items[i]->val, warning,
                     warning ? "FailedAttachVolume" : "SuccessfulAttachVolume",
                     "%s for volume \"" STR_FMT "\" " STR_FMT, what, STR_ARG(x->volume->name), STR_ARG(more));
}

/* Names of the pods on that node with the volume, those of other namespaces only counted (users of one
 * namespace shall not learn names of another). */
static struct str who_has_it(const struct look *l, const struct wanted *x, struct str node)
{
    struct look other = {.world = l->world, .w = l->w, .name = node, .now = l->now};
    struct arena *a = l->w->arena;
    struct str ns = val_str(val_at(x->volume->val, N_spec, N_claimRef, N_namespace)), list = STR_NULL;
    read_pods(&other);
    for (size_t i = 0; i < other.n; i++)
        for (size_t k = 0; other.wanted[i].volume == x->volume && k < other.wanted[i].pods.n; k++)
            if (str_eq(other.wanted[i].pods.items[k]->namespace_, ns))
                list = arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(list), list.n ? ", " : "",
                                    STR_ARG(other.wanted[i].pods.items[k]->name));
    return list.n ? arena_printf(a, "Volume is already used by pod(s) " STR_FMT, STR_ARG(list))
                  : STR("Volume is already exclusively attached to one node, waiting on detach before it can "
                        "be attached "
                        "to another node");
}

static void attach(struct look *l, const struct wanted *x)
{
    struct arena *a = l->w->arena;
    const struct object *other = may_be_shared(x->volume) ? NULL : attached_elsewhere(l, x->volume);
    struct note *note = note_of(l->w, x->id);
    if (other) {
        if (!note->told_busy)
            tell_pods(l, x, true, "Waiting for detach", who_has_it(l, x, node_of(other)));
        note->told_busy = true;
        return;
    }
    note->told_busy = false;
    struct val *v = val_new(a, VAL_OBJ), *spec = val_sub_obj(a, v, N_spec);
    val_set_str(a, val_sub_obj(a, v, N_metadata), N_name, x->id);
    val_set_str(a, spec, N_attacher, val_str(val_at(x->volume->val, N_spec, N_csi, N_driver)));
    val_set_str(a, spec, N_nodeName, l->name);
    val_set_str(a, val_sub_obj(a, spec, N_source), N_persistentVolumeName, x->volume->name);
    struct write *wr = writes_add(l->w, WRITE_CREATE, &resources[RES_VOLUMEATTACHMENTS], STR_NULL, STR_NULL);
    wr->body = v;
    wr->may_fail = 409;
}

static void complain(struct look *l, const struct wanted *x, const struct object *attachment)
{
    struct str message = val_str(val_at(attachment->val, N_status, N_attachError, N_message));
    struct note *note = note_of(l->w, attachment->name);
    uint64_t hash = message.n ? str_hash(message) : 0;
    if (message.n && note->told_error != hash)
        tell_pods(l, x, true, "AttachVolume.Attach failed",
                  arena_printf(l->w->arena, ": " STR_FMT, STR_ARG(message)));
    note->told_error = hash;
}

/* ---- detaching --------------------------------------------------------------------------------------- */

static bool lists(const struct val *list, struct str name, bool plain)
{
    VAL_EACH (list, x)
        if (str_eq(plain ? val_str(x) : val_getstr(x, N_name), name))
            return true;
    return false;
}

static bool out_of_service(const struct object *node)
{
    VAL_EACH (val_at(node->val, N_spec, N_taints), t)
        if (str_is(val_getstr(t, N_key), "node.kubernetes.io/out-of-service"))
            return true;
    return false;
}

/* May the volume go from the node? The node says whether it uses it; one that is down is not asked for ever.
 */
static bool may_detach(struct look *l, struct str name, struct note *note)
{
    if (!l->node || out_of_service(l->node) ||
        !lists(val_at(l->node->val, N_status, N_volumesInUse), name, true))
        return true;
    if (condition_is(val_at(l->node->val, N_status, N_conditions), STR("Ready"), "True"))
        return false;
    if (l->w->config->no_force_detach)
        return false;
    int64_t left = note->unwanted_ns + FORCE_AFTER - l->now.ns;
    if (left > 0)
        writes_again(l->w, left);
    return left <= 0;
}

static bool is_reported(const struct look *l, const struct val *list)
{
    const struct val *told = val_at(l->node->val, N_status, N_volumesAttached);
    VAL_EACH (list, x)
        if (!lists(told, val_getstr(x, N_name), false))
            return false;
    return val_len(told) == val_len(list);
}

/* As text: a typed encoding would write the other fields of a node, too. */
static void report(struct look *l, const struct val *list)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    const char *between = "[";
    buf_puts(&b, "{\"status\":{\"volumesAttached\":");
    VAL_EACH (list, x) {
        buf_printf(&b, "%s{\"name\":", between);
        json_encode_str(&b, val_getstr(x, N_name), 0);
        buf_puts(&b, ",\"devicePath\":\"\"}");
        between = ",";
    }
    buf_puts(&b, val_len(list) ? "]}}" : "null}}");
    struct write *x = writes_add(l->w, WRITE_PATCH_STATUS, l->node->res, STR_NULL, l->name);
    x->patch = arena_str(l->w->arena, buf_str(&b));
    x->uid = l->node->uid;
    x->may_fail = 404;
}

/* Attachments that somebody else made are left alone: ours have names that follow from what they attach. */
static bool is_ours(const struct look *l, const struct object *attachment)
{
    const struct object *volume = find(l, RES_PERSISTENTVOLUMES, STR_NULL, volume_of(attachment));
    if (volume && val_at(volume->val, N_spec, N_csi))
        return str_eq(attachment->name, attachment_id(l->w->arena, volume, l->name));
    return attachment->name.n == 4 + 64 && str_starts(attachment->name, STR("csi-"));
}

/* One attachment of this node. Adds it to what is reported as attached; true when it is to be deleted. */
static bool judge(struct look *l, const struct object *attachment, struct val *reported)
{
    struct arena *a = l->w->arena;
    const struct wanted *x = is_wanted(l, attachment->name);
    const struct object *volume =
        x ? x->volume : find(l, RES_PERSISTENTVOLUMES, STR_NULL, volume_of(attachment));
    struct note *note = note_of(l->w, attachment->name);
    struct str name = volume && val_at(volume->val, N_spec, N_csi) ? unique_name(a, volume) : STR_NULL;
    bool attached =
        val_bool(val_at(attachment->val, N_status, N_attached), false) && !obj_deleting(attachment->val);
    const struct val *told = l->node ? val_at(l->node->val, N_status, N_volumesAttached) : NULL;
    if (!x && !note->unwanted_ns)
        note->unwanted_ns = l->now.ns;
    else if (x)
        note->unwanted_ns = 0;
    if (x)
        complain(l, x, attachment);
    if (x ? attached : attached && name.n && !may_detach(l, name, note)) {
        val_set_str(a, val_add_obj(a, reported), N_name, name);
        if (x && !lists(told, name, false))
            tell_pods(l, x, false, "AttachVolume.Attach succeeded", STR(""));
        return false;
    }
    return !x && !obj_deleting(attachment->val) && (!name.n || !lists(told, name, false)) &&
           (!name.n || may_detach(l, name, note));
}

/* Notes about attachments that are gone. */
static void forget_some(const struct look *l)
{
    const struct tree *t = snapshot_tree(l->world, &resources[RES_VOLUMEATTACHMENTS]);
    struct map *notes = l->w->state;
    if (notes->n > 2 * tree_count(t) + 64)
        MAP_EACH (notes, e)
            if (!tree_get(t, e->key) && !is_wanted(l, e->key))
                free(map_del(notes, e->key));
}

static int by_name(const void *pa, const void *pb)
{
    return str_cmp(val_getstr(pa, N_name), val_getstr(pb, N_name));
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    struct look l = {.world = world, .w = w, .now = now, .name = key.name};
    struct val *reported = val_new(w->arena, VAL_LIST);
    l.node = snapshot_get(world, &resources[RES_NODES], STR_NULL, key.name);
    if (l.node && !obj_annotation(l.node->val, STR(ANN_MANAGED)).p)
        return 0; /* that kubelet attaches by itself */
    read_pods(&l);
    struct tree_iter it;
    for (tree_seek(&it, snapshot_tree(world, &resources[RES_VOLUMEATTACHMENTS]), STR_NULL); it.object;
         tree_next(&it)) {
        if (str_eq(node_of(it.object), key.name) && is_ours(&l, it.object) && judge(&l, it.object, reported)) {
            if (!l.node && list_empty(&w->list)) /* a copy that lags shall take no disk from a node that runs */
                writes_add(w, WRITE_CHECK_ABSENT, &resources[RES_NODES], STR_NULL, key.name);
            writes_delete(w, it.object);
        }
    }
    for (size_t i = 0; l.node && i < l.n; i++)
        if (!snapshot_get(world, &resources[RES_VOLUMEATTACHMENTS], STR_NULL, l.wanted[i].id))
            attach(&l, &l.wanted[i]);
    if (reported->n > 1)
        qsort(reported->items, reported->n, sizeof(*reported->items), by_name);
    if (l.node && !is_reported(&l, reported))
        report(&l, reported);
    forget_some(&l);
    return 0;
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static void sink_node(struct str name, key_sink *sink, void *arg)
{
    if (name.n)
        sink(arg, (struct key){STR_NULL, name});
}

static bool has_claims(const struct object *pod)
{
    VAL_EACH (val_at(pod->val, N_spec, N_volumes), v)
        if (val_get(v, N_persistentVolumeClaim) || val_get(v, N_ephemeral))
            return true;
    return false;
}

/* Nodes of the pods that use the claim. */
static void sink_users(const struct snapshot *world, struct str ns, struct str claim, key_sink *sink,
                       void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    TREE_EACH (snapshot_tree(world, &resources[RES_PODS]), ns, it) {
        if (!index_pod_node(it.object).n)
            continue;
        VAL_EACH (val_at(it.object->val, N_spec, N_volumes), v)
            if (str_eq(pod_claim_name(&a, it.object->name, v), claim))
                sink_node(index_pod_node(it.object), sink, arg);
    }
}

static void sink_waiting_for(const struct snapshot *world, struct str volume, key_sink *sink, void *arg)
{
    const struct object *v = snapshot_get(world, &resources[RES_PERSISTENTVOLUMES], STR_NULL, volume);
    const struct val *ref = v ? val_at(v->val, N_spec, N_claimRef) : NULL;
    if (ref)
        sink_users(world, val_getstr(ref, N_namespace), val_getstr(ref, N_name), sink, arg);
}

static bool node_is_news(const struct object *a, const struct object *b)
{
    static const name_id parts[] = {N_volumesInUse, N_volumesAttached};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (!val_equal(val_at(a->val, N_status, parts[i]), val_at(b->val, N_status, parts[i])))
            return true;
    return !val_equal(val_at(a->val, N_spec, N_taints), val_at(b->val, N_spec, N_taints)) ||
           condition_is(val_at(a->val, N_status, N_conditions), STR("Ready"), "True") !=
               condition_is(val_at(b->val, N_status, N_conditions), STR("Ready"), "True");
}

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *any = new_ ? new_ : old;
    struct tree_iter it;
    if (res == &resources[RES_PODS]) {
        if (has_claims(any))
            sink_node(index_pod_node(any), sink, arg);
    } else if (res == &resources[RES_NODES]) {
        if (!old || !new_ || node_is_news(old, new_))
            sink_node(any->name, sink, arg);
    } else if (res == &resources[RES_VOLUMEATTACHMENTS]) {
        sink_node(node_of(any), sink, arg);
        if (!new_)
            sink_waiting_for(world, volume_of(any), sink, arg);
    } else if (res == &resources[RES_PERSISTENTVOLUMECLAIMS]) {
        if (new_ &&
            !(old && val_equal(val_at(old->val, N_status, N_phase), val_at(new_->val, N_status, N_phase))))
            sink_users(world, any->namespace_, any->name, sink, arg);
    } else if (res == &resources[RES_CSIDRIVERS]) {
        for (tree_seek(&it, snapshot_tree(world, &resources[RES_NODES]), STR_NULL); it.object; tree_next(&it))
            sink_node(it.object->name, sink, arg);
    }
}

const struct controller attach_detach_controller = {
    .name = "persistentvolume-attach-detach-controller",
    .alias = "attachdetach",
    .account = "attachdetach-controller",
    .source = "attachdetach-controller",
    .reads = (const uint16_t[]){RES_PODS, RES_NODES, RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES,
                                RES_VOLUMEATTACHMENTS, RES_CSIDRIVERS, 0},
    .workers = 2,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .state_new = state_new,
    .state_free = state_free,
};
