/* SPDX-License-Identifier: Apache-2.0 */
#include "client/services.h"

#include "resources.h"
#include "type/meta.h"

static const struct str service_name_label = {"kubernetes.io/service-name", 26};

static void entry_free(void *p)
{
    struct service_entry *e = p;
    object_unref((struct object *)e->service);
    for (size_t i = 0; i < e->n_slices; i++)
        object_unref((struct object *)e->slices[i]);
    free(e->slices);
    free(e);
}

void service_index_done(struct service_index *s)
{
    map_done_with(&s->entries, entry_free);
}

static struct service_entry *entry_at(struct service_index *s, struct str ns, struct str name, bool make)
{
    char text[600]; /* names have at most 253 bytes: looking one up allocates nothing */
    if (ns.n + name.n + 1 > sizeof(text))
        return NULL;
    memcpy(text, ns.p ? ns.p : "", ns.n);
    text[ns.n] = '/';
    memcpy(text + ns.n + 1, name.p ? name.p : "", name.n);
    struct str key = str_n(text, ns.n + 1 + name.n);
    struct service_entry *e = map_get(&s->entries, key);
    if (!e && make) {
        e = NEW(struct service_entry);
        map_put(&s->entries, key, e);
    }
    return e;
}

const struct service_entry *service_index_get(const struct service_index *s, struct str ns, struct str name)
{
    return entry_at((struct service_index *)s, ns, name, false);
}

static void drop_if_empty(struct service_index *s, struct str ns, struct str name, struct service_entry *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    if (e->service || e->n_slices)
        return;
    map_del(&s->entries, obj_key(&a, ns, name));
    entry_free(e);
}

static void remove_slice(struct service_index *s, const struct object *slice, struct str service)
{
    struct service_entry *e = entry_at(s, slice->namespace_, service, false);
    for (size_t i = 0; e && i < e->n_slices; i++) {
        if (!str_eq(e->slices[i]->name, slice->name))
            continue;
        object_unref((struct object *)e->slices[i]);
        e->slices[i] = e->slices[--e->n_slices];
        drop_if_empty(s, slice->namespace_, service, e);
        return;
    }
}

static void add_slice(struct service_index *s, const struct object *slice, struct str service)
{
    struct service_entry *e = entry_at(s, slice->namespace_, service, true);
    e->slices = xrealloc(e->slices, (e->n_slices + 1) * sizeof(*e->slices));
    e->slices[e->n_slices++] = object_ref(slice);
}

static void slice_changed(struct service_index *s, const struct object *old, const struct object *new_,
                          service_touched *touched, void *arg)
{
    struct str before = old ? obj_label(old->val, service_name_label) : STR_NULL;
    struct str now = new_ ? obj_label(new_->val, service_name_label) : STR_NULL;
    if (before.n)
        remove_slice(s, old, before);
    if (now.n)
        add_slice(s, new_, now);
    if (touched && before.n && !str_eq(before, now))
        touched(arg, old->namespace_, before);
    if (touched && now.n)
        touched(arg, new_->namespace_, now);
}

static void service_changed(struct service_index *s, const struct object *old, const struct object *new_,
                            service_touched *touched, void *arg)
{
    const struct object *any = new_ ? new_ : old;
    struct service_entry *e = entry_at(s, any->namespace_, any->name, new_ != NULL);
    if (!e)
        return;
    object_unref((struct object *)e->service);
    e->service = new_ ? object_ref(new_) : NULL;
    drop_if_empty(s, any->namespace_, any->name, e);
    if (touched)
        touched(arg, any->namespace_, any->name);
}

void service_index_changed(struct service_index *s, const struct resource *res, const struct object *old,
                           const struct object *new_, service_touched *touched, void *arg)
{
    if (res->index == RES_SERVICES)
        service_changed(s, old, new_, touched, arg);
    else if (res->index == RES_ENDPOINTSLICES)
        slice_changed(s, old, new_, touched, arg);
}
