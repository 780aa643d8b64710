/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: which folder each one is, what files belong into it, and where containers see it. Deciding what the files
 * are is pure (volume_payload); setting up goes through the host.
 *
 * Folders are laid out as upstream's kubelet does, below <root>/pods/<uid>:
 *   volumes/kubernetes.io~<kind>/<name>     the volume
 *   volume-subpaths/<name>/<container>/<n>  a subPath mount
 *   containers/<container>/<random>         a termination message
 *   etc-hosts
 */
#pragma once

#include "node/criconfig.h"
#include "node/host.h"

struct volume_world {
    struct env_world env;
    /* A token of the Pod's service account; waits. */
    int (*token)(void *ctx, struct str audience, int64_t seconds, struct arena *a, struct str *ret, struct err *e);
    /* PEM of a ClusterTrustBundle (name), or of those of a signer and labels. *ret .p NULL: there is none. */
    int (*trust_bundle)(void *ctx, const struct val *projection, struct arena *a, struct str *ret, struct err *e);
    /* The PersistentVolume bound to a claim of the Pod's namespace; *ret NULL when it is not bound. */
    int (*claim)(void *ctx, struct str ns, struct str claim, const struct val **ret, struct err *e);
    void *ctx;
};

struct str pod_dir(struct arena *a, const char *root_dir, struct str uid);
/* The folder (or file) on the host that is the volume; for hostPath the path itself, for a claim what it leads to.
 * -ENOTSUP for kinds of volumes that are not supported, with a sentence. */
int volume_path(struct arena *a, const char *root_dir, const struct val *pod, const struct val *volume,
                const struct volume_world *w, struct str *ret, struct err *e);

/* The files of a volume that is made of API objects. VOLUME_PLAIN: it is not one of those. */
#define VOLUME_PLAIN 1
int volume_payload(struct arena *a, const struct val *pod, const struct val *volume, const struct volume_world *w,
                   struct payload *ret, struct err *e);

/* Makes every volume of the Pod what it should be; again at will (live updates). The first error is in e. */
int volumes_setup(struct host *h, const char *root_dir, const struct val *pod, const struct volume_world *w,
                  int64_t node_memory, struct err *e);
/* The mounts of one container, without /etc/hosts and termination message. Sets up subPaths. */
int volume_mounts(struct arena *a, struct host *h, const char *root_dir, const struct val *pod,
                  const struct val *container, const struct env_list *env, const struct volume_world *w,
                  struct cri_mount **ret, size_t *ret_n, struct err *e);

/* Calls visit for each ConfigMap (secret false) and Secret a Pod refers to anywhere. */
typedef void reference_visit(void *arg, bool secret, struct str name);
void pod_references(const struct val *pod, reference_visit *visit, void *arg);
