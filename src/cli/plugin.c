/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plugin.h"

#include "base/os.h"
#include "cli/commands.h"

#include <unistd.h>

static const char *find_program(struct cli *c, const char *name)
{
    struct str rest = str_of(getenv("PATH")), dir;
    while (str_next(&rest, ':', &dir)) {
        const char *path = cli_printf(c, STR_FMT "/%s", STR_ARG(dir), name).p;
        if (dir.n && access(path, X_OK) == 0)
            return path;
    }
    return NULL;
}

/* "kubectl-" and the first n words, dashes within a word written as underscores. */
static const char *plugin_name(struct cli *c, char **words, int n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "kubectl");
    for (int i = 0; i < n; i++) {
        buf_putc(&b, '-');
        for (const char *p = words[i]; *p; p++)
            buf_putc(&b, *p == '-' ? '_' : *p);
    }
    return arena_cstr(&c->a, buf_str(&b));
}

static int run_program(struct cli *c, const char *path, char **args)
{
    size_t n = 0;
    while (args[n])
        n++;
    const char **argv = ARENA_ARRAY(&c->a, const char *, n + 2);
    argv[0] = path;
    memcpy(argv + 1, args, n * sizeof(*argv));
    struct os_spawn s = {.argv = argv, .in = STDIN_FILENO, .out = -1, .err = -1};
    pid_t pid;
    int status = 0, r = os_spawn(&s, &pid);
    if (r == 0)
        r = os_wait_pid(pid, &status, MONO_NEVER);
    if (r < 0)
        return cli_fail(c, "%s: %s", path, strerror(-r));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int plugin_run(struct cli *c, int at, int argc, char **argv)
{
    int n = 0;
    if (at != 1)
        return -1; /* upstream takes no flags before a plug-in's name either */
    while (at + n < argc && argv[at + n][0] != '-' && !strchr(argv[at + n], '/'))
        n++;
    for (; n > 0; n--) {
        const char *path = find_program(c, plugin_name(c, argv + at, n));
        if (path)
            return run_program(c, path, argv + at + n);
    }
    return -1;
}

int cmd_plugin_list(struct cli *c, int argc, char **argv)
{
    bool name_only = false, any = false;
    struct flag flags[] = {{"name-only", 0, FLAG_BOOL, &name_only, "Print names without their folders"}, NO_FLAGS};
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    struct str rest = str_of(getenv("PATH")), dir;
    while (str_next(&rest, ':', &dir)) {
        char **names;
        if (!dir.n || os_list_dir(&c->a, arena_cstr(&c->a, dir), &names) < 0)
            continue;
        for (char **p = names; *p; p++) {
            const char *path = cli_printf(c, STR_FMT "/%s", STR_ARG(dir), *p).p;
            if (strncmp(*p, "kubectl-", 8) || access(path, X_OK) < 0)
                continue;
            if (!any)
                cli_print(c, "The following compatible plugins are available:\n\n");
            any = true;
            cli_print(c, "%s\n", name_only ? *p : path);
        }
    }
    return any ? 0 : cli_fail(c, "unable to find any kubectl plugins in your PATH");
}
