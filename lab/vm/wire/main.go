// wire carries commands and connections between this machine and a virtual one, over one virtio port: no network, no keys.
//
//	wire guest                              in the machine
//	wire host CHARDEV exec=SOCKET GUEST=SOCKET…   beside the machine, as long as it runs
//	wire exec SOCKET [NAME=value…] -- PROGRAM ARGUMENT…
package main

import (
	"fmt"
	"os"
)

func fail(code int, reason string) {
	fmt.Fprintln(os.Stderr, "wire: "+reason)
	os.Exit(code)
}

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 1 && args[0] == "guest":
		guest()
	case len(args) > 2 && args[0] == "host":
		host(args[1], args[2:])
	case len(args) > 3 && args[0] == "exec":
		for at, arg := range args {
			if arg == "--" && at+1 < len(args) {
				os.Exit(client(args[1], order{Argv: args[at+1:], Env: args[2:at]}))
			}
		}
	}
	fail(2, "see main.go for how to call it")
}
