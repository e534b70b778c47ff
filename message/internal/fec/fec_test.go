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

func encode(code *fec.Code, n int, blocks [][]byte) ([][]byte, error) {
	packets := make([][]byte, n)
	for i := range packets {
		packets[i] = make([]byte, len(blocks[0]))
	}
	return packets, code.Encode(packets, blocks)
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		code, err := fec.New(v.K, v.N)
		if err != nil {
			t.Fatal(err)
		}
		blocks, packets := unhex(t, v.Blocks), unhex(t, v.Fragments)
		got, err := encode(code, v.N, blocks)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range packets {
			if !bytes.Equal(got[i], want) {
				t.Errorf("%d of %d: packet %d differs", v.K, v.N, i)
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
		n := k + rapid.IntRange(1, 20).Draw(t, "parity")
		size := rapid.SampledFrom([]int{1, 2, 100, 1023, 1024, 1025, 3000}).Draw(t, "size")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		code, err := fec.New(k, n)
		if err != nil {
			t.Fatal(err)
		}
		// Blocks that are the unit vectors give the rows of the matrix.
		units := make([][]byte, k)
		for i := range units {
			units[i] = make([]byte, k)
			units[i][i] = 1
		}
		rows, err := encode(code, n, units)
		if err != nil {
			t.Fatal(err)
		}
		oracle, err := reedsolomon.New(k, n-k, reedsolomon.WithCustomMatrix(rows[k:]))
		if err != nil {
			t.Fatal(err)
		}
		shards := make([][]byte, n)
		for i := range shards {
			shards[i] = make([]byte, size)
			for j := range shards[i] {
				shards[i][j] = byte(rnd.Uint32())
			}
		}
		if err := oracle.Encode(shards); err != nil {
			t.Fatal(err)
		}
		packets, err := encode(code, n, shards[:k])
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if !bytes.Equal(packets[i], shards[i]) {
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
		"too few outputs":   code.Encode(two, two),
		"too few blocks":    code.Encode([][]byte{{0}, {0}, {0}}, two[:1]),
		"block length":      code.Encode([][]byte{{0}, {0}, {0}}, [][]byte{{1}, {2, 3}}),
		"output length":     code.Encode([][]byte{{0}, {0}, {0, 0}}, two),
		"too few packets":   code.Decode(make([]byte, 2), []int{1}, two[:1]),
		"same index":        code.Decode(make([]byte, 2), []int{1, 1}, two),
		"wrong index":       code.Decode(make([]byte, 2), []int{1, 3}, two),
		"negative index":    code.Decode(make([]byte, 2), []int{-1, 1}, two),
		"decoded length":    code.Decode(make([]byte, 3), []int{0, 1}, two),
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
	packets := make([][]byte, 22)
	for i := range packets {
		packets[i] = make([]byte, len(blocks[0]))
	}
	b.SetBytes(16 * 28625)
	for b.Loop() {
		code, err := fec.New(16, 22)
		if err != nil {
			b.Fatal(err)
		}
		if err := code.Encode(packets, blocks); err != nil {
			b.Fatal(err)
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
