/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/daemonset.h"

#include <stdio.h>

#include "testing.h"
#include "type/meta.h"
#include "wire/json.h"
#include "world.h"

/* ---- a set, its nodes and its pods -------------------------------------------------------------------- */

static void add_set_with(struct world *w, const char *image, const char *pod_spec, const char *spec,
                         const char *status)
{
    world_addf(w, RES_DAEMONSETS,
               "{metadata: {namespace: x, name: log, uid: u-log, generation: 1}, spec: {selector: "
               "{matchLabels: {app: "
               "log}}, template: {metadata: {labels: {app: log}}, spec: {%s containers: [{name: c, image: "
               "%s}]}}, %s}, "
               "status: {%s}}",
               pod_spec, image, spec, status);
}

#define ROLLING(how) "updateStrategy: {type: RollingUpdate, rollingUpdate: {" how "}}"
#define ONE_AT_A_TIME ROLLING("maxUnavailable: 1, maxSurge: 0")

static void add_set(struct world *w, const char *image)
{
    add_set_with(w, image, "", ONE_AT_A_TIME, "");
}

static const struct object *add_node(struct world *w, const char *name, const char *meta, const char *spec)
{
    return world_addf(w, RES_NODES, "{metadata: {name: %s, %s}, spec: {%s}}", name, meta, spec);
}

static const char *const states[] = {
    ['p'] = "status: {phase: Pending}",
    ['r'] = "status: {phase: Running}",
    ['R'] = "status: {phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: "
            "'2025-12-31T12:00:00Z'}]}",
    ['F'] = "status: {phase: Failed}",
    ['S'] = "status: {phase: Succeeded}",
};

static void add_pod(struct world *w, const char *name, const char *node, const char *hash, char state,
                    const char *meta)
{
    world_addf(w, RES_PODS,
               "{metadata: {namespace: x, name: %s, uid: u-%s, creationTimestamp: '2025-12-31T0%d:00:00Z', "
               "labels: {app: "
               "log, controller-revision-hash: '%s'}, %s ownerReferences: [{apiVersion: apps/v1, kind: "
               "DaemonSet, name: "
               "log, uid: u-log, controller: true}]}, spec: {nodeName: '%s'}, %s}",
               name, name, name[strlen(name) - 1] & 7, hash, meta, node, states[(unsigned char)state]);
}

static const char *run(struct world *w)
{
    return world_reconcile(w, &daemonset_controller, "x/log");
}

/* The hash of the set as it stands; its revision is there then. Kept for two calls. */
static const char *make_revision(struct world *w)
{
    static char hash[2][64];
    static unsigned turn;
    char *ret = hash[turn++ % 2];
    run(w);
    snprintf(ret, 64, STR_FMT, STR_ARG(obj_label(world_keep_revision(w), STR("controller-revision-hash"))));
    return ret;
}

static struct str target(const struct write *x)
{
    return daemon_target(x->body);
}

/* Pods written, one word each: "+node" made, "-name" deleted. */
static const char *moves(struct world *w)
{
    static char text[512];
    const struct write *x;
    size_t n = 0;
    run(w);
    text[0] = 0;
    for (size_t i = 0; (x = world_write(w, i)); i++) {
        if (x->verb == WRITE_EVENT || x->res != &resources[RES_PODS])
            continue;
        struct str name = x->verb == WRITE_CREATE ? target(x) : x->name;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s" STR_FMT, n ? " " : "",
                              x->verb == WRITE_CREATE   ? "+"
                              : x->verb == WRITE_DELETE ? "-"
                                                        : "=",
                              STR_ARG(name));
    }
    return text;
}

/* ---- pods -------------------------------------------------------------------------------------------- */

static void makes_a_pod_for_each_node(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1");
    add_node(w, "n1", "", "");
    add_node(w, "n2", "", "");
    const char *hash = make_revision(w);
    assert_string_equal(moves(w), "+n1 +n2");
    const struct val *pod = world_write(w, 0)->body, *spec = val_get(pod, N_spec);
    assert_str(val_getstr(obj_meta(pod), N_generateName), "log-");
    assert_str(obj_label(pod, STR("controller-revision-hash")), hash);
    assert_str(obj_label(pod, STR("app")), "log");
    assert_true(obj_controlled_by(pod, STR("u-log")));
    assert_null(val_get(spec, N_nodeName));
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, NULL, val_get(spec, N_affinity), 0);
    assert_string_equal(
        b.p, "{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":"
             "[{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"n1\"]}]}]}}}");
    buf_clear(&b);
    VAL_EACH (val_get(spec, N_tolerations), t)
        buf_printf(&b, STR_FMT ":" STR_FMT " ", STR_ARG(val_getstr(t, N_key)),
                   STR_ARG(val_getstr(t, N_effect)));
    assert_string_equal(
        b.p, "node.kubernetes.io/not-ready:NoExecute node.kubernetes.io/unreachable:NoExecute "
             "node.kubernetes.io/disk-pressure:NoSchedule node.kubernetes.io/memory-pressure:NoSchedule "
             "node.kubernetes.io/pid-pressure:NoSchedule node.kubernetes.io/unschedulable:NoSchedule ");
    assert_int_equal(world_status(w, N_desiredNumberScheduled), 2);
    assert_int_equal(world_status(w, N_numberUnavailable), 2);
    world_free(w);
}

static void what_shares_the_nodes_network_needs_none(void **state)
{
    struct world *w = world_new();
    add_set_with(w, "i1",
                 "hostNetwork: true, tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, "
                 "effect: NoExecute, "
                 "tolerationSeconds: 5}],",
                 ONE_AT_A_TIME, "");
    add_node(w, "n1", "", "taints: [{key: node.kubernetes.io/network-unavailable, effect: NoSchedule}]");
    make_revision(w);
    assert_string_equal(moves(w), "+n1");
    const struct val *list = val_at(world_write(w, 0)->body, N_spec, N_tolerations);
    assert_int_equal(val_len(list), 7);
    assert_null(
        val_get(val_item(list, 0), N_tolerationSeconds)); /* for ever, though the template says otherwise */
    world_free(w);
}

/* ---- which nodes ------------------------------------------------------------------------------------- */

struct node_case {
    const char *what, *pod_spec, *labels, *spec;
    bool run, stay;
};

static void finds_the_nodes_that_fit(void **state)
{
#define TAINT(key, effect) "taints: [{key: " key ", effect: " effect "}]"
#define REQUIRES(term)                                                                                       \
    "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [" term   \
    "]}}},"
    static const struct node_case cases[] = {
        {"any", "", "", "", true, true},
        {"cordoned", "", "", "unschedulable: true, " TAINT("node.kubernetes.io/unschedulable", "NoSchedule"),
         true, true},
        {"under pressure", "", "", TAINT("node.kubernetes.io/memory-pressure", "NoSchedule"), true, true},
        {"not ready", "", "", TAINT("node.kubernetes.io/not-ready", "NoExecute"), true, true},
        {"not ready, for the scheduler", "", "", TAINT("node.kubernetes.io/not-ready", "NoSchedule"), false,
         true},
        {"without network", "", "", TAINT("node.kubernetes.io/network-unavailable", "NoSchedule"), false,
         true},
        {"tainted", "", "", TAINT("mine", "NoSchedule"), false, true},
        {"tainted softly", "", "", TAINT("mine", "PreferNoSchedule"), true, true},
        {"tainted hard", "", "", TAINT("mine", "NoExecute"), false, false},
        {"tolerated", "tolerations: [{key: mine, operator: Exists}],", "", TAINT("mine", "NoExecute"), true,
         true},
        {"selected", "nodeSelector: {disk: ssd},", "labels: {disk: ssd}", "", true, true},
        {"not selected", "nodeSelector: {disk: ssd},", "labels: {disk: hdd}", "", false, false},
        {"required", REQUIRES("{matchExpressions: [{key: disk, operator: Exists}]}"), "labels: {disk: hdd}",
         "", true, true},
        {"not required", REQUIRES("{matchExpressions: [{key: disk, operator: Exists}]}"), "", "", false,
         false},
        {"by name", REQUIRES("{matchFields: [{key: metadata.name, operator: In, values: [n1]}]}"), "", "",
         true, true},
        {"named", "nodeName: n1,", "", "", true, true},
        {"another named", "nodeName: n2,", "", "", false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct daemon_needs needs;
        add_set_with(w, "i1", cases[i].pod_spec, ONE_AT_A_TIME, "");
        const struct object *node = add_node(w, "n1", cases[i].labels, cases[i].spec);
        daemon_needs_read(&a, world_get(w, RES_DAEMONSETS, "x", "log"), &needs);
        struct fit fit = daemon_fit(&needs, node);
        if (fit.run != cases[i].run || fit.stay != cases[i].stay)
            fail_msg("%s: run %d stay %d", cases[i].what, fit.run, fit.stay);
        world_free(w);
    }
}

struct manage_case {
    const char *what, *node_spec;
    const char *pods; /* on n1: states; with a dot before it: being deleted */
    const char *want;
};

static void keeps_one_pod_a_node(void **state)
{
    static const struct manage_case cases[] = {
        {"there", "", "R", ""},
        {"not yet bound", "", "p", ""},
        {"the oldest stays", "", "RR", "-p2"},
        {"failed", "", "F", "-p1"},
        {"ended", "", "S", "-p1"},
        {"being deleted: wait", "", ".R", ""},
        {"being deleted and over: not in the way", "", ".F", "+n1"},
        {"no longer fits, may stay", TAINT("mine", "NoSchedule"), "R", ""},
        {"no longer fits, must go", TAINT("mine", "NoExecute"), "R", "-p1"},
        {"does not fit", TAINT("mine", "NoSchedule"), "", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        add_set(w, "i1");
        add_node(w, "n1", "", cases[i].node_spec);
        const char *hash = make_revision(w);
        int n = 0;
        for (const char *p = cases[i].pods; *p; p++) {
            char name[3] = {'p', (char)('1' + n++), 0};
            bool going = *p == '.';
            p += going;
            add_pod(w, name, "n1", hash, *p, going ? "deletionTimestamp: '2025-12-31T00:00:00Z'," : "");
        }
        const char *got = moves(w);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].what, got, cases[i].want);
        world_free(w);
    }
}

static void pods_wait_for_their_node_only_while_it_is_there(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1");
    add_node(w, "n1", "", "");
    make_revision(w);
    moves(w);
    world_apply(w);
    assert_string_equal(moves(w), ""); /* pinned, not bound: it counts */
    assert_int_equal(world_status(w, N_currentNumberScheduled), 1);
    world_remove(w, RES_NODES, "", "n1");
    const char *got = moves(w);
    assert_int_equal(strncmp(got, "-log-", 5), 0); /* nobody else would ever see to it */
    world_free(w);
}

static void failed_pods_are_made_anew_slower_and_slower(void **state)
{
    struct world *w = world_new();
    struct wall start = world_now;
    add_set(w, "i1");
    add_node(w, "n1", "", "");
    const char *hash = make_revision(w);
    add_pod(w, "p1", "n1", hash, 'F', "");
    assert_non_null(strstr(
        run(w), "event Warning FailedDaemonPod Found failed daemon pod x/p1 on node n1, will try to kill "
                "it\ndelete pods x/p1\n"));
    add_pod(w, "p1", "n1", hash, 'F', "");
    const char *got = run(w);
    assert_null(strstr(got, "delete"));
    assert_non_null(strstr(got, "again 1s\n"));
    world_now.ns += SECONDS(1);
    assert_non_null(strstr(run(w), "delete pods x/p1\n"));
    assert_non_null(strstr(run(w), "again 2s\n"));
    world_now.ns += SECONDS(3600); /* long ago: forgotten */
    assert_non_null(strstr(run(w), "delete pods x/p1\n"));
    assert_non_null(strstr(run(w), "again 1s\n"));
    world_now = start;
    add_pod(w, "p1", "n1", hash, 'S', "");
    assert_non_null(strstr(
        run(w), "event Normal SucceededDaemonPod Found succeeded daemon pod x/p1 on node n1, will try to "
                "delete it\n"));
    world_free(w);
}

static void refuses_to_select_all(void **state)
{
    struct world *w = world_new();
    world_add(w, RES_DAEMONSETS, "{metadata: {namespace: x, name: log, uid: u-log}, spec: {selector: {}}}");
    assert_string_equal(
        run(w), "event Warning SelectingAll This daemon set is selecting all pods. A non-empty selector is "
                "required.\n");
    world_free(w);
}

/* ---- updates ----------------------------------------------------------------------------------------- */

struct update_case {
    const char *what, *spec;
    const char
        *nodes; /* a word a node: o old, n new; capital: available, small: not; x: old and going; -: none */
    const char *want; /* pods are named by node and place: "1a" */
};

static void updates_as_the_strategy_says(void **state)
{
    static const struct update_case cases[] = {
        {"one after another", ONE_AT_A_TIME, "O O O", "-p1a"},
        {"not while a new one is not up", ONE_AT_A_TIME, "n O O", ""},
        {"the next when it is", ONE_AT_A_TIME, "N O O", "-p2a"},
        {"not while one goes", ONE_AT_A_TIME, "x O O", ""},
        {"a broken old one at once", ONE_AT_A_TIME, "O o o", "-p2a -p3a"},
        {"two", ROLLING("maxUnavailable: 2, maxSurge: 0"), "O O O", "-p1a -p2a"},
        {"percent, rounded up", ROLLING("maxUnavailable: '40%', maxSurge: 0"), "O O O", "-p1a -p2a"},
        {"on delete", "updateStrategy: {type: OnDelete}", "O O", ""},
        {"what is missing is made of the new", ONE_AT_A_TIME, "- O O", "+n1"},
        {"surge: the new one first", ROLLING("maxUnavailable: 0, maxSurge: 1"), "O O O", "+n1"},
        {"surge: wait for it", ROLLING("maxUnavailable: 0, maxSurge: 1"), "On O O", ""},
        {"surge: then the old one goes", ROLLING("maxUnavailable: 0, maxSurge: 1"), "ON O O", "-p1a"},
        {"surge: and the next comes", ROLLING("maxUnavailable: 0, maxSurge: 1"), "N O O", "+n2"},
        {"surge: two at a time", ROLLING("maxUnavailable: 0, maxSurge: 2"), "O O O", "+n1 +n2"},
        {"surge: a broken old one is replaced at once", ROLLING("maxUnavailable: 0, maxSurge: 1"), "O o o",
         "+n2 +n3 +n1"},
        {"surge: the old one broke meanwhile", ROLLING("maxUnavailable: 0, maxSurge: 1"), "on O O", "-p1a"},
        {"surge: three on a node", ROLLING("maxUnavailable: 0, maxSurge: 1"), "OOn O", "-p1b"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *w = world_new();
        add_set_with(w, "i1", "", cases[i].spec, "");
        const char *old = make_revision(w);
        add_set_with(w, "i2", "", cases[i].spec, "");
        const char *new_ = make_revision(w);
        int node = 1, place = 0;
        add_node(w, "n1", "", "");
        for (const char *p = cases[i].nodes; *p; p++) {
            char name[8], at[4];
            if (*p == ' ') {
                place = 0;
                snprintf(at, sizeof(at), "n%d", ++node);
                add_node(w, at, "", "");
                continue;
            }
            snprintf(at, sizeof(at), "n%d", node);
            snprintf(name, sizeof(name), "p%d%c", node, 'a' + place++);
            if (*p != '-')
                add_pod(w, name, at, *p == 'n' || *p == 'N' ? new_ : old,
                        *p == 'O' || *p == 'N' || *p == 'x' ? 'R' : 'r',
                        *p == 'x' ? "deletionTimestamp: '2025-12-31T00:00:00Z'," : "");
        }
        const char *got = moves(w);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].what, got, cases[i].want);
        world_free(w);
    }
}

static void counts_what_there_is(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1");
    const char *old = make_revision(w);
    add_set_with(w, "i2", "", ONE_AT_A_TIME ", minReadySeconds: 86400", "");
    const char *new_ = make_revision(w);
    add_node(w, "n1", "", "");
    add_node(w, "n2", "", "");
    add_node(w, "n3", "", "");
    add_node(w, "n4", "", TAINT("mine", "NoSchedule"));
    add_pod(w, "p1", "n1", new_, 'R', "");
    add_pod(w, "p2", "n2", old, 'r', "");
    add_pod(w, "p4", "n4", old, 'R', "");
    const char *got = run(w);
    assert_non_null(
        strstr(got, "{\"currentNumberScheduled\":2,\"numberMisscheduled\":1,\"desiredNumberScheduled\":3,"
                    "\"numberReady\":1,\"observedGeneration\":1,\"updatedNumberScheduled\":1,"
                    "\"numberUnavailable\":3}"));
    assert_non_null(strstr(got, "again 12h0m0s\n"));
    world_free(w);
}

/* ---- history ----------------------------------------------------------------------------------------- */

static void a_rollback_takes_the_old_revision_again(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1");
    const char *old = make_revision(w);
    add_set(w, "i2");
    make_revision(w);
    add_set(w, "i1");
    add_node(w, "n1", "", "");
    run(w);
    const struct write *x = world_write(w, 0);
    assert_int_equal(x->verb, WRITE_UPDATE);
    assert_int_equal(val_int(val_get(x->body, N_revision), 0), 3);
    assert_str(obj_label(world_write(w, 1)->body, STR("controller-revision-hash")), old);
    world_free(w);
}

static void doubles_become_one(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1");
    const char *hash = make_revision(w);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char *name = arena_printf(&a, "log-%s", hash).p ? arena_cstr(&a, arena_printf(&a, "log-%s", hash)) : NULL;
    const struct object *there = world_get(w, RES_CONTROLLERREVISIONS, "x", name);
    struct val *v = val_copy(&a, there->val);
    val_set_str(&a, val_mut(v, N_metadata), N_name, STR("log-double"));
    val_set_str(&a, val_mut(v, N_metadata), N_uid, STR("u-double"));
    val_put_str(&a, val_mut(val_mut(v, N_metadata), N_labels), STR("controller-revision-hash"),
                STR("double"));
    val_set_int(&a, v, N_revision, 2);
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, there->res->type, v, 0);
    world_add(w, RES_CONTROLLERREVISIONS, b.p);
    add_pod(w, "p1", "n1", hash, 'R', "");
    const char *got = run(w);
    assert_non_null(strstr(
        got, "patch pods x/p1 {\"metadata\":{\"labels\":{\"controller-revision-hash\":\"double\"}}}\n"));
    assert_non_null(strstr(got, "delete controllerrevisions x/log-"));
    assert_null(strstr(got, "log-double"));
    world_free(w);
}

static void keeps_as_many_revisions_as_wanted(void **state)
{
    struct world *w = world_new();
    char image[2] = "a";
    for (; image[0] < 'f'; image[0]++) {
        add_set_with(w, image, "", ONE_AT_A_TIME ", revisionHistoryLimit: 2", "");
        make_revision(w);
    }
    const struct write *x;
    size_t deleted = 0;
    run(w);
    for (size_t i = 0; (x = world_write(w, i)); i++)
        deleted += x->verb == WRITE_DELETE && x->res == &resources[RES_CONTROLLERREVISIONS];
    assert_int_equal(deleted, 2); /* of a to e */
    world_free(w);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static void nodes_that_come_change_and_go_are_seen(void **state)
{
    struct world *w = world_new();
    const struct controller *c = &daemonset_controller;
    add_set_with(w, "i1", "nodeSelector: {disk: ssd},", ONE_AT_A_TIME, "");
    struct object *bare = object_relaxed(RES_NODES, "{metadata: {name: n1}}");
    struct object *busy = object_relaxed(RES_NODES, "{metadata: {name: n1}, status: {phase: x}}");
    struct object *fits = object_relaxed(RES_NODES, "{metadata: {name: n1, labels: {disk: ssd}}}");
    assert_string_equal(world_keys(w, c, NULL, bare), "");
    assert_string_equal(world_keys(w, c, NULL, fits), "x/log");
    assert_string_equal(world_keys(w, c, bare, fits), "x/log");
    assert_string_equal(world_keys(w, c, fits, bare), ""); /* there is no pod to be taken away */
    assert_string_equal(world_keys(w, c, bare, busy), "");
    assert_string_equal(world_keys(w, c, fits, NULL), "x/log");
    add_pod(w, "p1", "n1", "h", 'R', "");
    assert_string_equal(world_keys(w, c, fits, bare), "x/log");
    assert_string_equal(world_keys(w, c, bare, fits), ""); /* it has what it needs */
    object_unref(bare);
    object_unref(busy);
    object_unref(fits);
    world_free(w);
}

static void pods_that_stay_the_same_are_not(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1");
    add_pod(w, "p1", "n1", "h", 'R', "");
    struct object *a CLEANUP_OBJECT = object_ref(world_get(w, RES_PODS, "x", "p1"));
    add_pod(w, "p1", "n1", "h", 'R', "annotations: {more: things},");
    struct object *b CLEANUP_OBJECT = object_ref(world_get(w, RES_PODS, "x", "p1"));
    add_pod(w, "p1", "n1", "h", 'r', "");
    struct object *d CLEANUP_OBJECT = object_ref(world_get(w, RES_PODS, "x", "p1"));
    assert_string_equal(world_keys(w, &daemonset_controller, a, b), "");
    assert_string_equal(world_keys(w, &daemonset_controller, b, d), "x/log");
    assert_string_equal(world_keys(w, &daemonset_controller, d, NULL), "x/log");
    world_free(w);
}

static void a_refusal_still_tells_the_status(void **state)
{
    struct world *w = world_new();
    add_set(w, "i1");
    add_node(w, "n1", "", "");
    make_revision(w);
    run(w);
    const char *got = world_refuse(w, &daemonset_controller, "x/log", 0, 403, "exceeded quota");
    assert_int_equal(strncmp(got, "status daemonsets x/log {", 25), 0);
    assert_null(strstr(got, "create"));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_a_pod_for_each_node),
        cmocka_unit_test(what_shares_the_nodes_network_needs_none),
        cmocka_unit_test(finds_the_nodes_that_fit),
        cmocka_unit_test(keeps_one_pod_a_node),
        cmocka_unit_test(pods_wait_for_their_node_only_while_it_is_there),
        cmocka_unit_test(failed_pods_are_made_anew_slower_and_slower),
        cmocka_unit_test(refuses_to_select_all),
        cmocka_unit_test(updates_as_the_strategy_says),
        cmocka_unit_test(counts_what_there_is),
        cmocka_unit_test(a_rollback_takes_the_old_revision_again),
        cmocka_unit_test(doubles_become_one),
        cmocka_unit_test(keeps_as_many_revisions_as_wanted),
        cmocka_unit_test(nodes_that_come_change_and_go_are_seen),
        cmocka_unit_test(pods_that_stay_the_same_are_not),
        cmocka_unit_test(a_refusal_still_tells_the_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
