/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device plug-ins (v1beta1): they register at <root>/device-plugins/kubelet.sock or through the plug-in watcher, tell of
 * their devices, and say what a container that gets some must be given.
 *
 * Which devices a container has is in an annotation of it at the runtime (CRI_NOTE_DEVICES): there is no checkpoint file.
 */
#pragma once

#include "base/fiber.h"
#include "base/map.h"
#include "node/criconfig.h"
#include "node/numa.h"
#include "node/plugins.h"

struct worker;

struct device {
    char *id;
    bool healthy;
    int64_t numa; /* -1: not told */
};

/* Of one resource. */
struct device_resource {
    char *name, *endpoint;
    struct grpc_client *client; /* NULL: its plug-in is gone */
    bool pre_start, preferred;
    struct device *devices;
    size_t n;
    struct mono gone_at;
    struct group watching; /* one fiber: ListAndWatch */
    struct fmutex changing; /* held while its plug-in comes or goes */
    struct kubelet *k;
};

/* Devices of one container. */
struct device_grant {
    char *uid, *container, *resource;
    char **ids;
    size_t n;
    bool reusable; /* of an init container: those after it may have them, too */
    struct arena arena;
    const struct val *response; /* ContainerAllocateResponse; NULL: not asked since we began */
};

struct devices {
    struct map resources; /* name -> struct device_resource */
    struct device_grant *grants;
    size_t n, cap;
    struct http_server *server;
};

/* ---- pure ---------------------------------------------------------------------------------------------------------- */

/* Which devices a container gets: what it must have again (of init containers before it) first, then what the plug-in
 * prefers, then any that are free and healthy. Returns how many; less than wanted when there are not enough. */
size_t devices_pick(struct arena *a, const struct device_resource *r, const struct devices *d, struct str uid, size_t wanted,
                    const struct val *preferred, struct str *ret);
size_t devices_healthy(const struct device_resource *r);

/* ---- the kubelet's -------------------------------------------------------------------------------------------------- */

int devices_start(struct kubelet *k, struct err *e);
void devices_stop(struct kubelet *k);
/* May the Pod have the devices it asks for, beside those others have asked for? NULL, or upstream's reason. */
const char *devices_admit(struct kubelet *k, const struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message);
/* What the topology manager asks (align.c): lists, at most so many, of a container's resources (NULL: the Pod's), and devices
 * for one, from these nodes as far as they have some. */
size_t devices_hints(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct numa_hints *ret, size_t most);
int devices_allocate(struct worker *w, const struct val *pod, const struct val *container, numa_mask nodes, struct err *e);
/* Asks plug-ins for what a container needs; waits. What must be given to it goes into c and env (in the arena). */
int devices_prepare(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct cri_container *c,
                    struct env_list *env, struct err *e);
void devices_recall(struct worker *w);  /* from the runtime, after a restart */
void devices_release(struct worker *w); /* nothing of the Pod runs any more */
/* Capacity or what is healthy, into a MAP of quantities. */
void devices_report(struct kubelet *k, struct arena *a, struct val *capacity, struct val *allocatable);

extern const struct plugin_handler device_plugin_handler;

/* The socket <root>/pod-resources/kubelet.sock (KEP-606). */
int podresources_start(struct kubelet *k, struct err *e);
void podresources_stop(struct kubelet *k);
