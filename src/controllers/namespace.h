/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/engine.h"

extern const struct controller namespace_controller;
/* What every namespace gets: the ServiceAccount "default" and the ConfigMap kube-root-ca.crt. */
extern const struct controller serviceaccount_controller, root_ca_controller;
