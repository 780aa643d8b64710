/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink/nft.h"

#include "base/fiber.h"

#include <nftables/libnftables.h>

struct nft_call {
    char *text;
    struct buf *said; /* may be NULL */
    int r;
    struct err *err;
};

/* On a helper thread: libnftables keeps no state between contexts. */
static void run(void *arg)
{
    struct nft_call *c = arg;
    struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!ctx) {
        c->r = err_set(c->err, -ENOMEM, "nftables: no context");
        return;
    }
    nft_ctx_buffer_error(ctx);
    nft_ctx_buffer_output(ctx);
    if (nft_run_cmd_from_buffer(ctx, c->text)) {
        struct str first;
        struct str text = str_of(nft_ctx_get_error_buffer(ctx)), rest = text;
        str_next(&rest, '\n', &first);
        c->r = err_set(c->err, -EIO, "nftables: " STR_FMT, STR_ARG(first));
    }
    if (c->said)
        buf_puts(c->said, nft_ctx_get_output_buffer(ctx));
    nft_ctx_free(ctx);
}

static int ask(struct str commands, struct buf *ret, struct err *e)
{
    struct nft_call c = {.text = str_dup(commands), .said = ret, .err = e};
    fiber_offload(run, &c);
    free(c.text);
    return c.r;
}

int nft_apply(struct str commands, struct err *e)
{
    return ask(commands, NULL, e);
}

int nft_read(struct str command, struct buf *ret, struct err *e)
{
    return ask(command, ret, e);
}
