/* SPDX-License-Identifier: Apache-2.0 */
/* What an issuer's configuration may be: the checks, and the expressions compiled. issuer_user.c is what is made of claims. */
#include "apiserver/issuer.h"

#include <limits.h>

#include "apiserver/auth.h"
#include "auth/x509.h"
#include "names.h"
#include "net/url.h"
#include "type/meta.h"

/* ---- expressions ---------------------------------------------------------------------------------------- */

void issuer_env_init(struct issuer_env *env)
{
    env->claims = cel_env_new(CEL_LIB_KUBERNETES, UINT_MAX);
    env->user = cel_env_new(CEL_LIB_KUBERNETES, UINT_MAX);
    cel_env_var(env->claims, "claims", &cel_map_escaped);
    struct arena *a = cel_env_arena(env->user);
    const struct cel_type *texts = cel_list_of(a, &cel_string);
    struct cel_type *extra = ARENA_NEW(a, struct cel_type);
    *extra = *cel_map_of(a, &cel_string, texts);
    extra->flags |= CEL_ESCAPED;
    cel_env_var(env->user, "user", CEL_OBJECT_TYPE(a, "kubernetes.UserInfo", {"username", &cel_string}, {"uid", &cel_string},
                                                   {"groups", texts}, {"extra", extra}));
}

void issuer_env_done(struct issuer_env *env)
{
    cel_env_unref(env->claims);
    cel_env_unref(env->user);
}

struct compiler {
    struct arena *arena;
    const struct issuer_env *env;
    struct status *st;
};

/* A path below another: its format must be a literal that begins behind STR_FMT. */
#define PATH(c, base, below) arena_printf((c)->arena, STR_FMT below, STR_ARG(base))
#define ITEM(c, base, below, i) arena_printf((c)->arena, STR_FMT below, STR_ARG(base), (i))

static void compile(struct compiler *c, struct cel_env *env, const struct val *source, bool condition, struct str path, struct issuer_rule *ret)
{
    struct cel_issues issues = {.n = 0};
    struct cel_program *p = NULL;
    ret->source = val_str(source);
    if (cel_compile(env, val_str(source), c->arena, &p, &issues) < 0) {
        cause_invalid(c->st, path, source, arena_printf(c->arena, "compilation failed: " STR_FMT, STR_ARG(issues.text)).p);
        return;
    }
    ret->program = p;
    if (condition && cel_program_type(p)->kind != CEL_BOOL)
        cause_invalid(c->st, path, source, "must evaluate to bool");
}

/* ---- the issuer ----------------------------------------------------------------------------------------- */

static void check_url(struct compiler *c, const struct val *v, struct str path)
{
    struct url u;
    struct str text = val_str(v);
    if (url_parse(text, &u) < 0 || !u.host.n) {
        cause_invalid(c->st, path, v, "URL scheme must be https");
        return;
    }
    if (!str_is(u.scheme, "https"))
        cause_invalid(c->st, path, v, "URL scheme must be https");
    if (u.userinfo.n || str_find(str_slice(text, 0, (size_t)(u.path.p ? u.path.p - text.p : (ssize_t)text.n)), '@') >= 0)
        cause_invalid(c->st, path, v, "URL must not contain a username or password");
    if (u.query.n)
        cause_invalid(c->st, path, v, "URL must not contain a query");
    if (u.fragment.n)
        cause_invalid(c->st, path, v, "URL must not contain a fragment");
}

static struct str without_slashes(struct str s)
{
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

static void check_urls(struct compiler *c, const struct val *issuer, struct str path, const char *const *own)
{
    const struct val *url = val_get(issuer, N_url), *discovery = val_get(issuer, N_discoveryURL);
    struct str at = PATH(c, path, ".url");
    if (!val_str(url).n) {
        cause_required(c->st, at, "");
    } else {
        for (size_t i = 0; own && own[i]; i++)
            if (str_is(val_str(url), own[i]))
                cause_invalid(c->st, at, url, arena_printf(c->arena, "URL must not overlap with disallowed issuers: [%s]", own[i]).p);
        check_url(c, url, at);
    }
    at = PATH(c, path, ".discoveryURL");
    if (!val_str(discovery).n)
        return;
    if (str_eq(without_slashes(val_str(url)), without_slashes(val_str(discovery))))
        cause_invalid(c->st, at, discovery, "discoveryURL must be different from URL");
    check_url(c, discovery, at);
}

static bool before(const struct val *list, const struct val *item, name_id name)
{
    VAL_EACH (list, v) {
        if (v == item)
            return false;
        if (str_eq(name ? val_getstr(v, name) : val_str(v), name ? val_getstr(item, name) : val_str(item)))
            return true;
    }
    return false;
}

static void check_audiences(struct compiler *c, const struct val *issuer, struct str path)
{
    const struct val *list = val_get(issuer, N_audiences), *policy = val_get(issuer, N_audienceMatchPolicy);
    struct str at = PATH(c, path, ".audiences");
    size_t n = val_len(list);
    if (!n)
        cause_required(c->st, at, arena_printf(c->arena, "at least one " STR_FMT " is required", STR_ARG(at)).p);
    for (size_t i = 0; i < n; i++) {
        const struct val *one = val_item(list, i);
        if (!val_str(one).n)
            cause_required(c->st, ITEM(c, at, "[%zu]", i), "");
        else if (before(list, one, 0))
            cause_duplicate(c->st, ITEM(c, at, "[%zu]", i), one);
    }
    if (n > 1 && !str_is(val_str(policy), "MatchAny"))
        cause_invalid(c->st, PATH(c, path, ".audienceMatchPolicy"), policy, "audienceMatchPolicy must be MatchAny for multiple audiences");
    if (n == 1 && val_str(policy).n && !str_is(val_str(policy), "MatchAny"))
        cause_invalid(c->st, PATH(c, path, ".audienceMatchPolicy"), policy, "audienceMatchPolicy must be empty or MatchAny for single audience");
}

static void check_issuer(struct compiler *c, const struct val *issuer, struct str path, const char *const *own)
{
    static const struct val omitted = {.kind = VAL_STR, .n = 9, .s = "<omitted>"};
    struct x509_pool *pool = NULL;
    struct err e = {0};
    struct str ca = val_getstr(issuer, N_certificateAuthority);
    const struct val *egress = val_get(issuer, N_egressSelectorType);
    check_urls(c, issuer, path, own);
    check_audiences(c, issuer, path);
    if (ca.n && x509_pool_parse(ca, &pool, &e) < 0)
        cause_invalid(c->st, PATH(c, path, ".certificateAuthority"), &omitted, err_text(&e, -EINVAL));
    x509_pool_unref(pool);
    if (val_str(egress).n)
        cause_invalid(c->st, PATH(c, path, ".egressSelectorType"), egress, "there are no egress selectors here: issuers are reached directly");
}

/* ---- claims --------------------------------------------------------------------------------------------- */

static void check_claim_rule(struct compiler *c, const struct val *list, const struct val *rule, struct str path, struct issuer_rules *ret)
{
    const struct val *claim = val_get(rule, N_claim), *expression = val_get(rule, N_expression), *message = val_get(rule, N_message);
    const struct val *value = val_get(rule, N_requiredValue);
    bool by_name = val_str(claim).n > 0, by_expression = val_str(expression).n > 0;
    if (by_name && by_expression) {
        cause_invalid(c->st, path, claim, "claim and expression can't both be set");
    } else if (!by_name && !by_expression) {
        cause_required(c->st, path, "claim or expression is required");
    } else if (by_name) {
        if (val_str(message).n)
            cause_invalid(c->st, PATH(c, path, ".message"), message, "may not be specified when claim is set");
        if (before(list, rule, N_claim))
            cause_duplicate(c->st, PATH(c, path, ".claim"), claim);
    } else {
        if (val_str(value).n)
            cause_invalid(c->st, PATH(c, path, ".requiredValue"), value, "may not be specified when expression is set");
        if (before(list, rule, N_expression)) {
            cause_duplicate(c->st, PATH(c, path, ".expression"), expression);
            return;
        }
        struct issuer_rule *r = &ret->items[ret->n++];
        compile(c, c->env->claims, expression, true, PATH(c, path, ".expression"), r);
        r->message = val_str(message);
    }
}

static void check_claim_rules(struct compiler *c, const struct val *list, struct str path, struct issuer_rules *ret)
{
    size_t i = 0;
    ret->items = ARENA_ARRAY(c->arena, struct issuer_rule, val_len(list));
    VAL_EACH (list, rule)
        check_claim_rule(c, list, rule, ITEM(c, path, "[%zu]", i++), ret);
}

static void check_mapping(struct compiler *c, const struct val *m, bool required, struct str path, struct issuer_rule *ret)
{
    static const struct val none = {.kind = VAL_STR, .s = ""};
    const struct val *claim = val_get(m, N_claim), *expression = val_get(m, N_expression), *prefix = val_get(m, N_prefix);
    if (val_str(claim).n && val_str(expression).n) {
        cause_invalid(c->st, path, &none, "claim and expression can't both be set");
    } else if (val_str(expression).n) {
        if (prefix)
            cause_invalid(c->st, PATH(c, path, ".prefix"), prefix, "may not be specified when expression is set");
        compile(c, c->env->claims, expression, false, PATH(c, path, ".expression"), ret);
    } else if (val_str(claim).n) {
        if (!prefix)
            cause_required(c->st, PATH(c, path, ".prefix"),
                           "prefix is required when claim is set. It can be set to an empty string to disable prefixing");
    } else if (required) {
        cause_required(c->st, path, "claim or expression is required");
    }
}

/* "example.com/path", lower case, and of nobody's who made Kubernetes. */
static void check_extra_key(struct compiler *c, const struct val *list, const struct val *m, struct str path)
{
    const struct val *key = val_get(m, N_key);
    struct str s = val_str(key), domain, rest;
    const char *fault = extra_key_fault(s);
    if (!s.n)
        cause_required(c->st, path, "");
    else if (fault)
        cause_invalid(c->st, path, key, fault);
    if (str_cut(s, '/', &domain, &rest) && (str_is(domain, "kubernetes.io") || str_ends(domain, STR(".kubernetes.io")) ||
                                            str_is(domain, "k8s.io") || str_ends(domain, STR(".k8s.io"))))
        cause_invalid(c->st, path, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
    if (before(list, m, N_key))
        cause_duplicate(c->st, path, key);
}

static void check_extras(struct compiler *c, const struct val *list, struct str path, struct issuer_rules *ret)
{
    size_t i = 0;
    ret->items = ARENA_ARRAY(c->arena, struct issuer_rule, val_len(list));
    VAL_EACH (list, m) {
        struct str at = ITEM(c, path, "[%zu]", i++);
        const struct val *x = val_get(m, N_valueExpression);
        check_extra_key(c, list, m, PATH(c, at, ".key"));
        if (!val_str(x).n) {
            cause_required(c->st, PATH(c, at, ".valueExpression"), "");
            continue;
        }
        struct issuer_rule *r = &ret->items[ret->n++];
        compile(c, c->env->claims, x, false, PATH(c, at, ".valueExpression"), r);
        r->key = val_getstr(m, N_key);
    }
}

static bool selects(const struct issuer_rule *r, size_t n, const char *claim)
{
    for (size_t i = 0; i < n; i++)
        if (r[i].program && cel_program_selects(r[i].program, "claims", claim))
            return true;
    return false;
}

/* Whoever is named by an address has to have shown that it is theirs. Groups and uid do not decide who somebody is. */
static void check_email(struct compiler *c, const struct issuer *i, const struct val *username, struct str path)
{
    if (!selects(&i->username, 1, "email") || selects(&i->username, 1, "email_verified") ||
        selects(i->claims.items, i->claims.n, "email_verified") || selects(i->extra.items, i->extra.n, "email_verified"))
        return;
    cause_invalid(c->st, path, username,
                  "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or "
                  "claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression");
}

static void check_mappings(struct compiler *c, const struct val *m, struct str path, struct issuer *ret)
{
    static const struct val none = {.kind = VAL_STR, .s = ""};
    const struct val *uid = val_get(m, N_uid);
    check_mapping(c, val_get(m, N_username), true, PATH(c, path, ".username"), &ret->username);
    check_mapping(c, val_get(m, N_groups), false, PATH(c, path, ".groups"), &ret->groups);
    if (val_getstr(uid, N_claim).n && val_getstr(uid, N_expression).n)
        cause_invalid(c->st, PATH(c, path, ".uid"), &none, "claim and expression can't both be set");
    else if (val_getstr(uid, N_expression).n)
        compile(c, c->env->claims, val_get(uid, N_expression), false, PATH(c, path, ".uid.expression"), &ret->uid);
    check_extras(c, val_get(m, N_extra), PATH(c, path, ".extra"), &ret->extra);
    check_email(c, ret, val_at(m, N_username, N_expression), PATH(c, path, ".username.expression"));
}

static void check_user_rules(struct compiler *c, const struct val *list, struct str path, struct issuer_rules *ret)
{
    size_t i = 0;
    ret->items = ARENA_ARRAY(c->arena, struct issuer_rule, val_len(list));
    VAL_EACH (list, rule) {
        struct str at = ITEM(c, path, "[%zu].expression", i++);
        const struct val *x = val_get(rule, N_expression);
        if (!val_str(x).n) {
            cause_required(c->st, at, "");
        } else if (before(list, rule, N_expression)) {
            cause_duplicate(c->st, at, x);
        } else {
            struct issuer_rule *r = &ret->items[ret->n++];
            compile(c, c->env->user, x, true, at, r);
            r->message = val_getstr(rule, N_message);
        }
    }
}

void issuer_compile(struct arena *a, const struct issuer_env *env, const struct val *v, struct str path, const char *const *own,
                    struct status *st, struct issuer *ret)
{
    struct compiler c = {.arena = a, .env = env, .st = st};
    *ret = (struct issuer){.v = v, .url = val_str(val_at(v, N_issuer, N_url))};
    check_issuer(&c, val_get(v, N_issuer), PATH(&c, path, ".issuer"), own);
    check_claim_rules(&c, val_get(v, N_claimValidationRules), PATH(&c, path, ".claimValidationRules"), &ret->claims);
    check_mappings(&c, val_get(v, N_claimMappings), PATH(&c, path, ".claimMappings"), ret);
    check_user_rules(&c, val_get(v, N_userValidationRules), PATH(&c, path, ".userValidationRules"), &ret->users);
}

static void rules_done(struct issuer_rules *r)
{
    for (size_t i = 0; i < r->n; i++)
        cel_program_unref(r->items[i].program);
}

void issuer_done(struct issuer *i)
{
    struct issuer_rule *single[] = {&i->username, &i->groups, &i->uid};
    for (size_t k = 0; k < ARRAY_SIZE(single); k++)
        cel_program_unref(single[k]->program);
    rules_done(&i->extra);
    rules_done(&i->claims);
    rules_done(&i->users);
}
