/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes of Pods and the sources that PersistentVolumes share with them. */
#include "type/validate-internal.h"

/* ---- sources ------------------------------------------------------------------------------------------- */

static void check_backsteps(struct validation *x, const struct vpath *p, struct str path)
{
    struct str rest = path, part;
    while (path.p && str_next(&rest, '/', &part))
        if (str_is(part, "..")) {
            say_invalid_str(x, p, path, "must not contain '..'");
            return;
        }
}

static void rule_host_path(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    static const char *const kinds[] = {
        "",     "BlockDevice",  "CharDevice", "Directory", "DirectoryOrCreate",
        "File", "FileOrCreate", "Socket",     NULL};
    const struct val *type = val_get(v, N_type);
    if (!val_getstr(v, N_path).n) {
        say_required(x, AT(p, N_path), NULL);
        return;
    }
    check_backsteps(x, AT(p, N_path), val_getstr(v, N_path));
    if (type && !str_in(val_str(type), kinds))
        say_unsupported(x, AT(p, N_type), type, kinds);
}

static bool is_host_port(struct str s)
{
    struct str host, port;
    if (str_starts(s, STR("["))) {
        struct str rest;
        return str_cut(str_from(s, 1), ']', &host, &rest) && str_starts(rest, STR(":")) && str_find(str_from(rest, 1), ':') < 0;
    }
    return str_cut(s, ':', &host, &port) && str_find(port, ':') < 0;
}

static void rule_quobyte(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    enum { TENANT_MAX = 64 };
    static const char form[] = "must be a host:port pair or multiple pairs separated by commas";
    struct str registry = val_getstr(v, N_registry), rest = registry, pair;
    (void)old;
    if (!registry.n)
        say_required(x, AT(p, N_registry), form);
    else if (val_getstr(v, N_tenant).n > TENANT_MAX)
        say_required(x, AT(p, N_tenant), "must be a UUID and may not exceed a length of 64 characters");
    else
        while (str_next(&rest, ',', &pair))
            if (!is_host_port(pair))
                say_invalid_str(x, AT(p, N_registry), registry, form);
    if (!val_getstr(v, N_volume).n)
        say_required(x, AT(p, N_volume), NULL);
}

static void rule_storage_os(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    struct str name = val_getstr(v, N_volumeName), scope = val_getstr(v, N_volumeNamespace);
    const struct val *secret = val_get(v, N_secretRef);
    (void)old;
    if (!name.n)
        say_required(x, AT(p, N_volumeName), NULL);
    else
        check_text(x, AT(p, N_volumeName), name, check_label_of_dns);
    if (scope.n)
        check_text(x, AT(p, N_volumeNamespace), scope, check_label_of_dns);
    if (secret && !val_getstr(secret, N_name).n)
        say_required(x, AT(AT(p, N_secretRef), N_name), NULL);
}

/* A name has to be given, and the tables do not look into what is inlined. */
static void rule_key_selector(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    (void)old;
    check_text(x, AT(p, N_name), val_getstr(v, N_name), check_subdomain);
}

static void rule_weighted(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    static const struct val zero = {.kind = VAL_INT};
    (void)old;
    if (!val_int(val_get(v, N_weight), 0)) /* what the tables take for absent */
        say_invalid(x, AT(p, N_weight), &zero, "must be in the range 1-100");
}

static void rule_git_repo(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    check_relative_path(x, AT(p, N_directory), val_getstr(v, N_directory));
}

static void rule_empty_dir(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    const struct val *limit = val_get(v, N_sizeLimit);
    if (limit && str_starts(val_str(limit), STR("-")))
        say_forbidden(x, AT(p, N_sizeLimit), "SizeLimit field must be a valid resource quantity");
}

static void rule_secret_volume(struct validation *x, const struct vpath *p, const struct val *v,
                               const struct val *old)
{
    if (!val_getstr(v, N_secretName).n)
        say_required(x, AT(p, N_secretName), NULL);
}

static void rule_azure_disk(struct validation *x, const struct vpath *p, const struct val *v,
                            const struct val *old)
{
    static const char *const managed[] = {
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/"
        "{disk-id}",
        NULL};
    static const char *const blob[] = {
        "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd", NULL};
    const struct val *kind = val_get(v, N_kind),
                     *uri = val_get(v, N_diskURI) ?: &(const struct val){.kind = VAL_STR, .s = ""};
    bool is_managed = str_is(val_str(kind), "Managed");
    (void)old;
    if (kind && !str_starts(val_str(uri), is_managed ? STR("/subscriptions/") : STR("https://")))
        say_unsupported(x, AT(p, N_diskURI), uri, is_managed ? managed : blob);
}

static void rule_named_source(struct validation *x, const struct vpath *p, const struct val *v,
                              const struct val *old)
{
    if (!val_getstr(v, N_name).n)
        say_required(x, AT(p, N_name), NULL);
}

static void rule_key_to_path(struct validation *x, const struct vpath *p, const struct val *v,
                             const struct val *old)
{
    check_local_path(x, AT(p, N_path), val_getstr(v, N_path));
}

static bool is_iqn_prefix(struct str s)
{
    return str_starts(s, STR("iqn")) || str_starts(s, STR("eui")) || str_starts(s, STR("naa"));
}

static bool all_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("0123456789abcdefABCDEF", s.p[i]))
            return false;
    return true;
}

static bool is_iqn(struct str s)
{
    struct str rest = str_from(s, 4);
    if (str_starts(s, STR("eui.")))
        return rest.n == 16 && all_hex(rest);
    if (str_starts(s, STR("naa.")))
        return rest.n == 32 && all_hex(rest);
    /* iqn.yyyy-mm.reverse.domain[:anything without blanks] */
    if (!str_starts(s, STR("iqn.")) || rest.n < 10 || rest.p[4] != '-' || rest.p[7] != '.')
        return false;
    for (size_t i = 0; i < 7; i++)
        if (i != 4 && (rest.p[i] < '0' || rest.p[i] > '9'))
            return false;
    return str_find(rest, ' ') < 0;
}

static void check_iqn(struct validation *x, const struct vpath *p, struct str s)
{
    if (!is_iqn_prefix(s))
        say_invalid_str(x, p, s, "must be valid format starting with iqn, eui, or naa");
    else if (!is_iqn(s))
        say_invalid_str(x, p, s, "must be valid format");
}

static void rule_iscsi(struct validation *x, const struct vpath *p, const struct val *v,
                       const struct val *old)
{
    if (val_getstr(v, N_iqn).n)
        check_iqn(x, AT(p, N_iqn), val_getstr(v, N_iqn));
    if (val_get(v, N_initiatorName))
        check_iqn(x, AT_TEXT(p, "initiatorname"), val_getstr(v, N_initiatorName));
    if ((val_bool(val_get(v, N_chapAuthDiscovery), false) ||
         val_bool(val_get(v, N_chapAuthSession), false)) &&
        !val_get(v, N_secretRef))
        say_required(x, AT(p, N_secretRef), NULL);
}

static void rule_nfs(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    if (val_getstr(v, N_path).n && !str_starts(val_getstr(v, N_path), STR("/")))
        say_invalid(x, AT(p, N_path), val_get(v, N_path), "must be an absolute path");
}

static void rule_fc(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    bool names = val_len(val_get(v, N_targetWWNs)), wwids = val_len(val_get(v, N_wwids));
    if (!names && !wwids)
        say_required(x, AT(p, N_targetWWNs), "must specify either targetWWNs or wwids, but not both");
    if (names && wwids)
        say_invalid(x, AT(p, N_targetWWNs), val_get(v, N_targetWWNs),
                    "targetWWNs and wwids can not be specified simultaneously");
    if (names && !val_get(v, N_lun))
        say_required(x, AT(p, N_lun), "lun is required if targetWWNs is specified");
}

void check_driver_name(struct validation *x, const struct vpath *p, struct str name)
{
    char *lower = arena_cstr(x->s->arena, name);
    for (char *t = lower; *t; t++)
        if (*t >= 'A' && *t <= 'Z')
            *t = (char)(*t + 'a' - 'A');
    if (!name.n) {
        say_required(x, p, NULL);
        return;
    }
    if (name.n > 63)
        say_too_long(x, p, 63);
    check_text(x, p, str_of(lower), check_subdomain);
}

static void rule_csi(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old)
{
    const struct val *secret = val_get(v, N_nodePublishSecretRef);
    check_driver_name(x, AT(p, N_driver), val_getstr(v, N_driver));
    if (secret && !val_getstr(secret, N_name).n)
        say_required(x, AT(AT(p, N_nodePublishSecretRef), N_name), NULL);
    else if (secret)
        check_text(x, AT(p, N_name), val_getstr(secret, N_name), check_subdomain);
}

static void rule_image(struct validation *x, const struct vpath *p, const struct val *v,
                       const struct val *old)
{
    if (!val_getstr(v, N_reference).n && !x->in_template)
        say_required(x, AT(p, N_reference), NULL);
}

/* ---- downward API and projections ---------------------------------------------------------------------- */

static void check_downward_file(struct validation *x, const struct vpath *p, const struct val *file)
{
    static const char *const paths[] = {"metadata.annotations", "metadata.labels", "metadata.name",
                                        "metadata.namespace",   "metadata.uid",    NULL};
    const struct val *field = val_get(file, N_fieldRef), *resource = val_get(file, N_resourceFieldRef);
    if (!val_getstr(file, N_path).n)
        say_required(x, AT(p, N_path), NULL);
    check_local_path(x, AT(p, N_path), val_getstr(file, N_path));
    if (field)
        check_field_ref(x, AT(p, N_fieldRef), field, paths);
    if (field && resource)
        say_invalid_str(x, p, STR("resource"),
                        "fieldRef and resourceFieldRef can not be specified simultaneously");
    else if (resource)
        check_resource_ref(x, AT(p, N_resourceFieldRef), resource, true);
    else if (!field)
        say_required(x, p, "one of fieldRef and resourceFieldRef is required");
    check_range(x, AT(p, N_mode), val_get(file, N_mode), 0, 0777);
}

static void rule_downward(struct validation *x, const struct vpath *p, const struct val *v,
                          const struct val *old)
{
    /* Upstream names the list, not the item. */
    VAL_EACH (val_get(v, N_items), file)
        check_downward_file(x, p, file);
}

static void check_token(struct validation *x, const struct vpath *p, const struct vpath *projected,
                        const struct val *v)
{
    const struct val *seconds = val_get(v, N_expirationSeconds);
    if (!seconds)
        say_required(x, AT(p, N_expirationSeconds), NULL);
    else if (val_int(seconds, 0) < 600)
        say_invalid(x, AT(p, N_expirationSeconds), seconds,
                    "may not specify a duration less than 10 minutes");
    else if (val_int(seconds, 0) > INT64_C(1) << 32)
        say_invalid(x, AT(p, N_expirationSeconds), seconds,
                    "may not specify a duration larger than 2^32 seconds");
    if (!val_getstr(v, N_path).n)
        say_required(x, AT(projected, N_path), NULL);
    else
        check_local_path(x, AT(projected, N_path), val_getstr(v, N_path));
}

static void check_bundle(struct validation *x, const struct vpath *p, const struct val *v)
{
    const struct val *name = val_get(v, N_name), *signer = val_get(v, N_signerName);
    if (name && signer)
        say_invalid(x, p, v, "only one of name and signerName may be used");
    else if (!name && !signer)
        say_required(x, p, "either name or signerName must be specified");
    else if (name && !name->n)
        say_required(x, AT(p, N_name), "must be a valid object name");
    else if (signer && !signer->n)
        say_required(x, AT(p, N_signerName), "must be a valid signer name");
    if (name && val_get(v, N_labelSelector))
        say_invalid(x, AT(p, N_labelSelector), val_get(v, N_labelSelector),
                    "labelSelector must be unset if name is specified");
    if (!val_getstr(v, N_path).n)
        say_required(x, AT(p, N_path), NULL);
    check_local_path(x, AT(p, N_path), val_getstr(v, N_path));
}

static bool path_seen(struct val *seen, struct arena *a, struct str path)
{
    if (!path.n)
        return false;
    if (val_key(seen, path))
        return true;
    val_put(a, seen, path, val_of_bool(true));
    return false;
}

static bool is_kubernetes_signer(struct str signer)
{
    ssize_t slash = str_find(signer, '/');
    struct str domain = slash < 0 ? signer : str_slice(signer, 0, (size_t)slash);
    return str_is(domain, "kubernetes.io") || str_ends(domain, STR(".kubernetes.io"));
}

static void check_certificate(struct validation *x, const struct vpath *p, const struct val *v)
{
    static const name_id files[] = {N_credentialBundlePath, N_keyPath, N_certificateChainPath};
    const struct val *seconds = val_get(v, N_maxExpirationSeconds);
    bool ours = is_kubernetes_signer(val_getstr(v, N_signerName)), any = false;
    if (seconds && val_int(seconds, 0) < 3600)
        say_invalid(x, AT(p, N_maxExpirationSeconds), seconds, "if provided, maxExpirationSeconds must be >= 3600");
    if (seconds && val_int(seconds, 0) > (ours ? 86400 : 7862400))
        say_invalid(x, AT(p, N_maxExpirationSeconds), seconds,
                    ours ? "if provided, maxExpirationSeconds must be <= 86400"
                         : "if provided, maxExpirationSeconds must be <= 7862400");
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        if (val_getstr(v, files[i]).n) {
            any = true;
            check_local_path(x, AT(p, files[i]), val_getstr(v, files[i]));
        }
    if (!any)
        say_required(x, p, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
}

/* No two files go to the same place. */
static void check_places(struct validation *x, const struct vpath *p, struct val *seen,
                         const struct val *source)
{
    static const name_id lists[] = {N_secret, N_configMap, N_downwardAPI};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        VAL_EACH (val_at(source, lists[i], N_items), item)
            if (path_seen(seen, x->s->arena, val_getstr(item, N_path)))
                say_invalid_str(x, p, val_getstr(item, N_path), "conflicting duplicate paths");
    struct str bundle = val_getstr(val_get(source, N_clusterTrustBundle), N_path);
    if (path_seen(seen, x->s->arena, bundle))
        say_invalid_str(x, p, bundle, "conflicting duplicate paths");
    static const name_id files[] = {N_credentialBundlePath, N_keyPath, N_certificateChainPath};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct str path = val_getstr(val_get(source, N_podCertificate), files[i]);
        if (path_seen(seen, x->s->arena, path))
            say_invalid_str(x, p, path, "conflicting duplicate paths");
    }
}

static void rule_projected(struct validation *x, const struct vpath *p, const struct val *v,
                           const struct val *old)
{
    struct val *seen = val_new(x->s->arena, VAL_MAP);
    size_t i = 0;
    VAL_EACH (val_get(v, N_sources), source) {
        const struct vpath *at = ITEM(AT(p, N_sources), i++);
        check_places(x, p, seen, source);
        VAL_EACH (val_at(source, N_downwardAPI, N_items), file)
            check_downward_file(x, AT(at, N_downwardAPI), file);
        if (val_get(source, N_serviceAccountToken))
            check_token(x, AT(at, N_serviceAccountToken), p, val_get(source, N_serviceAccountToken));
        if (val_get(source, N_clusterTrustBundle))
            check_bundle(x, AT(at, N_clusterTrustBundle), val_get(source, N_clusterTrustBundle));
        if (val_get(source, N_podCertificate))
            check_certificate(x, AT(at, N_podCertificate), val_get(source, N_podCertificate));
        if (val_len(source) > 1)
            say_forbidden(x, at, "may not specify more than 1 volume type per source");
    }
}

/* ---- the volume ---------------------------------------------------------------------------------------- */

static void check_created_claim(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str pod = val_getstr(x->pod_meta, N_name),
               claim = val_getstr(val_get(v, N_persistentVolumeClaim), N_claimName);
    if (!pod.n || !claim.n)
        return;
    VAL_EACH (val_get(x->pod, N_volumes), other) {
        struct str name = val_getstr(other, N_name);
        if (val_get(other, N_ephemeral) && claim.n == pod.n + 1 + name.n && str_starts(claim, pod) &&
            str_ends(claim, name) && claim.p[pod.n] == '-')
            say_invalid_str(x, AT(AT(p, N_persistentVolumeClaim), N_claimName), claim,
                            "must not reference a PVC that gets created for an ephemeral volume");
    }
}

static void rule_volume(struct validation *x, const struct vpath *p, const struct val *v,
                        const struct val *old)
{
    unsigned n = 0;
    bool has_empty_dir = val_get(v, N_emptyDir) != NULL;
    VAL_EACH_MEMBER (v, m)
        if (m->name != N_name && m->name != N_emptyDir && (n++ || has_empty_dir))
            say_forbidden(x, AT(p, m->name), "may not specify more than 1 volume type");
    if (!n && !has_empty_dir)
        say_required(x, p, "must specify a volume type");
    check_created_claim(x, p, v);
    struct str pod = val_getstr(x->pod_meta, N_name), name = val_getstr(v, N_name);
    if (val_get(v, N_ephemeral) && pod.n && name.n) {
        struct str claim = arena_printf(x->s->arena, STR_FMT "-" STR_FMT, STR_ARG(pod), STR_ARG(name));
        if (check_dns_subdomain(claim))
            say_invalid_str(x, AT(p, N_name), name,
                            "the name of the Pod and of the volume make no name for a claim");
    }
}

const struct rule rules_volume[] = {
    {T_core_v1_AzureDiskVolumeSource, 0, rule_azure_disk},
    {T_core_v1_CSIVolumeSource, RULE_OWN, rule_csi},
    {T_core_v1_ClusterTrustBundleProjection, RULE_OWN, NULL},
    {T_core_v1_ConfigMapProjection, 0, rule_named_source},
    {T_core_v1_ConfigMapVolumeSource, 0, rule_named_source},
    {T_core_v1_DownwardAPIProjection, RULE_OWN, NULL},
    {T_core_v1_DownwardAPIVolumeFile, RULE_OWN, NULL},
    {T_core_v1_DownwardAPIVolumeSource, 0, rule_downward},
    {T_core_v1_EmptyDirVolumeSource, 0, rule_empty_dir},
    {T_core_v1_FCVolumeSource, 0, rule_fc},
    {T_core_v1_GitRepoVolumeSource, 0, rule_git_repo},
    {T_core_v1_HostPathVolumeSource, RULE_OWN, rule_host_path},
    {T_core_v1_ISCSIPersistentVolumeSource, 0, rule_iscsi},
    {T_core_v1_ISCSIVolumeSource, 0, rule_iscsi},
    {T_core_v1_ImageVolumeSource, 0, rule_image},
    {T_core_v1_KeyToPath, 0, rule_key_to_path},
    {T_core_v1_NFSVolumeSource, 0, rule_nfs},
    {T_core_v1_ProjectedVolumeSource, 0, rule_projected},
    {T_core_v1_ConfigMapKeySelector, 0, rule_key_selector},
    {T_core_v1_WeightedPodAffinityTerm, 0, rule_weighted},
    {T_core_v1_SecretKeySelector, 0, rule_key_selector},
    {T_core_v1_QuobyteVolumeSource, RULE_OWN, rule_quobyte},
    {T_core_v1_StorageOSVolumeSource, RULE_OWN, rule_storage_os},
    {T_core_v1_StorageOSPersistentVolumeSource, RULE_OWN, rule_storage_os},
    {T_core_v1_SecretProjection, 0, rule_named_source},
    {T_core_v1_SecretVolumeSource, 0, rule_secret_volume},
    {T_core_v1_ServiceAccountTokenProjection, RULE_OWN, NULL},
    {T_core_v1_Volume, 0, rule_volume},
    {0, 0, NULL},
};
