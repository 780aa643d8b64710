/* SPDX-License-Identifier: Apache-2.0 */
/* TaintNodesByCondition, and NodeRestriction: a kubelet writes only its own node, its pods and its lease. */
#include "apiserver/admit.h"
#include "apiserver/auth.h"
#include "apiserver/podrefs.h"
#include "names.h"
#include "resources.h"
#include "type/claim.h"
#include "type/meta.h"

#define NOT_READY "node.kubernetes.io/not-ready"

/* A new node takes no pods until the node controller has seen it ready. */
int admit_taint_nodes(struct admission *a)
{
    if (!admit_is(a, RES_NODES, NULL))
        return 0;
    struct arena *mem = a->r->arena;
    struct val *spec = val_sub_obj(mem, a->v, N_spec);
    VAL_EACH(val_get(spec, N_taints), t)
        if (str_is(val_getstr(t, N_key), NOT_READY) && str_is(val_getstr(t, N_effect), "NoSchedule"))
            return 0;
    struct val *t = val_add_obj(mem, val_sub_list(mem, spec, N_taints));
    val_set_str(mem, t, N_key, STR(NOT_READY));
    val_set_str(mem, t, N_effect, STR("NoSchedule"));
    return 0;
}

/* ---- NodeRestriction --------------------------------------------------------------------------------- */

/* Labels under kubernetes.io and k8s.io that a kubelet may set on its node. */
static bool own_label(struct str key)
{
    static const char *const known[] = {"kubernetes.io/hostname",
                                        "kubernetes.io/arch",
                                        "kubernetes.io/os",
                                        "beta.kubernetes.io/instance-type",
                                        "node.kubernetes.io/instance-type",
                                        "failure-domain.beta.kubernetes.io/region",
                                        "failure-domain.beta.kubernetes.io/zone",
                                        "topology.kubernetes.io/region",
                                        "topology.kubernetes.io/zone",
                                        "beta.kubernetes.io/arch",
                                        "beta.kubernetes.io/os",
                                        NULL};
    struct str prefix, name;
    if (!str_cut(key, '/', &prefix, &name))
        return true;
    for (size_t i = 0; known[i]; i++)
        if (str_is(key, known[i]))
            return true;
    if (str_is(prefix, "kubelet.kubernetes.io") || str_is(prefix, "node.kubernetes.io") ||
        str_ends(prefix, STR(".kubelet.kubernetes.io")) || str_ends(prefix, STR(".node.kubernetes.io")))
        return true;
    bool ours = str_is(prefix, "kubernetes.io") || str_is(prefix, "k8s.io") ||
                str_ends(prefix, STR(".kubernetes.io")) || str_ends(prefix, STR(".k8s.io"));
    return !ours;
}

static bool same_label(const struct val *v, const struct val *old, struct str key)
{
    return str_eq(obj_label(v, key), obj_label(old, key));
}

static int restrict_labels(struct admission *a, const struct val *labels)
{
    VAL_EACH_ENTRY(labels, k, value) {
        (void)value;
        if (!own_label(val_str(k)) && (!a->old || !same_label(a->v, a->old, val_str(k))))
            return admit_forbid(a, "is not allowed to set the following labels: %.*s", STR_ARG(val_str(k)));
    }
    return 0;
}

static int restrict_node(struct admission *a, struct str node)
{
    if (!str_eq(a->name, node))
        return admit_forbid(a, "node \"%.*s\" is not allowed to modify node \"%.*s\"", STR_ARG(node),
                            STR_ARG(a->name));
    if (a->op == ADMIT_DELETE)
        return 0;
    if (a->op == ADMIT_CREATE && val_at(a->v, N_spec, N_configSource))
        return admit_forbid(a, "node \"%.*s\" is not allowed to create pods with a non-nil configSource",
                            STR_ARG(node));
    if (a->op == ADMIT_UPDATE && !val_equal(val_at(a->v, N_spec, N_taints), val_at(a->old, N_spec, N_taints)))
        return admit_forbid(a, "node \"%.*s\" is not allowed to modify taints", STR_ARG(node));
    if (!val_equal(val_get(obj_meta(a->v), N_ownerReferences), val_get(obj_meta(a->old), N_ownerReferences)))
        return admit_forbid(a, "node \"%.*s\" is not allowed to modify ownerReferences", STR_ARG(node));
    int e = restrict_labels(a, obj_labels(a->v));
    return e || !a->old ? e : restrict_labels(a, obj_labels(a->old)); /* those taken away */
}

/* A mirror pod belongs to its node and to nobody else: it goes with it. */
static int restrict_owner(struct admission *a, struct str node)
{
    const struct val *owners = val_get(obj_meta(a->v), N_ownerReferences), *owner = val_item(owners, 0);
    const struct val *self = admit_find(a, RES_NODES, STR(""), node);
    if (val_len(owners) != 1 || !str_is(val_getstr(owner, N_apiVersion), "v1") || !str_is(val_getstr(owner, N_kind), "Node") ||
        !str_eq(val_getstr(owner, N_name), node))
        return admit_forbid(a, "node \"%.*s\" can only create pods with %s owner reference set to itself", STR_ARG(node),
                            val_len(owners) > 1 ? "a single" : "an");
    if (!val_bool(val_get(owner, N_controller), false))
        return admit_forbid(a, "node \"%.*s\" can only create pods with a controller owner reference set to itself",
                            STR_ARG(node));
    if (val_bool(val_get(owner, N_blockOwnerDeletion), false))
        return admit_forbid(a, "node \"%.*s\" must not set blockOwnerDeletion on an owner reference", STR_ARG(node));
    if (!self)
        return status_not_found(&a->r->status, &resources[RES_NODES], node);
    if (!str_eq(val_getstr(owner, N_uid), obj_uid(self)))
        return admit_forbid(a, "node %.*s UID mismatch: expected %.*s got %.*s", STR_ARG(node),
                            STR_ARG(val_getstr(owner, N_uid)), STR_ARG(obj_uid(self)));
    return 0;
}

/* Statuses that the scheduler and the claim controllers write: what a node puts there it would be given (CVE-2025-4563). */
static int restrict_claim_statuses(struct admission *a, struct str node)
{
    static const struct {
        name_id field;
        const char *what;
    } theirs[] = {{N_resourceClaimStatuses, "resource claim statues"}, /* upstream's word */
                  {N_extendedResourceClaimStatus, "extended resource claim status"},
                  {N_nodeAllocatableResourceClaimStatuses, "node allocatable resource claim statuses"}};
    for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
        if (!val_equal(val_at(a->v, N_status, theirs[i].field), val_at(a->old, N_status, theirs[i].field)))
            return admit_forbid(a, "node \"%.*s\" cannot update %s", STR_ARG(node), theirs[i].what);
    return 0;
}

/* Mirror pods only, for itself, without secrets. */
static int restrict_pod_create(struct admission *a, struct str node)
{
    const struct val *spec = val_get(a->v, N_spec);
    if (!obj_annotation(a->v, STR("kubernetes.io/config.mirror")).n)
        return admit_forbid(
            a,
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"%.*s\" can only create "
            "mirror pods",
            STR_ARG(node));
    if (!str_eq(val_getstr(spec, N_nodeName), node))
        return admit_forbid(a, "node \"%.*s\" can only create pods with spec.nodeName set to itself",
                            STR_ARG(node));
    const char *kind = pod_refers_any(a->v);
    if (kind)
        return admit_forbid(a, "node \"%.*s\" can not create pods that reference %s", STR_ARG(node), kind);
    return restrict_owner(a, node);
}

static int restrict_pod(struct admission *a, struct str node)
{
    if (a->op == ADMIT_CREATE && !a->sub)
        return restrict_pod_create(a, node);
    const struct val *pod = a->old ? a->old : admit_find(a, RES_PODS, a->ns, a->name);
    if (!str_eq(val_str(val_at(pod, N_spec, N_nodeName)), node))
        return admit_forbid(a, "node \"%.*s\" can only change pods with spec.nodeName set to itself",
                            STR_ARG(node));
    if (a->op == ADMIT_UPDATE && !a->sub)
        return admit_forbid(a, "node \"%.*s\" can only update pod status", STR_ARG(node));
    if (a->op == ADMIT_UPDATE && !val_equal(obj_labels(a->v), obj_labels(a->old)))
        return admit_forbid(a, "node \"%.*s\" cannot update labels through pod status", STR_ARG(node));
    return a->op == ADMIT_UPDATE ? restrict_claim_statuses(a, node) : 0;
}

/* Of a volume that is a directory of its own, a kubelet takes away one finalizer and changes nothing else. */
static int restrict_volume(struct admission *a, struct str node)
{
    struct arena *mem = a->r->arena;
    if (a->op != ADMIT_UPDATE || a->sub || !a->old || !str_eq(obj_annotation(a->old, STR(ANN_LOCAL_PATH_NODE)), node))
        return admit_forbid(a, "node \"%.*s\" can only let go of persistent volumes that are directories of its own", STR_ARG(node));
    struct val *want = val_copy_shallow(mem, a->old), *meta = val_copy_shallow(mem, obj_meta(a->old)), *have, *have_meta;
    struct val *list = val_new(mem, VAL_LIST);
    VAL_EACH(val_get(obj_meta(a->old), N_finalizers), f)
        if (!str_is(val_str(f), LOCAL_PATH_FINALIZER))
            val_add(mem, list, *f);
    val_set_ref(mem, meta, N_finalizers, list);
    val_set_ref(mem, want, N_metadata, meta);
    have = val_copy_shallow(mem, a->v);
    have_meta = val_copy_shallow(mem, obj_meta(a->v));
    val_set_ref(mem, have_meta, N_managedFields, val_get(meta, N_managedFields));
    val_set_ref(mem, have_meta, N_resourceVersion, val_get(meta, N_resourceVersion));
    val_set_ref(mem, have, N_metadata, have_meta);
    if (!val_equal(want, have))
        return admit_forbid(a, "node \"%.*s\" can only take the finalizer " LOCAL_PATH_FINALIZER " off a persistent volume",
                            STR_ARG(node));
    return 0;
}

static bool wants_certificate_of(const struct val *pod, struct str signer)
{
    VAL_EACH(val_at(pod, N_spec, N_volumes), v)
        VAL_EACH(val_at(v, N_projected, N_sources), s)
            if (val_get(s, N_podCertificate) && str_eq(val_str(val_at(s, N_podCertificate, N_signerName)), signer))
                return true;
    return false;
}

/* Beyond what Pods name in their volumes, a role may let a node ask for a service account at a signer. */
static bool may_request_signer(struct admission *a, struct str signer, struct str account)
{
    char *name = arena_cstr(a->r->arena, signer);
    for (char *p = name; *p; p++)
        *p = *p == '/' ? ':' : *p; /* names in rules cannot have a slash */
    struct attributes at = {.user = &a->r->user, .verb = STR("request-serviceaccounts-podcertificate-signer"), .resource_request = true,
        .resource = str_of(name), .ns = a->ns, .name = account};
    return authorize(a->r, &at, NULL) == DECISION_ALLOW;
}

/* What does not fit may only not be known here yet: such a node may try again. */
static int not_known(struct admission *a, const char *what, struct str name)
{
    return status_internal(&a->r->status, "PodCertificateRequest: %s \"%.*s\" is not the one that is known here", what, STR_ARG(name));
}

/* A certificate for a Pod that runs on the node, with the names and identities that are known of it. */
static int restrict_pod_certificate(struct admission *a, struct str node)
{
    const struct val *spec = val_get(a->v, N_spec);
    struct str pod_name = val_getstr(spec, N_podName), account = val_getstr(spec, N_serviceAccountName),
               signer = val_getstr(spec, N_signerName);
    if (a->op != ADMIT_CREATE || a->sub)
        return admit_forbid(a, "unexpected operation: node \"%.*s\" can only create PodCertificateRequests", STR_ARG(node));
    if (!str_eq(val_getstr(spec, N_nodeName), node))
        return admit_forbid(a, "PodCertificateRequest.Spec.NodeName=\"%.*s\", which is not the requesting node \"%.*s\"",
                            STR_ARG(val_getstr(spec, N_nodeName)), STR_ARG(node));
    const struct val *self = admit_find(a, RES_NODES, STR(""), node), *pod = admit_find(a, RES_PODS, a->ns, pod_name),
                     *sa = admit_find(a, RES_SERVICEACCOUNTS, a->ns, account);
    if (!self)
        return status_not_found(&a->r->status, &resources[RES_NODES], node);
    if (!str_eq(obj_uid(self), val_getstr(spec, N_nodeUID)))
        return not_known(a, "node UID", val_getstr(spec, N_nodeUID));
    if (!pod)
        return status_not_found(&a->r->status, &resources[RES_PODS], pod_name);
    if (!str_eq(obj_uid(pod), val_getstr(spec, N_podUID)))
        return not_known(a, "pod UID", val_getstr(spec, N_podUID));
    if (!str_eq(val_str(val_at(pod, N_spec, N_nodeName)), node))
        return admit_forbid(a, "pod \"%.*s/%.*s\" is not running on node \"%.*s\" named in the PodCertificateRequest", STR_ARG(a->ns),
                            STR_ARG(pod_name), STR_ARG(node));
    if (val_key(val_get(obj_meta(pod), N_annotations), STR("kubernetes.io/config.mirror")))
        return admit_forbid(a, "pod \"%.*s/%.*s\" is a mirror pod", STR_ARG(a->ns), STR_ARG(pod_name));
    if (!str_eq(account, val_str(val_at(pod, N_spec, N_serviceAccountName))))
        return admit_forbid(a, "PodCertificateRequest for pod \"%.*s/%.*s\" contains serviceAccountName (\"%.*s\") that differs from running pod",
                            STR_ARG(a->ns), STR_ARG(pod_name), STR_ARG(account));
    if (!sa)
        return status_not_found(&a->r->status, &resources[RES_SERVICEACCOUNTS], account);
    if (!str_eq(obj_uid(sa), val_getstr(spec, N_serviceAccountUID)))
        return not_known(a, "service account UID", val_getstr(spec, N_serviceAccountUID));
    if (wants_certificate_of(pod, signer) || may_request_signer(a, signer, account))
        return 0;
    return admit_forbid(a, "pod \"%.*s/%.*s\" does not mount a podCertificate projected volume for signer \"%.*s\"", STR_ARG(a->ns),
                        STR_ARG(pod_name), STR_ARG(signer));
}

/* What the Node authorizer cannot know: what is in a slice that is made, or in each of a collection that is deleted. */
static int restrict_slice(struct admission *a, struct str node)
{
    const struct val *slice = a->op == ADMIT_CREATE ? a->v : a->op == ADMIT_DELETE ? a->old : NULL;
    if (!slice || str_eq(val_str(val_at(slice, N_spec, N_nodeName)), node))
        return 0;
    return admit_forbid(a, "can only %s ResourceSlice with the same NodeName as the requesting node",
                        a->op == ADMIT_CREATE ? "create" : "delete");
}

int admit_node_restriction(struct admission *a)
{
    struct str node = node_of_user(&a->r->user);
    if (!node.n)
        return 0;
    switch (a->res->index) {
    case RES_NODES:
        return restrict_node(a, node);
    case RES_PODS:
        return restrict_pod(a, node);
    case RES_LEASES:
        if (!str_is(a->ns, "kube-node-lease"))
            return admit_forbid(a, "can only access leases in the \"kube-node-lease\" system namespace");
        return str_eq(a->name, node)
                   ? 0
                   : admit_forbid(a, "can only access node lease with the same name as the requesting "
                                     "node");
    case RES_PERSISTENTVOLUMES:
        return restrict_volume(a, node);
    case RES_PODCERTIFICATEREQUESTS:
        return restrict_pod_certificate(a, node);
    case RES_RESOURCESLICES:
        return restrict_slice(a, node);
    case RES_CSINODES:
        return str_eq(a->name, node)
                   ? 0
                   : admit_forbid(a, "can only access CSINode with the same name as the requesting "
                                     "node");
    }
    return 0;
}
