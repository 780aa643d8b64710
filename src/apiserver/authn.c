/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asking: front proxy headers, client certificate, bearer token, or nobody. */
#include "apiserver/auth.h"
#include "apiserver/auth_state.h"
#include "base/os.h"
#include "names.h"
#include "net/url.h"
#include "auth/crypto.h"
#include "base/base64.h"
#include "type/meta.h"

void user_add_group(struct arena *a, struct user *u, struct str group)
{
    struct str *groups = ARENA_ARRAY(a, struct str, u->n_groups + 1);
    if (u->n_groups)
        memcpy(groups, u->groups, u->n_groups * sizeof(*groups));
    groups[u->n_groups++] = group;
    u->groups = groups;
}

void user_add_extra(struct arena *a, struct user *u, struct str key, struct str value)
{
    struct user_extra *extra = ARENA_ARRAY(a, struct user_extra, u->n_extra + 1);
    if (u->n_extra)
        memcpy(extra, u->extra, u->n_extra * sizeof(*extra));
    u->extra = extra;
    size_t i = 0;
    while (i < u->n_extra && !str_eq(extra[i].key, key))
        i++;
    if (i == u->n_extra)
        extra[u->n_extra++] = (struct user_extra){.key = key};
    struct str *values = ARENA_ARRAY(a, struct str, extra[i].n + 1);
    if (extra[i].n)
        memcpy(values, extra[i].values, extra[i].n * sizeof(*values));
    values[extra[i].n++] = value;
    extra[i].values = values;
}

const char *extra_key_fault(struct str key)
{
    static const char not_prefixed[] = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    static const char others[] = "/-._~%!$&'()*+,;=:";
    struct str domain, path;
    if (!str_cut(key, '/', &domain, &path) || !domain.n || !path.n)
        return not_prefixed;
    if (check_dns_subdomain(domain))
        return check_dns_subdomain(domain);
    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];
        if (c >= 'A' && c <= 'Z')
            return "must be lowercase";
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr(others, c))))
            return "Invalid path";
    }
    return NULL;
}

struct val *user_to_val(struct arena *a, const struct user *u)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_username, u->name);
    if (u->uid.n)
        val_set_str(a, v, N_uid, u->uid);
    for (size_t i = 0; i < u->n_groups; i++)
        val_add_str(a, val_sub_list(a, v, N_groups), u->groups[i]);
    for (size_t i = 0; i < u->n_extra; i++) {
        struct val *list = val_put(a, val_sub_map(a, v, N_extra), u->extra[i].key, *val_new(a, VAL_LIST));
        for (size_t j = 0; j < u->extra[i].n; j++)
            val_add_str(a, list, u->extra[i].values[j]);
    }
    return v;
}

struct user user_from_val(struct arena *a, const struct val *v)
{
    struct user u = {.name = val_getstr(v, N_username), .uid = val_getstr(v, N_uid)};
    if (!u.name.n)
        u.name = val_getstr(v, N_user);
    VAL_EACH(val_get(v, N_groups), g)
        user_add_group(a, &u, val_str(g));
    VAL_EACH_ENTRY(val_get(v, N_extra), key, list)
        VAL_EACH(list, item)
            user_add_extra(a, &u, val_str(key), val_str(item));
    return u;
}

static bool listed(const struct flag_texts *t, const char *s)
{
    for (size_t i = 0; t->items && t->items[i]; i++)
        if (strcmp(t->items[i], s) == 0)
            return true;
    return !t->items;
}

/* ---- front proxy ------------------------------------------------------------------------------------- */

static bool named(const struct flag_texts *t, struct str header)
{
    for (char **i = t->items; i && *i; i++)
        if (str_is(header, *i))
            return true;
    return false;
}

/* The first of the names that has a value. */
static struct str first_of(const struct http_headers *h, const struct flag_texts *names)
{
    for (char **i = names->items; i && *i; i++)
        if (str_trim(http_header(h, *i)).n)
            return str_trim(http_header(h, *i));
    return STR("");
}

static void take_extra(struct request *r, const struct http_header *h, struct user *u)
{
    struct str key;
    for (char **i = r->server->auth->extra_prefixes.items; i && *i; i++)
        if (str_starts(h->name, str_of(*i)) && h->name.n > strlen(*i)) {
            struct str name = str_from(h->name, strlen(*i));
            user_add_extra(r->arena, u, url_decode(r->arena, name, false, &key) == 0 ? key : name, h->value);
            return;
        }
}

static void take_remote_headers(struct request *r, struct user *u)
{
    const struct auth_state *a = r->server->auth;
    const struct http_headers *h = &r->x->headers;
    u->name = first_of(h, &a->user_headers);
    u->uid = first_of(h, &a->uid_headers);
    for (size_t i = 0; i < h->n; i++) {
        if (named(&a->group_headers, h->items[i].name))
            user_add_group(r->arena, u, h->items[i].value);
        take_extra(r, &h->items[i], u);
    }
}

static bool by_front_proxy(struct request *r, struct user *u)
{
    const struct apiserver *s = r->server;
    const struct tls_peer *p = r->x->tls;
    if (!s->front_proxy_ca || !p || !p->n_chain || !first_of(&r->x->headers, &s->auth->user_headers).n)
        return false;
    if (!listed(&s->front_proxy_names, p->cn))
        return false;
    if (x509_pool_verify(s->front_proxy_ca, p->chain, p->n_chain, X509_CLIENT_AUTH, os_wall(), NULL) < 0)
        return false;
    take_remote_headers(r, u);
    return true;
}

/* ---- certificates ------------------------------------------------------------------------------------ */

/* It was checked when the connection began; connections last. */
static bool certificate_holds(const struct request *r)
{
    return r->x->tls->verified && r->now.ns <= r->x->tls->not_after.ns;
}

static bool by_certificate(struct request *r, struct user *u)
{
    const struct tls_peer *p = r->x->tls;
    if (!p || !certificate_holds(r) || !p->cn || !*p->cn)
        return false;
    char hex[65];
    /* Copies: after an upgrade the connection, and p with it, ends before the request is audited. */
    u->name = arena_str(r->arena, str_of(p->cn));
    for (size_t i = 0; i < p->n_orgs; i++)
        user_add_group(r->arena, u, arena_str(r->arena, str_of(p->orgs[i])));
    user_add_extra(r->arena, u, STR("authentication.kubernetes.io/credential-id"),
                   arena_printf(r->arena, "X509SHA256=%s", sha256_hex(p->chain[0], hex)));
    return true;
}

/* ---- tokens ------------------------------------------------------------------------------------------ */

/* Browsers cannot set headers on a WebSocket: they send the token as a subprotocol. */
static struct str websocket_token(struct request *r)
{
    static const char prefix[] = WEBSOCKET_TOKEN;
    struct str all = http_header(&r->x->headers, "sec-websocket-protocol"), one;
    while (str_next(&all, ',', &one)) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        one = str_trim(one);
        if (str_starts(one, str_of(prefix)) && base64url_take(&b, str_from(one, sizeof(prefix) - 1)) == 0)
            return arena_str(r->arena, buf_str(&b));
    }
    return STR_NULL;
}

static struct str bearer_token(struct request *r)
{
    struct str h = str_trim(http_header(&r->x->headers, "authorization"));
    if (h.n > 7 && strncasecmp(h.p, "Bearer ", 7) == 0)
        return str_trim(str_from(h, 7));
    return h.n ? STR_NULL : websocket_token(r);
}

/* 0; -EACCES: nobody's. Anything else is fatal. */
static int by_token(struct request *r, struct str token, struct user *u)
{
    struct token_question q = {.token = token};
    struct token_answer answer = {.n = 0};
    struct err e = {0};
    server_audiences(r, &q);
    int x = token_authenticate(r, &q, &answer, &e);
    if (x == 0)
        *u = answer.user;
    return x;
}

/* ---- the stage --------------------------------------------------------------------------------------- */

static int unauthorized(struct request *r)
{
    return status_set(&r->status, 401, "Unauthorized", "Unauthorized");
}

static void become_anonymous(struct request *r)
{
    r->user = (struct user){.name = STR("system:anonymous")};
    user_add_group(r->arena, &r->user, STR("system:unauthenticated"));
}

static int authenticate(struct request *r)
{
    struct user u = {.name = STR_NULL};
    struct str token = bearer_token(r);
    bool certificate = r->x->tls && r->x->tls->n_chain, known = by_front_proxy(r, &u) || by_certificate(r, &u);
    if (!known && token.n) {
        int e = by_token(r, token, &u);
        if (e && e != -EACCES)
            return e;
        known = e == 0;
    }
    if (known) {
        if (!user_in_group(&u, "system:authenticated") && !user_in_group(&u, "system:unauthenticated"))
            user_add_group(r->arena, &u, STR("system:authenticated"));
        r->user = u;
        return 0;
    }
    if (token.n || (certificate && !certificate_holds(r)) || !authn_config_anonymous(r->server->auth->authn, r->info.path))
        return unauthorized(r);
    become_anonymous(r);
    return 0;
}

int request_authenticate(struct request *r)
{
    struct mono begun = os_mono();
    int e = authenticate(r);
    auth_count(&r->server->auth->authentications[e == 0 ? AUTH_SUCCESS : e > 0 ? AUTH_FAILURE : AUTH_ERROR], os_mono().ns - begun.ns);
    return e;
}
