// Keeps true: one static program answers and asks in the lab, so a test never depends on what an image happens to hold.
// In: a verb and its arguments. Out: lines or one JSON object on stdout; exit code 0 only when every question was answered.
// Rule: standard library only.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"time"
)

const usage = `box serve [-http :80] [-tcp :9001] [-udp :9000] [-linger 0s] [-name HOSTNAME]
    answers with its name and the client's address: HTTP (/, /bytes?n=, /slow?ms=, /healthz: 503 while /tmp/unhealthy exists),
    UDP per datagram, TCP per line; on SIGTERM goes on for -linger
box udp-ask   [-timeout 2s] [-from :PORT] HOST:PORT [TEXT]     one datagram, one answer
box tcp-ask   [-timeout 2s] HOST:PORT [TEXT]                   one line, one answer
box hold      [-for 10s] [-every 100ms] [-timeout 2s] [-from :PORT] tcp|udp HOST:PORT   one socket asks again and again; SIGTERM ends it early, as it does reuse
box flood     [-count 100] [-for 5m] [-rate 0] [-workers 4] [-timeout 2s] http|tcp|udp HOST:PORT   a new connection per question; -count 0: until a SIGTERM
box reuse     [-from :6000] [-for 10s] [-every 50ms] [-timeout 3s] [-close rst|server] HOST:PORT   new connections from one port; rst: TCP lines, server: HTTP
box half      [-for 10m] [-timeout 10s] HOST:PORT     a line, no more from here (FIN), and after so long the server's answer must come (to "later DURATION")
box resolve   [-timeout 5s] [-server 127.0.0.11:53] [-type A] NAME   asks until there is an answer
box dns-bench [-count 500] [-for 0s] [-every 0s] [-timeout 2s] [-server 127.0.0.11:53] [-type A] NAME   sequential queries, times in µs
box dns-serve [-listen 0.0.0.0:53] NAME=ADDRESS...   UDP and TCP; any other name is NXDOMAIN
box look      [-timeout 15s] NAME...   Go's own resolver
`

func main() {
	verbs := map[string]func([]string) error{
		"serve": serve, "udp-ask": udpAsk, "tcp-ask": tcpAsk, "hold": hold, "flood": flood, "reuse": reuse, "half": half, "resolve": resolve, "dns-bench": dnsBench,
		"dns-serve": dnsServe, "look": look,
	}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Tally is what flood, hold, reuse and dns-bench print: By counts answers by the first word of each, times are in µs. FirstMs, LastMs:
// when the first and last question that each answered were begun, FailMs: the last that nobody answered (ms of the epoch).
type Tally struct {
	Sent    int              `json:"sent"`
	Failed  int              `json:"failed"`
	By      map[string]int   `json:"by"`
	Errors  map[string]int   `json:"errors"`
	MinUs   int64            `json:"minUs"`
	P50Us   int64            `json:"p50Us"`
	P99Us   int64            `json:"p99Us"`
	MaxUs   int64            `json:"maxUs"`
	GapMs   int64            `json:"longestGapMs"`
	FirstMs map[string]int64 `json:"firstMs"`
	LastMs  map[string]int64 `json:"lastMs"`
	FailMs  int64            `json:"lastFailMs"`
	times   []time.Duration
	last    time.Time
}

func newTally() *Tally {
	return &Tally{By: map[string]int{}, Errors: map[string]int{}, FirstMs: map[string]int64{}, LastMs: map[string]int64{}, last: time.Now()}
}

func (t *Tally) add(answer string, err error, took time.Duration) {
	t.Sent++
	if err != nil {
		t.Failed++
		t.Errors[plain(err)]++
		t.FailMs = time.Now().Add(-took).UnixMilli()
		return
	}
	if gap := time.Since(t.last).Milliseconds(); gap > t.GapMs {
		t.GapMs = gap
	}
	t.last = time.Now()
	t.By[firstWord(answer)]++
	begun := time.Now().Add(-took).UnixMilli()
	if _, known := t.FirstMs[firstWord(answer)]; !known {
		t.FirstMs[firstWord(answer)] = begun
	}
	t.LastMs[firstWord(answer)] = begun
	t.times = append(t.times, took)
}

// print writes the tally as one JSON object; an error when a question stayed unanswered.
func (t *Tally) print() error {
	sort.Slice(t.times, func(a, b int) bool { return t.times[a] < t.times[b] })
	if n := len(t.times); n > 0 {
		t.MinUs, t.MaxUs = t.times[0].Microseconds(), t.times[n-1].Microseconds()
		t.P50Us, t.P99Us = t.times[n/2].Microseconds(), t.times[n*99/100].Microseconds()
	}
	line, _ := json.Marshal(t)
	fmt.Println(string(line))
	if t.Failed > 0 {
		return fmt.Errorf("%d of %d failed", t.Failed, t.Sent)
	}
	return nil
}
