package zlib

import "testing"

func benchmark(b *testing.B, generator string, size int) {
	in, err := generate(generator, 1, size)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		Compress(in)
	}
}

// BenchmarkCompress28K compresses what fills a packet.
func BenchmarkCompress28K(b *testing.B) {
	for _, generator := range []string{"random", "text:en", "text:ru", "code", "base64/random"} {
		b.Run(generator, func(b *testing.B) { benchmark(b, generator, 28<<10) })
	}
}

func BenchmarkCompress1M(b *testing.B) {
	for _, generator := range []string{"random", "text:en", "mixed:20000"} {
		b.Run(generator, func(b *testing.B) { benchmark(b, generator, 1<<20) })
	}
}

func BenchmarkCompressShort(b *testing.B) { benchmark(b, "text:en", 500) }
