// Holds what `llmtap doctor` is to find, until its input ends: holder KIND [FILE]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef LINKED
#include <openssl/ssl.h>
#endif

// A name that error reports would carry, in a program that has no such library.
const char *const source = SOURCE;

#ifdef REPORTED
// The reports, of the library with this number.
__attribute__((noipa)) void report(int library, int unused, int reason, const char *file) {
    if (reason) printf("%d %d %d %s\n", library, unused, reason, file);
}
#define FAIL(reason) __attribute__((used)) void fail_##reason(void) { report(REPORTED, 0, reason, SOURCE); }
FAIL(301) FAIL(302) FAIL(303) FAIL(304) FAIL(305) FAIL(306) FAIL(307) FAIL(308) FAIL(309)
#endif

int main(int count, char **arguments) {
    const char *kind = count > 1 ? arguments[1] : "nothing", *file = count > 2 ? arguments[2] : "";
    int ok = 1;
#ifdef LINKED
    SSL *ssl = SSL_new(SSL_CTX_new(TLS_method()));
    ok = SSL_write(ssl, source, 1) < 1 && SSL_read(ssl, &count, 1) < 1;
#endif
    if (!strcmp(kind, "load")) {
        ok = dlopen(file, RTLD_NOW) != NULL;
    } else if (!strcmp(kind, "map")) {
        ok = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, open(file, O_RDONLY), 0) != MAP_FAILED;
    } else if (!strcmp(kind, "ring")) {
        char parameters[120] = {0};
        ok = syscall(SYS_io_uring_setup, 4, parameters) >= 0;
    } else if (!strcmp(kind, "quic")) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443), .sin_addr = {htonl(INADDR_LOOPBACK)}};
        ok = connect(socket(AF_INET, SOCK_DGRAM, 0), (struct sockaddr *)&to, sizeof to) == 0;
    }
    puts(ok ? "ready" : "failed");
    fflush(stdout);
    while (read(0, &ok, 1) > 0) continue;
    return source[0] == 0;
}
