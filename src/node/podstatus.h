/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status of a Pod as the API shows it: a pure function of the Pod, what was said of it last, what the runtime and
 * the probes say now, and the time. Rules: upstream's, down to reasons and messages, because clients match on them.
 */
#pragma once

#include "node/actions.h"

/* Why a container that should run does not: reason ("CrashLoopBackOff", "ErrImagePull" ...) and sentence. */
struct wait_reason {
    struct str reason, message;
};

/* PodResizePending or PodResizeInProgress, while it stands. Its texts are malloc'd. */
struct resize_condition {
    bool set;
    const char *reason; /* "Deferred", "Infeasible", "Error" or "" */
    char *message;      /* or NULL */
    int64_t generation; /* of the spec that asked for it */
    struct wall since, probed;
};

struct status_input {
    const struct val *pod;
    const struct val *old;        /* the status made last; NULL: the Pod's own */
    const struct podstate *state; /* NULL: nothing known */
    enum probe_result (*probe)(void *ctx, enum probe_kind kind, struct str container_id);
    const struct wait_reason *(*waiting)(void *ctx, struct str container); /* NULL result: none */
    const struct val *(*in_force)(void *ctx, struct str container, bool *ret_known); /* as actions_input */
    const struct resize_condition *pending, *progress; /* NULL: none */
    const struct cgroup_limits *cgroup; /* what the Pod's own cgroup has; NULL: not known */
    void *ctx;
    const char *runtime; /* "containerd" of "containerd://id" */
    bool restarting;     /* all of its containers begin anew, in place */
    bool ended;          /* nothing of it will be started again (deleted, evicted, past its deadline) */
    /* Set: the Pod has failed for a reason outside of its containers. */
    const char *fail_reason;
    struct str fail_message;
    const struct val *disruption; /* a DisruptionTarget condition to carry, NULL: none */
    const struct str *host_ips;
    size_t n_host_ips;
    struct wall now;
};

/* A new PodStatus in the arena; it shares parts of the inputs. */
struct val *pod_status_make(struct arena *a, const struct status_input *in);

/* The last word on a Pod that has stopped for good: containers that never told their end are said to have failed,
 * and the phase is terminal. status must be writable at the top level. */
void pod_status_finish(struct arena *a, const struct val *pod, struct val *status, struct wall now);

/* While containers may still run the Pod must not look finished (its resources are still in use). */
void pod_status_hold_phase(struct arena *a, struct val *status, const struct val *before);

/* Pieces, for tests. */
const char *podstatus_phase(const struct val *pod, const struct val *status, bool ended, bool initialized);
