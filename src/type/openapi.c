/* SPDX-License-Identifier: Apache-2.0 */
#include "type/openapi-internal.h"

#include "types.h"
#include "wire/json.h"

/* ---- writing JSON -------------------------------------------------------------------------------------- */

static void start(struct openapi *o, const char *key)
{
    char last = o->b->n ? o->b->p[o->b->n - 1] : '{';
    if (last != '{' && last != '[' && last != ':')
        buf_putc(o->b, ',');
    if (key) {
        json_encode_str(o->b, str_of(key), JSON_NO_HTML);
        buf_putc(o->b, ':');
    }
}

void oa_open(struct openapi *o, const char *key, char bracket)
{
    start(o, key);
    buf_putc(o->b, bracket);
}

void oa_close(struct openapi *o, char bracket)
{
    buf_putc(o->b, bracket);
}

void oa_slice(struct openapi *o, const char *key, struct str value)
{
    start(o, key);
    json_encode_str(o->b, value, JSON_NO_HTML);
}

void oa_str(struct openapi *o, const char *key, const char *value)
{
    oa_slice(o, key, str_of(value));
}

void oa_raw(struct openapi *o, const char *key, struct str json)
{
    start(o, key);
    buf_putstr(o->b, json);
}

void oa_bool(struct openapi *o, const char *key, bool value)
{
    oa_raw(o, key, value ? STR("true") : STR("false"));
}

void oa_ref_name(struct openapi *o, const char *key, const char *name)
{
    start(o, key);
    buf_printf(o->b, "{\"$ref\":\"%s%s\"}",
               o->version == OPENAPI_V3 ? "#/components/schemas/" : "#/definitions/", name);
}

void oa_ref(struct openapi *o, const char *key, const struct type *t)
{
    if (t >= types && t < types + n_types)
        o->used[t->index] |= 1;
    oa_ref_name(o, key, t->openapi);
}

void oa_gvk(struct openapi *o, const char *group, const char *version, const char *kind)
{
    oa_open(o, NULL, '{');
    oa_str(o, "group", group);
    oa_str(o, "kind", kind);
    oa_str(o, "version", version);
    oa_close(o, '}');
}

/* The parts of the group backwards, as Java names packages. */
struct str oa_custom_name(struct arena *a, const struct resource *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str rest = str_of(r->group);
    for (ssize_t dot; (dot = str_rfind(rest, '.')) >= 0; rest = str_slice(rest, 0, (size_t)dot))
        buf_printf(&b, STR_FMT ".", STR_ARG(str_from(rest, (size_t)dot + 1)));
    buf_printf(&b, STR_FMT ".%s.%s", STR_ARG(rest), r->version, r->kind);
    return arena_str(a, buf_str(&b));
}

/* ---- documents ----------------------------------------------------------------------------------------- */

struct openapi_group openapi_compiled_in(struct arena *a, const char *group, const char *version)
{
    const struct resource **list = ARENA_ARRAY(a, const struct resource *, n_resources);
    struct openapi_group g = {.group = group, .version = version, .resources = list};
    for (unsigned i = 1; i < n_resources; i++)
        if (strcmp(resources[i].group, group) == 0 && strcmp(resources[i].version, version) == 0)
            list[g.n++] = &resources[i];
    return g;
}

static void put_info(struct openapi *o)
{
    oa_open(o, "info", '{');
    oa_str(o, "title", "Kubernetes");
    oa_str(o, "version", "v1.37.0");
    oa_close(o, '}');
}

void openapi_v3(const struct openapi_group *g, openapi_schema_fn *schema, void *arg, struct buf *ret)
{
    struct openapi o = {
        .b = ret, .version = OPENAPI_V3, .schema = schema, .arg = arg, .used = xcalloc(n_types, 1)};
    oa_open(&o, NULL, '{');
    oa_str(&o, "openapi", "3.0.0");
    put_info(&o);
    oa_open(&o, "paths", '{');
    openapi_paths(&o, g);
    oa_close(&o, '}');
    oa_open(&o, "components", '{');
    oa_open(&o, "schemas", '{');
    openapi_schemas(&o, g, 1);
    oa_close(&o, '}');
    oa_close(&o, '}');
    oa_close(&o, '}');
    free(o.used);
}

void openapi_v2(const struct openapi_group *groups, size_t n, openapi_schema_fn *schema, void *arg,
                struct buf *ret)
{
    struct openapi o = {
        .b = ret, .version = OPENAPI_V2, .schema = schema, .arg = arg, .used = xcalloc(n_types, 1)};
    oa_open(&o, NULL, '{');
    oa_str(&o, "swagger", "2.0");
    put_info(&o);
    oa_open(&o, "paths", '{');
    for (size_t i = 0; i < n; i++)
        openapi_paths(&o, &groups[i]);
    oa_close(&o, '}');
    oa_open(&o, "definitions", '{');
    openapi_schemas(&o, groups, n);
    oa_close(&o, '}');
    oa_close(&o, '}');
    free(o.used);
}
