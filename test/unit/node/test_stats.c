/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics: what the kernel's small files say, and what is counted of our own doing. */
#include "node/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../testing.h"
#include "grpc.h"

static void test_pressure(void **state)
{
    struct psi p;
    psi_parse(STR("some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=99\n"), &p);
    assert_true(p.known);
    assert_true(p.some.avg10 == 1.5 && p.some.avg60 == 0.25 && p.some.total == 1234);
    assert_true(p.full.avg10 == 0.1 && p.full.total == 99);
    psi_parse(STR(""), &p);
    assert_false(p.known);
    psi_parse(STR("some avg10=1.5\nnonsense\nsome =x total=\n"), &p);
    assert_true(p.known);
}

static void test_network(void **state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct net_line *l;
    size_t which, n = net_parse(&a,
                                STR("Inter-|   Receive                                                |  Transmit\n"
                                    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n"
                                    "    lo:     100       1    0    0    0     0          0         0      100       1    0    0 0 0 0 0\n"
                                    "  net1:       1       2    3    4    0     0          0         0        5       6    7    8 0 0 0 0\n"
                                    "  eth0:    1000      10    1    2    0     0          0         0     2000      20    3    4 0 0 0 0\n"),
                                &l, &which);
    assert_int_equal(n, 2);
    assert_int_equal(which, 1);
    assert_str(l[1].name, "eth0");
    assert_int_equal(l[1].rx_bytes, 1000);
    assert_int_equal(l[1].tx_packets, 20);
    assert_int_equal(l[1].tx_dropped, 4);
    assert_int_equal(l[0].rx_errors, 3);
}

/* ---- cgroups ---------------------------------------------------------------------------------------------------- */

static void put(const char *root, const char *file, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", root, file);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(os_mkdir_all(path, 0755), 0);
    *slash = '/';
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void tree(char root[static 32])
{
    strcpy(root, "/tmp/cube-cgroup-XXXXXX");
    assert_non_null(mkdtemp(root));
}

static void drop(const char *root)
{
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    assert_int_equal(system(command), 0);
}

static void test_version_1(void **state)
{
    char root[32];
    struct cgroup_usage u;
    tree(root);
    assert_int_equal(cgroup_usage_read(root, false, "/pods/p", &u), -ENOENT);
    put(root, "cpuacct/pods/p/cpuacct.usage", "123456789\n");
    put(root, "cpuacct/pods/p/cpuacct.stat", "user 100\nsystem 50\n");
    put(root, "cpu/pods/p/cpu.stat", "nr_periods 7\nnr_throttled 2\nthrottled_time 5000\n");
    put(root, "memory/pods/p/memory.usage_in_bytes", "1000000\n");
    put(root, "memory/pods/p/memory.limit_in_bytes", "9223372036854771712\n");
    put(root, "memory/pods/p/memory.stat", "cache 1\ntotal_cache 300000\ntotal_rss 500000\ntotal_inactive_file 200000\ntotal_swap 0\n"
                                           "total_pgfault 42\ntotal_pgmajfault 3\n");
    put(root, "memory/pods/p/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    put(root, "pids/pods/p/pids.current", "5\n");
    put(root, "blkio/pods/p/blkio.throttle.io_service_bytes", "8:0 Read 4096\n8:0 Write 100\n8:16 Read 4\nTotal 4200\n");
    assert_int_equal(cgroup_usage_read(root, false, "/pods/p", &u), 0);
    assert_int_equal(u.cpu_ns, 123456789);
    assert_int_equal(u.cpu_user_ns, SECONDS(1));
    assert_int_equal(u.cfs_throttled_ns, 5000);
    assert_int_equal(u.memory_working_set, 800000);
    assert_int_equal(u.memory_rss, 500000);
    assert_int_equal(u.memory_limit, -1);
    assert_int_equal(u.page_faults, 42);
    assert_int_equal(u.oom_kills, 1);
    assert_int_equal(u.pids, 5);
    assert_int_equal(u.io_read, 4100);
    assert_int_equal(u.io_written, 100);
    assert_false(u.cpu_pressure.known);
    drop(root);
}

static void test_version_2(void **state)
{
    char root[32];
    struct cgroup_usage u;
    tree(root);
    put(root, "pods/p/cpu.stat", "usage_usec 1000\nuser_usec 600\nsystem_usec 400\nnr_periods 3\nnr_throttled 1\nthrottled_usec 9\n");
    put(root, "pods/p/memory.current", "1000000\n");
    put(root, "pods/p/memory.max", "max\n");
    put(root, "pods/p/memory.swap.current", "8192\n");
    put(root, "pods/p/memory.swap.max", "16384\n");
    put(root, "pods/p/memory.stat", "anon 700000\nfile 200000\nfile_mapped 1000\ninactive_file 150000\npgfault 9\npgmajfault 1\n");
    put(root, "pods/p/memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n");
    put(root, "pods/p/pids.current", "2\n");
    put(root, "pods/p/io.stat", "8:0 rbytes=100 wbytes=200 rios=1 wios=2\n8:16 rbytes=1 wbytes=2\n");
    put(root, "pods/p/cpu.pressure", "some avg10=0.50 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
    assert_int_equal(cgroup_usage_read(root, true, "/pods/p", &u), 0);
    assert_int_equal(u.cpu_ns, 1000000);
    assert_int_equal(u.cfs_throttled_ns, 9000);
    assert_int_equal(u.memory_working_set, 850000);
    assert_int_equal(u.memory_limit, -1);
    assert_int_equal(u.memory_failures, 4);
    assert_int_equal(u.swap, 8192);
    assert_int_equal(u.swap_limit, 16384);
    assert_int_equal(u.io_read, 101);
    assert_int_equal(u.io_written, 202);
    assert_true(u.cpu_pressure.known);
    assert_int_equal(u.cpu_pressure.some.total, 77);
    assert_false(u.memory_pressure.known);
    assert_int_equal(u.memory_max, -1);
    drop(root);
}

/* ---- counting ----------------------------------------------------------------------------------------------------- */

static void test_operations(void **state)
{
    struct runtime rt = {0};
    struct metrics *m = metrics_new(&rt);
    struct buf b CLEANUP_BUF = BUF_INIT;
    rt.observe(rt.observe_ctx, G_runtime_v1_RuntimeService_RunPodSandbox, 0, MILLISECONDS(20));
    rt.observe(rt.observe_ctx, G_runtime_v1_RuntimeService_ListPodSandbox, 0, MILLISECONDS(1));
    rt.observe(rt.observe_ctx, G_runtime_v1_RuntimeService_StartContainer, 2, SECONDS(3));
    rt.observe(rt.observe_ctx, G_runtime_v1_ImageService_PullImage, 0, SECONDS(1));
    metrics_write_runtime(m, &b);
    static const char *const wanted[] = {
        "kubelet_runtime_operations_total{operation_type=\"run_podsandbox\"} 1\n",
        "kubelet_runtime_operations_total{operation_type=\"list_podsandbox\"} 1\n",
        "kubelet_runtime_operations_total{operation_type=\"pull_image\"} 1\n",
        "kubelet_runtime_operations_errors_total{operation_type=\"start_container\"} 1\n",
        "kubelet_runtime_operations_duration_seconds_bucket{operation_type=\"run_podsandbox\",le=\"0.0125\"} 0\n",
        "kubelet_runtime_operations_duration_seconds_bucket{operation_type=\"run_podsandbox\",le=\"0.03125\"} 1\n",
        "kubelet_runtime_operations_duration_seconds_bucket{operation_type=\"run_podsandbox\",le=\"+Inf\"} 1\n",
        "kubelet_started_pods_total 1\n",
        "kubelet_started_containers_errors_total 1\n",
        "kubelet_pleg_relist_duration_seconds_count 0\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (!strstr(b.p, wanted[i]))
            fail_msg("no %s in\n%s", wanted[i], b.p);
    metrics_free(m);
    assert_null(rt.observe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pressure),  cmocka_unit_test(test_network),    cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_version_2), cmocka_unit_test(test_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
