/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/remote.h"

#include "base/fiber.h"
#include "base/os.h"
#include "cli/request.h"
#include "cli/tty.h"
#include "names.h"
#include "net/remotecommand.h"
#include "net/url.h"
#include "resources.h"

#include <unistd.h>

enum { PIECE = 32 << 10 };

/* ---- the request -------------------------------------------------------------------------------------------- */

static void add_flag(struct buf *b, const char *key, bool on)
{
    if (on)
        query_add(b, key, STR("true"));
}

static struct str make_path(struct cli *c, const struct remote *r)
{
    struct buf q CLEANUP_BUF = BUF_INIT;
    for (char **p = r->command; p && *p; p++)
        query_add(&q, "command", str_of(*p));
    if (r->container.n)
        query_add(&q, "container", r->container);
    add_flag(&q, "stdin", r->stdin_);
    add_flag(&q, "stdout", true);
    add_flag(&q, "stderr", !r->tty && !r->no_stderr);
    add_flag(&q, "tty", r->tty);
    return cli_printf(c, STR_FMT "?" STR_FMT, STR_ARG(request_path(c, kind_at(c, RES_PODS), r->ns, r->pod, r->sub)),
                      STR_ARG(buf_str(&q)));
}

static int say_refusal(struct cli *c, struct http_call *call)
{
    struct str body = STR_NULL;
    struct val *v = NULL;
    struct status s;
    status_init(&s, &c->a);
    http_call_read_all(call, 1 << 20, mono_add(os_mono(), SECONDS(10)), &body);
    if (json_decode(&c->a, NULL, arena_str(&c->a, body), 0, NULL, &v, NULL) == 0 && str_is(val_getstr(v, N_kind), "Status")) {
        status_from_val(&s, v);
        return cli_refused(c, &s);
    }
    return cli_fail(c, "unable to upgrade connection: %d %s " STR_FMT, call->status, http_status_text(call->status),
                    STR_ARG(str_trim(body)));
}

static int connect_session(struct cli *c, struct remote *r)
{
    struct err e = {0};
    struct http_header *headers;
    struct http_call *call = NULL;
    int code = cli_client(c);
    if (code)
        return code;
    struct str path = make_path(c, r);
    struct http_request req = {.url = https_url(c->client, &c->a, path.p)};
    req.n_headers = https_headers(c->client, &c->a, &headers);
    req.headers = headers;
    struct rc_options o = {.stdin_ = r->stdin_, .stdout_ = true, .stderr_ = !r->tty && !r->no_stderr, .tty = r->tty};
    int x = rc_connect(https_pool(c->client), &req, &o, true, mono_add(os_mono(), SECONDS(60)), &r->session, &call, &e);
    if (x == 0)
        return 0;
    if (r->log_first)
        return REMOTE_NOT_OPEN;
    if (x > 0)
        return say_refusal(c, call);
    return cli_fail(c, "error dialing backend: %s", err_text(&e, x));
}

/* ---- the streams ---------------------------------------------------------------------------------------------- */

struct copy {
    struct cli *c;
    struct remote *r;
    enum rc_channel ch;
    unsigned detach_at; /* keys of the detach sequence seen so far */
    bool done;
};

static int put_out(struct copy *x, struct str data)
{
    if (x->ch == RC_STDOUT && x->r->write_out)
        return x->r->write_out(x->r->arg, data);
    if (x->ch == RC_STDERR && x->r->write_err)
        return x->r->write_err(x->r->arg, data);
    int fd = x->ch == RC_STDERR ? STDERR_FILENO : STDOUT_FILENO;
    while (data.n) {
        ssize_t n = write(fd, data.p, data.n);
        if (n < 0 && errno == EAGAIN && os_wait_fd(fd, OS_WRITABLE, MONO_NEVER) >= 0)
            continue;
        if (n < 0 && errno != EINTR)
            return -errno;
        data = str_from(data, n > 0 ? (size_t)n : 0);
    }
    return 0;
}

/* How many bytes at the start of data are the end of what was printed from the log. */
static size_t overlap(struct str seen, struct str data)
{
    for (size_t n = MIN(seen.n, data.n); n > 0; n--)
        if (!memcmp(seen.p + seen.n - n, data.p, n))
            return n;
    return 0;
}

/* What the session holds already came in while the log was read: the log may have it, too. */
static bool put_early(struct copy *x, char *p)
{
    ssize_t n = rc_read(x->r->session, x->ch, p, PIECE, os_mono());
    if (n == -ETIMEDOUT)
        return true;
    struct str data = str_n(p, n > 0 ? (size_t)n : 0);
    return n > 0 && put_out(x, str_from(data, overlap(x->r->seen, data))) >= 0;
}

static void copy_out(void *arg)
{
    struct copy *x = arg;
    char *p = xmalloc(PIECE);
    x->done = x->r->seen.n && !put_early(x, p);
    while (!x->done) {
        ssize_t n = rc_read(x->r->session, x->ch, p, PIECE, MONO_NEVER);
        if (n <= 0 || put_out(x, str_n(p, (size_t)n)) < 0)
            break;
    }
    free(p);
    x->done = true;
}

/* "ctrl-p,ctrl-q" as bytes; 0 ends. */
static unsigned parse_keys(const char *text, char keys[static 8])
{
    struct str rest = str_of(text), key;
    unsigned n = 0;
    while (n < 7 && str_next(&rest, ',', &key)) {
        if (str_starts(key, STR("ctrl-")) && key.n == 6)
            keys[n++] = (char)(key.p[5] & 0x1f);
        else if (key.n == 1)
            keys[n++] = key.p[0];
    }
    return n;
}

static bool typed_detach(struct copy *x, struct str data)
{
    char keys[8] = {0};
    unsigned n = x->r->detach_keys ? parse_keys(x->r->detach_keys, keys) : 0;
    for (size_t i = 0; n && i < data.n; i++) {
        x->detach_at = data.p[i] == keys[x->detach_at] ? x->detach_at + 1 : data.p[i] == keys[0];
        if (x->detach_at == n)
            return true;
    }
    return false;
}

static ssize_t get_in(struct copy *x, char *p)
{
    return x->r->read_in ? x->r->read_in(x->r->arg, p, PIECE) : tty_read(p, PIECE, MONO_NEVER);
}

static void copy_in(void *arg)
{
    struct copy *x = arg;
    char *p = xmalloc(PIECE);
    for (;;) {
        ssize_t n = get_in(x, p);
        if (n <= 0)
            break;
        if (x->r->tty && typed_detach(x, str_n(p, (size_t)n))) {
            if (x->r->detached)
                *x->r->detached = true;
            rc_abort(x->r->session);
            break;
        }
        if (rc_write(x->r->session, RC_STDIN, str_n(p, (size_t)n), MONO_NEVER) < 0)
            break;
    }
    rc_close_channel(x->r->session, RC_STDIN);
    free(p);
}

static void follow_size(void *arg)
{
    struct copy *x = arg;
    unsigned short w, h;
    /* A size that is not the true one first: a program that was attached to before draws its screen again. */
    if (!strcmp(x->r->sub, "attach") && tty_size(&w, &h))
        rc_write_resize(x->r->session, (uint16_t)(w + 1), (uint16_t)(h + 1), MONO_NEVER);
    do {
        if (tty_size(&w, &h) && rc_write_resize(x->r->session, w, h, MONO_NEVER) < 0)
            return;
    } while (tty_wait_resize(MONO_NEVER) == 0);
}

/* ---- the outcome ---------------------------------------------------------------------------------------------- */

static int exit_code(const struct val *status)
{
    VAL_EACH(val_at(status, N_details, N_causes), cause)
    {
        int64_t code;
        if (str_is(val_getstr(cause, N_reason), "ExitCode") && str_to_i64(val_getstr(cause, N_message), &code) == 0)
            return (int)code;
    }
    return -1;
}

static int take_outcome(struct cli *c, struct remote *r, struct str text)
{
    struct val *v = NULL;
    if (!str_trim(text).n)
        return 0;
    if (json_decode(&c->a, NULL, text, 0, NULL, &v, NULL) < 0 || !val_is(v, VAL_MAP))
        return cli_fail(c, STR_FMT, STR_ARG(str_trim(text)));
    if (str_is(val_getstr(v, N_status), "Success"))
        return 0;
    int code = str_is(val_getstr(v, N_reason), "NonZeroExitCode") ? exit_code(v) : -1;
    if (code < 0)
        return cli_fail(c, STR_FMT, STR_ARG(val_getstr(v, N_message)));
    if (!r->quiet)
        cli_note(c, "command terminated with exit code %d", code);
    return code;
}

static int run_session(struct cli *c, struct remote *r)
{
    struct group outputs = {0}, others = {0};
    struct copy out = {c, r, RC_STDOUT, 0, false}, err = {c, r, RC_STDERR, 0, false}, in = {c, r, RC_STDIN, 0, false};
    struct str text = STR_NULL;
    group_spawn(&outputs, "stdout", copy_out, &out);
    group_spawn(&outputs, "stderr", copy_out, &err);
    if (r->stdin_)
        group_spawn(&others, "stdin", copy_in, &in);
    if (r->tty)
        group_spawn(&others, "resize", follow_size, &in);
    int x = rc_read_outcome(r->session, &c->a, &text, MONO_NEVER);
    group_wait(&outputs, MONO_NEVER);
    group_stop(&others);
    tty_restore();
    if (r->abort || (r->detached && *r->detached))
        return 0;
    if (x < 0)
        return cli_fail(c, "%s", x == -EPIPE ? "error reading from error stream: connection lost" : strerror(-x));
    return take_outcome(c, r, text);
}

static void print_log_first(struct cli *c, struct remote *r)
{
    struct status s;
    struct request req = {.path = request_path(c, kind_at(c, RES_PODS), r->ns, r->pod, "log"),
                          .query = query_with(c, STR_NULL, "container", r->container),
                          .accept = "application/json, */*"};
    if (request_text(c, &req, &r->seen, &s)) {
        cli_note(c, "warning: couldn't fetch pre-attach logs: " STR_FMT, STR_ARG(s.message));
        return;
    }
    cli_write(c, r->seen);
    cli_flush(c);
}

void remote_setup_tty(struct cli *c, struct remote *r)
{
    if (!r->stdin_)
        r->tty = false;
    if (!r->tty)
        return;
    if (!tty_is(STDIN_FILENO)) {
        r->tty = false;
        if (!r->quiet)
            cli_note(c, "Unable to use a TTY - input is not a terminal or the right kind of file");
    }
}

int remote_run(struct cli *c, struct remote *r)
{
    cli_flush(c);
    int code = connect_session(c, r);
    if (code)
        return code;
    if (r->log_first)
        print_log_first(c, r);
    if (r->tty)
        tty_raw();
    code = run_session(c, r);
    tty_restore();
    rc_free(TAKE_PTR(r->session));
    return code;
}

void remote_abort(struct remote *r)
{
    r->abort = true;
    if (r->session)
        rc_abort(r->session);
}
