/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies into values: JSON, YAML and protobuf, with kind and apiVersion checked and unknown fields told
 * (KEP-2885). */
#include "apiserver/audit.h"
#include "apiserver/request.h"

#include "names.h"
#include "type/structural.h"
#include "wire/json.h"
#include "wire/proto.h"
#include "wire/yaml.h"

static const struct {
    const char *name;
    enum media media;
} body_medias[] = {
    {"application/json", MEDIA_JSON},
    {"application/yaml", MEDIA_YAML},
    {"application/vnd.kubernetes.protobuf", MEDIA_PROTO},
    {"application/json-patch+json", MEDIA_JSON_PATCH},
    {"application/merge-patch+json", MEDIA_MERGE_PATCH},
    {"application/strategic-merge-patch+json", MEDIA_STRATEGIC_PATCH},
    {"application/apply-patch+yaml", MEDIA_APPLY_PATCH},
};

static enum media media_of(struct str content_type)
{
    struct str name, rest;
    str_cut(content_type, ';', &name, &rest);
    name = str_trim(name);
    if (!name.n)
        return MEDIA_JSON;
    for (size_t i = 0; i < ARRAY_SIZE(body_medias); i++)
        if (name.n == strlen(body_medias[i].name) && !strncasecmp(name.p, body_medias[i].name, name.n))
            return body_medias[i].media;
    return MEDIA_OTHER;
}

static int load(struct request *r)
{
    if (r->body_media)
        return 0;
    int e = request_read_body(r);
    r->body_media = media_of(http_header(&r->x->headers, "content-type"));
    return e;
}

static bool strict(const struct request *r)
{
    return str_is(r->opt.field_validation, "Strict");
}

static bool ignores(const struct request *r)
{
    return str_is(r->opt.field_validation, "Ignore");
}

/* What field validation found becomes warnings, or one refusal. */
static int judge(struct request *r, const struct json_report *rep)
{
    if (!rep->n || ignores(r))
        return 0;
    if (strict(r)) {
        struct str all = arena_join(r->arena, rep->problems, rep->n, STR(", "));
        return status_bad_request(&r->status, "strict decoding error: %.*s", STR_ARG(all));
    }
    for (unsigned i = 0; i < rep->n; i++)
        request_warn(r, rep->problems[i]);
    return 0;
}

static int unsupported(struct request *r)
{
    return status_set(&r->status, 415, "UnsupportedMediaType",
                      "the body of the request was in an unknown format - accepted media types include: "
                      "application/json, application/yaml, application/vnd.kubernetes.protobuf");
}

int settle_custom(struct request *r, const struct type *t, struct val *v, struct json_report *rep)
{
    struct err e = {0};
    if (!type_schema(t) || !val_is(v, VAL_MAP))
        return 0;
    structural_prune(r->arena, type_schema(t), v, true, rep);
    if (structural_embed(r->arena, type_schema(t), v, rep, &e) == 0)
        return 0;
    return status_bad_request(&r->status, "%s in version \"%s\" cannot be handled as a %s: %s", r->res->kind, r->res->version, r->res->kind,
                              e.text);
}

static int decode_text(struct request *r, const struct type *t, struct val **ret)
{
    struct json_report rep = {0};
    struct err e = {0};
    struct val *v = NULL;
    int d;
    switch (r->body_media) {
    case MEDIA_JSON:
        d = json_decode(r->arena, t, r->body, 0, &rep, &v, &e);
        break;
    case MEDIA_YAML: {
        struct str json;
        d = yaml_to_json(r->arena, r->body, &rep, &json, &e);
        if (d == 0)
            d = json_decode(r->arena, t, json, 0, &rep, &v, &e);
        break;
    }
    case MEDIA_PROTO:
        if (t->flags & TYPE_OPEN)
            return unsupported(r);
        d = proto_decode_object(r->arena, t, r->body, &v, &e);
        break;
    default:
        return unsupported(r);
    }
    if (d < 0)
        return status_bad_request(&r->status, "%s", err_text(&e, d));
    if (!val_is(v, VAL_OBJ) && !val_is(v, VAL_MAP))
        return status_bad_request(&r->status,
                                  "couldn't get version/kind; json parse error: the body is not an object");
    int refused = settle_custom(r, t, v, &rep);
    if (!refused)
        refused = judge(r, &rep);
    if (!refused)
        *ret = v;
    return refused;
}

int decode_json(struct request *r, const struct type *t, struct str text, struct val **ret)
{
    struct json_report rep = {0};
    struct err e = {0};
    struct val *v = NULL;
    int d = json_decode(r->arena, t, text, 0, &rep, &v, &e);
    if (d < 0)
        return status_bad_request(&r->status, "%s", err_text(&e, d));
    if (!val_is(v, VAL_OBJ) && !val_is(v, VAL_MAP))
        return status_bad_request(&r->status, "the result is not an object");
    int refused = settle_custom(r, t, v, &rep);
    if (!refused)
        refused = judge(r, &rep);
    if (!refused)
        *ret = v;
    return refused;
}

static int check_kind(struct request *r, struct val *v, const char *api_version, const char *kind)
{
    struct str has_version = val_getstr(v, N_apiVersion), has_kind = val_getstr(v, N_kind);
    if (val_is(v, VAL_MAP) && r->x && !has_kind.n)
        return status_bad_request(&r->status, "Object 'Kind' is missing in the object");
    if (has_version.n && !str_is(has_version, api_version))
        return status_bad_request(
            &r->status, "the API version in the data (%.*s) does not match the expected API version (%s)",
            STR_ARG(has_version), api_version);
    if (has_kind.n && !str_is(has_kind, kind))
        return status_bad_request(&r->status, "%.*s in version \"%s\" cannot be handled as a %s",
                                  STR_ARG(has_kind), api_version, kind);
    val_set_str(r->arena, v, N_kind, str_of(kind));
    val_set_str(r->arena, v, N_apiVersion, str_of(api_version));
    return 0;
}

int decode_body(struct request *r, const struct type *t, const char *api_version, const char *kind,
                struct val **ret)
{
    struct val *v = NULL;
    int e = 0;
    if (!r->x)
        v = r->body_val ? val_copy(r->arena, r->body_val) : val_new(r->arena, t->flags & TYPE_OPEN ? VAL_MAP : VAL_OBJ);
    else if (!(e = load(r)))
        e = decode_text(r, t, &v);
    if (!e)
        e = check_kind(r, v, api_version, kind);
    if (e)
        return e;
    audit_sent(r, t, v);
    *ret = v;
    return e;
}

/* DeleteOptions come with the version of any group. */
int decode_options(struct request *r, const struct type *t, const char *kind, struct val **ret)
{
    struct val *v = NULL;
    int e = load(r);
    if (!e)
        e = decode_text(r, t, &v);
    if (e)
        return e;
    struct str has = val_getstr(v, N_kind);
    if (has.n && !str_is(has, kind))
        return status_bad_request(&r->status, "expected %s, the body is a %.*s", kind, STR_ARG(has));
    *ret = v;
    return 0;
}

int decode_media(struct request *r, enum media *ret)
{
    int e = r->x ? load(r) : 0;
    if (!e)
        *ret = r->body_media;
    return e;
}
