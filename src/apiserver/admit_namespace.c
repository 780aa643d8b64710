/* SPDX-License-Identifier: Apache-2.0 */
/* NamespaceLifecycle: nothing is made in a namespace that is not there or is going away; three of them stay.
 */
#include "apiserver/admit.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

static bool immortal(struct str name)
{
    return str_is(name, "default") || str_is(name, "kube-system") || str_is(name, "kube-public");
}

static int terminating(struct admission *a)
{
    int e = admit_forbid(a, "unable to create new content in namespace %.*s because it is being terminated",
                         STR_ARG(a->ns));
    cause_add(&a->r->status, "NamespaceTerminating", STR("metadata.namespace"),
              "namespace %.*s is being terminated", STR_ARG(a->ns));
    return e;
}

int admit_namespace_delete(struct admission *a)
{
    if (a->res->index == RES_NAMESPACES && a->op == ADMIT_DELETE && immortal(a->name))
        return admit_forbid(a, "this namespace may not be deleted");
    return 0;
}

/* Before everything else: other plugins look things up in the namespace. */
int admit_namespace_lifecycle(struct admission *a)
{
    if (!a->res->namespaced || a->op == ADMIT_DELETE)
        return 0;
    const struct val *ns = admit_find(a, RES_NAMESPACES, STR(""), a->ns);
    if (!ns)
        return status_not_found(&a->r->status, &resources[RES_NAMESPACES], a->ns);
    bool ending = str_is(val_str(val_at(ns, N_status, N_phase)), "Terminating");
    return a->op == ADMIT_CREATE && !a->sub && ending ? terminating(a) : 0;
}
