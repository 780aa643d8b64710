/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/certificates.h"

#include "auth/x509.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"

#define BEGIN "-----BEGIN CERTIFICATE-----"
#define END "-----END CERTIFICATE-----"

static void check_request(struct request *r, const struct val *v)
{
    struct x509_csr csr = {.key = NULL};
    struct err e = {0};
    const struct val *pem = val_at(v, N_spec, N_request);
    if (x509_csr_parse(r->arena, val_str(pem), &csr, &e) < 0)
        cause_invalid(&r->status, STR("spec.request"), pem, err_text(&e, -EINVAL));
    x509_csr_done(&csr);
}

static ssize_t find_text(struct str s, const char *what)
{
    const char *at = s.n ? memmem(s.p, s.n, what, strlen(what)) : NULL;
    return at ? at - s.p : -1;
}

/* Every block of the bundle must be a certificate. */
static const char *bundle_fault(struct str pem)
{
    bool any = false;
    ssize_t from, to;
    while ((from = find_text(pem, BEGIN)) >= 0) {
        struct x509_cert *cert = NULL;
        struct str rest = str_from(pem, (size_t)from);
        if ((to = find_text(rest, END)) < 0)
            return "a certificate is cut short";
        size_t n = (size_t)to + sizeof(END) - 1;
        if (x509_cert_parse(str_n(rest.p, n), &cert, NULL) < 0)
            return "a block is no certificate";
        x509_cert_unref(cert);
        any = true;
        pem = str_from(rest, n);
    }
    return any ? NULL : "at least one trust anchor must be provided";
}

static void check_bundle(struct request *r, const struct val *v)
{
    const struct val *pem = val_at(v, N_spec, N_trustBundle);
    const char *fault = bundle_fault(val_str(pem));
    for (size_t i = 0; i < r->status.n_causes; i++)
        if (str_is(r->status.causes[i].field, "spec.trustBundle"))
            return; /* told already */
    if (fault)
        cause_invalid(&r->status, STR("spec.trustBundle"), pem, fault);
}

void check_certificates(struct request *r, const struct resource *res, const struct val *v)
{
    if (res->index == RES_CERTIFICATESIGNINGREQUESTS)
        check_request(r, v);
    else if (res->index == RES_CLUSTERTRUSTBUNDLES)
        check_bundle(r, v);
    else if (res->index == RES_PODCERTIFICATEREQUESTS)
        check_pod_certificate_request(r, v);
}

void check_certificates_change(struct request *r, const struct resource *res, const char *sub, const struct val *v, const struct val *old)
{
    if (res->index == RES_PODCERTIFICATEREQUESTS && sub)
        check_pod_certificate_status(r, v, old, os_wall());
}
