/* SPDX-License-Identifier: Apache-2.0 */
/* label and annotate: the same but for where the pairs go. */
#include "cli/commands.h"
#include "cli/pairs.h"
#include "cli/write.h"
#include "type/check.h"
#include "type/meta.h"

struct mark {
    const char *what, *whats, *did, *field; /* "label", "labels", "labeled", JSON member */
    bool is_label;
};
static const struct mark label_mark = {"label", "labels", "labeled", "labels", true};
static const struct mark annotation_mark = {"annotation", "annotations", "annotated", "annotations", false};

struct marking {
    const struct mark *mark;
    struct write w;
    struct pairs pairs;
    const char *revision;
    bool overwrite, list, local, single;
};

/* ---- pairs ------------------------------------------------------------------------------------------------------ */

static bool is_pair(const char *s)
{
    size_t n = strlen(s);
    return (s[0] != '=' && strchr(s, '=')) || (n > 1 && s[n - 1] == '-');
}

int pairs_split(struct cli *c, int argc, char **argv, const char *what, struct pairs *ret)
{
    *ret = (struct pairs){.items = ARENA_ARRAY(&c->a, struct pair, argc), .n_operands = argc};
    for (int i = 1; i < argc; i++) {
        struct pair p = {0};
        if (!is_pair(argv[i]) && !ret->n)
            continue;
        if (!is_pair(argv[i]))
            return cli_fail(c, "all resources must be specified before %s changes: %s", what, argv[i]);
        if (!ret->n)
            ret->n_operands = i;
        if (!str_cut(str_of(argv[i]), '=', &p.key, &p.value)) {
            p.key.n--;
            p.remove = true;
        }
        p.key = arena_str(&c->a, p.key);
        for (size_t k = 0; k < ret->n; k++)
            if (str_eq(ret->items[k].key, p.key) && ret->items[k].remove != p.remove)
                return cli_fail(c, "can not both modify and remove a %s in the same command", what);
        ret->items[ret->n++] = p;
    }
    return 0;
}

static int check_pairs(struct cli *c, const struct marking *m)
{
    for (size_t i = 0; i < m->pairs.n; i++) {
        const struct pair *p = &m->pairs.items[i];
        struct check bad = {.n = 0};
        if (!m->mark->is_label || p->remove)
            continue;
        if (str_find(p->value, '=') >= 0)
            return cli_fail(c, "invalid label spec: " STR_FMT "=" STR_FMT, STR_ARG(p->key), STR_ARG(p->value));
        check_label_text(&bad, p->value);
        if (bad.n)
            return cli_fail(c, "invalid label value: \"" STR_FMT "=" STR_FMT "\": %s", STR_ARG(p->key), STR_ARG(p->value),
                            bad.texts[0]);
    }
    return 0;
}

/* ---- one object ---------------------------------------------------------------------------------------------------- */

static const struct val *marks_of(const struct marking *m, const struct val *v)
{
    return val_key(obj_meta(v), str_of(m->mark->field));
}

static int check_overwrite(struct cli *c, const struct marking *m, const struct val *have)
{
    for (size_t i = 0; i < m->pairs.n && !m->overwrite; i++) {
        const struct pair *p = &m->pairs.items[i];
        const struct val *now = val_key(have, p->key);
        if (p->remove || !now || str_eq(val_str(now), p->value))
            continue;
        if (m->mark->is_label)
            return cli_fail(c, "'" STR_FMT "' already has a value (" STR_FMT "), and --overwrite is false", STR_ARG(p->key),
                            STR_ARG(val_str(now)));
        return cli_fail(c, "--overwrite is false but found the following declared annotation(s): '" STR_FMT
                           "' already has a value (" STR_FMT ")", STR_ARG(p->key), STR_ARG(val_str(now)));
    }
    return 0;
}

struct changes {
    struct val *patch; /* of the marks: key to value, or null */
    unsigned added, removed;
};

static void find_changes(struct cli *c, const struct marking *m, const struct val *have, struct changes *ret)
{
    ret->patch = val_new(&c->a, VAL_MAP);
    for (size_t i = 0; i < m->pairs.n; i++) {
        const struct pair *p = &m->pairs.items[i];
        const struct val *now = val_key(have, p->key);
        if (p->remove && !now) {
            if (m->mark->is_label && m->w.dry_run == DRY_NONE)
                cli_print(c, "label \"" STR_FMT "\" not found.\n", STR_ARG(p->key));
            continue;
        }
        if (!p->remove && now && str_eq(val_str(now), p->value))
            continue;
        val_put(&c->a, ret->patch, p->key, p->remove ? (struct val){.kind = VAL_NULL} : val_of_str(arena_str(&c->a, p->value)));
        ret->added += !p->remove;
        ret->removed += p->remove;
    }
}

static const char *did_what(const struct marking *m, const struct changes *ch)
{
    if (!m->mark->is_label)
        return m->mark->did;
    if (ch->added && ch->removed)
        return "modified";
    return ch->added ? "labeled" : ch->removed ? "unlabeled" : "not labeled";
}

/* The object with the changes in it, for output without a server. */
static struct val *changed_here(struct cli *c, const struct marking *m, const struct val *v, const struct changes *ch)
{
    struct val *out = val_copy(&c->a, v), *meta = (struct val *)obj_meta(out);
    if (!val_is(meta, VAL_MAP))
        meta = val_put(&c->a, out, STR("metadata"), *val_new(&c->a, VAL_MAP));
    struct val *marks = (struct val *)val_key(meta, str_of(m->mark->field));
    if (!val_is(marks, VAL_MAP))
        marks = val_put(&c->a, meta, str_of(m->mark->field), *val_new(&c->a, VAL_MAP));
    VAL_EACH_ENTRY(ch->patch, k, value)
    {
        if (value->kind == VAL_NULL)
            val_unput(marks, val_str(k));
        else
            val_put(&c->a, marks, val_str(k), *value);
    }
    return out;
}

static int list_marks(struct cli *c, const struct marking *m, const struct info *i)
{
    if (!m->single) {
        struct str group = i->kind->group;
        cli_print(c, "Listing %s for " STR_FMT "." STR_FMT "/" STR_FMT ":\n", m->mark->whats, STR_ARG(i->kind->kind),
                  STR_ARG(group), STR_ARG(i->name));
    }
    VAL_EACH_ENTRY(marks_of(m, i->v), k, v)
    {
        cli_print(c, "%s" STR_FMT "=" STR_FMT "\n", m->single ? "" : " ", STR_ARG(val_str(k)), STR_ARG(val_str(v)));
    }
    return 0;
}

static int mark_one(struct cli *c, struct marking *m, const struct info *i)
{
    struct changes ch = {0};
    struct status s;
    struct val *v = i->v, *meta = val_new(&c->a, VAL_MAP), *patch = val_new(&c->a, VAL_MAP);
    if (m->list)
        return list_marks(c, m, i);
    int r = check_overwrite(c, m, marks_of(m, i->v));
    if (r)
        return r;
    find_changes(c, m, marks_of(m, i->v), &ch);
    if (m->local || m->w.dry_run == DRY_CLIENT)
        return write_print(c, &m->w, NULL, changed_here(c, m, v, &ch), did_what(m, &ch));
    if (m->revision)
        val_put_str(&c->a, meta, STR("resourceVersion"), str_of(m->revision));
    val_put(&c->a, meta, str_of(m->mark->field), *ch.patch);
    val_put(&c->a, patch, STR("metadata"), *meta);
    struct str query = query_write(c, m->w.manager, m->w.dry_run == DRY_SERVER, NULL);
    if ((ch.added || ch.removed) && request_patch(c, i->kind, i->ns, i->name, NULL, query, PATCH_MERGE,
                                                  json_text(c, NULL, patch), &v, &s))
        return cli_refused(c, &s);
    return write_print(c, &m->w, NULL, v, did_what(m, &ch));
}

/* ---- the commands ------------------------------------------------------------------------------------------------------ */

static int check(struct cli *c, const struct marking *m, const struct query *q)
{
    bool files = q->files->names.n > 0;
    if (m->list && m->w.print.output)
        return cli_fail(c, "--list and --output may not be specified together");
    if (q->all && q->labels)
        return cli_fail(c, "cannot set --all and --selector at the same time");
    if (q->all && q->fields)
        return cli_fail(c, "cannot set --all and --field-selector at the same time");
    if (m->local && m->w.dry_run == DRY_SERVER)
        return cli_fail(c, "cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
    if (m->local && q->argc > 1)
        return cli_fail(c, "can only use local files by -f pod.yaml or --filename=pod.json when --local=true is set");
    if (m->local && !files)
        return cli_fail(c, "one or more files must be specified as -f pod.yaml or --filename=pod.json");
    if (q->argc < 2 && !files)
        return cli_fail(c, "one or more resources must be specified as <resource> <name> or <resource>/<name>");
    if (!m->pairs.n && !m->list)
        return cli_fail(c, "at least one %s update is required", m->mark->what);
    return 0;
}

static int run(struct cli *c, int argc, char **argv, const struct mark *mark)
{
    struct marking m = {.mark = mark, .w = WRITE_INIT};
    struct file_flags files = {0};
    struct query q = {.argv = argv, .files = &files, .fetch = true, .latest = true, .chunk = 500};
    struct selection sel;
    struct flag flags[] = {
        WRITE_FLAGS(&m.w),
        FILE_FLAGS(&files, "that name objects to change"),
        {"all", 0, FLAG_BOOL, &q.all, "All objects of the types"},
        {"all-namespaces", 'A', FLAG_BOOL, &q.all_namespaces, "In all namespaces"},
        {"field-selector", 0, FLAG_STRING, &q.fields, "Fields to select by"},
        {"list", 0, FLAG_BOOL, &m.list, "Show what there is"},
        {"local", 0, FLAG_BOOL, &m.local, "Only change what the files hold, and print it"},
        {"overwrite", 0, FLAG_BOOL, &m.overwrite, "Values that are there may be changed"},
        {"resource-version", 0, FLAG_STRING, &m.revision, "Only if the object has this resourceVersion"},
        {"selector", 'l', FLAG_STRING, &q.labels, "Labels to select by"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &m.w, mark->is_label ? "kubectl-label" : "kubectl-annotate");
    if (r == 0)
        r = pairs_split(c, argc, argv, mark->what, &m.pairs);
    if (r)
        return r;
    q.argc = m.pairs.n_operands;
    q.list_types = m.list;
    q.latest = !m.local;
    r = check(c, &m, &q);
    if (r == 0)
        r = check_pairs(c, &m);
    if (r == 0)
        r = select_objects(c, &q, &sel);
    if (r)
        return r;
    m.single = sel.single;
    if (m.revision && !sel.single)
        return cli_fail(c, "--resource-version may only be used with a single resource");
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= mark_one(c, &m, &sel.items[i]);
    return sel.code;
}

int cmd_label(struct cli *c, int argc, char **argv)
{
    return run(c, argc, argv, &label_mark);
}

int cmd_annotate(struct cli *c, int argc, char **argv)
{
    return run(c, argc, argv, &annotation_mark);
}
