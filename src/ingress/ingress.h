/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Ingress controller: follows Ingresses of its classes (spec.controller cube.dev/ingress), their Services, endpoints and the
 * Secrets they name, and serves them. Listens only while there is such an Ingress.
 */
#pragma once

#include "client/client.h"

struct ingress_config {
    struct client *client;
    const char *http, *https;           /* see plane.h; NULL: none */
    int64_t public_https_port;          /* 0: that of https */
    int64_t header_timeout;             /* see plane.h */
    int64_t threads;                    /* 0: one a processor, at most 8 */
    const char *const *publish;         /* addresses or names for status.loadBalancer; NULL-terminated */
    const char *trusted_proxies;        /* ranges; NULL: none */
    const char *access_log;             /* file; NULL: none */
    const char *metrics;                /* address of /metrics, /healthz and /readyz; NULL: none */
    const char *node_name;              /* of events */
};

/* Until this fiber is cancelled. */
int ingress_run(const struct ingress_config *config, struct err *e);
int ingress_main(int argc, char **argv);
