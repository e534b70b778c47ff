package days_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
)

// frontFaults is what the web server in front of an authority does. It is guarded by world.mu.
type frontFaults struct {
	handler http.Handler // nil: the authority is down
	rnd     *rand.Rand
	garbage bool // documents are damaged
	deaf    bool // uploads are lost
	// instead serves other documents than the authority's, by name. Of several it serves each in turn.
	instead map[string]*forgery
}

// A forgery is served in place of a document.
type forgery struct {
	kind   string
	docs   [][]byte // nil: the true one
	served int
}

// ServeHTTP is the web server of a node.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := &n.faults
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	n.w.mu.Lock()
	h := f.handler
	garbage := 0
	var doc []byte
	switch forged := f.instead[name]; {
	case h == nil:
		n.w.strike("down")
	case f.deaf && name == "upload":
		n.w.strike("uploads lost")
		h = nil
	case f.garbage && name != "upload" && f.rnd.IntN(4) > 0:
		n.w.strike("garbage")
		garbage = 1 + f.rnd.IntN(4)
	case forged != nil:
		doc = forged.docs[forged.served%len(forged.docs)]
		forged.served++
		if doc != nil {
			n.w.strike(forged.kind)
		}
	}
	n.w.mu.Unlock()
	switch {
	case h == nil:
		panic(http.ErrAbortHandler) // the connection breaks
	case garbage > 0:
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		spoil(w, rec.Body.Bytes(), garbage)
	case doc != nil:
		_, _ = w.Write(doc) // who asked notices
	default:
		h.ServeHTTP(w, r)
	}
}

// spoil answers with something that is wrong in one of four ways.
func spoil(w http.ResponseWriter, good []byte, how int) {
	var bad []byte
	switch how {
	case 1:
		bad = []byte("<html>Welcome to our hotel. Please log in.</html>")
	case 2:
		bad = good[:len(good)/2]
	case 3:
		bad = append([]byte{}, good...)
		if len(bad) > 0 {
			bad[len(bad)/2] ^= 0x20
		}
	case 4:
		w.WriteHeader(http.StatusBadGateway)
	}
	_, _ = w.Write(bad) // who asked notices
}
