/* SPDX-License-Identifier: Apache-2.0 */
/* Consumable capacity (KEP-5075): what a request takes of a device's capacities, and whether that is left. */
#include "names.h"
#include "scheduler/devices.h"

#define NANO ((__int128)1000000000)
#define MOST (((__int128)INT64_MAX) * NANO) /* upstream's arithmetic ends there */

static __int128 amount(const struct val *q)
{
    return quantity_or_zero(val_str(q)).nano;
}

/* Up to the range's least, or to the next step that counts from there. */
static enum capacity_fit round_to_range(__int128 asked, const struct val *range, __int128 *ret)
{
    const struct val *step = val_get(range, N_step);
    __int128 min = amount(val_get(range, N_min)), by = amount(step);
    if (asked < min || !step || by <= 0) {
        *ret = MAX(asked, min);
        return CAPACITY_FITS;
    }
    if (asked > MOST)
        return CAPACITY_NONSENSE;
    *ret = min + (asked - min + by - 1) / by * by;
    return *ret > MOST ? CAPACITY_NONSENSE : CAPACITY_FITS;
}

static __int128 round_to_values(__int128 asked, const struct val *values)
{
    VAL_EACH (values, v)
        if (asked <= amount(v))
            return amount(v);
    return asked;
}

/* What is taken of one capacity. asked: NULL when the request says nothing of it. */
static enum capacity_fit consumed(const struct val *capacity, const struct val *asked, __int128 *ret)
{
    const struct val *policy = val_get(capacity, N_requestPolicy), *range = val_get(policy, N_validRange);
    const struct val *values = val_get(policy, N_validValues);
    enum capacity_fit fit = CAPACITY_FITS;
    if (!asked)
        *ret = amount(val_get(policy, N_default) ?: val_get(capacity, N_value));
    else if (val_get(range, N_min))
        fit = round_to_range(amount(asked), range, ret);
    else if (values)
        *ret = round_to_values(amount(asked), values);
    else
        *ret = amount(asked);
    return fit == CAPACITY_FITS && *ret < 0 ? CAPACITY_NONSENSE : fit;
}

static bool violates(__int128 n, const struct val *policy)
{
    const struct val *range = val_get(policy, N_validRange), *values = val_get(policy, N_validValues);
    const struct val *standard = val_get(policy, N_default), *max = val_get(range, N_max);
    __int128 step = amount(val_get(range, N_step));
    if (!policy || (standard && amount(standard) == n))
        return false;
    if (range)
        return (max && n > amount(max)) || (step > 0 && (n - amount(val_get(range, N_min))) % step);
    VAL_EACH (values, v)
        if (amount(v) == n)
            return false;
    return val_len(values) > 0;
}

static __int128 used_of(const struct device_amounts *l, struct str name)
{
    const struct device_amount *u = device_amounts_find(l, name);
    return u ? u->nano : 0;
}

enum capacity_fit capacity_fit(const struct device *d, const struct val *request, const struct device_amounts *also_used,
                               struct arena *a, struct device_amounts *ret)
{
    const struct val *asked = val_get(request, N_requests), *have = val_get(d->v, N_capacity);
    struct device_amounts all = {0};
    VAL_EACH_ENTRY (asked, k, q) {
        (void)q;
        if (!val_key(have, val_str(k)))
            return CAPACITY_SHORT; /* another device may have it */
    }
    /* Nonsense in any of them ends it, whatever is short in another. */
    VAL_EACH_ENTRY (have, k, c) {
        __int128 n = 0;
        enum capacity_fit fit = consumed(c, val_key(asked, val_str(k)), &n);
        if (fit != CAPACITY_FITS)
            return fit;
        device_amounts_add(a, &all, val_str(k), n);
    }
    for (size_t i = 0; i < all.n; i++) {
        const struct val *c = val_key(have, all.items[i].name);
        __int128 sum = all.items[i].nano + used_of(&d->used, all.items[i].name) + used_of(also_used, all.items[i].name);
        if (violates(all.items[i].nano, val_get(c, N_requestPolicy)) || sum > amount(val_get(c, N_value)))
            return CAPACITY_SHORT;
    }
    if (ret)
        *ret = all;
    return CAPACITY_FITS;
}
