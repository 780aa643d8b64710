/* SPDX-License-Identifier: Apache-2.0 */
/* From verified claims to a user, as the issuer's configuration says. */
#include "apiserver/auth.h"
#include "apiserver/issuer.h"
#include "auth/jwt.h"
#include "names.h"

struct str issuer_of_token(struct arena *a, struct str token)
{
    const struct val *claims;
    if (jwt_parse(a, token, NULL, &claims, NULL) < 0)
        return STR_NULL;
    struct str iss = val_str(val_key(claims, STR("iss")));
    return str_is(iss, "accounts.google.com") ? STR("https://accounts.google.com") : iss;
}

int issuer_check_audience(const struct issuer *i, const struct val *claims, struct err *e)
{
    VAL_EACH (val_at(i->v, N_issuer, N_audiences), v)
        if (jwt_has_audience(claims, val_str(v)))
            return 0;
    return err_set(e, -EACCES, "oidc: verify token: the token is for none of the issuer's audiences");
}

/* ---- expressions ---------------------------------------------------------------------------------------- */

struct mapper {
    struct arena *arena;
    const struct val *claims, *numbers; /* as sent; numbers: with every number a double, as expressions see them */
    const struct val *user;
};

static struct val doubles(struct arena *a, const struct val *v)
{
    struct val r = *v;
    if (v->kind == VAL_INT)
        return val_of_float((double)v->i);
    if (v->kind != VAL_LIST && v->kind != VAL_MAP)
        return r;
    size_t n = v->kind == VAL_MAP ? 2 * (size_t)v->n : v->n;
    r.items = ARENA_ARRAY(a, struct val, n);
    for (size_t i = 0; i < n; i++)
        r.items[i] = doubles(a, &v->items[i]);
    return r;
}

static struct cel_val see_claims(void *user, unsigned variable, struct arena *a)
{
    struct mapper *m = user;
    if (!m->numbers) {
        struct val *v = ARENA_NEW(a, struct val);
        *v = doubles(a, m->claims);
        m->numbers = v;
    }
    return cel_view(a, m->numbers, &cel_map_escaped);
}

static struct cel_val see_user(void *user, unsigned variable, struct arena *a)
{
    struct mapper *m = user;
    return cel_view(a, m->user, &cel_map_escaped);
}

static int evaluate(struct mapper *m, const struct issuer_rule *r, struct cel_val *ret, const char *what, struct err *e)
{
    struct cel_eval ev = {.variable = m->user ? see_user : see_claims, .user = m, .arena = m->arena, .limit = CEL_COST_PER_CALL};
    struct err why = {0};
    int x = cel_eval(r->program, &ev, ret, &why);
    if (x == CEL_COST_EXCEEDED)
        err_set(&why, -EACCES, "operation cancelled: actual cost limit exceeded");
    return x ? err_set(e, -EACCES, "oidc: error evaluating %s expression: %s", what, why.text) : 0;
}

/* A text, or a list of texts; empty ones and null are none. */
static int texts_of(struct arena *a, struct cel_val v, struct str **ret, size_t *ret_n)
{
    struct val x = {.kind = VAL_NULL};
    size_t n = 0;
    if (cel_to_val(a, v, &x, NULL) < 0)
        return -EINVAL;
    size_t len = x.kind == VAL_LIST ? x.n : x.kind == VAL_STR ? 1 : 0;
    if (!len && x.kind != VAL_NULL && x.kind != VAL_LIST)
        return -EINVAL;
    struct str *texts = ARENA_ARRAY(a, struct str, len);
    for (size_t i = 0; i < len; i++) {
        const struct val *one = x.kind == VAL_LIST ? &x.items[i] : &x;
        if (one->kind != VAL_STR)
            return -EINVAL;
        if (one->n)
            texts[n++] = val_str(one);
    }
    *ret = texts;
    *ret_n = n;
    return 0;
}

static int map_texts(struct mapper *m, const struct issuer_rule *r, const char *what, struct str **ret, size_t *ret_n, struct err *e)
{
    struct cel_val v = {.kind = CEL_NULL};
    int x = evaluate(m, r, &v, what, e);
    if (!x && texts_of(m->arena, v, ret, ret_n) < 0)
        x = err_set(e, -EACCES, "oidc: error evaluating %s expression: expression must return a string or a list of strings", what);
    return x;
}

static int map_text(struct mapper *m, const struct issuer_rule *r, const char *what, struct str *ret, struct err *e)
{
    struct cel_val v = {.kind = CEL_NULL};
    int x = evaluate(m, r, &v, what, e);
    if (!x && v.kind != CEL_STRING)
        x = err_set(e, -EACCES, "oidc: error evaluating %s expression: %s expression must return a string", what, what);
    if (!x)
        *ret = arena_str(m->arena, cel_str(v));
    return x;
}

/* ---- the parts of a user -------------------------------------------------------------------------------- */

static int text_claim(const struct mapper *m, struct str name, const char *what, struct str *ret, struct err *e)
{
    const struct val *v = val_key(m->claims, name);
    if (!v)
        return err_set(e, -EACCES, "oidc: parse %s \"" STR_FMT "\": claim not present", what, STR_ARG(name));
    if (v->kind != VAL_STR)
        return err_set(e, -EACCES, "oidc: parse %s \"" STR_FMT "\": the claim is no string", what, STR_ARG(name));
    *ret = val_str(v);
    return 0;
}

/* Where it is said whether the address was verified, it has to be. */
static int check_verified(const struct mapper *m, struct err *e)
{
    const struct val *v = val_key(m->claims, STR("email_verified"));
    if (!v)
        return 0;
    if (v->kind != VAL_BOOL)
        return err_set(e, -EACCES, "oidc: parse 'email_verified' claim: it is no boolean");
    return v->b ? 0 : err_set(e, -EACCES, "oidc: email not verified");
}

static int take_name(struct mapper *m, const struct issuer *i, struct user *u, struct err *e)
{
    const struct val *by = val_at(i->v, N_claimMappings, N_username);
    struct str claim = val_getstr(by, N_claim), name = STR("");
    int r = i->username.program ? map_text(m, &i->username, "username claim", &name, e) : text_claim(m, claim, "username claims", &name, e);
    if (!r && !i->username.program && str_is(claim, "email"))
        r = check_verified(m, e);
    if (!r && !name.n)
        r = err_set(e, -EACCES, "oidc: empty username is not allowed");
    if (!r)
        u->name = arena_printf(m->arena, STR_FMT STR_FMT, STR_ARG(val_getstr(by, N_prefix)), STR_ARG(name));
    return r;
}

static int take_groups(struct mapper *m, const struct issuer *i, struct user *u, struct err *e)
{
    const struct val *by = val_at(i->v, N_claimMappings, N_groups), *v = val_key(m->claims, val_getstr(by, N_claim));
    struct str *texts = NULL, prefix = val_getstr(by, N_prefix);
    size_t n = 0;
    if (i->groups.program) {
        int r = map_texts(m, &i->groups, "group claim", &texts, &n, e);
        for (size_t k = 0; k < n && !r; k++)
            user_add_group(m->arena, u, arena_str(m->arena, texts[k]));
        return r;
    }
    if (!val_getstr(by, N_claim).n || !v)
        return 0;
    size_t len = v->kind == VAL_LIST ? v->n : 1;
    for (size_t k = 0; k < len; k++) {
        const struct val *one = v->kind == VAL_LIST ? &v->items[k] : v;
        if (one->kind != VAL_STR)
            return err_set(e, -EACCES, "oidc: parse groups claim \"" STR_FMT "\": it is neither a string nor a list of strings",
                           STR_ARG(val_getstr(by, N_claim)));
        user_add_group(m->arena, u, arena_printf(m->arena, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(val_str(one))));
    }
    return 0;
}

static int take_uid(struct mapper *m, const struct issuer *i, struct user *u, struct err *e)
{
    struct str claim = val_str(val_at(i->v, N_claimMappings, N_uid, N_claim));
    if (i->uid.program)
        return map_text(m, &i->uid, "uid claim", &u->uid, e);
    return claim.n ? text_claim(m, claim, "uid claim", &u->uid, e) : 0;
}

static int take_extra(struct mapper *m, const struct issuer *i, struct user *u, struct err *e)
{
    struct str jti = val_str(val_key(m->claims, STR("jti")));
    if (jti.n)
        user_add_extra(m->arena, u, STR("authentication.kubernetes.io/credential-id"), arena_printf(m->arena, "JTI=" STR_FMT, STR_ARG(jti)));
    for (size_t k = 0; k < i->extra.n; k++) {
        struct str *texts = NULL;
        size_t n = 0;
        int r = map_texts(m, &i->extra.items[k], "extra claim", &texts, &n, e);
        if (r)
            return r;
        for (size_t j = 0; j < n; j++)
            user_add_extra(m->arena, u, i->extra.items[k].key, arena_str(m->arena, texts[j]));
    }
    return 0;
}

/* ---- rules ---------------------------------------------------------------------------------------------- */

static int check_required(const struct mapper *m, const struct issuer *i, struct err *e)
{
    VAL_EACH (val_get(i->v, N_claimValidationRules), rule) {
        struct str name = val_getstr(rule, N_claim), want = val_getstr(rule, N_requiredValue);
        const struct val *v = val_key(m->claims, name);
        if (!name.n)
            continue;
        if (!v)
            return err_set(e, -EACCES, "oidc: required claim " STR_FMT " not present in ID token", STR_ARG(name));
        if (v->kind != VAL_STR || !str_eq(val_str(v), want))
            return err_set(e, -EACCES, "oidc: required claim " STR_FMT " value does not match. Got = " STR_FMT ", want = " STR_FMT,
                           STR_ARG(name), STR_ARG(val_str(v)), STR_ARG(want));
    }
    return 0;
}

static int check_rules(struct mapper *m, const struct issuer_rules *rules, const char *what, struct err *e)
{
    for (size_t k = 0; k < rules->n; k++) {
        struct cel_val v = {.kind = CEL_NULL};
        int r = evaluate(m, &rules->items[k], &v, what, e);
        if (r)
            return r;
        if (v.kind != CEL_BOOL || !v.b)
            return err_set(e, -EACCES, "oidc: error evaluating %s expression: validation expression '" STR_FMT "' failed: " STR_FMT, what,
                           STR_ARG(rules->items[k].source), STR_ARG(rules->items[k].message));
    }
    return 0;
}

/* What expressions see of a user: every field, empty or not. */
static const struct val *user_value(struct arena *a, const struct user *u)
{
    struct val *v = val_new(a, VAL_MAP), *groups = val_new(a, VAL_LIST), *extra = val_new(a, VAL_MAP);
    for (size_t i = 0; i < u->n_groups; i++)
        val_add_str(a, groups, u->groups[i]);
    for (size_t i = 0; i < u->n_extra; i++) {
        struct val *list = val_put(a, extra, u->extra[i].key, *val_new(a, VAL_LIST));
        for (size_t j = 0; j < u->extra[i].n; j++)
            val_add_str(a, list, u->extra[i].values[j]);
    }
    val_put_str(a, v, STR("username"), u->name);
    val_put_str(a, v, STR("uid"), u->uid);
    val_put(a, v, STR("groups"), *groups);
    val_put(a, v, STR("extra"), *extra);
    return v;
}

/* Groups that others publish elsewhere (OpenID Connect Core 1.0, section 5.6.2) would be missing without a word. */
static int check_distributed(const struct mapper *m, const struct issuer *i, struct err *e)
{
    struct str groups = val_str(val_at(i->v, N_claimMappings, N_groups, N_claim));
    if (!groups.n || val_key(m->claims, groups) || !val_key(val_key(m->claims, STR("_claim_names")), groups))
        return 0;
    return err_set(e, -EACCES, "oidc: could not expand distributed claims: they are not supported");
}

int issuer_user(const struct issuer *i, struct arena *a, const struct val *claims, struct user *ret, struct err *e)
{
    struct mapper m = {.arena = a, .claims = claims};
    struct user u = {.name = STR_NULL};
    int r = check_distributed(&m, i, e);
    if (!r)
        r = take_name(&m, i, &u, e);
    if (!r)
        r = take_groups(&m, i, &u, e);
    if (!r)
        r = take_uid(&m, i, &u, e);
    if (!r)
        r = take_extra(&m, i, &u, e);
    if (!r)
        r = check_required(&m, i, e);
    if (!r)
        r = check_rules(&m, &i->claims, "claim validation", e);
    if (!r && i->users.n) {
        m.user = user_value(a, &u);
        r = check_rules(&m, &i->users, "user info validation", e);
    }
    if (!r)
        *ret = u;
    return r;
}
