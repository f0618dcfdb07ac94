/* A library without TLS functions, with a text in it.

   REPORTED   the text is the source file that errors of the library with this number are reported in
   PANICS     it is the source file that panics of a program in Rust name */

#ifdef REPORTED
void report(int library, int unused, int reason, const char *file, unsigned line);

#define FAIL(reason) \
    int fail_##reason(int is_bad) \
    { \
        if (is_bad) \
            report(REPORTED, 0, reason, TEXT, __LINE__); \
        return is_bad; \
    }

FAIL(301)
FAIL(302)
FAIL(303)
FAIL(304)
FAIL(305)
FAIL(306)
FAIL(307)
FAIL(308)
FAIL(309)
FAIL(310)
#elif defined(PANICS)
const struct { const char *file; unsigned long length; unsigned line, column; } location = { TEXT, sizeof TEXT - 1, 7, 9 };
#else
const char *text(void) { return TEXT; }
#endif
