/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include "type/meta.h"

int client_get(struct client *c, const struct call *call, struct arena *a, const struct val **ret,
               struct status *s)
{
    return c->ops->call(c, VERB_GET, call, NULL, PATCH_JSON, STR_NULL, a, ret, s);
}

int client_create(struct client *c, const struct call *call, const struct val *v, struct arena *a,
                  const struct val **ret, struct status *s)
{
    return c->ops->call(c, VERB_CREATE, call, v, PATCH_JSON, STR_NULL, a, ret, s);
}

int client_update(struct client *c, const struct call *call, const struct val *v, struct arena *a,
                  const struct val **ret, struct status *s)
{
    return c->ops->call(c, VERB_UPDATE, call, v, PATCH_JSON, STR_NULL, a, ret, s);
}

int client_patch(struct client *c, const struct call *call, enum patch_kind kind, struct str patch,
                 struct arena *a, const struct val **ret, struct status *s)
{
    return c->ops->call(c, VERB_PATCH, call, NULL, kind, patch, a, ret, s);
}

int client_delete(struct client *c, const struct call *call, struct arena *a, const struct val **ret,
                  struct status *s)
{
    return c->ops->call(c, VERB_DELETE, call, NULL, PATCH_JSON, STR_NULL, a, ret, s);
}

int client_delete_collection(struct client *c, const struct call *call, struct arena *a,
                             const struct val **ret, struct status *s)
{
    return c->ops->call(c, VERB_DELETECOLLECTION, call, NULL, PATCH_JSON, STR_NULL, a, ret, s);
}

int client_list(struct client *c, const struct call *call, struct arena *a, const struct val **ret,
                struct status *s)
{
    return c->ops->call(c, VERB_LIST, call, NULL, PATCH_JSON, STR_NULL, a, ret, s);
}

int client_watch(struct client *c, const struct call *call, int64_t revision, struct client_watch **ret,
                 struct status *s)
{
    return c->ops->watch(c, call, revision, ret, s);
}

int client_watch_next(struct client_watch *w, struct mono deadline, struct watch_event *ret, struct status *s)
{
    return w->ops->watch_next(w, deadline, ret, s);
}

void client_watch_close(struct client_watch *w)
{
    if (w)
        w->ops->watch_close(w);
}

void client_free(struct client *c)
{
    if (c)
        c->ops->free(c);
}

struct object *watch_bookmark(const struct resource *res, int64_t revision)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = val_new(&a, VAL_OBJ);
    val_sub_obj(&a, v, N_metadata);
    struct object *o = object_new(res, v);
    object_stamp(o, revision);
    return o;
}
