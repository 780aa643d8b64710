/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include "base/os.h"
#include "cli/jsonpath.h"
#include "names.h"
#include "type/meta.h"
#include "type/print.h"

#include <ctype.h>

static void put_upper(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_putc(b, (char)toupper((unsigned char)s.p[i]));
}

void table_put_cell(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' || s.p[i] == '\r' || s.p[i] == '\f') {
            buf_puts(b, "...");
            return;
        }
        if (s.p[i] == '\x1b')
            buf_puts(b, "^[");
        else
            buf_putc(b, s.p[i]);
    }
}

static void put_value(struct buf *b, const struct val *v)
{
    struct buf text CLEANUP_BUF = BUF_INIT;
    if (!v || val_is(v, VAL_NULL))
        return;
    text_of_value(&text, v);
    table_put_cell(b, buf_str(&text));
}

/* ---- headers ------------------------------------------------------------------------------------------------ */

struct header {
    struct buf *b;
    bool any;
};

static void put_header(struct header *h, struct str name)
{
    if (h->any)
        buf_putc(h->b, '\t');
    h->any = true;
    put_upper(h->b, name);
}

static void headers_before(const struct table *t, struct header *h, struct str event)
{
    if (event.n)
        put_header(h, STR("EVENT"));
    if (t->style.with_namespace)
        put_header(h, STR("NAMESPACE"));
}

static void headers_after(const struct table *t, struct header *h)
{
    const struct flag_list *l = t->style.label_columns;
    for (size_t i = 0; l && i < l->n; i++) {
        struct str key = str_of(l->items[i]);
        put_header(h, str_from(key, (size_t)(str_rfind(key, '/') + 1)));
    }
    if (t->style.show_labels)
        put_header(h, STR("LABELS"));
    buf_putc(h->b, '\n');
}

/* ---- rows --------------------------------------------------------------------------------------------------- */

static const char *event_word(struct str type)
{
    static const char *const padded[] = {"ADDED   ", "MODIFIED", "DELETED ", "ERROR   "};
    for (size_t i = 0; i < ARRAY_SIZE(padded); i++)
        if (str_eq(type, str_trim(str_of(padded[i]))))
            return padded[i];
    return type.p;
}

static void start_row(struct table *t, struct header *row, const struct val *v, struct str event)
{
    if (event.n)
        buf_puts(row->b, event_word(event)), row->any = true;
    if (!t->style.with_namespace)
        return;
    if (row->any)
        buf_putc(row->b, '\t');
    buf_putstr(row->b, obj_namespace(v));
    row->any = true;
}

static void put_cell(struct cli *c, struct table *t, struct header *row, const struct kind *k, bool is_name,
                     const struct val *cell)
{
    if (row->any)
        buf_putc(row->b, '\t');
    row->any = true;
    if (is_name && t->style.with_kind)
        buf_printf(row->b, STR_FMT "/", STR_ARG(kind_label(c, k)));
    put_value(row->b, cell);
}

static void put_labels(struct buf *b, const struct val *labels)
{
    bool any = false;
    VAL_EACH_ENTRY(labels, key, value)
    {
        buf_printf(b, "%s" STR_FMT "=" STR_FMT, any ? "," : "", STR_ARG(val_str(key)), STR_ARG(val_str(value)));
        any = true;
    }
    if (!any)
        buf_puts(b, "<none>");
}

static void end_row(struct table *t, struct header *row, const struct val *v)
{
    const struct flag_list *l = t->style.label_columns;
    for (size_t i = 0; l && i < l->n; i++) {
        buf_putc(row->b, '\t');
        buf_putstr(row->b, obj_label(v, str_of(l->items[i])));
    }
    if (t->style.show_labels) {
        buf_putc(row->b, '\t');
        put_labels(row->b, obj_labels(v));
    }
    buf_putc(row->b, '\n');
}

/* A change of kind: what was there is aligned by itself, with an empty line between. */
static bool start_kind(struct cli *c, struct table *t, const struct kind *k)
{
    if (t->kind == k)
        return false;
    if (t->kind) {
        table_flush(c, t);
        tab_widths_done(&t->widths);
        if (t->any && !t->style.no_headers)
            cli_write(c, STR("\n"));
    }
    t->kind = k;
    t->columns = NULL;
    return true;
}

/* ---- of objects ------------------------------------------------------------------------------------------------ */

static bool shown(const struct table *t, int64_t priority)
{
    return priority == 0 || t->style.wide;
}

/* Of kinds that no table is known of: custom resources of a server that makes no Tables. */
static const struct column plain_columns[] = {
    {.name = "Name", .type = "string", .format = "name"},
    {.name = "Age", .type = "date", .format = ""},
};

static const struct column *columns_of(const struct kind *k, unsigned *ret_n)
{
    bool known = k->res && k->res->n_columns;
    *ret_n = known ? k->res->n_columns : ARRAY_SIZE(plain_columns);
    return known ? k->res->columns : plain_columns;
}

static void make_cells(const struct kind *k, const struct val *v, struct arena *a, struct val *cells)
{
    char age[TIME_TEXT_MAX] = "<unknown>";
    struct wall now = os_wall(), made = val_time(val_at(v, N_metadata, N_creationTimestamp));
    if (k->res && k->res->n_columns) {
        print_cells(k->res, v, now, a, cells);
        return;
    }
    if (made.ns)
        duration_human(now.ns - made.ns, age);
    cells[0] = val_of_str(obj_name(v));
    cells[1] = val_of_str(arena_str(a, str_of(age)));
}

static void local_header(struct table *t, const struct kind *k, struct str event)
{
    struct header h = {.b = &t->text};
    unsigned n;
    const struct column *columns = columns_of(k, &n);
    if (t->style.no_headers)
        return;
    headers_before(t, &h, event);
    for (unsigned i = 0; i < n; i++)
        if (shown(t, columns[i].priority))
            put_header(&h, str_of(columns[i].name));
    headers_after(t, &h);
}

void table_add(struct cli *c, struct table *t, const struct kind *k, const struct val *v, struct str event)
{
    struct header row = {.b = &t->text};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    unsigned n;
    const struct column *columns = columns_of(k, &n);
    struct val *cells = ARENA_ARRAY(&a, struct val, n + 1);
    if (start_kind(c, t, k))
        local_header(t, k, event);
    make_cells(k, v, &a, cells);
    start_row(t, &row, v, event);
    for (unsigned i = 0; i < n; i++) {
        const struct column *col = &columns[i];
        if (shown(t, col->priority))
            put_cell(c, t, &row, k, col->format && !strcmp(col->format, "name"), &cells[i]);
    }
    end_row(t, &row, v);
}

/* ---- of a server ------------------------------------------------------------------------------------------------ */

static void server_header(struct table *t, struct str event)
{
    struct header h = {.b = &t->text};
    if (t->style.no_headers)
        return;
    headers_before(t, &h, event);
    VAL_EACH(t->columns, col)
    {
        if (shown(t, val_int(val_get(col, N_priority), 0)))
            put_header(&h, val_getstr(col, N_name));
    }
    headers_after(t, &h);
}

static void server_row(struct cli *c, struct table *t, const struct kind *k, const struct val *row_val, struct str event)
{
    struct header row = {.b = &t->text};
    const struct val *object = val_get(row_val, N_object), *cells = val_get(row_val, N_cells);
    start_row(t, &row, object, event);
    size_t i = 0;
    VAL_EACH(t->columns, col)
    {
        const struct val *cell = val_item(cells, i++);
        if (shown(t, val_int(val_get(col, N_priority), 0)))
            put_cell(c, t, &row, k, str_is(val_getstr(col, N_format), "name"), cell);
    }
    end_row(t, &row, object);
}

void table_add_server(struct cli *c, struct table *t, const struct kind *k, const struct val *server, struct str event)
{
    const struct val *columns = val_get(server, N_columnDefinitions), *rows = val_get(server, N_rows);
    bool fresh = val_len(rows) && start_kind(c, t, k);
    if (!val_len(rows))
        return;
    /* Tables of a watch say their columns once. */
    if (val_len(columns) && !(t->columns && val_equal(columns, t->columns))) {
        t->columns = columns;
        fresh = true;
    }
    if (fresh)
        server_header(t, event);
    VAL_EACH(rows, row)
    {
        server_row(c, t, k, row, event);
    }
}

void table_flush(struct cli *c, struct table *t)
{
    if (!t->text.n)
        return;
    tab_align(&c->out, buf_str(&t->text), TAB_TABLE, t->remember ? &t->widths : NULL);
    cli_write(c, STR(""));
    buf_clear(&t->text);
    t->any = true;
}
