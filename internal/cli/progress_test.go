package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out}
	p.Wrapped(1, minShown-1) // too little to wait for
	p.clear()
	if out.Len() > 0 {
		t.Errorf("shown %q", out.String())
	}
	const total = 1000
	for i := range total {
		p.Wrapped(i+1, total)
	}
	text := out.String()
	if !strings.HasPrefix(text, "\rWrapping packets: 1 of 1000 ") || !strings.HasSuffix(text, "\rWrapping packets: 1000 of 1000 ") {
		t.Errorf("shown %q", text)
	}
	out.Reset()
	p.clear()
	p.clear()
	if out.String() != "\r\x1b[K" {
		t.Errorf("cleared with %q", out.String())
	}
	out.Reset()
	p.Sent(total, total)
	if out.String() != "\rSending packets: 1000 of 1000 " {
		t.Errorf("shown %q", out.String())
	}
}

// A line is not written again at once, unless it is the last one.
func TestProgressIsCalm(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, last: time.Now().Add(time.Hour)}
	p.Sent(1, 10)
	p.Sent(9, 10)
	if out.Len() > 0 {
		t.Errorf("shown %q", out.String())
	}
	p.Sent(10, 10)
	if out.Len() == 0 {
		t.Error("the end is not shown")
	}
}

func TestProgressFromManyGoroutines(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p.Wrapped(i+1, 8)
			p.Sent(i+1, 8)
			p.clear()
		})
	}
	wg.Wait()
	if !strings.HasSuffix(out.String(), "\x1b[K") {
		t.Errorf("left %q", out.String())
	}
}

func TestProgressOnlyOnTerminals(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "errors"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, s := range []*streams{{err: new(bytes.Buffer)}, {err: file}, {err: file, quiet: true}} {
		p := newProgress(s)
		p.Wrapped(10, 10)
		p.clear()
		if p.w != nil {
			t.Errorf("progress is shown on %T", s.err)
		}
	}
	if isTerminal(nil) || isTerminal(file) || isTerminal((*os.File)(nil)) {
		t.Error("taken for a terminal")
	}
}
