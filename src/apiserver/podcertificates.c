/* SPDX-License-Identifier: Apache-2.0 */
/* PodCertificateRequests (KEP-4317): the key that is asked for, and what a signer may make of a request. */
#include "apiserver/auth.h"
#include "apiserver/certificates.h"
#include "auth/x509.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#define REQUEST_MAX ((size_t)10 << 10)
#define CHAIN_MAX ((size_t)100 << 10)
#define CLOCKS SECONDS(300)    /* a signer's may differ by so much from ours */
#define MARGIN SECONDS(600)    /* of the time to renew, from both ends */
#define LEAST_LIFE SECONDS(3600)

#define CHAIN_PATH STR("status.certificateChain")
#define REQUEST_PATH STR("spec.stubPKCS10Request")

/* ---- new ones ------------------------------------------------------------------------------------------- */

/* The key is of a kind that Pods may ask for, and who asks holds it. */
void check_pod_certificate_request(struct request *r, const struct val *v)
{
    struct x509_csr csr = {.key = NULL};
    struct str der = val_str(val_at(v, N_spec, N_stubPKCS10Request));
    if (!der.n)
        return; /* its absence is told by the rules */
    if (der.n > REQUEST_MAX) {
        cause_too_long(&r->status, REQUEST_PATH, REQUEST_MAX);
        return;
    }
    int e = x509_csr_parse_der(r->arena, der, &csr, NULL);
    if (e < 0)
        cause_invalid(&r->status, REQUEST_PATH, NULL, e == -EACCES ? "invalid signature" : "must be a valid PKCS#10 CSR");
    else if (x509_key_kind_of(csr.key) == X509_KEY_OTHER)
        cause_invalid(&r->status, REQUEST_PATH, NULL,
                      "unknown public key type; supported are Ed25519, ECDSA with curve P256, P384, or P521, and RSA with modulus size 3072 or 4096");
    x509_csr_done(&csr);
}

/* ---- what a signer says ----------------------------------------------------------------------------------- */

static const char *const outcomes[] = {"Issued", "Denied", "Failed", NULL};

static bool outcome_is(const struct val *status, const char *type)
{
    return condition_is(val_get(status, N_conditions), str_of(type), "True");
}

static bool decided(const struct val *status)
{
    return outcome_is(status, "Issued") || outcome_is(status, "Denied") || outcome_is(status, "Failed");
}

static void check_outcome(struct request *r, const struct val *status)
{
    static const char *const yes[] = {"True", NULL};
    size_t i = 0, known = 0;
    VAL_EACH(val_get(status, N_conditions), c) {
        struct str at = arena_printf(r->arena, "status.conditions[%zu].type", i);
        bool outcome = false;
        for (const char *const *o = outcomes; *o; o++)
            outcome = outcome || str_is(val_getstr(c, N_type), *o);
        if (!outcome)
            cause_not_supported(&r->status, at, val_get(c, N_type), outcomes);
        else if (++known > 1)
            cause_invalid(&r->status, at, val_get(c, N_type), "There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"");
        if (outcome && !str_is(val_getstr(c, N_status), "True"))
            cause_not_supported(&r->status, arena_printf(r->arena, "status.conditions[%zu].status", i), val_get(c, N_status), yes);
        i++;
    }
}

struct chain {
    size_t n;
    struct x509_cert *leaf;
    const char *fault;
};

static int visit_block(void *arg, struct str label, struct str der)
{
    struct chain *c = arg;
    struct x509_cert *cert = NULL;
    if (!str_is(label, "CERTIFICATE"))
        c->fault = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks";
    else if (x509_cert_parse(der, &cert, NULL) < 0)
        c->fault = c->n ? "intermediate certificate does not parse as valid X.509" : "leaf certificate does not parse as valid X.509";
    if (!c->leaf)
        c->leaf = cert;
    else
        x509_cert_unref(cert);
    c->n++;
    return c->fault ? 1 : 0;
}

static const char *names_fault(struct arena *a, const struct x509_cert *leaf)
{
    struct x509_names names = {0};
    x509_cert_names(leaf, a, &names);
    for (const char *const *d = names.dns; d && *d; d++) {
        struct str s = str_of(*d);
        if (!s.n)
            return "leaf certificate should not contain empty DNSName";
        if (strstr(*d, ".."))
            return "leaf certificate's DNSName should not contain '..'";
        if (s.p[0] == '.' || s.p[s.n - 1] == '.')
            return "leaf certificate's DNSName should not start or end with '.'";
    }
    for (const char *const *m = names.emails; m && *m; m++)
        if (str_find(str_of(*m), '@') <= 0)
            return "leaf certificate should not contain invalid EmailAddress";
    return NULL;
}

static bool is_for(struct arena *a, const struct x509_cert *leaf, struct str der)
{
    struct x509_csr csr = {.key = NULL};
    struct x509_key *key = x509_cert_key(leaf);
    bool same = x509_csr_parse_der(a, der, &csr, NULL) == 0 && key && x509_key_equal(csr.key, key);
    x509_csr_done(&csr);
    x509_key_unref(key);
    return same;
}

/* The times of the status are those of the certificate, and leave room to renew it. Tells the first fault. */
static void check_times(struct request *r, const struct val *v, const struct x509_cert *leaf, struct wall now)
{
    const struct val *status = val_get(v, N_status);
    const struct val *before = val_get(status, N_notBefore), *after = val_get(status, N_notAfter), *refresh = val_get(status, N_beginRefreshAt);
    struct status *s = &r->status;
    if (!before)
        cause_required(s, STR("status.notBefore"), "must be present and consistent with the issued certificate");
    if (!after)
        cause_required(s, STR("status.notAfter"), "must be present and consistent with the issued certificate");
    if (!refresh)
        cause_required(s, STR("status.beginRefreshAt"), "must be present and in the range [notbefore+10min, notafter-10min]");
    if (!before || !after || !refresh)
        return;
    int64_t from = val_time(before).ns, to = val_time(after).ns, renew = val_time(refresh).ns;
    int64_t most = SECONDS(val_int(val_at(v, N_spec, N_maxExpirationSeconds), 0));
    if (from != x509_cert_not_before(leaf).ns)
        cause_invalid(s, STR("status.notBefore"), before, "must be set to the NotBefore time encoded in the leaf certificate");
    else if (from < now.ns - CLOCKS || from > now.ns + CLOCKS)
        cause_invalid(s, STR("status.notBefore"), before, "must be set to within 5 minutes of kube-apiserver's current time");
    else if (to != x509_cert_not_after(leaf).ns)
        cause_invalid(s, STR("status.notAfter"), after, "must be set to the NotAfter time encoded in the leaf certificate");
    else if (to - from < LEAST_LIFE)
        cause_invalid(s, CHAIN_PATH, after, "leaf certificate lifetime must be >= 1 hour");
    else if (to - from > most)
        cause_invalid(s, CHAIN_PATH, after, arena_printf(r->arena, "leaf certificate lifetime must be <= spec.maxExpirationSeconds (%lld)",
                                                         (long long)(most / NSEC_PER_SEC)).p);
    else if (renew < from + MARGIN)
        cause_invalid(s, STR("status.beginRefreshAt"), refresh, "must be at least 10 minutes after status.notBefore");
    else if (renew > to - MARGIN)
        cause_invalid(s, STR("status.beginRefreshAt"), refresh, "must be at least 10 minutes before status.notAfter");
}

static void check_issued(struct request *r, const struct val *v, struct wall now)
{
    const struct val *text = val_at(v, N_status, N_certificateChain);
    struct chain c = {0};
    if (val_str(text).n > CHAIN_MAX) {
        cause_too_long(&r->status, CHAIN_PATH, CHAIN_MAX);
        return;
    }
    pem_blocks(val_str(text), visit_block, &c);
    if (!c.fault && !c.n)
        c.fault = "issued certificate chain must contain at least one certificate";
    if (!c.fault)
        c.fault = names_fault(r->arena, c.leaf);
    if (!c.fault && !is_for(r->arena, c.leaf, val_str(val_at(v, N_spec, N_stubPKCS10Request))))
        c.fault = "leaf certificate was not issued to the requested public key";
    if (c.fault)
        cause_invalid(&r->status, CHAIN_PATH, text, c.fault);
    else
        check_times(r, v, c.leaf, now);
    x509_cert_unref(c.leaf);
}

/* Nothing but conditions. */
static bool only_conditions(const struct val *status)
{
    return !val_getstr(status, N_certificateChain).n && !val_get(status, N_notBefore) && !val_get(status, N_notAfter) &&
           !val_get(status, N_beginRefreshAt);
}

void check_pod_certificate_status(struct request *r, const struct val *v, const struct val *old, struct wall now)
{
    const struct val *status = val_get(v, N_status), *was = val_get(old, N_status);
    struct str signer = val_str(val_at(old, N_spec, N_signerName));
    bool same = val_equal(status, was) || (!val_len(status) && !val_len(was));
    check_outcome(r, status);
    if (r->status.n_causes)
        return;
    if (decided(was)) {
        if (!same)
            cause_invalid(&r->status, STR("status"), NULL, "immutable after PodCertificateRequest is issued, denied, or failed");
    } else if (outcome_is(status, "Issued")) {
        check_issued(r, v, now);
    } else if (decided(status)) {
        if (!only_conditions(status))
            cause_invalid(&r->status, STR("status"), NULL,
                          "non-condition status fields must be empty when denying or failing the PodCertificateRequest");
    } else if (!same) {
        cause_invalid(&r->status, STR("status"), NULL, "status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"");
    }
    if (!r->status.n_causes && !same && !may_with_signer(r, "sign", signer))
        cause_forbidden(&r->status, STR("spec.signerName"),
                        arena_printf(r->arena, "User \"" STR_FMT "\" is not permitted to \"sign\" for signer \"" STR_FMT "\"", STR_ARG(r->user.name),
                                     STR_ARG(signer)).p);
}
