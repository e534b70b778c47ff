//go:build !legacytls

package legacytls

import (
	"context"
	"crypto/x509"
	"net"
	"time"
)

// Available says whether this program can make legacy links.
const Available = false

// Client fails with ErrNotBuilt.
func Client(context.Context, net.Conn, func() time.Time, func([]*x509.Certificate) error) (Conn, error) {
	return nil, ErrNotBuilt
}

// Server fails with ErrNotBuilt.
func Server(context.Context, net.Conn, *Identity) (Conn, error) { return nil, ErrNotBuilt }
