// As target.c, without TLS: each scenario prints what passed its TCP connections, one line a transfer,
// as `<pid> <image> <tag> <send|recv> <length> <seed>`; bytes are pattern(seed, position). Both ends of every connection
// live in this process: socket SCENARIO PORT.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "told.h"

static void die(const char *what) {
    perror(what);
    exit(3);
}

struct pair {
    int client, server;
};

static struct pair connected(int port, int family) {
    struct pair pair;
    int listener = socket(family, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    pair.client = socket(family, SOCK_STREAM, 0);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_loopback};
    struct sockaddr *address = family == AF_INET ? (void *)&four : (void *)&six;
    socklen_t length = family == AF_INET ? sizeof four : sizeof six;
    if (bind(listener, address, length) || listen(listener, 1)) die("listen");
    if (connect(pair.client, address, length)) die("connect");
    pair.server = accept(listener, NULL, NULL);
    if (pair.server < 0) die("accept");
    close(listener);
    return pair;
}

static void over(struct pair pair) {
    char byte;
    close(pair.client);
    if (read(pair.server, &byte, 1) != 0) die("no end");
    close(pair.server);
}

// Cuts a buffer in vectors of odd sizes, some of them empty.
static int vectors(struct iovec *into, int most, unsigned char *bytes, size_t length) {
    int count = 0;
    for (size_t at = 0, size = 0; at < length && count < most; at += size, count++) {
        size = count == most - 1 ? length - at : (size_t)(count * 37 % 300);
        if (size > length - at) size = length - at;
        into[count] = (struct iovec){bytes + at, size};
    }
    return count;
}

enum { WAYS = 5 };

static ssize_t put(int way, int fd, unsigned char *bytes, size_t length) {
    struct iovec parts[60];
    struct msghdr message = {.msg_iov = parts};
    switch (way % WAYS) {
    case 0: return write(fd, bytes, length);
    case 1: return send(fd, bytes, length, MSG_NOSIGNAL);
    case 2: return writev(fd, parts, vectors(parts, 60, bytes, length));
    case 3: return pwritev2(fd, parts, vectors(parts, 60, bytes, length), -1, 0);
    default: message.msg_iovlen = vectors(parts, 60, bytes, length); return sendmsg(fd, &message, 0);
    }
}

static ssize_t fetch(int way, int fd, unsigned char *bytes, size_t length) {
    struct iovec parts[60];
    struct msghdr message = {.msg_iov = parts};
    switch (way % WAYS) {
    case 0: return read(fd, bytes, length);
    case 1: return recv(fd, bytes, length, 0);
    case 2: return readv(fd, parts, vectors(parts, 60, bytes, length));
    case 3: return preadv2(fd, parts, vectors(parts, 60, bytes, length), -1, 0);
    default: message.msg_iovlen = vectors(parts, 60, bytes, length); return recvmsg(fd, &message, 0);
    }
}

static void transfer(int from, int to, const char *const tags[2], size_t length, unsigned seed) {
    unsigned char *bytes = filled(length, seed), *got = malloc(length + 1);
    size_t sent = 0, received = 0;
    while (received < length) {
        ssize_t now;
        if (sent < length) {
            // Not more than the other end's buffer takes while nobody reads.
            size_t part = length - sent > 40000 ? 40000 : length - sent;
            now = put((int)seed, from, bytes + sent, part);
            if (now <= 0) die("send");
            sent += (size_t)now;
        }
        now = fetch((int)seed + 1, to, got + received, length - received);
        if (now <= 0) die("receive");
        received += (size_t)now;
    }
    if (memcmp(bytes, got, length)) die("other bytes");
    told(tags[0], "send", length, seed);
    told(tags[1], "recv", length, seed);
    memset(bytes, 0, length);
    free(bytes);
    free(got);
}

static const char *const forth[2] = {"client", "server"}, *const back[2] = {"server", "client"};

static void sizes(int port, int family) {
    static const size_t lengths[] = {1, 64, 65, 256, 257, 1024, 1025, 4096, 4097, 16384, 16385, 40000, 300000};
    struct pair pair = connected(port, family);
    for (unsigned at = 0; at < sizeof lengths / sizeof *lengths; at++)
        for (unsigned way = 0; way < WAYS; way++) {
            transfer(pair.client, pair.server, forth, lengths[at], at * WAYS + way);
            transfer(pair.server, pair.client, back, lengths[at], at * WAYS + way + 1);
        }
    over(pair);
}

// What is only looked at is received later.
static void peeked(int port) {
    struct pair pair = connected(port, AF_INET);
    unsigned char bytes[100];
    for (unsigned seed = 0; seed < 5; seed++) {
        unsigned char *sent = filled(100, seed);
        if (send(pair.client, sent, 100, 0) != 100) die("send");
        told("client", "send", 100, seed);
        for (int turn = 0; turn < 3; turn++)
            if (recv(pair.server, bytes, 50, MSG_PEEK) != 50) die("peek");
        if (recv(pair.server, bytes, 0, 0) != 0) die("nothing");
        if (recv(pair.server, bytes, 100, MSG_WAITALL) != 100) die("receive");
        told("server", "recv", 100, seed);
        free(sent);
    }
    over(pair);
}

// 100 bytes by a buffer, 5000 from a file, 100 by a buffer; received by a buffer, and by splice.
static void unseen(int port) {
    struct pair pair = connected(port, AF_INET);
    unsigned char *bytes = filled(5000, 1), got[8192];
    int file = memfd_create("file", 0);
    if (write(file, bytes, 5000) != 5000) die("file");
    off_t start = 0;
    if (send(pair.client, bytes, 100, 0) != 100) die("send");
    if (sendfile(pair.client, file, &start, 5000) != 5000) die("sendfile");
    if (send(pair.client, bytes, 100, 0) != 100) die("send");
    for (size_t all = 0; all < 5200;) {
        ssize_t now = recv(pair.server, got, sizeof got, 0);
        if (now <= 0) die("receive");
        all += (size_t)now;
    }
    over(pair);
}

// A child has the parent's connection: joined in the middle.
static void forked(int port) {
    struct pair pair = connected(port, AF_INET);
    transfer(pair.client, pair.server, forth, 1000, 1);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        transfer(pair.client, pair.server, forth, 2000, 2);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status) die("child");
    over(pair);
}

// None of this is plaintext of the port: another port, a Unix-domain socket, a pipe, TLS.
static void others(int port) {
    static const unsigned char hello[] = {0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3}, data[] = {0x17, 3, 3, 0, 2, 1, 1};
    unsigned char got[100];
    struct pair pair = connected(port + 1, AF_INET);
    if (write(pair.client, "GET / HTTP/1.1\r\n", 16) != 16 || read(pair.server, got, 100) != 16) die("other port");
    over(pair);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) die("socketpair");
    if (write(ends[0], "GET / HTTP/1.1\r\n", 16) != 16 || read(ends[1], got, 100) != 16) die("unix");
    if (pipe(ends)) die("pipe");
    if (write(ends[1], "GET / HTTP/1.1\r\n", 16) != 16 || read(ends[0], got, 100) != 16) die("pipe");
    pair = connected(port, AF_INET);
    if (write(pair.client, hello, sizeof hello) != sizeof hello || read(pair.server, got, 100) != sizeof hello) die("tls");
    if (write(pair.server, data, sizeof data) != sizeof data || read(pair.client, got, 100) != sizeof data) die("tls");
    if (write(pair.client, "GET / HTTP/1.1\r\n", 16) != 16 || read(pair.server, got, 100) != 16) die("tls");
    over(pair);
}

// One end is reset, another shut down before it is closed.
static void ends(int port) {
    struct pair pair = connected(port, AF_INET);
    transfer(pair.client, pair.server, forth, 100, 1);
    struct linger now = {1, 0};
    setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(pair.server);
    char byte;
    if (recv(pair.client, &byte, 1, 0) != -1 || errno != ECONNRESET) die("no reset");
    close(pair.client);
    pair = connected(port, AF_INET);
    static const char *const second[2] = {"client2", "server2"}, *const answer[2] = {"server2", "client2"};
    transfer(pair.client, pair.server, second, 200, 2);
    shutdown(pair.client, SHUT_WR);
    if (recv(pair.server, &byte, 1, 0) != 0) die("no end");
    transfer(pair.server, pair.client, answer, 300, 3);
    close(pair.server);
    if (recv(pair.client, &byte, 1, 0) != 0) die("no end");
    close(pair.client);
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    const char *scenario = arguments[1];
    int port = atoi(arguments[2]);
    if (!strcmp(scenario, "sizes")) sizes(port, AF_INET);
    else if (!strcmp(scenario, "sizes6")) sizes(port, AF_INET6);
    else if (!strcmp(scenario, "peeked")) peeked(port);
    else if (!strcmp(scenario, "unseen")) unseen(port);
    else if (!strcmp(scenario, "forked")) forked(port);
    else if (!strcmp(scenario, "others")) others(port);
    else if (!strcmp(scenario, "ends")) ends(port);
    else return 2;
    return 0;
}
