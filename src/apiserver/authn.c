/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asking: front proxy headers, client certificate, bearer token, or nobody. */
#include "apiserver/auth.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "names.h"
#include "net/url.h"
#include "auth/crypto.h"
#include "base/base64.h"

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

static void take_remote_headers(struct request *r, struct user *u)
{
    static const char extra[] = "x-remote-extra-";
    const struct http_headers *h = &r->x->headers;
    u->name = http_header(h, "x-remote-user");
    u->uid = http_header(h, "x-remote-uid");
    for (size_t i = 0; i < h->n; i++) {
        struct str name = h->items[i].name, key;
        if (str_is(name, "x-remote-group"))
            user_add_group(r->arena, u, h->items[i].value);
        if (str_starts(name, str_of(extra)) &&
            url_decode(r->arena, str_from(name, sizeof(extra) - 1), false, &key) == 0)
            user_add_extra(r->arena, u, key, h->items[i].value);
    }
}

static bool by_front_proxy(struct request *r, struct user *u)
{
    const struct apiserver *s = r->server;
    const struct tls_peer *p = r->x->tls;
    if (!s->front_proxy_ca || !p || !p->n_chain || !http_header(&r->x->headers, "x-remote-user").n)
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

static bool by_token(struct request *r, struct str token, struct user *u)
{
    struct err e = {0};
    if (token_authenticate(r, token, NULL, 0, u, NULL, &e) == 0)
        return true;
    *u = (struct user){.name = STR_NULL};
    return r->server->config.bootstrap_tokens && bootstrap_token_authenticate(r, token, u, &e) == 0;
}

/* ---- the stage --------------------------------------------------------------------------------------- */

static int unauthorized(struct request *r)
{
    return status_set(&r->status, 401, "Unauthorized", "Unauthorized");
}

int request_authenticate(struct request *r)
{
    struct user u = {.name = STR_NULL};
    struct str token = bearer_token(r);
    bool certificate = r->x->tls && r->x->tls->n_chain;
    if (by_front_proxy(r, &u) || by_certificate(r, &u) || (token.n && by_token(r, token, &u))) {
        if (!user_in_group(&u, "system:authenticated") && !user_in_group(&u, "system:unauthenticated"))
            user_add_group(r->arena, &u, STR("system:authenticated"));
    } else if (token.n || (certificate && !certificate_holds(r)) || r->server->config.anonymous_off) {
        return unauthorized(r);
    } else {
        u = (struct user){.name = STR("system:anonymous")};
        user_add_group(r->arena, &u, STR("system:unauthenticated"));
    }
    r->user = u;
    return 0;
}
