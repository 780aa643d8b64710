/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that drop what they should forward: in a network namespace of the test's own (needs root and iptables). */
#include "../testing.h"

#include "adm/forward.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static const char *sh(struct arena *a, const char *command)
{
    const char *argv[] = {"sh", "-c", command, NULL};
    struct str out = STR_NULL;
    os_run(a, argv, &out, NULL, mono_add(os_mono(), SECONDS(10)));
    return arena_cstr(a, str_trim(out));
}

#define RULES "iptables -S FORWARD | grep -v '^-P' | tr -d '\"' | sort"

FIBER_TEST(only_where_it_is_needed)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    assert_int_equal(forward_allow("br0", &e), 0);
    assert_string_equal(sh(&a, RULES), "");
    assert_string_equal(sh(&a, "nft list tables"), ""); /* looking leaves nothing */
}

FIBER_TEST(rules_come_once_and_go)
{
    static const char ours[] = "-A FORWARD -i br0 -m comment --comment cube-br0 -j ACCEPT\n"
                               "-A FORWARD -o br0 -m comment --comment cube-br0 -j ACCEPT";
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    sh(&a, "iptables -P FORWARD DROP; iptables -A FORWARD -i docker0 -j ACCEPT");
    assert_int_equal(forward_allow("br0", &e), 0);
    assert_int_equal(forward_allow("br0", &e), 0);
    assert_string_equal(sh(&a, RULES " | grep -v docker"), ours);
    assert_string_equal(sh(&a, "iptables -S FORWARD 2 | grep -c br0"), "1"); /* before what others say */
    assert_int_equal(forward_allow("br00", &e), 0); /* not mistaken for each other */
    assert_string_equal(sh(&a, RULES " | grep -c -w br00"), "2");
    forward_forget("br00");
    assert_string_equal(sh(&a, RULES " | grep -v docker"), ours);
    forward_forget("br0");
    forward_forget("br0");
    assert_string_equal(sh(&a, RULES), "-A FORWARD -i docker0 -j ACCEPT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_where_it_is_needed),
        cmocka_unit_test(rules_come_once_and_go),
    };
    if (geteuid() || access("/usr/sbin/iptables", X_OK) < 0 || unshare(CLONE_NEWNET) < 0)
        return 77; /* meson's word for skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
