/* SPDX-License-Identifier: Apache-2.0 */
/* The Node: registers it, and keeps its status true. Written when something changed, and every five minutes. */
#include "net/resolve.h"
#include "node/eviction.h"
#include "node/kubelet-internal.h"
#include "type/claim.h"
#include "type/patch.h"
#include "types.h"

#include <stdio.h>

#define KUBELET_VERSION "v1.37.2"
#define NOT_READY_PERIOD MILLISECONDS(200) /* how often to look while the node is not ready */

/* ---- what there is, and what of it is for Pods --------------------------------------------------------------- */

static int64_t capacity_of(const struct kubelet *k, const char *name)
{
    if (!strcmp(name, "cpu"))
        return k->facts.cpus * 1000;
    if (!strcmp(name, "memory"))
        return k->facts.memory;
    if (!strcmp(name, "ephemeral-storage"))
        return k->facts.fs_bytes;
    if (strcmp(name, "pods") != 0)
        return 0;
    int64_t pods = k->cfg.max_pods;
    if (k->cfg.pods_per_core > 0)
        pods = MIN(pods, k->cfg.pods_per_core * k->facts.cpus);
    return pods;
}

/* The value of "name=value" in a list; empty when it is not there. */
static struct str setting(const char *const *list, const char *name)
{
    struct str key, value;
    for (; list && *list; list++)
        if (str_cut(str_of(*list), '=', &key, &value) && str_is(key, name))
            return value;
    return STR_NULL;
}

static int64_t reserved(const char *const *list, const char *name)
{
    struct quantity q = quantity_or_zero(setting(list, name));
    return !strcmp(name, "cpu") ? quantity_milli(q) : quantity_units(q);
}

int64_t node_allocatable_of(struct kubelet *k, const char *name)
{
    int64_t n = capacity_of(k, name) - reserved(k->cfg.kube_reserved, name) - reserved(k->cfg.system_reserved, name);
    if (!strcmp(name, "memory"))
        n -= eviction_threshold(k->cfg.eviction_hard, "memory.available", k->facts.memory);
    else if (!strcmp(name, "ephemeral-storage"))
        n -= eviction_threshold(k->cfg.eviction_hard, "nodefs.available", k->facts.fs_bytes);
    return MAX(n, (int64_t)0);
}

static void put_quantity(struct arena *a, struct val *map, const char *name, struct quantity q)
{
    char text[QUANTITY_TEXT_MAX];
    val_put_str(a, map, str_of(name), str_of(quantity_text(q, text)));
}

static struct val *resource_map(struct kubelet *k, struct arena *a, bool allocatable)
{
    static const char *const names[] = {"cpu", "ephemeral-storage", "hugepages-1Gi", "hugepages-2Mi", "memory", "pods"};
    struct val *map = val_new(a, VAL_MAP);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int64_t n = allocatable ? node_allocatable_of(k, names[i]) : capacity_of(k, names[i]);
        bool bytes = !strcmp(names[i], "memory") || !strcmp(names[i], "ephemeral-storage");
        if (!strcmp(names[i], "cpu"))
            put_quantity(a, map, names[i], quantity_of_milli(n, QUANTITY_DECIMAL_SI));
        else if (bytes && allocatable && names[i][0] == 'e')
            put_quantity(a, map, names[i], quantity_of(n, QUANTITY_DECIMAL_SI)); /* as upstream shows it: in bytes */
        else
            put_quantity(a, map, names[i], quantity_of(n, bytes ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI));
    }
    return map;
}

struct val *node_allocatable(struct kubelet *k, struct arena *a)
{
    return resource_map(k, a, true);
}

/* ---- conditions ------------------------------------------------------------------------------------------------ */

struct node_condition {
    const char *type;
    bool is_true;
    const char *reason;
    struct str message;
    const char *event; /* when it changes */
};

static struct node_condition pressure(const char *type, bool on, const char *off_reason, const char *off_message,
                                      const char *on_reason, const char *on_message)
{
    return (struct node_condition){type, on, on ? on_reason : off_reason, str_of(on ? on_message : off_message), NULL};
}

static struct node_condition ready_condition(struct kubelet *k, struct arena *a)
{
    struct node_condition c = {"Ready", true, "KubeletReady", STR("kubelet is posting ready status"), "NodeReady"};
    if (k->runtime_ready && k->network_ready && k->relisted && !k->shutting_down)
        return c;
    c.is_true = false;
    c.reason = "KubeletNotReady";
    c.event = "NodeNotReady";
    if (k->shutting_down) {
        c.message = STR("node is shutting down");
        return c;
    }
    if (k->runtime_problem[0])
        c.message = arena_printf(a, "%s%s", k->runtime_ready ? "container runtime network not ready: "
                                                             : "container runtime status check may not have completed yet: ",
                                 k->runtime_problem);
    else
        c.message = STR("container runtime status check may not have completed yet");
    return c;
}

/* Sets it in the list, keeping the time of the last change. Returns whether the status changed. */
static bool put_condition(struct arena *a, struct val *list, const struct node_condition *c, const struct val *before,
                          struct wall now)
{
    const struct val *old = condition_find(before, str_of(c->type));
    const char *status = c->is_true ? "True" : "False";
    struct val *o = val_add_obj(a, list);
    bool same = old && str_is(val_getstr(old, N_status), status);
    val_set_str(a, o, N_type, str_of(c->type));
    val_set_str(a, o, N_status, str_of(status));
    val_set_time(a, o, N_lastHeartbeatTime, now);
    if (same)
        val_set_ref(a, o, N_lastTransitionTime, val_get(old, N_lastTransitionTime));
    else
        val_set_time(a, o, N_lastTransitionTime, now);
    val_set_str(a, o, N_reason, str_of(c->reason));
    val_set_str(a, o, N_message, c->message);
    return !same;
}

static void set_conditions(struct kubelet *k, struct arena *a, struct val *status, const struct val *old)
{
    const struct val *before = val_get(old, N_conditions);
    struct wall now = os_wall();
    struct node_condition all[] = {
        pressure("MemoryPressure", k->memory_pressure, "KubeletHasSufficientMemory", "kubelet has sufficient memory available",
                 "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        pressure("DiskPressure", k->disk_pressure, "KubeletHasNoDiskPressure", "kubelet has no disk pressure",
                 "KubeletHasDiskPressure", "kubelet has disk pressure"),
        pressure("PIDPressure", k->pid_pressure, "KubeletHasSufficientPID", "kubelet has sufficient PID available",
                 "KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ready_condition(k, a),
    };
    all[0].event = k->memory_pressure ? "NodeHasInsufficientMemory" : "NodeHasSufficientMemory";
    all[1].event = k->disk_pressure ? "NodeHasDiskPressure" : "NodeHasNoDiskPressure";
    all[2].event = k->pid_pressure ? "NodeHasInsufficientPID" : "NodeHasSufficientPID";
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (before, c) { /* others may have conditions here, too */
        bool own = false;
        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
            own = own || str_is(val_getstr(c, N_type), all[i].type);
        if (!own)
            val_add(a, list, *c);
    }
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (put_condition(a, list, &all[i], before, now))
            node_event(k, false, all[i].event, "Node %s status is now: %s", k->cfg.node_name, all[i].event);
    val_set_ref(a, status, N_conditions, list);
}

/* ---- the rest of the status ------------------------------------------------------------------------------------- */

static void set_addresses(struct kubelet *k, struct arena *a, struct val *status)
{
    struct val *list = val_new(a, VAL_LIST), *o;
    for (size_t i = 0; i < k->n_ips; i++) {
        o = val_add_obj(a, list);
        val_set_str(a, o, N_type, STR("InternalIP"));
        val_set_str(a, o, N_address, k->ips[i]);
    }
    o = val_add_obj(a, list);
    val_set_str(a, o, N_type, STR("Hostname"));
    val_set_str(a, o, N_address, str_of(k->cfg.hostname));
    val_set_ref(a, status, N_addresses, list);
}

static void set_info(struct kubelet *k, struct arena *a, struct val *status)
{
    struct val *o = val_new(a, VAL_OBJ);
    val_set_str(a, o, N_machineID, k->facts.machine_id);
    val_set_str(a, o, N_systemUUID, k->facts.system_uuid);
    val_set_str(a, o, N_bootID, k->facts.boot_id);
    val_set_str(a, o, N_kernelVersion, k->facts.kernel);
    val_set_str(a, o, N_osImage, k->facts.os_image);
    val_set_str(a, o, N_containerRuntimeVersion, arena_printf(a, "%s://%s", k->rt->name, k->rt->version));
    val_set_str(a, o, N_kubeletVersion, STR(KUBELET_VERSION));
    val_set_str(a, o, N_kubeProxyVersion, STR(""));
    val_set_str(a, o, N_operatingSystem, STR("linux"));
    val_set_str(a, o, N_architecture, k->facts.arch);
    if (k->facts.swap > 0)
        val_set_int(a, val_sub_obj(a, o, N_swap), N_capacity, k->facts.swap);
    val_set_ref(a, status, N_nodeInfo, o);
}

static int by_size(const void *pa, const void *pb)
{
    const struct val *const *a = pa, *const *b = pb;
    int64_t x = val_int(val_get(*a, N_size), 0), y = val_int(val_get(*b, N_size), 0);
    return x > y ? -1 : x < y ? 1 : str_cmp(val_getstr(*a, N_id), val_getstr(*b, N_id));
}

static void add_names(struct arena *a, struct val *list, const struct val *names)
{
    VAL_EACH (names, n)
        if (val_len(list) < 5) /* names of one image that upstream reports at most */
            val_add_str(a, list, val_str(n));
}

static void set_images(struct kubelet *k, struct arena *a, struct val *status)
{
    const struct val *images;
    if (runtime_images(k->rt, a, &images, NULL) != 0)
        return;
    size_t n = val_len(images), i = 0;
    const struct val **sorted = ARENA_ARRAY(a, const struct val *, n);
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH (images, image)
        sorted[i++] = image;
    if (n)
        qsort(sorted, n, sizeof(*sorted), by_size);
    for (i = 0; i < n && (k->cfg.max_images_reported < 0 || i < (size_t)k->cfg.max_images_reported); i++) {
        struct val *o = val_add_obj(a, list);
        struct val *names = val_sub_list(a, o, N_names);
        add_names(a, names, val_get(sorted[i], N_repo_digests));
        add_names(a, names, val_get(sorted[i], N_repo_tags));
        val_set_int(a, o, N_sizeBytes, val_int(val_get(sorted[i], N_size), 0));
    }
    val_set_ref(a, status, N_images, list);
}

static int listen_port(const struct kubelet *k)
{
    ssize_t colon = k->cfg.listen ? str_rfind(str_of(k->cfg.listen), ':') : -1;
    return k->server_port ? k->server_port : colon < 0 ? 0 : atoi(k->cfg.listen + colon + 1);
}

/* Resources that somebody else put there (a patch of the node's status) stay, as they are. */
static void keep_extended(struct arena *a, struct val *capacity, struct val *allocatable, const struct val *before)
{
    VAL_EACH_ENTRY (before, k, v)
        if (!val_key(capacity, val_str(k))) {
            val_put_str(a, capacity, val_str(k), val_str(v));
            val_put_str(a, allocatable, val_str(k), val_str(v));
        }
}

/* What is new enough that other nodes of the cluster may lack it (KEP-5328). Sorted. */
static struct val *declared_features(struct arena *a)
{
    static const char *const names[] = {"InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers",
                                        "RestartAllContainersOnContainerExits"};
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        val_add_str(a, list, str_of(names[i]));
    return list;
}

/* The status as it should be, on top of the one that is. */
static struct val *make_status(struct kubelet *k, struct arena *a, const struct val *old, bool images)
{
    struct val *s = old ? val_copy_shallow(a, old) : val_new(a, VAL_OBJ);
    struct val *capacity = resource_map(k, a, false), *allocatable = resource_map(k, a, true);
    devices_report(k, a, capacity, allocatable);
    keep_extended(a, capacity, allocatable, val_get(old, N_capacity));
    val_set_ref(a, s, N_capacity, capacity);
    val_set_ref(a, s, N_allocatable, allocatable);
    val_set_ref(a, s, N_declaredFeatures, declared_features(a));
    val_set_ref(a, s, N_runtimeHandlers, val_get(k->features, N_runtimeHandlers));
    val_set_ref(a, s, N_features, val_get(k->features, N_features));
    set_addresses(k, a, s);
    set_info(k, a, s);
    set_conditions(k, a, s, old);
    node_volumes_report(k, a, s);
    if (images || !val_get(s, N_images))
        set_images(k, a, s);
    if (!k->cfg.no_server) {
        struct val *d = val_new(a, VAL_OBJ);
        val_set_int(a, val_sub_obj(a, d, N_kubeletEndpoint), N_Port, listen_port(k));
        val_set_ref(a, s, N_daemonEndpoints, d);
    }
    return s;
}

/* ---- registering -------------------------------------------------------------------------------------------------- */

static void set_labels(struct kubelet *k, struct arena *a, struct val *labels)
{
    struct str key, value;
    val_put_str(a, labels, STR("beta.kubernetes.io/arch"), k->facts.arch);
    val_put_str(a, labels, STR("beta.kubernetes.io/os"), STR("linux"));
    val_put_str(a, labels, STR("kubernetes.io/arch"), k->facts.arch);
    val_put_str(a, labels, STR("kubernetes.io/hostname"), str_of(k->cfg.hostname));
    val_put_str(a, labels, STR("kubernetes.io/os"), STR("linux"));
    for (const char *const *l = k->cfg.node_labels; l && *l; l++) {
        str_cut(str_of(*l), '=', &key, &value);
        val_put_str(a, labels, key, value);
    }
}

/* "key=value:Effect" or "key:Effect" */
static void set_taints(struct kubelet *k, struct arena *a, struct val *spec)
{
    for (const char *const *t = k->cfg.taints; t && *t; t++) {
        struct str text = str_of(*t), key, value;
        ssize_t colon = str_rfind(text, ':');
        if (colon < 0)
            continue;
        struct val *o = val_add_obj(a, val_sub_list(a, spec, N_taints));
        str_cut(str_slice(text, 0, (size_t)colon), '=', &key, &value);
        val_set_str(a, o, N_key, key);
        if (value.n)
            val_set_str(a, o, N_value, value);
        val_set_str(a, o, N_effect, str_from(text, (size_t)colon + 1));
    }
}

static int create_node(struct kubelet *k, struct arena *a, const struct val **ret, struct status *s)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_name, str_of(k->cfg.node_name));
    set_labels(k, a, val_sub_map(a, meta, N_labels));
    val_put_str(a, val_sub_map(a, meta, N_annotations), STR("volumes.kubernetes.io/controller-managed-attach-detach"),
                STR("true"));
    val_put_str(a, val_sub_map(a, meta, N_annotations), STR(ANN_LOCAL_PATH_FOLDER), str_of(k->cfg.local_path_dir));
    struct val *spec = val_sub_obj(a, v, N_spec);
    if (k->cfg.provider_id)
        val_set_str(a, spec, N_providerID, str_of(k->cfg.provider_id));
    set_taints(k, a, spec);
    val_set_ref(a, v, N_status, make_status(k, a, NULL, true));
    return client_create(k->client, CALL(.res = &resources[RES_NODES]), v, a, ret, s);
}

/* A node that is there from an earlier life gets the labels that are ours. */
static int adopt_node(struct kubelet *k, struct arena *a, const struct val **node, struct status *s)
{
    struct val *labels = val_copy(a, obj_labels(*node));
    if (!labels)
        labels = val_new(a, VAL_MAP);
    set_labels(k, a, labels);
    const struct val *notes = val_get(obj_meta(*node), N_annotations);
    struct val *annotations = notes ? val_copy(a, notes) : val_new(a, VAL_MAP);
    val_put_str(a, annotations, STR(ANN_LOCAL_PATH_FOLDER), str_of(k->cfg.local_path_dir));
    if (val_equal(labels, obj_labels(*node)) && val_equal(annotations, notes))
        return 0;
    struct val *old = val_new(a, VAL_OBJ), *new_ = val_new(a, VAL_OBJ);
    struct str patch;
    struct err e;
    val_set_ref(a, val_sub_obj(a, old, N_metadata), N_labels, obj_labels(*node));
    val_set_ref(a, val_sub_obj(a, old, N_metadata), N_annotations, notes);
    val_set_ref(a, val_sub_obj(a, new_, N_metadata), N_labels, labels);
    val_set_ref(a, val_sub_obj(a, new_, N_metadata), N_annotations, annotations);
    if (patch_three_way(a, type_at(T_core_v1_Node), old, new_, old, &patch, &e) < 0)
        return 0;
    return client_patch(k->client, CALL(.res = &resources[RES_NODES], .name = str_of(k->cfg.node_name)), PATCH_STRATEGIC,
                        patch, a, node, s);
}

/* The Node object, made when it is not there: 0 and *ret. */
static int get_node(struct kubelet *k, struct arena *a, const struct val **ret, struct status *s)
{
    const struct call *call = CALL(.res = &resources[RES_NODES], .name = str_of(k->cfg.node_name));
    int r = client_get(k->client, call, a, ret, s);
    if (r == 404 && !k->cfg.no_register) {
        status_init(s, a);
        r = create_node(k, a, ret, s);
        if (r == 0)
            log_info(LOG, "registered node %s", k->cfg.node_name);
        if (r == 409) {
            status_init(s, a);
            r = client_get(k->client, call, a, ret, s);
        }
    } else if (r == 0 && !k->node_registered && !k->cfg.no_register) {
        r = adopt_node(k, a, ret, s);
    }
    k->node_registered = k->node_registered || r == 0;
    return r;
}

/* ---- keeping it ------------------------------------------------------------------------------------------------------ */

/* The same but for heartbeats? */
static bool same_status(struct arena *a, const struct val *x, const struct val *y)
{
    struct val *p = val_copy(a, x), *q = val_copy(a, y);
    struct val *both[] = {p, q};
    for (size_t i = 0; i < 2; i++) {
        struct val *list = val_mut(both[i], N_conditions);
        for (size_t j = 0; list && j < val_len(list); j++)
            val_del(&list->items[j], N_lastHeartbeatTime);
    }
    return val_equal(p, q);
}

/* The API merges addresses by their type, of which a node with two families has two: they are replaced as a whole. */
static struct str with_addresses(struct arena *a, struct str patch, const struct val *addresses)
{
    static const struct str head = STR("{\"status\":{");
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_putstr(&b, head);
    buf_puts(&b, "\"addresses\":[{\"$patch\":\"replace\"}");
    VAL_EACH (addresses, v) {
        buf_putc(&b, ',');
        json_encode(&b, type_at(T_core_v1_NodeAddress), v, 0);
    }
    buf_puts(&b, str_starts(patch, head) ? "]," : "]}}");
    if (str_starts(patch, head))
        buf_putstr(&b, str_from(patch, head.n));
    return arena_str(a, buf_str(&b));
}

static struct val *without_addresses(struct arena *a, const struct val *status)
{
    struct val *root = val_new(a, VAL_OBJ), *v = status ? val_copy_shallow(a, status) : val_new(a, VAL_OBJ);
    val_del(v, N_addresses);
    val_set_ref(a, root, N_status, v);
    return root;
}

static int write_status(struct kubelet *k, struct arena *a, const struct val *node, const struct val *status,
                        struct status *s)
{
    const struct val *was = pod_status(node), *addresses = val_get(status, N_addresses);
    struct val *old = without_addresses(a, was), *new_ = without_addresses(a, status);
    struct str patch;
    struct err e;
    int r = patch_three_way(a, type_at(T_core_v1_Node), old, new_, old, &patch, &e);
    if (r < 0)
        return status_set(s, 500, NULL, "cannot make a patch: %s", err_text(&e, r));
    if (!val_equal(val_get(was, N_addresses), addresses))
        patch = with_addresses(a, patch, addresses);
    return client_patch(k->client,
                        CALL(.res = &resources[RES_NODES], .name = str_of(k->cfg.node_name), .subresource = "status"),
                        PATCH_STRATEGIC, patch, a, NULL, s);
}

/* What the runtime can do, as the Node shows it: from its answer (none: as before). */
static void keep_features(struct kubelet *k, const struct val *answer)
{
    struct arena *a = &k->features_arena;
    uint64_t hash = answer ? val_hash(val_get(answer, N_runtime_handlers)) + val_hash(val_get(answer, N_features)) : 0;
    if (!answer || (k->features_hash == hash && k->features))
        return;
    arena_done(a);
    k->features_hash = hash;
    struct val *v = k->features = val_new(a, VAL_OBJ);
    VAL_EACH (val_get(answer, N_runtime_handlers), h) {
        struct val *o = val_add_obj(a, val_sub_list(a, v, N_runtimeHandlers));
        const struct val *can = val_get(h, N_features);
        val_set_str(a, o, N_name, val_getstr(h, N_name));
        struct val *f = val_sub_obj(a, o, N_features);
        val_set_bool(a, f, N_recursiveReadOnlyMounts, val_bool(val_get(can, N_recursive_read_only_mounts), false));
        val_set_bool(a, f, N_userNamespaces, val_bool(val_get(can, N_user_namespaces), false));
    }
    if (val_get(answer, N_features))
        val_set_bool(a, val_sub_obj(a, v, N_features), N_supplementalGroupsPolicy,
                     val_bool(val_at(answer, N_features, N_supplemental_groups_policy), false));
}

static void check_runtime(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    struct str problem = STR("");
    struct err e = {{0}};
    bool runtime = false, network = false;
    const struct val *answer = NULL;
    int rc = k->rt->version && *k->rt->version ? 0 : runtime_connect(k->rt, mono_add(os_mono(), SECONDS(5)), &e);
    if (rc == 0)
        rc = runtime_status(k->rt, &a, &runtime, &network, &problem, &answer, &e);
    if (rc < 0) {
        arena_done(&a);
        return; /* cancelled */
    }
    keep_features(k, answer);
    if (rc > 0)
        snprintf(k->runtime_problem, sizeof(k->runtime_problem), "%s", err_text(&e, -EIO));
    else
        snprintf(k->runtime_problem, sizeof(k->runtime_problem), STR_FMT, STR_ARG(problem));
    bool was = k->network_ready;
    k->runtime_ready = runtime;
    k->network_ready = network;
    if (network && !was)
        MAP_EACH (&k->workers, m) { /* those that waited for it */
            struct worker *w = m->value;
            w->retry_at.ns = 0;
            worker_wake(w);
        }
    arena_done(&a);
}

static bool is_ready(const struct kubelet *k)
{
    return k->runtime_ready && k->network_ready && k->relisted;
}

/* After a restart of ours the node was ready and will be again in a moment: that is not worth an alarm. */
static bool settling(const struct kubelet *k, const struct val *node)
{
    return !is_ready(k) && os_mono().ns - k->started.ns < SECONDS(5) &&
           condition_is(val_at(node, N_status, N_conditions), STR("Ready"), "True");
}

/* One look: 0 when the API has what it should. */
static int update(struct kubelet *k, struct mono *written)
{
    struct arena a = ARENA_INIT;
    struct status s;
    const struct val *node = NULL;
    const struct object *o = replica_get(k->world, &resources[RES_NODES], STR_NULL, str_of(k->cfg.node_name));
    struct object *held CLEANUP_OBJECT = o ? object_ref(o) : NULL;
    int r = 0;
    status_init(&s, &a);
    if (held && k->node_registered)
        node = held->val;
    else
        r = get_node(k, &a, &node, &s);
    if (r == 0 && settling(k, node)) {
        arena_done(&a);
        return 0;
    }
    bool report = os_mono().ns - written->ns >= k->cfg.status_report_period || written->ns == 0;
    const struct val *status = NULL;
    if (r == 0)
        status = as_api_has_it(&a, type_at(T_core_v1_NodeStatus),
                               make_status(k, &a, pod_status(node), report || k->images_dirty));
    k->images_dirty = false;
    if (r == 0 && (report || !same_status(&a, pod_status(node), status))) {
        r = write_status(k, &a, node, status, &s);
        if (r == 0)
            *written = os_mono();
    }
    if (r == 404)
        k->node_registered = false; /* somebody deleted it: made anew at the next look */
    if (r > 0)
        log_warn(LOG, "cannot write the status of node %s: " STR_FMT, k->cfg.node_name, STR_ARG(s.message));
    arena_done(&a);
    return r;
}

void node_touch(struct kubelet *k)
{
    k->node_touched = true;
    waitq_wake_all(&k->node_dirty);
}

void node_run(void *arg)
{
    struct kubelet *k = arg;
    struct mono written = {0};
    while (!fiber_cancelled()) {
        k->node_touched = false;
        check_runtime(k);
        bool ready = is_ready(k); /* as it is told now: it may change while we tell it */
        int r = k->client ? update(k, &written) : 0;
        cni_update(k);
        int64_t pause = r != 0 ? SECONDS(1) : ready ? k->cfg.status_period : NOT_READY_PERIOD;
        if (r != 0 || !k->node_touched)
            waitq_wait(&k->node_dirty, mono_add(os_mono(), pause));
    }
}
