/* SPDX-License-Identifier: Apache-2.0 */
/* What a further node shows to be let in, and what its kubelet serves with. Issued by the machine, which has
 * the CA's key. */
#include "adm/nodes.h"

#include "adm/addresses.h"
#include "adm/parts.h"
#include "auth/pki.h"
#include "base/os.h"

#include <sys/stat.h>

static const char *const nodes_group[] = {"system:nodes", NULL};
static const char *const no_groups[] = {NULL};

/* Which user each part of a node comes as: parts.c has the same for the parts beside the API server. */
static const struct {
    const char *file, *user; /* user NULL: system:node:<name> */
    const char *const *groups;
} identities[] = {
    {"kubelet.conf", NULL, nodes_group},
    {"kube-proxy.conf", "system:kube-proxy", no_groups},
    {"coredns.conf", "system:coredns", no_groups},
    {"overlay.conf", "system:cube-overlay", no_groups},
    {"policy.conf", "system:cube-policy", no_groups},
    {"announce.conf", "system:cube-announce", no_groups},
};

static int ensure_kubeconfigs(struct arena *a, const struct cluster_config *c, const struct node *n,
                              bool *changed, struct err *e)
{
    struct pki_config p = {.dir = arena_printf(a, "%s/pki", c->conf_dir).p, .now = os_wall()};
    for (size_t i = 0; i < ARRAY_SIZE(identities); i++) {
        const char *why = NULL;
        const struct pki_kubeconfig k = {
            .path = arena_printf(a, "%s/%s", n->dir, identities[i].file).p,
            .server = api_url(a, c),
            .cn = identities[i].user ? identities[i].user : arena_printf(a, "system:node:%s", n->name).p,
            .orgs = identities[i].groups,
        };
        int r = pki_kubeconfig_ensure(a, &p, &k, &why, e);
        if (r < 0)
            return r;
        *changed = *changed || why;
    }
    return 0;
}

static bool is_good(struct arena *a, struct str cert_pem, struct str ca_pem, const struct node *n)
{
    struct x509_cert *cert = NULL, *ca = NULL;
    bool good = x509_cert_parse(cert_pem, &cert, NULL) == 0 && x509_cert_parse(ca_pem, &ca, NULL) == 0 &&
                x509_cert_signed_by(cert, ca) && x509_cert_not_after(cert).ns - os_wall().ns > SECONDS(30 * 86400);
    for (const char **ip = list_items(a, n->cluster.advertise); good && *ip; ip++)
        good = x509_cert_has_san(cert, *ip);
    x509_cert_unref(cert);
    x509_cert_unref(ca);
    return good;
}

static int ensure_serving(struct arena *a, const struct cluster_config *c, const struct node *n,
                          bool *changed, struct err *e)
{
    const char *pki = arena_printf(a, "%s/pki", c->conf_dir).p, *own = arena_printf(a, "%s/pki", n->dir).p;
    const char *cert_path = arena_printf(a, "%s/kubelet.crt", own).p,
               *key_path = arena_printf(a, "%s/kubelet.key", own).p;
    struct str ca, ca_key, cert, key;
    int r = os_mkdir_all(own, 0700);
    if (r == 0)
        r = os_read_file(a, arena_printf(a, "%s/ca.crt", pki).p, 1 << 20, &ca);
    if (r == 0)
        r = os_write_file(arena_printf(a, "%s/ca.crt", own).p, ca, 0644);
    if (r < 0)
        return err_set(e, r, "cannot copy the cluster's CA from %s to %s: %s", pki, own, strerror(-r));
    if (os_read_file(a, cert_path, 1 << 20, &cert) == 0 && os_read_file(a, key_path, 1 << 20, &key) == 0 &&
        is_good(a, cert, ca, n))
        return 0;
    *changed = true;
    r = os_read_file(a, arena_printf(a, "%s/ca.key", pki).p, 1 << 20, &ca_key);
    if (r < 0)
        return err_set(e, r, "cannot read the key of the cluster's CA in %s: %s", pki, strerror(-r));
    r = parts_kubelet_cert(a, &n->cluster, ca, ca_key, &cert, &key, e);
    if (r < 0)
        return r;
    r = os_write_file(key_path, key, 0600);
    if (r == 0)
        r = os_write_file(cert_path, cert, 0644);
    return r < 0 ? err_set(e, r, "cannot write %s: %s", cert_path, strerror(-r)) : 0;
}

int node_certs_ensure(const struct cluster_config *c, const struct node *n, bool *ret_changed, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    bool changed = false;
    int r = ensure_kubeconfigs(&a, c, n, &changed, e);
    if (r == 0)
        r = ensure_serving(&a, c, n, &changed, e);
    if (r == 0)
        *ret_changed = changed;
    return r;
}
