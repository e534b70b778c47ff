package mix

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/packet"
)

// Every next hop that a packet can name has a queue name that fits, is its own and leads back to it.
func TestQueueNamesOfHops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.StringMatching(`[a-z0-9-]{1,120}`)
		host := strings.Join(rapid.SliceOfN(label, 1, 6).Draw(t, "host"), ".")
		hop := packet.Hop{Host: host[:min(255, len(host))], Port: rapid.Uint16Min(1).Draw(t, "port")}
		copy(hop.KeyID[:], rapid.SliceOfN(rapid.Byte(), len(hop.KeyID), len(hop.KeyID)).Draw(t, "key"))
		if !packet.ValidHost(hop.Host) {
			t.Fatalf("%q is no host name", hop.Host)
		}
		name := hopQueue(hop)
		if len(name) > store.MaxQueueName {
			t.Fatalf("%d bytes", len(name))
		}
		if got, _, isExit, err := parseQueue(name); err != nil || isExit || got != hop {
			t.Fatalf("%+v, %v, %v", got, isExit, err)
		}
	})
	long := packet.Hop{Host: strings.Repeat("a.", 126) + "z", Port: 1}
	if name := hopQueue(long); len(name) > store.MaxQueueName || name[:1] != string(hopQueuePrefix) {
		t.Errorf("%q", name)
	}
	// Names that are short enough are as they always were: a queue of an older version is found again.
	short := packet.Hop{Host: strings.Repeat("a", store.MaxQueueName-1-2-len(crypt.KeyID{})), Port: 1}
	if name := hopQueue(short); !strings.HasSuffix(name, short.Host) {
		t.Errorf("%q", name)
	}
}
