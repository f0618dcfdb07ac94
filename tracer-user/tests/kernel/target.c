// A program with known traffic: each scenario prints what its TLS library carried, one line a transfer,
// as `<pid> <image> <tag> <send|recv> <length> <seed>`; bytes are pattern(seed, position). Both ends of every connection
// live in this process.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "told.h"

static void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    ERR_print_errors_fp(stderr);
    exit(3);
}

static SSL_CTX *context(void) {
    static SSL_CTX *made;
    if (made) return made;
    made = SSL_CTX_new(TLS_method());
    SSL_CTX_set_max_proto_version(made, TLS1_2_VERSION);
    // Anonymous key exchange: no certificate is needed.
    if (!made || SSL_CTX_set_cipher_list(made, "ADH:@SECLEVEL=0") != 1) die("context");
    SSL_CTX_set_dh_auto(made, 1);
    return made;
}

struct pair {
    SSL *client, *server;
};

static void handshake(struct pair *pair) {
    for (int turn = 0; turn < 100; turn++) {
        int one = SSL_do_handshake(pair->client), other = SSL_do_handshake(pair->server);
        if (one == 1 && other == 1) return;
    }
    die("handshake");
}

static struct pair over(BIO *client, BIO *server) {
    struct pair pair = {SSL_new(context()), SSL_new(context())};
    SSL_set_bio(pair.client, client, client);
    SSL_set_bio(pair.server, server, server);
    SSL_set_connect_state(pair.client);
    SSL_set_accept_state(pair.server);
    return pair;
}

// Two ends with `room` bytes of buffer each way.
static struct pair connected(size_t room) {
    BIO *client, *server;
    if (!BIO_new_bio_pair(&client, room, &server, room)) die("pair");
    struct pair pair = over(client, server);
    SSL_set_tlsext_host_name(pair.client, "model.example");
    handshake(&pair);
    return pair;
}

static int put(SSL *ssl, int ex, const void *bytes, size_t length) {
    size_t done = 0;
    if (!ex) return SSL_write(ssl, bytes, (int)length);
    return SSL_write_ex(ssl, bytes, length, &done) == 1 ? (int)done : -1;
}

static int fetch(SSL *ssl, int ex, void *bytes, size_t length) {
    size_t done = 0;
    if (!ex) return SSL_read(ssl, bytes, (int)length);
    return SSL_read_ex(ssl, bytes, length, &done) == 1 ? (int)done : -1;
}

static void transfer(SSL *from, SSL *to, size_t length, unsigned seed, int ex) {
    unsigned char *bytes = filled(length, seed), *got = malloc(length + 1);
    size_t sent = 0;
    if (length == 0) {
        put(from, ex, bytes, 0);
    } else {
        if (put(from, ex, bytes, length) != (int)length) die("write");
        sent = length;
    }
    told("c", "send", sent, seed);
    size_t received = 0;
    while (received < length) {
        int done = fetch(to, ex, got + received, length - received);
        if (done <= 0) die("read");
        received += (size_t)done;
    }
    // A read with nothing there, as non-blocking clients do, and one without room.
    if (fetch(to, ex, got, 1) > 0 || fetch(to, ex, got, 0) > 0) die("read beyond");
    if (memcmp(bytes, got, length)) die("bytes differ");
    told("s", "recv", received, seed);
    free(bytes);
    free(got);
}

static void sizes(int ex) {
    static const size_t all[] = {0, 1, 63, 64, 65, 4096, 16384, 16385, 1 << 20};
    struct pair pair = connected(4 << 20);
    for (unsigned at = 0; at < sizeof all / sizeof *all; at++) transfer(pair.client, pair.server, all[at], at, ex);
    SSL_shutdown(pair.client);
    SSL_free(pair.client);
    SSL_free(pair.server);
}

static void peeked(void) {
    struct pair pair = connected(1 << 20);
    unsigned char bytes[64];
    unsigned char *all = filled(40, 5);
    if (SSL_write(pair.client, all, 40) != 40) die("write");
    told("c", "send", 40, 5);
    size_t done;
    for (int turn = 0; turn < 3; turn++) {
        if (SSL_peek(pair.server, bytes, sizeof bytes) != 40) die("peek");
        if (SSL_peek_ex(pair.server, bytes, sizeof bytes, &done) != 1) die("peek_ex");
    }
    if (SSL_read(pair.server, bytes, sizeof bytes) != 40) die("read");
    told("s", "recv", 40, 5);
}

// A write that must be retried, and one that is done in parts.
static void retried(int partial) {
    struct pair pair = connected(20000);
    if (partial) SSL_set_mode(pair.client, SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_set_mode(pair.client, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    size_t length = 200000, sent = 0, received = 0;
    int failures = 0;
    unsigned char *bytes = filled(length, 9), got[16384];
    while (received < length) {
        if (sent < length) {
            int done = SSL_write(pair.client, bytes + sent, (int)(length - sent));
            if (done > 0) sent += (size_t)done;
            else failures++;
        }
        int done = SSL_read(pair.server, got, sizeof got);
        if (done > 0) received += (size_t)done;
    }
    if (failures == 0 && !partial) die("no write had to be retried");
    told("c", "send", sent, 9);
    told("s", "recv", received, 9);
}

// TLS over a filter that is itself TLS: each inner call makes outer ones.
static void nested(void) {
    struct pair outer = connected(1 << 20);
    BIO *client = BIO_new(BIO_f_ssl()), *server = BIO_new(BIO_f_ssl());
    BIO_set_ssl(client, outer.client, BIO_NOCLOSE);
    BIO_set_ssl(server, outer.server, BIO_NOCLOSE);
    struct pair inner = over(client, server);
    handshake(&inner);
    puts("inner");
    for (unsigned turn = 0; turn < 100; turn++) transfer(inner.client, inner.server, 100 + turn, turn, 0);
}

static void forked(void) {
    struct pair pair = connected(1 << 20);
    transfer(pair.client, pair.server, 100, 1, 0);
    pid_t child = fork();
    if (child == 0) {
        transfer(pair.client, pair.server, 200, 2, 0);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status) die("child");
    transfer(pair.client, pair.server, 300, 3, 0);
}

static char *self;

static void *exec_here(void *unused) {
    char *arguments[] = {self, "one", NULL};
    execv("/proc/self/exe", arguments);
    die("exec");
    return unused;
}

static void exec_from_thread(void) {
    struct pair pair = connected(1 << 20);
    transfer(pair.client, pair.server, 100, 1, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, exec_here, NULL);
    pthread_join(thread, NULL);
}

static void one(void) {
    image = 1;
    struct pair pair = connected(1 << 20);
    transfer(pair.client, pair.server, 500, 4, 0);
}

// Stack switching inside the BIO's read callback.
struct fiber {
    ucontext_t here, *back;
    struct pair pair;
    int waiting, done;
};

static struct fiber fibers[2];
static ucontext_t scheduler;
static __thread struct fiber *running;
static int switching;

static long yielding(BIO *bio, int operation, const char *argp, size_t length, int argi, long argl, int result,
                     size_t *processed) {
    (void)bio, (void)argp, (void)length, (void)argi, (void)argl, (void)processed;
    if (operation == BIO_CB_READ && switching && running && !running->waiting) {
        struct fiber *own = running;
        own->waiting = 1;
        swapcontext(&own->here, own->back);
        running = own;
    }
    return result;
}

static void read_in_fiber(int index) {
    struct fiber *fiber = &fibers[index];
    running = fiber;
    unsigned char got[64];
    for (int turn = 0; turn < 3; turn++) {
        fiber->waiting = 0;
        if (SSL_read(fiber->pair.server, got, sizeof got) != 40) die("fiber read");
        told(index ? "fiber1" : "fiber0", "recv", 40, 60 + (unsigned)index);
    }
    fiber->done = 1;
    swapcontext(&fiber->here, fiber->back);
}

// `order` picks which fiber has the higher stack, and which of two calls under way ends first.
static void switched(int order) {
    static char stacks[2][256 << 10];
    for (int index = 0; index < 2; index++) {
        struct fiber *fiber = &fibers[index];
        fiber->back = &scheduler;
        fiber->pair = connected(1 << 20);
        unsigned char *bytes = filled(40, 60 + (unsigned)index);
        for (int turn = 0; turn < 3; turn++)
            if (SSL_write(fiber->pair.client, bytes, 40) != 40) die("write");
        BIO_set_callback_ex(SSL_get_rbio(fiber->pair.server), yielding);
        getcontext(&fiber->here);
        fiber->here.uc_stack.ss_sp = stacks[(order >> 1) ^ index];
        fiber->here.uc_stack.ss_size = sizeof stacks[0];
        fiber->here.uc_link = &scheduler;
        makecontext(&fiber->here, (void (*)(void))read_in_fiber, 1, index);
    }
    switching = 1;
    while (!fibers[0].done || !fibers[1].done) {
        for (int index = 0; index < 2; index++) {
            struct fiber *fiber = &fibers[index ^ (order & 1)];
            if (!fiber->done) swapcontext(&scheduler, &fiber->here);
        }
    }
    switching = 0;
    puts("survived");
}

// One call on the thread's own stack stays under way while another, on a second stack, comes and goes; and the reverse.
static void switched_main(int reverse) {
    static char stack[256 << 10];
    for (int index = 0; index < 2; index++) {
        struct fiber *fiber = &fibers[index];
        fiber->back = &scheduler;
        fiber->pair = connected(1 << 20);
        unsigned char *bytes = filled(40, 60 + (unsigned)index);
        for (int turn = 0; turn < 3; turn++)
            if (SSL_write(fiber->pair.client, bytes, 40) != 40) die("write");
        BIO_set_callback_ex(SSL_get_rbio(fiber->pair.server), yielding);
    }
    getcontext(&fibers[1].here);
    fibers[1].here.uc_stack.ss_sp = stack;
    fibers[1].here.uc_stack.ss_size = sizeof stack;
    fibers[1].here.uc_link = &scheduler;
    makecontext(&fibers[1].here, (void (*)(void))read_in_fiber, 1, 1);
    switching = 1;
    unsigned char got[64];
    if (reverse) {
        // The second stack's call is under way; the own stack's begins and ends meanwhile, then the other ends.
        swapcontext(&scheduler, &fibers[1].here);
        running = NULL;
        for (int turn = 0; turn < 3; turn++)
            if (SSL_read(fibers[0].pair.server, got, sizeof got) != 40) die("own read");
        while (!fibers[1].done) swapcontext(&scheduler, &fibers[1].here);
    } else {
        // In the own call's callback the second stack's call begins; the own one ends while that is under way.
        running = &fibers[0];
        fibers[0].back = &fibers[1].here;
        fibers[1].back = &fibers[0].here;
        if (SSL_read(fibers[0].pair.server, got, sizeof got) != 40) die("own read");
        fibers[1].back = &scheduler;
        while (!fibers[1].done) swapcontext(&scheduler, &fibers[1].here);
    }
    switching = 0;
    puts("survived");
}

static void *idle(void *unused) {
    pause();
    return unused;
}

// A call begins on one thread and returns on another.
static void *resume(void *fiber) {
    swapcontext(&scheduler, &((struct fiber *)fiber)->here);
    return NULL;
}

static void migrated(void) {
    static char stack[256 << 10];
    struct fiber *fiber = &fibers[0];
    fiber->back = &scheduler;
    fiber->pair = connected(1 << 20);
    unsigned char *bytes = filled(40, 60);
    for (int turn = 0; turn < 3; turn++)
        if (SSL_write(fiber->pair.client, bytes, 40) != 40) die("write");
    BIO_set_callback_ex(SSL_get_rbio(fiber->pair.server), yielding);
    getcontext(&fiber->here);
    fiber->here.uc_stack.ss_sp = stack;
    fiber->here.uc_stack.ss_size = sizeof stack;
    fiber->here.uc_link = &scheduler;
    makecontext(&fiber->here, (void (*)(void))read_in_fiber, 1, 0);
    pthread_t other, thread;
    switching = 1;
    // A second thread exists before the first call, as in any runtime that moves work between threads.
    pthread_create(&other, NULL, idle, NULL);
    while (!fiber->done) {
        pthread_create(&thread, NULL, resume, fiber);
        pthread_join(thread, NULL);
    }
    switching = 0;
    puts("survived");
}

// A callback that leaves the call by longjmp, again and again.
static jmp_buf out;

static long leaving(BIO *bio, int operation, const char *argp, size_t length, int argi, long argl, int result,
                    size_t *processed) {
    (void)bio, (void)argp, (void)length, (void)argi, (void)argl, (void)processed;
    if (operation == BIO_CB_READ && switching) longjmp(out, 1);
    return result;
}

static void jumped(void) {
    struct pair pair = connected(1 << 20);
    BIO_set_callback_ex(SSL_get_rbio(pair.server), leaving);
    unsigned char got[64];
    for (int turn = 0; turn < 50; turn++) {
        switching = 1;
        if (setjmp(out) == 0) {
            SSL_read(pair.server, got, sizeof got);
            die("not left");
        }
    }
    switching = 0;
    struct pair fresh = connected(1 << 20);
    puts("fresh");
    transfer(fresh.client, fresh.server, 100, 1, 0);
    puts("survived");
}

// Only the calls that a program of this kind makes are allowed; any other ends it.
static void confined(void) {
    struct pair pair = connected(1 << 20);
    transfer(pair.client, pair.server, 10, 1, 0);
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read), ALLOW(write), ALLOW(brk), ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(futex),
        ALLOW(exit), ALLOW(exit_group), ALLOW(getrandom), ALLOW(clock_gettime), ALLOW(getpid),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) die("seccomp");
    for (unsigned turn = 2; turn < 50; turn++) transfer(pair.client, pair.server, 100, turn, 0);
    puts("survived");
}

// Writes for a while, a piece a millisecond.
static void streaming(void) {
    struct pair pair = connected(1 << 20);
    unsigned char bytes[40] = {0}, got[64];
    puts("ready");
    fflush(stdout);
    for (int turn = 0; turn < 3000; turn++) {
        if (SSL_write(pair.client, bytes, sizeof bytes) != sizeof bytes) die("write");
        if (SSL_read(pair.server, got, sizeof got) != sizeof bytes) die("read");
        usleep(1000);
    }
    puts("survived");
}

// One connection that is used for some seconds, and tells all that it carries.
static void ticking(void) {
    struct pair pair = connected(1 << 20);
    for (unsigned turn = 0; turn < 3000; turn++) {
        transfer(pair.client, pair.server, 40, turn, turn & 1);
        usleep(1000);
    }
    SSL_free(pair.client);
    SSL_free(pair.server);
}

static double between(struct timespec begin, struct timespec end) {
    return (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
}

// Nanoseconds per write and read of `length` bytes: of the clock, and of this process's own processor time.
static void measured(size_t length, int turns) {
    struct pair pair = connected(1 << 20);
    unsigned char *bytes = filled(length, 1), *got = malloc(length);
    struct timespec begin, end, cpu_begin, cpu_end;
    for (int turn = -turns / 10; turn < turns; turn++) {
        if (turn == 0) {
            clock_gettime(CLOCK_MONOTONIC, &begin);
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_begin);
        }
        if (SSL_write(pair.client, bytes, (int)length) != (int)length) die("write");
        for (size_t done = 0; done < length;) {
            int more = SSL_read(pair.server, got, (int)length);
            if (more <= 0) die("read");
            done += (size_t)more;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_end);
    printf("%.1f %.1f\n", between(begin, end) / turns, between(cpu_begin, cpu_end) / turns);
}

int main(int count, char **arguments) {
    self = arguments[0];
    if (count < 2) return 2;
    const char *what = arguments[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "sizes")) sizes(0);
    else if (!strcmp(what, "sizes-ex")) sizes(1);
    else if (!strcmp(what, "peek")) peeked();
    else if (!strcmp(what, "retry")) retried(0);
    else if (!strcmp(what, "partial")) retried(1);
    else if (!strcmp(what, "nested")) nested();
    else if (!strcmp(what, "fork")) forked();
    else if (!strcmp(what, "exec")) exec_from_thread();
    else if (!strcmp(what, "one")) one();
    else if (!strncmp(what, "switch", 6)) {
        pthread_t thread;
        if (what[7] == 't') pthread_create(&thread, NULL, idle, NULL);
        switched(what[6] - '0');
    } else if (!strcmp(what, "own-then-other")) switched_main(0);
    else if (!strcmp(what, "other-then-own")) switched_main(1);
    else if (!strcmp(what, "migrate")) migrated();
    else if (!strcmp(what, "longjmp")) jumped();
    else if (!strcmp(what, "seccomp")) confined();
    else if (!strcmp(what, "stream")) streaming();
    else if (!strcmp(what, "idle")) sleep(60);
    else if (!strcmp(what, "tick")) ticking();
    else if (!strcmp(what, "tick-fork")) {
        ticking();
        forked();
    }
    else if (!strcmp(what, "measure") && count == 4) measured((size_t)atol(arguments[2]), atoi(arguments[3]));
    else return 2;
    // As a crash would: nothing is freed.
    fflush(stdout);
    _exit(0);
}
