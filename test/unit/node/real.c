/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "real.h"

#include "net/http.h"
#include "net/url.h"
#include "types.h"
#include "wire/json.h"

#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODE "node-a"

static bool real_possible(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (geteuid() != 0 || access("/usr/bin/containerd", X_OK) < 0 || access("/usr/sbin/runc", X_OK) < 0 ||
        access("/bin/busybox", X_OK) < 0) {
        puts("skipped: needs root, containerd, runc and busybox-static");
        return false;
    }
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0) {
        perror("skipped: cannot make namespaces");
        return false;
    }
    mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL); /* nothing gets out */
    mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ioctl(fd, SIOCSIFFLAGS, &lo);
    close(fd);
    return true;
}

struct str real_sh(struct real *t, const char *command)
{
    const char *argv[] = {"sh", "-c", command, NULL};
    struct str out = STR("");
    os_run(&t->arena, argv, &out, NULL, mono_add(os_mono(), SECONDS(60)));
    return out;
}

static void kubelet_fiber(void *arg)
{
    struct real *t = arg;
    t->r = kubelet_run(&t->config, &t->err);
    if (t->r < 0)
        fprintf(stderr, "kubelet: %s\n", err_text(&t->err, t->r));
}

void real_kubelet_start(struct real *t)
{
    group_spawn(&t->kubelet, "kubelet", kubelet_fiber, t);
}

void real_kubelet_stop(struct real *t)
{
    group_stop(&t->kubelet);
}

static const char *under(struct real *t, const char *name)
{
    return arena_printf(&t->arena, "%s/%s", t->dir, name).p;
}

void real_start(struct real *t)
{
    *t = (struct real){.fake = fake_client_new()};
    snprintf(t->dir, sizeof(t->dir), "/tmp/cube-node-%d-XXXXXX", (int)getpid());
    assert_non_null(mkdtemp(t->dir));
    real_sh(t, arena_printf(&t->arena, TEST_SOURCE_DIR "/containerd.sh start %s", t->dir).p);
    t->socket = arena_printf(&t->arena, "unix://%s/containerd.sock", t->dir).p;
    static const char *const ips[] = {"127.0.0.1", NULL}, *const dns[] = {"10.96.0.10", NULL};
    t->config = (struct kubelet_config){
        .node_name = NODE,
        .node_ips = ips,
        .client = fake_client_as(t->fake),
        .cri_socket = t->socket,
        .root_dir = under(t, "kubelet"),
        .pod_logs_dir = under(t, "pods"),
        .container_logs_dir = under(t, "containers"),
        .static_pod_path = under(t, "manifests"),
        .cni_conf_dir = under(t, "cni"),
        .cni_data_dir = under(t, "addresses"),
        .pod_cidr = "10.201.0.0/24",
        .cluster_dns = dns,
        .cgroup_root = arena_printf(&t->arena, "/%s", t->dir + 5).p,
        .listen = "127.0.0.1:0",
        .anonymous = true,
        .authorize_always = true,
        .max_crash_backoff = SECONDS(300),
    };
    fake_put_text(t->fake, RES_NAMESPACES, "{metadata: {name: ns1}}");
    fake_put_text(t->fake, RES_SERVICES,
                  "{metadata: {namespace: default, name: kubernetes}, spec: {clusterIP: '10.96.0.1',"
                  " ports: [{name: https, port: 443, protocol: TCP}]}}");
    real_kubelet_start(t);
    real_until(t, 10, fake_get(t->fake, RES_NODES, "", NODE) &&
                          condition_is(val_at(fake_get(t->fake, RES_NODES, "", NODE)->val, N_status, N_conditions),
                                       STR("Ready"), "True"));
}

void real_stop(struct real *t)
{
    real_kubelet_stop(t);
    real_sh(t, arena_printf(&t->arena, TEST_SOURCE_DIR "/containerd.sh clean %s", t->dir).p);
    fake_client_free(t->fake);
    arena_done(&t->arena);
}

void real_pod_meta(struct real *t, const char *name, const char *meta, const char *spec)
{
    fake_put_text(t->fake, RES_PODS,
                  arena_printf(&t->arena,
                               "{metadata: {namespace: ns1, name: '%s', generation: 1 %s}, spec: {nodeName: " NODE
                               ", restartPolicy: Always, terminationGracePeriodSeconds: 2, dnsPolicy: ClusterFirst,"
                               " enableServiceLinks: true, %s}, status: {phase: Pending}}",
                               name, meta, spec)
                      .p);
}

void real_pod(struct real *t, const char *name, const char *spec)
{
    real_pod_meta(t, name, "", spec);
}

void real_delete(struct real *t, const char *name, int64_t grace)
{
    struct status s;
    struct call call = *CALL(.res = &resources[RES_PODS], .ns = STR("ns1"), .name = str_of(name));
    call.grace_seconds = grace;
    status_init(&s, &t->arena);
    assert_int_equal(client_delete(t->config.client, &call, &t->arena, NULL, &s), 0);
}

const struct val *real_status(struct real *t, const char *name)
{
    const struct object *o = fake_get(t->fake, RES_PODS, "ns1", name);
    return o ? val_get(o->val, N_status) : NULL;
}

const struct val *real_container(struct real *t, const char *name, size_t i)
{
    return val_item(val_get(real_status(t, name), N_containerStatuses), i);
}

static void print_status(struct real *t, const char *name)
{
    struct buf b = BUF_INIT;
    json_encode(&b, type_at(T_core_v1_PodStatus), real_status(t, name), JSON_PRETTY2);
    fprintf(stderr, "%s: %s\n", name, b.p ? b.p : "");
    buf_done(&b);
}

void real_wait_phase(struct real *t, const char *name, const char *phase, int seconds)
{
    struct mono until = mono_add(os_mono(), SECONDS(seconds));
    while (!str_is(val_getstr(real_status(t, name), N_phase), phase)) {
        if (os_mono().ns > until.ns) {
            print_status(t, name);
            fail_msg("%s is not %s after %d s", name, phase, seconds);
        }
        fiber_sleep(MILLISECONDS(5));
    }
}

void real_wait_ready(struct real *t, const char *name, int seconds)
{
    struct mono until = mono_add(os_mono(), SECONDS(seconds));
    while (!condition_is(val_get(real_status(t, name), N_conditions), STR("Ready"), "True")) {
        if (os_mono().ns > until.ns) {
            print_status(t, name);
            fail_msg("%s is not ready after %d s", name, seconds);
        }
        fiber_sleep(MILLISECONDS(5));
    }
}

void real_wait_gone(struct real *t, const char *name, int seconds)
{
    real_until(t, seconds, !fake_get(t->fake, RES_PODS, "ns1", name));
}

static bool has_event(struct real *t, const char *name, const char *reason)
{
    for (size_t i = 0; i < fake_count(t->fake, RES_EVENTS); i++) {
        const struct val *e = fake_at(t->fake, RES_EVENTS, i)->val;
        if (str_is(val_str(val_at(e, N_involvedObject, N_name)), name) && str_is(val_getstr(e, N_reason), reason))
            return true;
    }
    return false;
}

void real_wait_event(struct real *t, const char *name, const char *reason, int seconds)
{
    real_until(t, seconds, has_event(t, name, reason));
}

int real_port(struct real *t)
{
    const struct object *o = fake_get(t->fake, RES_NODES, "", NODE);
    return (int)val_int(val_at(o->val, N_status, N_daemonEndpoints, N_kubeletEndpoint, N_Port), 0);
}

static int ask(struct real *t, const char *method, const char *path, struct str *ret)
{
    struct tls_client *tls;
    struct err e = {{0}};
    assert_int_equal(tls_client_new(&(const struct tls_client_config){.insecure = true}, &tls, &e), 0);
    struct http_client *c = http_client_new(&(const struct http_client_config){.tls = tls});
    const char *url = arena_printf(&t->arena, "https://127.0.0.1:%d%s", real_port(t), path).p;
    struct http_call *call;
    struct mono deadline = mono_add(os_mono(), SECONDS(20));
    int r = http_do(c, &(const struct http_request){.method = method, .url = url}, deadline, &call, &e);
    if (r < 0)
        fail_msg("%s: %s", url, err_text(&e, r));
    int status = call->status;
    struct str body = STR("");
    http_call_read_all(call, 1 << 20, deadline, &body);
    *ret = arena_str(&t->arena, body);
    http_call_free(call);
    http_client_free(c);
    tls_client_unref(tls);
    return status;
}

int real_get(struct real *t, const char *path, struct str *ret)
{
    return ask(t, "GET", path, ret);
}

struct str real_logs(struct real *t, const char *name, const char *container, const char *query)
{
    struct str body;
    ask(t, "GET", arena_printf(&t->arena, "/containerLogs/ns1/%s/%s?%s", name, container, query).p, &body);
    return body;
}

struct str real_run(struct real *t, const char *name, const char *container, const char *command)
{
    struct buf b = BUF_INIT;
    struct str body;
    url_encode_query(&b, str_of(command));
    ask(t, "POST", arena_printf(&t->arena, "/run/ns1/%s/%s?cmd=" STR_FMT, name, container, STR_ARG(buf_str(&b))).p, &body);
    buf_done(&b);
    return body;
}

int real_main(int (*run)(void))
{
    char command[512];
    int status;
    if (!real_possible())
        return 77;
    cmocka_set_test_filter(getenv("TEST")); /* one of them alone, by its name */
    pid_t pid = fork();
    if (pid == 0)
        exit(run());
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    snprintf(command, sizeof(command), "for d in /tmp/cube-node-%d-*; do [ -d $d ] && " TEST_SOURCE_DIR "/containerd.sh clean $d; done",
             (int)pid);
    int cleaned = system(command);
    (void)cleaned;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
