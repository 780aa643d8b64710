/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status of ValidatingAdmissionPolicies: their expressions are checked once more against the types of the kinds that they
 * are for by name, and what does not fit is told. It changes nothing about what the policies do.
 */
#include "apiserver/dynamic.h"

#include <limits.h>
#include <stdio.h>

#include "apiserver/custom.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "cel/schema.h"
#include "client/client.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/structural.h"

/* ---- types of built-in kinds ---------------------------------------------------------------------------- */

struct table_types {
    struct arena *arena;
    struct cel_type **made; /* by index of the type; a type may hold itself */
};

static const struct cel_type *message_type(struct table_types *x, const struct type *t);

static const struct cel_type *leaf_type(struct table_types *x, const struct field *f)
{
    switch ((enum field_kind)f->kind) {
    case K_BOOL:
        return &cel_bool;
    case K_INT32:
    case K_INT64:
    case K_UINT32:
    case K_UINT64:
        return &cel_int;
    case K_FLOAT64:
        return &cel_double;
    case K_STRING:
    case K_QUANTITY:
    case K_DURATION:
        return &cel_string;
    case K_BYTES:
        return &cel_bytes;
    case K_TIME:
    case K_MICROTIME:
        return &cel_timestamp;
    case K_STRINGS:
        return cel_list_of(x->arena, &cel_string);
    case K_MESSAGE:
        return message_type(x, field_type(f));
    default:
        return &cel_dyn;
    }
}

static const struct cel_type *type_of_field(struct table_types *x, const struct field *f)
{
    const struct cel_type *t = leaf_type(x, f);
    return f->card == CARD_LIST ? cel_list_of(x->arena, t) : f->card == CARD_MAP ? cel_map_of(x->arena, &cel_string, t) : t;
}

static const struct cel_type *message_type(struct table_types *x, const struct type *t)
{
    if (x->made[t->index])
        return x->made[t->index];
    struct cel_type *made = x->made[t->index] = ARENA_NEW(x->arena, struct cel_type);
    struct cel_field *f = ARENA_ARRAY(x->arena, struct cel_field, t->n_fields);
    uint32_t n = 0;
    *made = (struct cel_type){.kind = CEL_OBJECT, .name = str_of(t->name), .fields = f};
    for (unsigned i = 0; i < t->n_fields; i++) {
        struct str json = name_str(t->fields[i].name), name;
        if (cel_escape_name(x->arena, json, &name))
            f[n++] = (struct cel_field){.name = name, .json = json, .type = type_of_field(x, &t->fields[i])};
    }
    made->n_fields = n;
    return made;
}

static const struct cel_type *type_of_kind(struct arena *a, const struct resource *res)
{
    if (res->type->flags & TYPE_OPEN)
        return cel_schema_type(a, type_schema(res->type), true);
    struct table_types x = {.arena = a, .made = ARENA_ARRAY(a, struct cel_type *, n_types)};
    return message_type(&x, res->type);
}

/* ---- the kinds that a policy is for --------------------------------------------------------------------- */

enum { KINDS_MAX = 10 };

struct kinds {
    const struct resource *items[KINDS_MAX];
    size_t n;
};

static bool has_wildcard(const struct val *list)
{
    VAL_EACH (list, v)
        if (str_find(val_str(v), '*') >= 0)
            return true;
    return false;
}

static void add_kind(struct kinds *k, const struct resource *res)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->items[i] == res)
            return;
    if (res && k->n < KINDS_MAX)
        k->items[k->n++] = res;
}

static void add_kinds(struct apiserver *s, struct kinds *k, const struct val *rule)
{
    const struct val *groups = val_get(rule, N_apiGroups), *versions = val_get(rule, N_apiVersions);
    if (has_wildcard(groups) || has_wildcard(versions))
        return;
    VAL_EACH (groups, g)
        VAL_EACH (versions, v)
            VAL_EACH (val_get(rule, N_resources), r)
                if (str_find(val_str(r), '*') < 0 && str_find(val_str(r), '/') < 0)
                    add_kind(k, served_find(s, val_str(g), val_str(v), val_str(r)));
}

static int by_name(const void *px, const void *py)
{
    const struct resource *x = *(const struct resource *const *)px, *y = *(const struct resource *const *)py;
    int c = strcmp(x->group, y->group);
    c = c ? c : strcmp(x->version, y->version);
    return c ? c : strcmp(x->kind, y->kind);
}

static struct kinds kinds_of(struct apiserver *s, const struct val *spec)
{
    struct kinds k = {.n = 0};
    VAL_EACH (val_at(spec, N_matchConstraints, N_resourceRules), rule)
        add_kinds(s, &k, rule);
    qsort(k.items, k.n, sizeof(k.items[0]), by_name);
    return k;
}

/* ---- checking ------------------------------------------------------------------------------------------- */

struct checking {
    struct arena *a;
    struct kinds kinds;
    struct admit_cel cel[KINDS_MAX];
    struct val *warnings; /* LIST of ExpressionWarnings */
};

static const struct cel_type *params_type(struct apiserver *s, struct arena *a, const struct val *kind)
{
    struct str version = val_getstr(kind, N_apiVersion), group = STR(""), rest;
    if (str_cut(version, '/', &group, &rest))
        version = rest;
    else
        group = STR("");
    const struct resource *res = served_find_kind(s, group, version, val_getstr(kind, N_kind));
    return res ? type_of_kind(a, res) : NULL;
}

static void begin(struct apiserver *s, struct checking *k, const struct val *spec)
{
    const struct val *variables = val_get(spec, N_variables), *kind = val_get(spec, N_paramKind);
    const struct cel_type *params = kind ? params_type(s, k->a, kind) : NULL;
    k->kinds = kinds_of(s, spec);
    for (size_t i = 0; i < k->kinds.n; i++) {
        admit_cel_init(&k->cel[i], k->a, dynamic_types(s), kind != NULL, val_len(variables), UINT_MAX);
        k->cel[i].object_type = type_of_kind(k->a, k->kinds.items[i]);
        k->cel[i].params_type = params;
        VAL_EACH (variables, v)
            admit_compile_variable(&k->cel[i], val_getstr(v, N_name), val_getstr(v, N_expression));
    }
}

static void check(struct checking *k, const char *list, size_t index, const char *field, struct str expression)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; expression.n && i < k->kinds.n; i++) {
        const struct resource *res = k->kinds.items[i];
        struct admit_expr x;
        admit_compile(&k->cel[i], expression, ADMIT_AUTHORIZER, WANT_ANY, &x);
        if (x.fault.n)
            buf_printf(&b, "%s%s/%s, Kind=%s: " STR_FMT "\n", b.n ? "\n" : "", res->group, res->version, res->kind, STR_ARG(x.fault));
    }
    if (!b.n)
        return;
    struct val *w = val_add_obj(k->a, k->warnings);
    val_set_str(k->a, w, N_fieldRef, arena_printf(k->a, "%s[%zu].%s", list, index, field));
    val_set_str(k->a, w, N_warning, buf_str(&b));
}

static struct val *warnings_of(struct apiserver *s, struct arena *a, const struct val *spec)
{
    struct checking *k = ARENA_NEW(a, struct checking);
    size_t n = 0;
    *k = (struct checking){.a = a, .warnings = val_new(a, VAL_LIST)};
    begin(s, k, spec);
    VAL_EACH (val_get(spec, N_validations), v) {
        check(k, "spec.validations", n, "expression", val_getstr(v, N_expression));
        check(k, "spec.validations", n, "messageExpression", val_getstr(v, N_messageExpression));
        n++;
    }
    for (size_t i = 0; i < k->kinds.n; i++)
        admit_cel_done(&k->cel[i]);
    return k->warnings;
}

/* ---- the fiber ------------------------------------------------------------------------------------------ */

struct following {
    struct apiserver *s;
    struct cache_hook hook;
    struct waitq changed;
    struct map dirty; /* names */
};

static bool is_checked(const struct object *o)
{
    return val_int(val_at(o->val, N_status, N_observedGeneration), 0) >= val_int(val_get(o->meta, N_generation), 0);
}

static void look_at(struct apiserver *s, struct str name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct object *o = object_ref(cache_get(state_kind(s, RES_VALIDATINGADMISSIONPOLICIES), STR(""), name));
    struct status st;
    if (!o || is_checked(o)) {
        object_unref(o);
        return;
    }
    status_init(&st, &a);
    struct val *v = val_copy(&a, o->val), *status = val_sub_obj(&a, v, N_status), *checked = val_new(&a, VAL_OBJ);
    struct val *warnings = warnings_of(s, &a, val_get(v, N_spec));
    val_set_ref(&a, checked, N_expressionWarnings, warnings->n ? warnings : NULL);
    val_set(&a, status, N_typeChecking, *checked);
    val_set_ref(&a, status, N_observedGeneration, val_get(obj_meta(v), N_generation));
    client_update(s->self, CALL(.res = o->res, .name = o->name, .subresource = "status"), v, &a, NULL, &st); /* told again when it changed */
    object_unref(o);
}

static void changed(void *arg, const struct object *old UNUSED, const struct object *now)
{
    struct following *f = arg;
    if (!now || is_checked(now))
        return;
    map_put(&f->dirty, now->name, f);
    waitq_wake_all(&f->changed);
}

static bool take_dirty(struct map *m, char *buf, size_t size)
{
    MAP_EACH (m, e) {
        snprintf(buf, size, STR_FMT, STR_ARG(e->key));
        map_del(m, str_of(buf));
        return true;
    }
    return false;
}

void policy_status_follow(void *arg)
{
    struct following f = {.s = arg};
    struct cache_kind *k = state_kind(f.s, RES_VALIDATINGADMISSIONPOLICIES);
    char name[512];
    cache_on_change(k, &f.hook, changed, &f);
    TREE_EACH (k->root, STR(""), it)
        changed(&f, NULL, it.object);
    for (;;) {
        while (!fiber_cancelled() && take_dirty(&f.dirty, name, sizeof(name)))
            look_at(f.s, str_of(name));
        if (waitq_wait(&f.changed, MONO_NEVER) < 0)
            break;
    }
    cache_off_change(&f.hook);
    map_done(&f.dirty);
}
