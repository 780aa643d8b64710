/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cube up: starts the cluster as a background process of its own session and shows its steps until it is ready. The
 * background process is `cube up --foreground`; it tells its steps on standard output, a line each, and logs to a file.
 */
#include "adm/addresses.h"
#include "adm/adm.h"
#include "adm/options.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

struct up {
    struct cluster_config config;
    bool foreground;
    int64_t timeout, nodes;
    char **argv;
    int argc;
    int code;
    struct err err;
    char trouble[600]; /* what the last part that failed said */
};

/* ---- the background process ---------------------------------------------------------------------------- */

static void tell(void *arg UNUSED, const char *step)
{
    /* The parent leaves after "ready"; nobody reading is no fault. */
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "%s\n", step);
    ssize_t r UNUSED = write(STDOUT_FILENO, b.p, b.n);
}

static void run_here(void *arg)
{
    struct up *u = arg;
    int r = cluster_run(&u->config, u->nodes, tell, NULL, &u->err);
    if (r < 0) {
        char line[600];
        snprintf(line, sizeof(line), "failed: %s", err_text(&u->err, r));
        tell(NULL, line);
        log_error("up", "%s", err_text(&u->err, r));
        u->code = 1;
    }
}

/* ---- the command that a person typed ---------------------------------------------------------------------- */

static int start_background(struct up *u, int out, pid_t *ret_pid)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *log_dir = arena_printf(&a, "%s/log", u->config.data_dir).p;
    int r = os_mkdir_all(log_dir, 0755);
    if (r < 0)
        return err_set(&u->err, r, "cannot make %s: %s", log_dir, strerror(-r));
    const char *path = arena_printf(&a, "%s/cube.log", log_dir).p;
    int log = os_open(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (log < 0)
        return err_set(&u->err, log, "cannot write %s: %s", path, strerror(-log));
    const char **argv = ARENA_ARRAY(&a, const char *, u->argc + 4);
    int n = 0;
    argv[n++] = "/proc/self/exe";
    argv[n++] = "up";
    for (int i = 1; i < u->argc; i++)
        argv[n++] = u->argv[i];
    argv[n++] = "--foreground";
    struct os_spawn s = {.argv = argv, .in = -1, .out = out, .err = log, .new_session = true, .cwd = "/"};
    r = os_spawn(&s, ret_pid);
    os_close(log);
    return r < 0 ? err_set(&u->err, r, "cannot start the cluster's process: %s", strerror(-r)) : 0;
}

static void print_step(struct mono start, struct mono *last, const char *step)
{
    struct mono now = os_mono();
    printf("  %5.2fs  %s (+%lld ms)\n", (double)(now.ns - start.ns) / NSEC_PER_SEC, step,
           (long long)((now.ns - last->ns) / NSEC_PER_MSEC));
    fflush(stdout);
    *last = now;
}

/* Reads steps until "ready" (0), "failed: ..." or the end of the process. */
static int follow(struct up *u, int in, pid_t pid)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct mono start = os_mono(), last = start, deadline = mono_add(start, u->timeout);
    for (;;) {
        ssize_t n = os_recv(in, buf_grow(&b, 1024), 1024, deadline);
        if (n == -ETIMEDOUT)
            return err_set(&u->err, -ETIMEDOUT, "not ready after %lld s%s%s; it goes on trying (pid %d), see %s/log/cube.log",
                           (long long)(u->timeout / NSEC_PER_SEC), u->trouble[0] ? ", " : "", u->trouble, (int)pid,
                           u->config.data_dir);
        if (n <= 0)
            return err_set(&u->err, -EPIPE, "the cluster's process ended; see %s/log/cube.log", u->config.data_dir);
        b.n += (size_t)n;
        struct str line, rest;
        while (str_cut(buf_str(&b), '\n', &line, &rest)) {
            char text[600];
            snprintf(text, sizeof(text), STR_FMT, STR_ARG(line));
            buf_consume(&b, line.n + 1);
            if (str_starts(str_of(text), STR("failed: ")))
                return err_set(&u->err, -EIO, "%s", text + 8);
            if (str_starts(str_of(text), STR("trouble: "))) {
                snprintf(u->trouble, sizeof(u->trouble), "%s", text + strlen("trouble: "));
                continue;
            }
            print_step(start, &last, text);
            if (!strcmp(text, "ready"))
                return 0;
        }
    }
}

static void run_background(void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct up *u = arg;
    int pair[2];
    pid_t pid;
    pid_t running = cluster_pid(&u->config);
    if (running) {
        printf("The cluster runs already (pid %d)%s.\n", (int)running,
               u->nodes > 1 ? "; \"cube node add\" gives it more nodes" : "");
        return;
    }
    int r = os_socketpair(pair);
    if (r == 0) {
        r = start_background(u, pair[1], &pid);
        os_close(pair[1]);
        if (r == 0)
            r = follow(u, pair[0], pid);
        os_close(pair[0]);
    }
    if (r < 0)
        u->code = complain(&u->err, r);
    else
        printf("The API is at %s; export KUBECONFIG=%s/admin.conf\n", api_url(&a, &u->config), u->config.conf_dir);
}

int up_main(int argc, char **argv)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct up u = {.argc = argc, .timeout = SECONDS(120)};
    bool debug = false;
    int operands;
    /* flags_parse moves operands in argv; the background process gets the words as they were typed. */
    u.argv = ARENA_ARRAY(&a, char *, argc + 1);
    memcpy(u.argv, argv, (size_t)argc * sizeof(char *));
    struct flag flags[] = {
        CLUSTER_FLAGS(&u.config),
        {"foreground", 0, FLAG_BOOL, &u.foreground, "Stay in the foreground (for systemd)"},
        {"timeout", 0, FLAG_DURATION, &u.timeout, "How long to wait until it is ready (2m)"},
        {"nodes", 0, FLAG_INT, &u.nodes, "How many nodes there shall be at least, each further one in namespaces (1)"},
        {"without", 0, FLAG_STRING, &u.config.without,
         "Parts that somebody else runs, comma separated: controllers, scheduler, kubelet, proxy, dns, overlay"},
        {"debug", 0, FLAG_BOOL, &debug, "Log more"},
        {0},
    };
    int r = cluster_flags("cube up [flags]", "Starts a cluster on this machine.", flags, argc, argv, &operands);
    if (r)
        return r - 1;
    struct err e = {0};
    if (u.nodes < 0 || u.nodes > 200)
        return complain(&e, err_set(&e, -EINVAL, "--nodes %lld: expected 1 to 200", (long long)u.nodes));
    if (operands)
        return complain(&e, err_set(&e, -EINVAL, "up takes no operands, but got \"%s\"", argv[1]));
    if ((r = require_root("up")))
        return r;
    r = cluster_config_complete(&a, &u.config, &e);
    if (r == 0)
        r = cluster_config_check(&u.config, &e);
    if (r < 0)
        return complain(&e, r);
    if (debug)
        log_set_level(LOG_DEBUG);
    loop_run(u.foreground ? run_here : run_background, &u);
    return u.code;
}
