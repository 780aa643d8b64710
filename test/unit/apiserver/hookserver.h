/* SPDX-License-Identifier: Apache-2.0 */
/* A webhook on a loopback port, with a certificate of its own: what it answers is decided by the path that it is called
 * by, and what it was asked stays to be looked at. */
#pragma once

#include "fixture.h"

struct hookserver;
typedef struct str hook_answer(struct hookserver *h, struct str path, const struct val *review);

struct hookserver {
    struct arena arena;
    struct tls_server *tls;
    struct http_server *http;
    char address[64];        /* 127.0.0.1:38123 */
    int port;
    struct str ca;           /* base64, for caBundle */
    hook_answer *answer;
    void (*serve)(struct hookserver *h, struct http_exchange *x); /* all by itself; NULL: reviews */
    const struct val *asked; /* the last review */
    unsigned calls;
};

/* dns: a further name in its certificate, NULL for none. */
void hookserver_start(struct hookserver *h, const char *dns, hook_answer *answer);
void hookserver_stop(struct hookserver *h);
/* {"url":"https://127.0.0.1:38123/path","caBundle":"..."} */
const char *hookserver_config(struct hookserver *h, const char *path);
/* An AdmissionReview with that response; members go behind the uid. */
struct str hookserver_review(struct hookserver *h, const struct val *review, const char *members);
