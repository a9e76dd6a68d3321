/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What one local user can do to the control socket, until stdin ends: a thousand
 * connections that are held or waited for at the same time. As soon as the daemon
 * closes one, another is waited for. Some send a byte a second, some endless
 * messages, some ask for all there is and read none of it, some say nothing. At the
 * end it says what it did, as JSON.
 *
 * A thread for each connection, as connect() of a UNIX socket has no other way to
 * wait. They share nothing but counters: they wait for the daemon, never for each
 * other.
 *
 * attacker SOCKET
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECTIONS = 1000, HUGE_BYTES = 10 << 20, GREEDY_TIMES = 200, LOOK_MS = 10 };

static const char SLOW[] = "{\"method\":\"io.vsched.Daemon.GetStatus\",\"parameters\":{}}";
static const char GREEDY[] =
        "{\"method\":\"io.vsched.Daemon.ListVms\",\"parameters\":{\"scope\":\"all\",\"detail\":true}}";
static const char HUGE[] = "{\"method\":\"io.vsched.Daemon.ListVms\",\"parameters\":{\"scope\":\"aaaa";

typedef struct Message {
        const char *text; /* with the byte 0 that ends each message */
        size_t n;
        bool by_the_second; /* a byte in each */
} Message;

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static Message messages[4];
static atomic_uint n_now; /* held or waited for */
static atomic_ulong n_connected, n_refused, n_ended, n_bytes;

static void fail(const char *what) {
        fprintf(stderr, "attacker: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void messages_make(void) {
        char *huge = malloc(HUGE_BYTES), *greedy = malloc(GREEDY_TIMES * sizeof GREEDY);
        if (!huge || !greedy)
                fail("malloc");
        memset(huge, 'a', HUGE_BYTES);
        memcpy(huge, HUGE, sizeof HUGE - 1);
        for (size_t i = 0; i < GREEDY_TIMES; i++)
                memcpy(greedy + i * sizeof GREEDY, GREEDY, sizeof GREEDY);
        messages[0] = (Message){.text = huge, .n = HUGE_BYTES};
        messages[1] = (Message){.text = greedy, .n = GREEDY_TIMES * sizeof GREEDY};
        messages[2] = (Message){.text = SLOW, .n = sizeof SLOW, .by_the_second = true};
        messages[3] = (Message){.n = 0};
}

/* Until the other end is gone. */
static void say(int fd, const Message *m) {
        size_t sent = 0;
        for (;;) {
                if (sent < m->n) {
                        size_t part = m->by_the_second ? 1 : m->n - sent;
                        ssize_t n = send(fd, m->text + sent, part, MSG_DONTWAIT | MSG_NOSIGNAL);
                        if (n < 0 && errno != EAGAIN)
                                return;
                        if (n > 0) {
                                sent += (size_t)n;
                                n_bytes += (size_t)n;
                        }
                }
                bool has_more = sent < m->n && !m->by_the_second;
                struct pollfd p = {.fd = fd, .events = POLLRDHUP | (has_more ? POLLOUT : 0)};
                if (poll(&p, 1, 1000) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR))
                        return;
        }
}

static void *connect_again_and_again(void *seed) {
        unsigned random = (unsigned)(size_t)seed;
        for (;;) {
                int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (fd < 0)
                        fail("socket");
                n_now++;
                if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
                        n_connected++;
                        say(fd, &messages[rand_r(&random) % 4]);
                        n_ended++;
                        n_now--;
                        close(fd);
                } else {
                        n_refused++;
                        n_now--;
                        close(fd);
                        usleep(100000);
                }
        }
        return NULL;
}

static void threads_start(void) {
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 64 << 10);
        for (size_t i = 0; i < CONNECTIONS; i++) {
                pthread_t thread;
                errno = pthread_create(&thread, &small, connect_again_and_again, (void *)(i + 1));
                if (errno)
                        fail("a thread");
        }
}

/* How many there were, at each look. */
static unsigned long looks[CONNECTIONS + 1], n_looks;

static unsigned most_now(void) {
        unsigned i = CONNECTIONS;
        while (i > 0 && looks[i] == 0)
                i--;
        return i;
}

static unsigned median_now(void) {
        unsigned i = 0;
        for (unsigned long n = looks[0]; n * 2 < n_looks; n += looks[++i])
                ;
        return i;
}

int main(int argc, char **argv) {
        if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) {
                fprintf(stderr, "attacker SOCKET\n");
                return 2;
        }
        strcpy(address.sun_path, argv[1]);
        messages_make();
        threads_start();
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        while (n_now < CONNECTIONS * 9 / 10 && poll(&in, 1, LOOK_MS) == 0)
                ;
        puts("ready");
        fflush(stdout);
        while (poll(&in, 1, LOOK_MS) == 0) {
                looks[n_now]++;
                n_looks++;
        }
        printf("{\"connected\": %lu, \"refused\": %lu, \"ended\": %lu, \"bytes\": %lu, \"most\": %u, "
               "\"middle\": %u}\n",
               n_connected, n_refused, n_ended, n_bytes, most_now(), median_now());
        return 0;
}
