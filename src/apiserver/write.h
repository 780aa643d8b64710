/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How objects change: the part of the request path that create, update, patch, delete and the writing
 * subresources share (decode, default, admit, prepare, validate, admit, store). Everything is compare-and-set
 * against the revision that was read; who did not say which revision they mean is retried.
 */
#pragma once

#include "apiserver/request.h"

/* Makes the new value (of the stored type, the request's own to write to) out of the present object; now is
 * NULL when there is none and one may be made. 0 or an HTTP code. May be called several times. */
typedef int change_fn(struct request *r, const struct object *now, void *arg, struct val **ret);

enum write_flags {
    WRITE_CREATES = 1 << 0,   /* the object is made when it is absent */
    WRITE_NO_ADMIT = 1 << 1,  /* admission has no say (bookkeeping of the server itself) */
    WRITE_NO_CHECKS = 1 << 2, /* neither prepare nor validate: fn did what is needed */
};

/* On definitions of custom kinds: their objects go before them. */
#define CRD_FINALIZER "customresourcecleanup.apiextensions.k8s.io"

/* What create works on. */
int write_create(struct request *r, struct val *v, const struct object **ret);
/* The named object (r->info); *ret_created (may be NULL). Answers nothing. */
int write_update(struct request *r, change_fn *fn, void *arg, unsigned flags, const struct object **ret,
                 bool *ret_created);

struct delete_options {
    int64_t grace; /* -1: not given */
    struct str uid, resource_version;
    struct str propagation; /* empty: not given */
    signed char orphan;     /* -1: not given */
    bool dry_run;
    bool unreadable; /* only what cannot be read from the store is to go */
};
/* *ret: the object as it was deleted or as it stands now; *ret_deleted: it is gone. */
int write_delete(struct request *r, struct str ns, struct str name, const struct delete_options *o,
                 const struct object **ret, bool *ret_deleted);
/* What speaks against preconditions.uid and .resourceVersion, in upstream's words; empty when nothing does. */
struct str delete_precondition_fault(struct arena *a, const struct object *now, const struct delete_options *o);
/* From body and query. */
int delete_options_parse(struct request *r, struct delete_options *ret);

/* ---- below: the store -------------------------------------------------------------------------------- */

/* Puts v (stored form) as a new object or in place of `now`: 0 with *ret held by the request; STORE_CONFLICT;
 * 507 when the store is full. Waits. */
int store_object(struct request *r, struct cache_kind *k, const struct object *now, struct val *v,
                 const struct object **ret);
/* last: what it looked like in the end, for those who watch. */
int remove_object(struct request *r, struct cache_kind *k, const struct object *now, const struct val *last,
                  const struct object **ret);
/* An op (its cookie's reference is taken) that goes into the transaction of the next store_object or
 * remove_object. */
struct store_op;
void storage_add_op(struct request *r, struct store_op op);
/* The same for an object in place of `now`. */
void storage_add_put(struct request *r, struct cache_kind *k, const struct object *now, struct val *v);
void storage_drop_ops(struct request *r); /* there will be no such transaction */
