/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first process of a further node: makes the namespaces, gives the node folders of its own where programs
 * have fixed paths, starts the agent and keeps it running, reaps. It lives outside of the door (base/os.h)
 * and its loop on purpose: process 1 must wait for any child, it does so in one thread, and nothing of it can
 * be simulated.
 *
 * SIGTERM: end the agent, containers go on. SIGUSR1: start the agent anew. SIGKILL: the end of the node.
 */
#include "adm/nodes.h"

#include "adm/addresses.h"
#include "base/os.h"

#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int fail(const char *what, const char *about)
{
    int r = -errno;
    fprintf(stderr, "cube node: %s %s: %s\n", what, about, strerror(-r));
    return r < 0 ? r : -EIO;
}

static int write_text(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int r = ok ? 0 : fail("cannot write", path);
    if (fd >= 0)
        close(fd);
    return r;
}

/* ---- mounts --------------------------------------------------------------------------------------- */

/* Private folders, by their names below the node's own. */
static const struct {
    const char *own, *path;
} binds[] = {
    {"kubelet", "/var/lib/kubelet"}, {"containerd", "/var/lib/containerd"},
    {"cni-lib", "/var/lib/cni"},     {"cni", "/etc/cni"},
    {"log/pods", "/var/log/pods"},   {"log/containers", "/var/log/containers"},
};

static int bind_own(const char *dir, const char *own, const char *path, bool file)
{
    char from[PATH_MAX];
    snprintf(from, sizeof(from), "%s/%s", dir, own);
    if (!file && os_mkdir_all(from, 0755) < 0)
        return fail("cannot make", from);
    return mount(from, path, NULL, MS_BIND, NULL) < 0
               ? fail("cannot mount a folder of the node's own on", path)
               : 0;
}

static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return n > 1 && strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* Mounts of the machine's own pods, of other clusters' and of other container engines: what runs there, not
 * what the machine is made of. */
static bool is_of_containers(const struct mntent *m, const struct node *n)
{
    return is_below(m->mnt_dir, "/run") || is_below(m->mnt_dir, n->machine_data) ||
           is_below(m->mnt_dir, n->machine_run) || strstr(m->mnt_dir, "/volumes/kubernetes.io~") ||
           !strcmp(m->mnt_type, "nsfs") || (!strcmp(m->mnt_type, "overlay") && strcmp(m->mnt_dir, "/"));
}

/* They would live on in our copy of the machine's mounts, with their memory, devices and network namespaces;
 * so they go. The way to our own folder must stay. */
static void drop_mounts(const struct node *n)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct mntent m;
    char line[8192];
    struct drop {
        struct drop *next;
        const char *path;
    } *list = NULL;
    FILE *f = setmntent("/proc/self/mounts", "re");
    while (f && getmntent_r(f, &m, line, sizeof(line))) {
        if (!is_of_containers(&m, n) || is_below(n->dir, m.mnt_dir) || !strcmp(n->dir, m.mnt_dir))
            continue;
        struct drop *d = ARENA_NEW(&a, struct drop);
        *d = (struct drop){list, arena_cstr(&a, str_of(m.mnt_dir))};
        list = d; /* the latest first */
    }
    if (f)
        endmntent(f);
    for (; list; list = list->next)
        umount2(list->path, MNT_DETACH | UMOUNT_NOFOLLOW);
}

/* The machine's name servers, but for those on its loopback, which is not ours: behind systemd-resolved's are
 * the real ones. */
static struct str resolv_conf(struct arena *a)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str text, line, rest;
    bool local = false;
    if (os_read_file(a, "/etc/resolv.conf", 1 << 16, &text) < 0)
        return STR_NULL;
    for (rest = text; str_next(&rest, '\n', &line);)
        local = local || str_starts(line, STR("nameserver 127.")) || str_starts(line, STR("nameserver ::1"));
    if (local && os_read_file(a, "/run/systemd/resolve/resolv.conf", 1 << 16, &text) == 0)
        return text;
    for (rest = text; str_next(&rest, '\n', &line);)
        if (line.n && !str_starts(line, STR("nameserver 127.")) && !str_starts(line, STR("nameserver ::1")))
            buf_printf(&b, STR_FMT "\n", STR_ARG(line));
    return arena_str(a, buf_str(&b));
}

/* It may be a link into /run, which is empty by now. */
static int bind_file(const struct node *n, const char *own, const char *path)
{
    char folder[PATH_MAX], *slash;
    if (is_below(path, "/run")) {
        snprintf(folder, sizeof(folder), "%s", path);
        if ((slash = strrchr(folder, '/')))
            *slash = '\0';
        os_mkdir_all(folder, 0755);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0)
            close(fd);
    }
    return access(path, F_OK) < 0 ? 0 : bind_own(n->dir, own, path, true);
}

/* A random UUID (version 4), as the kernel writes it. */
static const char *boot_id(struct arena *a)
{
    unsigned char b[16];
    os_random(b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return arena_printf(a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0],
                        b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                        b[14], b[15])
        .p;
}

static int make_files(struct arena *a, const struct node *n)
{
    char id[PATH_MAX], number[33];
    struct str resolv = resolv_conf(a);
    struct buf hosts CLEANUP_BUF = BUF_INIT;
    buf_puts(&hosts, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for (const char **ip = list_items(a, n->cluster.advertise); *ip; ip++)
        buf_printf(&hosts, "%s %s\n", *ip, n->name);
    int r = write_text(n->dir, "resolv.conf", arena_cstr(a, resolv));
    if (r == 0)
        r = write_text(n->dir, "hosts", arena_cstr(a, buf_str(&hosts)));
    if (r == 0)
        r = write_text(n->dir, "hostname", arena_printf(a, "%s\n", n->name).p);
    if (r == 0) /* a node that is started again has rebooted, whatever its kernel says */
        r = write_text(n->dir, "boot-id", boot_id(a));
    snprintf(id, sizeof(id), "%s/machine-id", n->dir);
    if (r == 0 && access(id, F_OK) < 0) {
        snprintf(number, sizeof(number), "%016llx%016llx", (unsigned long long)os_random_u64(),
                 (unsigned long long)os_random_u64());
        r = write_text(n->dir, "machine-id", arena_printf(a, "%s\n", number).p);
    }
    return r;
}

static int set_up(struct arena *a, const struct node *n)
{
    char resolv[PATH_MAX];
    if (!realpath("/etc/resolv.conf", resolv))
        snprintf(resolv, sizeof(resolv), "/etc/resolv.conf");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return fail("cannot make mounts private below", "/");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return fail("cannot mount", "/proc");
    int r = make_files(a, n);
    drop_mounts(n);
    if (r == 0 && mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0)
        r = fail("cannot mount", "/run");
    if (r < 0)
        return r;
    os_mkdir("/run/lock", 01777);
    os_mkdir("/run/netns", 0755);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(binds); i++)
        r = bind_own(n->dir, binds[i].own, binds[i].path, false);
    static const struct {
        const char *own, *path;
    } files[] = {{"hosts", "/etc/hosts"},
                 {"hostname", "/etc/hostname"},
                 {"machine-id", "/etc/machine-id"},
                 {"boot-id", "/proc/sys/kernel/random/boot_id"}};
    if (r == 0)
        r = bind_file(n, "resolv.conf", resolv);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
        r = bind_file(n, files[i].own, files[i].path);
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"); /* nicer with, no harm without */
    if (r == 0 && sethostname(n->name, strlen(n->name)) < 0)
        r = fail("cannot set the host name", n->name);
    /* As on a machine where systemd runs: volumes may ask for mounts to travel. */
    if (r == 0 && mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
        r = fail("cannot share mounts below", "/");
    return r;
}

/* ---- process 1 ------------------------------------------------------------------------------------ */

struct init {
    const char *dir;
    pid_t agent; /* 0: none */
    bool wanted;
    int failures;
    time_t started, not_before; /* CLOCK_MONOTONIC */
};

static time_t seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* The program may have been replaced since we started: it is looked up in the record. */
static void start_agent(struct init *i)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct node n;
    struct err e = {0};
    posix_spawnattr_t attr;
    sigset_t none, all;
    int r = node_load(&a, i->dir, &n, &e);
    const char *program = r == 0 && n.program ? n.program : "/proc/self/exe";
    char *argv[] = {(char *)(uintptr_t)program, (char[]){"node"},          (char[]){"agent"},
                    (char[]){"--dir"},          (char *)(uintptr_t)i->dir, NULL};
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    r = posix_spawn(&i->agent, program, NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    i->started = seconds();
    if (r) {
        i->agent = 0;
        i->not_before = i->started + 5;
        fprintf(stderr, "cube node: cannot start %s: %s\n", program, strerror(r));
    } else {
        write_text(i->dir, "state", NODE_STATE_ON "\n");
    }
}

static void agent_ended(struct init *i, int status)
{
    i->agent = 0;
    if (!i->wanted) {
        write_text(i->dir, "state", NODE_STATE_OFF "\n");
        return;
    }
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    i->failures = clean || seconds() - i->started > 60 ? 0 : i->failures + 1;
    i->not_before = seconds() + (i->failures ? 1 << MIN(i->failures - 1, 5) : 0);
    if (!clean)
        fprintf(stderr, "cube node: the agent has ended (status %d); it starts again in %d s\n", status,
                (int)(i->not_before - seconds()));
}

static void reap(struct init *i)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == i->agent)
            agent_ended(i, status);
}

static void on_signal(struct init *i, int number)
{
    if (number == SIGTERM || number == SIGINT)
        i->wanted = false;
    else if (number == SIGUSR1) {
        i->wanted = true;
        i->failures = 0;
        i->not_before = 0;
    } else
        return;
    if (i->agent)
        kill(i->agent, SIGTERM); /* wanted: its end starts the next one */
    else if (!i->wanted)
        write_text(i->dir, "state", NODE_STATE_OFF "\n");
}

/* Until it is killed. Signals stay blocked and are taken one by one: process 1 gets none that it has no
 * handler for, but those that are blocked. */
static void serve(struct init *i, const sigset_t *signals)
{
    for (;;) {
        reap(i);
        if (i->wanted && !i->agent && seconds() >= i->not_before)
            start_agent(i);
        struct timespec pause = {.tv_sec = i->wanted && !i->agent ? 1 : 3600};
        siginfo_t info;
        int number = sigtimedwait(signals, &info, &pause);
        if (number > 0)
            on_signal(i, number);
    }
}

static void block_signals(sigset_t *ret)
{
    static const int taken[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGHUP};
    sigemptyset(ret);
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
        sigaddset(ret, taken[i]);
    sigprocmask(SIG_BLOCK, ret, NULL);
}

int node_run_main(const char *dir)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct node n;
    struct err e = {0};
    sigset_t signals;
    char text[32];
    if (node_load(&a, dir, &n, &e) < 0) {
        fprintf(stderr, "cube node: %s\n", e.text);
        return 1;
    }
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID) < 0) {
        fail("cannot make namespaces for", n.name);
        return 1;
    }
    block_signals(&signals);
    pid_t pid = fork();
    if (pid < 0) {
        fail("cannot start process 1 of", n.name);
        return 1;
    }
    if (pid > 0) { /* written from here, where process 1 has the number that others know */
        snprintf(text, sizeof(text), "%d\n", (int)pid);
        return write_text(dir, "pid", text) < 0 ? 1 : 0;
    }
    if (set_up(&a, &n) < 0)
        return 1;
    struct init i = {.dir = n.dir, .wanted = true};
    serve(&i, &signals);
    return 0;
}
