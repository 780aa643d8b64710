/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes of real containers: claims that come late, directories that are volumes, limits, what a killed kubelet leaves. */
#include "testing.h"

#include "real.h"

#include <stdio.h>
#include <unistd.h>

#define BUSYBOX "image: 'cube.test/busybox:1'"
#define SLEEP "command: [sh, -c, 'echo text >/v/f; echo more >/s/g; trap \"exit 0\" TERM; while :; do sleep 0.1; done']"
#define DIR_VOLUME                                                                                                     \
    "{metadata: {name: pv1, uid: pvuid, finalizers: [cube.local/local-path], labels: {cube.local/node: node-a},"         \
    " annotations: {cube.local/provisioned-by: node-a} %s}, spec: {persistentVolumeReclaimPolicy: %s, capacity: {storage: 1Gi},"   \
    " accessModes: [ReadWriteOnce], claimRef: {namespace: ns1, name: data, uid: c1}, local: {path: '%s/kubelet/local-path/pv1'}},"    \
    " status: {phase: %s}}"

static void put_volume(struct real *t, const char *deletion, const char *policy, const char *phase)
{
    fake_put_text(t->fake, RES_PERSISTENTVOLUMES, arena_printf(&t->arena, DIR_VOLUME, deletion, policy, t->dir, phase).p);
}

static void put_claim(struct real *t, const char *status)
{
    fake_put_text(t->fake, RES_PERSISTENTVOLUMECLAIMS,
                  arena_printf(&t->arena, "{metadata: {namespace: ns1, name: data, uid: c1}, spec: {volumeName: pv1}, status: {phase: %s}}",
                               status)
                      .p);
}

static void claim_pod(struct real *t, const char *name)
{
    real_pod(t, name, "containers: [{name: main, " BUSYBOX ", " SLEEP ", volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /s,"
                      " subPath: a/b}]}], volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]");
}

static bool there(struct real *t, const char *path)
{
    return access(arena_printf(&t->arena, "%s/kubelet/%s", t->dir, path).p, F_OK) == 0;
}

static size_t mounts_of(struct real *t, const char *what)
{
    int64_t n = 0;
    str_to_i64(str_trim(real_sh(t, arena_printf(&t->arena, "grep -c '%s/kubelet/.*%s' /proc/self/mounts", t->dir, what).p)), &n);
    return (size_t)n;
}

static bool event_says(struct real *t, const char *text)
{
    for (size_t i = 0; i < fake_count(t->fake, RES_EVENTS); i++)
        if (str_contains(val_getstr(fake_at(t->fake, RES_EVENTS, i)->val, N_message), str_of(text)))
            return true;
    return false;
}

FIBER_TEST(claims_that_come_late)
{
    struct real real, *t = &real;
    real_start(t);
    claim_pod(t, "late");
    real_until(t, 10, event_says(t, "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process"
                                    " volumes=[v]: error processing PVC ns1/data: failed to fetch PVC from API server: "));
    put_claim(t, "Pending");
    real_until(t, 20, event_says(t, "error processing PVC ns1/data: PVC is not bound"));
    put_volume(t, "", "Delete", "Bound");
    put_claim(t, "Bound");
    real_wait_phase(t, "late", "Running", 30);
    real_until(t, 5, there(t, "local-path/pv1/a/b/g"));
    real_expect(real_sh(t, arena_printf(&t->arena, "cat %s/kubelet/local-path/pv1/f %s/kubelet/local-path/pv1/a/b/g", t->dir, t->dir).p), "text\nmore\n");
    real_delete(t, "late", 1);
    real_wait_gone(t, "late", 10);
    assert_int_equal(mounts_of(t, "pv1"), 0);
    real_expect(real_sh(t, arena_printf(&t->arena, "cat %s/kubelet/local-path/pv1/f", t->dir).p), "text\n"); /* unmounted, not removed */
    real_stop(t);
}

FIBER_TEST(directories_that_are_volumes)
{
    struct real real, *t = &real;
    real_start(t);
    put_volume(t, "", "Delete", "Bound");
    put_claim(t, "Bound");
    claim_pod(t, "one");
    real_wait_phase(t, "one", "Running", 20);
    assert_true(there(t, "local-path/pv1"));
    put_volume(t, ", deletionTimestamp: '2026-01-01T00:00:00Z'", "Delete", "Released");
    fiber_sleep(MILLISECONDS(500));
    assert_true(there(t, "local-path/pv1")); /* a Pod has it */
    real_delete(t, "one", 1);
    real_wait_gone(t, "one", 10);
    real_until(t, 10, !there(t, "local-path/pv1"));
    real_until(t, 10, !fake_get(t->fake, RES_PERSISTENTVOLUMES, "", "pv1"));
    /* kept when it shall be, and nothing outside of the folder is touched, whatever a volume says */
    real_sh(t, arena_printf(&t->arena, "mkdir -p %s/kubelet/local-path/pv1 %s/kubelet/precious", t->dir, t->dir).p);
    put_volume(t, ", deletionTimestamp: '2026-01-01T00:00:00Z'", "Retain", "Released");
    real_until(t, 10, !fake_get(t->fake, RES_PERSISTENTVOLUMES, "", "pv1"));
    assert_true(there(t, "local-path/pv1"));
    fake_put_text(t->fake, RES_PERSISTENTVOLUMES,
                  arena_printf(&t->arena,
                               "{metadata: {name: pv2, finalizers: [cube.local/local-path], labels: {cube.local/node: node-a}, annotations:"
                               " {cube.local/provisioned-by: node-a}, deletionTimestamp: '2026-01-01T00:00:00Z'}, spec:"
                               " {persistentVolumeReclaimPolicy: Delete, local: {path: '%s/kubelet/local-path/../precious'}}}",
                               t->dir)
                      .p);
    real_until(t, 10, !fake_get(t->fake, RES_PERSISTENTVOLUMES, "", "pv2"));
    assert_true(there(t, "precious"));
    real_stop(t);
}

FIBER_TEST(limits_of_the_disk)
{
    struct real real, *t = &real;
    real_start(t);
    real_pod(t, "dir", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'dd if=/dev/zero of=/d/f bs=1M count=3; sleep 1000'],"
                       " volumeMounts: [{name: d, mountPath: /d}]}], volumes: [{name: d, emptyDir: {sizeLimit: 1Mi}}]");
    real_pod(t, "layer", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'dd if=/dev/zero of=/f bs=1M count=3; sleep 1000'],"
                         " resources: {limits: {ephemeral-storage: 1Mi}}}, {name: other, " BUSYBOX ", command: [sleep, '1000'],"
                         " resources: {limits: {ephemeral-storage: 100Mi}}}]");
    real_pod(t, "fits", "containers: [{name: main, " BUSYBOX ", command: [sh, -c, 'dd if=/dev/zero of=/d/f bs=1M count=3; sleep 1000'],"
                        " volumeMounts: [{name: d, mountPath: /d}]}], volumes: [{name: d, emptyDir: {sizeLimit: 10Mi}}]");
    real_wait_phase(t, "dir", "Failed", 30);
    real_wait_phase(t, "layer", "Failed", 45);
    real_expect(val_getstr(real_status(t, "dir"), N_reason), "Evicted");
    real_expect(val_getstr(real_status(t, "dir"), N_message), "Usage of EmptyDir volume \"d\" exceeds the limit \"1Mi\". ");
    real_expect(val_getstr(real_status(t, "layer"), N_message), "Container main exceeded its local ephemeral storage limit \"1Mi\". ");
    real_expect(val_getstr(real_status(t, "fits"), N_phase), "Running");
    real_stop(t);
}

/* The Pod is gone from the API when the kubelet comes back: what was mounted for it is found on the disk. */
FIBER_TEST(what_an_earlier_life_left)
{
    struct real real, *t = &real;
    real_start(t);
    put_volume(t, "", "Delete", "Bound");
    put_claim(t, "Bound");
    claim_pod(t, "one");
    real_wait_phase(t, "one", "Running", 20);
    assert_true(mounts_of(t, "volume-subpaths") == 1 && mounts_of(t, "kubernetes.io~local-volume/pv1") == 1);
    real_kubelet_stop(t);
    assert_true(mounts_of(t, "kubernetes.io~local-volume/pv1") == 1); /* containers go on */
    assert_true(fake_remove(t->fake, RES_PODS, "ns1", "one"));
    put_volume(t, ", deletionTimestamp: '2026-01-01T00:00:00Z'", "Delete", "Released");
    real_kubelet_start(t);
    real_until(t, 20, mounts_of(t, "volume-subpaths") == 0 && mounts_of(t, "local-volume") == 0);
    real_until(t, 10, !there(t, "local-path/pv1"));
    real_until(t, 20, real_sh(t, arena_printf(&t->arena, "ls %s/kubelet/pods", t->dir).p).n == 0);
    real_stop(t);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_that_come_late),
        cmocka_unit_test(directories_that_are_volumes),
        cmocka_unit_test(limits_of_the_disk),
        cmocka_unit_test(what_an_earlier_life_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return real_main(run);
}
