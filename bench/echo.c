/*
 * echo.c - a server that knows nothing: a process a connection reads a message and writes another.
 *
 * A message begins with its size and that of the answer.  It takes a free port, says
 * which, and ends with its parent.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/die.h"

#define ROOM 65536

static void
serve(int fd)
{
    static uint8_t room[ROOM], answers[ROOM];
    size_t have = 0, at, out;
    ssize_t got;

    while ((got = recv(fd, room + have, sizeof room - have, 0)) > 0) {
        have += (size_t)got;
        for (at = out = 0; have - at >= 2 * sizeof(uint32_t);) {
            uint32_t sizes[2];

            memcpy(sizes, room + at, sizeof sizes);
            if (have - at < sizes[0])
                break;
            at += sizes[0];
            out += sizes[1];
        }
        memmove(room, room + at, have -= at);
        if (out > 0 && out <= sizeof answers && send(fd, answers, out, MSG_NOSIGNAL) < 0)
            return;
    }
}

int
main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    socklen_t size = sizeof address;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGCHLD, SIG_IGN);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        die("could not listen: %s", strerror(errno));
    (void)printf("%u\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0 && fork() == 0) {
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            serve(fd);
            _exit(EXIT_SUCCESS);
        }
        (void)close(fd);
    }
}
