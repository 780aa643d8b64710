/* SPDX-License-Identifier: Apache-2.0 */
/* URLs (RFC 3986), query strings as Go's net/url reads them, percent encoding. Pure. */
#pragma once

#include "base/arena.h"

/* Parts are slices of the parsed text, not decoded; absent ones are empty. */
struct url {
    struct str scheme, userinfo;
    struct str host; /* without port and brackets */
    struct str path, query, fragment;
    uint16_t port; /* 0: none given */
};

int url_parse(struct str text, struct url *ret); /* absolute with authority, or an absolute path; -EINVAL */
uint16_t url_port(const struct url *u);          /* the given one, or the scheme's (80, 443), or 0 */

/* The next pair of a raw query, decoded into the arena ('+' is a space). *rest starts as the query; false at
 * the end. Pairs with bad percent encoding or a semicolon are skipped, as Go does. */
bool query_next(struct arena *a, struct str *rest, struct str *ret_key, struct str *ret_value);
/* The first value of key; false when absent. */
bool query_get(struct arena *a, struct str query, const char *key, struct str *ret);
/* As upstream reads bools in queries: absent gives `absent`, "0" and "false" are false, all else (also "")
 * true. */
bool query_bool(struct arena *a, struct str query, const char *key, bool absent);
/* Appends key=value, with '&' before it unless b is empty or ends with '?'. Both are escaped. */
void query_add(struct buf *b, const char *key, struct str value);

/* Percent-decoding; plus: '+' is a space. 0 or -EINVAL for bad escapes. */
int url_decode(struct arena *a, struct str s, bool plus, struct str *ret);
void url_encode_query(struct buf *b, struct str s);   /* as url.QueryEscape */
void url_encode_segment(struct buf *b, struct str s); /* as url.PathEscape */
