package mailin

import (
	"errors"
	"fmt"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	gomessage "github.com/emersion/go-message"

	"mixminion/message"
)

// fields sorts the header of a mail into what is kept and what is not.
type fields struct {
	header gomessage.Header
	mail   *Mail

	own      identity
	problems []string // warnings
}

// identity is what a mail says about its writer.
type identity struct {
	addresses []string
	domains   []string // of the addresses and of Message-ID
	names     []string // the words of the names in From that begin with a capital and have three letters or more
}

// name learns the words of a name that stands in From.
func (id *identity) name(name string) {
	for _, word := range words(name) {
		if first, _ := utf8.DecodeRuneInString(word); utf8.RuneCountInString(word) >= 3 && !unicode.IsLower(first) {
			id.names = append(id.names, word)
		}
	}
}

// isNamed reports whether a line holds one of these words.
func (id *identity) isNamed(line string) bool {
	return slices.ContainsFunc(id.names, func(name string) bool {
		return strings.Contains(line, name) && slices.Contains(words(line), name)
	})
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) })
}

func (id *identity) add(address string) {
	id.addresses = append(id.addresses, address)
	if _, domain, ok := strings.Cut(address, "@"); ok {
		id.domains = append(id.domains, domain)
	}
}

// wrote reports whether a message identifier looks like one of the writer's: it ends with a domain of theirs or one below it.
func (id *identity) wrote(messageID string) bool {
	_, at, ok := strings.Cut(strings.Trim(messageID, "<>"), "@")
	return ok && slices.ContainsFunc(id.domains, func(domain string) bool {
		at, domain := strings.ToLower(at), strings.ToLower(domain)
		return domain != "" && (at == domain || strings.HasSuffix(at, "."+domain) || strings.HasSuffix(domain, "."+at) && strings.Contains(at, "."))
	})
}

// isIn reports whether a line holds an address of the writer's.
func (id *identity) isIn(line string) bool {
	line = strings.ToLower(line)
	return slices.ContainsFunc(id.addresses, func(a string) bool { return a != "" && strings.Contains(line, strings.ToLower(a)) })
}

// collect fills in everything but the text and the warnings about it.
func (f *fields) collect() error {
	kept := map[string]bool{}
	for _, list := range []struct {
		name string
		to   *[]string
	}{{"To", &f.mail.To}, {"Cc", &f.mail.Cc}, {"Bcc", &f.mail.Bcc}} {
		addresses, err := f.addresses(list.name)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			*list.to = append(*list.to, a.Address)
		}
		kept[list.name] = true
	}
	if n := len(f.mail.To) + len(f.mail.Cc) + len(f.mail.Bcc); n > maxRecipients {
		return fmt.Errorf("%w: it has %d recipients, at most %d are allowed", ErrTooLong, n, maxRecipients)
	}
	if err := f.from(); err != nil {
		return err
	}
	subject, err := f.text("Subject")
	if err != nil {
		return err
	}
	if f.own.isIn(subject) || f.own.isNamed(subject) {
		f.problem("the subject holds a name or an address of yours, as From has them")
	}
	if f.mail.Headers.Subject, err = encodeSubject(subject); err != nil {
		return err
	}
	kept["Subject"] = true

	f.mail.Headers.InReplyTo = joinIDs(f.ids("In-Reply-To"), 1)
	kept["In-Reply-To"] = f.mail.Headers.InReplyTo != ""
	f.mail.Headers.References = joinIDs(f.ids("References"), maxReferences)
	kept["References"] = f.mail.Headers.References != ""

	seen := map[string]bool{}
	for all := f.header.Fields(); all.Next(); {
		name := all.Key()
		f.mail.Resent = f.mail.Resent || strings.HasPrefix(name, "Resent-")
		if kept[name] || seen[name] {
			continue
		}
		seen[name] = true
		if name == "From" && f.mail.Headers.From != "" {
			name = "From (but for the name)"
		}
		f.mail.Dropped = append(f.mail.Dropped, name)
	}
	return nil
}

// single returns the value of a field that must not come twice, "" if it is missing.
func (f *fields) single(name string) (string, error) {
	values := f.header.Values(name)
	if len(values) > 1 {
		return "", fmt.Errorf("%w: its header has %d fields named %s", ErrMail, len(values), name)
	}
	if len(values) == 0 {
		return "", nil
	}
	return values[0], nil
}

// text returns the decoded value of a field.
func (f *fields) text(name string) (string, error) {
	value, err := f.single(name)
	if err != nil {
		return "", err
	}
	return decodeWords(name, value)
}

func decodeWords(name, value string) (string, error) {
	decoded, err := decoder.DecodeHeader(value)
	if err != nil {
		return "", fmt.Errorf("%w: %s is in a charset that is unknown; have your mail program write UTF-8", ErrCharset, name)
	}
	if !utf8.ValidString(decoded) || strings.ContainsRune(decoded, utf8.RuneError) {
		return "", fmt.Errorf("%w: %s is not in the charset that it claims; have your mail program write UTF-8", ErrCharset, name)
	}
	// One line without blanks at its ends, and nothing in it that could end a line.
	return strings.Join(strings.FieldsFunc(decoded, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " "), nil
}

// addresses returns the addresses in all fields of a name, those in groups as well.
func (f *fields) addresses(name string) ([]*mail.Address, error) {
	parser := mail.AddressParser{WordDecoder: &decoder}
	var out []*mail.Address
	for _, value := range f.header.Values(name) {
		if strings.TrimSpace(value) == "" {
			continue
		}
		list, err := parser.ParseList(value)
		if err != nil { // its text may hold an address
			return nil, fmt.Errorf("%w: %s is no list of mail addresses", ErrMail, name)
		}
		out = append(out, list...)
	}
	return out, nil
}

// from takes the name out of From, and learns about the writer from the other fields.
func (f *fields) from() error {
	if _, err := f.single("From"); err != nil {
		return err
	}
	for _, name := range []string{"Sender", "Reply-To", "Return-Path"} {
		// What makes no sense there is dropped like what does.
		if list, err := f.addresses(name); err == nil {
			for _, a := range list {
				f.own.add(a.Address)
			}
		}
	}
	if id := f.header.Get("Message-Id"); strings.Contains(id, "@") {
		_, domain, _ := strings.Cut(strings.Trim(id, "<> "), "@")
		f.own.domains = append(f.own.domains, domain)
	}
	list, err := f.addresses("From")
	if err != nil || len(list) == 0 {
		if strings.TrimSpace(f.header.Get("From")) != "" {
			f.problem("From makes no sense, and no name is taken from it")
		}
		return nil
	}
	for _, a := range list {
		f.own.add(a.Address)
		f.own.name(a.Name)
	}
	name := strings.Join(strings.Fields(list[0].Name), " ")
	switch {
	case name == "":
	case len(list) > 1:
		f.problem("From names several people, and none of them is sent")
	case strings.Contains(name, "@"):
		f.problem("the name in From looks like an address and is not sent")
	case strings.Contains(name, "=?") || (message.Headers{From: name}).Validate() != nil:
		f.problem(`the name in From is not sent, since it is not plain ASCII or has one of the characters "[]:`)
	default:
		f.mail.Headers.From = name
		f.problem(fmt.Sprintf("the recipients will see the name %q that stands in From; take it out if it is yours", name))
	}
	return nil
}

func (f *fields) problem(text string) { f.problems = append(f.problems, text) }

// warnings says what in the header may give the writer away.
func (f *fields) warnings() []string {
	if id := f.mail.Headers.InReplyTo; id != "" && f.own.wrote(id) {
		f.problem("In-Reply-To seems to name a mail of your own")
	}
	if slices.ContainsFunc(strings.Fields(f.mail.Headers.References), f.own.wrote) {
		f.problem("References seems to name mails of your own")
	}
	if f.header.Has("Reply-To") {
		f.problem("Reply-To is not sent; to be answered, put a reply block into the text: mixminion generate-surb")
	}
	return f.problems
}

const maxReferences = 100 // more are used by no exit

// ids returns the message identifiers in all fields of a name.
func (f *fields) ids(name string) (ids []string) {
	for _, value := range f.header.Values(name) {
		for _, id := range strings.FieldsFunc(strings.ReplaceAll(value, "><", "> <"), unicode.IsSpace) {
			if validID(id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// validID accepts <left@right> as exits do.
func validID(id string) bool {
	inner, ok := strings.CutPrefix(id, "<")
	inner, ok2 := strings.CutSuffix(inner, ">")
	left, right, ok3 := strings.Cut(inner, "@")
	return ok && ok2 && ok3 && left != "" && right != "" && !strings.ContainsFunc(inner, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`<>()"\,;`, r)
	}) && !strings.Contains(right, "@")
}

// joinIDs keeps so many of the identifiers as a header can hold: the first, which began the thread, and the last ones.
func joinIDs(ids []string, most int) string {
	for len(ids) > 0 {
		joined := strings.Join(ids, " ")
		if len(ids) <= most && len(joined) <= message.MaxHeaderLen {
			return joined
		}
		drop := min(1, len(ids)-1)
		ids = slices.Delete(slices.Clone(ids), drop, drop+1)
	}
	return ""
}

// encodeSubject writes a subject as printable ASCII.
func encodeSubject(s string) (string, error) {
	s = mime.QEncoding.Encode("utf-8", s)
	h := message.Headers{Subject: s}
	if len(s) > message.MaxHeaderLen {
		return "", fmt.Errorf("%w: the subject takes %d characters, at most %d are allowed", ErrTooLong, len(s), message.MaxHeaderLen)
	}
	if h.Validate() != nil {
		return "", errors.New("the subject cannot be sent")
	}
	return s, nil
}
