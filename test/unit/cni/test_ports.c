/* SPDX-License-Identifier: Apache-2.0 */
/* Host ports against the kernel, in a network namespace of the test's own (needs root, else skipped). */
#include "../testing.h"

#include "cni/cni.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/* Adds port 8080 of that host address ("": all); ret: what takes it away again. */
static void add_port(const char *host_ip, const char *pod, struct buf *ret)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct cni_request r;
    struct err e = {0};
    struct cni_address at = {.interface = -1};
    struct cni_result result = {.addresses = &at, .n_addresses = 1};
    struct str conf = arena_printf(&a, "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":8080,"
                                       "\"containerPort\":80,\"hostIP\":\"%s\"}]}}", host_ip);
    assert_int_equal(cni_conf_read(&a, conf, &r, &e), 0);
    assert_true(prefix_parse_address(str_of(pod), &at.at));
    struct buf text CLEANUP_BUF = BUF_INIT;
    cni_ports_text(&text, ret, &r, &result);
    int code = cni_ports_add(&r, &result, buf_str(&text), buf_str(ret), &e);
    if (code)
        fail_msg("%d: %s", code, e.text);
}

static bool nft(const char *text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"nft", text, NULL};
    struct str said;
    return os_run(&a, argv, NULL, &said, MONO_NEVER) == 0;
}

static void what_two_pods_share_stays(void)
{
    struct buf one CLEANUP_BUF = BUF_INIT, two CLEANUP_BUF = BUF_INIT;
    add_port("10.0.0.1", "10.1.2.3/24", &one);
    add_port("10.0.0.2", "10.1.2.4/24", &two);
    cni_ports_del(buf_str(&one));
    assert_false(nft("get element inet cube-hostports at4 { 10.0.0.1 . tcp . 8080 }"));
    assert_true(nft("get element inet cube-hostports at4 { 10.0.0.2 . tcp . 8080 }"));
    assert_true(nft("get element inet cube-hostports hide { tcp . 8080 }")); /* the other still needs it */
    cni_ports_del(buf_str(&two));
}

static void the_table_goes_with_its_last_port(void)
{
    struct buf notes CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    assert_int_equal(cni_ports_cleanup(&e), 0); /* of the pods before: nothing is in it */
    assert_false(nft("list table inet cube-hostports"));
    assert_int_equal(cni_ports_cleanup(&e), 0); /* what is not there is no error */
    add_port("", "10.1.2.3/24", &notes);
    assert_int_equal(cni_ports_cleanup(&e), 0); /* another cluster's, maybe */
    assert_true(nft("get element inet cube-hostports any4 { tcp . 8080 }"));
    cni_ports_del(buf_str(&notes));
    assert_false(nft("get element inet cube-hostports hide { tcp . 8080 }"));
    assert_int_equal(cni_ports_cleanup(&e), 0);
    assert_false(nft("list table inet cube-hostports"));
}

static void body(void *arg UNUSED)
{
    what_two_pods_share_stays();
    the_table_goes_with_its_last_port();
}

static void with_the_kernel(void **state UNUSED)
{
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        skip();
    loop_run(body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(with_the_kernel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
