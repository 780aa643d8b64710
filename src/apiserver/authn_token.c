/* SPDX-License-Identifier: Apache-2.0 */
/* Bearer tokens: everybody who knows some is asked in turn. Tokens of service accounts are token.c's. */
#include "apiserver/auth.h"
#include "apiserver/auth_state.h"
#include "apiserver/issuer_keys.h"
#include "auth/crypto.h"
#include "base/log.h"
#include "base/os.h"
#include "names.h"
#include "types.h"
#include "wire/json.h"

#define EARLY SECONDS(300) /* how much too early a token of another issuer may be used */
#define HOOK_TIMEOUT SECONDS(30)

void server_audiences(struct request *r, struct token_question *q)
{
    char **own = r->server->sa_audiences.items;
    size_t n = 0;
    while (own && own[n])
        n++;
    struct str *all = ARENA_ARRAY(r->arena, struct str, n);
    for (size_t i = 0; i < n; i++)
        all[i] = str_of(own[i]);
    q->audiences = all;
    q->n = n;
}

static bool has(const struct str *list, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], s))
            return true;
    return false;
}

int token_for_server(struct request *r, const struct token_question *q, struct token_answer *ret, struct err *e)
{
    struct token_question own = {.n = 0};
    server_audiences(r, &own);
    ret->audiences = ARENA_ARRAY(r->arena, struct str, q->n);
    ret->n = 0;
    for (size_t i = 0; i < q->n; i++)
        if (has(own.audiences, own.n, q->audiences[i]))
            ret->audiences[ret->n++] = q->audiences[i];
    return ret->n ? 0 : err_set(e, -EACCES, "the token is not for this audience");
}

/* ---- other issuers -------------------------------------------------------------------------------------- */

static int by_issuer(struct request *r, const struct issuer *i, struct str token, struct user *ret, struct err *e)
{
    const struct val *claims = NULL;
    int x = issuer_keys_verify(i->keys, r->arena, token, &claims, e);
    if (x < 0)
        return x == -ECANCELED ? x : -EACCES;
    if (jwt_check_issued(claims, r->now, EARLY, e) || issuer_check_audience(i, claims, e))
        return -EACCES;
    return issuer_user(i, r->arena, claims, ret, e);
}

int issued_token_authenticate(struct request *r, const struct token_question *q, struct token_answer *ret, struct err *e)
{
    struct authn_config *c = r->server->auth->authn;
    int x = -EACCES;
    if (!c->n || str_find(q->token, '.') < 0 || token_for_server(r, q, ret, e))
        return err_set(e, -EACCES, "no token of an issuer");
    struct str from = issuer_of_token(r->arena, q->token);
    authn_config_ref(c);
    for (size_t i = 0; i < c->n && from.n; i++)
        if (str_eq(c->issuers[i].url, from)) {
            x = by_issuer(r, &c->issuers[i], q->token, &ret->user, e);
            break;
        }
    authn_config_unref(c);
    if (x < 0 && !e->text[0])
        err_set(e, x, "the token is from an issuer that is not known here");
    return x;
}

/* ---- the webhook ---------------------------------------------------------------------------------------- */

static struct str answer_key(struct arena *a, const struct token_question *q)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    char hex[65];
    buf_putstr(&b, q->token);
    for (size_t i = 0; i < q->n; i++) {
        buf_putc(&b, 0);
        buf_putstr(&b, q->audiences[i]);
    }
    struct str key = arena_str(a, str_of(sha256_hex(buf_str(&b), hex)));
    secret_wipe(b.p, b.n);
    return key;
}

static struct val *review_of(struct arena *a, const struct review_flags *f, const struct token_question *q)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_kind, STR("TokenReview"));
    val_set_str(a, v, N_apiVersion, arena_printf(a, "authentication.k8s.io/%s", f->version ? f->version : "v1beta1"));
    struct val *spec = val_sub_obj(a, v, N_spec);
    val_set_str(a, spec, N_token, q->token);
    for (size_t i = 0; i < q->n; i++)
        val_add_str(a, val_sub_list(a, spec, N_audiences), q->audiences[i]);
    return v;
}

/* A webhook that does not speak of audiences means the server's own. */
static int take_status(struct request *r, const struct token_question *q, const struct val *status, struct token_answer *ret, struct err *e)
{
    const struct val *list = val_get(status, N_audiences);
    struct str why = val_getstr(status, N_error);
    if (!val_bool(val_get(status, N_authenticated), false))
        return err_set(e, -EACCES, STR_FMT, STR_ARG(why.n ? why : STR("the webhook does not know the token")));
    if (!val_len(list)) {
        ret->user = user_from_val(r->arena, val_get(status, N_user));
        return token_for_server(r, q, ret, e);
    }
    ret->audiences = ARENA_ARRAY(r->arena, struct str, q->n);
    VAL_EACH (list, v)
        if (has(q->audiences, q->n, val_str(v)) && !has(ret->audiences, ret->n, val_str(v)))
            ret->audiences[ret->n++] = arena_str(r->arena, val_str(v));
    ret->user = user_from_val(r->arena, val_get(status, N_user));
    return ret->n ? 0 : err_set(e, -EACCES, "the token is not for this audience");
}

int webhook_token_authenticate(struct request *r, const struct token_question *q, struct token_answer *ret, struct err *e)
{
    const struct review_flags *f = &r->server->config.token_webhook;
    struct auth_state *s = r->server->auth;
    if (!s->token_hook)
        return err_set(e, -EACCES, "there is no webhook");
    struct str key = answer_key(r->arena, q), text = answers_get(&s->token_answers, key, os_mono());
    struct val *v = NULL;
    const struct type *t = &types[T_authentication_v1_TokenReview];
    if (!text.n) {
        int x = review_hook_ask(s->token_hook, r->arena, t, review_of(r->arena, f, q), STR_NULL, HOOK_TIMEOUT, &v, e);
        if (x < 0) {
            log_warn("apiserver", "asking the webhook about a token: %s", err_text(e, x));
            return x == -ECANCELED ? x : -EACCES;
        }
        CLEANUP_BUF struct buf b = BUF_INIT;
        val_set_ref(r->arena, v, N_spec, NULL); /* without the token */
        json_encode(&b, t, v, 0);
        if (f->yes_ttl_ns >= 0)
            answers_put(&s->token_answers, key, buf_str(&b), mono_add(os_mono(), f->yes_ttl_ns ? f->yes_ttl_ns : SECONDS(120)));
    } else if (json_decode(r->arena, t, arena_str(r->arena, text), 0, NULL, &v, e) < 0) {
        return -EACCES;
    }
    return take_status(r, q, val_get(v, N_status), ret, e);
}

/* ---- all of them ---------------------------------------------------------------------------------------- */

/* Those that know by themselves go before those that have to ask others. */
static token_authenticator *const authenticators[] = {
    static_token_authenticate, account_token_authenticate, bootstrap_token_authenticate, issued_token_authenticate, webhook_token_authenticate,
};

int token_authenticate(struct request *r, const struct token_question *q, struct token_answer *ret, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(authenticators); i++) {
        struct token_answer a = {.n = 0};
        struct err why = {0};
        int x = authenticators[i](r, q, &a, &why);
        if (x == 0 && !a.user.name.n)
            x = err_set(&why, -EACCES, "the token's user has no name");
        if (x == 0) {
            *ret = a;
            return 0;
        }
        if (x != -EACCES)
            return x;
        *e = why;
    }
    return -EACCES;
}
