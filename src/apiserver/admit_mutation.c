/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/dynamic.h"
int admit_mutating_policies(struct admission *a UNUSED)
{
    return 0;
}
void admit_mutation_make(struct apiserver *s UNUSED, struct admit_config *c UNUSED)
{
}
