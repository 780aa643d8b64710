/* SPDX-License-Identifier: Apache-2.0 */
/* What a fresh cluster has by itself: roles, bindings, priority classes, namespaces, the `kubernetes` Service
 * and its endpoints, APIServices. Made in one transaction at every start for what is missing; default roles
 * get back the rules they lost (rbac.authorization.kubernetes.io/autoupdate). */
#pragma once

#include "base/err.h"

extern const char *const bootstrap_objects[]; /* JSON texts; made from api/bootstrap, ends with NULL */

struct apiserver;
/* The port that clients come to: the advertised one, or that we listen on; 0 while there is none. */
int bootstrap_port(const struct apiserver *s);
int bootstrap_run(struct apiserver *s, struct err *e); /* waits */
