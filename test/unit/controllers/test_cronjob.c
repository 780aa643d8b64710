/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cronjob.h"

#include <stdio.h>
#include <stdlib.h>

#include "testing.h"
#include "type/meta.h"
#include "world.h"

/* The time is 2026-01-01T00:00:00Z, a Thursday; made the day before at noon. Minutes since 1970 at that time: 29453760. */
#define NOW "2026-01-01T00:00:00Z"
#define NAME_NOW "c-29453760"
#define REF(name)                                                                                            \
    "{kind: Job, namespace: x, name: " name ", uid: u-" name ", apiVersion: batch/v1, resourceVersion: '1'}"
#define JSON_REF(name, rv)                                                                                   \
    "{\"kind\":\"Job\",\"namespace\":\"x\",\"name\":\"" name "\",\"uid\":\"u-" name                          \
    "\",\"apiVersion\":\"batch/v1\",\"resourceVersion\":\"" rv "\"}"
#define LAST(t) "lastScheduleTime: '" t "'"
#define RUNNING "status: {startTime: '2025-12-31T23:00:00Z'}"
#define COMPLETE_AT(t)                                                                                       \
    "status: {startTime: '2025-12-31T23:00:00Z', completionTime: '" t "', conditions: [{type: Complete, status: 'True'}]}"
#define FAILED "status: {startTime: '2025-12-31T23:00:00Z', conditions: [{type: Failed, status: 'True'}]}"

static struct world *w;

static int setup(void **state)
{
    setenv("TZ", "UTC", 1);
    w = world_new();
    return 0;
}

static int teardown(void **state)
{
    world_free(w);
    return 0;
}

/* more: members of the spec, each with a comma at its end. */
static void cron_job(const char *schedule, const char *more, const char *status)
{
    world_addf(w, RES_CRONJOBS,
               "{metadata: {namespace: x, name: c, uid: u-c, creationTimestamp: '2025-12-31T12:00:00Z'}, spec: {%s schedule: "
               "'%s', jobTemplate: {metadata: {labels: {a: b}, annotations: {k: v}}, spec: {parallelism: 3, template: {}}}}, "
               "status: {%s}}",
               more, schedule, status);
}

static void job(const char *name, const char *annotations, const char *status)
{
    world_addf(w, RES_JOBS,
               "{metadata: {namespace: x, name: %s, annotations: {%s}, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, "
               "name: c, uid: u-c, controller: true}]}, %s}",
               name, annotations, status);
}

#define FOR(t) "batch.kubernetes.io/cronjob-scheduled-timestamp: '" t "'"

static const char *sync(void)
{
    return world_reconcile(w, &cronjob_controller, "x/c");
}

/* ---- when -------------------------------------------------------------------------------------------- */

static void makes_a_job_on_time(void **state)
{
    cron_job("0 0 * * *", "", "");
    assert_string_equal(sync(), "create jobs x/" NAME_NOW "\nstatus cronjobs x/c {\"lastScheduleTime\":\"" NOW
                                "\"}\nagain 24h0m0.1s\n");
    const struct write *x = world_write(w, 0);
    assert_str(obj_annotation(x->body, STR("batch.kubernetes.io/cronjob-scheduled-timestamp")), NOW);
    assert_str(obj_annotation(x->body, STR("k")), "v");
    assert_str(obj_label(x->body, STR("a")), "b");
    assert_true(obj_controlled_by(x->body, STR("u-c")));
    assert_int_equal(val_int(val_at(x->body, N_spec, N_parallelism), 0), 3);
    assert_int_equal(x->may_fail, 409);
    assert_string_equal(x->telling->reason, "SuccessfulCreate");
    /* The Job it sees then is its own. */
    world_apply(w);
    world_remove(w, RES_JOBS, "x", NAME_NOW);
    job(NAME_NOW, FOR(NOW), RUNNING);
    assert_non_null(strstr(sync(), "status cronjobs x/c {\"active\":[{\"kind\":\"Job\",\"namespace\":\"x\",\"name\":\"" NAME_NOW
                                   "\""));
    world_apply(w);
    assert_string_equal(sync(), "again 24h0m0.1s\n");
}

static void waits_for_its_time(void **state)
{
    cron_job("30 0 * * *", "", "");
    assert_string_equal(sync(), "again 30m0.1s\n");
    cron_job("0 0 * * *", "", LAST(NOW));
    assert_string_equal(sync(), "again 24h0m0.1s\n");
}

static void keeps_the_time_of_its_zone(void **state)
{
    static const struct {
        const char *schedule, *zone, *again; /* again NULL: now */
    } cases[] = {{"0 1 * * *", "Europe/Berlin", NULL},     {"0 0 * * *", "Europe/Berlin", "23h0m0.1s"},
                 {"30 5 * * *", "Asia/Kolkata", NULL},     {"0 19 * * *", "America/New_York", NULL},
                 {"0 20 31 12 *", "America/New_York", "1h0m0.1s"}, {"0 0 * * *", "Etc/UTC", NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char zone[64], want[64];
        snprintf(zone, sizeof(zone), "timeZone: %s, ", cases[i].zone);
        world_free(w);
        w = world_new();
        /* known before, so that it is not the change of the schedule that counts */
        cron_job(cases[i].schedule, zone, LAST("2025-12-31T23:30:00Z"));
        const char *got = sync();
        snprintf(want, sizeof(want), "again %s\n", cases[i].again);
        if (cases[i].again ? strcmp(got, want) != 0 : !strstr(got, "create jobs x/" NAME_NOW "\n"))
            fail_msg("%s in %s: %s", cases[i].schedule, cases[i].zone, got);
    }
    assert_str(obj_annotation(world_write(w, 0)->body, STR("batch.kubernetes.io/cronjob-scheduled-timestamp")), NOW);
    cron_job("30 5 * * *", "timeZone: Asia/Kolkata, ", LAST("2025-12-31T23:30:00Z"));
    world_remove(w, RES_CRONJOBS, "x", "c");
    sync();
    cron_job("30 5 * * *", "timeZone: Asia/Kolkata, ", LAST("2025-12-31T23:30:00Z"));
    sync();
    assert_str(obj_annotation(world_write(w, 0)->body, STR("batch.kubernetes.io/cronjob-scheduled-timestamp")),
               "2026-01-01T05:30:00+05:30");
}

static void the_controllers_zone_is_for_those_without(void **state)
{
    setenv("TZ", "Asia/Kolkata", 1);
    cron_job("30 5 * * *", "", "");
    assert_memory_equal(sync(), "create jobs x/" NAME_NOW "\n", 12);
    assert_str(obj_annotation(world_write(w, 0)->body, STR("batch.kubernetes.io/cronjob-scheduled-timestamp")), NOW);
    setenv("TZ", "UTC", 1);
}

static void makes_only_the_last_of_those_missed(void **state)
{
    cron_job("*/7 * * * *", "", "");
    assert_string_equal(sync(), "create jobs x/" NAME_NOW "\nstatus cronjobs x/c {\"lastScheduleTime\":\"" NOW
                                "\"}\nevent Warning TooManyMissedTimes too many missed start times. Set or decrease "
                                ".spec.startingDeadlineSeconds or check clock skew\nagain 7m0.1s\n");
    cron_job("*/7 * * * *", "startingDeadlineSeconds: 600, ", "");
    assert_string_equal(sync(), "create jobs x/" NAME_NOW "\nstatus cronjobs x/c {\"lastScheduleTime\":\"" NOW
                                "\"}\nagain 7m0.1s\n");
    world_free(w);
    w = world_new();
    cron_job("20 6-22/4 * * *", "", LAST("2025-12-30T22:20:00Z")); /* times that are not evenly apart */
    assert_memory_equal(sync(), "create jobs x/c-29453660\n", 25);
}

static void too_late_is_too_late(void **state)
{
    cron_job("50 23 * * *", "startingDeadlineSeconds: 599, ", "");
    assert_string_equal(sync(), "again 23h50m0.1s\n"); /* what is past the deadline does not even count */
    cron_job("50 23 * * *", "startingDeadlineSeconds: 601, ", "");
    assert_memory_equal(sync(), "create jobs", 11);
}

/* Any int64 is a deadline. */
static void no_deadline_is_too_long(void **state)
{
    static const char *const seconds[] = {"9223372036854775807", "9223372037", "18446744074", "40000000000"};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
        cron_job("50 23 * * *", arena_printf(&a, "startingDeadlineSeconds: %s, ", seconds[i]).p, "");
        const char *said = sync();
        if (strncmp(said, "create jobs", 11) != 0)
            fail_msg("%s: %s", seconds[i], said);
    }
}

static void a_new_schedule_does_not_make_up_for_the_past(void **state)
{
    cron_job("0 12 * * *", "", "");
    sync();
    cron_job("50 23 * * *", "", "");
    assert_string_equal(sync(), "again 23h50m0.1s\n");
    cron_job("50 23 * * *", "timeZone: Asia/Kolkata, ", ""); /* 23:50 there was 18:20 here */
    assert_string_equal(sync(), "again 18h20m0.1s\n");
}

static void every_so_often(void **state)
{
    cron_job("@every 1h30m", "", LAST("2025-12-31T22:00:00Z"));
    assert_string_equal(sync(), "create jobs x/c-29453730\nstatus cronjobs x/c {\"lastScheduleTime\":\"2025-12-31T23:30:00Z\"}\n"
                                "again 1h0m0.1s\n");
}

static void suspended_it_makes_nothing(void **state)
{
    cron_job("* * * * *", "suspend: true, ", "active: [" REF("c-1") "]");
    job("c-1", FOR("1970-01-01T00:01:00Z"), COMPLETE_AT("2025-12-31T23:30:00Z"));
    assert_string_equal(sync(), "status cronjobs x/c {\"lastScheduleTime\":\"1970-01-01T00:01:00Z\",\"lastSuccessfulTime\":"
                                "\"2025-12-31T23:30:00Z\"}\nevent Normal SawCompletedJob Saw completed job: c-1, condition: "
                                "Complete\n");
}

static void a_schedule_that_makes_no_sense_is_told(void **state)
{
    static const struct {
        const char *schedule, *more, *want;
    } cases[] = {
        {"* * *", "", "event Warning UnparseableSchedule unparseable schedule: \"* * *\" : expected exactly 5 fields, found 3: "
                      "* * *\n"},
        {"59 23 31 2 *", "", "event Warning InvalidSchedule invalid schedule: 59 23 31 2 * : time difference between two "
                             "schedules is less than 1 second\n"},
        {"* * * * *", "timeZone: Mars/Olympus, ",
         "event Warning UnknownTimeZone invalid timeZone: \"Mars/Olympus\": unknown time zone Mars/Olympus\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cron_job(cases[i].schedule, cases[i].more, "");
        assert_string_equal(sync(), cases[i].want);
    }
}

static void a_zone_in_the_schedule_still_works(void **state)
{
    cron_job("TZ=Asia/Kolkata 30 5 * * *", "", LAST("2025-12-31T23:30:00Z"));
    assert_string_equal(sync(),
                        "create jobs x/" NAME_NOW "\nstatus cronjobs x/c {\"lastScheduleTime\":\"" NOW "\"}\n"
                        "event Warning UnsupportedSchedule CRON_TZ or TZ used in schedule \"TZ=Asia/Kolkata 30 5 * * *\" is "
                        "not officially supported, see "
                        "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details\n"
                        "again 24h0m0.1s\n");
}

static void on_its_way_out_it_makes_nothing(void **state)
{
    world_add(w, RES_CRONJOBS,
              "{metadata: {namespace: x, name: c, uid: u-c, creationTimestamp: '2025-12-31T12:00:00Z', deletionTimestamp: "
              "'" NOW "'}, spec: {schedule: '* * * * *', jobTemplate: {}}}");
    assert_string_equal(sync(), "");
    assert_string_equal(world_reconcile(w, &cronjob_controller, "x/gone"), "");
}

/* ---- others running ---------------------------------------------------------------------------------- */

#define STATUS_OF_OLD "active: [" REF("c-29453750") "], " LAST("2025-12-31T23:50:00Z")
#define JSON_OLD JSON_REF("c-29453750", "1")

static void old_job(void)
{
    job("c-29453750", FOR("2025-12-31T23:50:00Z"), RUNNING);
}

static void allow_runs_beside_it(void **state)
{
    cron_job("*/10 * * * *", "concurrencyPolicy: Allow, ", STATUS_OF_OLD);
    old_job();
    assert_string_equal(sync(), "create jobs x/" NAME_NOW "\nstatus cronjobs x/c {\"active\":[" JSON_OLD
                                "],\"lastScheduleTime\":\"" NOW "\"}\nagain 10m0.1s\n");
}

static void forbid_does_not(void **state)
{
    cron_job("*/10 * * * *", "concurrencyPolicy: Forbid, ", STATUS_OF_OLD);
    old_job();
    assert_string_equal(sync(), "event Normal JobAlreadyActive Not starting job because prior execution is running and "
                                "concurrency policy is Forbid\nagain 10m0.1s\n");
}

static void replace_takes_it_away(void **state)
{
    cron_job("*/10 * * * *", "concurrencyPolicy: Replace, ", STATUS_OF_OLD);
    old_job();
    assert_string_equal(sync(), "delete jobs x/c-29453750 Background\ncreate jobs x/" NAME_NOW
                                "\nstatus cronjobs x/c {\"lastScheduleTime\":\"" NOW "\"}\nagain 10m0.1s\n");
    assert_string_equal(world_write(w, 0)->telling->reason, "SuccessfulDelete");
}

/* ---- Jobs that are there ----------------------------------------------------------------------------- */

static void a_job_made_before_a_crash_is_known_by_its_name(void **state)
{
    cron_job("*/10 * * * *", "concurrencyPolicy: Forbid, ", LAST("2025-12-31T23:50:00Z"));
    job(NAME_NOW, FOR(NOW), RUNNING);
    assert_string_equal(sync(), "status cronjobs x/c {\"active\":[" JSON_REF(NAME_NOW, "2") "],\"lastScheduleTime\":\"" NOW
                                "\"}\nagain 10m0.1s\n");
}

static void one_that_ended_meanwhile_is_not_made_again(void **state)
{
    cron_job("*/10 * * * *", "", LAST("2025-12-31T23:50:00Z"));
    job(NAME_NOW, FOR(NOW), FAILED);
    assert_string_equal(sync(), "status cronjobs x/c {\"lastScheduleTime\":\"" NOW "\"}\nevent Normal SawCompletedJob Saw "
                                "completed job: " NAME_NOW ", condition: Failed\nagain 10m0.1s\n");
}

static void strangers_are_told_about(void **state)
{
    cron_job("0 12 * * *", "", LAST("2025-12-31T12:00:00Z"));
    job("by-hand", "cronjob.kubernetes.io/instantiate: manual", RUNNING);
    assert_string_equal(sync(), "event Warning UnexpectedJob Saw a job that the controller did not create or forgot: "
                                "by-hand\nagain 12h0m0.1s\n");
    job("by-hand", "", COMPLETE_AT("2025-12-31T23:30:00Z"));
    assert_string_equal(sync(), "status cronjobs x/c {\"lastScheduleTime\":\"2025-12-31T12:00:00Z\",\"lastSuccessfulTime\":"
                                "\"2025-12-31T23:30:00Z\"}\nagain 12h0m0.1s\n");
}

static void missing_jobs_are_asked_for(void **state)
{
    cron_job("0 12 * * *", "", "active: [" REF("c-29453040") "], " LAST("2025-12-31T12:00:00Z"));
    assert_string_equal(sync(), "check-absent jobs x/c-29453040\nstatus cronjobs x/c {\"lastScheduleTime\":"
                                "\"2025-12-31T12:00:00Z\"}\nevent Normal MissingJob Active job went missing: c-29453040\n"
                                "again 12h0m0.1s\n");
}

static void the_latest_success_counts(void **state)
{
    cron_job("0 12 * * *", "", LAST("2025-12-31T12:00:00Z") ", lastSuccessfulTime: '2025-12-31T23:00:00Z'");
    job("c-1", "", COMPLETE_AT("2025-12-31T22:00:00Z"));
    assert_string_equal(sync(), "again 12h0m0.1s\n");
}

static void keeps_only_so_many(void **state)
{
    cron_job("0 12 * * *", "successfulJobsHistoryLimit: 1, failedJobsHistoryLimit: 0, ",
             LAST("2025-12-31T12:00:00Z") ", lastSuccessfulTime: '" NOW "'");
    job("c-1", "", "status: {startTime: '2025-12-31T03:00:00Z', conditions: [{type: Complete, status: 'True'}]}");
    job("c-2", "", "status: {startTime: '2025-12-31T01:00:00Z', conditions: [{type: Complete, status: 'True'}]}");
    job("c-3", "", "status: {startTime: '2025-12-31T02:00:00Z', conditions: [{type: Complete, status: 'True'}]}");
    job("c-4", "", FAILED);
    assert_string_equal(sync(), "delete jobs x/c-2 Background\ndelete jobs x/c-3 Background\ndelete jobs x/c-4 Background\n"
                                "again 12h0m0.1s\n");
}

static void without_limits_it_keeps_all(void **state)
{
    cron_job("0 12 * * *", "", LAST("2025-12-31T12:00:00Z"));
    job("c-1", "", FAILED);
    job("c-2", "", FAILED);
    assert_string_equal(sync(), "again 12h0m0.1s\n");
}

static void a_refused_job_is_no_reason_not_to_see_others(void **state)
{
    cron_job("*/10 * * * *", "", STATUS_OF_OLD);
    job("c-29453750", FOR("2025-12-31T23:50:00Z"), FAILED);
    assert_memory_equal(sync(), "create jobs", 11);
    assert_string_equal(world_refuse(w, &cronjob_controller, "x/c", 0, 403, "exceeded quota: q"),
                        "status cronjobs x/c {\"lastScheduleTime\":\"2025-12-31T23:50:00Z\"}\nevent Normal SawCompletedJob Saw "
                        "completed job: c-29453750, condition: Failed\n");
}

static void jobs_concern_their_cron_job(void **state)
{
    cron_job("0 12 * * *", "", "");
    old_job();
    assert_string_equal(world_keys(w, &cronjob_controller, NULL, world_get(w, RES_JOBS, "x", "c-29453750")), "x/c");
    assert_string_equal(world_keys(w, &cronjob_controller, world_get(w, RES_JOBS, "x", "c-29453750"), NULL), "x/c");
    world_add(w, RES_JOBS, "{metadata: {namespace: x, name: other}}");
    assert_string_equal(world_keys(w, &cronjob_controller, NULL, world_get(w, RES_JOBS, "x", "other")), "");
}

/* ---- Jobs that have ended ---------------------------------------------------------------------------- */

static void jobs_go_when_their_time_is_over(void **state)
{
    static const struct {
        const char *ttl, *condition, *want;
    } cases[] = {
        {"ttlSecondsAfterFinished: 60, ", "{type: Complete, status: 'True', lastTransitionTime: '2025-12-31T23:59:00Z'}",
         "delete jobs x/j Foreground\n"},
        {"ttlSecondsAfterFinished: 60, ", "{type: Failed, status: 'True', lastTransitionTime: '2025-12-31T23:59:30Z'}",
         "again 30s\n"},
        {"ttlSecondsAfterFinished: 0, ", "{type: Complete, status: 'True', lastTransitionTime: '" NOW "'}",
         "delete jobs x/j Foreground\n"},
        {"ttlSecondsAfterFinished: 60, ", "{type: Complete, status: 'False', lastTransitionTime: '2025-12-31T23:59:00Z'}", ""},
        {"ttlSecondsAfterFinished: 60, ", "{type: FailureTarget, status: 'True', lastTransitionTime: '2025-12-31T23:59:00Z'}",
         ""},
        {"", "{type: Complete, status: 'True', lastTransitionTime: '2025-12-31T23:59:00Z'}", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        world_addf(w, RES_JOBS, "{metadata: {namespace: x, name: j}, spec: {%s template: {}}, status: {conditions: [%s]}}",
                   cases[i].ttl, cases[i].condition);
        const char *got = world_reconcile(w, &ttl_after_finished_controller, "x/j");
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("case %zu: %s", i, got);
        const char *keys = world_keys(w, &ttl_after_finished_controller, NULL, world_get(w, RES_JOBS, "x", "j"));
        assert_string_equal(keys, cases[i].want[0] ? "x/j" : "");
    }
    world_add(w, RES_JOBS, "{metadata: {namespace: x, name: j, deletionTimestamp: '" NOW "'}, spec: {ttlSecondsAfterFinished: 0}, "
                           "status: {conditions: [{type: Complete, status: 'True', lastTransitionTime: '" NOW "'}]}}");
    assert_string_equal(world_reconcile(w, &ttl_after_finished_controller, "x/j"), "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(makes_a_job_on_time),
        T(waits_for_its_time),
        T(keeps_the_time_of_its_zone),
        T(the_controllers_zone_is_for_those_without),
        T(makes_only_the_last_of_those_missed),
        T(too_late_is_too_late),
        T(no_deadline_is_too_long),
        T(a_new_schedule_does_not_make_up_for_the_past),
        T(every_so_often),
        T(suspended_it_makes_nothing),
        T(a_schedule_that_makes_no_sense_is_told),
        T(a_zone_in_the_schedule_still_works),
        T(on_its_way_out_it_makes_nothing),
        T(allow_runs_beside_it),
        T(forbid_does_not),
        T(replace_takes_it_away),
        T(a_job_made_before_a_crash_is_known_by_its_name),
        T(one_that_ended_meanwhile_is_not_made_again),
        T(strangers_are_told_about),
        T(missing_jobs_are_asked_for),
        T(the_latest_success_counts),
        T(keeps_only_so_many),
        T(without_limits_it_keeps_all),
        T(a_refused_job_is_no_reason_not_to_see_others),
        T(jobs_concern_their_cron_job),
        T(jobs_go_when_their_time_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
