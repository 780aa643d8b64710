/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of admission: what they can name (KEP-3488, KEP-3716, KEP-3962), how they are compiled and evaluated. */
#include "apiserver/dynamic.h"

#include <limits.h>

#include "apiserver/auth.h"
#include "apiserver/state.h"
#include "names.h"
#include "type/meta.h"
#include "types.h"

/* ---- types ---------------------------------------------------------------------------------------------- */

struct admit_types {
    const struct cel_type *request, *ns, *json_patches, *object;
    const struct cel_type *json_patch;
};

static const struct cel_type *request_type(struct arena *a)
{
    const struct cel_type *texts = cel_list_of(a, &cel_string), *s = &cel_string;
    const struct cel_type *kind = CEL_OBJECT_TYPE(a, "kubernetes.GroupVersionKind", {"group", s}, {"version", s}, {"kind", s});
    const struct cel_type *res = CEL_OBJECT_TYPE(a, "kubernetes.GroupVersionResource", {"group", s}, {"version", s}, {"resource", s});
    const struct cel_type *user = CEL_OBJECT_TYPE(a, "kubernetes.UserInfo", {"username", s}, {"uid", s}, {"groups", texts},
                                              {"extra", cel_map_of(a, &cel_string, texts)});
    return CEL_OBJECT_TYPE(a, "kubernetes.AdmissionRequest", {"kind", kind}, {"resource", res}, {"subResource", s}, {"requestKind", kind},
                       {"requestResource", res}, {"requestSubResource", s}, {"name", s}, {"namespace", s}, {"operation", s},
                       {"userInfo", user}, {"dryRun", &cel_bool}, {"options", &cel_dyn});
}

static const struct cel_type *namespace_type(struct arena *a)
{
    const struct cel_type *texts = cel_list_of(a, &cel_string), *s = &cel_string, *t = &cel_timestamp;
    const struct cel_type *labels = cel_map_of(a, &cel_string, &cel_string);
    const struct cel_type *condition = CEL_OBJECT_TYPE(a, "kubernetes.NamespaceCondition", {"status", s}, {"type", s},
                                                   {"lastTransitionTime", t}, {"message", s}, {"reason", s});
    const struct cel_type *meta = CEL_OBJECT_TYPE(a, "kubernetes.NamespaceMetadata", {"name", s}, {"generateName", s}, {"namespace", s},
                                              {"labels", labels}, {"annotations", labels}, {"UID", s}, {"creationTimestamp", t},
                                              {"deletionGracePeriodSeconds", &cel_int}, {"deletionTimestamp", t},
                                              {"generation", &cel_int}, {"resourceVersion", s}, {"finalizers", texts});
    const struct cel_type *spec = CEL_OBJECT_TYPE(a, "kubernetes.NamespaceSpec", {"finalizers", texts});
    const struct cel_type *status = CEL_OBJECT_TYPE(a, "kubernetes.NamespaceStatus", {"conditions", cel_list_of(a, condition)}, {"phase", s});
    return CEL_OBJECT_TYPE(a, "kubernetes.Namespace", {"metadata", meta}, {"spec", spec}, {"status", status});
}

const struct admit_types *admit_types_new(struct arena *a)
{
    struct admit_types *t = ARENA_NEW(a, struct admit_types);
    const struct cel_type *s = &cel_string;
    t->request = request_type(a);
    t->ns = namespace_type(a);
    t->json_patch = CEL_OBJECT_TYPE(a, "JSONPatch", {"op", s}, {"path", s}, {"from", s}, {"value", &cel_dyn});
    t->json_patches = cel_list_of(a, t->json_patch);
    t->object = cel_object_of(a, STR("Object"), NULL, 0);
    return t;
}

/* ---- environments --------------------------------------------------------------------------------------- */

/* Variables in the order in which every environment has them; those of flags that it lacks are not there. */
enum { V_OBJECT, V_OLD, V_NAMESPACE, V_REQUEST, V_VARIABLES, V_PARAMS, V_AUTHORIZER, V_CHECK, N_VARIABLES };

static void declare(struct admit_cel *c, struct cel_env *env, unsigned flags)
{
    const struct cel_type *object = c->object_type ? c->object_type : &cel_dyn;
    cel_env_var(env, "object", object);
    cel_env_var(env, "oldObject", object);
    cel_env_var(env, "namespaceObject", c->types->ns);
    cel_env_var(env, "request", c->types->request);
    if (c->variables_type)
        cel_env_var(env, "variables", c->variables_type);
    if (flags & ADMIT_PARAMS)
        cel_env_var(env, "params", c->params_type ? c->params_type : &cel_dyn);
    if (flags & ADMIT_AUTHORIZER) {
        cel_env_var(env, "authorizer", &cel_authorizer);
        cel_env_var(env, "authorizer.requestResource", &cel_resource_check);
    }
    if (flags & ADMIT_PATCH) {
        cel_env_type(env, c->types->json_patch);
        cel_env_open_type(env, "Object");
    }
}

/* Which of them the number is. */
static unsigned variable_of(const struct admit_cel *c, unsigned flags, unsigned number)
{
    for (unsigned v = 0; v < N_VARIABLES; v++) {
        bool there = (v != V_VARIABLES || c->variables_type) && (v != V_PARAMS || flags & ADMIT_PARAMS) &&
                     (v < V_AUTHORIZER || flags & ADMIT_AUTHORIZER);
        if (there && number-- == 0)
            return v;
    }
    return N_VARIABLES;
}

static struct cel_env *env_of(struct admit_cel *c, unsigned flags)
{
    if (!c->envs[flags]) {
        unsigned libs = CEL_LIB_KUBERNETES | (flags & ADMIT_AUTHORIZER ? CEL_LIB_AUTHORIZER : 0) | (flags & ADMIT_PATCH ? CEL_LIB_JSONPATCH : 0);
        c->envs[flags] = cel_env_new(libs, c->version);
        declare(c, c->envs[flags], flags);
    }
    return c->envs[flags];
}

void admit_cel_init(struct admit_cel *c, struct arena *a, const struct admit_types *known, bool params, size_t max_variables,
                    unsigned version)
{
    *c = (struct admit_cel){.arena = a, .types = known, .version = version, .params = params};
    if (!max_variables)
        return;
    c->variables = ARENA_ARRAY(a, struct admit_expr, max_variables);
    c->variables_type = ARENA_NEW(a, struct cel_type);
    *c->variables_type = (struct cel_type){.kind = CEL_OBJECT, .name = STR("kubernetes.variables"),
                                           .fields = ARENA_ARRAY(a, struct cel_field, max_variables)};
}

void admit_cel_done(struct admit_cel *c)
{
    for (size_t i = 0; i < c->n_programs; i++)
        cel_program_unref(c->programs[i]);
    free(c->programs);
    for (size_t i = 0; i < ADMIT_ENVS; i++)
        cel_env_unref(c->envs[i]);
}

/* ---- compiling ------------------------------------------------------------------------------------------ */

static bool is_wanted(const struct admit_cel *c, enum admit_want want, const struct cel_type *t)
{
    switch (want) {
    case WANT_ANY:
        return true;
    case WANT_BOOL:
        return t->kind == CEL_BOOL;
    case WANT_STRING:
        return t->kind == CEL_STRING;
    case WANT_STRING_OR_NULL:
        return t->kind == CEL_STRING || t->kind == CEL_NULL;
    case WANT_OBJECT:
        return t->kind == CEL_OBJECT && str_eq(t->name, c->types->object->name);
    case WANT_JSON_PATCH:
        return t->kind == CEL_LIST && t->params[0]->kind == CEL_OBJECT && str_eq(t->params[0]->name, c->types->json_patch->name);
    }
    return false;
}

static const char *wanted_text(enum admit_want want)
{
    static const char *const texts[] = {[WANT_ANY] = "",
                                        [WANT_BOOL] = "bool",
                                        [WANT_STRING] = "string",
                                        [WANT_STRING_OR_NULL] = "one of [string null_type]",
                                        [WANT_OBJECT] = "Object",
                                        [WANT_JSON_PATCH] = "list(JSONPatch)"};
    return texts[want];
}

static void keep(struct admit_cel *c, struct cel_program *p)
{
    c->programs = xrealloc(c->programs, (c->n_programs + 1) * sizeof(*c->programs));
    c->programs[c->n_programs++] = p;
}

void admit_compile(struct admit_cel *c, struct str source, unsigned env, enum admit_want want, struct admit_expr *ret)
{
    struct cel_issues issues = {.n = 0};
    unsigned flags = env | (c->params ? ADMIT_PARAMS : 0);
    *ret = (struct admit_expr){.source = source, .env = (uint8_t)flags};
    if (cel_compile(env_of(c, flags), source, c->arena, &ret->program, &issues) < 0) {
        ret->program = NULL;
        ret->fault = arena_printf(c->arena, "compilation failed: " STR_FMT, STR_ARG(issues.text));
        return;
    }
    keep(c, ret->program);
    const struct cel_type *t = cel_program_type(ret->program);
    if (is_wanted(c, want, t))
        return;
    ret->fault = arena_printf(c->arena, "must evaluate to %s but got " STR_FMT, wanted_text(want), STR_ARG(cel_type_text(c->arena, t)));
    ret->program = NULL;
}

const struct admit_expr *admit_compile_variable(struct admit_cel *c, struct str name, struct str source)
{
    struct admit_expr *x = &c->variables[c->n_variables++];
    struct cel_field *f = (struct cel_field *)(uintptr_t)&c->variables_type->fields[c->variables_type->n_fields];
    admit_compile(c, source, ADMIT_AUTHORIZER, WANT_ANY, x);
    *f = (struct cel_field){.name = name, .json = name, .type = x->program ? cel_program_type(x->program) : &cel_dyn};
    c->variables_type->n_fields++;
    return x;
}

/* ---- the authorizer ------------------------------------------------------------------------------------- */

static struct user account_user(struct arena *a, struct str ns, struct str name)
{
    struct user u = {.name = arena_printf(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(ns), STR_ARG(name))};
    user_add_group(a, &u, STR("system:serviceaccounts"));
    user_add_group(a, &u, arena_printf(a, "system:serviceaccounts:" STR_FMT, STR_ARG(ns)));
    user_add_group(a, &u, STR("system:authenticated"));
    return u;
}

static struct cel_authz_decision check(void *arg, const struct cel_authz_request *q, struct arena *a)
{
    struct subject *s = arg;
    struct user account = q->sa_name.n ? account_user(a, q->sa_namespace, q->sa_name) : (struct user){.name = STR_NULL};
    struct attributes at = {.user = q->sa_name.n ? &account : subject_user(s), .verb = q->verb, .resource_request = !q->path.n,
                            .ns = q->namespace, .group = q->group, .version = STR("*"), .resource = q->resource,
                            .subresource = q->subresource, .name = q->name, .path = q->path};
    struct err why = {0};
    bool allowed = authorize(s->a->r, &at, &why) == DECISION_ALLOW;
    return (struct cel_authz_decision){.allowed = allowed, .reason = arena_str(a, str_of(why.text))};
}

static struct cel_val resource_check(struct admit_eval *ev, struct arena *a)
{
    const struct subject *s = ev->s;
    struct cel_authz_request q = {.group = str_of(s->res->group), .resource = str_of(s->res->name), .subresource = s->sub,
                                  .namespace = s->ns, .name = s->name};
    return cel_of_resource_check(a, &ev->authorizer, &q);
}

/* ---- evaluating ----------------------------------------------------------------------------------------- */

void admit_eval_init(struct admit_eval *ev, const struct admit_cel *c, struct subject *s, const struct face *f, uint64_t budget)
{
    *ev = (struct admit_eval){.cel = c, .s = s, .face = f, .budget = budget, .arena = s->a->r->arena, .authorizer = {check, s}};
}

void admit_eval_reset(struct admit_eval *ev, uint64_t budget)
{
    ev->budget = budget;
    ev->spent = 0;
    ev->variables = (struct cel_val){.kind = CEL_ERROR};
}

static struct cel_val variable(void *user, unsigned number, struct arena *a);

static struct cel_val fail(struct arena *a, struct str text)
{
    struct str s = arena_str(a, text);
    return (struct cel_val){.kind = CEL_ERROR, .n = (uint32_t)s.n, .s = s.p};
}

static int run(struct admit_eval *ev, const struct admit_expr *x, struct cel_val *ret, uint64_t *ret_cost, struct err *e)
{
    struct cel_eval ce = {.variable = variable, .user = ev, .arena = ev->arena, .limit = CEL_COST_PER_CALL};
    unsigned had = ev->env;
    ev->env = x->env;
    int r = cel_eval(x->program, &ce, ret, e);
    ev->env = had;
    *ret_cost = ce.ret_cost;
    if (r == CEL_COST_EXCEEDED)
        err_set(e, r, "operation cancelled: actual cost limit exceeded");
    return r;
}

/* Variables that use each other deeper than the stack holds do not evaluate. */
static struct cel_val composed(void *user, unsigned i, struct arena *a)
{
    enum { ROOM = 64 << 10 };
    struct admit_eval *ev = user;
    const struct admit_expr *x = &ev->cel->variables[i];
    struct str name = ev->cel->variables_type->fields[i].name;
    struct err e = {0};
    struct cel_val v;
    uint64_t cost = 0;
    if (!x->program)
        return fail(a, arena_printf(a, "composited variable \"" STR_FMT "\" fails to compile: " STR_FMT, STR_ARG(name), STR_ARG(x->fault)));
    if (fiber_stack_left() < ROOM)
        return fail(a, arena_printf(a, "composited variable \"" STR_FMT "\" fails to evaluate: nested too deeply", STR_ARG(name)));
    int r = run(ev, x, &v, &cost, &e);
    ev->spent += cost;
    return r ? fail(a, arena_printf(a, "composited variable \"" STR_FMT "\" fails to evaluate: %s", STR_ARG(name), e.text)) : v;
}

static struct cel_val variable(void *user, unsigned number, struct arena *a)
{
    struct admit_eval *ev = user;
    const struct face *f = ev->face;
    switch (variable_of(ev->cel, ev->env, number)) {
    case V_OBJECT:
        return cel_view_table(a, f->now, f->type);
    case V_OLD:
        return cel_view_table(a, f->old, f->type);
    case V_NAMESPACE:
        return cel_view(a, ev->ns, ev->cel->types->ns);
    case V_REQUEST:
        if (!ev->request)
            ev->request = subject_request(ev->s, f, false);
        return cel_view(a, ev->request, ev->cel->types->request);
    case V_VARIABLES:
        if (ev->variables.kind != CEL_OBJECT)
            ev->variables = cel_new_lazy_object(a, ev->cel->variables_type, composed, ev);
        return ev->variables;
    case V_PARAMS:
        return cel_view_table(a, ev->params, ev->params_type);
    case V_AUTHORIZER:
        return cel_of_authorizer(a, &ev->authorizer);
    case V_CHECK:
        return resource_check(ev, a);
    }
    return fail(a, STR("no such variable"));
}

int admit_evaluate(struct admit_eval *ev, const struct admit_expr *x, struct cel_val *ret, struct str *ret_fault)
{
    struct arena *a = ev->arena;
    struct err e = {0};
    uint64_t cost = 0;
    if (!x->program) {
        *ret_fault = arena_printf(a, "compilation error: " STR_FMT, STR_ARG(x->fault));
        return ADMIT_EXPR_FAILED;
    }
    int r = run(ev, x, ret, &cost, &e);
    cost += ev->spent;
    ev->spent = 0;
    if (cost > ev->budget) {
        *ret_fault = STR("validation failed due to running out of cost budget, no further validation rules will be run");
        return ADMIT_BUDGET;
    }
    ev->budget -= cost;
    if (!r)
        return 0;
    *ret_fault = arena_printf(a, "expression '" STR_FMT "' resulted in error: %s", STR_ARG(x->source), e.text);
    return ADMIT_EXPR_FAILED;
}

/* ---- match conditions ----------------------------------------------------------------------------------- */

void admit_conditions_compile(struct admit_cel *c, const struct val *list, struct admit_conditions *ret)
{
    *ret = (struct admit_conditions){.list = list, .items = ARENA_ARRAY(c->arena, struct admit_expr, val_len(list))};
    VAL_EACH (list, v)
        admit_compile(c, str_trim(val_getstr(v, N_expression)), ADMIT_AUTHORIZER, WANT_BOOL, &ret->items[ret->n++]);
}

static struct str all_faults(struct arena *a, const struct str *faults, size_t n)
{
    if (n == 1)
        return faults[0];
    return arena_printf(a, "[" STR_FMT "]", STR_ARG(arena_join(a, faults, n, STR(", "))));
}

enum admit_match admit_conditions_match(struct admit_eval *ev, const struct admit_conditions *c, bool fails, struct str *ret_fault)
{
    struct str *faults = ARENA_ARRAY(ev->arena, struct str, c->n + 1);
    size_t n = 0;
    bool no = false;
    for (size_t i = 0; i < c->n; i++) {
        struct cel_val v = {.kind = CEL_NULL};
        int r = admit_evaluate(ev, &c->items[i], &v, &faults[n]);
        if (r == ADMIT_BUDGET) { /* nothing that came before counts */
            *ret_fault = faults[n];
            return fails ? ADMIT_MATCH_FAILED : ADMIT_NO_MATCH;
        }
        n += r != 0;
        no = no || (r == 0 && v.kind == CEL_BOOL && !v.b);
    }
    if (no)
        return ADMIT_NO_MATCH;
    if (!n)
        return ADMIT_MATCH;
    *ret_fault = all_faults(ev->arena, faults, n);
    return fails ? ADMIT_MATCH_FAILED : ADMIT_NO_MATCH;
}
