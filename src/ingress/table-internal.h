/* SPDX-License-Identifier: Apache-2.0 */
/* Between backend.c and table.c. */
#pragma once

#include "ingress/table.h"

struct backend *backend_new(struct str key);
void backend_fill(struct backend *b, const struct service_entry *e, struct str port_name);
/* The port of a Service that a ServiceBackendPort means; NULL when there is none. */
const struct val *service_port(const struct object *service, const struct val *wanted);
enum protocol port_protocol(const struct val *port);
struct counts *counts_new(struct str ns, struct str ingress, struct str host);
struct counts *counts_unref(struct counts *c);
