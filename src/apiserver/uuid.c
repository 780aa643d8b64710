/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/uuid.h"

#include <stdio.h>

#include "base/os.h"

char *uuid_new(char ret[static UUID_TEXT])
{
    uint8_t b[16];
    os_random(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(ret, UUID_TEXT, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return ret;
}
