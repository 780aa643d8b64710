/* SPDX-License-Identifier: Apache-2.0 */
/* scale: the Scale view (autoscaling/v1) of kinds that have replicas. */
#include "apiserver/custom.h"
#include "apiserver/select.h"
#include "apiserver/track.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

static struct str selector_text(struct request *r, const struct val *v)
{
    struct selector s;
    const struct val *sel = val_at(v, N_spec, N_selector);
    if (r->res->index == RES_REPLICATIONCONTROLLERS)
        selector_from_map(r->arena, sel, &s);
    else if (selector_from_val(r->arena, sel, &s, NULL) < 0)
        return STR("");
    return selector_print(r->arena, &s);
}

static struct custom_replicas replicas_of(struct request *r, const struct val *v)
{
    const struct custom_version *custom = custom_version(r->res);
    struct custom_replicas n = {.wanted = 0};
    if (custom)
        custom_scale_get(custom, r->arena, v, &n);
    else
        n = (struct custom_replicas){val_int(val_at(v, N_spec, N_replicas), 0), val_int(val_at(v, N_status, N_replicas), 0),
                                     selector_text(r, v)};
    return n;
}

struct val *scale_view(struct request *r, const struct val *v)
{
    struct custom_replicas n = replicas_of(r, v);
    static const name_id shared[] = {N_name, N_namespace, N_uid, N_resourceVersion, N_creationTimestamp};
    struct arena *a = r->arena;
    struct val *scale = val_new(a, VAL_OBJ);
    val_set_str(a, scale, N_kind, STR("Scale"));
    val_set_str(a, scale, N_apiVersion, STR("autoscaling/v1"));
    struct val *meta = val_sub_obj(a, scale, N_metadata);
    for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
        val_set_ref(a, meta, shared[i], val_get(obj_meta(v), shared[i]));
    val_set_int(a, val_sub_obj(a, scale, N_spec), N_replicas, n.wanted);
    struct val *status = val_sub_obj(a, scale, N_status);
    val_set_int(a, status, N_replicas, n.now);
    if (n.selector.n)
        val_set_str(a, status, N_selector, n.selector);
    return scale;
}

void scale_store(struct request *r, struct val *v, const struct val *scale)
{
    const struct custom_version *custom = custom_version(r->res);
    int64_t wanted = val_int(val_at(scale, N_spec, N_replicas), 0);
    if (!custom)
        val_set_int(r->arena, val_sub_obj(r->arena, v, N_spec), N_replicas, wanted);
    else
        custom_scale_set(custom, r->arena, v, wanted);
}

static void answer_scale(struct request *r, const struct object *o)
{
    answer_value(r, 200, &types[T_autoscaling_v1_Scale], scale_view(r, o->val));
}

int sub_scale_get(struct request *r)
{
    const struct object *o = NULL;
    struct custom_replicas n;
    int e = find_named(r, &o);
    const struct custom_version *custom = e ? NULL : custom_version(r->res);
    if (custom && !custom_scale_get(custom, r->arena, o->val, &n))
        return status_internal(&r->status, "the spec replicas field \"" STR_FMT "\" does not exist", STR_ARG(custom->scale.spec_replicas));
    if (!e)
        answer_scale(r, o);
    return e;
}

static int check_scale(struct request *r, const struct val *scale)
{
    const struct val *n = val_at(scale, N_spec, N_replicas);
    struct str name = obj_name(scale);
    if (name.n && !str_eq(name, r->info.name))
        return status_bad_request(&r->status,
                                  "the name of the object (%.*s) does not match the name on the URL (%.*s)",
                                  STR_ARG(name), STR_ARG(r->info.name));
    if (val_int(n, 0) < 0)
        cause_invalid(&r->status, STR("spec.replicas"), n, "must be greater than or equal to 0");
    return status_invalid(&r->status, STR("autoscaling"), STR("Scale"), r->info.name);
}

static int apply_scale(struct request *r, const struct object *now, const struct val *scale, struct val **ret)
{
    int e = check_scale(r, scale);
    if (e)
        return e;
    struct val *v = val_copy(r->arena, now->val);
    const struct custom_version *custom = custom_version(r->res);
    int64_t wanted = val_int(val_at(scale, N_spec, N_replicas), 0);
    if (!custom)
        val_set_int(r->arena, val_sub_obj(r->arena, v, N_spec), N_replicas, wanted);
    else if (!custom_scale_set(custom, r->arena, v, wanted))
        return status_internal(&r->status, "the object has no place for spec.replicas");
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    val_set_ref(r->arena, meta, N_resourceVersion, val_get(obj_meta(scale), N_resourceVersion));
    if (obj_uid(scale).n)
        val_set_str(r->arena, meta, N_uid, obj_uid(scale));
    *ret = v;
    return 0;
}

/* What stands, with its managers. */
static struct val *scale_before(struct request *r, const struct object *now)
{
    struct val *was = scale_view(r, now->val);
    track_scale_before(r, now, was);
    return was;
}

static int update_scale(struct request *r, const struct object *now, const struct val *was, const struct val *scale,
                        struct val **ret)
{
    struct managed_request m = track_scale_request(r);
    track_scale_after(r, now, managed_update(r->arena, &m, was, scale));
    return apply_scale(r, now, scale, ret);
}

static int put_scale(struct request *r, const struct object *now, void *arg UNUSED, struct val **ret)
{
    struct val *scale = NULL;
    int e = decode_body(r, &types[T_autoscaling_v1_Scale], "autoscaling/v1", "Scale", &scale);
    return e ? e : update_scale(r, now, scale_before(r, now), scale, ret);
}

static int patch_scale(struct request *r, const struct object *now, void *arg UNUSED, struct val **ret)
{
    struct val *scale = NULL, *was = scale_before(r, now);
    int e = patch_value(r, &types[T_autoscaling_v1_Scale], was, &scale);
    return e ? e : update_scale(r, now, was, scale, ret);
}

/* Server-side apply of the Scale; arg: the configuration. */
static int merge_scale(struct request *r, const struct object *now, void *arg, struct val **ret)
{
    const struct val *merged, *managed;
    struct managed_request m = track_scale_request(r);
    struct val *scale = NULL;
    CLEANUP_BUF struct buf text = BUF_INIT;
    int e = managed_apply(r->arena, &m, scale_before(r, now), arg, r->opt.force, &merged, &managed, &r->status);
    if (e)
        return e;
    json_encode(&text, NULL, merged, 0);
    if ((e = decode_json(r, &types[T_autoscaling_v1_Scale], arena_str(r->arena, buf_str(&text)), &scale)))
        return e;
    track_scale_after(r, now, managed);
    return apply_scale(r, now, scale, ret);
}

int sub_scale_update(struct request *r)
{
    const struct object *o = NULL;
    int e = write_update(r, put_scale, NULL, 0, &o, NULL);
    if (!e)
        answer_scale(r, o);
    return e;
}

int sub_scale_patch(struct request *r)
{
    enum media media;
    const struct object *o = NULL;
    struct val *config = NULL;
    int e = decode_media(r, &media);
    if (!e && media == MEDIA_APPLY_PATCH)
        e = read_config(r, STR("autoscaling/v1"), STR("Scale"), &config);
    if (!e)
        e = write_update(r, config ? merge_scale : patch_scale, config, 0, &o, NULL);
    if (!e)
        answer_scale(r, o);
    return e;
}
