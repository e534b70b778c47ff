package authority_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// goneClient is a connection that breaks while an answer is sent.
type goneClient struct{ *httptest.ResponseRecorder }

const goneAddress = "192.0.2.77"

func (goneClient) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP(goneAddress), Port: 4711}, Err: syscall.EPIPE}
}

// Who downloads a directory is a user: no line of the log, of any level, tells where from, also when the connection breaks.
func TestLogNamesNoClient(t *testing.T) {
	w := newWorld(t, 2)
	w.until(date(secondDay).Add(9 * time.Hour))
	n := w.nodes[0]
	for _, name := range []string{"", "current.gz", "current.gz.sig", "nothing"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.com/dir/"+name, nil)
		r.RemoteAddr = goneAddress + ":4711"
		n.Handler().ServeHTTP(goneClient{httptest.NewRecorder()}, r)
	}
	if strings.Contains(n.log.String(), goneAddress) {
		t.Error("the log names a client")
	}
}
