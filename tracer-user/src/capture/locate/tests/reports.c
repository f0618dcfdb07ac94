/* The part of a TLS library that reports errors as BoringSSL does: a program, made without symbols by the test. The
 * functions do what BoringSSL's documentation says of those of the same names; the code is our own. */

typedef unsigned long size;
typedef struct ssl ssl;
struct method {
    char dtls;
    int (*make)(ssl *);
    void (*end)(ssl *);
    int (*other[5])(ssl *);
    int (*receive)(ssl *, unsigned char *);
    int (*send)(ssl *, char *, size *, const unsigned char *, size);
};
struct state {
    char before[0x80];
    const unsigned char *pending;
    size pending_length;
    int error;
};
struct ssl {
    const struct method *method;
    void *config;
    int (*handshake)(ssl *);
    struct state *state;
    void *quic;
    char *name;
};

void report(int library, int unused, int reason, const char *file, unsigned line);
void clear_errors(void);
void *copy(void *to, const void *from, size length);
size length_of(const char *text);
char *duplicate(const char *text);
void release(void *);
void release_extra(void *class, void *data);
int SSL_do_handshake(ssl *);
char class_of_extra[64];

/* Callers of a library are not compiled with it. */
#define API __attribute__((noinline))
#ifdef SEPARATE_PEEK
#define PEEK API
#else
#define PEEK
#endif

#define PUT_ERROR(reason) report(16, 0, reason, "/src/boringssl/ssl/ssl_lib.cc", __LINE__)

static int is_quic(const ssl *s) { return s->quic != 0; }

static int fill(ssl *s) {
    s->state->error = 0;
    clear_errors();
    if (s->handshake == 0) {
        PUT_ERROR(226);
        return -1;
    }
    while (s->state->pending_length == 0) {
        unsigned char alert = 50;
        int done = SSL_do_handshake(s);
        if (done < 0) return done;
        if (done == 0) {
            PUT_ERROR(215);
            return -1;
        }
        done = s->method->receive(s, &alert);
        if (done <= 0) return done;
    }
    return 1;
}

PEEK int SSL_peek(ssl *s, void *buf, int num) {
    if (is_quic(s)) {
        PUT_ERROR(66);
        return -1;
    }
    int ret = fill(s);
    if (ret <= 0) return ret;
    if (num <= 0) return num;
    size todo = s->state->pending_length < (size)num ? s->state->pending_length : (size)num;
    copy(buf, s->state->pending, todo);
    return (int)todo;
}

API int SSL_read(ssl *s, void *buf, int num) {
    int ret = SSL_peek(s, buf, num);
    if (ret <= 0) return ret;
    s->state->pending += ret;
    s->state->pending_length -= (size)ret;
    return ret;
}

API int SSL_write(ssl *s, const void *buf, int num) {
    s->state->error = 0;
    clear_errors();
    if (is_quic(s)) {
        PUT_ERROR(66);
        return -1;
    }
    if (s->handshake == 0) {
        PUT_ERROR(226);
        return -1;
    }
    int ret = 0;
    size written = 0;
    char again = 0;
    do {
        ret = SSL_do_handshake(s);
        if (ret < 0) return ret;
        if (ret == 0) {
            PUT_ERROR(215);
            return -1;
        }
        if (num < 0) {
            PUT_ERROR(111);
            return -1;
        }
        ret = s->method->send(s, &again, &written, buf, (size)num);
    } while (again);
    return ret <= 0 ? ret : (int)written;
}

API int SSL_key_update(ssl *s, int kind) {
    if (s->handshake == 0) {
        PUT_ERROR(226);
        return 0;
    }
    if (is_quic(s)) {
        PUT_ERROR(66);
        return 0;
    }
    return s->method->other[0](s) + kind;
}

API int SSL_shutdown(ssl *s) {
    s->state->error = 0;
    if (s->handshake == 0) {
        PUT_ERROR(226);
        return -1;
    }
    int ret = fill(s);
    if (ret > 0) {
        PUT_ERROR(291);
        return -1;
    }
    return ret;
}

API int SSL_set_tlsext_host_name(ssl *s, const char *name) {
    release(s->name);
    s->name = 0;
    if (name == 0) return 1;
    size length = length_of(name);
    if (length == 0 || length > 255) {
        PUT_ERROR(213);
        return 0;
    }
    s->name = duplicate(name);
    return s->name != 0;
}

API void SSL_free(ssl *s) {
    if (s == 0) return;
    release_extra(class_of_extra, &s->name);
    release(s->config);
    if (s->method) s->method->end(s);
    release(s);
}

API int SSL_clear(ssl *s) {
    s->method->end(s);
    return s->method->make(s);
}

int talk(ssl *s, char *buf, int num) {
    SSL_set_tlsext_host_name(s, buf);
    if (SSL_write(s, buf, num) < 0) SSL_write(s, buf, 1);
    if (SSL_read(s, buf, num) < 0) SSL_read(s, buf, 1);
    SSL_key_update(s, num);
    if (SSL_shutdown(s) == 0) return SSL_peek(s, buf, num);
    SSL_clear(s);
    SSL_shutdown(s);
    SSL_free(s);
    return 0;
}
