/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods that talk to the world outside do it under the node's address. The bridge plugin could see to that (ipMasq),
 * but it runs iptables half a dozen times for each Pod; one rule for the node's whole range does the same once.
 */
#include "base/fiber.h"
#include "node/host.h"

#include <nftables/libnftables.h>

struct masquerade_job {
    const char *commands;
    struct err *e;
    int r;
};

static void run(void *arg)
{
    struct masquerade_job *j = arg;
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!nft) {
        j->r = err_set(j->e, -ENOMEM, "cannot start libnftables");
        return;
    }
    nft_ctx_buffer_output(nft);
    nft_ctx_buffer_error(nft);
    if (nft_run_cmd_from_buffer(nft, j->commands) != 0) {
        struct str said = str_trim(str_of(nft_ctx_get_error_buffer(nft)));
        ssize_t line = str_find(said, '\n');
        said = line < 0 ? said : str_slice(said, 0, (size_t)line);
        j->r = err_set(j->e, -EIO, "the rule that hides pods behind the node cannot be set: " STR_FMT, STR_ARG(said));
    }
    nft_ctx_free(nft);
}

int linux_masquerade(struct host *h, const char *bridge, const struct str *cidrs, size_t n, const char *cluster_cidr,
                     struct err *e)
{
    struct buf b = BUF_INIT;
    struct masquerade_job j = {.e = e};
    /* Made anew in one transaction: whatever an earlier run has left is gone with it. */
    buf_printf(&b, "table inet cube-masq-%s\ndelete table inet cube-masq-%s\ntable inet cube-masq-%s {\n"
                   "chain postrouting {\ntype nat hook postrouting priority srcnat; policy accept;\n",
               bridge, bridge, bridge);
    for (size_t i = 0; i < n; i++) {
        bool six = str_find(cidrs[i], ':') >= 0;
        const char *family = six ? "ip6" : "ip";
        buf_printf(&b, "%s saddr " STR_FMT " %s daddr %s return\n", family, STR_ARG(cidrs[i]), family,
                   six ? "ff00::/8" : "224.0.0.0/4");
        struct str ranges = str_of(cluster_cidr), range;
        while (cluster_cidr && str_next(&ranges, ',', &range))
            if ((str_find(range, ':') >= 0) == six)
                buf_printf(&b, "%s saddr " STR_FMT " %s daddr " STR_FMT " return\n", family, STR_ARG(cidrs[i]), family, STR_ARG(str_trim(range)));
        buf_printf(&b, "%s saddr " STR_FMT " oifname != \"%s\" masquerade\n", family, STR_ARG(cidrs[i]), bridge);
    }
    buf_puts(&b, "}\n}\n");
    j.commands = b.p;
    fiber_offload(run, &j);
    buf_done(&b);
    return j.r;
}
