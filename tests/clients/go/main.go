// Go's own net/http: main.go [SCENARIO…]; wants OPENAI_BASE_URL, OPENAI_API_KEY and SSL_CERT_FILE.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
)

type directive map[string]interface{}

var client = &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true}}

// request is one chat completion whose prompt makes the mock behave as told.
func request(ctx context.Context, stream bool, told directive, text string) *http.Request {
	prompt, err := json.Marshal(told)
	must(err)
	body := map[string]interface{}{
		"model":    "gpt-5",
		"stream":   stream,
		"messages": []interface{}{map[string]string{"role": "user", "content": fmt.Sprintf("mock: %s %s", prompt, text)}},
	}
	if stream {
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	encoded, err := json.Marshal(body)
	must(err)
	url := os.Getenv("OPENAI_BASE_URL") + "/chat/completions"
	request, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(encoded))
	must(err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+os.Getenv("OPENAI_API_KEY"))
	return request
}

// call reads the whole answer.
func call(stream bool, told directive, text string) {
	answer, err := client.Do(request(context.Background(), stream, told, text))
	must(err)
	drain(answer)
}

func drain(answer *http.Response) {
	_, err := io.Copy(io.Discard, answer.Body)
	must(err)
	must(answer.Body.Close())
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func plain() { call(false, directive{"tokens": 5}, "hello") }

func stream() {
	call(true, directive{"tokens": 30, "interval_us": 1000, "ttft_us": 10000}, "hello")
	call(true, directive{"tokens": 30, "encoding": "gzip"}, "hello")
}

func refused() { call(false, directive{"status": 429}, "hello") }

// concurrent has twenty goroutines that move between threads.
func concurrent() {
	var all sync.WaitGroup
	for n := 0; n < 20; n++ {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			call(true, directive{"tokens": 20 + n, "interval_us": 500}, "hello")
		}(n)
	}
	all.Wait()
}

// long sends and gets bodies of many records.
func long() {
	call(false, directive{"tokens": 20000}, strings.Repeat("one and another word ", 20000))
	call(true, directive{"tokens": 5000}, strings.Repeat("word ", 100))
}

// abort closes a stream after its third line.
func abort() {
	ctx, cancel := context.WithCancel(context.Background())
	answer, err := client.Do(request(ctx, true, directive{"tokens": 200, "interval_us": 2000}, "hello"))
	must(err)
	lines := bufio.NewScanner(answer.Body)
	for n := 0; n < 3 && lines.Scan(); n++ {
	}
	cancel()
	answer.Body.Close()
}

// reuse closes each connection and has its memory used again.
func reuse() {
	for n := 0; n < 40; n++ {
		call(n%2 == 0, directive{"tokens": 4}, "hello")
		client.CloseIdleConnections()
		runtime.GC()
	}
}

func main() {
	log.SetFlags(0)
	scenarios := map[string]func(){
		"plain": plain, "stream": stream, "refused": refused, "concurrent": concurrent, "long": long, "abort": abort,
		"reuse": reuse, "pair": pair, "gateway": gateway,
	}
	chosen := os.Args[1:]
	if len(chosen) == 0 {
		chosen = []string{"plain", "stream", "refused", "concurrent"}
	}
	for _, name := range chosen {
		run, known := scenarios[name]
		if !known {
			log.Fatalf("no scenario %s", name)
		}
		run()
	}
	fmt.Println("done")
}
