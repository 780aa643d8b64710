/* SPDX-License-Identifier: Apache-2.0 */
/* The expressions of configurations of admission as they are written: do they compile, and to what they have to? What stood
 * there before may use what every server of the cluster knows by now; what is new, only what the oldest one could. */
#include "apiserver/dynamic.h"

#include <limits.h>

#include "apiserver/custom.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

enum { NEW_MINOR = 36 };

struct checking {
    struct request *r;
    struct admit_cel fresh, stored; /* expressions that are new; those that stood there */
    const struct val *old;          /* the object before; NULL: it is new */
};

/* Does the text stand anywhere in the value? */
static bool stands(const struct val *v, struct str text)
{
    if (val_is(v, VAL_STR))
        return str_eq(val_str(v), text);
    VAL_EACH (v, item)
        if (stands(item, text))
            return true;
    VAL_EACH_MEMBER (v, m)
        if (stands(m, text))
            return true;
    return false;
}

static void begin(struct checking *k, struct request *r, const struct val *old, bool params, size_t variables)
{
    const struct admit_types *t = dynamic_types(r->server);
    *k = (struct checking){.r = r, .old = old};
    admit_cel_init(&k->fresh, r->arena, t, params, variables, NEW_MINOR);
    admit_cel_init(&k->stored, r->arena, t, params, variables, UINT_MAX);
}

static void end(struct checking *k)
{
    admit_cel_done(&k->fresh);
    admit_cel_done(&k->stored);
}

static void say(struct checking *k, struct str at, const struct val *v, const struct admit_expr *x)
{
    if (x->fault.n)
        cause_invalid(&k->r->status, at, v, arena_cstr(k->r->arena, x->fault));
}

static void check(struct checking *k, struct str at, const struct val *v, unsigned env, enum admit_want want)
{
    struct admit_expr x;
    struct str text = val_str(v);
    if (!str_trim(text).n)
        return;
    admit_compile(stands(k->old, text) ? &k->stored : &k->fresh, text, env, want, &x);
    say(k, at, v, &x);
}

static struct str path(struct checking *k, const char *fmt, size_t i, const char *rest)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, fmt);
    buf_printf(&b, "[%zu].%s", i, rest);
    return arena_str(k->r->arena, buf_str(&b));
}

/* They know no variables. */
static void check_conditions(struct request *r, const char *at, const struct val *list, const struct val *old, bool params)
{
    struct checking k;
    size_t i = 0;
    begin(&k, r, old, params, 0);
    VAL_EACH (list, v)
        check(&k, path(&k, at, i++, "expression"), val_get(v, N_expression), ADMIT_AUTHORIZER, WANT_BOOL);
    end(&k);
}

static bool same_conditions(const struct val *v, const struct val *old)
{
    if (!old || val_len(v) != val_len(old))
        return false;
    for (size_t i = 0; i < val_len(v); i++)
        if (!val_equal(val_get(val_item(v, i), N_matchConditions), val_get(val_item(old, i), N_matchConditions)))
            return false;
    return true;
}

static void check_hooks(struct request *r, const struct val *v, const struct val *old)
{
    const struct val *hooks = val_get(v, N_webhooks);
    size_t i = 0;
    if (same_conditions(hooks, val_get(old, N_webhooks)))
        return;
    VAL_EACH (hooks, h) {
        const char *at = arena_printf(r->arena, "webhooks[%zu].matchConditions", i++).p;
        check_conditions(r, at, val_get(h, N_matchConditions), val_get(old, N_webhooks), false);
    }
}

static void check_variables(struct checking *k, const struct val *list)
{
    size_t i = 0;
    VAL_EACH (list, v) {
        struct str text = val_getstr(v, N_expression);
        bool stood = stands(k->old, text);
        const struct admit_expr *fresh = admit_compile_variable(&k->fresh, val_getstr(v, N_name), text);
        const struct admit_expr *stored = admit_compile_variable(&k->stored, val_getstr(v, N_name), text);
        if (str_trim(text).n)
            say(k, path(k, "spec.variables", i, "expression"), val_get(v, N_expression), stood ? stored : fresh);
        i++;
    }
}

static void check_validations(struct checking *k, const struct val *spec)
{
    size_t i = 0;
    VAL_EACH (val_get(spec, N_validations), v) {
        check(k, path(k, "spec.validations", i, "expression"), val_get(v, N_expression), ADMIT_AUTHORIZER, WANT_BOOL);
        check(k, path(k, "spec.validations", i, "messageExpression"), val_get(v, N_messageExpression), 0, WANT_STRING);
        i++;
    }
    i = 0;
    VAL_EACH (val_get(spec, N_auditAnnotations), v)
        check(k, path(k, "spec.auditAnnotations", i++, "valueExpression"), val_get(v, N_valueExpression), ADMIT_AUTHORIZER, WANT_STRING_OR_NULL);
}

static void check_mutations(struct checking *k, const struct val *spec)
{
    size_t i = 0;
    VAL_EACH (val_get(spec, N_mutations), v) {
        bool json = str_is(val_getstr(v, N_patchType), "JSONPatch");
        check(k, path(k, "spec.mutations", i++, json ? "jsonPatch.expression" : "applyConfiguration.expression"),
              val_at(v, json ? N_jsonPatch : N_applyConfiguration, N_expression), ADMIT_AUTHORIZER | ADMIT_PATCH,
              json ? WANT_JSON_PATCH : WANT_OBJECT);
    }
}

static void check_policy(struct request *r, const struct val *v, const struct val *old)
{
    const struct val *spec = val_get(v, N_spec), *was = val_get(old, N_spec), *variables = val_get(spec, N_variables);
    const struct val *conditions = val_get(spec, N_matchConditions);
    bool params = val_get(spec, N_paramKind) != NULL;
    struct checking k;
    if (!old || !val_equal(conditions, val_get(was, N_matchConditions)) || !val_equal(val_get(spec, N_paramKind), val_get(was, N_paramKind)))
        check_conditions(r, "spec.matchConditions", conditions, was, params);
    begin(&k, r, was, params, val_len(variables));
    check_variables(&k, variables);
    check_validations(&k, spec);
    check_mutations(&k, spec);
    end(&k);
}

void dynamic_check(struct request *r, const struct resource *res, const struct val *v, const struct val *old)
{
    switch (res->index) {
    case RES_VALIDATINGWEBHOOKCONFIGURATIONS:
    case RES_MUTATINGWEBHOOKCONFIGURATIONS:
        check_hooks(r, v, old);
        break;
    case RES_VALIDATINGADMISSIONPOLICIES:
    case RES_MUTATINGADMISSIONPOLICIES:
        check_policy(r, v, old);
        break;
    }
}
