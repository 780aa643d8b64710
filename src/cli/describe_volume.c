/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes and their sources: one table. */
#include "cli/describe.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/quantity.h"

enum part_kind { P_TEXT, P_BOOL, P_NUMBER, P_JOIN };

struct part {
    const char *label; /* with its colon, as upstream writes it */
    enum part_kind kind;
    name_id name;
    const char *absent; /* "" unless told otherwise */
};

struct source {
    name_id name; /* of the member */
    const char *type;
    struct part parts[12]; /* ends with label NULL */
};

static const struct source sources[] = {
    {N_hostPath, "HostPath (bare host directory volume)",
     {{"Path:", P_TEXT, N_path, ""}, {"HostPathType:", P_TEXT, N_type, "<none>"}}},
    {N_emptyDir, "EmptyDir (a temporary directory that shares a pod's lifetime)",
     {{"Medium:", P_TEXT, N_medium, ""}, {"SizeLimit:", P_TEXT, N_sizeLimit, "<unset>"}}},
    {N_secret, "Secret (a volume populated by a Secret)",
     {{"SecretName:", P_TEXT, N_secretName, ""}, {"Optional:", P_BOOL, N_optional, NULL}}},
    {N_configMap, "ConfigMap (a volume populated by a ConfigMap)",
     {{"Name:", P_TEXT, N_name, ""}, {"Optional:", P_BOOL, N_optional, NULL}}},
    {N_nfs, "NFS (an NFS mount that lasts the lifetime of a pod)",
     {{"Server:", P_TEXT, N_server, ""}, {"Path:", P_TEXT, N_path, ""}, {"ReadOnly:", P_BOOL, N_readOnly, NULL}}},
    {N_iscsi,
     "ISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then exposed to the pod)",
     {{"TargetPortal:", P_TEXT, N_targetPortal, ""}, {"IQN:", P_TEXT, N_iqn, ""}, {"Lun:", P_NUMBER, N_lun, NULL},
      {"ISCSIInterface", P_TEXT, N_iscsiInterface, ""}, {"FSType:", P_TEXT, N_fsType, ""}, {"ReadOnly:", P_BOOL, N_readOnly, NULL},
      {"InitiatorName:", P_TEXT, N_initiatorName, "<none>"}}},
    {N_persistentVolumeClaim, "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
     {{"ClaimName:", P_TEXT, N_claimName, ""}, {"ReadOnly:", P_BOOL, N_readOnly, NULL}}},
    {N_gcePersistentDisk, "GCEPersistentDisk (a Persistent Disk resource in Google Compute Engine)",
     {{"PDName:", P_TEXT, N_pdName, ""}, {"FSType:", P_TEXT, N_fsType, ""}, {"Partition:", P_NUMBER, N_partition, NULL},
      {"ReadOnly:", P_BOOL, N_readOnly, NULL}}},
    {N_awsElasticBlockStore, "AWSElasticBlockStore (a Persistent Disk resource in AWS)",
     {{"VolumeID:", P_TEXT, N_volumeID, ""}, {"FSType:", P_TEXT, N_fsType, ""}, {"Partition:", P_NUMBER, N_partition, NULL},
      {"ReadOnly:", P_BOOL, N_readOnly, NULL}}},
    {N_gitRepo, "GitRepo (a volume that is pulled from git when the pod is created)",
     {{"Repository:", P_TEXT, N_repository, ""}, {"Revision:", P_TEXT, N_revision, ""}}},
    {N_local, "LocalVolume (a persistent volume backed by local storage on a node)", {{"Path:", P_TEXT, N_path, ""}}},
    {N_fc, "FC (a Fibre Channel disk)",
     {{"TargetWWNs:", P_JOIN, N_targetWWNs, ""}, {"LUN:", P_TEXT, N_lun, "<none>"}, {"FSType:", P_TEXT, N_fsType, ""},
      {"ReadOnly:", P_BOOL, N_readOnly, NULL}}},
    {N_image, "Image (a container image or OCI artifact)",
     {{"Reference:", P_TEXT, N_reference, ""}, {"PullPolicy:", P_TEXT, N_pullPolicy, ""}}},
    {N_azureFile, "AzureFile (an Azure File Service mount on the host and bind mount to the pod)",
     {{"SecretName:", P_TEXT, N_secretName, ""}, {"ShareName:", P_TEXT, N_shareName, ""}, {"ReadOnly:", P_BOOL, N_readOnly, NULL}}},
    {N_cinder, "Cinder (a Persistent Disk resource in OpenStack)",
     {{"VolumeID:", P_TEXT, N_volumeID, ""}, {"FSType:", P_TEXT, N_fsType, ""}, {"ReadOnly:", P_BOOL, N_readOnly, NULL}}},
    {N_flexVolume, "FlexVolume (a generic volume resource that is provisioned/attached using an exec based plugin)",
     {{"Driver:", P_TEXT, N_driver, ""}, {"FSType:", P_TEXT, N_fsType, ""}, {"ReadOnly:", P_BOOL, N_readOnly, NULL}}},
};

static struct str part_text(struct desc *d, const struct part *p, const struct val *v)
{
    if (p->kind == P_BOOL)
        return val_bool(v, false) ? STR("true") : STR("false");
    if (p->kind == P_NUMBER)
        return cli_printf(d->c, "%lld", (long long)val_int(v, 0));
    if (p->kind == P_JOIN)
        return desc_join(d, v, ", ");
    return v ? desc_text(d, v) : str_of(p->absent);
}

static void put_parts(struct desc *d, const struct val *source, const struct part *parts)
{
    for (const struct part *p = parts; p->label; p++)
        desc_put(d, 2, "%s\t" STR_FMT "\n", p->label, STR_ARG(part_text(d, p, val_get(source, p->name))));
}

static void put_projected(struct desc *d, const struct val *projected)
{
    desc_put(d, 2, "Type:\tProjected (a volume that contains injected data from multiple sources)\n");
    VAL_EACH(val_get(projected, N_sources), s)
    {
        const struct val *secret = val_get(s, N_secret), *map = val_get(s, N_configMap), *token = val_get(s, N_serviceAccountToken);
        const struct val *named = secret ? secret : map;
        if (named) {
            desc_put(d, 2, "%s:\t" STR_FMT "\n", secret ? "SecretName" : "ConfigMapName", STR_ARG(val_getstr(named, N_name)));
            desc_put(d, 2, "Optional:\t%s\n", val_bool(val_get(named, N_optional), false) ? "true" : "false");
        } else if (val_get(s, N_downwardAPI)) {
            desc_put(d, 2, "DownwardAPI:\ttrue\n");
        } else if (token) {
            desc_put(d, 2, "TokenExpirationSeconds:\t%lld\n", (long long)val_int(val_get(token, N_expirationSeconds), 3600));
        }
    }
}

static void put_downward(struct desc *d, const struct val *source)
{
    desc_put(d, 2, "Type:\tDownwardAPI (a volume populated by information about the pod)\n    Items:\n");
    VAL_EACH(val_get(source, N_items), v)
    {
        struct str from = val_str(val_at(v, N_fieldRef, N_fieldPath));
        if (!from.n)
            from = val_str(val_at(v, N_resourceFieldRef, N_resource));
        desc_put(d, 3, STR_FMT " -> " STR_FMT "\n", STR_ARG(from), STR_ARG(val_getstr(v, N_path)));
    }
}

static void put_csi(struct desc *d, const struct val *csi, bool persistent)
{
    bool first = true;
    desc_put(d, 2, "Type:\tCSI (a Container Storage Interface (CSI) volume source)\n");
    desc_put(d, 2, "Driver:\t" STR_FMT "\n", STR_ARG(val_getstr(csi, N_driver)));
    desc_put(d, 2, "FSType:\t" STR_FMT "\n", STR_ARG(val_getstr(csi, N_fsType)));
    if (persistent)
        desc_put(d, 2, "VolumeHandle:\t" STR_FMT "\n", STR_ARG(val_getstr(csi, N_volumeHandle)));
    desc_put(d, 2, "ReadOnly:\t%s\n", val_bool(val_get(csi, N_readOnly), false) ? "true" : "false");
    desc_put(d, 2, "VolumeAttributes:\t");
    VAL_EACH_ENTRY(val_get(csi, N_volumeAttributes), k, v)
    {
        desc_put(d, first ? 0 : 2, "%s" STR_FMT "=" STR_FMT "\n", first ? "" : "    \t", STR_ARG(val_str(k)), STR_ARG(val_str(v)));
        first = false;
    }
    if (first)
        desc_put(d, 0, "<none>\n");
}

static const char *storage_class(const struct val *claim)
{
    struct str old = obj_annotation(claim, STR("volume.beta.kubernetes.io/storage-class"));
    return old.n ? old.p : val_cstr(val_at(claim, N_spec, N_storageClassName));
}

static void put_claim_labels(struct desc *d, unsigned level, const struct val *claim)
{
    struct buf indent CLEANUP_BUF = BUF_INIT;
    for (unsigned i = 0; i < level; i++)
        buf_puts(&indent, "  ");
    desc_labels(d, indent.n ? indent.p : "", "Labels", obj_labels(claim));
    desc_put(d, level, "%s", "");
    desc_annotations(d, "Annotations", val_at(claim, N_metadata, N_annotations));
}

void desc_claim(struct desc *d, const struct val *claim, bool whole, unsigned level)
{
    const struct val *spec = val_get(claim, N_spec), *status = val_get(claim, N_status), *source = val_get(spec, N_dataSource);
    bool bound = val_getstr(spec, N_volumeName).n > 0;
    if (whole) {
        desc_put(d, level, "Name:\t" STR_FMT "\n", STR_ARG(obj_name(claim)));
        desc_put(d, level, "Namespace:\t" STR_FMT "\n", STR_ARG(obj_namespace(claim)));
    }
    desc_put(d, level, "StorageClass:\t%s\n", storage_class(claim));
    if (whole && obj_deleting(claim))
        desc_put(d, level, "Status:\tTerminating (lasts " STR_FMT ")\n",
                 STR_ARG(desc_age(d, val_at(claim, N_metadata, N_deletionTimestamp))));
    else if (whole)
        desc_put(d, level, "Status:\t" STR_FMT "\n", STR_ARG(val_getstr(status, N_phase)));
    desc_put(d, level, "Volume:\t" STR_FMT "\n", STR_ARG(val_getstr(spec, N_volumeName)));
    put_claim_labels(d, level, claim);
    if (whole)
        desc_put(d, level, "Finalizers:\t[" STR_FMT "]\n", STR_ARG(desc_join(d, val_at(claim, N_metadata, N_finalizers), " ")));
    const struct val *storage = bound ? val_key(val_get(status, N_capacity), STR("storage")) : NULL;
    desc_put(d, level, "Capacity:\t" STR_FMT "\n", STR_ARG(desc_text(d, storage)));
    desc_put(d, level, "Access Modes:\t" STR_FMT "\n", STR_ARG(bound ? access_modes(d, val_get(status, N_accessModes)) : STR("")));
    if (val_get(spec, N_volumeMode))
        desc_put(d, level, "VolumeMode:\t" STR_FMT "\n", STR_ARG(val_getstr(spec, N_volumeMode)));
    static const struct desc_row source_rows[] = {{0, "DataSource:", ROW_TITLE, AT(N_name), NULL},
                                                  {1, "APIGroup:", ROW_TEXT, AT(N_apiGroup), NULL},
                                                  {1, "Kind:", ROW_TEXT, AT(N_kind), ""},
                                                  {1, "Name:", ROW_TEXT, AT(N_name), ""},
                                                  {0}};
    if (source)
        desc_rows(d, source, source_rows);
}

static void put_ephemeral(struct desc *d, const struct val *source)
{
    const struct val *template = val_get(source, N_volumeClaimTemplate);
    desc_put(d, 2, "Type:\tEphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)\n");
    if (template)
        desc_claim(d, template, false, 2);
}

void desc_volume_source(struct desc *d, const struct val *source, bool persistent)
{
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        const struct val *v = val_get(source, sources[i].name);
        if (!v)
            continue;
        desc_put(d, 2, "Type:\t%s\n", sources[i].type);
        put_parts(d, v, sources[i].parts);
        return;
    }
    if (val_get(source, N_projected))
        put_projected(d, val_get(source, N_projected));
    else if (val_get(source, N_downwardAPI))
        put_downward(d, val_get(source, N_downwardAPI));
    else if (val_get(source, N_csi))
        put_csi(d, val_get(source, N_csi), persistent);
    else if (val_get(source, N_ephemeral))
        put_ephemeral(d, val_get(source, N_ephemeral));
    else
        desc_put(d, 1, "<unknown>\n");
}

void desc_volumes(struct desc *d, const struct val *volumes, const char *space)
{
    desc_put(d, 0, "%sVolumes:%s\n", space, val_len(volumes) ? "" : "\t<none>");
    VAL_EACH(volumes, v)
    {
        desc_put(d, 1, "%s" STR_FMT ":\n", space[0] ? " " : "", STR_ARG(val_getstr(v, N_name)));
        desc_volume_source(d, v, false);
    }
}
