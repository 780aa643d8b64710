/* SPDX-License-Identifier: Apache-2.0 */
/* From a definition to resources. */
#include "apiserver/custom-internal.h"

#include "names.h"
#include "resources.h"
#include "types.h"

/* ---- from a definition to resources -------------------------------------------------------------------- */

static const char *cstr(const struct val *v, name_id name)
{
    return val_cstr(val_get(v, name));
}

static const char *const *texts(struct arena *a, const struct val *list)
{
    size_t n = 0;
    const char **out = ARENA_ARRAY(a, const char *, val_len(list) + 1);
    VAL_EACH (list, v)
        out[n++] = val_cstr(v);
    out[n] = NULL;
    return out;
}

static const struct column name_column = {"Name", "string", "name", "{metadata.name}",
                                          "Name must be unique within a namespace.", 0},
                           age_column = {"Age", "date", "", ".metadata.creationTimestamp",
                                         "When the object was made, by the server's clock (RFC 3339, UTC).", 0};

static void set_columns(struct arena *a, struct resource *r, const struct val *list)
{
    struct column *c = ARENA_ARRAY(a, struct column, val_len(list) + 2);
    size_t n = 0;
    c[n++] = name_column;
    if (!val_len(list))
        c[n++] = age_column;
    VAL_EACH (list, v)
        c[n++] = (struct column){cstr(v, N_name), cstr(v, N_type), cstr(v, N_format), cstr(v, N_jsonPath), cstr(v, N_description),
                                 (uint8_t)MIN(val_int(val_get(v, N_priority), 0), (int64_t)255)};
    r->columns = c;
    r->n_columns = (uint16_t)n;
}

static void set_subresources(struct arena *a, struct custom_version *v, const struct val *subs)
{
    struct subresource *list = ARENA_ARRAY(a, struct subresource, 2);
    const struct val *scale = val_get(subs, N_scale);
    uint16_t verbs = VERB_GET | VERB_UPDATE | VERB_PATCH, n = 0;
    if (val_get(subs, N_status))
        list[n++] = (struct subresource){"status", v->res.kind, v->res.group, v->res.version, &v->type.type, verbs};
    v->scale = (struct custom_scale){0};
    if (scale) {
        list[n++] = (struct subresource){"scale", "Scale", "autoscaling", "v1", &types[T_autoscaling_v1_Scale], verbs};
        v->scale = (struct custom_scale){val_getstr(scale, N_specReplicasPath), val_getstr(scale, N_statusReplicasPath),
                                         val_getstr(scale, N_labelSelectorPath)};
    }
    v->res.subresources = list;
    v->res.n_subresources = n;
}

static struct str deprecation(struct arena *a, const struct custom_version *v, const struct val *version)
{
    if (!val_bool(val_get(version, N_deprecated), false))
        return STR_NULL;
    struct str own = val_getstr(version, N_deprecationWarning);
    return own.n ? own : arena_printf(a, "%s/%s %s is deprecated", v->res.group, v->res.version, v->res.kind);
}

/* Fills in what the definition says of a version. Both live as long as k->definition, or in its arena. */
static void describe(struct custom_version *v, const struct val *spec, const struct val *names, const struct val *version)
{
    struct arena *a = v->kind->arena;
    struct resource *r = &v->res;
    *r = (struct resource){
        .group = cstr(spec, N_group),
        .version = cstr(version, N_name),
        .name = cstr(names, N_plural),
        .singular = cstr(names, N_singular),
        .kind = cstr(names, N_kind),
        .list_kind = cstr(names, N_listKind),
        .short_names = texts(a, val_get(names, N_shortNames)),
        .categories = texts(a, val_get(names, N_categories)),
        .type = &v->type.type,
        .verbs = VERB_GET | VERB_LIST | VERB_WATCH | VERB_CREATE | VERB_UPDATE | VERB_PATCH | VERB_DELETE | VERB_DELETECOLLECTION,
        .index = v->kind->index,
        .storage = v->kind->index,
        .namespaced = str_is(val_getstr(spec, N_scope), "Namespaced"),
        .stored = true,
    };
    v->said = version;
    v->schema = val_at(version, N_schema, N_openAPIV3Schema);
    bool keep_all = val_bool(val_get(spec, N_preserveUnknownFields), false);
    custom_type_init_later(&v->type, r->kind, a, keep_all ? NULL : v->schema);
    if (str_is(val_str(val_at(spec, N_conversion, N_strategy)), "Webhook"))
        v->type.type.flags |= TYPE_VERSIONS;
    set_columns(a, r, val_get(version, N_additionalPrinterColumns));
    set_subresources(a, v, val_get(version, N_subresources));
    v->selectable = val_get(version, N_selectableFields);
    v->warning = deprecation(a, v, version);
    v->programs = v->kind->programs;
    v->served = val_bool(val_get(version, N_served), false);
}

static struct custom_version *version_named(struct custom_kind *k, struct str name)
{
    for (size_t i = 0; i < k->n_versions; i++)
        if (str_is(name, k->versions[i]->res.version))
            return k->versions[i];
    k->versions = xrealloc(k->versions, (k->n_versions + 1) * sizeof(*k->versions));
    struct custom_version *v = NEW(struct custom_version);
    v->kind = k;
    k->versions[k->n_versions++] = v;
    return v;
}

/* What is left of a version when its definition has gone: objects and watches point to it. */
static void describe_gone(struct arena *a, struct custom_version *v)
{
    struct resource *r = &v->res, was = *r;
    *r = (struct resource){
        .group = arena_cstr(a, str_of(was.group)),
        .version = arena_cstr(a, str_of(was.version)),
        .name = arena_cstr(a, str_of(was.name)),
        .singular = arena_cstr(a, str_of(was.singular)),
        .kind = arena_cstr(a, str_of(was.kind)),
        .list_kind = arena_cstr(a, str_of(was.list_kind)),
        .type = &v->type.type,
        .index = was.index,
        .storage = was.storage,
        .namespaced = was.namespaced,
        .stored = true,
    };
    custom_type_init(&v->type, r->kind, NULL);
    v->schema = v->selectable = v->said = NULL;
    v->scale = (struct custom_scale){0};
    v->warning = STR_NULL;
    v->programs = NULL;
    v->served = false;
}

void custom_describe_gone(struct custom_kind *k)
{
    for (size_t i = 0; i < k->n_versions; i++)
        describe_gone(k->arena, k->versions[i]);
}

/* A version that the definition has no more stays as it was: watches that began with it may last for hours. */
static void keep_dropped(struct custom_kind *k, const struct val *spec, const struct val *names)
{
    for (size_t i = 0; i < k->n_versions; i++) {
        struct custom_version *v = k->versions[i];
        if (v->in_turn == k->turn)
            continue;
        if (v->said)
            describe(v, spec, names, val_copy(k->arena, v->said));
        else
            describe_gone(k->arena, v);
        v->served = false;
    }
}

void custom_describe(struct custom_kind *k)
{
    const struct val *crd = k->definition->val, *spec = val_get(crd, N_spec), *names = val_at(crd, N_status, N_acceptedNames);
    k->turn++;
    VAL_EACH (val_get(spec, N_versions), version) {
        struct custom_version *v = version_named(k, val_getstr(version, N_name));
        describe(v, spec, names, version);
        v->in_turn = k->turn;
        if (val_bool(val_get(version, N_storage), false))
            k->stored = v;
    }
    keep_dropped(k, spec, names);
}
