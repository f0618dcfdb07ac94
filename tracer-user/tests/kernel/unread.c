// One long transfer on one connection.
#include "form.h"
#include "told.h"

int main(void) {
    static int ssl;
    for (unsigned turn = 0; turn < 300; turn++) {
        SSL_write(&ssl, filled(10000, turn), 10000);
        told("c", "send", 10000, turn);
        usleep(2000);
    }
    SSL_free(&ssl);
    return 0;
}
