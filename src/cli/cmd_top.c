/* SPDX-License-Identifier: Apache-2.0 */
/* top node and top pod: what metrics.k8s.io says, where something serves it. */
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/tab.h"

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/quantity.h"

enum { CPU, MEMORY, N_MEASURES };
static const char *const measures[] = {[CPU] = "cpu", [MEMORY] = "memory"};

struct usage {
    struct str ns, name;
    struct quantity of[N_MEASURES];
    const struct val *containers;
};

struct top {
    struct cli *c;
    const char *labels, *fields, *sort_by;
    bool no_headers, containers, all_namespaces, sum, capacity;
    struct str name;
    const struct kind *kind;
    struct usage *items;
    size_t n;
};

/* ---- asking ------------------------------------------------------------------------------------------------------------- */

static int prepare(struct top *t, const char *plural, int argc, char **argv)
{
    struct cli *c = t->c;
    if (argc > 2)
        return cli_usage(c, "%s %s", c->command->name, c->command->usage);
    t->name = argc == 2 ? str_of(argv[1]) : STR_NULL;
    if (t->sort_by && strcmp(t->sort_by, "cpu") && strcmp(t->sort_by, "memory"))
        return cli_fail(c, "--sort-by accepts only cpu or memory");
    if (t->name.n && ((t->labels && t->labels[0]) || (t->fields && t->fields[0])))
        return cli_fail(c, "only one of NAME or %s can be provided", !strcmp(plural, "pods") ? "selector" : "--selector");
    int r = cli_client(c);
    if (r)
        return r;
    if (discover(c)->code)
        return cli_refused(c, &discover(c)->refused);
    t->kind = kind_by_name(c, cli_printf(c, "%s.metrics.k8s.io", plural));
    return t->kind ? 0 : cli_fail(c, "Metrics API not available");
}

static void add_usage(struct usage *u, const struct val *usage)
{
    for (size_t i = 0; i < N_MEASURES; i++)
        u->of[i] = quantity_add(u->of[i], quantity_or_zero(val_str(val_key(usage, str_of(measures[i])))));
}

static void take(struct top *t, const struct val *v)
{
    struct usage *u = &t->items[t->n++];
    *u = (struct usage){.ns = obj_namespace(v), .name = obj_name(v), .containers = val_get(v, N_containers)};
    add_usage(u, val_get(v, N_usage));
    VAL_EACH(u->containers, k)
    {
        add_usage(u, val_get(k, N_usage));
    }
}

static int fetch(struct top *t, struct str ns)
{
    struct cli *c = t->c;
    struct status s;
    struct val *v;
    int code = t->name.n ? request_get(c, t->kind, ns, t->name, NULL, &v, &s)
                         : request_list(c, t->kind, ns, query_with(c, STR_NULL, "labelSelector", str_of(t->labels)), &v, &s);
    if (code)
        return cli_refused(c, &s);
    const struct val *items = val_get(v, N_items);
    t->items = ARENA_ARRAY(&c->a, struct usage, val_len(items) + 1);
    if (t->name.n)
        take(t, v);
    VAL_EACH(items, item)
    {
        take(t, item);
    }
    return 0;
}

/* ---- order ----------------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct usage *x = a, *y = b;
    int r = str_cmp(x->ns, y->ns);
    return r ? r : str_cmp(x->name, y->name);
}

static int by_cpu(const void *a, const void *b)
{
    return quantity_cmp(((const struct usage *)b)->of[CPU], ((const struct usage *)a)->of[CPU]);
}

static int by_memory(const void *a, const void *b)
{
    return quantity_cmp(((const struct usage *)b)->of[MEMORY], ((const struct usage *)a)->of[MEMORY]);
}

static void sort(const struct top *t, struct usage *items, size_t n)
{
    if (n)
        qsort(items, n, sizeof(*items), !t->sort_by || !t->sort_by[0] ? by_name : t->sort_by[0] == 'c' ? by_cpu : by_memory);
}

/* ---- lines ------------------------------------------------------------------------------------------------------------------ */

static void put_amount(struct buf *b, unsigned measure, struct quantity q)
{
    if (measure == CPU)
        buf_printf(b, "%lldm\t", (long long)quantity_milli(q));
    else
        buf_printf(b, "%lldMi\t", (long long)(quantity_units(q) / (1024 * 1024)));
}

static void put_usage(struct buf *b, const struct usage *u, const struct val *available)
{
    buf_printf(b, STR_FMT "\t", STR_ARG(u->name));
    for (unsigned i = 0; i < N_MEASURES; i++) {
        const struct val *whole = val_key(available, str_of(measures[i]));
        put_amount(b, i, u->of[i]);
        if (whole) {
            double all = quantity_float(quantity_or_zero(val_str(whole)));
            buf_printf(b, "%lld%%\t", all > 0 ? (long long)(quantity_float(u->of[i]) / all * 100) : 0LL);
        }
    }
    buf_putc(b, '\n');
}

static void put_containers(const struct top *t, struct buf *b, const struct usage *pod)
{
    size_t n = 0;
    struct usage *all = ARENA_ARRAY(&t->c->a, struct usage, val_len(pod->containers) + 1);
    VAL_EACH(pod->containers, k)
    {
        all[n] = (struct usage){.name = val_getstr(k, N_name)};
        add_usage(&all[n++], val_get(k, N_usage));
    }
    sort(t, all, n);
    for (size_t i = 0; i < n; i++) {
        if (t->all_namespaces)
            buf_printf(b, STR_FMT "\t", STR_ARG(pod->ns));
        buf_printf(b, STR_FMT "\t", STR_ARG(pod->name));
        put_usage(b, &all[i], NULL);
    }
}

static void put_sum(const struct top *t, struct buf *b)
{
    struct usage total = {.name = STR("")};
    size_t columns = 3 + t->all_namespaces + t->containers;
    for (size_t i = 0; i < t->n; i++)
        for (unsigned k = 0; k < N_MEASURES; k++)
            total.of[k] = quantity_add(total.of[k], t->items[i].of[k]);
    for (size_t i = 0; i < columns - 2; i++)
        buf_putc(b, '\t');
    buf_puts(b, "________\t________\t\n");
    for (size_t i = 0; i < columns - 3; i++)
        buf_putc(b, '\t');
    put_usage(b, &total, NULL);
}

/* ---- pods ------------------------------------------------------------------------------------------------------------------- */

/* Keeps those whose pods the field selector takes. */
static int filter_by_fields(struct top *t, struct str ns)
{
    struct cli *c = t->c;
    struct status s;
    struct val *pods;
    size_t n = 0;
    struct str query = query_with(c, STR_NULL, "fieldSelector", str_of(t->fields));
    query = query_with(c, query, "labelSelector", str_of(t->labels));
    if (request_list(c, kind_at(c, RES_PODS), ns, query, &pods, &s))
        return cli_refused(c, &s);
    for (size_t i = 0; i < t->n; i++) {
        bool found = false;
        VAL_EACH(val_get(pods, N_items), pod)
        {
            found |= str_eq(obj_name(pod), t->items[i].name) && str_eq(obj_namespace(pod), t->items[i].ns);
        }
        if (found)
            t->items[n++] = t->items[i];
    }
    t->n = n;
    return 0;
}

/* There are no metrics: because there are no pods, or because these have none yet. 0 or 1. */
static int check_missing(struct top *t, struct str ns)
{
    enum { MEASURED_AFTER = 120 }; /* seconds */
    struct cli *c = t->c;
    struct status s;
    struct val *pods;
    char text[TIME_TEXT_MAX];
    struct str query = query_with(c, STR_NULL, "fieldSelector", str_of(t->fields));
    query = query_with(c, query, "labelSelector", str_of(t->labels));
    if (request_list(c, kind_at(c, RES_PODS), ns, query, &pods, &s))
        return cli_refused(c, &s);
    VAL_EACH(val_get(pods, N_items), pod)
    {
        int64_t age = os_wall().ns - val_time(val_get(obj_meta(pod), N_creationTimestamp)).ns;
        if (age > SECONDS(MEASURED_AFTER))
            return cli_fail(c, "Metrics not available for pod " STR_FMT "/" STR_FMT ", age: %s", STR_ARG(obj_namespace(pod)),
                            STR_ARG(obj_name(pod)), duration_format(age, text));
    }
    return val_len(val_get(pods, N_items)) ? cli_fail(c, "metrics not available yet") : 0;
}

static int print_pods(struct top *t, struct str ns)
{
    struct cli *c = t->c;
    struct buf b CLEANUP_BUF = BUF_INIT;
    int r = t->n ? 0 : check_missing(t, ns);
    if (r)
        return r;
    if (!t->n && t->all_namespaces)
        cli_note(c, "No resources found");
    else if (!t->n)
        cli_note(c, "No resources found in " STR_FMT " namespace.", STR_ARG(c->ns));
    if (!t->n)
        return 0;
    if (!t->no_headers)
        buf_printf(&b, "%s%sNAME\tCPU(cores)\tMEMORY(bytes)\t\n", t->all_namespaces ? "NAMESPACE\t" : "", t->containers ? "POD\t" : "");
    sort(t, t->items, t->n);
    for (size_t i = 0; i < t->n; i++) {
        if (t->containers) {
            put_containers(t, &b, &t->items[i]);
            continue;
        }
        if (t->all_namespaces)
            buf_printf(&b, STR_FMT "\t", STR_ARG(t->items[i].ns));
        put_usage(&b, &t->items[i], NULL);
    }
    if (t->sum)
        put_sum(t, &b);
    tab_align(&c->out, buf_str(&b), TAB_TABLE, NULL);
    return 0;
}

static int cmd_top_pod(struct cli *c, int argc, char **argv)
{
    struct top t = {.c = c};
    struct flag flags[] = {
        {"all-namespaces", 'A', FLAG_BOOL, &t.all_namespaces, "Of all namespaces"},
        {"containers", 0, FLAG_BOOL, &t.containers, "Each container of a pod"},
        {"field-selector", 0, FLAG_STRING, &t.fields, "Fields to select by"},
        {"no-headers", 0, FLAG_BOOL, &t.no_headers, "No line of column names"},
        {"selector", 'l', FLAG_STRING, &t.labels, "Labels to select by"},
        {"sort-by", 0, FLAG_STRING, &t.sort_by, "cpu or memory"},
        {"sum", 0, FLAG_BOOL, &t.sum, "The sum, too"},
        {"use-protocol-buffers", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = prepare(&t, "pods", argc, argv);
    if (r)
        return r;
    struct str ns = t.all_namespaces ? STR("") : c->ns;
    r = fetch(&t, ns);
    if (r == 0 && t.fields && t.fields[0])
        r = filter_by_fields(&t, ns);
    return r ? r : print_pods(&t, ns);
}

/* ---- nodes ------------------------------------------------------------------------------------------------------------------ */

static const struct val *node_named(const struct val *nodes, struct str name)
{
    VAL_EACH(nodes, v)
    {
        if (str_eq(obj_name(v), name))
            return v;
    }
    return NULL;
}

static void put_unknown(const struct top *t, struct buf *b, const struct val *nodes)
{
    VAL_EACH(nodes, v)
    {
        bool known = false;
        for (size_t i = 0; i < t->n; i++)
            known |= str_eq(t->items[i].name, obj_name(v));
        if (!known)
            buf_printf(b, STR_FMT "\t<unknown>\t<unknown>\t<unknown>\t<unknown>\t\n", STR_ARG(obj_name(v)));
    }
}

static int print_nodes(struct top *t)
{
    struct cli *c = t->c;
    struct status s;
    struct val *list;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str query = query_with(c, STR_NULL, "labelSelector", str_of(t->labels));
    if (!t->n)
        return cli_fail(c, "metrics not available yet");
    if (t->name.n)
        query = query_with(c, STR_NULL, "fieldSelector", cli_printf(c, "metadata.name=" STR_FMT, STR_ARG(t->name)));
    if (request_list(c, kind_at(c, RES_NODES), STR(""), query, &list, &s))
        return cli_refused(c, &s);
    const struct val *nodes = val_get(list, N_items);
    if (!t->no_headers)
        buf_puts(&b, "NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\t\n");
    sort(t, t->items, t->n);
    for (size_t i = 0; i < t->n; i++) {
        const struct val *status = val_get(node_named(nodes, t->items[i].name), N_status);
        put_usage(&b, &t->items[i], t->capacity ? val_get(status, N_capacity) : val_get(status, N_allocatable));
    }
    put_unknown(t, &b, nodes);
    tab_align(&c->out, buf_str(&b), TAB_TABLE, NULL);
    return 0;
}

static int cmd_top_node(struct cli *c, int argc, char **argv)
{
    struct top t = {.c = c};
    struct flag flags[] = {
        {"no-headers", 0, FLAG_BOOL, &t.no_headers, "No line of column names"},
        {"selector", 'l', FLAG_STRING, &t.labels, "Labels to select by"},
        {"show-capacity", 0, FLAG_BOOL, &t.capacity, "Shares of the capacity, not of what pods may have"},
        {"sort-by", 0, FLAG_STRING, &t.sort_by, "cpu or memory"},
        {"use-protocol-buffers", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = prepare(&t, "nodes", argc, argv);
    if (r == 0)
        r = fetch(&t, STR(""));
    return r ? r : print_nodes(&t);
}

const struct command top_commands[] = {
    {"node", "nodes", "[NAME | -l SELECTOR] [flags]", "Show the use of CPU and memory of nodes", NULL, cmd_top_node, NULL},
    {"pod", "pods", "[NAME | -l SELECTOR] [flags]", "Show the use of CPU and memory of pods", NULL, cmd_top_pod, NULL},
    {0},
};
