/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/volumes.h"

#include "testing.h"
#include "type/meta.h"
#include "world.h"

#define BINDER &pv_binder_controller
#define LOCAL &local_path_controller
#define ATTACH &attach_detach_controller

static void add_volume(struct world *w, const char *name, const char *size, const char *spec,
                       const char *status)
{
    world_addf(w, RES_PERSISTENTVOLUMES,
               "{metadata: {name: %s, uid: uid-%s}, spec: {capacity: {storage: %s}, accessModes: "
               "[ReadWriteOnce], hostPath: "
               "{path: /x}, %s}, status: {%s}}",
               name, name, size, spec, status);
}

static void add_claim(struct world *w, const char *name, const char *size, const char *meta, const char *spec,
                      const char *status)
{
    world_addf(w, RES_PERSISTENTVOLUMECLAIMS,
               "{metadata: {namespace: x, name: %s, uid: uid-%s, %s}, spec: {accessModes: [ReadWriteOnce], "
               "resources: "
               "{requests: {storage: %s}}, %s}, status: {phase: Pending, %s}}",
               name, name, meta, size, spec, status);
}

static struct str volume_text(struct world *w, const char *name, name_id a, name_id b, name_id c)
{
    return val_str(val_at(world_get(w, RES_PERSISTENTVOLUMES, "", name)->val, a, b, c));
}

static struct str claim_text(struct world *w, const char *name, name_id a, name_id b)
{
    return val_str(val_at(world_get(w, RES_PERSISTENTVOLUMECLAIMS, "x", name)->val, a, b));
}

/* Reconciles both keys until nothing is written any more. */
static void settle(struct world *w, const char *claim, const char *volume)
{
    for (int i = 0; i < 6; i++) {
        world_reconcile(w, BINDER, volume);
        world_apply(w);
        world_reconcile(w, BINDER, claim);
        world_apply(w);
    }
}

/* ---- binding ----------------------------------------------------------------------------------------- */

static void a_claim_takes_the_smallest_volume_that_fits(void **state)
{
    struct world *w = world_new();
    add_volume(w, "small", "1Gi", "storageClassName: ''", "phase: Available");
    add_volume(w, "fits", "5Gi", "storageClassName: ''", "phase: Available");
    add_volume(w, "large", "50Gi", "storageClassName: ''", "phase: Available");
    add_volume(w, "taken", "4Gi", "claimRef: {namespace: y, name: o, uid: u}", "phase: Bound");
    add_volume(w, "other", "4Gi", "storageClassName: gold", "phase: Available");
    add_volume(w, "block", "4Gi", "volumeMode: Block", "phase: Available");
    add_volume(w, "fresh", "4Gi", "storageClassName: ''", "");
    add_claim(w, "c", "3Gi", "", "storageClassName: ''", "");
    assert_string_equal(world_reconcile(w, BINDER, "x/c"),
                        "update persistentvolumes fits\nupdate persistentvolumeclaims x/c\n");
    world_apply(w);
    assert_string_equal(
        world_reconcile(w, BINDER, "x/c"),
        "status persistentvolumes fits {\"phase\":\"Bound\"}\n"
        "status persistentvolumeclaims x/c {\"phase\":\"Bound\",\"accessModes\":[\"ReadWriteOnce\"],"
        "\"capacity\":{\"storage\":\"5Gi\"}}\n");
    world_apply(w);
    assert_string_equal(world_reconcile(w, BINDER, "x/c"), "");
    assert_string_equal(world_reconcile(w, BINDER, "fits"), "");
    const struct object *v = world_get(w, RES_PERSISTENTVOLUMES, "", "fits"),
                        *c = world_get(w, RES_PERSISTENTVOLUMECLAIMS, "x", "c");
    assert_str(obj_annotation(v->val, STR(ANN_BOUND_BY_CONTROLLER)), "yes");
    assert_str(obj_annotation(c->val, STR(ANN_BOUND_BY_CONTROLLER)), "yes");
    assert_str(obj_annotation(c->val, STR(ANN_BIND_COMPLETED)), "yes");
    assert_str(volume_text(w, "fits", N_spec, N_claimRef, N_uid), "uid-c");
    world_free(w);
}

static void fewer_access_modes_are_closer(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_PERSISTENTVOLUMES,
              "{metadata: {name: many}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce, "
              "ReadWriteMany]}, "
              "status: {phase: Available}}");
    add_volume(w, "one", "9Gi", "", "phase: Available");
    add_claim(w, "c", "1Gi", "", "storageClassName: ''", "");
    assert_string_equal(world_reconcile(w, BINDER, "x/c"),
                        "update persistentvolumes one\nupdate persistentvolumeclaims x/c\n");
    world_add(w, RES_PERSISTENTVOLUMECLAIMS,
              "{metadata: {namespace: x, name: m}, spec: {accessModes: [ReadWriteMany], storageClassName: "
              "'', resources: "
              "{requests: {storage: 1Gi}}}}");
    assert_string_equal(world_reconcile(w, BINDER, "x/m"),
                        "update persistentvolumes many\nupdate persistentvolumeclaims x/m\n");
    world_free(w);
}

static void a_selector_and_a_reservation_are_heeded(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_PERSISTENTVOLUMES,
              "{metadata: {name: red, labels: {color: red}}, spec: {capacity: {storage: 9Gi}, accessModes: "
              "[ReadWriteOnce]}, status: {phase: Available}}");
    add_volume(w, "plain", "1Gi", "", "phase: Available");
    add_claim(w, "c", "1Gi", "", "storageClassName: '', selector: {matchLabels: {color: red}}", "");
    assert_string_equal(world_reconcile(w, BINDER, "x/c"),
                        "update persistentvolumes red\nupdate persistentvolumeclaims x/c\n");
    world_apply(w);
    /* Reserved by name: taken though another would fit better, and never by anybody else. */
    add_volume(w, "kept", "20Gi", "claimRef: {namespace: x, name: d}", "phase: Available");
    add_claim(w, "d", "1Gi", "", "storageClassName: ''", "");
    add_claim(w, "e", "2Gi", "", "storageClassName: ''", "");
    assert_string_equal(world_reconcile(w, BINDER, "x/d"),
                        "update persistentvolumes kept\nupdate persistentvolumeclaims x/d\n");
    world_apply(w);
    assert_null(
        obj_annotation(world_get(w, RES_PERSISTENTVOLUMES, "", "kept")->val, STR(ANN_BOUND_BY_CONTROLLER)).p);
    assert_non_null(
        strstr(world_reconcile(w, BINDER, "x/e"), "event Normal FailedBinding no persistent volumes"));
    world_free(w);
}

static void a_volume_asked_for_by_name(void **state)
{
    struct world *w = world_new();
    add_claim(w, "c", "3Gi", "", "storageClassName: '', volumeName: v", "");
    assert_string_equal(world_reconcile(w, BINDER, "x/c"), "");
    add_volume(w, "v", "1Gi", "", "phase: Available");
    assert_non_null(strstr(
        world_reconcile(w, BINDER, "x/c"),
        "event Warning VolumeMismatch Cannot bind to requested volume \"v\": requested PV is too small"));
    add_volume(w, "v", "9Gi", "claimRef: {namespace: x, name: o, uid: u}", "phase: Bound");
    assert_non_null(strstr(world_reconcile(w, BINDER, "x/c"),
                           "event Warning FailedBinding volume \"v\" already bound to a different claim."));
    add_volume(w, "v", "9Gi", "", "phase: Available");
    settle(w, "x/c", "v");
    assert_str(claim_text(w, "c", N_status, N_phase), "Bound");
    assert_null(
        obj_annotation(world_get(w, RES_PERSISTENTVOLUMECLAIMS, "x", "c")->val, STR(ANN_BOUND_BY_CONTROLLER))
            .p);
    world_free(w);
}

static void classes(struct world *w)
{
    world_add(w, RES_STORAGECLASSES,
              "{metadata: {name: now}, provisioner: csi.example.com, volumeBindingMode: Immediate}");
    world_add(w, RES_STORAGECLASSES,
              "{metadata: {name: later, creationTimestamp: '2025-01-01T00:00:00Z', annotations: "
              "{storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: csi.example.com, "
              "volumeBindingMode: "
              "WaitForFirstConsumer}");
    world_add(w, RES_STORAGECLASSES,
              "{metadata: {name: static}, provisioner: kubernetes.io/no-provisioner, "
              "volumeBindingMode: Immediate}");
}

static void provisioners_are_asked(void **state)
{
    struct world *w = world_new();
    classes(w);
    add_claim(w, "c", "1Gi", "", "storageClassName: now", "");
    const char *said = world_reconcile(w, BINDER, "x/c");
    assert_non_null(strstr(
        said, "update persistentvolumeclaims x/c\nevent Normal ExternalProvisioning Waiting for a volume "
              "to be created either by the external provisioner 'csi.example.com'"));
    world_apply(w);
    assert_null(strstr(world_reconcile(w, BINDER, "x/c"), "update"));
    assert_str(
        obj_annotation(world_get(w, RES_PERSISTENTVOLUMECLAIMS, "x", "c")->val, STR(ANN_STORAGE_PROVISIONER)),
        "csi.example.com");
    add_claim(w, "d", "1Gi", "", "storageClassName: nowhere", "");
    assert_non_null(
        strstr(world_reconcile(w, BINDER, "x/d"),
               "event Warning ProvisioningFailed storageclass.storage.k8s.io \"nowhere\" not found"));
    add_claim(w, "e", "1Gi", "", "storageClassName: static", "");
    assert_non_null(strstr(world_reconcile(w, BINDER, "x/e"),
                           "event Warning ProvisioningFailed no volume plugin matched"));
    world_config(w)->no_dynamic_provisioning = true;
    assert_string_equal(world_reconcile(w, BINDER, "x/d"), "");
    world_config(w)->no_dynamic_provisioning = false;
    /* What the provisioner made is bound. */
    add_volume(w, "pvc-1", "1Gi", "storageClassName: now, claimRef: {namespace: x, name: c, uid: uid-c}", "");
    settle(w, "x/c", "pvc-1");
    assert_str(claim_text(w, "c", N_spec, N_volumeName), "pvc-1");
    assert_str(claim_text(w, "c", N_status, N_phase), "Bound");
    world_free(w);
}

static void the_first_consumer_is_waited_for(void **state)
{
    struct world *w = world_new();
    classes(w);
    add_volume(w, "free", "1Gi", "storageClassName: later", "phase: Available");
    add_claim(w, "c", "1Gi", "", "storageClassName: later", "");
    assert_non_null(
        strstr(world_reconcile(w, BINDER, "x/c"),
               "event Normal WaitForFirstConsumer waiting for first consumer to be created before binding"));
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: p}, spec: {volumes: [{name: v, persistentVolumeClaim: "
              "{claimName: c}}]}}");
    assert_non_null(strstr(world_reconcile(w, BINDER, "x/c"),
                           "event Normal WaitForPodScheduled waiting for pod p to be scheduled"));
    add_claim(w, "c", "1Gi", "annotations: {volume.kubernetes.io/selected-node: n}",
              "storageClassName: later", "");
    assert_non_null(strstr(world_reconcile(w, BINDER, "x/c"), "ExternalProvisioning"));
    /* The scheduler chose a volume that was there. */
    add_volume(w, "free", "1Gi", "storageClassName: later, claimRef: {namespace: x, name: c, uid: uid-c}",
               "");
    settle(w, "x/c", "free");
    assert_str(claim_text(w, "c", N_status, N_phase), "Bound");
    world_free(w);
}

static void a_default_class_that_comes_later_is_taken(void **state)
{
    struct world *w = world_new();
    add_claim(w, "c", "1Gi", "", "", "");
    add_claim(w, "none", "1Gi", "", "storageClassName: ''", "");
    assert_non_null(strstr(world_reconcile(w, BINDER, "x/c"), "FailedBinding"));
    classes(w);
    world_add(w, RES_STORAGECLASSES,
              "{metadata: {name: newer, creationTimestamp: '2026-01-01T00:00:00Z', annotations: "
              "{storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: p}");
    assert_string_equal(world_keys(w, BINDER, NULL, world_get(w, RES_STORAGECLASSES, "", "later")), "x/c");
    assert_string_equal(world_reconcile(w, BINDER, "x/c"), "update persistentvolumeclaims x/c\n");
    assert_str(val_str(val_at(world_write(w, 0)->body, N_spec, N_storageClassName)), "newer");
    assert_non_null(strstr(world_reconcile(w, BINDER, "x/none"), "FailedBinding"));
    world_free(w);
}

/* ---- losing, releasing, reclaiming -------------------------------------------------------------------- */

#define BOUND "annotations: {pv.kubernetes.io/bind-completed: 'yes'}"

static void a_claim_that_loses_its_volume_is_lost(void **state)
{
    struct world *w = world_new();
    add_claim(w, "c", "1Gi", BOUND, "volumeName: v", "capacity: {storage: 1Gi}");
    assert_string_equal(
        world_reconcile(w, BINDER, "x/c"),
        "check-absent persistentvolumes v\nstatus persistentvolumeclaims x/c {\"phase\":\"Lost\"}\n"
        "event Warning ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!\n");
    add_volume(w, "v", "1Gi", "claimRef: {namespace: x, name: o, uid: other}", "phase: Bound");
    assert_non_null(strstr(world_reconcile(w, BINDER, "x/c"), "event Warning ClaimMisbound Two claims"));
    world_free(w);
}

#define MINE "claimRef: {namespace: x, name: c, uid: uid-c},"

static void a_volume_is_released_when_its_claim_goes(void **state)
{
    struct world *w = world_new();
    add_volume(w, "v", "1Gi", MINE "persistentVolumeReclaimPolicy: Retain", "phase: Bound");
    assert_string_equal(
        world_reconcile(w, BINDER, "v"),
        "check-absent persistentvolumeclaims x/c\nstatus persistentvolumes v {\"phase\":\"Released\"}\n");
    world_apply(w);
    assert_string_equal(world_reconcile(w, BINDER, "v"), "");
    /* Another claim of that name does not get it. */
    add_claim(w, "c", "1Gi", "", "storageClassName: ''", "");
    world_addf(w, RES_PERSISTENTVOLUMECLAIMS,
               "{metadata: {namespace: x, name: c, uid: second}, spec: {storageClassName: '', "
               "accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}");
    assert_non_null(strstr(world_reconcile(w, BINDER, "x/c"), "FailedBinding"));
    assert_string_equal(world_reconcile(w, BINDER, "v"), "");
    world_free(w);
}

static void what_nobody_can_delete_fails(void **state)
{
    struct world *w = world_new();
    add_volume(w, "v", "1Gi", MINE "persistentVolumeReclaimPolicy: Delete", "phase: Released");
    assert_string_equal(world_reconcile(w, BINDER, "v"),
                        "status persistentvolumes v {\"phase\":\"Failed\",\"message\":\"host_path deleter "
                        "only supports /tmp/.+ "
                        "but received provided /x\"}\n"
                        "event Warning VolumeFailedDelete host_path deleter only supports /tmp/.+ but "
                        "received provided /x\n");
    world_add(w, RES_PERSISTENTVOLUMES,
              "{metadata: {name: csi}, spec: {" MINE
              "persistentVolumeReclaimPolicy: Delete, csi: {driver: d, volumeHandle: "
              "h}}, status: {phase: Released}}");
    assert_string_equal(world_reconcile(w, BINDER, "csi"), "");
    world_free(w);
}

static void a_volume_is_recycled_by_a_pod(void **state)
{
    struct world *w = world_new();
    world_addf(
        w, RES_PERSISTENTVOLUMES,
        "{metadata: {name: v, annotations: {pv.kubernetes.io/bound-by-controller: 'yes'}}, spec: {" MINE
        "persistentVolumeReclaimPolicy: Recycle, hostPath: {path: /x}}, status: {phase: Released}}");
    assert_string_equal(world_reconcile(w, BINDER, "v"), "create pods default/recycler-for-v\n");
    assert_int_equal(world_write(w, 0)->name.n, 0);
    const struct object *p =
        world_add(w, RES_PODS,
                  "{metadata: {namespace: default, name: recycler-for-v}, status: {phase: "
                  "Succeeded}}");
    assert_string_equal(world_keys(w, BINDER, NULL, p), "v");
    assert_string_equal(world_reconcile(w, BINDER, "v"),
                        "delete pods default/recycler-for-v\nevent Normal VolumeRecycled Volume recycled\n"
                        "update persistentvolumes v\n");
    assert_null(val_at(world_write(w, 2)->body, N_spec, N_claimRef));
    world_add(w, RES_PODS, "{metadata: {namespace: default, name: recycler-for-v}, status: {phase: Failed}}");
    assert_non_null(
        strstr(world_reconcile(w, BINDER, "v"), "event Warning VolumeFailedRecycle Recycle failed"));
    world_free(w);
}

static void the_second_volume_of_a_claim_is_freed(void **state)
{
    struct world *w = world_new();
    add_claim(w, "c", "1Gi", BOUND, "volumeName: first", "");
    world_add(
        w, RES_PERSISTENTVOLUMES,
        "{metadata: {name: second, annotations: {pv.kubernetes.io/bound-by-controller: 'yes'}}, spec: {" MINE
        "}, status: {phase: Bound}}");
    assert_string_equal(world_reconcile(w, BINDER, "second"), "update persistentvolumes second\n");
    assert_null(val_at(world_write(w, 0)->body, N_spec, N_claimRef));
    world_apply(w);
    assert_string_equal(world_reconcile(w, BINDER, "second"),
                        "status persistentvolumes second {\"phase\":\"Available\"}\n");
    /* Reserved by hand: only the uid goes. */
    add_volume(w, "kept", "1Gi", MINE, "phase: Bound");
    world_reconcile(w, BINDER, "kept");
    assert_str(val_str(val_at(world_write(w, 0)->body, N_spec, N_claimRef, N_name)), "c");
    assert_null(val_at(world_write(w, 0)->body, N_spec, N_claimRef, N_uid));
    world_free(w);
}

static void changes_concern_who_may_be_waiting(void **state)
{
    struct world *w = world_new();
    add_claim(w, "waits", "1Gi", "", "storageClassName: a", "");
    add_claim(w, "other", "1Gi", "", "storageClassName: b", "");
    add_claim(w, "named", "1Gi", "", "storageClassName: b, volumeName: v", "");
    add_volume(w, "v", "1Gi", "storageClassName: a", "phase: Available");
    const struct object *v = world_get(w, RES_PERSISTENTVOLUMES, "", "v");
    assert_string_equal(world_keys(w, BINDER, NULL, v), "v x/named x/waits");
    assert_string_equal(world_keys(w, BINDER, v, NULL), "x/named");
    add_volume(w, "u", "1Gi", "storageClassName: a, claimRef: {namespace: x, name: other, uid: uid-other}",
               "phase: Bound");
    assert_string_equal(world_keys(w, BINDER, NULL, world_get(w, RES_PERSISTENTVOLUMES, "", "u")),
                        "u x/other");
    assert_string_equal(world_keys(w, BINDER, world_get(w, RES_PERSISTENTVOLUMECLAIMS, "x", "other"), NULL),
                        "u");
    world_free(w);
}

/* ---- local-path -------------------------------------------------------------------------------------- */

static void add_node(struct world *w, const char *name, const char *folder)
{
    world_addf(w, RES_NODES,
               "{metadata: {name: %s, labels: {kubernetes.io/hostname: h-%s}, annotations: {%s}}, status: "
               "{conditions: "
               "[{type: Ready, status: 'True'}]}}",
               name, name, folder);
}

static void add_local_class(struct world *w, const char *mode)
{
    world_addf(w, RES_STORAGECLASSES,
               "{metadata: {name: standard}, provisioner: cube.local/local-path, reclaimPolicy: Delete, "
               "volumeBindingMode: "
               "%s, allowVolumeExpansion: true}",
               mode);
}

#define ASKS "volume.kubernetes.io/storage-provisioner: cube.local/local-path"
#define CHOSEN "annotations: {" ASKS ", volume.kubernetes.io/selected-node: n}"

static void a_directory_becomes_a_volume(void **state)
{
    struct world *w = world_new();
    add_local_class(w, "WaitForFirstConsumer");
    add_node(w, "n", "cube.local/local-path: /data/local-path");
    add_claim(w, "c", "1Gi", "annotations: {" ASKS "}", "storageClassName: standard", "");
    assert_string_equal(world_reconcile(w, LOCAL, "x/c"), "");
    add_claim(w, "c", "1Gi", CHOSEN, "storageClassName: standard", "");
    assert_string_equal(world_reconcile(w, LOCAL, "x/c"),
                        "create persistentvolumes pvc-uid-c\n"
                        "event Normal ProvisioningSucceeded Successfully provisioned volume pvc-uid-c\n");
    assert_int_equal(world_write(w, 0)->name.n, 0); /* a create goes to the collection */
    world_apply(w);
    assert_string_equal(world_reconcile(w, LOCAL, "x/c"), "");
    const struct val *v = world_get(w, RES_PERSISTENTVOLUMES, "", "pvc-uid-c")->val;
    assert_str(val_str(val_at(v, N_spec, N_local, N_path)), "/data/local-path/pvc-uid-c");
    assert_str(obj_annotation(v, STR(ANN_LOCAL_PATH_NODE)), "n");
    assert_str(obj_label(v, STR(LABEL_LOCAL_PATH_NODE)), "n");
    assert_true(obj_has_finalizer(v, STR(LOCAL_PATH_FINALIZER)));
    settle(w, "x/c", "pvc-uid-c");
    assert_str(claim_text(w, "c", N_status, N_phase), "Bound");
    world_free(w);
}

/* A node says where its directories are, the class within which bounds. */
static void folders_of_nodes(void **state)
{
    static const struct {
        const char *folder, *directory, *want;
    } cases[] = {{"/d", "", "/d/pvc-uid-c"},          {"/d/sub", "/d", "/d/sub/pvc-uid-c"}, {"/d", "/d", "/d/pvc-uid-c"},
                 {"/etc", "/d", "/d/pvc-uid-c"},      {"/data", "/d", "/d/pvc-uid-c"},      {"/d/../etc", "/d", "/d/pvc-uid-c"},
                 {"relative", "/d", "/d/pvc-uid-c"},  {"/", "/d", "/d/pvc-uid-c"},          {"/x/../etc", "", NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        world_addf(w, RES_STORAGECLASSES, "{metadata: {name: standard}, provisioner: cube.local/local-path, reclaimPolicy: Delete, %s}",
                   cases[i].directory[0] ? arena_printf(&a, "parameters: {directory: '%s'}", cases[i].directory).p : "");
        add_node(w, "n", arena_printf(&a, "cube.local/local-path: '%s'", cases[i].folder).p);
        add_claim(w, "c", "1Gi", CHOSEN, "storageClassName: standard", "");
        const char *got = world_reconcile(w, LOCAL, "x/c");
        if (cases[i].want)
            assert_str(val_str(val_at(world_write(w, 0)->body, N_spec, N_local, N_path)), cases[i].want);
        else
            assert_non_null(strstr(got, "offers no folder"));
        world_free(w);
    }
}

static void what_directories_cannot_do_is_said(void **state)
{
    struct world *w = world_new();
    add_local_class(w, "WaitForFirstConsumer");
    add_claim(w, "c", "1Gi", CHOSEN, "storageClassName: standard", "");
    assert_string_equal(
        world_reconcile(w, LOCAL, "x/c"),
        "event Warning ProvisioningFailed failed to provision volume with StorageClass \"standard\": the "
        "selected node is gone\nupdate persistentvolumeclaims x/c\n");
    assert_null(obj_annotation(world_write(w, 1)->body, STR(ANN_SELECTED_NODE)).p);
    add_node(w, "n", "");
    assert_non_null(strstr(world_reconcile(w, LOCAL, "x/c"), "offers no folder"));
    add_node(w, "n", "cube.local/local-path: /d");
    add_claim(w, "b", "1Gi", CHOSEN, "storageClassName: standard, volumeMode: Block", "");
    assert_non_null(strstr(world_reconcile(w, LOCAL, "x/b"), "block devices"));
    world_add(w, RES_PERSISTENTVOLUMECLAIMS,
              "{metadata: {namespace: x, name: m, " CHOSEN
              "}, spec: {storageClassName: standard, accessModes: "
              "[ReadWriteMany], resources: {requests: {storage: 1Gi}}}}");
    assert_non_null(strstr(world_reconcile(w, LOCAL, "x/m"), "only for ReadWriteOnce"));
    world_free(w);
}

static void at_once_the_emptiest_node_is_chosen(void **state)
{
    struct world *w = world_new();
    add_local_class(w, "Immediate");
    add_node(w, "a", "cube.local/local-path: /d");
    add_node(w, "b", "cube.local/local-path: /d");
    add_node(w, "without", "");
    add_claim(w, "c", "1Gi", "annotations: {" ASKS "}", "storageClassName: standard", "");
    add_claim(w, "d", "1Gi", "annotations: {" ASKS "}", "storageClassName: standard", "");
    world_reconcile(w, LOCAL, "x/c");
    assert_str(obj_annotation(world_write(w, 0)->body, STR(ANN_LOCAL_PATH_NODE)), "a");
    world_apply(w);
    world_reconcile(w, LOCAL, "x/d");
    assert_str(obj_annotation(world_write(w, 0)->body, STR(ANN_LOCAL_PATH_NODE)), "b");
    world_free(w);
}

#define LOCAL_VOLUME                                                                                         \
    "annotations: {pv.kubernetes.io/provisioned-by: cube.local/local-path, cube.local/provisioned-by: n}, "  \
    "finalizers: "                                                                                           \
    "[cube.local/local-path]"

static void a_directory_grows_on_paper(void **state)
{
    struct world *w = world_new();
    add_claim(w, "c", "2Gi", "annotations: {" ASKS ", pv.kubernetes.io/bind-completed: 'yes'}",
              "volumeName: v", "phase: Bound, capacity: {storage: 1Gi}");
    world_add(w, RES_PERSISTENTVOLUMES,
              "{metadata: {name: v, " LOCAL_VOLUME "}, spec: {" MINE
              "capacity: {storage: 1Gi}}, status: {phase: Bound}}");
    assert_string_equal(world_reconcile(w, LOCAL, "x/c"), "update persistentvolumes v\n");
    world_apply(w);
    assert_string_equal(
        world_reconcile(w, LOCAL, "x/c"),
        "status persistentvolumeclaims x/c {\"phase\":\"Bound\",\"capacity\":{\"storage\":\"2Gi\"}}\n"
        "event Normal VolumeResizeSuccessful Resize volume succeeded\n");
    world_apply(w);
    assert_string_equal(world_reconcile(w, LOCAL, "x/c"), "");
    assert_string_equal(world_reconcile(w, &volume_expand_controller, "x/c"), "");
    world_free(w);
}

static void somebody_else_grows_other_volumes(void **state)
{
    struct world *w = world_new();
    add_claim(w, "c", "2Gi", "", "volumeName: v", "phase: Bound, capacity: {storage: 1Gi}");
    add_volume(w, "v", "1Gi", MINE, "phase: Bound");
    assert_string_equal(
        world_reconcile(w, &volume_expand_controller, "x/c"),
        "event Normal ExternalExpanding waiting for an external controller to expand this PVC\n");
    world_free(w);
}

static void a_released_directory_is_deleted(void **state)
{
    struct world *w = world_new();
    add_node(w, "n", "");
    world_add(w, RES_PERSISTENTVOLUMES,
              "{metadata: {name: v, " LOCAL_VOLUME "}, spec: {" MINE
              "persistentVolumeReclaimPolicy: Retain}, status: {phase: Released}}");
    assert_string_equal(world_reconcile(w, LOCAL, "v"), "");
    world_add(w, RES_PERSISTENTVOLUMES,
              "{metadata: {name: v, " LOCAL_VOLUME "}, spec: {" MINE
              "persistentVolumeReclaimPolicy: Delete}, status: {phase: Released}}");
    assert_string_equal(world_reconcile(w, BINDER, "v"), "");
    assert_string_equal(world_reconcile(w, LOCAL, "v"), "delete persistentvolumes v\n");
    /* Its kubelet takes the finalizer away; when the node is gone nobody else would. */
    const struct object *v =
        world_add(w, RES_PERSISTENTVOLUMES,
                  "{metadata: {name: v, deletionTimestamp: '2026-01-01T00:00:00Z', " LOCAL_VOLUME
                  "}, spec: {" MINE "}, status: {phase: Released}}");
    assert_string_equal(world_reconcile(w, LOCAL, "v"), "");
    assert_non_null(v);
    const struct object *n = world_get(w, RES_NODES, "", "n");
    assert_string_equal(world_keys(w, LOCAL, n, NULL), "v");
    world_remove(w, RES_NODES, "", "n");
    assert_string_equal(world_reconcile(w, LOCAL, "v"), "check-absent nodes n\nupdate persistentvolumes v\n");
    world_free(w);
}

/* ---- ephemeral --------------------------------------------------------------------------------------- */

static void pods_get_their_ephemeral_claims(void **state)
{
    struct world *w = world_new();
    const struct object *p = world_add(
        w, RES_PODS,
        "{metadata: {namespace: x, name: p, uid: u1}, spec: {volumes: [{name: s, ephemeral: "
        "{volumeClaimTemplate: "
        "{metadata: {labels: {a: b}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: "
        "1Gi}}}}}}, {name: e, emptyDir: {}}]}}");
    assert_string_equal(world_keys(w, &ephemeral_volume_controller, NULL, p), "x/p");
    assert_string_equal(world_reconcile(w, &ephemeral_volume_controller, "x/p"),
                        "create persistentvolumeclaims x/p-s\n");
    assert_int_equal(world_write(w, 0)->name.n, 0);
    assert_true(obj_controlled_by(world_write(w, 0)->body, STR("u1")));
    const char *refusal = world_refuse(w, &ephemeral_volume_controller, "x/p", 0, 403, "exceeded quota");
    assert_string_equal(refusal,
                        "event Warning FailedBinding ephemeral volume s: create PVC p-s: exceeded quota\n");
    world_reconcile(w, &ephemeral_volume_controller, "x/p");
    assert_str(obj_label(world_write(w, 0)->body, STR("a")), "b");
    world_apply(w);
    assert_string_equal(world_reconcile(w, &ephemeral_volume_controller, "x/p"), "");
    const struct object *c = world_get(w, RES_PERSISTENTVOLUMECLAIMS, "x", "p-s");
    assert_string_equal(world_keys(w, &ephemeral_volume_controller, c, NULL), "x/p");
    world_add(w, RES_PERSISTENTVOLUMECLAIMS, "{metadata: {namespace: x, name: p-s}}");
    assert_non_null(strstr(
        world_reconcile(w, &ephemeral_volume_controller, "x/p"),
        "event Warning FailedBinding ephemeral volume s: PVC x/p-s was not created for pod x/p (pod is not "
        "owner)"));
    world_free(w);
}

/* ---- attaching --------------------------------------------------------------------------------------- */

static void add_attach_node(struct world *w, const char *name, const char *status, const char *spec)
{
    world_addf(w, RES_NODES,
               "{metadata: {name: %s, annotations: {volumes.kubernetes.io/controller-managed-attach-detach: "
               "'true'}}, spec: "
               "{%s}, status: {%s}}",
               name, spec, status);
}

static void add_csi(struct world *w, const char *modes)
{
    world_addf(w, RES_PERSISTENTVOLUMES,
               "{metadata: {name: v}, spec: {accessModes: [%s], claimRef: {namespace: x, name: c, uid: "
               "uid-c}, csi: {driver: d, "
               "volumeHandle: h}}, status: {phase: Bound}}",
               modes);
    add_claim(w, "c", "1Gi", "", "volumeName: v", "phase: Bound");
}

static void add_user(struct world *w, const char *name, const char *node)
{
    world_addf(w, RES_PODS,
               "{metadata: {namespace: x, name: %s}, spec: {nodeName: %s, volumes: [{name: v, "
               "persistentVolumeClaim: {claimName: c}}]}, status: {phase: Running}}",
               name, node);
}

/* The attacher has done its work. */
static void attached(struct world *w)
{
    const struct snapshot *s = world_snapshot(w);
    struct tree_iter it;
    struct buf b CLEANUP_BUF = BUF_INIT;
    tree_seek(&it, snapshot_tree(s, &resources[RES_VOLUMEATTACHMENTS]), STR_NULL);
    buf_printf(&b,
               "{metadata: {name: " STR_FMT "}, spec: {attacher: d, nodeName: " STR_FMT
               ", source: {persistentVolumeName: v}}, status: {attached: true}}",
               STR_ARG(it.object->name), STR_ARG(val_str(val_at(it.object->val, N_spec, N_nodeName))));
    world_add(w, RES_VOLUMEATTACHMENTS, b.p);
}

/* A pod p on the node n wants a CSI volume; then it has been attached for it. */
static struct world *attach_world(void)
{
    struct world *w = world_new();
    add_csi(w, "ReadWriteOnce");
    add_attach_node(w, "n", "", "");
    add_user(w, "p", "n");
    return w;
}

static struct world *attached_world(void)
{
    struct world *w = attach_world();
    world_reconcile(w, ATTACH, "n");
    world_apply(w);
    attached(w);
    return w;
}

#define NAME "kubernetes.io/csi/d^h"
#define LISTED "volumesAttached: [{name: 'kubernetes.io/csi/d^h', devicePath: ''}],"
#define USED "volumesInUse: ['kubernetes.io/csi/d^h'],"

static void a_volume_is_attached_to_the_node_of_its_pod(void **state)
{
    struct world *w = attach_world();
    const struct object *p = world_get(w, RES_PODS, "x", "p");
    assert_string_equal(world_keys(w, ATTACH, NULL, p), "n");
    assert_true(strncmp(world_reconcile(w, ATTACH, "n"), "create volumeattachments csi-", 29) == 0);
    assert_int_equal(obj_name(world_write(w, 0)->body).n, 4 + 64);
    assert_int_equal(world_write(w, 0)->name.n, 0); /* a create goes to the collection */
    assert_str(val_str(val_at(world_write(w, 0)->body, N_spec, N_attacher)), "d");
    world_apply(w);
    assert_string_equal(world_reconcile(w, ATTACH, "n"), "");
    attached(w);
    assert_string_equal(
        world_reconcile(w, ATTACH, "n"),
        "event Normal SuccessfulAttachVolume AttachVolume.Attach succeeded for volume \"v\" \n"
        "patch-status nodes n {\"status\":{\"volumesAttached\":[{\"name\":\"" NAME
        "\",\"devicePath\":\"\"}]}}\n");
    add_attach_node(w, "n", LISTED USED, "");
    assert_string_equal(world_reconcile(w, ATTACH, "n"), "");
    world_free(w);
}

static void a_driver_may_want_no_attaching(void **state)
{
    struct world *w = attach_world();
    world_add(w, RES_CSIDRIVERS, "{metadata: {name: d}, spec: {attachRequired: false}}");
    assert_string_equal(world_reconcile(w, ATTACH, "n"), "");
    world_free(w);
}

static void attachments_of_others_are_left_alone(void **state)
{
    struct world *w = world_new();
    add_csi(w, "ReadWriteOnce");
    add_attach_node(w, "n", "", "");
    world_add(
        w, RES_VOLUMEATTACHMENTS,
        "{metadata: {name: mine}, spec: {attacher: d, nodeName: n, source: {persistentVolumeName: v}}}");
    world_add(
        w, RES_VOLUMEATTACHMENTS,
        "{metadata: {name: other}, spec: {attacher: d, nodeName: gone, source: {persistentVolumeName: no}}}");
    assert_string_equal(world_reconcile(w, ATTACH, "n"), "");
    assert_string_equal(world_reconcile(w, ATTACH, "gone"), "");
    world_free(w);
}

static void detaching_waits_for_the_kubelet(void **state)
{
    struct world *w = attached_world();
    add_attach_node(w, "n", LISTED USED "conditions: [{type: Ready, status: 'True'}]", "");
    world_remove(w, RES_PODS, "x", "p");
    assert_string_equal(world_reconcile(w, ATTACH, "n"), ""); /* in use */
    add_attach_node(w, "n", LISTED "conditions: [{type: Ready, status: 'True'}]", "");
    assert_string_equal(world_reconcile(w, ATTACH, "n"),
                        "patch-status nodes n {\"status\":{\"volumesAttached\":null}}\n");
    add_attach_node(w, "n", "conditions: [{type: Ready, status: 'True'}]", "");
    assert_true(strncmp(world_reconcile(w, ATTACH, "n"), "delete volumeattachments csi-", 29) == 0);
    /* The kubelet began to use it in between: it is told again. */
    add_attach_node(w, "n", USED "conditions: [{type: Ready, status: 'True'}]", "");
    assert_true(strncmp(world_reconcile(w, ATTACH, "n"),
                        "patch-status nodes n {\"status\":{\"volumesAttached\":[{", 52) == 0);
    world_free(w);
}

/* That a node is not known here may mean that it is new. */
static void a_node_that_is_gone_is_asked_for(void **state)
{
    struct world *w = attached_world();
    world_remove(w, RES_PODS, "x", "p");
    world_remove(w, RES_NODES, "", "n");
    const char *said = world_reconcile(w, ATTACH, "n");
    if (strncmp(said, "check-absent nodes n\ndelete volumeattachments csi-", 50) != 0)
        fail_msg("%s", said);
    world_free(w);
}

static void a_dead_node_is_waited_for_six_minutes(void **state)
{
    struct world *w = attached_world();
    struct wall start = world_now;
    world_remove(w, RES_PODS, "x", "p");
    add_attach_node(w, "n", USED LISTED "conditions: [{type: Ready, status: Unknown}]", "");
    assert_string_equal(world_reconcile(w, ATTACH, "n"), "again 6m0s\n");
    world_now.ns += SECONDS(361);
    world_config(w)->no_force_detach = true;
    assert_string_equal(world_reconcile(w, ATTACH, "n"), "");
    world_config(w)->no_force_detach = false;
    assert_string_equal(world_reconcile(w, ATTACH, "n"),
                        "patch-status nodes n {\"status\":{\"volumesAttached\":null}}\n");
    world_now = start;
    add_attach_node(w, "n", USED LISTED "conditions: [{type: Ready, status: Unknown}]",
                    "taints: [{key: node.kubernetes.io/out-of-service, effect: NoExecute}]");
    assert_string_equal(world_reconcile(w, ATTACH, "n"),
                        "patch-status nodes n {\"status\":{\"volumesAttached\":null}}\n");
    world_free(w);
}

static void a_volume_is_not_on_two_nodes(void **state)
{
    struct world *w = attached_world();
    add_attach_node(w, "m", "", "");
    add_user(w, "q", "m");
    assert_string_equal(world_reconcile(w, ATTACH, "m"),
                        "event Warning FailedAttachVolume Waiting for detach for volume \"v\" "
                        "Volume is already used by pod(s) p\n");
    assert_string_equal(world_reconcile(w, ATTACH, "m"), ""); /* said once */
    add_csi(w, "ReadWriteMany");
    assert_true(strncmp(world_reconcile(w, ATTACH, "m"), "create volumeattachments csi-", 29) == 0);
    world_free(w);
}

static void the_attachers_complaint_is_told_once(void **state)
{
    struct world *w = attach_world();
    world_reconcile(w, ATTACH, "n");
    world_addf(w, RES_VOLUMEATTACHMENTS,
               "{metadata: {name: " STR_FMT
               "}, spec: {nodeName: n, source: {persistentVolumeName: v}}, status: {attachError: "
               "{message: 'no disk'}}}",
               STR_ARG(obj_name(world_write(w, 0)->body)));
    assert_string_equal(
        world_reconcile(w, ATTACH, "n"),
        "event Warning FailedAttachVolume AttachVolume.Attach failed for volume \"v\" : no disk\n");
    assert_string_equal(world_reconcile(w, ATTACH, "n"), "");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_takes_the_smallest_volume_that_fits),
        cmocka_unit_test(fewer_access_modes_are_closer),
        cmocka_unit_test(a_selector_and_a_reservation_are_heeded),
        cmocka_unit_test(a_volume_asked_for_by_name),
        cmocka_unit_test(provisioners_are_asked),
        cmocka_unit_test(the_first_consumer_is_waited_for),
        cmocka_unit_test(a_default_class_that_comes_later_is_taken),
        cmocka_unit_test(a_claim_that_loses_its_volume_is_lost),
        cmocka_unit_test(a_volume_is_released_when_its_claim_goes),
        cmocka_unit_test(what_nobody_can_delete_fails),
        cmocka_unit_test(a_volume_is_recycled_by_a_pod),
        cmocka_unit_test(the_second_volume_of_a_claim_is_freed),
        cmocka_unit_test(changes_concern_who_may_be_waiting),
        cmocka_unit_test(a_directory_becomes_a_volume),
        cmocka_unit_test(folders_of_nodes),
        cmocka_unit_test(what_directories_cannot_do_is_said),
        cmocka_unit_test(at_once_the_emptiest_node_is_chosen),
        cmocka_unit_test(a_directory_grows_on_paper),
        cmocka_unit_test(somebody_else_grows_other_volumes),
        cmocka_unit_test(a_released_directory_is_deleted),
        cmocka_unit_test(pods_get_their_ephemeral_claims),
        cmocka_unit_test(a_volume_is_attached_to_the_node_of_its_pod),
        cmocka_unit_test(a_driver_may_want_no_attaching),
        cmocka_unit_test(attachments_of_others_are_left_alone),
        cmocka_unit_test(detaching_waits_for_the_kubelet),
        cmocka_unit_test(a_node_that_is_gone_is_asked_for),
        cmocka_unit_test(a_dead_node_is_waited_for_six_minutes),
        cmocka_unit_test(a_volume_is_not_on_two_nodes),
        cmocka_unit_test(the_attachers_complaint_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
