/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks a program and what they may, when the API server is what knows: client certificate or bearer token (TokenReview), then
 * SubjectAccessReview. Answers are remembered for a while, a bounded number of them, refusals apart, few and short, so that a flood
 * of bad tokens pushes nothing good out. Tokens themselves are not kept, only their SHA-256.
 */
#pragma once

#include "base/map.h"
#include "client/client.h"

struct http_exchange;

enum { DELEGATE_GROUPS = 64 };

struct delegate_user {
    struct str name;
    struct str groups[DELEGATE_GROUPS];
    size_t n_groups;
    struct str uid;
};

struct delegate {
    struct client *client; /* borrowed; NULL: there is nobody to ask */
    bool tokens;           /* bearer tokens are looked at */
    bool anonymous;        /* who shows nothing is system:anonymous */
    struct map known, refused;
};
void delegate_done(struct delegate *d);

/* False: nobody that is known. Texts in the exchange's arena. Waits. */
bool delegate_who(struct delegate *d, struct http_exchange *x, struct delegate_user *ret);
/* 1 yes, 0 no, negative: the API cannot be asked. d->client must be there. Waits. */
int delegate_may_node(struct delegate *d, struct arena *a, const struct delegate_user *u, const char *verb, const char *node, const char *sub);
int delegate_may_path(struct delegate *d, struct arena *a, const struct delegate_user *u, const char *verb, struct str path);
