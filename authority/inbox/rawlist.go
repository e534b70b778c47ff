package inbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"mixminion/directory"
)

// Bounds on the list of another authority.
const (
	MaxListLen   = 32 << 20 // bytes, unpacked
	maxListItems = 10_000
	listChunk    = 16 // descriptors that are stored without letting others have a turn
	maxListErrs  = 20
)

// ErrListLen says that another authority's list is longer than MaxListLen or holds too many descriptors.
var ErrListLen = errors.New("the list of descriptors is too long")

// rawList is current-raw-servers.gz as it was made last.
type rawList struct {
	of [sha256.Size]byte // of the digests in it
	gz []byte
}

// RawServers returns the handler of "current-raw-servers.gz" below the URL base.
func (b *Inbox) RawServers() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		gz, err := b.RawList()
		if err != nil {
			b.log.Error("the list of descriptors could not be made", "error", err)
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/gzip")
		w.Header().Set("Content-Length", strconv.Itoa(len(gz)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(gz) // if the reader is gone there is nobody to tell
		}
	})
}

// RawList returns the body of current-raw-servers.gz: what this authority would vote for now if it had approved every server that it
// has not banned (dir-spec 7.1.1). The same descriptors give the same bytes. The caller must not change them.
func (b *Inbox) RawList() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look()
	list := b.passedOn(b.clock.Now())
	h := sha256.New()
	for _, d := range list {
		digest := d.Digest()
		h.Write(digest[:])
	}
	of := [sha256.Size]byte(h.Sum(nil))
	if b.raw.gz != nil && b.raw.of == of {
		return b.raw.gz, nil
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if _, err := z.Write(d.Text()); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	b.raw = rawList{of, buf.Bytes()}
	return b.raw.gz, nil
}

// passedOn lists the descriptors of the raw list.
func (b *Inbox) passedOn(now time.Time) (list []*directory.Descriptor) {
	names := map[string]bool{}
	for id, files := range b.servers {
		if d := b.record(id).Decision; d == Approved || d == Pending {
			names[strings.ToLower(files[0].Nickname)] = true
			list = append(list, listables(files, now)...)
		}
	}
	for id, files := range b.servers {
		// A rejected server reserves no nickname.
		if b.record(id).Decision == Rejected && !names[strings.ToLower(files[0].Nickname)] {
			list = append(list, listables(files, now)...)
		}
	}
	slices.SortFunc(list, directory.CompareServers)
	return list
}

// A Summary counts what became of the descriptors of a list.
type Summary struct {
	New, Known, Refused int
	// Receipts are those of all that were not refused.
	Receipts []Receipt
	// Errs are some of the reasons of refusals.
	Errs []error
}

func (s *Summary) refuse(name string, err error) {
	s.Refused++
	if len(s.Errs) < maxListErrs {
		s.Errs = append(s.Errs, fmt.Errorf("%s: %w", name, err))
	}
}

// AddRawList takes another authority's current-raw-servers.gz and treats each descriptor in it as if it had just been uploaded
// (dir-spec 7.1.1). Bad ones cost the others nothing. from names the authority. The error says why the rest was not examined.
func (b *Inbox) AddRawList(ctx context.Context, gz io.Reader, from string) (Summary, error) {
	z, err := gzip.NewReader(gz)
	if err != nil {
		return Summary{}, fmt.Errorf("list of descriptors: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, MaxListLen+1))
	if err != nil {
		return Summary{}, fmt.Errorf("list of descriptors: %w", err)
	}
	return b.AddList(ctx, text, listSource+from)
}

// listSource begins the sources of descriptors that other authorities have passed on. A direct upload says more.
const listSource = "list of "

func fromList(source string) bool { return strings.HasPrefix(source, listSource) }

// AddList does what AddRawList does for descriptors that stand one after the other in a text.
func (b *Inbox) AddList(ctx context.Context, text []byte, source string) (sum Summary, err error) {
	if len(text) > MaxListLen {
		return sum, ErrListLen
	}
	parts := directory.SplitDescriptors(text)
	if len(parts) > maxListItems {
		return sum, ErrListLen
	}
	for len(parts) > 0 {
		var chunk []*directory.Descriptor
		for ; len(parts) > 0 && len(chunk) < listChunk; parts = parts[1:] {
			if err := ctx.Err(); err != nil {
				return sum, err
			}
			d, err := parse(&b.lists, parts[0])
			if err != nil {
				sum.refuse("a descriptor", err)
				continue
			}
			chunk = append(chunk, d)
		}
		err := b.change(ctx, func(now time.Time) error {
			for _, d := range chunk {
				receipt, err := b.add(d, source, now)
				var refused *Refusal
				switch {
				case errors.As(err, &refused):
					sum.refuse(d.Nickname, refused.Err)
				case err != nil:
					return err
				case receipt.Known:
					sum.Known++
				default:
					sum.New++
				}
				if err == nil {
					sum.Receipts = append(sum.Receipts, receipt)
				}
			}
			return nil
		})
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}
