/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where somebody (Docker, a firewall) has forwarding dropped by default, pods and further nodes reach nobody:
 * no table of our own can undo another's verdict. So two rules for each bridge go where the verdict is made,
 * through iptables, as kube-proxy and Flannel have it. A machine without such a policy is left alone.
 */
#pragma once

#include "base/err.h"

/* 0 also when nothing had to be done. Waits. */
int forward_allow(const char *bridge, struct err *e);
/* Takes the rules away, if there are some. Waits. */
void forward_forget(const char *bridge);

/* Has this network namespace forward IPv6. A kernel that forwards takes no router's advertisements unless it is told to: links
 * that lived by them go on. */
void forward_six(void);
/* Writes /proc/sys/net/<name>; a kernel without the setting does not need it. */
void net_setting(const char *name, const char *value);
