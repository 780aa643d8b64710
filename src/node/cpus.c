/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cpus.h"

#include "node/checkpoint.h"
#include "node/kubelet-internal.h"

#include <limits.h>
#include <stdio.h>

#define RECONCILE SECONDS(10)

/* ---- taking -------------------------------------------------------------------------------------------------- */

struct taking {
    const struct cpu_topology *t;
    struct cpuset free_, taken;
    size_t left;
};

typedef int group_fn(const struct cpu_place *p);

static int core_of(const struct cpu_place *p)
{
    return p->core;
}

static int cache_of(const struct cpu_place *p)
{
    return p->cache;
}

static int numa_of(const struct cpu_place *p)
{
    return p->numa;
}

static int socket_of(const struct cpu_place *p)
{
    return p->socket;
}

static size_t in_group(const struct taking *x, group_fn *fn, int group, bool only_free)
{
    size_t n = 0;
    for (size_t i = 0; i < x->t->n; i++)
        n += fn(&x->t->cpus[i]) == group && (!only_free || cpuset_has(&x->free_, x->t->cpus[i].cpu));
    return n;
}

static void take_one(struct taking *x, int cpu)
{
    struct cpuset one = {{0}};
    cpuset_add(&one, cpu);
    cpuset_add(&x->taken, cpu);
    x->free_ = cpuset_without(&x->free_, &one);
    x->left--;
}

/* Groups that are free as a whole, as long as a whole one is needed. */
static void take_whole(struct taking *x, group_fn *fn)
{
    for (size_t i = 0; i < x->t->n; i++) {
        int group = fn(&x->t->cpus[i]);
        size_t all = in_group(x, fn, group, false);
        if (all > x->left || in_group(x, fn, group, true) != all)
            continue;
        for (size_t j = 0; j < x->t->n; j++)
            if (fn(&x->t->cpus[j]) == group)
                take_one(x, x->t->cpus[j].cpu);
    }
}

/* Where least is free: what is whole stays whole. */
static void take_single(struct taking *x)
{
    while (x->left) {
        const struct cpu_place *best = NULL;
        size_t least = SIZE_MAX;
        for (size_t i = 0; i < x->t->n; i++) {
            const struct cpu_place *p = &x->t->cpus[i];
            size_t open = (in_group(x, numa_of, p->numa, true) * CPUS_MAX + in_group(x, socket_of, p->socket, true)) * CPUS_MAX +
                          in_group(x, core_of, p->core, true);
            if (cpuset_has(&x->free_, p->cpu) && open < least) {
                least = open;
                best = p;
            }
        }
        if (!best)
            return;
        take_one(x, best->cpu);
    }
}

static struct cpuset group_set(const struct cpu_topology *t, group_fn *fn, int group)
{
    struct cpuset s = {{0}};
    for (size_t i = 0; i < t->n; i++)
        if (fn(&t->cpus[i]) == group)
            cpuset_add(&s, t->cpus[i].cpu);
    return s;
}

/* What is left comes from one cache if one has it all (prefer-align-cpus-by-uncorecache): the fullest such. */
static void keep_to_one_cache(struct taking *x)
{
    int best = -1;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < x->t->n && x->left; i++) {
        size_t open = in_group(x, cache_of, x->t->cpus[i].cache, true);
        if (open >= x->left && open < least) {
            least = open;
            best = x->t->cpus[i].cache;
        }
    }
    if (best < 0)
        return;
    struct cpuset cache = group_set(x->t, cache_of, best), whole = x->free_;
    x->free_ = cpuset_both(&x->free_, &cache);
    take_whole(x, core_of);
    take_single(x);
    x->free_ = cpuset_without(&whole, &x->taken);
}

static size_t groups_of(const struct cpu_topology *t, group_fn *fn)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen = seen || fn(&t->cpus[j]) == fn(&t->cpus[i]);
        n += !seen;
    }
    return n;
}

static bool take_packed(const struct cpu_topology *t, const struct cpuset *free_, size_t n, unsigned options, struct cpuset *ret)
{
    struct taking x = {t, *free_, {{0}}, n};
    bool nodes_first = groups_of(t, numa_of) <= groups_of(t, socket_of); /* the larger groups first */
    if (cpuset_count(free_) < n)
        return false;
    take_whole(&x, nodes_first ? numa_of : socket_of);
    take_whole(&x, nodes_first ? socket_of : numa_of);
    if (options & CPUS_BY_CACHE) {
        take_whole(&x, cache_of);
        keep_to_one_cache(&x);
    }
    take_whole(&x, core_of);
    take_single(&x);
    if (x.left)
        return false;
    *ret = x.taken;
    return true;
}

/* ---- spread evenly over nodes (distribute-cpus-across-numa) --------------------------------------------------- */

static size_t threads_of_core(const struct cpu_topology *t)
{
    size_t cores = groups_of(t, core_of);
    return cores ? t->n / cores : 1;
}

static int sockets_of(const struct cpu_topology *t, numa_mask nodes)
{
    int n = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool first = nodes >> t->cpus[i].numa & 1;
        for (size_t j = 0; j < i; j++)
            first = first && !((nodes >> t->cpus[j].numa & 1) && t->cpus[j].socket == t->cpus[i].socket);
        n += first;
    }
    return n;
}

struct spread {
    const struct cpu_topology *t;
    struct cpuset node[NUMA_MOST]; /* what is free there */
    size_t n, unit;
    bool by_socket; /* nodes of one socket go before what is even */
};

/* So many of each node of the set as makes n; what does not divide goes round where most is left. False: it does not fit. */
static bool share_out(const struct spread *s, numa_mask nodes, size_t n, size_t *share)
{
    size_t k = (size_t)numa_count(nodes), each = n / s->unit / k * s->unit, given = 0, rest;
    if (n % s->unit)
        return false;
    for (size_t i = 0; s->by_socket && i < s->n; i++)
        if (nodes >> i & 1)
            each = MIN(each, cpuset_count(&s->node[i]) / s->unit * s->unit);
    for (size_t i = 0; i < s->n; i++) {
        share[i] = nodes >> i & 1 ? each : 0;
        given += share[i];
        if (share[i] > cpuset_count(&s->node[i]))
            return false;
    }
    for (rest = n - given; rest; rest -= s->unit) {
        size_t best = s->n, most = 0;
        for (size_t i = 0; i < s->n; i++) {
            size_t left = nodes >> i & 1 ? cpuset_count(&s->node[i]) - share[i] : 0;
            if (left >= s->unit && left > most) {
                most = left;
                best = i;
            }
        }
        if (best == s->n)
            return false;
        share[best] += s->unit;
    }
    return true;
}

/* How uneven is what would be free then, and before that whether it crosses sockets when it had better not. */
static size_t unevenness(const struct spread *s, numa_mask nodes, const size_t *share)
{
    size_t least = SIZE_MAX, most = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t left = cpuset_count(&s->node[i]) - share[i];
        if (!cpuset_count(&s->node[i]))
            continue; /* nothing to have there, now or at all */
        least = MIN(least, left);
        most = MAX(most, left);
    }
    return most - least + (s->by_socket && sockets_of(s->t, nodes) > 1 ? CPUS_MAX : 0);
}

static bool take_spread(const struct cpu_topology *t, const struct cpuset *free_, size_t n, unsigned options, struct cpuset *ret)
{
    struct spread s = {.t = t, .unit = options & CPUS_FULL_CORES ? threads_of_core(t) : 1, .by_socket = options & CPUS_BY_SOCKET};
    size_t best_share[NUMA_MOST] = {0}, share[NUMA_MOST] = {0}, least = SIZE_MAX;
    for (size_t i = 0; i < t->n; i++) /* numbers have gaps where a node is memory alone */
        s.n = MAX(s.n, MIN((size_t)t->cpus[i].numa + 1, (size_t)NUMA_MOST));
    for (size_t i = 0; i < s.n; i++) {
        struct cpuset node = group_set(t, numa_of, (int)i);
        s.node[i] = cpuset_both(&node, free_);
    }
    for (int k = 1; k <= (int)s.n && least == SIZE_MAX; k++) /* as few nodes as can be */
        for (numa_mask set = 1; set < (UINT64_C(1) << s.n); set++)
            if (numa_count(set) == k && share_out(&s, set, n, share) && unevenness(&s, set, share) < least) {
                least = unevenness(&s, set, share);
                memcpy(best_share, share, sizeof(share));
            }
    if (least == SIZE_MAX)
        return take_packed(t, free_, n, options, ret);
    struct cpuset all = {{0}}, one;
    for (size_t i = 0; i < s.n; i++)
        if (best_share[i] && take_packed(t, &s.node[i], best_share[i], options, &one))
            all = cpuset_with(&all, &one);
    *ret = all;
    return cpuset_count(&all) == n;
}

bool cpus_take(const struct cpu_topology *t, const struct cpuset *free_, size_t n, unsigned options, struct cpuset *ret)
{
    return options & CPUS_SPREAD ? take_spread(t, free_, n, options, ret) : take_packed(t, free_, n, options, ret);
}

/* ---- from near what else the container has ---------------------------------------------------------------------- */

static struct cpuset of_nodes(const struct cpu_topology *t, numa_mask nodes)
{
    struct cpuset s = {{0}};
    for (size_t i = 0; i < t->n; i++)
        if (nodes >> t->cpus[i].numa & 1)
            cpuset_add(&s, t->cpus[i].cpu);
    return s;
}

/* With align-by-socket, the whole sockets that the nodes are of. */
static struct cpuset aligned(const struct cpu_topology *t, numa_mask nodes, unsigned options)
{
    struct cpuset s = of_nodes(t, nodes), wide = s;
    for (size_t i = 0; options & CPUS_BY_SOCKET && i < t->n; i++)
        for (size_t j = 0; j < t->n; j++)
            if (cpuset_has(&s, t->cpus[j].cpu) && t->cpus[j].socket == t->cpus[i].socket)
                cpuset_add(&wide, t->cpus[i].cpu);
    return wide;
}

bool cpus_take_near(const struct cpu_topology *t, const struct cpuset *free_, size_t n, numa_mask nodes, unsigned options, struct cpuset *ret)
{
    struct cpuset near = aligned(t, nodes, options), first = {{0}}, rest, more;
    near = cpuset_both(&near, free_);
    size_t some = nodes ? MIN(cpuset_count(&near), n) : 0;
    if (some && !cpus_take(t, &near, some, options, &first))
        return false;
    rest = cpuset_without(free_, &first);
    if (!cpus_take(t, &rest, n - some, options, &more))
        return false;
    *ret = cpuset_with(&first, &more);
    return true;
}

struct numa_hints cpus_hints(struct arena *a, const struct numa_machine *m, const struct cpu_topology *t, const struct cpuset *free_,
                             const struct cpuset *reusable, size_t n, unsigned options)
{
    struct numa_hints h = numa_hints_new(a, m);
    struct cpuset have = cpuset_with(free_, reusable);
    int least = (int)m->n, sockets = INT_MAX;
    for (numa_mask set = 1; set <= numa_all(m); set++) {
        struct cpuset all = of_nodes(t, set), here = cpuset_both(&all, &have), again = cpuset_without(reusable, &all);
        if (cpuset_count(&all) >= n) {
            least = MIN(least, numa_count(set));
            sockets = MIN(sockets, sockets_of(t, set));
        }
        if (!cpuset_count(&again) && cpuset_count(&here) >= n)
            numa_hints_add(&h, set);
    }
    numa_hints_prefer(&h, least);
    for (size_t i = 0; options & CPUS_BY_SOCKET && i < h.n; i++)
        h.items[i].preferred = sockets_of(t, h.items[i].nodes) == sockets;
    return h;
}

size_t cpus_exclusive(const struct val *pod, const struct val *container)
{
    struct quantity q = resource_amount(val_get(container, N_resources), N_requests, "cpu");
    int64_t milli = quantity_milli(q);
    return pod_qos(pod) == QOS_GUARANTEED && milli > 0 && milli % 1000 == 0 ? (size_t)(milli / 1000) : 0;
}

/* ---- the manager ------------------------------------------------------------------------------------------------ */

struct cpu_grant {
    char *uid, *container;
    struct cpuset cpus;
    bool reusable; /* of an init container: its Pod's next one may have them */
};

struct cpu_manager {
    struct cpu_topology topology;
    struct cpuset all, reserved;
    const struct numa_machine *machine;
    unsigned options;
    struct cpu_grant *grants;
    size_t n, cap;
    struct arena earlier_arena;
    const struct val *earlier; /* what the file said when we began */
    struct waitq changed;
    bool dirty;
};

bool cpus_static(const struct kubelet *k)
{
    return k->cpus != NULL;
}

static struct cpuset taken_by(const struct cpu_manager *m, const char *but_init_of)
{
    struct cpuset s = {{0}};
    for (size_t i = 0; i < m->n; i++)
        if (!(but_init_of && m->grants[i].reusable && !strcmp(m->grants[i].uid, but_init_of)))
            s = cpuset_with(&s, &m->grants[i].cpus);
    return s;
}

struct cpuset cpus_allocatable(const struct kubelet *k)
{
    return k->cpus ? cpuset_without(&k->cpus->all, &k->cpus->reserved) : (struct cpuset){{0}};
}

static struct cpuset shared(const struct cpu_manager *m)
{
    struct cpuset taken = taken_by(m, NULL);
    if (m->options & CPUS_STRICT)
        taken = cpuset_with(&taken, &m->reserved);
    return cpuset_without(&m->all, &taken);
}

static struct cpu_grant *find(const struct cpu_manager *m, const char *uid, struct str container)
{
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(m->grants[i].uid, uid) && str_is(container, m->grants[i].container))
            return &m->grants[i];
    return NULL;
}

bool cpus_of(const struct kubelet *k, const char *uid, struct str container, struct cpuset *ret)
{
    const struct cpu_grant *g = k->cpus ? find(k->cpus, uid, container) : NULL;
    if (g)
        *ret = g->cpus;
    return g != NULL;
}

static void touch(struct kubelet *k)
{
    k->cpus->dirty = true;
    waitq_wake_all(&k->cpus->changed);
    checkpoint_touch(k);
}

static void grant(struct kubelet *k, const char *uid, struct str container, const struct cpuset *cpus, bool reusable)
{
    struct cpu_manager *m = k->cpus;
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 16;
        m->grants = xrealloc(m->grants, m->cap * sizeof(*m->grants));
    }
    m->grants[m->n++] = (struct cpu_grant){xstrdup(uid), str_dup(container), *cpus, reusable};
    touch(k);
}

/* ---- the machine -------------------------------------------------------------------------------------------------- */

static int read_number(struct kubelet *k, int cpu, const char *what)
{
    struct arena a = ARENA_INIT;
    struct str text;
    int64_t n = 0;
    if (k->host->ops->read_file(k->host, &a, arena_printf(&a, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, what).p, 64, &text, NULL) == 0)
        str_to_i64(str_trim(text), &n);
    arena_done(&a);
    return (int)n;
}

static int node_of(const struct numa_machine *m, int cpu)
{
    for (size_t i = 0; i < m->n; i++)
        if (cpuset_has(&m->nodes[i].cpus, cpu))
            return (int)i;
    return 0;
}

/* The first CPU of its last-level cache; of the socket where the kernel does not tell. */
static int cache_first(struct kubelet *k, int cpu, int socket)
{
    struct arena a = ARENA_INIT;
    struct str text;
    struct cpuset s = {{0}};
    int first = 0;
    if (k->host->ops->read_file(k->host, &a, arena_printf(&a, "/sys/devices/system/cpu/cpu%d/cache/index3/shared_cpu_list", cpu).p, 4096, &text, NULL) < 0 ||
        cpuset_parse(text, &s) < 0 || !cpuset_count(&s))
        first = CPUS_MAX + socket;
    else
        while (!cpuset_has(&s, first))
            first++;
    arena_done(&a);
    return first;
}

int cpus_options_parse(const char *text, unsigned *ret, struct err *e)
{
    static const struct {
        const char *name;
        unsigned option;
    } known[] = {{"full-pcpus-only", CPUS_FULL_CORES}, {"distribute-cpus-across-numa", CPUS_SPREAD},
                 {"align-by-socket", CPUS_BY_SOCKET},  {"strict-cpu-reservation", CPUS_STRICT},
                 {"prefer-align-cpus-by-uncorecache", CPUS_BY_CACHE}};
    struct str rest = str_of(text ? text : ""), one, key, value;
    unsigned all = 0;
    while (rest.n && str_next(&rest, ',', &one)) {
        unsigned option = 0;
        bool cut = str_cut(one, '=', &key, &value);
        for (size_t i = 0; cut && i < ARRAY_SIZE(known); i++)
            if (str_is(key, known[i].name))
                option = known[i].option;
        if (!option)
            return err_set(e, -EINVAL, "unknown CPU Manager Policy option: \"" STR_FMT "\"", STR_ARG(cut ? key : one));
        if (!str_is(value, "true") && !str_is(value, "false"))
            return err_set(e, -EINVAL, "bad value for option \"" STR_FMT "\": \"" STR_FMT "\"", STR_ARG(key), STR_ARG(value));
        all = str_is(value, "true") ? all | option : all & ~option;
    }
    if (all & CPUS_SPREAD && all & CPUS_BY_CACHE)
        return err_set(e, -EINVAL, "static policy options prefer-align-cpus-by-uncorecache and distribute-cpus-across-numa can not be used at the same time");
    *ret = all;
    return 0;
}

static int read_topology(struct kubelet *k, struct cpu_manager *m, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct str text;
    int r = k->host->ops->read_file(k->host, &a, "/sys/devices/system/cpu/online", 4096, &text, e);
    if (r == 0 && cpuset_parse(text, &m->all) < 0)
        r = err_set(e, -EINVAL, "/sys/devices/system/cpu/online is no list of CPUs");
    m->topology.cpus = xcalloc(cpuset_count(&m->all) + 1, sizeof(*m->topology.cpus));
    for (int cpu = 0; cpu < CPUS_MAX && r == 0; cpu++)
        if (cpuset_has(&m->all, cpu)) {
            int socket = read_number(k, cpu, "physical_package_id");
            m->topology.cpus[m->topology.n++] = (struct cpu_place){cpu, socket * CPUS_MAX + read_number(k, cpu, "core_id"), socket,
                                                                   node_of(k->machine, cpu), cache_first(k, cpu, socket)};
        }
    arena_done(&a);
    return r;
}

/* Those named, else as many of the first as is reserved of the resource. */
static int reserve(struct kubelet *k, struct cpu_manager *m, struct err *e)
{
    if (k->cfg.reserved_cpus && *k->cfg.reserved_cpus) {
        if (cpuset_parse(str_of(k->cfg.reserved_cpus), &m->reserved) < 0)
            return err_set(e, -EINVAL, "reserved CPUs \"%s\": expected a list like 0-1,4", k->cfg.reserved_cpus);
    } else {
        int64_t milli = k->facts.cpus * 1000 - node_allocatable_of(k, "cpu");
        size_t n = (size_t)((milli + 999) / 1000);
        for (size_t i = 0; i < m->topology.n && i < n; i++)
            cpuset_add(&m->reserved, m->topology.cpus[i].cpu);
    }
    return cpuset_count(&m->reserved) ? 0
                                      : err_set(e, -EINVAL, "the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero");
}

int cpus_start(struct kubelet *k, struct err *e)
{
    const char *policy = k->cfg.cpu_policy;
    if (!policy || !*policy || !strcmp(policy, "none"))
        return 0;
    if (strcmp(policy, "static") != 0)
        return err_set(e, -EINVAL, "unknown CPU manager policy \"%s\": expected none or static", policy);
    unsigned options;
    int r = cpus_options_parse(k->cfg.cpu_options, &options, e);
    if (r < 0)
        return r;
    struct cpu_manager *m = k->cpus = NEW(struct cpu_manager);
    m->machine = k->machine;
    m->options = options;
    r = read_topology(k, m, e);
    if (r == 0)
        r = reserve(k, m, e);
    if (r == 0)
        m->earlier = checkpoint_read(k, CHECKPOINT_CPUS, &m->earlier_arena);
    return r;
}

static void grant_free(struct cpu_grant *g)
{
    free(g->uid);
    free(g->container);
}

void cpus_stop(struct kubelet *k)
{
    struct cpu_manager *m = k->cpus;
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        grant_free(&m->grants[i]);
    free(m->grants);
    free(m->topology.cpus);
    arena_done(&m->earlier_arena);
    free(m);
    k->cpus = NULL;
}

/* ---- containers ------------------------------------------------------------------------------------------------------ */

static size_t wanted_by(const struct val *pod)
{
    size_t mains = 0, most = 0;
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        mains += cpus_exclusive(pod, c);
    VAL_EACH (pod_containers(pod, CK_INIT), c) {
        if (container_is_sidecar(c))
            mains += cpus_exclusive(pod, c);
        most = MAX(most, cpus_exclusive(pod, c));
    }
    return MAX(mains, most);
}

/* With full-pcpus-only nobody shares a core with somebody else. */
static const char *admit_cores(const struct cpu_manager *m, const struct val *pod, struct arena *a, struct str *ret_message)
{
    size_t threads = threads_of_core(&m->topology);
    for (int kind = CK_INIT; m->options & CPUS_FULL_CORES && kind <= CK_MAIN; kind++)
        VAL_EACH (pod_containers(pod, (enum container_kind)kind), c) {
            size_t n = cpus_exclusive(pod, c);
            if (n % threads == 0)
                continue;
            *ret_message = arena_printf(a, "SMT Alignment Error: requested %zu cpus not multiple cpus per core = %zu", n, threads);
            return "SMTAlignmentError";
        }
    return NULL;
}

/* Cores of which a thread is reserved or taken are nobody's with full-pcpus-only. */
static struct cpuset whole_cores(const struct cpu_manager *m, const struct cpuset *free_)
{
    struct cpuset whole = {{0}};
    if (!(m->options & CPUS_FULL_CORES))
        return *free_;
    for (size_t i = 0; i < m->topology.n; i++) {
        struct cpuset core = group_set(&m->topology, core_of, m->topology.cpus[i].core), broken = cpuset_without(&core, free_);
        if (!cpuset_count(&broken))
            whole = cpuset_with(&whole, &core);
    }
    return whole;
}

static struct cpuset available(const struct kubelet *k, const char *uid)
{
    struct cpuset taken = taken_by(k->cpus, uid), free_ = cpus_allocatable(k);
    free_ = cpuset_without(&free_, &taken);
    return whole_cores(k->cpus, &free_);
}

const char *cpus_admit(struct kubelet *k, const struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message)
{
    size_t wanted = k->cpus ? wanted_by(pod) : 0, promised = 0;
    if (!wanted)
        return NULL;
    MAP_EACH (&k->workers, m) {
        const struct worker *o = m->value;
        if (o != w && o->started && o->pod && o->stage < WORKER_TERMINATED && !o->fail_reason && !pod_terminal(o->pod->val))
            promised += wanted_by(o->pod->val);
    }
    const char *why = admit_cores(k->cpus, pod, a, ret_message);
    if (why || k->topology.policy != TOPOLOGY_NONE)
        return why; /* what is left is counted when it is handed out, at once (align.c) */
    struct cpuset all = cpus_allocatable(k);
    all = whole_cores(k->cpus, &all);
    size_t have = cpuset_count(&all), left = have > promised ? have - promised : 0;
    if (wanted <= left)
        return NULL;
    if (k->cpus->options & CPUS_FULL_CORES) {
        *ret_message = arena_printf(a, "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = %zu, requested CPUs = %zu, CPUs per core = %zu",
                                    left, wanted, threads_of_core(&k->cpus->topology));
        return "SMTAlignmentError";
    }
    *ret_message = arena_printf(a, "Allocate failed due to not enough cpus available to satisfy request: requested=%zu, available=%zu, which is unexpected",
                                wanted, left);
    return "UnexpectedAdmissionError";
}

/* What its init containers had, and those after them may have again. */
static struct cpuset reusable_of(const struct cpu_manager *m, const char *uid)
{
    struct cpuset s = {{0}}, kept = {{0}};
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(m->grants[i].uid, uid)) {
            struct cpuset *to = m->grants[i].reusable ? &s : &kept;
            *to = cpuset_with(to, &m->grants[i].cpus);
        }
    return cpuset_without(&s, &kept);
}

bool cpus_hint(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct numa_hints *ret)
{
    struct cpu_manager *m = w->k->cpus;
    size_t n = !m ? 0 : container ? cpus_exclusive(pod, container) : wanted_by(pod);
    if (!n)
        return false;
    struct cpuset again = reusable_of(m, w->uid), free_ = available(w->k, w->uid);
    again = cpuset_both(&again, &free_);
    *ret = cpus_hints(a, m->machine, &m->topology, &free_, &again, n, m->options);
    return true;
}

int cpus_allocate(struct worker *w, const struct val *pod, const struct val *container, numa_mask nodes, struct err *e)
{
    struct cpu_manager *m = w->k->cpus;
    struct str name = val_getstr(container, N_name);
    size_t n = m ? cpus_exclusive(pod, container) : 0;
    enum container_kind kind = CK_MAIN;
    pod_find_container(pod, name, &kind);
    if (!n || kind == CK_EPHEMERAL || find(m, w->uid, name))
        return 0;
    struct cpuset free_ = available(w->k, w->uid), mine;
    if (!cpus_take_near(&m->topology, &free_, n, nodes, m->options, &mine))
        return err_set(e, -EBUSY, "not enough cpus available to satisfy request: requested=%zu, available=%zu", n, cpuset_count(&free_));
    grant(w->k, w->uid, name, &mine, kind == CK_INIT && !container_is_sidecar(container));
    return 0;
}

int cpus_prepare(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct str *ret, struct err *e)
{
    struct cpu_manager *m = w->k->cpus;
    *ret = STR_NULL;
    if (!m)
        return 0;
    int r = cpus_allocate(w, pod, container, 0, e);
    const struct cpu_grant *g = find(m, w->uid, val_getstr(container, N_name));
    struct cpuset s = g ? g->cpus : shared(m);
    if (r == 0)
        *ret = cpuset_text(a, &s);
    return r;
}

struct val *cpus_checkpoint(const struct kubelet *k, struct arena *a)
{
    const struct cpu_manager *m = k->cpus;
    struct val *data = val_new(a, VAL_MAP), *entries = val_new(a, VAL_MAP);
    struct cpuset rest = shared(m);
    for (size_t i = 0; i < m->n; i++) {
        const struct val *pod = val_key(entries, str_of(m->grants[i].uid));
        struct val *containers = pod ? val_copy(a, pod) : val_new(a, VAL_MAP);
        val_put_str(a, containers, str_of(m->grants[i].container), cpuset_text(a, &m->grants[i].cpus));
        val_put(a, entries, str_of(m->grants[i].uid), *containers);
    }
    val_put_str(a, data, STR("policyName"), STR("static"));
    val_put_str(a, data, STR("defaultCpuSet"), cpuset_text(a, &rest));
    val_put(a, data, STR("entries"), *entries);
    return data;
}

/* What the runtime or the file says may be of another policy's days: no CPU gets two owners by it. */
static bool nobody_else_s(const struct cpu_manager *m, const char *uid, const struct cpuset *s)
{
    struct cpuset taken = taken_by(m, uid), both = cpuset_both(s, &taken);
    return !cpuset_count(&both);
}

/* Containers that were promised some and were not made yet. */
static void recall_earlier(struct worker *w)
{
    struct cpu_manager *m = w->k->cpus;
    const struct val *mine = val_key(val_key(m->earlier, STR("entries")), str_of(w->uid));
    VAL_EACH_ENTRY (mine, name, text) {
        enum container_kind kind = CK_MAIN;
        const struct val *spec = pod_find_container(w->pod->val, val_str(name), &kind);
        struct cpuset s;
        if (!spec || find(m, w->uid, val_str(name)) || cpuset_parse(val_str(text), &s) < 0 || cpuset_count(&s) != cpus_exclusive(w->pod->val, spec))
            continue;
        if (nobody_else_s(m, w->uid, &s))
            grant(w->k, w->uid, val_str(name), &s, kind == CK_INIT && !container_is_sidecar(spec));
    }
}

void cpus_recall(struct worker *w)
{
    struct cpu_manager *m = w->k->cpus;
    for (size_t i = 0; m && w->pod && w->state && i < w->state->n_containers; i++) {
        const struct rt_container *c = &w->state->containers[i];
        enum container_kind kind;
        const struct val *spec = pod_find_container(w->pod->val, c->name, &kind);
        struct cpuset s;
        size_t n = spec && kind != CK_EPHEMERAL ? cpus_exclusive(w->pod->val, spec) : 0;
        if (c->state == RT_RUNNING && n && c->cpuset.n && cpuset_parse(c->cpuset, &s) == 0 && cpuset_count(&s) == n && !find(m, w->uid, c->name) &&
            nobody_else_s(m, w->uid, &s))
            grant(w->k, w->uid, c->name, &s, kind == CK_INIT && !container_is_sidecar(spec));
    }
    if (m && w->pod)
        recall_earlier(w);
}

void cpus_release(struct worker *w)
{
    struct cpu_manager *m = w->k->cpus;
    size_t kept = 0;
    for (size_t i = 0; m && i < m->n; i++) {
        if (strcmp(m->grants[i].uid, w->uid) != 0)
            m->grants[kept++] = m->grants[i];
        else
            grant_free(&m->grants[i]);
    }
    if (m && kept != m->n) {
        m->n = kept;
        touch(w->k);
    }
}

/* ---- those that share ---------------------------------------------------------------------------------------------------- */

static void reconcile_pod(struct kubelet *k, const char *uid)
{
    struct worker *w = worker_find(k, str_of(uid));
    struct podstate *s CLEANUP_PODSTATE = w && w->stage == WORKER_SYNCING ? podstate_ref(w->state) : NULL;
    bool moved = false;
    for (size_t i = 0; s && i < s->n_containers; i++) {
        const struct rt_container *c = &s->containers[i];
        struct arena a = ARENA_INIT;
        const struct cpu_grant *g = find(k->cpus, uid, c->name);
        struct cpuset want = g ? g->cpus : shared(k->cpus), have = {{0}};
        if (c->state == RT_RUNNING && !(c->cpuset.n && cpuset_parse(c->cpuset, &have) == 0 && cpuset_equal(&have, &want))) {
            struct val *r = val_new(&a, VAL_OBJ);
            val_set_str(&a, r, N_cpuset_cpus, cpuset_text(&a, &want));
            moved = runtime_update_container(k->rt, c->id, r, NULL) == 0 || moved;
        }
        arena_done(&a);
    }
    if (moved)
        pleg_refresh(k, str_of(uid), NULL);
}

void cpus_run(void *arg)
{
    struct kubelet *k = arg;
    struct cpu_manager *m = k->cpus;
    while (m && !fiber_cancelled()) {
        struct arena a = ARENA_INIT;
        struct str *uids = ARENA_ARRAY(&a, struct str, k->workers.n + 1);
        size_t n = 0;
        m->dirty = false;
        MAP_EACH (&k->workers, e)
            uids[n++] = arena_str(&a, e->key);
        for (size_t i = 0; i < n && !fiber_cancelled(); i++)
            reconcile_pod(k, uids[i].p);
        arena_done(&a);
        if (!m->dirty)
            waitq_wait(&m->changed, mono_add(os_mono(), RECONCILE));
    }
}
