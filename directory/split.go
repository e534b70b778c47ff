package directory

import "bytes"

// SplitDescriptors cuts a text of descriptors that stand one after the other at its [Server] lines. Blank lines around descriptors, as they
// come by mail, are no part of them. What the parts are worth ParseDescriptor says.
func SplitDescriptors(text []byte) [][]byte {
	const header = "[" + sectionServer + "]"
	var parts [][]byte
	add := func(part []byte) {
		if part = bytes.TrimSpace(part); len(part) > 0 {
			parts = append(parts, append(bytes.Clone(part), '\n'))
		}
	}
	start := 0
	for at := 0; ; {
		i := bytes.Index(text[at:], []byte("\n"+header))
		if i < 0 {
			break
		}
		at += i + 1
		add(text[start:at])
		start = at
	}
	add(text[start:])
	return parts
}
