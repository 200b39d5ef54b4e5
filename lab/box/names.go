// Keeps true: names are served and asked for without a library of the machine: a server of fixed names, and Go's own resolver.
// In: NAME=ADDRESS pairs, or names. Out: answers over UDP and TCP; addresses, one per line. Rule: what the server does not know is NXDOMAIN.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

func dnsServe(args []string) error {
	flags := flag.NewFlagSet("dns-serve", flag.ExitOnError)
	listen := flags.String("listen", "0.0.0.0:53", "address, UDP and TCP")
	_ = flags.Parse(args)
	known := map[string]net.IP{}
	for _, pair := range flags.Args() {
		name, address, found := strings.Cut(pair, "=")
		if !found || net.ParseIP(address).To4() == nil {
			return fmt.Errorf("%q is no NAME=ADDRESS", pair)
		}
		known[strings.ToLower(strings.TrimSuffix(name, "."))] = net.ParseIP(address).To4()
	}
	conn, err := net.ListenPacket("udp4", *listen)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", *listen)
	if err != nil {
		return err
	}
	go func() {
		for {
			stream, err := listener.Accept()
			if err != nil {
				return
			}
			go serveStream(stream, known)
		}
	}()
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if answer := fixedAnswer(buffer[:n], known); answer != nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func serveStream(stream net.Conn, known map[string]net.IP) {
	defer stream.Close()
	var length [2]byte
	for {
		if _, err := io.ReadFull(stream, length[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(stream, question); err != nil {
			return
		}
		answer := fixedAnswer(question, known)
		if answer == nil {
			return
		}
		_, _ = stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
}

// fixedAnswer returns nil for what is no question with one name (RFC 1035 §4.1).
func fixedAnswer(question []byte, known map[string]net.IP) []byte {
	if len(question) < 17 || question[2]&0x80 != 0 {
		return nil
	}
	end := skipName(question, 12)
	if end < 0 || end+4 > len(question) {
		return nil
	}
	var labels []string
	for at := 12; question[at] != 0; at += 1 + int(question[at]) {
		if question[at] >= 0xc0 {
			return nil
		}
		labels = append(labels, string(question[at+1:at+1+int(question[at])]))
	}
	answer := append([]byte{}, question[:end+4]...)
	copy(answer[2:12], []byte{0x84 | question[2]&1, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	address, found := known[strings.ToLower(strings.Join(labels, "."))]
	switch {
	case !found:
		answer[3] |= 3
	case binary.BigEndian.Uint16(question[end:]) == types["A"]:
		answer[7] = 1
		answer = append(append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4), address...)
	}
	return answer
}

// look asks Go's resolver, which reads /etc/resolv.conf and /etc/hosts as every Go program does.
func look(args []string) error {
	flags := flag.NewFlagSet("look", flag.ExitOnError)
	timeout := flags.Duration("timeout", 15*time.Second, "per name")
	_ = flags.Parse(args)
	failed := false
	for _, name := range flags.Args() {
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		found, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, name)
		cancel()
		if err != nil {
			failed = true
			fmt.Fprintln(os.Stderr, err)
		}
		for _, address := range found {
			fmt.Println(address)
		}
	}
	if failed {
		return errors.New("not every name has an address")
	}
	return nil
}
