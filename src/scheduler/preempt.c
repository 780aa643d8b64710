/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/preempt.h"

#include "names.h"
#include "type/meta.h"

enum { MAX_CANDIDATES = 100 };

struct candidate {
    int node;
    struct needs **victims;
    size_t n, violations;
};

struct attempt {
    const struct world *w;
    struct needs *pod;
    const struct val *const *budgets;
    size_t n_budgets;
    struct arena *a;
};

bool preempt_allowed(const struct world *w, const struct needs *pod)
{
    struct str nominated = val_getstr(val_get(pod->pod->val, N_status), N_nominatedNodeName);
    if (str_is(val_getstr(pod->spec, N_preemptionPolicy), "Never"))
        return false;
    int node = nominated.n ? table_find(w->table, nominated) : -1;
    if (node < 0)
        return true;
    LIST_EACH(&w->table->nodes[node].pods, l)
    {
        const struct needs *p = LIST_ENTRY(l, struct needs, on_node);
        if (obj_deleting(p->pod->val) && p->priority < pod->priority)
            return false; /* its place is being made */
    }
    return true;
}

static bool fits(const struct attempt *t, int node)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    bool resolvable;
    struct look *l = look_new(t->w, t->pod, &a);
    bool r = !look_refusal(l).p && !look_fits(l, node, &resolvable).p;
    look_done(l);
    return r;
}

/* A budget that selects nothing by a label guards nothing here (upstream's rule; an eviction thinks otherwise), and a pod
 * that was evicted already is counted. */
static bool guards(const struct val *budget, const struct needs *p)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct selector s;
    return str_eq(obj_namespace(budget), p->pod->namespace_) && val_len(p->labels) > 0 &&
           selector_from_val(&a, val_at(budget, N_spec, N_selector), &s, NULL) == 0 && s.n > 0 &&
           selector_matches(&s, p->labels) && !val_key(val_at(budget, N_status, N_disruptedPods), p->pod->name);
}

/* Does losing the pod violate a budget, those already counted in spent (one number a budget) included? */
static bool violates(const struct attempt *t, const struct needs *p, int64_t *spent)
{
    for (size_t i = 0; i < t->n_budgets; i++)
        if (guards(t->budgets[i], p) &&
            ++spent[i] > val_int(val_at(t->budgets[i], N_status, N_disruptionsAllowed), 0))
            return true;
    return false;
}

/* When it was started; one that was not yet is younger than all others. */
static struct str started(const struct needs *p)
{
    struct str at = val_getstr(val_get(p->pod->val, N_status), N_startTime);
    return at.n ? at : STR("~");
}

/* The most important first: higher priority, then started earlier. */
static int by_importance(const void *a, const void *b)
{
    const struct needs *x = *(struct needs *const *)a, *y = *(struct needs *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return str_cmp(started(x), started(y));
}

/* Those that would violate a budget get their chance to stay first. */
static void order_victims(const struct attempt *t, struct needs **list, size_t n, struct candidate *c)
{
    int64_t *spent = ARENA_ARRAY(t->a, int64_t, t->n_budgets + 1);
    struct needs **violating = ARENA_ARRAY(t->a, struct needs *, n + 1), **others = ARENA_ARRAY(t->a, struct needs *, n + 1);
    size_t n_others = 0;
    qsort(list, n, sizeof(*list), by_importance);
    for (size_t i = 0; i < n; i++)
        if (violates(t, list[i], spent))
            violating[c->violations++] = list[i];
        else
            others[n_others++] = list[i];
    memcpy(list, violating, c->violations * sizeof(*list));
    memcpy(list + c->violations, others, n_others * sizeof(*list));
}

/* All lower pods go; as many as possible come back. Leaves the table as it was. */
static bool try_node(const struct attempt *t, int node, struct candidate *ret)
{
    struct table *table = t->w->table;
    struct needs **lower = ARENA_ARRAY(t->a, struct needs *, table->nodes[node].n_pods + 1);
    size_t n = 0;
    *ret = (struct candidate){.node = node};
    LIST_EACH(&table->nodes[node].pods, l)
    {
        struct needs *p = LIST_ENTRY(l, struct needs, on_node);
        if (p->priority < t->pod->priority)
            lower[n++] = p;
    }
    for (size_t i = 0; i < n; i++)
        table_lift(table, lower[i]);
    bool possible = n > 0 && fits(t, node);
    size_t n_violating = 0;
    if (possible) {
        order_victims(t, lower, n, ret);
        n_violating = ret->violations;
        ret->violations = 0;
        ret->victims = ARENA_ARRAY(t->a, struct needs *, n);
    }
    for (size_t i = 0; i < n; i++) {
        table_drop(table, lower[i], node);
        if (!possible || fits(t, node))
            continue;
        table_lift(table, lower[i]);
        ret->victims[ret->n++] = lower[i];
        ret->violations += i < n_violating;
    }
    for (size_t i = 0; i < ret->n; i++)
        table_drop(table, ret->victims[i], node);
    return possible && ret->n > 0;
}

static int64_t sum_priorities(const struct candidate *c)
{
    int64_t sum = 0;
    for (size_t i = 0; i < c->n; i++)
        sum += (int64_t)c->victims[i]->priority + INT32_MAX + 1;
    return sum;
}

static int32_t highest(const struct candidate *c)
{
    int32_t h = INT32_MIN;
    for (size_t i = 0; i < c->n; i++)
        h = MAX(h, c->victims[i]->priority);
    return h;
}

/* The earliest start of those with the highest priority. */
static struct str earliest(const struct candidate *c)
{
    struct str at = STR("~");
    int32_t top = highest(c);
    for (size_t i = 0; i < c->n; i++)
        if (c->victims[i]->priority == top && str_cmp(started(c->victims[i]), at) < 0)
            at = started(c->victims[i]);
    return at;
}

/* Upstream's order: fewest violations, lowest highest priority, smallest sum, fewest pods, latest start. */
static bool is_better(const struct candidate *a, const struct candidate *b)
{
    if (a->violations != b->violations)
        return a->violations < b->violations;
    if (highest(a) != highest(b))
        return highest(a) < highest(b);
    if (sum_priorities(a) != sum_priorities(b))
        return sum_priorities(a) < sum_priorities(b);
    if (a->n != b->n)
        return a->n < b->n;
    return str_cmp(earliest(a), earliest(b)) > 0;
}

void preempt_find(const struct world *w, struct needs *pod, const struct val *const *budgets, size_t n_budgets,
                  struct arena *a, struct preemption *ret)
{
    struct attempt t = {w, pod, budgets, n_budgets, a};
    struct candidate best = {.node = -1}, c;
    size_t found = 0;
    struct look *l = look_new(w, pod, a);
    *ret = (struct preemption){.node = -1};
    for (size_t i = 0; i < w->table->n && found < MAX_CANDIDATES; i++) {
        bool resolvable;
        if (!w->table->rows[i].present)
            continue;
        if (!look_fits(l, (int)i, &resolvable).p)
            continue;
        if (!resolvable) {
            ret->n_unhelpful++;
        } else if (!try_node(&t, (int)i, &c)) {
            ret->n_no_victims++;
        } else {
            found++;
            if (best.node < 0 || is_better(&c, &best))
                best = c;
        }
    }
    look_done(l);
    ret->node = best.node;
    ret->victims = best.victims;
    ret->n_victims = best.n;
    ret->n_violations = best.violations;
}

struct str preemption_message(struct arena *a, const struct preemption *p, size_t n_nodes)
{
    struct str unhelpful = arena_printf(a, "%zu Preemption is not helpful for scheduling", p->n_unhelpful);
    struct str none = arena_printf(a, "%zu No preemption victims found for incoming pod", p->n_no_victims);
    bool none_first = p->n_no_victims && (!p->n_unhelpful || str_cmp(none, unhelpful) < 0);
    struct str first = none_first ? none : unhelpful, second = none_first ? unhelpful : none;
    if (p->n_unhelpful && p->n_no_victims)
        return arena_printf(a, "preemption: 0/%zu nodes are available: " STR_FMT ", " STR_FMT ".", n_nodes, STR_ARG(first),
                            STR_ARG(second));
    return arena_printf(a, "preemption: 0/%zu nodes are available: " STR_FMT ".", n_nodes, STR_ARG(first));
}
