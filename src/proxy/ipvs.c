/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/backend.h"

int ipvs_cleanup(struct err *e)
{
    return 0;
}
