// SPDX-License-Identifier: Apache-2.0

// Command referrers-registry is an in-memory OCI registry that has the
// referrers API, for tests. It prints the address it listens on as its only
// line on standard output, so that a caller may ask for port 0, and it ends
// when it is killed; nothing is kept.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatalf("listen on %s: %v", *addr, err)
	}
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, registry.New(registry.WithReferrersSupport(true))))
}
