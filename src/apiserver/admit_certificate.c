/* SPDX-License-Identifier: Apache-2.0 */
/* CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest: who may approve, sign, ask for and
 * attest what. */
#include "apiserver/admit.h"
#include "apiserver/auth.h"
#include "auth/x509.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#define KUBE_APISERVER_CLIENT "kubernetes.io/kube-apiserver-client"

static bool may(struct request *r, const char *verb, struct str name)
{
    struct attributes at = {.user = &r->user, .verb = str_of(verb), .resource_request = true,
        .group = STR("certificates.k8s.io"), .version = STR("*"), .resource = STR("signers"), .name = name};
    return r->trusted || authorize(r, &at, NULL) == DECISION_ALLOW;
}

bool may_with_signer(struct request *r, const char *verb, struct str signer)
{
    struct str domain, rest;
    if (may(r, verb, signer))
        return true;
    return str_cut(signer, '/', &domain, &rest) &&
           may(r, verb, arena_printf(r->arena, "%.*s/*", STR_ARG(domain)));
}

static struct str signer_of(const struct val *csr)
{
    return val_str(val_at(csr, N_spec, N_signerName));
}

int admit_certificate_approval(struct admission *a)
{
    if (!admit_is(a, RES_CERTIFICATESIGNINGREQUESTS, "approval"))
        return 0;
    if (may_with_signer(a->r, "approve", signer_of(a->old)))
        return 0;
    return admit_forbid(a, "user not permitted to approve requests with signerName \"%.*s\"",
                        STR_ARG(signer_of(a->old)));
}

int admit_certificate_signing(struct admission *a)
{
    if (!admit_is(a, RES_CERTIFICATESIGNINGREQUESTS, "status"))
        return 0;
    const struct val *is = val_at(a->v, N_status, N_certificate),
                     *was = val_at(a->old, N_status, N_certificate);
    bool failed = condition_is(val_at(a->v, N_status, N_conditions), STR("Failed"), "True") &&
                  !condition_is(val_at(a->old, N_status, N_conditions), STR("Failed"), "True");
    if ((val_equal(is, was) && !failed) || may_with_signer(a->r, "sign", signer_of(a->old)))
        return 0;
    return admit_forbid(a, "user not permitted to sign requests with signerName \"%.*s\"",
                        STR_ARG(signer_of(a->old)));
}

/* Nobody gets a client certificate for system:masters by way of a request. */
int admit_certificate_subject(struct admission *a)
{
    struct x509_csr csr = {.key = NULL};
    int e = 0;
    if (!admit_is(a, RES_CERTIFICATESIGNINGREQUESTS, NULL) || !str_is(signer_of(a->v), KUBE_APISERVER_CLIENT))
        return 0;
    if (x509_csr_parse(a->r->arena, val_str(val_at(a->v, N_spec, N_request)), &csr, NULL) < 0)
        return admit_forbid(a, "unable to parse csr");
    for (size_t i = 0; csr.names.orgs && csr.names.orgs[i] && !e; i++)
        if (strcmp(csr.names.orgs[i], "system:masters") == 0)
            e = admit_forbid(
                a, "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not "
                   "allowed");
    x509_csr_done(&csr);
    return e;
}

/* Only what collecting garbage needs is another? */
static bool same_but_for_garbage(const struct admission *a)
{
    struct val *now = val_copy(a->r->arena, a->v), *was = val_copy(a->r->arena, a->old);
    static const name_id names[] = {N_ownerReferences, N_finalizers, N_managedFields};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        val_del(val_sub_obj(a->r->arena, now, N_metadata), names[i]);
        val_del(val_sub_obj(a->r->arena, was, N_metadata), names[i]);
    }
    return val_equal(now, was);
}

/* Who says what a signer's roots are has to be one that the signer trusts. */
int admit_trust_bundle(struct admission *a)
{
    struct str signer = signer_of(a->v);
    if (!admit_is(a, RES_CLUSTERTRUSTBUNDLES, NULL) || !signer.n || (a->op == ADMIT_UPDATE && same_but_for_garbage(a)))
        return 0;
    if (may_with_signer(a->r, "attest", signer))
        return 0;
    return admit_forbid(a, "user not permitted to attest for signerName \"%.*s\"", STR_ARG(signer));
}
