/* SPDX-License-Identifier: Apache-2.0 */
/* What a container runtime says to the CNI plug-in, and what Flannel's files say: any bytes. */
#include "cni/cni.h"
#include "overlay/lease.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text = str_n((const char *)data, size), out;
    struct buf b CLEANUP_BUF = BUF_INIT, notes CLEANUP_BUF = BUF_INIT;
    struct cni_request r;
    struct cni_result prev = {0};
    struct subnet_env env;
    struct netconf conf;
    struct lease_ranges ranges;
    struct peer peer;
    struct err e = {0};
    if (netconf_parse(text, &conf, &e) == 0)
        netconf_complete(&conf, &e);
    if (lease_key_parse(text, &ranges))
        lease_key(&a, &ranges);
    lease_value_parse(&a, text, &peer);
    subnet_env_read(text, &env);
    if (cni_conf_read(&a, text, &r, &e))
        return 0;
    cni_flannel_delegate(&a, r.conf, &env, &out, &e);
    if (r.prev && cni_result_read(&a, r.prev, &prev, &e) == 0) {
        cni_ports_text(&b, &notes, &r, &prev);
        cni_result_print(&b, r.version, &prev);
    }
    return 0;
}
