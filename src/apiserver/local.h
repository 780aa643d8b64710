/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API from inside this process: a struct client (client/client.h) whose calls take the same way through
 * the server as requests over HTTP, less authentication, encoding and decoding, and whose watches hand out
 * the watch cache's own objects (D6, D7).
 */
#pragma once

#include "client/client.h"
#include "type/tree.h"

struct apiserver;

/* name: user agent. user: the identity to authorise
 * ("system:serviceaccount:kube-system:deployment-controller"), with its groups (NULL-terminated, may be
 * NULL); NULL user: the server itself, which may do everything. Texts must outlive the client, the server
 * must outlive both. */
struct client *local_client_new(struct apiserver *s, const char *name, const char *user,
                                const char *const *groups);

/* The watch cache's present tree of a kind ("ns/name" keys), borrowed until the next wait; NULL is empty. */
const struct tree *local_tree(struct client *c, const struct resource *res);
/* The revision the trees of all kinds stand at. */
int64_t local_revision(struct client *c);
