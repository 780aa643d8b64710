/* SPDX-License-Identifier: Apache-2.0 */
/* What access reviews have to look like: metadata, one kind of attributes, selectors. */
#include "apiserver/review_check.h"

#include "names.h"
#include "resources.h"
#include "type/check.h"
#include "type/meta.h"
#include "type/selector.h"

static struct str at(struct request *r, struct str p, const char *field)
{
    return arena_printf(r->arena, STR_FMT ".%s", STR_ARG(p), field);
}

/* ---- selectors ----------------------------------------------------------------------------------------- */

static void check_values(struct request *r, struct str p, const struct val *requirement)
{
    struct str op = val_getstr(requirement, N_operator);
    size_t n = val_len(val_get(requirement, N_values));
    if ((str_is(op, "In") || str_is(op, "NotIn")) && !n)
        cause_required(&r->status, at(r, p, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
    if ((str_is(op, "Exists") || str_is(op, "DoesNotExist")) && n)
        cause_forbidden(&r->status, at(r, p, "values"),
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
}

static void check_label_requirement(struct request *r, struct str p, const struct val *requirement)
{
    struct check c = {0};
    size_t i = 0;
    check_values(r, p, requirement);
    check_label_key(&c, val_getstr(requirement, N_key));
    struct val key = val_of_str(val_getstr(requirement, N_key));
    for (unsigned k = 0; k < c.n; k++)
        cause_invalid(&r->status, at(r, p, "key"), &key, c.texts[k]);
    VAL_EACH (val_get(requirement, N_values), v) {
        struct check of = {0};
        check_label_text(&of, val_str(v));
        for (unsigned k = 0; k < of.n; k++)
            cause_invalid(&r->status, arena_printf(r->arena, STR_FMT ".values[%zu]", STR_ARG(p), i), v, of.texts[k]);
        i++;
    }
}

static void check_field_requirement(struct request *r, struct str p, const struct val *requirement)
{
    if (!val_getstr(requirement, N_key).n)
        cause_required(&r->status, at(r, p, "key"), "must be specified");
    check_values(r, p, requirement);
}

static void check_selector(struct request *r, struct str p, const struct val *v,
                           void (*requirement)(struct request *, struct str, const struct val *))
{
    const struct val *raw = val_get(v, N_rawSelector), *list = val_get(v, N_requirements);
    size_t i = 0;
    if (!v)
        return;
    if (val_str(raw).n && val_len(list))
        cause_invalid(&r->status, at(r, p, "rawSelector"), raw, "may not specified at the same time as requirements");
    if (!val_str(raw).n && !val_len(list))
        cause_required(&r->status, at(r, p, "requirements"),
                       arena_printf(r->arena, "when " STR_FMT " is specified, requirements or rawSelector is required",
                                    STR_ARG(p)).p);
    VAL_EACH (list, item)
        requirement(r, arena_printf(r->arena, STR_FMT ".requirements[%zu]", STR_ARG(p), i++), item);
}

/* How much of the requirements can be understood: none, some or all of them. */
enum understood { NONE, SOME, ALL };

static bool is_label_requirement(const struct val *v)
{
    static const char *const ops[] = {"In", "NotIn", "Exists", "DoesNotExist"};
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
        if (str_is(val_getstr(v, N_operator), ops[i]))
            return true;
    return false;
}

/* As field selectors in a query: one value, equal or not. */
static bool is_field_requirement(const struct val *v)
{
    struct str op = val_getstr(v, N_operator);
    return (str_is(op, "In") || str_is(op, "NotIn")) && val_len(val_get(v, N_values)) == 1;
}

static enum understood understand(struct request *r, const struct val *v, bool (*is)(const struct val *),
                                  int (*parse)(struct arena *, struct str, struct selector *, struct err *))
{
    struct str raw = val_getstr(v, N_rawSelector);
    const struct val *list = val_get(v, N_requirements);
    struct selector s;
    struct err e = {0};
    size_t good = 0;
    if (!val_len(list))
        return raw.n && parse(r->arena, raw, &s, &e) ? NONE : ALL;
    VAL_EACH (list, item)
        good += is(item);
    return good == val_len(list) ? ALL : good ? SOME : NONE;
}

static void note(struct request *r, struct buf *b, const char *which, enum understood u)
{
    if (u != ALL)
        buf_printf(b, "%sspec.resourceAttributes.%s %signored due to parse error", b->n ? "; " : "", which,
                   u == SOME ? "partially " : "");
}

struct str review_misunderstood(struct request *r, const struct val *spec)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    const struct val *res = val_get(spec, N_resourceAttributes);
    note(r, &b, "fieldSelector", understand(r, val_get(res, N_fieldSelector), is_field_requirement, field_selector_parse));
    note(r, &b, "labelSelector", understand(r, val_get(res, N_labelSelector), is_label_requirement, selector_parse));
    return arena_str(r->arena, buf_str(&b));
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* What nobody may set is dropped; the namespace is that of the path. Anything else does not belong there. */
int review_metadata(struct request *r, struct val *v)
{
    static const name_id dropped[] = {N_uid, N_creationTimestamp, N_deletionTimestamp, N_deletionGracePeriodSeconds, N_selfLink};
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    struct str ns = val_getstr(meta, N_namespace);
    for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
        val_del(meta, dropped[i]);
    if (r->res->namespaced && ns.n && !str_eq(ns, r->info.ns))
        return status_bad_request(&r->status, "the namespace of the provided object does not match the namespace sent on the request");
    if (r->res->namespaced)
        val_set_str(r->arena, meta, N_namespace, r->info.ns);
    else
        val_del(meta, N_namespace);
    return 0;
}

static bool bare(const struct val *meta)
{
    VAL_EACH_MEMBER (meta, m)
        if (m->name != N_namespace && m->name != N_managedFields && m->kind != VAL_NULL)
            return false;
    return true;
}

int review_check_access(struct request *r, const struct val *v, bool self)
{
    const struct val *spec = val_get(v, N_spec), *res = val_get(spec, N_resourceAttributes),
                     *other = val_get(spec, N_nonResourceAttributes);
    struct status *s = &r->status;
    struct str p = STR("spec.resourceAttributes");
    if (!res == !other)
        cause_invalid(s, STR("spec"), other, "exactly one of nonResourceAttributes or resourceAttributes must be specified");
    if (!self && !val_getstr(spec, N_user).n && !val_len(val_get(spec, N_groups)))
        cause_invalid(s, STR("spec.user"), val_get(spec, N_user), "at least one of user or group must be specified");
    check_selector(r, at(r, p, "fieldSelector"), val_get(res, N_fieldSelector), check_field_requirement);
    check_selector(r, at(r, p, "labelSelector"), val_get(res, N_labelSelector), check_label_requirement);
    if (!bare(obj_meta(v)))
        cause_invalid(s, STR("metadata"), obj_meta(v), r->res->namespaced ? "must be empty except for namespace" : "must be empty");
    if (r->res->namespaced && res && !str_eq(val_getstr(res, N_namespace), r->info.ns))
        cause_invalid(s, at(r, p, "namespace"), val_get(res, N_namespace), "must match metadata.namespace");
    if (r->res->namespaced && other)
        cause_invalid(s, STR("spec.nonResourceAttributes"), other, "disallowed on this kind of request");
    return status_invalid(s, str_of(r->res->group), STR(""), STR("")); /* upstream says no kind */
}
