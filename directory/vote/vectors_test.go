package vote

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mixminion/directory"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vectorVotes(t testing.TB) []*directory.Directory {
	t.Helper()
	var votes []*directory.Directory
	for i := range 3 {
		d, err := directory.ParseDirectory(readFile(t, fmt.Sprintf("vote-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		votes = append(votes, d)
	}
	return votes
}

func TestVectorConsensus(t *testing.T) {
	votes := vectorVotes(t)
	r, err := Tabulate(votes[0].ValidAfter, votes[0].Voters, votes)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		want, err := directory.ParseDirectory(readFile(t, fmt.Sprintf("consensus-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want.Body(), r.Body) {
			t.Errorf("consensus of authority %d differs", i)
		}
	}
}
