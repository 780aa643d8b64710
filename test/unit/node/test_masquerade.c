/* SPDX-License-Identifier: Apache-2.0 */
/* The rule that hides pods behind their node: in a network namespace of the test's own (needs root). */
#include "../testing.h"

#include "netlink/nft.h"
#include "node/host.h"

#include <sched.h>
#include <unistd.h>

static const struct str cidrs[] = {{"10.1.2.0/24", 11}, {"fd01:2::/64", 11}};

static void set(const char *cluster)
{
    struct err e = {0};
    if (linux_masquerade(NULL, "br0", cidrs, ARRAY_SIZE(cidrs), cluster, &e) < 0)
        fail_msg("%s", e.text);
}

static void change(const char *commands)
{
    struct err e = {0};
    if (nft_apply(str_of(commands), &e) < 0)
        fail_msg("%s: %s", commands, e.text);
}

FIBER_TEST(each_family_has_its_rules)
{
    struct buf said CLEANUP_BUF = BUF_INIT;
    set("10.1.0.0/16,fd01::/56");
    assert_int_equal(nft_read(STR("list table inet cube-masq-br0"), &said, NULL), 0);
    struct str all = buf_str(&said);
    assert_true(str_contains(all, STR("ip saddr 10.1.2.0/24 ip daddr 10.1.0.0/16 return")));
    assert_true(str_contains(all, STR("ip saddr 10.1.2.0/24 oifname != \"br0\" masquerade")));
    assert_true(str_contains(all, STR("ip6 saddr fd01:2::/64 ip6 daddr fd01::/56 return")));
    assert_true(str_contains(all, STR("ip6 saddr fd01:2::/64 oifname != \"br0\" masquerade")));
}

FIBER_TEST(what_is_taken_away_is_missed)
{
    uint32_t seen = 0;
    set(NULL);
    assert_false(linux_masquerade_lost(NULL, "br0", &seen));
    change("add table ip theirs");
    assert_false(linux_masquerade_lost(NULL, "br0", &seen));
    change("flush chain inet cube-masq-br0 postrouting");
    assert_true(linux_masquerade_lost(NULL, "br0", &seen));
    set(NULL);
    assert_false(linux_masquerade_lost(NULL, "br0", &seen));
    change("flush ruleset");
    assert_true(linux_masquerade_lost(NULL, "br0", &seen));
    set(NULL);
    assert_false(linux_masquerade_lost(NULL, "br0", &seen));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_family_has_its_rules),
        cmocka_unit_test(what_is_taken_away_is_missed),
    };
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        return 77; /* meson's word for skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
