package authority

import (
	"errors"
	"net"
	"testing"
)

// A fakeListener hands out connections from the given addresses.
type fakeListener struct{ from []string }

type fakeConn struct {
	net.Conn
	from   string
	closed *int
}

func (c fakeConn) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", c.from)
	if err != nil {
		panic(err)
	}
	return a
}
func (c fakeConn) Close() error { *c.closed++; return nil }

var closedConns int

func (l *fakeListener) Accept() (net.Conn, error) {
	if len(l.from) == 0 {
		return nil, net.ErrClosed
	}
	c := fakeConn{from: l.from[0], closed: &closedConns}
	l.from = l.from[1:]
	return c, nil
}
func (l *fakeListener) Close() error   { return nil }
func (l *fakeListener) Addr() net.Addr { return nil }

func TestOneSourceLeavesRoomForOthers(t *testing.T) {
	room := newRoom(20, 3)
	l := &limited{Listener: &fakeListener{from: []string{
		"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1", "192.0.2.5:1", "198.51.100.1:1",
		"[2001:db8:1:1::1]:1", "[2001:db8:1:2::1]:1", "[2001:db8:1:3::1]:1", "[2001:db8:1:4::1]:1", "[2001:db8:2::1]:1",
		"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "10.0.0.1:4", "192.0.2.9:1", "192.0.2.9:2",
	}}, room: room, closed: make(chan struct{})}
	var got []net.Conn
	accept := func(want string) {
		t.Helper()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if c.RemoteAddr().String() != want {
			t.Fatalf("accepted %s, want %s", c.RemoteAddr(), want)
		}
		got = append(got, c)
	}
	for _, want := range []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "198.51.100.1:1", "[2001:db8:1:1::1]:1", "[2001:db8:1:2::1]:1",
		"[2001:db8:1:3::1]:1", "[2001:db8:2::1]:1", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "10.0.0.1:4"} {
		accept(want)
	}
	if closedConns != 3 {
		t.Errorf("%d connections were turned away, want 3", closedConns)
	}
	for range 2 { // closing twice counts once
		if err := got[0].Close(); err != nil {
			t.Fatal(err)
		}
	}
	accept("192.0.2.9:1")
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	for _, c := range got[1:] {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(room.sources) != 0 || len(room.slots) != 0 {
		t.Errorf("%d sources and %d slots are left", len(room.sources), len(room.slots))
	}
}
