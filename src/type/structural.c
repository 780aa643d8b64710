/* SPDX-License-Identifier: Apache-2.0 */
#include "type/structural.h"

#include "names.h"
#include "types.h"

/* ---- the type of a kind -------------------------------------------------------------------------------- */

static const struct field open_fields[] = {
    {.name = N_apiVersion, .kind = K_STRING, .flags = FIELD_OMITEMPTY},
    {.name = N_kind, .kind = K_STRING, .flags = FIELD_OMITEMPTY},
    {.name = N_metadata, .kind = K_MESSAGE, .type = T_meta_v1_ObjectMeta},
};

void custom_type_init(struct custom_type *t, const char *kind, const struct structural *schema)
{
    t->type = (struct type){.name = kind, .fields = open_fields, .n_fields = ARRAY_SIZE(open_fields),
                            .flags = TYPE_ROOT | TYPE_OPEN};
    t->schema = schema;
    t->arena = NULL;
    t->props = NULL;
}

void custom_type_init_later(struct custom_type *t, const char *kind, struct arena *a, const struct val *props)
{
    custom_type_init(t, kind, NULL);
    t->arena = a;
    t->props = props;
}

const struct structural *type_schema(const struct type *t)
{
    if (!t || !(t->flags & TYPE_OPEN))
        return NULL;
    struct custom_type *c = (struct custom_type *)(uintptr_t)CONTAINER_OF(t, struct custom_type, type);
    if (c->arena) {
        c->schema = structural_compile(c->arena, c->props);
        c->arena = NULL;
    }
    return c->schema;
}

/* ---- compiling ----------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum structural_type type;
} type_names[] = {
    {"object", STRUCTURAL_OBJECT},   {"array", STRUCTURAL_ARRAY},   {"string", STRUCTURAL_STRING},
    {"integer", STRUCTURAL_INTEGER}, {"number", STRUCTURAL_NUMBER}, {"boolean", STRUCTURAL_BOOLEAN},
};

static enum structural_type type_of(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (str_is(name, type_names[i].name))
            return type_names[i].type;
    return STRUCTURAL_ANY;
}

/* JSON fields are kept as text (VAL_RAW). */
static const struct val *plain(struct arena *a, const struct val *raw)
{
    struct val *v = NULL;
    return raw && json_decode(a, NULL, val_str(raw), 0, NULL, &v, NULL) == 0 ? v : NULL;
}

static const struct val *plain_list(struct arena *a, const struct val *raws)
{
    struct val *list = val_len(raws) ? val_new(a, VAL_LIST) : NULL;
    VAL_EACH (raws, raw) {
        const struct val *v = plain(a, raw);
        if (v)
            val_add(a, list, *v);
    }
    return list;
}

static const struct structural **compile_all(struct arena *a, const struct val *list)
{
    if (!val_len(list))
        return NULL;
    const struct structural **out = ARENA_ARRAY(a, const struct structural *, val_len(list) + 1);
    size_t n = 0;
    VAL_EACH (list, props)
        out[n++] = structural_compile(a, props);
    return out;
}

static const struct {
    unsigned has;
    name_id name;
    size_t at;
} numbers[] = {
    {RULE_MINIMUM, N_minimum, offsetof(struct structural_rules, minimum)},
    {RULE_MAXIMUM, N_maximum, offsetof(struct structural_rules, maximum)},
    {RULE_MULTIPLE, N_multipleOf, offsetof(struct structural_rules, multiple_of)},
}, counts[] = {
    {RULE_MIN_LENGTH, N_minLength, offsetof(struct structural_rules, min_length)},
    {RULE_MAX_LENGTH, N_maxLength, offsetof(struct structural_rules, max_length)},
    {RULE_MIN_ITEMS, N_minItems, offsetof(struct structural_rules, min_items)},
    {RULE_MAX_ITEMS, N_maxItems, offsetof(struct structural_rules, max_items)},
    {RULE_MIN_MEMBERS, N_minProperties, offsetof(struct structural_rules, min_members)},
    {RULE_MAX_MEMBERS, N_maxProperties, offsetof(struct structural_rules, max_members)},
};

static void read_bounds(struct structural_rules *r, const struct val *props)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        if (val_get(props, numbers[i].name)) {
            r->has |= numbers[i].has;
            *(double *)(void *)((char *)r + numbers[i].at) = val_float(val_get(props, numbers[i].name), 0);
        }
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        if (val_get(props, counts[i].name)) {
            r->has |= counts[i].has;
            *(int64_t *)(void *)((char *)r + counts[i].at) = val_int(val_get(props, counts[i].name), 0);
        }
    if (val_bool(val_get(props, N_exclusiveMinimum), false))
        r->has |= RULE_ABOVE;
    if (val_bool(val_get(props, N_exclusiveMaximum), false))
        r->has |= RULE_BELOW;
    if (val_bool(val_get(props, N_uniqueItems), false))
        r->has |= RULE_UNIQUE;
}

static struct structural_rules *compile_rules(struct arena *a, const struct val *props)
{
    struct structural_rules r = {.pattern = val_getstr(props, N_pattern), .format = val_getstr(props, N_format)};
    read_bounds(&r, props);
    r.required = val_len(val_get(props, N_required)) ? val_get(props, N_required) : NULL;
    r.enums = plain_list(a, val_get(props, N_enum));
    r.all = compile_all(a, val_get(props, N_allOf));
    r.any = compile_all(a, val_get(props, N_anyOf));
    r.one = compile_all(a, val_get(props, N_oneOf));
    r.not_ = val_get(props, N_not) ? structural_compile(a, val_get(props, N_not)) : NULL;
    r.expressions = val_len(val_get(props, N_x_kubernetes_validations)) ? val_get(props, N_x_kubernetes_validations) : NULL;
    if (!r.has && !r.pattern.n && !r.format.n && !r.required && !r.enums && !r.all && !r.any && !r.one && !r.not_ && !r.expressions)
        return NULL;
    struct structural_rules *out = ARENA_NEW(a, struct structural_rules);
    *out = r;
    return out;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct structural_member *)x)->name, ((const struct structural_member *)y)->name);
}

static void compile_members(struct arena *a, struct structural *s, const struct val *properties)
{
    size_t n = 0;
    if (!val_len(properties))
        return;
    struct structural_member *m = ARENA_ARRAY(a, struct structural_member, val_len(properties));
    VAL_EACH_ENTRY (properties, k, v)
        m[n++] = (struct structural_member){val_str(k), structural_compile(a, v)};
    qsort(m, n, sizeof(*m), by_name);
    s->members = m;
    s->n_members = n;
}

static bool says(const struct val *props, name_id name)
{
    return val_bool(val_get(props, name), false);
}

static enum structural_list list_kind(struct str name)
{
    return str_is(name, "map") ? STRUCTURAL_MAP : str_is(name, "set") ? STRUCTURAL_SET : STRUCTURAL_ATOMIC;
}

const struct structural *structural_compile(struct arena *a, const struct val *props)
{
    struct structural *s = ARENA_NEW(a, struct structural);
    const struct val *more = val_get(props, N_additionalProperties), *items = val_get(props, N_items);
    *s = (struct structural){
        .type = type_of(val_getstr(props, N_type)),
        .list = list_kind(val_getstr(props, N_x_kubernetes_list_type)),
        .nullable = says(props, N_nullable),
        .keep_unknown = !props || says(props, N_x_kubernetes_preserve_unknown_fields),
        .embedded = says(props, N_x_kubernetes_embedded_resource),
        .int_or_string = says(props, N_x_kubernetes_int_or_string),
        .any_additional = val_bool(more, false),
        .atomic_map = str_is(val_getstr(props, N_x_kubernetes_map_type), "atomic"),
        .list_keys = val_get(props, N_x_kubernetes_list_map_keys),
        .default_value = plain(a, val_get(props, N_default)),
        .rules = props ? compile_rules(a, props) : NULL,
    };
    if (val_is(more, VAL_OBJ))
        s->additional = structural_compile(a, more);
    if (val_is(items, VAL_OBJ))
        s->items = structural_compile(a, items);
    compile_members(a, s, val_get(props, N_properties));
    s->embeds = s->embedded || (s->additional && s->additional->embeds) || (s->items && s->items->embeds);
    for (size_t i = 0; i < s->n_members; i++)
        s->embeds |= s->members[i].schema->embeds;
    return s;
}

const struct structural *structural_property(const struct structural *s, struct str name)
{
    size_t lo = 0, hi = s->n_members;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = str_cmp(s->members[mid].name, name);
        if (c == 0)
            return s->members[mid].schema;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct structural *structural_member(const struct structural *s, struct str name)
{
    const struct structural *m = structural_property(s, name);
    return m ? m : s->additional;
}

/* ---- pruning ------------------------------------------------------------------------------------------- */

struct prune {
    struct arena *a;
    struct buf path;
    struct json_report *problems;
};

static void tell_unknown(struct prune *p, struct str name)
{
    struct json_report *rep = p->problems;
    if (!rep || rep->n >= JSON_REPORT_MAX)
        return;
    if (!rep->problems)
        rep->problems = ARENA_ARRAY(p->a, struct str, JSON_REPORT_MAX);
    rep->problems[rep->n++] = arena_printf(p->a, "unknown field \"" STR_FMT "%s" STR_FMT "\"", STR_ARG(buf_str(&p->path)),
                                           p->path.n ? "." : "", STR_ARG(name));
}

/* Taking pairs out one by one would cost the square of their number: those that stay move up instead. */
static void keep_pair(struct val *v, size_t to, size_t from)
{
    if (to != from)
        memcpy(&v->items[2 * to], &v->items[2 * from], 2 * sizeof(struct val));
}

static bool is_head(struct str name)
{
    return str_is(name, "apiVersion") || str_is(name, "kind") || str_is(name, "metadata");
}

static void prune(struct prune *p, const struct structural *s, struct val *v, bool object);

/* What the schema says of a member: 0 nothing, 1 something, in *ret (NULL: nothing about what is below it). */
static bool knows(const struct structural *s, struct str name, const struct structural **ret)
{
    *ret = s ? structural_member(s, name) : NULL;
    return *ret || (s && s->any_additional);
}

static void prune_member(struct prune *p, const struct structural *m, struct str name, struct val *v)
{
    size_t at = p->path.n;
    buf_printf(&p->path, "%s" STR_FMT, at ? "." : "", STR_ARG(name));
    prune(p, m, v, m && m->embedded);
    p->path.n = at;
}

/* object: kind, apiVersion and metadata stay. Those at the root that do not are not told of. */
static void prune_map(struct prune *p, const struct structural *s, struct val *v, bool object)
{
    const struct structural *m;
    uint32_t kept = 0;
    for (size_t i = 0; i < v->n; i++) {
        struct str name = val_str(&v->items[2 * i]);
        bool known = knows(s, name, &m), head = is_head(name);
        if (!(object && head) && !known && !(s && s->keep_unknown)) {
            if (!head || p->path.n)
                tell_unknown(p, name);
            continue;
        }
        if (!(object && head) && known)
            prune_member(p, m, name, &v->items[2 * i + 1]);
        keep_pair(v, kept++, i);
    }
    v->n = kept;
}

static void prune(struct prune *p, const struct structural *s, struct val *v, bool object)
{
    size_t at = p->path.n;
    bool leave = s && s->keep_unknown && !s->items;
    if (v->kind == VAL_MAP)
        prune_map(p, s, v, object);
    for (uint32_t i = 0; v->kind == VAL_LIST && !leave && i < v->n; i++) {
        buf_printf(&p->path, "[%u]", i);
        prune(p, s ? s->items : NULL, &v->items[i], s && s->items && s->items->embedded);
        p->path.n = at;
    }
}

void structural_prune(struct arena *a, const struct structural *s, struct val *v, bool root, struct json_report *problems)
{
    unsigned had = problems ? problems->n : 0;
    struct prune p = {.a = a, .path = BUF_INIT, .problems = problems};
    prune(&p, s, v, root);
    buf_done(&p.path);
    if (problems && problems->n > had)
        str_sort(problems->problems + had, problems->n - had);
}

/* ---- defaults ------------------------------------------------------------------------------------------ */

/* A null where none may be gives way to the default; without one a member goes, an item stays for validation to refuse. */
static bool gives_way(const struct structural *s, const struct val *v)
{
    return v->kind == VAL_NULL && !s->nullable && s->default_value;
}

static void drop_nulls(const struct structural *s, struct val *v)
{
    uint32_t kept = 0;
    for (size_t i = 0; i < v->n; i++) {
        const struct structural *m = structural_member(s, val_str(&v->items[2 * i]));
        if (!m || v->items[2 * i + 1].kind != VAL_NULL || m->nullable || m->default_value)
            keep_pair(v, kept++, i);
    }
    v->n = kept;
}

static void default_map(struct arena *a, const struct structural *s, struct val *v)
{
    drop_nulls(s, v);
    for (size_t i = 0; i < s->n_members; i++) {
        const struct structural *m = s->members[i].schema;
        struct val *have = (struct val *)(uintptr_t)val_key(v, s->members[i].name);
        if (m->default_value && (!have || gives_way(m, have)))
            val_put(a, v, s->members[i].name, *val_copy(a, m->default_value));
    }
    for (size_t i = 0; i < v->n; i++) {
        const struct structural *m = structural_member(s, val_str(&v->items[2 * i]));
        struct val *it = &v->items[2 * i + 1];
        if (m && gives_way(m, it))
            *it = *val_copy(a, m->default_value);
        if (m)
            structural_default(a, m, it);
    }
}

void structural_default(struct arena *a, const struct structural *s, struct val *v)
{
    if (v->kind == VAL_MAP)
        default_map(a, s, v);
    for (uint32_t i = 0; v->kind == VAL_LIST && s->items && i < v->n; i++) {
        if (gives_way(s->items, &v->items[i]))
            v->items[i] = *val_copy(a, s->items->default_value);
        structural_default(a, s->items, &v->items[i]);
    }
}
