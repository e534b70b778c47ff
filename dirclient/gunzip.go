package dirclient

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// ErrGzip says that a document is not whole or not in the form of GZIP.
var ErrGzip = errors.New("not a whole gzip file")

// Gunzip decompresses data to at most limit bytes. Errors wrap ErrGzip or ErrTooLarge.
func Gunzip(data []byte, limit int) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGzip, err)
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGzip, err)
	}
	if len(text) > limit {
		return nil, fmt.Errorf("%w: it decompresses to more than the %d bytes that are taken", ErrTooLarge, limit)
	}
	return text, nil
}
