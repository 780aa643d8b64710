/* SPDX-License-Identifier: Apache-2.0 */
/* What every part has in common when it runs as a program of its own: flags, log level, a client, an end by
 * signal. */
#pragma once

#include "base/flags.h"
#include "client/client.h"

/* Flags that every daemon of upstream takes. */
struct daemon_flags {
    const char *kubeconfig, *master;
    int64_t verbosity;
};
#define DAEMON_FLAGS(d)                                                                                      \
    {"kubeconfig", 0, FLAG_STRING, &(d)->kubeconfig, "kubeconfig file with the way to the API server"},      \
        {"master", 0, FLAG_STRING, &(d)->master, "address of the API server; goes before the kubeconfig's"}, \
        {"v", 'v', FLAG_INT, &(d)->verbosity, "how much to log: 0 to 10"},                                   \
        {"logging-format", 0, FLAG_IGNORED, NULL, NULL}, {"feature-gates", 0, FLAG_IGNORED, NULL, NULL},     \
    {                                                                                                        \
        "profiling", 0, FLAG_IGNORED_BOOL, NULL, NULL                                                        \
    }

/* Accepted, and without meaning here: what upstream's programs serve for themselves, and how they pace their requests. */
#define DAEMON_UNUSED_FLAGS \
    {"authentication-kubeconfig", 0, FLAG_IGNORED, NULL, NULL}, \
    {"authorization-kubeconfig", 0, FLAG_IGNORED, NULL, NULL}, \
    {"client-ca-file", 0, FLAG_IGNORED, NULL, NULL}, \
    {"requestheader-client-ca-file", 0, FLAG_IGNORED, NULL, NULL}, \
    {"bind-address", 0, FLAG_IGNORED, NULL, NULL}, \
    {"secure-port", 0, FLAG_IGNORED, NULL, NULL}, \
    {"kube-api-qps", 0, FLAG_IGNORED, NULL, NULL}, \
    {"kube-api-burst", 0, FLAG_IGNORED, NULL, NULL}, \
    {"kube-api-content-type", 0, FLAG_IGNORED, NULL, NULL}

struct daemon {
    const char *name; /* "kube-scheduler": in messages, and the user agent */
    const char *about;
    struct flag *flags;
    struct daemon_flags *common;
    /* The part itself, in a fiber that is cancelled at SIGINT and SIGTERM. 0, -ECANCELED, or what went wrong.
     */
    int (*run)(void *arg, struct client *c, struct err *e);
    void *arg;
    /* After the flags were read and before anything is connected: configuration files. NULL: nothing. Positive:
     * that was all that was asked for. */
    int (*prepare)(void *arg, struct err *e);
};
/* Parses, connects, runs, ends. Returns the exit code: 0, 1 (failed), 2 (bad flags). */
int daemon_main(const struct daemon *d, int argc, char **argv);
