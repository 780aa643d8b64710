/* SPDX-License-Identifier: Apache-2.0 */
/* Random identifiers (RFC 9562, version 4). */
#pragma once

enum { UUID_TEXT = 37 };
char *uuid_new(char ret[static UUID_TEXT]);
