package zlib

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// corpusCase is a line of testdata/corpus.txt: how to make an input, and what
// the C library compresses it to.
type corpusCase struct {
	generator  string
	seed, size int
	inputSum   string
	length     int
	outputSum  string
	output     []byte // nil if it is long
}

func parseCorpusCase(line string) (c corpusCase, err error) {
	f := strings.Fields(line)
	if len(f) != 6 && len(f) != 7 {
		return c, fmt.Errorf("%d fields", len(f))
	}
	c.generator, c.inputSum, c.outputSum = f[0], f[3], f[5]
	for i, n := range map[int]*int{1: &c.seed, 2: &c.size, 4: &c.length} {
		if *n, err = strconv.Atoi(f[i]); err != nil {
			return c, err
		}
	}
	if len(f) == 7 {
		c.output, err = hex.DecodeString(f[6])
	}
	return c, err
}

func (c corpusCase) String() string {
	return fmt.Sprintf("%s seed %d size %d", c.generator, c.seed, c.size)
}

func readCorpus(t *testing.T) []corpusCase {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "corpus.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	var cases []corpusCase
	for in := bufio.NewScanner(f); ; {
		if !in.Scan() {
			if in.Err() != nil {
				t.Fatal(in.Err())
			}
			return cases
		}
		if strings.HasPrefix(in.Text(), "#") {
			continue
		}
		c, err := parseCorpusCase(in.Text())
		if err != nil {
			t.Fatalf("corpus line %q: %v", in.Text(), err)
		}
		cases = append(cases, c)
	}
}

// TestCorpus compares with the C library. With -short or -race it leaves out the large
// inputs.
func TestCorpus(t *testing.T) {
	cases := readCorpus(t)
	if len(cases) < 500 {
		t.Fatalf("only %d cases", len(cases))
	}
	const groups = 16
	for g := range groups {
		t.Run(strconv.Itoa(g), func(t *testing.T) {
			t.Parallel()
			for i := g; i < len(cases); i += groups {
				if c := cases[i]; c.size <= 30000 || !testing.Short() && !underRace {
					checkCase(t, c)
				}
			}
		})
	}
}

func checkCase(t *testing.T, c corpusCase) {
	in, err := generate(c.generator, c.seed, c.size)
	if err != nil {
		t.Errorf("%v: %v", c, err)
		return
	}
	if len(in) != c.size || hexSum(in) != c.inputSum {
		t.Errorf("%v: the generator here and that of make_corpus.py differ", c)
		return
	}
	out := Compress(in)
	switch {
	case c.output != nil && !bytes.Equal(out, c.output):
		t.Errorf("%v: got %x, want %x", c, out, c.output)
	case len(out) != c.length || hexSum(out) != c.outputSum:
		t.Errorf("%v: got %d bytes that are not the %d of the C library", c, len(out), c.length)
	}
}

func hexSum(b []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(b))
}
