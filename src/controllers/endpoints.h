/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pods stand behind a Service: EndpointSlices (endpointslice.c) and, for old clients, Endpoints
 * (endpoints.c); endpointslice_mirroring.c makes slices of Endpoints that somebody else writes. What both need to know of services and pods is in service_pods.c.
 */
#pragma once

#include "controllers/pods.h"

extern const struct controller endpoints_controller, endpointslice_controller,
    endpointslice_mirroring_controller;

/* ---- service_pods.c ---------------------------------------------------------------------------------- */

/* Services whose endpoints are somebody else's: ExternalName, or without a selector. */
bool service_has_selector(const struct val *service);
bool service_is_headless(const struct val *service); /* no cluster address: clusterIP None or not set */
bool service_selects(const struct val *service, const struct val *pod);
/* Pods that may stand behind it: selected, with an address, not finished; terminating ones only when asked
 * for. */
void service_pods(const struct snapshot *world, const struct object *service, bool terminating,
                  struct arena *a, struct objects *ret);
/* The port number that a ServicePort means in that pod; 0 when the pod has none of that name. */
int64_t service_target_port(const struct val *service_port, const struct val *pod);
/* The pod's addresses of a family, in order: a LIST of strings; "IPv4" or "IPv6". */
struct val *pod_addresses(struct arena *a, const struct val *pod, bool ipv6);
/* Its host name under the service's domain, empty when it has none there. */
struct str service_hostname(const struct val *service, const struct val *pod);
/* Labels of what is made for a service: its own, and whether it is headless. Yours. */
struct val *service_labels(struct arena *a, const struct val *service);
/* keys_of for both: the services that a changed pod concerns. */
void keys_of_service_pod(const struct snapshot *world, const struct object *old, const struct object *new_,
                         key_sink *sink, void *arg);
struct val *pod_target_ref(struct arena *a, const struct object *pod);
