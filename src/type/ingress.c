/* SPDX-License-Identifier: Apache-2.0 */
#include "type/ingress.h"

#include "names.h"
#include "type/meta.h"

bool ingress_is_ours(const struct tree *classes, const struct object *ingress)
{
    struct str name = val_str(val_at(ingress->val, N_spec, N_ingressClassName));
    if (!name.n)
        name = obj_annotation(ingress->val, STR("kubernetes.io/ingress.class"));
    const struct object *class = name.n ? tree_get(classes, name) : NULL;
    return class && str_is(val_str(val_at(class->val, N_spec, N_controller)), INGRESS_CONTROLLER);
}

bool ingress_names_secret(const struct object *ingress, struct str secret)
{
    VAL_EACH(val_at(ingress->val, N_spec, N_tls), it)
        if (secret.n && str_eq(val_getstr(it, N_secretName), secret))
            return true;
    return false;
}
