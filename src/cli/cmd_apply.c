/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply: what a file says is made true. What it said the last time is kept in an annotation of the object, so that a
 * field that the file no longer names is removed and fields of others stay: the patch is made of the three.
 */
#include "cli/apply.h"
#include "cli/commands.h"
#include "cli/delete.h"
#include "cli/write.h"

#include "base/fiber.h"
#include "names.h"
#include "type/meta.h"

enum { MAX_RETRIES = 5, QUICK_RETRIES = 1 };

struct apply {
    struct write w;
    struct deletion d; /* --force and --prune */
    struct file_flags files;
    struct flag_list allow_list;
    const char *labels, *subresource, *applyset;
    bool server_side, force_conflicts, prune, all, overwrite;
    struct map uids, namespaces; /* of what was applied, for --prune */
    const struct val **shown;    /* with -o json and the like: printed at the end, together */
    size_t n_shown;
};

/* ---- saying ------------------------------------------------------------------------------------------------------- */

static struct str describe_info(struct cli *c, const struct info *i)
{
    const struct kind *k = i->kind;
    return cli_printf(c, "Resource: \"" STR_FMT "/" STR_FMT ", Resource=" STR_FMT "\", GroupVersionKind: \"" STR_FMT "/" STR_FMT
                         ", Kind=" STR_FMT "\"\nName: \"" STR_FMT "\", Namespace: \"" STR_FMT "\"",
                      STR_ARG(k->group), STR_ARG(k->version), STR_ARG(k->plural), STR_ARG(k->group), STR_ARG(k->version),
                      STR_ARG(k->kind), STR_ARG(i->name), STR_ARG(i->ns));
}

/* Upstream's long form of a refusal: what was being done, to what, for which file. */
static int refused(struct cli *c, const struct info *i, struct status *s, const char *doing, const char *preposition)
{
    if (s->code > 0)
        s->message = cli_printf(c, "error when %s\n" STR_FMT "\n%s \"%s\": " STR_FMT, doing, STR_ARG(describe_info(c, i)),
                                preposition, i->source ? i->source : "", STR_ARG(s->message));
    return cli_refused(c, s);
}

static void remember(struct apply *x, const struct val *v)
{
    map_put(&x->uids, obj_uid(v), x);
    if (obj_namespace(v).n)
        map_put(&x->namespaces, obj_namespace(v), x);
}

static int done(struct cli *c, struct apply *x, const struct info *i, const struct val *v, const char *did)
{
    if (obj_deleting(v))
        cli_note(c, "Warning: Detected changes to resource " STR_FMT "/" STR_FMT " which is currently being deleted.",
                 STR_ARG(i->kind->plural), STR_ARG(i->name));
    remember(x, v);
    if (x->w.printer.kind == PRINT_NONE || x->w.printer.kind == PRINT_NAME)
        return write_print(c, &x->w, NULL, v, did);
    x->shown[x->n_shown++] = v;
    return 0;
}

/* ---- create ------------------------------------------------------------------------------------------------------- */

void apply_drop_nulls(struct val *v)
{
    if (val_is(v, VAL_LIST))
        for (size_t i = 0; i < v->n; i++)
            apply_drop_nulls(&v->items[i]);
    if (!val_is(v, VAL_MAP))
        return;
    for (size_t i = v->n; i-- > 0;) {
        if (v->items[2 * i + 1].kind == VAL_NULL)
            val_unput(v, val_str(&v->items[2 * i]));
        else
            apply_drop_nulls(&v->items[2 * i + 1]);
    }
}

static int create(struct cli *c, struct apply *x, const struct info *i, struct val *modified)
{
    struct status s;
    struct val *v = modified;
    apply_drop_nulls(v);
    if (x->w.dry_run != DRY_CLIENT &&
        request_create(c, i->kind, i->ns, STR_NULL, NULL, write_query(c, &x->w), json_text(c, NULL, v), &v, &s))
        return write_refused(c, &s, "creating", i->source);
    return done(c, x, i, v, "created");
}

/* ---- patch -------------------------------------------------------------------------------------------------------- */

static const struct val *original_of(struct cli *c, const struct val *current)
{
    struct val *v = NULL;
    struct str text = applied_get(current);
    return text.p && json_decode(&c->a, NULL, text, 0, NULL, &v, NULL) == 0 ? v : NULL;
}

int apply_make_patch(struct cli *c, const struct info *i, const struct val *modified, const struct val *current, struct str *ret)
{
    struct err e = {0};
    const struct val *original = original_of(c, current);
    if (!str_eq(obj_name(modified), obj_name(current)))
        return cli_fail(c, "At least one of apiVersion, kind and name was changed");
    if (patch_three_way(&c->a, i->kind->type, original, modified, current, ret, &e) < 0)
        return cli_fail(c, "%s", e.text);
    return 0;
}

/* --dry-run=client: the patch is applied here. */
static int patch_locally(struct cli *c, struct apply *x, const struct info *i, const struct val *current, struct str patch)
{
    struct status s;
    struct val *v = NULL;
    const struct type *t = i->kind->type;
    status_init(&s, &c->a);
    if (patch_apply(&c->a, t ? PATCH_STRATEGIC : PATCH_MERGE, t, current, patch, NULL, &v, &s))
        return cli_refused(c, &s);
    if (t && json_decode(&c->a, NULL, json_text(c, t, v), 0, NULL, &v, NULL) < 0)
        v = (struct val *)current;
    return done(c, x, i, v, "configured");
}

static int recreate(struct cli *c, struct apply *x, const struct info *i, struct val *modified, const struct val *current)
{
    struct status s;
    struct val *v;
    struct selection one = {.items = (struct info[]){*i}, .n = 1};
    struct deletion d = x->d;
    size_t found;
    d.quiet = d.wait = d.ignore_missing = true;
    int r = delete_all(c, &d, &one, &found);
    if (r)
        return r;
    if (request_create(c, i->kind, i->ns, STR_NULL, NULL, write_query(c, &x->w), json_text(c, NULL, modified), &v, &s) == 0)
        return done(c, x, i, v, "configured");
    write_refused(c, &s, "creating", i->source);
    /* Rather the old one than none. */
    struct val *old = val_copy(&c->a, current), *meta = (struct val *)obj_meta(old);
    val_unput(meta, STR("resourceVersion"));
    val_unput(meta, STR("uid"));
    if (request_create(c, i->kind, i->ns, STR_NULL, NULL, write_query(c, &x->w), json_text(c, NULL, old), &v, &s))
        cli_refused(c, &s);
    return 1;
}

static int patch_refused(struct cli *c, const struct info *i, struct str patch, struct status *s)
{
    if (s->code > 0)
        s->message = cli_printf(c, "error when patching \"%s\": " STR_FMT, i->source, STR_ARG(s->message));
    return refused(c, i, s, cli_printf(c, "applying patch:\n" STR_FMT "\nto:", STR_ARG(patch)).p, "for:");
}

static int patch(struct cli *c, struct apply *x, const struct info *i, struct val *modified, const struct val *current)
{
    struct status s;
    struct str text;
    struct val *v;
    enum patch_kind how = i->kind->type ? PATCH_STRATEGIC : PATCH_MERGE;
    for (int round = 0;; round++) {
        int r = apply_make_patch(c, i, modified, current, &text);
        if (r)
            return r;
        if (str_is(text, "{}"))
            return done(c, x, i, current, "unchanged");
        if (x->w.dry_run == DRY_CLIENT)
            return patch_locally(c, x, i, current, text);
        if (request_patch(c, i->kind, i->ns, i->name, NULL, write_query(c, &x->w), how, text, &v, &s) == 0)
            return done(c, x, i, v, "configured");
        if (!refused_as(&s, "Conflict") || round >= MAX_RETRIES)
            break;
        if (round >= QUICK_RETRIES)
            fiber_sleep(SECONDS(1));
        struct info again = *i;
        if (info_get(c, &again, &s))
            break;
        current = again.v;
    }
    if (x->d.force && (refused_as(&s, "Conflict") || refused_as(&s, "Invalid")))
        return recreate(c, x, i, modified, current);
    return patch_refused(c, i, text, &s);
}

static int apply_here(struct cli *c, struct apply *x, struct info *i)
{
    struct status s;
    struct info current = *i;
    applied_set(c, i->v);
    int code = info_get(c, &current, &s);
    if (code && refused_as(&s, "NotFound"))
        return create(c, x, i, i->v);
    if (code)
        return refused(c, i, &s, "retrieving current configuration of:", "from server for:");
    if (!applied_get(current.v).p)
        cli_note(c, "Warning: resource " STR_FMT "/" STR_FMT " is missing the kubectl.kubernetes.io/last-applied-configuration "
                    "annotation which is required by kubectl apply. kubectl apply should only be used on resources created "
                    "declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be "
                    "patched automatically.", STR_ARG(i->kind->plural), STR_ARG(i->name));
    return patch(c, x, i, i->v, current.v);
}

/* ---- server-side ---------------------------------------------------------------------------------------------------- */

static int apply_there(struct cli *c, struct apply *x, struct info *i)
{
    struct status s;
    struct val *v;
    struct str query = query_with(c, write_query(c, &x->w), "force", x->force_conflicts ? STR("true") : STR("false"));
    int code = request_patch(c, i->kind, i->ns, i->name, x->subresource, query, PATCH_APPLY, json_text(c, NULL, i->v), &v, &s);
    if (code == 0)
        return done(c, x, i, v, "serverside-applied");
    if (!refused_as(&s, "Conflict"))
        return cli_refused(c, &s);
    return cli_fail(c, STR_FMT "\nOther managers own the fields above. You can:\n"
                       "* take them over: run the command again with --force-conflicts\n"
                       "* leave them alone: remove them from the manifest\n"
                       "* share them: give them the values they have now\n"
                       "See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts", STR_ARG(s.message));
}

/* ---- prune ------------------------------------------------------------------------------------------------------------ */

static const char *const prunable[] = {
    "v1/ConfigMap", "v1/Endpoints", "v1/PersistentVolumeClaim", "v1/Pod", "v1/ReplicationController", "v1/Secret", "v1/Service",
    "batch/v1/Job", "batch/v1/CronJob", "networking.k8s.io/v1/Ingress", "apps/v1/DaemonSet", "apps/v1/Deployment",
    "apps/v1/ReplicaSet", "apps/v1/StatefulSet", "v1/Namespace", "v1/PersistentVolume",
};

static int prune_kind(struct cli *c, struct apply *x, const struct kind *k, struct str ns)
{
    struct val *list = NULL;
    struct status s;
    struct str uid;
    int code = 0;
    if (request_list(c, k, ns, query_with(c, STR_NULL, "labelSelector", str_of(x->labels)), &list, &s))
        return cli_refused(c, &s);
    VAL_EACH(val_get(list, N_items), v)
    {
        struct info i = {.kind = k, .ns = obj_namespace(v), .name = obj_name(v), .v = (struct val *)v};
        if (!applied_get(v).p || map_has(&x->uids, obj_uid(v)))
            continue;
        struct deletion d = x->d;
        d.quiet = true;
        if (delete_one(c, &d, &i, &uid)) {
            code = 1;
            continue;
        }
        cli_print(c, STR_FMT " %s\n", STR_ARG(info_label(c, &i)), dry_run_word(c, "pruned", x->w.dry_run));
    }
    return code;
}

static int prune(struct cli *c, struct apply *x)
{
    size_t n = x->allow_list.n ? x->allow_list.n : ARRAY_SIZE(prunable);
    int code = 0;
    for (size_t i = 0; i < n; i++) {
        struct str gvk = str_of(x->allow_list.n ? x->allow_list.items[i] : prunable[i]);
        ssize_t slash = str_rfind(gvk, '/');
        struct str gv = str_slice(gvk, 0, slash < 0 ? 0 : (size_t)slash);
        if (str_starts(gv, STR("core/")))
            gv = str_from(gv, 5);
        const struct kind *k = kind_of(c, gv, str_from(gvk, (size_t)(slash + 1)));
        if (!k)
            return cli_fail(c, "invalid GroupVersionKind format: " STR_FMT ", please follow <group/version/kind>", STR_ARG(gvk));
        if (!k->namespaced && (x->allow_list.n || !c->ns_given))
            code |= prune_kind(c, x, k, STR(""));
        MAP_EACH(&x->namespaces, e)
        if (k->namespaced)
            code |= prune_kind(c, x, k, e->key);
    }
    return code;
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static int check(struct cli *c, const struct apply *x, int argc, char **argv)
{
    if (argc > 1)
        return cli_usage(c, "Unexpected args: [%s]", argv[1]);
    if (!x->files.names.n && !x->files.kustomize)
        return cli_fail(c, "must specify one of -f and -k");
    if (x->applyset)
        return cli_fail(c, "--applyset is not supported");
    if (x->force_conflicts && !x->server_side)
        return cli_fail(c, "--force-conflicts only works with --server-side");
    if (x->w.dry_run == DRY_CLIENT && x->server_side)
        return cli_fail(c, "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)");
    if (x->server_side && x->d.force)
        return cli_fail(c, "--force cannot be used with --server-side");
    if (x->w.dry_run == DRY_SERVER && x->d.force)
        return cli_fail(c, "--dry-run=server cannot be used with --force");
    if (x->all && x->labels)
        return cli_fail(c, "cannot set --all and --selector at the same time");
    if (x->prune && x->d.force)
        return cli_fail(c, "--force cannot be used with --prune");
    if (x->prune && !x->all && !x->labels)
        return cli_fail(c, "all resources selected for prune without explicitly passing --all. To prune all resources, pass the "
                           "--all flag. If you did not mean to prune all resources, specify a label selector");
    if (x->prune && x->server_side)
        return cli_fail(c, "--prune is in alpha and doesn't currently work on objects created by server-side apply");
    return 0;
}

static int apply_one(struct cli *c, struct apply *x, struct info *i)
{
    if (!i->name.n) {
        struct str base = val_str(val_key(obj_meta(i->v), STR("generateName")));
        if (base.n)
            return cli_fail(c, "from " STR_FMT ": cannot use generate name with apply", STR_ARG(base));
        return cli_fail(c, "error when retrieving current configuration of:\n" STR_FMT "\nfrom server for: \"%s\": resource name "
                           "may not be empty", STR_ARG(describe_info(c, i)), i->source);
    }
    return x->server_side ? apply_there(c, x, i) : apply_here(c, x, i);
}

static int apply_all(struct cli *c, struct apply *x)
{
    struct selection sel;
    int r = select_objects(c, &(struct query){.files = &x->files, .labels = x->labels}, &sel);
    if (r)
        return r;
    if (!sel.n && !sel.code)
        return cli_fail(c, "no objects passed to apply");
    x->shown = ARENA_ARRAY(&c->a, const struct val *, sel.n + 1);
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= apply_one(c, x, &sel.items[i]);
    if (x->n_shown)
        sel.code |= printer_put_all(c, &x->w.printer, x->shown, x->n_shown, true, STR(""));
    if (x->prune && !sel.code)
        sel.code = prune(c, x);
    return sel.code;
}

int cmd_apply(struct cli *c, int argc, char **argv)
{
    struct apply x = {.w = WRITE_INIT, .d = {.grace = -1}, .overwrite = true};
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        FILE_FLAGS(&x.files, "with the configuration to apply"),
        {"all", 0, FLAG_BOOL, &x.all, "All objects of the kinds, for --prune"},
        {"applyset", 0, FLAG_STRING, &x.applyset, NULL},
        {"cascade", 0, FLAG_STRING, &x.d.cascade, "Dependents of what is deleted: background, foreground or orphan", "background"},
        {"force", 0, FLAG_BOOL, &x.d.force, "Delete and create anew what cannot be changed"},
        {"force-conflicts", 0, FLAG_BOOL, &x.force_conflicts, "Take fields over from other managers, with --server-side"},
        {"grace-period", 0, FLAG_INT, &x.d.grace, "Seconds to end in, for what is deleted"},
        {"openapi-patch", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"overwrite", 0, FLAG_BOOL, &x.overwrite, NULL},
        {"prune", 0, FLAG_BOOL, &x.prune, "Delete what was applied before, matches, and is in the files no longer"},
        {"prune-allowlist", 0, FLAG_ARRAY, &x.allow_list, "Kinds that --prune looks at: group/version/kind"},
        {"prune-whitelist", 0, FLAG_ARRAY, &x.allow_list, NULL},
        {"selector", 'l', FLAG_STRING, &x.labels, "Labels to select by"},
        {"server-side", 0, FLAG_BOOL, &x.server_side, "The server merges"},
        {"subresource", 0, FLAG_STRING, &x.subresource, "Part of the object, with --server-side"},
        {"timeout", 0, FLAG_DURATION, &x.d.timeout, "How long to wait for a deletion"},
        {"wait", 0, FLAG_BOOL, &x.d.wait, "Wait until what is deleted is gone"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &x.w, x.server_side ? "kubectl" : "kubectl-client-side-apply");
    if (r == 0)
        r = check(c, &x, argc, argv);
    x.d.dry = x.w.dry;
    if (r == 0)
        r = delete_prepare(c, &x.d);
    return r ? r : apply_all(c, &x);
}

/* ---- view-last-applied, set-last-applied ------------------------------------------------------------------------------ */

static int view_one(struct cli *c, struct printer *p, const struct info *i)
{
    struct val *v = NULL;
    struct str text = applied_get(i->v);
    if (!text.p)
        return cli_fail(c, "no last-applied-configuration annotation found on " STR_FMT " \"" STR_FMT "\" in namespace \"" STR_FMT
                           "\"; to create the annotation, use the command `kubectl apply set-last-applied --create-annotation`",
                        STR_ARG(i->kind->plural), STR_ARG(i->name), STR_ARG(i->ns));
    if (json_decode(&c->a, NULL, text, 0, NULL, &v, NULL) < 0)
        return cli_fail(c, "the annotation of " STR_FMT " is no JSON", STR_ARG(i->name));
    return printer_put(c, p, NULL, v, "");
}

int cmd_apply_view(struct cli *c, int argc, char **argv)
{
    struct print_flags print = PRINT_FLAGS_INIT;
    struct printer p;
    struct file_flags files = {0};
    struct selection sel;
    const char *labels = NULL;
    bool all = false;
    print.output = "yaml";
    struct flag flags[] = {
        FILE_FLAGS(&files, "that name objects"),
        {"all", 0, FLAG_BOOL, &all, "All objects of the types"},
        {"output", 'o', FLAG_STRING, &print.output, "yaml or json"},
        {"selector", 'l', FLAG_STRING, &labels, "Labels to select by"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (strcmp(print.output, "yaml") && strcmp(print.output, "json"))
        return cli_usage(c, "Unexpected -o output mode: %s, the flag 'output' must be one of yaml|json", print.output);
    r = printer_make(c, &print, false, &p);
    if (r == 0)
        r = select_objects(c, &(struct query){.argc = argc, .argv = argv, .files = &files, .labels = labels, .all = all,
                                              .fetch = true, .latest = true}, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= view_one(c, &p, &sel.items[i]);
    return sel.code;
}

static int set_one(struct cli *c, struct write *w, struct info *i, bool create_annotation)
{
    struct status s;
    struct info current = *i;
    struct val *answer, *patch = val_new(&c->a, VAL_MAP), *meta = val_new(&c->a, VAL_MAP), *notes = val_new(&c->a, VAL_MAP);
    struct str text = applied_set(c, i->v);
    if (info_get(c, &current, &s))
        return cli_refused(c, &s);
    if (!applied_get(current.v).p && !create_annotation)
        return cli_fail(c, "no last-applied-configuration annotation found on resource: " STR_FMT ", to create the annotation, run "
                           "the command with --create-annotation", STR_ARG(i->name));
    val_put_str(&c->a, notes, LAST_APPLIED, text);
    val_put(&c->a, meta, STR("annotations"), *notes);
    val_put(&c->a, patch, STR("metadata"), *meta);
    if (w->dry_run != DRY_CLIENT && request_patch(c, i->kind, i->ns, i->name, NULL, write_query(c, w), PATCH_MERGE,
                                                  json_text(c, NULL, patch), &answer, &s))
        return cli_refused(c, &s);
    return write_print(c, w, NULL, current.v, "configured");
}

int cmd_apply_set(struct cli *c, int argc, char **argv)
{
    struct write w = WRITE_INIT;
    struct file_flags files = {0};
    struct selection sel;
    bool create_annotation = false;
    struct flag flags[] = {
        WRITE_FLAGS(&w),
        FILE_FLAGS(&files, "with the configurations"),
        {"create-annotation", 0, FLAG_BOOL, &create_annotation, "Also of objects that have no annotation yet"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &w, "kubectl-client-side-apply");
    if (r == 0)
        r = select_objects(c, &(struct query){.files = &files}, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= set_one(c, &w, &sel.items[i], create_annotation);
    return sel.code;
}

const struct command apply_commands[] = {
    {"view-last-applied", NULL, "(TYPE [NAME | -l label] | TYPE/NAME | -f FILE) [flags]",
     "Show the configuration that was applied last", NULL, cmd_apply_view, NULL},
    {"set-last-applied", NULL, "-f FILE [flags]", "Set the annotation of the configuration that was applied last", NULL,
     cmd_apply_set, NULL},
    {0},
};
