/* SPDX-License-Identifier: Apache-2.0 */
#include "node/certs.h"

#include "auth/x509.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/client.h"
#include "client/kubeconfig.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

#include <stdio.h>
#include <unistd.h>

#define LOG "kubelet"
#define POLL SECONDS(1)
#define PATIENCE SECONDS(900) /* for somebody to approve; then a new request is made */
#define RETRY SECONDS(30)

const char *cert_path(struct arena *a, const struct certs *c, enum cert_use use)
{
    return arena_printf(a, "%s/kubelet-%s-current.pem", c->dir, use == CERT_CLIENT ? "client" : "server").p;
}

struct wall cert_renewal(struct wall not_before, struct wall not_after, double spread)
{
    double whole = (double)(not_after.ns - not_before.ns);
    return (struct wall){not_before.ns + (int64_t)(whole * (0.7 + 0.2 * spread))};
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

struct asking {
    const struct certs *c;
    struct client *client;
    enum cert_use use;
    struct arena *a;
    struct x509_key *key;
    struct err *e;
};

/* Addresses of the node, as its object has them: what clients come to is what the certificate must name. */
static int serving_names(struct asking *q, struct x509_names *n)
{
    const struct val *node;
    struct status s;
    status_init(&s, q->a);
    if (client_get(q->client, CALL(.res = &resources[RES_NODES], .name = str_of(q->c->node_name)), q->a, &node, &s) != 0)
        return err_set(q->e, -ENOENT, "the node: " STR_FMT, STR_ARG(s.message));
    const struct val *list = val_at(node, N_status, N_addresses);
    const char **ips = ARENA_ARRAY(q->a, const char *, val_len(list) + 1), **dns = ARENA_ARRAY(q->a, const char *, val_len(list) + 1);
    size_t n_ips = 0, n_dns = 0;
    VAL_EACH (list, one) {
        struct str type = val_getstr(one, N_type);
        if (str_is(type, "InternalIP") || str_is(type, "ExternalIP"))
            ips[n_ips++] = arena_cstr(q->a, val_getstr(one, N_address));
        else
            dns[n_dns++] = arena_cstr(q->a, val_getstr(one, N_address));
    }
    n->ips = ips;
    n->dns = dns;
    return n_ips + n_dns ? 0 : err_set(q->e, -EAGAIN, "the node has no addresses yet");
}

static int make_request(struct asking *q, struct val **ret)
{
    static const char *const orgs[] = {"system:nodes", NULL};
    struct x509_names names = {.cn = arena_printf(q->a, "system:node:%s", q->c->node_name).p, .orgs = orgs};
    struct buf pem CLEANUP_BUF = BUF_INIT;
    int r = q->use == CERT_SERVER ? serving_names(q, &names) : 0;
    if (r == 0)
        r = x509_csr_make(&names, q->key, &pem, q->e);
    if (r < 0)
        return r;
    struct val *v = val_new(q->a, VAL_OBJ), *spec = val_sub_obj(q->a, v, N_spec), *usages = val_sub_list(q->a, spec, N_usages);
    val_set_str(q->a, val_sub_obj(q->a, v, N_metadata), N_generateName, STR("csr-"));
    val_set(q->a, spec, N_request, val_of_bytes(arena_str(q->a, buf_str(&pem))));
    val_set_str(q->a, spec, N_signerName,
                q->use == CERT_CLIENT ? STR("kubernetes.io/kube-apiserver-client-kubelet") : STR("kubernetes.io/kubelet-serving"));
    val_add_str(q->a, usages, STR("digital signature"));
    val_add_str(q->a, usages, q->use == CERT_CLIENT ? STR("client auth") : STR("server auth"));
    *ret = v;
    return 0;
}

/* 1 while nothing is decided. */
static int look(struct asking *q, struct str name, struct str *ret)
{
    const struct val *v;
    struct status s;
    status_init(&s, q->a);
    int r = client_get(q->client, CALL(.res = &resources[RES_CERTIFICATESIGNINGREQUESTS], .name = name), q->a, &v, &s);
    if (r == 404)
        return err_set(q->e, -ENOENT, "the certificate signing request is gone");
    if (r != 0)
        return r < 0 ? r : 1;
    VAL_EACH (val_at(v, N_status, N_conditions), c)
        if (str_is(val_getstr(c, N_type), "Denied") || str_is(val_getstr(c, N_type), "Failed"))
            return err_set(q->e, -EACCES, "the certificate signing request was refused: " STR_FMT, STR_ARG(val_getstr(c, N_message)));
    *ret = val_str(val_at(v, N_status, N_certificate));
    return ret->n ? 0 : 1;
}

static int ask(struct asking *q, struct str *ret)
{
    struct val *v = NULL;
    const struct val *made;
    struct status s;
    struct mono end = mono_add(os_mono(), PATIENCE);
    status_init(&s, q->a);
    int r = x509_key_generate(&q->key);
    if (r == 0)
        r = make_request(q, &v);
    if (r < 0)
        return r;
    r = client_create(q->client, CALL(.res = &resources[RES_CERTIFICATESIGNINGREQUESTS]), v, q->a, &made, &s);
    if (r != 0)
        return r < 0 ? r : err_set(q->e, -EIO, "cannot ask for a certificate: " STR_FMT, STR_ARG(s.message));
    log_info(LOG, "asked for a certificate: " STR_FMT, STR_ARG(obj_name(made)));
    while ((r = look(q, obj_name(made), ret)) == 1) {
        if (os_mono().ns > end.ns)
            return err_set(q->e, -ETIMEDOUT, "nobody has approved the certificate signing request " STR_FMT, STR_ARG(obj_name(made)));
        if (fiber_sleep(POLL) < 0)
            return -ECANCELED;
    }
    return r;
}

/* ---- keeping ----------------------------------------------------------------------------------------------- */

/* Under a name of its own, and then made the current one. */
static int keep(struct asking *q, struct str cert)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char when[TIME_TEXT_MAX];
    const char *kind = q->use == CERT_CLIENT ? "client" : "server", *current = cert_path(q->a, q->c, q->use);
    const char *name = arena_printf(q->a, "kubelet-%s-%s.pem", kind, time_format(os_wall(), when)).p;
    buf_put(&b, cert.p, cert.n);
    if (cert.n && cert.p[cert.n - 1] != '\n')
        buf_putc(&b, '\n');
    x509_key_pem(q->key, &b);
    int r = os_mkdir_all(q->c->dir, 0700);
    if (r == 0)
        r = os_write_file(arena_printf(q->a, "%s/%s", q->c->dir, name).p, buf_str(&b), 0600);
    const char *link = arena_printf(q->a, "%s.tmp", current).p;
    unlink(link);
    if (r == 0 && symlink(name, link) < 0)
        r = -errno;
    if (r == 0)
        r = os_rename(link, current);
    return r < 0 ? err_set(q->e, r, "cannot keep the certificate in %s: %s", q->c->dir, strerror(-r)) : 0;
}

static int get_one(const struct certs *c, struct client *client, enum cert_use use, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct asking q = {c, client, use, &a, NULL, e};
    struct str cert = STR_NULL;
    int r = ask(&q, &cert);
    if (r == 0)
        r = keep(&q, cert);
    x509_key_unref(q.key);
    arena_done(&a);
    return r;
}

/* ---- the first one ------------------------------------------------------------------------------------------- */

static int write_kubeconfig(const struct certs *c, const struct https_config *from, const char *path, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    const char *ca = arena_printf(&a, "%s/kubelet-ca.crt", c->dir).p, *pem = cert_path(&a, c, CERT_CLIENT);
    int r = os_mkdir_all(c->dir, 0700);
    buf_puts(&b, "{\"apiVersion\":\"v1\",\"kind\":\"Config\",\"clusters\":[{\"name\":\"default-cluster\",\"cluster\":{\"server\":");
    json_encode_str(&b, from->server, 0);
    if (from->ca_pem.n) {
        r = r == 0 ? os_write_file(ca, from->ca_pem, 0644) : r;
        buf_puts(&b, ",\"certificate-authority\":");
        json_encode_str(&b, str_of(ca), 0);
    }
    buf_puts(&b, "}}],\"contexts\":[{\"name\":\"default-context\",\"context\":{\"cluster\":\"default-cluster\",\"namespace\":\"default\","
                 "\"user\":\"default-auth\"}}],\"current-context\":\"default-context\",\"users\":[{\"name\":\"default-auth\",\"user\":{"
                 "\"client-certificate\":");
    json_encode_str(&b, str_of(pem), 0);
    buf_puts(&b, ",\"client-key\":");
    json_encode_str(&b, str_of(pem), 0);
    buf_puts(&b, "}}]}\n");
    if (r == 0)
        r = os_write_file(path, buf_str(&b), 0600);
    arena_done(&a);
    return r < 0 ? err_set(e, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

int certs_bootstrap(const struct certs *c, const char *bootstrap, const char *kubeconfig, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct val *file;
    struct https_config from = {.server = STR_NULL};
    struct str ns;
    struct client *client = NULL;
    int r = kubeconfig_load(&a, bootstrap, &file, e);
    if (r == 0)
        r = kubeconfig_resolve(&a, file, &(const struct kubeconfig_overrides){.context = NULL}, &from, &ns, e);
    if (r == 0)
        r = kubeconfig_client(bootstrap, "kubelet", &client, e);
    while (r == 0 && (r = get_one(c, client, CERT_CLIENT, e)) < 0 && r != -ECANCELED && r != -EACCES) {
        log_warn(LOG, "bootstrap: %s", err_text(e, r));
        r = fiber_sleep(RETRY);
    }
    if (r == 0)
        r = write_kubeconfig(c, &from, kubeconfig, e);
    if (client)
        client_free(client);
    arena_done(&a);
    return r;
}

/* ---- in time --------------------------------------------------------------------------------------------------- */

static struct wall due(const struct certs *c, enum cert_use use)
{
    struct arena a = ARENA_INIT;
    struct str pem;
    struct x509_cert *cert = NULL;
    struct wall when = {0};
    if (os_read_file(&a, cert_path(&a, c, use), 1 << 20, &pem) == 0 && x509_cert_parse(pem, &cert, NULL) == 0)
        when = cert_renewal(x509_cert_not_before(cert), x509_cert_not_after(cert), (double)os_random_below(1000) / 1000);
    x509_cert_unref(cert);
    arena_done(&a);
    return when;
}

int certs_renew(const struct certs *c, struct client *client, enum cert_use use)
{
    struct wall when = due(c, use);
    for (;;) {
        struct err e = {{0}};
        int64_t left = when.ns - os_wall().ns;
        if (left > 0) {
            if (fiber_sleep(MIN(left, SECONDS(3600))) < 0) /* clocks are set */
                return -ECANCELED;
            continue;
        }
        int r = get_one(c, client, use, &e);
        if (r == 0 || r == -ECANCELED || fiber_cancelled())
            return r == 0 ? 0 : -ECANCELED;
        log_warn(LOG, "a new certificate: %s", err_text(&e, r));
        if (fiber_sleep(r == -ENOENT || r == -EAGAIN ? POLL : RETRY) < 0) /* the node is not registered yet */
            return -ECANCELED;
    }
}
