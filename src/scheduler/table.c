/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/table.h"

#include "names.h"
#include "type/meta.h"
#include "wire/json.h"
#include "wire/quantity.h"

/* What a container counts for in scores when it asks for nothing (upstream's util.GetNonzeroRequests). */
enum { SCORE_CPU = 100, SCORE_MEMORY = 200 << 20 };

/* ---- what a pod asks for ---------------------------------------------------------------------------------------- */

struct amounts {
    int64_t cpu, memory, ephemeral, cpu_score, memory_score;
    int64_t extended[MAX_EXTENDED];
};

static int extended_id(struct table *t, struct str name, bool make)
{
    for (size_t i = 0; i < t->n_extended; i++)
        if (str_eq(t->extended[i], name))
            return (int)i;
    if (!make || t->n_extended == MAX_EXTENDED)
        return -1;
    t->extended[t->n_extended] = arena_str(&t->arena, name);
    return (int)t->n_extended++;
}

/* Adds the requests of one container (or of the pod as a whole) to sum. */
static void read_requests(struct table *t, struct needs *n, const struct val *requests, struct amounts *sum)
{
    bool cpu = false, memory = false;
    VAL_EACH_ENTRY(requests, k, v)
    {
        struct str name = val_str(k);
        struct quantity q = quantity_or_zero(val_str(v));
        int id;
        if (str_is(name, "cpu")) {
            sum->cpu += quantity_milli(q);
            sum->cpu_score += quantity_milli(q);
            cpu = true;
        } else if (str_is(name, "memory")) {
            sum->memory += quantity_units(q);
            sum->memory_score += quantity_units(q);
            memory = true;
        } else if (str_is(name, "ephemeral-storage")) {
            sum->ephemeral += quantity_units(q);
        } else if ((id = extended_id(t, name, false)) >= 0) {
            sum->extended[id] += quantity_units(q);
            n->any_extended = true;
        } else if (!quantity_is_zero(q)) {
            n->unknown_extended = true;
            n->unknown_name = arena_str(&n->arena, name);
        }
    }
    sum->cpu_score += cpu ? 0 : SCORE_CPU;
    sum->memory_score += memory ? 0 : SCORE_MEMORY;
}

static void keep_larger(struct amounts *a, const struct amounts *b)
{
    a->cpu = MAX(a->cpu, b->cpu);
    a->memory = MAX(a->memory, b->memory);
    a->ephemeral = MAX(a->ephemeral, b->ephemeral);
    a->cpu_score = MAX(a->cpu_score, b->cpu_score);
    a->memory_score = MAX(a->memory_score, b->memory_score);
    for (size_t i = 0; i < MAX_EXTENDED; i++)
        a->extended[i] = MAX(a->extended[i], b->extended[i]);
}

/* Which requests of a container count (KEP-1287): those of the spec, those granted, or those in force. */
enum view { WANTED, GRANTED, IN_FORCE };

static const struct val *status_of(const struct needs *n, struct str container)
{
    static const name_id lists[] = {N_containerStatuses, N_initContainerStatuses};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH(val_at(n->pod->val, N_status, lists[i]), s)
        {
            if (str_eq(val_getstr(s, N_name), container))
                return s;
        }
    return NULL;
}

static bool infeasible(const struct needs *n)
{
    const struct val *c = condition_find(val_at(n->pod->val, N_status, N_conditions), STR("PodResizePending"));
    return c && str_is(val_getstr(c, N_reason), "Infeasible");
}

static const struct val *requests_of(const struct needs *n, const struct val *container, enum view view)
{
    const struct val *s = view == WANTED ? NULL : status_of(n, val_getstr(container, N_name)), *r = NULL;
    if (view == IN_FORCE)
        r = val_at(s, N_resources, N_requests);
    if (!r)
        r = val_get(s, N_allocatedResources);
    return r ? r : val_at(container, N_resources, N_requests);
}

/* KEP-753: containers and sidecars run together; an init container runs beside the sidecars started before it. */
static struct amounts sum_requests(struct table *t, struct needs *n, enum view view)
{
    struct amounts all = {0}, sidecars = {0}, peak = {0};
    VAL_EACH(val_get(n->spec, N_initContainers), c)
    {
        struct amounts one = sidecars;
        read_requests(t, n, requests_of(n, c, view), &one);
        keep_larger(&peak, &one);
        if (str_is(val_getstr(c, N_restartPolicy), "Always"))
            sidecars = one;
    }
    all = sidecars;
    VAL_EACH(val_get(n->spec, N_containers), c)
    {
        read_requests(t, n, requests_of(n, c, view), &all);
    }
    keep_larger(&all, &peak);
    return all;
}

/* Is anything granted or in force that the spec does not ask for? Almost always not. */
static bool resizing(const struct needs *n)
{
    static const name_id lists[] = {N_containers, N_initContainers};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH(val_get(n->spec, lists[i]), c)
        {
            const struct val *s = status_of(n, val_getstr(c, N_name)), *wanted = val_at(c, N_resources, N_requests);
            const struct val *granted = val_get(s, N_allocatedResources), *in_force = val_at(s, N_resources, N_requests);
            if ((granted && !val_equal(granted, wanted)) || (in_force && !val_equal(in_force, wanted)))
                return true;
        }
    return false;
}

/* While a resize is pending or under way the Pod counts for the larger: nobody else may be given what it has, nor what it
 * will have. What can never be granted does not count. */
static struct amounts all_requests(struct table *t, struct needs *n)
{
    bool never = infeasible(n);
    if (!resizing(n))
        return sum_requests(t, n, WANTED);
    struct amounts all = sum_requests(t, n, GRANTED), more = sum_requests(t, n, IN_FORCE);
    keep_larger(&all, &more);
    if (!never) {
        more = sum_requests(t, n, WANTED);
        keep_larger(&all, &more);
    }
    return all;
}

/* Requests of the pod as a whole (KEP-2837) go before those of its containers, resource by resource. */
static void apply_pod_level(struct table *t, struct needs *n, struct amounts *all)
{
    const struct val *requests = val_at(n->spec, N_resources, N_requests), *status = val_get(n->pod->val, N_status);
    struct amounts pod = {0}, granted = {0}, in_force = {0};
    if (!val_len(requests))
        return;
    if (!infeasible(n))
        read_requests(t, n, requests, &pod);
    if (val_get(status, N_resources)) {
        read_requests(t, n, val_get(status, N_allocatedResources), &granted);
        read_requests(t, n, val_at(status, N_resources, N_requests), &in_force);
        keep_larger(&pod, &granted);
        keep_larger(&pod, &in_force);
    }
    if (val_key(requests, STR("cpu")))
        all->cpu = all->cpu_score = pod.cpu;
    if (val_key(requests, STR("memory")))
        all->memory = all->memory_score = pod.memory;
}

static void read_ports(struct needs *n)
{
    size_t count = 0;
    VAL_EACH(val_get(n->spec, N_containers), c)
    {
        count += val_len(val_get(c, N_ports));
    }
    struct host_port *list = ARENA_ARRAY(&n->arena, struct host_port, count);
    VAL_EACH(val_get(n->spec, N_containers), c)
    {
        VAL_EACH(val_get(c, N_ports), p)
        {
            int64_t port = val_int(val_get(p, N_hostPort), 0);
            struct str ip = val_getstr(p, N_hostIP), proto = val_getstr(p, N_protocol);
            if (port)
                list[n->n_ports++] = (struct host_port){str_is(ip, "0.0.0.0") ? STR_NULL : ip, proto.n ? proto.p[0] : 'T',
                                                        (uint16_t)port};
        }
    }
    n->ports = list;
}

static void read_volumes(struct needs *n)
{
    const struct val *volumes = val_get(n->spec, N_volumes);
    struct str *claims = ARENA_ARRAY(&n->arena, struct str, val_len(volumes));
    VAL_EACH(volumes, v)
    {
        struct str claim = val_str(val_at(v, N_persistentVolumeClaim, N_claimName));
        n->volumes_matter |= claim.n || val_get(v, N_ephemeral) || val_get(v, N_gcePersistentDisk) ||
                             val_get(v, N_awsElasticBlockStore) || val_get(v, N_iscsi) || val_get(v, N_rbd);
        if (claim.n)
            claims[n->n_claims++] =
                arena_printf(&n->arena, STR_FMT "/" STR_FMT, STR_ARG(n->pod->namespace_), STR_ARG(claim));
    }
    n->claims = claims;
}

struct needs *needs_new(struct table *t, const struct object *pod)
{
    struct needs *n = NEW(struct needs);
    n->pod = object_ref(pod);
    n->spec = val_get(pod->val, N_spec);
    n->labels = obj_labels(pod->val);
    n->node = -1;
    struct amounts all = all_requests(t, n);
    apply_pod_level(t, n, &all);
    read_requests(t, n, val_get(n->spec, N_overhead), &(struct amounts){0}); /* notes unknown resources */
    n->cpu = all.cpu + quantity_milli(quantity_or_zero(val_str(val_key(val_get(n->spec, N_overhead), STR("cpu")))));
    n->memory = all.memory + quantity_units(quantity_or_zero(val_str(val_key(val_get(n->spec, N_overhead), STR("memory")))));
    n->ephemeral = all.ephemeral;
    n->cpu_score = all.cpu_score;
    n->memory_score = all.memory_score;
    memcpy(n->extended, all.extended, sizeof(n->extended));
    n->priority = (int32_t)val_int(val_get(n->spec, N_priority), 0);
    const struct val *affinity = val_get(n->spec, N_affinity);
    n->required_affinity = val_at(affinity, N_podAffinity, N_requiredDuringSchedulingIgnoredDuringExecution);
    n->required_anti_affinity = val_at(affinity, N_podAntiAffinity, N_requiredDuringSchedulingIgnoredDuringExecution);
    n->preferred_affinity = val_at(affinity, N_podAffinity, N_preferredDuringSchedulingIgnoredDuringExecution);
    n->preferred_anti_affinity = val_at(affinity, N_podAntiAffinity, N_preferredDuringSchedulingIgnoredDuringExecution);
    read_ports(n);
    read_volumes(n);
    return n;
}

void needs_free(struct needs *n)
{
    if (!n)
        return;
    object_unref((struct object *)n->pod);
    arena_done(&n->arena);
    free(n);
}

/* ---- nodes -------------------------------------------------------------------------------------------------------- */

int table_find(const struct table *t, struct str name)
{
    return (int)(intptr_t)map_get(&t->by_name, name) - 1;
}

/* Lists are intrusive: when their heads move, they are moved by hand. */
static void move_list(struct list *from, struct list *to)
{
    struct list *l;
    list_init(to);
    while ((l = list_pop_front(from)))
        list_push_back(to, l);
}

static int add_slot(struct table *t, struct str name)
{
    if (t->n == t->cap) {
        size_t cap = MAX(t->cap * 2, (size_t)64);
        struct node *nodes = xcalloc(cap, sizeof(*nodes));
        for (size_t i = 0; i < t->n; i++) {
            nodes[i] = t->nodes[i];
            move_list(&t->nodes[i].pods, &nodes[i].pods);
            move_list(&t->nodes[i].nominated, &nodes[i].nominated);
        }
        free(t->nodes);
        t->nodes = nodes;
        t->rows = xrealloc(t->rows, cap * sizeof(*t->rows));
        memset(t->rows + t->n, 0, (cap - t->n) * sizeof(*t->rows));
        t->cap = cap;
    }
    int i = (int)t->n++;
    list_init(&t->nodes[i].pods);
    list_init(&t->nodes[i].nominated);
    map_put(&t->by_name, name, (void *)(intptr_t)(i + 1));
    return i;
}

static uint16_t intern_taints(struct table *t, const struct val *taints)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!val_len(taints))
        return 0;
    VAL_EACH(taints, v)
    {
        buf_printf(&b, STR_FMT "=" STR_FMT ":" STR_FMT ",", STR_ARG(val_getstr(v, N_key)), STR_ARG(val_getstr(v, N_value)),
                   STR_ARG(val_getstr(v, N_effect)));
    }
    intptr_t id = (intptr_t)map_get(&t->taint_ids, buf_str(&b));
    if (!id) {
        id = ++t->n_taint_sets;
        ASSERT(id < UINT16_MAX);
        t->taint_sets = xrealloc(t->taint_sets, (size_t)(id + 1) * sizeof(*t->taint_sets));
        t->taint_sets[0] = NULL;
        t->taint_sets[id] = val_copy(&t->arena, taints);
        map_put(&t->taint_ids, buf_str(&b), (void *)id);
    }
    return (uint16_t)id;
}

static void charge(struct table *t, int node, const struct needs *n, int sign)
{
    struct row *r = &t->rows[node];
    r->cpu_free -= sign * n->cpu;
    r->memory_free -= sign * n->memory;
    r->ephemeral_free -= sign * n->ephemeral;
    r->cpu_scored += sign * n->cpu_score;
    r->memory_scored += sign * n->memory_score;
    r->pods_free -= sign;
    for (size_t i = 0; n->any_extended && i < MAX_EXTENDED; i++)
        t->nodes[node].extended_free[i] -= sign * n->extended[i];
}

static void read_allocatable(struct table *t, int i, const struct val *node)
{
    struct row *r = &t->rows[i];
    const struct val *allocatable = val_at(node, N_status, N_allocatable);
    *r = (struct row){.present = true};
    memset(t->nodes[i].extended_free, 0, sizeof(t->nodes[i].extended_free));
    VAL_EACH_ENTRY(allocatable, k, v)
    {
        struct str name = val_str(k);
        struct quantity q = quantity_or_zero(val_str(v));
        int id;
        if (str_is(name, "cpu"))
            r->cpu_total = r->cpu_free = quantity_milli(q);
        else if (str_is(name, "memory"))
            r->memory_total = r->memory_free = quantity_units(q);
        else if (str_is(name, "ephemeral-storage"))
            r->ephemeral_free = quantity_units(q);
        else if (str_is(name, "pods"))
            r->pods_free = (int32_t)quantity_units(q);
        else if ((id = extended_id(t, name, true)) >= 0)
            t->nodes[i].extended_free[id] = quantity_units(q);
    }
}

static void set_node(struct table *t, int i, const struct object *o)
{
    struct node *n = &t->nodes[i];
    t->n_present += !n->object;
    object_unref(n->object);
    n->object = object_ref(o);
    n->labels = obj_labels(o->val);
    n->images = val_at(o->val, N_status, N_images);
    read_allocatable(t, i, o->val);
    t->rows[i].unschedulable = val_bool(val_at(o->val, N_spec, N_unschedulable), false);
    t->rows[i].taints = intern_taints(t, val_at(o->val, N_spec, N_taints));
    LIST_EACH(&n->pods, l)
    {
        charge(t, i, LIST_ENTRY(l, struct needs, on_node), 1);
    }
}

void table_node(struct table *t, const struct object *old, const struct object *new_)
{
    const struct object *any = new_ ? new_ : old;
    int i = table_find(t, any->name);
    if (i < 0 && new_)
        i = add_slot(t, any->name);
    if (i < 0)
        return;
    if (new_) {
        set_node(t, i, new_);
        return;
    }
    struct node *n = &t->nodes[i];
    t->n_present -= n->object != NULL;
    n->object = object_unref(n->object);
    n->labels = n->images = NULL;
    t->rows[i].present = false; /* the slot stays for its pods, and for a node of that name that may come back */
}

/* ---- pods ----------------------------------------------------------------------------------------------------------- */

static void count_terms(struct table *t, const struct needs *n, int node, int sign)
{
    bool anti = val_len(n->required_anti_affinity) > 0;
    bool preferring = val_len(n->preferred_affinity) || val_len(n->preferred_anti_affinity) || val_len(n->required_affinity);
    t->n_anti += (size_t)(sign * anti);
    t->nodes[node].n_anti += (size_t)(sign * anti);
    t->n_preferring += (size_t)(sign * preferring);
}

static void count_claims(struct table *t, const struct needs *n, int sign)
{
    for (size_t i = 0; i < n->n_claims; i++) {
        intptr_t count = (intptr_t)map_get(&t->claims, n->claims[i]) + sign;
        if (count)
            map_put(&t->claims, n->claims[i], (void *)count);
        else
            map_del(&t->claims, n->claims[i]);
    }
}

void table_drop(struct table *t, struct needs *n, int node)
{
    n->node = node;
    list_push_back(&t->nodes[node].pods, &n->on_node);
    t->nodes[node].n_pods++;
    charge(t, node, n, 1);
    count_terms(t, n, node, 1);
    count_claims(t, n, 1);
}

void table_lift(struct table *t, struct needs *n)
{
    if (n->node < 0)
        return;
    list_remove(&n->on_node);
    t->nodes[n->node].n_pods--;
    charge(t, n->node, n, -1);
    count_terms(t, n, n->node, -1);
    count_claims(t, n, -1);
    n->node = -1;
}

void table_place(struct table *t, struct needs *n, struct str node)
{
    int i = table_find(t, node);
    table_unplace(t, n->pod->uid);
    table_drop(t, n, i < 0 ? add_slot(t, node) : i);
    map_put(&t->placed, n->pod->uid, n);
}

void table_unplace(struct table *t, struct str uid)
{
    struct needs *n = map_del(&t->placed, uid);
    if (!n)
        return;
    table_lift(t, n);
    needs_free(n);
}

void table_nominate(struct table *t, struct needs *n, struct str node)
{
    int i = table_find(t, node);
    table_unnominate(t, n->pod->uid);
    if (i < 0)
        i = add_slot(t, node);
    n->nominated_to = i;
    list_push_back(&t->nodes[i].nominated, &n->nominee);
    t->nodes[i].n_nominated++;
    map_put(&t->nominated, n->pod->uid, n);
}

void table_unnominate(struct table *t, struct str uid)
{
    struct needs *n = map_del(&t->nominated, uid);
    if (!n)
        return;
    list_remove(&n->nominee);
    t->nodes[n->nominated_to].n_nominated--;
    needs_free(n);
}

static void free_needs(void *p)
{
    needs_free(p);
}

void table_done(struct table *t)
{
    map_done_with(&t->placed, free_needs);
    map_done_with(&t->nominated, free_needs);
    map_done(&t->claims);
    for (size_t i = 0; i < t->n; i++)
        object_unref(t->nodes[i].object);
    map_done(&t->by_name);
    map_done(&t->taint_ids);
    free(t->taint_sets);
    free(t->nodes);
    free(t->rows);
    arena_done(&t->arena);
    *t = (struct table){0};
}
