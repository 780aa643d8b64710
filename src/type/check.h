/* SPDX-License-Identifier: Apache-2.0 */
/* The named formats of api/README.md: checks of one string, each giving upstream's sentences about what is
 * wrong. */
#pragma once

#include "base/str.h"

enum { CHECK_MAX = 6 };

/* What is wrong with a string: nothing when n is 0. All sentences are constants. */
struct check {
    const char *texts[CHECK_MAX];
    unsigned n;
};

typedef void check_fn(struct check *c, struct str s);

check_fn check_label_of_dns;     /* RFC 1123 label */
check_fn check_label_of_dns1035; /* names of Services before 1.34: starts with a letter */
check_fn check_subdomain;        /* RFC 1123 subdomain */
check_fn check_wildcard_subdomain;
check_fn check_label_key;  /* [prefix/]name: keys of labels and annotations, resource names ... */
check_fn check_label_text; /* value of a label */
check_fn check_env_name;   /* as v1.34 and later want it: printable ASCII without "=" */
check_fn check_config_key;
check_fn check_port_name;
check_fn check_c_identifier;
check_fn check_percent;
check_fn check_http_header;
check_fn check_path_segment; /* a name that is safe as one part of a URL path */
check_fn check_ip;
check_fn check_cidr;

/* By its name in api/ files; NULL when there is no such format. */
check_fn *check_find(const char *format);
