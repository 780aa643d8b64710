/* SPDX-License-Identifier: Apache-2.0 */
/* Impersonate-User, -Group, -Uid, -Extra-*: acting as somebody else, each part of it authorised by itself. */
#include "apiserver/auth.h"
#include "net/url.h"

#define EXTRA "impersonate-extra-"
#define AUTHN "authentication.k8s.io"

static int may(struct request *r, const char *group, const char *resource, struct str ns, struct str sub,
               struct str name)
{
    struct attributes at = {.user = &r->user,
                            .verb = STR("impersonate"),
                            .resource_request = true,
                            .group = str_of(group),
                            .version = STR("v1"),
                            .resource = str_of(resource),
                            .subresource = sub,
                            .ns = ns,
                            .name = name};
    struct err why = {0};
    return authorize(r, &at, &why) == DECISION_ALLOW ? 0 : forbid(r, &at, why.text);
}

static int may_be_user(struct request *r, struct str user)
{
    struct str ns, name;
    if (is_service_account(user, &ns, &name))
        return may(r, "", "serviceaccounts", ns, STR(""), name);
    return may(r, "", "users", STR(""), STR(""), user);
}

static int take_header(struct request *r, const struct http_header *h, struct user *u)
{
    struct str key;
    if (str_is(h->name, "impersonate-group")) {
        user_add_group(r->arena, u, h->value);
        return may(r, "", "groups", STR(""), STR(""), h->value);
    }
    if (str_is(h->name, "impersonate-uid")) {
        u->uid = h->value;
        return may(r, AUTHN, "uids", STR(""), STR(""), h->value);
    }
    if (!str_starts(h->name, STR(EXTRA)))
        return 0;
    if (url_decode(r->arena, str_from(h->name, sizeof(EXTRA) - 1), false, &key) < 0)
        return status_bad_request(&r->status, "bad header %.*s", STR_ARG(h->name));
    user_add_extra(r->arena, u, key, h->value);
    return may(r, AUTHN, "userextras", STR(""), key, h->value);
}

static bool wanted(const struct http_headers *h)
{
    for (size_t i = 0; i < h->n; i++)
        if (str_starts(h->items[i].name, STR("impersonate-")))
            return true;
    return false;
}

/* The groups everybody of that kind is in. */
static void add_own_groups(struct request *r, struct user *u)
{
    struct str ns, name;
    if (!u->n_groups && is_service_account(u->name, &ns, &name)) {
        user_add_group(r->arena, u, STR("system:serviceaccounts"));
        user_add_group(r->arena, u, arena_printf(r->arena, "system:serviceaccounts:%.*s", STR_ARG(ns)));
    }
    bool anonymous = str_is(u->name, "system:anonymous");
    const char *group = anonymous ? "system:unauthenticated" : "system:authenticated";
    if (!user_in_group(u, group))
        user_add_group(r->arena, u, str_of(group));
}

int request_impersonate(struct request *r)
{
    const struct http_headers *h = &r->x->headers;
    if (!wanted(h))
        return 0;
    struct user u = {.name = http_header(h, "impersonate-user")};
    if (!u.name.n)
        return status_bad_request(&r->status, "requested impersonation without impersonating a user");
    int e = may_be_user(r, u.name);
    for (size_t i = 0; i < h->n && !e; i++)
        e = take_header(r, &h->items[i], &u);
    if (e)
        return e;
    add_own_groups(r, &u);
    r->acting_for = r->user;
    r->user = u;
    return 0;
}
