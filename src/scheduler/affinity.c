/* SPDX-License-Identifier: Apache-2.0 */
/* InterPodAffinity: required and preferred affinity and anti-affinity between pods, both ways. */
#include "scheduler/spread.h"

#include "names.h"
#include "type/meta.h"

/* Counts by (topology key, value). Few distinct keys, so a map a key. */
struct tally {
    struct str key;
    struct map counts; /* value -> number, as pointer */
};

struct tallies {
    struct tally list[32];
    size_t n;
};

struct affinity {
    const struct world *w;
    struct needs *pod;
    struct pod_term *required, *anti;
    size_t n_required, n_anti;
    struct tallies matching, anti_matching; /* pods that match the pod's own terms */
    struct tallies forbidden;               /* where placed pods' anti-affinity keeps the pod out */
    struct tallies wishes;                  /* weights of preferred terms, both ways */
    bool any_match, self_match;
};

static struct tally *tally_of(struct tallies *t, struct str key)
{
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(t->list[i].key, key))
            return &t->list[i];
    if (t->n == ARRAY_SIZE(t->list))
        return NULL;
    t->list[t->n] = (struct tally){.key = key};
    return &t->list[t->n++];
}

static void tally_add(struct tallies *t, struct str key, const struct val *labels, int64_t n)
{
    const struct val *value = val_key(labels, key);
    struct tally *y = value ? tally_of(t, key) : NULL;
    if (y)
        map_put(&y->counts, val_str(value), (void *)((intptr_t)map_get(&y->counts, val_str(value)) + (intptr_t)n));
}

static int64_t tally_get(const struct tallies *t, struct str key, const struct val *labels)
{
    const struct val *value = val_key(labels, key);
    for (size_t i = 0; value && i < t->n; i++)
        if (str_eq(t->list[i].key, key))
            return (int64_t)(intptr_t)map_get(&t->list[i].counts, val_str(value));
    return 0;
}

static size_t read_terms(const struct world *w UNUSED, struct arena *a, const struct val *terms, const struct object *owner,
                         struct pod_term **ret)
{
    size_t n = 0;
    *ret = ARENA_ARRAY(a, struct pod_term, val_len(terms));
    VAL_EACH(terms, t)
    {
        match_read_term(a, t, owner, 0, &(*ret)[n++]);
    }
    return n;
}

static bool matches_all(const struct affinity *f, const struct object *pod)
{
    for (size_t i = 0; i < f->n_required; i++)
        if (!match_term(&f->required[i], pod, f->w->namespace_labels, f->w->ctx))
            return false;
    return f->n_required > 0;
}

static void count_placed(struct affinity *f, const struct needs *placed, const struct val *labels)
{
    bool all = matches_all(f, placed->pod);
    for (size_t i = 0; all && i < f->n_required; i++) {
        f->any_match = f->any_match || val_key(labels, f->required[i].topology_key);
        tally_add(&f->matching, f->required[i].topology_key, labels, 1);
    }
    for (size_t i = 0; i < f->n_anti; i++)
        if (match_term(&f->anti[i], placed->pod, f->w->namespace_labels, f->w->ctx))
            tally_add(&f->anti_matching, f->anti[i].topology_key, labels, 1);
}

static void count_forbidden(struct affinity *f, const struct needs *placed, const struct val *labels, struct arena *a)
{
    VAL_EACH(placed->required_anti_affinity, v)
    {
        struct pod_term t;
        match_read_term(a, v, placed->pod, 0, &t);
        if (match_term(&t, f->pod->pod, f->w->namespace_labels, f->w->ctx))
            tally_add(&f->forbidden, t.topology_key, labels, 1);
    }
}

/* Preferred terms of the pod that a placed one matches (or the other way round) add their weight to the topology. */
static void add_wishes(struct affinity *f, const struct val *preferred, int sign, const struct object *owner,
                       const struct object *other, const struct val *labels, struct arena *a)
{
    VAL_EACH(preferred, v)
    {
        struct pod_term t;
        match_read_term(a, val_get(v, N_podAffinityTerm), owner, val_int(val_get(v, N_weight), 0), &t);
        if (match_term(&t, other, f->w->namespace_labels, f->w->ctx))
            tally_add(&f->wishes, t.topology_key, labels, sign * t.weight);
    }
}

static void count_wishes(struct affinity *f, const struct needs *placed, const struct val *labels, struct arena *a)
{
    const struct object *pod = f->pod->pod;
    const struct profile *p = f->w->profile ? f->w->profile : &default_profile;
    add_wishes(f, f->pod->preferred_affinity, 1, pod, placed->pod, labels, a);
    add_wishes(f, f->pod->preferred_anti_affinity, -1, pod, placed->pod, labels, a);
    bool others = !p->ignore_preferred_of_others || val_len(f->pod->preferred_affinity) ||
                  val_len(f->pod->preferred_anti_affinity);
    if (others) {
        add_wishes(f, placed->preferred_affinity, 1, placed->pod, pod, labels, a);
        add_wishes(f, placed->preferred_anti_affinity, -1, placed->pod, pod, labels, a);
    }
    VAL_EACH(placed->required_affinity, v)
    {
        struct pod_term t;
        match_read_term(a, v, placed->pod, p->hard_pod_affinity_weight, &t);
        if (match_term(&t, pod, f->w->namespace_labels, f->w->ctx))
            tally_add(&f->wishes, t.topology_key, labels, t.weight);
    }
}

static void count_node(struct affinity *f, const struct node *n, bool own_terms, bool wishes)
{
    struct arena scratch CLEANUP_ARENA = ARENA_INIT;
    LIST_EACH(&n->pods, l)
    {
        const struct needs *placed = LIST_ENTRY(l, struct needs, on_node);
        if (own_terms)
            count_placed(f, placed, n->labels);
        if (n->n_anti)
            count_forbidden(f, placed, n->labels, &scratch);
        if (wishes)
            count_wishes(f, placed, n->labels, &scratch);
    }
}

struct affinity *affinity_new(const struct world *w, struct needs *pod, struct arena *a)
{
    struct affinity *f = ARENA_NEW(a, struct affinity);
    *f = (struct affinity){.w = w, .pod = pod};
    f->n_required = read_terms(w, a, pod->required_affinity, pod->pod, &f->required);
    f->n_anti = read_terms(w, a, pod->required_anti_affinity, pod->pod, &f->anti);
    f->self_match = matches_all(f, pod->pod);
    bool own = f->n_required || f->n_anti;
    bool wishes = val_len(pod->preferred_affinity) || val_len(pod->preferred_anti_affinity) || w->table->n_preferring;
    if (!own && !wishes && !w->table->n_anti)
        return f;
    for (size_t i = 0; i < w->table->n; i++)
        if (w->table->rows[i].present)
            count_node(f, &w->table->nodes[i], own, wishes);
    return f;
}

bool affinity_filters(const struct affinity *f)
{
    return f->n_required || f->n_anti || f->forbidden.n;
}

bool affinity_scores(const struct affinity *f)
{
    return f->wishes.n > 0;
}

static bool satisfies_required(const struct affinity *f, const struct val *labels, bool *ret_resolvable)
{
    bool all = true;
    for (size_t i = 0; i < f->n_required; i++) {
        if (!val_key(labels, f->required[i].topology_key)) {
            *ret_resolvable = false;
            return false;
        }
        all = all && tally_get(&f->matching, f->required[i].topology_key, labels) > 0;
    }
    /* The first pod of a group that wants to be together matches itself. */
    return all || (!f->any_match && f->self_match);
}

struct str affinity_filter(const struct affinity *f, int node, bool *ret_resolvable)
{
    const struct val *labels = f->w->table->nodes[node].labels;
    *ret_resolvable = false; /* taking pods away brings no pod to be near to */
    if (!satisfies_required(f, labels, ret_resolvable))
        return STR("node(s) didn't match pod affinity rules");
    *ret_resolvable = true;
    for (size_t i = 0; i < f->n_anti; i++)
        if (tally_get(&f->anti_matching, f->anti[i].topology_key, labels) > 0)
            return STR("node(s) didn't match pod anti-affinity rules");
    for (size_t i = 0; i < f->forbidden.n; i++)
        if (tally_get(&f->forbidden, f->forbidden.list[i].key, labels) > 0)
            return STR("node(s) didn't satisfy existing pods anti-affinity rules");
    return STR_NULL;
}

void affinity_score(const struct affinity *shared, const int *nodes, size_t n, int64_t *ret)
{
    struct affinity *f = (struct affinity *)shared;
    int64_t min = INT64_MAX, max = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        ret[i] = 0;
        for (size_t k = 0; k < f->wishes.n; k++)
            ret[i] += tally_get(&f->wishes, f->wishes.list[k].key, f->w->table->nodes[nodes[i]].labels);
        min = MIN(min, ret[i]);
        max = MAX(max, ret[i]);
    }
    for (size_t i = 0; i < n; i++)
        ret[i] = max > min ? 100 * (ret[i] - min) / (max - min) : 0;
}

static void tallies_done(struct tallies *t)
{
    for (size_t i = 0; i < t->n; i++)
        map_done(&t->list[i].counts);
}

void affinity_done(struct affinity *f)
{
    tallies_done(&f->matching);
    tallies_done(&f->anti_matching);
    tallies_done(&f->forbidden);
    tallies_done(&f->wishes);
}
