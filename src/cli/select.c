/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/select.h"

#include "cli/request.h"
#include "names.h"
#include "type/meta.h"
#include "type/selector.h"

#define TABLE                                                                                                \
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

static struct info *add(struct selection *s, struct info i)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->items = xrealloc(s->items, s->cap * sizeof(*s->items));
    }
    s->items[s->n] = i;
    return &s->items[s->n++];
}

struct str info_label(struct cli *c, const struct info *i)
{
    return cli_printf(c, STR_FMT "/" STR_FMT, STR_ARG(kind_label(c, i->kind)), STR_ARG(i->name));
}

/* ---- operands ------------------------------------------------------------------------------------------------ */

struct operands {
    const struct kind **kinds; /* of types that stand without names */
    size_t n_kinds;
    struct info *named;
    size_t n_named;
    struct str ns; /* "" for all */
};

static int split_types(struct cli *c, struct str text, struct operands *o)
{
    struct str rest = text, word;
    size_t cap = 0;
    while (str_next(&rest, ',', &word)) {
        const struct kind **more, *k;
        word = str_trim(word);
        if (!word.n)
            return cli_fail(c, "arguments must consist of a resource or a resource and name");
        size_t n = 0;
        k = kind_by_name(c, word);
        if (!k)
            n = kinds_of_category(c, word, &more);
        if (!k && !n)
            return kind_wanted(c, word, &k);
        if (k)
            more = &k, n = 1;
        for (size_t i = 0; i < n; i++) {
            bool seen = false;
            for (size_t j = 0; j < o->n_kinds; j++)
                seen |= o->kinds[j] == more[i];
            if (seen)
                continue;
            if (o->n_kinds == cap) {
                cap = cap ? 2 * cap : 16;
                o->kinds = xrealloc(o->kinds, cap * sizeof(*o->kinds));
            }
            o->kinds[o->n_kinds++] = more[i];
        }
    }
    return 0;
}

static int add_named(struct cli *c, struct operands *o, const struct kind *k, struct str name)
{
    o->named = xrealloc(o->named, (o->n_named + 1) * sizeof(*o->named));
    o->named[o->n_named++] = (struct info){.kind = k, .ns = k->namespaced ? o->ns : STR(""), .name = name};
    (void)c;
    return 0;
}

static int take_slashed(struct cli *c, const char *arg, struct operands *o)
{
    struct str type, name;
    const struct kind *k;
    str_cut(str_of(arg), '/', &type, &name);
    if (str_find(name, '/') >= 0)
        return cli_fail(c, "arguments in resource/name form may not have more than one slash");
    if (!type.n || !name.n || str_find(type, ',') >= 0)
        return cli_fail(c, "arguments in resource/name form must have a single resource and name");
    int r = kind_wanted(c, type, &k);
    return r ? r : add_named(c, o, k, name);
}

static int take_type_and_names(struct cli *c, const struct query *q, struct operands *o)
{
    struct operands named = {.ns = o->ns};
    int r = split_types(c, str_of(q->argv[1]), &named);
    for (int i = 2; r == 0 && i < q->argc; i++)
        for (size_t k = 0; r == 0 && k < named.n_kinds; k++)
            r = add_named(c, o, named.kinds[k], str_of(q->argv[i]));
    return r;
}

static int parse_operands(struct cli *c, const struct query *q, struct operands *o)
{
    int slashes = 0, n = q->argc - 1, r = 0;
    o->ns = q->all_namespaces ? STR("") : q->ns ? str_of(q->ns) : c->ns;
    for (int i = 1; i <= n; i++)
        slashes += strchr(q->argv[i], '/') != NULL;
    if (slashes && slashes < n)
        return cli_fail(c, "there is no need to specify a resource type as a separate argument when passing arguments in "
                           "resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource "
                           "resource/<resource_name>'");
    if (n == 1 && !slashes)
        return split_types(c, str_of(q->argv[1]), o);
    if (!slashes)
        return n > 1 ? take_type_and_names(c, q, o) : 0;
    for (int i = 1; r == 0 && i <= n; i++)
        r = take_slashed(c, q->argv[i], o);
    return r;
}

static int check_operands(struct cli *c, const struct query *q, const struct operands *o)
{
    bool selects = q->all || (q->labels && q->labels[0]) || (q->fields && q->fields[0]);
    if (o->n_named && selects && q->argc > 1 && strchr(q->argv[1], '/'))
        return cli_fail(c, "selectors and the all flag cannot be used when passing resource/name arguments");
    if (o->n_named && selects)
        return cli_fail(c, "name cannot be provided when a selector is specified");
    if (selects && !o->n_kinds)
        return cli_fail(c, "at least one resource must be specified to use a selector");
    if (q->all && ((q->labels && q->labels[0]) || (q->fields && q->fields[0])))
        return cli_fail(c, "setting 'all' parameter but found a non empty selector. ");
    if (o->n_kinds && !selects && !q->list_types)
        return cli_fail(c, "resource(s) were provided, but no name was specified");
    if (!o->n_kinds && !o->n_named)
        return cli_fail(c, "You must provide one or more resources by argument or filename.\nExamples:\n"
                           "   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'");
    if (o->n_kinds && q->subresource && q->subresource[0])
        return cli_fail(c, "subresource cannot be used when bulk resources are specified");
    bool mixed = o->n_kinds > 1;
    for (size_t i = 1; i < o->n_named; i++)
        mixed |= o->named[i].kind != o->named[0].kind;
    if (mixed && q->single_type)
        return cli_fail(c, "you may only specify a single resource type");
    for (size_t i = 0; i < o->n_named; i++)
        if (o->named[i].kind->namespaced && q->all_namespaces)
            return cli_fail(c, "a resource cannot be retrieved by name across all namespaces");
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------------------------- */

static const struct type *decode_type(const struct query *q, const struct kind *k, bool list)
{
    if (!q->typed || !k->res || (q->subresource && q->subresource[0]))
        return NULL;
    return list ? k->res->list_type : k->res->type;
}

static void failed(struct cli *c, const struct query *q, const struct status *s, struct selection *ret)
{
    if (q->ignore_missing && refused_as(s, "NotFound"))
        return;
    cli_refused(c, s);
    ret->code = 1;
}

static void fetch_named(struct cli *c, const struct query *q, const struct info *i, struct selection *ret)
{
    struct status s;
    struct val *v = NULL;
    struct request r = {.path = request_path(c, i->kind, i->ns, i->name, q->subresource),
                        .kind = i->kind, .verb = "get", .name = i->name, .type = decode_type(q, i->kind, false),
                        .accept = q->table && !decode_type(q, i->kind, false) ? TABLE : NULL};
    if (request_value(c, &r, &v, &s)) {
        failed(c, q, &s, ret);
        return;
    }
    struct info *got = add(ret, *i);
    got->v = v;
}

/* Items of a list carry no kind of their own when the server leaves it out. */
static void add_items(struct cli *c, const struct kind *k, const struct val *list, struct selection *ret)
{
    VAL_EACH(val_get(list, N_items), item)
    {
        struct val *v = (struct val *)item; /* ours: decoded just now into our arena */
        if (val_is(v, VAL_OBJ)) {
            val_set_str(&c->a, v, N_kind, k->kind);
            val_set_str(&c->a, v, N_apiVersion, k->api_version);
        } else if (!val_getstr(v, N_kind).n) {
            val_put_str(&c->a, v, STR("kind"), k->kind);
            val_put_str(&c->a, v, STR("apiVersion"), k->api_version);
        }
        add(ret, (struct info){.kind = k, .ns = obj_namespace(v), .name = obj_name(v), .v = v});
    }
    ret->revision = val_str(val_at(list, N_metadata, N_resourceVersion));
}

static void fetch_list(struct cli *c, const struct query *q, const struct kind *k, struct str ns, struct selection *ret)
{
    struct str next = STR_NULL;
    do {
        struct status s;
        struct val *list = NULL;
        struct str query = query_with(c, STR_NULL, "labelSelector", str_of(q->labels));
        query = query_with(c, query, "fieldSelector", str_of(q->fields));
        if (q->chunk > 0)
            query = query_with(c, query, "limit", cli_printf(c, "%lld", (long long)q->chunk));
        query = query_with(c, query, "continue", next);
        struct request r = {.path = request_path(c, k, k->namespaced ? ns : STR(""), STR_NULL, NULL), .query = query,
                            .kind = k, .verb = "list", .type = decode_type(q, k, true),
                            .accept = q->table && !decode_type(q, k, true) ? TABLE : NULL};
        if (request_value(c, &r, &list, &s)) {
            failed(c, q, &s, ret);
            return;
        }
        next = val_str(val_at(list, N_metadata, N_continue));
        if (str_is(val_getstr(list, N_kind), "Table"))
            add(ret, (struct info){.kind = k, .ns = ns, .v = list});
        else
            add_items(c, k, list, ret);
    } while (next.n);
}

int info_get(struct cli *c, struct info *i, struct status *s)
{
    return request_get(c, i->kind, i->ns, i->name, NULL, &i->v, s);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

static int no_mapping(struct cli *c, const struct manifest *m)
{
    const struct status *why = &discover(c)->refused;
    if (discover(c)->code)
        return cli_refused(c, why);
    return cli_fail(c, "resource mapping not found for name: \"" STR_FMT "\" namespace: \"" STR_FMT "\" from \"%s\": no matches "
                       "for kind \"" STR_FMT "\" in version \"" STR_FMT "\"\nensure CRDs are installed first",
                    STR_ARG(obj_name(m->v)), STR_ARG(obj_namespace(m->v)), m->source, STR_ARG(val_getstr(m->v, N_kind)),
                    STR_ARG(val_getstr(m->v, N_apiVersion)));
}

static void set_namespace(struct cli *c, struct val *v, struct str ns)
{
    struct val *meta = (struct val *)obj_meta(v);
    if (!val_is(meta, VAL_MAP))
        meta = val_put(&c->a, v, STR("metadata"), *val_new(&c->a, VAL_MAP));
    val_put_str(&c->a, meta, STR("namespace"), ns);
}

int info_of_manifest(struct cli *c, const struct manifest *m, struct info *ret)
{
    const struct kind *k = kind_of_object(c, m->v);
    if (!k)
        return no_mapping(c, m);
    *ret = (struct info){.kind = k, .name = obj_name(m->v), .ns = STR(""), .v = m->v, .source = m->source};
    if (!k->namespaced)
        return 0;
    struct str own = obj_namespace(m->v);
    if (own.n && c->ns_given && !str_eq(own, c->ns))
        return cli_fail(c, "the namespace from the provided object \"" STR_FMT "\" does not match the namespace \"" STR_FMT
                           "\". You must pass '--namespace=" STR_FMT "' to perform this operation.",
                        STR_ARG(own), STR_ARG(c->ns), STR_ARG(own));
    ret->ns = own.n ? own : c->ns;
    if (!own.n)
        set_namespace(c, m->v, c->ns);
    return 0;
}

static int select_files(struct cli *c, const struct query *q, struct selection *ret)
{
    struct manifests m = {0};
    struct selector labels = {0};
    struct err e = {0};
    if (q->argc > 1)
        return cli_fail(c, "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well");
    if (q->labels && selector_parse(&c->a, str_of(q->labels), &labels, &e) < 0)
        return cli_fail(c, "the provided selector \"%s\" is not valid: %s", q->labels, e.text);
    ret->code = manifest_read(c, &q->files->names, q->files->recursive, &m);
    ret->single = !m.several;
    for (size_t i = 0; i < m.n; i++) {
        struct info info = {0};
        if (info_of_manifest(c, &m.items[i], &info))
            ret->code = 1;
        else if (q->labels && !selector_matches(&labels, obj_labels(info.v)))
            continue;
        else if (q->latest && info.name.n)
            fetch_named(c, q, &info, ret);
        else
            add(ret, info);
        ret->all_namespaced &= info.kind && info.kind->namespaced;
    }
    for (size_t i = 1; i < ret->n; i++)
        ret->many_kinds |= ret->items[i].kind != ret->items[0].kind;
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

static bool has_files(const struct query *q)
{
    return q->files && q->files->names.n;
}

static int check_files(struct cli *c, const struct query *q)
{
    if (q->files && q->files->kustomize)
        return cli_fail(c, "kustomizations (-k) are not supported; use: kustomize build %s | kubectl ... -f -",
                        q->files->kustomize);
    return cli_namespace(c);
}

int select_names(struct cli *c, const struct query *q, struct selection *ret)
{
    struct operands o = {0};
    *ret = (struct selection){.all_namespaced = true};
    int r = check_files(c, q);
    if (r)
        return r;
    if (has_files(q))
        return select_files(c, q, ret);
    r = parse_operands(c, q, &o);
    if (r == 0)
        r = check_operands(c, q, &o);
    if (r)
        return r;
    for (size_t i = 0; i < o.n_kinds; i++) {
        add(ret, (struct info){.kind = o.kinds[i], .ns = o.kinds[i]->namespaced ? o.ns : STR("")});
        ret->all_namespaced &= o.kinds[i]->namespaced;
    }
    for (size_t i = 0; i < o.n_named; i++)
        add(ret, o.named[i]);
    for (size_t i = 1; i < ret->n; i++)
        ret->many_kinds |= ret->items[i].kind != ret->items[0].kind;
    ret->lists = o.n_kinds > 0;
    ret->single = !o.n_kinds && o.n_named == 1;
    return 0;
}

int select_objects(struct cli *c, const struct query *q, struct selection *ret)
{
    struct selection names;
    int r = select_names(c, q, &names);
    if (r || has_files(q)) {
        *ret = names;
        return r;
    }
    *ret = (struct selection){.single = names.single, .lists = names.lists, .all_namespaced = names.all_namespaced,
                               .many_kinds = names.many_kinds};
    for (size_t i = 0; i < names.n; i++) {
        if (!names.items[i].name.n)
            fetch_list(c, q, names.items[i].kind, names.items[i].ns, ret);
        else if (q->fetch)
            fetch_named(c, q, &names.items[i], ret);
        else
            add(ret, names.items[i]);
    }
    free(names.items);
    return 0;
}

int select_one(struct cli *c, const struct query *q, const char *what, struct info *ret)
{
    struct selection s;
    int r = select_objects(c, q, &s);
    if (r || s.code)
        return 1;
    if (s.n != 1)
        return cli_fail(c, "%s", what);
    *ret = s.items[0];
    return 0;
}
