/* SPDX-License-Identifier: Apache-2.0 */
/* Records of further nodes: names, addresses, folders, and settings that are read again as they were written.
 */
#include "../testing.h"

#include "adm/nodes.h"
#include "adm/options.h"

#include <stdio.h>
#include <unistd.h>

/* A cluster in a folder of its own, with ranges that no machine has. */
static struct cluster_config cluster_in(struct arena *a, char *dir)
{
    struct err e = {0};
    struct cluster_config c = {.data_dir = mkdtemp(dir),
                               .node_name = "m",
                               .advertise = "192.0.2.77",
                               .service_cidr = "198.18.0.0/16",
                               .pod_cidr = "198.19.0.0/16",
                               .dns_ip = "198.18.0.10",
                               .cgroup_root = "/cube-unit",
                               .bridge = "cubeu0",
                               .node_cidr = "203.0.113.0/28"};
    assert_non_null(c.data_dir);
    assert_int_equal(cluster_config_complete(a, &c, &e), 0);
    assert_int_equal(cluster_config_check(&c, &e), 0);
    return c;
}

static void remove_dir(const char *dir)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"rm", "-rf", dir, NULL};
    os_run(&a, argv, NULL, NULL, MONO_NEVER);
}

FIBER_TEST(nodes_get_names_and_addresses)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char dir[] = "/tmp/cube-unit-XXXXXX";
    struct cluster_config c = cluster_in(&a, dir);
    struct node_list all = {0};
    struct node n;
    struct err e = {0};
    assert_int_equal(nodes_read(&a, &c, &all, &e), 0);
    assert_int_equal(all.n, 0); /* no folder yet is no error */
    assert_int_equal(nodes_ensure(&a, &c, 0, &all, &e), 0);
    assert_int_equal(nodes_ensure(&a, &c, 2, &all, &e), 0);
    assert_int_equal(all.n, 2);
    assert_string_equal(all.list[0].name, "m-2");
    assert_string_equal(all.list[1].name, "m-3");
    assert_int_equal(nodes_ensure(&a, &c, 1, &all, &e), 0); /* at least: none goes */
    assert_int_equal(all.n, 2);
    assert_int_equal(nodes_add(&a, &c, "west.example", &n, &e), 0);
    assert_string_equal(n.cluster.advertise, "203.0.113.4");
    assert_int_equal(nodes_read(&a, &c, &all, &e), 0);
    assert_int_equal(all.n, 3);
    struct node *second = nodes_find(&all, "m-2");
    assert_string_equal(second->cluster.advertise, "203.0.113.2");
    assert_string_equal(second->gateway, "203.0.113.1");
    assert_string_equal(second->control_plane, "192.0.2.77");
    assert_string_equal(second->link, "cubeu0n2");
    assert_string_equal(second->cluster.cgroup_root, "/cube-unit/m-2");
    assert_string_equal(second->cluster.pod_cidr, "198.19.0.0/16");
    assert_string_equal(second->cluster.node_cidr, "203.0.113.0/28");
    assert_false(second->stopped);
    assert_int_equal(node_pid(second), 0);
    assert_null(node_socket(&a, second));
    assert_null(nodes_find(&all, "m"));
    remove_dir(dir);
}

FIBER_TEST(an_address_that_is_given_back_is_given_again)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char dir[] = "/tmp/cube-unit-XXXXXX";
    struct cluster_config c = cluster_in(&a, dir);
    struct node_list all;
    struct node n;
    struct err e = {0};
    assert_int_equal(nodes_ensure(&a, &c, 3, &all, &e), 0);
    remove_dir(arena_printf(&a, "%s/nodes/m-3", dir).p);
    assert_int_equal(nodes_add(&a, &c, NULL, &n, &e), 0);
    assert_string_equal(n.name, "m-3");
    assert_string_equal(n.cluster.advertise, "203.0.113.3");
    remove_dir(dir);
}

FIBER_TEST(what_cannot_be)
{
    static const char *const bad[] = {
        "",         "A",     "-a",
        "a-",       "a..b",  ".a",
        "a.",       "a.-b",  "a/b",
        "../b",     "a b",   "a_b",
        "kubepods", "system.slice", "init.scope", "ssh.service",
        "\xc3\xa4", "lock/", "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg"};
    static const char *const good[] = {"a", "1", "a.b", "a--b"};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char dir[] = "/tmp/cube-unit-XXXXXX";
    struct cluster_config c = cluster_in(&a, dir);
    struct node_list all;
    struct node n;
    struct err e = {0};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(nodes_add(&a, &c, bad[i], &n, &e), -EINVAL);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_int_equal(nodes_add(&a, &c, good[i], &n, &e), 0);
    assert_int_equal(nodes_add(&a, &c, "a", &n, &e), -EEXIST);
    assert_int_equal(nodes_add(&a, &c, "m", &n, &e), -EEXIST); /* the machine itself */
    assert_int_equal(nodes_ensure(&a, &c, 14, &all, &e),
                     -EADDRNOTAVAIL); /* 16 addresses, 13 of them for nodes */
    assert_int_equal(nodes_ensure(&a, &c, 13, &all, &e), 0);
    assert_int_equal(all.n, 13);
    c.node_cidr = "203.0.114.0/24"; /* not beside nodes that have others */
    assert_int_equal(nodes_add(&a, &c, "z", &n, &e), -EINVAL);
    assert_true(strstr(e.text, "203.0.113.0/28"));
    c.node_cidr = NULL; /* what is on record goes on */
    assert_int_equal(nodes_add(&a, &c, "z", &n, &e), -EADDRNOTAVAIL);
    remove_dir(dir);
    c.data_dir = "/run/cube-unit";
    c.node_cidr = "203.0.113.0/28";
    assert_int_equal(nodes_add(&a, &c, "z", &n, &e), -EINVAL);
    remove_dir(c.data_dir);
}

/* What is on record is stopped, killed and removed: a record that means something else is refused. */
FIBER_TEST(records_of_something_else)
{
    static const struct {
        const char *was, *now;
    } cases[] = {
        {"--node-name=m-2", "--node-name=m-3"},
        {"--node-name=m-2", "--node-name=../../m-2"},
        {"--cgroup-root=/cube-unit/m-2", "--cgroup-root=/"},
        {"--cgroup-root=/cube-unit/m-2", "--cgroup-root=/system.slice"},
        {"--cgroup-root=/cube-unit/m-2", "--cgroup-root=/cube-unit/m-2/.."},
        {"--cgroup-root=/cube-unit/m-2", "--cgroup-root=/../m-2"},
        {"--cgroup-root=/cube-unit/m-2", "--cgroup-root=cube-unit/m-2"},
    };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char dir[] = "/tmp/cube-unit-XXXXXX";
    struct cluster_config c = cluster_in(&a, dir);
    struct node_list all;
    struct node n;
    struct err e = {0};
    struct str good, head, tail;
    assert_int_equal(nodes_ensure(&a, &c, 1, &all, &e), 0);
    const char *conf = arena_printf(&a, "%s/nodes/m-2/node.conf", dir).p;
    assert_int_equal(os_read_file(&a, conf, 65536, &good), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *at = strstr(good.p, cases[i].was);
        assert_non_null(at);
        head = str_slice(good, 0, (size_t)(at - good.p));
        tail = str_from(good, head.n + strlen(cases[i].was));
        struct str text = arena_printf(&a, STR_FMT "%s" STR_FMT, STR_ARG(head), cases[i].now, STR_ARG(tail));
        assert_int_equal(os_write_file(conf, text, 0600), 0);
        if (node_load(&a, arena_printf(&a, "%s/nodes/m-2", dir).p, &n, &e) != -EINVAL)
            fail_msg("%s is taken", cases[i].now);
    }
    assert_int_equal(os_write_file(conf, good, 0600), 0);
    assert_int_equal(node_load(&a, arena_printf(&a, "%s/nodes/m-2", dir).p, &n, &e), 0);
    remove_dir(dir);
}

/* A range that is found keeps off the cluster's others, and differs from that of most other clusters. */
FIBER_TEST(ranges_are_found)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cluster_config one = {.data_dir = "/x/one",
                                 .pod_cidr = "10.123.0.0/17",
                                 .service_cidr = "10.123.128.0/18",
                                 .node_bridge = "none0"};
    struct cluster_config two = one;
    struct node_list none = {0};
    struct prefixes r = {0}, s = {0};
    struct err e = {0};
    two.data_dir = "/x/two";
    assert_int_equal(node_net_range(&a, &one, &none, &r, &e), 0);
    assert_int_equal(node_net_range(&a, &two, &none, &s, &e), 0);
    struct prefix rest = {0};
    assert_true(prefix_parse(STR("10.123.192.0/18"), &rest));
    assert_int_equal(r.n, 1);
    assert_int_equal(r.list[0].bits, 24);
    assert_true(prefix_contains(&rest, &r.list[0]));
    assert_int_not_equal(prefix_compare(&r.list[0], &s.list[0]), 0);
    one.pod_cidr = "10.123.0.0/16";
    assert_int_equal(node_net_range(&a, &one, &none, &r, &e), -EADDRNOTAVAIL);
    one.node_cidr = "10.9.0.0/31";
    assert_int_equal(node_net_range(&a, &one, &none, &r, &e), -EINVAL);
}

/* One address of each family for everybody, in the same order. */
FIBER_TEST(two_families)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char dir[] = "/tmp/cube-unit-XXXXXX";
    struct cluster_config c = cluster_in(&a, dir);
    struct prefixes r = {0};
    struct node n;
    struct err e = {0};
    c.pod_cidr = "198.19.0.0/16,fd00:19::/56";
    assert_int_equal(nodes_add(&a, &c, "m-2", &n, &e), -EINVAL); /* node_cidr has one */
    assert_true(strstr(e.text, "--node-cidr"));
    c.node_cidr = "203.0.113.0/28,fd00:113::/64";
    assert_int_equal(nodes_add(&a, &c, "m-2", &n, &e), 0);
    assert_string_equal(n.cluster.advertise, "203.0.113.2,fd00:113::2");
    assert_string_equal(n.gateway, "203.0.113.1,fd00:113::1");
    assert_int_equal(nodes_add(&a, &c, "m-3", &n, &e), 0);
    assert_string_equal(n.cluster.advertise, "203.0.113.3,fd00:113::3");
    c.node_cidr = NULL;
    c.service_cidr = "198.18.0.0/16,fd00:18::/112";
    assert_int_equal(node_net_range(&a, &c, &(struct node_list){0}, &r, &e), 0);
    assert_int_equal(r.n, 2);
    assert_int_equal(r.list[1].bits, 64);
    assert_int_equal(r.list[1].ip.b[0], 0xfd);
    remove_dir(dir);
}

FIBER_TEST(what_a_configuration_says_of_addresses)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cluster_config whole = {.advertise = "192.0.2.7,2001:db8::7", .pod_cidr = "10.1.0.0/16,fd01::/56",
                                   .service_cidr = "10.2.0.0/16,fd02::/112"};
    const struct {
        const char *pods, *services, *dns, *advertise, *fault; /* NULL: as above; fault NULL: good */
    } cases[] = {
        {NULL, NULL, NULL, NULL, NULL},
        {NULL, "10.2.0.0/16", NULL, NULL, NULL}, /* pods may have more than Services */
        {"fd01::/56", "fd02::/112", NULL, "2001:db8::7", NULL},
        {NULL, NULL, "10.2.0.53,fd02::53", NULL, NULL},
        {NULL, NULL, NULL, "192.0.2.7", NULL},
        {NULL, NULL, NULL, "2001:db8::7,192.0.2.7", "--advertise-address"},
        {NULL, NULL, NULL, "192.0.2.7,192.0.2.8", "--advertise-address"},
        {NULL, NULL, "10.2.0.53,fd03::53", NULL, "--dns-ip"},
        {NULL, NULL, "fd02::53", NULL, "--dns-ip"},
        {NULL, "fd02::/112,10.2.0.0/16", NULL, NULL, "--service-cidr"},
        {"10.1.0.0/16", NULL, NULL, NULL, "--service-cidr"},
        {"10.1.0.0/16,10.3.0.0/16", NULL, NULL, NULL, "--pod-cidr"},
        {"10.1.0.0/16,fd01::/72", NULL, NULL, NULL, "--pod-cidr"},
        {"10.1.0.0/25,fd01::/56", NULL, NULL, NULL, "--pod-cidr"},
        {NULL, "10.2.0.0/16,fd01::/112", NULL, NULL, "overlap"},
        {NULL, "10.2.0.0/16,fd02::/129", NULL, NULL, "--service-cidr"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cluster_config c = whole;
        struct err e = {0};
        c.pod_cidr = cases[i].pods ? cases[i].pods : c.pod_cidr;
        c.service_cidr = cases[i].services ? cases[i].services : c.service_cidr;
        c.advertise = cases[i].advertise ? cases[i].advertise : c.advertise;
        c.dns_ip = cases[i].dns;
        assert_int_equal(cluster_config_complete(&a, &c, &e), 0);
        int r = cluster_config_check(&c, &e);
        if (r != (cases[i].fault ? -EINVAL : 0) || (cases[i].fault && !strstr(e.text, cases[i].fault)))
            fail_msg("case %zu: %d %s", i, r, e.text);
        if (!i)
            assert_string_equal(c.dns_ip, "10.2.0.10,fd02::a");
    }
}

FIBER_TEST(settings_are_kept)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char dir[] = "/tmp/cube-unit-XXXXXX";
    struct cluster_config c = cluster_in(&a, dir), later = {.data_dir = dir, .port = 7777},
                          other = {.data_dir = "/nowhere"};
    struct err e = {0};
    c.node_grace = SECONDS(5);
    c.containerd = "/opt/a b/\"containerd\"";
    assert_int_equal(cluster_config_save(&c, &e), 0);
    assert_int_equal(cluster_config_load(&a, &later, &e), 0);
    assert_string_equal(later.pod_cidr, "198.19.0.0/16");
    assert_string_equal(later.containerd, "/opt/a b/\"containerd\"");
    assert_int_equal(later.node_grace, SECONDS(5));
    assert_int_equal(later.port, 7777); /* what was said goes before what was kept */
    assert_int_equal(later.kubelet_port, 10250);
    assert_int_equal(cluster_config_load(&a, &other, &e), 0); /* nothing kept is fine */
    assert_null(other.pod_cidr);
    c.runc = "two\nlines";
    assert_int_equal(cluster_config_save(&c, &e), -EINVAL);
    struct str bad = STR("--data-dir=/x\n--no-such-flag=1\n");
    assert_int_equal(os_write_file(arena_printf(&a, "%s/cluster.conf", dir).p, bad, 0600), 0);
    later = (struct cluster_config){.data_dir = dir};
    assert_int_equal(cluster_config_load(&a, &later, &e), -EINVAL);
    assert_true(strstr(e.text, "no-such-flag"));
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_get_names_and_addresses),
        cmocka_unit_test(an_address_that_is_given_back_is_given_again),
        cmocka_unit_test(what_cannot_be),
        cmocka_unit_test(ranges_are_found),
        cmocka_unit_test(two_families),
        cmocka_unit_test(what_a_configuration_says_of_addresses),
        cmocka_unit_test(settings_are_kept),
        cmocka_unit_test(records_of_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
