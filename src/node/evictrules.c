/* SPDX-License-Identifier: Apache-2.0 */
#include "node/eviction.h"

#include "node/qos.h"
#include "type/fit.h"
#include "wire/quantity.h"

static const struct {
    const char *name, *resource;
    enum pressure pressure;
} signals[EVICTION_SIGNALS] = {
    [EVICT_MEMORY] = {"memory.available", "memory", PRESSURE_MEMORY},
    [EVICT_NODEFS] = {"nodefs.available", "ephemeral-storage", PRESSURE_DISK},
    [EVICT_NODEFS_INODES] = {"nodefs.inodesFree", "inodes", PRESSURE_DISK},
    [EVICT_IMAGEFS] = {"imagefs.available", "ephemeral-storage", PRESSURE_DISK},
    [EVICT_IMAGEFS_INODES] = {"imagefs.inodesFree", "inodes", PRESSURE_DISK},
    [EVICT_PIDS] = {"pid.available", "pids", PRESSURE_PIDS},
};

const char *eviction_resource(enum eviction_signal s)
{
    return signals[s].resource;
}

/* ---- settings -------------------------------------------------------------------------------------------- */

static bool split(const char *setting, struct str *ret_key, struct str *ret_value)
{
    ssize_t at = str_find(str_of(setting), '<');
    return str_cut(str_of(setting), at > 0 ? '<' : '=', ret_key, ret_value) && ret_value->n;
}

static struct str find(const char *const *settings, const char *signal)
{
    struct str key, value;
    for (; settings && *settings; settings++)
        if (split(*settings, &key, &value) && str_is(key, signal))
            return value;
    return STR_NULL;
}

static bool parse_amount(struct str s, struct eviction_amount *ret)
{
    struct quantity q;
    char text[32], *end;
    *ret = (struct eviction_amount){.part = -1, .format = QUANTITY_BINARY_SI};
    if (!s.n)
        return true;
    if (s.p[s.n - 1] == '%') {
        if (s.n >= sizeof(text))
            return false;
        memcpy(text, s.p, s.n - 1);
        text[s.n - 1] = '\0';
        ret->part = strtod(text, &end) / 100;
        return end != text && !*end && ret->part >= 0 && ret->part < 1;
    }
    if (quantity_parse(s, &q, NULL) < 0 || q.nano < 0)
        return false;
    ret->fixed = quantity_units(q);
    ret->format = q.format;
    return true;
}

static int64_t amount_of(const struct eviction_amount *m, int64_t whole)
{
    return m->part >= 0 ? (int64_t)((double)whole * m->part) : m->fixed;
}

int64_t eviction_threshold(const char *const *settings, const char *signal, int64_t whole)
{
    struct eviction_amount m;
    return parse_amount(find(settings, signal), &m) ? amount_of(&m, whole) : 0;
}

static int signal_of(struct str name)
{
    for (int i = 0; i < EVICTION_SIGNALS; i++)
        if (str_is(name, signals[i].name))
            return i;
    return -1;
}

/* Signals of upstream that come to one of ours here, or that nothing tells. */
static bool passed_over(struct str name)
{
    return str_is(name, "allocatableMemory.available") || str_starts(name, STR("containerfs."));
}

static int add_rule(struct eviction_rules *r, const char *setting, bool hard, const struct eviction_settings *s, struct err *e)
{
    struct str key, value;
    struct eviction_rule rule = {.hard = hard};
    if (!split(setting, &key, &value))
        return err_set(e, -EINVAL, "eviction threshold \"%s\": expected signal<quantity", setting);
    int signal = signal_of(key);
    if (signal < 0)
        return passed_over(key) ? 0 : err_set(e, -EINVAL, "eviction threshold \"%s\": there is no such signal", setting);
    rule.signal = (enum eviction_signal)signal;
    if (!parse_amount(value, &rule.least) || !parse_amount(find(s->reclaim, signals[signal].name), &rule.reclaim))
        return err_set(e, -EINVAL, "eviction threshold \"%s\": expected a quantity or a percentage below 100", setting);
    if (rule.least.part <= 0 && rule.least.fixed == 0)
        return 0; /* 0: off */
    if (!hard) {
        struct str grace = find(s->soft_grace, signals[signal].name);
        if (duration_parse(grace, &rule.grace) < 0 || rule.grace < 0)
            return err_set(e, -EINVAL, "grace period must be specified for the soft eviction threshold %s", signals[signal].name);
    }
    r->rules[r->n++] = rule;
    return 0;
}

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

int eviction_rules_make(struct arena *a, const struct eviction_settings *s, struct eviction_rules *ret, struct err *e)
{
    struct eviction_rules r = {.rules = ARENA_ARRAY(a, struct eviction_rule, count(s->hard) + count(s->soft) + 1), .transition = s->transition};
    int rc = 0;
    for (const char *const *p = s->hard; p && *p && rc == 0; p++)
        rc = add_rule(&r, *p, true, s, e);
    for (const char *const *p = s->soft; p && *p && rc == 0; p++)
        rc = add_rule(&r, *p, false, s, e);
    if (rc == 0)
        *ret = r;
    return rc;
}

/* ---- looking --------------------------------------------------------------------------------------------- */

static bool crossed(const struct eviction_rule *r, const struct eviction_observation *o)
{
    int64_t least = amount_of(&r->least, o->whole);
    if (o->available < 0)
        return false;
    if (r->acted)
        least += amount_of(&r->reclaim, o->whole);
    return o->available < least;
}

/* Memory first; then as they were given. */
static bool goes_before(const struct eviction_rule *a, const struct eviction_rule *b)
{
    return !b || (a->signal == EVICT_MEMORY && b->signal != EVICT_MEMORY);
}

void eviction_look(struct eviction_rules *r, const struct eviction_observation obs[EVICTION_SIGNALS], struct wall now,
                   struct eviction_look *ret)
{
    struct eviction_look look = {.reclaim = NULL};
    for (size_t i = 0; i < r->n; i++) {
        struct eviction_rule *rule = &r->rules[i];
        if (!crossed(rule, &obs[rule->signal])) {
            rule->since.ns = 0;
            rule->acted = false;
            continue;
        }
        if (!rule->since.ns)
            rule->since = now;
        r->seen[signals[rule->signal].pressure] = now;
        rule->acted = now.ns - rule->since.ns >= rule->grace;
        if (rule->acted && goes_before(rule, look.reclaim)) {
            look.reclaim = rule;
            look.least = amount_of(&rule->least, obs[rule->signal].whole);
        }
    }
    for (int p = 0; p < PRESSURES; p++)
        look.pressure[p] = r->seen[p].ns && now.ns - r->seen[p].ns < MAX(r->transition, (int64_t)1);
    *ret = look;
}

static struct str units_text(struct arena *a, int64_t n, enum quantity_format format)
{
    char text[QUANTITY_TEXT_MAX];
    return arena_str(a, str_of(quantity_text(quantity_of(n, format), text)));
}

struct str eviction_why(struct arena *a, const struct eviction_look *look, const struct eviction_observation *o)
{
    enum eviction_signal s = look->reclaim->signal;
    bool counted = s == EVICT_PIDS || s == EVICT_NODEFS_INODES || s == EVICT_IMAGEFS_INODES; /* else bytes */
    return arena_printf(a, "The node was low on resource: %s. Threshold quantity: " STR_FMT ", available: " STR_FMT ". ", signals[s].resource,
                        STR_ARG(units_text(a, look->least, look->reclaim->least.format)),
                        STR_ARG(units_text(a, o->available, counted ? QUANTITY_DECIMAL_SI : QUANTITY_BINARY_SI)));
}

/* ---- who goes first -------------------------------------------------------------------------------------- */

static int64_t priority_of(const struct val *pod)
{
    return val_int(val_at(pod, N_spec, N_priority), 0);
}

static int more_first(int64_t a, int64_t b)
{
    return a > b ? -1 : a < b;
}

static int by_priority(const struct eviction_candidate *a, const struct eviction_candidate *b)
{
    return more_first(priority_of(b->pod), priority_of(a->pod));
}

static int order(const void *pa, const void *pb)
{
    const struct eviction_candidate *a = pa, *b = pb;
    int r = more_first(a->usage < 0, b->usage < 0);
    if (r == 0)
        r = more_first(a->usage > a->request, b->usage > b->request);
    if (r == 0)
        r = by_priority(a, b);
    return r ? r : more_first(a->usage - a->request, b->usage - b->request);
}

static int order_pids(const void *pa, const void *pb)
{
    int r = by_priority(pa, pb);
    return r ? r : more_first(((const struct eviction_candidate *)pa)->usage, ((const struct eviction_candidate *)pb)->usage);
}

void eviction_rank(struct eviction_candidate *c, size_t n, enum eviction_signal signal)
{
    if (n)
        qsort(c, n, sizeof(*c), signal == EVICT_PIDS ? order_pids : order);
}

/* ---- who comes in ---------------------------------------------------------------------------------------- */

static bool tolerates_memory_pressure(const struct val *pod)
{
    struct arena a = ARENA_INIT;
    struct val *taint = val_new(&a, VAL_OBJ);
    val_set_str(&a, taint, N_key, STR("node.kubernetes.io/memory-pressure"));
    val_set_str(&a, taint, N_effect, STR("NoSchedule"));
    bool r = match_tolerates(val_at(pod, N_spec, N_tolerations), taint);
    arena_done(&a);
    return r;
}

const char *eviction_admit(struct arena *a, const struct val *pod, const bool pressure[PRESSURES], struct str *ret_message)
{
    static const char *const names[PRESSURES] = {[PRESSURE_MEMORY] = "MemoryPressure", [PRESSURE_DISK] = "DiskPressure", [PRESSURE_PIDS] = "PIDPressure"};
    struct buf b CLEANUP_BUF = BUF_INIT;
    bool only_memory = pressure[PRESSURE_MEMORY] && !pressure[PRESSURE_DISK] && !pressure[PRESSURE_PIDS];
    for (int p = 0; p < PRESSURES; p++)
        if (pressure[p])
            buf_printf(&b, "%s%s", b.n ? " " : "", names[p]);
    if (!b.n || pod_critical(pod) || (only_memory && (pod_qos(pod) != QOS_BEST_EFFORT || tolerates_memory_pressure(pod))))
        return NULL;
    *ret_message = arena_printf(a, "The node had condition: [" STR_FMT "]. ", STR_ARG(buf_str(&b)));
    return "Evicted";
}
