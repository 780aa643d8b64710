/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff: what apply would change. The server is asked to apply without keeping it; both states of every object go to
 * files of two folders, and diff(1) compares those. Exit codes are diff's: 0 no difference, 1 some, more: trouble.
 */
#include "cli/apply.h"
#include "cli/commands.h"
#include "cli/write.h"

#include "base/os.h"
#include "names.h"
#include "type/meta.h"
#include "wire/yaml.h"

#include <ctype.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct diff {
    struct cli *c;
    struct file_flags files;
    const char *manager, *labels;
    bool server_side, force_conflicts, show_managed, show_secrets;
    const char *live, *merged; /* the folders */
};

/* ---- states --------------------------------------------------------------------------------------------------------------- */

static struct str query_of(const struct diff *d)
{
    const char *own = d->server_side ? "kubectl" : "kubectl-client-side-apply";
    return query_write(d->c, d->manager ? d->manager : own, true, NULL);
}

/* The object as apply would make it. */
static int merge(struct diff *d, const struct info *i, const struct val *live, struct val **ret)
{
    struct cli *c = d->c;
    struct status s;
    struct str patch;
    int code;
    if (d->server_side) {
        struct str query = query_with(c, query_of(d), "force", d->force_conflicts ? STR("true") : STR("false"));
        code = request_patch(c, i->kind, i->ns, i->name, NULL, query, PATCH_APPLY, json_text(c, NULL, i->v), ret, &s);
    } else if (!live) {
        apply_drop_nulls(i->v);
        code = request_create(c, i->kind, i->ns, STR_NULL, NULL, query_of(d), json_text(c, NULL, i->v), ret, &s);
    } else {
        /* The annotation of last time stays out of it; that there are annotations does not. */
        applied_set(c, i->v);
        val_unput((struct val *)val_get(obj_meta(i->v), N_annotations), LAST_APPLIED);
        int r = apply_make_patch(c, i, i->v, live, &patch);
        if (r)
            return r;
        code = request_patch(c, i->kind, i->ns, i->name, NULL, query_of(d), i->kind->type ? PATCH_STRATEGIC : PATCH_MERGE, patch,
                             ret, &s);
    }
    return code ? cli_refused(c, &s) : 0;
}

static void drop_managed(struct val *v)
{
    struct val *meta = (struct val *)obj_meta(v);
    if (val_is(meta, VAL_MAP))
        val_unput(meta, STR("managedFields"));
}

/* Values of a Secret are not shown; that one changed is. */
static void mask(struct cli *c, struct val *live, struct val *merged)
{
    struct val *from = (struct val *)val_key(live, STR("data")), *to = (struct val *)val_key(merged, STR("data"));
    struct val *new_from = val_new(&c->a, VAL_MAP), *new_to = val_new(&c->a, VAL_MAP);
    VAL_EACH_ENTRY(from, k, v)
    {
        const struct val *other = val_key(to, val_str(k));
        bool changed = other && !str_eq(val_str(v), val_str(other));
        val_put_str(&c->a, new_from, val_str(k), changed ? STR("*** (before)") : STR("***"));
    }
    VAL_EACH_ENTRY(to, k, v)
    {
        const struct val *other = val_key(from, val_str(k));
        bool changed = other && !str_eq(val_str(v), val_str(other));
        val_put_str(&c->a, new_to, val_str(k), changed ? STR("*** (after)") : STR("***"));
    }
    if (from)
        val_put(&c->a, live, STR("data"), *new_from);
    if (to)
        val_put(&c->a, merged, STR("data"), *new_to);
}

/* ---- files ----------------------------------------------------------------------------------------------------------------- */

static int make_folder(struct cli *c, const char *prefix, const char **ret)
{
    const char *dir = getenv("TMPDIR");
    const char *path = cli_printf(c, "%s/%s-%llx", dir && dir[0] ? dir : "/tmp", prefix, (unsigned long long)os_random_u64()).p;
    int r = mkdir(path, 0700) < 0 ? -errno : 0; /* os_mkdir would take one that is there */
    if (r < 0)
        return cli_fail(c, "cannot make %s: %s", path, strerror(-r));
    *ret = path;
    return 0;
}

static void remove_folder(struct cli *c, const char *path)
{
    char **names;
    if (!path || os_list_dir(&c->a, path, &names) < 0)
        return;
    for (; *names; names++)
        os_unlink(cli_printf(c, "%s/%s", path, *names).p);
    rmdir(path);
}

static int write_state(struct diff *d, const char *folder, const struct info *i, const struct val *v)
{
    struct cli *c = d->c;
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct kind *k = i->kind;
    const char *path = cli_printf(c, "%s/" STR_FMT "%s" STR_FMT "." STR_FMT "." STR_FMT "." STR_FMT, folder, STR_ARG(k->group),
                                  k->group.n ? "." : "", STR_ARG(k->version), STR_ARG(k->kind), STR_ARG(i->ns), STR_ARG(i->name)).p;
    if (v)
        yaml_encode(&b, NULL, v);
    int r = os_write_file(path, buf_str(&b), 0600);
    return r < 0 ? cli_fail(c, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static int diff_one(struct diff *d, struct info *i)
{
    struct cli *c = d->c;
    struct status s;
    struct info now = *i;
    struct val *merged = NULL;
    int code = info_get(c, &now, &s);
    if (code && !refused_as(&s, "NotFound"))
        return cli_refused(c, &s);
    struct val *live = code ? NULL : now.v;
    int r = merge(d, i, live, &merged);
    if (r)
        return r;
    if (!d->show_managed) {
        drop_managed(live);
        drop_managed(merged);
    }
    if (!d->show_secrets && str_is(i->kind->kind, "Secret") && str_is(i->kind->api_version, "v1"))
        mask(c, live, merged);
    r = write_state(d, d->live, i, live);
    return r ? r : write_state(d, d->merged, i, merged);
}

/* ---- the program ------------------------------------------------------------------------------------------------------------- */

/* Only flags may stand in the variable: what it holds goes to no shell. */
static bool is_plain(const char *s)
{
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '-' && *s != '=')
            return false;
    return true;
}

static const char **diff_command(struct diff *d)
{
    struct cli *c = d->c;
    const char *variable = getenv("KUBECTL_EXTERNAL_DIFF");
    bool own = variable && variable[0];
    struct str rest = str_of(own ? variable : "diff -u -N"), word;
    const char **argv = ARENA_ARRAY(&c->a, const char *, rest.n + 4);
    size_t n = 0;
    str_next(&rest, ' ', &word);
    argv[n++] = arena_cstr(&c->a, word);
    for (; !own && rest.p && str_next(&rest, ' ', &word);)
        argv[n++] = arena_cstr(&c->a, word);
    argv[n++] = d->live;
    argv[n++] = d->merged;
    while (own && rest.p && str_next(&rest, ' ', &word)) {
        const char *flag = arena_cstr(&c->a, word);
        if (flag[0] && is_plain(flag))
            argv[n++] = flag;
    }
    return argv;
}

static int run_diff(struct diff *d)
{
    const char **argv = diff_command(d);
    struct os_spawn s = {.argv = argv, .in = STDIN_FILENO, .out = -1, .err = -1};
    int status = 0;
    pid_t pid;
    cli_flush(d->c);
    int r = os_spawn(&s, &pid);
    if (r == 0)
        r = os_wait_pid(pid, &status, MONO_NEVER);
    if (r < 0)
        return cli_fail(d->c, "failed to run \"%s\": %s", argv[0], r == -ENOENT ? "executable file not found in $PATH" : strerror(-r)), 2;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    if (code > 1)
        cli_fail(d->c, "failed to run \"%s\": exit status %d", argv[0], code);
    return code;
}

static int diff_all(struct diff *d)
{
    struct cli *c = d->c;
    struct selection sel;
    struct query q = {.files = &d->files, .labels = d->labels};
    int r = make_folder(c, "LIVE", &d->live);
    if (r == 0)
        r = make_folder(c, "MERGED", &d->merged);
    if (r == 0)
        r = select_objects(c, &q, &sel);
    if (r == 0)
        r = sel.code;
    for (size_t i = 0; r == 0 && i < sel.n; i++)
        r = diff_one(d, &sel.items[i]);
    return r ? 2 : run_diff(d);
}

int cmd_diff(struct cli *c, int argc, char **argv)
{
    struct diff d = {.c = c};
    struct flag flags[] = {
        FILE_FLAGS(&d.files, "with the objects to compare"),
        {"concurrency", 0, FLAG_IGNORED, NULL, NULL},
        {"field-manager", 0, FLAG_STRING, &d.manager, "Name that the changed fields would belong to"},
        {"force-conflicts", 0, FLAG_BOOL, &d.force_conflicts, "With --server-side: as if conflicts were overruled"},
        {"selector", 'l', FLAG_STRING, &d.labels, "Labels to select objects of the files by"},
        {"server-side", 0, FLAG_BOOL, &d.server_side, "As apply --server-side"},
        {"show-managed-fields", 0, FLAG_BOOL, &d.show_managed, "managedFields, too"},
        {"show-secrets", 0, FLAG_BOOL, &d.show_secrets, "Values of Secrets as they are"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == CLI_HELP)
        return r;
    if (r == 0 && argc > 1)
        r = cli_usage(c, "Unexpected args: [%s]", argv[1]);
    if (r == 0 && !d.files.names.n && !d.files.kustomize)
        r = cli_fail(c, "must specify one of -f and -k");
    if (r == 0 && d.force_conflicts && !d.server_side)
        r = cli_fail(c, "--force-conflicts only works with --server-side");
    if (r == 0)
        r = cli_client(c);
    if (r)
        return 2;
    r = diff_all(&d);
    remove_folder(c, d.live);
    remove_folder(c, d.merged);
    return r;
}
