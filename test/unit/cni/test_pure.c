/* SPDX-License-Identifier: Apache-2.0 */
/* The CNI plug-in's part without a kernel: requests, results, addresses, texts; and the store of addresses in a folder. */
#include "../testing.h"

#include "cni/cni.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF(more) "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"bridge\"" more "}"
#define IPAM(more) ",\"ipam\":{\"type\":\"host-local\"," more "}"

static void configurations(void **state UNUSED)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {CONF(""), 0},
        {CONF(IPAM("\"subnet\":\"10.1.2.0/24\"")), 0},
        {CONF(IPAM("\"ranges\":[[{\"subnet\":\"10.1.2.0/24\"}],[{\"subnet\":\"fd00::/64\"}]]")), 0},
        {CONF(IPAM("\"ranges\":[[{\"subnet\":\"10.1.2.0/24\"},{\"subnet\":\"10.1.3.0/24\"}]]")), 0},
        {"", CNI_DECODE},
        {"[]", CNI_DECODE},
        {"{\"cniVersion\":\"1.0.0\"", CNI_DECODE},
        {"{\"cniVersion\":\"2.0.0\",\"name\":\"net\"}", CNI_BAD_VERSION},
        {"{\"cniVersion\":\"1.0.0\"}", CNI_BAD_CONFIG},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"../../etc\"}", CNI_BAD_CONFIG},
        {"{\"cniVersion\":\"1.0.0\",\"name\":\"..\"}", CNI_BAD_CONFIG},
        {CONF(",\"bridge\":\"a/b\""), CNI_BAD_CONFIG},
        {CONF(",\"bridge\":\"a-name-too-long-for-it\""), CNI_BAD_CONFIG},
        {CONF(",\"mtu\":70000"), CNI_BAD_CONFIG},
        {CONF(",\"vlan\":7"), CNI_UNSUPPORTED_FIELD},
        {CONF(",\"hairpinMode\":true,\"promiscMode\":true"), CNI_BAD_CONFIG},
        {CONF(IPAM("\"subnet\":\"10.1.2.7/24\"")), CNI_BAD_CONFIG},
        {CONF(IPAM("\"subnet\":\"10.1.2.0/31\"")), CNI_BAD_CONFIG},
        {CONF(IPAM("\"subnet\":\"10.1.2.0/24\",\"routes\":[{\"dst\":\"everywhere\"}]")), CNI_BAD_CONFIG},
        {CONF(IPAM("\"ranges\":[[]]")), CNI_BAD_CONFIG},
        {CONF(IPAM("\"ranges\":[[{\"subnet\":\"10.1.2.0/24\"},{\"subnet\":\"fd00::/64\"}]]")), CNI_BAD_CONFIG},
        {CONF(IPAM("\"ranges\":[[{\"subnet\":\"10.1.2.0/24\"},{\"subnet\":\"10.1.2.128/25\"}]]")), CNI_BAD_CONFIG},
        {CONF(IPAM("\"ranges\":[[{\"subnet\":\"10.1.2.0/24\",\"rangeStart\":\"10.1.3.1\"}]]")), CNI_BAD_CONFIG},
        {CONF(IPAM("\"ranges\":[[{\"subnet\":\"10.1.2.0/24\",\"rangeStart\":\"10.1.2.9\",\"rangeEnd\":\"10.1.2.8\"}]]")),
         CNI_BAD_CONFIG},
        {CONF(",\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":70000,\"containerPort\":80}]}"), CNI_BAD_CONFIG},
        {CONF(",\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":80,\"containerPort\":80,\"protocol\":\"icmp\"}]}"), CNI_BAD_CONFIG},
        {CONF(",\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":80,\"containerPort\":80,\"hostIP\":\"; flush ruleset\"}]}"),
         CNI_BAD_CONFIG},
        {CONF(",\"runtimeConfig\":{\"bandwidth\":{\"ingressRate\":-1}}"), CNI_BAD_CONFIG},
        {CONF(",\"runtimeConfig\":{\"mac\":\"what\"}"), CNI_BAD_CONFIG},
        {CONF(",\"runtimeConfig\":{\"ips\":[\"what\"]}"), CNI_BAD_CONFIG},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct cni_request r;
        struct err e = {0};
        int code = cni_conf_read(&a, str_of(cases[i].text), &r, &e);
        if (code != cases[i].code)
            fail_msg("%s: %d (%s) instead of %d", cases[i].text, code, e.text, cases[i].code);
        assert_true(code == 0 || e.text[0]);
    }
}

static const char *fake[5];
static const char *env(const char *name)
{
    static const char *const names[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"};
    for (size_t i = 0; i < 5; i++)
        if (!strcmp(names[i], name))
            return fake[i];
    return NULL;
}

static void environments(void **state UNUSED)
{
    static const struct {
        const char *env[5];
        int code;
    } cases[] = {
        {{"ADD", "id", "/ns", "eth0", NULL}, 0},
        {{"ADD", "id", "/ns", "eth0", "IP=10.1.2.9;K=v"}, 0},
        {{"DEL", "id", "", "eth0", NULL}, 0},
        {{"GC", NULL, NULL, NULL, NULL}, CNI_BAD_CONFIG}, /* of all that there is, nothing would be valid */
        {{"STATUS", NULL, NULL, NULL, NULL}, 0},
        {{"VERSION", NULL, NULL, NULL, NULL}, 0},
        {{"JUMP", "id", "/ns", "eth0", NULL}, CNI_BAD_ENVIRONMENT},
        {{NULL, "id", "/ns", "eth0", NULL}, CNI_BAD_ENVIRONMENT},
        {{"ADD", "", "/ns", "eth0", NULL}, CNI_BAD_ENVIRONMENT},
        {{"ADD", "../id", "/ns", "eth0", NULL}, CNI_BAD_ENVIRONMENT},
        {{"ADD", ".id", "/ns", "eth0", NULL}, CNI_BAD_ENVIRONMENT},
        {{"ADD", "id", "", "eth0", NULL}, CNI_BAD_ENVIRONMENT},
        {{"ADD", "id", "/ns", "", NULL}, CNI_BAD_ENVIRONMENT},
        {{"ADD", "id", "/ns", "eth0/1", NULL}, CNI_BAD_ENVIRONMENT},
        {{"ADD", "id", "/ns", "sixteen-letters0", NULL}, CNI_BAD_ENVIRONMENT},
        {{"CHECK", "id", "", "eth0", NULL}, CNI_BAD_ENVIRONMENT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct cni_request r;
        struct err e = {0};
        memcpy(fake, cases[i].env, sizeof(fake));
        int code = cni_request_read(&a, env, STR(CONF(IPAM("\"subnet\":\"10.1.2.0/24\""))), &r, &e);
        if (code != cases[i].code)
            fail_msg("case %zu: %d (%s) instead of %d", i, code, e.text, cases[i].code);
        if (fake[4])
            assert_int_equal(r.ipam.n_wanted, 1);
    }
}

/* ---- results --------------------------------------------------------------------------------------------- */

static void results(void **state UNUSED)
{
    static const struct {
        const char *version, *want;
    } cases[] = {
        {"0.2.0", "{\"cniVersion\":\"0.2.0\",\"ip4\":{\"ip\":\"10.1.2.3/24\",\"gateway\":\"10.1.2.1\",\"routes\":[{\"dst\":\"0.0.0.0/0\","
                  "\"gw\":\"10.1.2.1\"}]},\"dns\":{}}\n"},
        {"0.4.0", "{\"cniVersion\":\"0.4.0\",\"interfaces\":[{\"name\":\"eth0\",\"mac\":\"0a:58:0a:01:02:03\",\"sandbox\":\"/ns\"}],"
                  "\"ips\":[{\"version\":\"4\",\"interface\":0,\"address\":\"10.1.2.3/24\",\"gateway\":\"10.1.2.1\"}],"
                  "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.1.2.1\"}],\"dns\":{}}\n"},
        {"1.0.0", "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"eth0\",\"mac\":\"0a:58:0a:01:02:03\",\"sandbox\":\"/ns\"}],"
                  "\"ips\":[{\"interface\":0,\"address\":\"10.1.2.3/24\",\"gateway\":\"10.1.2.1\"}],"
                  "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.1.2.1\"}],\"dns\":{}}\n"},
        {"1.1.0", "{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"eth0\",\"mac\":\"0a:58:0a:01:02:03\",\"mtu\":1400,"
                  "\"sandbox\":\"/ns\"}],\"ips\":[{\"interface\":0,\"address\":\"10.1.2.3/24\",\"gateway\":\"10.1.2.1\"}],"
                  "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.1.2.1\"}],\"dns\":{}}\n"},
    };
    struct cni_interface link = {.name = "eth0", .mac = "0a:58:0a:01:02:03", .sandbox = "/ns", .mtu = 1400};
    struct cni_address at = {.interface = 0};
    struct cni_route route = {{{.family = AF_INET}, 0}, {0}, STR_NULL};
    assert_true(prefix_parse_address(STR("10.1.2.3/24"), &at.at) && ip_parse(STR("10.1.2.1"), &at.gateway));
    route.via = at.gateway;
    struct cni_result r = {&link, 1, &at, 1, &route, 1, NULL};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        cni_result_print(&b, str_of(cases[i].version), &r);
        assert_str(buf_str(&b), cases[i].want);
    }
    struct buf b CLEANUP_BUF = BUF_INIT;
    cni_error_print(&b, STR("what"), CNI_IO, "a \"quote\"");
    assert_str(buf_str(&b), "{\"cniVersion\":\"1.1.0\",\"code\":5,\"msg\":\"a \\\"quote\\\"\"}\n");
}

/* ---- addresses -------------------------------------------------------------------------------------------- */

static char dir[64];

static int remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *f UNUSED)
{
    return remove(path);
}

static void read_ipam(struct arena *a, const char *container, const char *ranges, struct cni_request *r)
{
    struct err e = {0};
    struct str text = arena_printf(a, "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"ipam\":{\"type\":\"host-local\",\"dataDir\":\"%s\",%s}}",
                                   dir, ranges);
    assert_int_equal(cni_conf_read(a, text, r, &e), 0);
    r->container = container;
    r->ifname = "eth0";
}

static const char *give(struct arena *a, struct cni_store *s, const char *container, const char *ranges)
{
    struct cni_request r;
    struct cni_address *list = NULL;
    struct err e = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t n = 0;
    read_ipam(a, container, ranges, &r);
    if (cni_ipam_add(a, s, &r, &list, &n, &e))
        return "none";
    for (size_t i = 0; i < n; i++) {
        char text[IP_TEXT_MAX];
        buf_printf(&b, "%s%s", i ? " " : "", prefix_format(&list[i].at, text));
    }
    return arena_cstr(a, buf_str(&b));
}

static void addresses(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cni_store s;
    struct err e = {0};
    const char *few = "\"ranges\":[[{\"subnet\":\"10.1.2.0/29\"}]]";
    snprintf(dir, sizeof(dir), "/tmp/cube-test-cni.XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(cni_store_open(dir, STR("net"), &s, &e), 0);
    assert_string_equal(give(&a, &s, "one", few), "10.1.2.2/29");
    assert_string_equal(give(&a, &s, "one", few), "none"); /* it has one */
    assert_string_equal(give(&a, &s, "two", few), "10.1.2.3/29");
    assert_int_equal(cni_ipam_check(&s, "two", "eth0", &e), 0);
    assert_int_equal(cni_ipam_check(&s, "two", "eth1", &e), CNI_CHECK_FAILED);
    assert_int_equal(cni_ipam_del(&s, "one", "eth0", &e), 0);
    assert_int_equal(cni_ipam_del(&s, "one", "eth0", &e), 0);
    assert_string_equal(give(&a, &s, "three", few), "10.1.2.4/29"); /* not the one that was just given back */
    assert_string_equal(give(&a, &s, "four", few), "10.1.2.5/29");
    assert_string_equal(give(&a, &s, "five", few), "10.1.2.6/29");
    assert_string_equal(give(&a, &s, "six", few), "10.1.2.2/29"); /* round */
    assert_string_equal(give(&a, &s, "seven", few), "none");      /* full */
    /* Both families or neither: the second set is full. */
    const char *both = "\"ranges\":[[{\"subnet\":\"fd00::/64\"}],[{\"subnet\":\"10.1.2.0/29\"}]]";
    assert_string_equal(give(&a, &s, "eight", both), "none");
    assert_int_equal(cni_ipam_check(&s, "eight", "eth0", &e), CNI_CHECK_FAILED);
    assert_int_equal(cni_ipam_del(&s, "two", "eth0", &e), 0);
    assert_string_equal(give(&a, &s, "eight", both), "fd00::3/64 10.1.2.3/29");
    /* What host-local left has no record of ours. */
    char path[600];
    snprintf(path, sizeof(path), "%s/.cube/six@eth0", s.dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(cni_ipam_check(&s, "six", "eth0", &e), 0);
    assert_int_equal(cni_ipam_del(&s, "six", "eth0", &e), 0);
    assert_int_equal(cni_ipam_check(&s, "six", "eth0", &e), CNI_CHECK_FAILED);
    /* An address asked for. */
    assert_string_equal(give(&a, &s, "nine", "\"subnet\":\"10.1.9.0/24\"},\"runtimeConfig\":{\"ips\":[\"10.1.9.77\"]},\"x\":{\"y\":1"),
                        "10.1.9.77/24");
    assert_string_equal(give(&a, &s, "ten", "\"subnet\":\"10.1.9.0/24\"},\"runtimeConfig\":{\"ips\":[\"10.1.9.77\"]},\"x\":{\"y\":1"),
                        "none");
    cni_store_close(&s);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A full disk is told, not tried for each address of the range: with IPv6 that would hold the lock for ever. */
static void a_store_that_takes_nothing(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cni_store s;
    struct cni_request r;
    struct cni_address *list = NULL;
    struct err e = {0};
    char path[600];
    size_t n = 0;
    snprintf(dir, sizeof(dir), "/tmp/cube-test-cni.XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(cni_store_open(dir, STR("net"), &s, &e), 0);
    snprintf(path, sizeof(path), "%s/.cube/.new", s.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    read_ipam(&a, "one", "\"subnet\":\"fd00::/64\"", &r);
    alarm(20);
    assert_int_equal(cni_ipam_add(&a, &s, &r, &list, &n, &e), CNI_IO);
    alarm(0);
    cni_store_close(&s);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct gone {
    size_t n;
    char last[64];
};
static void count_stale(void *arg, const char *container, const char *ifname UNUSED, struct str notes)
{
    struct gone *g = arg;
    g->n++;
    snprintf(g->last, sizeof(g->last), "%s", container);
    assert_true(str_starts(notes, STR("ip ")));
}

static void garbage(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cni_store s;
    struct err e = {0};
    struct gone g = {0};
    const char *range = "\"subnet\":\"10.1.2.0/24\"";
    snprintf(dir, sizeof(dir), "/tmp/cube-test-cni.XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(cni_store_open(dir, STR("net"), &s, &e), 0);
    assert_string_equal(give(&a, &s, "one", range), "10.1.2.2/24");
    assert_string_equal(give(&a, &s, "two", range), "10.1.2.3/24");
    struct cni_attachment valid = {STR("two"), STR("eth0")};
    assert_int_equal(cni_ipam_gc(&s, &valid, 1, count_stale, &g, &e), 0);
    assert_int_equal(g.n, 1);
    assert_string_equal(g.last, "one");
    assert_int_equal(cni_ipam_check(&s, "two", "eth0", &e), 0);
    assert_int_equal(cni_ipam_check(&s, "one", "eth0", &e), CNI_CHECK_FAILED);
    cni_store_close(&s);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- texts ------------------------------------------------------------------------------------------------- */

static void delegates(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cni_request r;
    struct subnet_env env_;
    struct str out;
    struct err e = {0};
    subnet_env_read(STR("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"), &env_);
    assert_int_equal(cni_conf_read(&a, STR("{\"cniVersion\":\"0.3.1\",\"name\":\"cbr0\",\"type\":\"flannel\",\"delegate\":{\"hairpinMode\":"
                                           "true,\"isDefaultGateway\":true}}"), &r, &e), 0);
    assert_int_equal(cni_flannel_delegate(&a, r.conf, &env_, &out, &e), 0);
    assert_int_equal(cni_conf_read(&a, out, &r, &e), 0);
    assert_true(r.hairpin && r.is_default_gateway && !r.ip_masq && r.mtu == 1450 && r.ipam.n_sets == 1);
    assert_str(r.type, "bridge");
    assert_str(r.name, "cbr0");
    assert_int_equal(r.ipam.n_routes, 1);
    subnet_env_read(STR("nothing"), &env_);
    assert_int_equal(cni_flannel_delegate(&a, r.conf, &env_, &out, &e), CNI_TRY_LATER);
}

static void port_texts(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cni_request r;
    struct err e = {0};
    struct buf b CLEANUP_BUF = BUF_INIT, notes CLEANUP_BUF = BUF_INIT;
    assert_int_equal(cni_conf_read(&a, STR(CONF(",\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80,\"protocol\":"
                                                "\"TCP\"},{\"HostPort\":53,\"ContainerPort\":5353,\"Protocol\":\"udp\",\"HostIP\":\"10.0.0.1\"},"
                                                "{\"hostPort\":0,\"containerPort\":9}]}")), &r, &e), 0);
    assert_int_equal(r.n_ports, 2);
    struct cni_address at = {.interface = 0};
    assert_true(prefix_parse_address(STR("10.1.2.3/24"), &at.at));
    struct cni_result result = {.addresses = &at, .n_addresses = 1};
    cni_ports_text(&b, &notes, &r, &result);
    assert_str(buf_str(&notes), "port 4 tcp 8080 * 10.1.2.3 80 hide 10.1.2.0/24\nport 4 udp 53 10.0.0.1 10.1.2.3 5353 hide 10.1.2.0/24\n");
    assert_true(str_contains(buf_str(&b), STR("add element inet cube-hostports any4 { tcp . 8080 : 10.1.2.3 . 80 }\n")));
    assert_true(str_contains(buf_str(&b), STR("add element inet cube-hostports at4 { 10.0.0.1 . udp . 53 : 10.1.2.3 . 5353 }\n")));
    assert_int_equal(cni_bucket(8000000, 0), 100000);
    assert_int_equal(cni_bucket(1000, 0), 32768);
    assert_int_equal(cni_bucket(1000, UINT64_MAX), UINT32_MAX / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations), cmocka_unit_test(environments), cmocka_unit_test(results),
        cmocka_unit_test(addresses),      cmocka_unit_test(garbage),      cmocka_unit_test(delegates),
        cmocka_unit_test(port_texts),     cmocka_unit_test(a_store_that_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
