/* SPDX-License-Identifier: Apache-2.0 */
/* Warnings about Pods and templates of Pods. */
#include "type/text.h"
#include "type/warnings-internal.h"

struct pod_at {
    struct warner *w;
    const struct vpath *annotations; /* where annotations are */
    const struct vpath *spec_at;
    const struct val *meta, *spec;
    bool template;
};

static const struct val *annotation(const struct pod_at *x, struct str key)
{
    return val_key(val_get(x->meta, N_annotations), key);
}

/* ---- containers ---------------------------------------------------------------------------------------- */

typedef void container_fn(struct pod_at *x, const struct vpath *p, const struct val *c, void *arg);

static void each_container(struct pod_at *x, container_fn *fn, void *arg)
{
    static const name_id lists[] = {N_initContainers, N_containers, N_ephemeralContainers};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        for (size_t i = 0; i < val_len(val_get(x->spec, lists[l])); i++)
            fn(x, ITEM(AT(x->spec_at, lists[l]), i), val_item(val_get(x->spec, lists[l]), i), arg);
}

/* The annotation that used to say what this profile says. */
static bool profile_is(const struct val *profile, struct str text)
{
    struct str type = val_getstr(profile, N_type), local;
    if (str_is(text, "runtime/default"))
        return str_is(type, "RuntimeDefault");
    if (str_is(text, "unconfined"))
        return str_is(type, "Unconfined");
    local = STR("localhost/");
    return str_starts(text, local) && str_is(type, "Localhost") &&
           str_eq(val_getstr(profile, N_localhostProfile), str_from(text, local.n));
}

static void old_annotations(struct pod_at *x, const struct val *c)
{
    const struct val *security = val_get(c, N_securityContext);
    struct str name = val_getstr(c, N_name);
    struct str key =
        arena_printf(&x->w->arena, "container.seccomp.security.alpha.kubernetes.io/" STR_FMT, STR_ARG(name));
    if (!val_get(security, N_seccompProfile) && annotation(x, key))
        warn_at(x->w, KEY(x->annotations, key),
                "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    key =
        arena_printf(&x->w->arena, "container.apparmor.security.beta.kubernetes.io/" STR_FMT, STR_ARG(name));
    const struct val *text = annotation(x, key),
                     *profile = val_at(x->spec, N_securityContext, N_appArmorProfile);
    if (x->template && text && !val_get(security, N_appArmorProfile) &&
        !(profile && profile_is(profile, val_str(text))))
        warn_at(x->w, KEY(x->annotations, key),
                "deprecated since v1.30; use the \"appArmorProfile\" field instead");
}

static bool defined_before(const struct val *list, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (str_eq(val_getstr(val_item(list, j), N_name), val_getstr(val_item(list, i), N_name)))
            return true;
    return false;
}

/* X="a" X="$(X)b" is a way to add to a variable; anything else loses what stood there before. */
static bool hides(struct warner *w, const struct val *env)
{
    struct str ref = arena_printf(&w->arena, "$(" STR_FMT ")", STR_ARG(val_getstr(env, N_name)));
    struct str value = val_getstr(env, N_value);
    return val_get(env, N_valueFrom) || str_eq(value, ref) || !str_contains(value, ref);
}

static void container(struct pod_at *x, const struct vpath *p, const struct val *c, void *arg)
{
    static const char *const bytes[] = {"memory", "ephemeral-storage"};
    const struct vpath *at = AT(p, N_resources);
    const struct val *r = val_get(c, N_resources), *env = val_get(c, N_env);
    (void)arg;
    old_annotations(x, c);
    for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
        warn_fraction(x->w, AT(at, N_limits), val_get(r, N_limits), bytes[i]);
        warn_fraction(x->w, AT(at, N_requests), val_get(r, N_requests), bytes[i]);
    }
    for (size_t i = 1; i < val_len(env); i++)
        if (defined_before(env, i) && hides(x->w, val_item(env, i)))
            warn_at(x->w, ITEM(AT(p, N_env), i),
                    "hides previous definition of \"" STR_FMT "\", which may be dropped when using apply",
                    STR_ARG(val_getstr(val_item(env, i), N_name)));
}

/* ---- ports --------------------------------------------------------------------------------------------- */

struct port {
    struct str at;
    const struct val *v;
};

struct ports {
    struct port *list;
    size_t n, cap;
};

static int64_t number(const struct val *port, name_id name)
{
    return val_int(val_get(port, name), 0);
}

static const char *clash(const struct val *a, const struct val *b)
{
    struct str ip_a = val_getstr(a, N_hostIP), ip_b = val_getstr(b, N_hostIP);
    int64_t host_a = number(a, N_hostPort), host_b = number(b, N_hostPort);
    if (number(a, N_containerPort) != number(b, N_containerPort) ||
        !str_eq(val_getstr(a, N_protocol), val_getstr(b, N_protocol)))
        return NULL;
    if (str_eq(ip_a, ip_b) && host_a == host_b)
        return "duplicate port definition";
    if (!host_a || !host_b)
        return "overlapping port definition";
    return host_a == host_b && !ip_a.n != !ip_b.n ? "dangerously ambiguous port definition" : NULL;
}

static struct str path_text(struct warner *w, const struct vpath *p)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    vpath_print(&b, p);
    return arena_str(&w->arena, buf_str(&b));
}

static void port(struct pod_at *x, struct ports *all, const struct vpath *p, const struct val *v)
{
    if (val_getstr(v, N_hostIP).n && !number(v, N_hostPort))
        warn_at(x->w, p,
                "hostIP set without hostPort: {Name:" STR_FMT " HostPort:0 ContainerPort:%d Protocol:" STR_FMT
                " HostIP:" STR_FMT "}",
                STR_ARG(val_getstr(v, N_name)), (int)number(v, N_containerPort),
                STR_ARG(val_getstr(v, N_protocol)), STR_ARG(val_getstr(v, N_hostIP)));
    for (size_t i = 0; i < all->n; i++) {
        const char *text = clash(v, all->list[i].v);
        if (text)
            warn_at(x->w, p, "%s with " STR_FMT, text, STR_ARG(all->list[i].at));
    }
    all->list[all->n++] = (struct port){path_text(x->w, p), v};
}

static void container_ports(struct pod_at *x, const struct vpath *p, const struct val *c, void *arg)
{
    size_t i = 0;
    VAL_EACH (val_get(c, N_ports), v)
        port(x, arg, ITEM(AT(p, N_ports), i++), v);
}

static void count_ports(struct pod_at *x, const struct vpath *p, const struct val *c, void *arg)
{
    (void)x;
    (void)p;
    ((struct ports *)arg)->cap += val_len(val_get(c, N_ports));
}

static void port_names(struct pod_at *x, const struct ports *all)
{
    for (size_t i = 0; i < all->n; i++) {
        struct str name = val_getstr(all->list[i].v, N_name), at = all->list[i].at;
        for (size_t j = 0; name.n && j < i; j++) {
            struct str other = all->list[j].at;
            if (!str_eq(val_getstr(all->list[j].v, N_name), name))
                continue;
            warn_at(x->w, NULL,
                    STR_FMT ": duplicate port name \"" STR_FMT "\" with " STR_FMT
                            ", services and probes that select ports by name will use " STR_FMT,
                    STR_ARG(at), STR_ARG(name), STR_ARG(other), STR_ARG(other));
            break;
        }
    }
}

static void all_ports(struct pod_at *x)
{
    struct ports all = {0};
    each_container(x, count_ports, &all);
    all.list = ARENA_ARRAY(&x->w->arena, struct port, all.cap);
    each_container(x, container_ports, &all);
    port_names(x, &all);
}

/* ---- where it may run ---------------------------------------------------------------------------------- */

static void null_selector(struct warner *w, const struct vpath *p, const struct val *term)
{
    if (!val_get(term, N_labelSelector))
        warn_at(w, AT(p, N_labelSelector), "a null labelSelector results in matching no pod");
}

static void pod_affinity(struct warner *w, const struct vpath *p, const struct val *v)
{
    size_t i = 0, j = 0;
    VAL_EACH (val_get(v, N_requiredDuringSchedulingIgnoredDuringExecution), term)
        null_selector(w, ITEM(AT(p, N_requiredDuringSchedulingIgnoredDuringExecution), i++), term);
    VAL_EACH (val_get(v, N_preferredDuringSchedulingIgnoredDuringExecution), term)
        null_selector(
            w, AT(ITEM(AT(p, N_preferredDuringSchedulingIgnoredDuringExecution), j++), N_podAffinityTerm),
            val_get(term, N_podAffinityTerm));
}

static void node_affinity(struct warner *w, const struct vpath *p, const struct val *v)
{
    const struct val *required = val_get(v, N_requiredDuringSchedulingIgnoredDuringExecution);
    const struct vpath *at = AT(AT(p, N_requiredDuringSchedulingIgnoredDuringExecution), N_nodeSelectorTerms);
    size_t i = 0, j = 0;
    VAL_EACH (val_get(required, N_nodeSelectorTerms), term)
        warn_node_term(w, ITEM(at, i++), term, false);
    VAL_EACH (val_get(v, N_preferredDuringSchedulingIgnoredDuringExecution), term)
        warn_node_term(w,
                       AT(ITEM(AT(p, N_preferredDuringSchedulingIgnoredDuringExecution), j++), N_preference),
                       val_get(term, N_preference), true);
}

static void topology_spread(struct warner *w, const struct vpath *p, const struct val *list)
{
    size_t i = 0;
    VAL_EACH (list, v) {
        const struct vpath *at = ITEM(p, i++);
        const char *text = deprecated_node_label(val_getstr(v, N_topologyKey));
        if (text)
            warn_at(w, AT(at, N_topologyKey), STR_FMT " is %s", STR_ARG(val_getstr(v, N_topologyKey)), text);
        null_selector(w, at, v);
    }
}

static void where_it_runs(struct pod_at *x)
{
    EACH_KEY (val_get(x->spec, N_nodeSelector), k) {
        const char *text = deprecated_node_label(val_str(k));
        if (text)
            warn_at(x->w, KEY(AT(x->spec_at, N_nodeSelector), val_str(k)), "%s", text);
    }
    node_affinity(x->w, AT(AT(x->spec_at, N_affinity), N_nodeAffinity),
                  val_at(x->spec, N_affinity, N_nodeAffinity));
    topology_spread(x->w, AT(x->spec_at, N_topologySpreadConstraints),
                    val_get(x->spec, N_topologySpreadConstraints));
}

/* ---- volumes ------------------------------------------------------------------------------------------- */

static void volume_plugins(struct pod_at *x, const struct vpath *p, const struct val *v)
{
    static const struct {
        name_id field;
        const char *name, *text;
    } plugins[] = {
        {N_photonPersistentDisk, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
        {N_gitRepo, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
        {N_scaleIO, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
        {N_flocker, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
        {N_storageos, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
        {N_quobyte, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
        {N_glusterfs, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
        {N_cephfs, "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
        {N_rbd, "rbd", "deprecated in v1.28, non-functional in v1.31+"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(plugins); i++)
        if (val_get(v, plugins[i].field))
            warn_at(x->w, AT_TEXT(p, plugins[i].name), "%s", plugins[i].text);
    const struct val *claim = val_at(v, N_ephemeral, N_volumeClaimTemplate);
    if (claim)
        warn_claim_spec(x->w, AT(AT(AT(p, N_ephemeral), N_volumeClaimTemplate), N_spec),
                        val_get(claim, N_spec));
}

/* Files that a volume brings, and what brings each. */
struct file {
    struct str path, source; /* source: printed in brackets when not empty */
};

struct files {
    struct pod_at *x;
    struct str volume, what; /* of the volume: its name, and e.g. `Secret "s"` */
    struct file list[64];
    size_t n;
};

static bool overlap(const struct file *a, const struct file *b)
{
    struct str s = a->path.n < b->path.n ? a->path : b->path, l = a->path.n < b->path.n ? b->path : a->path;
    return s.n && str_starts(l, s) && (l.n == s.n || l.p[s.n] == '/');
}

static struct str file_text(struct files *f, const struct file *file)
{
    struct arena *a = &f->x->w->arena;
    struct str path = text_quote(a, file->path);
    return file->source.n ? arena_printf(a, STR_FMT " (" STR_FMT ")", STR_ARG(path), STR_ARG(file->source))
                          : path;
}

static void file_add(struct files *f, struct str path, struct str source)
{
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    struct file file = {path, source};
    for (size_t i = 0; i < f->n; i++)
        if (overlap(&f->list[i], &file))
            warn_at(f->x->w, NULL,
                    "volume \"" STR_FMT "\" (" STR_FMT "): overlapping paths: " STR_FMT " with " STR_FMT,
                    STR_ARG(f->volume), STR_ARG(f->what), STR_ARG(file_text(f, &file)),
                    STR_ARG(file_text(f, &f->list[i])));
    if (f->n < ARRAY_SIZE(f->list)) /* who has more files than that names them by machine */
        f->list[f->n++] = file;
}

static void files_add(struct files *f, const struct val *items, struct str source)
{
    VAL_EACH (items, item)
        file_add(f, val_getstr(item, N_path), source);
}

static struct str kind_and_name(struct files *f, const char *kind, struct str name)
{
    return arena_printf(&f->x->w->arena, "%s \"" STR_FMT "\"", kind, STR_ARG(name));
}

static void files_of_source(struct files *f, const struct val *source)
{
    const struct val *v;
    if ((v = val_get(source, N_configMap))) {
        files_add(f, val_get(v, N_items), kind_and_name(f, "ConfigMap", val_getstr(v, N_name)));
    } else if ((v = val_get(source, N_secret))) {
        files_add(f, val_get(v, N_items), kind_and_name(f, "Secret", val_getstr(v, N_name)));
    } else if ((v = val_get(source, N_downwardAPI))) {
        files_add(f, val_get(v, N_items), STR("DownwardAPI"));
    } else if ((v = val_get(source, N_serviceAccountToken))) {
        file_add(f, val_getstr(v, N_path), STR("ServiceAccountToken"));
    } else if ((v = val_get(source, N_clusterTrustBundle))) {
        struct str name = val_get(v, N_name) ? val_getstr(v, N_name) : val_getstr(v, N_signerName);
        file_add(f, val_getstr(v, N_path), kind_and_name(f, "ClusterTrustBundle", name));
    } else if ((v = val_get(source, N_podCertificate))) {
        if (val_getstr(v, N_certificateChainPath).n)
            file_add(f, val_getstr(v, N_certificateChainPath), STR("PodCertificate chain"));
        if (val_getstr(v, N_keyPath).n)
            file_add(f, val_getstr(v, N_keyPath), STR("PodCertificate key"));
        if (val_getstr(v, N_credentialBundlePath).n)
            file_add(f, val_getstr(v, N_credentialBundlePath), STR("PodCertificate credential bundle"));
    } else {
        warn_at(f->x->w, NULL, "volume \"" STR_FMT "\" (Projected) has no sources provided",
                STR_ARG(f->volume));
    }
}

static void volume_files(struct pod_at *x, const struct val *v)
{
    struct files *f = ARENA_NEW(&x->w->arena, struct files);
    const struct val *s;
    f->x = x;
    f->volume = val_getstr(v, N_name);
    if ((s = val_get(v, N_configMap))) {
        f->what = kind_and_name(f, "ConfigMap", val_getstr(s, N_name));
        files_add(f, val_get(s, N_items), STR_NULL);
    } else if ((s = val_get(v, N_secret))) {
        f->what = kind_and_name(f, "Secret", val_getstr(s, N_secretName));
        files_add(f, val_get(s, N_items), STR_NULL);
    } else if ((s = val_get(v, N_downwardAPI))) {
        f->what = STR("DownwardAPI");
        files_add(f, val_get(s, N_items), STR_NULL);
    } else if ((s = val_get(v, N_projected))) {
        f->what = STR("Projected");
        VAL_EACH (val_get(s, N_sources), source)
            files_of_source(f, source);
    }
}

static void volumes(struct pod_at *x)
{
    size_t i = 0;
    VAL_EACH (val_get(x->spec, N_volumes), v)
        volume_plugins(x, ITEM(AT(x->spec_at, N_volumes), i++), v);
    VAL_EACH (val_get(x->spec, N_volumes), v)
        volume_files(x, v);
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static void annotations(struct pod_at *x)
{
    static const struct {
        const char *key, *text;
    } old[] = {
        {"scheduler.alpha.kubernetes.io/critical-pod",
         "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
        {"security.alpha.kubernetes.io/sysctls",
         "non-functional in v1.11+; use the \"sysctls\" field instead"},
        {"security.alpha.kubernetes.io/unsafe-sysctls",
         "non-functional in v1.11+; use the \"sysctls\" field instead"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(old); i++)
        if (annotation(x, str_of(old[i].key)))
            warn_at(x->w, KEY(x->annotations, str_of(old[i].key)), "%s", old[i].text);
}

static void duplicates(struct pod_at *x, name_id list_name, name_id key, const char *what)
{
    const struct val *list = val_get(x->spec, list_name);
    for (size_t i = 1; i < val_len(list); i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(val_getstr(val_item(list, i), key), val_getstr(val_item(list, j), key))) {
                warn_at(x->w, AT(ITEM(AT(x->spec_at, list_name), i), key), "duplicate %s \"" STR_FMT "\"",
                        what, STR_ARG(val_getstr(val_item(list, i), key)));
                break;
            }
}

static void pull_secrets(struct pod_at *x)
{
    size_t i = 0;
    duplicates(x, N_imagePullSecrets, N_name, "name");
    VAL_EACH (val_get(x->spec, N_imagePullSecrets), s) {
        if (!val_getstr(s, N_name).n)
            warn_at(x->w, AT(ITEM(AT(x->spec_at, N_imagePullSecrets), i), N_name), "invalid empty name \"\"");
        i++;
    }
}

static void addresses(struct pod_at *x)
{
    size_t i = 0, j = 0;
    VAL_EACH (val_at(x->spec, N_dnsConfig, N_nameservers), ip)
        warn_ip(x->w, ITEM(AT(AT(x->spec_at, N_dnsConfig), N_nameservers), i++), val_str(ip));
    VAL_EACH (val_get(x->spec, N_hostAliases), alias)
        warn_ip(x->w, AT(ITEM(AT(x->spec_at, N_hostAliases), j++), N_ip), val_getstr(alias, N_ip));
}

static void warn_spec(struct pod_at *x)
{
    static const char seccomp[] = "seccomp.security.alpha.kubernetes.io/pod";
    const struct vpath *affinity = AT(x->spec_at, N_affinity);
    where_it_runs(x);
    annotations(x);
    volumes(x);
    duplicates(x, N_hostAliases, N_ip, "ip");
    pull_secrets(x);
    warn_fraction(x->w, AT(x->spec_at, N_overhead), val_get(x->spec, N_overhead), "memory");
    warn_fraction(x->w, AT(x->spec_at, N_overhead), val_get(x->spec, N_overhead), "ephemeral-storage");
    if (!val_at(x->spec, N_securityContext, N_seccompProfile) && annotation(x, str_of(seccomp)))
        warn_at(x->w, KEY(x->annotations, str_of(seccomp)),
                "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    each_container(x, container, NULL);
    all_ports(x);
    if (val_int(val_get(x->spec, N_terminationGracePeriodSeconds), 0) < 0)
        warn_at(x->w, AT(x->spec_at, N_terminationGracePeriodSeconds),
                "must be >= 0; negative values are invalid and will be treated as 1");
    pod_affinity(x->w, AT(affinity, N_podAffinity), val_at(x->spec, N_affinity, N_podAffinity));
    pod_affinity(x->w, AT(affinity, N_podAntiAffinity), val_at(x->spec, N_affinity, N_podAntiAffinity));
    addresses(x);
}

void warn_pod(struct warner *w, const struct vpath *at, const struct val *pod)
{
    static const struct vpath root = {0};
    const struct vpath *from = at ? at : &root;
    struct pod_at x = {
        .w = w,
        .annotations = AT(AT(from, N_metadata), N_annotations),
        .spec_at = AT(from, N_spec),
        .meta = obj_meta(pod),
        .spec = val_get(pod, N_spec),
        .template = at != NULL,
    };
    warn_spec(&x);
}
