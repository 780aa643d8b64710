/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/match.h"

#include "names.h"
#include "type/meta.h"

/* ---- terms about other pods ------------------------------------------------------------------------------------------ */

static bool in_values(const struct val *values, struct str s)
{
    VAL_EACH(values, v)
    {
        if (str_eq(val_str(v), s))
            return true;
    }
    return false;
}

/* matchLabelKeys and mismatchLabelKeys (KEP-3633) are merged into the selector by the API server. */
void match_read_term(struct arena *a, const struct val *term, const struct object *owner, int64_t weight,
                     struct pod_term *ret)
{
    const struct val *ns_selector = val_get(term, N_namespaceSelector);
    *ret = (struct pod_term){.namespaces = val_get(term, N_namespaces),
                             .own_namespace = owner->namespace_,
                             .topology_key = val_getstr(term, N_topologyKey),
                             .weight = weight};
    if (selector_from_val(a, val_get(term, N_labelSelector), &ret->selector, NULL) < 0)
        ret->selector = (struct selector){.nothing = true};
    if (!ns_selector)
        return;
    ret->has_namespace_selector = true;
    if (selector_from_val(a, ns_selector, &ret->namespace_selector, NULL) < 0)
        ret->namespace_selector = (struct selector){.nothing = true};
    ret->any_namespace = !ret->namespace_selector.n && !ret->namespace_selector.nothing;
}

static bool match_namespace(const struct pod_term *t, struct str ns, namespace_labels *labels_of, void *ctx)
{
    if (t->any_namespace || in_values(t->namespaces, ns))
        return true;
    if (t->has_namespace_selector)
        return labels_of && selector_matches(&t->namespace_selector, labels_of(ctx, ns));
    return !val_len(t->namespaces) && str_eq(ns, t->own_namespace);
}

bool match_term(const struct pod_term *t, const struct object *pod, namespace_labels *labels_of, void *ctx)
{
    return match_namespace(t, pod->namespace_, labels_of, ctx) && selector_matches(&t->selector, obj_labels(pod->val));
}
