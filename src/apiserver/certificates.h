/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that need to read certificates, which type/ (below auth/) cannot. */
#pragma once

#include "apiserver/request.h"

/* Adds causes about a CertificateSigningRequest's request or a ClusterTrustBundle's certificates. */
void check_certificates(struct request *r, const struct resource *res, const struct val *v);
