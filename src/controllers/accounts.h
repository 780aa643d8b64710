/* SPDX-License-Identifier: Apache-2.0 */
/* Every controller as its own service account (--use-service-account-credentials): what goes wrong in one of
 * them can do no more than that one may. Tokens are bound, live an hour, and are renewed before they end. */
#pragma once

#include "client/client.h"

struct accounts;
struct accounts *
accounts_new(struct client *base); /* base: over HTTPS; may make service accounts and their tokens */
/* The client of kube-system/name, made when asked for the first time; its token comes when it can. Waits for
 * the first token. Borrowed. */
struct client *accounts_client(struct accounts *a, const char *name);
/* The server did not know the token (401): a new one is fetched. */
void accounts_refused(struct accounts *a, const struct client *c);
void accounts_free(struct accounts *a); /* NULL is fine */
