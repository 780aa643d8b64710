/* SPDX-License-Identifier: Apache-2.0 */
/* `hosts` of a Corefile: names and addresses from lines as those of /etc/hosts. */
#pragma once

#include "base/map.h"
#include "dns/message.h"

struct hosts {
    const char *const *zones; /* which names are looked for */
    size_t n_zones;
    const char *const *fall;
    size_t n_fall;
    uint32_t ttl;
    bool no_reverse;
    const char *path;    /* of the file; NULL: none */
    struct map by_name;  /* lower-case name -> struct host_list */
    struct map by_reverse; /* "4.3.2.1.in-addr.arpa" -> struct host_list */
};

struct host_list {
    struct str *items; /* addresses, or names */
    size_t n;
};

/* Lines "ADDRESS NAME..." into h; what is no such line is passed over. Texts into the arena. */
void hosts_read(struct hosts *h, struct arena *a, struct str text);
void hosts_done(struct hosts *h);

enum hosts_outcome { HOSTS_ANSWERED, HOSTS_NOT_OURS };
int hosts_answer(const struct hosts *h, const struct dns_query *q, struct dns_reply *reply, enum dns_code *ret_code);
