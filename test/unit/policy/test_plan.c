/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: what it wants for small worlds, and that hundreds of random changes leave the same as reading the world anew. With
 * the kernel, in a network namespace of the test's own (root, else skipped): what the small texts leave there must equal
 * what one full text makes.
 */
#include "../testing.h"

#include "client/fake_client.h"
#include "netlink/nft.h"
#include "policy/plan.h"
#include "type/meta.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define TABLE "cube-test-plan"

/* ---- a world ------------------------------------------------------------------------------------------- */

enum { MOST = 64 };

struct world {
    struct plan *plan;
    struct object *objects[MOST];
    size_t n;
};

static bool same_thing(const struct object *x, const struct object *y)
{
    return x->res == y->res && str_eq(x->name, y->name) && str_eq(x->namespace_, y->namespace_);
}

/* Takes o. */
static void put(struct world *w, struct object *o)
{
    size_t i = 0;
    while (i < w->n && !same_thing(w->objects[i], o))
        i++;
    struct object *old = i < w->n ? w->objects[i] : NULL;
    assert_int_equal(plan_change(w->plan, old, o, NULL), 0);
    object_unref(old);
    w->objects[i] = o;
    w->n += i == w->n;
    assert_true(w->n < MOST);
}

static void drop(struct world *w, size_t i)
{
    struct object *o = w->objects[i];
    w->objects[i] = w->objects[--w->n];
    plan_change(w->plan, o, NULL, NULL);
    object_unref(o);
}

static void put_text(struct world *w, unsigned res, const char *text)
{
    put(w, object_relaxed((uint16_t)res, text));
}

static void put_namespace(struct world *w, const char *name, const char *labels)
{
    char text[256];
    snprintf(text, sizeof(text), "{metadata:{name:%s,labels:{%s}}}", name, labels);
    put_text(w, RES_NAMESPACES, text);
}

static void put_pod(struct world *w, const char *ns, const char *name, const char *node, const char *labels, const char *ip,
                    const char *more)
{
    char text[1024], ips[128] = "";
    if (ip[0])
        snprintf(ips, sizeof(ips), "podIP:'%s',podIPs:[{ip:'%s'}],", ip, ip);
    snprintf(text, sizeof(text),
             "{metadata:{name:%s,namespace:%s,uid:%s-%s,labels:{%s}},spec:{nodeName:%s,containers:[{name:c,ports:["
             "{name:web,containerPort:8080,protocol:TCP},{name:dns,containerPort:53,protocol:UDP}]}]%s},status:{%sphase:Running}}",
             name, ns, ns, name, labels, node, more, ips);
    put_text(w, RES_PODS, text);
}

static void put_policy(struct world *w, const char *ns, const char *name, const char *spec)
{
    char text[2048];
    snprintf(text, sizeof(text), "{metadata:{name:%s,namespace:%s},spec:%s}", name, ns, spec);
    put_text(w, RES_NETWORKPOLICIES, text);
}

static void begin(struct world *w)
{
    *w = (struct world){.plan = plan_new("here")};
    put_text(w, RES_NODES, "{metadata:{name:here},spec:{podCIDR:'10.7.0.0/24',podCIDRs:['10.7.0.0/24','fd07::/64']}}");
}

static void end(struct world *w)
{
    plan_free(w->plan);
    for (size_t i = 0; i < w->n; i++)
        object_unref(w->objects[i]);
}

static struct str print(const struct plan *p, struct arena *a)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    plan_print(p, &b);
    return arena_str(a, buf_str(&b));
}

#define HAS(w, text)                                                                                         \
    do {                                                                                                     \
        struct arena has_a_ CLEANUP_ARENA = ARENA_INIT;                                                      \
        struct str has_s_ = print((w)->plan, &has_a_);                                                       \
        if (!str_contains(has_s_, STR(text)))                                                                \
            fail_msg("no \"%s\" in:\n%s", text, has_s_.p);                                                   \
    } while (0)
#define HAS_NOT(w, text)                                                                                     \
    do {                                                                                                     \
        struct arena has_a_ CLEANUP_ARENA = ARENA_INIT;                                                      \
        struct str has_s_ = print((w)->plan, &has_a_);                                                       \
        if (str_contains(has_s_, STR(text)))                                                                 \
            fail_msg("\"%s\" in:\n%s", text, has_s_.p);                                                      \
    } while (0)

static void small_world(struct world *w)
{
    begin(w);
    put_namespace(w, "a", "team:x");
    put_namespace(w, "b", "team:y");
    put_pod(w, "a", "one", "here", "app:web", "10.7.0.5", "");
    put_pod(w, "a", "two", "there", "app:web", "10.7.1.5", "");
    put_pod(w, "b", "three", "here", "app:db", "fd07::9", "");
}

/* ---- what is wanted ------------------------------------------------------------------------------------ */

static void isolation(void **state UNUSED)
{
    struct world w;
    small_world(&w);
    HAS_NOT(&w, "map in");
    HAS(&w, "known-4 10.7.0.5\n");
    HAS_NOT(&w, "known-4 10.7.1.5");
    HAS(&w, "ip saddr 10.7.0.0/24 ip saddr != @known-4 drop\n");
    HAS(&w, "ip6 daddr fd07::/64 ip6 daddr != @known-6 drop\n");
    put_policy(&w, "a", "deny", "{podSelector:{}}");
    HAS(&w, "map in 10.7.0.5 a/one \n");
    HAS(&w, "pod a/one in deny\n");
    HAS(&w, "self-4 10.7.0.5 . 10.7.0.5\n");
    HAS_NOT(&w, "map out");
    HAS_NOT(&w, "10.7.1.5 a/two"); /* not of this node */
    HAS_NOT(&w, "b/three in");     /* nor of this namespace */
    put_policy(&w, "a", "open", "{podSelector:{matchLabels:{app:web}},policyTypes:[Egress],egress:[{}]}");
    HAS(&w, "pod a/one in deny\n");
    HAS(&w, "pod a/one out open\n");
    HAS(&w, "chain a/open out:\ngoto taking\n");
    put_pod(&w, "a", "one", "here", "app:other", "10.7.0.5", "");
    HAS_NOT(&w, "a/one out");
    drop(&w, 6); /* deny */
    HAS_NOT(&w, "map in");
    end(&w);
}

static void peers_and_ports(void **state UNUSED)
{
    struct world w;
    small_world(&w);
    put_policy(&w, "a", "p",
               "{podSelector:{},ingress:[{from:[{namespaceSelector:{matchLabels:{team:y}}},{podSelector:{matchExpressions:["
               "{key:app,operator:In,values:[web,x]}]}},{ipBlock:{cidr:'192.168.0.0/16',except:['192.168.1.0/24']}}],"
               "ports:[{port:80},{port:web},{protocol:UDP,port:100,endPort:200}]}]}");
    HAS(&w, "<pods [team=y]> fd07::9\n");
    HAS(&w, "<pods a/app in (web,x)> 10.7.1.5\n");
    HAS(&w, "<port tcp/web> 10.7.0.5 . 8080\n");
    HAS(&w, "<port tcp/web> fd07::9 . 8080\n");
    HAS(&w, "ip saddr @<pods [team=y]>-4 tcp dport { 80 } accept\n");
    HAS(&w, "ip6 saddr @<pods [team=y]>-6 udp dport { 100-200 } accept\n");
    HAS(&w, "ip saddr 192.168.0.0/16 ip saddr != { 192.168.1.0/24 } tcp dport { 80 } accept\n");
    HAS(&w, "ip saddr 192.168.0.0/16 ip saddr != { 192.168.1.0/24 } meta l4proto tcp ip daddr . th dport @<port tcp/web>-4 accept\n");
    put_namespace(&w, "b", "team:z"); /* its label goes, and with it its pods */
    HAS_NOT(&w, "<pods [team=y]> fd07::9");
    put_namespace(&w, "a", "team:y");
    HAS(&w, "<pods [team=y]> 10.7.0.5\n");
    put_pod(&w, "a", "two", "there", "app:x2", "10.7.1.5", "");
    HAS_NOT(&w, "<pods a/app in (web,x)> 10.7.1.5");
    put_policy(&w, "a", "p", "{podSelector:{}}");
    HAS_NOT(&w, "set <"); /* what nobody names is gone */
    end(&w);
}

static void who_counts(void **state UNUSED)
{
    struct world w;
    small_world(&w);
    put_policy(&w, "a", "p", "{podSelector:{},ingress:[{from:[{podSelector:{}}]}]}");
    put_pod(&w, "a", "host", "here", "", "10.9.9.9", ",hostNetwork:true");
    HAS_NOT(&w, "10.9.9.9"); /* its address is the node's */
    put_pod(&w, "a", "none", "here", "", "", "");
    HAS_NOT(&w, "a/none");
    assert_int_equal(plan_placed(w.plan, STR("a"), STR("none"), STR("a-none"), STR("10.7.0.77,fd07::77")), 0);
    HAS(&w, "map in 10.7.0.77 a/none \n");
    HAS(&w, "known-6 fd07::77\n");
    assert_int_equal(plan_placed(w.plan, STR("a"), STR("none"), STR("other"), STR("10.7.0.78")), -ENOENT);
    assert_int_equal(plan_placed(w.plan, STR("a"), STR("nobody"), STR_NULL, STR("10.7.0.78")), -ENOENT);
    put_pod(&w, "a", "none", "here", "", "10.7.0.79", ""); /* its status knows better */
    HAS_NOT(&w, "10.7.0.77");
    HAS(&w, "map in 10.7.0.79 a/none \n");
    put_text(&w, RES_PODS,
             "{metadata:{name:one,namespace:a,uid:a-one},spec:{nodeName:here},status:{podIP:'10.7.0.5',phase:Succeeded}}");
    HAS_NOT(&w, "10.7.0.5"); /* its address may be another's already */
    end(&w);
}

/* The pod that is going keeps an address for a while that another has got. */
static void an_address_changes_hands(void **state UNUSED)
{
    struct world w;
    small_world(&w);
    put_policy(&w, "a", "p", "{podSelector:{},ingress:[{from:[{podSelector:{matchLabels:{app:web}}}]}]}");
    put_text(&w, RES_PODS,
             "{metadata:{name:one,namespace:a,uid:a-one,labels:{app:web},deletionTimestamp:'2030-01-01T00:00:00Z'},"
             "spec:{nodeName:here},status:{podIP:'10.7.0.5',phase:Running}}");
    HAS(&w, "map in 10.7.0.5 a/one \n");
    HAS(&w, "<pods a/app=web> 10.7.0.5\n");
    put_pod(&w, "b", "heir", "here", "", "10.7.0.5", "");
    HAS_NOT(&w, "map in 10.7.0.5");
    HAS_NOT(&w, "<pods a/app=web> 10.7.0.5");
    HAS(&w, "known-4 10.7.0.5\n");
    for (size_t i = 0; i < w.n; i++)
        if (str_is(w.objects[i]->name, "one")) {
            drop(&w, i);
            break;
        }
    HAS(&w, "known-4 10.7.0.5\n");
    end(&w);
}

/* One change costs what it must. */
static size_t lines_of_change(struct world *w)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t n = 0;
    plan_text(w->plan, TABLE, &b);
    for (size_t i = 0; i < b.n; i++)
        n += b.p[i] == '\n';
    return n;
}

static void a_change_costs_a_change(void **state UNUSED)
{
    struct world w;
    small_world(&w);
    for (int i = 0; i < 20; i++) {
        char name[8], ip[24];
        snprintf(name, sizeof(name), "x%d", i);
        snprintf(ip, sizeof(ip), "10.7.0.%d", 100 + i);
        put_pod(&w, "a", name, "here", "app:web", ip, "");
    }
    put_policy(&w, "a", "p", "{podSelector:{},ingress:[{from:[{podSelector:{matchLabels:{app:web}}}]}]}");
    assert_true(lines_of_change(&w) > 10);
    assert_int_equal(lines_of_change(&w), 0);
    put_pod(&w, "a", "x0", "here", "app:web", "10.7.0.100", ""); /* nothing new */
    assert_int_equal(lines_of_change(&w), 0);
    put_pod(&w, "a", "x0", "here", "app:web,more:labels", "10.7.0.100", ""); /* that nobody asks for */
    assert_int_equal(lines_of_change(&w), 0);
    put_pod(&w, "a", "x0", "here", "app:no", "10.7.0.100", "");
    assert_int_equal(lines_of_change(&w), 1); /* one element less */
    put_pod(&w, "a", "new", "there", "app:web", "10.7.1.99", "");
    assert_int_equal(lines_of_change(&w), 1);
    put_pod(&w, "a", "new2", "here", "app:web", "10.7.0.99", "");
    assert_int_equal(lines_of_change(&w), 4); /* known, self, map, peers */
    put_policy(&w, "a", "p", "{podSelector:{},ingress:[{ports:[{port:1}],from:[{podSelector:{matchLabels:{app:web}}}]}]}");
    assert_int_equal(lines_of_change(&w), 3); /* the chain: flushed, a rule each family */
    end(&w);
}

/* ---- random changes ------------------------------------------------------------------------------------ */

static uint64_t seed;

static unsigned any(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static void random_change(struct world *w)
{
    static const char *const spaces[] = {"a", "b", "c"}, *const labels[] = {"", "app:web", "app:db", "app:web,x:y"},
                            *const teams[] = {"", "team:x", "team:y"}, *const nodes[] = {"here", "there"},
                            *const names[] = {"p0", "p1", "p2", "p3"};
    static const char *const specs[] = {
        "{podSelector:{}}",
        "{podSelector:{matchLabels:{app:web}},policyTypes:[Ingress,Egress]}",
        "{podSelector:{},ingress:[{from:[{podSelector:{matchLabels:{app:db}}}]}]}",
        "{podSelector:{matchLabels:{app:db}},egress:[{to:[{namespaceSelector:{matchLabels:{team:x}}}],ports:[{port:web}]}]}",
        "{podSelector:{matchExpressions:[{key:app,operator:Exists}]},ingress:[{from:[{namespaceSelector:{matchExpressions:[{key:"
        "team,operator:NotIn,values:[x]}]},podSelector:{matchLabels:{app:web}}},{ipBlock:{cidr:'10.0.0.0/8',except:['10.7.0.0/28',"
        "'10.7.0.0/30']}},{ipBlock:{cidr:'::/0'}}],ports:[{protocol:UDP,port:dns},{port:80,endPort:90},{protocol:SCTP}]}]}",
        "{podSelector:{},egress:[{to:[{ipBlock:{cidr:'0.0.0.0/0'}}]},{ports:[{port:web},{protocol:UDP,port:dns}]}]}",
    };
    char name[8], ip[32];
    snprintf(name, sizeof(name), "q%u", any(12));
    if (any(2))
        snprintf(ip, sizeof(ip), "10.7.%u.%u", any(2), 1 + any(9)); /* shared ones, too */
    else
        snprintf(ip, sizeof(ip), "fd07::%u", 1 + any(9));
    switch (any(6)) {
    case 0:
        put_namespace(w, spaces[any(3)], teams[any(3)]);
        return;
    case 1:
        put_policy(w, spaces[any(3)], names[any(4)], specs[any(ARRAY_SIZE(specs))]);
        return;
    case 2:
        if (w->n > 1) {
            size_t i = 1 + any((unsigned)w->n - 1); /* not the node */
            drop(w, i);
        }
        return;
    default:
        put_pod(w, spaces[any(3)], name, nodes[any(2)], labels[any(4)], any(5) ? ip : "", "");
    }
}

/* Two who claim an address alike are told apart by their names, so that the order of events does not matter. */
static void expect_like_new(struct world *w, int step)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct plan *fresh = plan_new("here");
    for (size_t i = w->n; i-- > 0;)
        plan_change(fresh, NULL, w->objects[i], NULL);
    struct str is = print(w->plan, &a), want = print(fresh, &a);
    if (!str_eq(is, want))
        fail_msg("step %d: is\n%s\nwanted\n%s", step, is.p, want.p);
    plan_free(fresh);
}

static void random_changes_equal_a_new_plan(void **state UNUSED)
{
    for (unsigned round = 0; round < 20; round++) {
        struct world w;
        seed = 77 + round;
        begin(&w);
        for (int step = 0; step < 150; step++) {
            random_change(&w);
            expect_like_new(&w, step);
        }
        end(&w);
    }
}

/* ---- with the kernel ----------------------------------------------------------------------------------- */

static void apply(struct world *w)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    plan_text(w->plan, TABLE, &b);
    if (b.n && nft_apply(buf_str(&b), &e) < 0)
        fail_msg("%s\n%s", e.text, b.p);
}

/* Elements in the order of the kernel's hash: sorted by line and by word. */
static struct str list_table(struct arena *a)
{
    const char *argv[] = {"sh", "-c", "nft list table inet " TABLE " | tr -s ',\\n\\t ' '\\n' | sort", NULL};
    struct str out = STR_NULL;
    assert_int_equal(os_run(a, argv, &out, NULL, mono_add(os_mono(), SECONDS(10))), 0);
    return out;
}

static void kernel_body(void *arg UNUSED)
{
    struct world w;
    seed = 4711;
    begin(&w);
    for (int step = 0; step < 150; step++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        random_change(&w);
        if (any(2))
            apply(&w);
        if (step % 25)
            continue;
        apply(&w);
        struct str by_steps = list_table(&a);
        plan_forget(w.plan);
        apply(&w);
        struct str at_once = list_table(&a);
        if (!str_eq(by_steps, at_once))
            fail_msg("by steps\n%s\nat once\n%s", by_steps.p, at_once.p);
        assert_true(step == 0 || str_contains(at_once, STR("taking")));
    }
    struct buf b CLEANUP_BUF = BUF_INIT;
    plan_remove_text(TABLE, &b);
    plan_remove_text(TABLE, &b); /* nothing there is no mistake */
    assert_int_equal(nft_apply(buf_str(&b), NULL), 0);
    end(&w);
}

static void small_changes_equal_a_full_write(void **state UNUSED)
{
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        skip();
    loop_run(kernel_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(isolation),
        cmocka_unit_test(peers_and_ports),
        cmocka_unit_test(who_counts),
        cmocka_unit_test(an_address_changes_hands),
        cmocka_unit_test(a_change_costs_a_change),
        cmocka_unit_test(random_changes_equal_a_new_plan),
        cmocka_unit_test(small_changes_equal_a_full_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
