/* SPDX-License-Identifier: Apache-2.0 */
/* exec and attach: a container's standard streams and ours. */
#pragma once

#include "cli/cli.h"

struct remote {
    struct str ns, pod, container;
    const char *sub;       /* "exec" or "attach" */
    char **command;        /* of exec; NULL-terminated */
    bool stdin_, tty, quiet;
    bool no_stderr;        /* attach to a terminal has none */
    const char *detach_keys; /* of attach with a terminal; NULL: none */
    bool *detached;        /* set when the keys were typed; may be NULL */
    /* Instead of ours: what goes in, and where what comes out goes (cp). Return -errno to give up. */
    ssize_t (*read_in)(void *arg, void *p, size_t n);
    int (*write_out)(void *arg, struct str data);
    int (*write_err)(void *arg, struct str data);
    void *arg;
    bool log_first;        /* print the container's log before what the session gives, and nothing of it twice */
    struct str seen;       /* that log */
    bool abort;            /* set by another fiber before rc_abort: an interrupted run */
    struct rc_session *session; /* while it runs */
};

/* Checks stdin against --tty and turns the terminal raw. Call before remote_run; says what cannot be. */
void remote_setup_tty(struct cli *c, struct remote *r);
enum { REMOTE_NOT_OPEN = -2 }; /* with log_first: the server refused the session; nothing was said or printed */
/* Runs it to its end. The exit code of the command (exec), 0, or 1 after the error was said. */
int remote_run(struct cli *c, struct remote *r);
/* From another fiber: ends the session. */
void remote_abort(struct remote *r);
