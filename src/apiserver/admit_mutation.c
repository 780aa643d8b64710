/* SPDX-License-Identifier: Apache-2.0 */
/* MutatingAdmissionPolicy (KEP-3962). */
#include "apiserver/policy.h"

#include "apiserver/state.h"
#include "names.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/patch.h"
#include "type/structural.h"
#include "type/typed.h"
#include "wire/json.h"

void admit_mutation_make(struct apiserver *s, struct admit_config *c)
{
    struct policy *p = policy_make(s, c);
    const struct val *list = val_get(p->spec, N_mutations);
    p->checks = ARENA_ARRAY(&c->arena, struct admit_expr, val_len(list));
    VAL_EACH (list, v) {
        bool json = str_is(val_getstr(v, N_patchType), "JSONPatch");
        struct str source = val_str(val_at(v, json ? N_jsonPatch : N_applyConfiguration, N_expression));
        admit_compile(&c->cel, source, ADMIT_AUTHORIZER | ADMIT_PATCH, json ? WANT_JSON_PATCH : WANT_OBJECT, &p->checks[p->n_checks++]);
    }
}

/* ---- one mutation --------------------------------------------------------------------------------------- */

enum outcome { DONE, FAULT, REFUSED }; /* FAULT: the policy's, with a sentence; REFUSED: the request ends with r->status */

struct mutation {
    struct subject *s;
    const struct invocation *i;
    struct admit_eval ev;
    struct arena *a;
    struct str fault;
    bool changed;
};

static enum outcome fault(struct mutation *m, const char *what, struct str text)
{
    m->fault = arena_printf(m->a, "%s" STR_FMT, what, STR_ARG(text));
    return FAULT;
}

static enum outcome internal(struct mutation *m, const char *text)
{
    status_internal(&m->s->a->r->status, "%s", text);
    return REFUSED;
}

/* A plain or patched object takes the place of the one that stands. */
static enum outcome take(struct mutation *m, const struct val *v, bool strict)
{
    struct face *f = m->i->face;
    struct buf text CLEANUP_BUF = BUF_INIT;
    struct json_report rep = {0};
    struct err e = {0};
    struct val *now = NULL;
    json_encode(&text, f->type->flags & TYPE_OPEN ? f->type : NULL, v, 0);
    if (json_decode(m->a, f->type, arena_str(m->a, buf_str(&text)), 0, &rep, &now, &e) < 0)
        return internal(m, e.text);
    if (strict && rep.n)
        return internal(m, arena_printf(m->a, "strict decoding error: " STR_FMT, STR_ARG(arena_join(m->a, rep.problems, rep.n, STR(", ")))).p);
    if (type_schema(f->type) && val_is(now, VAL_MAP))
        structural_prune(m->a, type_schema(f->type), now, true, NULL);
    defaults_apply(m->a, f->type, now);
    if (val_same(now, f->now))
        return DONE;
    m->changed = true;
    f->now = now;
    return subject_changed(m->s, f) ? REFUSED : DONE;
}

/* ---- JSON patches --------------------------------------------------------------------------------------- */

/* Is it a test that keeps the patch from being applied? Then it was not meant for this object. */
static bool fails_by_test(struct mutation *m, const struct val *ops)
{
    for (uint32_t n = 1; n <= ops->n; n++) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        struct val head = *ops, *v = NULL;
        struct status st;
        head.n = n;
        json_encode(&b, NULL, &head, 0);
        status_init(&st, m->a);
        if (patch_json(m->a, m->i->face->type, m->i->face->now, arena_str(m->a, buf_str(&b)), &v, &st))
            return str_is(val_str(val_key(&ops->items[n - 1], STR("op"))), "test");
    }
    return false;
}

static enum outcome json_patch(struct mutation *m, struct cel_val list)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    struct val ops, *v = NULL;
    struct status st;
    if (cel_check_type_names(m->a, list, &e) < 0)
        return fault(m, "type mismatch: ", str_of(e.text));
    if (cel_to_val(m->a, list, &ops, &e) < 0)
        return fault(m, "JSONPath valueExpression evaluated to a type that could not marshal to JSON: ", str_of(e.text));
    json_encode(&b, NULL, &ops, 0);
    status_init(&st, m->a);
    if (patch_json(m->a, m->i->face->type, m->i->face->now, arena_str(m->a, buf_str(&b)), &v, &st))
        return fails_by_test(m, &ops) ? DONE : fault(m, "JSON Patch: ", st.message);
    return take(m, v, true);
}

/* ---- configurations to apply ---------------------------------------------------------------------------- */

static const struct val *plain(struct mutation *m, const struct face *f)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v = NULL;
    json_encode(&b, f->type, f->now, 0);
    return json_decode(m->a, NULL, arena_str(m->a, buf_str(&b)), 0, NULL, &v, NULL) == 0 ? v : NULL;
}

static enum outcome apply_configuration(struct mutation *m, struct cel_val object)
{
    const struct face *f = m->i->face;
    struct err e = {0};
    struct val v;
    if (cel_check_type_names(m->a, object, &e) < 0 || cel_to_val(m->a, object, &v, &e) < 0)
        return fault(m, "type mismatch: ", str_of(e.text));
    val_put_str(m->a, &v, STR("apiVersion"), arena_printf(m->a, "%s%s%s", f->group, *f->group ? "/" : "", f->version));
    val_put_str(m->a, &v, STR("kind"), str_of(f->kind));
    if (typed_check(m->a, f->type, &v, &e) < 0)
        return fault(m, "error applying patch: failed to convert patch object to typed object: ", str_of(e.text));
    struct str atomics = typed_atomics(m->a, f->type, &v);
    if (atomics.n)
        return fault(m, "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: ", atomics);
    return take(m, typed_merge(m->a, f->type, plain(m, f), &v), false);
}

/* ---- a policy ------------------------------------------------------------------------------------------- */

static enum outcome mutate(struct mutation *m, size_t n)
{
    const struct policy *p = m->i->policy;
    const struct admit_expr *x = &p->checks[n];
    struct cel_val v;
    if (!x->program)
        return fault(m, "", x->fault);
    m->ev.request = NULL;
    admit_eval_reset(&m->ev, CEL_COST_BUDGET);
    struct str text;
    if (admit_evaluate(&m->ev, x, &v, &text))
        return fault(m, "", text);
    bool json = str_is(val_getstr(val_item(val_get(p->spec, N_mutations), n), N_patchType), "JSONPatch");
    return json ? json_patch(m, v) : apply_configuration(m, v);
}

/* What all policies together have found wrong. */
struct verdict {
    struct val *faults; /* LIST of sentences */
    bool invalid;       /* the first is the request's own fault */
};

static void blame(struct subject *s, struct verdict *x, const struct invocation *i, struct str text, bool invalid)
{
    struct arena *a = s->a->r->arena;
    if (i->policy->ignore)
        return;
    if (!x->faults) {
        x->faults = val_new(a, VAL_LIST);
        x->invalid = invalid;
    }
    if (i->binding)
        val_add_str(a, x->faults, arena_printf(a, "policy '" STR_FMT "' with binding '" STR_FMT "' denied request: " STR_FMT,
                                               STR_ARG(i->policy->name), STR_ARG(i->binding->name), STR_ARG(text)));
    else
        val_add_str(a, x->faults, arena_printf(a, "policy \"" STR_FMT "\" denied request: " STR_FMT, STR_ARG(i->policy->name), STR_ARG(text)));
}

static struct str key_of(struct arena *a, const struct invocation *i)
{
    return arena_printf(a, STR_FMT "/" STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(i->policy->name), STR_ARG(i->binding->name),
                        STR_ARG(obj_namespace(i->param.v)), STR_ARG(obj_name(i->param.v)));
}

static int run(struct subject *s, struct admit_rerun_source *x, const struct invocation *i, struct verdict *verdict)
{
    struct admission *ad = s->a;
    const struct policy *p = i->policy;
    struct mutation m = {.s = s, .i = i, .a = ad->r->arena};
    admit_eval_init(&m.ev, &i->config->cel, s, i->face, CEL_COST_BUDGET_MATCH_CONDITIONS);
    m.ev.params = i->param.v;
    m.ev.params_type = i->param.type;
    m.ev.ns = subject_namespace(s);
    enum admit_match match = p->conditions.n ? admit_conditions_match(&m.ev, &p->conditions, !p->ignore, &m.fault) : ADMIT_MATCH;
    if (match == ADMIT_MATCH_FAILED)
        blame(s, verdict, i, m.fault, true);
    struct str key = key_of(ad->r->arena, i);
    if (match != ADMIT_MATCH || (ad->rerun->second && !map_has(&x->shall, key)))
        return 0;
    for (size_t n = 0; n < p->n_checks && i->face->now; n++) {
        enum outcome o = mutate(&m, n);
        if (o == REFUSED)
            return ad->r->status.code;
        if (o == FAULT)
            blame(s, verdict, i, m.fault, true);
    }
    if (m.changed) {
        admit_rerun_all(ad, x);
        ad->rerun->wanted = true;
    }
    if (p->reinvoke)
        map_put(&x->may, key, ad);
    return 0;
}

static int refuse(struct subject *s, const struct verdict *x)
{
    struct status *st = &s->a->r->status;
    policy_forbid(s, STR("admission request denied by policy"));
    st->message = val_str(val_item(x->faults, 0));
    if (x->invalid)
        st->reason = "Invalid";
    VAL_EACH (x->faults, v)
        cause_add(st, "", STR(""), STR_FMT, STR_ARG(val_str(v)));
    return st->code;
}

int admit_mutating_policies(struct admission *ad)
{
    struct admit_rerun_source *x = admit_exempt(ad, false) ? NULL : admit_rerun_begin(ad, &ad->rerun->policies, MUTATING_POLICIES);
    struct verdict verdict = {.faults = NULL};
    struct invocation *items = NULL;
    struct subject s;
    size_t n = 0;
    int e = 0;
    if (!x)
        return 0;
    subject_init(&s, ad);
    policy_invocations(&s, x->list, &items, &n);
    for (size_t i = 0; i < n && !e; i++) {
        if (items[i].fault.n)
            blame(&s, &verdict, &items[i], items[i].fault, false);
        else
            e = run(&s, x, &items[i], &verdict);
    }
    x->last = ad->v ? val_copy(ad->r->arena, ad->v) : NULL;
    return e ? e : verdict.faults ? refuse(&s, &verdict) : 0;
}
