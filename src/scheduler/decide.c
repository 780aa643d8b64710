/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/decide.h"

#include "names.h"
#include "scheduler/spread.h"
#include "type/meta.h"

#include <math.h>

struct look {
    const struct world *w;
    struct needs *pod;
    struct arena *a;
    struct str node_name;          /* spec.nodeName was set by hand */
    const struct val *tolerations;
    int8_t *taint_verdicts;        /* per interned set: 0 unknown, 1 tolerated, -1 not */
    bool selects_nodes;            /* has a node selector or required node affinity */
    bool tolerates_unschedulable;
    struct spread *spread;
    struct affinity *affinity;
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
    *l = (struct look){.w = w, .pod = pod, .a = a};
    l->tolerations = val_get(pod->spec, N_tolerations);
    l->node_name = val_getstr(pod->spec, N_nodeName);
    l->taint_verdicts = ARENA_ARRAY(a, int8_t, w->table->n_taint_sets + 1);
    l->selects_nodes = val_get(pod->spec, N_nodeSelector) ||
                       val_at(pod->spec, N_affinity, N_nodeAffinity, N_requiredDuringSchedulingIgnoredDuringExecution);
    l->tolerates_unschedulable = tolerates_unschedulable(a, l->tolerations);
    l->spread = spread_new(w, pod, a);
    l->affinity = affinity_new(w, pod, a);
    return l;
}

void look_done(struct look *l)
{
    spread_done(l->spread);
    affinity_done(l->affinity);
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
        if (p->extended[i] > l->w->table->nodes[node].extended_free[i] && p->extended[i] > 0 && at-- == 0)
            return arena_printf(l->a, "Insufficient " STR_FMT, STR_ARG(l->w->table->extended[i]));
    if (p->unknown_extended && at == 0)
        return arena_printf(l->a, "Insufficient " STR_FMT, STR_ARG(p->unknown_name));
    return STR_NULL;
}

struct str look_filter(const struct look *l, int node, size_t at, bool *ret_resolvable)
{
    const struct table *t = l->w->table;
    const struct row *r = &t->rows[node];
    const struct node *n = &t->nodes[node];
    *ret_resolvable = false;
    if (at > 0)
        return short_of(l, node, at);
    if (r->unschedulable && !l->tolerates_unschedulable)
        return STR("node(s) were unschedulable");
    if (l->node_name.n && !str_eq(l->node_name, n->object->name))
        return STR("node(s) didn't match the requested node name");
    if (!taints_tolerated(l, r))
        return STR("node(s) had untolerated taint(s)");
    if (l->selects_nodes && !match_node(l->pod->spec, n->labels, n->object->name))
        return STR("node(s) didn't match Pod's node affinity/selector");
    *ret_resolvable = true;
    if (l->pod->n_ports && ports_taken(l, n))
        return STR("node(s) didn't have free ports for the requested pod ports");
    struct str lacking = short_of(l, node, 0);
    if (lacking.p) {
        *ret_resolvable = l->pod->cpu <= r->cpu_total && l->pod->memory <= r->memory_total && !l->pod->unknown_extended;
        return lacking;
    }
    struct str why = spread_hard(l->spread) ? spread_filter(l->spread, node, ret_resolvable) : STR_NULL;
    if (!why.p && affinity_filters(l->affinity))
        why = affinity_filter(l->affinity, node, ret_resolvable);
    return why;
}

/* ---- scores ---------------------------------------------------------------------------------------------------------- */

static int64_t least_allocated(const struct look *l, int node)
{
    const struct row *r = &l->w->table->rows[node];
    int64_t cpu = r->cpu_scored + l->pod->cpu_score, memory = r->memory_scored + l->pod->memory_score;
    int64_t sum = 0, n = 0;
    if (r->cpu_total)
        n++, sum += cpu > r->cpu_total ? 0 : (r->cpu_total - cpu) * 100 / r->cpu_total;
    if (r->memory_total)
        n++, sum += memory > r->memory_total ? 0 : (int64_t)((__int128)(r->memory_total - memory) * 100 / r->memory_total);
    return n ? sum / n : 0;
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

static const struct scorer {
    int64_t (*score)(const struct look *l, int node);
    int64_t weight;
    enum normalize normalize;
} scorers[] = {
    {intolerable, 3, BY_MAX_REVERSED}, {preferred_nodes, 2, BY_MAX}, {least_allocated, 1, AS_IT_IS},
    {balanced, 1, AS_IT_IS},           {image_locality, 1, AS_IT_IS},
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
    for (size_t k = 0; k < ARRAY_SIZE(scorers); k++) {
        for (size_t i = 0; i < n; i++)
            one[i] = scorers[k].score(l, nodes[i]);
        normalize(one, n, scorers[k].normalize);
        add_weighted(ret, one, n, scorers[k].weight);
    }
    if (spread_soft(l->spread)) {
        spread_score(l->spread, nodes, n, one);
        add_weighted(ret, one, n, 2);
    }
    if (affinity_scores(l->affinity)) {
        affinity_score(l->affinity, nodes, n, one);
        add_weighted(ret, one, n, 2);
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

static void refuse(const struct look *l, int node, struct str why, bool resolvable, struct decision *d)
{
    bool ignored;
    add_reason(d, why);
    d->n_resolvable += resolvable;
    if (!short_of(l, node, 0).p || !str_eq(short_of(l, node, 0), why))
        return;
    for (size_t at = 1; (why = look_filter(l, node, at, &ignored)).p; at++)
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

void decide(const struct world *w, struct needs *pod, uint64_t random, struct decision *ret)
{
    /* Reasons that were printed live in the pod's own arena; the rest goes at the end. */
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct look *l = look_new(w, pod, &a);
    int *fit = ARENA_ARRAY(&a, int, w->table->n);
    size_t n = 0;
    *ret = (struct decision){.node = -1};
    for (size_t i = 0; i < w->table->n; i++) {
        bool resolvable;
        if (!w->table->rows[i].present)
            continue;
        struct str why = look_filter(l, (int)i, 0, &resolvable);
        if (!why.p)
            fit[n++] = (int)i;
        else
            refuse(l, (int)i, why, resolvable, ret);
    }
    if (n) {
        int64_t *scores = ARENA_ARRAY(&a, int64_t, n);
        if (n > 1)
            look_score(l, fit, n, scores);
        ret->node = best_of(fit, scores, n, random);
    }
    for (size_t i = 0; i < ret->n_reasons; i++)
        ret->reasons[i].text = arena_str(&pod->arena, ret->reasons[i].text);
    look_done(l);
}

static int compare_texts(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct str decision_message(struct arena *a, const struct decision *d, size_t n_nodes)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str texts[ARRAY_SIZE(d->reasons)];
    if (!n_nodes)
        return STR("no nodes available to schedule pods");
    for (size_t i = 0; i < d->n_reasons; i++)
        texts[i] = arena_printf(a, "%zu " STR_FMT, d->reasons[i].n, STR_ARG(d->reasons[i].text));
    qsort(texts, d->n_reasons, sizeof(*texts), compare_texts);
    buf_printf(&b, "0/%zu nodes are available:", n_nodes);
    for (size_t i = 0; i < d->n_reasons; i++)
        buf_printf(&b, "%s " STR_FMT, i ? "," : "", STR_ARG(texts[i]));
    buf_putc(&b, '.');
    return arena_str(a, buf_str(&b));
}
