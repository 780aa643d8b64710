/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of a cluster under one directory, laid out as kubeadm does (/etc/kubernetes/pki), and the
 * kubeconfig files. What exists and is good is kept; what is missing, expired (or soon to), signed by another
 * CA or lacks a name is made anew. A CA key that is missing is no error as long as nothing must be signed.
 *
 *   ca.crt ca.key   front-proxy-ca.crt .key   sa.key sa.pub
 *   apiserver.crt .key   apiserver-kubelet-client.crt .key   front-proxy-client.crt .key
 *
 * Names and groups: kubeadm's (kubernetes-admin in kubeadm:cluster-admins, super-admin in system:masters
 * ...).
 */
#pragma once

#include "auth/x509.h"

struct pki_config {
    const char *dir;                  /* "/etc/kubernetes/pki" */
    const char *const *apiserver_dns; /* SANs besides kubernetes, kubernetes.default ... ; NULL-terminated */
    const char *const *apiserver_ips; /* advertise address, service IP ... */
    const char *dns_domain;           /* "cluster.local" */
    struct wall now;
    int64_t ca_validity;   /* 0: ten years */
    int64_t leaf_validity; /* 0: one year */
    int64_t renew_before;  /* 0: 30 days; what expires sooner is renewed */
};

/* What pki_ensure found and did; one an item of the layout, in order, ends with name NULL. */
struct pki_item {
    const char *name; /* "apiserver" */
    const char
        *reason; /* why it was made anew: "missing", "expires 2026-...", "lacks 10.0.0.1"; NULL: kept */
    struct wall not_after;
};

/* Makes and renews. *ret_items (may be NULL) is in the arena. Waits (disk). */
int pki_ensure(struct arena *a, const struct pki_config *c, struct pki_item **ret_items, struct err *e);
/* Looks only: the same report, nothing written; missing files have not_after 0. */
int pki_check(struct arena *a, const struct pki_config *c, struct pki_item **ret_items, struct err *e);

/* A client certificate signed by dir/ca.*, as PEM in the arena (kubelets, users). */
int pki_client_cert(struct arena *a, const struct pki_config *c, const char *cn, const char *const *orgs,
                    struct str *ret_cert_pem, struct str *ret_key_pem, struct err *e);

struct pki_kubeconfig {
    const char *path;    /* file to write, mode 0600 */
    const char *cluster; /* "kubernetes" */
    const char *server;  /* "https://10.0.0.1:6443" */
    const char *cn;      /* "kubernetes-admin" */
    const char *const *orgs;
    struct str ca_pem; /* empty: dir/ca.crt */
};
/* Writes a kubeconfig with embedded certificates unless a good one is there (same CA, same server, same
 * names, not soon to expire). *ret_reason as in pki_item. Waits. */
int pki_kubeconfig_ensure(struct arena *a, const struct pki_config *c, const struct pki_kubeconfig *k,
                          const char **ret_reason, struct err *e);
/* The text alone. user: name of the user entry. */
struct str pki_kubeconfig_text(struct arena *a, const struct pki_kubeconfig *k, struct str ca_pem,
                               struct str cert_pem, struct str key_pem);
/* admin.conf, super-admin.conf, controller-manager.conf, scheduler.conf, kubelet.conf of a control-plane node
 * in conf_dir ("/etc/kubernetes"), for that server URL. */
int pki_kubeconfigs_ensure(struct arena *a, const struct pki_config *c, const char *conf_dir,
                           const char *server, const char *node_name, struct pki_item **ret_items,
                           struct err *e);
