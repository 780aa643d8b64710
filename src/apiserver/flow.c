/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/flow.h"

#include <math.h>
#include <stdio.h>

#include "apiserver/state.h"
#include "apiserver/auth.h"
#include "auth/crypto.h"
#include "base/os.h"
#include "names.h"
#include "net/url.h"
#include "resources.h"
#include "type/meta.h"

#define ADJUST_EVERY SECONDS(10)
#define OBJECTS_PER_SEAT 100
#define LIST_SEATS_MAX 10

struct schema {
    const struct object *object;
    struct flow_level *level; /* NULL: it is not there */
    uint64_t dispatched, full, late;
};

struct flow_control {
    struct apiserver *server;
    struct cache_hook hooks[2];
    bool changed;
    struct schema *schemas; /* in the order they are asked */
    size_t n;
    struct map levels; /* by name */
};

/* ---- matching ------------------------------------------------------------------------------------------ */

static bool has(const struct val *list, struct str s)
{
    VAL_EACH(list, v)
        if (str_is(val_str(v), "*") || str_eq(val_str(v), s))
            return true;
    return false;
}

static bool subject_fits(const struct val *subject, const struct user *u)
{
    struct str kind = val_getstr(subject, N_kind), ns, name;
    const struct val *user = val_get(subject, N_user), *group = val_get(subject, N_group), *sa = val_get(subject, N_serviceAccount);
    if (str_is(kind, "User"))
        return str_is(val_getstr(user, N_name), "*") || str_eq(val_getstr(user, N_name), u->name);
    if (str_is(kind, "ServiceAccount")) {
        struct str want = val_getstr(sa, N_name);
        return is_service_account(u->name, &ns, &name) && str_eq(ns, val_getstr(sa, N_namespace)) &&
               (str_is(want, "*") || str_eq(want, name));
    }
    if (str_is(val_getstr(group, N_name), "*"))
        return true;
    for (size_t i = 0; i < u->n_groups; i++)
        if (str_eq(val_getstr(group, N_name), u->groups[i]))
            return true;
    return false;
}

static bool resource_fits(const struct val *rule, const struct request_info *in)
{
    CLEANUP_BUF struct buf whole = BUF_INIT;
    buf_printf(&whole, STR_FMT "%s" STR_FMT, STR_ARG(in->resource), in->subresource.n ? "/" : "", STR_ARG(in->subresource));
    if (!has(val_get(rule, N_verbs), in->verb) || !has(val_get(rule, N_apiGroups), in->group) ||
        !has(val_get(rule, N_resources), buf_str(&whole)))
        return false;
    return in->ns.n ? has(val_get(rule, N_namespaces), in->ns) : val_bool(val_get(rule, N_clusterScope), false);
}

static bool path_fits(const struct val *rule, const struct request_info *in)
{
    if (!has(val_get(rule, N_verbs), in->verb))
        return false;
    VAL_EACH(val_get(rule, N_nonResourceURLs), v)
    {
        struct str s = val_str(v);
        bool below = str_ends(s, STR("/*")) && str_starts(in->path, str_n(s.p, s.n - 1));
        if (str_is(s, "*") || below || str_eq(s, in->path))
            return true;
    }
    return false;
}

static bool rule_matches(const struct val *rule, const struct user *u, const struct request_info *in)
{
    bool who = false;
    VAL_EACH(val_get(rule, N_subjects), subject)
        who = who || subject_fits(subject, u);
    if (!who)
        return false;
    VAL_EACH(val_get(rule, in->is_resource ? N_resourceRules : N_nonResourceRules), one)
        if (in->is_resource ? resource_fits(one, in) : path_fits(one, in))
            return true;
    return false;
}

bool flow_rules_match(const struct val *rules, const struct user *u, const struct request_info *in)
{
    VAL_EACH(rules, rule)
        if (rule_matches(rule, u, in))
            return true;
    return false;
}

/* ---- the configuration --------------------------------------------------------------------------------- */

static unsigned total_seats(const struct apiserver *s)
{
    return s->config.max_in_flight + s->config.max_mutating_in_flight;
}

static const struct val *shares_of(const struct val *spec)
{
    const struct val *limited = val_get(spec, N_limited);
    return val_get(limited ? limited : val_get(spec, N_exempt), N_nominalConcurrencyShares);
}

static double sum_of_shares(struct apiserver *s)
{
    double sum = 0;
    TREE_EACH (state_kind(s, RES_PRIORITYLEVELCONFIGURATIONS)->root, STR(""), it)
        sum += (double)val_int(shares_of(val_get(it.object->val, N_spec)), 0);
    return MAX(sum, 1.0);
}

static struct flow_level_config config_of(const struct val *spec, unsigned total, double sum)
{
    const struct val *limited = val_get(spec, N_limited), *way = val_get(limited, N_limitResponse), *queuing = val_get(way, N_queuing);
    const struct val *lendable = val_get(limited ? limited : val_get(spec, N_exempt), N_lendablePercent);
    struct flow_level_config c = {.exempt = str_is(val_getstr(spec, N_type), "Exempt")};
    const struct val *borrow = val_get(limited, N_borrowingLimitPercent);
    c.nominal = (unsigned)ceil(total * (double)val_int(shares_of(spec), 0) / sum);
    c.lendable = (unsigned)lround(c.nominal * (double)val_int(lendable, 0) / 100);
    c.borrowing = borrow ? (unsigned)lround(c.nominal * (double)val_int(borrow, 0) / 100) : UINT32_MAX;
    c.queues_requests = limited && str_is(val_getstr(way, N_type), "Queue");
    c.queues = (unsigned)val_int(val_get(queuing, N_queues), 64);
    c.hand = (unsigned)val_int(val_get(queuing, N_handSize), 8);
    c.length = (unsigned)val_int(val_get(queuing, N_queueLengthLimit), 50);
    return c;
}

static bool same_config(const struct flow_level_config *a, const struct flow_level_config *b)
{
    return a->exempt == b->exempt && a->queues_requests == b->queues_requests && a->nominal == b->nominal &&
           a->lendable == b->lendable && a->borrowing == b->borrowing && a->queues == b->queues && a->hand == b->hand &&
           a->length == b->length;
}

static void take_level(struct flow_control *f, const struct object *o, unsigned total, double sum)
{
    struct flow_level *l = map_get(&f->levels, o->name);
    struct flow_level_config c = config_of(val_get(o->val, N_spec), total, sum);
    bool is_new = !l;
    if (is_new)
        map_put(&f->levels, o->name, l = flow_level_new(o->name));
    if (is_new || !same_config(&c, &l->config))
        flow_level_configure(l, &c);
    free((char *)(uintptr_t)l->uid.p);
    l->uid = str_n(str_dup(o->uid), o->uid.n);
    l->wanted = true;
}

/* Levels that nobody wants any more go when the last request has left them. */
static void drop_levels(struct flow_control *f)
{
    MAP_EACH(&f->levels, e)
    {
        struct flow_level *l = e->value;
        if (!l->wanted && flow_level_idle(l)) {
            map_del(&f->levels, e->key);
            flow_level_free(l);
        }
    }
}

static int by_precedence(const void *a, const void *b)
{
    const struct object *x = ((const struct schema *)a)->object, *y = ((const struct schema *)b)->object;
    int64_t p = val_int(val_at(x->val, N_spec, N_matchingPrecedence), 1000), q = val_int(val_at(y->val, N_spec, N_matchingPrecedence), 1000);
    return p != q ? (p < q ? -1 : 1) : str_cmp(x->name, y->name);
}

static void drop_schemas(struct flow_control *f)
{
    for (size_t i = 0; i < f->n; i++)
        object_unref((struct object *)(uintptr_t)f->schemas[i].object);
    free(f->schemas);
    f->schemas = NULL;
    f->n = 0;
}

static struct schema counted_before(const struct schema *old, size_t n, const struct object *o)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(old[i].object->uid, o->uid))
            return old[i];
    return (struct schema){0};
}

static void take_schemas(struct flow_control *f)
{
    const struct tree *root = state_kind(f->server, RES_FLOWSCHEMAS)->root;
    struct schema *now = xcalloc(tree_count(root) + 1, sizeof(*now));
    size_t n = 0;
    TREE_EACH (root, STR(""), it) {
        struct schema *s = &now[n++];
        struct str level = val_str(val_at(it.object->val, N_spec, N_priorityLevelConfiguration, N_name));
        *s = counted_before(f->schemas, f->n, it.object);
        s->object = object_ref(it.object);
        s->level = map_get(&f->levels, level);
        if (s->level && !s->level->wanted)
            s->level = NULL;
    }
    qsort(now, n, sizeof(*now), by_precedence);
    drop_schemas(f);
    f->schemas = now;
    f->n = n;
}

static void refresh(struct flow_control *f)
{
    double sum = sum_of_shares(f->server);
    f->changed = false;
    MAP_EACH(&f->levels, e)
        ((struct flow_level *)e->value)->wanted = false;
    TREE_EACH (state_kind(f->server, RES_PRIORITYLEVELCONFIGURATIONS)->root, STR(""), it)
        take_level(f, it.object, total_seats(f->server), sum);
    take_schemas(f);
    drop_levels(f);
}

static void changed(void *arg, const struct object *old UNUSED, const struct object *now UNUSED)
{
    struct flow_control *f = arg;
    f->changed = true;
}

void flow_open(struct apiserver *s)
{
    struct flow_control *f = s->flow = NEW(struct flow_control);
    f->server = s;
    f->changed = true;
    cache_on_change(state_kind(s, RES_FLOWSCHEMAS), &f->hooks[0], changed, f);
    cache_on_change(state_kind(s, RES_PRIORITYLEVELCONFIGURATIONS), &f->hooks[1], changed, f);
}

static void free_level(void *level)
{
    flow_level_free(level);
}

void flow_close(struct apiserver *s)
{
    if (!s->flow)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(s->flow->hooks); i++)
        cache_off_change(&s->flow->hooks[i]);
    drop_schemas(s->flow);
    map_done_with(&s->flow->levels, free_level);
    free(s->flow);
    s->flow = NULL;
}

/* ---- a request ----------------------------------------------------------------------------------------- */

static struct schema *classify(struct flow_control *f, const struct request *r)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->schemas[i].level && flow_rules_match(val_at(f->schemas[i].object->val, N_spec, N_rules), &r->user, &r->info))
            return &f->schemas[i];
    return NULL;
}

static uint64_t hash_of(const struct request *r, const struct object *schema)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str by = val_str(val_at(schema->val, N_spec, N_distinguisherMethod, N_type));
    uint8_t digest[32];
    uint64_t hash;
    buf_putstr(&b, schema->name);
    buf_putc(&b, 0);
    buf_putstr(&b, str_is(by, "ByUser") ? r->user.name : str_is(by, "ByNamespace") ? r->info.ns : STR_NULL);
    sha256(buf_str(&b), digest);
    memcpy(&hash, digest, sizeof(hash));
    return hash;
}

/* The options are read later. */
static int64_t number_in_query(const struct request *r, const char *name)
{
    struct str text;
    int64_t n = 0;
    return query_get(r->arena, r->query, name, &text) && str_to_i64(text, &n) == 0 ? n : 0;
}

/* A list costs by what it may bring; everything else one seat. */
static unsigned seats_of(const struct request *r)
{
    if (!str_is(r->info.verb, "list") || r->info.name.n || !r->kind)
        return 1;
    size_t n = tree_count(r->kind->root);
    int64_t limit = number_in_query(r, "limit");
    if (limit > 0)
        n = MIN(n, (size_t)limit);
    return (unsigned)MIN(MAX(n / OBJECTS_PER_SEAT, (size_t)1), (size_t)LIST_SEATS_MAX);
}

static void tell(struct request *r, const struct schema *s)
{
    http_add_header(r->x, "X-Kubernetes-PF-FlowSchema-UID", arena_str(r->arena, s->object->uid));
    http_add_header(r->x, "X-Kubernetes-PF-PriorityLevel-UID", arena_str(r->arena, s->level->uid));
}

static int refuse(struct request *r)
{
    r->status.retry_after = 1;
    return status_set(&r->status, 429, "TooManyRequests", "too many requests, please try again later");
}

/* The schema a seat was taken for may be another object by now. */
static void count(struct flow_control *f, struct str uid, int outcome)
{
    for (size_t i = 0; i < f->n; i++)
        if (str_eq(f->schemas[i].object->uid, uid)) {
            uint64_t *n[] = {&f->schemas[i].dispatched, &f->schemas[i].full, &f->schemas[i].late};
            ++*n[outcome];
        }
}

int flow_begin(struct request *r)
{
    struct flow_control *f = r->server->flow;
    if (!f)
        return 0;
    if (f->changed)
        refresh(f);
    struct schema *s = classify(f, r);
    if (!s)
        return 0; /* before the mandatory objects are there */
    tell(r, s);
    if (request_long_running(r))
        return 0;
    struct str uid = arena_str(r->arena, s->object->uid);
    struct mono deadline = mono_add(r->begun, (r->deadline.ns - r->begun.ns) / 4); /* that much may be spent waiting, as upstream has it */
    r->seat = ARENA_NEW(r->arena, struct flow_seat);
    int e = flow_enter(s->level, hash_of(r, s->object), seats_of(r), deadline, r->seat);
    if (e >= 0)
        count(f, uid, e);
    return e > 0 ? refuse(r) : e;
}

/* ---- lending and borrowing ----------------------------------------------------------------------------- */

static void adjust_now(struct flow_control *f)
{
    struct flow_level **levels = xcalloc(f->levels.used + 1, sizeof(*levels));
    struct flow_share *s = xcalloc(f->levels.used + 1, sizeof(*s));
    struct mono now = os_mono();
    double total = total_seats(f->server);
    size_t n = 0;
    MAP_EACH(&f->levels, e)
    {
        struct flow_level *l = levels[n] = e->value;
        const struct flow_level_config *c = &l->config;
        double want = flow_level_demand(l, now), low = c->nominal - MIN(c->lendable, c->nominal);
        s[n].low = c->exempt ? 0 : low;
        s[n].high = c->borrowing == UINT32_MAX ? total : MIN(total, (double)c->nominal + c->borrowing);
        s[n++].want = MAX(want, low);
    }
    flow_share_out(s, n, total);
    for (size_t i = 0; i < n; i++)
        if (!levels[i]->config.exempt)
            flow_level_set_limit(levels[i], (unsigned)lround(s[i].got));
    free(levels);
    free(s);
}

void flow_adjust(void *apiserver)
{
    struct apiserver *s = apiserver;
    while (fiber_sleep(ADJUST_EVERY) == 0)
        adjust_now(s->flow);
}

/* ---- what is seen from outside ------------------------------------------------------------------------- */

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP apiserver_flowcontrol_%s %s\n# TYPE apiserver_flowcontrol_%s %s\n", name, help, name, type);
}

static void schema_counter(const struct flow_control *f, struct buf *b, const char *name, const char *reason, uint64_t (*of)(const struct schema *))
{
    for (size_t i = 0; i < f->n; i++)
        if (f->schemas[i].level && of(&f->schemas[i]))
            buf_printf(b, "apiserver_flowcontrol_%s{flow_schema=\"" STR_FMT "\",priority_level=\"%s\"%s} %llu\n", name,
                       STR_ARG(f->schemas[i].object->name), f->schemas[i].level->name, reason, (unsigned long long)of(&f->schemas[i]));
}

static uint64_t dispatched(const struct schema *s)
{
    return s->dispatched;
}

static uint64_t full(const struct schema *s)
{
    return s->full;
}

static uint64_t late(const struct schema *s)
{
    return s->late;
}

void flow_metrics(struct apiserver *s, struct buf *b)
{
    static const struct {
        const char *name, *help;
        size_t at;
    } gauges[] = {
        {"nominal_limit_seats", "Seats of the configuration.", offsetof(struct flow_level, config.nominal)},
        {"current_limit_seats", "Seats after lending and borrowing.", offsetof(struct flow_level, limit)},
        {"current_executing_seats", "Seats in use.", offsetof(struct flow_level, in_use)},
        {"current_executing_requests", "Requests being worked on.", offsetof(struct flow_level, running)},
        {"current_inqueue_requests", "Requests that wait.", offsetof(struct flow_level, waiting)},
    };
    struct flow_control *f = s->flow;
    if (!f)
        return;
    head(b, "dispatched_requests_total", "counter", "Requests that got their turn.");
    schema_counter(f, b, "dispatched_requests_total", "", dispatched);
    head(b, "rejected_requests_total", "counter", "Requests that were refused.");
    schema_counter(f, b, "rejected_requests_total", ",reason=\"queue-full\"", full);
    schema_counter(f, b, "rejected_requests_total", ",reason=\"time-out\"", late);
    for (size_t i = 0; i < ARRAY_SIZE(gauges); i++) {
        head(b, gauges[i].name, "gauge", gauges[i].help);
        MAP_EACH(&f->levels, e)
            buf_printf(b, "apiserver_flowcontrol_%s{priority_level=\"" STR_FMT "\"} %u\n", gauges[i].name, STR_ARG(e->key),
                       *(const unsigned *)((const char *)e->value + gauges[i].at));
    }
}

void flow_dump_levels(struct apiserver *s, struct buf *b)
{
    buf_puts(b, "PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, CurrentSeats, LimitSeats\n");
    for (struct flow_control *f = s->flow; f; f = NULL)
        MAP_EACH(&f->levels, e)
        {
            const struct flow_level *l = e->value;
            unsigned active = 0;
            for (unsigned i = 0; i < l->n_queues; i++)
                active += l->queues[i].n || l->queues[i].in_use;
            buf_printf(b, "%s, %u, %s, %s, %u, %u, %u, %u\n", l->name, active, flow_level_idle(l) ? "true" : "false",
                       l->wanted ? "false" : "true", l->waiting, l->running, l->in_use, l->limit);
        }
}
