/* SPDX-License-Identifier: Apache-2.0 */
/* FlowSchemas say whether their priority level is there (condition Dangling). */
#include "apiserver/flow.h"

#include "apiserver/state.h"
#include "base/os.h"
#include "client/client.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

struct following {
    struct apiserver *s;
    struct cache_hook hooks[2];
    struct waitq changed;
    bool dirty;
};

static void changed(void *arg, const struct object *old UNUSED, const struct object *now UNUSED)
{
    struct following *f = arg;
    f->dirty = true;
    waitq_wake_all(&f->changed);
}

/* What a conflict leaves undone is looked at again: somebody changed it. */
static void look_at(struct apiserver *s, const struct object *o)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str level = val_str(val_at(o->val, N_spec, N_priorityLevelConfiguration, N_name));
    bool there = cache_get(state_kind(s, RES_PRIORITYLEVELCONFIGURATIONS), STR(""), level) != NULL;
    struct str message = arena_printf(&a, "This FlowSchema references the PriorityLevelConfiguration object named \"" STR_FMT "\" %s",
                                      STR_ARG(level), there ? "and it exists" : "but there is no such object");
    struct val *v = val_copy(&a, o->val), *list = val_sub_list(&a, val_sub_obj(&a, v, N_status), N_conditions);
    struct status st;
    if (!condition_set(&a, list, STR("Dangling"), there ? "False" : "True", there ? "Found" : "NotFound", message, os_wall()))
        return;
    status_init(&st, &a);
    client_update(s->self, CALL(.res = o->res, .name = o->name, .subresource = "status"), v, &a, NULL, &st);
}

void flow_status_follow(void *apiserver)
{
    struct following f = {.s = apiserver, .dirty = true};
    struct cache_kind *schemas = state_kind(f.s, RES_FLOWSCHEMAS);
    cache_on_change(schemas, &f.hooks[0], changed, &f);
    cache_on_change(state_kind(f.s, RES_PRIORITYLEVELCONFIGURATIONS), &f.hooks[1], changed, &f);
    while (!fiber_cancelled()) {
        if (!f.dirty && waitq_wait(&f.changed, MONO_NEVER) < 0)
            break;
        f.dirty = false;
        struct tree *now = tree_ref(schemas->root);
        TREE_EACH (now, STR(""), it)
            look_at(f.s, it.object);
        tree_unref(now);
    }
    for (size_t i = 0; i < ARRAY_SIZE(f.hooks); i++)
        cache_off_change(&f.hooks[i]);
}
