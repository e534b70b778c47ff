package client

import "testing"

func FuzzSURBLog(f *testing.F) {
	const id = "6c6630f4cce630097a4a62e55efa83dad7510372"
	f.Add(surbLogHead + "\n" + id + " 1795910400\n")
	f.Add(surbLogHead + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		used, err := parseSURBLog(text)
		if err != nil {
			return
		}
		again, err := parseSURBLog(string(formatSURBLog(used)))
		if err != nil || len(again) != len(used) {
			t.Fatalf("%d entries became %d: %v", len(used), len(again), err)
		}
		for id, expires := range used {
			if !again[id].Equal(expires) {
				t.Fatal("an entry changed")
			}
		}
	})
}

func FuzzDumbdbm(f *testing.F) {
	const id = "6c6630f4cce630097a4a62e55efa83dad7510372"
	f.Add("'LAST_CLEANED', (0, 10)\n'"+id+"', (12, 10)\n", "1795374985\x00\x001795910400")
	f.Add("'"+id+"', (999999999, 999)\n", "1")
	f.Fuzz(func(t *testing.T, index, data string) {
		used, err := parseDumbdbm(index, data)
		if err != nil {
			return
		}
		for _, expires := range used {
			if s := expires.Unix(); s < 0 || s > 1<<32-1 {
				t.Fatalf("expires %v", expires)
			}
		}
	})
}
