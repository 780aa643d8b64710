/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one binary. It is told what to be by its first argument (`cube apiserver`) or by the name it was called by: a
 * link named kubectl, kubelet, kube-apiserver ... behaves as upstream's program of that name.
 */
#include "adm/adm.h"
#include "announce/announce.h"
#include "apiserver/server.h"
#include "cli/kubectl.h"
#include "cni/cni.h"
#include "controllers/engine.h"
#include "dns/dns.h"
#include "ingress/ingress.h"
#include "node/kubelet.h"
#include "overlay/overlay.h"
#include "policy/policy.h"
#include "proxy/proxy.h"
#include "scheduler/scheduler.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>

static int version_main(int argc UNUSED, char **argv UNUSED)
{
    puts("Cube " CUBE_VERSION " (Kubernetes v1.37)");
    return 0;
}

static const struct command {
    const char *name, *upstream; /* the link's name; NULL for none */
    int (*main)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"up", NULL, up_main, "Start a cluster on this machine: everything in one process beside containerd"},
    {"down", NULL, down_main, "Stop it; pods go on running unless told otherwise"},
    {"status", NULL, status_main, "Say how the cluster on this machine is"},
    {"node", NULL, node_main, "Further nodes on this machine: cube node add|remove|stop|start|list"},
    {"image", NULL, image_main, "Import images from archives: cube image import FILE..."},
    {"kubectl", "kubectl", kubectl_main, "Talk to a cluster"},
    {"apiserver", "kube-apiserver", apiserver_main, "The API server alone"},
    {"controller-manager", "kube-controller-manager", controller_manager_main, "The controllers alone"},
    {"scheduler", "kube-scheduler", scheduler_main, "The scheduler alone"},
    {"kubelet", "kubelet", kubelet_main, "The node agent alone"},
    {"proxy", "kube-proxy", proxy_main, "The service proxy alone"},
    {"dns", "coredns", dns_main, "The cluster DNS server alone"},
    {"overlay", NULL, overlay_main, "The network between pods of different nodes alone"},
    {"ingress", NULL, ingress_main, "The Ingress controller alone"},
    {"announce", NULL, announce_main, "Addresses of load balancers on a node's links alone"},
    {"policy", NULL, policy_main, "Network policies of a node alone"},
    {"cni", "cube-cni", cni_main, "The CNI plug-in: run by container runtimes"},
    {"version", NULL, version_main, "Print the version"},
};

/* Programs of more than one name. */
static const char *const cni_links[] = {"bridge", "host-local", "portmap", "bandwidth", "loopback", "flannel"};

static const struct command *find_command(const char *name, bool by_link)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const char *own = by_link ? commands[i].upstream : commands[i].name;
        if (own && !strcmp(own, name))
            return &commands[i];
    }
    for (size_t i = 0; by_link && i < ARRAY_SIZE(cni_links); i++)
        if (!strcmp(cni_links[i], name))
            return find_command("cni", false);
    return NULL;
}

static int usage(FILE *to, int code)
{
    fputs("Cube is Kubernetes in one small binary.\n\nUsage:\n  cube COMMAND [flags]\n\nCommands:\n", to);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        fprintf(to, "  %-20s %s\n", commands[i].name, commands[i].help);
    fputs("\n\"cube COMMAND --help\" tells the flags of a command.\n", to);
    return code;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a peer that goes away is an error code, not the end of us */
    mallopt(M_ARENA_MAX, 1);  /* one loop thread allocates; more arenas only cost memory */
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    const struct command *c = argc > 0 ? find_command(base_name(argv[0]), true) : NULL;
    if (c)
        return c->main(argc, argv);
    if (argc < 2)
        return usage(stderr, 2);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return usage(stdout, 0);
    c = find_command(argv[1], false);
    if (!c) {
        fprintf(stderr, "cube: unknown command \"%s\"; \"cube help\" lists them\n", argv[1]);
        return 2;
    }
    return c->main(argc - 1, argv + 1);
}
