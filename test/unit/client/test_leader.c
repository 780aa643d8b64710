/* SPDX-License-Identifier: Apache-2.0 */
#include "client/leader.h"

#include "client/fake_client.h"
#include "names.h"
#include "testing.h"

static struct mono at(int64_t s)
{
    return (struct mono){SECONDS(s)};
}

static void claims_are_judged_by_ones_own_clock(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct type *t = resources[RES_LEASES].type;
    struct val *other = val_relaxed(
        &a, t,
        "{spec: {holderIdentity: b, leaseDurationSeconds: 15, renewTime: '1999-01-01T00:00:00.000000Z'}}");
    struct val *ours = val_relaxed(&a, t, "{spec: {holderIdentity: a, leaseDurationSeconds: 15}}");
    struct val *free_ = val_relaxed(&a, t, "{spec: {leaseDurationSeconds: 1}}");
    struct val *slow = val_relaxed(&a, t, "{spec: {holderIdentity: b, leaseDurationSeconds: 60}}");
    int64_t lease = SECONDS(15);
    assert_int_equal(leader_decide(NULL, STR("a"), at(0), lease, at(0)), LEADER_CREATE);
    assert_int_equal(leader_decide(ours, STR("a"), at(0), lease, at(0)), LEADER_RENEW);
    assert_int_equal(leader_decide(free_, STR("a"), at(0), lease, at(0)), LEADER_TAKE);
    assert_int_equal(leader_decide(other, STR("a"), at(100), lease, at(114)), LEADER_WAIT);
    assert_int_equal(leader_decide(other, STR("a"), at(100), lease, at(115)), LEADER_TAKE);
    assert_int_equal(leader_decide(slow, STR("a"), at(100), lease, at(150)), LEADER_WAIT);
}

static void a_claim_says_who_and_since_when(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct leader_config c = {.ns = "kube-system", .name = "x", .lease_ns = SECONDS(15)};
    struct wall now = {INT64_C(1767225600) * NSEC_PER_SEC};
    struct val *v = leader_claim(&a, LEADER_CREATE, NULL, &c, STR("a"), now);
    assert_str(val_str(val_at(v, N_spec, N_acquireTime)), "2026-01-01T00:00:00.000000Z");
    assert_int_equal(val_int(val_at(v, N_spec, N_leaseTransitions), -1), 0);
    now.ns += SECONDS(5);
    v = leader_claim(&a, LEADER_RENEW, v, &c, STR("a"), now);
    assert_str(val_str(val_at(v, N_spec, N_acquireTime)), "2026-01-01T00:00:00.000000Z");
    assert_str(val_str(val_at(v, N_spec, N_renewTime)), "2026-01-01T00:00:05.000000Z");
    v = leader_claim(&a, LEADER_TAKE, v, &c, STR("b"), now);
    assert_str(val_str(val_at(v, N_spec, N_acquireTime)), "2026-01-01T00:00:05.000000Z");
    assert_int_equal(val_int(val_at(v, N_spec, N_leaseTransitions), -1), 1);
}

struct candidate {
    struct leader_config config;
    bool leads;
    int result;
};

static int work(void *arg, struct err *e)
{
    struct candidate *c = arg;
    c->leads = true;
    int r = fiber_sleep(SECONDS(60));
    c->leads = false;
    return r;
}

static void run(void *arg)
{
    struct candidate *c = arg;
    c->result = leader_run(&c->config, work, c, NULL);
}

static struct candidate candidate(struct fake_client *f, const char *identity)
{
    return (struct candidate){{.client = fake_client_as(f),
                               .ns = "kube-system",
                               .name = "x",
                               .identity = identity,
                               .lease_ns = MILLISECONDS(60),
                               .renew_ns = MILLISECONDS(40),
                               .retry_ns = MILLISECONDS(5)}};
}

FIBER_TEST(one_leads_and_the_next_takes_over)
{
    struct fake_client *f = fake_client_new();
    struct candidate a = candidate(f, "a"), b = candidate(f, "b");
    struct group ga = {0}, gb = {0};
    group_spawn(&ga, "a", run, &a);
    fiber_sleep(MILLISECONDS(10));
    group_spawn(&gb, "b", run, &b);
    fiber_sleep(MILLISECONDS(100));
    assert_true(a.leads && !b.leads);
    group_stop(&ga); /* gives it up, so b need not wait until it runs out */
    fiber_sleep(MILLISECONDS(40));
    assert_true(!a.leads && b.leads);
    assert_int_equal(a.result, -ECANCELED);
    group_stop(&gb);
    fake_client_free(f);
}

static int refuse(void *arg, uint16_t verb, const struct call *call, const struct val *body, struct status *s)
{
    return call->res == &resources[RES_LEASES] ? status_internal(s, "no") : 0;
}

FIBER_TEST(who_cannot_renew_stops)
{
    struct fake_client *f = fake_client_new();
    struct candidate a = candidate(f, "a");
    struct group g = {0};
    group_spawn(&g, "a", run, &a);
    fiber_sleep(MILLISECONDS(10));
    assert_true(a.leads);
    fake_client_hook(f, refuse, NULL);
    assert_int_equal(group_wait(&g, mono_add(os_mono(), SECONDS(2))), 0);
    assert_int_equal(a.result, -EPIPE);
    assert_false(a.leads);
    fake_client_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_are_judged_by_ones_own_clock),
        cmocka_unit_test(a_claim_says_who_and_since_when),
        cmocka_unit_test(one_leads_and_the_next_takes_over),
        cmocka_unit_test(who_cannot_renew_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
