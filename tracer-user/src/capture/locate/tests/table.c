/* A libssl in miniature: the exported functions, the method table and the functions behind it, in the shapes that
   compilers make of the real ones. Macros choose the release and what is wrong with it.

   SLOTS      words before ssl_read: 7 as in 1.1.1 and 3.0 (0x38), 10 as from 3.2 on (0x50)
   NO_COUNT   releases before 1.1.1 passed no count
   PEEK       the flag that ssl_peek passes: 1 in the real one
   GLOBAL     TLS_method gets at the table through the global offset table
   MAIN       an executable
   NAMED      it names the source file of its error reports, where it reports them
   SECOND     a second table with another function that writes: the file holds two libraries */

#include <stddef.h>

#ifndef SLOTS
#define SLOTS 7
#endif
#ifndef PEEK
#define PEEK 1
#endif

#ifdef NO_COUNT
#define READ_BYTES(s, type, kind, buf, len, peek, done) \
    (*(done) = (len), ((int (*)(struct ssl *, int, int *, void *, size_t, int))(s)->method->read_bytes)(s, type, kind, buf, len, peek))
#else
#define READ_BYTES(s, ...) (s)->method->read_bytes(s, __VA_ARGS__)
#endif

#if SLOTS == 7
#define FIRST { nothing, slot_clear, slot_free, nothing, nothing }
#else
#define FIRST { nothing, slot_free, nothing, nothing, slot_clear, nothing, nothing, nothing }
#endif

struct ssl;

struct method {
    long version, flags;
    void (*other[SLOTS - 2])(struct ssl *);
    int (*read)(struct ssl *, void *, size_t, size_t *);
    int (*peek)(struct ssl *, void *, size_t, size_t *);
    int (*write)(struct ssl *, const void *, size_t, size_t *);
    int (*shutdown)(struct ssl *);
    int (*renegotiate)(struct ssl *);
    int (*renegotiate_check)(struct ssl *, int);
    int (*read_bytes)(struct ssl *, int, int *, unsigned char *, size_t, int, size_t *);
    int (*write_bytes)(struct ssl *, int, const void *, size_t, size_t *);
    int (*dispatch)(struct ssl *);
    long (*ctrl)(struct ssl *, int, long, void *);
};

struct ssl {
    long version;
    const struct method *method;
    int renegotiate, in_read;
    size_t references;
};

extern int *error_number(void);
extern void in_handshake(struct ssl *, int);

static void nothing(struct ssl *s) { s->version++; }
static void slot_clear(struct ssl *s) { s->version = 0; }
static void slot_free(struct ssl *s) { s->version--; }
static long slot_ctrl(struct ssl *s, int command, long number, void *at) { return at ? command + number : s->version; }
static int slot_shutdown(struct ssl *s) { return (int)s->version; }
static int again(struct ssl *s) { return s->renegotiate = 1; }
static int check(struct ssl *s, int initial) { return s->renegotiate && initial; }

static int read_bytes(struct ssl *s, int type, int *kind, unsigned char *buf, size_t len, int peek, size_t *done)
{
    if (kind)
        *kind = type;
    for (size_t i = 0; i < len; i++)
        buf[i] = (unsigned char)(s->version + peek);
    *done = len;
    return 1;
}

static int write_bytes(struct ssl *s, int type, const void *buf, size_t len, size_t *done)
{
    s->version += type + *(const char *)buf;
    *done = len;
    return 1;
}

static int read_any(struct ssl *s, void *buf, size_t len, int peek, size_t *done)
{
    int result;

    *error_number() = 0;
    if (s->renegotiate)
        s->method->renegotiate_check(s, 0);
    s->in_read = 1;
    result = READ_BYTES(s, 23, NULL, buf, len, peek, done);
    if (result == -1 && s->in_read == 2) {
        in_handshake(s, 1);
        result = READ_BYTES(s, 23, NULL, buf, len, peek, done);
        in_handshake(s, 0);
    } else {
        s->in_read = 0;
    }
    return result;
}

__attribute__((noinline)) static int slot_read(struct ssl *s, void *buf, size_t len, size_t *done) { return read_any(s, buf, len, 0, done); }
__attribute__((noinline)) static int slot_peek(struct ssl *s, void *buf, size_t len, size_t *done) { return read_any(s, buf, len, PEEK, done); }

__attribute__((noinline)) static int slot_write(struct ssl *s, const void *buf, size_t len, size_t *done)
{
    *error_number() = 0;
    if (s->renegotiate)
        s->method->renegotiate_check(s, 0);
    return s->method->write_bytes(s, 23, buf, len, done);
}

#ifdef GLOBAL
const struct method table;
const struct method *TLS_method(void);
__attribute__((visibility("default")))
#else
static
#endif
const struct method table = {
    0x10000, 0, FIRST, slot_read, slot_peek, slot_write, slot_shutdown, again, check, read_bytes, write_bytes, again, slot_ctrl,
};

#ifdef SECOND
__attribute__((noinline)) static int other_write(struct ssl *s, const void *buf, size_t len, size_t *done)
{
    return s->method->write_bytes(s, 23, buf, len, done);
}
const struct method second = {
    0x10000, 0, FIRST, slot_read, slot_peek, other_write, slot_shutdown, again, check, read_bytes, write_bytes, again, slot_ctrl,
};
#endif

#ifdef NAMED
int reported;
__attribute__((noipa, used)) static void report(int reason, const char *file) { reported += reason + file[0]; }
#define FAIL(reason) __attribute__((noinline, used)) static void fail_##reason(void) { report(reason, "../ssl/ssl_lib.c"); }
FAIL(301) FAIL(302) FAIL(303) FAIL(304) FAIL(305) FAIL(306) FAIL(307) FAIL(308) FAIL(309)
#endif

const struct method *TLS_method(void) { return &table; }

int SSL_read_ex(struct ssl *s, void *buf, size_t len, size_t *done) { return s->method->read(s, buf, len, done) > 0; }
int SSL_peek_ex(struct ssl *s, void *buf, size_t len, size_t *done) { return s->method->peek(s, buf, len, done) > 0; }
int SSL_write_ex2(struct ssl *s, const void *buf, size_t len, unsigned long flags, size_t *done)
{
    return flags ? 0 : s->method->write(s, buf, len, done) > 0;
}
int SSL_write_ex(struct ssl *s, const void *buf, size_t len, size_t *done) { return SSL_write_ex2(s, buf, len, 0, done); }

int SSL_read(struct ssl *s, void *buf, int len)
{
    size_t done;
    int result = s->method->read(s, buf, (size_t)len, &done);
    return result > 0 ? (int)done : result;
}

int SSL_write(struct ssl *s, const void *buf, int len)
{
    size_t done;
    int result = s->method->write(s, buf, (size_t)len, &done);
    return result > 0 ? (int)done : result;
}

void SSL_free(struct ssl *s)
{
    if (s == NULL || --s->references)
        return;
    s->method->shutdown(s);
}

#ifdef MAIN
static int number;
int *error_number(void) { return &number; }
void in_handshake(struct ssl *s, int on) { s->in_read = on; }
int main(void) { return SSL_read((struct ssl *)0, (void *)0, 0); }
#endif
