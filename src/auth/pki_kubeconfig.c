/* SPDX-License-Identifier: Apache-2.0 */
/* kubeconfig files with embedded certificates (kubeadm's admin.conf and its siblings). */
#include "auth/crypto.h"
#include "auth/pki.h"

#include "base/os.h"

enum { FILE_MAX = 1 << 20 };

static struct str base64_of(struct arena *a, struct str s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    base64_put(&b, s);
    return arena_str(a, buf_str(&b));
}

struct str pki_kubeconfig_text(struct arena *a, const struct pki_kubeconfig *k, struct str ca_pem,
                               struct str cert_pem, struct str key_pem)
{
    struct str ca = base64_of(a, ca_pem), cert = base64_of(a, cert_pem), key = base64_of(a, key_pem);
    const char *cluster = k->cluster ? k->cluster : "kubernetes";
    return arena_printf(a,
                        "apiVersion: v1\n"
                        "clusters:\n"
                        "- cluster:\n"
                        "    certificate-authority-data: %s\n"
                        "    server: %s\n"
                        "  name: %s\n"
                        "contexts:\n"
                        "- context:\n"
                        "    cluster: %s\n"
                        "    user: %s\n"
                        "  name: %s@%s\n"
                        "current-context: %s@%s\n"
                        "kind: Config\n"
                        "preferences: {}\n"
                        "users:\n"
                        "- name: %s\n"
                        "  user:\n"
                        "    client-certificate-data: %s\n"
                        "    client-key-data: %s\n",
                        ca.p, k->server, cluster, cluster, k->cn, k->cn, cluster, k->cn, cluster, k->cn,
                        cert.p, key.p);
}

/* The scalar after "key:" on a line of its own: all that is needed of a kubeconfig to see whether it is still
 * good, whoever wrote it. (The YAML reader lives in wire/, but a file with one cluster and one user needs
 * none.) */
static struct str scalar_of(struct str text, const char *key)
{
    struct str line;
    while (str_next(&text, '\n', &line)) {
        line = str_trim(line);
        if (str_starts(line, STR("- ")))
            line = str_trim(str_from(line, 2));
        size_t n = strlen(key);
        if (!str_starts(line, str_of(key)) || line.n <= n || line.p[n] != ':')
            continue;
        struct str v = str_trim(str_from(line, n + 1));
        if (v.n >= 2 && (v.p[0] == '"' || v.p[0] == '\'') && v.p[v.n - 1] == v.p[0])
            v = str_slice(v, 1, v.n - 2);
        return v;
    }
    return STR_NULL;
}

static struct str data_of(struct arena *a, struct str text, const char *key)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (base64_take(&b, scalar_of(text, key)) < 0)
        return STR_NULL;
    return arena_str(a, buf_str(&b));
}

static const char *cert_fault(struct arena *a, const struct pki_config *c, const struct pki_kubeconfig *k,
                              const struct x509_cert *cert, const struct x509_cert *ca)
{
    char text[TIME_TEXT_MAX];
    struct x509_names names;
    int64_t before = c->renew_before ? c->renew_before : SECONDS(30 * 86400);
    struct wall end = x509_cert_not_after(cert);
    if (end.ns - c->now.ns <= before)
        return arena_printf(a, "%s %s", end.ns <= c->now.ns ? "expired" : "expires", time_format(end, text))
            .p;
    if (!x509_cert_signed_by(cert, ca))
        return "not signed by the present CA";
    x509_cert_names(cert, a, &names);
    return strcmp(names.cn, k->cn) ? arena_printf(a, "is of %s", names.cn).p : NULL;
}

static const char *fault_of(struct arena *a, const struct pki_config *c, const struct pki_kubeconfig *k,
                            struct str text, struct str ca_pem)
{
    struct x509_cert *cert = NULL, *ca = NULL;
    if (!str_is(scalar_of(text, "server"), k->server))
        return arena_printf(a, "server is \"" STR_FMT "\"", STR_ARG(scalar_of(text, "server"))).p;
    if (!str_eq(str_trim(data_of(a, text, "certificate-authority-data")), str_trim(ca_pem)))
        return "another CA";
    if (scalar_of(text, "client-certificate").n) /* a file that its owner rotates (kubelet) */
        return NULL;
    const char *fault = "unreadable";
    if (x509_cert_parse(data_of(a, text, "client-certificate-data"), &cert, NULL) == 0 &&
        x509_cert_parse(ca_pem, &ca, NULL) == 0)
        fault = cert_fault(a, c, k, cert, ca);
    x509_cert_unref(cert);
    x509_cert_unref(ca);
    return fault;
}

static int write_kubeconfig(struct arena *a, const struct pki_config *c, const struct pki_kubeconfig *k,
                            struct str ca_pem, struct err *e)
{
    struct str cert, key;
    int r = pki_client_cert(a, c, k->cn, k->orgs, &cert, &key, e);
    if (r < 0)
        return r;
    r = os_write_file(k->path, pki_kubeconfig_text(a, k, ca_pem, cert, key), 0600);
    return r < 0 ? err_set(e, r, "cannot write %s: %s", k->path, strerror(-r)) : 0;
}

int pki_kubeconfig_ensure(struct arena *a, const struct pki_config *c, const struct pki_kubeconfig *k,
                          const char **ret_reason, struct err *e)
{
    struct str ca_pem = k->ca_pem, text;
    const char *ca_path = arena_printf(a, "%s/ca.crt", c->dir).p;
    int r = ca_pem.n ? 0 : os_read_file(a, ca_path, FILE_MAX, &ca_pem);
    if (r < 0)
        return err_set(e, r, "%s: %s", ca_path, strerror(-r));
    r = os_read_file(a, k->path, FILE_MAX, &text);
    if (r < 0 && r != -ENOENT)
        return err_set(e, r, "%s: %s", k->path, strerror(-r));
    const char *fault = r < 0 ? "missing" : fault_of(a, c, k, text, ca_pem);
    if (fault) {
        r = write_kubeconfig(a, c, k, ca_pem, e);
        if (r < 0)
            return err_wrap(e, r, "%s (%s)", k->path, fault);
    }
    if (ret_reason)
        *ret_reason = fault;
    return 0;
}

static const struct {
    const char *file, *cn;
    const char *orgs[2];
} standard[] = {
    {"admin.conf", "kubernetes-admin", {"kubeadm:cluster-admins", NULL}},
    {"super-admin.conf", "kubernetes-super-admin", {"system:masters", NULL}},
    {"controller-manager.conf", "system:kube-controller-manager", {NULL}},
    {"scheduler.conf", "system:kube-scheduler", {NULL}},
    {"kubelet.conf", NULL, {"system:nodes", NULL}}, /* system:node:<name> */
};

int pki_kubeconfigs_ensure(struct arena *a, const struct pki_config *c, const char *conf_dir,
                           const char *server, const char *node_name, struct pki_item **ret_items,
                           struct err *e)
{
    struct pki_item *items = ARENA_ARRAY(a, struct pki_item, ARRAY_SIZE(standard) + 1);
    int r = os_mkdir_all(conf_dir, 0755);
    if (r < 0)
        return err_set(e, r, "cannot make %s: %s", conf_dir, strerror(-r));
    for (size_t i = 0; i < ARRAY_SIZE(standard); i++) {
        const char *cn = standard[i].cn ? standard[i].cn : arena_printf(a, "system:node:%s", node_name).p;
        struct pki_kubeconfig k = {.path = arena_printf(a, "%s/%s", conf_dir, standard[i].file).p,
                                   .server = server,
                                   .cn = cn,
                                   .orgs = standard[i].orgs};
        items[i].name = standard[i].file;
        r = pki_kubeconfig_ensure(a, c, &k, &items[i].reason, e);
        if (r < 0)
            return r;
    }
    if (ret_items)
        *ret_items = items;
    return 0;
}
