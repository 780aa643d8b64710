/* SPDX-License-Identifier: Apache-2.0 */
/* An API server over a memory store on a loopback port, and short ways to ask it things. Without TLS
 * everybody is anonymous, and may do everything. */
#pragma once

#include "../testing.h"
#include "apiserver/local.h"
#include "apiserver/server.h"
#include "names.h"
#include "net/http.h"
#include "resources.h"
#include "store/store.h"
#include "type/meta.h"

struct fixture {
    struct store *store;
    struct apiserver *server;
    struct http_client *http;
    struct client *local; /* trusted */
    struct arena arena;
    char base[128];
};

void fixture_start(struct fixture *f, const struct apiserver_config *config); /* NULL: the defaults */
void fixture_stop(struct fixture *f);
/* Stops and starts the server over the same store. */
void fixture_restart(struct fixture *f, const struct apiserver_config *config);

struct reply {
    int code;
    struct str text;
    const struct val *v; /* untyped */
    struct http_headers headers;
};
/* headers: "Name: value" lines, NULL for none. */
struct reply ask(struct fixture *f, const char *method, const char *path, const char *body,
                 const char *headers);
static inline struct reply get(struct fixture *f, const char *path)
{
    return ask(f, "GET", path, NULL, NULL);
}
static inline struct reply post(struct fixture *f, const char *path, const char *body)
{
    return ask(f, "POST", path, body, NULL);
}
struct reply patch(struct fixture *f, const char *path, const char *type, const char *body);
/* The text at a dotted path ("metadata.name", "items.0.kind"); "" when there is nothing. Numbers as text. */
const char *at(struct fixture *f, const struct val *v, const char *path);
#define assert_at(f, r, path, want) assert_string_equal(at((f), (r).v, (path)), (want))
#define assert_code(r, want) \
    do { \
        struct reply reply_ = (r); \
        if (reply_.code != (want)) \
            fail_msg("code %d, wanted %d: %.*s", reply_.code, (want), STR_ARG(reply_.text)); \
    } while (0)

/* A watch whose events are read one by one. */
struct watching {
    struct fixture *f;
    struct http_call *call;
    struct buf pending;
};
int watch_begin(struct fixture *f, struct watching *w, const char *path); /* the HTTP code */
/* Kind and object of the next event, or false at the end or after `ms`. */
bool watch_event(struct watching *w, int ms, const char **ret_type, const struct val **ret);
void watch_end(struct watching *w);

void make_config_map(struct fixture *f, const char *name, const char *labels_json);
