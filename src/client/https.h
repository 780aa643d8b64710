/* SPDX-License-Identifier: Apache-2.0 */
/* The remote client: client/client.h over HTTPS, and raw requests for what has no typed form (logs, Tables,
 * upgrades). */
#pragma once

#include "client/client.h"
#include "net/http.h"

/* Texts are copied. */
struct https_config {
    struct str server;            /* "https://10.0.0.1:6443", possibly with a path prefix */
    struct str ca_pem;            /* empty: the system's roots */
    struct str cert_pem, key_pem; /* client certificate, empty for none */
    struct str token;             /* bearer token, empty for none */
    struct str token_file;        /* read again every minute: bound tokens rotate */
    struct str username, password;
    struct str server_name;     /* name to verify instead of the URL's host */
    bool insecure;              /* do not verify the server */
    struct str as_user, as_uid; /* impersonation */
    const struct str *as_groups;
    size_t n_as_groups;
    int64_t timeout_ns;     /* of one request, watches excepted; 0: none */
    const char *user_agent; /* also the field manager by default; must outlive the client */
};
int https_client_new(const struct https_config *config, struct client **ret, struct err *e);
/* A client of the same server that comes as somebody else: with this token and without the other's
 * certificate. Those made from one such share its connections, so it must outlive them. name must outlive the
 * client. */
int https_client_as(struct client *other, struct str token, const char *name, struct client **ret,
                    struct err *e);
void https_client_set_token(struct client *c, struct str token); /* for requests from now on */

struct https_raw {
    const char *method; /* NULL: "GET" */
    const char *path;   /* "/api/v1/pods?limit=1", appended to the server's URL; query already encoded */
    const char *accept; /* NULL: "application/json" */
    const char *content_type; /* NULL: "application/json" when there is a body */
    struct str body;
    const struct http_header *headers; /* more of them */
    size_t n_headers;
};
/* As http_do: the call must be freed with http_call_free. Any status is a success here. */
int https_raw(struct client *c, const struct https_raw *r, struct mono deadline, struct http_call **ret,
              struct err *e);
/* What upgrades (exec, port-forward) need: the pool, the full URL of a path, and the headers (authorization,
 * impersonation, user agent) in the arena. */
struct http_client *https_pool(struct client *c);
const char *https_url(struct client *c, struct arena *a, const char *path);
size_t https_headers(struct client *c, struct arena *a, struct http_header **ret);
bool client_is_https(const struct client *c);
