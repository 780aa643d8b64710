/* SPDX-License-Identifier: Apache-2.0 */
/* Pods, their containers, and the templates of pods. */
#include "cli/describe.h"

#include "cli/jsonpath.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/path.h"
#include "type/qos.h"
#include "wire/quantity.h"

/* ---- a container's texts ---------------------------------------------------------------------------------------- */

static struct str ports_text(struct desc *d, const struct val *ports, name_id number)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH(ports, p)
    {
        struct str name = val_getstr(p, N_name), protocol = val_getstr(p, N_protocol);
        buf_printf(&b, "%s%lld/" STR_FMT, b.n ? ", " : "", (long long)val_int(val_get(p, number), 0), STR_ARG(protocol));
        if (name.n)
            buf_printf(&b, " (" STR_FMT ")", STR_ARG(name));
    }
    return arena_str(&d->c->a, buf_str(&b));
}

static void put_ports(struct desc *d, const char *title, struct str text)
{
    bool several = str_find(text, ',') >= 0;
    desc_put(d, 2, "%s%s:\t" STR_FMT "\n", title, several ? "s" : "", STR_ARG(text.n ? text : STR("<none>")));
}

static void put_words(struct desc *d, const char *title, const struct val *words)
{
    if (!val_len(words))
        return;
    desc_put(d, 2, "%s:\n", title);
    VAL_EACH(words, v)
    {
        struct str rest = val_str(v), line;
        while (str_next(&rest, '\n', &line))
            desc_put(d, 3, STR_FMT "\n", STR_ARG(line));
    }
}

static struct str http_url(struct desc *d, const struct val *get)
{
    struct str host = val_getstr(get, N_host), path = val_getstr(get, N_path);
    bool v6 = str_find(host, ':') >= 0;
    return cli_printf(d->c, STR_FMT "://%s" STR_FMT "%s:" STR_FMT "%s" STR_FMT, STR_ARG(desc_lower(d, val_getstr(get, N_scheme))),
                      v6 ? "[" : "", STR_ARG(host), v6 ? "]" : "", STR_ARG(desc_text(d, val_get(get, N_port))),
                      path.n && path.p[0] != '/' ? "/" : "", STR_ARG(path));
}

static struct str probe_text(struct desc *d, const struct val *p)
{
    const struct val *exec = val_get(p, N_exec), *http = val_get(p, N_httpGet), *tcp = val_get(p, N_tcpSocket);
    const struct val *grpc = val_get(p, N_grpc);
    struct str attrs = cli_printf(d->c, "delay=%llds timeout=%llds period=%llds successThreshold=%lld failureThreshold=%lld",
                                  (long long)val_int(val_get(p, N_initialDelaySeconds), 0),
                                  (long long)val_int(val_get(p, N_timeoutSeconds), 0),
                                  (long long)val_int(val_get(p, N_periodSeconds), 0),
                                  (long long)val_int(val_get(p, N_successThreshold), 0),
                                  (long long)val_int(val_get(p, N_failureThreshold), 0));
    if (exec)
        return cli_printf(d->c, "exec [" STR_FMT "] " STR_FMT, STR_ARG(desc_join(d, val_get(exec, N_command), " ")), STR_ARG(attrs));
    if (http)
        return cli_printf(d->c, "http-get " STR_FMT " " STR_FMT, STR_ARG(http_url(d, http)), STR_ARG(attrs));
    if (tcp)
        return cli_printf(d->c, "tcp-socket " STR_FMT ":" STR_FMT " " STR_FMT, STR_ARG(val_getstr(tcp, N_host)),
                          STR_ARG(desc_text(d, val_get(tcp, N_port))), STR_ARG(attrs));
    if (grpc)
        return cli_printf(d->c, "grpc <pod>:%lld " STR_FMT " " STR_FMT, (long long)val_int(val_get(grpc, N_port), 0),
                          STR_ARG(val_getstr(grpc, N_service)), STR_ARG(attrs));
    return cli_printf(d->c, "unknown " STR_FMT, STR_ARG(attrs));
}

/* ---- its state --------------------------------------------------------------------------------------------------- */

static const struct desc_row terminated_rows[] = {
    {3, "Reason:", ROW_TEXT, AT(N_reason), NULL},        {3, "Message:", ROW_TEXT, AT(N_message), NULL},
    {3, "Exit Code:", ROW_TEXT, AT(N_exitCode), "0"},    {3, "Signal:", ROW_TEXT, AT(N_signal), NULL},
    {3, "Started:", ROW_TIME, AT(N_startedAt), "Mon, 01 Jan 0001 00:00:00 +0000"},
    {3, "Finished:", ROW_TIME, AT(N_finishedAt), "Mon, 01 Jan 0001 00:00:00 +0000"}, {0},
};

static void put_state(struct desc *d, const char *title, const struct val *state)
{
    const struct val *running = val_get(state, N_running), *waiting = val_get(state, N_waiting);
    const struct val *terminated = val_get(state, N_terminated);
    desc_put(d, 2, "%s:\t%s\n", title, running ? "Running" : terminated && !waiting ? "Terminated" : "Waiting");
    if (running)
        desc_put(d, 3, "Started:\t" STR_FMT "\n", STR_ARG(desc_time(d, val_get(running, N_startedAt))));
    else if (waiting && val_getstr(waiting, N_reason).n)
        desc_put(d, 3, "Reason:\t" STR_FMT "\n", STR_ARG(val_getstr(waiting, N_reason)));
    else if (!waiting && terminated)
        desc_rows(d, terminated, terminated_rows);
}

static void put_status(struct desc *d, const struct val *status)
{
    put_state(d, "State", val_get(status, N_state));
    if (val_at(status, N_lastState, N_terminated))
        put_state(d, "Last State", val_get(status, N_lastState));
    desc_put(d, 2, "Ready:\t%s\n", val_bool(val_get(status, N_ready), false) ? "True" : "False");
    desc_put(d, 2, "Restart Count:\t%lld\n", (long long)val_int(val_get(status, N_restartCount), 0));
}

/* ---- its environment ------------------------------------------------------------------------------------------------ */

/* "metadata.labels['a']" or a plain path. */
static struct str field_text(struct desc *d, const struct val *pod, struct str path)
{
    struct path_hits hits;
    struct str head, key;
    if (str_cut(path, '[', &head, &key)) {
        key = str_slice(key, 1, key.n > 3 ? key.n - 3 : 0);
        name_id which = str_ends(head, STR("annotations")) ? N_annotations : N_labels;
        return val_str(val_key(val_at(pod, N_metadata, which), key));
    }
    path_find(&d->c->a, pod, path, &hits);
    return hits.n ? desc_text(d, hits.items[0]) : STR("");
}

static struct str resource_text(struct desc *d, const struct val *container, const struct val *ref)
{
    struct str what = val_getstr(ref, N_resource), kind, name, text = STR_NULL;
    char out[QUANTITY_TEXT_MAX];
    str_cut(what, '.', &kind, &name);
    text = val_str(val_key(val_at(container, N_resources, str_is(kind, "limits") ? N_limits : N_requests), name));
    struct quantity q = quantity_or_zero(text), divisor = quantity_or_zero(val_getstr(ref, N_divisor));
    if (str_is(what, "limits.cpu") || str_is(what, "limits.memory"))
        if (!text.n)
            return STR("node allocatable");
    if (divisor.nano <= 0)
        divisor = quantity_of(1, QUANTITY_DECIMAL_SI);
    __int128 n = (q.nano + divisor.nano - 1) / divisor.nano;
    return arena_str(&d->c->a, str_of(quantity_text(quantity_of((int64_t)n, QUANTITY_DECIMAL_SI), out)));
}

static void put_env_value(struct desc *d, struct str name, struct str value)
{
    struct str rest = value, line;
    bool first = true;
    if (!value.n)
        desc_put(d, 3, STR_FMT ":\t\n", STR_ARG(name));
    while (value.n && str_next(&rest, '\n', &line)) {
        desc_put(d, 3, STR_FMT "%s\t" STR_FMT "\n", STR_ARG(first ? name : STR("")), first ? ":" : "", STR_ARG(line));
        first = false;
    }
}

static void put_env(struct desc *d, const struct val *e, const struct val *container, const struct val *pod)
{
    const struct val *from = val_get(e, N_valueFrom), *field = val_get(from, N_fieldRef), *key;
    struct str name = val_getstr(e, N_name);
    if (!from)
        put_env_value(d, name, val_getstr(e, N_value));
    else if (field)
        desc_put(d, 3, STR_FMT ":\t" STR_FMT " (" STR_FMT ":" STR_FMT ")\n", STR_ARG(name),
                 STR_ARG(pod ? field_text(d, pod, val_getstr(field, N_fieldPath)) : STR("")), STR_ARG(val_getstr(field, N_apiVersion)),
                 STR_ARG(val_getstr(field, N_fieldPath)));
    else if ((key = val_get(from, N_resourceFieldRef)) != NULL)
        desc_put(d, 3, STR_FMT ":\t" STR_FMT " (" STR_FMT ")\n", STR_ARG(name), STR_ARG(resource_text(d, container, key)),
                 STR_ARG(val_getstr(key, N_resource)));
    else if ((key = val_get(from, N_secretKeyRef)) != NULL)
        desc_put(d, 3, STR_FMT ":\t<set to the key '" STR_FMT "' in secret '" STR_FMT "'>\tOptional: %s\n", STR_ARG(name),
                 STR_ARG(val_getstr(key, N_key)), STR_ARG(val_getstr(key, N_name)),
                 val_bool(val_get(key, N_optional), false) ? "true" : "false");
    else if ((key = val_get(from, N_configMapKeyRef)) != NULL)
        desc_put(d, 3, STR_FMT ":\t<set to the key '" STR_FMT "' of config map '" STR_FMT "'>\tOptional: %s\n", STR_ARG(name),
                 STR_ARG(val_getstr(key, N_key)), STR_ARG(val_getstr(key, N_name)),
                 val_bool(val_get(key, N_optional), false) ? "true" : "false");
}

static void put_env_from(struct desc *d, const struct val *list)
{
    if (!val_len(list))
        return;
    desc_put(d, 2, "Environment Variables from:\n");
    VAL_EACH(list, e)
    {
        const struct val *map = val_get(e, N_configMapRef), *ref = map ? map : val_get(e, N_secretRef);
        struct str prefix = val_getstr(e, N_prefix);
        desc_put(d, 3, STR_FMT "\t%s%s" STR_FMT "%s\tOptional: %s\n", STR_ARG(val_getstr(ref, N_name)), map ? "ConfigMap" : "Secret",
                 prefix.n ? " with prefix '" : "", STR_ARG(prefix), prefix.n ? "'" : "",
                 val_bool(val_get(ref, N_optional), false) ? "true" : "false");
    }
}

/* ---- its volumes -------------------------------------------------------------------------------------------------------- */

static int compare_mounts(const void *a, const void *b)
{
    return str_cmp(val_getstr(*(const struct val *const *)a, N_mountPath), val_getstr(*(const struct val *const *)b, N_mountPath));
}

static void put_mounts(struct desc *d, const struct val *mounts)
{
    const struct val **all = ARENA_ARRAY(&d->c->a, const struct val *, val_len(mounts) + 1);
    size_t n = 0;
    VAL_EACH(mounts, v)
    {
        all[n++] = v;
    }
    qsort(all, n, sizeof(const struct val *), compare_mounts);
    desc_put(d, 2, "Mounts:%s\n", n ? "" : "\t<none>");
    for (size_t i = 0; i < n; i++) {
        struct str sub = val_getstr(all[i], N_subPath);
        desc_put(d, 3, STR_FMT " from " STR_FMT " (%s", STR_ARG(val_getstr(all[i], N_mountPath)), STR_ARG(val_getstr(all[i], N_name)),
                 val_bool(val_get(all[i], N_readOnly), false) ? "ro" : "rw");
        if (sub.n)
            desc_put(d, 0, ",path=\"" STR_FMT "\"", STR_ARG(sub));
        desc_put(d, 0, ")\n");
    }
}

static void put_devices(struct desc *d, const struct val *devices)
{
    if (!val_len(devices))
        return;
    desc_put(d, 2, "Devices:\n");
    VAL_EACH(devices, v)
    {
        desc_put(d, 3, STR_FMT " from " STR_FMT "\n", STR_ARG(val_getstr(v, N_devicePath)), STR_ARG(val_getstr(v, N_name)));
    }
}

/* ---- containers ------------------------------------------------------------------------------------------------------------ */

static void put_basics(struct desc *d, const struct val *container, const struct val *status, const char *space)
{
    const struct val *ports = val_get(container, N_ports), *seccomp = val_at(container, N_securityContext, N_seccompProfile);
    desc_put(d, 1, "%s" STR_FMT ":\n", space[0] ? " " : "", STR_ARG(val_getstr(container, N_name)));
    if (status)
        desc_put(d, 2, "Container ID:\t" STR_FMT "\n", STR_ARG(val_getstr(status, N_containerID)));
    desc_put(d, 2, "Image:\t" STR_FMT "\n", STR_ARG(val_getstr(container, N_image)));
    if (status)
        desc_put(d, 2, "Image ID:\t" STR_FMT "\n", STR_ARG(val_getstr(status, N_imageID)));
    put_ports(d, "Port", ports_text(d, ports, N_containerPort));
    put_ports(d, "Host Port", ports_text(d, ports, N_hostPort));
    if (seccomp)
        desc_put(d, 2, "SeccompProfile:\t" STR_FMT "\n", STR_ARG(val_getstr(seccomp, N_type)));
    if (str_is(val_getstr(seccomp, N_type), "Localhost"))
        desc_put(d, 3, "LocalhostProfile:\t" STR_FMT "\n", STR_ARG(val_getstr(seccomp, N_localhostProfile)));
}

static void put_resources(struct desc *d, unsigned level, const struct val *res)
{
    static const struct {
        const char *title;
        name_id name;
    } parts[] = {{"Limits:", N_limits}, {"Requests:", N_requests}};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (val_len(val_get(res, parts[i].name)))
            desc_put(d, level, "%s\n", parts[i].title);
        desc_resource_list(d, level + 1, val_get(res, parts[i].name));
    }
}

static void put_probes(struct desc *d, const struct val *container)
{
    static const struct {
        const char *title;
        name_id name;
    } probes[] = {{"Liveness", N_livenessProbe}, {"Readiness", N_readinessProbe}, {"Startup", N_startupProbe}};
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
        if (val_get(container, probes[i].name))
            desc_put(d, 2, "%s:\t" STR_FMT "\n", probes[i].title, STR_ARG(probe_text(d, val_get(container, probes[i].name))));
}

static const struct val *status_of(const struct val *statuses, struct str name)
{
    VAL_EACH(statuses, v)
    {
        if (str_eq(val_getstr(v, N_name), name))
            return v;
    }
    return NULL;
}

void desc_containers(struct desc *d, const char *title, const struct val *containers, const struct val *statuses,
                     const struct val *pod, const char *space)
{
    desc_put(d, 0, "%s%s:%s\n", space, title, val_len(containers) ? "" : " <none>");
    VAL_EACH(containers, v)
    {
        const struct val *status = status_of(statuses, val_getstr(v, N_name)), *env = val_get(v, N_env);
        put_basics(d, v, status, space);
        put_words(d, "Command", val_get(v, N_command));
        put_words(d, "Args", val_get(v, N_args));
        if (status)
            put_status(d, status);
        put_resources(d, 2, val_get(v, N_resources));
        put_probes(d, v);
        put_env_from(d, val_get(v, N_envFrom));
        desc_put(d, 2, "Environment:%s\n", val_len(env) ? "" : "\t<none>");
        VAL_EACH(env, e)
        {
            put_env(d, e, v, pod);
        }
        put_mounts(d, val_get(v, N_volumeMounts));
        put_devices(d, val_get(v, N_volumeDevices));
    }
}

/* ---- templates ----------------------------------------------------------------------------------------------------------- */

static void put_spreads(struct desc *d, const struct val *constraints, const char *space)
{
    bool first = true;
    VAL_EACH(constraints, v)
    {
        desc_put(d, 0, "%s%s\t" STR_FMT ":" STR_FMT " when max skew %lld is exceeded", space,
                 first ? "Topology Spread Constraints:" : "", STR_ARG(val_getstr(v, N_topologyKey)),
                 STR_ARG(val_getstr(v, N_whenUnsatisfiable)), (long long)val_int(val_get(v, N_maxSkew), 0));
        if (val_get(v, N_labelSelector))
            desc_put(d, 0, " for selector " STR_FMT, STR_ARG(desc_selector(d, val_get(v, N_labelSelector))));
        desc_put(d, 0, "\n");
        first = false;
    }
}

void desc_pod_template(struct desc *d, const struct val *template)
{
    const struct val *spec = val_get(template, N_spec), *annotations = val_at(template, N_metadata, N_annotations);
    desc_put(d, 0, "Pod Template:\n");
    if (!template) {
        desc_put(d, 1, "<unset>");
        return;
    }
    desc_labels(d, "", "  Labels", obj_labels(template));
    if (val_len(annotations))
        desc_annotations(d, "  Annotations", annotations);
    if (val_getstr(spec, N_serviceAccountName).n)
        desc_put(d, 1, "Service Account:\t" STR_FMT "\n", STR_ARG(val_getstr(spec, N_serviceAccountName)));
    if (val_len(val_get(spec, N_initContainers)))
        desc_containers(d, "Init Containers", val_get(spec, N_initContainers), NULL, NULL, "  ");
    desc_containers(d, "Containers", val_get(spec, N_containers), NULL, NULL, "  ");
    desc_volumes(d, val_get(spec, N_volumes), "  ");
    put_spreads(d, val_get(spec, N_topologySpreadConstraints), "  ");
    if (val_getstr(spec, N_priorityClassName).n)
        desc_put(d, 1, "Priority Class Name:\t" STR_FMT "\n", STR_ARG(val_getstr(spec, N_priorityClassName)));
    desc_labels(d, "", "  Node-Selectors", val_get(spec, N_nodeSelector));
    desc_tolerations(d, "  Tolerations", val_get(spec, N_tolerations));
}

/* ---- pods ------------------------------------------------------------------------------------------------------------------ */

static const struct desc_row head_rows[] = {
    {0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
    {0, "Namespace:", ROW_TEXT, AT(N_metadata, N_namespace), ""},
    {0, "Priority:", ROW_TEXT, AT(N_spec, N_priority), NULL},
    {0, "Priority Class Name:", ROW_TEXT, AT(N_spec, N_priorityClassName), NULL},
    {0, "Runtime Class Name:", ROW_TEXT, AT(N_spec, N_runtimeClassName), NULL},
    {0, "Service Account:", ROW_TEXT, AT(N_spec, N_serviceAccountName), NULL},
    {0},
};
static const struct desc_row start_rows[] = {
    {0, "Start Time:", ROW_TIME, AT(N_status, N_startTime), NULL},
    {0, "Labels", ROW_LABELS, AT(N_metadata, N_labels), NULL},
    {0, "Annotations", ROW_ANNOTATIONS, AT(N_metadata, N_annotations), NULL},
    {0},
};
static const struct desc_row status_rows[] = {
    {0, "Reason:", ROW_TEXT, AT(N_status, N_reason), NULL},
    {0, "Message:", ROW_TEXT, AT(N_status, N_message), NULL},
    {0, "SeccompProfile:", ROW_TEXT, AT(N_spec, N_securityContext, N_seccompProfile, N_type), NULL},
    {0, "IP:", ROW_TEXT, AT(N_status, N_podIP), ""},
    {0},
};
static const struct desc_row control_rows[] = {
    {0, "Controlled By:", ROW_CONTROLLER, AT(0), NULL},
    {0, "NominatedNodeName:", ROW_TEXT, AT(N_status, N_nominatedNodeName), NULL},
    {0},
};

static void put_phase(struct desc *d, const struct val *v)
{
    struct str phase = val_str(val_at(v, N_status, N_phase));
    if (!obj_deleting(v) || str_is(phase, "Failed") || str_is(phase, "Succeeded")) {
        desc_put(d, 0, "Status:\t" STR_FMT "\n", STR_ARG(phase));
        return;
    }
    desc_put(d, 0, "Status:\tTerminating (lasts " STR_FMT ")\n", STR_ARG(desc_age(d, val_at(v, N_metadata, N_deletionTimestamp))));
    desc_put(d, 0, "Termination Grace Period:\t%llds\n",
             (long long)val_int(val_at(v, N_metadata, N_deletionGracePeriodSeconds), 0));
}

static void put_ips(struct desc *d, const struct val *ips)
{
    desc_put(d, 0, "IPs:%s\n", val_len(ips) ? "" : "\t<none>");
    VAL_EACH(ips, v)
    {
        desc_put(d, 1, "IP:\t" STR_FMT "\n", STR_ARG(val_getstr(v, N_ip)));
    }
}

static void put_all_containers(struct desc *d, const struct val *v)
{
    const struct val *spec = val_get(v, N_spec), *status = val_get(v, N_status);
    if (val_len(val_get(spec, N_initContainers)))
        desc_containers(d, "Init Containers", val_get(spec, N_initContainers), val_get(status, N_initContainerStatuses), v, "");
    desc_containers(d, "Containers", val_get(spec, N_containers), val_get(status, N_containerStatuses), v, "");
    if (val_len(val_get(spec, N_ephemeralContainers)))
        desc_containers(d, "Ephemeral Containers", val_get(spec, N_ephemeralContainers),
                        val_get(status, N_ephemeralContainerStatuses), v, "");
}

static void put_conditions(struct desc *d, const struct val *v)
{
    const struct val *conditions = val_at(v, N_status, N_conditions), *gates = val_at(v, N_spec, N_readinessGates);
    if (val_len(gates))
        desc_put(d, 0, "Readiness Gates:\n  Type\tStatus\n");
    VAL_EACH(gates, g)
    {
        struct str status = val_getstr(condition_find(conditions, val_getstr(g, N_conditionType)), N_status);
        desc_put(d, 1, STR_FMT " \t" STR_FMT " \n", STR_ARG(val_getstr(g, N_conditionType)),
                 STR_ARG(status.n ? status : STR("<none>")));
    }
    if (val_len(conditions))
        desc_put(d, 0, "Conditions:\n  Type\tStatus\n");
    VAL_EACH(conditions, c)
    {
        desc_put(d, 1, STR_FMT " \t" STR_FMT " \n", STR_ARG(val_getstr(c, N_type)), STR_ARG(val_getstr(c, N_status)));
    }
}

static void describe_pod(struct desc *d, const struct info *i)
{
    const struct val *v = i->v, *spec = val_get(v, N_spec);
    struct str node = val_getstr(spec, N_nodeName), qos = val_str(val_at(v, N_status, N_qosClass));
    desc_rows(d, v, head_rows);
    if (node.n)
        desc_put(d, 0, "Node:\t" STR_FMT "/" STR_FMT "\n", STR_ARG(node), STR_ARG(val_str(val_at(v, N_status, N_hostIP))));
    else
        desc_put(d, 0, "Node:\t<none>\n");
    desc_rows(d, v, start_rows);
    put_phase(d, v);
    desc_rows(d, v, status_rows);
    put_ips(d, val_at(v, N_status, N_podIPs));
    desc_rows(d, v, control_rows);
    if (val_get(spec, N_resources)) {
        desc_put(d, 0, "Resources:\n");
        put_resources(d, 1, val_get(spec, N_resources));
    }
    put_all_containers(d, v);
    put_conditions(d, v);
    desc_volumes(d, val_get(spec, N_volumes), "");
    desc_put(d, 0, "QoS Class:\t" STR_FMT "\n", STR_ARG(qos.n ? qos : str_of(pod_qos_class(spec))));
    desc_labels(d, "", "Node-Selectors", val_get(spec, N_nodeSelector));
    desc_tolerations(d, "Tolerations", val_get(spec, N_tolerations));
    put_spreads(d, val_get(spec, N_topologySpreadConstraints), "");
    desc_events(d, i);
}

const struct describer describe_core[] = {{RES_PODS, describe_pod}, {0}};
