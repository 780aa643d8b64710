/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/printer.h"
#include "cli/request.h"

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#include <ctype.h>
#include <strings.h>

struct events {
    struct cli *c;
    struct printer printer;
    struct flag_list types;
    const char *about;
    bool watch, all_namespaces, no_headers, begun;
    struct tab_widths widths;
};

static struct str ns_of(const struct events *x)
{
    return x->all_namespaces ? STR("") : x->c->ns;
}

static bool is_wanted(const struct events *x, const struct val *e)
{
    for (size_t i = 0; i < x->types.n; i++)
        if (!strcasecmp(x->types.items[i], val_cstr(val_get(e, N_type))))
            return true;
    return !x->types.n;
}

/* ---- lines ----------------------------------------------------------------------------------------------------------- */

static struct wall when(const struct val *e)
{
    const struct val *series = val_get(e, N_series), *last = val_get(e, N_lastTimestamp);
    if (val_is(series, VAL_MAP))
        return val_time(val_get(series, N_lastObservedTime));
    return val_is(last, VAL_STR) ? val_time(last) : val_time(val_get(e, N_eventTime));
}

static const char *since(const struct val *t, char text[static TIME_TEXT_MAX])
{
    return val_is(t, VAL_STR) ? duration_human(os_wall().ns - val_time(t).ns, text) : "<unknown>";
}

static void put_interval(struct buf *b, const struct val *e)
{
    char first_text[TIME_TEXT_MAX], last_text[TIME_TEXT_MAX];
    const struct val *series = val_get(e, N_series), *at = val_get(e, N_eventTime);
    const char *first = since(val_is(at, VAL_STR) ? at : val_get(e, N_firstTimestamp), first_text);
    long long count = val_int(val_get(e, N_count), 0);
    if (val_is(series, VAL_MAP))
        buf_printf(b, "%s (x%lld over %s)", since(val_get(series, N_lastObservedTime), last_text),
                   (long long)val_int(val_get(series, N_count), 0), first);
    else if (count > 1)
        buf_printf(b, "%s (x%lld over %s)", since(val_get(e, N_lastTimestamp), last_text), count, first);
    else
        buf_puts(b, first);
}

/* Control characters must not reach the terminal. */
static void put_safe(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\x1b')
            buf_puts(b, "^[");
        else if (s.p[i] == '\r')
            buf_puts(b, "\\r");
        else
            buf_putc(b, s.p[i]);
    }
}

static void put_event(struct events *x, struct buf *b, const struct val *e)
{
    const struct val *about = val_get(e, N_involvedObject);
    if (x->all_namespaces)
        buf_printf(b, STR_FMT "\t", STR_ARG(obj_namespace(e)));
    put_interval(b, e);
    buf_putc(b, '\t');
    put_safe(b, val_getstr(e, N_type));
    buf_putc(b, '\t');
    put_safe(b, val_getstr(e, N_reason));
    buf_putc(b, '\t');
    put_safe(b, val_getstr(about, N_kind));
    buf_putc(b, '/');
    put_safe(b, val_getstr(about, N_name));
    buf_putc(b, '\t');
    put_safe(b, str_trim(val_getstr(e, N_message)));
    buf_putc(b, '\n');
}

static void put_heading(struct events *x, struct buf *b)
{
    if (!x->begun && !x->no_headers)
        buf_printf(b, "%sLAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n", x->all_namespaces ? "NAMESPACE\t" : "");
    x->begun = true;
}

/* ---- list and watch ---------------------------------------------------------------------------------------------------- */

struct dated {
    int64_t at;
    size_t order;
    const struct val *e;
};

static int compare_dates(const void *a, const void *b)
{
    const struct dated *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static struct val *as_object(struct cli *c, const struct val *e)
{
    struct val *v = val_copy_shallow(&c->a, e);
    val_put_str(&c->a, v, STR("apiVersion"), STR("v1"));
    val_put_str(&c->a, v, STR("kind"), STR("Event"));
    return v;
}

static int print_list(struct events *x, const struct dated *all, size_t n)
{
    struct cli *c = x->c;
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (x->printer.kind != PRINT_NONE) {
        struct val *list = val_new(&c->a, VAL_MAP), *items = val_new(&c->a, VAL_LIST);
        for (size_t i = 0; i < n; i++)
            val_add(&c->a, items, *as_object(c, all[i].e));
        val_put_str(&c->a, list, STR("apiVersion"), STR("v1"));
        val_put(&c->a, list, STR("items"), *items);
        val_put_str(&c->a, list, STR("kind"), STR("EventList"));
        val_put(&c->a, list, STR("metadata"), *val_new(&c->a, VAL_MAP));
        return printer_put(c, &x->printer, NULL, list, "events");
    }
    put_heading(x, &b);
    for (size_t i = 0; i < n; i++)
        put_event(x, &b, all[i].e);
    tab_align(&c->out, buf_str(&b), TAB_TABLE, NULL);
    return 0;
}

static int list_events(struct events *x, struct str query)
{
    struct cli *c = x->c;
    struct val *list;
    struct status s;
    size_t n = 0;
    if (request_list(c, kind_at(c, RES_EVENTS), ns_of(x), query, &list, &s))
        return cli_refused(c, &s);
    struct dated *all = ARENA_ARRAY(&c->a, struct dated, val_len(val_get(list, N_items)) + 1);
    VAL_EACH(val_get(list, N_items), e)
    {
        if (is_wanted(x, e)) {
            all[n] = (struct dated){when(e).ns, n, e};
            n++;
        }
    }
    if (!n && x->all_namespaces)
        cli_note(c, "No events found.");
    else if (!n)
        cli_note(c, "No events found in " STR_FMT " namespace.", STR_ARG(c->ns));
    if (!n)
        return 0;
    qsort(all, n, sizeof(*all), compare_dates);
    return print_list(x, all, n);
}

static int print_one(struct events *x, const struct val *e)
{
    struct cli *c = x->c;
    struct buf b CLEANUP_BUF = BUF_INIT;
    int r = 0;
    if (x->printer.kind != PRINT_NONE) {
        r = printer_put(c, &x->printer, NULL, as_object(c, e), "events");
    } else {
        put_heading(x, &b);
        put_event(x, &b, e);
        tab_align(&c->out, buf_str(&b), TAB_TABLE, &x->widths);
    }
    cli_flush(c);
    return r;
}

static int watch_events(struct events *x, struct str query)
{
    struct cli *c = x->c;
    struct watching *w;
    struct status s;
    struct event e;
    int r = 0;
    if (watch_open(c, kind_at(c, RES_EVENTS), ns_of(x), query, STR(""), NULL, &w, &s))
        return cli_refused(c, &s);
    while (r == 0 && watch_next(w, &c->a, MONO_NEVER, &e) == 0)
        if ((str_is(e.type, "ADDED") || str_is(e.type, "MODIFIED")) && is_wanted(x, e.object))
            r = print_one(x, e.object);
    watch_close(w);
    return r;
}

/* ---- the command ---------------------------------------------------------------------------------------------------------- */

static int query_about(struct events *x, struct str *query)
{
    struct cli *c = x->c;
    struct str type, name;
    const struct kind *k;
    if (!x->about || !x->about[0])
        return 0;
    if (!str_cut(str_of(x->about), '/', &type, &name))
        return cli_fail(c, "--for must be in resource/name form");
    if (str_find(name, '/') >= 0)
        return cli_fail(c, "arguments in resource/name form may not have more than one slash");
    char *low = arena_cstr(&c->a, type);
    for (char *p = low; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    k = kind_by_name(c, str_of(low));
    if (!k)
        return cli_note(c, "the server doesn't have a resource type \"%s\"", low), 1;
    *query = query_with(c, *query, "fieldSelector",
                        cli_printf(c, "involvedObject.kind=" STR_FMT ",involvedObject.apiVersion=" STR_FMT ",involvedObject.name=" STR_FMT,
                                   STR_ARG(k->kind), STR_ARG(k->api_version), STR_ARG(name)));
    return 0;
}

int cmd_events(struct cli *c, int argc, char **argv)
{
    struct events x = {.c = c};
    struct print_flags print = PRINT_FLAGS_INIT;
    struct str query = STR_NULL;
    struct flag flags[] = {
        PRINT_FLAGS(&print),
        {"all-namespaces", 'A', FLAG_BOOL, &x.all_namespaces, "Of all namespaces"},
        {"chunk-size", 0, FLAG_IGNORED, NULL, NULL},
        {"for", 0, FLAG_STRING, &x.about, "Only those about this object: TYPE/NAME"},
        {"no-headers", 0, FLAG_BOOL, &x.no_headers, "No line of column names"},
        {"types", 0, FLAG_STRINGS, &x.types, "Only these types: Normal, Warning"},
        {"watch", 'w', FLAG_BOOL, &x.watch, "Go on with those that come"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = cli_namespace(c);
    if (r == 0)
        r = query_about(&x, &query);
    if (r == 0)
        r = printer_make(c, &print, false, &x.printer);
    if (r)
        return r;
    for (size_t i = 0; i < x.types.n; i++)
        if (strcasecmp(x.types.items[i], "Normal") && strcasecmp(x.types.items[i], "Warning"))
            return cli_fail(c, "valid --types are Normal or Warning");
    return x.watch ? watch_events(&x, query) : list_events(&x, query);
}
