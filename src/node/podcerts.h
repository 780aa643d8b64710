/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of Pods (podCertificate sources of projected volumes, KEP-4317): for each the kubelet makes a key and a
 * PodCertificateRequest, waits for the signer's answer, and asks again in time. Key and certificates are kept in memory
 * alone: a kubelet that begins anew asks anew. Requests belong to their Pod and go with it, or when they are old.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/value.h"

struct kubelet;
struct worker;
struct pod_cert;

enum pod_cert_state { POD_CERT_PENDING, POD_CERT_ISSUED, POD_CERT_DENIED, POD_CERT_FAILED };

/* What a request's status says. *ret_condition: the one that decided. Pure. */
enum pod_cert_state pod_cert_state_of(const struct val *request, const struct val **ret_condition);
/* The PEM blocks of a chain and nothing else: what signers wrote between them is not handed on. Pure. */
struct str pod_cert_clean_chain(struct arena *a, struct str chain);
/* The request for one source of the Pod. der: the PKCS#10 request. Pure. */
struct val *pod_cert_request(struct arena *a, const struct val *pod, const struct val *source, struct str node, struct str node_uid,
                             struct str account_uid, struct str der);

/* Key ("PRIVATE KEY") and chain of the source with this index in this volume; begins to ask for them the first time.
 * -EAGAIN: not issued yet, the worker's volumes become dirty when they are; -EACCES: denied or failed, for good. */
int pod_cert_get(struct worker *w, const struct val *pod, struct str volume, size_t index, const struct val *source, struct arena *a,
                 struct str *ret_key, struct str *ret_chain, struct err *e);
void pod_certs_free(struct worker *w); /* stops asking; waits */

/* For metrics: visits the signer and state ("fresh", "not_yet_issued" ...) of each. */
void pod_certs_each(const struct worker *w, struct wall now, void (*visit)(void *arg, const char *signer, const char *state), void *arg);

/* The kubelet's own requests, followed from the first that is made. */
void pod_certs_stop(struct kubelet *k);
