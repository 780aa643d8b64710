/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that answer a question and are not stored: TokenReview, the access reviews, SelfSubjectReview,
 * ComponentStatus. */
#include "apiserver/auth.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

static int decode_review(struct request *r, struct val **ret)
{
    char version[128];
    return decode_body(r, r->res->type, resource_api_version(r->res, version, sizeof(version)), r->res->kind,
                       ret);
}

static int answer_review(struct request *r, struct val *v)
{
    answer_value(r, 201, r->res->type, v);
    return 0;
}

/* ---- TokenReview ------------------------------------------------------------------------------------- */

int review_token(struct request *r)
{
    struct val *v = NULL;
    int e = decode_review(r, &v);
    if (e)
        return e;
    const struct val *spec = val_get(v, N_spec), *list = val_get(spec, N_audiences);
    struct str token = val_getstr(spec, N_token), audience = STR_NULL;
    if (!token.n)
        return status_bad_request(&r->status, "token is required for TokenReview in authentication");
    size_t n = val_len(list);
    struct str *audiences = ARENA_ARRAY(r->arena, struct str, n);
    for (size_t i = 0; i < n; i++)
        audiences[i] = val_str(val_item(list, i));
    struct user u = {.name = STR_NULL};
    struct err why = {0};
    struct val *status = val_sub_obj(r->arena, v, N_status);
    int t = token_authenticate(r, token, audiences, n, &u, &audience, &why);
    if (t < 0 && r->server->config.bootstrap_tokens && !n)
        t = bootstrap_token_authenticate(r, token, &u, &why);
    if (t == 0) {
        val_set_bool(r->arena, status, N_authenticated, true);
        val_set_ref(r->arena, status, N_user, user_to_val(r->arena, &u));
        if (audience.n)
            val_add_str(r->arena, val_sub_list(r->arena, status, N_audiences), audience);
    } else {
        val_set_str(r->arena, status, N_error, STR("invalid bearer token"));
    }
    return answer_review(r, v);
}

/* ---- access reviews ---------------------------------------------------------------------------------- */

static struct str or_all(struct str s)
{
    return s.n ? s : STR("*");
}

static struct attributes attributes_of(const struct val *spec, const struct user *u)
{
    const struct val *res = val_get(spec, N_resourceAttributes),
                     *other = val_get(spec, N_nonResourceAttributes);
    struct attributes at = {.user = u, .resource_request = res != NULL};
    if (res) {
        at.ns = val_getstr(res, N_namespace);
        at.verb = val_getstr(res, N_verb);
        at.group = val_getstr(res, N_group);
        at.version = or_all(val_getstr(res, N_version));
        at.resource = val_getstr(res, N_resource);
        at.subresource = val_getstr(res, N_subresource);
        at.name = val_getstr(res, N_name);
    } else {
        at.path = val_getstr(other, N_path);
        at.verb = val_getstr(other, N_verb);
    }
    return at;
}

static int check_access_spec(struct request *r, const struct val *spec, bool self)
{
    const struct val *res = val_get(spec, N_resourceAttributes),
                     *other = val_get(spec, N_nonResourceAttributes);
    if (!self && !val_getstr(spec, N_user).n && !val_len(val_get(spec, N_groups)))
        cause_invalid(&r->status, STR("spec.user"), val_get(spec, N_user),
                      "at least one of user or group must be specified");
    if (res && other)
        cause_invalid(&r->status, STR("spec.nonResourceAttributes"), other,
                      "cannot be specified in combination with resourceAttributes");
    if (!res && !other)
        cause_invalid(&r->status, STR("spec.resourceAttributes"), res,
                      "exactly one of nonResourceAttributes or resourceAttributes must be specified");
    return status_invalid(&r->status, str_of(r->res->group), str_of(r->res->kind), STR(""));
}

static int answer_access(struct request *r, struct val *v, const struct user *u)
{
    struct attributes at = attributes_of(val_get(v, N_spec), u);
    struct err why = {0};
    struct val *status = val_sub_obj(r->arena, v, N_status);
    enum decision d = authorize(r, &at, &why);
    val_set_bool(r->arena, status, N_allowed, d == DECISION_ALLOW);
    if (d == DECISION_DENY)
        val_set_bool(r->arena, status, N_denied, true);
    if (*why.text)
        val_set_str(r->arena, status, N_reason, str_of(why.text));
    return answer_review(r, v);
}

static int review_for(struct request *r, bool self)
{
    struct val *v = NULL;
    int e = decode_review(r, &v);
    if (e || (e = check_access_spec(r, val_get(v, N_spec), self)))
        return e;
    if (self)
        return answer_access(r, v, &r->user);
    const struct val *spec = val_get(v, N_spec);
    struct user u = user_from_val(r->arena, spec);
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
    struct val *v = NULL;
    int e = decode_review(r, &v);
    if (e || (e = check_access_spec(r, val_get(v, N_spec), false)))
        return e;
    const struct val *spec = val_get(v, N_spec);
    struct str ns = val_str(val_at(spec, N_resourceAttributes, N_namespace));
    if (!str_eq(ns, r->info.ns))
        return status_bad_request(&r->status, "spec.resourceAttributes.namespace must match namespace: %.*s",
                                  STR_ARG(r->info.ns));
    struct user u = user_from_val(r->arena, spec);
    return answer_access(r, v, &u);
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
    VAL_EACH(rules_of_user(r, &r->user, ns), rule) {
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
    struct val *status = val_sub_obj(a, v, N_status);
    val_set_ref(a, status, N_resourceRules, resource_rules);
    val_set_ref(a, status, N_nonResourceRules, other_rules);
    val_set_bool(a, status, N_incomplete, false);
    return answer_review(r, v);
}

int review_self_subject(struct request *r)
{
    struct val *v = NULL;
    int e = decode_review(r, &v);
    if (e)
        return e;
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
