/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/engine.h"

extern const struct controller replicaset_controller, replicationcontroller_controller;
