/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubelet's own certificates, by CertificateSigningRequest (KEP-43 and its like): its first one with a bootstrap
 * kubeconfig, a new one in time, and one to serve with. Files are upstream's: kubelet-client-current.pem and
 * kubelet-server-current.pem in the certificates' folder, each certificate and key in one.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/time.h"

struct client;

enum cert_use { CERT_CLIENT, CERT_SERVER };

struct certs {
    const char *dir;       /* of certificates */
    const char *node_name;
};

/* "<dir>/kubelet-client-current.pem" */
const char *cert_path(struct arena *a, const struct certs *c, enum cert_use use);
/* When a certificate of this life should be replaced: after 70 to 90 percent of it. spread: 0 to 1. Pure. */
struct wall cert_renewal(struct wall not_before, struct wall not_after, double spread);

/* Makes the kubeconfig file with what a bootstrap one can get; waits for the request to be approved. */
int certs_bootstrap(const struct certs *c, const char *bootstrap, const char *kubeconfig, struct err *e);
/* Waits until that certificate is missing or due, asks for a new one and keeps it. 0 then; -ECANCELED. Tries for ever. */
int certs_renew(const struct certs *c, struct client *client, enum cert_use use);
