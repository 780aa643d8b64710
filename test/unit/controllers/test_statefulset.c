/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/statefulset.h"

#include <stdio.h>

#include "testing.h"
#include "type/meta.h"
#include "wire/json.h"
#include "world.h"

/* ---- a set and its pods ------------------------------------------------------------------------------ */

#define TEMPLATE(image)                                                                                      \
    "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: " image "}]}}"
#define CLAIMS "volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]"

/* Image, spec and status of the set "web", whose generation is 1. */
static void add_set(struct world *w, const char *image, const char *spec, const char *status)
{
    world_addf(
        w, RES_STATEFULSETS,
        "{metadata: {namespace: x, name: web, uid: u-web, generation: 1}, spec: {serviceName: svc, selector: "
        "{matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, "
        "image: %s}]}}, %s}, status: {%s}}",
        image, spec, status);
}

#define ORDERED(n) "replicas: " #n ", updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}"
#define PARALLEL(n) ORDERED(n) ", podManagementPolicy: Parallel"

enum state { PENDING, RUNNING, READY, FRESH, FAILED, SUCCEEDED, GOING };

static const char *const states[] = {
    [PENDING] = "status: {phase: Pending}",
    [RUNNING] = "status: {phase: Running}",
    [READY] = "status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: "
              "'2025-12-31T12:00:00Z'}]}",
    [FRESH] = "status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: "
              "'2025-12-31T23:59:50Z'}]}",
    [FAILED] = "status: {phase: Failed}",
    [SUCCEEDED] = "status: {phase: Succeeded}",
    [GOING] = "status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: "
              "'2025-12-31T12:00:00Z'}]}",
};

static void add_pod(struct world *w, int ordinal, const char *revision, enum state state, const char *spec)
{
    world_addf(
        w, RES_PODS,
        "{metadata: {namespace: x, name: web-%d, uid: u-web-%d, labels: {app: web, "
        "statefulset.kubernetes.io/pod-name: web-%d, controller-revision-hash: '%s'}, %s ownerReferences: "
        "[{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u-web, controller: true}]}, spec: {%s}, "
        "%s}",
        ordinal, ordinal, ordinal, revision,
        state == GOING ? "deletionTimestamp: '2025-12-31T23:00:00Z'," : "", spec, states[state]);
}

static const char *run(struct world *w)
{
    return world_reconcile(w, &statefulset_controller, "x/web");
}

/* The name of the revision of the set as it stands; kept until the next call. The world has it then. */
static const char *make_revision(struct world *w)
{
    static char name[2][64];
    static unsigned turn;
    char *ret = name[turn++ % 2];
    run(w);
    snprintf(ret, 64, STR_FMT, STR_ARG(obj_name(world_keep_revision(w))));
    return ret;
}

/* What is written but for statuses and revisions, one word a pod: "+2" made, "-1" deleted, "=0" updated, "c0"
 * claim made. */
static const char *moves(struct world *w)
{
    static char text[512];
    const struct write *x;
    size_t n = 0;
    run(w);
    text[0] = 0;
    for (size_t i = 0; (x = world_write(w, i)); i++) {
        bool claim = x->res == &resources[RES_PERSISTENTVOLUMECLAIMS];
        if (x->verb == WRITE_EVENT || (!claim && x->res != &resources[RES_PODS]))
            continue;
        struct str name = x->verb == WRITE_CREATE ? obj_name(x->body) : x->name;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s%s%.1s", n ? " " : "", claim ? "c" : "",
                              x->verb == WRITE_CREATE   ? "+"
                              : x->verb == WRITE_DELETE ? "-"
                                                        : "=",
                              name.p + name.n - 1);
    }
    return text;
}

static struct str status_text(struct world *w, name_id name)
{
    const struct write *x = world_find(w, WRITE_UPDATE_STATUS);
    return x ? val_str(val_at(x->body, N_status, name)) : STR_NULL;
}

/* ---- the first pod ----------------------------------------------------------------------------------- */

static void makes_the_first_pod_whole(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(3), "");
    run(w);
    const struct write *revision = world_write(w, 0), *create = world_write(w, 1);
    assert_ptr_equal(revision->res, &resources[RES_CONTROLLERREVISIONS]);
    assert_str(val_getstr(revision->body, N_data),
               "{\"spec\":{\"template\":{\"$patch\":\"replace\",\"metadata\":{\"labels\":{\"app\":\"web\"}},"
               "\"spec\":{"
               "\"containers\":[{\"image\":\"i1\",\"name\":\"c\",\"resources\":{}}]}}}}");
    assert_int_equal(val_int(val_get(revision->body, N_revision), 0), 1);
    assert_str(obj_label(revision->body, STR("app")), "web");
    struct str hash = obj_label(revision->body, STR("controller.kubernetes.io/hash"));
    assert_true(str_starts(obj_name(revision->body), STR("web-")) &&
                str_ends(obj_name(revision->body), hash));
    const struct val *pod = create->body, *spec = val_get(pod, N_spec);
    assert_ptr_equal(create->res, &resources[RES_PODS]);
    assert_str(obj_name(pod), "web-0");
    assert_str(val_getstr(obj_meta(pod), N_generateName), "web-");
    assert_str(obj_label(pod, STR("statefulset.kubernetes.io/pod-name")), "web-0");
    assert_str(obj_label(pod, STR("apps.kubernetes.io/pod-index")), "0");
    assert_true(str_eq(obj_label(pod, STR("controller-revision-hash")), obj_name(revision->body)));
    assert_str(val_getstr(spec, N_hostname), "web-0");
    assert_str(val_getstr(spec, N_subdomain), "svc");
    assert_null(val_get(spec, N_volumes));
    assert_true(obj_controlled_by(pod, STR("u-web")));
    assert_str(str_of(create->telling->text), "Create Pod ");
    assert_str(str_of(create->telling->tail), " in StatefulSet web successful");
    assert_str(str_of(create->telling->failed_text), "Create Pod web-0 in StatefulSet web failed error: ");
    assert_true(str_eq(status_text(w, N_currentRevision), obj_name(revision->body)));
    assert_true(str_eq(status_text(w, N_updateRevision), obj_name(revision->body)));
    assert_null(world_write(w, 3));
    world_free(w);
}

/* Upstream names the revision of this template so: FNV-1 of the data and the count of collisions. */
static void names_revisions_as_upstream(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(1), "");
    run(w);
    assert_str(obj_name(world_write(w, 0)->body), "web-6947c99d5b");
    world_free(w);
}

/* ---- order ------------------------------------------------------------------------------------------- */

struct order_case {
    const char *what, *spec;
    enum state pods[6];
    int n;
    const char *want;
};

#define START(n) "ordinals: {start: " #n "}, "

static void goes_in_order(void **state)
{
    static const struct order_case cases[] = {
        {"the next when the last is ready", ORDERED(3), {READY}, 1, "+1"},
        {"not while the last is pending", ORDERED(3), {READY, PENDING}, 2, ""},
        {"not while it runs and is not ready", ORDERED(3), {RUNNING}, 1, ""},
        {"not while it goes", ORDERED(3), {READY, GOING}, 2, ""},
        {"nothing when all are there", ORDERED(2), {READY, READY}, 2, ""},
        {"a failed one is made anew", ORDERED(3), {READY, FAILED, READY}, 3, "-1"},
        {"so is one that ended well", ORDERED(3), {READY, SUCCEEDED, READY}, 3, "-1"},
        {"all at once", PARALLEL(3), {READY}, 1, "+1 +2"},
        {"all at once, whatever the others do", PARALLEL(4), {FAILED, PENDING}, 2, "-0 +2 +3"},
        {"down from the end", ORDERED(1), {READY, READY, READY}, 3, "-2"},
        {"down, one after another", ORDERED(1), {READY, READY, GOING}, 3, ""},
        {"down, all at once", PARALLEL(1), {READY, READY, READY}, 3, "-2 -1"},
        {"to nothing", ORDERED(0), {READY, READY}, 2, "-1"},
        {"not down while one that stays is not well", ORDERED(1), {RUNNING, READY}, 2, ""},
        {"down: the last is not well but not the first of them",
         ORDERED(1),
         {READY, RUNNING, RUNNING},
         3,
         ""},
        {"down: the last is the first that is not well", ORDERED(1), {READY, READY, RUNNING}, 3, "-2"},
        {"up to a start", START(1) ORDERED(2), {READY, READY}, 2, "+2"},
        {"away from a start", START(2) ORDERED(1), {READY, READY, READY}, 3, "-1"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        add_set(w, "i1", cases[i].spec, "");
        const char *revision = make_revision(w);
        for (int p = 0; p < cases[i].n; p++)
            add_pod(w, p, revision, cases[i].pods[p], "");
        const char *got = moves(w);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].what, got, cases[i].want);
        world_free(w);
    }
}

static void waits_for_availability(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(2) ", minReadySeconds: 60", "");
    const char *revision = make_revision(w);
    add_pod(w, 0, revision, FRESH, "");
    assert_string_equal(moves(w), "");
    assert_int_equal(world_status(w, N_readyReplicas), 1);
    assert_int_equal(world_status(w, N_availableReplicas), 0);
    assert_non_null(strstr(run(w), "again 50s\n"));
    add_pod(w, 0, revision, READY, "");
    assert_string_equal(moves(w), "+1");
    assert_int_equal(world_status(w, N_availableReplicas), 1);
    world_free(w);
}

static void a_set_being_deleted_makes_nothing(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(3), "");
    const char *revision = make_revision(w);
    world_add(w, RES_STATEFULSETS,
              "{metadata: {namespace: x, name: web, uid: u-web, generation: 2, deletionTimestamp: "
              "'2025-12-31T00:00:00Z'}, spec: {replicas: 3, selector: {matchLabels: {app: web}}, " TEMPLATE(
                  "i1") "}}");
    add_pod(w, 0, revision, READY, "");
    assert_string_equal(moves(w), "");
    assert_int_equal(world_status(w, N_replicas), 1);
    world_free(w);
}

/* ---- updates ----------------------------------------------------------------------------------------- */

#define ROLLING(n, how) "replicas: " #n ", updateStrategy: {type: RollingUpdate, rollingUpdate: {" how "}}"
#define P ", podManagementPolicy: Parallel"

struct update_case {
    const char *what, *spec;
    const char
        *pods; /* a letter a pod: o old, n new; capital: ready, small: pending, '-' none, 'x' old and going */
    const char *want;
};

static void updates_as_the_strategy_says(void **state)
{
    static const struct update_case cases[] = {
        {"from the end", ROLLING(3, "partition: 0"), "OOO", "-2"},
        {"one after another", ROLLING(3, "partition: 0"), "OOn", ""},
        {"the next when it is ready", ROLLING(3, "partition: 0"), "OON", "-1"},
        {"not while it goes", ROLLING(3, "partition: 0"), "OOx", ""},
        {"what went is made of the new", ROLLING(3, "partition: 0"), "OO-", "+2"},
        {"down to the partition", ROLLING(3, "partition: 2"), "OON", ""},
        {"the partition keeps the old", ROLLING(3, "partition: 1"), "OOO", "-2"},
        {"nothing beyond the end", ROLLING(3, "partition: 5"), "OOO", ""},
        {"several at a time", ROLLING(5, "partition: 0, maxUnavailable: 2"), "OOOOO", "-4 -3"},
        {"several, less those not there", ROLLING(5, "partition: 0, maxUnavailable: 2") P, "OOOOn", "-3"},
        {"percent, rounded down", ROLLING(5, "partition: 0, maxUnavailable: '59%'"), "OOOOO", "-4 -3"},
        {"but one at least", ROLLING(5, "partition: 0, maxUnavailable: '10%'"), "OOOOO", "-4"},
        {"parallel: a broken old one costs nothing", ROLLING(3, "partition: 0") P, "OoO", "-1"},
        {"parallel: all broken ones", ROLLING(3, "partition: 0") P, "ooo", "-2 -1 -0"},
        {"parallel: not the others while one is not up", ROLLING(3, "partition: 0") P, "OOn", ""},
        {"in order: a broken one blocks", ROLLING(3, "partition: 0"), "OoO", ""},
        {"on delete", "replicas: 3, updateStrategy: {type: OnDelete}", "OOO", ""},
        {"on delete: made of the new", "replicas: 3, updateStrategy: {type: OnDelete}", "OO-", "+2"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        char status[100];
        add_set(w, "i1", cases[i].spec, "");
        const char *old = make_revision(w);
        snprintf(status, sizeof(status), "currentRevision: %s, currentReplicas: 3", old);
        add_set(w, "i2", cases[i].spec, status);
        const char *new_ = make_revision(w);
        for (int p = 0; cases[i].pods[p]; p++) {
            char c = cases[i].pods[p];
            enum state s = c == 'x' ? GOING : c >= 'a' ? PENDING : READY;
            if (c != '-')
                add_pod(w, p, c == 'n' || c == 'N' ? new_ : old, s, "");
        }
        const char *got = moves(w);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].what, got, cases[i].want);
        world_free(w);
    }
}

static void below_the_partition_pods_are_made_as_they_were(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ROLLING(2, "partition: 1") P, "");
    const char *old = make_revision(w);
    char status[100];
    snprintf(status, sizeof(status), "currentRevision: %s", old);
    add_set(w, "i2", ROLLING(2, "partition: 1") P, status);
    make_revision(w);
    assert_string_equal(moves(w), "+0 +1");
    const struct val *first = world_write(w, 0)->body, *second = world_write(w, 1)->body;
    assert_str(val_getstr(val_item(val_at(first, N_spec, N_containers), 0), N_image), "i1");
    assert_str(obj_label(first, STR("controller-revision-hash")), old);
    assert_str(val_getstr(val_item(val_at(second, N_spec, N_containers), 0), N_image), "i2");
    world_free(w);
}

static void an_update_ends_when_all_are_new_and_ready(void **state)
{
    struct world *w = world_new();
    char status[100];
    add_set(w, "i1", ORDERED(2), "");
    const char *old = make_revision(w);
    snprintf(status, sizeof(status), "currentRevision: %s, currentReplicas: 1", old);
    add_set(w, "i2", ORDERED(2), status);
    const char *new_ = make_revision(w);
    add_pod(w, 0, old, READY, "");
    add_pod(w, 1, new_, READY, "");
    assert_string_equal(moves(w), "-0");
    assert_str(status_text(w, N_currentRevision), old);
    assert_str(status_text(w, N_updateRevision), new_);
    assert_int_equal(world_status(w, N_currentReplicas), 0);
    assert_int_equal(world_status(w, N_updatedReplicas), 1);
    add_pod(w, 0, new_, READY, "");
    assert_string_equal(moves(w), "");
    assert_str(status_text(w, N_currentRevision), new_);
    assert_int_equal(world_status(w, N_currentReplicas), 2);
    world_free(w);
}

/* ---- history ----------------------------------------------------------------------------------------- */

static void a_rollback_takes_the_old_revision_again(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(0), "");
    const char *old = make_revision(w);
    add_set(w, "i2", ORDERED(0), "");
    make_revision(w);
    add_set(w, "i1", ORDERED(0), "");
    run(w);
    const struct write *x = world_write(w, 0);
    assert_int_equal(x->verb, WRITE_UPDATE);
    assert_str(x->name, old);
    assert_int_equal(val_int(val_get(x->body, N_revision), 0), 3);
    assert_str(status_text(w, N_updateRevision), old);
    world_free(w);
}

static void the_same_template_makes_no_revision(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(0), "");
    const char *name = make_revision(w);
    run(w);
    assert_int_equal(world_write(w, 0)->verb, WRITE_UPDATE_STATUS);
    /* written before a default was known: the text is another, the meaning is not */
    world_addf(
        w, RES_STATEFULSETS,
        "{metadata: {namespace: x, name: web, uid: u-web, generation: 2}, spec: {replicas: 0, selector: "
        "{matchLabels: "
        "{app: web}}, template: {metadata: {labels: {app: web}}, spec: {restartPolicy: Always, dnsPolicy: "
        "ClusterFirst, schedulerName: default-scheduler, terminationGracePeriodSeconds: 30, securityContext: "
        "{}, "
        "containers: [{name: c, image: i1, imagePullPolicy: Always, terminationMessagePath: "
        "/dev/termination-log, terminationMessagePolicy: File}]}}}}");
    run(w);
    assert_int_equal(world_write(w, 0)->verb, WRITE_UPDATE_STATUS);
    assert_str(status_text(w, N_updateRevision), name);
    world_free(w);
}

static void a_name_that_is_taken_is_avoided(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(0), "");
    run(w);
    world_addf(w, RES_CONTROLLERREVISIONS,
               "{metadata: {namespace: x, name: " STR_FMT "}, data: {other: 1}, revision: 1}",
               STR_ARG(obj_name(world_write(w, 0)->body)));
    run(w);
    assert_int_equal(world_write(w, 0)->verb, WRITE_CREATE);
    assert_null(snapshot_get(world_snapshot(w), &resources[RES_CONTROLLERREVISIONS], STR("x"),
                             obj_name(world_write(w, 0)->body)));
    assert_int_equal(world_status(w, N_collisionCount), 1);
    world_free(w);
}

static void keeps_as_many_revisions_as_wanted(void **state)
{
    struct world *w = world_new();
    const char *first = NULL;
    char image[2] = "a", keep[64] = "";
    for (; image[0] < 'f'; image[0]++) {
        add_set(w, image, ORDERED(1) ", revisionHistoryLimit: 2", "");
        const char *name = make_revision(w);
        if (image[0] == 'a')
            snprintf(keep, sizeof(keep), "%s", name);
        if (image[0] == 'b')
            first = strdup(name);
    }
    add_pod(w, 0, keep, READY, ""); /* it still lives by the oldest */
    const struct write *x;
    size_t deleted = 0;
    run(w);
    for (size_t i = 0; (x = world_write(w, i)); i++)
        if (x->verb == WRITE_DELETE && x->res == &resources[RES_CONTROLLERREVISIONS]) {
            assert_str(x->name, first);
            deleted++;
        }
    assert_int_equal(deleted, 1); /* of a to e: e is the newest, a lives, b goes, c and d stay */
    free((void *)(uintptr_t)first);
    world_free(w);
}

/* ---- claims ------------------------------------------------------------------------------------------ */

#define POLICY(deleted, scaled)                                                                              \
    ", persistentVolumeClaimRetentionPolicy: {whenDeleted: " deleted ", whenScaled: " scaled "}"
#define USES_CLAIM(n) "volumes: [{name: data, persistentVolumeClaim: {claimName: data-web-" #n "}}]"

static void add_claim(struct world *w, int ordinal, const char *meta)
{
    world_addf(w, RES_PERSISTENTVOLUMECLAIMS, "{metadata: {namespace: x, name: data-web-%d, %s}, spec: {}}",
               ordinal, meta);
}

static void makes_claims_before_pods(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(2) ", " CLAIMS, "");
    make_revision(w);
    assert_string_equal(moves(w), "c+0 +0");
    const struct write *claim = world_write(w, 0), *pod = world_write(w, 1);
    assert_str(obj_name(claim->body), "data-web-0");
    assert_str(obj_label(claim->body, STR("app")), "web");
    assert_null(val_get(obj_meta(claim->body), N_ownerReferences));
    const struct val *volume = val_item(val_at(pod->body, N_spec, N_volumes), 0);
    assert_str(val_getstr(volume, N_name), "data");
    assert_str(val_str(val_at(volume, N_persistentVolumeClaim, N_claimName)), "data-web-0");
    assert_str(str_of(claim->telling->tail), " Pod web-0 in StatefulSet web success");
    world_free(w);
}

static void pods_whose_claims_are_there_come_first(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", PARALLEL(3) ", " CLAIMS, "");
    make_revision(w);
    add_claim(w, 1, "");
    assert_string_equal(moves(w),
                        "c+0 +1 c+2 +0 +2"); /* a quota that refuses claim 2 does not keep pod 1 back */
    world_free(w);
}

static void a_claim_that_goes_holds_its_pod_up(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(2) ", " CLAIMS, "");
    make_revision(w);
    add_claim(w, 0, "deletionTimestamp: '2025-12-31T00:00:00Z'");
    assert_string_equal(moves(w), "");
    assert_non_null(strstr(run(w),
                           "event Warning FailedCreate Create Pod web-0 in StatefulSet web failed error: pvc "
                           "data-web-0 is being deleted\n"));
    world_free(w);
}

static void a_pending_pod_gets_its_claim_again(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(1) ", " CLAIMS, "");
    const char *revision = make_revision(w);
    add_pod(w, 0, revision, PENDING, USES_CLAIM(0));
    assert_string_equal(moves(w), "c+0");
    world_free(w);
}

struct retention_case {
    const char *what, *policy;
    int replicas;           /* the pod is web-1: of 1 it is one too many */
    const char *had, *want; /* owners of its claim, kinds; *: not touched */
};

static const char *owners_after(struct world *w)
{
    static char text[100];
    const struct write *x;
    text[0] = 0;
    for (size_t i = 0; (x = world_write(w, i)); i++) {
        if (x->verb != WRITE_UPDATE || x->res != &resources[RES_PERSISTENTVOLUMECLAIMS])
            continue;
        VAL_EACH (val_at(x->body, N_metadata, N_ownerReferences), r)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", text[0] ? " " : "",
                     val_cstr(val_get(r, N_kind)));
        return text;
    }
    return "*";
}

static void claims_go_with_whom_the_policy_says(void **state)
{
#define BY_SET "{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u-web, controller: true}"
#define BY_POD "{apiVersion: v1, kind: Pod, name: web-1, uid: u-web-1, controller: true}"
#define BY_OTHER "{apiVersion: v1, kind: Other, name: o, uid: u-o, controller: true}"
    static const struct retention_case cases[] = {
        {"kept", POLICY("Retain", "Retain"), 2, "", "*"},
        {"kept, was not", POLICY("Retain", "Retain"), 2, BY_SET, ""},
        {"with the set", POLICY("Delete", "Retain"), 2, "", "StatefulSet"},
        {"with the set, still", POLICY("Delete", "Retain"), 2, BY_SET, "*"},
        {"with the set, though scaled down", POLICY("Delete", "Retain"), 1, "", "StatefulSet"},
        {"with the pod, which stays", POLICY("Retain", "Delete"), 2, "", "*"},
        {"with the pod, which goes", POLICY("Retain", "Delete"), 1, "", "Pod"},
        {"with the pod, which stays after all", POLICY("Retain", "Delete"), 2, BY_POD, ""},
        {"both, pod stays", POLICY("Delete", "Delete"), 2, "", "StatefulSet"},
        {"both, pod goes", POLICY("Delete", "Delete"), 1, BY_SET, "Pod"},
        {"somebody else's", POLICY("Delete", "Retain"), 2, BY_OTHER, "*"},
        {"somebody else's and ours", POLICY("Delete", "Retain"), 2, BY_OTHER ", " BY_SET, "Other"},
        {"of an earlier set", POLICY("Delete", "Retain"), 2,
         "{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u-earlier, controller: true}", "*"},
        {"without power", POLICY("Delete", "Retain"), 2,
         "{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u-web}", "StatefulSet"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        char spec[512], meta[400];
        snprintf(spec, sizeof(spec), "replicas: %d, updateStrategy: {type: RollingUpdate}, " CLAIMS "%s",
                 cases[i].replicas, cases[i].policy);
        snprintf(meta, sizeof(meta), "ownerReferences: [%s]", cases[i].had);
        add_set(w, "i1", spec, "");
        const char *revision = make_revision(w);
        add_pod(w, 0, revision, READY, USES_CLAIM(0));
        add_pod(w, 1, revision, READY, USES_CLAIM(1));
        add_claim(w, 0,
                  strstr(cases[i].policy, "whenDeleted: Delete") ? "ownerReferences: [" BY_SET "]" : "");
        add_claim(w, 1, meta);
        run(w);
        if (strcmp(owners_after(w), cases[i].want) != 0)
            fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].what, owners_after(w), cases[i].want);
        world_free(w);
    }
}

static void a_stale_claim_blocks_its_pod(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", PARALLEL(2) ", " CLAIMS POLICY("Retain", "Delete"), "");
    make_revision(w);
    add_claim(
        w, 0,
        "ownerReferences: [{apiVersion: v1, kind: Pod, name: web-0, uid: u-earlier, controller: true}]");
    assert_string_equal(moves(w), "c+1 +1");
    world_free(w);
}

/* ---- belonging --------------------------------------------------------------------------------------- */

static void takes_only_pods_of_its_name(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(1), "");
    make_revision(w);
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: web-0, labels: {app: web}}, status: {phase: Running}}");
    world_add(w, RES_PODS,
              "{metadata: {namespace: x, name: other-0, labels: {app: web}}, status: {phase: Running}}");
    const char *got = run(w);
    assert_non_null(strstr(got, "patch pods x/web-0 "));
    assert_null(strstr(got, "other-0"));
    world_free(w);
}

static void gives_identity_back(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(1), "");
    make_revision(w);
    world_addf(w, RES_PODS,
               "{metadata: {namespace: x, name: web-0, labels: {app: web}, ownerReferences: [{apiVersion: "
               "apps/v1, kind: "
               "StatefulSet, name: web, uid: u-web, controller: true}]}, %s}",
               states[READY]);
    assert_non_null(strstr(run(w), "update pods x/web-0\n"));
    const struct val *v = world_write(w, 0)->body;
    assert_str(obj_label(v, STR("statefulset.kubernetes.io/pod-name")), "web-0");
    assert_str(obj_label(v, STR("apps.kubernetes.io/pod-index")), "0");
    world_free(w);
}

static void finds_the_keys(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(1) ", " CLAIMS, "");
    const struct controller *c = &statefulset_controller;
    const struct object *set = world_get(w, RES_STATEFULSETS, "x", "web");
    struct object *pod =
        object_relaxed(RES_PODS, "{metadata: {namespace: x, name: web-0, labels: {app: web}}}");
    struct object *claim =
        object_relaxed(RES_PERSISTENTVOLUMECLAIMS, "{metadata: {namespace: x, name: data-web-0}}");
    struct object *other =
        object_relaxed(RES_PERSISTENTVOLUMECLAIMS, "{metadata: {namespace: x, name: logs-web-0}}");
    assert_string_equal(world_keys(w, c, NULL, set), "x/web");
    assert_string_equal(world_keys(w, c, NULL, pod), "x/web");
    assert_string_equal(world_keys(w, c, claim, NULL), "x/web");
    assert_string_equal(world_keys(w, c, NULL, claim), "");
    assert_string_equal(world_keys(w, c, other, NULL), "");
    object_unref(pod);
    object_unref(claim);
    object_unref(other);
    world_free(w);
}

static void a_refusal_still_tells_the_status(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", ORDERED(2), "");
    const char *revision = make_revision(w);
    add_pod(w, 0, revision, READY, "");
    run(w);
    const char *got = world_refuse(w, &statefulset_controller, "x/web", 0, 403, "exceeded quota");
    assert_int_equal(strncmp(got, "status statefulsets x/web {", 27), 0);
    assert_int_equal(world_status(w, N_readyReplicas), 1);
    assert_null(strstr(got, "create"));
    world_free(w);
}

static void absurd_numbers_are_no_trouble(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1", "replicas: 2147483647, podManagementPolicy: Parallel", "");
    const char *revision = make_revision(w);
    add_pod(w, 2147483646, revision, READY, "");
    run(w);
    assert_int_equal(world_status(w, N_replicas), 1);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_the_first_pod_whole),
        cmocka_unit_test(names_revisions_as_upstream),
        cmocka_unit_test(goes_in_order),
        cmocka_unit_test(waits_for_availability),
        cmocka_unit_test(a_set_being_deleted_makes_nothing),
        cmocka_unit_test(updates_as_the_strategy_says),
        cmocka_unit_test(below_the_partition_pods_are_made_as_they_were),
        cmocka_unit_test(an_update_ends_when_all_are_new_and_ready),
        cmocka_unit_test(a_rollback_takes_the_old_revision_again),
        cmocka_unit_test(the_same_template_makes_no_revision),
        cmocka_unit_test(a_name_that_is_taken_is_avoided),
        cmocka_unit_test(keeps_as_many_revisions_as_wanted),
        cmocka_unit_test(makes_claims_before_pods),
        cmocka_unit_test(pods_whose_claims_are_there_come_first),
        cmocka_unit_test(a_claim_that_goes_holds_its_pod_up),
        cmocka_unit_test(a_pending_pod_gets_its_claim_again),
        cmocka_unit_test(claims_go_with_whom_the_policy_says),
        cmocka_unit_test(a_stale_claim_blocks_its_pod),
        cmocka_unit_test(takes_only_pods_of_its_name),
        cmocka_unit_test(gives_identity_back),
        cmocka_unit_test(finds_the_keys),
        cmocka_unit_test(a_refusal_still_tells_the_status),
        cmocka_unit_test(absurd_numbers_are_no_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
