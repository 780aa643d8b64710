/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dynamic resource allocation (resource.k8s.io) on the node: drivers register through the plug-in watcher, prepare the
 * claims of a Pod before its sandbox is made, and say which CDI devices its containers get; when the last Pod of a claim
 * has stopped, they unprepare it.
 *
 * Which claims are prepared for whom stands in <root>/dra_manager_state, in upstream's form: a Pod may go while we are
 * not there, and only we know that a driver must hear of it. It is written before a driver is asked to do anything.
 */
#pragma once

#include "base/fiber.h"
#include "base/map.h"
#include "node/criconfig.h"
#include "node/plugins.h"

struct worker;

/* ---- what is prepared (dra_state.c; pure but for the arena) ------------------------------------------------------ */

struct dra_claim {
    struct arena arena;
    struct str uid, name, ns;
    struct map pods;       /* uid -> non-NULL */
    struct val *drivers;   /* MAP: driver -> LIST of dra.v1 Device */
    bool prepared;         /* by this process: a driver is asked again after a restart, it answers the same */
    bool unpreparing;
};

struct dra_state {
    struct map claims; /* "ns/name" -> struct dra_claim */
};
void dra_state_done(struct dra_state *s);
struct dra_claim *dra_state_find(const struct dra_state *s, struct str ns, struct str name);
/* Of an allocated ResourceClaim: with its drivers, and no devices yet. */
struct dra_claim *dra_state_add(struct dra_state *s, const struct val *claim);
void dra_state_drop(struct dra_state *s, struct dra_claim *c);
/* What a driver said takes the place of what it had said. */
void dra_claim_set_devices(struct dra_claim *c, struct str driver, const struct val *devices);
/* Does a device (dra.v1 Device) stand for a request of a container ("": any)? */
bool dra_device_is_for(const struct val *device, struct str request);
/* Appends a CDIDevice for each of those that stand for a request ("": all), each once. */
void dra_claim_devices(const struct dra_claim *c, struct str request, struct arena *a, struct val *ret);
/* The file's text, and back: 0, or -EINVAL with a sentence. */
struct str dra_state_text(const struct dra_state *s, struct arena *a);
int dra_state_read(struct dra_state *s, struct str text, struct err *e);

/* ---- drivers (dra.c) ------------------------------------------------------------------------------------------------ */

/* One process of a driver: during a rolling update there are two. */
struct dra_plugin {
    struct list link;
    char *endpoint;
    struct grpc_client *client;
    bool beta; /* speaks v1beta1 only */
    int health; /* G_ number of its health service, 0: it has none */
    struct group watching;
};

struct dra_driver {
    struct kubelet *k;
    char *name;
    struct list plugins;    /* the last one that registered is asked */
    struct mono wipe_at;    /* no plug-in since a while: its ResourceSlices go; 0: it has one */
    struct map health;      /* "pool/device" -> struct dra_health */
};

enum { DRA_HEALTH_MAX = 4096 }; /* devices a driver may tell of; those beyond stay unknown */
struct dra_health {
    int status; /* E_drahealth_v1_HealthStatus_... */
    struct mono stale_at;
    char *message;
};

struct dra {
    struct map drivers; /* name -> struct dra_driver; never removed while we live */
    struct dra_state state;
    struct fmutex writing; /* of the file */
    struct waitq wake;
    bool wiped; /* slices of drivers that were here before us */
};

void dra_start(struct kubelet *k);
void dra_stop(struct kubelet *k);
void dra_run(void *kubelet); /* a fiber: wipes slices of drivers that are gone, unprepares claims of Pods that are */
/* The answer's claims (MAP by uid). 0, or an error whose sentence names no Pod. */
int dra_call(struct kubelet *k, struct str driver, bool prepare, const struct val *claims, struct arena *a,
             const struct val **ret, struct err *e);
/* 0: there is somebody to ask; -ENOENT with a sentence. */
int dra_check_driver(const struct kubelet *k, struct str driver, struct err *e);

/* ---- Pods (dra_pods.c) ------------------------------------------------------------------------------------------------ */

bool dra_wanted(const struct val *pod);
/* All claims of the Pod, before its sandbox; waits. */
int dra_prepare(struct worker *w, const struct val *pod, struct err *e);
/* The devices of the container's claims go into c (in the arena). */
int dra_give(struct worker *w, const struct val *pod, const struct val *container, struct arena *a,
             struct cri_container *c, struct err *e);
/* Nothing of the Pod runs any more; waits. May be called again. */
int dra_unprepare(struct kubelet *k, struct str pod_uid, struct err *e);
void dra_unprepare_stale(struct kubelet *k);
/* DynamicResources of a container, for the pod resources socket. */
void dra_report(struct kubelet *k, const struct val *pod, const struct val *container, struct arena *a, struct val *ret);
/* allocatedResourcesStatus of a container (KEP-4680): LIST of ResourceStatus; NULL: nothing to tell. */
const struct val *dra_health_of(struct kubelet *k, const struct val *pod, const struct val *container, struct arena *a);

extern const struct plugin_handler dra_plugin_handler;
