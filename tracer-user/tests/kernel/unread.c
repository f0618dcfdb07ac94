// Functions of the form of a TLS library, and one long transfer on one connection.
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

EXPORTED void SSL_free(void *ssl) {
    (void)ssl;
    __asm__ volatile("" ::: "memory");
}

// By which the library is known.
EXPORTED void SSL_CTX_set_custom_verify(void) { __asm__ volatile(""); }

int main(void) {
    static int ssl;
    for (unsigned turn = 0; turn < 300; turn++) {
        SSL_write(&ssl, filled(10000, turn), 10000);
        told("c", "send", 10000, turn);
        usleep(2000);
    }
    SSL_free(&ssl);
    return 0;
}
