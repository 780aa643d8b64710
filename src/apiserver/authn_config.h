/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How clients are known, as the --authentication-config file or the --oidc-* flags have it: whose tokens are taken, and who may
 * come without any. Immutable and counted, so that a request keeps the one that it began with over its waits.
 */
#pragma once

#include "apiserver/issuer.h"

struct apiserver_config;

struct authn_config {
    unsigned refs;
    struct arena arena;
    struct issuer *issuers;
    size_t n;
    bool anonymous;          /* are they let in, and where */
    const struct val *paths; /* AnonymousAuthConditions; NULL: everywhere */
};

/* By the server's flags, which must outlive it. -EINVAL with all that is wrong. */
int authn_config_load(const struct apiserver_config *c, const char *const *own_issuers, struct authn_config **ret, struct err *e);
struct authn_config *authn_config_ref(struct authn_config *c);
void authn_config_unref(struct authn_config *c); /* NULL is fine; the last one waits */
/* Begins to look for the issuers' keys. */
void authn_config_start(struct authn_config *c);
/* Were all issuers found? why: what went wrong with one. */
bool authn_config_ready(const struct authn_config *c, struct err *why);
bool authn_config_anonymous(const struct authn_config *c, struct str path);
