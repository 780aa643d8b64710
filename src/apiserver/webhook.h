/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to webhooks, of admission and of the conversion of custom kinds: POST of one JSON text to a URL or to a Service,
 * the server's certificate verified by the authorities that the configuration names. Clients are kept by those
 * authorities and the name to verify, so that connections are used again.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/value.h"

struct apiserver;

struct webhook_call {
    const struct val *config; /* a WebhookClientConfig */
    int64_t timeout_ns;       /* 0: 30 s */
    size_t max_answer;        /* bytes */
    struct str body;
};
/* The answer's text in the arena: 0; -errno with what went wrong in the words of upstream's client ("Post \"https://...\":
 * context deadline exceeded"). Waits. */
int webhook_post(struct apiserver *s, const struct webhook_call *call, struct arena *a, struct str *ret, struct err *e);
