/* SPDX-License-Identifier: Apache-2.0 */
#include "type/resourceclaim.h"

enum pod_claim pod_resource_claim(const struct val *pod, const struct val *entry, struct str *ret_name,
                                  bool *ret_generated)
{
    const struct val *name = val_get(entry, N_resourceClaimName);
    *ret_generated = !name;
    *ret_name = val_str(name);
    if (name)
        return POD_CLAIM_NAMED;
    const struct val *status =
        val_named(val_at(pod, N_status, N_resourceClaimStatuses), val_getstr(entry, N_name));
    if (!status)
        return POD_CLAIM_PENDING;
    *ret_name = val_getstr(status, N_resourceClaimName);
    return ret_name->n ? POD_CLAIM_NAMED : POD_CLAIM_NONE;
}

bool claim_reserved_for(const struct val *claim, struct str uid)
{
    VAL_EACH (val_at(claim, N_status, N_reservedFor), r)
        if (str_eq(val_getstr(r, N_uid), uid))
            return true;
    return false;
}

struct str base_request(struct str request)
{
    struct str base, rest;
    return str_cut(request, '/', &base, &rest) ? base : request;
}

bool requests_include(const struct val *requests, struct str request)
{
    struct str base = base_request(request);
    if (!val_len(requests))
        return true;
    VAL_EACH (requests, r)
        if (str_eq(val_str(r), request) || str_eq(val_str(r), base))
            return true;
    return false;
}

bool same_allocated_device(const struct val *a, const struct val *b)
{
    static const name_id keys[] = {N_driver, N_pool, N_device, N_shareID};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (!str_eq(val_getstr(a, keys[i]), val_getstr(b, keys[i])))
            return false;
    return true;
}

const struct val *claim_device_status(const struct val *claim, const struct val *result)
{
    static const name_id keys[] = {N_driver, N_pool, N_device};
    VAL_EACH (val_at(claim, N_status, N_devices), d) {
        size_t same = 0;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
            same += str_eq(val_getstr(d, keys[i]), val_getstr(result, keys[i]));
        if (same == ARRAY_SIZE(keys))
            return d;
    }
    return NULL;
}

static enum claim_binding device_binding(const struct val *claim, const struct val *result,
                                         const struct val **ret_failed)
{
    const struct val *conditions = val_get(claim_device_status(claim, result), N_conditions);
    if (!val_len(val_get(result, N_bindingConditions)))
        return CLAIM_READY;
    VAL_EACH (val_get(result, N_bindingFailureConditions), c)
        if (condition_is(conditions, val_str(c), "True")) {
            *ret_failed = condition_find(conditions, val_str(c));
            return CLAIM_FAILED;
        }
    VAL_EACH (val_get(result, N_bindingConditions), c)
        if (!condition_is(conditions, val_str(c), "True"))
            return CLAIM_WAITS;
    return CLAIM_READY;
}

enum claim_binding claim_binding(const struct val *claim, const struct val **ret_failed)
{
    const struct val *results = val_at(claim, N_status, N_allocation, N_devices, N_results);
    if (!val_at(claim, N_status, N_allocation))
        return CLAIM_WAITS;
    VAL_EACH (results, r) {
        enum claim_binding b = device_binding(claim, r, ret_failed);
        if (b != CLAIM_READY)
            return b;
    }
    return CLAIM_READY;
}

bool claim_has_conditions(const struct val *claim)
{
    VAL_EACH (val_at(claim, N_status, N_allocation, N_devices, N_results), r)
        if (val_len(val_get(r, N_bindingConditions)))
            return true;
    return false;
}
