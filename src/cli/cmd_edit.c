/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/editor.h"
#include "cli/write.h"

#include "base/os.h"
#include "names.h"
#include "type/meta.h"
#include "wire/yaml.h"

#define HEADER                                                                                               \
    "# Please edit the object below. Lines beginning with a '#' will be ignored,\n"                          \
    "# and an empty file will abort the edit. If an error occurs while saving this file will be\n"           \
    "# reopened with the relevant failures.\n#\n"

struct edit {
    struct write w;
    struct selection sel; /* without managedFields */
    struct buf reasons;   /* why the file is opened again, as comments */
    const char *subresource;
    bool show_patch, json;
};

/* ---- the text --------------------------------------------------------------------------------------------------- */

static struct val *without_managed(struct cli *c, const struct val *v)
{
    struct val *copy = val_copy(&c->a, v), *meta = (struct val *)obj_meta(copy);
    if (val_is(meta, VAL_MAP))
        val_unput(meta, STR("managedFields"));
    return copy;
}

static const struct val *whole(struct cli *c, const struct edit *x)
{
    if (x->sel.n == 1)
        return x->sel.items[0].v;
    struct val *list = val_new(&c->a, VAL_MAP), *items = val_new(&c->a, VAL_LIST);
    for (size_t i = 0; i < x->sel.n; i++)
        val_add(&c->a, items, *x->sel.items[i].v);
    val_put_str(&c->a, list, STR("apiVersion"), STR("v1"));
    val_put(&c->a, list, STR("items"), *items);
    val_put_str(&c->a, list, STR("kind"), STR("List"));
    val_put(&c->a, list, STR("metadata"), *val_new(&c->a, VAL_MAP));
    return list;
}

static struct str original_text(struct cli *c, const struct edit *x)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (x->json)
        json_encode(&b, NULL, whole(c, x), JSON_PRETTY | JSON_SORTED);
    else
        yaml_encode(&b, NULL, whole(c, x));
    return arena_str(&c->a, buf_str(&b));
}

static void add_reason(struct edit *x, const char *prefix, struct str text)
{
    struct str line;
    while (str_next(&text, '\n', &line))
        buf_printf(&x->reasons, "# %s" STR_FMT "\n", prefix, STR_ARG(line));
}

/* ---- patches ---------------------------------------------------------------------------------------------------- */

/* Counted over the objects of one round. */
struct outcome {
    unsigned retryable, missing, again;
};

static void patch_refused(struct cli *c, struct edit *x, const struct info *i, const struct status *s, struct outcome *o)
{
    struct str what = cli_printf(c, STR_FMT " \"" STR_FMT "\"", STR_ARG(i->kind->qualified), STR_ARG(i->name));
    if (!strcmp(s->reason, "Invalid")) {
        o->again++;
        add_reason(x, "", cli_printf(c, STR_FMT " was not valid:", STR_ARG(what)));
        for (size_t k = 0; k < s->n_causes; k++)
            add_reason(x, "* ", cli_printf(c, STR_FMT ": " STR_FMT, STR_ARG(s->causes[k].field), STR_ARG(s->causes[k].message)));
        buf_puts(&x->reasons, "#\n");
        cli_note(c, "error: " STR_FMT " is invalid", STR_ARG(what));
    } else if (refused_as(s, "NotFound")) {
        o->missing++;
        cli_note(c, "error: " STR_FMT " could not be found on the server", STR_ARG(what));
    } else {
        o->retryable++;
        cli_note(c, "error: " STR_FMT " could not be patched: " STR_FMT, STR_ARG(what), STR_ARG(s->message));
    }
}

static bool same_word(const struct val *a, const struct val *b, name_id name)
{
    return str_eq(val_getstr(a, name), val_getstr(b, name));
}

static int patch_one(struct cli *c, struct edit *x, const struct info *before, const struct val *after, struct outcome *o)
{
    struct err e = {0};
    struct str patch;
    struct val *answer;
    struct status s;
    if (val_same(before->v, after))
        return write_print(c, &x->w, NULL, before->v, "skipped");
    if (!same_word(before->v, after, N_kind) || !same_word(before->v, after, N_apiVersion) ||
        !str_eq(obj_name(before->v), obj_name(after)))
        return cli_fail(c, "At least one of apiVersion, kind and name was changed");
    const struct type *t = before->kind->type;
    if (patch_three_way(&c->a, t, before->v, after, before->v, &patch, &e) < 0)
        return cli_fail(c, "%s", e.text);
    if (x->show_patch)
        cli_print(c, "Patch: " STR_FMT "\n", STR_ARG(patch));
    if (request_patch(c, before->kind, before->ns, before->name, x->subresource, write_query(c, &x->w),
                      t ? PATCH_STRATEGIC : PATCH_MERGE, patch, &answer, &s)) {
        patch_refused(c, x, before, &s, o);
        return 0;
    }
    return write_print(c, &x->w, NULL, answer, "edited");
}

static const struct info *original_of(const struct edit *x, const struct val *v)
{
    for (size_t i = 0; i < x->sel.n; i++)
        if (str_eq(obj_uid(x->sel.items[i].v), obj_uid(v)))
            return &x->sel.items[i];
    return NULL;
}

static int patch_all(struct cli *c, struct edit *x, const struct manifests *m, struct outcome *o)
{
    *o = (struct outcome){0};
    for (size_t i = 0; i < m->n; i++) {
        const struct info *before = original_of(x, m->items[i].v);
        if (!before)
            return cli_fail(c, "no original object found for %s", val_cstr(val_at(m->items[i].v, N_metadata, N_name)));
        int r = patch_one(c, x, before, m->items[i].v, o);
        if (r)
            return r;
    }
    return 0;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------- */

static int keep_file(struct cli *c, const char *file, int code)
{
    cli_note(c, "A copy of your changes has been stored to \"%s\"", file);
    return code;
}

static int cancelled(struct cli *c, const char *file, const char *why)
{
    os_unlink(file);
    cli_note(c, "Edit cancelled, %s.", why);
    return 0;
}

/* One look at the file. CLI_HELP: once more. */
static int round_done(struct cli *c, struct edit *x, struct str original, struct str text, struct str *last, const char *file)
{
    struct manifests m = {0};
    struct outcome o;
    struct str now = editor_uncomment(c, text);
    bool again = last->p != NULL;
    if (again && str_eq(now, *last))
        return keep_file(c, file, cli_fail(c, "Edit cancelled, no valid changes were saved."));
    if (!again && str_eq(now, original))
        return cancelled(c, file, "no changes made");
    if (!str_trim(now).n)
        return cancelled(c, file, "saved file was empty");
    *last = now;
    buf_clear(&x->reasons);
    cli_hold(c);
    int r = manifest_parse(c, file, now, &m);
    struct str said = arena_str(&c->a, buf_str(&c->held));
    buf_clear(&c->held);
    cli_release(c);
    if (r) {
        add_reason(x, "", cli_printf(c, "The edited file had a syntax error: " STR_FMT, STR_ARG(str_trim(said))));
        buf_puts(&x->reasons, "#\n");
        return CLI_HELP;
    }
    r = patch_all(c, x, &m, &o);
    if (r)
        return keep_file(c, file, r);
    if (o.retryable) {
        cli_note(c, "You can run `kubectl replace -f %s` to try this update again.", file);
        return 1;
    }
    if (o.missing) {
        cli_note(c, "The edits you made on deleted resources have been saved to \"%s\"", file);
        return 1;
    }
    os_unlink(file);
    return o.again ? CLI_HELP : 0;
}

static int edit(struct cli *c, struct edit *x)
{
    struct str original = original_text(c, x), text = original, last = STR_NULL;
    for (;;) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        const char *file;
        buf_puts(&b, HEADER);
        buf_putstr(&b, buf_str(&x->reasons));
        buf_putstr(&b, text);
        int r = editor_run(c, buf_str(&b), x->json ? ".json" : ".yaml", &text, &file);
        if (r)
            return r;
        r = round_done(c, x, original, text, &last, file);
        if (r != CLI_HELP)
            return r;
        os_unlink(file);
        text = last;
    }
}

int cmd_edit(struct cli *c, int argc, char **argv)
{
    struct edit x = {.w = WRITE_INIT};
    struct file_flags files = {0};
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        FILE_FLAGS(&files, "that name objects to edit"),
        {"output-patch", 0, FLAG_BOOL, &x.show_patch, "Print the patch"},
        {"save-config", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"subresource", 0, FLAG_STRING, &x.subresource, "Part of the object to edit"},
        {"windows-line-endings", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &x.w, "kubectl-edit");
    if (r)
        return r;
    x.json = x.w.printer.kind == PRINT_JSON;
    if (x.w.printer.kind == PRINT_YAML || x.json)
        x.w.printer.kind = PRINT_NONE; /* -o says what the file looks like */
    r = select_objects(c, &(struct query){.argc = argc, .argv = argv, .files = &files, .fetch = true, .latest = true, .list_types = true,
                                          .subresource = x.subresource}, &x.sel);
    if (r || x.sel.code)
        return 1;
    if (!x.sel.n)
        return cli_fail(c, "edit cancelled, no objects found");
    for (size_t i = 0; i < x.sel.n; i++)
        x.sel.items[i].v = without_managed(c, x.sel.items[i].v);
    return edit(c, &x);
}
