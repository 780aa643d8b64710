/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/job.h"
#include "controllers/util.h"

#include <stdio.h>

#include "testing.h"
#include "type/meta.h"
#include "world.h"

/* The time is 2026-01-01T00:00:00Z. */
#define NOW "2026-01-01T00:00:00Z"
#define AGO_5S "2025-12-31T23:59:55Z"
#define AGO_1M "2025-12-31T23:59:00Z"
#define STARTED "startTime: '2025-12-31T23:00:00Z', ready: 0, terminating: 0"
#define JSON_STARTED "\"startTime\":\"2025-12-31T23:00:00Z\""
#define OWNED "ownerReferences: [{apiVersion: batch/v1, kind: Job, name: j, uid: u-j, controller: true}]"
#define TRACKED OWNED ", finalizers: [batch.kubernetes.io/job-tracking]"
#define INDEX(n) TRACKED ", annotations: {batch.kubernetes.io/job-completion-index: '" #n "'}"
#define GOING ", deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 0"
#define RUNNING "status: {phase: Running}"
#define READY "status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}"
#define SUCCEEDED "status: {phase: Succeeded, containerStatuses: [{name: c, state: {terminated: {exitCode: 0, finishedAt: '" AGO_1M "'}}}]}"
#define FAILED_AT(t, code)                                                                                   \
    "status: {phase: Failed, containerStatuses: [{name: c, state: {terminated: {exitCode: " #code            \
    ", finishedAt: '" t "'}}}]}"
#define FAILED FAILED_AT(AGO_1M, 1)
#define UNTRACK(name)                                                                                        \
    "patch pods x/" name " {\"metadata\":{\"uid\":\"u-" name "\",\"$deleteFromPrimitiveList/finalizers\":[" \
    "\"batch.kubernetes.io/job-tracking\"]}}\n"
/* of a pod that is let go: only as it is */
#define LET_GO(name, revision)                                                                               \
    "patch pods x/" name " {\"metadata\":{\"uid\":\"u-" name "\",\"resourceVersion\":\"" revision                  \
    "\",\"$deleteFromPrimitiveList/finalizers\":[\"batch.kubernetes.io/job-tracking\"]}}\n"
#define CREATE "create pods x/\n"
#define COND(type, status, reason, message)                                                                  \
    "{\"type\":\"" type "\",\"status\":\"" status "\",\"lastProbeTime\":\"" NOW "\",\"lastTransitionTime\":\"" NOW \
    "\",\"reason\":\"" reason "\",\"message\":\"" message "\"}"

static struct world *w;

/* spec: parallelism, completions and the like; each ends with a comma. */
static void job_with(const char *meta, const char *spec, const char *status)
{
    world_addf(w, RES_JOBS,
               "{metadata: {namespace: x, name: j, uid: u-j, %s}, spec: {%s selector: {matchLabels: {app: j}}, template: {"
               "metadata: {labels: {app: j}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}, "
               "status: {%s}}",
               meta, spec, status);
}

static void job(const char *spec, const char *status)
{
    job_with("", spec, status);
}

static void pod(const char *name, const char *meta, const char *status)
{
    world_addf(w, RES_PODS,
               "{metadata: {namespace: x, name: %s, labels: {app: j}, creationTimestamp: '2025-12-31T23:00:00Z', %s}, %s}",
               name, meta, status);
}

static const char *sync(void)
{
    return world_reconcile(w, &job_controller, "x/j");
}

#define SPEC(parallelism, completions, limit)                                                                \
    "parallelism: " #parallelism ", completions: " #completions ", backoffLimit: " #limit ", "
#define INDEXED(parallelism, completions) SPEC(parallelism, completions, 6) "completionMode: Indexed, "

static int setup(void **state)
{
    w = world_new();
    return 0;
}

static int teardown(void **state)
{
    world_free(w);
    return 0;
}

/* ---- making pods ------------------------------------------------------------------------------------- */

static void starts_with_its_pods(void **state)
{
    job(SPEC(2, 5, 6), "");
    assert_string_equal(sync(), CREATE CREATE "status jobs x/j {\"startTime\":\"" NOW "\",\"active\":2,\"terminating\":0,"
                                              "\"uncountedTerminatedPods\":{},\"ready\":0}\n");
    const struct val *made = world_write(w, 0)->body;
    assert_str(val_str(val_at(made, N_metadata, N_generateName)), "j-");
    assert_str(obj_label(made, STR("app")), "j");
    assert_true(obj_has_finalizer(made, STR(JOB_FINALIZER)));
    assert_true(obj_controlled_by(made, STR("u-j")));
    assert_null(val_at(made, N_spec, N_hostname));
}

static void makes_no_more_than_are_missing(void **state)
{
    job(SPEC(5, 3, 6), STARTED ", succeeded: 1, active: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, READY);
    assert_string_equal(sync(), CREATE "status jobs x/j {" JSON_STARTED ",\"active\":2,\"succeeded\":1,\"terminating\":0,"
                                       "\"uncountedTerminatedPods\":{},\"ready\":1}\n");
}

static void leaves_alone_what_is_right(void **state)
{
    job(SPEC(1, 1, 6), STARTED ", active: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, RUNNING);
    assert_string_equal(sync(), "");
    assert_string_equal(world_reconcile(w, &job_controller, "x/gone"), "");
}

static void a_work_queue_starts_nothing_after_a_success(void **state)
{
    job("parallelism: 3, backoffLimit: 6, ", STARTED ", succeeded: 1, active: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, RUNNING);
    assert_string_equal(sync(), "");
}

static void a_work_queue_ends_with_its_last_pod(void **state)
{
    job("parallelism: 3, backoffLimit: 6, ", STARTED ", succeeded: 1, uncountedTerminatedPods: {}");
    assert_string_equal(sync(), "status jobs x/j {\"conditions\":[" COND(
                                    "SuccessCriteriaMet", "True", "CompletionsReached",
                                    "Reached expected number of succeeded pods") "," COND(
                                    "Complete", "True", "CompletionsReached",
                                    "Reached expected number of succeeded pods") "]," JSON_STARTED
                                ",\"completionTime\":\"" NOW "\",\"succeeded\":1,\"terminating\":0,"
                                "\"uncountedTerminatedPods\":{},\"ready\":0}\nevent Normal Completed Job completed\n");
}

static void takes_away_what_is_too_much(void **state)
{
    job(SPEC(1, 5, 6), STARTED ", active: 2, uncountedTerminatedPods: {}");
    pod("a", TRACKED, READY);
    pod("b", TRACKED, "status: {phase: Pending}");
    assert_string_equal(sync(), LET_GO("b", "3") "delete pods x/b\nstatus jobs x/j {" JSON_STARTED
                                             ",\"active\":1,\"terminating\":1,\"uncountedTerminatedPods\":{},"
                                             "\"ready\":1}\n");
    assert_string_equal(world_write(w, 1)->telling->reason, "SuccessfulDelete");
}

static void indexed_pods_know_their_index(void **state)
{
    job(INDEXED(2, 4), STARTED ", completedIndexes: '0', succeeded: 1, uncountedTerminatedPods: {}");
    pod("a", INDEX(2), RUNNING);
    assert_string_equal(sync(), CREATE "status jobs x/j {" JSON_STARTED ",\"active\":2,\"succeeded\":1,\"terminating\":0,"
                                       "\"completedIndexes\":\"0\",\"uncountedTerminatedPods\":{},\"ready\":0}\n");
    const struct val *made = world_write(w, 0)->body;
    assert_str(val_str(val_at(made, N_metadata, N_generateName)), "j-1-");
    assert_str(val_str(val_at(made, N_spec, N_hostname)), "j-1");
    assert_str(obj_label(made, STR(JOB_INDEX)), "1");
    assert_str(obj_annotation(made, STR(JOB_INDEX)), "1");
    assert_null(val_key(val_at(made, N_metadata, N_annotations), STR("batch.kubernetes.io/job-index-failure-count")));
    const struct val *env = val_item(val_get(val_item(val_at(made, N_spec, N_containers), 0), N_env), 0);
    assert_str(val_getstr(env, N_name), "JOB_COMPLETION_INDEX");
    assert_str(val_str(val_at(env, N_valueFrom, N_fieldRef, N_fieldPath)),
               "metadata.labels['batch.kubernetes.io/job-completion-index']");
}

static void one_pod_for_an_index(void **state)
{
    job(INDEXED(3, 3), STARTED ", active: 4, uncountedTerminatedPods: {}");
    pod("a", INDEX(0), READY);
    pod("b", INDEX(0), "status: {phase: Pending}");
    pod("c", INDEX(7), RUNNING);
    pod("d", TRACKED, RUNNING);
    assert_string_equal(sync(), LET_GO("d", "5") LET_GO("c", "4") LET_GO("b", "3") "delete pods x/d\ndelete pods x/c\ndelete pods x/b\n"
                                "status jobs x/j {" JSON_STARTED
                                ",\"active\":1,\"terminating\":3,\"uncountedTerminatedPods\":{},\"ready\":1}\n");
}

static void a_going_pod_is_replaced_when_it_has_gone(void **state)
{
    job(SPEC(1, 1, 6) "podReplacementPolicy: Failed, ", STARTED ", uncountedTerminatedPods: {}");
    pod("a", TRACKED GOING, RUNNING);
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED
                                ",\"terminating\":1,\"uncountedTerminatedPods\":{},\"ready\":0}\n");
}

static void a_going_pod_has_failed_otherwise(void **state)
{
    job(SPEC(1, 1, 6) "podReplacementPolicy: TerminatingOrFailed, ", STARTED ", uncountedTerminatedPods: {}");
    pod("a", TRACKED GOING, RUNNING);
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED
                                ",\"terminating\":1,\"uncountedTerminatedPods\":{\"failed\":[\"u-a\"]},"
                                "\"ready\":0}\n" UNTRACK("a") "again 10s\n");
}

static void a_going_index_is_not_started_again(void **state)
{
    job(INDEXED(2, 2) "podReplacementPolicy: Failed, ", STARTED ", uncountedTerminatedPods: {}");
    pod("a", INDEX(0) GOING, RUNNING);
    assert_string_equal(sync(), CREATE "status jobs x/j {" JSON_STARTED
                                       ",\"active\":1,\"terminating\":1,\"uncountedTerminatedPods\":{},\"ready\":0}\n");
    assert_str(obj_label(world_write(w, 0)->body, STR(JOB_INDEX)), "1");
}

static void adopts_with_a_finalizer(void **state)
{
    job(SPEC(1, 1, 6), STARTED ", uncountedTerminatedPods: {}");
    pod("a", "", SUCCEEDED);
    world_add(w, RES_PODS, "{metadata: {namespace: x, name: b, labels: {app: k}, " TRACKED "}}");
    assert_string_equal(
        sync(),
        "patch pods x/b {\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":\"u-j\"}],\"uid\":\"u-b\","
        "\"$deleteFromPrimitiveList/finalizers\":[\"batch.kubernetes.io/job-tracking\"]}}\n"
        "patch pods x/a {\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"name\":\"j\","
        "\"uid\":\"u-j\",\"controller\":true,\"blockOwnerDeletion\":true}],\"uid\":\"u-a\",\"finalizers\":["
        "\"batch.kubernetes.io/job-tracking\"]}}\n"
        "status jobs x/j {\"conditions\":[" COND("SuccessCriteriaMet", "True", "CompletionsReached",
                                                 "Reached expected number of succeeded pods") "]," JSON_STARTED
        ",\"terminating\":0,\"uncountedTerminatedPods\":{\"succeeded\":[\"u-a\"]},\"ready\":0}\n" UNTRACK("a"));
}

static void others_keep_their_jobs(void **state)
{
    job(SPEC(1, 1, 6) "managedBy: example.com/other, ", "");
    assert_string_equal(sync(), "");
    job(SPEC(1, 1, 6) "managedBy: kubernetes.io/job-controller, ", "");
    assert_memory_equal(sync(), CREATE, strlen(CREATE));
    job(SPEC(1, 1, 6) "completionMode: Sideways, ", "");
    assert_string_equal(sync(), "event Warning UnknownCompletionMode Skipped Job sync because completion mode is unknown\n");
}

static void a_job_on_its_way_out_makes_nothing(void **state)
{
    job_with("deletionTimestamp: '" NOW "', finalizers: [foregroundDeletion]", SPEC(2, 2, 6),
             STARTED ", active: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, RUNNING);
    assert_string_equal(sync(), UNTRACK("a"));
}

static void refused_pods_are_no_reason_not_to_count(void **state)
{
    job(SPEC(2, 3, 6), STARTED ", uncountedTerminatedPods: {}");
    pod("a", TRACKED, SUCCEEDED);
    assert_memory_equal(sync(), CREATE CREATE, strlen(CREATE CREATE));
    assert_string_equal(world_refuse(w, &job_controller, "x/j", 0, 403, "exceeded quota: q"),
                        "status jobs x/j {" JSON_STARTED ",\"terminating\":0,\"uncountedTerminatedPods\":{\"succeeded\":["
                        "\"u-a\"]},\"ready\":0}\n" UNTRACK("a"));
    sync();
    assert_string_equal(world_refuse(w, &job_controller, "x/j", 0, 403,
                                     "forbidden: unable to create new content in namespace x because it is being terminated"),
                        "");
}

/* ---- accounting -------------------------------------------------------------------------------------- */

static void ends_are_noted_then_counted(void **state)
{
    job(SPEC(3, 9, 6), STARTED ", active: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, SUCCEEDED);
    pod("b", TRACKED, FAILED_AT("2025-12-31T23:58:00Z", 1));
    pod("c", TRACKED, RUNNING);
    pod("d", TRACKED, RUNNING);
    pod("e", TRACKED, RUNNING);
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED ",\"active\":3,\"terminating\":0,"
                                "\"uncountedTerminatedPods\":{\"succeeded\":[\"u-a\"],\"failed\":[\"u-b\"]},"
                                "\"ready\":0}\n" UNTRACK("a") UNTRACK("b"));
    /* Between the status and the finalizers: nothing is noted twice. */
    world_apply(w);
    assert_string_equal(sync(), UNTRACK("a") UNTRACK("b"));
    pod("a", OWNED, SUCCEEDED);
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED ",\"active\":3,\"succeeded\":1,\"terminating\":0,"
                                "\"uncountedTerminatedPods\":{\"failed\":[\"u-b\"]},\"ready\":0}\n" UNTRACK("b"));
    world_apply(w);
    world_remove(w, RES_PODS, "x", "b"); /* gone is as good as without finalizer */
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED ",\"active\":3,\"succeeded\":1,\"failed\":1,"
                                "\"terminating\":0,\"uncountedTerminatedPods\":{},\"ready\":0}\n");
    world_apply(w);
    assert_string_equal(sync(), "");
}

static void an_index_is_its_own_note(void **state)
{
    job(INDEXED(3, 9), STARTED ", active: 1, completedIndexes: '0-2', succeeded: 3, uncountedTerminatedPods: {}");
    pod("a", INDEX(3), SUCCEEDED);
    pod("b", INDEX(4), RUNNING);
    pod("c", INDEX(6), SUCCEEDED);
    pod("d", INDEX(5), RUNNING);
    pod("e", INDEX(7), RUNNING);
    pod("f", INDEX(2), SUCCEEDED); /* another one of an index that is done */
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED
                                ",\"active\":3,\"succeeded\":5,\"terminating\":0,\"completedIndexes\":\"0-3,6\","
                                "\"uncountedTerminatedPods\":{},\"ready\":0}\n" UNTRACK("f") UNTRACK("a") UNTRACK("c"));
    world_apply(w);
    assert_string_equal(sync(), UNTRACK("f") UNTRACK("a") UNTRACK("c"));
}

static void not_too_many_at_once(void **state)
{
    job(SPEC(1, 2000, 6), STARTED ", active: 1, uncountedTerminatedPods: {}");
    for (int i = 0; i < 600; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%03d", i);
        pod(name, TRACKED, SUCCEEDED);
    }
    pod("z", TRACKED, RUNNING);
    sync();
    const struct val *noted = val_at(world_write(w, 0)->body, N_status, N_uncountedTerminatedPods, N_succeeded);
    assert_int_equal(val_len(noted), 500);
    assert_non_null(world_write(w, 500));
    assert_null(world_write(w, 501));
}

static void the_end_waits_for_the_last_pod(void **state)
{
    job(SPEC(2, 2, 6), STARTED ", succeeded: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, SUCCEEDED);
    pod("b", OWNED GOING, RUNNING);
    const char *met = "\"conditions\":[" COND("SuccessCriteriaMet", "True", "CompletionsReached",
                                              "Reached expected number of succeeded pods");
    char want[2000];
    snprintf(want, sizeof(want),
             "status jobs x/j {%s]," JSON_STARTED ",\"succeeded\":1,\"terminating\":1,\"uncountedTerminatedPods\":{"
             "\"succeeded\":[\"u-a\"]},\"ready\":0}\n%s",
             met, UNTRACK("a"));
    assert_string_equal(sync(), want);
    world_apply(w);
    pod("a", OWNED, SUCCEEDED);
    snprintf(want, sizeof(want),
             "status jobs x/j {%s]," JSON_STARTED ",\"succeeded\":2,\"terminating\":1,\"uncountedTerminatedPods\":{},"
             "\"ready\":0}\n",
             met);
    assert_string_equal(sync(), want);
    world_apply(w);
    world_remove(w, RES_PODS, "x", "b");
    snprintf(want, sizeof(want),
             "status jobs x/j {%s,%s]," JSON_STARTED ",\"completionTime\":\"" NOW "\",\"succeeded\":2,\"terminating\":0,"
             "\"uncountedTerminatedPods\":{},\"ready\":0}\nevent Normal Completed Job completed\n",
             met,
             COND("Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods"));
    assert_string_equal(sync(), want);
    world_apply(w);
    assert_string_equal(sync(), "");
}

static void too_many_successes_are_told(void **state)
{
    job(SPEC(1, 1, 6), STARTED ", succeeded: 2, uncountedTerminatedPods: {}");
    assert_non_null(strstr(sync(), "event Warning TooManySucceededPods Too many succeeded pods running after completion "
                                   "count reached\nevent Normal Completed Job completed\n"));
}

static void never_ends_before_its_start(void **state)
{
    job(SPEC(1, 1, 6), "startTime: '2026-01-01T01:00:00Z', ready: 0, terminating: 0, succeeded: 1, uncountedTerminatedPods: {}");
    assert_non_null(strstr(sync(), "\"completionTime\":\"2026-01-01T01:00:00Z\""));
}

/* ---- failing ----------------------------------------------------------------------------------------- */

static void gives_up_after_the_last_try(void **state)
{
    job(SPEC(2, 5, 1), STARTED ", active: 1, failed: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, FAILED);
    pod("b", TRACKED, READY);
    const char *target =
        COND("FailureTarget", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    char want[2000];
    snprintf(want, sizeof(want),
             "delete pods x/b\nstatus jobs x/j {\"conditions\":[%s]," JSON_STARTED ",\"failed\":1,\"terminating\":1,"
             "\"uncountedTerminatedPods\":{\"failed\":[\"u-a\",\"u-b\"]},\"ready\":0}\n%s",
             target, UNTRACK("a") UNTRACK("b"));
    assert_string_equal(sync(), want);
    world_apply(w);
    world_remove(w, RES_PODS, "x", "b");
    pod("a", OWNED, FAILED);
    snprintf(want, sizeof(want),
             "status jobs x/j {\"conditions\":[%s,%s]," JSON_STARTED ",\"failed\":3,\"terminating\":0,"
             "\"uncountedTerminatedPods\":{},\"ready\":0}\nevent Warning BackoffLimitExceeded Job has reached the "
             "specified backoff limit\n",
             target, COND("Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    assert_string_equal(sync(), want);
}

static void restarts_count_where_containers_are_restarted(void **state)
{
    static const struct {
        int limit, restarts;
        bool over;
    } cases[] = {{0, 0, false}, {0, 1, true}, {3, 2, false}, {3, 3, true}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        world_addf(w, RES_JOBS,
                   "{metadata: {namespace: x, name: j, uid: u-j}, spec: {parallelism: 1, completions: 1, backoffLimit: %d, "
                   "selector: {matchLabels: {app: j}}, template: {spec: {restartPolicy: OnFailure}}}, status: {" STARTED
                   ", active: 1, uncountedTerminatedPods: {}}}",
                   cases[i].limit);
        char status[200];
        snprintf(status, sizeof(status),
                 "status: {phase: Running, initContainerStatuses: [{name: i, restartCount: %d}], containerStatuses: "
                 "[{name: c, restartCount: %d}]}",
                 cases[i].restarts > 0, cases[i].restarts - (cases[i].restarts > 0));
        pod("a", TRACKED, status);
        assert_int_equal(strstr(sync(), "BackoffLimitExceeded") != NULL, cases[i].over);
    }
}

static void a_deadline_ends_it(void **state)
{
    job(SPEC(1, 1, 6) "activeDeadlineSeconds: 3601, ", STARTED ", active: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, RUNNING);
    assert_string_equal(sync(), "again 1s\n");
    job(SPEC(1, 1, 6) "activeDeadlineSeconds: 3600, ", STARTED ", active: 1, uncountedTerminatedPods: {}");
    assert_string_equal(sync(), "delete pods x/a\nstatus jobs x/j {\"conditions\":[" COND(
                                    "FailureTarget", "True", "DeadlineExceeded",
                                    "Job was active longer than specified deadline") "]," JSON_STARTED
                                ",\"terminating\":1,\"uncountedTerminatedPods\":{\"failed\":[\"u-a\"]},\"ready\":0}\n"
                                UNTRACK("a"));
}

/* Any int64 is a deadline. */
static void absurd_numbers(void **state)
{
    static const char *const seconds[] = {"9223372036854775807", "9223372037", "18446744073", "40000000000"};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
        job(arena_printf(&a, SPEC(1, 1, 6) "activeDeadlineSeconds: %s, ", seconds[i]).p,
            STARTED ", active: 1, uncountedTerminatedPods: {}");
        pod("a", TRACKED, RUNNING);
        const char *said = sync();
        if (!strncmp(said, "delete", 6) || !strstr(said, "again"))
            fail_msg("%s: %s", seconds[i], said);
    }
    struct val percent = val_of_str(STR("9223372036854775807%"));
    assert_true(intstr_scaled(&percent, INT32_MAX, true, -1) > INT32_MAX);
}

/* ---- back-off ---------------------------------------------------------------------------------------- */

static void waits_after_failures(void **state)
{
    static const struct {
        int failures;
        const char *last, *want; /* want NULL: makes a pod */
    } cases[] = {{1, "2025-12-31T23:59:59Z", "9s"}, {1, "2025-12-31T23:59:50Z", NULL},  {2, AGO_5S, "15s"},
                 {4, AGO_5S, "1m15s"},              {20, "2025-12-31T23:59:00Z", "9m0s"}, {20, "2025-12-31T23:50:00Z", NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        world_free(w);
        w = world_new();
        job(SPEC(1, 50, 90), STARTED ", uncountedTerminatedPods: {}");
        for (int k = 0; k < cases[i].failures; k++) {
            char name[8], status[200];
            snprintf(name, sizeof(name), "p%d", k);
            snprintf(status, sizeof(status), FAILED_AT("%s", 1), k ? "2025-12-31T23:40:00Z" : cases[i].last);
            pod(name, TRACKED, status);
        }
        const char *got = sync();
        char want[32] = CREATE;
        if (cases[i].want)
            snprintf(want, sizeof(want), "again %s\n", cases[i].want);
        if (!strstr(got, want) || (cases[i].want && strstr(got, CREATE)))
            fail_msg("case %zu: %s", i, got);
    }
}

static void failures_are_remembered_until_a_success(void **state)
{
    job(SPEC(1, 50, 90), STARTED ", uncountedTerminatedPods: {}");
    pod("a", TRACKED, FAILED_AT(AGO_5S, 1));
    assert_non_null(strstr(sync(), "again 5s\n"));
    assert_non_null(strstr(sync(), "again 5s\n")); /* its status was not written: not counted twice */
    world_apply(w);
    world_remove(w, RES_PODS, "x", "a");
    assert_non_null(strstr(sync(), "again 5s\n"));
    world_apply(w);
    pod("b", TRACKED, FAILED_AT(AGO_5S, 1));
    assert_non_null(strstr(sync(), "again 15s\n"));
    world_apply(w);
    pod("b", OWNED, FAILED_AT(AGO_5S, 1));
    pod("c", TRACKED, "status: {phase: Succeeded, containerStatuses: [{name: c, state: {terminated: {exitCode: 0, "
                      "finishedAt: '" NOW "'}}}]}");
    assert_non_null(strstr(sync(), CREATE));
    world_apply(w);
    pod("c", OWNED, SUCCEEDED);
    world_remove(w, RES_PODS, "x", "j-1");
    pod("d", TRACKED, FAILED_AT(AGO_5S, 1));
    assert_non_null(strstr(sync(), "again 5s\n")); /* from the start again */
}

static void a_new_controller_learns_from_pods(void **state)
{
    job(SPEC(1, 50, 90), STARTED ", failed: 2, succeeded: 1, uncountedTerminatedPods: {}");
    pod("a", OWNED, SUCCEEDED);
    pod("b", OWNED, FAILED_AT("2025-12-31T23:58:00Z", 1)); /* before the success */
    pod("c", OWNED, FAILED_AT(AGO_5S, 1));
    assert_string_equal(sync(), "again 5s\n");
}

static void clocks_that_are_wrong_do_not_stop_it(void **state)
{
    struct wall then = world_now;
    job(SPEC(1, 50, 90), STARTED ", uncountedTerminatedPods: {}");
    pod("a", TRACKED, FAILED_AT("2026-01-01T05:00:00Z", 1));
    assert_non_null(strstr(sync(), "again 10s\n"));
    world_apply(w);
    pod("a", OWNED, FAILED_AT("2026-01-01T05:00:00Z", 1));
    world_now.ns += SECONDS(4);
    assert_non_null(strstr(sync(), "again 6s\n"));
    world_now.ns -= SECONDS(3600);
    assert_non_null(strstr(sync(), "again 10s\n"));
    world_now.ns += SECONDS(10);
    assert_non_null(strstr(sync(), CREATE));
    world_now = then;
}

static void nor_an_index(void **state)
{
    struct wall then = world_now;
    job(INDEXED(1, 1) "backoffLimitPerIndex: 3, ", STARTED ", failedIndexes: '', uncountedTerminatedPods: {}");
    pod("a", TRACKED ", annotations: {batch.kubernetes.io/job-completion-index: '0'}", FAILED_AT("2026-01-01T05:00:00Z", 1));
    assert_non_null(strstr(sync(), "again 10s\n"));
    world_now.ns += SECONDS(4);
    assert_non_null(strstr(sync(), "again 6s\n"));
    world_now.ns += SECONDS(6);
    assert_non_null(strstr(sync(), CREATE));
    world_now = then;
}

static void a_new_job_of_the_name_starts_anew(void **state)
{
    job(SPEC(1, 50, 90), STARTED ", uncountedTerminatedPods: {}");
    pod("a", TRACKED, FAILED_AT(AGO_5S, 1));
    assert_non_null(strstr(sync(), "again"));
    world_remove(w, RES_PODS, "x", "a");
    world_addf(w, RES_JOBS, "{metadata: {namespace: x, name: j, uid: u-other}, spec: {parallelism: 1, completions: 1, "
                            "selector: {matchLabels: {app: j}}, template: {}}}");
    assert_memory_equal(sync(), CREATE, strlen(CREATE));
}

/* ---- indexes that fail ------------------------------------------------------------------------------- */

#define PER_INDEX(limit) INDEXED(2, 2) "backoffLimitPerIndex: " #limit ", "
#define PER_INDEX_STARTED STARTED ", failedIndexes: '', uncountedTerminatedPods: {}"
#define FAILURES(n, count)                                                                                   \
    TRACKED ", annotations: {batch.kubernetes.io/job-completion-index: '" #n                                 \
            "', batch.kubernetes.io/job-index-failure-count: '" #count "'}"

static void an_index_has_a_history_of_its_own(void **state)
{
    job(PER_INDEX(3), PER_INDEX_STARTED);
    pod("a", FAILURES(0, 1), FAILED_AT(AGO_5S, 1));
    pod("b", FAILURES(1, 0), RUNNING);
    /* The failed pod keeps its finalizer until another has taken over its count. */
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED
                                ",\"active\":1,\"terminating\":0,\"failedIndexes\":\"\",\"uncountedTerminatedPods\":{},"
                                "\"ready\":0}\nagain 15s\n");
    pod("a", FAILURES(0, 1), FAILED_AT(AGO_1M, 1));
    assert_memory_equal(sync(), CREATE, strlen(CREATE));
    const struct val *made = world_write(w, 0)->body;
    assert_str(obj_annotation(made, STR("batch.kubernetes.io/job-index-failure-count")), "2");
    assert_str(obj_annotation(made, STR(JOB_INDEX)), "0");
    pod("c", FAILURES(0, 2), RUNNING);
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED
                                ",\"active\":2,\"terminating\":0,\"failedIndexes\":\"\",\"uncountedTerminatedPods\":{"
                                "\"failed\":[\"u-a\"]},\"ready\":0}\n" UNTRACK("a"));
}

static void an_index_fails(void **state)
{
    job(PER_INDEX(1), PER_INDEX_STARTED);
    pod("a", FAILURES(0, 1), FAILED);
    pod("b", FAILURES(1, 0), RUNNING);
    assert_string_equal(sync(), "status jobs x/j {" JSON_STARTED
                                ",\"active\":1,\"terminating\":0,\"failedIndexes\":\"0\",\"uncountedTerminatedPods\":{"
                                "\"failed\":[\"u-a\"]},\"ready\":0}\n" UNTRACK("a"));
    world_apply(w);
    pod("a", OWNED, FAILED);
    pod("b", FAILURES(1, 0), SUCCEEDED);
    assert_string_equal(sync(), "status jobs x/j {\"conditions\":[" COND("FailureTarget", "True", "FailedIndexes",
                                                                        "Job has failed indexes") "]," JSON_STARTED
                                ",\"succeeded\":1,\"failed\":1,\"terminating\":0,\"completedIndexes\":\"1\","
                                "\"failedIndexes\":\"0\",\"uncountedTerminatedPods\":{},\"ready\":0}\n" UNTRACK("b"));
}

static void too_many_indexes_fail(void **state)
{
    job(INDEXED(2, 9) "backoffLimitPerIndex: 0, maxFailedIndexes: 1, ", PER_INDEX_STARTED);
    pod("a", FAILURES(0, 0), FAILED);
    pod("b", FAILURES(3, 0), FAILED);
    const char *got = sync();
    assert_non_null(strstr(got, "\"MaxFailedIndexesExceeded\""));
    assert_non_null(strstr(got, "\"failedIndexes\":\"0,3\""));
}

/* ---- failure policy ---------------------------------------------------------------------------------- */

#define RULES(x) "podReplacementPolicy: Failed, podFailurePolicy: {rules: [" x "]}, "
#define ON_CODES(action, op, values) "{action: " action ", onExitCodes: {operator: " op ", values: [" values "]}}"
#define ON_DISRUPTION(action) "{action: " action ", onPodConditions: [{type: DisruptionTarget, status: 'True'}]}"

static void a_failure_may_fail_the_job(void **state)
{
    job(SPEC(2, 2, 6) RULES(ON_DISRUPTION("Ignore") "," ON_CODES("FailJob", "In", "42")), STARTED ", uncountedTerminatedPods: {}");
    pod("a", TRACKED, FAILED_AT(AGO_1M, 42));
    pod("b", TRACKED, RUNNING);
    assert_string_equal(sync(), "delete pods x/b\nstatus jobs x/j {\"conditions\":[" COND(
                                    "FailureTarget", "True", "PodFailurePolicy",
                                    "Container c for pod x/a failed with exit code 42 matching FailJob rule at index 1")
                                "]," JSON_STARTED ",\"terminating\":1,\"uncountedTerminatedPods\":{\"failed\":[\"u-a\","
                                "\"u-b\"]},\"ready\":0}\n" UNTRACK("a") UNTRACK("b"));
}

static void failures_match_policies(void **state)
{
    static const struct {
        const char *rules, *status;
        enum failure_action want;
    } cases[] = {
        {ON_CODES("Count", "In", "1,2"), FAILED_AT(AGO_1M, 2), FAILURE_COUNT},
        {ON_CODES("Ignore", "In", "1,2"), FAILED_AT(AGO_1M, 3), FAILURE_UNMATCHED},
        {ON_CODES("Ignore", "NotIn", "1,2"), FAILED_AT(AGO_1M, 3), FAILURE_IGNORE},
        {ON_CODES("Ignore", "NotIn", "1,2"), FAILED_AT(AGO_1M, 2), FAILURE_UNMATCHED},
        {ON_CODES("Ignore", "NotIn", "1,2"), FAILED_AT(AGO_1M, 0), FAILURE_UNMATCHED}, /* zero is no failure */
        {"{action: Ignore, onExitCodes: {containerName: other, operator: In, values: [1]}}", FAILED, FAILURE_UNMATCHED},
        {"{action: Ignore, onExitCodes: {containerName: c, operator: In, values: [1]}}", FAILED, FAILURE_IGNORE},
        {ON_CODES("FailIndex", "In", "5"),
         "status: {phase: Failed, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 5}}}], "
         "containerStatuses: [{name: c, state: {waiting: {}}}]}",
         FAILURE_INDEX},
        {ON_DISRUPTION("FailJob"), "status: {phase: Failed, conditions: [{type: DisruptionTarget, status: 'True'}]}",
         FAILURE_JOB},
        {ON_DISRUPTION("FailJob"), "status: {phase: Failed, conditions: [{type: DisruptionTarget, status: 'False'}]}",
         FAILURE_UNMATCHED},
        {ON_CODES("Count", "In", "1") "," ON_CODES("Ignore", "In", "1"), FAILED, FAILURE_COUNT}, /* the first */
    };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char spec[500];
        snprintf(spec, sizeof(spec), "podFailurePolicy: {rules: [%s]}, ", cases[i].rules);
        job(spec, "");
        pod("a", TRACKED, cases[i].status);
        const struct val *policy = val_at(world_get(w, RES_JOBS, "x", "j")->val, N_spec, N_podFailurePolicy);
        struct str message = STR_NULL;
        if (failure_policy(&a, policy, world_get(w, RES_PODS, "x", "a")->val, &message) != cases[i].want)
            fail_msg("case %zu", i);
        if (cases[i].want == FAILURE_JOB)
            assert_str(message, "Pod x/a has condition DisruptionTarget matching FailJob rule at index 0");
    }
}

static void an_ignored_failure_does_not_count(void **state)
{
    job(SPEC(1, 1, 0) RULES(ON_DISRUPTION("Ignore")), STARTED ", uncountedTerminatedPods: {}");
    pod("a", TRACKED,
        "status: {phase: Failed, conditions: [{type: DisruptionTarget, status: 'True'}, {type: Ready, status: 'False', "
        "lastTransitionTime: '" AGO_1M "'}]}");
    assert_string_equal(sync(), CREATE "status jobs x/j {" JSON_STARTED
                                       ",\"active\":1,\"terminating\":0,\"uncountedTerminatedPods\":{},\"ready\":0}\n" UNTRACK("a"));
}

static void an_ignored_failure_of_an_index_is_kept_apart(void **state)
{
    job(PER_INDEX(1) RULES(ON_DISRUPTION("Ignore") "," ON_CODES("FailIndex", "In", "9")), PER_INDEX_STARTED);
    pod("a", FAILURES(0, 1),
        "status: {phase: Failed, conditions: [{type: DisruptionTarget, status: 'True'}, {type: Ready, status: 'False', "
        "lastTransitionTime: '" AGO_1M "'}]}");
    pod("b", FAILURES(1, 0), FAILED_AT(AGO_1M, 9));
    const char *got = sync();
    assert_memory_equal(got, CREATE, strlen(CREATE));
    assert_non_null(strstr(got, "\"failedIndexes\":\"1\""));
    const struct val *made = world_write(w, 0)->body;
    assert_str(obj_annotation(made, STR("batch.kubernetes.io/job-index-failure-count")), "1");
    assert_str(obj_annotation(made, STR("batch.kubernetes.io/job-index-ignored-failure-count")), "1");
}

/* ---- success policy ---------------------------------------------------------------------------------- */

static void some_indexes_may_be_enough(void **state)
{
    static const struct {
        const char *rules, *done;
        const char *want; /* NULL: not yet */
    } cases[] = {
        {"{succeededIndexes: '0,2-3', succeededCount: 2}", "0,3", "Matched rules at index 0"},
        {"{succeededIndexes: '0,2-3', succeededCount: 2}", "0-1", NULL},
        {"{succeededIndexes: '0,2-3'}", "0,2-4", "Matched rules at index 0"},
        {"{succeededIndexes: '0,2-3'}", "0,2", NULL},
        {"{succeededCount: 3}", "0,2,4", "Matched rules at index 0"},
        {"{succeededCount: 4}, {succeededIndexes: '4'}", "0,2,4", "Matched rules at index 1"},
        {"{succeededCount: 0}", "", NULL},
    };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char spec[300];
        snprintf(spec, sizeof(spec), "successPolicy: {rules: [%s]}, ", cases[i].rules);
        job(spec, "");
        const struct val *policy = val_at(world_get(w, RES_JOBS, "x", "j")->val, N_spec, N_successPolicy);
        struct str got = success_policy(&a, policy, 5, spans_parse(&a, str_of(cases[i].done), 5));
        if (!str_eq(got, str_of(cases[i].want)))
            fail_msg("case %zu: " STR_FMT, i, STR_ARG(got));
    }
}

static void what_still_runs_then_goes(void **state)
{
    job(INDEXED(3, 3) "successPolicy: {rules: [{succeededIndexes: '0'}]}, ", STARTED ", active: 2, uncountedTerminatedPods: {}");
    pod("a", INDEX(0), SUCCEEDED);
    pod("b", INDEX(1), RUNNING);
    assert_string_equal(sync(), "delete pods x/b\nstatus jobs x/j {\"conditions\":[" COND(
                                    "SuccessCriteriaMet", "True", "SuccessPolicy", "Matched rules at index 0") "]," JSON_STARTED
                                ",\"succeeded\":1,\"terminating\":1,\"completedIndexes\":\"0\","
                                "\"uncountedTerminatedPods\":{},\"ready\":0}\n" UNTRACK("a") UNTRACK("b"));
    world_apply(w);
    world_remove(w, RES_PODS, "x", "b");
    pod("a", OWNED ", annotations: {batch.kubernetes.io/job-completion-index: '0'}", SUCCEEDED);
    const char *got = sync();
    assert_non_null(strstr(got, "{\"type\":\"Complete\",\"status\":\"True\""));
    assert_non_null(strstr(got, "event Normal Completed Job completed\n"));
    assert_null(strstr(got, "\"failed\""));
}

/* ---- suspension -------------------------------------------------------------------------------------- */

static void suspended_it_has_no_pods(void **state)
{
    job(SPEC(2, 5, 6) "suspend: true, ", "");
    assert_string_equal(sync(), "status jobs x/j {\"conditions\":[" COND("Suspended", "True", "JobSuspended", "Job suspended")
                                "],\"terminating\":0,\"uncountedTerminatedPods\":{},\"ready\":0}\n"
                                "event Normal Suspended Job suspended\n");
    world_apply(w);
    assert_string_equal(sync(), "");
}

static void suspending_takes_pods_away_and_its_start(void **state)
{
    job(SPEC(2, 5, 6) "suspend: true, activeDeadlineSeconds: 1, ", STARTED ", active: 1, ready: 1, uncountedTerminatedPods: {}");
    pod("a", TRACKED, READY);
    assert_string_equal(sync(), LET_GO("a", "2") "delete pods x/a\nstatus jobs x/j {\"conditions\":[" COND(
                                    "Suspended", "True", "JobSuspended", "Job suspended")
                                "],\"terminating\":1,\"uncountedTerminatedPods\":{},\"ready\":0}\n"
                                "event Normal Suspended Job suspended\n");
}

static void resumed_it_starts_anew(void **state)
{
    job(SPEC(1, 5, 6) "suspend: false, ",
        "ready: 0, terminating: 0, uncountedTerminatedPods: {}, conditions: [{type: Suspended, status: 'True', reason: "
        "JobSuspended, message: 'Job suspended', lastTransitionTime: '" AGO_1M "', lastProbeTime: '" AGO_1M "'}]");
    assert_string_equal(sync(), CREATE "status jobs x/j {\"conditions\":[" COND("Suspended", "False", "JobResumed", "Job resumed")
                                "],\"startTime\":\"" NOW "\",\"active\":1,\"terminating\":0,\"uncountedTerminatedPods\":{},"
                                "\"ready\":0}\nevent Normal Resumed Job resumed\n");
}

/* ---- elastic jobs ------------------------------------------------------------------------------------ */

static void fewer_indexes_than_before(void **state)
{
    job(INDEXED(2, 2), STARTED ", active: 4, succeeded: 1, completedIndexes: '3', uncountedTerminatedPods: {}");
    pod("a", INDEX(0), RUNNING);
    pod("b", INDEX(1), RUNNING);
    pod("c", INDEX(2), RUNNING);
    assert_string_equal(sync(), LET_GO("c", "4") "delete pods x/c\nstatus jobs x/j {" JSON_STARTED
                                ",\"active\":2,\"terminating\":1,\"uncountedTerminatedPods\":{},\"ready\":0}\n");
}

/* ---- left-over pods ---------------------------------------------------------------------------------- */

#define KEY_OF_A "x/pods/a"

static void pods_without_a_job_are_released(void **state)
{
    pod("a", TRACKED, SUCCEEDED); /* the Job is gone */
    assert_string_equal(world_keys(w, &job_controller, NULL, world_get(w, RES_PODS, "x", "a")), KEY_OF_A);
    assert_string_equal(world_reconcile(w, &job_controller, KEY_OF_A), "check-absent jobs x/j\n" UNTRACK("a"));
    assert_str(world_write(w, 0)->uid, "u-j");
    pod("a", "finalizers: [batch.kubernetes.io/job-tracking]", SUCCEEDED); /* nobody's */
    assert_string_equal(world_reconcile(w, &job_controller, KEY_OF_A), UNTRACK("a"));
    pod("a", OWNED, SUCCEEDED); /* without finalizer */
    assert_string_equal(world_reconcile(w, &job_controller, KEY_OF_A), "");
    pod("a", "finalizers: [batch.kubernetes.io/job-tracking], ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, "
             "name: r, uid: u-r, controller: true}]",
        SUCCEEDED); /* somebody else's */
    assert_string_equal(world_reconcile(w, &job_controller, KEY_OF_A), "");
    job(SPEC(1, 1, 6), "");
    pod("a", TRACKED, SUCCEEDED); /* its Job looks after it */
    assert_string_equal(world_reconcile(w, &job_controller, KEY_OF_A), "");
    assert_string_equal(world_keys(w, &job_controller, NULL, world_get(w, RES_PODS, "x", "a")), "x/j");
    job(SPEC(1, 1, 6), "conditions: [{type: Complete, status: 'True'}]"); /* that has ended */
    assert_string_equal(world_reconcile(w, &job_controller, KEY_OF_A), UNTRACK("a"));
    job(SPEC(1, 1, 6) "managedBy: example.com/other, ", "conditions: [{type: Complete, status: 'True'}]");
    assert_string_equal(world_reconcile(w, &job_controller, KEY_OF_A), "");
}

static void a_job_that_goes_leaves_its_pods_to_be_looked_at(void **state)
{
    job(SPEC(1, 1, 6), "");
    pod("a", TRACKED, SUCCEEDED);
    pod("b", OWNED, SUCCEEDED);
    struct object *gone = object_ref(world_get(w, RES_JOBS, "x", "j"));
    assert_string_equal(world_keys(w, &job_controller, NULL, gone), "x/j");
    world_remove(w, RES_JOBS, "x", "j");
    assert_string_equal(world_keys(w, &job_controller, gone, NULL), "x/j x/pods/a");
    object_unref(gone);
}

/* ---- sets of indexes --------------------------------------------------------------------------------- */

static void sets_of_indexes(void **state)
{
    static const struct {
        const char *in, *add, *want;
        int64_t total;
    } cases[] = {{"", "", "", 0},
                 {"", "3", "3", 1},
                 {"1,3-5", "2", "1-5", 5},
                 {"1-2", "", "1,2", 2},
                 {"0,2,4", "1,3", "0-4", 5},
                 {"7-9,x,11", "10", "7-11", 5},
                 {"95-200,300", "", "95-99", 5},
                 {"5-3,-1,2", "0,0,0", "0,2", 2},
                 {"1,3", "5,9", "1,3,5,9", 4}};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t add[8];
        size_t n = 0;
        struct str rest = str_of(cases[i].add), part;
        while (rest.n && str_next(&rest, ',', &part))
            str_to_i64(part, &add[n++]);
        struct spans s = spans_with(&a, spans_parse(&a, str_of(cases[i].in), 100), add, n);
        if (!str_is(spans_text(&a, s), cases[i].want) || spans_total(s) != cases[i].total)
            fail_msg("case %zu: " STR_FMT, i, STR_ARG(spans_text(&a, s)));
    }
    struct spans s = spans_parse(&a, STR("1,3-5,9"), 100);
    static const int in[] = {1, 3, 4, 5, 9}, out[] = {0, 2, 6, 8, 10};
    for (size_t i = 0; i < 5; i++)
        assert_true(spans_has(s, in[i]) && !spans_has(s, out[i]));
    assert_int_equal(spans_common(s, spans_parse(&a, STR("0-3,5-20"), 100)), 4);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(starts_with_its_pods),
        T(makes_no_more_than_are_missing),
        T(leaves_alone_what_is_right),
        T(a_work_queue_starts_nothing_after_a_success),
        T(a_work_queue_ends_with_its_last_pod),
        T(takes_away_what_is_too_much),
        T(indexed_pods_know_their_index),
        T(one_pod_for_an_index),
        T(a_going_pod_is_replaced_when_it_has_gone),
        T(a_going_pod_has_failed_otherwise),
        T(a_going_index_is_not_started_again),
        T(adopts_with_a_finalizer),
        T(others_keep_their_jobs),
        T(a_job_on_its_way_out_makes_nothing),
        T(refused_pods_are_no_reason_not_to_count),
        T(ends_are_noted_then_counted),
        T(an_index_is_its_own_note),
        T(not_too_many_at_once),
        T(the_end_waits_for_the_last_pod),
        T(too_many_successes_are_told),
        T(never_ends_before_its_start),
        T(gives_up_after_the_last_try),
        T(restarts_count_where_containers_are_restarted),
        T(a_deadline_ends_it),
        T(absurd_numbers),
        T(waits_after_failures),
        T(failures_are_remembered_until_a_success),
        T(a_new_controller_learns_from_pods),
        T(clocks_that_are_wrong_do_not_stop_it),
        T(nor_an_index),
        T(a_new_job_of_the_name_starts_anew),
        T(an_index_has_a_history_of_its_own),
        T(an_index_fails),
        T(too_many_indexes_fail),
        T(a_failure_may_fail_the_job),
        T(failures_match_policies),
        T(an_ignored_failure_does_not_count),
        T(an_ignored_failure_of_an_index_is_kept_apart),
        T(some_indexes_may_be_enough),
        T(what_still_runs_then_goes),
        T(suspended_it_has_no_pods),
        T(suspending_takes_pods_away_and_its_start),
        T(resumed_it_starts_anew),
        T(fewer_indexes_than_before),
        T(pods_without_a_job_are_released),
        T(a_job_that_goes_leaves_its_pods_to_be_looked_at),
        T(sets_of_indexes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
