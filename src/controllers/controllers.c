/* SPDX-License-Identifier: Apache-2.0 */
/* Everything the controller manager runs. */
#include "controllers/engine.h"
#include "controllers/replicaset.h"

const struct controller *const controllers[] = {
    &replicaset_controller,
    &replicationcontroller_controller,
    NULL,
};
