package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type order struct {
	Argv []string `json:"argv,omitempty"`
	Env  []string `json:"env,omitempty"`
	// A unix socket to connect to, instead of a command.
	Socket string `json:"socket,omitempty"`
}

// port reads a virtio port; while the host has its end closed, a read says "end": that is the end of all streams, not of the port.
type port struct {
	fd   int
	lost func()
}

func (p port) Read(bytes []byte) (int, error) {
	for told := false; ; told = true {
		n, err := syscall.Read(p.fd, bytes)
		if n > 0 {
			return n, nil
		}
		if err != nil && err != syscall.EINTR {
			return 0, err
		}
		if !told {
			p.lost()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p port) Write(bytes []byte) (int, error) {
	sent := 0
	for sent < len(bytes) {
		n, err := syscall.Write(p.fd, bytes[sent:])
		if err != nil && err != syscall.EINTR {
			return sent, err
		}
		if n > 0 {
			sent += n
		}
	}
	return sent, nil
}

// guest serves the port called "wire" until the machine ends.
func guest() {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, name := range names {
		text, _ := os.ReadFile(name)
		if strings.TrimSpace(string(text)) == "wire" {
			serve("/dev/" + filepath.Base(filepath.Dir(name)))
		}
	}
	fail(1, "this machine has no virtio port called wire")
}

func serve(device string) {
	fd, err := syscall.Open(device, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		fail(1, "cannot open "+device+": "+err.Error())
	}
	streams := &table{}
	p := port{fd, streams.closeAll}
	l := &link{out: p}
	for {
		f, err := receive(p)
		if err != nil {
			fail(1, "cannot read "+device+": "+err.Error())
		}
		if f.kind == open {
			go obey(l, f, streams.add(f.stream), streams)
		} else if q := streams.find(f.stream); q != nil {
			q.put(f)
		}
	}
}

func obey(l *link, f frame, q *queue, streams *table) {
	defer streams.drop(f.stream)
	var o order
	if json.Unmarshal(f.body, &o) != nil {
		return
	}
	code := 0
	if o.Socket != "" {
		connect(l, f.stream, o.Socket, q)
	} else {
		code = command(l, f.stream, o, q)
	}
	l.send(frame{f.stream, exit, []byte(strconv.Itoa(code))})
}

func connect(l *link, stream uint32, path string, q *queue) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return
	}
	defer conn.Close()
	go feed(q, conn, func() { conn.(*net.UnixConn).CloseWrite() }, func() { conn.Close() })
	l.pump(conn, stream, data)
	q.close()
}

// feed writes what arrives; `ended` after the last byte, `cut` when nobody waits for an answer.
func feed(q *queue, out io.Writer, ended, cut func()) {
	for {
		f, more := q.take()
		switch {
		case !more:
			return
		case f.kind == data:
			out.Write(f.body)
		case f.kind == eof:
			ended()
		case f.kind == gone:
			cut()
			return
		}
	}
}

func command(l *link, stream uint32, o order, q *queue) int {
	program := exec.Command(o.Argv[0], o.Argv[1:]...)
	program.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LC_ALL=C.UTF-8"}, o.Env...)
	program.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, _ := program.StdinPipe()
	stdout, _ := program.StdoutPipe()
	stderr, _ := program.StderrPipe()
	if err := program.Start(); err != nil {
		l.send(frame{stream, errors, []byte("wire: cannot start " + o.Argv[0] + ": " + err.Error() + "\n")})
		return 127
	}
	go feed(q, stdin, func() { stdin.Close() }, func() { syscall.Kill(-program.Process.Pid, syscall.SIGKILL) })
	complained := make(chan bool)
	go func() { l.pump(stderr, stream, errors); close(complained) }()
	l.pump(stdout, stream, data)
	<-complained
	program.Wait()
	q.close()
	if status, ok := program.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return program.ProcessState.ExitCode()
}
