/* SPDX-License-Identifier: Apache-2.0 */
/* Whole calls, each in a process of its own, with a foreign IPAM plug-in: a script that notes what it is asked. */
#include "../testing.h"

#include "cni/cni.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static const char *in_dir(struct arena *a, const char *name)
{
    return arena_printf(a, "%s/%s", dir, name).p;
}

static void write_text(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void call(struct arena *a, const char *command)
{
    char *argv[] = {(char *)"cube-cni", NULL};
    int in = open(in_dir(a, "conf"), O_RDONLY), out = open(in_dir(a, "out"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(in, 0);
    dup2(out, 1);
    setenv("CNI_COMMAND", command, 1);
    setenv("CNI_CONTAINERID", "one", 1);
    setenv("CNI_IFNAME", "eth0", 1);
    setenv("CNI_NETNS", in_dir(a, "no-such-namespace"), 1);
    setenv("CNI_PATH", dir, 1);
    _exit(cni_main(1, argv));
}

/* Its exit code; what it printed in the arena. */
static int run(struct arena *a, const char *command, const char *conf, struct str *ret)
{
    int status = 0;
    write_text(in_dir(a, "conf"), conf, 0600);
    pid_t pid = fork();
    if (pid == 0)
        call(a, command);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(os_read_file(a, in_dir(a, "out"), 65536, ret), 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *f UNUSED)
{
    return remove(path);
}

static int set_up(void **state UNUSED)
{
    snprintf(dir, sizeof(dir), "/tmp/cube-test-cni.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state UNUSED)
{
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *conf_with(struct arena *a, const char *type)
{
    return arena_printf(a, "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"%s\",\"ipam\":{\"type\":\"foreign\",\"dataDir\":\"%s/data\"}}", type, dir).p;
}

static void an_add_that_fails_gives_back(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str out, asked;
    write_text(in_dir(&a, "foreign"),
               arena_printf(&a, "#!/bin/sh\necho $CNI_COMMAND >>%s/asked\necho '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.1.2.3/24\"}]}'\n", dir).p, 0700);
    assert_int_equal(run(&a, "ADD", conf_with(&a, "cube-cni"), &out), 1);
    assert_true(str_contains(out, STR("\"code\":3"))); /* there is no such container */
    assert_int_equal(os_read_file(&a, in_dir(&a, "asked"), 4096, &asked), 0);
    assert_str(asked, "ADD\nDEL\n");
}

static void who_fails_with_code_0_has_failed(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str out;
    write_text(in_dir(&a, "foreign"), "#!/bin/sh\necho '{\"code\":0,\"msg\":\"no address\"}'\nexit 1\n", 0700);
    assert_int_equal(run(&a, "ADD", conf_with(&a, "cube-cni"), &out), 1);
    assert_true(str_contains(out, STR("foreign: no address")));
}

static void who_is_killed_has_failed(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str out;
    write_text(in_dir(&a, "foreign"), "#!/bin/sh\nkill -9 $$\n", 0700);
    assert_int_equal(run(&a, "ADD", conf_with(&a, "cube-cni"), &out), 1);
    assert_true(str_contains(out, STR("did not come to its end")));
}

static void gc_without_a_list_takes_nothing_away(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str out;
    static const char conf[] = "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"type\":\"cube-cni\"%s,\"ipam\":{\"type\":\"host-local\",\"dataDir\":\"%s/data\",\"subnet\":\"10.1.2.0/24\"}}";
    const char *file = in_dir(&a, "data/net/10.1.2.3");
    assert_int_equal(os_mkdir_all(in_dir(&a, "data/net"), 0755), 0);
    write_text(file, "one\r\neth0", 0600);
    assert_int_equal(run(&a, "GC", arena_printf(&a, conf, "", dir).p, &out), 1);
    assert_true(str_contains(out, STR("\"code\":7")));
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(run(&a, "GC", arena_printf(&a, conf, ",\"cni.dev/valid-attachments\":null", dir).p, &out), 0);
    assert_int_equal(access(file, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_add_that_fails_gives_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_fails_with_code_0_has_failed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_killed_has_failed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gc_without_a_list_takes_nothing_away, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
