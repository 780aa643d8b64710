/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and ranges of a cluster: one of each family it has, in the same order everywhere, with a comma between them
 * ("10.244.0.0/16,fd00:10:244::/56"). The first family is the one that addresses are given of when nobody asks for another.
 */
#pragma once

#include "adm/cluster.h"
#include "netlink/prefix.h"

/* The words of a comma list; NULL-terminated. NULL: none. */
const char **list_items(struct arena *a, const char *list);
const char *list_first(struct arena *a, const char *list);

/* One range, or one of each family. -EINVAL with a sentence that names the flag. */
int ranges_parse(struct arena *a, const char *flag, const char *text, struct prefixes *ret, struct err *e);
/* The one of that family; NULL when there is none. */
const struct prefix *range_of(const struct prefixes *ranges, unsigned family);
/* The addresses n further than the first of each range, as a list. */
const char *addresses_at(struct arena *a, const struct prefixes *ranges, uint64_t n);
const char *ranges_text(struct arena *a, const struct prefixes *ranges);
bool has_family(const char *list, unsigned family);

/* This machine's own addresses for these pod ranges: of each family the one that traffic to the world would leave from, else the
 * first of a link that is up and neither loopback nor a bridge. NULL when there is none of the first family. */
const char *find_addresses(struct arena *a, const struct prefixes *pods);
bool machine_has_address_in(const struct prefix *range, const char *except_link);

/* "https://10.0.0.1:6443" */
const char *api_url(struct arena *a, const struct cluster_config *c);
/* Every address of the families that the cluster has, for a socket: "0.0.0.0:443" or "[::]:443". */
const char *every_address(struct arena *a, const struct cluster_config *c, int64_t port);
/* An address alone as a range, for ip: "10.96.0.10/32", "fd00::a/128". */
const char *as_host(struct arena *a, const char *address);
