/* SPDX-License-Identifier: Apache-2.0 */
/* create with subcommands: what they share. Each makes one object from its flags. */
#pragma once

#include "cli/gen.h"

struct creation {
    struct cli *c;
    struct write w;
    bool save;
    const struct kind *kind;
    struct str name;
    struct val *v; /* an OBJ with kind and metadata, to be filled in */
    /* what stood behind "--" */
    char **rest;
    size_t n_rest;
};
#define CREATE_FLAGS(x)                                                                                      \
    WRITE_FLAGS(&(x)->w),                                                                                    \
    {                                                                                                        \
        "save-config", 0, FLAG_BOOL, &(x)->save, "Keep the configuration in an annotation, for a later apply" \
    }

/* Parses, takes the one NAME, and makes the object. required: names of flags, ends with NULL; may be NULL. 0 or 1. */
int create_begin(struct creation *x, unsigned res, struct flag *flags, const char *const *required, int argc, char **argv);
/* Sends and prints the object. failed: what a refusal is prefixed with, or NULL. */
int create_end(struct creation *x, const char *failed);

/* create_*.c */
int cmd_create_namespace(struct cli *c, int argc, char **argv);
int cmd_create_serviceaccount(struct cli *c, int argc, char **argv);
int cmd_create_quota(struct cli *c, int argc, char **argv);
int cmd_create_priorityclass(struct cli *c, int argc, char **argv);
int cmd_create_pdb(struct cli *c, int argc, char **argv);
int cmd_create_token(struct cli *c, int argc, char **argv);
int cmd_create_deployment(struct cli *c, int argc, char **argv);
int cmd_create_job(struct cli *c, int argc, char **argv);
int cmd_create_cronjob(struct cli *c, int argc, char **argv);
int cmd_create_configmap(struct cli *c, int argc, char **argv);
int cmd_create_secret_generic(struct cli *c, int argc, char **argv);
int cmd_create_secret_tls(struct cli *c, int argc, char **argv);
int cmd_create_secret_docker(struct cli *c, int argc, char **argv);
int cmd_create_service_clusterip(struct cli *c, int argc, char **argv);
int cmd_create_service_nodeport(struct cli *c, int argc, char **argv);
int cmd_create_service_loadbalancer(struct cli *c, int argc, char **argv);
int cmd_create_service_externalname(struct cli *c, int argc, char **argv);
int cmd_create_ingress(struct cli *c, int argc, char **argv);
int cmd_create_role(struct cli *c, int argc, char **argv);
int cmd_create_clusterrole(struct cli *c, int argc, char **argv);
int cmd_create_rolebinding(struct cli *c, int argc, char **argv);
int cmd_create_clusterrolebinding(struct cli *c, int argc, char **argv);
