/* SPDX-License-Identifier: Apache-2.0 */
/* Where requests go on to: kubelets (over verified TLS), pods, services. */
#pragma once

#include "apiserver/request.h"

struct apiserver;

int backend_setup(struct apiserver *s, struct err *e);
void backend_free(struct apiserver *s);

/* Addresses of pods and nodes come out of objects that others write: nobody is to reach this machine's own services or
 * the metadata of a cloud through them (CVE-2020-8562, CVE-2022-3294). False for what is no IP address. */
bool backend_address_allowed(const struct apiserver *s, const char *host);

/* "https://10.0.0.5:10250" of a node's kubelet: 0, 404, or 503 when it has no address that is allowed. From now on the
 * request goes on only to who shows that node's certificate (KEP-4872): a node that names the address of another, or of
 * this server, would otherwise be handed our client certificate's rights there. */
int backend_kubelet(struct request *r, struct str node, struct str *ret_base);
/* Passes the request on to url (with its query); rewrite: path prefix for Location headers, empty for none.
 */
int backend_proxy(struct request *r, struct http_client *c, struct str url, struct str rewrite);
