/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/pki.h"

#include "base/os.h"

#include <stdio.h>

enum { FILE_MAX = 1 << 20 };
#define DAYS(n) ((int64_t)(n)*86400 * NSEC_PER_SEC)

/* A pair of files, as far as it is there. */
struct pair {
    struct x509_cert *cert;
    struct x509_key *key;
};

static void pair_done(struct pair *p)
{
    p->cert = x509_cert_unref(p->cert);
    p->key = x509_key_unref(p->key);
}

struct ca_spec {
    const char *name, *cn;
};

static const struct ca_spec cas[] = {{"ca", "kubernetes"}, {"front-proxy-ca", "front-proxy-ca"}};

struct leaf_spec {
    const char *name;
    unsigned ca; /* index into cas */
    const char *cn;
    const char *orgs[2];
    unsigned usage;
    bool apiserver; /* with the API server's names */
};

static const struct leaf_spec leaves[] = {
    {"apiserver", 0, "kube-apiserver", {NULL}, X509_SERVER_AUTH, true},
    {"apiserver-kubelet-client",
     0,
     "kube-apiserver-kubelet-client",
     {"kubeadm:cluster-admins", NULL},
     X509_CLIENT_AUTH,
     false},
    {"front-proxy-client", 1, "front-proxy-client", {NULL}, X509_CLIENT_AUTH, false},
};

/* ---- files -------------------------------------------------------------------------------------------- */

static char *path_of(struct arena *a, const struct pki_config *c, const char *name, const char *ext)
{
    return (char *)(uintptr_t)arena_printf(a, "%s/%s.%s", c->dir, name, ext).p;
}

static int load_cert(struct arena *a, const char *path, struct x509_cert **ret, struct err *e)
{
    struct str text;
    int r = os_read_file(a, path, FILE_MAX, &text);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_set(e, r, "%s: %s", path, strerror(-r));
    r = x509_cert_parse(text, ret, e);
    return r < 0 ? err_wrap(e, r, "%s", path) : 0;
}

static int load_key(struct arena *a, const char *path, struct x509_key **ret, struct err *e)
{
    struct str text;
    int r = os_read_file(a, path, FILE_MAX, &text);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_set(e, r, "%s: %s", path, strerror(-r));
    r = x509_key_parse(text, ret, e);
    return r < 0 ? err_wrap(e, r, "%s", path) : 0;
}

static int load_pair(struct arena *a, const struct pki_config *c, const char *name, struct pair *ret,
                     struct err *e)
{
    struct pair p = {0};
    int r = load_cert(a, path_of(a, c, name, "crt"), &p.cert, e);
    if (r == 0)
        r = load_key(a, path_of(a, c, name, "key"), &p.key, e);
    if (r < 0)
        pair_done(&p);
    else
        *ret = p;
    return r;
}

static int write_text(const char *path, const struct buf *b, mode_t mode, struct err *e)
{
    int r = os_write_file(path, buf_str(b), mode);
    return r < 0 ? err_set(e, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

/* The key first: a certificate without its key is worse than a key without its certificate. */
static int write_pair(struct arena *a, const struct pki_config *c, const char *name, const struct pair *p,
                      struct err *e)
{
    struct buf cert CLEANUP_BUF = BUF_INIT, key CLEANUP_BUF = BUF_INIT;
    x509_cert_pem(p->cert, &cert);
    x509_key_pem(p->key, &key);
    int r = write_text(path_of(a, c, name, "key"), &key, 0600, e);
    return r < 0 ? r : write_text(path_of(a, c, name, "crt"), &cert, 0644, e);
}

/* ---- judging ------------------------------------------------------------------------------------------ */

static int64_t renew_before(const struct pki_config *c)
{
    return c->renew_before ? c->renew_before : DAYS(30);
}

static const char *expiry_fault(struct arena *a, const struct pki_config *c, const struct x509_cert *cert)
{
    char text[TIME_TEXT_MAX];
    struct wall end = x509_cert_not_after(cert);
    if (end.ns - c->now.ns > renew_before(c))
        return NULL;
    return arena_printf(a, "%s %s", end.ns <= c->now.ns ? "expired" : "expires", time_format(end, text)).p;
}

static bool key_matches(const struct pair *p)
{
    struct x509_key *public = x509_cert_key(p->cert);
    bool same = public && x509_key_equal(public, p->key);
    x509_key_unref(public);
    return same;
}

/* The names an API server's certificate must have. */
static void apiserver_names(struct arena *a, const struct pki_config *c, struct x509_names *ret)
{
    size_t n_dns = 0, n_ips = 0, n = 0;
    for (const char *const *p = c->apiserver_dns; p && *p; p++)
        n_dns++;
    for (const char *const *p = c->apiserver_ips; p && *p; p++)
        n_ips++;
    const char **dns = ARENA_ARRAY(a, const char *, n_dns + 6),
               **ips = ARENA_ARRAY(a, const char *, n_ips + 1);
    const char *domain = c->dns_domain && c->dns_domain[0] ? c->dns_domain : "cluster.local";
    dns[n++] = "kubernetes";
    dns[n++] = "kubernetes.default";
    dns[n++] = "kubernetes.default.svc";
    dns[n++] = arena_printf(a, "kubernetes.default.svc.%s", domain).p;
    dns[n++] = "localhost";
    for (size_t i = 0; i < n_dns; i++)
        dns[n++] = c->apiserver_dns[i];
    for (size_t i = 0; i < n_ips; i++)
        ips[i] = c->apiserver_ips[i];
    ret->dns = dns;
    ret->ips = ips;
}

static const char *names_fault(struct arena *a, const struct x509_cert *cert, const struct x509_names *names)
{
    for (const char *const *p = names->dns; p && *p; p++)
        if (!x509_cert_has_san(cert, *p))
            return arena_printf(a, "lacks %s", *p).p;
    for (const char *const *p = names->ips; p && *p; p++)
        if (!x509_cert_has_san(cert, *p))
            return arena_printf(a, "lacks %s", *p).p;
    return NULL;
}

static const char *leaf_fault(struct arena *a, const struct pki_config *c, const struct pair *p,
                              const struct pair *ca, const struct x509_names *names)
{
    if (!p->cert || !p->key)
        return p->cert ? "its key is missing" : "missing";
    if (!key_matches(p))
        return "does not match its key";
    if (ca->cert && !x509_cert_signed_by(p->cert, ca->cert))
        return "not signed by the present CA";
    const char *fault = names_fault(a, p->cert, names);
    return fault ? fault : expiry_fault(a, c, p->cert);
}

/* ---- making ------------------------------------------------------------------------------------------- */

/* Backdated, so that a machine whose clock is a little behind takes it at once. */
static struct wall start_of(const struct pki_config *c)
{
    return (struct wall){c->now.ns - SECONDS(3600)};
}

static int make_ca(const struct pki_config *c, const struct ca_spec *spec, struct pair *p, struct err *e)
{
    const char *const dns[] = {spec->cn, NULL};
    struct x509_spec x = {
        .names = {.cn = spec->cn, .dns = dns},
        .is_ca = true,
        .usages = X509_DIGITAL_SIGNATURE | X509_KEY_ENCIPHERMENT | X509_CERT_SIGN,
        .not_before = start_of(c),
        .not_after = {c->now.ns + (c->ca_validity ? c->ca_validity : DAYS(3650))},
    };
    int r = p->key ? 0 : x509_key_generate(&p->key);
    if (r < 0)
        return r;
    struct x509_cert *cert;
    r = x509_issue(&x, p->key, NULL, NULL, &cert, e);
    if (r < 0)
        return r;
    x509_cert_unref(p->cert);
    p->cert = cert;
    return 0;
}

static int make_leaf(const struct pki_config *c, const struct pair *ca, const struct x509_names *names,
                     unsigned usage, struct pair *ret, struct err *e)
{
    struct x509_spec x = {
        .names = *names,
        .usages = usage | X509_DIGITAL_SIGNATURE | X509_KEY_ENCIPHERMENT,
        .not_before = start_of(c),
        .not_after = {c->now.ns + (c->leaf_validity ? c->leaf_validity : DAYS(365))},
    };
    if (!ca->cert || !ca->key)
        return err_set(e, -ENOKEY, "the CA's %s is missing", ca->cert ? "key" : "certificate");
    struct pair p = {0};
    int r = x509_key_generate(&p.key);
    if (r == 0)
        r = x509_issue(&x, p.key, ca->cert, ca->key, &p.cert, e);
    if (r < 0) {
        pair_done(&p);
        return r;
    }
    *ret = p;
    return 0;
}

/* ---- the layout --------------------------------------------------------------------------------------- */

struct pki_run {
    struct arena *a;
    const struct pki_config *c;
    struct pki_item *items;
    size_t n;
    bool write;
    struct pair ca[ARRAY_SIZE(cas)];
};

static void report(struct pki_run *run, const char *name, const char *reason, const struct x509_cert *cert)
{
    run->items[run->n++] =
        (struct pki_item){name, reason, cert ? x509_cert_not_after(cert) : (struct wall){0}};
}

/* A renewed CA keeps key and name: what it signed stays good. */
static int do_ca(struct pki_run *run, size_t i, struct err *e)
{
    struct pair *p = &run->ca[i];
    int r = load_pair(run->a, run->c, cas[i].name, p, e);
    if (r < 0)
        return r;
    const char *fault = !p->cert                    ? "missing"
                        : p->key && !key_matches(p) ? "does not match its key"
                                                    : expiry_fault(run->a, run->c, p->cert);
    if (fault && p->cert && !p->key && x509_cert_not_after(p->cert).ns > run->c->now.ns)
        fault = NULL; /* an external CA near its end is its keeper's business */
    if (fault && p->cert && !p->key)
        return err_set(e, -ENOKEY, "%s/%s.crt %s and its key is not here to renew it", run->c->dir,
                       cas[i].name, fault);
    if (fault && run->write) {
        r = make_ca(run->c, &cas[i], p, e);
        if (r == 0)
            r = write_pair(run->a, run->c, cas[i].name, p, e);
        if (r < 0)
            return err_wrap(e, r, "%s", cas[i].name);
    }
    report(run, cas[i].name, fault, p->cert);
    return 0;
}

static int do_leaf(struct pki_run *run, const struct leaf_spec *l, struct err *e)
{
    struct pair p = {0}, *ca = &run->ca[l->ca];
    struct x509_names names = {.cn = l->cn, .orgs = l->orgs};
    if (l->apiserver)
        apiserver_names(run->a, run->c, &names);
    struct err unreadable;
    const char *fault = load_pair(run->a, run->c, l->name, &p, &unreadable) < 0
                            ? "unreadable"
                            : leaf_fault(run->a, run->c, &p, ca, &names);
    if (fault && !ca->key && p.cert && p.key && str_starts(str_of(fault), STR("expires ")))
        fault = NULL; /* still good, and nobody here can sign a new one */
    int r = 0;
    if (fault && run->write) {
        struct pair made = {0};
        r = make_leaf(run->c, ca, &names, l->usage, &made, e);
        if (r == 0) {
            pair_done(&p);
            p = made;
            r = write_pair(run->a, run->c, l->name, &p, e);
        }
        if (r < 0)
            err_wrap(e, r, "%s (%s)", l->name, fault);
    }
    if (r == 0)
        report(run, l->name, fault, p.cert);
    pair_done(&p);
    return r;
}

/* The key pair that signs service account tokens; sa.pub is there for servers that only verify. */
static int do_service_account(struct pki_run *run, struct err *e)
{
    struct x509_key *key = NULL, *public = NULL;
    struct buf b CLEANUP_BUF = BUF_INIT;
    const char *fault = NULL;
    int r = load_key(run->a, path_of(run->a, run->c, "sa", "key"), &key, e);
    if (r == 0)
        r = load_key(run->a, path_of(run->a, run->c, "sa", "pub"), &public, e);
    if (r == 0 && !public)
        fault = "missing";
    if (r == 0 && !key && !public && run->write) {
        r = x509_key_generate(&key);
        if (r == 0) {
            x509_key_pem(key, &b);
            r = write_text(path_of(run->a, run->c, "sa", "key"), &b, 0600, e);
        }
    }
    if (r == 0 && key && (!public || !x509_key_equal(key, public))) {
        fault = public ? "sa.pub is not of sa.key" : "missing";
        buf_clear(&b);
        x509_key_public_pem(key, &b);
        if (run->write)
            r = write_text(path_of(run->a, run->c, "sa", "pub"), &b, 0644, e);
    }
    x509_key_unref(key);
    x509_key_unref(public);
    if (r == 0)
        report(run, "sa", fault, NULL);
    return r;
}

static int run_all(struct pki_run *run, struct err *e)
{
    int r = 0;
    run->items = ARENA_ARRAY(run->a, struct pki_item, ARRAY_SIZE(cas) + ARRAY_SIZE(leaves) + 2);
    if (run->write) {
        r = os_mkdir_all(run->c->dir, 0755);
        if (r < 0)
            return err_set(e, r, "cannot make %s: %s", run->c->dir, strerror(-r));
    }
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(cas); i++)
        r = do_ca(run, i, e);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(leaves); i++)
        r = do_leaf(run, &leaves[i], e);
    if (r == 0)
        r = do_service_account(run, e);
    for (size_t i = 0; i < ARRAY_SIZE(cas); i++)
        pair_done(&run->ca[i]);
    return r;
}

int pki_ensure(struct arena *a, const struct pki_config *c, struct pki_item **ret_items, struct err *e)
{
    struct pki_run run = {.a = a, .c = c, .write = true};
    int r = run_all(&run, e);
    if (r == 0 && ret_items)
        *ret_items = run.items;
    return r;
}

int pki_check(struct arena *a, const struct pki_config *c, struct pki_item **ret_items, struct err *e)
{
    struct pki_run run = {.a = a, .c = c};
    int r = run_all(&run, e);
    if (r == 0 && ret_items)
        *ret_items = run.items;
    return r;
}

int pki_client_cert(struct arena *a, const struct pki_config *c, const char *cn, const char *const *orgs,
                    struct str *ret_cert_pem, struct str *ret_key_pem, struct err *e)
{
    struct pair ca = {0}, p = {0};
    struct x509_names names = {.cn = cn, .orgs = orgs};
    struct buf cert CLEANUP_BUF = BUF_INIT, key CLEANUP_BUF = BUF_INIT;
    int r = load_pair(a, c, "ca", &ca, e);
    if (r == 0)
        r = make_leaf(c, &ca, &names, X509_CLIENT_AUTH, &p, e);
    if (r == 0) {
        x509_cert_pem(p.cert, &cert);
        x509_key_pem(p.key, &key);
        *ret_cert_pem = arena_str(a, buf_str(&cert));
        *ret_key_pem = arena_str(a, buf_str(&key));
    }
    pair_done(&p);
    pair_done(&ca);
    return r;
}
