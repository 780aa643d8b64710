/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the real door: private to base/. Contracts: os.h. */
#pragma once

#include "base/os.h"

int socket_listen(const char *address, struct err *e);
int socket_accept(int fd, char *ret_peer, size_t peer_size, struct mono deadline);
int socket_connect(const char *address, struct mono deadline);
ssize_t socket_try_recv(int fd, void *p, size_t n);
ssize_t socket_try_send(int fd, const void *p, size_t n, bool more);
int socket_shutdown(int fd);
int socket_local_address(int fd, char *ret, size_t size);
int socket_udp_bind(const char *address, struct err *e);
ssize_t socket_try_recvfrom(int fd, void *p, size_t n, char *ret_peer, size_t peer_size);
ssize_t socket_sendto(int fd, const void *p, size_t n, const char *peer);
int socket_pair(int ret[2]);
int link_open(enum os_link_kind kind, int link, struct err *e); /* os_link.c */
int link_join(int link, const uint8_t group[static 16], struct err *e);
ssize_t link_try_recv(int fd, void *p, size_t n, struct os_link_peer *ret_from);
ssize_t link_send(int fd, const void *p, size_t n, const struct os_link_peer *to);
