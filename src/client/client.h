/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a component talks to the API, whether the server is in this process or behind HTTPS: the calling code
 * cannot tell (D6, D7). All calls wait; call them from fibers.
 *
 * Outcomes: 0; a positive HTTP code with the server's answer in *s (404, 409, 410, 422 ...); negative: the
 * server could not be asked (connection lost, cancelled).
 */
#pragma once

#include "base/time.h"
#include "type/object.h"
#include "type/patch.h"
#include "type/resource.h"
#include "type/status.h"

struct client;

struct call {
    const struct resource *res;
    struct str ns, name;       /* ns empty for cluster-wide resources and lists over all namespaces */
    const char *subresource;   /* NULL for none */
    const char *field_manager; /* NULL: the client's name */
    bool dry_run;
    /* delete */
    struct str uid, resource_version; /* preconditions, also of update; empty for none */
    const char *propagation;          /* "Background", "Foreground", "Orphan"; NULL: default */
    int64_t grace_seconds;            /* -1: default */
    /* list and watch */
    struct str label_selector, field_selector;
    int64_t limit;
    struct str continue_token;
    struct str query; /* what else to ask of an API that is not of this server's making; encoded */
    /* apply */
    bool force;
};
#define CALL(...) (&(const struct call){.grace_seconds = -1, __VA_ARGS__})

/* *ret lives in the arena (or is shared and referenced by it); may be NULL when the answer does not matter.
 */
int client_get(struct client *c, const struct call *call, struct arena *a, const struct val **ret,
               struct status *s);
int client_create(struct client *c, const struct call *call, const struct val *v, struct arena *a,
                  const struct val **ret, struct status *s);
int client_update(struct client *c, const struct call *call, const struct val *v, struct arena *a,
                  const struct val **ret, struct status *s);
int client_patch(struct client *c, const struct call *call, enum patch_kind kind, struct str patch,
                 struct arena *a, const struct val **ret, struct status *s);
int client_delete(struct client *c, const struct call *call, struct arena *a, const struct val **ret,
                  struct status *s);
/* Deletes what the call's namespace and selectors match. */
int client_delete_collection(struct client *c, const struct call *call, struct arena *a,
                             const struct val **ret, struct status *s);
/* A page; *ret is the XxxList value. */
int client_list(struct client *c, const struct call *call, struct arena *a, const struct val **ret,
                struct status *s);

/* ---- watching ---------------------------------------------------------------------------------------- */

enum watch_event_kind { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK };
struct watch_event {
    enum watch_event_kind kind;
    struct object *object; /* a reference, the caller's; for a bookmark only its revision is set */
};
struct client_watch;
/* Events after `revision` (0: current state first as ADDED, then a bookmark). */
int client_watch(struct client *c, const struct call *call, int64_t revision, struct client_watch **ret,
                 struct status *s);
/* 0; -ETIMEDOUT; -EPIPE when the server ended it (watch again); 410 in s: list again. */
int client_watch_next(struct client_watch *w, struct mono deadline, struct watch_event *ret,
                      struct status *s);
void client_watch_close(struct client_watch *w); /* NULL is fine; wakes client_watch_next in another fiber */
/* What a WATCH_BOOKMARK event carries: an object of the kind with nothing but its revision. */
struct object *watch_bookmark(const struct resource *res, int64_t revision);

/* ---- what stands behind ------------------------------------------------------------------------------ */

/* Two implementations: client/https.h, and the API server's own in-process one (apiserver/local.h). */
struct client_ops {
    /* verb: the one enum verb bit (type/resource.h). body: create and update; patch: patch. */
    int (*call)(struct client *c, uint16_t verb, const struct call *call, const struct val *body,
                enum patch_kind kind, struct str patch, struct arena *a, const struct val **ret,
                struct status *s);
    int (*watch)(struct client *c, const struct call *call, int64_t revision, struct client_watch **ret,
                 struct status *s);
    int (*watch_next)(struct client_watch *w, struct mono deadline, struct watch_event *ret,
                      struct status *s);
    void (*watch_close)(struct client_watch *w);
    void (*free)(struct client *c);
};
struct client {
    const struct client_ops *ops;
    const char *name; /* user agent and default field manager */
};
struct client_watch {
    const struct client_ops *ops;
};
void client_free(struct client *c);

/* ---- events ------------------------------------------------------------------------------------------ */

/* Records an Event about an object (core/v1 Event; repeated ones are counted, a burst from one source is
 * limited: client-go's correlator). Never fails and never waits: a fiber of the recorder's writes them.
 * component: "kubelet", "deployment-controller". about: the object, or an ObjectReference when a part of it
 * is meant (fieldPath). */
struct event_recorder;
struct event_recorder *event_recorder_new(struct client *c, const char *component, const char *host);
void event_recorder_free(struct event_recorder *r);
void event_record(struct event_recorder *r, const struct resource *res, const struct val *about, bool warning,
                  const char *reason, const char *fmt, ...) PRINTF(6, 7);
/* With annotations (a MAP; NULL: none) for programs to read. */
void event_record_noted(struct event_recorder *r, const struct resource *res, const struct val *about,
                        const struct val *annotations, bool warning, const char *reason, const char *fmt, ...) PRINTF(7, 8);
