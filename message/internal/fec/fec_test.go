package fec_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/klauspost/reedsolomon"
	"pgregory.net/rapid"

	"mixminion/message/internal/fec"
)

type vector struct {
	K, N              int
	Blocks, Fragments []string
}

func vectors(t *testing.T) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/fec.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ FEC []vector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.FEC) == 0 {
		t.Fatal("no vectors")
	}
	return file.FEC
}

func unhex(t *testing.T, list []string) [][]byte {
	t.Helper()
	out := make([][]byte, len(list))
	for i, s := range list {
		var err error
		if out[i], err = hex.DecodeString(s); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		code, err := fec.New(v.K, v.N)
		if err != nil {
			t.Fatal(err)
		}
		blocks, packets := unhex(t, v.Blocks), unhex(t, v.Fragments)
		for i, want := range packets {
			got := make([]byte, len(want))
			if err := code.Encode(i, got, blocks); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d of %d: packet %d differs: %v", v.K, v.N, i, err)
			}
		}
		for range 100 {
			indices := rand.Perm(v.N)[:v.K]
			some := make([][]byte, v.K)
			for i, index := range indices {
				some[i] = packets[index]
			}
			got := make([]byte, v.K*len(blocks[0]))
			if err := code.Decode(got, indices, some); err != nil || !bytes.Equal(got, bytes.Join(blocks, nil)) {
				t.Errorf("%d of %d: packets %v do not give the blocks: %v", v.K, v.N, indices, err)
			}
		}
	}
}

// The parity rows of our code, given to an independent implementation, must produce the same packets.
func TestAgainstReedSolomon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 20).Draw(t, "k")
		n := k + rapid.IntRange(1, 12).Draw(t, "parity")
		size := rapid.IntRange(1, 100).Draw(t, "size")
		code, err := fec.New(k, n)
		if err != nil {
			t.Fatal(err)
		}
		parity := make([][]byte, n-k)
		for r := range parity {
			parity[r] = make([]byte, k)
			for c := range k {
				unit := make([][]byte, k)
				for i := range unit {
					unit[i] = []byte{0}
				}
				unit[c][0] = 1
				if err := code.Encode(k+r, parity[r][c:c+1], unit); err != nil {
					t.Fatal(err)
				}
			}
		}
		oracle, err := reedsolomon.New(k, n-k, reedsolomon.WithCustomMatrix(parity))
		if err != nil {
			t.Fatal(err)
		}
		shards := make([][]byte, n)
		for i := range shards {
			shards[i] = rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "block")
		}
		if err := oracle.Encode(shards); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			got := make([]byte, size)
			if err := code.Encode(i, got, shards[:k]); err != nil || !bytes.Equal(got, shards[i]) {
				t.Fatalf("packet %d differs", i)
			}
		}
		indices := rapid.Permutation(upTo(n)).Draw(t, "order")[:k]
		some := make([][]byte, k)
		for i, index := range indices {
			some[i] = shards[index]
		}
		got := make([]byte, k*size)
		if err := code.Decode(got, indices, some); err != nil || !bytes.Equal(got, bytes.Join(shards[:k], nil)) {
			t.Fatalf("packets %v do not give the blocks: %v", indices, err)
		}
	})
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestRefusals(t *testing.T) {
	for _, kn := range [][2]int{{0, 1}, {-1, 2}, {3, 2}, {16, 257}} {
		if _, err := fec.New(kn[0], kn[1]); !errors.Is(err, fec.ErrParameters) {
			t.Errorf("%v: %v", kn, err)
		}
	}
	if _, err := fec.New(100, 256); err != nil {
		t.Error(err)
	}
	code, err := fec.New(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	two := [][]byte{{1}, {2}}
	for name, err := range map[string]error{
		"index below":       code.Encode(-1, make([]byte, 1), two),
		"index above":       code.Encode(3, make([]byte, 1), two),
		"too few blocks":    code.Encode(2, make([]byte, 1), two[:1]),
		"other length":      code.Encode(2, make([]byte, 2), two),
		"too few packets":   code.Decode(make([]byte, 2), []int{1}, two[:1]),
		"same index":        code.Decode(make([]byte, 2), []int{1, 1}, two),
		"wrong index":       code.Decode(make([]byte, 2), []int{1, 3}, two),
		"negative index":    code.Decode(make([]byte, 2), []int{-1, 1}, two),
		"output length":     code.Decode(make([]byte, 3), []int{0, 1}, two),
		"lengths differ":    code.Decode(make([]byte, 2), []int{0, 1}, [][]byte{{1}, {2, 3}}),
		"indices != blocks": code.Decode(make([]byte, 2), []int{0, 1, 2}, two),
	} {
		if !errors.Is(err, fec.ErrPackets) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func benchmarkBlocks() [][]byte {
	blocks := make([][]byte, 16)
	for i := range blocks {
		blocks[i] = make([]byte, 28625)
		for j := range blocks[i] {
			blocks[i][j] = byte(i*j + j>>3)
		}
	}
	return blocks
}

func BenchmarkEncode16of22(b *testing.B) {
	blocks := benchmarkBlocks()
	out := make([]byte, len(blocks[0]))
	b.SetBytes(16 * 28625)
	for b.Loop() {
		code, err := fec.New(16, 22)
		if err != nil {
			b.Fatal(err)
		}
		for i := range 22 {
			if err := code.Encode(i, out, blocks); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// The worst case: all six parity packets are needed.
func BenchmarkDecode16of22(b *testing.B) {
	blocks := benchmarkBlocks()
	out := make([]byte, 16*len(blocks[0]))
	b.SetBytes(int64(len(out)))
	code, err := fec.New(16, 22)
	if err != nil {
		b.Fatal(err)
	}
	indices := upTo(22)[6:]
	for b.Loop() {
		if err := code.Decode(out, indices, blocks); err != nil {
			b.Fatal(err)
		}
	}
}
