/* SPDX-License-Identifier: Apache-2.0 */
/* The controllers that look after nodes and the pods on them. */
#pragma once

#include "controllers/engine.h"

extern const struct controller node_lifecycle_controller; /* silent nodes become Unknown, bad ones tainted */
extern const struct controller taint_eviction_controller; /* pods that do not tolerate NoExecute taints go */
extern const struct controller node_ipam_controller;      /* pod networks */
extern const struct controller ttl_controller;            /* how long kubelets keep what they read */
extern const struct controller pod_gc_controller;         /* pods nobody will ever look at again */

/* ---- between them ------------------------------------------------------------------------------------ */

/* Writes that a pod is about to be disrupted (condition DisruptionTarget), and ended when `failed`. */
void writes_disruption(struct writes *w, const struct object *pod, const char *reason, const char *message,
                       bool failed, struct wall now);
