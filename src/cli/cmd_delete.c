/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/delete.h"
#include "cli/poll.h"
#include "cli/write.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "type/meta.h"

#include <stdio.h>

static const char *policy_of(const char *cascade)
{
    static const struct {
        const char *word, *policy;
    } words[] = {{"background", "Background"}, {"foreground", "Foreground"}, {"orphan", "Orphan"},
                 {"true", "Background"},       {"false", "Orphan"}};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcmp(cascade, words[i].word))
            return words[i].policy;
    return NULL;
}

int delete_prepare(struct cli *c, struct deletion *d)
{
    int r = dry_run_parse(c, d->dry, &d->dry_run);
    if (r)
        return r;
    d->policy = policy_of(d->cascade ? d->cascade : "background");
    if (!d->policy)
        return cli_fail(c, "invalid cascade value (%s). Must be \"background\", \"foreground\", or \"orphan\"", d->cascade);
    if (d->now && d->grace >= 0)
        return cli_fail(c, "--now and --grace-period cannot be specified together");
    if (d->now)
        d->grace = 1;
    if (d->grace == 0 && !d->force)
        d->grace = 1; /* only --force may skip the wait for the containers' end */
    else if (d->force && d->grace < 0)
        d->grace = 0;
    if (d->force && d->grace > 0)
        return cli_fail(c, "--force and --grace-period greater than 0 cannot be specified together");
    if (d->force)
        cli_warn(c, STR("Immediate deletion does not wait for confirmation that the running resource has been terminated. The "
                        "resource may continue to run on the cluster indefinitely."));
    if (d->output && strcmp(d->output, "name"))
        return cli_fail(c, "unexpected -o output mode: %s. We only support '-o name'", d->output);
    return 0;
}

static void say_deleted(struct cli *c, const struct deletion *d, const struct info *i)
{
    if (d->quiet)
        return;
    if (d->output) {
        cli_print(c, STR_FMT "\n", STR_ARG(info_label(c, i)));
        return;
    }
    cli_print(c, STR_FMT " \"" STR_FMT "\" %s", STR_ARG(kind_label(c, i->kind)), STR_ARG(i->name),
              d->grace == 0 ? "force deleted" : "deleted");
    if (i->kind->namespaced)
        cli_print(c, " from " STR_FMT " namespace", STR_ARG(i->ns));
    cli_print(c, "%s\n", dry_run_word(c, "", d->dry_run));
}

static struct str delete_options(struct cli *c, const struct deletion *d)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"");
    if (d->grace >= 0)
        buf_printf(&b, ",\"gracePeriodSeconds\":%lld", (long long)d->grace);
    buf_printf(&b, ",\"propagationPolicy\":\"%s\"", d->policy);
    if (d->dry_run == DRY_SERVER)
        buf_puts(&b, ",\"dryRun\":[\"All\"]");
    buf_putc(&b, '}');
    return arena_str(&c->a, buf_str(&b));
}

int delete_one(struct cli *c, const struct deletion *d, const struct info *i, struct str *ret_uid)
{
    struct status s;
    struct val *v = NULL;
    *ret_uid = STR_NULL;
    if (d->dry_run != DRY_CLIENT && request_delete(c, i->kind, i->ns, i->name, delete_options(c, d), &v, &s)) {
        if (d->ignore_missing && refused_as(&s, "NotFound"))
            return DELETE_MISSING;
        return write_refused(c, &s, "deleting", i->source);
    }
    say_deleted(c, d, i);
    struct str uid = val_str(val_at(v, N_details, N_uid));
    *ret_uid = uid.n ? uid : obj_uid(v);
    return 0;
}

static bool confirmed(struct cli *c, const struct selection *sel)
{
    char line[16] = "";
    cli_print(c, "You are about to delete the following %zu resource(s):\n", sel->n);
    for (size_t i = 0; i < sel->n; i++)
        cli_print(c, STR_FMT "\n", STR_ARG(info_label(c, &sel->items[i])));
    cli_print(c, "Do you want to continue? (y/N): ");
    cli_flush(c);
    return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y') && strchr("\r\n", line[1]);
}

static int wait_gone(struct cli *c, const struct deletion *d, const struct info *items, const struct str *uids, size_t n)
{
    int64_t limit = d->timeout ? d->timeout : SECONDS(7 * 24 * 3600);
    struct mono deadline = mono_add(os_mono(), limit);
    int code = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t left = deadline.ns - os_mono().ns;
        code |= poll_gone(c, &items[i], uids[i], MAX(left, 0));
    }
    return code;
}

int delete_all(struct cli *c, const struct deletion *d, const struct selection *sel, size_t *ret_found)
{
    struct str *uids = ARENA_ARRAY(&c->a, struct str, sel->n + 1);
    struct info *gone = ARENA_ARRAY(&c->a, struct info, sel->n + 1);
    size_t n = 0;
    int code = 0;
    bool warned = !c->ns_given;
    for (size_t i = 0; i < sel->n; i++) {
        const struct info *info = &sel->items[i];
        if (!warned && !info->kind->namespaced) {
            cli_warn(c, STR("deleting cluster-scoped resources, not scoped to the provided namespace"));
            warned = true;
        }
        int r = delete_one(c, d, info, &uids[n]);
        if (r == 0)
            gone[n++] = *info;
        else if (r != DELETE_MISSING)
            code = r;
    }
    *ret_found = n;
    if (code || !d->wait || d->dry_run != DRY_NONE)
        return code;
    return wait_gone(c, d, gone, uids, n);
}

static int delete_raw(struct cli *c, const char *path)
{
    struct status s;
    struct str answer;
    struct request r = {.method = "DELETE", .path = str_of(path)};
    if (request_text(c, &r, &answer, &s))
        return cli_refused(c, &s);
    cli_write(c, answer);
    return 0;
}

int cmd_delete(struct cli *c, int argc, char **argv)
{
    struct deletion d = {.grace = -1, .wait = true};
    struct file_flags files = {0};
    struct selection sel;
    const char *labels = NULL, *fields = NULL, *raw = NULL;
    bool all = false, all_namespaces = false, interactive = false;
    size_t found;
    struct flag flags[] = {
        FILE_FLAGS(&files, "with the objects to delete"),
        DRY_RUN_FLAG(&d.dry),
        {"all", 0, FLAG_BOOL, &all, "All objects of the types"},
        {"all-namespaces", 'A', FLAG_BOOL, &all_namespaces, "In all namespaces"},
        {"cascade", 0, FLAG_STRING, &d.cascade, "Dependents: background, foreground (first) or orphan (kept)", "background"},
        {"field-selector", 0, FLAG_STRING, &fields, "Fields to select by"},
        {"force", 0, FLAG_BOOL, &d.force, "Do not wait for the node: the object goes at once"},
        {"grace-period", 0, FLAG_INT, &d.grace, "Seconds to end in; negative: the object's own"},
        {"ignore-not-found", 0, FLAG_BOOL, &d.ignore_missing, "What does not exist is no error (with --all the default)"},
        {"interactive", 'i', FLAG_BOOL, &interactive, "Ask first"},
        {"now", 0, FLAG_BOOL, &d.now, "As --grace-period=1"},
        {"output", 'o', FLAG_STRING, &d.output, "name: print type/name only"},
        {"raw", 0, FLAG_STRING, &raw, "Path to delete"},
        {"selector", 'l', FLAG_STRING, &labels, "Labels to select by"},
        {"timeout", 0, FLAG_DURATION, &d.timeout, "How long to wait; 0: as long as it takes"},
        {"wait", 0, FLAG_BOOL, &d.wait, "Wait until the objects are gone (default true)"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = delete_prepare(c, &d);
    if (r)
        return r;
    if (raw)
        return delete_raw(c, raw);
    if (all && labels)
        return cli_fail(c, "cannot set --all and --selector at the same time");
    if (all && fields)
        return cli_fail(c, "cannot set --all and --field-selector at the same time");
    d.ignore_missing |= all && !flags_find(flags, "ignore-not-found")->given;
    r = select_objects(c, &(struct query){.argc = argc, .argv = argv, .files = &files, .labels = labels, .fields = fields,
                                          .all = all, .all_namespaces = all_namespaces, .chunk = 500}, &sel);
    if (r)
        return r;
    if (interactive && sel.n && !confirmed(c, &sel)) {
        cli_print(c, "deletion is cancelled\n");
        return 0;
    }
    r = delete_all(c, &d, &sel, &found);
    if (r == 0 && !sel.code && !found)
        cli_print(c, "No resources found\n");
    return r ? r : sel.code;
}
