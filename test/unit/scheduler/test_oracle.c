/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's predicates and scores against a slow and obvious reference that knows no table: it looks at
 * every node and every pod anew for each question. Random small clusters, changed at random, so that what the
 * table keeps count of (free resources, interned taints, who prefers what) is checked too.
 */
#include "scheduler/decide.h"

#include <math.h>
#include <stdio.h>

#include "client/fake_client.h"
#include "client/replica.h"
#include "testing.h"
#include "type/meta.h"
#include "wire/json.h"
#include "wire/quantity.h"

enum { MAX_NODES = 8, MAX_PODS = 24, MAX_CLAIMS = 8, MAX_VOLUMES = 12 };

struct cluster {
    struct table table;
    struct world world;
    struct object *nodes[MAX_NODES];
    struct object *pods[MAX_PODS]; /* placed */
    struct object *namespaces[2];
    struct object *claims[MAX_CLAIMS];   /* "x/c0", "y/c0", "x/c1" ... */
    struct object *volumes[MAX_VOLUMES]; /* one for each claim that is bound, then free ones */
    struct object *classes[2];
    struct snapshot_slot slots[3];
    struct snapshot objects;
    unsigned seed;
};

/* ---- chance ------------------------------------------------------------------------------------------ */

static unsigned pick(struct cluster *c, unsigned n)
{
    c->seed = c->seed * 1664525u + 1013904223u;
    return (c->seed >> 10) % n;
}

static const char *one_of(struct cluster *c, const char *const *list, unsigned n)
{
    return list[pick(c, n)];
}
#define ONE_OF(c, ...)                                                                                       \
    one_of((c), (const char *const[]){__VA_ARGS__},                                                          \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static struct object *random_node(struct cluster *c, unsigned i)
{
    char text[1024];
    snprintf(
        text, sizeof(text),
        "{metadata: {name: n%u, uid: n%u, labels: {kubernetes.io/hostname: n%u, %s %s}}, spec: {%s taints: "
        "[%s %s]}, status: "
        "{allocatable: {cpu: '%u', memory: %uGi, pods: '%u'}}}",
        i, i, i, ONE_OF(c, "zone: a,", "zone: b,", "zone: c,", ""), ONE_OF(c, "disk: ssd,", "disk: hdd,", ""),
        ONE_OF(c, "", "", "", "", "unschedulable: true,"),
        ONE_OF(c, "", "", "{key: k, value: v, effect: NoSchedule},", "{key: k, effect: PreferNoSchedule},"),
        ONE_OF(c, "", "", "", "{key: e, effect: NoExecute}", "{key: q, effect: PreferNoSchedule}"),
        1 + pick(c, 4), 1 + pick(c, 4), 2 + pick(c, 5));
    return object_relaxed(RES_NODES, text);
}

static const char *random_selector(struct cluster *c)
{
    return ONE_OF(c, "labelSelector: {matchLabels: {app: web}}", "labelSelector: {matchLabels: {app: db}}",
                  "labelSelector: {matchExpressions: [{key: tier, operator: Exists}]}",
                  "labelSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}",
                  "labelSelector: {}");
}

static void random_term(struct cluster *c, char *ret, size_t size)
{
    snprintf(ret, size, "{topologyKey: %s, %s %s}", ONE_OF(c, "zone", "kubernetes.io/hostname", "disk"),
             random_selector(c),
             ONE_OF(c, "", "", ", namespaces: [x]", ", namespaceSelector: {matchLabels: {team: red}}",
                    ", namespaceSelector: {}"));
}

static void random_affinity(struct cluster *c, char *ret, size_t size)
{
    char a[400] = "", b[400] = "", p[400] = "", q[400] = "", t[256];
    if (pick(c, 4) == 0) {
        random_term(c, t, sizeof(t));
        snprintf(a, sizeof(a), "requiredDuringSchedulingIgnoredDuringExecution: [%s],", t);
    }
    if (pick(c, 4) == 0) {
        random_term(c, t, sizeof(t));
        snprintf(b, sizeof(b), "requiredDuringSchedulingIgnoredDuringExecution: [%s],", t);
    }
    if (pick(c, 3) == 0) {
        random_term(c, t, sizeof(t));
        snprintf(p, sizeof(p),
                 "preferredDuringSchedulingIgnoredDuringExecution: [{weight: %u, podAffinityTerm: %s}],",
                 1 + pick(c, 100), t);
    }
    if (pick(c, 3) == 0) {
        random_term(c, t, sizeof(t));
        snprintf(q, sizeof(q),
                 "preferredDuringSchedulingIgnoredDuringExecution: [{weight: %u, podAffinityTerm: %s}],",
                 1 + pick(c, 100), t);
    }
    snprintf(ret, size, "podAffinity: {%s %s}, podAntiAffinity: {%s %s},", a, p, b, q);
}

static void random_spread(struct cluster *c, char *ret, size_t size)
{
    size_t at = 0;
    ret[0] = 0;
    for (unsigned i = pick(c, 3); i > 0; i--)
        at += (size_t)snprintf(ret + at, size - at,
                               "{maxSkew: %u, topologyKey: %s, whenUnsatisfiable: %s, %s %s},",
                               1 + pick(c, 2), ONE_OF(c, "zone", "kubernetes.io/hostname"),
                               ONE_OF(c, "DoNotSchedule", "ScheduleAnyway"), random_selector(c),
                               ONE_OF(c, "", ", nodeTaintsPolicy: Honor", ", nodeAffinityPolicy: Ignore"));
}

static struct object *random_pod(struct cluster *c, unsigned i)
{
    char text[4096], affinity[2048], spread[1024];
    random_affinity(c, affinity, sizeof(affinity));
    random_spread(c, spread, sizeof(spread));
    snprintf(
        text, sizeof(text),
        "{metadata: {name: p%u, namespace: %s, uid: p%u-%u, labels: {app: %s, %s}}, spec: {%s tolerations: "
        "[%s %s], affinity: "
        "{nodeAffinity: {%s %s}, %s}, topologySpreadConstraints: [%s], volumes: [%s %s], containers: [{name: c, image: i, "
        "resources: {requests: "
        "{%s %s}}, ports: [%s]}]}}",
        i, ONE_OF(c, "x", "y"), i, c->seed, ONE_OF(c, "web", "db"), ONE_OF(c, "", "tier: front"),
        ONE_OF(c, "", "", "nodeSelector: {disk: ssd},"),
        ONE_OF(c, "", "", "{key: k, operator: Exists},", "{key: k, value: v},"),
        ONE_OF(c, "", "", "{operator: Exists}", "{key: node.kubernetes.io/unschedulable, operator: Exists}"),
        ONE_OF(c, "", "",
               "requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: "
               "[{key: zone, "
               "operator: In, values: [a, b]}]}, {matchFields: [{key: metadata.name, operator: In, values: "
               "[n0]}]}]},"),
        ONE_OF(c, "",
               "preferredDuringSchedulingIgnoredDuringExecution: [{weight: 7, preference: {matchExpressions: "
               "[{key: disk, "
               "operator: Exists}]}}, {weight: 30, preference: {matchExpressions: [{key: zone, operator: "
               "NotIn, values: "
               "[b]}]}}]"),
        affinity, spread,
        ONE_OF(c, "", "", "{name: v, persistentVolumeClaim: {claimName: c0}},", "{name: v, persistentVolumeClaim: {claimName: c1}},"),
        ONE_OF(c, "", "", "{name: w, persistentVolumeClaim: {claimName: c2}}", "{name: w, persistentVolumeClaim: {claimName: c3}}"),
        ONE_OF(c, "", "cpu: 100m,", "cpu: '1',", "cpu: '2',"),
        ONE_OF(c, "", "memory: 64Mi", "memory: 1Gi"),
        ONE_OF(c, "", "", "{containerPort: 1, hostPort: 80}",
               "{containerPort: 1, hostPort: 80, hostIP: 10.0.0.1}"));
    return object_relaxed(RES_PODS, text);
}

/* ---- volumes: claims that are bound, that get one of the free volumes, and that one is made for ------- */

static struct object *random_volume(struct cluster *c, unsigned i)
{
    char text[512];
    snprintf(text, sizeof(text),
             "{metadata: {name: v%u, uid: v%u}, spec: {capacity: {storage: %uGi}, accessModes: [ReadWriteOnce], "
             "storageClassName: static, %s}, status: {phase: Available}}",
             i, i, 1 + pick(c, 4),
             ONE_OF(c, "",
                    "nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, "
                    "values: [a]}]}]}}",
                    "nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, "
                    "values: [b, c]}]}, {matchExpressions: [{key: disk, operator: Exists}]}]}}",
                    "nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: "
                    "kubernetes.io/hostname, operator: In, values: [n1, n2, n3]}]}]}}"));
    return object_relaxed(RES_PERSISTENTVOLUMES, text);
}

static struct object *random_claim(struct cluster *c, unsigned i)
{
    char text[512];
    char volume[32] = "";
    bool bound = pick(c, 3) == 0;
    if (bound)
        snprintf(volume, sizeof(volume), ", volumeName: v%u", i);
    snprintf(text, sizeof(text),
             "{metadata: {namespace: %s, name: c%u, uid: c%u, %s}, spec: {storageClassName: %s, resources: {requests: "
             "{storage: %uGi}}, accessModes: [%s] %s}}",
             i % 2 ? "y" : "x", i / 2, i, bound ? "annotations: {pv.kubernetes.io/bind-completed: 'yes'}" : "",
             ONE_OF(c, "static", "made"), 1 + pick(c, 3), bound ? ONE_OF(c, "ReadWriteOnce", "ReadWriteOncePod") : "ReadWriteOnce",
             volume);
    return object_relaxed(RES_PERSISTENTVOLUMECLAIMS, text);
}

static void make_volumes(struct cluster *c)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    static const uint16_t kinds[] = {RES_PERSISTENTVOLUMECLAIMS, RES_PERSISTENTVOLUMES, RES_STORAGECLASSES};
    c->classes[0] = object_relaxed(RES_STORAGECLASSES, "{metadata: {name: static}, provisioner: kubernetes.io/no-provisioner, "
                                                       "volumeBindingMode: WaitForFirstConsumer}");
    c->classes[1] = object_relaxed(RES_STORAGECLASSES, "{metadata: {name: made}, provisioner: p, volumeBindingMode: "
                                                       "WaitForFirstConsumer, allowedTopologies: [{matchLabelExpressions: [{key: "
                                                       "zone, values: [a, b]}]}]}");
    for (unsigned i = 0; i < MAX_CLAIMS; i++)
        c->claims[i] = random_claim(c, i);
    for (unsigned i = 0; i < MAX_VOLUMES; i++)
        c->volumes[i] = random_volume(c, i);
    for (size_t k = 0; k < 3; k++)
        c->slots[k].res = &resources[kinds[k]];
    for (size_t i = 0; i < MAX_CLAIMS; i++)
        c->slots[0].tree = tree_put(c->slots[0].tree, obj_key(&a, c->claims[i]->namespace_, c->claims[i]->name), c->claims[i]);
    for (size_t i = 0; i < MAX_VOLUMES; i++)
        c->slots[1].tree = tree_put(c->slots[1].tree, c->volumes[i]->name, c->volumes[i]);
    for (size_t i = 0; i < 2; i++)
        c->slots[2].tree = tree_put(c->slots[2].tree, c->classes[i]->name, c->classes[i]);
    c->objects = (struct snapshot){c->slots, 3};
}

static void free_volumes(struct cluster *c)
{
    for (size_t i = 0; i < 3; i++)
        tree_unref(c->slots[i].tree);
    for (size_t i = 0; i < MAX_CLAIMS; i++)
        object_unref(c->claims[i]);
    for (size_t i = 0; i < MAX_VOLUMES; i++)
        object_unref(c->volumes[i]);
    object_unref(c->classes[0]);
    object_unref(c->classes[1]);
}

/* ---- the obvious: small questions -------------------------------------------------------------------- */

static struct str node_of(const struct object *pod)
{
    return val_str(val_at(pod->val, N_spec, N_nodeName));
}

static bool is_on(const struct object *pod, const struct object *node)
{
    return pod && node && str_eq(node_of(pod), node->name);
}

static bool tolerated(const struct object *pod, const struct val *taint)
{
    VAL_EACH (val_at(pod->val, N_spec, N_tolerations), t) {
        struct str key = val_getstr(t, N_key), effect = val_getstr(t, N_effect);
        bool exists = str_is(val_getstr(t, N_operator), "Exists");
        if ((!key.n || str_eq(key, val_getstr(taint, N_key))) &&
            (!effect.n || str_eq(effect, val_getstr(taint, N_effect))) &&
            (exists || (key.n && str_eq(val_getstr(t, N_value), val_getstr(taint, N_value)))))
            return true;
    }
    return false;
}

static bool taints_allow(const struct object *pod, const struct object *node)
{
    VAL_EACH (val_at(node->val, N_spec, N_taints), t)
        if (!str_is(val_getstr(t, N_effect), "PreferNoSchedule") && !tolerated(pod, t))
            return false;
    return true;
}

static bool requirement_holds(const struct val *r, const struct val *labels, struct str name)
{
    const struct val *v =
        str_is(val_getstr(r, N_key), "metadata.name") ? NULL : val_key(labels, val_getstr(r, N_key));
    struct str have = v ? val_str(v) : STR_NULL, op = val_getstr(r, N_operator);
    bool present = v != NULL, in = false;
    if (str_is(val_getstr(r, N_key), "metadata.name")) {
        have = name;
        present = true;
    }
    VAL_EACH (val_get(r, N_values), x)
        in |= present && str_eq(val_str(x), have);
    return str_is(op, "In") ? in : str_is(op, "NotIn") ? !in : str_is(op, "Exists") ? present : !present;
}

static bool term_holds(const struct val *term, const struct object *node)
{
    bool all = val_len(val_get(term, N_matchExpressions)) + val_len(val_get(term, N_matchFields)) > 0;
    VAL_EACH (val_get(term, N_matchExpressions), r)
        all &= requirement_holds(r, obj_labels(node->val), node->name);
    VAL_EACH (val_get(term, N_matchFields), r)
        all &= requirement_holds(r, obj_labels(node->val), node->name);
    return all;
}

static bool wants_node(const struct object *pod, const struct object *node)
{
    VAL_EACH_ENTRY (val_at(pod->val, N_spec, N_nodeSelector), k, v)
        if (!str_eq(obj_label(node->val, val_str(k)), val_str(v)))
            return false;
    const struct val *required = val_at(pod->val, N_spec, N_affinity, N_nodeAffinity,
                                        N_requiredDuringSchedulingIgnoredDuringExecution);
    bool any = !required;
    VAL_EACH (val_get(required, N_nodeSelectorTerms), t)
        any |= term_holds(t, node);
    return any;
}

static bool selected(const struct val *selector, const struct val *labels)
{
    if (!selector)
        return false;
    VAL_EACH_ENTRY (val_get(selector, N_matchLabels), k, v)
        if (!val_key(labels, val_str(k)) || !str_eq(val_str(val_key(labels, val_str(k))), val_str(v)))
            return false;
    VAL_EACH (val_get(selector, N_matchExpressions), r)
        if (!requirement_holds(r, labels, STR_NULL))
            return false;
    return true;
}

static bool same_domain(const struct object *a, const struct object *b, struct str key)
{
    const struct val *x = val_key(obj_labels(a->val), key), *y = val_key(obj_labels(b->val), key);
    return x && y && str_eq(val_str(x), val_str(y));
}

static const struct object *find_node(const struct cluster *c, struct str name)
{
    for (size_t i = 0; i < MAX_NODES; i++)
        if (c->nodes[i] && str_eq(c->nodes[i]->name, name))
            return c->nodes[i];
    return NULL;
}

/* ---- resources and ports ----------------------------------------------------------------------------- */

static int64_t requested(const struct object *pod, const char *what, int64_t absent)
{
    const struct val *c = val_item(val_at(pod->val, N_spec, N_containers), 0);
    const struct val *q = val_key(val_at(c, N_resources, N_requests), str_of(what));
    if (!q)
        return absent;
    return strcmp(what, "cpu") == 0 ? quantity_milli(quantity_or_zero(val_str(q)))
                                    : quantity_units(quantity_or_zero(val_str(q)));
}

static int64_t allocatable(const struct object *node, const char *what)
{
    struct quantity q =
        quantity_or_zero(val_str(val_key(val_at(node->val, N_status, N_allocatable), str_of(what))));
    return strcmp(what, "cpu") == 0 ? quantity_milli(q) : quantity_units(q);
}

static int64_t used(const struct cluster *c, const struct object *node, const char *what, int64_t absent)
{
    int64_t sum = 0;
    for (size_t i = 0; i < MAX_PODS; i++)
        if (is_on(c->pods[i], node))
            sum += strcmp(what, "pods") == 0 ? 1 : requested(c->pods[i], what, absent);
    return sum;
}

static bool resources_fit(const struct cluster *c, const struct object *pod, const struct object *node)
{
    int64_t cpu = requested(pod, "cpu", 0), memory = requested(pod, "memory", 0);
    return used(c, node, "pods", 1) + 1 <= allocatable(node, "pods") &&
           (!cpu || used(c, node, "cpu", 0) + cpu <= allocatable(node, "cpu")) &&
           (!memory || used(c, node, "memory", 0) + memory <= allocatable(node, "memory"));
}

static const struct val *port_of(const struct object *pod)
{
    return val_item(val_get(val_item(val_at(pod->val, N_spec, N_containers), 0), N_ports), 0);
}

static bool ports_free(const struct cluster *c, const struct object *pod, const struct object *node)
{
    const struct val *mine = port_of(pod);
    for (size_t i = 0; i < MAX_PODS && mine; i++) {
        const struct val *other = is_on(c->pods[i], node) ? port_of(c->pods[i]) : NULL;
        struct str a = val_getstr(mine, N_hostIP), b = val_getstr(other, N_hostIP);
        if (other && (!a.n || !b.n || str_eq(a, b)))
            return false;
    }
    return true;
}

/* ---- volumes ----------------------------------------------------------------------------------------- */

static const struct object *claim_of(const struct cluster *c, const struct object *pod, size_t i)
{
    struct str name = val_str(val_at(val_item(val_at(pod->val, N_spec, N_volumes), i), N_persistentVolumeClaim, N_claimName));
    for (size_t k = 0; k < MAX_CLAIMS; k++)
        if (str_eq(c->claims[k]->name, name) && str_eq(c->claims[k]->namespace_, pod->namespace_))
            return c->claims[k];
    return NULL;
}

static struct str claim_text(const struct object *claim, name_id name)
{
    return val_str(val_at(claim->val, N_spec, name));
}

static int64_t gib(const struct val *map)
{
    return quantity_units(quantity_or_zero(val_str(val_key(map, STR("storage")))));
}

static int64_t claim_bytes(const struct object *claim)
{
    return gib(val_at(claim->val, N_spec, N_resources, N_requests));
}

static int64_t volume_bytes(const struct object *volume)
{
    return gib(val_at(volume->val, N_spec, N_capacity));
}

static bool reaches(const struct object *volume, const struct object *node)
{
    const struct val *required = val_at(volume->val, N_spec, N_nodeAffinity, N_required);
    bool any = !required;
    VAL_EACH (val_get(required, N_nodeSelectorTerms), t)
        any |= term_holds(t, node);
    return any;
}

/* The smallest free volume for the claim, leaving one out. */
static const struct object *smallest_for(const struct cluster *c, const struct object *claim, const struct object *node,
                                         const struct object *without)
{
    const struct object *best = NULL;
    for (size_t i = 0; i < MAX_VOLUMES; i++) {
        const struct object *v = c->volumes[i];
        bool fits = v != without && volume_bytes(v) >= claim_bytes(claim) && reaches(v, node);
        if (fits && (!best || volume_bytes(v) < volume_bytes(best) ||
                     (volume_bytes(v) == volume_bytes(best) && str_cmp(v->name, best->name) < 0)))
            best = v;
    }
    return best;
}

static bool is_open(const struct object *claim, const char *class)
{
    return claim && !claim_text(claim, N_volumeName).n && str_is(claim_text(claim, N_storageClassName), class);
}

/* Pods have at most two claims. The one that asks for less chooses first. */
static bool choose_volumes(const struct cluster *c, const struct object *pod, const struct object *node,
                           const struct object *ret[2])
{
    const struct object *one = claim_of(c, pod, 0), *two = claim_of(c, pod, 1);
    one = is_open(one, "static") ? one : NULL;
    two = is_open(two, "static") ? two : NULL;
    bool swap = one && two && (claim_bytes(two) < claim_bytes(one) ||
                               (claim_bytes(two) == claim_bytes(one) && str_cmp(two->name, one->name) < 0));
    ret[swap ? 1 : 0] = swap ? smallest_for(c, two, node, NULL) : one ? smallest_for(c, one, node, NULL) : NULL;
    ret[swap ? 0 : 1] = swap ? smallest_for(c, one, node, ret[1]) : two ? smallest_for(c, two, node, ret[0]) : NULL;
    return (!one || ret[0]) && (!two || ret[1]);
}

static bool taken_by_another(const struct cluster *c, const struct object *claim)
{
    if (!str_is(val_str(val_item(val_at(claim->val, N_spec, N_accessModes), 0)), "ReadWriteOncePod"))
        return false;
    for (size_t i = 0; i < MAX_PODS; i++)
        for (size_t k = 0; c->pods[i] && k < 2; k++)
            if (claim_of(c, c->pods[i], k) == claim)
                return true;
    return false;
}

static bool volumes_allow(const struct cluster *c, const struct object *pod, const struct object *node)
{
    const struct object *chosen[2];
    struct str zone = obj_label(node->val, STR("zone"));
    for (size_t i = 0; i < 2; i++) {
        const struct object *claim = claim_of(c, pod, i);
        if (!claim)
            continue;
        if (taken_by_another(c, claim))
            return false;
        for (size_t k = 0; k < MAX_VOLUMES; k++)
            if (str_eq(c->volumes[k]->name, claim_text(claim, N_volumeName)) && !reaches(c->volumes[k], node))
                return false;
        if (is_open(claim, "made") && !str_is(zone, "a") && !str_is(zone, "b"))
            return false;
    }
    return choose_volumes(c, pod, node, chosen);
}

static int64_t volume_score(const struct cluster *c, const struct object *pod, const struct object *node)
{
    const struct object *chosen[2];
    int64_t asked = 0, there = 0;
    choose_volumes(c, pod, node, chosen);
    for (size_t i = 0; i < 2; i++) {
        if (!chosen[i])
            continue;
        asked += claim_bytes(claim_of(c, pod, i));
        there += volume_bytes(chosen[i]);
    }
    return there ? 100 - asked * 100 / there : 0;
}

/* ---- spreading --------------------------------------------------------------------------------------- */

static bool is_hard(const struct val *constraint)
{
    return str_is(val_getstr(constraint, N_whenUnsatisfiable), "DoNotSchedule");
}

static bool has_all_keys(const struct object *pod, const struct object *node, bool hard)
{
    VAL_EACH (val_at(pod->val, N_spec, N_topologySpreadConstraints), k)
        if (is_hard(k) == hard && !val_key(obj_labels(node->val), val_getstr(k, N_topologyKey)))
            return false;
    return true;
}

static bool counts(const struct object *pod, const struct object *node, const struct val *constraint)
{
    bool affinity = !str_is(val_getstr(constraint, N_nodeAffinityPolicy), "Ignore");
    bool taints = str_is(val_getstr(constraint, N_nodeTaintsPolicy), "Honor");
    return has_all_keys(pod, node, is_hard(constraint)) && (!affinity || wants_node(pod, node)) &&
           (!taints || taints_allow(pod, node));
}

static int64_t matching_on(const struct cluster *c, const struct object *pod, const struct object *node,
                           const struct val *constraint)
{
    int64_t n = 0;
    for (size_t i = 0; i < MAX_PODS; i++)
        n += is_on(c->pods[i], node) && str_eq(c->pods[i]->namespace_, pod->namespace_) &&
             selected(val_get(constraint, N_labelSelector), obj_labels(c->pods[i]->val));
    return n;
}

static int64_t matching_in(const struct cluster *c, const struct object *pod, const struct object *like,
                           const struct val *constraint)
{
    int64_t n = 0;
    for (size_t i = 0; i < MAX_NODES; i++)
        if (c->nodes[i] && counts(pod, c->nodes[i], constraint) &&
            same_domain(c->nodes[i], like, val_getstr(constraint, N_topologyKey)))
            n += matching_on(c, pod, c->nodes[i], constraint);
    return n;
}

static bool spread_allows(const struct cluster *c, const struct object *pod, const struct object *node)
{
    VAL_EACH (val_at(pod->val, N_spec, N_topologySpreadConstraints), k) {
        int64_t least = INT64_MAX;
        if (!is_hard(k))
            continue;
        if (!val_key(obj_labels(node->val), val_getstr(k, N_topologyKey)))
            return false;
        for (size_t i = 0; i < MAX_NODES; i++)
            if (c->nodes[i] && counts(pod, c->nodes[i], k))
                least = MIN(least, matching_in(c, pod, c->nodes[i], k));
        bool self = selected(val_get(k, N_labelSelector), obj_labels(pod->val));
        if (matching_in(c, pod, node, k) + self - (least == INT64_MAX ? 0 : least) >
            val_int(val_get(k, N_maxSkew), 0))
            return false;
    }
    return true;
}

/* ---- pods near and far ------------------------------------------------------------------------------- */

static bool term_selects(const struct cluster *c, const struct val *term, const struct object *owner,
                         const struct object *other)
{
    const struct val *list = val_get(term, N_namespaces), *ns = val_get(term, N_namespaceSelector);
    bool in = !val_len(list) && !ns && str_eq(owner->namespace_, other->namespace_);
    VAL_EACH (list, v)
        in |= str_eq(val_str(v), other->namespace_);
    for (size_t i = 0; i < 2 && ns; i++)
        in |= str_eq(c->namespaces[i]->name, other->namespace_) &&
              selected(ns, obj_labels(c->namespaces[i]->val));
    return in && selected(val_get(term, N_labelSelector), obj_labels(other->val));
}

static const struct val *required(const struct object *pod, name_id which)
{
    return val_at(pod->val, N_spec, N_affinity, which, N_requiredDuringSchedulingIgnoredDuringExecution);
}

static const struct val *preferred(const struct object *pod, name_id which)
{
    return val_at(pod->val, N_spec, N_affinity, which, N_preferredDuringSchedulingIgnoredDuringExecution);
}

static bool matches_all_terms(const struct cluster *c, const struct object *owner, const struct object *other)
{
    VAL_EACH (required(owner, N_podAffinity), t)
        if (!term_selects(c, t, owner, other))
            return false;
    return true;
}

static bool affinity_allows(const struct cluster *c, const struct object *pod, const struct object *node)
{
    const struct val *terms = required(pod, N_podAffinity);
    bool anywhere = false, all = true;
    VAL_EACH (terms, t) {
        struct str key = val_getstr(t, N_topologyKey);
        bool here = false;
        if (!val_key(obj_labels(node->val), key))
            return false;
        for (size_t i = 0; i < MAX_PODS; i++) {
            const struct object *at = c->pods[i] ? find_node(c, node_of(c->pods[i])) : NULL;
            if (at && val_key(obj_labels(at->val), key) && matches_all_terms(c, pod, c->pods[i])) {
                anywhere = true;
                here |= same_domain(at, node, key);
            }
        }
        all &= here;
    }
    return all || (!anywhere && matches_all_terms(c, pod, pod));
}

static bool anti_affinity_allows(const struct cluster *c, const struct object *pod, const struct object *node)
{
    for (size_t i = 0; i < MAX_PODS; i++) {
        const struct object *at = c->pods[i] ? find_node(c, node_of(c->pods[i])) : NULL;
        if (!at)
            continue;
        VAL_EACH (required(pod, N_podAntiAffinity), t)
            if (term_selects(c, t, pod, c->pods[i]) && same_domain(at, node, val_getstr(t, N_topologyKey)))
                return false;
        VAL_EACH (required(c->pods[i], N_podAntiAffinity), t)
            if (term_selects(c, t, c->pods[i], pod) && same_domain(at, node, val_getstr(t, N_topologyKey)))
                return false;
    }
    return true;
}

static bool obviously_fits(const struct cluster *c, const struct object *pod, const struct object *node)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *cordon = val_relaxed(&a, NULL, "{key: node.kubernetes.io/unschedulable, effect: NoSchedule}");
    struct val *taint = val_new(&a, VAL_OBJ);
    val_set_ref(&a, taint, N_key, val_get(cordon, N_key));
    val_set_ref(&a, taint, N_effect, val_get(cordon, N_effect));
    bool open = !val_bool(val_at(node->val, N_spec, N_unschedulable), false) || tolerated(pod, taint);
    return open && taints_allow(pod, node) && wants_node(pod, node) && ports_free(c, pod, node) &&
           resources_fit(c, pod, node) && volumes_allow(c, pod, node) && spread_allows(c, pod, node) && affinity_allows(c, pod, node) &&
           anti_affinity_allows(c, pod, node);
}

/* ---- scores ------------------------------------------------------------------------------------------ */

static int64_t share(int64_t used_, int64_t all)
{
    return used_ > all ? 0 : (all - used_) * 100 / all;
}

static int64_t room_score(const struct cluster *c, const struct object *pod, const struct object *node)
{
    int64_t cpu = used(c, node, "cpu", 100) + requested(pod, "cpu", 100);
    int64_t memory = used(c, node, "memory", 200 << 20) + requested(pod, "memory", 200 << 20);
    return (share(cpu, allocatable(node, "cpu")) + share(memory, allocatable(node, "memory"))) / 2;
}

static int64_t evenness(const struct object *node, int64_t cpu, int64_t memory)
{
    double a = fmin((double)cpu / (double)allocatable(node, "cpu"), 1),
           b = fmin((double)memory / (double)allocatable(node, "memory"), 1);
    return (int64_t)((1 - fabs((a - b) / 2)) * 100);
}

static int64_t balance_score(const struct cluster *c, const struct object *pod, const struct object *node)
{
    int64_t cpu = requested(pod, "cpu", 0), memory = requested(pod, "memory", 0);
    int64_t had_cpu = used(c, node, "cpu", 0), had_memory = used(c, node, "memory", 0);
    if (!cpu && !memory)
        return 0;
    return 50 +
           (50 + evenness(node, had_cpu + cpu, had_memory + memory) - evenness(node, had_cpu, had_memory)) /
               2;
}

static int64_t taint_count(const struct object *pod, const struct object *node)
{
    int64_t n = 0;
    VAL_EACH (val_at(node->val, N_spec, N_taints), t)
        n += str_is(val_getstr(t, N_effect), "PreferNoSchedule") && !tolerated(pod, t);
    return n;
}

static int64_t preference(const struct object *pod, const struct object *node)
{
    int64_t sum = 0;
    VAL_EACH (preferred(pod, N_nodeAffinity), p)
        sum += term_holds(val_get(p, N_preference), node) ? val_int(val_get(p, N_weight), 0) : 0;
    return sum;
}

static int64_t wish_sum(const struct cluster *c, const struct val *terms, const struct object *owner,
                        const struct object *other, const struct object *at, const struct object *node,
                        bool weighted)
{
    int64_t sum = 0;
    VAL_EACH (terms, x) {
        const struct val *t = weighted ? val_get(x, N_podAffinityTerm) : x;
        if (term_selects(c, t, owner, other) && same_domain(at, node, val_getstr(t, N_topologyKey)))
            sum += weighted ? val_int(val_get(x, N_weight), 0) : 1;
    }
    return sum;
}

static int64_t nearness(const struct cluster *c, const struct object *pod, const struct object *node)
{
    int64_t sum = 0;
    for (size_t i = 0; i < MAX_PODS; i++) {
        const struct object *o = c->pods[i], *at = o ? find_node(c, node_of(o)) : NULL;
        if (!at)
            continue;
        sum += wish_sum(c, preferred(pod, N_podAffinity), pod, o, at, node, true);
        sum -= wish_sum(c, preferred(pod, N_podAntiAffinity), pod, o, at, node, true);
        sum += wish_sum(c, preferred(o, N_podAffinity), o, pod, at, node, true);
        sum -= wish_sum(c, preferred(o, N_podAntiAffinity), o, pod, at, node, true);
        sum += wish_sum(c, required(o, N_podAffinity), o, pod, at, node, false);
    }
    return sum;
}

/* How many different values of the key the candidates have. */
static size_t distinct(const struct object *const *list, size_t n, const struct object *pod, struct str key)
{
    size_t d = 0;
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen |= has_all_keys(pod, list[k], false) && same_domain(list[k], list[i], key);
        d += has_all_keys(pod, list[i], false) && !seen;
    }
    return d;
}

static int64_t crowding(const struct cluster *c, const struct object *pod, const struct object *node,
                        const struct object *const *list, size_t n)
{
    double sum = 0;
    VAL_EACH (val_at(pod->val, N_spec, N_topologySpreadConstraints), k) {
        struct str key = val_getstr(k, N_topologyKey);
        if (is_hard(k))
            continue;
        int64_t here = str_is(key, "kubernetes.io/hostname") ? matching_on(c, pod, node, k)
                                                             : matching_in(c, pod, node, k);
        sum += (double)here * log((double)distinct(list, n, pod, key) + 2) +
               (double)(val_int(val_get(k, N_maxSkew), 0) - 1);
    }
    return (int64_t)lround(sum);
}

static bool has_soft(const struct object *pod)
{
    VAL_EACH (val_at(pod->val, N_spec, N_topologySpreadConstraints), k)
        if (!is_hard(k))
            return true;
    return false;
}

static void obvious_scores(const struct cluster *c, const struct object *pod,
                           const struct object *const *list, size_t n, int64_t *ret)
{
    int64_t taints = 0, wishes = 0, near_min = INT64_MAX, near_max = INT64_MIN, crowd_min = INT64_MAX,
            crowd_max = 0;
    for (size_t i = 0; i < n; i++) {
        taints = MAX(taints, taint_count(pod, list[i]));
        wishes = MAX(wishes, preference(pod, list[i]));
        near_min = MIN(near_min, nearness(c, pod, list[i]));
        near_max = MAX(near_max, nearness(c, pod, list[i]));
        if (has_all_keys(pod, list[i], false)) {
            crowd_min = MIN(crowd_min, crowding(c, pod, list[i], list, n));
            crowd_max = MAX(crowd_max, crowding(c, pod, list[i], list, n));
        }
    }
    for (size_t i = 0; i < n; i++) {
        ret[i] = room_score(c, pod, list[i]) + balance_score(c, pod, list[i]) + volume_score(c, pod, list[i]);
        ret[i] += 3 * (100 - (taints ? 100 * taint_count(pod, list[i]) / taints : 0));
        ret[i] += 2 * (wishes ? 100 * preference(pod, list[i]) / wishes : 0);
        ret[i] +=
            2 *
            (near_max > near_min ? 100 * (nearness(c, pod, list[i]) - near_min) / (near_max - near_min) : 0);
        if (has_soft(pod) && has_all_keys(pod, list[i], false))
            ret[i] += 2 * (crowd_max ? 100 * (crowd_max + crowd_min - crowding(c, pod, list[i], list, n)) /
                                           crowd_max
                                     : 100);
    }
}

/* ---- the comparison ---------------------------------------------------------------------------------- */

static const struct val *labels_of_namespace(void *ctx, struct str ns)
{
    struct cluster *c = ctx;
    for (size_t i = 0; i < 2; i++)
        if (str_eq(c->namespaces[i]->name, ns))
            return obj_labels(c->namespaces[i]->val);
    return NULL;
}

static void change_node(struct cluster *c, unsigned i, bool remove)
{
    struct object *old = c->nodes[i];
    c->nodes[i] = remove ? NULL : random_node(c, i);
    if (old || c->nodes[i])
        table_node(&c->table, old, c->nodes[i]);
    object_unref(old);
}

/* Another pod, perhaps on another node, takes the place of what was there. */
static void change_pod(struct cluster *c, unsigned i, bool remove)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (c->pods[i])
        table_unplace(&c->table, c->pods[i]->uid);
    c->pods[i] = object_unref(c->pods[i]);
    const struct object *node = c->nodes[pick(c, MAX_NODES)];
    if (remove || !node)
        return;
    struct object *o CLEANUP_OBJECT = random_pod(c, i);
    struct val *v = val_copy(&a, o->val);
    val_set_str(&a, val_mut(v, N_spec), N_nodeName, node->name);
    c->pods[i] = object_new(o->res, v);
    table_place(&c->table, needs_new(&c->table, c->pods[i]), node->name);
}

static void complain(const struct cluster *c, const struct object *pod, const struct object *node,
                     const char *what, int64_t fast, int64_t slow)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, pod->res->type, pod->val, 0);
    buf_puts(&b, "\n");
    for (size_t i = 0; i < MAX_NODES; i++)
        if (c->nodes[i]) {
            json_encode(&b, c->nodes[i]->res->type, c->nodes[i]->val, 0);
            buf_puts(&b, "\n");
        }
    for (size_t i = 0; i < MAX_PODS; i++)
        if (c->pods[i]) {
            json_encode(&b, c->pods[i]->res->type, c->pods[i]->val, 0);
            buf_puts(&b, "\n");
        }
    if (getenv("CUBE_TEST_VERBOSE"))
        fprintf(stderr, "%s", b.p);
    fail_msg("%s on " STR_FMT ": the scheduler says %lld, the reference %lld", what, STR_ARG(node->name),
             (long long)fast, (long long)slow);
}

static size_t compare(struct cluster *c, const struct object *pod)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct needs *n = needs_new(&c->table, pod);
    struct look *l = look_new(&c->world, n, &a);
    const struct object *fit[MAX_NODES];
    int at[MAX_NODES];
    int64_t fast[MAX_NODES], slow[MAX_NODES];
    size_t n_fit = 0;
    for (size_t i = 0; i < MAX_NODES; i++) {
        bool resolvable;
        if (!c->nodes[i])
            continue;
        int row = table_find(&c->table, c->nodes[i]->name);
        struct str why = look_filter(l, row, 0, &resolvable);
        bool fits = !why.p, should = obviously_fits(c, pod, c->nodes[i]);
        if (fits != should)
            complain(c, pod, c->nodes[i], fits ? "fits" : why.p, fits, should);
        if (fits) {
            at[n_fit] = row;
            fit[n_fit++] = c->nodes[i];
        }
    }
    look_score(l, at, n_fit, fast);
    obvious_scores(c, pod, fit, n_fit, slow);
    for (size_t i = 0; i < n_fit; i++)
        if (fast[i] != slow[i])
            complain(c, pod, fit[i], "score", fast[i], slow[i]);
    struct decision d;
    decide(&c->world, n, c->seed, &d);
    assert_int_equal(d.node >= 0, n_fit > 0);
    for (size_t i = 0; i < n_fit; i++)
        for (size_t k = 0; k < n_fit; k++)
            if (at[k] == d.node)
                assert_true(fast[k] >= fast[i] || n_fit == 1);
    look_done(l);
    needs_free(n);
    return n_fit;
}

static void run(unsigned seed, size_t *ret_fits, size_t *ret_asked)
{
    struct cluster c = {.seed = seed};
    c.namespaces[0] = object_relaxed(RES_NAMESPACES, "{metadata: {name: x, labels: {team: red}}}");
    c.namespaces[1] = object_relaxed(RES_NAMESPACES, "{metadata: {name: y}}");
    make_volumes(&c);
    c.world = (struct world){.table = &c.table, .namespace_labels = labels_of_namespace, .ctx = &c, .objects = &c.objects};
    for (unsigned i = 0; i < MAX_NODES; i++)
        change_node(&c, i, pick(&c, 6) == 0);
    for (unsigned step = 0; step < 60; step++) {
        for (unsigned k = 0; k < 3; k++)
            change_pod(&c, pick(&c, MAX_PODS), pick(&c, 3) == 0);
        if (pick(&c, 4) == 0)
            change_node(&c, pick(&c, MAX_NODES), pick(&c, 5) == 0);
        struct object *pod CLEANUP_OBJECT = random_pod(&c, 1000 + step);
        *ret_fits += compare(&c, pod) > 0;
        (*ret_asked)++;
    }
    for (size_t i = 0; i < MAX_NODES; i++)
        object_unref(c.nodes[i]);
    for (size_t i = 0; i < MAX_PODS; i++)
        object_unref(c.pods[i]);
    object_unref(c.namespaces[0]);
    object_unref(c.namespaces[1]);
    free_volumes(&c);
    table_done(&c.table);
}

static void the_table_knows_what_a_full_look_would_find(void **state)
{
    size_t fits = 0, asked = 0;
    for (unsigned seed = 1;
         seed <= (unsigned)(getenv("CUBE_TEST_SEEDS") ? atoi(getenv("CUBE_TEST_SEEDS")) : 40); seed++)
        run(seed, &fits, &asked);
    assert_true(fits > asked / 4 && fits < asked); /* both answers were asked for */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_knows_what_a_full_look_would_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
