/* SPDX-License-Identifier: Apache-2.0 */
/* Ingresses of the built-in controller: what it and the API server, which lets it read Secrets, must agree on. Pure. */
#pragma once

#include "type/tree.h"

#define INGRESS_CONTROLLER "cube.dev/ingress"      /* spec.controller of its classes */
#define INGRESS_USER "system:cube-ingress"         /* who it is in `cube up` */

/* Is it of one of its classes? */
bool ingress_is_ours(const struct tree *classes, const struct object *ingress);
/* Does spec.tls name that Secret? */
bool ingress_names_secret(const struct object *ingress, struct str secret);
