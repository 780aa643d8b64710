/* SPDX-License-Identifier: Apache-2.0 */
#include "node/criconfig.h"

#include "grpc.h"
#include "node/podstate.h"
#include "type/resource.h"
#include "types.h"
#include "wire/json.h"

struct str pod_log_dir(struct arena *a, const char *log_root, const struct val *pod)
{
    return arena_printf(a, "%s/" STR_FMT "_" STR_FMT "_" STR_FMT, log_root, STR_ARG(obj_namespace(pod)),
                        STR_ARG(obj_name(pod)), STR_ARG(obj_uid(pod)));
}

const struct val *security_setting(const struct val *pod, const struct val *container, name_id name)
{
    const struct val *own = val_get(val_get(container, N_securityContext), name);
    return own ? own : val_get(val_at(pod, N_spec, N_securityContext), name);
}

/* ---- parts of both --------------------------------------------------------------------------------------- */

static void put_identity(struct arena *a, struct val *labels, const struct val *pod)
{
    val_put_str(a, labels, STR(CRI_LABEL_POD_NAME), obj_name(pod));
    val_put_str(a, labels, STR(CRI_LABEL_POD_NAMESPACE), obj_namespace(pod));
    val_put_str(a, labels, STR(CRI_LABEL_POD_UID), obj_uid(pod));
}

static void set_int64value(struct arena *a, struct val *obj, name_id name, int64_t i)
{
    val_set_int(a, val_sub_obj(a, obj, name), N_value, i);
}

static void add_mapping(struct arena *a, struct val *to, name_id list, int64_t first)
{
    struct val *m = val_add_obj(a, val_sub_list(a, to, list));
    val_set_int(a, m, N_host_id, first);
    val_set_int(a, m, N_container_id, 0);
    val_set_int(a, m, N_length, 65536);
}

static void set_namespaces(struct arena *a, struct val *security, const struct val *pod, struct str target_id, int64_t userns)
{
    const struct val *spec = pod_spec(pod);
    struct val *o = val_sub_obj(a, security, N_namespace_options);
    bool host_pid = val_bool(val_get(spec, N_hostPID), false);
    bool shared = val_bool(val_get(spec, N_shareProcessNamespace), false);
    val_set_int(a, o, N_network, pod_host_network(pod) ? E_runtime_v1_NODE : E_runtime_v1_POD);
    val_set_int(a, o, N_ipc, val_bool(val_get(spec, N_hostIPC), false) ? E_runtime_v1_NODE : E_runtime_v1_POD);
    val_set_int(a, o, N_pid, host_pid ? E_runtime_v1_NODE : shared ? E_runtime_v1_POD : E_runtime_v1_CONTAINER);
    if (target_id.n && !host_pid && !shared) {
        val_set_int(a, o, N_pid, E_runtime_v1_TARGET);
        val_set_str(a, o, N_target_id, target_id);
    }
    if (userns) {
        struct val *u = val_sub_obj(a, o, N_userns_options);
        val_set_int(a, u, N_mode, E_runtime_v1_POD);
        add_mapping(a, u, N_uids, userns);
        add_mapping(a, u, N_gids, userns);
    }
}

static void set_groups(struct arena *a, struct val *security, const struct val *pod)
{
    const struct val *sc = val_at(pod, N_spec, N_securityContext), *fs = val_get(sc, N_fsGroup);
    const struct val *more = val_get(sc, N_supplementalGroups);
    if (!fs && !val_len(more))
        return;
    struct val *list = val_sub_list(a, security, N_supplemental_groups);
    if (fs)
        val_add(a, list, val_of_int(val_int(fs, 0)));
    VAL_EACH (more, g)
        val_add(a, list, val_of_int(val_int(g, 0)));
    if (str_is(val_getstr(sc, N_supplementalGroupsPolicy), "Strict"))
        val_set_int(a, security, N_supplemental_groups_policy, E_runtime_v1_Strict);
}

static void set_selinux(struct arena *a, struct val *security, const struct val *options)
{
    if (!options)
        return;
    struct val *o = val_sub_obj(a, security, N_selinux_options);
    val_set_str(a, o, N_user, val_getstr(options, N_user));
    val_set_str(a, o, N_role, val_getstr(options, N_role));
    val_set_str(a, o, N_type, val_getstr(options, N_type));
    val_set_str(a, o, N_level, val_getstr(options, N_level));
}

static void set_strings(struct arena *a, struct val *obj, name_id name, const struct str *items, size_t n)
{
    struct val *list = val_sub_list(a, obj, name);
    for (size_t i = 0; i < n; i++)
        val_add_str(a, list, items[i]);
}

/* ---- the sandbox ----------------------------------------------------------------------------------------- */

static bool any_privileged(const struct val *pod)
{
    for (int k = 0; k < CONTAINER_KINDS; k++)
        VAL_EACH (pod_containers(pod, (enum container_kind)k), c)
            if (val_bool(val_at(c, N_securityContext, N_privileged), false))
                return true;
    return false;
}

static void set_dns(struct arena *a, struct val *config, const struct val *pod, const struct dns_settings *s)
{
    struct resolv_conf rc;
    pod_dns(a, pod, s, &rc);
    struct val *d = val_sub_obj(a, config, N_dns_config);
    set_strings(a, d, N_servers, rc.servers, rc.n_servers);
    set_strings(a, d, N_searches, rc.searches, rc.n_searches);
    set_strings(a, d, N_options, rc.options, rc.n_options);
}

static int64_t protocol_number(struct str p)
{
    return str_is(p, "UDP") ? E_runtime_v1_UDP : str_is(p, "SCTP") ? E_runtime_v1_SCTP : E_runtime_v1_TCP;
}

static void add_ports(struct arena *a, struct val *config, const struct val *container)
{
    VAL_EACH (val_get(container, N_ports), p) {
        struct val *m = val_add_obj(a, val_sub_list(a, config, N_port_mappings));
        val_set_int(a, m, N_protocol, protocol_number(val_getstr(p, N_protocol)));
        val_set_int(a, m, N_container_port, val_int(val_get(p, N_containerPort), 0));
        val_set_int(a, m, N_host_port, val_int(val_get(p, N_hostPort), 0));
        val_set_str(a, m, N_host_ip, val_getstr(p, N_hostIP));
    }
}

static void set_ports(struct arena *a, struct val *config, const struct val *pod)
{
    VAL_EACH (pod_containers(pod, CK_INIT), c)
        if (container_is_sidecar(c))
            add_ports(a, config, c);
    VAL_EACH (pod_containers(pod, CK_MAIN), c)
        add_ports(a, config, c);
}

static void set_sandbox_linux(struct arena *a, struct val *config, const struct val *pod, const struct cri_node *n)
{
    const struct val *sc = val_at(pod, N_spec, N_securityContext);
    struct val *l = val_sub_obj(a, config, N_linux), *s;
    val_set_str(a, l, N_cgroup_parent, pod_cgroup_path(a, n->cgroup_root, pod));
    s = val_sub_obj(a, l, N_security_context);
    val_set_bool(a, s, N_privileged, any_privileged(pod));
    val_set_int(a, val_sub_obj(a, s, N_seccomp), N_profile_type, E_runtime_v1_SecurityProfile_RuntimeDefault);
    set_namespaces(a, s, pod, STR_NULL, n->userns);
    if (val_get(sc, N_runAsUser)) {
        set_int64value(a, s, N_run_as_user, val_int(val_get(sc, N_runAsUser), 0));
        if (val_get(sc, N_runAsGroup)) /* CRI: only together with a user */
            set_int64value(a, s, N_run_as_group, val_int(val_get(sc, N_runAsGroup), 0));
    }
    set_groups(a, s, pod);
    set_selinux(a, s, val_get(sc, N_seLinuxOptions));
    VAL_EACH (val_get(sc, N_sysctls), ctl) {
        /* Kubernetes takes both net/ipv4/x and net.ipv4.x, runc only the latter. */
        char *name = arena_cstr(a, val_getstr(ctl, N_name));
        if (strchr(name, '/'))
            for (char *p = name; *p; p++)
                *p = *p == '/' ? '.' : *p == '.' ? '/' : *p;
        val_put_str(a, val_sub_map(a, l, N_sysctls), str_of(name), val_getstr(ctl, N_value));
    }
}

struct val *cri_sandbox_config(struct arena *a, const struct val *pod, const struct cri_node *n, uint32_t attempt)
{
    struct val *c = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, c, N_metadata);
    val_set_str(a, meta, N_name, obj_name(pod));
    val_set_str(a, meta, N_uid, obj_uid(pod));
    val_set_str(a, meta, N_namespace, obj_namespace(pod));
    val_set_int(a, meta, N_attempt, attempt);
    struct val *labels = val_sub_map(a, c, N_labels);
    VAL_EACH_ENTRY (obj_labels(pod), k, v)
        val_put_str(a, labels, val_str(k), val_str(v));
    put_identity(a, labels, pod);
    VAL_EACH_ENTRY (val_get(obj_meta(pod), N_annotations), k, v)
        val_put_str(a, val_sub_map(a, c, N_annotations), val_str(k), val_str(v));
    if (!pod_host_network(pod)) {
        struct str fqdn = pod_fqdn(a, pod, n->cluster_domain);
        bool whole = val_bool(val_at(pod, N_spec, N_setHostnameAsFQDN), false) && fqdn.n;
        val_set_str(a, c, N_hostname, whole ? fqdn : pod_hostname(a, pod));
        set_ports(a, c, pod);
    }
    val_set_str(a, c, N_log_directory, pod_log_dir(a, n->log_root, pod));
    set_dns(a, c, pod, &n->dns);
    set_sandbox_linux(a, c, pod, n);
    return c;
}

/* ---- a container ----------------------------------------------------------------------------------------- */

struct val cri_container_resources(struct arena *a, const struct val *pod, const struct val *container,
                                   const struct cri_node *n)
{
    const struct val *r = val_get(container, N_resources);
    struct val *out = val_new(a, VAL_OBJ);
    struct quantity limit = resource_amount(r, N_limits, "cpu");
    bool requested = val_key(val_get(r, N_requests), STR("cpu")) != NULL;
    struct quantity request = requested ? resource_amount(r, N_requests, "cpu") : limit;
    struct quantity memory = resource_amount(r, N_limits, "memory");
    /* A container without limits of its own is held by the pod-level ones (KEP-2837). */
    const struct val *whole = val_get(pod_spec(pod), N_resources);
    if (quantity_is_zero(limit))
        limit = resource_amount(whole, N_limits, "cpu");
    if (quantity_is_zero(memory))
        memory = resource_amount(whole, N_limits, "memory");
    val_set_int(a, out, N_cpu_shares, cpu_shares(quantity_milli(request)));
    if (n->cfs_quota) {
        val_set_int(a, out, N_cpu_period, n->cfs_period);
        val_set_int(a, out, N_cpu_quota, cpu_quota(quantity_milli(limit), n->cfs_period));
    }
    if (!quantity_is_zero(memory))
        val_set_int(a, out, N_memory_limit_in_bytes, quantity_units(memory));
    val_set_int(a, out, N_oom_score_adj, pod_oom_score_adj(pod, container, n->memory));
    return *out;
}

static void set_profile(struct arena *a, struct val *security, name_id name, const struct val *profile,
                        const char *localhost_dir)
{
    struct str type = val_getstr(profile, N_type);
    struct val *p = val_sub_obj(a, security, name);
    if (str_is(type, "Localhost")) {
        struct str ref = val_getstr(profile, N_localhostProfile);
        val_set_int(a, p, N_profile_type, E_runtime_v1_SecurityProfile_Localhost);
        val_set_str(a, p, N_localhost_ref,
                    localhost_dir ? arena_printf(a, "%s/seccomp/" STR_FMT, localhost_dir, STR_ARG(ref)) : ref);
    } else {
        val_set_int(a, p, N_profile_type,
                    str_is(type, "RuntimeDefault") ? E_runtime_v1_SecurityProfile_RuntimeDefault
                                                   : E_runtime_v1_SecurityProfile_Unconfined);
    }
}

static void set_profiles(struct arena *a, struct val *s, const struct val *pod, const struct cri_container *c,
                         const struct cri_node *n)
{
    const struct val *seccomp = security_setting(pod, c->spec, N_seccompProfile);
    const struct val *apparmor = security_setting(pod, c->spec, N_appArmorProfile);
    if (seccomp)
        set_profile(a, s, N_seccomp, seccomp, n->root_dir);
    else
        val_set_int(a, val_sub_obj(a, s, N_seccomp), N_profile_type,
                    n->seccomp_default ? E_runtime_v1_SecurityProfile_RuntimeDefault
                                       : E_runtime_v1_SecurityProfile_Unconfined);
    if (apparmor)
        set_profile(a, s, N_apparmor, apparmor, NULL);
}

/* What containers must not see or change of /proc and /sys, unless procMount is Unmasked. */
static void set_proc_mount(struct arena *a, struct val *s, const struct val *container)
{
    static const struct str masked[] = {
        STR("/proc/asound"),        STR("/proc/acpi"),       STR("/proc/interrupts"),
        STR("/proc/kcore"),         STR("/proc/keys"),       STR("/proc/latency_stats"),
        STR("/proc/timer_list"),    STR("/proc/timer_stats"), STR("/proc/sched_debug"),
        STR("/proc/scsi"),          STR("/sys/firmware"),    STR("/sys/devices/virtual/powercap"),
    };
    static const struct str readonly[] = {
        STR("/proc/bus"), STR("/proc/fs"), STR("/proc/irq"), STR("/proc/sys"), STR("/proc/sysrq-trigger"),
    };
    if (str_is(val_str(val_at(container, N_securityContext, N_procMount)), "Unmasked"))
        return;
    set_strings(a, s, N_masked_paths, masked, ARRAY_SIZE(masked));
    set_strings(a, s, N_readonly_paths, readonly, ARRAY_SIZE(readonly));
}

static void set_user(struct arena *a, struct val *s, const struct val *pod, const struct cri_container *c)
{
    const struct val *user = security_setting(pod, c->spec, N_runAsUser);
    const struct val *group = security_setting(pod, c->spec, N_runAsGroup);
    if (user)
        set_int64value(a, s, N_run_as_user, val_int(user, 0));
    else if (c->image_has_uid)
        set_int64value(a, s, N_run_as_user, c->image_uid);
    else if (c->image_user.n)
        val_set_str(a, s, N_run_as_username, c->image_user);
    if (group && (user || c->image_has_uid || c->image_user.n))
        set_int64value(a, s, N_run_as_group, val_int(group, 0));
}

static void set_security(struct arena *a, struct val *linux_, const struct val *pod, const struct cri_container *c,
                         const struct cri_node *n)
{
    const struct val *sc = val_get(c->spec, N_securityContext), *caps = val_get(sc, N_capabilities);
    struct val *s = val_sub_obj(a, linux_, N_security_context);
    if (caps) {
        struct val *o = val_sub_obj(a, s, N_capabilities);
        val_set_ref(a, o, N_add_capabilities, val_get(caps, N_add));
        val_set_ref(a, o, N_drop_capabilities, val_get(caps, N_drop));
    }
    val_set_bool(a, s, N_privileged, val_bool(val_get(sc, N_privileged), false));
    val_set_bool(a, s, N_readonly_rootfs, val_bool(val_get(sc, N_readOnlyRootFilesystem), false));
    const struct val *escalation = val_get(sc, N_allowPrivilegeEscalation);
    val_set_bool(a, s, N_no_new_privs, escalation && !val_bool(escalation, true));
    set_namespaces(a, s, pod, c->target_id, n->userns);
    set_user(a, s, pod, c);
    set_groups(a, s, pod);
    set_selinux(a, s, security_setting(pod, c->spec, N_seLinuxOptions));
    set_profiles(a, s, pod, c, n);
    set_proc_mount(a, s, c->spec);
}

static struct str json_text(struct arena *a, unsigned type, const struct val *v)
{
    struct buf b = BUF_INIT;
    json_encode(&b, type_at(type), v, 0);
    struct str r = arena_str(a, buf_str(&b));
    buf_done(&b);
    return r;
}

static struct str ports_json(struct arena *a, const struct val *ports)
{
    struct buf b = BUF_INIT;
    const char *between = "[";
    VAL_EACH (ports, p) {
        buf_puts(&b, between);
        json_encode(&b, type_at(T_core_v1_ContainerPort), p, 0);
        between = ",";
    }
    buf_putc(&b, ']');
    struct str r = arena_str(a, buf_str(&b));
    buf_done(&b);
    return r;
}

/* All that must survive the kubelet: see podstate.h. */
static void set_notes(struct arena *a, struct val *config, const struct val *pod, const struct cri_container *c)
{
    struct val *notes = val_sub_map(a, config, N_annotations);
    const struct val *grace = val_at(pod, N_spec, N_terminationGracePeriodSeconds);
    const struct val *deletion = val_get(obj_meta(pod), N_deletionGracePeriodSeconds);
    const struct val *prestop = val_at(c->spec, N_lifecycle, N_preStop), *ports = val_get(c->spec, N_ports);
    val_put_str(a, notes, STR(CRI_NOTE_HASH), container_hash(a, c->spec));
    val_put_str(a, notes, STR(CRI_NOTE_RESTARTS), arena_printf(a, "%u", c->restarts));
    val_put_str(a, notes, STR(CRI_NOTE_MESSAGE_PATH), val_getstr(c->spec, N_terminationMessagePath));
    val_put_str(a, notes, STR(CRI_NOTE_MESSAGE_POLICY), val_getstr(c->spec, N_terminationMessagePolicy));
    if (grace)
        val_put_str(a, notes, STR(CRI_NOTE_GRACE), arena_printf(a, "%lld", (long long)val_int(grace, 30)));
    if (deletion)
        val_put_str(a, notes, STR(CRI_NOTE_DELETION_GRACE), arena_printf(a, "%lld", (long long)val_int(deletion, 30)));
    if (prestop)
        val_put_str(a, notes, STR(CRI_NOTE_PRESTOP), json_text(a, T_core_v1_LifecycleHandler, prestop));
    if (val_len(ports))
        val_put_str(a, notes, STR(CRI_NOTE_PORTS), ports_json(a, ports));
}

static void set_expanded(struct arena *a, struct val *config, name_id name, const struct val *words,
                         const struct env_list *env)
{
    if (!val_len(words))
        return;
    struct val *list = val_sub_list(a, config, name);
    VAL_EACH (words, w)
        val_add(a, list, val_of_str(env_expand(a, val_str(w), env)));
}

static void set_mounts(struct arena *a, struct val *config, const struct cri_container *c, int64_t userns)
{
    for (size_t i = 0; i < c->n_mounts; i++) {
        const struct cri_mount *m = &c->mounts[i];
        struct val *o = val_add_obj(a, val_sub_list(a, config, N_mounts));
        val_set_str(a, o, N_container_path, m->container_path);
        val_set_str(a, o, N_host_path, m->host_path);
        val_set_bool(a, o, N_readonly, m->read_only);
        val_set_int(a, o, N_propagation, m->propagation);
        if (m->recursive_read_only)
            val_set_bool(a, o, N_recursive_read_only, true);
        if (userns && !m->image.n) { /* files look as if the Pod's users had them */
            add_mapping(a, o, N_uidMappings, userns);
            add_mapping(a, o, N_gidMappings, userns);
        }
        if (m->relabel)
            val_set_bool(a, o, N_selinux_relabel, true);
        if (m->image.n) {
            val_set_str(a, val_sub_obj(a, o, N_image), N_image, m->image);
            if (m->image_sub_path.n)
                val_set_str(a, o, N_image_sub_path, m->image_sub_path);
        }
    }
}

static void set_devices(struct arena *a, struct val *config, const struct cri_container *c)
{
    for (size_t i = 0; i < c->n_devices; i++) {
        struct val *o = val_add_obj(a, val_sub_list(a, config, N_devices));
        val_set_str(a, o, N_container_path, c->devices[i].container_path);
        val_set_str(a, o, N_host_path, c->devices[i].host_path);
        val_set_str(a, o, N_permissions, c->devices[i].permissions);
    }
}

struct val *cri_container_config(struct arena *a, const struct val *pod, const struct cri_container *c,
                                 const struct cri_node *n)
{
    struct str name = val_getstr(c->spec, N_name);
    struct val *v = val_new(a, VAL_OBJ), *o = val_sub_obj(a, v, N_metadata);
    val_set_str(a, o, N_name, name);
    val_set_int(a, o, N_attempt, c->restarts);
    o = val_sub_obj(a, v, N_image);
    val_set_str(a, o, N_image, c->image_ref);
    val_set_str(a, o, N_user_specified_image, val_getstr(c->spec, N_image));
    set_expanded(a, v, N_command, val_get(c->spec, N_command), c->env);
    set_expanded(a, v, N_args, val_get(c->spec, N_args), c->env);
    val_set_str(a, v, N_working_dir, val_getstr(c->spec, N_workingDir));
    for (size_t i = 0; i < c->env->n; i++) {
        o = val_add_obj(a, val_sub_list(a, v, N_envs));
        val_set_str(a, o, N_key, c->env->items[i].name);
        val_set(a, o, N_value, val_of_bytes(c->env->items[i].value));
    }
    set_mounts(a, v, c, n->userns);
    set_devices(a, v, c);
    struct val *labels = val_sub_map(a, v, N_labels);
    put_identity(a, labels, pod);
    val_put_str(a, labels, STR(CRI_LABEL_CONTAINER), name);
    VAL_EACH_ENTRY (c->annotations, k, note)
        val_put_str(a, val_sub_map(a, v, N_annotations), val_str(k), val_str(note));
    if (val_len(c->cdi_devices))
        val_set_ref(a, v, N_CDI_devices, c->cdi_devices);
    set_notes(a, v, pod, c);
    val_set_str(a, v, N_log_path, arena_printf(a, STR_FMT "/%u.log", STR_ARG(name), c->restarts));
    val_set_bool(a, v, N_stdin, val_bool(val_get(c->spec, N_stdin), false));
    val_set_bool(a, v, N_stdin_once, val_bool(val_get(c->spec, N_stdinOnce), false));
    val_set_bool(a, v, N_tty, val_bool(val_get(c->spec, N_tty), false));
    o = val_sub_obj(a, v, N_linux);
    val_set(a, o, N_resources, cri_container_resources(a, pod, c->spec, n));
    set_security(a, o, pod, c, n);
    return v;
}

int cri_check_user(const struct val *pod, const struct cri_container *c, struct err *e)
{
    if (!val_bool(security_setting(pod, c->spec, N_runAsNonRoot), false))
        return 0;
    struct arena a = ARENA_INIT;
    const struct val *user = security_setting(pod, c->spec, N_runAsUser);
    struct str who = arena_printf(&a, "(pod: \"" STR_FMT "\", container: " STR_FMT ")", STR_ARG(pod_text(&a, pod)),
                                  STR_ARG(val_getstr(c->spec, N_name)));
    int r = 0;
    if (user && val_int(user, 0) == 0)
        r = err_set(e, -EACCES, "container's runAsUser breaks non-root policy " STR_FMT, STR_ARG(who));
    else if (!user && c->image_has_uid && c->image_uid == 0)
        r = err_set(e, -EACCES, "container has runAsNonRoot and image will run as root " STR_FMT, STR_ARG(who));
    else if (!user && !c->image_has_uid && c->image_user.n)
        r = err_set(e, -EACCES,
                    "container has runAsNonRoot and image has non-numeric user (" STR_FMT
                    "), cannot verify user is non-root " STR_FMT,
                    STR_ARG(c->image_user), STR_ARG(who));
    arena_done(&a);
    return r;
}
