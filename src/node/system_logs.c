/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's own logs, /var/log, as files and folders over HTTP: what `kubectl get --raw .../proxy/logs/` reads. Links are
 * followed only within that folder: a pod that may write there gets nobody to read him /etc/shadow. */
#include "net/http.h"

#include "base/os.h"
#include "net/url.h"
#include "node/kubelet-internal.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { CHUNK = 64 << 10, PATH_LENGTH_MAX = 4096 };

#define TEXT "text/plain; charset=utf-8"

static void escape_html(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        switch (s.p[i]) {
        case '&': buf_puts(b, "&amp;"); break;
        case '<': buf_puts(b, "&lt;"); break;
        case '>': buf_puts(b, "&gt;"); break;
        case '"': buf_puts(b, "&#34;"); break;
        case '\'': buf_puts(b, "&#39;"); break;
        default: buf_putc(b, s.p[i]);
        }
}

/* A line a name, as Go's file server has it; "./" because a name may look like the beginning of a URL. */
void system_logs_index(char *const *names, const bool *dirs, struct buf *ret)
{
    buf_puts(ret, "<!doctype html>\n<pre>\n");
    for (size_t i = 0; names[i]; i++) {
        buf_puts(ret, "<a href=\"./");
        url_encode_segment(ret, str_of(names[i]));
        buf_printf(ret, "%s\">", dirs[i] ? "/" : "");
        escape_html(ret, str_of(names[i]));
        buf_printf(ret, "%s</a>\n", dirs[i] ? "/" : "");
    }
    buf_puts(ret, "</pre>\n");
}

static void serve_folder(struct http_exchange *x, int fd)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char **names;
    int r = os_list_dir(&x->arena, arena_printf(&x->arena, "/proc/self/fd/%d", fd).p, &names);
    if (r < 0) {
        http_respond(x, 500, TEXT, STR("Error reading directory\n"));
        return;
    }
    size_t n = 0;
    while (names[n])
        n++;
    bool *dirs = ARENA_ARRAY(&x->arena, bool, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        dirs[i] = fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    }
    system_logs_index(names, dirs, &b);
    http_respond(x, 200, "text/html; charset=utf-8", buf_str(&b));
}

static void serve_file(struct http_exchange *x, int fd)
{
    char *piece = arena_alloc(&x->arena, CHUNK);
    ssize_t n = os_pread(fd, piece, CHUNK, 0);
    bool binary = n > 0 && memchr(piece, 0, MIN((size_t)n, (size_t)512));
    http_add_header(x, "X-Content-Type-Options", STR("nosniff"));
    if (n < 0 || http_start(x, 200, binary ? "application/octet-stream" : TEXT, -1) < 0)
        return;
    for (off_t at = 0; n > 0; at += n, n = os_pread(fd, piece, CHUNK, at))
        if (http_write(x, str_n(piece, (size_t)n), mono_add(os_mono(), SECONDS(60))) < 0)
            return;
    if (n < 0)
        http_abort(x);
}

/* Links are relative, so that a folder has to end with a slash. */
static void redirect_to_folder(struct http_exchange *x)
{
    struct str name = str_from(x->path, (size_t)str_rfind(x->path, '/') + 1);
    http_add_header(x, "Location", arena_printf(&x->arena, "./" STR_FMT "/", STR_ARG(name)));
    http_respond(x, 301, NULL, STR(""));
}

void serve_system_logs(struct kubelet *k, struct http_exchange *x)
{
    struct str path = str_from(x->path, strlen("/logs"));
    struct stat st;
    if (k->cfg.no_system_logs || !k->host->ops->open_log || !str_is(x->method, "GET")) {
        http_respond(x, 405, TEXT, k->cfg.no_system_logs ? STR("logs endpoint is disabled.\n") : STR("Method Not Allowed\n"));
        return;
    }
    bool slash = str_ends(path, STR("/"));
    while (path.n && path.p[0] == '/')
        path = str_from(path, 1);
    int fd = -ENOENT;
    if (path.n < PATH_LENGTH_MAX && url_decode(&x->arena, path, false, &path) == 0 && !memchr(path.p ? path.p : "", 0, path.n))
        fd = k->host->ops->open_log(k->host, arena_cstr(&x->arena, path));
    if (fd < 0 || fstat(fd, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
        http_respond(x, fd == -EACCES ? 403 : 404, TEXT, fd == -EACCES ? STR("403 Forbidden\n") : STR("404 page not found\n"));
    else if (S_ISDIR(st.st_mode) && !slash)
        redirect_to_folder(x);
    else if (S_ISDIR(st.st_mode))
        serve_folder(x, fd);
    else
        serve_file(x, fd);
    if (fd >= 0)
        os_close(fd);
}
