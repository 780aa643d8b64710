/* SPDX-License-Identifier: Apache-2.0 */
/* explain: from the type tables for kinds that are compiled in, from the definition's schema for custom resources. */
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/select.h"

#include "names.h"
#include "resources.h"

enum { WIDTH = 76, ENUMS_SHOWN = 4, MAX_LEVELS = 32 };

/* Something with a description: a kind, or a field of it. Of the members one kind is set: t and f, or schema. */
struct node {
    const struct type *type;   /* the struct it is, or its items are; NULL for a leaf */
    const struct field *field; /* NULL for a kind */
    const struct val *schema;  /* a JSON schema */
};

struct member {
    struct str name;
    struct node node;
    bool required;
};

struct explanation {
    struct cli *c;
    bool recursive;
    const void *above[MAX_LEVELS]; /* types on the way down: one that holds itself is not entered again */
};

/* ---- what a node says ----------------------------------------------------------------------------------------------- */

static const struct val *schema_items(const struct val *s)
{
    for (;;) {
        const struct val *items = val_key(s, STR("items")), *more = val_key(s, STR("additionalProperties"));
        if (val_is(items, VAL_MAP))
            s = items;
        else if (val_is(more, VAL_MAP))
            s = more;
        else
            return s;
    }
}

static struct str last_part(const char *name)
{
    struct str s = str_of(name);
    return str_from(s, (size_t)(str_rfind(s, '.') + 1));
}

static struct str leaf_name(const struct field *f)
{
    switch ((enum field_kind)f->kind) {
    case K_BOOL:
        return STR("boolean");
    case K_INT32:
    case K_INT64:
    case K_UINT32:
    case K_UINT64:
    case K_ENUM:
        return STR("integer");
    case K_FLOAT64:
        return STR("number");
    case K_STRINGS:
        return STR("[]string");
    case K_QUANTITY:
        return STR("Quantity");
    case K_INTORSTRING:
        return STR("IntOrString");
    case K_MESSAGE:
    case K_JSON_OR:
    case K_RAW:
        return f->type ? last_part(type_at(f->type)->name) : STR("Object");
    case K_ANY:
        return STR("Object");
    default:
        return STR("string");
    }
}

static struct str schema_type(struct cli *c, const struct val *s)
{
    const struct val *items = val_key(s, STR("items")), *more = val_key(s, STR("additionalProperties"));
    struct str type = val_str(val_key(s, STR("type")));
    if (val_bool(val_key(s, STR("x-kubernetes-int-or-string")), false))
        return STR("IntOrString");
    if (str_is(type, "array"))
        return cli_printf(c, "[]" STR_FMT, STR_ARG(schema_type(c, items)));
    if (str_is(type, "object") && val_is(more, VAL_MAP))
        return cli_printf(c, "map[string]" STR_FMT, STR_ARG(schema_type(c, more)));
    return str_is(type, "object") || !type.n ? STR("Object") : type;
}

static struct str type_name(struct cli *c, const struct node *n)
{
    if (n->schema)
        return schema_type(c, n->schema);
    struct str name = leaf_name(n->field);
    if (n->field->card == CARD_LIST)
        return cli_printf(c, "[]" STR_FMT, STR_ARG(name));
    if (n->field->card == CARD_MAP)
        return cli_printf(c, "map[string]" STR_FMT, STR_ARG(name));
    return name;
}

static size_t enums_of(struct cli *c, const struct node *n, const char *const **ret)
{
    const struct field_extra *x = n->field ? field_extra(n->field) : NULL;
    const struct val *list = val_key(n->schema, STR("enum"));
    size_t k = 0;
    if (x && x->enums) {
        while (x->enums[k])
            k++;
        *ret = x->enums;
        return k;
    }
    const char **out = ARENA_ARRAY(&c->a, const char *, val_len(list) + 1);
    VAL_EACH(list, v)
    {
        if (val_is(v, VAL_STR))
            out[k++] = val_cstr(v);
    }
    *ret = out;
    return k;
}

static struct node node_of_field(const struct field *f)
{
    bool is_struct = f->kind == K_MESSAGE && f->type && type_at(f->type)->n_fields;
    return (struct node){.type = is_struct ? type_at(f->type) : NULL, .field = f};
}

static int compare_members(const void *a, const void *b)
{
    return str_cmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static bool is_required(const struct val *schema, struct str name)
{
    VAL_EACH(val_key(schema, STR("required")), v)
    {
        if (str_eq(val_str(v), name))
            return true;
    }
    return false;
}

/* The members by name. */
static size_t members_of(struct cli *c, const struct node *n, struct member **ret)
{
    size_t k = 0;
    if (n->type) {
        struct member *all = ARENA_ARRAY(&c->a, struct member, n->type->n_fields + 1);
        for (unsigned i = 0; i < n->type->n_fields; i++) {
            const struct field *f = &n->type->fields[i];
            all[k++] = (struct member){name_str(f->name), node_of_field(f), f->flags & FIELD_REQUIRED};
        }
        *ret = all;
    } else {
        const struct val *s = schema_items(n->schema), *properties = val_key(s, STR("properties"));
        struct member *all = ARENA_ARRAY(&c->a, struct member, val_len(properties) + 1);
        VAL_EACH_ENTRY(properties, key, v)
        {
            all[k++] = (struct member){val_str(key), {.schema = v}, is_required(s, val_str(key))};
        }
        *ret = all;
    }
    qsort(*ret, k, sizeof(**ret), compare_members);
    return k;
}

/* ---- text ------------------------------------------------------------------------------------------------------------- */

static void put_indent(struct cli *c, unsigned n)
{
    for (; n; n--)
        cli_write(c, STR(" "));
}

/* Words in lines of WIDTH, each indented. */
static void put_wrapped(struct cli *c, unsigned indent, struct str text)
{
    struct str paragraph, word;
    while (str_next(&text, '\n', &paragraph)) {
        size_t at = 0;
        put_indent(c, indent);
        while (str_next(&paragraph, ' ', &word)) {
            if (at && at + 1 + word.n > WIDTH) {
                cli_write(c, STR("\n"));
                put_indent(c, indent);
                at = 0;
            }
            cli_print(c, "%s" STR_FMT, at ? " " : "", STR_ARG(word));
            at += word.n + (at ? 1 : 0);
        }
        cli_write(c, STR("\n"));
    }
}

static void put_doc(struct cli *c, const struct node *n, bool with_type)
{
    struct str own = n->schema ? val_str(val_key(n->schema, STR("description"))) : str_of(n->field ? n->field->doc : NULL);
    struct str of_type = with_type && n->type ? str_of(n->type->doc) : STR_NULL;
    if (own.n)
        put_wrapped(c, 4, own);
    if (of_type.n && !str_eq(own, of_type))
        put_wrapped(c, 4, of_type);
    if (!own.n && !of_type.n)
        put_wrapped(c, 4, STR("<no description>"));
}

static void put_enum_line(struct cli *c, unsigned indent, const struct node *n)
{
    const char *const *words;
    size_t k = enums_of(c, n, &words);
    if (!k)
        return;
    put_indent(c, indent);
    cli_print(c, "enum: ");
    for (size_t i = 0; i < k && i < ENUMS_SHOWN; i++)
        cli_print(c, "%s%s", i ? ", " : "", words[i]);
    cli_print(c, "%s\n", k > ENUMS_SHOWN ? ", ...." : "");
}

static bool entered(struct explanation *x, const struct node *n, unsigned level)
{
    if (level + 1 >= MAX_LEVELS)
        return true;
    for (unsigned i = 0; n->type && i < level; i++)
        if (x->above[i] == n->type)
            return true;
    x->above[level] = n->type;
    return false;
}

static void put_members(struct explanation *x, const struct node *n, unsigned level)
{
    struct member *all;
    size_t k = members_of(x->c, n, &all);
    if (entered(x, n, level))
        return;
    for (size_t i = 0; i < k; i++) {
        unsigned indent = 2 * level + 2;
        put_indent(x->c, indent);
        cli_print(x->c, STR_FMT "\t<" STR_FMT ">%s\n", STR_ARG(all[i].name), STR_ARG(type_name(x->c, &all[i].node)),
                  all[i].required ? " -required-" : "");
        put_enum_line(x->c, indent, &all[i].node);
        if (x->recursive) {
            if (all[i].node.type || all[i].node.schema)
                put_members(x, &all[i].node, level + 1);
            continue;
        }
        put_doc(x->c, &all[i].node, false);
        cli_write(x->c, STR("\n"));
    }
}

static void put_field_head(struct cli *c, struct str name, const struct node *n)
{
    const char *const *words;
    size_t k = enums_of(c, n, &words);
    cli_print(c, "FIELD: " STR_FMT " <" STR_FMT ">\n%s", STR_ARG(name), STR_ARG(type_name(c, n)), k ? "ENUM:\n" : "\n");
    for (size_t i = 0; i < k; i++)
        cli_print(c, "    %s\n", words[i]);
    cli_write(c, STR("\n"));
}

static void explain_node(struct cli *c, struct str name, const struct node *n, bool recursive)
{
    struct explanation x = {.c = c, .recursive = recursive};
    struct member *all;
    if (name.n)
        put_field_head(c, name, n);
    cli_print(c, "DESCRIPTION:\n");
    put_doc(c, n, true);
    cli_print(c, "    \n");
    if (members_of(c, n, &all)) {
        cli_print(c, "FIELDS:\n");
        put_members(&x, n, 0);
    }
    cli_write(c, STR("\n"));
}

/* ---- the command ------------------------------------------------------------------------------------------------------- */

static int custom_schema(struct cli *c, const struct kind *k, struct node *ret)
{
    struct status s;
    struct val *crd = NULL;
    if (request_get(c, kind_at(c, RES_CUSTOMRESOURCEDEFINITIONS), STR(""), k->qualified, NULL, &crd, &s))
        return cli_fail(c, "couldn't find resource for \"" STR_FMT ", Kind=" STR_FMT "\": " STR_FMT, STR_ARG(k->api_version),
                        STR_ARG(k->kind), STR_ARG(s.message));
    VAL_EACH(val_at(crd, N_spec, N_versions), v)
    {
        if (str_eq(val_getstr(v, N_name), k->version))
            ret->schema = val_at(v, N_schema, N_openAPIV3Schema);
    }
    return ret->schema ? 0 : cli_fail(c, "no schema is known of " STR_FMT, STR_ARG(k->qualified));
}

static int find_kind(struct cli *c, struct str word, const char *api_version, const struct kind **ret)
{
    struct str group = STR(""), version = str_of(api_version), head, tail;
    if (str_cut(version, '/', &head, &tail))
        group = head, version = tail;
    struct str name = cli_printf(c, STR_FMT "." STR_FMT "." STR_FMT, STR_ARG(word), STR_ARG(version), STR_ARG(group));
    *ret = kind_by_name(c, group.n ? name : word);
    if (!*ret)
        return cli_note(c, "the server doesn't have a resource type \"" STR_FMT "\"", STR_ARG(word)), 1;
    return 0;
}

static int explain(struct cli *c, const char *arg, const char *api_version, bool recursive)
{
    struct str rest = str_of(arg), word, name = STR_NULL;
    const struct kind *k;
    struct node n = {0};
    str_next(&rest, '.', &word);
    int r = find_kind(c, word, api_version, &k);
    if (r)
        return r;
    n.type = k->type;
    if (!k->type && (r = custom_schema(c, k, &n)) != 0)
        return r;
    if (k->group.n)
        cli_print(c, "GROUP:      " STR_FMT "\n", STR_ARG(k->group));
    cli_print(c, "KIND:       " STR_FMT "\nVERSION:    " STR_FMT "\n\n", STR_ARG(k->kind), STR_ARG(k->version));
    while (rest.p && str_next(&rest, '.', &word)) {
        struct member *all;
        size_t count = members_of(c, &n, &all), at = 0;
        while (at < count && !str_eq(all[at].name, word))
            at++;
        if (at == count)
            return cli_fail(c, "field \"" STR_FMT "\" does not exist", STR_ARG(word));
        n = all[at].node;
        name = word;
    }
    explain_node(c, name, &n, recursive);
    return 0;
}

int cmd_explain(struct cli *c, int argc, char **argv)
{
    const char *api_version = NULL, *output = "plaintext";
    bool recursive = false;
    struct flag flags[] = {
        {"api-version", 0, FLAG_STRING, &api_version, "API version (group/version)"},
        {"output", 'o', FLAG_STRING, &output, "plaintext"},
        {"recursive", 0, FLAG_BOOL, &recursive, "Names of all fields of all levels, without their descriptions"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (strncmp(output, "plaintext", 9))
        return cli_fail(c, "invalid output format \"%s\"; plaintext is supported", output);
    if (argc < 2)
        return cli_fail(c, "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of "
                           "supported resources.");
    if (argc > 2)
        return cli_fail(c, "We accept only this format: explain RESOURCE");
    return explain(c, argv[1], api_version, recursive);
}
