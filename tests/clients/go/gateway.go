package main

import (
	"context"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
)

// gateway answers a call as a server over TLS, by one of its own to the provider.
func gateway() {
	provider, err := url.Parse(os.Getenv("MOCK_URL"))
	must(err)
	proxy := httputil.NewSingleHostReverseProxy(provider)
	proxy.Transport = client.Transport
	server := httptest.NewUnstartedServer(proxy)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for n := 0; n < 3; n++ {
		asked := request(context.Background(), n%2 == 0, directive{"tokens": 5 + n}, "hello")
		asked.URL.Host = server.Listener.Addr().String()
		answer, err := server.Client().Do(asked)
		must(err)
		drain(answer)
	}
}
