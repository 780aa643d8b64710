/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/options_auth.h"

static char *joined(const struct flag_list *l, size_t first)
{
    struct buf b = BUF_INIT;
    for (size_t i = first; i < l->n; i++)
        buf_printf(&b, "%s%s", i > first ? "," : "", l->items[i]);
    return b.p;
}

static int check_issuers(const struct flag_list *l, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        if (!*l->items[i] || strchr(l->items[i], ','))
            return err_set(e, -EINVAL, "service-account-issuer should not be an empty string, nor have commas");
        for (size_t k = 0; k < i; k++)
            if (strcmp(l->items[i], l->items[k]) == 0)
                return err_set(e, -EINVAL, "service-account-issuer \"%s\" is already specified", l->items[i]);
    }
    return 0;
}

int auth_options_check(const struct apiserver_config *c, const struct auth_options *o, struct err *e)
{
    if (o->signing_endpoint)
        return err_set(e, -EINVAL, "--service-account-signing-endpoint: external signers are not there; use --service-account-signing-key-file");
    if (c->sa_jwks_uri && strncmp(c->sa_jwks_uri, "https://", 8))
        return err_set(e, -EINVAL, "service-account-jwks-uri requires https scheme, parsed as: %s", c->sa_jwks_uri);
    if (o->token_ttl < 0 || o->yes_ttl < 0 || o->no_ttl < 0)
        return err_set(e, -EINVAL, "cache TTLs of webhooks: expected no negative time");
    return check_issuers(&o->issuers, e);
}

static int64_t kept_for(int64_t ttl)
{
    return ttl ? ttl : -1;
}

static bool is_given(const struct flag *flags, const char *name)
{
    for (; flags->name; flags++)
        if (strcmp(flags->name, name) == 0)
            return flags->given;
    return false;
}

void auth_options_finish(struct apiserver_config *c, struct auth_options *o, const struct flag *flags)
{
    const struct {
        const char **to;
        const struct flag_list *list;
        size_t first;
    } lists[] = {{&c->sa_keys, &o->sa_keys, 0},
                 {&c->authorization, &o->modes, 0},
                 {&c->sa_audiences, &o->audiences, 0},
                 {&c->sa_more_issuers, &o->issuers, 1},
                 {&c->front_proxy_names, &o->proxy_names, 0},
                 {&c->proxy_user_headers, &o->proxy_users, 0},
                 {&c->proxy_uid_headers, &o->proxy_uids, 0},
                 {&c->proxy_group_headers, &o->proxy_groups, 0},
                 {&c->proxy_extra_prefixes, &o->proxy_extras, 0},
                 {&c->oidc.algs, &o->oidc_algs, 0}};
    _Static_assert(ARRAY_SIZE(lists) == ARRAY_SIZE(o->lists), "one place each");
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        *lists[i].to = o->lists[i] = joined(lists[i].list, lists[i].first);
    c->sa_issuer = o->issuers.n ? o->issuers.items[0] : NULL;
    o->required = xcalloc(o->oidc_claims.n + 1, sizeof(*o->required));
    for (size_t i = 0; i < o->oidc_claims.n; i++)
        o->required[i] = o->oidc_claims.items[i];
    c->oidc.required = o->required;
    c->anonymous_off = !o->anonymous;
    c->anonymous_given = is_given(flags, "anonymous-auth");
    c->sa_extend_off = !o->extend;
    c->sa_max_expiration = o->max_token_life / NSEC_PER_SEC;
    c->token_webhook.yes_ttl_ns = kept_for(o->token_ttl);
    c->authz_webhook.yes_ttl_ns = kept_for(o->yes_ttl);
    c->authz_webhook.no_ttl_ns = kept_for(o->no_ttl);
}

void auth_options_done(struct auth_options *o)
{
    struct flag_list *lists[] = {&o->issuers,     &o->sa_keys,      &o->audiences,    &o->modes,     &o->proxy_names, &o->proxy_users,
                                 &o->proxy_uids, &o->proxy_groups, &o->proxy_extras, &o->oidc_algs, &o->oidc_claims};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        flag_list_done(lists[i]);
    for (size_t i = 0; i < ARRAY_SIZE(o->lists); i++)
        free(o->lists[i]);
    free(o->required);
}
