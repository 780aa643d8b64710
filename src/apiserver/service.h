/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cluster IPs and node ports of Services. What is taken is known from the watch cache; what a request in
 * flight has chosen is reserved until the cache shows it. With each IP goes an IPAddress object in the same
 * transaction (KEP-1880).
 */
#pragma once

#include "apiserver/request.h"

struct service_alloc;

enum { CLAIM_MAX = 128 };
struct service_claim {
    struct str keys[CLAIM_MAX]; /* reserved: "10.96.0.1", "p30001/TCP"; in the request's arena */
    size_t n;
};

int service_alloc_new(struct apiserver *s, struct err *e); /* parses the ranges, starts following Services */
void service_alloc_free(struct apiserver *s);
/* The first address of the first range: that of the `kubernetes` Service. */
struct str service_first_ip(struct apiserver *s, struct arena *a);

/* Before validation: clusterIP and clusterIPs agree, what an update left out is taken over. */
void service_prepare(struct request *r, struct val *v, const struct val *old);
/* After it: chooses families, addresses and ports that are missing, reserves them, and sets them in v. 0 or
 * 422. */
int service_claim(struct request *r, struct val *v, const struct val *old, struct service_claim *ret);
/* After the transaction: lets go of the reservations. Waits until the cache shows a success. */
void service_settle(struct request *r, struct service_claim *c, bool stored);
/* Adds to the next transaction that the addresses of a Service are given back. */
void service_forget(struct request *r, const struct val *v);
