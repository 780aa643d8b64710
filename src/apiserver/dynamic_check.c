/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/dynamic.h"
void dynamic_check(struct request *r UNUSED, const struct resource *res UNUSED, const struct val *v UNUSED, const struct val *old UNUSED)
{
}
