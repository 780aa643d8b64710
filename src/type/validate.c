/* SPDX-License-Identifier: Apache-2.0 */
#include "type/validate-internal.h"

#include <pthread.h>
#include <stdio.h>

#include "type/text.h"
#include "wire/json.h"
#include "wire/schema-internal.h"

/* ---- complaints ---------------------------------------------------------------------------------------- */

void vpath_print(struct buf *b, const struct vpath *p)
{
    if (p->up)
        vpath_print(b, p->up);
    if (p->name)
        buf_printf(b, "%s" STR_FMT, b->n ? "." : "", STR_ARG(name_str(p->name)));
    else if (p->text)
        buf_printf(b, "%s%s", b->n ? "." : "", p->text);
    else if (p->keyed)
        buf_printf(b, "[" STR_FMT "]", STR_ARG(p->key));
    else if (p->up)
        buf_printf(b, "[%d]", p->index);
}

static struct str print_path(struct validation *x, const struct vpath *p)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    vpath_print(&b, p);
    return arena_str(x->s->arena, buf_str(&b));
}

bool has_faults(struct validation *x, const struct vpath *p)
{
    if (!x->s->n_causes)
        return false;
    struct str path = print_path(x, p);
    for (size_t i = 0; i < x->s->n_causes; i++) {
        struct str field = x->s->causes[i].field;
        if (str_starts(field, path) &&
            (field.n == path.n || field.p[path.n] == '.' || field.p[path.n] == '['))
            return true;
    }
    return false;
}

void say_required(struct validation *x, const struct vpath *p, const char *detail)
{
    cause_required(x->s, print_path(x, p), detail);
}

/* Members of messages are printed as their JSON, by the type when it is known. */
void say_invalid(struct validation *x, const struct vpath *p, const struct val *v, const char *detail)
{
    cause_invalid(x->s, print_path(x, p), v, detail);
}

void say_invalid_str(struct validation *x, const struct vpath *p, struct str s, const char *detail)
{
    struct val v = val_of_str(arena_str(x->s->arena, s));
    cause_invalid(x->s, print_path(x, p), &v, detail);
}

void say_forbidden(struct validation *x, const struct vpath *p, const char *detail)
{
    cause_forbidden(x->s, print_path(x, p), detail);
}

void say_duplicate(struct validation *x, const struct vpath *p, const struct val *v)
{
    cause_duplicate(x->s, print_path(x, p), v);
}

void say_unsupported(struct validation *x, const struct vpath *p, const struct val *v,
                     const char *const *supported)
{
    cause_not_supported(x->s, print_path(x, p), v, supported);
}

void say_not_found(struct validation *x, const struct vpath *p, const struct val *v)
{
    cause_not_found(x->s, print_path(x, p), v);
}

void say_too_long(struct validation *x, const struct vpath *p, size_t max)
{
    cause_too_long(x->s, print_path(x, p), max);
}

void say_too_many(struct validation *x, const struct vpath *p, size_t n, size_t max)
{
    cause_too_many(x->s, print_path(x, p), n, max);
}

/* ---- what each type needs, worked out once ------------------------------------------------------------- */

enum reach {
    REACH_ANY = 1 << 0,      /* something in the type or below it has a rule */
    REACH_REQUIRED = 1 << 1, /* even an absent value breaks a rule: something in it must not be empty */
};

static uint8_t *reach;
static const struct rule **rules;
static pthread_once_t reach_once = PTHREAD_ONCE_INIT;

static const struct rule *const rule_tables[] = {
    rules_admin, rules_admission, rules_resource, rules_apps, rules_batch,   rules_container, rules_core,
    rules_crd,   rules_flow, rules_meta, rules_net,     rules_node,      rules_other,
    rules_pod,   rules_rbac, rules_service, rules_storage,   rules_volume,
};

static bool judges_empty(const struct field_extra *e);

static uint8_t field_reach(const struct field *f)
{
    const struct field_extra *e = field_extra(f);
    const struct type *t = field_object_type(f);
    uint8_t r = 0;
    if (f->flags & FIELD_NONEMPTY || judges_empty(e))
        return REACH_ANY | REACH_REQUIRED;
    if (f->flags & FIELD_IMMUTABLE || (e && (e->enums || e->format || e->min_len || e->max_len ||
                                             e->min != INT64_MIN || e->max != INT64_MAX)))
        r |= REACH_ANY;
    if (t && f->kind == K_MESSAGE)
        r |= f->card == CARD_ONE && !(f->flags & FIELD_PTR) ? reach[t->index] : reach[t->index] & REACH_ANY;
    return r;
}

static bool reach_grow(const struct type *t)
{
    uint8_t old = reach[t->index];
    for (unsigned i = 0; i < t->n_fields; i++)
        reach[t->index] |= field_reach(&t->fields[i]);
    return reach[t->index] != old;
}

/* Lives as long as the process. */
static void reach_make(void)
{
    reach = xcalloc(n_types, sizeof(*reach));
    rules = xcalloc(n_types, sizeof(*rules));
    for (size_t i = 0; i < ARRAY_SIZE(rule_tables); i++)
        for (const struct rule *r = rule_tables[i]; r->type; r++) {
            rules[r->type] = r;
            reach[r->type] |= REACH_ANY;
        }
    for (bool grown = true; grown;) {
        grown = false;
        for (unsigned i = 1; i < n_types; i++)
            grown |= reach_grow(&types[i]);
    }
}

static bool compiled_in(const struct type *t)
{
    return t >= types && t < types + n_types;
}

/* ---- rules of the tables ------------------------------------------------------------------------------- */

static bool is_empty(const struct field *f, const struct val *v)
{
    if (!v || v->kind == VAL_NULL)
        return true;
    if (v->kind == VAL_STR && f->flags & FIELD_PTR)
        return false;
    if (v->kind == VAL_STR || v->kind == VAL_BYTES || v->kind == VAL_RAW || v->kind == VAL_LIST ||
        v->kind == VAL_MAP)
        return v->n == 0;
    return v->kind == VAL_INT && !(f->flags & FIELD_PTR) && v->i == 0;
}

static void check_enum(struct validation *x, const struct vpath *p, const struct field_extra *e,
                       const struct val *v, bool empty_counts)
{
    if (v->kind == VAL_STR && (v->n || empty_counts) && !str_in(val_str(v), e->enums))
        say_unsupported(x, p, v, e->enums);
}

static const char *range_text(struct validation *x, int64_t min, int64_t max)
{
    struct arena *a = x->s->arena;
    if (max == INT64_MAX)
        return arena_printf(a, "must be greater than or equal to %lld", (long long)min).p;
    if (min == INT64_MIN)
        return arena_printf(a, "must be less than or equal to %lld", (long long)max).p;
    return arena_printf(a, "must be between %lld and %lld, inclusive", (long long)min, (long long)max).p;
}

void check_range(struct validation *x, const struct vpath *p, const struct val *v, int64_t min, int64_t max)
{
    if (val_is(v, VAL_INT) && (v->i < min || v->i > max))
        say_invalid(x, p, v, range_text(x, min, max));
}

static void check_length(struct validation *x, const struct vpath *p, const struct field_extra *e,
                         const struct val *v)
{
    bool text = v->kind == VAL_STR || v->kind == VAL_BYTES;
    if (e->max_len && v->n > e->max_len) {
        if (text)
            say_too_long(x, p, e->max_len);
        else
            say_too_many(x, p, v->n, e->max_len);
    }
    if (e->min_len && v->n && v->n < e->min_len)
        say_invalid(x, p, v, text ? "is too short" : "has too few items");
}

static void check_format_of(struct validation *x, const struct vpath *p, check_fn *fn, const struct val *v,
                            bool empty_counts)
{
    if (v->kind == VAL_STR && (v->n || empty_counts))
        check_text(x, p, val_str(v), fn);
}

/* "dns-label!": what is absent or empty is wrong, too, and told as the format does. */
static bool judges_empty(const struct field_extra *e)
{
    return e && e->format && e->format[strlen(e->format) - 1] == '!';
}

static void check_format(struct validation *x, const struct vpath *p, const char *format, const struct val *v,
                         bool empty_counts)
{
    char name[32];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(format, "!"), format);
    check_fn *fn = check_find(name);
    size_t i = 0;
    if (strcmp(format, "labels") == 0)
        check_labels(x, p, v);
    if (!fn)
        return;
    VAL_EACH (v, item)
        check_format_of(x, ITEM(p, i++), fn, item, true);
    EACH_KEY (v, k)
        check_text(x, KEY(p, val_str(k)), val_str(k), fn);
    check_format_of(x, p, fn, v, empty_counts);
}

/* Behind a pointer empty text is a value like others. */
static void check_extra(struct validation *x, const struct vpath *p, const struct field_extra *e,
                        const struct val *v, bool pointer)
{
    size_t i = 0;
    if (e->enums && v->kind == VAL_LIST)
        VAL_EACH (v, item)
            check_enum(x, ITEM(p, i++), e, item, true);
    else if (e->enums)
        check_enum(x, p, e, v, pointer);
    if (e->min != INT64_MIN || e->max != INT64_MAX)
        check_range(x, p, v, e->min, e->max);
    if (e->min_len || e->max_len)
        check_length(x, p, e, v);
    if (e->format)
        check_format(x, p, e->format, v, pointer || judges_empty(e));
}

static void check_field(struct validation *x, const struct vpath *p, const struct field *f,
                        const struct val *v, const struct val *old)
{
    const struct field_extra *e = field_extra(f);
    if (f->flags & FIELD_NONEMPTY && is_empty(f, v))
        say_required(x, p, NULL);
    else if (judges_empty(e) && !v)
        check_extra(x, p, e, &(const struct val){.kind = VAL_STR, .s = ""}, false);
    else if (e && v && v->kind != VAL_NULL &&
             !(f->kind == K_INT32 && !(f->flags & FIELD_PTR) && is_empty(f, v)))
        check_extra(x, p, e, v, f->flags & FIELD_PTR);
    if (f->flags & FIELD_IMMUTABLE && x->old && x->old != old)
        check_same(x, p, v, old);
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

static const struct val nothing = {.kind = VAL_OBJ};

static void walk_list(struct validation *x, const struct type *t, const struct vpath *p, const struct val *v)
{
    /* Upstream puts a StatefulSet's claims before the volumes of its Pods and then looks at these. */
    size_t i = t->index == T_core_v1_Volume ? val_len(x->claim_templates) : 0;
    VAL_EACH (v, item) {
        if (item->kind == VAL_OBJ)
            validate_value(x, t, ITEM(p, i), item, NULL);
        i++;
    }
}

static void walk_field(struct validation *x, const struct vpath *p, const struct field *f,
                       const struct val *v, const struct val *old)
{
    const struct type *t = f->kind == K_MESSAGE ? field_type(f) : NULL;
    if (!t)
        return;
    if (!v && f->card == CARD_ONE && !(f->flags & FIELD_PTR) && reach[t->index] & REACH_REQUIRED)
        v = &nothing;
    if (!v)
        return;
    if (v->kind == VAL_OBJ)
        validate_value(x, t, p, v, old);
    else if (v->kind == VAL_LIST)
        walk_list(x, t, p, v);
    else if (v->kind == VAL_MAP && f->card == CARD_MAP)
        VAL_EACH_ENTRY (v, k, item)
            if (item->kind == VAL_OBJ)
                validate_value(x, t, KEY(p, val_str(k)), item, NULL);
}

/* Metadata has its own rules, and status is written by those who know. */
static bool walk_skips(const struct type *t, const struct field *f)
{
    if (f->kind == K_MESSAGE && f->type == T_meta_v1_ObjectMeta)
        return true;
    return t->flags & TYPE_ROOT && (f->name == N_status || f->name == N_kind || f->name == N_apiVersion);
}

void validate_value(struct validation *x, const struct type *t, const struct vpath *p, const struct val *v,
                    const struct val *old)
{
    if (!compiled_in(t) || !reach[t->index])
        return;
    const struct rule *rule = rules[t->index];
    if (rule && rule->fn)
        rule->fn(x, p, v, old);
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct field *f = &t->fields[i];
        if (walk_skips(t, f))
            continue;
        const struct val *m = val_get(v, f->name), *was = val_get(old, f->name);
        if (!rule || !(rule->flags & RULE_OWN))
            check_field(x, AT(p, f->name), f, m, old ? was : x->old);
        walk_field(x, AT(p, f->name), f, m, was);
    }
}

/* ---- entry points -------------------------------------------------------------------------------------- */

static void validate_root(struct validation *x, const struct val *v, const struct val *old)
{
    static const struct vpath root = {0};
    pthread_once(&reach_once, reach_make);
    if (x->res->type && v->kind == VAL_OBJ)
        validate_value(x, x->res->type, &root, v, old);
}

void validate_create(const struct resource *r, const struct val *v, struct status *s)
{
    struct validation x = {.s = s, .res = r, .obj = v};
    static const struct vpath root = {0};
    if (r->stored)
        check_object_meta(&x, AT(&root, N_metadata), obj_meta(v), r->namespaced, resource_strategy(r)->name);
    validate_root(&x, v, NULL);
}

static void check_meta_update(struct validation *x, const struct vpath *p, const struct val *meta,
                              const struct val *old);

void validate_update(const struct resource *r, const char *subresource, const struct val *v,
                     const struct val *old, struct status *s)
{
    struct validation x = {.s = s, .res = r, .subresource = subresource, .obj = v, .old = old};
    static const struct vpath root = {0};
    check_meta_update(&x, AT(&root, N_metadata), obj_meta(v), obj_meta(old));
    if (subresource && (strcmp(subresource, "status") == 0 || strcmp(subresource, "approval") == 0))
        check_status(&x, AT(&root, N_status), v, old);
    else
        validate_root(&x, v, old);
}

/* ---- metadata ------------------------------------------------------------------------------------------ */

enum { ANNOTATIONS_MAX = 256 * 1024, MANAGER_MAX = 128, SUBRESOURCE_MAX = 256 };

static void check_annotations(struct validation *x, const struct vpath *p, const struct val *map)
{
    size_t total = 0;
    VAL_EACH_ENTRY (map, k, v) {
        char *lower = arena_cstr(x->s->arena, val_str(k));
        for (char *c = lower; *c; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c = (char)(*c + 'a' - 'A');
        struct check c = {0};
        check_label_key(&c, str_n(lower, k->n));
        for (unsigned i = 0; i < c.n; i++)
            say_invalid(x, p, k, c.texts[i]);
        total += k->n + val_str(v).n;
    }
    if (total > ANNOTATIONS_MAX)
        say_too_long(x, p, ANNOTATIONS_MAX);
}

/* What is made of a template has metadata of its own; labels and annotations alone are taken from it. */
void check_template_meta(struct validation *x, const struct vpath *p, const struct val *meta)
{
    check_annotations(x, AT(p, N_annotations), val_get(meta, N_annotations));
    check_labels(x, AT(p, N_labels), val_get(meta, N_labels));
    VAL_EACH_MEMBER (meta, m) {
        if (m->name == N_annotations || m->name == N_labels || m->kind == VAL_NULL)
            continue;
        say_forbidden(x, m->name == N_uid ? AT_TEXT(p, "uID") : AT(p, m->name), "field must not be set"); /* so upstream names it */
    }
}

static void check_owner_version(struct validation *x, const struct vpath *p, const struct val *ref)
{
    struct str version = val_getstr(ref, N_apiVersion), group, rest;
    if (!version.n)
        say_required(x, p, "must not be empty");
    else if (str_cut(version, '/', &group, &rest) && (!rest.n || str_find(rest, '/') >= 0))
        say_invalid_str(x, p, version, "must be <group>/<version> or <version>");
}

static void check_owner(struct validation *x, const struct vpath *p, const struct val *ref)
{
    static const name_id wanted[] = {N_kind, N_name, N_uid};
    check_owner_version(x, AT(p, N_apiVersion), ref);
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (!val_getstr(ref, wanted[i]).n)
            say_required(x, AT(p, wanted[i]), "must not be empty");
    if (str_is(val_getstr(ref, N_apiVersion), "v1") && str_is(val_getstr(ref, N_kind), "Event"))
        say_invalid(x, p, ref, "/v1, Kind=Event is disallowed from being an owner");
}

static void check_owners(struct validation *x, const struct vpath *p, const struct val *refs)
{
    size_t i = 0, controllers = 0;
    VAL_EACH (refs, ref) {
        check_owner(x, ITEM(p, i++), ref);
        if (val_bool(val_get(ref, N_controller), false) && controllers++)
            say_invalid(x, p, refs, "Only one reference can have Controller set to true");
    }
}

static bool is_standard_finalizer(struct str s)
{
    return str_in(s, (const char *const[]){"kubernetes", "orphan", "foregroundDeletion", NULL});
}

/* Objects of the core group and its relatives have stricter finalizers than Events and what comes from
 * elsewhere. */
static bool wants_qualified(const struct resource *r)
{
    static const char *const others[] = {"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io",
                                         "coordination.k8s.io", "node.k8s.io", "policy", NULL};
    bool core_event = strcmp(r->name, "events") == 0 && !r->group[0];
    return r->index < n_resources && !core_event && !str_in(str_of(r->group), others);
}

static void check_finalizers(struct validation *x, const struct vpath *p, const struct val *list,
                             bool qualified)
{
    bool orphan = false, foreground = false;
    size_t i = 0;
    VAL_EACH (list, f) {
        check_text(x, p, val_str(f), check_label_key);
        if (qualified && str_find(val_str(f), '/') < 0 && !is_standard_finalizer(val_str(f)))
            say_invalid(x, ITEM(p, i), f,
                        "name is neither a standard finalizer name nor is it fully qualified");
        orphan = orphan || str_is(val_str(f), "orphan");
        foreground = foreground || str_is(val_str(f), "foregroundDeletion");
        i++;
    }
    if (orphan && foreground)
        say_invalid(x, p, list, "finalizer orphan and foregroundDeletion cannot be both set");
}

static void check_managed_fields(struct validation *x, const struct vpath *p, const struct val *list)
{
    static const char *const operations[] = {"Apply", "Update", NULL};
    size_t i = 0;
    VAL_EACH (list, entry) {
        const struct vpath *at = ITEM(p, i++);
        const struct val *op = val_get(entry, N_operation);
        if (!val_str(op).n)
            say_required(x, AT(at, N_operation), "must not be empty");
        else if (!str_in(val_str(op), operations))
            say_unsupported(x, AT(at, N_operation), op, operations);
        if (val_getstr(entry, N_fieldsType).n && !str_is(val_getstr(entry, N_fieldsType), "FieldsV1"))
            say_invalid(x, AT(at, N_fieldsType), val_get(entry, N_fieldsType), "must be `FieldsV1`");
        if (val_getstr(entry, N_manager).n > MANAGER_MAX)
            say_too_long(x, AT(at, N_manager), MANAGER_MAX);
        if (val_getstr(entry, N_subresource).n > SUBRESOURCE_MAX)
            say_too_long(x, AT(at, N_subresource), SUBRESOURCE_MAX);
    }
}

static void check_namespace(struct validation *x, const struct vpath *p, struct str ns, bool namespaced)
{
    if (!namespaced && ns.n)
        say_forbidden(x, p, "not allowed on this type");
    else if (namespaced && !ns.n)
        say_required(x, p, NULL);
    else if (namespaced)
        check_text(x, p, ns, check_label_of_dns);
}

/* As a name, with something behind the last dash. */
static void check_generate_name(struct validation *x, const struct vpath *p, struct str s, check_fn *name)
{
    char *text = arena_cstr(x->s->arena, s);
    if (s.n > 1 && text[s.n - 1] == '-') {
        text[s.n - 2] = 'a';
        s = str_n(text, s.n - 1);
    }
    struct check c = {0};
    name(&c, s);
    for (unsigned i = 0; i < c.n; i++)
        say_invalid_str(x, p, s, c.texts[i]);
}

static void check_common(struct validation *x, const struct vpath *p, const struct val *meta)
{
    check_range(x, AT(p, N_generation), val_get(meta, N_generation), 0, INT64_MAX);
    check_labels(x, AT(p, N_labels), val_get(meta, N_labels));
    check_annotations(x, AT(p, N_annotations), val_get(meta, N_annotations));
    check_owners(x, AT(p, N_ownerReferences), val_get(meta, N_ownerReferences));
    check_managed_fields(x, AT(p, N_managedFields), val_get(meta, N_managedFields));
}

void check_object_meta(struct validation *x, const struct vpath *p, const struct val *meta, bool namespaced,
                       check_fn *name)
{
    struct str own = val_getstr(meta, N_name), generate = val_getstr(meta, N_generateName);
    if (generate.n && name)
        check_generate_name(x, AT(p, N_generateName), generate, name);
    if (!own.n)
        say_required(x, AT(p, N_name), "name or generateName is required");
    else if (name)
        check_text(x, AT(p, N_name), own, name);
    check_namespace(x, AT(p, N_namespace), val_getstr(meta, N_namespace), namespaced);
    check_common(x, p, meta);
    check_finalizers(x, AT(p, N_finalizers), val_get(meta, N_finalizers), wants_qualified(x->res));
}

static bool list_has(const struct val *list, struct str s)
{
    VAL_EACH (list, v)
        if (str_eq(val_str(v), s))
            return true;
    return false;
}

/* What is being deleted waits for those it waits for, and no others. */
static void check_no_new_finalizers(struct validation *x, const struct vpath *p, const struct val *meta,
                                    const struct val *old)
{
    if (!val_get(old, N_deletionTimestamp))
        return;
    VAL_EACH (val_get(meta, N_finalizers), f)
        if (!list_has(val_get(old, N_finalizers), val_str(f))) {
            say_forbidden(x, AT(p, N_finalizers),
                          "no new finalizers can be added if the object is being deleted");
            return;
        }
}

static void check_meta_update(struct validation *x, const struct vpath *p, const struct val *meta,
                              const struct val *old)
{
    static const name_id fixed[] = {
        N_name, N_namespace, N_uid, N_creationTimestamp, N_deletionTimestamp, N_deletionGracePeriodSeconds};
    check_no_new_finalizers(x, p, meta, old);
    if (val_int(val_get(meta, N_generation), 0) < val_int(val_get(old, N_generation), 0))
        say_invalid(x, AT(p, N_generation), val_get(meta, N_generation), "must not be decremented");
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        check_same(x, AT(p, fixed[i]), val_get(meta, fixed[i]), val_get(old, fixed[i]));
    check_common(x, p, meta);
    if (!x->subresource)
        check_finalizers(x, AT(p, N_finalizers), val_get(meta, N_finalizers), wants_qualified(x->res));
}
