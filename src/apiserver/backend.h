/* SPDX-License-Identifier: Apache-2.0 */
/* Where requests go on to: kubelets (over verified TLS), pods, services. */
#pragma once

#include "apiserver/request.h"

struct apiserver;

int backend_setup(struct apiserver *s, struct err *e);
void backend_free(struct apiserver *s);

/* "https://10.0.0.5:10250" of a node's kubelet: 0, 404, or 503 when it has no address. */
int backend_kubelet(struct request *r, struct str node, struct str *ret_base);
/* Passes the request on to url (with its query); rewrite: path prefix for Location headers, empty for none.
 */
int backend_proxy(struct request *r, struct http_client *c, struct str url, struct str rewrite);
