/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cpus.h"

#include "node/kubelet-internal.h"

#include <stdio.h>

#define RECONCILE SECONDS(10)

/* ---- sets ------------------------------------------------------------------------------------------------- */

size_t cpuset_count(const struct cpuset *s)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(s->bits); i++)
        n += (size_t)__builtin_popcountll(s->bits[i]);
    return n;
}

struct cpuset cpuset_without(const struct cpuset *a, const struct cpuset *b)
{
    struct cpuset s = *a;
    for (size_t i = 0; i < ARRAY_SIZE(s.bits); i++)
        s.bits[i] &= ~b->bits[i];
    return s;
}

struct cpuset cpuset_with(const struct cpuset *a, const struct cpuset *b)
{
    struct cpuset s = *a;
    for (size_t i = 0; i < ARRAY_SIZE(s.bits); i++)
        s.bits[i] |= b->bits[i];
    return s;
}

bool cpuset_equal(const struct cpuset *a, const struct cpuset *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

int cpuset_parse(struct str s, struct cpuset *ret)
{
    struct cpuset out = {{0}};
    struct str part, from, to;
    s = str_trim(s);
    while (s.n && str_next(&s, ',', &part)) {
        int64_t a, b;
        if (!str_cut(part, '-', &from, &to))
            from = to = part;
        if (str_to_i64(from, &a) < 0 || str_to_i64(to, &b) < 0 || a < 0 || b < a || b >= CPUS_MAX)
            return -EINVAL;
        for (; a <= b; a++)
            cpuset_add(&out, (int)a);
    }
    *ret = out;
    return 0;
}

struct str cpuset_text(struct arena *a, const struct cpuset *s)
{
    struct buf b = BUF_INIT;
    for (int i = 0, end; i < CPUS_MAX; i = end + 1) {
        end = i;
        if (!cpuset_has(s, i))
            continue;
        while (cpuset_has(s, end + 1))
            end++;
        buf_printf(&b, end > i ? "%s%d-%d" : "%s%d", b.n ? "," : "", i, end);
    }
    struct str r = arena_str(a, buf_str(&b));
    buf_done(&b);
    return r;
}

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

/* Sockets or cores that are free as a whole, as long as a whole one is needed. */
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
            size_t open = in_group(x, socket_of, p->socket, true) * CPUS_MAX + in_group(x, core_of, p->core, true);
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

bool cpus_take(const struct cpu_topology *t, const struct cpuset *free_, size_t n, struct cpuset *ret)
{
    struct taking x = {t, *free_, {{0}}, n};
    if (cpuset_count(free_) < n)
        return false;
    take_whole(&x, socket_of);
    take_whole(&x, core_of);
    take_single(&x);
    if (x.left)
        return false;
    *ret = x.taken;
    return true;
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
    struct cpu_grant *grants;
    size_t n, cap;
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

static void touch(struct cpu_manager *m)
{
    m->dirty = true;
    waitq_wake_all(&m->changed);
}

static void grant(struct cpu_manager *m, const char *uid, struct str container, const struct cpuset *cpus, bool reusable)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 16;
        m->grants = xrealloc(m->grants, m->cap * sizeof(*m->grants));
    }
    m->grants[m->n++] = (struct cpu_grant){xstrdup(uid), str_dup(container), *cpus, reusable};
    touch(m);
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
            m->topology.cpus[m->topology.n++] = (struct cpu_place){cpu, socket * CPUS_MAX + read_number(k, cpu, "core_id"), socket};
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
    struct cpu_manager *m = k->cpus = NEW(struct cpu_manager);
    int r = read_topology(k, m, e);
    return r == 0 ? reserve(k, m, e) : r;
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
    struct cpuset all = cpus_allocatable(k);
    size_t have = cpuset_count(&all), left = have > promised ? have - promised : 0;
    if (wanted <= left)
        return NULL;
    *ret_message = arena_printf(a, "Allocate failed due to not enough cpus available to satisfy request: requested=%zu, available=%zu, which is unexpected",
                                wanted, left);
    return "UnexpectedAdmissionError";
}

int cpus_prepare(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct str *ret, struct err *e)
{
    struct cpu_manager *m = w->k->cpus;
    struct str name = val_getstr(container, N_name);
    size_t n = m ? cpus_exclusive(pod, container) : 0;
    enum container_kind kind = CK_MAIN;
    *ret = STR_NULL;
    if (!m)
        return 0;
    pod_find_container(pod, name, &kind);
    struct cpu_grant *g = find(m, w->uid, name);
    if (n && kind != CK_EPHEMERAL && !g) {
        struct cpuset taken = taken_by(m, w->uid), free_ = cpus_allocatable(w->k), mine;
        free_ = cpuset_without(&free_, &taken);
        if (!cpus_take(&m->topology, &free_, n, &mine))
            return err_set(e, -EBUSY, "not enough cpus available to satisfy request: requested=%zu, available=%zu", n, cpuset_count(&free_));
        grant(m, w->uid, name, &mine, kind == CK_INIT && !container_is_sidecar(container));
        g = find(m, w->uid, name);
    }
    struct cpuset s = g ? g->cpus : shared(m);
    *ret = cpuset_text(a, &s);
    return 0;
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
        if (c->state == RT_RUNNING && n && c->cpuset.n && cpuset_parse(c->cpuset, &s) == 0 && cpuset_count(&s) == n && !find(m, w->uid, c->name))
            grant(m, w->uid, c->name, &s, kind == CK_INIT && !container_is_sidecar(spec));
    }
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
        touch(m);
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
