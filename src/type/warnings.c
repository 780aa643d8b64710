/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"

void object_warnings(const struct resource *r, const struct val *v, const struct val *old, warn_fn *warn, void *arg)
{
    (void)r;
    (void)v;
    (void)old;
    (void)warn;
    (void)arg;
}
