/* SPDX-License-Identifier: Apache-2.0 */
/* Which store the API server keeps everything in, by its flags: the embedded one, or etcd under upstream's flags. */
#pragma once

#include "base/flags.h"
#include "etcd/store.h"

struct store_flags {
    const char *data_dir, *backend;
    bool memory;
    struct flag_list servers;
    struct etcd_store_config etcd;
    int64_t compaction; /* ns; begin with five minutes */
};

/* f: a struct store_flags */
#define STORE_FLAGS(f)                                                                                                \
    {"data-dir", 0, FLAG_STRING, &(f)->data_dir, "directory of the embedded store"},                                 \
        {"storage-memory", 0, FLAG_BOOL, &(f)->memory, "keep everything in memory only (tests)", "true"},            \
        {"storage-backend", 0, FLAG_STRING, &(f)->backend, "etcd3 with --etcd-servers, which says it already"},      \
        {"etcd-servers", 0, FLAG_STRINGS, &(f)->servers, "members of etcd instead, http://127.0.0.1:2379,..."},      \
        {"etcd-prefix", 0, FLAG_STRING, &(f)->etcd.prefix, "what keys begin with there [/registry]"},                \
        {"etcd-cafile", 0, FLAG_STRING, &(f)->etcd.etcd.ca_file, "authorities of etcd's certificates"},              \
        {"etcd-certfile", 0, FLAG_STRING, &(f)->etcd.etcd.cert_file, "certificate towards etcd"},                    \
        {"etcd-keyfile", 0, FLAG_STRING, &(f)->etcd.etcd.key_file, "its key"},                                       \
        {"etcd-compaction-interval", 0, FLAG_DURATION, &(f)->compaction, "age of revisions to compact; 0: never [5m]"}, \
        FLAG_ONLY("etcd-servers-overrides", "|[]", "there is one store"),                                            \
        FLAG_NO_EFFECT("etcd-count-metric-poll-period", "objects are counted where they are kept in memory"),        \
        FLAG_NO_EFFECT("etcd-db-metric-poll-interval", "asked every ten seconds"),                                   \
        FLAG_NO_EFFECT("etcd-healthcheck-timeout", "checks say how the last question went; the next is at most 10 s away"), \
        FLAG_NO_EFFECT("etcd-readycheck-timeout", "as for health"),                                                  \
        FLAG_NO_EFFECT("lease-reuse-duration-seconds", "events end by the server's own deletes")

int store_flags_check(const struct store_flags *f, struct err *e);
int store_flags_open(struct store_flags *f, struct arena *a, struct store **ret, struct err *e); /* waits */
