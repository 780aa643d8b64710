/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes on a real disk: files that change all at once, sub paths that stay inside, trees that go whole. */
#include "disk.h"

#include "node/kubelet-internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct str content(const char *name)
{
    struct str s;
    return host->ops->read_file(host, &arena, under(name), 1 << 20, &s, NULL) == 0 ? s : STR("(none)");
}

static int put(const struct payload_file *files, size_t n, bool *changed)
{
    struct payload p = {files, n, -1};
    return host->ops->payload(host, under("v"), &p, changed, NULL);
}

FIBER_TEST(logs_of_the_machine_are_all_that_is_served_of_it)
{
    static const char *const outside[] = {"..", "../../etc/passwd", "/etc/passwd", "nothing/of/the/kind"};
    int fd = host->ops->open_log(host, "");
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < ARRAY_SIZE(outside); i++)
        assert_true(host->ops->open_log(host, outside[i]) < 0);
    if (geteuid() == 0) {
        char link[64];
        snprintf(link, sizeof(link), "/var/log/cube-test-%d", (int)getpid());
        assert_int_equal(symlink("/etc/passwd", link), 0);
        fd = host->ops->open_log(host, link + strlen("/var/log/"));
        unlink(link);
        assert_int_equal(fd, -EXDEV);
    }
}

FIBER_TEST(the_index_of_logs_is_html)
{
    char amp[] = "a&b", apt[] = "apt", odd[] = "c d:e", tag[] = "<x>", *names[] = {amp, apt, odd, tag, NULL};
    const bool dirs[] = {false, true, false, false};
    struct buf b CLEANUP_BUF = BUF_INIT;
    system_logs_index(names, dirs, &b);
    assert_str(buf_str(&b), "<!doctype html>\n<pre>\n<a href=\"./a&b\">a&amp;b</a>\n<a href=\"./apt/\">apt/</a>\n"
                            "<a href=\"./c%20d:e\">c d:e</a>\n<a href=\"./%3Cx%3E\">&lt;x&gt;</a>\n</pre>\n");
}

FIBER_TEST(files_change_all_at_once)
{
    struct payload_file one[] = {{STR("a"), STR("1"), 0644, -1}, {STR("d/e"), STR("2"), 0400, -1}, {STR("gone"), STR("3"), 0644, -1}};
    struct payload_file two[] = {{STR("a"), STR("x"), 0644, -1}, {STR("d/e"), STR("2"), 0400, -1}, {STR("d/f"), STR("4"), 0644, -1}};
    char target[256] = "", after[256] = "";
    struct stat st;
    bool changed;
    assert_int_equal(put(one, 3, &changed), 0);
    assert_true(changed);
    assert_str(content("v/a"), "1");
    assert_str(content("v/d/e"), "2");
    assert_true(stat(under("v/d/e"), &st) == 0 && (st.st_mode & 0777) == 0400);
    assert_true(readlink(under("v/..data"), target, sizeof(target) - 1) > 0);
    int fd = open(under("v/a"), O_RDONLY); /* whoever has it open keeps what it was */
    assert_int_equal(put(one, 3, &changed), 0);
    assert_false(changed);
    assert_int_equal(put(two, 3, &changed), 0);
    assert_true(changed);
    assert_str(content("v/a"), "x");
    assert_str(content("v/d/f"), "4");
    assert_str(content("v/gone"), "(none)");
    char c;
    assert_true(read(fd, &c, 1) == 1 && c == '1');
    close(fd);
    assert_true(readlink(under("v/..data"), after, sizeof(after) - 1) > 0 && strcmp(target, after) != 0);
    assert_true(access(arena_printf(&arena, "%s/v/%s", dir, target).p, F_OK) < 0); /* the old ones are gone */
    struct payload_file mode[] = {{STR("a"), STR("x"), 0600, -1}, {STR("d/e"), STR("2"), 0400, -1}, {STR("d/f"), STR("4"), 0644, -1}};
    assert_int_equal(put(mode, 3, &changed), 0);
    assert_true(changed);
    assert_int_equal(put(NULL, 0, &changed), 0);
    assert_true(changed && access(under("v/a"), F_OK) < 0);
}

FIBER_TEST(bad_paths_are_refused)
{
    static const char *const bad[] = {"", "/a", "../a", "a/../b", "a//b", "..a", "a/.", "a/"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct payload_file f = {str_of(bad[i]), STR("x"), 0644, -1};
        assert_int_equal(put(&f, 1, NULL), -EINVAL);
    }
    char deep[400], *p = deep;
    for (int i = 0; i < 64; i++)
        p = stpcpy(p, i ? "/d" : "d");
    struct payload_file f = {str_of(deep), STR("x"), 0644, -1};
    bool changed;
    assert_int_equal(put(&f, 1, NULL), 0);
    assert_int_equal(put(&f, 1, &changed), 0); /* looking at what is there takes little stack */
    assert_false(changed);
    stpcpy(p, "/d");
    f.path = str_of(deep);
    assert_int_equal(put(&f, 1, NULL), -EINVAL);
}

FIBER_TEST(host_paths)
{
    struct err e = {{0}};
    assert_int_equal(host->ops->host_path(host, under("none"), "", &e), 0);
    assert_int_equal(host->ops->host_path(host, under("none"), "Directory", &e), -EINVAL);
    assert_int_equal(host->ops->host_path(host, under("made"), "DirectoryOrCreate", &e), 0);
    assert_int_equal(host->ops->host_path(host, under("made"), "Directory", &e), 0);
    assert_int_equal(host->ops->host_path(host, under("made"), "File", &e), -EINVAL);
    assert_int_equal(host->ops->host_path(host, under("file"), "FileOrCreate", &e), 0);
    assert_int_equal(host->ops->host_path(host, under("file"), "File", &e), 0);
    assert_int_equal(host->ops->host_path(host, "/dev/null", "CharDevice", &e), 0);
    assert_int_equal(host->ops->host_path(host, "/dev/null", "BlockDevice", &e), -EINVAL);
}

FIBER_TEST(sub_paths_stay_inside)
{
    if (geteuid() != 0)
        skip();
    struct err e = {{0}};
    assert_int_equal(host->ops->make_dir(host, under("vol/a"), 0755, NULL), 0);
    assert_int_equal(host->ops->make_dir(host, under("outside"), 0755, NULL), 0);
    assert_int_equal(symlink("../outside", under("vol/up")), 0);
    assert_int_equal(symlink("/etc", under("vol/abs")), 0);
    assert_int_equal(symlink("a", under("vol/in")), 0);
    static const char *const bad[] = {"up", "up/x", "abs", "abs/passwd", "abs/new/dir", "a/../../outside"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (host->ops->subpath(host, under("vol"), bad[i], under("m/0"), &e) >= 0)
            fail_msg("%s was mounted", bad[i]);
    assert_true(access(under("outside/x"), F_OK) < 0);
    assert_int_equal(host->ops->subpath(host, under("vol"), "in", under("m/1"), &e), 0);
    assert_int_equal(host->ops->subpath(host, under("vol"), "new/deep", under("m/2"), &e), 0);
    assert_int_equal(host->ops->write_file(host, under("m/2/f"), STR("hi"), 0644, &e), 0);
    assert_str(content("vol/new/deep/f"), "hi");
    assert_int_equal(host->ops->subpath(host, under("vol"), "new/deep/f", under("m/3"), &e), 0);
    assert_str(content("m/3"), "hi");
    assert_int_equal(host->ops->subpath(host, under("vol"), "a", under("m/2"), &e), 0); /* again, another */
    assert_true(access(under("m/2/f"), F_OK) < 0);
    assert_int_equal(host->ops->remove_tree(host, under("m"), &e), 0);
    assert_str(content("vol/new/deep/f"), "hi"); /* mounts were taken away first */
}

/* Deeper than our stack and our descriptors would reach. */
FIBER_TEST(deep_trees_go_whole)
{
    struct err e = {{0}};
    assert_int_equal(host->ops->make_dir(host, under("deep"), 0755, NULL), 0);
    int fd = open(under("deep"), O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(mkdirat(fd, "d", 0755), 0);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
    assert_int_equal(host->ops->remove_tree(host, under("deep"), &e), 0);
    assert_true(access(under("deep"), F_OK) < 0);
}

/* Mounts are found whatever way the path is written; one that cannot be is not reached into. */
FIBER_TEST(mounts_below_odd_paths)
{
    if (geteuid() != 0)
        skip();
    struct err e = {{0}};
    const char *const ways[] = {"link/m", "real//m", "real/./m", "real/m/"};
    assert_int_equal(host->ops->make_dir(host, under("real"), 0755, NULL), 0);
    assert_int_equal(host->ops->make_dir(host, under("host"), 0755, NULL), 0);
    assert_int_equal(host->ops->write_file(host, under("host/f"), STR("kept"), 0644, &e), 0);
    assert_int_equal(symlink("real", under("link")), 0);
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        assert_int_equal(host->ops->subpath(host, under("."), "host", under("real/m/0"), &e), 0);
        assert_int_equal(host->ops->remove_tree(host, under(ways[i]), &e), 0);
        assert_true(access(under("real/m"), F_OK) < 0);
        assert_str(content("host/f"), "kept");
    }
}

FIBER_TEST(memory_and_groups)
{
    if (geteuid() != 0)
        skip();
    struct err e = {{0}};
    struct stat a, b;
    assert_int_equal(host->ops->tmpfs(host, under("mem"), 1 << 20, &e), 0);
    assert_int_equal(host->ops->tmpfs(host, under("mem"), 1 << 20, &e), 0); /* once */
    assert_true(stat(under("mem"), &a) == 0 && stat(dir, &b) == 0 && a.st_dev != b.st_dev);
    assert_int_equal(host->ops->write_file(host, under("mem/f"), STR("x"), 0600, &e), 0);
    assert_int_equal(symlink("/etc/passwd", under("mem/l")), 0);
    assert_int_equal(host->ops->own(host, under("mem"), 4242, false, &e), 0);
    assert_true(stat(under("mem/f"), &a) == 0 && a.st_gid == 4242 && (a.st_mode & 0777) == 0660);
    assert_true(stat("/etc/passwd", &a) == 0 && a.st_gid == 0); /* links are not followed */
    assert_true(stat(under("mem"), &a) == 0 && (a.st_mode & 02000));
    assert_int_equal(host->ops->remove_tree(host, under("mem"), &e), 0);
    assert_true(access(under("mem"), F_OK) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(logs_of_the_machine_are_all_that_is_served_of_it, disk_set_up, disk_tear_down),
        cmocka_unit_test_setup_teardown(the_index_of_logs_is_html, disk_set_up, disk_tear_down),
        cmocka_unit_test_setup_teardown(files_change_all_at_once, disk_set_up, disk_tear_down),
        cmocka_unit_test_setup_teardown(bad_paths_are_refused, disk_set_up, disk_tear_down),
        cmocka_unit_test_setup_teardown(host_paths, disk_set_up, disk_tear_down),
        cmocka_unit_test_setup_teardown(sub_paths_stay_inside, disk_set_up, disk_tear_down),
        cmocka_unit_test_setup_teardown(deep_trees_go_whole, disk_set_up, disk_tear_down),
        cmocka_unit_test_setup_teardown(mounts_below_odd_paths, disk_set_up, disk_tear_down),
        cmocka_unit_test_setup_teardown(memory_and_groups, disk_set_up, disk_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
