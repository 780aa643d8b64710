/* SPDX-License-Identifier: Apache-2.0 */
/* Service account tokens (KEP-1205: bound to an audience, a time, and an object that must still be there),
 * and bootstrap tokens. */
#include "apiserver/auth.h"
#include "apiserver/auth_state.h"
#include "auth/crypto.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#define LEEWAY SECONDS(60)
#define SA_PREFIX "system:serviceaccount:"

bool is_service_account(struct str user, struct str *ret_ns, struct str *ret_name)
{
    struct str ns, name;
    if (!str_starts(user, STR(SA_PREFIX)) || !str_cut(str_from(user, sizeof(SA_PREFIX) - 1), ':', &ns, &name))
        return false;
    if (check_dns_label(ns) || check_dns_subdomain(name))
        return false;
    *ret_ns = ns;
    *ret_name = name;
    return true;
}

static const struct val *claim(const struct val *v, const char *name)
{
    return val_key(v, str_of(name));
}

static struct str text_claim(const struct val *v, const char *name)
{
    return val_str(claim(v, name));
}

static const struct object *look_up(struct request *r, uint16_t res, struct str ns, struct str name)
{
    return cache_get(state_kind(r->server, res), ns, name);
}

static int check_audience(struct request *r, const struct val *claims, const struct token_question *q, struct token_answer *ret, struct err *e)
{
    ret->audiences = ARENA_ARRAY(r->arena, struct str, q->n);
    for (size_t i = 0; i < q->n; i++)
        if (jwt_has_audience(claims, q->audiences[i]))
            ret->audiences[ret->n++] = q->audiences[i];
    return ret->n ? 0 : err_set(e, -EACCES, "the token is not for this audience");
}

/* The object a token is bound to must be there, the same, and not long gone. */
static int check_bound(struct request *r, const struct val *ref, uint16_t res, struct str ns, struct err *e)
{
    if (!ref)
        return 0;
    const struct object *o = look_up(r, res, ns, text_claim(ref, "name"));
    if (!o || !str_eq(o->uid, text_claim(ref, "uid")))
        return err_set(e, -EACCES, "the %s the token is bound to is gone", resources[res].singular);
    const struct val *deleted = val_get(o->meta, N_deletionTimestamp);
    if (deleted && res != RES_NODES && val_time(deleted).ns + LEEWAY < r->now.ns)
        return err_set(e, -EACCES, "the %s the token is bound to is being deleted", resources[res].singular);
    return 0;
}

static void add_bound_extra(struct request *r, struct user *u, const struct val *ref, const char *what)
{
    if (!ref)
        return;
    user_add_extra(r->arena, u, arena_printf(r->arena, "authentication.kubernetes.io/%s-name", what),
                   text_claim(ref, "name"));
    user_add_extra(r->arena, u, arena_printf(r->arena, "authentication.kubernetes.io/%s-uid", what),
                   text_claim(ref, "uid"));
}

static void service_account_user(struct request *r, struct str ns, struct str name, struct str uid,
                                 struct user *ret)
{
    *ret = (struct user){.name = arena_printf(r->arena, SA_PREFIX "%.*s:%.*s", STR_ARG(ns), STR_ARG(name)),
                         .uid = uid};
    user_add_group(r->arena, ret, STR("system:serviceaccounts"));
    user_add_group(r->arena, ret, arena_printf(r->arena, "system:serviceaccounts:%.*s", STR_ARG(ns)));
    user_add_group(r->arena, ret, STR("system:authenticated"));
}

static int bound_user(struct request *r, const struct val *claims, struct user *ret, struct err *e)
{
    const struct val *k = claim(claims, "kubernetes.io");
    const struct val *sa = claim(k, "serviceaccount"), *pod = claim(k, "pod"), *node = claim(k, "node");
    struct str ns = text_claim(k, "namespace");
    if (!k || !sa || !ns.n)
        return err_set(e, -EACCES, "the token has no service account");
    int b = check_bound(r, sa, RES_SERVICEACCOUNTS, ns, e);
    if (!b)
        b = check_bound(r, claim(k, "secret"), RES_SECRETS, ns, e);
    if (!b)
        b = check_bound(r, pod, RES_PODS, ns, e);
    if (!b && !pod)
        b = check_bound(r, node, RES_NODES, STR(""), e);
    if (b)
        return b;
    service_account_user(r, ns, text_claim(sa, "name"), text_claim(sa, "uid"), ret);
    if (text_claim(claims, "jti").n)
        user_add_extra(r->arena, ret, STR("authentication.kubernetes.io/credential-id"),
                       arena_printf(r->arena, "JTI=%.*s", STR_ARG(text_claim(claims, "jti"))));
    add_bound_extra(r, ret, node, "node");
    add_bound_extra(r, ret, pod, "pod");
    return 0;
}

/* Tokens of Secrets of type kubernetes.io/service-account-token: valid while the Secret holds them. */
static int legacy_user(struct request *r, struct str token, const struct val *claims, struct user *ret,
                       struct err *e)
{
    struct str ns = text_claim(claims, "kubernetes.io/serviceaccount/namespace");
    struct str name = text_claim(claims, "kubernetes.io/serviceaccount/service-account.name");
    struct str uid = text_claim(claims, "kubernetes.io/serviceaccount/service-account.uid");
    const struct object *secret =
        look_up(r, RES_SECRETS, ns, text_claim(claims, "kubernetes.io/serviceaccount/secret.name"));
    const struct object *sa = look_up(r, RES_SERVICEACCOUNTS, ns, name);
    struct str kept = secret ? val_str(val_key(val_get(secret->val, N_data), STR("token"))) : STR_NULL;
    if (!secret || !secret_eq(kept, token) || !sa || !str_eq(sa->uid, uid))
        return err_set(e, -EACCES, "the token has been invalidated");
    if (obj_label(secret->val, STR("kubernetes.io/legacy-token-invalid-since")).n)
        return err_set(e, -EACCES, "the token has been marked invalid");
    service_account_user(r, ns, name, uid, ret);
    return 0;
}

static bool of_our_issuer(const struct apiserver *s, struct str issuer)
{
    for (char **i = s->sa_issuers.items; i && *i; i++)
        if (str_is(issuer, *i))
            return true;
    return false;
}

/* A signature that was good is good as long as the keys are the same: verifying it costs more than all else of a request. Times,
 * audiences and what a token is bound to are looked at each time. */
static int verify(struct request *r, struct str token, const struct val **ret_claims, struct err *e)
{
    enum { KEPT_MAX = 16384 };
    struct map *m = &r->server->auth->verified;
    uint8_t hash[32];
    sha256(token, hash);
    struct str key = str_n((char *)hash, sizeof(hash));
    if (map_has(m, key))
        return jwt_parse(r->arena, token, NULL, ret_claims, e);
    int x = jwt_verify(r->arena, &r->server->sa_keys, token, ret_claims, e);
    if (x)
        return x;
    if (m->n >= KEPT_MAX)
        map_done(m);
    map_put(m, key, m);
    return 0;
}

int account_token_authenticate(struct request *r, const struct token_question *q, struct token_answer *ret, struct err *e)
{
    struct apiserver *s = r->server;
    const struct val *claims = NULL;
    if (!s->sa_keys.n)
        return err_set(e, -EACCES, "no keys to verify service account tokens with");
    if (str_find(q->token, '.') < 0 || verify(r, q->token, &claims, e))
        return -EACCES;
    struct str issuer = text_claim(claims, "iss");
    bool legacy = str_is(issuer, "kubernetes/serviceaccount");
    if (!legacy && !of_our_issuer(s, issuer))
        return err_set(e, -EACCES, "the token is from another issuer");
    int x = legacy ? token_for_server(r, q, ret, e) : jwt_check_times(claims, r->now, LEEWAY, e);
    if (x == 0 && !legacy)
        x = check_audience(r, claims, q, ret, e);
    if (x)
        return -EACCES;
    if ((x = cache_fresh(s->cache)) < 0)
        return x;
    return legacy ? legacy_user(r, q->token, claims, &ret->user, e) : bound_user(r, claims, &ret->user, e);
}

/* ---- bootstrap tokens -------------------------------------------------------------------------------- */

static struct str secret_data(const struct object *o, const char *key)
{
    return val_str(val_key(val_get(o->val, N_data), str_of(key)));
}

static bool expired(struct request *r, struct str text)
{
    struct wall t;
    return text.n && (time_parse(text, &t) < 0 || t.ns < r->now.ns);
}

int bootstrap_token_authenticate(struct request *r, const struct token_question *q, struct token_answer *answer, struct err *e)
{
    struct str id, secret, token = q->token;
    struct user *ret = &answer->user;
    if (!r->server->config.bootstrap_tokens || token_for_server(r, q, answer, e))
        return -EACCES;
    if (token.n != 23 || !str_cut(token, '.', &id, &secret) || id.n != 6)
        return err_set(e, -EACCES, "no bootstrap token");
    const struct object *o = look_up(r, RES_SECRETS, STR("kube-system"),
                                     arena_printf(r->arena, "bootstrap-token-%.*s", STR_ARG(id)));
    if (!o || obj_deleting(o->val) || !str_is(val_getstr(o->val, N_type), "bootstrap.kubernetes.io/token") ||
        !str_eq(secret_data(o, "token-id"), id) || !secret_eq(secret_data(o, "token-secret"), secret) ||
        expired(r, secret_data(o, "expiration")) ||
        !str_is(secret_data(o, "usage-bootstrap-authentication"), "true"))
        return err_set(e, -EACCES, "the bootstrap token is not valid");
    *ret = (struct user){.name = arena_printf(r->arena, "system:bootstrap:%.*s", STR_ARG(id))};
    user_add_group(r->arena, ret, STR("system:bootstrappers"));
    struct str groups = arena_str(r->arena, secret_data(o, "auth-extra-groups")), g;
    while (groups.n && str_next(&groups, ',', &g))
        if (str_starts(str_trim(g), STR("system:bootstrappers:")))
            user_add_group(r->arena, ret, str_trim(g));
    user_add_group(r->arena, ret, STR("system:authenticated"));
    return 0;
}
