/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/write.h"

#include "base/os.h"
#include "wire/yaml.h"

struct patching {
    struct write w;
    const char *text, *file, *type_name, *subresource;
    enum patch_kind how;
    struct str patch; /* JSON */
    bool local;
};

static int parse_type(struct cli *c, struct patching *x)
{
    static const char *const words[] = {[PATCH_JSON] = "json", [PATCH_MERGE] = "merge", [PATCH_STRATEGIC] = "strategic"};
    const char *word = x->type_name ? x->type_name : "strategic";
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (!strcmp(word, words[i])) {
            x->how = (enum patch_kind)i;
            return 0;
        }
    }
    return cli_usage(c, "--type must be one of [json merge strategic], not \"%s\"", word);
}

static int read_patch(struct cli *c, struct patching *x)
{
    struct err e = {0};
    struct str text = str_of(x->text);
    if (x->text && x->file)
        return cli_usage(c, "cannot specify --patch and --patch-file together");
    if (!x->text && !x->file)
        return cli_usage(c, "must specify --patch or --patch-file containing the contents of the patch");
    if (x->file) {
        int r = os_read_file(&c->a, x->file, 16 << 20, &text);
        if (r < 0)
            return cli_fail(c, "unable to read patch file: open %s: %s", x->file, strerror(-r));
    }
    if (yaml_to_json(&c->a, text, NULL, &x->patch, &e) < 0)
        return cli_fail(c, "unable to parse \"" STR_FMT "\": %s", STR_ARG(text), e.text);
    return 0;
}

static int patch_here(struct cli *c, struct patching *x, const struct info *i)
{
    struct status s;
    struct val *v = NULL;
    const struct type *t = i->kind->type;
    status_init(&s, &c->a);
    if (x->how == PATCH_STRATEGIC && !t)
        return cli_fail(c, "strategic merge patch is not supported for " STR_FMT ", Kind=" STR_FMT " locally, try --type merge",
                        STR_ARG(i->kind->api_version), STR_ARG(i->kind->kind));
    if (patch_apply(&c->a, x->how, x->how == PATCH_STRATEGIC ? t : NULL, i->v, x->patch, NULL, &v, &s))
        return cli_refused(c, &s);
    if (x->how == PATCH_STRATEGIC)
        json_decode(&c->a, NULL, json_text(c, t, v), 0, NULL, &v, NULL);
    return write_print(c, &x->w, NULL, v, val_same(v, i->v) ? "patched (no change)" : "patched");
}

static int patch_one(struct cli *c, struct patching *x, const struct info *i)
{
    static const char *const media[] = {"application/json-patch+json", "application/merge-patch+json",
                                        "application/strategic-merge-patch+json"};
    struct status s;
    struct val *v;
    if (x->local || x->w.dry_run == DRY_CLIENT)
        return patch_here(c, x, i);
    struct str query = query_write(c, x->w.manager, x->w.dry_run == DRY_SERVER, NULL);
    int code = request_patch(c, i->kind, i->ns, i->name, x->subresource, query, x->how, x->patch, &v, &s);
    if (code == 415)
        return cli_fail(c, "%s is not supported by " STR_FMT ", Kind=" STR_FMT ": " STR_FMT, media[x->how],
                        STR_ARG(i->kind->api_version), STR_ARG(i->kind->kind), STR_ARG(s.message));
    if (code)
        return cli_refused(c, &s);
    return write_print(c, &x->w, NULL, v, val_same(v, i->v) ? "patched (no change)" : "patched");
}

int cmd_patch(struct cli *c, int argc, char **argv)
{
    struct patching x = {.w = WRITE_INIT};
    struct file_flags files = {0};
    struct selection sel;
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        FILE_FLAGS(&files, "that name the object to patch"),
        {"local", 0, FLAG_BOOL, &x.local, "Only patch what the files hold, and print it"},
        {"patch", 'p', FLAG_STRING, &x.text, "The patch, as JSON or YAML"},
        {"patch-file", 0, FLAG_STRING, &x.file, "File with the patch"},
        {"subresource", 0, FLAG_STRING, &x.subresource, "Part of the object to patch: status, scale, resize"},
        {"type", 0, FLAG_STRING, &x.type_name, "json, merge or strategic"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &x.w, "kubectl-patch");
    if (r == 0)
        r = parse_type(c, &x);
    if (r == 0)
        r = read_patch(c, &x);
    if (r == 0)
        r = select_objects(c, &(struct query){.argc = argc, .argv = argv, .files = &files, .fetch = true,
                                              .subresource = x.subresource}, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++)
        sel.code |= patch_one(c, &x, &sel.items[i]);
    if (!sel.n && !sel.code)
        return cli_fail(c, "no objects passed to patch");
    return sel.code;
}
