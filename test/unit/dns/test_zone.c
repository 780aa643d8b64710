/* SPDX-License-Identifier: Apache-2.0 */
#include "asking.h"

#include "dns/zone.h"
#include "resources.h"
#include "wire/json.h"

static const struct {
    unsigned res;
    const char *json;
} world[] = {
    {RES_NAMESPACES, "{\"metadata\":{\"name\":\"default\",\"uid\":\"n1\"}}"},
    {RES_SERVICES, "{\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"uid\":\"s1\"},\"spec\":{\"clusterIP\":\"10.96.0.7\","
                   "\"clusterIPs\":[\"10.96.0.7\",\"fd00::7\"],\"ports\":[{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\"},"
                   "{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\"}]}}"},
    {RES_SERVICES, "{\"metadata\":{\"name\":\"db\",\"namespace\":\"default\",\"uid\":\"s2\"},\"spec\":{\"clusterIP\":\"None\","
                   "\"clusterIPs\":[\"None\"],\"ports\":[{\"name\":\"sql\",\"port\":5432,\"protocol\":\"TCP\"}]}}"},
    {RES_SERVICES, "{\"metadata\":{\"name\":\"out\",\"namespace\":\"default\",\"uid\":\"s3\"},\"spec\":{\"type\":\"ExternalName\","
                   "\"externalName\":\"www.example.com\"}}"},
    {RES_ENDPOINTSLICES,
     "{\"metadata\":{\"name\":\"db-x\",\"namespace\":\"default\",\"uid\":\"e1\",\"labels\":{\"kubernetes.io/service-name\":"
     "\"db\"}},\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"sql\",\"port\":5432,\"protocol\":\"TCP\"}],\"endpoints\":["
     "{\"addresses\":[\"10.244.0.5\"],\"hostname\":\"db-0\",\"conditions\":{\"ready\":true}},"
     "{\"addresses\":[\"10.244.0.6\"],\"conditions\":{\"ready\":true}},"
     "{\"addresses\":[\"10.244.0.9\"],\"hostname\":\"db-9\",\"conditions\":{\"ready\":false}}]}"},
    {RES_SERVICES, "{\"metadata\":{\"name\":\"in\",\"namespace\":\"default\",\"uid\":\"s4\"},\"spec\":{\"type\":\"ExternalName\","
                   "\"externalName\":\"web.default.svc.cluster.local\"}}"},
    {RES_SERVICES, "{\"metadata\":{\"name\":\"round\",\"namespace\":\"default\",\"uid\":\"s5\"},\"spec\":{\"type\":\"ExternalName\","
                   "\"externalName\":\"round.default.svc.cluster.local\"}}"},
};

static struct object *object_of(unsigned res, const char *json)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    struct err e = {0};
    int r = json_decode(&a, resources[res].type, str_of(json), 0, NULL, &v, &e);
    if (r)
        fail_msg("%s: %s", json, e.text);
    return object_new(&resources[res], v);
}

static struct zone *make_zone(void)
{
    struct zone *z = zone_new();
    for (size_t i = 0; i < ARRAY_SIZE(world); i++) {
        struct object *o CLEANUP_OBJECT = object_of(world[i].res, world[i].json);
        zone_changed(z, &resources[world[i].res], NULL, o);
    }
    return z;
}

static void (*change)(struct zone_options *o); /* what a test wants otherwise */

static struct str ask(const struct zone *z, struct arena *a, const char *name, uint16_t type)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct dns_query q;
    struct dns_reply reply = {0};
    enum dns_code code;
    char alias[DNS_NAME_MAX];
    make_question(name, type, false, &b);
    assert_int_equal(dns_parse(buf_str(&b), &q), 0);
    static const char *const zones[] = {"cluster.local", "in-addr.arpa", "ip6.arpa"}, *const reverse[] = {"in-addr.arpa", "ip6.arpa"};
    static const struct str own[] = {{"10.96.0.10", 10}};
    struct zone_options o = {.zones = zones, .n_zones = 3, .primary = zones[0], .ttl = 30, .pods = ZONE_PODS_INSECURE,
                             .fall = reverse, .n_fall = 2, .addresses = own, .n_addresses = 1};
    if (change)
        change(&o);
    dns_reply_start(&reply, &q, 512);
    int r = zone_answer(z, &o, &q, 0, &reply, &code, alias);
    struct str text = STR("not ours");
    if (r != ZONE_NOT_OURS) {
        dns_reply_end(&reply, code, true);
        text = print_reply(a, buf_str(&reply.out));
    }
    if (r == ZONE_ALIAS)
        text = arena_printf(a, STR_FMT " -> %s", STR_ARG(text), alias);
    dns_reply_done(&reply);
    return text;
}

static void answers_as_the_specification_says(void **state UNUSED)
{
    static const struct {
        const char *name;
        uint16_t type;
        const char *want;
    } cases[] = {
        {"web.default.svc.cluster.local", DNS_A, "0 aa | web.default.svc.cluster.local A 10.96.0.7; | |"},
        {"WEB.default.SVC.cluster.local", DNS_A, "0 aa | WEB.default.SVC.cluster.local A 10.96.0.7; | |"},
        {"web.default.svc.cluster.local", DNS_AAAA, "0 aa | web.default.svc.cluster.local AAAA ..0007; | |"},
        {"web.default.svc.cluster.local", DNS_TXT, "0 aa | | cluster.local SOA; |"},
        {"nope.default.svc.cluster.local", DNS_A, "3 aa | | cluster.local SOA; |"},
        {"db.default.svc.cluster.local", DNS_A,
         "0 aa | db.default.svc.cluster.local A 10.244.0.5; db.default.svc.cluster.local A 10.244.0.6; | |"},
        {"db-0.db.default.svc.cluster.local", DNS_A, "0 aa | db-0.db.default.svc.cluster.local A 10.244.0.5; | |"},
        {"10-244-0-6.db.default.svc.cluster.local", DNS_A,
         "0 aa | 10-244-0-6.db.default.svc.cluster.local A 10.244.0.6; | |"},
        {"db-9.db.default.svc.cluster.local", DNS_A, "3 aa | | cluster.local SOA; |"},
        {"_http._tcp.web.default.svc.cluster.local", DNS_SRV,
         "0 aa | _http._tcp.web.default.svc.cluster.local SRV 80 web.default.svc.cluster.local; | | "
         "web.default.svc.cluster.local A 10.96.0.7; web.default.svc.cluster.local AAAA ..0007;"},
        {"_http._udp.web.default.svc.cluster.local", DNS_SRV, "3 aa | | cluster.local SOA; |"},
        {"_sql._tcp.db.default.svc.cluster.local", DNS_SRV,
         "0 aa | _sql._tcp.db.default.svc.cluster.local SRV 5432 db-0.db.default.svc.cluster.local; "
         "_sql._tcp.db.default.svc.cluster.local SRV 5432 10-244-0-6.db.default.svc.cluster.local; | | "
         "db-0.db.default.svc.cluster.local A 10.244.0.5; 10-244-0-6.db.default.svc.cluster.local A 10.244.0.6;"},
        {"out.default.svc.cluster.local", DNS_A,
         "0 aa | out.default.svc.cluster.local CNAME www.example.com; | | -> www.example.com"},
        {"in.default.svc.cluster.local", DNS_A,
         "0 aa | in.default.svc.cluster.local CNAME web.default.svc.cluster.local; web.default.svc.cluster.local A 10.96.0.7; | |"},
        {"in.default.svc.cluster.local", DNS_CNAME, "0 aa | in.default.svc.cluster.local CNAME web.default.svc.cluster.local; | |"},
        {"round.default.svc.cluster.local", DNS_TXT, "0 aa | round.default.svc.cluster.local CNAME round.default.svc.cluster.local; | |"},
        {"1-2-3-4.default.pod.cluster.local", DNS_A, "0 aa | 1-2-3-4.default.pod.cluster.local A 1.2.3.4; | |"},
        {"1-2-3-4.nope.pod.cluster.local", DNS_A, "3 aa | | cluster.local SOA; |"},
        {"default.svc.cluster.local", DNS_A, "0 aa | | cluster.local SOA; |"},
        {"nope.svc.cluster.local", DNS_A, "3 aa | | cluster.local SOA; |"},
        {"svc.cluster.local", DNS_A, "0 aa | | cluster.local SOA; |"},
        {"dns-version.cluster.local", DNS_TXT, "0 aa | dns-version.cluster.local TXT 1.1.0; | |"},
        {"7.0.96.10.in-addr.arpa", DNS_PTR, "0 aa | 7.0.96.10.in-addr.arpa PTR web.default.svc.cluster.local; | |"},
        {"5.0.244.10.in-addr.arpa", DNS_PTR, "0 aa | 5.0.244.10.in-addr.arpa PTR db-0.db.default.svc.cluster.local; | |"},
        {"1.1.1.1.in-addr.arpa", DNS_PTR, "not ours"},
        {"www.example.com", DNS_A, "not ours"},
        {"xcluster.local", DNS_A, "not ours"},
    };
    struct zone *z = make_zone();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        assert_string_equal(ask(z, &a, cases[i].name, cases[i].type).p, cases[i].want);
    }
    zone_free(z);
}

static void follows_changes(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct zone *z = make_zone();
    struct object *old CLEANUP_OBJECT = object_of(world[1].res, world[1].json);
    struct object *moved CLEANUP_OBJECT =
        object_of(RES_SERVICES, "{\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"uid\":\"s1\"},\"spec\":{"
                                "\"clusterIP\":\"10.96.0.8\",\"clusterIPs\":[\"10.96.0.8\"]}}");
    zone_changed(z, &resources[RES_SERVICES], old, moved);
    assert_str(ask(z, &a, "web.default.svc.cluster.local", DNS_A), "0 aa | web.default.svc.cluster.local A 10.96.0.8; | |");
    assert_str(ask(z, &a, "7.0.96.10.in-addr.arpa", DNS_PTR), "not ours");
    zone_changed(z, &resources[RES_SERVICES], moved, NULL);
    assert_str(ask(z, &a, "web.default.svc.cluster.local", DNS_A), "3 aa | | cluster.local SOA; |");
    struct object *slice CLEANUP_OBJECT = object_of(world[4].res, world[4].json);
    zone_changed(z, &resources[RES_ENDPOINTSLICES], slice, NULL);
    assert_str(ask(z, &a, "db.default.svc.cluster.local", DNS_A), "3 aa | | cluster.local SOA; |"); /* as CoreDNS says it */
    assert_str(ask(z, &a, "5.0.244.10.in-addr.arpa", DNS_PTR), "not ours");
    zone_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_the_specification_says),
        cmocka_unit_test(follows_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
