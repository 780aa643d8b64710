/* SPDX-License-Identifier: Apache-2.0 */
/* ARP and neighbour discovery byte by byte, and what is no message of theirs. */
#include "../testing.h"

#include "announce/message.h"

static const uint8_t question[] = {0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 192, 0, 2, 7};

static void test_arp(void **state UNUSED)
{
    struct arp_message m, back;
    uint8_t p[MESSAGE_ARP_SIZE + 18] = {0}, out[MESSAGE_ARP_SIZE];
    char text[IP_TEXT_MAX];
    memcpy(p, question, sizeof(question)); /* Ethernet fills up to 46 bytes */
    assert_true(arp_parse(p, sizeof(p), &m));
    assert_int_equal(m.op, ARP_REQUEST);
    assert_string_equal(ip_format(&m.sender, text), "192.0.2.9");
    assert_string_equal(ip_format(&m.target, text), "192.0.2.7");
    assert_int_equal(m.sender_mac[5], 9);
    arp_write(&m, out);
    assert_memory_equal(out, question, sizeof(question));
    assert_true(arp_parse(out, sizeof(out), &back));
    assert_false(arp_parse(p, MESSAGE_ARP_SIZE - 1, &m));
    for (size_t i = 0; i < 8; i++) { /* another link, another protocol, other sizes, another question */
        memcpy(p, question, sizeof(question));
        p[i] ^= 0x10;
        assert_false(arp_parse(p, sizeof(p), &m));
    }
}

static size_t solicitation(uint8_t *p)
{
    static const uint8_t s[] = {135, 0, 0, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xa, 0xbc, 0xde, 0xf1, 1, 1, 2, 0, 0, 0, 0, 9};
    memcpy(p, s, sizeof(s));
    return sizeof(s);
}

static void test_neighbour(void **state UNUSED)
{
    struct neighbour_message m;
    uint8_t p[64], out[MESSAGE_ADVERT_SIZE];
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 7};
    char text[IP_TEXT_MAX];
    size_t n = solicitation(p);
    assert_true(neighbour_parse(p, n, 255, &m));
    assert_true(m.solicitation && m.has_mac && m.mac[5] == 9);
    assert_string_equal(ip_format(&m.target, text), "2001:db8::abc:def1");
    struct ip group = neighbour_group(&m.target);
    assert_string_equal(ip_format(&group, text), "ff02::1:ffbc:def1");
    assert_true(neighbour_parse(p, 24, 255, &m)); /* without its address: from one who has none yet */
    assert_false(m.has_mac);
    neighbour_advertise(&m.target, mac, true, out);
    assert_int_equal(out[0], 136);
    assert_int_equal(out[4], 0x60); /* solicited, overrides what was known */
    assert_true(neighbour_parse(out, sizeof(out), 255, &m));
    assert_true(!m.solicitation && m.has_mac);
    assert_memory_equal(m.mac, mac, 6);
    uint8_t again[MESSAGE_ADVERT_SIZE];
    static const uint8_t asker[6] = {2, 0, 0, 0, 0, 9};
    neighbour_solicit(&m.target, asker, again);
    solicitation(p);
    assert_memory_equal(again, p, sizeof(again));
    neighbour_advertise(&m.target, mac, false, out);
    assert_int_equal(out[4], 0x20);
}

/* RFC 4861 7.1.1 */
static void test_what_is_dropped(void **state UNUSED)
{
    struct neighbour_message m;
    uint8_t p[64];
    size_t n = solicitation(p);
    assert_false(neighbour_parse(p, n, 254, &m)); /* it came through a router */
    assert_false(neighbour_parse(p, n, -1, &m));
    assert_false(neighbour_parse(p, 23, 255, &m));
    assert_false(neighbour_parse(p, n - 1, 255, &m)); /* an option beyond the end */
    assert_false(neighbour_parse(p, 25, 255, &m));
    p[25] = 0; /* an option without a length */
    assert_false(neighbour_parse(p, n, 255, &m));
    solicitation(p);
    p[1] = 1;
    assert_false(neighbour_parse(p, n, 255, &m));
    solicitation(p);
    p[0] = 134;
    assert_false(neighbour_parse(p, n, 255, &m));
    solicitation(p);
    p[8] = 0xff; /* a multicast address */
    assert_false(neighbour_parse(p, n, 255, &m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arp), cmocka_unit_test(test_neighbour),
                                       cmocka_unit_test(test_what_is_dropped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
