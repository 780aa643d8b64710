/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole part against a real kernel, in a network namespace of the test's own (root, else skipped): policies come and go in
 * an API of the mind, and `nft` says what became of it, also after a foreign hand.
 */
#include "../testing.h"

#include "base/log.h"
#include "client/fake_client.h"
#include "policy/policy.h"

#include <sched.h>
#include <unistd.h>

#define TABLE "cube-test-policy"

struct world {
    struct fake_client *fake;
    struct policy_config config;
    struct group g;
    struct err err;
};

static void run(void *arg)
{
    struct world *w = arg;
    policy_run(&w->config, &w->err);
}

static bool shell(const char *command)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"sh", "-c", command, NULL};
    return os_run(&a, argv, NULL, NULL, mono_add(os_mono(), SECONDS(10))) == 0;
}

static void expect(const char *command, bool want)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    while (shell(command) != want) {
        if (os_mono().ns > deadline.ns)
            fail_msg("%s: %s", command, want ? "never became true" : "stays true");
        fiber_sleep(MILLISECONDS(20));
    }
}
#define THERE "nft list table inet " TABLE
#define ELEMENT(set, key) "nft get element inet " TABLE " " set " '{ " key " }'"

static void begin(struct world *w)
{
    *w = (struct world){.fake = fake_client_new()};
    w->config = (struct policy_config){
        .client = fake_client_as(w->fake), .node_name = "self", .table = TABLE, .gate = policy_gate_new()};
    fake_put_text(w->fake, RES_NODES, "{metadata:{name:self},spec:{podCIDRs:['10.7.0.0/24']}}");
    fake_put_text(w->fake, RES_NAMESPACES, "{metadata:{name:a}}");
    fake_put_text(w->fake, RES_PODS,
                  "{metadata:{name:p,namespace:a,uid:u},spec:{nodeName:self},status:{podIP:'10.7.0.9',phase:Running}}");
    group_spawn(&w->g, "policy", run, w);
}

static void end(struct world *w)
{
    group_stop(&w->g);
    policy_gate_free(w->config.gate);
    fake_client_free(w->fake);
    assert_int_equal(policy_cleanup(TABLE, NULL), 0);
}

static void put_policy(struct world *w)
{
    fake_put_text(w->fake, RES_NETWORKPOLICIES, "{metadata:{name:deny,namespace:a},spec:{podSelector:{}}}");
}

FIBER_TEST(no_policy_no_table)
{
    struct world w;
    assert_true(shell("nft add table inet " TABLE)); /* what an earlier run has left */
    begin(&w);
    expect(THERE, false);
    put_policy(&w);
    expect(ELEMENT("in-4", "10.7.0.9"), true);
    fake_remove(w.fake, RES_NETWORKPOLICIES, "a", "deny");
    expect(THERE, false);
    put_policy(&w);
    expect(ELEMENT("in-4", "10.7.0.9"), true);
    group_stop(&w.g); /* rules hold while nobody is at work */
    assert_true(shell(ELEMENT("in-4", "10.7.0.9")));
    end(&w);
}

FIBER_TEST(what_others_change_is_put_back)
{
    struct world w;
    begin(&w);
    put_policy(&w);
    expect(ELEMENT("in-4", "10.7.0.9"), true);
    log_set_level(LOG_ERROR);
    assert_true(shell("nft flush ruleset"));
    expect(ELEMENT("in-4", "10.7.0.9"), true);
    assert_true(shell("nft delete element inet " TABLE " in-4 '{ 10.7.0.9 }'"));
    expect(ELEMENT("in-4", "10.7.0.9"), true);
    assert_true(shell("nft insert rule inet " TABLE " forward accept"));
    expect(THERE " | grep -A2 'hook forward' | grep -x '[[:space:]]*accept'", false);
    log_set_level(LOG_INFO);
    end(&w);
}

struct placing {
    struct world *w;
    bool done;
};

static void place(void *arg)
{
    struct placing *p = arg;
    policy_placed(p->w->config.gate, STR("a"), STR("q"), STR("v"), STR("10.7.0.10"));
    p->done = true;
}

/* A pod's rules are there before its first container, also when our copy of the pods is behind the kubelet's. */
FIBER_TEST(containers_wait_for_rules)
{
    struct world w;
    begin(&w);
    policy_placed(w.config.gate, STR("a"), STR("p"), STR("u"), STR("10.7.0.9")); /* no policies: no wait, no table */
    assert_false(shell(THERE));
    put_policy(&w);
    expect(ELEMENT("in-4", "10.7.0.9"), true);
    struct placing p = {.w = &w};
    group_spawn(&w.g, "place", place, &p);
    fiber_sleep(MILLISECONDS(50));
    assert_false(p.done);
    fake_put_text(w.fake, RES_PODS, "{metadata:{name:q,namespace:a,uid:v},spec:{nodeName:self},status:{phase:Pending}}");
    while (!p.done)
        fiber_sleep(MILLISECONDS(2));
    assert_true(shell(ELEMENT("in-4", "10.7.0.10")));
    assert_true(shell(ELEMENT("known-4", "10.7.0.10")));
    end(&w);
}

static int setup(void **state UNUSED)
{
    return geteuid() || unshare(CLONE_NEWNET) < 0 ? 77 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_policy_no_table),
        cmocka_unit_test(what_others_change_is_put_back),
        cmocka_unit_test(containers_wait_for_rules),
    };
    if (setup(NULL))
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
