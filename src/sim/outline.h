/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kubelet in outline: it registers a Node, keeps its Lease and status, and runs the pods assigned to it through a
 * state machine that takes time and nothing else. It is what a large simulated cluster can afford many of; the real
 * kubelet over a runtime of the mind (hollow.h) takes its place where the kubelet itself is on trial.
 */
#pragma once

#include "base/fiber.h"
#include "base/map.h"
#include "client/client.h"
#include "sim/truth.h"

/* ---- a pod on the machine, pure --------------------------------------------------------------------------------- */

enum body_phase { BODY_STARTING, BODY_RUNNING, BODY_READY, BODY_STOPPING, BODY_STOPPED };
extern const char *const body_phase_names[];

struct body {
    enum body_phase phase;
    struct mono until;                        /* when the phase ends by itself; MONO_NEVER */
    int64_t start_ns, become_ready_ns, stop_ns; /* how long each takes */
};
/* Moves on as far as `now` allows. True when the phase changed. */
bool body_step(struct body *b, bool wanted, struct mono now);

/* ---- the machine ---------------------------------------------------------------------------------------------------- */

/* What stays when only its kubelet dies. */
struct outline_machine {
    const char *name, *ip; /* both outlive it */
    struct truth *truth;
    struct map bodies;     /* uid -> struct outline_pod */
    uint32_t net;          /* of the pod CIDR; 0: not known yet */
    unsigned last_host;    /* addresses are given round and round */
};
void outline_machine_wipe(struct outline_machine *m); /* power off */
void outline_machine_done(struct outline_machine *m);
size_t outline_machine_pods(const struct outline_machine *m); /* that live */

/* The kubelet: until the fiber is cancelled. */
int outline_run(struct outline_machine *m, struct client *c, struct err *e);
