/* SPDX-License-Identifier: Apache-2.0 */
/* Leases of ranges in etcd, in Flannel's form. */
#include "../testing.h"

#include "overlay/lease.h"

static void keys(void **state UNUSED)
{
    static const struct {
        const char *key, *four, *six, *again;
    } cases[] = {
        {"10.5.34.0-24", "10.5.34.0/24", "", NULL},
        {"10.5.34.7-24", "10.5.34.0/24", "", "10.5.34.0-24"},
        {"10.5.34.0-24&fd00:5:22::-64", "10.5.34.0/24", "fd00:5:22::/64", NULL},
        {"0.0.0.0-0&fd00:5:22::-64", "", "fd00:5:22::/64", NULL},
        {"0.0.0.0-0", NULL, NULL, NULL},
        {"", NULL, NULL, NULL},
        {"10.5.34.0", NULL, NULL, NULL},
        {"10.5.34.0-33", NULL, NULL, NULL},
        {"10.5.34.0/24", NULL, NULL, NULL},
        {"fd00::-64", NULL, NULL, NULL},
        {"10.5.34.0-24&10.5.35.0-24", NULL, NULL, NULL},
        {"10.5.34.0-24&", NULL, NULL, NULL},
        {"10.5.34.0-24-extra", NULL, NULL, NULL},
        {"0000000000000000000000000000000000000000000000000000000000000010.5.34.0-24", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct lease_ranges r;
        char text[IP_TEXT_MAX];
        assert_int_equal(lease_key_parse(str_of(cases[i].key), &r), cases[i].four != NULL);
        if (!cases[i].four)
            continue;
        assert_string_equal(r.of[V4].bits ? prefix_format(&r.of[V4], text) : "", cases[i].four);
        assert_string_equal(r.of[V6].bits ? prefix_format(&r.of[V6], text) : "", cases[i].six);
        assert_str(lease_key(&a, &r), cases[i].again ? cases[i].again : cases[i].key);
    }
}

static void values(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct announcement say = {.backend = BACKEND_VXLAN, .vni = 7, .mac = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}};
    struct peer p;
    assert_true(ip_parse(STR("192.0.2.1"), &say.address[V4]));
    const char *four = "{\"PublicIP\":\"192.0.2.1\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\","
                       "\"BackendData\":{\"VNI\":7,\"VtepMAC\":\"02:00:00:00:00:01\"}}";
    assert_str(lease_value(&a, &say), four);
    assert_true(lease_value_parse(&a, str_of(four), &p));
    assert_true(ip_equal(&p.address[V4], &say.address[V4]));
    assert_int_equal(p.address[V6].family, 0);
    assert_true(p.has_mac[V4] && !p.has_mac[V6] && p.announced);
    assert_memory_equal(p.mac[V4], say.mac[V4], 6);
    assert_str(p.backend, "vxlan");
    say.backend = BACKEND_HOST_GW;
    assert_true(ip_parse(STR("2001:db8::1"), &say.address[V6]));
    const char *both = "{\"PublicIP\":\"192.0.2.1\",\"PublicIPv6\":\"2001:db8::1\",\"BackendType\":\"host-gw\"}";
    assert_str(lease_value(&a, &say), both);
    assert_true(lease_value_parse(&a, str_of(both), &p));
    assert_true(ip_equal(&p.address[V6], &say.address[V6]) && !p.has_mac[V4]);
    say.backend = BACKEND_VXLAN;
    say.address[V4] = (struct ip){0};
    const char *six = "{\"PublicIP\":\"0.0.0.0\",\"PublicIPv6\":\"2001:db8::1\",\"BackendType\":\"vxlan\","
                      "\"BackendV6Data\":{\"VNI\":7,\"VtepMAC\":\"02:00:00:00:00:02\"}}";
    assert_str(lease_value(&a, &say), six);
    assert_true(lease_value_parse(&a, str_of(six), &p));
    assert_int_equal(p.address[V4].family, 0);
    assert_true(!p.has_mac[V4] && p.has_mac[V6]);
    static const char *const bad[] = {"", "[]", "null", "{\"PublicIP\":\"nowhere\"}", "{\"PublicIP\":\"2001:db8::1\"}",
                                      "{\"PublicIPv6\":\"192.0.2.1\"}", "{\"PublicIP\":"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(lease_value_parse(&a, str_of(bad[i]), &p));
}

static struct netconf conf_of(const char *json)
{
    struct netconf c;
    struct err e = {0};
    assert_int_equal(netconf_parse(str_of(json), &c, &e), 0);
    assert_int_equal(netconf_complete(&c, &e), 0);
    return c;
}

#define CONF "{\"Network\":\"10.5.0.0/16\",\"SubnetLen\":24,\"SubnetMin\":\"10.5.10.0\",\"SubnetMax\":\"10.5.13.0\",\"Backend\":{\"Type\":\"vxlan\"}}"
#define DUAL "{\"EnableIPv6\":true,\"Network\":\"10.5.0.0/16\",\"IPv6Network\":\"fd00:5::/48\",\"Backend\":{\"Type\":\"vxlan\"}}"

static void what_fits(void **state UNUSED)
{
    static const struct {
        const char *conf, *key;
        bool fits;
    } cases[] = {
        {CONF, "10.5.10.0-24", true},  {CONF, "10.5.13.0-24", true},
        {CONF, "10.5.9.0-24", false},  {CONF, "10.5.14.0-24", false},
        {CONF, "10.5.10.0-25", false}, {CONF, "10.5.10.0-24&fd00:5:0:1::-64", false},
        {DUAL, "10.5.10.0-24", false}, {DUAL, "10.5.10.0-24&fd00:5:0:1::-64", true},
        {DUAL, "10.5.10.0-24&fd00:6:0:1::-64", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct netconf c = conf_of(cases[i].conf);
        struct lease_ranges r;
        assert_true(lease_key_parse(str_of(cases[i].key), &r));
        assert_int_equal(lease_fits(&c, &r), cases[i].fits);
    }
}

static const char *chosen(const struct netconf *c, unsigned f, struct prefixes taken, uint64_t random)
{
    static char text[IP_TEXT_MAX];
    struct prefix p;
    return lease_choose(c, f, &taken, random, &p) ? prefix_format(&p, text) : "none";
}

static void which_is_taken(void **state UNUSED)
{
    struct netconf c = conf_of(CONF), dual = conf_of(DUAL);
    struct prefix list[3];
    assert_string_equal(chosen(&c, V4, (struct prefixes){0}, 0), "10.5.10.0/24");
    assert_string_equal(chosen(&c, V4, (struct prefixes){0}, 3), "10.5.13.0/24");
    assert_string_equal(chosen(&c, V4, (struct prefixes){0}, 4), "10.5.10.0/24");
    assert_true(prefix_parse(STR("10.5.10.128/25"), &list[0]) && prefix_parse(STR("10.5.12.0/23"), &list[1]));
    for (uint64_t random = 0; random < 3; random++) /* one that overlaps is taken, whatever its size */
        assert_string_equal(chosen(&c, V4, (struct prefixes){list, 2}, random), "10.5.11.0/24");
    assert_true(prefix_parse(STR("10.5.11.0/24"), &list[2]));
    assert_string_equal(chosen(&c, V4, (struct prefixes){list, 3}, 1), "none");
    assert_string_equal(chosen(&dual, V6, (struct prefixes){0}, 99), "fd00:5:0:64::/64"); /* of the first hundred */
    assert_string_equal(chosen(&dual, V6, (struct prefixes){0}, 100), "fd00:5:0:1::/64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys),
        cmocka_unit_test(values),
        cmocka_unit_test(what_fits),
        cmocka_unit_test(which_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
