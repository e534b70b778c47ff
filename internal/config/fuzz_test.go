package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What parses can be written and read back to the same values.
func FuzzParseServer(f *testing.F) {
	f.Add([]byte(goodServer))
	f.Add([]byte(ExampleServer()))
	f.Add([]byte(goodServer + "MixJitter: 7%\nMaxDisk: 1.7 G\n[Outgoing/MMTP]\nEnabled=1\nRetry every 1 hour for 1 day, 7 hours for 5 days\n"))
	f.Add([]byte(goodServer + "[Incoming/MMTP]\nEnabled: no\nListenIP6: ::\nAllow: * 1-2\nDeny: 10.0.0.0/255.0.0.0\n"))
	f.Add([]byte(goodServer + "Comments: a\n\tb\n# c\n  d\n[Delivery/SMTP]\nEnabled: 0\nSMTPServer: [::1]:25\nMessage:\n"))
	f.Add([]byte(goodServer + "[Directory]\nEnabled: yes\nListen: [::1]:80\nURL: http://a/b/\nAuthority: " + finger + " http://a/\nClientVersions: 1, 2\n"))
	f.Add([]byte(goodServer + "[Delivery/SMTP]\nEnabled: no\nTemplateDir: ~/t\nOptOutAddress: a@b\nDKIMKey: a b c\nDKIMKey: b  c\nDKIMDomain: b\n"))
	f.Add([]byte("x\n[Server\n[Sever]\nNickName: y\n z\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseServer(data, "fuzz")
		if err != nil {
			_ = err.Error()
			return
		}
		_ = s.Warnings()
		text := Format(s)
		back, err := ParseServer(text, "formatted")
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := cmp.Diff(s, back, sameValues...); d != "" {
			t.Fatalf("(-before +after)\n%s\n%s", d, text)
		}
	})
}

func FuzzParseClient(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte(ExampleClient()))
	f.Add([]byte("[Security]\nBlockServers: a,b\nBlockServers: c\nForwardPath: *2:~3,bob\n[Network]\nTimeout: .5 sec\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseClient(data, "fuzz")
		if err != nil {
			return
		}
		_ = c.Warnings()
		back, err := ParseClient(Format(c), "formatted")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, back, sameValues...); d != "" {
			t.Fatal(d)
		}
	})
}

// The text of every number type reads back to the same number.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"1.5 hours", "0.123456789 sec", "every 3 min for 10 min", "1min for 0min", "1 sec for \xc8\xba", "60%", "0.1", "10G", "7 octets"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, make := range []func() Value{
			func() Value { return new(Interval) },
			func() Value { return new(IntervalList) },
			func() Value { return new(Size) },
			func() Value { return new(Fraction) },
		} {
			v, back := make(), make()
			if v.Set(text) != nil {
				continue
			}
			if err := back.Set(v.String()); err != nil || !cmp.Equal(v, back) {
				t.Fatalf("%q became %q: %v", text, v, err)
			}
		}
	})
}
