/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP clients towards servers that objects name: webhooks and extension servers. Kept by what they verify and show, so that
 * connections are used again.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct apiserver;
struct http_client;
struct peers;

struct peer {
    struct str ca;          /* PEM; empty: the system's */
    struct str server_name; /* to verify; empty: that of the URL. NUL-terminated */
    bool insecure;          /* do not verify */
    bool front_proxy;       /* show the certificate that extension servers know us by */
    bool spread;            /* HTTP/1.1: requests spread over the endpoints of a Service */
};
/* A client that stays at least until peer_give_back. 0 or -errno with a sentence. */
struct peer_client;
int peer_take(struct apiserver *s, const struct peer *p, struct peer_client **ret, struct err *e);
struct http_client *peer_http(struct peer_client *c);
void peer_give_back(struct peer_client *c); /* NULL is fine */
void peers_free(struct apiserver *s);
