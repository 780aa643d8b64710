/* SPDX-License-Identifier: Apache-2.0 */
/* What a definition says of single objects: rules, scale, fields to select by. */
#include "apiserver/custom.h"

#include "apiserver/custom_cel.h"
#include "apiserver/state.h"
#include "names.h"
#include "resources.h"
#include "type/path.h"
#include "type/validate_custom.h"

/* Faults that keep expressions from being evaluated. */
static bool blocks(const struct status *s)
{
    static const char *const reasons[] = {"FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"};
    for (size_t i = 0; i < s->n_causes; i++)
        for (size_t j = 0; j < ARRAY_SIZE(reasons); j++)
            if (strcmp(s->causes[i].reason, reasons[j]) == 0)
                return true;
    return false;
}

void custom_rules(struct request *r, const struct resource *res, const struct val *v, const struct val *old)
{
    const struct structural *schema = type_schema(res->type);
    if (!schema)
        return;
    const struct custom_version *c = custom_version(res);
    struct custom_checks checks = {custom_match, c->programs};
    custom_validate(schema, v, old, &checks, &r->status);
    custom_validate_embedded(res, schema, v, &r->status);
    if (!blocks(&r->status))
        custom_expressions(c->programs, schema, v, old, &r->status);
    else
        cause_add(&r->status, "FieldValueInvalid", STR("<nil>"),
                  "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
                  "errors to complete validation");
}

/* What a default is has to be what its schema allows. */
static void check_default(struct request *r, const struct structural *s, struct str at, const struct custom_checks *checks)
{
    struct str path = arena_printf(r->arena, STR_FMT ".default", STR_ARG(at));
    struct val *pruned = val_copy(r->arena, s->default_value);
    struct status found;
    status_init(&found, r->arena);
    structural_prune(r->arena, s, pruned, s->embedded, NULL);
    if (!val_same(pruned, s->default_value))
        cause_invalid(&r->status, path, s->default_value, "must not have unknown fields");
    custom_validate(s, s->default_value, NULL, checks, &found);
    if (!found.n_causes)
        custom_expressions_of_default(checks->arg, s, &found);
    for (size_t i = 0; i < found.n_causes; i++) {
        struct str below = found.causes[i].field;
        const char *dot = str_starts(below, STR("[")) ? "" : ".";
        struct str field = str_is(below, "<nil>") ? path : arena_printf(r->arena, STR_FMT "%s" STR_FMT, STR_ARG(path), dot, STR_ARG(below));
        cause_add(&r->status, found.causes[i].reason, field, STR_FMT, STR_ARG(found.causes[i].message));
    }
}

/* Additional properties have none. Metadata is what the server says it is. */
static void check_defaults(struct request *r, const struct structural *s, struct str at, bool object, const struct custom_checks *checks)
{
    if (s->default_value && s->default_value->kind != VAL_NULL)
        check_default(r, s, at, checks);
    if (s->items)
        check_defaults(r, s->items, arena_printf(r->arena, STR_FMT ".items", STR_ARG(at)), s->items->embedded, checks);
    for (size_t i = 0; i < s->n_members; i++) {
        const struct structural_member *m = &s->members[i];
        if (!object || !str_is(m->name, "metadata"))
            check_defaults(r, m->schema, arena_printf(r->arena, STR_FMT ".properties[" STR_FMT "]", STR_ARG(at), STR_ARG(m->name)),
                           m->schema->embedded, checks);
    }
}

static void check_schema(struct request *r, const struct structural *s, struct str at)
{
    struct custom_programs programs = {.n = 0};
    struct custom_checks checks = {custom_match, &programs};
    custom_patterns_check(s, at, &r->status);
    check_defaults(r, s, at, true, &checks);
    custom_expressions_check(&programs, s, at, &r->status);
    custom_programs_done(&programs);
}

void custom_check_definition(struct request *r, const struct resource *res, const struct val *crd)
{
    const struct val *versions = val_at(crd, N_spec, N_versions);
    size_t i = 0;
    if (res->index != RES_CUSTOMRESOURCEDEFINITIONS || r->status.n_causes)
        return;
    VAL_EACH (versions, v) {
        const struct val *props = val_at(v, N_schema, N_openAPIV3Schema);
        struct str at = val_len(versions) == 1 ? STR("spec.validation.openAPIV3Schema")
                                               : arena_printf(r->arena, "spec.versions[%zu].schema.openAPIV3Schema", i);
        if (props)
            check_schema(r, structural_compile(r->arena, props), at);
        i++;
    }
}

/* ---- scale --------------------------------------------------------------------------------------------- */

static const struct val *at_path(struct arena *a, const struct val *v, struct str path)
{
    struct path_hits hits = {.n = 0};
    if (path.n)
        path_find(a, v, path, &hits);
    return hits.n ? hits.items[0] : NULL;
}

bool custom_scale_get(const struct custom_version *c, struct arena *a, const struct val *v, struct custom_replicas *ret)
{
    const struct val *wanted = at_path(a, v, c->scale.spec_replicas);
    ret->wanted = val_int(wanted, 0);
    ret->now = val_int(at_path(a, v, c->scale.status_replicas), 0);
    ret->selector = val_str(at_path(a, v, c->scale.selector));
    return wanted != NULL;
}

/* Paths of scales are plain members, one below the other (validated with the definition). */
bool custom_scale_set(const struct custom_version *c, struct arena *a, struct val *v, int64_t replicas)
{
    struct str rest = c->scale.spec_replicas, name;
    if (rest.n && rest.p[0] == '.')
        rest = str_from(rest, 1);
    while (str_next(&rest, '.', &name) && val_is(v, VAL_MAP)) {
        if (!rest.n) {
            val_put(a, v, name, val_of_int(replicas));
            return true;
        }
        struct val *below = (struct val *)(uintptr_t)val_key(v, name);
        v = val_is(below, VAL_MAP) ? below : val_put(a, v, name, (struct val){.kind = VAL_MAP});
    }
    return false;
}

/* ---- fields to select by (KEP-4358) -------------------------------------------------------------------- */

bool custom_selectable(const struct resource *res, struct str path)
{
    const struct custom_version *c = custom_version(res);
    VAL_EACH (c ? c->selectable : NULL, f)
        if (str_eq(str_from(val_getstr(f, N_jsonPath), 1), path))
            return true;
    return false;
}
