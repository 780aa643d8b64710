/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CustomResourceDefinitions. Inside upstream's server what all versions have in common stands at the top of
 * the spec, and its causes say so: "spec.validation.openAPIV3Schema" where the client wrote
 * "spec.versions[0].schema...".
 */
#include "type/validate-internal.h"

/* ---- names --------------------------------------------------------------------------------------------- */

static struct str lower(struct arena *a, struct str s)
{
    char *t = arena_cstr(a, s);
    for (char *c = t; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 'a' - 'A');
    return str_n(t, s.n);
}

static void check_kind_name(struct validation *x, const struct vpath *p, const struct val *name)
{
    struct check c = {0};
    check_label_of_dns1035(&c, lower(x->s->arena, val_str(name)));
    if (val_str(name).n && c.n)
        say_invalid(
            x, p, name,
            arena_printf(x->s->arena, "may have mixed case, but should otherwise match: %s", c.texts[0]).p);
}

static void check_names(struct validation *x, const struct vpath *p, const struct val *names)
{
    static const name_id wanted[] = {N_singular, N_listKind};
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (!val_getstr(names, wanted[i]).n)
            say_required(x, AT(p, wanted[i]), NULL);
    check_kind_name(x, AT(p, N_kind), val_get(names, N_kind));
    check_kind_name(x, AT(p, N_listKind), val_get(names, N_listKind));
    if (val_getstr(names, N_kind).n && str_eq(val_getstr(names, N_kind), val_getstr(names, N_listKind)))
        say_invalid(x, AT(p, N_listKind), val_get(names, N_listKind),
                    "kind and listKind may not be the same");
}

static void check_object_name(struct validation *x, const struct vpath *p, const struct val *crd)
{
    const struct val *spec = val_get(crd, N_spec);
    struct str want =
        arena_printf(x->s->arena, STR_FMT "." STR_FMT, STR_ARG(val_str(val_at(spec, N_names, N_plural))),
                     STR_ARG(val_getstr(spec, N_group)));
    if (obj_name(crd).n && !str_eq(obj_name(crd), want))
        say_invalid_str(x, AT(AT(p, N_metadata), N_name), obj_name(crd),
                        "must be spec.names.plural+\".\"+spec.group");
}

/* Groups of the project itself are not for everybody. */
static void check_approval(struct validation *x, const struct vpath *p, const struct val *crd,
                           const struct val *old)
{
    static const char key[] = "api-approved.kubernetes.io";
    const struct val *note = val_key(val_get(obj_meta(crd), N_annotations), str_of(key));
    const struct vpath *at = KEY(AT(AT(p, N_metadata), N_annotations), str_of(key));
    struct str group = val_str(val_at(crd, N_spec, N_group)), text = val_str(note);
    bool protected = str_is(group, "k8s.io") || str_is(group, "kubernetes.io") ||
                     str_ends(group, STR(".k8s.io")) || str_ends(group, STR(".kubernetes.io"));
    if (!protected || (old && val_equal(note, val_key(val_get(obj_meta(old), N_annotations), str_of(key)))))
        return;
    if (!text.n)
        say_required(x, at,
                     "protected groups must have approval annotation \"api-approved.kubernetes.io\", see "
                     "https://github.com/kubernetes/enhancements/pull/1111");
    else if (!str_starts(text, STR("unapproved")) && !str_starts(text, STR("https://")) &&
             !str_starts(text, STR("http://")))
        say_invalid(
            x, at, note,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL "
            "or a reason starting with \"unapproved\"");
}

/* ---- paths in objects ---------------------------------------------------------------------------------- */

static bool check_simple_path(struct validation *x, const struct vpath *p, const struct val *path)
{
    bool right = val_str(path).n && path->s[0] == '.';
    if (!right)
        say_invalid(x, p, path, "must be a simple json path starting with .");
    return right;
}

static void check_scale_path(struct validation *x, const struct vpath *p, const struct val *path,
                             const char *under, const char * or)
{
    if (!check_simple_path(x, p, path) || str_starts(val_str(path), str_of(under)) ||
        (or &&str_starts(val_str(path), str_of(or))))
        return;
    say_invalid(
        x, p, path,
        or ? "should be a json path under either .spec or .status"
           : arena_printf(x->s->arena, "should be a json path under %.*s", (int)strlen(under) - 1, under).p);
}

static void check_scale(struct validation *x, const struct vpath *p, const struct val *scale)
{
    const struct val *want = val_get(scale, N_specReplicasPath), *have = val_get(scale, N_statusReplicasPath);
    const struct val *selector = val_get(scale, N_labelSelectorPath);
    if (!scale)
        return;
    if (!val_str(want).n)
        say_required(x, AT(p, N_specReplicasPath), NULL);
    else
        check_scale_path(x, AT(p, N_specReplicasPath), want, ".spec.", NULL);
    if (!val_str(have).n)
        say_required(x, AT(p, N_statusReplicasPath), NULL);
    else
        check_scale_path(x, AT(p, N_statusReplicasPath), have, ".status.", NULL);
    if (val_str(selector).n)
        check_scale_path(x, AT(p, N_labelSelectorPath), selector, ".spec.", ".status.");
}

static void check_column(struct validation *x, const struct vpath *p, const struct val *c)
{
    static const char *const kinds[] = {"boolean", "date", "integer", "number", "string", NULL};
    static const char *const formats[] = {"byte",  "date",  "date-time", "double", "float",
                                          "int32", "int64", "password",  NULL};
    struct str type = val_getstr(c, N_type), format = val_getstr(c, N_format);
    if (!val_getstr(c, N_name).n)
        say_required(x, AT(p, N_name), NULL);
    if (!type.n)
        say_required(x, AT(p, N_type), "must be one of boolean,date,integer,number,string");
    else if (!str_in(type, kinds))
        say_invalid_str(x, AT(p, N_type), type, "must be one of boolean,date,integer,number,string");
    if (format.n && !str_in(format, formats))
        say_invalid_str(x, AT(p, N_format), format,
                        "must be one of byte,date,date-time,double,float,int32,int64,password");
    if (!val_getstr(c, N_jsonPath).n)
        say_required(x, AT_TEXT(p, "JSONPath"), NULL);
    else
        check_simple_path(x, AT_TEXT(p, "JSONPath"), val_get(c, N_jsonPath));
}

/* The schema of the field that ".spec.a" names, NULL when there is none. */
static const struct val *field_schema(const struct val *schema, struct str path)
{
    struct str rest = str_from(path, 1), part;
    if (!path.n || path.p[0] != '.')
        return NULL;
    while (str_next(&rest, '.', &part))
        schema = val_key(val_get(schema, N_properties), part);
    return schema;
}

static void check_selectable(struct validation *x, const struct vpath *p, const struct val *list,
                             const struct val *schema)
{
    static const char *const kinds[] = {"boolean", "integer", "string", NULL};
    for (size_t i = 0; i < val_len(list); i++) {
        const struct val *path = val_get(val_item(list, i), N_jsonPath);
        const struct vpath *at = AT(ITEM(p, i), N_jsonPath);
        const struct val *field = field_schema(schema, val_str(path));
        if (!val_str(path).n) {
            say_required(x, at, NULL);
            continue;
        }
        if (str_starts(val_str(path), STR(".metadata")))
            say_invalid(x, at, path, "must not point to fields in metadata");
        else if (!field)
            say_invalid(x, at, path, "is an invalid path: does not refer to a valid field");
        else if (!str_in(val_getstr(field, N_type), kinds))
            say_invalid(
                x, at, path,
                "must point to a field of type string, boolean or integer. Enum string fields and strings "
                "with formats are allowed.");
        for (size_t j = 0; j < i; j++)
            if (val_equal(val_get(val_item(list, j), N_jsonPath), path)) {
                say_duplicate(x, at, path);
                break;
            }
    }
    if (val_len(list) > 8)
        say_too_many(x, p, val_len(list), 8);
}

/* ---- versions ------------------------------------------------------------------------------------------ */

static bool same_in_all(const struct val *versions, name_id name)
{
    VAL_EACH (versions, v)
        if (!val_equal(val_get(v, name), val_get(val_item(versions, 0), name)))
            return false;
    return true;
}

/* Calls fn for each version's member, or once when they are all alike. */
typedef void member_fn(struct validation *x, const struct vpath *p, const struct val *version);

static void each_version(struct validation *x, const struct vpath *spec, const struct val *versions,
                         name_id name, const char *at_top, member_fn *fn)
{
    if (val_len(versions) && same_in_all(versions, name)) {
        fn(x, AT_TEXT(spec, at_top), val_item(versions, 0));
        return;
    }
    for (size_t i = 0; i < val_len(versions); i++)
        fn(x, AT(ITEM(AT(spec, N_versions), i), name), val_item(versions, i));
}

static void of_schema(struct validation *x, const struct vpath *p, const struct val *version)
{
    const struct val *schema = val_at(version, N_schema, N_openAPIV3Schema);
    if (schema)
        check_crd_schema(x, AT(p, N_openAPIV3Schema), schema,
                         val_at(version, N_subresources, N_status) != NULL);
}

static void of_subresources(struct validation *x, const struct vpath *p, const struct val *version)
{
    check_scale(x, AT(p, N_scale), val_at(version, N_subresources, N_scale));
}

static void of_columns(struct validation *x, const struct vpath *p, const struct val *version)
{
    size_t i = 0;
    VAL_EACH (val_get(version, N_additionalPrinterColumns), c)
        check_column(x, ITEM(p, i++), c);
}

static void of_selectable(struct validation *x, const struct vpath *p, const struct val *version)
{
    check_selectable(x, p, val_get(version, N_selectableFields),
                     val_at(version, N_schema, N_openAPIV3Schema));
}

static void check_versions(struct validation *x, const struct vpath *p, const struct val *spec)
{
    const struct val *versions = val_get(spec, N_versions);
    const struct vpath *at = AT(p, N_versions);
    size_t stored = 0;
    bool unique = true;
    for (size_t i = 0; i < val_len(versions); i++) {
        const struct val *v = val_item(versions, i);
        stored += val_bool(val_get(v, N_storage), false);
        for (size_t j = 0; j < i; j++)
            unique = unique && !val_equal(val_get(val_item(versions, j), N_name), val_get(v, N_name));
        if (!val_at(v, N_schema, N_openAPIV3Schema))
            say_required(x, AT(AT(ITEM(at, i), N_schema), N_openAPIV3Schema), NULL);
        if (val_get(v, N_deprecationWarning) && !val_bool(val_get(v, N_deprecated), false))
            say_invalid(x, AT(ITEM(at, i), N_deprecationWarning), val_get(v, N_deprecationWarning),
                        "can only be set for deprecated versions");
    }
    if (!unique)
        say_invalid(x, at, versions, "must contain unique version names");
    if (stored != 1)
        say_invalid(x, at, versions, "must have exactly one version marked as storage version");
    each_version(x, p, versions, N_schema, "validation", of_schema);
    each_version(x, p, versions, N_subresources, "subresources", of_subresources);
    each_version(x, p, versions, N_additionalPrinterColumns, "additionalPrinterColumns", of_columns);
    each_version(x, p, versions, N_selectableFields, "selectableFields", of_selectable);
}

static void check_stored_versions(struct validation *x, const struct vpath *p, const struct val *crd)
{
    const struct val *stored = val_at(crd, N_status, N_storedVersions),
                     *versions = val_at(crd, N_spec, N_versions);
    for (size_t i = 0; i < val_len(stored); i++) {
        bool there = false;
        VAL_EACH (versions, v)
            there = there || val_equal(val_get(v, N_name), val_item(stored, i));
        if (!there)
            say_invalid(
                x, ITEM(p, i), val_item(stored, i),
                arena_printf(
                    x->s->arena,
                    "missing from spec.versions; %s was previously a storage version, and must remain in "
                    "spec.versions until a storage migration ensures no data remains persisted in %s and "
                    "removes %s from status.storedVersions",
                    val_cstr(val_item(stored, i)), val_cstr(val_item(stored, i)),
                    val_cstr(val_item(stored, i)))
                    .p);
    }
}

/* ---- conversion ---------------------------------------------------------------------------------------- */

static void check_review_versions(struct validation *x, const struct vpath *p, const struct val *list)
{
    static const char *const known[] = {"v1", "v1beta1", NULL};
    bool accepted = false;
    if (!val_len(list)) {
        say_required(x, p, NULL);
        return;
    }
    for (size_t i = 0; i < val_len(list); i++) {
        accepted = accepted || str_in(val_str(val_item(list, i)), known);
        check_text(x, ITEM(p, i), val_str(val_item(list, i)), check_label_of_dns1035);
        for (size_t j = 0; j < i; j++)
            if (val_equal(val_item(list, i), val_item(list, j))) {
                say_invalid(x, ITEM(p, i), val_item(list, i), "duplicate version");
                break;
            }
    }
    if (!accepted)
        say_invalid(x, p, list, "must include at least one of v1, v1beta1");
}

/* Upstream takes the two for each other when it says what is missing. */
static void check_service(struct validation *x, const struct vpath *p, const struct val *service)
{
    if (!val_getstr(service, N_namespace).n)
        say_required(x, AT(p, N_name), NULL);
    if (!val_getstr(service, N_name).n)
        say_required(x, AT(p, N_namespace), NULL);
    check_range(x, AT(p, N_port), val_get(service, N_port), 1, 65535);
    check_webhook_path(x, AT(p, N_path), val_get(service, N_path));
}

static void check_conversion(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const strategies[] = {"None", "Webhook", NULL};
    const struct val *strategy = val_get(v, N_strategy), *hook = val_get(v, N_webhook),
                     *config = val_get(hook, N_clientConfig);
    const struct val *service = val_get(config, N_service);
    const struct vpath *at = AT_TEXT(p, "webhookClientConfig"), *versions = AT(p, N_conversionReviewVersions);
    if (!v)
        return;
    if (!val_str(strategy).n)
        say_required(x, AT(p, N_strategy), NULL);
    else if (!str_in(val_str(strategy), strategies))
        say_unsupported(x, AT(p, N_strategy), strategy, strategies);
    if (!str_is(val_str(strategy), "Webhook")) {
        if (config)
            say_forbidden(x, at, "should not be set when strategy is not set to Webhook");
        if (val_len(val_get(hook, N_conversionReviewVersions)))
            say_forbidden(x, versions, "should not be set when strategy is not set to Webhook");
        return;
    }
    if (!config)
        say_required(x, at, "required when strategy is set to Webhook");
    else if (!val_get(config, N_url) == !service)
        say_required(x, at, "exactly one of url or service is required");
    else if (service)
        check_service(x, AT(at, N_service), service);
    check_review_versions(x, versions, val_get(hook, N_conversionReviewVersions));
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static void rule_crd(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *spec = val_get(v, N_spec), *group = val_get(spec, N_group);
    const struct vpath *at = AT(p, N_spec);
    check_object_name(x, p, v);
    if (val_str(group).n && str_find(val_str(group), '.') < 0)
        say_invalid(x, AT(at, N_group), group, "should be a domain with at least one dot");
    if (val_bool(val_get(spec, N_preserveUnknownFields), false))
        say_invalid(x, AT(at, N_preserveUnknownFields), val_get(spec, N_preserveUnknownFields),
                    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
                    "spec.versions[*].schema instead");
    check_versions(x, at, spec);
    check_names(x, AT(at, N_names), val_get(spec, N_names));
    check_conversion(x, AT(at, N_conversion), val_get(spec, N_conversion));
    check_stored_versions(x, AT(AT(p, N_status), N_storedVersions), v);
    check_approval(x, p, v, old);
    if (!old)
        return;
    const struct val *was = val_get(old, N_spec);
    check_same(x, AT(AT(at, N_names), N_plural), val_at(spec, N_names, N_plural),
               val_at(was, N_names, N_plural));
    if (condition_is(val_at(old, N_status, N_conditions), STR("Established"), "True"))
        check_same(x, AT(AT(at, N_names), N_kind), val_at(spec, N_names, N_kind),
                   val_at(was, N_names, N_kind));
}

const struct rule rules_crd[] = {
    {T_apiextensions_v1_CustomResourceColumnDefinition, RULE_OWN, NULL},
    {T_apiextensions_v1_CustomResourceConversion, RULE_OWN, NULL},
    {T_apiextensions_v1_CustomResourceDefinition, 0, rule_crd},
    {T_apiextensions_v1_CustomResourceSubresourceScale, RULE_OWN, NULL},
    {T_apiextensions_v1_JSONSchemaProps, RULE_OWN, NULL},
    {T_apiextensions_v1_SelectableField, RULE_OWN, NULL},
    {T_apiextensions_v1_ServiceReference, RULE_OWN, NULL},
    {T_apiextensions_v1_WebhookClientConfig, RULE_OWN, NULL},
    {T_apiextensions_v1_WebhookConversion, RULE_OWN, NULL},
    {0, 0, NULL},
};
