/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions of custom resources (x-kubernetes-validations, KEP-2876) and patterns of their schemas. They are compiled when
 * they are first needed, into `compiled` of the rules of a schema, and kept as long as the definition's text.
 */
#pragma once

#include "cel/cel.h"
#include "type/status.h"
#include "type/validate_custom.h"

/* What was compiled for the schemas of one definition. Zero is a valid empty one. */
struct custom_programs {
    struct arena arena; /* types of variables, and what hangs on the schemas */
    struct cel_program **items;
    size_t n;
    struct cel_regex **patterns;
    size_t n_patterns;
};
void custom_programs_done(struct custom_programs *p);

/* A custom_match_fn; arg: the struct custom_programs. */
custom_match_fn custom_match;
/* Evaluates the rules of an object, old NULL when it is new; causes go to s. */
void custom_expressions(struct custom_programs *programs, const struct structural *schema, const struct val *v, const struct val *old,
                        struct status *s);
/* The same for the value of a default that stands at a schema, as what is made and as what stays what it is. */
void custom_expressions_of_default(struct custom_programs *programs, const struct structural *schema, struct status *s);
/* Do the expressions of a definition compile, may they cost what they cost? Causes go to s; at: path of the schema. */
void custom_expressions_check(struct custom_programs *programs, const struct structural *schema, struct str at, struct status *s);
/* Do its patterns compile? */
void custom_patterns_check(const struct structural *schema, struct str at, struct status *s);
