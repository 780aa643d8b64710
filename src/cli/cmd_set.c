/* SPDX-License-Identifier: Apache-2.0 */
/* set image, env, resources, serviceaccount, selector, subject: each changes a copy and sends the difference. */
#include "cli/commands.h"
#include "cli/pairs.h"
#include "cli/write.h"

#include "names.h"
#include "resources.h"
#include "type/check.h"
#include "type/meta.h"
#include "wire/quantity.h"

#include <ctype.h>

struct setting {
    struct write w;
    struct file_flags files;
    struct query q;
    struct selection sel;
    struct pairs pairs;
    const char *what; /* "image", for sentences */
    const char *did;  /* "image updated" */
    const char *containers; /* -c: a name, or a pattern with '*' */
    bool local;
    int (*change)(struct cli *c, struct setting *x, const struct info *i, struct val *v); /* v: the copy. 0 or 1 */
    void *arg;
};

#define SET_FLAGS(x)                                                                                         \
    WRITE_FLAGS(&(x)->w), FILE_FLAGS(&(x)->files, "that name objects to change"),                            \
        {"all", 0, FLAG_BOOL, &(x)->q.all, "All objects of the types"},                                      \
        {"local", 0, FLAG_BOOL, &(x)->local, "Only change what the files hold, and print it"},               \
        {"selector", 'l', FLAG_STRING, &(x)->q.labels, "Labels to select by"}

/* ---- the copy -------------------------------------------------------------------------------------------------- */

static struct val *member(struct val *v, const char *key)
{
    return (struct val *)val_key(v, str_of(key));
}

static struct val *member_map(struct cli *c, struct val *v, const char *key)
{
    struct val *m = member(v, key);
    return val_is(m, VAL_MAP) ? m : val_put(&c->a, v, str_of(key), *val_new(&c->a, VAL_MAP));
}

/* The pod's spec in a pod or a workload; NULL when the kind has none. */
static struct val *pod_spec(const struct info *i, struct val *v)
{
    unsigned res = i->kind->res ? i->kind->res->index : 0;
    struct val *spec = member(v, "spec");
    if (res == RES_PODS)
        return spec;
    if (res == RES_CRONJOBS)
        spec = member(member(spec, "jobTemplate"), "spec");
    return member(member(spec, "template"), "spec");
}

static bool name_matches(const char *pattern, struct str name)
{
    struct str p = str_of(pattern);
    if (!pattern || str_is(p, "*"))
        return true;
    if (str_ends(p, STR("*")))
        return str_starts(name, str_slice(p, 0, p.n - 1));
    return str_eq(p, name);
}

/* Calls fn for every container the pattern fits; returns how many. */
static size_t each_container(struct val *spec, const char *pattern, void (*fn)(void *arg, struct val *container), void *arg)
{
    static const char *const lists[] = {"initContainers", "containers"};
    size_t n = 0;
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        struct val *list = member(spec, lists[l]);
        for (size_t k = 0; k < val_len(list); k++) {
            if (!name_matches(pattern, val_getstr(&list->items[k], N_name)))
                continue;
            fn(arg, &list->items[k]);
            n++;
        }
    }
    return n;
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static int set_one(struct cli *c, struct setting *x, const struct info *i)
{
    struct val *copy = val_copy(&c->a, i->v), *answer;
    struct str patch;
    struct err e = {0};
    struct status s;
    int r = x->change(c, x, i, copy);
    if (r)
        return r;
    if (patch_three_way(&c->a, i->kind->type, i->v, copy, i->v, &patch, &e) < 0)
        return cli_fail(c, "%s", e.text);
    if (str_is(patch, "{}"))
        return 0;
    if (x->local || x->w.dry_run == DRY_CLIENT)
        return write_print(c, &x->w, NULL, copy, x->did);
    if (request_patch(c, i->kind, i->ns, i->name, NULL, query_write(c, x->w.manager, x->w.dry_run == DRY_SERVER, NULL),
                      i->kind->type ? PATCH_STRATEGIC : PATCH_MERGE, patch, &answer, &s))
        return s.code < 0 ? cli_refused(c, &s)
                          : cli_fail(c, "failed to patch %s update to pod template: " STR_FMT, x->what, STR_ARG(s.message));
    return write_print(c, &x->w, NULL, answer, x->did);
}

static int set_start(struct cli *c, struct setting *x, struct flag *flags, int argc, char **argv, bool with_pairs)
{
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = write_prepare(c, &x->w, "kubectl-set");
    if (r == 0 && with_pairs)
        r = pairs_split(c, argc, argv, x->what, &x->pairs);
    if (r)
        return r;
    x->q.argc = with_pairs ? x->pairs.n_operands : argc;
    x->q.argv = argv;
    x->q.files = &x->files;
    x->q.fetch = true;
    x->q.latest = !x->local;
    if (x->local && x->w.dry_run == DRY_SERVER)
        return cli_fail(c, "cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
    if (x->q.all && x->q.labels)
        return cli_fail(c, "cannot set --all and --selector at the same time");
    if (x->q.argc < 2 && !x->files.names.n)
        return cli_fail(c, "one or more resources must be specified as <resource> <name> or <resource>/<name>");
    return 0;
}

static int set_all(struct cli *c, struct setting *x)
{
    int r = select_objects(c, &x->q, &x->sel);
    for (size_t i = 0; r == 0 && i < x->sel.n; i++)
        x->sel.code |= set_one(c, x, &x->sel.items[i]);
    return r ? r : x->sel.code;
}

static int no_pod_spec(struct cli *c, const struct info *i)
{
    return cli_fail(c, "error: " STR_FMT "/" STR_FMT " the object is not a pod or does not have a pod template: " STR_FMT,
                    STR_ARG(i->kind->plural), STR_ARG(i->name), STR_ARG(i->kind->kind));
}

/* ---- image ------------------------------------------------------------------------------------------------------- */

struct put {
    struct cli *c;
    struct str value;
};

static void put_image(void *arg, struct val *container)
{
    struct put *p = arg;
    val_put_str(&p->c->a, container, STR("image"), p->value);
}

static int change_image(struct cli *c, struct setting *x, const struct info *i, struct val *v)
{
    struct val *spec = pod_spec(i, v);
    if (!spec)
        return no_pod_spec(c, i);
    for (size_t k = 0; k < x->pairs.n; k++) {
        struct put p = {c, x->pairs.items[k].value};
        struct str name = x->pairs.items[k].key;
        if (!each_container(spec, name.p, put_image, &p))
            return cli_fail(c, "unable to find container named \"" STR_FMT "\"", STR_ARG(name));
    }
    return 0;
}

static int cmd_set_image(struct cli *c, int argc, char **argv)
{
    struct setting x = {.w = WRITE_INIT, .what = "image", .did = "image updated", .change = change_image};
    struct flag flags[] = {SET_FLAGS(&x), NO_FLAGS};
    int r = set_start(c, &x, flags, argc, argv, true);
    if (r)
        return r;
    if (!x.pairs.n)
        return cli_fail(c, "at least one image update is required");
    for (size_t i = 0; i < x.pairs.n && x.pairs.n > 1; i++)
        if (str_is(x.pairs.items[i].key, "*"))
            return cli_fail(c, "all containers are already specified by *, but saw more than one container_name=container_image "
                               "pairs");
    return set_all(c, &x);
}

/* ---- env --------------------------------------------------------------------------------------------------------- */

struct env_setting {
    struct cli *c;
    struct setting *x;
    const char *from, *prefix;
    struct flag_list params, keys;
    bool list, overwrite, resolve, refused;
    struct val *add;    /* LIST of EnvVars */
    struct str *remove; /* names */
    size_t n_remove;
    const struct info *info;
};

static size_t env_find(const struct val *list, struct str name)
{
    for (size_t i = 0; i < val_len(list); i++)
        if (str_eq(val_getstr(&list->items[i], N_name), name))
            return i;
    return SIZE_MAX;
}

static void list_env(struct env_setting *e, struct val *container)
{
    struct cli *c = e->c;
    cli_print(c, "# " STR_FMT " " STR_FMT ", container " STR_FMT "\n", STR_ARG(e->info->kind->kind), STR_ARG(e->info->name),
              STR_ARG(val_getstr(container, N_name)));
    VAL_EACH(val_get(container, N_env), v)
    {
        const struct val *from = val_get(v, N_valueFrom), *ref;
        struct str name = val_getstr(v, N_name);
        if (!from)
            cli_print(c, STR_FMT "=" STR_FMT "\n", STR_ARG(name), STR_ARG(val_getstr(v, N_value)));
        else if ((ref = val_get(from, N_configMapKeyRef)) != NULL || (ref = val_get(from, N_secretKeyRef)) != NULL)
            cli_print(c, "# " STR_FMT " from %s " STR_FMT ", key " STR_FMT "\n", STR_ARG(name),
                      val_get(from, N_configMapKeyRef) ? "configmap" : "secret", STR_ARG(val_getstr(ref, N_name)),
                      STR_ARG(val_getstr(ref, N_key)));
        else if ((ref = val_get(from, N_fieldRef)) != NULL)
            cli_print(c, "# " STR_FMT " from field path " STR_FMT "\n", STR_ARG(name), STR_ARG(val_getstr(ref, N_fieldPath)));
        else
            cli_print(c, "# " STR_FMT " from resource field\n", STR_ARG(name));
    }
}

static void change_container_env(void *arg, struct val *container)
{
    struct env_setting *e = arg;
    struct arena *a = &e->c->a;
    struct val *env = member(container, "env");
    if (e->refused || (e->list && !val_len(e->add) && !e->n_remove)) {
        list_env(e, container);
        return;
    }
    if (!val_is(env, VAL_LIST))
        env = val_put(a, container, STR("env"), *val_new(a, VAL_LIST));
    VAL_EACH(e->add, v)
    {
        size_t at = env_find(env, val_getstr(v, N_name));
        if (at != SIZE_MAX && !e->overwrite) {
            cli_fail(e->c, "'" STR_FMT "' already has a value (" STR_FMT "), and --overwrite is false", STR_ARG(val_getstr(v, N_name)),
                     STR_ARG(val_getstr(&env->items[at], N_value)));
            e->refused = true;
            return;
        }
        if (at != SIZE_MAX)
            env->items[at] = *val_copy(a, v);
        else
            val_add(a, env, *val_copy(a, v));
    }
    for (size_t i = 0; i < e->n_remove; i++) {
        size_t at = env_find(env, e->remove[i]);
        if (at != SIZE_MAX)
            val_remove(env, at);
    }
    if (!env->n)
        val_unput(container, STR("env"));
    if (e->list)
        list_env(e, container);
}

static int change_env(struct cli *c, struct setting *x, const struct info *i, struct val *v)
{
    struct env_setting *e = x->arg;
    struct val *spec = pod_spec(i, v);
    if (!spec)
        return no_pod_spec(c, i);
    e->info = i;
    if (!each_container(spec, x->containers, change_container_env, e))
        cli_note(c, "Warning: " STR_FMT "/" STR_FMT " does not have any containers matching \"%s\"", STR_ARG(i->kind->kind),
                 STR_ARG(i->name), x->containers);
    return e->refused;
}

static struct val *new_env(struct env_setting *e, struct str name)
{
    struct val *v = val_add(&e->c->a, e->add, *val_new(&e->c->a, VAL_MAP));
    val_put_str(&e->c->a, v, STR("name"), e->prefix ? cli_printf(e->c, "%s" STR_FMT, e->prefix, STR_ARG(name)) : name);
    return v;
}

static void take_pair(struct env_setting *e, const struct pair *p)
{
    if (p->remove)
        e->remove[e->n_remove++] = p->key;
    else
        val_put_str(&e->c->a, new_env(e, p->key), STR("value"), p->value);
}

static struct str env_name(struct cli *c, struct str key)
{
    struct str out = arena_str(&c->a, key);
    for (size_t i = 0; i < out.n; i++) {
        char ch = out.p[i];
        ((char *)out.p)[i] = isalnum((unsigned char)ch) ? (char)toupper((unsigned char)ch) : '_';
    }
    return out;
}

static bool is_wanted(const struct flag_list *keys, struct str key)
{
    for (size_t i = 0; i < keys->n; i++)
        if (str_is(key, keys->items[i]))
            return true;
    return !keys->n;
}

/* --from=configmap/x: a variable for each of its keys. */
static int take_from(struct cli *c, struct env_setting *e)
{
    struct info i;
    char *args[] = {NULL, (char *)e->from, NULL};
    int r = select_one(c, &(struct query){.argc = 2, .argv = args, .fetch = true}, "expected a resource", &i);
    if (r)
        return r;
    unsigned res = i.kind->res ? i.kind->res->index : 0;
    if (res != RES_SECRETS && res != RES_CONFIGMAPS)
        return cli_fail(c, "unsupported resource specified in --from");
    VAL_EACH_ENTRY(val_get(i.v, N_data), k, v)
    {
        struct val *ref = val_new(&c->a, VAL_MAP), *source = val_new(&c->a, VAL_MAP);
        if (!v || !is_wanted(&e->keys, val_str(k)))
            continue;
        val_put_str(&c->a, ref, STR("key"), val_str(k));
        val_put_str(&c->a, ref, STR("name"), i.name);
        val_put(&c->a, source, res == RES_SECRETS ? STR("secretKeyRef") : STR("configMapKeyRef"), *ref);
        val_put(&c->a, new_env(e, env_name(c, val_str(k))), STR("valueFrom"), *source);
    }
    return 0;
}

static int cmd_set_env(struct cli *c, int argc, char **argv)
{
    struct setting x = {.w = WRITE_INIT, .what = "env", .did = "env updated", .change = change_env, .containers = "*"};
    struct env_setting e = {.c = c, .x = &x, .overwrite = true};
    struct flag flags[] = {
        SET_FLAGS(&x),
        {"containers", 'c', FLAG_STRING, &x.containers, "Names of containers to change; may end with *"},
        {"env", 'e', FLAG_ARRAY, &e.params, "NAME=VALUE to set"},
        {"from", 0, FLAG_STRING, &e.from, "configmap/NAME or secret/NAME to take variables from"},
        {"keys", 0, FLAG_STRINGS, &e.keys, "Keys to take, with --from"},
        {"list", 0, FLAG_BOOL, &e.list, "Show the variables"},
        {"overwrite", 0, FLAG_BOOL, &e.overwrite, "Values that are there may be changed (default true)"},
        {"prefix", 0, FLAG_STRING, &e.prefix, "What the new variables' names start with"},
        {"resolve", 0, FLAG_BOOL, &e.resolve, NULL},
        NO_FLAGS,
    };
    x.arg = &e;
    int r = set_start(c, &x, flags, argc, argv, true);
    if (r)
        return r;
    if (e.resolve)
        return cli_fail(c, "--resolve is not supported");
    if (e.keys.n && !e.from)
        return cli_fail(c, "when specifying --keys, a configmap or secret must be provided with --from");
    e.add = val_new(&c->a, VAL_LIST);
    e.remove = ARENA_ARRAY(&c->a, struct str, x.pairs.n + 1);
    for (size_t i = 0; i < x.pairs.n; i++)
        take_pair(&e, &x.pairs.items[i]);
    for (size_t i = 0; i < e.params.n; i++) {
        struct pair p = {0};
        if (!str_cut(str_of(e.params.items[i]), '=', &p.key, &p.value))
            return cli_fail(c, "environment variables must be of the form key=value");
        take_pair(&e, &p);
    }
    r = e.from ? take_from(c, &e) : 0;
    if (r == 0 && !e.add->n && !e.n_remove && !e.list)
        return cli_fail(c, "at least one environment variable must be provided");
    if (r == 0 && e.list)
        x.w.dry_run = DRY_CLIENT, x.w.printer.kind = PRINT_NONE;
    return r ? r : set_all(c, &x);
}

/* ---- resources ----------------------------------------------------------------------------------------------------- */

struct resource_setting {
    struct cli *c;
    const char *limits, *requests;
};

static int check_resources(struct cli *c, const char *text)
{
    struct str rest = str_of(text), one, name, value;
    struct quantity q;
    struct err e = {0};
    while (text && text[0] && str_next(&rest, ',', &one)) {
        if (!str_cut(one, '=', &name, &value) || str_find(value, '=') >= 0)
            return cli_fail(c, "invalid argument syntax " STR_FMT ", expected <resource>=<value>", STR_ARG(one));
        if (quantity_parse(value, &q, &e) < 0)
            return cli_fail(c, "%s", e.text);
    }
    return 0;
}

static void put_list(struct cli *c, struct val *container, const char *key, const char *text)
{
    struct str rest = str_of(text), one, name, value;
    if (!text || !text[0])
        return;
    struct val *list = member_map(c, member_map(c, container, "resources"), key);
    while (str_next(&rest, ',', &one))
        if (str_cut(one, '=', &name, &value))
            val_put_str(&c->a, list, name, value);
}

static void change_container_resources(void *arg, struct val *container)
{
    struct resource_setting *r = arg;
    put_list(r->c, container, "limits", r->limits);
    put_list(r->c, container, "requests", r->requests);
}

static int change_resources(struct cli *c, struct setting *x, const struct info *i, struct val *v)
{
    struct val *spec = pod_spec(i, v);
    if (!spec)
        return no_pod_spec(c, i);
    if (!each_container(spec, x->containers, change_container_resources, x->arg))
        return cli_fail(c, "unable to find container named %s", x->containers);
    return 0;
}

static int cmd_set_resources(struct cli *c, int argc, char **argv)
{
    struct setting x = {.w = WRITE_INIT, .what = "resources", .did = "resource requirements updated", .change = change_resources,
                        .containers = "*"};
    struct resource_setting s = {.c = c};
    struct flag flags[] = {
        SET_FLAGS(&x),
        {"containers", 'c', FLAG_STRING, &x.containers, "Names of containers to change; may end with *"},
        {"limits", 0, FLAG_STRING, &s.limits, "Limits: cpu=500m,memory=256Mi"},
        {"requests", 0, FLAG_STRING, &s.requests, "Requests: cpu=100m,memory=64Mi"},
        NO_FLAGS,
    };
    x.arg = &s;
    int r = set_start(c, &x, flags, argc, argv, false);
    if (r)
        return r;
    if (!s.limits && !s.requests)
        return cli_fail(c, "you must specify an update to requests or limits (in the form of --requests/--limits)");
    r = check_resources(c, s.limits);
    if (r == 0)
        r = check_resources(c, s.requests);
    return r ? r : set_all(c, &x);
}

/* ---- service account, selector, subject ------------------------------------------------------------------------------ */

static int change_account(struct cli *c, struct setting *x, const struct info *i, struct val *v)
{
    struct val *spec = pod_spec(i, v);
    if (!spec)
        return no_pod_spec(c, i);
    val_put_str(&c->a, spec, STR("serviceAccountName"), str_of(x->arg));
    if (val_key(spec, STR("serviceAccount")))
        val_put_str(&c->a, spec, STR("serviceAccount"), str_of(x->arg));
    return 0;
}

static int cmd_set_account(struct cli *c, int argc, char **argv)
{
    struct setting x = {.w = WRITE_INIT, .what = "serviceaccount", .did = "serviceaccount updated", .change = change_account};
    struct flag flags[] = {SET_FLAGS(&x), NO_FLAGS};
    int r = set_start(c, &x, flags, argc, argv, false);
    if (r)
        return r;
    if (x.q.argc < 2)
        return cli_fail(c, "serviceaccount is required");
    x.arg = argv[--x.q.argc];
    argv[x.q.argc] = NULL;
    return set_all(c, &x);
}

static int change_selector(struct cli *c, struct setting *x, const struct info *i, struct val *v)
{
    struct val *map = val_new(&c->a, VAL_MAP), *spec = member(v, "spec");
    struct str rest = str_of(x->arg), one, key, value;
    if (!i->kind->res || i->kind->res->index != RES_SERVICES)
        return cli_fail(c, "setting a selector is only supported for Services");
    while (str_next(&rest, ',', &one)) {
        if (!str_cut(one, '=', &key, &value))
            return cli_fail(c, "unexpected label spec: " STR_FMT, STR_ARG(one));
        val_put_str(&c->a, map, key, value);
    }
    /* Pairs that are not named any more go: a merge alone would keep them. */
    val_put(&c->a, spec, STR("selector"), *map);
    return 0;
}

static int cmd_set_selector(struct cli *c, int argc, char **argv)
{
    struct setting x = {.w = WRITE_INIT, .what = "selector", .did = "selector updated", .change = change_selector};
    struct flag flags[] = {SET_FLAGS(&x), NO_FLAGS};
    int r = set_start(c, &x, flags, argc, argv, false);
    if (r)
        return r;
    if (x.q.argc < 3)
        return cli_fail(c, "one or more resources must be specified as <resource> <name> or <resource>/<name>");
    x.arg = argv[--x.q.argc];
    argv[x.q.argc] = NULL;
    return set_all(c, &x);
}

struct subject_setting {
    struct flag_list users, groups, accounts;
};

static void put_subject(struct cli *c, struct val *list, const char *kind, struct str ns, struct str name)
{
    VAL_EACH(list, v)
    {
        if (str_is(val_getstr(v, N_kind), kind) && str_eq(val_getstr(v, N_name), name) && str_eq(val_getstr(v, N_namespace), ns))
            return;
    }
    struct val *s = val_add(&c->a, list, *val_new(&c->a, VAL_MAP));
    if (!ns.n)
        val_put_str(&c->a, s, STR("apiGroup"), STR("rbac.authorization.k8s.io"));
    val_put_str(&c->a, s, STR("kind"), str_of(kind));
    val_put_str(&c->a, s, STR("name"), name);
    if (ns.n)
        val_put_str(&c->a, s, STR("namespace"), ns);
}

static int change_subjects(struct cli *c, struct setting *x, const struct info *i, struct val *v)
{
    struct subject_setting *s = x->arg;
    struct val *list = member(v, "subjects");
    unsigned res = i->kind->res ? i->kind->res->index : 0;
    if (res != RES_ROLEBINDINGS && res != RES_CLUSTERROLEBINDINGS)
        return cli_fail(c, "setting subjects is only supported for RoleBinding/ClusterRoleBinding");
    if (!val_is(list, VAL_LIST))
        list = val_put(&c->a, v, STR("subjects"), *val_new(&c->a, VAL_LIST));
    for (size_t k = 0; k < s->users.n; k++)
        put_subject(c, list, "User", STR(""), str_of(s->users.items[k]));
    for (size_t k = 0; k < s->groups.n; k++)
        put_subject(c, list, "Group", STR(""), str_of(s->groups.items[k]));
    for (size_t k = 0; k < s->accounts.n; k++) {
        struct str ns, name;
        if (!str_cut(str_of(s->accounts.items[k]), ':', &ns, &name) || !ns.n || !name.n)
            return cli_fail(c, "serviceaccount must be <namespace>:<name>");
        put_subject(c, list, "ServiceAccount", ns, name);
    }
    return 0;
}

static int cmd_set_subject(struct cli *c, int argc, char **argv)
{
    struct setting x = {.w = WRITE_INIT, .what = "subject", .did = "subjects updated", .change = change_subjects};
    struct subject_setting s = {0};
    struct flag flags[] = {
        SET_FLAGS(&x),
        {"group", 0, FLAG_ARRAY, &s.groups, "Group to bind"},
        {"serviceaccount", 0, FLAG_ARRAY, &s.accounts, "Service account to bind: NAMESPACE:NAME"},
        {"user", 0, FLAG_ARRAY, &s.users, "User to bind"},
        NO_FLAGS,
    };
    x.arg = &s;
    int r = set_start(c, &x, flags, argc, argv, false);
    if (r)
        return r;
    if (!s.users.n && !s.groups.n && !s.accounts.n)
        return cli_fail(c, "you must specify at least one value of user, group or serviceaccount");
    return set_all(c, &x);
}

#define TYPES "(-f FILE | TYPE NAME | TYPE/NAME)"

const struct command set_commands[] = {
    {"env", NULL, TYPES " KEY_1=VAL_1 ... KEY_N- [flags]", "Set environment variables of containers", NULL, cmd_set_env, NULL},
    {"image", NULL, TYPES " CONTAINER=IMAGE ... [flags]", "Set images of containers", NULL, cmd_set_image, NULL},
    {"resources", NULL, TYPES " [--limits=LIMITS] [--requests=REQUESTS] [flags]", "Set what containers ask for and may use", NULL,
     cmd_set_resources, NULL},
    {"selector", NULL, TYPES " EXPRESSIONS [flags]", "Set the selector of a service", NULL, cmd_set_selector, NULL},
    {"serviceaccount", "sa", TYPES " SERVICE_ACCOUNT [flags]", "Set the service account of a workload", NULL, cmd_set_account, NULL},
    {"subject", NULL, TYPES " [--user=NAME] [--group=NAME] [--serviceaccount=NS:NAME] [flags]", "Add subjects to a binding", NULL,
     cmd_set_subject, NULL},
    {0},
};
