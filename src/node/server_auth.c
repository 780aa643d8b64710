/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks (client/delegate.h), and what they may: SubjectAccessReview on the node's subresources (KEP-2862: the narrow one first, then
 * "proxy"). */
#include "net/http.h"
#include "node/kubelet-internal.h"

void server_auth_forget(struct kubelet *k)
{
    delegate_done(&k->delegate);
}

/* ---- what ---------------------------------------------------------------------------------------------------- */

static bool under(struct str path, const char *prefix)
{
    struct str p = str_of(prefix);
    return str_starts(path, p) && (path.n == p.n || path.p[p.n] == '/');
}

/* Subresources of the node that allow a path; any one of them is enough. Ends with NULL. */
static const char *const *subresources(struct str path)
{
    static const struct {
        const char *path;
        const char *names[3];
    } table[] = {
        {"/stats", {"stats"}},
        {"/metrics", {"metrics"}},
        {"/logs", {"log"}},
        {"/spec", {"spec"}},
        {"/checkpoint", {"checkpoint"}},
        {"/statusz", {"statusz"}},
        {"/healthz", {"healthz", "proxy"}},
        {"/configz", {"configz", "proxy"}},
        {"/flagz", {"configz"}},
        {"/pods", {"pods", "proxy"}},
        {"/runningpods", {"pods", "proxy"}},
    };
    static const char *const otherwise[] = {"proxy", NULL};
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (under(path, table[i].path))
            return table[i].names;
    return otherwise;
}

static const char *verb_of(struct str method)
{
    static const char *const verbs[][2] = {
        {"GET", "get"}, {"HEAD", "get"}, {"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (str_is(method, verbs[i][0]))
            return verbs[i][1];
    return "get";
}

bool server_allows(struct kubelet *k, struct http_exchange *x)
{
    struct delegate_user u = {0};
    const char *verb = verb_of(x->method), *const *subs = subresources(x->path);
    struct delegate *d = &k->delegate;
    d->client = k->client;
    d->tokens = k->cfg.token_webhook;
    d->anonymous = k->cfg.anonymous;
    if (!delegate_who(d, x, &u)) {
        http_respond(x, 401, "text/plain; charset=utf-8", STR("Unauthorized"));
        return false;
    }
    if (k->cfg.authorize_always)
        return true;
    if (!k->client) { /* nobody to ask: closed */
        http_respond(x, 403, "text/plain; charset=utf-8", STR("Forbidden (there is no API server to ask)"));
        return false;
    }
    int r = 0;
    for (const char *const *s = subs; *s && r == 0; s++)
        r = delegate_may_node(d, &x->arena, &u, verb, k->cfg.node_name, *s);
    if (r > 0)
        return true;
    if (r < 0)
        http_respond(x, 500, "text/plain; charset=utf-8", STR("Authorization error: the API server cannot be asked"));
    else
        http_respond(x, 403, "text/plain; charset=utf-8",
                     arena_printf(&x->arena, "Forbidden (user=" STR_FMT ", verb=%s, resource=nodes, subresource(s)=[%s])",
                                  STR_ARG(u.name), verb, subs[0]));
    return false;
}
