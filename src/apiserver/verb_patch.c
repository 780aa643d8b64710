/* SPDX-License-Identifier: Apache-2.0 */
/* patch: the three old kinds, and server-side apply (KEP-555). */
#include "apiserver/conversion.h"
#include "apiserver/audit.h"
#include "apiserver/track.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "names.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/patch.h"
#include "type/structural.h"
#include "wire/json.h"
#include "wire/yaml.h"

static int unsupported(struct request *r)
{
    return status_set(&r->status, 415, "UnsupportedMediaType",
                      "the body of the request was in an unknown format - accepted media types include: "
                      "application/json-patch+json, application/merge-patch+json, "
                      "application/strategic-merge-patch+json, application/apply-patch+yaml");
}

/* $patch, $retainKeys, $setElementOrder/x ...: no fields, but words of strategic patches. */
static bool is_directive(struct str problem)
{
    return str_contains(problem, STR("\"$")) || str_contains(problem, STR(".$"));
}

/* What field validation found in a patch, or in what came of it. */
static int judge_patch(struct request *r, const struct json_report *rep)
{
    for (unsigned i = 0; i < rep->n; i++) {
        if (is_directive(rep->problems[i]))
            continue;
        if (str_is(r->opt.field_validation, "Strict")) {
            struct val bad = val_of_str(r->body);
            cause_invalid(&r->status, STR("patch"), &bad,
                          arena_printf(r->arena, "strict decoding error: %.*s", STR_ARG(rep->problems[i])).p);
        } else {
            request_warn(r, rep->problems[i]);
        }
    }
    return status_invalid(&r->status, STR(""), STR(""), STR(""));
}

/* Fields of the patch itself that the type does not have (KEP-2885); a document that is no object is the
 * patch's own trouble. */
static int check_fields(struct request *r, const struct type *t)
{
    struct json_report rep = {0};
    struct val *v = NULL;
    if (str_is(r->opt.field_validation, "Ignore") || t->flags & TYPE_OPEN || json_decode(r->arena, t, r->body, 0, &rep, &v, NULL) < 0)
        return 0;
    return judge_patch(r, &rep);
}

static int check_patch(struct request *r, const struct type *t)
{
    if (str_is(str_trim(r->body), "null"))
        r->body = r->body_media == MEDIA_JSON_PATCH ? STR("[]") : STR("{}");
    return r->body_media == MEDIA_JSON_PATCH ? 0 : check_fields(r, t);
}

/* Of a custom resource it shows only in the result what its schema does not know. */
static int check_custom(struct request *r, const struct type *t, struct val *v)
{
    struct json_report rep = {0};
    if (!type_schema(t) || !val_is(v, VAL_MAP))
        return 0;
    int e = settle_custom(r, t, v, &rep);
    if (e)
        return e;
    return str_is(r->opt.field_validation, "Ignore") ? 0 : judge_patch(r, &rep);
}

int patch_value(struct request *r, const struct type *t, const struct val *doc, struct val **ret)
{
    struct val *v = NULL;
    int e = check_patch(r, t);
    if (e)
        return e;
    switch (r->body_media) {
    case MEDIA_JSON_PATCH:
        e = patch_json(r->arena, t, doc, r->body, &v, &r->status);
        break;
    case MEDIA_MERGE_PATCH:
        e = patch_merge(r->arena, t, doc, r->body, &v, &r->status);
        break;
    case MEDIA_STRATEGIC_PATCH:
        if (t->flags & TYPE_OPEN)
            return unsupported(r);
        e = patch_strategic(r->arena, t, doc, r->body, &v, &r->status);
        break;
    default:
        return unsupported(r);
    }
    if (!e)
        e = check_custom(r, t, v);
    if (e)
        return e;
    /* Through its text once more: forms become canonical, and fields nobody knows are found. */
    CLEANUP_BUF struct buf text = BUF_INIT;
    json_encode(&text, t->flags & TYPE_OPEN ? t : NULL, v, 0);
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
    const struct val *was = NULL;
    struct val *v = NULL;
    int e = conversion_from_stored(r, r->res, now->val, &was);
    if (!e)
        e = patch_value(r, r->res->type, was, &v);
    if (!e)
        e = same_kind(r, was, v);
    if (e)
        return e;
    defaults_apply(r->arena, r->res->type, v);
    return conversion_of_body(r, v, ret);
}

/* ---- apply ------------------------------------------------------------------------------------------- */

static int decode_config(struct request *r, struct val **ret)
{
    struct json_report rep = {0};
    struct str json;
    struct err e = {0};
    if (yaml_to_json(r->arena, r->body, &rep, &json, &e) < 0 || json_decode(r->arena, NULL, json, 0, NULL, ret, &e) < 0)
        return status_bad_request(&r->status, "error decoding YAML: %s", e.text);
    if (rep.n)
        return status_bad_request(&r->status, "error decoding YAML: %.*s", STR_ARG(rep.problems[0]));
    if (!val_is(*ret, VAL_MAP))
        return status_bad_request(&r->status, "error decoding YAML: the configuration is not an object");
    return 0;
}

int read_config(struct request *r, struct str api_version, struct str kind, struct val **ret)
{
    struct val *config = NULL;
    int e = decode_config(r, &config);
    if (e)
        return e;
    struct str is = val_str(val_key(config, STR("kind"))), version = val_str(val_key(config, STR("apiVersion")));
    if (!is.n)
        return status_bad_request(&r->status, "Object 'Kind' is missing in the configuration");
    if (!str_eq(is, kind) || !str_eq(version, api_version))
        return status_bad_request(&r->status, "invalid object type: %.*s, Kind=%.*s", STR_ARG(version), STR_ARG(is));
    *ret = config;
    return 0;
}

static int apply_now(struct request *r, const struct object *now, void *arg, struct val **ret)
{
    const struct val *live = NULL, *merged = NULL;
    struct managed_request m = track_request(r);
    CLEANUP_BUF struct buf text = BUF_INIT;
    struct val *v = NULL;
    int e = now ? conversion_from_stored(r, r->res, now->val, &live) : 0;
    if (!e)
        e = managed_apply(r->arena, &m, live, arg, r->opt.force, &merged, &r->managed, &r->status);
    if (e)
        return e;
    r->managed_known = true;
    json_encode(&text, NULL, merged, 0);
    if ((e = decode_json(r, r->res->type, arena_str(r->arena, buf_str(&text)), &v)))
        return e;
    defaults_apply(r->arena, r->res->type, v);
    return conversion_of_body(r, v, ret);
}

static int verb_apply(struct request *r)
{
    struct val *config = NULL;
    const struct object *o = NULL;
    bool created = false;
    int e = read_config(r, track_request(r).api_version, str_of(r->res->kind), &config);
    if (!e)
        audit_sent(r, NULL, config);
    if (!e)
        e = write_update(r, apply_now, config, r->sub ? 0 : WRITE_CREATES, &o, &created);
    if (!e)
        answer_object(r, created ? 201 : 200, o);
    return e;
}

int verb_patch(struct request *r)
{
    enum media media;
    const struct object *o = NULL;
    int e = decode_media(r, &media);
    if (!e && media == MEDIA_APPLY_PATCH)
        return verb_apply(r);
    if (!e)
        audit_sent_patch(r, r->body);
    if (!e)
        e = write_update(r, patch_now, NULL, 0, &o, NULL);
    if (!e)
        answer_object(r, 200, o);
    return e;
}
