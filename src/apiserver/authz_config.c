/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of authorizers from flags or from an AuthorizationConfiguration. */
#include "apiserver/authz.h"

#include <sys/stat.h>

#include "apiserver/abac.h"
#include "apiserver/authz_webhook.h"
#include "apiserver/config_file.h"
#include "apiserver/server.h"
#include "base/time.h"
#include "names.h"
#include "type/meta.h"
#include "type/status.h"
#include "types.h"

enum { CONDITIONS_MAX = 64 };

const char *const authz_kind_names[AUTHZ_KINDS] = {[AUTHZ_NODE] = "Node",
                                                   [AUTHZ_RBAC] = "RBAC",
                                                   [AUTHZ_ALWAYS_ALLOW] = "AlwaysAllow",
                                                   [AUTHZ_ALWAYS_DENY] = "AlwaysDeny",
                                                   [AUTHZ_ABAC] = "ABAC",
                                                   [AUTHZ_WEBHOOK] = "Webhook"};

static int kind_named(struct str s)
{
    for (int i = 0; i < AUTHZ_KINDS; i++)
        if (str_is(s, authz_kind_names[i]))
            return i;
    return -1;
}

/* What they are called where nobody gave a name. */
static struct str usual_name(struct arena *a, struct str kind)
{
    char *s = arena_cstr(a, kind);
    for (char *p = s; *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    return str_of(s);
}

/* ---- from flags ----------------------------------------------------------------------------------------- */

static void add_hook(struct arena *a, struct val *authorizer, const struct review_flags *f)
{
    struct val *w = val_sub_obj(a, authorizer, N_webhook);
    char text[TIME_TEXT_MAX];
    val_set_str(a, w, N_timeout, STR("30s"));
    val_set_str(a, w, N_subjectAccessReviewVersion, str_of(f->version ? f->version : "v1beta1"));
    val_set_str(a, w, N_failurePolicy, STR("NoOpinion"));
    if (f->yes_ttl_ns > 0)
        val_set_str(a, w, N_authorizedTTL, str_of(duration_format(f->yes_ttl_ns, text)));
    if (f->no_ttl_ns > 0)
        val_set_str(a, w, N_unauthorizedTTL, str_of(duration_format(f->no_ttl_ns, text)));
    val_set_bool(a, w, N_cacheAuthorizedRequests, f->yes_ttl_ns >= 0);
    val_set_bool(a, w, N_cacheUnauthorizedRequests, f->no_ttl_ns >= 0);
    struct val *at = val_sub_obj(a, w, N_connectionInfo);
    val_set_str(a, at, N_type, STR("KubeConfigFile"));
    val_set_str(a, at, N_kubeConfigFile, str_of(f->kubeconfig));
}

static int from_flags(struct arena *a, const struct apiserver_config *c, struct val **ret, struct err *e)
{
    struct val *v = val_new(a, VAL_OBJ), *list = val_sub_list(a, v, N_authorizers);
    struct str rest = str_of(c->authorization ? c->authorization : "Node,RBAC"), one;
    bool hook = false, abac = false;
    while (str_next(&rest, ',', &one)) {
        one = str_trim(one);
        if (kind_named(one) < 0)
            return err_set(e, -EINVAL, "authorization-mode \"" STR_FMT "\" is not a valid mode", STR_ARG(one));
        struct val *item = val_add_obj(a, list);
        bool is_hook = str_is(one, "Webhook");
        val_set_str(a, item, N_type, one);
        val_set_str(a, item, N_name, is_hook ? STR("default") : usual_name(a, one));
        if (is_hook && c->authz_webhook.kubeconfig)
            add_hook(a, item, &c->authz_webhook);
        hook = hook || is_hook;
        abac = abac || str_is(one, "ABAC");
    }
    *ret = v;
    if (abac != (c->authz_policy != NULL))
        return err_set(e, -EINVAL, abac ? "authorization-mode ABAC's authorization policy file not passed"
                                        : "cannot specify --authorization-policy-file without mode ABAC");
    if (hook != (c->authz_webhook.kubeconfig != NULL))
        return err_set(e, -EINVAL, hook ? "authorization-mode Webhook's authorization config file not passed"
                                        : "cannot specify --authorization-webhook-config-file without mode Webhook");
    return 0;
}

/* ---- checking ------------------------------------------------------------------------------------------- */

struct checker {
    struct arena *arena;
    struct status *st;
};

#define PATH(c, base, below) arena_printf((c)->arena, STR_FMT below, STR_ARG(base))

static int64_t duration_at(const struct val *v, name_id name, int64_t absent)
{
    int64_t ns;
    struct str s = val_getstr(v, name);
    return s.n && duration_parse(s, &ns) == 0 ? ns : absent;
}

static void check_duration(struct checker *c, const struct val *v, name_id name, const char *text, struct str path, int64_t absent, int64_t max)
{
    int64_t ns = duration_at(v, name, absent);
    struct str at = arena_printf(c->arena, STR_FMT ".%s", STR_ARG(path), text);
    if (!ns)
        cause_required(c->st, at, "");
    else if (ns < 0 || ns > max)
        cause_invalid(c->st, at, val_get(v, name), max == INT64_MAX ? "must be > 0s" : "must be > 0s and <= 30s");
}

static void check_one_of(struct checker *c, const struct val *v, struct str path, const char *const *good)
{
    if (!val_str(v).n) {
        cause_required(c->st, path, "");
        return;
    }
    for (size_t i = 0; good[i]; i++)
        if (str_is(val_str(v), good[i]))
            return;
    cause_not_supported(c->st, path, v, good);
}

static void check_connection(struct checker *c, const struct val *info, struct str path)
{
    static const char *const types_[] = {"InClusterConfig", "KubeConfigFile", NULL};
    const struct val *type = val_get(info, N_type), *file = val_get(info, N_kubeConfigFile);
    struct str at = PATH(c, path, ".kubeConfigFile");
    struct stat st;
    check_one_of(c, type, PATH(c, path, ".type"), types_);
    if (str_is(val_str(type), "InClusterConfig"))
        cause_invalid(c->st, PATH(c, path, ".type"), type, "the API server itself is in no cluster: name a kubeconfig file");
    if (!str_is(val_str(type), "KubeConfigFile"))
        return;
    if (!val_str(file).n)
        cause_required(c->st, at, "");
    else if (val_cstr(file)[0] != '/')
        cause_invalid(c->st, at, file, "must be an absolute path");
    else if (stat(val_cstr(file), &st) < 0)
        cause_invalid(c->st, at, file, arena_printf(c->arena, "error loading file: %s", strerror(errno)).p);
    else if (!S_ISREG(st.st_mode))
        cause_invalid(c->st, at, file, "must be a regular file");
}

static void check_conditions(struct checker *c, const struct val *w, struct str path)
{
    const struct val *list = val_get(w, N_matchConditions), *version = val_get(w, N_matchConditionSubjectAccessReviewVersion);
    static const char *const good[] = {"v1", NULL};
    struct str at = PATH(c, path, ".matchConditionSubjectAccessReviewVersion");
    if (val_str(version).n)
        check_one_of(c, version, at, good);
    else if (val_len(list))
        cause_required(c->st, at, "required if match conditions are specified");
    if (val_len(list) > CONDITIONS_MAX)
        cause_too_many(c->st, PATH(c, path, ".matchConditions"), val_len(list), CONDITIONS_MAX);
    for (size_t i = 0; i < val_len(list); i++) {
        const struct val *x = val_get(val_item(list, i), N_expression);
        struct str here = arena_printf(c->arena, STR_FMT ".matchConditions[%zu].expression", STR_ARG(path), i);
        if (!str_trim(val_str(x)).n)
            cause_required(c->st, here, "");
        for (size_t k = 0; k < i; k++)
            if (str_eq(val_getstr(val_item(list, k), N_expression), val_str(x)) && val_str(x).n)
                cause_duplicate(c->st, here, x);
    }
}

static void check_webhook(struct checker *c, const struct val *w, struct str path)
{
    static const char *const versions[] = {"v1", "v1beta1", NULL}, *const policies[] = {"NoOpinion", "Deny", NULL};
    check_duration(c, w, N_timeout, "timeout", path, 0, SECONDS(30));
    check_duration(c, w, N_authorizedTTL, "authorizedTTL", path, SECONDS(300), INT64_MAX);
    check_duration(c, w, N_unauthorizedTTL, "unauthorizedTTL", path, SECONDS(30), INT64_MAX);
    check_one_of(c, val_get(w, N_subjectAccessReviewVersion), PATH(c, path, ".subjectAccessReviewVersion"), versions);
    check_one_of(c, val_get(w, N_failurePolicy), PATH(c, path, ".failurePolicy"), policies);
    check_connection(c, val_get(w, N_connectionInfo), PATH(c, path, ".connectionInfo"));
    check_conditions(c, w, path);
}

static void check_name(struct checker *c, const struct val *list, size_t i, struct str path, bool webhook)
{
    const struct val *v = val_item(list, i), *name = val_get(v, N_name);
    struct str usual = usual_name(c->arena, val_getstr(v, N_type));
    const char *fault = check_dns_subdomain(val_str(name));
    if (!val_str(name).n) {
        cause_required(c->st, path, "");
        return;
    }
    for (size_t k = 0; k < i; k++)
        if (str_eq(val_getstr(val_item(list, k), N_name), val_str(name)))
            cause_duplicate(c->st, path, name);
    if (fault)
        cause_invalid(c->st, path, name, arena_printf(c->arena, "authorizer name is invalid: %s", fault).p);
    else if (!webhook && !str_eq(usual, val_str(name)))
        cause_invalid(c->st, path, name, arena_printf(c->arena, "expected name " STR_FMT " for this type", STR_ARG(usual)).p);
}

static void check_item(struct checker *c, const struct val *list, size_t i)
{
    const struct val *v = val_item(list, i), *type = val_get(v, N_type), *webhook = val_get(v, N_webhook);
    static const struct val there = {.kind = VAL_STR, .n = 8, .s = "non-null"};
    static const char *const known[] = {"ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook", NULL};
    struct str path = arena_printf(c->arena, "authorizers[%zu]", i), at = PATH(c, path, ".type");
    bool is_hook = str_is(val_str(type), "Webhook");
    check_one_of(c, type, at, known);
    if (kind_named(val_str(type)) < 0)
        return;
    for (size_t k = 0; k < i && !is_hook; k++)
        if (str_eq(val_getstr(val_item(list, k), N_type), val_str(type))) {
            cause_duplicate(c->st, at, type);
            return;
        }
    check_name(c, list, i, PATH(c, path, ".name"), is_hook);
    if (is_hook && !webhook)
        cause_required(c->st, PATH(c, path, ".webhook"), "required when type=Webhook");
    else if (is_hook)
        check_webhook(c, webhook, PATH(c, path, ".webhook"));
    else if (webhook)
        cause_invalid(c->st, PATH(c, path, ".webhook"), &there, "may only be specified when type=Webhook");
}

/* ---- making --------------------------------------------------------------------------------------------- */

static int make_hook(struct authz_chain *chain, struct authorizer *z, const struct val *w, struct status *st, size_t i, struct err *e)
{
    struct authz_webhook_config c = {
        .name = z->name,
        .kubeconfig = val_cstr(val_at(w, N_connectionInfo, N_kubeConfigFile)),
        .version = val_cstr(val_get(w, N_subjectAccessReviewVersion)),
        .timeout_ns = duration_at(w, N_timeout, SECONDS(30)),
        .yes_ttl_ns = val_bool(val_get(w, N_cacheAuthorizedRequests), true) ? duration_at(w, N_authorizedTTL, SECONDS(300)) : 0,
        .no_ttl_ns = val_bool(val_get(w, N_cacheUnauthorizedRequests), true) ? duration_at(w, N_unauthorizedTTL, SECONDS(30)) : 0,
        .deny_on_failure = str_is(val_getstr(w, N_failurePolicy), "Deny"),
        .conditions = val_get(w, N_matchConditions)};
    chain->selectors = true;
    return authz_webhook_open(&chain->arena, &c, arena_printf(&chain->arena, "authorizers[%zu]", i), st, &z->webhook, e);
}

static int make(struct authz_chain *chain, const struct val *list, const struct apiserver_config *c, struct status *st, struct err *e)
{
    int r = 0;
    chain->items = ARENA_ARRAY(&chain->arena, struct authorizer, val_len(list));
    for (size_t i = 0; i < val_len(list) && !r; i++) {
        const struct val *v = val_item(list, i);
        struct authorizer *z = &chain->items[chain->n++];
        z->kind = (enum authz_kind)kind_named(val_getstr(v, N_type));
        z->name = arena_cstr(&chain->arena, val_getstr(v, N_name));
        if (z->kind == AUTHZ_WEBHOOK)
            r = make_hook(chain, z, val_get(v, N_webhook), st, i, e);
        else if (z->kind == AUTHZ_ABAC && !c->authz_policy)
            r = err_set(e, -EINVAL, "authorizers[%zu]: ABAC needs --authorization-policy-file", i);
        else if (z->kind == AUTHZ_ABAC)
            r = abac_load(c->authz_policy, &chain->abac, e);
    }
    return r;
}

/* What is there at the start may not be lost by a file that changes. */
static int check_kept(const struct authz_chain *now, const struct authz_chain *was, struct err *e)
{
    for (size_t i = 0; was && i < was->n; i++)
        if (was->items[i].kind != AUTHZ_WEBHOOK && !authz_chain_has(now, was->items[i].kind))
            return err_set(e, -EINVAL, "missing required types: [%s]", authz_kind_names[was->items[i].kind]);
    for (size_t i = 0; was && i < now->n; i++)
        if (now->items[i].kind != AUTHZ_WEBHOOK && !authz_chain_has(was, now->items[i].kind))
            return err_set(e, -EINVAL, "authorizer type %s is not allowed if it was not enabled at initial server startup",
                           authz_kind_names[now->items[i].kind]);
    return 0;
}

static int take(struct authz_chain *chain, const struct val *v, const struct apiserver_config *c, struct err *e)
{
    const struct val *list = val_get(v, N_authorizers);
    struct status st;
    struct checker check = {&chain->arena, &st};
    status_init(&st, &chain->arena);
    if (!val_len(list))
        cause_required(&st, STR("authorizers"), "at least one authorization mode must be defined");
    for (size_t i = 0; i < val_len(list); i++)
        check_item(&check, list, i);
    int r = st.n_causes ? 0 : make(chain, list, c, &st, e);
    if (!r && status_invalid(&st, STR("apiserver.config.k8s.io"), STR("AuthorizationConfiguration"), STR("")))
        r = err_set(e, -EINVAL, STR_FMT, STR_ARG(st.message));
    return r;
}

int authz_load(const struct apiserver_config *c, const struct authz_chain *was, struct authz_chain **ret, struct err *e)
{
    struct authz_chain *chain = NEW(struct authz_chain);
    struct val *v = NULL;
    int r;
    chain->refs = 1;
    if (c->authz_config && ((c->authorization && *c->authorization) || c->authz_webhook.kubeconfig))
        r = err_set(e, -EINVAL, "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are "
                    "defined");
    else if (c->authz_config)
        r = config_file_read(&chain->arena, c->authz_config, &types[T_apiserver_v1_AuthorizationConfiguration], "AuthorizationConfiguration",
                             "v1,v1beta1,v1alpha1", NULL, &v, e);
    else
        r = from_flags(&chain->arena, c, &v, e);
    if (!r)
        r = take(chain, v, c, e);
    if (!r)
        r = check_kept(chain, was, e);
    if (r < 0) {
        authz_unref(chain);
        return c->authz_config ? err_wrap(e, r, "--authorization-config %s", c->authz_config) : r;
    }
    *ret = chain;
    return 0;
}

struct authz_chain *authz_ref(struct authz_chain *c)
{
    c->refs++;
    return c;
}

void authz_unref(struct authz_chain *c)
{
    if (!c || --c->refs)
        return;
    for (size_t i = 0; i < c->n; i++)
        authz_webhook_close(c->items[i].webhook);
    abac_free(c->abac);
    arena_done(&c->arena);
    free(c);
}

bool authz_chain_has(const struct authz_chain *c, enum authz_kind kind)
{
    for (size_t i = 0; c && i < c->n; i++)
        if (c->items[i].kind == kind)
            return true;
    return false;
}
