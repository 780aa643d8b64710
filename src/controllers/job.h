/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: pods that run to an end, each accounted for exactly once. A pod carries a finalizer until the Job's status
 * has taken note of how it ended: first its uid goes to status.uncountedTerminatedPods, then the finalizer goes, then
 * the uid becomes a number (KEP-2307). Of an Indexed Job that succeeded, the index itself is the note.
 *
 * job.c decides, job_pods.c makes and deletes pods, job_track.c accounts and writes the status; job_index.c sets of
 * indexes, job_policy.c failure and success policies, job_backoff.c when the next pod may be made.
 */
#pragma once

#include "base/map.h"
#include "controllers/own.h"

extern const struct controller job_controller;

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"

/* The condition that is true of a finished Job: "Complete" or "Failed"; NULL: it is not finished. */
const struct val *job_finished(const struct val *job);

/* ---- sets of indexes (job_index.c) ------------------------------------------------------------------- */

struct span {
    int64_t first, last;
};
/* In order, apart from each other by one at least. */
struct spans {
    struct span *items;
    size_t n;
};

/* "1,3-5,7" of a Job of so many; what cannot be read is left out. */
struct spans spans_parse(struct arena *a, struct str s, int64_t completions);
struct str spans_text(struct arena *a, struct spans s);
/* indexes in ascending order, repetitions are fine. */
struct spans spans_with(struct arena *a, struct spans s, const int64_t *indexes, size_t n);
struct spans spans_merge(struct arena *a, struct spans x, struct spans y);
int64_t spans_total(struct spans s);
int64_t spans_common(struct spans x, struct spans y); /* how many are in both */
bool spans_has(struct spans s, int64_t index);

/* ---- policies (job_policy.c) ------------------------------------------------------------------------- */

enum failure_action { FAILURE_UNMATCHED, FAILURE_COUNT, FAILURE_IGNORE, FAILURE_INDEX, FAILURE_JOB };

/* What podFailurePolicy makes of a failed pod. ret_message (may be NULL) is set for FAILURE_JOB only. */
enum failure_action failure_policy(struct arena *a, const struct val *policy, const struct val *pod,
                                   struct str *ret_message);
/* Why successPolicy is met, or empty. */
struct str success_policy(struct arena *a, const struct val *policy, int64_t completions, struct spans succeeded);

/* ---- one reconcile ----------------------------------------------------------------------------------- */

/* A pod of the Job, with what is asked of it again and again. */
struct jobpod {
    const struct object *object;
    int64_t index; /* of completion; -1: none, or none that can be read */
    bool valid;    /* of a Job that is not Indexed, or of an index that it has */
    bool tracked;  /* has the finalizer: is not done with yet */
    bool succeeded, active, terminating, ready;
    bool failed; /* and may be replaced: Failed, or (unless only those are replaced) about to go */
    enum failure_action action;
};

/* How it ends, or is about to. */
struct verdict {
    const char *type; /* of the condition; NULL: it goes on */
    const char *reason;
    struct str message;
};

struct jobsync {
    const struct snapshot *world;
    const struct object *job;
    const struct val *spec;
    struct str key;
    struct wall now;
    struct writes *w;
    struct jobpod *pods; /* by index, then name */
    size_t n_pods;
    struct val *status, *conditions; /* as they shall be */
    const struct val *old_status;
    struct map uncounted_succeeded, uncounted_failed; /* uids, as they were */
    bool indexed, per_index, suspended, only_failed, deleting;
    int64_t active, ready, terminating, succeeded, failed;
    struct spans done_before, done, failed_indexes;
    struct verdict verdict;
    struct list events; /* writes that tell what the status says: after it */
};

int64_t jobsync_completions(const struct jobsync *s); /* -1: any success will do */
/* What is to be told once the status is written. */
void jobsync_tell(struct jobsync *s, bool warning, const char *reason, struct str message);
struct str jobpod_uid(const struct jobpod *p);

/* ---- job_pods.c -------------------------------------------------------------------------------------- */

/* Makes or deletes pods as needed and keeps s->active and its like up to date. */
void jobsync_manage(struct jobsync *s);
void jobsync_delete_active(struct jobsync *s); /* all, since the Job is over */
/* Of failed pods of indexes that are to be tried again: the one that tells how often that index has failed, and
 * therefore keeps its finalizer until there is another. NULL: none. */
const struct jobpod *jobsync_last_failed(const struct jobsync *s, int64_t index);
bool jobpod_is_last_failed(const struct jobsync *s, const struct jobpod *p);
int64_t jobpod_index_failures(const struct jobpod *p, bool ignored_too);

/* ---- job_track.c ------------------------------------------------------------------------------------- */

/* Accounts for pods that have ended, ends the Job when it may, and writes the status. */
void jobsync_track(struct jobsync *s);
/* Takes the finalizer away; unchanged: only of the pod as it was seen, so that it cannot have ended meanwhile. */
void job_untrack(struct writes *w, const struct object *pod, bool unchanged);
bool job_set_condition(struct jobsync *s, const char *type, const char *status, const char *reason,
                       struct str message);

/* ---- job_backoff.c ----------------------------------------------------------------------------------- */

void *job_memory_new(const struct controllers_config *config);
void job_memory_free(void *state);
void job_memory_forget(void *state, struct str key);
/* Takes note of pods that have newly ended and says how long no pod may be made yet (10 s after a failure, twice as
 * long after each further one, at most 10 min; a success ends it). */
int64_t job_backoff(struct jobsync *s);
/* The same for one index, whose last failed pod knows its history. */
int64_t job_index_backoff(struct jobsync *s, const struct jobpod *last_failed);
bool jobpod_newly_succeeded(const struct jobsync *s, const struct jobpod *p);
bool jobpod_newly_failed(const struct jobsync *s, const struct jobpod *p);
struct wall pod_finish_time(const struct val *pod);
