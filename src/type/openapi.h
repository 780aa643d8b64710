/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAPI documents of what is served, as JSON: one for each group version (v3, what kubectl reads first),
 * and one for all (v2, the swagger of older clients). They are made of the type tables and the resource table
 * at each call: keep them.
 */
#pragma once

#include "base/err.h"
#include "type/resource.h"

/* Served group version with its resources, compiled-in and custom. */
struct openapi_group {
    const char *group, *version;
    const struct resource *const *resources;
    size_t n;
};

/* The openAPIV3Schema of a custom resource as JSON text; empty when there is none. */
typedef struct str openapi_schema_fn(void *arg, const struct resource *r);

void openapi_v3(const struct openapi_group *g, openapi_schema_fn *schema, void *arg, struct buf *ret);
void openapi_v2(const struct openapi_group *groups, size_t n, openapi_schema_fn *schema, void *arg,
                struct buf *ret);
/* The v2 document in protobuf: openapi.v2.Document of gnostic. 0, or a sentence when it is no JSON. */
int openapi_v2_proto(struct str json, struct buf *ret, struct err *e);
/* The resources of a group version that are compiled in: for openapi_group; in the arena. */
struct openapi_group openapi_compiled_in(struct arena *a, const char *group, const char *version);
