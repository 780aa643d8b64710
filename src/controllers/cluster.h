/* SPDX-License-Identifier: Apache-2.0 */
/* Controllers of things that belong to the whole cluster. */
#pragma once

#include "controllers/engine.h"

extern const struct controller service_cidr_controller; /* ranges of cluster IPs: ready, and kept while in use */
extern const struct controller service_lb_controller;   /* addresses of Services of type LoadBalancer */
extern const struct controller service_repair_controller; /* cluster IPs and node ports: what they took agrees with them */
extern const struct controller clusterrole_aggregation_controller;
/* Volumes, claims and their classes stay while somebody uses them: these take the finalizer away when nobody
 * does. */
extern const struct controller pvc_protection_controller, pv_protection_controller, vac_protection_controller;
