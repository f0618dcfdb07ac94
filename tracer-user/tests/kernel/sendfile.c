// SSL_sendfile, which needs a kernel with TLS: what it is given counts as sent.
#include "form.h"
#include "told.h"

EXPORTED long SSL_sendfile(void *ssl, int file, long offset, size_t length, int flags) {
    (void)ssl, (void)file, (void)offset, (void)flags;
    __asm__ volatile("" ::: "memory");
    return (long)length;
}

int main(void) {
    static int ssl;
    SSL_write(&ssl, filled(100, 1), 100);
    SSL_sendfile(&ssl, 3, 0, 50000, 0);
    SSL_sendfile(&ssl, 3, 0, (size_t)-1, 0);
    SSL_write(&ssl, filled(60, 2), 60);
    told("c", "send", 160, 1);
    return 0;
}
