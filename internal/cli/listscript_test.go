package cli_test

import (
	"crypto/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
	"mixminion/internal/testnet/testdir"
	"mixminion/packet"

	"github.com/rogpeppe/go-internal/testscript"
)

// descriptorFile writes descriptors of mixes that nobody runs: descriptors FILE NAME[=smtp,mbox,frag,PORT]...
// With a port they are on loopback.
func descriptorFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: descriptors file name[=ability,...]...")
	}
	var all []byte
	for _, arg := range args[1:] {
		name, abilities, _ := strings.Cut(arg, "=")
		identity, err := crypt.GenerateKey(2048)
		ts.Check(err)
		now := time.Now().UTC()
		today := now.Truncate(24 * time.Hour)
		f := directory.Fields{
			Nickname: name, Published: now.Truncate(time.Second), ValidAfter: today, ValidUntil: today.AddDate(0, 0, 30),
			PacketKey: &testdir.Keys()[0].PublicKey, PacketVersions: []string{packet.Version},
			Secure: true, Contact: "operator@example.net",
			Incoming: &directory.Incoming{Hostname: name + ".example.net", Port: 48099, Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
			Outgoing: &directory.Outgoing{Protocols: []string{directory.MMTPVersion}, TLS: directory.TLSVersions(false)},
		}
		for a := range strings.SplitSeq(abilities, ",") {
			switch a {
			case "smtp":
				f.SMTP = &directory.Delivery{MaximumSize: 100, AllowFrom: true}
			case "mbox":
				f.MBOX = &directory.Delivery{MaximumSize: 100, AllowFrom: true}
			case "frag":
				f.Fragmented = &directory.Fragmented{MaximumFragments: 66}
			case "":
			default:
				port, err := strconv.ParseUint(a, 10, 16)
				ts.Check(err)
				f.Incoming.Hostname, f.Incoming.Port = "127.0.0.1", uint16(port)
			}
		}
		text, err := directory.SignDescriptor(identity, f)
		ts.Check(err)
		all = append(all, text...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), all, 0o600))
}

// mixAddress puts into $ADDRESS and $PORT where a running mix of the command mixes listens.
func mixAddress(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mixaddress name")
	}
	d, err := directory.ParseDescriptor([]byte(ts.ReadFile(args[0] + "/keys/current-desc")))
	ts.Check(err)
	port := strconv.Itoa(int(d.Incoming.Port))
	ts.Setenv("PORT", port)
	ts.Setenv("ADDRESS", net.JoinHostPort(d.Incoming.Hostname, port))
}

// randomFile writes a file of random bytes: random FILE SIZE.
func randomFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: random file size")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := make([]byte, n)
	rand.Read(data)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}
