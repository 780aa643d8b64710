/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Audit: what the policy wants to know of a request, as audit.k8s.io/v1 Events (https://k8s.io/docs/tasks/debug/debug-cluster/audit).
 * Without a policy file, but with a log: metadata of every request for a resource that came over the network.
 */
#pragma once

#include "apiserver/request.h"
#include "base/err.h"

int audit_open(struct apiserver *s, struct err *e);
void audit_close(struct apiserver *s);

/* audit_begin is a stage of requests: chooses what to note, and notes the arrival. */
int audit_begin(struct request *r);
/* From inside this process: only by a policy. agent: the client's name. */
int audit_begin_local(struct request *r, const char *agent);
/* What was sent, before anything is made of it. v of type t; text: a patch, NULL v. */
void audit_sent(struct request *r, const struct type *t, const struct val *v);
void audit_sent_patch(struct request *r, struct str text);
void audit_note(struct request *r, struct str key, struct str text); /* an annotation; the first of a key stays */
void audit_started(struct http_exchange *x); /* the answer has begun: x->started of long requests */
void audit_done(struct request *r);          /* it has ended */
void audit_metrics(struct apiserver *s, struct buf *b);
