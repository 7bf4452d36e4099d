/*
 * The bare loop: the least work there is between a UDP port and a file.
 *
 * recvmmsg with UDP_GRO fills 64 slots of 64 KiB, memchr counts the newlines, writev hands the
 * slots to the file. It parses nothing, counts nothing by sender and never waits on purpose:
 * what logweir costs is given as a ratio to this.
 *
 * usage: bareloop PORT FILE       (SIGTERM ends it and prints what it saw)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { SLOTS = 64, SLOT_BYTES = 64 * 1024, RECEIVE_BUFFER = 64 * 1024 * 1024 };

static volatile sig_atomic_t stopping;

static void stop(int signal)
{
    (void)signal;
    stopping = 1;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int open_socket(int port)
{
    int size = RECEIVE_BUFFER, one = 1;
    /* A signal that arrives just before recvmmsg would be missed: look again now and then. */
    struct timeval wait = {.tv_usec = 200 * 1000};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int socket_fd = socket(AF_INET, SOCK_DGRAM, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (socket_fd < 0)
        die("socket");
    if (setsockopt(socket_fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        setsockopt(socket_fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (setsockopt(socket_fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one) < 0)
        perror("UDP_GRO");
    if (setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) < 0)
        die("SO_RCVTIMEO");
    if (bind(socket_fd, (struct sockaddr *)&at, sizeof at) < 0)
        die("bind");
    return socket_fd;
}

static unsigned long newlines(const char *at, size_t length)
{
    const char *end = at + length;
    unsigned long count = 0;

    while ((at = memchr(at, '\n', end - at))) {
        count++;
        at++;
    }
    return count;
}

int main(int argc, char **argv)
{
    static struct mmsghdr messages[SLOTS];
    static struct iovec slots[SLOTS], pieces[SLOTS];
    struct sigaction action = {.sa_handler = stop};
    unsigned long lines = 0;

    if (argc != 3)
        return fprintf(stderr, "usage: bareloop PORT FILE\n"), 2;
    sigaction(SIGTERM, &action, NULL);
    int file = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0)
        die(argv[2]);
    char *memory = mmap(NULL, (size_t)SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    for (int i = 0; i < SLOTS; i++) {
        slots[i] = (struct iovec){memory + (size_t)i * SLOT_BYTES, SLOT_BYTES};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &slots[i], .msg_iovlen = 1};
    }
    int socket_fd = open_socket(atoi(argv[1]));
    while (!stopping) {
        ssize_t bytes = 0;
        int got = recvmmsg(socket_fd, messages, SLOTS, MSG_WAITFORONE, NULL);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            die("recvmmsg");
        for (int i = 0; i < got; i++) {
            pieces[i] = (struct iovec){slots[i].iov_base, messages[i].msg_len};
            lines += newlines(slots[i].iov_base, messages[i].msg_len);
            bytes += messages[i].msg_len;
        }
        if (writev(file, pieces, got) != bytes)
            die("writev");
    }
    printf("%lu lines\n", lines);
    return 0;
}
