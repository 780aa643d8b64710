/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/abac.h"

#include "base/os.h"
#include "names.h"
#include "wire/json.h"

enum { FILE_MAX = 16 << 20 };

struct abac_policy {
    struct str user, group, ns, resource, api_group, path;
    bool readonly;
};

struct abac {
    struct arena arena;
    struct abac_policy *items;
    size_t n;
};

/* ---- reading -------------------------------------------------------------------------------------------- */

static struct str text(const struct val *v, const char *name)
{
    return val_str(val_key(v, str_of(name)));
}

static int take(struct abac *b, struct str line, struct err *e)
{
    struct val *v = NULL;
    int r = json_decode(&b->arena, NULL, line, 0, NULL, &v, e);
    if (r < 0)
        return r;
    if (!str_is(text(v, "apiVersion"), "abac.authorization.kubernetes.io/v1beta1") || !str_is(text(v, "kind"), "Policy"))
        return err_set(e, -EINVAL, "expected an abac.authorization.kubernetes.io/v1beta1 Policy");
    const struct val *spec = val_key(v, STR("spec"));
    struct abac_policy p = {.user = text(spec, "user"), .group = text(spec, "group"), .ns = text(spec, "namespace"),
                            .resource = text(spec, "resource"), .api_group = text(spec, "apiGroup"), .path = text(spec, "nonResourcePath"),
                            .readonly = val_bool(val_key(spec, STR("readonly")), false)};
    if (str_is(p.user, "*") || str_is(p.group, "*")) {
        p.user = STR("");
        p.group = STR("system:authenticated");
    }
    b->items = arena_grow(&b->arena, b->items, b->n, sizeof(*b->items));
    b->items[b->n++] = p;
    return 0;
}

int abac_load(const char *path, struct abac **ret, struct err *e)
{
    struct abac *b = NEW(struct abac);
    struct str rest, line;
    int n = 0, r = os_read_file(&b->arena, path, FILE_MAX, &rest);
    if (r < 0)
        err_set(e, r, "%s", strerror(-r));
    while (r == 0 && str_next(&rest, '\n', &line)) {
        n++;
        line = str_trim(line);
        if (line.n && line.p[0] != '#' && (r = take(b, line, e)) < 0)
            err_wrap(e, r, "line %d", n);
    }
    if (r < 0) {
        abac_free(b);
        return err_wrap(e, r, "--authorization-policy-file %s", path);
    }
    *ret = b;
    return 0;
}

void abac_free(struct abac *b)
{
    if (!b)
        return;
    arena_done(&b->arena);
    free(b);
}

/* ---- deciding ------------------------------------------------------------------------------------------- */

/* Of user and group those that are named have to fit, and one has to be. */
static bool subject_fits(const struct abac_policy *p, const struct user *u)
{
    if (p->user.n && !str_eq(p->user, u->name))
        return false;
    if (!p->group.n)
        return p->user.n > 0;
    for (size_t i = 0; i < u->n_groups; i++)
        if (str_eq(u->groups[i], p->group))
            return true;
    return false;
}

static bool fits(struct str want, struct str is)
{
    return str_is(want, "*") || str_eq(want, is);
}

static bool path_fits(struct str want, struct str path)
{
    if (fits(want, path))
        return true;
    if (!str_ends(want, STR("*")))
        return false;
    while (want.n && want.p[want.n - 1] == '*')
        want.n--;
    return str_starts(path, want);
}

static bool reads(struct str verb)
{
    return str_is(verb, "get") || str_is(verb, "list") || str_is(verb, "watch");
}

static bool allows(const struct abac_policy *p, const struct attributes *at)
{
    if (!subject_fits(p, at->user) || (p->readonly && !reads(at->verb)))
        return false;
    if (!at->resource_request)
        return path_fits(p->path, at->path);
    return fits(p->ns, at->ns) && fits(p->resource, at->resource) && fits(p->api_group, at->group);
}

bool abac_allows(const struct abac *b, const struct attributes *at)
{
    for (size_t i = 0; i < b->n; i++)
        if (allows(&b->items[i], at))
            return true;
    return false;
}

static struct val *add_rule(struct arena *a, struct val *list, bool readonly)
{
    struct val *rule = val_add_obj(a, list), *verbs = val_sub_list(a, rule, N_verbs);
    static const char *const some[] = {"get", "list", "watch"};
    for (size_t i = 0; readonly && i < ARRAY_SIZE(some); i++)
        val_add_str(a, verbs, str_of(some[i]));
    if (!readonly)
        val_add_str(a, verbs, STR("*"));
    return rule;
}

void abac_rules(const struct abac *b, struct arena *a, const struct user *u, struct str ns, struct val *list)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct abac_policy *p = &b->items[i];
        if (!subject_fits(p, u) || !fits(p->ns, ns))
            continue;
        if (p->resource.n) {
            struct val *rule = add_rule(a, list, p->readonly);
            val_add_str(a, val_sub_list(a, rule, N_apiGroups), p->api_group);
            val_add_str(a, val_sub_list(a, rule, N_resources), p->resource);
        }
        if (p->path.n)
            val_add_str(a, val_sub_list(a, add_rule(a, list, p->readonly), N_nonResourceURLs), p->path);
    }
}
