/* SPDX-License-Identifier: Apache-2.0 */
/* rollout status, pause, resume and restart; history and undo are in rollout_history.c. */
#include "cli/commands.h"
#include "cli/poll.h"
#include "cli/rollout.h"
#include "cli/write.h"

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

static int64_t number(const struct val *v, name_id part, name_id name)
{
    return val_int(val_at(v, part, name), 0);
}

/* ---- status ------------------------------------------------------------------------------------------------------- */

struct watching_rollout {
    struct cli *c;
    const struct kind *kind;
    struct str name;
    int64_t revision;
    bool watch, found;
};

enum { ROLLED_OUT = 1, NOT_WATCHED = 2, DELETED = 3, FAILED = 4 };

static int deployment_status(struct watching_rollout *w, const struct val *v)
{
    struct cli *c = w->c;
    const struct val *status = val_get(v, N_status);
    int64_t want = val_int(val_at(v, N_spec, N_replicas), 1), updated = number(v, N_status, N_updatedReplicas);
    int64_t total = number(v, N_status, N_replicas), available = number(v, N_status, N_availableReplicas), own;
    struct str revision = obj_annotation(v, STR("deployment.kubernetes.io/revision"));
    if (w->revision > 0 && (str_to_i64(revision, &own) < 0 || own != w->revision))
        return cli_fail(c, "desired revision (%lld) is different from the running revision (" STR_FMT ")", (long long)w->revision,
                        STR_ARG(revision)), FAILED;
    if (number(v, N_metadata, N_generation) > number(v, N_status, N_observedGeneration))
        return cli_print(c, "Waiting for deployment spec update to be observed...\n"), 0;
    const struct val *progress = condition_find(val_get(status, N_conditions), STR("Progressing"));
    if (str_is(val_getstr(progress, N_reason), "ProgressDeadlineExceeded"))
        return cli_fail(c, "deployment \"" STR_FMT "\" exceeded its progress deadline", STR_ARG(w->name)), FAILED;
    if (updated < want)
        cli_print(c, "Waiting for deployment \"" STR_FMT "\" rollout to finish: %lld out of %lld new replicas have been updated...\n",
                  STR_ARG(w->name), (long long)updated, (long long)want);
    else if (total > updated)
        cli_print(c, "Waiting for deployment \"" STR_FMT "\" rollout to finish: %lld old replicas are pending termination...\n",
                  STR_ARG(w->name), (long long)(total - updated));
    else if (available < updated)
        cli_print(c, "Waiting for deployment \"" STR_FMT "\" rollout to finish: %lld of %lld updated replicas are available...\n",
                  STR_ARG(w->name), (long long)available, (long long)updated);
    else
        return cli_print(c, "deployment \"" STR_FMT "\" successfully rolled out\n", STR_ARG(w->name)), ROLLED_OUT;
    return 0;
}

static bool rolls(struct cli *c, const struct val *v)
{
    if (str_is(val_str(val_at(v, N_spec, N_updateStrategy, N_type)), "RollingUpdate"))
        return true;
    cli_fail(c, "rollout status is only available for RollingUpdate strategy type");
    return false;
}

static int daemon_set_status(struct watching_rollout *w, const struct val *v)
{
    int64_t want = number(v, N_status, N_desiredNumberScheduled), updated = number(v, N_status, N_updatedNumberScheduled);
    int64_t available = number(v, N_status, N_numberAvailable);
    if (!rolls(w->c, v))
        return FAILED;
    if (number(v, N_metadata, N_generation) > number(v, N_status, N_observedGeneration))
        return cli_print(w->c, "Waiting for daemon set spec update to be observed...\n"), 0;
    if (updated < want)
        cli_print(w->c, "Waiting for daemon set \"" STR_FMT "\" rollout to finish: %lld out of %lld new pods have been updated...\n",
                  STR_ARG(w->name), (long long)updated, (long long)want);
    else if (available < want)
        cli_print(w->c, "Waiting for daemon set \"" STR_FMT "\" rollout to finish: %lld of %lld updated pods are available...\n",
                  STR_ARG(w->name), (long long)available, (long long)want);
    else
        return cli_print(w->c, "daemon set \"" STR_FMT "\" successfully rolled out\n", STR_ARG(w->name)), ROLLED_OUT;
    return 0;
}

static int stateful_set_status(struct watching_rollout *w, const struct val *v)
{
    struct cli *c = w->c;
    int64_t want = val_int(val_at(v, N_spec, N_replicas), 1), ready = number(v, N_status, N_readyReplicas);
    int64_t updated = number(v, N_status, N_updatedReplicas);
    const struct val *ru = val_at(v, N_spec, N_updateStrategy, N_rollingUpdate), *partition = val_get(ru, N_partition);
    struct str update = val_str(val_at(v, N_status, N_updateRevision)), current = val_str(val_at(v, N_status, N_currentRevision));
    if (!rolls(c, v))
        return FAILED;
    int64_t observed = number(v, N_status, N_observedGeneration);
    if (!observed || number(v, N_metadata, N_generation) > observed)
        return cli_print(c, "Waiting for statefulset spec update to be observed...\n"), 0;
    if (ready < want)
        return cli_print(c, "Waiting for %lld pods to be ready...\n", (long long)(want - ready)), 0;
    int64_t rest = want - val_int(partition, 0);
    if (ru && partition && updated < rest)
        return cli_print(c, "Waiting for partitioned roll out to finish: %lld out of %lld new pods have been updated...\n",
                         (long long)updated, (long long)rest), 0;
    if (ru)
        return cli_print(c, "partitioned roll out complete: %lld new pods have been updated...\n", (long long)updated), ROLLED_OUT;
    if (!str_eq(update, current))
        return cli_print(c, "waiting for statefulset rolling update to complete %lld pods at revision " STR_FMT "...\n",
                         (long long)updated, STR_ARG(update)), 0;
    return cli_print(c, "statefulset rolling update complete %lld pods at revision " STR_FMT "...\n",
                     (long long)number(v, N_status, N_currentReplicas), STR_ARG(current)), ROLLED_OUT;
}

static const struct {
    unsigned res;
    int (*status)(struct watching_rollout *w, const struct val *v);
} viewers[] = {
    {RES_DEPLOYMENTS, deployment_status}, {RES_DAEMONSETS, daemon_set_status}, {RES_STATEFULSETS, stateful_set_status}};

static int look(void *arg, const struct val *v)
{
    struct watching_rollout *w = arg;
    if (!v)
        return w->found ? DELETED : 0;
    w->found = true;
    for (size_t i = 0; i < ARRAY_SIZE(viewers); i++) {
        if (w->kind->res->index != viewers[i].res)
            continue;
        int r = viewers[i].status(w, v);
        cli_flush(w->c);
        return r ? r : w->watch ? 0 : NOT_WATCHED;
    }
    return FAILED;
}

static bool has_viewer(const struct kind *k)
{
    for (size_t i = 0; k->res && i < ARRAY_SIZE(viewers); i++)
        if (viewers[i].res == k->res->index)
            return true;
    return false;
}

static int status_of(struct cli *c, const struct info *i, int64_t revision, bool watch, int64_t timeout)
{
    struct watching_rollout w = {.c = c, .kind = i->kind, .name = i->name, .revision = revision, .watch = watch};
    if (!has_viewer(i->kind))
        return cli_fail(c, "no status viewer has been implemented for " STR_FMT, STR_ARG(i->kind->kind));
    int r = poll_object(c, i, timeout ? mono_add(os_mono(), timeout) : MONO_NEVER, look, &w);
    if (r == POLL_TIMEOUT)
        return cli_fail(c, "timed out waiting for the condition");
    if (r == DELETED)
        return cli_fail(c, "object has been deleted");
    return r < 0 || r == FAILED;
}

int rollout_select(struct cli *c, int argc, char **argv, const struct file_flags *files, const char *labels,
                   struct selection *ret)
{
    if (argc < 2 && !files->names.n && !files->kustomize)
        return cli_fail(c, "required resource not specified");
    int r = select_objects(c, &(struct query){.argc = argc, .argv = argv, .files = files, .labels = labels, .list_types = true,
                                              .fetch = true, .latest = true}, ret);
    if (r == 0 && !ret->n && !ret->code)
        cli_note(c, "No resources found in " STR_FMT " namespace.", STR_ARG(c->ns));
    return r;
}

static int cmd_status(struct cli *c, int argc, char **argv)
{
    struct file_flags files = {0};
    struct selection sel;
    const char *labels = NULL;
    int64_t revision = 0, timeout = 0;
    bool watch = true;
    struct flag flags[] = {
        FILE_FLAGS(&files, "that name objects to look at"),
        {"revision", 0, FLAG_INT, &revision, "Revision that is expected; 0: the newest"},
        {"selector", 'l', FLAG_STRING, &labels, "Labels to select by"},
        {"timeout", 0, FLAG_DURATION, &timeout, "How long to wait; 0: for ever"},
        {"watch", 'w', FLAG_BOOL, &watch, "Go on until it is done (default true)"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (revision < 0)
        return cli_fail(c, "revision must be a positive integer: %lld", (long long)revision);
    r = rollout_select(c, argc, argv, &files, labels, &sel);
    for (size_t i = 0; r == 0 && i < sel.n; i++)
        r = status_of(c, &sel.items[i], revision, watch, timeout);
    return r ? r : sel.code;
}

/* ---- pause, resume, restart --------------------------------------------------------------------------------------- */

struct change {
    const char *did, *manager;
    /* The patch for an object, or why there is none (said; 1), or nothing to do (patch empty; said). */
    int (*make)(struct cli *c, const struct info *i, struct str *ret_patch);
};

static int not_possible(struct cli *c, const struct info *i, const char *why)
{
    return cli_fail(c, "error: " STR_FMT " \"" STR_FMT "\" %s", STR_ARG(i->kind->qualified), STR_ARG(i->name), why);
}

static bool is_a(const struct info *i, unsigned res)
{
    return i->kind->res && i->kind->res->index == res;
}

static int make_pause(struct cli *c, const struct info *i, struct str *ret_patch)
{
    if (!is_a(i, RES_DEPLOYMENTS))
        return not_possible(c, i, "pausing is not supported");
    if (val_bool(val_at(i->v, N_spec, N_paused), false))
        return not_possible(c, i, "is already paused");
    *ret_patch = STR("{\"spec\":{\"paused\":true}}");
    return 0;
}

static int make_resume(struct cli *c, const struct info *i, struct str *ret_patch)
{
    if (!is_a(i, RES_DEPLOYMENTS))
        return not_possible(c, i, "resuming is not supported");
    if (!val_bool(val_at(i->v, N_spec, N_paused), false))
        return not_possible(c, i, "is not paused");
    *ret_patch = STR("{\"spec\":{\"paused\":null}}");
    return 0;
}

static int make_restart(struct cli *c, const struct info *i, struct str *ret_patch)
{
    char now[TIME_TEXT_MAX];
    if (!has_viewer(i->kind))
        return not_possible(c, i, "restarting is not supported");
    if (val_bool(val_at(i->v, N_spec, N_paused), false))
        return not_possible(c, i, "can't restart paused deployment (run rollout resume first)");
    *ret_patch = cli_printf(c, "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"kubectl.kubernetes.io/restartedAt\":\"%s\""
                               "}}}}}", time_format(os_wall(), now));
    return 0;
}

static int run_change(struct cli *c, int argc, char **argv, const struct change *change)
{
    struct write w = WRITE_INIT;
    struct file_flags files = {0};
    struct selection sel;
    const char *labels = NULL;
    struct flag flags[] = {
        WRITE_FLAGS(&w),
        FILE_FLAGS(&files, "that name objects to change"),
        {"selector", 'l', FLAG_STRING, &labels, "Labels to select by"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &w, change->manager);
    if (r == 0)
        r = rollout_select(c, argc, argv, &files, labels, &sel);
    if (r)
        return r;
    for (size_t i = 0; i < sel.n; i++) {
        struct str patch;
        struct status s;
        struct val *v = sel.items[i].v;
        const struct info *info = &sel.items[i];
        int code = change->make(c, info, &patch);
        if (code == 0 && w.dry_run != DRY_CLIENT &&
            request_patch(c, info->kind, info->ns, info->name, NULL, query_write(c, w.manager, w.dry_run == DRY_SERVER, NULL),
                          PATCH_STRATEGIC, patch, &v, &s))
            code = s.code < 0 ? cli_refused(c, &s) : cli_fail(c, "failed to patch: " STR_FMT, STR_ARG(s.message));
        sel.code |= code ? code : write_print(c, &w, NULL, v, change->did);
    }
    return sel.code;
}

static int cmd_pause(struct cli *c, int argc, char **argv)
{
    return run_change(c, argc, argv, &(const struct change){"paused", "kubectl-rollout", make_pause});
}

static int cmd_resume(struct cli *c, int argc, char **argv)
{
    return run_change(c, argc, argv, &(const struct change){"resumed", "kubectl-rollout", make_resume});
}

static int cmd_restart(struct cli *c, int argc, char **argv)
{
    return run_change(c, argc, argv, &(const struct change){"restarted", "kubectl-rollout", make_restart});
}

#define TYPES "(TYPE NAME | TYPE/NAME) [flags]"

const struct command rollout_commands[] = {
    {"history", NULL, TYPES, "Show the revisions of a workload", NULL, cmd_rollout_history, NULL},
    {"pause", NULL, TYPES, "Stop a deployment from rolling out changes", NULL, cmd_pause, NULL},
    {"restart", NULL, TYPES, "Make a workload's pods anew, as its strategy says", NULL, cmd_restart, NULL},
    {"resume", NULL, TYPES, "Let a paused deployment roll out changes again", NULL, cmd_resume, NULL},
    {"status", NULL, TYPES, "Show how far a rollout is, and wait for its end", NULL, cmd_status, NULL},
    {"undo", NULL, TYPES, "Go back to an earlier revision", NULL, cmd_rollout_undo, NULL},
    {0},
};
