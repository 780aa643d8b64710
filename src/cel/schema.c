/* SPDX-License-Identifier: Apache-2.0 */
#include "cel/schema.h"

#include "cel/cel-internal.h"

enum { MAX_REQUEST = 3 * 1024 * 1024, MAX_TEXT = MAX_REQUEST - 2 };

static const struct cel_type *sized(struct arena *a, const struct cel_type *t, int64_t max)
{
    struct cel_type *copy = ARENA_NEW(a, struct cel_type);
    *copy = *t;
    copy->max = (uint64_t)MAX(max, (int64_t)0);
    copy->flags |= CEL_SIZED;
    return copy;
}

static bool has(const struct structural *s, unsigned rule)
{
    return s->rules && (s->rules->has & rule);
}

static bool is_format(const struct structural *s, const char *name)
{
    return s->rules && str_is(s->rules->format, name);
}

static bool is_required(const struct structural *s, struct str name)
{
    VAL_EACH (s->rules ? s->rules->required : NULL, it)
        if (str_eq(val_str(it), name))
            return true;
    return false;
}

/* ---- sizes ---------------------------------------------------------------------------------------------------- */

/* The shortest JSON of a value; -1 when expressions cannot see it. */
static int64_t min_size(const struct structural *s, bool root);

static int64_t min_object(const struct structural *s)
{
    int64_t sum = 2;
    for (size_t i = 0; i < s->n_members; i++) {
        const struct structural_member *m = &s->members[i];
        int64_t n = is_required(s, m->name) && !m->schema->default_value ? min_size(m->schema, m->schema->embedded) : -1;
        if (n >= 0)
            sum += (int64_t)m->name.n + n + 4;
    }
    return sum;
}

static int64_t min_text(const struct structural *s)
{
    return is_format(s, "duration") ? 3 : is_format(s, "date") ? 12 : is_format(s, "date-time") ? 21 : 2;
}

static int64_t min_size(const struct structural *s, bool root)
{
    if (s->int_or_string)
        return 1;
    switch (root ? STRUCTURAL_OBJECT : (enum structural_type)s->type) {
    case STRUCTURAL_ARRAY:
        return s->items && min_size(s->items, s->items->embedded) >= 0 ? 2 : -1;
    case STRUCTURAL_OBJECT:
        if (s->additional)
            return min_size(s->additional, s->additional->embedded) >= 0 ? 2 : -1;
        return min_object(s);
    case STRUCTURAL_STRING:
        return min_text(s);
    case STRUCTURAL_BOOLEAN:
        return 4;
    case STRUCTURAL_INTEGER:
    case STRUCTURAL_NUMBER:
        return 1;
    case STRUCTURAL_ANY:
        break;
    }
    return -1;
}

uint64_t cel_schema_cardinality(const struct structural *s, bool root)
{
    int64_t n = min_size(s, root);
    return (uint64_t)(MAX_REQUEST / (MAX(n, (int64_t)0) + 1));
}

uint64_t cel_schema_children(const struct structural *s)
{
    if (s->type == STRUCTURAL_ARRAY)
        return has(s, RULE_MAX_ITEMS) ? (uint64_t)MAX(s->rules->max_items, (int64_t)0) : UINT64_MAX;
    if (s->type == STRUCTURAL_OBJECT && s->additional)
        return has(s, RULE_MAX_MEMBERS) ? (uint64_t)MAX(s->rules->max_members, (int64_t)0) : UINT64_MAX;
    return 1;
}

/* ---- types ----------------------------------------------------------------------------------------------------- */

static const struct cel_type *list_type(struct arena *a, const struct structural *s)
{
    const struct cel_type *item = s->items ? cel_schema_type(a, s->items, s->items->embedded) : NULL;
    if (!item)
        return NULL;
    int64_t fits = MAX_TEXT / (min_size(s->items, s->items->embedded) + 1);
    struct cel_type *t = (struct cel_type *)sized(a, cel_list_of(a, item), has(s, RULE_MAX_ITEMS) ? s->rules->max_items : fits);
    t->flags |= s->list == STRUCTURAL_SET ? CEL_LIST_SET : s->list == STRUCTURAL_MAP ? CEL_LIST_MAP : 0;
    const char **keys = ARENA_ARRAY(a, const char *, val_len(s->list_keys) + 1);
    size_t n = 0;
    VAL_EACH (s->list_keys, k)
        keys[n++] = val_cstr(k);
    t->keys = n ? keys : NULL;
    return t;
}

static const struct cel_type *map_type(struct arena *a, const struct structural *s)
{
    const struct cel_type *value = cel_schema_type(a, s->additional, s->additional->embedded);
    if (!value)
        return NULL;
    int64_t fits = MAX_TEXT / (min_size(s->additional, s->additional->embedded) + 6);
    return sized(a, cel_map_of(a, sized(a, &cel_string, 0), value), has(s, RULE_MAX_MEMBERS) ? s->rules->max_members : fits);
}

static void add_field(struct arena *a, struct cel_field *fields, size_t *n, struct str json, const struct cel_type *t)
{
    struct str name;
    if (t && cel_escape_name(a, json, &name))
        fields[(*n)++] = (struct cel_field){.name = name, .json = json, .type = t};
}

static const struct cel_type *meta_type(struct arena *a, const struct cel_type *text)
{
    struct cel_field *f = ARENA_ARRAY(a, struct cel_field, 2);
    size_t n = 0;
    add_field(a, f, &n, STR("name"), text);
    add_field(a, f, &n, STR("generateName"), text);
    return sized(a, cel_object_of(a, STR("object"), f, n), 0);
}

static bool is_type_meta(struct str name)
{
    return str_is(name, "apiVersion") || str_is(name, "kind") || str_is(name, "metadata");
}

static const struct cel_type *object_type(struct arena *a, const struct structural *s, bool root)
{
    struct cel_field *f = ARENA_ARRAY(a, struct cel_field, s->n_members + 3);
    size_t n = 0;
    if (root) {
        const struct cel_type *text = sized(a, &cel_string, MAX_TEXT);
        add_field(a, f, &n, STR("apiVersion"), text);
        add_field(a, f, &n, STR("kind"), text);
        add_field(a, f, &n, STR("metadata"), meta_type(a, text));
    }
    for (size_t i = 0; i < s->n_members; i++) {
        const struct structural_member *m = &s->members[i];
        if (!root || !is_type_meta(m->name))
            add_field(a, f, &n, m->name, cel_schema_type(a, m->schema, m->schema->embedded));
    }
    return sized(a, cel_object_of(a, STR("object"), f, n), 0);
}

static int64_t longest_enum(const struct structural *s)
{
    int64_t n = 0;
    VAL_EACH (s->rules->enums, it)
        n = MAX(n, (int64_t)val_str(it).n);
    return n;
}

static const struct cel_type *text_type(struct arena *a, const struct structural *s)
{
    bool bounded = has(s, RULE_MAX_LENGTH);
    if (is_format(s, "byte"))
        return sized(a, &cel_bytes, bounded ? s->rules->max_length : MAX_TEXT);
    if (is_format(s, "duration"))
        return sized(a, &cel_duration, 32);
    if (is_format(s, "date"))
        return sized(a, &cel_timestamp, 12);
    if (is_format(s, "date-time"))
        return sized(a, &cel_timestamp, 32);
    if (bounded) /* code points, of four bytes at most */
        return sized(a, &cel_string, 4 * MIN(s->rules->max_length, INT64_MAX / 4));
    return sized(a, &cel_string, s->rules && val_len(s->rules->enums) ? longest_enum(s) : MAX_TEXT);
}

const struct cel_type *cel_schema_type(struct arena *a, const struct structural *s, bool root)
{
    if (s->int_or_string) {
        bool bounded = has(s, RULE_MAX_LENGTH);
        struct cel_type *t = (struct cel_type *)sized(a, &cel_dyn, bounded ? 4 * MIN(s->rules->max_length, INT64_MAX / 4) : MAX_TEXT);
        t->flags |= CEL_INT_OR_STRING;
        return t;
    }
    switch (root ? STRUCTURAL_OBJECT : (enum structural_type)s->type) {
    case STRUCTURAL_OBJECT:
        return s->additional ? map_type(a, s) : object_type(a, s, root);
    case STRUCTURAL_ARRAY:
        return list_type(a, s);
    case STRUCTURAL_STRING:
        return text_type(a, s);
    case STRUCTURAL_INTEGER:
        return sized(a, &cel_int, 0);
    case STRUCTURAL_NUMBER:
        return sized(a, &cel_double, 0);
    case STRUCTURAL_BOOLEAN:
        return sized(a, &cel_bool, 0);
    case STRUCTURAL_ANY:
        break;
    }
    return NULL;
}

struct str cel_schema_cost_text(struct arena *a, const char *what, uint64_t cost, uint64_t limit)
{
    double by = (double)cost / (double)limit;
    struct str factor = by > 100   ? STR("more than 100x")
                        : by < 1.5 ? arena_printf(a, "%fx", by)
                                   : arena_printf(a, "%.1fx", by);
    return arena_printf(a, "%s exceeds budget by factor of " STR_FMT " (try simplifying the rule, or adding maxItems, "
                        "maxProperties, and maxLength where arrays, maps, and strings are declared)", what, STR_ARG(factor));
}
