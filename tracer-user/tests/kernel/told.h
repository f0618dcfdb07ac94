// What the programs with known traffic tell: each prints what was carried, one line a transfer, as
// `<pid> <image> <tag> <send|recv> <length> <seed>`; bytes are pattern(seed, position).
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// Counts what exec has replaced.
static int image;

static unsigned char pattern(unsigned seed, size_t at) { return (unsigned char)(seed * 131 + at * 7 + (at >> 8)); }

static void told(const char *tag, const char *way, size_t length, unsigned seed) {
    printf("%d %d %s %s %zu %u\n", getpid(), image, tag, way, length, seed);
    fflush(stdout);
}

static unsigned char *filled(size_t length, unsigned seed) {
    unsigned char *bytes = malloc(length + 1);
    for (size_t at = 0; at < length; at++) bytes[at] = pattern(seed, at);
    return bytes;
}
