// Keeps true: a question has a deadline, and an answer that does not come is counted, never waited for.
// In: an address. Out: the answer, or a Tally. Rule: `flood` opens a connection per question, `hold` never opens a second one.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

func firstWord(text string) string {
	return strings.SplitN(strings.TrimSpace(text), " ", 2)[0]
}

// plain strips addresses from a network error, so that equal failures count as one.
func plain(err error) string {
	parts := strings.Split(err.Error(), ": ")
	return parts[len(parts)-1]
}

// dial opens a socket; from may name the local address of a UDP socket (":5000").
func dial(kind, address, from string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	if from != "" {
		local, err := net.ResolveUDPAddr("udp", from)
		if err != nil {
			return nil, err
		}
		dialer.LocalAddr = local
	}
	return dialer.Dial(kind, address)
}

// ask sends one line over an open socket and reads one line.
func ask(conn net.Conn, text string, timeout time.Duration) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := fmt.Fprintf(conn, "%s\n", text); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func askOnce(kind string, args []string) error {
	flags := flag.NewFlagSet(kind+"-ask", flag.ExitOnError)
	timeout := flags.Duration("timeout", 2*time.Second, "for connecting and for the answer")
	from := flags.String("from", "", "local address (UDP)")
	_ = flags.Parse(args)
	conn, err := dial(kind, flags.Arg(0), *from, *timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := ask(conn, strings.Join(flags.Args()[1:], " "), *timeout)
	fmt.Print(answer)
	return err
}

func udpAsk(args []string) error { return askOnce("udp", args) }
func tcpAsk(args []string) error { return askOnce("tcp", args) }

func hold(args []string) error {
	flags := flag.NewFlagSet("hold", flag.ExitOnError)
	length := flags.Duration("for", 10*time.Second, "how long")
	every := flags.Duration("every", 100*time.Millisecond, "pause between questions")
	timeout := flags.Duration("timeout", 2*time.Second, "per answer")
	from := flags.String("from", "", "local address (UDP)")
	_ = flags.Parse(args)
	conn, err := dial(flags.Arg(0), flags.Arg(1), *from, *timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	return again(*length, *every, func() (string, error) { return ask(conn, "hold", *timeout) }, flags.Arg(0) == "tcp")
}

// again asks until the time is over or a SIGTERM comes, and then tells.
func again(length, every time.Duration, question func() (string, error), endsWithError bool) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	tally, tick, over := newTally(), time.NewTicker(every), time.After(length)
	defer tick.Stop()
	for {
		start := time.Now()
		answer, err := question()
		tally.add(answer, err, time.Since(start))
		if err != nil && endsWithError {
			return tally.print()
		}
		select {
		case <-stop:
			return tally.print()
		case <-over:
			return tally.print()
		case <-tick.C:
		}
	}
}

// once asks over a connection of its own.
func once(kind, address string, timeout time.Duration) (string, error) {
	if kind == "http" {
		client := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get("http://" + address + "/")
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	conn, err := dial(kind, address, "", timeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return ask(conn, "flood", timeout)
}

func flood(args []string) error {
	flags := flag.NewFlagSet("flood", flag.ExitOnError)
	count := flags.Int("count", 100, "questions in all; 0: until -for is over or a SIGTERM comes")
	length := flags.Duration("for", 5*time.Minute, "no question is begun after so long")
	rate := flags.Int("rate", 0, "questions begun per second; 0: as many as the workers can")
	workers := flags.Int("workers", 4, "questions at once")
	timeout := flags.Duration("timeout", 2*time.Second, "per question")
	_ = flags.Parse(args)
	tally, lock, work := newTally(), sync.Mutex{}, make(chan int)
	var done sync.WaitGroup
	for n := 0; n < *workers; n++ {
		done.Add(1)
		go func() {
			defer done.Done()
			for range work {
				start := time.Now()
				answer, err := once(flags.Arg(0), flags.Arg(1), *timeout)
				lock.Lock()
				tally.add(answer, err, time.Since(start))
				lock.Unlock()
			}
		}()
	}
	feed(work, *count, *length, *rate)
	close(work)
	done.Wait()
	return tally.print()
}

// feed hands out questions until there are enough, the time is over or a SIGTERM comes.
func feed(work chan<- int, count int, length time.Duration, rate int) {
	stop, over := make(chan os.Signal, 1), time.After(length)
	signal.Notify(stop, syscall.SIGTERM)
	pace := func() {}
	if rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		pace = func() { <-ticker.C }
	}
	for n := 0; count == 0 || n < count; n++ {
		select {
		case <-stop:
			return
		case <-over:
			return
		case work <- n:
		}
		pace()
	}
}
