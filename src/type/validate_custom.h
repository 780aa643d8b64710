/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The value validations of a custom resource's schema, with upstream's sentences (kube-openapi) and ratcheting (KEP-4008): on
 * an update what did not change is not judged. Expressions (x-kubernetes-validations) are not judged here. Pure.
 */
#pragma once

#include "type/resource.h"
#include "type/status.h"
#include "type/structural.h"

/* Does the text match rules->pattern (RE2 syntax)? */
typedef bool custom_match_fn(void *arg, struct structural_rules *rules, struct str text);

struct custom_checks {
    custom_match_fn *match; /* NULL: patterns are not judged */
    void *arg;
};

/* Items of an associative list as they were before, found by their keys, NULL for new ones: as many as v has. Of other lists none
 * can be told to be. */
const struct val **custom_former_items(struct arena *a, const struct structural *s, const struct val *v, const struct val *old);
/* v: the object, plain; old: as it was, NULL when it is new. Causes go to s. */
void custom_validate(const struct structural *schema, const struct val *v, const struct val *old,
                     const struct custom_checks *checks, struct status *s);
/* The resources within it: their apiVersion, kind and metadata, which structural_embed has read before. */
void custom_validate_embedded(const struct resource *res, const struct structural *schema, const struct val *v, struct status *s);
