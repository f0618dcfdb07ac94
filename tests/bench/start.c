// Processes for `cargo xtask bench attach`.
// `start spawn TURNS FROM TO PROGRAM…` starts a program again and again and prints the nanoseconds from each start to its
// end; before each, unless FROM is `-`, TO becomes a new copy of FROM.
// `start idle` waits for the end of its input.
#include <fcntl.h>
#include <openssl/ssl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void fail(const char *what) {
    perror(what);
    exit(3);
}

static void copy(const char *from, const char *to) {
    char piece[1 << 16];
    ssize_t length;
    unlink(to);
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
    if (in < 0 || out < 0) fail(to);
    while ((length = read(in, piece, sizeof piece)) > 0)
        if (write(out, piece, length) != length) fail(to);
    close(in);
    close(out);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int count, char **arguments) {
    char byte;
    // So that the library is linked.
    if (!TLS_method()) return 3;
    if (count == 2 && !strcmp(arguments[1], "idle")) {
        while (read(0, &byte, 1) > 0) continue;
        return 0;
    }
    if (count < 6) return 2;
    for (int turn = atoi(arguments[2]); turn > 0; turn--) {
        if (strcmp(arguments[3], "-")) copy(arguments[3], arguments[4]);
        pid_t pid;
        int status;
        double begin = now();
        if (posix_spawn(&pid, arguments[5], NULL, NULL, arguments + 5, environ)) fail("spawn");
        if (waitpid(pid, &status, 0) != pid || status) fail("wait");
        fprintf(stderr, "%.0f\n", now() - begin);
    }
    return 0;
}
