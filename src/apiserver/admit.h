/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: a table of plugins (admit.c), each a file admit_*.c. Those that change run before validation,
 * those that only judge after it. A plugin returns 0, or the HTTP code of a refusal written to the request's
 * status.
 */
#pragma once

#include "apiserver/request.h"

enum admit_op { ADMIT_CREATE = 1, ADMIT_UPDATE = 2, ADMIT_DELETE = 4, ADMIT_CONNECT = 8, ADMIT_BODY = 16 /* of a plugin: also bodies of subresources */ };

/* What a subresource is sent that is no form of the object itself: a Binding, PodExecOptions. */
struct admit_body {
    const struct type *type;
    const char *group, *version, *kind;
};
struct admit_rerun;
struct delete_options;

struct admission {
    struct request *r;
    enum admit_op op;
    const struct resource *res; /* stored form */
    const char *sub;            /* NULL or the subresource */
    struct str ns, name;
    struct val *v;           /* the new object, to be changed; NULL when deleting or connecting */
    const struct val *old;   /* NULL when creating */
    bool dry_run;
    const struct admit_body *body;         /* NULL: v and old are objects of the kind */
    const struct delete_options *deletion; /* of a deletion */
    struct admit_rerun *rerun;             /* dynamic.h; while mutating plugins run */
};

typedef int admit_fn(struct admission *a);

struct admit_plugin {
    const char *name; /* upstream's, for --enable-admission-plugins */
    bool on;          /* by default */
    unsigned ops;     /* admit_op bits it wants to see */
    admit_fn *mutate, *validate;
};

int admit_mutate(struct admission *a);
int admit_validate(struct admission *a);
/* A whole subresource request with a body of its own: both. v may be changed. */
int admit_subresource(struct request *r, enum admit_op op, const struct admit_body *body, struct val *v);
struct apiserver;
/* Chooses the plugins that run. -EINVAL with a sentence for unknown names. */
int admit_setup(struct apiserver *s, struct err *e);

/* Of a request that connects: its body is made of the query. */
int admit_connect(struct request *r);

/* The named object of a kind from the cache, for plugins; NULL when there is none. Borrowed until the next
 * wait. */
const struct val *admit_find(const struct admission *a, uint16_t res, struct str ns, struct str name);
int admit_forbid(struct admission *a, const char *fmt, ...) PRINTF(2, 3);
static inline bool admit_is(const struct admission *a, uint16_t res, const char *sub)
{
    return a->res->index == res && (sub ? a->sub && strcmp(a->sub, sub) == 0 : !a->sub);
}

admit_fn admit_namespace_lifecycle, admit_namespace_delete, admit_service_account, admit_priority,
    admit_default_toleration_seconds, admit_limit_ranger, admit_limit_ranger_check, admit_resource_quota,
    admit_pod_security, admit_node_restriction, admit_taint_nodes, admit_default_storage_class,
    admit_runtime_class, admit_runtime_class_check, admit_deny_external_ips, admit_storage_in_use,
    admit_default_ingress_class, admit_pvc_resize, admit_certificate_approval, admit_certificate_signing,
    admit_certificate_subject, admit_trust_bundle, admit_mutating_webhooks, admit_validating_webhooks, admit_mutating_policies,
    admit_validating_policies, admit_service_account_check, admit_pod_resize, admit_declared_features;
