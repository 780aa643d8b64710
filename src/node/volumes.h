/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes of running Pods: set up before their sandbox, kept up to date, given back after their containers.
 * What is on the disk is the memory: after a restart everything that must be unmounted is found there
 * (upstream's layout), so either kubelet can take over from the other. Private to this folder.
 */
#pragma once

#include "base/err.h"
#include "base/time.h"
#include "node/volume.h"

struct kubelet;
struct worker;
struct world;

/* ---- of one Pod ---------------------------------------------------------------------------------------- */

struct pod_volumes; /* what is known of them, as long as its worker lives */

/* Makes every volume that containers use what it should be; again at will. Tells events. 0 when all are
 * there; the error is that of the first that is not. -EAGAIN: nothing is wrong, something is waited for. */
int volumes_set_up(struct worker *w, const struct val *pod, struct world *world, struct err *e);
/* Unmounts and removes all of a Pod's, by what is on the disk. Again until 0. */
int volumes_tear_down(struct kubelet *k, struct str uid, struct err *e);
/* Those that are known. Borrowed: lives as long as the worker. */
struct volume_list worker_volumes(const struct worker *w);
/* When the Pod's volumes want another look without anything having changed. */
struct mono worker_volumes_due(const struct worker *w);
void pod_volumes_free(struct pod_volumes *p);

/* What a volume holds, for statistics. Numbers that are not known are -1. */
struct volume_stats {
    struct str name, claim, claim_ns; /* claim empty: not claimed */
    struct host_space space;
    int abnormal; /* of CSI's volume health; -1: nobody says */
};
/* Of all of the Pod's that have statistics; waits for disks and drivers. */
size_t worker_volume_stats(struct worker *w, struct arena *a, struct volume_stats **ret);

/* ---- of the node --------------------------------------------------------------------------------------- */

struct node_volumes;

void node_volumes_start(
    struct kubelet *k); /* finds what an earlier life left mounted; before any Pod is started */
void node_volumes_free(struct kubelet *k);
void node_volumes_run(
    void *kubelet); /* a fiber: unstages what nobody uses, removes local-path volumes that go */
/* volumesInUse of a node's status; what is there stays while the API's drivers are not known yet. */
void node_volumes_report(struct kubelet *k, struct arena *a, struct val *status);
/* The Node changed, a driver came: Pods that wait for a volume look again. */
void node_volumes_wake(struct kubelet *k);
/* Can the runtime of the Pod's class make mounts read-only in every depth? */
bool runtime_mounts_recursively_read_only(struct kubelet *k, const struct val *pod);
/* Pods over what they may take of the node's disk are evicted: a fiber. */
void storage_limits_run(void *kubelet);
