/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plug-ins that register themselves with a socket in <root>/plugins_registry
 * (pluginregistration.Registration): CSI drivers, DRA drivers, device plug-ins. Each type has a handler; the
 * watching is the same for all.
 */
#pragma once

#include "base/err.h"
#include "wire/value.h"

struct kubelet;

struct plugin_handler {
    const char *type; /* "CSIPlugin" */
    /* 0, or an error whose sentence goes back to the plug-in; tried again later. versions: LIST of STR. May
     * wait. */
    int (*registered)(struct kubelet *k, struct str name, struct str endpoint, const struct val *versions,
                      struct err *e);
    /* Its socket was removed or made anew. May wait. */
    void (*gone)(struct kubelet *k, struct str name, struct str endpoint);
};

extern const struct plugin_handler csi_plugin_handler;

void plugins_run(void *kubelet); /* a fiber */
