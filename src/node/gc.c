/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clearing away what nobody needs: folders, logs and cgroups of Pods that are gone (a node that lost power in between
 * leaves such things), and images when the disk fills up.
 */
#include "node/kubelet-internal.h"

#include <sys/stat.h>
#include <unistd.h>

#define PERIOD SECONDS(60)
#define SETTLED SECONDS(15) /* all that is done once is done */

static bool known(struct kubelet *k, struct str uid)
{
    return worker_find(k, uid) || map_has(&k->records, uid);
}

static bool ready(struct kubelet *k)
{
    return k->relisted && (!k->pods || replica_synced(k->pods)) && k->statics_seen && k->runtime_ready;
}

/* ---- folders ---------------------------------------------------------------------------------------------------- */

static void clear_pod_dirs(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    struct err e = {{0}};
    char **names;
    if (k->host->ops->list_dir(k->host, &a, arena_printf(&a, "%s/pods", k->cfg.root_dir).p, &names) == 0)
        for (; *names; names++)
            if (!known(k, str_of(*names)) &&
                (volumes_tear_down(k, str_of(*names), &e) < 0 ||
                 k->host->ops->remove_tree(k->host, pod_dir(&a, k->cfg.root_dir, str_of(*names)).p, &e) < 0))
                log_warn(LOG, "orphaned pod %s: %s", *names, e.text);
    arena_done(&a);
}

/* "<ns>_<name>_<uid>" */
static void clear_log_dirs(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    char **names;
    if (k->host->ops->list_dir(k->host, &a, k->cfg.pod_logs_dir, &names) == 0)
        for (; *names; names++) {
            ssize_t at = str_rfind(str_of(*names), '_');
            if (at > 0 && !known(k, str_from(str_of(*names), (size_t)at + 1)))
                k->host->ops->remove_tree(k->host, arena_printf(&a, "%s/%s", k->cfg.pod_logs_dir, *names).p, NULL);
        }
    arena_done(&a);
}

/* Links to logs that are gone. */
static void clear_log_links(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    char **names;
    if (k->cfg.container_logs_dir && k->host->ops->list_dir(k->host, &a, k->cfg.container_logs_dir, &names) == 0)
        for (; *names; names++) {
            const char *path = arena_printf(&a, "%s/%s", k->cfg.container_logs_dir, *names).p;
            struct stat st;
            if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && access(path, F_OK) < 0 && errno == ENOENT)
                os_unlink(path);
        }
    arena_done(&a);
}

static void clear_cgroups(struct kubelet *k)
{
    for (enum qos_class q = QOS_GUARANTEED; q <= QOS_BEST_EFFORT; q++) {
        struct arena a = ARENA_INIT;
        struct str path = qos_cgroup_path(&a, k->cfg.cgroup_root, q);
        char **names;
        if (k->host->ops->cgroup_list(k->host, &a, path.p, &names) == 0)
            for (; *names; names++)
                if (str_starts(str_of(*names), STR("pod")) && !known(k, str_from(str_of(*names), 3)))
                    k->host->ops->cgroup_remove(k->host, arena_printf(&a, STR_FMT "/%s", STR_ARG(path), *names).p, NULL);
        arena_done(&a);
    }
}

/* ---- images ------------------------------------------------------------------------------------------------------ */

static bool is_called(const struct val *image, struct str name)
{
    VAL_EACH (val_get(image, N_repo_tags), t)
        if (str_eq(val_str(t), name))
            return true;
    return false;
}

/* sandbox: the image of sandboxes, that no container has. Runtimes say that it is pinned; containerd before 1.7 does not. */
static bool in_use(struct kubelet *k, const struct val *image, struct str sandbox)
{
    struct str id = val_getstr(image, N_id);
    if (sandbox.n && is_called(image, sandbox))
        return true;
    MAP_EACH (&k->records, m) {
        const struct pod_record *r = m->value;
        for (size_t i = 0; r->state && i < r->state->n_containers; i++) {
            const struct rt_container *c = &r->state->containers[i];
            if (str_eq(c->image_ref, id) || str_eq(c->image, id) || is_called(image, c->image_ref) || is_called(image, c->image))
                return true;
            VAL_EACH (val_get(image, N_repo_digests), d)
                if (str_eq(val_str(d), c->image_ref))
                    return true;
        }
    }
    return false;
}

static int used_percent(struct kubelet *k)
{
    struct host_usage u;
    if (k->host->ops->usage(k->host, &u) < 0 || u.fs_bytes <= 0)
        return 0;
    return 100 - (int)(u.fs_available * 100 / u.fs_bytes);
}

/* When an image was first seen unused; it must have been so for a while before it may go. */
static struct wall *unused_since(struct kubelet *k, struct str id, struct wall now)
{
    struct wall *t = map_get(&k->unused_images, id);
    if (!t) {
        t = NEW(struct wall);
        *t = now;
        map_put(&k->unused_images, id, t);
    }
    return t;
}

/* The image that has been unused for longest; NULL when none may go. */
static const struct val *oldest_unused(struct kubelet *k, const struct val *images, struct str sandbox, struct wall now)
{
    const struct val *oldest = NULL;
    int64_t when = now.ns - k->cfg.image_min_age;
    VAL_EACH (images, image) {
        struct str id = val_getstr(image, N_id);
        if (in_use(k, image, sandbox) || val_bool(val_get(image, N_pinned), false)) {
            free(map_del(&k->unused_images, id));
            continue;
        }
        struct wall *since = unused_since(k, id, now);
        if (since->ns <= when) {
            when = since->ns;
            oldest = image;
        }
    }
    return oldest;
}

void gc_dead_containers(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    size_t n = 0, most = 0;
    MAP_EACH (&k->records, m)
        most += ((const struct pod_record *)m->value)->state ? ((const struct pod_record *)m->value)->state->n_containers : 0;
    struct str *ids = ARENA_ARRAY(&a, struct str, most);
    MAP_EACH (&k->records, m) {
        const struct pod_record *r = m->value;
        const struct worker *w = worker_find(k, m->key);
        if (w && w->stage < WORKER_FINISHED)
            continue; /* the newest of each name is its status */
        for (size_t i = 0; r->state && i < r->state->n_containers; i++)
            if (r->state->containers[i].state == RT_EXITED)
                ids[n++] = arena_str(&a, r->state->containers[i].id);
    }
    for (size_t i = 0; i < n; i++)
        runtime_remove_container(k->rt, ids[i], NULL);
    arena_done(&a);
}

void gc_unused_images(struct kubelet *k)
{
    struct arena a = ARENA_INIT;
    const struct val *images;
    struct str sandbox = runtime_sandbox_image(k->rt, &a);
    if (runtime_images(k->rt, &a, &images, NULL) == 0)
        VAL_EACH (images, image) {
            struct str id = val_getstr(image, N_id);
            if (in_use(k, image, sandbox) || val_bool(val_get(image, N_pinned), false))
                continue;
            log_info(LOG, "removing image " STR_FMT ": the node is short of disk", STR_ARG(id));
            if (runtime_remove_image(k->rt, id, NULL) == 0)
                k->images_dirty = true;
            free(map_del(&k->unused_images, id));
        }
    arena_done(&a);
}

static void clear_images(struct kubelet *k)
{
    bool full = used_percent(k) >= k->cfg.image_gc_high;
    struct arena own CLEANUP_ARENA = ARENA_INIT;
    struct str sandbox = full ? runtime_sandbox_image(k->rt, &own) : STR_NULL; /* nothing goes before */
    for (unsigned n = 0; n < 1000; n++) {
        struct arena a = ARENA_INIT;
        const struct val *images = NULL, *victim = NULL;
        bool removed = false;
        if (runtime_images(k->rt, &a, &images, NULL) == 0)
            victim = oldest_unused(k, images, sandbox, os_wall());
        if (victim && full && used_percent(k) > k->cfg.image_gc_low) {
            struct str id = val_getstr(victim, N_id);
            log_info(LOG, "removing image " STR_FMT ": the disk is filling up", STR_ARG(id));
            removed = runtime_remove_image(k->rt, id, NULL) == 0;
            free(map_del(&k->unused_images, id));
            k->images_dirty = true;
        }
        arena_done(&a);
        if (!removed)
            break;
    }
    if (full && used_percent(k) >= k->cfg.image_gc_high)
        node_event(k, true, "FreeDiskSpaceFailed", "the disk is %d%% full and no image is left to remove", used_percent(k));
}

void gc_run(void *arg)
{
    struct kubelet *k = arg;
    bool real = !k->cfg.runtime; /* then the process is mostly ours */
    size_t workers = 0;          /* at the last time that memory was given back */
    if (real && fiber_sleep(SETTLED) == 0)
        os_give_back(true);
    while (fiber_sleep(PERIOD) == 0) {
        if (real && workers != k->workers.n) {
            os_give_back(false);
            workers = k->workers.n;
        }
        if (!ready(k))
            continue;
        clear_pod_dirs(k);
        clear_log_dirs(k);
        clear_log_links(k);
        if (!k->cfg.no_cgroups)
            clear_cgroups(k);
        clear_images(k);
    }
    map_done_with(&k->unused_images, free);
}
