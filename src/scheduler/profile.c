/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/profile.h"

#include "base/time.h"
#include "names.h"
#include "types.h"
#include "wire/json.h"

/* ---- the plugins -------------------------------------------------------------------------------------- */

enum { FILTERS = 1, SCORES = 2, STANDS_IN = 4 /* for a post filter */ };

static const struct known {
    const char *name;
    int plugin; /* -1: it stands for something that every profile does, or that there is nothing to decide
                   about */
    unsigned does;
} known[] = {
    {"NodeUnschedulable", PLUGIN_NODE_UNSCHEDULABLE, FILTERS},
    {"NodeName", PLUGIN_NODE_NAME, FILTERS},
    {"TaintToleration", PLUGIN_TAINT_TOLERATION, FILTERS | SCORES},
    {"NodeAffinity", PLUGIN_NODE_AFFINITY, FILTERS | SCORES},
    {"NodePorts", PLUGIN_NODE_PORTS, FILTERS},
    {"NodeResourcesFit", PLUGIN_RESOURCES_FIT, FILTERS | SCORES},
    {"VolumeRestrictions", PLUGIN_VOLUME_RESTRICTIONS, FILTERS},
    {"NodeVolumeLimits", PLUGIN_NODE_VOLUME_LIMITS, FILTERS},
    {"VolumeBinding", PLUGIN_VOLUME_BINDING, FILTERS | SCORES},
    {"VolumeZone", PLUGIN_VOLUME_ZONE, FILTERS},
    {"PodTopologySpread", PLUGIN_TOPOLOGY_SPREAD, FILTERS | SCORES},
    {"InterPodAffinity", PLUGIN_POD_AFFINITY, FILTERS | SCORES},
    {"DynamicResources", PLUGIN_DYNAMIC_RESOURCES, FILTERS | SCORES},
    {"DefaultPreemption", PLUGIN_PREEMPTION, STANDS_IN},
    {"NodeResourcesBalancedAllocation", PLUGIN_BALANCED_ALLOCATION, SCORES},
    {"ImageLocality", PLUGIN_IMAGE_LOCALITY, SCORES},
    {"SchedulingGates", -1, 0},
    {"PrioritySort", -1, 0},
    {"DefaultBinder", -1, 0},
    {"NodeDeclaredFeatures", -1, 0},
};

#define ALL_FILTERS ((1u << PLUGINS) - 1 - (1u << PLUGIN_BALANCED_ALLOCATION) - (1u << PLUGIN_IMAGE_LOCALITY))

const struct profile default_profile = {
    .name = "default-scheduler",
    .filters = ALL_FILTERS,
    .weights = {[PLUGIN_TAINT_TOLERATION] = 3,
                [PLUGIN_NODE_AFFINITY] = 2,
                [PLUGIN_RESOURCES_FIT] = 1,
                [PLUGIN_VOLUME_BINDING] = 1,
                [PLUGIN_TOPOLOGY_SPREAD] = 2,
                [PLUGIN_POD_AFFINITY] = 2,
                [PLUGIN_DYNAMIC_RESOURCES] = 2,
                [PLUGIN_BALANCED_ALLOCATION] = 1,
                [PLUGIN_IMAGE_LOCALITY] = 1},
    .volume_shape = {{{0, 100}, {100, 0}}, 2},
    .cpu_weight = 1,
    .memory_weight = 1,
    .hard_pod_affinity_weight = 1,
    .bind_timeout_ns = SECONDS(600),
};

int64_t shape_score(const struct shape *s, int64_t percent)
{
    if (!s->n || percent <= s->points[0].percent)
        return s->n ? s->points[0].score : 0;
    for (size_t i = 1; i < s->n; i++) {
        const struct shape_point *a = &s->points[i - 1], *b = &s->points[i];
        if (percent <= b->percent)
            return a->score + (b->score - a->score) * (percent - a->percent) / (b->percent - a->percent);
    }
    return s->points[s->n - 1].score;
}

static const struct known *find(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_is(name, known[i].name))
            return &known[i];
    return NULL;
}

/* ---- plugins: enabled and disabled ----------------------------------------------------------------------
 */

struct reading {
    struct arena *a;
    struct profile *p;
    size_t index; /* of the profile */
    struct err *e;
};

static void disable(struct profile *p, const struct known *k, unsigned points)
{
    if (k->plugin >= 0 && (points & (FILTERS | STANDS_IN) & k->does))
        p->filters &= ~(1u << k->plugin);
    if (k->plugin >= 0 && (points & SCORES & k->does))
        p->weights[k->plugin] = 0;
}

static void enable(struct profile *p, const struct known *k, unsigned points, int64_t weight)
{
    if (k->plugin >= 0 && (points & (FILTERS | STANDS_IN) & k->does))
        p->filters |= 1u << k->plugin;
    if (k->plugin >= 0 && (points & SCORES & k->does))
        p->weights[k->plugin] = weight ? weight : 1;
}

static int read_set(struct reading *r, const char *point, const struct val *set, unsigned points)
{
    VAL_EACH (val_get(set, N_disabled), v) {
        struct str name = val_getstr(v, N_name);
        const struct known *k = find(name);
        for (size_t i = 0; str_is(name, "*") && i < ARRAY_SIZE(known); i++)
            disable(r->p, &known[i], points);
        if (!k && !str_is(name, "*"))
            return err_set(r->e, -EINVAL,
                           "profiles[%zu].plugins.%s.disabled: no plugin \"" STR_FMT "\" is known", r->index,
                           point, STR_ARG(name));
        if (k)
            disable(r->p, k, points);
    }
    VAL_EACH (val_get(set, N_enabled), v) {
        const struct known *k = find(val_getstr(v, N_name));
        if (!k)
            return err_set(r->e, -EINVAL,
                           "profiles[%zu].plugins.%s.enabled: no plugin \"" STR_FMT "\" is known", r->index,
                           point, STR_ARG(val_getstr(v, N_name)));
        enable(r->p, k, points, val_int(val_get(v, N_weight), 0));
    }
    return 0;
}

static int read_plugins(struct reading *r, const struct val *plugins)
{
    static const struct {
        name_id name;
        unsigned points; /* 0: enabling is nothing new, disabling would have to do something else than here */
    } points[] = {
        {N_multiPoint, FILTERS | SCORES | STANDS_IN},
        {N_filter, FILTERS},
        {N_score, SCORES},
        {N_postFilter, STANDS_IN},
        {N_preEnqueue, 0},
        {N_queueSort, 0},
        {N_preFilter, 0},
        {N_preScore, 0},
        {N_reserve, 0},
        {N_permit, 0},
        {N_preBind, 0},
        {N_bind, 0},
        {N_postBind, 0},
        {N_placementGenerate, 0},
        {N_placementScore, 0},
        {N_podGroupPostFilter, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        const struct val *set = val_get(plugins, points[i].name);
        const char *name = name_str(points[i].name).p;
        if (!points[i].points && val_len(val_get(set, N_disabled)))
            return err_set(r->e, -EINVAL,
                           "profiles[%zu].plugins.%s.disabled: only at multiPoint, filter, score and "
                           "postFilter can plugins "
                           "be disabled",
                           r->index, name);
        int x = read_set(r, name, set, points[i].points);
        if (x < 0)
            return x;
    }
    return 0;
}

/* ---- arguments ------------------------------------------------------------------------------------------
 */

static int read_shape(struct reading *r, const char *where, const struct val *list, struct shape *ret)
{
    struct shape s = {.n = 0};
    VAL_EACH (list, p) {
        struct shape_point x = {val_int(val_get(p, N_utilization), 0), 10 * val_int(val_get(p, N_score), 0)};
        bool rises = !s.n || x.percent > s.points[s.n - 1].percent;
        if (s.n == ARRAY_SIZE(s.points) || !rises || x.percent < 0 || x.percent > 100 || x.score < 0 ||
            x.score > 100)
            return err_set(r->e, -EINVAL,
                           "profiles[%zu]: %s: at most %zu points with rising utilization from 0 to 100 and "
                           "scores from 0 to 10",
                           r->index, where, ARRAY_SIZE(s.points));
        s.points[s.n++] = x;
    }
    if (s.n)
        *ret = s;
    return 0;
}

static int read_fit(struct reading *r, const struct val *args)
{
    const struct val *strategy = val_get(args, N_scoringStrategy);
    struct str type = val_getstr(strategy, N_type);
    struct profile *p = r->p;
    if (val_len(val_get(args, N_ignoredResources)) || val_len(val_get(args, N_ignoredResourceGroups)))
        return err_set(r->e, -EINVAL, "profiles[%zu]: NodeResourcesFitArgs.ignoredResources is not supported",
                       r->index);
    p->fit = str_is(type, "MostAllocated")              ? FIT_MOST_ALLOCATED
             : str_is(type, "RequestedToCapacityRatio") ? FIT_BY_SHAPE
                                                        : FIT_LEAST_ALLOCATED;
    if (val_len(val_get(strategy, N_resources)))
        p->cpu_weight = p->memory_weight = 0;
    VAL_EACH (val_get(strategy, N_resources), x) {
        struct str name = val_getstr(x, N_name);
        int64_t weight = val_int(val_get(x, N_weight), 0);
        if (!str_is(name, "cpu") && !str_is(name, "memory"))
            return err_set(
                r->e, -EINVAL,
                "profiles[%zu]: NodeResourcesFitArgs: only cpu and memory can be scored by, not " STR_FMT,
                r->index, STR_ARG(name));
        *(str_is(name, "cpu") ? &p->cpu_weight : &p->memory_weight) = weight ? weight : 1;
    }
    return read_shape(r, "NodeResourcesFitArgs", val_at(strategy, N_requestedToCapacityRatio, N_shape),
                      &p->fit_shape);
}

static int read_balanced(struct reading *r, const struct val *args)
{
    VAL_EACH (val_get(args, N_resources), x)
        if (!str_is(val_getstr(x, N_name), "cpu") && !str_is(val_getstr(x, N_name), "memory"))
            return err_set(
                r->e, -EINVAL,
                "profiles[%zu]: NodeResourcesBalancedAllocationArgs: only cpu and memory are balanced",
                r->index);
    return 0;
}

static int read_affinity(struct reading *r, const struct val *args)
{
    r->p->hard_pod_affinity_weight = val_int(val_get(args, N_hardPodAffinityWeight), 1);
    r->p->ignore_preferred_of_others = val_bool(val_get(args, N_ignorePreferredTermsOfExistingPods), false);
    return 0;
}

static int read_node_affinity(struct reading *r, const struct val *args)
{
    r->p->added_affinity = val_get(args, N_addedAffinity);
    return 0;
}

static int read_spread(struct reading *r, const struct val *args)
{
    r->p->spread_by_list = str_is(val_getstr(args, N_defaultingType), "List");
    r->p->default_constraints = val_get(args, N_defaultConstraints);
    if (!r->p->spread_by_list && val_len(r->p->default_constraints))
        return err_set(r->e, -EINVAL,
                       "profiles[%zu]: PodTopologySpreadArgs: defaultConstraints go with defaultingType List",
                       r->index);
    VAL_EACH (r->p->default_constraints, c)
        if (val_get(c, N_labelSelector))
            return err_set(
                r->e, -EINVAL,
                "profiles[%zu]: PodTopologySpreadArgs: a default constraint must not have a labelSelector",
                r->index);
    return 0;
}

static int read_binding(struct reading *r, const struct val *args)
{
    int64_t seconds = val_int(val_get(args, N_bindTimeoutSeconds), 600);
    if (seconds < 0)
        return err_set(r->e, -EINVAL,
                       "profiles[%zu]: VolumeBindingArgs.bindTimeoutSeconds must not be negative", r->index);
    r->p->bind_timeout_ns = SECONDS(seconds);
    return read_shape(r, "VolumeBindingArgs", val_get(args, N_shape), &r->p->volume_shape);
}

/* How many candidates are tried and how long drivers may take is decided otherwise here. */
static int read_nothing(struct reading *r UNUSED, const struct val *args UNUSED)
{
    return 0;
}

static const struct {
    const char *plugin;
    unsigned type;
    int (*read)(struct reading *r, const struct val *args);
} arguments[] = {
    {"NodeResourcesFit", T_kubescheduler_v1_NodeResourcesFitArgs, read_fit},
    {"NodeResourcesBalancedAllocation", T_kubescheduler_v1_NodeResourcesBalancedAllocationArgs,
     read_balanced},
    {"InterPodAffinity", T_kubescheduler_v1_InterPodAffinityArgs, read_affinity},
    {"NodeAffinity", T_kubescheduler_v1_NodeAffinityArgs, read_node_affinity},
    {"PodTopologySpread", T_kubescheduler_v1_PodTopologySpreadArgs, read_spread},
    {"VolumeBinding", T_kubescheduler_v1_VolumeBindingArgs, read_binding},
    {"DefaultPreemption", T_kubescheduler_v1_DefaultPreemptionArgs, read_nothing},
    {"DynamicResources", T_kubescheduler_v1_DynamicResourcesArgs, read_nothing},
};

static int read_arguments(struct reading *r, const struct val *config)
{
    struct str name = val_getstr(config, N_name);
    const struct val *args = val_get(config, N_args);
    for (size_t i = 0; i < ARRAY_SIZE(arguments); i++) {
        struct val *v;
        if (!str_is(name, arguments[i].plugin))
            continue;
        if (!val_str(args).n)
            return 0;
        int x = json_decode(r->a, &types[arguments[i].type], val_str(args), 0, NULL, &v, r->e);
        return x < 0 ? err_wrap(r->e, x, "profiles[%zu]: pluginConfig of " STR_FMT, r->index, STR_ARG(name))
                     : arguments[i].read(r, v);
    }
    return err_set(r->e, -EINVAL, "profiles[%zu]: pluginConfig: \"" STR_FMT "\" has no arguments", r->index,
                   STR_ARG(name));
}

/* ---- a profile --------------------------------------------------------------------------------------------
 */

static int read_profile(struct reading *r, const struct val *v, struct profile *ret)
{
    struct str name = val_getstr(v, N_schedulerName);
    *ret = default_profile;
    r->p = ret;
    if (name.n)
        ret->name = arena_cstr(r->a, name);
    int x = read_plugins(r, val_get(v, N_plugins));
    VAL_EACH (val_get(v, N_pluginConfig), c)
        x = x < 0 ? x : read_arguments(r, c);
    return x;
}

int profiles_read(struct arena *a, const struct val *list, struct profile **ret, size_t *ret_n, struct err *e)
{
    size_t n = MAX(val_len(list), (size_t)1);
    struct profile *p = ARENA_ARRAY(a, struct profile, n);
    struct reading r = {.a = a, .e = e};
    for (; r.index < n; r.index++) {
        int x = read_profile(&r, val_item(list, r.index), &p[r.index]);
        if (x < 0)
            return x;
        for (size_t i = 0; i < r.index; i++)
            if (strcmp(p[i].name, p[r.index].name) == 0)
                return err_set(e, -EINVAL, "profiles[%zu].schedulerName: \"%s\" has a profile already",
                               r.index, p[i].name);
    }
    *ret = p;
    *ret_n = n;
    return 0;
}
