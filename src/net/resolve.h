/* SPDX-License-Identifier: Apache-2.0 */
/* From names to addresses, and dialling. */
#pragma once

#include "base/os.h"

/* Addresses of host as text with the port ("10.0.0.1:80", "[::1]:80"), in the order to try, NULL-terminated,
 * in the arena. host may be an address. Waits (helper thread). -ENOENT: no such name; -EAGAIN: try later. */
int net_resolve(struct arena *a, const char *host, uint16_t port, char ***ret, struct err *e);
/* Resolves and connects to the first address that answers. "unix:..." hosts are taken as they are. Waits. */
int net_dial(const char *host, uint16_t port, struct mono deadline, int *ret_fd, struct err *e);
/* May this address ("10.0.0.1", "::1") be connected to? It is asked after the name was resolved, so that no second answer of
 * DNS is another (CVE-2020-8562). */
struct net_gate {
    bool (*allowed)(const void *ctx, const char *address);
    const void *ctx;
};
/* The same through a gate; -EACCES when it lets none through. "unix:..." hosts pass. */
int net_dial_through(const struct net_gate *gate, const char *host, uint16_t port, struct mono deadline, int *ret_fd, struct err *e);
/* "[::1]:80", "1.2.3.4:80" from parts; host may be an IPv6 address without brackets. */
char *net_join(struct arena *a, const char *host, uint16_t port);
/* The reverse; port 0 when there is none. -EINVAL. */
int net_split(struct arena *a, struct str address, char **ret_host, uint16_t *ret_port);
