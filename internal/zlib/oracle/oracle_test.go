package oracle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"mixminion/internal/zlib"
	"modernc.org/libc"
	clib "modernc.org/z/lib"
)

// compressC compresses with the C library at level 9. Its other parameters are
// those that the library takes by default.
func compressC(src []byte) ([]byte, error) {
	tls := libc.NewTLS()
	defer tls.Close()

	// The library sees addresses only, so nothing may move or be freed.
	var pins runtime.Pinner
	defer pins.Unpin()
	address := func(b []byte) uintptr {
		p := unsafe.SliceData(b)
		pins.Pin(p)
		return uintptr(unsafe.Pointer(p))
	}
	in := append(bytes.Clone(src), 0) // has an address even if empty
	size := new(clib.ULong)
	*size = clib.XcompressBound(tls, clib.ULong(len(src)))
	out := make([]byte, *size)
	pins.Pin(size)
	status := clib.Xcompress2(tls, address(out), uintptr(unsafe.Pointer(size)), address(in), clib.ULong(len(src)), 9)
	if status != clib.Z_OK {
		return nil, fmt.Errorf("compress2 returns %d", status)
	}
	return out[:*size], nil
}

func compare(t *testing.T, in []byte) {
	t.Helper()
	want, err := compressC(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := zlib.Compress(in); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes: got %d bytes that are not the %d of the C library", len(in), len(got), len(want))
	}
}

// Inputs are at most minLimit<<8 bytes, so that the window moves three times.
// With coverage counters an input of twice that size can take longer than the
// fuzzer waits.
const minLimit = 550

// expand reads program as instructions for an input, so that a few bytes can
// describe one that is large and has matches at chosen distances. The first byte
// limits its size.
func expand(program []byte) []byte {
	var out []byte
	next := func(n int) int {
		var b [4]byte
		k := copy(b[:n], program)
		program = program[k:]
		return int(binary.LittleEndian.Uint32(b[:]))
	}
	copyBack := func(distance, length int) {
		if len(out) == 0 {
			out = append(out, 'a')
		}
		for from := len(out) - 1 - distance%len(out); length > 0; length-- {
			out = append(out, out[from])
			from++
		}
	}
	limit := minLimit << (next(1) % 9)
	for len(program) > 0 && len(out) < limit {
		switch op := next(1); op % 5 {
		case 0: // bytes as they are
			n := min(next(1), len(program))
			out = append(out, program[:n]...)
			program = program[n:]
		case 1: // random bytes
			n, symbols := next(2), next(1)+1
			r := rand.New(rand.NewPCG(uint64(op), uint64(len(out))))
			for range n {
				out = append(out, byte(op+r.IntN(symbols)))
			}
		case 2: // a copy
			distance := next(2)
			copyBack(distance, 1+next(1))
		case 3: // many copies with bytes between them
			n, far, long := 10*next(1), 1+next(2), 1+next(1)
			r := rand.New(rand.NewPCG(uint64(op), uint64(len(out))))
			for range n {
				copyBack(r.IntN(far), 2+r.IntN(long))
				if r.IntN(256) < op {
					out = append(out, byte(r.Uint32()))
				}
			}
		case 4: // copies over one distance, at regular places
			n, distance, long, gap := next(1), next(2), 1+next(1)%40, 1+next(1)
			r := rand.New(rand.NewPCG(uint64(op), uint64(len(out))))
			for range n {
				copyBack(distance, long)
				for range gap {
					out = append(out, byte(r.Uint32()&0x7f))
				}
			}
		}
	}
	return out[:min(len(out), limit)]
}

func FuzzAgainstC(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("\x08\x00\x10hello hello hello"))
	f.Add([]byte("\x08\x01\xff\xff\x00\x02\x00\x10\xff"))
	f.Add([]byte("\x08\x01\x00\x80\x7f\x03\xff\xff\x7f\x10\x01\xff\x3f\xff"))
	f.Add([]byte("\x08\x01\xf9\x7e\xc7\x04\xff\xf9\x7e\x06\x20\x04\xff\xfa\x7e\x03\x07"))
	f.Fuzz(func(t *testing.T, program []byte) {
		compare(t, expand(program))
	})
}

func TestRandom(t *testing.T) {
	count := 400
	if testing.Short() {
		count = 40
	}
	for seed := range count {
		r := rand.NewChaCha8([32]byte{0: byte(seed), 1: byte(seed >> 8)})
		program := make([]byte, 4+r.Uint64()%60)
		if _, err := r.Read(program); err != nil {
			t.Fatal(err)
		}
		in := expand(program)
		t.Run(fmt.Sprintf("seed%d-%d", seed, len(in)), func(t *testing.T) { compare(t, in) })
	}
}

// TestSource compares on the Go source of the package itself.
func TestSource(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no source found: %v", err)
	}
	var all []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, b)
		all = append(all, b...)
	}
	compare(t, all)
}
