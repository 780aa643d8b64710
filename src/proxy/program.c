/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/program.h"

#include "base/fiber.h"
#include "base/os.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IN, OUT, ERR, FILES, RUN_SECONDS = 1800, COMPLAINT_MAX = 4096 };

static int write_all(int fd, struct str text)
{
    for (size_t at = 0; at < text.n;) {
        ssize_t n = pwrite(fd, text.p + at, text.n - at, (off_t)at);
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += (size_t)n;
    }
    return 0;
}

static int read_all(struct arena *a, int fd, size_t most, struct str *ret)
{
    off_t size = lseek(fd, 0, SEEK_END);
    size_t n = size < 0 ? 0 : MIN((size_t)size, most), got = 0;
    char *p = arena_bytes(a, n + 1);
    while (got < n) {
        ssize_t r = pread(fd, p + got, n - got, (off_t)got);
        if (r <= 0)
            return r < 0 ? -errno : -EIO;
        got += (size_t)r;
    }
    *ret = str_n(p, n);
    return 0;
}

static int wait_for(pid_t pid, int *ret_status)
{
    int r = os_wait_pid(pid, ret_status, mono_add(os_mono(), SECONDS(RUN_SECONDS)));
    if (r < 0) {
        os_kill(pid, SIGKILL);
        fiber_shield(true);
        os_wait_pid(pid, ret_status, MONO_NEVER);
        fiber_shield(false);
    }
    return r;
}

/* The last line tells most; iptables' hint at its help tells nothing. */
static int complain(struct arena *a, const char *name, int status, int fd, struct err *e)
{
    struct str said = STR_NULL, line, last = STR("");
    read_all(a, fd, COMPLAINT_MAX, &said);
    while (str_next(&said, '\n', &line))
        if (str_trim(line).n && !str_starts(line, STR("Try `")))
            last = str_trim(line);
    if (WIFEXITED(status))
        return err_set(e, -EIO, "%s: exit code %d: " STR_FMT, name, WEXITSTATUS(status), STR_ARG(last));
    return err_set(e, -EIO, "%s: ended by signal %d", name, WTERMSIG(status));
}

static int run(struct arena *a, const char *const *argv, struct str input, const int fds[FILES], struct str *ret_out, struct err *e)
{
    pid_t pid;
    int status = 0, r = write_all(fds[IN], input);
    if (r == 0)
        r = os_spawn(&(struct os_spawn){.argv = argv, .in = fds[IN], .out = fds[OUT], .err = fds[ERR]}, &pid);
    if (r == 0)
        r = wait_for(pid, &status);
    if (r == 0 && status)
        return complain(a, argv[0], status, fds[ERR], e);
    if (r == 0 && ret_out)
        r = read_all(a, fds[OUT], SIZE_MAX, ret_out);
    return r < 0 ? err_set(e, r, "%s: %s", argv[0], strerror(-r)) : 0;
}

int program_run(struct arena *a, const char *const *argv, struct str input, struct str *ret_out, struct err *e)
{
    static const char *const names[FILES] = {"in", "out", "err"};
    int fds[FILES], r = 0;
    for (int i = 0; i < FILES; i++) {
        fds[i] = memfd_create(names[i], MFD_CLOEXEC);
        if (fds[i] < 0)
            r = err_set(e, -errno, "%s: %s", argv[0], strerror(errno));
    }
    r = r < 0 ? r : run(a, argv, input, fds, ret_out, e);
    for (int i = 0; i < FILES; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return r;
}
