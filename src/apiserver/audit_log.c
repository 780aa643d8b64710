/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log as a file, a line an event. A full one is renamed to NAME-TIME.EXT, as upstream's log library does, and those
 * that are too many or too old are removed. */
#include "apiserver/audit_sink-internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/os.h"

struct log_sender {
    struct audit_sender base;
    struct audit_log_config config;
    struct arena arena;
    int fd;   /* -1: standard output */
    off_t at; /* its end */
};

/* "/var/log/audit.log": folder "/var/log", stem "audit", extension ".log". */
struct log_name {
    const char *dir;
    struct str stem, ext;
};

static struct log_name split_name(struct arena *a, const char *path)
{
    struct str s = str_of(path);
    ssize_t slash = str_rfind(s, '/');
    struct str base = str_from(s, (size_t)(slash + 1));
    ssize_t dot = str_rfind(base, '.');
    size_t stem = dot > 0 ? (size_t)dot : base.n;
    const char *dir = slash < 0 ? "." : slash == 0 ? "/" : arena_cstr(a, str_n(s.p, (size_t)slash));
    return (struct log_name){.dir = dir, .stem = str_n(base.p, stem), .ext = str_from(base, stem)};
}

static const char *backup_name(struct arena *a, const struct log_name *n)
{
    struct wall now = os_wall();
    time_t seconds = (time_t)(now.ns / NSEC_PER_SEC);
    struct tm tm;
    char text[40];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H-%M-%S", &tm);
    return arena_printf(a, "%s/" STR_FMT "-%s.%03d" STR_FMT, n->dir, STR_ARG(n->stem), text,
                        (int)(now.ns % NSEC_PER_SEC / NSEC_PER_MSEC), STR_ARG(n->ext)).p;
}

/* The time in a backup's name; false when it is none of this log's. */
static bool backup_time(struct str file, const struct log_name *n, int64_t *ret_ns)
{
    struct tm tm = {0};
    int ms, used = 0;
    if (!str_starts(file, n->stem) || !str_ends(file, n->ext) || file.n < n->stem.n + 1 + n->ext.n || file.p[n->stem.n] != '-')
        return false;
    char text[32];
    struct str time = str_n(file.p + n->stem.n + 1, file.n - n->stem.n - 1 - n->ext.n);
    if (time.n != 23)
        return false;
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(time));
    if (sscanf(text, "%4d-%2d-%2dT%2d-%2d-%2d.%3d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms,
               &used) != 7 || used != 23)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_ns = (int64_t)timegm(&tm) * NSEC_PER_SEC + ms * NSEC_PER_MSEC;
    return true;
}

/* Removes backups that are too old, and the oldest of too many. Names are sorted, so the oldest come first. */
static void prune(struct log_sender *l)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct log_name name = split_name(&a, l->config.path);
    char **files;
    int64_t have = 0, when;
    if (os_list_dir(&a, name.dir, &files) < 0)
        return;
    for (char **f = files; *f; f++)
        have += backup_time(str_of(*f), &name, &when);
    for (char **f = files; *f; f++) {
        if (!backup_time(str_of(*f), &name, &when))
            continue;
        bool old = l->config.max_age_ns && os_wall().ns - when > l->config.max_age_ns;
        bool many = l->config.max_backups && have > l->config.max_backups;
        if (old || many) {
            os_unlink(arena_printf(&a, "%s/%s", name.dir, *f).p);
            have--;
        }
    }
}

static int open_file(struct log_sender *l, struct err *e)
{
    int fd = os_open(l->config.path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0)
        return err_set(e, fd, "audit log %s: %s", l->config.path, strerror(-fd));
    l->fd = fd;
    l->at = 0;
    os_fsize(fd, &l->at);
    return 0;
}

static int rotate(struct log_sender *l, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct log_name name = split_name(&a, l->config.path);
    int r = os_rename(l->config.path, backup_name(&a, &name));
    if (r < 0) /* it grows on: better than losing what is to be kept */
        return 0;
    int old = l->fd;
    r = open_file(l, e);
    if (r == 0)
        os_close(old);
    prune(l);
    return r;
}

static int write_all(struct log_sender *l, struct str s, struct err *e)
{
    if (l->fd < 0)
        return fwrite(s.p, 1, s.n, stdout) == s.n && fflush(stdout) == 0 ? 0 : err_set(e, -EIO, "standard output: %s", strerror(errno));
    while (s.n) {
        ssize_t n = os_pwrite(l->fd, s.p, s.n, l->at);
        if (n <= 0)
            return err_set(e, n ? (int)n : -EIO, "%s: %s", l->config.path, strerror(n ? (int)-n : EIO));
        l->at += n;
        s = str_from(s, (size_t)n);
    }
    return 0;
}

static int log_send(struct audit_sender *s, const struct str *events, size_t n, struct err *e)
{
    struct log_sender *l = (struct log_sender *)s;
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (size_t i = 0; i < n; i++) {
        buf_putstr(&b, events[i]);
        buf_putc(&b, '\n');
    }
    bool full = l->fd >= 0 && l->config.max_bytes && l->at && l->at + (off_t)b.n > l->config.max_bytes;
    int r = full ? rotate(l, e) : 0;
    return r < 0 ? r : write_all(l, buf_str(&b), e);
}

static void log_free(struct audit_sender *s)
{
    struct log_sender *l = (struct log_sender *)s;
    if (l->fd >= 0)
        os_close(l->fd);
    arena_done(&l->arena);
    free(l);
}

int audit_log_open(const struct audit_log_config *c, enum audit_mode mode, const struct audit_batching *b,
                   struct audit_sink **ret, struct err *e)
{
    struct log_sender *l = NEW(struct log_sender);
    l->base = (struct audit_sender){.name = "audit log", .send = log_send, .free = log_free};
    l->config = *c;
    l->config.path = arena_cstr(&l->arena, str_of(c->path));
    l->fd = -1;
    int r = strcmp(c->path, "-") ? open_file(l, e) : 0;
    if (r < 0) {
        log_free(&l->base);
        return r;
    }
    if (l->fd >= 0)
        prune(l);
    *ret = audit_sink_new(&l->base, mode, b);
    return 0;
}
