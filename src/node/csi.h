/* SPDX-License-Identifier: Apache-2.0 */
/* CSI drivers of this node: who is registered, calls to them, and volumes of theirs. Private to this folder.
 */
#pragma once

#include "node/volumes-internal.h"

#define CSI_TIMEOUT SECONDS(120)

/* ---- drivers (csi.c) ----------------------------------------------------------------------------------- */

struct csi;
void csi_start(struct kubelet *k);
void csi_free(struct kubelet *k);

/* A call to a driver by its name. 0; a positive gRPC code with upstream's sentence ("rpc error: code = ...
 * desc = ..."); -ENODEV when it is not registered; -ECANCELED. */
int csi_call(struct kubelet *k, struct str driver, unsigned method, const struct val *request,
             struct arena *a, const struct val **ret, struct err *e);
/* Is it for sure that after this error nothing of the operation goes on in the driver? */
bool csi_error_is_final(int r);
/* Bits 1 << E_csi_v1_NodeServiceCapability_RPC_xxx. */
int csi_capabilities(struct kubelet *k, struct str driver, unsigned *ret, struct err *e);
static inline bool csi_can(unsigned capabilities, unsigned what)
{
    return capabilities & 1u << what;
}
const struct val *csi_driver_object(struct kubelet *k,
                                    struct str driver); /* CSIDriver; NULL: none. Until the next wait */
bool csi_attach_required(struct kubelet *k, struct str driver);

/* ---- what the API knows of them (csi_node.c) ----------------------------------------------------------- */

struct csi_node_info {
    struct str driver, node_id;
    int64_t max_volumes;        /* 0: no limit */
    const struct val *topology; /* MAP, may be NULL */
};
/* Puts the driver into the CSINode, and its id and topology onto the Node. */
int csi_node_install(struct kubelet *k, const struct csi_node_info *info, struct err *e);
int csi_node_remove(struct kubelet *k, struct str driver, struct err *e);
void csi_node_run(void *kubelet); /* a fiber: makes the CSINode, keeps counts that drivers want kept */

/* ---- volumes (csi_mount.c, csi_block.c, csi_unmount.c) ------------------------------------------------- */

/* What goes into every request about a volume. */
struct csi_volume {
    struct kubelet *k;
    struct str driver, handle;
    bool inline_;
    unsigned capabilities;
    struct str staging;                /* path; empty: not staged */
    struct str target;                 /* path */
    const struct val *publish_context; /* MAP, may be NULL */
};
struct str csi_staging_dir(struct arena *a, struct kubelet *k, struct str driver,
                           struct str handle); /* with vol_data.json in it */
struct str csi_devices_dir(struct arena *a, struct kubelet *k);
/* VolumeCapability of the volume. group -1: none. */
struct val *csi_capability(struct arena *a, const struct csi_volume *c, const struct volume *v,
                           int64_t group);
/* Data of a Secret as MAP; NULL without a reference. */
int csi_secrets(struct volume_job *j, const struct val *ref, struct str ns, const struct val **ret,
                struct err *e);
/* Attributes for publishing: the volume's own, the Pod's, tokens. Tokens go into *secrets when the driver
 * wants that. */
int csi_publish_attributes(struct volume_job *j, const struct csi_volume *c, struct val **ret,
                           struct val **secrets, struct err *e);
int csi_stage_call(struct volume_job *j, const struct csi_volume *c, struct err *e);
int csi_publish(struct volume_job *j, const struct csi_volume *c, struct err *e);
int csi_set_up_block(struct volume_job *j, struct volume_use *u, struct csi_volume *c, struct err *e);

struct csi_data { /* vol_data.json */
    struct str spec_name, handle, driver;
    bool inline_;
};
int csi_save_data(struct kubelet *k, struct arena *a, const char *dir, const struct csi_data *d, bool whole,
                  struct err *e);
int csi_load_data(struct kubelet *k, struct arena *a, const char *dir, struct csi_data *ret, struct err *e);
/* Removes the folder or file when nothing is mounted there; -EBUSY. */
int csi_remove_unmounted(struct kubelet *k, const char *path, struct err *e);
int csi_unpublish(struct kubelet *k, const struct csi_data *d, struct str target, struct err *e);
int csi_unstage_call(struct kubelet *k, const struct csi_data *d, struct str staging, struct err *e);

int csi_tear_down(struct kubelet *k, const char *dir, struct err *e);
int csi_tear_down_block(struct kubelet *k, const char *link, struct str uid, struct err *e);
int csi_unstage(struct kubelet *k, struct volume_use *u, struct err *e);
int csi_unstage_block(struct kubelet *k, struct volume_use *u, struct err *e);
/* What is on the disk of an earlier life. */
void csi_find_volumes(struct kubelet *k, struct str uid);
void csi_find_staged(struct kubelet *k);
void csi_find_one(struct kubelet *k, const struct csi_data *d, bool block, struct str uid);

/* ---- growing, statistics (csi_expand.c, csi_stats.c) --------------------------------------------------- */

/* Grows the file system when the volume has grown (KEP-1790). path: where it is published. */
int csi_expand(struct volume_job *j, const struct csi_volume *c, struct err *e);
void csi_volume_stats(struct kubelet *k, const struct volume *v, struct volume_stats *ret);
