/* SPDX-License-Identifier: Apache-2.0 */
/* nftables mode against the kernel, in a network namespace of the test's own (needs root, else skipped): what is written reads
 * back as it was meant, changes leave no trace, and what somebody else changes is noticed. */
#include "services.h"

#include "base/os.h"
#include "proxy/backend.h"

#include <sched.h>
#include <unistd.h>

static struct node_side node = {.node_name = "here", .zone = "", .nodeports_all = true, .mark = 0x4000};
static const struct backend_settings settings = {.table = "cube-test"};

static void write_it(struct backend *b, struct few *w, bool full, int want)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct service_ports ports;
    struct err e = {0};
    ports_of(w, &node, &a, &ports);
    b->ops->begin(b, full);
    b->ops->service(b, STR("ns1/svc1"), &ports);
    int r = b->ops->commit(b, &e);
    if (r != want)
        fail_msg("%d: %s", r, e.text);
}

static struct str kernel(struct arena *a)
{
    const char *argv[] = {"nft", "-y", "list", "table", "ip", "cube-test", NULL};
    struct str out, said;
    int r = os_run(a, argv, &out, &said, MONO_NEVER);
    if (r)
        fail_msg("nft: %d: " STR_FMT, r, STR_ARG(said));
    return out;
}

static void has(const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str all = kernel(&a);
    if (!str_contains(all, str_of(text)))
        fail_msg("no \"%s\" in\n" STR_FMT, text, STR_ARG(all));
}

static void check_there_at(struct backend *b, int want, int line)
{
    struct err e = {0};
    int r = b->ops->verify(b, true, &e);
    if (r != want)
        fail_msg("line %d: verify says %d: %s", line, r, e.text);
}
#define check_there(b, want) check_there_at(b, want, __LINE__)

static void run_nft(const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"nft", text, NULL};
    assert_int_equal(os_run(&a, argv, NULL, NULL, MONO_NEVER), 0);
}

static void has_not(const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str all = kernel(&a);
    if (str_contains(all, str_of(text)))
        fail_msg("\"%s\" in\n" STR_FMT, text, STR_ARG(all));
}

static void reads_back(struct few *w, struct backend *b)
{
    put_service(w, ",\"type\":\"NodePort\"", "");
    put_slice(w, 0, "H1 T2");
    write_it(b, w, true, 0);
    has("172.30.0.41 . tcp . 80 comment \"ns1/svc1:p80\" : goto service-endpoints-2");
    has("172.30.0.41 . tcp . 80 . 0 : 10.180.0.1 . 80");
    has("172.30.0.41 . tcp . 80 . 1 : 10.180.0.2 . 80");
    has("tcp . 30001 comment \"ns1/svc1:p80\" : goto external-nodeport-2");
    has("tcp . 30001 . 1 : 10.180.0.2 . 80");
    has("dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @service-endpoints");
    has("dnat ip to meta l4proto . th dport . numgen random mod 2 map @nodeport-endpoints");
    has("elements = { 10.180.0.1 . 10.180.0.1 . tcp . 80 }");
    check_there(b, 0);
    put_slice(w, 0, "T2");
    write_it(b, w, false, 0);
    has("172.30.0.41 . tcp . 80 . 0 : 10.180.0.2 . 80");
    has_not("172.30.0.41 . tcp . 80 . 1");
    has("goto service-endpoints-1");
    put_slice(w, 0, "");
    write_it(b, w, false, 0);
    has("172.30.0.41 . tcp . 80 comment \"ns1/svc1:p80\" : goto reject-chain");
    has("tcp . 30001 comment \"ns1/svc1:p80\" : goto reject-chain");
    has_not("172.30.0.41 . tcp . 80 . 0");
    check_there(b, 0);
    put_slice(w, 0, "T2");
    put_service(w, ",\"internalTrafficPolicy\":\"Local\"", "");
    write_it(b, w, false, 0);
    has("172.30.0.41 . tcp . 80 comment \"ns1/svc1:p80\" : drop");
    put_slice(w, 0, "H1 H2");
    put_service(w, ",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":60}}", "");
    write_it(b, w, false, 0);
    has("10.180.0.1/80 goto endpoint-");
    has_not("172.30.0.41 . tcp . 80 . 0");
    check_there(b, 0);
}

/* A list that changes moves nobody who stays, and what is read back can be given back to nft. */
static void lists_change_little(struct few *w, struct backend *b)
{
    put_service(w, "", "");
    put_slice(w, 0, "H1 H2 H3");
    write_it(b, w, false, 0);
    put_slice(w, 0, "H2 H3 T4");
    write_it(b, w, false, 0);
    has("172.30.0.41 . tcp . 80 . 0 : 10.180.0.4 . 80");
    has("172.30.0.41 . tcp . 80 . 1 : 10.180.0.2 . 80");
    has("172.30.0.41 . tcp . 80 . 2 : 10.180.0.3 . 80");
    put_slice(w, 0, "H3 T4 T5 T6");
    write_it(b, w, false, 0);
    has("172.30.0.41 . tcp . 80 . 1 : 10.180.0.5 . 80");
    has("172.30.0.41 . tcp . 80 . 3 : 10.180.0.6 . 80");
    check_there(b, 0);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *check[] = {"nft", "-c", "-f", "-", NULL};
    char name[] = "/tmp/cube-nft-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    struct str text = kernel(&a);
    assert_int_equal(write(fd, text.p, text.n), text.n);
    close(fd);
    check[3] = name;
    struct str said;
    int r = os_run(&a, check, NULL, &said, MONO_NEVER);
    unlink(name);
    if (r)
        fail_msg("nft does not take what it lists: " STR_FMT "\n" STR_FMT, STR_ARG(said), STR_ARG(text));
}

/* Who went where is remembered through a full write, for as long as it would have been. */
static void clients_are_kept(struct few *w, struct backend *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    put_service(w, ",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":3600}}", "");
    put_slice(w, 0, "H1 H2");
    write_it(b, w, false, 0);
    struct str all = kernel(&a), name;
    const char *at = memmem(all.p, all.n, "affinity-", 9);
    assert_non_null(at);
    name = str_from(all, (size_t)(at - all.p));
    assert_true(str_cut(name, ' ', &name, &all));
    run_nft(arena_printf(&a, "add element ip cube-test " STR_FMT " { 192.0.2.7 timeout 1h expires 1799s }", STR_ARG(name)).p);
    has("192.0.2.7 timeout 1h expires 29m");
    write_it(b, w, true, 0);
    has("192.0.2.7 timeout 1h expires 29m");
    put_service(w, ",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":600}}", "");
    write_it(b, w, true, 0);
    has("192.0.2.7 timeout 10m expires ");
    check_there(b, 0);
}

static void changes_are_noticed(struct few *w, struct backend *b)
{
    static const char *const harm[] = {"flush chain ip cube-test services", "flush map ip cube-test service-ips", "delete table ip cube-test",
                                       "flush map ip cube-test service-endpoints",
                                       "add chain ip cube-test x", "flush set ip cube-test cluster-ips"};
    for (size_t i = 0; i < ARRAY_SIZE(harm); i++) {
        run_nft(harm[i]);
        check_there(b, 1);
        write_it(b, w, true, 0);
        check_there(b, 0);
    }
}

/* A change that the kernel refuses is told, and a full write mends everything. */
static void refusals_are_told(struct few *w, struct backend *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct service_ports ports;
    struct err e = {0};
    run_nft("delete table ip cube-test");
    put_slice(w, 0, "T7");
    ports_of(w, &node, &a, &ports);
    b->ops->begin(b, false);
    b->ops->service(b, STR("ns1/svc1"), &ports);
    assert_int_equal(b->ops->commit(b, &e), -ENOENT);
    assert_true(str_starts(str_of(e.text), STR("nftables: ")));
    write_it(b, w, true, 0);
    check_there(b, 0);
}

static void nothing_stays(struct few *w, struct backend *b)
{
    struct err e = {0};
    put_object(w, &w->service, RES_SERVICES, NULL);
    write_it(b, w, false, 0);
    fiber_sleep(MILLISECONDS(1100)); /* chains go a second later */
    assert_false(b->ops->tidy(b));
    check_there(b, 0);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    assert_false(str_contains(kernel(&a), STR("svc1")));
    assert_int_equal(nftables_cleanup("cube-test", &e), 0);
    assert_int_equal(nftables_cleanup("cube-test", &e), 0);
}

/* Two Services with one external address: the first has it; when that one goes, everything is written anew for the other. */
static void the_first_has_an_address(void)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct few w = {0};
    struct service_ports ports, none = {0};
    struct err e = {0};
    struct backend *b = backend_nftables(&node, &settings);
    put_service(&w, ",\"externalIPs\":[\"192.0.2.1\"]", "");
    put_slice(&w, 0, "H1");
    ports_of(&w, &node, &a, &ports);
    b->ops->begin(b, true);
    b->ops->service(b, STR("ns1/svc1"), &ports);
    ports.list[0].service = STR("other");
    ports.list[0].name = STR("ns1/other:p80");
    b->ops->service(b, STR("ns1/other"), &ports);
    assert_int_equal(b->ops->commit(b, &e), 0);
    check_there(b, 0);
    b->ops->begin(b, false);
    b->ops->service(b, STR("ns1/svc1"), &none);
    assert_int_equal(b->ops->commit(b, &e), 1);
    b->ops->free(b);
    few_done(&w);
}

/* A Service goes in the batch that brings the next one with as many endpoints: the chain that they share has its rules. */
static void who_comes_finds_the_chain(void)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct few w = {0};
    struct service_ports ports, none = {0};
    struct err e = {0};
    struct backend *b = backend_nftables(&node, &settings);
    put_service(&w, "", "");
    put_slice(&w, 0, "H1 T2 T3");
    ports_of(&w, &node, &a, &ports);
    b->ops->begin(b, true);
    b->ops->service(b, STR("ns1/svc1"), &ports);
    assert_int_equal(b->ops->commit(b, &e), 0);
    b->ops->begin(b, false);
    b->ops->service(b, STR("ns1/svc1"), &none);
    ports.list[0].service = STR("other");
    ports.list[0].name = STR("ns1/other:p80");
    b->ops->service(b, STR("ns1/other"), &ports);
    assert_int_equal(b->ops->commit(b, &e), 0);
    has("numgen random mod 3 map @service-endpoints");
    check_there(b, 0);
    b->ops->free(b);
    few_done(&w);
}

static void with_the_kernel_body(void *arg UNUSED)
{
    struct few w = {0};
    struct backend *b = backend_nftables(&node, &settings);
    node.detect = (struct detect_local){.kind = DETECT_CIDR};
    prefix_parse(STR("10.0.0.0/8"), &node.detect.prefix);
    reads_back(&w, b);
    lists_change_little(&w, b);
    clients_are_kept(&w, b);
    put_service(&w, "", "");
    write_it(b, &w, false, 0);
    changes_are_noticed(&w, b);
    refusals_are_told(&w, b);
    nothing_stays(&w, b);
    the_first_has_an_address();
    who_comes_finds_the_chain();
    b->ops->free(b);
    few_done(&w);
}

static void with_the_kernel(void **state UNUSED)
{
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        skip();
    loop_run(with_the_kernel_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(with_the_kernel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
