/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs at times of the day, and the end of Jobs that have ended. */
#pragma once

#include "controllers/engine.h"

extern const struct controller cronjob_controller, ttl_after_finished_controller;
