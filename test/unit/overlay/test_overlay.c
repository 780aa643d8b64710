/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay against a real kernel, in a network namespace of the test's own (needs root, else skipped): one
 * end of a cable is this node's link, Nodes come and go in an API of the mind, and `ip route` says what
 * became of it.
 */
#include "../testing.h"

#include "base/err.h"
#include "base/log.h"
#include "client/fake_client.h"
#include "overlay/overlay.h"
#include "overlay/rtnl.h"

#include <sched.h>
#include <unistd.h>

struct world {
    struct fake_client *fake;
    struct overlay_config config;
    struct group g;
    struct err err;
    int r;
};

static void ip(const char *words)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"sh", "-c", arena_printf(&a, "ip %s", words).p, NULL};
    struct str text;
    if (os_run(&a, argv, NULL, &text, mono_add(os_mono(), SECONDS(10))))
        fail_msg("ip %s: " STR_FMT, words, STR_ARG(text));
}

/* Our routes as "range via gateway", sorted, joined by "; ". */
static const char *routes_now(struct arena *a)
{
    const char *argv[] = {"sh", "-c",
                          "(ip -4 route show proto 67; ip -6 route show proto 67) | awk '{print $1, $2, $3}' "
                          "| sort | paste -sd';'",
                          NULL};
    struct str text = STR_NULL;
    os_run(a, argv, &text, NULL, mono_add(os_mono(), SECONDS(10)));
    return arena_cstr(a, str_trim(text));
}

static void expect(const char *want)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    while (strcmp(routes_now(&a), want)) {
        if (os_mono().ns > deadline.ns)
            fail_msg("\"%s\" instead of \"%s\"", routes_now(&a), want);
        fiber_sleep(MILLISECONDS(20));
    }
}

static void put_node(struct world *w, const char *name, const char *range, const char *address)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    fake_put_text(
        w->fake, RES_NODES,
        arena_printf(
            &a,
            "{metadata:{name:%s},spec:{podCIDRs:['%s']},status:{addresses:[{type:InternalIP,address:'%s'}]}}",
            name, range, address)
            .p);
}

static void run(void *arg)
{
    struct world *w = arg;
    w->r = overlay_run(&w->config, &w->err);
}

static void start(struct world *w)
{
    group_spawn(&w->g, "overlay", run, w);
}

static void begin(struct world *w)
{
    *w = (struct world){.fake = fake_client_new()};
    w->config = (struct overlay_config){
        .client = fake_client_as(w->fake), .node_name = "self", .cluster_cidr = "10.77.0.0/16,fd77::/48"};
    ip("link add wire0 type veth peer name wire1");
    ip("address add 10.0.7.1/24 dev wire0");
    ip("-6 address add fd07::1/64 dev wire0 nodad");
    ip("link set lo up");
    ip("link set wire1 up");
    ip("link set wire0 up");
    put_node(w, "self", "10.77.0.0/24", "10.0.7.1");
}

static void end(struct world *w)
{
    group_stop(&w->g);
    fake_client_free(w->fake);
    ip("link delete wire0");
}

FIBER_TEST(routes_follow_nodes)
{
    struct world w;
    begin(&w);
    put_node(&w, "b", "10.77.1.0/24", "10.0.7.2");
    start(&w);
    expect("10.77.1.0/24 via 10.0.7.2");
    put_node(&w, "c", "10.77.2.0/24", "10.0.7.3");
    expect("10.77.1.0/24 via 10.0.7.2;10.77.2.0/24 via 10.0.7.3");
    put_node(&w, "c", "10.77.2.0/24", "10.0.7.4"); /* it has a new address */
    expect("10.77.1.0/24 via 10.0.7.2;10.77.2.0/24 via 10.0.7.4");
    put_node(&w, "six", "fd77:0:0:6::/64", "fd07::6");
    expect("10.77.1.0/24 via 10.0.7.2;10.77.2.0/24 via 10.0.7.4;fd77:0:0:6::/64 via fd07::6");
    fake_remove(w.fake, RES_NODES, "", "b");
    expect("10.77.2.0/24 via 10.0.7.4;fd77:0:0:6::/64 via fd07::6");
    end(&w);
}

/* What an earlier run left is taken over, or removed where no Node wants it; what is not ours stays. */
FIBER_TEST(only_ours_is_touched)
{
    struct world w;
    begin(&w);
    put_node(&w, "b", "10.77.1.0/24", "10.0.7.2");
    put_node(&w, "d", "10.77.4.0/24", "10.0.7.9");
    ip("route add 10.77.1.0/24 via 10.0.7.2 proto 67");
    ip("route add 10.77.9.0/24 via 10.0.7.9 proto 67");
    ip("route add 10.77.3.0/24 via 10.0.7.8 proto static");
    ip("route add 10.77.4.0/24 via 10.0.7.8 proto static"); /* in our way, but not ours */
    ip("route add 10.99.0.0/24 via 10.0.7.8 proto 67");     /* another cluster's */
    start(&w);
    expect("10.77.1.0/24 via 10.0.7.2;10.99.0.0/24 via 10.0.7.8");
    ip("route show proto static | grep -q '10.77.4.0/24 via 10.0.7.8'");
    ip("route show proto static | grep -q '10.77.3.0/24 via 10.0.7.8'");
    group_stop(&w.g);
    expect("10.77.1.0/24 via 10.0.7.2;10.99.0.0/24 via 10.0.7.8"); /* traffic goes on without us */
    assert_int_equal(overlay_cleanup("10.77.0.0/16", &w.err), 0);
    expect("10.99.0.0/24 via 10.0.7.8");
    assert_int_equal(overlay_cleanup(NULL, &w.err), 0);
    expect("");
    end(&w);
}

FIBER_TEST(what_others_take_comes_back)
{
    struct world w;
    begin(&w);
    put_node(&w, "b", "10.77.1.0/24", "10.0.7.2");
    start(&w);
    expect("10.77.1.0/24 via 10.0.7.2");
    ip("route delete 10.77.1.0/24");
    expect("10.77.1.0/24 via 10.0.7.2");
    ip("link set wire0 down"); /* IPv4 routes go without a word */
    ip("link set wire0 up");
    expect("10.77.1.0/24 via 10.0.7.2");
    /* A node on no network of ours, until we get an address there. */
    put_node(&w, "far", "10.77.5.0/24", "10.0.8.5");
    fiber_sleep(MILLISECONDS(200));
    expect("10.77.1.0/24 via 10.0.7.2");
    ip("address add 10.0.8.1/24 dev wire0");
    expect("10.77.1.0/24 via 10.0.7.2;10.77.5.0/24 via 10.0.8.5");
    fake_break_watches(w.fake, true); /* the API goes away for a moment: nothing is lost */
    put_node(&w, "e", "10.77.6.0/24", "10.0.7.6");
    expect("10.77.1.0/24 via 10.0.7.2;10.77.5.0/24 via 10.0.8.5;10.77.6.0/24 via 10.0.7.6");
    end(&w);
}

FIBER_TEST(bad_settings)
{
    struct err e = {0};
    struct overlay_config c = {.node_name = "self", .backend = "carrier-pigeon"};
    assert_int_equal(overlay_run(&c, &e), -EINVAL);
    assert_true(strstr(e.text, "carrier-pigeon"));
    c = (struct overlay_config){.node_name = "self", .cluster_cidr = "10.0.0.0"};
    assert_int_equal(overlay_run(&c, &e), -EINVAL);
    assert_true(strstr(e.text, "10.0.0.0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_settings),
        cmocka_unit_test(routes_follow_nodes),
        cmocka_unit_test(only_ours_is_touched),
        cmocka_unit_test(what_others_take_comes_back),
    };
    log_set_level(LOG_ERROR);
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        return 77; /* meson's word for skipped */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
