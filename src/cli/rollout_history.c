/* SPDX-License-Identifier: Apache-2.0 */
/* rollout history and undo. A Deployment's revisions are its ReplicaSets, the others' are ControllerRevisions. */
#include "cli/rollout.h"

#include "cli/describe.h"
#include "cli/tab.h"
#include "cli/write.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/selector.h"

struct revision {
    int64_t number;
    const struct val *v;        /* the ReplicaSet or ControllerRevision */
    const struct val *template; /* of pods */
};

struct history {
    struct revision *items; /* by number */
    size_t n;
    bool of_deployment;
};

#define REVISION STR("deployment.kubernetes.io/revision")
#define CHANGE_CAUSE STR("kubernetes.io/change-cause")

/* ---- revisions ----------------------------------------------------------------------------------------------------- */

static int compare_revisions(const void *a, const void *b)
{
    const struct revision *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* A ControllerRevision holds a patch of the workload: its template stands in it whole. */
static const struct val *template_of(const struct val *v, bool of_deployment)
{
    return of_deployment ? val_at(v, N_spec, N_template) : val_at(v, N_data, N_spec, N_template);
}

static int load_history(struct cli *c, const struct info *i, struct history *ret)
{
    struct selector s;
    struct val *list;
    struct status st;
    unsigned res = i->kind->res ? i->kind->res->index : 0;
    ret->of_deployment = res == RES_DEPLOYMENTS;
    if (res != RES_DEPLOYMENTS && res != RES_DAEMONSETS && res != RES_STATEFULSETS)
        return cli_fail(c, "no history viewer has been implemented for \"" STR_FMT "\"", STR_ARG(i->kind->kind));
    if (selector_from_val(&c->a, val_at(i->v, N_spec, N_selector), &s, NULL) < 0)
        return cli_fail(c, "the selector of " STR_FMT " is not valid", STR_ARG(i->name));
    const struct kind *k = kind_at(c, ret->of_deployment ? RES_REPLICASETS : RES_CONTROLLERREVISIONS);
    if (request_list(c, k, i->ns, query_with(c, STR_NULL, "labelSelector", selector_print(&c->a, &s)), &list, &st))
        return cli_refused(c, &st);
    ret->items = ARENA_ARRAY(&c->a, struct revision, val_len(val_get(list, N_items)) + 1);
    VAL_EACH(val_get(list, N_items), v)
    {
        int64_t number = val_int(val_get(v, N_revision), 0);
        if (!obj_controlled_by(v, obj_uid(i->v)))
            continue;
        if (ret->of_deployment && str_to_i64(obj_annotation(v, REVISION), &number) < 0)
            continue;
        ret->items[ret->n++] = (struct revision){number, v, template_of(v, ret->of_deployment)};
    }
    qsort(ret->items, ret->n, sizeof(*ret->items), compare_revisions);
    return 0;
}

static const struct revision *find_revision(const struct history *h, int64_t number)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->items[i].number == number)
            return &h->items[i];
    return NULL;
}

/* ---- history ---------------------------------------------------------------------------------------------------------- */

static void put_template(struct cli *c, const struct revision *r, bool of_deployment)
{
    struct desc d = {.c = c};
    struct str cause = obj_annotation(r->v, CHANGE_CAUSE);
    struct val *template = val_copy(&c->a, r->template);
    if (of_deployment && cause.n) {
        struct val *meta = (struct val *)val_get(template, N_metadata);
        struct val *notes = (struct val *)val_get(meta, N_annotations);
        if (meta && !notes)
            notes = val_put(&c->a, meta, STR("annotations"), *val_new(&c->a, VAL_MAP));
        if (notes)
            val_put_str(&c->a, notes, CHANGE_CAUSE, cause);
    }
    desc_pod_template(&d, template);
    cli_write(c, buf_str(&d.text)); /* with its tabs, as upstream prints it here */
    buf_done(&d.text);
}

static void put_list(struct cli *c, const struct history *h)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "REVISION\tCHANGE-CAUSE\n");
    for (size_t i = 0; i < h->n; i++) {
        struct str cause = obj_annotation(h->items[i].v, CHANGE_CAUSE);
        buf_printf(&b, "%lld\t" STR_FMT "\n", (long long)h->items[i].number, STR_ARG(cause.n ? cause : STR("<none>")));
    }
    tab_align(&c->out, buf_str(&b), TAB_DESCRIBE, NULL);
}

static struct val *without_hash(struct cli *c, const struct val *template);

/* What -o prints of a revision: the ReplicaSet, or the workload as it was then. */
static const struct val *as_it_was(struct cli *c, const struct info *i, const struct history *h, const struct revision *r)
{
    if (h->of_deployment)
        return r->v;
    struct val *v = val_copy(&c->a, i->v);
    struct val *spec = (struct val *)val_get(v, N_spec);
    if (val_is(spec, VAL_MAP))
        val_put(&c->a, spec, STR("template"), *without_hash(c, r->template));
    return v;
}

static int print_history(struct cli *c, const struct info *i, int64_t revision, struct printer *p)
{
    struct history h = {0};
    int r = load_history(c, i, &h);
    if (r)
        return r;
    const struct revision *one = revision ? find_revision(&h, revision) : NULL;
    if (revision && !one)
        return cli_fail(c, "unable to find the specified revision");
    if (p->kind != PRINT_NONE) {
        for (size_t k = 0; r == 0 && k < h.n; k++)
            if (!one || one == &h.items[k])
                r = printer_put(c, p, NULL, as_it_was(c, i, &h, &h.items[k]), "");
        return r;
    }
    cli_print(c, STR_FMT " ", STR_ARG(info_label(c, i)));
    if (one) {
        cli_print(c, "with revision #%lld\n", (long long)revision);
        put_template(c, one, h.of_deployment);
    } else if (h.n) {
        cli_print(c, "\n");
        put_list(c, &h);
    } else {
        cli_print(c, "\nNo rollout history found.");
    }
    cli_print(c, "\n");
    return 0;
}

int cmd_rollout_history(struct cli *c, int argc, char **argv)
{
    struct print_flags print = PRINT_FLAGS_INIT;
    struct printer p;
    struct file_flags files = {0};
    struct selection sel;
    const char *labels = NULL;
    int64_t revision = 0;
    struct flag flags[] = {
        PRINT_FLAGS(&print),
        FILE_FLAGS(&files, "that name objects to look at"),
        {"revision", 0, FLAG_INT, &revision, "Show this revision in detail"},
        {"selector", 'l', FLAG_STRING, &labels, "Labels to select by"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0 && revision < 0)
        r = cli_fail(c, "revision must be a positive integer: %lld", (long long)revision);
    if (r == 0)
        r = printer_make(c, &print, false, &p);
    if (r == 0)
        r = rollout_select(c, argc, argv, &files, labels, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= print_history(c, &sel.items[i], revision, &p);
    return sel.code;
}

/* ---- undo ------------------------------------------------------------------------------------------------------------- */

static const struct revision *target_of(struct cli *c, const struct info *i, const struct history *h, int64_t to)
{
    const struct revision *found = to ? find_revision(h, to) : h->n > 1 ? &h->items[h->n - 2] : NULL;
    if (!found && to)
        cli_fail(c, "unable to find specified revision %lld in history", (long long)to);
    else if (!found && h->of_deployment)
        cli_fail(c, "no rollout history found for deployment \"" STR_FMT "\"", STR_ARG(i->name));
    else if (!found)
        cli_fail(c, "no last revision to roll back to");
    return found;
}

static struct val *without_hash(struct cli *c, const struct val *template)
{
    struct val *copy = val_copy(&c->a, template), *labels = (struct val *)obj_labels(copy);
    if (val_is(labels, VAL_MAP))
        val_unput(labels, STR("pod-template-hash"));
    if (val_is(copy, VAL_MAP))
        val_unput(copy, STR("$patch"));
    return copy;
}

static bool stays(struct str key)
{
    static const char *const own[] = {"kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision",
                                      "deployment.kubernetes.io/revision-history", "deployment.kubernetes.io/desired-replicas",
                                      "deployment.kubernetes.io/max-replicas", "deprecated.deployment.rollback.to"};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (str_is(key, own[i]))
            return true;
    return false;
}

/* The deployment's annotations become those of the revision, but for the ones that belong to the deployment itself. */
static struct str deployment_patch(struct cli *c, const struct info *i, const struct revision *to)
{
    struct val *notes = val_new(&c->a, VAL_MAP);
    VAL_EACH_ENTRY(val_at(i->v, N_metadata, N_annotations), k, v)
    {
        if (stays(val_str(k)))
            val_put(&c->a, notes, val_str(k), *v);
    }
    VAL_EACH_ENTRY(val_at(to->v, N_metadata, N_annotations), k, v)
    {
        if (!stays(val_str(k)))
            val_put(&c->a, notes, val_str(k), *v);
    }
    return cli_printf(c, "[{\"op\":\"replace\",\"path\":\"/spec/template\",\"value\":" STR_FMT "},{\"op\":\"replace\",\"path\":"
                         "\"/metadata/annotations\",\"value\":" STR_FMT "}]",
                      STR_ARG(json_text(c, NULL, without_hash(c, to->template))), STR_ARG(json_text(c, NULL, notes)));
}

static int undo(struct cli *c, struct write *w, const struct info *i, int64_t to)
{
    struct history h = {0};
    struct status s;
    struct val *v;
    int r = load_history(c, i, &h);
    if (r)
        return r;
    if (applied_get(i->v).p)
        cli_note(c, "Warning: resource " STR_FMT "/" STR_FMT " was previously managed with 'kubectl apply'. Rolling back will not "
                    "update the kubectl.kubernetes.io/last-applied-configuration annotation, which may cause unexpected behavior "
                    "on future 'kubectl apply' operations. Consider using 'kubectl apply' with your previous configuration file "
                    "instead.", STR_ARG(i->kind->plural), STR_ARG(i->name));
    const struct revision *target = target_of(c, i, &h, to);
    if (!target)
        return 1;
    if (w->dry_run == DRY_CLIENT) {
        cli_print(c, STR_FMT " %s", STR_ARG(info_label(c, i)), h.of_deployment ? "" : "will roll back to ");
        put_template(c, target, h.of_deployment);
        cli_print(c, " (dry run)\n");
        return 0;
    }
    if (val_bool(val_at(i->v, N_spec, N_paused), false))
        return cli_fail(c, "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again");
    if (val_equal(without_hash(c, target->template), without_hash(c, val_at(i->v, N_spec, N_template))))
        return write_print(c, w, NULL, i->v,
                           cli_printf(c, "skipped rollback (current template already matches revision %lld)", (long long)to).p);
    struct str patch = h.of_deployment ? deployment_patch(c, i, target) : json_text(c, NULL, val_get(target->v, N_data));
    if (request_patch(c, i->kind, i->ns, i->name, NULL, query_write(c, w->manager, w->dry_run == DRY_SERVER, NULL),
                      h.of_deployment ? PATCH_JSON : PATCH_STRATEGIC, patch, &v, &s))
        return s.code < 0 ? cli_refused(c, &s)
                          : cli_fail(c, "failed restoring revision %lld: " STR_FMT, (long long)to, STR_ARG(s.message));
    return write_print(c, w, NULL, i->v, "rolled back");
}

int cmd_rollout_undo(struct cli *c, int argc, char **argv)
{
    struct write w = WRITE_INIT;
    struct file_flags files = {0};
    struct selection sel;
    const char *labels = NULL;
    int64_t to = 0;
    struct flag flags[] = {
        WRITE_FLAGS(&w),
        FILE_FLAGS(&files, "that name objects to change"),
        {"selector", 'l', FLAG_STRING, &labels, "Labels to select by"},
        {"to-revision", 0, FLAG_INT, &to, "Revision to go back to; 0: the one before"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &w, "kubectl-rollout");
    if (r == 0 && to < 0)
        r = cli_fail(c, "unable to find specified revision %lld in history", (long long)to);
    if (r == 0)
        r = rollout_select(c, argc, argv, &files, labels, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= undo(c, &w, &sel.items[i], to);
    return sel.code;
}
