/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on its way through the server, whether it came over HTTP or from inside this process (local.h).
 * The stages of request.c fill it in, one after the other; a stage returns 0 to go on, or the HTTP code of a
 * refusal whose reason stands in `status`.
 */
#pragma once

#include "apiserver/cache.h"
#include "net/http.h"
#include "type/resource.h"
#include "type/status.h"

struct apiserver;

struct user_extra {
    struct str key;
    const struct str *values;
    size_t n;
};
struct user {
    struct str name, uid;
    const struct str *groups;
    size_t n_groups;
    const struct user_extra *extra;
    size_t n_extra;
};
bool user_in_group(const struct user *u, const char *group);

/* What is asked for, read from method and path alone (upstream's RequestInfo). */
struct request_info {
    bool is_resource;
    struct str
        verb; /* get list watch create update patch delete deletecollection; else the method in lower case */
    struct str path; /* decoded */
    struct str group, version, ns, resource, subresource, name;
    struct str rest; /* raw path behind the subresource, for proxies; with its slash */
};

/* The query. */
struct request_options {
    struct str label_selector, field_selector, resource_version, resource_version_match, continue_token;
    struct str field_manager, field_validation, propagation;
    int64_t limit, timeout, grace; /* timeout 0: none given; grace -1: none given */
    bool watch, bookmarks, dry_run, force, pretty;
    signed char send_initial, orphan; /* -1: not given */
    struct str uid, delete_revision;  /* preconditions of a deletion from inside this process */
};

enum media {
    MEDIA_NONE,
    MEDIA_JSON,
    MEDIA_YAML,
    MEDIA_PROTO,
    MEDIA_JSON_PATCH,
    MEDIA_MERGE_PATCH,
    MEDIA_STRATEGIC_PATCH,
    MEDIA_APPLY_PATCH,
    MEDIA_OTHER
};
enum form { FORM_OBJECT, FORM_TABLE, FORM_PARTIAL };
enum include { INCLUDE_METADATA, INCLUDE_NONE, INCLUDE_OBJECT };

enum answer_kind { ANSWER_NONE, ANSWER_OBJECT, ANSWER_VALUE, ANSWER_LIST, ANSWER_TEXT, ANSWER_SENT };

struct answer {
    enum answer_kind kind;
    int code;
    const struct object *object; /* held by the request */
    const struct val *val;       /* VALUE: of that type */
    const struct type *type;
    const struct object **items; /* LIST: held by the request, through a tree */
    size_t n_items;
    int64_t revision;
    struct str continue_token;
    int64_t remaining;  /* 0: not said */
    struct str text;    /* TEXT */
    const char *content_type;
};

struct held;
struct quota_lock;
struct request_audit;
struct flow_seat;

struct request {
    struct apiserver *server;
    struct http_exchange *x; /* NULL: from inside this process */
    struct arena *arena;
    struct status status;
    struct wall now;
    struct mono begun, deadline; /* deadline: MONO_NEVER when it lasts as long as its client likes */
    int64_t not_ours; /* ns of its time that it waited for its turn and for webhooks */
    struct str audit_id;

    struct user user;
    struct user acting_for; /* who impersonates; name empty when nobody does */
    const char *impersonated_by; /* the mode of KEP-5284 that allowed it; NULL: without constraint */
    bool trusted;           /* from inside this process: not authorised again */

    struct request_info info;
    struct request_options opt;
    struct str query;
    struct str ns;              /* of the objects: empty for kinds without namespaces */
    const struct resource *res; /* as asked for; NULL when there is none of that name */
    const struct subresource *sub;
    bool extended;              /* an extension server's (aggregate.h); res is NULL then */
    struct cache_kind *kind;    /* of the stored form */

    /* how to answer */
    enum media media;
    enum form form;
    enum include include;

    /* what was sent */
    struct str body;
    enum media body_media;
    bool body_read;
    const struct val *body_val; /* from inside this process: the object itself */

    struct str *warnings;
    size_t n_warnings;
    struct val *annotations; /* MAP for the audit log; NULL: none */
    bool name_made;          /* of a new object, from generateName */
    struct request_audit *audit; /* audit.h; NULL: nothing is noted */

    struct answer answer;
    struct held *held;
    struct store_op *extra_ops; /* go into the next transaction with the object itself */
    size_t n_extra_ops;
    struct quota_lock *quota_lock; /* quota_lock.h */
    bool quota_lost; /* the last transaction failed since a quota had changed */
    const struct val *sent;    /* the object as it was sent, where a webhook has turned it into the stored version */
    struct str sent_key;       /* what it was turned into: conversion.h */
    const struct val *managed; /* managedFields of what is being written (track.h) */
    bool managed_known;        /* they were worked out already */
    const char *kubelet_cn; /* whose certificate the kubelet must show that it goes on to (backend.h) */
    struct flow_seat *seat; /* flow_level.h; NULL: none */
    unsigned *in_flight; /* the counter this request holds up, NULL for none */
};

typedef int request_stage(struct request *r);

void request_init(struct request *r, struct apiserver *s, struct arena *a, struct http_exchange *x);
void request_done(struct request *r); /* lets go of what it holds */

/* Keeps an object (a tree) until the request ends. */
const struct object *request_hold(struct request *r, const struct object *o);
void request_hold_taken(struct request *r, struct object *o); /* takes the caller's reference */
void request_hold_tree(struct request *r, struct tree *t);    /* takes the caller's reference */
void request_warn(struct request *r, struct str text);        /* a Warning header; each text once */

/* ---- the stages, in order ---------------------------------------------------------------------------- */

request_stage request_parse;        /* info.c: method and path */
request_stage request_bound;        /* bound.c: until when; not while the server ends */
request_stage request_authenticate; /* authn.c: who */
request_stage audit_begin;          /* audit.h: what is to be noted of it */
request_stage request_impersonate;  /* impersonate.c: on whose behalf */
request_stage request_limit;        /* limit.c: its turn? */
request_stage request_authorize;    /* authz.c: may they */
request_stage request_negotiate;    /* negotiate.c: in which form to answer */
request_stage request_route;        /* route.c: to the verb, subresource or page */

/* Answers an exchange: all stages, then what came out of them. http_handler with the server as ctx. */
void request_serve(void *server, struct http_exchange *x);

/* ---- pieces the stages share ------------------------------------------------------------------------- */

int info_parse(struct arena *a, struct str method, struct str path, struct str query,
               struct request_info *ret);
/* The name in a field selector metadata.name=x; empty when there is none. */
struct str name_in_selector(struct arena *a, struct str text);
bool request_long_running(const struct request *r);
int request_read_body(struct request *r); /* into r->body: 0 or an HTTP code */
int options_parse(struct request *r);

/* answer.c */
void answer_object(struct request *r, int code, const struct object *o); /* holds it */
void answer_value(struct request *r, int code, const struct type *t, const struct val *v);
void answer_text(struct request *r, int code, const char *content_type, struct str text);
/* Status "Success": about an object that was deleted (code 200), or that something was done (201). */
void answer_success(struct request *r, int code, const struct resource *res, struct str name, struct str uid);
void answer_encode(struct request *r, struct buf *b); /* the body, if there is one, as the media type has it before finishing */
void answer_send(struct request *r); /* what r->answer or r->status says, to r->x */
/* The value of an object in the version that was asked for, without its kind when it stands in a list. */
struct val answer_item(struct request *r, const struct object *o, bool in_list);
struct val *answer_list_val(struct request *r);

/* encode.c: an object or list in the form and media type of the request, appended */
void encode_object(struct request *r, struct buf *b, const struct object *o);
/* full: takes what there is whenever that is a piece, and leaves the buffer empty; negative ends it. NULL: all goes into b. */
typedef int encode_piece(struct request *r, struct buf *b);
int encode_list(struct request *r, struct buf *b, encode_piece *full);
/* What stands between two items, or the last one and the end. */
int encode_piece_full(struct request *r, struct buf *b, encode_piece *full);
void encode_value(struct request *r, struct buf *b, const struct type *t, const struct val *v);
/* One event of a watch, framed. columns: tables carry their columns in the first event only. */
void encode_event(struct request *r, struct buf *b, const char *type, const struct object *o, bool columns);
void encode_bookmark(struct request *r, struct buf *b, int64_t revision, bool initial_end);
void encode_error_event(struct request *r, struct buf *b, const struct status *s);
/* Which of the offered media types (applications' all) an Accept header likes best, the first of equals; -1: none. */
int accept_best(struct str accept, const char *const *offered, size_t n);
const char *media_name(enum media m);

/* table.c: metav1.Table as JSON */
struct table {
    const struct resource *res;
    const struct object **items;
    size_t n;
    bool columns;
    enum include include;
    struct str resource_version, continue_token;
    int64_t remaining;
};
int table_encode(struct request *r, struct buf *b, const struct table *t, encode_piece *full);

/* decode.c */
/* The body as an object of a type; checks kind and apiVersion (those of res or of the subresource). Defaults
 * are not applied. *ret is the request's own to write to. */
int decode_body(struct request *r, const struct type *t, const char *api_version, const char *kind,
                struct val **ret);
int decode_options(struct request *r, const struct type *t, const char *kind, struct val **ret);
/* Reads the body; what it is. */
int decode_media(struct request *r, enum media *ret);
struct json_report;
/* Custom resources keep what their schema knows; rep hears of the rest. */
int settle_custom(struct request *r, const struct type *t, struct val *v, struct json_report *rep);
int decode_json(struct request *r, const struct type *t, struct str text, struct val **ret);

/* convert.c: between a served version and the stored one */
const struct val *convert_from_stored(struct arena *a, const struct resource *to, const struct val *v);
struct val *convert_to_stored(struct arena *a, const struct resource *from, struct val *v);
const struct resource *stored_resource(const struct resource *r);
bool converts_to(const struct resource *stored, const struct resource *to); /* versions of one kind */
