/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/poll.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "type/meta.h"

static int look(struct cli *c, const struct info *i, struct str query, struct val **ret, struct str *ret_revision,
                struct status *s)
{
    struct val *list = NULL;
    int code = request_list(c, i->kind, i->ns, query, &list, s);
    if (code)
        return code;
    *ret = (struct val *)val_item(val_get(list, N_items), 0);
    if (val_is(*ret, VAL_MAP)) { /* items of a list do not say what they are */
        val_put_str(&c->a, *ret, STR("apiVersion"), i->kind->api_version);
        val_put_str(&c->a, *ret, STR("kind"), i->kind->kind);
    }
    *ret_revision = val_str(val_at(list, N_metadata, N_resourceVersion));
    return 0;
}

static int follow(struct watching *w, struct cli *c, struct mono deadline, poll_fn *fn, void *arg)
{
    for (;;) {
        struct event e;
        int r = watch_next(w, &c->a, deadline, &e);
        if (r == -ETIMEDOUT)
            return POLL_TIMEOUT;
        if (r < 0 || str_is(e.type, "ERROR"))
            return 0; /* list again */
        if (str_is(e.type, "BOOKMARK"))
            continue;
        r = fn(arg, str_is(e.type, "DELETED") ? NULL : e.object);
        if (r)
            return r;
    }
}

int poll_object(struct cli *c, const struct info *i, struct mono deadline, poll_fn *fn, void *arg)
{
    struct str query = query_with(c, STR_NULL, "fieldSelector", cli_printf(c, "metadata.name=" STR_FMT, STR_ARG(i->name)));
    for (;;) {
        struct status s;
        struct val *v = NULL;
        struct str revision;
        struct watching *w;
        if (look(c, i, query, &v, &revision, &s))
            return cli_refused(c, &s), -1;
        int r = fn(arg, v);
        if (r)
            return r;
        if (os_mono().ns >= deadline.ns)
            return POLL_TIMEOUT;
        if (watch_open(c, i->kind, i->ns, query, revision, NULL, &w, &s)) {
            if (s.code > 0 && s.code != 410)
                return cli_refused(c, &s), -1;
            fiber_sleep(MILLISECONDS(500));
            continue;
        }
        r = follow(w, c, deadline, fn, arg);
        watch_close(w);
        if (r)
            return r;
    }
}

static int is_gone(void *arg, const struct val *v)
{
    const struct str *uid = arg;
    return !v || (uid->n && !str_eq(obj_uid(v), *uid));
}

int poll_gone(struct cli *c, const struct info *i, struct str uid, int64_t timeout)
{
    int64_t limit = timeout < 0 ? SECONDS(7 * 24 * 3600) : timeout;
    int r = poll_object(c, i, mono_add(os_mono(), limit), is_gone, &uid);
    if (r == POLL_TIMEOUT)
        return cli_fail(c, "timed out waiting for the condition on " STR_FMT "/" STR_FMT, STR_ARG(i->kind->plural),
                        STR_ARG(i->name));
    return r < 0;
}
