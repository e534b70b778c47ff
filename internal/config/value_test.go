package config

import (
	"slices"
	"testing"
	"time"
)

func TestInterval(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration // negative: an error
		back string
	}{
		{"30 minutes", 30 * time.Minute, "30 minutes"},
		{"1 sec", time.Second, "1 second"},
		{"90 secs", 90 * time.Second, "90 seconds"},
		{"1.5 hours", 90 * time.Minute, "90 minutes"},
		{"2 Weeks", 14 * day, "14 days"},
		{"1 mon", 30 * day, "30 days"},
		{"2 months", 60 * day, "60 days"},
		{"1 year", 365 * day, "365 days"},
		{"0 seconds", 0, "0 seconds"},
		{"0.25 seconds", 250 * time.Millisecond, "0.25 seconds"},
		{"5min", 5 * time.Minute, "5 minutes"},
		{"100 years", 36500 * day, "36500 days"},
		{"101 years", -1, ""},
		{"99999999999999999999 days", -1, ""},
		{"", -1, ""}, {"5", -1, ""}, {"minutes", -1, ""}, {"-5 minutes", -1, ""}, {"5 minutess", -1, ""},
		{"1e3 days", -1, ""}, {"0x10 days", -1, ""}, {"1.2.3 days", -1, ""}, {".5 days", -1, ""},
		{"5 minutes 3 seconds", -1, ""}, {"5 m", -1, ""},
	} {
		var v Interval
		err := v.Set(c.text)
		if (err != nil) != (c.want < 0) {
			t.Errorf("%q: error %v", c.text, err)
		} else if err == nil && (v.Duration() != c.want || v.String() != c.back) {
			t.Errorf("%q = %v, %s; want %v, %s", c.text, v.Duration(), v, c.want, c.back)
		}
	}
}

func TestIntervalList(t *testing.T) {
	hours := func(parts ...int) (out IntervalList) {
		for i := 0; i < len(parts); i += 2 {
			out = append(out, slices.Repeat([]time.Duration{time.Duration(parts[i+1]) * time.Hour}, parts[i])...)
		}
		return out
	}
	for _, c := range []struct {
		text string
		want IntervalList
		back string
	}{
		{"every 1 hour for 1 day, 7 hours for 5 days", hours(24, 1, 18, 7), "every 1 hour for 1 day, every 7 hours for 126 hours"},
		{"7 hours for 6 days", hours(21, 7), "every 7 hours for 147 hours"},
		{"every 7 hours for 147 hours", hours(21, 7), "every 7 hours for 147 hours"},
		{"1 hour,  2 hours", hours(1, 1, 1, 2), "1 hour, 2 hours"},
		{"Every 1 hour  For 2 hours", hours(2, 1), "every 1 hour for 2 hours"},
		{"every 5 hours for 1 hour", hours(1, 5), "5 hours"},
		{text: ""}, {text: "1 hour,"}, {text: "every"}, {text: "0 hours for 1 day"}, {text: "1 min for 0 min"}, {text: "1 hour for"},
		{text: "1 hour for 1 day for 1 day"}, {text: "every 1 second for 1 year"}, {text: "every every 1 hour"},
		{text: "60 years, 60 years"},
	} {
		var v IntervalList
		err := v.Set(c.text)
		if (err != nil) != (c.want == nil) {
			t.Errorf("%q: error %v", c.text, err)
		} else if err == nil && (!slices.Equal(v, c.want) || v.String() != c.back) {
			t.Errorf("%q = %v, want %v", c.text, v, c.want)
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want Size
		back string
	}{
		{"100K", 100 * KB, "100K"}, {"100 kbs", 100 * KB, "100K"}, {"1.5 MB", 1536 * KB, "1536K"},
		{"10G", 10 * GB, "10G"}, {"10 gb", 10 * GB, "10G"}, {"1024K", MB, "1M"},
		{"512", 512, "512 bytes"}, {"1 byte", 1, "1 byte"}, {"2 octets", 2, "2 bytes"}, {"0", 0, "0 bytes"},
		{"10Gx", -1, ""}, {"10 G B", -1, ""}, {"", -1, ""}, {"K", -1, ""}, {"-1K", -1, ""}, {"1 s", -1, ""},
		{"9999999999G", -1, ""}, {"1 KK", -1, ""}, {"10T", -1, ""},
	} {
		var v Size
		err := v.Set(c.text)
		if (err != nil) != (c.want < 0) {
			t.Errorf("%q: error %v", c.text, err)
		} else if err == nil && (v != c.want || v.String() != c.back) {
			t.Errorf("%q = %d, %s; want %d, %s", c.text, v, v, c.want, c.back)
		}
	}
}

func TestFraction(t *testing.T) {
	for _, c := range []struct {
		text string
		want Fraction
		back string
	}{
		{"60%", 0.6, "60%"}, {"0.6", 0.6, "60%"}, {"7 %", 0.07, "7%"}, {"1", 1, "100%"}, {"0", 0, "0%"},
		{"12.5%", 0.125, "12.5%"}, {"0.123456789", 0.123456789, "0.123456789"},
		{"101%", -1, ""}, {"1.1", -1, ""}, {"-0.1", -1, ""}, {"", -1, ""}, {"%", -1, ""}, {"NaN", -1, ""},
		{"1e-1", -1, ""}, {"0x1p-2", -1, ""}, {"60%%", -1, ""},
	} {
		var v Fraction
		err := v.Set(c.text)
		if (err != nil) != (c.want < 0) {
			t.Errorf("%q: error %v", c.text, err)
		} else if err == nil && (v != c.want || v.String() != c.back) {
			t.Errorf("%q = %v, %s; want %v, %s", c.text, float64(v), v, float64(c.want), c.back)
		}
	}
}

// Values that are read from text: "" as back means an error.
func TestTextValues(t *testing.T) {
	long := "a123456789b123456789c1234"
	for _, c := range []struct {
		v          Value
		text, back string
	}{
		{new(MixAlgorithm), "timed", "Timed"},
		{new(MixAlgorithm), "COTTRELL", "DynamicPool"},
		{new(MixAlgorithm), "mixmaster", "DynamicPool"},
		{new(MixAlgorithm), "dynamicpool", "DynamicPool"},
		{new(MixAlgorithm), "Binomial", "BinomialDynamicPool"},
		{new(MixAlgorithm), "binomialcottrell", "BinomialDynamicPool"},
		{new(MixAlgorithm), "BinomialDynamicPool", "BinomialDynamicPool"},
		{new(MixAlgorithm), "", ""},
		{new(Mode), "Relay", "relay"},
		{new(TLSMode), "Implicit", "implicit"}, {new(TLSMode), "yes", ""},
		{new(LogLevel), "warn", "WARN"}, {new(LogLevel), "loud", ""},
		{new(HostPort), "mail.example.com", "mail.example.com"},
		{new(HostPort), "mail.example.com:587", "mail.example.com:587"},
		{new(HostPort), "192.0.2.1:25", "192.0.2.1:25"},
		{new(HostPort), "::1", "[::1]"}, {new(HostPort), "[::1]", "[::1]"}, {new(HostPort), "[::1]:25", "[::1]:25"},
		{new(HostPort), ":25", ""}, {new(HostPort), "host:", ""}, {new(HostPort), "host:99999", ""},
		{new(HostPort), "a b", ""}, {new(HostPort), "fe80::1%eth0", ""}, {new(HostPort), "a..b", ""},
		{new(Hostname), "mix-1.example.com", "mix-1.example.com"}, {new(Hostname), "127.0.0.1", "127.0.0.1"},
		{new(Hostname), "-a", ""}, {new(Hostname), "", ""}, {new(Hostname), "a_b", "a_b"}, {new(Hostname), "a/b", ""},
		{new(Port), "1", "1"}, {new(Port), "65536", ""}, {new(Port), "+1", ""},
		{new(Mailbox), "a.b+c@x.example", "a.b+c@x.example"}, {new(Mailbox), "<a@b>", ""}, {new(Mailbox), "a@b@c", ""},
		{new(Mailbox), "a@", ""}, {new(Mailbox), "A <a@b>", ""}, {new(Mailbox), "a..b@c", ""},
		{new(Nickname), "alice-2", "alice-2"}, {new(Nickname), "2alice", ""}, {new(Nickname), "-a", ""},
		{new(Nickname), long[:24], long[:24]}, {new(Nickname), long, ""}, {new(Nickname), "a_b", ""},
		{new(List), "alice, bob,carol", "alice, bob, carol"}, {new(List), "alice,,bob", ""}, {new(List), "", ""},
		{new(Command), "rm  -f", "rm -f"}, {new(Command), " ", ""},
		{new(AddressSets), "10.0.0.0/33", ""}, {new(AddressSets), "10.0.0.0/255.0.255.0", ""},
		{new(AddressSets), "* 90-80", ""}, {new(AddressSets), "* 1 2", ""}, {new(AddressSets), "x", ""},
		{new(AddressSets), "10.0.0.0/255.0.0.0", "10.0.0.0/8"},
	} {
		err := c.v.Set(c.text)
		if (err != nil) != (c.back == "") {
			t.Errorf("%T %q: error %v", c.v, c.text, err)
		} else if err == nil && c.v.String() != c.back {
			t.Errorf("%T %q = %q, want %q", c.v, c.text, c.v, c.back)
		}
	}
	if a := (HostPort{Host: "x"}).Address(25); a != "x:25" {
		t.Error(a)
	}
	if a := (HostPort{Host: "::1", Port: 5}).Address(25); a != "[::1]:5" {
		t.Error(a)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"MixInterval", "MixJitter", "Mode", "Module"}
	for _, c := range []struct {
		in, want string
		fold     bool
	}{
		{"MixIntervall", "MixInterval", false}, {"mixjitter", "MixJitter", true}, {"Modul", "Module", false},
		{"modus", "Mode", false}, {"Banana", "", false}, {"", "", false},
	} {
		if got, fold := nearest(c.in, names); got != c.want || fold != c.fold {
			t.Errorf("nearest(%q) = %q, %v; want %q, %v", c.in, got, fold, c.want, c.fold)
		}
	}
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("distance = %d", d)
	}
}
