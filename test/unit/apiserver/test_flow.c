/* SPDX-License-Identifier: Apache-2.0 */
/* Priority and fairness: matching, hands of queues, turns, lending, and what clients see. */
#include "fixture.h"

#include <math.h>
#include <stdio.h>

#include "apiserver/flow.h"
#include "base/fiber.h"
#include "base/os.h"
#include "wire/json.h"

/* ---- levels -------------------------------------------------------------------------------------------- */

static void hands_are_distinct_and_spread(void **state UNUSED)
{
    unsigned times[16] = {0};
    for (uint64_t h = 0; h < 4000; h++) {
        unsigned hand[4], seen = 0;
        flow_deal(h * 0x9e3779b97f4a7c15ull, 16, 4, hand);
        for (int i = 0; i < 4; i++) {
            assert_true(hand[i] < 16);
            assert_false(seen & 1u << hand[i]);
            seen |= 1u << hand[i];
            times[hand[i]]++;
        }
    }
    for (int i = 0; i < 16; i++)
        assert_in_range(times[i], 850, 1150); /* 1000 each on average */
}

static void seats_are_shared_out(void **state UNUSED)
{
    struct flow_share s[] = {{.low = 10, .high = 100, .want = 10}, {.low = 5, .high = 20, .want = 40}, {.low = 0, .high = 100, .want = 0}};
    flow_share_out(s, 3, 60);
    assert_true(fabs(s[0].got + s[1].got + s[2].got - 60) < 0.01);
    assert_true(fabs(s[1].got - 20) < 0.01); /* at its bound */
    assert_true(s[0].got > s[2].got);
    flow_share_out(s, 2, 25);
    assert_true(fabs(s[0].got - 10) < 0.01); /* not below what it must keep */
    assert_true(fabs(s[1].got - 15) < 0.01);
}

struct user_of {
    struct flow_level *level;
    uint64_t flow;
    char *log;
    char name;
    unsigned seats;
    int result;
};

static void use(void *arg)
{
    struct user_of *u = arg;
    struct flow_seat seat = {0};
    u->result = flow_enter(u->level, u->flow, u->seats ? u->seats : 1, mono_add(os_mono(), MILLISECONDS(300)), &seat);
    if (u->result)
        return;
    u->log[strlen(u->log)] = u->name;
    fiber_sleep(MILLISECONDS(2));
    flow_leave(&seat);
}

static struct flow_level *level(unsigned seats, unsigned queues, unsigned length)
{
    struct flow_level *l = flow_level_new(STR("l"));
    struct flow_level_config c = {.nominal = seats, .queues_requests = queues > 0, .queues = queues, .hand = 1, .length = length};
    flow_level_configure(l, &c);
    return l;
}

/* One that asks for much waits behind its own; the other, who came last, gets every second turn. */
FIBER_TEST(flows_take_turns)
{
    struct flow_level *l = level(1, 8, 100);
    struct group g = {0};
    char log[64] = {0};
    struct user_of u[24];
    for (int i = 0; i < 24; i++) {
        u[i] = (struct user_of){.level = l, .flow = i < 20 ? 1 : 2, .log = log, .name = i < 20 ? 'E' : 'm'};
        group_spawn(&g, "user", use, &u[i]);
    }
    assert_int_equal(group_wait(&g, mono_add(os_mono(), SECONDS(5))), 0);
    assert_int_equal(strlen(log), 24);
    assert_true(strrchr(log, 'm') < log + 12);
    assert_true(flow_level_idle(l));
    assert_int_equal(l->in_use, 0);
    flow_level_free(l);
}

FIBER_TEST(what_is_too_much_is_refused)
{
    struct flow_level *l = level(1, 1, 2);
    struct flow_seat held = {0};
    struct group g = {0};
    char log[64] = {0};
    struct user_of u[4];
    assert_int_equal(flow_enter(l, 1, 1, MONO_NEVER, &held), 0);
    for (int i = 0; i < 4; i++) {
        u[i] = (struct user_of){.level = l, .flow = 1, .log = log, .name = 'x'};
        group_spawn(&g, "user", use, &u[i]);
    }
    assert_int_equal(group_wait(&g, mono_add(os_mono(), SECONDS(5))), 0);
    assert_int_equal(u[0].result, FLOW_TIMED_OUT);
    assert_int_equal(u[1].result, FLOW_TIMED_OUT);
    assert_int_equal(u[2].result, FLOW_FULL);
    assert_int_equal(u[3].result, FLOW_FULL);
    flow_leave(&held);
    assert_true(flow_level_idle(l));
    assert_int_equal(l->asked, 0);
    flow_level_free(l);
    l = level(1, 0, 0); /* refuses at once */
    assert_int_equal(flow_enter(l, 1, 1, MONO_NEVER, &held), 0);
    struct flow_seat none;
    assert_int_equal(flow_enter(l, 1, 1, MONO_NEVER, &none), FLOW_FULL);
    flow_leave(&held);
    flow_level_free(l);
}

FIBER_TEST(a_wide_request_comes_through)
{
    struct flow_level *l = level(3, 4, 10);
    char log[64] = {0};
    struct group g = {0};
    struct user_of u[] = {{.level = l, .flow = 1, .log = log, .name = 'a', .seats = 2}, {.level = l, .flow = 2, .log = log, .name = 'W', .seats = 10},
                          {.level = l, .flow = 3, .log = log, .name = 'b'}};
    for (int i = 0; i < 3; i++)
        group_spawn(&g, "user", use, &u[i]);
    assert_int_equal(group_wait(&g, mono_add(os_mono(), SECONDS(5))), 0);
    assert_int_equal(strlen(log), 3);
    assert_int_equal(u[1].result, 0);
    flow_level_free(l);
}

FIBER_TEST(a_change_of_configuration_loses_nobody)
{
    struct flow_level *l = level(1, 4, 10);
    char log[64] = {0};
    struct group g = {0};
    struct user_of u[6];
    for (int i = 0; i < 6; i++) {
        u[i] = (struct user_of){.level = l, .flow = (uint64_t)i, .log = log, .name = 'x'};
        group_spawn(&g, "user", use, &u[i]);
    }
    fiber_sleep(MILLISECONDS(1));
    flow_level_configure(l, &(struct flow_level_config){.nominal = 2, .queues_requests = true, .queues = 2, .hand = 2, .length = 5});
    assert_int_equal(group_wait(&g, mono_add(os_mono(), SECONDS(5))), 0);
    assert_int_equal(strlen(log), 6);
    assert_true(flow_level_idle(l));
    assert_int_equal(l->in_use, 0);
    flow_level_free(l);
}

FIBER_TEST(demand_is_what_was_asked_for)
{
    struct flow_level *l = level(4, 1, 10);
    struct flow_seat a, b;
    flow_level_demand(l, os_mono());
    assert_int_equal(flow_enter(l, 1, 1, MONO_NEVER, &a), 0);
    assert_int_equal(flow_enter(l, 1, 2, MONO_NEVER, &b), 0);
    fiber_sleep(MILLISECONDS(50));
    double busy = flow_level_demand(l, os_mono());
    assert_true(busy > 2.5 && busy < 3.01);
    flow_leave(&a);
    flow_leave(&b);
    fiber_sleep(MILLISECONDS(20));
    flow_level_demand(l, os_mono());
    double later = flow_level_demand(l, os_mono());
    assert_true(later < busy && later > 2); /* it goes back slowly */
    flow_level_free(l);
}

/* ---- matching ------------------------------------------------------------------------------------------ */

static void rules(void **state UNUSED)
{
    static const struct {
        const char *rules, *user, *verb, *group, *resource, *sub, *ns, *path;
        bool want;
    } cases[] = {
        {"[]", "u", "get", "", "pods", "", "a", NULL, false},
        {"[{'subjects':[{'kind':'User','user':{'name':'u'}}],'resourceRules':[{'verbs':['*'],'apiGroups':['*'],'resources':['*'],'namespaces':['*']}]}]",
         "u", "get", "", "pods", "", "a", NULL, true},
        {"[{'subjects':[{'kind':'User','user':{'name':'u'}}],'resourceRules':[{'verbs':['*'],'apiGroups':['*'],'resources':['*'],'namespaces':['*']}]}]",
         "u", "get", "", "nodes", "", "", NULL, false},
        {"[{'subjects':[{'kind':'User','user':{'name':'*'}}],'resourceRules':[{'verbs':['list'],'apiGroups':[''],'resources':['nodes'],'clusterScope':true}]}]",
         "x", "list", "", "nodes", "", "", NULL, true},
        {"[{'subjects':[{'kind':'Group','group':{'name':'g'}}],'resourceRules':[{'verbs':['list'],'apiGroups':['apps'],'resources':['deployments/scale'],'namespaces':['a']}]}]",
         "x", "list", "apps", "deployments", "scale", "a", NULL, true},
        {"[{'subjects':[{'kind':'Group','group':{'name':'h'}}],'resourceRules':[{'verbs':['*'],'apiGroups':['*'],'resources':['*'],'namespaces':['*']}]}]",
         "x", "list", "apps", "deployments", "", "a", NULL, false},
        {"[{'subjects':[{'kind':'ServiceAccount','serviceAccount':{'namespace':'n','name':'*'}}],'nonResourceRules':[{'verbs':['get'],'nonResourceURLs':['/healthz/*']}]}]",
         "system:serviceaccount:n:s", "get", "", "", "", "", "/healthz/x", true},
        {"[{'subjects':[{'kind':'ServiceAccount','serviceAccount':{'namespace':'n','name':'t'}}],'nonResourceRules':[{'verbs':['get'],'nonResourceURLs':['*']}]}]",
         "system:serviceaccount:n:s", "get", "", "", "", "", "/healthz", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        char *text = arena_cstr(&a, str_of(cases[i].rules));
        struct val *v = NULL;
        struct str g = STR("g");
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        assert_int_equal(json_decode(&a, NULL, str_of(text), 0, NULL, &v, NULL), 0);
        struct user u = {.name = str_of(cases[i].user), .groups = &g, .n_groups = 1};
        struct request_info in = {.is_resource = !cases[i].path, .verb = str_of(cases[i].verb), .group = str_of(cases[i].group),
                                  .resource = str_of(cases[i].resource), .subresource = str_of(cases[i].sub), .ns = str_of(cases[i].ns),
                                  .path = str_of(cases[i].path ? cases[i].path : "")};
        if (flow_rules_match(v, &u, &in) != cases[i].want)
            fail_msg("case %zu", i);
    }
}

/* ---- the server ---------------------------------------------------------------------------------------- */

#define FLOW "/apis/flowcontrol.apiserver.k8s.io/v1/"

static const char *uid_of(struct fixture *f, const char *path)
{
    struct reply r = get(f, path);
    assert_code(r, 200);
    return at(f, r.v, "metadata.uid");
}

static void make_schema(struct fixture *f, const char *name, const char *level)
{
    struct str body = arena_printf(&f->arena,
        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"matchingPrecedence\":2,\"priorityLevelConfiguration\":{\"name\":\"%s\"},\"rules\":[{"
        "\"subjects\":[{\"kind\":\"User\",\"user\":{\"name\":\"system:anonymous\"}}],\"resourceRules\":[{\"verbs\":[\"create\"],"
        "\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"namespaces\":[\"*\"]}]}]}}", name, level);
    assert_code(post(f, FLOW "flowschemas", body.p), 201);
}

static void dangling_is(struct fixture *f, const char *schema, const char *want)
{
    const char *is = "";
    for (int i = 0; i < 300 && strcmp(is, want); i++, fiber_sleep(MILLISECONDS(10))) {
        struct reply r = get(f, arena_printf(&f->arena, FLOW "flowschemas/%s", schema).p);
        is = at(f, r.v, "status.conditions.0.status");
    }
    assert_string_equal(is, want);
}

FIBER_TEST(requests_are_classified)
{
    struct fixture f;
    fixture_start(&f, NULL);
    struct reply r = get(&f, "/api/v1/nodes");
    assert_code(r, 200);
    assert_string_equal(arena_cstr(&f.arena, http_header(&r.headers, "x-kubernetes-pf-flowschema-uid")), uid_of(&f, FLOW "flowschemas/global-default"));
    assert_string_equal(arena_cstr(&f.arena, http_header(&r.headers, "x-kubernetes-pf-prioritylevel-uid")),
                        uid_of(&f, FLOW "prioritylevelconfigurations/global-default"));
    dangling_is(&f, "catch-all", "False");
    make_schema(&f, "mine", "nowhere");
    dangling_is(&f, "mine", "True");
    r = post(&f, "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"a\"}}");
    assert_string_not_equal(arena_cstr(&f.arena, http_header(&r.headers, "x-kubernetes-pf-flowschema-uid")), uid_of(&f, FLOW "flowschemas/mine"));
    assert_code(post(&f, FLOW "prioritylevelconfigurations", "{\"metadata\":{\"name\":\"nowhere\"},\"spec\":{\"type\":\"Limited\",\"limited\":"
                     "{\"nominalConcurrencyShares\":1,\"limitResponse\":{\"type\":\"Reject\"}}}}"), 201);
    dangling_is(&f, "mine", "False");
    r = post(&f, "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"b\"}}");
    assert_code(r, 201);
    assert_string_equal(arena_cstr(&f.arena, http_header(&r.headers, "x-kubernetes-pf-flowschema-uid")), uid_of(&f, FLOW "flowschemas/mine"));
    r = get(&f, "/metrics");
    assert_true(str_contains(r.text, STR("apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"mine\",priority_level=\"nowhere\"} 1\n")));
    r = get(&f, "/debug/api_priority_and_fairness/dump_priority_levels");
    assert_true(str_contains(r.text, STR("nowhere, 0, true, false, 0, 0, 0, ")));
    fixture_stop(&f);
}

FIBER_TEST(a_full_level_answers_429)
{
    struct fixture f;
    struct err e = {0};
    struct http_call *call = NULL;
    struct apiserver_config c = {.authorization = "AlwaysAllow", .max_in_flight = 2, .max_mutating_in_flight = 1};
    fixture_start(&f, &c);
    assert_code(post(&f, FLOW "prioritylevelconfigurations", "{\"metadata\":{\"name\":\"tight\"},\"spec\":{\"type\":\"Limited\",\"limited\":"
                     "{\"nominalConcurrencyShares\":1,\"limitResponse\":{\"type\":\"Reject\"}}}}"), 201);
    make_schema(&f, "tight", "tight");
    struct http_header type = {STR("content-type"), STR("application/json")};
    struct http_request q = {.method = "POST", .url = arena_printf(&f.arena, "%s/api/v1/namespaces/default/configmaps", f.base).p,
                             .headers = &type, .n_headers = 1, .stream_body = true};
    assert_int_equal(http_begin(f.http, &q, mono_add(os_mono(), SECONDS(5)), &call, &e), 0);
    assert_int_equal(http_call_write(call, STR("{\"metadata\":"), MONO_NEVER), 0);
    struct reply r = {0};
    for (int i = 0; i < 100 && r.code != 429; i++) {
        fiber_sleep(MILLISECONDS(10));
        r = post(&f, "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"generateName\":\"b\"}}");
    }
    assert_code(r, 429);
    assert_true(str_is(http_header(&r.headers, "retry-after"), "1"));
    assert_code(get(&f, "/api/v1/nodes"), 200); /* others have levels of their own */
    http_call_free(call);
    r.code = 429;
    for (int i = 0; i < 100 && r.code == 429; i++) {
        fiber_sleep(MILLISECONDS(10));
        r = post(&f, "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"generateName\":\"b\"}}");
    }
    assert_code(r, 201);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_are_distinct_and_spread),
        cmocka_unit_test(seats_are_shared_out),
        cmocka_unit_test(flows_take_turns),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(a_wide_request_comes_through),
        cmocka_unit_test(a_change_of_configuration_loses_nobody),
        cmocka_unit_test(demand_is_what_was_asked_for),
        cmocka_unit_test(rules),
        cmocka_unit_test(requests_are_classified),
        cmocka_unit_test(a_full_level_answers_429),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
