/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: reads the merged kubeconfig, and writes single files, where what is there and not understood stays. A thing is
 * changed in the file that defines it; a new one goes into the first of the files.
 */
#include "cli/commands.h"
#include "cli/printer.h"
#include "cli/tab.h"

#include "base/base64.h"
#include "base/os.h"
#include "names.h"
#include "types.h"
#include "wire/yaml.h"

#include <stdio.h>
#include <unistd.h>

enum { MAX_FILE = 16 << 20 };

/* The three lists of a kubeconfig: "clusters" holds {name, cluster}. */
struct section {
    const char *list, *item, *word;
};
static const struct section clusters = {"clusters", "cluster", "cluster"};
static const struct section contexts = {"contexts", "context", "context"};
static const struct section users = {"users", "user", "user"};

/* ---- files -------------------------------------------------------------------------------------------------------- */

struct config_file {
    const char *path;
    struct val *v; /* untyped MAP */
    bool exists;
};

struct config_files {
    struct config_file *items;
    size_t n;
};

static struct val *empty_config(struct cli *c)
{
    struct val *v = val_new(&c->a, VAL_MAP);
    val_put_str(&c->a, v, STR("apiVersion"), STR("v1"));
    val_put_str(&c->a, v, STR("kind"), STR("Config"));
    return v;
}

static int load_files(struct cli *c, struct config_files *ret)
{
    const char *const *paths = kubeconfig_paths(&c->a, c->g.kubeconfig);
    size_t n = 0;
    while (paths[n])
        n++;
    *ret = (struct config_files){ARENA_ARRAY(&c->a, struct config_file, n + 1), n};
    for (size_t i = 0; i < n; i++) {
        struct str text;
        struct err e = {0};
        struct config_file *f = &ret->items[i];
        f->path = paths[i];
        int r = os_read_file(&c->a, f->path, MAX_FILE, &text);
        if (r < 0 && r != -ENOENT)
            return cli_fail(c, "cannot read %s: %s", f->path, strerror(-r));
        f->exists = r == 0;
        if (r == 0 && yaml_decode(&c->a, text, NULL, &f->v, &e) < 0)
            return cli_fail(c, "error loading config file \"%s\": %s", f->path, e.text);
        if (!val_is(f->v, VAL_MAP))
            f->v = empty_config(c);
    }
    return n ? 0 : cli_fail(c, "no kubeconfig file is named");
}

static int save(struct cli *c, struct config_file *f)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    static const char *const lists[] = {"clusters", "contexts", "users"};
    ssize_t slash = str_rfind(str_of(f->path), '/');
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        if (!val_key(f->v, str_of(lists[i])))
            val_put(&c->a, f->v, str_of(lists[i]), (struct val){.kind = VAL_NULL});
    if (!val_key(f->v, STR("current-context")))
        val_put_str(&c->a, f->v, STR("current-context"), STR(""));
    yaml_encode(&b, NULL, f->v);
    if (slash > 0)
        os_mkdir_all(arena_cstr(&c->a, str_slice(str_of(f->path), 0, (size_t)slash)), 0755);
    int r = os_write_file(f->path, buf_str(&b), 0600);
    return r < 0 ? cli_fail(c, "cannot write %s: %s", f->path, strerror(-r)) : 0;
}

static struct config_file *default_file(struct config_files *fs)
{
    for (size_t i = 0; i < fs->n; i++)
        if (fs->items[i].exists)
            return &fs->items[i];
    return &fs->items[fs->n - 1];
}

/* ---- entries -------------------------------------------------------------------------------------------------------- */

static struct val *list_of(struct cli *c, struct val *config, const struct section *s)
{
    struct val *l = (struct val *)val_key(config, str_of(s->list));
    return val_is(l, VAL_LIST) ? l : val_put(&c->a, config, str_of(s->list), *val_new(&c->a, VAL_LIST));
}

static ssize_t index_of(const struct val *list, struct str name)
{
    for (size_t i = 0; i < val_len(list); i++)
        if (str_eq(val_str(val_key(&list->items[i], STR("name"))), name))
            return (ssize_t)i;
    return -1;
}

/* The file that has the entry, and where it stands in its list; NULL when none has it. */
static struct config_file *find_entry(struct config_files *fs, const struct section *s, struct str name, size_t *ret_at)
{
    for (size_t i = 0; i < fs->n; i++) {
        ssize_t at = index_of(val_key(fs->items[i].v, str_of(s->list)), name);
        if (at >= 0) {
            *ret_at = (size_t)at;
            return &fs->items[i];
        }
    }
    return NULL;
}

/* The entry's own map, made when there is none. *ret_file: where it stands. */
static struct val *entry_for_change(struct cli *c, struct config_files *fs, const struct section *s, struct str name,
                                    struct config_file **ret_file, bool *ret_new)
{
    size_t at;
    struct config_file *f = find_entry(fs, s, name, &at);
    *ret_new = !f;
    *ret_file = f ? f : default_file(fs);
    struct val *list = list_of(c, (*ret_file)->v, s);
    struct val *entry = f ? &list->items[at] : val_add(&c->a, list, *val_new(&c->a, VAL_MAP));
    if (!f)
        val_put_str(&c->a, entry, STR("name"), name);
    struct val *own = (struct val *)val_key(entry, str_of(s->item));
    return val_is(own, VAL_MAP) ? own : val_put(&c->a, entry, str_of(s->item), *val_new(&c->a, VAL_MAP));
}

/* NULL: leaves it; "": removes it. */
static void put_text(struct cli *c, struct val *map, const char *key, const char *value)
{
    if (value && value[0])
        val_put_str(&c->a, map, str_of(key), str_of(value));
    else if (value)
        val_unput(map, str_of(key));
}

static struct str current_context(const struct config_files *fs)
{
    for (size_t i = 0; i < fs->n; i++) {
        struct str s = val_str(val_key(fs->items[i].v, STR("current-context")));
        if (s.n)
            return s;
    }
    return STR("");
}

static struct config_file *current_file(struct config_files *fs)
{
    for (size_t i = 0; i < fs->n; i++)
        if (val_str(val_key(fs->items[i].v, STR("current-context"))).n)
            return &fs->items[i];
    return default_file(fs);
}

/* ---- set-* ------------------------------------------------------------------------------------------------------------ */

static int one_name(struct cli *c, int argc, char **argv, struct str *ret)
{
    if (argc != 2)
        return cli_usage(c, "Unexpected args: exactly one NAME is required");
    *ret = str_of(argv[1]);
    return 0;
}

/* Certificates are named, or with --embed-certs written into the file itself. */
static int put_file(struct cli *c, struct val *map, const char *key, const char *path, bool embed)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str text;
    const char *data_key = cli_printf(c, "%s-data", key).p;
    if (!path)
        return 0;
    if (!embed) {
        char *absolute = path[0] ? realpath(path, NULL) : NULL;
        put_text(c, map, key, absolute ? arena_cstr(&c->a, str_of(absolute)) : path);
        free(absolute);
        val_unput(map, str_of(data_key));
        return 0;
    }
    int r = os_read_file(&c->a, path, MAX_FILE, &text);
    if (r < 0)
        return cli_fail(c, "could not read %s data from %s: %s", key, path, strerror(-r));
    base64_put(&b, text);
    val_put_str(&c->a, map, str_of(data_key), buf_str(&b));
    val_unput(map, str_of(key));
    return 0;
}

static int cmd_set_cluster(struct cli *c, int argc, char **argv)
{
    bool embed = false, is_new;
    const char *proxy = NULL;
    struct config_files fs;
    struct config_file *f;
    struct str name;
    struct flag flags[] = {
        {"embed-certs", 0, FLAG_BOOL, &embed, "Write certificates into the file itself"},
        {"proxy-url", 0, FLAG_STRING, &proxy, "Proxy to reach the server through"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = one_name(c, argc, argv, &name);
    if (r == 0)
        r = load_files(c, &fs);
    if (r)
        return r;
    struct val *v = entry_for_change(c, &fs, &clusters, name, &f, &is_new);
    struct flag *insecure = flags_find(c->flags, "insecure-skip-tls-verify");
    put_text(c, v, "server", c->g.over.server);
    put_text(c, v, "tls-server-name", c->g.over.server_name);
    put_text(c, v, "proxy-url", proxy);
    if (insecure->given && c->g.over.insecure)
        val_put(&c->a, v, STR("insecure-skip-tls-verify"), val_of_bool(true));
    else if (insecure->given)
        val_unput(v, STR("insecure-skip-tls-verify"));
    if (insecure->given && c->g.over.insecure && c->g.over.ca_file)
        return cli_fail(c, "you cannot specify a certificate authority and insecure mode at the same time");
    r = put_file(c, v, "certificate-authority", c->g.over.ca_file, embed);
    if (r == 0)
        r = save(c, f);
    if (r == 0)
        cli_print(c, "Cluster \"" STR_FMT "\" set.\n", STR_ARG(name));
    return r;
}

static int put_exec(struct cli *c, struct val *v, const char *command, const char *version, const struct flag_list *args,
                    const struct flag_list *env)
{
    if (!command && !args->n && !env->n && !version)
        return 0;
    struct val *exec = (struct val *)val_key(v, STR("exec"));
    if (!val_is(exec, VAL_MAP))
        exec = val_put(&c->a, v, STR("exec"), *val_new(&c->a, VAL_MAP));
    put_text(c, exec, "command", command);
    put_text(c, exec, "apiVersion", version);
    if (args->n) {
        struct val *list = val_put(&c->a, exec, STR("args"), *val_new(&c->a, VAL_LIST));
        for (size_t i = 0; i < args->n; i++)
            val_add_str(&c->a, list, str_of(args->items[i]));
    }
    for (size_t i = 0; i < env->n; i++) {
        struct str key, value;
        if (!str_cut(str_of(env->items[i]), '=', &key, &value))
            return cli_fail(c, "--exec-env must be NAME=VALUE");
        struct val *list = (struct val *)val_key(exec, STR("env"));
        if (!val_is(list, VAL_LIST))
            list = val_put(&c->a, exec, STR("env"), *val_new(&c->a, VAL_LIST));
        struct val *one = val_add(&c->a, list, *val_new(&c->a, VAL_MAP));
        val_put_str(&c->a, one, STR("name"), key);
        val_put_str(&c->a, one, STR("value"), value);
    }
    return 0;
}

static int cmd_set_credentials(struct cli *c, int argc, char **argv)
{
    bool embed = false, is_new;
    const char *command = NULL, *version = NULL;
    struct flag_list args = {0}, env = {0};
    struct config_files fs;
    struct config_file *f;
    struct str name;
    struct flag flags[] = {
        {"embed-certs", 0, FLAG_BOOL, &embed, "Write certificates into the file itself"},
        {"exec-api-version", 0, FLAG_STRING, &version, "API version of the credential plug-in"},
        {"exec-arg", 0, FLAG_ARRAY, &args, "Argument of the credential plug-in"},
        {"exec-command", 0, FLAG_STRING, &command, "Credential plug-in to run"},
        {"exec-env", 0, FLAG_ARRAY, &env, "NAME=VALUE for the credential plug-in"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = one_name(c, argc, argv, &name);
    if (r == 0 && c->g.over.token && (c->g.username || c->g.password))
        r = cli_fail(c, "you cannot specify more than one authentication method at the same time: --token, --username/--password");
    if (r == 0)
        r = load_files(c, &fs);
    if (r)
        return r;
    struct val *v = entry_for_change(c, &fs, &users, name, &f, &is_new);
    put_text(c, v, "token", c->g.over.token);
    put_text(c, v, "username", c->g.username);
    put_text(c, v, "password", c->g.password);
    r = put_file(c, v, "client-certificate", c->g.over.cert_file, embed);
    if (r == 0)
        r = put_file(c, v, "client-key", c->g.over.key_file, embed);
    if (r == 0)
        r = put_exec(c, v, command, version, &args, &env);
    if (r == 0)
        r = save(c, f);
    if (r == 0)
        cli_print(c, "User \"" STR_FMT "\" set.\n", STR_ARG(name));
    return r;
}

static int cmd_set_context(struct cli *c, int argc, char **argv)
{
    bool current = false, is_new;
    struct config_files fs;
    struct config_file *f;
    struct str name;
    struct flag flags[] = {{"current", 0, FLAG_BOOL, &current, "Change the current context"}, NO_FLAGS};
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = load_files(c, &fs);
    if (r)
        return r;
    if (current && argc > 1)
        return cli_fail(c, "you cannot specify both a context name and --current");
    name = current ? current_context(&fs) : STR_NULL;
    if (current && !name.n)
        return cli_fail(c, "no current context is set");
    r = current ? 0 : one_name(c, argc, argv, &name);
    if (r)
        return r;
    struct val *v = entry_for_change(c, &fs, &contexts, name, &f, &is_new);
    if (is_new) {
        val_put_str(&c->a, v, STR("cluster"), STR(""));
        val_put_str(&c->a, v, STR("user"), STR(""));
    }
    if (c->g.over.cluster)
        val_put_str(&c->a, v, STR("cluster"), str_of(c->g.over.cluster));
    if (c->g.over.user)
        val_put_str(&c->a, v, STR("user"), str_of(c->g.over.user));
    put_text(c, v, "namespace", c->g.namespace_);
    r = save(c, f);
    if (r == 0)
        cli_print(c, "Context \"" STR_FMT "\" %s.\n", STR_ARG(name), is_new ? "created" : "modified");
    return r;
}

/* ---- use, rename, delete ------------------------------------------------------------------------------------------------ */

static int load_and_name(struct cli *c, int argc, char **argv, struct config_files *ret, struct str *ret_name)
{
    struct flag flags[] = {NO_FLAGS};
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = one_name(c, argc, argv, ret_name);
    return r ? r : load_files(c, ret);
}

static int cmd_use_context(struct cli *c, int argc, char **argv)
{
    struct config_files fs;
    struct str name;
    size_t at;
    int r = load_and_name(c, argc, argv, &fs, &name);
    if (r)
        return r;
    if (!find_entry(&fs, &contexts, name, &at))
        return cli_fail(c, "no context exists with the name: \"" STR_FMT "\"", STR_ARG(name));
    struct config_file *f = current_file(&fs);
    val_put_str(&c->a, f->v, STR("current-context"), name);
    r = save(c, f);
    if (r == 0)
        cli_print(c, "Switched to context \"" STR_FMT "\".\n", STR_ARG(name));
    return r;
}

static int cmd_rename_context(struct cli *c, int argc, char **argv)
{
    struct config_files fs;
    size_t at, other;
    struct flag flags[] = {NO_FLAGS};
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0 && argc != 3)
        r = cli_usage(c, "Unexpected args: an old and a new name are required");
    if (r == 0)
        r = load_files(c, &fs);
    if (r)
        return r;
    struct str from = str_of(argv[1]), to = str_of(argv[2]);
    struct config_file *f = find_entry(&fs, &contexts, from, &at);
    if (!f)
        return cli_fail(c, "cannot rename the context \"" STR_FMT "\", it's not in %s", STR_ARG(from), default_file(&fs)->path);
    if (find_entry(&fs, &contexts, to, &other))
        return cli_fail(c, "cannot rename the context \"" STR_FMT "\", the context \"" STR_FMT "\" already exists in %s", STR_ARG(from),
                        STR_ARG(to), f->path);
    val_put_str(&c->a, &list_of(c, f->v, &contexts)->items[at], STR("name"), to);
    struct config_file *holder = current_file(&fs);
    if (str_eq(current_context(&fs), from)) {
        val_put_str(&c->a, holder->v, STR("current-context"), to);
        r = holder == f ? 0 : save(c, holder);
    }
    if (r == 0)
        r = save(c, f);
    if (r == 0)
        cli_print(c, "Context \"" STR_FMT "\" renamed to \"" STR_FMT "\".\n", STR_ARG(from), STR_ARG(to));
    return r;
}

static int delete_entry(struct cli *c, int argc, char **argv, const struct section *s)
{
    struct config_files fs;
    struct str name;
    size_t at;
    int r = load_and_name(c, argc, argv, &fs, &name);
    if (r)
        return r;
    struct config_file *f = find_entry(&fs, s, name, &at);
    if (!f)
        return cli_fail(c, "cannot delete %s " STR_FMT ", not in %s", s->word, STR_ARG(name), default_file(&fs)->path);
    if (s == &contexts && str_eq(current_context(&fs), name))
        cli_note(c, "warning: this removed your active context, use \"kubectl config use-context\" to select a different one");
    struct val *list = list_of(c, f->v, s);
    val_remove(list, at);
    if (!list->n)
        val_put(&c->a, f->v, str_of(s->list), (struct val){.kind = VAL_NULL});
    r = save(c, f);
    if (r == 0)
        cli_print(c, "deleted %s " STR_FMT " from %s\n", s->word, STR_ARG(name), f->path);
    return r;
}

static int cmd_delete_cluster(struct cli *c, int argc, char **argv)
{
    return delete_entry(c, argc, argv, &clusters);
}

static int cmd_delete_context(struct cli *c, int argc, char **argv)
{
    return delete_entry(c, argc, argv, &contexts);
}

static int cmd_delete_user(struct cli *c, int argc, char **argv)
{
    return delete_entry(c, argc, argv, &users);
}

/* ---- set, unset: by property ------------------------------------------------------------------------------------------- */

static const struct section *section_of(struct str word)
{
    static const struct section *const all[] = {&clusters, &contexts, &users};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (str_is(word, all[i]->list))
            return all[i];
    return NULL;
}

/* "clusters.NAME.PROPERTY": names may have dots, properties have none. */
static bool split_property(struct str text, const struct section **ret, struct str *ret_name, struct str *ret_property)
{
    struct str head, rest;
    if (!str_cut(text, '.', &head, &rest) || !(*ret = section_of(head)))
        return false;
    ssize_t dot = str_rfind(rest, '.');
    *ret_name = dot < 0 ? rest : str_slice(rest, 0, (size_t)dot);
    *ret_property = dot < 0 ? STR_NULL : str_from(rest, (size_t)dot + 1);
    return true;
}

static int cmd_set_property(struct cli *c, int argc, char **argv)
{
    struct config_files fs;
    struct config_file *f;
    const struct section *s;
    struct str name, property;
    struct buf b CLEANUP_BUF = BUF_INIT;
    bool raw_bytes = false, is_new;
    struct flag flags[] = {{"set-raw-bytes", 0, FLAG_BOOL, &raw_bytes, "The value is not base64 yet"}, NO_FLAGS};
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0 && argc != 3)
        r = cli_usage(c, "Unexpected args: a property name and a value are required");
    if (r == 0)
        r = load_files(c, &fs);
    if (r)
        return r;
    struct str value = str_of(argv[2]), path = str_of(argv[1]);
    if (str_is(path, "current-context")) {
        f = current_file(&fs);
        val_put_str(&c->a, f->v, path, value);
    } else if (split_property(path, &s, &name, &property) && property.n) {
        struct val *v = entry_for_change(c, &fs, s, name, &f, &is_new);
        bool is_bool = str_is(property, "insecure-skip-tls-verify") || str_is(property, "disable-compression");
        if (str_ends(property, STR("-data")) && raw_bytes) {
            base64_put(&b, value);
            value = buf_str(&b);
        }
        val_put(&c->a, v, property, is_bool ? val_of_bool(str_is(value, "true")) : val_of_str(arena_str(&c->a, value)));
    } else {
        return cli_fail(c, "unable to set \"" STR_FMT "\": it must be current-context or clusters|contexts|users.NAME.PROPERTY",
                        STR_ARG(path));
    }
    r = save(c, f);
    if (r == 0)
        cli_print(c, "Property \"" STR_FMT "\" set.\n", STR_ARG(path));
    return r;
}

static int cmd_unset_property(struct cli *c, int argc, char **argv)
{
    struct config_files fs;
    const struct section *s;
    struct str path, name, property;
    size_t at;
    int r = load_and_name(c, argc, argv, &fs, &path);
    if (r)
        return r;
    struct config_file *f = current_file(&fs);
    if (str_is(path, "current-context")) {
        val_put_str(&c->a, f->v, path, STR(""));
    } else if (section_of(path)) {
        f = default_file(&fs);
        val_put(&c->a, f->v, path, (struct val){.kind = VAL_NULL});
    } else if (split_property(path, &s, &name, &property)) {
        struct str whole = property.n ? cli_printf(c, STR_FMT "." STR_FMT, STR_ARG(name), STR_ARG(property)) : name;
        if ((f = find_entry(&fs, s, whole, &at)) != NULL) {
            val_remove(list_of(c, f->v, s), at);
        } else if ((f = find_entry(&fs, s, name, &at)) != NULL) {
            struct val *own = (struct val *)val_key(&list_of(c, f->v, s)->items[at], str_of(s->item));
            if (val_is(own, VAL_MAP))
                val_unput(own, property);
        }
    }
    if (!f)
        return cli_fail(c, "current map key `" STR_FMT "` is invalid", STR_ARG(name));
    r = save(c, f);
    if (r == 0)
        cli_print(c, "Property \"" STR_FMT "\" unset.\n", STR_ARG(path));
    return r;
}

/* ---- looking ------------------------------------------------------------------------------------------------------------- */

/* All files as one, untyped. */
static int load_merged(struct cli *c, struct val **ret)
{
    struct val *typed = NULL;
    struct err e = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    int r = kubeconfig_load(&c->a, c->g.kubeconfig, &typed, &e);
    if (r < 0)
        return cli_fail(c, "%s", err_text(&e, r));
    json_encode(&b, &types[T_kubeconfig_v1_Config], typed, 0);
    return json_decode(&c->a, NULL, arena_str(&c->a, buf_str(&b)), 0, NULL, ret, NULL) < 0 ? cli_fail(c, "bad configuration") : 0;
}

static size_t names_in(struct cli *c, const struct val *config, const struct section *s, struct str **ret)
{
    const struct val *list = val_key(config, str_of(s->list));
    size_t n = 0;
    *ret = ARENA_ARRAY(&c->a, struct str, val_len(list) + 1);
    VAL_EACH(list, v)
    {
        (*ret)[n++] = val_str(val_key(v, STR("name")));
    }
    str_sort(*ret, n);
    return n;
}

static int list_names(struct cli *c, int argc, char **argv, const struct section *s)
{
    struct flag flags[] = {NO_FLAGS};
    struct val *config;
    struct str *names;
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = load_merged(c, &config);
    if (r)
        return r;
    size_t n = names_in(c, config, s, &names);
    cli_print(c, "NAME\n");
    for (size_t i = 0; i < n; i++)
        cli_print(c, STR_FMT "\n", STR_ARG(names[i]));
    return 0;
}

static int cmd_get_clusters(struct cli *c, int argc, char **argv)
{
    return list_names(c, argc, argv, &clusters);
}

static int cmd_get_users(struct cli *c, int argc, char **argv)
{
    return list_names(c, argc, argv, &users);
}

static int cmd_current_context(struct cli *c, int argc, char **argv)
{
    struct flag flags[] = {NO_FLAGS};
    struct val *config;
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = load_merged(c, &config);
    if (r)
        return r;
    struct str name = c->g.over.context ? str_of(c->g.over.context) : val_str(val_key(config, STR("current-context")));
    if (!name.n)
        return cli_fail(c, "current-context is not set");
    cli_print(c, STR_FMT "\n", STR_ARG(name));
    return 0;
}

static void put_context(struct buf *b, const struct val *config, struct str name, struct str current)
{
    const struct val *list = val_key(config, STR("contexts"));
    const struct val *v = val_key(val_item(list, (size_t)index_of(list, name)), STR("context"));
    buf_printf(b, "%s\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", str_eq(name, current) ? "*" : "", STR_ARG(name),
               STR_ARG(val_str(val_key(v, STR("cluster")))), STR_ARG(val_str(val_key(v, STR("user")))),
               STR_ARG(val_str(val_key(v, STR("namespace")))));
}

static int cmd_get_contexts(struct cli *c, int argc, char **argv)
{
    const char *output = NULL;
    bool no_headers = false;
    struct val *config;
    struct str *names;
    struct buf b CLEANUP_BUF = BUF_INIT;
    int code = 0;
    struct flag flags[] = {
        {"no-headers", 0, FLAG_BOOL, &no_headers, "No line of column names"},
        {"output", 'o', FLAG_STRING, &output, "name"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = load_merged(c, &config);
    if (r)
        return r;
    if (output && output[0] && strcmp(output, "name"))
        return cli_fail(c, "output must be one of '' or 'name': %s", output);
    struct str current = val_str(val_key(config, STR("current-context")));
    size_t n = names_in(c, config, &contexts, &names);
    if (!output && !no_headers)
        buf_puts(&b, "CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    for (int k = 1; k < argc; k++)
        if (index_of(val_key(config, STR("contexts")), str_of(argv[k])) < 0)
            code = cli_fail(c, "context %s not found", argv[k]);
    for (size_t i = 0; i < n; i++) {
        bool wanted = argc == 1;
        for (int k = 1; k < argc; k++)
            wanted |= str_is(names[i], argv[k]);
        if (wanted && output)
            cli_print(c, STR_FMT "\n", STR_ARG(names[i]));
        else if (wanted)
            put_context(&b, config, names[i], current);
    }
    tab_align(&c->out, buf_str(&b), TAB_TABLE, NULL);
    return code;
}

/* ---- view ---------------------------------------------------------------------------------------------------------------- */

static void redact_one(struct cli *c, struct val *map, const char *key, const char *by)
{
    if (val_is(map, VAL_MAP) && val_str(val_key(map, str_of(key))).n)
        val_put_str(&c->a, map, str_of(key), str_of(by));
}

static void redact(struct cli *c, struct val *config)
{
    struct val *cl = (struct val *)val_key(config, STR("clusters")), *us = (struct val *)val_key(config, STR("users"));
    for (size_t i = 0; i < val_len(cl); i++)
        redact_one(c, (struct val *)val_key(&cl->items[i], STR("cluster")), "certificate-authority-data", "DATA+OMITTED");
    for (size_t i = 0; i < val_len(us); i++) {
        struct val *u = (struct val *)val_key(&us->items[i], STR("user"));
        redact_one(c, u, "client-certificate-data", "DATA+OMITTED");
        redact_one(c, u, "client-key-data", "DATA+OMITTED");
        redact_one(c, u, "token", "REDACTED");
        redact_one(c, u, "password", "REDACTED");
    }
}

static void keep_only(struct val *config, const struct section *s, struct str name)
{
    struct val *list = (struct val *)val_key(config, str_of(s->list));
    for (size_t i = val_len(list); i-- > 0;)
        if (!str_eq(val_str(val_key(&list->items[i], STR("name"))), name))
            val_remove(list, i);
}

static int minify(struct cli *c, struct val *config)
{
    struct str name = c->g.over.context ? str_of(c->g.over.context) : val_str(val_key(config, STR("current-context")));
    const struct val *list = val_key(config, STR("contexts"));
    ssize_t at = name.n ? index_of(list, name) : -1;
    if (!name.n)
        return cli_fail(c, "current-context must exist in order to minify");
    if (at < 0)
        return cli_fail(c, "cannot locate context " STR_FMT, STR_ARG(name));
    const struct val *context = val_key(val_item(list, (size_t)at), STR("context"));
    struct str cluster = val_str(val_key(context, STR("cluster"))), user = val_str(val_key(context, STR("user")));
    keep_only(config, &clusters, cluster);
    keep_only(config, &users, user);
    keep_only(config, &contexts, name);
    val_put_str(&c->a, config, STR("current-context"), name);
    return 0;
}

static int flatten(struct cli *c, struct val *config)
{
    struct val *cl = (struct val *)val_key(config, STR("clusters")), *us = (struct val *)val_key(config, STR("users"));
    int r = 0;
    for (size_t i = 0; r == 0 && i < val_len(cl); i++) {
        struct val *v = (struct val *)val_key(&cl->items[i], STR("cluster"));
        const struct val *file = val_key(v, STR("certificate-authority"));
        r = put_file(c, v, "certificate-authority", file ? val_cstr(file) : NULL, true);
    }
    for (size_t i = 0; r == 0 && i < val_len(us); i++) {
        static const char *const files[] = {"client-certificate", "client-key"};
        struct val *v = (struct val *)val_key(&us->items[i], STR("user"));
        for (size_t k = 0; r == 0 && k < ARRAY_SIZE(files); k++) {
            const struct val *file = val_key(v, str_of(files[k]));
            r = put_file(c, v, files[k], file ? val_cstr(file) : NULL, true);
        }
    }
    return r;
}

static int cmd_view(struct cli *c, int argc, char **argv)
{
    struct print_flags print = PRINT_FLAGS_INIT;
    struct printer p;
    struct val *config;
    bool raw = false, flat = false, small = false, merge = true;
    print.output = "yaml";
    struct flag flags[] = {
        PRINT_FLAGS(&print),
        {"flatten", 0, FLAG_BOOL, &flat, "Certificates and keys in the output itself"},
        {"merge", 0, FLAG_BOOL, &merge, NULL},
        {"minify", 0, FLAG_BOOL, &small, "What the current context uses, alone"},
        {"raw", 0, FLAG_BOOL, &raw, "With secrets"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r == 0)
        r = printer_make(c, &print, false, &p);
    if (r == 0)
        r = load_merged(c, &config);
    if (r == 0 && small)
        r = minify(c, config);
    if (r == 0 && flat)
        r = flatten(c, config);
    if (r)
        return r;
    if (!raw && !flat)
        redact(c, config);
    return printer_put(c, &p, NULL, config, "");
}

const struct command config_commands[] = {
    {"current-context", NULL, "[flags]", "Print the name of the current context", NULL, cmd_current_context, NULL},
    {"delete-cluster", NULL, "NAME", "Remove a cluster", NULL, cmd_delete_cluster, NULL},
    {"delete-context", NULL, "NAME", "Remove a context", NULL, cmd_delete_context, NULL},
    {"delete-user", NULL, "NAME", "Remove a user", NULL, cmd_delete_user, NULL},
    {"get-clusters", NULL, "[flags]", "List the clusters", NULL, cmd_get_clusters, NULL},
    {"get-contexts", NULL, "[(-o|--output=)name] [NAME...]", "List the contexts", NULL, cmd_get_contexts, NULL},
    {"get-users", NULL, "[flags]", "List the users", NULL, cmd_get_users, NULL},
    {"rename-context", NULL, "OLD_NAME NEW_NAME", "Rename a context", NULL, cmd_rename_context, NULL},
    {"set", NULL, "PROPERTY VALUE", "Set one value", NULL, cmd_set_property, NULL},
    {"set-cluster", NULL, "NAME [--server=URL] [--certificate-authority=FILE] [--insecure-skip-tls-verify=true] [flags]",
     "Set a cluster", NULL, cmd_set_cluster, NULL},
    {"set-context", NULL, "[NAME | --current] [--cluster=NAME] [--user=NAME] [--namespace=NAME]", "Set a context", NULL,
     cmd_set_context, NULL},
    {"set-credentials", NULL, "NAME [--client-certificate=FILE] [--client-key=FILE] [--token=TOKEN] [flags]", "Set a user", NULL,
     cmd_set_credentials, NULL},
    {"unset", NULL, "PROPERTY", "Remove one value", NULL, cmd_unset_property, NULL},
    {"use-context", "use", "NAME", "Make a context the current one", NULL, cmd_use_context, NULL},
    {"view", NULL, "[flags]", "Print the merged configuration", NULL, cmd_view, NULL},
    {0},
};
