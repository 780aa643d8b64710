/* SPDX-License-Identifier: Apache-2.0 */
/* May they: system:masters, the Node authorizer, RBAC, the Ingress controller. */
#include "apiserver/audit.h"
#include "apiserver/auth.h"
#include "apiserver/state.h"

#include <stdio.h>

enum decision authorize(struct request *r, const struct attributes *at, struct err *ret_reason)
{
    const struct apiserver *s = r->server;
    if (s->authorize_all || user_in_group(at->user, "system:masters"))
        return DECISION_ALLOW;
    if (s->authorize_node) {
        enum decision d = node_authorize(r, at, ret_reason);
        if (d != DECISION_NONE)
            return d;
    }
    if (s->authorize_rbac && (rbac_allowed(s->rbac, at, ret_reason) || ingress_authorize(r, at) == DECISION_ALLOW))
        return DECISION_ALLOW;
    return DECISION_NONE;
}

struct val *rules_of_user(struct request *r, const struct user *u, struct str ns)
{
    return rbac_rules(r->server->rbac, r->arena, u, ns);
}

static struct str what_forbidden(struct request *r, const struct attributes *at)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_printf(&b, "User \"%.*s\" cannot %.*s ", STR_ARG(at->user->name), STR_ARG(at->verb));
    if (!at->resource_request) {
        buf_printf(&b, "path \"%.*s\"", STR_ARG(at->path));
    } else {
        buf_printf(&b, "resource \"%.*s%s%.*s\" in API group \"%.*s\" ", STR_ARG(at->resource),
                   at->subresource.n ? "/" : "", STR_ARG(at->subresource), STR_ARG(at->group));
        if (at->ns.n)
            buf_printf(&b, "in the namespace \"%.*s\"", STR_ARG(at->ns));
        else
            buf_puts(&b, "at the cluster scope");
    }
    return arena_str(r->arena, buf_str(&b));
}

int forbid(struct request *r, const struct attributes *at, const char *reason)
{
    struct status *s = &r->status;
    struct str what = what_forbidden(r, at);
    const char *colon = reason && *reason ? ": " : "";
    if (!reason)
        reason = "";
    if (!at->resource_request)
        return status_set(s, 403, "Forbidden", "forbidden: %.*s%s%s", STR_ARG(what), colon, reason);
    struct str dot = at->group.n ? STR(".") : STR("");
    s->group = at->group;
    s->kind = at->resource;
    s->name = at->name;
    if (at->name.n)
        return status_set(s, 403, "Forbidden", "%.*s%.*s%.*s \"%.*s\" is forbidden: %.*s%s%s",
                          STR_ARG(at->resource), STR_ARG(dot), STR_ARG(at->group), STR_ARG(at->name),
                          STR_ARG(what), colon, reason);
    return status_set(s, 403, "Forbidden", "%.*s%.*s%.*s is forbidden: %.*s%s%s", STR_ARG(at->resource),
                      STR_ARG(dot), STR_ARG(at->group), STR_ARG(what), colon, reason);
}

static int ask(struct request *r, struct str verb, struct err *why)
{
    const struct request_info *in = &r->info;
    struct attributes at = {.user = &r->user,
                            .verb = verb,
                            .resource_request = in->is_resource,
                            .ns = in->ns,
                            .group = in->group,
                            .version = in->version,
                            .resource = in->resource,
                            .subresource = in->subresource,
                            .name = in->name,
                            .path = in->path};
    if (r->trusted || authorize(r, &at, why) == DECISION_ALLOW)
        return 0;
    return forbid(r, &at, why->text);
}

int require_verb(struct request *r, struct str verb)
{
    struct err why = {0};
    return ask(r, verb, &why);
}

int request_authorize(struct request *r)
{
    struct err why = {0};
    int e = ask(r, r->info.verb, &why);
    audit_note(r, STR("authorization.k8s.io/decision"), e ? STR("forbid") : STR("allow"));
    audit_note(r, STR("authorization.k8s.io/reason"), str_of(why.text));
    return e;
}
