/* SPDX-License-Identifier: Apache-2.0 */
/* What the API server does to Services besides allocating their addresses and ports. */
#pragma once

#include "wire/value.h"

/* Before defaults are used and addresses allocated: makes clusterIP and clusterIPs say the same, whichever of
 * them the client wrote (the one that differs from old). old NULL on create. */
void service_normalize(struct arena *a, struct val *v, const struct val *old);
/* Drops what belongs to the old type of a Service and was not asked for anew. */
void prepare_service_update(struct arena *a, struct val *v, const struct val *old);

/* A Service without addresses has no policy for traffic to them. */
void service_drop_internal(struct val *v);

bool service_needs_cluster_ip(const struct val *spec);
bool service_needs_node_ports(const struct val *spec);
bool service_needs_health_port(const struct val *spec);
bool service_headless(const struct val *spec); /* its cluster IP is "None" */
