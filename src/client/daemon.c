/* SPDX-License-Identifier: Apache-2.0 */
#include "client/daemon.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/kubeconfig.h"

#include <stdio.h>

struct daemon_call {
    const struct daemon *daemon;
    struct client *client;
    struct err err;
    int r;
    struct waitq ended;
    bool done;
};

static int connect_client(const struct daemon *d, struct client **ret, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct kubeconfig_overrides o = {.server = d->common->master};
    struct https_config c;
    struct val *config;
    struct str ns;
    int r = kubeconfig_load(&a, d->common->kubeconfig, &config, e);
    if (r == 0)
        r = kubeconfig_resolve(&a, config, &o, &c, &ns, e);
    if (r < 0)
        return r;
    c.user_agent = d->name;
    return https_client_new(&c, ret, e);
}

static void run_part(void *arg)
{
    struct daemon_call *c = arg;
    c->r = c->daemon->run(c->daemon->arg, c->client, &c->err);
    c->done = true;
    waitq_wake_all(&c->ended);
}

static void wait_signal(void *arg)
{
    struct daemon_call *c = arg;
    if (os_wait_signal(MONO_NEVER) > 0) {
        c->done = true;
        waitq_wake_all(&c->ended);
    }
}

static void run(void *arg)
{
    struct daemon_call *c = arg;
    struct group g = {0};
    c->r = connect_client(c->daemon, &c->client, &c->err);
    if (c->r < 0)
        return;
    struct serving *serving = NULL;
    struct serving_config s = {.flags = c->daemon->serving, .name = c->daemon->name, .client = c->client, .table = c->daemon->flags};
    if (s.flags && (c->r = serving_start(&s, &serving, &c->err)) < 0) {
        client_free(c->client);
        return;
    }
    group_spawn(&g, "part", run_part, c);
    group_spawn(&g, "signal", wait_signal, c);
    while (!c->done && waitq_wait(&c->ended, MONO_NEVER) == 0)
        ;
    group_stop(&g);
    serving_stop(serving);
    client_free(c->client);
}

const char *daemon_version(void)
{
    return "Kubernetes v1.37.2+cube";
}

int daemon_main(const struct daemon *d, int argc, char **argv)
{
    struct err e = {0};
    int operands;
    int r = flags_parse(d->flags, argc, argv, &operands, NULL, &e);
    if (r == FLAGS_HELP) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        flags_help(d->flags, &b);
        printf("%s\n\nUsage:\n  %s [flags]\n\nFlags:\n%s", d->about, d->name, b.p);
        return 0;
    }
    if (r == 0 && operands)
        r = err_set(&e, -EINVAL, "unknown operand \"%s\"", argv[1]);
    if (r == 0 && d->common->version) {
        puts(daemon_version());
        return 0;
    }
    if (r == 0)
        r = log_configure(&d->common->log, &e);
    if (r == 0 && d->prepare)
        r = d->prepare(d->arg, &e);
    if (r > 0)
        return 0;
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", d->name, err_text(&e, r));
        return 2;
    }
    struct daemon_call c = {.daemon = d};
    loop_run(run, &c);
    if (c.r == 0 || c.r == -ECANCELED)
        return 0;
    fprintf(stderr, "%s: %s\n", d->name, err_text(&c.err, c.r));
    return 1;
}
