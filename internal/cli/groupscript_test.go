package cli_test

import (
	"context"
	"crypto/rsa"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"mixminion/authority"
	"mixminion/dirclient"
	"mixminion/directory"
	"mixminion/internal/testnet/testdir"

	"github.com/rogpeppe/go-internal/testscript"
)

// authorities writes a configuration for each directory authority named: NAME.conf, with a port that is free; its URL is put into $NAME.
func authorities(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: authorities name...")
	}
	for _, name := range args {
		addr := fmt.Sprintf("127.0.0.1:%d", freePort(ts))
		conf := fmt.Sprintf(`[Server]
Nickname: %s
Contact-Email: op@example.com
BaseDir: %s
LogLevel: INFO
[Directory]
Enabled: yes
Listen: %s
URL: http://%s/
`, name, ts.MkAbs(name), addr, addr)
		ts.Check(os.WriteFile(ts.MkAbs(name+".conf"), []byte(conf), 0o600))
		ts.Setenv(name, "http://"+addr+"/")
	}
}

var lineOfAuthority = regexp.MustCompile(`Authority: [0-9A-F]{40} \S+/`)

// groupLines finds the lines of authorities in what they said at their start: grouplines OUT FILE...
func groupLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: grouplines out file...")
	}
	var out strings.Builder
	for _, file := range args[1:] {
		line := lineOfAuthority.FindString(ts.ReadFile(file))
		if line == "" {
			ts.Fatalf("no line in %s", file)
		}
		out.WriteString(line + "\n")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out.String()), 0o600))
}

// httpGet downloads URL NAME from a directory server, and takes off the compression of a name that ends with .gz: httpget URL FILE, or
// ! httpget URL.
func httpGet(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || !neg && len(args) != 2 {
		ts.Fatalf("usage: httpget url file")
	}
	doc, err := dirclient.NewFetcher(dirclient.FetchOptions{}).Get(context.Background(), args[0], directory.MaxDirectoryLen)
	if neg {
		if err == nil {
			ts.Fatalf("%s is there", args[0])
		}
		return
	}
	ts.Check(err)
	if strings.HasSuffix(args[0], ".gz") {
		doc.Body, err = dirclient.Gunzip(doc.Body, directory.MaxDirectoryLen)
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), doc.Body, 0o600))
}

// signDirectory lets a group of authorities agree on a directory of today without waiting for the night: with their
// keys it signs the servers in a file, and puts the result where the first authority keeps what the group has signed:
// signdirectory FILE NAME...
func signDirectory(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: signdirectory file name...")
	}
	var servers []*directory.Descriptor
	info := directory.Info{Status: directory.Consensus, ValidAfter: time.Now().UTC().Truncate(24 * time.Hour)}
	info.ValidUntil = info.ValidAfter.AddDate(0, 0, 1)
	for _, text := range directory.SplitDescriptors([]byte(ts.ReadFile(args[0]))) {
		d, err := directory.ParseDescriptor(text)
		ts.Check(err)
		servers, info.Recommended = append(servers, d), append(info.Recommended, strings.ToLower(d.Nickname))
	}
	var signers []*rsa.PrivateKey
	for _, name := range args[1:] {
		key, _, err := authority.LoadIdentity(ts.MkAbs(filepath.Join(name, "directory")))
		ts.Check(err)
		signers = append(signers, key)
		info.Voters = append(info.Voters, directory.Voter{Fingerprint: authority.Fingerprint(key), URL: ts.Getenv(name)})
	}
	body, err := directory.FormatDirectory(info, servers)
	ts.Check(err)
	text, err := directory.SignDirectory(body, signers...)
	ts.Check(err)
	var detached []directory.Detached
	for _, key := range signers {
		sig, err := directory.SignDetached(body, key)
		ts.Check(err)
		detached = append(detached, sig)
	}
	sigs, err := directory.FormatDetached(detached)
	ts.Check(err)
	gz, err := testdir.Gzip(text)
	ts.Check(err)
	name := ts.MkAbs(filepath.Join(args[1], "directory", "history", info.ValidAfter.Format(time.DateOnly)+".gz"))
	ts.Check(os.WriteFile(name+".sig", sigs, 0o600))
	ts.Check(os.WriteFile(name, gz, 0o600))
}
