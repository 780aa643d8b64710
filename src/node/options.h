/* SPDX-License-Identifier: Apache-2.0 */
/* The kubelet's flags and configuration file, as upstream's program takes them. Private to this folder and its tests. */
#pragma once

#include "base/log.h"
#include "base/arena.h"
#include "base/err.h"
#include "node/kubelet.h"

struct kubelet_options {
    struct arena arena;
    struct kubelet_config config; /* complete but for client, runtime and host */
    const char *kubeconfig;       /* NULL: no API server */
    const char *bootstrap;        /* to make that file with, when it is not there; NULL: none */
    const char *cert_dir;
    bool rotate_client, rotate_server;
    struct log_config log;
    bool version;
};

/* Reads flags, then the file they name, whose values flags override. 0; FLAGS_HELP; or -EINVAL with a sentence that
 * names what is wrong. */
int kubelet_options_read(struct kubelet_options *o, int argc, char **argv, struct err *e);
void kubelet_options_done(struct kubelet_options *o);
/* The help text. */
void kubelet_options_help(struct buf *b);
