package client

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixminion/packet"
)

var someDay = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func someQueueFile(t testing.TB) (PreparedPacket, []byte) {
	t.Helper()
	p := PreparedPacket{First: packet.Hop{Host: "alder.example.net", Port: 48099}, Packet: new(packet.Packet)}
	_, _ = rand.Read(p.Packet[:]) // never fails
	copy(p.First.KeyID[:], p.Packet[:])
	data, err := formatQueueFile(p, someDay.Add(13*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return p, data
}

// reseal makes the checksum right again.
func reseal(data []byte) []byte {
	end := len(data) - crc32.Size
	return binary.BigEndian.AppendUint32(data[:end:end], crc32.Checksum(data[:end], castagnoli))
}

func TestQueueFile(t *testing.T) {
	p, data := someQueueFile(t)
	for _, p.Legacy = range []bool{false, true} {
		data, err := formatQueueFile(p, someDay)
		if err != nil {
			t.Fatal(err)
		}
		got, when, err := parseQueueFile(data)
		if err != nil || got.First != p.First || got.Legacy != p.Legacy || *got.Packet != *p.Packet || !when.Equal(someDay) {
			t.Errorf("hop %v, legacy %v, day %v: %v", got.First, got.Legacy, when, err)
		}
	}
	// Older programs read all packets but those that may go over legacy links.
	if data[len(queueMagic)] != 1 {
		t.Errorf("version %d", data[len(queueMagic)])
	}
	for _, n := range []int{233, 234, 255} {
		p.First.Host = strings.Repeat("x", n)
		data, err := formatQueueFile(p, someDay)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := parseQueueFile(data); err != nil || got.First != p.First || *got.Packet != *p.Packet {
			t.Errorf("%d characters: %v", n, err)
		}
	}
	p.First.Host = strings.Repeat("x", 256)
	if _, err := formatQueueFile(p, someDay); err == nil {
		t.Error("a host of 256 characters was accepted")
	}
}

func TestQueueFileMalformed(t *testing.T) {
	change := func(at int, b byte) func([]byte) []byte {
		return func(d []byte) []byte {
			d[at] = b
			return d
		}
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"empty":           {func([]byte) []byte { return nil }, ErrDamaged},
		"head cut":        {func(d []byte) []byte { return d[:queueHeadLen-1] }, ErrDamaged},
		"only head":       {func(d []byte) []byte { return d[:queueHeadLen] }, ErrDamaged},
		"cut":             {func(d []byte) []byte { return d[:len(d)-1] }, ErrDamaged},
		"long":            {func(d []byte) []byte { return append(d, 0) }, ErrDamaged},
		"no magic":        {change(0, 'm'), ErrDamaged},
		"version 0":       {func(d []byte) []byte { return reseal(change(len(queueMagic), 0)(d)) }, ErrDamaged},
		"newer version":   {change(len(queueMagic), queueLegacy+1), ErrOtherVersion},
		"day changed":     {func(d []byte) []byte { d[len(queueMagic)+2] ^= 1; return d }, ErrDamaged},
		"packet changed":  {func(d []byte) []byte { d[len(d)/2] ^= 1; return d }, ErrDamaged},
		"sum changed":     {func(d []byte) []byte { d[len(d)-1] ^= 1; return d }, ErrDamaged},
		"hop length":      {func(d []byte) []byte { d[queueHeadLen-1]++; return reseal(d) }, ErrDamaged},
		"port 0":          {func(d []byte) []byte { d[queueHeadLen], d[queueHeadLen+1] = 0, 0; return reseal(d) }, ErrDamaged},
		"bad host name":   {func(d []byte) []byte { d[queueHeadLen+22] = '/'; return reseal(d) }, ErrDamaged},
		"no host":         {func(d []byte) []byte { return reseal(withoutHost(d)) }, ErrDamaged},
		"zeros":           {func(d []byte) []byte { return make([]byte, len(d)) }, ErrDamaged},
		"an old pickle":   {func([]byte) []byte { return []byte("\x80\x02(U\bPACKET-0q\x01") }, ErrDamaged},
		"magic and zeros": {func(d []byte) []byte { return append([]byte(queueMagic), make([]byte, len(d))...) }, ErrDamaged},
	} {
		_, data := someQueueFile(t)
		if p, _, err := parseQueueFile(c.change(data)); !errors.Is(err, c.want) || p.Packet != nil || p.Legacy {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func withoutHost(d []byte) []byte {
	hopLen := int(d[queueHeadLen-1])
	d[queueHeadLen-1] = 22
	return append(d[:queueHeadLen+22:queueHeadLen+22], d[queueHeadLen+hopLen:]...)
}

func FuzzQueueFile(f *testing.F) {
	_, data := someQueueFile(f)
	f.Add(data)
	f.Add(data[:queueHeadLen])
	legacy := bytes.Clone(data)
	legacy[len(queueMagic)] = queueLegacy
	f.Add(reseal(legacy))
	f.Add(reseal(withoutHost(bytes.Clone(data))))
	f.Add([]byte(queueMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Almost every change breaks the checksum; with a right one the parser sees the rest.
		if len(data) >= queueHeadLen+crc32.Size {
			data = reseal(data)
		}
		p, when, err := parseQueueFile(data)
		if err != nil {
			if p.Packet != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrOtherVersion) {
				t.Fatal(err)
			}
			return
		}
		again, err := formatQueueFile(p, when)
		if err != nil {
			t.Fatal(err)
		}
		p2, when2, err := parseQueueFile(again)
		if err != nil || p2.First != p.First || p2.Legacy != p.Legacy || !when2.Equal(when) || *p2.Packet != *p.Packet {
			t.Fatalf("%v became %v: %v", p.First, p2.First, err)
		}
	})
}

// What a user can do about an error is said in it, in one line.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, ErrFull},
		{fmt.Errorf("write x: %w", &fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS}), ErrReadOnly},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, ErrReadOnly},
	} {
		got := explain(c.err)
		if !errors.Is(got, c.want) || !errors.Is(got, c.err) || strings.Contains(got.Error(), "\n") {
			t.Errorf("%v became %v", c.err, got)
		}
	}
	other := errors.New("other")
	if got := explain(other); !errors.Is(got, other) || got.Error() != other.Error() || explain(nil) != nil {
		t.Error("an error that says nothing of disks was changed")
	}
}

// A file that grew too long is not read to its end.
func TestReadQueueFileBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 1<<40); err != nil { // a sparse file
		t.Fatal(err)
	}
	if _, _, err := readQueueFile(name); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
