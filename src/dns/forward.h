/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the world: asked of upstream servers and kept for a short while (at most 30 s, as kubeadm's Corefile says).
 * While no upstream answers, what is kept goes on being served for up to an hour (RFC 8767).
 */
#pragma once

#include "base/time.h"
#include "dns/message.h"

struct forwarder;

/* upstreams: "1.1.1.1:53" ...; copied. None: everything is SERVFAIL. */
struct forwarder *forwarder_new(const char *const *upstreams, size_t n);
void forwarder_free(struct forwarder *f);

/* The whole answer to q for a client that takes `limit` bytes, its id set. Waits. 0, or -errno when nobody answered
 * (the caller says SERVFAIL). */
int forwarder_ask(struct forwarder *f, const struct dns_query *q, size_t limit, bool tcp, struct buf *ret);
/* As forwarder_ask for a name of our own making (the target of an ExternalName). */
int forwarder_resolve(struct forwarder *f, const char *name, uint16_t type, struct buf *ret);
