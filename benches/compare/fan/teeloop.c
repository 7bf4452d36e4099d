/*
 * The tee loop: the least work there is between a UDP port and many pipes that all take every line.
 *
 * recvmmsg with UDP_GRO fills 64 slots of 64 KiB, one writev puts them into a pipe of its own, and
 * tee(2) hands its pages to all children but the last, which gets them by splice(2). It counts no
 * line. Where a child's pipe is full it waits, so one child that never reads stops it for good.
 *
 * usage: teeloop PORT COMMAND...       (SIGTERM ends it, once the children have ended)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    SLOTS = 64,
    SLOT_BYTES = 64 * 1024,
    RECEIVE_BUFFER = 64 * 1024 * 1024,
    PIPE_BYTES = 1024 * 1024,
    CHILDREN_MAX = 256
};

static volatile sig_atomic_t stopping;
static int children[CHILDREN_MAX], shared[2];
static int count;

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
    int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

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

static int start(char *command)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        die("pipe2");
    fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        dup2(ends[0], 0);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        die("sh");
    }
    close(ends[0]);
    return ends[1];
}

/* What a child has no room for as pages it gets as bytes, and is waited for. */
static void write_rest(int child, const struct iovec *pieces, int piece_count, size_t from)
{
    for (int i = 0; i < piece_count; i++) {
        size_t length = pieces[i].iov_len;
        while (from < length) {
            ssize_t done = write(child, (char *)pieces[i].iov_base + from, length - from);
            if (done < 0)
                die("write");
            from += done;
        }
        from -= length;
    }
}

/* At most what the pipe holds: a page of it may be half full at either end. */
static void fan(const struct iovec *pieces, int piece_count)
{
    ssize_t bytes = writev(shared[1], pieces, piece_count);

    if (bytes < 0)
        die("writev");
    for (int i = 0; i < count; i++) {
        ssize_t done = i + 1 < count ? tee(shared[0], children[i], bytes, 0)
                                     : splice(shared[0], NULL, children[i], NULL, bytes, 0);
        if (done < 0)
            die("tee");
        if (i + 1 == count)
            while (done < bytes) {
                ssize_t more = splice(shared[0], NULL, children[i], NULL, bytes - done, 0);
                if (more < 0)
                    die("splice");
                done += more;
            }
        write_rest(children[i], pieces, piece_count, done);
    }
}

int main(int argc, char **argv)
{
    static struct mmsghdr messages[SLOTS];
    static struct iovec slots[SLOTS], pieces[SLOTS];
    struct sigaction action = {.sa_handler = stop};

    if (argc < 3 || argc - 2 > CHILDREN_MAX)
        return fprintf(stderr, "usage: teeloop PORT COMMAND...\n"), 2;
    sigaction(SIGTERM, &action, NULL);
    if (pipe2(shared, O_CLOEXEC) < 0)
        die("pipe2");
    fcntl(shared[1], F_SETPIPE_SZ, PIPE_BYTES);
    for (count = 0; count < argc - 2; count++)
        children[count] = start(argv[count + 2]);
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
        int got = recvmmsg(socket_fd, messages, SLOTS, MSG_WAITFORONE, NULL);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            die("recvmmsg");
        for (int i = 0, from = 0, bytes = 0; i < got; i++) {
            pieces[i] = (struct iovec){slots[i].iov_base, messages[i].msg_len};
            bytes += messages[i].msg_len;
            if (i + 1 == got || bytes + SLOT_BYTES > PIPE_BYTES) {
                fan(pieces + from, i + 1 - from);
                from = i + 1;
                bytes = 0;
            }
        }
    }
    for (int i = 0; i < count; i++)
        close(children[i]);
    while (wait(NULL) > 0)
        ;
    return 0;
}
