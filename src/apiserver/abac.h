/* SPDX-License-Identifier: Apache-2.0 */
/* Attribute-based access control: a file of abac.authorization.kubernetes.io/v1beta1 Policies, one a line. */
#pragma once

#include "apiserver/auth.h"

struct abac;
int abac_load(const char *path, struct abac **ret, struct err *e);
void abac_free(struct abac *b); /* NULL is fine */
bool abac_allows(const struct abac *b, const struct attributes *at);
/* Appends the PolicyRules of the user in the namespace to the list. */
void abac_rules(const struct abac *b, struct arena *a, const struct user *u, struct str ns, struct val *list);
