/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the container runtime says about one Pod, at one moment. Immutable once made and reference counted, so that
 * the worker that decides by it and the HTTP handler that prints it see the same thing. Everything the kubelet must
 * remember about a container over its own restart is in the runtime's labels and annotations, under the keys that
 * upstream's kubelet uses (either can take over from the other).
 */
#pragma once

#include "base/arena.h"
#include "base/time.h"
#include "wire/value.h"

#define CRI_LABEL_POD_NAME "io.kubernetes.pod.name"
#define CRI_LABEL_POD_NAMESPACE "io.kubernetes.pod.namespace"
#define CRI_LABEL_POD_UID "io.kubernetes.pod.uid"
#define CRI_LABEL_CONTAINER "io.kubernetes.container.name"
#define CRI_NOTE_HASH "io.kubernetes.container.hash"
#define CRI_NOTE_RESTARTS "io.kubernetes.container.restartCount"
#define CRI_NOTE_MESSAGE_PATH "io.kubernetes.container.terminationMessagePath"
#define CRI_NOTE_MESSAGE_POLICY "io.kubernetes.container.terminationMessagePolicy"
#define CRI_NOTE_PRESTOP "io.kubernetes.container.preStopHandler"
#define CRI_NOTE_PORTS "io.kubernetes.container.ports"
#define CRI_NOTE_DEVICES "cube.io/container.devices" /* {"vendor/thing": ["id"]}; ours: upstream has a file */
#define CRI_NOTE_DELETION_GRACE "io.kubernetes.pod.deletionGracePeriod"
#define CRI_NOTE_GRACE "io.kubernetes.pod.terminationGracePeriod"

enum rt_state { RT_CREATED, RT_RUNNING, RT_EXITED, RT_UNKNOWN }; /* as runtime.v1 ContainerState */

struct rt_container {
    struct str id, sandbox_id, name;
    struct str image;     /* what the Pod asked for */
    struct str image_ref; /* what it became: imageID of a status */
    enum rt_state state;
    uint32_t attempt, restarts;
    struct wall created, started, finished;
    int32_t exit_code;
    struct str reason, message; /* message: of the runtime, until the kubelet has put the termination message there */
    struct str hash, devices;
    struct str cpuset; /* that the runtime holds it to; empty: it does not say */
    struct str log_path, message_host_path, message_policy; /* message_host_path: the file on this machine */
    int64_t grace;        /* seconds, from the annotation; -1 absent */
    bool has_user;
    int64_t uid, gid;
    const struct val *groups; /* LIST of INT, NULL */
    int pid;              /* of its first process, 0 unknown */
    int64_t cpu_shares, cpu_quota, cpu_period, memory_limit; /* as the runtime has them in force; 0: it does not say */
};

struct rt_sandbox {
    struct str id;
    bool ready;
    bool host_network;
    uint32_t attempt;
    struct wall created;
    struct str *ips;
    size_t n_ips;
};

struct podstate {
    unsigned refs;
    struct arena arena;
    struct str uid, name, namespace_;
    struct rt_sandbox *sandboxes;     /* newest first */
    struct rt_container *containers;  /* newest first */
    size_t n_sandboxes, n_containers;
};

/* NULL is a Pod the runtime knows nothing of: everything below accepts it. */
struct podstate *podstate_ref(const struct podstate *s);
struct podstate *podstate_unref(struct podstate *s); /* returns NULL */
static inline void podstate_unrefp(struct podstate **s)
{
    podstate_unref(*s);
}
#define CLEANUP_PODSTATE CLEANUP(podstate_unrefp)

/* An empty one with a reference, to be filled and then not touched again. */
struct podstate *podstate_new(struct str uid, struct str name, struct str namespace_);
void podstate_sort(struct podstate *s); /* newest first; sandboxes by attempt, then creation */

/* From PodSandboxStatus and ContainerStatus messages of runtime.v1; text is copied into the arena. */
void rt_sandbox_from_val(struct arena *a, const struct val *sandbox_status, struct rt_sandbox *ret);
void rt_container_from_val(struct arena *a, const struct val *container_status, struct rt_container *ret);

/* The newest container of that name; NULL when there is none. */
const struct rt_container *podstate_find(const struct podstate *s, struct str name);
/* Runtimes give up a start when the kubelet that asked for it goes away. Containers made before `began` (this kubelet's) that
 * ended without having begun count as RT_CREATED, unless the Pod's status tells of that end already. */
void podstate_forgive_cut_starts(struct podstate *s, const struct val *pod_status, struct wall began);
/* Which run the container's next one is: one more than the last was, the same if that was made and never began (the kubelet
 * was killed in between). False when the runtime knows of none. */
bool podstate_next_number(const struct podstate *s, struct str name, unsigned *ret);
/* The same within the sandbox that is ready now: what came from an earlier sandbox does not count as started. */
const struct rt_container *podstate_find_active(const struct podstate *s, struct str name);
const struct rt_container *podstate_find_id(const struct podstate *s, struct str id);
/* The newest sandbox when it is the ready one, else NULL. */
const struct rt_sandbox *podstate_active_sandbox(const struct podstate *s);
bool podstate_any_running(const struct podstate *s); /* container */
bool podstate_any_ready_sandbox(const struct podstate *s);
/* Containers that nobody looks at again: of a name, what ended before another ended (of that one people read the log
 * yet), and what was made and never started (the node died in between) when there is a newer one. */
bool podstate_is_spent(const struct podstate *s, size_t container);
/* Not the newest, not ready, and all that is in it is spent. */
bool podstate_is_spent_sandbox(const struct podstate *s, size_t sandbox);
/* Addresses of the active sandbox (or of the newest, when none is ready). */
size_t podstate_ips(const struct podstate *s, const struct str **ret);
