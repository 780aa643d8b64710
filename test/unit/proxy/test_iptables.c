/* SPDX-License-Identifier: Apache-2.0 */
/* Chains and lines of iptables mode, as people know them from kube-proxy. */
#include "services.h"

#include "base/fiber.h"
#include "base/os.h"
#include "proxy/backend.h"
#include "proxy/ipt_rules.h"

#include <stdlib.h>

static struct node_side node = {.node_name = "here", .zone = "", .nodeports_all = true, .mark = 0x4000};

static struct str text_of(const char *spec, const char *more, const char *endpoints, struct arena *a)
{
    struct few w = {0};
    struct service_ports ports;
    struct ipt_items t = {.arena = a};
    struct buf b CLEANUP_BUF = BUF_INIT;
    put_service(&w, spec, more);
    put_slice(&w, 0, endpoints);
    ports_of(&w, &node, a, &ports);
    ipt_items_of(&node, &ports, false, &t);
    for (size_t i = 0; i < t.n_lines; i++)
        buf_printf(&b, "%s -A %s " STR_FMT, ipt_shared_chains[t.lines[i].chain].filter ? "filter" : "nat", ipt_shared_chains[t.lines[i].chain].name,
                   STR_ARG(t.lines[i].text));
    for (size_t i = 0; i < t.n_chains; i++)
        buf_putstr(&b, t.chains[i].rules);
    few_done(&w);
    return arena_str(a, buf_str(&b));
}

static void has(struct str text, const char *line)
{
    if (!str_contains(text, str_of(line)))
        fail_msg("no \"%s\" in\n" STR_FMT, line, STR_ARG(text));
}

static void names_are_upstreams(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    assert_str(ipt_chain_name(&a, "KUBE-SVC-", STR("ns1/svc1:p80tcp")), "KUBE-SVC-XPGD46QRK7WJZT7O");
    assert_str(ipt_chain_name(&a, "KUBE-SEP-", STR("ns1/svc1:p80tcp10.180.0.1:80")), "KUBE-SEP-SXIVWICOYRO3J4NJ");
    assert_true(ipt_is_service_chain(STR("KUBE-FW-X")));
    assert_false(ipt_is_service_chain(STR("KUBE-SERVICES")));
}

static void rules_read_as_people_know_them(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    node.detect = (struct detect_local){.kind = DETECT_CIDR};
    prefix_parse(STR("10.0.0.0/8"), &node.detect.prefix);
    struct str t = text_of("", "", "H1 T2", &a);
    has(t, "nat -A KUBE-SERVICES -m comment --comment \"ns1/svc1:p80 cluster IP\" -m tcp -p tcp -d 172.30.0.41 --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O\n");
    has(t, "-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment \"ns1/svc1:p80 cluster IP\" -m tcp -p tcp -d 172.30.0.41 --dport 80 ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ\n");
    has(t, "-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment \"ns1/svc1:p80 -> 10.180.0.1:80\" -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-SXIVWICOYRO3J4NJ\n");
    has(t, "-A KUBE-SVC-XPGD46QRK7WJZT7O -m comment --comment \"ns1/svc1:p80 -> 10.180.0.2:80\" -j KUBE-SEP-");
    has(t, "-A KUBE-SEP-SXIVWICOYRO3J4NJ -m comment --comment \"ns1/svc1:p80\" -s 10.180.0.1 -j KUBE-MARK-MASQ\n");
    has(t, "-A KUBE-SEP-SXIVWICOYRO3J4NJ -m comment --comment \"ns1/svc1:p80\" -m tcp -p tcp -j DNAT --to-destination 10.180.0.1:80\n");
}

static void nothing_to_reach_is_refused(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str t = text_of(",\"type\":\"NodePort\"", "", "", &a);
    has(t, "filter -A KUBE-SERVICES -m comment --comment \"ns1/svc1:p80 has no endpoints\" -m tcp -p tcp -d 172.30.0.41 --dport 80 -j REJECT\n");
    has(t, "filter -A KUBE-EXTERNAL-SERVICES -m comment --comment \"ns1/svc1:p80 has no endpoints\" -m addrtype --dst-type LOCAL -m tcp -p tcp --dport 30001 -j REJECT\n");
    assert_false(str_contains(t, STR("nat ")));
    t = text_of(",\"type\":\"NodePort\",\"externalTrafficPolicy\":\"Local\"", "", "T1", &a);
    has(t, "filter -A KUBE-EXTERNAL-SERVICES -m comment --comment \"ns1/svc1:p80 has no local endpoints\" -m addrtype --dst-type LOCAL -m tcp -p tcp --dport 30001 -j DROP\n");
    has(t, "nat -A KUBE-NODEPORTS -m comment --comment \"ns1/svc1:p80\" -m tcp -p tcp --dport 30001 -j KUBE-EXT-XPGD46QRK7WJZT7O\n");
    has(t, "-A KUBE-EXT-XPGD46QRK7WJZT7O -m comment --comment \"pod traffic for ns1/svc1:p80 external destinations\" -s 10.0.0.0/8 -j KUBE-SVC-XPGD46QRK7WJZT7O\n");
    has(t, "-A KUBE-EXT-XPGD46QRK7WJZT7O -m comment --comment \"route LOCAL traffic for ns1/svc1:p80 external destinations\" -m addrtype --src-type LOCAL -j KUBE-SVC-XPGD46QRK7WJZT7O\n");
    assert_false(str_contains(t, STR("-j KUBE-SVL-")));
}

static void balancers_have_a_firewall(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *status = ",\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"5.6.7.8\"}]}}";
    struct str t = text_of(",\"type\":\"LoadBalancer\",\"loadBalancerSourceRanges\":[\"203.0.113.0/25\"]", status, "H1", &a);
    has(t, "nat -A KUBE-EXTERNAL-SERVICES -m comment --comment \"ns1/svc1:p80 loadbalancer IP\" -m tcp -p tcp -d 5.6.7.8 --dport 80 -j KUBE-FW-XPGD46QRK7WJZT7O\n");
    has(t, "filter -A KUBE-PROXY-FIREWALL -m comment --comment \"ns1/svc1:p80 traffic not accepted by KUBE-FW-XPGD46QRK7WJZT7O\" -m tcp -p tcp -d 5.6.7.8 --dport 80 -j DROP\n");
    has(t, "-A KUBE-FW-XPGD46QRK7WJZT7O -m comment --comment \"ns1/svc1:p80 loadbalancer IP\" -s 203.0.113.0/25 -j KUBE-EXT-XPGD46QRK7WJZT7O\n");
}

static void affinity_remembers(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str t = text_of(",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":60}}", "", "H1", &a);
    has(t, "-m recent --name KUBE-SEP-SXIVWICOYRO3J4NJ --rcheck --seconds 60 --reap -j KUBE-SEP-SXIVWICOYRO3J4NJ\n");
    has(t, "-m recent --name KUBE-SEP-SXIVWICOYRO3J4NJ --set -m tcp -p tcp -j DNAT");
}

/* ---- the order of tables ---------------------------------------------------------------------------------- */

/* What a change to these endpoints has the kernel told, by an iptables-restore of ours. */
static struct str told(struct backend *b, const char *endpoints, const char *log, struct arena *a)
{
    struct few w = {0};
    struct service_ports ports;
    struct err e = {0};
    struct str text = STR_NULL;
    put_service(&w, "", "");
    put_slice(&w, 0, endpoints);
    ports_of(&w, &node, a, &ports);
    b->ops->begin(b, false);
    b->ops->service(b, STR("ns1/svc1"), &ports);
    assert_int_equal(b->ops->commit(b, &e), 0);
    few_done(&w);
    assert_int_equal(os_read_file(a, log, 1 << 20, &text), 0);
    return text;
}

static void comes_before(struct str text, const char *one, const char *two)
{
    const char *a = memmem(text.p, text.n, one, strlen(one)), *b = memmem(text.p, text.n, two, strlen(two));
    if (!a || !b || a > b)
        fail_msg("no \"%s\" and after it \"%s\" in\n" STR_FMT, one, two, STR_ARG(text));
}

static void no_gap(void *dir)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *program = arena_printf(&a, "%s/iptables-restore", (char *)dir).p, *log = arena_printf(&a, "%s/log", (char *)dir).p;
    struct str script = arena_printf(&a, "#!/bin/sh\ncat >%s\n", log);
    assert_int_equal(os_write_file(program, script, 0755), 0);
    setenv("PATH", arena_printf(&a, "%s:%s", (char *)dir, getenv("PATH")).p, 1);
    struct backend *b = backend_iptables(&node, &(struct backend_settings){.table = "t"});
    told(b, "H1", log, &a);
    comes_before(told(b, "", log, &a), "-I KUBE-SERVICES -m comment --comment \"ns1/svc1:p80 has no endpoints\"", "-D KUBE-SERVICES -m comment --comment \"ns1/svc1:p80 cluster IP\"");
    comes_before(told(b, "H1", log, &a), "-I KUBE-SERVICES -m comment --comment \"ns1/svc1:p80 cluster IP\"", "-D KUBE-SERVICES -m comment --comment \"ns1/svc1:p80 has no endpoints\"");
    b->ops->free(b);
}

static void refused_before_its_way_goes_and_until_it_comes(void **state UNUSED)
{
    char dir[] = "/tmp/cube-test-iptables-XXXXXX";
    assert_non_null(mkdtemp(dir));
    loop_run(no_gap, dir);
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof(path), "%s%s", dir, (const char *const[]){"/iptables-restore", "/log", ""}[i]);
        assert_int_equal(remove(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_upstreams),     cmocka_unit_test(rules_read_as_people_know_them),
        cmocka_unit_test(nothing_to_reach_is_refused), cmocka_unit_test(balancers_have_a_firewall),
        cmocka_unit_test(affinity_remembers),      cmocka_unit_test(refused_before_its_way_goes_and_until_it_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
