package client_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mixminion/client"
	"mixminion/delivery/mail"
	"mixminion/packet"
)

func TestParseAddress(t *testing.T) {
	smtp := func(box string) client.Address { return client.Address{Type: packet.TypeSMTP, Info: []byte(box)} }
	mbox := func(name, server string) client.Address {
		return client.Address{Type: packet.TypeMBOX, Info: []byte(name), LastHop: server}
	}
	raw := func(t packet.RoutingType, info string) client.Address {
		return client.Address{Type: t, Info: []byte(info)}
	}
	long := strings.Repeat("a", 254-len("@example.com")) + "@example.com"
	for in, want := range map[string]client.Address{
		"bob@example.com":                smtp("bob@example.com"),
		"Bob.Smith+x@Example.COM":        smtp("Bob.Smith+x@Example.COM"),
		"smtp:bob@example.com":           smtp("bob@example.com"),
		"SMTP:bob@example.com":           smtp("bob@example.com"),
		"smtp:0x0100@example.com":        smtp("0x0100@example.com"),
		"drop@example.com":               smtp("drop@example.com"),
		"!#$%&'*+-/=?^_`{|}~@x.y":        smtp("!#$%&'*+-/=?^_`{|}~@x.y"),
		"bob@1.2.3.4a":                   smtp("bob@1.2.3.4a"),
		"bob@localhost":                  smtp("bob@localhost"),
		long:                             smtp(long),
		"mbox:bob":                       mbox("bob", ""),
		"Mbox:Bob":                       mbox("Bob", ""),
		"mbox:bob smith@alder":           mbox("bob smith", "alder"),
		"mbox:bob:x@alder":               mbox("bob:x", "alder"),
		"drop":                           {Type: packet.TypeDrop},
		"DROP":                           {Type: packet.TypeDrop},
		"0x0105:12345678901234567890":    raw(packet.TypePing, "12345678901234567890"),
		"0xFFFE":                         raw(0xFFFE, ""),
		"0XfffE:":                        raw(0xFFFE, ""),
		"0xfffe:any @ text : with\x00\n": raw(0xFFFE, "any @ text : with\x00\n"),
		"0x1234:bob@example.com":         raw(0x1234, "bob@example.com"),
		"0x0101:bob":                     raw(packet.TypeMBOX, "bob"),
		"0x0100:bob@example.com":         raw(packet.TypeSMTP, "bob@example.com"),
		"0x0000":                         raw(packet.TypeDrop, ""),
	} {
		got, err := client.ParseAddress(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if d := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); d != "" {
			t.Errorf("%q: %s", in, d)
		}
	}

	for _, in := range []string{
		"", " ", "nonsense", "bob", "@", "bob@", "@example.com", "smtp", "smtp:", "smtp:bob", "mbox", "mbox:", "mbox:@alder",
		"bob@127.0.0.1", "smtp:x@10.0", "bob@1", "bob@[127.0.0.1]", "bob@[::1]",
		"a..b@example.com", ".a@example.com", "a.@example.com", "bob@.example.com", "bob@example..com", "bob@example.com.",
		"bob@example.com ", " bob@example.com", "bob smith@example.com", `"bob"@example.com`, "bob(x)@example.com",
		"<bob@example.com>", "Bob <bob@example.com>", "bob@example.com,eve@example.com", "bob@eve@example.com", "bob;@example.com",
		"bob@example.com\n", "bob@example.com\r\nRCPT TO:<eve@example.com>", "bob\x00@example.com", "b\xf6b@example.com", "b\u00f6b@example.com",
		"smtp:smtp:bob@example.com", "mailto:bob@example.com", "news:alt.test", ":bob@example.com", "drop:", "drop:x", "drop ",
		"a" + long,
		"0x", "0x:", "0x1", "0x10:", "0x100:", "0x00100:x", "0x01 0:x", "0xg100:x", "0x-100:x", "100:x", "0100:x",
		"0x0001", "0x0002:x", "0x0003:x", "0x0004:x", "0x0005:x", "0x00ff:x", "0x0103:", "0xFFFF:x", "0xffff",
	} {
		got, err := client.ParseAddress(in)
		if !errors.Is(err, client.ErrAddress) {
			t.Errorf("%q: %+v, error %v", in, got, err)
		}
	}
}

// An error must not repeat the address: it may end in a log.
func TestAddressErrorsAreSilent(t *testing.T) {
	for _, in := range []string{"secretname", "secretname@127.0.0.1", "smtp:secretname", "secretname:x", "0xsecretname:x", "mbox:@secretname"} {
		if _, err := client.ParseAddress(in); err == nil || strings.Contains(err.Error(), "secretname") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// format writes an address in the most explicit of the forms that ParseAddress reads.
func format(a client.Address) string {
	switch {
	case a.Type == packet.TypeMBOX && a.LastHop != "":
		return "mbox:" + string(a.Info) + "@" + a.LastHop
	default:
		return fmt.Sprintf("0x%04x:%s", uint16(a.Type), a.Info)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{
		"bob@example.com", "smtp:bob@example.com", "SMTP:a.b@c", "mbox:bob", "mbox:bob@alder", "mbox:a@b@c", "drop", "DROP", "drop:",
		"0x0101:x", "0x0000", "0xFFFE:text", "0x0103:x", "0xFFFF:x", "0X1234:", "test:x", "bob@127.0.0.1", "a..b@c", ":", "@", "",
		"bob@example.com\r\nRCPT TO:<eve@example.com>", "smtp:\x00@x", "mbox:\xff@alder",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := client.ParseAddress(in)
		if err != nil {
			if !errors.Is(err, client.ErrAddress) {
				t.Errorf("error %v", err)
			}
			return
		}
		if !a.Type.IsExit() && a.Type != packet.TypeDrop || a.Type == packet.TypeFragment || a.Type == 0xFFFF {
			t.Errorf("type %v accepted", a.Type)
		}
		if a.LastHop != "" && a.Type != packet.TypeMBOX {
			t.Errorf("type %v with last hop", a.Type)
		}
		if box, err := mail.ParseAddress(a.Info); a.Type == packet.TypeSMTP && (err != nil || box != string(a.Info)) {
			t.Errorf("SMTP to %q: %v", a.Info, err)
		}
		again, err := client.ParseAddress(format(a))
		if err != nil {
			t.Fatalf("%q: %v", format(a), err)
		}
		if format(again) != format(a) || again.Type != a.Type || string(again.Info) != string(a.Info) || again.LastHop != a.LastHop {
			t.Errorf("%+v written and read again is %+v", a, again)
		}
	})
}
