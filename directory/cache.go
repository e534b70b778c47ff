package directory

import (
	"crypto/sha256"
	"sync"
)

// A Cache remembers descriptors that were parsed and verified, so that nobody verifies a descriptor again that stands in the next
// directory as well. It is safe for concurrent use. The zero value is ready; a nil Cache remembers nothing.
type Cache struct {
	mu       sync.Mutex
	old, new map[[sha256.Size]byte]*Descriptor
	bytes    int // in the texts of new
}

// A Cache that has taken so many bytes of descriptors forgets those that were not used for as long.
const cacheGeneration = MaxDirectoryLen

// ParseDescriptor is like the function ParseDescriptor, but takes the result from the cache if it has parsed exactly this text before.
func (c *Cache) ParseDescriptor(text []byte) (*Descriptor, error) {
	if c == nil {
		return ParseDescriptor(text)
	}
	key := sha256.Sum256(text)
	if d := c.get(key); d != nil {
		return d, nil
	}
	d, err := ParseDescriptor(text)
	if err != nil {
		return nil, err
	}
	c.put(key, d)
	return d, nil
}

func (c *Cache) get(key [sha256.Size]byte) *Descriptor {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.new[key]
	if d == nil {
		if d = c.old[key]; d != nil {
			c.store(key, d)
		}
	}
	return d
}

func (c *Cache) put(key [sha256.Size]byte, d *Descriptor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store(key, d)
}

// store puts a descriptor into the younger generation.
func (c *Cache) store(key [sha256.Size]byte, d *Descriptor) {
	if c.new == nil || c.bytes >= cacheGeneration {
		c.old, c.new, c.bytes = c.new, make(map[[sha256.Size]byte]*Descriptor), 0
	}
	c.new[key] = d
	c.bytes += len(d.text)
}
