/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's own error: code, reason, message, details (metav1.Status; API conventions, "Response Status
 * Kind"). Every refusal of a request is one of these, made where the fault is known. Functions that may
 * refuse return 0 or the HTTP code (positive) and fill the status; negative stays fatal (-errno).
 */
#pragma once

#include "wire/value.h"

struct cause {
    const char *reason; /* "FieldValueInvalid", "FieldValueRequired", "FieldValueDuplicate" ... */
    struct str field;   /* "spec.containers[0].name" */
    struct str message; /* `Invalid value: "x": must be ...` */
};

struct status {
    struct arena *arena; /* where texts go; set by status_init */
    int code;            /* HTTP; 0: no error */
    const char *reason;  /* "NotFound", "AlreadyExists", "Conflict", "Invalid" ...; "" when none */
    struct str message;
    struct str name, group,
        kind; /* details; kind is a kind for Invalid, a resource otherwise, as upstream has it */
    struct str uid;
    int retry_after; /* seconds, 0 none */
    struct cause *causes;
    size_t n_causes, cap_causes;
};

void status_init(struct status *s, struct arena *a);
/* Sets code, reason (from the code when NULL) and message; returns code. */
int status_set(struct status *s, int code, const char *reason, const char *fmt, ...) PRINTF(4, 5);

/* Upstream's constructors (apimachinery/pkg/api/errors), with its messages. All return the code. */
struct resource;
int status_not_found(struct status *s, const struct resource *r, struct str name);
int status_already_exists(struct status *s, const struct resource *r, struct str name);
int status_conflict(struct status *s, const struct resource *r, struct str name, const char *why);
int status_bad_request(struct status *s, const char *fmt, ...) PRINTF(2, 3);
int status_forbidden(struct status *s, const struct resource *r, struct str name, const char *why);
int status_method_not_supported(struct status *s, const struct resource *r, const char *action);
int status_gone(struct status *s, const char *fmt, ...) PRINTF(2, 3); /* 410 Expired */
int status_internal(struct status *s, const char *fmt, ...) PRINTF(2, 3);
/* 422 from the causes collected so far; 0 when there are none. kind/name of the object. */
int status_invalid(struct status *s, struct str group, struct str kind, struct str name);

/* Collecting causes (k8s.io/apimachinery field.Error). path as "spec.replicas". */
void cause_add(struct status *s, const char *reason, struct str path, const char *fmt, ...) PRINTF(4, 5);
void cause_required(struct status *s, struct str path, const char *detail);
void cause_invalid(struct status *s, struct str path, const struct val *value, const char *detail);
void cause_not_supported(struct status *s, struct str path, const struct val *value,
                         const char *const *supported);
void cause_duplicate(struct status *s, struct str path, const struct val *value);
void cause_forbidden(struct status *s, struct str path, const char *detail);
void cause_too_long(struct status *s, struct str path, size_t max);
void cause_too_many(struct status *s, struct str path, size_t n, size_t max);
void cause_not_found(struct status *s, struct str path, const struct val *value);

/* The Status object (type apis.meta.v1.Status), and back from one that a server sent. */
struct val *status_to_val(const struct status *s, struct arena *a);
void status_from_val(struct status *s, const struct val *v);
