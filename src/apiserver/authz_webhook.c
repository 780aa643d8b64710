/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authz_webhook.h"

#include <limits.h>

#include "apiserver/auth_state.h"
#include "base/log.h"
#include "base/os.h"
#include "cel/cel.h"
#include "names.h"
#include "type/selector.h"
#include "types.h"
#include "wire/json.h"

enum { KEPT_MAX = 8192, KEY_MAX = 10000 };

const char *const authz_hook_results[HOOK_RESULTS] = {"success", "timeout", "error", "canceled"};

struct condition {
    struct str source;
    struct cel_program *program;
};

struct authz_webhook {
    struct authz_webhook_config config;
    struct review_hook *hook;
    struct answers answers;
    struct condition *conditions;
    size_t n;
    const struct cel_type *request;
    struct authz_hook_counts counts;
    struct auth_histogram durations[HOOK_RESULTS], matches;
};

/* ---- making --------------------------------------------------------------------------------------------- */

static const struct cel_type *request_type(struct arena *a)
{
    const struct cel_type *texts = cel_list_of(a, &cel_string), *s = &cel_string;
    const struct cel_type *requirement = CEL_OBJECT_TYPE(a, "kubernetes.SelectorRequirement", {"key", s}, {"operator", s}, {"values", texts});
    const struct cel_type *list = cel_list_of(a, requirement);
    const struct cel_type *fields = CEL_OBJECT_TYPE(a, "kubernetes.FieldSelectorAttributes", {"rawSelector", s}, {"requirements", list});
    const struct cel_type *labels = CEL_OBJECT_TYPE(a, "kubernetes.LabelSelectorAttributes", {"rawSelector", s}, {"requirements", list});
    const struct cel_type *res = CEL_OBJECT_TYPE(a, "kubernetes.ResourceAttributes", {"namespace", s}, {"verb", s}, {"group", s},
                                                 {"version", s}, {"resource", s}, {"subresource", s}, {"name", s},
                                                 {"fieldSelector", fields}, {"labelSelector", labels});
    const struct cel_type *path = CEL_OBJECT_TYPE(a, "kubernetes.NonResourceAttributes", {"path", s}, {"verb", s});
    return CEL_OBJECT_TYPE(a, "kubernetes.SubjectAccessReviewSpec", {"resourceAttributes", res}, {"nonResourceAttributes", path},
                           {"user", s}, {"groups", texts}, {"extra", cel_map_of(a, s, texts)}, {"uid", s});
}

static void compile(struct authz_webhook *w, struct arena *a, struct cel_env *env, const struct val *x, struct str path, struct status *st)
{
    struct cel_issues issues = {.n = 0};
    struct condition *c = &w->conditions[w->n];
    if (cel_compile(env, val_str(x), a, &c->program, &issues) < 0) {
        cause_invalid(st, path, x, arena_printf(a, "compilation failed: " STR_FMT, STR_ARG(issues.text)).p);
        return;
    }
    c->source = val_str(x);
    w->n++;
    const struct cel_type *t = cel_program_type(c->program);
    if (t->kind != CEL_BOOL)
        cause_invalid(st, path, x, arena_printf(a, "must evaluate to bool but got " STR_FMT, STR_ARG(cel_type_text(a, t))).p);
}

static void compile_all(struct authz_webhook *w, struct arena *a, struct str path, struct status *st)
{
    const struct val *list = w->config.conditions;
    size_t i = 0;
    if (!val_len(list))
        return;
    struct cel_env *env = cel_env_new(CEL_LIB_KUBERNETES, UINT_MAX);
    w->request = request_type(a);
    w->conditions = ARENA_ARRAY(a, struct condition, val_len(list));
    cel_env_var(env, "request", w->request);
    VAL_EACH (list, v)
        compile(w, a, env, val_get(v, N_expression), arena_printf(a, STR_FMT ".webhook.matchConditions[%zu].expression", STR_ARG(path), i++), st);
    cel_env_unref(env);
}

int authz_webhook_open(struct arena *a, const struct authz_webhook_config *c, struct str path, struct status *st,
                       struct authz_webhook **ret, struct err *e)
{
    struct review_hook *hook = NULL;
    int r = review_hook_open(c->kubeconfig, &hook, e);
    if (r < 0)
        return r;
    struct authz_webhook *w = NEW(struct authz_webhook);
    w->config = *c;
    w->hook = hook;
    w->answers.max = KEPT_MAX;
    w->counts.durations = w->durations;
    w->counts.matches = &w->matches;
    compile_all(w, a, path, st);
    *ret = w;
    return 0;
}

void authz_webhook_close(struct authz_webhook *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++)
        cel_program_unref(w->conditions[i].program);
    review_hook_close(w->hook);
    answers_done(&w->answers);
    free(w);
}

const struct authz_hook_counts *authz_webhook_counts(const struct authz_webhook *w)
{
    return &w->counts;
}

/* ---- the question --------------------------------------------------------------------------------------- */

static const char *operator_of(const struct requirement *q)
{
    static const char *const names[] = {[SEL_EQ] = "In",         [SEL_NE] = "NotIn",  [SEL_IN] = "In",
                                        [SEL_NOT_IN] = "NotIn",  [SEL_EXISTS] = "Exists", [SEL_NOT_EXISTS] = "DoesNotExist"};
    return q->op < ARRAY_SIZE(names) ? names[q->op] : NULL;
}

/* Requirements that have no operator there are left out: the question is then about more, never about less. */
static void put_selector(struct arena *a, struct val *attributes, name_id name, const struct selector *s)
{
    for (size_t i = 0; s && i < s->n; i++) {
        const struct requirement *q = &s->reqs[i];
        if (!operator_of(q))
            continue;
        struct val *one = val_add_obj(a, val_sub_list(a, val_sub_obj(a, attributes, name), N_requirements));
        val_set_str(a, one, N_key, q->key);
        val_set_str(a, one, N_operator, str_of(operator_of(q)));
        for (size_t k = 0; k < q->n_values; k++)
            val_add_str(a, val_sub_list(a, one, N_values), q->values[k]);
    }
}

static void put_text(struct arena *a, struct val *v, name_id name, struct str s)
{
    val_set(a, v, name, val_of_str(arena_str(a, s)));
}

static void put_attributes(struct arena *a, struct val *spec, const struct attributes *at)
{
    const struct {
        name_id name;
        struct str text;
    } texts[] = {{N_namespace, at->ns},       {N_verb, at->verb},           {N_group, at->group}, {N_version, at->version},
                 {N_resource, at->resource}, {N_subresource, at->subresource}, {N_name, at->name}};
    struct val *v = val_sub_obj(a, spec, at->resource_request ? N_resourceAttributes : N_nonResourceAttributes);
    if (!at->resource_request) {
        put_text(a, v, N_path, at->path);
        put_text(a, v, N_verb, at->verb);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        put_text(a, v, texts[i].name, texts[i].text);
    put_selector(a, v, N_fieldSelector, at->fields);
    put_selector(a, v, N_labelSelector, at->labels);
}

static struct val *review_of(struct arena *a, const struct authz_webhook *w, const struct attributes *at)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_kind, STR("SubjectAccessReview"));
    val_set_str(a, v, N_apiVersion, arena_printf(a, "authorization.k8s.io/%s", w->config.version));
    struct val *spec = val_sub_obj(a, v, N_spec);
    put_attributes(a, spec, at);
    put_text(a, spec, N_user, at->user->name);
    put_text(a, spec, N_uid, at->user->uid);
    val_sub_list(a, spec, N_groups);
    val_sub_map(a, spec, N_extra);
    for (size_t i = 0; i < at->user->n_groups; i++)
        val_add_str(a, val_sub_list(a, spec, N_groups), at->user->groups[i]);
    for (size_t i = 0; i < at->user->n_extra; i++) {
        struct val *list = val_put(a, val_sub_map(a, spec, N_extra), at->user->extra[i].key, *val_new(a, VAL_LIST));
        for (size_t k = 0; k < at->user->extra[i].n; k++)
            val_add_str(a, list, at->user->extra[i].values[k]);
    }
    return v;
}

/* v1beta1 has the groups under another name. */
static struct str body_of(struct arena *a, const struct authz_webhook *w, const struct val *review)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (strcmp(w->config.version, "v1beta1")) {
        json_encode(&b, &types[T_authorization_v1_SubjectAccessReview], review, 0);
        return arena_str(a, buf_str(&b));
    }
    struct val *old = val_copy_shallow(a, review), *spec = val_copy_shallow(a, val_get(review, N_spec));
    val_set_ref(a, spec, N_group, val_get(spec, N_groups));
    val_del(spec, N_groups);
    val_set_ref(a, old, N_spec, spec);
    json_encode(&b, NULL, old, 0);
    return arena_str(a, buf_str(&b));
}

/* ---- conditions ----------------------------------------------------------------------------------------- */

struct seen {
    const struct val *spec;
    const struct cel_type *type;
};

static struct cel_val see(void *user, unsigned variable, struct arena *a)
{
    const struct seen *s = user;
    return cel_view(a, s->spec, s->type);
}

/* One that is false is enough to leave it be, whatever others come to. */
static bool matches(struct authz_webhook *w, struct arena *a, const struct val *spec, struct err *ret_fault)
{
    struct seen seen = {spec, w->request};
    struct err fault = {0};
    for (size_t i = 0; i < w->n; i++) {
        struct cel_eval ev = {.variable = see, .user = &seen, .arena = a, .limit = CEL_COST_PER_CALL};
        struct cel_val v = {.kind = CEL_NULL};
        struct err e = {0};
        int r = cel_eval(w->conditions[i].program, &ev, &v, &e);
        if (r == CEL_COST_EXCEEDED)
            err_set(&e, r, "operation cancelled: actual cost limit exceeded");
        if (r == 0 && v.kind == CEL_BOOL && !v.b) {
            w->counts.exclusions++;
            return false;
        }
        if (r)
            err_set(&fault, r, "cel evaluation error: expression '" STR_FMT "' resulted in error: %s", STR_ARG(w->conditions[i].source), e.text);
    }
    w->counts.match_errors += fault.text[0] != 0;
    *ret_fault = fault;
    return true;
}

/* ---- asking --------------------------------------------------------------------------------------------- */

static enum authz_hook_result result_of(int r)
{
    return r == 0 ? HOOK_SUCCESS : r == -ETIMEDOUT ? HOOK_TIMEOUT : r == -ECANCELED ? HOOK_CANCELED : HOOK_ERROR;
}

/* Its answer as kept, or as it comes now: a SubjectAccessReviewStatus. */
static int status_of(struct authz_webhook *w, struct arena *a, struct val *review, const struct val **ret, struct err *e)
{
    const struct type *t = &types[T_authorization_v1_SubjectAccessReview], *st = &types[T_authorization_v1_SubjectAccessReviewStatus];
    CLEANUP_BUF struct buf key = BUF_INIT, text = BUF_INIT;
    struct val *v = NULL;
    json_encode(&key, t, review, 0);
    struct str kept = answers_get(&w->answers, buf_str(&key), os_mono());
    if (kept.n) {
        int r = json_decode(a, st, arena_str(a, kept), 0, NULL, &v, e);
        *ret = v;
        return r;
    }
    struct mono begun = os_mono();
    int r = review_hook_ask(w->hook, a, t, review, body_of(a, w, review), w->config.timeout_ns, &v, e);
    enum authz_hook_result result = result_of(r);
    w->counts.evaluations[result]++;
    auth_count(&w->durations[result], os_mono().ns - begun.ns);
    if (r < 0) {
        w->counts.fail_open[result] += !w->config.deny_on_failure;
        log_warn("apiserver", "authorization webhook %s: %s", w->config.name, err_text(e, r));
        return r;
    }
    *ret = val_get(v, N_status);
    int64_t ttl = val_bool(val_get(*ret, N_allowed), false) ? w->config.yes_ttl_ns : w->config.no_ttl_ns;
    if (ttl && key.n < KEY_MAX && *ret) {
        json_encode(&text, st, *ret, 0);
        answers_put(&w->answers, buf_str(&key), buf_str(&text), mono_add(os_mono(), ttl));
    }
    return 0;
}

enum decision authz_webhook_ask(struct authz_webhook *w, struct arena *a, const struct attributes *at, struct err *ret_reason, struct err *ret_fault)
{
    enum decision failed = w->config.deny_on_failure ? DECISION_DENY : DECISION_NONE;
    struct val *review = review_of(a, w, at);
    const struct val *status = NULL;
    if (w->n) {
        struct mono begun = os_mono();
        bool asks = matches(w, a, val_get(review, N_spec), ret_fault);
        auth_count(&w->matches, os_mono().ns - begun.ns);
        if (!asks)
            return DECISION_NONE;
        if (ret_fault->text[0])
            return failed;
    }
    int r = status_of(w, a, review, &status, ret_fault);
    if (r < 0) {
        err_wrap(ret_fault, r, "authorization webhook %s", w->config.name);
        return failed;
    }
    bool allowed = val_bool(val_get(status, N_allowed), false), denied = val_bool(val_get(status, N_denied), false);
    err_set(ret_reason, 0, STR_FMT, STR_ARG(val_getstr(status, N_reason)));
    if (denied && allowed)
        err_set(ret_fault, 0, "webhook subject access review returned both allow and deny response");
    return denied ? DECISION_DENY : allowed ? DECISION_ALLOW : DECISION_NONE;
}
