/* SPDX-License-Identifier: Apache-2.0 */
/* patch: the three old kinds. Server-side apply is not served yet and says so. */
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "names.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/patch.h"
#include "wire/json.h"

static int unsupported(struct request *r)
{
    return status_set(&r->status, 415, "UnsupportedMediaType",
                      "the body of the request was in an unknown format - accepted media types include: "
                      "application/json-patch+json, application/merge-patch+json, "
                      "application/strategic-merge-patch+json");
}

int patch_value(struct request *r, const struct type *t, const struct val *doc, struct val **ret)
{
    struct val *v = NULL;
    int e;
    switch (r->body_media) {
    case MEDIA_JSON_PATCH:
        e = patch_json(r->arena, t, doc, r->body, &v, &r->status);
        break;
    case MEDIA_MERGE_PATCH:
        e = patch_merge(r->arena, t, doc, r->body, &v, &r->status);
        break;
    case MEDIA_STRATEGIC_PATCH:
        e = patch_strategic(r->arena, t, doc, r->body, &v, &r->status);
        break;
    case MEDIA_APPLY_PATCH:
        return status_set(&r->status, 415, "UnsupportedMediaType",
                          "server-side apply is not served yet: use another kind of patch");
    default:
        return unsupported(r);
    }
    if (e)
        return e;
    /* Through its text once more: forms become canonical, and fields nobody knows are found. */
    CLEANUP_BUF struct buf text = BUF_INIT;
    json_encode(&text, NULL, v, 0);
    return decode_json(r, t, arena_str(r->arena, buf_str(&text)), ret);
}

/* A patch may repeat kind and apiVersion, not change them. */
static int same_kind(struct request *r, const struct val *was, const struct val *is)
{
    static const name_id names[] = {N_apiVersion, N_kind};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!str_eq(val_getstr(was, names[i]), val_getstr(is, names[i])))
            return status_bad_request(&r->status, "a patch cannot change %.*s", STR_ARG(name_str(names[i])));
    return 0;
}

static int patch_now(struct request *r, const struct object *now, void *arg UNUSED, struct val **ret)
{
    const struct val *was = convert_from_stored(r->arena, r->res, now->val);
    struct val *v = NULL;
    int e = patch_value(r, r->res->type, was, &v);
    if (!e)
        e = same_kind(r, was, v);
    if (e)
        return e;
    defaults_apply(r->arena, r->res->type, v);
    *ret = convert_to_stored(r->arena, r->res, v);
    return 0;
}

int verb_patch(struct request *r)
{
    enum media media;
    const struct object *o = NULL;
    int e = decode_media(r, &media);
    if (!e)
        e = write_update(r, patch_now, NULL, 0, &o, NULL);
    if (!e)
        answer_object(r, 200, o);
    return e;
}
