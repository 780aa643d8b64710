/* SPDX-License-Identifier: Apache-2.0 */
/* Our own containerd: a child with its own configuration, root and socket that outlives us. */
#include "adm/cluster.h"

#include "base/fiber.h"
#include "base/log.h"
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

void containerd_of_cluster(struct arena *a, const struct cluster_config *c, struct containerd *ret)
{
    *ret = (struct containerd){
        .socket = containerd_socket(a, c),
        .foreign = c->cri_socket != NULL,
        .root = arena_printf(a, "%s/containerd", c->data_dir).p,
        .state = arena_printf(a, "%s/containerd/state", c->run_dir).p,
        .config = arena_printf(a, "%s/containerd.toml", c->data_dir).p,
        .log = arena_printf(a, "%s/log/containerd.log", c->data_dir).p,
        .pid_file = arena_printf(a, "%s/containerd.pid", c->run_dir).p,
        .cni_conf_dir = c->cni_conf_dir ? c->cni_conf_dir : arena_printf(a, "%s/cni", c->data_dir).p,
        .containerd = c->containerd,
        .runc = c->runc,
        .cni_bin_dir = c->cni_bin_dir,
    };
}

static bool answers(const char *socket)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int fd = os_connect(arena_printf(&a, "unix:%s", socket).p, mono_add(os_mono(), SECONDS(1)));
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

/* ---- CNI plug-ins ---------------------------------------------------------------------------------------- */

static void link_plugin(const char *dir, const char *name, const char *target)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *path = arena_printf(&a, "%s/%s", dir, name).p, *fresh = arena_printf(&a, "%s/.new", dir).p;
    unlink(fresh);
    if (symlink(target, fresh) == 0)
        os_rename(fresh, path);
}

/* One folder, which is all that containerd takes: what the machine has, our own where it has none, and ours always for what
 * every pod needs. */
static const char *cni_bin_dir(struct arena *a, const struct containerd *r)
{
    static const char *const theirs[] = {"/usr/lib/cni", "/opt/cni/bin"}; /* the later goes first */
    static const char *const ours[] = {"bridge", "host-local", "portmap", "bandwidth", "flannel"};
    static const char *const always[] = {"cube-cni", "loopback"};
    char self[4096] = "";
    if (r->cni_bin_dir)
        return r->cni_bin_dir;
    struct str config = str_of(r->config);
    const char *dir = arena_printf(a, STR_FMT "/cni-bin", STR_ARG(str_slice(config, 0, (size_t)str_rfind(config, '/')))).p;
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0 || os_mkdir_all(dir, 0755) < 0)
        return theirs[0];
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        link_plugin(dir, ours[i], self);
    for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
        char **names;
        if (os_list_dir(a, theirs[i], &names) < 0)
            continue;
        for (; *names; names++)
            link_plugin(dir, *names, arena_printf(a, "%s/%s", theirs[i], *names).p);
    }
    for (size_t i = 0; i < ARRAY_SIZE(always); i++)
        link_plugin(dir, always[i], self);
    return dir;
}

/* A TOML basic string. */
static void put_text(struct buf *b, const char *before, const char *text)
{
    buf_puts(b, before);
    buf_putc(b, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_putc(b, '\\');
        if ((unsigned char)*p >= ' ')
            buf_putc(b, *p);
    }
    buf_puts(b, "\"\n");
}

/* Version 2 of the format, which containerd 1.x has and 2.x migrates by itself. */
static int write_config(const struct containerd *r)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "# Written by cube at every start.\nversion = 2\n");
    put_text(&b, "root = ", r->root);
    put_text(&b, "state = ", r->state);
    buf_puts(&b, "disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\","
                 " \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\","
                 " \"io.containerd.tracing.processor.v1.otlp\", \"io.containerd.internal.v1.tracing\"]\n[grpc]\n");
    put_text(&b, "  address = ", r->socket);
    buf_printf(&b,
               "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
               "  sandbox_image = \"" PAUSE_IMAGE "\"\n"
               "  restrict_oom_score_adj = %s\n"
               "  enable_unprivileged_ports = true\n"
               "  enable_unprivileged_icmp = true\n"
               "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n",
               oom_score_is_restricted() ? "true" : "false");
    put_text(&b, "    bin_dir = ", cni_bin_dir(&a, r));
    put_text(&b, "    conf_dir = ", r->cni_conf_dir);
    buf_puts(&b, "  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n"
                 "    config_path = \"/etc/containerd/certs.d\"\n"
                 "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
                 "    default_runtime_name = \"runc\"\n"
                 "    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
                 "      runtime_type = \"io.containerd.runc.v2\"\n");
    if (r->runc)
        put_text(&b, "      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n        BinaryName = ",
                 r->runc);
    return os_write_file(r->config, buf_str(&b), 0600);
}

/* Its shim is looked up in PATH and must be of the same make, so the folder of a program that was named comes first. */
static const char *const *environment(struct arena *a, const char *program)
{
    struct str path = str_of(program);
    ssize_t slash = str_rfind(path, '/');
    const char *before = getenv("PATH");
    size_t n = 0;
    if (slash <= 0)
        return NULL;
    while (environ[n])
        n++;
    const char **env = ARENA_ARRAY(a, const char *, n + 2);
    n = 0;
    env[n++] = arena_printf(a, "PATH=%.*s:%s", (int)slash, path.p, before ? before : "/usr/sbin:/usr/bin:/sbin:/bin").p;
    for (char **one = environ; *one; one++)
        if (!str_starts(str_of(*one), STR("PATH=")))
            env[n++] = *one;
    return env;
}

static int start(const struct containerd *r, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int fd = os_open(r->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0)
        return err_set(e, fd, "cannot write %s: %s", r->log, strerror(-fd));
    const char *program = r->containerd ? r->containerd : "containerd";
    const char *argv[] = {program, "--config", r->config, NULL};
    struct os_spawn s = {.argv = argv, .env = environment(&a, program), .in = -1, .out = fd, .err = fd, .new_session = true};
    pid_t pid;
    int n = os_spawn(&s, &pid);
    os_close(fd);
    if (n == -ENOENT)
        return err_set(e, n, "%s was not found: install it (apt-get install containerd runc), say where it is with --containerd, "
                             "or name a running one's socket with --cri-socket", program);
    if (n < 0)
        return err_set(e, n, "cannot start %s: %s", program, strerror(-n));
    n = os_write_file(r->pid_file, arena_printf(&a, "%d\n", (int)pid), 0600);
    return n < 0 ? err_set(e, n, "cannot write %s: %s", r->pid_file, strerror(-n)) : 0;
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

/* One that is not on record: it was started while another still held the data, and waited for its end. */
static pid_t find_stray(struct arena *a, const struct containerd *r)
{
    char **names;
    if (os_list_dir(a, "/proc", &names) < 0)
        return 0;
    for (; *names; names++) {
        int64_t pid;
        struct str program;
        if (str_to_i64(str_of(*names), &pid) < 0 || !command_has(a, (pid_t)pid, r->config) ||
            os_read_file(a, arena_printf(a, "/proc/%s/comm", *names).p, 64, &program) < 0)
            continue;
        if (str_is(str_trim(program), "containerd"))
            return (pid_t)pid;
    }
    return 0;
}

/* The pid of our containerd, 0 when it does not run. */
static pid_t running(struct arena *a, const struct containerd *r)
{
    pid_t pid = read_pid(a, r->pid_file);
    return pid && command_has(a, pid, r->config) ? pid : find_stray(a, r); /* the machine may have others */
}

static int wait_until_it_answers(const struct containerd *r, struct err *e)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(30));
    while (!answers(r->socket)) {
        if (os_mono().ns > deadline.ns)
            return err_set(e, -ETIMEDOUT, "containerd did not answer on %s within 30 s; see %s", r->socket, r->log);
        int n = fiber_sleep(MILLISECONDS(10));
        if (n < 0)
            return n;
    }
    return 0;
}

int containerd_ensure(const struct containerd *r, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (answers(r->socket))
        return 0;
    if (r->foreign)
        return err_set(e, -ECONNREFUSED, "no container runtime answers on --cri-socket %s", r->socket);
    struct str socket = str_of(r->socket);
    ssize_t slash = str_rfind(socket, '/');
    int n = os_mkdir_all(arena_cstr(&a, str_slice(socket, 0, slash < 0 ? 0 : (size_t)slash)), 0711);
    if (n == 0)
        n = write_config(r);
    if (n < 0)
        return err_set(e, n, "cannot write containerd's configuration %s: %s", r->config, strerror(-n));
    if (!running(&a, r)) /* else it is on its way; a second one would wait for the first one's end, and then stay */
        n = start(r, e);
    return n < 0 ? n : wait_until_it_answers(r, e);
}

/* Shims name the socket of their containerd in their arguments (-address). */
static void kill_shims(struct arena *a, const char *socket)
{
    char **names;
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

int containerd_stop(const struct containerd *r, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    pid_t pid;
    int status;
    while ((pid = running(&a, r))) {
        os_kill(pid, SIGTERM);
        if (os_wait_pid(pid, &status, mono_add(os_mono(), SECONDS(15))) == -ETIMEDOUT)
            return err_set(e, -ETIMEDOUT, "containerd (pid %d) did not end within 15 s", (int)pid);
    }
    kill_shims(&a, r->socket);
    os_unlink(r->pid_file);
    return 0;
}

/* A pid that cannot be watched (or is not on record) is asked for by its socket. */
static int wait_for_end(const struct containerd *r)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int status;
    pid_t pid = running(&a, r);
    if (pid)
        return os_wait_pid(pid, &status, MONO_NEVER);
    int n = 0;
    while (n == 0 && answers(r->socket))
        n = fiber_sleep(SECONDS(5));
    return n;
}

void containerd_keep(const struct containerd *r)
{
    while (wait_for_end(r) != -ECANCELED && !fiber_cancelled()) {
        struct err e = {0};
        log_warn("runtime", "containerd has ended; it starts again");
        int n = containerd_ensure(r, &e);
        if (n < 0 && n != -ECANCELED)
            log_error("runtime", "%s", err_text(&e, n));
        if (fiber_sleep(SECONDS(n < 0 ? 10 : 1)) < 0)
            break;
    }
}
