/* SPDX-License-Identifier: Apache-2.0 */
/* The formats that a custom resource's schema may ask of a string (OpenAPI formats as upstream supports them). */
#pragma once

#include "base/str.h"

/* Is it of that form? A format that is not known fits everything (upstream drops those). */
bool custom_format_known(struct str format);
bool custom_format_fits(struct str format, struct str s);
