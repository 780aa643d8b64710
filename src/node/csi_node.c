/* SPDX-License-Identifier: Apache-2.0 */
/* What the API knows of this node's drivers: the CSINode object; on the Node their ids for it and its
 * topology. */
#include "node/csi.h"

#include "grpc.h"
#include "types.h"
#include "wire/json.h"

#define NODE_ID_ANNOTATION "csi.volume.kubernetes.io/nodeid"
#define TRIES 6
/* Plug-ins whose volumes upstream hands to CSI drivers; the scheduler counts by this. */
#define MIGRATED                                                                                             \
    "kubernetes.io/aws-ebs,kubernetes.io/azure-disk,kubernetes.io/azure-file,kubernetes.io/cinder,"          \
    "kubernetes.io/gce-pd,kubernetes.io/portworx-volume,kubernetes.io/vsphere-volume"

static int api_error(const struct status *s, int r, const char *what, struct err *e)
{
    return r < 0 ? err_set(e, r, "error updating %s: %s", what, strerror(-r))
                 : err_set(e, -EIO, "error updating %s: " STR_FMT, what, STR_ARG(s->message));
}

/* ---- the Node ------------------------------------------------------------------------------------------ */

/* The annotation's map with the driver's id in it, or (id empty) without it; empty text: nothing is left. */
static struct str ids_with(struct arena *a, const struct val *node, struct str driver, struct str id)
{
    struct val *map = NULL;
    struct buf b = BUF_INIT;
    struct str text = obj_annotation(node, STR(NODE_ID_ANNOTATION));
    if (!text.n || json_decode(a, NULL, text, 0, NULL, &map, NULL) < 0 || !val_is(map, VAL_MAP))
        map = val_new(a, VAL_MAP);
    if (id.n)
        val_put_str(a, map, driver, id);
    else
        val_unput(map, driver);
    if (map->n)
        json_encode(&b, NULL, map, JSON_SORTED);
    text = arena_str(a, buf_str(&b));
    buf_done(&b);
    return text;
}

static int check_topology(const struct val *node, const struct val *topology, struct err *e)
{
    VAL_EACH_ENTRY (topology, key, value) {
        const struct val *have = val_key(obj_labels(node), val_str(key));
        if (have && !str_eq(val_str(have), val_str(value)))
            return err_set(
                e, -EEXIST,
                "error updating Node object with CSI driver node info: detected topology value collision: "
                "driver reported \"" STR_FMT "\":\"" STR_FMT "\" but existing label is \"" STR_FMT
                "\":\"" STR_FMT "\"",
                STR_ARG(val_str(key)), STR_ARG(val_str(value)), STR_ARG(val_str(key)),
                STR_ARG(val_str(have)));
    }
    return 0;
}

static struct str node_patch(struct arena *a, struct str ids, const struct val *topology)
{
    struct val *patch = val_new(a, VAL_MAP), *meta = val_new(a, VAL_MAP), *notes = val_new(a, VAL_MAP);
    struct buf b = BUF_INIT;
    val_put(a, notes, STR(NODE_ID_ANNOTATION), ids.n ? val_of_str(ids) : (struct val){.kind = VAL_NULL});
    val_put(a, meta, STR("annotations"), *notes);
    if (val_len(topology))
        val_put(a, meta, STR("labels"), *topology);
    val_put(a, patch, STR("metadata"), *meta);
    json_encode(&b, NULL, patch, 0);
    struct str s = arena_str(a, buf_str(&b));
    buf_done(&b);
    return s;
}

static int update_node(struct kubelet *k, struct str driver, struct str id, const struct val *topology,
                       struct err *e)
{
    struct arena a = ARENA_INIT;
    struct status s;
    const struct val *node;
    const struct call *call = CALL(.res = &resources[RES_NODES], .name = str_of(k->cfg.node_name));
    status_init(&s, &a);
    int r = client_get(k->client, call, &a, &node, &s);
    if (r != 0)
        r = api_error(&s, r, "node", e);
    else
        r = check_topology(node, topology, e);
    if (r == 0) {
        struct str ids = ids_with(&a, node, driver, id);
        bool same = str_eq(ids, obj_annotation(node, STR(NODE_ID_ANNOTATION)));
        VAL_EACH_ENTRY (topology, key, value)
            same = same && str_eq(obj_label(node, val_str(key)), val_str(value));
        if (!same && (r = client_patch(k->client, call, PATCH_MERGE, node_patch(&a, ids, topology), &a, NULL,
                                       &s)) != 0)
            r = api_error(&s, r, "node", e);
    }
    arena_done(&a);
    return r;
}

/* ---- the CSINode --------------------------------------------------------------------------------------- */

static int create_csi_node(struct kubelet *k, struct arena *a, const struct val *node, const struct val **ret,
                           struct status *s)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata), *owner;
    val_set_str(a, meta, N_name, str_of(k->cfg.node_name));
    val_put_str(a, val_sub_map(a, meta, N_annotations), STR("storage.alpha.kubernetes.io/migrated-plugins"),
                STR(MIGRATED));
    owner = val_add_obj(a, val_sub_list(a, meta, N_ownerReferences));
    val_set_str(a, owner, N_apiVersion, STR("v1"));
    val_set_str(a, owner, N_kind, STR("Node"));
    val_set_str(a, owner, N_name, str_of(k->cfg.node_name));
    val_set_str(a, owner, N_uid, obj_uid(node));
    val_sub_list(a, val_sub_obj(a, v, N_spec), N_drivers);
    return client_create(k->client, CALL(.res = &resources[RES_CSINODES]), v, a, ret, s);
}

static bool owned_by(const struct val *csi_node, const struct val *node)
{
    VAL_EACH (val_get(obj_meta(csi_node), N_ownerReferences), o)
        if (str_is(val_getstr(o, N_kind), "Node") && str_eq(val_getstr(o, N_uid), obj_uid(node)))
            return true;
    return false;
}

/* This node's CSINode, made when there is none, or one of an earlier Node of the name. */
static int get_csi_node(struct kubelet *k, struct arena *a, const struct val **ret, struct status *s)
{
    const struct val *node;
    const struct call *call = CALL(.res = &resources[RES_CSINODES], .name = str_of(k->cfg.node_name));
    int r = client_get(k->client, CALL(.res = &resources[RES_NODES], .name = str_of(k->cfg.node_name)), a,
                       &node, s);
    if (r != 0)
        return r;
    r = client_get(k->client, call, a, ret, s);
    if (r == 0 && !owned_by(*ret, node)) {
        r = client_delete(k->client, call, a, NULL, s);
        if (r == 0)
            r = 404;
    }
    if (r != 404)
        return r;
    status_init(s, a);
    return create_csi_node(k, a, node, ret, s);
}

static void add_driver(struct arena *a, struct val *drivers, const struct csi_node_info *info)
{
    struct val *d = val_add_obj(a, drivers), *keys;
    struct str *sorted = ARENA_ARRAY(a, struct str, val_len(info->topology));
    size_t n = 0;
    val_set_str(a, d, N_name, info->driver);
    val_set_str(a, d, N_nodeID, info->node_id);
    VAL_EACH_ENTRY (info->topology, key, value) {
        (void)value;
        sorted[n++] = val_str(key);
    }
    str_sort(sorted, n);
    keys = val_sub_list(a, d, N_topologyKeys);
    for (size_t i = 0; i < n; i++)
        val_add_str(a, keys, sorted[i]);
    if (info->max_volumes > 0)
        val_set_int(a, val_sub_obj(a, d, N_allocatable), N_count, MIN(info->max_volumes, (int64_t)INT32_MAX));
}

/* The drivers with this one as it should be (info->node_id empty: without it). */
static struct val *drivers_with(struct arena *a, const struct val *csi_node, const struct csi_node_info *info)
{
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (val_at(csi_node, N_spec, N_drivers), d)
        if (!str_eq(val_getstr(d, N_name), info->driver))
            val_add(a, list, *d);
    if (info->node_id.n)
        add_driver(a, list, info);
    return list;
}

static bool same_drivers(const struct val *x, const struct val *y)
{
    if (val_len(x) != val_len(y))
        return false;
    VAL_EACH (x, d) {
        bool found = false;
        VAL_EACH (y, o)
            found = found || val_equal(d, o);
        if (!found)
            return false;
    }
    return true;
}

static int update_once(struct kubelet *k, const struct csi_node_info *info, struct arena *a, struct status *s)
{
    const struct val *have;
    int r = get_csi_node(k, a, &have, s);
    if (r != 0 || !info)
        return r;
    struct val *list = drivers_with(a, have, info);
    if (same_drivers(list, val_at(have, N_spec, N_drivers)))
        return 0;
    struct val *v = val_copy(a, have);
    val_set_ref(a, val_sub_obj(a, v, N_spec), N_drivers, list);
    return client_update(k->client, CALL(.res = &resources[RES_CSINODES], .name = str_of(k->cfg.node_name)),
                         v, a, NULL, s);
}

/* info NULL: only that there is one. */
static int update_csi_node(struct kubelet *k, const struct csi_node_info *info, struct err *e)
{
    int r = 0;
    for (unsigned i = 0; i < TRIES; i++) {
        struct arena a = ARENA_INIT;
        struct status s;
        status_init(&s, &a);
        r = update_once(k, info, &a, &s);
        if (r != 0)
            r = api_error(&s, r, "CSINode", e);
        arena_done(&a);
        if (r == 0 || fiber_cancelled())
            break;
        fiber_sleep(MILLISECONDS(10) << i);
    }
    return fiber_cancelled() ? -ECANCELED : r;
}

int csi_node_install(struct kubelet *k, const struct csi_node_info *info, struct err *e)
{
    if (!k->client)
        return 0;
    int r = update_node(k, info->driver, info->node_id, info->topology, e);
    return r == 0 ? update_csi_node(k, info, e) : r;
}

int csi_node_remove(struct kubelet *k, struct str driver, struct err *e)
{
    struct csi_node_info none = {.driver = driver};
    if (!k->client)
        return 0;
    int r = update_csi_node(k, &none, e);
    return r == 0 ? update_node(k, driver, STR(""), NULL, e) : r;
}

/* ---- keeping it ---------------------------------------------------------------------------------------- */

/* Drivers that ask for it (KEP-4876) are asked again how many volumes the node takes. Returns the pause until
 * then. */
static int64_t refresh_counts(struct kubelet *k, struct map *due)
{
    int64_t pause = SECONDS(60);
    struct arena a = ARENA_INIT;
    const struct val *have = NULL, *answer;
    struct status s;
    status_init(&s, &a);
    bool any = false;
    struct tree_iter it;
    for (tree_seek(&it, replica_tree(k->world, &resources[RES_CSIDRIVERS]), STR_NULL); it.object;
         tree_next(&it))
        any = any || val_at(it.object->val, N_spec, N_nodeAllocatableUpdatePeriodSeconds);
    if (!any || get_csi_node(k, &a, &have, &s) != 0)
        have = NULL;
    VAL_EACH (val_at(have, N_spec, N_drivers), d) {
        struct str name = val_getstr(d, N_name);
        int64_t period =
            val_int(val_at(csi_driver_object(k, name), N_spec, N_nodeAllocatableUpdatePeriodSeconds), 0);
        struct mono *at = map_get(due, name);
        if (period <= 0)
            continue;
        if (!at) {
            at = NEW(struct mono);
            *at = mono_add(os_mono(), SECONDS(period));
            map_put(due, name, at);
        } else if (at->ns <= os_mono().ns) {
            *at = mono_add(os_mono(), SECONDS(period));
            if (csi_call(k, name, G_csi_v1_Node_NodeGetInfo, val_new(&a, VAL_OBJ), &a, &answer, NULL) == 0) {
                struct csi_node_info info = {name, val_getstr(answer, N_node_id),
                                             val_int(val_get(answer, N_max_volumes_per_node), 0),
                                             val_at(answer, N_accessible_topology, N_segments)};
                update_csi_node(k, &info, NULL);
            }
        }
        pause = MIN(pause, MAX(at->ns - os_mono().ns, SECONDS(1)));
    }
    arena_done(&a);
    return pause;
}

void csi_node_run(void *arg)
{
    struct kubelet *k = arg;
    struct err e = {{0}};
    struct map due = MAP_INIT;
    int64_t pause = SECONDS(1);
    while (!k->node_registered && fiber_sleep(MILLISECONDS(100)) == 0)
        ;
    while (!fiber_cancelled() && update_csi_node(k, NULL, &e) != 0)
        fiber_sleep(pause = MIN(2 * pause, SECONDS(30)));
    while (!fiber_cancelled()) {
        pause = refresh_counts(k, &due);
        fiber_sleep(pause);
    }
    map_done_with(&due, free);
}
