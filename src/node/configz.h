/* SPDX-License-Identifier: Apache-2.0 */
/* What the kubelet runs with, as /configz says it: {"kubeletconfig": a KubeletConfiguration v1beta1}, every field that this
 * kubelet knows with the value in force, given or not. Of certificates nothing is said, nor of files that only the command line
 * has read (upstream: clientCAFile and the like are paths). */
#pragma once

#include "base/str.h"
#include "node/kubelet.h"

void configz_encode(struct buf *b, const struct kubelet_config *c); /* c: completed */
