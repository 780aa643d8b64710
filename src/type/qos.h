/* SPDX-License-Identifier: Apache-2.0 */
/* The quality of service class of a Pod (API documentation, "Pod Quality of Service Classes"). */
#pragma once

#include "wire/value.h"

/* "Guaranteed", "Burstable" or "BestEffort". */
const char *pod_qos_class(const struct val *pod_spec);
