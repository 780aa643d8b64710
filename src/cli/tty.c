/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tty.h"

#include "base/os.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static volatile sig_atomic_t is_raw;

bool tty_is(int fd)
{
    return isatty(fd);
}

void tty_restore(void)
{
    if (is_raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    is_raw = 0;
}

static void restore_and_end(int sig)
{
    tty_restore();
    signal(sig, SIG_DFL);
    raise(sig);
}

bool tty_raw(void)
{
    static const int fatal[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV};
    struct termios t;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved) < 0)
        return false;
    t = saved;
    cfmakeraw(&t);
    for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
        signal(fatal[i], restore_and_end);
    is_raw = 1;
    return tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

bool tty_size(unsigned short *ret_width, unsigned short *ret_height)
{
    struct winsize w;
    if ((ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0) || !w.ws_col)
        return false;
    *ret_width = w.ws_col;
    *ret_height = w.ws_row;
    return true;
}

int tty_wait_resize(struct mono deadline)
{
    static int fd = -1;
    struct signalfd_siginfo si;
    if (fd < 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGWINCH);
        sigprocmask(SIG_BLOCK, &set, NULL);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    }
    while (read(fd, &si, sizeof(si)) != sizeof(si)) {
        int r = os_wait_fd(fd, OS_READABLE, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

ssize_t tty_read(void *p, size_t n, struct mono deadline)
{
    for (;;) {
        int r = os_wait_fd(STDIN_FILENO, OS_READABLE, deadline);
        if (r < 0 && r != -EPERM) /* a file cannot be waited for, and need not */
            return r;
        ssize_t got = read(STDIN_FILENO, p, n);
        if (got >= 0)
            return got;
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}
