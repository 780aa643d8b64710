/* SPDX-License-Identifier: Apache-2.0 */
/* ValidatingAdmissionPolicy (KEP-3488). */
#include "apiserver/policy.h"

#include "apiserver/audit.h"
#include "apiserver/state.h"
#include "names.h"
#include "type/meta.h"
#include "wire/json.h"

/* ---- compiling ------------------------------------------------------------------------------------------ */

void admit_policy_make(struct apiserver *s, struct admit_config *c)
{
    struct policy *p = policy_make(s, c);
    const struct val *list = val_get(p->spec, N_validations), *notes = val_get(p->spec, N_auditAnnotations);
    p->checks = ARENA_ARRAY(&c->arena, struct admit_expr, val_len(list));
    p->messages = ARENA_ARRAY(&c->arena, struct admit_expr, val_len(list));
    p->notes = ARENA_ARRAY(&c->arena, struct admit_expr, val_len(notes));
    VAL_EACH (list, v) {
        struct str message = val_getstr(v, N_messageExpression);
        admit_compile(&c->cel, val_getstr(v, N_expression), ADMIT_AUTHORIZER, WANT_BOOL, &p->checks[p->n_checks]);
        if (message.n)
            admit_compile(&c->cel, message, 0, WANT_STRING, &p->messages[p->n_checks]);
        p->n_checks++;
    }
    VAL_EACH (notes, v)
        admit_compile(&c->cel, val_getstr(v, N_valueExpression), ADMIT_AUTHORIZER, WANT_STRING_OR_NULL, &p->notes[p->n_notes++]);
}

/* ---- a denial ------------------------------------------------------------------------------------------- */

/* What all policies together have come to. */
struct verdict {
    struct subject *s;
    bool denied;
    struct str message, reason; /* of the first denial */
    struct val *failures;       /* LIST for the audit log */
    struct val *notes;          /* MAP: key to LIST of texts, of the policy at hand */
};

static void deny(struct verdict *x, const struct invocation *i, struct str message, struct str reason)
{
    struct arena *a = x->s->a->r->arena;
    if (x->denied)
        return;
    x->denied = true;
    x->reason = reason.n ? reason : STR("Invalid");
    if (i->binding)
        x->message = arena_printf(a, "ValidatingAdmissionPolicy '" STR_FMT "' with binding '" STR_FMT "' denied request: " STR_FMT,
                                  STR_ARG(i->policy->name), STR_ARG(i->binding->name), STR_ARG(message));
    else
        x->message = arena_printf(a, "ValidatingAdmissionPolicy '" STR_FMT "' denied request: " STR_FMT, STR_ARG(i->policy->name), STR_ARG(message));
}

static void note_failure(struct verdict *x, const struct invocation *i, size_t index, struct str message)
{
    enum { FAILURES_MAX = 50 };
    struct arena *a = x->s->a->r->arena;
    if (!x->failures)
        x->failures = val_new(a, VAL_LIST);
    if (val_len(x->failures) == FAILURES_MAX)
        return;
    struct val *v = val_add(a, x->failures, *val_new(a, VAL_MAP));
    val_put_str(a, v, STR("message"), message);
    val_put_str(a, v, STR("policy"), i->policy->name);
    val_put_str(a, v, STR("binding"), i->binding->name);
    val_put(a, v, STR("expressionIndex"), val_of_int((int64_t)index));
    val_put(a, v, STR("validationActions"), *val_get(i->binding->spec, N_validationActions));
}

/* The binding says what follows. */
static void act(struct verdict *x, const struct invocation *i, size_t index, struct str message, struct str reason)
{
    struct request *r = x->s->a->r;
    VAL_EACH (val_get(i->binding->spec, N_validationActions), v) {
        if (str_is(val_str(v), "Deny"))
            deny(x, i, message, reason);
        else if (str_is(val_str(v), "Audit"))
            note_failure(x, i, index, message);
        else if (str_is(val_str(v), "Warn"))
            request_warn(r, arena_printf(r->arena, "Validation failed for ValidatingAdmissionPolicy '" STR_FMT "' with binding '" STR_FMT "': " STR_FMT,
                                         STR_ARG(i->policy->name), STR_ARG(i->binding->name), STR_ARG(message)));
    }
}

/* ---- evaluating ----------------------------------------------------------------------------------------- */

/* What the policy has to say of a check that failed. fault: its expression for that is too dear. */
static struct str message_of(struct admit_eval *ev, const struct policy *p, size_t i, struct str *fault)
{
    enum { MESSAGE_MAX = 5 << 10 };
    const struct val *v = val_item(val_get(p->spec, N_validations), i);
    struct str own = str_trim(val_getstr(v, N_message)), said = STR(""), text;
    struct cel_val x;
    if (p->messages[i].source.n) {
        int r = admit_evaluate(ev, &p->messages[i], &x, &text);
        if (r == ADMIT_BUDGET)
            *fault = arena_printf(ev->arena, "failed messageExpression: " STR_FMT, STR_ARG(text));
        if (r == 0 && x.kind == CEL_STRING)
            said = str_trim(cel_str(x));
    }
    if (said.n && said.n <= MESSAGE_MAX && str_find(said, '\n') < 0)
        return said;
    return own.n ? own : arena_printf(ev->arena, "failed expression: " STR_FMT, STR_ARG(str_trim(val_getstr(v, N_expression))));
}

struct finding {
    bool failed, error; /* error: it could not be evaluated */
    struct str text;
};

/* False: everything is over, and f[0] says why. */
static bool check_all(struct admit_eval *ev, const struct policy *p, struct finding *f)
{
    for (size_t i = 0; i < p->n_checks; i++) {
        struct cel_val v = {.kind = CEL_NULL};
        int r = admit_evaluate(ev, &p->checks[i], &v, &f[i].text);
        f[i].error = r != 0;
        f[i].failed = r == 0 && !(v.kind == CEL_BOOL && v.b);
        if (r == ADMIT_BUDGET) {
            f[0] = f[i];
            return false;
        }
    }
    return true;
}

static void put_note(struct verdict *x, struct str key, struct str value)
{
    struct arena *a = x->s->a->r->arena;
    if (!x->notes)
        x->notes = val_new(a, VAL_MAP);
    struct val *list = (struct val *)(uintptr_t)val_key(x->notes, key);
    if (!list)
        list = val_put(a, x->notes, key, *val_new(a, VAL_LIST));
    VAL_EACH (list, v)
        if (str_eq(val_str(v), value))
            return;
    val_add_str(a, list, value);
}

static void take_note(struct verdict *x, struct admit_eval *ev, const struct invocation *i, size_t n)
{
    enum { VALUE_MAX = 10 << 10 };
    const struct val *v = val_item(val_get(i->policy->spec, N_auditAnnotations), n);
    struct cel_val value;
    struct str text;
    if (admit_evaluate(ev, &i->policy->notes[n], &value, &text)) {
        if (!i->policy->ignore)
            deny(x, i, text, STR(""));
        return;
    }
    text = value.kind == CEL_STRING ? str_trim(cel_str(value)) : STR("");
    if (text.n)
        put_note(x, val_getstr(v, N_key), str_slice(text, 0, VALUE_MAX));
}

static void validate(struct verdict *x, const struct invocation *i)
{
    const struct policy *p = i->policy;
    struct arena *a = x->s->a->r->arena;
    struct admit_eval ev;
    struct str fault = STR("");
    admit_eval_init(&ev, &i->config->cel, x->s, i->face, CEL_COST_BUDGET_MATCH_CONDITIONS);
    ev.params = i->param.v;
    ev.params_type = i->param.type;
    ev.ns = subject_namespace(x->s);
    enum admit_match m = p->conditions.n ? admit_conditions_match(&ev, &p->conditions, !p->ignore, &fault) : ADMIT_MATCH;
    if (m == ADMIT_MATCH_FAILED)
        act(x, i, 0, fault, STR(""));
    if (m != ADMIT_MATCH)
        return;
    struct finding *f = ARENA_ARRAY(a, struct finding, p->n_checks + 1);
    admit_eval_reset(&ev, CEL_COST_BUDGET);
    if (!check_all(&ev, p, f)) {
        if (!p->ignore)
            act(x, i, 0, f[0].text, STR(""));
        return;
    }
    admit_eval_reset(&ev, ev.budget);
    for (size_t n = 0; n < p->n_checks; n++) {
        struct str said = f[n].failed ? message_of(&ev, p, n, &fault) : f[n].text;
        struct str reason = val_getstr(val_item(val_get(p->spec, N_validations), n), N_reason);
        if (f[n].failed && !fault.n)
            act(x, i, n, said, reason);
        else if ((f[n].failed || f[n].error) && !p->ignore)
            act(x, i, n, fault.n && f[n].failed ? fault : said, STR(""));
    }
    admit_eval_reset(&ev, CEL_COST_BUDGET);
    for (size_t n = 0; n < p->n_notes; n++)
        take_note(x, &ev, i, n);
}

/* ---- the plugin ----------------------------------------------------------------------------------------- */

static void publish_notes(struct verdict *x, const struct policy *p)
{
    struct arena *a = x->s->a->r->arena;
    VAL_EACH_ENTRY (x->notes, k, list) {
        struct str *parts = ARENA_ARRAY(a, struct str, val_len(list));
        size_t n = 0;
        VAL_EACH (list, v)
            parts[n++] = val_str(v);
        audit_note(x->s->a->r, arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(p->name), STR_ARG(val_str(k))), arena_join(a, parts, n, STR(", ")));
    }
    x->notes = NULL;
}

static void publish_failures(struct verdict *x)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!x->failures)
        return;
    json_encode(&b, NULL, x->failures, 0);
    audit_note(x->s->a->r, STR("validation.policy.admission.k8s.io/validation_failure"), buf_str(&b));
}

static int code_of(struct str reason)
{
    return str_is(reason, "Forbidden") ? 403 : str_is(reason, "Unauthorized") ? 401 : str_is(reason, "RequestEntityTooLarge") ? 413 : 422;
}

static int refuse(struct verdict *x)
{
    struct request *r = x->s->a->r;
    policy_forbid(x->s, x->message);
    r->status.code = code_of(x->reason);
    r->status.reason = arena_cstr(r->arena, x->reason);
    cause_add(&r->status, "", STR(""), STR_FMT, STR_ARG(x->message));
    return r->status.code;
}

int admit_validating_policies(struct admission *ad)
{
    struct admit_list *l = admit_exempt(ad, false) ? NULL : admit_list_get(ad->r->server, VALIDATING_POLICIES);
    struct subject s;
    struct verdict x = {.s = &s};
    struct invocation *items = NULL;
    size_t n = 0;
    if (!l)
        return 0;
    subject_init(&s, ad);
    policy_invocations(&s, l, &items, &n);
    for (size_t i = 0; i < n; i++) {
        if (!items[i].fault.n)
            validate(&x, &items[i]);
        else if (!items[i].policy->ignore)
            deny(&x, &items[i], items[i].fault, STR(""));
        if (i + 1 == n || items[i + 1].policy != items[i].policy)
            publish_notes(&x, items[i].policy);
    }
    publish_failures(&x);
    int e = x.denied ? refuse(&x) : 0;
    admit_list_unref(l);
    return e;
}
