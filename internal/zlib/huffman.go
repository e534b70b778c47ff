package zlib

import "math/bits"

// maxSymbols is the size of the largest alphabet, that of literals and lengths.
const maxSymbols = 286

// huffman makes prefix codes. RFC 1951 section 3.2.2 derives the codes from
// their lengths, but many sets of lengths are equally short. Which one comes
// out depends on the order in which nodes of the same weight are joined.
type huffman struct {
	// key is a node's weight times 256 plus its height: among nodes of the same
	// weight the lower tree goes first. Leaves are numbered as their symbols,
	// inner nodes from the size of the alphabet on.
	key    [2 * maxSymbols]uint32
	parent [2 * maxSymbols]uint16
	depth  [2 * maxSymbols]uint8
	heap   [maxSymbols]uint16     // nodes not yet joined, the smallest first
	joined [2 * maxSymbols]uint16 // the others in the order of joining
}

// lengths sets length[s] for every symbol s to the length in bits of its code,
// at most limit, or 0 for a symbol that does not occur in freq. It returns the
// number of symbols up to the last one with a code.
//
// A code has at least two symbols: where freq has less, the lowest symbols
// that do not occur are given one too.
func (h *huffman) lengths(length []uint8, freq []uint16, limit int) int {
	clear(length)
	heap, used := h.heap[:0], 0
	for s, f := range freq {
		if f != 0 {
			heap = append(heap, uint16(s))
			h.key[s] = uint32(f) << 8
			used = s + 1
		}
	}
	for len(heap) < 2 {
		s := 0
		if used < 3 {
			s = used
			used++
		}
		heap = append(heap, uint16(s))
		h.key[s] = 1 << 8
	}
	order := h.join(heap, len(freq))
	h.assign(length, order, len(freq), limit)
	return used
}

// join builds the tree over the leaves in heap, with inner nodes numbered from
// next on, and returns all nodes in the order of joining, the root at the end.
func (h *huffman) join(heap []uint16, next int) []uint16 {
	for i := len(heap)/2 - 1; i >= 0; i-- {
		h.sink(heap, i)
	}
	order := h.joined[:0]
	for len(heap) > 1 {
		a := heap[0]
		heap[0] = heap[len(heap)-1]
		heap = heap[:len(heap)-1]
		h.sink(heap, 0)
		b := heap[0]

		weight := h.key[a]>>8 + h.key[b]>>8
		height := max(h.key[a]&0xff, h.key[b]&0xff) + 1
		h.key[next] = weight<<8 | height
		h.parent[a], h.parent[b] = uint16(next), uint16(next)
		order = append(order, a, b)

		heap[0] = uint16(next)
		h.sink(heap, 0)
		next++
	}
	return append(order, heap[0])
}

// sink moves the node at i down to its place. Which of two equal nodes ends up
// above the other is part of the format of the output, see [huffman].
func (h *huffman) sink(heap []uint16, i int) {
	node := heap[i]
	for {
		child := 2*i + 1
		if child >= len(heap) {
			break
		}
		if child+1 < len(heap) && h.key[heap[child+1]] <= h.key[heap[child]] {
			child++
		}
		if h.key[node] <= h.key[heap[child]] {
			break
		}
		heap[i] = heap[child]
		i = child
	}
	heap[i] = node
}

// assign turns the tree into code lengths for its leaves, the nodes below
// leaves. A tree higher than limit is repaired in a way that is not optimal
// but is the library's.
func (h *huffman) assign(length []uint8, order []uint16, leaves, limit int) {
	var count [16]int // leaves per depth
	tooDeep := 0
	h.depth[order[len(order)-1]] = 0
	for i := len(order) - 2; i >= 0; i-- {
		node := order[i]
		d := int(h.depth[h.parent[node]]) + 1
		if d > limit {
			d = limit
			tooDeep++
		}
		h.depth[node] = uint8(d)
		if int(node) < leaves {
			length[node] = uint8(d)
			count[d]++
		}
	}
	if tooDeep == 0 {
		return
	}
	// Each step makes room for a pair of nodes that were cut off: a leaf from
	// as deep as possible above the limit moves down by one, and one from the
	// limit becomes its sibling.
	for ; tooDeep > 0; tooDeep -= 2 {
		d := limit - 1
		for count[d] == 0 {
			d--
		}
		count[d]--
		count[d+1] += 2
		count[limit]--
	}
	// The rarest symbols, which were joined first, get the longest codes.
	d := limit
	for _, node := range order {
		if int(node) >= leaves {
			continue
		}
		for count[d] == 0 {
			d--
		}
		length[node] = uint8(d)
		count[d]--
	}
}

// code is a prefix code ready to be written, first bit lowest: bits<<8 | length.
type code uint32

func (c code) length() uint { return uint(c & 0xff) }
func (c code) bits() uint32 { return uint32(c >> 8) }

// makeCodes derives the codes from their lengths (RFC 1951 section 3.2.2).
func makeCodes(codes []code, length []uint8) {
	var count, next [16]uint16
	for _, n := range length {
		count[n]++
	}
	count[0] = 0
	for n := 1; n < len(next); n++ {
		next[n] = (next[n-1] + count[n-1]) << 1
	}
	for s, n := range length {
		v := bits.Reverse16(next[n]) >> (16 - n)
		next[n]++
		codes[s] = code(v)<<8 | code(n)
	}
}
