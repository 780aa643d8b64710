/* SPDX-License-Identifier: Apache-2.0 */
/* taint: adds to and removes from spec.taints of nodes. */
#include "cli/commands.h"
#include "cli/write.h"

#include "names.h"
#include "resources.h"
#include "type/check.h"
#include "type/meta.h"

struct taint {
    struct str key, value, effect;
};

struct taints {
    struct taint *items;
    size_t n;
};

struct tainting {
    struct write w;
    struct taints add, remove;
    const char *labels;
    bool overwrite, all;
    int n_operands; /* argc without the taints */
};

/* ---- arguments --------------------------------------------------------------------------------------------------------- */

static int bad_spec(struct cli *c, const char *text, const struct check *bad)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (unsigned i = 0; bad && i < bad->n; i++)
        buf_printf(&b, "%s%s", i ? "; " : ", ", bad->texts[i]);
    return cli_usage(c, "invalid taint spec: %s" STR_FMT, text, STR_ARG(buf_str(&b)));
}

/* "key=value:effect", "key:effect" or "key". text: the same, for sentences. */
static int parse_one(struct cli *c, struct str s, struct taint *ret)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute"};
    struct check bad = {.n = 0};
    struct str front;
    const char *text = arena_cstr(&c->a, s);
    struct taint t = {{0}, {0}, {0}};
    bool known = false, has_effect = str_cut(s, ':', &front, &t.effect);
    if (str_find(t.effect, ':') >= 0)
        return bad_spec(c, text, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(effects); i++)
        known |= str_is(t.effect, effects[i]);
    if (has_effect && !known)
        return cli_usage(c, "invalid taint effect: " STR_FMT ", unsupported taint effect", STR_ARG(t.effect));
    t.key = front;
    if (has_effect)
        str_cut(front, '=', &t.key, &t.value);
    if (str_find(t.value, '=') >= 0)
        return bad_spec(c, text, NULL);
    check_label_text(&bad, t.value);
    if (!bad.n)
        check_label_key(&bad, t.key);
    if (bad.n)
        return bad_spec(c, text, &bad);
    *ret = t;
    return 0;
}

static int parse_spec(struct cli *c, struct tainting *x, const char *text)
{
    struct str s = str_of(text);
    bool removal = s.p[s.n - 1] == '-';
    struct taints *to = removal ? &x->remove : &x->add;
    struct taint *t = &to->items[to->n];
    s.n -= removal;
    int r = parse_one(c, s, t);
    if (r)
        return r;
    if (!removal && !t->effect.n)
        return bad_spec(c, text, NULL);
    for (size_t i = 0; !removal && i < to->n; i++)
        if (str_eq(to->items[i].key, t->key) && str_eq(to->items[i].effect, t->effect))
            return cli_usage(c, "duplicated taints with the same key and effect: {" STR_FMT " " STR_FMT " " STR_FMT " <nil>}",
                             STR_ARG(t->key), STR_ARG(t->value), STR_ARG(t->effect));
    to->n++;
    return 0;
}

static bool is_spec(const char *s)
{
    size_t n = strlen(s);
    return strpbrk(s, "=:") || (n && s[n - 1] == '-');
}

static int parse_specs(struct cli *c, struct tainting *x, int argc, char **argv)
{
    x->add.items = ARENA_ARRAY(&c->a, struct taint, (size_t)argc);
    x->remove.items = ARENA_ARRAY(&c->a, struct taint, (size_t)argc);
    int first = 1;
    while (first < argc && !is_spec(argv[first]))
        first++;
    for (int i = first; i < argc; i++)
        if (!is_spec(argv[i]))
            return cli_fail(c, "all resources must be specified before taint changes: %s", argv[i]);
    if (first < 2)
        return cli_fail(c, "one or more resources must be specified as <resource> <name>");
    if (first == argc)
        return cli_fail(c, "at least one taint update is required");
    x->n_operands = first;
    int r = 0;
    for (int i = first; r == 0 && i < argc; i++)
        r = parse_spec(c, x, argv[i]);
    return r;
}

static int check_conflicts(struct cli *c, const struct tainting *x)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < x->add.n; i++) {
        for (size_t k = 0; k < x->remove.n; k++) {
            const struct taint *a = &x->add.items[i], *d = &x->remove.items[k];
            if (str_eq(a->key, d->key) && (!d->effect.n || str_eq(a->effect, d->effect)))
                buf_printf(&b, "%s" STR_FMT "=" STR_FMT, b.n ? ", " : "", STR_ARG(d->key), STR_ARG(d->effect));
        }
    }
    return b.n ? cli_fail(c, "can not both modify and remove the following taint(s) in the same command: " STR_FMT,
                          STR_ARG(buf_str(&b))) : 0;
}

static int check_operands(struct cli *c, const struct tainting *x, char **argv)
{
    const struct kind *k = kind_by_name(c, str_of(argv[1]));
    if (!k)
        return cli_note(c, "the server doesn't have a resource type \"%s\"", argv[1]), 1;
    if (!k->res || k->res->index != RES_NODES)
        return cli_fail(c, "invalid resource type %s, only node types are supported", argv[1]);
    int r = check_conflicts(c, x);
    if (r)
        return r;
    bool labels = x->labels && x->labels[0];
    if (x->all && labels)
        return cli_fail(c, "setting 'all' parameter with a non empty selector is prohibited");
    if (!x->all && !labels && x->n_operands < 3)
        return cli_fail(c, "at least one resource name must be specified since 'all' parameter is not set");
    return 0;
}

/* ---- one node ------------------------------------------------------------------------------------------------------------ */

static bool matches(const struct taint *t, const struct val *v)
{
    return str_eq(t->key, val_getstr(v, N_key)) && (!t->effect.n || str_eq(t->effect, val_getstr(v, N_effect)));
}

static int check_overwrite(struct cli *c, const struct tainting *x, const struct info *i)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t k = 0; !x->overwrite && k < x->add.n; k++) {
        VAL_EACH(val_at(i->v, N_spec, N_taints), v)
        {
            if (matches(&x->add.items[k], v))
                buf_printf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(x->add.items[k].key));
        }
    }
    return b.n ? cli_fail(c, "node " STR_FMT " already has " STR_FMT " taint(s) with same effect(s) and --overwrite is false",
                          STR_ARG(i->name), STR_ARG(buf_str(&b))) : 0;
}

static bool any_matches(const struct taints *l, const struct val *v)
{
    for (size_t i = 0; i < l->n; i++)
        if (matches(&l->items[i], v))
            return true;
    return false;
}

static int check_removals(struct cli *c, const struct tainting *x, const struct val *old)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t missing = 0;
    for (size_t i = 0; i < x->remove.n; i++) {
        const struct taint *t = &x->remove.items[i];
        bool found = false;
        VAL_EACH(old, v)
        {
            found |= matches(t, v);
        }
        if (!found)
            buf_printf(&b, "%staint \"" STR_FMT "%s" STR_FMT "\" not found", missing++ ? "\n" : "", STR_ARG(t->key),
                       t->effect.n ? ":" : "", STR_ARG(t->effect));
    }
    if (b.n)
        cli_note(c, "%s" STR_FMT, missing == 1 ? "error: " : "", STR_ARG(buf_str(&b)));
    return b.n > 0;
}

/* The list as it should be: the new ones first, then those of old that stay. */
static struct val *new_list(struct cli *c, const struct tainting *x, const struct val *old)
{
    struct arena *a = &c->a;
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < x->add.n; i++) {
        const struct taint *t = &x->add.items[i];
        struct val *v = val_new(a, VAL_MAP);
        val_put_str(a, v, STR("effect"), t->effect);
        val_put_str(a, v, STR("key"), t->key);
        if (t->value.n)
            val_put_str(a, v, STR("value"), t->value);
        val_add(a, list, *v);
    }
    VAL_EACH(old, v)
    {
        if (!any_matches(&x->add, v) && !any_matches(&x->remove, v))
            val_add(a, list, *v);
    }
    return list;
}

/* The patch says of which version of the node it is: taints are replaced as a whole, and others set them, too. */
static struct str patch_of(struct cli *c, const struct info *i, const struct val *list)
{
    struct arena *a = &c->a;
    struct val *v = val_new(a, VAL_MAP), *spec = val_new(a, VAL_MAP), *meta = val_new(a, VAL_MAP);
    if (list->n)
        val_put(a, spec, STR("taints"), *list);
    else
        val_put(a, spec, STR("taints"), (struct val){.kind = VAL_NULL});
    val_put_str(a, meta, STR("resourceVersion"), val_getstr(obj_meta(i->v), N_resourceVersion));
    val_put(a, v, STR("metadata"), *meta);
    val_put(a, v, STR("spec"), *spec);
    return json_text(c, NULL, v);
}

static struct val *tainted_here(struct cli *c, const struct val *v, struct val *list)
{
    struct val *out = val_copy(&c->a, v), *spec = (struct val *)val_get(out, N_spec);
    if (!val_is(spec, VAL_MAP))
        spec = val_put(&c->a, out, STR("spec"), *val_new(&c->a, VAL_MAP));
    val_put(&c->a, spec, STR("taints"), *list);
    return out;
}

static const char *what_is_done(const struct tainting *x)
{
    if (x->overwrite || (x->add.n && x->remove.n))
        return "modified";
    return x->add.n ? "tainted" : "untainted";
}

static int taint_one(struct cli *c, struct tainting *x, struct info *i)
{
    enum { TRIES = 5 };
    struct status s;
    struct val *answer = NULL;
    for (int attempt = 0; attempt < TRIES; attempt++) {
        const struct val *old = val_at(i->v, N_spec, N_taints);
        int r = check_overwrite(c, x, i);
        if (r == 0)
            r = check_removals(c, x, old);
        if (r)
            return r;
        struct val *list = new_list(c, x, old);
        if (x->w.dry_run == DRY_CLIENT)
            return write_print(c, &x->w, NULL, tainted_here(c, i->v, list), what_is_done(x));
        if (!request_patch(c, i->kind, STR(""), i->name, NULL, write_query(c, &x->w), PATCH_MERGE, patch_of(c, i, list), &answer,
                           &s))
            return write_print(c, &x->w, NULL, answer, what_is_done(x));
        if (!refused_as(&s, "Conflict") || info_get(c, i, &s))
            break;
    }
    return cli_refused(c, &s);
}

int cmd_taint(struct cli *c, int argc, char **argv)
{
    struct tainting x = {.w = WRITE_INIT};
    struct selection sel;
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        {"all", 0, FLAG_BOOL, &x.all, "All nodes"},
        {"overwrite", 0, FLAG_BOOL, &x.overwrite, "Taints that are there may get another value"},
        {"selector", 'l', FLAG_STRING, &x.labels, "Labels of the nodes"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &x.w, "kubectl-taint");
    if (r == 0)
        r = parse_specs(c, &x, argc, argv);
    if (r == 0)
        r = check_operands(c, &x, argv);
    if (r)
        return r;
    bool many = x.all || (x.labels && x.labels[0]);
    struct query q = {.argc = many ? 2 : x.n_operands, .argv = argv, .labels = x.labels, .all = x.all, .list_types = many, .fetch = true};
    r = select_objects(c, &q, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= taint_one(c, &x, &sel.items[i]);
    return sel.code;
}
