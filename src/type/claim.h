/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PersistentVolumes and their claims: what binder, scheduler, provisioners and kubelet must agree on. Pure,
 * over values; volume and claim are root values of their objects.
 */
#pragma once

#include "type/selector.h"
#include "wire/quantity.h"

/* Of claims, and of volumes: the binding is whole; it was made by a controller and not by hand. */
#define ANN_BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define ANN_BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define ANN_PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define ANN_MIGRATED_TO "pv.kubernetes.io/migrated-to"
#define ANN_STORAGE_PROVISIONER "volume.kubernetes.io/storage-provisioner"
#define ANN_BETA_STORAGE_PROVISIONER "volume.beta.kubernetes.io/storage-provisioner"
#define ANN_SELECTED_NODE "volume.kubernetes.io/selected-node"
#define NO_PROVISIONER "kubernetes.io/no-provisioner"

/* The provisioner of node-local directories (docs/storage.md). */
#define LOCAL_PATH_PROVISIONER "cube.local/local-path"
#define LOCAL_PATH_FINALIZER "cube.local/local-path"
#define ANN_LOCAL_PATH_FOLDER "cube.local/local-path" /* of a Node: where its directories go */
#define LABEL_LOCAL_PATH_NODE "cube.local/node"       /* of a volume: name of its node, cut down to a label */
#define ANN_LOCAL_PATH_NODE "cube.local/provisioned-by" /* of a volume: name of its node */

struct str claim_class(const struct val *claim); /* empty: none */
bool claim_has_class(const struct val *claim);   /* asked for one, or for none ("") */
struct str volume_class(const struct val *volume);
struct str volume_mode(const struct val *spec); /* "Filesystem" or "Block", of either's spec */
struct quantity claim_size(const struct val *claim);
struct quantity volume_size(const struct val *volume);
bool claim_bound(const struct val *claim); /* whole: has a volume and says so */
bool has_access_mode(const struct val *spec, const char *mode);

/* The volume is the claim's, or kept for it (claimRef of its name, and of its uid or none). */
bool volume_is_for(const struct val *volume, const struct val *claim);
/* Why the volume cannot serve the claim, in upstream's words; NULL when it can. Labels are not asked about.
 */
const char *volume_mismatch(const struct val *volume, const struct val *claim);

enum volume_fit {
    VOLUME_UNFIT,
    VOLUME_FITS,
    VOLUME_RESERVED
}; /* reserved: kept for this very claim, or its own already */
/* May the claim be bound to it? selector: of the claim (see claim_selector). Where the volume is, is not
 * asked. */
enum volume_fit volume_fit(const struct val *volume, const struct val *claim,
                           const struct selector *selector);
/* The claim's label selector; one that matches everything when it has none. */
void claim_selector(struct arena *a, const struct val *claim, struct selector *ret);

/* The claim that a volume of a pod's spec stands for: of a generic ephemeral volume the one made for it.
 * Empty: none. */
struct str pod_claim_name(struct arena *a, struct str pod_name, const struct val *volume);
/* Was the claim made for that pod (as its ephemeral volume)? */
bool claim_is_of_pod(const struct val *claim, struct str pod_uid);

/* May volumes of the class be made on a node with these labels (allowedTopologies)? */
bool class_allows_node(const struct val *storage_class, const struct val *node_labels);
/* The class that claims get that ask for none: has the annotation; the newest, of several the first by name.
 */
bool class_is_default(const struct val *storage_class);
const struct val *class_better_default(const struct val *a, const struct val *b); /* either may be NULL */
