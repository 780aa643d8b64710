/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/pods.h"
#include "cli/request.h"

#include "base/fiber.h"
#include "base/os.h"
#include "names.h"
#include "net/remotecommand.h"
#include "net/resolve.h"
#include "resources.h"
#include "type/meta.h"

#include <stdio.h>

struct forward {
    uint16_t local, remote; /* local 0: any */
};

struct forwarding {
    struct cli *c;
    struct val *pod;
    struct forward *ports;
    size_t n;
    struct pf_session *session;
    unsigned listening;
};

/* ---- ports ----------------------------------------------------------------------------------------------------- */

static const struct val *port_named(const struct val *list, struct str name)
{
    VAL_EACH(list, v)
    {
        if (str_eq(val_getstr(v, N_name), name))
            return v;
    }
    return NULL;
}

static int container_port(struct cli *c, const struct val *pod, struct str name, int64_t *ret)
{
    VAL_EACH(val_at(pod, N_spec, N_containers), container)
    {
        const struct val *p = port_named(val_get(container, N_ports), name);
        if (p) {
            *ret = val_int(val_get(p, N_containerPort), 0);
            return 0;
        }
    }
    return cli_fail(c, "Pod '" STR_FMT "' does not have a named port '" STR_FMT "'", STR_ARG(obj_name(pod)), STR_ARG(name));
}

/* The pod's port behind a service's. */
static int service_port(struct cli *c, const struct val *svc, const struct val *pod, struct str text, int64_t *ret_port,
                        int64_t *ret_target)
{
    const struct val *ports = val_at(svc, N_spec, N_ports), *found = NULL;
    int64_t n;
    if (str_to_i64(text, &n) < 0)
        found = port_named(ports, text);
    else
        VAL_EACH(ports, p)
            if (val_int(val_get(p, N_port), 0) == n)
                found = p;
    if (!found)
        return cli_fail(c, "Service " STR_FMT " does not have a service port " STR_FMT, STR_ARG(obj_name(svc)), STR_ARG(text));
    if (str_is(val_getstr(found, N_protocol), "UDP"))
        return cli_fail(c, "UDP protocol is not supported for " STR_FMT, STR_ARG(text));
    *ret_port = val_int(val_get(found, N_port), 0);
    const struct val *target = val_get(found, N_targetPort);
    if (str_is(val_str(val_at(svc, N_spec, N_clusterIP)), "None") && !target)
        *ret_target = *ret_port;
    else if (val_is(target, VAL_INT) && target->i)
        *ret_target = target->i;
    else if (val_is(target, VAL_STR))
        return container_port(c, pod, val_str(target), ret_target);
    else
        *ret_target = *ret_port;
    return 0;
}

static bool is_port(int64_t n, int64_t least)
{
    return n >= least && n <= 65535;
}

/* "8080", "8080:80", ":80", "8080:http" */
static int parse_port(struct cli *c, const struct val *svc, const struct val *pod, const char *arg, struct forward *ret)
{
    struct str local, remote;
    int64_t l = 0, r = 0, shown = 0;
    bool two = str_cut(str_of(arg), ':', &local, &remote);
    if (!two)
        remote = local;
    if (!remote.n || str_find(remote, ':') >= 0)
        return cli_fail(c, "%s", remote.n ? cli_printf(c, "invalid port format '%s'", arg).p : "remote port cannot be empty");
    int code = 0;
    if (svc)
        code = service_port(c, svc, pod, remote, &shown, &r);
    else if (str_to_i64(remote, &r) < 0)
        code = container_port(c, pod, remote, &r);
    if (code)
        return code;
    if (!svc)
        shown = r;
    if (two && local.n && str_to_i64(local, &l) < 0)
        return cli_fail(c, "error parsing local port '" STR_FMT "': invalid syntax", STR_ARG(local));
    if (!two)
        l = shown;
    if (!is_port(r, 1))
        return cli_fail(c, "remote port must be > 0");
    if (!is_port(l, 0))
        return cli_fail(c, "error parsing local port '" STR_FMT "': value out of range", STR_ARG(local));
    *ret = (struct forward){(uint16_t)l, (uint16_t)r};
    return 0;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

struct listener {
    struct forwarding *f;
    int fd;
    struct forward port;
};
struct connection {
    struct forwarding *f;
    int fd;
    struct forward port;
};

struct fault {
    struct cli *c;
    struct pf_pair *pair;
    struct forward port;
};

static void read_fault(void *arg)
{
    struct fault *x = arg;
    struct buf b CLEANUP_BUF = BUF_INIT;
    ssize_t n;
    while (b.n < 4096 && (n = stream_read(x->pair->error, buf_grow(&b, 1024), 1024, MONO_NEVER)) > 0)
        b.n += (size_t)n;
    if (b.n)
        cli_note(x->c, "error: an error occurred forwarding %u -> %u: " STR_FMT, x->port.local, x->port.remote,
                 STR_ARG(str_trim(buf_str(&b))));
}

static void serve_connection(void *arg)
{
    struct connection *x = arg;
    struct cli *c = x->f->c;
    struct stream *local = stream_of_fd(x->fd);
    struct pf_pair pair = {0};
    struct group faults = {0};
    struct fault fault = {c, &pair, x->port};
    int r = pf_open(x->f->session, x->port.remote, mono_add(os_mono(), SECONDS(30)), &pair);
    if (r < 0) {
        cli_note(c, "error: error creating forwarding stream for port %u -> %u: %s", x->port.local, x->port.remote, strerror(-r));
    } else {
        group_spawn(&faults, "fault", read_fault, &fault);
        stream_splice(local, pair.data, 0);
        stream_abort(pair.error);
        group_stop(&faults);
        pf_pair_done(&pair);
    }
    stream_free(local);
    free(x);
}

static void accept_all(void *arg)
{
    struct listener *l = arg;
    for (;;) {
        int fd = os_accept(l->fd, NULL, 0, MONO_NEVER);
        if (fd < 0)
            return;
        cli_print(l->f->c, "Handling connection for %u\n", l->port.local);
        cli_flush(l->f->c);
        struct connection *x = NEW(struct connection);
        *x = (struct connection){l->f, fd, l->port};
        fiber_spawn("forward", serve_connection, x);
    }
}

static bool listen_at(struct forwarding *f, const char *host, struct forward *port, bool quiet)
{
    struct err e = {0};
    char text[64];
    const char *address = net_join(&f->c->a, host, port->local);
    int fd = os_listen(address, &e);
    if (fd < 0) {
        if (!quiet)
            cli_note(f->c, "Unable to listen on port %u: %s", port->local, err_text(&e, fd));
        return false;
    }
    char *real_host;
    if (os_local_address(fd, text, sizeof(text)) == 0)
        net_split(&f->c->a, str_of(text), &real_host, &port->local);
    cli_print(f->c, "Forwarding from %s -> %u\n", net_join(&f->c->a, host, port->local), port->remote);
    struct listener *l = NEW(struct listener);
    *l = (struct listener){f, fd, *port};
    fiber_spawn("listen", accept_all, l);
    f->listening++;
    return true;
}

static int listen_all(struct forwarding *f, const struct flag_list *addresses)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t k = 0; k < addresses->n; k++) {
            const char *a = addresses->items[k];
            if (strcmp(a, "localhost")) {
                listen_at(f, a, &f->ports[i], false);
                continue;
            }
            bool v4 = listen_at(f, "127.0.0.1", &f->ports[i], false);
            listen_at(f, "::1", &f->ports[i], v4);
        }
    }
    cli_flush(f->c);
    return f->listening ? 0 : cli_fail(f->c, "unable to listen on any of the requested ports");
}

static int connect_pod(struct forwarding *f)
{
    struct cli *c = f->c;
    struct http_header *headers;
    struct http_call *call = NULL;
    struct err e = {0};
    struct str path = request_path(c, kind_at(c, RES_PODS), obj_namespace(f->pod), obj_name(f->pod), "portforward");
    struct http_request r = {.url = https_url(c->client, &c->a, path.p)};
    r.n_headers = https_headers(c->client, &c->a, &headers);
    r.headers = headers;
    int x = pf_connect(https_pool(c->client), &r, true, mono_add(os_mono(), SECONDS(60)), &f->session, &call, &e);
    if (x == 0)
        return 0;
    if (x < 0)
        return cli_fail(c, "error upgrading connection: %s", err_text(&e, x));
    struct str body = STR_NULL;
    http_call_read_all(call, 1 << 20, mono_add(os_mono(), SECONDS(10)), &body);
    return cli_fail(c, "error upgrading connection: %d %s: " STR_FMT, call->status, http_status_text(call->status),
                    STR_ARG(str_trim(body)));
}

int cmd_port_forward(struct cli *c, int argc, char **argv)
{
    struct flag_list addresses = {0};
    static const char *local[] = {"localhost"};
    struct forwarding f = {.c = c};
    const struct kind *k;
    struct val *v;
    int64_t timeout = SECONDS(60);
    struct flag flags[] = {
        {"address", 0, FLAG_STRINGS, &addresses, "Addresses to listen at (default localhost)"},
        {"pod-running-timeout", 0, FLAG_DURATION, &timeout, "How long to wait for a pod of a workload"},
        NO_FLAGS,
    };
    int r = cli_parse(c, flags, &argc, argv, NULL);
    if (r)
        return r;
    if (argc < 3)
        return cli_usage(c, "TYPE/NAME and list of ports are required for port-forward");
    r = cli_client(c);
    if (r == 0)
        r = pod_owner(c, argv[1], NULL, &k, &v);
    if (r == 0)
        r = pod_of(c, k, v, POD_ATTACH, timeout, "attach to", &f.pod, NULL);
    if (r)
        return r;
    const struct val *svc = k->res->index == RES_SERVICES ? v : NULL;
    f.n = (size_t)(argc - 2);
    f.ports = ARENA_ARRAY(&c->a, struct forward, f.n);
    for (size_t i = 0; r == 0 && i < f.n; i++)
        r = parse_port(c, svc, f.pod, argv[i + 2], &f.ports[i]);
    struct str phase = val_str(val_at(f.pod, N_status, N_phase));
    if (r == 0 && !str_is(phase, "Running"))
        r = cli_fail(c, "unable to forward port because pod is not running. Current status=" STR_FMT, STR_ARG(phase));
    if (r == 0)
        r = connect_pod(&f);
    if (r == 0)
        r = listen_all(&f, addresses.n ? &addresses : &(struct flag_list){local, 1});
    if (r)
        return r;
    pf_wait_gone(f.session, MONO_NEVER);
    return cli_fail(c, "lost connection to pod");
}
