package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// host joins a machine's port to sockets on this side: "exec=PATH" for commands, "GUEST=PATH" for a socket of the guest.
// It ends with the machine.
func host(chardev string, listeners []string) {
	conn := dial(chardev)
	var next uint32
	streams, l := &table{}, &link{out: conn}
	for _, spec := range listeners {
		guestPath, path, _ := strings.Cut(spec, "=")
		os.Remove(path)
		listener, err := net.Listen("unix", path)
		if err != nil {
			fail(1, err.Error())
		}
		go accept(listener, func(client net.Conn) {
			stream := atomic.AddUint32(&next, 1)
			q := streams.add(stream)
			defer streams.drop(stream)
			if guestPath == "exec" {
				relayFrames(l, client, stream, q)
			} else {
				relayBytes(l, client, stream, q, guestPath)
			}
		})
	}
	for {
		f, err := receive(conn)
		if err != nil {
			fail(0, "the machine is off")
		}
		if q := streams.find(f.stream); q != nil {
			q.put(f)
		}
	}
}

func dial(path string) net.Conn {
	for tries := 0; ; tries++ {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn
		}
		if tries > 500 {
			fail(1, err.Error())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func accept(listener net.Listener, serve func(net.Conn)) {
	for {
		client, err := listener.Accept()
		if err != nil {
			fail(1, err.Error())
		}
		go serve(client)
	}
}

// relayFrames: the client speaks frames itself; only the stream's number is ours.
func relayFrames(l *link, client net.Conn, stream uint32, q *queue) {
	go func() {
		for {
			f, err := receive(client)
			if err != nil {
				l.send(frame{stream, gone, nil})
				q.close()
				return
			}
			f.stream = stream
			l.send(f)
		}
	}()
	back := &link{out: client}
	for {
		f, more := q.take()
		if !more || back.send(f) != nil || f.kind == exit {
			client.Close()
			return
		}
	}
}

func relayBytes(l *link, client net.Conn, stream uint32, q *queue, guestPath string) {
	defer client.Close()
	body, _ := json.Marshal(order{Socket: guestPath})
	l.send(frame{stream, open, body})
	go func() {
		l.pump(client, stream, data)
		l.send(frame{stream, eof, nil})
	}()
	for {
		f, more := q.take()
		if !more || f.kind != data {
			return
		}
		if _, err := client.Write(f.body); err != nil {
			l.send(frame{stream, gone, nil})
			return
		}
	}
}

// client runs one command in the guest with our own streams; its exit code becomes ours.
func client(socket string, o order) int {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		fail(125, "the machine is off: "+err.Error())
	}
	l := &link{out: conn}
	body, _ := json.Marshal(o)
	l.send(frame{0, open, body})
	go func() {
		l.pump(os.Stdin, 0, data)
		l.send(frame{0, eof, nil})
	}()
	outputs := map[byte]io.Writer{data: os.Stdout, errors: os.Stderr}
	for {
		f, err := receive(conn)
		if err != nil {
			fail(125, "the machine went off")
		}
		if f.kind == exit {
			code := 0
			json.Unmarshal(f.body, &code)
			return code
		}
		if out, ok := outputs[f.kind]; ok {
			out.Write(f.body)
		}
	}
}
