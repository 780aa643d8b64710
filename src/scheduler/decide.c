/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/decide.h"

#include "names.h"
#include "scheduler/claims.h"
#include "scheduler/extended.h"
#include "scheduler/spread.h"
#include "scheduler/volumes.h"
#include "type/meta.h"
#include "wire/quantity.h"

#include <math.h>

enum { MAX_REASONS = 24 }; /* of one node */

struct look {
    const struct world *w;
    const struct profile *profile;
    struct needs *pod;
    struct arena *a;
    struct str node_name;          /* spec.nodeName was set by hand */
    const struct val *tolerations;
    int8_t *taint_verdicts;        /* per interned set: 0 unknown, 1 tolerated, -1 not */
    bool selects_nodes;            /* has a node selector or required node affinity */
    bool tolerates_unschedulable;
    struct spread *spread;
    struct affinity *affinity;
    struct volumes *volumes;       /* NULL: none that matter */
    struct claims *claims;         /* NULL: none */
    struct extended *extended;     /* extended resources that may be had as devices; NULL: none */
    bool *failed;                  /* deciding itself did */
};

/* ---- before the nodes are looked at ------------------------------------------------------------------------------ */

static bool tolerates_unschedulable(struct arena *a, const struct val *tolerations)
{
    struct val *taint = val_new(a, VAL_OBJ);
    val_set_str(a, taint, N_key, STR("node.kubernetes.io/unschedulable"));
    val_set_str(a, taint, N_effect, STR("NoSchedule"));
    return match_tolerates(tolerations, taint);
}

struct look *look_new(const struct world *w, struct needs *pod, struct arena *a)
{
    struct look *l = ARENA_NEW(a, struct look);
    *l = (struct look){.w = w, .pod = pod, .a = a, .profile = w->profile ? w->profile : &default_profile};
    l->tolerations = val_get(pod->spec, N_tolerations);
    l->node_name = val_getstr(pod->spec, N_nodeName);
    l->taint_verdicts = ARENA_ARRAY(a, int8_t, w->table->n_taint_sets + 1);
    l->selects_nodes = val_get(pod->spec, N_nodeSelector) ||
                       val_at(pod->spec, N_affinity, N_nodeAffinity, N_requiredDuringSchedulingIgnoredDuringExecution);
    l->tolerates_unschedulable = tolerates_unschedulable(a, l->tolerations);
    l->spread = spread_new(w, pod, a);
    l->affinity = affinity_new(w, pod, a);
    l->volumes = volumes_new(w, pod, a);
    if (profile_filters(l->profile, PLUGIN_DYNAMIC_RESOURCES)) {
        l->extended = extended_new(w, pod, a);
        l->claims = claims_new(w, pod, l->extended, a);
    }
    l->failed = ARENA_NEW(a, bool);
    return l;
}

void look_done(struct look *l)
{
    spread_done(l->spread);
    affinity_done(l->affinity);
    claims_done(l->claims);
}

/* ---- predicates ---------------------------------------------------------------------------------------------------- */

static bool taints_tolerated(const struct look *l, const struct row *r)
{
    int8_t *verdict = &l->taint_verdicts[r->taints];
    if (!r->taints)
        return true;
    if (!*verdict)
        *verdict = match_untolerated(l->w->table->taint_sets[r->taints], l->tolerations,
                                     EFFECT_NO_SCHEDULE | EFFECT_NO_EXECUTE) ? -1 : 1;
    return *verdict > 0;
}

static bool port_conflict(const struct host_port *a, const struct host_port *b)
{
    return a->port == b->port && a->proto == b->proto && (!a->ip.n || !b->ip.n || str_eq(a->ip, b->ip));
}

static bool ports_taken(const struct look *l, const struct node *n)
{
    LIST_EACH(&n->pods, it)
    {
        const struct needs *other = LIST_ENTRY(it, struct needs, on_node);
        for (size_t i = 0; i < other->n_ports; i++)
            for (size_t k = 0; k < l->pod->n_ports; k++)
                if (port_conflict(&other->ports[i], &l->pod->ports[k]))
                    return true;
    }
    return false;
}

/* Is it to be had as devices there? Then the claim made for it decides. */
static bool is_device(const struct look *l, const struct node *n, struct str resource)
{
    return extended_has(l->extended, resource) &&
           quantity_is_zero(quantity_or_zero(val_str(val_key(val_at(n->object->val, N_status, N_allocatable), resource))));
}

/* The at-th resource that is short, in upstream's order. A pod that asks for nothing of a resource never lacks it. */
static struct str short_of(const struct look *l, int node, size_t at)
{
    const struct needs *p = l->pod;
    const struct row *r = &l->w->table->rows[node];
    const struct {
        bool is_short;
        struct str text;
    } checks[] = {
        {r->pods_free < 1, STR("Too many pods")},
        {p->cpu > 0 && p->cpu > r->cpu_free, STR("Insufficient cpu")},
        {p->memory > 0 && p->memory > r->memory_free, STR("Insufficient memory")},
        {p->ephemeral > 0 && p->ephemeral > r->ephemeral_free, STR("Insufficient ephemeral-storage")},
    };
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        if (checks[i].is_short && at-- == 0)
            return checks[i].text;
    for (size_t i = 0; p->any_extended && i < l->w->table->n_extended; i++)
        if (p->extended[i] > l->w->table->nodes[node].extended_free[i] && p->extended[i] > 0 &&
            !is_device(l, &l->w->table->nodes[node], l->w->table->extended[i]) && at-- == 0)
            return arena_printf(l->a, "Insufficient " STR_FMT, STR_ARG(l->w->table->extended[i]));
    if (p->unknown_extended && at == 0 && !extended_has(l->extended, p->unknown_name))
        return arena_printf(l->a, "Insufficient " STR_FMT, STR_ARG(p->unknown_name));
    return STR_NULL;
}

static bool wants_node(const struct look *l, const struct node *n)
{
    const struct val *added = val_get(l->profile->added_affinity, N_requiredDuringSchedulingIgnoredDuringExecution);
    bool matches = !added;
    VAL_EACH(val_get(added, N_nodeSelectorTerms), t)
    {
        matches |= match_node_term(t, n->labels, n->object->name);
    }
    return matches && (!l->selects_nodes || match_node(l->pod->spec, n->labels, n->object->name));
}

/* What neither time nor the end of other pods changes. */
static struct str node_refusal(const struct look *l, int node)
{
    const struct row *r = &l->w->table->rows[node];
    const struct node *n = &l->w->table->nodes[node];
    const struct profile *p = l->profile;
    if (r->unschedulable && !l->tolerates_unschedulable && profile_filters(p, PLUGIN_NODE_UNSCHEDULABLE))
        return STR("node(s) were unschedulable");
    if (l->node_name.n && !str_eq(l->node_name, n->object->name) && profile_filters(p, PLUGIN_NODE_NAME))
        return STR("node(s) didn't match the requested node name");
    if (profile_filters(p, PLUGIN_TAINT_TOLERATION) && !taints_tolerated(l, r))
        return STR("node(s) had untolerated taint(s)");
    if (profile_filters(p, PLUGIN_NODE_AFFINITY) && (l->selects_nodes || p->added_affinity) && !wants_node(l, n))
        return STR("node(s) didn't match Pod's node affinity/selector");
    return STR_NULL;
}

struct str look_filter(const struct look *l, int node, size_t at, bool *ret_resolvable)
{
    const struct row *r = &l->w->table->rows[node];
    const struct profile *p = l->profile;
    bool by_resources = profile_filters(p, PLUGIN_RESOURCES_FIT);
    *ret_resolvable = false;
    struct str why = at ? STR_NULL : node_refusal(l, node);
    if (why.p)
        return why;
    *ret_resolvable = true;
    if (!at && l->pod->n_ports && profile_filters(p, PLUGIN_NODE_PORTS) && ports_taken(l, &l->w->table->nodes[node]))
        return STR("node(s) didn't have free ports for the requested pod ports");
    if (by_resources && short_of(l, node, 0).p) {
        *ret_resolvable = l->pod->cpu <= r->cpu_total && l->pod->memory <= r->memory_total && !l->pod->unknown_extended;
        return short_of(l, node, at);
    }
    if (l->volumes)
        why = volumes_filter(l->volumes, node, at, ret_resolvable);
    if (why.p || at)
        return why;
    *ret_resolvable = true;
    if (spread_hard(l->spread) && profile_filters(p, PLUGIN_TOPOLOGY_SPREAD))
        why = spread_filter(l->spread, node, ret_resolvable);
    if (!why.p && affinity_filters(l->affinity) && profile_filters(p, PLUGIN_POD_AFFINITY))
        why = affinity_filter(l->affinity, node, ret_resolvable);
    if (why.p || !l->claims)
        return why;
    *ret_resolvable = false;
    return claims_filter(l->claims, node, l->failed);
}

struct str look_refusal(const struct look *l)
{
    struct str why = volumes_refusal(l->volumes);
    bool silent;
    return why.p ? why : claims_refusal(l->claims, &silent);
}

static bool is_heeded(const struct look *l, const struct needs *nominee)
{
    return nominee->priority >= l->pod->priority && !str_eq(nominee->pod->uid, l->pod->pod->uid);
}

/* With the nominees on the node: all that was counted before they came has to be counted anew. */
static struct str filter_beside(const struct look *l, int node, bool *ret_resolvable)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct look *beside = look_new(l->w, l->pod, &a);
    struct str why = look_filter(beside, node, 0, ret_resolvable);
    why = why.p ? arena_str(l->a, why) : why;
    look_done(beside);
    return why;
}

struct str look_fits(const struct look *l, int node, bool *ret_resolvable)
{
    struct table *t = l->w->table;
    struct node *n = &t->nodes[node];
    struct str why = look_filter(l, node, 0, ret_resolvable);
    bool any = false;
    if (why.p || !n->n_nominated)
        return why;
    LIST_EACH(&n->nominated, x)
    {
        struct needs *nominee = LIST_ENTRY(x, struct needs, nominee);
        if (is_heeded(l, nominee)) {
            table_drop(t, nominee, node);
            any = true;
        }
    }
    if (any)
        why = filter_beside(l, node, ret_resolvable);
    LIST_EACH(&n->nominated, x)
    {
        table_lift(t, LIST_ENTRY(x, struct needs, nominee));
    }
    return why;
}

/* ---- scores ---------------------------------------------------------------------------------------------------------- */

static int64_t room_score(const struct profile *p, int64_t asked, int64_t total)
{
    if (p->fit == FIT_BY_SHAPE)
        return shape_score(&p->fit_shape, asked > total ? 100 : (int64_t)((__int128)asked * 100 / total));
    if (asked > total)
        return p->fit == FIT_MOST_ALLOCATED ? 100 : 0;
    return (int64_t)((__int128)(p->fit == FIT_MOST_ALLOCATED ? asked : total - asked) * 100 / total);
}

/* NodeResourcesFit's score. By shape, resources that score nothing do not count, and it is rounded. */
static int64_t room(const struct look *l, int node)
{
    const struct row *r = &l->w->table->rows[node];
    const struct profile *p = l->profile;
    const struct {
        int64_t asked, total, weight;
    } list[] = {{r->cpu_scored + l->pod->cpu_score, r->cpu_total, p->cpu_weight},
                {r->memory_scored + l->pod->memory_score, r->memory_total, p->memory_weight}};
    int64_t sum = 0, weights = 0;
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        int64_t score = list[i].total && list[i].weight ? room_score(p, list[i].asked, list[i].total) : 0;
        bool counts = list[i].total && (p->fit != FIT_BY_SHAPE || score > 0);
        sum += score * list[i].weight;
        weights += counts ? list[i].weight : 0;
    }
    if (!weights)
        return 0;
    return p->fit == FIT_BY_SHAPE ? (2 * sum + weights) / (2 * weights) : sum / weights;
}

/* How alike the fractions of cpu and memory in use are: 100 less half their difference. */
static int64_t balance(int64_t cpu, int64_t cpu_total, int64_t memory, int64_t memory_total)
{
    if (!cpu_total || !memory_total)
        return 100;
    double a = fmin((double)cpu / (double)cpu_total, 1), b = fmin((double)memory / (double)memory_total, 1);
    return (int64_t)((1 - fabs((a - b) / 2)) * 100);
}

static int64_t balanced(const struct look *l, int node)
{
    const struct row *r = &l->w->table->rows[node];
    int64_t cpu = r->cpu_total - r->cpu_free, memory = r->memory_total - r->memory_free;
    if (!l->pod->cpu && !l->pod->memory)
        return 0; /* best-effort pods do not change the balance */
    return 50 + (50 + balance(cpu + l->pod->cpu, r->cpu_total, memory + l->pod->memory, r->memory_total) -
                 balance(cpu, r->cpu_total, memory, r->memory_total)) / 2;
}

static int64_t image_locality(const struct look *l, int node)
{
    enum { MIN_BYTES = 23 << 20 };
    const struct val *images = l->w->table->nodes[node].images;
    int64_t sum = 0, max = INT64_C(1000) << 20;
    size_t n = val_len(val_get(l->pod->spec, N_containers));
    VAL_EACH(val_get(l->pod->spec, N_containers), c)
    {
        struct str wanted = val_getstr(c, N_image);
        VAL_EACH(images, i)
        {
            VAL_EACH(val_get(i, N_names), name)
            {
                if (str_eq(val_str(name), wanted))
                    sum += val_int(val_get(i, N_sizeBytes), 0);
            }
        }
    }
    max *= (int64_t)MAX(n, (size_t)1);
    sum = MIN(MAX(sum, (int64_t)MIN_BYTES), max);
    return 100 * (sum - MIN_BYTES) / (max - MIN_BYTES);
}

static int64_t preferred_nodes(const struct look *l, int node)
{
    const struct node *n = &l->w->table->nodes[node];
    int64_t sum = 0;
    VAL_EACH(val_at(l->pod->spec, N_affinity, N_nodeAffinity, N_preferredDuringSchedulingIgnoredDuringExecution), p)
    {
        if (match_node_term(val_get(p, N_preference), n->labels, n->object->name))
            sum += val_int(val_get(p, N_weight), 0);
    }
    return sum;
}

static int64_t intolerable(const struct look *l, int node)
{
    uint16_t set = l->w->table->rows[node].taints;
    return set ? (int64_t)match_count_untolerated(l->w->table->taint_sets[set], l->tolerations, EFFECT_PREFER_NO_SCHEDULE) : 0;
}

enum normalize { AS_IT_IS, BY_MAX, BY_MAX_REVERSED };

static int64_t volume_room(const struct look *l, int node)
{
    int64_t score;
    return volumes_score(l->volumes, node, &score) ? score : 0;
}

static int64_t alternatives(const struct look *l, int node)
{
    int64_t score;
    return claims_score(l->claims, node, &score) ? score : 0;
}

static const struct scorer {
    int64_t (*score)(const struct look *l, int node);
    enum plugin plugin;
    enum normalize normalize;
} scorers[] = {
    {intolerable, PLUGIN_TAINT_TOLERATION, BY_MAX_REVERSED}, {preferred_nodes, PLUGIN_NODE_AFFINITY, BY_MAX},
    {room, PLUGIN_RESOURCES_FIT, AS_IT_IS},                  {volume_room, PLUGIN_VOLUME_BINDING, AS_IT_IS},
    {balanced, PLUGIN_BALANCED_ALLOCATION, AS_IT_IS},        {image_locality, PLUGIN_IMAGE_LOCALITY, AS_IT_IS},
    {alternatives, PLUGIN_DYNAMIC_RESOURCES, BY_MAX},
};

static void normalize(int64_t *scores, size_t n, enum normalize how)
{
    int64_t max = 0;
    for (size_t i = 0; i < n; i++)
        max = MAX(max, scores[i]);
    for (size_t i = 0; i < n && how != AS_IT_IS; i++) {
        int64_t s = max ? 100 * scores[i] / max : 0;
        scores[i] = how == BY_MAX_REVERSED ? 100 - s : s;
    }
}

static void add_weighted(int64_t *total, const int64_t *scores, size_t n, int64_t weight)
{
    for (size_t i = 0; i < n; i++)
        total[i] += scores[i] * weight;
}

void look_score(const struct look *l, const int *nodes, size_t n, int64_t *ret)
{
    int64_t *one = ARENA_ARRAY(l->a, int64_t, n);
    memset(ret, 0, n * sizeof(*ret));
    const int64_t *weights = l->profile->weights;
    for (size_t k = 0; k < ARRAY_SIZE(scorers); k++) {
        if (!weights[scorers[k].plugin])
            continue;
        for (size_t i = 0; i < n; i++)
            one[i] = scorers[k].score(l, nodes[i]);
        normalize(one, n, scorers[k].normalize);
        add_weighted(ret, one, n, weights[scorers[k].plugin]);
    }
    if (spread_soft(l->spread) && weights[PLUGIN_TOPOLOGY_SPREAD]) {
        spread_score(l->spread, nodes, n, one);
        add_weighted(ret, one, n, weights[PLUGIN_TOPOLOGY_SPREAD]);
    }
    if (affinity_scores(l->affinity) && weights[PLUGIN_POD_AFFINITY]) {
        affinity_score(l->affinity, nodes, n, one);
        add_weighted(ret, one, n, weights[PLUGIN_POD_AFFINITY]);
    }
}

/* ---- the decision ------------------------------------------------------------------------------------------------------ */

static void add_reason(struct decision *d, struct str text)
{
    for (size_t i = 0; i < d->n_reasons; i++) {
        if (str_eq(d->reasons[i].text, text)) {
            d->reasons[i].n++;
            return;
        }
    }
    if (d->n_reasons < ARRAY_SIZE(d->reasons))
        d->reasons[d->n_reasons++] = (struct reason){text, 1};
}

/* Was the reason one of those of which a node may give several? */
static bool has_more(const struct look *l, int node, struct str why)
{
    bool ignored;
    struct str lacking = short_of(l, node, 0);
    if (lacking.p)
        return str_eq(lacking, why);
    return l->volumes && str_eq(volumes_filter(l->volumes, node, 0, &ignored), why);
}

static void refuse(const struct look *l, int node, struct str why, bool resolvable, struct decision *d)
{
    bool ignored;
    add_reason(d, why);
    d->n_resolvable += resolvable;
    if (!has_more(l, node, why))
        return;
    for (size_t at = 1; at < MAX_REASONS && (why = look_filter(l, node, at, &ignored)).p; at++)
        add_reason(d, why);
}

/* The best score wins; among equals the random number chooses (reservoir of one). */
static int best_of(const int *nodes, const int64_t *scores, size_t n, uint64_t random)
{
    size_t best = 0, equals = 1;
    for (size_t i = 1; i < n; i++) {
        if (scores[i] > scores[best]) {
            best = i;
            equals = 1;
        } else if (scores[i] == scores[best]) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            if ((random >> 33) % ++equals == 0)
                best = i;
        }
    }
    return nodes[best];
}

/* A place was made for it there: it is taken when it fits, without looking further. */
static int nominated_node(const struct look *l)
{
    struct str name = val_getstr(val_get(l->pod->pod->val, N_status), N_nominatedNodeName);
    int node = name.n ? table_find(l->w->table, name) : -1;
    bool ignored;
    return node >= 0 && l->w->table->rows[node].present && !look_fits(l, node, &ignored).p ? node : -1;
}

static int choose(const struct look *l, uint64_t random, struct decision *d)
{
    const struct table *t = l->w->table;
    int *fit = ARENA_ARRAY(l->a, int, t->n);
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool resolvable;
        if (!t->rows[i].present)
            continue;
        struct str why = look_fits(l, (int)i, &resolvable);
        if (*l->failed) {
            d->whole = why;
            d->failed = true;
            return -1;
        }
        if (!why.p)
            fit[n++] = (int)i;
        else
            refuse(l, (int)i, why, resolvable, d);
    }
    if (!n)
        return -1;
    int64_t *scores = ARENA_ARRAY(l->a, int64_t, n);
    if (n > 1)
        look_score(l, fit, n, scores);
    return best_of(fit, scores, n, random);
}

void decide(const struct world *w, struct needs *pod, uint64_t random, struct decision *ret)
{
    /* Reasons that were printed live in the pod's own arena; the rest goes at the end. */
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct look *l = look_new(w, pod, &a);
    *ret = (struct decision){.node = -1, .whole = look_refusal(l)};
    if (ret->whole.p && !volumes_refusal(l->volumes).p)
        claims_refusal(l->claims, &ret->silent);
    if (!ret->whole.p)
        ret->node = nominated_node(l);
    if (!ret->whole.p && ret->node < 0)
        ret->node = choose(l, random, ret);
    if (ret->node < 0)
        ret->obstacle = claims_obstacle(l->claims);
    if (ret->whole.p)
        ret->whole = arena_str(&pod->arena, ret->whole);
    for (size_t i = 0; i < ret->n_reasons; i++)
        ret->reasons[i].text = arena_str(&pod->arena, ret->reasons[i].text);
    look_done(l);
}

struct str decision_message(struct arena *a, const struct decision *d, size_t n_nodes)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str texts[ARRAY_SIZE(d->reasons)];
    if (!n_nodes)
        return STR("no nodes available to schedule pods");
    if (d->whole.p)
        return arena_printf(a, "0/%zu nodes are available: " STR_FMT ".", n_nodes, STR_ARG(d->whole));
    for (size_t i = 0; i < d->n_reasons; i++)
        texts[i] = arena_printf(a, "%zu " STR_FMT, d->reasons[i].n, STR_ARG(d->reasons[i].text));
    str_sort(texts, d->n_reasons);
    buf_printf(&b, "0/%zu nodes are available:", n_nodes);
    for (size_t i = 0; i < d->n_reasons; i++)
        buf_printf(&b, "%s " STR_FMT, i ? "," : "", STR_ARG(texts[i]));
    buf_putc(&b, '.');
    return arena_str(a, buf_str(&b));
}
