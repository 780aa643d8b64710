/* SPDX-License-Identifier: Apache-2.0 */
/* cp: a tar on each side of an exec. What comes out of a container is not trusted: see tar_place(). */
#include "cli/commands.h"
#include "cli/pods.h"
#include "cli/remote.h"
#include "cli/request.h"
#include "base/tar.h"

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_spec {
    struct str ns, pod, path; /* pod empty: here */
};

struct copy {
    struct cli *c;
    const char *container;
    bool no_preserve;
    int64_t retries;
    struct file_spec from, to;
};

/* "[[namespace/]pod:]path" */
static int parse_spec(struct cli *c, const char *arg, struct file_spec *ret)
{
    struct str pod, path, ns, name;
    *ret = (struct file_spec){.ns = c->ns, .path = str_of(arg)};
    if (!str_cut(str_of(arg), ':', &pod, &path))
        return 0;
    if (str_cut(pod, '/', &ns, &name))
        pod = name;
    else
        ns = c->ns;
    if (!pod.n || str_find(pod, '/') >= 0 || !ns.n)
        return cli_fail(c, "filespec must match the canonical format: [[namespace/]pod:]file/path");
    *ret = (struct file_spec){.ns = arena_str(&c->a, ns), .pod = arena_str(&c->a, pod), .path = arena_str(&c->a, path)};
    return 0;
}

/* ---- running in the container ----------------------------------------------------------------------------------- */

static int discard(void *arg UNUSED, struct str data UNUSED)
{
    return 0;
}

static int remote_of(struct copy *x, const struct file_spec *at, struct remote *r)
{
    struct val *pod;
    const struct val *container;
    struct status s;
    if (request_get(x->c, kind_at(x->c, RES_PODS), at->ns, at->pod, NULL, &pod, &s))
        return cli_refused(x->c, &s);
    int code = pod_default_container(x->c, pod, x->container, true, &container);
    if (code)
        return code;
    *r = (struct remote){.ns = at->ns, .pod = at->pod, .container = val_getstr(container, N_name), .sub = "exec", .quiet = true};
    return 0;
}

static bool is_remote_dir(struct copy *x, struct remote r, struct str path)
{
    char *command[] = {(char *)"test", (char *)"-d", arena_cstr(&x->c->a, path), NULL};
    r.command = command;
    r.write_out = r.write_err = discard;
    return remote_run(x->c, &r) == 0;
}

/* ---- to the container ------------------------------------------------------------------------------------------- */

struct packed {
    const char *path;
    struct tar_entry entry;
};

/* The files to send, and how far the sending is. */
struct pack {
    struct copy *x;
    struct packed *files;
    size_t n, cap, at;
    struct buf ready; /* headers and padding to send next */
    int fd;           /* of the file that is sent, -1 for none */
    uint64_t sent;
    bool ended;
};

static void add_file(struct pack *p, const char *path, struct str name, const struct stat *st, char type, struct str link)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->files = xrealloc(p->files, p->cap * sizeof(*p->files));
    }
    p->files[p->n++] = (struct packed){
        path, {.name = name, .link = link, .type = type, .mode = st->st_mode & 07777,
               .size = type == TAR_FILE ? (uint64_t)st->st_size : 0, .mtime = st->st_mtime}};
}

static int walk(struct cli *c, struct pack *p, const char *path, struct str name)
{
    struct stat st;
    char **names, target[4096];
    if (lstat(path, &st) < 0)
        return cli_fail(c, "lstat %s: %s", path, strerror(errno));
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
            return cli_fail(c, "readlink %s: %s", path, strerror(errno));
        add_file(p, path, name, &st, TAR_SYMLINK, arena_str(&c->a, str_n(target, (size_t)n)));
        return 0;
    }
    if (S_ISREG(st.st_mode)) {
        add_file(p, path, name, &st, TAR_FILE, STR_NULL);
        return 0;
    }
    if (!S_ISDIR(st.st_mode))
        return 0;
    int r = os_list_dir(&c->a, path, &names);
    if (r < 0)
        return cli_fail(c, "open %s: %s", path, strerror(-r));
    if (!names[0])
        add_file(p, path, cli_printf(c, STR_FMT "/", STR_ARG(name)), &st, TAR_DIR, STR_NULL);
    for (char **f = names; *f; f++) {
        r = walk(c, p, cli_printf(c, "%s/%s", path, *f).p, cli_printf(c, STR_FMT "/%s", STR_ARG(name), *f));
        if (r)
            return r;
    }
    return 0;
}

static void start_next(struct pack *p)
{
    buf_clear(&p->ready);
    if (p->at == p->n) {
        if (!p->ended)
            tar_end(&p->ready);
        p->ended = true;
        return;
    }
    struct packed *f = &p->files[p->at];
    if (f->entry.type == TAR_FILE) {
        p->fd = os_open(f->path, O_RDONLY, 0);
        if (p->fd < 0) {
            cli_note(p->x->c, "error: open %s: %s", f->path, strerror(-p->fd));
            p->at++;
            start_next(p);
            return;
        }
    }
    p->sent = 0;
    tar_put(&p->ready, &f->entry);
    if (f->entry.type != TAR_FILE)
        p->at++;
}

/* The file may have shrunk or grown since its header was sent: the header counts. */
static ssize_t send_content(struct pack *p, char *to, size_t n)
{
    struct packed *f = &p->files[p->at];
    size_t want = (size_t)MIN((uint64_t)n, f->entry.size - p->sent);
    ssize_t got = want ? os_pread(p->fd, to, want, (off_t)p->sent) : 0;
    if (want && got <= 0) {
        memset(to, 0, want);
        got = (ssize_t)want;
    }
    p->sent += (uint64_t)got;
    if (p->sent == f->entry.size) {
        os_close(TAKE_FD(p->fd));
        buf_clear(&p->ready);
        tar_pad(&p->ready, f->entry.size);
        p->at++;
    }
    return got;
}

static ssize_t next_bytes(void *arg, void *to, size_t n)
{
    struct pack *p = arg;
    for (;;) {
        if (p->ready.n) {
            size_t k = MIN(n, p->ready.n);
            memcpy(to, p->ready.p, k);
            buf_consume(&p->ready, k);
            return (ssize_t)k;
        }
        if (p->fd >= 0) {
            ssize_t got = send_content(p, to, n);
            if (got > 0)
                return got;
            continue;
        }
        if (p->ended)
            return 0;
        start_next(p);
    }
}

static int to_container(struct copy *x)
{
    struct cli *c = x->c;
    struct pack p = {.x = x, .fd = -1};
    struct remote r;
    struct stat st;
    const char *here = arena_cstr(&c->a, path_clean(&c->a, x->from.path));
    if (stat(here, &st) < 0)
        return cli_fail(c, STR_FMT " doesn't exist in local filesystem", STR_ARG(x->from.path));
    int code = remote_of(x, &x->to, &r);
    if (code)
        return code;
    struct str there = x->to.path, base = str_from(str_of(here), (size_t)(str_rfind(str_of(here), '/') + 1));
    if (is_remote_dir(x, r, there))
        there = cli_printf(c, STR_FMT "/" STR_FMT, STR_ARG(there), STR_ARG(base));
    there = path_clean(&c->a, there);
    ssize_t slash = str_rfind(there, '/');
    struct str dir = slash < 0 ? STR(".") : slash == 0 ? STR("/") : str_slice(there, 0, (size_t)slash);
    code = walk(c, &p, here, arena_str(&c->a, str_from(there, (size_t)(slash + 1))));
    if (code)
        return code;
    char *command[10], **w = command;
    *w++ = (char *)"tar";
    if (x->no_preserve) {
        *w++ = (char *)"--no-same-permissions";
        *w++ = (char *)"--no-same-owner";
    }
    *w++ = (char *)"-xmf";
    *w++ = (char *)"-";
    *w++ = (char *)"-C";
    *w++ = arena_cstr(&c->a, dir);
    *w = NULL;
    r.command = command;
    r.stdin_ = true;
    r.read_in = next_bytes;
    r.arg = &p;
    r.quiet = false;
    return remote_run(c, &r);
}

/* ---- from the container ------------------------------------------------------------------------------------------ */

struct unpack {
    struct copy *x;
    struct tar_reader reader;
    struct str prefix, dest;
    int fd; /* of the file that is written, -1 for none */
    off_t at;
    bool warned_symlink;
    int code; /* 1: said */
    struct err e;
};

static void warn_symlink(struct unpack *u, struct str path, struct str target)
{
    struct copy *x = u->x;
    if (u->warned_symlink) {
        cli_note(x->c, "warning: skipping symlink: \"" STR_FMT "\" -> \"" STR_FMT "\"", STR_ARG(path), STR_ARG(target));
        return;
    }
    u->warned_symlink = true;
    cli_note(x->c, "warning: skipping symlink: \"" STR_FMT "\" -> \"" STR_FMT "\" (consider using \"kubectl exec -n \"" STR_FMT
                   "\" \"" STR_FMT "\" -- tar cf - \"" STR_FMT "\" | tar xf -\")",
             STR_ARG(path), STR_ARG(target), STR_ARG(x->from.ns), STR_ARG(x->from.pod), STR_ARG(x->from.path));
}

static int make_parent(struct cli *c, struct str path)
{
    ssize_t slash = str_rfind(path, '/');
    if (slash <= 0)
        return 0;
    int r = os_mkdir_all(arena_cstr(&c->a, str_slice(path, 0, (size_t)slash)), 0755);
    return r < 0 ? cli_fail(c, "mkdir " STR_FMT ": %s", slash > 0 ? (int)slash : 0, path.p, strerror(-r)) : 0;
}

static int begin(void *arg, const struct tar_entry *e)
{
    struct unpack *u = arg;
    struct cli *c = u->x->c;
    struct str path;
    struct str name = e->name;
    while (str_starts(name, STR("/")))
        name = str_from(name, 1);
    int r = tar_place(&c->a, u->dest, u->prefix, name, &path);
    if (r == -EPERM) {
        cli_note(c, "warning: file \"" STR_FMT "\" is outside target destination, skipping", STR_ARG(path));
        return 0;
    }
    if (r < 0)
        return u->code = cli_fail(c, "tar contents corrupted"), -ECANCELED;
    if (make_parent(c, path))
        return u->code = 1, -ECANCELED;
    const char *p = arena_cstr(&c->a, path);
    if (e->type == TAR_DIR) {
        r = os_mkdir_all(p, 0755);
        return r < 0 ? (u->code = cli_fail(c, "mkdir %s: %s", p, strerror(-r)), -ECANCELED) : 0;
    }
    if (e->type == TAR_SYMLINK || e->type == TAR_HARD_LINK) {
        warn_symlink(u, path, e->link);
        return 0;
    }
    u->fd = os_open(p, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    u->at = 0;
    if (u->fd < 0)
        return u->code = cli_fail(c, "open %s: %s", p, strerror(-u->fd)), -ECANCELED;
    return 0;
}

static int content(void *arg, struct str data)
{
    struct unpack *u = arg;
    while (u->fd >= 0 && data.n) {
        ssize_t n = os_pwrite(u->fd, data.p, data.n, u->at);
        if (n <= 0)
            return u->code = cli_fail(u->x->c, "write: %s", n < 0 ? strerror((int)-n) : "no space"), -ECANCELED;
        u->at += n;
        data = str_from(data, (size_t)n);
    }
    return 0;
}

static int end(void *arg)
{
    struct unpack *u = arg;
    if (u->fd >= 0)
        os_close(TAKE_FD(u->fd));
    return 0;
}

static int take_bytes(void *arg, struct str data)
{
    struct unpack *u = arg;
    int r = u->code ? -ECANCELED : tar_feed(&u->reader, data, &u->e);
    if (r < 0 && !u->code)
        u->code = cli_fail(u->x->c, "%s", err_text(&u->e, r));
    return r;
}

/* What the names in the archive start with: the path without its root and without ways out of it. */
static struct str archive_prefix(struct cli *c, struct str path)
{
    struct str s = path_clean(&c->a, path);
    while (str_starts(s, STR("/")))
        s = str_from(s, 1);
    while (str_starts(s, STR("../")))
        s = str_from(s, 3);
    return str_is(s, ".") || str_is(s, "..") ? STR("") : s;
}

static int from_container(struct copy *x)
{
    struct cli *c = x->c;
    struct remote r;
    struct unpack u = {.x = x, .fd = -1, .prefix = archive_prefix(c, x->from.path), .dest = x->to.path};
    const struct tar_sink sink = {begin, content, end, &u};
    int code = remote_of(x, &x->from, &r);
    if (code)
        return code;
    char *command[] = {(char *)"tar", (char *)"cf", (char *)"-", arena_cstr(&c->a, x->from.path), NULL};
    r.command = command;
    r.write_out = take_bytes;
    r.arg = &u;
    r.quiet = false;
    tar_reader_init(&u.reader, &sink);
    code = remote_run(c, &r);
    if (u.fd >= 0)
        os_close(u.fd);
    if (!code && !u.code && !tar_complete(&u.reader))
        u.code = cli_fail(c, "unexpected EOF");
    tar_reader_done(&u.reader);
    return u.code ? u.code : code;
}

int cmd_cp(struct cli *c, int argc, char **argv)
{
    struct copy x = {.c = c};
    struct flag flags[] = {
        {"container", 'c', FLAG_STRING, &x.container, "Container; the annotated or the first one unless given"},
        {"no-preserve", 0, FLAG_BOOL, &x.no_preserve, "Owners and permissions need not stay"},
        {"retries", 0, FLAG_INT, &x.retries, "How often to try again"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (argc != 3)
        return cli_fail(c, "source and destination are required");
    r = cli_client(c);
    if (r == 0)
        r = parse_spec(c, argv[1], &x.from);
    if (r == 0)
        r = parse_spec(c, argv[2], &x.to);
    if (r)
        return r;
    if (x.from.pod.n && x.to.pod.n)
        return cli_fail(c, "one of src or dest must be a local file specification");
    if (!x.from.path.n || !x.to.path.n)
        return cli_fail(c, "filepath can not be empty");
    if (!x.from.pod.n && !x.to.pod.n)
        return cli_fail(c, "one of src or dest must be a remote file specification");
    do {
        r = x.from.pod.n ? from_container(&x) : to_container(&x);
    } while (r && x.from.pod.n && x.retries-- > 0);
    return r;
}
