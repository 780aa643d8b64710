/* SPDX-License-Identifier: Apache-2.0 */
/*
 * debug: a container for looking around, in one of three places: beside the containers of a running pod (an ephemeral
 * container), in a copy of the pod, or in a new pod on a node with the node's namespaces and its file system at /host.
 * What it may do is the profile's choice (KEP-1441).
 */
#include "cli/commands.h"
#include "cli/gen.h"
#include "cli/logs.h"
#include "cli/pods.h"
#include "cli/poll.h"
#include "cli/remote.h"
#include "cli/request.h"
#include "cli/select.h"

#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/image.h"
#include "type/meta.h"
#include "type/patch.h"
#include "types.h"
#include "wire/json.h"
#include "wire/yaml.h"

struct debug {
    struct file_flags files;
    struct flag_list env, set_images;
    const char *container, *copy_to, *image, *pull_policy, *target, *profile, *custom_file;
    bool args_only, attach, replace, keep_labels, keep_annotations, keep_liveness, keep_readiness, keep_startup, keep_init;
    bool stdin_, tty, quiet, same_node, share, share_given, attach_given;
    char **args; /* after --; NULL: none */
    const struct val *custom; /* of a container; NULL */
};

enum place { IN_POD, IN_COPY, ON_NODE };

/* ---- profiles --------------------------------------------------------------------------------------------------- */

enum {
    CLEAR = 1, PTRACE = 2, RESTRICT = 4, NETADMIN = 8, PRIVILEGED = 16,             /* the container */
    HOST_NAMESPACES = 32, HOST_ROOT = 64, SHARE = 128, STRIP = 256, DROP_LABELS = 512, /* the pod */
};

static const struct profile {
    const char *name;
    unsigned in[3]; /* by place */
} profiles[] = {
    {"general", {PTRACE, STRIP | PTRACE | SHARE, HOST_ROOT | CLEAR | HOST_NAMESPACES}},
    {"baseline", {CLEAR, CLEAR | STRIP | SHARE, CLEAR}},
    {"restricted", {CLEAR | RESTRICT, CLEAR | RESTRICT | STRIP | SHARE, CLEAR | RESTRICT}},
    {"netadmin", {NETADMIN, NETADMIN | STRIP | SHARE, NETADMIN | HOST_NAMESPACES}},
    {"sysadmin", {PRIVILEGED, PRIVILEGED | STRIP | SHARE, PRIVILEGED | HOST_NAMESPACES | HOST_ROOT}},
    {"legacy", {0, DROP_LABELS, HOST_ROOT | HOST_NAMESPACES}},
};

static const struct profile *find_profile(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(profiles); i++)
        if (!strcmp(profiles[i].name, name))
            return &profiles[i];
    return NULL;
}

static void add_capability(struct arena *a, struct val *container, const char *name)
{
    struct val *caps = val_sub_obj(a, val_sub_obj(a, container, N_securityContext), N_capabilities);
    val_add_str(a, val_sub_list(a, caps, N_add), str_of(name));
}

static void restrict_container(struct arena *a, struct val *container)
{
    struct val *sc = val_sub_obj(a, container, N_securityContext), *caps = val_sub_obj(a, sc, N_capabilities);
    val_set_bool(a, sc, N_runAsNonRoot, true);
    val_del(caps, N_add);
    val_set(a, caps, N_drop, *val_new(a, VAL_LIST));
    val_add_str(a, val_mut(caps, N_drop), STR("ALL"));
    val_set_bool(a, sc, N_allowPrivilegeEscalation, false);
    val_set_str(a, val_sub_obj(a, sc, N_seccompProfile), N_type, STR("RuntimeDefault"));
}

static void shape_container(struct arena *a, unsigned what, struct val *container)
{
    if (what & CLEAR)
        val_del(container, N_securityContext);
    if (what & PTRACE)
        add_capability(a, container, "SYS_PTRACE");
    if (what & NETADMIN) {
        add_capability(a, container, "NET_ADMIN");
        add_capability(a, container, "NET_RAW");
    }
    if (what & PRIVILEGED)
        val_set_bool(a, val_sub_obj(a, container, N_securityContext), N_privileged, true);
    if (what & RESTRICT)
        restrict_container(a, container);
    if (what & HOST_ROOT) {
        struct val *m = val_add_obj(a, val_sub_list(a, container, N_volumeMounts));
        val_set_str(a, m, N_name, STR("host-root"));
        val_set_str(a, m, N_mountPath, STR("/host"));
    }
}

/* What a copy keeps of the pod. */
static void strip(const struct debug *x, struct val *pod)
{
    struct val *meta = val_mut(pod, N_metadata), *spec = val_mut(pod, N_spec), *list = val_mut(spec, N_containers);
    if (!x->keep_labels)
        val_del(meta, N_labels);
    if (!x->keep_annotations)
        val_del(meta, N_annotations);
    if (!x->keep_init)
        val_del(spec, N_initContainers);
    for (size_t i = 0; i < val_len(list); i++) {
        if (!x->keep_liveness)
            val_del(&list->items[i], N_livenessProbe);
        if (!x->keep_readiness)
            val_del(&list->items[i], N_readinessProbe);
        if (!x->keep_startup)
            val_del(&list->items[i], N_startupProbe);
    }
}

static void shape_pod(struct cli *c, const struct debug *x, unsigned what, struct val *pod)
{
    struct arena *a = &c->a;
    struct val *spec = val_mut(pod, N_spec);
    if (what & STRIP)
        strip(x, pod);
    if (what & DROP_LABELS)
        val_del(val_mut(pod, N_metadata), N_labels);
    if (what & SHARE && !val_get(spec, N_shareProcessNamespace))
        val_set_bool(a, spec, N_shareProcessNamespace, true);
    if (what & HOST_NAMESPACES) {
        val_set_bool(a, spec, N_hostNetwork, true);
        val_set_bool(a, spec, N_hostPID, true);
        val_set_bool(a, spec, N_hostIPC, true);
    }
    if (what & HOST_ROOT) {
        struct val *v = val_add_obj(a, val_sub_list(a, spec, N_volumes));
        val_set_str(a, v, N_name, STR("host-root"));
        val_set_str(a, val_sub_obj(a, v, N_hostPath), N_path, STR("/"));
    }
}

/* ---- --custom --------------------------------------------------------------------------------------------------- */

static int read_custom(struct cli *c, struct debug *x)
{
    static const name_id fixed[] = {N_name, N_command, N_image, N_lifecycle, N_volumeDevices};
    struct str text, json;
    struct err e = {{0}};
    struct val *v;
    if (!x->custom_file || !*x->custom_file)
        return 0;
    int r = os_read_file(&c->a, x->custom_file, 1 << 20, &text);
    if (r < 0)
        return cli_fail(c, "must pass a container spec json file for custom profile: open %s: %s", x->custom_file, strerror(-r));
    r = yaml_to_json(&c->a, text, NULL, &json, &e);
    if (r == 0)
        r = json_decode(&c->a, type_at(T_core_v1_Container), json, 0, NULL, &v, &e);
    if (r < 0)
        return cli_fail(c, "%s does not contain a valid container spec: %s", x->custom_file, err_text(&e, r));
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        if (val_get(v, fixed[i]))
            return cli_fail(c, "name, command, image, lifecycle and volume devices are not modifiable via custom profile");
    x->custom = v;
    return 0;
}

static int apply_custom(struct cli *c, const struct debug *x, struct val *container)
{
    struct status s;
    struct val *out;
    if (!x->custom)
        return 0;
    status_init(&s, &c->a);
    if (patch_strategic(&c->a, type_at(T_core_v1_Container), container, json_text(c, type_at(T_core_v1_Container), x->custom), &out, &s))
        return cli_fail(c, "cannot apply the custom profile: " STR_FMT, STR_ARG(s.message));
    name_id name = container->name;
    *container = *out;
    container->name = name;
    return 0;
}

/* ---- the container ------------------------------------------------------------------------------------------------ */

static struct str random_suffix(struct cli *c)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    char text[6] = "";
    for (size_t i = 0; i < 5; i++)
        text[i] = letters[os_random_below(sizeof(letters) - 1)];
    return arena_str(&c->a, str_of(text));
}

static struct str container_name(struct cli *c, const struct debug *x, const struct val *pod)
{
    struct str name;
    if (x->container && *x->container)
        return str_of(x->container);
    do
        name = arena_printf(&c->a, "debugger-" STR_FMT, STR_ARG(random_suffix(c)));
    while (pod_container(pod, name));
    if (!x->quiet)
        cli_print(c, "Defaulting debug container name to " STR_FMT ".\n", STR_ARG(name));
    return name;
}

static void set_args(struct cli *c, const struct debug *x, struct val *container)
{
    if (!x->args || !*x->args)
        return;
    val_del(container, x->args_only ? N_args : N_command);
    if (!x->args_only)
        val_del(container, N_args);
    for (char **p = x->args; *p; p++)
        val_add_str(&c->a, val_sub_list(&c->a, container, x->args_only ? N_args : N_command), str_of(*p));
}

static int set_env(struct cli *c, const struct debug *x, struct val *container)
{
    int r = 0;
    if (x->env.n)
        val_del(container, N_env);
    for (size_t i = 0; r == 0 && i < x->env.n; i++)
        r = gen_env(c, val_sub_list(&c->a, container, N_env), x->env.items[i]);
    return r;
}

/* What the flags say of it, on top of what is there. */
static int set_container(struct cli *c, const struct debug *x, struct val *container)
{
    struct arena *a = &c->a;
    set_args(c, x, container);
    if (x->image && *x->image)
        val_set_str(a, container, N_image, str_of(x->image));
    if (x->pull_policy && *x->pull_policy)
        val_set_str(a, container, N_imagePullPolicy, str_of(x->pull_policy));
    val_set(a, container, N_stdin, x->stdin_ ? val_of_bool(true) : (struct val){.kind = VAL_NULL});
    val_set(a, container, N_tty, x->tty ? val_of_bool(true) : (struct val){.kind = VAL_NULL});
    return set_env(c, x, container);
}

static struct val *new_container(struct arena *a, struct val *list, struct str name)
{
    struct val *v = val_add_obj(a, list);
    val_set_str(a, v, N_name, name);
    val_set_str(a, v, N_terminationMessagePolicy, STR("File"));
    return v;
}

static void warn_of_user(struct cli *c, const struct val *container, const struct val *pod)
{
    const struct val *sc = val_get(container, N_securityContext), *own = val_get(sc, N_runAsUser);
    int64_t user = val_int(val_at(pod, N_spec, N_securityContext, N_runAsUser), 0);
    bool more = val_bool(val_get(sc, N_privileged), false) || val_len(val_at(sc, N_capabilities, N_add));
    if (user && more && !(own && val_int(own, 0) == 0))
        cli_note(c, "Warning: Non-root user is configured for the entire target Pod, and some capabilities granted by debug profile "
                    "may not work. Please consider using \"--custom\" with a custom profile that specifies "
                    "\"securityContext.runAsUser: 0\".");
}

/* ---- in a pod ------------------------------------------------------------------------------------------------------ */

static int debug_in_pod(struct cli *c, const struct debug *x, const struct info *i, struct str *ret_pod, struct str *ret_name)
{
    struct arena *a = &c->a;
    struct val *patch = val_new(a, VAL_OBJ), *answer;
    struct val *list = val_sub_list(a, val_sub_obj(a, patch, N_spec), N_ephemeralContainers);
    struct str name = container_name(c, x, i->v);
    struct val *container = new_container(a, list, name);
    struct status s;
    int r = set_container(c, x, container);
    if (x->target && *x->target)
        val_set_str(a, container, N_targetContainerName, str_of(x->target));
    shape_container(a, find_profile(x->profile)->in[IN_POD], container);
    if (r == 0)
        r = apply_custom(c, x, container);
    if (r)
        return r;
    warn_of_user(c, container, i->v);
    if (request_patch(c, i->kind, i->ns, i->name, "ephemeralcontainers", STR_NULL, PATCH_STRATEGIC,
                      json_text(c, type_at(T_core_v1_Pod), patch), &answer, &s))
        return cli_refused(c, &s);
    *ret_pod = i->name;
    *ret_name = name;
    return 0;
}

/* ---- in a copy ------------------------------------------------------------------------------------------------------ */

static struct val *find_container(struct val *spec, struct str name)
{
    struct val *list = val_mut(spec, N_containers);
    for (size_t i = 0; name.n && i < val_len(list); i++)
        if (str_eq(val_getstr(&list->items[i], N_name), name))
            return &list->items[i];
    return NULL;
}

static void set_images(struct cli *c, const struct debug *x, struct val *spec)
{
    struct val *list = val_mut(spec, N_containers);
    struct str name, image;
    for (int exact = 0; exact < 2; exact++)
        for (size_t f = 0; f < x->set_images.n; f++)
            for (size_t i = 0; i < val_len(list) && str_cut(str_of(x->set_images.items[f]), '=', &name, &image); i++)
                if (exact ? str_eq(name, val_getstr(&list->items[i], N_name)) : str_is(name, "*"))
                    val_set_str(&c->a, &list->items[i], N_image, image);
}

static struct val *copy_of(struct cli *c, const struct debug *x, const struct info *i)
{
    struct arena *a = &c->a;
    struct val *v = gen_object(c, i->kind, str_of(x->copy_to)), *meta = val_mut(v, N_metadata), *spec;
    val_set_str(a, meta, N_namespace, i->ns);
    val_set_ref(a, meta, N_labels, val_copy(a, obj_labels(i->v)));
    val_set_ref(a, meta, N_annotations, val_copy(a, val_get(obj_meta(i->v), N_annotations)));
    val_set_ref(a, v, N_spec, val_copy(a, val_get(i->v, N_spec)));
    spec = val_mut(v, N_spec);
    val_del(spec, N_ephemeralContainers);
    if (x->share_given)
        val_set_bool(a, spec, N_shareProcessNamespace, x->share);
    if (!x->same_node)
        val_del(spec, N_nodeName);
    set_images(c, x, spec);
    return v;
}

static int delete_original(struct cli *c, const struct info *i)
{
    struct status s;
    if (request_delete(c, i->kind, i->ns, i->name, STR("{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0}"), NULL, &s))
        return cli_refused(c, &s);
    return 0;
}

/* Fills in the container that debugs: one that is there, or a new one. *ret is NULL when only images were to be set. */
static int copy_container(struct cli *c, const struct debug *x, struct val *copy, struct val **ret)
{
    struct val *spec = val_mut(copy, N_spec);
    struct val *container = find_container(spec, x->container ? str_of(x->container) : STR_NULL);
    *ret = NULL;
    if (!container && !(x->image && *x->image))
        return x->set_images.n ? 0 : cli_fail(c, "you must specify image when creating new container");
    if (!container)
        container = new_container(&c->a, val_sub_list(&c->a, spec, N_containers), container_name(c, x, copy));
    int r = set_container(c, x, container);
    if (r)
        return r;
    shape_container(&c->a, find_profile(x->profile)->in[IN_COPY], container);
    shape_pod(c, x, find_profile(x->profile)->in[IN_COPY], copy);
    *ret = container;
    return apply_custom(c, x, container);
}

static int debug_in_copy(struct cli *c, const struct debug *x, const struct info *i, struct str *ret_pod, struct str *ret_name)
{
    struct val *copy = copy_of(c, x, i), *container, *answer;
    struct status s;
    int r = copy_container(c, x, copy, &container);
    if (r)
        return r;
    if (container)
        warn_of_user(c, container, copy);
    if (request_create(c, i->kind, i->ns, STR_NULL, NULL, STR_NULL, json_text(c, i->kind->type, copy), &answer, &s))
        return cli_refused(c, &s);
    *ret_pod = str_of(x->copy_to);
    *ret_name = container ? arena_str(&c->a, val_getstr(container, N_name)) : STR_NULL;
    return x->replace ? delete_original(c, i) : 0;
}

/* ---- on a node ------------------------------------------------------------------------------------------------------- */

static int debug_on_node(struct cli *c, const struct debug *x, const struct info *i, struct str *ret_pod, struct str *ret_name)
{
    struct arena *a = &c->a;
    const struct kind *pods = kind_at(c, RES_PODS);
    unsigned what = find_profile(x->profile)->in[ON_NODE];
    struct str name = arena_printf(a, "node-debugger-" STR_FMT "-" STR_FMT, STR_ARG(i->name), STR_ARG(random_suffix(c)));
    struct str container_is = x->container && *x->container ? str_of(x->container) : STR("debugger");
    struct val *v = gen_object(c, pods, name), *spec = val_sub_obj(a, v, N_spec), *answer;
    struct status s;
    if (!x->quiet)
        cli_print(c, "Creating debugging pod " STR_FMT " with container " STR_FMT " on node " STR_FMT ".\n", STR_ARG(name),
                  STR_ARG(container_is), STR_ARG(i->name));
    val_put_str(a, val_sub_map(a, val_mut(v, N_metadata), N_labels), STR("app.kubernetes.io/managed-by"), STR("kubectl-debug"));
    val_set_str(a, spec, N_nodeName, i->name);
    val_set_str(a, spec, N_restartPolicy, STR("Never"));
    val_set_str(a, val_add_obj(a, val_sub_list(a, spec, N_tolerations)), N_operator, STR("Exists"));
    struct val *container = new_container(a, val_sub_list(a, spec, N_containers), container_is);
    int r = set_container(c, x, container);
    if (r)
        return r;
    shape_container(a, what, container);
    shape_pod(c, x, what, v);
    r = apply_custom(c, x, &val_mut(spec, N_containers)->items[0]);
    if (r)
        return r;
    if (request_create(c, pods, c->ns, STR_NULL, NULL, STR_NULL, json_text(c, pods->type, v), &answer, &s))
        return cli_refused(c, &s);
    *ret_pod = name;
    *ret_name = container_is;
    return 0;
}

/* ---- the session ----------------------------------------------------------------------------------------------------- */

struct waiting {
    struct cli *c;
    const struct debug *x;
    struct str container, told;
    bool over;
};

static const struct val *status_of(const struct val *pod, struct str container)
{
    static const name_id lists[] = {N_initContainerStatuses, N_containerStatuses, N_ephemeralContainerStatuses};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH (val_at(pod, N_status, lists[i]), s)
            if (str_eq(val_getstr(s, N_name), container))
                return s;
    return NULL;
}

static int began(void *arg, const struct val *v)
{
    struct waiting *w = arg;
    if (!v)
        return cli_note(w->c, "Error from server (NotFound): pods not found"), -1;
    const struct val *state = val_get(status_of(v, w->container), N_state);
    struct str why = val_str(val_at(state, N_waiting, N_message));
    w->over = val_get(state, N_terminated) != NULL;
    if (w->over || val_get(state, N_running))
        return 1;
    if (!w->x->quiet && why.n && !str_eq(why, w->told)) {
        cli_note(w->c, "Warning: container " STR_FMT ": " STR_FMT, STR_ARG(w->container), STR_ARG(why));
        w->told = arena_str(&w->c->a, why);
    }
    return 0;
}

static int print_log(struct cli *c, struct str ns, struct str pod, struct str container)
{
    struct log_flags f = {.tail = -1};
    return logs_print(c, &f, ns, pod, container);
}

static int attach(struct cli *c, const struct debug *x, struct str ns, struct str pod, struct str container)
{
    struct info i = {.kind = kind_at(c, RES_PODS), .ns = ns, .name = pod};
    struct waiting w = {c, x, container, STR(""), false};
    struct remote r = {.ns = ns, .pod = pod, .container = container, .sub = "attach", .stdin_ = x->stdin_, .tty = x->tty, .quiet = x->quiet,
                       .log_first = true};
    cli_flush(c);
    if (poll_object(c, &i, MONO_NEVER, began, &w) < 0)
        return 1;
    if (w.over)
        return print_log(c, ns, pod, container);
    remote_setup_tty(c, &r);
    r.no_stderr = r.tty;
    if (!x->quiet)
        cli_note(c, "All commands and output from this session will be recorded in container logs, including credentials and "
                    "sensitive information passed through the command prompt.\nIf you don't see a command prompt, try pressing enter.");
    int code = remote_run(c, &r);
    return code == REMOTE_NOT_OPEN ? print_log(c, ns, pod, container) : code;
}

/* ---- the command ------------------------------------------------------------------------------------------------------- */

static bool given(const char *s)
{
    return s && *s;
}

static int check_copy(struct cli *c, const struct debug *x)
{
    bool args = x->args && *x->args;
    if (given(x->copy_to)) {
        if (!given(x->image) && !x->set_images.n && !args)
            return cli_fail(c, "you must specify --image, --set-image or command arguments.");
        if (args && !given(x->container) && !given(x->image))
            return cli_fail(c, "you must specify an existing container or a new image when specifying args.");
        return given(x->target) ? cli_fail(c, "--target is incompatible with --copy-to. Use --share-processes instead.") : 0;
    }
    if (x->replace)
        return cli_fail(c, "--replace may only be used with --copy-to.");
    if (x->same_node)
        return cli_fail(c, "--same-node may only be used with --copy-to.");
    if (x->set_images.n)
        return cli_fail(c, "--set-image may only be used with --copy-to.");
    return given(x->image) ? 0 : cli_fail(c, "you must specify --image when not using --copy-to.");
}

static int check_images(struct cli *c, const struct debug *x)
{
    struct image_name parsed;
    struct str name, image;
    if (given(x->image) && !image_parse(str_of(x->image), &parsed))
        return cli_fail(c, "invalid image name \"%s\": invalid reference format", x->image);
    for (size_t i = 0; i < x->set_images.n; i++) {
        if (!str_cut(str_of(x->set_images.items[i]), '=', &name, &image))
            return cli_fail(c, "%s must be formatted as key=value", x->set_images.items[i]);
        if (!image_parse(image, &parsed))
            return cli_fail(c, "invalid image name \"" STR_FMT "\" for container \"" STR_FMT "\": invalid reference format", STR_ARG(image),
                            STR_ARG(name));
    }
    return 0;
}

static int check(struct cli *c, const struct debug *x, int operands)
{
    struct str pull = str_of(x->pull_policy ? x->pull_policy : "");
    if (x->attach && x->attach_given && !given(x->image) && !given(x->container))
        return cli_fail(c, "you must specify --container or create a new container using --image in order to attach.");
    int r = check_copy(c, x);
    if (r == 0)
        r = check_images(c, x);
    if (r)
        return r;
    if (!operands && !x->files.names.n)
        return cli_fail(c, "NAME or filename is required for debug");
    if (pull.n && !str_is(pull, "Always") && !str_is(pull, "IfNotPresent") && !str_is(pull, "Never"))
        return cli_fail(c, "invalid image pull policy: %s", x->pull_policy);
    if (!find_profile(x->profile))
        return cli_fail(c, "unknown profile: %s", x->profile);
    if (x->tty && !x->stdin_)
        return cli_fail(c, "-i/--stdin is required for containers with -t/--tty=true");
    if (!strcmp(x->profile, "legacy"))
        cli_note(c, "--profile=legacy is deprecated and planned to be removed in v1.39. It is recommended to specify other profile, for "
                    "example \"--profile=general\".");
    if (given(x->target) && !x->quiet)
        cli_print(c, "Targeting container \"%s\". If you don't see processes from this container it may be because the container runtime "
                     "doesn't support this feature.\n", x->target);
    return 0;
}

static int debug_one(struct cli *c, const struct debug *x, const struct info *i)
{
    struct str pod = STR_NULL, container = STR_NULL, ns = i->ns;
    int r;
    if (i->kind == kind_at(c, RES_NODES)) {
        ns = c->ns;
        r = debug_on_node(c, x, i, &pod, &container);
    } else if (i->kind == kind_at(c, RES_PODS)) {
        r = given(x->copy_to) ? debug_in_copy(c, x, i, &pod, &container) : debug_in_pod(c, x, i, &pod, &container);
    } else {
        return cli_fail(c, "\"" STR_FMT "\" not supported by debug", STR_ARG(info_label(c, i)));
    }
    return r == 0 && x->attach && container.n ? attach(c, x, ns, pod, container) : r;
}

/* Names alone are of pods. */
static char **as_operands(struct cli *c, int argc, char **argv, int *ret_argc)
{
    char **out = ARENA_ARRAY(&c->a, char *, argc + 2);
    int n = 0;
    out[n++] = argv[0];
    for (int i = 1; i < argc; i++)
        out[n++] = strchr(argv[i], '/') ? argv[i] : arena_cstr(&c->a, arena_printf(&c->a, "pods/%s", argv[i]));
    *ret_argc = n;
    return out;
}

int cmd_debug(struct cli *c, int argc, char **argv)
{
    struct debug x = {.profile = "general", .keep_init = true, .share = true};
    int dash, r, code = 0;
    struct flag flags[] = {
        FILE_FLAGS(&x.files, "that name what to debug"),
        {"arguments-only", 0, FLAG_BOOL, &x.args_only, "What follows -- are arguments, not the command"},
        {"attach", 0, FLAG_BOOL, &x.attach, "Attach to the container when it runs; with -i the default"},
        {"container", 'c', FLAG_STRING, &x.container, "Name of the container that debugs"},
        {"copy-to", 0, FLAG_STRING, &x.copy_to, "Make a copy of the pod under this name"},
        {"custom", 0, FLAG_STRING, &x.custom_file, "JSON or YAML file with part of a container, on top of the profile"},
        {"env", 0, FLAG_STRINGS, &x.env, "Environment variables (NAME=VALUE)"},
        {"image", 0, FLAG_STRING, &x.image, "Image of the container"},
        {"image-pull-policy", 0, FLAG_STRING, &x.pull_policy, "Always, IfNotPresent or Never"},
        {"keep-annotations", 0, FLAG_BOOL, &x.keep_annotations, "The copy has the pod's annotations"},
        {"keep-init-containers", 0, FLAG_BOOL, &x.keep_init, "The copy has the pod's init containers", "true"},
        {"keep-labels", 0, FLAG_BOOL, &x.keep_labels, "The copy has the pod's labels"},
        {"keep-liveness", 0, FLAG_BOOL, &x.keep_liveness, "The copy has the pod's liveness probes"},
        {"keep-readiness", 0, FLAG_BOOL, &x.keep_readiness, "The copy has the pod's readiness probes"},
        {"keep-startup", 0, FLAG_BOOL, &x.keep_startup, "The copy has the pod's startup probes"},
        {"profile", 0, FLAG_STRING, &x.profile, "general, baseline, restricted, netadmin or sysadmin"},
        {"quiet", 'q', FLAG_BOOL, &x.quiet, "Print only what the container prints"},
        {"replace", 0, FLAG_BOOL, &x.replace, "Delete the pod once it is copied"},
        {"same-node", 0, FLAG_BOOL, &x.same_node, "The copy runs on the pod's node"},
        {"set-image", 0, FLAG_STRINGS, &x.set_images, "Other images in the copy (CONTAINER=IMAGE, or *=IMAGE)"},
        {"share-processes", 0, FLAG_BOOL, &x.share, "Containers of the copy see each other's processes", "true"},
        {"stdin", 'i', FLAG_BOOL, &x.stdin_, "The container's stdin is open"},
        {"target", 0, FLAG_STRING, &x.target, "Container whose processes the new one sees"},
        {"tty", 't', FLAG_BOOL, &x.tty, "The container has a terminal"},
        NO_FLAGS,
    };
    struct selection all = {0};
    r = cli_parse(c, flags, &argc, argv, &dash);
    if (r)
        return r;
    int operands = dash > 0 ? dash : argc;
    x.args = dash > 0 && dash < argc ? argv + dash : NULL;
    x.attach_given = flags_find(flags, "attach")->given;
    x.share_given = flags_find(flags, "share-processes")->given;
    if (!x.attach_given && x.stdin_)
        x.attach = true;
    r = check(c, &x, operands - 1);
    if (r == 0)
        r = read_custom(c, &x);
    if (r)
        return r;
    struct query q = {.files = &x.files, .fetch = true, .latest = true, .typed = true};
    q.argv = as_operands(c, operands, argv, &q.argc);
    r = select_objects(c, &q, &all);
    for (size_t i = 0; r == 0 && code == 0 && i < all.n; i++)
        code = debug_one(c, &x, &all.items[i]);
    return r ? r : code ? code : all.code;
}
