/* SPDX-License-Identifier: Apache-2.0 */
/* One transaction of nft commands to the kernel, by libnftables. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* All of it or nothing. Waits (helper thread). 0 or -EIO with nft's first complaint. */
int nft_apply(struct str commands, struct err *e);
/* Appends what a command says, as "list table ip x". The same errors. */
int nft_read(struct str command, struct buf *ret, struct err *e);
