/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the world: `forward` of a Corefile. Asks upstream servers over UDP, TCP or TLS, and avoids those that fail. */
#pragma once

#include "base/err.h"
#include "base/fiber.h"
#include "dns/message.h"

struct forwarder;

enum forward_policy { FORWARD_RANDOM, FORWARD_ROUND_ROBIN, FORWARD_SEQUENTIAL };

struct forward_server {
    const char *address; /* "1.1.1.1:53" */
    bool tls;
    const char *server_name; /* to verify; NULL: the address */
};

/* Texts must outlive the forwarder. */
struct forward_options {
    const char *from; /* zone */
    const char *const *except;
    size_t n_except;
    const struct forward_server *servers;
    size_t n;
    enum forward_policy policy;
    bool force_tcp, prefer_udp, fail_fast;
    unsigned max_fails;     /* 0: no server is ever avoided */
    int64_t health_check;   /* ns between looks at a server that failed */
    const char *health_domain;
    int64_t expire;         /* ns that an idle connection is kept */
    int64_t read_timeout;
    unsigned max_concurrent; /* 0: any number */
    struct str tls_ca, tls_cert, tls_key; /* PEM */
    const uint8_t *next;    /* codes on which the next `forward` of the block is asked */
    size_t n_next;
};
#define FORWARD_DEFAULTS                                                                                     \
    ((struct forward_options){.from = "", .max_fails = 2, .health_check = MILLISECONDS(500), .health_domain = "", \
        .expire = SECONDS(10), .read_timeout = SECONDS(2)})

int forwarder_new(const struct forward_options *o, struct forwarder **ret, struct err *e);
/* Stops its health checks; waits. */
void forwarder_free(struct forwarder *f);
/* Whether it answers for that name. */
bool forwarder_takes(const struct forwarder *f, const char *name);
bool forwarder_goes_on(const struct forwarder *f, unsigned code);

/* The answer to q, its id set, appended. tcp: how the client asks. Waits. 0; FORWARD_BUSY when too many questions are
 * under way; or -errno when nobody answered. */
#define FORWARD_BUSY 1
int forwarder_ask(struct forwarder *f, const struct dns_query *q, bool tcp, struct buf *ret);

struct forward_figures {
    const char *server;
    uint64_t requests[17]; /* by code of the answer; 16: none came */
    uint64_t nanoseconds, failed_checks;
    bool healthy;
};
size_t forwarder_figures(const struct forwarder *f, struct forward_figures *ret, size_t max);
uint64_t forwarder_rejected(const struct forwarder *f);
