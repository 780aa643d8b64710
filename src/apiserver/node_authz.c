/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Node authorizer: a kubelet may read what the pods bound to its node refer to, and touch its own
 * objects; for the rest it has the rules of the ClusterRole system:node. Which secret belongs to which pod is
 * looked up among the pods of the secret's namespace when it is asked; kubelets ask seldom (they watch by
 * name).
 */
#include "apiserver/auth.h"
#include "apiserver/podrefs.h"
#include "apiserver/state.h"
#include "auth/crypto.h"
#include "names.h"
#include "resources.h"
#include "type/claim.h"
#include "type/meta.h"
#include "type/selector.h"

#define NODE_PREFIX "system:node:"

struct str node_of_user(const struct user *u)
{
    if (!str_starts(u->name, STR(NODE_PREFIX)) || !user_in_group(u, "system:nodes"))
        return STR_NULL;
    return str_from(u->name, sizeof(NODE_PREFIX) - 1);
}

static bool on_node(const struct object *pod, struct str node)
{
    return str_eq(val_str(val_at(pod->val, N_spec, N_nodeName)), node);
}

static const struct object *find(struct request *r, uint16_t res, struct str ns, struct str name)
{
    return cache_get(state_kind(r->server, res), ns, name);
}

/* Does a pod of the node refer to it? */
static bool referred(struct request *r, struct str node, uint16_t res, struct str ns, struct str name)
{
    struct cache_kind *pods = state_kind(r->server, RES_PODS);
    TREE_EACH(pods->root, ns, it)
        if (on_node(it.object, node) && pod_refers(it.object->val, res, name))
            return true;
    return false;
}

static bool reads(const struct attributes *at)
{
    return str_is(at->verb, "get") || str_is(at->verb, "list") || str_is(at->verb, "watch");
}

static bool verb_in(const struct attributes *at, const char *list)
{
    struct str rest = str_of(list), verb;
    while (str_next(&rest, ' ', &verb))
        if (str_eq(verb, at->verb))
            return true;
    return false;
}

/* Is the volume bound to a claim that a pod of the node uses? */
static bool volume_reaches(struct request *r, struct str node, const struct val *pv)
{
    const struct val *ref = val_at(pv, N_spec, N_claimRef);
    return ref && referred(r, node, RES_PERSISTENTVOLUMECLAIMS, val_getstr(ref, N_namespace), val_getstr(ref, N_name));
}

/* Secrets that a CSI volume names for its driver on the node. */
static bool volume_has_secret(const struct val *pv, struct str ns, struct str name)
{
    static const name_id refs[] = {N_nodeStageSecretRef, N_nodePublishSecretRef, N_nodeExpandSecretRef};
    for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
        const struct val *ref = val_at(pv, N_spec, N_csi, refs[i]);
        if (ref && str_eq(val_getstr(ref, N_namespace), ns) && str_eq(val_getstr(ref, N_name), name))
            return true;
    }
    return false;
}

static bool secret_of_volume(struct request *r, const struct attributes *at, struct str node)
{
    if (!str_is(at->verb, "get") || !at->name.n || at->subresource.n)
        return false;
    TREE_EACH(state_kind(r->server, RES_PERSISTENTVOLUMES)->root, STR_NULL, it)
        if (volume_has_secret(it.object->val, at->ns, at->name) && volume_reaches(r, node, it.object->val))
            return true;
    return false;
}

static bool may_read_referred(struct request *r, const struct attributes *at, struct str node, uint16_t res)
{
    return reads(at) && at->name.n && at->ns.n && !at->subresource.n &&
           referred(r, node, res, at->ns, at->name);
}

static bool may_claim(struct request *r, const struct attributes *at, struct str node)
{
    bool writes_status = str_is(at->subresource, "status") && verb_in(at, "update patch");
    bool gets = !at->subresource.n && str_is(at->verb, "get");
    return (writes_status || gets) && at->name.n &&
           referred(r, node, RES_PERSISTENTVOLUMECLAIMS, at->ns, at->name);
}

static struct str local_path_label(struct arena *a, struct str node)
{
    char hash[65];
    return node.n <= 63 ? node : arena_str(a, str_n(sha256_hex(node, hash), 32));
}

static bool selects(const struct selector *s, const char *key, struct str value)
{
    for (size_t i = 0; s && i < s->n; i++)
        if (s->reqs[i].op <= SEL_IN && s->reqs[i].op != SEL_NE && s->reqs[i].n_values == 1 && str_is(s->reqs[i].key, key) &&
            str_eq(s->reqs[i].values[0], value))
            return true;
    return false;
}

/* Node-local directories carry their node's label (docs/storage.md); a kubelet follows those. */
static bool selects_own_volumes(struct request *r, const struct attributes *at, struct str node)
{
    return selects(at->labels, LABEL_LOCAL_PATH_NODE, local_path_label(r->arena, node));
}

/* A volume is reached through the claim that it is bound to. What of its own directories a kubelet may change is
 * NodeRestriction's to say. */
static bool may_volume(struct request *r, const struct attributes *at, struct str node)
{
    const struct object *pv = find(r, RES_PERSISTENTVOLUMES, STR(""), at->name);
    if (at->subresource.n)
        return false;
    if (verb_in(at, "list watch"))
        return selects_own_volumes(r, at, node);
    if (verb_in(at, "patch update"))
        return pv && str_eq(obj_annotation(pv->val, STR(ANN_LOCAL_PATH_NODE)), node);
    return str_is(at->verb, "get") && pv && volume_reaches(r, node, pv->val);
}

static bool may_attachment(struct request *r, const struct attributes *at, struct str node)
{
    const struct object *va = find(r, RES_VOLUMEATTACHMENTS, STR(""), at->name);
    return str_is(at->verb, "get") && !at->subresource.n && va &&
           str_eq(val_str(val_at(va->val, N_spec, N_nodeName)), node);
}

static bool may_token(struct request *r, const struct attributes *at, struct str node)
{
    if (str_is(at->subresource, "token"))
        return str_is(at->verb, "create") && referred(r, node, RES_SERVICEACCOUNTS, at->ns, at->name);
    return !at->subresource.n && str_is(at->verb, "get") &&
           referred(r, node, RES_SERVICEACCOUNTS, at->ns, at->name);
}

static bool may_lease(const struct attributes *at, struct str node)
{
    if (!str_is(at->ns, "kube-node-lease") || at->subresource.n ||
        !verb_in(at, "get create update patch delete"))
        return false;
    return str_is(at->verb, "create") || str_eq(at->name, node);
}

static bool may_csi_node(const struct attributes *at, struct str node)
{
    if (at->subresource.n || !verb_in(at, "get create update patch delete"))
        return false;
    return str_is(at->verb, "create") || str_eq(at->name, node);
}

static bool may_slice(struct request *r, const struct attributes *at, struct str node)
{
    const struct object *o = at->name.n ? find(r, RES_RESOURCESLICES, STR(""), at->name) : NULL;
    if (at->subresource.n)
        return false;
    if (str_is(at->verb, "create"))
        return true;
    if (verb_in(at, "list watch deletecollection"))
        return selects(at->fields, "spec.nodeName", node);
    return o && str_eq(val_str(val_at(o->val, N_spec, N_nodeName)), node);
}

/* What may be asked for is NodeRestriction's to say. */
static bool may_pod_certificate(struct request *r, const struct attributes *at, struct str node)
{
    const struct object *o = at->name.n ? find(r, RES_PODCERTIFICATEREQUESTS, at->ns, at->name) : NULL;
    if (at->subresource.n)
        return false;
    if (verb_in(at, "list watch"))
        return selects(at->fields, "spec.nodeName", node);
    if (str_is(at->verb, "get"))
        return o && str_eq(val_str(val_at(o->val, N_spec, N_nodeName)), node);
    return str_is(at->verb, "create");
}

/* KEP-4601: kubelets see themselves and the pods bound to them. */
static bool may_node(const struct attributes *at, struct str node)
{
    if (verb_in(at, "list watch get") && !at->subresource.n)
        return str_eq(at->name, node);
    if (str_is(at->verb, "create")) /* not nodes/proxy: that leads to every pod of every node */
        return !at->subresource.n;
    return verb_in(at, "update patch") && (!at->subresource.n || str_is(at->subresource, "status")) &&
           str_eq(at->name, node);
}

static bool may_pod_read(struct request *r, const struct attributes *at, struct str node)
{
    if (verb_in(at, "list watch"))
        return selects(at->fields, "spec.nodeName", node);
    const struct object *pod = find(r, RES_PODS, at->ns, at->name);
    return !pod || on_node(pod, node);
}

static bool by_rules(struct request *r, const struct attributes *at)
{
    const struct object *role = find(r, RES_CLUSTERROLES, STR(""), STR("system:node"));
    struct rbac_request q = {.verb = at->verb,
                             .resource_request = at->resource_request,
                             .group = at->group,
                             .resource = at->resource,
                             .subresource = at->subresource,
                             .name = at->name,
                             .namespace = at->ns,
                             .path = at->path};
    return role && rbac_rules_allow(val_get(role->val, N_rules), &q);
}

/* Reviews may leave the version open. */
static const struct resource *resource_of(const struct attributes *at)
{
    const struct resource *res = at->resource_request ? resource_find(at->group, at->version, at->resource) : NULL;
    if (res || !at->resource_request || (at->version.n && !str_is(at->version, "*")))
        return res;
    for (unsigned i = 1; i < n_resources; i++)
        if (str_is(at->group, resources[i].group) && str_is(at->resource, resources[i].name))
            return &resources[i];
    return NULL;
}

static bool may(struct request *r, const struct attributes *at, struct str node)
{
    const struct resource *res = resource_of(at);
    switch (res ? res->index : 0) {
    case RES_SECRETS:
        return may_read_referred(r, at, node, res->index) || secret_of_volume(r, at, node);
    case RES_CONFIGMAPS:
        return may_read_referred(r, at, node, res->index);
    case RES_PERSISTENTVOLUMECLAIMS:
        return may_claim(r, at, node);
    case RES_RESOURCECLAIMS:
        return str_is(at->verb, "get") && may_read_referred(r, at, node, res->index);
    case RES_PERSISTENTVOLUMES:
        return may_volume(r, at, node);
    case RES_VOLUMEATTACHMENTS:
        return may_attachment(r, at, node);
    case RES_SERVICEACCOUNTS:
        return may_token(r, at, node);
    case RES_LEASES:
        return may_lease(at, node);
    case RES_CSINODES:
        return may_csi_node(at, node);
    case RES_RESOURCESLICES:
        return may_slice(r, at, node);
    case RES_PODCERTIFICATEREQUESTS:
        return may_pod_certificate(r, at, node);
    case RES_NODES:
        return may_node(at, node);
    case RES_PODS:
        if (verb_in(at, "get list watch") && !at->subresource.n)
            return may_pod_read(r, at, node);
        break;
    }
    return by_rules(r, at);
}

enum decision node_authorize(struct request *r, const struct attributes *at, struct err *ret_reason)
{
    struct str node = node_of_user(at->user);
    if (!node.n)
        return DECISION_NONE;
    if (may(r, at, node))
        return DECISION_ALLOW;
    err_set(ret_reason, 0, "no relationship found between node '%.*s' and this object", STR_ARG(node));
    return DECISION_NONE;
}
