/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "base/os.h"

#include <stdio.h>
#include <unistd.h>

/* ---- output ------------------------------------------------------------------------------------------------- */

enum { FLUSH_AT = 64 << 10 };

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t r = write(fd, p, n);
        if (r < 0 && errno == EAGAIN && os_wait_fd(fd, OS_WRITABLE, MONO_NEVER) >= 0)
            continue;
        if (r < 0 && errno != EINTR)
            return false;
        p += r > 0 ? r : 0;
        n -= r > 0 ? (size_t)r : 0;
    }
    return true;
}

void cli_flush(struct cli *c)
{
    if (c->out.n && !write_all(STDOUT_FILENO, c->out.p, c->out.n))
        _exit(1); /* "| head" has seen enough */
    buf_clear(&c->out);
}

void cli_write(struct cli *c, struct str s)
{
    buf_putstr(&c->out, s);
    if (c->out.n > FLUSH_AT)
        cli_flush(c);
}

void cli_print(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&c->out, fmt, ap);
    va_end(ap);
    if (c->out.n > FLUSH_AT)
        cli_flush(c);
}

struct str cli_printf(struct cli *c, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    return arena_str(&c->a, buf_str(&b));
}

static void note(struct cli *c, struct buf *b)
{
    if (!b->n || b->p[b->n - 1] != '\n')
        buf_putc(b, '\n');
    if (c->holding) {
        buf_putstr(&c->held, buf_str(b));
        return;
    }
    cli_flush(c);
    write_all(STDERR_FILENO, b->p, b->n);
}

void cli_hold(struct cli *c)
{
    c->holding = true;
}

void cli_release(struct cli *c)
{
    c->holding = false;
    cli_flush(c);
    write_all(STDERR_FILENO, c->held.p, c->held.n);
    buf_clear(&c->held);
}

void cli_note(struct cli *c, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    note(c, &b);
}

void cli_warn(struct cli *c, struct str text)
{
    struct flag_list *w = &c->warnings;
    for (size_t i = 0; i < w->n; i++)
        if (str_is(text, w->items[i]))
            return;
    w->items = xrealloc(w->items, (w->n + 1) * sizeof(*w->items));
    w->items[w->n++] = str_dup(text);
    cli_note(c, "Warning: " STR_FMT, STR_ARG(text));
}

int cli_fail(struct cli *c, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    if (str_starts(buf_str(&b), STR("error: ")))
        buf_consume(&b, 7);
    cli_note(c, "error: " STR_FMT, STR_ARG(buf_str(&b)));
    return 1;
}

int cli_usage(struct cli *c, const char *fmt, ...)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    cli_note(c, "error: " STR_FMT "\nSee '%s -h' for help and examples", STR_ARG(buf_str(&b)), c->path);
    return 1;
}

/* Causes of an invalid object, each once, as upstream's kubectl lists them. */
static void put_causes(struct buf *b, const struct status *s)
{
    struct map seen = MAP_INIT;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str only = STR_NULL;
    struct buf lines CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < s->n_causes; i++) {
        const struct cause *k = &s->causes[i];
        struct str line = arena_printf(&a, STR_FMT ": " STR_FMT, STR_ARG(k->field), STR_ARG(k->message));
        if (map_has(&seen, line))
            continue;
        map_put(&seen, line, &seen);
        only = line;
        buf_printf(&lines, "\n* " STR_FMT, STR_ARG(line));
    }
    if (seen.n == 1)
        buf_putstr(b, only);
    else
        buf_putstr(b, buf_str(&lines));
    map_done(&seen);
}

static int say_invalid(struct cli *c, const struct status *s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (s->kind.n || s->name.n)
        buf_printf(&b, "The " STR_FMT " \"" STR_FMT "\" is invalid", STR_ARG(s->kind), STR_ARG(s->name));
    else
        buf_puts(&b, "The request is invalid");
    if (!s->kind.n && !s->name.n && s->message.n && !s->n_causes)
        buf_printf(&b, ": " STR_FMT, STR_ARG(s->message));
    if (s->n_causes) {
        buf_puts(&b, ": ");
        put_causes(&b, s);
    }
    cli_note(c, STR_FMT, STR_ARG(buf_str(&b)));
    return 1;
}

int cli_refused(struct cli *c, const struct status *s)
{
    if (s->code < 0 && !s->message.n)
        return 1; /* said before */
    if (s->code < 0)
        cli_note(c, STR_FMT, STR_ARG(s->message));
    else if (!strcmp(s->reason, "Invalid"))
        return say_invalid(c, s);
    else if (!strcmp(s->reason, "Unauthorized"))
        cli_note(c, "error: You must be logged in to the server (" STR_FMT ")", STR_ARG(s->message));
    else if (s->reason[0])
        cli_note(c, "Error from server (%s): " STR_FMT, s->reason, STR_ARG(s->message));
    else
        cli_note(c, "Error from server: " STR_FMT, STR_ARG(s->message));
    return 1;
}

/* ---- the server ------------------------------------------------------------------------------------------------ */

static int load_config(struct cli *c)
{
    struct err e = {0};
    struct kubeconfig_overrides *o = &c->g.over;
    if (c->config)
        return 0;
    if (c->g.as_groups.n) {
        struct str *groups = ARENA_ARRAY(&c->a, struct str, c->g.as_groups.n);
        for (size_t i = 0; i < c->g.as_groups.n; i++)
            groups[i] = str_of(c->g.as_groups.items[i]);
        o->as_groups = groups;
        o->n_as_groups = c->g.as_groups.n;
    }
    o->namespace_ = c->g.namespace_ && c->g.namespace_[0] ? c->g.namespace_ : NULL;
    c->ns_given = o->namespace_;
    o->timeout_ns = c->timeout;
    int r = kubeconfig_load(&c->a, c->g.kubeconfig, &c->config, &e);
    if (r < 0)
        return cli_fail(c, "%s", err_text(&e, r));
    return 0;
}

int cli_namespace(struct cli *c)
{
    struct err e = {0};
    if (c->ns.n)
        return 0;
    int r = load_config(c);
    if (r)
        return r;
    r = kubeconfig_resolve(&c->a, c->config, &c->g.over, &c->access, &c->ns, &e);
    return r < 0 ? cli_fail(c, "%s", err_text(&e, r)) : 0;
}

int cli_client(struct cli *c)
{
    struct err e = {0};
    if (c->client)
        return 0;
    int r = cli_namespace(c);
    if (r)
        return r;
    c->access.user_agent = "kubectl/v1.37.2 (linux/amd64) cube/" CUBE_VERSION;
    if (c->g.username)
        c->access.username = str_of(c->g.username);
    if (c->g.password)
        c->access.password = str_of(c->g.password);
    r = https_client_new(&c->access, &c->client, &e);
    return r < 0 ? cli_fail(c, "%s", err_text(&e, r)) : 0;
}

struct mono cli_deadline(struct cli *c)
{
    return c->timeout ? mono_add(os_mono(), c->timeout) : MONO_NEVER;
}
