package message_test

import (
	"bytes"
	"compress/flate"
	stdzlib "compress/zlib"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"math"
	"testing"

	"pgregory.net/rapid"

	"mixminion/message"
)

func TestDecompressRefusals(t *testing.T) {
	good := message.Compress([]byte("hello hello hello"))
	cut := func(n int) []byte { return bytes.Clone(good[:len(good)-n]) }
	withHeader := func(a, b byte) []byte { return append([]byte{a, b}, good[2:]...) }
	for name, tc := range map[string]struct {
		data  []byte
		limit int
		want  error
	}{
		"empty":            {nil, 100, message.ErrCorrupt},
		"one byte":         {good[:1], 100, message.ErrCorrupt},
		"header only":      {good[:2], 100, message.ErrCorrupt},
		"other level":      {withHeader(0x78, 0x9c), 100, message.ErrCorrupt},
		"other window":     {withHeader(0x58, 0x85), 100, message.ErrCorrupt},
		"dictionary":       {withHeader(0x78, 0xf9), 100, message.ErrCorrupt},
		"no checksum":      {cut(4), 100, message.ErrCorrupt},
		"half checksum":    {cut(2), 100, message.ErrCorrupt},
		"bad checksum":     {append(cut(1), good[len(good)-1]^1), 100, message.ErrCorrupt},
		"cut off":          {cut(7), 100, message.ErrCorrupt},
		"followed by junk": {append(cut(0), 0), 100, message.ErrCorrupt},
		"two streams":      {append(cut(0), good...), 100, message.ErrCorrupt},
		"bad block type":   {[]byte{0x78, 0xda, 0x07, 0}, 100, message.ErrCorrupt},
		"over the limit":   {good, 16, message.ErrOvercompressed},
		"zero limit":       {good, 0, message.ErrOvercompressed},
		"negative limit":   {good, -1, message.ErrOvercompressed},
	} {
		if out, err := message.Decompress(tc.data, tc.limit); !errors.Is(err, tc.want) || out != nil {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	for _, limit := range []int{17, 18, math.MaxInt} {
		if out, err := message.Decompress(good, limit); err != nil || string(out) != "hello hello hello" {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// A bomb is noticed while it is decompressed: 8 MB are never held.
func TestBombIsStoppedEarly(t *testing.T) {
	bomb := message.Compress(make([]byte, 8<<20))
	n := testing.AllocsPerRun(1, func() {
		if _, err := message.Decompress(bomb, message.SingletonLimit(1000)); !errors.Is(err, message.ErrOvercompressed) {
			t.Error(err)
		}
	})
	if n > 100 {
		t.Errorf("%v allocations", n)
	}
}

func TestLimits(t *testing.T) {
	for _, tc := range []struct{ compressed, single, many int }{
		{0, 20480, 0}, {100, 20480, 2000}, {1024, 20480, 20480}, {1025, 20500, 20500}, {28650, 573000, 573000},
	} {
		if message.SingletonLimit(tc.compressed) != tc.single || message.ReassembledLimit(tc.compressed) != tc.many {
			t.Errorf("%d compressed bytes: %d, %d", tc.compressed, message.SingletonLimit(tc.compressed), message.ReassembledLimit(tc.compressed))
		}
	}
}

func TestCompressRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "unit"), rapid.IntRange(0, 50).Draw(t, "times"))
		c := message.Compress(msg)
		if got, err := message.Decompress(c, len(msg)); err != nil || !bytes.Equal(got, msg) {
			t.Fatal(err)
		}
	})
}

// Streams of other encoders with the right header are taken, as the first implementation does.
func TestOtherEncodersAreRead(t *testing.T) {
	msg := bytes.Repeat([]byte("some text "), 100)
	var out bytes.Buffer
	out.Write([]byte{0x78, 0xda})
	w, err := flate.NewWriter(&out, flate.HuffmanOnly)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(msg); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := binary.BigEndian.AppendUint32(out.Bytes(), adler32.Checksum(msg))
	if got, err := message.Decompress(data, len(msg)); err != nil || !bytes.Equal(got, msg) {
		t.Error(err)
	}
}

func FuzzDecompress(f *testing.F) {
	for _, s := range []string{"", "a", "hello hello hello hello", string(make([]byte, 3000))} {
		f.Add(message.Compress([]byte(s)), 100)
	}
	f.Add([]byte{0x78, 0xda, 0x07}, 10)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		limit &= 1<<20 - 1
		out, err := message.Decompress(data, limit)
		if err != nil {
			if !errors.Is(err, message.ErrCorrupt) && !errors.Is(err, message.ErrOvercompressed) {
				t.Fatal(err)
			}
			return
		}
		if len(out) > limit {
			t.Fatal("over the limit")
		}
		var again bytes.Buffer
		w, err := stdzlib.NewWriterLevel(&again, 9)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(out); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if back, err := message.Decompress(again.Bytes(), limit); err != nil || !bytes.Equal(back, out) {
			t.Fatal("does not come back", err)
		}
	})
}
