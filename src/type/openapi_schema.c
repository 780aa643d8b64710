/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions of types: what the tables say, in the words of JSON Schema and of Kubernetes' extensions. */
#include <stdio.h>

#include "names.h"
#include "type/openapi-internal.h"
#include "types.h"
#include "wire/json.h"

/* ---- leaves -------------------------------------------------------------------------------------------- */

static const struct {
    uint8_t kind;
    const char *type, *format;
} scalars[] = {
    {K_BOOL, "boolean", NULL},      {K_INT32, "integer", "int32"},  {K_INT64, "integer", "int64"},
    {K_UINT32, "integer", "int64"}, {K_UINT64, "integer", "int64"}, {K_FLOAT64, "number", "double"},
    {K_STRING, "string", NULL},     {K_BYTES, "string", "byte"},
};

/* Leaf kinds with a definition of their own. */
static const struct {
    uint8_t kind;
    const char *name;
} leaves[] = {
    {K_QUANTITY, "resource.Quantity"},     {K_TIME, "meta.v1.Time"},
    {K_MICROTIME, "meta.v1.MicroTime"},    {K_DURATION, "meta.v1.Duration"},
    {K_INTORSTRING, "intstr.IntOrString"},
};

static const struct type *leaf_type(const struct field *f)
{
    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
        if (leaves[i].kind == f->kind)
            return type_find(str_of(leaves[i].name));
    return field_type(f);
}

static const struct type *referred(const struct field *f)
{
    const struct type *t = leaf_type(f);
    return t && t->openapi ? t : NULL;
}

static void put_scalar(struct openapi *o, const struct field *f)
{
    for (size_t i = 0; i < ARRAY_SIZE(scalars); i++)
        if (scalars[i].kind == f->kind) {
            oa_str(o, "type", scalars[i].type);
            if (scalars[i].format)
                oa_str(o, "format", scalars[i].format);
            return;
        }
    if (f->kind == K_STRINGS) {
        oa_str(o, "type", "array");
        oa_raw(o, "items", STR("{\"type\":\"string\"}"));
    } else if (f->kind != K_ANY && !referred(f)) {
        oa_str(o, "type",
               f->kind == K_QUANTITY || f->kind == K_TIME || f->kind == K_MICROTIME ? "string" : "object");
    }
}

static void put_enum(struct openapi *o, const struct field *f)
{
    const struct field_extra *x = field_extra(f);
    if (!x || !x->enums || f->kind != K_STRING)
        return;
    oa_open(o, "enum", '[');
    for (size_t i = 0; x->enums[i]; i++)
        oa_str(o, NULL, x->enums[i]);
    oa_close(o, ']');
}

/* One value of the field: of a list or map, an item. */
static void put_item(struct openapi *o, const char *key, const struct field *f)
{
    const struct type *t = referred(f);
    if (t && o->version == OPENAPI_V2) {
        oa_ref(o, key, t);
        return;
    }
    oa_open(o, key, '{');
    if (t) {
        oa_open(o, "allOf", '[');
        oa_ref(o, NULL, t);
        oa_close(o, ']');
        if (f->kind == K_MESSAGE)
            oa_raw(o, "default", STR("{}"));
    } else {
        put_scalar(o, f);
        put_enum(o, f);
    }
    oa_close(o, '}');
}

/* ---- properties ---------------------------------------------------------------------------------------- */

static void put_list_marks(struct openapi *o, const struct field *f)
{
    const struct field_extra *x = field_extra(f);
    if (f->flags & FIELD_ATOMIC)
        oa_str(o, f->card == CARD_LIST ? "x-kubernetes-list-type" : "x-kubernetes-map-type", "atomic");
    if (f->flags & FIELD_GRANULAR)
        oa_str(o, "x-kubernetes-map-type", "granular");
    if (f->flags & FIELD_LISTSET)
        oa_str(o, "x-kubernetes-list-type", "set");
    if (!(f->flags & FIELD_LISTMAP) || !x || !x->list_keys)
        return;
    oa_open(o, "x-kubernetes-list-map-keys", '[');
    for (size_t i = 0; x->list_keys[i]; i++)
        oa_str(o, NULL, x->list_keys[i]);
    oa_close(o, ']');
    oa_str(o, "x-kubernetes-list-type", "map");
}

static void put_patch_marks(struct openapi *o, const struct field *f)
{
    const struct field_extra *x = field_extra(f);
    bool merge = f->flags & FIELD_PATCH_MERGE, retain = f->flags & FIELD_PATCH_RETAINKEYS;
    if (x && x->patch_key)
        oa_str(o, "x-kubernetes-patch-merge-key", x->patch_key);
    if (merge || retain)
        oa_str(o, "x-kubernetes-patch-strategy",
               merge && retain ? "merge,retainKeys"
               : merge         ? "merge"
                               : "retainKeys");
}

static void put_shape(struct openapi *o, const struct field *f)
{
    const struct type *t = referred(f);
    if (f->card == CARD_LIST) {
        oa_str(o, "type", "array");
        put_item(o, "items", f);
    } else if (f->card == CARD_MAP) {
        oa_str(o, "type", "object");
        put_item(o, "additionalProperties", f);
    } else if (t && o->version == OPENAPI_V2) {
        char ref[256];
        snprintf(ref, sizeof(ref), "#/definitions/%s", t->openapi);
        oa_str(o, "$ref", ref);
        o->used[t->index] |= 1;
    } else if (t) {
        oa_open(o, "allOf", '[');
        oa_ref(o, NULL, t);
        oa_close(o, ']');
        if (f->kind == K_MESSAGE && !(f->flags & FIELD_PTR))
            oa_raw(o, "default", STR("{}"));
    } else {
        put_scalar(o, f);
    }
}

static void put_property(struct openapi *o, const struct field *f)
{
    const struct field_extra *x = field_extra(f);
    oa_open(o, name_str(f->name).p, '{');
    if (f->doc)
        oa_str(o, "description", f->doc);
    put_shape(o, f);
    if (f->card == CARD_ONE && !referred(f)) {
        put_enum(o, f);
        if (o->version == OPENAPI_V3 && x && x->default_json)
            oa_raw(o, "default", str_of(x->default_json));
    }
    put_list_marks(o, f);
    put_patch_marks(o, f);
    oa_close(o, '}');
}

static void put_required(struct openapi *o, const struct type *t)
{
    bool any = false;
    for (unsigned i = 0; i < t->n_fields; i++)
        any = any || t->fields[i].flags & FIELD_REQUIRED;
    if (!any)
        return;
    oa_open(o, "required", '[');
    for (unsigned i = 0; i < t->n_fields; i++)
        if (t->fields[i].flags & FIELD_REQUIRED)
            oa_slice(o, NULL, name_str(t->fields[i].name));
    oa_close(o, ']');
}

static void put_kind(struct openapi *o, const struct type *t)
{
    struct str group = STR(""), version = str_of(t->api_version), rest;
    const char *kind = strrchr(t->name, '.');
    if (!t->api_version || !kind)
        return;
    if (str_cut(version, '/', &group, &rest))
        version = rest;
    else
        group = STR("");
    oa_open(o, "x-kubernetes-group-version-kind", '[');
    oa_open(o, NULL, '{');
    oa_slice(o, "group", group);
    oa_str(o, "kind", kind + 1);
    oa_slice(o, "version", version);
    oa_close(o, '}');
    oa_close(o, ']');
}

/* ---- definitions --------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *json;
} fixed[] = {
    {"resource.Quantity", "\"type\":\"string\""},
    {"meta.v1.Time", "\"type\":\"string\",\"format\":\"date-time\""},
    {"meta.v1.MicroTime", "\"type\":\"string\",\"format\":\"date-time\""},
    {"meta.v1.Duration", "\"type\":\"string\""},
    {"intstr.IntOrString", "\"type\":\"string\",\"format\":\"int-or-string\""},
};

static void put_leaf(struct openapi *o, const struct type *t)
{
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        if (strcmp(fixed[i].name, t->name) == 0) {
            if (o->version == OPENAPI_V3 && strcmp(t->name, "intstr.IntOrString") == 0)
                oa_raw(o, "oneOf", STR("[{\"type\":\"integer\"},{\"type\":\"string\"}]"));
            else if (o->version == OPENAPI_V3 && strcmp(t->name, "resource.Quantity") == 0)
                oa_raw(o, "oneOf", STR("[{\"type\":\"string\"},{\"type\":\"number\"}]"));
            else
                buf_printf(o->b, "%s%s", o->b->p[o->b->n - 1] == '{' ? "" : ",", fixed[i].json);
            return;
        }
    if (strncmp(t->name, "apiextensions.", 14) != 0)
        oa_str(o, "type", "object");
}

static void put_type(struct openapi *o, const struct type *t)
{
    oa_open(o, t->openapi, '{');
    if (t->doc)
        oa_str(o, "description", t->doc);
    if (t->flags & (TYPE_LEAF | TYPE_OR)) {
        put_leaf(o, t);
        oa_close(o, '}');
        return;
    }
    oa_str(o, "type", "object");
    if (t->n_fields) {
        oa_open(o, "properties", '{');
        for (unsigned i = 0; i < t->n_fields; i++)
            put_property(o, &t->fields[i]);
        oa_close(o, '}');
    }
    put_required(o, t);
    if (t->flags & TYPE_ATOMIC)
        oa_str(o, "x-kubernetes-map-type", "atomic");
    if (t->flags & TYPE_ROOT)
        put_kind(o, t);
    oa_close(o, '}');
}

/* ---- custom resources ---------------------------------------------------------------------------------- */

/* Version 2 cannot say that anything may be in an object, and old clients would refuse what they do not know. */
static struct val *for_version(const struct openapi *o, struct arena *a, struct val *schema)
{
    const struct val *keeps = val_key(schema, STR("x-kubernetes-preserve-unknown-fields"));
    const struct val *text = val_key(schema, STR("description"));
    if (o->version == OPENAPI_V3 || !val_bool(keeps, false))
        return schema;
    struct val *v = val_new(a, VAL_MAP);
    if (text)
        val_put(a, v, STR("description"), *text);
    return v;
}

#define META_TEXT "Standard object's metadata: its name, labels and the like."
#define META_NAME "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

static void put_custom(struct openapi *o, struct arena *a, const struct resource *r)
{
    struct str name = oa_custom_name(a, r), json = o->schema ? o->schema(o->arg, r) : STR("");
    struct val *schema = NULL;
    /* Beside a $ref nothing counts in version 3. */
    struct str meta = o->version == OPENAPI_V3
                          ? STR("{\"description\":\"" META_TEXT "\",\"allOf\":[{\"$ref\":\"#/components/schemas/" META_NAME "\"}]}")
                          : STR("{\"description\":\"" META_TEXT "\",\"$ref\":\"#/definitions/" META_NAME "\"}");
    if (!json.n || json_decode(a, NULL, json, 0, NULL, &schema, NULL) < 0 || !val_is(schema, VAL_MAP))
        schema = val_new(a, VAL_MAP);
    schema = for_version(o, a, schema);
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct val *properties = val_copy(a, val_key(schema, STR("properties"))) ?: val_new(a, VAL_MAP);
    struct val *text = NULL;
    (void)json_decode(a, NULL, STR("{\"description\":\"APIVersion defines in which version's form the object is written.\",\"type\":\"string\"}"), 0,
                      NULL, &text, NULL);
    val_put(a, properties, STR("apiVersion"), *text);
    (void)json_decode(a, NULL, STR("{\"description\":\"Kind of the object.\",\"type\":\"string\"}"), 0, NULL, &text, NULL);
    val_put(a, properties, STR("kind"), *text);
    (void)json_decode(a, NULL, meta, 0, NULL, &text, NULL);
    val_put(a, properties, STR("metadata"), *text);
    val_put(a, schema, STR("properties"), *properties);
    val_put_str(a, schema, STR("type"), STR("object"));
    json_encode(&b, NULL, schema, JSON_NO_HTML);
    oa_raw(o, name.p, buf_str(&b));
    o->b->n--; /* inside of the last bracket */
    oa_open(o, "x-kubernetes-group-version-kind", '[');
    oa_gvk(o, r->group, r->version, r->kind);
    oa_close(o, ']');
    oa_close(o, '}');
    o->used[T_meta_v1_ObjectMeta] |= 1;
}

static void put_custom_list(struct openapi *o, struct arena *a, const struct resource *r)
{
    struct str item = oa_custom_name(a, r);
    oa_open(o, arena_printf(a, STR_FMT "List", STR_ARG(item)).p, '{');
    oa_str(o, "type", "object");
    oa_open(o, "properties", '{');
    oa_raw(o, "apiVersion", STR("{\"type\":\"string\"}"));
    oa_raw(o, "kind", STR("{\"type\":\"string\"}"));
    oa_ref(o, "metadata", type_at(T_meta_v1_ListMeta));
    oa_open(o, "items", '{');
    oa_str(o, "type", "array");
    oa_ref_name(o, "items", item.p);
    oa_close(o, '}');
    oa_close(o, '}');
    oa_raw(o, "required", STR("[\"items\"]"));
    oa_open(o, "x-kubernetes-group-version-kind", '[');
    oa_gvk(o, r->group, r->version, r->list_kind);
    oa_close(o, ']');
    oa_close(o, '}');
}

void openapi_schemas(struct openapi *o, const struct openapi_group *groups, size_t n)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    oa_raw(o, OPENAPI_PATCH, STR("{\"description\":\"A change to an object.\",\"type\":\"object\"}"));
    for (size_t g = 0; g < n; g++)
        for (size_t i = 0; i < groups[g].n; i++) {
            const struct resource *r = groups[g].resources[i];
            if (r->index < n_resources)
                continue;
            put_custom(o, &a, r);
            put_custom_list(o, &a, r);
        }
    for (bool more = true; more;) {
        more = false;
        for (unsigned i = 1; i < n_types; i++)
            if (o->used[i] == 1 && types[i].openapi) {
                o->used[i] = 3;
                put_type(o, &types[i]);
                more = true;
            }
    }
}
