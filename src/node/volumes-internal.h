/* SPDX-License-Identifier: Apache-2.0 */
/* Between volumes*.c, volume_*.c and csi*.c. */
#pragma once

#include "node/kubelet-internal.h"
#include "node/volumes.h"

/* ---- one volume of one Pod: setting up ----------------------------------------------------------------- */

struct pod_volume {
    struct arena arena;
    struct volume v; /* once known */
    struct str name;
    bool known, used;
    bool ready;                                /* it is as it should be, or was at the last look */
    bool attachable, waits_attached;           /* for the words of an event */
    bool republish;                            /* the driver wants to be asked again and again */
    struct mono expand_after, republish_after; /* not before: looking whether it must grow, asking again */
};

struct volume_job {
    struct kubelet *k;
    struct worker *w;
    struct world *world;
    const struct val *pod;
    struct pod_volume *pv;
    const struct volume *v;
    struct arena *a;    /* as long as the job */
    const char *stage;  /* in upstream's words what was being done: "MountVolume.SetUp failed" */
    const char *reason; /* of the event */
};

/* By kind. 0; -EAGAIN: wait; else the bare error, with the job's stage saying where. */
int set_up_empty_dir(struct volume_job *j, struct err *e);
int set_up_host_path(struct volume_job *j, struct err *e);
int set_up_files(struct volume_job *j, struct err *e);
int set_up_local(struct volume_job *j, struct err *e);
int set_up_nfs(struct volume_job *j, struct err *e);
int set_up_csi(struct volume_job *j, struct err *e);
/* The group of the Pod's securityContext, -1: none; and whether trees are walked even when their top is
 * right. */
int64_t pod_fs_group(const struct val *pod);
bool fs_group_always(const struct val *pod);
const struct val *this_node(struct kubelet *k); /* borrowed until the next wait; NULL while not known */

/* ---- volumes that the node has once -------------------------------------------------------------------- */

/* A volume that is staged on the node once for all Pods that use it. */
struct volume_use {
    char *unique;
    enum volume_type type;
    bool block;
    char *driver, *handle, *spec_name; /* driver and handle: CSI */
    struct fmutex lock;                /* held while it is staged and published, unstaged */
    struct map pods;                   /* uid -> &use_wants or &use_has */
    bool staged;                       /* by this life of the kubelet */
    bool to_unstage;                   /* something may be left to be undone */
    struct group unstaging;            /* one fiber: a driver that hangs keeps no other volume waiting */
    bool undone;                       /* that fiber is about to end */
    struct kubelet *k;
    unsigned holds;
};

/* The use, with the Pod among its users; held until volume_use_drop. */
struct volume_use *volume_use_hold(struct kubelet *k, const struct volume *v, struct str uid);
void volume_use_drop(struct kubelet *k, struct volume_use *u);
bool volume_is_used(struct kubelet *k, struct str unique);             /* by any Pod */
void volume_use_done(struct volume_use *u, struct str uid);            /* the Pod has it now */
bool volume_used_by_other(const struct volume_use *u, struct str uid); /* another Pod has it */
void volume_uses_forget_pod(struct kubelet *k, struct str uid);
/* What was found on the disk. */
void volume_use_found(struct kubelet *k, const struct volume *v, struct str uid);
void node_volumes_look(struct kubelet *k); /* wakes node_volumes_run */
int volume_unstage(struct kubelet *k, struct volume_use *u, struct err *e);

/* ---- local-path volumes (docs/storage.md) -------------------------------------------------------------- */

/* Is the path the directory that a volume of that name has in the folder? */
bool local_path_is_own(const char *folder, struct str path, struct str volume);
/* Is it a directory of ours that we may make and remove? */
bool local_path_is_ours(struct kubelet *k, const struct val *pv);
bool local_path_reclaim(struct kubelet *k); /* those that go; false: to be tried again */
struct replica *local_path_follow(struct kubelet *k);
struct replica *node_local_path_volumes(struct kubelet *k); /* NULL without an API server */
