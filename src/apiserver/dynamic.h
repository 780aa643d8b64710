/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission that is configured by objects: webhooks (admit_hook.c) and policies (admit_policy.c, admit_mutation.c). What they
 * share: a request as they see it, in whichever version of its kind (struct subject); their rules and selectors; their
 * expressions (dynamic_cel.c); and what was compiled of the configurations that stand (dynamic_config.c).
 */
#pragma once

#include "apiserver/admit.h"
#include "base/map.h"
#include "cel/cel.h"
#include "type/selector.h"

/* ---- the request ---------------------------------------------------------------------------------------- */

/* The objects of a request in one version of their kind. */
struct face {
    const struct resource *res;
    const struct type *type;
    const char *group, *version, *kind; /* of the objects: a Scale is autoscaling/v1 */
    const struct val *now, *old;        /* NULL: there is none */
};

struct subject {
    struct admission *a;
    const struct resource *res; /* as asked for */
    struct str sub, ns, name;
    const char *op;             /* "CREATE" ... */
    struct face *faces[8];      /* made when needed */
    unsigned n_faces;
    const struct resource *const *same; /* all served versions of the kind; made when needed */
    size_t n_same;
};

void subject_init(struct subject *s, struct admission *a);
/* In a version of the kind: 0, or the HTTP code of what failed in r->status. */
int subject_face(struct subject *s, const struct resource *res, struct face **ret);
/* f->now has become another: the request's object follows, other faces are made anew. */
int subject_changed(struct subject *s, struct face *f);
/* The AdmissionRequest. texts: objects and options as JSON text; else there are no objects, and options are plain. */
struct val *subject_request(struct subject *s, const struct face *f, bool texts);
/* The namespace that the request is in: NULL for what is in none, and for a namespace itself. */
const struct val *subject_namespace(struct subject *s);
/* Who it is, with what a request of the server's own may do. */
const struct user *subject_user(const struct subject *s);

/* ---- rules and selectors -------------------------------------------------------------------------------- */

/* The version of the resource that one of the rules (RuleWithOperations, or those with names) is for: the one that was asked
 * for, or, where equivalent, another of its kind; NULL: none. */
const struct resource *subject_match_rules(struct subject *s, const struct val *rules, bool equivalent);

struct admit_selectors {
    struct selector ns, object;
    bool any_ns, any_object; /* select everything */
    struct str fault;        /* they cannot be read */
};
/* Of a webhook or of MatchResources. */
void admit_selectors_parse(struct arena *a, const struct val *v, struct admit_selectors *ret);
/* *ret: both match. 0, or 404 when the namespace is not there, which counts only if the rules match. */
int subject_match_selectors(struct subject *s, const struct admit_selectors *x, bool *ret);

/* ---- expressions ---------------------------------------------------------------------------------------- */

enum { ADMIT_PARAMS = 1, ADMIT_AUTHORIZER = 2, ADMIT_PATCH = 4, ADMIT_ENVS = 8 };

struct admit_types;
/* The expressions of one configuration. Zero is not valid: admit_cel_init. */
struct admit_cel {
    struct arena *arena; /* of the configuration */
    const struct admit_types *types;
    unsigned version;    /* as cel_env_new */
    bool params;
    const struct cel_type *object_type, *params_type; /* NULL: dyn; where types are checked, not evaluated */
    struct cel_env *envs[ADMIT_ENVS];   /* made when needed */
    struct cel_type *variables_type;    /* NULL: `variables` is not there */
    struct admit_expr *variables;
    size_t n_variables;
    struct cel_program **programs;
    size_t n_programs;
};

struct admit_expr {
    struct cel_program *program; /* NULL: does not compile, or is not there */
    struct str source, fault;
    uint8_t env;
};

enum admit_want { WANT_ANY, WANT_BOOL, WANT_STRING, WANT_STRING_OR_NULL, WANT_OBJECT, WANT_JSON_PATCH };

const struct admit_types *admit_types_new(struct arena *a);
void admit_cel_init(struct admit_cel *c, struct arena *a, const struct admit_types *known, bool params, size_t max_variables,
                    unsigned version);
void admit_cel_done(struct admit_cel *c);
/* env: ADMIT_AUTHORIZER, ADMIT_PATCH. *ret has the fault when it does not compile. */
void admit_compile(struct admit_cel *c, struct str source, unsigned env, enum admit_want want, struct admit_expr *ret);
/* The next of `variables`; later expressions may use it. */
const struct admit_expr *admit_compile_variable(struct admit_cel *c, struct str name, struct str source);

/* What expressions are evaluated with. */
struct admit_eval {
    const struct admit_cel *cel;
    struct subject *s;
    const struct face *face;
    const struct val *params;     /* NULL: none */
    const struct type *params_type;
    const struct val *ns;
    uint64_t budget;
    struct arena *arena;
    /* private */
    uint64_t spent; /* by variables of the expression at hand */
    struct cel_val variables;
    const struct val *request;
    unsigned env;
    struct cel_authorizer authorizer;
};

enum { ADMIT_EXPR_FAILED = 1, ADMIT_BUDGET = 2 };
void admit_eval_init(struct admit_eval *ev, const struct admit_cel *c, struct subject *s, const struct face *f, uint64_t budget);
/* Variables are asked anew, and budget is what there is. */
void admit_eval_reset(struct admit_eval *ev, uint64_t budget);
/* 0; ADMIT_EXPR_FAILED with a sentence; ADMIT_BUDGET: all are over, with a sentence. */
int admit_evaluate(struct admit_eval *ev, const struct admit_expr *x, struct cel_val *ret, struct str *ret_fault);

/* matchConditions: compiled in their order. */
struct admit_conditions {
    const struct val *list;
    struct admit_expr *items;
    size_t n;
};
void admit_conditions_compile(struct admit_cel *c, const struct val *list, struct admit_conditions *ret);
enum admit_match { ADMIT_NO_MATCH, ADMIT_MATCH, ADMIT_MATCH_FAILED };
/* fails: what cannot be evaluated is a failure (with the sentence), else no match. ev's budget is the conditions' own. */
enum admit_match admit_conditions_match(struct admit_eval *ev, const struct admit_conditions *c, bool fails, struct str *ret_fault);

/* ---- configurations ------------------------------------------------------------------------------------- */

enum admit_source { MUTATING_HOOKS, VALIDATING_HOOKS, MUTATING_POLICIES, VALIDATING_POLICIES, ADMIT_SOURCES };

/* What was made of an object that configures admission. Immutable but for its references. */
struct admit_config {
    unsigned refs;
    struct object *object;
    struct arena arena;
    struct admit_cel cel;
    void *made; /* of the source's own kind, in the arena */
};
struct admit_item {
    struct admit_config *config;
    struct admit_config **bindings;
    size_t n_bindings;
};
struct admit_list {
    unsigned refs;
    struct arena arena;
    struct admit_item *items; /* by name */
    size_t n;
};

void dynamic_open(struct apiserver *s);
void dynamic_close(struct apiserver *s);
const struct admit_types *dynamic_types(const struct apiserver *s);
/* The configurations as they stand: a reference; NULL when there are none. */
struct admit_list *admit_list_get(struct apiserver *s, enum admit_source source);
void admit_list_unref(struct admit_list *l); /* NULL is fine */

/* A fiber: the status of validating policies, what checking the types of their expressions found (KEP-3488). */
void policy_status_follow(void *apiserver);

/* What the sources make of their objects; in c->made. */
typedef void admit_make(struct apiserver *s, struct admit_config *c);
admit_make admit_hooks_make, admit_policy_make, admit_binding_make, admit_mutation_make;

/* Mutating plugins run twice when something changed. What a source remembers of its first run. */
struct admit_rerun {
    bool second, wanted; /* this is the second run; there is to be one */
    struct admit_rerun_source {
        struct admit_list *list; /* the same in both runs */
        bool looked;
        struct map may, shall;   /* who wants to run again; who will */
        const struct val *last;  /* the object as it was left */
    } hooks, policies;
};
struct admit_rerun_source *admit_rerun_begin(struct admission *a, struct admit_rerun_source *x, enum admit_source source);
/* Something changed: all who want to will run again. */
void admit_rerun_all(struct admission *a, struct admit_rerun_source *x);
void admit_rerun_done(struct admit_rerun *x);

/* Objects by which policies are configured are not subject to admission that objects configure; those of webhooks neither, for
 * webhooks. */
bool admit_exempt(const struct admission *a, bool hooks);
/* Do the expressions of a new or changed configuration compile? Causes go to r->status. */
void dynamic_check(struct request *r, const struct resource *res, const struct val *v, const struct val *old);
