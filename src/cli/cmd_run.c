/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: a pod from an image, and with -i, -t or --attach a session with it. What the container printed before the session
 * stood comes from its log: the session is opened first and the log read after it, so that nothing is lost between
 * them; what both have is printed once (remote.c, `seen`).
 */
#include "cli/commands.h"
#include "cli/delete.h"
#include "cli/gen.h"
#include "cli/logs.h"
#include "cli/pods.h"
#include "cli/poll.h"
#include "cli/remote.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/image.h"
#include "type/meta.h"

struct run {
    struct write w;
    struct overrides o;
    struct flag_list env, annotations, files;
    const char *image, *labels, *port, *pull_policy, *restart, *detach_keys;
    bool attach, stdin_, tty, rm, leave_stdin_open, command, expose, quiet, privileged, save;
    int64_t timeout; /* --pod-running-timeout */
    struct val *label_map;
    struct selection made; /* for --rm */
    struct remote *remote; /* while a session stands */
    bool interrupted;
};

/* ---- the objects ------------------------------------------------------------------------------------------------ */

static int set_annotations(struct cli *c, const struct run *x, struct val *meta)
{
    struct str key, value;
    for (size_t i = 0; i < x->annotations.n; i++) {
        if (!str_cut(str_of(x->annotations.items[i]), '=', &key, &value) || !key.n)
            return cli_fail(c, "unexpected annotation: %s", x->annotations.items[i]);
        val_put_str(&c->a, val_sub_map(&c->a, meta, N_annotations), key, value);
    }
    return 0;
}

static int set_container(struct cli *c, const struct run *x, struct val *container, struct str name, char **args)
{
    struct arena *a = &c->a;
    int64_t port;
    int r = 0;
    val_set_str(a, container, N_name, name);
    val_set_str(a, container, N_image, str_of(x->image));
    if (args && *args)
        for (char **p = args; *p; p++)
            val_add_str(a, val_sub_list(a, container, x->command ? N_command : N_args), str_of(*p));
    if (x->port && str_to_i64(str_of(x->port), &port) == 0)
        val_set_int(a, val_add_obj(a, val_sub_list(a, container, N_ports)), N_containerPort, port);
    for (size_t i = 0; r == 0 && i < x->env.n; i++)
        r = gen_env(c, val_sub_list(a, container, N_env), x->env.items[i]);
    if (x->pull_policy)
        val_set_str(a, container, N_imagePullPolicy, str_of(x->pull_policy));
    if (x->privileged)
        val_set_bool(a, val_sub_obj(a, container, N_securityContext), N_privileged, true);
    if (x->stdin_)
        val_set_bool(a, container, N_stdin, true);
    if (x->stdin_ && !x->leave_stdin_open)
        val_set_bool(a, container, N_stdinOnce, true);
    if (x->tty)
        val_set_bool(a, container, N_tty, true);
    return r;
}

static int make_pod(struct cli *c, const struct run *x, struct str name, char **args, struct val **ret)
{
    const struct kind *k = kind_at(c, RES_PODS);
    struct arena *a = &c->a;
    struct val *v = gen_object(c, k, name), *meta = val_sub_obj(a, v, N_metadata);
    if (val_len(x->label_map))
        val_set(a, meta, N_labels, *x->label_map);
    else
        val_put_str(a, val_sub_map(a, meta, N_labels), STR("run"), name);
    int r = set_annotations(c, x, meta);
    struct val *spec = val_sub_obj(a, v, N_spec);
    if (r == 0)
        r = set_container(c, x, val_add_obj(a, val_sub_list(a, spec, N_containers)), name, args);
    val_set_str(a, spec, N_restartPolicy, str_of(x->restart));
    val_set_str(a, spec, N_dnsPolicy, STR("ClusterFirst"));
    *ret = v;
    return r ? r : gen_override(c, &x->o, k->type, ret);
}

static struct val *make_service(struct cli *c, const struct run *x, struct str name)
{
    struct arena *a = &c->a;
    struct val *v = gen_object(c, kind_at(c, RES_SERVICES), name), *spec = val_sub_obj(a, v, N_spec);
    struct val *port = val_add_obj(a, val_sub_list(a, spec, N_ports));
    if (val_len(x->label_map))
        val_set(a, val_sub_obj(a, v, N_metadata), N_labels, *x->label_map);
    val_set_str(a, port, N_protocol, STR("TCP"));
    val_set(a, port, N_port, gen_port(c, str_of(x->port)));
    val_set(a, port, N_targetPort, gen_port(c, str_of(x->port)));
    if (val_len(x->label_map))
        val_set(a, spec, N_selector, *x->label_map);
    else
        val_put_str(a, val_sub_map(a, spec, N_selector), STR("run"), name);
    return v;
}

/* Creates the object; prints it unless a session follows. */
static int make(struct cli *c, struct run *x, unsigned res, struct val *v)
{
    const struct kind *k = kind_at(c, res);
    struct status s;
    struct val *answer;
    if (!x->attach)
        return write_object_create(c, &x->w, k, k->type, v, x->save, "created");
    if (request_create(c, k, c->ns, STR_NULL, NULL, query_write(c, x->w.manager, false, NULL), json_text(c, k->type, v), &answer,
                       &s))
        return cli_refused(c, &s);
    x->made.items = xrealloc(x->made.items, (x->made.n + 1) * sizeof(*x->made.items));
    x->made.items[x->made.n++] = (struct info){.kind = k, .ns = c->ns, .name = obj_name(answer), .v = answer};
    return 0;
}

/* ---- the session -------------------------------------------------------------------------------------------------- */

enum { SEEN_RUNNING = 1, SEEN_OVER, SEEN_GONE };

struct waiting {
    struct val *pod;
    bool success_only; /* OnFailure: a failure is tried again */
};

static bool phase_is(const struct val *pod, const char *phase)
{
    return str_is(val_str(val_at(pod, N_status, N_phase)), phase);
}

static int running_or_over(void *arg, const struct val *v)
{
    struct waiting *w = arg;
    if (!v)
        return SEEN_GONE;
    w->pod = (struct val *)v;
    if (phase_is(v, "Succeeded") || phase_is(v, "Failed"))
        return SEEN_OVER;
    return phase_is(v, "Running") && pods_is_ready(v) ? SEEN_RUNNING : 0;
}

static int over(void *arg, const struct val *v)
{
    struct waiting *w = arg;
    if (!v)
        return SEEN_GONE;
    w->pod = (struct val *)v;
    return phase_is(v, "Succeeded") || (phase_is(v, "Failed") && !w->success_only) ? SEEN_OVER : 0;
}

static int wait_for(struct cli *c, const struct info *i, int64_t timeout, poll_fn *fn, struct waiting *w)
{
    int r = poll_object(c, i, timeout ? mono_add(os_mono(), timeout) : MONO_NEVER, fn, w);
    if (r == POLL_TIMEOUT)
        return cli_fail(c, "timed out waiting for the condition"), -1;
    if (r == SEEN_GONE)
        return cli_note(c, "Error from server (NotFound): pods \"" STR_FMT "\" not found", STR_ARG(i->name)), -1;
    return r;
}

static int print_log(struct cli *c, struct run *x, const struct info *i, struct str container)
{
    struct log_flags f = {.tail = -1, .retry = x->timeout};
    return logs_print(c, &f, i->ns, i->name, container);
}

static int session(struct cli *c, struct run *x, const struct info *i, const struct val *container)
{
    struct remote r = {.ns = i->ns, .pod = i->name, .container = val_getstr(container, N_name), .sub = "attach",
                       .stdin_ = x->stdin_, .tty = x->tty, .quiet = x->quiet, .detach_keys = x->detach_keys, .log_first = true};
    bool detached = false;
    r.detached = &detached;
    remote_setup_tty(c, &r);
    r.no_stderr = r.tty;
    if (!x->quiet)
        cli_note(c, "All commands and output from this session will be recorded in container logs, including credentials and "
                    "sensitive information passed through the command prompt.\nIf you don't see a command prompt, try pressing "
                    "enter.");
    x->remote = &r;
    int code = remote_run(c, &r);
    x->remote = NULL;
    if (code && !x->interrupted)
        return print_log(c, x, i, r.container); /* most likely it has ended meanwhile: its log is all there is */
    if (code == 0 && !x->quiet && r.stdin_ && r.tty && detached)
        cli_print(c, "Session ended, resume using 'kubectl attach " STR_FMT " -c " STR_FMT " -n " STR_FMT " -i -t' command\n",
                  STR_ARG(i->name), STR_ARG(r.container), STR_ARG(i->ns));
    return code;
}

static int final_code(struct cli *c, const struct val *pod)
{
    struct str ns = obj_namespace(pod), name = obj_name(pod);
    const struct val *t = val_at(val_item(val_at(pod, N_status, N_containerStatuses), 0), N_state, N_terminated);
    if (phase_is(pod, "Succeeded"))
        return 0;
    int64_t code = val_int(val_get(t, N_exitCode), 0);
    if (!code)
        return cli_fail(c, "pod " STR_FMT "/" STR_FMT " failed with unknown exit code", STR_ARG(ns), STR_ARG(name));
    cli_note(c, "pod " STR_FMT "/" STR_FMT " terminated (" STR_FMT ")\n" STR_FMT, STR_ARG(ns), STR_ARG(name),
             STR_ARG(val_getstr(t, N_reason)), STR_ARG(val_getstr(t, N_message)));
    return (int)code;
}

static int attach(struct cli *c, struct run *x)
{
    const struct info *i = &x->made.items[0];
    struct waiting w = {.success_only = !strcmp(x->restart, "OnFailure")};
    const struct val *container;
    int r = wait_for(c, i, x->timeout, running_or_over, &w);
    if (r < 0 || x->interrupted)
        return 1;
    int code = pod_default_container(c, w.pod, NULL, x->quiet, &container);
    if (code)
        return code;
    code = r == SEEN_OVER ? print_log(c, x, i, val_getstr(container, N_name)) : session(c, x, i, container);
    if (code || x->interrupted || x->leave_stdin_open || !strcmp(x->restart, "Always"))
        return code;
    r = wait_for(c, i, x->timeout, over, &w);
    return r < 0 ? 1 : final_code(c, w.pod);
}

/* ---- --rm ---------------------------------------------------------------------------------------------------------- */

static int remove_made(struct cli *c, struct run *x)
{
    struct deletion d = {.grace = -1, .ignore_missing = true, .quiet = x->quiet};
    size_t found;
    int r = delete_prepare(c, &d);
    return r ? r : delete_all(c, &d, &x->made, &found);
}

struct interrupt {
    struct cli *c;
    struct run *x;
    struct fiber *main;
};

/* Ctrl-C and the like end the session, and the pod with it. */
static void await_interrupt(void *arg)
{
    struct interrupt *i = arg;
    if (os_wait_signal(MONO_NEVER) < 0)
        return;
    i->x->interrupted = true;
    if (i->x->remote)
        remote_abort(i->x->remote);
    if (i->x->rm)
        remove_made(i->c, i->x);
    cli_flush(i->c);
    _Exit(1);
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static int check_choice(struct cli *c, const char *what, const char *given, const char *const *valid)
{
    for (const char *const *p = valid; given && *p; p++)
        if (!strcmp(given, *p))
            return 0;
    if (!given || !given[0])
        return 0;
    return cli_fail(c, "invalid %s: %s, valid values are: %s, %s, %s", what, given, valid[0], valid[1], valid[2]);
}

static int check(struct cli *c, struct run *x, int argc, int dash)
{
    static const char *const policies[] = {"Always", "OnFailure", "Never", NULL};
    static const char *const pulls[] = {"Always", "IfNotPresent", "Never", NULL};
    struct image_name image;
    int64_t port;
    if (argc < 2 || dash == 1)
        return cli_fail(c, "NAME is required for run");
    if (!x->image || !x->image[0])
        return cli_fail(c, "--image is required");
    if (!image_parse(str_of(x->image), &image))
        return cli_fail(c, "invalid image name \"%s\": invalid reference format", x->image);
    if (x->tty && !x->stdin_)
        return cli_fail(c, "-i/--stdin is required for containers with -t/--tty=true");
    if (x->expose && !x->port)
        return cli_fail(c, "--port must be set when exposing a service");
    if (x->port && str_to_i64(str_of(x->port), &port) < 0)
        return cli_fail(c, "--port must be a number");
    if (!x->attach && x->rm)
        return cli_fail(c, "--rm should only be used for attached containers");
    if (x->attach && x->w.dry_run != DRY_NONE)
        return cli_fail(c, "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)");
    int r = check_choice(c, "restart policy", x->restart, policies);
    return r ? r : check_choice(c, "image pull policy", x->pull_policy, pulls);
}

static int run(struct cli *c, struct run *x, struct str name, char **args)
{
    struct val *pod;
    struct interrupt i = {c, x, fiber_self()};
    int r = gen_labels(c, x->labels, &x->label_map);
    if (r == 0)
        r = make_pod(c, x, name, args, &pod);
    if (r)
        return r;
    if (x->attach)
        fiber_spawn("interrupt", await_interrupt, &i);
    r = make(c, x, RES_PODS, pod);
    if (r == 0 && x->expose)
        r = make(c, x, RES_SERVICES, make_service(c, x, name));
    if (x->attach && x->made.n) {
        int code = attach(c, x);
        r = r ? r : code;
        cli_flush(c);
    }
    if (x->attach && x->rm && x->made.n && !x->interrupted)
        remove_made(c, x);
    return r;
}

int cmd_run(struct cli *c, int argc, char **argv)
{
    struct run x = {.w = WRITE_INIT, .restart = "Always", .timeout = SECONDS(60), .detach_keys = "ctrl-p,ctrl-q"};
    int dash;
    struct flag flags[] = {
        WRITE_FLAGS(&x.w),
        OVERRIDE_FLAGS(&x.o),
        {"annotations", 0, FLAG_ARRAY, &x.annotations, "Annotation of the pod (KEY=VALUE)"},
        {"attach", 0, FLAG_BOOL, &x.attach, "Attach to the pod when it runs; with -i the default"},
        {"command", 0, FLAG_BOOL, &x.command, "What follows -- is the command, not its arguments"},
        {"detach-keys", 0, FLAG_STRING, &x.detach_keys, "Keys that end the session and leave the container running"},
        {"env", 0, FLAG_ARRAY, &x.env, "Environment variable (NAME=VALUE)"},
        {"expose", 0, FLAG_BOOL, &x.expose, "Make a service for the pod, too; needs --port"},
        {"filename", 'f', FLAG_STRINGS, &x.files, NULL},
        {"image", 0, FLAG_STRING, &x.image, "Image to run"},
        {"image-pull-policy", 0, FLAG_STRING, &x.pull_policy, "Always, IfNotPresent or Never"},
        {"labels", 'l', FLAG_STRING, &x.labels, "Labels of the pod (k=v,k=v); run=NAME unless given"},
        {"leave-stdin-open", 0, FLAG_BOOL, &x.leave_stdin_open, "Stdin stays open after the first session"},
        {"pod-running-timeout", 0, FLAG_DURATION, &x.timeout, "How long to wait until the pod runs"},
        {"port", 0, FLAG_STRING, &x.port, "Port of the container"},
        {"privileged", 0, FLAG_BOOL, &x.privileged, "The container may do anything"},
        {"quiet", 'q', FLAG_BOOL, &x.quiet, "Print only what the container prints"},
        {"restart", 0, FLAG_STRING, &x.restart, "Always, OnFailure or Never"},
        {"rm", 0, FLAG_BOOL, &x.rm, "Delete the pod after the session"},
        {"save-config", 0, FLAG_BOOL, &x.save, "Keep the configuration in an annotation, for a later apply"},
        {"stdin", 'i', FLAG_BOOL, &x.stdin_, "The container's stdin is open"},
        {"tty", 't', FLAG_BOOL, &x.tty, "The container has a terminal"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, &dash);
    if (r == 0)
        r = write_prepare(c, &x.w, "kubectl-run");
    if (r)
        return r;
    if (!flags_find(flags, "attach")->given && x.stdin_)
        x.attach = true;
    r = check(c, &x, argc, dash);
    return r ? r : run(c, &x, str_of(argv[1]), argv + 2);
}
