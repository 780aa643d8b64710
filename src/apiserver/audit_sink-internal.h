/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "apiserver/audit_sink.h"

/* One way to send. A failed send is not repeated by the caller. */
struct audit_sender {
    const char *name; /* for the log: "audit log", "audit webhook" */
    int (*send)(struct audit_sender *s, const struct str *events, size_t n, struct err *e);
    void (*free)(struct audit_sender *s);
};
/* Takes the sender. */
struct audit_sink *audit_sink_new(struct audit_sender *sender, enum audit_mode mode, const struct audit_batching *b);
