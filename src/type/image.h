/* SPDX-License-Identifier: Apache-2.0 */
/* Names of container images: [registry/]path[:tag][@digest]. */
#pragma once

#include "base/str.h"

struct image_name {
    struct str registry; /* empty when the name has none: docker.io then */
    struct str path;     /* as written: "nginx", "library/nginx" */
    struct str tag;      /* empty when there is none */
    struct str digest;   /* "sha256:..." or empty */
};

/* Slices of s. False when it is no image name. */
bool image_parse(struct str s, struct image_name *ret);
/* The tag upstream works with: "latest" when there is neither tag nor digest, empty for what is no image
 * name. */
struct str image_tag(struct str s);
