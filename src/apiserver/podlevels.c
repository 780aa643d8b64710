/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/podlevels.h"

#include "names.h"
#include "type/meta.h"

struct check {
    const struct val *spec, *annotations;
    struct buf *b;
    bool windows;
};

static const name_id container_lists[] = {N_initContainers, N_containers, N_ephemeralContainers};

/* it: each container of all three lists */
#define EACH_CONTAINER(spec, it)                                                                         \
    for (size_t list_ = 0; list_ < ARRAY_SIZE(container_lists); list_++)                                 \
        VAL_EACH(val_get((spec), container_lists[list_]), it)

static void violate(struct check *c, const char *rule, const char *detail)
{
    buf_printf(c->b, "%s%s (%s)", c->b->n ? ", " : "", rule, detail);
}

static void violate_at(struct check *c, const char *rule, const char *what, struct str container)
{
    buf_printf(c->b, "%s%s (container \"%.*s\" %s)", c->b->n ? ", " : "", rule, STR_ARG(container), what);
}

static bool in_list(struct str s, const char *const *list)
{
    for (size_t i = 0; list[i]; i++)
        if (str_is(s, list[i]))
            return true;
    return false;
}

static const struct val *security(const struct val *container)
{
    return val_get(container, N_securityContext);
}

/* ---- baseline ---------------------------------------------------------------------------------------- */

static void host_namespaces(struct check *c)
{
    static const name_id fields[] = {N_hostNetwork, N_hostPID, N_hostIPC};
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (val_bool(val_get(c->spec, fields[i]), false)) {
            buf_printf(c->b, "%shost namespaces (%.*s=true)", c->b->n ? ", " : "",
                       STR_ARG(name_str(fields[i])));
            return;
        }
}

static void privileged(struct check *c)
{
    EACH_CONTAINER(c->spec, it)
        if (val_bool(val_get(security(it), N_privileged), false))
            violate_at(c, "privileged", "must not set securityContext.privileged=true",
                       val_getstr(it, N_name));
}

static void capabilities_baseline(struct check *c)
{
    static const char *const allowed[] = {"AUDIT_WRITE", "CHOWN",  "DAC_OVERRIDE",     "FOWNER",  "FSETID",
                                          "KILL",        "MKNOD",  "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                                          "SETPCAP",     "SETUID", "SYS_CHROOT",       NULL};
    EACH_CONTAINER(c->spec, it)
        VAL_EACH(val_at(security(it), N_capabilities, N_add), cap)
            if (!in_list(val_str(cap), allowed)) {
                violate_at(c, "non-default capabilities", "must not include extra capabilities in "
                           "securityContext.capabilities.add", val_getstr(it, N_name));
                break;
            }
}

static void host_path(struct check *c)
{
    VAL_EACH(val_get(c->spec, N_volumes), v)
        if (val_get(v, N_hostPath)) {
            violate(c, "hostPath volumes", "a volume uses hostPath");
            return;
        }
}

static void host_ports(struct check *c)
{
    EACH_CONTAINER(c->spec, it)
        VAL_EACH(val_get(it, N_ports), p)
            if (val_int(val_get(p, N_hostPort), 0)) {
                violate_at(c, "hostPort", "uses hostPort", val_getstr(it, N_name));
                break;
            }
}

static bool probe_has_host(const struct val *p)
{
    return val_str(val_at(p, N_httpGet, N_host)).n || val_str(val_at(p, N_tcpSocket, N_host)).n;
}

/* KEP-4940 */
static void probe_hosts(struct check *c)
{
    EACH_CONTAINER(c->spec, it)
    if (probe_has_host(val_get(it, N_livenessProbe)) || probe_has_host(val_get(it, N_readinessProbe)) ||
        probe_has_host(val_get(it, N_startupProbe)) || probe_has_host(val_at(it, N_lifecycle, N_postStart)) ||
        probe_has_host(val_at(it, N_lifecycle, N_preStop)))
        violate_at(c, "probe or lifecycle host", "uses a host in a probe or lifecycle hook",
                   val_getstr(it, N_name));
}

static bool apparmor_ok(const struct val *profile)
{
    static const char *const types[] = {"RuntimeDefault", "Localhost", NULL};
    return !profile || in_list(val_getstr(profile, N_type), types);
}

static void apparmor(struct check *c)
{
    if (!apparmor_ok(val_at(c->spec, N_securityContext, N_appArmorProfile)))
        violate(c, "appArmorProfile", "pod must not set AppArmor profile type to \"Unconfined\"");
    EACH_CONTAINER(c->spec, it)
        if (!apparmor_ok(val_get(security(it), N_appArmorProfile)))
            violate_at(c, "appArmorProfile", "must not set AppArmor profile type to \"Unconfined\"",
                       val_getstr(it, N_name));
    VAL_EACH_ENTRY(c->annotations, k, v)
        if (str_starts(val_str(k), STR("container.apparmor.security.beta.kubernetes.io/")) && val_str(v).n &&
            !str_is(val_str(v), "runtime/default") && !str_starts(val_str(v), STR("localhost/")))
            violate(c, "forbidden AppArmor profile", "an annotation sets one");
}

static bool selinux_ok(const struct val *o)
{
    static const char *const types[] = {
        "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t", NULL};
    return in_list(val_getstr(o, N_type), types) && !val_getstr(o, N_user).n && !val_getstr(o, N_role).n;
}

static void selinux(struct check *c)
{
    bool ok = selinux_ok(val_at(c->spec, N_securityContext, N_seLinuxOptions));
    EACH_CONTAINER(c->spec, it)
        ok &= selinux_ok(val_get(security(it), N_seLinuxOptions));
    if (!ok)
        violate(c, "seLinuxOptions", "forbidden type, user or role");
}

static void proc_mount(struct check *c)
{
    EACH_CONTAINER(c->spec, it) {
        struct str m = val_getstr(security(it), N_procMount);
        if (m.n && !str_is(m, "Default"))
            violate_at(c, "procMount", "must not set securityContext.procMount to \"Unmasked\"",
                       val_getstr(it, N_name));
    }
}

static bool seccomp_unconfined(const struct val *context)
{
    return str_is(val_str(val_at(context, N_seccompProfile, N_type)), "Unconfined");
}

static void seccomp_baseline(struct check *c)
{
    if (seccomp_unconfined(val_get(c->spec, N_securityContext)))
        violate(c, "seccompProfile",
                "pod must not set securityContext.seccompProfile.type to \"Unconfined\"");
    EACH_CONTAINER(c->spec, it)
        if (seccomp_unconfined(security(it)))
            violate_at(c, "seccompProfile",
                       "must not set securityContext.seccompProfile.type to \"Unconfined\"",
                       val_getstr(it, N_name));
}

static void sysctls(struct check *c)
{
    static const char *const allowed[] = {"kernel.shm_rmid_forced",
                                          "net.ipv4.ip_local_port_range",
                                          "net.ipv4.tcp_syncookies",
                                          "net.ipv4.ping_group_range",
                                          "net.ipv4.ip_unprivileged_port_start",
                                          "net.ipv4.ip_local_reserved_ports",
                                          "net.ipv4.tcp_keepalive_time",
                                          "net.ipv4.tcp_fin_timeout",
                                          "net.ipv4.tcp_keepalive_intvl",
                                          "net.ipv4.tcp_keepalive_probes",
                                          "net.ipv4.tcp_rmem",
                                          "net.ipv4.tcp_wmem",
                                          NULL};
    VAL_EACH(val_at(c->spec, N_securityContext, N_sysctls), s)
        if (!in_list(val_getstr(s, N_name), allowed)) {
            violate(c, "forbidden sysctls", val_cstr(val_get(s, N_name)));
            return;
        }
}

static bool host_process_set(const struct val *context)
{
    return val_bool(val_at(context, N_windowsOptions, N_hostProcess), false);
}

static void host_process(struct check *c)
{
    bool set = host_process_set(val_get(c->spec, N_securityContext));
    EACH_CONTAINER(c->spec, it)
        set |= host_process_set(security(it));
    if (set)
        violate(c, "hostProcess", "must not set securityContext.windowsOptions.hostProcess=true");
}

/* ---- restricted -------------------------------------------------------------------------------------- */

static void volume_types(struct check *c)
{
    static const name_id allowed[] = {N_configMap, N_csi, N_downwardAPI, N_emptyDir, N_ephemeral,
        N_persistentVolumeClaim, N_projected, N_secret, N_image};
    VAL_EACH(val_get(c->spec, N_volumes), v) {
        bool ok = val_len(v) < 2;
        for (size_t i = 0; i < ARRAY_SIZE(allowed) && !ok; i++)
            ok = val_get(v, allowed[i]) != NULL;
        if (!ok) {
            violate(c, "restricted volume types", val_cstr(val_get(v, N_name)));
            return;
        }
    }
}

static void privilege_escalation(struct check *c)
{
    EACH_CONTAINER(c->spec, it)
        if (val_bool(val_get(security(it), N_allowPrivilegeEscalation), true))
            violate_at(c, "allowPrivilegeEscalation != false",
                       "must set securityContext.allowPrivilegeEscalation=false", val_getstr(it, N_name));
}

static void run_as_non_root(struct check *c)
{
    const struct val *pod = val_at(c->spec, N_securityContext, N_runAsNonRoot);
    EACH_CONTAINER(c->spec, it) {
        const struct val *own = val_get(security(it), N_runAsNonRoot);
        if (!val_bool(own ? own : pod, false))
            violate_at(c, "runAsNonRoot != true", "must set securityContext.runAsNonRoot=true",
                       val_getstr(it, N_name));
    }
}

static bool is_root(const struct val *context)
{
    return val_int(val_get(context, N_runAsUser), 1) == 0;
}

static void run_as_user(struct check *c)
{
    if (is_root(val_get(c->spec, N_securityContext)))
        violate(c, "runAsUser=0", "pod must not set runAsUser=0");
    EACH_CONTAINER(c->spec, it)
        if (is_root(security(it)))
            violate_at(c, "runAsUser=0", "must not set runAsUser=0", val_getstr(it, N_name));
}

static void seccomp_restricted(struct check *c)
{
    static const char *const good[] = {"RuntimeDefault", "Localhost", NULL};
    struct str pod = val_str(val_at(c->spec, N_securityContext, N_seccompProfile, N_type));
    EACH_CONTAINER(c->spec, it) {
        struct str own = val_str(val_at(security(it), N_seccompProfile, N_type));
        if (!in_list(own.n ? own : pod, good))
            violate_at(c, "seccompProfile",
                       "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                       val_getstr(it, N_name));
    }
}

static void capabilities_restricted(struct check *c)
{
    EACH_CONTAINER(c->spec, it) {
        const struct val *caps = val_get(security(it), N_capabilities);
        bool drops = false, adds = false;
        VAL_EACH(val_get(caps, N_drop), d)
            drops |= str_is(val_str(d), "ALL");
        VAL_EACH(val_get(caps, N_add), d)
            adds |= !str_is(val_str(d), "NET_BIND_SERVICE");
        if (!drops)
            violate_at(c, "unrestricted capabilities", "must set securityContext.capabilities.drop=[\"ALL\"]",
                       val_getstr(it, N_name));
        else if (adds)
            violate_at(c, "unrestricted capabilities",
                       "must not add other capabilities than NET_BIND_SERVICE", val_getstr(it, N_name));
    }
}

static const struct rule {
    enum pod_level level;
    bool linux_only; /* pods of another system are spared */
    void (*fn)(struct check *c);
} rules[] = {
    {LEVEL_BASELINE, false, host_namespaces},
    {LEVEL_BASELINE, false, privileged},
    {LEVEL_BASELINE, false, capabilities_baseline},
    {LEVEL_BASELINE, false, host_path},
    {LEVEL_BASELINE, false, host_ports},
    {LEVEL_BASELINE, false, probe_hosts},
    {LEVEL_BASELINE, false, apparmor},
    {LEVEL_BASELINE, false, selinux},
    {LEVEL_BASELINE, false, proc_mount},
    {LEVEL_BASELINE, false, seccomp_baseline},
    {LEVEL_BASELINE, false, sysctls},
    {LEVEL_BASELINE, false, host_process},
    {LEVEL_RESTRICTED, false, volume_types},
    {LEVEL_RESTRICTED, true, privilege_escalation},
    {LEVEL_RESTRICTED, false, run_as_non_root},
    {LEVEL_RESTRICTED, false, run_as_user},
    {LEVEL_RESTRICTED, true, seccomp_restricted},
    {LEVEL_RESTRICTED, true, capabilities_restricted},
};

bool pod_level_parse(struct str s, enum pod_level *ret)
{
    static const char *const names[] = {"privileged", "baseline", "restricted"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_is(s, names[i])) {
            *ret = (enum pod_level)i;
            return true;
        }
    return false;
}

void pod_level_violations(enum pod_level level, const struct val *annotations, const struct val *spec,
                          struct buf *b)
{
    struct check c = {.spec = spec, .annotations = annotations, .b = b,
        .windows = str_is(val_str(val_at(spec, N_os, N_name)), "windows")};
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (rules[i].level <= level && !(rules[i].linux_only && c.windows))
            rules[i].fn(&c);
}
