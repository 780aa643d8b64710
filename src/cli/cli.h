/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of kubectl: what every command is given. Everything a run makes lives in its arena, which goes with the
 * process; nothing is freed by itself.
 *
 * Codes. A command and everything it calls that can fail returns an exit code: 0, or one that is not 0 after the
 * reason has been said on stderr (cli_fail and its kin say it and return the code). Functions that only find out
 * (requests, parsers) say nothing and fill a `struct status` or `struct err` instead; their comments tell.
 */
#pragma once

#include "base/flags.h"
#include "base/map.h"
#include "base/time.h"
#include "client/kubeconfig.h"

struct command;
struct discovery;

/* Flags that every command takes. */
struct globals {
    const char *kubeconfig, *namespace_, *username, *password;
    struct kubeconfig_overrides over;
    struct flag_list as_groups;
    const char *request_timeout;
    int64_t verbosity;
    bool warnings_as_errors;
};

struct cli {
    struct arena a;
    struct globals g;
    struct flag *flags;            /* the global flags' table */
    const struct command *command; /* the one that runs */
    const char *path;              /* "kubectl rollout status" */
    struct buf out;                /* stdout, not yet written */
    struct client *client;         /* NULL until cli_client() */
    struct str ns;                 /* of the context or the flag, after cli_client() or cli_namespace() */
    bool ns_given;                 /* by flag or context, or the pod's: not merely "default" */
    struct val *config;            /* kubeconfig, merged; NULL until it is needed */
    struct https_config access;    /* what the context resolves to */
    int64_t timeout;               /* --request-timeout in nanoseconds, 0: none */
    struct map kinds;              /* kinds.c: by "plural.version.group" */
    struct discovery *discovery;   /* discovery.c: NULL until it is needed */
    struct flag_list warnings;     /* of the server, each said once */
    struct buf held;               /* notes that wait for cli_release */
    bool holding;
};

/* ---- commands --------------------------------------------------------------------------------------------- */

enum { CLI_HELP = -1 }; /* "help was asked for and printed": the run is over and went well */

struct command {
    const char *name;
    const char *alias; /* NULL for none */
    const char *usage; /* what follows the name: "(TYPE [NAME] | TYPE/NAME) [flags]" */
    const char *brief; /* one line */
    const char *text;  /* more, with examples; may be NULL */
    int (*run)(struct cli *c, int argc, char **argv); /* NULL: only its subcommands run */
    const struct command *subs; /* ends with name NULL; NULL for none */
};

/* Parses the command's flags (a table on the caller's stack, ends with name NULL) and the global ones. Operands are
 * then argv[1] to argv[*argc - 1]. 0, CLI_HELP, or 1 after the error was said. ret_dash as in flags_parse, but as an
 * index of argv. */
int cli_parse(struct cli *c, struct flag *flags, int *argc, char **argv, int *ret_dash);
#define NO_FLAGS {.name = NULL}

/* ---- output ------------------------------------------------------------------------------------------------- */

void cli_print(struct cli *c, const char *fmt, ...) PRINTF(2, 3); /* to stdout */
void cli_write(struct cli *c, struct str s);
void cli_flush(struct cli *c);
void cli_note(struct cli *c, const char *fmt, ...) PRINTF(2, 3); /* a line on stderr, as it is */
/* Notes between these are said at the end: after the table that goes with them. */
void cli_hold(struct cli *c);
void cli_release(struct cli *c);
void cli_warn(struct cli *c, struct str text);                   /* "Warning: text", each once */
struct str cli_printf(struct cli *c, const char *fmt, ...) PRINTF(2, 3); /* a text in the arena */

/* Say it and return exit code 1. */
int cli_fail(struct cli *c, const char *fmt, ...) PRINTF(2, 3);  /* "error: ..." */
int cli_usage(struct cli *c, const char *fmt, ...) PRINTF(2, 3); /* the same, and where the help is */
int cli_refused(struct cli *c, const struct status *s);          /* what a request's status says */

/* ---- the server ------------------------------------------------------------------------------------------- */

/* The client of the chosen context. 0, or 1 after the reason was said. */
int cli_client(struct cli *c);
/* Sets c->ns without asking anybody. 0 or 1. */
int cli_namespace(struct cli *c);
struct mono cli_deadline(struct cli *c); /* of one request */
