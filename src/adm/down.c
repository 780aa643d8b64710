/* SPDX-License-Identifier: Apache-2.0 */
/* cube down: ends the cluster's process, on request its pods, on request every trace of it. */
#include "adm/adm.h"
#include "adm/addresses.h"
#include "adm/forward.h"
#include "adm/nodes.h"
#include "adm/options.h"

#include "base/fiber.h"
#include "base/os.h"
#include "cni/cni.h"
#include "node/host.h"
#include "overlay/overlay.h"
#include "adm/parts.h"
#include "netlink/nft.h"
#include "policy/policy.h"
#include "proxy/proxy.h"

#include <fcntl.h>
#include <ftw.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- every trace ---------------------------------------------------------------------------------------- */

/* dir: as the kernel writes it. Not dir itself, which may be a disk of its own. */
static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* Mounts below dir in the order in which they were made. */
static size_t mounts_below(struct arena *a, const char *dir, const char ***ret)
{
    struct mntent m;
    char line[8192];
    const char **points = NULL;
    size_t n = 0, cap = 0;
    FILE *f = setmntent("/proc/self/mounts", "re");
    while (f && getmntent_r(f, &m, line, sizeof(line))) {
        if (!is_below(m.mnt_dir, dir))
            continue;
        if (n == cap) {
            const char **more = ARENA_ARRAY(a, const char *, cap = cap ? cap * 2 : 64);
            if (n)
                memcpy(more, points, n * sizeof(*more));
            points = more;
        }
        points[n++] = arena_cstr(a, str_of(m.mnt_dir));
    }
    if (f)
        endmntent(f);
    *ret = points;
    return n;
}

/* Mounts below dir, the deepest (latest) first; lazily, so that a stray process cannot keep them. Pieces of the host
 * are mounted there, too: unless all of them are gone nothing may be removed. */
static int unmount_below(struct arena *a, const char *dir, struct err *e)
{
    const char **points;
    char *real = realpath(dir, NULL);
    if (!real)
        return errno == ENOENT ? 0 : err_set(e, -errno, "%s: %s", dir, strerror(errno));
    if (!strcmp(real, "/")) {
        free(real);
        return err_set(e, -EINVAL, "%s is not a directory of a cluster", dir);
    }
    for (size_t n = mounts_below(a, real, &points); n--;)
        umount2(points[n], MNT_DETACH | UMOUNT_NOFOLLOW);
    size_t left = mounts_below(a, real, &points);
    free(real);
    return left ? err_set(e, -EBUSY, "%s cannot be unmounted: nothing is removed", points[0]) : 0;
}

/* Everything in dir, and dir itself where that can be. */
static int remove_tree(const char *dir, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char **names;
    int r = os_list_dir(&a, dir, &names);
    if (r < 0)
        return r == -ENOENT ? 0 : err_set(e, r, "cannot read %s: %s", dir, strerror(-r));
    for (; r == 0 && *names; names++)
        r = linux_remove_tree(NULL, arena_printf(&a, "%s/%s", dir, *names).p, e);
    /* It may be a disk of its own, or a link to one. */
    if (r == 0 && rmdir(dir) < 0 && errno != EBUSY && errno != ENOTDIR)
        r = err_set(e, -errno, "cannot remove %s: %s", dir, strerror(errno));
    return r;
}

static void run_quietly(const char *const *argv)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    os_run(&a, argv, NULL, NULL, mono_add(os_mono(), SECONDS(10)));
}

/* The bridge, the addresses on it, and namespaces of pods that CRI did not know any more. */
static void remove_network(struct arena *a, const struct cluster_config *c)
{
    struct err ignored = {0};
    /* The kubelet's masquerading; adding first, since deleting what is not there is an error. */
    struct str masquerade = arena_printf(a, "add table inet cube-masq-%s\ndelete table inet cube-masq-%s\n", c->bridge, c->bridge);
    proxy_cleanup(c->proxy_table, false, &ignored);
    overlay_cleanup(c->pod_cidr, &ignored);
    policy_cleanup(parts_policy_table(a, c), &ignored);
    cni_ports_cleanup(&ignored);
    cni_guard_cleanup(&ignored);
    forward_forget(c->bridge);
    nft_apply(masquerade, &ignored);
    nft_apply(parts_dns_untrack(a, c, false), &ignored);
    run_quietly((const char *[]){"ip", "link", "delete", c->bridge, NULL});
    for (const char **ip = list_items(a, c->dns_ip); *ip; ip++)
        run_quietly((const char *[]){"ip", "addr", "delete", as_host(a, *ip), "dev", "lo", NULL});
}

/* Removes a pod cgroup tree in one hierarchy, leaves first; only empty groups can go. */
static int remove_group(const char *path, const struct stat *st UNUSED, int type, struct FTW *ftw UNUSED)
{
    if (type == FTW_DP || type == FTW_D)
        rmdir(path);
    return 0;
}

static void remove_cgroups(struct arena *a, const struct cluster_config *c)
{
    char **names;
    const char *ours = strcmp(c->cgroup_root, "/") ? c->cgroup_root : "/kubepods";
    nftw(arena_printf(a, "/sys/fs/cgroup%s", ours).p, remove_group, 16, FTW_DEPTH | FTW_PHYS);
    if (os_list_dir(a, "/sys/fs/cgroup", &names) < 0)
        return;
    for (; *names; names++)
        nftw(arena_printf(a, "/sys/fs/cgroup/%s%s", *names, ours).p, remove_group, 16, FTW_DEPTH | FTW_PHYS);
}

static int remove_config(struct arena *a, const struct cluster_config *c, struct err *e)
{
    static const char *const files[] = {"admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf",
                                        "kubelet.conf"};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        os_unlink(arena_printf(a, "%s/%s", c->conf_dir, files[i]).p);
    int r = remove_tree(arena_printf(a, "%s/pki", c->conf_dir).p, e);
    rmdir(arena_printf(a, "%s/manifests", c->conf_dir).p);
    rmdir(c->conf_dir); /* only when nothing else is in it */
    return r;
}

int cluster_purge(const struct cluster_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int r = nodes_purge(c, e);
    if (r == 0)
        r = unmount_below(&a, c->data_dir, e);
    if (r == 0)
        r = unmount_below(&a, c->run_dir, e);
    if (r < 0)
        return r;
    remove_network(&a, c);
    remove_cgroups(&a, c);
    r = remove_config(&a, c, e);
    if (r == 0)
        r = remove_tree(c->run_dir, e);
    return r < 0 ? r : remove_tree(c->data_dir, e);
}

/* ---- the command ---------------------------------------------------------------------------------------- */

struct down {
    struct cluster_config config;
    bool pods, purge;
    int code;
};

static int stop_process(struct down *d, struct err *e)
{
    pid_t pid = cluster_pid(&d->config);
    int status;
    if (!pid) {
        puts("The cluster is not running.");
        return 0;
    }
    os_kill(pid, SIGTERM);
    if (os_wait_pid(pid, &status, mono_add(os_mono(), SECONDS(30))) == -ETIMEDOUT)
        return err_set(e, -ETIMEDOUT, "the cluster's process (pid %d) did not end within 30 s; see %s/log/cube.log", (int)pid,
                       d->config.data_dir);
    puts("The cluster has stopped.");
    return 0;
}

/* A pod that does not go is no reason to keep the rest: when everything goes, the first error is kept for the end. */
static int stop_pods(struct down *d, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct containerd runtime;
    struct err later = {0};
    containerd_of_cluster(&a, &d->config, &runtime);
    int r = nodes_down(&d->config, !d->purge, e);
    if (r == 0 || d->purge) {
        int r2 = cri_stop_pods(runtime.socket, !d->purge, r == 0 ? e : &later);
        r = r < 0 ? r : r2;
    }
    if ((r == 0 || d->purge) && !runtime.foreign) {
        int r2 = containerd_stop(&runtime, r == 0 ? e : &later);
        r = r < 0 ? r : r2;
    }
    return r;
}

static void take_down(void *arg)
{
    struct down *d = arg;
    struct err e = {0};
    int r = stop_process(d, &e);
    if (r == 0 && !d->pods && !d->purge) /* a process that was killed could not do that */
        r = nodes_quiet(&d->config, &e);
    if (r == 0 && (d->pods || d->purge)) {
        r = stop_pods(d, &e);
        if (r == 0)
            puts("Its pods have ended.");
    }
    if (r == 0 && d->purge) {
        r = cluster_purge(&d->config, &e);
        if (r == 0)
            puts("Everything it left is removed.");
    }
    if (r < 0)
        d->code = complain(&e, r);
    else if (!d->pods && !d->purge)
        puts("Pods go on running; \"cube up\" takes them over again, \"cube down --pods\" ends them.");
}

int down_main(int argc, char **argv)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct down d = {0};
    struct err e = {0};
    int operands;
    struct flag flags[] = {
        CLUSTER_FLAGS(&d.config),
        {"pods", 0, FLAG_BOOL, &d.pods, "End the pods and containerd too; objects and images are kept"},
        {"purge", 0, FLAG_BOOL, &d.purge, "End the pods and remove all state, as if there had never been a cluster"},
        {0},
    };
    int r = cluster_flags("cube down [flags]", "Stops the cluster of this machine.", flags, argc, argv, &operands);
    if (r)
        return r - 1;
    if ((r = require_root("down")))
        return r;
    r = cluster_config_load(&a, &d.config, &e);
    if (r == 0)
        r = cluster_config_complete(&a, &d.config, &e);
    if (r < 0)
        return complain(&e, r);
    loop_run(take_down, &d);
    return d.code;
}
