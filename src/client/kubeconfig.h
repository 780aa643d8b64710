/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubeconfig files: loading and merging as client-go does (the first file that names a thing wins), and the
 * client that a context describes. Values are OBJs of type kubeconfig.v1.Config.
 */
#pragma once

#include "client/https.h"

/* The files to read: explicit (--kubeconfig) alone, else $KUBECONFIG's list, else ~/.kube/config; where none
 * of them exists, /etc/kubernetes/admin.conf when it can be read. Paths in the arena, NULL-terminated. */
const char *const *kubeconfig_paths(struct arena *a, const char *explicit);
/* Merged. A missing explicit file is an error, other missing files are not. Certificate and token file names
 * that are relative become absolute by their file's folder. */
int kubeconfig_load(struct arena *a, const char *explicit, struct val **ret, struct err *e);

/* What the command line may say over the file. NULL: as in the file. */
struct kubeconfig_overrides {
    const char *context, *cluster, *user, *namespace_, *server, *token, *ca_file, *cert_file, *key_file,
        *server_name;
    const char *as_user, *as_uid;
    const struct str *as_groups;
    size_t n_as_groups;
    bool insecure;
    int64_t timeout_ns;
};
/* The connection that a context (the current one, or that of the overrides) describes. exec credential
 * plug-ins are run. Texts in the arena. *ret_namespace: the context's, "default" when none. In a pod without
 * any file: the service account's. */
int kubeconfig_resolve(struct arena *a, const struct val *config, const struct kubeconfig_overrides *o,
                       struct https_config *ret, struct str *ret_namespace, struct err *e);
/* All in one for daemons: --kubeconfig FILE (NULL: as kubeconfig_paths). */
int kubeconfig_client(const char *file, const char *user_agent, struct client **ret, struct err *e);
