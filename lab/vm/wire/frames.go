package main

import (
	"encoding/binary"
	"io"
	"sync"
)

// One frame: stream, kind, length, payload. A stream is one command or one connection; its number is the host's choice.
const (
	open   = iota // JSON of an order
	data          // stdin, stdout, or bytes of a connection
	errors        // stderr
	eof           // no more data in this direction
	exit          // one decimal number; the last frame of a stream
	gone          // the other side wants nothing more of it
)

const header = 9

type frame struct {
	stream uint32
	kind   byte
	body   []byte
}

type link struct {
	out  io.Writer
	lock sync.Mutex
}

func (l *link) send(f frame) error {
	bytes := make([]byte, header+len(f.body))
	binary.BigEndian.PutUint32(bytes, f.stream)
	bytes[4] = f.kind
	binary.BigEndian.PutUint32(bytes[5:], uint32(len(f.body)))
	copy(bytes[header:], f.body)
	l.lock.Lock()
	defer l.lock.Unlock()
	_, err := l.out.Write(bytes)
	return err
}

func receive(in io.Reader) (frame, error) {
	var head [header]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return frame{}, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[5:]))
	_, err := io.ReadFull(in, body)
	return frame{binary.BigEndian.Uint32(head[:]), head[4], body}, err
}

// pump sends what it reads as frames of one kind, until the end or until nobody takes them.
func (l *link) pump(in io.Reader, stream uint32, kind byte) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := in.Read(buffer)
		if n > 0 && l.send(frame{stream, kind, append([]byte(nil), buffer[:n]...)}) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// queue never blocks who puts in, so that one slow stream does not hold up the others.
type queue struct {
	lock  sync.Mutex
	wake  *sync.Cond
	items []frame
	shut  bool
}

func newQueue() *queue {
	q := &queue{}
	q.wake = sync.NewCond(&q.lock)
	return q
}

func (q *queue) put(f frame) {
	q.lock.Lock()
	q.items = append(q.items, f)
	q.lock.Unlock()
	q.wake.Signal()
}

func (q *queue) close() {
	q.lock.Lock()
	q.shut = true
	q.lock.Unlock()
	q.wake.Broadcast()
}

// take waits for the next frame; false when the queue is closed and empty.
func (q *queue) take() (frame, bool) {
	q.lock.Lock()
	defer q.lock.Unlock()
	for len(q.items) == 0 && !q.shut {
		q.wake.Wait()
	}
	if len(q.items) == 0 {
		return frame{}, false
	}
	f := q.items[0]
	q.items = q.items[1:]
	return f, true
}

// table: streams by number.
type table struct {
	lock    sync.Mutex
	streams map[uint32]*queue
}

func (t *table) add(stream uint32) *queue {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.streams == nil {
		t.streams = map[uint32]*queue{}
	}
	q := newQueue()
	t.streams[stream] = q
	return q
}

func (t *table) find(stream uint32) *queue {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.streams[stream]
}

func (t *table) drop(stream uint32) {
	t.lock.Lock()
	defer t.lock.Unlock()
	delete(t.streams, stream)
}

// closeAll ends every stream, as when the cable between the two sides is cut.
func (t *table) closeAll() {
	t.lock.Lock()
	defer t.lock.Unlock()
	for stream, q := range t.streams {
		q.put(frame{stream, gone, nil})
		q.close()
	}
	t.streams = nil
}
