/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.k8s.io: from kubelets' pages to NodeMetrics and PodMetrics. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "apiserver/usage.h"
#include "auth/x509.h"
#include "net/tls.h"
#include "wire/quantity.h"

/* ---- pure -------------------------------------------------------------------------------------------- */

static struct wall at_s(double s)
{
    return (struct wall){(int64_t)(s * 1e9)};
}

static struct usage_node *next(struct usage_node *was, const char *page)
{
    struct usage_node *n = usage_node_next(was, str_of(page), at_s(5000));
    usage_node_free(was);
    return n;
}

static void test_rate(void **state)
{
    (void)state;
    struct usage u;
    struct usage_node *n = next(NULL, "node_cpu_usage_seconds_total 100 1000000\n"
                                      "node_memory_working_set_bytes 4096 1000000\n");
    assert_true(usage_known(n, STR("")));
    assert_false(usage_of(n, STR(""), &u)); /* one look is none */
    n = next(n, "node_cpu_usage_seconds_total 105 1010000\nnode_memory_working_set_bytes 8192 1010000\n");
    assert_true(usage_of(n, STR(""), &u));
    assert_int_equal(u.cpu_nano, 500000000);
    assert_int_equal(u.memory, 8192);
    assert_int_equal(u.window, SECONDS(10));
    assert_int_equal(u.at.ns, SECONDS(1010));
    /* The same told again changes nothing. */
    n = next(n, "node_cpu_usage_seconds_total 105 1010000\nnode_memory_working_set_bytes 8192 1010000\n");
    assert_true(usage_of(n, STR(""), &u));
    assert_int_equal(u.cpu_nano, 500000000);
    /* A counter that fell back has begun anew. */
    n = next(n, "node_cpu_usage_seconds_total 1 1020000\nnode_memory_working_set_bytes 8192 1020000\n");
    assert_false(usage_of(n, STR(""), &u));
    /* Too old to tell anything about now. */
    n = next(n, "node_cpu_usage_seconds_total 2 1200000\nnode_memory_working_set_bytes 8192 1200000\n");
    assert_false(usage_of(n, STR(""), &u));
    usage_node_free(n);
    assert_null(usage_node_next(NULL, STR("process_start_time_seconds 1\n"), at_s(1)));
}

/* A kubelet may say anything: nothing overflows, and not everything is kept. */
static void test_hostile_pages(void **state)
{
    (void)state;
    static const char *const pages[][2] = {
        {"node_cpu_usage_seconds_total 1 1000000\nnode_memory_working_set_bytes 1 1000000\n",
         "node_cpu_usage_seconds_total 9100000000 1000001\nnode_memory_working_set_bytes 1 1000001\n"},
        {"node_cpu_usage_seconds_total 1e14 1000000\nnode_memory_working_set_bytes 1 1000000\n",
         "node_cpu_usage_seconds_total 2e14 1010000\nnode_memory_working_set_bytes 1 1010000\n"},
        {"node_cpu_usage_seconds_total 1 -9223372036854775808\nnode_memory_working_set_bytes 1 1\n",
         "node_cpu_usage_seconds_total 2 9223372036854775807\nnode_memory_working_set_bytes 1 1\n"},
        {"node_cpu_usage_seconds_total NaN\nnode_memory_working_set_bytes +Inf\n",
         "node_cpu_usage_seconds_total -1\nnode_memory_working_set_bytes 9e15\n"},
    };
    struct usage u;
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        struct usage_node *n = next(next(NULL, pages[i][0]), pages[i][1]);
        assert_false(usage_of(n, STR(""), &u));
        usage_node_free(n);
    }
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (unsigned i = 0; i < 30000; i++)
        buf_printf(&b, "container_start_time_seconds{pod=\"%u\"} 1\n", i);
    struct usage_node *n = usage_node_next(NULL, buf_str(&b), at_s(1));
    assert_in_range(n->entries.n, 1000, 20000);
    usage_node_free(n);
}

#define LABELS "{container=\"c\",namespace=\"n\",pod=\"p\"}"

static void test_young_container(void **state)
{
    (void)state;
    struct usage u;
    struct usage_node *n = next(NULL, "container_cpu_usage_seconds_total" LABELS " 10 1020000\n"
                                      "container_memory_working_set_bytes" LABELS " 1 1020000\n"
                                      "container_start_time_seconds" LABELS " 1000\n");
    assert_true(usage_of(n, STR("n/p/c"), &u)); /* since its start */
    assert_int_equal(u.window, SECONDS(20));
    assert_int_equal(u.cpu_nano, 500000000);
    assert_false(usage_known(n, STR("n/p/d")));
    /* Restarted meanwhile, with more on its counter than the old one had. */
    n = next(n, "container_cpu_usage_seconds_total" LABELS " 11 1025000\n"
                "container_memory_working_set_bytes" LABELS " 1 1025000\n"
                "container_start_time_seconds" LABELS " 1021\n");
    assert_false(usage_of(n, STR("n/p/c"), &u));
    usage_node_free(n);
}

/* ---- through the API --------------------------------------------------------------------------------- */

/* A kubelet whose containers use half a processor each. */
struct kubelet {
    struct http_server *server;
    int port;
    unsigned asked;
};

static void play(void *ctx, struct http_exchange *x)
{
    struct kubelet *k = ctx;
    struct buf b CLEANUP_BUF = BUF_INIT;
    int64_t ms = os_wall().ns / NSEC_PER_MSEC;
    double cpu = (double)ms / 1e3 - 1.7e9;
    if (!str_is(x->path, "/metrics/resource")) {
        http_respond(x, 404, NULL, STR(""));
        return;
    }
    k->asked++;
    buf_printf(&b, "node_cpu_usage_seconds_total %.6f %lld\nnode_memory_working_set_bytes 1073741824 %lld\n", cpu,
               (long long)ms, (long long)ms);
    for (int i = 0; i < 2; i++) {
        const char *pod = i ? "b" : "a";
        buf_printf(&b, "container_cpu_usage_seconds_total{container=\"c\",namespace=\"default\",pod=\"%s\"} %.6f %lld\n", pod,
                   cpu / 2, (long long)ms);
        buf_printf(&b, "container_memory_working_set_bytes{container=\"c\",namespace=\"default\",pod=\"%s\"} 2048 %lld\n", pod,
                   (long long)ms);
    }
    http_respond(x, 200, "text/plain", buf_str(&b));
}

static void kubelet_start(struct kubelet *k)
{
    struct buf cert_pem CLEANUP_BUF = BUF_INIT, key_pem CLEANUP_BUF = BUF_INIT;
    struct x509_spec spec = {.names = {.cn = "system:node:n1"}, .usages = X509_SERVER_AUTH | X509_DIGITAL_SIGNATURE,
                             .not_before = {os_wall().ns - SECONDS(60)}, .not_after = {os_wall().ns + SECONDS(3600)}};
    struct x509_cert *cert;
    struct x509_key *key;
    struct tls_server *t;
    struct err e = {0};
    char address[64];
    assert_int_equal(x509_key_generate(&key), 0);
    assert_int_equal(x509_issue(&spec, key, NULL, NULL, &cert, &e), 0);
    x509_cert_pem(cert, &cert_pem);
    x509_key_pem(key, &key_pem);
    x509_cert_unref(cert);
    x509_key_unref(key);
    struct tls_keypair pair = {buf_str(&cert_pem), buf_str(&key_pem)};
    assert_int_equal(tls_server_new(&(struct tls_server_config){.keys = &pair, .n_keys = 1}, &t, &e), 0);
    *k = (struct kubelet){0};
    k->server = http_server_new(&(struct http_server_config){.handler = play, .ctx = k, .tls = t});
    tls_server_unref(t);
    assert_int_equal(http_server_listen(k->server, "127.0.0.1:0", &e), 0);
    http_server_address(k->server, address, sizeof(address));
    k->port = atoi(strrchr(address, ':') + 1);
}

static void make_objects(struct fixture *f, const struct kubelet *k)
{
    char text[512];
    assert_code(post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"zone\":\"z\"}}}"), 201);
    assert_code(post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"mute\"}}"), 201);
    snprintf(text, sizeof(text),
             "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],"
             "\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":%d}}}}",
             k->port);
    assert_code(patch(f, "/api/v1/nodes/n1/status", "merge-patch+json", text), 200);
    for (const char *const *name = (const char *const[]){"a", "b", "unmeasured", NULL}; *name; name++) {
        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"%s\"}},\"spec\":{\"nodeName\":\"n1\","
                 "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}",
                 *name, *name);
        assert_code(post(f, "/api/v1/namespaces/default/pods", text), 201);
    }
}

#define PODS "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
#define NODES "/apis/metrics.k8s.io/v1beta1/nodes"

static void about_half(struct fixture *f, struct reply r, const char *path, int64_t wanted)
{
    struct quantity q;
    assert_int_equal(quantity_parse(str_of(at(f, r.v, path)), &q, NULL), 0);
    assert_in_range(quantity_milli(q), wanted - 5, wanted + 5);
}

FIBER_TEST(test_api)
{
    struct fixture f;
    struct kubelet k;
    kubelet_start(&k);
    fixture_start(&f, &(struct apiserver_config){
                          .authorization = "AlwaysAllow", .proxy_local = true, .kubelet_insecure = true,
                          .admission_off = "ServiceAccount"});
    make_objects(&f, &k);
    struct reply r = get(&f, NODES); /* the first answer has rates already */
    assert_code(r, 200);
    assert_at(&f, r, "kind", "NodeMetricsList");
    assert_at(&f, r, "items.0.metadata.name", "n1");
    assert_at(&f, r, "items.0.metadata.labels.zone", "z");
    assert_at(&f, r, "items.1", "");
    assert_at(&f, r, "items.0.usage.memory", "1Gi");
    about_half(&f, r, "items.0.usage.cpu", 1000);
    unsigned asked = k.asked;
    assert_int_equal(asked, 2);

    r = get(&f, PODS);
    assert_code(r, 200);
    assert_at(&f, r, "kind", "PodMetricsList");
    assert_at(&f, r, "items.1.metadata.name", "b");
    assert_at(&f, r, "items.2", "");
    assert_at(&f, r, "items.0.containers.0.name", "c");
    assert_at(&f, r, "items.0.containers.0.usage.memory", "2Ki");
    about_half(&f, r, "items.0.containers.0.usage.cpu", 500);
    assert_int_equal(k.asked, asked); /* that was just measured */

    r = get(&f, PODS "?labelSelector=app%3Db");
    assert_at(&f, r, "items.0.metadata.name", "b");
    assert_at(&f, r, "items.1", "");
    r = get(&f, PODS "?fieldSelector=metadata.name%3Da");
    assert_at(&f, r, "items.0.metadata.name", "a");
    assert_at(&f, r, "items.1", "");
    r = get(&f, PODS "/a");
    assert_code(r, 200);
    assert_at(&f, r, "kind", "PodMetrics");
    r = get(&f, PODS "/unmeasured");
    assert_code(r, 404);
    assert_at(&f, r, "message", "podmetrics.metrics.k8s.io \"default/unmeasured\" not found");
    r = get(&f, NODES "/mute");
    assert_code(r, 404);
    assert_at(&f, r, "message", "nodemetrics.metrics.k8s.io \"mute\" not found");
    assert_code(ask(&f, "DELETE", PODS "/a", NULL, NULL), 405);

    r = ask(&f, "GET", PODS, NULL, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io");
    assert_code(r, 200);
    assert_at(&f, r, "columnDefinitions.1.name", "cpu");
    assert_at(&f, r, "rows.0.cells.0", "a");
    assert_at(&f, r, "rows.0.cells.2", "2Ki");
    r = get(&f, "/apis/metrics.k8s.io/v1beta1");
    assert_code(r, 200);
    assert_at(&f, r, "resources.0.kind", "NodeMetrics");
    r = get(&f, "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io");
    assert_at(&f, r, "spec.groupPriorityMinimum", "100");
    fixture_stop(&f);
    http_server_free(k.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_hostile_pages),
        cmocka_unit_test(test_young_container),
        cmocka_unit_test(test_api),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
