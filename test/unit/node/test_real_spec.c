/* SPDX-License-Identifier: Apache-2.0 */
/* What a spec asks for is what a container sees: environment, volumes, users, limits, names, probes, hooks, images. */
#include "testing.h"

#include "real.h"

#include <unistd.h>

#define BUSYBOX "image: 'cube.test/busybox:1'"

static void wait_log(struct real *t, const char *pod, const char *text)
{
    struct mono until = mono_add(os_mono(), SECONDS(15));
    struct str have;
    while (!str_is(have = real_logs(t, pod, "main", ""), text)) {
        if (os_mono().ns > until.ns)
            fail_msg("the log of %s is \"" STR_FMT "\", not \"%s\"", pod, STR_ARG(have), text);
        fiber_sleep(MILLISECONDS(20));
    }
}

static struct str waiting_reason(struct real *t, const char *pod)
{
    return val_str(val_at(real_container(t, pod, 0), N_state, N_waiting, N_reason));
}

FIBER_TEST(environment)
{
    struct real real, *t = &real;
    real_start(t);
    fake_put_text(t->fake, RES_CONFIGMAPS, "{metadata: {namespace: ns1, name: cm}, data: {A: 'from map', B: bb}}");
    fake_put_text(t->fake, RES_SECRETS, "{metadata: {namespace: ns1, name: sec}, data: {PW: c2VjcmV0}}");
    fake_put_text(t->fake, RES_SERVICES, "{metadata: {namespace: ns1, name: my-db}, spec: {clusterIP: '10.96.0.7',"
                                         " ports: [{name: sql, port: 5432, protocol: TCP}]}}");
    fiber_sleep(MILLISECONDS(200));
    real_pod_meta(t, "env", ", labels: {app: x}",
                  "containers: [{name: main, " BUSYBOX ", resources: {limits: {cpu: '1500m', memory: '64Mi'}},"
                  " command: [sh, -c, 'echo \"$X1|$X2|$X3|$X4|$X5|$X6|$X7|$X8|$P_B|$MY_DB_SERVICE_PORT_SQL|$KUBERNETES_SERVICE_HOST|$1\"', sh, $(X1)],"
                  " envFrom: [{prefix: P_, configMapRef: {name: cm}}, {secretRef: {name: nothing, optional: true}}],"
                  " env: [{name: X1, value: '$(P_A)!'}, {name: X2, valueFrom: {configMapKeyRef: {name: cm, key: A}}},"
                  "  {name: X3, valueFrom: {secretKeyRef: {name: sec, key: PW}}}, {name: X4, valueFrom: {fieldRef: {fieldPath: metadata.name}}},"
                  "  {name: X5, valueFrom: {resourceFieldRef: {resource: limits.cpu}}},"
                  "  {name: X6, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}},"
                  "  {name: X7, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}, {name: X8, value: '$$(X1) $(NO)'}]}]");
    wait_log(t, "env", "from map!|from map|secret|env|2|64|x|$(X1) $(NO)|bb|5432|10.96.0.1|from map!\n");
    real_pod(t, "missing", "containers: [{name: main, " BUSYBOX ", command: [echo, '$(X)'], env: ["
                           "{name: X, valueFrom: {configMapKeyRef: {name: later, key: k}}}]}]");
    real_until(t, 10, str_is(waiting_reason(t, "missing"), "CreateContainerConfigError"));
    real_expect(val_str(val_at(real_container(t, "missing", 0), N_state, N_waiting, N_message)), "configmap \"later\" not found");
    fake_put_text(t->fake, RES_CONFIGMAPS, "{metadata: {namespace: ns1, name: later}, data: {k: there}}");
    real_until(t, 5, str_is(real_logs(t, "missing", "main", ""), "there\n"));
    real_stop(t);
}

FIBER_TEST(volumes)
{
    struct real real, *t = &real;
    real_start(t);
    fake_put_text(t->fake, RES_CONFIGMAPS, "{metadata: {namespace: ns1, name: cm}, data: {a: one, b: two}, binaryData: {c: AAE=}}");
    fake_put_text(t->fake, RES_SECRETS, "{metadata: {namespace: ns1, name: sec}, data: {PW: c2VjcmV0}}");
    real_pod_meta(t, "vol", ", labels: {app: x}, annotations: {note: hi}",
                  "securityContext: {fsGroup: 2222}, containers: [{name: main, " BUSYBOX ", command: [sleep, '1000'], volumeMounts: ["
                  " {name: cm, mountPath: /cm}, {name: items, mountPath: /items}, {name: sec, mountPath: /sec, readOnly: true},"
                  " {name: down, mountPath: /down}, {name: all, mountPath: /all}, {name: mem, mountPath: /mem},"
                  " {name: disk, mountPath: /disk}, {name: cm, mountPath: /one/file, subPath: a}, {name: disk, mountPath: /deep, subPath: x/y}]}],"
                  "volumes: [{name: cm, configMap: {name: cm, defaultMode: 420}}, {name: items, configMap: {name: cm, items: [{key: b, path: p/q, mode: 256}]}},"
                  " {name: sec, secret: {secretName: sec, defaultMode: 256}}, {name: mem, emptyDir: {medium: Memory, sizeLimit: 8Mi}}, {name: disk, emptyDir: {}},"
                  " {name: down, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: notes, fieldRef: {fieldPath: metadata.annotations}}]}},"
                  " {name: all, projected: {sources: [{configMap: {name: cm, items: [{key: a, path: x}]}}, {secret: {name: sec}},"
                  "  {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}]}}]");
    real_wait_ready(t, "vol", 20);
    real_expect(real_run(t, "vol", "main", "cat /cm/a /cm/b /items/p/q /sec/PW /all/x /all/PW /all/name /one/file"), "onetwotwosecretonesecretvolone");
    real_expect(real_run(t, "vol", "main", "cat /down/labels /down/notes"), "app=\"x\"note=\"hi\"");
    real_expect(real_run(t, "vol", "main", "stat -L -c %a:%g /cm/a /items/p/q /sec/PW"), "644:2222\n440:2222\n440:2222\n");
    real_expect(real_run(t, "vol", "main", "stat -c %a:%g /disk"), "2777:2222\n");
    assert_true(str_contains(real_run(t, "vol", "main", "df -k /mem"), STR("8192")));
    assert_true(str_contains(real_run(t, "vol", "main", "touch /sec/x"), STR("Read-only")));
    real_run(t, "vol", "main", "touch /deep/z");
    real_expect(real_run(t, "vol", "main", "ls /disk/x/y"), "z\n");
    /* Live updates, all files of a volume at once. */
    fake_put_text(t->fake, RES_CONFIGMAPS, "{metadata: {namespace: ns1, name: cm}, data: {a: eins, b: zwei}}");
    real_until(t, 5, str_is(real_run(t, "vol", "main", "cat /cm/a /cm/b /all/x"), "einszweieins"));
    real_expect(real_run(t, "vol", "main", "cat /one/file"), "one"); /* a subPath is what it was */
    assert_false(str_contains(real_run(t, "vol", "main", "ls /cm"), STR("c\n")));
    /* What leads out of a volume is not mounted. */
    real_pod(t, "escape", "initContainers: [{name: i, " BUSYBOX ", command: [ln, -s, /, /d/out], volumeMounts: [{name: d, mountPath: /d}]}],"
                          "containers: [{name: main, " BUSYBOX ", command: [sleep, '1000'], volumeMounts: [{name: d, mountPath: /m, subPath: out/etc}]}],"
                          "volumes: [{name: d, emptyDir: {}}]");
    real_until(t, 10, str_is(waiting_reason(t, "escape"), "CreateContainerConfigError"));
    real_pod(t, "nomount", "containers: [{name: main, " BUSYBOX ", command: [sleep, '1000'], volumeMounts: [{name: d, mountPath: /m}]}],"
                           "volumes: [{name: d, hostPath: {path: /nowhere, type: Directory}}]");
    real_wait_event(t, "nomount", "FailedMount", 10);
    real_delete(t, "vol", 1);
    real_wait_gone(t, "vol", 10);
    assert_int_equal(real_sh(t, "grep -c uid-1[0-9]/volumes/kubernetes.io~secret /proc/self/mounts | grep -v ^0").n, 0);
    real_stop(t);
}

FIBER_TEST(users_and_rights)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "user", "securityContext: {runAsUser: 1001, runAsGroup: 3003, supplementalGroups: [4004], fsGroup: 5005},"
                        "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'id -u; id -g; id -G; touch /x 2>&1; cat /proc/self/status | grep NoNewPrivs'],"
                        " securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}}]");
    wait_log(t, "user", "1001\n3003\n3003 4004 5005\ntouch: /x: Read-only file system\nNoNewPrivs:\t1\n");
    real_pod(t, "root", "containers: [{name: main, " BUSYBOX ", command: [id], securityContext: {runAsNonRoot: true}}]");
    real_until(t, 10, str_is(waiting_reason(t, "root"), "CreateContainerConfigError"));
    assert_true(str_starts(val_str(val_at(real_container(t, "root", 0), N_state, N_waiting, N_message)),
                           STR("container has runAsNonRoot and image will run as root")));
    real_pod(t, "named", "containers: [{name: main, image: 'cube.test/nobody:1', command: [id, -un]}]");
    wait_log(t, "named", "nobody\n");
    real_pod(t, "numbered", "containers: [{name: main, image: 'cube.test/user:1', command: [id, -u], securityContext: {runAsNonRoot: true}}]");
    wait_log(t, "numbered", "1000\n");
    real_pod(t, "caps", "containers: [{name: main, " BUSYBOX ", command: [grep, CapEff, /proc/self/status],"
                        " securityContext: {capabilities: {drop: [ALL], add: [NET_ADMIN]}}}]");
    wait_log(t, "caps", "CapEff:\t0000000000001000\n");
    real_pod(t, "masked", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'cat /proc/keys | wc -c; echo x > /proc/sys/kernel/panic']}]");
    wait_log(t, "masked", "0\nsh: can't create /proc/sys/kernel/panic: Read-only file system\n");
    real_pod(t, "sysctl", "securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '77'}]},"
                          "containers: [{name: main, " BUSYBOX ", command: [cat, /proc/sys/net/ipv4/ip_unprivileged_port_start]}]");
    wait_log(t, "sysctl", "77\n");
    real_pod(t, "unsafe", "securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]},"
                          "containers: [{name: main, " BUSYBOX ", command: [id]}]");
    real_wait_phase(t, "unsafe", "Failed", 10);
    real_expect(val_getstr(real_status(t, "unsafe"), N_reason), "SysctlForbidden");
    real_stop(t);
}

FIBER_TEST(limits)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "guaranteed", "containers: [{name: main, " BUSYBOX ", command: [sleep, '1000'],"
                              " resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 500m, memory: 64Mi}}}]");
    real_pod(t, "burstable", "containers: [{name: main, " BUSYBOX ", command: [sleep, '1000'], resources: {requests: {cpu: 250m}}}]");
    real_wait_ready(t, "guaranteed", 20);
    real_wait_ready(t, "burstable", 20);
    real_expect(val_getstr(real_status(t, "guaranteed"), N_qosClass), "Guaranteed");
    real_expect(val_getstr(real_status(t, "burstable"), N_qosClass), "Burstable");
    if (access("/sys/fs/cgroup/memory", F_OK) == 0) {
        const char *root = t->dir + 5;
        struct str mem = real_sh(t, arena_printf(&t->arena, "cat /sys/fs/cgroup/memory/%s/kubepods/pod*/memory.limit_in_bytes"
                                                 " /sys/fs/cgroup/memory/%s/kubepods/pod*/*/memory.limit_in_bytes | sort -u", root, root).p);
        assert_true(str_contains(mem, STR("67108864")));
        struct str quota = real_sh(t, arena_printf(&t->arena, "cat /sys/fs/cgroup/cpu/%s/kubepods/pod*/cpu.cfs_quota_us", root).p);
        real_expect(quota, "50000\n");
        struct str shares = real_sh(t, arena_printf(&t->arena, "cat /sys/fs/cgroup/cpu/%s/kubepods/burstable/pod*/cpu.shares", root).p);
        real_expect(shares, "256\n");
        shares = real_sh(t, arena_printf(&t->arena, "cat /sys/fs/cgroup/cpu/%s/kubepods/burstable/cpu.shares", root).p);
        real_expect(shares, "256\n"); /* the level weighs what its pods asked for */
    }
    real_pod(t, "toobig", "containers: [{name: main, " BUSYBOX ", command: [id], resources: {requests: {cpu: '1000'}}}]");
    real_wait_phase(t, "toobig", "Failed", 10);
    real_expect(val_getstr(real_status(t, "toobig"), N_reason), "OutOfcpu");
    real_pod(t, "oom", "restartPolicy: Never, containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'x=a; while true; do x=$x$x; done'],"
                       " resources: {limits: {memory: 16Mi}}}]");
    real_wait_phase(t, "oom", "Failed", 20);
    real_expect(val_str(val_at(real_container(t, "oom", 0), N_state, N_terminated, N_reason)), "OOMKilled");
    real_stop(t);
}

FIBER_TEST(names_and_network)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "names", "hostname: box, subdomain: sub, hostAliases: [{ip: '1.2.3.4', hostnames: [foo, bar]}],"
                         "dnsConfig: {options: [{name: ndots, value: '2'}], searches: [my.test]},"
                         "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'hostname; cat /etc/resolv.conf; tail -n 3 /etc/hosts; sleep 1000']}]");
    real_wait_ready(t, "names", 20);
    struct str log = STR("");
    real_until(t, 5, str_ends(log = real_logs(t, "names", "main", ""), STR("1.2.3.4\tfoo\tbar\n")));
    struct str ip = val_getstr(real_status(t, "names"), N_podIP);
    assert_true(str_starts(log, STR("box\nsearch ns1.svc.cluster.local svc.cluster.local cluster.local ")));
    assert_true(str_contains(log, STR("nameserver 10.96.0.10\n")));
    assert_true(str_contains(log, STR("options ndots:2\n")));
    assert_true(str_contains(log, STR("my.test")));
    assert_true(str_contains(real_run(t, "names", "main", "cat /etc/hosts"),
                             arena_printf(&t->arena, STR_FMT "\tbox.sub.ns1.svc.cluster.local\tbox\n", STR_ARG(ip))));
    real_pod(t, "hostnet", "hostNetwork: true, dnsPolicy: Default, containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'ls /sys/class/net; sleep 1000']}]");
    real_wait_ready(t, "hostnet", 20);
    real_expect(val_getstr(real_status(t, "hostnet"), N_podIP), "127.0.0.1");
    real_until(t, 5, str_contains(real_logs(t, "hostnet", "main", ""), STR("cni0")));
    real_stop(t);
}

FIBER_TEST(probes)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "http", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'mkdir /w; echo ok > /w/ok; sleep 1; httpd -f -p 8080 -h /w'],"
                        " ports: [{name: web, containerPort: 8080}],"
                        " readinessProbe: {httpGet: {path: /ok, port: web}, periodSeconds: 10},"
                        " startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 10, failureThreshold: 3}}]");
    real_wait_phase(t, "http", "Running", 10);
    assert_false(condition_is(val_get(real_status(t, "http"), N_conditions), STR("Ready"), "True"));
    real_expect(val_getstr(condition_find(val_get(real_status(t, "http"), N_conditions), STR("Ready")), N_message),
               "containers with unready status: [main]");
    real_wait_ready(t, "http", 4); /* long before the second try of its period */
    real_run(t, "http", "main", "rm /w/ok");
    real_pod(t, "exec", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'touch /ok; sleep 1000'],"
                        " readinessProbe: {exec: {command: [cat, /ok]}, periodSeconds: 1, failureThreshold: 1},"
                        " livenessProbe: {exec: {command: [test, '!', -e, /die]}, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1}}]");
    real_wait_ready(t, "exec", 10);
    real_run(t, "exec", "main", "rm /ok");
    real_until(t, 5, condition_is(val_get(real_status(t, "exec"), N_conditions), STR("Ready"), "False"));
    real_wait_event(t, "exec", "Unhealthy", 5);
    real_run(t, "exec", "main", "touch /die");
    real_until(t, 10, val_int(val_get(real_container(t, "exec", 0), N_restartCount), 0) == 1);
    real_wait_event(t, "exec", "Killing", 5);
    real_wait_ready(t, "exec", 10);
    real_stop(t);
}

FIBER_TEST(hooks_and_grace)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "hooks", "terminationGracePeriodSeconds: 10, containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'trap \"cat /out/log; echo term; exit 0\" TERM; sleep 1000 & wait'],"
                         " volumeMounts: [{name: o, mountPath: /out}],"
                         " lifecycle: {postStart: {exec: {command: [sh, -c, 'echo started >> /out/log']}}, preStop: {exec: {command: [sh, -c, 'echo stopping >> /out/log; sleep 0.5; cp /out/log /keep/log']}}}}],"
                         "volumes: [{name: o, emptyDir: {}}]");
    real_wait_ready(t, "hooks", 20);
    real_sh(t, "true");
    struct str path = real_sh(t, arena_printf(&t->arena, "ls -d %s/kubelet/pods/*/volumes/kubernetes.io~empty-dir/o", t->dir).p);
    real_sh(t, arena_printf(&t->arena, "cat " STR_FMT "/log", STR_ARG(str_trim(path))).p);
    struct mono began = os_mono();
    real_delete(t, "hooks", 10);
    fiber_sleep(MILLISECONDS(300));
    struct str log = real_sh(t, arena_printf(&t->arena, "cat " STR_FMT "/log", STR_ARG(str_trim(path))).p);
    real_expect(log, "started\nstopping\n");
    real_wait_gone(t, "hooks", 5);
    assert_true(os_mono().ns - began.ns > MILLISECONDS(500)); /* preStop was waited for */
    real_wait_event(t, "hooks", "FailedPreStopHook", 5);      /* its copy failed */
    real_pod(t, "deaf", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'trap \"\" TERM; while true; do sleep 0.1; done']}]");
    real_wait_ready(t, "deaf", 10);
    began = os_mono();
    real_delete(t, "deaf", 2);
    real_wait_gone(t, "deaf", 6);
    assert_true(os_mono().ns - began.ns > MILLISECONDS(1900));
    real_pod(t, "badstart", "containers: [{name: main, " BUSYBOX ", command: [sleep, '1000'], lifecycle: {postStart: {exec: {command: ['false']}}}}]");
    real_wait_event(t, "badstart", "FailedPostStartHook", 10);
    real_stop(t);
}

FIBER_TEST(images)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "never", "containers: [{name: main, image: 'cube.test/none:1', imagePullPolicy: Never}]");
    real_pod(t, "nowhere", "containers: [{name: main, image: '127.0.0.1:9/none:1'}]");
    real_pod(t, "wrong", "containers: [{name: main, image: 'Not An Image'}]");
    real_pod(t, "command", "containers: [{name: main, image: 'busybox:1', command: [/no/such/thing]}]");
    real_until(t, 10, str_is(waiting_reason(t, "never"), "ErrImageNeverPull"));
    real_until(t, 10, str_is(waiting_reason(t, "nowhere"), "ErrImagePull"));
    real_until(t, 10, str_is(waiting_reason(t, "wrong"), "InvalidImageName"));
    real_until(t, 10, str_is(waiting_reason(t, "nowhere"), "ImagePullBackOff"));
    real_until(t, 10, str_is(waiting_reason(t, "command"), "RunContainerError") || str_is(waiting_reason(t, "command"), "CrashLoopBackOff"));
    real_wait_event(t, "nowhere", "Failed", 5);
    real_wait_event(t, "nowhere", "BackOff", 5);
    real_expect(val_getstr(real_status(t, "nowhere"), N_phase), "Pending");
    real_stop(t);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment), cmocka_unit_test(volumes),           cmocka_unit_test(users_and_rights),
        cmocka_unit_test(limits),      cmocka_unit_test(names_and_network), cmocka_unit_test(probes),
        cmocka_unit_test(hooks_and_grace), cmocka_unit_test(images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return real_main(run);
}
