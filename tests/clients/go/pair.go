package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"syscall"
	"time"
)

// memory is one end of a connection through memory; a reader finds what was written before.
type memory struct {
	net.Conn
	from, to *bytes.Buffer
}

func (m memory) Read(into []byte) (int, error)   { return m.from.Read(into) }
func (m memory) Write(bytes []byte) (int, error) { return m.to.Write(bytes) }

// blocking lets the handshake wait for the other end.
type blocking struct {
	memory
	pipe net.Conn
	done *bool
}

func (b blocking) Read(into []byte) (int, error) {
	if *b.done {
		return b.memory.Read(into)
	}
	return b.pipe.Read(into)
}

func (b blocking) Write(bytes []byte) (int, error) {
	if *b.done {
		return b.memory.Write(bytes)
	}
	return b.pipe.Write(bytes)
}

// pair measures one Write and the matching Read of 64 bytes through memory: this process's processor time.
func pair() {
	const size, pairs, burst = 64, 200000, 20000
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(err)
	settings := &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
	}
	var up, down bytes.Buffer
	var done bool
	one, other := net.Pipe()
	client := tls.Client(blocking{memory{from: &down, to: &up}, one, &done}, settings)
	server := tls.Server(blocking{memory{from: &up, to: &down}, other, &done}, settings)
	finished := make(chan error)
	go func() { finished <- server.Handshake() }()
	must(client.Handshake())
	must(<-finished)
	done = true

	sent, got := bytes.Repeat([]byte("x"), size), make([]byte, 4096)
	turn := func(bytes []byte) {
		_, err := client.Write(bytes)
		must(err)
		_, err = server.Read(got)
		must(err)
	}
	// A body without end, so that it is all of interest.
	turn([]byte("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n"))
	var spent time.Duration
	for n := 0; n < pairs; n += burst {
		begin := processor()
		for n := 0; n < burst; n++ {
			turn(sent)
		}
		spent += processor() - begin
		// Who reads what the hooks tell keeps up.
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Printf("%d ns a pair\n", spent.Nanoseconds()/pairs)
}

func processor() time.Duration {
	var used syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
