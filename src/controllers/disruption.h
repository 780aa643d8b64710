/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/engine.h"

extern const struct controller disruption_controller; /* how many pods a PodDisruptionBudget lets go */
