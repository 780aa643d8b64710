/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that answer a question and are not stored: TokenReview, the access reviews, SelfSubjectReview,
 * ComponentStatus. */
#include "apiserver/auth.h"
#include "apiserver/review_check.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

static int decode_review(struct request *r, struct val **ret)
{
    char version[128];
    int e = decode_body(r, r->res->type, resource_api_version(r->res, version, sizeof(version)), r->res->kind,
                        ret);
    return e ? e : review_metadata(r, *ret);
}

static int answer_review(struct request *r, struct val *v)
{
    answer_value(r, 201, r->res->type, v);
    return 0;
}

/* ---- TokenReview ------------------------------------------------------------------------------------- */

static void question_of(struct request *r, const struct val *spec, struct token_question *ret)
{
    const struct val *list = val_get(spec, N_audiences);
    size_t n = val_len(list);
    struct str *audiences = ARENA_ARRAY(r->arena, struct str, n);
    for (size_t i = 0; i < n; i++)
        audiences[i] = val_str(val_item(list, i));
    *ret = (struct token_question){val_getstr(spec, N_token), audiences, n};
    if (!n)
        server_audiences(r, ret);
}

static void put_token_answer(struct request *r, struct val *status, struct token_answer *answer)
{
    struct user *u = &answer->user;
    if (!user_in_group(u, "system:authenticated") && !user_in_group(u, "system:unauthenticated"))
        user_add_group(r->arena, u, STR("system:authenticated"));
    val_set_bool(r->arena, status, N_authenticated, true);
    val_set_ref(r->arena, status, N_user, user_to_val(r->arena, u));
    for (size_t i = 0; i < answer->n; i++)
        val_add_str(r->arena, val_sub_list(r->arena, status, N_audiences), answer->audiences[i]);
}

static int nobody(struct request *r, const struct token_question *q, struct token_answer *ret)
{
    *ret = (struct token_answer){.user = {.name = STR("system:anonymous")}, .audiences = (struct str *)q->audiences, .n = q->n};
    user_add_group(r->arena, &ret->user, STR("system:unauthenticated"));
    return 0;
}

int review_token(struct request *r)
{
    struct val *v = NULL;
    int e = decode_review(r, &v);
    if (e)
        return e;
    struct token_question q;
    struct token_answer answer = {.n = 0};
    struct err why = {0};
    question_of(r, val_get(v, N_spec), &q);
    if (!q.token.n)
        return status_bad_request(&r->status, "token is required for TokenReview in authentication");
    struct val *status = val_sub_obj(r->arena, v, N_status);
    bool none = q.token.p[0] == ' ' && !val_len(val_at(v, N_spec, N_audiences)); /* no token after "Bearer": that is nobody */
    int t = none && !r->server->config.anonymous_off ? nobody(r, &q, &answer) : token_authenticate(r, &q, &answer, &why);
    if (t && t != -EACCES)
        return t;
    if (t == 0)
        put_token_answer(r, status, &answer);
    else
        val_set_str(r->arena, status, N_error, STR("invalid bearer token"));
    return answer_review(r, v);
}

/* ---- access reviews ---------------------------------------------------------------------------------- */

static struct str or_all(struct str s)
{
    return s.n ? s : STR("*");
}

/* What is not understood is left out: the question is then about more. *ret_fault: what was. */
static const struct selector *selector_of(struct request *r, const struct val *v, bool fields, struct err *ret_fault)
{
    static const struct {
        const char *text;
        enum sel_op op;
    } ops[] = {{"In", SEL_IN}, {"NotIn", SEL_NOT_IN}, {"Exists", SEL_EXISTS}, {"DoesNotExist", SEL_NOT_EXISTS}};
    struct selector *s = ARENA_NEW(r->arena, struct selector);
    const struct val *list = val_get(v, N_requirements);
    struct str raw = val_getstr(v, N_rawSelector);
    if (raw.n)
        return (fields ? field_selector_parse(r->arena, raw, s, ret_fault) : selector_parse(r->arena, raw, s, ret_fault)) < 0 ? NULL : s;
    s->reqs = ARENA_ARRAY(r->arena, struct requirement, val_len(list));
    VAL_EACH (list, one) {
        struct requirement *q = &s->reqs[s->n];
        const struct val *values = val_get(one, N_values);
        bool known = false;
        for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
            if (str_is(val_getstr(one, N_operator), ops[i].text)) {
                q->op = ops[i].op;
                known = !fields || q->op <= SEL_NOT_IN;
            }
        if (!known) {
            err_set(ret_fault, 0, "\"" STR_FMT "\" is not a valid %s selector operator", STR_ARG(val_getstr(one, N_operator)), fields ? "field" : "label");
            continue;
        }
        q->key = val_getstr(one, N_key);
        q->values = ARENA_ARRAY(r->arena, struct str, val_len(values));
        for (q->n_values = 0; q->n_values < val_len(values); q->n_values++)
            q->values[q->n_values] = val_str(val_item(values, q->n_values));
        s->n++;
    }
    return s->n ? s : NULL;
}

static struct attributes attributes_of(struct request *r, const struct val *spec, const struct user *u, struct err *ret_fault)
{
    const struct val *res = val_get(spec, N_resourceAttributes), *other = val_get(spec, N_nonResourceAttributes);
    struct attributes at = {.user = u, .resource_request = res != NULL};
    if (res) {
        at.ns = val_getstr(res, N_namespace);
        at.verb = val_getstr(res, N_verb);
        at.group = val_getstr(res, N_group);
        at.version = or_all(val_getstr(res, N_version));
        at.resource = val_getstr(res, N_resource);
        at.subresource = val_getstr(res, N_subresource);
        at.name = val_getstr(res, N_name);
        at.fields = selector_of(r, val_get(res, N_fieldSelector), true, ret_fault);
        at.labels = selector_of(r, val_get(res, N_labelSelector), false, ret_fault);
    } else {
        at.path = val_getstr(other, N_path);
        at.verb = val_getstr(other, N_verb);
    }
    return at;
}

static int answer_access(struct request *r, struct val *v, const struct user *u)
{
    struct err misread = {0};
    struct attributes at = attributes_of(r, val_get(v, N_spec), u, &misread);
    struct authorization told;
    struct val *status = val_sub_obj(r->arena, v, N_status);
    authorize_told(r, &at, &told);
    val_set_bool(r->arena, status, N_allowed, told.decision == DECISION_ALLOW);
    if (told.decision == DECISION_DENY)
        val_set_bool(r->arena, status, N_denied, true);
    if (told.reason.text[0])
        val_set_str(r->arena, status, N_reason, str_of(told.reason.text));
    struct str fault = told.fault.text[0] ? str_of(told.fault.text) : review_misunderstood(r, val_get(v, N_spec));
    if (fault.n)
        val_set_str(r->arena, status, N_evaluationError, fault);
    return answer_review(r, v);
}

static int review_for(struct request *r, bool self)
{
    struct val *v = NULL;
    int e = decode_review(r, &v);
    if (e || (e = review_check_access(r, v, self)))
        return e;
    if (self)
        return answer_access(r, v, &r->user);
    struct user u = user_from_val(r->arena, val_get(v, N_spec));
    return answer_access(r, v, &u);
}

int review_access(struct request *r)
{
    return review_for(r, false);
}

int review_self_access(struct request *r)
{
    return review_for(r, true);
}

int review_local_access(struct request *r)
{
    return review_for(r, false);
}

/* ---- the rules of oneself ---------------------------------------------------------------------------- */

static void copy_list(struct arena *a, struct val *to, const struct val *rule, name_id name)
{
    val_set_ref(a, to, name, val_get(rule, name));
}

int review_self_rules(struct request *r)
{
    struct val *v = NULL;
    int e = decode_review(r, &v);
    if (e)
        return e;
    struct arena *a = r->arena;
    struct str ns = val_str(val_at(v, N_spec, N_namespace));
    if (!ns.n)
        return status_bad_request(&r->status, "no namespace on request");
    struct val *resource_rules = val_new(a, VAL_LIST), *other_rules = val_new(a, VAL_LIST);
    struct err missing = {0};
    const struct val *rules = rules_told(r, &r->user, ns, &missing);
    VAL_EACH(rules, rule) {
        bool paths = val_len(val_get(rule, N_nonResourceURLs)) > 0;
        struct val *to = val_add_obj(a, paths ? other_rules : resource_rules);
        copy_list(a, to, rule, N_verbs);
        if (paths) {
            copy_list(a, to, rule, N_nonResourceURLs);
            continue;
        }
        copy_list(a, to, rule, N_apiGroups);
        copy_list(a, to, rule, N_resources);
        copy_list(a, to, rule, N_resourceNames);
    }
    val_set_ref(a, v, N_metadata, val_new(a, VAL_OBJ)); /* of the question nothing is repeated */
    val_set_ref(a, v, N_spec, val_new(a, VAL_OBJ));
    struct val *status = val_sub_obj(a, v, N_status);
    val_set_ref(a, status, N_resourceRules, resource_rules);
    val_set_ref(a, status, N_nonResourceRules, other_rules);
    val_set_bool(a, status, N_incomplete, missing.text[0] != 0);
    if (missing.text[0])
        val_set_str(a, status, N_evaluationError, str_of(missing.text));
    return answer_review(r, v);
}

int review_self_subject(struct request *r)
{
    struct val *v = NULL;
    int e = decode_review(r, &v);
    if (e)
        return e;
    val_set_ref(r->arena, v, N_metadata, val_new(r->arena, VAL_OBJ));
    val_set_time(r->arena, val_sub_obj(r->arena, v, N_metadata), N_creationTimestamp, r->now);
    val_set_ref(r->arena, val_sub_obj(r->arena, v, N_status), N_userInfo, user_to_val(r->arena, &r->user));
    return answer_review(r, v);
}

/* ---- ComponentStatus: deprecated, but asked for ------------------------------------------------------ */

static const char *const components[] = {"controller-manager", "etcd-0", "scheduler"};

static struct object *component(struct request *r, const char *name)
{
    struct arena *a = r->arena;
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, val_sub_obj(a, v, N_metadata), N_name, str_of(name));
    struct val *c = val_add_obj(a, val_sub_list(a, v, N_conditions));
    val_set_str(a, c, N_type, STR("Healthy"));
    val_set_str(a, c, N_status, STR("True"));
    val_set_str(a, c, N_message, STR("ok"));
    struct object *o = object_new(r->res, v);
    request_hold_taken(r, o);
    return o;
}

int component_statuses(struct request *r)
{
    static const char deprecated[] = "v1 ComponentStatus is deprecated in v1.19+";
    const struct object **items = ARENA_ARRAY(r->arena, const struct object *, ARRAY_SIZE(components));
    request_warn(r, str_of(deprecated));
    for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
        items[i] = component(r, components[i]);
        if (r->info.name.n && str_is(r->info.name, components[i])) {
            answer_object(r, 200, items[i]);
            return 0;
        }
    }
    if (r->info.name.n)
        return status_not_found(&r->status, r->res, r->info.name);
    r->answer = (struct answer){.kind = ANSWER_LIST,
                                .code = 200,
                                .items = items,
                                .n_items = ARRAY_SIZE(components),
                                .revision = cache_revision(r->server->cache)};
    return 0;
}
