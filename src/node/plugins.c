/* SPDX-License-Identifier: Apache-2.0 */
#include "node/plugins.h"

#include "grpc.h"
#include "net/grpc.h"
#include "node/dra.h"
#include "node/kubelet-internal.h"

#define LOOK SECONDS(10) /* between looks at the folder when nothing tells that it changed */
#define ASK SECONDS(10)  /* for a plug-in to answer */

static const struct plugin_handler *const handlers[] = {&csi_plugin_handler, &device_plugin_handler, &dra_plugin_handler};

/* A socket in the folder. */
struct plugin {
    char *path;
    uint64_t id;                          /* of the file: made anew, it is another plug-in */
    bool seen;                            /* at this look */
    const struct plugin_handler *handler; /* NULL: not registered */
    char *name, *endpoint;
    struct watching *of;
    struct group asking; /* one fiber until it is registered: a plug-in that hangs keeps no other waiting */
};

struct watching {
    struct kubelet *k;
    struct map plugins; /* path -> struct plugin */
};

static void plugin_free(void *v)
{
    struct plugin *p = v;
    group_stop(&p->asking);
    free(p->path);
    free(p->name);
    free(p->endpoint);
    free(p);
}

/* ---- talking to one ------------------------------------------------------------------------------------ */

static const struct plugin_handler *find_handler(struct str type)
{
    for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
        if (str_is(type, handlers[i]->type))
            return handlers[i];
    return NULL;
}

static void notify(struct grpc_client *c, int r, const char *problem)
{
    struct arena a = ARENA_INIT;
    struct val *q = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set_bool(&a, q, N_plugin_registered, r == 0);
    if (r != 0)
        val_set_str(&a, q, N_error, str_of(problem));
    grpc_call(c, &grpc_methods[G_pluginregistration_Registration_NotifyRegistrationStatus], q,
              mono_add(os_mono(), ASK), &a, &answer, NULL);
    arena_done(&a);
}

static int hand_over(struct watching *w, struct plugin *p, const struct val *info, struct err *e)
{
    struct str type = val_getstr(info, N_type), endpoint = val_getstr(info, N_endpoint);
    const struct plugin_handler *h = find_handler(type);
    if (!h)
        return err_set(e, -ENOTSUP, "no handler registered for plugin type: " STR_FMT " at socket %s",
                       STR_ARG(type), p->path);
    endpoint = endpoint.n ? endpoint : str_of(p->path);
    int r = h->registered(w->k, val_getstr(info, N_name), endpoint, val_get(info, N_supported_versions), e);
    if (r != 0)
        return r;
    p->handler = h;
    free(p->name);
    p->name = str_dup(val_getstr(info, N_name));
    free(p->endpoint);
    p->endpoint = str_dup(endpoint);
    log_info(LOG, "plug-in " STR_FMT " %s is registered", STR_ARG(type), p->name);
    return 0;
}

static int ask(struct watching *w, struct plugin *p, struct err *e)
{
    struct arena a = ARENA_INIT;
    const struct val *info;
    struct str address = arena_printf(&a, "unix:%s", p->path);
    struct grpc_client *c = grpc_client_new(&(const struct grpc_client_config){.address = address.p});
    int r = grpc_call(c, &grpc_methods[G_pluginregistration_Registration_GetInfo], val_new(&a, VAL_OBJ),
                      mono_add(os_mono(), ASK), &a, &info, e);
    if (r == 0) {
        r = hand_over(w, p, info, e);
        if (r != -ECANCELED)
            notify(c, r, err_text(e, r));
    }
    grpc_client_free(c);
    arena_done(&a);
    return r;
}

static void let_go(struct watching *w, struct plugin *p)
{
    group_stop(&p->asking);
    if (p->handler)
        p->handler->gone(w->k, str_of(p->name), str_of(p->endpoint));
    p->handler = NULL;
}

/* ---- the folder ---------------------------------------------------------------------------------------- */

static void see(struct watching *w, const char *path, const struct host_stat *st)
{
    struct plugin *p = map_get(&w->plugins, str_of(path));
    if (!p) {
        p = NEW(struct plugin);
        *p = (struct plugin){.path = xstrdup(path), .id = st->id, .of = w};
        map_put(&w->plugins, str_of(path), p);
    } else if (p->id != st->id) {
        let_go(w, p);
        p->id = st->id;
    }
    p->seen = true;
}

static void look(struct watching *w, const char *dir, unsigned depth)
{
    struct arena a = ARENA_INIT;
    struct host *h = w->k->host;
    struct host_stat st;
    char **names;
    if (h->ops->list_dir(h, &a, dir, &names) == 0)
        for (; *names; names++) {
            const char *path = arena_printf(&a, "%s/%s", dir, *names).p;
            if (**names == '.' || host_stat(h, path, &st) < 0)
                continue;
            if (st.kind == 's')
                see(w, path, &st);
            else if (st.kind == 'd' && depth < 2)
                look(w, path, depth + 1);
        }
    arena_done(&a);
}

static void drop_unseen(struct watching *w)
{
    MAP_EACH (&w->plugins, m) {
        struct plugin *p = m->value;
        if (p->seen) {
            p->seen = false;
            continue;
        }
        let_go(w, p);
        map_del(&w->plugins, m->key);
        plugin_free(p);
    }
}

static void ask_fiber(void *arg)
{
    struct plugin *p = arg;
    for (unsigned failures = 0;; failures++) {
        struct err e = {{0}};
        int r = ask(p->of, p, &e);
        if (r == 0 || r == -ECANCELED || fiber_cancelled())
            return;
        if (failures < 3 || failures % 30 == 0)
            log_warn(LOG, "plug-in at %s: %s", p->path, err_text(&e, r));
        if (fiber_sleep(MILLISECONDS(200) << MIN(failures, 6u)) < 0)
            return;
    }
}

static void register_new(struct watching *w)
{
    MAP_EACH (&w->plugins, m) {
        struct plugin *p = m->value;
        if (!p->handler && !p->asking.n)
            group_spawn(&p->asking, "plug-in", ask_fiber, p);
    }
}

void plugins_run(void *arg)
{
    struct watching w = {.k = arg};
    struct arena a = ARENA_INIT;
    struct str dir = arena_printf(&a, "%s/plugins_registry", w.k->cfg.root_dir);
    w.k->host->ops->make_dir(w.k->host, dir.p, 0750, NULL);
    while (!fiber_cancelled()) {
        look(&w, dir.p, 0);
        drop_unseen(&w);
        register_new(&w);
        struct mono next = mono_add(os_mono(), LOOK);
        if (w.k->host->ops->watch_dir(w.k->host, dir.p, next) == 0)
            fiber_sleep(MILLISECONDS(20)); /* it listens in a moment */
        else if (next.ns > os_mono().ns)
            fiber_sleep_until(next);
    }
    map_done_with(&w.plugins, plugin_free);
    arena_done(&a);
}
