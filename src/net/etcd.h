/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd v3 by gRPC: one of several endpoints, the next when that one is gone; TLS; a user's token. What is asked are the
 * methods of api/grpc/etcdserverpb.api.
 */
#pragma once

#include "net/grpc.h"

struct etcd;

struct etcd_config {
    const char *endpoints; /* "http://10.0.0.1:2379,https://10.0.0.2:2379"; without a scheme plain */
    const char *ca_file, *cert_file, *key_file; /* PEM; NULL: the system's authorities, no certificate */
    const char *user, *password;                /* NULL: nobody */
    int64_t timeout;                            /* [5 s] of one call to one endpoint */
    size_t max_message;                         /* [as grpc_client_config's] */
};
/* Connects when it is first asked. -EINVAL or what a file gave, with a sentence. */
int etcd_new(const struct etcd_config *config, struct etcd **ret, struct err *e);
void etcd_free(struct etcd *c); /* NULL is fine */

/* Outcomes as grpc_call's. An endpoint that cannot be reached is passed over; each is tried once. */
int etcd_call(struct etcd *c, const struct grpc_method *m, const struct val *request, struct arena *a,
              const struct val **ret, struct err *e);
/* Streams end when their endpoint goes; opening one again finds the next. */
int etcd_stream(struct etcd *c, const struct grpc_method *m, const struct val *request, struct grpc_stream **ret,
                struct err *e);
/* After a stream broke: whoever is asked next is another. */
void etcd_pass_over(struct etcd *c);

/* range_end of all keys that begin so; NUL byte ("all") when there is no end. */
struct str etcd_range_end(struct arena *a, struct str prefix);
