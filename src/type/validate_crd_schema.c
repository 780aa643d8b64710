/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas of custom resources: structural ones only (KEP-1693), so that pruning and defaults know every
 * field's type. */
#include "type/validate-internal.h"

static bool flag(const struct val *schema, name_id name)
{
    return val_bool(val_get(schema, name), false);
}

/* ---- what a schema may not have at all ----------------------------------------------------------------- */

static void check_not_supported(struct validation *x, const struct vpath *p, const struct val *s)
{
    static const struct {
        name_id field;
        const char *name;
    } fields[] = {{N_id, "id"},
                  {N_additionalItems, "additionalItems"},
                  {N_patternProperties, "patternProperties"},
                  {N_definitions, "definitions"},
                  {N_dependencies, "dependencies"},
                  {N__ref, "$ref"}};
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (val_get(s, fields[i].field))
            say_forbidden(x, AT(p, fields[i].field),
                          arena_printf(x->s->arena, "%s is not supported", fields[i].name).p);
    if (flag(s, N_uniqueItems))
        say_forbidden(x, AT(p, N_uniqueItems),
                      "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    if (val_is(val_get(s, N_items), VAL_LIST))
        say_forbidden(x, AT(p, N_items), "items must be a schema object and not an array");
    const struct val *keep = val_get(s, N_x_kubernetes_preserve_unknown_fields);
    if (keep && !val_bool(keep, true))
        say_invalid(x, AT(p, N_x_kubernetes_preserve_unknown_fields), keep, "must be true or undefined");
}

static void check_type_name(struct validation *x, const struct vpath *p, const struct val *s)
{
    static const char *const names[] = {"array", "boolean", "integer", "number", "object", "string", NULL};
    const struct val *type = val_get(s, N_type);
    if (val_str(type).n && !str_in(val_str(type), names))
        say_unsupported(x, AT(p, N_type), type, names);
    if (str_is(val_str(type), "null"))
        say_forbidden(x, AT(p, N_type), "type cannot be set to null, use nullable as an alternative");
}

static void check_type_is(struct validation *x, const struct vpath *p, const struct val *s, const char *type,
                          const char *detail)
{
    const struct val *have = val_get(s, N_type);
    if (!val_str(have).n)
        say_required(x, AT(p, N_type), detail);
    else if (!str_is(val_str(have), type))
        say_invalid(x, AT(p, N_type), have, detail);
}

/* ---- lists and maps ------------------------------------------------------------------------------------ */

static void check_keys(struct validation *x, const struct vpath *p, const struct val *s)
{
    const struct val *item = val_get(s, N_items), *keys = val_get(s, N_x_kubernetes_list_map_keys);
    const struct vpath *at = AT(AT(p, N_items), N_properties);
    if (!val_len(keys))
        say_required(x, AT(p, N_x_kubernetes_list_map_keys),
                     "must not be empty if x-kubernetes-list-type is map");
    if (!item)
        say_required(x, AT(p, N_items), "must have a schema if x-kubernetes-list-type is map");
    if (val_is(item, VAL_OBJ) && !str_is(val_getstr(item, N_type), "object"))
        say_invalid(x, AT(AT(p, N_items), N_type), val_get(item, N_type),
                    "must be object if parent array's x-kubernetes-list-type is map");
    for (size_t i = 0; i < val_len(keys); i++) {
        const struct val *key = val_item(keys, i),
                         *property = val_key(val_get(item, N_properties), val_str(key));
        bool required = false;
        VAL_EACH (val_get(item, N_required), r)
            required = required || val_equal(r, key);
        if (!property)
            say_invalid(x, ITEM(AT(p, N_x_kubernetes_list_map_keys), i), key,
                        "entries must all be names of item properties");
        else if (!required && !val_get(property, N_default))
            say_required(x, AT(KEY(at, val_str(key)), N_default),
                         "this property is in x-kubernetes-list-map-keys, so it must have a default or be a "
                         "required property");
        if (flag(property, N_nullable))
            say_forbidden(x, AT(KEY(at, val_str(key)), N_nullable),
                          "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
    }
}

static void check_list_type(struct validation *x, const struct vpath *p, const struct val *s)
{
    static const char *const kinds[] = {"atomic", "set", "map", NULL};
    const struct val *kind = val_get(s, N_x_kubernetes_list_type), *item = val_get(s, N_items);
    const struct vpath *at = AT(p, N_x_kubernetes_list_type);
    bool keyed = str_is(val_str(kind), "map");
    if (val_len(val_get(s, N_x_kubernetes_list_map_keys)) && !keyed) {
        if (kind)
            say_invalid(x, at, kind, "must be map if x-kubernetes-list-map-keys is non-empty");
        else
            say_required(x, at, "must be map if x-kubernetes-list-map-keys is non-empty");
    }
    if (!kind)
        return;
    check_type_is(x, p, s, "array", "must be array if x-kubernetes-list-type is specified");
    if (!str_in(val_str(kind), kinds))
        say_unsupported(x, at, kind, kinds);
    if (!str_is(val_str(kind), "atomic") && flag(item, N_nullable))
        say_forbidden(
            x, AT(AT(p, N_items), N_nullable),
            arena_printf(x->s->arena, "cannot be nullable when x-kubernetes-list-type is %s", val_cstr(kind))
                .p);
    if (keyed)
        check_keys(x, p, s);
}

static void check_map_type(struct validation *x, const struct vpath *p, const struct val *s)
{
    static const char *const kinds[] = {"atomic", "granular", NULL};
    const struct val *kind = val_get(s, N_x_kubernetes_map_type);
    if (!kind)
        return;
    check_type_is(x, p, s, "object", "must be object if x-kubernetes-map-type is specified");
    if (!str_in(val_str(kind), kinds))
        say_unsupported(x, AT(p, N_x_kubernetes_map_type), kind, kinds);
}

/* ---- schemas below anyOf and the like: about values only
 * --------------------------------------------------- */

static void check_values(struct validation *x, const struct vpath *p, const struct val *s, bool skip_any,
                         bool skip_first);

static void check_nested(struct validation *x, const struct vpath *p, const struct val *s, bool skip_any)
{
    static const struct {
        name_id field;
        const char *detail;
    } forbidden[] = {
        {N_type, "must be empty to be structural"},
        {N_additionalProperties, "must be undefined to be structural"},
        {N_default, "must be undefined to be structural"},
        {N_title, "must be empty to be structural"},
        {N_description, "must be empty to be structural"},
        {N_nullable, "must be false to be structural"},
        {N_x_kubernetes_preserve_unknown_fields, "must be false to be structural"},
        {N_x_kubernetes_embedded_resource, "must be false to be structural"},
        {N_x_kubernetes_int_or_string, "must be false to be structural"},
        {N_x_kubernetes_list_map_keys, "must be empty to be structural"},
        {N_x_kubernetes_list_type, "must be undefined to be structural"},
        {N_x_kubernetes_map_type, "must be undefined to be structural"},
        {N_x_kubernetes_validations, "must be empty to be structural"},
    };
    if (!s)
        return;
    check_values(x, p, s, skip_any, false);
    if (val_is(val_get(s, N_items), VAL_OBJ))
        check_nested(x, AT(p, N_items), val_get(s, N_items), false);
    VAL_EACH_ENTRY (val_get(s, N_properties), k, property)
        check_nested(x, KEY(AT(p, N_properties), val_str(k)), property, false);
    for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
        if (val_get(s, forbidden[i].field))
            say_forbidden(x, AT(p, forbidden[i].field), forbidden[i].detail);
    if (val_key(val_get(s, N_properties), STR("metadata")))
        say_forbidden(x, KEY(AT(p, N_properties), STR("metadata")),
                      "must not be specified in a nested context");
}

static void check_values(struct validation *x, const struct vpath *p, const struct val *s, bool skip_any,
                         bool skip_first)
{
    static const name_id lists[] = {N_anyOf, N_allOf, N_oneOf};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        for (size_t i = 0; i < val_len(val_get(s, lists[l])); i++)
            if (!(lists[l] == N_anyOf && skip_any))
                check_nested(x, ITEM(AT(p, lists[l]), i), val_item(val_get(s, lists[l]), i),
                             lists[l] == N_allOf && i == 0 && skip_first);
    check_nested(x, AT(p, N_not), val_get(s, N_not), false);
}

/* [{type: integer}, {type: string}], in that order. */
static bool is_int_or_string(const struct val *any_of)
{
    static const char *const types_of[] = {"integer", "string"};
    for (size_t i = 0; i < ARRAY_SIZE(types_of); i++) {
        const struct val *s = val_item(any_of, i);
        if (val_len(any_of) != 2 || s->n != 1 || !str_is(val_getstr(s, N_type), types_of[i]))
            return false;
    }
    return true;
}

/* What is said of a field under anyOf and the like has to be said of a field that there is. */
static void check_complete(struct validation *x, const struct vpath *p, const struct val *s,
                           const struct val *main)
{
    static const char why[] = "because it is defined in a nested schema";
    const struct val *item = val_get(s, N_items), *all = val_get(main, N_additionalProperties);
    static const name_id lists[] = {N_anyOf, N_allOf, N_oneOf};
    if (!s || flag(main, N_x_kubernetes_preserve_unknown_fields))
        return;
    if (val_is(item, VAL_OBJ) && !val_get(main, N_items))
        say_required(x, AT(p, N_items), why);
    VAL_EACH_ENTRY (val_get(s, N_properties), k, property) {
        const struct val *there = val_key(val_get(main, N_properties), val_str(k));
        if (!there && !all)
            say_required(x, KEY(AT(p, N_properties), val_str(k)), why);
        else if (there)
            check_complete(x, KEY(AT(p, N_properties), val_str(k)), property, there);
    }
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        VAL_EACH (val_get(s, lists[l]), nested)
            check_complete(x, p, nested, main);
    check_complete(x, p, val_get(s, N_not), main);
}

/* ---- the structure ------------------------------------------------------------------------------------- */

enum level { ROOT, ITEM_OF, FIELD };

/* ---- expressions; they are compiled by the API server ------------------------------------------------------- */

static bool has_break(struct str s)
{
    return str_find(s, '\n') >= 0 || str_find(s, '\r') >= 0;
}

static void check_expression(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const char *const reasons[] = {"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired", NULL};
    struct str rule = val_getstr(v, N_rule), message = val_getstr(v, N_message), at = val_getstr(v, N_fieldPath);
    const struct val *reason = val_get(v, N_reason);
    if (!str_trim(rule).n)
        say_required(x, AT(p, N_rule), "rule is not specified");
    else if (message.n && !str_trim(message).n)
        say_invalid_str(x, AT(p, N_message), message, "message must be non-empty if specified");
    else if (has_break(str_trim(message)))
        say_invalid_str(x, AT(p, N_message), message, "message must not contain line breaks");
    else if (has_break(str_trim(rule)) && !message.n)
        say_required(x, AT(p, N_message), "message must be specified if rule contains line breaks");
    if (val_getstr(v, N_messageExpression).n && !str_trim(val_getstr(v, N_messageExpression)).n)
        say_required(x, AT(p, N_messageExpression), "must be non-empty if specified");
    if (reason && !str_in(val_str(reason), reasons))
        say_unsupported(x, AT(p, N_reason), reason, reasons);
    if (at.n && !str_trim(at).n)
        say_invalid_str(x, AT(p, N_fieldPath), at, "must be non-empty if specified");
    if (has_break(at))
        say_invalid_str(x, AT(p, N_fieldPath), at, "must not contain line breaks");
}

static void check_schema(struct validation *x, const struct vpath *p, const struct val *s, enum level level);

static void check_type(struct validation *x, const struct vpath *p, const struct val *s, enum level level)
{
    static const char *const missing[] = {"must not be empty at the root",
                                          "must not be empty for specified array items",
                                          "must not be empty for specified object fields"};
    const struct val *type = val_get(s, N_type);
    bool embedded = flag(s, N_x_kubernetes_embedded_resource),
         free_form = flag(s, N_x_kubernetes_int_or_string) || flag(s, N_x_kubernetes_preserve_unknown_fields);
    check_type_name(x, p, s);
    if (embedded)
        check_type_is(x, p, s, "object", "must be object if x-kubernetes-embedded-resource is true");
    else if (!val_str(type).n && !free_form)
        say_required(x, AT(p, N_type), missing[level]);
    if (level == ROOT && val_str(type).n && !str_is(val_str(type), "object"))
        say_invalid(x, AT(p, N_type), type, "must be object at the root");
}

static void check_meta_fields(struct validation *x, const struct vpath *p, const struct val *s,
                              enum level level)
{
    static const char *const words[] = {"kind", "apiVersion"};
    const struct val *properties = val_get(s, N_properties), *meta = val_key(properties, STR("metadata"));
    const struct vpath *at = AT(p, N_properties), *meta_at = KEY(at, STR("metadata"));
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        const struct val *word = val_key(properties, str_of(words[i]));
        if (word && !str_is(val_getstr(word, N_type), "string"))
            say_invalid(x, AT(KEY(at, str_of(words[i])), N_type), val_get(word, N_type), "must be string");
    }
    if (meta && !str_is(val_getstr(meta, N_type), "object"))
        say_invalid(x, AT(meta_at, N_type), val_get(meta, N_type), "must be object");
    if (!meta || level != ROOT)
        return;
    bool other = false;
    EACH_KEY (val_get(meta, N_properties), k)
        other = other || !str_in(val_str(k), (const char *const[]){"name", "generateName", NULL});
    VAL_EACH_MEMBER (meta, m)
        other = other || (m->name != N_type && m->name != N_properties && m->name != N_description);
    if (other)
        say_forbidden(x, meta_at,
                      "must not specify anything other than name and generateName, but metadata is "
                      "implicitly specified");
}

static void check_children(struct validation *x, const struct vpath *p, const struct val *s, enum level level)
{
    const struct val *item = val_get(s, N_items), *rest = val_get(s, N_additionalProperties);
    bool rest_means = rest && (val_is(rest, VAL_OBJ) || !val_bool(rest, true));
    if (str_is(val_getstr(s, N_type), "array") && !item)
        say_required(x, AT(p, N_items), "must be specified");
    if (val_is(item, VAL_OBJ))
        check_schema(x, AT(p, N_items), item, ITEM_OF);
    VAL_EACH_ENTRY (val_get(s, N_properties), k, property)
        check_schema(x, KEY(AT(p, N_properties), val_str(k)), property, FIELD);
    if (rest_means && val_len(val_get(s, N_properties)))
        say_forbidden(x, AT(p, N_additionalProperties),
                      "additionalProperties and properties are mutual exclusive");
    if (rest && level == ROOT)
        say_forbidden(x, AT(p, N_additionalProperties), "must not be used at the root");
    if (rest && flag(s, N_x_kubernetes_embedded_resource))
        say_forbidden(x, AT(p, N_additionalProperties),
                      "must not be used if x-kubernetes-embedded-resource is set");
    if (val_is(rest, VAL_OBJ))
        check_schema(x, AT(p, N_additionalProperties), rest, FIELD);
}

static void check_extensions(struct validation *x, const struct vpath *p, const struct val *s)
{
    static const name_id others[] = {N_x_kubernetes_preserve_unknown_fields,
                                     N_x_kubernetes_embedded_resource};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (flag(s, N_x_kubernetes_int_or_string) && flag(s, others[i]))
            say_invalid(x, AT(p, others[i]), val_get(s, others[i]),
                        "must be false if x-kubernetes-int-or-string is true");
    if (flag(s, N_x_kubernetes_embedded_resource) && !flag(s, N_x_kubernetes_preserve_unknown_fields) &&
        !val_len(val_get(s, N_properties)))
        say_required(x, AT(p, N_properties),
                     "must not be empty if x-kubernetes-embedded-resource is true without "
                     "x-kubernetes-preserve-unknown-fields");
    check_list_type(x, p, s);
    check_map_type(x, p, s);
}

static void check_schema(struct validation *x, const struct vpath *p, const struct val *s, enum level level)
{
    const struct val *any = val_get(s, N_anyOf), *first = val_get(val_item(val_get(s, N_allOf), 0), N_anyOf);
    check_not_supported(x, p, s);
    size_t i = 0;
    VAL_EACH (val_get(s, N_x_kubernetes_validations), rule)
        check_expression(x, ITEM(AT(p, N_x_kubernetes_validations), i++), rule);
    check_type(x, p, s, level);
    check_children(x, p, s, level);
    check_extensions(x, p, s);
    check_values(x, p, s, is_int_or_string(any), is_int_or_string(first));
    static const name_id lists[] = {N_anyOf, N_allOf, N_oneOf};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        VAL_EACH (val_get(s, lists[l]), nested)
            check_complete(x, p, nested, s);
    check_complete(x, p, val_get(s, N_not), s);
    if (level == ROOT || flag(s, N_x_kubernetes_embedded_resource))
        check_meta_fields(x, p, s, level);
}

void check_crd_schema(struct validation *x, const struct vpath *p, const struct val *schema, bool has_status)
{
    static const name_id at_root[] = {N_description,
                                      N_type,
                                      N_format,
                                      N_title,
                                      N_maximum,
                                      N_exclusiveMaximum,
                                      N_minimum,
                                      N_exclusiveMinimum,
                                      N_maxLength,
                                      N_minLength,
                                      N_pattern,
                                      N_maxItems,
                                      N_minItems,
                                      N_uniqueItems,
                                      N_multipleOf,
                                      N_required,
                                      N_items,
                                      N_properties,
                                      N_externalDocs,
                                      N_example,
                                      N_x_kubernetes_preserve_unknown_fields,
                                      N_x_kubernetes_validations};
    check_schema(x, p, schema, ROOT);
    if (flag(schema, N_nullable))
        say_forbidden(x, AT(p, N_nullable), "nullable cannot be true at the root");
    if (has_status)
        VAL_EACH_MEMBER (schema, m) {
            bool known = false;
            for (size_t i = 0; i < ARRAY_SIZE(at_root); i++)
                known = known || at_root[i] == m->name;
            if (!known) {
                say_invalid(x, p, NULL,
                            "only some fields are allowed at the root of the schema if the status "
                            "subresource is enabled");
                return;
            }
        }
}
