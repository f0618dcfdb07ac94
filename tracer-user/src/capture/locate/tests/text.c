/* A library without TLS functions, with a text in it. */

const char *text(void) { return TEXT; }
