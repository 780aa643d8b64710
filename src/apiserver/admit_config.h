/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of admission plugins by file: --admission-control-config-file (AdmissionConfiguration of apiserver.config.k8s.io). Those of
 * PodSecurity; every other plugin that upstream configures by file is refused with a sentence. */
#pragma once

#include "apiserver/podlevels.h"
#include "base/arena.h"
#include "base/err.h"

enum { POD_ENFORCE, POD_AUDIT, POD_WARN, POD_MODES };

struct admit_settings {
    struct arena arena;
    enum pod_level levels[POD_MODES]; /* for namespaces that say nothing */
    const struct val *users, *namespaces, *runtime_classes; /* exempt: lists of texts */
};

int admit_config_load(const char *path, struct admit_settings **ret, struct err *e);
void admit_config_free(struct admit_settings *c); /* NULL is fine */
bool admit_config_lists(const struct val *list, struct str name);
