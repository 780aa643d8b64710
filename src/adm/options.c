/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/options.h"

#include "base/os.h"

#include <stdio.h>
#include <unistd.h>

int cluster_flags(const char *usage, const char *about, struct flag *flags, int argc, char **argv, int *ret_operands)
{
    struct err e = {0};
    int r = flags_parse(flags, argc, argv, ret_operands, NULL, &e);
    if (r == FLAGS_HELP) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        flags_help(flags, &b);
        printf("%s\n\nUsage:\n  %s\n\nFlags:\n%s", about, usage, b.p);
        return 1;
    }
    if (r < 0) {
        fprintf(stderr, "cube: %s; \"cube %s --help\" lists the flags\n", err_text(&e, r), argv[0]);
        return 3;
    }
    return 0;
}

static void put_flag(struct buf *b, const struct flag *f)
{
    switch (f->kind) {
    case FLAG_BOOL:
        if (*(bool *)f->to)
            buf_printf(b, "--%s=true\n", f->name);
        return;
    case FLAG_STRING:
        if (*(const char **)f->to)
            buf_printf(b, "--%s=%s\n", f->name, *(const char **)f->to);
        return;
    case FLAG_INT:
        if (*(int64_t *)f->to)
            buf_printf(b, "--%s=%lld\n", f->name, (long long)*(int64_t *)f->to);
        return;
    case FLAG_DURATION:
        if (*(int64_t *)f->to)
            buf_printf(b, "--%s=%lldns\n", f->name, (long long)*(int64_t *)f->to);
        return;
    default:
        return;
    }
}

int flags_save(const struct flag *flags, const char *path, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str line, rest;
    for (const struct flag *f = flags; f->name; f++)
        put_flag(&b, f);
    for (rest = buf_str(&b); str_next(&rest, '\n', &line);)
        if (line.n && !str_starts(line, STR("--")))
            return err_set(e, -EINVAL, "no flag can hold a line break: \"" STR_FMT "\"", STR_ARG(line));
    int r = os_write_file(path, buf_str(&b), 0600);
    return r < 0 ? err_set(e, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

int flags_load(struct arena *a, struct flag *flags, const char *path, struct err *e)
{
    struct str text, line, rest;
    int argc = 1, operands, lines = 2;
    int r = os_read_file(a, path, 65536, &text);
    if (r < 0)
        return err_set(e, r, "cannot read %s: %s", path, strerror(-r));
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    char **argv = ARENA_ARRAY(a, char *, lines + 1);
    argv[0] = arena_cstr(a, str_of(path));
    for (rest = text; str_next(&rest, '\n', &line);)
        if (line.n)
            argv[argc++] = arena_cstr(a, line);
    r = flags_parse(flags, argc, argv, &operands, NULL, e);
    return r < 0 ? err_wrap(e, r, "%s", path) : 0;
}

int require_root(const char *command)
{
    if (geteuid() == 0)
        return 0;
    fprintf(stderr, "cube: %s needs root: sudo cube %s\n", command, command);
    return 1;
}

int complain(const struct err *e, int r)
{
    fprintf(stderr, "cube: %s\n", err_text(e, r));
    return 1;
}
