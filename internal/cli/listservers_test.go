package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mixminion/client"
)

// The forms that other programs know from the first implementation.
func TestListLayout(t *testing.T) {
	date := func(month, day int) time.Time { return time.Date(2026, time.Month(month), day, 0, 0, 0, 0, time.UTC) }
	features := []client.Feature{client.FeatureCaps, client.FeatureStatus}
	rows := []client.FeatureRow{
		{Nickname: "alpha", From: date(11, 22), Until: date(12, 22), Values: []string{"relay", "(ok)"}},
		{Nickname: "alpha", From: date(12, 22), Until: date(12, 31), Values: []string{"smtp relay frag", "(ok)"}},
		{Nickname: "beta", From: date(11, 22), Until: date(12, 22), Values: []string{"mbox relay", "(blocked)"}},
	}
	for _, test := range []struct {
		name   string
		layout listLayout
		want   string
	}{
		{"plain", listLayout{separator: "\t"}, "" +
			"alpha:relay\t(ok)\n" +
			"alpha:smtp relay frag\t(ok)\n" +
			"beta:mbox relay\t(blocked)\n"},
		{"separator", listLayout{separator: "; "}, "" +
			"alpha:relay; (ok)\n" +
			"alpha:smtp relay frag; (ok)\n" +
			"beta:mbox relay; (blocked)\n"},
		{"times", listLayout{times: true, separator: "\t"}, "" +
			"alpha:2026-11-22 to 2026-12-22:relay\t(ok)\n" +
			"alpha:2026-12-22 to 2026-12-31:smtp relay frag\t(ok)\n" +
			"beta:2026-11-22 to 2026-12-22:mbox relay\t(blocked)\n"},
		{"cascade", listLayout{cascade: true, separator: "\t"}, "" +
			"alpha:\n" +
			"  [2026-11-22 to 2026-12-22] relay\t(ok)\n" +
			"  [2026-12-22 to 2026-12-31] smtp relay frag\t(ok)\n" +
			"beta:\n" +
			"  [2026-11-22 to 2026-12-22] mbox relay\t(blocked)\n"},
		{"justify", listLayout{justify: true, separator: " "}, "" +
			"alpha:relay           (ok)\n" +
			"alpha:smtp relay frag (ok)\n" +
			"beta :mbox relay      (blocked)\n"},
		{"justify times", listLayout{justify: true, times: true, separator: "|"}, "" +
			"alpha:2026-11-22 to 2026-12-22:relay          |(ok)\n" +
			"alpha:2026-12-22 to 2026-12-31:smtp relay frag|(ok)\n" +
			"beta :2026-11-22 to 2026-12-22:mbox relay     |(blocked)\n"},
		{"cascade features", listLayout{cascadeFeatures: true, cascade: true, justify: true}, "" +
			"alpha:\n    caps:relay\n    status:(ok)\n    caps:smtp relay frag\n    status:(ok)\n" +
			"beta:\n    caps:mbox relay\n    status:(blocked)\n"},
		{"cascade features and times", listLayout{cascadeFeatures: true, times: true}, "" +
			"alpha:\n" +
			"  [2026-11-22 to 2026-12-22]\n    caps:relay\n    status:(ok)\n" +
			"  [2026-12-22 to 2026-12-31]\n    caps:smtp relay frag\n    status:(ok)\n" +
			"beta:\n" +
			"  [2026-11-22 to 2026-12-22]\n    caps:mbox relay\n    status:(blocked)\n"},
	} {
		if d := cmp.Diff(test.want, test.layout.format(features, rows)); d != "" {
			t.Errorf("%s:\n%s", test.name, d)
		}
	}
}

func TestPrintFeatures(t *testing.T) {
	var out bytes.Buffer
	if err := printFeatures(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"\nServer:Packet-Key              (abbreviate as Packet-Key)\n",
		"\nIncoming/MMTP:Hostname         (abbreviate as Hostname)\n",
		"\nDelivery/Fragmented:Maximum-Fragments (abbreviate as Maximum-Fragments)\n",
		"\nDelivery/SMTP:Maximum-Size\n",
		"\ncaps\nstatus\nfingerprint\n",
	} {
		if !strings.Contains("\n"+text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestParseDownload(t *testing.T) {
	for _, v := range []string{"no", "N", "0", "false", "f"} {
		if mode, err := parseDownload(v); err != nil || mode != downloadNever {
			t.Errorf("%s: %v, %v", v, mode, err)
		}
	}
	for _, v := range []string{"yes", "Y", "1", "TRUE", "t", "force"} {
		if mode, err := parseDownload(v); err != nil || mode != downloadAlways {
			t.Errorf("%s: %v, %v", v, mode, err)
		}
	}
	for _, v := range []string{"", "perhaps"} {
		if _, err := parseDownload(v); err == nil {
			t.Errorf("%q: no error", v)
		}
	}
}
