/* SPDX-License-Identifier: Apache-2.0 */
/* nf_tables messages, as bytes. */
#include "../testing.h"

#include "netlink/nftmsg.h"

#include <linux/netfilter.h>

/* Older kernels (6.1) look for a set's number from the start of the whole batch: no two may have the same. */
static void sets_of_a_batch_have_numbers_of_their_own(void **state UNUSED)
{
    struct nft_batch all, part;
    uint32_t ids[6 * 8];
    size_t n = 0;
    nft_batch_init(&all, NFPROTO_IPV4, "t");
    for (unsigned p = 0; p < 6; p++) {
        nft_batch_init_part(&part, NFPROTO_IPV4, "t", p + 1);
        for (int i = 0; i < 4; i++)
            ids[n++] = nft_set_add(&part, &(struct nft_set){.key_len = 4});
        for (int i = 0; i < 4; i++)
            ids[n++] = nft_set_add(&all, &(struct nft_set){.name = STR("named"), .key_len = 4});
        nft_batch_append(&all, &part);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(ids[i], ids[k]);
    assert_int_equal(all.n, n);
    nft_batch_done(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sets_of_a_batch_have_numbers_of_their_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
