package metrics_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/mix"
	"mixminion/mix/metrics"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var midnight = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// hour is an hour as a mix tells it.
func hour() *mix.Hour {
	return &mix.Hour{
		End:    midnight.Add(time.Hour),
		Counts: []mix.Count{{Event: "ReceivedPacket", N: 300}, {Event: "FailedRelay", N: 100}},
		Status: mix.Status{
			Nickname: "north", Pool: 4200, Waiting: 4300, Connections: 440, Disk: 20 << 20, Draining: true, Directory: midnight,
			Keys: []mix.KeyStatus{{Until: midnight.Add(48 * time.Hour)}, {Until: midnight.Add(24 * time.Hour)}},
		},
	}
}

func serve(t *testing.T, addr, version string, last func() *mix.Hour) *metrics.Server {
	t.Helper()
	s, err := metrics.Listen(t.Context(), netip.MustParseAddrPort(addr), version, last)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask returns the answer to a request, which change may have changed.
func ask(t *testing.T, s *metrics.Server, method, path string, change func(*http.Request)) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(r)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func asIs(*http.Request) {}

// scrape reads an answer as Prometheus does.
func scrape(t *testing.T, s *metrics.Server) map[string]*dto.MetricFamily {
	t.Helper()
	status, body := ask(t, s, http.MethodGet, metrics.Path, asIs)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewBufferString(body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	return families
}

func TestScrape(t *testing.T) {
	var last *mix.Hour
	const version = "1 \"a\\b\"\nx"
	s := serve(t, "127.0.0.1:0", version, func() *mix.Hour { return last })
	families := scrape(t, s)
	if got := slices.Sorted(maps.Keys(families)); !slices.Equal(got, []string{"mixminion_info"}) {
		t.Fatalf("before the first hour: %v", got)
	}
	if l := families["mixminion_info"].Metric[0].Label[0]; l.GetName() != "version" || l.GetValue() != version {
		t.Errorf("%v", l)
	}
	last = hour()
	values := map[string]float64{}
	for name, f := range scrape(t, s) {
		if f.GetType() != dto.MetricType_GAUGE || f.GetHelp() == "" {
			t.Errorf("%s: %v", name, f)
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if name == "mixminion_hour_events" && l.GetName() == "event" {
					name += " " + l.GetValue()
				}
			}
			values[name] = m.GetGauge().GetValue()
			name, _, _ = strings.Cut(name, " ")
		}
	}
	want := map[string]float64{
		"mixminion_info": 1, "mixminion_hour_end_timestamp_seconds": float64(midnight.Add(time.Hour).Unix()),
		"mixminion_hour_events ReceivedPacket": 300, "mixminion_hour_events FailedRelay": 100,
		"mixminion_disk_bytes": 20 << 20, "mixminion_draining": 1,
		"mixminion_packet_key_end_timestamp_seconds":  float64(midnight.Add(48 * time.Hour).Unix()),
		"mixminion_directory_start_timestamp_seconds": float64(midnight.Unix()),
	}
	if !maps.Equal(values, want) {
		t.Errorf("got  %v\nwant %v", values, want)
	}
}

// A web page must not read the metrics through the browser of somebody on the machine, and nobody can change anything.
func TestRefusals(t *testing.T) {
	s := serve(t, "[::1]:0", "1", hour)
	for name, c := range map[string]struct {
		method, path string
		change       func(*http.Request)
		status       int
	}{
		"as it should be":    {"GET", "/metrics", asIs, 200},
		"localhost":          {"GET", "/metrics", func(r *http.Request) { r.Host = "localhost:9" }, 200},
		"without port":       {"GET", "/metrics", func(r *http.Request) { r.Host = "[::1]" }, 200},
		"typed in a browser": {"GET", "/metrics", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") }, 200},
		"a name":             {"GET", "/metrics", func(r *http.Request) { r.Host = "evil.example" }, 421},
		"a name and port":    {"GET", "/metrics", func(r *http.Request) { r.Host = "evil.example:9748" }, 421},
		"a public address":   {"GET", "/metrics", func(r *http.Request) { r.Host = "192.0.2.1" }, 421},
		"from a page":        {"GET", "/metrics", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403},
		"as an image":        {"GET", "/metrics", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"POST":               {"POST", "/metrics", asIs, 405},
		"HEAD":               {"HEAD", "/metrics", asIs, 405},
		"elsewhere":          {"GET", "/", asIs, 404},
		"profile":            {"GET", "/debug/pprof/", asIs, 404},
	} {
		status, body := ask(t, s, c.method, c.path, c.change)
		if status != c.status || status != 200 && strings.Contains(body, "mixminion_") {
			t.Errorf("%s: status %d, %q", name, status, body)
		}
	}
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		if _, err := metrics.Listen(t.Context(), netip.MustParseAddrPort(addr), "1", hour); !errors.Is(err, metrics.ErrNotLoopback) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// Whoever opens connections and says nothing takes up so many, and no more.
func TestSilentConnections(t *testing.T) {
	s := serve(t, "127.0.0.1:0", "1", hour)
	closed := 0
	var open []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	// Those beyond the limit are closed at once; that of the last one tells that all were looked at.
	for _, conn := range open[16:] {
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			closed++
		}
	}
	if closed != 4 {
		t.Errorf("%d were closed", closed)
	}
	for _, conn := range open {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	for range 1000 { // the places come back
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + s.Addr().String() + metrics.Path)
		if err == nil {
			_ = resp.Body.Close()
			return
		}
	}
	t.Fatal("no place comes back")
}
