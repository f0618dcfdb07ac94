// Functions of the form of a TLS library with SSL_sendfile, which needs a kernel with TLS: what they are given counts as
// sent.
#include "told.h"

#define EXPORTED __attribute__((noinline, visibility("default")))

EXPORTED int SSL_read(void *ssl, void *bytes, int length) {
    (void)ssl, (void)bytes;
    __asm__ volatile("" ::: "memory");
    return length > 0 ? -1 : 0;
}

EXPORTED int SSL_write(void *ssl, const void *bytes, int length) {
    (void)ssl, (void)bytes;
    __asm__ volatile("" ::: "memory");
    return length;
}

EXPORTED long SSL_sendfile(void *ssl, int file, long offset, size_t length, int flags) {
    (void)ssl, (void)file, (void)offset, (void)flags;
    __asm__ volatile("" ::: "memory");
    return (long)length;
}

// By which the library is known.
EXPORTED void SSL_CTX_set_custom_verify(void) { __asm__ volatile(""); }

int main(void) {
    static int ssl;
    SSL_write(&ssl, filled(100, 1), 100);
    SSL_sendfile(&ssl, 3, 0, 50000, 0);
    SSL_sendfile(&ssl, 3, 0, (size_t)-1, 0);
    SSL_write(&ssl, filled(60, 2), 60);
    told("c", "send", 160, 1);
    return 0;
}
