// The loop of `cargo xtask bench`: one SSL_write and the matching SSL_read over a pair of BIOs in memory.
// `pair BYTES PAIRS` prints nanoseconds of this process's processor time per pair, user and system; `pair BYTES PAIRS wait`
// begins at the end of its input.
//
// It rests after every `BURST` bytes, so that a reader of what the hooks emit keeps up: losing records would make the
// hooks look cheap. Rests cost no processor time of the loop's own.
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 2 << 20 };

static void fail(const char *what) {
    fprintf(stderr, "pair: %s\n", what);
    exit(3);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static SSL *end(SSL_CTX *context, BIO *bio) {
    SSL *ssl = SSL_new(context);
    if (!ssl) fail("SSL_new");
    SSL_set_bio(ssl, bio, bio);
    return ssl;
}

int main(int count, char **arguments) {
    if (count != 3 && count != 4) return 2;
    size_t length = strtoul(arguments[1], NULL, 10);
    long pairs = atol(arguments[2]);
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    // Without a certificate: anonymous key exchange, and so TLS 1.2.
    if (!context || !SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(context, "ADH-AES128-GCM-SHA256:@SECLEVEL=0") || !SSL_CTX_set_dh_auto(context, 1))
        fail("context");
    BIO *one, *other;
    if (!BIO_new_bio_pair(&one, 1 << 20, &other, 1 << 20)) fail("BIO_new_bio_pair");
    SSL *client = end(context, one), *server = end(context, other);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int turn = 0; !SSL_is_init_finished(client) || !SSL_is_init_finished(server); turn++) {
        if (turn == 100) fail("handshake");
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    unsigned char *out = malloc(length), *in = malloc(length);
    if (!out || !in) fail("malloc");
    memset(out, 'x', length);
    if (count == 4 && getchar() != EOF) return 2;
    double spent = 0, begin = 0;
    size_t since_rest = 0;
    // The first tenth warms up.
    for (long pair = -pairs / 10; pair < pairs; pair++) {
        if (pair == 0 || since_rest > BURST) {
            if (pair > 0) spent += now() - begin;
            usleep(10000);
            since_rest = 0;
            begin = now();
        }
        if (SSL_write(client, out, (int)length) != (int)length) fail("SSL_write");
        for (size_t done = 0; done < length;) {
            int more = SSL_read(server, in + done, (int)(length - done));
            if (more <= 0) fail("SSL_read");
            done += (size_t)more;
        }
        // What a record holds beside its payload counts, too.
        since_rest += 2 * (length + 128);
    }
    spent += now() - begin;
    if (memcmp(in, out, length)) fail("bytes differ");
    printf("%.1f\n", spent / pairs);
    return 0;
}
