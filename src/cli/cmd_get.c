/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/jsonpath.h"
#include "cli/printer.h"
#include "cli/request.h"
#include "cli/select.h"
#include "cli/table.h"
#include "names.h"
#include "type/meta.h"

struct get {
    struct print_flags print;
    struct file_flags files;
    struct flag_list label_columns;
    struct printer printer;
    const char *raw, *labels, *fields, *subresource, *sort_by;
    bool watch, watch_only, watch_events, ignore_missing, all_namespaces, no_headers, show_labels, show_kind;
    bool server_print;       /* as it is given */
    bool ask_tables;         /* the server makes the tables */
    int64_t chunk;
    const struct jsonpath *sort;
};

static bool human(const struct get *g)
{
    return g->printer.kind == PRINT_NONE || g->printer.kind == PRINT_WIDE;
}

/* ---- sorting ---------------------------------------------------------------------------------------------------- */

struct sort_row {
    struct info info;
    const struct val *key;
    size_t at; /* keeps the sort stable */
};

static int compare_rows(const void *a, const void *b)
{
    const struct sort_row *x = a, *y = b;
    int r = value_order(x->key, y->key);
    return r ? r : (x->at > y->at) - (x->at < y->at);
}

static int sort_infos(struct cli *c, const struct get *g, struct selection *s)
{
    struct sort_row *rows = ARENA_ARRAY(&c->a, struct sort_row, s->n + 1);
    size_t found_any = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct jsonpath_values found;
        struct err e = {0};
        if (jsonpath_find(g->sort, &c->a, s->items[i].v, true, &found, &e) < 0)
            return cli_fail(c, "%s", e.text);
        rows[i] = (struct sort_row){.info = s->items[i], .key = found.n ? found.items[0] : NULL, .at = i};
        found_any += found.n > 0;
    }
    if (s->n && !found_any)
        return cli_fail(c, "couldn't find any field with path \"%s\" in the list of objects", g->sort_by);
    qsort(rows, s->n, sizeof(*rows), compare_rows);
    for (size_t i = 0; i < s->n; i++)
        s->items[i] = rows[i].info;
    return 0;
}

static int parse_sort(struct cli *c, struct get *g)
{
    struct err e = {0};
    struct str path;
    if (!g->sort_by || !g->sort_by[0])
        return 0;
    if (jsonpath_relaxed(&c->a, str_of(g->sort_by), &path, &e) < 0 || jsonpath_parse(&c->a, path, &g->sort, &e) < 0)
        return cli_fail(c, "%s", e.text);
    return 0;
}

/* ---- tables -------------------------------------------------------------------------------------------------------- */

static struct table_style style_of(const struct get *g, bool with_kind)
{
    return (struct table_style){.no_headers = g->no_headers,
                                .wide = g->printer.kind == PRINT_WIDE,
                                .show_labels = g->show_labels,
                                .with_kind = with_kind,
                                .label_columns = &g->label_columns};
}

static void add_rows(struct cli *c, struct table *t, const struct kind *k, const struct val *v, struct str event)
{
    if (str_is(val_getstr(v, N_kind), "Table") && val_get(v, N_columnDefinitions))
        table_add_server(c, t, k, v, event);
    else
        table_add(c, t, k, v, event);
}

static int print_table(struct cli *c, const struct get *g, const struct selection *s)
{
    struct table t = {.style = style_of(g, s->many_kinds || g->show_kind)};
    bool namespaced = s->all_namespaced && !g->all_namespaces;
    for (size_t i = 0; i < s->n; i++) {
        t.style.with_namespace = g->all_namespaces && s->items[i].kind->namespaced;
        add_rows(c, &t, s->items[i].kind, s->items[i].v, STR_NULL);
    }
    table_flush(c, &t);
    if (!t.any && !g->ignore_missing && !s->code) {
        if (namespaced)
            cli_note(c, "No resources found in " STR_FMT " namespace.", STR_ARG(c->ns));
        else
            cli_note(c, "No resources found");
    }
    return 0;
}

/* ---- listing --------------------------------------------------------------------------------------------------------- */

static struct query query_of(const struct get *g, int argc, char **argv)
{
    return (struct query){.argc = argc,
                          .argv = argv,
                          .files = &g->files,
                          .labels = g->labels,
                          .fields = g->fields,
                          .subresource = g->subresource,
                          .all_namespaces = g->all_namespaces,
                          .list_types = true,
                          .fetch = true,
                          .latest = true,
                          .ignore_missing = g->ignore_missing,
                          .typed = human(g) && !g->ask_tables,
                          .table = human(g),
                          .chunk = g->sort ? 0 : g->chunk};
}

static int print_objects(struct cli *c, struct get *g, const struct selection *s)
{
    const struct val **items = ARENA_ARRAY(&c->a, const struct val *, s->n + 1);
    for (size_t i = 0; i < s->n; i++)
        items[i] = s->items[i].v;
    if (s->n == 0 && (g->ignore_missing || (s->code && s->single)))
        return 0;
    return printer_put_all(c, &g->printer, items, s->n, s->single, STR(""));
}

static int list(struct cli *c, struct get *g, int argc, char **argv)
{
    struct selection s;
    struct query q = query_of(g, argc, argv);
    cli_hold(c); /* what is missing is said after what is there */
    int r = select_objects(c, &q, &s);
    if (r == 0 && g->sort)
        r = sort_infos(c, g, &s);
    if (r == 0)
        r = human(g) ? print_table(c, g, &s) : print_objects(c, g, &s);
    cli_release(c);
    return r ? r : s.code;
}

/* ---- watching ----------------------------------------------------------------------------------------------------------- */

struct watched {
    struct cli *c;
    struct get *g;
    struct info info; /* the kind; with a name when one object is watched */
    struct table table;
};

static int show(struct watched *w, struct val *v, struct str type)
{
    struct str event = w->g->watch_events ? type : STR_NULL;
    int r = 0;
    if (human(w->g)) {
        add_rows(w->c, &w->table, w->info.kind, v, event);
        table_flush(w->c, &w->table);
    } else if (event.n) {
        struct val *e = val_new(&w->c->a, VAL_MAP);
        val_put_str(&w->c->a, e, STR("type"), type);
        val_put(&w->c->a, e, STR("object"), *v);
        r = printer_put(w->c, &w->g->printer, NULL, e, "");
    } else {
        r = printer_put(w->c, &w->g->printer, NULL, v, "");
    }
    cli_flush(w->c);
    return r;
}

static int show_present(struct watched *w, const struct query *q, struct str *ret_revision)
{
    struct selection s;
    int r = select_objects(w->c, q, &s);
    if (r || s.code)
        return 1;
    for (size_t i = 0; r == 0 && !w->g->watch_only && i < s.n; i++) {
        if (human(w->g))
            add_rows(w->c, &w->table, w->info.kind, s.items[i].v, w->g->watch_events ? STR("ADDED") : STR_NULL);
        else
            r = show(w, s.items[i].v, STR("ADDED"));
    }
    table_flush(w->c, &w->table);
    cli_flush(w->c);
    *ret_revision = s.revision;
    if (s.n && str_is(val_getstr(s.items[0].v, N_kind), "Table"))
        *ret_revision = val_str(val_at(s.items[s.n - 1].v, N_metadata, N_resourceVersion));
    return r;
}

/* The server's objects are untyped here; tables made here want typed ones. */
static struct val *typed(struct watched *w, struct val *v)
{
    const struct type *t = human(w->g) && !w->g->ask_tables ? w->info.kind->type : NULL;
    struct val *out = NULL;
    if (!t || str_is(val_getstr(v, N_kind), "Table"))
        return v;
    return json_decode(&w->c->a, t, json_text(w->c, NULL, v), 0, NULL, &out, NULL) < 0 ? v : out;
}

static int follow(struct watched *w, struct str query, struct str revision, bool skip_first)
{
    struct watching *watching;
    struct status s;
    const char *accept = human(w->g) && (w->g->ask_tables || !w->info.kind->res)
                             ? "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" : NULL;
    if (watch_open(w->c, w->info.kind, w->info.ns, query, revision, accept, &watching, &s))
        return cli_refused(w->c, &s);
    for (;;) {
        struct event e;
        int r = watch_next(watching, &w->c->a, MONO_NEVER, &e);
        if (r < 0)
            break;
        if (str_is(e.type, "BOOKMARK"))
            continue;
        if (str_is(e.type, "ERROR")) {
            status_init(&s, &w->c->a);
            status_from_val(&s, e.object);
            watch_close(watching);
            return cli_refused(w->c, &s);
        }
        if (skip_first) {
            skip_first = false;
            continue;
        }
        if ((r = show(w, typed(w, e.object), e.type)) != 0) {
            watch_close(watching);
            return r;
        }
    }
    watch_close(watching);
    return 0;
}

static int watch(struct cli *c, struct get *g, int argc, char **argv)
{
    struct query q = query_of(g, argc, argv);
    struct selection names;
    struct str revision = STR_NULL, query;
    q.single_type = true;
    int r = select_names(c, &q, &names);
    if (r || names.code)
        return 1;
    if (names.n != 1)
        return cli_fail(c, "watch is only supported on individual resources and resource collections - %zu resources were found",
                        names.n);
    struct watched w = {.c = c, .g = g, .info = names.items[0],
                        .table = {.style = style_of(g, g->show_kind), .remember = true}};
    w.table.style.with_namespace = g->all_namespaces && w.info.kind->namespaced;
    r = show_present(&w, &q, &revision);
    if (r)
        return r;
    query = query_with(c, STR_NULL, "labelSelector", str_of(g->labels));
    bool one = w.info.name.n > 0;
    struct str by_name = one ? cli_printf(c, "metadata.name=" STR_FMT, STR_ARG(w.info.name)) : str_of(g->fields);
    query = query_with(c, query, "fieldSelector", by_name);
    /* One object has no list's revision: its watch starts with its present state, which was shown already. */
    return follow(&w, query, one ? STR("0") : revision, one);
}

/* ---- the command ------------------------------------------------------------------------------------------------------- */

static int get_raw(struct cli *c, const struct get *g, int argc)
{
    struct status s;
    struct str text, path = str_of(g->raw), query = STR_NULL;
    if (argc > 1)
        return cli_fail(c, "arguments may not be passed when --raw is specified");
    if (g->watch || g->watch_only || g->labels)
        return cli_fail(c, "--raw may not be specified with other flags that filter the server request or alter the output");
    if (g->print.output)
        return cli_fail(c, "--raw and --output are mutually exclusive");
    if (g->raw[0] != '/')
        return cli_fail(c, "--raw must be a valid URL path: parse \"%s\": invalid URI for request", g->raw);
    str_cut(path, '?', &path, &query);
    struct request r = {.path = arena_str(&c->a, path), .query = query, .accept = "application/json, */*"};
    if (request_text(c, &r, &text, &s))
        return cli_refused(c, &s);
    cli_write(c, text);
    return 0;
}

static int nothing_named(struct cli *c)
{
    cli_note(c, "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported "
                "resources.\n\n");
    return cli_usage(c, "Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that "
                        "resource (e.g. kubectl explain pods).");
}

static int check(struct cli *c, struct get *g, int argc)
{
    const char *out = g->print.output ? g->print.output : "";
    if (g->show_labels && out[0] && strcmp(out, "wide"))
        return cli_fail(c, "--show-labels option cannot be used with %s printer", out);
    if (g->watch_events && !g->watch && !g->watch_only)
        return cli_fail(c, "--output-watch-events option can only be used with --watch or --watch-only");
    if (g->sort_by && g->watch)
        cli_note(c, "warning: --watch requested, --sort-by will be ignored for watch events received");
    if (argc == 1 && !g->files.names.n && !g->files.kustomize)
        return nothing_named(c);
    return 0;
}

int cmd_get(struct cli *c, int argc, char **argv)
{
    struct get g = {.print = PRINT_FLAGS_INIT, .chunk = 500};
    struct flag flags[] = {
        PRINT_FLAGS(&g.print),
        FILE_FLAGS(&g.files, "that name objects to get"),
        {"all-namespaces", 'A', FLAG_BOOL, &g.all_namespaces, "In all namespaces"},
        {"chunk-size", 0, FLAG_INT, &g.chunk, "Objects a request of a large list; 0: all at once"},
        {"field-selector", 0, FLAG_STRING, &g.fields, "Fields to select by (key1=value1,key2!=value2)"},
        {"ignore-not-found", 0, FLAG_BOOL, &g.ignore_missing, "What does not exist is no error"},
        {"label-columns", 'L', FLAG_STRINGS, &g.label_columns, "Labels to show as columns"},
        {"no-headers", 0, FLAG_BOOL, &g.no_headers, "No line of column names"},
        {"output-watch-events", 0, FLAG_BOOL, &g.watch_events, "Tell what kind of change each line is, with --watch"},
        {"raw", 0, FLAG_STRING, &g.raw, "Path to get from the server, printed as it comes"},
        {"selector", 'l', FLAG_STRING, &g.labels, "Labels to select by (key1=value1,key2 in (a,b),!key3)"},
        {"server-print", 0, FLAG_BOOL, &g.server_print, "Take the tables the server makes, also of kinds known here"},
        {"show-kind", 0, FLAG_BOOL, &g.show_kind, "Names with their kind"},
        {"show-labels", 0, FLAG_BOOL, &g.show_labels, "All labels in the last column"},
        {"sort-by", 0, FLAG_STRING, &g.sort_by, "Field to sort by, as a JSONPath ('{.metadata.name}')"},
        {"subresource", 0, FLAG_STRING, &g.subresource, "Part of the object: status, scale, resize"},
        {"watch", 'w', FLAG_BOOL, &g.watch, "Go on with changes after the list"},
        {"watch-only", 0, FLAG_BOOL, &g.watch_only, "Changes alone"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (g.raw)
        return get_raw(c, &g, argc);
    g.ask_tables = g.server_print;
    r = check(c, &g, argc);
    if (r == 0)
        r = printer_make(c, &g.print, true, &g.printer);
    g.printer.no_headers = g.no_headers;
    if (r == 0)
        r = parse_sort(c, &g);
    if (r)
        return r;
    return g.watch || g.watch_only ? watch(c, &g, argc, argv) : list(c, &g, argc, argv);
}
