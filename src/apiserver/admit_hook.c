/* SPDX-License-Identifier: Apache-2.0 */
/* MutatingAdmissionWebhook and ValidatingAdmissionWebhook (admissionregistration.k8s.io/v1). */
#include "apiserver/dynamic.h"

#include <limits.h>

#include "apiserver/admit_review.h"
#include "apiserver/audit.h"
#include "apiserver/state.h"
#include "apiserver/uuid.h"
#include "apiserver/webhook.h"
#include "base/log.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/patch.h"
#include "type/structural.h"

struct hook {
    const struct val *v; /* of the configuration */
    struct str name, version;
    bool equivalent, ignore, reinvoke, quiet; /* quiet: without side effects when nothing is to be stored */
    int64_t timeout;                          /* seconds */
    struct admit_selectors selectors;
    struct admit_conditions conditions;
};

struct hooks {
    struct hook *items;
    size_t n;
};

/* ---- compiling ------------------------------------------------------------------------------------------ */

static struct hook hook_of(struct admit_config *c, const struct val *v)
{
    struct str effects = val_getstr(v, N_sideEffects);
    struct hook h = {.v = v,
                     .name = val_getstr(v, N_name),
                     .version = review_version(val_get(v, N_admissionReviewVersions)),
                     .equivalent = str_is(val_getstr(v, N_matchPolicy), "Equivalent"),
                     .ignore = str_is(val_getstr(v, N_failurePolicy), "Ignore"),
                     .reinvoke = str_is(val_getstr(v, N_reinvocationPolicy), "IfNeeded"),
                     .quiet = str_is(effects, "None") || str_is(effects, "NoneOnDryRun"),
                     .timeout = val_int(val_get(v, N_timeoutSeconds), 10)};
    admit_selectors_parse(&c->arena, v, &h.selectors);
    admit_conditions_compile(&c->cel, val_get(v, N_matchConditions), &h.conditions);
    return h;
}

void admit_hooks_make(struct apiserver *s, struct admit_config *c)
{
    const struct val *list = val_get(c->object->val, N_webhooks);
    struct hooks *made = ARENA_NEW(&c->arena, struct hooks);
    admit_cel_init(&c->cel, &c->arena, dynamic_types(s), false, 0, UINT_MAX);
    made->items = ARENA_ARRAY(&c->arena, struct hook, val_len(list));
    VAL_EACH (list, v)
        made->items[made->n++] = hook_of(c, v);
    c->made = made;
}

/* ---- is it to be called --------------------------------------------------------------------------------- */

/* *ret: the objects it is to be asked about; NULL: it is not to be called. */
static int should_call(struct subject *s, const struct admit_config *c, const struct hook *h, struct face **ret)
{
    struct request *r = s->a->r;
    struct admit_eval ev;
    struct str fault;
    bool matches;
    *ret = NULL;
    int unknown = subject_match_selectors(s, &h->selectors, &matches);
    const struct resource *res = matches || unknown ? subject_match_rules(s, val_get(h->v, N_rules), h->equivalent) : NULL;
    if (!res) {
        if (unknown)
            status_init(&r->status, r->arena);
        return 0;
    }
    int e = unknown ? unknown : subject_face(s, res, ret);
    if (e || !h->conditions.n)
        return e;
    admit_eval_init(&ev, &c->cel, s, *ret, CEL_COST_BUDGET_MATCH_CONDITIONS);
    enum admit_match m = admit_conditions_match(&ev, &h->conditions, !h->ignore, &fault);
    if (m == ADMIT_MATCH_FAILED)
        return admit_forbid(s->a, STR_FMT, STR_ARG(fault));
    if (m == ADMIT_NO_MATCH)
        *ret = NULL;
    return 0;
}

/* ---- a call --------------------------------------------------------------------------------------------- */

enum outcome { CALLED, NOT_CALLED, REFUSED };

/* What came of a call; several may be under way. */
struct call {
    struct subject *s;
    const struct admit_config *config;
    const struct hook *hook;
    struct face *face;
    bool mutating;
    unsigned index;
    struct str text; /* of the review, made before the first wait */
    struct str uid;
    enum outcome outcome;
    struct str why;  /* NOT_CALLED */
    int64_t took;    /* ns */
    bool unfit;      /* refused by us: it cannot be asked about dry runs */
    struct status refusal;
    struct review_answer answer;
};

static void not_called(struct call *c, struct arena *a, const char *what, const struct err *e, int r)
{
    c->outcome = NOT_CALLED;
    c->why = arena_printf(a, "failed calling webhook \"" STR_FMT "\": %s%s", STR_ARG(c->hook->name), what, e ? err_text(e, r) : "");
}

/* In the words of the webhook, as a refusal at any rate. */
static void denied(struct call *c, struct arena *a)
{
    const struct val *v = c->answer.status;
    struct status *st = &c->refusal;
    status_init(st, a);
    status_from_val(st, v);
    if (st->code < 400)
        st->code = 400;
    if (st->message.n || *st->reason)
        st->message = arena_printf(a, "admission webhook \"" STR_FMT "\" denied the request: " STR_FMT, STR_ARG(c->hook->name),
                                   STR_ARG(st->message.n ? st->message : str_of(st->reason)));
    else
        st->message = arena_printf(a, "admission webhook \"" STR_FMT "\" denied the request without explanation", STR_ARG(c->hook->name));
    c->outcome = REFUSED;
}

static bool dry_run_fits(struct call *c, struct arena *a)
{
    if (!c->s->a->dry_run || c->hook->quiet)
        return true;
    status_init(&c->refusal, a);
    status_bad_request(&c->refusal, "admission webhook \"" STR_FMT "\" does not support dry run", STR_ARG(c->hook->name));
    c->outcome = REFUSED;
    c->unfit = true;
    return false;
}

static void prepare(struct call *c)
{
    struct arena *a = c->s->a->r->arena;
    char uid[UUID_TEXT];
    c->uid = arena_str(a, str_of(uuid_new(uid)));
    c->text = review_text(a, c->hook->version, c->uid, subject_request(c->s, c->face, true));
}

static void take_notes(struct call *c)
{
    struct admission *ad = c->s->a;
    VAL_EACH_ENTRY (c->answer.notes, k, v)
        audit_note(ad->r, arena_printf(ad->r->arena, STR_FMT "/" STR_FMT, STR_ARG(c->hook->name), STR_ARG(val_str(k))), val_str(v));
    VAL_EACH (c->answer.warnings, w)
        request_warn(ad->r, val_str(w));
}

static void ask(struct call *c)
{
    enum { ANSWER_MAX = 16 << 20 };
    struct request *r = c->s->a->r;
    struct arena *a = r->arena;
    struct str text;
    struct err e = {0};
    if (!dry_run_fits(c, a))
        return;
    if (!c->hook->version.n) {
        not_called(c, a, "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)", NULL, 0);
        return;
    }
    struct webhook_call w = {.config = val_get(c->hook->v, N_clientConfig), .timeout_ns = SECONDS(c->hook->timeout),
                             .max_answer = ANSWER_MAX, .body = c->text};
    int x = webhook_post(r->server, &w, a, &text, &e);
    if (x < 0) {
        not_called(c, a, "failed to call webhook: ", &e, x);
        return;
    }
    if ((x = review_read(a, c->hook->version, c->uid, c->mutating, text, &c->answer, &e)) < 0) {
        not_called(c, a, "received invalid webhook response: ", &e, x);
        return;
    }
    take_notes(c);
    if (!c->answer.allowed)
        denied(c, a);
}

/* Asks the webhook. A fiber, too. Waits. */
static void call_run(void *arg)
{
    struct call *c = arg;
    struct mono begun = os_mono();
    ask(c);
    c->took = os_mono().ns - begun.ns;
}

/* For /metrics. failed: what it answered could not be made use of. */
static void count_call(const struct call *c, bool failed)
{
    struct admission *ad = c->s->a;
    struct hook_seen h = {.name = c->hook->name, .operation = c->s->op, .mutating = c->mutating, .code = 200,
                          .took = c->took};
    if (failed || c->unfit) {
        h.code = 0;
        h.error = "apiserver_internal_error";
    } else if (c->outcome == REFUSED) {
        h.code = c->refusal.code;
        h.error = "no_error";
    } else if (c->outcome == NOT_CALLED) {
        h.code = 503;
        h.error = c->hook->ignore ? NULL : "calling_webhook_error";
        h.failed_open = c->hook->ignore;
    }
    hook_metrics_see(&ad->r->server->metrics.hooks, &h);
}

/* 0: the request may go on. */
static int judge(struct call *c, const char *note_prefix, unsigned round)
{
    struct admission *ad = c->s->a;
    struct arena *a = ad->r->arena;
    struct status *st = &ad->r->status;
    if (c->outcome == CALLED)
        return 0;
    if (c->outcome == REFUSED) {
        *st = c->refusal;
        return st->code;
    }
    if (!c->hook->ignore) {
        log_warn("apiserver", "failing closed: " STR_FMT, STR_ARG(c->why));
        status_internal(st, STR_FMT, STR_ARG(c->why));
        cause_add(st, "", STR(""), STR_FMT, STR_ARG(c->why));
        return st->code;
    }
    log_warn("apiserver", "failing open: " STR_FMT, STR_ARG(c->why));
    audit_note(ad->r, arena_printf(a, "failed-open.%sround_%u_index_%u", note_prefix, round, c->index), c->hook->name);
    return 0;
}

/* ---- mutating ------------------------------------------------------------------------------------------- */

#define MUTATION_NOTE "mutation.webhook.admission.k8s.io/"
#define VALIDATION_NOTE "validating.webhook.admission.k8s.io/"

static int patched(struct subject *s, struct face *f, struct str patch, bool *ret_changed)
{
    struct request *r = s->a->r;
    struct arena *a = r->arena;
    struct buf text CLEANUP_BUF = BUF_INIT;
    struct val *v = NULL;
    struct err err = {0};
    struct status st;
    status_init(&st, a);
    if (patch_json(a, f->type, f->now, patch, &v, &st))
        return status_internal(&r->status, STR_FMT, STR_ARG(st.message));
    /* Through its text once more: forms become canonical, and what nobody knows goes. */
    json_encode(&text, f->type->flags & TYPE_OPEN ? f->type : NULL, v, 0);
    if (json_decode(a, f->type, arena_str(a, buf_str(&text)), 0, NULL, &v, &err) < 0 || !(val_is(v, VAL_OBJ) || val_is(v, VAL_MAP)))
        return status_internal(&r->status, "%s", *err.text ? err.text : "the patched text is no object");
    if (type_schema(f->type) && val_is(v, VAL_MAP))
        structural_prune(a, type_schema(f->type), v, true, NULL);
    *ret_changed = !val_same(v, f->now);
    if (!*ret_changed)
        return 0;
    defaults_apply(a, f->type, v);
    f->now = v;
    return subject_changed(s, f);
}

static int apply_answer(struct call *c, bool *ret_changed)
{
    struct request *r = c->s->a->r;
    *ret_changed = false;
    if (c->outcome != CALLED || !c->answer.patch.n || str_is(str_trim(c->answer.patch), "[]"))
        return 0;
    if (!c->face->now)
        return status_internal(&r->status, "admission webhook \"" STR_FMT "\" attempted to modify the object, which is not supported for this operation",
                               STR_ARG(c->hook->name));
    return patched(c->s, c->face, c->answer.patch, ret_changed);
}

static void note_mutation(struct call *c, unsigned round, bool changed)
{
    struct admission *ad = c->s->a;
    struct arena *a = ad->r->arena;
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_puts(&b, "{\"configuration\":");
    json_encode_str(&b, c->config->object->name, 0);
    buf_puts(&b, ",\"webhook\":");
    json_encode_str(&b, c->hook->name, 0);
    buf_printf(&b, ",\"mutated\":%s}", changed ? "true" : "false");
    audit_note(ad->r, arena_printf(a, MUTATION_NOTE "round_%u_index_%u", round, c->index), buf_str(&b));
}

static int mutate_by(struct subject *s, struct admit_rerun_source *x, const struct admit_config *config, const struct hook *h,
                     unsigned index)
{
    struct admission *ad = s->a;
    struct arena *a = ad->r->arena;
    unsigned round = ad->rerun->second;
    struct call c = {.s = s, .config = config, .hook = h, .mutating = true, .index = index};
    bool changed = false;
    int e = should_call(s, config, h, &c.face);
    if (e || !c.face)
        return e;
    struct str key = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(config->object->name), STR_ARG(h->name));
    if (ad->rerun->second && !map_has(&x->shall, key))
        return 0;
    prepare(&c);
    call_run(&c);
    e = judge(&c, MUTATION_NOTE, round);
    int failed = e ? 0 : apply_answer(&c, &changed);
    count_call(&c, failed);
    if (e || failed)
        return e ? e : failed;
    note_mutation(&c, round, changed);
    if (changed) {
        admit_rerun_all(ad, x);
        ad->rerun->wanted = true;
    }
    if (h->reinvoke)
        map_put(&x->may, key, ad);
    return 0;
}

int admit_mutating_webhooks(struct admission *ad)
{
    struct admit_rerun_source *x = admit_exempt(ad, true) ? NULL : admit_rerun_begin(ad, &ad->rerun->hooks, MUTATING_HOOKS);
    struct subject s;
    unsigned index = 0;
    int e = 0;
    if (!x)
        return 0;
    subject_init(&s, ad);
    for (size_t i = 0; i < x->list->n && !e; i++) {
        const struct hooks *hooks = x->list->items[i].config->made;
        for (size_t j = 0; j < hooks->n && !e; j++)
            e = mutate_by(&s, x, x->list->items[i].config, &hooks->items[j], index++);
    }
    x->last = ad->v ? val_copy(ad->r->arena, ad->v) : NULL;
    return e;
}

/* ---- validating ----------------------------------------------------------------------------------------- */

static int collect(struct subject *s, const struct admit_list *l, struct call **ret, unsigned *ret_n)
{
    struct call *calls = NULL;
    size_t n = 0, most = 0;
    for (size_t i = 0; i < l->n; i++)
        most += ((const struct hooks *)l->items[i].config->made)->n;
    calls = ARENA_ARRAY(s->a->r->arena, struct call, most);
    for (size_t i = 0; i < l->n; i++) {
        const struct admit_config *config = l->items[i].config;
        const struct hooks *hooks = config->made;
        for (size_t j = 0; j < hooks->n; j++) {
            calls[n] = (struct call){.s = s, .config = config, .hook = &hooks->items[j], .index = (unsigned)n};
            int e = should_call(s, config, &hooks->items[j], &calls[n].face);
            if (e)
                return e;
            n += calls[n].face != NULL;
        }
    }
    *ret = calls;
    *ret_n = (unsigned)n;
    return 0;
}

/* All at once; the first refusal in their order is the answer. */
static int ask_all(struct call *calls, unsigned n)
{
    struct group g = {0};
    int e = 0;
    for (unsigned i = 0; i < n; i++)
        prepare(&calls[i]);
    for (unsigned i = 1; i < n; i++)
        group_spawn(&g, "webhook", call_run, &calls[i]);
    if (n)
        call_run(&calls[0]);
    if (group_wait(&g, MONO_NEVER) < 0) {
        group_stop(&g);
        return -ECANCELED;
    }
    for (unsigned i = 0; i < n; i++)
        count_call(&calls[i], false);
    for (unsigned i = 0; i < n && !e; i++)
        e = judge(&calls[i], VALIDATION_NOTE, 0);
    return e;
}

int admit_validating_webhooks(struct admission *ad)
{
    struct admit_list *l = admit_exempt(ad, true) ? NULL : admit_list_get(ad->r->server, VALIDATING_HOOKS);
    struct subject s;
    struct call *calls = NULL;
    unsigned n = 0;
    if (!l)
        return 0;
    subject_init(&s, ad);
    int e = collect(&s, l, &calls, &n);
    if (!e)
        e = ask_all(calls, n);
    admit_list_unref(l);
    return e;
}
