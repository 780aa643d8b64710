/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table that requests are served by: made of Ingresses, classes, Services and their endpoints, immutable and shared by all
 * threads that serve. What changes often, the endpoints of a back end, can be changed in place. Pure: no sockets here.
 */
#pragma once

#include "client/services.h"
#include "ingress/route.h"
#include "net/tls.h"
#include "netlink/prefix.h"
#include "type/ingress.h"

#include <pthread.h>
#include <stdatomic.h>

#define INGRESS_ANNOTATIONS "ingress.cube.dev/"

/* ---- back ends ----------------------------------------------------------------------------------------- */

struct endpoints {
    atomic_uint refs;
    size_t n;
    struct endpoint {
        char address[56]; /* "10.0.0.1:8080", "[fd00::1]:8080" */
    } list[];
};
struct endpoints *endpoints_unref(struct endpoints *e);

enum protocol { PROTOCOL_HTTP, PROTOCOL_H2C, PROTOCOL_HTTPS };

/* One port of a Service. */
struct backend {
    atomic_uint refs;
    atomic_uint next; /* whose turn it is */
    uint64_t made;    /* the table that it was last filled for, by number */
    enum protocol protocol;
    pthread_mutex_t lock;
    struct endpoints *now; /* under lock */
    char key[];            /* "ns/name:port" */
};
struct backend *backend_ref(struct backend *b);
struct backend *backend_unref(struct backend *b);
struct endpoints *backend_endpoints(struct backend *b); /* a reference; n may be 0 */

/* ---- counts: outlive the tables ------------------------------------------------------------------------ */

enum { COUNT_BUCKETS = 12 };
extern const double count_bounds[COUNT_BUCKETS]; /* seconds */
enum { COUNT_STATUSES = 24 };
extern const int count_statuses[COUNT_STATUSES]; /* those that are counted one by one; the last is 0: all others */

struct counts {
    atomic_uint refs;
    char *ns, *ingress, *host; /* ingress "": no rule */
    atomic_ulong statuses[COUNT_STATUSES];
    atomic_ulong buckets[COUNT_BUCKETS + 1], nanoseconds, bytes_in, bytes_out;
};
void counts_add(struct counts *c, int status, int64_t ns, uint64_t bytes_in, uint64_t bytes_out);

/* ---- the table ----------------------------------------------------------------------------------------- */

/* What annotations say; docs in README.md. */
struct ingress_options {
    bool no_redirect;      /* serve plain HTTP also where there is a certificate */
    int64_t timeout;       /* ns without progress */
    int64_t max_body;      /* bytes; 0: any */
    struct prefixes allow; /* clients; none: all */
};

struct target {
    const char *ns, *ingress, *host; /* host as in the rule */
    struct backend *backend;         /* NULL: 503, since the Service or its port is missing */
    struct ingress_options *options;
    bool tls; /* there is a certificate for the host */
    struct counts *counts;
    struct str path; /* of the rule */
};

struct table {
    atomic_uint refs;
    struct arena arena;
    struct router *router;
    struct map certificates; /* host or "*.host" -> struct tls_certificate * */
    struct target **targets;
    size_t n_targets, cap_targets;
};
struct table *table_ref(struct table *t);
struct table *table_unref(struct table *t);
/* By SNI name: a reference, NULL when there is none. */
struct tls_certificate *table_certificate(const struct table *t, const char *name);

/* Something that an Ingress asks for and does not get: an event. */
struct problem {
    const struct object *ingress;
    const char *reason;
    struct str message;
};

struct maker; /* keeps what tables share: back ends, counts, certificates by Secret */
struct maker *maker_new(void);
void maker_free(struct maker *m);

struct table_input {
    const struct tree *ingresses, *classes;
    const struct service_index *services;
    /* The Secret of that name: NULL while it is not there (or not read yet). */
    const struct object *(*secret)(void *ctx, struct str ns, struct str name);
    void *ctx;
};
/* problems and secrets ("ns/name" as keys, of all that are referenced) are filled; in the arena. *ret_ours: how many Ingresses
 * are ours. */
struct table *table_make(struct maker *m, const struct table_input *in, struct arena *a, struct problem **ret_problems,
                         size_t *ret_n, struct map *secrets, size_t *ret_ours);
/* Endpoints of that Service have changed: sets those of its back ends. */
void maker_endpoints(struct maker *m, const struct service_index *services, struct str ns, struct str name);
/* The counts of every rule so far. */
void maker_counts(struct maker *m, void (*fn)(void *arg, const struct counts *c), void *arg);
struct counts *maker_no_rule(struct maker *m); /* of requests that no rule is for; lives as long as m */
