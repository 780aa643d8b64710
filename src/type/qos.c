/* SPDX-License-Identifier: Apache-2.0 */
#include "type/qos.h"

#include "names.h"
#include "wire/quantity.h"

enum class { NONE_YET, BEST_EFFORT, GUARANTEED, BURSTABLE };

static enum class of_resource(const struct val *resources, struct str name) {
    struct quantity request = quantity_or_zero(val_str(val_key(val_get(resources, N_requests), name)));
    struct quantity limit = quantity_or_zero(val_str(val_key(val_get(resources, N_limits), name)));
    if (quantity_cmp(request, limit) != 0) return BURSTABLE;
    return quantity_is_zero(request) ? BEST_EFFORT : GUARANTEED;
}

static enum class both(enum class a, enum class b) { return a == NONE_YET || a == b ? b : BURSTABLE; }

static enum class of_resources(const struct val *resources) {
    return both(of_resource(resources, STR("cpu")), of_resource(resources, STR("memory")));
}

static bool has_any(const struct val *resources)
{
    return val_len(val_get(resources, N_requests)) || val_len(val_get(resources, N_limits));
}

const char *pod_qos_class(const struct val *spec)
{
    static const char *const names[] = {"BestEffort", "BestEffort", "Guaranteed", "Burstable"};
    static const name_id lists[] = {N_initContainers, N_containers};
    const struct val *of_pod = val_get(spec, N_resources);
    enum class c = NONE_YET;
    if (has_any(of_pod))
        return names[of_resources(of_pod)];
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH (val_get(spec, lists[i]), container)
            c = both(c, of_resources(val_get(container, N_resources)));
    return names[c];
}
