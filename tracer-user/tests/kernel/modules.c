// Loads the library that is its argument, and uses it at once.
#include <dlfcn.h>

#include "told.h"

int main(int count, char **arguments) {
    static int ssl;
    if (count != 2) return 2;
    void *library = dlopen(arguments[1], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 3;
    }
    int (*send)(void *, const void *, int) = (int (*)(void *, const void *, int))dlsym(library, "SSL_write");
    void (*end)(void *) = (void (*)(void *))dlsym(library, "SSL_free");
    if (!send || !end) return 3;
    for (unsigned turn = 0; turn < 20; turn++) {
        send(&ssl, filled(100, turn), 100);
        told("c", "send", 100, turn);
    }
    // Whoever is told of the library late finds it still in use.
    usleep(500000);
    end(&ssl);
    return 0;
}
