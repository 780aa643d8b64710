/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/policy.h"

#include <limits.h>

#include "apiserver/conversion.h"
#include "apiserver/custom.h"
#include "apiserver/state.h"
#include "names.h"
#include "type/meta.h"

/* ---- compiling ------------------------------------------------------------------------------------------ */

static struct constraints constraints_of(struct arena *a, const struct val *v)
{
    struct constraints c = {.rules = val_get(v, N_resourceRules), .excluded = val_get(v, N_excludeResourceRules),
                            .equivalent = str_is(val_getstr(v, N_matchPolicy), "Equivalent")};
    admit_selectors_parse(a, v, &c.selectors);
    return c;
}

static void read_param_kind(struct policy *p, const struct val *kind)
{
    struct str version = val_getstr(kind, N_apiVersion), rest;
    p->has_params = kind != NULL;
    p->param_kind = val_getstr(kind, N_kind);
    if (str_cut(version, '/', &p->param_group, &rest))
        p->param_version = rest;
    else
        p->param_group = STR(""), p->param_version = version;
}

struct policy *policy_make(struct apiserver *s, struct admit_config *c)
{
    const struct val *spec = val_get(c->object->val, N_spec), *variables = val_get(spec, N_variables);
    struct policy *p = ARENA_NEW(&c->arena, struct policy);
    *p = (struct policy){.spec = spec, .name = c->object->name, .ignore = str_is(val_getstr(spec, N_failurePolicy), "Ignore"),
                         .reinvoke = str_is(val_getstr(spec, N_reinvocationPolicy), "IfNeeded"),
                         .constraints = constraints_of(&c->arena, val_get(spec, N_matchConstraints))};
    read_param_kind(p, val_get(spec, N_paramKind));
    admit_cel_init(&c->cel, &c->arena, dynamic_types(s), p->has_params, val_len(variables), UINT_MAX);
    VAL_EACH (variables, v)
        admit_compile_variable(&c->cel, val_getstr(v, N_name), val_getstr(v, N_expression));
    admit_conditions_compile(&c->cel, val_get(spec, N_matchConditions), &p->conditions);
    c->made = p;
    return p;
}

void admit_binding_make(struct apiserver *s, struct admit_config *c)
{
    const struct val *spec = val_get(c->object->val, N_spec), *match = val_get(spec, N_matchResources);
    struct binding *b = ARENA_NEW(&c->arena, struct binding);
    struct err e = {0};
    *b = (struct binding){.spec = spec, .name = c->object->name, .has_match = match != NULL,
                          .constraints = constraints_of(&c->arena, match), .param_ref = val_get(spec, N_paramRef)};
    const struct val *selector = val_get(b->param_ref, N_selector);
    if (selector && selector_from_val(&c->arena, selector, &b->params, &e) < 0)
        b->fault = arena_str(&c->arena, str_of(e.text));
    admit_cel_init(&c->cel, &c->arena, dynamic_types(s), false, 0, UINT_MAX);
    c->made = b;
}

/* ---- which requests ------------------------------------------------------------------------------------- */

/* *ret: the version of the resource that it is for, NULL: it is not. False: something is wrong, as r->status says. */
static bool match(struct subject *s, const struct constraints *c, const struct resource **ret)
{
    bool selected;
    int e = subject_match_selectors(s, &c->selectors, &selected);
    *ret = NULL;
    if ((!selected && !e) || subject_match_rules(s, c->excluded, c->equivalent))
        return true;
    const struct resource *res = val_len(c->rules) ? subject_match_rules(s, c->rules, c->equivalent) : s->res;
    if (res && e)
        return false;
    *ret = res;
    return true;
}

/* The sentence of r->status, which is then as new. */
static struct str take_fault(struct subject *s)
{
    struct status *st = &s->a->r->status;
    struct str text = st->message;
    status_init(st, s->a->r->arena);
    return text;
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

struct params {
    struct param *items;
    size_t n;
    struct str fault;
};

static void add_param(struct subject *s, struct params *p, const struct resource *res, const struct object *o)
{
    p->items[p->n++] = (struct param){request_hold(s->a->r, o)->val, res->type};
}

/* In the version that the policy names. */
static void convert_params(struct subject *s, const struct resource *res, struct params *p)
{
    struct request *r = s->a->r;
    for (size_t i = 0; i < p->n && !p->fault.n; i++) {
        if (conversion_from_stored(r, res, p->items[i].v, &p->items[i].v)) {
            p->fault = r->status.message;
            status_init(&r->status, r->arena);
        }
    }
}

static void select_params(struct subject *s, const struct binding *b, const struct resource *res, struct str ns, struct params *p)
{
    const struct cache_kind *k = cache_kind(s->a->r->server->cache, res);
    struct str name = val_getstr(b->param_ref, N_name);
    const struct object *o;
    if (!k)
        return;
    p->items = ARENA_ARRAY(s->a->r->arena, struct param, name.n ? 1 : tree_count(k->root));
    if (name.n) {
        if ((o = cache_get(k, ns, name)))
            add_param(s, p, res, o);
        return;
    }
    TREE_EACH (k->root, ns, it)
        if (selector_matches(&b->params, obj_labels(it.object->val)))
            add_param(s, p, res, it.object);
}

static void find_params(struct subject *s, const struct binding *b, const struct resource *res, struct params *p)
{
    struct str own = val_getstr(b->param_ref, N_namespace), ns = own.n ? own : s->ns;
    if (b->fault.n)
        p->fault = b->fault;
    else if (res->namespaced && !ns.n)
        p->fault = STR("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
    else if (!res->namespaced && own.n)
        p->fault = STR("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
    else
        select_params(s, b, res, res->namespaced ? ns : STR(""), p);
    convert_params(s, res, p);
    if (!p->n && !p->fault.n && str_is(val_getstr(b->param_ref, N_parameterNotFoundAction), "Deny"))
        p->fault = STR("no params found for policy binding with `Deny` parameterNotFoundAction");
}

/* ---- all of them ---------------------------------------------------------------------------------------- */

struct finding {
    struct subject *s;
    struct invocation *items;
    size_t n, cap;
};

static void add(struct finding *f, struct invocation i)
{
    if (f->n == f->cap) {
        struct invocation *had = f->items;
        f->cap = f->cap ? 2 * f->cap : 8;
        f->items = ARENA_ARRAY(f->s->a->r->arena, struct invocation, f->cap);
        if (f->n)
            memcpy(f->items, had, f->n * sizeof(*had));
    }
    f->items[f->n++] = i;
}

static void add_fault(struct finding *f, const struct admit_config *c, const struct binding *b, struct str text)
{
    struct arena *a = f->s->a->r->arena;
    add(f, (struct invocation){.config = c, .policy = c->made, .binding = b,
                               .fault = arena_printf(a, "failed to configure %s: " STR_FMT, b ? "binding" : "policy", STR_ARG(text))});
}

static void bind(struct finding *f, const struct admit_config *c, const struct binding *b, const struct resource *as,
                const struct resource *param_res)
{
    struct subject *s = f->s;
    const struct policy *policy = c->made;
    const struct resource *fits = s->res;
    struct params params = {.n = 0};
    struct face *face;
    if (b->has_match && !match(s, &b->constraints, &fits)) {
        add_fault(f, c, b, take_fault(s));
        return;
    }
    if (!fits)
        return;
    if (policy->has_params && b->param_ref)
        find_params(s, b, param_res, &params);
    else
        params = (struct params){.items = ARENA_NEW(s->a->r->arena, struct param), .n = 1};
    if (params.fault.n) {
        add_fault(f, c, b, params.fault);
        return;
    }
    if (params.n && subject_face(s, as, &face)) {
        add_fault(f, c, b, take_fault(s));
        return;
    }
    for (size_t i = 0; i < params.n; i++)
        add(f, (struct invocation){.config = c, .policy = policy, .binding = b, .face = face, .param = params.items[i]});
}

static void invoke(struct finding *f, const struct admit_item *item)
{
    struct subject *s = f->s;
    const struct admit_config *c = item->config;
    const struct policy *p = c->made;
    const struct resource *as, *param_res = NULL;
    if (!match(s, &p->constraints, &as)) {
        add_fault(f, c, NULL, take_fault(s));
        return;
    }
    if (!as)
        return;
    if (p->has_params)
        param_res = served_find_kind(s->a->r->server, p->param_group, p->param_version, p->param_kind);
    if (p->has_params && !param_res) {
        add_fault(f, c, NULL, arena_printf(s->a->r->arena, "failed to find resource referenced by paramKind: '" STR_FMT "/" STR_FMT ", Kind=" STR_FMT "'",
                                           STR_ARG(p->param_group), STR_ARG(p->param_version), STR_ARG(p->param_kind)));
        return;
    }
    for (size_t i = 0; i < item->n_bindings; i++)
        bind(f, c, item->bindings[i]->made, as, param_res);
}

void policy_invocations(struct subject *s, const struct admit_list *l, struct invocation **ret, size_t *ret_n)
{
    struct finding f = {.s = s};
    for (size_t i = 0; i < l->n; i++)
        invoke(&f, &l->items[i]);
    *ret = f.items;
    *ret_n = f.n;
}

int policy_forbid(struct subject *s, struct str message)
{
    struct admission *a = s->a;
    const struct val *v = a->op == ADMIT_DELETE ? NULL : a->v;
    struct str name = a->name.n ? a->name : STR("Unknown"), made = val_getstr(obj_meta(v), N_generateName);
    if (!a->name.n && v)
        name = obj_name(v).n ? obj_name(v) : made.n ? made : name;
    return status_forbidden(&a->r->status, s->res, name, arena_cstr(a->r->arena, message));
}
