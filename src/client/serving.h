/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program of upstream's that has no API serves all the same over HTTPS: health, metrics, /statusz, /flagz (zpages.h), to
 * whom the API server lets (delegate.h); health to everybody.
 */
#pragma once

#include "base/flags.h"
#include "base/time.h"
#include "client/client.h"

struct serving_flags {
    const char *bind, *cert, *key, *client_ca; /* files; NULL for none */
    int64_t port;
    struct flag_list open; /* pages for everybody; empty: upstream's default */
};

struct serving_config {
    struct serving_flags *flags;
    const char *name;         /* "kube-scheduler" */
    struct client *client;    /* borrowed: who is asked */
    const char *listen;       /* instead of the flags' address; NULL: that */
    const struct flag *table; /* its flags; a port that was not asked for and cannot be had is no failure */
};

struct serving;
/* *ret is NULL when nothing is served. */
int serving_start(const struct serving_config *c, struct serving **ret, struct err *e);
int serving_address(const struct serving *s, char *ret, size_t size); /* for tests */
void serving_stop(struct serving *s); /* NULL is fine */

/* A certificate of one's own making, good for a year, for a name and addresses (ends with NULL; may be NULL). */
int serving_certificate(const char *cn, const char *const *ips, struct buf *cert_pem, struct buf *key_pem, struct err *e);
/* process_*, kubernetes_build_info, version_info */
void process_metrics(struct mono started, struct buf *b);
