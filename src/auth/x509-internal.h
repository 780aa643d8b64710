/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL behind the handles of x509.h. Private to auth/. */
#pragma once

#include "auth/x509.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

struct x509_key {
    atomic_uint refs;
    EVP_PKEY *evp;
    bool private_;
};

struct x509_cert {
    atomic_uint refs;
    X509 *x;
};

int x509_fail(struct err *e, int r, const char *what);          /* with OpenSSL's reason; clears its queue */
struct x509_key *x509_key_wrap(EVP_PKEY *evp, bool is_private); /* takes evp */
void x509_bio_to_buf(BIO *bio, struct buf *b);                  /* frees bio */
BIO *x509_bio_of(struct str s);
STACK_OF(X509_EXTENSION) * x509_extensions(const struct x509_spec *spec, struct err *e); /* NULL on failure */
int x509_set_subject(X509_NAME *name, const struct x509_names *names);
STACK_OF(GENERAL_NAME) * x509_general_names(const struct x509_names *names);
void x509_read_names(struct arena *a, X509_NAME *subject, const STACK_OF(GENERAL_NAME) * sans,
                     struct x509_names *ret);
struct wall x509_wall(const ASN1_TIME *t);
