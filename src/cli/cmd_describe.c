/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/describe.h"

#include "names.h"
#include "type/meta.h"

#include <ctype.h>

/* ---- any kind ---------------------------------------------------------------------------------------------------- */

/* "creationTimestamp" as "Creation Timestamp", "podIP" as "Pod IP". */
static struct str title_of(struct desc *d, struct str field)
{
    static const char *const acronyms[] = {"api", "url", "uid", "guid"};
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < field.n; i++)
        if (!isalpha((unsigned char)field.p[i]) && field.p[i] != '-')
            return field;
    for (size_t i = 0; i < field.n;) {
        size_t n = 1;
        if (isupper((unsigned char)field.p[i]) && i + 1 < field.n && isupper((unsigned char)field.p[i + 1]))
            while (i + n < field.n && isupper((unsigned char)field.p[i + n]))
                n++; /* a run of capitals stays together */
        while (i + n < field.n && !isupper((unsigned char)field.p[i + n]))
            n++;
        struct str word = str_slice(field, i, n);
        bool acronym = false;
        for (size_t k = 0; k < ARRAY_SIZE(acronyms); k++)
            acronym |= str_is(desc_lower(d, word), acronyms[k]);
        for (size_t k = 0; k < n; k++)
            buf_putc(&b, acronym || k == 0 ? (char)toupper((unsigned char)word.p[k]) : word.p[k]);
        i += n;
        if (i < field.n)
            buf_putc(&b, ' ');
    }
    return arena_str(&d->c->a, buf_str(&b));
}

static bool is_left_out(struct str path)
{
    static const char *const known[] = {".metadata.managedFields", ".metadata.name", ".metadata.namespace", ".metadata.labels",
                                        ".metadata.annotations"};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_is(path, known[i]))
            return true;
    return false;
}

static void put_content(struct desc *d, unsigned level, const struct val *v, struct str path)
{
    VAL_EACH_ENTRY(v, k, child)
    {
        struct str below = cli_printf(d->c, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(val_str(k)));
        struct str title = title_of(d, val_str(k));
        if (is_left_out(below))
            continue;
        if (!val_is(child, VAL_MAP) && !val_is(child, VAL_LIST)) {
            desc_put(d, level, STR_FMT ":\t" STR_FMT "\n", STR_ARG(title), STR_ARG(desc_text(d, child)));
            continue;
        }
        desc_put(d, level, STR_FMT ":\n", STR_ARG(title));
        if (val_is(child, VAL_MAP))
            put_content(d, level + 1, child, below);
        VAL_EACH(child, item)
        {
            if (val_is(item, VAL_MAP))
                put_content(d, level + 1, item, below);
            else
                desc_put(d, level + 1, STR_FMT "\n", STR_ARG(desc_text(d, item)));
        }
    }
}

static struct val *sorted(struct cli *c, const struct val *v)
{
    struct val *out = NULL;
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, NULL, v, JSON_SORTED);
    return json_decode(&c->a, NULL, arena_str(&c->a, buf_str(&b)), 0, NULL, &out, NULL) < 0 ? val_copy(&c->a, v) : out;
}

void describe_anything(struct desc *d, const struct info *i)
{
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_put(d, 0, "Namespace:\t" STR_FMT "\n", STR_ARG(i->ns));
    desc_labels(d, "", "Labels", obj_labels(i->v));
    desc_annotations(d, "Annotations", val_at(i->v, N_metadata, N_annotations));
    put_content(d, 0, sorted(d->c, i->v), STR(""));
    desc_events(d, i);
}

static describe_fn *find(const struct kind *k)
{
    const struct describer *const tables[] = {describe_core, describe_workloads, describe_network, describe_cluster, describe_other};
    for (size_t t = 0; k->res && t < ARRAY_SIZE(tables); t++)
        for (const struct describer *p = tables[t]; p->fn; p++)
            if (p->res == k->res->index)
                return p->fn;
    return describe_anything;
}

/* ---- the command ------------------------------------------------------------------------------------------------------- */

struct describing {
    struct file_flags files;
    const char *labels;
    bool all_namespaces, events;
    bool events_given; /* else several objects are described without theirs */
    int64_t chunk;
};

static void put_one(struct cli *c, const struct describing *x, const struct info *i, const char *before, const char *after)
{
    struct desc d = {.c = c, .events = x->events};
    find(i->kind)(&d, i);
    desc_flush(&d);
    cli_print(c, "%s", before);
    cli_write(c, buf_str(&d.done));
    cli_print(c, "%s", after);
    buf_done(&d.text);
    buf_done(&d.done);
}

/* No object has that name: those whose names start with it. Returns how many were described. */
static size_t describe_prefix(struct cli *c, struct describing *x, char **argv)
{
    char *args[] = {argv[0], argv[1], NULL};
    struct selection sel;
    struct query q = {.argc = 2, .argv = args, .list_types = true, .all_namespaces = x->all_namespaces, .chunk = x->chunk};
    size_t n = 0;
    if (select_objects(c, &q, &sel))
        return 0;
    x->events &= x->events_given;
    for (size_t i = 0; i < sel.n; i++) {
        if (!str_starts(sel.items[i].name, str_of(argv[2])))
            continue;
        put_one(c, x, &sel.items[i], "", "\n");
        n++;
    }
    return n;
}

static int describe_named_or_prefix(struct cli *c, struct describing *x, int argc, char **argv, const struct query *q)
{
    struct selection names;
    struct status s;
    int r = select_names(c, q, &names);
    if (r)
        return r;
    if (names.n == 1 && argc == 3 && info_get(c, &names.items[0], &s)) {
        if (refused_as(&s, "NotFound") && describe_prefix(c, x, argv))
            return 0;
        return cli_refused(c, &s);
    }
    put_one(c, x, &names.items[0], "", "");
    return 0;
}

int cmd_describe(struct cli *c, int argc, char **argv)
{
    struct describing x = {.events = true, .chunk = 500};
    struct selection sel;
    struct flag flags[] = {
        FILE_FLAGS(&x.files, "that name objects to describe"),
        {"all-namespaces", 'A', FLAG_BOOL, &x.all_namespaces, "In all namespaces"},
        {"chunk-size", 0, FLAG_INT, &x.chunk, "Objects a request of a large list; 0: all at once"},
        {"selector", 'l', FLAG_STRING, &x.labels, "Labels to select by"},
        {"show-events", 0, FLAG_BOOL, &x.events, "With the object's events (default true)"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    x.events_given = flags_find(flags, "show-events")->given;
    if (argc < 2 && !x.files.names.n)
        return cli_fail(c, "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of "
                           "supported resources.");
    struct query q = {.argc = argc, .argv = argv, .files = &x.files, .labels = x.labels, .all_namespaces = x.all_namespaces,
                      .list_types = true, .fetch = true, .latest = true, .chunk = x.chunk};
    if (argc == 3 && !x.files.names.n && !x.labels && !strchr(argv[1], '/') && !strchr(argv[1], ','))
        return describe_named_or_prefix(c, &x, argc, argv, &q);
    r = select_objects(c, &q, &sel);
    if (r)
        return r;
    if (sel.n > 1 || sel.code)
        x.events &= x.events_given;
    for (size_t i = 0; i < sel.n; i++)
        put_one(c, &x, &sel.items[i], i ? "\n\n" : "", "");
    if (!sel.n && !sel.code && !x.all_namespaces)
        cli_note(c, "No resources found in " STR_FMT " namespace.", STR_ARG(c->ns));
    else if (!sel.n && !sel.code)
        cli_note(c, "No resources found");
    return sel.code;
}
