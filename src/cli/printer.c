/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/printer.h"

#include "base/os.h"
#include "cli/jsonpath.h"
#include "cli/template.h"
#include "names.h"
#include "type/meta.h"
#include "wire/yaml.h"

enum { MAX_TEMPLATE = 1 << 20 };

struct print_column {
    struct str header;
    const struct jsonpath *path;
};

/* ---- making ---------------------------------------------------------------------------------------------------- */

static int read_template(struct cli *c, struct str path, struct str *ret)
{
    const char *file = arena_cstr(&c->a, path);
    int r = os_read_file(&c->a, file, MAX_TEMPLATE, ret);
    return r < 0 ? cli_fail(c, "error reading --template %s, %s", file, strerror(-r)) : 0;
}

static int make_jsonpath(struct cli *c, struct str text, struct printer *p)
{
    struct err e = {0};
    if (!text.n)
        return cli_fail(c, "template format specified but no template given");
    if (jsonpath_parse(&c->a, text, &p->path, &e) < 0)
        return cli_fail(c, "error parsing jsonpath " STR_FMT ", %s", STR_ARG(text), e.text);
    return 0;
}

static int make_template(struct cli *c, struct str text, struct printer *p)
{
    struct err e = {0};
    if (!text.n)
        return cli_fail(c, "template format specified but no template given");
    if (template_parse(&c->a, text, &p->template, &e) < 0)
        return cli_fail(c, "error parsing template " STR_FMT ", %s", STR_ARG(text), e.text);
    return 0;
}

static int add_column(struct cli *c, struct printer *p, struct str header, struct str spec)
{
    struct err e = {0};
    struct str path;
    struct print_column *col = &p->columns[p->n_columns++];
    col->header = header;
    if (jsonpath_relaxed(&c->a, spec, &path, &e) < 0 || jsonpath_parse(&c->a, path, &col->path, &e) < 0)
        return cli_fail(c, "%s", e.text);
    return 0;
}

/* Commas inside of brackets and parentheses belong to the path. */
static struct str next_column(struct str *rest)
{
    int depth = 0;
    size_t i = 0;
    for (; i < rest->n && (rest->p[i] != ',' || depth); i++)
        depth += (rest->p[i] == '[' || rest->p[i] == '(') - (rest->p[i] == ']' || rest->p[i] == ')');
    struct str head = str_slice(*rest, 0, i);
    *rest = i < rest->n ? str_from(*rest, i + 1) : STR_NULL;
    return head;
}

static int make_columns(struct cli *c, struct str spec, struct printer *p)
{
    if (!spec.n)
        return cli_fail(c, "custom-columns format specified but no custom columns given");
    p->columns = ARENA_ARRAY(&c->a, struct print_column, spec.n + 1);
    while (spec.p) {
        struct str one = next_column(&spec), header, path;
        if (!str_cut(one, ':', &header, &path))
            return cli_fail(c, "unexpected custom-columns spec: " STR_FMT ", expected <header>:<json-path-expr>", STR_ARG(one));
        int r = add_column(c, p, header, path);
        if (r)
            return r;
    }
    return 0;
}

static bool next_word(struct str *rest, struct str *ret)
{
    *rest = str_trim(*rest);
    size_t n = 0;
    while (n < rest->n && !strchr(" \t\r", rest->p[n]))
        n++;
    *ret = str_slice(*rest, 0, n);
    *rest = str_from(*rest, n);
    return n > 0;
}

static int make_columns_file(struct cli *c, struct str path, struct printer *p)
{
    struct str text, headers, specs, rest, header, spec;
    int r = read_template(c, path, &text);
    if (r)
        return r;
    str_cut(text, '\n', &headers, &rest);
    if (!str_cut(rest, '\n', &specs, &rest) && !specs.n)
        return cli_fail(c, "invalid template, missing spec line. Expected format is one line of space separated headers, one "
                           "line of space separated column specs.");
    p->columns = ARENA_ARRAY(&c->a, struct print_column, text.n + 1);
    while (next_word(&headers, &header) && next_word(&specs, &spec))
        if ((r = add_column(c, p, header, spec)) != 0)
            return r;
    return 0;
}

static const struct form {
    const char *name;
    enum print_kind kind;
    bool table, file; /* only of get; the argument names a file */
    int (*make)(struct cli *c, struct str arg, struct printer *p); /* NULL: takes no argument */
} forms[] = {
    {"json", PRINT_JSON, false, false, NULL},
    {"yaml", PRINT_YAML, false, false, NULL},
    {"kyaml", PRINT_YAML, false, false, NULL},
    {"name", PRINT_NAME, false, false, NULL},
    {"wide", PRINT_WIDE, true, false, NULL},
    {"jsonpath", PRINT_JSONPATH, false, false, make_jsonpath},
    {"jsonpath-file", PRINT_JSONPATH, false, true, make_jsonpath},
    {"jsonpath-as-json", PRINT_JSONPATH_JSON, false, false, make_jsonpath},
    {"go-template", PRINT_TEMPLATE, false, false, make_template},
    {"go-template-file", PRINT_TEMPLATE, false, true, make_template},
    {"template", PRINT_TEMPLATE, false, false, make_template},
    {"templatefile", PRINT_TEMPLATE, false, true, make_template},
    {"custom-columns", PRINT_COLUMNS, true, false, make_columns},
    {"custom-columns-file", PRINT_COLUMNS, true, false, make_columns_file},
};

static int no_such_form(struct cli *c, const char *output, bool table)
{
    return cli_fail(c, "unable to match a printer suitable for the output format \"%s\", allowed formats are: %sgo-template,"
                       "go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,template,templatefile,%syaml",
                    output, table ? "custom-columns,custom-columns-file," : "", table ? "wide," : "");
}

int printer_make(struct cli *c, const struct print_flags *f, bool table, struct printer *ret)
{
    const char *output = f->output ? f->output : "";
    struct str name, arg;
    struct printer p = {.flags = *f};
    if (!output[0] && f->template && f->template[0])
        output = "go-template";
    bool has_arg = str_cut(str_of(output), '=', &name, &arg);
    if (!has_arg && f->template)
        arg = str_of(f->template);
    if (!output[0]) {
        *ret = p;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        const struct form *form = &forms[i];
        if (!str_is(name, form->name) || (form->table && !table) || (has_arg && !form->make))
            continue;
        p.kind = form->kind;
        int r = form->file ? read_template(c, arg, &arg) : 0;
        if (r == 0 && form->make)
            r = form->make(c, form->file ? str_trim(arg) : arg, &p);
        *ret = p;
        return r;
    }
    return no_such_form(c, output, table);
}

/* ---- objects ------------------------------------------------------------------------------------------------- */

/* What templates and paths look at is the JSON form. */
static const struct val *untyped(struct cli *c, const struct type *t, const struct val *v)
{
    struct val *out = NULL;
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!t)
        return v;
    json_encode(&b, t, v, 0);
    return json_decode(&c->a, NULL, arena_str(&c->a, buf_str(&b)), 0, NULL, &out, NULL) < 0 ? v : out;
}

static const struct val *without_managed_fields(struct cli *c, const struct val *v)
{
    const struct val *meta = obj_meta(v);
    if (val_is(v, VAL_MAP) && val_get(v, N_items)) {
        struct val *copy = val_copy_shallow(&c->a, v), *items = val_new(&c->a, VAL_LIST);
        VAL_EACH(val_get(v, N_items), item)
        {
            val_add(&c->a, items, *without_managed_fields(c, item));
        }
        val_put(&c->a, copy, STR("items"), *items);
        return copy;
    }
    if (!val_get(meta, N_managedFields) || !val_is(v, VAL_MAP))
        return v;
    struct val *copy = val_copy_shallow(&c->a, v), *m = val_copy_shallow(&c->a, meta);
    val_unput(m, STR("managedFields"));
    val_put(&c->a, copy, STR("metadata"), *m);
    return copy;
}

static int put_json(struct cli *c, struct printer *p, const struct type *t, const struct val *v)
{
    if (!p->flags.show_managed)
        v = without_managed_fields(c, v);
    json_encode(&c->out, t, v, t ? JSON_PRETTY : JSON_PRETTY | JSON_SORTED);
    cli_write(c, STR("\n"));
    return 0;
}

static int put_yaml(struct cli *c, struct printer *p, const struct type *t, const struct val *v)
{
    if (p->count > 1)
        cli_write(c, STR("---\n"));
    if (!p->flags.show_managed)
        v = without_managed_fields(c, v);
    yaml_encode(&c->out, t, v);
    cli_write(c, STR(""));
    return 0;
}

static int put_name(struct cli *c, const struct val *v, const char *did)
{
    if (val_is(val_get(v, N_items), VAL_LIST) && str_ends(val_getstr(v, N_kind), STR("List"))) {
        VAL_EACH(val_get(v, N_items), item)
        {
            put_name(c, item, did);
        }
        return 0;
    }
    struct str name = obj_name(v);
    cli_print(c, STR_FMT "/" STR_FMT "%s%s\n", STR_ARG(object_label(c, v)), STR_ARG(name.n ? name : STR("<unknown>")),
              did[0] ? " " : "", did);
    return 0;
}

static int put_jsonpath(struct cli *c, struct printer *p, const struct val *v)
{
    struct err e = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (jsonpath_print(p->path, &c->a, v, p->flags.allow_missing, &b, &e) < 0)
        return cli_fail(c, "error executing jsonpath \"%s\": Error executing template: %s",
                        p->flags.output && strchr(p->flags.output, '=') ? strchr(p->flags.output, '=') + 1 : "", e.text);
    cli_write(c, buf_str(&b));
    return 0;
}

static int put_jsonpath_json(struct cli *c, struct printer *p, const struct val *v)
{
    struct err e = {0};
    struct jsonpath_values found;
    struct val *list = val_new(&c->a, VAL_LIST);
    if (jsonpath_find(p->path, &c->a, v, p->flags.allow_missing, &found, &e) < 0)
        return cli_fail(c, "error executing jsonpath: %s", e.text);
    for (size_t i = 0; i < found.n; i++) {
        struct val item = *found.items[i];
        item.name = 0;
        val_add(&c->a, list, item);
    }
    json_encode(&c->out, NULL, list, JSON_PRETTY | JSON_SORTED);
    cli_write(c, STR("\n"));
    return 0;
}

static int put_template(struct cli *c, struct printer *p, const struct val *v)
{
    struct err e = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (template_print(p->template, &c->a, v, p->flags.allow_missing, &b, &e) < 0)
        return cli_fail(c, "error executing template: %s", e.text);
    cli_write(c, buf_str(&b));
    return 0;
}

/* ---- custom columns -------------------------------------------------------------------------------------------- */

static int put_columns_row(struct cli *c, struct printer *p, const struct val *v, struct buf *b)
{
    struct err e = {0};
    for (size_t i = 0; i < p->n_columns; i++) {
        struct jsonpath_values found;
        if (i)
            buf_putc(b, '\t');
        if (jsonpath_find(p->columns[i].path, &c->a, v, true, &found, &e) < 0)
            return cli_fail(c, "%s", e.text);
        if (!found.n)
            buf_puts(b, "<none>");
        for (size_t k = 0; k < found.n; k++) {
            if (k)
                buf_putc(b, ',');
            text_of_value(b, found.items[k]);
        }
    }
    buf_putc(b, '\n');
    return 0;
}

static int put_columns(struct cli *c, struct printer *p, const struct val *const *items, size_t n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    int r = 0;
    for (size_t i = 0; !p->no_headers && p->count <= 1 && i < p->n_columns; i++)
        buf_printf(&b, "%s" STR_FMT "%s", i ? "\t" : "", STR_ARG(p->columns[i].header), i + 1 == p->n_columns ? "\n" : "");
    for (size_t i = 0; r == 0 && i < n; i++)
        r = put_columns_row(c, p, items[i], &b);
    tab_align(&c->out, buf_str(&b), TAB_TABLE, &p->widths);
    cli_write(c, STR(""));
    return r;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

int printer_put(struct cli *c, struct printer *p, const struct type *t, const struct val *v, const char *did)
{
    p->count++;
    switch (p->kind) {
    case PRINT_JSON:
        return put_json(c, p, t, v);
    case PRINT_YAML:
        return put_yaml(c, p, t, v);
    case PRINT_NAME:
        return put_name(c, v, "");
    case PRINT_JSONPATH:
        return put_jsonpath(c, p, untyped(c, t, v));
    case PRINT_JSONPATH_JSON:
        return put_jsonpath_json(c, p, untyped(c, t, v));
    case PRINT_TEMPLATE:
        return put_template(c, p, untyped(c, t, v));
    case PRINT_COLUMNS:
        return put_columns(c, p, (const struct val *const[]){untyped(c, t, v)}, 1);
    case PRINT_NONE:
    case PRINT_WIDE:
        return put_name(c, v, did);
    }
    return 0;
}

static struct val *list_of(struct cli *c, const struct val *const *items, size_t n, struct str revision)
{
    struct arena *a = &c->a;
    struct val *list = val_new(a, VAL_MAP), *meta = val_new(a, VAL_MAP), *all = val_new(a, VAL_LIST);
    for (size_t i = 0; i < n; i++) {
        struct val item = *items[i];
        item.name = 0;
        val_add(a, all, item);
    }
    val_put_str(a, meta, STR("resourceVersion"), revision);
    val_put_str(a, list, STR("apiVersion"), STR("v1"));
    val_put(a, list, STR("items"), *all);
    val_put_str(a, list, STR("kind"), STR("List"));
    val_put(a, list, STR("metadata"), *meta);
    return list;
}

int printer_put_all(struct cli *c, struct printer *p, const struct val *const *items, size_t n, bool single,
                    struct str revision)
{
    if (p->kind == PRINT_COLUMNS) {
        p->count++;
        return put_columns(c, p, items, n);
    }
    if (single && n == 1)
        return printer_put(c, p, NULL, items[0], "");
    return printer_put(c, p, NULL, list_of(c, items, n, revision), "");
}

const char *dry_run_word(struct cli *c, const char *did, int dry_run)
{
    if (dry_run == DRY_NONE)
        return did;
    return cli_printf(c, "%s (%sdry run)", did, dry_run == DRY_SERVER ? "server " : "").p;
}

int dry_run_parse(struct cli *c, const char *text, int *ret)
{
    static const char *const words[] = {[DRY_NONE] = "none", [DRY_CLIENT] = "client", [DRY_SERVER] = "server"};
    *ret = DRY_NONE;
    if (!text)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (!strcmp(text, words[i])) {
            *ret = (int)i;
            return 0;
        }
    }
    if (!strcmp(text, "unchanged"))
        return cli_fail(c, "--dry-run flag without a value was specified. A value must be set: \"none\", \"server\", or \"client\".");
    return cli_fail(c, "Invalid dry-run value (%s). Must be \"none\", \"server\", or \"client\".", text);
}
