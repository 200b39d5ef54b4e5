// Keeps true: every answer names the server and the client's address as the server sees it.
// In: listen addresses. Out: "NAME CLIENT-IP:PORT [what was sent]\n". Rule: no state but the file /tmp/unhealthy.
package main

import (
	"context"
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func serve(args []string) error {
	host, _ := os.Hostname()
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	web := flags.String("http", ":80", "listen address, empty for none")
	tcp := flags.String("tcp", ":9001", "listen address, empty for none")
	udp := flags.String("udp", ":9000", "listen address, empty for none")
	linger := flags.Duration("linger", 0, "how long to go on after SIGTERM")
	name := flags.String("name", host, "the name in every answer")
	_ = flags.Parse(args)
	failed := make(chan error, 3)
	if *web != "" {
		go func() { failed <- http.ListenAndServe(*web, pages(*name)) }()
	}
	if *tcp != "" {
		go func() { failed <- lines(*tcp, *name) }()
	}
	if *udp != "" {
		go func() { failed <- datagrams(*udp, *name) }()
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-failed:
		return err
	case <-stop:
		time.Sleep(*linger)
		return nil
	}
}

func pages(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s\n", name, r.RemoteAddr) })
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		count, _ := strconv.ParseInt(r.FormValue("n"), 10, 64)
		_, _ = io.CopyN(w, zeros{}, count)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.FormValue("ms"))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Fprintf(w, "%s %s\n", name, r.RemoteAddr)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat("/tmp/unhealthy"); err == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "%s %s\n", name, r.RemoteAddr)
	})
	return mux
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func lines(address, name string) error {
	// Go's keepalives, every 15 s, would keep a silent connection in every table on its way.
	listening := net.ListenConfig{KeepAlive: -1}
	listener, err := listening.Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			reader := bufio.NewScanner(conn)
			for reader.Scan() {
				wait, _ := time.ParseDuration(strings.TrimPrefix(reader.Text(), "later "))
				time.Sleep(wait)
				fmt.Fprintf(conn, "%s %s %s\n", name, conn.RemoteAddr(), reader.Text())
			}
		}()
	}
}

func datagrams(address, name string) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 65535)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		answer := fmt.Sprintf("%s %s %s\n", name, from, strings.TrimRight(string(buffer[:n]), "\n"))
		_, _ = conn.WriteTo([]byte(answer), from)
	}
}
