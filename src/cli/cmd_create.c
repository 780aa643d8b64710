/* SPDX-License-Identifier: Apache-2.0 */
/* create -f; replace. Objects from flags are in create_*.c. */
#include "cli/commands.h"
#include "cli/delete.h"
#include "cli/editor.h"
#include "cli/write.h"

#include "base/os.h"
#include "names.h"
#include "type/meta.h"

static int need_files(struct cli *c, const struct file_flags *f)
{
    if (!f->names.n && !f->kustomize)
        return cli_fail(c, "must specify one of -f and -k");
    return 0;
}

static int create_one(struct cli *c, struct write *w, struct info *i, bool save)
{
    struct status s;
    struct val *v = i->v;
    if (save)
        applied_set(c, v);
    if (w->dry_run != DRY_CLIENT &&
        request_create(c, i->kind, i->ns, STR_NULL, NULL, write_query(c, w), json_text(c, NULL, v), &v, &s))
        return write_refused(c, &s, "creating", i->source);
    return write_print(c, w, NULL, v, "created");
}

static int post_raw(struct cli *c, const char *path, const struct file_flags *f, const char *method)
{
    struct status s;
    struct str body, answer;
    int r;
    if (f->names.n != 1)
        return cli_fail(c, "--raw can only use a single local file or stdin");
    const char *file = f->names.items[0];
    r = !strcmp(file, "-") ? manifest_stdin(c, &body) : os_read_file(&c->a, file, 64 << 20, &body);
    if (r)
        return r < 0 ? cli_fail(c, "%s: %s", file, strerror(-r)) : r;
    struct request req = {.method = method, .path = str_of(path), .body = body};
    if (request_text(c, &req, &answer, &s))
        return cli_refused(c, &s);
    cli_write(c, answer);
    return 0;
}

int cmd_create(struct cli *c, int argc, char **argv)
{
    struct write w = WRITE_INIT;
    struct file_flags files = {0};
    struct selection sel;
    bool save = false, edit = false;
    const char *labels = NULL, *raw = NULL;
    struct flag flags[] = {
        WRITE_FLAGS(&w),
        FILE_FLAGS(&files, "with the objects to create"),
        {"edit", 0, FLAG_BOOL, &edit, "Edit the objects first"},
        {"raw", 0, FLAG_STRING, &raw, "Path to post the file to as it is"},
        {"save-config", 0, FLAG_BOOL, &save, "Keep the configuration in an annotation, for a later apply"},
        {"selector", 'l', FLAG_STRING, &labels, "Labels to select objects of the files by"},
        {"windows-line-endings", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (argc > 1)
        return cli_usage(c, "Unexpected args: [%s]", argv[1]);
    r = need_files(c, &files);
    if (r == 0)
        r = write_prepare(c, &w, "kubectl-create");
    if (r)
        return r;
    if (raw)
        return post_raw(c, raw, &files, "POST");
    r = select_objects(c, &(struct query){.files = &files, .labels = labels}, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++) {
        if (edit && (r = editor_edit_new(c, &sel.items[i])) != 0)
            return r;
        sel.code |= create_one(c, &w, &sel.items[i], save);
    }
    if (!sel.n && !sel.code)
        return cli_fail(c, "no objects passed to create");
    return sel.code;
}

/* ---- replace --------------------------------------------------------------------------------------------------- */

struct replace {
    struct write w;
    struct file_flags files;
    const char *labels, *raw, *subresource, *cascade;
    bool force, wait, save, forced_grace;
    int64_t grace, timeout;
};

static int replace_one(struct cli *c, struct replace *x, struct info *i)
{
    struct status s;
    struct val *v = i->v;
    if (x->save || applied_get(v).p)
        applied_set(c, v);
    if (x->w.dry_run != DRY_CLIENT &&
        request_update(c, i->kind, i->ns, i->name, x->subresource, write_query(c, &x->w), json_text(c, NULL, v), &v, &s))
        return write_refused(c, &s, "replacing", i->source);
    return write_print(c, &x->w, NULL, v, "replaced");
}

static int delete_first(struct cli *c, struct replace *x, struct info *i)
{
    struct selection one = {.items = i, .n = 1};
    struct deletion d = {.cascade = x->cascade, .grace = x->grace, .timeout = x->timeout, .ignore_missing = true, .wait = true,
                         .force = x->grace == 0};
    size_t found;
    int r = delete_prepare(c, &d);
    return r ? r : delete_all(c, &d, &one, &found);
}

static int force_one(struct cli *c, struct replace *x, struct info *i)
{
    struct status s;
    struct val *v = i->v, *meta = (struct val *)obj_meta(v);
    int r = delete_first(c, x, i);
    if (r)
        return r;
    if (val_is(meta, VAL_MAP)) {
        val_unput(meta, STR("resourceVersion"));
        val_unput(meta, STR("uid"));
    }
    if (x->save || applied_get(v).p)
        applied_set(c, v);
    if (request_create(c, i->kind, i->ns, STR_NULL, NULL, write_query(c, &x->w), json_text(c, NULL, v), &v, &s))
        return write_refused(c, &s, "creating", i->source);
    return write_print(c, &x->w, NULL, v, "replaced");
}

int cmd_replace(struct cli *c, int argc, char **argv)
{
    struct replace x = {.w = WRITE_INIT, .grace = -1};
    struct selection sel;
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        FILE_FLAGS(&x.files, "with the objects to replace"),
        {"cascade", 0, FLAG_STRING, &x.cascade, "What becomes of dependents with --force", "background"},
        {"force", 0, FLAG_BOOL, &x.force, "Delete the objects first, then create them anew"},
        {"grace-period", 0, FLAG_INT, &x.grace, "Seconds to end in, with --force"},
        {"raw", 0, FLAG_STRING, &x.raw, "Path to put the file to as it is"},
        {"save-config", 0, FLAG_BOOL, &x.save, "Keep the configuration in an annotation, for a later apply"},
        {"selector", 'l', FLAG_STRING, &x.labels, "Labels to select objects of the files by"},
        {"subresource", 0, FLAG_STRING, &x.subresource, "Part of the object to replace"},
        {"timeout", 0, FLAG_DURATION, &x.timeout, "How long to wait for the deletion with --force"},
        {"wait", 0, FLAG_BOOL, &x.wait, "Wait for the deletion (--force always does)"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (argc > 1)
        return cli_usage(c, "Unexpected args: [%s]", argv[1]);
    r = need_files(c, &x.files);
    if (r == 0 && x.grace >= 0 && !x.force)
        r = cli_fail(c, "--grace-period must have --force specified");
    if (r == 0 && x.timeout && !x.force)
        r = cli_fail(c, "--timeout must have --force specified");
    if (r == 0)
        r = write_prepare(c, &x.w, "kubectl-replace");
    if (r)
        return r;
    if (x.raw)
        return post_raw(c, x.raw, &x.files, "PUT");
    r = select_objects(c, &(struct query){.files = &x.files, .labels = x.labels}, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= x.force ? force_one(c, &x, &sel.items[i]) : replace_one(c, &x, &sel.items[i]);
    if (!sel.n && !sel.code)
        return cli_fail(c, "no objects passed to replace");
    return sel.code;
}
