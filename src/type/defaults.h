/* SPDX-License-Identifier: Apache-2.0 */
/* Defaulting, validation, update rules: what the API server does to an object between decoding and admission
 * or store. Constant defaults and simple rules come from the tables; what depends on other fields is in
 * defaults_*.c and validate_*.c, one file a group, reached through one table by type. */
#pragma once

#include "type/resource.h"
#include "type/status.h"

/* Sets every default of a decoded object (upstream's SetObjectDefaults_X), in place. */
void defaults_apply(struct arena *a, const struct type *t, struct val *v);

/* metadata rules for a new object (name, generateName, namespace, labels, annotations ...) and the kind's
 * own: collects causes; the caller turns them into 422 with status_invalid(). */
void validate_create(const struct resource *r, const struct val *v, struct status *s);
/* Also what must not change, and resourceVersion format. subresource: NULL, "status", "scale" ... */
void validate_update(const struct resource *r, const char *subresource, const struct val *v,
                     const struct val *old, struct status *s);

/* What a strategy's PrepareForCreate / PrepareForUpdate does: drops status on create and on spec updates,
 * drops spec changes on status updates, moves metadata.generation, clears fields of features that are off. In
 * place. */
void prepare_create(struct arena *a, const struct resource *r, struct val *v);
void prepare_update(struct arena *a, const struct resource *r, const char *subresource, struct val *v,
                    const struct val *old);
/* Warnings for the client (deprecated fields, bad patterns), as upstream gives them. */
typedef void warn_fn(void *arg, struct str text);
void object_warnings(const struct resource *r, const struct val *v, const struct val *old, warn_fn *warn,
                     void *arg);
