/* SPDX-License-Identifier: Apache-2.0 */
/* Our own containerd: a child with its own configuration, root and socket that outlives us. */
#include "adm/cluster.h"

#include "base/fiber.h"
#include "base/os.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

const char *containerd_socket(struct arena *a, const struct cluster_config *c)
{
    return c->cri_socket ? c->cri_socket : arena_printf(a, "%s/containerd/containerd.sock", c->run_dir).p;
}

static bool answers(struct arena *a, const char *socket)
{
    int fd = os_connect(arena_printf(a, "unix:%s", socket).p, mono_add(os_mono(), SECONDS(1)));
    os_close(fd);
    return fd >= 0;
}

/* Without CAP_SYS_RESOURCE nobody may lower oom_score_adj; runc then fails unless containerd is told. */
static bool oom_score_is_restricted(void)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return true;
    char now[16] = {0};
    ssize_t n = read(fd, now, sizeof(now) - 1);
    bool restricted = write(fd, "-998", 4) < 0;
    if (!restricted && n > 0)
        restricted = pwrite(fd, now, (size_t)n, 0) < 0;
    close(fd);
    return restricted;
}

static const char *cni_bin_dir(void)
{
    struct stat st;
    return stat("/opt/cni/bin/bridge", &st) == 0 ? "/opt/cni/bin" : "/usr/lib/cni";
}

static int write_config(struct arena *a, const struct cluster_config *c, const char *path)
{
    struct str text = arena_printf(
        a,
        "# Written by cube at every start.\n"
        "version = 2\n"
        "root = \"%s/containerd\"\n"
        "state = \"%s/containerd/state\"\n"
        "disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\","
        " \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\","
        " \"io.containerd.tracing.processor.v1.otlp\", \"io.containerd.internal.v1.tracing\"]\n"
        "[grpc]\n"
        "  address = \"%s\"\n"
        "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
        "  sandbox_image = \"" PAUSE_IMAGE "\"\n"
        "  restrict_oom_score_adj = %s\n"
        "  enable_unprivileged_ports = true\n"
        "  enable_unprivileged_icmp = true\n"
        "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n"
        "    bin_dir = \"%s\"\n"
        "    conf_dir = \"%s/cni\"\n"
        "  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
        "    config_path = \"/etc/containerd/certs.d\"\n"
        "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
        "    default_runtime_name = \"runc\"\n"
        "    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
        "      runtime_type = \"io.containerd.runc.v2\"\n",
        c->data_dir, c->run_dir, containerd_socket(a, c), oom_score_is_restricted() ? "true" : "false", cni_bin_dir(),
        c->data_dir);
    return os_write_file(path, text, 0600);
}

static int start(struct arena *a, const struct cluster_config *c, const char *config, struct err *e)
{
    const char *log = arena_printf(a, "%s/log/containerd.log", c->data_dir).p;
    int fd = os_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0)
        return err_set(e, fd, "cannot write %s: %s", log, strerror(-fd));
    const char *argv[] = {"containerd", "--config", config, NULL};
    struct os_spawn s = {.argv = argv, .in = -1, .out = fd, .err = fd, .new_session = true};
    pid_t pid;
    int r = os_spawn(&s, &pid);
    os_close(fd);
    if (r == -ENOENT)
        return err_set(e, r, "containerd was not found: install it (apt-get install containerd runc) or name a running "
                             "one's socket with --cri-socket");
    if (r < 0)
        return err_set(e, r, "cannot start containerd: %s", strerror(-r));
    return os_write_file(arena_printf(a, "%s/containerd.pid", c->run_dir).p, arena_printf(a, "%d\n", (int)pid), 0600);
}

static int wait_until_it_answers(struct arena *a, const struct cluster_config *c, struct err *e)
{
    const char *socket = containerd_socket(a, c);
    struct mono deadline = mono_add(os_mono(), SECONDS(30));
    while (!answers(a, socket)) {
        if (os_mono().ns > deadline.ns)
            return err_set(e, -ETIMEDOUT, "containerd did not answer on %s within 30 s; see %s/log/containerd.log", socket,
                           c->data_dir);
        int r = fiber_sleep(MILLISECONDS(10));
        if (r < 0)
            return r;
    }
    return 0;
}

int containerd_ensure(struct arena *a, const struct cluster_config *c, const char **ret_socket, struct err *e)
{
    const char *socket = containerd_socket(a, c);
    *ret_socket = socket;
    if (answers(a, socket))
        return 0;
    if (c->cri_socket)
        return err_set(e, -ECONNREFUSED, "no container runtime answers on --cri-socket %s", c->cri_socket);
    int r = os_mkdir_all(arena_printf(a, "%s/containerd", c->run_dir).p, 0711);
    const char *config = arena_printf(a, "%s/containerd.toml", c->data_dir).p;
    if (r == 0)
        r = write_config(a, c, config);
    if (r < 0)
        return err_set(e, r, "cannot write containerd's configuration %s: %s", config, strerror(-r));
    r = start(a, c, config, e);
    return r < 0 ? r : wait_until_it_answers(a, c, e);
}

static pid_t read_pid(struct arena *a, const char *path)
{
    struct str text;
    int64_t pid;
    if (os_read_file(a, path, 64, &text) < 0 || str_to_i64(str_trim(text), &pid) < 0 || pid <= 1)
        return 0;
    return (pid_t)pid;
}

/* The command line, to be sure that a recorded pid (or a shim's) is what we think. */
static bool command_has(struct arena *a, pid_t pid, const char *word)
{
    struct str line;
    if (os_read_file(a, arena_printf(a, "/proc/%d/cmdline", (int)pid).p, 65536, &line) < 0)
        return false;
    return line.n && memmem(line.p, line.n, word, strlen(word));
}

/* Shims name the socket of their containerd in their arguments (-address). */
static void kill_shims(struct arena *a, const struct cluster_config *c)
{
    char **names;
    const char *socket = containerd_socket(a, c);
    if (os_list_dir(a, "/proc", &names) < 0)
        return;
    for (; *names; names++) {
        int64_t pid;
        if (str_to_i64(str_of(*names), &pid) < 0)
            continue;
        if (command_has(a, (pid_t)pid, "containerd-shim") && command_has(a, (pid_t)pid, socket))
            os_kill((pid_t)pid, SIGKILL);
    }
}

int containerd_stop(const struct cluster_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *pid_file = arena_printf(&a, "%s/containerd.pid", c->run_dir).p;
    pid_t pid = read_pid(&a, pid_file);
    int status;
    const char *config = arena_printf(&a, "%s/containerd.toml", c->data_dir).p; /* the machine may have others */
    if (pid && command_has(&a, pid, config)) {
        os_kill(pid, SIGTERM);
        if (os_wait_pid(pid, &status, mono_add(os_mono(), SECONDS(15))) == -ETIMEDOUT)
            return err_set(e, -ETIMEDOUT, "containerd (pid %d) did not end within 15 s", (int)pid);
    }
    kill_shims(&a, c);
    os_unlink(pid_file);
    return 0;
}
