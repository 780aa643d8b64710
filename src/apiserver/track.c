/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/track.h"

#include "names.h"
#include "type/meta.h"

enum { MANAGER_MAX = 128 };

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

static const struct fieldset *one_field(struct arena *a, struct str elem)
{
    struct fieldset *s = fieldset_new(a);
    fieldset_add(a, s, &elem, 1);
    return s;
}

/* Spec and status are written by different doors, and each leaves the other alone. */
static const struct fieldset *not_ours(struct request *r)
{
    const char *sub = sub_of(r);
    if (sub)
        return strcmp(sub, "status") == 0 ? one_field(r->arena, STR("f:spec")) : NULL;
    return resource_subresource(r->res, STR("status")) ? one_field(r->arena, STR("f:status")) : NULL;
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
    };
}

/* Some subresources have bodies of their own kind: what they change is nobody's. */
static bool is_tracked(const struct request *r)
{
    return r->res && r->res->stored && (!r->sub || r->sub->type == r->res->type);
}

static const struct val *as_asked(struct request *r, const struct val *v)
{
    return v ? convert_from_stored(r->arena, r->res, v) : NULL;
}

void track_write(struct request *r, const struct object *now, const struct val *v)
{
    if (r->managed_known)
        return;
    r->managed = now ? val_get(now->meta, N_managedFields) : NULL;
    if (!is_tracked(r))
        return;
    struct managed_request m = track_request(r);
    r->managed = managed_update(r->arena, &m, now ? as_asked(r, now->val) : NULL, as_asked(r, v));
}

void track_stamp(struct request *r, struct val *v)
{
    val_set_ref(r->arena, val_sub_obj(r->arena, v, N_metadata), N_managedFields, r->managed);
}
