/* SPDX-License-Identifier: Apache-2.0 */
/* What the two kinds of admission policies share (KEP-3488, KEP-3962): which requests they are for, their bindings, their
 * parameters, their expressions. */
#pragma once

#include "apiserver/dynamic.h"

/* MatchResources. */
struct constraints {
    struct admit_selectors selectors;
    const struct val *rules, *excluded;
    bool equivalent;
};

struct policy {
    const struct val *spec;
    struct str name;
    bool ignore, reinvoke;
    struct constraints constraints;
    bool has_params;
    struct str param_group, param_version, param_kind;
    struct admit_conditions conditions;
    struct admit_expr *checks, *messages; /* of validations; of mutations: checks alone */
    size_t n_checks;
    struct admit_expr *notes;             /* of auditAnnotations */
    size_t n_notes;
};

struct binding {
    const struct val *spec;
    struct str name;
    bool has_match;
    struct constraints constraints;
    const struct val *param_ref; /* NULL: none */
    struct selector params;
    struct str fault;            /* its selector cannot be read */
};

/* All but checks, messages and notes; c->cel is ready for them. */
struct policy *policy_make(struct apiserver *s, struct admit_config *c);

struct param {
    const struct val *v; /* NULL: no parameters */
    const struct type *type;
};

/* A policy and a binding that are for the request, with one set of parameters; or what is wrong with them. */
struct invocation {
    const struct admit_config *config;
    const struct policy *policy;
    const struct binding *binding; /* NULL: the policy itself is at fault */
    struct face *face;
    struct param param;
    struct str fault;              /* empty: none */
};

/* Those of a list, in order; *ret in the request's arena. */
void policy_invocations(struct subject *s, const struct admit_list *l, struct invocation **ret, size_t *ret_n);
/* 403 in the words of upstream's admission.NewForbidden, about the request's object. */
int policy_forbid(struct subject *s, struct str message);
