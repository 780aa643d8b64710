/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/volumes.h"

#include "client/replica.h"
#include "names.h"
#include "resources.h"
#include "scheduler/match.h"
#include "type/claim.h"
#include "type/meta.h"

/* ---- promises ----------------------------------------------------------------------------------- */

void volume_promises_done(struct volume_promises *p)
{
    map_done_with(&p->volumes, free);
    map_done_with(&p->claims, free);
}

void volume_promise(struct volume_promises *p, const struct volume_plan *plan, struct str node)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct volume_bind *b = &plan->list[i];
        free(b->volume ? map_put(&p->volumes, b->volume->name, str_dup(b->claim->uid))
                       : map_put(&p->claims, b->claim->uid, str_dup(node)));
    }
}

void volume_unpromise(struct volume_promises *p, const struct volume_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct volume_bind *b = &plan->list[i];
        free(b->volume ? map_del(&p->volumes, b->volume->name) : map_del(&p->claims, b->claim->uid));
    }
}

/* ---- what is read once a pod -------------------------------------------------------------------- */

/* A claim that waits for its first consumer. */
struct open_claim {
    const struct object *claim;
    const struct val *class;
    struct str node;                  /* where it was decided to be made; empty: open */
    const struct object **candidates; /* volumes it could get, the smallest first; a reserved one alone */
    size_t n_candidates;
    bool capacity_tracked; /* the driver says how much room there is (CSIStorageCapacity) */
};

/* A CSI volume, for counting. */
struct csi_volume {
    struct str driver, handle;
    bool must_be_there; /* its driver asks that its pods wait for nodes that have it */
};

struct csi_volumes {
    struct csi_volume *items; /* each once */
    size_t n, cap;
};

/* A VolumeAttachment, in a list a node. */
struct attachment {
    struct csi_volume volume;
    int next;
};

struct volumes {
    const struct world *w;
    struct needs *pod;
    struct arena *a;
    const struct profile *profile;
    struct str refusal;
    const struct object **bound; /* volumes of bound claims; NULL for one that is gone */
    size_t n_bound;
    struct open_claim *open; /* the smallest first */
    size_t n_open;
    bool disks, one_pod_taken, zones;
    struct csi_volumes csi; /* of the pod */
    struct attachment *attachments;
    int *attached_to; /* node -> index + 1 of its first; NULL: not read yet */
};

static const struct object *get(const struct world *w, uint16_t res, struct str ns, struct str name)
{
    return w->objects && name.n ? snapshot_get(w->objects, &resources[res], ns, name) : NULL;
}

static const struct tree *all(const struct world *w, uint16_t res)
{
    return w->objects ? snapshot_tree(w->objects, &resources[res]) : NULL;
}

static struct str not_found(struct arena *a, const char *what, struct str name)
{
    return arena_printf(a, "%s \"" STR_FMT "\" not found", what, STR_ARG(name));
}

static bool is_disk(const struct val *volume)
{
    return val_get(volume, N_gcePersistentDisk) || val_get(volume, N_awsElasticBlockStore) ||
           val_get(volume, N_rbd) || val_get(volume, N_iscsi);
}

/* Why the claim lets its pod go nowhere. */
static struct str claim_refusal(struct volumes *v, const struct object *claim, struct str name,
                                bool ephemeral)
{
    struct str volume = val_str(val_at(claim ? claim->val : NULL, N_spec, N_volumeName));
    if (!claim && ephemeral)
        return arena_printf(
            v->a,
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"" STR_FMT "\"",
            STR_ARG(name));
    if (!claim)
        return not_found(v->a, "persistentvolumeclaim", name);
    if (str_is(val_str(val_at(claim->val, N_status, N_phase)), "Lost"))
        return arena_printf(v->a,
                            "persistentvolumeclaim \"" STR_FMT
                            "\" bound to non-existent persistentvolume \"" STR_FMT "\"",
                            STR_ARG(name), STR_ARG(volume));
    if (obj_deleting(claim->val))
        return arena_printf(v->a, "persistentvolumeclaim \"" STR_FMT "\" is being deleted", STR_ARG(name));
    if (ephemeral && !claim_is_of_pod(claim->val, v->pod->pod->uid))
        return arena_printf(v->a,
                            "PVC " STR_FMT "/" STR_FMT " was not created for pod " STR_FMT "/" STR_FMT
                            " (pod is not owner)",
                            STR_ARG(claim->namespace_), STR_ARG(name), STR_ARG(claim->namespace_),
                            STR_ARG(v->pod->pod->name));
    return STR_NULL;
}

static int by_size(const void *pa, const void *pb)
{
    const struct object *a = *(const struct object *const *)pa, *b = *(const struct object *const *)pb;
    int c = quantity_cmp(volume_size(a->val), volume_size(b->val));
    return c ? c : str_cmp(a->name, b->name);
}

static void find_candidates(struct volumes *v, struct open_claim *c)
{
    const struct tree *t = all(v->w, RES_PERSISTENTVOLUMES);
    struct selector selector;
    struct tree_iter it;
    claim_selector(v->a, c->claim->val, &selector);
    c->candidates = ARENA_ARRAY(v->a, const struct object *, tree_count(t) + 1);
    for (tree_seek(&it, t, STR_NULL); it.object; tree_next(&it)) {
        enum volume_fit fit = volume_fit(it.object->val, c->claim->val, &selector);
        const char *promised = v->w->promises ? map_get(&v->w->promises->volumes, it.object->name) : NULL;
        if (fit == VOLUME_UNFIT || (promised && !str_is(c->claim->uid, promised)))
            continue;
        if (fit == VOLUME_RESERVED) {
            c->candidates[0] = it.object;
            c->n_candidates = 1;
            return;
        }
        c->candidates[c->n_candidates++] = it.object;
    }
    if (c->n_candidates > 1)
        qsort(c->candidates, c->n_candidates, sizeof(*c->candidates), by_size);
}

static void add_open(struct volumes *v, const struct object *claim, const struct val *class)
{
    for (size_t i = 0; i < v->n_open; i++)
        if (v->open[i].claim == claim)
            return; /* in two places of the pod */
    struct open_claim *c = &v->open[v->n_open++];
    const char *promised = v->w->promises ? map_get(&v->w->promises->claims, claim->uid) : NULL;
    const struct object *driver = get(v->w, RES_CSIDRIVERS, STR_NULL, val_getstr(class, N_provisioner));
    *c = (struct open_claim){.claim = claim, .class = class};
    c->node = promised ? str_of(promised) : obj_annotation(claim->val, STR(ANN_SELECTED_NODE));
    c->capacity_tracked = driver && val_bool(val_at(driver->val, N_spec, N_storageCapacity), false);
    if (!c->node.n)
        find_candidates(v, c);
}

static int by_claim_size(const void *pa, const void *pb)
{
    const struct open_claim *a = pa, *b = pb;
    int c = quantity_cmp(claim_size(a->claim->val), claim_size(b->claim->val));
    return c ? c : str_cmp(a->claim->name, b->claim->name);
}

/* ---- CSI volumes, for limits */

static bool is_among(const struct csi_volumes *l, const struct csi_volume *x)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->items[i].driver, x->driver) && str_eq(l->items[i].handle, x->handle))
            return true;
    return false;
}

static void add_csi(struct arena *a, struct csi_volumes *l, struct str driver, struct str handle)
{
    struct csi_volume x = {driver, handle, false};
    if (!driver.n || !handle.n || is_among(l, &x))
        return;
    if (l->n == l->cap) {
        struct csi_volume *more = ARENA_ARRAY(a, struct csi_volume, l->cap = MAX(2 * l->cap, (size_t)8));
        if (l->n)
            memcpy(more, l->items, l->n * sizeof(*more));
        l->items = more;
    }
    l->items[l->n++] = x;
}

/* What a claim is, or will be, to the driver. */
static void count_claim(const struct volumes *v, const struct object *claim, struct arena *a,
                        struct csi_volumes *ret)
{
    const struct object *volume =
        get(v->w, RES_PERSISTENTVOLUMES, STR_NULL, val_str(val_at(claim->val, N_spec, N_volumeName)));
    const struct val *csi = volume ? val_at(volume->val, N_spec, N_csi) : NULL;
    const struct object *class =
        volume ? NULL : get(v->w, RES_STORAGECLASSES, STR_NULL, claim_class(claim->val));
    if (csi)
        add_csi(a, ret, val_getstr(csi, N_driver), val_getstr(csi, N_volumeHandle));
    else if (class)
        add_csi(a, ret, val_getstr(class->val, N_provisioner), claim->uid);
}

static void count_pod(const struct volumes *v, const struct needs *pod, struct arena *a,
                      struct csi_volumes *ret)
{
    VAL_EACH (val_get(pod->spec, N_volumes), x) {
        struct str name = pod_claim_name(a, pod->pod->name, x);
        const struct object *claim = get(v->w, RES_PERSISTENTVOLUMECLAIMS, pod->pod->namespace_, name);
        if (claim)
            count_claim(v, claim, a, ret);
    }
}

/* ---- zones */

static const char *const zone_labels[] = {"failure-domain.beta.kubernetes.io/zone",
                                          "failure-domain.beta.kubernetes.io/region",
                                          "topology.kubernetes.io/zone", "topology.kubernetes.io/region"};

static bool has_zone(const struct val *labels)
{
    for (size_t i = 0; i < ARRAY_SIZE(zone_labels); i++)
        if (val_key(labels, str_of(zone_labels[i])))
            return true;
    return false;
}

/* ---- reading the pod */

static void read_claim(struct volumes *v, const struct val *volume, struct str name)
{
    const struct object *claim = get(v->w, RES_PERSISTENTVOLUMECLAIMS, v->pod->pod->namespace_, name);
    bool ephemeral = val_get(volume, N_ephemeral) != NULL;
    v->refusal = claim_refusal(v, claim, name, ephemeral);
    if (v->refusal.p)
        return;
    if (claim_bound(claim->val)) {
        struct str volume_name = val_str(val_at(claim->val, N_spec, N_volumeName));
        const struct object *o = get(v->w, RES_PERSISTENTVOLUMES, STR_NULL, volume_name);
        v->bound[v->n_bound++] = o;
        v->zones |= o && has_zone(obj_labels(o->val));
        if (!o && !ephemeral)
            v->refusal = not_found(v->a, "persistentvolume", volume_name);
        return;
    }
    const struct object *class = get(v->w, RES_STORAGECLASSES, STR_NULL, claim_class(claim->val));
    if (class && !val_str(val_at(claim->val, N_spec, N_volumeName)).n &&
        str_is(val_getstr(class->val, N_volumeBindingMode), "WaitForFirstConsumer"))
        add_open(v, claim, class->val);
    else
        v->refusal = STR("pod has unbound immediate PersistentVolumeClaims");
}

/* ReadWriteOncePod: another pod that has a node has the claim. */
static void read_one_pod(struct volumes *v)
{
    for (size_t i = 0; i < v->pod->n_claims; i++) {
        struct str ns, name;
        str_cut(v->pod->claims[i], '/', &ns, &name);
        const struct object *claim = get(v->w, RES_PERSISTENTVOLUMECLAIMS, ns, name);
        v->one_pod_taken |= claim && has_access_mode(val_get(claim->val, N_spec), "ReadWriteOncePod") &&
                            map_has(&v->w->table->claims, v->pod->claims[i]);
    }
}

static void read_csi(struct volumes *v)
{
    count_pod(v, v->pod, v->a, &v->csi);
    for (size_t i = 0; i < v->csi.n; i++) {
        const struct object *driver = get(v->w, RES_CSIDRIVERS, STR_NULL, v->csi.items[i].driver);
        v->csi.items[i].must_be_there =
            driver && val_bool(val_at(driver->val, N_spec, N_preventPodSchedulingIfMissing), false);
    }
}

struct volumes *volumes_new(const struct world *w, struct needs *pod, struct arena *a)
{
    const struct val *list = val_get(pod->spec, N_volumes);
    size_t n = val_len(list);
    if (!n || !pod->volumes_matter)
        return NULL;
    struct volumes *v = ARENA_NEW(a, struct volumes);
    *v = (struct volumes){.w = w, .pod = pod, .a = a, .profile = w->profile ? w->profile : &default_profile};
    bool binding = profile_filters(v->profile, PLUGIN_VOLUME_BINDING);
    v->bound = ARENA_ARRAY(a, const struct object *, n);
    v->open = ARENA_ARRAY(a, struct open_claim, n);
    VAL_EACH (list, x) {
        struct str name = pod_claim_name(a, pod->pod->name, x);
        v->disks |= is_disk(x);
        if (name.n && !v->refusal.p && binding)
            read_claim(v, x, name);
    }
    if (v->n_open > 1)
        qsort(v->open, v->n_open, sizeof(*v->open), by_claim_size);
    read_csi(v);
    read_one_pod(v);
    return v;
}

struct str volumes_refusal(const struct volumes *v)
{
    return v ? v->refusal : STR_NULL;
}

/* ---- VolumeRestrictions: disks that only one pod (or only readers) may have --------------------- */

static bool both_read(const struct val *a, const struct val *b)
{
    return val_bool(val_get(a, N_readOnly), false) && val_bool(val_get(b, N_readOnly), false);
}

static bool share_item(const struct val *a, const struct val *b)
{
    VAL_EACH (a, x) {
        VAL_EACH (b, y) {
            if (str_eq(val_str(x), val_str(y)))
                return true;
        }
    }
    return false;
}

static bool disks_clash(const struct val *a, const struct val *b)
{
    const struct val *x, *y;
    if ((x = val_get(a, N_gcePersistentDisk)) && (y = val_get(b, N_gcePersistentDisk)) &&
        str_eq(val_getstr(x, N_pdName), val_getstr(y, N_pdName)) && !both_read(x, y))
        return true;
    if ((x = val_get(a, N_awsElasticBlockStore)) && (y = val_get(b, N_awsElasticBlockStore)) &&
        str_eq(val_getstr(x, N_volumeID), val_getstr(y, N_volumeID)))
        return true;
    if ((x = val_get(a, N_iscsi)) && (y = val_get(b, N_iscsi)) &&
        str_eq(val_getstr(x, N_iqn), val_getstr(y, N_iqn)) && !both_read(x, y))
        return true;
    return (x = val_get(a, N_rbd)) && (y = val_get(b, N_rbd)) &&
           share_item(val_get(x, N_monitors), val_get(y, N_monitors)) &&
           str_eq(val_getstr(x, N_pool), val_getstr(y, N_pool)) &&
           str_eq(val_getstr(x, N_image), val_getstr(y, N_image)) && !both_read(x, y);
}

static bool clashes_with(const struct needs *pod, const struct needs *other)
{
    VAL_EACH (val_get(pod->spec, N_volumes), x) {
        VAL_EACH (val_get(other->spec, N_volumes), y) {
            if (disks_clash(x, y))
                return true;
        }
    }
    return false;
}

static struct str restrictions(const struct volumes *v, int node)
{
    if (v->disks)
        LIST_EACH (&v->w->table->nodes[node].pods, l) {
            if (clashes_with(v->pod, LIST_ENTRY(l, struct needs, on_node)))
                return STR("node(s) had no available disk");
        }
    return v->one_pod_taken ? STR("node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod "
                                  "access mode already "
                                  "in-use by another pod")
                            : STR_NULL;
}

/* ---- NodeVolumeLimits --------------------------------------------------------------------------- */

static const struct val *driver_on(const struct object *csi_node, struct str driver)
{
    VAL_EACH (val_at(csi_node ? csi_node->val : NULL, N_spec, N_drivers), d) {
        if (str_eq(val_getstr(d, N_name), driver))
            return d;
    }
    return NULL;
}

static void read_attachments(struct volumes *v)
{
    const struct tree *t = all(v->w, RES_VOLUMEATTACHMENTS);
    struct tree_iter it;
    int n = 0;
    v->attached_to = ARENA_ARRAY(v->a, int, v->w->table->n + 1);
    v->attachments = ARENA_ARRAY(v->a, struct attachment, tree_count(t) + 1);
    for (tree_seek(&it, t, STR_NULL); it.object; tree_next(&it)) {
        const struct val *spec = val_get(it.object->val, N_spec);
        int node = table_find(v->w->table, val_getstr(spec, N_nodeName));
        const struct object *o = get(v->w, RES_PERSISTENTVOLUMES, STR_NULL,
                                     val_str(val_at(spec, N_source, N_persistentVolumeName)));
        const struct val *csi = o ? val_at(o->val, N_spec, N_csi) : NULL;
        if (node < 0 || !csi)
            continue;
        v->attachments[n] = (struct attachment){
            {val_getstr(spec, N_attacher), val_getstr(csi, N_volumeHandle), false}, v->attached_to[node]};
        v->attached_to[node] = ++n;
    }
}

/* Would the driver have more volumes on the node than it can? Those that the pod shares with others there are
 * not new. */
static bool over_limit(const struct volumes *v, int node, struct str driver, int64_t limit)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct csi_volumes there = {0};
    int64_t had = 0, more = 0;
    LIST_EACH (&v->w->table->nodes[node].pods, l) {
        const struct needs *p = LIST_ENTRY(l, struct needs, on_node);
        if (p->volumes_matter)
            count_pod(v, p, &a, &there);
    }
    for (size_t i = 0; i < v->csi.n; i++)
        more += str_eq(v->csi.items[i].driver, driver) && !is_among(&there, &v->csi.items[i]);
    for (size_t i = 0; i < there.n; i++)
        had += str_eq(there.items[i].driver, driver);
    for (int i = v->attached_to[node]; i; i = v->attachments[i - 1].next)
        had += str_eq(v->attachments[i - 1].volume.driver, driver) &&
               !is_among(&there, &v->attachments[i - 1].volume);
    return more > 0 && had + more > limit;
}

static struct str limits(const struct volumes *v, int node)
{
    const struct object *csi_node = get(v->w, RES_CSINODES, STR_NULL, v->w->table->nodes[node].object->name);
    for (size_t i = 0; i < v->csi.n; i++) {
        struct str driver = v->csi.items[i].driver;
        const struct val *d = driver_on(csi_node, driver), *count = val_at(d, N_allocatable, N_count);
        if (!d && v->csi.items[i].must_be_there)
            return arena_printf(v->a, STR_FMT " CSI driver is not installed on the node", STR_ARG(driver));
        if (!count)
            continue;
        if (!v->attached_to)
            read_attachments((struct volumes *)(uintptr_t)v);
        if (over_limit(v, node, driver, val_int(count, 0)))
            return STR("node(s) exceed max volume count");
    }
    return STR_NULL;
}

/* ---- VolumeBinding ------------------------------------------------------------------------------ */

/* Upstream looks at labels only: a volume cannot name its node by name. */
static bool reaches(const struct object *volume, const struct node *n)
{
    const struct val *required = val_at(volume->val, N_spec, N_nodeAffinity, N_required);
    VAL_EACH (val_get(required, N_nodeSelectorTerms), t) {
        if (match_node_term(t, n->labels, STR("")))
            return true;
    }
    return !required;
}

/* The volume that a claim gets on the node among those not in taken; NULL: none. */
static const struct object *pick(const struct open_claim *c, const struct node *n,
                                 const struct volume_bind *taken, size_t n_taken)
{
    for (size_t i = 0; i < c->n_candidates; i++) {
        bool free = true;
        for (size_t k = 0; k < n_taken; k++)
            free &= taken[k].volume != c->candidates[i];
        if (free && reaches(c->candidates[i], n))
            return c->candidates[i];
    }
    return NULL;
}

/* The pool that has room for the claim on the node; NULL: none. */
static const struct val *pool_for(const struct volumes *v, const struct open_claim *c, const struct node *n)
{
    struct tree_iter it;
    for (tree_seek(&it, all(v->w, RES_CSISTORAGECAPACITIES), STR_NULL); it.object; tree_next(&it)) {
        const struct val *p = it.object->val, *limit = val_get(p, N_maximumVolumeSize),
                         *topology = val_get(p, N_nodeTopology);
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct selector s;
        if (!limit)
            limit = val_get(p, N_capacity);
        if (str_eq(val_getstr(p, N_storageClassName), obj_name(c->class)) && limit && topology &&
            quantity_cmp(quantity_or_zero(val_str(limit)), claim_size(c->claim->val)) >= 0 &&
            selector_from_val(&a, topology, &s, NULL) == 0 && selector_matches(&s, n->labels))
            return p;
    }
    return NULL;
}

enum { NODE_CONFLICT = 1, BIND_CONFLICT = 2, NO_SPACE = 4, GONE = 8 };

static unsigned provisioning_conflict(const struct volumes *v, const struct open_claim *c,
                                      const struct node *n)
{
    struct str provisioner = val_getstr(c->class, N_provisioner);
    if (!provisioner.n || str_is(provisioner, NO_PROVISIONER) || !class_allows_node(c->class, n->labels))
        return BIND_CONFLICT;
    return c->capacity_tracked && !pool_for(v, c, n) ? NO_SPACE : 0;
}

/* ret has room for all open claims, or is NULL. */
static unsigned bind_open(const struct volumes *v, const struct node *n, struct volume_plan *ret)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct volume_bind *list = ARENA_ARRAY(&a, struct volume_bind, v->n_open);
    unsigned conflict = 0;
    for (size_t i = 0; i < v->n_open; i++)
        if (v->open[i].node.n && !str_eq(v->open[i].node, n->object->name))
            return BIND_CONFLICT;
    for (size_t i = 0; i < v->n_open && !conflict; i++) {
        list[i] =
            (struct volume_bind){v->open[i].claim, v->open[i].node.n ? NULL : pick(&v->open[i], n, list, i)};
        if (!list[i].volume)
            conflict = provisioning_conflict(v, &v->open[i], n);
    }
    if (!conflict && ret && v->n_open)
        memcpy(ret->list, list, v->n_open * sizeof(*list));
    return conflict;
}

static unsigned binding_conflicts(const struct volumes *v, int node)
{
    const struct node *n = &v->w->table->nodes[node];
    unsigned conflicts = 0;
    for (size_t i = 0; i < v->n_bound && !conflicts; i++)
        conflicts = !v->bound[i] ? GONE : !reaches(v->bound[i], n) ? NODE_CONFLICT : 0;
    return conflicts | bind_open(v, n, NULL);
}

static struct str binding_reason(unsigned conflicts, size_t at)
{
    static const char *const texts[] = {
        "node(s) didn't match PersistentVolume's node affinity",
        "node(s) didn't find available persistent volumes to bind",
        "node(s) did not have enough free storage",
        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if ((conflicts & (1u << i)) && at-- == 0)
            return str_of(texts[i]);
    return STR_NULL;
}

/* ---- VolumeZone --------------------------------------------------------------------------------- */

/* A volume's label may name several zones: "a__b". */
static bool names_zone(struct str zones, struct str zone)
{
    while (zones.n) {
        size_t end = 0;
        while (end < zones.n && !str_starts(str_from(zones, end), STR("__")))
            end++;
        if (str_eq(str_slice(zones, 0, end), zone))
            return true;
        zones = str_from(zones, end + 2);
    }
    return false;
}

static bool zone_differs(const struct object *volume, const struct val *node_labels)
{
    for (size_t i = 0; i < ARRAY_SIZE(zone_labels); i++) {
        const struct val *want = val_key(obj_labels(volume->val), str_of(zone_labels[i]));
        const struct val *have = val_key(node_labels, str_of(zone_labels[i]));
        if (want && !have) /* a node may only know the newer of the two names */
            have = val_key(node_labels, str_of(zone_labels[i % 2 + 2]));
        if (want && (!have || !names_zone(val_str(want), val_str(have))))
            return true;
    }
    return false;
}

static bool zones_differ(const struct volumes *v, int node)
{
    const struct val *labels = v->w->table->nodes[node].labels;
    for (size_t i = 0; v->zones && has_zone(labels) && i < v->n_bound; i++)
        if (v->bound[i] && zone_differs(v->bound[i], labels))
            return true;
    return false;
}

/* ---- answers ------------------------------------------------------------------------------------ */

struct str volumes_filter(const struct volumes *v, int node, size_t at, bool *ret_resolvable)
{
    *ret_resolvable = true;
    struct str why = STR_NULL;
    if (profile_filters(v->profile, PLUGIN_VOLUME_RESTRICTIONS))
        why = restrictions(v, node);
    if (!why.p && v->csi.n && profile_filters(v->profile, PLUGIN_NODE_VOLUME_LIMITS))
        why = limits(v, node);
    if (why.p)
        return at ? STR_NULL : why;
    *ret_resolvable = false;
    if (profile_filters(v->profile, PLUGIN_VOLUME_BINDING) && (v->n_bound || v->n_open)) {
        unsigned conflicts = binding_conflicts(v, node);
        if (conflicts)
            return binding_reason(conflicts, at);
    }
    if (profile_filters(v->profile, PLUGIN_VOLUME_ZONE) && zones_differ(v, node))
        return at ? STR_NULL : STR("node(s) had no available volume zone");
    return STR_NULL;
}

void volumes_plan(const struct volumes *v, int node, struct arena *a, struct volume_plan *ret)
{
    *ret = (struct volume_plan){.list = ARENA_ARRAY(a, struct volume_bind, v ? v->n_open : 0)};
    if (!v || !v->n_open || bind_open(v, &v->w->table->nodes[node], ret))
        return;
    ret->n = v->n_open;
}

void volumes_plan_for(const struct world *w, struct needs *pod, int node, struct arena *a,
                      struct volume_plan *ret)
{
    struct arena own CLEANUP_ARENA = ARENA_INIT;
    volumes_plan(volumes_new(w, pod, &own), node, a, ret);
}

/* ---- scores: by class, how much of what is there would be used ---------------------------------- */

struct share {
    struct str class;
    int64_t asked, there;
};

static struct share *share_of(struct share *list, size_t *n, struct str class)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq(list[i].class, class))
            return &list[i];
    list[*n] = (struct share){.class = class};
    return &list[(*n)++];
}

static size_t gather_shares(const struct volumes *v, const struct node *n, const struct volume_plan *plan,
                            struct share *list)
{
    size_t count = 0;
    bool any_static = false;
    for (size_t i = 0; i < plan->n; i++)
        any_static |= plan->list[i].volume != NULL;
    for (size_t i = 0; i < plan->n; i++) {
        const struct volume_bind *b = &plan->list[i];
        const struct val *pool =
            b->volume || any_static || !v->open[i].capacity_tracked ? NULL : pool_for(v, &v->open[i], n);
        if (!b->volume && !pool)
            continue;
        struct share *s =
            share_of(list, &count, b->volume ? volume_class(b->volume->val) : claim_class(b->claim->val));
        s->asked += quantity_units(claim_size(b->claim->val));
        s->there = b->volume ? s->there + quantity_units(volume_size(b->volume->val))
                             : quantity_units(quantity_or_zero(val_getstr(pool, N_capacity)));
    }
    return count;
}

bool volumes_score(const struct volumes *v, int node, int64_t *ret)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct volume_plan plan;
    int64_t sum = 0;
    *ret = 0;
    if (!v || !v->n_open)
        return false;
    volumes_plan(v, node, &a, &plan);
    struct share *list = ARENA_ARRAY(&a, struct share, plan.n + 1);
    size_t n = gather_shares(v, &v->w->table->nodes[node], &plan, list);
    for (size_t i = 0; i < n; i++) {
        bool fits = list[i].there && list[i].asked <= list[i].there;
        sum += shape_score(&v->profile->volume_shape,
                           fits ? (int64_t)((__int128)list[i].asked * 100 / list[i].there) : 100);
    }
    *ret = n ? (2 * sum + (int64_t)n) / (2 * (int64_t)n) : 0; /* rounded half up */
    return true;
}
