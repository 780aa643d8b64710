/* SPDX-License-Identifier: Apache-2.0 */
#include "node/numa.h"

#include "node/host.h"
#include "wire/quantity.h"

#include <stdio.h>

#define SYS_NODES "/sys/devices/system/node"
#define DEFAULT_MOST_NODES 8 /* sets of nodes double with each */

/* ---- the machine -------------------------------------------------------------------------------------------- */

static int read_text(struct host *h, struct arena *a, const char *path, struct str *ret)
{
    int r = h->ops->read_file(h, a, path, 1 << 16, ret, NULL);
    if (r == 0)
        *ret = str_trim(*ret);
    return r;
}

/* "Node 0 MemTotal:  16310648 kB" */
static int64_t memory_of(struct str text)
{
    struct str line;
    long long kib;
    while (str_next(&text, '\n', &line)) {
        ssize_t at = str_find(line, ':');
        if (at > 8 && str_ends(str_slice(line, 0, (size_t)at), STR("MemTotal")) && sscanf(line.p + at + 1, "%lld", &kib) == 1)
            return kib * 1024;
    }
    return 0;
}

static int64_t read_count(struct host *h, struct arena *a, const char *path)
{
    struct str text;
    int64_t n = 0;
    return read_text(h, a, path, &text) == 0 && str_to_i64(text, &n) == 0 ? n : 0;
}

/* Which sizes of huge pages there are; each is a resource. */
static void read_kinds(struct host *h, struct arena *a, struct numa_machine *m)
{
    char **names;
    snprintf(m->kinds[0], sizeof(m->kinds[0]), "memory");
    m->n_kinds = 1;
    if (h->ops->list_dir(h, a, "/sys/kernel/mm/hugepages", &names) < 0)
        return;
    for (; *names && m->n_kinds < MEMORY_KINDS; names++) {
        long long kib;
        char text[QUANTITY_TEXT_MAX];
        if (sscanf(*names, "hugepages-%lldkB", &kib) == 1)
            snprintf(m->kinds[m->n_kinds++], MEMORY_KIND_NAME, "hugepages-%s", quantity_text(quantity_of(kib * 1024, QUANTITY_BINARY_SI), text));
    }
}

static void read_node(struct host *h, struct arena *a, const struct numa_machine *m, struct numa_node *n)
{
    const char *dir = arena_printf(a, SYS_NODES "/node%d", n->id).p;
    struct str text, field;
    if (read_text(h, a, arena_printf(a, "%s/cpulist", dir).p, &text) == 0)
        cpuset_parse(text, &n->cpus);
    if (read_text(h, a, arena_printf(a, "%s/meminfo", dir).p, &text) == 0)
        n->memory = memory_of(text);
    for (size_t i = 1; i < m->n_kinds; i++) {
        int64_t size = quantity_units(quantity_or_zero(str_from(str_of(m->kinds[i]), strlen("hugepages-"))));
        n->huge[i] = size * read_count(h, a, arena_printf(a, "%s/hugepages/hugepages-%lldkB/nr_hugepages", dir, (long long)(size / 1024)).p);
    }
    if (read_text(h, a, arena_printf(a, "%s/distance", dir).p, &text) == 0)
        for (size_t i = 0; i < m->n && str_next(&text, ' ', &field); i++)
            sscanf(field.p, "%d", &n->distance[i]);
}

/* Kernels without NUMA: all is near. */
static void read_single(struct host *h, struct arena *a, struct numa_machine *m)
{
    struct str text;
    m->n = 1;
    m->nodes[0].distance[0] = 10;
    if (read_text(h, a, "/sys/devices/system/cpu/online", &text) == 0)
        cpuset_parse(text, &m->nodes[0].cpus);
    if (read_text(h, a, "/proc/meminfo", &text) == 0) {
        long long kib;
        if (sscanf(text.p, "MemTotal: %lld", &kib) == 1)
            m->nodes[0].memory = kib * 1024;
    }
    for (size_t i = 1; i < m->n_kinds; i++) {
        int64_t size = quantity_units(quantity_or_zero(str_from(str_of(m->kinds[i]), strlen("hugepages-"))));
        m->nodes[0].huge[i] = size * read_count(h, a, arena_printf(a, "/sys/kernel/mm/hugepages/hugepages-%lldkB/nr_hugepages", (long long)(size / 1024)).p);
    }
}

int numa_read(struct host *h, struct numa_machine *ret, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str text;
    struct cpuset ids = {{0}}; /* numbers of nodes are written like those of CPUs */
    int r = 0;
    *ret = (struct numa_machine){.n = 0};
    read_kinds(h, &a, ret);
    if (read_text(h, &a, SYS_NODES "/online", &text) < 0 || cpuset_parse(text, &ids) < 0 || !cpuset_count(&ids))
        read_single(h, &a, ret);
    else if (cpuset_count(&ids) > NUMA_MOST)
        r = err_set(e, -E2BIG, "unsupported on machines with more than %d NUMA Nodes", NUMA_MOST);
    for (int id = 0; r == 0 && id < CPUS_MAX; id++)
        if (cpuset_has(&ids, id))
            ret->nodes[ret->n++].id = id;
    for (size_t i = 0; r == 0 && cpuset_count(&ids) && i < ret->n; i++)
        read_node(h, &a, ret, &ret->nodes[i]);
    arena_done(&a);
    return r;
}

struct str numa_text(struct arena *a, const struct numa_machine *m, numa_mask nodes)
{
    struct cpuset ids = {{0}};
    for (size_t i = 0; i < m->n; i++)
        if (nodes >> i & 1)
            cpuset_add(&ids, m->nodes[i].id);
    return cpuset_text(a, &ids);
}

/* ---- hints ---------------------------------------------------------------------------------------------------- */

struct numa_hints numa_hints_new(struct arena *a, const struct numa_machine *m)
{
    return (struct numa_hints){ARENA_ARRAY(a, struct numa_hint, (size_t)1 << m->n), 0};
}

void numa_hints_add(struct numa_hints *h, numa_mask nodes)
{
    h->items[h->n++] = (struct numa_hint){nodes, false};
}

void numa_hints_prefer(struct numa_hints *h, int least)
{
    for (size_t i = 0; i < h->n; i++)
        h->items[i].preferred = numa_count(h->items[i].nodes) == least;
}

bool numa_narrower(numa_mask a, numa_mask b)
{
    return numa_count(a) != numa_count(b) ? numa_count(a) < numa_count(b) : a < b;
}

struct numa_hint numa_hints_best(const struct numa_hints *h)
{
    struct numa_hint best = {0};
    for (size_t i = 0; i < h->n; i++) {
        const struct numa_hint *one = &h->items[i];
        if (!best.nodes || (one->preferred && !best.preferred) || (one->preferred == best.preferred && numa_narrower(one->nodes, best.nodes)))
            best = *one;
    }
    return best;
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static int index_of(const char *s, const char *const *names, const char *what, struct err *e)
{
    for (int i = 0; names[i]; i++)
        if (!strcmp(s, names[i]))
            return i;
    return err_set(e, -EINVAL, "unknown %s: \"%s\"", what, s);
}

int topology_parse(const char *policy, const char *scope, const char *options, struct topology_options *ret, struct err *e)
{
    static const char *const policies[] = {"none", "best-effort", "restricted", "single-numa-node", NULL}, *const scopes[] = {"container", "pod", NULL};
    struct topology_options o = {.most_nodes = DEFAULT_MOST_NODES};
    struct str rest = str_of(options ? options : ""), one, key, value;
    int p = index_of(policy && *policy ? policy : "none", policies, "policy", e), s = index_of(scope && *scope ? scope : "container", scopes, "scope", e);
    if (p < 0 || s < 0)
        return -EINVAL;
    o.policy = (enum topology_policy)p;
    o.of_pod = s == 1;
    while (rest.n && str_next(&rest, ',', &one)) {
        bool known = str_cut(one, '=', &key, &value);
        if (known && str_is(key, "prefer-closest-numa-nodes")) {
            if (!str_is(value, "true") && !str_is(value, "false"))
                return err_set(e, -EINVAL, "bad value for option \"" STR_FMT "\": \"" STR_FMT "\"", STR_ARG(key), STR_ARG(value));
            o.closest = str_is(value, "true");
        } else if (known && str_is(key, "max-allowable-numa-nodes")) {
            if (str_to_i64(value, &o.most_nodes) < 0 || o.most_nodes < DEFAULT_MOST_NODES)
                return err_set(e, -EINVAL, "the minimum value of \"max-allowable-numa-nodes\" should not be less than %d", DEFAULT_MOST_NODES);
        } else {
            return err_set(e, -EINVAL, "unknown Topology Manager Policy option: \"" STR_FMT "\"", STR_ARG(known ? key : one));
        }
    }
    *ret = o;
    return 0;
}

/* ---- merging -------------------------------------------------------------------------------------------------------- */

static double mean_distance(const struct numa_machine *m, numa_mask nodes)
{
    double sum = 0, n = 0;
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < m->n; j++)
            if ((nodes >> i & 1) && (nodes >> j & 1)) {
                sum += m->nodes[i].distance[j];
                n++;
            }
    return n > 0 ? sum / n : 0;
}

struct merging {
    const struct numa_machine *m;
    bool closest;
    int wanted; /* nodes that the resource needs which needs most */
};

static bool is_better_set(const struct merging *x, numa_mask a, numa_mask b)
{
    if (x->closest && numa_count(a) == numa_count(b)) {
        double da = mean_distance(x->m, a), db = mean_distance(x->m, b);
        if (da < db || db < da)
            return da < db;
    }
    return numa_narrower(a, b);
}

/* Among those that are not preferred: as many nodes as are needed, rather fewer than more. */
static bool is_better(const struct merging *x, struct numa_hint a, struct numa_hint b)
{
    int na = numa_count(a.nodes), nb = numa_count(b.nodes);
    if (a.preferred != b.preferred)
        return a.preferred;
    if (a.preferred || na == nb || nb > x->wanted)
        return is_better_set(x, a.nodes, b.nodes);
    return na <= x->wanted && na > nb;
}

/* What came of combining the lists so far, each outcome once: however many hints there are, there are not more of these
 * than sets of nodes. */
struct outcomes {
    bool *agreed; /* by set: all preferred, and of this very set (0: nobody minded yet) */
    bool *rest;   /* by what was common to them */
};

static struct outcomes outcomes_new(struct arena *a, const struct numa_machine *m)
{
    return (struct outcomes){ARENA_ARRAY(a, bool, (size_t)1 << m->n), ARENA_ARRAY(a, bool, (size_t)1 << m->n)};
}

static void combine(numa_mask all, const struct outcomes *from, const struct numa_hint *h, struct outcomes *to)
{
    for (numa_mask set = 0; set <= all; set++) {
        if (from->rest[set])
            to->rest[h->nodes ? set & h->nodes : set] = true;
        if (!from->agreed[set])
            continue;
        numa_mask common = (set ? set : all) & (h->nodes ? h->nodes : all);
        if (h->preferred && (!h->nodes || !set || h->nodes == set))
            to->agreed[h->nodes ? h->nodes : set] = true;
        else
            to->rest[common] = true;
    }
}

static int nodes_needed(const struct numa_hints *lists, size_t n)
{
    int most = 0;
    for (size_t i = 0; i < n; i++) {
        numa_mask least = 0;
        for (size_t j = 0; j < lists[i].n; j++)
            if (lists[i].items[j].nodes && (!least || numa_narrower(lists[i].items[j].nodes, least)))
                least = lists[i].items[j].nodes;
        most = MAX(most, numa_count(least));
    }
    return most;
}

static bool counts(const struct topology_options *o, const struct numa_hint *h)
{
    return o->policy != TOPOLOGY_SINGLE_NODE || (h->preferred && numa_count(h->nodes) <= 1);
}

bool topology_merge(const struct numa_machine *m, const struct topology_options *o, const struct numa_hints *lists, size_t n,
                    struct numa_hint *ret)
{
    static const struct numa_hint impossible = {0, false};
    struct arena a = ARENA_INIT;
    numa_mask all = numa_all(m);
    struct merging x = {m, o->closest && o->policy != TOPOLOGY_SINGLE_NODE, nodes_needed(lists, n)};
    struct outcomes now = outcomes_new(&a, m);
    struct numa_hint best = {0};
    now.agreed[0] = true;
    for (size_t i = 0; i < n; i++) {
        struct outcomes next = outcomes_new(&a, m);
        for (size_t j = 0; j < lists[i].n; j++)
            if (counts(o, &lists[i].items[j]))
                combine(all, &now, &lists[i].items[j], &next);
        if (!lists[i].n && counts(o, &impossible))
            combine(all, &now, &impossible, &next);
        now = next;
    }
    for (numa_mask set = 0; set <= all; set++) {
        struct numa_hint agreed = {set ? set : all, true}, rest = {set, false};
        if (now.agreed[set] && (!best.nodes || is_better(&x, agreed, best)))
            best = agreed;
        if (now.rest[set] && set && (!best.nodes || is_better(&x, rest, best)))
            best = rest;
    }
    arena_done(&a);
    if (!best.nodes)
        best = (struct numa_hint){all, false};
    if (o->policy == TOPOLOGY_SINGLE_NODE && best.nodes == all)
        best.nodes = 0; /* nobody minds */
    *ret = best;
    return best.preferred || o->policy == TOPOLOGY_BEST_EFFORT || o->policy == TOPOLOGY_NONE;
}
