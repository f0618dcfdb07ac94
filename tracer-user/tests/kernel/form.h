// Functions of the form of a TLS library, which do nothing.
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
