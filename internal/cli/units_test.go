package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"mixminion/client"
	"mixminion/internal/config"
	"mixminion/internal/logging"
	"mixminion/internal/testnet"
	"mixminion/internal/testnet/freeport"
	"mixminion/path"
)

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 packets", 1: "1 packet", 2: "2 packets", 1000: "1000 packets"} {
		if got := count(n, "packet"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestSameText(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"a", "a", true}, {"a\n", "a", true}, {"a", "a\n", true}, {"a\n", "a\n", true}, {"", "\n", true},
		{"a\n\n", "a\n", false}, {"a\n\n", "a", false}, {"a", "b", false}, {"a\r\n", "a\n", false}, {"a", "", false},
	} {
		if sameText([]byte(c.a), []byte(c.b)) != c.want {
			t.Errorf("%q and %q", c.a, c.b)
		}
	}
}

func TestSizeFlag(t *testing.T) {
	for text, want := range map[string]sizeFlag{"1": 1, "1M": 1 << 20, "100K": 100 << 10, "512 bytes": 512, "1.5 MB": 3 << 19} {
		var f sizeFlag
		if err := f.Set(text); err != nil || f != want {
			t.Errorf("%s: %d, %v", text, f, err)
		}
		var again sizeFlag
		if err := again.Set(f.String()); err != nil || again != f {
			t.Errorf("%s is written as %s: %v", text, f.String(), err)
		}
	}
	var f sizeFlag
	if f.String() != "" || f.Type() != "size" {
		t.Errorf("no size is %q of type %q", f.String(), f.Type())
	}
	for _, text := range []string{"", "many", "-1", "1X", "K"} {
		if err := f.Set(text); err == nil {
			t.Errorf("%q is %d", text, f)
		}
	}
}

func TestReadAll(t *testing.T) {
	const limit = 1 << 20
	for n, ok := range map[int]bool{0: true, limit: true, limit + 1: false, 2 * limit: false} {
		data, err := readAll(bytes.NewReader(make([]byte, n)), "the text", limit)
		if ok && (err != nil || len(data) != n) {
			t.Errorf("%d bytes: %d, %v", n, len(data), err)
		}
		if !ok && (err == nil || err.Error() != "the text is longer than 1 MB" || data != nil) {
			t.Errorf("%d bytes: %d, %v", n, len(data), err)
		}
	}
	broken := errors.New("broken")
	if _, err := readAll(iotest.ErrReader(broken), "the text", limit); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "read the text: ") {
		t.Error(err)
	}
}

func TestReadLimited(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if _, err := readLimited(name, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := readLimited(name, 10); err != nil || string(data) != "0123456789" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := readLimited(name, 9); err == nil || !strings.Contains(err.Error(), name) {
		t.Error(err)
	}
	if _, err := readLimited(filepath.Dir(name), 9); err == nil {
		t.Error("a directory was read")
	}
}

func TestReadMessage(t *testing.T) {
	var errOut bytes.Buffer
	s := &streams{in: strings.NewReader("from the pipe"), err: &errOut}
	if body, err := readMessage(t.Context(), s, "-"); err != nil || string(body) != "from the pipe" {
		t.Errorf("%q, %v", body, err)
	}
	name := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(name, []byte("from the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if body, err := readMessage(t.Context(), s, name); err != nil || string(body) != "from the file" {
		t.Errorf("%q, %v", body, err)
	}
	if errOut.Len() > 0 {
		t.Errorf("said %q", errOut.String())
	}
}

func TestSay(t *testing.T) {
	var errOut bytes.Buffer
	s := &streams{err: &errOut}
	s.say("%d%% of %s", 100, "it")
	s.quiet = true
	s.say("hidden")
	if got := errOut.String(); got != "100% of it\n" {
		t.Errorf("said %q", got)
	}
}

func TestDescribe(t *testing.T) {
	one := client.PreparedPacket{Route: "a,b:c,d"}
	for _, c := range []struct {
		p    client.Prepared
		want []string
	}{
		{client.Prepared{Packets: []client.PreparedPacket{one}}, []string{"The message fits into one packet. Its path: a,b:c,d."}},
		{client.Prepared{Packets: []client.PreparedPacket{one, one, one}},
			[]string{"The message takes 3 packets, each on a path of its own; not all of them need to arrive."}},
		{client.Prepared{Packets: []client.PreparedPacket{one}, Overcompressed: true, Warnings: []path.Warning{{Text: "it is short"}}},
			[]string{"Warning: it is short.", "in compressed form, which only mixminion can read."}},
	} {
		var errOut bytes.Buffer
		describe(&streams{err: &errOut}, &c.p, 1)
		for _, want := range c.want {
			if !strings.Contains(errOut.String(), want) {
				t.Errorf("%q does not say %q", errOut.String(), want)
			}
		}
	}
}

func TestReadClientConfig(t *testing.T) {
	home := t.TempDir()
	write := func(name, userDir string) string {
		t.Helper()
		file := filepath.Join(home, name)
		if err := os.WriteFile(file, []byte("[User]\nUserDir: "+userDir+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	check := func(flag, want string) {
		t.Helper()
		cfg, _, err := readClientConfig(flag, home)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(cfg.User.UserDir); got != want {
			t.Errorf("with -f %q: UserDir is %q, want %q", flag, got, want)
		}
	}
	t.Setenv("MIXMINIONRC", "")
	check("", string(config.DefaultClient().User.UserDir))
	write("mixminionrc", "/last")
	check("", "/last")
	write(".mixminionrc", "/usual")
	check("", "/usual")
	t.Setenv("MIXMINIONRC", write("env", "/environment"))
	check("", "/environment")
	flag := write("flag", "/flag")
	check(flag, "/flag")
	// A variable that names no file is passed over, a flag is not.
	t.Setenv("MIXMINIONRC", filepath.Join(home, "missing"))
	check("", "/usual")
	if _, _, err := readClientConfig(filepath.Join(home, "missing"), home); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	t.Setenv("MIXMINIONRC", home)
	if _, _, err := readClientConfig("", home); err == nil {
		t.Error("a directory is passed over")
	}
	if err := os.WriteFile(flag, []byte("[User]\nNonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mistake *config.Error
	if _, _, err := readClientConfig(flag, home); !errors.As(err, &mistake) || mistake.Line != 2 || mistake.File != flag {
		t.Error(err)
	}
	if err := os.WriteFile(flag, make([]byte, maxConfig+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readClientConfig(flag, home); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Error(err)
	}
}

func TestReadServerConfig(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, ".mixminiond.conf")
	const text = "[Server]\nMode: relay\nNickname: alder\nContact-Email: operator@example.com\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"", file} {
		cfg, place, err := readServerConfig(flag, home)
		if err != nil || place != file || cfg.Main.Nickname != "alder" {
			t.Errorf("with -f %q: %s, %v", flag, place, err)
		}
	}
	if err := os.Rename(file, filepath.Join(home, "x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(home, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(home, "etc", "mixminiond.conf")
	if err := os.Rename(filepath.Join(home, "x"), want); err != nil {
		t.Fatal(err)
	}
	if _, place, err := readServerConfig("", home); err != nil || place != want {
		t.Errorf("%s, %v", place, err)
	}
	if _, _, err := readServerConfig(file, home); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestForwardPath(t *testing.T) {
	parse := func(text string) *user {
		t.Helper()
		cfg, err := config.ParseClient([]byte(text), "rc")
		if err != nil {
			t.Fatal(err)
		}
		return &user{cfg: cfg}
	}
	given := parse("[Security]\nForwardPath: alder,?:birch\n")
	for _, c := range []struct {
		u          *user
		flag, want string
	}{
		{given, "", "alder,?:birch"},
		{given, "*5", "*5"},
		{parse("[User]\n"), "*5", "*5"},
		{parse("[User]\n"), "", ""},
		{parse("[Security]\n"), "", ""},
	} {
		spec, err := c.u.forwardPath(c.flag)
		if err != nil || spec.String() != c.want || spec.IsZero() != (c.want == "") {
			t.Errorf("flag %q: %v, %v", c.flag, spec, err)
		}
	}
	var mistake *path.SpecError
	if _, err := given.forwardPath("a:b:c"); !errors.As(err, &mistake) || !strings.Contains(err.Error(), `path "a:b:c": `) {
		t.Error(err)
	}
}

func TestListen(t *testing.T) {
	four := netip.MustParseAddrPort("127.0.0.1:0")
	listeners, err := listen(t.Context(), []netip.AddrPort{four, four})
	if err != nil || len(listeners) != 2 {
		t.Fatalf("%d listeners: %v", len(listeners), err)
	}
	taken := netip.MustParseAddrPort(listeners[0].Addr().String())
	// An address that is taken ends it, and the others are free again.
	free := netip.AddrPortFrom(four.Addr(), freeport.Port(t))
	if got, err := listen(t.Context(), []netip.AddrPort{free, taken}); err == nil || got != nil {
		t.Errorf("%d listeners: %v", len(got), err)
	}
	again, err := listen(t.Context(), []netip.AddrPort{free})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range append(listeners, again...) {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLogger(t *testing.T) {
	levels := []slog.Level{logging.LevelTrace, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, logging.LevelFatal}
	for level, want := range map[config.LogLevel]int{
		config.LogTrace: 6, config.LogDebug: 5, config.LogInfo: 4, config.LogWarn: 3, config.LogError: 2, config.LogFatal: 1, config.LogNever: 0,
	} {
		for _, c := range []struct{ quiet, echo, shown bool }{{false, false, true}, {true, false, false}, {true, true, true}} {
			name := filepath.Join(t.TempDir(), "log")
			file, err := openLogFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var terminal bytes.Buffer
			output := &logFile{terminal: &terminal, quiet: c.quiet}
			if err := output.change(file, &config.Main{LogLevel: level, EchoMessages: c.echo}); err != nil {
				t.Fatal(err)
			}
			log := logging.New(output, &output.settings)
			for i, l := range levels {
				log.Log(t.Context(), l, "line "+strconv.Itoa(i))
			}
			if err := output.close(); err != nil {
				t.Error(err)
			}
			written, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Count(written, []byte("\n")); got != want {
				t.Errorf("%s: %d lines in the file, want %d", level, got, want)
			}
			shown := string(written)
			if !c.shown {
				shown = ""
			}
			if terminal.String() != shown {
				t.Errorf("%s, %+v: %q on the terminal", level, c, terminal.String())
			}
		}
	}
}

// What the programs return to the shell, and where they say what.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		main    func([]string, io.Reader, io.Writer, io.Writer) int
		args    []string
		status  int
		out, er string
	}{
		{Mixminion, []string{"version"}, 0, "Mixminion version " + Version + "\n", ""},
		{Mixminiond, []string{"version"}, 0, "Mixminiond version " + Version + "\n", ""},
		{Mixminion, []string{"version", "x"}, 1, "", "mixminion: "},
		{Mixminion, []string{"completion"}, 1, "", "mixminion: name one shell"},
		{Mixminiond, []string{"start", "x"}, 1, "", "mixminiond: start accepts no arguments"},
		{Mixminion, []string{"import-server"}, 1, "", "mixminion: import-server needs to be told what to work on; usage"},
		{Mixminion, []string{"demo", "--servers", "2"}, 1, "", "mixminion: --servers"},
	} {
		var out, errOut bytes.Buffer
		status := c.main(c.args, strings.NewReader(""), &out, &errOut)
		if status != c.status || out.String() != c.out || !strings.HasPrefix(errOut.String(), c.er) || (c.er == "") != (errOut.Len() == 0) {
			t.Errorf("%v: status %d, output %q, errors %q", c.args, status, out.String(), errOut.String())
		}
	}
}

func TestOpenUser(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("MIXMINIONRC", "")
	rc := filepath.Join(home, "rc")
	if err := os.WriteFile(rc, []byte("[User]\nUserDir: ~/mix\n[Security]\nPathLength: 4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	s := &streams{err: &errOut}
	u, err := openUser(s, rc)
	if err != nil {
		t.Fatal(err)
	}
	if servers, err := u.Servers(); err != nil || len(servers) != 0 {
		t.Errorf("%d servers: %v", len(servers), err)
	}
	if _, err := os.Stat(filepath.Join(home, "mix", "imported")); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(errOut.String(), "Warning: ") || !strings.Contains(errOut.String(), "PathLength") {
		t.Errorf("warned %q", errOut.String())
	}
	for name, in := range map[string]string{"-": "junk", filepath.Join(home, "empty"): "", filepath.Join(home, "missing"): ""} {
		if err := os.WriteFile(filepath.Join(home, "empty"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.in = strings.NewReader(in)
		if added, err := importFile(t.Context(), u, s, name); err == nil || added != nil {
			t.Errorf("import of %s: %v", name, err)
		}
	}
}

func TestAwaitEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := &demo{sink: &testnet.Sink{}}
	if _, err := d.await(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
