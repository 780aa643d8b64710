/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "controllers/engine.h"

extern const struct controller quota_controller;
