/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: which folder or device each one is, what files belong into it, and where containers see it.
 * Deciding is pure (volume_resolve, volume_payload); setting up goes through the host and, for CSI, a driver
 * (volumes.h).
 *
 * Folders are laid out as upstream's kubelet does, below <root>/pods/<uid>:
 *   volumes/kubernetes.io~<kind>/<name>        the volume
 *   volumeDevices/kubernetes.io~<kind>/<name>  a link to a block device
 *   volume-subpaths/<name>/<container>/<n>     a subPath mount
 *   containers/<container>/<random>            a termination message
 *   etc-hosts
 */
#pragma once

#include "node/criconfig.h"
#include "node/host.h"

struct volume_world {
    struct env_world env;
    /* A token of the Pod's service account; waits. */
    int (*token)(void *ctx, struct str audience, int64_t seconds, struct arena *a, struct str *ret,
                 struct err *e);
    /* PEM of a ClusterTrustBundle (name), or of those of a signer and labels. *ret .p NULL: there is none. */
    int (*trust_bundle)(void *ctx, const struct val *projection, struct arena *a, struct str *ret,
                        struct err *e);
    /* Key and certificates of a podCertificate source, by its volume and place there. -EAGAIN: not issued yet. */
    int (*certificate)(void *ctx, struct str volume, size_t index, const struct val *source, struct arena *a,
                       struct str *ret_key, struct str *ret_chain, struct err *e);
    /* An object as the API has it now; waits. The error's sentence is the API's. */
    int (*get)(void *ctx, uint16_t res, struct str ns, struct str name, const struct val **ret,
               struct err *e);
    void *ctx;
};

enum volume_type {
    VOLUME_EMPTY_DIR,
    VOLUME_HOST_PATH,
    VOLUME_FILES, /* of API objects */
    VOLUME_LOCAL,
    VOLUME_NFS,
    VOLUME_CSI,
    VOLUME_IMAGE,
};

/* One entry of a Pod's spec.volumes once it is known what stands behind it. */
struct volume {
    enum volume_type type;
    struct str name;      /* in the Pod */
    struct str spec_name; /* of the PersistentVolume, or the same: what folders and messages call it */
    const struct val *entry, *source; /* of spec.volumes; what is specific to its kind */
    const struct val *pvc, *pv;       /* NULL unless it was claimed */
    bool read_only;                   /* the claim's or the source's own wish */
    bool block;                       /* a device, no file system */
    struct str path; /* what containers get: folder, file, or link to a device; empty for images */
    struct str
        unique; /* of volumes that the node has once for all its Pods, as upstream names them; else empty */
};

struct str pod_dir(struct arena *a, const char *root_dir, struct str uid);
/* Do containers mount it, or have it as a device? What nobody uses is not set up. */
void volume_used(const struct val *pod, struct str name, bool *ret_mounted, bool *ret_device);
/* Finds out what an entry is; asks the world for claims. ret points into the arena, the entry and what the
 * world gave. -ENOTSUP for kinds that are not supported; a sentence as upstream's. */
int volume_resolve(struct arena *a, const char *root_dir, const struct val *pod, const struct val *entry,
                   const struct volume_world *w, struct volume *ret, struct err *e);
/* A copy that lives in the arena. */
struct volume volume_copy(struct arena *a, const struct volume *v);
/* "csi-" and the hash that upstream names VolumeAttachments by; and the handle of an inline volume. */
struct str csi_attachment_name(struct arena *a, struct str handle, struct str driver, struct str node);
struct str csi_inline_handle(struct arena *a, struct str pod_uid, struct str name);

/* The files of a volume that is made of API objects. VOLUME_PLAIN: it is not one of those. */
#define VOLUME_PLAIN 1
int volume_payload(struct arena *a, const struct val *pod, const struct val *volume,
                   const struct volume_world *w, struct payload *ret, struct err *e);
bool volume_is_secret(const struct val *entry); /* never touches the disk */

/* The mounts and devices of one container, without /etc/hosts and termination message. Sets up subPaths. */
struct volume_list {
    const struct volume *items;
    size_t n;
    bool recursive_read_only; /* the runtime can do that */
};
struct container_volumes {
    struct cri_mount *mounts; /* with room for two more */
    size_t n_mounts;
    struct cri_device *devices;
    size_t n_devices;
};
int volume_mounts(struct arena *a, struct host *h, const char *root_dir, const struct val *pod,
                  const struct val *container, const struct env_list *env, const struct volume_list *volumes,
                  struct container_volumes *ret, struct err *e);

/* Calls visit for each ConfigMap (secret false) and Secret a Pod refers to anywhere. */
typedef void reference_visit(void *arg, bool secret, struct str name);
void pod_references(const struct val *pod, reference_visit *visit, void *arg);
