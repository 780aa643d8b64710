/* SPDX-License-Identifier: Apache-2.0 */
/* kube-scheduler as a program. */
#include "scheduler/scheduler.h"

#include "client/daemon.h"

struct options {
    struct daemon_flags common;
    struct scheduler_config config;
    const char *config_file;
};

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    if (o->config_file)
        return err_set(e, -EINVAL, "--config %s: configuration files are not read yet", o->config_file);
    o->config.client = c;
    return scheduler_run(&o->config, e);
}

int scheduler_main(int argc, char **argv)
{
    struct options o = {0};
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"config", 0, FLAG_STRING, &o.config_file, "configuration file (not there yet)"},
        {"scheduler-name", 0, FLAG_STRING, &o.config.name, "pods with this schedulerName (default-scheduler)"},
        {"authentication-kubeconfig", 0, FLAG_IGNORED, NULL, NULL},
        {"authorization-kubeconfig", 0, FLAG_IGNORED, NULL, NULL},
        {"bind-address", 0, FLAG_IGNORED, NULL, NULL},
        {"secure-port", 0, FLAG_IGNORED, NULL, NULL},
        {"leader-elect", 0, FLAG_IGNORED_BOOL, NULL, NULL},
        {0},
    };
    struct daemon d = {"kube-scheduler", "Finds a node for every pod.", flags, &o.common, run, &o};
    return daemon_main(&d, argc, argv);
}
