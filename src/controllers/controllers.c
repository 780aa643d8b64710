/* SPDX-License-Identifier: Apache-2.0 */
/* Everything the controller manager runs. */
#include "controllers/csr.h"
#include "controllers/deployment.h"
#include "controllers/endpoints.h"
#include "controllers/engine.h"
#include "controllers/gc.h"
#include "controllers/namespace.h"
#include "controllers/nodes.h"
#include "controllers/replicaset.h"

const struct controller *const controllers[] = {
    &namespace_controller,
    &serviceaccount_controller,
    &root_ca_controller,
    &deployment_controller,
    &replicaset_controller,
    &replicationcontroller_controller,
    &endpoints_controller,
    &endpointslice_controller,
    &garbage_collector_controller,
    &pod_gc_controller,
    &node_lifecycle_controller,
    &taint_eviction_controller,
    &node_ipam_controller,
    &csr_approving_controller,
    &csr_signing_controller,
    &csr_cleaner_controller,
    NULL,
};
