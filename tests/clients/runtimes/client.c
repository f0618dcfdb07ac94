/* HTTPS by libssl, a connection for each call, linked with a C library of the tests' choice: wants OPENAI_BASE_URL,
   OPENAI_API_KEY and SSL_CERT_FILE. */
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char host[64], port[8], path[64];

static int connected(void)
{
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(host, port, &hints, &found))
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen))
        return -1;
    freeaddrinfo(found);
    return fd;
}

static void ask(SSL_CTX *context, int stream, const char *directive, size_t length)
{
    char *text = calloc(1, length + 1), *request = malloc(length + 2048), answer[500];
    memset(text, 'x', length);
    char *body = malloc(length + 512);
    sprintf(body, "{\"model\":\"gpt-5\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]%s}", text,
            stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "");
    int size = sprintf(request,
                       "POST %s/chat/completions HTTP/1.1\r\nhost: %s:%s\r\nauthorization: Bearer %s\r\n"
                       "content-type: application/json\r\nx-mock: %s\r\nconnection: close\r\ncontent-length: %zu\r\n\r\n%s",
                       path, host, port, getenv("OPENAI_API_KEY"), directive, strlen(body), body);
    int fd = connected();
    SSL *ssl = SSL_new(context);
    SSL_set_tlsext_host_name(ssl, host);
    if (fd < 0 || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1 || SSL_write(ssl, request, size) != size)
        exit(1);
    while (SSL_read(ssl, answer, sizeof answer) > 0)
        ;
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
    free(text);
    free(body);
    free(request);
}

int main(void)
{
    if (sscanf(getenv("OPENAI_BASE_URL"), "https://%63[^:]:%7[0-9]%63s", host, port, path) != 3)
        return 1;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_default_verify_paths(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    for (int i = 0; i < 4; i++) {
        ask(context, 0, "{}", 5);
        ask(context, 1, "{\"tokens\":30,\"interval_us\":1000}", 5);
    }
    ask(context, 0, "{\"status\":429}", 5);
    ask(context, 0, "{}", 1000000);
    puts("done");
    return 0;
}
