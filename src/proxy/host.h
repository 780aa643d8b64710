/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy asks of and tells the node itself. Nothing here waits for long. */
#pragma once

#include "proxy/model.h"
#include "proxy/proxy.h"

/* Addresses of all interfaces but `except` (NULL: of all), in the arena. */
struct ips host_addresses(bool six, const char *except, struct arena *a);
bool host_has_ipv6(void);
/* A value under /proc/sys ("net/ipv4/ip_forward"): -errno, or 0. */
int host_sysctl_read(const char *name, int64_t *ret);
int host_sysctl_write(const char *name, int64_t value); /* only when it is another one */
int host_conntrack(const struct proxy_conntrack *c, struct err *e);
