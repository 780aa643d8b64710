/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to and from IPVS, byte by byte: what the kernel's ip_vs_ctl.c reads and writes. */
#include "../testing.h"

#include "netlink/ipvs.h"

#include <libmnl/libmnl.h>
#include <linux/ip_vs.h>

static struct ip four(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(str_of(text), &ip));
    return ip;
}

static const struct ipvs_op *example(enum ipvs_what what)
{
    static struct ipvs_op op;
    op = (struct ipvs_op){.what = what, .server = {four("10.96.0.1"), 443, 6, "rr", IP_VS_SVC_F_PERSISTENT, 10800}, .dest = {four("10.1.0.2"), 6443, 1, 0}};
    return &op;
}

static void servers_are_written(void **state UNUSED)
{
    static const uint8_t want[] = {
        0x68, 0, 0, 0, 0x1c, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* length, family, REQUEST and ACK */
        IPVS_CMD_NEW_SERVICE, 1, 0, 0, 0x54, 0, 1, 0x80,      /* command, version; nest SERVICE */
        6, 0, 1, 0, 2, 0, 0, 0, 6, 0, 2, 0, 6, 0, 0, 0,       /* AF_INET, TCP */
        20, 0, 3, 0, 10, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 4, 0, 1, 187, 0, 0, /* address, port 443 */
        7, 0, 6, 0, 'r', 'r', 0, 0, 12, 0, 7, 0, 1, 0, 0, 0, 255, 255, 255, 255, /* scheduler; flags and their mask */
        8, 0, 8, 0, 0x30, 0x2a, 0, 0, 8, 0, 9, 0, 255, 255, 255, 255, /* 10800 s; netmask */
    };
    char msg[4096] __attribute__((aligned(8)));
    size_t n = ipvs_write(msg, 0x1c, example(IPVS_ADD_SERVER));
    assert_int_equal(n, sizeof(want));
    assert_memory_equal(msg, want, sizeof(want));
}

static void what_is_written_reads_back(void **state UNUSED)
{
    char msg[4096] __attribute__((aligned(8)));
    struct ipvs_server s;
    struct ipvs_dest d;
    ipvs_write(msg, 0x1c, example(IPVS_ADD_SERVER));
    assert_true(ipvs_parse_server((void *)msg, &s));
    assert_true(ip_equal(&s.ip, &example(IPVS_ADD_SERVER)->server.ip));
    assert_int_equal(s.port, 443);
    assert_int_equal(s.timeout, 10800);
    assert_int_equal(s.flags, IP_VS_SVC_F_PERSISTENT);
    assert_string_equal(s.scheduler, "rr");
    assert_false(ipvs_parse_dest((void *)msg, AF_INET, &d));
    ipvs_write(msg, 0x1c, example(IPVS_ADD_DEST));
    assert_true(ipvs_parse_dest((void *)msg, AF_INET, &d));
    assert_int_equal(d.port, 6443);
    assert_int_equal(d.weight, 1);
    assert_false(ipvs_parse_server((void *)msg, &s)); /* named by address and port only, without a scheduler */
    size_t n = ipvs_write(msg, 0x1c, example(IPVS_ADD_SERVER));
    for (uint32_t cut = 0; cut < n; cut += 4) { /* cut short, it is none, and nothing is read beyond */
        char *copy = xmalloc(n);
        memcpy(copy, msg, n);
        memcpy(copy, &cut, sizeof(cut));
        ipvs_parse_server((void *)copy, &s);
        free(copy);
    }
}

static void a_kernel_without_says_so(void **state UNUSED)
{
    struct ipvs v = {0};
    struct err e = {0};
    int r = ipvs_open(&v, &e);
    if (r == 0)
        ipvs_close(&v);
    else
        assert_true(str_starts(str_of(e.text), STR("IPVS: ")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(servers_are_written), cmocka_unit_test(what_is_written_reads_back), cmocka_unit_test(a_kernel_without_says_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
