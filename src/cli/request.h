/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests as kubectl makes them: by path, bodies and answers untyped, so that what the server sends is what is
 * shown. Typed calls (client/client.h) know only kinds that are compiled in.
 *
 * Outcomes: 0, or not 0 with the reason in the status: its code is the server's, or REQUEST_LOST when no answer came.
 */
#pragma once

#include "cli/kinds.h"

enum { REQUEST_LOST = -1 };

struct request {
    const char *method; /* NULL: GET */
    struct str path;
    struct str query; /* encoded; may be empty */
    const char *accept, *content_type;
    struct str body;
    const struct type *type; /* to decode the answer as; NULL: untyped */
    const char *verb;       /* for sentences about refusals: "get", "post" ... */
    const struct kind *kind; /* the same; may be NULL */
    struct str name;        /* the same */
};

/* The path of a kind, of one object (name not empty), of a part of it (sub not NULL). */
struct str request_path(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub);

/* The answer's text, in the arena. */
int request_text(struct cli *c, const struct request *r, struct str *ret, struct status *s);
/* The answer as an untyped value (MAP). */
int request_value(struct cli *c, const struct request *r, struct val **ret, struct status *s);
/* The call, its body unread: for logs and watches. No deadline but that of getting an answer. */
int request_open(struct cli *c, const struct request *r, struct http_call **ret, struct status *s);

/* The usual ones. query may be empty. The answer is untyped; ret may be NULL. */
int request_get(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub, struct val **ret,
                struct status *s);
int request_list(struct cli *c, const struct kind *k, struct str ns, struct str query, struct val **ret,
                 struct status *s);
int request_create(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub,
                   struct str query, struct str body, struct val **ret, struct status *s);
int request_update(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub,
                   struct str query, struct str body, struct val **ret, struct status *s);
int request_patch(struct cli *c, const struct kind *k, struct str ns, struct str name, const char *sub, struct str query,
                  enum patch_kind how, struct str patch, struct val **ret, struct status *s);
int request_delete(struct cli *c, const struct kind *k, struct str ns, struct str name, struct str options,
                   struct val **ret, struct status *s);

/* Text of a query, piece by piece: empty values are left out. */
struct str query_with(struct cli *c, struct str query, const char *key, struct str value);
/* fieldManager, dryRun, fieldValidation as they are given to writes. */
struct str query_write(struct cli *c, const char *manager, bool dry_run, const char *validation);

/* The object as JSON text without white space, in the arena. */
struct str json_text(struct cli *c, const struct type *t, const struct val *v);

/* Is this answer of that reason? */
static inline bool refused_as(const struct status *s, const char *reason)
{
    return s->code > 0 && !strcmp(s->reason, reason);
}

/* ---- watching --------------------------------------------------------------------------------------------- */

struct watching;
struct event {
    struct str type; /* "ADDED" ... "ERROR" */
    struct val *object;
};
/* Watches the kind from a revision ("" or "0": with the present state first). query: selectors, encoded. */
int watch_open(struct cli *c, const struct kind *k, struct str ns, struct str query, struct str revision,
               const char *accept, struct watching **ret, struct status *s);
/* 0 with an event in the arena given; -ETIMEDOUT; -EPIPE when the server ended it. */
int watch_next(struct watching *w, struct arena *a, struct mono deadline, struct event *ret);
void watch_close(struct watching *w);
