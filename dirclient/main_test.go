package dirclient

import (
	"sync"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/testnet/testdir"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	today     = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	yesterday = today.AddDate(0, 0, -1)
	tomorrow  = today.AddDate(0, 0, 1)
)

// signedServers signs once: signatures are random, and with them the directory.
var signedServers = sync.OnceValues(func() ([]*directory.Descriptor, error) {
	var list []*directory.Descriptor
	for i, name := range []string{"Alder", "birch"} {
		d, err := testdir.Server(name, i, today.AddDate(0, 0, -2), nil)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
})

func servers(t testing.TB) []*directory.Descriptor {
	t.Helper()
	list, err := signedServers()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// spec is a directory of the given day, signed by all three authorities.
func spec(t testing.TB, day time.Time) testdir.Spec {
	return testdir.Spec{Day: day, Servers: servers(t), Signers: []int{0, 1, 2}, Detached: []int{0, 1, 2}}
}

func publish(t testing.TB, s testdir.Spec) (gz, sig []byte) {
	t.Helper()
	gz, sig, err := testdir.Publish(s)
	if err != nil {
		t.Fatal(err)
	}
	return gz, sig
}

func serve(t testing.TB) *testdir.Site {
	t.Helper()
	site, err := testdir.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
	})
	return site
}
