/* SPDX-License-Identifier: Apache-2.0 */
#include "cel/dra.h"

#include "cel/cel.h"
#include "names.h"

#include <pthread.h>

struct dra_selector {
    struct cel_program *program;
    int refs;
};

/* The sizes are resource.k8s.io/v1's limits: what an expression may cost at worst follows from them. */
enum { MAX_DOMAIN = 63, MAX_ID = 32, MAX_DRIVER = 63, MAX_VALUE = 64, MAX_NAMES = 32 };

static struct {
    struct cel_env *env;
    const struct cel_type *device;
} shared; /* as long as the process */

enum { FIELD_DRIVER, FIELD_MULTI, FIELD_ATTRIBUTES, FIELD_CAPACITY, N_FIELDS };

static const struct cel_type *sized(struct arena *a, const struct cel_type *t, uint64_t max)
{
    struct cel_type *copy = ARENA_NEW(a, struct cel_type);
    *copy = *t;
    copy->max = max;
    copy->flags |= CEL_SIZED;
    return copy;
}

static const struct cel_type *by_domain(struct arena *a, const struct cel_type *value)
{
    const struct cel_type *domain = sized(a, &cel_string, MAX_DOMAIN), *id = sized(a, &cel_string, MAX_ID);
    return sized(a, cel_map_of(a, domain, sized(a, cel_map_of(a, id, value), MAX_NAMES)), MAX_NAMES);
}

static void make_env(void)
{
    shared.env = cel_env_new(CEL_LIB_KUBERNETES | CEL_LIB_BIND, 255);
    struct arena *a = cel_env_arena(shared.env);
    struct cel_field *f = ARENA_ARRAY(a, struct cel_field, N_FIELDS);
    f[FIELD_DRIVER] = (struct cel_field){.name = STR("driver"), .type = sized(a, &cel_string, MAX_DRIVER)};
    f[FIELD_MULTI] = (struct cel_field){.name = STR("allowMultipleAllocations"), .type = sized(a, &cel_bool, 1)};
    f[FIELD_ATTRIBUTES] =
        (struct cel_field){.name = STR("attributes"), .type = by_domain(a, sized(a, &cel_dyn, MAX_VALUE))};
    f[FIELD_CAPACITY] = (struct cel_field){.name = STR("capacity"), .type = by_domain(a, sized(a, &cel_quantity, 0))};
    for (int i = 0; i < N_FIELDS; i++)
        f[i].json = f[i].name;
    shared.device = cel_object_of(a, STR("kubernetes.DRADevice"), f, N_FIELDS);
    cel_env_var(shared.env, "device", shared.device);
}

int dra_selector_compile(struct str expr, struct dra_selector **ret, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct cel_issues issues;
    struct cel_program *p;
    pthread_once(&once, make_env);
    if (cel_compile(shared.env, expr, &a, &p, &issues) < 0)
        return err_set(e, -EINVAL, "compilation failed: " STR_FMT, STR_ARG(issues.text));
    const struct cel_type *t = cel_program_type(p);
    if (t->kind != CEL_BOOL && t->kind != CEL_DYN) {
        struct str name = cel_type_text(&a, t);
        cel_program_unref(p);
        return err_set(e, -EINVAL, "must evaluate to bool or the unknown type, not " STR_FMT, STR_ARG(name));
    }
    struct dra_selector *s = NEW(struct dra_selector);
    s->refs = 1;
    s->program = p;
    *ret = s;
    return 0;
}

uint64_t dra_selector_max_cost(const struct dra_selector *s)
{
    return cel_estimate(s->program).max;
}

struct dra_selector *dra_selector_ref(struct dra_selector *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

struct dra_selector *dra_selector_unref(struct dra_selector *s)
{
    if (s && __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        cel_program_unref(s->program);
        free(s);
    }
    return NULL;
}

/* ---- a device as its expression sees it ---------------------------------------------------------------------- */

static struct cel_val attribute_one(struct arena *a, const struct val *v, bool version)
{
    return version ? cel_semver_of(a, val_str(v)) : cel_view(a, v, NULL);
}

static struct cel_val attribute_list(struct arena *a, const struct val *list, bool version)
{
    struct cel_val *items = ARENA_ARRAY(a, struct cel_val, val_len(list));
    size_t n = 0;
    VAL_EACH(list, it) {
        items[n++] = attribute_one(a, it, version);
        if (items[n - 1].kind == CEL_ERROR)
            return items[n - 1];
    }
    return cel_new_list(a, items, n);
}

/* The one member of a DeviceAttribute that is set. */
static struct cel_val attribute_value(struct arena *a, const struct val *attr)
{
    static const struct {
        const char *name;
        bool list, version;
    } members[] = {{"ints", true, false}, {"bools", true, false}, {"strings", true, false}, {"versions", true, true},
                   {"int", false, false}, {"bool", false, false}, {"string", false, false}, {"version", false, true}};
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        const struct val *v = val_key(attr, str_of(members[i].name));
        if (v && v->kind != VAL_NULL)
            return members[i].list ? attribute_list(a, v, members[i].version) : attribute_one(a, v, members[i].version);
    }
    static const char text[] = "unsupported attribute value";
    return (struct cel_val){.kind = CEL_ERROR, .n = sizeof(text) - 1, .s = text};
}

static struct cel_val capacity_value(struct arena *a, const struct val *capacity)
{
    return cel_view(a, val_key(capacity, STR("value")), &cel_quantity);
}

struct group {
    struct str domain;
    struct cel_val *pairs;
    size_t n;
};

/* The group of a domain, made when it is new. */
static struct group *group_of(struct arena *a, struct group *groups, size_t *n, struct str domain, size_t room)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq(groups[i].domain, domain))
            return &groups[i];
    groups[*n] = (struct group){.domain = domain, .pairs = ARENA_ARRAY(a, struct cel_val, 2 * room)};
    return &groups[(*n)++];
}

static struct cel_val error_in(struct arena *a, struct str name, struct cel_val v)
{
    struct str s = arena_printf(a, "attribute " STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(cel_str(v)));
    return (struct cel_val){.kind = CEL_ERROR, .n = (uint32_t)s.n, .s = s.p};
}

/* Names "domain/id" (or "id", of the driver's domain) as a map of maps; a domain that is not there is an empty map. */
static struct cel_val grouped(struct arena *a, struct str driver, const struct val *names,
                              struct cel_val (*value)(struct arena *, const struct val *))
{
    size_t n = 0, room = val_len(names);
    struct group *groups = ARENA_ARRAY(a, struct group, room);
    VAL_EACH_ENTRY(names, k, v) {
        struct str domain = driver, id = val_str(k), head, tail;
        if (str_cut(id, '/', &head, &tail)) {
            domain = head;
            id = tail;
        }
        struct cel_val x = value(a, v);
        if (x.kind == CEL_ERROR)
            return error_in(a, val_str(k), x);
        struct group *g = group_of(a, groups, &n, domain, room);
        g->pairs[2 * g->n] = cel_of_str(id);
        g->pairs[2 * g->n++ + 1] = x;
    }
    struct cel_val *pairs = ARENA_ARRAY(a, struct cel_val, 2 * n), *empty = ARENA_NEW(a, struct cel_val);
    *empty = cel_new_map(a, NULL, 0);
    for (size_t i = 0; i < n; i++) {
        pairs[2 * i] = cel_of_str(groups[i].domain);
        pairs[2 * i + 1] = cel_new_map(a, groups[i].pairs, groups[i].n);
    }
    return cel_new_map_default(a, pairs, n, empty);
}

struct input {
    struct str driver;
    const struct val *device;
};

static struct cel_val device_variable(void *user, unsigned variable, struct arena *a)
{
    const struct input *in = user;
    struct cel_val f[N_FIELDS];
    f[FIELD_DRIVER] = cel_of_str(in->driver);
    f[FIELD_MULTI] = cel_of_bool(val_bool(val_get(in->device, N_allowMultipleAllocations), false));
    f[FIELD_ATTRIBUTES] = grouped(a, in->driver, val_get(in->device, N_attributes), attribute_value);
    f[FIELD_CAPACITY] = grouped(a, in->driver, val_get(in->device, N_capacity), capacity_value);
    for (int i = FIELD_ATTRIBUTES; i < N_FIELDS; i++)
        if (f[i].kind == CEL_ERROR)
            return f[i];
    return cel_new_object(a, shared.device, f);
}

int dra_selector_match(const struct dra_selector *s, struct str driver, const struct val *device, bool *ret_match,
                       struct err *e)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct input in = {driver, device};
    struct cel_eval ev = {.variable = device_variable, .user = &in, .arena = &a, .limit = DRA_SELECTOR_MAX_COST};
    struct cel_val v;
    int r = cel_eval(s->program, &ev, &v, e);
    if (r)
        return -EINVAL;
    if (v.kind != CEL_BOOL)
        return err_set(e, -EINVAL, "CEL result of type " STR_FMT " could not be converted to bool",
                       STR_ARG(cel_type_of(v)->name));
    *ret_match = v.b;
    return 0;
}
