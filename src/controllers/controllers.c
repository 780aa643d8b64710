/* SPDX-License-Identifier: Apache-2.0 */
/* Everything the controller manager runs. */
#include "controllers/cluster.h"
#include "controllers/cronjob.h"
#include "controllers/csr.h"
#include "controllers/daemonset.h"
#include "controllers/deployment.h"
#include "controllers/disruption.h"
#include "controllers/endpoints.h"
#include "controllers/engine.h"
#include "controllers/gc.h"
#include "controllers/job.h"
#include "controllers/namespace.h"
#include "controllers/nodes.h"
#include "controllers/hpa.h"
#include "controllers/quota.h"
#include "controllers/replicaset.h"
#include "controllers/resourceclaim.h"
#include "controllers/statefulset.h"
#include "controllers/volumes.h"

const struct controller *const controllers[] = {
    &namespace_controller,
    &serviceaccount_controller,
    &root_ca_controller,
    &deployment_controller,
    &replicaset_controller,
    &replicationcontroller_controller,
    &statefulset_controller,
    &daemonset_controller,
    &disruption_controller,
    &job_controller,
    &cronjob_controller,
    &ttl_after_finished_controller,
    &endpoints_controller,
    &endpointslice_controller,
    &endpointslice_mirroring_controller,
    &garbage_collector_controller,
    &pod_gc_controller,
    &node_lifecycle_controller,
    &taint_eviction_controller,
    &node_ipam_controller,
    &ttl_controller,
    &service_cidr_controller,
    &service_lb_controller,
    &service_repair_controller,
    &csr_approving_controller,
    &csr_signing_controller,
    &csr_cleaner_controller,
    &pod_certificate_cleaner_controller,
    &clusterrole_aggregation_controller,
    &pvc_protection_controller,
    &pv_protection_controller,
    &vac_protection_controller,
    &hpa_controller,
    &quota_controller,
    &pv_binder_controller,
    &attach_detach_controller,
    &volume_expand_controller,
    &ephemeral_volume_controller,
    &resourceclaim_controller,
    &device_taint_eviction_controller,
    &local_path_controller,
    NULL,
};

/* Upstream's names, as --controllers may say them, of what is not here: naming them is no error. */
const char *const controllers_elsewhere[] = {
    "serviceaccount-token-controller",
    "serviceaccount-token",
    "bootstrap-signer-controller",
    "bootstrapsigner",
    "token-cleaner-controller",
    "tokencleaner",
    "podgroup-protection-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "storageversion-garbage-collector-controller",
    "storage-version-gc",
    "resourcepoolstatusrequest-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "legacy-service-account-token-cleaner",
    "validatingadmissionpolicy-status-controller",
    "storage-version-migrator-controller",
    "svm",
    "selinux-warning-controller",
    "cloud-node-lifecycle-controller",
    "cloud-node-lifecycle",
    "node-route-controller",
    "route",
    NULL,
};
