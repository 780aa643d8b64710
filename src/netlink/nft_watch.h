/* SPDX-License-Identifier: Apache-2.0 */
/* Who else touches a table of ours: the kernel tells of every nftables transaction. */
#pragma once

#include "base/err.h"
#include "base/time.h"

/* The number of the latest transaction in this network namespace; every one adds 1. */
int nft_generation(uint32_t *ret, struct err *e);

struct nft_watch {
    int fd;
    bool touched; /* by the transaction whose messages are being read */
};
int nft_watch_open(struct nft_watch *w, struct err *e);
void nft_watch_close(struct nft_watch *w);
/* Waits for a transaction that changed a table of that name, ours among them: 0 with its generation (who knows the
 * generations around each nft_apply of its own can tell them apart), or NFT_WATCH_LOST: messages were lost, anything may
 * have happened. -ETIMEDOUT, -ECANCELED. */
#define NFT_WATCH_LOST 1
int nft_watch_next(struct nft_watch *w, const char *table, struct mono deadline, uint32_t *ret_generation);
