// As target.c, with GnuTLS: each scenario prints what the library carried, one line a transfer,
// as `<pid> <image> <tag> <send|recv> <length> <seed>`; bytes are pattern(seed, position). Both ends of every connection
// live in this process.
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "told.h"

#define PLENTY (1 << 20)

static void die(const char *what, long code) {
    fprintf(stderr, "%s: %s\n", what, gnutls_strerror((int)code));
    exit(3);
}

// One way of the transport: takes no more than `room` bytes at a time.
struct pipe {
    unsigned char bytes[PLENTY];
    size_t length, room;
};

struct end {
    gnutls_session_t session;
    struct pipe *from, *to;
};

static ssize_t push(gnutls_transport_ptr_t pointer, const void *bytes, size_t length) {
    struct end *end = pointer;
    size_t room = end->to->room - end->to->length;
    if (room == 0) {
        gnutls_transport_set_errno(end->session, EAGAIN);
        return -1;
    }
    if (length > room) length = room;
    memcpy(end->to->bytes + end->to->length, bytes, length);
    end->to->length += length;
    return (ssize_t)length;
}

static ssize_t pull(gnutls_transport_ptr_t pointer, void *bytes, size_t length) {
    struct end *end = pointer;
    if (end->from->length == 0) {
        gnutls_transport_set_errno(end->session, EAGAIN);
        return -1;
    }
    if (length > end->from->length) length = end->from->length;
    memcpy(bytes, end->from->bytes, length);
    end->from->length -= length;
    memmove(end->from->bytes, end->from->bytes + length, end->from->length);
    return (ssize_t)length;
}

struct pair {
    struct end client, server;
};

static const gnutls_datum_t key = {(unsigned char *)"sixteen bytes ok", 16};

static int find_key(gnutls_session_t session, const char *name, gnutls_datum_t *out) {
    out->data = gnutls_malloc(key.size);
    memcpy(out->data, key.data, key.size);
    out->size = key.size;
    return 0;
}

static void begin(struct end *end, unsigned flags, const char *priorities, struct pipe *from, struct pipe *to) {
    int code = gnutls_init(&end->session, flags | GNUTLS_NONBLOCK);
    if (code < 0) die("init", code);
    end->from = from;
    end->to = to;
    code = gnutls_priority_set_direct(end->session, priorities, NULL);
    if (code < 0) die("priorities", code);
    gnutls_transport_set_ptr(end->session, end);
    gnutls_transport_set_push_function(end->session, push);
    gnutls_transport_set_pull_function(end->session, pull);
    if (flags & GNUTLS_CLIENT) {
        gnutls_psk_client_credentials_t own;
        gnutls_psk_allocate_client_credentials(&own);
        gnutls_psk_set_client_credentials(own, "someone", &key, GNUTLS_PSK_KEY_RAW);
        gnutls_credentials_set(end->session, GNUTLS_CRD_PSK, own);
        // Not terminated: the length counts.
        gnutls_server_name_set(end->session, GNUTLS_NAME_DNS, "model.example, no more", strlen("model.example"));
    } else {
        gnutls_psk_server_credentials_t own;
        gnutls_psk_allocate_server_credentials(&own);
        gnutls_psk_set_server_credentials_function(own, find_key);
        gnutls_credentials_set(end->session, GNUTLS_CRD_PSK, own);
    }
}

static struct pair *connected(const char *version) {
    struct pair *pair = calloc(1, sizeof *pair);
    struct pipe *one = calloc(1, sizeof *one), *other = calloc(1, sizeof *other);
    char priorities[100];
    snprintf(priorities, sizeof priorities, "NORMAL:-VERS-ALL:+VERS-%s:+ECDHE-PSK:+PSK", version);
    one->room = other->room = PLENTY;
    begin(&pair->client, GNUTLS_CLIENT, priorities, one, other);
    begin(&pair->server, GNUTLS_SERVER, priorities, other, one);
    int client = GNUTLS_E_AGAIN, server = GNUTLS_E_AGAIN;
    for (int turn = 0; turn < 100; turn++) {
        if (client) client = gnutls_handshake(pair->client.session);
        if (server) server = gnutls_handshake(pair->server.session);
        if (client == 0 && server == 0) return pair;
        if (gnutls_error_is_fatal(client)) die("handshake", client);
        if (gnutls_error_is_fatal(server)) die("handshake", server);
    }
    die("handshake", GNUTLS_E_AGAIN);
    return NULL;
}

static void over(struct pair *pair) {
    gnutls_bye(pair->client.session, GNUTLS_SHUT_WR);
    unsigned char byte;
    if (gnutls_record_recv(pair->server.session, &byte, 1) != 0) die("no end", 0);
    gnutls_bye(pair->server.session, GNUTLS_SHUT_WR);
    gnutls_deinit(pair->client.session);
    gnutls_deinit(pair->server.session);
}

static void fetch(struct end *end, const char *tag, size_t length, unsigned seed, int with_sequence) {
    unsigned char *got = malloc(length + 1), sequence[8];
    size_t done = 0;
    while (done < length) {
        // Odd rooms, so that records are taken in parts.
        size_t room = length - done > 5001 ? 5001 : length - done;
        ssize_t now = with_sequence ? gnutls_record_recv_seq(end->session, got + done, room, sequence)
                                    : gnutls_record_recv(end->session, got + done, room);
        if (now == GNUTLS_E_AGAIN) continue;
        if (now <= 0) die("receive", now);
        done += (size_t)now;
    }
    for (size_t at = 0; at < length; at++)
        if (got[at] != pattern(seed, at)) die("other bytes", 0);
    told(tag, "recv", length, seed);
    free(got);
}

static void transfer(struct end *from, struct end *to, const char *tags[2], size_t length, unsigned seed, int second) {
    unsigned char *bytes = filled(length, seed);
    size_t done = 0;
    while (done < length) {
        ssize_t now = second ? gnutls_record_send2(from->session, bytes + done, length - done, 0, 0)
                             : gnutls_record_send(from->session, bytes + done, length - done);
        if (now <= 0) die("send", now);
        done += (size_t)now;
    }
    told(tags[0], "send", length, seed);
    memset(bytes, 0, length);
    free(bytes);
    fetch(to, tags[1], length, seed, second);
}

static const char *forth[2] = {"client", "server"}, *back[2] = {"server", "client"};

static void sizes(const char *version) {
    static const size_t lengths[] = {1, 63, 64, 65, 256, 257, 1024, 4096, 4097, 16383, 16384, 16385, 100000};
    struct pair *pair = connected(version);
    for (unsigned at = 0; at < sizeof lengths / sizeof *lengths; at++) {
        transfer(&pair->client, &pair->server, forth, lengths[at], at, at % 2);
        transfer(&pair->server, &pair->client, back, lengths[at], at + 100, (at + 1) % 2);
    }
    over(pair);
}

// What is written while corked goes out later, and counts once.
static void corked(const char *version) {
    struct pair *pair = connected(version);
    for (unsigned round = 0; round < 3; round++) {
        gnutls_record_cork(pair->client.session);
        for (unsigned at = 0; at < 20; at++) {
            unsigned char *bytes = filled(at * 60 + 1, at);
            ssize_t now = gnutls_record_send(pair->client.session, bytes, at * 60 + 1);
            if (now != (ssize_t)at * 60 + 1) die("corked send", now);
            told("client", "send", (size_t)now, at);
            memset(bytes, 0, (size_t)now);
            free(bytes);
        }
        // The first turn meets a transport that takes nothing.
        if (round == 1) pair->client.to->room = 0;
        int now = gnutls_record_uncork(pair->client.session, 0);
        if (round == 1) {
            if (now != GNUTLS_E_AGAIN) die("a full transport", now);
            pair->client.to->room = PLENTY;
            now = gnutls_record_uncork(pair->client.session, GNUTLS_RECORD_WAIT);
        }
        if (now <= 0) die("uncork", now);
        for (unsigned at = 0; at < 20; at++) fetch(&pair->server, "server", at * 60 + 1, at, at % 2);
    }
    over(pair);
}

// A refused send is made again, with the same buffer or with none: its bytes count once.
static void refused(const char *version) {
    struct pair *pair = connected(version);
    for (unsigned seed = 0; seed < 6; seed++) {
        size_t length = 3000 + seed;
        unsigned char *bytes = filled(length, seed);
        pair->client.to->room = 100;
        ssize_t now = gnutls_record_send(pair->client.session, bytes, length);
        if (now != GNUTLS_E_AGAIN) die("a full transport", now);
        now = seed % 2 ? gnutls_record_send(pair->client.session, bytes, length)
                       : gnutls_record_send(pair->client.session, NULL, 0);
        if (now != GNUTLS_E_AGAIN) die("a transport that is still full", now);
        pair->client.to->room = PLENTY;
        now = seed % 2 ? gnutls_record_send(pair->client.session, bytes, length)
                       : gnutls_record_send(pair->client.session, NULL, 0);
        if (now != (ssize_t)length) die("the same again", now);
        told("client", "send", length, seed);
        fetch(&pair->server, "server", length, seed, 0);
        free(bytes);
    }
    over(pair);
}

// Padding hides lengths from the wire, not from here.
static void ranged(const char *version) {
    struct pair *pair = connected(version);
    for (unsigned seed = 0; seed < 4; seed++) {
        size_t length = 500 + 9000 * seed;
        unsigned char *bytes = filled(length, seed);
        gnutls_range_st range = {length, length + 200};
        ssize_t now = gnutls_record_send_range(pair->client.session, bytes, length, &range);
        if (now < 0) die("send range", now);
        if (now != (ssize_t)length) die("send range in part", now);
        told("client", "send", length, seed);
        fetch(&pair->server, "server", length, seed, 0);
        free(bytes);
    }
    over(pair);
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    const char *scenario = arguments[1], *version = arguments[2];
    if (!strcmp(scenario, "sizes")) sizes(version);
    else if (!strcmp(scenario, "corked")) corked(version);
    else if (!strcmp(scenario, "refused")) refused(version);
    else if (!strcmp(scenario, "ranged")) ranged(version);
    else return 2;
    return 0;
}
