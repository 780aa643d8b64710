/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a Pod: the questions that every part of the kubelet asks about one. Pure; all accept NULL. */
#pragma once

#include "base/arena.h"
#include "type/meta.h"

/* Annotations of pods that do not come from the API (kubernetes.io/config.*): where from, and a hash of the file. */
#define POD_ANNOTATION_SOURCE "kubernetes.io/config.source"
#define POD_ANNOTATION_HASH "kubernetes.io/config.hash"
#define POD_ANNOTATION_MIRROR "kubernetes.io/config.mirror"
#define POD_ANNOTATION_SEEN "kubernetes.io/config.seen"

enum container_kind { CK_INIT, CK_MAIN, CK_EPHEMERAL };
#define CONTAINER_KINDS 3

enum qos_class { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };

static inline const struct val *pod_spec(const struct val *pod)
{
    return val_get(pod, N_spec);
}
static inline const struct val *pod_status(const struct val *pod)
{
    return val_get(pod, N_status);
}
const struct val *pod_containers(const struct val *pod, enum container_kind kind);
/* The list of statuses that goes with them, of a PodStatus. */
const struct val *pod_statuses(const struct val *status, enum container_kind kind);
name_id pod_statuses_name(enum container_kind kind);
/* ret_kind may be NULL. */
const struct val *pod_find_container(const struct val *pod, struct str name, enum container_kind *ret_kind);

bool container_is_sidecar(const struct val *container); /* an init container with restartPolicy Always (KEP-753) */
/* Does a container that ended with this code run again? Container rules and policy before the Pod's (KEP-5307). */
bool container_restarts(const struct val *pod, const struct val *container, int64_t exit_code);
/* Does a container that ended with this code make the whole Pod begin anew, in place (KEP-5532)? */
bool container_restarts_all(const struct val *container, int64_t exit_code);
bool pod_may_restart_all(const struct val *pod); /* has it a rule that does so? */
/* May anything of it be started again after a probe or definition made us kill it? */
bool container_restarts_when_killed(const struct val *pod, const struct val *container);

bool pod_host_network(const struct val *pod);
bool pod_is_static(const struct val *pod); /* from a file: not from the API */
bool pod_is_mirror(const struct val *pod); /* the API's image of a static one */
bool pod_terminal(const struct val *pod);  /* phase Succeeded or Failed */
bool pod_phase_is_terminal(struct str phase);
/* system-cluster-critical and above, or static: never evicted first (priority >= 2 * 10^9). */
bool pod_critical(const struct val *pod);
int64_t pod_grace_seconds(const struct val *pod); /* deletionGracePeriodSeconds, else the spec's, else 30 */
/* "name_namespace(uid)", as upstream prints a Pod in messages. */
struct str pod_text(struct arena *a, const struct val *pod);
/* "namespace/name" */
struct str pod_key(struct arena *a, const struct val *pod);
/* Name and domain that the Pod's own host name has (setHostnameAsFQDN aside): hostname, or its name cut to 63. */
struct str pod_hostname(struct arena *a, const struct val *pod);
/* "<hostname>.<subdomain>.<ns>.svc.<domain>" when it has a subdomain, else empty. */
struct str pod_fqdn(struct arena *a, const struct val *pod, const char *cluster_domain);
/* An involvedObject reference narrowed to a container ("spec.containers{name}"), for events: the Pod with
 * its fieldPath in an OBJ of ObjectReference; see kubelet_event(). */
struct str container_field_path(struct arena *a, const struct val *pod, struct str container);
/* A hash of what, when changed, makes a running container be replaced: its name and image, as upstream since 1.31 and
 * with its very value. */
struct str container_hash(struct arena *a, const struct val *container);
