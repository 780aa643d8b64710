/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of container logs: one that has grown too large is moved aside as <name>.<time> and the runtime told to
 * begin a new one; of the old ones the newest few are kept.
 */
#include "node/kubelet-internal.h"

#include <fcntl.h>

#define PERIOD SECONDS(10)

static off_t file_size(const char *path)
{
    off_t n = 0;
    int fd = os_open(path, O_RDONLY, 0);
    if (fd < 0)
        return 0;
    os_fsize(fd, &n);
    os_close(fd);
    return n;
}

/* Old files of a log are named after it, and in the order of time. keep: how many of them. */
static void remove_old(struct arena *a, const char *path, int keep)
{
    struct str p = str_of(path);
    ssize_t slash = str_rfind(p, '/');
    struct str dir = str_slice(p, 0, (size_t)MAX(slash, (ssize_t)0));
    struct str prefix = arena_printf(a, STR_FMT ".", STR_ARG(str_from(p, (size_t)slash + 1)));
    char **names;
    int n = 0;
    if (os_list_dir(a, arena_cstr(a, dir), &names) < 0)
        return;
    for (char **name = names; *name; name++)
        n += str_starts(str_of(*name), prefix);
    for (; *names; names++)
        if (str_starts(str_of(*names), prefix) && n-- > keep)
            os_unlink(arena_printf(a, STR_FMT "/%s", STR_ARG(dir), *names).p);
}

static void rotate(struct kubelet *k, const char *path, struct str id)
{
    struct arena a = ARENA_INIT;
    char now[TIME_TEXT_MAX], stamp[TIME_TEXT_MAX];
    size_t n = 0;
    time_format(os_wall(), now);
    for (const char *p = now; *p; p++) /* 20060102T150405Z: sorts by time, and is a fit name everywhere */
        if (*p != '-' && *p != ':')
            stamp[n++] = *p;
    stamp[n] = 0;
    const char *old = arena_printf(&a, "%s.%s", path, stamp).p;
    remove_old(&a, path, MAX(k->cfg.log_max_files - 2, 0));
    if (os_rename(path, old) == 0) {
        struct err e = {{0}};
        int rc = runtime_reopen_log(k->rt, id, &e);
        if (rc != 0) {
            log_warn(LOG, "the runtime does not reopen the log %s: %s", path, err_text(&e, rc));
            os_rename(old, path);
        }
    }
    arena_done(&a);
}

struct large {
    struct list link;
    char *path, *id;
};

/* Found first and rotated then, as rotating waits and Pods may come and go meanwhile. */
static void find_large(struct kubelet *k, struct list *ret)
{
    MAP_EACH (&k->workers, m) {
        const struct worker *w = m->value;
        for (size_t i = 0; w->state && i < w->state->n_containers; i++) {
            const struct rt_container *c = &w->state->containers[i];
            if (c->state != RT_RUNNING || !c->log_path.n || file_size(c->log_path.p) <= k->cfg.log_max_size)
                continue;
            struct large *l = NEW(struct large);
            l->path = str_dup(c->log_path);
            l->id = str_dup(c->id);
            list_push_back(ret, &l->link);
        }
    }
}

void logrotate_run(void *arg)
{
    struct kubelet *k = arg;
    while (fiber_sleep(PERIOD) == 0) {
        struct list found = {0}, *link;
        find_large(k, &found);
        while ((link = list_pop_front(&found))) {
            struct large *l = LIST_ENTRY(link, struct large, link);
            rotate(k, l->path, str_of(l->id));
            free(l->path);
            free(l->id);
            free(l);
        }
    }
}
