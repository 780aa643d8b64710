/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "real.h"

#include <stdio.h>

static struct real *t;

FIBER_TEST(a_pod_runs_and_its_log_comes_back)
{
    struct real real;
    t = &real;
    real_start(t);
    struct mono began = os_mono();
    real_pod(t, "hello", "containers: [{name: main, image: 'cube.test/busybox:1',"
                         " command: [sh, -c, 'echo hello $(WHO); sleep 1000'], env: [{name: WHO, value: world}]}]");
    real_wait_phase(t, "hello", "Running", 20);
    fprintf(stderr, "running after %lld ms\n", (long long)((os_mono().ns - began.ns) / 1000000));
    real_until(t, 5, str_is(real_logs(t, "hello", "main", ""), "hello world\n"));
    real_delete(t, "hello", 1);
    real_wait_gone(t, "hello", 10);
    real_stop(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_runs_and_its_log_comes_back),
    };
    if (!real_possible())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
