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
/* The port of a Service by name or number; empty: the first. */
const struct val *backend_service_port(const struct val *svc, struct str port);
/* A ready endpoint behind a Service's port (NULL: none), any of them; borrowed until the next wait. */
bool backend_endpoint(const struct apiserver *s, const struct object *svc, const struct val *port, struct str *ret_ip,
                      int64_t *ret_port);
/* Where a Service's port is served: "10.244.0.7:8443" of a ready endpoint, the host of an ExternalName. -errno with what
 * is missing. Waits. */
int backend_service(struct apiserver *s, struct arena *a, struct str ns, struct str name, int64_t port, struct str *ret,
                    struct err *e);
/* Passes the request on as it is, but for credentials, with these headers. 0, or -errno when nobody answered. */
int backend_forward(struct request *r, struct http_client *c, struct str url, const struct http_header *headers, size_t n, struct err *e);
/* Passes the request on to url (with its query); rewrite: path prefix for Location headers, empty for none.
 */
int backend_proxy(struct request *r, struct http_client *c, struct str url, struct str rewrite);
