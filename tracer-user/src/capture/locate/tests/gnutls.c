// The calls that lead to GnuTLS's two inner functions, as its sources make them (`record.c`), and nothing else of it.
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

struct session {
    char bytes[4096];
    size_t length, state;
    int (*hook)(struct session *);
};

enum { ALERT = 21, APPLICATION_DATA = 23, EPOCH = 70001 };
#ifndef TYPE
#define TYPE APPLICATION_DATA
#endif

static __attribute__((noinline, noclone)) ssize_t receive(struct session *session, int type, void *to, size_t length,
                                                          void *sequence, unsigned ms) {
    if (session->hook && session->hook(session) < (int)ms) return -1;
    if (sequence) memset(sequence, type, 8);
    if (length > session->length) length = session->length;
    memcpy(to, session->bytes, length);
    return (ssize_t)length;
}

static __attribute__((noinline, noclone)) ssize_t send(struct session *session, int type, int handshake, unsigned epoch,
                                                       const void *from, size_t length, size_t pad, unsigned flags) {
    if (handshake > 0 || length + pad > sizeof session->bytes) return -1;
    if (session->hook && session->hook(session) < 0) return -28;
    memcpy(session->bytes, from, length);
    session->state = epoch + flags + (unsigned)type;
    return (ssize_t)length;
}

ssize_t gnutls_record_recv_seq(struct session *session, void *to, size_t length, unsigned char *sequence) {
    return receive(session, TYPE, to, length, sequence, 10);
}

ssize_t gnutls_record_recv(struct session *session, void *to, size_t length) {
    return receive(session, APPLICATION_DATA, to, length, NULL, 10);
}

ssize_t gnutls_record_send2(struct session *session, const void *from, size_t length, size_t pad, unsigned flags) {
    switch (session->state) {
    case 0:
        return send(session, APPLICATION_DATA, -1, EPOCH, from, length, pad, 1);
    case 1:
    case 4:
        memcpy(session->bytes + session->length, from, length);
        return (ssize_t)length;
    case 2:
        session->state = 3;
        // fall through
    case 3:
        if (session->hook(session) < 0) return -1;
        return send(session, APPLICATION_DATA, -1, EPOCH, session->bytes, session->length, 0, 1);
    case 5:
        return session->hook(session);
    default:
        return flags ? -2 : -3;
    }
}

int gnutls_bye(struct session *session, int how) {
    char alert[2] = {1, (char)how};
    send(session, ALERT, -1, EPOCH, alert, 2, 0, 1);
    return (int)receive(session, ALERT, NULL, 0, NULL, 10);
}

void gnutls_deinit(struct session *session) { session->hook(session); }

int strverscmp(const char *, const char *);

const char *gnutls_check_version(const char *wanted) {
    return !wanted || strverscmp(wanted, "3.9.1") <= 0 ? "3.9.1" : NULL;
}
