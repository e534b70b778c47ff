package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"mixminion/internal/armor"
	"mixminion/message"
)

// Errors of Decode and DecodePath.
var (
	// ErrNoMessage says that there was no anonymous message in an input.
	ErrNoMessage = errors.New("there is no anonymous message in it")
	// ErrKeys says that a message is encrypted and that the keys to open it could not be had. It comes with the reason.
	ErrKeys = errors.New("an encrypted message needs your keys")
	// ErrTooLarge says that a mail or a message is longer than this program handles.
	ErrTooLarge = errors.New("too large")
	// ErrNotMaildir says that a directory holds neither of those with the mails of a Maildir.
	ErrNotMaildir = errors.New("a directory, but no Maildir: there is no cur and no new in it")
)

const (
	// DefaultMaxMail is how long one mail may be, in bytes.
	DefaultMaxMail = 128 << 20
	// maxMessage bounds what a message expands to even if the user wants it all.
	maxMessage = 256 << 20
)

// DecodeOptions says how to decode. The zero value opens what is not encrypted.
type DecodeOptions struct {
	// Keys gives the keys for encrypted messages. It is called when the first one is found, once, and not at all without one. Package
	// client calls it in the middle of its work: it may ask the user.
	Keys func() (message.Keys, error)
	// Force accepts messages that expand far more than honest text does.
	Force bool
	// OnWait is called when a fragment has to wait until another program no longer works on the home directory; it may be nil.
	OnWait func()
	// MaxMail bounds each mail and each armored message, in bytes; 0 means DefaultMaxMail.
	MaxMail int
}

// A Position tells where in an input a message stood.
type Position struct {
	File    string // below a Maildir, "" elsewhere
	Mail    int    // in an mbox file, counted from 1; 0 elsewhere
	Message int    // among all messages of the input, good and bad, counted from 1; 0 when the trouble is with the input
}

// String is "message 3", "message 3 (in mail 2)" or "message 3 (in new/1234.host)"; "the input" when there is no message.
func (p Position) String() string {
	in := p.File
	if p.Mail > 0 {
		in = strings.TrimPrefix(fmt.Sprintf("%s, mail %d", in, p.Mail), ", ")
	}
	switch {
	case p.Message > 0 && in != "":
		return fmt.Sprintf("message %d (in %s)", p.Message, in)
	case p.Message > 0:
		return fmt.Sprintf("message %d", p.Message)
	case in != "":
		return in
	}
	return "the input"
}

// Received is a message that arrived.
type Received struct {
	Position
	// Form is how the exit delivered it, "" for a message that was put together from fragments.
	Form message.Form
	// By tells which identity or key opened it.
	By message.Opener
	// Headers is what stands before the body of a message that was encrypted or compressed: lines "NAME:value" and an empty line, as the
	// sender wrote them. It is nil when there are none. Where an exit has made a mail of the message, they are in the mail's header.
	Headers []byte
	// Body is the message. It is nil for a fragment.
	Body []byte
	// Fragment tells about the message that an arrived fragment belongs to.
	Fragment *Partial
	// Late says that the fragment's message was put together or given up before, so that the fragment was not kept.
	Late bool
}

// Decode reads the armored messages in a text: bare ones with anything between them, a whole mail, or an mbox file. It looks into the parts
// of mails and undoes their transfer encodings. Fragments go into the fragment pool of the home directory; they are safely there
// when the iteration has ended. At the first one Decode takes the lock of the home directory, which the caller must not hold,
// and keeps it to the end.
//
// It yields each message, or the error that concerns it together with a Received of which only the Position, and as far as they are known
// Form and By, are valid; then it goes on. A damaged message gives an error of package message or package armor, one for somebody else
// message.ErrNotForUs, and one that expands too much message.ErrOvercompressed unless o.Force. When nothing was found the only
// result is ErrNoMessage.
//
// Memory is bounded by the largest mail, not by the input.
func (c *Client) Decode(ctx context.Context, in io.Reader, o DecodeOptions) iter.Seq2[Received, error] {
	return func(yield func(Received, error) bool) {
		d := newDecoder(ctx, c, o, yield)
		d.input(in, "")
		d.finish()
	}
}

// DecodePath decodes a file, or all mails of a Maildir, as Decode does.
func (c *Client) DecodePath(ctx context.Context, name string, o DecodeOptions) iter.Seq2[Received, error] {
	return func(yield func(Received, error) bool) {
		d := newDecoder(ctx, c, o, yield)
		info, err := os.Stat(name)
		switch {
		case err != nil:
			d.fail(Position{}, err)
		case info.IsDir():
			d.maildir(name)
		default:
			d.file(name, "")
		}
		d.finish()
	}
}

// A decoder is one run of Decode.
type decoder struct {
	ctx     context.Context
	client  *Client
	opts    DecodeOptions
	yield   func(Received, error) bool
	stopped bool // the caller, or the context, wants no more

	found   int // messages
	failed  bool
	pool    *FragmentPool // opened for the first fragment
	poolErr error
	unlock  func() error

	asked   bool
	keys    message.Keys
	keysErr error
}

func newDecoder(ctx context.Context, c *Client, o DecodeOptions, yield func(Received, error) bool) *decoder {
	if o.MaxMail <= 0 {
		o.MaxMail = DefaultMaxMail
	}
	return &decoder{ctx: ctx, client: c, opts: o, yield: yield}
}

// finish closes the pool and says if there was nothing to say.
func (d *decoder) finish() {
	if d.pool != nil {
		for _, err := range append(d.pool.Problems(), d.pool.Close(), d.unlock()) {
			if err != nil {
				d.fail(Position{}, err)
			}
		}
	}
	if d.found == 0 && !d.failed {
		d.fail(Position{}, ErrNoMessage)
	}
}

func (d *decoder) emit(r Received, err error) {
	d.failed = d.failed || err != nil
	if !d.stopped && !d.yield(r, err) {
		d.stopped = true
	}
}

// fail reports trouble with something that is not a message.
func (d *decoder) fail(at Position, err error) { d.emit(Received{Position: at}, err) }

// over reports whether to stop, and says so to the caller if the reason is the context.
func (d *decoder) over() bool {
	if err := d.ctx.Err(); err != nil && !d.stopped {
		d.fail(Position{}, err)
		d.stopped = true
	}
	return d.stopped
}

func (d *decoder) file(name, label string) {
	f, err := os.Open(name)
	if err != nil {
		d.fail(Position{File: label}, err)
		return
	}
	d.input(f, label)
	if err := f.Close(); err != nil {
		d.fail(Position{File: label}, err)
	}
}

// maildir decodes the new mails and then those that were seen. What lies in tmp has not arrived yet.
func (d *decoder) maildir(dir string) {
	folders := 0
	for _, folder := range []string{"new", "cur"} {
		list, err := os.ReadDir(filepath.Join(dir, folder))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		folders++
		if err != nil {
			d.fail(Position{}, err)
			continue
		}
		for _, entry := range list {
			if d.over() {
				return
			}
			if entry.Type().IsRegular() && !strings.HasPrefix(entry.Name(), ".") {
				d.file(filepath.Join(dir, folder, entry.Name()), folder+"/"+entry.Name())
			}
		}
	}
	if folders == 0 {
		d.fail(Position{}, fmt.Errorf("%s: %w", dir, ErrNotMaildir))
	}
}

// input decodes all that one reader gives.
func (d *decoder) input(in io.Reader, label string) {
	s := newSplitter(in, d.opts.MaxMail)
	for p := range s.pieces() {
		if d.over() {
			return
		}
		at := Position{File: label, Mail: p.mail}
		switch {
		case errors.Is(p.err, ErrTooLarge) && p.mail == 0:
			d.found++
			at.Message = d.found
			d.fail(at, p.err)
		case p.err != nil:
			d.fail(at, p.err)
		case p.isMail:
			for text, err := range mailTexts(p.text) {
				d.text(text, at, 0)
				if err != nil && !d.stopped {
					d.fail(at, err)
				}
				if d.stopped {
					return
				}
			}
		default:
			d.text(p.text, at, p.line)
		}
	}
}

// text decodes the messages in a text that begins at a line of the input; 0 means that lines cannot be told.
func (d *decoder) text(text []byte, at Position, line int) {
	for m, err := range message.AllDelivered(text) {
		if d.over() {
			return
		}
		d.found++
		at.Message = d.found
		r := Received{Position: at, Form: m.Form}
		if err == nil {
			err = d.open(&m, &r)
		} else if where := (*armor.Error)(nil); errors.As(err, &where) {
			if line == 0 {
				err = where.Err
			} else {
				err = &armor.Error{Type: where.Type, Line: where.Line + line - 1, Err: where.Err}
			}
		}
		d.emit(r, err)
	}
}

// open gets at the contents of a message.
func (d *decoder) open(m *message.Delivered, r *Received) error {
	opened, err := m.Open(message.Keys{})
	if errors.Is(err, message.ErrNotForUs) {
		var keys message.Keys
		if keys, err = d.userKeys(); err != nil {
			return err
		}
		opened, err = m.Open(keys)
	}
	if err != nil {
		return err
	}
	r.By = opened.By
	switch opened.Kind {
	case message.KindText:
		r.Body = opened.Data
		return nil
	case message.KindFragment:
		return d.keep(opened.Fragment, r)
	}
	text, err := opened.Message(d.limit(message.SingletonLimit(len(opened.Data))))
	if err != nil {
		return err
	}
	r.Headers, r.Body = splitHeaders(text)
	return nil
}

func (d *decoder) limit(honest int) int { return expansionLimit(honest, d.opts.Force) }

// expansionLimit bounds what a message expands to.
func expansionLimit(honest int, force bool) int {
	if force {
		return maxMessage
	}
	return min(honest, maxMessage)
}

// splitHeaders gives the headers of a message, nil if there are none, and its body.
func splitHeaders(text []byte) (headers, body []byte) {
	_, body = message.ParseHeaders(text)
	headers = text[:len(text)-len(body)]
	if len(bytes.TrimSpace(headers)) == 0 {
		headers = nil
	}
	return headers, body
}

// userKeys asks for the keys once.
func (d *decoder) userKeys() (message.Keys, error) {
	if !d.asked {
		d.asked = true
		if d.opts.Keys != nil {
			d.keys, d.keysErr = d.opts.Keys()
		} else {
			d.keysErr = errors.New("none were given")
		}
		if d.keysErr != nil {
			d.keysErr = fmt.Errorf("%w: %w", ErrKeys, d.keysErr)
		}
	}
	return d.keys, d.keysErr
}

// keep puts a fragment into the pool.
func (d *decoder) keep(f *message.Fragment, r *Received) error {
	if d.pool == nil && d.poolErr == nil {
		d.openPool()
	}
	if d.poolErr != nil {
		return d.poolErr
	}
	p, err := d.pool.Add(f, r.By)
	r.Fragment = &p
	if errors.Is(err, ErrFinished) {
		r.Late = true
		return nil
	}
	return err
}

// openPool opens the pool and keeps it locked until finish. After an error it is not tried again.
func (d *decoder) openPool() {
	unlock, err := d.client.Lock(d.ctx, d.opts.OnWait)
	if err != nil {
		d.poolErr = err
		return
	}
	pool, err := d.client.Fragments()
	if err != nil {
		d.poolErr = errors.Join(err, unlock())
		return
	}
	d.pool, d.unlock = pool, unlock
}
