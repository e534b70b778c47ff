// Package freeport finds ports of loopback for tests that must know an address before anybody listens there.
package freeport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports are looked for below those that systems give to outgoing connections and to listeners that do not ask for one: such a port would
// not stay free.
const low, high = 10_000, 30_000

// given are the ports that Find has returned: nobody may listen there yet.
var given sync.Map

// Find returns a port at which nobody listens, and that it has not returned before.
func Find() (uint16, error) {
	for range 100 {
		port := uint16(low + rand.IntN(high-low))
		if _, again := given.LoadOrStore(port, true); again {
			continue
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port of loopback is free")
}

// Port is Find for a test.
func Port(t testing.TB) uint16 {
	t.Helper()
	port, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Addr returns an address of loopback with such a port.
func Addr(t testing.TB) string {
	t.Helper()
	return addr(Port(t))
}

func addr(port uint16) string { return fmt.Sprintf("127.0.0.1:%d", port) }
