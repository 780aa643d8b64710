/* SPDX-License-Identifier: Apache-2.0 */
/* A kubelet with a containerd of its own and an API server of the mind, for tests as root. */
#pragma once

#include "client/fake_client.h"
#include "node/kubelet.h"
#include "type/meta.h"

struct real {
    struct fake_client *fake;
    char dir[64];
    const char *socket;
    struct kubelet_config config;
    struct group kubelet;
    struct err err;
    int r;
    struct arena arena;
};

/* Runs the tests in network and mount namespaces of their own and clears away what they leave, even when one of them
 * fails. 77 (with the reason printed) when that cannot be done here. */
int real_main(int (*run)(void));
void real_start(struct real *t);
void real_stop(struct real *t);
void real_kubelet_start(struct real *t);
void real_kubelet_stop(struct real *t);

/* Creates a Pod "ns1/name" from a spec in relaxed text; returns when it is stored. */
void real_pod(struct real *t, const char *name, const char *spec);
void real_pod_meta(struct real *t, const char *name, const char *meta, const char *spec);
void real_delete(struct real *t, const char *name, int64_t grace);
/* NULL when there is none. */
const struct val *real_status(struct real *t, const char *name);
/* Of container i. */
const struct val *real_container(struct real *t, const char *name, size_t i);
/* Waits until the phase is that; fails the test with the status printed when it does not come in time. */
void real_wait_phase(struct real *t, const char *name, const char *phase, int seconds);
void real_wait_gone(struct real *t, const char *name, int seconds);
void real_wait_ready(struct real *t, const char *name, int seconds);
/* Waits until some event of that reason about the Pod was written. */
void real_wait_event(struct real *t, const char *name, const char *reason, int seconds);
/* What the container wrote so far, through the kubelet's own server. */
struct str real_logs(struct real *t, const char *name, const char *container, const char *query);
/* Runs a command in the container; its output. */
struct str real_run(struct real *t, const char *name, const char *container, const char *command);
int real_port(struct real *t); /* of the kubelet's server */
/* GET of the kubelet's server: the status, *ret the body. */
int real_get(struct real *t, const char *path, struct str *ret);
/* Output of a program of this machine. */
struct str real_sh(struct real *t, const char *command);
/* Waits until the condition holds. */
#define real_until(t, seconds, condition)                                                                    \
    do {                                                                                                     \
        struct mono until_ = mono_add(os_mono(), SECONDS(seconds));                                          \
        while (!(condition)) {                                                                               \
            if (os_mono().ns > until_.ns)                                                                    \
                fail_msg("%s:%d: not within %d s: %s", __FILE__, __LINE__, (int)(seconds), #condition);      \
            fiber_sleep(MILLISECONDS(10));                                                                   \
        }                                                                                                    \
    } while (0)
/* As assert_str, and says what it is instead. */
#define real_expect(value, text)                                                                             \
    do {                                                                                                     \
        struct str expect_ = (value);                                                                        \
        if (!str_is(expect_, text))                                                                          \
            fail_msg("%s:%d: \"" STR_FMT "\" is not \"%s\"", __FILE__, __LINE__, STR_ARG(expect_), text);   \
    } while (0)
