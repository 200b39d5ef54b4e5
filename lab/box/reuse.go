// Keeps true: every question is a new connection from one and the same port, the port's last life just over, as a busy client behind NAT has it.
// In: an address of `box serve`. Out: a Tally. Rule: who closes first is an option: -close rst ends with a reset, -close server leaves TIME_WAIT there.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// dialFrom binds the port even while an earlier connection from it is remembered here.
func dialFrom(address, from string, timeout time.Duration) (*net.TCPConn, error) {
	local, err := net.ResolveTCPAddr("tcp4", from)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: timeout, LocalAddr: local, Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
		return errors.Join(err, failed)
	}}
	conn, err := dialer.Dial("tcp4", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// lastLife is one question over HTTP/1.0, after which the server closes; reset: the client is faster.
func lastLife(address, from string, reset bool, timeout time.Duration) (string, error) {
	conn, err := dialFrom(address, from, timeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if reset {
		_ = conn.SetLinger(0)
		return ask(conn, "reuse", timeout)
	}
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	return afterHead(string(text)), err
}

// afterHead is the body of an HTTP answer.
func afterHead(text string) string {
	_, body, _ := strings.Cut(text, "\r\n\r\n")
	return body
}

// half says all it has to say at once and is answered long after.
func half(args []string) error {
	flags := flag.NewFlagSet("half", flag.ExitOnError)
	length := flags.Duration("for", 10*time.Minute, "silence before the answer")
	timeout := flags.Duration("timeout", 10*time.Second, "for connecting, and for the answer after the silence")
	_ = flags.Parse(args)
	// Go's keepalives, every 15 s, would be no silence.
	dialer := net.Dialer{Timeout: *timeout, KeepAlive: -1}
	conn, err := dialer.Dial("tcp4", flags.Arg(0))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "later %s\n", *length); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(*length + *timeout))
	answer, err := bufio.NewReader(conn).ReadString('\n')
	fmt.Print(answer)
	return err
}

func reuse(args []string) error {
	flags := flag.NewFlagSet("reuse", flag.ExitOnError)
	from := flags.String("from", ":6000", "local port of every connection")
	length := flags.Duration("for", 10*time.Second, "how long")
	every := flags.Duration("every", 50*time.Millisecond, "from one connection to the next")
	timeout := flags.Duration("timeout", 3*time.Second, "per question")
	closes := flags.String("close", "rst", "rst: TCP lines; server: HTTP")
	_ = flags.Parse(args)
	return again(*length, *every, func() (string, error) { return lastLife(flags.Arg(0), *from, *closes == "rst", *timeout) }, false)
}
