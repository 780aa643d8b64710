/* SPDX-License-Identifier: Apache-2.0 */
/* From a Pod to what the container runtime is asked to make: CRI's PodSandboxConfig and ContainerConfig. Pure. */
#pragma once

#include "base/err.h"
#include "node/dns.h"
#include "node/env.h"
#include "node/qos.h"

/* What of the node goes into every configuration. */
struct cri_node {
    const char *cgroup_root;
    const char *log_root;      /* "/var/log/pods" */
    const char *root_dir;      /* for localhost seccomp profiles */
    const char *cluster_domain;
    struct dns_settings dns;
    int64_t memory;            /* bytes of the node, for OOM scores */
    bool cfs_quota;
    int64_t cfs_period;        /* microseconds */
    bool seccomp_default;      /* RuntimeDefault for those that say nothing */
    int64_t userns;            /* of this Pod: first of 65536 users of the machine that are its own; 0: the machine's */
};

struct cri_mount {
    struct str volume; /* its name; empty for the kubelet's own */
    struct str container_path, host_path;
    struct str image, image_sub_path; /* instead of host_path: the content of an image (KEP-4639) */
    bool read_only;
    bool recursive_read_only;
    bool relabel; /* where there is SELinux: it becomes the containers' */
    unsigned propagation; /* enum of runtime.v1 MountPropagation */
};

struct cri_device {
    struct str container_path, host_path, permissions;
};

/* All of one container that is not in its spec. */
struct cri_container {
    const struct val *spec;
    enum container_kind kind;
    unsigned restarts;
    struct str image_ref;        /* what to run */
    bool image_has_uid;          /* of the image's config */
    int64_t image_uid;
    struct str image_user;       /* when it is a name */
    const struct env_list *env;
    const struct cri_mount *mounts;
    size_t n_mounts;
    const struct cri_device *devices;
    size_t n_devices;
    struct val *annotations, *cdi_devices; /* MAP, LIST: of device plug-ins; may be NULL */
    struct str target_id;        /* of the container whose PID namespace an ephemeral one shares; empty: none */
};

/* "<log root>/<ns>_<name>_<uid>" */
struct str pod_log_dir(struct arena *a, const char *log_root, const struct val *pod);

struct val *cri_sandbox_config(struct arena *a, const struct val *pod, const struct cri_node *n, uint32_t attempt);
struct val *cri_container_config(struct arena *a, const struct val *pod, const struct cri_container *c,
                                 const struct cri_node *n);
/* runtime.v1 LinuxContainerResources. */
struct val cri_container_resources(struct arena *a, const struct val *pod, const struct val *container,
                                   const struct cri_node *n);
/* Is the container allowed to run as the user it would run as (runAsNonRoot)? 0 or -EACCES. */
int cri_check_user(const struct val *pod, const struct cri_container *c, struct err *e);
/* A member of the container's security context, or the Pod's when the container does not say. */
const struct val *security_setting(const struct val *pod, const struct val *container, name_id name);
