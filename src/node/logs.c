/* SPDX-License-Identifier: Apache-2.0 */
/* Serving container logs: the last lines, those since a time, and those to come. */
#include "net/http.h"

#include "net/url.h"
#include "node/crilog.h"
#include "node/kubelet-internal.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { CHUNK = 64 << 10 };

#define TEXT "text/plain; charset=utf-8"

struct log_options {
    bool follow, previous, timestamps;
    bool no_stdout, no_stderr;
    int64_t tail;        /* lines; -1: all */
    int64_t limit;       /* bytes; -1: none */
    struct wall since;   /* 0: from the start */
};

/* ---- what is asked for --------------------------------------------------------------------------------------- */

static int get_int(struct arena *a, struct str query, const char *key, int64_t *to, struct err *e)
{
    struct str text;
    if (!query_get(a, query, key, &text) || !text.n)
        return 0;
    if (str_to_i64(text, to) < 0 || *to < 0)
        return err_set(e, -EINVAL, "%s: Invalid value: \"" STR_FMT "\": must be greater than or equal to 0", key,
                       STR_ARG(text));
    return 0;
}

static int read_options(struct http_exchange *x, struct log_options *ret, struct err *e)
{
    struct arena *a = &x->arena;
    struct log_options o = {.tail = -1, .limit = -1};
    int64_t seconds = -1;
    struct str text;
    o.follow = query_bool(a, x->query, "follow", false);
    o.previous = query_bool(a, x->query, "previous", false);
    o.timestamps = query_bool(a, x->query, "timestamps", false);
    int r = get_int(a, x->query, "tailLines", &o.tail, e);
    if (r == 0)
        r = get_int(a, x->query, "limitBytes", &o.limit, e);
    if (r == 0)
        r = get_int(a, x->query, "sinceSeconds", &seconds, e);
    if (r == 0 && seconds >= 0)
        o.since.ns = os_wall().ns - SECONDS(MIN(seconds, (int64_t)UINT32_MAX));
    if (r == 0 && query_get(a, x->query, "sinceTime", &text) && text.n && time_parse(text, &o.since) < 0)
        r = err_set(e, -EINVAL, "sinceTime: Invalid value: \"" STR_FMT "\"", STR_ARG(text));
    if (r == 0 && query_get(a, x->query, "stream", &text)) {
        o.no_stdout = str_is(text, "Stderr");
        o.no_stderr = str_is(text, "Stdout");
    }
    *ret = o;
    return r;
}

/* The log file of the container's present or last life; NULL with an answer already given. */
static const char *find_log(struct http_exchange *x, struct worker *w, struct str container, bool previous,
                            struct str *ret_id)
{
    const struct rt_container *c = podstate_find(w->state, container), *found = c;
    const char *why = NULL;
    if (previous) {
        found = NULL;
        for (size_t i = 0; w->state && i < w->state->n_containers && !found; i++)
            if (&w->state->containers[i] != c && str_eq(w->state->containers[i].name, container))
                found = &w->state->containers[i];
        /* One that waits for its next life has only a last one. */
        if (!found && c && c->state == RT_EXITED && container_to_start(worker_pod(w), pod_find_container(worker_pod(w), container, NULL), w->state))
            found = c;
        if (!found)
            why = arena_printf(&x->arena, "previous terminated container \"" STR_FMT "\" in pod \"%s\" not found",
                               STR_ARG(container), w->name).p;
    } else if (!c || c->state == RT_CREATED) {
        const struct container_book *b = map_get(&w->books, container);
        struct str reason = b && b->reason.reason.n ? b->reason.reason : STR("ContainerCreating");
        if (!(b && b->reason.reason.n) && val_len(pod_containers(worker_pod(w), CK_INIT)))
            reason = STR("PodInitializing");
        const char *text = str_is(reason, "ErrImagePull")       ? "image can't be pulled"
                           : str_is(reason, "ImagePullBackOff") ? "trying and failing to pull image"
                                                                : arena_cstr(&x->arena, reason);
        why = arena_printf(&x->arena, "container \"" STR_FMT "\" in pod \"%s\" is waiting to start: %s", STR_ARG(container),
                           w->name, text).p;
    }
    if (why) {
        http_respond(x, 400, TEXT, str_of(why));
        return NULL;
    }
    *ret_id = arena_str(&x->arena, found->id);
    return arena_cstr(&x->arena, found->log_path);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

struct reader {
    struct http_exchange *x;
    struct log_options o;
    const char *path;
    int fd;
    off_t at;
    struct buf pending; /* the start of a line whose end was not written yet */
    struct buf out;
    int64_t written;
    bool line_open; /* the last output line is to be continued */
    bool full;      /* limit reached */
};

static off_t size_of(int fd)
{
    off_t n;
    return os_fsize(fd, &n) == 0 ? n : 0;
}

/* Moves to where the last `tail` lines begin, reading backwards block by block. */
static void seek_tail(struct reader *r)
{
    off_t end = size_of(r->fd), at = end;
    int64_t lines = r->o.tail;
    char *block = xmalloc(CHUNK);
    bool last = true;
    if (lines < 0)
        end = 0;
    r->at = lines == 0 ? end : 0;
    while (lines > 0 && at > 0) {
        size_t n = (size_t)MIN((off_t)CHUNK, at);
        at -= (off_t)n;
        if (os_pread(r->fd, block, n, at) != (ssize_t)n)
            break;
        for (size_t i = n; i-- > 0;) {
            bool final_newline = last && at + (off_t)i + 1 == end;
            if (block[i] == '\n' && !final_newline && --lines == 0) {
                r->at = at + (off_t)i + 1;
                break;
            }
        }
        last = false;
    }
    free(block);
}

static int flush(struct reader *r)
{
    int rc = r->out.n ? http_write(r->x, buf_str(&r->out), mono_add(os_mono(), SECONDS(120))) : 0;
    buf_clear(&r->out);
    return rc;
}

static void emit(struct reader *r, struct str s)
{
    if (r->o.limit >= 0 && r->written + (int64_t)s.n >= r->o.limit) {
        s.n = (size_t)MAX(r->o.limit - r->written, (int64_t)0);
        r->full = true;
    }
    buf_putstr(&r->out, s);
    r->written += (int64_t)s.n;
}

static void take_line(struct reader *r, struct str line)
{
    struct crilog_line l;
    if (crilog_parse(line, &l) < 0 || l.time.ns < r->o.since.ns || (l.from_stderr ? r->o.no_stderr : r->o.no_stdout))
        return;
    if (r->o.timestamps && !r->line_open) {
        emit(r, l.stamp);
        emit(r, STR(" "));
    }
    emit(r, l.text);
    if (!l.partial)
        emit(r, STR("\n"));
    r->line_open = l.partial;
}

/* Reads on: 1 when there was something, 0 at the end of what is there. */
static int read_some(struct reader *r)
{
    char *p = buf_grow(&r->pending, CHUNK);
    ssize_t n = os_pread(r->fd, p, CHUNK, r->at);
    if (n <= 0)
        return (int)n;
    r->at += n;
    r->pending.n += (size_t)n;
    size_t used = 0;
    while (!r->full) {
        char *nl = memchr(r->pending.p + used, '\n', r->pending.n - used);
        if (!nl)
            break;
        take_line(r, str_n(r->pending.p + used, (size_t)(nl - r->pending.p) - used));
        used = (size_t)(nl - r->pending.p) + 1;
    }
    buf_consume(&r->pending, used);
    if (r->pending.n > (1 << 20)) /* no line of a runtime is that long */
        buf_clear(&r->pending);
    return 1;
}

/* Has the file been moved aside and a new one begun (rotation)? Then goes on with the new one. */
static bool reopened(struct reader *r)
{
    struct stat a, b;
    if (stat(r->path, &a) < 0 || fstat(r->fd, &b) < 0 || (a.st_ino == b.st_ino && a.st_dev == b.st_dev))
        return false;
    int fd = os_open(r->path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    os_close(r->fd);
    r->fd = fd;
    r->at = 0;
    buf_clear(&r->pending);
    return true;
}

static bool still_writes(struct kubelet *k, struct str uid, struct str id)
{
    struct worker *w = worker_find(k, uid);
    const struct rt_container *c = w ? podstate_find_id(w->state, id) : NULL;
    return c && c->state == RT_RUNNING;
}

static void stream(struct kubelet *k, struct reader *r, struct str uid, struct str id)
{
    struct str dir = str_slice(str_of(r->path), 0, (size_t)MAX(str_rfind(str_of(r->path), '/'), (ssize_t)0));
    const char *folder = arena_cstr(&r->x->arena, dir);
    bool alive = true;
    while (!r->full) {
        bool was_alive = alive;
        int n = read_some(r);
        if (flush(r) < 0 || n < 0)
            return;
        if (n > 0)
            continue;
        if (!r->o.follow || !was_alive)
            return; /* read once more after its end: nothing was missed */
        alive = still_writes(k, uid, id);
        if (!alive || reopened(r))
            continue;
        k->host->ops->watch_dir(k->host, folder, mono_add(os_mono(), MILLISECONDS(500)));
        if (http_gone(r->x) || http_stopping(r->x) || fiber_cancelled())
            return;
    }
}

void serve_logs(struct kubelet *k, struct http_exchange *x, struct worker *w, struct str container)
{
    struct reader r = {.x = x, .fd = -1};
    struct err e = {{0}};
    struct str uid = arena_str(&x->arena, str_of(w->uid)), id;
    if (read_options(x, &r.o, &e) < 0) {
        http_respond(x, 422, TEXT, str_of(e.text));
        return;
    }
    r.path = find_log(x, w, container, r.o.previous, &id);
    if (!r.path)
        return;
    r.fd = os_open(r.path, O_RDONLY, 0);
    if (r.fd < 0) {
        http_respond(x, r.fd == -ENOENT ? 200 : 500, TEXT, r.fd == -ENOENT ? STR("") : STR("the log cannot be opened"));
        return;
    }
    seek_tail(&r);
    if (http_start(x, 200, TEXT, -1) == 0)
        stream(k, &r, uid, id);
    flush(&r);
    os_close(r.fd);
    buf_done(&r.pending);
    buf_done(&r.out);
}
