/* SPDX-License-Identifier: Apache-2.0 */
/* The kubelet's HTTPS face against a real containerd: logs, exec, port-forward, state, numbers. */
#include "testing.h"

#include "real.h"

#include "net/http.h"
#include "net/remotecommand.h"

#define BUSYBOX "image: 'cube.test/busybox:1'"

FIBER_TEST(logs)
{
    struct real real, *t = &real;
    real_start(t);
    t->config.log_max_size = 4096;
    real_kubelet_stop(t);
    real_kubelet_start(t);
    real_pod(t, "count", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'for i in 1 2 3 4 5; do echo line $i; done; sleep 0.3; echo oops >&2; sleep 1000']}]");
    real_wait_ready(t, "count", 20);
    real_until(t, 5, str_contains(real_logs(t, "count", "main", ""), STR("oops")));
    real_expect(real_logs(t, "count", "main", "tailLines=2"), "line 5\noops\n");
    real_expect(real_logs(t, "count", "main", "tailLines=0"), "");
    real_expect(real_logs(t, "count", "main", "limitBytes=10"), "line 1\nlin");
    real_expect(real_logs(t, "count", "main", "sinceSeconds=3600&tailLines=1"), "oops\n");
    real_expect(real_logs(t, "count", "main", "sinceTime=2100-01-01T00:00:00Z"), "");
    real_expect(real_logs(t, "count", "main", "stream=Stderr"), "oops\n");
    struct str stamped = real_logs(t, "count", "main", "timestamps=true&tailLines=1"), stamp, text;
    struct wall w;
    assert_true(str_cut(stamped, ' ', &stamp, &text) && time_parse(stamp, &w) == 0);
    real_expect(text, "oops\n");
    struct str body;
    assert_int_equal(real_get(t, "/containerLogs/ns1/none/main", &body), 404);
    real_expect(body, "pod \"none\" does not exist\n");
    assert_int_equal(real_get(t, "/containerLogs/ns1/count/none", &body), 404);
    assert_int_equal(real_get(t, "/containerLogs/ns1/count/main?previous=true", &body), 400);
    real_expect(body, "previous terminated container \"main\" in pod \"count\" not found");
    assert_int_equal(real_get(t, "/containerLogs/ns1/count/main?tailLines=x", &body), 422);
    /* Following ends with the container, and passes a rotation. */
    real_pod(t, "talk", "restartPolicy: Never, containers: [{name: main, " BUSYBOX ","
                        " command: [sh, -c, 'i=0; while [ $i -lt 260 ]; do echo $i; i=$((i+1)); sleep 0.05; done']}]");
    real_wait_phase(t, "talk", "Running", 20);
    struct str all = real_logs(t, "talk", "main", "follow=true");
    struct str line;
    int n = 0;
    while (str_next(&all, '\n', &line) && line.n)
        assert_true(str_is(line, arena_printf(&t->arena, "%d", n++).p));
    assert_int_equal(n, 260);
    assert_true(real_sh(t, arena_printf(&t->arena, "ls %s/pods/ns1_talk_*/main | grep -c 'log\\.'", t->dir).p).n > 0);
    real_stop(t);
}

static struct http_client *client(struct tls_client **ret_tls)
{
    assert_int_equal(tls_client_new(&(const struct tls_client_config){.insecure = true}, ret_tls, NULL), 0);
    return http_client_new(&(const struct http_client_config){.tls = *ret_tls});
}

static struct str read_channel(struct real *t, struct rc_session *s, enum rc_channel ch, size_t n)
{
    struct buf b = BUF_INIT;
    while (b.n < n) {
        char *p = buf_grow(&b, 4096);
        ssize_t r = rc_read(s, ch, p, 4096, mono_add(os_mono(), SECONDS(10)));
        if (r <= 0)
            break;
        b.n += (size_t)r;
    }
    struct str out = arena_str(&t->arena, buf_str(&b));
    buf_done(&b);
    return out;
}

static void exec_over(struct real *t, bool websocket)
{
    struct tls_client *tls;
    struct http_client *c = client(&tls);
    struct rc_options o = {.stdin_ = true, .stdout_ = true, .stderr_ = true};
    struct rc_session *s;
    struct http_call *call = NULL;
    struct err e = {{0}};
    struct str outcome = STR("");
    struct mono deadline = mono_add(os_mono(), SECONDS(10));
    const char *url = arena_printf(&t->arena, "https://127.0.0.1:%d/exec/ns1/exec/main?command=sh&command=-c&"
                                   "command=read%%20x%%3B%%20echo%%20got%%20%%24x%%3B%%20echo%%20bad%%20%%3E%%262%%3B%%20exit%%203&"
                                   "input=1&output=1&error=1&stdin=1&stdout=1&stderr=1", real_port(t)).p;
    int r = rc_connect(c, &(const struct http_request){.method = "POST", .url = url}, &o, websocket, deadline, &s, &call, &e);
    if (r != 0)
        fail_msg("exec: %d %s (%d)", r, e.text, call ? call->status : 0);
    assert_int_equal(rc_write(s, RC_STDIN, STR("me\n"), deadline), 0);
    real_expect(read_channel(t, s, RC_STDOUT, 7), "got me\n");
    real_expect(read_channel(t, s, RC_STDERR, 4), "bad\n");
    assert_int_equal(rc_read_outcome(s, &t->arena, &outcome, deadline), 0);
    assert_true(str_contains(outcome, STR("NonZeroExitCode")) && str_contains(outcome, STR("\"3\"")));
    rc_free(s);
    http_call_free(call);
    http_client_free(c);
    tls_client_unref(tls);
}

FIBER_TEST(exec)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "exec", "containers: [{name: main, " BUSYBOX ", command: [sleep, '1000']}]");
    real_wait_ready(t, "exec", 20);
    exec_over(t, false);
    exec_over(t, true);
    struct str body;
    assert_int_equal(real_get(t, "/exec/ns1/exec/main?command=id", &body), 400);
    real_expect(body, "you must specify at least 1 of stdin, stdout, stderr");
    real_stop(t);
}

FIBER_TEST(port_forward)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "web", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'mkdir /w; echo hi > /w/index.html; httpd -f -p 8080 -h /w'],"
                       " readinessProbe: {tcpSocket: {port: 8080}}}]");
    real_wait_ready(t, "web", 20);
    struct tls_client *tls;
    struct http_client *c = client(&tls);
    struct pf_session *s;
    struct pf_pair pair;
    struct http_call *call = NULL;
    struct err e = {{0}};
    struct mono deadline = mono_add(os_mono(), SECONDS(10));
    const char *url = arena_printf(&t->arena, "https://127.0.0.1:%d/portForward/ns1/web", real_port(t)).p;
    int r = pf_connect(c, &(const struct http_request){.method = "POST", .url = url}, false, deadline, &s, &call, &e);
    if (r != 0)
        fail_msg("port-forward: %d %s", r, e.text);
    assert_int_equal(pf_open(s, 8080, deadline, &pair), 0);
    assert_int_equal(stream_write(pair.data, "GET / HTTP/1.0\r\n\r\n", 18, deadline), 0);
    char text[512];
    size_t n = 0;
    for (ssize_t got; n < sizeof(text) && (got = stream_read(pair.data, text + n, sizeof(text) - n, deadline)) > 0;)
        n += (size_t)got;
    assert_true(str_ends(str_n(text, n), STR("hi\n")));
    pf_pair_done(&pair);
    pf_free(s);
    http_call_free(call);
    http_client_free(c);
    tls_client_unref(tls);
    real_stop(t);
}

FIBER_TEST(state_and_numbers)
{
    struct real real, *t = &real;
    struct str body;
    real_start(t);
    real_pod(t, "busy", "containers: [{name: main, " BUSYBOX ", command: [sleep, '1000']}]");
    real_wait_ready(t, "busy", 20);
    assert_int_equal(real_get(t, "/healthz", &body), 200);
    assert_int_equal(real_get(t, "/pods", &body), 200);
    assert_true(str_contains(body, STR("\"kind\":\"PodList\"")) && str_contains(body, STR("\"phase\":\"Running\"")));
    assert_int_equal(real_get(t, "/stats/summary", &body), 200);
    assert_true(str_contains(body, STR("\"nodeName\":\"node-a\"")) && str_contains(body, STR("\"name\":\"busy\"")));
    assert_true(str_contains(body, STR("\"workingSetBytes\":")));
    assert_int_equal(real_get(t, "/metrics", &body), 200);
    assert_true(str_contains(body, STR("kubelet_running_pods 1\n")));
    assert_int_equal(real_get(t, "/metrics/resource", &body), 200);
    assert_true(str_contains(body, STR("container_cpu_usage_seconds_total{container=\"main\",namespace=\"ns1\",pod=\"busy\"}")));
    assert_true(str_contains(body, STR("resource_scrape_error 0\n")));
    assert_int_equal(real_get(t, "/configz", &body), 200);
    assert_int_equal(real_get(t, "/nothing", &body), 404);
    /* The node as the API has it. */
    const struct val *node = fake_get(t->fake, RES_NODES, "", "node-a")->val, *s = val_get(node, N_status);
    assert_true(val_str(val_key(val_get(s, N_capacity), STR("cpu"))).n > 0);
    real_expect(val_str(val_key(val_get(s, N_capacity), STR("pods"))), "110");
    assert_true(str_ends(val_str(val_key(val_get(s, N_capacity), STR("memory"))), STR("Ki")));
    assert_true(str_starts(val_str(val_at(s, N_nodeInfo, N_containerRuntimeVersion)), STR("containerd://")));
    assert_true(val_len(val_get(s, N_images)) > 0);
    real_expect(obj_label(node, STR("kubernetes.io/hostname")), "node-a");
    real_expect(obj_label(node, STR("kubernetes.io/os")), "linux");
    real_until(t, 5, fake_count(t->fake, RES_LEASES) == 1);
    const struct val *lease = fake_at(t->fake, RES_LEASES, 0)->val;
    real_expect(obj_namespace(lease), "kube-node-lease");
    real_expect(val_str(val_at(lease, N_spec, N_holderIdentity)), "node-a");
    /* An idle node writes nothing but its lease. */
    fiber_sleep(SECONDS(2));
    fake_log(t->fake, &t->arena);
    fiber_sleep(SECONDS(12));
    struct str log = fake_log(t->fake, &t->arena), line;
    while (str_next(&log, '\n', &line))
        if (line.n && !str_starts(line, STR("update leases")))
            fail_msg("written while idle: " STR_FMT, STR_ARG(line));
    real_stop(t);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs),
        cmocka_unit_test(exec),
        cmocka_unit_test(port_forward),
        cmocka_unit_test(state_and_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return real_main(run);
}
