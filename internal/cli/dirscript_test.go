package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"mixminion/directory"
	"mixminion/internal/testnet/testdir"

	"github.com/rogpeppe/go-internal/testscript"
)

// sites finds the directory server of a script: *testscript.TestScript to *dirSite.
var sites sync.Map

type dirSite struct {
	*testdir.Site
	mu      sync.Mutex
	uploads []string
}

// directoryServer starts an HTTP server for the three authorities that it writes into a configuration file, and puts
// its URL into $DIR. Uploads are answered with the given message, and listed by the command uploads.
func directoryServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: directoryserver configuration-file")
	}
	site, err := testdir.Serve()
	ts.Check(err)
	ts.Defer(func() { ts.Check(site.Close()) })
	d := &dirSite{Site: site}
	site.OnUpload(func(w http.ResponseWriter, r *http.Request) {
		text := r.PostFormValue("desc")
		status, message := 1, "Accepted."
		if desc, err := directory.ParseDescriptor([]byte(text)); err != nil {
			status, message = 0, "It cannot be read."
		} else {
			d.mu.Lock()
			d.uploads = append(d.uploads, desc.Nickname)
			d.mu.Unlock()
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprintf(w, "Status: %d\nMessage: %s\n", status, message)
	})
	sites.Store(ts, d)
	ts.Setenv("DIR", site.URL)
	rc := "[DirectoryServers]\n"
	for _, a := range testdir.Authorities(3) {
		rc += "Authority: " + a.Fingerprint + " " + site.URL + "\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(rc), 0o600))
}

// publishDirectory makes a signed directory of a file of descriptors and has the script's directory server serve it: publish DAY FILE
// [recommended=a,b] [signers=0,1] [versions=1.0]. DAY is counted from today.
func publishDirectory(ts *testscript.TestScript, neg bool, args []string) {
	site, ok := sites.Load(ts)
	if neg || len(args) < 2 || !ok {
		ts.Fatalf("usage: publish day file [recommended=a,b] [signers=0,1] [versions=1.0], after directoryserver")
	}
	offset, err := strconv.Atoi(args[0])
	ts.Check(err)
	spec := testdir.Spec{Day: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, offset), Signers: []int{0, 1, 2}}
	for part := range strings.SplitSeq(ts.ReadFile(args[1]), "[Server]\n") {
		if part != "" {
			d, err := directory.ParseDescriptor([]byte("[Server]\n" + part))
			ts.Check(err)
			spec.Servers = append(spec.Servers, d)
		}
	}
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		list := strings.Split(value, ",")
		switch key {
		case "recommended":
			spec.Recommended = list
		case "versions":
			spec.Versions = list
		case "signers":
			spec.Signers = nil
			for _, s := range list {
				n, err := strconv.Atoi(s)
				ts.Check(err)
				spec.Signers = append(spec.Signers, n)
			}
		default:
			ts.Fatalf("what is %s?", key)
		}
	}
	spec.Detached = spec.Signers
	ts.Check(site.(*dirSite).Publish(spec))
}

// uploadedBy waits until the mixes named have uploaded descriptors.
func uploadedBy(ts *testscript.TestScript, neg bool, args []string) {
	site, ok := sites.Load(ts)
	if neg || !ok {
		ts.Fatalf("usage: uploaded name..., after directoryserver")
	}
	d := site.(*dirSite)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		d.mu.Lock()
		have := strings.Join(d.uploads, " ")
		d.mu.Unlock()
		missing := false
		for _, name := range args {
			missing = missing || !strings.Contains(" "+have+" ", " "+name+" ")
		}
		if !missing {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("only %q have been uploaded", have)
		}
	}
}
