package zlib

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// fataler is what rapid's and testing's T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkInflates fails unless compressed decodes to want with the standard
// library's decoder, without anything after the stream.
func checkInflates(t fataler, compressed, want []byte) {
	t.Helper()
	in := bytes.NewReader(compressed)
	r, err := zlib.NewReader(in)
	if err != nil {
		t.Fatalf("header: %v", err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("inflate: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes come back as %d others", len(want), len(got))
	}
	if in.Len() != 0 {
		t.Fatalf("%d bytes after the end of the stream", in.Len())
	}
}

// TestReference compares with outputs of the reference implementation.
func TestReference(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Compress []struct{ Message, Compressed []byte }
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Compress) == 0 {
		t.Fatal("no vectors")
	}
	for i, v := range vectors.Compress {
		got := Compress(v.Message)
		if !bytes.Equal(got, v.Compressed) {
			t.Errorf("vector %d: %d bytes compress to %d bytes other than the expected %d", i, len(v.Message), len(got), len(v.Compressed))
		}
		checkInflates(t, got, v.Message)
	}
}

// TestRoundTrip composes inputs of the things that matter to the encoder:
// literals from alphabets of all sizes and repetitions at all distances.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []byte
		for range rapid.IntRange(0, 12).Draw(t, "pieces") {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				in = append(in, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "literals")...)
			case 1:
				b := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "period")
				in = append(in, bytes.Repeat(b, rapid.IntRange(1, 3000).Draw(t, "times"))...)
			case 2:
				from := rapid.IntRange(0, len(in)).Draw(t, "from")
				to := rapid.IntRange(from, len(in)).Draw(t, "to")
				in = append(in, in[from:to]...)
			}
		}
		original := bytes.Clone(in)
		out := Compress(in)
		if !bytes.Equal(in, original) {
			t.Fatalf("the input was changed")
		}
		checkInflates(t, out, in)
	})
}

func FuzzCompress(f *testing.F) {
	f.Add([]byte(nil), uint16(0))
	f.Add([]byte("a"), uint16(300))
	f.Add([]byte("hello world\n"), uint16(3))
	f.Add(bytes.Repeat([]byte("\xff\x00"), 1000), uint16(40))
	f.Fuzz(func(t *testing.T, b []byte, times uint16) {
		in := bytes.Repeat(b, 1+int(times)%64)
		checkInflates(t, Compress(in), in)
	})
}
