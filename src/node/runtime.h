/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container runtime: CRI v1, whoever speaks it. Behind the interface stands a socket (runtime_cri.c) or a runtime
 * of the mind (hollow.h, sim/). Messages are those of runtime.v1; below are the few questions the kubelet asks in
 * its own terms.
 *
 * Outcomes: 0; positive: an enum grpc_code (net/grpc.h) with the runtime's sentence in e; negative: -ECANCELED.
 */
#pragma once

#include "base/fiber.h"
#include "node/criconfig.h"
#include "node/podstate.h"

struct runtime;

struct runtime_ops {
    /* One call, by its index among grpc_methods (G_runtime_v1_...). */
    int (*call)(struct runtime *r, unsigned method, const struct val *request, struct mono deadline, struct arena *a,
                const struct val **ret, struct err *e);
    /* Waits for the next sign that containers changed. *ret_uid: of the Pod, in the arena; empty when the runtime
     * does not say which. -ETIMEDOUT; GRPC_UNIMPLEMENTED when it tells nothing by itself (it must be asked). */
    int (*wait_event)(struct runtime *r, struct mono deadline, struct arena *a, struct str *ret_uid, struct err *e);
    /* Ends by force, below CRI, what the runtime runs of a container and has lost sight of. NULL: it cannot be told to. */
    int (*end_task)(struct runtime *r, struct str id, struct err *e);
    void (*free)(struct runtime *r);
};

struct runtime {
    const struct runtime_ops *ops;
    const char *name; /* "containerd", for container ids; after runtime_connect */
    const char *version;
    struct arena arena; /* of the two */
    /* Told of every call: method, outcome, how long it took. NULL: nobody. */
    void (*observe)(void *ctx, unsigned method, int rc, int64_t ns);
    void *observe_ctx;
};

/* A CRI socket: "unix:///run/containerd/containerd.sock" or a path. image_endpoint: NULL for the same. */
struct runtime *runtime_cri_new(const char *endpoint, const char *image_endpoint);
void runtime_free(struct runtime *r);

#define RUNTIME_TIMEOUT SECONDS(120)

int runtime_call(struct runtime *r, unsigned method, const struct val *request, struct mono deadline, struct arena *a,
                 const struct val **ret, struct err *e);

/* Asks who it is, and sets name and version. */
int runtime_connect(struct runtime *r, struct mono deadline, struct err *e);

/* Its own conditions. *ret_problem: empty when it and its network are ready, else what is missing, in the arena.
 * *ret_answer (may be NULL): the whole StatusResponse. */
int runtime_status(struct runtime *r, struct arena *a, bool *ret_runtime_ready, bool *ret_network_ready,
                   struct str *ret_problem, const struct val **ret_answer, struct err *e);

/* The image of its sandboxes, from what it says of its settings; empty: it does not say. */
struct str runtime_sandbox_image(struct runtime *r, struct arena *a);

/* Everything it has: LISTs of PodSandbox and Container; uid empty: of all Pods. */
int runtime_list(struct runtime *r, struct str uid, struct arena *a, const struct val **ret_sandboxes,
                 const struct val **ret_containers, struct err *e);
/* The whole truth about one Pod, from the two lists (entries of other Pods are passed over). *ret is NULL when there
 * is nothing of it. */
int runtime_pod_state(struct runtime *r, struct str uid, const struct val *sandboxes, const struct val *containers,
                      struct podstate **ret, struct err *e);

int runtime_run_sandbox(struct runtime *r, const struct val *config, struct str handler, struct arena *a,
                        struct str *ret_id, struct err *e);
int runtime_stop_sandbox(struct runtime *r, struct str id, struct err *e);
int runtime_remove_sandbox(struct runtime *r, struct str id, struct err *e);
int runtime_create_container(struct runtime *r, struct str sandbox_id, const struct val *config,
                             const struct val *sandbox_config, struct arena *a, struct str *ret_id, struct err *e);
int runtime_start_container(struct runtime *r, struct str id, struct err *e);
/* Waits until it has stopped, by force after grace seconds. */
int runtime_stop_container(struct runtime *r, struct str id, int64_t grace, struct err *e);
int runtime_remove_container(struct runtime *r, struct str id, struct err *e);
int runtime_update_container(struct runtime *r, struct str id, const struct val *resources, struct err *e);
int runtime_reopen_log(struct runtime *r, struct str id, struct err *e);

struct runtime_exec {
    int exit_code;
    struct str out, err;
};
int runtime_exec_sync(struct runtime *r, struct str id, const struct val *command, int64_t timeout_seconds,
                      struct arena *a, struct runtime_exec *ret, struct err *e);

/* URLs of the runtime's streaming server, in the arena. */
struct runtime_streams {
    bool stdin_, stdout_, stderr_, tty;
};
int runtime_exec_url(struct runtime *r, struct str id, const struct str *command, size_t n,
                     const struct runtime_streams *s, struct arena *a, struct str *ret, struct err *e);
int runtime_attach_url(struct runtime *r, struct str id, const struct runtime_streams *s, struct arena *a,
                       struct str *ret, struct err *e);
int runtime_port_forward_url(struct runtime *r, struct str sandbox_id, struct arena *a, struct str *ret,
                             struct err *e);

/* The Image message; *ret NULL when it is not here. */
int runtime_image(struct runtime *r, struct str image, struct arena *a, const struct val **ret, struct err *e);
/* auth: an AuthConfig, NULL for none. */
int runtime_pull(struct runtime *r, struct str image, const struct val *auth, const struct val *sandbox_config,
                 struct arena *a, struct str *ret_ref, struct err *e);
int runtime_images(struct runtime *r, struct arena *a, const struct val **ret, struct err *e); /* LIST of Image */
int runtime_remove_image(struct runtime *r, struct str image, struct err *e);
