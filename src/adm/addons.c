/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/parts.h"

#include "adm/addresses.h"
#include "dns/dns.h"
#include "resources.h"
#include "wire/json.h"

/* JSON with one %s for the DNS addresses where they are wanted; NULL: the Corefile. */
struct addon {
    unsigned res;
    const char *ns, *name, *json;
};

static const struct addon addons[] = {
    /* Whoever holds admin.conf: super-admin.conf's system:masters is kept for emergencies (kubeadm 1.29). */
    {RES_CLUSTERROLEBINDINGS, "", "kubeadm:cluster-admins",
     "{\"metadata\":{\"name\":\"kubeadm:cluster-admins\"},"
     "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"cluster-admin\"},"
     "\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Group\",\"name\":\"kubeadm:cluster-admins\"}]}"},
    /* The DNS servers of the nodes: on this machine's own it is in the same process, further ones come with a certificate. */
    {RES_CLUSTERROLES, "", "system:coredns",
     "{\"metadata\":{\"name\":\"system:coredns\"},\"rules\":["
     "{\"apiGroups\":[\"\"],\"resources\":[\"endpoints\",\"services\",\"pods\",\"namespaces\"],\"verbs\":[\"list\",\"watch\"]},"
     "{\"apiGroups\":[\"discovery.k8s.io\"],\"resources\":[\"endpointslices\"],\"verbs\":[\"list\",\"watch\"]}]}"},
    {RES_CLUSTERROLEBINDINGS, "", "system:coredns",
     "{\"metadata\":{\"name\":\"system:coredns\"},"
     "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"system:coredns\"},"
     "\"subjects\":[{\"kind\":\"ServiceAccount\",\"name\":\"coredns\",\"namespace\":\"kube-system\"},"
     "{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"system:coredns\"}]}"},
    /* Who links the pods of different nodes: as Flannel, it tells the other nodes where its own is by annotations. */
    {RES_CLUSTERROLES, "", "system:cube-overlay",
     "{\"metadata\":{\"name\":\"system:cube-overlay\"},\"rules\":["
     "{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],\"verbs\":[\"get\",\"list\",\"patch\",\"watch\"]},"
     "{\"apiGroups\":[\"\"],\"resources\":[\"nodes/status\"],\"verbs\":[\"patch\"]},"
     "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"resourceNames\":[\"kube-flannel-cfg\"],\"verbs\":[\"get\"]}]}"},
    {RES_CLUSTERROLEBINDINGS, "", "system:cube-overlay",
     "{\"metadata\":{\"name\":\"system:cube-overlay\"},"
     "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"system:cube-overlay\"},"
     "\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"system:cube-overlay\"}]}"},
    /* Who keeps network policies on the nodes. */
    {RES_CLUSTERROLES, "", "system:cube-policy",
     "{\"metadata\":{\"name\":\"system:cube-policy\"},\"rules\":["
     "{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"namespaces\",\"nodes\"],\"verbs\":[\"list\",\"watch\"]},"
     "{\"apiGroups\":[\"networking.k8s.io\"],\"resources\":[\"networkpolicies\"],\"verbs\":[\"list\",\"watch\"]}]}"},
    {RES_CLUSTERROLEBINDINGS, "", "system:cube-policy",
     "{\"metadata\":{\"name\":\"system:cube-policy\"},"
     "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"system:cube-policy\"},"
     "\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"system:cube-policy\"}]}"},
    /* What names mean: for administrators to edit, and read live by the DNS servers. */
    {RES_CONFIGMAPS, "kube-system", "coredns", NULL},
    {RES_ROLES, "kube-system", "cube:coredns-config",
     "{\"metadata\":{\"name\":\"cube:coredns-config\",\"namespace\":\"kube-system\"},\"rules\":["
     "{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"resourceNames\":[\"coredns\"],\"verbs\":[\"get\",\"list\",\"watch\"]}]}"},
    {RES_ROLEBINDINGS, "kube-system", "cube:coredns-config",
     "{\"metadata\":{\"name\":\"cube:coredns-config\",\"namespace\":\"kube-system\"},"
     "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"cube:coredns-config\"},"
     "\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"system:coredns\"}]}"},
    /* Who serves Ingresses. Secrets are not here: no rule can say "those that an Ingress names", so the API server looks
     * (apiserver/ingress_authz.c). */
    {RES_CLUSTERROLES, "", "system:cube-ingress",
     "{\"metadata\":{\"name\":\"system:cube-ingress\"},\"rules\":["
     "{\"apiGroups\":[\"\"],\"resources\":[\"services\"],\"verbs\":[\"list\",\"watch\"]},"
     "{\"apiGroups\":[\"\",\"events.k8s.io\"],\"resources\":[\"events\"],\"verbs\":[\"create\",\"patch\",\"update\"]},"
     "{\"apiGroups\":[\"discovery.k8s.io\"],\"resources\":[\"endpointslices\"],\"verbs\":[\"list\",\"watch\"]},"
     "{\"apiGroups\":[\"networking.k8s.io\"],\"resources\":[\"ingresses\",\"ingressclasses\"],\"verbs\":[\"list\",\"watch\"]},"
     "{\"apiGroups\":[\"networking.k8s.io\"],\"resources\":[\"ingresses/status\"],\"verbs\":[\"patch\",\"update\"]}]}"},
    {RES_CLUSTERROLEBINDINGS, "", "system:cube-ingress",
     "{\"metadata\":{\"name\":\"system:cube-ingress\"},"
     "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"system:cube-ingress\"},"
     "\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"system:cube-ingress\"}]}"},
    /* The class of the built-in Ingress controller; not the default, since others' Ingresses without a class are none of its business. */
    {RES_INGRESSCLASSES, "", "cube",
     "{\"metadata\":{\"name\":\"cube\"},\"spec\":{\"controller\":\"cube.dev/ingress\"}}"},
    /* Where DNS is. The node answers on that address itself, so the Service has no endpoints. */
    {RES_SERVICES, "kube-system", "kube-dns",
     "{\"metadata\":{\"name\":\"kube-dns\",\"namespace\":\"kube-system\",\"labels\":{\"k8s-app\":\"kube-dns\","
     "\"kubernetes.io/cluster-service\":\"true\",\"kubernetes.io/name\":\"CoreDNS\"}},"
     "\"spec\":{%s,\"ports\":[{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\"},"
     "{\"name\":\"dns-tcp\",\"port\":53,\"protocol\":\"TCP\"}]}}"},
    /* Claims work from the first day: volumes are directories of the node that the pod goes to (docs/storage.md). */
    {RES_STORAGECLASSES, "", "standard",
     "{\"metadata\":{\"name\":\"standard\",\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}},"
     "\"provisioner\":\"cube.local/local-path\",\"reclaimPolicy\":\"Delete\",\"volumeBindingMode\":\"WaitForFirstConsumer\","
     "\"allowVolumeExpansion\":true}"},
};

/* Where addresses of load balancers are given: who announces them. Its Leases are in a namespace of their own; elsewhere it
 * could renew others'. */
static const struct addon balancing[] = {
    {RES_NAMESPACES, "", "cube-announce", "{\"metadata\":{\"name\":\"cube-announce\"}}"},
    {RES_ROLES, "cube-announce", "cube-announce",
     "{\"metadata\":{\"name\":\"cube-announce\",\"namespace\":\"cube-announce\"},\"rules\":["
     "{\"apiGroups\":[\"coordination.k8s.io\"],\"resources\":[\"leases\"],"
     "\"verbs\":[\"create\",\"get\",\"list\",\"update\",\"watch\"]}]}"},
    {RES_ROLEBINDINGS, "cube-announce", "cube-announce",
     "{\"metadata\":{\"name\":\"cube-announce\",\"namespace\":\"cube-announce\"},"
     "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"cube-announce\"},"
     "\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"system:cube-announce\"}]}"},
    {RES_CLUSTERROLES, "", "system:cube-announce",
     "{\"metadata\":{\"name\":\"system:cube-announce\"},\"rules\":["
     "{\"apiGroups\":[\"\"],\"resources\":[\"nodes\",\"services\"],\"verbs\":[\"list\",\"watch\"]},"
     "{\"apiGroups\":[\"\",\"events.k8s.io\"],\"resources\":[\"events\"],\"verbs\":[\"create\",\"patch\",\"update\"]},"
     "{\"apiGroups\":[\"discovery.k8s.io\"],\"resources\":[\"endpointslices\"],\"verbs\":[\"list\",\"watch\"]}]}"},
    {RES_CLUSTERROLEBINDINGS, "", "system:cube-announce",
     "{\"metadata\":{\"name\":\"system:cube-announce\"},"
     "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"system:cube-announce\"},"
     "\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"system:cube-announce\"}]}"},
};

/* The lines of the default Corefile hold nothing that JSON would escape but their ends. */
static struct str corefile_json(struct arena *a, const struct cluster_config *c)
{
    struct buf text CLEANUP_BUF = BUF_INIT, json CLEANUP_BUF = BUF_INIT;
    struct str rest, line;
    dns_default_corefile(&text, c->cluster_domain, "/etc/resolv.conf", SECONDS(30));
    buf_puts(&json, "{\"metadata\":{\"name\":\"coredns\",\"namespace\":\"kube-system\"},\"data\":{\"Corefile\":\"");
    rest = buf_str(&text);
    while (str_next(&rest, '\n', &line))
        buf_printf(&json, STR_FMT "%s", STR_ARG(line), rest.p ? "\\n" : "");
    buf_puts(&json, "\"}}");
    return arena_str(a, buf_str(&json));
}

/* The members of a Service's spec that say which addresses it has. */
static void put_cluster_ips(struct buf *b, const char *list)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char **ips = list_items(&a, list);
    buf_printf(b, "\"clusterIP\":\"%s\"", ips[0]);
    if (ips[1])
        buf_printf(b, ",\"clusterIPs\":[\"%s\",\"%s\"],\"ipFamilyPolicy\":\"RequireDualStack\"", ips[0], ips[1]);
}

static int ensure(const struct cluster_config *c, const struct addon *addon, struct client *client, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf json CLEANUP_BUF = BUF_INIT;
    struct status s;
    struct val *v;
    struct str before, after;
    const struct resource *res = &resources[addon->res];
    const struct call *call = CALL(.res = res, .ns = str_of(addon->ns), .name = str_of(addon->name));
    status_init(&s, &a);
    int r = client_get(client, call, &a, NULL, &s);
    if (r != 404)
        return r < 0 ? r : 0;
    struct str text = addon->json ? str_of(addon->json) : corefile_json(&a, c);
    str_cut(text, '%', &before, &after);
    buf_putstr(&json, before);
    if (after.n) {
        put_cluster_ips(&json, c->dns_ip);
        buf_putstr(&json, str_from(after, 1));
    }
    r = json_decode(&a, res->type, buf_str(&json), 0, NULL, &v, e);
    if (r < 0)
        return r;
    status_init(&s, &a);
    r = client_create(client, CALL(.res = res, .ns = str_of(addon->ns)), v, &a, NULL, &s);
    return r > 0 && r != 409 ? err_set(e, -EIO, "%s %s cannot be made: " STR_FMT, res->kind, addon->name, STR_ARG(s.message)) : MIN(r, 0);
}

static int ensure_all(const struct cluster_config *c, const struct addon *list, size_t n, struct client *client, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = ensure(c, &list[i], client, e);
    return r;
}

int addons_ensure(const struct cluster_config *c, struct client *client, struct err *e)
{
    int r = ensure_all(c, addons, ARRAY_SIZE(addons), client, e);
    bool balances = c->load_balancer_pool && *c->load_balancer_pool;
    return r == 0 && balances ? ensure_all(c, balancing, ARRAY_SIZE(balancing), client, e) : r;
}
