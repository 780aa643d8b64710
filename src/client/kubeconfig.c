/* SPDX-License-Identifier: Apache-2.0 */
#include "client/kubeconfig.h"

#include "base/os.h"
#include "names.h"
#include "types.h"
#include "wire/yaml.h"

#include <stdio.h>
#include <unistd.h>

#define ADMIN_CONF "/etc/kubernetes/admin.conf"
#define POD_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* ---- which files ------------------------------------------------------------------------------------- */

static const char *const *one_path(struct arena *a, const char *path)
{
    const char **list = ARENA_ARRAY(a, const char *, 2);
    list[0] = path;
    return list;
}

static const char *const *split_paths(struct arena *a, const char *text)
{
    struct str rest = str_of(text), path;
    size_t n = 0;
    const char **list = ARENA_ARRAY(a, const char *, rest.n + 2);
    while (str_next(&rest, ':', &path))
        if (path.n)
            list[n++] = arena_cstr(a, path);
    return list;
}

const char *const *kubeconfig_paths(struct arena *a, const char *explicit)
{
    const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");
    if (explicit && explicit[0])
        return one_path(a, explicit);
    if (env && env[0])
        return split_paths(a, env);
    const char *own = arena_printf(a, "%s/.kube/config", home ? home : "/root").p;
    if (access(own, R_OK) < 0 && access(ADMIN_CONF, R_OK) == 0)
        return one_path(a, ADMIN_CONF);
    return one_path(a, own);
}

/* ---- loading ----------------------------------------------------------------------------------------- */

static int read_config(struct arena *a, const char *path, struct val **ret, struct err *e)
{
    struct str text, json;
    int r = os_read_file(a, path, 16 << 20, &text);
    if (r < 0)
        return r == -ENOENT ? r : err_set(e, r, "cannot read %s: %s", path, strerror(-r));
    r = yaml_to_json(a, text, NULL, &json, e);
    if (r == 0 && (str_is(json, "null") || !json.n))
        json = STR("{}");
    if (r == 0)
        r = json_decode(a, &types[T_kubeconfig_v1_Config], json, 0, NULL, ret, e);
    return r < 0 ? err_wrap(e, r, "error loading config file \"%s\"", path) : 0;
}

static void make_absolute(struct arena *a, struct val *v, name_id name, const char *file)
{
    struct str path = val_getstr(v, name);
    ssize_t slash = str_rfind(str_of(file), '/');
    if (!path.n || path.p[0] == '/' || slash < 0)
        return;
    val_set_str(a, v, name, arena_printf(a, "%.*s/" STR_FMT, (int)slash, file, STR_ARG(path)));
}

static struct val *item_at(struct val *list, size_t i)
{
    return &list->items[i];
}

static void resolve_paths(struct arena *a, struct val *config, const char *file)
{
    static const name_id cluster_files[] = {N_certificate_authority};
    static const name_id user_files[] = {N_client_certificate, N_client_key, N_tokenFile};
    struct val *clusters = val_sub_list(a, config, N_clusters), *users = val_sub_list(a, config, N_users);
    for (size_t i = 0; i < clusters->n; i++)
        for (size_t k = 0; k < ARRAY_SIZE(cluster_files); k++)
            make_absolute(a, val_sub_obj(a, item_at(clusters, i), N_cluster), cluster_files[k], file);
    for (size_t i = 0; i < users->n; i++)
        for (size_t k = 0; k < ARRAY_SIZE(user_files); k++)
            make_absolute(a, val_sub_obj(a, item_at(users, i), N_user), user_files[k], file);
}

static const struct val *named(const struct val *list, struct str name)
{
    VAL_EACH (list, v) {
        if (str_eq(val_getstr(v, N_name), name))
            return v;
    }
    return NULL;
}

/* The first file that names a thing wins. */
static void merge(struct arena *a, struct val *into, const struct val *more)
{
    static const name_id lists[] = {N_clusters, N_users, N_contexts};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct val *list = val_sub_list(a, into, lists[i]);
        VAL_EACH (val_get(more, lists[i]), v) {
            if (!named(list, val_getstr(v, N_name)))
                val_add(a, list, *v);
        }
    }
    if (!val_getstr(into, N_current_context).n)
        val_set_ref(a, into, N_current_context, val_get(more, N_current_context));
}

int kubeconfig_load(struct arena *a, const char *explicit, struct val **ret, struct err *e)
{
    struct val *all = val_new(a, VAL_OBJ);
    val_set_str(a, all, N_kind, STR("Config"));
    val_set_str(a, all, N_apiVersion, STR("v1"));
    for (const char *const *p = kubeconfig_paths(a, explicit); *p; p++) {
        struct val *one = NULL;
        int r = read_config(a, *p, &one, e);
        if (r == -ENOENT && !(explicit && explicit[0]))
            continue;
        if (r == -ENOENT)
            return err_set(e, r, "error loading config file \"%s\": no such file", *p);
        if (r < 0)
            return r;
        resolve_paths(a, one, *p);
        merge(a, all, one);
    }
    *ret = all;
    return 0;
}

/* ---- resolving --------------------------------------------------------------------------------------- */

static struct str pick(const char *override, struct str otherwise)
{
    return override ? str_of(override) : otherwise;
}

/* A text that stands in the file itself or in another one. */
static int data_or_file(struct arena *a, const struct val *v, name_id data, name_id file,
                        const char *override, struct str *ret, struct err *e)
{
    struct str path = pick(override, val_getstr(v, file));
    if (!override && val_getstr(v, data).n) {
        *ret = val_getstr(v, data);
        return 0;
    }
    if (!path.n)
        return 0;
    int r = os_read_file(a, arena_cstr(a, path), 4 << 20, ret);
    return r < 0 ? err_set(e, r, "unable to read " STR_FMT ": %s", STR_ARG(path), strerror(-r)) : 0;
}

static int resolve_cluster(struct arena *a, const struct val *cluster, const struct kubeconfig_overrides *o,
                           struct https_config *c, struct err *e)
{
    c->server = pick(o->server, val_getstr(cluster, N_server));
    if (c->server.n && !str_contains(c->server, STR("://")))
        c->server = arena_printf(a, "https://" STR_FMT, STR_ARG(c->server));
    c->server_name = pick(o->server_name, val_getstr(cluster, N_tls_server_name));
    c->insecure = o->insecure || val_bool(val_get(cluster, N_insecure_skip_tls_verify), false);
    if (c->insecure)
        return 0;
    return data_or_file(a, cluster, N_certificate_authority_data, N_certificate_authority, o->ca_file,
                        &c->ca_pem, e);
}

/* ---- credential plug-ins (client.authentication.k8s.io) ---------------------------------------------- */

static const char **exec_argv(struct arena *a, const struct val *exec)
{
    const struct val *args = val_get(exec, N_args);
    const char **argv = ARENA_ARRAY(a, const char *, val_len(args) + val_len(val_get(exec, N_env)) + 4);
    size_t n = 0;
    argv[n++] = "env"; /* NAME=VALUE ... COMMAND: adds to the environment as it is */
    VAL_EACH (val_get(exec, N_env), v) {
        argv[n++] = arena_printf(a, STR_FMT "=" STR_FMT, STR_ARG(val_getstr(v, N_name)),
                                 STR_ARG(val_getstr(v, N_value)))
                        .p;
    }
    argv[n++] =
        arena_printf(a,
                     "KUBERNETES_EXEC_INFO={\"apiVersion\":\"" STR_FMT "\",\"kind\":\"ExecCredential\","
                     "\"spec\":{\"interactive\":false}}",
                     STR_ARG(val_getstr(exec, N_apiVersion)))
            .p;
    argv[n++] = val_cstr(val_get(exec, N_command));
    const char **grown = ARENA_ARRAY(a, const char *, n + val_len(args) + 1);
    memcpy(grown, argv, n * sizeof(*argv));
    VAL_EACH (args, v) {
        grown[n++] = val_cstr(v);
    }
    return grown;
}

static int run_plugin(struct arena *a, const struct val *exec, struct https_config *c, struct err *e)
{
    struct str out, err;
    struct val *v = NULL;
    const char *command = val_cstr(val_get(exec, N_command));
    int r = os_run(a, exec_argv(a, exec), &out, &err, mono_add(os_mono(), SECONDS(60)));
    if (r)
        return err_set(e, -EACCES, "getting credentials: exec: executable %s failed: " STR_FMT " " STR_FMT,
                       command, STR_ARG(str_trim(err)), STR_ARG(val_getstr(exec, N_installHint)));
    r = json_decode(a, NULL, out, 0, NULL, &v, e);
    if (r < 0)
        return err_wrap(e, r, "getting credentials: %s", command);
    const struct val *status = val_get(v, N_status);
    c->token = val_getstr(status, N_token);
    c->cert_pem = val_getstr(status, N_clientCertificateData);
    c->key_pem = val_getstr(status, N_clientKeyData);
    return 0;
}

static int resolve_user(struct arena *a, const struct val *user, const struct kubeconfig_overrides *o,
                        struct https_config *c, struct err *e)
{
    c->token = pick(o->token, val_getstr(user, N_token));
    c->token_file = o->token ? STR_NULL : val_getstr(user, N_tokenFile);
    c->username = val_getstr(user, N_username);
    c->password = val_getstr(user, N_password);
    c->as_user = pick(o->as_user, val_getstr(user, N_as));
    c->as_uid = pick(o->as_uid, val_getstr(user, N_as_uid));
    c->as_groups = o->as_groups;
    c->n_as_groups = o->n_as_groups;
    int r =
        data_or_file(a, user, N_client_certificate_data, N_client_certificate, o->cert_file, &c->cert_pem, e);
    if (r == 0)
        r = data_or_file(a, user, N_client_key_data, N_client_key, o->key_file, &c->key_pem, e);
    if (r == 0 && val_get(user, N_exec) && !c->token.n)
        r = run_plugin(a, val_get(user, N_exec), c, e);
    return r;
}

/* ---- in a pod ---------------------------------------------------------------------------------------- */

static bool in_pod(struct arena *a, struct https_config *c, struct str *ret_namespace)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !port || os_read_file(a, POD_DIR "/ca.crt", 1 << 20, &c->ca_pem) < 0)
        return false;
    c->server = arena_printf(a, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
    c->token_file = STR(POD_DIR "/token");
    if (os_read_file(a, POD_DIR "/namespace", 4096, ret_namespace) < 0)
        *ret_namespace = STR("default");
    *ret_namespace = str_trim(*ret_namespace);
    return true;
}

int kubeconfig_resolve(struct arena *a, const struct val *config, const struct kubeconfig_overrides *o,
                       struct https_config *ret, struct str *ret_namespace, struct err *e)
{
    static const struct kubeconfig_overrides none = {0};
    struct https_config c = {0};
    o = o ? o : &none;
    struct str name = pick(o->context, val_getstr(config, N_current_context));
    const struct val *context = val_get(named(val_get(config, N_contexts), name), N_context);
    if (name.n && !context && (o->context || !o->server))
        return err_set(e, -ENOENT, "context \"" STR_FMT "\" does not exist", STR_ARG(name));
    struct str cluster = pick(o->cluster, val_getstr(context, N_cluster));
    struct str user = pick(o->user, val_getstr(context, N_user)), ns = val_getstr(context, N_namespace);
    ns = pick(o->namespace_, ns.n ? ns : STR("default"));
    int r = resolve_cluster(a, val_get(named(val_get(config, N_clusters), cluster), N_cluster), o, &c, e);
    if (r == 0)
        r = resolve_user(a, val_get(named(val_get(config, N_users), user), N_user), o, &c, e);
    if (r < 0)
        return r;
    if (!c.server.n && !in_pod(a, &c, &ns))
        c.server = STR("http://localhost:8080"); /* upstream's last resort, whose failure people know */
    c.timeout_ns = o->timeout_ns;
    *ret = c;
    *ret_namespace = ns;
    return 0;
}

int kubeconfig_client(const char *file, const char *user_agent, struct client **ret, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *config;
    struct https_config c;
    struct str ns;
    int r = kubeconfig_load(&a, file, &config, e);
    if (r == 0)
        r = kubeconfig_resolve(&a, config, NULL, &c, &ns, e);
    if (r < 0)
        return r;
    c.user_agent = user_agent;
    return https_client_new(&c, ret, e);
}
