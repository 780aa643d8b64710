/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the command among the arguments, runs it in a loop, and turns what it says into an exit code. */
#include "cli/kubectl.h"

#include "cli/commands.h"
#include "cli/plugin.h"

#include "base/fiber.h"
#include "base/os.h"

#include <stdio.h>

/* ---- the global flags -------------------------------------------------------------------------------------- */

static struct flag *make_globals(struct cli *c)
{
    struct globals *g = &c->g;
    const struct flag table[] = {
        {"as", 0, FLAG_STRING, &g->over.as_user, "User to act as"},
        {"as-group", 0, FLAG_ARRAY, &g->as_groups, "Group to act as; may be given several times"},
        {"as-uid", 0, FLAG_STRING, &g->over.as_uid, "UID to act as"},
        {"as-user-extra", 0, FLAG_IGNORED, NULL, NULL},
        {"cache-dir", 0, FLAG_IGNORED, NULL, NULL},
        {"certificate-authority", 0, FLAG_STRING, &g->over.ca_file, "File with the certificates of the server's CA"},
        {"client-certificate", 0, FLAG_STRING, &g->over.cert_file, "File with the client's certificate"},
        {"client-key", 0, FLAG_STRING, &g->over.key_file, "File with the client's key"},
        {"cluster", 0, FLAG_STRING, &g->over.cluster, "Name of the kubeconfig cluster to use"},
        {"context", 0, FLAG_STRING, &g->over.context, "Name of the kubeconfig context to use"},
        {"disable-compression", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"insecure-skip-tls-verify", 0, FLAG_BOOL, &g->over.insecure, "Do not check the server's certificate"},
        {"kubeconfig", 0, FLAG_STRING, &g->kubeconfig, "File to read clusters, users and contexts from"},
        {"kuberc", 0, FLAG_IGNORED, NULL, NULL},
        {"log-flush-frequency", 0, FLAG_IGNORED, NULL, NULL},
        {"match-server-version", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {"namespace", 'n', FLAG_STRING, &g->namespace_, "Namespace to work in"},
        {"password", 0, FLAG_STRING, &g->password, "Password for basic authentication"},
        {"profile", 0, FLAG_IGNORED, NULL, NULL},
        {"profile-output", 0, FLAG_IGNORED, NULL, NULL},
        {"request-timeout", 0, FLAG_STRING, &g->request_timeout, "Time one request may take (1s, 2m, 3h); 0: no limit"},
        {"server", 's', FLAG_STRING, &g->over.server, "Address and port of the API server"},
        {"tls-server-name", 0, FLAG_STRING, &g->over.server_name, "Name to check in the server's certificate"},
        {"token", 0, FLAG_STRING, &g->over.token, "Bearer token"},
        {"user", 0, FLAG_STRING, &g->over.user, "Name of the kubeconfig user to use"},
        {"username", 0, FLAG_STRING, &g->username, "User name for basic authentication"},
        {"v", 'v', FLAG_INT, &g->verbosity, "How much is told of what is done; 6 and more: requests"},
        {"vmodule", 0, FLAG_IGNORED, NULL, NULL},
        {"warnings-as-errors", 0, FLAG_BOOL, &g->warnings_as_errors, "Warnings of the server make the exit code 1"},
        {0},
    };
    struct flag *flags = ARENA_ARRAY(&c->a, struct flag, ARRAY_SIZE(table));
    memcpy(flags, table, sizeof(table));
    return flags;
}

/* ---- help -------------------------------------------------------------------------------------------------- */

static void print_command(struct cli *c, const struct command *k)
{
    cli_print(c, "  %-16s %s\n", k->name, k->brief);
}

static const struct command *find_in(const struct command *table, const char *name)
{
    for (; table && table->name; table++)
        if (!strcmp(table->name, name) || (table->alias && !strcmp(table->alias, name)))
            return table;
    return NULL;
}

static void root_help(struct cli *c)
{
    cli_print(c, "kubectl talks to a Kubernetes cluster.\n\n");
    for (const struct command_group *g = command_groups; g->title; g++) {
        cli_print(c, "%s:\n", g->title);
        for (const char *const *n = g->names; *n; n++)
            print_command(c, find_in(commands, *n));
        cli_print(c, "\n");
    }
    cli_print(c, "Usage:\n  kubectl [flags] [options]\n\n"
                 "Use \"kubectl <command> --help\" for more information about a given command.\n"
                 "Use \"kubectl options\" for a list of global command-line options (applies to all commands).\n");
}

static void command_help(struct cli *c, const struct command *k, const struct flag *flags)
{
    cli_print(c, "%s.\n", k->brief);
    if (k->text)
        cli_print(c, "\n%s", k->text);
    if (k->subs) {
        cli_print(c, "\nAvailable Commands:\n");
        for (const struct command *s = k->subs; s->name; s++)
            print_command(c, s);
    }
    if (flags && flags->name) {
        cli_print(c, "\nOptions:\n");
        flags_help(flags, &c->out);
    }
    cli_print(c, "\nUsage:\n  %s %s\n", c->path, k->usage);
    if (k->subs)
        cli_print(c, "\nUse \"%s <command> --help\" for more information about a given command.\n", c->path);
    cli_print(c, "Use \"kubectl options\" for a list of global command-line options (applies to all commands).\n");
}

int cmd_options(struct cli *c, int argc, char **argv)
{
    struct flag flags[] = {NO_FLAGS};
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    cli_print(c, "The following options can be passed to any command:\n\n");
    flags_help(c->flags, &c->out);
    return 0;
}

/* ---- parsing ------------------------------------------------------------------------------------------------- */

static size_t count(const struct flag *flags)
{
    size_t n = 0;
    while (flags[n].name)
        n++;
    return n;
}

static int parse_timeout(struct cli *c)
{
    const char *text = c->g.request_timeout;
    int64_t seconds;
    if (!text || !strcmp(text, "0"))
        return 0;
    if (str_to_i64(str_of(text), &seconds) == 0)
        c->timeout = SECONDS(seconds);
    else if (duration_parse(str_of(text), &c->timeout) < 0)
        return cli_fail(c, "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by "
                           "a corresponding time unit (e.g. 1s | 2m | 3h)");
    return 0;
}

static int parse_failed(struct cli *c, const struct err *e)
{
    cli_note(c, "error: %s\nSee '%s --help' for usage.", e->text, c->path);
    return 1;
}

int cli_parse(struct cli *c, struct flag *flags, int *argc, char **argv, int *ret_dash)
{
    size_t n = count(flags), n_global = count(c->flags);
    struct flag *all = ARENA_ARRAY(&c->a, struct flag, n + n_global + 1);
    struct err e = {0};
    int operands = 0, dash = -1;
    memcpy(all, flags, n * sizeof(*all));
    memcpy(all + n, c->flags, n_global * sizeof(*all));
    int r = flags_parse(all, *argc, argv, &operands, &dash, &e);
    if (r == FLAGS_HELP) {
        command_help(c, c->command, flags);
        return CLI_HELP;
    }
    if (r < 0)
        return parse_failed(c, &e);
    for (size_t i = 0; i < n; i++)
        flags[i].given = all[i].given;
    for (size_t i = 0; i < n_global; i++)
        c->flags[i].given = all[n + i].given;
    *argc = operands + 1;
    argv[*argc] = NULL; /* there is room: what was parsed away, or argv's own end */
    if (ret_dash)
        *ret_dash = dash < 0 ? -1 : dash + 1;
    return parse_timeout(c);
}

/* ---- finding the command ----------------------------------------------------------------------------------------- */

static bool takes_value(const struct cli *c, const char *arg)
{
    const char *name = arg[1] == '-' ? arg + 2 : arg + 1;
    const struct flag *f = NULL;
    if (strchr(arg, '=') || !*name)
        return false;
    if (arg[1] == '-')
        f = flags_find(c->flags, name);
    else if (name[1])
        return false; /* "-nfoo" */
    else
        for (f = c->flags; f->name && f->shorthand != *name;)
            f++;
    if (!f || !f->name) /* not global: of the flags that may stand before a subcommand only help has no value */
        return strcmp(name, "help") != 0 && strcmp(name, "h") != 0;
    return f->kind != FLAG_BOOL && f->kind != FLAG_IGNORED_BOOL && !f->no_value;
}

/* The index of the first argument that is no flag nor a flag's value; argc when there is none. */
static int first_word(const struct cli *c, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--"))
            return argc;
        if (argv[i][0] != '-' || !argv[i][1])
            return i;
        i += takes_value(c, argv[i]);
    }
    return argc;
}

static void remove_arg(int *argc, char **argv, int i)
{
    memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof(*argv));
    (*argc)--;
}

/* Edit distance, for "Did you mean this?". */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[64], n = (unsigned)MIN(strlen(b), ARRAY_SIZE(row) - 1);
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned best = MIN(row[j], row[j - 1]) + 1;
            best = MIN(best, corner + (a[i - 1] != b[j - 1]));
            corner = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static int unknown_command(struct cli *c, const char *word)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (const struct command *k = commands; k->name; k++)
        if (distance(word, k->name) <= 2 || !strncmp(k->name, word, strlen(word)))
            buf_printf(&b, "\t%s\n", k->name);
    cli_note(c, "error: unknown command \"%s\" for \"%s\"%s%s", word, c->path, b.n ? "\n\nDid you mean this?\n" : "",
             b.n ? b.p : "");
    return 1;
}

static int unknown_subcommand(struct cli *c, int argc, char **argv, int at)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (; at < argc; at++)
        if (argv[at][0] != '-')
            buf_printf(&b, "%s%s", b.n ? " " : "", argv[at]);
    return cli_usage(c, "unknown command \"" STR_FMT "\"", STR_ARG(buf_str(&b)));
}

static bool has_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

static int run_command(struct cli *c, const struct command *k, int argc, char **argv)
{
    c->path = cli_printf(c, "%s %s", c->path, k->name).p;
    c->command = k;
    int at = k->subs ? first_word(c, argc, argv) : argc;
    const struct command *sub = at < argc ? find_in(k->subs, argv[at]) : NULL;
    if (sub) {
        remove_arg(&argc, argv, at);
        return run_command(c, sub, argc, argv);
    }
    if (k->run)
        return k->run(c, argc, argv);
    if (at < argc && strcmp(argv[at], "help") && !has_help(argc, argv))
        return unknown_subcommand(c, argc, argv, at);
    command_help(c, k, NULL);
    if (has_help(argc, argv) || at < argc)
        return 0;
    fwrite(c->out.p, 1, c->out.n, stderr); /* it is no answer to anything that was asked */
    c->out.n = 0;
    return 1;
}

/* "kubectl help rollout status" is "kubectl rollout status --help". */
static void rewrite_help(int *argc, char **argv, int at)
{
    static char help[] = "--help";
    argv[at] = help;
    (void)argc;
}

static int dispatch(struct cli *c, int argc, char **argv)
{
    c->path = "kubectl";
    int at = first_word(c, argc, argv);
    if (at < argc && !strcmp(argv[at], "help")) {
        rewrite_help(&argc, argv, at);
        at = at + 1 < argc ? at + 1 : argc;
    }
    if (at >= argc) {
        if (argc > 1 && !has_help(argc, argv)) {
            struct flag none[] = {NO_FLAGS};
            c->command = &(const struct command){.name = "", .usage = "", .brief = "kubectl"};
            int r = cli_parse(c, none, &argc, argv, NULL);
            if (r)
                return r;
        }
        root_help(c);
        return 0;
    }
    const struct command *k = find_in(commands, argv[at]);
    if (!k) {
        int r = plugin_run(c, at, argc, argv);
        return r >= 0 ? r : unknown_command(c, argv[at]);
    }
    remove_arg(&argc, argv, at);
    return run_command(c, k, argc, argv);
}

/* ---- the run ------------------------------------------------------------------------------------------------------- */

struct run {
    int argc, code;
    char **argv;
};

static void run_fiber(void *arg)
{
    struct run *run = arg;
    struct cli *c = NEW(struct cli); /* lives as long as the process */
    c->flags = make_globals(c);
    run->code = dispatch(c, run->argc, run->argv);
    if (run->code == CLI_HELP)
        run->code = 0;
    if (run->code == 0 && c->g.warnings_as_errors && c->warnings.n)
        run->code = cli_fail(c, "%zu warning%s received", c->warnings.n, c->warnings.n == 1 ? "" : "s");
    cli_flush(c);
    fflush(stdout);
    _Exit(run->code); /* connections, arenas and fibers end with the process: tearing them down takes time for nothing */
}

int kubectl_main(int argc, char **argv)
{
    char **own = xcalloc((size_t)argc + 1, sizeof(*own));
    memcpy(own, argv, (size_t)argc * sizeof(*own));
    struct run run = {.argc = argc, .argv = own};
    loop_run(run_fiber, &run);
    free(own);
    return run.code;
}
