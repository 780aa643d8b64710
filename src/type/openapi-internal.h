/* SPDX-License-Identifier: Apache-2.0 */
/* The two halves of an OpenAPI document, and a way to write JSON without counting commas. */
#pragma once

#include "type/openapi.h"

/* What a PATCH takes: no type of the tables. */
#define OPENAPI_PATCH "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"

enum openapi_version { OPENAPI_V2 = 2, OPENAPI_V3 = 3 };

struct openapi {
    struct buf *b;
    /* What a PATCH takes: no type of the tables. */
#define OPENAPI_PATCH "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"

    enum openapi_version version;
    openapi_schema_fn *schema;
    void *arg;
    uint8_t *used; /* by type: it is referred to and has to be defined */
};

/* Opens and closes; keys and commas come by themselves. key NULL inside of arrays. */
void oa_open(struct openapi *o, const char *key, char bracket); /* '{' or '[' */
void oa_close(struct openapi *o, char bracket);                 /* '}' or ']' */
void oa_str(struct openapi *o, const char *key, const char *value);
void oa_slice(struct openapi *o, const char *key, struct str value);
void oa_raw(struct openapi *o, const char *key, struct str json);
void oa_bool(struct openapi *o, const char *key, bool value);

/* {"$ref": "#/components/schemas/X"}; marks the type as used. */
void oa_ref(struct openapi *o, const char *key, const struct type *t);
void oa_ref_name(struct openapi *o, const char *key, const char *name);
/* The name of a custom resource's definition: com.example.v1.Widget. */
struct str oa_custom_name(struct arena *a, const struct resource *r);
void oa_gvk(struct openapi *o, const char *group, const char *version, const char *kind);

void openapi_paths(struct openapi *o, const struct openapi_group *g);
/* Everything that is used, and what that uses. */
void openapi_schemas(struct openapi *o, const struct openapi_group *groups, size_t n);
