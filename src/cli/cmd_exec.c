/* SPDX-License-Identifier: Apache-2.0 */
/* exec and attach. */
#include "cli/commands.h"
#include "cli/pods.h"
#include "cli/remote.h"
#include "cli/select.h"

#include "base/fiber.h"
#include "names.h"
#include "type/meta.h"

struct target {
    const char *container;
    struct file_flags files;
    int64_t timeout; /* --pod-running-timeout */
    bool stdin_, tty, quiet;
};

#define TARGET_FLAGS(t)                                                                                      \
    {"container", 'c', FLAG_STRING, &(t)->container, "Container; the annotated or the first one unless given"}, \
        {"pod-running-timeout", 0, FLAG_DURATION, &(t)->timeout, "How long to wait for a pod of a workload"}, \
        {"quiet", 'q', FLAG_BOOL, &(t)->quiet, "Print only what the container prints"},                      \
        {"stdin", 'i', FLAG_BOOL, &(t)->stdin_, "Pass our input on"},                                       \
        {"tty", 't', FLAG_BOOL, &(t)->tty, "Our input is a terminal"}

static int find_pod(struct cli *c, const struct target *t, const char *type, const char *name, const char *what,
                    struct val **ret_pod)
{
    const struct kind *k = NULL;
    struct val *v = NULL;
    struct info i;
    int r;
    if (type) {
        r = pod_owner(c, type, name, &k, &v);
    } else {
        r = select_one(c, &(struct query){.files = &t->files, .latest = true}, "cannot exec into multiple objects at a time", &i);
        if (r == 0)
            k = i.kind, v = i.v;
    }
    return r ? r : pod_of(c, k, v, POD_ATTACH, t->timeout, what, ret_pod, NULL);
}

static bool is_over(const struct val *pod)
{
    struct str phase = val_str(val_at(pod, N_status, N_phase));
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

static struct remote remote_of(const struct target *t, const struct val *pod, const struct val *container)
{
    return (struct remote){.ns = obj_namespace(pod), .pod = obj_name(pod), .container = val_getstr(container, N_name),
                           .stdin_ = t->stdin_, .tty = t->tty, .quiet = t->quiet};
}

int cmd_exec(struct cli *c, int argc, char **argv)
{
    struct target t = {.timeout = SECONDS(60)};
    struct val *pod;
    const struct val *container;
    int dash;
    struct flag flags[] = {
        TARGET_FLAGS(&t),
        {"filename", 'f', FLAG_STRINGS, &t.files.names, "File that names the pod or workload"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, &dash);
    if (r)
        return r;
    if (dash < 0 && (argc > 2 || (argc > 1 && t.files.names.n)))
        return cli_usage(c, "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead");
    const char *name = argc > 1 && dash != 1 ? argv[1] : NULL;
    char **command = dash > 0 && dash < argc ? argv + dash : NULL;
    if (!name && !t.files.names.n)
        return cli_fail(c, "pod, type/name or --filename must be specified");
    if (!command)
        return cli_fail(c, "you must specify at least one command for the container");
    r = find_pod(c, &t, name, NULL, "attach to", &pod);
    if (r)
        return r;
    if (is_over(pod))
        return cli_fail(c, "cannot exec into a container in a completed pod; current phase is " STR_FMT,
                        STR_ARG(val_str(val_at(pod, N_status, N_phase))));
    r = pod_default_container(c, pod, t.container, t.quiet, &container);
    if (r)
        return r;
    struct remote remote = remote_of(&t, pod, container);
    remote.sub = "exec";
    remote.command = command;
    remote_setup_tty(c, &remote);
    return remote_run(c, &remote);
}

/* ---- attach --------------------------------------------------------------------------------------------------- */

static void check_tty(struct cli *c, struct target *t, const struct val *container)
{
    bool has = val_bool(val_get(container, N_tty), false);
    if (t->tty && !has && !t->quiet)
        cli_note(c, "error: Unable to use a TTY - container " STR_FMT " did not allocate one",
                 STR_ARG(val_getstr(container, N_name)));
    t->tty = has;
}

static void say_resume(struct cli *c, const struct remote *r, const struct val *pod)
{
    bool ephemeral = pod_container_is_ephemeral(pod, r->container);
    if (r->quiet || !r->stdin_ || !r->tty)
        return;
    cli_print(c, "Session ended, %s '%s " STR_FMT " -c " STR_FMT " -n " STR_FMT " -i -t' %s\n",
              ephemeral ? "the ephemeral container will not be restarted but may be reattached using" : "resume using", c->path,
              STR_ARG(r->pod), STR_ARG(r->container), STR_ARG(r->ns), ephemeral ? "if it is still running" : "command");
}

int cmd_attach(struct cli *c, int argc, char **argv)
{
    struct target t = {.timeout = SECONDS(60)};
    struct val *pod;
    const struct val *container;
    const char *keys = "ctrl-p,ctrl-q";
    bool detached = false;
    struct flag flags[] = {
        TARGET_FLAGS(&t),
        {"detach-keys", 0, FLAG_STRING, &keys, "Keys that end the session and leave the container running"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (argc < 2)
        return cli_fail(c, "at least 1 argument is required for attach");
    if (argc > 3)
        return cli_fail(c, "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw %d", argc - 1);
    r = find_pod(c, &t, argv[1], argc == 3 ? argv[2] : NULL, "attach to", &pod);
    if (r)
        return r;
    if (is_over(pod))
        return cli_fail(c, "cannot attach a container in a completed pod; current phase is " STR_FMT,
                        STR_ARG(val_str(val_at(pod, N_status, N_phase))));
    r = pod_default_container(c, pod, t.container, t.quiet, &container);
    if (r)
        return r;
    check_tty(c, &t, container);
    struct remote remote = remote_of(&t, pod, container);
    remote.sub = "attach";
    remote.detach_keys = keys;
    remote.detached = &detached;
    remote_setup_tty(c, &remote);
    if (!t.quiet)
        cli_note(c, "All commands and output from this session will be recorded in container logs, including credentials and "
                    "sensitive information passed through the command prompt.\nIf you don't see a command prompt, try pressing "
                    "enter.");
    r = remote_run(c, &remote);
    if (r == 0)
        say_resume(c, &remote, pod);
    return r;
}
