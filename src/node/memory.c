/* SPDX-License-Identifier: Apache-2.0 */
#include "node/memory.h"

#include "node/checkpoint.h"
#include "node/kubelet-internal.h"

/* ---- amounts --------------------------------------------------------------------------------------------------- */

static void add_requests(const struct numa_machine *m, const struct val *container, struct memory_amount *to)
{
    for (size_t i = 0; i < m->n_kinds; i++)
        to->of[i] += quantity_units(resource_amount(val_get(container, N_resources), N_requests, m->kinds[i]));
}

static bool any(const struct memory_amount *x)
{
    for (size_t i = 0; i < MEMORY_KINDS; i++)
        if (x->of[i] > 0)
            return true;
    return false;
}

/* The larger of what runs for good and of each init container beside the sidecars before it (KEP-753). */
static void add_pod(const struct numa_machine *m, const struct val *pod, struct memory_amount *to)
{
    struct memory_amount sidecars = {{0}}, most = {{0}};
    VAL_EACH (pod_containers(pod, CK_INIT), c) {
        struct memory_amount one = sidecars;
        add_requests(m, c, container_is_sidecar(c) ? &sidecars : &one);
        for (size_t i = 0; i < m->n_kinds; i++)
            most.of[i] = MAX(most.of[i], one.of[i]);
    }
    *to = sidecars;
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        add_requests(m, c, to);
    for (size_t i = 0; i < m->n_kinds; i++)
        to->of[i] = MAX(to->of[i], most.of[i]);
}

bool memory_wanted(const struct numa_machine *m, const struct val *pod, const struct val *container, struct memory_amount *ret)
{
    *ret = (struct memory_amount){{0}};
    if (pod_qos(pod) != QOS_GUARANTEED || val_len(val_at(pod, N_spec, N_resources, N_requests)))
        return false; /* resources of a Pod as a whole are not handed out by node */
    if (container)
        add_requests(m, container, ret);
    else
        add_pod(m, pod, ret);
    return any(ret);
}

/* ---- state ------------------------------------------------------------------------------------------------------- */

struct memory_state memory_state_new(const struct numa_machine *m, const struct memory_amount *reserved)
{
    struct memory_state s = {.m = m};
    for (size_t n = 0; n < m->n; n++) {
        struct memory_cell *c = &s.cells[n];
        int64_t huge = 0;
        c->group = (numa_mask)1 << n;
        for (size_t i = 1; i < m->n_kinds; i++)
            huge += m->nodes[n].huge[i];
        for (size_t i = 0; i < m->n_kinds; i++) {
            struct memory_table *t = &c->kinds[i];
            t->total = i ? m->nodes[n].huge[i] : m->nodes[n].memory;
            t->system = reserved[n].of[i];
            t->allocatable = MAX(t->total - t->system - (i ? 0 : huge), (int64_t)0);
            t->free_ = t->allocatable;
        }
    }
    return s;
}

static void take(struct memory_state *s, numa_mask nodes, size_t kind, int64_t amount)
{
    for (size_t n = 0; n < s->m->n; n++) {
        if (!(nodes >> n & 1))
            continue;
        struct memory_table *t = &s->cells[n].kinds[kind];
        int64_t here = MIN(amount, t->free_);
        s->cells[n].assignments++;
        s->cells[n].group = nodes;
        t->free_ -= here;
        t->reserved += here;
        amount -= here;
    }
}

/* What a Pod's init containers had of these nodes that its others do not take up. */
static int64_t reusable(const struct memory_grants *g, const char *uid, numa_mask nodes, size_t kind)
{
    int64_t most = 0, taken = 0;
    for (size_t i = 0; uid && i < g->n; i++) {
        const struct memory_grant *x = &g->items[i];
        if (x->nodes != nodes || strcmp(x->uid, uid) != 0)
            continue;
        if (x->reusable)
            most = MAX(most, x->amount.of[kind]);
        else
            taken += x->amount.of[kind];
    }
    return MAX(most - taken, (int64_t)0);
}

struct memory_state memory_state_with(const struct memory_state *empty, const struct memory_grants *g)
{
    struct memory_state s = *empty;
    struct memory_grants before = *g;
    for (before.n = 0; before.n < g->n; before.n++) { /* each beside those before it */
        const struct memory_grant *x = &g->items[before.n];
        for (size_t i = 0; i < s.m->n_kinds; i++)
            if (x->amount.of[i] > 0)
                take(&s, x->nodes, i, MAX(x->amount.of[i] - reusable(&before, x->uid, x->nodes, i), (int64_t)0));
    }
    return s;
}

/* ---- choosing ------------------------------------------------------------------------------------------------------ */

/* Would memory of these nodes mix with what others have of some of them? */
static bool mixes(const struct memory_state *s, numa_mask nodes)
{
    for (size_t n = 0; n < s->m->n; n++)
        if ((nodes >> n & 1) && s->cells[n].assignments && s->cells[n].group != nodes && numa_count(nodes) > 1)
            return true;
    return false;
}

static bool in_other_group(const struct memory_state *s, numa_mask nodes)
{
    return numa_count(nodes) == 1 && numa_count(s->cells[__builtin_ctz(nodes)].group) > 1;
}

static int64_t sum(const struct memory_state *s, numa_mask nodes, size_t kind, bool only_free)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->m->n; i++)
        if (nodes >> i & 1)
            n += only_free ? s->cells[i].kinds[kind].free_ : s->cells[i].kinds[kind].allocatable;
    return n;
}

static bool could_hold(const struct memory_state *s, numa_mask nodes, const struct memory_amount *want)
{
    for (size_t i = 0; i < s->m->n_kinds; i++)
        if (sum(s, nodes, i, false) < want->of[i])
            return false;
    return true;
}

static bool holds(const struct memory_state *s, numa_mask nodes, const struct memory_amount *want, const struct memory_grants *g, const char *uid)
{
    for (size_t i = 0; i < s->m->n_kinds; i++)
        if (want->of[i] > 0 && sum(s, nodes, i, true) + reusable(g, uid, nodes, i) < want->of[i])
            return false;
    return true;
}

struct numa_hints memory_hints(struct arena *a, const struct memory_state *s, const struct memory_amount *want, const struct memory_grants *g,
                               const char *uid)
{
    struct numa_hints h = numa_hints_new(a, s->m);
    int least = (int)s->m->n;
    for (numa_mask set = 1; set <= numa_all(s->m); set++) {
        if (!could_hold(s, set, want))
            continue;
        least = MIN(least, numa_count(set));
        if (!in_other_group(s, set) && !mixes(s, set) && holds(s, set, want, g, uid))
            numa_hints_add(&h, set);
    }
    numa_hints_prefer(&h, least);
    return h;
}

int memory_choose(const struct memory_state *s, const struct memory_amount *want, const struct memory_grants *g, const char *uid,
                  struct numa_hint hint, numa_mask *ret, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct numa_hints h = memory_hints(&a, s, want, g, uid), wider = numa_hints_new(&a, s->m);
    struct numa_hint best = hint;
    int r = 0;
    if (!hint.nodes) {
        best = numa_hints_best(&h);
        if (!best.nodes)
            r = err_set(e, -ENOMEM, "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available");
        else if (hint.preferred && !best.preferred)
            r = err_set(e, -ENOMEM, "[memorymanager] failed to find the default preferred hint");
    } else if (!holds(s, hint.nodes, want, g, uid)) {
        for (size_t i = 0; i < h.n; i++)
            if ((h.items[i].nodes & hint.nodes) == hint.nodes)
                wider.items[wider.n++] = h.items[i];
        best = numa_hints_best(&wider);
        if (!best.nodes)
            r = err_set(e, -ENOMEM, "[memorymanager] failed to find NUMA nodes to extend the current topology hint");
        else if (hint.preferred && !best.preferred)
            r = err_set(e, -ENOMEM, "[memorymanager] failed to find the extended preferred hint");
    }
    if (r == 0 && mixes(s, best.nodes))
        r = err_set(e, -ENOMEM, "[memorymanager] preferred hint violates NUMA node allocation");
    if (r == 0)
        *ret = best.nodes;
    arena_done(&a);
    return r;
}

/* ---- what is set aside ------------------------------------------------------------------------------------------------ */

static int kind_of(const struct numa_machine *m, struct str name)
{
    for (size_t i = 0; i < m->n_kinds; i++)
        if (str_is(name, m->kinds[i]))
            return (int)i;
    return -1;
}

/* One "resource=quantity"; the first of a node has its number before it. */
static int reserve_one(const struct numa_machine *m, struct str one, size_t *at, struct memory_amount *ret, struct err *e)
{
    struct str id, item, name, amount;
    struct quantity q;
    int64_t number;
    if (str_cut(one, ':', &id, &item)) {
        if (str_to_i64(str_trim(id), &number) < 0)
            return err_set(e, -EINVAL, "invalid reserved memory \"" STR_FMT "\": expected node:resource=quantity", STR_ARG(one));
        for (*at = 0; *at < m->n && m->nodes[*at].id != number;)
            ++*at;
        if (*at == m->n)
            return err_set(e, -EINVAL, "the reserved memory configuration references a NUMA node %lld that does not exist on this machine", (long long)number);
    } else {
        item = one;
    }
    int kind = *at < m->n && str_cut(item, '=', &name, &amount) ? kind_of(m, str_trim(name)) : -1;
    if (kind < 0 || quantity_parse(amount, &q, NULL) < 0)
        return err_set(e, -EINVAL, "invalid reserved memory \"" STR_FMT "\": expected memory or hugepages-<size> with a quantity", STR_ARG(one));
    ret[*at].of[kind] += quantity_units(q);
    return 0;
}

int memory_reserved_parse(const struct numa_machine *m, const char *text, const struct memory_amount *node_reserved, struct memory_amount *ret, struct err *e)
{
    struct str rest = str_of(text ? text : ""), one;
    int64_t all = 0;
    size_t at = m->n;
    int r = 0;
    while (r == 0 && rest.n && str_next(&rest, ',', &one))
        r = reserve_one(m, one, &at, ret, e);
    for (size_t i = 0; r == 0 && i < m->n_kinds; i++) {
        int64_t total = 0;
        char is[QUANTITY_TEXT_MAX], wanted[QUANTITY_TEXT_MAX];
        for (size_t n = 0; n < m->n; n++)
            total += ret[n].of[i];
        if (total != node_reserved->of[i])
            r = err_set(e, -EINVAL, "the total amount \"%s\" of type \"%s\" is not equal to the value \"%s\" determined by Node Allocatable feature",
                        quantity_text(quantity_of(total, QUANTITY_BINARY_SI), is), m->kinds[i],
                        quantity_text(quantity_of(node_reserved->of[i], QUANTITY_BINARY_SI), wanted));
        all += i == 0 ? total : 0;
    }
    return r == 0 && all <= 0 ? err_set(e, -EINVAL, "[memorymanager] you should specify the system reserved memory") : r;
}

/* ---- the manager ---------------------------------------------------------------------------------------------------------- */

struct memory_manager {
    struct memory_state empty;
    struct memory_grants grants;
    struct arena earlier_arena;
    const struct val *earlier; /* what the file said when we began */
};

static struct memory_state state_of(const struct memory_manager *m)
{
    return memory_state_with(&m->empty, &m->grants);
}

int memory_start(struct kubelet *k, struct err *e)
{
    const char *policy = k->cfg.memory_policy;
    struct memory_amount reserved[NUMA_MOST] = {0}, node = {{0}};
    if (!policy || !*policy || !strcmp(policy, "None"))
        return 0;
    if (strcmp(policy, "Static") != 0)
        return err_set(e, -EINVAL, "unknown memory manager policy: \"%s\"", policy);
    for (size_t i = 0; i < k->machine->n_kinds; i++)
        node.of[i] = i ? 0 : k->facts.memory - node_allocatable_of(k, "memory");
    int r = memory_reserved_parse(k->machine, k->cfg.reserved_memory, &node, reserved, e);
    if (r < 0)
        return r;
    k->memory = NEW(struct memory_manager);
    k->memory->empty = memory_state_new(k->machine, reserved);
    k->memory->earlier = checkpoint_read(k, CHECKPOINT_MEMORY, &k->memory->earlier_arena);
    return 0;
}

static void grant_free(struct memory_grant *g)
{
    free(g->uid);
    free(g->container);
}

void memory_stop(struct kubelet *k)
{
    struct memory_manager *m = k->memory;
    if (!m)
        return;
    for (size_t i = 0; i < m->grants.n; i++)
        grant_free(&m->grants.items[i]);
    free(m->grants.items);
    arena_done(&m->earlier_arena);
    free(m);
    k->memory = NULL;
}

/* ---- the file ----------------------------------------------------------------------------------------------------------- */

static struct val *node_list(struct arena *a, const struct numa_machine *m, numa_mask nodes)
{
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < m->n; i++)
        if (nodes >> i & 1)
            val_add(a, list, val_of_int(m->nodes[i].id));
    return list;
}

static struct val *state_val(struct arena *a, const struct memory_state *s)
{
    struct val *all = val_new(a, VAL_MAP);
    for (size_t n = 0; n < s->m->n; n++) {
        struct val *one = val_new(a, VAL_MAP), *map = val_new(a, VAL_MAP);
        for (size_t i = 0; i < s->m->n_kinds; i++) {
            const struct memory_table *t = &s->cells[n].kinds[i];
            struct val *table = val_new(a, VAL_MAP);
            val_put(a, table, STR("total"), val_of_int(t->total));
            val_put(a, table, STR("systemReserved"), val_of_int(t->system));
            val_put(a, table, STR("allocatable"), val_of_int(t->allocatable));
            val_put(a, table, STR("reserved"), val_of_int(t->reserved));
            val_put(a, table, STR("free"), val_of_int(t->free_));
            val_put(a, map, str_of(s->m->kinds[i]), *table);
        }
        val_put(a, one, STR("numberOfAssignments"), val_of_int(s->cells[n].assignments));
        val_put(a, one, STR("memoryMap"), *map);
        val_put(a, one, STR("cells"), *node_list(a, s->m, s->cells[n].group));
        val_put(a, all, arena_printf(a, "%d", s->m->nodes[n].id), *one);
    }
    return all;
}

static struct val *blocks_val(struct arena *a, const struct numa_machine *m, const struct memory_grant *g)
{
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < m->n_kinds; i++) {
        struct val *b = val_new(a, VAL_MAP);
        if (g->amount.of[i] <= 0)
            continue;
        val_put(a, b, STR("numaAffinity"), *node_list(a, m, g->nodes));
        val_put(a, b, STR("type"), val_of_str(str_of(m->kinds[i])));
        val_put(a, b, STR("size"), val_of_int(g->amount.of[i]));
        val_add(a, list, *b);
    }
    return list;
}

struct val *memory_checkpoint(const struct kubelet *k, struct arena *a)
{
    const struct memory_manager *m = k->memory;
    struct memory_state s = state_of(m);
    struct val *data = val_new(a, VAL_MAP), *entries = val_new(a, VAL_MAP);
    for (size_t i = 0; i < m->grants.n; i++) {
        const struct memory_grant *g = &m->grants.items[i];
        const struct val *pod = val_key(entries, str_of(g->uid));
        struct val *containers = pod ? val_copy(a, pod) : val_new(a, VAL_MAP);
        val_put(a, containers, str_of(g->container), *blocks_val(a, s.m, g));
        val_put(a, entries, str_of(g->uid), *containers);
    }
    val_put(a, data, STR("policyName"), val_of_str(STR("Static")));
    val_put(a, data, STR("machineState"), *state_val(a, &s));
    val_put(a, data, STR("entries"), *entries);
    return data;
}

/* ---- containers --------------------------------------------------------------------------------------------------------- */

static struct memory_grant *find(const struct memory_manager *m, const char *uid, struct str container)
{
    for (size_t i = 0; i < m->grants.n; i++)
        if (!strcmp(m->grants.items[i].uid, uid) && str_is(container, m->grants.items[i].container))
            return &m->grants.items[i];
    return NULL;
}

static void grant(struct kubelet *k, const struct worker *w, const struct val *container, enum container_kind kind, const struct memory_amount *amount,
                  numa_mask nodes)
{
    struct memory_grants *g = &k->memory->grants;
    if (g->n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 16;
        g->items = xrealloc(g->items, g->cap * sizeof(*g->items));
    }
    g->items[g->n++] = (struct memory_grant){xstrdup(w->uid), str_dup(val_getstr(container, N_name)), *amount, nodes,
                                             kind == CK_INIT && !container_is_sidecar(container)};
}

bool memory_hint(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct numa_hints *ret)
{
    struct memory_manager *m = w->k->memory;
    struct memory_amount want;
    if (!m || !memory_wanted(m->empty.m, pod, container, &want))
        return false;
    struct memory_state s = state_of(m);
    *ret = memory_hints(a, &s, &want, &m->grants, w->uid);
    return true;
}

int memory_allocate(struct worker *w, const struct val *pod, const struct val *container, struct numa_hint hint, struct err *e)
{
    struct memory_manager *m = w->k->memory;
    struct memory_amount want;
    numa_mask nodes;
    enum container_kind kind = CK_MAIN;
    if (!m || find(m, w->uid, val_getstr(container, N_name)) || !memory_wanted(m->empty.m, pod, container, &want))
        return 0;
    struct memory_state s = state_of(m);
    int r = memory_choose(&s, &want, &m->grants, w->uid, hint, &nodes, e);
    if (r < 0)
        return r;
    pod_find_container(pod, val_getstr(container, N_name), &kind);
    grant(w->k, w, container, kind, &want, nodes);
    checkpoint_touch(w->k);
    return 0;
}

struct str memory_nodes_of(const struct kubelet *k, const char *uid, struct str container, struct arena *a)
{
    const struct memory_grant *g = k->memory ? find(k->memory, uid, container) : NULL;
    return g ? numa_text(a, k->machine, g->nodes) : STR("");
}

static numa_mask mask_of_ids(const struct numa_machine *m, const struct val *ids)
{
    numa_mask mask = 0;
    VAL_EACH (ids, id)
        for (size_t i = 0; i < m->n; i++)
            if (m->nodes[i].id == val_int(id, -1))
                mask |= (numa_mask)1 << i;
    return mask;
}

/* Who runs already has what the file says; the amounts are the Pod's. */
void memory_recall(struct worker *w)
{
    struct memory_manager *m = w->k->memory;
    struct memory_amount want;
    for (int kind = CK_INIT; m && w->pod && kind <= CK_MAIN; kind++)
        VAL_EACH (pod_containers(w->pod->val, (enum container_kind)kind), c) {
            const struct val *blocks = val_key(val_key(val_key(m->earlier, STR("entries")), str_of(w->uid)), val_getstr(c, N_name));
            numa_mask nodes = mask_of_ids(m->empty.m, val_key(val_item(blocks, 0), STR("numaAffinity")));
            if (nodes && !find(m, w->uid, val_getstr(c, N_name)) && memory_wanted(m->empty.m, w->pod->val, c, &want))
                grant(w->k, w, c, (enum container_kind)kind, &want, nodes);
        }
}

void memory_release(struct worker *w)
{
    struct memory_manager *m = w->k->memory;
    size_t kept = 0;
    for (size_t i = 0; m && i < m->grants.n; i++) {
        if (strcmp(m->grants.items[i].uid, w->uid) != 0)
            m->grants.items[kept++] = m->grants.items[i];
        else
            grant_free(&m->grants.items[i]);
    }
    if (m && kept != m->grants.n) {
        m->grants.n = kept;
        checkpoint_touch(w->k);
    }
}

/* ---- telling ----------------------------------------------------------------------------------------------------------- */

static void report(struct arena *a, const struct numa_machine *m, size_t kind, int64_t size, numa_mask nodes, struct val *list)
{
    struct val *o = val_add_obj(a, list);
    val_set_str(a, o, N_memory_type, str_of(m->kinds[kind]));
    val_set_int(a, o, N_size, size);
    struct val *to = val_sub_list(a, val_sub_obj(a, o, N_topology), N_nodes);
    for (size_t n = 0; n < m->n; n++)
        if (nodes >> n & 1)
            val_set_int(a, val_add_obj(a, to), N_ID, m->nodes[n].id);
}

void memory_report(const struct kubelet *k, struct arena *a, const char *uid, struct str container, struct val *list)
{
    const struct memory_manager *m = k->memory;
    const struct memory_grant *g = m && uid ? find(m, uid, container) : NULL;
    for (size_t i = 0; g && i < k->machine->n_kinds; i++)
        if (g->amount.of[i] > 0)
            report(a, k->machine, i, g->amount.of[i], g->nodes, list);
    for (size_t n = 0; m && !uid && n < k->machine->n; n++)
        for (size_t i = 0; i < k->machine->n_kinds; i++)
            if (m->empty.cells[n].kinds[i].allocatable > 0)
                report(a, k->machine, i, m->empty.cells[n].kinds[i].allocatable, (numa_mask)1 << n, list);
}
