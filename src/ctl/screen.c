/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A terminal taken for a while: the alternate screen, so that what was there
 * comes back; no cursor, no line that wraps, keys as they are typed. It is given
 * back however we end or stop, from the signal's handler: what is waited for, a
 * key or an answer, must not keep a Ctrl-C.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/ctl.h"

static const char take_text[] = "\033[?1049h\033[?25l\033[?7l", give_text[] = "\033[?7h\033[?25h\033[?1049l";
static struct termios before, during;
static sigset_t while_waiting; /* signals that are blocked while we wait */
static volatile sig_atomic_t taken;

static void say(const char *text) {
        size_t length = strlen(text);

        while (length > 0) {
                ssize_t n = write(STDOUT_FILENO, text, length);

                if (n < 0)
                        return; /* nobody is there to be told */
                text += n;
                length -= (size_t)n;
        }
}

static void take(void) {
        tcsetattr(STDIN_FILENO, TCSANOW, &during);
        say(take_text);
        taken = 1;
}

static void give_back(void) {
        if (!taken)
                return;
        taken = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
        say(give_text);
}

static void on_end(int signal_number) {
        give_back();
        signal(signal_number, SIG_DFL);
        raise(signal_number);
}

static void on_stop(int signal_number) {
        (void)signal_number;
        give_back();
        raise(SIGSTOP);
        take();
}

static void on_resize(int signal_number) {
        (void)signal_number; /* it ends the wait for a key */
}

static void handle(int signal_number, void (*handler)(int)) {
        struct sigaction action = {.sa_handler = handler};

        sigaction(signal_number, &action, NULL);
}

/* Those after which the screen is drawn again come only while we wait: one that
 * came just before would be slept over. */
static void hold_back(int signal_number, void (*handler)(int)) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, signal_number);
        sigprocmask(SIG_BLOCK, &set, NULL);
        handle(signal_number, handler);
}

bool screen_begin(const Ctl *ctl) {
        if (!ctl->terminal || !ctl->moves_cursor || !isatty(STDIN_FILENO) ||
            tcgetattr(STDIN_FILENO, &before) < 0)
                return false;
        during = before;
        during.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        handle(SIGINT, on_end);
        handle(SIGTERM, on_end);
        handle(SIGHUP, on_end);
        handle(SIGQUIT, on_end);
        sigprocmask(SIG_BLOCK, NULL, &while_waiting);
        hold_back(SIGTSTP, on_stop);
        hold_back(SIGWINCH, on_resize);
        take();
        return true;
}

void screen_end(void) {
        fflush(stdout);
        give_back();
}

void screen_clear(void) {
        fputs("\033[H\033[2J", stdout);
}

int screen_wait(int ms) {
        struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
        struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
        char key;

        fflush(stdout);
        if (ppoll(&wait, 1, &timeout, &while_waiting) <= 0)
                return 0;
        ssize_t n = read(STDIN_FILENO, &key, 1);
        if (n < 0 && errno == EINTR)
                return 0;
        return n == 1 ? key : 'q'; /* nobody types any more */
}
