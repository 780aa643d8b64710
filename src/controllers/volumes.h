/* SPDX-License-Identifier: Apache-2.0 */
/* The controllers of volumes and claims. What they agree on with others is in docs/storage.md and
 * type/claim.h. */
#pragma once

#include "controllers/engine.h"
#include "type/claim.h"

extern const struct controller
    pv_binder_controller; /* claims find volumes; volumes are released and reclaimed */
extern const struct controller attach_detach_controller; /* VolumeAttachments of CSI drivers that want them */
extern const struct controller volume_expand_controller; /* says who will grow a claim's volume */
extern const struct controller ephemeral_volume_controller; /* claims of pods' generic ephemeral volumes */
extern const struct controller
    local_path_controller; /* makes, grows and deletes volumes that are directories */

/* ---- between the binder's halves: keys are "ns/name" of a claim, or "name" of a volume
 * ---------------------- */

int pv_sync_claim(const struct snapshot *world, const struct object *claim,
                  struct writes *w); /* pv_binder.c */
int pv_sync_volume(const struct snapshot *world, const struct object *volume,
                   struct writes *w); /* pv_reclaim.c */
/* Phase and message, with lists and all, after whatever was written to the volume in the same reconcile. */
void pv_write_phase(struct writes *w, const struct object *volume, const char *phase, struct str message);

/* The claim of a volume's claimRef by name, whoever it is now; NULL when there is none. */
const struct object *claim_of_volume(const struct snapshot *world, const struct val *volume);
