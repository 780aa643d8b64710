/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What RBAC cannot say: the built-in Ingress controller may read a Secret while an Ingress of its classes in the Secret's
 * namespace names it, and no other. Looked up when it is asked: the controller watches by name, so it asks seldom.
 */
#include "apiserver/auth.h"
#include "apiserver/state.h"
#include "resources.h"
#include "type/ingress.h"

static bool reads_one_secret(const struct attributes *at)
{
    bool reads = str_is(at->verb, "get") || str_is(at->verb, "list") || str_is(at->verb, "watch");
    return reads && at->resource_request && str_is(at->resource, "secrets") && !at->group.n && !at->subresource.n && at->name.n && at->ns.n;
}

enum decision ingress_authorize(struct request *r, const struct attributes *at)
{
    if (!str_is(at->user->name, INGRESS_USER) || !reads_one_secret(at))
        return DECISION_NONE;
    const struct tree *classes = state_kind(r->server, RES_INGRESSCLASSES)->root;
    TREE_EACH(state_kind(r->server, RES_INGRESSES)->root, at->ns, it)
        if (ingress_names_secret(it.object, at->name) && ingress_is_ours(classes, it.object))
            return DECISION_ALLOW;
    return DECISION_NONE;
}
