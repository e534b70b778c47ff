package delivery_test

import (
	"context"
	"errors"
	"testing"

	"mixminion/delivery"
)

func TestDrop(t *testing.T) {
	var d delivery.Drop
	items := []delivery.Item{{ID: 1}, {ID: 2}, {ID: 3}}
	got, err := deliver(t.Context(), t, &d, items)
	if err != nil {
		t.Error(err)
	}
	wantOutcomes(t, got, ok, ok, ok)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err = deliver(ctx, t, &d, items)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wantOutcomes(t, got, ok)
	if n := d.Count(); n != 4 {
		t.Errorf("count %d, want 4", n)
	}
}
