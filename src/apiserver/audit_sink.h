/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where audit events go: a file that is rotated, a webhook (upstream's --audit-log-* and --audit-webhook-*). An event is one
 * JSON text. Sent at once by the request that made it, or later in batches by a fiber of the sink's own.
 */
#pragma once

#include "base/err.h"
#include "base/fiber.h"

enum audit_mode {
    AUDIT_BATCH,    /* the request does not wait; what the buffer cannot hold is lost and counted */
    AUDIT_BLOCKING, /* the request waits; a failure is logged */
    AUDIT_STRICT,   /* a request whose arrival cannot be noted is refused */
};
/* "batch", "blocking" or "blocking-strict"; -EINVAL with the flag's name in the sentence. */
int audit_mode_parse(const char *flag, const char *text, enum audit_mode *ret, struct err *e);

struct audit_batching { /* 0: the default in brackets */
    int64_t buffer;     /* events [10000] */
    int64_t size;       /* events sent at once [400] */
    int64_t wait_ns;    /* how long the first of a batch waits [30 s] */
    int64_t qps, burst; /* batches a second [10], [15]; a negative qps: as many as there are */
};

struct audit_log_config {
    const char *path;                          /* "-" for standard output */
    int64_t max_bytes, max_backups, max_age_ns; /* 0: no limit */
};

struct audit_webhook_config {
    const char *kubeconfig;
    int64_t backoff_ns; /* before the second try of five; 0: ten seconds */
};

struct audit_counts {
    uint64_t sent, lost;
};

struct audit_sink;
int audit_log_open(const struct audit_log_config *c, enum audit_mode mode, const struct audit_batching *b,
                   struct audit_sink **ret, struct err *e);
int audit_webhook_open(const struct audit_webhook_config *c, enum audit_mode mode, const struct audit_batching *b,
                       struct audit_sink **ret, struct err *e);
/* 0, or negative in AUDIT_STRICT: it was not taken. Waits unless AUDIT_BATCH. */
int audit_sink_put(struct audit_sink *s, struct str event, struct err *e);
struct audit_counts audit_sink_counts(const struct audit_sink *s);
/* Sends what is left, for two seconds at most, and frees. NULL is fine. */
void audit_sink_close(struct audit_sink *s);
