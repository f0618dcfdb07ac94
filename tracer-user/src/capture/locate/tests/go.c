// Functions as Go's compiler writes those of crypto/tls, the table that names them, and a program that calls them: what
// it has told of is printed, one line a transfer, as `<pid> <image> <tag> <send|recv> <length> <seed>`; bytes are
// pattern(seed, position).
//
// -DGO117 gives the table the form of Go 1.16 and 1.17, -DNO_JUMP leaves no jump at which the result of Read stands in
// a register.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// The start of a function: compares with the goroutine's limit, and jumps to where more stack is asked for.
#define CHECK "cmp 0x10(%r14), %rsp\n jbe 9f\n"
#define LARGE_CHECK "lea -0x50(%rsp), %r12\n cmp 0x10(%r14), %r12\n jbe 9f\n"
#define FRAME "push %rbp\n mov %rsp, %rbp\n sub $0x20, %rsp\n"
#define LEAVE "add $0x20, %rsp\n pop %rbp\n ret\n"
#define MORE(name)                                                                                                     \
    "9: mov %rax, 8(%rsp)\n mov %bl, 0x10(%rsp)\n mov %rcx, 0x18(%rsp)\n mov %rdi, 0x20(%rsp)\n"                      \
    "call more_stack\n"                                                                                                \
    "mov 8(%rsp), %rax\n movzbl 0x10(%rsp), %ebx\n mov 0x18(%rsp), %rcx\n mov 0x20(%rsp), %rdi\n"                      \
    "jmp " #name "\n .balign 32, 0xcc\n"
#define MORE_FOR_SLICE(name)                                                                                           \
    "9: mov %rax, 8(%rsp)\n mov %rbx, 0x10(%rsp)\n mov %rcx, 0x18(%rsp)\n mov %rdi, 0x20(%rsp)\n"                     \
    "call more_stack\n"                                                                                                \
    "mov 8(%rsp), %rax\n mov 0x10(%rsp), %rbx\n mov 0x18(%rsp), %rcx\n mov 0x20(%rsp), %rdi\n"                         \
    "jmp " #name "\n .balign 32, 0xcc\n"

#ifdef NO_JUMP
#define RESULT "mov %rax, 8(%rsp)\n nop\n"
#else
#define RESULT "mov %rax, %rcx\n test %rcx, %rcx\n je 2f\n nop\n 2: mov %rcx, 8(%rsp)\n"
#endif

__asm__(".text\n .balign 32\n text: .type read_, @function\n"
        "read_: " CHECK FRAME
        "mov %rax, 0x30(%rsp)\n mov %rcx, 0x40(%rsp)\n mov %rbx, 0x38(%rsp)\n"
        "movq $0, 8(%rsp)\n test %rcx, %rcx\n je 1f\n"
        "mov %rax, %rdi\n mov %rbx, %rsi\n mov %rcx, %rdx\n call fill\n" RESULT
        "mov 8(%rsp), %rax\n xor %ebx, %ebx\n" LEAVE
        "1: mov 8(%rsp), %rax\n xor %ebx, %ebx\n" LEAVE MORE_FOR_SLICE(read_)

        "write_: " CHECK FRAME "mov %rdi, %rsi\n mov %rcx, %rdi\n mov %rbx, %rcx\n mov $0x17, %ebx\n"
        "call record_\n" LEAVE MORE_FOR_SLICE(write_)

        "record_: " LARGE_CHECK FRAME "mov %rdi, %rax\n xor %ecx, %ecx\n" LEAVE MORE(record_)

        "close_: " CHECK FRAME "xor %eax, %eax\n" LEAVE MORE(close_)

        "handshake_: " CHECK FRAME "mov 8(%rdx), %rax\n" LEAVE MORE(handshake_)

        // Makes room, and lets the function begin anew.
        "more_stack: movq $0, 0x10(%r14)\n ret\n .balign 32, 0xcc\n"
        "text_end:\n"

        // A function under Go's convention: rdi the function, rsi the arguments rax, rbx, rcx, rdi, rsi, rdx; rdx what r14
        // points to. With a mark there, the stack is full for what the function calls.
        "enter_go: push %rbx\n push %rbp\n push %r12\n push %r14\n sub $0x38, %rsp\n"
        "mov %rdi, %r11\n mov %rsi, %r10\n mov %rdx, %r14\n"
        "cmpq $0, 0x18(%r14)\n je 1f\n lea -0x10(%rsp), %rax\n mov %rax, 0x10(%r14)\n 1:\n"
        "mov (%r10), %rax\n mov 8(%r10), %rbx\n mov 16(%r10), %rcx\n mov 24(%r10), %rdi\n mov 32(%r10), %rsi\n"
        "mov 40(%r10), %rdx\n call *%r11\n"
        "add $0x38, %rsp\n pop %r14\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");

#ifdef GO117
#define MAGIC "0xfffffffa"
#define START ""
#define ROW(name) ".quad " #name ", record_of_" #name " - rows\n"
#define LAST ".quad text_end\n"
#define RECORD(name) "record_of_" #name ": .quad " #name "\n .long name_of_" #name " - names\n"
#else
#define MAGIC "0xfffffff1"
#define START ".quad 0\n"
#define ROW(name) ".long " #name " - text, record_of_" #name " - rows\n"
#define LAST ".long text_end - text\n"
#define RECORD(name) "record_of_" #name ": .long " #name " - text, name_of_" #name " - names\n"
#endif
#define NAME(name, text) "name_of_" #name ": .asciz \"" text "\"\n"
#define EACH(what) what(read_) what(write_) what(record_) what(close_) what(handshake_) what(more_stack)

__asm__(".section .gopclntab, \"aw\", @progbits\n .balign 32\n"
        "table: .long " MAGIC "\n .byte 0, 0, 1, 8\n .quad 6, 0\n" START
        ".quad names - table, 0, 0, 0, rows - table\n"
        "names:\n" NAME(read_, "crypto/tls.(*Conn).Read") NAME(write_, "crypto/tls.(*Conn).Write")
        NAME(record_, "crypto/tls.(*Conn).writeRecordLocked") NAME(close_, "crypto/tls.(*Conn).Close")
        NAME(handshake_, "crypto/tls.(*Conn).clientHandshake-fm") NAME(more_stack, "runtime.morestack_noctxt")
        ".balign 8\n rows:\n" EACH(ROW) LAST ".balign 8\n" EACH(RECORD)

        ".data\n .balign 8\n module: .quad table, names\n .zero 8 * 20\n .quad text\n"
        ".section .go.buildinfo, \"a\", @progbits\n .ascii \"\\377 Go buildinf:\\010\\002\"\n .zero 16\n"
        ".byte 8\n .ascii \"go1.99.1\"\n"
        ".text\n");

extern char read_[], write_[], record_[], close_[], handshake_[];
long enter_go(const char *function, const long arguments[6], long *goroutine);

static long goroutine[4];
static size_t to_come;
static unsigned to_come_seed;

static unsigned char pattern(unsigned seed, size_t at) { return (unsigned char)(seed * 131 + at * 7 + (at >> 8)); }

static void put(unsigned char *bytes, size_t length, unsigned seed) {
    for (size_t at = 0; at < length; at++) bytes[at] = pattern(seed, at);
}

// What Read reads.
__attribute__((used)) long fill(void *conn, unsigned char *bytes, size_t room) {
    (void)conn;
    size_t length = to_come < room ? to_come : room;
    put(bytes, length, to_come_seed);
    return (long)length;
}

// Where the stack is full the function begins twice.
enum { ROOMY, FULL, FULL_FOR_CALLEES };
static long call(const char *function, int full, long a, long b, long c, long d, long e, long context) {
    const long arguments[6] = {a, b, c, d, e, context};
    goroutine[2] = full == FULL ? -1 : 0;
    goroutine[3] = full == FULL_FOR_CALLEES;
    return enter_go(function, arguments, goroutine);
}

static void told(const char *tag, const char *way, size_t length, unsigned seed) {
    printf("%d 0 %s %s %zu %u\n", getpid(), tag, way, length, seed);
    fflush(stdout);
}

static void send(long *conn, int full, size_t length, unsigned seed) {
    unsigned char *bytes = malloc(length + 1);
    put(bytes, length, seed);
    if (call(write_, full, (long)conn, (long)bytes, (long)length, (long)length, 0, 0) != (long)length) exit(3);
    free(bytes);
}

static void receive(long *conn, int full, size_t length, size_t room, unsigned seed) {
    unsigned char *bytes = malloc(room + 1);
    to_come = length;
    to_come_seed = seed;
    if (call(read_, full, (long)conn, (long)bytes, (long)room, (long)room, 0, 0) != (long)length) exit(4);
    free(bytes);
}

int main(void) {
    static long conn[8], other[8];
    const long closure[2] = {(long)handshake_, (long)conn};
    for (int full = 0; full <= FULL_FOR_CALLEES; full++) {
        // The memory of a connection that was closed, of one that was not, and of nothing before.
        for (int life = 0; life < 3; life++) {
            char tag[32];
            snprintf(tag, sizeof tag, "conn-%d-%d", full, life);
            call(handshake_, full, 0, 0, 0, 0, 0, (long)closure);
            unsigned seed = (unsigned)(full * 48 + life * 16);
            // Handshake records pass too; they are no data.
            call(record_, full, (long)conn, 22, (long)tag, sizeof tag, sizeof tag, 0);
            for (size_t length = 1; length < 100000; length = length * 7 + 3, seed++) {
                send(conn, full, length, seed);
                told(tag, "send", length, seed);
                receive(conn, full, length, length + seed, seed + 1);
                told(tag, "recv", length, seed + 1);
            }
            receive(conn, full, 0, 100, seed);
            receive(conn, full, 0, 0, seed);
            if (life == 1) continue;
            call(close_, full, (long)conn, 0, 0, 0, 0, 0);
            // What a reader still gets belongs to nobody.
            receive(conn, full, 10, 10, seed);
            call(close_, full, (long)conn, 0, 0, 0, 0, 0);
        }
    }
    // A connection whose beginning nobody has seen.
    send(other, ROOMY, 5, 200);
    told("other", "send", 5, 200);
    return 0;
}
