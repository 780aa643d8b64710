/* SPDX-License-Identifier: Apache-2.0 */
/* The iptables programs: iptables mode and IPVS mode use them. All of it waits. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

/* Feeds text to iptables-restore (ip6tables-restore), which leaves alone what the text does not name. A table is changed
 * as a whole or not at all. */
int iptables_restore(bool six, struct str text, struct err *e);
/* What iptables-save says of one table. */
int iptables_save(bool six, const char *table, struct arena *a, struct str *ret, struct err *e);
/* How many rules of it stand in Services' chains and in these (NULL at the end). */
size_t iptables_count(struct str saved, const char *const *chains);
bool iptables_has_chain(bool six, const char *table, const char *chain);
/* The name of a chain in nat that tells that a proxy of that name was here in that mode. */
struct str iptables_marker(struct arena *a, const char *proxy, const char *mode);
bool iptables_was_here(const char *proxy, const char *mode);
