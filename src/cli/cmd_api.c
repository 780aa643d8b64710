/* SPDX-License-Identifier: Apache-2.0 */
/* api-resources, api-versions, version, cluster-info: what the server says about itself. */
#include "cli/commands.h"
#include "cli/printer.h"
#include "cli/request.h"
#include "cli/tab.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"
#include "wire/yaml.h"

#include <strings.h>
#include <unistd.h>

/* ---- api-resources ------------------------------------------------------------------------------------------------ */

struct listing {
    const char *group, *namespaced, *output, *sort_by;
    bool no_headers, group_given;
    struct flag_list verbs, categories;
};

static bool has_all(const char *const *have, const struct flag_list *want)
{
    for (size_t i = 0; i < want->n; i++) {
        bool found = false;
        for (const char *const *p = have; p && *p; p++)
            found |= !strcmp(*p, want->items[i]);
        if (!found)
            return false;
    }
    return true;
}

static bool is_listed(const struct listing *l, const struct kind *k)
{
    if (l->group_given && !str_is(k->group, l->group))
        return false;
    if (l->namespaced && k->namespaced != !strcmp(l->namespaced, "true"))
        return false;
    return k->verbs && k->verbs[0] && has_all(k->verbs, &l->verbs) && has_all(k->categories, &l->categories);
}

static int by_group(const void *a, const void *b)
{
    const struct kind *x = *(const struct kind *const *)a, *y = *(const struct kind *const *)b;
    int r = str_cmp(x->group, y->group);
    return r ? r : str_cmp(x->plural, y->plural);
}

static int by_name(const void *a, const void *b)
{
    const struct kind *x = *(const struct kind *const *)a, *y = *(const struct kind *const *)b;
    int r = str_cmp(x->plural, y->plural);
    return r ? r : str_cmp(x->group, y->group);
}

static int by_kind(const void *a, const void *b)
{
    const struct kind *x = *(const struct kind *const *)a, *y = *(const struct kind *const *)b;
    int r = str_cmp(x->kind, y->kind);
    return r ? r : by_group(a, b);
}

static void put_words(struct buf *b, const char *const *words)
{
    for (size_t i = 0; words && words[i]; i++)
        buf_printf(b, "%s%s", i ? "," : "", words[i]);
}

static void put_kind(struct buf *b, const struct kind *k, bool wide)
{
    buf_printf(b, STR_FMT "\t", STR_ARG(k->plural));
    put_words(b, k->short_names);
    buf_printf(b, "\t" STR_FMT "\t%s\t" STR_FMT, STR_ARG(k->api_version), k->namespaced ? "true" : "false", STR_ARG(k->kind));
    if (wide) {
        buf_putc(b, '\t');
        put_words(b, k->verbs);
        buf_putc(b, '\t');
        put_words(b, k->categories);
    }
    buf_putc(b, '\n');
}

/* Of each resource the preferred version alone. */
static size_t collect(struct cli *c, const struct listing *l, const struct kind ***ret)
{
    const struct discovery *d = discover(c);
    const struct kind **all = ARENA_ARRAY(&c->a, const struct kind *, d->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = str_eq(d->kinds[k]->plural, d->kinds[i]->plural) && str_eq(d->kinds[k]->group, d->kinds[i]->group);
        if (!seen && is_listed(l, d->kinds[i]))
            all[n++] = d->kinds[i];
    }
    bool name = l->sort_by && !strcmp(l->sort_by, "name"), kind = l->sort_by && !strcmp(l->sort_by, "kind");
    qsort(all, n, sizeof(const struct kind *), name ? by_name : kind ? by_kind : by_group);
    *ret = all;
    return n;
}

int cmd_api_resources(struct cli *c, int argc, char **argv)
{
    struct listing l = {0};
    const struct kind **all;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct flag flags[] = {
        {"api-group", 0, FLAG_STRING, &l.group, "Of one group only"},
        {"cached", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"categories", 0, FLAG_STRINGS, &l.categories, "Only those in these categories"},
        {"namespaced", 0, FLAG_STRING, &l.namespaced, "true: only namespaced ones; false: only others", "true"},
        {"no-headers", 0, FLAG_BOOL, &l.no_headers, "No line of column names"},
        {"output", 'o', FLAG_STRING, &l.output, "wide or name"},
        {"sort-by", 0, FLAG_STRING, &l.sort_by, "name or kind"},
        {"verbs", 0, FLAG_STRINGS, &l.verbs, "Only those with these verbs"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (argc > 1)
        return cli_usage(c, "unexpected arguments: [%s]", argv[1]);
    if (l.output && strcmp(l.output, "wide") && strcmp(l.output, "name"))
        return cli_fail(c, "--output %s is not available in kubectl api-resources", l.output);
    if (l.sort_by && strcmp(l.sort_by, "name") && strcmp(l.sort_by, "kind"))
        return cli_fail(c, "--sort-by accepts only name or kind");
    l.group_given = flags_find(flags, "api-group")->given;
    if (discover(c)->code)
        return cli_refused(c, &discover(c)->refused);
    size_t n = collect(c, &l, &all);
    bool wide = l.output && !strcmp(l.output, "wide"), names = l.output && !wide;
    if (!names && !l.no_headers)
        buf_printf(&b, "NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND%s\n", wide ? "\tVERBS\tCATEGORIES" : "");
    for (size_t i = 0; i < n; i++) {
        if (names)
            cli_print(c, STR_FMT "\n", STR_ARG(all[i]->qualified));
        else
            put_kind(&b, all[i], wide);
    }
    if (!names)
        tab_align(&c->out, buf_str(&b), TAB_TABLE, NULL);
    return 0;
}

/* ---- api-versions ---------------------------------------------------------------------------------------------------- */

int cmd_api_versions(struct cli *c, int argc, char **argv)
{
    struct flag flags[] = {NO_FLAGS};
    size_t n = 0, cap = 0;
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    const struct discovery *d = discover(c);
    if (d->code)
        return cli_refused(c, &d->refused);
    for (size_t g = 0; g < d->n_groups; g++)
        cap += d->groups[g].n_versions;
    struct str *all = ARENA_ARRAY(&c->a, struct str, cap + 1);
    for (size_t g = 0; g < d->n_groups; g++)
        for (size_t v = 0; v < d->groups[g].n_versions; v++)
            all[n++] = d->groups[g].group.n ? cli_printf(c, STR_FMT "/" STR_FMT, STR_ARG(d->groups[g].group),
                                                         STR_ARG(d->groups[g].versions[v])) : d->groups[g].versions[v];
    str_sort(all, n);
    for (size_t i = 0; i < n; i++)
        cli_print(c, STR_FMT "\n", STR_ARG(all[i]));
    return 0;
}

/* ---- version ----------------------------------------------------------------------------------------------------------- */

#define LEVEL "v1.37.2" /* the API level that this kubectl speaks */

static struct val *client_version(struct cli *c)
{
    static const char *const pairs[][2] = {{"buildDate", ""}, {"compiler", "gcc"}, {"gitCommit", ""}, {"gitTreeState", ""},
                                           {"gitVersion", LEVEL}, {"goVersion", ""}, {"major", "1"}, {"minor", "37"},
                                           {"platform", "linux/amd64"}};
    struct val *v = val_new(&c->a, VAL_MAP);
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        val_put_str(&c->a, v, str_of(pairs[i][0]), str_of(pairs[i][1]));
    return v;
}

static int print_versions(struct cli *c, const char *output, const struct val *server)
{
    struct val *v = val_new(&c->a, VAL_MAP);
    val_put(&c->a, v, STR("clientVersion"), *client_version(c));
    if (server)
        val_put(&c->a, v, STR("serverVersion"), *server);
    if (!strcmp(output, "json")) {
        json_encode(&c->out, NULL, v, JSON_PRETTY2 | JSON_SORTED);
        cli_print(c, "\n");
    } else {
        yaml_encode(&c->out, NULL, v);
        cli_print(c, "\n");
    }
    return 0;
}

int cmd_version(struct cli *c, int argc, char **argv)
{
    const char *output = NULL;
    bool client_only = false;
    struct status s;
    struct val *server = NULL;
    int code = 0;
    struct flag flags[] = {
        {"client", 0, FLAG_BOOL, &client_only, "This program's version alone"},
        {"output", 'o', FLAG_STRING, &output, "yaml or json"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (argc > 1)
        return cli_fail(c, "extra arguments: [%s]", argv[1]);
    if (output && strcmp(output, "yaml") && strcmp(output, "json"))
        return cli_fail(c, "--output must be 'yaml' or 'json'");
    struct request req = {.path = STR("/version")};
    if (!client_only)
        code = request_value(c, &req, &server, &s);
    if (output) {
        print_versions(c, output, server);
    } else {
        cli_print(c, "Client Version: " LEVEL "\n");
        if (server)
            cli_print(c, "Server Version: " STR_FMT "\n", STR_ARG(val_str(val_key(server, STR("gitVersion")))));
    }
    return code ? cli_refused(c, &s) : 0;
}

/* ---- cluster-info ------------------------------------------------------------------------------------------------------ */

static void put_service(struct cli *c, const char *name, struct str link)
{
    bool color = isatty(STDOUT_FILENO);
    cli_print(c, "%s%s%s is running at %s" STR_FMT "%s\n", color ? "\x1b[0;32m" : "", name, color ? "\x1b[0m" : "",
              color ? "\x1b[0;33m" : "", STR_ARG(link), color ? "\x1b[0m" : "");
}

static struct str service_link(struct cli *c, const struct val *v)
{
    const struct val *port = val_item(val_at(v, N_spec, N_ports), 0);
    struct str port_name = val_getstr(port, N_name);
    bool tls = str_is(port_name, "https") || val_int(val_get(port, N_port), 0) == 443;
    return cli_printf(c, STR_FMT "/api/v1/namespaces/" STR_FMT "/services/%s" STR_FMT "%s" STR_FMT "/proxy", STR_ARG(c->access.server),
                      STR_ARG(obj_namespace(v)), tls ? "https:" : "", STR_ARG(obj_name(v)), port_name.n || tls ? ":" : "",
                      STR_ARG(port_name));
}

int cmd_cluster_info(struct cli *c, int argc, char **argv)
{
    struct flag flags[] = {NO_FLAGS};
    struct val *list = NULL;
    struct status s;
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = cli_client(c);
    if (r)
        return r;
    if (argc > 1)
        return cli_fail(c, "unexpected arguments: [%s] (\"cluster-info dump\" is not supported)", argv[1]);
    struct str query = query_with(c, STR_NULL, "labelSelector", STR("kubernetes.io/cluster-service=true"));
    if (request_list(c, kind_at(c, RES_SERVICES), c->g.namespace_ ? c->ns : STR("kube-system"), query, &list, &s))
        return cli_refused(c, &s);
    put_service(c, "Kubernetes control plane", c->access.server);
    VAL_EACH(val_get(list, N_items), v)
    {
        struct str name = val_str(val_key(obj_labels(v), STR("kubernetes.io/name")));
        put_service(c, arena_cstr(&c->a, name.n ? name : obj_name(v)), service_link(c, v));
    }
    cli_print(c, "\nTo look further, use 'kubectl get events -A' and 'kubectl describe nodes'.\n");
    return 0;
}
