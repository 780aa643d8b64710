/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that need to read certificates, which type/ (below auth/) cannot. */
#pragma once

#include "apiserver/request.h"

/* Adds causes about a CertificateSigningRequest's request, a ClusterTrustBundle's certificates, a PodCertificateRequest's key. */
void check_certificates(struct request *r, const struct resource *res, const struct val *v);
/* The same of a change; sub: NULL or the subresource. */
void check_certificates_change(struct request *r, const struct resource *res, const char *sub, const struct val *v, const struct val *old);

void check_pod_certificate_request(struct request *r, const struct val *v);
void check_pod_certificate_status(struct request *r, const struct val *v, const struct val *old, struct wall now);
