/* SPDX-License-Identifier: Apache-2.0 */
/* PodTopologySpread (KEP-895). */
#include "scheduler/spread.h"

#include "names.h"
#include "type/meta.h"

#include <math.h>

#define HOSTNAME_LABEL "kubernetes.io/hostname"
#define ZONE_LABEL "topology.kubernetes.io/zone"

enum { MAX_CONSTRAINTS = 16, MAX_DEFAULT_SELECTORS = 16 };

struct constraint {
    struct str key;
    struct selector *selectors; /* all must match; one for a constraint of the pod's own */
    size_t n_selectors;
    int64_t max_skew, min_domains;
    bool honor_affinity, ignore_taints, self_match, hostname;
    struct map counts;          /* value of the key -> matching pods + 1, as pointer: domains that count */
    int64_t least;              /* of the domains */
    double weight;
};

struct spread {
    const struct world *w;
    struct needs *pod;
    struct arena *a;
    struct constraint hard[MAX_CONSTRAINTS], soft[MAX_CONSTRAINTS];
    size_t n_hard, n_soft;
    bool need_all_keys; /* of soft constraints: the pod's own, not the defaults */
};

bool spread_hard(const struct spread *s)
{
    return s->n_hard > 0;
}

bool spread_soft(const struct spread *s)
{
    return s->n_soft > 0;
}

/* ---- reading the constraints ------------------------------------------------------------------------------------ */

static bool selects(const struct constraint *c, const struct val *labels)
{
    for (size_t i = 0; i < c->n_selectors; i++)
        if (!selector_matches(&c->selectors[i], labels))
            return false;
    return true;
}

/* matchLabelKeys (KEP-3243): the pod's own values of these labels join the selector. */
static void add_label_keys(struct arena *a, const struct val *keys, const struct val *labels, struct selector *s)
{
    if (!val_len(keys))
        return;
    struct requirement *more = ARENA_ARRAY(a, struct requirement, s->n + val_len(keys));
    if (s->n)
        memcpy(more, s->reqs, s->n * sizeof(*more));
    s->reqs = more;
    VAL_EACH(keys, k)
    {
        const struct val *v = val_key(labels, val_str(k));
        if (!v)
            continue;
        struct str *value = ARENA_NEW(a, struct str);
        *value = val_str(v);
        s->reqs[s->n++] = (struct requirement){SEL_IN, val_str(k), value, 1};
    }
}

static void read_constraint(struct spread *s, const struct val *v)
{
    bool hard = !str_is(val_getstr(v, N_whenUnsatisfiable), "ScheduleAnyway");
    size_t *n = hard ? &s->n_hard : &s->n_soft;
    if (*n == MAX_CONSTRAINTS)
        return;
    struct constraint *c = hard ? &s->hard[(*n)++] : &s->soft[(*n)++];
    *c = (struct constraint){.key = val_getstr(v, N_topologyKey), .n_selectors = 1};
    c->selectors = ARENA_NEW(s->a, struct selector);
    if (selector_from_val(s->a, val_get(v, N_labelSelector), c->selectors, NULL) < 0)
        c->selectors->nothing = true;
    add_label_keys(s->a, val_get(v, N_matchLabelKeys), s->pod->labels, c->selectors);
    c->max_skew = val_int(val_get(v, N_maxSkew), 1);
    c->min_domains = val_int(val_get(v, N_minDomains), 1);
    c->honor_affinity = !str_is(val_getstr(v, N_nodeAffinityPolicy), "Ignore");
    c->ignore_taints = !str_is(val_getstr(v, N_nodeTaintsPolicy), "Honor");
    c->self_match = selects(c, s->pod->labels);
    c->hostname = str_is(c->key, HOSTNAME_LABEL);
}

/* Those that the profile lists, for pods that something selects. */
static void add_listed(struct spread *s, const struct val *list, struct selector *selectors, size_t n)
{
    size_t hard = s->n_hard, soft = s->n_soft;
    if (!n)
        return;
    VAL_EACH(list, v)
    {
        read_constraint(s, v);
    }
    for (; hard < s->n_hard; hard++) {
        s->hard[hard].selectors = selectors;
        s->hard[hard].n_selectors = n;
        s->hard[hard].self_match = selects(&s->hard[hard], s->pod->labels);
    }
    for (; soft < s->n_soft; soft++) {
        s->soft[soft].selectors = selectors;
        s->soft[soft].n_selectors = n;
    }
    s->need_all_keys = true;
}

/* Pods without constraints of their own spread over hosts and zones with those that the same Service or set selects. */
static void add_defaults(struct spread *s)
{
    static const struct {
        struct str key;
        int64_t max_skew;
    } defaults[] = {{{HOSTNAME_LABEL, sizeof(HOSTNAME_LABEL) - 1}, 3}, {{ZONE_LABEL, sizeof(ZONE_LABEL) - 1}, 5}};
    if (!s->w->default_selectors)
        return;
    struct selector *selectors = ARENA_ARRAY(s->a, struct selector, MAX_DEFAULT_SELECTORS);
    size_t n = s->w->default_selectors(s->w->ctx, s->pod->pod, s->a, selectors, MAX_DEFAULT_SELECTORS);
    if (s->w->profile && s->w->profile->spread_by_list) {
        add_listed(s, s->w->profile->default_constraints, selectors, n);
        return;
    }
    for (size_t i = 0; n && i < ARRAY_SIZE(defaults); i++)
        s->soft[s->n_soft++] = (struct constraint){.key = defaults[i].key, .selectors = selectors, .n_selectors = n,
                                                   .max_skew = defaults[i].max_skew, .min_domains = 1,
                                                   .honor_affinity = true, .ignore_taints = true, .hostname = i == 0};
}

/* ---- counting ----------------------------------------------------------------------------------------------------- */

static bool has_keys(const struct constraint *list, size_t n, const struct val *labels)
{
    for (size_t i = 0; i < n; i++)
        if (!val_key(labels, list[i].key))
            return false;
    return true;
}

/* Does the node count for the constraint (KEP-3094)? */
static bool node_counts(const struct spread *s, const struct constraint *c, int i)
{
    const struct table *t = s->w->table;
    if (!t->rows[i].present)
        return false;
    if (c->honor_affinity && !match_node(s->pod->spec, t->nodes[i].labels, t->nodes[i].object->name))
        return false;
    return c->ignore_taints || !match_untolerated(t->taint_sets ? t->taint_sets[t->rows[i].taints] : NULL,
                                                  val_get(s->pod->spec, N_tolerations),
                                                  EFFECT_NO_SCHEDULE | EFFECT_NO_EXECUTE);
}

static int64_t count_pods(const struct spread *s, const struct constraint *c, int i)
{
    int64_t n = 0;
    LIST_EACH(&s->w->table->nodes[i].pods, l)
    {
        const struct needs *p = LIST_ENTRY(l, struct needs, on_node);
        n += str_eq(p->pod->namespace_, s->pod->pod->namespace_) && !obj_deleting(p->pod->val) && selects(c, p->labels);
    }
    return n;
}

static int64_t domain_count(const struct constraint *c, struct str value)
{
    return (int64_t)(intptr_t)map_get(&c->counts, value) - 1; /* -1: no such domain */
}

static void count_domains(struct spread *s, struct constraint *list, size_t n, bool need_all_keys)
{
    const struct table *t = s->w->table;
    for (size_t i = 0; i < t->n; i++) {
        if (!t->rows[i].present || (need_all_keys && !has_keys(list, n, t->nodes[i].labels)))
            continue;
        for (size_t k = 0; k < n; k++) {
            struct constraint *c = &list[k];
            const struct val *value = val_key(t->nodes[i].labels, c->key);
            if (!value || !node_counts(s, c, (int)i))
                continue;
            int64_t sum = MAX(domain_count(c, val_str(value)), (int64_t)0) + count_pods(s, c, (int)i);
            map_put(&c->counts, val_str(value), (void *)(intptr_t)(sum + 1));
        }
    }
    for (size_t k = 0; k < n; k++) {
        struct constraint *c = &list[k];
        c->least = INT64_MAX;
        MAP_EACH(&c->counts, e)
        {
            c->least = MIN(c->least, (int64_t)(intptr_t)e->value - 1);
        }
        if ((int64_t)c->counts.n < c->min_domains || c->least == INT64_MAX)
            c->least = 0;
    }
}

struct spread *spread_new(const struct world *w, struct needs *pod, struct arena *a)
{
    struct spread *s = ARENA_NEW(a, struct spread);
    *s = (struct spread){.w = w, .pod = pod, .a = a};
    const struct val *own = val_get(pod->spec, N_topologySpreadConstraints);
    VAL_EACH(own, v)
    {
        read_constraint(s, v);
    }
    s->need_all_keys = val_len(own) > 0;
    if (!s->need_all_keys)
        add_defaults(s);
    if (s->n_hard)
        count_domains(s, s->hard, s->n_hard, true);
    return s;
}

/* ---- filter --------------------------------------------------------------------------------------------------------- */

struct str spread_filter(const struct spread *s, int node, bool *ret_resolvable)
{
    for (size_t i = 0; i < s->n_hard; i++) {
        const struct constraint *c = &s->hard[i];
        const struct val *value = val_key(s->w->table->nodes[node].labels, c->key);
        if (!value) {
            *ret_resolvable = false;
            return STR("node(s) didn't match pod topology spread constraints (missing required label)");
        }
        int64_t here = MAX(domain_count(c, val_str(value)), (int64_t)0);
        if (here + c->self_match - c->least > c->max_skew) {
            *ret_resolvable = true;
            return STR("node(s) didn't match pod topology spread constraints");
        }
    }
    return STR_NULL;
}

/* ---- score ---------------------------------------------------------------------------------------------------------- */

/* Weight of a topology by the number of its values among the candidates: many small domains count more. */
static void weigh(struct spread *s, const int *nodes, size_t n)
{
    for (size_t k = 0; k < s->n_soft; k++) {
        struct constraint *c = &s->soft[k];
        struct map values = MAP_INIT;
        size_t size = 0;
        for (size_t i = 0; i < n; i++) {
            const struct val *labels = s->w->table->nodes[nodes[i]].labels, *value = val_key(labels, c->key);
            if (s->need_all_keys && !has_keys(s->soft, s->n_soft, labels))
                continue;
            if (c->hostname)
                size++;
            else
                map_put(&values, val_str(value), c);
        }
        c->weight = log((double)(c->hostname ? size : values.n) + 2);
        map_done(&values);
    }
}

static double score_node(const struct spread *s, int node)
{
    double score = 0;
    for (size_t k = 0; k < s->n_soft; k++) {
        const struct constraint *c = &s->soft[k];
        const struct val *value = val_key(s->w->table->nodes[node].labels, c->key);
        if (!value)
            continue;
        int64_t n = c->hostname ? count_pods(s, c, node) : MAX(domain_count(c, val_str(value)), (int64_t)0);
        score += (double)n * c->weight + (double)(c->max_skew - 1);
    }
    return score;
}

void spread_score(const struct spread *shared, const int *nodes, size_t n, int64_t *ret)
{
    struct spread *s = (struct spread *)shared; /* its own counts are completed here, once */
    int64_t min = INT64_MAX, max = 0;
    weigh(s, nodes, n);
    count_domains(s, s->soft, s->n_soft, s->need_all_keys);
    for (size_t i = 0; i < n; i++) {
        bool ignored = s->need_all_keys && !has_keys(s->soft, s->n_soft, s->w->table->nodes[nodes[i]].labels);
        ret[i] = ignored ? -1 : (int64_t)lround(score_node(s, nodes[i]));
        if (!ignored) {
            min = MIN(min, ret[i]);
            max = MAX(max, ret[i]);
        }
    }
    for (size_t i = 0; i < n; i++)
        ret[i] = ret[i] < 0 ? 0 : max == 0 ? 100 : 100 * (max + min - ret[i]) / max;
}

void spread_done(struct spread *s)
{
    for (size_t k = 0; k < s->n_soft; k++)
        map_done(&s->soft[k].counts);
    for (size_t k = 0; k < s->n_hard; k++)
        map_done(&s->hard[k].counts);
}
