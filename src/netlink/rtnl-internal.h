/* SPDX-License-Identifier: Apache-2.0 */
/* How messages are built and read, for the files here. */
#pragma once

#include "netlink/rtnl.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

/* Starts a message with its family's header. */
void rtnl_begin(struct rtnl_batch *b, uint16_t type, uint16_t flags, const void *header, size_t n);
void rtnl_attr(struct rtnl_batch *b, uint16_t type, const void *p, size_t n);
void rtnl_attr_u32(struct rtnl_batch *b, uint16_t type, uint32_t v);
void rtnl_attr_u8(struct rtnl_batch *b, uint16_t type, uint8_t v);
void rtnl_attr_text(struct rtnl_batch *b, uint16_t type, const char *text);
/* An attribute that holds others (after a header of its own, n 0: none), until rtnl_nest_end of what it returned. */
size_t rtnl_nest(struct rtnl_batch *b, uint16_t type, const void *header, size_t n);
void rtnl_nest_end(struct rtnl_batch *b, size_t at);

/* Asks for a list: the one message of `request`. -EINTR: things changed meanwhile, ask again. */
typedef void rtnl_take(void *arg, const struct nlmsghdr *h);
int rtnl_dump(struct rtnl *n, struct rtnl_batch *request, rtnl_take *fn, void *arg);
/* Asks for one thing. */
int rtnl_ask(struct rtnl *n, struct rtnl_batch *request, rtnl_take *fn, void *arg);

/* The kernel's unit of time in queues (PSCHED_SHIFT 6). */
#define RTNL_TICKS_PER_SECOND (1e9 / 64)
