/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/usage.h"

#include "wire/prom.h"

enum {
    OLD_SECONDS = 90,   /* a point that old says nothing about now */
    FRESH_SECONDS = 10, /* a container that started so long before its only point ... */
    YOUNG_SECONDS = 60, /* ... but no longer: the time since its start is what was measured */
    MOST_ENTRIES = 20000, /* of one node: what a kubelet says is not to fill our memory */
};
/* What a kubelet says is not trusted to be of this world. Seconds are counted in nanoseconds. */
#define MOST_SECONDS 9.2e9
#define MOST_BYTES 9e15
#define MOST_CORES 1e6

static struct usage_node *node_new(void)
{
    return NEW(struct usage_node);
}

void usage_node_free(struct usage_node *n)
{
    if (!n)
        return;
    map_done(&n->entries);
    arena_done(&n->arena);
    free(n);
}

/* ---- reading a page ---------------------------------------------------------------------------------- */

enum family { CPU, MEMORY, STARTED };

static const struct {
    const char *name;
    enum family family;
    bool of_node;
} families[] = {
    {"node_cpu_usage_seconds_total", CPU, true},       {"node_memory_working_set_bytes", MEMORY, true},
    {"container_cpu_usage_seconds_total", CPU, false}, {"container_memory_working_set_bytes", MEMORY, false},
    {"container_start_time_seconds", STARTED, false},
};

/* NULL: there are too many. */
static struct usage_entry *entry_of(struct usage_node *n, struct str key)
{
    struct usage_entry *e = map_get(&n->entries, key);
    if (!e && n->entries.n < MOST_ENTRIES) {
        e = ARENA_NEW(&n->arena, struct usage_entry);
        e->last.cpu_ns = e->last.memory = -1;
        map_put(&n->entries, key, e);
    }
    return e;
}

static struct str key_of(struct arena *a, const struct prom_sample *s)
{
    struct str ns = prom_label(s, "namespace", a), pod = prom_label(s, "pod", a),
               container = prom_label(s, "container", a);
    return arena_printf(a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(pod), STR_ARG(container));
}

static void take(struct usage_node *n, const struct prom_sample *s, enum family f, bool of_node,
                 struct wall now)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (!(s->value >= 0 && s->value < (f == MEMORY ? MOST_BYTES : MOST_SECONDS))) /* not a number is not, either */
        return;
    if (s->time_ms < 0 || (double)s->time_ms > MOST_SECONDS * 1e3)
        return;
    struct usage_entry *e = entry_of(n, of_node ? STR("") : key_of(&a, s));
    if (!e)
        return;
    struct usage_point *p = &e->last;
    struct wall at = s->time_ms ? (struct wall){s->time_ms * NSEC_PER_MSEC} : now;
    switch (f) {
    case CPU:
        p->cpu_ns = (int64_t)(s->value * 1e9);
        p->at = at;
        break;
    case MEMORY:
        p->memory = (int64_t)s->value;
        if (!p->at.ns)
            p->at = at;
        break;
    case STARTED:
        p->started.ns = (int64_t)(s->value * 1e9);
        break;
    }
}

/* A counter that has been begun anew (the container was restarted) tells nothing together with its old value.
 */
static bool continues(const struct usage_point *was, const struct usage_point *now)
{
    return was->at.ns && was->cpu_ns >= 0 && now->cpu_ns >= was->cpu_ns && now->started.ns <= was->at.ns &&
           now->at.ns - was->at.ns <= SECONDS(OLD_SECONDS);
}

/* Two points that differ in time: what a kubelet tells twice (upstream's measures every ten seconds) counts
 * once. */
static void join(struct usage_entry *e, const struct usage_entry *was)
{
    if (!continues(&was->last, &e->last))
        return;
    if (e->last.at.ns > was->last.at.ns)
        e->before = was->last;
    else
        *e = *was;
}

struct usage_node *usage_node_next(const struct usage_node *was, struct str page, struct wall now)
{
    struct usage_node *n = node_new();
    struct prom_sample s;
    while (prom_next(&page, &s))
        for (size_t i = 0; i < ARRAY_SIZE(families); i++)
            if (str_is(s.name, families[i].name))
                take(n, &s, families[i].family, families[i].of_node, now);
    if (!n->entries.n) {
        usage_node_free(n);
        return NULL;
    }
    MAP_EACH (&n->entries, m) {
        const struct usage_entry *old = was ? map_get(&was->entries, m->key) : NULL;
        if (old)
            join(m->value, old);
    }
    return n;
}

/* ---- what it says ------------------------------------------------------------------------------------ */

bool usage_known(const struct usage_node *n, struct str key)
{
    const struct usage_entry *e = n ? map_get(&n->entries, key) : NULL;
    return e && e->last.at.ns;
}

bool usage_of(const struct usage_node *n, struct str key, struct usage *ret)
{
    const struct usage_entry *e = n ? map_get(&n->entries, key) : NULL;
    if (!e || e->last.cpu_ns < 0 || e->last.memory < 0)
        return false;
    struct usage_point before = e->before;
    int64_t age = e->last.at.ns - e->last.started.ns;
    if (!before.at.ns && e->last.started.ns && age >= SECONDS(FRESH_SECONDS) && age <= SECONDS(YOUNG_SECONDS))
        before = (struct usage_point){.at = e->last.started};
    int64_t window = e->last.at.ns - before.at.ns;
    if (!before.at.ns || window <= 0)
        return false;
    double cores = (double)(e->last.cpu_ns - before.cpu_ns) / (double)window;
    if (cores > MOST_CORES)
        return false;
    *ret = (struct usage){
        .at = e->last.at, .window = window, .memory = e->last.memory, .cpu_nano = (int64_t)(cores * 1e9)};
    return true;
}
