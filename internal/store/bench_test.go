package store

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// randomHash stands for a SHA-1 output at a fraction of its cost.
func randomHash(r *rand.Rand) (h [20]byte) {
	binary.LittleEndian.PutUint64(h[:], r.Uint64())
	binary.LittleEndian.PutUint64(h[8:], r.Uint64())
	binary.LittleEndian.PutUint32(h[16:], r.Uint32())
	return h
}

func benchStore(b *testing.B, opts Options) (*Store, *ReplayLog, string) {
	b.Helper()
	dir := b.TempDir()
	s, err := Open(filepath.Join(dir, "store"), opts)
	if err != nil {
		b.Fatal(err)
	}
	l, err := s.CreateLog(filepath.Join(dir, "replay"), "0001")
	if err != nil {
		b.Fatal(err)
	}
	return s, l, dir
}

func benchClose(b *testing.B, s *Store) {
	b.Helper()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func heapMB() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// benchReplay logs n hashes in ticks of 500, then measures more of them.
func benchReplay(b *testing.B, n int) {
	s, l, _ := benchStore(b, Options{})
	r := rand.New(rand.NewPCG(1, 2))
	const tick = 500
	entries := make([]Entry, tick)
	insert := func() {
		for i := range entries {
			entries[i] = Entry{Log: l, Replay: randomHash(r)}
		}
		if _, err := s.Commit(entries); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	for range n / tick {
		insert()
	}
	fill := time.Since(start)
	worst := time.Duration(0)
	for b.Loop() {
		t := time.Now()
		insert()
		worst = max(worst, time.Since(t))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tick, "ns/entry")
	b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms/tick")
	b.ReportMetric(float64(fill.Nanoseconds())/float64(max(n, 1)), "ns/entry-fill")
	b.ReportMetric(heapMB(), "heap-MB")
	b.ReportMetric(float64(len(l.runs)), "runs")
	b.ReportMetric(float64(s.runBytes.Load())/(1<<20), "disk-MB")
	benchClose(b, s)
}

// BenchmarkReplayEmpty and its sisters log ticks of 500 hashes, with the number of hashes in the name logged before.
func BenchmarkReplayEmpty(b *testing.B) { benchReplay(b, 0) }

func BenchmarkReplay1M(b *testing.B) { benchReplay(b, 1_000_000) }

func BenchmarkReplay20M(b *testing.B) {
	bigOnly(b)
	benchReplay(b, 20_000_000)
}

func BenchmarkReplay100M(b *testing.B) {
	bigOnly(b)
	benchReplay(b, 100_000_000)
}

// bigOnly skips benchmarks that need gigabytes or minutes.
func bigOnly(b *testing.B) {
	b.Helper()
	if os.Getenv("STORE_BIG") == "" {
		b.Skip("needs the environment variable STORE_BIG=1: writes gigabytes")
	}
}

func benchCommit(b *testing.B, n int) {
	b.Run("form=clear", func(b *testing.B) { benchCommitOn(b, n, OS) })
	b.Run("form=sealed", func(b *testing.B) { benchCommitOn(b, n, sealedOptions(b, testSealKey).FS) })
}

func benchCommitOn(b *testing.B, n int, fs FS) {
	s, l, _ := benchStore(b, Options{FS: fs})
	r := rand.New(rand.NewPCG(1, 2))
	body := make([]byte, 32<<10)
	entries := make([]Entry, n)
	b.SetBytes(int64(n * len(body)))
	var done []ID
	for b.Loop() {
		for i := range entries {
			entries[i] = Entry{Log: l, Replay: randomHash(r), Body: body}
		}
		if _, err := s.Commit(entries); err != nil {
			b.Fatal(err)
		}
		// Keep the queue, and so the disk, small.
		if s.PoolSize() > 2000 {
			done = append(done[:0], s.Pool()...)
			if err := s.DoneSoon(done...); err != nil {
				b.Fatal(err)
			}
		}
	}
	benchClose(b, s)
}

func BenchmarkCommitPad(b *testing.B) { benchCommit(b, 0) }

func BenchmarkCommit10(b *testing.B) { benchCommit(b, 10) }

func BenchmarkCommit100(b *testing.B) { benchCommit(b, 100) }

func BenchmarkRead(b *testing.B) {
	b.Run("form=clear", func(b *testing.B) { benchRead(b, OS) })
	b.Run("form=sealed", func(b *testing.B) { benchRead(b, sealedOptions(b, testSealKey).FS) })
}

func benchRead(b *testing.B, fs FS) {
	s, _, _ := benchStore(b, Options{FS: fs})
	body := make([]byte, 32<<10)
	for range 100 {
		if _, err := s.Commit([]Entry{{Body: body}}); err != nil {
			b.Fatal(err)
		}
	}
	ids := s.Pool()
	buf := make([]byte, 40<<10)
	b.SetBytes(int64(len(body)))
	i := 0
	for b.Loop() {
		if _, err := s.Read(ids[i%len(ids)], buf); err != nil {
			b.Fatal(err)
		}
		i++
	}
	benchClose(b, s)
}

// benchOpen measures start-up with n packets of the given size in 100 queues, after kill -9.
func benchOpen(b *testing.B, n, size int) {
	b.Run("form=clear", func(b *testing.B) { benchOpenOn(b, n, size, OS) })
	b.Run("form=sealed", func(b *testing.B) { benchOpenOn(b, n, size, sealedOptions(b, testSealKey).FS) })
}

func benchOpenOn(b *testing.B, n, size int, fs FS) {
	s, l, dir := benchStore(b, Options{FS: fs})
	r := rand.New(rand.NewPCG(1, 2))
	body := make([]byte, size)
	const tick = 100
	entries := make([]Entry, tick)
	before := heapMB()
	for i := 0; i < n; i += tick {
		for j := range entries {
			entries[j] = Entry{Log: l, Replay: randomHash(r), Body: body, Queue: string([]byte{'q', byte('0' + j)})}
		}
		if _, err := s.Commit(entries); err != nil {
			b.Fatal(err)
		}
	}
	heap := heapMB() - before
	runtime.KeepAlive(s)
	// As after kill -9: the files are closed, nothing is settled.
	s.stopped.Do(func() { close(s.stop) })
	s.group.Wait()
	if err := s.closeFiles(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(filepath.Join(dir, "store"), Options{FS: fs, Manual: true})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.OpenLog(filepath.Join(dir, "replay"), "0001"); err != nil {
			b.Fatal(err)
		}
		if got := s.Usage().Packets; got != n {
			b.Fatalf("%d packets, want %d", got, n)
		}
		b.StopTimer()
		if err := s.closeFiles(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(heap, "heap-MB")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/open")
}

func BenchmarkOpenEmpty(b *testing.B) { benchOpen(b, 0, 0) }

// BenchmarkOpen100kSmall has as much to index as 100,000 real packets, but not their 3 GB.
func BenchmarkOpen100kSmall(b *testing.B) { benchOpen(b, 100_000, 64) }

func BenchmarkOpen100k(b *testing.B) {
	bigOnly(b)
	benchOpen(b, 100_000, 32<<10)
}

// BenchmarkOpen1MSmall shows the memory and the start-up at a million packets.
func BenchmarkOpen1MSmall(b *testing.B) { benchOpen(b, 1_000_000, 64) }
