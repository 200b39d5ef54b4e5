// Keeps true: a DNS question is asked as a bare datagram, so what is measured is the server, not a resolver library.
// In: a name. Out: answers one per line, or times. Rule: any answer with the right id counts; its code is shown.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"
)

var types = map[string]uint16{"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
var codes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

// query builds a question with recursion desired (RFC 1035 §4.1).
func query(id uint16, name string, kind uint16) []byte {
	message := make([]byte, 12, 64)
	binary.BigEndian.PutUint16(message, id)
	message[2], message[5] = 1, 1
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		message = append(append(message, byte(len(label))), label...)
	}
	return append(message, 0, byte(kind>>8), byte(kind), 0, 1)
}

// skipName returns the offset behind a name, or -1 when the message ends inside it.
func skipName(message []byte, at int) int {
	for at < len(message) {
		switch length := int(message[at]); {
		case length == 0:
			return at + 1
		case length >= 0xc0:
			return at + 2
		default:
			at += 1 + length
		}
	}
	return -1
}

// answers reads the response code and the addresses of all A and AAAA records.
func answers(message []byte) (string, []string, error) {
	if len(message) < 12 {
		return "", nil, errors.New("short answer")
	}
	code := fmt.Sprintf("RCODE%d", message[3]&15)
	if int(message[3]&15) < len(codes) {
		code = codes[message[3]&15]
	}
	var found []string
	at := skipName(message, 12) + 4
	for n := binary.BigEndian.Uint16(message[6:]); n > 0; n-- {
		at = skipName(message, at)
		if at < 0 || at+10 > len(message) {
			return code, found, errors.New("broken answer")
		}
		kind, length := binary.BigEndian.Uint16(message[at:]), int(binary.BigEndian.Uint16(message[at+8:]))
		if at += 10; at+length > len(message) {
			return code, found, errors.New("broken answer")
		}
		if kind == 1 || kind == 28 {
			found = append(found, net.IP(message[at:at+length]).String())
		}
		at += length
	}
	return code, found, nil
}

// lookup asks once; rcode and addresses, or an error when nothing came in time.
func lookup(server, name string, kind uint16, id uint16, timeout time.Duration) (string, []string, error) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := conn.Write(query(id, name, kind)); err != nil {
		return "", nil, err
	}
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return "", nil, err
		}
		if n >= 2 && binary.BigEndian.Uint16(buffer) == id {
			return answers(buffer[:n])
		}
	}
}

func resolve(args []string) error {
	flags := flag.NewFlagSet("resolve", flag.ExitOnError)
	timeout := flags.Duration("timeout", 5*time.Second, "in all")
	server := flags.String("server", "127.0.0.11:53", "name server")
	kind := flags.String("type", "A", "record type")
	_ = flags.Parse(args)
	last := errors.New("no answer")
	for id, end := uint16(1), time.Now().Add(*timeout); time.Now().Before(end); id++ {
		code, found, err := lookup(*server, flags.Arg(0), types[*kind], id, 500*time.Millisecond)
		if err == nil && len(found) > 0 {
			fmt.Println(strings.Join(found, "\n"))
			return nil
		}
		if last = err; err == nil {
			last = errors.New(code)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("%s: %w", flags.Arg(0), last)
}

func dnsBench(args []string) error {
	flags := flag.NewFlagSet("dns-bench", flag.ExitOnError)
	count := flags.Int("count", 500, "queries, one after the other")
	span := flags.Duration("for", 0, "how long to ask, in place of a count")
	every := flags.Duration("every", 0, "pause between two queries")
	timeout := flags.Duration("timeout", 2*time.Second, "per query")
	server := flags.String("server", "127.0.0.11:53", "name server")
	kind := flags.String("type", "A", "record type")
	_ = flags.Parse(args)
	tally := newTally()
	for n, begin := 0, time.Now(); *span > 0 && time.Since(begin) < *span || *span == 0 && n < *count; n++ {
		start := time.Now()
		code, found, err := lookup(*server, flags.Arg(0), types[*kind], uint16(n), *timeout)
		if len(found) > 0 {
			code = found[0]
		}
		tally.add(code, err, time.Since(start))
		time.Sleep(*every)
	}
	return tally.print()
}
