/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/track.h"

#include "apiserver/conversion.h"
#include "apiserver/custom.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

enum { MANAGER_MAX = 128 };
#define ANY_RESOURCE (-1)

/* ---- who ------------------------------------------------------------------------------------------------- */

/* "kubectl/v1.37.2 (linux/amd64) ..." is kubectl. */
static struct str program_of(struct request *r)
{
    struct str agent = http_header(&r->x->headers, "user-agent"), name, rest;
    struct buf b CLEANUP_BUF = BUF_INIT;
    str_cut(agent, '/', &name, &rest);
    for (size_t i = 0; i < name.n && b.n < MANAGER_MAX; i++)
        if ((unsigned char)name.p[i] >= 0x20 && name.p[i] != 0x7f)
            buf_putc(&b, name.p[i]);
    return arena_str(r->arena, buf_str(&b));
}

/* Parts of this process have no user agent; upstream's names of theirs are known by whom they act as. */
static struct str part_of(const struct request *r)
{
    struct str user = r->user.name, prefix = STR("system:");
    if (r->trusted || !user.n)
        return STR("kube-apiserver");
    if (str_starts(user, STR("system:node:")))
        return STR("kubelet");
    if (str_starts(user, STR("system:serviceaccount:kube-system:")))
        return STR("kube-controller-manager");
    return str_starts(user, prefix) ? str_from(user, prefix.n) : user;
}

/* ---- what ------------------------------------------------------------------------------------------------ */

static const char *sub_of(const struct request *r)
{
    return r->sub ? r->sub->name : NULL;
}

/* What a write leaves alone, whatever it sends (upstream's GetResetFields): spec and status are written by different doors.
 * The first line that fits counts; sub NULL is the object itself. */
static const struct {
    int res;
    const char *sub;
    const char *paths[3]; /* two elements at most, apart by a dot */
} resets[] = {
    {RES_CERTIFICATESIGNINGREQUESTS, NULL, {"f:spec", "f:status"}},
    {RES_CERTIFICATESIGNINGREQUESTS, "status", {"f:spec", "f:status.f:conditions"}},
    {RES_CERTIFICATESIGNINGREQUESTS, "approval", {"f:spec", "f:status.f:certificate"}},
    {RES_PODS, "status", {"f:spec", "f:metadata.f:deletionTimestamp", "f:metadata.f:ownerReferences"}},
    {RES_DEPLOYMENTS, "status", {"f:spec", "f:metadata.f:labels"}},
    {RES_NAMESPACES, "finalize", {"f:status"}},
    {RES_CSINODES, "status", {"f:spec", "f:metadata"}},
    {RES_DEVICETAINTRULES, "status", {"f:spec", "f:metadata"}},
    {RES_FLOWSCHEMAS, "status", {"f:spec", "f:metadata"}},
    {RES_PODCERTIFICATEREQUESTS, "status", {"f:spec", "f:metadata"}},
    {RES_PRIORITYLEVELCONFIGURATIONS, "status", {"f:spec", "f:metadata"}},
    {RES_RESOURCECLAIMS, "status", {"f:spec", "f:metadata"}},
    {RES_SERVICECIDRS, "status", {"f:spec", "f:metadata"}},
    {RES_STORAGEVERSIONMIGRATIONS, "status", {"f:spec", "f:metadata"}},
    {RES_VALIDATINGADMISSIONPOLICIES, "status", {"f:spec", "f:metadata"}},
    {RES_VOLUMEATTACHMENTS, "status", {"f:spec", "f:metadata"}},
    {ANY_RESOURCE, "status", {"f:spec"}},
};

static const struct fieldset *fields(struct arena *a, const char *const *paths, size_t n)
{
    struct fieldset *s = fieldset_new(a);
    for (size_t i = 0; i < n && paths[i]; i++) {
        struct str path[2];
        str_cut(str_of(paths[i]), '.', &path[0], &path[1]);
        fieldset_add(a, s, path, path[1].n ? 2 : 1);
    }
    return s;
}

static bool same_sub(const char *x, const char *y)
{
    return x && y ? strcmp(x, y) == 0 : x == y;
}

static const struct fieldset *not_ours(struct request *r)
{
    static const char *const status[] = {"f:status"};
    for (size_t i = 0; i < ARRAY_SIZE(resets); i++)
        if ((resets[i].res == ANY_RESOURCE || resets[i].res == r->res->index) && same_sub(resets[i].sub, sub_of(r)))
            return fields(r->arena, resets[i].paths, ARRAY_SIZE(resets[i].paths));
    return !r->sub && resource_subresource(r->res, STR("status")) ? fields(r->arena, status, 1) : NULL;
}

/* ---- versions -------------------------------------------------------------------------------------------- */

static const struct val *in_version(const struct managed_request *m, struct arena *a, struct str version, const struct val *v,
                                    const struct type **ret)
{
    const struct request *r = m->arg;
    struct str group, rest;
    if (!str_cut(version, '/', &group, &rest)) {
        rest = version;
        group = STR_NULL;
    }
    const struct resource *to = served_find_kind(r->server, group, rest, str_of(r->res->kind));
    if (!to || stored_resource(to) != stored_resource(r->res))
        return NULL;
    *ret = to->type;
    struct val *stored = NULL;
    const struct val *out = NULL;
    struct request *q = m->arg;
    if (conversion_to_stored(q, r->res, val_copy(a, v), &stored) || conversion_from_stored(q, to, stored, &out)) {
        status_init(&q->status, q->arena);
        return NULL;
    }
    return out;
}

struct managed_request track_request(struct request *r)
{
    char version[128];
    resource_api_version(r->res, version, sizeof(version));
    return (struct managed_request){
        .type = r->res->type,
        .api_version = arena_str(r->arena, str_of(version)),
        .manager = r->opt.field_manager.n ? r->opt.field_manager : r->x ? program_of(r) : part_of(r),
        .subresource = sub_of(r),
        .not_ours = not_ours(r),
        .now = r->now,
        .in_version = in_version,
        .arg = r,
    };
}

/* Some subresources have bodies of their own kind: what they change is nobody's. */
static bool is_tracked(const struct request *r)
{
    return r->res && r->res->stored && (!r->sub || r->sub->type == r->res->type);
}

static const struct val *as_asked(struct request *r, const struct val *v)
{
    const struct val *sent = v ? conversion_as_sent(r, v) : NULL;
    return sent ? sent : v ? convert_from_stored(r->arena, r->res, v) : NULL;
}

/* Upstream has the count of a DaemonSet's templates in a field of its internal form; whatever is sent, the annotation that it
 * becomes is part of it. */
static const struct val *with_count(struct request *r, const struct val *v)
{
    struct str key = STR("deprecated.daemonset.template.generation");
    if (r->res->index != RES_DAEMONSETS || obj_annotation(v, key).n)
        return v;
    struct val *copy = val_copy(r->arena, v);
    val_put_str(r->arena, val_sub_map(r->arena, val_sub_obj(r->arena, copy, N_metadata), N_annotations), key, STR("0"));
    return copy;
}

void track_write(struct request *r, const struct object *now, const struct val *v)
{
    if (r->managed_known)
        return;
    r->managed = now ? val_get(now->meta, N_managedFields) : NULL;
    if (!is_tracked(r))
        return;
    struct managed_request m = track_request(r);
    r->managed = managed_update(r->arena, &m, now ? as_asked(r, now->val) : NULL, with_count(r, as_asked(r, v)));
}

/* ---- scale ----------------------------------------------------------------------------------------------- */

struct managed_request track_scale_request(struct request *r)
{
    struct managed_request m = track_request(r);
    m.type = type_at(T_autoscaling_v1_Scale);
    m.api_version = STR("autoscaling/v1");
    m.not_ours = NULL;
    m.in_version = NULL;
    return m;
}

void track_scale_before(struct request *r, const struct object *now, struct val *scale)
{
    struct managed_request m = track_request(r);
    val_set_ref(r->arena, val_sub_obj(r->arena, scale, N_metadata), N_managedFields, managed_to_scale(r->arena, &m, now->val));
}

void track_scale_after(struct request *r, const struct object *now, const struct val *managed)
{
    struct managed_request m = track_request(r);
    r->managed = managed_from_scale(r->arena, &m, now->val, managed);
    r->managed_known = true;
}

void track_stamp(struct request *r, struct val *v)
{
    val_set_ref(r->arena, val_sub_obj(r->arena, v, N_metadata), N_managedFields, r->managed);
}
