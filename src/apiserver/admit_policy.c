/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/dynamic.h"
int admit_validating_policies(struct admission *a UNUSED)
{
    return 0;
}
void admit_policy_make(struct apiserver *s UNUSED, struct admit_config *c UNUSED)
{
}
void admit_binding_make(struct apiserver *s UNUSED, struct admit_config *c UNUSED)
{
}
