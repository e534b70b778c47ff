//go:build !legacytls

package legacytls

import (
	"errors"
	"testing"
)

func TestNotBuilt(t *testing.T) {
	if Available {
		t.Error("available without the tag")
	}
	if _, err := Client(t.Context(), nil, nil, nil); !errors.Is(err, ErrNotBuilt) {
		t.Error(err)
	}
	if _, err := Server(t.Context(), nil, nil); !errors.Is(err, ErrNotBuilt) {
		t.Error(err)
	}
}
