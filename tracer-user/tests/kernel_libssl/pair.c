/* A TLS client and server in one process, joined by a BIO pair, over the libssl and libcrypto that are named on the
   command line. It makes every kind of read and write call, lets them fail, stop half-way and be retried, peeks, and
   renegotiates in the middle of reads. At the end it tells how many bytes each side really sent:

       pair LIBSSL LIBCRYPTO CERTIFICATE KEY VERSION
       pair 0x303 sent 1234 and 5678

   Byte number `i` of a stream is pattern(i, side). No header of OpenSSL is needed, so that one program serves all. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *any;

#define FUNCTIONS(X)                                                                                                   \
    X(ssl, any, TLS_client_method, (void))                                                                             \
    X(ssl, any, TLS_server_method, (void))                                                                             \
    X(ssl, any, SSL_CTX_new, (any))                                                                                    \
    X(ssl, long, SSL_CTX_ctrl, (any, int, long, any))                                                                  \
    X(ssl, int, SSL_CTX_use_certificate_file, (any, const char *, int))                                                \
    X(ssl, int, SSL_CTX_use_PrivateKey_file, (any, const char *, int))                                                 \
    X(ssl, any, SSL_new, (any))                                                                                        \
    X(ssl, void, SSL_set_bio, (any, any, any))                                                                         \
    X(ssl, void, SSL_set_connect_state, (any))                                                                         \
    X(ssl, void, SSL_set_accept_state, (any))                                                                          \
    X(ssl, long, SSL_ctrl, (any, int, long, any))                                                                      \
    X(ssl, int, SSL_do_handshake, (any))                                                                               \
    X(ssl, int, SSL_renegotiate, (any))                                                                                \
    X(ssl, int, SSL_renegotiate_pending, (any))                                                                        \
    X(ssl, int, SSL_get_error, (any, int))                                                                             \
    X(ssl, int, SSL_read, (any, void *, int))                                                                          \
    X(ssl, int, SSL_peek, (any, void *, int))                                                                          \
    X(ssl, int, SSL_write, (any, const void *, int))                                                                   \
    X(ssl, int, SSL_read_ex, (any, void *, size_t, size_t *))                                                          \
    X(ssl, int, SSL_peek_ex, (any, void *, size_t, size_t *))                                                          \
    X(ssl, int, SSL_write_ex, (any, const void *, size_t, size_t *))                                                   \
    X(ssl, int, SSL_shutdown, (any))                                                                                   \
    X(ssl, void, SSL_free, (any))                                                                                      \
    X(crypto, int, BIO_new_bio_pair, (any *, size_t, any *, size_t))                                                   \
    X(crypto, void, ERR_clear_error, (void))

#define DECLARE(library, result, name, arguments) static result(*name) arguments;
FUNCTIONS(DECLARE)
static int (*SSL_write_ex2)(any, const void *, size_t, unsigned long, size_t *);

enum { CTRL_MODE = 33, CTRL_HOST_NAME = 55, CTRL_MIN_VERSION = 123, CTRL_MAX_VERSION = 124 };
enum { PARTIAL_WRITE = 1, MOVING_BUFFER = 2 };
enum { TLS1_2 = 0x303, ROOM = 20000, LARGE = 1 << 20 };

static any client, server;
/* What each side has sent, and what the other has read of it. */
static size_t sent[2], got[2];
static unsigned char out[LARGE], moved[LARGE], in[LARGE];

static void fail(const char *what)
{
    fprintf(stderr, "pair: %s\n", what);
    exit(1);
}

static unsigned char pattern(size_t i, int side) { return (unsigned char)(i * 131 + (i >> 8) * 17 + (i >> 16) * 5 + (size_t)side * 59); }

static void fill(unsigned char *to, size_t length, int side)
{
    for (size_t i = 0; i < length; i++)
        to[i] = pattern(sent[side] + i, side);
}

static void check(const unsigned char *bytes, size_t length, int side)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != pattern(got[side] + i, side))
            fail("the library itself gave wrong bytes");
}

/* Reads what `side` has sent, at most `room` at once, in one of three ways. */
static int read_some(int side, int room, int way)
{
    any at = side ? client : server;
    size_t done = 0;
    int result;

    ERR_clear_error();
    if (way == 1) {
        if (SSL_peek(at, in, room) > 0)
            check(in, 1, side);
        result = SSL_read(at, in, room);
        done = result > 0 ? (size_t)result : 0;
    } else if (way == 2) {
        if (SSL_peek_ex(at, in, (size_t)room / 2 + 1, &done))
            check(in, done, side);
        done = 0;
        result = SSL_read_ex(at, in, (size_t)room, &done);
    } else {
        result = SSL_read(at, in, room);
        done = result > 0 ? (size_t)result : 0;
    }
    check(in, done, side);
    got[side] += done;
    return done > 0;
}

/* Sends `length` bytes from `side`, with retries while the other side makes room. */
static void send_all(int side, size_t length, int way)
{
    any at = side ? server : client;
    size_t end = sent[side] + length;
    int tries = 0;

    while (sent[side] < end) {
        size_t done = 0, left = end - sent[side];
        /* The same bytes from another place on every second try. */
        unsigned char *from = tries % 2 ? moved : out;
        int result;

        fill(from, left, side);
        ERR_clear_error();
        if (way == 1)
            result = SSL_write_ex(at, from, left, &done);
        else if (way == 2 && SSL_write_ex2)
            result = SSL_write_ex2(at, from, left, 0, &done);
        else
            result = SSL_write(at, from, (int)left), done = result > 0 ? (size_t)result : 0;
        if (result > 0)
            sent[side] += done;
        else
            while (read_some(side, 5000 + tries % 3000, tries % 3))
                ;
        memset(from, 0xee, left);
        if (++tries > 100000)
            fail("stuck in a write");
    }
}

static void read_all(int side, int room, int way)
{
    for (int tries = 0; got[side] < sent[side]; tries++) {
        read_some(side, room, way);
        if (tries > 2000000)
            fail("stuck in a read");
    }
    /* And one that finds nothing. */
    if (read_some(side, room, way))
        fail("bytes from nowhere");
}

static void shake(void)
{
    for (int i = 0; i < 100; i++) {
        int a = SSL_do_handshake(client), b = SSL_do_handshake(server);
        if (a == 1 && b == 1)
            return;
        ERR_clear_error();
    }
    fail("handshake");
}

/* A new handshake, begun by the server, with bytes on the way in both directions. Those of the server reach the client
   after its ClientHello: the library finds them while it reads for the handshake, and asks its record layer again. */
static void renegotiate(int way)
{
    send_all(0, 700, way);
    if (SSL_renegotiate(server) != 1 || SSL_do_handshake(server) != 1)
        fail("renegotiation was refused");
    if (read_some(1, 100, 0))
        fail("bytes from nowhere");
    send_all(1, 900, way);
    read_some(1, 500, way);
    read_some(0, 400, way);
    read_all(0, 1000, way);
    read_all(1, 1000, way);
    for (int i = 0; i < 20; i++) {
        read_some(0, 10, way);
        read_some(1, 10, way);
    }
    if (SSL_renegotiate_pending(client) || SSL_renegotiate_pending(server))
        fail("renegotiation did not end");
}

static any context(any method, long version, const char *certificate, const char *key)
{
    any made = SSL_CTX_new(method);
    SSL_CTX_ctrl(made, CTRL_MIN_VERSION, version, NULL);
    SSL_CTX_ctrl(made, CTRL_MAX_VERSION, version, NULL);
    SSL_CTX_ctrl(made, CTRL_MODE, MOVING_BUFFER, NULL);
    if (certificate && (SSL_CTX_use_certificate_file(made, certificate, 1) != 1 || SSL_CTX_use_PrivateKey_file(made, key, 1) != 1))
        fail("certificate");
    return made;
}

int main(int count, char **arguments)
{
    char line[16];
    any crypto, ssl, ours, theirs;
    long version;

    if (count != 6)
        fail("wrong arguments");
    crypto = dlopen(arguments[2], RTLD_NOW | RTLD_GLOBAL);
    ssl = dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL);
    if (!crypto || !ssl)
        fail(dlerror());
#define LOAD(library, result, name, arguments)                                                                         \
    if (!(name = (result(*) arguments)dlsym(library, #name)))                                                          \
        fail(#name);
    FUNCTIONS(LOAD)
    SSL_write_ex2 = (int (*)(any, const void *, size_t, unsigned long, size_t *))dlsym(ssl, "SSL_write_ex2");

    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        fail("no word to begin");

    version = strtol(arguments[5], NULL, 0);
    client = SSL_new(context(TLS_client_method(), version, NULL, NULL));
    server = SSL_new(context(TLS_server_method(), version, arguments[3], arguments[4]));
    if (BIO_new_bio_pair(&ours, ROOM, &theirs, ROOM) != 1)
        fail("BIO pair");
    SSL_set_bio(client, ours, ours);
    SSL_set_bio(server, theirs, theirs);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    SSL_ctrl(client, CTRL_HOST_NAME, 0, "pair.example");
    shake();

    for (int way = 0; way < 3; way++) {
        for (int side = 0; side < 2; side++) {
            send_all(side, 40, way);
            read_all(side, 7, way);
            send_all(side, 16384, way);
            read_all(side, 20000, way);
            send_all(side, LARGE - 11, way);
            read_all(side, 16384, way);
        }
        if (version == TLS1_2)
            renegotiate(way);
    }
    SSL_write(client, out, 0);
    SSL_ctrl(server, CTRL_MODE, PARTIAL_WRITE | MOVING_BUFFER, NULL);
    for (int way = 0; way < 3; way++) {
        send_all(1, 300000, way);
        read_all(1, 9000, way);
    }
    printf("pair %s sent %zu and %zu\n", arguments[5], sent[0], sent[1]);
    SSL_shutdown(client);
    SSL_shutdown(server);
    SSL_free(client);
    SSL_free(server);
    return 0;
}
