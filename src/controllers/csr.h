/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/engine.h"

extern const struct controller csr_approving_controller, csr_signing_controller, csr_cleaner_controller, pod_certificate_cleaner_controller;
