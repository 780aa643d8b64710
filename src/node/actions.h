/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to do next about one Pod: a pure function of what is wanted (the Pod) and what is (the runtime's state and the
 * probes' verdicts). The worker carries it out and asks again.
 */
#pragma once

#include "node/pod.h"
#include "node/podstate.h"
#include "node/resize.h"

enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS };
#define PROBE_KINDS 3
enum probe_result { PROBE_UNKNOWN, PROBE_SUCCESS, PROBE_FAILURE };

struct actions_input {
    const struct val *pod;
    const struct podstate *state; /* NULL: the runtime has nothing of it */
    /* The last verdict about a container; PROBE_UNKNOWN when it was not probed yet. NULL: always unknown. */
    enum probe_result (*probe)(void *ctx, enum probe_kind kind, struct str container_id);
    /* Resources in force for a container that runs, or (empty name) for the Pod as a whole; *ret_known false: nobody knows,
     * they are taken to be as granted. NULL: always unknown. */
    const struct val *(*in_force)(void *ctx, struct str container, bool *ret_known);
    bool restarting; /* it was begun to let the whole Pod begin anew (condition AllContainersRestarting) */
    bool cgroup_differs; /* the Pod's own cgroup is not as the Pod says */
    void *ctx;
};

enum kill_reason { KILL_OTHER, KILL_STARTUP_PROBE, KILL_LIVENESS_PROBE, KILL_UNKNOWN_STATE };

struct kill_action {
    const struct rt_container *container;
    const struct val *spec; /* of the container */
    enum kill_reason reason;
    struct str message; /* for the Killing event */
};

struct start_action {
    enum container_kind kind;
    const struct val *spec;
};

/* A running container that gets other resources. */
struct update_action {
    const struct rt_container *container;
    const struct val *spec;
    struct resize_amounts have, want;
};

struct actions {
    bool kill_pod;       /* stop every container and sandbox: all is done, or the sandbox must be made anew */
    bool create_sandbox;
    struct str sandbox_id; /* of the present one, when there is one */
    uint32_t attempt;      /* of the sandbox: the present one, or the one to create */
    struct kill_action *kills;
    size_t n_kills;
    struct start_action *starts; /* in order: ephemeral, init, main */
    size_t n_starts;
    const struct rt_container **resets; /* to be ended and forgotten, in this order: the Pod begins anew in its sandbox */
    size_t n_resets;
    struct update_action *updates;
    size_t n_updates;
    bool resize; /* updates, or the Pod's cgroup alone: to be done before the starts */
};

/* Has a container ended so that all of them begin anew? */
bool pod_restarts_all(const struct val *pod, const struct podstate *s);
/* Is something that runs not yet as granted? */
bool resize_in_progress(const struct actions_input *in);
void actions_compute(struct arena *a, const struct actions_input *in, struct actions *ret);

/* Does the Pod need another sandbox than it has? The reason (upstream's words for the condition
 * PodReadyToStartContainers) and the attempt number the next would have; NULL when it does not. */
const char *sandbox_stale(const struct val *pod, const struct podstate *s, uint32_t *ret_attempt);
/* Did any main container ever start (in the sandbox that is ready now)? Then initialization is over. */
bool pod_main_started(const struct val *pod, const struct podstate *s);
/* The same for any sandbox, and also for containers that were only created. */
bool pod_main_created(const struct val *pod, const struct podstate *s);
/* Is this container to be started (again)? */
bool container_to_start(const struct val *pod, const struct val *container, const struct podstate *s);
