/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/admit_review.h"

#include "names.h"
#include "types.h"
#include "wire/json.h"

struct str review_version(const struct val *versions)
{
    VAL_EACH (versions, v)
        if (str_is(val_str(v), "v1") || str_is(val_str(v), "v1beta1"))
            return val_str(v);
    return STR("");
}

struct str review_text(struct arena *a, struct str version, struct str uid, struct val *request)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, request, N_uid, uid);
    val_set_str(a, v, N_kind, STR("AdmissionReview"));
    val_set_str(a, v, N_apiVersion, arena_printf(a, "admission.k8s.io/" STR_FMT, STR_ARG(version)));
    val_set_ref(a, v, N_request, request);
    json_encode(&b, &types[T_admission_v1_AdmissionReview], v, 0);
    return arena_str(a, buf_str(&b));
}

/* What v1 asks of answers and its beta did not. */
static int check_v1(const struct val *v, const struct val *response, struct str uid, bool mutating, struct err *e)
{
    struct str patch = val_getstr(response, N_patch), api = val_getstr(v, N_apiVersion), kind = val_getstr(v, N_kind);
    const struct val *type = val_get(response, N_patchType);
    if (!str_eq(val_getstr(response, N_uid), uid))
        return err_set(e, -EINVAL, "expected response.uid=\"" STR_FMT "\", got \"" STR_FMT "\"", STR_ARG(uid),
                       STR_ARG(val_getstr(response, N_uid)));
    if (!str_is(api, "admission.k8s.io/v1") || !str_is(kind, "AdmissionReview"))
        return err_set(e, -EINVAL, "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got " STR_FMT ", Kind=" STR_FMT,
                       STR_ARG(api), STR_ARG(kind));
    if (!mutating && patch.n)
        return err_set(e, -EINVAL, "validating webhook may not return response.patch");
    if (!mutating && type)
        return err_set(e, -EINVAL, "validating webhook may not return response.patchType");
    if (patch.n && !type)
        return err_set(e, -EINVAL, "webhook returned response.patch but not response.patchType");
    if (!patch.n && type)
        return err_set(e, -EINVAL, "webhook returned response.patchType but not response.patch");
    if (type && !str_is(val_str(type), "JSONPatch"))
        return err_set(e, -EINVAL, val_str(type).n ? "unsupported patch type \"" STR_FMT "\"" : "webhook returned invalid response.patchType of \"" STR_FMT "\"",
                       STR_ARG(val_str(type)));
    return 0;
}

int review_read(struct arena *a, struct str version, struct str uid, bool mutating, struct str text, struct review_answer *ret,
                struct err *e)
{
    struct val *v = NULL;
    int r = json_decode(a, &types[T_admission_v1_AdmissionReview], text, 0, NULL, &v, e);
    const struct val *response = val_get(v, N_response);
    if (r < 0)
        return r;
    if (!response)
        return err_set(e, -EINVAL, "webhook response was absent");
    if (str_is(version, "v1") && (r = check_v1(v, response, uid, mutating, e)) < 0)
        return r;
    *ret = (struct review_answer){.allowed = val_bool(val_get(response, N_allowed), false),
                                  .patch = mutating ? val_getstr(response, N_patch) : STR(""),
                                  .status = val_get(response, N_status),
                                  .warnings = val_get(response, N_warnings),
                                  .notes = val_get(response, N_auditAnnotations)};
    return 0;
}
