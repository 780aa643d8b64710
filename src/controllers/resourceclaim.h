/* SPDX-License-Identifier: Apache-2.0 */
/* The controllers of device claims (resource.k8s.io). */
#pragma once

#include "controllers/engine.h"

/* Claims from the templates that pods name, reservations of pods that are gone taken back, devices of unused claims
 * given back. */
extern const struct controller resourceclaim_controller;
/* Pods whose devices got a taint that they do not tolerate are deleted. */
extern const struct controller device_taint_eviction_controller;
