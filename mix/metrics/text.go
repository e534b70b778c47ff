package metrics

import (
	"fmt"
	"strings"
	"time"

	"mixminion/mix"
)

// text is what is shown of an hour; of nil, that the program runs.
func text(version string, h *mix.Hour) []byte {
	var b strings.Builder
	gauge := func(name, help string) {
		fmt.Fprintf(&b, "# HELP mixminion_%s %s\n# TYPE mixminion_%s gauge\n", name, help, name)
	}
	single := func(name, help string, v int64) {
		gauge(name, help)
		fmt.Fprintf(&b, "mixminion_%s %d\n", name, v)
	}
	gauge("info", "The program that runs; always 1.")
	fmt.Fprintf(&b, "mixminion_info{version=\"%s\"} 1\n", escape.Replace(version))
	if h == nil {
		return []byte(b.String())
	}
	single("hour_end_timestamp_seconds", "The end of the full hour that all others are of, in seconds since 1970.", seconds(h.End))
	gauge("hour_events", "How often something happened in that hour, rounded up to hundreds.")
	for _, c := range h.Counts {
		fmt.Fprintf(&b, "mixminion_hour_events{event=\"%s\"} %d\n", escape.Replace(c.Event), c.N)
	}
	single("disk_bytes", "What packets and replay logs took on the disk at the end of the hour, rounded up to 10 MiB.", h.Status.Disk)
	draining := int64(0)
	if h.Status.Draining {
		draining = 1
	}
	single("draining", "Whether the mix was being drained at the end of the hour, 0 or 1.", draining)
	var until time.Time
	for _, k := range h.Status.Keys {
		if k.Until.After(until) {
			until = k.Until
		}
	}
	single("packet_key_end_timestamp_seconds", "Until when the last packet key is announced, in seconds since 1970.", seconds(until))
	single("directory_start_timestamp_seconds", "From when the directory that the mix holds is valid, in seconds since 1970; 0 means none.",
		seconds(h.Status.Directory))
	return []byte(b.String())
}

// escape makes a text fit to stand between quotes.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// seconds since 1970; 0 for the zero time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
